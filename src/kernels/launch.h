/*
 * launch.h - the kernels as C functions: each checks nothing, enqueues its kernels on a stream and returns CUDA's error
 * code of the launch (0: none); spade_kernel_* tell sizes. Pointers are device memory unless marked host. No host code
 * is included here; the backend (src/host/backend/cuda) calls these and nothing else of src/kernels.
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
/* y = y + bias[c] (bias may be NULL), then relu if asked: what follows a product. c as above. */
int spade_launch_bias_relu(spade_stream stream, int64_t n, int64_t channels, int64_t inner, const float *bias,
                           bool relu, float *y);
/* y = alpha * x + beta * y; beta = 0 does not read y. */
int spade_launch_axpby(spade_stream stream, int64_t n, float alpha, const float *x, float beta, float *y);

/* ---- axes: broadcast.cu, index.cuh */
/* Axes from the slowest to the fastest, the strides of each operand along them (0 where it is repeated); rank >= 1. */
typedef struct spade_space_kernel {
    int rank;
    int64_t dims[SPADE_KERNEL_RANK];
    int64_t strides[3][SPADE_KERNEL_RANK];
} spade_space_kernel;

/* y = a + b or a * b over a space (host) in the order of y's memory; operands: 0 y, 1 a, 2 b. */
int spade_launch_binary(spade_stream stream, bool multiply, const spade_space_kernel *space, const float *a,
                        const float *b, float *y);

/* y = (sum over `summed` of a) / divisor; operands: 0 a, 1 y. Terms are cut into `pieces` of `piece` each. */
typedef struct spade_reduction_kernel {
    spade_space_kernel kept, summed;
    int64_t outputs, terms; /* elements of both spaces */
    int64_t piece, pieces;  /* pieces: 1 to 65535 */
    double divisor;
    bool along; /* the fastest axis of the memory is summed */
} spade_reduction_kernel;
/* partial: [pieces, outputs], not used for one piece. */
int spade_launch_sum(spade_stream stream, const spade_reduction_kernel *reduction, const float *a, double *partial,
                     float *y);

/* ---- softmax.cu */
/* Lines along an axis: their number, their length, elements between neighbours on a line (and from line to line). */
typedef struct spade_lines_kernel {
    int64_t count, length, step;
} spade_lines_kernel;
int spade_launch_softmax(spade_stream stream, spade_lines_kernel lines, const float *x, float *y);
int spade_launch_softmax_backward(spade_stream stream, spade_lines_kernel lines, const float *y, const float *dy,
                                  float *dx);

/* ---- layout.cu: for each image, y [columns, rows] = transpose of x [rows, columns] */
int spade_launch_transpose(spade_stream stream, int64_t images, int64_t rows, int64_t columns, const float *x,
                           float *y);

/* ---- pool.cu */
typedef struct spade_pool_kernel {
    int64_t n, channels, in[2], out[2];                /* height, width */
    int64_t x_strides[4], y_strides[4];                /* of n, channel, row, column; x and dx, y and dy */
    int64_t kernel[2], stride[2], dilation[2], pad[2]; /* pad: before the image */
    bool x_last, y_last;                               /* channels last */
    bool max, count_padding;
} spade_pool_kernel;
size_t spade_kernel_pool_saved_bytes(const spade_pool_kernel *kernel);
/* saved: max; NULL: not wanted. */
int spade_launch_pool(spade_stream stream, const spade_pool_kernel *kernel, const float *x, void *saved, float *y);
/* saved: max; NULL for the average. */
int spade_launch_pool_backward(spade_stream stream, const spade_pool_kernel *kernel, const float *dy, const void *saved,
                               float *dx);
/* The backward of the average over whole images. */
int spade_launch_spread_mean(spade_stream stream, const spade_pool_kernel *kernel, const float *dy, float *dx);

/* ---- augment.cu */
enum { SPADE_AUGMENT_GROUP = 48 };    /* most variants of one launch: their parameters come by value, 4 KB at most */
typedef struct spade_variant_kernel { /* spade_variant in the types that the arithmetic has */
    int32_t top, left, height, width;
    int32_t erase[4];
    float brightness, contrast, saturation, hue;
    double noise;
    uint32_t noise_key[4];
    int32_t flip;
} spade_variant_kernel;
typedef struct spade_augment_kernel {
    int64_t picture_width, height, width; /* height, width: of the result */
    int64_t taps[2];                      /* most weights of any variant's filter: across, down */
    float mean[3], std[3];
    bool channels_last;
    int count;
    spade_variant_kernel variants[SPADE_AUGMENT_GROUP];
} spade_augment_kernel;
/* Workspace of `count` variants. */
size_t spade_kernel_augment_bytes(int64_t height, int64_t width, const int64_t taps[2], int64_t count);
/* picture: [picture height, picture_width, 3] in [0, 1]; out: [count, 3, height, width] in the layout asked for. */
int spade_launch_augment(spade_stream stream, const spade_augment_kernel *kernel, const float *picture, void *workspace,
                         float *out);

#ifdef __cplusplus
}
#endif
#endif
