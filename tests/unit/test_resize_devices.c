/* The 8-bit resize equals Pillow's, byte for byte: checksums of Pillow 9.4's results on the same random pixels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "picture/orient.h"
#include "picture/resize.h"
#include "support/context.h"
#include "spade/augment.h"

static const struct {
    int64_t height, width, new_height, new_width;
    uint32_t crc[2]; /* of numpy.asarray(image.resize((new_width, new_height), F)).tobytes(), F: BILINEAR, BICUBIC */
} cases[] = {
    {1, 1, 1, 1, {0xe78c8455, 0xe78c8455}},        {1, 1, 7, 5, {0x7d69b796, 0x7d69b796}},
    {7, 5, 1, 1, {0x20a85c9c, 0xec303835}},        {40, 60, 40, 30, {0xc34f40db, 0x4c57cda8}},
    {40, 60, 20, 60, {0x7238c3cf, 0x19ac925a}},    {64, 64, 224, 224, {0xa2262841, 0xc79e4e26}},
    {100, 150, 37, 41, {0x35cbf7de, 0x08042131}},  {33, 47, 34, 46, {0xc58678fe, 0x0874f105}},
    {300, 200, 13, 170, {0x8c697a9c, 0x7029d00b}}, {5, 200, 200, 5, {0x2e90d99f, 0xce166d7b}},
    {31, 29, 31, 29, {0x0c62dc48, 0x0c62dc48}},    {257, 129, 256, 128, {0x43826c01, 0xc1839515}},
};

static void fill(uint8_t *rgb, size_t size)
{
    uint32_t seed = 12345;
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        rgb[i] = (uint8_t)(seed >> 24);
    }
}

static void equals_pillow(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        spade_context *context = test_context(test_device(), threads);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            size_t size = (size_t)(cases[i].height * cases[i].width * 3);
            spade_picture in = {.height = cases[i].height, .width = cases[i].width, .rgb = malloc(size)}, out;
            fill(in.rgb, size);
            assert_int_equal(spade_picture_resize(context, &in, cases[i].new_height, cases[i].new_width, &out),
                             SPADE_OK);
            assert_int_equal(out.height, cases[i].new_height);
            assert_int_equal(out.width, cases[i].new_width);
            assert_int_equal(crc32(0, out.rgb, (uInt)(out.height * out.width * 3)), cases[i].crc[0]);
            const spade_resample_args cubic = {.full_height = cases[i].new_height,
                                               .full_width = cases[i].new_width,
                                               .height = cases[i].new_height,
                                               .width = cases[i].new_width,
                                               .kind = SPADE_RESAMPLE_BICUBIC};
            assert_int_equal(spade_resize_window(context, &in, &cubic, out.rgb, NULL), SPADE_OK);
            assert_int_equal(crc32(0, out.rgb, (uInt)(out.height * out.width * 3)), cases[i].crc[1]);
            spade_picture_clear(&in);
            spade_picture_clear(&out);
        }
        spade_context_destroy(context);
    }
}

static void constant_stays_constant(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 0);
    static uint8_t rgb[19 * 23 * 3];
    memset(rgb, 201, sizeof rgb);
    spade_picture in = {.height = 19, .width = 23, .rgb = rgb}, out;
    for (int64_t side = 1; side < 80; side += 6) {
        assert_int_equal(spade_picture_resize(context, &in, side, 81 - side, &out), SPADE_OK);
        for (int64_t i = 0; i < side * (81 - side) * 3; i++) { assert_int_equal(out.rgb[i], 201); }
        spade_picture_clear(&out);
    }
    spade_context_destroy(context);
}

static void impossible_sizes(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 0);
    uint8_t rgb[3] = {1, 2, 3};
    spade_picture in = {.height = 1, .width = 1, .rgb = rgb}, out;
    assert_int_equal(spade_picture_resize(context, &in, 0, 5, &out), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_picture_resize(context, &in, 5, 16385, &out), SPADE_ERROR_ARGUMENT);
    in.height = 0;
    assert_int_equal(spade_picture_resize(context, &in, 5, 5, &out), SPADE_ERROR_ARGUMENT);
    spade_context_destroy(context);
}

/* Mask and picture go through the same geometry; a resize of 0 insists on the size. */
static void preprocess_geometry(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 0);
    static uint8_t rgb[40 * 60 * 3], inside[32 * 32];
    static float out[3 * 32 * 32];
    for (int y = 0; y < 40; y++) {
        for (int x = 30; x < 60; x++) { memset(rgb + (y * 60 + x) * 3, 255, 3); }
    }
    spade_picture in = {.height = 40, .width = 60, .rgb = rgb}, cropped;
    spade_preprocess preprocess;
    spade_preprocess_init(&preprocess, 32, 32);
    assert_int_equal(spade_preprocess_apply(context, &preprocess, &in, out, &cropped), SPADE_OK);
    assert_int_equal(spade_preprocess_mask(context, &preprocess, &in, inside), SPADE_OK);
    for (int i = 0; i < 32 * 32; i++) {
        if (i % 32 == 15) { continue; } /* the edge lies within this column */
        assert_int_equal(inside[i], i % 32 >= 16);
        assert_int_equal(cropped.rgb[3 * i] > 127, i % 32 >= 16);
    }
    spade_picture_clear(&cropped);
    preprocess.resize = 0;
    assert_int_equal(spade_preprocess_apply(context, &preprocess, &in, out, NULL), SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(context), "60 x 40"));
    assert_non_null(strstr(spade_message(context), "32 x 32"));
    preprocess.resize = 16; /* smaller than the crop: black around it, as torchvision pads */
    assert_int_equal(spade_preprocess_apply(context, &preprocess, &in, out, &cropped), SPADE_OK);
    assert_int_equal(spade_preprocess_mask(context, &preprocess, &in, inside), SPADE_OK);
    for (int i = 0; i < 32; i++) {
        assert_int_equal(cropped.rgb[3 * (7 * 32 + i)], 0);
        assert_int_equal(cropped.rgb[3 * (24 * 32 + i)], 0);
        assert_int_equal(inside[7 * 32 + i], 0);
    }
    assert_int_equal(inside[8 * 32 + 20], 1);
    assert_int_equal(cropped.rgb[3 * (8 * 32 + 20)], 255);
    spade_picture_clear(&cropped);
    preprocess.std[1] = 0.0;
    assert_int_equal(spade_preprocess_apply(context, &preprocess, &in, out, NULL), SPADE_ERROR_ARGUMENT);
    spade_context_destroy(context);
}

/* ---- as networks were trained: checksums of what Pillow 9.4 makes of the same pixels */
enum { HEIGHT = 100, WIDTH = 150 };

static void check_preview(const spade_preprocess *preprocess, uint32_t crc)
{
    spade_context *context = test_context(test_device(), 0);
    static uint8_t rgb[HEIGHT * WIDTH * 3], inside[64 * 64], mask[HEIGHT * WIDTH * 3];
    static float out[3 * 64 * 64];
    const int64_t pixels = preprocess->height * preprocess->width;
    fill(rgb, sizeof rgb);
    memset(mask, 255, sizeof mask);
    spade_picture in = {.height = HEIGHT, .width = WIDTH, .rgb = rgb};
    spade_picture of_mask = {.height = HEIGHT, .width = WIDTH, .rgb = mask}, preview, back;
    if (spade_preprocess_apply(context, preprocess, &in, out, &preview) != SPADE_OK) {
        fail_msg("%s", spade_message(context));
    }
    assert_int_equal(crc32(0, preview.rgb, (uInt)(pixels * 3)), crc);
    for (int64_t i = 0; i < pixels; i++) {
        for (int c = 0; c < preprocess->channels; c++) {
            const int64_t plane = preprocess->bgr ? 2 - c : c;
            const float should =
                ((float)preview.rgb[3 * i + c] / 255.0f - (float)preprocess->mean[c]) / (float)preprocess->std[c];
            assert_true(out[plane * pixels + i] == should);
        }
    }
    assert_int_equal(spade_picture_from_tensor(context, preprocess, out, &back), SPADE_OK);
    assert_memory_equal(back.rgb, preview.rgb, (size_t)pixels * 3);
    assert_int_equal(spade_preprocess_mask(context, preprocess, &of_mask, inside), SPADE_OK);
    for (int64_t i = 0; i < pixels; i++) { assert_int_equal(inside[i], 1); }
    spade_picture_clear(&preview);
    spade_picture_clear(&back);
    spade_context_destroy(context);
}

static void as_trained(void **state)
{
    (void)state;
    spade_preprocess preprocess;
    spade_preprocess_init(&preprocess, 32, 32); /* resize((48, 48), BICUBIC).crop((8, 8, 40, 40)) */
    preprocess.squash = preprocess.bgr = true;
    preprocess.resize = 48;
    preprocess.resample = SPADE_RESAMPLE_BICUBIC;
    check_preview(&preprocess, 0xf8930ec6);
    spade_preprocess_init(&preprocess, 45, 45); /* resize((75, 50), BICUBIC).crop((15, 2, 60, 47)) */
    preprocess.crop_share = 0.9;
    preprocess.resample = SPADE_RESAMPLE_BICUBIC;
    check_preview(&preprocess, 0x26f961fa);
    spade_preprocess_init(&preprocess, 32, 32); /* convert("L").convert("RGB").resize((32, 32), BILINEAR) */
    preprocess.squash = true;
    preprocess.channels = 1;
    preprocess.mean[0] = 0.13;
    check_preview(&preprocess, 0xe5839f77);
}

/* Variants of a grey network, and of one that takes blue first, are those of the usual one. */
static void variants_of_channels(void **state)
{
    (void)state;
    enum { SIDE = 16, N = 4, SIZE = SIDE * SIDE };
    static uint8_t rgb[HEIGHT * WIDTH * 3];
    static float usual[N * 3 * SIZE], other[N * 3 * SIZE];
    spade_context *context = test_context(test_device(), 0);
    spade_picture in = {.height = HEIGHT, .width = WIDTH, .rgb = rgb}, grey;
    spade_preprocess preprocess;
    spade_augment_options options;
    spade_variant variants[N];
    fill(rgb, sizeof rgb);
    spade_preprocess_init(&preprocess, SIDE, SIDE);
    spade_augment_options_init(&options);
    assert_int_equal(spade_augment_draw(context, &options, &in, SIDE, SIDE, 0, N, variants), SPADE_OK);
    assert_int_equal(spade_augment_apply(context, &preprocess, &in, variants, N, usual), SPADE_OK);
    preprocess.bgr = true;
    assert_int_equal(spade_augment_apply(context, &preprocess, &in, variants, N, other), SPADE_OK);
    for (int i = 0; i < N * 3 * SIZE; i++) {
        const int image = i / (3 * SIZE), c = i / SIZE % 3;
        assert_true(other[(image * 3 + 2 - c) * SIZE + i % SIZE] == usual[i]);
    }
    assert_int_equal(spade_picture_grey(context, &in, &grey), SPADE_OK);
    preprocess.bgr = false;
    assert_int_equal(spade_augment_apply(context, &preprocess, &grey, variants, N, usual), SPADE_OK);
    preprocess.channels = 1;
    assert_int_equal(spade_augment_apply(context, &preprocess, &in, variants, N, other), SPADE_OK);
    for (int i = 0; i < N * SIZE; i++) { assert_true(other[i] == usual[i / SIZE * 3 * SIZE + i % SIZE]); }
    preprocess.channels = 2; /* bands, which no picture has */
    assert_int_equal(spade_augment_apply(context, &preprocess, &in, variants, N, other), SPADE_ERROR_INPUT);
    spade_picture_clear(&grey);
    spade_context_destroy(context);
}

/* Pillow's transpose() for each EXIF orientation. */
static void upright(void **state)
{
    (void)state;
    static const uint32_t crcs[] = {0,          0,          0x6685aaa1, 0xb5e0d9c5, 0x2a7a2f80,
                                    0x9f2ea19e, 0x3c8d7edb, 0xdac56f06, 0x16bc5170};
    spade_context *context = test_context(test_device(), 0);
    for (int orientation = 0; orientation < 10; orientation++) {
        const bool turned = orientation >= 5 && orientation <= 8;
        spade_picture in = {.height = 5, .width = 7, .rgb = malloc(5 * 7 * 3), .exif_rotated = true};
        fill(in.rgb, 5 * 7 * 3);
        const uint32_t same = (uint32_t)crc32(0, in.rgb, 5 * 7 * 3);
        assert_int_equal(spade_orient(context, orientation, &in), SPADE_OK);
        assert_int_equal(in.height, turned ? 7 : 5);
        assert_int_equal(in.width, turned ? 5 : 7);
        assert_int_equal(crc32(0, in.rgb, 5 * 7 * 3), orientation < 2 || orientation > 8 ? same : crcs[orientation]);
        spade_picture_clear(&in);
    }
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_pillow),    cmocka_unit_test(constant_stays_constant),
        cmocka_unit_test(impossible_sizes), cmocka_unit_test(preprocess_geometry),
        cmocka_unit_test(as_trained),       cmocka_unit_test(variants_of_channels),
        cmocka_unit_test(upright),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
