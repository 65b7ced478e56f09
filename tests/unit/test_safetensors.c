/* test_safetensors.c - the .safetensors writer: layout of the file, odd names, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <unistd.h>

#include "store/safetensors.h"

typedef struct fixture {
    spade_context *context;
    char path[64];
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    strcpy(f->path, "/tmp/spade-safetensors-XXXXXX");
    int fd = mkstemp(f->path);
    if (fd < 0) { return -1; }
    close(fd);
    return spade_context_create(NULL, &f->context) == SPADE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    fixture *f = *state;
    unlink(f->path);
    spade_context_destroy(f->context);
    free(f);
    return 0;
}

static void layout(void **state)
{
    fixture *f = *state;
    static const float a[] = {1, 2, 3, 4, 5, 6}, b[] = {7};
    static const char odd[] = "odd \"name\"\n\\ \xc3\xa9"; /* quotes, newline, backslash, e acute */
    const safetensors_tensor tensors[] = {
        {"a.weight", a, 2, {2, 3}}, {odd, b, 0, {0}}, {"empty", NULL, 2, {0, 4}}, {"last", b, 1, {1}}};
    const safetensors_metadata metadata[] = {{"sparsity", "0.5"}, {"format", "pt"}};
    assert_int_equal(safetensors_write(f->context, tensors, 4, metadata, 2, f->path), SPADE_OK);
    spade_mapping file;
    assert_int_equal(spade_map_file(f->context, f->path, 1 << 20, &file), SPADE_OK);
    uint64_t length;
    memcpy(&length, file.data, 8);
    assert_int_equal(length % 8, 0);
    assert_int_equal(file.size, 8 + length + 8 * sizeof(float));
    json_t *header = json_loadb((const char *)file.data + 8, length, 0, NULL);
    assert_non_null(header);
    assert_int_equal(json_object_size(header), 5);
    assert_string_equal(json_string_value(json_object_get(json_object_get(header, "__metadata__"), "sparsity")), "0.5");
    static const int64_t expected[4][2] = {{0, 24}, {24, 28}, {28, 28}, {28, 32}};
    for (int i = 0; i < 4; i++) {
        json_t *entry = json_object_get(header, tensors[i].name), *shape = json_object_get(entry, "shape");
        json_t *offsets = json_object_get(entry, "data_offsets");
        assert_string_equal(json_string_value(json_object_get(entry, "dtype")), "F32");
        assert_int_equal(json_array_size(shape), tensors[i].rank);
        for (int k = 0; k < tensors[i].rank; k++) {
            assert_int_equal(json_integer_value(json_array_get(shape, (size_t)k)), tensors[i].dims[k]);
        }
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(json_integer_value(json_array_get(offsets, k)), expected[i][k]);
        }
    }
    assert_memory_equal(file.data + 8 + length, a, sizeof a);
    assert_memory_equal(file.data + 8 + length + 28, b, sizeof b);
    json_decref(header);
    spade_unmap(&file);
}

static void refusals(void **state)
{
    fixture *f = *state;
    static const float a[] = {1};
    const safetensors_tensor twice[] = {{"a", a, 1, {1}}, {"a", a, 1, {1}}}, reserved = {"__metadata__", a, 1, {1}};
    const safetensors_tensor latin = {"\xe9", a, 1, {1}}, negative = {"a", a, 1, {-1}};
    const safetensors_tensor huge = {"a", a, 3, {INT64_C(1) << 31, INT64_C(1) << 31, 4}};
    assert_int_equal(safetensors_write(f->context, twice, 2, NULL, 0, f->path), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(f->context), "'a' is taken"));
    assert_int_equal(safetensors_write(f->context, &reserved, 1, NULL, 0, f->path), SPADE_ERROR_ARGUMENT);
    assert_int_equal(safetensors_write(f->context, &latin, 1, NULL, 0, f->path), SPADE_ERROR_INPUT);
    assert_int_equal(safetensors_write(f->context, &negative, 1, NULL, 0, f->path), SPADE_ERROR_ARGUMENT);
    assert_int_equal(safetensors_write(f->context, &huge, 1, NULL, 0, f->path), SPADE_ERROR_ARGUMENT);
    assert_int_equal(safetensors_write(f->context, twice, 1, NULL, 0, "/no/such/folder/a.safetensors"), SPADE_ERROR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(layout, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
