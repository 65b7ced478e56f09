/* fuzz_array.c - any bytes as a .npy file: what can be read can be written, and is the same when it is read again; and as one
 * that says which superpixel each pixel is of. */
#include "fuzz/target.h"
#include "spade/array.h"
#include "store/labels.h"

static void write_and_read(spade_context *context, const spade_array *array)
{
    char path[512];
    spade_array again;
    snprintf(path, sizeof path, "%s/again.npy", fuzz_folder());
    spade_status status = spade_array_save(context, path, array->data, array->rank, array->dims);
    FUZZ_EXPECT(status == SPADE_OK, spade_message(context));
    status = spade_array_load(context, path, 0, &again);
    FUZZ_EXPECT(status == SPADE_OK, spade_message(context));
    FUZZ_EXPECT(again.rank == array->rank && memcmp(again.dims, array->dims, sizeof again.dims) == 0, "another shape");
    FUZZ_EXPECT(memcmp(again.data, array->data, (size_t)spade_array_size(array) * sizeof *array->data) == 0,
                "other numbers");
    spade_array_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spade_context *context = fuzz_context();
    const char *path = fuzz_file("array.npy", data, size);
    for (int allow_float64 = 0; allow_float64 < 2; allow_float64++) {
        spade_array array;
        if (fuzz_worked(context, spade_array_load(context, path, allow_float64, &array))) {
            write_and_read(context, &array);
        }
        spade_array_clear(&array);
    }
    spade_labels labels;
    (void)fuzz_worked(context, spade_labels_load(context, path, &labels));
    spade_labels_clear(context, &labels);
    fuzz_context_end(context);
    return 0;
}
