/* test_gradcam_devices.c - maps of a layer on the golden network: their sizes, enlarging, layers that are none. Their
 * numbers are compared with Captum's in tests/golden. Runs on every device (SPADE_TEST_DEVICE). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/device.h"
#include "support/targets.h"
#include "spade/spade.h"

enum { SIDE = 64, PIXELS = SIDE * SIDE, SIZE = 3 * PIXELS, SMALL = 8, CLASSES = 2 };
static const int64_t classes[CLASSES] = {1, 7};

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    spade_array inputs;
} fixture;

static fixture open_fixture(void)
{
    fixture f = {0};
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = test_device();
    if (spade_context_create(&options, &f.context) != SPADE_OK ||
        spade_model_load(f.context, SPADE_TEST_DATA "/models/scene_resnet.onnx", NULL, &f.model) != SPADE_OK ||
        spade_array_load(f.context, SPADE_TEST_DATA "/arrays/inputs.npy", 0, &f.inputs) != SPADE_OK) {
        fail_msg("%s", spade_message(f.context));
    }
    return f;
}

static void close_fixture(fixture *f)
{
    spade_array_clear(&f->inputs);
    spade_model_destroy(f->model);
    spade_context_destroy(f->context);
}

/* Both classes' maps, which are of this size. */
static float *maps_of(fixture *f, const char *method, int64_t channels, int64_t height, int64_t width)
{
    spade_attribution *attribution;
    int64_t shape[3];
    float *maps = calloc((size_t)(CLASSES * channels * height * width), sizeof *maps);
    assert_non_null(maps);
    if (spade_attribution_create(f->context, method, &attribution) != SPADE_OK ||
        spade_attribution_map_shape(f->context, f->model, attribution, shape) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    assert_true(shape[0] == channels && shape[1] == height && shape[2] == width);
    if (spade_attribute(f->context, f->model, NULL, attribution, f->inputs.data, targets_of(classes, CLASSES), CLASSES,
                        maps, NULL) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    spade_attribution_destroy(attribution);
    return maps;
}

/* None below zero, and some above. */
static void expect_positive(const float *maps, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        assert_true(maps[i] >= 0);
        sum += (double)maps[i];
    }
    assert_true(sum > 0);
}

/* The map at the input's size is the layer's, enlarged; other layers have other maps. */
static void test_sizes(void **state)
{
    (void)state;
    fixture f = open_fixture();
    float *small = maps_of(&f, "gradcam:upsample=none", 1, SMALL, SMALL), resized[PIXELS];
    float *large = maps_of(&f, "gradcam", 1, SIDE, SIDE);
    float *early = maps_of(&f, "gradcam:layer=layer1:upsample=none", 1, 4 * SMALL, 4 * SMALL);
    float *prefix = maps_of(&f, "gradcam:layer=layer4:upsample=none", 1, SMALL, SMALL);
    float *layer = maps_of(&f, "gradcam:layer=layer4.0.conv3:upsample=none", 1, SMALL, SMALL);
    float *scores = maps_of(&f, "gradcam:upsample=none:output=softmax", 1, SMALL, SMALL);
    const size_t bytes = sizeof *small * CLASSES * SMALL * SMALL;
    for (int c = 0; c < CLASSES; c++) {
        spade_map_resize(small + c * SMALL * SMALL, SMALL, SMALL, resized, SIDE, SIDE);
        assert_memory_equal(large + c * PIXELS, resized, sizeof resized);
    }
    expect_positive(small, CLASSES * SMALL * SMALL);
    expect_positive(early, CLASSES * 16 * SMALL * SMALL);
    expect_positive(layer, CLASSES * SMALL * SMALL);
    assert_memory_equal(prefix, small, bytes);
    assert_memory_not_equal(layer, small, bytes);
    assert_memory_not_equal(scores, small, bytes);
    assert_memory_not_equal(small, small + SMALL * SMALL, bytes / CLASSES);
    free(small);
    free(large);
    free(early);
    free(prefix);
    free(layer);
    free(scores);
    close_fixture(&f);
}

/* Guided methods share their walk, whatever their layers are. The maps are what each makes alone. */
static void test_guided_together(void **state)
{
    (void)state;
    enum { COUNT = 3 };
    static const char *const names[COUNT] = {"guided_backprop", "guided_gradcam:layer=layer1", "guided_gradcam"};
    fixture f = open_fixture();
    spade_attribution *methods[COUNT];
    float *alone[COUNT], *maps[COUNT];
    for (int m = 0; m < COUNT; m++) {
        alone[m] = maps_of(&f, names[m], 3, SIDE, SIDE);
        maps[m] = calloc(CLASSES * SIZE, sizeof *maps[m]);
        assert_non_null(maps[m]);
        assert_int_equal(spade_attribution_create(f.context, names[m], &methods[m]), SPADE_OK);
        assert_true(spade_attributions_share(methods[0], methods[m]));
    }
    assert_false(spade_attributions_share(methods[1], methods[2]));
    const spade_target *targets = targets_of(classes, CLASSES);
    assert_int_equal(spade_attribute_together(f.context, f.model, NULL, (const spade_attribution *const *)methods,
                                              COUNT, f.inputs.data, targets, CLASSES, maps, NULL),
                     SPADE_OK);
    for (int m = 0; m < COUNT; m++) {
        assert_memory_equal(alone[m], maps[m], sizeof(float) * CLASSES * SIZE);
        spade_attribution_destroy(methods[m]);
        free(alone[m]);
        free(maps[m]);
    }
    close_fixture(&f);
}

/* The product of both methods' maps: an 8x8 map's pixel counts for 8x8 pixels. */
static void test_guided(void **state)
{
    (void)state;
    fixture f = open_fixture();
    float *small = maps_of(&f, "gradcam:upsample=none", 1, SMALL, SMALL);
    float *guided = maps_of(&f, "guided_backprop", 3, SIDE, SIDE);
    float *product = maps_of(&f, "guided_gradcam", 3, SIDE, SIDE);
    for (int i = 0; i < CLASSES * SIZE; i++) {
        const int class_index = i / SIZE, y = i % PIXELS / SIDE, x = i % SIDE;
        const float weight = small[class_index * SMALL * SMALL + y / 8 * SMALL + x / 8];
        assert_true(product[i] == weight * guided[i]);
    }
    free(small);
    free(guided);
    free(product);
    close_fixture(&f);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *method, *says;
    } cases[] = {
        {"gradcam:layer=layer9", "gradcam: 'layer9' is no layer or module; close to it: layer1, layer2"},
        {"gradcam:layer=fc", "gradcam: layer fc: its value is [1, 10]"},
        {"guided_gradcam:layer=fc", "guided_gradcam: layer fc: its value is [1, 10]"},
        {"gradcam:layer=layer4:3", "gradcam: layer layer4:3: all its channels are meant"},
    };
    fixture f = open_fixture();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spade_attribution *attribution;
        int64_t shape[3];
        float map[SIZE];
        assert_int_equal(spade_attribution_create(f.context, cases[i].method, &attribution), SPADE_OK);
        assert_int_equal(spade_attribution_map_shape(f.context, f.model, attribution, shape), SPADE_ERROR_ARGUMENT);
        assert_non_null(strstr(spade_message(f.context), cases[i].says));
        assert_int_equal(
            spade_attribute(f.context, f.model, NULL, attribution, f.inputs.data, targets_of(classes, 1), 1, map, NULL),
            SPADE_ERROR_ARGUMENT);
        assert_non_null(strstr(spade_message(f.context), cases[i].says));
        spade_attribution_destroy(attribution);
    }
    assert_non_null(strstr(spade_method_find("gradcam")->options[0].name, "layer"));
    assert_false(spade_method_find("gradcam")->flags & SPADE_METHOD_SIGNED);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_guided),
                                       cmocka_unit_test(test_guided_together), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
