/*
 * memory.cu - y = alpha x + beta y.
 *
 * Division of work: threads stride over the elements, 4 neighbours (16 bytes) each where both arrays allow it;
 * neighbouring threads take neighbouring elements.
 */
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
