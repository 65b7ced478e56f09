/*
 * preprocess.c - decoded picture -> the network's input, as torchvision does it: Resize (shorter side), CenterCrop,
 * ToTensor, Normalize; the same geometry for masks; and back from a ready input to a picture.
 */
#include <math.h>

#include "base/caller_options.h"
#include "picture/resize.h"

enum { MAX_SIDE = SPADE_MAX_SIDE };
static const double MIN_SHARE = SPADE_MIN_CROP_SHARE;

void spade_preprocess_init_sized(spade_preprocess *preprocess, size_t size, int64_t height, int64_t width)
{
    const spade_preprocess defaults = {.resize = -1,
                                       .height = height,
                                       .width = width,
                                       .mean = {0.485, 0.456, 0.406},
                                       .std = {0.229, 0.224, 0.225},
                                       .channels = 3,
                                       .band_std = 1};
    spade_caller_options_init(preprocess, size, &defaults, sizeof defaults);
}

spade_status spade_preprocess_take(spade_context *context, const spade_preprocess *given, spade_preprocess *out)
{
    spade_preprocess_init(out, 1, 1);
    SPADE_TRY(spade_caller_options_take(context, "spade_preprocess", given, out, sizeof *out));
    if (out->channels == 0) { out->channels = 3; }
    if (out->band_std == 0) { out->band_std = 1; }
    return SPADE_OK;
}

static spade_status check_preprocess(spade_context *context, const spade_preprocess *p)
{
    if (p->height < 1 || p->width < 1 || p->height > MAX_SIDE || p->width > MAX_SIDE) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "input size %lld x %lld: must be 1 to %d a side",
                          (long long)p->width, (long long)p->height, MAX_SIDE);
    }
    if (p->resize < -1 || p->resize > MAX_SIDE) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "resize %lld: must be 0 to %d", (long long)p->resize,
                          MAX_SIDE);
    }
    if (p->channels < 1 || (unsigned)p->resample > SPADE_RESAMPLE_BICUBIC) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "%lld channels, resample %d: there must be a channel, and there are two filters",
                          (long long)p->channels, (int)p->resample);
    }
    if (!(p->crop_share >= 0 && p->crop_share <= 1) || (p->crop_share > 0 && p->crop_share < MIN_SHARE)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "crop share %g: must be %g to 1, or 0", p->crop_share,
                          MIN_SHARE);
    }
    for (int c = 0; c <= 3; c++) {
        const double mean = c < 3 ? p->mean[c] : p->band_mean, std = c < 3 ? p->std[c] : p->band_std;
        const bool good = fabs(mean) <= SPADE_MAX_MEAN && std >= SPADE_MIN_STD && std <= SPADE_MAX_STD;
        if (!good) { /* or NaN */
            return spade_fail(context, SPADE_ERROR_ARGUMENT, "mean %g, std %g: must be within %g and %g to %g", mean,
                              std, SPADE_MAX_MEAN, SPADE_MIN_STD, SPADE_MAX_STD);
        }
    }
    return SPADE_OK;
}

static spade_status check_picture(spade_context *context, const spade_picture *picture)
{
    if (picture->height >= 1 && picture->width >= 1 && picture->height <= MAX_SIDE && picture->width <= MAX_SIDE) {
        return SPADE_OK;
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "a picture of %lld x %lld pixels: must be 1 to %d a side",
                      (long long)picture->width, (long long)picture->height, MAX_SIDE);
}

/* Where the crop lies in the resized picture; negative offsets: the picture is smaller there and black surrounds it. */
typedef struct geometry {
    int64_t height, width; /* after the resize */
    int64_t top, left;
} geometry;

/* torchvision's CenterCrop: int(round((size - crop) / 2.0)), halves to even; padding above is (crop - size) // 2. */
static int64_t crop_offset(int64_t size, int64_t crop)
{
    int64_t difference = size - crop;
    if (difference < 0) { return -(-difference / 2); }
    int64_t half = difference / 2;
    return difference % 2 == 1 && half % 2 == 1 ? half + 1 : half;
}

/* A side of `crop` pixels before the crop. */
static int64_t side_before(const spade_preprocess *p, int64_t crop)
{
    if (p->resize > 0) { return p->resize; }
    if (p->crop_share > 0) { return (int64_t)((double)crop / p->crop_share); }
    return p->squash ? crop : llround((double)crop * 256.0 / 224.0);
}

/* Height and width after the resize. */
static spade_status find_size(spade_context *context, const spade_preprocess *p, const spade_picture *picture,
                              geometry *out)
{
    const int64_t height = picture->height, width = picture->width;
    if (p->squash) {
        out->height = side_before(p, p->height);
        out->width = side_before(p, p->width);
    } else {
        /* the longer side: the default covers a crop that is not square, too */
        const int64_t shorter = side_before(p, p->height > p->width ? p->height : p->width);
        const int64_t longer_in = height > width ? height : width, shorter_in = height > width ? width : height;
        const int64_t longer = (int64_t)((double)(shorter * longer_in) / (double)shorter_in);
        out->height = height > width ? longer : shorter;
        out->width = height > width ? shorter : longer;
    }
    const int64_t longest = out->height > out->width ? out->height : out->width;
    if (longest <= MAX_SIDE) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_INPUT, "%lld x %lld pixels become %lld on the longer side, the limit is %d",
                      (long long)width, (long long)height, (long long)longest, MAX_SIDE);
}

static spade_status find_geometry(spade_context *context, const spade_preprocess *p, const spade_picture *picture,
                                  geometry *out)
{
    int64_t height = picture->height, width = picture->width;
    SPADE_TRY(check_preprocess(context, p));
    if (p->resize == 0) {
        if (height != p->height || width != p->width) {
            return spade_fail(context, SPADE_ERROR_INPUT,
                              "%lld x %lld pixels, but without a resize the network's %lld x %lld are needed",
                              (long long)width, (long long)height, (long long)p->width, (long long)p->height);
        }
        *out = (geometry){height, width, 0, 0};
        return SPADE_OK;
    }
    SPADE_TRY(find_size(context, p, picture, out));
    out->top = crop_offset(out->height, p->height);
    out->left = crop_offset(out->width, p->width);
    return SPADE_OK;
}

/* Pillow's convert("L"): fixed-point luma; grey stays as it is. */
static uint8_t luma(const uint8_t *rgb)
{
    return (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

static spade_status alloc_grey(spade_context *context, const spade_picture *picture, spade_picture *out)
{
    *out = (spade_picture){.height = picture->height, .width = picture->width, .exif_rotated = picture->exif_rotated};
    out->rgb = malloc((size_t)(picture->height * picture->width) * 3);
    return out->rgb ? SPADE_OK : spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a picture in grey");
}

spade_status spade_picture_grey(spade_context *context, const spade_picture *picture, spade_picture *out)
{
    const size_t pixels = (size_t)(picture->height * picture->width);
    SPADE_TRY(alloc_grey(context, picture, out));
    for (size_t i = 0; i < pixels; i++) { memset(out->rgb + 3 * i, luma(picture->rgb + 3 * i), 3); }
    return SPADE_OK;
}

spade_status spade_picture_of_alpha(spade_context *context, const spade_picture *picture, spade_picture *out)
{
    const size_t pixels = (size_t)(picture->height * picture->width);
    SPADE_TRY(alloc_grey(context, picture, out));
    for (size_t i = 0; i < pixels; i++) { memset(out->rgb + 3 * i, picture->alpha[i], 3); }
    return SPADE_OK;
}

spade_status spade_picture_check_channels(spade_context *context, const spade_preprocess *preprocess,
                                          const spade_picture *picture)
{
    const long long channels = preprocess->channels;
    if (channels == 1 || channels == 3 || (channels == 4 && picture->alpha)) { return SPADE_OK; }
    if (channels == 4) {
        return spade_fail(
            context, SPADE_ERROR_INPUT,
            "a picture without alpha, and the network takes 4 channels: give the fourth as alpha (PNG, WebP, "
            "BMP), or all as .npy, normalised");
    }
    return spade_fail(
        context, SPADE_ERROR_INPUT,
        "the network takes %lld channels, and pictures have 3, with alpha 4, or grey 1: give inputs as .npy, "
        "normalised, [n, %lld, %lld, %lld]",
        channels, channels, (long long)preprocess->height, (long long)preprocess->width);
}

/* The alpha channel's place in the network's input, [height, width], by the window of the colours. */
static spade_status apply_alpha(spade_context *context, const spade_preprocess *p, const spade_picture *picture,
                                const spade_resample_args *colours, float *out)
{
    spade_resample_args window = *colours;
    spade_picture alpha = {0};
    uint8_t *rgb = malloc((size_t)(p->height * p->width) * 3);
    spade_status status = rgb ? spade_picture_of_alpha(context, picture, &alpha)
                              : spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a cropped alpha channel");
    window.channels = 1;
    window.plane[0] = 0;
    window.mean[0] = (float)p->band_mean;
    window.std[0] = (float)p->band_std;
    if (status == SPADE_OK) { status = spade_resize_window(context, &alpha, &window, rgb, out); }
    free(alpha.rgb);
    free(rgb);
    return status;
}

spade_status spade_preprocess_apply(spade_context *context, const spade_preprocess *given, const spade_picture *picture,
                                    float *out, spade_picture *cropped)
{
    spade_preprocess own;
    const spade_preprocess *p = &own;
    SPADE_TRY(spade_preprocess_take(context, given, &own));
    SPADE_TRY(check_picture(context, picture));
    geometry at;
    SPADE_TRY(find_geometry(context, p, picture, &at));
    SPADE_TRY(spade_picture_check_channels(context, p, picture));
    const int64_t colours = spade_preprocess_colours(p);
    spade_resample_args window = {.full_height = at.height,
                                  .full_width = at.width,
                                  .top = at.top,
                                  .left = at.left,
                                  .height = p->height,
                                  .width = p->width,
                                  .kind = p->resample,
                                  .channels = (int)colours};
    for (int c = 0; c < 3; c++) { window.plane[c] = spade_preprocess_plane(p, c); }
    for (int c = 0; c < 3; c++) { window.mean[c] = (float)p->mean[c], window.std[c] = (float)p->std[c]; }
    spade_picture grey = {0};
    if (p->channels == 1) { SPADE_TRY(spade_picture_grey(context, picture, &grey)); }
    uint8_t *rgb = malloc((size_t)(p->height * p->width) * 3);
    spade_status status = rgb ? spade_resize_window(context, grey.rgb ? &grey : picture, &window, rgb, out)
                              : spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a cropped picture");
    free(grey.rgb);
    if (status == SPADE_OK && p->channels > colours) {
        status = apply_alpha(context, p, picture, &window, out + colours * p->height * p->width);
    }
    if (status == SPADE_OK && cropped) {
        *cropped =
            (spade_picture){.height = p->height, .width = p->width, .rgb = rgb, .exif_rotated = picture->exif_rotated};
    } else {
        free(rgb);
    }
    return status;
}

/* Pillow's nearest neighbour. The position is accumulated as Pillow does it, so that ties fall the same way. */
static void nearest_indices(int64_t in, int64_t out, int64_t *index)
{
    double step = (double)in / (double)out, at = step * 0.5;
    for (int64_t i = 0; i < out; i++, at += step) { index[i] = (int64_t)at < in ? (int64_t)at : in - 1; }
}

spade_status spade_preprocess_mask(spade_context *context, const spade_preprocess *given, const spade_picture *mask,
                                   uint8_t *out)
{
    spade_preprocess own;
    const spade_preprocess *p = &own;
    SPADE_TRY(spade_preprocess_take(context, given, &own));
    geometry at;
    SPADE_TRY(find_geometry(context, p, mask, &at));
    int64_t *rows = malloc((size_t)(at.height + at.width) * sizeof *rows);
    if (!rows) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a mask"); }
    int64_t *columns = rows + at.height;
    nearest_indices(mask->height, at.height, rows);
    nearest_indices(mask->width, at.width, columns);
    for (int64_t y = 0; y < p->height; y++) {
        for (int64_t x = 0; x < p->width; x++) {
            int64_t row = y + at.top, column = x + at.left;
            bool outside = row < 0 || row >= at.height || column < 0 || column >= at.width;
            out[y * p->width + x] = !outside && luma(mask->rgb + (rows[row] * mask->width + columns[column]) * 3) > 127;
        }
    }
    free(rows);
    return SPADE_OK;
}

spade_range spade_band_range(const float *plane, int64_t pixels, double mean, double std)
{
    spade_range range = {0, 1};
    for (int64_t i = 0; i < pixels; i++) {
        const double value = (double)plane[i] * std + mean;
        if (!isfinite(value)) { continue; }
        range.low = value < range.low ? value : range.low;
        range.high = value > range.high ? value : range.high;
    }
    return range;
}

spade_status spade_picture_from_tensor(spade_context *context, const spade_preprocess *given, const float *input,
                                       spade_picture *out)
{
    spade_preprocess own;
    const spade_preprocess *p = &own;
    SPADE_TRY(spade_preprocess_take(context, given, &own));
    SPADE_TRY(check_preprocess(context, p));
    int64_t pixels = p->height * p->width;
    uint8_t *rgb = malloc((size_t)pixels * 3);
    if (!rgb) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a picture of an input"); }
    for (int c = 0; c < 3; c++) {
        const bool band = spade_preprocess_colours(p) == 0;
        const int channel = p->channels == 2 ? 0 : band ? c : spade_preprocess_plane(p, c);
        const double mean = spade_preprocess_mean(p, channel), std = spade_preprocess_std(p, channel);
        const float *plane = input + channel * pixels;
        const spade_range range = band ? spade_band_range(plane, pixels, mean, std) : (spade_range){0, 1};
        for (int64_t i = 0; i < pixels; i++) {
            double value = ((double)plane[i] * std + mean - range.low) / (range.high - range.low);
            value = value > 0.0 ? value < 1.0 ? value : 1.0 : 0.0; /* NaN becomes 0 */
            rgb[3 * i + c] = (uint8_t)(value * 255.0 + 0.5);
        }
    }
    *out = (spade_picture){.height = p->height, .width = p->width, .rgb = rgb};
    return SPADE_OK;
}
