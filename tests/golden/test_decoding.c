/*
 * test_decoding.c - pictures of every kind that is decoded, against what Pillow 13 makes of them, to the bit: NAME.ppm is
 * Image.open(NAME).convert("RGB"). (Pillow 9.4 gives the same, but for a number that a short palette does not have.) And
 * masks: the same rectangle in many forms.
 */
#include <dirent.h>

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
    const struct CMUnitTest tests[] = {cmocka_unit_test(equal_to_pillow), cmocka_unit_test(masks)};
    return cmocka_run_group_tests(tests, open_context, close_context);
}
