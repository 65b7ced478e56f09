/* apply.c - given variants of a picture, made by the context's backend. */
#include <math.h>

#include "augment/batch.h"
#include "picture/resize.h"
#include "picture/device_args.h"

enum { MAX_SIDE = SPADE_MAX_SIDE };

spade_status spade_augment_check_size(spade_context *context, const spade_preprocess *p)
{
    if (p->height < 1 || p->width < 1 || p->height > MAX_SIDE || p->width > MAX_SIDE) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "augmentation: variants of %lld x %lld pixels, must be 1 to %d a side", (long long)p->width,
                          (long long)p->height, MAX_SIDE);
    }
    if (p->channels < 1) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "augmentation: %lld channels", (long long)p->channels);
    }
    bool good = true;
    for (int c = 0; c < 3; c++) { good = good && isfinite(p->mean[c]) && isfinite(p->std[c]) && p->std[c] > 0.0; }
    if (good && isfinite(p->band_mean) && isfinite(p->band_std) && p->band_std > 0.0) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT,
                      "mean %g, %g, %g, %g, std %g, %g, %g, %g: must be finite, std above 0", p->mean[0], p->mean[1],
                      p->mean[2], p->band_mean, p->std[0], p->std[1], p->std[2], p->band_std);
}

static bool inside(int64_t first, int64_t size, int64_t whole)
{
    return first >= 0 && size >= 0 && size <= whole && first <= whole - size;
}

static spade_status check_variant(spade_context *context, const spade_preprocess *p, const spade_picture *picture,
                                  int64_t i, const spade_variant *v)
{
    if (v->height < 1 || v->width < 1 || !inside(v->top, v->height, picture->height) ||
        !inside(v->left, v->width, picture->width)) {
        return spade_fail(
            context, SPADE_ERROR_ARGUMENT,
            "variant %lld: the crop of %lld x %lld at (%lld, %lld) is not inside the picture of %lld x %lld",
            (long long)i, (long long)v->width, (long long)v->height, (long long)v->left, (long long)v->top,
            (long long)picture->width, (long long)picture->height);
    }
    if (!inside(v->erase[0], v->erase[2], p->height) || !inside(v->erase[1], v->erase[3], p->width)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "variant %lld: the erased box is not inside the result",
                          (long long)i);
    }
    if (!(v->brightness >= 0.0 && v->contrast >= 0.0 && v->saturation >= 0.0 && fabs(v->hue) <= 1.0 &&
          v->noise >= 0.0) ||
        !isfinite(v->brightness + v->contrast + v->saturation + v->noise)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "variant %lld: a colour factor or the noise is out of range",
                          (long long)i);
    }
    return SPADE_OK;
}

/* ---- the pictures on the device */

spade_status spade_augment_source_open(spade_context *context, const spade_preprocess *preprocess, int64_t height,
                                       int64_t width, spade_augment_source *out)
{
    const int64_t bands = preprocess->channels - spade_preprocess_colours(preprocess);
    *out = (spade_augment_source){.height = height, .width = width};
    out->bytes = (size_t)(height * width * 3) * sizeof(float);
    if (bands == 0) { return SPADE_OK; }
    out->bands = calloc((size_t)bands, sizeof *out->bands);
    if (!out->bands) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: %lld channels", (long long)bands);
    }
    out->band_count = bands;
    for (int64_t b = 0; b < bands; b++) {
        out->bands[b].mean = preprocess->band_mean;
        out->bands[b].std = preprocess->band_std;
    }
    return SPADE_OK;
}

void spade_augment_source_clear(spade_context *context, spade_augment_source *source)
{
    struct spade_device *device = context->device;
    if (source->colours) { device->backend->free(device, source->colours, source->bytes); }
    for (int64_t b = 0; b < source->band_count; b++) {
        float *picture = source->bands[b].picture;
        if (picture) { device->backend->free(device, picture, source->bytes); }
    }
    free(source->bands);
    *source = (spade_augment_source){0};
}

/* 8-bit RGB -> device memory, floats in [0, 1]. */
static spade_status upload(spade_context *context, const spade_picture *picture, float **out)
{
    spade_device *device = context->device;
    const int64_t n = picture->height * picture->width * 3;
    const size_t bytes = (size_t)n * sizeof(float);
    spade_device_arg pixels = {.in = picture->rgb, .bytes = (size_t)n};
    void *floats = NULL, *block = NULL;
    size_t block_bytes = 0;
    spade_status status;
    *out = NULL;
    SPADE_GOTO(device->backend->alloc(device, bytes, "a picture", &floats));
    SPADE_GOTO(spade_device_args_open(context, "a picture's bytes", &pixels, 1, &block, &block_bytes));
    SPADE_GOTO(device->backend->picture->to_floats(device, n, pixels.there, floats));
    *out = floats;
    floats = NULL;
done:
    spade_device_args_close(context, block, block_bytes);
    if (floats) { device->backend->free(device, floats, bytes); }
    return status;
}

spade_status spade_augment_source_upload(spade_context *context, const spade_preprocess *preprocess,
                                         const spade_picture *picture, spade_augment_source *source)
{
    spade_picture grey = {0}, alpha = {0};
    spade_status status;
    SPADE_GOTO(spade_picture_check_channels(context, preprocess, picture));
    if (preprocess->channels == 1) { SPADE_GOTO(spade_picture_grey(context, picture, &grey)); }
    SPADE_GOTO(upload(context, grey.rgb ? &grey : picture, &source->colours));
    if (source->band_count) {
        SPADE_GOTO(spade_picture_of_alpha(context, picture, &alpha));
        SPADE_GOTO(upload(context, &alpha, &source->bands[0].picture));
    }
done:
    free(grey.rgb);
    free(alpha.rgb);
    return status;
}

/* ---- variants */

spade_status spade_augment_make(spade_context *context, const spade_augment_source *source,
                                const spade_preprocess *preprocess, spade_variant *variants, int64_t count,
                                spade_layout layout, float *out)
{
    struct spade_device *device = context->device;
    const spade_backend_picture *picture = device->backend->picture;
    spade_augment_target to = {.out = out, .layout = layout, .channels = preprocess->channels};
    spade_preprocess part = *preprocess;
    part.channels = spade_preprocess_colours(preprocess);
    if (source->colours) {
        SPADE_TRY(
            picture->augment(device, source->colours, source->height, source->width, &part, variants, count, &to));
    }
    to.first = part.channels;
    part.channels = 1;
    part.bgr = false;
    for (int64_t b = 0; b < source->band_count; b++, to.first++) {
        const spade_augment_band *band = &source->bands[b];
        part.mean[0] = band->mean;
        part.std[0] = band->std;
        for (int64_t i = 0; i < count; i++) { variants[i].noise_key[3]++; } /* noise of its own */
        SPADE_TRY(picture->augment(device, band->picture, source->height, source->width, &part, variants, count, &to));
    }
    return SPADE_OK;
}

spade_status spade_augment_apply(spade_context *context, const spade_preprocess *given, const spade_picture *picture,
                                 const spade_variant *variants, int64_t count, float *out)
{
    const spade_backend *backend = context->device->backend;
    spade_preprocess own;
    const spade_preprocess *preprocess = &own;
    SPADE_TRY(spade_preprocess_take(context, given, &own));
    SPADE_TRY(spade_augment_check_size(context, preprocess));
    if (picture->height < 1 || picture->width < 1 || count < 0) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "augmentation: %lld variants of a picture of %lld x %lld pixels", (long long)count,
                          (long long)picture->width, (long long)picture->height);
    }
    for (int64_t i = 0; i < count; i++) { SPADE_TRY(check_variant(context, preprocess, picture, i, &variants[i])); }
    if (count == 0) { return SPADE_OK; }
    const size_t result_bytes =
        (size_t)(count * preprocess->channels * preprocess->height * preprocess->width) * sizeof(float);
    const size_t variant_bytes = (size_t)count * sizeof(spade_variant);
    spade_augment_source source = {0};
    void *result = NULL, *copies = NULL;
    spade_status status;
    SPADE_GOTO(spade_alloc(context, variant_bytes, "parameters of variants", &copies));
    memcpy(copies, variants, variant_bytes);
    SPADE_GOTO(spade_augment_source_open(context, preprocess, picture->height, picture->width, &source));
    SPADE_GOTO(spade_augment_source_upload(context, preprocess, picture, &source));
    SPADE_GOTO(backend->alloc(context->device, result_bytes, "variants of a picture", &result));
    SPADE_GOTO(spade_augment_make(context, &source, preprocess, copies, count, SPADE_ROW_MAJOR, result));
    SPADE_GOTO(backend->download(context->device, out, result, result_bytes));
    SPADE_GOTO(backend->synchronize(context->device));
done:
    spade_augment_source_clear(context, &source);
    spade_free_bytes(context, copies, variant_bytes);
    if (result) { backend->free(context->device, result, result_bytes); }
    return status;
}
