/*
 * test_numbers.c - from outside: maps and traces of zeros are warned about, failures of numbers name layer and remedy, the
 * budget changes no result, and hostile sizes cost little.
 */
#include <math.h>
#include <time.h>

#include <jansson.h>

#include "support/command.h"
#include "support/model.h"
#include "spade/spade.h"

enum { SIDE = 4, PIXELS = 3 * SIDE * SIDE };
#define SCENE                                                                                                          \
    SPADE_TEST_DATA "/models/scene_resnet.onnx " SPADE_SOURCE_DIR                                                      \
                    "/examples/pictures/scene00.png --resize 0 --variants 16 "

static const char *make_input(void)
{
    float x[PIXELS];
    static char path[300];
    spade_context *context;
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    for (int i = 0; i < PIXELS; i++) { x[i] = 1 + 0.3f * pseudo_random(8, (uint32_t)i); }
    snprintf(path, sizeof path, "%s/x.npy", test_folder());
    assert_int_equal(spade_array_save(context, path, x, 4, (int64_t[]){1, 3, SIDE, SIDE}), SPADE_OK);
    spade_context_destroy(context);
    return path;
}

/* x -> Flatten -> Gemm (its weights times scale) -> Sigmoid. */
static const char *make_model(float scale)
{
    float w[PIXELS * 2];
    wire network = graph_of(3, SIDE, SIDE, 2);
    for (int i = 0; i < PIXELS * 2; i++) { w[i] = scale * (i % 2 ? -1 : 1) * (2 + pseudo_random(3, (uint32_t)i)); }
    put_tensor(&network, tensor_of("fc.weight", 2, (int64_t[]){PIXELS, 2}, w));
    put_node(&network, node_of("flat", "Flatten", "x", "f"));
    put_node(&network, node_of("fc", "Gemm", "f fc.weight", "z"));
    put_node(&network, node_of("head", "Sigmoid", "z", "y"));
    return test_save("net.onnx", model_of(network));
}

static char *read_result(const char *file)
{
    char path[400];
    snprintf(path, sizeof path, "%s/out/%s", test_folder(), file);
    char *text = file_read(path, NULL);
    assert_non_null(text);
    return text;
}

static void expect_text(const char *text, const char *says, bool there)
{
    if ((strstr(text, says) != NULL) != there) { fail_msg("%s '%s' in: %s", there ? "no" : "a", says, text); }
}

static void check_zeros(float scale, const char *more, bool map, bool trace)
{
    command_result r = command_run("explain %s %s -o %s/out --restart --threads 1 --variants 4 %s", make_model(scale),
                                   make_input(), test_folder(), more);
    if (r.code != 0) { fail_msg("%s", r.err); }
    char *json = read_result("results.json"), *html = read_result("report.html");
    expect_text(r.err, "warning: x_0000: the dense map of saliency for class 0 is 0 everywhere", map);
    expect_text(json, "\"all_zero\": true", map || trace);
    expect_text(html, "0 everywhere: this map says nothing", map || trace);
    expect_text(r.err, "all weights are 0 in 1 layer of the trace (fc)", trace);
    expect_text(json, "\"first_all_zero_layer\": \"fc\"", trace);
    expect_text(html, "All weights are 0 in 1 layer of the trace", trace);
    free(json);
    free(html);
    command_clear(&r);
}

static void test_zeros(void **state)
{
    (void)state;
    check_zeros(0.01f, "", false, false);
    check_zeros(100, "--no-trace --output scores", true, false); /* a sigmoid that is 1 */
    check_zeros(100, "--no-trace", false, false);                /* its logit has a map */
    check_zeros(0.01f, "--sparsity 1", false, true);
    command_result r = command_run("trace %s %s -o %s/t.onnx --json --variants 4 --sparsity 1", make_model(1),
                                   make_input(), test_folder());
    assert_int_equal(r.code, 0);
    expect_text(r.err, "warning: ", true);
    expect_text(r.err, "all weights are 0 in 1 layer of the trace (fc)", true);
    expect_text(r.out, "\"all_zero_layers\":[\"fc\"]", true);
    command_clear(&r);
}

/* A report that is made of kept records says the same. */
static void test_zeros_of_before(void **state)
{
    (void)state;
    check_zeros(0.01f, "--sparsity 1", false, true);
    command_result r = command_run("explain %s %s -o %s/out --threads 1 --variants 4 --sparsity 1", make_model(0.01f),
                                   make_input(), test_folder());
    assert_int_equal(r.code, 0);
    char *html = read_result("report.html");
    expect_text(html, "All weights are 0 in 1 layer of the trace:</b> fc.", true);
    expect_text(html, "0 everywhere: this map says nothing", true);
    free(html);
    command_clear(&r);
}

static void test_failures(void **state)
{
    (void)state;
    command_result r =
        command_run("explain %s %s -o %s/out --restart --variants 4", make_model(1e37f), make_input(), test_folder());
    assert_int_equal(r.code, 1);
    expect_text(r.err, "layer fc: its input reaches", true);
    command_clear(&r);
}

/* ---- memory */

/* With a budget that needs several passes, and with the default, a trace is the same to the last bit. */
static void test_budgets(void **state)
{
    (void)state;
    static const char *const budgets[] = {"", "--memory 16M", "--memory 9M"};
    char *first = NULL;
    size_t size = 0;
    for (int i = 0; i < 3; i++) {
        size_t bytes;
        char path[400];
        command_result r = command_run("trace " SCENE "-o %s/t.safetensors %s", test_folder(), budgets[i]);
        if (r.code != 0) { fail_msg("%s: %s", budgets[i], r.err); }
        command_clear(&r);
        snprintf(path, sizeof path, "%s/t.safetensors", test_folder());
        char *file = file_read(path, &bytes);
        assert_non_null(file);
        if (first) {
            assert_int_equal(bytes, size);
            assert_memory_equal(file, first, size);
            free(file);
        } else {
            first = file;
            size = bytes;
        }
    }
    free(first);
    command_result help = command_run("explain --help");
    expect_text(help.out, "3/4 of what is free", true);
    command_clear(&help);
}

/* Activations of terabytes: refused at once, by the node's name, before libraries look for a way to compute them. */
static void test_activations_no_machine_holds(void **state)
{
    (void)state;
    const float scales[] = {1, 1, 100000, 100000};
    wire network = graph_of(3, SIDE, SIDE, 4);
    put_tensor(&network, tensor_of("scales", 1, (int64_t[]){4}, scales));
    put_tensor(&network, tensor_random("c.weight", 4, (int64_t[]){4, 3, 1, 1}, 1));
    put_node(&network, with_text(node_of("grow", "Resize", "x  scales", "a"), "mode", "nearest"));
    put_node(&network, node_of("c", "Conv", "a c.weight", "b"));
    put_node(&network, node_of("mean", "GlobalAveragePool", "b", "m"));
    put_node(&network, node_of("flat", "Flatten", "m", "y"));
    const char *path = test_save("big.onnx", model_of(network));
    for (int i = 0; i < 2; i++) {
        const time_t start = time(NULL);
        command_result r = command_run("explain %s %s -o %s/big --no-trace %s", path, make_input(), test_folder(),
                                       i ? "--memory 1000000G" : "");
        assert_int_equal(r.code, 1);
        expect_text(r.err, "node \"grow\": its output for", true);
        expect_text(r.err, "this machine has", true);
        assert_true(time(NULL) - start < 10);
        command_clear(&r);
    }
}

/* 50,000 layers of one weight: each has a name of its own, in time that grows with their number only. */
static void test_many_layers_of_one_weight(void **state)
{
    (void)state;
    enum { LAYERS = 50000 };
    const float eye[] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    wire network = graph_of(3, 1, 1, 3);
    char inputs[64], output[32];
    put_tensor(&network, tensor_of("fc.weight", 2, (int64_t[]){3, 3}, eye));
    put_node(&network, node_of("flat", "Flatten", "x", "v0"));
    for (int i = 0; i < LAYERS; i++) {
        snprintf(inputs, sizeof inputs, "v%d fc.weight", i);
        snprintf(output, sizeof output, i + 1 == LAYERS ? "y" : "v%d", i + 1);
        put_node(&network, node_of("", "MatMul", inputs, output));
    }
    const char *path = test_save("many.onnx", model_of(network));
    const time_t start = time(NULL);
    command_result r = command_run("info %s", path);
    if (r.code != 0) { fail_msg("%s", r.err); }
    assert_true(time(NULL) - start < 30); /* a second; comparing all with all takes hours */
    expect_text(r.out, "fc#49999 ", true);
    command_clear(&r);
}

static int remove_files(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_zeros),
                                       cmocka_unit_test(test_zeros_of_before),
                                       cmocka_unit_test(test_failures),
                                       cmocka_unit_test(test_budgets),
                                       cmocka_unit_test(test_activations_no_machine_holds),
                                       cmocka_unit_test(test_many_layers_of_one_weight)};
    return cmocka_run_group_tests(tests, NULL, remove_files);
}
