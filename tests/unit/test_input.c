/* test_input.c - what a network takes: channels last, 8-bit values, an open size, one channel, normalisation of its own. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/settings.h"
#include "support/model.h"
#include "spade/spade.h"

enum { C = 3, H = 6, W = 5, PIXELS = C * H * W, SIDE = 16 };
static const int64_t to_first[4] = {0, 3, 1, 2};

static spade_context *make_context(void)
{
    spade_context *context;
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    return context;
}

/* A graph input of any type and dims, and an output y. */
static wire graph_with_input(int type, int rank, const int64_t *dims)
{
    const int64_t y[2] = {-1, -1};
    wire network = {0}, value = {0}, outer = {0}, tensor = {0}, shape = {0};
    for (int i = 0; i < rank; i++) {
        wire dimension = {0};
        if (dims[i] >= 0) { wire_number(&dimension, 1, (uint64_t)dims[i]); }
        if (dims[i] < 0) { wire_text(&dimension, 2, "n"); }
        wire_message(&shape, 1, dimension);
    }
    wire_number(&tensor, 1, (uint64_t)type);
    wire_message(&tensor, 2, shape);
    wire_message(&outer, 1, tensor);
    wire_text(&value, 1, "x");
    wire_message(&value, 2, outer);
    wire_text(&network, 2, "by hand");
    wire_message(&network, 11, value);
    wire_message(&network, 12, value_of("y", 2, y));
    return network;
}

static spade_status load(spade_context *context, wire network, const spade_model_options *options, spade_model **out)
{
    return spade_model_load(context, test_save("input.onnx", model_with_opset(network, 13)), options, out);
}

static void check_shape(const spade_model *model, int64_t channels, int64_t height, int64_t width)
{
    int64_t c, h, w;
    spade_model_input(model, &c, &h, &w);
    assert_true(c == channels && h == height && w == width);
}

/* The network only flattens: its output is its input, in the order that it sees. */
static void check_identity(spade_context *context, const spade_model *model)
{
    float x[PIXELS], y[PIXELS];
    for (int i = 0; i < PIXELS; i++) { x[i] = pseudo_random(2, (uint32_t)i); }
    assert_int_equal(spade_model_forward(context, model, NULL, x, 1, y), SPADE_OK);
    assert_memory_equal(x, y, sizeof x);
}

static void test_channels_last(void **state)
{
    (void)state;
    const int64_t dims[4] = {-1, H, W, C};
    for (int bytes = 0; bytes < 2; bytes++) {
        spade_context *context = make_context();
        spade_model *model;
        wire network = graph_with_input(bytes ? 2 : 1, 4, dims);
        if (bytes) { put_node(&network, with_int(node_of("cast", "Cast", "x", "c"), "to", 1)); }
        put_node(&network, with_ints(node_of("first", "Transpose", bytes ? "c" : "x", "t"), "perm", 4, to_first));
        put_node(&network, node_of("relu", "Identity", "t", "i"));
        put_node(&network, node_of("flat", "Flatten", "i", "f"));
        put_tensor(&network, tensor_float("zero", 1, (int64_t[]){1}, 0));
        put_node(&network, node_of("add", "Add", "f zero", "y"));
        if (load(context, network, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
        check_shape(model, C, H, W);
        assert_int_equal(spade_model_takes_bytes(model), bytes);
        check_identity(context, model);
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

/* The graph computes with [n, h, w, c] before it puts the channels first, if ever: y is x times 1, 2, 3 by channel. */
static void test_computes_channels_last(void **state)
{
    (void)state;
    for (int turned = 0; turned < 2; turned++) {
        spade_context *context = make_context();
        spade_model *model;
        float x[SIDE * SIDE * C], y[SIDE * SIDE * C];
        wire network = graph_with_input(2, 4, (int64_t[]){-1, SIDE, SIDE, C});
        put_node(&network, with_int(node_of("cast", "Cast", "x", "c"), "to", 1));
        put_tensor(&network, tensor_of("factor", 1, (int64_t[]){C}, (float[]){1, 2, 3}));
        put_node(&network, node_of("scale", "Mul", "c factor", "s"));
        put_node(&network, with_ints(node_of("first", "Transpose", "s", "t"), "perm", 4, to_first));
        put_node(&network, node_of("flat", "Flatten", turned ? "t" : "s", "y"));
        if (load(context, network, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
        check_shape(model, C, SIDE, SIDE);
        assert_true(spade_model_takes_bytes(model));
        for (int i = 0; i < SIDE * SIDE * C; i++) { x[i] = pseudo_random(2, (uint32_t)i); }
        assert_int_equal(spade_model_forward(context, model, NULL, x, 1, y), SPADE_OK);
        for (int i = 0; i < SIDE * SIDE * C; i++) { /* of x: [c, pixels] */
            const int c = i / (SIDE * SIDE), pixel = i % (SIDE * SIDE);
            const float should = x[i] * (float)(c + 1), is = y[turned ? i : pixel * C + c];
            if (fabsf(is - should) > 1e-6f) { fail_msg("%d: %g, not %g", i, (double)is, (double)should); }
        }
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

/* Of a picture too small to be told by its size, the Transpose behind the normalisation tells. */
static void test_normalises_channels_last(void **state)
{
    (void)state;
    spade_context *context = make_context();
    spade_model *model;
    wire network = graph_with_input(1, 4, (int64_t[]){-1, 6, 7, 3});
    put_tensor(&network, tensor_of("mean", 1, (int64_t[]){3}, (float[]){1, 2, 3}));
    put_node(&network, node_of("centre", "Sub", "x mean", "s"));
    put_node(&network, node_of("scale", "Div", "s mean", "d"));
    put_node(&network, with_ints(node_of("first", "Transpose", "d", "t"), "perm", 4, to_first));
    put_node(&network, node_of("flat", "Flatten", "t", "y"));
    if (load(context, network, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    check_shape(model, 3, 6, 7);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static void refuse(wire network, const char *first, const char *second)
{
    spade_context *context = make_context();
    spade_model *model;
    assert_int_not_equal(load(context, network, NULL, &model), SPADE_OK);
    if (!strstr(spade_message(context), first) || !strstr(spade_message(context), second)) {
        fail_msg("%s", spade_message(context));
    }
    spade_context_destroy(context);
}

static void test_refused(void **state)
{
    (void)state;
    wire network = graph_with_input(7, 4, (int64_t[]){-1, C, H, W});
    put_node(&network, node_of("flat", "Flatten", "x", "y"));
    refuse(network, "only floats and uint8", "\"x\"");
    network = graph_with_input(1, 4, (int64_t[]){-1, C, -1, -1});
    put_node(&network, node_of("flat", "Flatten", "x", "y"));
    refuse(network, "open", "height");
}

/* A conversion at the input is passed over where the type holds all that the input can be, and refused else. */
static void test_casts(void **state)
{
    (void)state;
    static const struct {
        int input, to;
        const char *refused; /* NULL: it is not */
    } cases[] = {{1, 1, NULL},
                 {1, 11, NULL},
                 {1, 6, "to int32 is"},
                 {1, 7, "to int64 is"},
                 {1, 2, "to uint8 is"},
                 {1, 9, "to bool is"},
                 {1, 10, "to float16 is not supported where"},
                 {2, 1, NULL},
                 {2, 6, NULL},
                 {2, 10, NULL},
                 {2, 3, "to int8 is"},
                 {2, 9, "to bool is"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wire network = graph_with_input(cases[i].input, 4, (int64_t[]){-1, C, H, W});
        put_node(&network, with_int(node_of("to", "Cast", "x", "c"), "to", cases[i].to));
        put_node(&network, with_int(node_of("back", "Cast", "c", "b"), "to", 1));
        put_node(&network, node_of("flat", "Flatten", "b", "f"));
        put_tensor(&network, tensor_float("zero", 1, (int64_t[]){1}, 0));
        put_node(&network, node_of("add", "Add", "f zero", "y"));
        if (cases[i].refused) {
            refuse(network, "node \"to\" (Cast): a conversion of the picture", cases[i].refused);
            continue;
        }
        spade_context *context = make_context();
        spade_model *model;
        if (load(context, network, NULL, &model) != SPADE_OK) { fail_msg("%zu: %s", i, spade_message(context)); }
        check_identity(context, model);
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

static void test_open_size(void **state)
{
    (void)state;
    spade_context *context = make_context();
    spade_model *model;
    spade_model_options options;
    spade_model_options_init(&options);
    options.open_height = 7;
    options.open_width = 9;
    for (int fixed = 0; fixed < 2; fixed++) {
        const int64_t dims[4] = {-1, C, fixed ? H : -1, fixed ? W : -1};
        wire network = graph_with_input(1, 4, dims);
        put_node(&network, node_of("pool", "GlobalAveragePool", "x", "p"));
        put_node(&network, node_of("flat", "Flatten", "p", "y"));
        if (load(context, network, &options, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
        check_shape(model, C, fixed ? H : 7, fixed ? W : 9); /* what the file says wins over a guess */
        spade_model_destroy(model);
    }
    spade_context_destroy(context);
}

/* What settings make of a network's input. */
static void preprocess_of(spade_context *context, int type, int64_t channels, const spade_settings *settings,
                          spade_status should, spade_preprocess *out)
{
    spade_model *model;
    wire network = graph_with_input(type, 4, (int64_t[]){-1, channels, H, W});
    put_node(&network, with_int(node_of("cast", "Cast", "x", "c"), "to", 1));
    put_node(&network, node_of("pool", "GlobalAveragePool", "c", "p"));
    put_node(&network, node_of("flat", "Flatten", "p", "y"));
    if (load(context, network, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    assert_int_equal(spade_settings_preprocess(context, settings, model, out), should);
    spade_model_destroy(model);
}

static char warned[512]; /* the last warning */

static void note_warning(void *user, spade_log_level level, const char *line)
{
    (void)user;
    if (level == SPADE_LOG_WARNING) { snprintf(warned, sizeof warned, "%s", line); }
}

static void test_settings(void **state)
{
    (void)state;
    spade_context *context;
    spade_context_options options;
    spade_context_options_init(&options);
    options.log = note_warning;
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    spade_settings settings;
    spade_preprocess p;
    spade_settings_init(&settings);
    preprocess_of(context, 1, 3, &settings, SPADE_OK, &p);
    assert_true(p.channels == 3 && fabs(p.mean[0] - 0.485) < 1e-12);
    preprocess_of(context, 1, 1, &settings, SPADE_OK, &p);
    assert_int_equal(p.channels, 1);
    settings.mean[3] = 0.25, settings.std[3] = 0.5;
    preprocess_of(context, 1, 4, &settings, SPADE_OK, &p);
    assert_true(p.channels == 4 && p.band_mean == 0.25 && p.band_std == 0.5 && fabs(p.mean[0] - 0.485) < 1e-12);
    settings.mean[3] = 0, settings.std[3] = 1;
    preprocess_of(context, 1, 5, &settings, SPADE_OK, &p);
    assert_true(p.channels == 5 && p.band_mean == 0 && p.band_std == 1);
    preprocess_of(context, 2, 4, &settings, SPADE_OK, &p);
    assert_true(p.band_mean == 0 && fabs(p.band_std * 255 - 1) < 1e-12);
    preprocess_of(context, 2, 3, &settings, SPADE_OK, &p); /* 8 bits: x * 255 */
    assert_true(p.mean[1] == 0 && fabs(p.std[1] * 255 - 1) < 1e-12);
    for (int c = 0; c < 3; c++) { settings.mean[c] = 0, settings.std[c] = 1; }
    preprocess_of(context, 2, 3, &settings, SPADE_OK, &p); /* the same where no normalisation is asked for */
    assert_true(p.mean[1] == 0 && fabs(p.std[1] * 255 - 1) < 1e-12);
    assert_string_equal(warned, "");
    for (int c = 0; c < 3; c++) { settings.mean[c] = 0.5, settings.std[c] = 0.5; }
    preprocess_of(context, 2, 3, &settings, SPADE_OK, &p);
    assert_non_null(strstr(warned, "8-bit values, and this normalisation makes numbers from -1 to 1"));
    settings.scale = 1;
    for (int c = 0; c < 3; c++) { settings.mean[c] = 100 + c, settings.std[c] = 50; }
    preprocess_of(context, 1, 3, &settings, SPADE_OK, &p); /* (x * 255 - 102) / 50 */
    assert_true(fabs(p.mean[2] * 255 - 102) < 1e-9 && fabs(p.std[2] * 255 - 50) < 1e-9);
    spade_settings_clear(&settings);
    spade_context_destroy(context);
}

static int remove_files(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_channels_last),
                                       cmocka_unit_test(test_computes_channels_last),
                                       cmocka_unit_test(test_normalises_channels_last),
                                       cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_casts),

                                       cmocka_unit_test(test_open_size),
                                       cmocka_unit_test(test_settings)};
    return cmocka_run_group_tests(tests, NULL, remove_files);
}
