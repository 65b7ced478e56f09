/* Pictures in and out: PNG round trips, every kind of PNM and BMP, warnings, the budget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "spade/picture.h"

typedef struct fixture {
    spade_context *context;
    char path[64];
    char warning[256];
} fixture;

static void keep_warning(void *user, spade_log_level level, const char *line)
{
    fixture *f = user;
    if (level == SPADE_LOG_WARNING) { snprintf(f->warning, sizeof f->warning, "%s", line); }
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = "cpu";
    options.log = keep_warning;
    options.user = f;
    strcpy(f->path, "/tmp/spade-picture-XXXXXX");
    close(mkstemp(f->path));
    *state = f;
    return spade_context_create(&options, &f->context) != SPADE_OK;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    unlink(f->path);
    spade_context_destroy(f->context);
    free(f);
    return 0;
}

static void write_bytes(const fixture *f, const void *bytes, size_t size)
{
    FILE *file = fopen(f->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static void decodes_to(fixture *f, const void *bytes, size_t size, int64_t height, int64_t width, const uint8_t *rgb)
{
    spade_picture picture;
    write_bytes(f, bytes, size);
    spade_status status = spade_picture_load(f->context, f->path, &picture);
    if (status != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
    assert_int_equal(picture.height, height);
    assert_int_equal(picture.width, width);
    assert_memory_equal(picture.rgb, rgb, (size_t)(height * width * 3));
    spade_picture_clear(&picture);
    assert_null(picture.rgb);
}

static void png_round_trip(void **state)
{
    fixture *f = *state;
    static const int64_t sizes[][2] = {{1, 1}, {1, 9}, {9, 1}, {13, 7}, {64, 65}};
    static uint8_t pixels[64 * 65 * 3], expected[64 * 65 * 3];
    for (size_t i = 0; i < sizeof pixels; i++) { pixels[i] = (uint8_t)(i * i / 7 + i); }
    for (size_t s = 0; s < 5; s++) {
        int64_t n = sizes[s][0] * sizes[s][1];
        for (int channels = 1; channels <= 3; channels += 2) {
            spade_picture picture;
            for (int64_t i = 0; i < 3 * n; i++) { expected[i] = channels == 3 ? pixels[i] : pixels[i / 3]; }
            assert_int_equal(spade_png_save(f->context, f->path, pixels, sizes[s][0], sizes[s][1], channels), SPADE_OK);
            assert_int_equal(spade_picture_load(f->context, f->path, &picture), SPADE_OK);
            assert_int_equal(picture.height, sizes[s][0]);
            assert_int_equal(picture.width, sizes[s][1]);
            assert_memory_equal(picture.rgb, expected, (size_t)(3 * n));
            spade_picture_clear(&picture);
        }
    }
    assert_int_equal(spade_png_save(f->context, f->path, pixels, 0, 4, 3), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_png_save(f->context, f->path, pixels, 4, 4, 2), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_png_save(f->context, "/nonexistent/x.png", pixels, 4, 4, 3), SPADE_ERROR_IO);
}

#define DECODES(f, text, height, width, ...)                                                                           \
    decodes_to(f, text, sizeof text - 1, height, width, (const uint8_t[]){__VA_ARGS__})

static void pnm_as_pillow(void **state)
{
    fixture *f = *state;
    DECODES(f, "P1 4 1\n1 010", 1, 4, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255);
    DECODES(f, "P4 3 2\n\xa0\x40", 2, 3, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255);
    DECODES(f, "P2 4 1 100\n1 0 50 100 ", 1, 4, 3, 3, 3, 0, 0, 0, 128, 128, 128, 255, 255, 255);
    DECODES(f, "P3 1 1 1000\n1 500 1000", 1, 1, 0, 128, 255);
    DECODES(f, "P5\n# comment\n2 1 255\n\x01\xff", 1, 2, 1, 1, 1, 255, 255, 255);
    DECODES(f, "P6 1 2 100\n\x01\x32\x64\x00\x00\xc8", 2, 1, 3, 128, 255, 0, 0, 255);
    DECODES(f, "P6 1 1 1000\n\x00\x64\x01\x2c\x03\xe8", 1, 1, 26, 76, 255);
    f->warning[0] = '\0';
    DECODES(f, "P5 2 1 65535\n\x00\x03\x03\xe8", 1, 2, 3, 3, 3, 255, 255, 255); /* clipped, as convert("RGB") does */
    assert_non_null(strstr(f->warning, "16-bit grey"));
}

static void bmp_both_ways_up(void **state)
{
    fixture *f = *state;
    uint8_t bmp[54 + 16] = {'B', 'M', 70, [10] = 54, [14] = 40, [18] = 2, [22] = 2, [26] = 1, [28] = 24};
    const uint8_t rows[16] = {3, 2, 1, 6, 5, 4, 0, 0, 9, 8, 7, 12, 11, 10, 0, 0}; /* BGR, padded to 4 bytes */
    const uint8_t upwards[12] = {7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6},
                  downwards[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    memcpy(bmp + 54, rows, sizeof rows);
    decodes_to(f, bmp, sizeof bmp, 2, 2, upwards);
    memset(bmp + 22, 0xff, 4);
    bmp[22] = 0xfe; /* height -2 */
    decodes_to(f, bmp, sizeof bmp, 2, 2, downwards);
}

/* Masks of red, green and blue in a header of 56 bytes, as Photoshop writes them, or behind one of 40. */
static void bmp_masks(void **state)
{
    fixture *f = *state;
    const uint8_t rows[] = {1, 2, 3, 255, 4, 5, 6, 128}, rgb[] = {2, 3, 1, 5, 6, 4};
    for (int header = 40; header <= 56; header += 4) {
        if (header != 40 && header < 52) { continue; }
        const int offset = header == 40 ? 66 : 14 + header;
        uint8_t bmp[80] = {'B', 'M', [10] = 0, [14] = 0, [18] = 2, [22] = 1, [26] = 1, [28] = 32, [30] = 3};
        bmp[10] = (uint8_t)offset;
        bmp[14] = (uint8_t)header;
        bmp[54 + 1] = bmp[58 + 2] = bmp[62] = 0xff; /* green, blue, red */
        if (header == 56) { bmp[66 + 3] = 0xff; }
        memcpy(bmp + offset, rows, sizeof rows);
        decodes_to(f, bmp, (size_t)offset + sizeof rows, 1, 2, rgb);
    }
}

/* A PNG with an eXIf chunk that asks for a quarter turn: said, or applied where that is asked for. */
static void exif_rotation_is_warned_about(void **state)
{
    fixture *f = *state;
    const uint8_t exif[] = {0, 0, 0,    26, 'e', 'X', 'I', 'f', 'M', 'M', 0, 42, 0, 0, 0, 8, 0,
                            1, 1, 0x12, 0,  3,   0,   0,   0,   1,   0,   6, 0,  0, 0, 0, 0, 0};
    uint8_t pixels[6] = {1, 2, 3, 4, 5, 6}, *png, joined[256];
    size_t size;
    spade_picture picture;
    assert_int_equal(spade_png_encode(f->context, pixels, 1, 2, 3, &png, &size), SPADE_OK);
    const size_t body = sizeof exif;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 4; i < body; i++) {
        crc ^= exif[i];
        for (int bit = 0; bit < 8; bit++) { crc = crc & 1 ? 0xedb88320u ^ crc >> 1 : crc >> 1; }
    }
    crc = ~crc;
    memcpy(joined, png, 33);
    memcpy(joined + 33, exif, body);
    for (int i = 0; i < 4; i++) { joined[33 + body + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i)); }
    memcpy(joined + 37 + body, png + 33, size - 33);
    write_bytes(f, joined, size + body + 4);
    f->warning[0] = '\0';
    assert_int_equal(spade_picture_load(f->context, f->path, &picture), SPADE_OK);
    assert_true(picture.exif_rotated);
    assert_non_null(strstr(f->warning, "EXIF"));
    assert_memory_equal(picture.rgb, pixels, 6);
    assert_true(picture.height == 1 && picture.width == 2);
    spade_picture_clear(&picture);
    f->warning[0] = '\0'; /* a quarter turn clockwise: what was left is up */
    assert_int_equal(spade_picture_load_upright(f->context, f->path, &picture), SPADE_OK);
    assert_false(picture.exif_rotated);
    assert_string_equal(f->warning, "");
    assert_true(picture.height == 2 && picture.width == 1);
    assert_memory_equal(picture.rgb, pixels, 6);
    spade_picture_clear(&picture);
    free(png);
}

static void budget_holds(void **state)
{
    fixture *f = *state;
    spade_context *small;
    spade_context_options options;
    static uint8_t pixels[2048 * 2048 * 3];
    spade_picture picture;
    spade_context_options_init(&options);
    options.device = "cpu";
    options.memory = 1 << 20;
    assert_int_equal(spade_png_save(f->context, f->path, pixels, 2048, 2048, 3), SPADE_OK);
    assert_int_equal(spade_context_create(&options, &small), SPADE_OK);
    assert_int_equal(spade_picture_load(small, f->path, &picture), SPADE_ERROR_MEMORY);
    assert_non_null(strstr(spade_message(small), f->path));
    spade_context_destroy(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_round_trip),
        cmocka_unit_test(pnm_as_pillow),
        cmocka_unit_test(bmp_both_ways_up),
        cmocka_unit_test(bmp_masks),
        cmocka_unit_test(exif_rotation_is_warned_about),
        cmocka_unit_test(budget_holds),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
