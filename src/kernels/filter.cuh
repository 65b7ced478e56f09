/* filter.cuh - backend/filter.c's antialiased filters, computed where it is used. */
#ifndef SPADE_FILTER_CUH
#define SPADE_FILTER_CUH

#include <math.h>

#include "kernels/portable.cuh"

__device__ __forceinline__ double spade_filter_value(bool cubic, double distance)
{
    const double a = -0.5;
    if (!cubic) { return distance < 1.0 ? 1.0 - distance : 0.0; }
    if (distance < 1.0) { return ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1.0; }
    return distance < 2.0 ? (((distance - 5.0) * distance + 8.0) * distance - 4.0) * a : 0.0;
}

/* From `in` to `out` samples at output i: the first input, how many, and the weight of each through store(t, weight).
 * cubic: SPADE_RESAMPLE_BICUBIC. */
template <typename Store>
__device__ __forceinline__ void spade_filter_device(bool cubic, int64_t in, int64_t out, int64_t i,
                                                    int32_t *first_input, int32_t *count, Store store)
{
    const double scale = (double)in / (double)out, widened = scale < 1.0 ? 1.0 : scale, inverse = 1.0 / widened;
    const double support = (cubic ? 2.0 : 1.0) * widened;
    const double center = ((double)i + 0.5) * scale;
    int64_t first = (int64_t)(center - support + 0.5), end = (int64_t)(center + support + 0.5);
    first = first < 0 ? 0 : first;
    end = end > in ? in : end;
    double sum = 0.0;
    for (int64_t t = 0; t < end - first; t++) {
        double distance = fabs(((double)(t + first) - center + 0.5) * inverse);
        sum += spade_filter_value(cubic, distance);
    }
    for (int64_t t = 0; t < end - first; t++) {
        double distance = fabs(((double)(t + first) - center + 0.5) * inverse);
        double weight = spade_filter_value(cubic, distance);
        store(t, sum != 0.0 ? weight / sum : weight);
    }
    *first_input = (int32_t)first;
    *count = (int32_t)(end - first);
}

#endif
