/*
 * test_decoding.c - pictures of every kind that is decoded, against what Pillow 13 makes of them, to the bit: NAME.ppm is
 * Image.open(NAME).convert("RGB"). (Pillow 9.4 gives the same, but for a number that a short palette does not have.) And
 * masks: the same rectangle in many forms.
 */
#include <dirent.h>
#include <zlib.h>

#include "golden.h"

#define FOLDER SPADE_TEST_DATA "/decoding"

static spade_context *context;

static int open_context(void **state)
{
    (void)state;
    context = golden_context_on("cpu", 2, 0);
    return 0;
}

static int close_context(void **state)
{
    (void)state;
    spade_context_destroy(context);
    return 0;
}

static bool ends_in(const char *name, const char *suffix)
{
    const size_t length = strlen(name), end = strlen(suffix);
    return length > end && strcmp(name + length - end, suffix) == 0;
}

/* The names in a folder, without hidden ones and folders; sorted. */
static int list_files(const char *folder, struct dirent ***entries)
{
    const int count = scandir(folder, entries, NULL, alphasort);
    assert_true(count > 2);
    return count;
}

static void assert_same_pictures(const char *name, const spade_picture *a, const spade_picture *b)
{
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    for (int64_t i = 0; i < 3 * a->width * a->height; i++) {
        if (a->rgb[i] == b->rgb[i]) { continue; }
        fail_msg("%s: x %d, y %d, channel %d: %d, not %d", name, (int)(i / 3 % a->width), (int)(i / 3 / a->width),
                 (int)(i % 3), a->rgb[i], b->rgb[i]);
    }
}

static void equal_to_pillow(void **state)
{
    (void)state;
    struct dirent **entries;
    const int count = list_files(FOLDER, &entries);
    int compared = 0;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char path[512], reference[512];
        spade_picture picture, expected;
        if (*name != '.' && !ends_in(name, ".ppm") && strcmp(name, "masks") != 0) {
            snprintf(path, sizeof path, FOLDER "/%s", name);
            snprintf(reference, sizeof reference, FOLDER "/%s.ppm", name);
            golden_ok(context, spade_picture_load(context, path, &picture));
            golden_ok(context, spade_picture_load(context, reference, &expected));
            assert_same_pictures(name, &picture, &expected);
            spade_picture_clear(&picture);
            spade_picture_clear(&expected);
            compared++;
        }
        free(entries[i]);
    }
    free(entries);
    assert_int_equal(compared, 29);
}

/* Alpha as it is in the file: checksums of Pillow's, numpy.asarray(image.convert("RGBA"))[..., 3].tobytes(). */
static void alpha_equal_to_pillow(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t crc; /* 0: the file has none */
    } cases[] = {{"rgba.png", 0x25554d44},
                 {"grey_alpha.png", 0x25554d44},
                 {"lossless_alpha.webp", 0x25554d44},
                 {"lossy_alpha.webp", 0x25554d44},
                 {"palette_short.png", 0x57003852},
                 {"masks/opaque_alpha.png", 0x28681d7f},
                 {"rgb.png", 0},
                 {"grey.jpg", 0},
                 {"lossless.webp", 0},
                 {"palette_8.png", 0},
                 {"rgb.bmp", 0},
                 {"grey_16.png", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[512];
        spade_picture picture, without;
        snprintf(path, sizeof path, FOLDER "/%s", cases[i].name);
        golden_ok(context, spade_picture_load_alpha(context, path, &picture));
        golden_ok(context, spade_picture_load(context, path, &without));
        assert_same_pictures(cases[i].name, &picture, &without);
        assert_null(without.alpha);
        const uint32_t crc =
            picture.alpha ? (uint32_t)crc32(0, picture.alpha, (uInt)(picture.width * picture.height)) : 0;
        if (crc != cases[i].crc) { fail_msg("%s: %08x, not %08x", cases[i].name, crc, cases[i].crc); }
        spade_picture_clear(&picture);
        spade_picture_clear(&without);
    }
}

/* 32 bits a pixel: a fourth value that is 0 or 255 everywhere says nothing. */
static void alpha_of_bmp(void **state)
{
    (void)state;
    static const char path[] = "/tmp/spade_test_alpha.bmp";
    for (int value = 0; value < 3; value++) {
        uint8_t file[54 + 8] = {'B', 'M', sizeof file, [10] = 54, [14] = 40, [18] = 2, [22] = 1, [26] = 1, [28] = 32};
        const uint8_t pixels[8] = {10, 20, 30, (uint8_t)(value * 127),
                                   40, 50, 60, (uint8_t)(value == 2 ? 255 : value * 9)};
        memcpy(file + 54, pixels, sizeof pixels);
        if (value == 2) { file[54 + 3] = 255; }
        FILE *to = fopen(path, "wb");
        assert_non_null(to);
        assert_int_equal(fwrite(file, 1, sizeof file, to), sizeof file);
        assert_int_equal(fclose(to), 0);
        spade_picture picture;
        golden_ok(context, spade_picture_load_alpha(context, path, &picture));
        assert_memory_equal(picture.rgb, ((uint8_t[]){30, 20, 10, 60, 50, 40}), 6);
        assert_true((picture.alpha != NULL) == (value == 1));
        if (picture.alpha) { assert_memory_equal(picture.alpha, ((uint8_t[]){127, 9}), 2); }
        spade_picture_clear(&picture);
    }
    remove(path);
}

/* 16 bits a pixel, 5-5-5 and 5-6-5: Pillow truncates v * 255 / 31 (or 63). */
static void bmp_of_16_bits(void **state)
{
    enum { WIDTH = 64, MASKS = 12 };
    static const char path[] = "/tmp/spade_test_16bit.bmp";
    static const uint8_t masks[MASKS] = {0, 0xf8, 0, 0, 0xe0, 0x07, 0, 0, 0x1f};
    (void)state;
    for (int masked = 0; masked < 2; masked++) {
        const int head = masked ? 54 + MASKS : 54;
        uint8_t file[54 + MASKS + 2 * WIDTH] = {'B', 'M', [14] = 40, [18] = WIDTH, [22] = 1, [26] = 1, [28] = 16};
        file[10] = (uint8_t)head;
        file[30] = masked ? 3 : 0;
        memcpy(file + 54, masks, sizeof masks);
        for (int i = 0; i < WIDTH; i++) {
            const int five = i % 32;
            const int pixel = masked ? five << 11 | i << 5 | five : five << 10 | five << 5 | five;
            file[head + 2 * i] = (uint8_t)pixel;
            file[head + 2 * i + 1] = (uint8_t)(pixel >> 8);
        }
        FILE *to = fopen(path, "wb");
        assert_non_null(to);
        assert_int_equal(fwrite(file, 1, (size_t)head + 2 * WIDTH, to), head + 2 * WIDTH);
        assert_int_equal(fclose(to), 0);
        spade_picture picture;
        golden_ok(context, spade_picture_load(context, path, &picture));
        for (int i = 0; i < WIDTH; i++) {
            assert_int_equal(picture.rgb[3 * i], i % 32 * 255 / 31);
            assert_int_equal(picture.rgb[3 * i + 1], masked ? i * 255 / 63 : i % 32 * 255 / 31);
            assert_int_equal(picture.rgb[3 * i + 2], i % 32 * 255 / 31);
        }
        spade_picture_clear(&picture);
    }
    remove(path);
}

/* Rows 4 to 10, columns 5 to 15 are inside. */
static void check_mask(const char *name, const spade_picture *mask)
{
    assert_int_equal(mask->width, 23);
    assert_int_equal(mask->height, 17);
    for (int y = 0; y < 17; y++) {
        for (int x = 0; x < 23; x++) {
            const int expected = y >= 4 && y < 11 && x >= 5 && x < 16 ? 255 : 0, is = mask->rgb[3 * (y * 23 + x)];
            if (is != expected) { fail_msg("%s: x %d, y %d: %d, not %d", name, x, y, is, expected); }
        }
    }
}

static void masks(void **state)
{
    (void)state;
    struct dirent **entries;
    const int count = list_files(FOLDER "/masks", &entries);
    int compared = 0;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char path[512];
        spade_picture mask;
        if (*name != '.') {
            snprintf(path, sizeof path, FOLDER "/masks/%s", name);
            const spade_status status = spade_mask_load(context, path, &mask);
            if (strncmp(name, "refused", 7) == 0) {
                assert_int_equal(status, SPADE_ERROR_INPUT);
                const char *says = strstr(name, "greys") ? "above 127 (the largest is 2)" : "several colours";
                if (!strstr(spade_message(context), says)) { fail_msg("%s", spade_message(context)); }
            } else {
                golden_ok(context, status);
                check_mask(name, &mask);
            }
            spade_picture_clear(&mask);
            compared++;
        }
        free(entries[i]);
    }
    free(entries);
    assert_int_equal(compared, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(equal_to_pillow), cmocka_unit_test(alpha_equal_to_pillow),
                                       cmocka_unit_test(alpha_of_bmp), cmocka_unit_test(bmp_of_16_bits),
                                       cmocka_unit_test(masks)};
    return cmocka_run_group_tests(tests, open_context, close_context);
}
