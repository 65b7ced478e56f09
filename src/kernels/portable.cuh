/*
 * portable.cuh - what every kernel file includes: CUDA itself, or, where the kernels are compiled for the processor to be
 * tested (SPADE_EMULATE), the emulation of it.
 *
 * Kernels are started by the macros below only, so that one file serves both:
 *   SPADE_LAUNCH          a kernel whose threads meet (barriers, shuffles, shared memory)
 *   SPADE_LAUNCH_INDEPENDENT    one whose threads never meet: the emulation then runs them as plain loops
 *   SPADE_LAUNCH_COOPERATIVE a cooperative one, whose blocks meet too: spade_grid_sync()
 * Each ends in the error of the launch, 0 for none. SPADE_DYNAMIC_SHARED(type, name) names a block's dynamic shared memory.
 */
#ifndef SPADE_PORTABLE_CUH
#define SPADE_PORTABLE_CUH

#include <stdint.h>

#include "kernels/launch.h"

#if defined(SPADE_EMULATE)
#include "cuda_emulation.h"
#else
#include <cooperative_groups.h>
#include <cuda_runtime.h>

#define SPADE_LAUNCH(kernel, grid, block, shared, stream, ...)                                                         \
    (kernel<<<(grid), (block), (shared), (cudaStream_t)(stream)>>>(__VA_ARGS__), (int)cudaGetLastError())
#define SPADE_LAUNCH_INDEPENDENT(kernel, grid, block, stream, ...)                                                     \
    SPADE_LAUNCH(kernel, grid, block, 0, stream, __VA_ARGS__)
#define SPADE_DYNAMIC_SHARED(type, name)                                                                               \
    extern __shared__ __align__(16) unsigned char spade_dynamic_shared[];                                              \
    type *name = reinterpret_cast<type *>(spade_dynamic_shared)

template <typename... Parameters, typename... Arguments>
static inline int spade_launch_cooperative(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared,
                                           spade_stream stream, Arguments... arguments)
{
    void *list[] = {const_cast<void *>(static_cast<const void *>(&arguments))...};
    return (int)cudaLaunchCooperativeKernel(reinterpret_cast<const void *>(kernel), grid, block, list, shared,
                                            (cudaStream_t)stream);
}
#define SPADE_LAUNCH_COOPERATIVE(kernel, grid, block, shared, stream, ...)                                             \
    spade_launch_cooperative(kernel, grid, block, shared, stream, __VA_ARGS__)
static __device__ __forceinline__ void spade_grid_sync()
{
    cooperative_groups::this_grid().sync();
}
#endif

/* Work on n items by threads that stride over all of them: enough blocks of SPADE_THREADS to fill a GPU, no more. */
enum { SPADE_THREADS = 256, SPADE_MAX_BLOCKS = 8192 };
static inline unsigned spade_blocks(int64_t n)
{
    int64_t blocks = (n + SPADE_THREADS - 1) / SPADE_THREADS;
    if (blocks < 1) { return 1; }
    return blocks < SPADE_MAX_BLOCKS ? (unsigned)blocks : (unsigned)SPADE_MAX_BLOCKS;
}
/* for (int64_t i = first item of this thread; i < n; i += all threads) */
#define SPADE_EACH(i, n)                                                                                               \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (int64_t)gridDim.x * blockDim.x)

#endif
