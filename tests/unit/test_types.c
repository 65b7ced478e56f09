/* test_types.c - weights of other types than float32, quantised networks, weights that are no numbers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "onnx/floats.h"
#include "support/model.h"
#include "spade/spade.h"

enum { PIXELS = 6, CLASSES = 3, WEIGHTS = PIXELS * CLASSES };

static char log_text[4096];

static void note(void *user, spade_log_level level, const char *line)
{
    (void)user;
    if (level == SPADE_LOG_INFO) {
        snprintf(log_text + strlen(log_text), sizeof log_text - strlen(log_text), "%s\n", line);
    }
}

static spade_context *make_context(void)
{
    spade_context *context;
    spade_context_options options;
    spade_context_options_init(&options);
    options.log = note;
    log_text[0] = 0;
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    return context;
}

static float weight(int i)
{
    return pseudo_random(4, (uint32_t)i);
}

/* x [1, 1, 2, 3] -> Flatten -> what `put` adds, which ends in y. */
static wire flat_graph(void)
{
    wire network = graph_of(1, 2, 3, CLASSES);
    put_node(&network, node_of("flat", "Flatten", "x", "f"));
    return network;
}

static spade_model *load(spade_context *context, wire network)
{
    spade_model_options options;
    spade_model *model;
    spade_model_options_init(&options);
    options.output = "y";
    if (spade_model_load(context, test_save("types.onnx", model_with_opset(network, 13)), &options, &model) !=
        SPADE_OK) {
        fail_msg("%s", spade_message(context));
    }
    return model;
}

static void check_outputs(spade_context *context, const spade_model *model, const float *weights, double tolerance)
{
    float x[PIXELS], y[CLASSES];
    for (int i = 0; i < PIXELS; i++) { x[i] = pseudo_random(9, (uint32_t)i); }
    assert_int_equal(spade_model_forward(context, model, NULL, x, 1, y), SPADE_OK);
    for (int c = 0; c < CLASSES; c++) {
        double should = 0;
        for (int i = 0; i < PIXELS; i++) { should += (double)x[i] * (double)weights[i * CLASSES + c]; }
        assert_true(fabs((double)y[c] - should) < tolerance);
    }
}

static wire stored_tensor(const char *name, int type, const float *values)
{
    uint8_t bytes[WEIGHTS * 8];
    wire tensor = tensor_head(name, type, 2, (const int64_t[]){PIXELS, CLASSES});
    wire_bytes(&tensor, 9, bytes, onnx_store_floats(type, values, WEIGHTS, bytes));
    return tensor;
}

static const struct {
    int type;
    const char *name;
    float step; /* relative rounding */
} types[] = {{10, "float16", 0x1p-11f}, {16, "bfloat16", 0x1p-8f}, {11, "float64", 0}};

static void test_other_floats(void **state)
{
    (void)state;
    float weights[WEIGHTS];
    for (int i = 0; i < WEIGHTS; i++) { weights[i] = weight(i); }
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        for (int constant = 0; constant < 2; constant++) { /* an initializer, or a Constant node's */
            spade_context *context = make_context();
            wire network = flat_graph();
            if (constant) {
                wire node = node_of("weight", "Constant", "", "w"), attribute = {0};
                wire_text(&attribute, 1, "value");
                wire_message(&attribute, 5, stored_tensor("value", types[t].type, weights));
                wire_number(&attribute, 20, 4);
                wire_message(&node, 5, attribute);
                put_node(&network, node);
            } else {
                put_tensor(&network, stored_tensor("w", types[t].type, weights));
            }
            put_node(&network, node_of("fc", "MatMul", "f w", "y"));
            spade_model *model = load(context, network);
            const float *layer = spade_model_weights(model, 0); /* [classes, pixels] */
            float rounded[WEIGHTS];
            for (int i = 0; i < WEIGHTS; i++) {
                rounded[i] = layer[i % CLASSES * PIXELS + i / CLASSES];
                assert_true(fabsf(rounded[i] - weights[i]) <=
                            types[t].step * fabsf(weights[i]) + 0x1p-25f * (types[t].step > 0));
            }
            check_outputs(context, model, rounded, 1e-6);
            assert_non_null(strstr(log_text, types[t].name));
            assert_non_null(strstr(log_text, "float32"));
            spade_model_destroy(model);
            spade_context_destroy(context);
        }
    }
}

/* Weights that are replaced keep the type that they have in the file. */
static void test_written(void **state)
{
    (void)state;
    float weights[WEIGHTS], other[WEIGHTS];
    for (int i = 0; i < WEIGHTS; i++) { weights[i] = weight(i), other[i] = i % 3 ? 0.5f * (float)i : 0; }
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        for (int twice = 0; twice < 2; twice++) { /* used twice: the new weight is a new initializer */
            spade_context *context = make_context();
            onnx_model *model;
            wire network = flat_graph();
            char path[300];
            put_tensor(&network, stored_tensor("w", types[t].type, weights));
            put_node(&network, node_of("fc", "MatMul", "f w", twice ? "a" : "y"));
            if (twice) {
                put_node(&network, node_of("again", "MatMul", "f w", "b"));
                put_node(&network, node_of("sum", "Add", "a b", "y"));
            }
            assert_int_equal(onnx_load(context, test_save("in.onnx", model_with_opset(network, 13)), false, &model),
                             SPADE_OK);
            assert_int_equal(onnx_convert_floats(context, model), SPADE_OK);
            const onnx_replacement replacement = {.node = 1, .input = 1, .data = other};
            snprintf(path, sizeof path, "%s/out.onnx", test_folder());
            if (onnx_write(context, model, &replacement, 1, path) != SPADE_OK) {
                fail_msg("%s", spade_message(context));
            }
            onnx_free(model);
            assert_int_equal(onnx_load(context, path, false, &model), SPADE_OK);
            assert_int_equal(model->initializer_count, 1 + twice);
            const onnx_tensor *tensor = &model->initializers[onnx_find_initializer(model, model->nodes[1].inputs[1])];
            assert_int_equal(tensor->type, types[t].type);
            for (int i = 0; i < WEIGHTS; i++) { assert_true(onnx_tensor_float(tensor, i) == other[i]); }
            onnx_free(model);
            spade_context_destroy(context);
        }
    }
}

/* Every float16 there is comes back; what lies between two goes to the nearer one, halves to the even one. */
static void test_rounding(void **state)
{
    (void)state;
    for (int type = 0; type < 2; type++) {
        for (uint32_t bits = 0; bits < 65536; bits++) {
            uint16_t given = (uint16_t)bits, back;
            onnx_tensor tensor = {.type = type ? ONNX_BFLOAT16 : ONNX_FLOAT16, .count = 1, .bytes = &given};
            const float value = onnx_tensor_float(&tensor, 0);
            onnx_store_floats(tensor.type, &value, 1, &back);
            if (isnan(value)) {
                onnx_tensor again = {.type = tensor.type, .count = 1, .bytes = &back};
                assert_true(isnan(onnx_tensor_float(&again, 0)));
                continue;
            }
            assert_int_equal(back, given);
            const uint16_t next = given + 1;
            tensor.bytes = &next;
            const float above = onnx_tensor_float(&tensor, 0);
            if (!isfinite(value) || !isfinite(above)) { continue; }
            const float half = (float)(((double)value + (double)above) / 2), nearer = nextafterf(half, above);
            onnx_store_floats(tensor.type, &half, 1, &back);
            assert_int_equal(back, given % 2 ? next : given);
            onnx_store_floats(tensor.type, &nearer, 1, &back);
            assert_int_equal(back, next);
        }
    }
    const float large[2] = {65519, 65520};
    uint16_t halves[2];
    onnx_store_floats(ONNX_FLOAT16, large, 2, halves);
    assert_int_equal(halves[0], 0x7bff);
    assert_int_equal(halves[1], 0x7c00);
}

/* ---- quantised */
static wire bytes_tensor(const char *name, int type, int rank, const int64_t *dims, const void *bytes, size_t size)
{
    wire tensor = tensor_head(name, type, rank, dims);
    wire_bytes(&tensor, 9, bytes, size);
    return tensor;
}

/* f -> Quantize -> Dequantize -> MatMul with Dequantize(int8 weights): one scale, or one a column. */
static wire quantised(bool columns, const char *producer)
{
    int8_t weights[WEIGHTS], zeros[CLASSES] = {3, 0, -2};
    const float scales[CLASSES] = {0.5f, 0.25f, 2};
    const int8_t middle = 0;
    const int64_t dims[2] = {PIXELS, CLASSES}, each[1] = {CLASSES};
    wire network = flat_graph();
    for (int i = 0; i < WEIGHTS; i++) { weights[i] = (int8_t)(7 * i - 60); }
    put_tensor(&network, bytes_tensor("head.weight_quantized", 3, 2, dims, weights, sizeof weights));
    put_tensor(&network, bytes_tensor("s", 1, columns, each, scales, columns ? sizeof scales : sizeof *scales));
    put_tensor(&network, bytes_tensor("z", 3, columns, each, zeros, columns ? sizeof zeros : sizeof *zeros));
    put_tensor(&network, bytes_tensor("one", 1, 0, NULL, scales, sizeof *scales));
    put_tensor(&network, bytes_tensor("middle", 3, 0, NULL, &middle, 1));
    put_node(&network, node_of("quantise", producer, "f one middle", "fq"));
    put_node(&network, node_of("dequantise", "DequantizeLinear", "fq one middle", "fd"));
    put_node(&network, node_of("weights", "DequantizeLinear", "head.weight_quantized s z", "w"));
    put_node(&network, node_of("fc", "MatMul", "fd w", "y"));
    return network;
}

static void refuse(wire network, const char *first, const char *second)
{
    spade_context *context = make_context();
    spade_model *model;
    assert_int_not_equal(
        spade_model_load(context, test_save("types.onnx", model_with_opset(network, 13)), NULL, &model), SPADE_OK);
    if (!strstr(spade_message(context), first) || !strstr(spade_message(context), second)) {
        fail_msg("%s", spade_message(context));
    }
    spade_context_destroy(context);
}

static void test_quantised(void **state)
{
    (void)state;
    static const float scales[CLASSES] = {0.5f, 0.25f, 2};
    static const int zeros[CLASSES] = {3, 0, -2};
    for (int columns = 0; columns < 2; columns++) {
        spade_context *context = make_context();
        spade_model *model = load(context, quantised(columns, "QuantizeLinear"));
        float weights[WEIGHTS];
        for (int i = 0; i < WEIGHTS; i++) {
            const int at = columns ? i % CLASSES : 0;
            weights[i] = (float)((int8_t)(7 * i - 60) - zeros[at]) * scales[at];
        }
        check_outputs(context, model, weights, 1e-4);
        assert_non_null(strstr(log_text, "quantised"));
        spade_layer_info layer;
        spade_model_layer(model, 0, &layer);
        assert_string_equal(layer.name, "head");
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
    refuse(quantised(true, "Relu"), "\"dequantise\"", "no QuantizeLinear");
    wire network = flat_graph();
    put_tensor(&network, tensor_random("w", 2, (int64_t[]){PIXELS, CLASSES}, 1));
    put_node(&network, node_of("fc", "MatMulInteger", "f w", "z"));
    put_node(&network, node_of("other", "QLinearConv", "z", "y"));
    refuse(network, "MatMulInteger (node \"fc\"), QLinearConv (node \"other\")", "quantised");
}

/* Integers end: where the smallest stands for zero, tools leave the Relu out. scale: of the QuantizeLinear. */
static wire saturated(int type, int zero, float scale, float scale_behind)
{
    const int8_t point = (int8_t)zero;
    wire network = flat_graph();
    put_tensor(&network, bytes_tensor("scale", 1, 0, NULL, &scale, sizeof scale));
    put_tensor(&network, bytes_tensor("behind", 1, 0, NULL, &scale_behind, sizeof scale_behind));
    put_tensor(&network, bytes_tensor("zero", type, 0, NULL, &point, 1));
    put_tensor(&network, tensor_random("w", 2, (int64_t[]){PIXELS, CLASSES}, 1));
    put_node(&network, node_of("quantise", "QuantizeLinear", "f scale zero", "fq"));
    put_node(&network, node_of("dequantise", "DequantizeLinear", "fq behind zero", "fd"));
    put_node(&network, node_of("fc", "MatMul", "fd w", "y"));
    return network;
}

static void test_saturation(void **state)
{
    (void)state;
    static const struct {
        int type, zero;
        float scale, low, high;
    } cases[] = {{3, 0, 1, -128, 127},
                 {3, -128, 1, 0, 255},
                 {2, 0, 1, 0, 255},
                 {2, 0, 0x1p-10f, 0, 255 * 0x1p-10f},
                 {3, 100, 0x1p-9f, -228 * 0x1p-9f, 27 * 0x1p-9f}};
    for (size_t t = 0; t < sizeof cases / sizeof *cases; t++) {
        spade_context *context = make_context();
        wire network = saturated(cases[t].type, cases[t].zero, cases[t].scale, cases[t].scale);
        /* of another output of the graph nothing is left out */
        if (t % 2) { wire_message(&network, 12, value_of("fd", 2, (int64_t[]){-1, PIXELS})); }
        spade_model *model = load(context, network);
        const float *weights = spade_model_weights(model, 0); /* [classes, pixels] */
        float x[PIXELS], y[CLASSES];
        for (int i = 0; i < PIXELS; i++) { x[i] = pseudo_random(9, (uint32_t)i); }
        assert_true(x[0] * x[1] < 0 || x[1] * x[2] < 0 || x[2] * x[3] < 0); /* both signs */
        assert_int_equal(spade_model_forward(context, model, NULL, x, 1, y), SPADE_OK);
        for (int c = 0; c < CLASSES; c++) {
            double should = 0;
            for (int i = 0; i < PIXELS; i++) {
                const float clipped = fminf(fmaxf(x[i], cases[t].low), cases[t].high);
                should += (double)clipped * (double)weights[c * PIXELS + i];
            }
            assert_true(fabs((double)y[c] - should) < 1e-6);
        }
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
    refuse(saturated(3, 0, 1, 2), "\"dequantise\"", "not those of the QuantizeLinear");
    refuse(saturated(9, 0, 1, 1), "\"quantise\"", "makes bool");
}

/* A network of float16 with an island of float32, as exports of mixed precision have. Where no weight is float16 the conversion is
 * there for its rounding, and refused. */
static void test_mixed_precision(void **state)
{
    (void)state;
    const uint16_t half_one = 0x3c00;
    const float one = 1;
    for (int half = 0; half < 2; half++) {
        wire network = flat_graph();
        put_tensor(&network, half ? bytes_tensor("one", 10, 0, NULL, &half_one, sizeof half_one)
                                  : bytes_tensor("one", 1, 0, NULL, &one, sizeof one));
        put_tensor(&network, tensor_random("w", 2, (int64_t[]){PIXELS, CLASSES}, 1));
        put_node(&network, node_of("scale", "Mul", "f one", "h"));
        put_node(&network, with_int(node_of("up", "Cast", "h", "s"), "to", 1));
        put_node(&network, node_of("same", "Abs", "s", "i"));
        put_node(&network, with_int(node_of("down", "Cast", "i", "d"), "to", 10));
        put_node(&network, node_of("fc", "MatMul", "d w", "y"));
        if (!half) {
            refuse(network, "\"down\"", "to float16 is not supported where the network has no such weights");
            continue;
        }
        spade_context *context = make_context();
        spade_model *model = load(context, network);
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

/* Constants of float64 keep their bits: a hundredth of 300 is 3 there, and less with 0.01 rounded to float32. How many numbers of the
 * picture stay says which it was. */
static void test_exact_constants(void **state)
{
    (void)state;
    const double share = 0.01, many = 300;
    const int64_t zero = 0, one = 1;
    wire network = flat_graph();
    put_tensor(&network, bytes_tensor("share", 11, 0, NULL, &share, sizeof share));
    put_tensor(&network, bytes_tensor("many", 11, 0, NULL, &many, sizeof many));
    put_tensor(&network, tensor_int64("from", 1, (int64_t[]){zero}));
    put_tensor(&network, tensor_int64("axis", 1, (int64_t[]){one}));
    put_tensor(&network, bytes_tensor("half", 11, 0, NULL, (const double[]){0.5}, sizeof(double)));
    put_node(&network, node_of("product", "Mul", "many share", "p"));
    put_node(&network, node_of("floor", "Floor", "p", "r"));
    put_node(&network, with_int(node_of("whole", "Cast", "r", "w"), "to", ONNX_INT64));
    put_node(&network, node_of("list", "Unsqueeze", "w axes", "to"));
    put_tensor(&network, tensor_int64("axes", 1, (int64_t[]){zero}));
    put_node(&network, node_of("slice", "Slice", "f from to axis", "s"));
    put_node(&network, node_of("scaled", "Mul", "many half", "factor")); /* one that meets the picture */
    put_node(&network, node_of("times", "Mul", "s factor", "y"));
    spade_context *context = make_context();
    spade_model *model = load(context, network);
    assert_int_equal(spade_model_classes(model), 3);
    float x[PIXELS], y[3];
    for (int i = 0; i < PIXELS; i++) { x[i] = pseudo_random(3, (uint32_t)i); }
    assert_int_equal(spade_model_forward(context, model, NULL, x, 1, y), SPADE_OK);
    for (int i = 0; i < 3; i++) { assert_true(y[i] == 150 * x[i]); }
    spade_model_destroy(model);
    spade_context_destroy(context);
}

/* Integers that something else reads: they are not there. */
static void test_integers(void **state)
{
    (void)state;
    static const char *const readers[] = {"Cast", "Relu", "Identity"};
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        wire network = saturated(3, 0, 1, 1), reader = node_of("reader", readers[i], "fq", "c");
        if (i == 0) { reader = with_int(reader, "to", 1); }
        put_node(&network, reader);
        put_tensor(&network, tensor_random("w2", 2, (int64_t[]){PIXELS, CLASSES}, 2));
        put_node(&network, node_of("other", "MatMul", "c w2", "z"));
        put_node(&network, node_of("both", "Add", "y z", "sum"));
        wire_message(&network, 12, value_of("sum", 2, (int64_t[]){-1, CLASSES}));
        spade_context *context = make_context();
        spade_model_options options;
        spade_model *model;
        spade_model_options_init(&options);
        options.output = "sum";
        assert_int_equal(
            spade_model_load(context, test_save("types.onnx", model_with_opset(network, 13)), &options, &model),
            SPADE_ERROR_UNSUPPORTED);
        assert_non_null(strstr(spade_message(context), "node \"reader\""));
        assert_non_null(strstr(spade_message(context), "which only a DequantizeLinear may"));
        spade_context_destroy(context);
    }
}

/* Behind the last layer they would end where the largest logits do, without a gradient: F is what comes before. So it is with a
 * softmax behind them (1), or in front of them (2). */
static void test_saturated_output(void **state)
{
    (void)state;
    static const float scale = 0x1p-20f;
    static const uint8_t zero = 0;
    for (int softmax = 0; softmax < 3; softmax++) {
        static const char *const reads[] = {"l scale zero", "l scale zero", "s scale zero"};
        wire network = flat_graph();
        put_tensor(&network, bytes_tensor("scale", 1, 0, NULL, &scale, sizeof scale));
        put_tensor(&network, bytes_tensor("zero", 2, 0, NULL, &zero, 1));
        put_tensor(&network, tensor_random("w", 2, (int64_t[]){PIXELS, CLASSES}, 1));
        put_node(&network, node_of("fc", "MatMul", "f w", "l"));
        if (softmax == 2) { put_node(&network, node_of("scores", "Softmax", "l", "s")); }
        put_node(&network, node_of("quantise", "QuantizeLinear", reads[softmax], "q"));
        put_node(&network, node_of("dequantise", "DequantizeLinear", "q scale zero", softmax == 1 ? "d" : "y"));
        if (softmax == 1) { put_node(&network, node_of("scores", "Softmax", "d", "y")); }
        spade_context *context = make_context();
        spade_model *model = load(context, network);
        const float *layer = spade_model_weights(model, 0); /* [classes, pixels] */
        float weights[WEIGHTS];
        for (int i = 0; i < WEIGHTS; i++) { weights[i] = layer[i % CLASSES * PIXELS + i / CLASSES]; }
        check_outputs(context, model, weights, 1e-6);
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

/* ---- no numbers */
static void test_not_finite(void **state)
{
    (void)state;
    for (int where = 0; where < 2; where++) {
        float weights[WEIGHTS], bias[CLASSES] = {0};
        for (int i = 0; i < WEIGHTS; i++) { weights[i] = weight(i); }
        if (where) { bias[2] = -INFINITY; }
        if (!where) { weights[7] = NAN; }
        wire network = flat_graph();
        put_tensor(&network, tensor_of("layer.weight", 2, (int64_t[]){PIXELS, CLASSES}, weights));
        put_tensor(&network, tensor_of("layer.bias", 1, (int64_t[]){CLASSES}, bias));
        put_node(&network, node_of("fc", "Gemm", "f layer.weight layer.bias", "y"));
        refuse(network, where ? "\"layer.bias\" holds an infinite number" : "\"layer.weight\" holds NaN",
               where ? "element 2 of 3" : "element 7 of 18");
    }
}

/* Where a relu behind it would make 0 of it. */
static void test_bias_not_finite(void **state)
{
    (void)state;
    const float ones[CLASSES] = {1, 1, 1}, bias[CLASSES] = {0, NAN, 0};
    wire network = flat_graph();
    put_tensor(&network, tensor_random("w", 2, (int64_t[]){PIXELS, CLASSES}, 1));
    put_tensor(&network, tensor_of("ones", 1, (int64_t[]){CLASSES}, ones));
    put_tensor(&network, tensor_of("norm.bias", 1, (int64_t[]){CLASSES}, bias));
    put_tensor(&network, tensor_random("w2", 2, (int64_t[]){CLASSES, CLASSES}, 2));
    put_node(&network, node_of("fc", "MatMul", "f w", "a"));
    put_node(&network, node_of("norm", "BatchNormalization", "a ones norm.bias ones ones", "b"));
    put_node(&network, node_of("relu", "Relu", "b", "c"));
    put_node(&network, node_of("fc2", "MatMul", "c w2", "y"));
    refuse(network, "\"norm.bias\" holds NaN", "element 1 of 3");
}

/* The same in a constant of the arithmetic; infinite ones are a mask's. */
static void test_constants_not_numbers(void **state)
{
    (void)state;
    float shift[PIXELS] = {0};
    shift[4] = NAN;
    wire network = flat_graph();
    put_tensor(&network, tensor_of("shift", 2, (int64_t[]){1, PIXELS}, shift));
    static const float weights[WEIGHTS];
    put_tensor(&network, tensor_of("w", 2, (int64_t[]){PIXELS, CLASSES}, weights));
    put_node(&network, node_of("sum", "Add", "f shift", "s"));
    put_node(&network, node_of("fc", "MatMul", "s w", "y"));
    refuse(network, "\"sum\"", "\"shift\" holds NaN (element 4)");
}

static int remove_files(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_floats),    cmocka_unit_test(test_written),
        cmocka_unit_test(test_rounding),        cmocka_unit_test(test_quantised),
        cmocka_unit_test(test_saturation),      cmocka_unit_test(test_saturated_output),
        cmocka_unit_test(test_mixed_precision), cmocka_unit_test(test_exact_constants),
        cmocka_unit_test(test_integers),        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_bias_not_finite), cmocka_unit_test(test_constants_not_numbers)};
    return cmocka_run_group_tests(tests, NULL, remove_files);
}
