/*
 * tile.cuh - float64 product of a tile of 64 x 64 by one block of 256 threads: both operands pass through shared
 * memory, 16 of the inner dimension at a time; thread t sums the 4 x 4 elements (t / 16 + 16 i, t % 16 + 16 j) in
 * registers, in the order of the inner dimension.
 */
#ifndef SPADE_TILE_CUH
#define SPADE_TILE_CUH

#include "kernels/portable.cuh"

enum { SPADE_TILE = 64, SPADE_TILE_THREADS = 256, SPADE_TILE_DEPTH = 16, SPADE_TILE_STEP = 16, SPADE_TILE_EACH = 4 };

struct spade_tile_shared {
    double a[SPADE_TILE_DEPTH][SPADE_TILE], b[SPADE_TILE_DEPTH][SPADE_TILE];
};

/* Row and column of this thread's element (i, j). */
__device__ __forceinline__ int spade_tile_row(int i)
{
    return (int)threadIdx.x / SPADE_TILE_STEP + i * SPADE_TILE_STEP;
}
__device__ __forceinline__ int spade_tile_column(int j)
{
    return (int)threadIdx.x % SPADE_TILE_STEP + j * SPADE_TILE_STEP;
}

/* sum += over k < depth of a(k, row) b(k, column); a and b give 0 outside of their matrices. */
template <typename A, typename B>
__device__ __forceinline__ void spade_tile_product(int64_t depth, A a, B b, spade_tile_shared &shared,
                                                   double (&sum)[SPADE_TILE_EACH][SPADE_TILE_EACH])
{
    for (int64_t first = 0; first < depth; first += SPADE_TILE_DEPTH) {
        for (int q = (int)threadIdx.x; q < SPADE_TILE_DEPTH * SPADE_TILE; q += SPADE_TILE_THREADS) {
            int k = q / SPADE_TILE, at = q % SPADE_TILE;
            bool inside = first + k < depth;
            shared.a[k][at] = inside ? a(first + k, at) : 0.0;
            shared.b[k][at] = inside ? b(first + k, at) : 0.0;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < SPADE_TILE_DEPTH; k++) {
            double left[SPADE_TILE_EACH], right[SPADE_TILE_EACH];
#pragma unroll
            for (int i = 0; i < SPADE_TILE_EACH; i++) {
                left[i] = shared.a[k][spade_tile_row(i)];
                right[i] = shared.b[k][spade_tile_column(i)];
            }
#pragma unroll
            for (int i = 0; i < SPADE_TILE_EACH; i++) {
#pragma unroll
                for (int j = 0; j < SPADE_TILE_EACH; j++) { sum[i][j] += left[i] * right[j]; }
            }
        }
        __syncthreads();
    }
}

#endif
