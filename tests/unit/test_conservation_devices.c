/*
 * test_conservation_devices.c - what becomes of relevance, node by node: of a small network against LRP's and DeepLift's
 * definitions in plain loops; the same on the emulated GPU; random weights of a trace; what is refused.
 *
 *   x [2, 4, 4] -> conv 3 x 3, padded, bias -> batch normalisation -> relu -> + map -> mean over pixels -> linear, bias -> y
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model.h"
#include "spade/spade.h"
#include "support/device.h"
#include "support/devices.h"
#include "support/model.h"

enum { C = 2, SIDE = 4, PIXELS = SIDE * SIDE, K = 3, ROWS = 3, CLASSES = 4, SIZE = C * PIXELS, TARGET = 2 };
static const double epsilon = 1e-2, norm_epsilon = 1e-5;

/* ---- the network's numbers, as the file has them */

static float number(uint32_t seed, int64_t i)
{
    return pseudo_random(seed, (uint32_t)i);
}

static float variance(int64_t c)
{
    return 1.5f + number(6, c);
}

static spade_model *open_network(spade_context *context)
{
    static const int64_t kernel[4] = {ROWS, C, K, K}, rows = ROWS, map[3] = {ROWS, SIDE, SIDE},
                         linear[2] = {ROWS, CLASSES}, classes = CLASSES, pads[4] = {1, 1, 1, 1};
    float variances[ROWS];
    wire network = graph_of(C, SIDE, SIDE, CLASSES);
    spade_model *model = NULL;
    for (int c = 0; c < ROWS; c++) { variances[c] = variance(c); }
    put_tensor(&network, tensor_random("kernel", 4, kernel, 1));
    put_tensor(&network, tensor_random("bias", 1, &rows, 2));
    put_tensor(&network, tensor_random("gamma", 1, &rows, 3));
    put_tensor(&network, tensor_random("beta", 1, &rows, 4));
    put_tensor(&network, tensor_random("mean", 1, &rows, 5));
    put_tensor(&network, tensor_of("var", 1, &rows, variances));
    put_tensor(&network, tensor_random("map", 3, map, 7));
    put_tensor(&network, tensor_random("linear", 2, linear, 8));
    put_tensor(&network, tensor_random("last", 1, &classes, 9));
    put_node(&network, with_ints(node_of("conv", "Conv", "x kernel bias", "a"), "pads", 4, pads));
    put_node(&network,
             with_float(node_of("norm", "BatchNormalization", "a gamma beta mean var", "b"), "epsilon", 1e-5f));
    put_node(&network, node_of("relu", "Relu", "b", "c"));
    put_node(&network, node_of("shift", "Add", "c map", "d"));
    put_node(&network, node_of("pool", "GlobalAveragePool", "d", "e"));
    put_node(&network, node_of("flat", "Flatten", "e", "f"));
    put_node(&network, node_of("fc", "Gemm", "f linear last", "y"));
    ok(context, spade_model_load(context, test_save("net.onnx", model_of(network)), NULL, &model));
    return model;
}

/* ---- the definition, epsilon rule everywhere: a normalisation is a part of its convolution */

typedef struct expected {
    double relevance, magnitude, handed_on, constants; /* of a node's output */
} expected;

typedef struct reference {
    double x[SIZE], z[ROWS * PIXELS], d[ROWS * PIXELS], f[ROWS], y;
    double weights[ROWS][C * K * K], bias[ROWS];
    expected linear, pool, add, convolution;
    double map; /* relevance of the input */
} reference;

static double stabilised(double z)
{
    return z + (z < 0 ? -epsilon : epsilon);
}

static void expect(expected *e, double relevance, double handed_on, double constant)
{
    e->relevance += relevance;
    e->magnitude += fabs(relevance);
    e->handed_on += handed_on;
    e->constants += constant;
}

/* x at a place of the kernel; 0 outside. */
static double patch(const reference *r, int64_t pixel, int64_t k)
{
    const int64_t y = pixel / SIDE + k / K % K - 1, x = pixel % SIDE + k % K - 1;
    return y < 0 || y >= SIDE || x < 0 || x >= SIDE ? 0 : r->x[k / (K * K) * PIXELS + y * SIDE + x];
}

static void go_forward(reference *r, const float *input)
{
    for (int i = 0; i < SIZE; i++) { r->x[i] = input[i]; }
    for (int c = 0; c < ROWS; c++) {
        const double scale = number(3, c) / sqrt(variance(c) + norm_epsilon);
        r->bias[c] = (number(2, c) - number(5, c)) * scale + number(4, c);
        r->f[c] = 0;
        for (int k = 0; k < C * K * K; k++) { r->weights[c][k] = scale * number(1, c * C * K * K + k); }
        for (int p = 0; p < PIXELS; p++) {
            double *z = &r->z[c * PIXELS + p];
            *z = r->bias[c];
            for (int k = 0; k < C * K * K; k++) { *z += r->weights[c][k] * patch(r, p, k); }
            r->d[c * PIXELS + p] = fmax(*z, 0) + number(7, c * PIXELS + p);
            r->f[c] += r->d[c * PIXELS + p] / PIXELS;
        }
    }
    r->y = number(9, TARGET);
    for (int c = 0; c < ROWS; c++) { r->y += r->f[c] * number(8, c * CLASSES + TARGET); }
}

static void go_back(reference *r)
{
    const double s = r->y / stabilised(r->y);
    expect(&r->linear, r->y, s * (r->y - number(9, TARGET)), s * number(9, TARGET));
    for (int c = 0; c < ROWS; c++) {
        const double of_f = s * r->f[c] * number(8, c * CLASSES + TARGET), per_pixel = of_f / stabilised(r->f[c]);
        expect(&r->pool, of_f, per_pixel * r->f[c], 0);
        for (int p = 0; p < PIXELS; p++) {
            const int i = c * PIXELS + p;
            const double of_d = per_pixel * r->d[i] / PIXELS, part = of_d / stabilised(r->d[i]);
            const double of_z = part * fmax(r->z[i], 0), share = of_z / stabilised(r->z[i]);
            expect(&r->add, of_d, of_z, part * number(7, i));
            expect(&r->convolution, of_z, share * (r->z[i] - r->bias[c]), share * r->bias[c]);
        }
    }
    r->map = r->convolution.handed_on;
}

/* ---- against it */

static const spade_conservation_step *find_step(const spade_conservation *c, const char *kind)
{
    for (int i = 0; i < c->count; i++) {
        if (strcmp(c->steps[i].kind, kind) == 0) { return &c->steps[i]; }
    }
    fail_msg("no step of kind %s", kind);
    return NULL;
}

static void assert_near(double found, double wanted, double size)
{
    if (!(fabs(found - wanted) <= 2e-5 * size)) { fail_msg("%.9g, not %.9g", found, wanted); }
}

static void check_step(const spade_conservation *c, const char *kind, const char *name, const expected *e)
{
    const spade_conservation_step *step = find_step(c, kind);
    assert_near(step->relevance, e->relevance, e->magnitude);
    assert_near(step->magnitude, e->magnitude, e->magnitude);
    assert_near(step->handed_on, e->handed_on, e->magnitude);
    assert_near(step->constants, e->constants, e->magnitude);
    assert_near(step->stabilizer, e->relevance - e->handed_on - e->constants, e->magnitude);
    if (name) {
        assert_true(step->layer);
        assert_string_equal(step->name, name);
    } else {
        assert_false(step->layer);
    }
}

static void fill(float *input)
{
    for (int i = 0; i < SIZE; i++) { input[i] = number(20, i); }
}

static spade_conservation conserve(spade_context *context, const spade_model *model, const char *method,
                                   const float *input, int64_t class_index)
{
    spade_attribution *attribution;
    const spade_target target = {.class_index = class_index};
    spade_conservation found;
    ok(context, spade_attribution_create(context, method, &attribution));
    assert_true(spade_attribution_flags(attribution) & SPADE_METHOD_CONSERVATION);
    ok(context, spade_attribution_conservation(context, model, NULL, attribution, input, &target, &found));
    spade_attribution_destroy(attribution);
    return found;
}

static void test_epsilon(void **state)
{
    (void)state;
    float input[SIZE];
    reference r = {0};
    spade_context *context = open_device(test_device(), 1, 0);
    if (!context) { skip(); }
    spade_model *model = open_network(context);
    fill(input);
    go_forward(&r, input);
    go_back(&r);
    spade_conservation found = conserve(context, model, "lrp:composite=epsilon:epsilon=0.01", input, TARGET);
    assert_near(found.output, r.y, fabs(r.y));
    assert_near(found.input, r.map, r.convolution.magnitude);
    check_step(&found, "linear layer", "linear", &r.linear);
    check_step(&found, "average pooling", NULL, &r.pool);
    check_step(&found, "addition", NULL, &r.add);
    check_step(&found, "convolution", "kernel", &r.convolution);
    spade_conservation_clear(&found);
    spade_conservation_clear(&found); /* twice is fine */
    spade_model_destroy(model);
    spade_context_destroy(context);
}

/* ---- what holds for every method: what is not handed on is accounted for, and the walk's sum is the map's */

static double sum_of_map(spade_context *context, const spade_model *model, const char *method, const float *input)
{
    static const spade_target target = {.class_index = TARGET};
    spade_attribution *attribution;
    float map[SIZE];
    double sum = 0;
    ok(context, spade_attribution_create(context, method, &attribution));
    ok(context, spade_attribute(context, model, NULL, attribution, input, &target, 1, map, NULL));
    spade_attribution_destroy(attribution);
    for (int i = 0; i < SIZE; i++) { sum += (double)map[i]; }
    return sum;
}

static void test_every_rule(void **state)
{
    (void)state;
    static const char *const methods[] = {"lrp:composite=epsilon_plus",
                                          "lrp:composite=epsilon_plus_flat:epsilon=1",
                                          "lrp:composite=gamma:epsilon=0.1",
                                          "attnlrp:epsilon=0.5",
                                          "attnlrp:gamma=0.3",
                                          "deeplift"};
    float input[SIZE];
    spade_context *context = open_device(test_device(), 1, 0);
    if (!context) { skip(); }
    spade_model *model = open_network(context);
    fill(input);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        spade_conservation found = conserve(context, model, methods[m], input, TARGET);
        double kept = 0, size = 0;
        for (int i = 0; i < found.count; i++) {
            const spade_conservation_step *step = &found.steps[i];
            assert_near(spade_conservation_missing(step), step->stabilizer, step->magnitude);
            kept += step->relevance - step->handed_on;
            size = fmax(size, step->magnitude);
        }
        assert_true(found.count >= 6);
        assert_near(found.output - kept, found.input, size);
        assert_near(sum_of_map(context, model, methods[m], input), found.input, size);
        spade_conservation_clear(&found);
    }
    spade_model_destroy(model);
    spade_context_destroy(context);
}

/* Two features that the picture has with both signs, and one class of each two that they speak for. */
static wire two_features(void)
{
    static const int64_t kernel[4] = {2, C, 1, 1}, linear[2] = {2, CLASSES};
    static const float ones[4] = {1, 0, 0, -1}, weights[2 * CLASSES] = {1, 1, -1, -1, 1, -1, 1, -1};
    wire network = graph_of(C, SIDE, SIDE, CLASSES);
    put_tensor(&network, tensor_of("kernel", 4, kernel, ones));
    put_tensor(&network, tensor_of("linear", 2, linear, weights));
    put_node(&network, node_of("conv", "Conv", "x kernel", "a"));
    put_node(&network, node_of("pool", "GlobalAveragePool", "a", "b"));
    put_node(&network, node_of("flat", "Flatten", "b", "c"));
    put_node(&network, node_of("fc", "Gemm", "c linear", "y"));
    return model_of(network);
}

/* The paper's rule gives all relevance to what is positive of x+ w+, and all of it to what is positive of x- w-: of the features 1
 * and -2 none of class 2's, which both speak against, is left, and of class 1's, which both speak for, there is twice as much. */
static void test_loss_is_seen(void **state)
{
    (void)state;
    static const double missing[CLASSES] = {0, -3, -3, 0}; /* of F = -1, 3, -3, 1 */
    static const double values[CLASSES] = {-1, 3, -3, 1};
    float input[SIZE];
    spade_context *context = open_device(test_device(), 1, 0);
    if (!context) { skip(); }
    spade_model *model = NULL;
    ok(context, spade_model_load(context, test_save("two.onnx", two_features()), NULL, &model));
    for (int i = 0; i < SIZE; i++) { input[i] = i < PIXELS ? 1 : 2; }
    for (int target = 0; target < CLASSES; target++) {
        spade_conservation found = conserve(context, model, "lrp:composite=paper", input, target);
        const spade_conservation_step *linear = find_step(&found, "linear layer");
        assert_near(found.output, values[target], 1);
        assert_near(spade_conservation_missing(linear), missing[target], 1);
        spade_conservation_clear(&found);
    }
    spade_conservation found = conserve(context, model, "lrp:composite=epsilon:epsilon=1", input, 1);
    assert_near(spade_conservation_missing(find_step(&found, "linear layer")), 3 - 3.0 / 4 * 3, 1);
    spade_conservation_clear(&found);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

/* ---- random weights */

static void test_random_weights(void **state)
{
    (void)state;
    spade_context *context = open_device(test_device(), 1, 0);
    if (!context) { skip(); }
    spade_model *model = open_network(context);
    spade_trace *traces[3];
    const spade_layer *layer = &model->network.layers[0];
    const int64_t n = layer->rows * layer->columns;
    for (int t = 0; t < 3; t++) {
        ok(context, spade_trace_create_empty(context, model, &traces[t]));
        ok(context, spade_trace_randomise(context, traces[t], 0, t == 2 ? 8 : 7));
    }
    const float *once = spade_trace_weights(traces[0], 0), *again = spade_trace_weights(traces[1], 0);
    const float *other = spade_trace_weights(traces[2], 0);
    double own = 0, random = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        own += (double)layer->weights[i] * layer->weights[i];
        random += (double)once[i] * once[i];
        sum += (double)once[i];
    }
    const double deviation = sqrt(own / (double)n);
    assert_memory_equal(once, again, sizeof *once * (size_t)n);
    assert_memory_not_equal(once, other, sizeof *once * (size_t)n);
    assert_true(fabs(sum / (double)n) < 4 * deviation / sqrt((double)n));                  /* 4 standard errors */
    assert_true(fabs(random / own - 1) < 4 * sqrt(2.0 / (double)n));                       /* likewise */
    assert_ptr_equal(spade_trace_weights(traces[0], 1), model->network.layers[1].weights); /* the network's still */
    assert_true(layer->weights[0] == number(1, 0)); /* the network is as it was */
    assert_int_equal(spade_trace_randomise(context, traces[0], 2, 0), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(context), "layer 2 does not exist"));
    for (int t = 0; t < 3; t++) { spade_trace_destroy(traces[t]); }
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static void test_refused(void **state)
{
    (void)state;
    float input[SIZE];
    spade_context *context = open_device(test_device(), 1, 0);
    if (!context) { skip(); }
    spade_model *model = open_network(context);
    spade_attribution *attribution;
    spade_conservation found;
    fill(input);
    ok(context, spade_attribution_create(context, "saliency", &attribution));
    assert_int_equal(spade_attribution_conservation(context, model, NULL, attribution, input,
                                                    &(spade_target){.class_index = TARGET}, &found),
                     SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(context), "saliency: no relevance"));
    spade_attribution_destroy(attribution);
    ok(context, spade_attribution_create(context, "lrp", &attribution));
    assert_int_equal(spade_attribution_conservation(context, model, NULL, attribution, input,
                                                    &(spade_target){.class_index = CLASSES}, &found),
                     SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(context), "class 4"));
    spade_attribution_destroy(attribution);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static int close_folder(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_epsilon),        cmocka_unit_test(test_every_rule), cmocka_unit_test(test_loss_is_seen),
        cmocka_unit_test(test_random_weights), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, close_folder);
}
