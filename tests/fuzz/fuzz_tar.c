/* fuzz_tar.c - any bytes as a tar of samples: one line says what is wrong, or every row has a name and a picture or an error, the same
 * forwards and backwards. */
#include "fuzz/target.h"
#include "workload/samples.h"

enum { MOST_ROWS = 64 };

/* In few bytes, what a row is. */
static uint64_t sum(const spade_sample *sample)
{
    char *columns = spade_json_dump(sample->columns, JSON_COMPACT);
    FUZZ_EXPECT(columns != NULL, "no columns");
    uint64_t hash = spade_hash(columns, strlen(columns), sample->error != NULL);
    hash = spade_hash(sample->bytes.picture.data, sample->bytes.picture.size, hash);
    free(columns);
    return spade_hash(sample->bytes.mask.data, sample->bytes.mask.size, hash);
}

static void check_sample(const spade_sample *sample, int64_t row)
{
    FUZZ_EXPECT(sample->row == row && sample->key && *sample->key && sample->file, "a row without a name");
    FUZZ_EXPECT(sample->error || sample->bytes.picture.data, "a row without a picture or an error");
    FUZZ_EXPECT(!sample->bytes.mask.data || sample->mask, "a mask without a name");
    FUZZ_EXPECT(*spade_json_text_at(sample->columns, "image") && json_object_get(sample->columns, "__key__"),
                "a row without columns");
}

static void check_rows(spade_context *context, spade_samples *samples)
{
    uint64_t sums[MOST_ROWS];
    const int64_t rows = samples->count < MOST_ROWS ? samples->count : MOST_ROWS;
    bool known[MOST_ROWS] = {false};
    for (int64_t i = 0; i < 2 * rows; i++) {
        const int64_t row = i < rows ? i : 2 * rows - 1 - i;
        const spade_sample *sample;
        if (!fuzz_worked(context, spade_samples_take(samples, row, &sample))) { continue; }
        check_sample(sample, row);
        FUZZ_EXPECT(!known[row] || sums[row] == sum(sample), "a row is another one when it is read again");
        sums[row] = sum(sample);
        known[row] = true;
        spade_samples_release(samples, row);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spade_context *context = fuzz_context();
    const char *path = fuzz_file("x.tar", data, size);
    spade_tar_list tars;
    spade_samples samples;
    FUZZ_EXPECT(fuzz_worked(context, spade_tar_list_find(context, path, &tars)) && tars.count == 1, "no list");
    if (fuzz_worked(context, spade_samples_open(context, path, &tars, NULL, &samples))) {
        FUZZ_EXPECT(samples.count > 0 && samples.of_tar[1].first == samples.count, "no samples");
        check_rows(context, &samples);
        spade_samples_close(&samples);
    }
    fuzz_context_end(context);
    return 0;
}
