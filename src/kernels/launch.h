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

/* ---- factor.cu, sweep.cu, exact.cu: the solvers, float64. `failed`: 1 where a matrix is not positive definite or a
 * number is not finite, else 0. */
enum { SPADE_SOLVE_BATCH = 64 }; /* most problems of one launch */

/* Dead inputs (H_dd = 0: 1, and marked), then damping of the diagonal of H [k, k]. */
typedef struct spade_condition_kernel {
    int64_t k;
    double damping;
    double *hessian;
    uint8_t *dead;
    int *failed;
} spade_condition_kernel;
typedef struct spade_condition_batch {
    int n;
    spade_condition_kernel problems[SPADE_SOLVE_BATCH];
} spade_condition_batch;
int spade_launch_condition(spade_stream stream, const spade_condition_batch *batch /* host */);
/* a [n] from its end to its beginning. */
int spade_launch_reverse(spade_stream stream, int64_t n, double *a);
/* a [k, k]: below the diagonal what is above it. */
int spade_launch_mirror(spade_stream stream, int64_t k, double *a);
/* Whether V [k, k] is a factor; info: the library's. */
int spade_launch_check_factor(spade_stream stream, int64_t k, const double *v, const int *info, int *failed);
/* H -> V, H = V V^T, upper triangles [k, k], k at most SPADE_FACTOR_SMALL. */
enum { SPADE_FACTOR_SMALL = 96 };
typedef struct spade_factor_kernel {
    int64_t k;
    double *hessian;
    int *failed;
} spade_factor_kernel;
typedef struct spade_factor_batch {
    int n;
    spade_factor_kernel problems[SPADE_SOLVE_BATCH];
} spade_factor_batch;
int spade_launch_factor_small(spade_stream stream, const spade_factor_batch *batch /* host */);
/* *out = sum of a[i] b[i] */
int spade_launch_dot(spade_stream stream, int64_t n, const double *a, const double *b, double *out);

/*
 * The fast solver's sweep. Columns of the layer are rows here: neighbouring threads have neighbouring rows of the
 * layer. `panel` columns are swept at a time, a multiple of `block`; `parts` sums of SPADE_SWEEP_DEPTH columns each.
 */
enum { SPADE_SWEEP_PANEL = 64, SPADE_SWEEP_DEPTH = 512 };
typedef struct spade_sweep_kernel {
    int64_t rows, columns, block, panel;
    const int64_t *prune; /* [blocks] weights to prune in each block; NULL: all but `keep` of a block in each row */
    int64_t keep;
    const double *v; /* [columns, columns] */
    float *weights;  /* [columns, rows] W, then Q */
    double *removed; /* [columns, rows] W - Q */
    double *left;    /* [panel, rows] */
    double *partial; /* [parts, panel, rows]; NULL where there is one part at most */
    double *scores;  /* [block, rows] */
    double *errors;  /* [rows] sums of squares */
} spade_sweep_kernel;
typedef struct spade_sweep_batch {
    int n;
    spade_sweep_kernel problems[SPADE_SOLVE_BATCH];
} spade_sweep_batch;
/* weights from dense [rows, columns], dead columns zero; errors to zero. */
int spade_launch_sweep_begin(spade_stream stream, const spade_sweep_kernel *problem /* host */, const float *dense,
                             const uint8_t *dead);
/* left = the sum over all columns before panel `index` of removed times V, for the panel's columns; index from 1. */
int spade_launch_sweep_gather(spade_stream stream, const spade_sweep_batch *batch /* host */, int64_t index);
/* The panel: scores, masks, pruning, block by block. */
int spade_launch_sweep_panel(spade_stream stream, const spade_sweep_batch *batch /* host */, int64_t index);
/* sparse [rows, columns] from weights; *loss = the sum of errors / 2. */
int spade_launch_sweep_end(spade_stream stream, const spade_sweep_kernel *problem /* host */, float *sparse,
                           double *loss);

/* Exact OBC; see backend.h's spade_exact_args. The problems of a batch have the same columns and group. */
typedef struct spade_exact_kernel {
    int64_t rows;
    const double *inverse, *hessian, *w;
    int32_t *order;
    double *losses, *q;
    const int64_t *counts; /* refit; device */
    int *failed;           /* 0 before; set where a row fails */
} spade_exact_kernel;
typedef struct spade_exact_batch {
    int n;
    int64_t columns, group;
    spade_exact_kernel problems[SPADE_SOLVE_BATCH];
} spade_exact_batch;
/* Bytes of working memory of one row in the works. */
size_t spade_exact_lane_bytes(int64_t columns, int64_t group);
size_t spade_refit_lane_bytes(int64_t columns);
/* lanes: rows in the works at once, each with its own part of the workspace. */
int spade_launch_eliminate(spade_stream stream, const spade_exact_batch *batch /* host */, int64_t lanes,
                           void *workspace);
int spade_launch_refit(spade_stream stream, const spade_exact_batch *batch /* host */, int64_t lanes, void *workspace);

#ifdef __cplusplus
}
#endif
#endif
