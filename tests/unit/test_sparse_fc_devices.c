/*
 * test_sparse_fc_devices.c - a sparse last layer laid over a network, in every form that exporters give that layer: it is the network
 * with these numbers in its file, for the decision and for maps; traces with and without a bias of their own take turns; what the
 * fit finds; which networks are refused. Runs on every device (SPADE_TEST_DEVICE).
 */
#include <math.h>

#include "spade/spade.h"
#include "support/command.h"
#include "support/context.h"
#include "support/model.h"
#include "support/targets.h"
#include "backend/backend.h"
#include "trace/sparse_fc.h"

enum { SIDE = 8, CHANNELS = 6, CLASSES = 4, SIZE = 3 * SIDE * SIDE, PICTURES = 45 };

/* ---- networks: conv, normalisation, relu, average, and a last layer of these numbers */

typedef enum head_form { GEMM, MATMUL, CONVOLUTION, BINARY, FORMS } head_form;

static int64_t rows_of(head_form form)
{
    return form == BINARY ? 1 : CLASSES;
}

static void put_body(wire *network)
{
    static const float ones[CHANNELS] = {1, 1.5f, 2, 0.5f, 1, 1}, shift[CHANNELS] = {0.2f, 0, 0.1f, 0, -0.1f, 0.3f};
    static const float variance[CHANNELS] = {1, 0.5f, 1, 2, 1, 1};
    static const int64_t channels = CHANNELS, dims[] = {CHANNELS, 3, 3, 3}, pads[] = {1, 1, 1, 1};
    put_tensor(network, tensor_random("k", 4, dims, 3));
    put_tensor(network, tensor_of("scale", 1, &channels, ones));
    put_tensor(network, tensor_of("shift", 1, &channels, shift));
    put_tensor(network, tensor_of("variance", 1, &channels, variance));
    put_node(network, with_ints(node_of("conv", "Conv", "x k", "a"), "pads", 4, pads));
    put_node(network, node_of("norm", "BatchNormalization", "a scale shift shift variance", "b"));
    put_node(network, node_of("relu", "Relu", "b", "c"));
    put_node(network, node_of("pool", "GlobalAveragePool", "c", "p"));
}

/* Multiplied in the file by what the layer multiplies with. */
static wire tensor_scaled(const char *name, int rank, const int64_t *dims, const float *values, float factor)
{
    float scaled[CLASSES * CHANNELS];
    int64_t count = 1;
    for (int i = 0; i < rank; i++) { count *= dims[i]; }
    for (int64_t i = 0; i < count; i++) { scaled[i] = factor * values[i]; }
    return tensor_of(name, rank, dims, scaled);
}

static const char *save_model(head_form form, const float *weights, const float *bias)
{
    const int64_t rows = rows_of(form), dims[] = {rows, CHANNELS, 1, 1}, turned[] = {CHANNELS, rows};
    float columns[CLASSES * CHANNELS];
    wire network = graph_of(3, SIDE, SIDE, rows);
    put_body(&network);
    for (int64_t i = 0; i < rows * CHANNELS; i++) { columns[i % CHANNELS * rows + i / CHANNELS] = weights[i]; }
    if (form != CONVOLUTION) { put_node(&network, node_of("flat", "Flatten", "p", "f")); }
    switch (form) {
    case GEMM: /* 0.5 x w^T + 4 c */
        put_tensor(&network, tensor_scaled("w", 2, dims, weights, 2));
        put_tensor(&network, tensor_scaled("v", 1, dims, bias, 0.25f));
        put_node(&network,
                 with_float(with_float(with_int(node_of("fc", "Gemm", "f w v", "y"), "transB", 1), "alpha", 0.5f),
                            "beta", 4));
        break;
    case MATMUL:
        put_tensor(&network, tensor_of("w", 2, turned, columns));
        put_tensor(&network, tensor_of("v", 1, dims, bias));
        put_node(&network, node_of("fc", "MatMul", "f w", "g"));
        put_node(&network, node_of("add", "Add", "g v", "l"));
        put_node(&network, with_int(node_of("softmax", "Softmax", "l", "y"), "axis", 1));
        break;
    case CONVOLUTION:
        put_tensor(&network, tensor_of("w", 4, dims, weights));
        put_tensor(&network, tensor_of("v", 1, dims, bias));
        put_node(&network, node_of("fc", "Conv", "p w v", "g"));
        put_node(&network, node_of("flat", "Flatten", "g", "y"));
        break;
    case BINARY: /* no bias */
    case FORMS:
        put_tensor(&network, tensor_of("w", 2, turned, columns));
        put_node(&network, node_of("fc", "MatMul", "f w", "y"));
        break;
    }
    return test_save("sparse.onnx", model_of(network));
}

static void fill(float *numbers, int count, uint32_t seed)
{
    for (int i = 0; i < count; i++) { numbers[i] = pseudo_random(seed, (uint32_t)i); }
}

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    int layer;
    float x[PICTURES * SIZE];
} fixture;

static spade_model *load(spade_context *context, const char *path)
{
    spade_model *model;
    if (spade_model_load(context, path, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    return model;
}

static fixture *fixture_open(head_form form)
{
    fixture *f = calloc(1, sizeof *f);
    float weights[CLASSES * CHANNELS], bias[CLASSES];
    assert_non_null(f);
    fill(weights, CLASSES * CHANNELS, 5);
    fill(bias, CLASSES, 6);
    f->context = test_context(test_device(), 2);
    f->model = load(f->context, save_model(form, weights, bias));
    fill(f->x, PICTURES * SIZE, 7);
    if (spade_sparse_fc_layer(f->context, f->model, &f->layer) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    return f;
}

static void fixture_close(fixture *f)
{
    spade_model_destroy(f->model);
    assert_true(f->context->used == f->context->device->own_bytes); /* everything was given back */
    spade_context_destroy(f->context);
    free(f);
}

/* A layer of these numbers, every third weight 0. */
static spade_sparse_fc layer_of(const fixture *f, uint32_t seed)
{
    spade_sparse_fc fc;
    assert_int_equal(spade_sparse_fc_open(f->context, f->model, f->layer, &fc), SPADE_OK);
    fill(fc.weights, (int)(fc.rows * fc.columns), seed);
    for (int64_t i = 0; i < fc.rows * fc.columns; i += 3) { fc.weights[i] = 0; }
    fill(fc.bias, (int)fc.rows, seed + 1);
    return fc;
}

static spade_trace *trace_of(const fixture *f, const spade_sparse_fc *fc)
{
    spade_trace *trace;
    if (spade_sparse_fc_trace(f->context, f->model, fc, &trace) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    return trace;
}

static void forward(const fixture *f, const spade_model *model, const spade_trace *trace, int n, float *out)
{
    if (spade_model_forward(f->context, model, trace, f->x, n, out) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
}

static void assert_near(const float *a, const float *b, int count, const char *what)
{
    float largest = 0;
    for (int i = 0; i < count; i++) { largest = fmaxf(largest, fabsf(b[i])); }
    for (int i = 0; i < count; i++) {
        if (!(fabsf(a[i] - b[i]) <= 2e-5f * (largest + 1e-3f))) {
            fail_msg("%s, number %d: %g, not %g", what, i, (double)a[i], (double)b[i]);
        }
    }
}

/* ---- the network with the layer */

static void attribute(const fixture *f, const spade_model *model, const spade_trace *trace, const char *method,
                      float *map)
{
    spade_attribution *attribution;
    const int64_t target = rows_of(BINARY);
    assert_int_equal(spade_attribution_create(f->context, method, &attribution), SPADE_OK);
    if (spade_attribute(f->context, model, trace, attribution, f->x, targets_of(&target, 1), 1, map, NULL) !=
        SPADE_OK) {
        fail_msg("%s: %s", method, spade_message(f->context));
    }
    spade_attribution_destroy(attribution);
}

static void check_maps(const fixture *f, const spade_trace *trace, const spade_model *wanted)
{
    static const char *const methods[] = {"saliency", "deeplift", "lrp", "gradcam"};
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        float maps[2][SIZE] = {{0}};
        attribute(f, f->model, trace, methods[m], maps[0]);
        attribute(f, wanted, NULL, methods[m], maps[1]);
        assert_near(maps[0], maps[1], SIZE, methods[m]);
    }
}

static void test_forms(void **state)
{
    (void)state;
    for (head_form form = 0; form < FORMS; form++) {
        fixture *f = fixture_open(form);
        const int64_t rows = rows_of(form);
        const int n = 11; /* a micro-batch, and what is left of the next */
        spade_sparse_fc fc = layer_of(f, 20);
        float none[CLASSES] = {0}, features[11 * CHANNELS], dense[11 * CLASSES], out[2][11 * CLASSES],
              by_hand[11 * CLASSES];
        if (form == BINARY) { fc.bias[0] = 0; } /* its file has no place for one */
        spade_trace *trace = trace_of(f, &fc);
        spade_model *wanted = load(f->context, save_model(form, fc.weights, form == BINARY ? none : fc.bias));
        forward(f, f->model, trace, n, out[0]);
        forward(f, wanted, NULL, n, out[1]);
        assert_near(out[0], out[1], n * (int)rows, "the network with these numbers");
        assert_int_equal(spade_sparse_fc_features(f->context, f->model, f->layer, f->x, n, features, dense), SPADE_OK);
        forward(f, f->model, NULL, n, out[1]);
        assert_near(dense, out[1], n * (int)rows, "the dense network");
        for (int64_t i = 0; i < n * rows; i++) {
            double sum = (double)fc.bias[i % rows];
            for (int j = 0; j < CHANNELS; j++) {
                sum += (double)fc.weights[i % rows * CHANNELS + j] * (double)features[i / rows * CHANNELS + j];
            }
            by_hand[i] = (float)sum;
        }
        assert_near(out[0], by_hand, n * (int)rows, "W z + b");
        check_maps(f, trace, wanted);
        spade_trace_layer info;
        spade_trace_layer_info(trace, f->layer, &info);
        assert_true(info.solved && info.weights == rows * CHANNELS && info.zeros == rows * CHANNELS / 3);
        spade_trace_destroy(trace);
        spade_model_destroy(wanted);
        spade_sparse_fc_clear(&fc);
        fixture_close(f);
    }
}

/* What is ready on the device for one is not taken for another. */
static void test_turns(void **state)
{
    (void)state;
    fixture *f = fixture_open(MATMUL);
    spade_sparse_fc layers[2] = {layer_of(f, 30), layer_of(f, 40)};
    spade_trace *traces[4] = {NULL, trace_of(f, &layers[0]), trace_of(f, &layers[1]), NULL};
    float first[4][9 * CLASSES], again[9 * CLASSES];
    assert_int_equal(spade_trace_create_empty(f->context, f->model, &traces[3]), SPADE_OK);
    assert_int_equal(spade_trace_set_weights(f->context, traces[3], f->layer, layers[1].weights), SPADE_OK);
    for (int t = 0; t < 4; t++) { forward(f, f->model, traces[t], 9, first[t]); }
    for (int t = 1; t < 4; t++) { assert_true(memcmp(first[t], first[t - 1], sizeof first[0]) != 0); }
    for (int i = 0; i < 12; i++) {
        const int t = i * 7 % 4;
        forward(f, f->model, traces[t], 9, again);
        assert_memory_equal(again, first[t], sizeof again);
    }
    /* the other one's bias, then a layer of the body */
    assert_int_equal(spade_trace_set_bias(f->context, traces[3], f->layer, layers[1].bias), SPADE_OK);
    forward(f, f->model, traces[3], 9, again);
    assert_true(memcmp(again, first[3], sizeof again) != 0);
    float shifted[CHANNELS] = {1, 1, 1, 1, 1, 1};
    assert_int_equal(spade_trace_set_bias(f->context, traces[3], 0, shifted), SPADE_OK);
    forward(f, f->model, traces[3], 9, first[0]);
    assert_true(memcmp(first[0], again, sizeof again) != 0);
    for (int t = 0; t < 4; t++) { spade_trace_destroy(traces[t]); }
    for (int i = 0; i < 2; i++) { spade_sparse_fc_clear(&layers[i]); }
    fixture_close(f);
}

static void test_bias(void **state)
{
    (void)state;
    fixture *f = fixture_open(GEMM);
    spade_trace *trace;
    float bias[CLASSES] = {1, NAN, 0, 0};
    char path[300];
    assert_int_equal(spade_trace_create_empty(f->context, f->model, &trace), SPADE_OK);
    assert_int_equal(spade_trace_set_bias(f->context, trace, 9, bias), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_trace_set_bias(f->context, trace, f->layer, bias), SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(f->context), "layer w: the bias of row 1 is NaN"));
    bias[1] = 2;
    snprintf(path, sizeof path, "%s/t.onnx", test_folder());
    assert_int_equal(spade_trace_write_onnx(f->context, trace, path), SPADE_OK);
    assert_int_equal(spade_trace_set_bias(f->context, trace, f->layer, bias), SPADE_OK);
    assert_int_equal(spade_trace_write_onnx(f->context, trace, path), SPADE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(spade_message(f->context), "layer w of the trace has a bias of its own"));
    snprintf(path, sizeof path, "%s/t.safetensors", test_folder());
    assert_int_equal(spade_trace_write_safetensors(f->context, trace, path), SPADE_OK);
    size_t size = 0;
    char *file = file_read(path, &size);
    assert_non_null(strstr(file + 8, "\"w.bias\":{\"dtype\":\"F32\",\"shape\":[4]"));
    assert_null(strstr(file + 8, "k.bias"));
    assert_memory_equal(file + size - sizeof bias, bias, sizeof bias);
    free(file);
    spade_trace_destroy(trace);
    fixture_close(f);
}

/* ---- the fit */

typedef struct fitted {
    float features[PICTURES * CHANNELS], outputs[PICTURES * CLASSES];
    int64_t classes[PICTURES], dense[PICTURES];
    spade_sparse_fc fc;
} fitted;

static int64_t top_of(const float *values, int64_t count)
{
    int64_t top = 0;
    for (int64_t i = 1; i < count; i++) { top = values[i] > values[top] ? i : top; }
    return count == 1 ? values[0] > 0 : top;
}

/* Pictures of three classes, which features 0 and 1 tell. */
static fitted *fitted_open(const fixture *f, double margin)
{
    fitted *t = calloc(1, sizeof *t);
    const int64_t rows = spade_model_outputs(f->model);
    assert_non_null(t);
    assert_int_equal(spade_sparse_fc_features(f->context, f->model, f->layer, f->x, PICTURES, t->features, t->outputs),
                     SPADE_OK);
    double middle[2] = {0};
    for (int i = 0; i < PICTURES * 2; i++) {
        middle[i % 2] += (double)t->features[i / 2 * CHANNELS + i % 2] / PICTURES;
    }
    for (int i = 0; i < PICTURES; i++) {
        const bool first = t->features[i * CHANNELS] > (float)middle[0],
                   second = t->features[i * CHANNELS + 1] > (float)middle[1];
        t->classes[i] = rows == 1 ? first : first ? 3 : second ? 1 : 0; /* none is of class 2 */
        t->dense[i] = top_of(t->outputs + i * rows, rows);
    }
    const spade_sparse_fc_pictures pictures = {PICTURES, t->features, t->classes, t->dense, margin, 0};
    if (spade_sparse_fc_fit(f->context, f->model, f->layer, &pictures, &t->fc) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    return t;
}

static void fitted_close(fitted *t)
{
    spade_sparse_fc_clear(&t->fc);
    free(t);
}

static void test_fit(void **state)
{
    (void)state;
    for (int binary = 0; binary < 2; binary++) {
        fixture *f = fixture_open(binary ? BINARY : GEMM);
        const int64_t rows = spade_model_outputs(f->model);
        fitted *near = fitted_open(f, 0), *far = fitted_open(f, 1);
        const spade_sparse_fc *fc = &near->fc;
        float out[PICTURES * CLASSES];
        int64_t right = 0, dense_right = 0;
        assert_true(fc->classes == (binary ? 2 : 3) && fc->fitted + fc->aside == PICTURES && fc->aside == PICTURES / 5);
        assert_true(fc->nonzeros > 0 && fc->lambda < fc->lambda_max && fc->lambda >= 0.00099 * fc->lambda_max);
        assert_true(far->fc.nonzeros >= 1 && far->fc.nonzeros <= fc->nonzeros && far->fc.step <= fc->step);
        assert_true(far->fc.sparse_right <= fc->sparse_right && fc->sparse_right >= fc->aside - 2);
        assert_true(far->fc.lambda_max == fc->lambda_max && far->fc.dense_right == fc->dense_right);
        spade_trace *trace = trace_of(f, fc);
        forward(f, f->model, trace, PICTURES, out);
        for (int i = 0; i < PICTURES; i++) {
            const int64_t top = top_of(out + i * rows, rows);
            assert_true(binary || top != 2);
            right += top == near->classes[i];
            dense_right += near->dense[i] == near->classes[i];
        }
        assert_true(right >= PICTURES * 4 / 5 && right > dense_right + 10);
        spade_trace_destroy(trace);
        fitted_close(near);
        fitted_close(far);
        fixture_close(f);
    }
}

static void test_too_few(void **state)
{
    (void)state;
    fixture *f = fixture_open(GEMM);
    float features[6 * CHANNELS];
    static const int64_t same[6] = {1, 1, 1, 1, 1, 1}, two[6] = {1, 1, 1, 2, 2, 2};
    spade_sparse_fc fc;
    fill(features, 6 * CHANNELS, 8);
    spade_sparse_fc_pictures pictures = {6, features, same, same, 0.05, 0};
    assert_int_equal(spade_sparse_fc_fit(f->context, f->model, f->layer, &pictures, &fc), SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(f->context), "6 pictures of 1 class:"));
    pictures.classes = two;
    pictures.count = 4;
    assert_int_equal(spade_sparse_fc_fit(f->context, f->model, f->layer, &pictures, &fc), SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(f->context), "too few to keep one in 5 aside"));
    pictures.count = 6;
    assert_int_equal(spade_sparse_fc_fit(f->context, f->model, f->layer, &pictures, &fc), SPADE_OK);
    spade_sparse_fc_clear(&fc);
    for (int i = 0; i < 6 * CHANNELS; i++) { features[i] = features[i % CHANNELS]; }
    assert_int_equal(spade_sparse_fc_fit(f->context, f->model, f->layer, &pictures, &fc), SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(f->context), "say nothing"));
    fixture_close(f);
}

/* ---- networks without such a layer */

static void expect_refused(wire network, const char *says)
{
    spade_context *context = test_context(test_device(), 1);
    spade_model *model = load(context, test_save("refused.onnx", model_of(network)));
    int layer;
    assert_int_equal(spade_sparse_fc_layer(context, model, &layer), SPADE_ERROR_UNSUPPORTED);
    if (!strstr(spade_message(context), says)) { fail_msg("%s", spade_message(context)); }
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static void test_refused(void **state)
{
    (void)state;
    static const int64_t kernel[] = {CLASSES, CHANNELS, 1, 1}, square[] = {CHANNELS, CLASSES};
    wire network = graph_of(3, SIDE, SIDE, CLASSES); /* the classes are pooled behind the layer */
    put_body(&network);
    put_tensor(&network, tensor_random("w", 4, kernel, 4));
    put_node(&network, node_of("head", "Conv", "c w", "g"));
    put_node(&network, node_of("last_pool", "GlobalAveragePool", "g", "h"));
    put_node(&network, node_of("flat", "Flatten", "h", "y"));
    expect_refused(network, "node \"last_pool\" (average pooling) makes them");
    network = graph_of(3, SIDE, SIDE, CLASSES);
    put_body(&network);
    put_node(&network, node_of("flat", "Flatten", "p", "f"));
    put_tensor(&network, tensor_random("w", 2, square, 4));
    put_tensor(&network, tensor_random("u", 2, square, 5));
    put_node(&network, node_of("one", "MatMul", "f w", "g"));
    put_node(&network, node_of("two", "MatMul", "f u", "h"));
    put_node(&network, node_of("sum", "Add", "g h", "y"));
    expect_refused(network, "node \"sum\"");
    network = graph_of(3, SIDE, SIDE, CLASSES);
    put_body(&network);
    put_node(&network, node_of("flat", "Flatten", "p", "f"));
    put_tensor(&network, tensor_random("w", 2, square, 4));
    put_node(&network, node_of("fc", "MatMul", "f w", "g"));
    put_node(&network, node_of("last_relu", "Relu", "g", "y"));
    expect_refused(network, "node \"last_relu\"");
}

/* Classes as a table, its axes in another order, and a vector again: refused where that moves a class. */
typedef struct table {
    int rank;
    int64_t dims[4], axes[4];
    bool kept;
} table;

static wire table_network(const table *t)
{
    static const int64_t square[] = {CHANNELS, CLASSES}, flat[] = {-1, CLASSES};
    static const float shift[CLASSES] = {1, 2, 3, 4};
    wire network = graph_of(3, SIDE, SIDE, CLASSES);
    put_body(&network);
    put_node(&network, node_of("flat", "Flatten", "p", "f"));
    put_tensor(&network, tensor_random("w", 2, square, 4));
    put_node(&network, node_of("fc", "MatMul", "f w", "g"));
    put_tensor(&network, tensor_int64("to", t->rank, t->dims));
    put_tensor(&network, tensor_int64("back", 2, flat));
    put_node(&network, node_of("table", "Reshape", "g to", "h"));
    put_node(&network, with_ints(node_of("turn", "Transpose", "h", "i"), "perm", t->rank, t->axes));
    put_node(&network, node_of("vector", "Reshape", "i back", "j"));
    put_tensor(&network, tensor_of("v", 1, &square[1], shift));
    put_node(&network, node_of("add", "Add", "j v", "y"));
    return network;
}

static void test_turned_classes(void **state)
{
    (void)state;
    static const table tables[] = {{3, {-1, 2, 2}, {0, 2, 1}, false},       {3, {-1, 1, 4}, {0, 2, 1}, true},
                                   {3, {-1, 4, 1}, {0, 2, 1}, true},        {4, {-1, 1, 2, 2}, {0, 2, 1, 3}, true},
                                   {4, {-1, 2, 2, 1}, {0, 2, 3, 1}, false}, /* as channels last are written */
                                   {4, {-1, 2, 1, 2}, {0, 3, 1, 2}, false}, {4, {-1, 2, 1, 2}, {0, 1, 3, 2}, true}};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (!tables[i].kept) {
            expect_refused(table_network(&tables[i]), "node \"");
            continue;
        }
        spade_context *context = test_context(test_device(), 1);
        spade_model *model = load(context, test_save("table.onnx", model_of(table_network(&tables[i]))));
        int layer;
        if (spade_sparse_fc_layer(context, model, &layer) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms),         cmocka_unit_test(test_turns),
                                       cmocka_unit_test(test_bias),          cmocka_unit_test(test_fit),
                                       cmocka_unit_test(test_too_few),       cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_turned_classes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
