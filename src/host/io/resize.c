/* resize.c - antialiased bilinear resize of 8-bit RGB, equal to Pillow's bit for bit (libImaging/Resample.c, 8 bits a
 * channel). */
#include "base/filter.h"
#include "spade/picture.h"

enum { PRECISION_BITS = 32 - 8 - 2, MAX_SIDE = 16384 };

/* Weights in Pillow's fixed point: [out, taps]. */
static void quantise(const spade_filter *filter, int32_t *fixed)
{
    for (int64_t i = 0; i < filter->out * filter->taps; i++) {
        fixed[i] = (int32_t)(0.5 + filter->weight[i] * (1 << PRECISION_BITS));
    }
}

static uint8_t clip8(int32_t value)
{
    value >>= PRECISION_BITS;
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

/* in [height, filter->in, 3] -> out [height, filter->out, 3] */
static void resize_rows(const spade_filter *filter, const int32_t *fixed, int threads, int64_t height,
                        const uint8_t *in, uint8_t *out)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t y = 0; y < height; y++) {
        for (int64_t x = 0; x < filter->out; x++) {
            const uint8_t *pixel = in + (y * filter->in + filter->first[x]) * 3;
            const int32_t *weight = fixed + x * filter->taps;
            int32_t sum[3] = {1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1)};
            for (int32_t k = 0; k < filter->count[x]; k++, pixel += 3) {
                for (int c = 0; c < 3; c++) { sum[c] += pixel[c] * weight[k]; }
            }
            for (int c = 0; c < 3; c++) { out[(y * filter->out + x) * 3 + c] = clip8(sum[c]); }
        }
    }
}

/* in [filter->in, samples] -> out [filter->out, samples] */
static void resize_columns(const spade_filter *filter, const int32_t *fixed, int threads, int64_t samples,
                           const uint8_t *in, uint8_t *out)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t y = 0; y < filter->out; y++) {
        const uint8_t *row = in + filter->first[y] * samples;
        const int32_t *weight = fixed + y * filter->taps;
        for (int64_t x = 0; x < samples; x++) {
            int32_t sum = 1 << (PRECISION_BITS - 1);
            for (int32_t k = 0; k < filter->count[y]; k++) { sum += row[k * samples + x] * weight[k]; }
            out[y * samples + x] = clip8(sum);
        }
    }
}

spade_status spade_picture_resize(spade_context *context, const spade_picture *in, int64_t height, int64_t width,
                                  spade_picture *out)
{
    if (in->height < 1 || in->width < 1 || height < 1 || width < 1 || height > MAX_SIDE || width > MAX_SIDE ||
        in->height > MAX_SIDE || in->width > MAX_SIDE) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "cannot resize %lld x %lld pixels to %lld x %lld (limit: 1 to %d a side)",
                          (long long)in->width, (long long)in->height, (long long)width, (long long)height, MAX_SIDE);
    }
    size_t across_bytes = spade_filter_bytes(in->width, width), down_bytes = spade_filter_bytes(in->height, height);
    size_t middle_bytes = (size_t)in->height * (size_t)width * 3, out_bytes = (size_t)height * (size_t)width * 3;
    spade_filter across, down;
    void *filters = NULL, *fixed = NULL, *middle = NULL;
    size_t fixed_bytes = 0;
    spade_picture result = {.height = height, .width = width, .exif_rotated = in->exif_rotated};
    spade_status status;
    SPADE_GOTO(spade_alloc(context, across_bytes + down_bytes, "the filters of a resize", &filters));
    spade_filter_init(in->width, width, filters, &across);
    spade_filter_init(in->height, height, (char *)filters + across_bytes, &down);
    size_t row_weights = (size_t)(across.out * across.taps), column_weights = (size_t)(down.out * down.taps);
    fixed_bytes = (row_weights + column_weights) * sizeof(int32_t);
    SPADE_GOTO(spade_alloc(context, fixed_bytes, "the filters of a resize", &fixed));
    SPADE_GOTO(spade_alloc(context, middle_bytes, "a resized picture", &middle));
    result.rgb = malloc(out_bytes);
    if (!result.rgb) {
        status = spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a resized picture");
        goto done;
    }
    int32_t *row_fixed = fixed, *column_fixed = row_fixed + row_weights;
    quantise(&across, row_fixed);
    quantise(&down, column_fixed);
    resize_rows(&across, row_fixed, context->threads, in->height, in->rgb, middle);
    resize_columns(&down, column_fixed, context->threads, width * 3, middle, result.rgb);
    *out = result;
done:
    spade_free_bytes(context, filters, across_bytes + down_bytes);
    spade_free_bytes(context, fixed, fixed_bytes);
    spade_free_bytes(context, middle, middle_bytes);
    return status;
}
