/*
 * test_operands_devices.c - Sum, Mean, Max and Min of any number of values and constants, and global response normalisation in
 * the forms that exporters write: values against plain loops, gradients against their differences. Runs on every device.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model.h"
#include "spade/spade.h"
#include "support/context.h"
#include "support/model.h"
#include "support/targets.h"

enum { CHANNELS = 3, HEIGHT = 4, WIDTH = 5, PIXELS = HEIGHT * WIDTH, SIZE = CHANNELS * PIXELS, PICTURES = 3 };

static float channel_constant[CHANNELS], whole_constant[SIZE], gamma_constant[CHANNELS], beta_constant[CHANNELS];
static const float number_constant = 0.2f, one = 1, epsilon = 1e-6f;

/* ---- what a network should compute of one picture */
typedef struct expected {
    const char *op;       /* Sum, Mean, Max, Min; NULL: global response normalisation */
    const char *operands; /* their letters: put_operands */
    double out[SIZE];
} expected;

static double operand(char letter, const double *x, int i)
{
    double sum = 0;
    switch (letter) {
    case 'x': return x[i];
    case 's': return 1 / (1 + exp(-x[i]));
    case 'q': return x[i] * x[i];
    case 'm':
        for (int p = 0; p < PIXELS; p++) { sum += x[i / PIXELS * PIXELS + p]; }
        return sum / PIXELS;
    case 'c': return (double)channel_constant[i / PIXELS];
    case 'w': return (double)whole_constant[i];
    default: return (double)number_constant;
    }
}

static double combine(const expected *e, const double *x, int i)
{
    const size_t count = strlen(e->operands);
    double result = operand(e->operands[0], x, i);
    for (size_t k = 1; k < count; k++) {
        const double next = operand(e->operands[k], x, i);
        result = strcmp(e->op, "Max") == 0   ? fmax(result, next)
                 : strcmp(e->op, "Min") == 0 ? fmin(result, next)
                                             : result + next;
    }
    return strcmp(e->op, "Mean") == 0 ? result / (double)count : result;
}

static void normalise(const double *x, double *out)
{
    double norm[CHANNELS] = {0}, mean = 0;
    for (int i = 0; i < SIZE; i++) { norm[i / PIXELS] += x[i] * x[i]; }
    for (int c = 0; c < CHANNELS; c++) { mean += (norm[c] = sqrt(norm[c])) / CHANNELS; }
    for (int i = 0; i < SIZE; i++) {
        const int c = i / PIXELS;
        const double response = norm[c] / (mean + (double)epsilon);
        out[i] = (double)gamma_constant[c] * x[i] * response + (double)beta_constant[c] + x[i];
    }
}

static void compute(expected *e, const double *x)
{
    if (!e->op) {
        normalise(x, e->out);
        return;
    }
    for (int i = 0; i < SIZE; i++) { e->out[i] = combine(e, x, i); }
}

/* ---- networks */
/* last: gamma and beta are of the last axis. */
static wire begin(bool last)
{
    static const int64_t per_channel[3] = {CHANNELS, 1, 1}, whole[4] = {1, CHANNELS, HEIGHT, WIDTH};
    wire network = graph_of(CHANNELS, HEIGHT, WIDTH, SIZE);
    for (uint32_t c = 0; c < CHANNELS; c++) {
        channel_constant[c] = pseudo_random(1, c);
        gamma_constant[c] = 2 * pseudo_random(3, c);
        beta_constant[c] = pseudo_random(4, c);
    }
    for (uint32_t i = 0; i < SIZE; i++) { whole_constant[i] = pseudo_random(2, i); }
    put_tensor(&network, tensor_of("c", 3, per_channel, channel_constant));
    put_tensor(&network, tensor_of("w", 4, whole, whole_constant));
    put_tensor(&network, tensor_of("n", 0, NULL, &number_constant));
    put_tensor(&network, tensor_of("one", 0, NULL, &one));
    put_tensor(&network, tensor_of("epsilon", 0, NULL, &epsilon));
    put_tensor(&network, tensor_of("gamma", last ? 1 : 3, per_channel, gamma_constant));
    put_tensor(&network, tensor_of("beta", last ? 1 : 3, per_channel, beta_constant));
    return network;
}

static void put_operands(wire *network, const expected *e)
{
    char inputs[64] = "";
    for (const char *letter = e->operands; *letter; letter++) {
        if (letter > e->operands) { strcat(inputs, " "); }
        strncat(inputs, letter, 1);
    }
    put_node(network, node_of("s", "Sigmoid", "x", "s"));
    put_node(network, node_of("q", "Mul", "x x", "q"));
    put_node(network, node_of("m", "GlobalAveragePool", "x", "m"));
    put_node(network, node_of("z", e->op, inputs, "z"));
}

/* 'NAME OP INPUTS' a line, NAME is its output; L2 and Mean are over the axes that `last` says. */
static void put_lines(wire *network, const char *lines, bool last)
{
    static const int64_t pixels[2][2] = {{2, 3}, {1, 2}}, channels[2] = {1, -1};
    char text[512], *rest = text;
    snprintf(text, sizeof text, "%s", lines);
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        char *name = strsep(&line, " "), *op = strsep(&line, " ");
        const bool norm = strcmp(op, "L2") == 0, mean = strcmp(op, "Mean") == 0;
        wire node = node_of(name, norm ? "ReduceL2" : mean ? "ReduceMean" : op, line, name);
        if (norm) { node = with_ints(node, "axes", 2, pixels[last]); }
        if (mean) { node = with_ints(node, "axes", 1, &channels[last]); }
        put_node(network, node);
    }
}

static spade_model *load(spade_context *context, wire network)
{
    spade_model *model = NULL;
    put_node(&network, node_of("flat", "Flatten", "z", "y"));
    if (spade_model_load(context, test_save("operands.onnx", model_of(network)), NULL, &model) != SPADE_OK) {
        fail_msg("%s", spade_message(context));
    }
    return model;
}

/* ---- comparison */
static void check_gradient(spade_context *context, const spade_model *model, expected *e, const float *x,
                           int64_t target)
{
    const double step = 1e-5;
    spade_attribution *attribution;
    float map[SIZE];
    double wide[SIZE];
    assert_int_equal(spade_attribution_create(context, "input_x_gradient", &attribution), SPADE_OK);
    assert_int_equal(spade_attribute(context, model, NULL, attribution, x, targets_of(&target, 1), 1, map, NULL),
                     SPADE_OK);
    spade_attribution_destroy(attribution);
    for (int i = 0; i < SIZE; i++) { wide[i] = (double)x[i]; }
    for (int i = 0; i < SIZE; i++) {
        wide[i] = (double)x[i] + step;
        compute(e, wide);
        const double above = e->out[target];
        wide[i] = (double)x[i] - step;
        compute(e, wide);
        const double should = (double)x[i] * (above - e->out[target]) / (2 * step);
        wide[i] = (double)x[i];
        if (!(fabs((double)map[i] - should) < 2e-5 * (1 + fabs(should)))) {
            fail_msg("%s of %s, d %d / d %d: %g, should be %g", e->op, e->operands, (int)target, i, (double)map[i],
                     should);
        }
    }
}

static void check(spade_context *context, const spade_model *model, expected *e)
{
    float x[PICTURES * SIZE], y[PICTURES * SIZE];
    double wide[SIZE];
    for (uint32_t i = 0; i < PICTURES * SIZE; i++) { x[i] = 2 * pseudo_random(5, i); }
    assert_int_equal(spade_model_forward(context, model, NULL, x, PICTURES, y), SPADE_OK);
    for (int p = 0; p < PICTURES; p++) {
        for (int i = 0; i < SIZE; i++) { wide[i] = (double)x[p * SIZE + i]; }
        compute(e, wide);
        for (int i = 0; i < SIZE; i++) {
            if (!(fabs((double)y[p * SIZE + i] - e->out[i]) < 1e-5 * (1 + fabs(e->out[i])))) {
                fail_msg("%s of %s, number %d: %g, should be %g", e->op, e->operands, i, (double)y[p * SIZE + i],
                         e->out[i]);
            }
        }
    }
    for (int64_t target = 0; target < SIZE; target += 7) { check_gradient(context, model, e, x, target); }
}

static void test_any_number(void **state)
{
    (void)state;
    static const char *const ops[] = {"Sum", "Mean", "Max", "Min"};
    static const char *const operands[] = {"x", "xs", "cx", "xq", "xn", "nxw", "mxs", "wcsxnqm", "cmwqx", "smqxx"};
    spade_context *context = test_context(test_device(), 2);
    for (size_t o = 0; o < sizeof ops / sizeof *ops; o++) {
        for (size_t k = 0; k < sizeof operands / sizeof *operands; k++) {
            expected e = {.op = ops[o], .operands = operands[k]};
            wire network = begin(false);
            put_operands(&network, &e);
            spade_model *model = load(context, network);
            check(context, model, &e);
            spade_model_destroy(model);
        }
    }
    spade_context_destroy(context);
}

/* A number is not lost beside a large one: the result is one of the two, to the bit. */
static void test_far_apart(void **state)
{
    (void)state;
    static const char *const ops[] = {"Max", "Min"};
    static const float large = -1e9f;
    spade_context *context = test_context(test_device(), 2);
    for (int o = 0; o < 2; o++) {
        wire network = begin(false);
        float x[SIZE], y[SIZE];
        put_tensor(&network, tensor_of("large", 0, NULL, &large));
        put_node(&network, node_of("l", "Mul", "x large", "l"));
        put_node(&network, node_of("z", ops[o], "l x", "z"));
        spade_model *model = load(context, network);
        for (uint32_t i = 0; i < SIZE; i++) { x[i] = 2 * pseudo_random(5, i); }
        assert_int_equal(spade_model_forward(context, model, NULL, x, 1, y), SPADE_OK);
        for (int i = 0; i < SIZE; i++) {
            assert_true(y[i] == (o ? fminf(large * x[i], x[i]) : fmaxf(large * x[i], x[i])));
        }
        spade_model_destroy(model);
    }
    spade_context_destroy(context);
}

static int count_pattern(const spade_network *network)
{
    int count = 0;
    for (int n = 0; n < network->node_count; n++) {
        const char *pattern = network->nodes[n].pattern;
        count += pattern && strcmp(pattern, "global response normalisation") == 0;
    }
    return count;
}

#define RESPONSE "g L2 v\na Mean g\nb Add a epsilon\nd Div g b\np Mul v d\n"

static const struct {
    const char *lines; /* of v */
    bool found;
} forms[] = {
    {RESPONSE "r Mul gamma p\nt Add beta r\no Add v t\n", true},
    {RESPONSE "r Mul p gamma\nk Mul r one\nt Add k beta\no Add t v\n", true},
    {"g L2 v\na Mean g\nb Add epsilon a\nd Div g b\np Mul d v\nr Mul p gamma\nt Add v r\no Add beta t\n", true},
    {RESPONSE "k Mul one p\nr Mul k gamma\nt Add r v\no Add t beta\n", false}, /* the factor elsewhere: the pieces */
    {RESPONSE "r Mul gamma p\nt Add beta r\nh Add v t\nj Sub h d\no Add j d\n", false}, /* its parts are read */
};

static void test_response(void **state)
{
    (void)state;
    static const int64_t to_last[4] = {0, 2, 3, 1}, to_second[4] = {0, 3, 1, 2};
    spade_context *context = test_context(test_device(), 2);
    for (size_t k = 0; k < sizeof forms / sizeof *forms; k++) {
        for (int last = 0; last < 2; last++) {
            expected e = {.operands = "x"};
            wire network = begin(last);
            put_node(&network, last ? with_ints(node_of("v", "Transpose", "x", "v"), "perm", 4, to_last)
                                    : node_of("v", "Identity", "x", "v"));
            put_lines(&network, forms[k].lines, last);
            put_node(&network, last ? with_ints(node_of("z", "Transpose", "o", "z"), "perm", 4, to_second)
                                    : node_of("z", "Identity", "o", "z"));
            spade_model *model = load(context, network);
            assert_true((count_pattern(&model->network) > 0) == forms[k].found);
            check(context, model, &e);
            spade_model_destroy(model);
        }
    }
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_number), cmocka_unit_test(test_far_apart),
                                       cmocka_unit_test(test_response)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
