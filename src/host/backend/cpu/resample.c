/*
 * resample.c - antialiased resize of 8-bit RGB, equal to Pillow's bit for bit (libImaging/Resample.c, 8 bits a
 * channel), of what a window of the result needs; normalisation; floats of bytes.
 */
#include "backend/cpu/cpu.h"
#include "backend/filter.h"

enum { PRECISION_BITS = 32 - 8 - 2 };

/* One axis: the filter of the whole picture, its weights in Pillow's fixed point [out, taps], and the window's part. */
typedef struct axis {
    spade_filter filter;
    int32_t *fixed;
    spade_filter_window part;
} axis;

static size_t axis_bytes(spade_resample kind, int64_t in, int64_t out)
{
    size_t fixed = (size_t)(out * spade_filter_taps(kind, in, out)) * sizeof(int32_t);
    return spade_filter_bytes(kind, in, out) + (fixed + 63) / 64 * 64;
}

static void axis_init(spade_resample kind, int64_t in, int64_t out, int64_t first, int64_t size, char *memory, axis *a)
{
    spade_filter_init(kind, in, out, memory, &a->filter);
    a->fixed = (int32_t *)(memory + spade_filter_bytes(kind, in, out));
    a->part = spade_filter_find_window(kind, in, out, first, size);
    for (int64_t i = a->part.begin * a->filter.taps; i < a->part.end * a->filter.taps; i++) {
        const double fixed = a->filter.weight[i] * (1 << PRECISION_BITS);
        a->fixed[i] = (int32_t)(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
}

static uint8_t clip8(int32_t value)
{
    value >>= PRECISION_BITS;
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

/* The picture's rows that the window needs, along themselves -> middle [rows, columns of the window, 3] */
static void resize_rows(const axis *across, const axis *down, int threads, const uint8_t *picture, uint8_t *middle)
{
    const spade_filter *filter = &across->filter;
    const int64_t columns = across->part.end - across->part.begin;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t y = down->part.first_in; y < down->part.behind_in; y++) {
        uint8_t *out = middle + (y - down->part.first_in) * columns * 3;
        for (int64_t x = across->part.begin; x < across->part.end; x++, out += 3) {
            const uint8_t *pixel = picture + (y * filter->in + filter->first[x]) * 3;
            const int32_t *weight = across->fixed + x * filter->taps;
            int32_t sum[3] = {1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1)};
            for (int32_t k = 0; k < filter->count[x]; k++, pixel += 3) {
                for (int c = 0; c < 3; c++) { sum[c] += pixel[c] * weight[k]; }
            }
            for (int c = 0; c < 3; c++) { out[c] = clip8(sum[c]); }
        }
    }
}

/* Row y of the resized picture from middle, `samples` of it. */
static void resize_column(const axis *down, int64_t y, int64_t samples, const uint8_t *middle, uint8_t *out)
{
    const uint8_t *row = middle + (down->filter.first[y] - down->part.first_in) * samples;
    const int32_t *weight = down->fixed + y * down->filter.taps;
    for (int64_t x = 0; x < samples; x++) {
        int32_t sum = 1 << (PRECISION_BITS - 1);
        for (int32_t k = 0; k < down->filter.count[y]; k++) { sum += row[k * samples + x] * weight[k]; }
        out[x] = clip8(sum);
    }
}

static void normalise_row(const spade_resample_args *args, int64_t y)
{
    const uint8_t *rgb = args->rgb + y * args->width * 3;
    for (int c = 0; c < args->channels; c++) {
        float *out = args->normalised + (args->plane[c] * args->height + y) * args->width;
        for (int64_t x = 0; x < args->width; x++) {
            out[x] = ((float)rgb[3 * x + c] / 255.0f - args->mean[c]) / args->std[c];
        }
    }
}

static void fill_window(const spade_resample_args *args, const axis *across, const axis *down, int threads,
                        const uint8_t *middle)
{
    const int64_t samples = (across->part.end - across->part.begin) * 3;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t y = 0; y < args->height; y++) {
        const int64_t row = y + args->top;
        uint8_t *out = args->rgb + y * args->width * 3;
        memset(out, 0, (size_t)args->width * 3);
        if (row >= down->part.begin && row < down->part.end) {
            resize_column(down, row, samples, middle, out + (across->part.begin - args->left) * 3);
        }
        if (args->normalised) { normalise_row(args, y); }
    }
}

spade_status spade_cpu_resample(spade_device *device, const spade_resample_args *args)
{
    const int threads = spade_cpu_threads(device);
    const size_t across_bytes = axis_bytes(args->kind, args->picture_width, args->full_width);
    const size_t filter_bytes = across_bytes + axis_bytes(args->kind, args->picture_height, args->full_height);
    axis across, down;
    void *filters = NULL, *middle = NULL;
    spade_status status;
    SPADE_TRY(spade_alloc(device->context, filter_bytes, "the filters of a resize", &filters));
    axis_init(args->kind, args->picture_width, args->full_width, args->left, args->width, filters, &across);
    axis_init(args->kind, args->picture_height, args->full_height, args->top, args->height,
              (char *)filters + across_bytes, &down);
    const int64_t rows = down.part.behind_in - down.part.first_in, columns = across.part.end - across.part.begin;
    const size_t middle_bytes = (size_t)(rows * columns) * 3;
    SPADE_GOTO(spade_alloc(device->context, middle_bytes, "a resized picture", &middle));
    resize_rows(&across, &down, threads, args->picture, middle);
    fill_window(args, &across, &down, threads, middle);
    spade_free_bytes(device->context, middle, middle_bytes);
done:
    spade_free_bytes(device->context, filters, filter_bytes);
    return status;
}

spade_status spade_cpu_picture_to_floats(spade_device *device, int64_t n, const uint8_t *picture, float *out)
{
#pragma omp parallel for schedule(static) num_threads(spade_cpu_threads(device))
    for (int64_t i = 0; i < n; i++) { out[i] = (float)picture[i] / 255.0f; }
    return SPADE_OK;
}
