/* .npy files: what is written is read back; types, orders and shapes that are not float32 in C order are named. */
#include <math.h>
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
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = "cpu";
    strcpy(f->path, "/tmp/spade-npy-XXXXXX");
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

static void write_npy(const fixture *f, const char *header, const void *data, size_t size)
{
    uint8_t start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)strlen(header), (uint8_t)(strlen(header) >> 8)};
    FILE *file = fopen(f->path, "wb");
    assert_non_null(file);
    fwrite(start, 1, sizeof start, file);
    fwrite(header, 1, strlen(header), file);
    fwrite(data, 1, size, file);
    fclose(file);
}

static void round_trip(void **state)
{
    fixture *f = *state;
    static const int64_t shapes[][4] = {{0}, {5}, {2, 3}, {1, 2, 3, 4}, {0, 3}};
    static const int ranks[] = {0, 1, 2, 4, 2};
    float data[24];
    for (int i = 0; i < 24; i++) { data[i] = (float)i * 0.37f - 3.0f; }
    for (size_t s = 0; s < 5; s++) {
        spade_array array;
        assert_int_equal(spade_array_save(f->context, f->path, data, ranks[s], shapes[s]), SPADE_OK);
        assert_int_equal(spade_array_load(f->context, f->path, 0, &array), SPADE_OK);
        assert_int_equal(array.rank, ranks[s]);
        for (int i = 0; i < ranks[s]; i++) { assert_int_equal(array.dims[i], shapes[s][i]); }
        assert_memory_equal(array.data, data, (size_t)spade_array_size(&array) * sizeof *data);
        spade_array_clear(&array);
        assert_null(array.data);
    }
}

static void float64_where_allowed(void **state)
{
    fixture *f = *state;
    double data[3] = {0.1, -2.0, 1e-3};
    spade_array array;
    write_npy(f, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }\n", data, sizeof data);
    assert_int_equal(spade_array_load(f->context, f->path, 1, &array), SPADE_OK);
    for (int i = 0; i < 3; i++) { assert_true(array.data[i] == (float)data[i]); }
    spade_array_clear(&array);
    assert_int_equal(spade_array_load(f->context, f->path, 0, &array), SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(f->context), "float64 ('<f8')"));
}

static void refused(fixture *f, const char *header, const char *says)
{
    static const float data[6];
    spade_array array;
    write_npy(f, header, data, sizeof data);
    assert_int_equal(spade_array_load(f->context, f->path, 0, &array), SPADE_ERROR_INPUT);
    if (!strstr(spade_message(f->context), says)) { fail_msg("'%s' is not in '%s'", says, spade_message(f->context)); }
    assert_non_null(strstr(spade_message(f->context), f->path));
    assert_null(array.data);
}

static void wrong_ones_are_named(void **state)
{
    fixture *f = *state;
    refused(f, "{'descr': '<f2', 'fortran_order': False, 'shape': (6,), }\n", "float16 ('<f2')");
    refused(f, "{'descr': '>f4', 'fortran_order': False, 'shape': (6,), }\n", "big-endian float32 ('>f4')");
    refused(f, "{'descr': '|u1', 'fortran_order': False, 'shape': (24,), }\n", "uint8 ('|u1')");
    refused(f, "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n", "('|O')");
    refused(f, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }\n", "structured");
    refused(f, "{'descr': '<f4 <f8', 'fortran_order': False, 'shape': (6,), }\n", "expected float32");
    refused(f, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n", "Fortran");
    refused(f, "{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }\n", "24 bytes of data, the shape needs 28");
    refused(f, "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }\n", "24 bytes of data, the shape needs 20");
    refused(f, "{'descr': '<f4', 'fortran_order': False, 'shape': (6), }\n", "malformed");
    refused(f, "{'descr': '<f4', 'fortran_order': False, 'shape': (-6,), }\n", "malformed");
    refused(f, "{'descr': '<f4', 'fortran_order': False}\n", "malformed");
    refused(f, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'x': 1}\n", "malformed");
    refused(f, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,6), }\n", "malformed");
    refused(f, "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 6), }\n", "overflows");
    refused(f, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }\n", "malformed");
}

static void not_finite_is_refused(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *shape;
        int at; /* of 24 numbers, the first that is not finite */
        double value;
        const char *says;
    } cases[] = {
        {"24,", 7, NAN, "element [7] is NaN"},
        {"2, 3, 2, 2", 23, NAN, "element [1, 2, 1, 1] (input, channel, row, column) is NaN"},
        {"2, 3, 2, 2", 13, -INFINITY, "element [1, 0, 0, 1] (input, channel, row, column) is infinite"},
        {"4, 6", 0, INFINITY, "element [0, 0] is infinite"},
        {"24, 1", 5, 1e39, "element [5, 0] is too large: no finite number in float32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double data[24] = {0};
        char header[128];
        spade_array array;
        for (int k = cases[i].at; k < 24; k++) { data[k] = cases[i].value; }
        snprintf(header, sizeof header, "{'descr': '<f8', 'fortran_order': False, 'shape': (%s), }\n", cases[i].shape);
        write_npy(f, header, data, sizeof data);
        assert_int_equal(spade_array_load(f->context, f->path, 1, &array), SPADE_ERROR_INPUT);
        if (!strstr(spade_message(f->context), cases[i].says)) { fail_msg("%s", spade_message(f->context)); }
        assert_null(array.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(float64_where_allowed),
        cmocka_unit_test(wrong_ones_are_named),
        cmocka_unit_test(not_finite_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
