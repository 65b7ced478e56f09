/* test_sparsity.c - from outside: a sparsity that is chosen for each input. */
#include <jansson.h>

#include "support/command.h"
#include "support/model.h"

#define MODEL SPADE_SOURCE_DIR "/examples/scene_resnet.onnx"
#define PICTURES SPADE_SOURCE_DIR "/examples/pictures"

static json_t *load(const char *folder, const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    json_t *all = json_load_file(path, 0, NULL);
    if (!all) { fail_msg("%s cannot be read", path); }
    return all;
}

static void test_explain_records_what_was_chosen(void **state)
{
    (void)state;
    char *folder = folder_make(), path[400];
    command_result r = command_run(
        "explain " MODEL " " PICTURES "/scene00.png --resize 0 --sparsity auto --variants 24 -o %s/out", folder);
    if (r.code != 0) { fail_msg("%s", r.err); }
    command_clear(&r);
    snprintf(path, sizeof path, "%s/out", folder);
    json_t *all = load(path, "results.json"), *sparsity, *chosen;
    assert_string_equal(json_string_value(json_object_get(json_object_get(all, "configuration"), "sparsity")), "auto");
    sparsity = json_object_get(json_array_get(json_object_get(all, "inputs"), 0), "sparsity");
    chosen = json_object_get(sparsity, "chosen");
    assert_true(json_number_value(json_object_get(chosen, "level")) > 0);
    assert_true(json_is_boolean(json_object_get(chosen, "scaled")) &&
                json_is_boolean(json_object_get(chosen, "enough")));
    assert_true(json_number_value(json_object_get(chosen, "agreement")) >= 0.95);
    json_decref(all);
    snprintf(path, sizeof path, "%s/out/report.html", folder);
    char *page = file_read(path, NULL);
    assert_non_null(strstr(page, "(chosen: "));
    free(page);
    folder_remove(folder);
}

/* A configuration says auto as well, and gives some layers a sparsity of their own. */
static void test_a_configuration_says_auto(void **state)
{
    (void)state;
    static const char text[] = "sparsity: auto\nvariants: 24\nresize: 0\nrules: [{layers: fc, sparsity: 0.75}]\n";
    char *folder = folder_make(), path[400];
    snprintf(path, sizeof path, "%s/c.yaml", folder);
    file_write(path, text, sizeof text - 1);
    command_result r =
        command_run("trace " MODEL " " PICTURES "/scene01.png --config %s -o %s/t.safetensors --json", path, folder);
    if (r.code != 0) { fail_msg("%s", r.err); }
    json_t *all = json_loads(r.out, 0, NULL), *layer;
    size_t i;
    assert_true(json_is_object(json_object_get(all, "chosen")));
    json_array_foreach(json_object_get(all, "layers"), i, layer)
    {
        if (strcmp(json_string_value(json_object_get(layer, "name")), "fc") != 0) { continue; }
        assert_true(json_number_value(json_object_get(layer, "sparsity")) == 0.75);
    }
    json_decref(all);
    command_clear(&r);
    folder_remove(folder);
}

/* A network of four classes whose bias decides: the highest sparsity is chosen, of which four rows lose three. */
static const char *save_decided(void)
{
    static const int64_t kernel[] = {6, 3, 1, 1}, square[] = {4, 6}, rows = 4;
    static const float bias[] = {100, 0, 0, 0};
    wire network = graph_of(3, 64, 64, 4);
    put_tensor(&network, tensor_random("k", 4, kernel, 1));
    put_tensor(&network, tensor_random("w", 2, square, 2));
    put_tensor(&network, tensor_of("v", 1, &rows, bias));
    put_node(&network, node_of("conv", "Conv", "x k", "a"));
    put_node(&network, node_of("pool", "GlobalAveragePool", "a", "b"));
    put_node(&network, node_of("flat", "Flatten", "b", "c"));
    put_node(&network, with_int(node_of("fc", "Gemm", "c w v", "y"), "transB", 1));
    return test_save("decided.onnx", model_of(network));
}

/* Rules for all layers: nothing is chosen, and nothing of that is recorded. Of small layers rounding is said for what was chosen. */
static void test_what_is_said(void **state)
{
    (void)state;
    static const char text[] = "sparsity: auto\nvariants: 24\nresize: 0\nrules: [{layers: '*', sparsity: 0.3}]\n";
    char *folder = folder_make(), path[400];
    snprintf(path, sizeof path, "%s/c.yaml", folder);
    file_write(path, text, sizeof text - 1);
    command_result r =
        command_run("explain " MODEL " " PICTURES "/scene00.png --config %s -o %s/out --block 1", path, folder);
    if (r.code != 0 || !strstr(r.err, "the automatic sparsity has no effect: rules fix") ||
        strstr(r.err, "in all layers")) {
        fail_msg("%d: %s", r.code, r.err);
    }
    command_clear(&r);
    snprintf(path, sizeof path, "%s/out", folder);
    json_t *all = load(path, "results.json");
    assert_null(
        json_object_get(json_object_get(json_array_get(json_object_get(all, "inputs"), 0), "sparsity"), "chosen"));
    json_decref(all);
    r = command_run("explain %s " PICTURES "/scene00.png " PICTURES
                    "/scene01.png --resize 0 --sparsity auto --variants 24 -o %s/small",
                    save_decided(), folder);
    const char *said = strstr(r.err, "scene00.png: w gets a sparsity of 75.0 %, not 99.0 %");
    if (r.code != 0 || !said || strstr(said, "scene01.png: w gets")) { fail_msg("%d: %s%s", r.code, r.err, r.out); }
    command_clear(&r);
    test_remove_folder();
    folder_remove(folder);
}

static void expect_refusal(const char *arguments, int code, const char *text)
{
    char *folder = folder_make();
    command_result r =
        command_run("explain " MODEL " " PICTURES "/scene00.png --resize 0 -o %s/out %s", folder, arguments);
    if (r.code != code || !strstr(r.err, text)) { fail_msg("%s: code %d: %s", arguments, r.code, r.err); }
    command_clear(&r);
    folder_remove(folder);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const char of_some[] = "sparsity: [{layers: fc, value: auto}]\n";
    char *folder = folder_make(), arguments[400];
    snprintf(arguments, sizeof arguments, "%s/c.yaml", folder);
    file_write(arguments, of_some, sizeof of_some - 1);
    snprintf(arguments, sizeof arguments, "--config %s/c.yaml", folder);
    expect_refusal(arguments, 2, "auto is for all layers");
    static const char rules[] = "rules: [{layers: nowhere, sparsity: 0.3}]\n", skipped[] = "skip: [nothing]\n";
    file_write(path_inside(folder, "r.yaml"), rules, sizeof rules - 1);
    file_write(path_inside(folder, "s.yaml"), skipped, sizeof skipped - 1);
    snprintf(arguments, sizeof arguments, "--config %s", path_inside(folder, "r.yaml"));
    expect_refusal(arguments, 2, "/r.yaml: rule: \"nowhere\" matches no prunable layer");
    snprintf(arguments, sizeof arguments, "--config %s", path_inside(folder, "s.yaml"));
    expect_refusal(arguments, 2, "/s.yaml: skip: \"nothing\" matches no prunable layer");
    strcat(arguments, " --skip nobody");
    expect_refusal(arguments, 2, "spade: skip: \"nobody\" matches no prunable layer");
    expect_refusal("--sparsity auto --nm 2:4", 2, "a pattern stands in place of a sparsity");
    expect_refusal("--sparsity automatic", 2, "'automatic' is not a number");
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_explain_records_what_was_chosen),
                                       cmocka_unit_test(test_a_configuration_says_auto),
                                       cmocka_unit_test(test_what_is_said), cmocka_unit_test(test_what_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
