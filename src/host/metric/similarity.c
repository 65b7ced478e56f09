/* similarity.c - how much two maps are alike: rank correlation and structural similarity. */
#include <math.h>

#include "base/base.h"
#include "spade/check.h"

/* Scratch of a comparison, of maps with `pixels` pixels. */
typedef struct comparison {
    float *reduced[2]; /* [pixels] */
    double *ranks[2];  /* [pixels] */
    int64_t *order;    /* [pixels] */
    void *memory;
    size_t bytes;
} comparison;

static spade_status open_comparison(spade_context *context, int64_t pixels, comparison *c)
{
    const size_t n = (size_t)pixels;
    c->bytes = n * (2 * sizeof(double) + sizeof(int64_t) + 2 * sizeof(float));
    SPADE_TRY(spade_alloc(context, c->bytes, "ranks of maps", &c->memory));
    c->ranks[0] = c->memory;
    c->ranks[1] = c->ranks[0] + n;
    c->order = (int64_t *)(c->ranks[1] + n);
    c->reduced[0] = (float *)(c->order + n);
    c->reduced[1] = c->reduced[0] + n;
    return SPADE_OK;
}

/* ---- rank correlation */

static int by_value(const void *a, const void *b, void *user)
{
    const float *values = user, x = values[*(const int64_t *)a], y = values[*(const int64_t *)b];
    return (x > y) - (x < y);
}

/* Ranks from 0 on; equal values get the mean of theirs. */
static void find_ranks(const float *values, int64_t n, int64_t *order, double *ranks)
{
    for (int64_t i = 0; i < n; i++) { order[i] = i; }
    qsort_r(order, (size_t)n, sizeof *order, by_value, (void *)(uintptr_t)values);
    for (int64_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && values[order[end]] == values[order[first]];) { end++; }
        for (int64_t i = first; i < end; i++) { ranks[order[i]] = 0.5 * (double)(first + end - 1); }
    }
}

/* Pearson's correlation of the ranks. */
static double rank_correlation(const comparison *c, int64_t n)
{
    const double mean = 0.5 * (double)(n - 1);
    double both = 0, squares[2] = {0};
    for (int m = 0; m < 2; m++) { find_ranks(c->reduced[m], n, c->order, c->ranks[m]); }
    for (int64_t i = 0; i < n; i++) {
        const double a = c->ranks[0][i] - mean, b = c->ranks[1][i] - mean;
        both += a * b;
        squares[0] += a * a;
        squares[1] += b * b;
    }
    return squares[0] > 0 && squares[1] > 0 ? both / sqrt(squares[0] * squares[1]) : NAN;
}

/* ---- structural similarity */

/* To 0..1; false: it has one value only. */
static bool scale(float *map, int64_t n)
{
    float low = map[0], high = map[0];
    for (int64_t i = 1; i < n; i++) {
        low = map[i] < low ? map[i] : low;
        high = map[i] > high ? map[i] : high;
    }
    for (int64_t i = 0; i < n; i++) { map[i] = (float)(((double)map[i] - low) / ((double)high - low)); }
    return high > low;
}

/* Of the window of side x side pixels that begins at `first`. */
static double compare_windows(const float *a, const float *b, int64_t width, int64_t side)
{
    static const double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
    const double n = (double)(side * side);
    double sum_a = 0, sum_b = 0, aa = 0, bb = 0, ab = 0;
    for (int64_t y = 0; y < side; y++) {
        for (int64_t x = 0; x < side; x++) {
            const double va = a[y * width + x], vb = b[y * width + x];
            sum_a += va;
            sum_b += vb;
            aa += va * va;
            bb += vb * vb;
            ab += va * vb;
        }
    }
    const double mean_a = sum_a / n, mean_b = sum_b / n, samples = n / (n - 1);
    const double var_a = samples * (aa / n - mean_a * mean_a), var_b = samples * (bb / n - mean_b * mean_b);
    const double covariance = samples * (ab / n - mean_a * mean_b);
    return (2 * mean_a * mean_b + c1) * (2 * covariance + c2) /
           ((mean_a * mean_a + mean_b * mean_b + c1) * (var_a + var_b + c2));
}

static double structural_similarity(const comparison *c, int64_t height, int64_t width)
{
    enum { SIDE = 7, MIN_SIDE = 3 };
    const int64_t shorter = height < width ? height : width, fit = shorter % 2 ? shorter : shorter - 1;
    const int64_t side = fit < SIDE ? fit : SIDE;
    double sum = 0;
    if (side < MIN_SIDE || !scale(c->reduced[0], height * width) || !scale(c->reduced[1], height * width)) {
        return NAN;
    }
    for (int64_t y = 0; y + side <= height; y++) {
        for (int64_t x = 0; x + side <= width; x++) {
            sum += compare_windows(c->reduced[0] + y * width + x, c->reduced[1] + y * width + x, width, side);
        }
    }
    return sum / (double)((height - side + 1) * (width - side + 1));
}

spade_status spade_map_similarity(spade_context *context, const float *a, const float *b, const int64_t shape[3],
                                  spade_similarity *out)
{
    const int64_t pixels = shape[1] * shape[2];
    const float *const maps[2] = {a, b};
    comparison c = {0};
    if (shape[0] < 1 || shape[1] < 1 || shape[2] < 1) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "maps of %lld x %lld x %lld values", (long long)shape[0],
                          (long long)shape[1], (long long)shape[2]);
    }
    SPADE_TRY(open_comparison(context, pixels, &c));
    for (int m = 0; m < 2; m++) {
        spade_map_reduce(maps[m], shape[0], shape[1], shape[2], SPADE_REDUCE_SUM, c.reduced[m]);
    }
    out->spearman = rank_correlation(&c, pixels);
    for (int m = 0; m < 2; m++) {
        spade_map_reduce(maps[m], shape[0], shape[1], shape[2], SPADE_REDUCE_ABS_SUM, c.reduced[m]);
    }
    out->spearman_abs = rank_correlation(&c, pixels);
    out->ssim = structural_similarity(&c, shape[1], shape[2]);
    spade_free_bytes(context, c.memory, c.bytes);
    return SPADE_OK;
}
