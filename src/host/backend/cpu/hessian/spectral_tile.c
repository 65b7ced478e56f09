/*
 * spectral_tile.c - the kernel of the spectral Hessian for each number type and vector length.
 *
 * Compiled with contraction (CMakeLists.txt): a product and its sum are one rounding wherever the processor has fused
 * multiply-add. All its vectors do the same, so a number does not depend on its place in a tile.
 */
#include <string.h>

#include "backend/cpu/hessian/autocorrelation.h"
#include "backend/cpu/hessian/spectral.h"
#include "backend/cpu/target.h"

enum { MAX_REACH = SPADE_LAG_MAX_KERNEL };

#if defined(__x86_64__)
#define REAL float
#define BYTES 64
#define HEIGHT 4
#define WIDTH 2
#define TARGET __attribute__((target(SPADE_AVX512 ",fma")))
#define NAME(x) f32_avx512_##x
#include "backend/cpu/hessian/spectral_tile.h"

#define REAL double
#define BYTES 64
#define HEIGHT 4
#define WIDTH 2
#define TARGET __attribute__((target(SPADE_AVX512 ",fma")))
#define NAME(x) f64_avx512_##x
#include "backend/cpu/hessian/spectral_tile.h"

#define REAL float
#define BYTES 32
#define HEIGHT 2
#define WIDTH 2
#define TARGET __attribute__((target("avx2,fma")))
#define NAME(x) f32_avx2_##x
#include "backend/cpu/hessian/spectral_tile.h"

#define REAL double
#define BYTES 32
#define HEIGHT 2
#define WIDTH 2
#define TARGET __attribute__((target("avx2,fma")))
#define NAME(x) f64_avx2_##x
#include "backend/cpu/hessian/spectral_tile.h"
#endif

#define REAL float
#define BYTES 16
#define HEIGHT 2
#define WIDTH 2
#define TARGET
#define NAME(x) f32_plain_##x
#include "backend/cpu/hessian/spectral_tile.h"

#define REAL double
#define BYTES 16
#define HEIGHT 2
#define WIDTH 2
#define TARGET
#define NAME(x) f64_plain_##x
#include "backend/cpu/hessian/spectral_tile.h"

#define KERNELS(type, name) ((spade_spectral_kernels){type##_##name##_run, type##_##name##_combine})
spade_spectral_kernels spade_spectral_choose(bool fp64)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) { return fp64 ? KERNELS(f64, avx512) : KERNELS(f32, avx512); }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return fp64 ? KERNELS(f64, avx2) : KERNELS(f32, avx2);
    }
#endif
    return fp64 ? KERNELS(f64, plain) : KERNELS(f32, plain);
}
