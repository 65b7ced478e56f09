/* sample.c - from a file to what the network sees. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "job/sample.h"

static spade_status load_array_entry(spade_context *context, const spade_preprocess *preprocess,
                                     const spade_input *input, spade_sample *sample)
{
    if (!sample->array_path || strcmp(sample->array_path, input->file) != 0) {
        spade_array_clear(&sample->array);
        free(sample->array_path);
        sample->array_path = strdup(input->file);
        if (!sample->array_path) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", input->file); }
        spade_status status = spade_array_load(context, input->file, 0, &sample->array);
        if (status == SPADE_OK) {
            status = spade_check_array(context, input->file, &sample->array, 3, preprocess->height, preprocess->width);
        }
        if (status != SPADE_OK) {
            free(sample->array_path);
            sample->array_path = NULL;
            return status;
        }
    }
    if (input->index >= sample->array.dims[0]) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: changed while it was read", input->file);
    }
    sample->input = sample->array.data + input->index * 3 * preprocess->height * preprocess->width;
    return spade_picture_from_tensor(context, preprocess, sample->input, &sample->shown);
}

static spade_status load_picture(spade_context *context, const spade_preprocess *preprocess, const spade_input *input,
                                 spade_sample *sample)
{
    SPADE_TRY(spade_picture_load(context, input->file, &sample->original));
    sample->owned_bytes = sizeof(float) * 3 * (size_t)(preprocess->height * preprocess->width);
    void *memory = NULL;
    SPADE_TRY(spade_alloc(context, sample->owned_bytes, "a preprocessed picture", &memory));
    sample->owned = memory;
    sample->input = sample->owned;
    spade_status status = spade_preprocess_apply(context, preprocess, &sample->original, sample->owned, &sample->shown);
    return status == SPADE_OK ? SPADE_OK : spade_fail_in(context, status, "%s", input->file);
}

/* The mask's file: itself, or NAME.png, or NAME_mask.png in the folder; *out NULL when the folder has none. malloc'ed.
 */
static spade_status find_mask(spade_context *context, const char *mask, const spade_input *input, char **out)
{
    struct stat info;
    *out = NULL;
    if (stat(mask, &info) != 0 || !S_ISDIR(info.st_mode)) {
        *out = strdup(mask);
        return *out ? SPADE_OK : spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", mask);
    }
    static const char *const endings[] = {".png", "_mask.png"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s/%s%s", mask, input->stem, endings[i]) < 0) {
            return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", mask);
        }
        if (access(path, F_OK) == 0) {
            *out = path;
            return SPADE_OK;
        }
        free(path);
    }
    return SPADE_OK;
}

static spade_status load_mask(spade_context *context, const spade_preprocess *preprocess, const spade_input *input,
                              const char *mask, spade_sample *sample)
{
    char *path = NULL;
    SPADE_TRY(find_mask(context, mask, input, &path));
    if (!path) { return SPADE_OK; }
    spade_status status = SPADE_OK;
    spade_picture picture = {0};
    spade_preprocess way = *preprocess;
    const spade_picture *like = &sample->original;
    if (!sample->original.rgb) { /* a ready input has no resize to follow */
        like = &sample->shown;
        way.resize = 0;
    }
    SPADE_GOTO(spade_picture_load(context, path, &picture));
    if (picture.height != like->height || picture.width != like->width) {
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_INPUT, "%s: the mask is %lldx%lld pixels, its picture %lldx%lld",
                              path, (long long)picture.height, (long long)picture.width, (long long)like->height,
                              (long long)like->width));
    }
    int64_t pixels = preprocess->height * preprocess->width, inside = 0;
    sample->mask = malloc((size_t)pixels);
    if (!sample->mask) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path)); }
    SPADE_GOTO(spade_preprocess_mask(context, &way, &picture, sample->mask));
    for (int64_t i = 0; i < pixels; i++) { inside += sample->mask[i] != 0; }
    if (inside == 0 || inside == pixels) {
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_INPUT, "%s: the mask is %s after resize and crop", path,
                              inside ? "full" : "empty"));
    }
done:
    spade_picture_clear(&picture);
    free(path);
    return status;
}

spade_status spade_sample_load(spade_context *context, const spade_preprocess *preprocess, const spade_input *input,
                               const char *mask, spade_sample *sample)
{
    spade_sample_reset(context, sample);
    spade_status status = input->index >= 0 ? load_array_entry(context, preprocess, input, sample)
                                            : load_picture(context, preprocess, input, sample);
    if (status == SPADE_OK && mask) { status = load_mask(context, preprocess, input, mask, sample); }
    if (status != SPADE_OK) { spade_sample_reset(context, sample); }
    return status;
}

void spade_sample_reset(spade_context *context, spade_sample *sample)
{
    spade_picture_clear(&sample->original);
    spade_picture_clear(&sample->shown);
    spade_free_bytes(context, sample->owned, sample->owned_bytes);
    free(sample->mask);
    sample->owned = NULL;
    sample->owned_bytes = 0;
    sample->input = NULL;
    sample->mask = NULL;
}

void spade_sample_clear(spade_context *context, spade_sample *sample)
{
    spade_sample_reset(context, sample);
    spade_array_clear(&sample->array);
    free(sample->array_path);
    sample->array_path = NULL;
}

spade_status spade_sample_batch(spade_context *context, const spade_sample *sample, const spade_preprocess *preprocess,
                                const spade_augment_options *augment, spade_batch **out)
{
    if (sample->original.rgb) { return spade_batch_from_picture(context, &sample->original, preprocess, augment, out); }
    return spade_batch_from_tensor(context, sample->input, preprocess, augment, out);
}
