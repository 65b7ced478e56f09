/* Subgraphs that are one node: every form that exporters write becomes the node, what only looks like it does not. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model.h"
#include "support/model.h"

enum { CHANNELS = 3, SIDE = 2, PIXELS = CHANNELS * SIDE * SIDE };

static void put_number(wire *network, const char *name, float value)
{
    put_tensor(network, tensor_of(name, 0, NULL, &value));
}

static wire begin(void)
{
    wire network = graph_of(CHANNELS, SIDE, SIDE, PIXELS);
    put_number(&network, "half", 0.5f);
    put_number(&network, "one", 1);
    put_number(&network, "three", 3);
    put_number(&network, "root2", 1.41421354f);
    put_number(&network, "scale", 0.797884583f);
    put_number(&network, "cubic", 0.044715f);
    put_number(&network, "other", 0.6f);
    put_number(&network, "quick", 1.702f);
    put_number(&network, "twenty", 20);
    put_number(&network, "zero", 0);
    put_number(&network, "six", 6);
    put_number(&network, "sixth", 1.0f / 6);
    static const int64_t axes[3] = {1, 1, 1}, exponent = 3;
    static const float half = 0.5f;
    put_tensor(&network, tensor_of("deep", 3, axes, &half));
    put_tensor(&network, tensor_int64("cubed", 1, &exponent));
    return network;
}

/* 'NAME OP INPUTS' a line, each node's output is its name; the last one is flattened. */
static void put_lines(wire *network, const char *lines)
{
    char text[1024], *rest = text;
    snprintf(text, sizeof text, "%s", lines);
    char *last = NULL;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        char *name = strsep(&line, " "), *op = strsep(&line, " ");
        const bool sixth = strcmp(op, "HardSigmoid@sixth") == 0; /* with the slope of a hard swish */
        wire node = node_of(name, sixth ? "HardSigmoid" : op, line, name);
        put_node(network, sixth ? with_float(node, "alpha", 1.0f / 6) : node);
        last = name;
    }
    put_node(network, node_of("flat", "Flatten", last, "y"));
}

typedef struct loaded {
    spade_context *context;
    spade_model *model;
    spade_status status;
} loaded;

static loaded load(const char *lines)
{
    loaded l = {0};
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = "cpu";
    options.threads = 1;
    assert_int_equal(spade_context_create(&options, &l.context), SPADE_OK);
    wire network = begin();
    put_lines(&network, lines);
    l.status = spade_model_load(l.context, test_save("pattern.onnx", model_of(network)), NULL, &l.model);
    return l;
}

static void unload(loaded *l)
{
    spade_model_destroy(l->model);
    spade_context_destroy(l->context);
}

static double compute(spade_function function, float x, float alpha)
{
    switch (function) {
    case SPADE_GELU: return (double)spade_gelu(x, 0, 0);
    case SPADE_GELU_TANH: return (double)spade_gelu_tanh(x, 0, 0);
    case SPADE_SWISH: return (double)x / (1 + exp(-(double)alpha * (double)x));
    case SPADE_HARD_SIGMOID: return fmin(fmax((double)x / 6 + 0.5, 0), 1);
    case SPADE_HARD_SWISH: return (double)x * fmin(fmax((double)x / 6 + 0.5, 0), 1);
    case SPADE_MISH: return (double)x * tanh(log1p(exp((double)x)));
    case SPADE_SOFTPLUS: return log1p(exp((double)x));
    default: fail(); return 0;
    }
}

/* The network is one function of its input, and computes what that does; alpha: swish's. */
static void expect_scaled(const char *lines, spade_function function, float alpha)
{
    loaded l = load(lines);
    if (l.status != SPADE_OK) { fail_msg("%s\n%s", lines, spade_message(l.context)); }
    const spade_network *network = &l.model->network;
    assert_int_equal(network->node_count, 2); /* the function, then a reshape */
    assert_int_equal(network->nodes[0].kind, SPADE_NODE_FUNCTION);
    assert_int_equal(network->nodes[0].pointwise.function, function);
    float x[PIXELS], y[PIXELS];
    for (uint32_t i = 0; i < PIXELS; i++) { x[i] = 3 * pseudo_random(5, i); }
    x[0] = 21; /* past softplus's threshold */
    assert_int_equal(spade_model_forward(l.context, l.model, NULL, x, 1, y), SPADE_OK);
    for (int i = 0; i < PIXELS; i++) {
        const double expected = compute(function, x[i], alpha);
        assert_true(fabs((double)y[i] - expected) < 1e-6 * (1 + fabs(expected)));
    }
    unload(&l);
}

static void expect_function(const char *lines, spade_function function)
{
    expect_scaled(lines, function, 1);
}

static void test_gelu(void **state)
{
    (void)state;
    expect_function("d Div x root2\ne Erf d\ns Add e one\np Mul x s\nz Mul p half\n", SPADE_GELU);
    expect_function("d Div x root2\ne Erf d\ns Add one e\np Mul s x\nz Mul half p\n", SPADE_GELU);
    expect_function("d Div x root2\ne Erf d\ns Add e one\np Mul s half\nz Mul x p\n", SPADE_GELU);
    expect_function("d Div x root2\ne Erf d\ns Add e one\np Mul half s\nz Mul p x\n", SPADE_GELU);
    expect_function("g Gelu x\n", SPADE_GELU);
}

static void test_gelu_tanh(void **state)
{
    (void)state;
    expect_function("a Mul x x\nb Mul a x\nc Mul b cubic\nd Add x c\ne Mul d scale\nt Tanh e\ns Add t one\n"
                    "p Mul x s\nz Mul p half\n",
                    SPADE_GELU_TANH);
    expect_function("a Mul x x\nb Mul x a\nc Mul cubic b\nd Add c x\ne Mul scale d\nt Tanh e\ns Add one t\n"
                    "p Mul half s\nz Mul p x\n",
                    SPADE_GELU_TANH);
    expect_function("b Pow x cubed\nc Mul b cubic\nd Add x c\ne Mul d scale\nt Tanh e\ns Add t one\n"
                    "p Mul s half\nz Mul x p\n",
                    SPADE_GELU_TANH);
    expect_function("b Pow x three\nc Mul b cubic\nd Add x c\ne Mul d scale\nt Tanh e\ns Add t one\n"
                    "p Mul s half\nz Mul x p\n",
                    SPADE_GELU_TANH);
}

static void test_gates(void **state)
{
    (void)state;
    expect_function("g Sigmoid x\nz Mul x g\n", SPADE_SWISH);
    expect_function("g Sigmoid x\nz Mul g x\n", SPADE_SWISH);
    expect_scaled("a Mul x quick\ng Sigmoid a\nz Mul x g\n", SPADE_SWISH, 1.702f);
    expect_scaled("a Mul quick x\ng Sigmoid a\nz Mul g x\n", SPADE_SWISH, 1.702f);
    expect_function("g HardSigmoid@sixth x\nz Mul x g\n", SPADE_HARD_SWISH);
    expect_function("g HardSigmoid@sixth x\nz Mul g x\n", SPADE_HARD_SWISH);
    expect_function("s Softplus x\ng Tanh s\nz Mul x g\n", SPADE_MISH);
}

/* As networks had them before there were operators for them. */
static void test_hard(void **state)
{
    (void)state;
    expect_function("a Add x three\nc Clip a zero six\nz Div c six\n", SPADE_HARD_SIGMOID);
    expect_function("a Add three x\nc Clip a zero six\nz Mul sixth c\n", SPADE_HARD_SIGMOID);
    expect_function("a Add x three\nc Clip a zero six\np Mul x c\nz Div p six\n", SPADE_HARD_SWISH);
    expect_function("a Add x three\nc Clip a zero six\np Mul c x\nz Mul p sixth\n", SPADE_HARD_SWISH);
    expect_function("a Add x three\nc Clip a zero six\ng Div c six\nz Mul x g\n", SPADE_HARD_SWISH);
    expect_function("a Add x three\nc Clip a zero six\ng Mul c sixth\nz Mul g x\n", SPADE_HARD_SWISH);
}

/* Gates of something else, of another slope, or that somebody else reads: as they are. */
static void test_other_gates(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        int nodes; /* and the reshape */
    } cases[] = {
        {"r Relu x\ng Sigmoid r\nz Mul x g\n", 4},
        {"a Mul x quick\ng Sigmoid a\nz Mul a g\n", 3},
        {"g HardSigmoid x\nz Mul x g\n", 3},
        {"g Tanh x\nz Mul x g\n", 3},
        {"g Sigmoid x\np Mul x g\nz Add p g\n", 4},
        {"a Add x three\nc Clip a zero three\nz Div c six\n", 4},
        {"a Add x one\nc Clip a zero six\nz Div c six\n", 4},
        {"a Add x three\nc Clip a zero six\np Mul a c\nz Div p six\n", 5},
        {"r Relu x\na Add x three\nc Clip a zero six\ng Div c six\nz Mul r g\n", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        loaded l = load(cases[i].lines);
        if (l.status != SPADE_OK) { fail_msg("%s", spade_message(l.context)); }
        if (l.model->network.node_count != cases[i].nodes) { fail_msg("%s", cases[i].lines); }
        unload(&l);
    }
}

static int count_gelus(const spade_network *network)
{
    int count = 0;
    for (int n = 0; n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        const bool function = node->kind == SPADE_NODE_FUNCTION;
        count += function && (node->pointwise.function == SPADE_GELU || node->pointwise.function == SPADE_GELU_TANH);
    }
    return count;
}

static void test_softplus(void **state)
{
    (void)state;
    expect_function("f Softplus x\nc Greater x twenty\nz Where c x f\n", SPADE_SOFTPLUS);
    static const char *const others[] = {
        "f Softplus x\nc Greater x one\nz Where c x f\n",             /* another threshold */
        "f Softplus x\nc Greater x twenty\nz Where c f x\n",          /* the other way round */
        "n Neg x\nf Softplus x\nc Greater n twenty\nz Where c x f\n", /* of something else */
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        loaded l = load(others[i]);
        assert_true(l.status == SPADE_ERROR_UNSUPPORTED || l.model->network.node_count > 2);
        unload(&l);
    }
}

/* Another number, another activation in the product, and a value that somebody else reads too: the operators as they are. */
static void test_near_misses(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "d Div x other\ne Erf d\ns Add e one\np Mul x s\nz Mul p half\n",
        "d Div x root2\ne Erf d\ns Add e other\np Mul x s\nz Mul p half\n",
        "d Div x root2\ne Erf d\ns Add e one\np Mul x s\nz Mul p other\n",
        "r Relu x\nd Div x root2\ne Erf d\ns Add e one\np Mul r s\nz Mul p half\n",
        "d Div x root2\ne Erf d\ns Add e one\np Mul x s\nz Mul p half\nw Add z e\n",
        "d Div x root2\ne Erf d\ns Add e one\np Mul x s\nz Mul p deep\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        loaded l = load(lines[i]);
        if (l.status != SPADE_OK) { fail_msg("%s", spade_message(l.context)); }
        assert_int_equal(count_gelus(&l.model->network), 0);
        unload(&l);
    }
    /* a factor is no GELU's */
    loaded l = load("d Mul x other\ne Erf d\ns Add e one\np Mul x s\nz Mul p half\n");
    assert_int_equal(l.status, SPADE_OK);
    assert_int_equal(l.model->network.node_count, 6);
    unload(&l);
}

/* Numbers as Constant nodes give them; an operator of the same name from another set is none of the pattern's. */
static void test_constants_and_domains(void **state)
{
    (void)state;
    for (int foreign = 0; foreign < 2; foreign++) {
        spade_context *context;
        spade_model *model = NULL;
        wire network = graph_of(CHANNELS, SIDE, SIDE, PIXELS);
        put_node(&network, with_float(node_of("c0", "Constant", "", "root2"), "value_float", 1.41421354f));
        put_node(&network, with_float(node_of("c1", "Constant", "", "one"), "value_float", 1));
        put_node(&network, with_float(node_of("c2", "Constant", "", "half"), "value_float", 0.5f));
        put_node(&network, node_of("d", "Div", "x root2", "d"));
        wire erf = node_of("e", "Erf", "d", "e");
        if (foreign) { wire_text(&erf, 7, "com.example"); } /* NodeProto.domain */
        put_node(&network, erf);
        put_lines(&network, "s Add e one\np Mul x s\nz Mul p half\n");
        assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
        spade_status status = spade_model_load(context, test_save("pattern.onnx", model_of(network)), NULL, &model);
        assert_int_equal(status, foreign ? SPADE_ERROR_UNSUPPORTED : SPADE_OK);
        if (model) { assert_int_equal(model->network.node_count, 2); }
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

/* Two in a row: each is found, the inner one too. */
static void test_twice(void **state)
{
    (void)state;
    loaded l = load("d Div x root2\ne Erf d\ns Add e one\np Mul x s\nz Mul p half\n"
                    "d2 Div z root2\ne2 Erf d2\ns2 Add e2 one\np2 Mul z s2\nz2 Mul p2 half\n");
    assert_int_equal(l.status, SPADE_OK);
    assert_int_equal(l.model->network.node_count, 3);
    unload(&l);
}

/* What is a part of a pattern, or computed of constants, is supported, as `spade info` says; the same operator elsewhere is not. */
static void test_operators(void **state)
{
    (void)state;
    static const char *const gelu = "d Div x root2\ne Erf d\ns Add e one\np Mul x s\nz Mul p half\n";
    char both[256];
    snprintf(both, sizeof both, "%sq Det z\n", gelu);
    for (int foreign = 0; foreign < 2; foreign++) {
        spade_context *context;
        spade_operator_info *operators;
        int count, refused = 0;
        wire network = begin();
        put_lines(&network, foreign ? both : gelu);
        assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
        assert_int_equal(
            spade_model_operators(context, test_save("pattern.onnx", model_of(network)), NULL, &operators, &count),
            SPADE_OK);
        for (int i = 0; i < count; i++) {
            const bool known = strcmp(operators[i].name, "Det") != 0;
            assert_int_equal(operators[i].supported, known);
            refused += !known;
            if (!known) { assert_string_equal(operators[i].first_node, "q"); }
        }
        assert_int_equal(refused, foreign);
        spade_operators_free(operators, count);
        spade_context_destroy(context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gelu),        cmocka_unit_test(test_gelu_tanh),
                                       cmocka_unit_test(test_gates),       cmocka_unit_test(test_hard),
                                       cmocka_unit_test(test_other_gates), cmocka_unit_test(test_softplus),
                                       cmocka_unit_test(test_near_misses), cmocka_unit_test(test_constants_and_domains),
                                       cmocka_unit_test(test_twice),       cmocka_unit_test(test_operators)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
