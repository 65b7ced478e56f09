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

/* ---- convolution.cu */
/*
 * A tensor [batch, channels, height, width] of floats beside a staged one [batch, channels, full_height, full_width]
 * in which it lies from (top, left) on; each row-major or channels-last, the staged one of floats or of bfloat16.
 */
typedef struct spade_staged_kernel {
    int64_t batch, channels, height, width;
    int64_t top, left, full_height, full_width;
    bool last, staged_last, half;
} spade_staged_kernel;
/* The whole staged tensor: x, zeros around it. */
int spade_launch_stage(spade_stream stream, spade_staged_kernel k, const float *x, void *staged);
/* y = x's part of the staged tensor + bias[channel], then relu; bias may be NULL. */
int spade_launch_unstage(spade_stream stream, spade_staged_kernel k, const void *staged, const float *bias, bool relu,
                         float *y);
/* y += bias[c] (may be NULL), then relu, in place; c = i / inner % channels. */
int spade_launch_bias_relu(spade_stream stream, int64_t n, int64_t channels, int64_t inner, const float *bias,
                           bool relu, float *y);
/* Weights [rows, inputs, taps] times scale [rows] (may be NULL), packed in that order or as [rows, taps, inputs]. */
typedef struct spade_packing_kernel {
    int64_t rows, inputs, taps;
    bool last, half; /* [rows, taps, inputs]; bfloat16 */
} spade_packing_kernel;
int spade_launch_convolution_pack(spade_stream stream, spade_packing_kernel k, const float *weights, const float *scale,
                                  void *packed);

#ifdef __cplusplus
}
#endif
#endif
