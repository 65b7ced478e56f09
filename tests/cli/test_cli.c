/* test_cli.c - the command from outside: exit codes, files, JSON, and results that do not depend on threads and memory.
 */
#include <sys/stat.h>

#include <jansson.h>

#include "base/base.h"
#include "support/command.h"
#include "spade/spade.h"

#define MODEL SPADE_TEST_DATA "/models/scene_resnet.onnx"
#define PICTURE SPADE_TEST_DATA "/images/scene00.png"

static void expect(int code, const char *says_out, const char *says_err, const char *arguments)
{
    command_result result = command_run("%s", arguments);
    if (result.code != code || (says_out && !strstr(result.out, says_out)) ||
        (says_err && !strstr(result.err, says_err))) {
        fail_msg("spade %s: code %d\n%s\n%s", arguments, result.code, result.out, result.err);
    }
    command_clear(&result);
}

static void test_help(void **state)
{
    (void)state;
    expect(2, NULL, "usage: spade COMMAND", "");
    expect(0, "explain", NULL, "--help");
    expect(0, "--sparsity", NULL, "help trace");
    static const char *const commands[] = {"info", "explain", "trace", "methods", "devices", "version"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char line[64];
        snprintf(line, sizeof line, "%s --help", commands[i]);
        expect(0, commands[i], NULL, line);
    }
    for (int i = 0; i < spade_method_count(); i++) { expect(0, spade_method_at(i)->name, NULL, "explain --help"); }
}

static void test_usage_errors(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"paint x", "unknown command 'paint'"},
        {"explain " MODEL " " PICTURE, "-o is needed"},
        {"explain -o /tmp/spade_test_usage", "usage: spade explain"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --nope", "unknown option '--nope'"},
        {"explain " MODEL " " PICTURE " -o", "-o needs a value"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --sparsity 0,5", "--sparsity: '0,5' is not a number"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --sparsity nan", "'nan' is not a number"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --sparsity=0.5x", "'0.5x' is not a number"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --sparsity 1.5", "not from 0 to 1"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --variants 0", "--variants: 0 is not from 1"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --memory 1T", "--memory: '1T'"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --threads 0", "--threads: '0'"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --in-flight 0", "--in-flight: '0'"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --in-flight 65", "--in-flight 65: at most 64"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --method gradcan", "unknown method 'gradcan'"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --method saliency,smoothgrad:samples=x",
         "--method: smoothgrad: samples: 'x' is not a whole number"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --method 'smoothgrad:sigma=\"1,2\",saliency'",
         "sigma: '1,2' is not a number"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --class label", "'label' needs labelled inputs"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --class 10 --variants 8 --resize 0", "classes 0 to 9"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --no-dense --no-trace", "nothing to do"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --layers 'nothing*' --variants 8 --resize 0",
         "nothing*"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --solver slow", "'slow' is none of"},
        {"info " MODEL " --follow-links=true", "--follow-links takes no value"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --nm 5:4", "--nm: '5:4' is no pattern"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --linear-block x", "'x' is not a whole number"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --precision fp16",
         "'fp16' is none of fp32, tf32, bf16"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --device cpu --precision tf32", "in fp32 only"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --mean 1,2", "3 or 4 numbers are wanted"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --quiet=1", "takes no value"},
        {"trace " MODEL " -o /tmp/spade_test_usage.onnx", "an INPUT or --batch"},
        {"trace " MODEL " " PICTURE " -o /tmp/spade_test_usage.txt", ".onnx or .safetensors"},
        {"info", "usage: spade info"},
        {"info a b", "unexpected argument 'b'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        command_result result = command_run("%s", cases[i][0]);
        char *last_line = strrchr(result.err, '\n');
        if (last_line) { *last_line = 0; }
        last_line = strrchr(result.err, '\n');
        last_line = last_line ? last_line + 1 : result.err;
        if (result.code != 2 || !strstr(last_line, cases[i][1]) || !strstr(last_line, "--help")) {
            fail_msg("spade %s: code %d, '%s'", cases[i][0], result.code, result.err);
        }
        command_clear(&result);
    }
    assert_false(file_exists("/tmp/spade_test_usage"));
}

static void test_info(void **state)
{
    (void)state;
    expect(0, "layer4.0.conv3", NULL, "info " MODEL);
    expect(0, "\"prunable\":false", NULL, "info --json " MODEL);
    expect(0, "encoder.layers.encoder_layer_3.mlp.3", NULL, "info " SPADE_TEST_DATA "/models/scene_vit.onnx");
    expect(0, "oneDNN", NULL, "version");
    expect(0, "cpu", NULL, "devices");
    expect(0, "settings of its own win (imagenet)", NULL, "explain --help");
}

/* The zeros of a file's layers: none in a dense network, what the trace's own table says in an exported trace. */
static void test_info_of_a_trace(void **state)
{
    (void)state;
    char *folder = folder_make();
    command_result trace = command_run("trace " MODEL " " PICTURE " -o %s/trace.onnx --resize 0 --variants 8 --skip fc "
                                       "--sparsity 0.75 --json",
                                       folder);
    command_result dense_info = command_run_well("info --json " MODEL);
    command_result info = command_run("info --json %s/trace.onnx", folder);
    assert_int_equal(trace.code, 0);
    assert_int_equal(info.code, 0);
    json_t *table = json_loads(trace.out, 0, NULL), *described = json_loads(info.out, 0, NULL);
    json_t *dense = json_loads(dense_info.out, 0, NULL);
    json_t *layers = json_object_get(described, "layers");
    assert_int_equal(json_array_size(layers), json_array_size(json_object_get(table, "layers")));
    json_int_t zeros = 0;
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *said = json_object_get(json_array_get(json_object_get(table, "layers"), i), "zeros");
        assert_int_equal(json_integer_value(json_object_get(json_array_get(layers, i), "zeros")),
                         json_integer_value(said));
        const json_t *before = json_array_get(json_object_get(dense, "layers"), i);
        assert_int_equal(json_integer_value(json_object_get(before, "zeros")), 0);
        zeros += json_integer_value(said);
    }
    assert_true(zeros > 0);
    json_decref(table);
    json_decref(described);
    json_decref(dense);
    command_clear(&trace);
    command_clear(&info);
    command_clear(&dense_info);
    info = command_run("info %s/trace.onnx", folder);
    const char *row = strstr(info.out, "layer2.0.downsample.0"), *last = strstr(info.out, "\nfc ");
    assert_true(row && last);
    assert_non_null(strstr(info.out, " zeros % "));
    assert_true(strstr(row, " 75.00 ") < strchr(row, '\n'));
    assert_non_null(strstr(last, "  0.00 "));
    command_clear(&info);
    folder_remove(folder);
}

/* --verbose says what is new, not the same line for each layer that is like another. */
static void test_verbose(void **state)
{
    (void)state;
    char *folder = folder_make();
    command_result result =
        command_run("explain " MODEL " " PICTURE " -o %s/out --resize 0 --variants 8 --verbose --device cpu", folder);
    assert_int_equal(result.code, 0);
    int lines = 0;
    for (char *line = result.err, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        lines += strstr(line, " threads") != NULL;
        for (const char *before = result.err; before < line; before += strlen(before) + 1) {
            if (strcmp(before, line) == 0) { fail_msg("said twice: %s", line); }
        }
    }
    assert_true(lines > 10); /* convolutions of several shapes, forward and backward */
    command_clear(&result);
    folder_remove(folder);
}

static json_t *results_of(const char *folder)
{
    char path[600];
    json_error_t error;
    snprintf(path, sizeof path, "%s/results.json", folder);
    json_t *results = json_load_file(path, 0, &error);
    assert_non_null(results);
    return results;
}

static void test_explain(void **state)
{
    (void)state;
    char *folder = folder_make();
    char path[512];
    command_result result = command_run("explain " MODEL " " PICTURE " " SPADE_TEST_DATA "/images/scene01.png " PICTURE
                                        " -o %s/out --resize 0 --variants 16 --method saliency,integrated_gradients"
                                        " --steps 5 --class 1,5 --json",
                                        folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    int lines = 0;
    for (const char *at = result.out; (at = strchr(at, '\n')); at++) { lines++; }
    assert_int_equal(lines, 3);
    snprintf(path, sizeof path, "%s/out", folder);
    json_t *results = results_of(path);
    json_t *inputs = json_object_get(results, "inputs");
    assert_int_equal(json_array_size(inputs), 3);
    static const char *const names[] = {"scene00", "scene01", "scene00_2"};
    for (size_t i = 0; i < 3; i++) {
        json_t *input = json_array_get(inputs, i);
        assert_string_equal(json_string_value(json_object_get(input, "name")), names[i]);
        assert_int_equal(json_array_size(json_object_get(input, "maps")), 4);
        static const char *const files[] = {"dense_saliency_c1.npy", "trace_saliency_c5.png",
                                            "trace_integrated_gradients_c1.npy", "input.png"};
        for (size_t k = 0; k < 4; k++) {
            snprintf(path, sizeof path, "%s/out/%s/%s", folder, names[i], files[k]);
            assert_true(file_exists(path));
        }
    }
    snprintf(path, sizeof path, "%s/out/report.html", folder);
    char *report = file_read(path, NULL);
    assert_non_null(report);
    assert_non_null(strstr(report, "prefers-color-scheme"));
    assert_null(strstr(report, "<script"));
    assert_null(strstr(report, "http")); /* nothing to load from anywhere */
    free(report);
    json_decref(results);
    command_clear(&result);
    folder_remove(folder);
}

/* A method with options of its own, twice: two maps in files of their own, and the options beside the method's name. */
static void test_method_options(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512];
    command_result result = command_run("explain " MODEL " " PICTURE " -o %s/out --resize 0 --no-trace --sigma 0.1"
                                        " --method smoothgrad:samples=2,saliency,smoothgrad:samples=3:sigma=0.2",
                                        folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    command_clear(&result);
    static const char *const files[] = {"dense_smoothgrad.npy", "dense_saliency.png", "dense_smoothgrad_2.npy",
                                        "dense_smoothgrad_2.png"};
    for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
        snprintf(path, sizeof path, "%s/out/scene00/%s", folder, files[k]);
        assert_true(file_exists(path));
    }
    snprintf(path, sizeof path, "%s/out", folder);
    json_t *results = results_of(path);
    const json_t *input = json_array_get(json_object_get(results, "inputs"), 0), *maps = json_object_get(input, "maps");
    assert_int_equal(json_array_size(maps), 3);
    const json_t *last = json_array_get(maps, 2), *plain = json_array_get(maps, 1);
    assert_string_equal(json_string_value(json_object_get(last, "method")), "smoothgrad");
    assert_string_equal(json_string_value(json_object_get(last, "options")), "samples=3:sigma=0.2");
    assert_null(json_object_get(plain, "options"));
    json_decref(results);
    snprintf(path, sizeof path, "%s/out/report.html", folder);
    char *report = file_read(path, NULL);
    assert_non_null(strstr(report, "smoothgrad 2 (samples=3:sigma=0.2)"));
    free(report);
    folder_remove(folder);
}

/* Shape of an array [C, H, W]. */
static void expect_shape(const char *path, int64_t channels, int64_t height, int64_t width)
{
    spade_context context = {.threads = 1, .budget = UINT64_MAX};
    spade_array array = {0};
    if (spade_array_load(&context, path, 0, &array) != SPADE_OK) { fail_msg("%s", context.message); }
    assert_int_equal(array.rank, 3);
    assert_true(array.dims[0] == channels && array.dims[1] == height && array.dims[2] == width);
    spade_array_clear(&array);
}

/* Maps of a layer: arrays as large as the layer, pictures and scores as large as the input. */
static void test_layer_maps(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512];
    static const char *const pictures[] = {"dense_gradcam.png", "trace_gradcam.png", "trace_gradcam_2.png",
                                           "trace_guided_gradcam.png", "dense_gradcam++_2.png"};
    command_result result = command_run("explain " MODEL " " PICTURE " -o %s/out --resize 0 --variants 8"
                                        " --mask " SPADE_TEST_DATA "/images/scene00_object.png"
                                        " --method gradcam:layer=layer4:upsample=none,gradcam++,gradcam,guided_gradcam"
                                        ",gradcam++:epsilon=0.1", /* it shares with gradcam, not with gradcam++ */
                                        folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    command_clear(&result);
    for (size_t k = 0; k < sizeof pictures / sizeof *pictures; k++) {
        size_t size = 0;
        snprintf(path, sizeof path, "%s/out/scene00/%s", folder, pictures[k]);
        uint8_t *png = (uint8_t *)file_read(path, &size);
        assert_true(png && size > 24);
        assert_true(png[18] == 1 && png[19] == 0 && png[22] == 1 && png[23] == 0); /* 64x64, enlarged to 256 */
        free(png);
    }
    snprintf(path, sizeof path, "%s/out/scene00/trace_gradcam.npy", folder);
    expect_shape(path, 1, 8, 8);
    snprintf(path, sizeof path, "%s/out/scene00/dense_gradcam_2.npy", folder);
    expect_shape(path, 1, 64, 64);
    snprintf(path, sizeof path, "%s/out/scene00/trace_guided_gradcam.npy", folder);
    expect_shape(path, 3, 64, 64);
    snprintf(path, sizeof path, "%s/out", folder);
    json_t *results = results_of(path);
    const json_t *input = json_array_get(json_object_get(results, "inputs"), 0), *maps = json_object_get(input, "maps");
    assert_int_equal(json_array_size(maps), 5);
    const json_t *small = json_array_get(maps, 0);
    assert_string_equal(json_string_value(json_object_get(small, "options")), "layer=layer4:upsample=none");
    char *text = json_dumps(small, 0);
    if (!strstr(text, "roc_auc")) { fail_msg("%s", text); }
    free(text);
    json_decref(results);
    folder_remove(folder);
    expect(2, NULL, "gradcam: 'layer9' is no layer or module; close to it: layer1, layer2, layer3, layer4",
           "explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --resize 0 --method gradcam:layer=layer9");
}

/* ROC AUC against a mask, labels, several kinds of inputs in one run, and the same picture under a name that needs
 * escaping. */
static void test_masks_and_names(void **state)
{
    (void)state;
    char *folder = folder_make();
    char path[512];
    static const char labels[] = "a\nb <x>\nc\nd\ne\nf\ng\nh\ni\nj\n";
    size_t size = 0, mask_size = 0;
    char *picture = file_read(PICTURE, &size),
         *mask = file_read(SPADE_TEST_DATA "/images/scene00_patch.png", &mask_size);
    assert_true(picture && mask);
    snprintf(path, sizeof path, "%s/<i>&.png", folder);
    file_write(path, picture, size);
    snprintf(path, sizeof path, "%s/masks", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/masks/<i>&_mask.png", folder);
    file_write(path, mask, mask_size);
    snprintf(path, sizeof path, "%s/labels", folder);
    file_write(path, labels, strlen(labels));
    command_result result =
        command_run("explain " MODEL " '%s/<i>&.png' -o %s/out --resize 0 --variants 8 --mask %s/masks"
                    " --labels %s/labels",
                    folder, folder, folder, folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    assert_non_null(strstr(result.out, "ROC AUC  dense 0.97"));
    snprintf(path, sizeof path, "%s/out/report.html", folder);
    char *report = file_read(path, NULL);
    assert_non_null(strstr(report, "&lt;i&gt;&amp;"));
    assert_non_null(strstr(report, "b &lt;x&gt;"));
    assert_null(strstr(report, "<i>&"));
    free(report);
    free(picture);
    free(mask);
    command_clear(&result);
    folder_remove(folder);
}

static const json_t *value_of(const json_t *map, const char *network, const char *metric)
{
    return json_object_get(json_object_get(map, network), metric);
}

/* Metrics that ask the network need no mask; one that says nothing of a method's maps, or of no trace, has no value. */
static void test_metrics_of_networks(void **state)
{
    (void)state;
    char *folder = folder_make();
    command_result result =
        command_run("explain " MODEL " " PICTURE
                    " -o %s/out --resize 0 --variants 8 --no-report --method saliency,deeplift --metric "
                    "insertion:step=512,road_most:steps=2,infidelity:samples=4,completeness,gini,class_kept,"
                    "insertion:step=1024",
                    folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    assert_non_null(strstr(result.out, "Insertion (step=512)"));
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, "%s/out/results.json", folder);
    json_t *all = json_load_file(path, 0, &error);
    assert_non_null(all);
    const json_t *maps = json_object_get(json_array_get(json_object_get(all, "inputs"), 0), "maps");
    for (size_t m = 0; m < 2; m++) {
        const json_t *map = json_array_get(maps, m);
        static const char *const both[] = {"insertion", "insertion_2", "road_most", "infidelity", "gini"};
        for (size_t i = 0; i < sizeof both / sizeof *both; i++) {
            assert_true(json_is_number(value_of(map, "dense", both[i])) &&
                        json_is_number(value_of(map, "trace", both[i])));
        }
        assert_true(json_is_number(value_of(map, "dense", "completeness")) == (m == 1));
        assert_true(!json_is_number(value_of(map, "dense", "class_kept")) &&
                    json_number_value(value_of(map, "trace", "class_kept")) == 1);
    }
    json_decref(all);
    command_clear(&result);
    folder_remove(folder);
}

static void assert_same_file(const char *left, const char *right)
{
    size_t left_size = 0, right_size = 0;
    char *a = file_read(left, &left_size), *b = file_read(right, &right_size);
    assert_true(a && b);
    assert_int_equal(left_size, right_size);
    assert_memory_equal(a, b, left_size);
    free(a);
    free(b);
}

/* Maps, scores and traces to the bit for any number of threads and any budget. */
static void test_reproducible(void **state)
{
    (void)state;
    char *folder = folder_make();
    static const char *const ways[] = {"--threads 1", "--threads 2", "--threads 16", "--threads 2 --memory 64M",
                                       "--threads 1 --memory 4G"};
    static const char *const maps[] = {"dense_saliency",  "trace_saliency", "dense_smoothgrad",  "trace_smoothgrad",
                                       "trace_gradcam++", "trace_scorecam", "dense_rise",        "trace_rise",
                                       "dense_lime",      "trace_lime",     "dense_kernel_shap", "trace_kernel_shap"};
    json_t *first = NULL;
    for (int way = 0; way < (int)(sizeof ways / sizeof *ways); way++) {
        char path[512], reference[512];
        command_result result =
            command_run("explain " MODEL " " PICTURE " -o %s/%d --resize 0 --variants 48 --samples 9"
                        " --method saliency,smoothgrad,gradcam++,scorecam,rise,lime,kernel_shap %s",
                        folder, way, ways[way]);
        if (result.code != 0) { fail_msg("%s: code %d: %s", ways[way], result.code, result.err); }
        command_clear(&result);
        for (size_t m = 0; m < sizeof maps / sizeof *maps; m++) {
            snprintf(path, sizeof path, "%s/%d/scene00/%s.npy", folder, way, maps[m]);
            snprintf(reference, sizeof reference, "%s/0/scene00/%s.npy", folder, maps[m]);
            assert_same_file(path, reference);
        }
        snprintf(path, sizeof path, "%s/%d", folder, way);
        json_t *results = results_of(path);
        json_t *input = json_array_get(json_object_get(results, "inputs"), 0);
        if (first) {
            json_t *before = json_array_get(json_object_get(first, "inputs"), 0);
            assert_true(json_equal(json_object_get(input, "dense"), json_object_get(before, "dense")));
            assert_true(json_equal(json_object_get(input, "trace"), json_object_get(before, "trace")));
            json_decref(results);
        } else {
            first = results;
        }
        result = command_run("trace " MODEL " " PICTURE " -o %s/%d.safetensors --resize 0 --variants 48 %s", folder,
                             way, ways[way]);
        assert_int_equal(result.code, 0);
        command_clear(&result);
        snprintf(path, sizeof path, "%s/%d.safetensors", folder, way);
        snprintf(reference, sizeof reference, "%s/0.safetensors", folder);
        assert_same_file(path, reference);
    }
    json_decref(first);
    folder_remove(folder);
}

static void test_trace(void **state)
{
    (void)state;
    char *folder = folder_make();
    command_result result =
        command_run("trace " MODEL " " PICTURE " -o %s/sparse.onnx --resize 0 --variants 16 --sparsity 0.8", folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    assert_non_null(strstr(result.out, "layer4.0.conv3"));
    command_clear(&result);
    result = command_run("info %s/sparse.onnx", folder); /* what was written can be read again */
    assert_int_equal(result.code, 0);
    command_clear(&result);
    result =
        command_run("trace " MODEL " --batch " SPADE_TEST_DATA "/arrays/batch.npy -o %s/batch.safetensors", folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    assert_non_null(strstr(result.out, "48 variants"));
    command_clear(&result);
    result = command_run("trace " MODEL " " SPADE_TEST_DATA "/arrays/inputs.npy -o %s/x.onnx", folder);
    assert_int_equal(result.code, 1);
    assert_non_null(strstr(result.err, "holds 12 inputs"));
    command_clear(&result);
    folder_remove(folder);
}

static json_t *layer_named(const json_t *result, const char *name)
{
    size_t index;
    json_t *item;
    json_array_foreach(json_object_get(result, "layers"), index, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "name")), name) == 0) { return item; }
    }
    fail_msg("no layer %s", name);
    return NULL;
}

/* info --graph: nodes in an order in which each reads what stands before it, patterns under their own name, the batch where
 * windows have it. */
static void test_graph(void **state)
{
    (void)state;
    const char *swin = "info --graph " SPADE_TEST_DATA "/exports/swin.old.onnx";
    expect(0, "linear layer         4Nx16x24 ", NULL, swin);
    expect(0, " GELU                 Nx8x8x16 ", NULL, swin);
    command_result result = command_run("%s --json", swin);
    assert_int_equal(result.code, 0);
    json_t *json = json_loads(result.out, 0, NULL), *node, *input;
    const json_t *graph = json_object_get(json, "graph");
    size_t index, layers = 0, k;
    assert_true(json_array_size(graph) > 0);
    json_array_foreach(graph, index, node)
    {
        const json_t *layer = json_object_get(node, "layer");
        assert_int_equal(json_integer_value(json_object_get(node, "node")), index);
        assert_true(json_array_size(json_object_get(node, "shape")) > 0);
        json_array_foreach(json_object_get(node, "inputs"), k, input)
        {
            const char *text = json_string_value(input);
            assert_true(text ? strcmp(text, index ? "constant" : "picture") == 0
                             : (size_t)json_integer_value(input) < index);
        }
        if (!json_is_string(layer)) { continue; }
        assert_ptr_equal(layer_named(json, json_string_value(layer)),
                         json_array_get(json_object_get(json, "layers"), layers++));
    }
    assert_int_equal(layers, json_array_size(json_object_get(json, "layers")));
    json_decref(json);
    command_clear(&result);
    expect(0, "\"layers\"", NULL, "info --json " MODEL);
    expect(2, NULL, "--graph takes no value", "info --graph=yes " MODEL);
}

/* Rules of a configuration, and an option that wins over those of its key. */
static void test_rules(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512];
    snprintf(path, sizeof path, "%s/rules.yaml", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("sparsity: 0.5\nvariants: 8\nresize: 0\nrules:\n- {layers: \"layer1.*\", sparsity: 0.9, solver: magnitude}\n"
          "- {layers: fc, nm: 2:4}\n- {layers: \"layer2.*\", sparsity: 0}\n",
          file);
    fclose(file);
    command_result result =
        command_run("trace " MODEL " " PICTURE " -o %s/x.onnx --config %s --solver fast --json", folder, path);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    json_t *json = json_loads(result.out, 0, NULL);
    assert_non_null(json);
    assert_true(json_number_value(json_object_get(layer_named(json, "layer1.0.conv1"), "sparsity")) == 0.9);
    assert_true(json_number_value(json_object_get(layer_named(json, "layer3.0.conv1"), "sparsity")) == 0.5);
    assert_true(json_is_false(json_object_get(layer_named(json, "layer2.0.conv1"), "solved")));
    json_t *fc = layer_named(json, "fc");
    assert_true(json_number_value(json_object_get(fc, "zeros")) * 2 ==
                json_number_value(json_object_get(fc, "weights")));
    const json_t *rules = json_object_get(json_object_get(json, "configuration"), "rules");
    assert_int_equal(json_array_size(rules), 3); /* the solver's is taken back */
    assert_string_equal(json_string_value(json_object_get(json_array_get(rules, 1), "nm")), "2:4");
    json_decref(json);
    command_clear(&result);
    folder_remove(folder);
}

/* A sparsity and n:m are two forms of one thing: of rules the later one holds, and a plain value takes back both. */
static void test_sparsity_or_pattern(void **state)
{
    (void)state;
    static const struct {
        const char *rules, *option;
        double fc, others;
    } cases[] = {
        {"rules: [{layers: fc, nm: \"2:4\"}]", "--sparsity 0.9", 0.9, 0.9},
        {"rules: [{layers: fc, nm: \"1:4\"}, {layers: fc, sparsity: 0.9}]", "", 0.9, 0.5},
        {"rules: [{layers: fc, sparsity: 0.9}, {layers: fc, nm: \"1:4\"}]", "", 0.75, 0.5},
        {"rules: [{layers: fc, sparsity: 0.9}]\nnm: \"1:4\"", "", 0.9, 0.75},
        {"rules: [{layers: fc, sparsity: 0.9}]", "--nm 1:4", 0.75, 0.75},
        {"rules: [{layers: fc, nm: \"1:4\"}]\nsparsity: 0", "", 0.75, 0},
    };
    char *folder = folder_make(), path[512];
    snprintf(path, sizeof path, "%s/rules.yaml", folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        file_write(path, cases[i].rules, strlen(cases[i].rules));
        command_result result = command_run("trace " MODEL " " PICTURE " -o %s/x.onnx --config %s %s --variants 8 "
                                            "--resize 0 --layers 'fc,layer2.1.*' --solver magnitude --json",
                                            folder, path, cases[i].option);
        if (result.code != 0) { fail_msg("%zu: code %d: %s", i, result.code, result.err); }
        json_t *json = json_loads(result.out, 0, NULL);
        assert_non_null(json);
        const double fc = json_number_value(json_object_get(layer_named(json, "fc"), "sparsity")),
                     other = json_number_value(json_object_get(layer_named(json, "layer2.1.conv1"), "sparsity"));
        if (fc != cases[i].fc || other != cases[i].others) { fail_msg("%zu: %g %g", i, fc, other); }
        json_decref(json);
        command_clear(&result);
    }
    file_write(path, "sparsity: 0.9\nnm: \"2:4\"\n", 24);
    command_result result = command_run("trace " MODEL " " PICTURE " -o %s/x.onnx --config %s", folder, path);
    assert_int_equal(result.code, 2);
    assert_non_null(strstr(result.err, "rules.yaml: sparsity and nm: a pattern stands in place of a sparsity"));
    command_clear(&result);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_usage_errors),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_info_of_a_trace),
        cmocka_unit_test(test_verbose),
        cmocka_unit_test(test_graph),
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_method_options),
        cmocka_unit_test(test_layer_maps),
        cmocka_unit_test(test_masks_and_names),
        cmocka_unit_test(test_metrics_of_networks),
        cmocka_unit_test(test_reproducible),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_sparsity_or_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
