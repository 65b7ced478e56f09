/*
 * cuda.h - the CUDA backend's inside: the device, and what its table is made of.
 *
 * A shared object of its own (spade-cuda.so), loaded when a CUDA device is asked for (backend/registry.c). Everything
 * runs on the device's one stream, in the order of the calls: nothing here waits for the device but `download` and
 * `synchronize`, which also bring what the solvers hand to the host (results.c). Kernels are called through
 * kernels/launch.h only; matrix products are cuBLAS's, factors cuSOLVER's, convolutions those of cuDNN's graph API.
 *
 * Matrices: the libraries count columns first. A row-major [m, n] is their n x m with ld = n, and (A B)^T = B^T A^T.
 */
#ifndef SPADE_CUDA_H
#define SPADE_CUDA_H

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn_backend.h>
#include <cusolverDn.h>

#include "backend/dispatch.h"
#include "backend/tensor_iterator.h"
#include "kernels/launch.h"

typedef struct spade_cuda_convolution spade_cuda_convolution; /* convolution.c */

typedef struct spade_cuda_device {
    spade_device base; /* first: a spade_device is cast to this */
    int index;
    cudaStream_t stream;
    cudaMemPool_t pool; /* where `alloc` takes from: freed blocks stay for the next */
    cublasHandle_t blas;
    cusolverDnHandle_t solver;
    cudnnHandle_t dnn;
    int processors;                       /* multiprocessors */
    size_t shared_bytes;                  /* most shared memory of a block, opted in */
    int major, minor;                     /* compute capability */
    spade_cuda_convolution *convolutions; /* every convolution planned so far; owned */
    struct spade_cuda_solve *solve;       /* solve.c; owned, made by the first solver that runs */
    struct spade_cuda_results *results;   /* results.c; owned, made with it */
    struct spade_cuda_staging *staging;   /* staging.c; owned */
    void *blas_workspace;                 /* cuBLAS's; `blas_bytes` of it */
    size_t blas_bytes;
    struct spade_cuda_capture *record; /* capture.c; owned */
} spade_cuda_device;

enum { SPADE_CUDA_ALIGNMENT = 256 /* of the pieces of a workspace */ };

static inline spade_cuda_device *spade_cuda_of(spade_device *device)
{
    return (spade_cuda_device *)device;
}

/* ---- error.c: SPADE_OK, or the failure with the device, the call and what the library says */
spade_status spade_cuda_status(const spade_cuda_device *device, cudaError_t result, const char *call);
spade_status spade_cuda_blas_status(const spade_cuda_device *device, cublasStatus_t result, const char *call);
spade_status spade_cuda_solver_status(const spade_cuda_device *device, cusolverStatus_t result, const char *call);
spade_status spade_cuda_dnn_status(const spade_cuda_device *device, cudnnStatus_t result, const char *call);
/* A failure of the runtime that nobody has to be told: the runtime itself would tell it after the next kernel's launch,
 * as that launch's. A device that is lost says so at every call. */
void spade_cuda_ignore_error(cudaError_t result);
/* A launcher's result; `kernel` names it. */
spade_status spade_cuda_launched(const spade_cuda_device *device, int result, const char *kernel);
#define SPADE_CUDA_TRY(device, call) SPADE_TRY(spade_cuda_status((device), (call), #call))
#define SPADE_CUDA_BLAS(device, call) SPADE_TRY(spade_cuda_blas_status((device), (call), #call))
#define SPADE_CUDA_SOLVER(device, call) SPADE_TRY(spade_cuda_solver_status((device), (call), #call))
#define SPADE_CUDA_DNN(device, call) SPADE_TRY(spade_cuda_dnn_status((device), (call), #call))
#define SPADE_CUDA_LAUNCH(device, call) SPADE_TRY(spade_cuda_launched((device), (call), #call))

/* ---- memory.c */
spade_status spade_cuda_alloc(spade_device *device, size_t bytes, const char *what, void **out);
void spade_cuda_free(spade_device *device, void *pointer, size_t bytes);
spade_status spade_cuda_copy(spade_device *device, void *to, const void *from, size_t bytes);
spade_status spade_cuda_zero(spade_device *device, void *to, size_t bytes);
spade_status spade_cuda_synchronize(spade_device *device);
spade_status spade_cuda_axpby(spade_device *device, int64_t n, float alpha, const float *x, float beta, float *y);
spade_status spade_cuda_magnitude(spade_device *device, int64_t n, const float *x, float *largest);
/* Cut pieces of SPADE_CUDA_ALIGNMENT multiples off a workspace; base NULL only counts. */
void *spade_cuda_take(void *base, size_t *used, size_t bytes);

/* ---- staging.c: copies between host and device */
typedef struct spade_cuda_staging spade_cuda_staging;
spade_status spade_cuda_staging_open(spade_cuda_device *cuda);
void spade_cuda_staging_close(spade_cuda_device *cuda);
spade_status spade_cuda_upload(spade_device *device, void *to, const void *from_host, size_t bytes);
spade_status spade_cuda_download(spade_device *device, void *to_host, const void *from, size_t bytes);

/* ---- capture.c */
spade_status spade_cuda_capture_open(spade_cuda_device *cuda);
void spade_cuda_capture_close(spade_cuda_device *cuda);
bool spade_cuda_capturing(const spade_cuda_device *cuda); /* is one being made? */
/* The first failure while one is made is what its end gives. Hands the status on. */
spade_status spade_cuda_latch_error(const spade_cuda_device *cuda, spade_status status);
/* While one is made, memory is freed when it has ended: true where one is, and it now has this pointer. */
bool spade_cuda_defer_free(spade_cuda_device *cuda, void *pointer);
/* While one is made: a failure that says what cannot be in it. */
spade_status spade_cuda_refuse_capture(const spade_cuda_device *cuda, const char *what);
spade_status spade_cuda_capture_begin(spade_device *device);
spade_status spade_cuda_capture_end(spade_device *device, spade_captured_graph **out);
spade_status spade_cuda_graph_launch(spade_device *device, spade_captured_graph *captured);
void spade_cuda_graph_destroy(spade_device *device, spade_captured_graph *captured);

/* ---- results.c: numbers for the host, one record a problem of a solver */
enum { SPADE_CUDA_RESULTS = 4096 /* most problems of a part of a call */ };
typedef void (*spade_cuda_deliver_fn)(void *args, const spade_result_kernel *result);
spade_status spade_cuda_results_open(spade_cuda_device *cuda);
void spade_cuda_results_close(spade_cuda_device *cuda);
/* Records [n] of n problems of `size` bytes each; `deliver` gets each when the host has waited for it. What is in them
 * before is undefined. */
spade_status spade_cuda_results_take(spade_cuda_device *cuda, void *problems, size_t size, int n,
                                     spade_cuda_deliver_fn deliver, spade_result_kernel **records);
/* A solver's call on n problems of `size` bytes each, in parts that the records hold; where it fails, its problems get
 * nothing. */
typedef spade_status (*spade_cuda_part_fn)(spade_cuda_device *cuda, void *problems, int n, void *user);
spade_status spade_cuda_in_parts(spade_cuda_device *cuda, void *problems, size_t size, int n, spade_cuda_part_fn part,
                                 void *user);
/* Enqueue the copy of all to the host; when it has come, deliver; or give up what has not been delivered. */
spade_status spade_cuda_results_send(spade_cuda_device *cuda);
void spade_cuda_results_deliver(spade_cuda_device *cuda);
void spade_cuda_results_drop(spade_cuda_device *cuda);

/* ---- operations on tensors, each in its own file */
/* pool.c, softmax.c, layer_norm.c: what their kernels are told, for rescale.c too */
spade_pool_kernel spade_cuda_pool_kernel(const spade_op_desc *desc);
spade_lines_kernel spade_cuda_lines(const spade_op_desc *desc);
spade_layer_norm_kernel spade_cuda_layer_norm_kernel(const spade_op *op, const spade_op_args *args);

#define SPADE_CUDA_ENTRY(kind, name, entry, fits) extern const spade_op_entry spade_cuda_##entry##_op;
SPADE_OPS(SPADE_CUDA_ENTRY)
#undef SPADE_CUDA_ENTRY

/* ---- hessian/, solver/: sub-tables */
extern const spade_backend_hessian spade_cuda_hessian;
extern const spade_backend_solver spade_cuda_solver;
extern const spade_backend_visualize spade_cuda_visualize; /* visualize.c */

/* ---- pointwise.c: what goes with matrix products, as pointwise steps */
/* y = y + bias[channel] (bias may be NULL), then relu if asked. y: [n / (channels * inner), channels, inner]. */
spade_status spade_cuda_bias_relu(const spade_cuda_device *cuda, int64_t n, int64_t channels, int64_t inner,
                                  const float *bias, bool relu, float *y);
/* y [rows, columns] = x * scale of the row. */
spade_status spade_cuda_scale_rows(const spade_cuda_device *cuda, int64_t rows, int64_t columns, const float *x,
                                   const float *scale, float *y);

/* ---- reduce.c */
/* y = (sum of a over the axes where y has 1) / divisor, and the bytes of workspace for it. */
spade_reduction_kernel spade_cuda_reduction(const spade_shape *a, const spade_shape *y, double divisor);
size_t spade_cuda_reduction_bytes(const spade_reduction_kernel *reduction);
/* The axes of an iterator, and what its first two operands' strides are. */
spade_tensor_iterator_kernel spade_cuda_iterator(const spade_tensor_iterator *iterator);

/* ---- layout.c */
/* Copy a tensor of this shape into another layout. */
spade_status spade_cuda_convert(spade_cuda_device *device, const spade_shape *shape, spade_layout from, const float *x,
                                spade_layout to, float *y);

/* ---- linear.c: matrix products of the network by cuBLAS, in its precision */
/* out [m, rows] = x [m, columns] weights^T, weights [rows, columns]; backward: out [m, columns] = x [m, rows] weights.
 */
spade_status spade_cuda_linear_product(const spade_op *op, int64_t m, int64_t rows, int64_t columns, bool backward,
                                       const float *x, const float *weights, float *out);

/* ---- augment.c */
spade_status spade_cuda_augment(spade_device *device, const float *picture, int64_t height, int64_t width,
                                const spade_preprocess *preprocess, const spade_variant *variants, int64_t count,
                                const spade_augment_target *to);

/* ---- resample.c, heatmap.c */
spade_status spade_cuda_resample(spade_device *device, const spade_resample_args *args);
spade_status spade_cuda_picture_to_floats(spade_device *device, int64_t n, const uint8_t *picture, float *out);
spade_status spade_cuda_heatmap(spade_device *device, const spade_heatmap_args *args);

/* ---- attribution.c */
spade_status spade_cuda_points(spade_device *device, const spade_points *points, const float *x, float *out);
spade_status spade_cuda_path_products(spade_device *device, const spade_points *points, const float *x,
                                      const float *gradients, float *products);
spade_status spade_cuda_mask_inputs(spade_device *device, const spade_mask_inputs_args *args);
spade_status spade_cuda_blend_inputs(spade_device *device, const spade_blend_inputs_args *args);
spade_status spade_cuda_seed(spade_device *device, const spade_seed_args *args);
spade_status spade_cuda_sum_gradients(spade_device *device, int64_t size, int64_t count, const double *weight,
                                      const float *gradients, bool squared, bool add, double *sum);
spade_status spade_cuda_finish_map(spade_device *device, int64_t size, const double *sum, const float *x,
                                   double divisor, bool absolute, float *map);
spade_status spade_cuda_finish_variance(spade_device *device, int64_t size, const double *sum, const double *squares,
                                        double divisor, float *map);

/* ---- convolution.c: on cuDNN */
void spade_cuda_convolutions_destroy(spade_cuda_device *device);
/* How exact cuBLAS's float32 products of the network are: what the context's precision allows (bf16: TF32, its tensors
 * are float32). Each product sets the handle's mode. */
static inline cublasMath_t spade_cuda_math_mode(const spade_cuda_device *device)
{
    return device->base.context->precision == SPADE_NETWORK_FP32 ? CUBLAS_PEDANTIC_MATH : CUBLAS_TF32_TENSOR_OP_MATH;
}

/* ---- solve.c, sweep.c, exact.c: the solvers */
enum { SPADE_CUDA_SIDE_STREAMS = 8, SPADE_CUDA_COUNTS = 4096 };
typedef struct spade_cuda_solve {
    int64_t *counts; /* device [SPADE_CUDA_COUNTS]: of rows of the exact solver */
    int *info;       /* device [SPADE_CUDA_SIDE_STREAMS], behind it: cuSOLVER's, of inverses */
    /* streams that factors run on side by side, each with its handle; joined with the device's own by events */
    cudaStream_t side_streams[SPADE_CUDA_SIDE_STREAMS];
    cusolverDnHandle_t solvers[SPADE_CUDA_SIDE_STREAMS];
    cudaEvent_t begun, done[SPADE_CUDA_SIDE_STREAMS];
} spade_cuda_solve;
spade_status spade_cuda_solve_open(spade_cuda_device *cuda);
void spade_cuda_solve_close(spade_cuda_device *cuda);

#endif
