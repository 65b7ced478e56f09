/* The 8-bit resize equals Pillow's, byte for byte: checksums of Pillow 9.4's results on the same random pixels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "support/device.h"
#include "spade/picture.h"

static const struct {
    int64_t height, width, new_height, new_width;
    uint32_t crc; /* of numpy.asarray(image.resize((new_width, new_height), Image.BILINEAR)).tobytes() */
} cases[] = {
    {1, 1, 1, 1, 0xe78c8455},       {1, 1, 7, 5, 0x7d69b796},     {7, 5, 1, 1, 0x20a85c9c},
    {40, 60, 40, 30, 0xc34f40db},   {40, 60, 20, 60, 0x7238c3cf}, {64, 64, 224, 224, 0xa2262841},
    {100, 150, 37, 41, 0x35cbf7de}, {33, 47, 34, 46, 0xc58678fe}, {300, 200, 13, 170, 0x8c697a9c},
    {5, 200, 200, 5, 0x2e90d99f},   {31, 29, 31, 29, 0x0c62dc48}, {257, 129, 256, 128, 0x43826c01},
};

static void fill(uint8_t *rgb, size_t size)
{
    uint32_t seed = 12345;
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        rgb[i] = (uint8_t)(seed >> 24);
    }
}

static spade_context *open_context(int threads)
{
    spade_context *context;
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = test_device();
    options.threads = threads;
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    return context;
}

static void equals_pillow(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        spade_context *context = open_context(threads);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            size_t size = (size_t)(cases[i].height * cases[i].width * 3);
            spade_picture in = {cases[i].height, cases[i].width, malloc(size), false}, out;
            fill(in.rgb, size);
            assert_int_equal(spade_picture_resize(context, &in, cases[i].new_height, cases[i].new_width, &out),
                             SPADE_OK);
            assert_int_equal(out.height, cases[i].new_height);
            assert_int_equal(out.width, cases[i].new_width);
            assert_int_equal(crc32(0, out.rgb, (uInt)(out.height * out.width * 3)), cases[i].crc);
            spade_picture_clear(&in);
            spade_picture_clear(&out);
        }
        spade_context_destroy(context);
    }
}

static void constant_stays_constant(void **state)
{
    (void)state;
    spade_context *context = open_context(0);
    static uint8_t rgb[19 * 23 * 3];
    memset(rgb, 201, sizeof rgb);
    spade_picture in = {19, 23, rgb, false}, out;
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
    spade_context *context = open_context(0);
    uint8_t rgb[3] = {1, 2, 3};
    spade_picture in = {1, 1, rgb, false}, out;
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
    spade_context *context = open_context(0);
    static uint8_t rgb[40 * 60 * 3], inside[32 * 32];
    static float out[3 * 32 * 32];
    for (int y = 0; y < 40; y++) {
        for (int x = 30; x < 60; x++) { memset(rgb + (y * 60 + x) * 3, 255, 3); }
    }
    spade_picture in = {40, 60, rgb, false}, cropped;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_pillow),
        cmocka_unit_test(constant_stays_constant),
        cmocka_unit_test(impossible_sizes),
        cmocka_unit_test(preprocess_geometry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
