/* Graphs that are well-formed protocol buffers and wrong in every other way: one clear line each, and nothing stays
 * charged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/context.h"
#include "support/model.h"
#include "spade/model.h"

/* Loading has to fail with this status and a message that holds the file and all of the (NULL-terminated) words. */
static void refuse_model(wire model, spade_status expected, ...)
{
    spade_context *context = test_context("cpu", 1);
    spade_model *loaded = NULL;
    const char *path = test_save("model.onnx", model);
    spade_status status = spade_model_load(context, path, NULL, &loaded);
    if (status != expected) { fail_msg("status %d instead of %d: %s", status, expected, spade_message(context)); }
    assert_null(loaded);
    assert_non_null(strstr(spade_message(context), path));
    va_list words;
    va_start(words, expected);
    for (const char *word = va_arg(words, const char *); word; word = va_arg(words, const char *)) {
        if (!strstr(spade_message(context), word)) { fail_msg("no \"%s\" in: %s", word, spade_message(context)); }
    }
    va_end(words);
    assert_int_equal(context->used, 0);
    spade_context_destroy(context);
}

#define REFUSE(network, ...) refuse_model(model_of(network), __VA_ARGS__, NULL)

/* x [-1, 3, 8, 8] -> Conv [4, 3, 3, 3] -> c -> GlobalAveragePool -> p -> Flatten -> y: without the convolution's own
 * node. */
static wire graph(void)
{
    const int64_t weight[4] = {4, 3, 3, 3};
    wire network = graph_of(3, 8, 8, 4);
    put_tensor(&network, tensor_random("w", 4, weight, 1));
    put_node(&network, node_of("pool", "GlobalAveragePool", "c", "p"));
    put_node(&network, node_of("flat", "Flatten", "p", "y"));
    return network;
}

static wire network_with(wire conv)
{
    wire network = graph();
    put_node(&network, conv);
    return network;
}

static void test_accepts(void **state)
{
    (void)state;
    spade_context *context = test_context("cpu", 1);
    spade_model *model = NULL;
    float x[3 * 8 * 8] = {0}, y[4];
    const char *path = test_save("good.onnx", model_of(network_with(node_of("conv", "Conv", "x w", "c"))));
    if (spade_model_load(context, path, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    assert_int_equal(spade_model_layer_count(model), 1);
    assert_int_equal(spade_model_forward(context, model, NULL, x, 1, y), SPADE_OK);
    assert_true(y[0] == 0);
    assert_int_equal(spade_model_forward(context, model, NULL, x, 0, y), SPADE_ERROR_ARGUMENT);
    spade_model_destroy(model);
    assert_int_equal(context->used, 0);
    spade_context_destroy(context);
}

static void test_graph_structure(void **state)
{
    (void)state;
    wire network = graph_of(3, 8, 8, 4);
    put_node(&network, node_of("first", "Add", "x b", "a"));
    put_node(&network, node_of("second", "Relu", "a", "b"));
    put_node(&network, node_of("third", "Flatten", "b", "y"));
    REFUSE(network, SPADE_ERROR_INPUT, "cycle", "\"first\"");

    network = graph_of(3, 8, 8, 4);
    put_node(&network, node_of("self", "Relu", "y", "y"));
    REFUSE(network, SPADE_ERROR_INPUT, "cycle", "\"self\"");

    REFUSE(network_with(node_of("conv", "Conv", "x absent", "c")), SPADE_ERROR_INPUT, "\"conv\"", "\"absent\"");
    REFUSE(graph(), SPADE_ERROR_INPUT, "\"pool\"", "\"c\"");

    network = network_with(node_of("conv", "Conv", "x w", "c"));
    put_node(&network, node_of("again", "Relu", "x", "c"));
    REFUSE(network, SPADE_ERROR_INPUT, "\"c\"", "twice");
    network = network_with(node_of("conv", "Conv", "x w", "c"));
    put_node(&network, node_of("again", "Relu", "x", "w"));
    REFUSE(network, SPADE_ERROR_INPUT, "\"w\"", "twice");

    network = graph_of(3, 8, 8, 4);
    put_node(&network, node_of("other", "Relu", "x", "z"));
    REFUSE(network, SPADE_ERROR_INPUT, "\"y\"");
}

static void test_operators(void **state)
{
    (void)state;
    REFUSE(network_with(node_of("odd", "Det", "x w", "c")), SPADE_ERROR_UNSUPPORTED,
           "unsupported operators: Det (node \"odd\")");
    wire node = node_of("foreign", "Conv", "x w", "c");
    wire_text(&node, 7, "com.example");
    REFUSE(network_with(node), SPADE_ERROR_UNSUPPORTED, "com.example.Conv", "\"foreign\"");
    wire network = network_with(node_of("conv", "Conv", "x w", "c"));
    const int64_t dims[4] = {-1, 3, 8, 8};
    wire_message(&network, 11, value_of("x2", 4, dims));
    REFUSE(network, SPADE_ERROR_UNSUPPORTED, "one input", "\"x2\"");
    network = network_with(node_of("conv", "Conv", "x w", "c"));
    wire_message(&network, 12, value_of("c", 4, dims));
    REFUSE(network, SPADE_ERROR_UNSUPPORTED, "2 outputs");
    network = graph_of(3, 8, 8, 4);
    put_node(&network, node_of("relu", "Relu", "x", "y"));
    REFUSE(network, SPADE_ERROR_UNSUPPORTED, "[batch, classes]", "\"y\"");
}

static void test_old_operators(void **state)
{
    (void)state;
    refuse_model(model_with_opset(network_with(node_of("conv", "Conv", "x w", "c")), 6), SPADE_ERROR_UNSUPPORTED,
                 "opset 6", NULL);
    REFUSE(network_with(node_of("", "Det", "x w", "c")), SPADE_ERROR_UNSUPPORTED, "Det (node \"c\")");
}

static void test_weights(void **state)
{
    (void)state;
    const int64_t dims[4] = {4, 3, 3, 3}, wide[4] = {4, 5, 3, 3}, line[3] = {4, 3, 3}, many[4] = {4, 1, 3, 3};
    const int64_t kernel[2] = {5, 5};
    wire network = graph_of(3, 8, 8, 4), tensor = tensor_head("h", 3, 4, dims);
    char bytes[4 * 3 * 9] = {0};
    wire_bytes(&tensor, 9, bytes, sizeof bytes);
    put_tensor(&network, tensor);
    put_node(&network, node_of("conv", "Conv", "x h", "c"));
    put_node(&network, node_of("pool", "GlobalAveragePool", "c", "p"));
    put_node(&network, node_of("flat", "Flatten", "p", "y"));
    REFUSE(network, SPADE_ERROR_UNSUPPORTED, "\"conv\"", "\"h\"", "int8");

    network = network_with(node_of("conv", "Conv", "x wide", "c"));
    put_tensor(&network, tensor_random("wide", 4, wide, 1));
    REFUSE(network, SPADE_ERROR_INPUT, "\"conv\"", "5 channels", "3 channels");
    network = network_with(node_of("conv", "Conv", "x line", "c"));
    put_tensor(&network, tensor_random("line", 3, line, 1));
    REFUSE(network, SPADE_ERROR_INPUT, "\"conv\"", "4 dimensions", "its weight 3");
    network = network_with(with_int(node_of("conv", "Conv", "x many", "c"), "group", 3));
    put_tensor(&network, tensor_random("many", 4, many, 1));
    REFUSE(network, SPADE_ERROR_INPUT, "\"conv\"", "3 groups");
    network = network_with(node_of("conv", "Conv", "x w bias", "c"));
    put_tensor(&network, tensor_random("bias", 1, wide + 1, 1));
    REFUSE(network, SPADE_ERROR_INPUT, "\"conv\"", "5 elements instead of 4");
    REFUSE(network_with(with_ints(node_of("conv", "Conv", "x w", "c"), "kernel_shape", 2, kernel)), SPADE_ERROR_INPUT,
           "kernel_shape");
}

static void test_attributes(void **state)
{
    (void)state;
    const int64_t zero[2] = {0, 1}, huge[2] = {INT64_MAX, 1}, far[2] = {9, 9}, negative[4] = {-1, 0, 0, 0};
    wire conv = node_of("conv", "Conv", "x w", "c");
    REFUSE(network_with(with_ints(conv, "strides", 2, zero)), SPADE_ERROR_INPUT, "\"conv\"", "strides");
    conv = node_of("conv", "Conv", "x w", "c");
    REFUSE(network_with(with_ints(conv, "dilations", 2, huge)), SPADE_ERROR_INPUT, "\"conv\"", "dilations");
    conv = node_of("conv", "Conv", "x w", "c");
    REFUSE(network_with(with_ints(conv, "dilations", 2, far)), SPADE_ERROR_INPUT, "\"conv\"", "does not fit");
    conv = node_of("conv", "Conv", "x w", "c");
    REFUSE(network_with(with_ints(conv, "pads", 4, negative)), SPADE_ERROR_INPUT, "\"conv\"", "pads");
    conv = node_of("conv", "Conv", "x w", "c");
    REFUSE(network_with(with_ints(conv, "strides", 1, far)), SPADE_ERROR_INPUT, "\"conv\"", "1 numbers instead of 2");
    conv = node_of("conv", "Conv", "x w", "c");
    REFUSE(network_with(with_text(conv, "auto_pad", "SIDEWAYS")), SPADE_ERROR_INPUT, "\"conv\"", "SIDEWAYS");
    conv = node_of("conv", "Conv", "x w", "c");
    REFUSE(network_with(with_float(conv, "group", 1)), SPADE_ERROR_INPUT, "conv", "group");
    conv = node_of("conv", "Conv", "x w", "c");
    REFUSE(network_with(with_int(conv, "group", INT64_MIN)), SPADE_ERROR_INPUT, "\"conv\"", "groups");
}

static void test_sizes(void **state)
{
    (void)state;
    wire network = graph_of(INT64_MAX / 2, INT64_MAX / 2, 8, 4);
    put_node(&network, node_of("flat", "Flatten", "x", "y"));
    REFUSE(network, SPADE_ERROR_INPUT, "\"x\"", "limits");
    network = graph_of(3, 1 << 21, 1 << 20, 4);
    put_node(&network, node_of("flat", "Flatten", "x", "y"));
    REFUSE(network, SPADE_ERROR_INPUT, "\"x\"", "limits");
    network = graph_of(3, -1, 8, 4);
    put_node(&network, node_of("flat", "Flatten", "x", "y"));
    REFUSE(network, SPADE_ERROR_INPUT, "height", "input size");

    /* padding that makes a result beyond the limit of a small input */
    const int64_t pads[4] = {1 << 20, 1 << 20, 1 << 20, 1 << 20};
    REFUSE(network_with(with_ints(node_of("conv", "Conv", "x w", "c"), "pads", 4, pads)), SPADE_ERROR_INPUT, "\"conv\"",
           "2^40");

    const int64_t shapes[4][3] = {{-1, INT64_MAX, INT64_MAX}, {-1, -1, 4}, {0, 7, -1}, {8, 24, 1}};
    const spade_status expected[4] = {SPADE_ERROR_INPUT, SPADE_ERROR_INPUT, SPADE_ERROR_INPUT, SPADE_ERROR_UNSUPPORTED};
    for (int i = 0; i < 4; i++) {
        network = graph_of(3, 8, 8, 4);
        put_tensor(&network, tensor_int64("shape", 3, shapes[i]));
        put_node(&network, node_of("reshape", "Reshape", "x shape", "y"));
        REFUSE(network, expected[i], "\"reshape\"");
    }
}

static void test_operator_details(void **state)
{
    (void)state;
    static const int64_t w2[2] = {4, 192}, kernel[2] = {2, 2}, pads[4] = {2, 0, 0, 0};
    const struct {
        const char *op, *inputs, *word;
        spade_status status;
    } cases[] = {{"Gemm", "flat w2", "192", SPADE_ERROR_INPUT},
                 {"MatMul", "flat w2", "192", SPADE_ERROR_INPUT},
                 {"MatMul", "w2 flat", "fit together", SPADE_ERROR_INPUT},
                 {"Reshape", "flat x", "depends on the picture", SPADE_ERROR_UNSUPPORTED},
                 {"Add", "flat", "missing", SPADE_ERROR_INPUT},
                 {"Clip", "flat x", "constant", SPADE_ERROR_UNSUPPORTED},
                 {"Mul", "flat x", "fit together", SPADE_ERROR_INPUT},
                 {"Add", "flat w2", "batch of its own", SPADE_ERROR_UNSUPPORTED},
                 {"BatchNormalization", "flat w2 w2 w2 w2", "elements", SPADE_ERROR_INPUT},
                 {"MaxPool", "x", "kernel_shape", SPADE_ERROR_INPUT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wire network = graph_of(3, 8, 8, 4);
        put_tensor(&network, tensor_random("w2", 2, w2, 1));
        put_node(&network, node_of("f", "Flatten", "x", "flat"));
        put_node(&network, node_of("node", cases[i].op, cases[i].inputs, "y"));
        REFUSE(network, cases[i].status, "\"node\"", cases[i].word);
    }
    static const char *const of_constants[][2] = {{"Softmax", "w2"}, {"Add", "w2 w2"}};
    for (size_t i = 0; i < sizeof of_constants / sizeof *of_constants; i++) {
        wire network = graph_of(3, 8, 8, 4);
        put_tensor(&network, tensor_random("w2", 2, w2, 1));
        put_node(&network, node_of("node", of_constants[i][0], of_constants[i][1], "y"));
        REFUSE(network, SPADE_ERROR_UNSUPPORTED, "\"y\"", "does not depend on the network");
    }
    wire pool = with_ints(with_ints(node_of("pool", "MaxPool", "x", "y"), "kernel_shape", 2, kernel), "pads", 4, pads);
    wire network = graph_of(3, 8, 8, 4);
    put_node(&network, pool);
    REFUSE(network, SPADE_ERROR_INPUT, "\"pool\"", "padding");
    pool = with_ints(node_of("pool", "MaxPool", "x", "p"), "kernel_shape", 2, kernel);
    wire_text(&pool, 2, "indices");
    network = graph_of(3, 8, 8, 4);
    put_node(&network, pool);
    put_node(&network, node_of("flat", "Flatten", "indices", "y"));
    REFUSE(network, SPADE_ERROR_UNSUPPORTED, "\"flat\"", "indices");
}

/* A long chain, its nodes in reverse order: sorted and lowered without recursion or quadratic work. */
static void test_long_chain(void **state)
{
    (void)state;
    enum { LENGTH = 50000 };
    spade_context *context = test_context("cpu", 1);
    spade_model *model = NULL;
    wire network = graph_of(1, 1, 2, 2);
    char last[16];
    snprintf(last, sizeof last, "v%d", LENGTH);
    put_node(&network, node_of("flat", "Flatten", last, "y"));
    for (int i = LENGTH; i > 0; i--) {
        char from[16], to[16];
        snprintf(from, sizeof from, i > 1 ? "v%d" : "x", i - 1);
        snprintf(to, sizeof to, "v%d", i);
        put_node(&network, node_of(to, "Relu", from, to));
    }
    const char *path = test_save("chain.onnx", model_of(network));
    if (spade_model_load(context, path, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    float x[2] = {-1, 2}, y[2];
    assert_int_equal(spade_model_forward(context, model, NULL, x, 1, y), SPADE_OK);
    assert_true(y[0] == 0 && y[1] == 2);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts), cmocka_unit_test(test_graph_structure),  cmocka_unit_test(test_operators),
        cmocka_unit_test(test_weights), cmocka_unit_test(test_old_operators),    cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_sizes),   cmocka_unit_test(test_operator_details), cmocka_unit_test(test_long_chain)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
