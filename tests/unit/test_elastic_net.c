/*
 * test_elastic_net.c - the elastic net against its definition: the conditions of the minimum, computed again from the features as
 * they were given, on problems of random sizes; the objective that plain proximal gradient descent reaches; scikit-learn's numbers
 * (golden/data/elastic_net.json, made by golden/elastic_net.py); lambda_max; any number of threads; what is refused.
 */
#include <jansson.h>

#include "solve/elastic_net.h"
#include "support/context.h"
#include "support/random_problem.h"
#include "spade/spade.h"

typedef struct problem {
    int64_t samples, features, classes;
    double alpha;
    float *x;                         /* [samples, features] */
    int64_t *rows, *y;                /* [samples] */
    double *mean, *deviation;         /* [features]; deviation 0: it does not vary */
    double *z;                        /* [samples, features] */
    double *weights, *bias;           /* of x: [classes, features], [classes] */
    double *gradient, *gradient_bias; /* of the loss, for standardised weights */
} problem;

static void *zeros(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count + 1, size);
    assert_non_null(memory);
    return memory;
}

static problem problem_of(int64_t samples, int64_t features, int64_t classes, double alpha)
{
    problem p = {.samples = samples, .features = features, .classes = classes, .alpha = alpha};
    p.x = zeros(samples * features, sizeof *p.x);
    p.rows = zeros(samples, sizeof *p.rows);
    p.y = zeros(samples, sizeof *p.y);
    p.mean = zeros(features, sizeof *p.mean);
    p.deviation = zeros(features, sizeof *p.deviation);
    p.z = zeros(samples * features, sizeof *p.z);
    p.weights = zeros(classes * features, sizeof *p.weights);
    p.bias = zeros(classes, sizeof *p.bias);
    p.gradient = zeros(classes * features, sizeof *p.gradient);
    p.gradient_bias = zeros(classes, sizeof *p.gradient_bias);
    for (int64_t i = 0; i < samples; i++) { p.rows[i] = i; }
    return p;
}

static void problem_free(problem *p)
{
    free(p->x);
    free(p->rows);
    free(p->y);
    free(p->mean);
    free(p->deviation);
    free(p->z);
    free(p->weights);
    free(p->bias);
    free(p->gradient);
    free(p->gradient_bias);
}

static void standardise(problem *p)
{
    for (int64_t j = 0; j < p->features; j++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < p->samples; i++) { sum += (double)p->x[i * p->features + j]; }
        p->mean[j] = sum / (double)p->samples;
        for (int64_t i = 0; i < p->samples; i++) { squares += pow((double)p->x[i * p->features + j] - p->mean[j], 2); }
        p->deviation[j] = sqrt(squares / (double)p->samples);
        if (p->deviation[j] < 1e-6) { p->deviation[j] = 0; }
        for (int64_t i = 0; i < p->samples && p->deviation[j] > 0; i++) {
            p->z[i * p->features + j] = ((double)p->x[i * p->features + j] - p->mean[j]) / p->deviation[j];
        }
    }
}

/* Classes whose features differ, some features alike, some that no class has to do with, and one that is always the same. */
static problem random_problem(source *s, int64_t samples, int64_t features, int64_t classes, double alpha)
{
    problem p = problem_of(samples, features, classes, alpha);
    double *centres = zeros(classes * features, sizeof *centres);
    for (int64_t i = 0; i < classes * features; i++) { centres[i] = uniform(s) < 0.4 ? 2 * uniform(s) : 0; }
    for (int64_t i = 0; i < samples; i++) {
        const double common = uniform(s);
        p.y[i] = i < classes ? i : between(s, 0, classes - 1);
        for (int64_t j = 0; j < features; j++) {
            const double value = centres[p.y[i] * features + j] + uniform(s) + (j % 3 == 0 ? common : 0);
            p.x[i * features + j] = j == 1 && features > 2 ? 0.7f : (float)fmax(value - 0.5, 0);
        }
    }
    free(centres);
    standardise(&p);
    return p;
}

/* The loss, and its gradient, at weights of standardised features. */
static double loss_of(problem *p, const double *w, const double *b)
{
    double loss = 0, *logits = zeros(p->classes, sizeof *logits);
    memset(p->gradient, 0, sizeof *p->gradient * (size_t)(p->classes * p->features));
    memset(p->gradient_bias, 0, sizeof *p->gradient_bias * (size_t)p->classes);
    for (int64_t i = 0; i < p->samples; i++) {
        const double *z = p->z + i * p->features;
        double largest = -INFINITY, sum = 0;
        for (int64_t k = 0; k < p->classes; k++) {
            logits[k] = b[k];
            for (int64_t j = 0; j < p->features; j++) { logits[k] += w[k * p->features + j] * z[j]; }
            largest = fmax(largest, logits[k]);
        }
        for (int64_t k = 0; k < p->classes; k++) { sum += exp(logits[k] - largest); }
        loss += (largest + log(sum) - logits[p->y[i]]) / (double)p->samples;
        for (int64_t k = 0; k < p->classes; k++) {
            const double r = (exp(logits[k] - largest) / sum - (k == p->y[i])) / (double)p->samples;
            p->gradient_bias[k] += r;
            for (int64_t j = 0; j < p->features; j++) { p->gradient[k * p->features + j] += r * z[j]; }
        }
    }
    free(logits);
    return loss;
}

static double penalty_of(const problem *p, double lambda, const double *w)
{
    double sum = 0;
    for (int64_t i = 0; i < p->classes * p->features; i++) {
        sum += lambda * ((1 - p->alpha) / 2 * w[i] * w[i] + p->alpha * fabs(w[i]));
    }
    return sum;
}

/* The weights of what was solved last, for standardised features; their bias to b. */
static double *standard_weights(const problem *p, double *b)
{
    double *w = zeros(p->classes * p->features, sizeof *w);
    for (int64_t k = 0; k < p->classes; k++) {
        b[k] = p->bias[k];
        for (int64_t j = 0; j < p->features; j++) {
            w[k * p->features + j] = p->weights[k * p->features + j] * p->deviation[j];
            b[k] += p->weights[k * p->features + j] * p->mean[j];
        }
    }
    return w;
}

static elastic_net *create(spade_context *context, const problem *p)
{
    const elastic_net_problem as_given = {.samples = p->samples,
                                          .features = p->features,
                                          .classes = p->classes,
                                          .x = p->x,
                                          .rows = p->rows,
                                          .y = p->y,
                                          .alpha = p->alpha};
    elastic_net *net;
    if (elastic_net_create(context, &as_given, &net) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    return net;
}

static void solve(elastic_net *net, problem *p, double lambda, elastic_net_solution *out)
{
    assert_int_equal(elastic_net_solve(net, lambda, out), SPADE_OK);
    elastic_net_read(net, p->weights, p->bias);
}

/* No subgradient is further from 0 than the tolerance, and the objective is returned. */
static double expect_minimum(problem *p, double lambda, const elastic_net_solution *solution)
{
    const double tolerance = 1.01 * ELASTIC_NET_TOLERANCE * lambda + 1e-13;
    double *b = zeros(p->classes, sizeof *b), *w = standard_weights(p, b), sum = 0;
    int64_t count = 0;
    const double loss = loss_of(p, w, b);
    for (int64_t i = 0; i < p->classes * p->features; i++) {
        const double g = p->gradient[i] + lambda * (1 - p->alpha) * w[i], l1 = lambda * p->alpha;
        const double violation = w[i] > 0 ? fabs(g + l1) : w[i] < 0 ? fabs(g - l1) : fmax(fabs(g) - l1, 0);
        count += w[i] != 0;
        if (violation > tolerance) { fail_msg("weight %lld: %g, tolerance %g", (long long)i, violation, tolerance); }
    }
    for (int64_t k = 0; k < p->classes; k++) {
        if (fabs(p->gradient_bias[k]) > tolerance) {
            fail_msg("bias %lld: %g, tolerance %g, said %g", (long long)k, p->gradient_bias[k], tolerance,
                     solution->violation);
        }
        sum += p->bias[k];
    }
    assert_true(fabs(sum) < 1e-9);
    assert_true(solution->converged && solution->violation <= tolerance && solution->weights == count);
    const double objective = loss + penalty_of(p, lambda, w);
    free(w);
    free(b);
    return objective;
}

/* The least objective that is found with steps of 1/L, L the largest curvature, with momentum and restarts. */
static double descend(problem *p, double lambda)
{
    const int64_t size = p->classes * p->features;
    double *w = zeros(size, sizeof *w), *v = zeros(size, sizeof *v), *b = zeros(p->classes, sizeof *b);
    double *c = zeros(p->classes, sizeof *c), squares = 0, best = INFINITY, momentum = 1;
    for (int64_t i = 0; i < p->samples * p->features; i++) { squares += p->z[i] * p->z[i]; }
    const double step = 1 / (0.5 * (squares / (double)p->samples + 1) + lambda);
    for (int n = 0; n < 20000; n++) {
        const double next = (1 + sqrt(1 + 4 * momentum * momentum)) / 2, share = (momentum - 1) / next;
        double turn = 0;
        loss_of(p, v, c);
        for (int64_t i = 0; i < size; i++) {
            const double u = v[i] - step * (p->gradient[i] + lambda * (1 - p->alpha) * v[i]),
                         l1 = step * lambda * p->alpha;
            const double to = fabs(u) > l1 ? copysign(fabs(u) - l1, u) : 0;
            turn += (v[i] - to) * (to - w[i]);
            v[i] = to + share * (to - w[i]);
            w[i] = to;
        }
        for (int64_t k = 0; k < p->classes; k++) {
            const double to = c[k] - step * p->gradient_bias[k];
            turn += (c[k] - to) * (to - b[k]);
            c[k] = to + share * (to - b[k]);
            b[k] = to;
        }
        momentum = turn > 0 ? 1 : next;
        if (n % 1000 != 999) { continue; }
        const double objective = loss_of(p, w, b) + penalty_of(p, lambda, w);
        if (objective > best - 1e-13) { break; }
        best = objective;
    }
    free(w);
    free(v);
    free(b);
    free(c);
    return best;
}

static void test_minimum(void **state)
{
    (void)state;
    static const double alphas[] = {0.99, 0.5, 1};
    spade_context *context = test_context("cpu", 1);
    source s = {.key = 1};
    for (int round = 0; round < 24; round++) {
        const int64_t classes = between(&s, 2, 6), features = between(&s, 1, 40),
                      samples = classes + between(&s, 2, 60);
        problem p = random_problem(&s, samples, features, classes, alphas[round % 3]);
        elastic_net *net = create(context, &p);
        elastic_net_solution solution;
        const double most = elastic_net_lambda_max(net);
        for (int i = 1; i <= 6; i++) { /* along a path, then back up, from another solution */
            const double lambda = most * pow(0.3, i < 6 ? i : 2);
            solve(net, &p, lambda, &solution);
            const double objective = expect_minimum(&p, lambda, &solution);
            if (round % 4 || i % 3) { continue; }
            const double reached = descend(&p, lambda);
            if (fabs(reached - objective) > 1e-8) { fail_msg("round %d: %.12g, %.12g", round, objective, reached); }
        }
        elastic_net_destroy(net);
        problem_free(&p);
    }
    spade_context_destroy(context);
}

/* A path like that of sparse_fc, also where the classes can be told apart and the weights grow. */
static void test_path(void **state)
{
    (void)state;
    spade_context *context = test_context("cpu", 1);
    source s = {.key = 2};
    problem p = random_problem(&s, 45, 30, 3, 0.99);
    elastic_net *net = create(context, &p);
    elastic_net_solution solution;
    const double most = elastic_net_lambda_max(net);
    for (int i = 0; i < 100; i++) {
        const double lambda = most * pow(0.001, i / 99.0);
        solve(net, &p, lambda, &solution);
        expect_minimum(&p, lambda, &solution);
    }
    elastic_net_destroy(net);
    problem_free(&p);
    spade_context_destroy(context);
}

static void test_lambda_max(void **state)
{
    (void)state;
    spade_context *context = test_context("cpu", 1);
    source s = {.key = 3};
    for (int round = 0; round < 8; round++) {
        problem p =
            random_problem(&s, between(&s, 10, 40), between(&s, 1, 12), between(&s, 2, 5), round % 2 ? 0.99 : 0.3);
        double *b = zeros(p.classes, sizeof *b), *w = zeros(p.classes * p.features, sizeof *w), largest = 0;
        for (int64_t i = 0; i < p.samples; i++) { b[p.y[i]] += 1 / (double)p.samples; }
        for (int64_t k = 0; k < p.classes; k++) { b[k] = log(b[k]); }
        loss_of(&p, w, b);
        for (int64_t i = 0; i < p.classes * p.features; i++) { largest = fmax(largest, fabs(p.gradient[i])); }
        elastic_net *net = create(context, &p);
        elastic_net_solution solution;
        const double most = elastic_net_lambda_max(net);
        assert_true(fabs(most - largest / p.alpha) <= 1e-12 * most);
        solve(net, &p, 1.0000001 * most, &solution);
        expect_minimum(&p, 1.0000001 * most, &solution);
        assert_true(solution.weights == 0);
        for (int64_t k = 1; k < p.classes; k++) { /* the bias: shares of the classes */
            assert_true(fabs(p.bias[k] - p.bias[0] - (b[k] - b[0])) < 1e-9);
        }
        solve(net, &p, 0.999 * most, &solution);
        assert_true(solution.weights > 0);
        elastic_net_destroy(net);
        problem_free(&p);
        free(b);
        free(w);
    }
    spade_context_destroy(context);
}

static double number_in(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void test_golden(void **state)
{
    (void)state;
    enum { SAMPLES = 48, FEATURES = 10, CLASSES = 3 };
    json_error_t error;
    json_t *golden = json_load_file(SPADE_TEST_DATA "/elastic_net.json", 0, &error), *item;
    spade_context *context = test_context("cpu", 1);
    size_t index;
    assert_int_equal(json_array_size(json_object_get(golden, "cases")), 3);
    json_array_foreach(json_object_get(golden, "cases"), index, item)
    {
        const double lambda = number_in(item, "lambda");
        problem p = problem_of(SAMPLES, FEATURES, CLASSES, number_in(item, "alpha"));
        elastic_net_solution solution;
        for (int i = 0; i < SAMPLES * FEATURES; i++) {
            const int n = i / FEATURES, j = i % FEATURES;
            p.y[n] = n % 7 % CLASSES;
            p.x[i] = (float)(3 + sin(1 + 0.7 * n * (j + 1)) +
                             0.5 * cos(2.3 * (j + 2) * ((double)p.y[n] + 1)) * (1 + 0.2 * j));
        }
        standardise(&p);
        elastic_net *net = create(context, &p);
        solve(net, &p, lambda, &solution);
        const double objective = expect_minimum(&p, lambda, &solution);
        assert_true(fabs(objective - number_in(item, "objective")) < 1e-8);
        for (int i = 0; i < CLASSES * FEATURES; i++) {
            const double wanted = json_number_value(json_array_get(json_object_get(item, "weights"), (size_t)i));
            if (fabs(p.weights[i] - wanted) > 1e-3 * (1 + fabs(wanted)) || (wanted == 0) != (p.weights[i] == 0)) {
                fail_msg("case %zu, weight %d: %g, not %g", index, i, p.weights[i], wanted);
            }
        }
        for (int k = 0; k < CLASSES; k++) {
            const double wanted = json_number_value(json_array_get(json_object_get(item, "bias"), (size_t)k));
            assert_true(fabs(p.bias[k] - wanted) < 1e-3 * (1 + fabs(wanted)));
        }
        elastic_net_destroy(net);
        problem_free(&p);
    }
    json_decref(golden);
    spade_context_destroy(context);
}

/* Large enough that threads share the work; rows of x in another order, and more of them than are used. */
static void test_threads(void **state)
{
    (void)state;
    source s = {.key = 4};
    problem p = random_problem(&s, 700, 130, 160, 0.99);
    double *first = zeros(p.classes * (p.features + 1), sizeof *first);
    for (int64_t i = 0; i < p.samples; i++) { p.rows[i] = p.samples - 1 - i; }
    for (int64_t i = 0; i < p.samples / 2; i++) {
        const int64_t y = p.y[i];
        p.y[i] = p.y[p.samples - 1 - i];
        p.y[p.samples - 1 - i] = y;
    }
    for (int threads = 1; threads <= 3; threads++) {
        spade_context *context = test_context("cpu", threads);
        elastic_net *net = create(context, &p);
        elastic_net_solution solution;
        solve(net, &p, 0.8 * elastic_net_lambda_max(net), &solution);
        solve(net, &p, 0.55 * elastic_net_lambda_max(net), &solution);
        assert_true(solution.converged && solution.weights > 5);
        const size_t weights = (size_t)(p.classes * p.features), classes = (size_t)p.classes;
        if (threads == 1) {
            memcpy(first, p.weights, sizeof *first * weights);
            memcpy(first + weights, p.bias, sizeof *first * classes);
        }
        assert_memory_equal(first, p.weights, sizeof *first * weights);
        assert_memory_equal(first + weights, p.bias, sizeof *first * classes);
        elastic_net_destroy(net);
        spade_context_destroy(context);
    }
    free(first);
    problem_free(&p);
}

static void test_refused(void **state)
{
    (void)state;
    spade_context_options options;
    spade_context *context;
    source s = {.key = 5};
    problem p = random_problem(&s, 30, 20, 3, 0.99);
    elastic_net_problem as_given = {30, 20, 4, p.x, p.rows, p.y, 0.99};
    elastic_net *net;
    spade_context_options_init(&options);
    options.device = "cpu";
    options.memory = 10000;
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    assert_true(elastic_net_bytes(30, 20, 4) > options.memory);
    assert_int_equal(elastic_net_create(context, &as_given, &net), SPADE_ERROR_MEMORY);
    assert_null(net);
    spade_context_destroy(context);
    context = test_context("cpu", 1);
    assert_int_equal(elastic_net_create(context, &as_given, &net), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(context), "class 3 has no sample"));
    elastic_net_destroy(NULL);
    spade_context_destroy(context);
    problem_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_minimum),    cmocka_unit_test(test_path),
                                       cmocka_unit_test(test_lambda_max), cmocka_unit_test(test_golden),
                                       cmocka_unit_test(test_threads),    cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
