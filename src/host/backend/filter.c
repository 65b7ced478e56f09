/* filter.c - weights of Pillow's antialiased bilinear and bicubic filters. */
#include <math.h>

#include "backend/filter.h"

/* How much the filter is widened, in input samples. */
static double scale_of(int64_t in, int64_t out)
{
    double scale = (double)in / (double)out;
    return scale < 1.0 ? 1.0 : scale;
}

/* Half the width of the filter, in input samples. */
static double support_of(spade_resample kind, int64_t in, int64_t out)
{
    return (kind == SPADE_RESAMPLE_BICUBIC ? 2.0 : 1.0) * scale_of(in, out);
}

/* The filter itself, before it is widened; distance >= 0. */
static double value_at(spade_resample kind, double distance)
{
    const double a = -0.5; /* Keys's cubic, as Pillow computes it */
    if (kind == SPADE_RESAMPLE_BILINEAR) { return distance < 1.0 ? 1.0 - distance : 0.0; }
    if (distance < 1.0) { return ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1.0; }
    return distance < 2.0 ? (((distance - 5.0) * distance + 8.0) * distance - 4.0) * a : 0.0;
}

int64_t spade_filter_taps(spade_resample kind, int64_t in, int64_t out)
{
    return (int64_t)ceil(support_of(kind, in, out)) * 2 + 1;
}

size_t spade_filter_bytes(spade_resample kind, int64_t in, int64_t out)
{
    size_t bytes = (size_t)out * ((size_t)spade_filter_taps(kind, in, out) * sizeof(double) + 2 * sizeof(int32_t));
    return (bytes + 63) / 64 * 64;
}

/* The inputs first .. end-1 of output i: both grow with i. */
static void find_range(spade_resample kind, int64_t in, int64_t out, int64_t i, int64_t *first, int64_t *end)
{
    double center = ((double)i + 0.5) * ((double)in / (double)out), support = support_of(kind, in, out);
    int64_t begin = (int64_t)(center - support + 0.5), behind = (int64_t)(center + support + 0.5);
    *first = begin < 0 ? 0 : begin;
    *end = behind > in ? in : behind;
}

void spade_filter_init(spade_resample kind, int64_t in, int64_t out, void *memory, spade_filter *filter)
{
    const double scale = (double)in / (double)out, inverse = 1.0 / scale_of(in, out);
    int64_t taps = spade_filter_taps(kind, in, out);
    double *weights = memory;
    int32_t *firsts = (int32_t *)(weights + out * taps), *counts = firsts + out;
    for (int64_t i = 0; i < out; i++) {
        double center = ((double)i + 0.5) * scale;
        int64_t first, end;
        find_range(kind, in, out, i, &first, &end);
        double *weight = weights + i * taps, sum = 0.0;
        for (int64_t k = 0; k < taps; k++) {
            const double distance = fabs(((double)(k + first) - center + 0.5) * inverse);
            weight[k] = k < end - first ? value_at(kind, distance) : 0.0;
            sum += weight[k];
        }
        for (int64_t k = 0; k < taps && sum != 0.0; k++) { weight[k] /= sum; }
        firsts[i] = (int32_t)first;
        counts[i] = (int32_t)(end - first);
    }
    *filter = (spade_filter){in, out, taps, weights, firsts, counts};
}

spade_filter_window spade_filter_find_window(spade_resample kind, int64_t in, int64_t out, int64_t first, int64_t size)
{
    spade_filter_window w = {.begin = first < 0 ? 0 : first, .end = first + size < out ? first + size : out};
    int64_t ignored;
    if (w.begin >= w.end) { return (spade_filter_window){0}; }
    find_range(kind, in, out, w.begin, &w.first_in, &ignored);
    find_range(kind, in, out, w.end - 1, &ignored, &w.behind_in);
    return w;
}
