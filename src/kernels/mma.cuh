/*
 * mma.cuh - products of a warp on tensor cores: numbers rounded to TF32 or bfloat16 and packed into words, PACK of them
 * along the inner dimension (TF32: 1, bfloat16: 2), exact products, float32 sums.
 *
 * A step is 8 words of the inner dimension. With lane = 4 g + t, its parts of a tile of 16 x 8 of c = a b are, as PTX
 * lays out m16n8k8 (TF32) and m16n8k16 (bfloat16) alike when counted in words:
 *   a[0..3]   (row, word) = (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)
 *   b[0..1]   (word, column) = (t, g), (t + 4, g)
 *   c[0..3]   (row, column) = (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1)
 */
#ifndef SPADE_MMA_CUH
#define SPADE_MMA_CUH

#include "kernels/portable.cuh"

enum { SPADE_MMA_ROWS = 16, SPADE_MMA_COLUMNS = 8, SPADE_MMA_WORDS = 8 };

/* The bits of x to the nearest number without the last `dropped` bits, to the even one of two; no number stays none. */
__device__ __forceinline__ uint32_t spade_rounded_bits(float x, int dropped)
{
    uint32_t bits = __float_as_uint(x), unit = 1u << dropped;
    if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits | 0x400000u) & ~(unit - 1); }
    return (bits + unit / 2 - 1 + (bits >> dropped & 1)) & ~(unit - 1);
}

/* One word of PACK neighbours along the inner dimension. */
template <int PACK> __device__ __forceinline__ uint32_t spade_mma_word(const float (&x)[PACK])
{
    if constexpr (PACK == 1) {
        return spade_rounded_bits(x[0], 13);
    } else {
        return spade_rounded_bits(x[0], 16) >> 16 | spade_rounded_bits(x[1], 16);
    }
}

/* c += a b for M x N tiles, one step of the inner dimension. Called by all lanes of a warp. */
template <int PACK, int M, int N>
__device__ __forceinline__ void spade_mma(float (&c)[M][N][4], const uint32_t (&a)[M][4], const uint32_t (&b)[N][2])
{
#if defined(SPADE_EMULATE)
    emulation::multiply_tiles<PACK>(c, a, b);
#else
#pragma unroll
    for (int i = 0; i < M; i++) {
#pragma unroll
        for (int j = 0; j < N; j++) {
            if constexpr (PACK == 1) {
                asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                    "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                    : "+f"(c[i][j][0]), "+f"(c[i][j][1]), "+f"(c[i][j][2]), "+f"(c[i][j][3])
                    : "r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]), "r"(b[j][0]), "r"(b[j][1]));
            } else {
                asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                    "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                    : "+f"(c[i][j][0]), "+f"(c[i][j][1]), "+f"(c[i][j][2]), "+f"(c[i][j][3])
                    : "r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]), "r"(b[j][0]), "r"(b[j][1]));
            }
        }
    }
#endif
}

#endif
