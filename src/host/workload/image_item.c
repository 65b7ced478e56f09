/* image_item.c - one input: from a decoded picture or a tensor to what the network sees. */
#include "base/base.h"
#include "workload/image_item.h"

static size_t picture_bytes(const spade_picture *picture)
{
    return picture->rgb ? (size_t)(picture->height * picture->width) * (picture->alpha ? 4 : 3) : 0;
}

/* From now on the pictures count against the budget. */
static spade_status charge_pictures(spade_context *context, spade_image_item *item)
{
    size_t bytes = picture_bytes(&item->original) + picture_bytes(&item->preview);
    SPADE_TRY(spade_charge(context, bytes, "a picture"));
    item->charged = bytes;
    return SPADE_OK;
}

static spade_status open_input(spade_context *context, const spade_preprocess *preprocess, spade_image_item *item)
{
    item->input_bytes = sizeof *item->input * (size_t)(preprocess->channels * preprocess->height * preprocess->width);
    return spade_alloc(context, item->input_bytes, "a preprocessed picture", (void **)&item->input);
}

spade_status spade_image_item_from_picture(spade_context *context, const spade_preprocess *preprocess,
                                           const spade_input *input, spade_picture *picture, spade_image_item *item)
{
    spade_status status = SPADE_OK;
    *item = (spade_image_item){.original = *picture};
    *picture = (spade_picture){0};
    SPADE_GOTO(open_input(context, preprocess, item));
    status = spade_preprocess_apply(context, preprocess, &item->original, item->input, &item->preview);
    if (status != SPADE_OK) {
        spade_fail_in(context, status, "%s", input->file);
        goto done;
    }
    SPADE_GOTO(charge_pictures(context, item));
done:
    if (status != SPADE_OK) { spade_image_item_clear(context, item); }
    return status;
}

spade_status spade_image_item_from_tensor(spade_context *context, const spade_preprocess *preprocess,
                                          const float *tensor, spade_image_item *item)
{
    spade_status status = SPADE_OK;
    *item = (spade_image_item){0};
    SPADE_GOTO(open_input(context, preprocess, item));
    memcpy(item->input, tensor, item->input_bytes);
    SPADE_GOTO(spade_picture_from_tensor(context, preprocess, item->input, &item->preview));
    SPADE_GOTO(charge_pictures(context, item));
done:
    if (status != SPADE_OK) { spade_image_item_clear(context, item); }
    return status;
}

spade_status spade_image_item_set_mask(spade_context *context, const spade_preprocess *preprocess, const char *path,
                                       const spade_picture *picture, spade_image_item *item)
{
    spade_preprocess steps = *preprocess;
    const spade_picture *reference = &item->original;
    if (!item->original.rgb) { /* a tensor was resized by nobody here */
        reference = &item->preview;
        steps.resize = 0;
    }
    if (picture->height != reference->height || picture->width != reference->width) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: the mask is %lld x %lld pixels, its picture %lld x %lld",
                          path, (long long)picture->width, (long long)picture->height, (long long)reference->width,
                          (long long)reference->height);
    }
    int64_t pixels = preprocess->height * preprocess->width, inside = 0;
    item->mask = malloc((size_t)pixels);
    if (!item->mask) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    SPADE_TRY(spade_preprocess_mask(context, &steps, picture, item->mask));
    for (int64_t i = 0; i < pixels; i++) { inside += item->mask[i] != 0; }
    if (inside == 0 || inside == pixels) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: the mask is %s after resize and crop", path,
                          inside ? "full" : "empty");
    }
    return SPADE_OK;
}

void spade_image_item_clear(spade_context *context, spade_image_item *item)
{
    spade_release(context, item->charged);
    spade_picture_clear(&item->original);
    spade_picture_clear(&item->preview);
    spade_free_bytes(context, item->input, item->input_bytes);
    free(item->mask);
    *item = (spade_image_item){0};
}

spade_status spade_image_item_batch(spade_context *context, const spade_image_item *item,
                                    const spade_preprocess *preprocess, const spade_augment_options *augment,
                                    spade_batch **out)
{
    if (item->original.rgb) { return spade_batch_from_picture(context, &item->original, preprocess, augment, out); }
    return spade_batch_from_tensor(context, item->input, preprocess, augment, out);
}

spade_status spade_hold_out_variants(spade_context *context, spade_batch *batch, bool ready, const float *sample,
                                     const spade_trace_options *traces, int trace_count)
{
    enum { SHARE = 8 }; /* of given variants, one in so many */
    int64_t dims[4], count = SPADE_AUTO_HELD_OUT;
    bool any = false;
    for (int i = 0; i < trace_count; i++) { any = any || traces[i].sparsity == SPADE_SPARSITY_AUTO; }
    if (!any) { return SPADE_OK; }
    spade_batch_shape(batch, dims);
    if (ready && dims[0] < 2) {
        return spade_fail(
            context, SPADE_ERROR_INPUT,
            "--batch: one variant; an automatic sparsity is judged on variants that are held out: give more");
    }
    if (ready && dims[0] / SHARE < count) { count = dims[0] < SHARE ? 1 : dims[0] / SHARE; }
    return spade_batch_hold_out(context, batch, count, sample);
}
