/* Heatmaps: reductions, enlarging, percentile, and that a map is seen where it is and the picture where it is not. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/context.h"
#include "spade/picture.h"

static void reductions(void **state)
{
    (void)state;
    const float map[6] = {1, -2, 3, -4, -5, 6}; /* [3, 1, 2] */
    float out[2];
    spade_map_reduce(map, 3, 1, 2, SPADE_REDUCE_SUM, out);
    assert_true(out[0] == -1 && out[1] == 0);
    spade_map_reduce(map, 3, 1, 2, SPADE_REDUCE_ABS_MAX, out);
    assert_true(out[0] == 5 && out[1] == 6);
    spade_map_reduce(map, 3, 1, 2, SPADE_REDUCE_ABS_SUM, out);
    assert_true(out[0] == 9 && out[1] == 12);
    spade_map_reduce(map, 3, 1, 2, SPADE_REDUCE_ABOVE_LEAST, out);
    assert_true(out[0] == 0 && out[1] == 1);
}

/* As torch.nn.functional.interpolate(mode="bilinear", align_corners=False). */
static void resize_as_torch(void **state)
{
    (void)state;
    const float map[4] = {0, 1, 2, 5}, wide[4] = {0, 0.25F, 0.75F, 1};
    float same[4], large[3 * 3], row[2 * 4];
    spade_map_resize(map, 2, 2, same, 2, 2);
    assert_memory_equal(same, map, sizeof map);
    spade_map_resize(map, 1, 2, row, 2, 4);
    assert_memory_equal(row, wide, sizeof wide);
    assert_memory_equal(row + 4, wide, sizeof wide);
    spade_map_resize(map, 2, 2, large, 3, 3);
    assert_true(large[0] == 0 && large[2] == 1 && large[6] == 2 && large[8] == 5);
    assert_true(large[1] == 0.5F && large[3] == 1 && large[4] == 2); /* means of two and of all four */
    spade_map_resize(map, 1, 1, large, 3, 3);
    for (int i = 0; i < 9; i++) { assert_true(large[i] == 0); }
}

static void percentile_as_numpy(void **state)
{
    (void)state;
    const float map[5] = {-4, 1, 0, 3, -2};
    assert_true(spade_map_percentile(map, 5, 0) == 0.0);
    assert_true(spade_map_percentile(map, 5, 100) == 4.0);
    assert_true(fabs(spade_map_percentile(map, 5, 60) - 2.4) < 1e-12);
    assert_true(spade_map_percentile(map, 0, 50) == 0.0);
}

static int strength(const uint8_t *rgb) /* how colourful */
{
    int most = rgb[0] > rgb[1] ? rgb[0] : rgb[1], least = rgb[0] < rgb[1] ? rgb[0] : rgb[1];
    most = rgb[2] > most ? rgb[2] : most;
    least = rgb[2] < least ? rgb[2] : least;
    return most - least;
}

static void map_is_seen_where_it_is(void **state)
{
    (void)state;
    enum { SIDE = 64, FACTOR = 4 };
    spade_context *context = test_context(test_device(), 0);
    static uint8_t rgb[SIDE * SIDE * 3];
    static float map[SIDE * SIDE];
    memset(rgb, 128, sizeof rgb);
    for (int y = 10; y < 20; y++) {
        for (int x = 10; x < 20; x++) { map[y * SIDE + x] = 1.0f, map[(y + 30) * SIDE + x + 30] = -1.0f; }
    }
    spade_picture picture = {.height = SIDE, .width = SIDE, .rgb = rgb}, out;
    for (int is_signed = 0; is_signed < 2; is_signed++) {
        assert_int_equal(spade_heatmap(context, &picture, map, 1.0, is_signed, &out), SPADE_OK);
        assert_int_equal(out.height, SIDE * FACTOR);
        assert_int_equal(out.width, SIDE * FACTOR);
        const uint8_t *quiet = out.rgb + (5 * FACTOR * out.width + 50 * FACTOR) * 3;
        const uint8_t *above = out.rgb + (15 * FACTOR * out.width + 15 * FACTOR) * 3;
        const uint8_t *below = out.rgb + (45 * FACTOR * out.width + 45 * FACTOR) * 3;
        assert_int_equal(strength(quiet), 0);
        assert_true(strength(above) > 40);
        assert_true(above[0] > above[2]);
        if (is_signed) {
            assert_true(below[2] > below[0] && strength(below) > 40);
        } else {
            assert_int_equal(strength(below), 0); /* negative values of an unsigned map are not there */
        }
        spade_picture_clear(&out);
    }
    spade_context_destroy(context);
}

static void edges(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 0);
    uint8_t rgb[6] = {0, 0, 0, 255, 255, 255};
    float map[2] = {0, 0};
    spade_picture picture = {.height = 1, .width = 2, .rgb = rgb}, out;
    assert_int_equal(spade_heatmap(context, &picture, map, 0.0, true, &out), SPADE_OK); /* an empty map has scale 0 */
    assert_int_equal(out.height, 256);
    assert_int_equal(out.width, 512);
    spade_picture_clear(&out);
    assert_int_equal(spade_heatmap(context, &picture, map, NAN, true, &out), SPADE_ERROR_ARGUMENT);
    map[1] = NAN;
    assert_int_equal(spade_heatmap(context, &picture, map, 1.0, true, &out), SPADE_ERROR_NUMERICAL);
    picture.width = 0;
    assert_int_equal(spade_heatmap(context, &picture, map, 1.0, true, &out), SPADE_ERROR_ARGUMENT);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reductions),
        cmocka_unit_test(resize_as_torch),
        cmocka_unit_test(percentile_as_numpy),
        cmocka_unit_test(map_is_seen_where_it_is),
        cmocka_unit_test(edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
