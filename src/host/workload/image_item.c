/* image_item.c - one input: from a decoded picture or a ready tensor to what the network sees. */
#include "base/base.h"
#include "workload/image_item.h"

static size_t picture_bytes(const spade_picture *picture)
{
    return picture->rgb ? (size_t)(picture->height * picture->width) * 3 : 0;
}

/* The pictures are there: from now on they count. */
static spade_status charge_pictures(spade_context *context, spade_sample *sample)
{
    size_t bytes = picture_bytes(&sample->original) + picture_bytes(&sample->shown);
    SPADE_TRY(spade_charge(context, bytes, "a picture"));
    sample->charged = bytes;
    return SPADE_OK;
}

static spade_status open_input(spade_context *context, const spade_preprocess *preprocess, spade_sample *sample)
{
    sample->input_bytes = sizeof *sample->input * 3 * (size_t)(preprocess->height * preprocess->width);
    return spade_alloc(context, sample->input_bytes, "a preprocessed picture", (void **)&sample->input);
}

spade_status spade_sample_from_picture(spade_context *context, const spade_preprocess *preprocess,
                                       const spade_input *input, spade_picture *picture, spade_sample *sample)
{
    spade_status status = SPADE_OK;
    *sample = (spade_sample){.original = *picture};
    *picture = (spade_picture){0};
    SPADE_GOTO(open_input(context, preprocess, sample));
    status = spade_preprocess_apply(context, preprocess, &sample->original, sample->input, &sample->shown);
    if (status != SPADE_OK) {
        spade_fail_in(context, status, "%s", input->file);
        goto done;
    }
    SPADE_GOTO(charge_pictures(context, sample));
done:
    if (status != SPADE_OK) { spade_sample_clear(context, sample); }
    return status;
}

spade_status spade_sample_from_tensor(spade_context *context, const spade_preprocess *preprocess, const float *ready,
                                      spade_sample *sample)
{
    spade_status status = SPADE_OK;
    *sample = (spade_sample){0};
    SPADE_GOTO(open_input(context, preprocess, sample));
    memcpy(sample->input, ready, sample->input_bytes);
    SPADE_GOTO(spade_picture_from_tensor(context, preprocess, sample->input, &sample->shown));
    SPADE_GOTO(charge_pictures(context, sample));
done:
    if (status != SPADE_OK) { spade_sample_clear(context, sample); }
    return status;
}

spade_status spade_sample_set_mask(spade_context *context, const spade_preprocess *preprocess, const char *path,
                                   const spade_picture *picture, spade_sample *sample)
{
    spade_preprocess way = *preprocess;
    const spade_picture *like = &sample->original;
    if (!sample->original.rgb) { /* a ready input has no resize to follow */
        like = &sample->shown;
        way.resize = 0;
    }
    if (picture->height != like->height || picture->width != like->width) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: the mask is %lldx%lld pixels, its picture %lldx%lld", path,
                          (long long)picture->height, (long long)picture->width, (long long)like->height,
                          (long long)like->width);
    }
    int64_t pixels = preprocess->height * preprocess->width, inside = 0;
    sample->mask = malloc((size_t)pixels);
    if (!sample->mask) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    SPADE_TRY(spade_preprocess_mask(context, &way, picture, sample->mask));
    for (int64_t i = 0; i < pixels; i++) { inside += sample->mask[i] != 0; }
    if (inside == 0 || inside == pixels) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: the mask is %s after resize and crop", path,
                          inside ? "full" : "empty");
    }
    return SPADE_OK;
}

void spade_sample_clear(spade_context *context, spade_sample *sample)
{
    spade_release(context, sample->charged);
    spade_picture_clear(&sample->original);
    spade_picture_clear(&sample->shown);
    spade_free_bytes(context, sample->input, sample->input_bytes);
    free(sample->mask);
    *sample = (spade_sample){0};
}

spade_status spade_sample_batch(spade_context *context, const spade_sample *sample, const spade_preprocess *preprocess,
                                const spade_augment_options *augment, spade_batch **out)
{
    if (sample->original.rgb) { return spade_batch_from_picture(context, &sample->original, preprocess, augment, out); }
    return spade_batch_from_tensor(context, sample->input, preprocess, augment, out);
}
