/*
 * test_visualize_devices.c - `spade visualize`: the grid, its records and its table, against the library; the same for any number
 * of threads, memory and device; a run that is stopped or fails leaves no file and no part of one; each wrong use is one line.
 */
#include <math.h>
#include <sys/stat.h>

#include <jansson.h>

#include "spade/spade.h"
#include "support/command.h"
#include "support/context.h"
#include "support/device.h"
#include "support/model.h"
#include "support/results.h"

enum { CHANNELS = 3, SIDE = 16, SIZE = CHANNELS * SIDE * SIDE, CLASSES = 4, GAP = 4, STEPS = 6 };
static char network[300], input[300];

static void make_files(void)
{
    static const int64_t first[4] = {6, CHANNELS, 3, 3}, second[4] = {8, 6, 3, 3}, last[2] = {8, CLASSES}, six = 6,
                         pads[4] = {1, 1, 1, 1};
    wire graph = graph_of(CHANNELS, SIDE, SIDE, CLASSES);
    float x[SIZE];
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
    spade_context *context = test_context("cpu", 1);
    snprintf(input, sizeof input, "%s/x.npy", test_folder());
    assert_int_equal(spade_array_save(context, input, x, 4, (int64_t[]){1, CHANNELS, SIDE, SIDE}), SPADE_OK);
    spade_context_destroy(context);
}

/* A run that ends well, into FOLDER/NAME. Its standard output, malloc'ed. */
static char *visualize(const char *folder, const char *name, const char *arguments)
{
    command_result result = command_run("visualize %s --steps %d --device %s %s -o %s/%s", network, STEPS,
                                        test_device(), arguments, folder, name);
    if (result.code != 0) { fail_msg("visualize %s: code %d: %s", arguments, result.code, result.err); }
    char *out = result.out;
    result.out = NULL;
    command_clear(&result);
    return out;
}

static spade_picture load(const char *folder, const char *name)
{
    spade_context *context = test_context("cpu", 1);
    spade_picture picture;
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (spade_picture_load(context, path, &picture) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    spade_context_destroy(context);
    return picture;
}

static const uint8_t *pixel(const spade_picture *grid, int side, int row, int column, int y, int x)
{
    return grid->rgb + ((row * (side + GAP) + y) * grid->width + column * (side + GAP) + x) * 3;
}

static void assert_same_cell(const spade_picture *a, int row, int column, const spade_picture *b, int other_row,
                             int other_column)
{
    for (int y = 0; y < SIDE; y++) {
        assert_memory_equal(pixel(a, SIDE, row, column, y, 0), pixel(b, SIDE, other_row, other_column, y, 0), 3 * SIDE);
    }
}

/* ---- what is made */

static void test_against_library(void **state)
{
    (void)state;
    static float made[SIZE];
    const spade_objective objective = {"second", 3, true};
    spade_visualize_options options;
    spade_visualize_note note;
    spade_context *context = test_context(test_device(), 0);
    spade_model *model;
    char *folder = folder_make();
    char *out = visualize(folder, "a.png", "--neuron second:3 --objective neuron --seed 7 --json");
    json_t *record = json_loads(out, 0, NULL);
    const spade_picture file = load(folder, "a.png");
    assert_int_equal(spade_model_load(context, network, NULL, &model), SPADE_OK);
    spade_visualize_options_init(&options);
    options.steps = STEPS;
    options.seed = 7;
    assert_int_equal(spade_visualize(context, model, NULL, &objective, &options, made, &note), SPADE_OK);
    assert_non_null(record);
    assert_string_equal(json_string_value(json_object_get(record, "objective")), "neuron");
    assert_string_equal(json_string_value(json_object_get(record, "layer")), "second");
    assert_int_equal(json_integer_value(json_object_get(record, "index")), 3);
    assert_string_equal(json_string_value(json_object_get(record, "network")), "dense");
    assert_true(fabs(json_number_value(json_object_get(record, "before")) - note.before) < 1e-6);
    assert_true(fabs(json_number_value(json_object_get(record, "after")) - note.after) < 1e-6);
    assert_true(note.after > note.before);
    assert_true(file.height == SIDE && file.width == SIDE);
    for (int i = 0; i < SIDE * SIDE; i++) {
        for (int c = 0; c < 3; c++) {
            assert_true(fabs(made[c * SIDE * SIDE + i] * 255 - (double)file.rgb[3 * i + c]) < 0.51);
        }
    }
    spade_picture_clear((spade_picture *)(uintptr_t)&file);
    json_decref(record);
    free(out);
    folder_remove(folder);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

/* Three neurons: two columns, and a white place; each picture is what it is alone. */
static void test_grid(void **state)
{
    (void)state;
    char *folder = folder_make();
    char *table = visualize(folder, "a.png", "--neuron class:2 --neuron first:1 --neuron second:5");
    char *alone = visualize(folder, "b.png", "--neuron first:1 -q");
    spade_picture grid = load(folder, "a.png"), one = load(folder, "b.png");
    assert_int_equal(grid.height, 2 * SIDE + GAP);
    assert_int_equal(grid.width, 2 * SIDE + GAP);
    assert_same_cell(&grid, 0, 1, &one, 0, 0);
    for (int c = 0; c < 3; c++) {
        assert_int_equal(pixel(&grid, SIDE, 1, 1, 3, 3)[c], 255);
        assert_int_equal(pixel(&grid, SIDE, 0, 0, 3, SIDE)[c], 255);
    }
    assert_non_null(strstr(table, "row 1, column 1: class:2: "));
    assert_non_null(strstr(table, "row 1, column 2: first:1: "));
    assert_non_null(strstr(table, "row 2, column 1: second:5: "));
    assert_non_null(strstr(table, "written: "));
    assert_string_equal(alone, "");
    spade_picture_clear(&grid);
    spade_picture_clear(&one);
    free(table);
    free(alone);
    folder_remove(folder);
}

/* A row a neuron: the network's picture, as it is without a trace, and the trace's. */
static void test_trace(void **state)
{
    (void)state;
    char *folder = folder_make(), arguments[600];
    snprintf(arguments, sizeof arguments,
             "--neuron class:2 --neuron second:5 --trace %s --variants 8 --sparsity 0.8 --json", input);
    char *out = visualize(folder, "a.png", arguments), *line = out;
    char *dense = visualize(folder, "b.png", "--neuron class:2 --neuron second:5 -q");
    spade_picture grid = load(folder, "a.png"), without = load(folder, "b.png");
    assert_int_equal(grid.height, 2 * SIDE + GAP);
    assert_int_equal(grid.width, 2 * SIDE + GAP);
    assert_same_cell(&grid, 0, 0, &without, 0, 0);
    assert_same_cell(&grid, 1, 0, &without, 0, 1);
    assert_memory_not_equal(pixel(&grid, SIDE, 0, 1, 8, 0), pixel(&grid, SIDE, 0, 0, 8, 0), 3 * SIDE);
    for (int i = 0; i < 4; i++) {
        json_t *record = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
        assert_non_null(record);
        assert_string_equal(json_string_value(json_object_get(record, "network")), i % 2 ? "trace" : "dense");
        assert_int_equal(json_integer_value(json_object_get(record, "row")), i / 2);
        assert_int_equal(json_integer_value(json_object_get(record, "column")), i % 2);
        assert_string_equal(json_string_value(json_object_get(record, "input")), input);
        json_decref(record);
        line = strchr(line, '\n') + 1;
    }
    assert_int_equal(*line, 0);
    spade_picture_clear(&grid);
    spade_picture_clear(&without);
    free(out);
    free(dense);
    folder_remove(folder);
}

static void test_same_bits(void **state)
{
    (void)state;
    static const char *const runs[] = {"--threads 1", "--threads 2", "--threads 3 --memory 100M"};
    char *folder = folder_make(), *first = NULL, path[600], arguments[600];
    size_t first_size = 0;
    for (int i = 0; i < 3; i++) {
        size_t size;
        snprintf(arguments, sizeof arguments, "--neuron class:1 --neuron second:0 --size 24 -q %s", runs[i]);
        free(visualize(folder, "a.png", arguments));
        snprintf(path, sizeof path, "%s/a.png", folder);
        char *bytes = file_read(path, &size);
        assert_non_null(bytes);
        if (!first) {
            first = bytes;
            first_size = size;
            continue;
        }
        assert_int_equal(size, first_size);
        assert_memory_equal(bytes, first, size);
        free(bytes);
    }
    free(first);
    folder_remove(folder);
}

/* ---- other channels */

/* A convolution to two maps, whose mean is the classes' values; bgr: for the same pictures with their channels reversed. */
static const char *channels_network(const char *name, int64_t channels, bool bgr)
{
    enum { MAX_CHANNELS = 5, TAPS = 9 };
    const int64_t shape[4] = {2, channels, 3, 3};
    float weights[2 * MAX_CHANNELS * TAPS];
    wire graph = graph_of(channels, SIDE, SIDE, 2);
    for (int64_t i = 0; i < 2 * channels * TAPS; i++) {
        const int64_t channel = i / TAPS % channels, from = bgr ? channels - 1 - channel : channel;
        weights[i] = pseudo_random(6, (uint32_t)(i + (from - channel) * TAPS));
    }
    put_tensor(&graph, tensor_of("conv.weight", 4, shape, weights));
    put_node(&graph, node_of("/conv/Conv", "Conv", "x conv.weight", "a"));
    put_node(&graph, node_of("/tanh/Tanh", "Tanh", "a", "b"));
    put_node(&graph, node_of("/pool/GlobalAveragePool", "GlobalAveragePool", "b", "c"));
    put_node(&graph, node_of("/flat/Flatten", "Flatten", "c", "y"));
    return test_save(name, model_of(graph));
}

static spade_picture visualize_channels(const char *folder, int64_t channels, const char *options)
{
    const bool bgr = strstr(options, "--bgr") != NULL;
    command_result result =
        command_run("visualize %s --neuron class:0 --steps 12 --device %s %s -q -o %s/a.png",
                    channels_network("channels.onnx", channels, bgr), test_device(), options, folder);
    if (result.code != 0) { fail_msg("%lld channels: code %d: %s", (long long)channels, result.code, result.err); }
    command_clear(&result);
    return load(folder, "a.png");
}

static void test_channels(void **state)
{
    (void)state;
    char *folder = folder_make();
    for (int64_t channels = 1; channels <= 5; channels++) {
        const char *options = channels == 1 ? "--mean 0.5 --std 0.2" : "";
        spade_picture picture = visualize_channels(folder, channels, options);
        assert_true(picture.height == SIDE && picture.width == SIDE);
        for (int i = 0; channels <= 2 && i < SIDE * SIDE; i++) {
            assert_int_equal(picture.rgb[3 * i], picture.rgb[3 * i + 2]);
        }
        spade_picture_clear(&picture);
    }
    spade_picture rgb = visualize_channels(folder, 3, ""), bgr = visualize_channels(folder, 3, "--bgr");
    double difference = 0;
    for (int i = 0; i < 3 * SIDE * SIDE; i++) { difference += abs((int)rgb.rgb[i] - (int)bgr.rgb[i]); }
    assert_true(difference / (3 * SIDE * SIDE) < 0.5); /* sums in another order */
    spade_picture_clear(&rgb);
    spade_picture_clear(&bgr);
    folder_remove(folder);
}

/* ---- what is not made */

/* Ended by a signal, and by a failure after the work has begun: what was there before is still there, and nothing else. */
static void test_no_half_file(void **state)
{
    (void)state;
    char *folder = folder_make(), line[2000];
    snprintf(line, sizeof line,
             "OMP_WAIT_POLICY=passive timeout -s INT 0.7 %s visualize %s --neuron class:1 --steps 100000 --size 64 "
             "--device %s -q "
             "-o %s/a.png",
             SPADE_COMMAND, network, test_device(), folder);
    const int status = system(line);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 124);
    assert_int_equal(files_count(folder, ""), 0);
    snprintf(line, sizeof line, "%s/a.png", folder);
    file_write(line, "before", 6);
    command_result result = command_run("visualize %s --neuron class:1 --trace %s/none.npy --device %s -o %s/a.png",
                                        network, folder, test_device(), folder);
    assert_int_equal(result.code, 1);
    assert_int_equal(files_count(folder, ""), 1);
    char *bytes = file_read(line, NULL);
    assert_string_equal(bytes, "before");
    free(bytes);
    command_clear(&result);
    folder_remove(folder);
}

/* An option that changes nothing is named. */
static void test_unused(void **state)
{
    (void)state;
    char *folder = folder_make();
    command_result result = command_run("visualize %s --neuron class:1 --steps 1 --variants 8 --device %s -o %s/a.png",
                                        network, test_device(), folder);
    assert_int_equal(result.code, 0);
    assert_non_null(strstr(result.err, "warning: --variants has no effect: no trace is made"));
    command_clear(&result);
    folder_remove(folder);
}

/* A neuron behind a relu that is never above 0 has no gradient: that is said, and the picture is there. */
static void test_without_gradient(void **state)
{
    (void)state;
    static const int64_t shape[4] = {2, CHANNELS, 1, 1}, two = 2, gemm[2] = {2, CLASSES};
    static const float zeros[2 * CHANNELS] = {0}, below[2] = {-1, -2};
    wire graph = graph_of(CHANNELS, SIDE, SIDE, CLASSES);
    char *folder = folder_make();
    put_tensor(&graph, tensor_of("conv.weight", 4, shape, zeros));
    put_tensor(&graph, tensor_of("conv.bias", 1, &two, below));
    put_tensor(&graph, tensor_random("fc.weight", 2, gemm, 1));
    put_node(&graph, node_of("/conv/Conv", "Conv", "x conv.weight conv.bias", "a"));
    put_node(&graph, node_of("/relu/Relu", "Relu", "a", "b"));
    put_node(&graph, node_of("/pool/GlobalAveragePool", "GlobalAveragePool", "b", "c"));
    put_node(&graph, node_of("/flat/Flatten", "Flatten", "c", "d"));
    put_node(&graph, node_of("/fc/Gemm", "Gemm", "d fc.weight", "y"));
    const char *path = test_save("dead.onnx", model_of(graph));
    command_result result =
        command_run("visualize %s --neuron relu:1 --steps 2 --device %s -o %s/a.png", path, test_device(), folder);
    assert_int_equal(result.code, 0);
    assert_non_null(strstr(result.err, "warning: relu:1 (dense): the picture does not make it larger (0, then 0)"));
    assert_int_equal(files_count(folder, ""), 1);
    command_clear(&result);
    folder_remove(folder);
}

static void expect_refused(int code, const char *says, const char *arguments)
{
    command_result result = command_run("visualize %s --device %s", arguments, test_device());
    const char *end = strchr(result.err, '\n');
    if (result.code != code || !strstr(result.err, says) || !end || end[1]) {
        fail_msg("visualize %s: code %d: %s", arguments, result.code, result.err);
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
    const char *to = test_folder();
    snprintf(line, sizeof line, "%s/class.png", to);
    assert_int_equal(mkdir(line, 0777), 0);
    snprintf(line, sizeof line, "%s/in.png", to);
    file_write(line, "input", 5);
    REFUSED(2, "--neuron is needed: LAYER:INDEX or class:N", "%s -o %s/a.png", network, to);
    REFUSED(2, "-o is needed", "%s --neuron class:1", network);
    REFUSED(2, "a.jpg: the name must end in .png", "%s --neuron class:1 -o %s/a.jpg", network, to);
    REFUSED(2, "usage: spade visualize MODEL", "--neuron class:1 -o %s/a.png", to);
    REFUSED(2, "unexpected argument", "%s %s --neuron class:1 -o %s/a.png", network, input, to);
    REFUSED(2, "class 4: the network has the classes 0 to 3", "%s --neuron class:4 -o %s/a.png", network, to);
    REFUSED(2, "--neuron class:cat: label 'cat': no such class", "%s --neuron class:cat -o %s/a.png", network, to);
    REFUSED(2, "'second' is neither LAYER:INDEX nor class:N", "%s --neuron second -o %s/a.png", network, to);
    REFUSED(2, "'secnd' is no layer or module; close to it: second", "%s --neuron secnd:1 -o %s/a.png", network, to);
    REFUSED(2, "second:8: the layer has the channels 0 to 7", "%s --neuron second:8 -o %s/a.png", network, to);
    REFUSED(2, "--neuron: a value is needed", "%s --neuron '' -o %s/a.png", network, to);
    REFUSED(2, "--objective: 'pixel' is neither", "%s --neuron second:1 --objective pixel -o %s/a.png", network, to);
    REFUSED(2, "'0' is not a whole number above 0", "%s --neuron class:1 --steps 0 -o %s/a.png", network, to);
    REFUSED(2, "100001 steps: 1 to 100000", "%s --neuron class:1 --steps 100001 -o %s/a.png", network, to);
    REFUSED(2, "2049 pixels: 8 to 2048", "%s --neuron class:1 --size 2049 -o %s/a.png", network, to);
    REFUSED(2, "--trace and --batch exclude each other", "%s --neuron class:1 --trace %s --batch %s -o %s/a.png",
            network, input, input, to);
    REFUSED(2, "class.png: it is there, and no regular file", "%s --neuron class:1 -o %s/class.png", network, to);
    REFUSED(2, "from which the picture is made", "%s --neuron class:1 --trace %s/in.png -o %s/in.png", network, to, to);
    REFUSED(1, "none.npy: No such file or directory", "%s --neuron class:1 --trace %s/none.npy -o %s/a.png", network,
            to, to);
    REFUSED(1, "none.onnx: ", "%s/none.onnx --neuron class:1 -o %s/a.png", to, to);
    REFUSED(1, "cannot write", "%s --neuron class:1 -o %s/none/a.png", network, to);
#undef REFUSED
    assert_int_equal(files_count(to, "a.png"), 0);
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
        cmocka_unit_test(test_against_library), cmocka_unit_test(test_grid),
        cmocka_unit_test(test_trace),           cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_channels),        cmocka_unit_test(test_unused),
        cmocka_unit_test(test_no_half_file),    cmocka_unit_test(test_without_gradient),
        cmocka_unit_test(test_refused),
    };
    make_files();
    return cmocka_run_group_tests(tests, NULL, close_folder);
}
