/*
 * launch.h - the kernels as C functions: each checks nothing, enqueues its kernels on a stream and returns CUDA's error
 * code of the launch (0: none). Pointers are device memory unless marked host. No host code is included here; the
 * backend (src/host/backend/cuda) calls these and nothing else of src/kernels.
 */
#ifndef SPADE_LAUNCH_H
#define SPADE_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CUstream_st *spade_stream; /* cudaStream_t */

enum { SPADE_KERNEL_RANK = 8 }; /* most axes of a tensor */

/* ---- elementwise.cu */
/* The functions of backend.h's spade_function, by the same numbers. */
typedef struct spade_unary_kernel {
    int function;
    float alpha, beta;
} spade_unary_kernel;
int spade_launch_unary(spade_stream stream, spade_unary_kernel f, int64_t n, const float *x, float *y);
int spade_launch_unary_backward(spade_stream stream, spade_unary_kernel f, int64_t n, const float *x, const float *dy,
                                float *dx);
/* y = x * scale[c] + shift[c] (shift may be NULL), c = i / inner % channels; inner: elements between channels. */
int spade_launch_scale_shift(spade_stream stream, int64_t n, int64_t channels, int64_t inner, const float *x,
                             const float *scale, const float *shift, float *y);
/* y = alpha * x + beta * y; beta = 0 does not read y. */
int spade_launch_axpby(spade_stream stream, int64_t n, float alpha, const float *x, float beta, float *y);

#ifdef __cplusplus
}
#endif
#endif
