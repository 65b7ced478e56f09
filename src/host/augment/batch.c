/* batch.c - the variants that a trace is solved on: ready ones, or drawn from a picture that stays on the device. */
#include "augment/batch.h"
#include "picture/resize.h"

static spade_status new_batch(spade_context *context, spade_batch **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a batch"); }
    (*out)->context = context;
    return SPADE_OK;
}

spade_status spade_batch_from_array(spade_context *context, const float *data, int64_t n, int64_t channels,
                                    int64_t height, int64_t width, spade_batch **out)
{
    int64_t dims[4] = {n, channels, height, width}, size;
    *out = NULL;
    if (n < 1 || channels < 1 || height < 1 || width < 1 || !spade_mul_dims(dims, 4, &size) || size > INT64_MAX / 4) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "a batch of shape [%lld, %lld, %lld, %lld] is not one of variants", (long long)n,
                          (long long)channels, (long long)height, (long long)width);
    }
    SPADE_TRY(new_batch(context, out));
    memcpy((*out)->dims, dims, sizeof dims);
    (*out)->ready = data;
    return SPADE_OK;
}

static spade_status begin(spade_context *context, const spade_preprocess *preprocess,
                          const spade_augment_options *options, spade_batch **out)
{
    spade_augment_options own_options;
    spade_preprocess own_preprocess;
    *out = NULL;
    SPADE_TRY(spade_augment_take_options(context, options, &own_options));
    SPADE_TRY(spade_preprocess_take(context, preprocess, &own_preprocess));
    SPADE_TRY(spade_augment_check_size(context, &own_preprocess));
    SPADE_TRY(new_batch(context, out));
    spade_batch *batch = *out;
    batch->preprocess = own_preprocess;
    batch->options = own_options;
    batch->dims[0] = own_options.variants;
    batch->dims[1] = own_preprocess.channels;
    batch->dims[2] = own_preprocess.height;
    batch->dims[3] = own_preprocess.width;
    return SPADE_OK;
}

spade_status spade_batch_from_picture(spade_context *context, const spade_picture *picture,
                                      const spade_preprocess *preprocess, const spade_augment_options *options,
                                      spade_batch **out)
{
    *out = NULL;
    if (picture->height < 1 || picture->width < 1) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "augmentation: a picture without pixels");
    }
    SPADE_TRY(begin(context, preprocess, options, out));
    spade_batch *batch = *out;
    batch->picture_height = picture->height;
    batch->picture_width = picture->width;
    batch->hash = spade_picture_hash(picture);
    spade_picture grey = {0};
    spade_status status = batch->dims[1] == 1 ? spade_picture_grey(context, picture, &grey) : SPADE_OK;
    if (status == SPADE_OK) {
        status = spade_augment_upload(context, grey.rgb ? &grey : picture, &batch->picture, &batch->picture_bytes);
    }
    free(grey.rgb);
    if (status != SPADE_OK) {
        spade_batch_destroy(batch);
        *out = NULL;
    }
    return status;
}

spade_status spade_batch_from_tensor(spade_context *context, const float *input, const spade_preprocess *given,
                                     const spade_augment_options *options, spade_batch **out)
{
    SPADE_TRY(begin(context, given, options, out));
    const spade_preprocess *preprocess = &(*out)->preprocess;
    const spade_backend *backend = context->device->backend;
    spade_batch *batch = *out;
    int64_t pixels = preprocess->height * preprocess->width, size[2] = {preprocess->width, preprocess->height};
    size_t bytes = (size_t)pixels * 3 * sizeof(float);
    void *host = NULL, *device = NULL;
    spade_status status;
    batch->picture_height = preprocess->height;
    batch->picture_width = preprocess->width;
    batch->picture_bytes = bytes;
    SPADE_GOTO(spade_alloc(context, bytes, "a picture", &host));
    SPADE_GOTO(backend->alloc(context->device, bytes, "a picture", &device));
    batch->picture = device;
    float *rgb = host;
    for (int64_t i = 0; i < pixels; i++) {
        for (int c = 0; c < 3; c++) {
            const int of = preprocess->channels == 1 ? 0 : c;
            const float *plane = input + spade_preprocess_plane(preprocess, c) * pixels;
            double value = (double)plane[i] * preprocess->std[of] + preprocess->mean[of];
            rgb[3 * i + c] = (float)(value > 0.0 ? value < 1.0 ? value : 1.0 : 0.0);
        }
    }
    batch->hash = spade_hash(rgb, bytes, spade_hash(size, sizeof size, 1));
    SPADE_GOTO(backend->upload(context->device, batch->picture, rgb, bytes));
done:
    spade_free_bytes(context, host, bytes);
    if (status != SPADE_OK) {
        spade_batch_destroy(batch);
        *out = NULL;
    }
    return status;
}

void spade_batch_destroy(spade_batch *batch)
{
    if (!batch) { return; }
    struct spade_device *device = batch->context->device;
    if (batch->picture) { device->backend->free(device, batch->picture, batch->picture_bytes); }
    free(batch);
}

void spade_batch_shape(const spade_batch *batch, int64_t dims[4])
{
    memcpy(dims, batch->dims, sizeof batch->dims);
}

static spade_status check_range(spade_context *context, const spade_batch *batch, int64_t first, int64_t count)
{
    if (first >= 0 && count >= 0 && count <= batch->dims[0] && first <= batch->dims[0] - count) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "variants %lld + %lld of a batch of %lld", (long long)first,
                      (long long)count, (long long)batch->dims[0]);
}

/* Ready variants -> device memory. Channels last: transposed on the host on the way. */
static spade_status upload_ready(spade_context *context, const spade_batch *batch, int64_t first, int64_t count,
                                 spade_layout layout, float *out)
{
    const spade_backend *backend = context->device->backend;
    int64_t channels = batch->dims[1], pixels = batch->dims[2] * batch->dims[3], size = channels * pixels;
    size_t bytes = (size_t)(count * size) * sizeof(float);
    const float *from = batch->ready + first * size;
    void *transposed = NULL;
    spade_status status;
    if (layout == SPADE_CHANNELS_LAST && channels > 1) {
        SPADE_TRY(spade_alloc(context, bytes, "variants", &transposed));
        float *to = transposed;
        for (int64_t i = 0; i < count; i++) {
            for (int64_t p = 0; p < pixels; p++) {
                for (int64_t c = 0; c < channels; c++) { *to++ = from[i * size + c * pixels + p]; }
            }
        }
        from = transposed;
    }
    SPADE_GOTO(backend->upload(context->device, out, from, bytes));
done:
    spade_free_bytes(context, transposed, bytes);
    return status;
}

spade_status spade_batch_read_device(spade_context *context, const spade_batch *batch, int64_t first, int64_t count,
                                     spade_layout layout, float *out)
{
    SPADE_TRY(check_range(context, batch, first, count));
    if (count == 0) { return SPADE_OK; }
    if (batch->ready) { return upload_ready(context, batch, first, count, layout, out); }
    spade_variant *variants = malloc((size_t)count * sizeof *variants);
    if (!variants) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: parameters of %lld variants", (long long)count);
    }
    spade_augment_draw_hashed(&batch->options, batch->hash, batch->picture_height, batch->picture_width, batch->dims[2],
                              batch->dims[3], first, count, variants);
    spade_status status = context->device->backend->picture->augment(context->device, batch->picture,
                                                                     batch->picture_height, batch->picture_width,
                                                                     &batch->preprocess, variants, count, layout, out);
    free(variants);
    return status;
}

spade_status spade_batch_read(spade_context *context, const spade_batch *batch, int64_t first, int64_t count,
                              float *out)
{
    const spade_backend *backend = context->device->backend;
    SPADE_TRY(check_range(context, batch, first, count));
    size_t bytes = (size_t)(count * batch->dims[1] * batch->dims[2] * batch->dims[3]) * sizeof(float);
    if (batch->ready || count == 0) {
        int64_t size = batch->dims[1] * batch->dims[2] * batch->dims[3];
        if (count > 0) { memcpy(out, batch->ready + first * size, bytes); }
        return SPADE_OK;
    }
    void *device = NULL;
    spade_status status;
    SPADE_GOTO(backend->alloc(context->device, bytes, "variants of a picture", &device));
    SPADE_GOTO(spade_batch_read_device(context, batch, first, count, SPADE_ROW_MAJOR, device));
    SPADE_GOTO(backend->download(context->device, out, device, bytes));
    SPADE_GOTO(backend->synchronize(context->device));
done:
    if (device) { backend->free(context->device, device, bytes); }
    return status;
}
