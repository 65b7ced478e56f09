/* test_inputs.c - from outside: what pictures and arrays become for networks that take something else than the usual. */
#include <math.h>

#include <jansson.h>

#include "support/command.h"
#include "support/model.h"
#include "spade/spade.h"

enum { SIDE = 8 };

/* x [-1, channels, height, width] -> Conv 3x3 -> GlobalAveragePool -> y [-1, 4] */
static const char *make_model(int64_t channels, int64_t side)
{
    wire network = graph_of(channels, side, side, 4);
    put_tensor(&network, tensor_random("w", 4, (int64_t[]){4, channels, 3, 3}, 3));
    put_node(&network, node_of("conv", "Conv", "x w", "c"));
    put_node(&network, node_of("pool", "GlobalAveragePool", "c", "p"));
    put_node(&network, node_of("flat", "Flatten", "p", "y"));
    return test_save("inputs.onnx", model_of(network));
}

static spade_context *make_context(void)
{
    spade_context *context;
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    return context;
}

static const char *make_picture(void)
{
    static char path[300];
    uint8_t rgb[12 * 20 * 3];
    spade_context *context = make_context();
    for (size_t i = 0; i < sizeof rgb; i++) { rgb[i] = (uint8_t)(i * 37 + i / 60 * 11); }
    snprintf(path, sizeof path, "%s/p.png", test_folder());
    assert_int_equal(spade_png_save(context, path, rgb, 12, 20, 3), SPADE_OK);
    spade_context_destroy(context);
    return path;
}

static const char *make_array(int64_t channels, int64_t height, int64_t width)
{
    static char path[300];
    static float x[6 * 16 * 16];
    spade_context *context = make_context();
    for (int i = 0; i < 6 * 16 * 16; i++) { x[i] = pseudo_random(8, (uint32_t)i); }
    snprintf(path, sizeof path, "%s/x.npy", test_folder());
    assert_int_equal(spade_array_save(context, path, x, 4, (int64_t[]){1, channels, height, width}), SPADE_OK);
    spade_context_destroy(context);
    return path;
}

/* Run explain; *logit: the first of the first input's. Returns standard error, malloc'ed. */
static char *explain(const char *model, const char *input, const char *more, int code, double *logit)
{
    char path[300];
    command_result r = command_run("explain %s %s -o %s/out --restart --no-report --threads 1 --variants 4 %s", model,
                                   input, test_folder(), more);
    if (r.code != code) { fail_msg("%s", r.err); }
    char *error = strdup(r.err);
    command_clear(&r);
    if (code) { return error; }
    snprintf(path, sizeof path, "%s/out/results.json", test_folder());
    json_t *all = json_load_file(path, 0, NULL);
    assert_non_null(all);
    const json_t *dense = json_object_get(json_array_get(json_object_get(all, "inputs"), 0), "dense");
    *logit = json_number_value(json_array_get(json_object_get(dense, "logits"), 0));
    json_decref(all);
    return error;
}

static double logit_with(const char *more)
{
    double logit;
    free(explain(make_model(3, SIDE), make_picture(), more, 0, &logit));
    return logit;
}

/* Each setting changes what the network sees, and a preset is the same as its settings. */
static void test_settings(void **state)
{
    (void)state;
    static const char *const others[] = {"--resample bicubic",       "--squash",         "--crop-share 0.5", "--bgr",
                                         "--scale 255 --mean 1,2,3", "--preprocess none"};
    const double usual = logit_with("");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) { assert_true(logit_with(others[i]) != usual); }
    assert_true(logit_with("--preprocess imagenet") == usual);
    assert_true(logit_with("--preprocess inception --std 1,1,1") ==
                logit_with("--resample bicubic --crop-share 0.875 --mean 0.5,0.5,0.5 --std 1,1,1"));
    assert_true(logit_with("--scale 255") == logit_with("--mean 0,0,0 --std 0.00392156862745098,0.00392156862745098,"
                                                        "0.00392156862745098"));
}

static void test_warning(void **state)
{
    (void)state;
    double logit;
    char *error = explain(make_model(3, SIDE), make_picture(), "--mean 123,117,104 --std 58,57,57", 0, &logit);
    assert_non_null(strstr(error, "--scale 255"));
    free(error);
    error = explain(make_model(3, SIDE), make_picture(), "--preprocess nonsense", 2, NULL);
    assert_non_null(strstr(error, "imagenet, clip, inception, none"));
    free(error);
}

#define WITH_ALPHA SPADE_SOURCE_DIR "/tests/golden/data/decoding/rgba.png"

/* Grey networks take pictures and arrays; those of four channels pictures with alpha, and those of more arrays; other
 * pictures are refused, with what to do. */
static void test_channels(void **state)
{
    (void)state;
    double logit;
    free(explain(make_model(1, SIDE), make_picture(), "", 0, &logit));
    free(explain(make_model(1, SIDE), make_array(1, SIDE, SIDE), "", 0, &logit));
    char *error = explain(make_model(4, SIDE), make_picture(), "", 1, NULL);
    assert_non_null(strstr(error, "a picture without alpha, and the network takes 4 channels"));
    free(error);
    error = explain(make_model(6, SIDE), WITH_ALPHA, "", 1, NULL);
    assert_non_null(strstr(error, "the network takes 6 channels"));
    free(error);
    for (int64_t channels = 2; channels <= 6; channels += 2) {
        free(explain(
            make_model(channels, SIDE), make_array(channels, SIDE, SIDE),
            "--method saliency,gradient_shap:baseline=random:samples=3,integrated_gradients:baseline=black:steps=4", 0,
            &logit));
    }
    double plain, shifted, reversed;
    free(explain(make_model(4, SIDE), WITH_ALPHA, "", 0, &plain));
    free(explain(make_model(4, SIDE), WITH_ALPHA, "--mean 0.485,0.456,0.406,0.5 --std 0.229,0.224,0.225,1", 0,
                 &shifted));
    free(explain(make_model(4, SIDE), WITH_ALPHA, "--bgr", 0, &reversed));
    assert_true(plain != shifted && plain != reversed);
}

static void refuse_numbers(int64_t channels, const char *more, const char *says)
{
    const char *input = channels == 4 ? WITH_ALPHA : channels > 4 ? make_array(channels, SIDE, SIDE) : make_picture();
    char *error = explain(make_model(channels, SIDE), input, more, 2, NULL);
    if (!strstr(error, says)) { fail_msg("%s: %s", more, error); }
    free(error);
}

/* As many numbers of --mean and --std as the network has channels, or one for all. What nobody wrote fits every network: the
 * default, a preset, and the three that every configuration in results has. */
static void test_numbers(void **state)
{
    (void)state;
    refuse_numbers(3, "--mean 0.485,0.456,0.406,0.5",
                   "--mean: 4 numbers, and the network takes 3 channels: give 3, or one");
    refuse_numbers(3, "--preprocess clip --std 1,1,1,1",
                   "--std: 4 numbers, and the network takes 3 channels: give 3, or");
    refuse_numbers(1, "--mean 0.5,0.5,0.5", "--mean: 3 numbers, and the network takes 1 channel: give one");
    refuse_numbers(1, "--preprocess clip --std 1,1,1", "--std: 3 numbers, and the network takes 1 channel: give one");
    refuse_numbers(6, "--mean 0.5,0.5,0.5,0.5",
                   "--mean: 4 numbers, and the network takes 6 channels: give one for all");
    refuse_numbers(3, "--mean 1,2", "1, 3 or 4 numbers are wanted, not 2");
    assert_true(logit_with("--mean 0.5 --std 0.25") == logit_with("--mean 0.5,0.5,0.5 --std 0.25,0.25,0.25"));
    double grey, usual, clip, own;
    free(explain(make_model(1, SIDE), make_picture(), "--mean 0.48145466 --std 0.26862954", 0, &grey));
    free(explain(make_model(1, SIDE), make_picture(), "", 0, &usual));
    free(
        explain(make_model(1, SIDE), make_picture(), "--preprocess clip --resample bilinear --crop-share 0", 0, &clip));
    assert_true(grey != usual && grey == clip);
    refuse_numbers(1, "--mean 0.485,0.456,0.406", "--mean: 3 numbers");
    free(explain(make_model(1, SIDE), make_picture(), "--config " SPADE_SOURCE_DIR "/configs/default.yaml", 0, &own));
    assert_true(own == usual);
    free(explain(make_model(4, SIDE), WITH_ALPHA, "--mean 0.5", 0, &own));
    free(explain(make_model(4, SIDE), WITH_ALPHA, "--mean 0.5,0.5,0.5,0.5", 0, &usual));
    assert_true(own == usual);
    free(explain(make_model(6, SIDE), make_array(6, SIDE, SIDE), "--mean 0.5 --std 2", 0, &own));
}

/* A network that leaves its size open takes that of the data, or of --crop. */
static void test_open_size(void **state)
{
    (void)state;
    double logit;
    command_result r;
    free(explain(make_model(3, -1), make_array(3, 10, 16), "", 0, &logit));
    free(explain(make_model(3, -1), make_picture(), "--crop 9", 0, &logit));
    char *error = explain(make_model(3, -1), make_picture(), "", 1, NULL);
    assert_non_null(strstr(error, "--crop"));
    free(error);
    r = command_run("trace %s %s -o %s/t.onnx --variants 4 --threads 1", make_model(3, -1), make_array(3, 10, 16),
                    test_folder());
    if (r.code) { fail_msg("%s", r.err); }
    command_clear(&r);
}

/* Of an array's entries the one that fails is named. */
static void test_entry(void **state)
{
    (void)state;
    enum { SIZE = 3 * SIDE * SIDE };
    static float x[3 * SIZE];
    char path[300];
    double logit;
    spade_context *context = make_context();
    for (int i = 0; i < SIZE; i++) { x[SIZE + i] = 3e38F; }
    snprintf(path, sizeof path, "%s/entries.npy", test_folder());
    assert_int_equal(spade_array_save(context, path, x, 4, (int64_t[]){3, 3, SIDE, SIDE}), SPADE_OK);
    char *error = explain(make_model(3, SIDE), path, "--quiet", 3, &logit);
    if (!strstr(error, "entries.npy[1]: ") || strstr(error, "[0]") || strstr(error, "[2]")) { fail_msg("%s", error); }
    free(error);
    x[2 * SIZE + SIDE + 3] = NAN;
    assert_int_equal(spade_array_save(context, path, x, 4, (int64_t[]){3, 3, SIDE, SIDE}), SPADE_OK);
    error = explain(make_model(3, SIDE), path, "--quiet", 1, &logit);
    if (!strstr(error, "entries.npy: element [2, 0, 1, 3] (input, channel, row, column) is NaN")) {
        fail_msg("%s", error);
    }
    free(error);
    spade_context_destroy(context);
}

/* A layer's name that .safetensors cannot hold is the model's flaw, not bad usage; ONNX holds it. */
static void test_layer_name(void **state)
{
    (void)state;
    wire network = graph_of(3, SIDE, SIDE, 4);
    put_tensor(&network, tensor_random("c\xe9.weight", 4, (int64_t[]){4, 3, 3, 3}, 3));
    put_node(&network, node_of("c\xe9", "Conv", "x c\xe9.weight", "c"));
    put_node(&network, node_of("pool", "GlobalAveragePool", "c", "p"));
    put_node(&network, node_of("flat", "Flatten", "p", "y"));
    const char *model = test_save("name.onnx", model_of(network));
    command_result r =
        command_run("trace %s %s -o %s/t.safetensors --variants 4", model, make_picture(), test_folder());
    assert_int_equal(r.code, 1);
    if (!strstr(r.err, "not UTF-8") || !strstr(r.err, "write .onnx")) { fail_msg("%s", r.err); }
    command_clear(&r);
    r = command_run("trace %s %s -o %s/t.onnx --variants 4", model, make_picture(), test_folder());
    if (r.code) { fail_msg("%s", r.err); }
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_settings),  cmocka_unit_test(test_warning),
                                       cmocka_unit_test(test_channels),  cmocka_unit_test(test_numbers),
                                       cmocka_unit_test(test_open_size), cmocka_unit_test(test_layer_name),
                                       cmocka_unit_test(test_entry)};
    return cmocka_run_group_tests(tests, NULL, remove_files);
}
