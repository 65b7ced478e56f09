/* resize.c - the antialiased resize of 8-bit RGB on the context's device. */
#include "picture/resize.h"
#include "picture/device_args.h"

spade_status spade_resize_window(spade_context *context, const spade_picture *picture,
                                 const spade_resample_args *window, uint8_t *rgb, float *normalised)
{
    spade_device *device = context->device;
    const size_t pixels = (size_t)(window->height * window->width);
    spade_device_arg arrays[3] = {
        {.in = picture->rgb, .bytes = (size_t)(picture->height * picture->width) * 3},
        {.out = rgb, .bytes = pixels * 3},
        {.out = normalised, .bytes = pixels * (size_t)window->channels * sizeof(float)},
    };
    spade_resample_args args = *window;
    void *block;
    size_t bytes;
    spade_status status;
    SPADE_GOTO(spade_device_args_open(context, "a picture and its resize", arrays, 3, &block, &bytes));
    args.picture = arrays[0].there;
    args.picture_height = picture->height;
    args.picture_width = picture->width;
    args.rgb = arrays[1].there;
    args.normalised = arrays[2].there;
    SPADE_GOTO(device->backend->picture->resample(device, &args));
    SPADE_GOTO(spade_device_args_read(context, arrays, 3));
done:
    spade_device_args_close(context, block, bytes);
    return status;
}

spade_status spade_picture_resize(spade_context *context, const spade_picture *in, int64_t height, int64_t width,
                                  spade_picture *out)
{
    enum { MAX_SIDE = SPADE_MAX_SIDE };
    if (in->height < 1 || in->width < 1 || height < 1 || width < 1 || height > MAX_SIDE || width > MAX_SIDE ||
        in->height > MAX_SIDE || in->width > MAX_SIDE) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "cannot resize %lld x %lld pixels to %lld x %lld (limit: 1 to %d a side)",
                          (long long)in->width, (long long)in->height, (long long)width, (long long)height, MAX_SIDE);
    }
    const spade_resample_args whole = {.full_height = height, .full_width = width, .height = height, .width = width};
    spade_picture result = {.height = height, .width = width, .exif_rotated = in->exif_rotated};
    result.rgb = malloc((size_t)height * (size_t)width * 3);
    if (!result.rgb) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a resized picture"); }
    spade_status status = spade_resize_window(context, in, &whole, result.rgb, NULL);
    if (status != SPADE_OK) {
        spade_picture_clear(&result);
        return status;
    }
    *out = result;
    return SPADE_OK;
}
