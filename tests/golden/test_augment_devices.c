/* The 16 explicit augmentations of the golden set (torchvision on Pillow, which rounds to 8 bits at each step). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "support/device.h"
#include "spade/array.h"
#include "spade/augment.h"

enum { COUNT = 16, SIDE = 64, SIZE = 3 * SIDE * SIDE };

static void explicit_variants(void **state)
{
    (void)state;
    spade_context *context;
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = test_device();
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    json_t *json = json_load_file(SPADE_TEST_DATA "/augment.json", 0, NULL);
    assert_non_null(json);
    char path[512];
    spade_picture scene;
    snprintf(path, sizeof path, "%s/images/%s", SPADE_TEST_DATA, json_string_value(json_object_get(json, "image")));
    assert_int_equal(spade_picture_load(context, path, &scene), SPADE_OK);
    spade_variant variants[COUNT];
    json_t *params = json_object_get(json, "params");
    assert_int_equal(json_array_size(params), COUNT);
    for (int i = 0; i < COUNT; i++) {
        json_t *p = json_array_get(params, (size_t)i);
        variants[i] = (spade_variant){.top = json_integer_value(json_object_get(p, "top")),
                                      .left = json_integer_value(json_object_get(p, "left")),
                                      .height = json_integer_value(json_object_get(p, "height")),
                                      .width = json_integer_value(json_object_get(p, "width")),
                                      .flip = json_is_true(json_object_get(p, "flip")),
                                      .brightness = json_real_value(json_object_get(p, "brightness")),
                                      .contrast = 1.0,
                                      .saturation = 1.0,
                                      .hue = json_real_value(json_object_get(p, "hue"))};
    }
    spade_preprocess preprocess;
    spade_preprocess_init(&preprocess, SIDE, SIDE);
    float *out = malloc(COUNT * SIZE * sizeof *out);
    assert_int_equal(spade_augment_apply(context, &preprocess, &scene, variants, COUNT, out), SPADE_OK);
    for (int i = 0; i < COUNT; i++) {
        spade_array golden;
        double sum = 0.0;
        snprintf(path, sizeof path, "%s/arrays/augment/out%02d.npy", SPADE_TEST_DATA, i);
        assert_int_equal(spade_array_load(context, path, 0, &golden), SPADE_OK);
        assert_int_equal(spade_array_size(&golden), SIZE);
        for (int k = 0; k < SIZE; k++) { sum += fabs((double)out[i * SIZE + k] - (double)golden.data[k]); }
        printf("variant %2d: mean difference %.4f\n", i, sum / SIZE);
        assert_true(sum / SIZE <= 0.03);
        spade_array_clear(&golden);
    }
    free(out);
    json_decref(json);
    spade_picture_clear(&scene);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(explicit_variants)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
