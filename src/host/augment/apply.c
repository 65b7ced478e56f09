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
    if (p->channels != 1 && p->channels != 3) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "augmentation: %lld channels, there are 1 and 3",
                          (long long)p->channels);
    }
    for (int c = 0; c < 3; c++) {
        if (!isfinite(p->mean[c]) || !isfinite(p->std[c]) || p->std[c] <= 0.0) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT, "mean %g, std %g: must be finite, std above 0", p->mean[c],
                              p->std[c]);
        }
    }
    return SPADE_OK;
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

spade_status spade_augment_upload(spade_context *context, const spade_picture *picture, float **out, size_t *bytes)
{
    spade_device *device = context->device;
    const int64_t n = picture->height * picture->width * 3;
    spade_device_arg pixels = {.in = picture->rgb, .bytes = (size_t)n};
    void *floats = NULL, *block = NULL;
    size_t block_bytes = 0;
    spade_status status;
    *out = NULL;
    *bytes = (size_t)n * sizeof(float);
    SPADE_GOTO(device->backend->alloc(device, *bytes, "a picture", &floats));
    SPADE_GOTO(spade_device_args_open(context, "a picture's bytes", &pixels, 1, &block, &block_bytes));
    SPADE_GOTO(device->backend->picture->to_floats(device, n, pixels.there, floats));
    *out = floats;
    floats = NULL;
done:
    spade_device_args_close(context, block, block_bytes);
    if (floats) { device->backend->free(device, floats, *bytes); }
    return status;
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
    size_t bytes,
        result_bytes = (size_t)(count * preprocess->channels * preprocess->height * preprocess->width) * sizeof(float);
    spade_picture grey = {0};
    float *source = NULL;
    void *result = NULL;
    spade_status status;
    if (preprocess->channels == 1) { SPADE_GOTO(spade_picture_grey(context, picture, &grey)); }
    SPADE_GOTO(spade_augment_upload(context, grey.rgb ? &grey : picture, &source, &bytes));
    SPADE_GOTO(backend->alloc(context->device, result_bytes, "variants of a picture", &result));
    SPADE_GOTO(backend->picture->augment(context->device, source, picture->height, picture->width, preprocess, variants,
                                         count, SPADE_ROW_MAJOR, result));
    SPADE_GOTO(backend->download(context->device, out, result, result_bytes));
    SPADE_GOTO(backend->synchronize(context->device));
done:
    free(grey.rgb);
    if (source) { backend->free(context->device, source, bytes); }
    if (result) { backend->free(context->device, result, result_bytes); }
    return status;
}
