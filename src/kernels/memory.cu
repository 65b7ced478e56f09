/*
 * memory.cu - y = alpha x + beta y, and the largest magnitude.
 *
 * Division of work: threads stride over the elements, 4 neighbours (16 bytes) each where both arrays allow it;
 * neighbouring threads take neighbouring elements. The largest of a block meets those of the others in one atomic
 * maximum, which has the same result in every order.
 */
#include "kernels/block.cuh"
#include "kernels/index.cuh"

namespace
{

template <int Width> __global__ void axpby(int64_t n, float alpha, const float *x, float beta, float *y)
{
    SPADE_EACH(i, n)
    {
        float from[Width], to[Width] = {};
        spade_load(x + i * Width, from);
        if (beta != 0) { spade_load(y + i * Width, to); }
        for (int j = 0; j < Width; j++) { to[j] = beta == 0 ? alpha * from[j] : alpha * from[j] + beta * to[j]; }
        spade_store(y + i * Width, to);
    }
}

/* Without their sign, the bits of floats are ordered as their magnitudes are, infinity behind all finite numbers and NaN
 * behind infinity. */
template <int Width> __global__ void magnitude(int64_t n, const float *x, int *largest)
{
    __shared__ spade_block_scratch<int, SPADE_THREADS> scratch;
    int bits = 0;
    SPADE_EACH(i, n)
    {
        float from[Width];
        spade_load(x + i * Width, from);
        for (int j = 0; j < Width; j++) {
            const int found = __float_as_int(from[j]) & INT32_MAX;
            bits = found > bits ? found : bits;
        }
    }
    bits = spade_block_reduce(
        bits, [](int a, int b) { return a > b ? a : b; }, scratch);
    if (threadIdx.x == 0) { atomicMax(largest, bits); }
}

bool quads(int64_t n, const void *x, const void *y)
{
    return n % 4 == 0 && ((uintptr_t)x | (uintptr_t)y) % 16 == 0;
}

} // namespace

int spade_launch_axpby(spade_stream stream, int64_t n, float alpha, const float *x, float beta, float *y)
{
    return quads(n, x, y)
               ? SPADE_LAUNCH_INDEPENDENT(axpby<4>, spade_blocks(n / 4), SPADE_THREADS, stream, n / 4, alpha, x, beta,
                                          y)
               : SPADE_LAUNCH_INDEPENDENT(axpby<1>, spade_blocks(n), SPADE_THREADS, stream, n, alpha, x, beta, y);
}

int spade_launch_magnitude(spade_stream stream, int64_t n, const float *x, float *largest)
{
    int *bits = reinterpret_cast<int *>(largest);
    return quads(n, x, x) ? SPADE_LAUNCH(magnitude<4>, spade_blocks(n / 4), SPADE_THREADS, 0, stream, n / 4, x, bits)
                          : SPADE_LAUNCH(magnitude<1>, spade_blocks(n), SPADE_THREADS, 0, stream, n, x, bits);
}
