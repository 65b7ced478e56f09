/* test_head_devices.c - what a file ends in: heads, outputs of several shapes, several outputs, one output. Runs on every device
 * (SPADE_TEST_DEVICE). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/context.h"
#include "support/model.h"
#include "support/targets.h"
#include "spade/spade.h"

enum { PIXELS = 6, MAX_CLASSES = 5 };

static float weight(int pixel, int of)
{
    return 3 * pseudo_random(5, (uint32_t)(pixel * MAX_CLASSES + of));
}

static float pixel(int i)
{
    return pseudo_random(6, (uint32_t)i);
}

static double logit(int of)
{
    double sum = 0;
    for (int i = 0; i < PIXELS; i++) { sum += (double)weight(i, of) * (double)pixel(i); }
    return sum;
}

/* x [1, 1, 2, 3] -> Flatten -> MatMul -> "z" [1, outputs]; the graph's output is y. */
static wire graph_to_logits(int outputs)
{
    float numbers[PIXELS * MAX_CLASSES];
    for (int i = 0; i < PIXELS * outputs; i++) { numbers[i] = weight(i / outputs, i % outputs); }
    wire network = graph_of(1, 2, 3, outputs);
    put_tensor(&network, tensor_of("w", 2, (int64_t[]){PIXELS, outputs}, numbers));
    put_node(&network, node_of("flat", "Flatten", "x", "f"));
    put_node(&network, node_of("fc", "MatMul", "f w", "z"));
    return network;
}

static spade_model *load_output(spade_context *context, wire model, const char *output)
{
    spade_model *loaded;
    spade_model_options options;
    spade_model_options_init(&options);
    options.output = output;
    if (spade_model_load(context, test_save("head.onnx", model), &options, &loaded) != SPADE_OK) {
        fail_msg("%s", spade_message(context));
    }
    return loaded;
}

static void refuse(wire model, const char *output, const char *first, const char *second)
{
    spade_context *context = test_context(test_device(), 0);
    spade_model *loaded;
    spade_model_options options;
    spade_model_options_init(&options);
    options.output = output;
    assert_int_not_equal(spade_model_load(context, test_save("head.onnx", model), &options, &loaded), SPADE_OK);
    assert_non_null(strstr(spade_message(context), first));
    assert_non_null(strstr(spade_message(context), second));
    spade_context_destroy(context);
}

static void forward(spade_context *context, const spade_model *model, float *outputs)
{
    float x[PIXELS];
    for (int i = 0; i < PIXELS; i++) { x[i] = pixel(i); }
    assert_int_equal(spade_model_forward(context, model, NULL, x, 1, outputs), SPADE_OK);
}

/* Score of class c, by the definition. */
static double score(spade_head head, int outputs, int c)
{
    double sum = 0;
    if (outputs == 1) { return 1 / (1 + exp(c ? -logit(0) : logit(0))); }
    if (head == SPADE_HEAD_SIGMOID) { return 1 / (1 + exp(-logit(c))); }
    for (int i = 0; i < outputs; i++) { sum += exp(logit(i)); }
    return exp(logit(c)) / sum;
}

/* dF/dx of class c: F is a function of logits that are linear in x. */
static double slope(spade_head head, bool scores, int outputs, int c, int i)
{
    const double s = score(head, outputs, c);
    double sum = 0;
    if (outputs == 1) { return (c ? 1 : -1) * (scores ? s * (1 - s) : 1) * (double)weight(i, 0); }
    if (!scores) { return (double)weight(i, c); }
    if (head == SPADE_HEAD_SIGMOID) { return s * (1 - s) * (double)weight(i, c); }
    for (int k = 0; k < outputs; k++) { sum += score(head, outputs, k) * (double)weight(i, k); }
    return s * ((double)weight(i, c) - sum);
}

/* Maps of all classes, for logits and for scores; a class that there is not is refused. */
static void check_maps(spade_context *context, const spade_model *model, spade_head head, int outputs)
{
    const int count = (int)spade_model_classes(model);
    int64_t classes[MAX_CLASSES];
    float x[PIXELS], maps[MAX_CLASSES * PIXELS];
    for (int i = 0; i < PIXELS; i++) { x[i] = pixel(i); }
    for (int c = 0; c < count; c++) { classes[c] = c; }
    for (int scores = 0; scores < 2; scores++) {
        spade_attribution *method;
        const char *text = scores ? "input_x_gradient:output=scores" : "input_x_gradient";
        assert_int_equal(spade_attribution_create(context, text, &method), SPADE_OK);
        if (spade_attribute(context, model, NULL, method, x, targets_of(classes, count), count, maps, NULL) !=
            SPADE_OK) {
            fail_msg("%s", spade_message(context));
        }
        for (int e = 0; e < count * PIXELS; e++) {
            const double should = (double)x[e % PIXELS] * slope(head, scores, outputs, e / PIXELS, e % PIXELS);
            assert_true(fabs((double)maps[e] - should) < 1e-5);
        }
        classes[0] = count;
        assert_int_equal(spade_attribute(context, model, NULL, method, x, targets_of(classes, 1), 1, maps, NULL),
                         SPADE_ERROR_ARGUMENT);
        classes[0] = 0;
        spade_attribution_destroy(method);
    }
}

static void check_model(wire graph, const char *output, spade_head head, int outputs)
{
    spade_context *context = test_context(test_device(), 0);
    spade_model *model = load_output(context, model_with_opset(graph, 13), output);
    const int classes = outputs == 1 ? 2 : outputs;
    float z[MAX_CLASSES];
    double logits[MAX_CLASSES], scores[MAX_CLASSES];
    assert_int_equal(spade_model_head(model), head);
    assert_int_equal(spade_model_outputs(model), outputs);
    assert_int_equal(spade_model_classes(model), classes);
    forward(context, model, z);
    spade_model_scores(model, z, logits, scores);
    for (int i = 0; i < outputs; i++) { assert_true(fabs((double)z[i] - logit(i)) < 1e-5); }
    for (int c = 0; c < classes; c++) {
        assert_true(fabs(scores[c] - score(head, outputs, c)) < 1e-5);
        assert_true(fabs(logits[c] - (outputs > 1 ? (double)z[c] : c ? (double)z[0] : -(double)z[0])) < 1e-12);
    }
    check_maps(context, model, head, outputs);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

/* ---- what follows the logits z: up to three nodes, the last one to y */
typedef struct chain {
    const char *operators[3];
    spade_head head;
} chain;

static wire graph_of_chain(const chain *of, int outputs)
{
    wire network = graph_to_logits(outputs);
    char before[8] = "z";
    put_tensor(&network, tensor_int64("shape", 2, (int64_t[]){-1, outputs}));
    put_tensor(&network, tensor_int64("again", 3, (int64_t[]){-1, 1, outputs}));
    for (int i = 0; i < 3 && of->operators[i]; i++) {
        char inputs[32], after[8] = "y", name[16];
        const bool last = i == 2 || !of->operators[i + 1], shapes = strcmp(of->operators[i], "Reshape") == 0;
        snprintf(inputs, sizeof inputs, "%s%s", before, shapes ? (last ? " shape" : " again") : "");
        if (!last) { snprintf(after, sizeof after, "v%d", i); }
        snprintf(name, sizeof name, "node%d", i);
        wire node = node_of(name, of->operators[i], inputs, after);
        if (strcmp(of->operators[i], "Cast") == 0) { node = with_int(node, "to", 1); }
        if (strcmp(of->operators[i], "ZipMap") == 0) { wire_text(&node, 7, "ai.onnx.ml"); }
        put_node(&network, node);
        snprintf(before, sizeof before, "%s", after);
    }
    return network;
}

static void test_heads(void **state)
{
    (void)state;
    static const chain chains[] = {
        {{"Identity"}, SPADE_HEAD_NONE},
        {{"Softmax"}, SPADE_HEAD_SOFTMAX},
        {{"LogSoftmax"}, SPADE_HEAD_LOG_SOFTMAX},
        {{"Softmax", "Log"}, SPADE_HEAD_LOG_SOFTMAX},
        {{"Sigmoid"}, SPADE_HEAD_SIGMOID},
        {{"Softmax", "Identity"}, SPADE_HEAD_SOFTMAX},
        {{"Sigmoid", "Flatten"}, SPADE_HEAD_SIGMOID},
        {{"Reshape", "Softmax", "Reshape"}, SPADE_HEAD_SOFTMAX},
        {{"LogSoftmax", "Reshape", "Dropout"}, SPADE_HEAD_LOG_SOFTMAX},
        {{"ArgMax"}, SPADE_HEAD_NONE},
        {{"Softmax", "ArgMax"}, SPADE_HEAD_SOFTMAX},
        {{"Softmax", "ZipMap"}, SPADE_HEAD_SOFTMAX},
        {{"Identity", "ArgMax"}, SPADE_HEAD_NONE},
    };
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
        check_model(graph_of_chain(&chains[i], 4), NULL, chains[i].head, 4);
    }
    check_model(graph_of_chain(&chains[0], 1), NULL, SPADE_HEAD_NONE, 1);
    check_model(graph_of_chain(&chains[4], 1), NULL, SPADE_HEAD_SIGMOID, 1);
    check_model(graph_of_chain(&chains[6], 1), NULL, SPADE_HEAD_SIGMOID, 1);
}

/* [N, classes, 1, 1] and [N, 1, classes], bare and behind a softmax over the classes. */
static void test_shapes(void **state)
{
    (void)state;
    static const struct {
        int rank, axis;
        int64_t dims[4];
    } forms[] = {{4, 1, {-1, 4, 1, 1}}, {3, 2, {-1, 1, 4}}, {3, 1, {-1, 4, 1}}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        for (int head = 0; head < 2; head++) {
            wire network = graph_to_logits(4);
            put_tensor(&network, tensor_int64("shape", forms[i].rank, forms[i].dims));
            put_node(&network, node_of("form", "Reshape", "z shape", head ? "v" : "y"));
            if (head) { put_node(&network, with_int(node_of("head", "Softmax", "v", "y"), "axis", forms[i].axis)); }
            check_model(network, NULL, head ? SPADE_HEAD_SOFTMAX : SPADE_HEAD_NONE, 4);
        }
    }
}

/* ---- several outputs */
static wire graph_of_outputs(void)
{
    const int64_t dims[2] = {-1, 4};
    wire network = graph_to_logits(4);
    put_tensor(&network, tensor_random("w2", 2, (int64_t[]){PIXELS, 3}, 9));
    put_node(&network, node_of("other", "MatMul", "f w2", "other"));
    put_node(&network, node_of("last", "Softmax", "z", "y"));
    wire_message(&network, 12, value_of("other", 2, dims));
    wire_message(&network, 12, value_of("z", 2, dims));
    return network;
}

static void test_outputs(void **state)
{
    (void)state;
    check_model(graph_of_outputs(), "y", SPADE_HEAD_SOFTMAX, 4);
    check_model(graph_of_outputs(), "z", SPADE_HEAD_NONE, 4);
    refuse(model_with_opset(graph_of_outputs(), 13), NULL, "3 outputs", "\"y\", \"other\", \"z\"");
    refuse(model_with_opset(graph_of_outputs(), 13), "w", "no output \"w\"", "\"y\", \"other\", \"z\"");
    /* label and scores are about the same logits */
    const int64_t dims[2] = {-1, 4};
    wire network = graph_to_logits(4);
    put_node(&network, node_of("label", "ArgMax", "p", "y"));
    put_node(&network, node_of("last", "Sigmoid", "z", "p"));
    wire_message(&network, 12, value_of("p", 2, dims));
    check_model(network, NULL, SPADE_HEAD_SIGMOID, 4);
}

/* The output is more than a sigmoid's or softmax's numbers moved: they are the scores, and what is explained. */
static void test_scores(void **state)
{
    (void)state;
    static const float one = 1;
    const int64_t from_last[4] = {3, 2, 1, 0};
    for (int reorder = 0; reorder < 2; reorder++) {
        const int outputs = reorder ? 4 : 1;
        spade_context *context = test_context(test_device(), 0);
        wire network = graph_to_logits(outputs);
        if (reorder) {
            put_tensor(&network, tensor_int64("order", 4, from_last));
            put_node(&network, node_of("head", "Softmax", "z", "p"));
            put_node(&network, with_int(node_of("reorder", "Gather", "p order", "y"), "axis", 1));
        } else {
            put_tensor(&network, tensor_of("one", 0, NULL, &one));
            put_node(&network, node_of("head", "Sigmoid", "z", "p"));
            put_node(&network, node_of("other", "Sub", "one p", "q"));
            put_node(&network, with_int(node_of("both", "Concat", "q p", "y"), "axis", 1));
        }
        spade_model *model = load_output(context, model_with_opset(network, 13), NULL);
        const spade_head head = reorder ? SPADE_HEAD_SOFTMAX : SPADE_HEAD_SIGMOID;
        const int classes = reorder ? 4 : 2;
        float z[MAX_CLASSES];
        double logits[MAX_CLASSES], scores[MAX_CLASSES];
        assert_int_equal(spade_model_head(model), SPADE_HEAD_SCORES);
        forward(context, model, z);
        spade_model_scores(model, z, logits, scores);
        for (int c = 0; c < classes; c++) {
            assert_true(fabs(scores[c] - score(head, outputs, reorder ? 3 - c : c)) < 1e-6);
            assert_true(logits[c] == (double)z[c] && scores[c] == (double)z[c]);
        }
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

static void test_scores_written_out(void **state)
{
    (void)state;
    static const float one = 1;
    /* nodes 'OP INPUTS OUTPUT', of four logits */
    static const struct {
        const char *nodes[4][3];
        spade_head head; /* whose scores they are */
    } written[] = {
        {{{"Exp", "z", "e"}, {"ReduceSum", "e axes", "s"}, {"Div", "e s", "y"}}, SPADE_HEAD_SOFTMAX},
        {{{"LogSoftmax", "z", "l"}, {"Exp", "l", "y"}}, SPADE_HEAD_SOFTMAX},
        {{{"Neg", "z", "n"}, {"Exp", "n", "e"}, {"Add", "e one", "a"}, {"Div", "one a", "y"}}, SPADE_HEAD_SIGMOID},
        {{{"Neg", "z", "n"}, {"Exp", "n", "e"}, {"Add", "one e", "a"}, {"Reciprocal", "a", "y"}}, SPADE_HEAD_SIGMOID},
        {{{"Softmax", "z", "p"}, {"IsNaN", "p", "n"}, {"Where", "n zero p", "y"}}, SPADE_HEAD_SOFTMAX},
    };
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        spade_context *context = test_context(test_device(), 0);
        wire network = graph_to_logits(4);
        float z[MAX_CLASSES];
        double scores[MAX_CLASSES];
        put_tensor(&network, tensor_of("one", 0, NULL, &one));
        put_tensor(&network, tensor_of("zero", 0, NULL, (const float[]){0}));
        put_tensor(&network, tensor_int64("axes", 1, (int64_t[]){1}));
        for (int k = 0; k < 4 && written[i].nodes[k][0]; k++) {
            const char *const *node = written[i].nodes[k];
            put_node(&network, node_of(node[2], node[0], node[1], node[2]));
        }
        spade_model *model = load_output(context, model_with_opset(network, 13), NULL);
        assert_int_equal(spade_model_head(model), SPADE_HEAD_SCORES);
        forward(context, model, z);
        spade_model_scores(model, z, NULL, scores);
        for (int c = 0; c < 4; c++) { assert_true(fabs(scores[c] - score(written[i].head, 4, c)) < 1e-6); }
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

/* One number that is no score of a class of its own; a gate is no head. */
static void test_scores_refused(void **state)
{
    (void)state;
    static const float one = 1;
    wire network = graph_to_logits(1);
    put_tensor(&network, tensor_of("one", 0, NULL, &one));
    put_node(&network, node_of("head", "Sigmoid", "z", "p"));
    put_node(&network, node_of("other", "Sub", "one p", "y"));
    refuse(model_with_opset(network, 13), NULL, "end the file at the sigmoid", "\"y\"");
    network = graph_to_logits(1);
    put_node(&network, node_of("head", "Sigmoid", "z", "p"));
    put_node(&network, node_of("log", "Log", "p", "l"));
    put_node(&network, node_of("same", "Identity", "l", "y"));
    refuse(model_with_opset(network, 13), NULL, "end the file at the sigmoid", "\"y\"");
    network = graph_to_logits(4); /* whole numbers of scores are none */
    put_node(&network, node_of("head", "Softmax", "z", "p"));
    put_node(&network, with_int(node_of("cut", "Cast", "p", "y"), "to", 6));
    refuse(model_with_opset(network, 13), NULL, "\"cut\"", "to int32 is not supported");
    network = graph_to_logits(4);
    put_node(&network, node_of("gate", "Sigmoid", "z", "p"));
    put_node(&network, node_of("last", "Mul", "z p", "y"));
    spade_context *context = test_context(test_device(), 0);
    spade_model *model = load_output(context, model_with_opset(network, 13), NULL);
    assert_int_equal(spade_model_head(model), SPADE_HEAD_NONE);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static void test_refused(void **state)
{
    (void)state;
    wire network = graph_to_logits(1);
    put_node(&network, node_of("head", "Softmax", "z", "y"));
    refuse(model_with_opset(network, 13), NULL, "\"head\"", "always 1");
    network = graph_to_logits(4);
    put_node(&network, with_int(node_of("head", "Softmax", "z", "y"), "axis", 0));
    refuse(model_with_opset(network, 13), NULL, "\"head\"", "over the classes");
    network = graph_to_logits(4);
    put_node(&network, with_int(node_of("head", "LogSoftmax", "z", "y"), "axis", 7));
    refuse(model_with_opset(network, 13), NULL, "\"head\"", "out of range");
    network = graph_of(1, 2, 3, 1);
    put_node(&network, node_of("head", "Softmax", "x", "y"));
    refuse(model_with_opset(network, 13), NULL, "over the classes", "\"head\"");
    network = graph_of(1, 2, 3, 6);
    put_node(&network, node_of("head", "Sigmoid", "x", "y"));
    refuse(model_with_opset(network, 13), NULL, "does not depend", "\"y\"");
    network = graph_of(1, 2, 3, 1); /* a cycle of nodes that move nothing */
    put_node(&network, node_of("one", "Identity", "y", "a"));
    put_node(&network, node_of("two", "Flatten", "a", "y"));
    refuse(model_with_opset(network, 13), NULL, "cycle", "\"");
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
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_scores_written_out),
        cmocka_unit_test(test_scores_refused),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, remove_files);
}
