/* Preprocessing against torchvision: decoded files, resize and centre crop, normalisation, masks. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/context.h"
#include "spade/array.h"
#include "spade/picture.h"

static void mean_and_worst(const float *a, const float *b, int64_t n, double *mean, double *worst)
{
    double sum = 0.0, most = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);
        sum += difference;
        most = difference > most ? difference : most;
    }
    *mean = sum / (double)n;
    *worst = most;
}

static void photo_resized_and_cropped(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 0);
    spade_picture photo, cropped;
    spade_preprocess preprocess;
    spade_array golden;
    double mean, worst;
    assert_int_equal(spade_picture_load(context, SPADE_TEST_DATA "/images/photo.jpg", &photo), SPADE_OK);
    assert_int_equal(spade_array_load(context, SPADE_TEST_DATA "/arrays/preprocess_256_224.npy", 0, &golden), SPADE_OK);
    spade_preprocess_init(&preprocess, 224, 224);
    float *out = malloc(3 * 224 * 224 * sizeof *out);
    assert_int_equal(spade_array_size(&golden), 3 * 224 * 224);
    assert_int_equal(spade_preprocess_apply(context, &preprocess, &photo, out, &cropped), SPADE_OK);
    mean_and_worst(out, golden.data, 3 * 224 * 224, &mean, &worst);
    printf("photo: mean %.2g, worst %.2g (JPEG decoders differ)\n", mean, worst);
    assert_true(mean <= 0.01);
    assert_true(worst <= 0.1);
    assert_int_equal(cropped.height, 224);
    assert_int_equal(cropped.width, 224);
    free(out);
    spade_picture_clear(&photo);
    spade_picture_clear(&cropped);
    spade_array_clear(&golden);
    spade_context_destroy(context);
}

static void scenes_as_they_are(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 0);
    spade_array golden;
    spade_preprocess preprocess;
    static float out[3 * 64 * 64];
    assert_int_equal(spade_array_load(context, SPADE_TEST_DATA "/arrays/inputs.npy", 0, &golden), SPADE_OK);
    spade_preprocess_init(&preprocess, 64, 64);
    preprocess.resize = 0;
    for (int i = 0; i < 12; i++) {
        char path[512];
        double mean, worst;
        spade_picture scene, back;
        snprintf(path, sizeof path, "%s/images/scene%02d.png", SPADE_TEST_DATA, i);
        assert_int_equal(spade_picture_load(context, path, &scene), SPADE_OK);
        assert_int_equal(spade_preprocess_apply(context, &preprocess, &scene, out, NULL), SPADE_OK);
        mean_and_worst(out, golden.data + i * 3 * 64 * 64, 3 * 64 * 64, &mean, &worst);
        assert_true(worst < 1e-5);
        assert_int_equal(spade_picture_from_tensor(context, &preprocess, out, &back), SPADE_OK);
        assert_memory_equal(back.rgb, scene.rgb, 3 * 64 * 64);
        spade_picture_clear(&scene);
        spade_picture_clear(&back);
    }
    spade_array_clear(&golden);
    spade_context_destroy(context);
}

static void many_at_once_equal_one_by_one(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 0);
    char paths[12][512];
    const char *pointers[12];
    spade_picture many[12], one;
    spade_status statuses[12];
    char *messages[12];
    for (int i = 0; i < 12; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/images/scene%02d%s.png", SPADE_TEST_DATA, i, i == 7 ? "_absent" : "");
        pointers[i] = paths[i];
    }
    assert_int_equal(spade_picture_load_many(context, pointers, 12, many, statuses, messages), SPADE_OK);
    for (int i = 0; i < 12; i++) {
        if (i == 7) {
            assert_int_equal(statuses[i], SPADE_ERROR_INPUT);
            assert_non_null(strstr(messages[i], "scene07_absent.png"));
        } else {
            assert_int_equal(statuses[i], SPADE_OK);
            assert_null(messages[i]);
            assert_int_equal(spade_picture_load(context, paths[i], &one), SPADE_OK);
            assert_memory_equal(one.rgb, many[i].rgb, 3 * 64 * 64);
            spade_picture_clear(&one);
        }
        free(messages[i]);
        spade_picture_clear(&many[i]);
    }
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(photo_resized_and_cropped),
        cmocka_unit_test(scenes_as_they_are),
        cmocka_unit_test(many_at_once_equal_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
