/* elastic_net.c - see elastic_net.h. */
#include "solve/elastic_net.h"

#include <math.h>

#include "backend/least_squares.h"

enum {
    MAX_CYCLES = 2000, /* for one lambda */
    MAX_SWEEPS = 8,    /* over a class's weights, for one quadratic model */
    MIXED = 5,         /* cycles that an extrapolation is made of */
    CLASS_TILE = 32,
    FEATURE_TILE = 128,
    SAMPLE_TILE = 256
};
static const double LEAST_CURVATURE = 1e-6; /* p (1 - p) of a sample, at least: no step is endless */
static const double LARGEST_STEP = 2;       /* of a logit; from one of SAFE_STEP on, the objective is looked at */
static const double SAFE_STEP = 0.5;        /* up to which the quadratic model cannot be wrong by more than e^0.5 < 2 */

struct elastic_net {
    spade_context *context;
    int64_t n, features, classes;
    double alpha, lambda, lambda_max;     /* lambda: of the last solution */
    double *z;                            /* [features, n] */
    double *mean, *scale;                 /* [features]: z = (x - mean) * scale; scale 0: it does not vary */
    double *weights;                      /* [classes, features] */
    double *bias;                         /* [classes] */
    double *logits;                       /* [classes, n], but for a number that a sample's classes share */
    double *log_sum;                      /* [n]: log sum exp of a sample's logits */
    double *residual;                     /* [classes, n]: y - p, when everything was looked at last; or scratch */
    double *gradient;                     /* [classes, features] of the loss, likewise */
    double *p, *error, *curvature, *step; /* [n]: of the class at hand; step: of its logits */
    double *before, *diagonal;            /* [features]: its weights before the step; second derivatives */
    double *sums;                         /* [3, features]: what centre() adds up */
    double *sorted;                       /* [classes] */
    double *violation;                    /* [classes]: the largest of each, as it was seen last */
    double *history; /* [MIXED + 1, classes * features + classes]: weights and biases after cycles */
    int seen;        /* cycles in it */
    int32_t *list;   /* [features]: the class's weights that may change */
    int32_t *y;      /* [n] */
    uint8_t *active; /* [classes, features]: may be other than 0 */
    void *memory;
    size_t bytes;
};

/* ---- memory: everything lies in one block */

static void *take(char *memory, size_t *used, int64_t count, size_t size)
{
    void *at = memory ? memory + *used : NULL;
    *used += ((size_t)count * size + 63) / 64 * 64;
    return at;
}

static size_t lay_out(elastic_net *net, char *memory)
{
    const int64_t n = net->n, d = net->features, k = net->classes;
    size_t used = 0;
    net->z = take(memory, &used, d * n, sizeof(double));
    net->logits = take(memory, &used, k * n, sizeof(double));
    net->residual = take(memory, &used, k * n, sizeof(double));
    net->weights = take(memory, &used, k * d, sizeof(double));
    net->gradient = take(memory, &used, k * d, sizeof(double));
    net->mean = take(memory, &used, d, sizeof(double));
    net->scale = take(memory, &used, d, sizeof(double));
    net->bias = take(memory, &used, k, sizeof(double));
    net->log_sum = take(memory, &used, n, sizeof(double));
    net->p = take(memory, &used, n, sizeof(double));
    net->error = take(memory, &used, n, sizeof(double));
    net->curvature = take(memory, &used, n, sizeof(double));
    net->step = take(memory, &used, n, sizeof(double));
    net->before = take(memory, &used, d, sizeof(double));
    net->diagonal = take(memory, &used, d, sizeof(double));
    net->sums = take(memory, &used, 3 * d, sizeof(double));
    net->sorted = take(memory, &used, k, sizeof(double));
    net->violation = take(memory, &used, k, sizeof(double));
    net->history = take(memory, &used, (MIXED + 1) * k * (d + 1), sizeof(double));
    net->list = take(memory, &used, d, sizeof(int32_t));
    net->y = take(memory, &used, n, sizeof(int32_t));
    net->active = take(memory, &used, k * d, sizeof(uint8_t));
    return used;
}

uint64_t elastic_net_bytes(int64_t samples, int64_t features, int64_t classes)
{
    elastic_net sizes = {.n = samples, .features = features, .classes = classes};
    return lay_out(&sizes, NULL);
}

/* ---- the features, standardised */

static void standardise(elastic_net *net, const elastic_net_problem *problem, int64_t feature)
{
    const int64_t n = net->n;
    double *z = net->z + feature * n, sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) { sum += z[i] = (double)problem->x[problem->rows[i] * net->features + feature]; }
    const double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) { squares += (z[i] - mean) * (z[i] - mean); }
    const double deviation = sqrt(squares / (double)n);
    /* what float32 makes of a number that is always the same is no variation */
    const bool varies = deviation > 1e-6 * fabs(mean) && isfinite(1 / deviation);
    for (int64_t i = 0; i < n; i++) { z[i] = varies ? (z[i] - mean) / deviation : 0; }
    net->mean[feature] = mean;
    net->scale[feature] = varies ? 1 / deviation : 0;
}

/* ---- everything at once */

/* For so many operations; a few are done before threads have come together. */
static int threads_for(const elastic_net *net, int64_t work)
{
    return work < 1 << 21 ? 1 : net->context->threads;
}

/* Of all samples, log sum exp of these logits [classes, n]. */
static void find_log_sums(const elastic_net *net, const double *logits, double *out)
{
    const int64_t n = net->n;
    const int threads = threads_for(net, 20 * n * net->classes);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t first = 0; first < n; first += SAMPLE_TILE) {
        const int64_t count = n - first < SAMPLE_TILE ? n - first : SAMPLE_TILE;
        double largest[SAMPLE_TILE], sum[SAMPLE_TILE] = {0};
        memcpy(largest, logits + first, sizeof *largest * (size_t)count);
        for (int64_t k = 1; k < net->classes; k++) {
            for (int64_t i = 0; i < count; i++) { largest[i] = fmax(largest[i], logits[k * n + first + i]); }
        }
        for (int64_t k = 0; k < net->classes; k++) {
            for (int64_t i = 0; i < count; i++) { sum[i] += exp(logits[k * n + first + i] - largest[i]); }
        }
        for (int64_t i = 0; i < count; i++) { out[first + i] = largest[i] + log(sum[i]); }
    }
}

static void find_residuals(elastic_net *net)
{
    const int64_t n = net->n;
    const int threads = threads_for(net, 20 * n * net->classes);
    find_log_sums(net, net->logits, net->log_sum);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < net->classes; k++) {
        for (int64_t i = 0; i < n; i++) {
            net->residual[k * n + i] = (net->y[i] == k) - exp(net->logits[k * n + i] - net->log_sum[i]);
        }
    }
}

/* gradient = -1/n residual z^T, tile by tile, each on one thread. */
static void find_gradient(elastic_net *net)
{
    const int64_t n = net->n, d = net->features, across = (d + FEATURE_TILE - 1) / FEATURE_TILE;
    const int64_t tiles = (net->classes + CLASS_TILE - 1) / CLASS_TILE * across;
    const int threads = threads_for(net, n * d * net->classes / 4);
    find_residuals(net);
    const int before = spade_set_num_threads(1);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t k = tile / across * CLASS_TILE, j = tile % across * FEATURE_TILE;
        const int64_t rows = net->classes - k < CLASS_TILE ? net->classes - k : CLASS_TILE;
        const int64_t columns = d - j < FEATURE_TILE ? d - j : FEATURE_TILE;
        spade_product_of_rows(rows, columns, n, -1 / (double)n, net->residual + k * n, net->z + j * n,
                              net->gradient + k * d + j, d);
    }
    spade_set_num_threads(before);
}

/* How far 0 is from the subgradients of the objective for a weight, where the loss has this gradient. */
static double violation_of(const elastic_net *net, double lambda, double gradient, double weight)
{
    const double l1 = lambda * net->alpha, g = gradient + lambda * (1 - net->alpha) * weight;
    if (weight > 0) { return fabs(g + l1); }
    if (weight < 0) { return fabs(g - l1); }
    return fmax(fabs(g) - l1, 0);
}

/* The largest violation of all weights and biases, by the gradient; weights that violate more than the tolerance may change from
 * now on. */
static double find_violations(elastic_net *net, double lambda)
{
    const double tolerance = ELASTIC_NET_TOLERANCE * lambda;
    double worst = 0;
    for (int64_t k = 0; k < net->classes; k++) {
        double sum = 0;
        for (int64_t i = 0; i < net->n; i++) { sum += net->residual[k * net->n + i]; }
        net->violation[k] = isnan(sum) ? INFINITY : fabs(sum) / (double)net->n;
        for (int64_t i = k * net->features; i < (k + 1) * net->features; i++) {
            const double violation = violation_of(net, lambda, net->gradient[i], net->weights[i]);
            net->active[i] |= violation > tolerance;
            net->violation[k] = fmax(net->violation[k], violation);
        }
        worst = fmax(worst, net->violation[k]);
    }
    return worst;
}

/* ---- one class: a quadratic model of the loss in its logits */

static double dot(int64_t n, const double *a, const double *b)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) { sum += a[i] * b[i]; }
    return sum;
}

static double sum_of(int64_t n, const double *a)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) { sum += a[i]; }
    return sum;
}

static double weighted_square(int64_t n, const double *weights, const double *a)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) { sum += weights[i] * a[i] * a[i]; }
    return sum;
}

/* The logits move by change * z (NULL: 1), and the model's error with them. */
static void move(elastic_net *net, double change, const double *z)
{
#pragma omp simd
    for (int64_t i = 0; i < net->n; i++) {
        const double delta = z ? change * z[i] : change;
        net->step[i] += delta;
        net->error[i] -= net->curvature[i] * delta;
    }
}

static void begin_model(elastic_net *net, int64_t k)
{
    const double *logits = net->logits + k * net->n;
    for (int64_t i = 0; i < net->n; i++) {
        const double p = exp(logits[i] - net->log_sum[i]);
        net->p[i] = p;
        net->error[i] = (net->y[i] == k) - p;
        net->curvature[i] = fmax(p * (1 - p), LEAST_CURVATURE);
        net->step[i] = 0;
    }
}

/* One sweep of coordinate descent on the model. first: second derivatives are found. Returns the largest violation, each before its
 * weight moved. */
static double sweep(elastic_net *net, int64_t k, int count, double lambda, bool first)
{
    const int64_t n = net->n;
    const double l1 = lambda * net->alpha, l2 = lambda * (1 - net->alpha);
    double *weights = net->weights + k * net->features;
    const double bias = sum_of(n, net->error) / sum_of(n, net->curvature);
    double worst = fabs(sum_of(n, net->error)) / (double)n;
    net->bias[k] += bias;
    move(net, bias, NULL);
    for (int a = 0; a < count; a++) {
        const int32_t j = net->list[a];
        const double *z = net->z + j * n;
        const double gradient = -dot(n, net->error, z) / (double)n;
        worst = fmax(worst, violation_of(net, lambda, gradient, weights[j]));
        if (first) { net->diagonal[a] = weighted_square(n, net->curvature, z) / (double)n; }
        const double target = net->diagonal[a] * weights[j] - gradient;
        const double shrunk = fabs(target) > l1 ? copysign(fabs(target) - l1, target) : 0;
        const double change = shrunk / (net->diagonal[a] + l2) - weights[j];
        if (change == 0) { continue; }
        weights[j] += change;
        if (shrunk == 0) { weights[j] = 0; }
        move(net, change, z);
    }
    return worst;
}

/* ---- and the step that is taken towards its minimum */

static double penalty(const elastic_net *net, double lambda, double weight)
{
    return lambda * ((1 - net->alpha) / 2 * weight * weight + net->alpha * fabs(weight));
}

/* By how much the objective changes when the class goes this share of the step; *slope: what is expected of a whole small one. */
static double change_of_objective(const elastic_net *net, int64_t k, int count, double lambda, double share,
                                  double *slope)
{
    const double *weights = net->weights + k * net->features;
    double loss = 0, first_order = 0, added = 0, whole = 0;
    for (int64_t i = 0; i < net->n; i++) {
        const double step = share * net->step[i], y = net->y[i] == k;
        loss += log1p(net->p[i] * expm1(step)) - y * step;
        first_order += (net->p[i] - y) * net->step[i];
    }
    for (int a = 0; a < count; a++) {
        const double from = net->before[a], to = weights[net->list[a]];
        added += penalty(net, lambda, from + share * (to - from)) - penalty(net, lambda, from);
        whole += penalty(net, lambda, to) - penalty(net, lambda, from);
    }
    *slope = first_order / (double)net->n + whole;
    return loss / (double)net->n + added;
}

/* How much of the step: all of it where the model holds that far, else as far as the objective falls with it (Armijo). */
static double choose_share(const elastic_net *net, int64_t k, int count, double lambda)
{
    double largest = 0, slope;
    for (int64_t i = 0; i < net->n; i++) { largest = fmax(largest, fabs(net->step[i])); }
    double share = largest > LARGEST_STEP ? LARGEST_STEP / largest : 1;
    while (share * largest > SAFE_STEP) {
        const double change = change_of_objective(net, k, count, lambda, share, &slope);
        if (change <= 1e-4 * share * slope) { break; }
        share /= 2;
    }
    return share;
}

static void take_step(elastic_net *net, int64_t k, int count, double lambda, double old_bias)
{
    const double share = choose_share(net, k, count, lambda);
    double *weights = net->weights + k * net->features, *logits = net->logits + k * net->n;
    for (int a = 0; a < count && share < 1; a++) {
        double *weight = &weights[net->list[a]];
        *weight = net->before[a] + share * (*weight - net->before[a]);
    }
    net->bias[k] = old_bias + share * (net->bias[k] - old_bias);
    for (int64_t i = 0; i < net->n; i++) {
        const double step = share * net->step[i];
        logits[i] += step;
        net->log_sum[i] += log1p(net->p[i] * expm1(step));
    }
}

static void improve_class(elastic_net *net, int64_t k, double lambda)
{
    const double old_bias = net->bias[k];
    const double *weights = net->weights + k * net->features;
    const uint8_t *active = net->active + k * net->features;
    int count = 0;
    for (int32_t j = 0; j < net->features; j++) {
        if (!active[j]) { continue; }
        net->before[count] = weights[j];
        net->list[count++] = j;
    }
    begin_model(net, k);
    const double worst = sweep(net, k, count, lambda, true);
    double left = worst;
    for (int s = 1; s < MAX_SWEEPS && left > 0.1 * worst && left > 0.1 * ELASTIC_NET_TOLERANCE * lambda; s++) {
        left = sweep(net, k, count, lambda, false);
    }
    take_step(net, k, count, lambda, old_bias);
    net->violation[k] = worst; /* that was there */
}

/* All classes but those that were fine when they were looked at last. Returns the largest violation that was there. */
static double improve_classes(elastic_net *net, double lambda)
{
    const double fine = 0.1 * ELASTIC_NET_TOLERANCE * lambda;
    double worst = 0;
    for (int64_t k = 0; k < net->classes; k++) {
        if (net->violation[k] <= fine) { continue; }
        improve_class(net, k, lambda);
        worst = fmax(worst, net->violation[k]);
    }
    return worst;
}

/* ---- what all classes of a feature share */

static int by_value(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The c with the least penalty of (v - c) over the n sorted numbers v of this sum. */
static double find_centre(const elastic_net *net, const double *v, int64_t n, double sum)
{
    const double l1 = net->alpha, l2 = 1 - net->alpha;
    for (int64_t below = 0; below < n;) {
        int64_t same = 1;
        while (below + same < n && v[below + same] == v[below]) { same++; }
        const int64_t above = n - below - same;
        const double slope = l2 * ((double)n * v[below] - sum); /* of the penalty, just before and just behind v: */
        const double from = slope + l1 * (double)(below - same - above),
                     to = slope + l1 * (double)(below + same - above);
        if (from >= 0) { /* the zero lies before it: behind the last, or there is none */
            return l2 > 0 ? (l2 * sum - l1 * (double)(below - same - above)) / (l2 * (double)n) : v[below];
        }
        if (to >= 0) { return v[below]; }
        below += same;
    }
    return v[n - 1]; /* not reached: behind the last number the slope is positive */
}

static void shift_feature(elastic_net *net, int64_t j)
{
    const int64_t d = net->features, classes = net->classes;
    double sum = 0;
    for (int64_t k = 0; k < classes; k++) { sum += net->sorted[k] = net->weights[k * d + j]; }
    qsort(net->sorted, (size_t)classes, sizeof *net->sorted, by_value);
    const double centre = find_centre(net, net->sorted, classes, sum);
    for (int64_t k = 0; k < classes; k++) {
        net->weights[k * d + j] -= centre;
        net->active[k * d + j] |= net->weights[k * d + j] != 0;
    }
}

/* Takes c from all weights of a feature, where that makes the penalty less: no logit changes against another one. */
static void centre(elastic_net *net)
{
    const int64_t d = net->features;
    double *sum = net->sums, *signs = sum + d, *zeros = signs + d;
    memset(sum, 0, sizeof *sum * 3 * (size_t)d);
    for (int64_t k = 0; k < net->classes; k++) {
        const double *weights = net->weights + k * d;
        for (int64_t j = 0; j < d; j++) {
            sum[j] += weights[j];
            signs[j] += (weights[j] > 0) - (weights[j] < 0);
            zeros[j] += weights[j] == 0;
        }
    }
    for (int64_t j = 0; j < d; j++) {
        const double slope = (1 - net->alpha) * sum[j] + net->alpha * signs[j];
        if (fabs(slope) > net->alpha * zeros[j]) { shift_feature(net, j); }
    }
}

/* ---- extrapolation: where the cycles lead (Anderson acceleration, as Bertrand and Massias 2021 do it for coordinate descent) */

/* Where these are the logits, and log_sum theirs. */
static double objective(const elastic_net *net, double lambda, const double *weights, const double *logits,
                        const double *log_sum)
{
    double loss = 0, penalties = 0;
    for (int64_t i = 0; i < net->n; i++) { loss += log_sum[i] - logits[net->y[i] * net->n + i]; }
    for (int64_t i = 0; i < net->classes * net->features; i++) {
        if (weights[i] != 0) { penalties += penalty(net, lambda, weights[i]); }
    }
    return loss / (double)net->n + penalties;
}

static void find_logits(const elastic_net *net, const double *weights, const double *bias, double *logits)
{
    const int64_t n = net->n;
    const int threads = threads_for(net, n * net->classes * net->features / 64); /* few weights are not 0 */
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t k = 0; k < net->classes; k++) {
        double *own = logits + k * n;
        for (int64_t i = 0; i < n; i++) { own[i] = bias[k]; }
        for (int64_t j = 0; j < net->features; j++) {
            const double weight = weights[k * net->features + j];
            for (int64_t i = 0; weight != 0 && i < n; i++) { own[i] += weight * net->z[j * n + i]; }
        }
    }
}

/* The mixture of the last MIXED states whose steps would cancel best, as far as they repeat: c = G^-1 1 / sum(G^-1 1), of the Gram
 * matrix G of the steps. In place of the state before them. False: there is none. */
static bool mix_states(elastic_net *net, int64_t size, spade_status *status)
{
    double gram[MIXED * MIXED], shares[MIXED], sum = 0;
    int64_t rank = 0;
    for (int a = 0; a < MIXED; a++) {
        for (int b = 0; b <= a; b++) {
            const double *left = net->history + a * size, *right = net->history + b * size;
            double product = 0;
            for (int64_t i = 0; i < size; i++) { product += (left[size + i] - left[i]) * (right[size + i] - right[i]); }
            gram[a * MIXED + b] = gram[b * MIXED + a] = product;
        }
        shares[a] = 1;
    }
    *status = spade_least_squares(net->context, MIXED, MIXED, gram, shares, &rank);
    for (int a = 0; a < MIXED; a++) { sum += shares[a]; }
    if (*status != SPADE_OK || sum == 0 || !isfinite(sum)) { return false; }
    for (int64_t i = 0; i < size; i++) {
        double mixed = 0;
        for (int a = 0; a < MIXED; a++) { mixed += shares[a] / sum * net->history[(a + 1) * size + i]; }
        net->history[i] = mixed;
    }
    return true;
}

static void take_mixture(elastic_net *net)
{
    const int64_t weights = net->classes * net->features;
    memcpy(net->weights, net->history, sizeof(double) * (size_t)weights);
    memcpy(net->bias, net->history + weights, sizeof(double) * (size_t)net->classes);
    memcpy(net->logits, net->residual, sizeof(double) * (size_t)(net->classes * net->n));
    memcpy(net->log_sum, net->step, sizeof(double) * (size_t)net->n);
    for (int64_t k = 0; k < net->classes; k++) { net->violation[k] = INFINITY; } /* not looked at yet */
}

/* After a cycle. Every MIXED of them their mixture becomes the state, if the objective is less there. */
static spade_status extrapolate(elastic_net *net, double lambda)
{
    const int64_t weights = net->classes * net->features, size = weights + net->classes;
    double *now = net->history + net->seen * size;
    spade_status status = SPADE_OK;
    memcpy(now, net->weights, sizeof(double) * (size_t)weights);
    memcpy(now + weights, net->bias, sizeof(double) * (size_t)net->classes);
    if (net->seen++ < MIXED) { return SPADE_OK; }
    net->seen = 0;
    if (!mix_states(net, size, &status)) { return status; }
    find_logits(net, net->history, net->history + weights, net->residual);
    find_log_sums(net, net->residual, net->step);
    if (objective(net, lambda, net->history, net->residual, net->step) <
        objective(net, lambda, net->weights, net->logits, net->log_sum)) {
        take_mixture(net);
    }
    return SPADE_OK;
}

/* ---- the solution for one lambda */

/* Weights whose gradient changes no faster than lambda does stay 0 where it was small enough. */
static void apply_strong_rule(elastic_net *net, double lambda)
{
    const double least = net->alpha * (2 * lambda - net->lambda);
    for (int64_t i = 0; i < net->classes * net->features; i++) {
        const bool varies = net->scale[i % net->features] != 0;
        net->active[i] = net->weights[i] != 0 || (varies && fabs(net->gradient[i]) >= least);
    }
}

spade_status elastic_net_solve(elastic_net *net, double lambda, elastic_net_solution *out)
{
    const double tolerance = ELASTIC_NET_TOLERANCE * lambda;
    *out = (elastic_net_solution){0};
    net->seen = 0;
    apply_strong_rule(net, lambda);
    out->violation = find_violations(net, lambda);
    while (out->violation > tolerance && out->cycles < MAX_CYCLES) {
        double worst;
        do {
            worst = improve_classes(net, lambda);
            centre(net);
            SPADE_TRY(extrapolate(net, lambda));
            out->cycles++;
        } while (worst > 0.5 * tolerance && out->cycles < MAX_CYCLES);
        find_gradient(net);
        out->violation = find_violations(net, lambda);
    }
    out->converged = out->violation <= tolerance;
    net->lambda = lambda;
    for (int64_t i = 0; i < net->classes * net->features; i++) { out->weights += net->weights[i] != 0; }
    return SPADE_OK;
}

double elastic_net_lambda_max(const elastic_net *net)
{
    return net->lambda_max;
}

void elastic_net_read(const elastic_net *net, double *weights, double *bias)
{
    const int64_t d = net->features;
    double sum = 0;
    for (int64_t k = 0; k < net->classes; k++) {
        bias[k] = net->bias[k];
        for (int64_t j = 0; j < d; j++) {
            weights[k * d + j] = net->weights[k * d + j] * net->scale[j];
            bias[k] -= weights[k * d + j] * net->mean[j];
        }
        sum += bias[k];
    }
    for (int64_t k = 0; k < net->classes; k++) { bias[k] -= sum / (double)net->classes; }
}

/* ---- from the problem to W = 0 */

/* The bias that is best without any weight, and lambda_max, from the gradient there. */
static spade_status begin(elastic_net *net)
{
    double largest = 0;
    for (int64_t k = 0; k < net->classes; k++) {
        int64_t count = 0;
        for (int64_t i = 0; i < net->n; i++) { count += net->y[i] == k; }
        if (!count) {
            return spade_fail(net->context, SPADE_ERROR_ARGUMENT, "elastic net: class %lld has no sample",
                              (long long)k);
        }
        net->bias[k] = log((double)count / (double)net->n);
        for (int64_t i = 0; i < net->n; i++) { net->logits[k * net->n + i] = net->bias[k]; }
    }
    find_gradient(net);
    for (int64_t i = 0; i < net->classes * net->features; i++) { largest = fmax(largest, fabs(net->gradient[i])); }
    net->lambda = net->lambda_max = largest / net->alpha;
    return SPADE_OK;
}

spade_status elastic_net_create(spade_context *context, const elastic_net_problem *problem, elastic_net **out)
{
    elastic_net *net = calloc(1, sizeof *net);
    spade_status status;
    *out = NULL;
    if (!net) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: an elastic net"); }
    *net = (elastic_net){.context = context,
                         .n = problem->samples,
                         .features = problem->features,
                         .classes = problem->classes,
                         .alpha = problem->alpha};
    net->bytes = lay_out(net, NULL);
    SPADE_GOTO(spade_alloc_zeroed(context, net->bytes, "the features and weights of an elastic net", &net->memory));
    lay_out(net, net->memory);
    for (int64_t i = 0; i < net->n; i++) { net->y[i] = (int32_t)problem->y[i]; }
#pragma omp parallel for schedule(static) num_threads(context->threads)
    for (int64_t j = 0; j < net->features; j++) { standardise(net, problem, j); }
    SPADE_GOTO(begin(net));
    *out = net;
    return SPADE_OK;
done:
    elastic_net_destroy(net);
    return status;
}

void elastic_net_destroy(elastic_net *net)
{
    if (!net) { return; }
    spade_free_bytes(net->context, net->memory, net->bytes);
    free(net);
}
