/*
 * test_bands_devices.c - networks of other channels than 1 and 3: the alpha channel of a picture goes the way of a grey
 * picture's channel, beside colours that nothing changes; arrays keep what is in their channels.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "picture/orient.h"
#include "support/context.h"
#include "support/random.h"
#include "spade/augment.h"

enum { HEIGHT = 37, WIDTH = 53, SIDE = 24, PIXELS = SIDE * SIDE, VARIANTS = 9 };

static uint8_t *random_bytes(random_stream *r, int64_t n)
{
    uint8_t *bytes = malloc((size_t)n);
    assert_non_null(bytes);
    for (int64_t i = 0; i < n; i++) { bytes[i] = (uint8_t)random_int(r, 0, 255); }
    return bytes;
}

static spade_picture random_picture(random_stream *r)
{
    const int64_t pixels = HEIGHT * WIDTH;
    return (spade_picture){
        .height = HEIGHT, .width = WIDTH, .rgb = random_bytes(r, 3 * pixels), .alpha = random_bytes(r, pixels)};
}

/* The alpha channel as a picture of its own. */
static spade_picture grey_of(const spade_picture *picture)
{
    const int64_t pixels = picture->height * picture->width;
    spade_picture grey = {.height = picture->height, .width = picture->width, .rgb = malloc((size_t)pixels * 3)};
    assert_non_null(grey.rgb);
    for (int64_t i = 0; i < 3 * pixels; i++) { grey.rgb[i] = picture->alpha[i / 3]; }
    return grey;
}

static void ok(spade_context *context, spade_status status)
{
    if (status != SPADE_OK) { fail_msg("%s", spade_message(context)); }
}

/* Preprocessing of four channels, and of the same as one. */
static spade_preprocess four_channels(bool bgr, spade_preprocess *one)
{
    spade_preprocess p;
    spade_preprocess_init(&p, SIDE, SIDE);
    p.channels = 4;
    p.bgr = bgr;
    p.resample = bgr ? SPADE_RESAMPLE_BICUBIC : SPADE_RESAMPLE_BILINEAR;
    p.band_mean = 0.3;
    p.band_std = 0.7;
    *one = p;
    one->channels = 1;
    one->mean[0] = p.band_mean;
    one->std[0] = p.band_std;
    return p;
}

static void test_preprocess(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 2);
    random_stream random = {.key = 31};
    spade_picture picture = random_picture(&random), grey = grey_of(&picture), cropped = {0}, three_cropped = {0};
    float got[4 * PIXELS], colours[3 * PIXELS], alpha[PIXELS];
    for (int bgr = 0; bgr < 2; bgr++) {
        spade_preprocess one, p = four_channels(bgr, &one), three = p;
        three.channels = 3;
        ok(context, spade_preprocess_apply(context, &p, &picture, got, &cropped));
        ok(context, spade_preprocess_apply(context, &three, &picture, colours, &three_cropped));
        ok(context, spade_preprocess_apply(context, &one, &grey, alpha, NULL));
        assert_memory_equal(got, colours, sizeof colours);
        assert_memory_equal(got + 3 * PIXELS, alpha, sizeof alpha);
        assert_memory_equal(cropped.rgb, three_cropped.rgb, (size_t)3 * PIXELS);
        spade_picture_clear(&cropped);
        spade_picture_clear(&three_cropped);
    }
    spade_picture_clear(&picture);
    spade_picture_clear(&grey);
    spade_context_destroy(context);
}

static spade_augment_options all_options(void)
{
    spade_augment_options options;
    spade_augment_options_init(&options);
    options.variants = VARIANTS;
    options.contrast = options.saturation = 0.6;
    options.erase = 0.5;
    return options;
}

/* The same variants of the colours and of alpha as pictures of their own; read as a trace reads them. */
static void test_variants(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 2);
    random_stream random = {.key = 32};
    spade_picture picture = random_picture(&random), grey = grey_of(&picture);
    const spade_augment_options options = all_options();
    spade_variant variants[VARIANTS];
    static float got[VARIANTS * 4 * PIXELS], read[VARIANTS * 4 * PIXELS], colours[VARIANTS * 3 * PIXELS],
        alpha[VARIANTS * PIXELS];
    for (int bgr = 0; bgr < 2; bgr++) {
        spade_preprocess one, p = four_channels(bgr, &one), three = p;
        spade_batch *batch;
        three.channels = 3;
        ok(context, spade_augment_draw(context, &options, &picture, SIDE, SIDE, 0, VARIANTS, variants));
        ok(context, spade_augment_apply(context, &p, &picture, variants, VARIANTS, got));
        ok(context, spade_augment_apply(context, &three, &picture, variants, VARIANTS, colours));
        ok(context, spade_augment_apply(context, &one, &grey, variants, VARIANTS, alpha));
        ok(context, spade_batch_from_picture(context, &picture, &p, &options, &batch));
        ok(context, spade_batch_read(context, batch, 0, 4, read));
        ok(context, spade_batch_read(context, batch, 4, VARIANTS - 4, read + 16 * PIXELS));
        spade_batch_destroy(batch);
        assert_memory_equal(read, got, sizeof got);
        for (int i = 0; i < VARIANTS; i++) {
            assert_memory_equal(got + i * 4 * PIXELS, colours + i * 3 * PIXELS, 3 * PIXELS * sizeof(float));
            assert_memory_equal(got + (i * 4 + 3) * PIXELS, alpha + i * PIXELS, PIXELS * sizeof(float));
        }
    }
    spade_picture_clear(&picture);
    spade_picture_clear(&grey);
    spade_context_destroy(context);
}

/* Every channel has noise of its own: of white noise the product of two channels is 0 in the mean. */
static void test_noise(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 2);
    spade_preprocess p;
    spade_augment_options options;
    static float input[6 * PIXELS], got[6 * PIXELS];
    spade_batch *batch;
    spade_preprocess_init(&p, SIDE, SIDE);
    spade_augment_options_init(&options);
    options.variants = 1;
    options.flip = options.brightness = options.hue = 0;
    options.area[0] = options.aspect[0] = options.aspect[1] = 1;
    options.noise = 0.5;
    for (p.channels = 4; p.channels <= 6; p.channels++) {
        ok(context, spade_batch_from_tensor(context, input, &p, &options, &batch));
        ok(context, spade_batch_read(context, batch, 0, 1, got));
        spade_batch_destroy(batch);
        for (int64_t a = 0; a < p.channels; a++) {
            for (int64_t b = 0; b <= a; b++) {
                double sum = 0;
                for (int i = 0; i < PIXELS; i++) { sum += (double)got[a * PIXELS + i] * (double)got[b * PIXELS + i]; }
                const double product = sum / PIXELS / 0.25, expected = a == b ? 1 : 0;
                assert_true(fabs(product - expected) < 5 * sqrt(2.0 / PIXELS));
            }
        }
    }
    spade_context_destroy(context);
}

/* An array's channels that are no colours keep all their values, far from 0 and 1 as well; mirrored here. */
static void test_arrays(void **state)
{
    (void)state;
    static const int64_t channels[] = {2, 4, 5, 13};
    spade_context *context = test_context(test_device(), 2);
    random_stream random = {.key = 33};
    static float input[13 * PIXELS], got[13 * PIXELS];
    spade_preprocess p;
    spade_augment_options options;
    spade_preprocess_init(&p, SIDE, SIDE);
    spade_augment_options_init(&options);
    options.variants = 1;
    options.flip = 1;
    options.brightness = options.hue = 0;
    options.area[0] = options.aspect[0] = options.aspect[1] = 1;
    for (size_t k = 0; k < sizeof channels / sizeof *channels; k++) {
        spade_batch *batch;
        p.channels = channels[k];
        for (int64_t i = 0; i < p.channels * PIXELS; i++) {
            const int64_t c = i / PIXELS;
            const bool colour = p.channels == 4 && c < 3;
            input[i] = (float)(colour ? (random_unit(&random) - p.mean[c]) / p.std[c]
                                      : (random_unit(&random) - 0.4) * (double)(1 + 40 * c));
        }
        ok(context, spade_batch_from_tensor(context, input, &p, &options, &batch));
        ok(context, spade_batch_read(context, batch, 0, 1, got));
        spade_batch_destroy(batch);
        for (int64_t i = 0; i < p.channels * PIXELS; i++) {
            const int64_t row = i / SIDE, column = i % SIDE;
            const double expected = (double)input[row * SIDE + SIDE - 1 - column];
            if (!(fabs((double)got[i] - expected) < 1e-6 * (double)(5 + 40 * (i / PIXELS)))) {
                fail_msg("%d channels, value %d: %g, not %g", (int)p.channels, (int)i, (double)got[i], expected);
            }
        }
    }
    spade_context_destroy(context);
}

/* What is drawn under maps: of four channels the colours, of others the first ones, from least to greatest value. */
static void test_previews(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 1);
    float input[5 * 4] = {-2, 0, 2, 6, 0, 0.5f, 1, 1, 9, 9, 9, 9, 7, 7, 7, 7, 7, 7, 7, 7};
    spade_preprocess p;
    spade_picture out;
    spade_preprocess_init(&p, 2, 2);
    p.channels = 5;
    ok(context, spade_picture_from_tensor(context, &p, input, &out));
    assert_memory_equal(out.rgb, ((uint8_t[]){0, 0, 255, 64, 128, 255, 128, 255, 255, 255, 255, 255}), 12);
    spade_picture_clear(&out);
    p.channels = 2;
    ok(context, spade_picture_from_tensor(context, &p, input, &out));
    assert_memory_equal(out.rgb, ((uint8_t[]){0, 0, 0, 64, 64, 64, 128, 128, 128, 255, 255, 255}), 12);
    spade_picture_clear(&out);
    p.channels = 4;
    p.bgr = true;
    for (int c = 0; c < 3; c++) { p.mean[c] = 0, p.std[c] = 1; }
    ok(context, spade_picture_from_tensor(context, &p, input, &out));
    assert_memory_equal(out.rgb, ((uint8_t[]){255, 0, 0, 255, 128, 0, 255, 255, 255, 255, 255, 255}), 12);
    spade_picture_clear(&out);
    spade_context_destroy(context);
}

static void test_refused(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 1);
    random_stream random = {.key = 34};
    spade_picture picture = random_picture(&random), turned = random_picture(&random);
    uint8_t *alpha = picture.alpha;
    static float out[5 * PIXELS];
    spade_preprocess p;
    spade_batch *batch;
    const spade_augment_options options = all_options();
    spade_preprocess_init(&p, SIDE, SIDE);
    picture.alpha = NULL;
    p.channels = 4;
    assert_int_equal(spade_preprocess_apply(context, &p, &picture, out, NULL), SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(context), "a picture without alpha, and the network takes 4 channels"));
    assert_int_equal(spade_batch_from_picture(context, &picture, &p, &options, &batch), SPADE_ERROR_INPUT);
    assert_null(batch);
    picture.alpha = alpha;
    p.channels = 5;
    assert_int_equal(spade_preprocess_apply(context, &p, &picture, out, NULL), SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(context), "the network takes 5 channels"));
    assert_non_null(strstr(spade_message(context), "[n, 5, 24, 24]"));
    p.channels = 4;
    p.band_std = NAN;
    assert_int_equal(spade_preprocess_apply(context, &p, &picture, out, NULL), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_batch_from_picture(context, &picture, &p, &options, &batch), SPADE_ERROR_ARGUMENT);

    /* turned as EXIF's 6 asks: the first row is the first column from below */
    const uint8_t first = turned.alpha[(HEIGHT - 1) * WIDTH], last = turned.alpha[WIDTH - 1];
    ok(context, spade_orient(context, 6, &turned));
    assert_int_equal(turned.alpha[0], first);
    assert_int_equal(turned.alpha[WIDTH * HEIGHT - 1], last);
    spade_picture_clear(&turned);
    spade_picture_clear(&picture);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_preprocess), cmocka_unit_test(test_variants),
                                       cmocka_unit_test(test_noise),      cmocka_unit_test(test_arrays),
                                       cmocka_unit_test(test_previews),   cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
