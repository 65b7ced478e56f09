/* Broken .npy files: cut at every byte, every byte changed, too large a header. An error that names the file, or the
 * same data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "spade/array.h"

typedef struct fixture {
    spade_context *context;
    char path[64];
    uint8_t bytes[256];
    size_t size;
} fixture;

static void write_bytes(const fixture *f, const void *bytes, size_t size)
{
    FILE *file = fopen(f->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = "cpu";
    strcpy(f->path, "/tmp/spade-npy-XXXXXX");
    close(mkstemp(f->path));
    *state = f;
    if (spade_context_create(&options, &f->context) != SPADE_OK) { return 1; }
    const float data[6] = {1, 2, 3, 4, 5, 6};
    const int64_t dims[2] = {2, 3};
    if (spade_array_save(f->context, f->path, data, 2, dims) != SPADE_OK) { return 1; }
    FILE *file = fopen(f->path, "rb");
    f->size = fread(f->bytes, 1, sizeof f->bytes, file);
    fclose(file);
    return f->size != 128 + 24;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    unlink(f->path);
    spade_context_destroy(f->context);
    free(f);
    return 0;
}

static spade_status load(fixture *f, spade_array *array)
{
    spade_status status = spade_array_load(f->context, f->path, 1, array);
    if (status != SPADE_OK) {
        assert_int_equal(status, SPADE_ERROR_INPUT);
        assert_non_null(strstr(spade_message(f->context), f->path));
        assert_null(strchr(spade_message(f->context), '\n'));
        assert_null(array->data);
    }
    return status;
}

static void cut_everywhere(void **state)
{
    fixture *f = *state;
    spade_array array;
    for (size_t size = 0; size < f->size; size++) {
        write_bytes(f, f->bytes, size);
        assert_int_equal(load(f, &array), SPADE_ERROR_INPUT);
    }
    uint8_t longer[257];
    memcpy(longer, f->bytes, f->size);
    longer[f->size] = 0;
    write_bytes(f, longer, f->size + 1);
    assert_int_equal(load(f, &array), SPADE_ERROR_INPUT);
}

static void changed_everywhere(void **state)
{
    fixture *f = *state;
    for (size_t at = 0; at < f->size; at++) {
        uint8_t old = f->bytes[at];
        for (int value = 0; value < 256; value += 23) {
            spade_array array;
            f->bytes[at] = (uint8_t)value;
            write_bytes(f, f->bytes, f->size);
            if (load(f, &array) == SPADE_OK) {
                assert_int_equal(spade_array_size(&array) == 6 || spade_array_size(&array) == 3, 1);
                spade_array_clear(&array);
            }
        }
        f->bytes[at] = old;
    }
}

static void large_headers(void **state)
{
    fixture *f = *state;
    spade_array array;
    uint8_t head[12] = {0x93, 'N', 'U', 'M', 'P', 'Y', 2, 0, 0xff, 0xff, 0xff, 0xff};
    write_bytes(f, head, sizeof head);
    assert_int_equal(load(f, &array), SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(f->context), "the limit is 65536"));
    head[6] = 9;
    write_bytes(f, head, sizeof head);
    assert_int_equal(load(f, &array), SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(f->context), "format 9.0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_everywhere),
        cmocka_unit_test(changed_everywhere),
        cmocka_unit_test(large_headers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
