/* test_reader.c - pictures and masks that change while they wait: the fingerprint is that of what was decoded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "workload/image_item.h"

enum { SIDE = 4, PIXELS = SIDE * SIDE };

/* Half of the pixels white: a picture of `value`, which is a mask as well. Put in the place of what is there, as editors do. */
static void put_picture(const char *path, uint8_t value)
{
    char temporary[128];
    uint8_t pixels[PIXELS];
    snprintf(temporary, sizeof temporary, "%s.new", path);
    for (int i = 0; i < PIXELS; i++) { pixels[i] = i < PIXELS / 2 ? 255 : value; }
    FILE *file = fopen(temporary, "wb");
    assert_non_null(file);
    fprintf(file, "P5 %d %d 255\n", SIDE, SIDE);
    assert_int_equal(fwrite(pixels, 1, PIXELS, file), PIXELS);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(temporary, path), 0);
}

static void test_replaced_while_it_waits(void **state)
{
    (void)state;
    spade_context *context;
    spade_preprocess preprocess;
    spade_image_item item;
    spade_status loaded;
    spade_input_fingerprint before, after;
    char *message, folder[] = "/tmp/spade-reader-XXXXXX", picture[64], mask[64];
    assert_non_null(mkdtemp(folder));
    snprintf(picture, sizeof picture, "%s/a.pgm", folder);
    snprintf(mask, sizeof mask, "%s/m.pgm", folder);
    put_picture(picture, 10);
    put_picture(mask, 20);
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    spade_preprocess_init(&preprocess, SIDE, SIDE);
    preprocess.resize = 0;
    const spade_input input = {
        .file = picture, .stem = picture, .name = picture, .title = picture, .index = -1, .mask = mask};
    spade_reader reader = {.context = context, .preprocess = &preprocess};

    assert_int_equal(spade_reader_fingerprint(&reader, &input, &before), SPADE_OK);
    assert_int_equal(spade_reader_prefetch(&reader, &input, 1), SPADE_OK);
    put_picture(picture, 30);
    if (context->threads > 1) { put_picture(mask, 100); } /* with one helper at a time it is opened later */
    assert_int_equal(spade_reader_load(&reader, &input, 1, &item, &loaded, &message), SPADE_OK);
    assert_int_equal(loaded, SPADE_OK);
    assert_int_equal(item.original.rgb[3 * PIXELS - 1], 10);
    assert_int_equal(item.mask[PIXELS - 1], 0);
    assert_string_equal(item.fingerprint.content, before.content);
    assert_string_equal(item.fingerprint.mask, before.mask);
    spade_image_item_clear(context, &item);

    assert_int_equal(spade_reader_fingerprint(&reader, &input, &after), SPADE_OK);
    assert_string_not_equal(after.content, before.content);
    assert_int_equal(spade_reader_load_one(&reader, &input, &item), SPADE_OK);
    assert_int_equal(item.original.rgb[3 * PIXELS - 1], 30);
    assert_string_equal(item.fingerprint.content, after.content);
    assert_string_equal(item.fingerprint.mask, after.mask);
    spade_image_item_clear(context, &item);

    spade_reader_close(&reader);
    spade_context_destroy(context);
    unlink(picture);
    unlink(mask);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_replaced_while_it_waits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
