/* batch.c - the variants that a trace is solved on: ready ones, or drawn from a picture that stays on the device. */
#include <math.h>

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
    if (!data) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "no variants"); }
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
    batch->hash = spade_picture_hash(picture);
    spade_status status =
        spade_augment_source_open(context, &batch->preprocess, picture->height, picture->width, &batch->source);
    if (status == SPADE_OK) {
        status = spade_augment_source_upload(context, &batch->preprocess, picture, &batch->source);
    }
    if (status != SPADE_OK) {
        spade_batch_destroy(batch);
        *out = NULL;
    }
    return status;
}

/* planes: the normalised channels [colours, pixels] -> rgb [pixels, 3] as they were before, within [0, 1]; grey is repeated.
 * Returns the share of the values that are cut off there, by more than rounding and a resampling's overshoot. */
static double fill_colours(const spade_preprocess *preprocess, const float *planes, int64_t pixels, float *rgb)
{
    static const double slack = 0.1;
    int64_t cut = 0;
    for (int c = 0; c < 3; c++) {
        const int channel = spade_preprocess_plane(preprocess, c);
        const double mean = spade_preprocess_mean(preprocess, channel), std = spade_preprocess_std(preprocess, channel);
        for (int64_t i = 0; i < pixels; i++) {
            const double value = (double)planes[channel * pixels + i] * std + mean;
            cut += value < -slack || value > 1 + slack;
            rgb[3 * i + c] = (float)(value > 0.0 ? value < 1.0 ? value : 1.0 : 0.0);
        }
    }
    return (double)cut / (double)(3 * pixels);
}

static void warn_of_cut(spade_context *context, double share)
{
    static const double most = 0.01;
    if (share <= most) { return; }
    spade_log(context, SPADE_LOG_WARNING,
              "%.0f %% of the input's values are none that its mean and std make of a picture, and are cut off in its "
              "variants: the trace is that of another picture; say the network's own (--mean, --std, --preprocess)",
              100 * share);
}

/* The same of a channel that is no colour, which keeps all of its values. */
static void fill_band(const float *plane, int64_t pixels, float *rgb, spade_augment_band *band)
{
    const spade_range range = spade_band_range(plane, pixels, band->mean, band->std);
    const double width = range.high - range.low;
    for (int64_t i = 0; i < pixels; i++) {
        const double value = ((double)plane[i] * band->std + band->mean - range.low) / width;
        rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = (float)(value > 0.0 ? value < 1.0 ? value : 1.0 : 0.0);
    }
    band->mean = (band->mean - range.low) / width;
    band->std /= width;
}

/* host -> a picture of its own on the device */
static spade_status upload(spade_context *context, const float *rgb, size_t bytes, float **out)
{
    const spade_backend *backend = context->device->backend;
    void *device;
    SPADE_TRY(backend->alloc(context->device, bytes, "a picture", &device));
    *out = device;
    return backend->upload(context->device, device, rgb, bytes);
}

spade_status spade_batch_from_tensor(spade_context *context, const float *input, const spade_preprocess *given,
                                     const spade_augment_options *options, spade_batch **out)
{
    SPADE_TRY(begin(context, given, options, out));
    spade_batch *batch = *out;
    const spade_preprocess *preprocess = &batch->preprocess;
    const int64_t values = preprocess->channels * preprocess->height * preprocess->width;
    spade_augment_source *source = &batch->source;
    const int64_t colours = spade_preprocess_colours(preprocess), size[2] = {preprocess->width, preprocess->height};
    const int64_t pixels = size[0] * size[1];
    size_t bytes = 0;
    void *rgb = NULL;
    spade_status status;
    for (int64_t i = 0; i < values; i++) {
        if (isfinite(input[i])) { continue; }
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_INPUT, "the input's value %lld is %s", (long long)i,
                              isnan(input[i]) ? "NaN" : "infinite"));
    }
    batch->hash = spade_hash(size, sizeof size, 1);
    SPADE_GOTO(spade_augment_source_open(context, preprocess, size[1], size[0], source));
    bytes = source->bytes;
    SPADE_GOTO(spade_alloc(context, bytes, "a picture", &rgb));
    if (colours) {
        warn_of_cut(context, fill_colours(preprocess, input, pixels, rgb));
        batch->hash = spade_hash(rgb, bytes, batch->hash);
        SPADE_GOTO(upload(context, rgb, bytes, &source->colours));
    }
    for (int64_t b = 0; b < source->band_count; b++) {
        fill_band(input + (colours + b) * pixels, pixels, rgb, &source->bands[b]);
        batch->hash = spade_hash(rgb, bytes, batch->hash);
        SPADE_GOTO(upload(context, rgb, bytes, &source->bands[b].picture));
    }
done:
    spade_free_bytes(context, rgb, bytes);
    if (status != SPADE_OK) {
        spade_batch_destroy(batch);
        *out = NULL;
    }
    return status;
}

void spade_batch_destroy(spade_batch *batch)
{
    if (!batch) { return; }
    spade_augment_source_clear(batch->context, &batch->source);
    spade_free_bytes(batch->context, batch->sample, batch->sample_bytes);
    free(batch);
}

void spade_batch_shape(const spade_batch *batch, int64_t dims[4])
{
    memcpy(dims, batch->dims, sizeof batch->dims);
}

spade_status spade_batch_hold_out(spade_context *context, spade_batch *batch, int64_t count, const float *sample)
{
    const int64_t most = batch->ready ? batch->dims[0] + batch->held_out - 1 : SPADE_MAX_VARIANTS;
    const size_t bytes = (size_t)(batch->dims[1] * batch->dims[2] * batch->dims[3]) * sizeof(float);
    void *copy = NULL;
    if (count < 0 || count > most) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%lld variants cannot be held out, of %lld", (long long)count,
                          (long long)(batch->dims[0] + batch->held_out));
    }
    if (sample) {
        SPADE_TRY(spade_alloc(context, bytes, "a sample", &copy));
        memcpy(copy, sample, bytes);
    }
    spade_free_bytes(batch->context, batch->sample, batch->sample_bytes);
    batch->sample = copy;
    batch->sample_bytes = copy ? bytes : 0;
    if (batch->ready) { batch->dims[0] += batch->held_out - count; }
    batch->held_out = count;
    return SPADE_OK;
}

static spade_status check_range(spade_context *context, const spade_batch *batch, int64_t first, int64_t count)
{
    const int64_t all = batch->dims[0] + batch->held_out;
    if (first >= 0 && count >= 0 && count <= all && first <= all - count) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "variants %lld + %lld of a batch of %lld", (long long)first,
                      (long long)count, (long long)all);
}

/* A value that is not finite gets lost on its way (ReLU makes 0 of NaN) and would leave a trace of something else. first: the number of
 * the first of these variants; size: values of each. */
static spade_status check_finite(spade_context *context, const float *values, int64_t first, int64_t count,
                                 int64_t size)
{
    for (int64_t i = 0; i < count * size; i++) {
        if (isfinite(values[i])) { continue; }
        return spade_fail(context, SPADE_ERROR_INPUT, "variant %lld: value %lld is %s", (long long)(first + i / size),
                          (long long)(i % size), isnan(values[i]) ? "NaN" : "infinite");
    }
    return SPADE_OK;
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
    SPADE_TRY(check_finite(context, from, first, count, size));
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
    const spade_augment_source *source = &batch->source;
    spade_augment_draw_hashed(&batch->options, batch->hash, source->height, source->width, batch->dims[2],
                              batch->dims[3], first, count, variants);
    spade_status status = spade_augment_make(context, source, &batch->preprocess, variants, count, layout, out);
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
