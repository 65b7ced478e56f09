/*
 * axis_map.cu - sparse linear maps along one axis.
 *
 * Division of work: threads stride over the result [outer, rows, inner], 4 neighbours along `inner` (16 bytes) each where
 * that is possible. A thread sums the entries of its row in their order, in float64.
 */
#include "kernels/index.cuh"

namespace
{

template <int Width>
__global__ void axis_map(const __grid_constant__ spade_axis_map_kernel k, int64_t n, const float *x, float *y)
{
    const spade_sparse_rows &m = k.map;
    SPADE_EACH(i, n)
    {
        int64_t inner, row;
        const int64_t outer = spade_divide(spade_divide(i, k.inner / Width, &inner), k.rows, &row);
        const float *from = x + outer * k.columns * k.inner + inner * Width;
        const int32_t first = m.offsets[row], end = m.offsets[row + 1];
        const float fill = m.fill ? m.fill[row] : 0.0f;
        float value[Width];
        if (end == first + 1 && !m.weights && fill == 0) {
            spade_load(from + m.indices[first] * k.inner, value);
        } else {
            double sums[Width];
            for (int j = 0; j < Width; j++) { sums[j] = fill; }
            for (int32_t entry = first; entry < end; entry++) {
                const double weight = m.weights ? m.weights[entry] : 1.0f;
                spade_load(from + m.indices[entry] * k.inner, value);
                for (int j = 0; j < Width; j++) { sums[j] += weight * value[j]; }
            }
            for (int j = 0; j < Width; j++) { value[j] = (float)sums[j]; }
        }
        spade_store(y + i * Width, value);
    }
}

} // namespace

int spade_launch_axis_map(spade_stream stream, const spade_axis_map_kernel *kernel, const float *x, float *y)
{
    const int64_t n = kernel->outer * kernel->rows * kernel->inner;
    if (kernel->inner % 4 == 0 && (uintptr_t)x % 16 == 0 && (uintptr_t)y % 16 == 0) {
        return SPADE_LAUNCH_INDEPENDENT(axis_map<4>, spade_blocks(n / 4), SPADE_THREADS, stream, *kernel, n / 4, x, y);
    }
    return SPADE_LAUNCH_INDEPENDENT(axis_map<1>, spade_blocks(n), SPADE_THREADS, stream, *kernel, n, x, y);
}
