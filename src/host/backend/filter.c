/* filter.c - weights of Pillow's antialiased bilinear filter. */
#include <math.h>

#include "backend/filter.h"

/* Half the width of the triangle, in input samples. */
static double support_of(int64_t in, int64_t out)
{
    double scale = (double)in / (double)out;
    return scale < 1.0 ? 1.0 : scale;
}

int64_t spade_filter_taps(int64_t in, int64_t out)
{
    return (int64_t)ceil(support_of(in, out)) * 2 + 1;
}

size_t spade_filter_bytes(int64_t in, int64_t out)
{
    size_t bytes = (size_t)out * ((size_t)spade_filter_taps(in, out) * sizeof(double) + 2 * sizeof(int32_t));
    return (bytes + 63) / 64 * 64;
}

/* The inputs first .. end-1 of output i: both grow with i. */
static void find_range(int64_t in, int64_t out, int64_t i, int64_t *first, int64_t *end)
{
    double center = ((double)i + 0.5) * ((double)in / (double)out), support = support_of(in, out);
    int64_t begin = (int64_t)(center - support + 0.5), behind = (int64_t)(center + support + 0.5);
    *first = begin < 0 ? 0 : begin;
    *end = behind > in ? in : behind;
}

void spade_filter_init(int64_t in, int64_t out, void *memory, spade_filter *filter)
{
    double scale = (double)in / (double)out, support = support_of(in, out), inverse = 1.0 / support;
    int64_t taps = spade_filter_taps(in, out);
    double *weights = memory;
    int32_t *firsts = (int32_t *)(weights + out * taps), *counts = firsts + out;
    for (int64_t i = 0; i < out; i++) {
        double center = ((double)i + 0.5) * scale;
        int64_t first, end;
        find_range(in, out, i, &first, &end);
        double *weight = weights + i * taps, sum = 0.0;
        for (int64_t k = 0; k < taps; k++) {
            double distance = k < end - first ? fabs(((double)(k + first) - center + 0.5) * inverse) : 1.0;
            weight[k] = distance < 1.0 ? 1.0 - distance : 0.0;
            sum += weight[k];
        }
        for (int64_t k = 0; k < taps && sum != 0.0; k++) { weight[k] /= sum; }
        firsts[i] = (int32_t)first;
        counts[i] = (int32_t)(end - first);
    }
    *filter = (spade_filter){in, out, taps, weights, firsts, counts};
}

spade_filter_window spade_filter_find_window(int64_t in, int64_t out, int64_t first, int64_t size)
{
    spade_filter_window w = {.begin = first < 0 ? 0 : first, .end = first + size < out ? first + size : out};
    int64_t ignored;
    if (w.begin >= w.end) { return (spade_filter_window){0}; }
    find_range(in, out, w.begin, &w.first_in, &ignored);
    find_range(in, out, w.end - 1, &ignored, &w.behind_in);
    return w;
}
