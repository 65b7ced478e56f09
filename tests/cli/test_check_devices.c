/*
 * test_check_devices.c - `spade check` and `explain --check`: what they print and write, against the library; the same for every
 * run, number of threads and device; each wrong use is one line.
 */
#include <math.h>
#include <sys/stat.h>

#include <jansson.h>

#include "spade/spade.h"
#include "support/command.h"
#include "support/device.h"
#include "support/model.h"
#include "support/results.h"

#define RESNET SPADE_TEST_DATA "/models/scene_resnet.onnx"
#define PICTURE SPADE_TEST_DATA "/images/scene00.png"
enum { CHANNELS = 3, SIDE = 16, SIZE = CHANNELS * SIDE * SIDE, CLASSES = 4, LAYERS = 3, SEED = 5 };
static const char *const layers[LAYERS] = {"last", "second", "first"}; /* from the last one on */

static char network[300], input[300];

static void make_files(void)
{
    static const int64_t first[4] = {6, CHANNELS, 3, 3}, second[4] = {8, 6, 3, 3}, last[2] = {8, CLASSES}, six = 6,
                         pads[4] = {1, 1, 1, 1};
    wire graph = graph_of(CHANNELS, SIDE, SIDE, CLASSES);
    float x[SIZE];
    spade_context *context;
    put_tensor(&graph, tensor_random("first.weight", 4, first, 1));
    put_tensor(&graph, tensor_random("first.bias", 1, &six, 2));
    put_tensor(&graph, tensor_random("second.weight", 4, second, 3));
    put_tensor(&graph, tensor_random("last.weight", 2, last, 4));
    put_node(&graph, with_ints(node_of("conv1", "Conv", "x first.weight first.bias", "a"), "pads", 4, pads));
    put_node(&graph, node_of("relu1", "Relu", "a", "b"));
    put_node(&graph, with_ints(node_of("conv2", "Conv", "b second.weight", "c"), "pads", 4, pads));
    put_node(&graph, node_of("relu2", "Relu", "c", "d"));
    put_node(&graph, node_of("pool", "GlobalAveragePool", "d", "e"));
    put_node(&graph, node_of("flat", "Flatten", "e", "f"));
    put_node(&graph, node_of("fc", "Gemm", "f last.weight", "y"));
    snprintf(network, sizeof network, "%s", test_save("net.onnx", model_of(graph)));
    for (uint32_t i = 0; i < SIZE; i++) { x[i] = pseudo_random(9, i); }
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    snprintf(input, sizeof input, "%s/x.npy", test_folder());
    assert_int_equal(spade_array_save(context, input, x, 4, (int64_t[]){1, CHANNELS, SIDE, SIDE}), SPADE_OK);
    spade_context_destroy(context);
}

/* Standard output of a check that ends well, malloc'ed. */
static char *check(const char *arguments, const char *device)
{
    command_result result =
        command_run("check %s %s --device %s --seed %d %s", network, input, device, SEED, arguments);
    if (result.code != 0) { fail_msg("check %s: code %d: %s", arguments, result.code, result.err); }
    char *out = result.out;
    result.out = NULL;
    command_clear(&result);
    return out;
}

static json_t *check_json(const char *arguments, const char *device)
{
    char line[512];
    snprintf(line, sizeof line, "--json %s", arguments);
    char *out = check(line, device);
    json_t *json = json_loads(out, 0, NULL);
    assert_non_null(json);
    free(out);
    return json;
}

static const json_t *map_at(const json_t *result, int index)
{
    const json_t *map = json_array_get(json_object_get(result, "maps"), (size_t)index);
    assert_non_null(map);
    return map;
}

static double value_at(const json_t *map, int stage, const char *name)
{
    const json_t *value = json_object_get(json_array_get(json_object_get(map, "similarity"), (size_t)stage), name);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* ---- against the library */

static void assert_values(const json_t *map, int stage, const spade_similarity *wanted)
{
    assert_true(fabs(value_at(map, stage, "spearman") - wanted->spearman) < 1e-6);
    assert_true(fabs(value_at(map, stage, "spearman_abs") - wanted->spearman_abs) < 1e-6);
    assert_true(fabs(value_at(map, stage, "ssim") - wanted->ssim) < 1e-6);
}

static void test_against_library(void **state)
{
    (void)state;
    float maps[2][SIZE];
    int64_t shape[3];
    spade_context_options options;
    spade_context *context;
    spade_model *model;
    spade_trace *trace;
    spade_attribution *attribution;
    spade_array x = {0};
    json_t *result = check_json("--method input_x_gradient --class 2", test_device());
    const json_t *map = map_at(result, 0);
    spade_context_options_init(&options);
    options.device = test_device();
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    assert_int_equal(spade_model_load(context, network, NULL, &model), SPADE_OK);
    assert_int_equal(spade_array_load(context, input, 0, &x), SPADE_OK);
    assert_int_equal(spade_attribution_create(context, "input_x_gradient", &attribution), SPADE_OK);
    assert_int_equal(spade_attribution_map_shape(context, model, attribution, shape), SPADE_OK);
    assert_int_equal(spade_trace_create_empty(context, model, &trace), SPADE_OK);
    for (int stage = -1; stage < LAYERS; stage++) {
        static const spade_target target = {.class_index = 2};
        spade_similarity wanted;
        if (stage >= 0) { assert_int_equal(spade_trace_randomise(context, trace, LAYERS - 1 - stage, SEED), SPADE_OK); }
        assert_int_equal(
            spade_attribute(context, model, trace, attribution, x.data, &target, 1, maps[stage >= 0], NULL), SPADE_OK);
        if (stage < 0) { continue; }
        assert_int_equal(spade_map_similarity(context, maps[0], maps[1], shape, &wanted), SPADE_OK);
        assert_values(map, stage, &wanted);
    }
    spade_trace_destroy(trace);
    spade_attribution_destroy(attribution);
    spade_array_clear(&x);
    spade_model_destroy(model);
    spade_context_destroy(context);
    json_decref(result);
}

/* ---- what the result holds */

static void test_result(void **state)
{
    (void)state;
    json_t *result =
        check_json("--method saliency,lrp:composite=epsilon,integrated_gradients:steps=100 --class 0,3", test_device());
    const json_t *stages = json_object_get(result, "stages"), *lrp = map_at(result, 2);
    const json_t *conservation = json_object_get(json_object_get(lrp, "check"), "conservation");
    const json_t *complete = json_object_get(json_object_get(map_at(result, 5), "check"), "completeness");
    assert_int_equal(json_array_size(json_object_get(result, "maps")), 6);
    assert_int_equal(json_array_size(stages), LAYERS);
    for (int s = 0; s < LAYERS; s++) {
        const json_t *stage = json_array_get(stages, (size_t)s);
        assert_string_equal(json_string_value(json_object_get(stage, "layer")), layers[s]);
        assert_int_equal(json_integer_value(json_object_get(stage, "layers")), s + 1);
    }
    for (int m = 0; m < 6; m++) {
        assert_int_equal(json_integer_value(json_object_get(map_at(result, m), "class")), m % 2 ? 3 : 0);
        assert_int_equal(json_array_size(json_object_get(map_at(result, m), "similarity")), LAYERS);
        for (int s = 0; s < LAYERS; s++) { assert_true(fabs(value_at(map_at(result, m), s, "spearman")) < 0.999); }
        const json_t *verdict = json_object_get(map_at(result, m), "verdict"),
                     *follows = json_object_get(verdict, "follows");
        const double left = fmax(fabs(value_at(map_at(result, m), LAYERS - 1, "spearman")),
                                 fabs(value_at(map_at(result, m), LAYERS - 1, "spearman_abs")));
        assert_true(json_number_value(json_object_get(verdict, "correlation")) == left);
        assert_true(json_is_boolean(follows) && json_is_true(follows) == (left < SPADE_CHECK_LEVEL));
    }
    assert_null(json_object_get(map_at(result, 0), "check")); /* saliency promises nothing */
    assert_true(json_is_true(json_object_get(conservation, "holds")));
    assert_true(json_is_true(json_object_get(complete, "holds")));
    assert_true(json_number_value(json_object_get(complete, "tolerance")) == 0.05);
    json_decref(result);
}

static void test_same_result(void **state)
{
    (void)state;
    char *once = check("--json --method saliency,gradcam --threads 1", test_device());
    char *again = check("--json --method saliency,gradcam --threads 2", test_device());
    assert_string_equal(once, again);
    free(again);
    again = check("--json --method saliency,gradcam --threads 1 --seed 6", test_device());
    assert_true(strcmp(once, again) != 0);
    free(once);
    free(again);
    /* on another device, too, up to rounding */
    json_t *here = check_json("--method saliency,lrp", test_device()),
           *there = check_json("--method saliency,lrp", "cpu");
    for (int m = 0; m < 2; m++) {
        for (int s = 0; s < LAYERS; s++) {
            const double a = value_at(map_at(here, m), s, "spearman"), b = value_at(map_at(there, m), s, "spearman");
            assert_true(fabs(a - b) < 1e-3);
        }
    }
    json_decref(here);
    json_decref(there);
}

/* ---- what is printed and written */

static void test_table(void **state)
{
    (void)state;
    char *folder = folder_make(), line[512];
    snprintf(line, sizeof line, "--stages 2 --method saliency,deeplift -o %s/out", folder);
    char *out = check(line, test_device());
    assert_non_null(strstr(out, "random down to   Spearman   of |map|       SSIM"));
    assert_non_null(strstr(out, "    last  "));  /* the first half of three layers */
    assert_non_null(strstr(out, "    first  ")); /* the rest */
    assert_null(strstr(out, "    second  "));
    assert_non_null(strstr(out, ": complete\n"));
    assert_non_null(strstr(out, ": conserved\n"));
    assert_non_null(strstr(out, "/out/check.html\n"));
    free(out);
    snprintf(line, sizeof line, "%s/out", folder);
    assert_int_equal(files_count(line, ".png"), 2 * 3); /* two methods, the network's own map and two stages */
    snprintf(line, sizeof line, "%s/out/check.html", folder);
    char *page = file_read(line, NULL);
    assert_non_null(page);
    assert_non_null(strstr(page, "src=\"x_0000/check_deeplift_0002.png\""));
    assert_non_null(strstr(page, "<b>first</b>"));
    const char *name = strrchr(network, '/') + 1; /* of the model: without its folder */
    snprintf(line, sizeof line, "<title>spade check: %s</title>", name);
    assert_non_null(strstr(page, line));
    snprintf(line, sizeof line, "<h1>%s</h1>", name);
    assert_non_null(strstr(page, line));
    assert_non_null(strstr(page, "<h3>How to read the colours</h3>"));
    assert_non_null(strstr(page, "How much a pixel matters <span class=\"soft\">saliency</span>"));
    assert_non_null(strstr(page, "For or against the class <span class=\"soft\">deeplift</span>"));
    assert_null(strstr(page, "A against B"));
    assert_non_null(
        strstr(page, "<b>1 of 1</b> map whose method promises something (completeness, conservation) keeps it"));
    free(page);
    folder_remove(folder);
}

/* A contrast: the same words on the terminal and on the page, and which colour speaks for which class. */
static void test_contrast(void **state)
{
    (void)state;
    char *folder = folder_make(), line[512];
    snprintf(line, sizeof line, "--stages 1 --method deeplift --class 3-1 -o %s/out", folder);
    char *out = check(line, test_device());
    assert_non_null(strstr(out, "  deeplift, for class 3 against class 1\n"));
    free(out);
    snprintf(line, sizeof line, "%s/out/check.html", folder);
    char *page = file_read(line, NULL);
    assert_non_null(page);
    assert_non_null(strstr(page, ">for class 3 against class 1</span>"));
    assert_non_null(strstr(page, "<b>orange speaks for A, blue for B</b>.</p>"));
    free(page);
    folder_remove(folder);
}

/* ---- a ResNet with random weights everywhere: what the paper finds */

/* The mean of maps of copies promises no sum of the picture's own. */
static void test_smooth(void **state)
{
    (void)state;
    json_t *result = check_json("--stages 1 --method deeplift,smooth:samples=2:of=deeplift", test_device());
    assert_non_null(json_object_get(map_at(result, 0), "check"));
    assert_null(json_object_get(map_at(result, 1), "check"));
    json_decref(result);
}

/* An input that fails is named on the page, too, and counted behind it. */
static void test_failed_input(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512];
    command_result result = command_run("check %s %s/nothing.png %s -o %s/out --method saliency --stages 1 --device %s",
                                        network, folder, input, folder, test_device());
    assert_int_equal(result.code, 3);
    assert_non_null(strstr(result.out, "/out/check.html, 1 input failed\n"));
    command_clear(&result);
    snprintf(path, sizeof path, "%s/out/check.html", folder);
    char *page = file_read(path, NULL);
    assert_non_null(page);
    assert_non_null(strstr(page, "1 input could not be checked"));
    assert_non_null(strstr(page, "nothing.png"));
    assert_null(strstr(page, "The run was stopped"));
    free(page);
    /* where all fail, the page of the run before is not true any more */
    result = command_run("check %s %s/nothing.png -o %s/out --method saliency --stages 1 --device %s", network, folder,
                         folder, test_device());
    assert_int_equal(result.code, 1);
    command_clear(&result);
    page = file_read(path, NULL);
    assert_non_null(page);
    assert_non_null(strstr(page, "0 inputs checked"));
    assert_non_null(strstr(page, "1 input could not be checked"));
    free(page);
    folder_remove(folder);
}

/* What was done before the run broke off is on the page. */
static void test_break_off(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512];
    snprintf(path, sizeof path, "%s/out", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/out/scene01", folder); /* in the place of its folder */
    file_write(path, "", 0);
    command_result result = command_run("check %s " SPADE_TEST_DATA "/images/scene00.png " SPADE_TEST_DATA
                                        "/images/scene01.png -o %s/out --method saliency --stages 1 "
                                        "--device %s",
                                        network, folder, test_device());
    assert_int_equal(result.code, 1);
    assert_non_null(strstr(result.err, "scene01"));
    command_clear(&result);
    snprintf(path, sizeof path, "%s/out/check.html", folder);
    char *page = file_read(path, NULL);
    assert_non_null(page);
    assert_non_null(strstr(page, "1 input checked"));
    assert_non_null(strstr(page, "The run was stopped"));
    free(page);
    folder_remove(folder);
}

static void test_resnet(void **state)
{
    (void)state;
    if (test_is_emulated()) { skip(); }
    command_result result =
        command_run("check " RESNET " " PICTURE " --resize 0 --stages 1 --method saliency,input_x_gradient --json");
    assert_int_equal(result.code, 0);
    json_t *json = json_loads(result.out, 0, NULL);
    assert_non_null(json);
    const json_t *saliency = map_at(json, 0), *product = map_at(json, 1);
    print_message("all layers random: saliency %.3f, SSIM %.3f; input times gradient %.3f\n",
                  value_at(saliency, 0, "spearman"), value_at(saliency, 0, "ssim"), value_at(product, 0, "spearman"));
    assert_true(fabs(value_at(saliency, 0, "spearman")) < 0.5); /* sizes still follow the picture and the strides */
    assert_true(fabs(value_at(saliency, 0, "ssim")) < 0.1);
    assert_true(fabs(value_at(product, 0, "spearman")) < 0.1);
    json_decref(json);
    command_clear(&result);
}

/* ---- explain --check */

static json_t *explain(const char *folder, const char *arguments, int code, const char *says)
{
    char path[300];
    command_result result =
        command_run("explain %s %s -o %s --no-trace --device %s %s", network, input, folder, test_device(), arguments);
    if (result.code != code || !strstr(code ? result.err : result.out, says)) {
        fail_msg("explain %s: code %d: %s%s", arguments, result.code, result.out, result.err);
    }
    command_clear(&result);
    snprintf(path, sizeof path, "%s/results.json", folder);
    json_t *json = json_load_file(path, 0, NULL);
    assert_non_null(json);
    return json;
}

static void test_explain(void **state)
{
    (void)state;
    static const char methods[] = "--method deeplift,lrp:composite=epsilon:epsilon=5,saliency";
    char *folder = folder_make(), line[300];
    snprintf(line, sizeof line, "%s --check", methods);
    json_t *json = explain(folder, line, 0, "conservation  dense not conserved");
    for (int round = 0; round < 2; round++) { /* as it is found, and as it is read back from the first run */
        const json_t *maps = json_object_get(json_array_get(json_object_get(json, "inputs"), 0), "maps");
        const json_t *deeplift = json_object_get(json_object_get(json_array_get(maps, 0), "dense"), "check");
        const json_t *lrp = json_object_get(json_object_get(json_array_get(maps, 1), "dense"), "check");
        const json_t *steps = json_object_get(json_object_get(lrp, "conservation"), "steps");
        assert_true(json_is_true(json_object_get(json_object_get(deeplift, "completeness"), "holds")));
        assert_true(json_is_true(json_object_get(json_object_get(deeplift, "conservation"), "holds")));
        assert_true(json_is_false(json_object_get(json_object_get(lrp, "conservation"), "holds")));
        assert_string_equal(json_string_value(json_object_get(json_array_get(steps, 0), "name")), "last");
        assert_null(json_object_get(json_object_get(json_array_get(maps, 2), "dense"), "check"));
        snprintf(line, sizeof line, "%s/report.html", folder);
        char *page = file_read(line, NULL);
        assert_non_null(page);
        assert_non_null(strstr(page, ">not conserved</span>"));
        assert_non_null(strstr(page, "lrp (composite=epsilon:epsilon=5) for class"));
        free(page);
        json_decref(json);
        snprintf(line, sizeof line, "%s --check", methods);
        json = explain(folder, line, 0, "(1 before)");
    }
    json_decref(json);
    json_decref(explain(folder, methods, 2, "configuration.check: true, now false"));
    folder_remove(folder);
}

static void test_warning(void **state)
{
    (void)state;
    char *folder = folder_make();
    command_result result = command_run("explain %s %s -o %s --no-trace --no-report --device %s --check --method "
                                        "lrp:composite=epsilon:epsilon=5,integrated_gradients:steps=1",
                                        network, input, folder, test_device());
    assert_int_equal(result.code, 0);
    assert_non_null(strstr(result.err, "the dense map of lrp (composite=epsilon:epsilon=5) for class"));
    assert_non_null(strstr(result.err, "does not conserve relevance: what "));
    assert_non_null(strstr(result.err, "is not complete: it sums to "));
    command_clear(&result);
    folder_remove(folder);
}

/* ---- wrong uses */

static void expect_refused(int code, const char *says, const char *arguments)
{
    command_result result = command_run("check %s --device %s", arguments, test_device());
    const char *end = strchr(result.err, '\n');
    if (result.code != code || !strstr(result.err, says) || !end || (code == 2 && end[1])) {
        fail_msg("check %s: code %d: %s", arguments, result.code, result.err);
    }
    command_clear(&result);
}

static void test_refused(void **state)
{
    (void)state;
    char line[1000];
#define REFUSED(code, says, ...)                                                                                       \
    do {                                                                                                               \
        snprintf(line, sizeof line, __VA_ARGS__);                                                                      \
        expect_refused((code), (says), line);                                                                          \
    } while (0)
    REFUSED(2, "usage: spade check MODEL INPUT...", "%s", network);
    REFUSED(2, "--stages 4: the network has 3 layers with weights", "%s %s --stages 4", network, input);
    REFUSED(2, "--stages: '0' is not a whole number from 1 to 1024", "%s %s --stages 0", network, input);
    REFUSED(2, "--quiet prints no table: give -o or --json", "%s %s -q", network, input);
    REFUSED(2, "--class 4: the network has the classes 0 to 3", "%s %s --class 4", network, input);
    REFUSED(2, "unknown method 'none'", "%s %s --method none", network, input);
    REFUSED(2, "unknown option '--mask'", "%s %s --mask m.png", network, input);
    REFUSED(2, "unknown option '--check'", "%s %s --check", network, input);
    REFUSED(2, "guided_gradcam: 'nowhere' is no layer or module", "%s %s --method guided_gradcam:layer=nowhere",
            network, input);
    REFUSED(1, "none.npy: No such file or directory", "%s %s/none.npy", network, test_folder());
    REFUSED(1, "none.onnx: ", "%s/none.onnx %s", test_folder(), input);
    REFUSED(3, "none.npy: No such file or directory", "%s %s %s/none.npy --stages 1", network, input, test_folder());
    REFUSED(1, "cannot make the folder", "%s %s --stages 1 -o %s/net.onnx/x", network, input, test_folder());
#undef REFUSED
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
        cmocka_unit_test(test_against_library), cmocka_unit_test(test_result),   cmocka_unit_test(test_same_result),
        cmocka_unit_test(test_table),           cmocka_unit_test(test_contrast), cmocka_unit_test(test_resnet),
        cmocka_unit_test(test_explain),         cmocka_unit_test(test_warning),  cmocka_unit_test(test_failed_input),
        cmocka_unit_test(test_break_off),       cmocka_unit_test(test_smooth),   cmocka_unit_test(test_refused),
    };
    make_files();
    return cmocka_run_group_tests(tests, NULL, close_folder);
}
