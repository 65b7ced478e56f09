/*
 * test_finite_devices.c - numbers that are not finite: the failure names the layer, also where a relu, a maximum or a sigmoid
 * would hide them; -inf that is legal stays legal. What solvers say. Runs on every device (SPADE_TEST_DEVICE).
 */
#include <math.h>
#include <string.h>

#include "support/context.h"
#include "support/model.h"
#include "support/targets.h"
#include "spade/spade.h"

enum { SIDE = 8, PIXELS = SIDE * SIDE, SIZE = 3 * PIXELS, CLASSES = 3, VARIANTS = 4 };

/* x [3, 8, 8] -> what `nodes` make of it: "a" -> c1, relu, c2, relu, mean, fc -> y. scale: of c1's weights. */
typedef struct network_case {
    const char *nodes[4][4]; /* name, operator, inputs, output */
    float c1, bias;          /* factors of c1's weights, its bias */
    float x;                 /* the input is this times numbers of (-1, 1), or of (0, 1) where positive */
    bool positive;
} network_case;

static const char *save(const network_case *c)
{
    wire g = graph_of(3, SIDE, SIDE, CLASSES);
    float w1[4 * 3 * 9], b1[4];
    for (int i = 0; i < 4 * 3 * 9; i++) { w1[i] = c->c1 * pseudo_random(1, (uint32_t)i); }
    for (int i = 0; i < 4; i++) { b1[i] = c->bias; }
    const float low = -INFINITY;
    put_tensor(&g, tensor_of("c1.weight", 4, (int64_t[]){4, 3, 3, 3}, w1));
    put_tensor(&g, tensor_of("b1", 1, (int64_t[]){4}, b1));
    put_tensor(&g, tensor_random("c2.weight", 4, (int64_t[]){4, 4, 3, 3}, 2));
    put_tensor(&g, tensor_random("fc.weight", 2, (int64_t[]){CLASSES, 4}, 3));
    put_tensor(&g, tensor_of("low", 0, NULL, &low));
    put_tensor(&g, tensor_int64("pads", 8, (int64_t[]){0, 0, 1, 1, 0, 0, 1, 1}));
    for (int i = 0; i < 4 && c->nodes[i][0]; i++) {
        const char *const *n = c->nodes[i];
        wire node = node_of(n[0], n[1], n[2], n[3]);
        if (strcmp(n[1], "MaxPool") == 0) { node = with_ints(node, "kernel_shape", 2, (int64_t[]){3, 3}); }
        put_node(&g, node);
    }
    put_node(&g, node_of("c1", "Conv", "a c1.weight b1", "p"));
    put_node(&g, node_of("relu1", "Relu", "p", "q"));
    put_node(&g, node_of("c2", "Conv", "q c2.weight", "r"));
    put_node(&g, node_of("relu2", "Relu", "r", "s"));
    put_node(&g, node_of("mean", "GlobalAveragePool", "s", "t"));
    put_node(&g, node_of("flat", "Flatten", "t", "u"));
    put_node(&g, with_int(node_of("fc", "Gemm", "u fc.weight", "y"), "transB", 1));
    return test_save("net.onnx", model_of(g));
}

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    float x[VARIANTS * SIZE];
} fixture;

static void open_fixture(const network_case *c, fixture *f)
{
    f->context = test_context(test_device(), 2);
    if (spade_model_load(f->context, save(c), NULL, &f->model) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    for (int i = 0; i < VARIANTS * SIZE; i++) {
        const float number = pseudo_random(7, (uint32_t)i);
        f->x[i] = c->x * (c->positive ? 0.5f + 0.4f * number : number);
    }
}

static void close_fixture(fixture *f)
{
    spade_model_destroy(f->model);
    spade_context_destroy(f->context);
}

static void expect(const fixture *f, spade_status status, const char *says)
{
    if (!says) {
        if (status != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
        return;
    }
    if (status != SPADE_ERROR_NUMERICAL) { fail_msg("status %d in place of: %s", (int)status, says); }
    if (!strstr(spade_message(f->context), says)) { fail_msg("no '%s' in: %s", says, spade_message(f->context)); }
}

/* ---- forward */

static void test_forward(void **state)
{
    (void)state;
    static const struct {
        network_case network;
        const char *says; /* NULL: all is well */
    } cases[] = {
        {{{{"same", "Identity", "x", "a"}}, 1, 0, 1, false}, NULL},
        /* infinity - infinity in one sum: the relu behind it may be a part of the convolution */
        {{{{"same", "Identity", "x", "a"}}, 3e38f, 0, 1e3f, false}, "layer c1: its input reaches"},
        {{{{"same", "Identity", "x", "a"}}, 1e32f, 0, 1e5f, false}, "layer c2: its input reaches"},
        {{{{"exp", "Exp", "x", "a"}}, -1, -1, 200, false}, "layer c1: its input holds infinite numbers"},
        {{{{"log", "Log", "x", "a"}}, 1, 0, 1, false}, "layer c1: its input holds NaN"},
        {{{{"log", "Log", "x", "l"}, {"relu", "Relu", "l", "a"}}, 1, 0, 1, false}, "layer c1: its input holds NaN"},
        {{{{"log", "Log", "x", "l"}, {"pool", "MaxPool", "l", "a"}}, 1, 0, 1, false}, "NaN"},
        {{{{"log", "Log", "x", "l"}, {"pool", "MaxPool", "l", "m"}, {"sig", "Sigmoid", "m", "a"}}, 1, 0, 1, false},
         "NaN"},
        {{{{"log", "Log", "x", "a"}}, 1, 0, 1, true}, NULL},
        /* -inf that pads before a maximum is none of the network's numbers */
        {{{{"pad", "Pad", "x pads low", "l"}, {"pool", "MaxPool", "l", "a"}}, 1, 0, 1, false}, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        float y[VARIANTS * CLASSES];
        open_fixture(&cases[i].network, &f);
        for (int again = 0; again < 3; again++) { /* as it is, then captured where the device captures */
            expect(&f, spade_model_forward(f.context, f.model, NULL, f.x, 1, y), cases[i].says);
        }
        expect(&f, spade_model_forward(f.context, f.model, NULL, f.x, VARIANTS, y), cases[i].says);
        close_fixture(&f);
    }
}

/* ---- maps */

static void check_map(const network_case *c, const char *method, const char *says)
{
    fixture f;
    spade_attribution *attribution;
    float map[SIZE];
    const int64_t target = 1;
    open_fixture(c, &f);
    assert_int_equal(spade_attribution_create(f.context, method, &attribution), SPADE_OK);
    expect(&f, spade_attribute(f.context, f.model, NULL, attribution, f.x, targets_of(&target, 1), 1, map, NULL), says);
    spade_attribution_destroy(attribution);
    close_fixture(&f);
}

static void test_maps(void **state)
{
    (void)state;
    const network_case good = {{{"log", "Log", "x", "a"}}, 1, 0, 1, true};
    check_map(&good, "saliency", NULL);
    check_map(&good, "occlusion:window=4:stride=4:baseline=0.5", NULL);
    /* at some of the noisy inputs the logarithm is NaN, whose relu has the gradient 0 */
    const network_case hidden = {{{"log", "Log", "x", "l"}, {"relu", "Relu", "l", "a"}}, 1, 0, 1, true};
    check_map(&hidden, "saliency", NULL);
    check_map(&hidden, "smoothgrad:sigma=3", "smoothgrad: what the network says of class 1 is not finite at input");
    check_map(&hidden, "occlusion:window=4:stride=4:baseline=-1",
              "occlusion: what the network says of class 1 is not finite at perturbed");
    /* the square root of 0 has no gradient */
    const network_case root = {{{"zero", "Sub", "x x", "l"}, {"sqrt", "Sqrt", "l", "a"}}, 1, 0, 1, false};
    check_map(&root, "saliency", "saliency: class 1: node \"zero\": the gradient of its output holds NaN");
    const network_case forward = {{{"exp", "Exp", "x", "a"}}, 1, 0, 200, false};
    check_map(&forward, "input_x_gradient", "class 1: layer c1: its input holds infinite numbers");
}

/* ---- traces */

static void check_trace(const network_case *c, spade_solver solver, spade_precision hessian, double damping,
                        const char *says)
{
    fixture f;
    spade_trace_options options;
    spade_trace *trace;
    spade_batch *batch;
    open_fixture(c, &f);
    spade_trace_options_init(&options);
    options.solver = solver;
    options.hessian = hessian;
    options.damping = damping;
    assert_int_equal(spade_batch_from_array(f.context, f.x, VARIANTS, 3, SIDE, SIDE, &batch), SPADE_OK);
    expect(&f, spade_trace_create(f.context, f.model, batch, &options, &trace), says);
    spade_trace_destroy(trace);
    spade_batch_destroy(batch);
    close_fixture(&f);
}

static void test_traces(void **state)
{
    (void)state;
    const network_case good = {{{"same", "Identity", "x", "a"}}, 1, 0, 1, false};
    const network_case large = {{{"same", "Identity", "x", "a"}}, 1e20f, 0, 1, false};
    const network_case dead = {{{"same", "Identity", "x", "a"}}, 1, -1000, 1, false};
    const network_case broken = {{{"exp", "Exp", "x", "a"}}, 1, 0, 200, false};
    static const spade_solver solvers[] = {SPADE_SOLVER_FAST, SPADE_SOLVER_EXACT, SPADE_SOLVER_MAGNITUDE,
                                           SPADE_SOLVER_RANDOM};
    for (int i = 0; i < 4; i++) {
        check_trace(&good, solvers[i], SPADE_FP32, 0.01, NULL);
        check_trace(&large, solvers[i], SPADE_FP32, 0.01, "layer c2, group 0: the Hessian");
        check_trace(&large, solvers[i], SPADE_FP32, 0.01, "--hessian fp64 helps");
        check_trace(&broken, solvers[i], SPADE_FP64, 0.01, "among the variants: layer c1: its input holds infinite");
    }
    check_trace(&large, SPADE_SOLVER_FAST, SPADE_FP64, 0.01, NULL);
    check_trace(&dead, SPADE_SOLVER_FAST, SPADE_FP32, 0.01, NULL);
}

/* A variant, or the input that variants are made of, that is not finite: relu and the clamp to [0, 1] would hide it. */
static void test_variants(void **state)
{
    (void)state;
    const network_case good = {{{"same", "Identity", "x", "a"}}, 1, 0, 1, false};
    static const float values[] = {NAN, INFINITY, -INFINITY};
    fixture f;
    spade_trace_options options;
    spade_preprocess preprocess;
    spade_augment_options augment;
    spade_batch *batch;
    spade_trace *trace;
    open_fixture(&good, &f);
    spade_trace_options_init(&options);
    spade_preprocess_init(&preprocess, SIDE, SIDE);
    spade_augment_options_init(&augment);
    for (int i = 0; i < 3; i++) {
        f.x[2 * SIZE + 5] = values[i];
        expect(&f, spade_batch_from_array(f.context, f.x, VARIANTS, 3, SIDE, SIDE, &batch), NULL);
        assert_int_equal(spade_trace_create(f.context, f.model, batch, &options, &trace), SPADE_ERROR_INPUT);
        assert_non_null(strstr(spade_message(f.context), "variant 2: value 5 is "));
        spade_batch_destroy(batch);
        assert_int_equal(spade_batch_from_tensor(f.context, f.x + 2 * SIZE, &preprocess, &augment, &batch),
                         SPADE_ERROR_INPUT);
        assert_non_null(strstr(spade_message(f.context), "value 5 is "));
    }
    close_fixture(&f);
}

static void test_no_damping(void **state)
{
    (void)state;
    /* channel 1 of c2's input is channel 0 once more: H is singular */
    const network_case same = {{{"same", "Identity", "x", "a"}}, 0, 1, 1, false};
    check_trace(&same, SPADE_SOLVER_FAST, SPADE_FP32, 0,
                "not positive definite with --damping 0; --damping 0.01 helps");
    check_trace(&same, SPADE_SOLVER_FAST, SPADE_FP32, 0.01, NULL);
}

static int remove_files(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forward), cmocka_unit_test(test_maps),
                                       cmocka_unit_test(test_traces), cmocka_unit_test(test_variants),
                                       cmocka_unit_test(test_no_damping)};
    return cmocka_run_group_tests(tests, NULL, remove_files);
}
