/*
 * depthwise.c - one input channel a group: K is 9 or 25, a product per channel would be all overhead. Sums of a
 * few neighbouring channels run side by side, in float64 whatever the precision.
 *   depthwise   stride 1: the lags of every channel with itself (autocorrelation.h), 13 products a pixel for a 3x3 kernel
 *   offsets        any stride and dilation: the products of all pairs of offsets, 45 a position
 */
#include "backend/cpu/hessian/forms.h"
#include "backend/cpu/hessian/autocorrelation.h"
#include "backend/cpu/target.h"

enum {
    SIDE = 16,        /* channels side by side */
    MAX_OFFSETS = 49, /* 7 x 7 */
    MAX_LAGS = (2 * SPADE_LAG_MAX_KERNEL - 1) * (2 * SPADE_LAG_MAX_KERNEL - 1)
};
typedef double channel_sums[SIDE];

/* Lanes are channels: the width of the vectors changes no sum. */
static inline __attribute__((always_inline)) void add_products(const float *restrict a, const float *restrict b,
                                                               double *restrict sums)
{
    for (int c = 0; c < SIDE; c++) { sums[c] += (double)a[c] * (double)b[c]; }
}

static inline __attribute__((always_inline)) void sum_taps(const float (*offsets)[SIDE], const bool *inside, int64_t k,
                                                           channel_sums *sums)
{
    for (int64_t i = 0; i < k; i++) {
        if (!inside[i]) { continue; }
        for (int64_t j = 0; j <= i; j++) {
            if (inside[j]) { add_products(offsets[i], offsets[j], sums[i * (i + 1) / 2 + j]); }
        }
    }
}

/* sums += over `count` pixels of a row, `stride` floats apart, the products of a and b */
static inline __attribute__((always_inline)) void sum_run(const float *a, const float *b, int64_t count, int64_t stride,
                                                          double *restrict sums)
{
    channel_sums run = {0};
    for (int64_t i = 0; i < count; i++) { add_products(a + i * stride, b + i * stride, run); }
    for (int c = 0; c < SIDE; c++) { sums[c] += run[c]; }
}

typedef struct kernels {
    void (*offsets)(const float (*offsets)[SIDE], const bool *inside, int64_t k, channel_sums *sums);
    void (*run)(const float *a, const float *b, int64_t count, int64_t stride, double *restrict sums);
} kernels;

static void taps_plain(const float (*offsets)[SIDE], const bool *inside, int64_t k, channel_sums *sums)
{
    sum_taps(offsets, inside, k, sums);
}
static void run_plain(const float *a, const float *b, int64_t count, int64_t stride, double *restrict sums)
{
    sum_run(a, b, count, stride, sums);
}
#if defined(__x86_64__)
__attribute__((target(SPADE_AVX512))) static void
taps_avx512(const float (*offsets)[SIDE], const bool *inside, int64_t k, channel_sums *sums)
{
    sum_taps(offsets, inside, k, sums);
}
__attribute__((target(SPADE_AVX512))) static void
run_avx512(const float *a, const float *b, int64_t count, int64_t stride, double *restrict sums)
{
    sum_run(a, b, count, stride, sums);
}
__attribute__((target("avx2"))) static void taps_avx2(const float (*offsets)[SIDE], const bool *inside, int64_t k,
                                                      channel_sums *sums)
{
    sum_taps(offsets, inside, k, sums);
}
__attribute__((target("avx2"))) static void run_avx2(const float *a, const float *b, int64_t count, int64_t stride,
                                                     double *restrict sums)
{
    sum_run(a, b, count, stride, sums);
}
#endif

static kernels choose_kernels(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) { return (kernels){taps_avx512, run_avx512}; }
    if (__builtin_cpu_supports("avx2")) { return (kernels){taps_avx2, run_avx2}; }
#endif
    return (kernels){taps_plain, run_plain};
}

/* ---- offsets */

bool spade_offset_pairs_apply(const spade_hessian_desc *desc)
{
    return !desc->linear && desc->groups > 1 && desc->groups == desc->x.dims[1] &&
           desc->window.kernel[0] * desc->window.kernel[1] <= MAX_OFFSETS;
}

double spade_offset_pairs_cost(const spade_hessian_desc *desc)
{
    spade_positions p = spade_positions_of(desc, NULL);
    double pairs = (double)(p.columns * (p.columns + 1)) / 2;
    return pairs * (double)(p.count * p.channels) / 2.5;
}

static size_t taps_bytes_per_thread(int64_t columns)
{
    return (size_t)(columns * (columns + 1) / 2) * sizeof(channel_sums);
}

size_t spade_offset_pairs_workspace_bytes(const spade_device *device, const spade_hessian_desc *desc)
{
    return (size_t)spade_cpu_threads(device) * taps_bytes_per_thread(spade_positions_of(desc, NULL).columns);
}

/* The offsets of channels first .. first+count-1 at one output position; channels past the last stay zero. */
static void load_taps(const spade_positions *p, int64_t position, int64_t first, int64_t count, float (*offsets)[SIDE],
                      bool *inside)
{
    const spade_window *w = &p->desc->window;
    spade_corner corner = spade_corner_of(p, position);
    const float *image = corner.image + first * p->stride_c;
    for (int64_t offset = 0; offset < p->columns; offset++) {
        int64_t y = corner.top + offset / w->kernel[1] * w->dilation[0];
        int64_t x = corner.left + offset % w->kernel[1] * w->dilation[1];
        inside[offset] = y >= 0 && y < p->height && x >= 0 && x < p->width;
        if (!inside[offset]) { continue; }
        const float *source = image + y * p->stride_h + x * p->stride_w;
        if (p->stride_c == 1 && count == SIDE) {
            memcpy(offsets[offset], source, sizeof offsets[offset]);
        } else {
            for (int64_t c = 0; c < count; c++) { offsets[offset][c] = source[c * p->stride_c]; }
        }
    }
}

static void update_channels(const spade_positions *p, int64_t first, const kernels *inner, double alpha,
                            channel_sums *sums, double *h)
{
    int64_t k = p->columns, left = p->channels - first, count = left < SIDE ? left : SIDE;
    float offsets[MAX_OFFSETS][SIDE] = {{0}};
    bool inside[MAX_OFFSETS];
    memset(sums, 0, taps_bytes_per_thread(k));
    for (int64_t position = 0; position < p->count; position++) {
        load_taps(p, position, first, count, offsets, inside);
        inner->offsets((const float(*)[SIDE])offsets, inside, k, sums);
    }
    for (int64_t c = 0; c < count; c++) {
        for (int64_t i = 0; i < k; i++) {
            for (int64_t j = 0; j <= i; j++) {
                h[((first + c) * k + i) * k + j] += alpha * sums[i * (i + 1) / 2 + j][c];
            }
        }
    }
}

void spade_offset_pairs_update(const spade_device *device, const spade_hessian_desc *desc, const float *x, double alpha,
                               double *accumulator, void *workspace)
{
    spade_positions p = spade_positions_of(desc, x);
    kernels inner = choose_kernels();
    size_t own = taps_bytes_per_thread(p.columns);
#pragma omp parallel for schedule(dynamic) num_threads(spade_cpu_threads(device))
    for (int64_t first = 0; first < p.channels; first += SIDE) {
        update_channels(&p, first, &inner, alpha,
                        (channel_sums *)(void *)((char *)workspace + (size_t)omp_get_thread_num() * own), accumulator);
    }
}

/* ---- lags */

bool spade_depthwise_applies(const spade_hessian_desc *desc)
{
    return spade_autocorrelation_apply(desc) && desc->groups == desc->x.dims[1] && desc->x.dims[1] >= SIDE;
}

double spade_depthwise_cost(const spade_hessian_desc *desc)
{
    const spade_window *w = &desc->window;
    double lags = (double)((2 * w->kernel[0] - 1) * (2 * w->kernel[1] - 1) + 1) / 2;
    return lags * (double)spade_shape_size(&desc->x) / 4;
}

/* Sums of one task's channels, [lags of all parts]; squares of one image. */
static size_t depthwise_bytes_per_thread(const spade_autocorrelation *lags)
{
    return (size_t)lags->count * sizeof(channel_sums);
}

size_t spade_depthwise_workspace_bytes(const spade_device *device, const spade_hessian_desc *desc)
{
    spade_autocorrelation lags = spade_autocorrelation_of(desc);
    return (size_t)spade_cpu_threads(device) * depthwise_bytes_per_thread(&lags) +
           (size_t)(desc->x.dims[0] * spade_autocorrelation_cells(&lags)) * sizeof(double);
}

/* The lags of one part with Dy > 0, or Dy = 0 and Dx >= 0, of one image and SIDE channels. The others are the same. */
static void sum_part(const spade_autocorrelation *lags, const spade_lag_part *part, const float *image,
                     const kernels *inner, channel_sums *sums)
{
    int64_t stride = lags->groups, width = lags->axis[1].size;
    const float *corner = image + (part->start[0] * width + part->start[1]) * stride;
    for (int64_t dy = 0; dy < part->reach[0]; dy++) {
        for (int64_t dx = dy ? 1 - part->reach[1] : 0; dx < part->reach[1]; dx++) {
            double *to = sums[part->first + (dy + part->reach[0] - 1) * part->row + dx + part->reach[1] - 1];
            int64_t left = dx < 0 ? -dx : 0, count = part->size[1] - (dx < 0 ? -dx : dx);
            for (int64_t y = 0; y + dy < part->size[0]; y++) {
                const float *a = corner + (y * width + left) * stride;
                inner->run(a, a + (dy * width + dx) * stride, count, stride, to);
            }
        }
    }
}

/* Sums of channels first + skip .. first + SIDE - 1. */
static void add_channels(const spade_autocorrelation *lags, int64_t first, int64_t skip, const channel_sums *sums,
                         double alpha, double *accumulator)
{
    for (int64_t i = 0; i < spade_autocorrelation_parts(lags); i++) {
        spade_lag_part part = spade_autocorrelation_part(lags, i);
        int64_t count = (2 * part.reach[0] - 1) * part.row, middle = part.first + count / 2;
        for (int64_t lag = 0; lag <= count / 2; lag++) {
            for (int64_t c = skip; c < SIDE; c++) {
                double value = alpha * sums[middle + lag][c];
                *spade_autocorrelation_tile(lags, accumulator, first + c, 0, 0, middle + lag) += value;
                if (lag > 0) { *spade_autocorrelation_tile(lags, accumulator, first + c, 0, 0, middle - lag) += value; }
            }
        }
    }
}

/* The last task begins early enough to have SIDE channels, too, and adds those only that no task before it has. */
static void update_lags(const spade_autocorrelation *lags, const float *x, int64_t images, int64_t first,
                        const kernels *inner, double alpha, channel_sums *sums, double *accumulator)
{
    int64_t size = lags->axis[0].size * lags->axis[1].size * lags->groups;
    int64_t from = first + SIDE <= lags->groups ? first : lags->groups - SIDE;
    memset(sums, 0, depthwise_bytes_per_thread(lags));
    for (int64_t n = 0; n < images; n++) {
        for (int64_t i = 0; i < spade_autocorrelation_parts(lags); i++) {
            spade_lag_part part = spade_autocorrelation_part(lags, i);
            sum_part(lags, &part, x + n * size + from, inner, sums);
        }
    }
    add_channels(lags, from, first - from, (const channel_sums *)sums, alpha, accumulator);
}

void spade_depthwise_update(const spade_device *device, const spade_hessian_desc *desc, const float *x, double alpha,
                            double *accumulator, void *workspace)
{
    spade_autocorrelation lags = spade_autocorrelation_of(desc);
    kernels inner = choose_kernels();
    int64_t images = desc->x.dims[0], size = lags.axis[0].size * lags.axis[1].size * lags.groups;
    size_t own = depthwise_bytes_per_thread(&lags);
    double *cells = (double *)(void *)((char *)workspace + (size_t)spade_cpu_threads(device) * own);
#pragma omp parallel num_threads(spade_cpu_threads(device))
    {
#pragma omp for schedule(dynamic) nowait
        for (int64_t n = 0; n < images; n++) {
            spade_autocorrelation_squares(&lags, x + n * size, true, cells + n * spade_autocorrelation_cells(&lags));
        }
        channel_sums *sums = (channel_sums *)(void *)((char *)workspace + (size_t)omp_get_thread_num() * own);
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < lags.groups; first += SIDE) {
            update_lags(&lags, x, images, first, &inner, alpha, sums, accumulator);
        }
#pragma omp single
        spade_autocorrelation_add_cells(&lags, cells, images, alpha, accumulator);
    }
}
