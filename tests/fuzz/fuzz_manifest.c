/* fuzz_manifest.c - any bytes as a data set's CSV file: one line says what is wrong, or every picture has a file and a name of its
 * own, which stays inside of the folder of results. */
#include "fuzz/target.h"
#include "workload/manifest.h"

static int by_text(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static void check_names(const spade_inputs *inputs)
{
    const char **names = calloc((size_t)inputs->count, sizeof *names);
    FUZZ_EXPECT(names != NULL, "out of memory");
    for (int i = 0; i < inputs->count; i++) {
        const spade_input *input = &inputs->items[i];
        FUZZ_EXPECT(*input->file && *input->name && input->position == i, "a picture without a name");
        FUZZ_EXPECT(*input->name != '.' && *input->name != '/', "a name that leads out of the folder");
        FUZZ_EXPECT(!strstr(input->name, "/../"), "a name that leads out of the folder");
        names[i] = input->name;
    }
    qsort((void *)names, (size_t)inputs->count, sizeof *names, by_text);
    for (int i = 1; i < inputs->count; i++) { FUZZ_EXPECT(strcmp(names[i], names[i - 1]) != 0, "a name twice"); }
    free((void *)names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spade_context *context = fuzz_context();
    const char *path = fuzz_file("manifest.csv", data, size);
    spade_inputs inputs;
    int64_t folders;
    if (fuzz_worked(context, spade_manifest_read(context, path, &inputs, &folders))) {
        FUZZ_EXPECT(folders == 0 && inputs.count > 0, "no pictures");
        check_names(&inputs);
    }
    spade_inputs_clear(&inputs);
    fuzz_context_end(context);
    return 0;
}
