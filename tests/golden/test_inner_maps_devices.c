/*
 * test_inner_maps_devices.c - maps of layers and of attention.
 *
 * On the small exports (tests/zoo/small.py) against tests/zoo/export_maps.py: values and gradients by PyTorch in float64, the
 * methods once more in NumPy from their definitions. NAME.maps.txt has a method a line, NAME.maps.npy its maps of two classes.
 *
 * On the golden networks, dense and as traces, the definitions in plain loops over what a plan shows of the layer.
 */
#include "golden.h"

#include "attribution/rules/rules.h"
#include "engine/executor.h"
#include "engine/model.h"
#include "support/targets.h"

enum { CLASSES = 2 };

/* Of the largest value; a map of zeros is zero. */
static double relative_error(const float *is, const double *should, int64_t n)
{
    double error = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        error = fmax(error, fabs((double)is[i] - should[i]));
        largest = fmax(largest, fabs(should[i]));
    }
    return error > 0 ? error / largest : 0;
}

/* The maps of both classes, of `pixels` pixels each; the caller frees them. */
static float *maps_of(spade_context *context, const spade_model *model, const spade_trace *trace, const char *method,
                      const float *x, const int64_t classes[CLASSES], int64_t *pixels)
{
    spade_attribution *attribution = NULL;
    int64_t shape[3];
    golden_ok(context, spade_attribution_create(context, method, &attribution));
    golden_ok(context, spade_attribution_map_shape(context, model, attribution, shape));
    *pixels = shape[1] * shape[2];
    assert_int_equal(shape[0], 1);
    float *maps = malloc(sizeof *maps * (size_t)(CLASSES * *pixels));
    assert_non_null(maps);
    golden_ok(context, spade_attribute(context, model, trace, attribution, x, targets_of(classes, CLASSES), CLASSES,
                                       maps, NULL));
    spade_attribution_destroy(attribution);
    return maps;
}

/* ---- exports */

#define FOLDER SPADE_TEST_DATA "/exports/"
static const char *const networks[] = {"resnet", "mobilenet", "inception",     "norms", "convnext",
                                       "swin",   "vit",       "vit_multihead", "mixer"};
static const char *const exporters[] = {"old", "new"};
enum { NETWORKS = sizeof networks / sizeof *networks, EXPORTERS = 2 };

static spade_array load(spade_context *context, const char *file)
{
    char path[512];
    spade_array array = {0};
    snprintf(path, sizeof path, FOLDER "%s.npy", file);
    golden_ok(context, spade_array_load(context, path, 0, &array));
    return array;
}

/* Every line's method; the maps stand one after another. */
static int check_export(spade_context *context, const char *network, const char *exporter, const float *x)
{
    static const int64_t classes[CLASSES] = {0, 3};
    char path[512], line[256], method[300], maps[64];
    spade_model *model = NULL;
    int64_t at = 0;
    int lines = 0;
    snprintf(maps, sizeof maps, "%s.maps", network);
    spade_array should = load(context, maps);
    snprintf(path, sizeof path, FOLDER "%s.%s.onnx", network, exporter);
    golden_ok(context, spade_model_load(context, path, NULL, &model));
    snprintf(path, sizeof path, FOLDER "%s.maps.txt", network);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (; fgets(line, sizeof line, file); lines++) {
        int64_t pixels;
        line[strcspn(line, "\n")] = '\0';
        snprintf(method, sizeof method, "%s:upsample=none", line);
        float *is = maps_of(context, model, NULL, method, x, classes, &pixels);
        assert_true(at + CLASSES * pixels <= spade_array_size(&should));
        for (int c = 0; c < CLASSES; c++, at += pixels) {
            double expected[1024];
            assert_true(pixels <= 1024);
            for (int64_t i = 0; i < pixels; i++) { expected[i] = (double)should.data[at + i]; }
            const double error = relative_error(is + c * pixels, expected, pixels);
            if (!(error < 1e-4)) { fail_msg("%s.%s %s: relative error %.2e", network, exporter, line, error); }
        }
        free(is);
    }
    fclose(file);
    assert_int_equal(at, spade_array_size(&should));
    spade_model_destroy(model);
    spade_array_clear(&should);
    return lines;
}

static void test_exports(void **state)
{
    (void)state;
    spade_context *context = golden_context(0, 0);
    spade_array inputs = load(context, "inputs");
    for (int n = 0; n < NETWORKS; n++) {
        for (int e = 0; e < EXPORTERS; e++) {
            if (test_is_emulated() && (n % 3 || e != n % 2)) { continue; } /* takes long there */
            assert_true(check_export(context, networks[n], exporters[e], inputs.data) >= 5);
        }
    }
    spade_array_clear(&inputs);
    spade_context_destroy(context);
}

/* ---- golden networks: values and gradients of layers, as a plan shows them */

enum { SIDE = 64, PIXELS = SIDE * SIDE, PICTURE = 3 * PIXELS, MAX_TAPS = 4 };
static const int64_t explained[CLASSES] = {1, 7};

typedef struct golden_network {
    spade_context *context;
    spade_model *model;
    spade_trace *trace; /* or NULL */
    const float *x;
} golden_network;

typedef struct inner {
    double *values, *gradients; /* in the order of memory */
    int64_t size;
} inner;

static void copy_from_device(spade_context *context, const float *from, int64_t n, double *to)
{
    float *copy = malloc(sizeof *copy * (size_t)n);
    assert_non_null(copy);
    golden_ok(context, context->device->backend->download(context->device, copy, from, sizeof *copy * (size_t)n));
    golden_ok(context, context->device->backend->synchronize(context->device));
    for (int64_t i = 0; i < n; i++) { to[i] = (double)copy[i]; }
    free(copy);
}

/* A pass to the picture, for the logit of a class. */
static void run_pass(const golden_network *g, const int *taps, int count, int64_t class, inner *out)
{
    spade_device *device = g->context->device;
    spade_plan_request request = spade_relevance_request(1, &spade_rules_gradient);
    spade_executor *e = NULL;
    float seed[10] = {0};
    request.taps = taps;
    request.tap_count = count;
    seed[class] = 1;
    golden_ok(g->context,
              spade_executor_acquire(g->context, &g->model->network, &request, spade_weight_override_of(g->trace), &e));
    golden_ok(g->context, spade_run_forward(e->plan, e->weights, g->x, NULL, NULL, NULL, NULL));
    golden_ok(g->context, device->backend->upload(device, spade_plan_output_relevance(e->plan), seed, sizeof seed));
    golden_ok(g->context, spade_run_backward(e->plan, e->weights));
    for (int i = 0; i < count; i++) {
        spade_shape shape;
        const float *value = spade_plan_tap(e->plan, i, &shape);
        out[i].size = spade_shape_size(&shape);
        out[i].values = malloc(sizeof(double) * (size_t)out[i].size);
        out[i].gradients = malloc(sizeof(double) * (size_t)out[i].size);
        assert_true(out[i].values && out[i].gradients);
        copy_from_device(g->context, value, out[i].size, out[i].values);
        copy_from_device(g->context, spade_plan_tap_relevance(e->plan, i), out[i].size, out[i].gradients);
    }
    spade_executor_release(e);
}

/* The last value that a node under this module makes. */
static int value_of(const spade_model *model, const char *module, spade_node_kind kind)
{
    int value = -1;
    for (int n = 0; n < model->network.node_count; n++) {
        const spade_node *node = &model->network.nodes[n];
        const bool is_under = node->path && strncmp(node->path, module, strlen(module)) == 0;
        if (is_under && node->kind == kind) { value = node->outputs[0]; }
    }
    assert_true(value >= 0);
    return value;
}

/* ---- definitions: numbers lie as [places, channels], the picture's places from `first` on */
typedef struct layer {
    const char *network, *module;
    spade_node_kind kind;
    int64_t channels, first, height, width;
} layer;
static const layer layers[] = {
    {"resnet", "layer4.0", SPADE_NODE_FUNCTION, 128, 0, 8, 8},
    {"mobilenet", "features.6", SPADE_NODE_FUNCTION, 240, 0, 4, 4},
    {"vit", "encoder.layers.encoder_layer_3.ln_1", SPADE_NODE_LAYER_NORM, 64, 1, 8, 8},
};
enum { LAYERS = sizeof layers / sizeof *layers, GRID = 64 };

static double value_at(const layer *l, const double *numbers, int64_t channel, int64_t pixel)
{
    return numbers[(l->first + pixel) * l->channels + channel];
}

typedef void (*definition)(const layer *l, const double *a, const double *g, double *map);

static void gradcam(const layer *l, const double *a, const double *g, double *map)
{
    const int64_t pixels = l->height * l->width;
    for (int64_t p = 0; p < pixels; p++) {
        double sum = 0;
        for (int64_t c = 0; c < l->channels; c++) {
            double mean = 0;
            for (int64_t i = 0; i < pixels; i++) { mean += value_at(l, g, c, i) / (double)pixels; }
            sum += mean * value_at(l, a, c, p);
        }
        map[p] = fmax(sum, 0);
    }
}

static void gradcam_plus_plus(const layer *l, const double *a, const double *g, double *map)
{
    const int64_t pixels = l->height * l->width;
    for (int64_t p = 0; p < pixels; p++) {
        double sum = 0;
        for (int64_t c = 0; c < l->channels; c++) {
            double weight = 0, total = 0;
            for (int64_t i = 0; i < pixels; i++) { total += value_at(l, a, c, i); }
            for (int64_t i = 0; i < pixels; i++) {
                const double d = value_at(l, g, c, i);
                if (d != 0) { weight += d * d / (2 * d * d + total * d * d * d) * fmax(d, 0); }
            }
            sum += weight * value_at(l, a, c, p);
        }
        map[p] = fmax(sum, 0);
    }
}

static void layercam(const layer *l, const double *a, const double *g, double *map)
{
    for (int64_t p = 0; p < l->height * l->width; p++) {
        double sum = 0;
        for (int64_t c = 0; c < l->channels; c++) { sum += fmax(value_at(l, g, c, p), 0) * value_at(l, a, c, p); }
        map[p] = fmax(sum, 0);
    }
}

static void check_map(const golden_network *g, const char *network, const char *method, int class_index,
                      const double *should)
{
    char text[64];
    int64_t pixels;
    snprintf(text, sizeof text, "%s:upsample=none", method);
    float *maps = maps_of(g->context, g->model, g->trace, text, g->x, explained, &pixels);
    const double error = relative_error(maps + class_index * pixels, should, pixels);
    print_message("%s %s %s class %lld: relative error %.2e\n", network, g->trace ? "trace" : "dense", method,
                  (long long)explained[class_index], error);
    assert_true(error < 1e-4);
    free(maps);
}

/* F at the picture seen through each channel. */
static void check_scorecam(const golden_network *g, const layer *l, const double *a, int class_index)
{
    const int64_t pixels = l->height * l->width;
    double map[GRID] = {0}, total = 0, highest = -INFINITY, *scores = malloc(sizeof *scores * (size_t)l->channels);
    float *mask = malloc(sizeof *mask * PIXELS), *seen = malloc(sizeof *seen * PICTURE);
    assert_true(mask && seen && scores);
    for (int64_t c = 0; c < l->channels; c++) {
        float channel[GRID], low = INFINITY, high = -INFINITY, logits[10];
        for (int64_t i = 0; i < pixels; i++) { channel[i] = (float)value_at(l, a, c, i); }
        spade_map_resize(channel, l->height, l->width, mask, SIDE, SIDE);
        for (int i = 0; i < PIXELS; i++) { low = fminf(low, mask[i]), high = fmaxf(high, mask[i]); }
        for (int i = 0; i < PICTURE; i++) {
            seen[i] = high > low ? g->x[i] * (mask[i % PIXELS] - low) / (high - low) : 0;
        }
        golden_ok(g->context, spade_model_forward(g->context, g->model, g->trace, seen, 1, logits));
        scores[c] = (double)logits[explained[class_index]];
        highest = fmax(highest, scores[c]);
    }
    for (int64_t c = 0; c < l->channels; c++) { total += exp(scores[c] - highest); }
    for (int64_t p = 0; p < pixels; p++) {
        for (int64_t c = 0; c < l->channels; c++) { map[p] += exp(scores[c] - highest) / total * value_at(l, a, c, p); }
        map[p] = fmax(map[p], 0);
    }
    check_map(g, l->network, "scorecam", class_index, map);
    free(scores);
    free(mask);
    free(seen);
}

static void check_layer(const golden_network *g, const layer *l, int class_index)
{
    static const struct {
        const char *method;
        definition of;
    } methods[] = {{"gradcam", gradcam}, {"gradcam++", gradcam_plus_plus}, {"layercam", layercam}};
    const int value = value_of(g->model, l->module, l->kind);
    const int64_t places = l->first + l->height * l->width;
    double map[GRID];
    inner of = {0};
    run_pass(g, &value, 1, explained[class_index], &of);
    assert_int_equal(of.size, places * l->channels);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        methods[m].of(l, of.values, of.gradients, map);
        check_map(g, l->network, methods[m].method, class_index, map);
    }
    if (!test_is_emulated()) { check_scorecam(g, l, of.values, class_index); } /* hundreds of passes */
    free(of.values);
    free(of.gradients);
}

/* ---- attention of the ViT: [heads, tokens, tokens] of each block */
enum { BLOCKS = 4, HEADS = 4, TOKENS = 65 };

static void multiply(double result[TOKENS][TOKENS], double by[TOKENS][TOKENS])
{
    static double product[TOKENS][TOKENS];
    memset(product, 0, sizeof product);
    for (int i = 0; i < TOKENS; i++) {
        for (int k = 0; k < TOKENS; k++) {
            for (int j = 0; j < TOKENS; j++) { product[i][j] += by[i][k] * result[k][j]; }
        }
    }
    memcpy(result, product, sizeof product);
}

static void make_block(const inner *of, bool rollout, double block[TOKENS][TOKENS])
{
    for (int i = 0; i < TOKENS; i++) {
        for (int j = 0; j < TOKENS; j++) {
            double sum = 0;
            for (int h = 0; h < HEADS; h++) {
                const int at = (h * TOKENS + i) * TOKENS + j;
                sum += (rollout ? of->values[at] : fmax(of->values[at] * of->gradients[at], 0)) / HEADS;
            }
            block[i][j] = rollout ? (sum + (i == j)) / 2 : sum + (i == j);
        }
    }
}

static void check_attention(const golden_network *g, int class_index)
{
    static double result[TOKENS][TOKENS], block[TOKENS][TOKENS];
    static const char *const methods[] = {"attention_gradient", "attention_rollout"};
    int taps[BLOCKS];
    inner of[BLOCKS];
    for (int b = 0; b < BLOCKS; b++) {
        char module[64];
        snprintf(module, sizeof module, "encoder.layers.encoder_layer_%d.self_attention", b);
        taps[b] = value_of(g->model, module, SPADE_NODE_SOFTMAX);
    }
    run_pass(g, taps, BLOCKS, explained[class_index], of);
    for (int rollout = 0; rollout < 2; rollout++) {
        memset(result, 0, sizeof result);
        for (int i = 0; i < TOKENS; i++) { result[i][i] = 1; }
        for (int b = 0; b < BLOCKS; b++) {
            assert_int_equal(of[b].size, HEADS * TOKENS * TOKENS);
            make_block(&of[b], rollout, block);
            multiply(result, block);
        }
        check_map(g, "vit", methods[rollout], class_index, &result[0][1]); /* the class token's row */
    }
    for (int b = 0; b < BLOCKS; b++) {
        free(of[b].values);
        free(of[b].gradients);
    }
}

/* The trace whose weights are arrays/NETWORK/fast_50. */
static spade_trace *fast_50(spade_context *context, const spade_model *model, const char *network)
{
    spade_trace *trace = NULL;
    golden_ok(context, spade_trace_create_empty(context, model, &trace));
    for (int i = 0; i < spade_model_layer_count(model); i++) {
        spade_layer_info info;
        spade_array weights = {0};
        spade_model_layer(model, i, &info);
        if (!info.prunable) { continue; }
        assert_true(golden_array(context, network, "fast_50", info.name, &weights));
        golden_ok(context, spade_trace_set_weights(context, trace, i, weights.data));
        spade_array_clear(&weights);
    }
    return trace;
}

static void test_golden(void **state)
{
    (void)state;
    spade_context *context = golden_context(0, 0);
    spade_array inputs = {0};
    assert_true(golden_array(context, NULL, NULL, "inputs", &inputs));
    for (int l = 0; l < LAYERS; l++) {
        golden_network g = {.context = context, .model = golden_model(context, layers[l].network), .x = inputs.data};
        spade_trace *trace = fast_50(context, g.model, layers[l].network);
        for (int i = 0; i < 2 * CLASSES; i++) {
            g.trace = i < CLASSES ? NULL : trace;
            if (test_is_emulated() && i != l && i != l + 1) { continue; }
            check_layer(&g, &layers[l], i % CLASSES);
            if (layers[l].kind == SPADE_NODE_LAYER_NORM) { check_attention(&g, i % CLASSES); }
        }
        spade_trace_destroy(trace);
        spade_model_destroy(g.model);
    }
    spade_array_clear(&inputs);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exports),
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
