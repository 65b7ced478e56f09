/* sparse_fc.c - see sparse_fc.h. */
#include "trace/sparse_fc.h"

#include <math.h>

#include "engine/magnitude.h"
#include "network/decision_layer.h"
#include "solve/elastic_net.h"
#include "trace/trace.h"

/* ---- the layer, its inputs, and the network with another one */

static const spade_node *node_of(const spade_model *model, int layer)
{
    return &model->network.nodes[model->network.layers[layer].node];
}

spade_status spade_sparse_fc_layer(spade_context *context, const spade_model *model, int *layer)
{
    SPADE_TRY(spade_find_decision_layer(context, &model->network, layer));
    const spade_parameter *scale = &node_of(model, *layer)->parameters[SPADE_SCALE];
    for (int64_t r = 0; r < scale->count; r++) {
        if (isnormal(scale->data[r])) { continue; }
        return spade_fail(context, SPADE_ERROR_UNSUPPORTED, "layer %.200s: its product is multiplied by %g",
                          model->network.layers[*layer].name, (double)scale->data[r]);
    }
    return SPADE_OK;
}

/* Of so many images, a micro-batch or what is left of one. */
static spade_status look_at(spade_context *context, const spade_model *model, int layer, const float *input, int64_t n,
                            float *features, float *outputs)
{
    const spade_network *network = &model->network;
    const spade_backend *backend = context->device->backend;
    const int tap = node_of(model, layer)->inputs[0];
    spade_plan_request request = spade_forward_request(n);
    spade_executor *executor = NULL;
    spade_shape shape;
    spade_status status = SPADE_OK;
    request.taps = &tap;
    request.tap_count = 1;
    SPADE_GOTO(spade_executor_acquire(context, network, &request, NULL, &executor));
    void *x = spade_plan_input(executor->plan, &shape);
    SPADE_GOTO(backend->upload(context->device, x, input, sizeof *input * (size_t)spade_shape_size(&shape)));
    SPADE_GOTO(spade_executor_forward_checked(executor, outputs));
    const float *from = spade_plan_tap(executor->plan, 0, &shape);
    SPADE_GOTO(backend->download(context->device, features, from, sizeof *features * (size_t)spade_shape_size(&shape)));
done:
    spade_executor_release(executor);
    return status;
}

spade_status spade_sparse_fc_features(spade_context *context, const spade_model *model, int layer, const float *input,
                                      int64_t n, float *features, float *outputs)
{
    const int64_t pixels = spade_shape_size(&model->network.values[model->network.input].shape);
    const int64_t width = spade_network_outputs(&model->network), columns = model->network.layers[layer].columns;
    for (int64_t i = 0; i < n; i += SPADE_MICRO_BATCH) {
        const int64_t count = n - i < SPADE_MICRO_BATCH ? n - i : SPADE_MICRO_BATCH;
        const spade_status status =
            look_at(context, model, layer, input + i * pixels, count, features + i * columns, outputs + i * width);
        if (status != SPADE_OK) { return spade_fail_in(context, status, "%.200s", model->path); }
    }
    return SPADE_OK;
}

spade_status spade_sparse_fc_open(spade_context *context, const spade_model *model, int layer, spade_sparse_fc *out)
{
    const spade_layer *l = &model->network.layers[layer];
    void *memory;
    *out = (spade_sparse_fc){.context = context, .layer = layer, .rows = l->rows, .columns = l->columns};
    out->bytes = sizeof(float) * (size_t)(l->rows * (l->columns + 1));
    SPADE_TRY(spade_alloc_zeroed(context, out->bytes, "a sparse last layer", &memory));
    out->weights = memory;
    out->bias = out->weights + l->rows * l->columns;
    return SPADE_OK;
}

void spade_sparse_fc_clear(spade_sparse_fc *fc)
{
    if (fc->weights) { spade_free_bytes(fc->context, fc->weights, fc->bytes); }
    *fc = (spade_sparse_fc){0};
}

/* What the layer does besides is taken off: a factor of its rows, and what is added behind it. */
static void adapt(const spade_model *model, const spade_sparse_fc *fc, float *weights, float *bias)
{
    const float *scale = node_of(model, fc->layer)->parameters[SPADE_SCALE].data;
    spade_decision_offsets(&model->network, bias);
    for (int64_t r = 0; r < fc->rows; r++) {
        bias[r] = fc->bias[r] - bias[r];
        for (int64_t j = r * fc->columns; j < (r + 1) * fc->columns; j++) {
            weights[j] = fc->weights[j] / (scale ? scale[r] : 1);
        }
    }
}

spade_status spade_sparse_fc_trace(spade_context *context, const spade_model *model, const spade_sparse_fc *fc,
                                   spade_trace **out)
{
    spade_trace *trace = NULL;
    void *memory = NULL;
    spade_status status;
    *out = NULL;
    SPADE_GOTO(spade_alloc(context, fc->bytes, "a sparse last layer", &memory));
    float *weights = memory, *bias = weights + fc->rows * fc->columns;
    adapt(model, fc, weights, bias);
    SPADE_GOTO(spade_trace_create_empty(context, model, &trace));
    SPADE_GOTO(spade_trace_set_weights(context, trace, fc->layer, weights));
    SPADE_GOTO(spade_trace_set_bias(context, trace, fc->layer, bias));
    spade_trace_layer *layer = &trace->layers[fc->layer];
    layer->solved = true;
    layer->sparsity = (double)layer->zeros / (double)layer->weights;
    *out = trace;
    trace = NULL;
done:
    spade_free_bytes(context, memory, fc->bytes);
    spade_trace_destroy(trace);
    return status;
}

/* ---- the fit */

typedef struct picture {
    int64_t class_number; /* among the classes that pictures have */
    double draw;
    int64_t index;
} picture;

typedef struct fit {
    spade_context *context;
    const spade_sparse_fc_pictures *pictures;
    int64_t columns;
    int64_t *classes; /* [class_count]: the network's number of each class that pictures have, rising */
    int64_t class_count;
    picture *order;       /* [count]: by class, in each as they were drawn */
    int64_t *rows, *y;    /* [fitted]: pictures, and the numbers of their classes */
    int64_t *aside;       /* [aside_count]: pictures */
    int64_t *aside_class; /* [aside_count]: the network's */
    int64_t fitted, aside_count;
    double *weights, *bias; /* [class_count, columns], [class_count]: of the step at hand */
    size_t bytes;
} fit;

static spade_status fail_memory(spade_context *context)
{
    return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a sparse last layer");
}

static int by_class_and_draw(const void *left, const void *right)
{
    const picture *a = left, *b = right;
    if (a->class_number != b->class_number) { return a->class_number < b->class_number ? -1 : 1; }
    if (a->draw != b->draw) { return a->draw < b->draw ? -1 : 1; }
    return (a->index > b->index) - (a->index < b->index);
}

/* The pictures by class and draw, and the classes that there are; class_number becomes a place among these. */
static void sort_pictures(fit *f)
{
    const spade_sparse_fc_pictures *p = f->pictures;
    const uint32_t key[2] = {(uint32_t)p->seed, (uint32_t)(p->seed >> 32)};
    for (int64_t i = 0; i < p->count; i++) {
        const uint32_t counter[4] = {(uint32_t)i, (uint32_t)((uint64_t)i >> 32), 0x5FC, 0};
        uint32_t random[4];
        spade_philox(key, counter, random);
        f->order[i] = (picture){p->classes[i], spade_uniform(random[0], random[1]), i};
    }
    qsort(f->order, (size_t)p->count, sizeof *f->order, by_class_and_draw);
    for (int64_t i = 0; i < p->count; i++) {
        const int64_t number = f->order[i].class_number;
        if (!f->class_count || f->classes[f->class_count - 1] != number) { f->classes[f->class_count++] = number; }
        f->order[i].class_number = f->class_count - 1;
    }
}

/* Every so many pictures, counted on from class to class, one is kept aside; the first of a class never. */
static void split_pictures(fit *f)
{
    double due = 0;
    for (int64_t i = 0; i < f->pictures->count; i++) {
        const picture *p = &f->order[i];
        const bool first = i == 0 || f->order[i - 1].class_number != p->class_number;
        due += SPARSE_FC_ASIDE;
        if (due >= 1 && !first) {
            due -= 1;
            f->aside_class[f->aside_count] = f->classes[p->class_number];
            f->aside[f->aside_count++] = p->index;
        } else {
            f->y[f->fitted] = p->class_number;
            f->rows[f->fitted++] = p->index;
        }
    }
}

static void close_fit(fit *f)
{
    spade_free_bytes(f->context, f->weights, f->bytes);
    free(f->classes);
    free(f->order);
    free(f->rows);
    free(f->y);
    free(f->aside);
    free(f->aside_class);
}

static spade_status open_fit(fit *f)
{
    const size_t count = (size_t)f->pictures->count + 1;
    void *memory;
    f->classes = malloc(sizeof *f->classes * count);
    f->order = malloc(sizeof *f->order * count);
    f->rows = malloc(sizeof *f->rows * count);
    f->y = malloc(sizeof *f->y * count);
    f->aside = malloc(sizeof *f->aside * count);
    f->aside_class = malloc(sizeof *f->aside_class * count);
    if (!f->classes || !f->order || !f->rows || !f->y || !f->aside || !f->aside_class) {
        return fail_memory(f->context);
    }
    sort_pictures(f);
    split_pictures(f);
    if (f->class_count < 2) {
        return spade_fail(f->context, SPADE_ERROR_INPUT,
                          "%lld pictures of %lld class%s: a layer that decides is fitted to two classes at least",
                          (long long)f->pictures->count, (long long)f->class_count, f->class_count == 1 ? "" : "es");
    }
    if (!f->aside_count) {
        return spade_fail(f->context, SPADE_ERROR_INPUT,
                          "%lld pictures of %lld classes are too few to keep one in %.0f aside",
                          (long long)f->pictures->count, (long long)f->class_count, 1 / SPARSE_FC_ASIDE);
    }
    f->bytes = sizeof *f->weights * (size_t)(f->class_count * (f->columns + 1));
    SPADE_TRY(spade_alloc(f->context, f->bytes, "a sparse last layer", &memory));
    f->weights = memory;
    f->bias = f->weights + f->class_count * f->columns;
    return SPADE_OK;
}

/* What a class gets of a picture, by float32 weights, as the network will have them. */
static double value_of(const fit *f, int64_t class_number, int64_t index)
{
    const double *weights = f->weights + class_number * f->columns;
    const float *x = f->pictures->features + index * f->columns;
    double sum = (double)(float)f->bias[class_number];
    for (int64_t j = 0; j < f->columns; j++) {
        if (weights[j] != 0) { sum += (double)(float)weights[j] * (double)x[j]; }
    }
    return sum;
}

static int64_t decide(const fit *f, int64_t index)
{
    int64_t top = 0;
    double largest = -INFINITY;
    for (int64_t k = 0; k < f->class_count; k++) {
        const double value = value_of(f, k, index);
        if (value > largest) {
            largest = value;
            top = k;
        }
    }
    return f->classes[top];
}

static int64_t count_right(const fit *f)
{
    int64_t right = 0;
    for (int64_t i = 0; i < f->aside_count; i++) { right += decide(f, f->aside[i]) == f->aside_class[i]; }
    return right;
}

typedef struct path_step {
    int64_t weights, right; /* weights 0: it is none to choose */
} path_step;

static double lambda_at(double lambda_max, int step)
{
    return lambda_max * pow(SPARSE_FC_RATIO, (double)step / (SPARSE_FC_STEPS - 1));
}

/* The path up to a step, whose weights are then in f, or to where it does not converge any more: *out: steps that there are. */
static spade_status walk_path(fit *f, int last, path_step *steps, double *lambda_max, int *out)
{
    const elastic_net_problem problem = {.samples = f->fitted,
                                         .features = f->columns,
                                         .classes = f->class_count,
                                         .x = f->pictures->features,
                                         .rows = f->rows,
                                         .y = f->y,
                                         .alpha = SPARSE_FC_ALPHA};
    elastic_net *net;
    spade_status status = SPADE_OK;
    SPADE_TRY(elastic_net_create(f->context, &problem, &net));
    *lambda_max = elastic_net_lambda_max(net);
    if (!(*lambda_max > 1e-12)) { /* rounding's */
        SPADE_GOTO(spade_fail(f->context, SPADE_ERROR_INPUT, "the features say nothing of the pictures' classes"));
    }
    for (*out = 0; *out <= last; (*out)++) {
        elastic_net_solution solution;
        SPADE_GOTO(elastic_net_solve(net, lambda_at(*lambda_max, *out), &solution));
        if (!solution.converged) {
            spade_log(f->context, SPADE_LOG_INFO,
                      "sparse_fc: the path ends at step %d of %d: after %lld cycles it is off by %.1e", *out,
                      SPARSE_FC_STEPS, (long long)solution.cycles, solution.violation);
            break;
        }
        elastic_net_read(net, f->weights, f->bias);
        steps[*out] = (path_step){solution.weights, solution.weights ? count_right(f) : 0};
        spade_report_progress(f->context, "sparse_fc", *out + 1, last + 1);
    }
done:
    elastic_net_destroy(net);
    return status;
}

/* The sparsest that is near enough to the best; -1: there is none with a weight. */
static int choose_step(const path_step *steps, int count, double allowed)
{
    int64_t best = 0;
    int chosen = -1;
    for (int s = 0; s < count; s++) {
        if (steps[s].weights && steps[s].right > best) { best = steps[s].right; }
    }
    for (int s = 0; s < count; s++) {
        if (!steps[s].weights || (double)steps[s].right < (double)best - allowed - 1e-9) { continue; }
        if (chosen < 0 || steps[s].weights < steps[chosen].weights) { chosen = s; }
    }
    return chosen;
}

/* From the classes that there are to the network's rows. */
static void write_rows(const fit *f, spade_sparse_fc *out)
{
    if (out->rows == 1) { /* how much it is class 1 of two */
        for (int64_t j = 0; j < f->columns; j++) {
            out->weights[j] = (float)(f->weights[f->columns + j] - f->weights[j]);
        }
        out->bias[0] = (float)(f->bias[1] - f->bias[0]);
    } else {
        double least = INFINITY;
        for (int64_t k = 0; k < f->class_count && f->class_count < out->rows; k++) {
            for (int64_t i = 0; i < f->fitted; i++) { least = fmin(least, value_of(f, k, f->rows[i])); }
        }
        for (int64_t r = 0; r < out->rows; r++) { out->bias[r] = (float)least - SPARSE_FC_ABSENT; }
        for (int64_t k = 0; k < f->class_count; k++) {
            float *row = out->weights + f->classes[k] * f->columns;
            for (int64_t j = 0; j < f->columns; j++) { row[j] = (float)f->weights[k * f->columns + j]; }
            out->bias[f->classes[k]] = (float)f->bias[k];
        }
    }
    for (int64_t i = 0; i < out->rows * out->columns; i++) { out->nonzeros += out->weights[i] != 0; }
    for (int64_t k = 0; k < f->class_count && out->rows > 1; k++) {
        out->empty += spade_count_zeros(out->weights + f->classes[k] * f->columns, f->columns) == f->columns;
    }
}

static spade_status choose(fit *f, spade_sparse_fc *out)
{
    path_step steps[SPARSE_FC_STEPS];
    int count;
    SPADE_TRY(walk_path(f, SPARSE_FC_STEPS - 1, steps, &out->lambda_max, &count));
    out->step = choose_step(steps, count, f->pictures->margin * (double)f->aside_count);
    if (out->step < 0) {
        return spade_fail(f->context, SPADE_ERROR_NUMERICAL, "no solution with a weight was found for any lambda");
    }
    SPADE_TRY(walk_path(f, out->step, steps, &out->lambda_max, &count));
    out->lambda = lambda_at(out->lambda_max, out->step);
    out->sparse_right = steps[out->step].right;
    return SPADE_OK;
}

uint64_t spade_sparse_fc_bytes(const spade_model *model, int layer, int64_t pictures)
{
    const spade_layer *l = &model->network.layers[layer];
    const int64_t classes = l->rows == 1 ? 2 : l->rows;
    return elastic_net_bytes(pictures, l->columns, classes) +
           (sizeof(float) + sizeof(double)) * (uint64_t)(classes * (l->columns + 1));
}

spade_status spade_sparse_fc_fit(spade_context *context, const spade_model *model, int layer,
                                 const spade_sparse_fc_pictures *pictures, spade_sparse_fc *out)
{
    fit f = {.context = context, .pictures = pictures, .columns = model->network.layers[layer].columns};
    spade_status status;
    *out = (spade_sparse_fc){0};
    SPADE_GOTO(open_fit(&f));
    SPADE_GOTO(spade_sparse_fc_open(context, model, layer, out));
    out->classes = f.class_count;
    out->fitted = f.fitted;
    out->aside = f.aside_count;
    for (int64_t i = 0; i < f.aside_count; i++) { out->dense_right += pictures->dense[f.aside[i]] == f.aside_class[i]; }
    SPADE_GOTO(choose(&f, out));
    write_rows(&f, out);
done:
    close_fit(&f);
    if (status != SPADE_OK) { spade_sparse_fc_clear(out); }
    return status;
}
