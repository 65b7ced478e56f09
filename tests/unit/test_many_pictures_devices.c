/*
 * test_many_pictures_devices.c - maps of several pictures in one call: what each picture's are alone, to the bit on the CPU and up
 * to rounding where pictures share a pass; how many passes that takes; what is refused. Runs on every device
 * (SPADE_TEST_DEVICE).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "base/base.h"
#include "spade/spade.h"
#include "support/context.h"
#include "support/model.h"

enum {
    CHANNELS = 3,
    HEIGHT = 10,
    WIDTH = 12,
    SIZE = CHANNELS * HEIGHT * WIDTH,
    CLASSES = 4,
    MOST = 37, /* pictures: a batch of 32 and a second one that is filled up */
    TARGETS = 2,
    MEMBERS = 2
};

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    float inputs[MOST * SIZE];
    spade_target targets[MOST * TARGETS];
} fixture;

/* x -> 3x3 convolution -> relu -> max pooling -> fc */
static void fixture_open(fixture *f)
{
    static const int64_t two[2] = {2, 2}, pads[4] = {1, 1, 1, 1};
    enum { KERNELS = 5, POOLED = KERNELS * HEIGHT * WIDTH / 4 };
    wire network = graph_of(CHANNELS, HEIGHT, WIDTH, CLASSES);
    put_tensor(&network, tensor_random("conv.weight", 4, (int64_t[]){KERNELS, CHANNELS, 3, 3}, 1));
    put_tensor(&network, tensor_random("conv.bias", 1, (int64_t[]){KERNELS}, 2));
    put_tensor(&network, tensor_random("fc.weight", 2, (int64_t[]){POOLED, CLASSES}, 3));
    put_node(&network, with_ints(node_of("conv", "Conv", "x conv.weight conv.bias", "a"), "pads", 4, pads));
    put_node(&network, node_of("relu", "Relu", "a", "b"));
    wire pool = with_ints(node_of("pool", "MaxPool", "b", "c"), "kernel_shape", 2, two);
    put_node(&network, with_ints(pool, "strides", 2, two));
    put_node(&network, node_of("flatten", "Flatten", "c", "d"));
    put_node(&network, node_of("fc", "Gemm", "d fc.weight", "y"));
    f->context = test_context(test_device(), 0);
    if (spade_model_load(f->context, test_save("pictures.onnx", model_of(network)), NULL, &f->model) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    for (int i = 0; i < MOST * SIZE; i++) { f->inputs[i] = 2 * pseudo_random(4, (uint32_t)i); }
    for (int i = 0; i < MOST * TARGETS; i++) { /* another class for each picture, and a contrast */
        f->targets[i] = (spade_target){.class_index = (i / TARGETS + i) % CLASSES};
        if (i % TARGETS) { f->targets[i].against = (f->targets[i].class_index + 1) % CLASSES; }
        f->targets[i].contrast = i % TARGETS;
    }
}

static void fixture_close(fixture *f)
{
    spade_model_destroy(f->model);
    spade_context_destroy(f->context);
}

/* ---- a table that counts walks back and hands on. State of this test program. */
static const spade_backend *counted;
static int walks;

static spade_status count_seed(spade_device *device, const spade_seed_args *args)
{
    walks += args->seed != NULL;
    return counted->seed(device, args);
}

/* Walks for `pictures` pictures, where they may share them. */
static int walks_for(const fixture *f, int pictures, int images)
{
    int together = 1;
    if (f->context->device->backend->host_memory) { return pictures * TARGETS; }
    while (together < pictures && 2 * together * images <= 32) { together *= 2; }
    return (pictures + together - 1) / together * TARGETS;
}

/* ---- maps */

typedef struct methods {
    const char *names[MEMBERS]; /* that share a walk; NULL: no more */
    int images;                 /* of a picture in a pass; 0: it shares none with other pictures */
    double tolerance;           /* of the largest number, on a device */
} methods;

static int open_methods(const fixture *f, const methods *m, spade_attribution *out[MEMBERS])
{
    int count = 0;
    for (; count < MEMBERS && m->names[count]; count++) {
        if (spade_attribution_create(f->context, m->names[count], &out[count]) != SPADE_OK) {
            fail_msg("%s", spade_message(f->context));
        }
    }
    return count;
}

static void compare(const fixture *f, const methods *m, const float *map, const float *alone, int64_t numbers)
{
    double largest = 0;
    if (f->context->device->backend->host_memory) {
        assert_memory_equal(map, alone, sizeof *map * (size_t)numbers);
        return;
    }
    for (int64_t e = 0; e < numbers; e++) { largest = fmax(largest, fabs((double)alone[e])); }
    for (int64_t e = 0; e < numbers; e++) {
        if (!(fabs((double)map[e] - (double)alone[e]) <= m->tolerance * largest)) {
            fail_msg("%s, number %d: %g, alone %g", m->names[0], (int)e, (double)map[e], (double)alone[e]);
        }
    }
}

static void check_notes(const spade_map_note *note, const spade_map_note *alone)
{
    assert_int_equal(isnan(note->delta), isnan(alone->delta));
    if (isnan(alone->delta)) { return; }
    assert_true(fabs(note->difference - alone->difference) <= 1e-5 * (1 + fabs(alone->difference)));
    assert_true(fabs(note->delta - alone->delta) <= 1e-5 * (1 + fabs(alone->difference)));
}

static void check_methods(fixture *f, const methods *m, int pictures)
{
    static float together[MEMBERS][MOST * TARGETS * SIZE], again[MEMBERS][MOST * TARGETS * SIZE];
    static float alone[MEMBERS][TARGETS * SIZE];
    static spade_map_note notes[MEMBERS * MOST * TARGETS], note[MEMBERS * TARGETS];
    float *const maps[MEMBERS] = {together[0], together[1]}, *const repeated[MEMBERS] = {again[0], again[1]};
    float *const own[MEMBERS] = {alone[0], alone[1]};
    spade_attribution *attributions[MEMBERS];
    int64_t shape[3];
    const int count = open_methods(f, m, attributions);
    const spade_attribution *const *list = (const spade_attribution *const *)attributions;
    assert_int_equal(spade_attribution_map_shape(f->context, f->model, attributions[0], shape), SPADE_OK);
    const int64_t numbers = TARGETS * shape[0] * shape[1] * shape[2];
    for (int round = 0; round < 2; round++) {
        walks = 0;
        if (spade_attribute_pictures(f->context, f->model, list, count, f->inputs, pictures, f->targets, TARGETS,
                                     round ? repeated : maps, notes) != SPADE_OK) {
            fail_msg("%s: %s", m->names[0], spade_message(f->context));
        }
        if (m->images) { assert_int_equal(walks, walks_for(f, pictures, m->images)); }
    }
    for (int i = 0; i < count; i++) {
        assert_memory_equal(together[i], again[i], sizeof(float) * (size_t)(pictures * numbers));
    }
    for (int p = 0; p < pictures; p++) {
        assert_int_equal(spade_attribute_together(f->context, f->model, NULL, list, count, f->inputs + p * SIZE,
                                                  f->targets + p * TARGETS, TARGETS, own, note),
                         SPADE_OK);
        for (int i = 0; i < count; i++) { compare(f, m, together[i] + p * numbers, alone[i], numbers); }
        for (int i = 0; i < count * TARGETS; i++) {
            check_notes(&notes[(i / TARGETS * pictures + p) * TARGETS + i % TARGETS], &note[i]);
        }
    }
    for (int i = 0; i < count; i++) { spade_attribution_destroy(attributions[i]); }
}

static void test_maps(void **state)
{
    (void)state;
    static const methods cases[] = {
        {{"saliency", "input_x_gradient"}, 1, 1e-5},
        {{"guided_backprop"}, 1, 1e-5},
        {{"guided_gradcam:layer=conv", "guided_backprop"}, 0, 1e-5},
        {{"deconvolution"}, 1, 1e-5},
        {{"lrp"}, 1, 1e-5},
        {{"lrp:composite=gamma"}, 1, 1e-5},
        {{"deeplift"}, 2, 1e-5},
        {{"deeplift:compat=captum"}, 2, 1e-5},
        {{"integrated_gradients:steps=7"}, 0, 1e-5},
        {{"gradcam:layer=conv", "layercam:layer=conv"}, 0, 1e-5},
        {{"occlusion:window=4:stride=3"}, 0, 1e-5},
    };
    static const int pictures[] = {1, 2, 5, MOST};
    static fixture f;
    fixture_open(&f);
    counted = f.context->device->backend;
    spade_backend table = *counted;
    table.seed = count_seed;
    table.capture_begin = NULL; /* a graph_launch would be one call */
    f.context->device->backend = &table;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) { check_methods(&f, &cases[c], pictures[i]); }
    }
    f.context->device->backend = counted;
    fixture_close(&f);
}

/* ---- what is refused: the picture that is to blame is named by its class, as alone */
static void test_refused(void **state)
{
    (void)state;
    static float maps[3 * TARGETS * SIZE];
    static fixture f;
    float *const out[1] = {maps};
    spade_attribution *saliency;
    fixture_open(&f);
    assert_int_equal(spade_attribution_create(f.context, "saliency", &saliency), SPADE_OK);
    const spade_attribution *const list[1] = {saliency};
    assert_int_equal(spade_attribute_pictures(f.context, f.model, list, 1, f.inputs, 0, f.targets, TARGETS, out, NULL),
                     SPADE_ERROR_ARGUMENT);
    f.targets[2 * TARGETS].class_index = CLASSES;
    assert_int_equal(spade_attribute_pictures(f.context, f.model, list, 1, f.inputs, 3, f.targets, TARGETS, out, NULL),
                     SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(f.context), "class 4: the network has the classes 0 to 3"));
    f.targets[2 * TARGETS].class_index = 1;
    f.inputs[2 * SIZE + 2 * HEIGHT * WIDTH + 3 * WIDTH + 4] = NAN;
    assert_int_equal(spade_attribute_pictures(f.context, f.model, list, 1, f.inputs, 3, f.targets, TARGETS, out, NULL),
                     SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(f.context), "element [2, 3, 4] of input 2 (channel, row, column) is NaN"));
    f.inputs[2 * SIZE + 2 * HEIGHT * WIDTH + 3 * WIDTH + 4] = 0;
    for (int i = 0; i < SIZE; i++) { f.inputs[SIZE + i] = 3e38f; } /* of the second picture */
    assert_int_equal(spade_attribute_pictures(f.context, f.model, list, 1, f.inputs, 3, f.targets, TARGETS, out, NULL),
                     SPADE_ERROR_NUMERICAL);
    spade_attribution_destroy(saliency);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_maps), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
