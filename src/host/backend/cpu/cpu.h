/*
 * cpu.h - the CPU backend's inside: the device, the planned operation, and the functions that its table is made of.
 *
 * How it stays reproducible: every loop is cut into pieces of a fixed size, a piece is computed by one thread with the
 * same instructions whichever thread that is, and sums over pieces are taken in the order of the pieces. OpenBLAS is
 * only called from inside a parallel region, where it uses no threads of its own. oneDNN splits outputs, never sums,
 * between threads.
 */
#ifndef SPADE_CPU_H
#define SPADE_CPU_H

#include <oneapi/dnnl/dnnl.h>
#include <omp.h>

#include "backend/backend.h"

typedef struct spade_cpu_device {
    spade_device base; /* first: a spade_device is cast to this */
    dnnl_engine_t engine;
    dnnl_stream_t stream;
} spade_cpu_device;

enum {
    SPADE_CPU_CHUNK = 16384,  /* elements that one thread computes at a time in loops over whole tensors */
    SPADE_CPU_ALIGNMENT = 64, /* of the pieces of a workspace */
    SPADE_CPU_TILE_ROWS = 128,
    SPADE_CPU_TILE_COLUMNS = 256 /* of a matrix product */
};

static inline spade_cpu_device *spade_cpu_of(spade_device *device)
{
    return (spade_cpu_device *)device;
}
static inline int spade_cpu_threads(const spade_device *device)
{
    return device->context->threads;
}

/* An operand of a oneDNN primitive. Primitives work channels-last; a row-major tensor passes through a copy in the
 * workspace. */
typedef struct spade_cpu_operand {
    dnnl_memory_t memory;
    const spade_shape *shape; /* the tensor's; in the operation's description */
    bool convert;
    size_t offset; /* of the copy in the workspace */
} spade_cpu_operand;

/* A planned operation. The loops need the description only; what oneDNN computes has a primitive and its operands. */
struct spade_op {
    spade_cpu_device *device;
    spade_op_desc desc;
    size_t workspace_bytes, saved_bytes, packed_bytes;

    int threads; /* of the primitive: 1 where its sums would depend on the number of threads */
    dnnl_primitive_t primitive;
    dnnl_primitive_t without_saved;  /* max pooling that writes no `saved` */
    spade_cpu_operand input, output; /* x and y, or dy and dx */
    dnnl_memory_t weights, bias, saved, scratchpad;
    size_t scratchpad_offset; /* in the workspace */
    size_t bias_offset;       /* in the packed weights: zeros, for a convolution without bias */
};

/* ---- memory.c */
spade_status spade_cpu_alloc(spade_device *device, size_t bytes, const char *what, void **out);
void spade_cpu_free(spade_device *device, void *pointer, size_t bytes);
spade_status spade_cpu_copy(spade_device *device, void *to, const void *from, size_t bytes);
spade_status spade_cpu_zero(spade_device *device, void *to, size_t bytes);
spade_status spade_cpu_axpby(spade_device *device, int64_t n, float alpha, const float *x, float beta, float *y);

/* ---- op.c: checks a description, hands it to the files below */
bool spade_cpu_supports(spade_device *device, const spade_op_desc *desc);
spade_status spade_cpu_plan(spade_device *device, const spade_op_desc *desc, spade_op **out);
void spade_cpu_destroy(spade_op *op);
size_t spade_cpu_workspace_bytes(const spade_op *op);
size_t spade_cpu_saved_bytes(const spade_op *op);
size_t spade_cpu_packed_bytes(const spade_op *op);
spade_status spade_cpu_pack(spade_op *op, const float *weights, const float *row_scale, void *packed);
spade_status spade_cpu_run(spade_op *op, const spade_op_args *args);
/* ---- dnnl.c: what convolution.c and pool.c share */
/* SPADE_OK for dnnl_success, else the kind of failure that a oneDNN status is, with the operation described. */
spade_status spade_cpu_dnnl_status(const spade_op *op, dnnl_status_t result, const char *call);
/* A sliding window as oneDNN takes it: its own array type, dilation counts from 0. */
typedef struct spade_cpu_window {
    dnnl_dims_t kernel, stride, dilation, pad_before, pad_after;
} spade_cpu_window;
void spade_cpu_dnnl_window(const spade_window *window, spade_cpu_window *out);
/* A channels-last tensor of this shape. */
spade_status spade_cpu_dnnl_shape(const spade_op *op, const spade_shape *shape, dnnl_memory_desc_t *out);
/* Attributes: strict float32, scratchpad from the caller, relu after it where asked. */
spade_status spade_cpu_dnnl_attributes(const spade_op *op, bool relu, dnnl_primitive_attr_t *out);
spade_status spade_cpu_dnnl_memory(const spade_op *op, const dnnl_memory_desc_t *desc, dnnl_memory_t *out);
/* From a primitive's descriptor: its operands, its scratchpad, where both lie in the workspace. */
spade_status spade_cpu_dnnl_operands(spade_op *op, const_dnnl_primitive_desc_t primitive_desc);
/* Run with the operands bound: extra holds the other arguments (weights, bias, saved). */
spade_status spade_cpu_dnnl_execute(spade_op *op, dnnl_primitive_t primitive, const spade_op_args *args,
                                    const dnnl_exec_arg_t *extra, int extra_count);
void spade_cpu_dnnl_destroy(spade_op *op);

/* ---- convolution.c, pool.c: on oneDNN */
spade_status spade_cpu_convolution_plan(spade_op *op);
spade_status spade_cpu_convolution_pack(spade_op *op, const float *weights, const float *row_scale, void *packed);
spade_status spade_cpu_convolution_run(spade_op *op, const spade_op_args *args);
spade_status spade_cpu_pool_plan(spade_op *op);
spade_status spade_cpu_pool_run(spade_op *op, const spade_op_args *args);

/* ---- global_pool.c: the average of a whole image, in own loops */
spade_status spade_cpu_global_average_run(spade_op *op, const spade_op_args *args);

/* ---- linear.c: matrix products in fixed tiles */
spade_status spade_cpu_linear_plan(spade_op *op);
spade_status spade_cpu_linear_pack(spade_op *op, const float *weights, const float *row_scale, void *packed);
spade_status spade_cpu_linear_run(spade_op *op, const spade_op_args *args);
spade_status spade_cpu_matmul_run(spade_op *op, const spade_op_args *args);

/* ---- chain.c, reduce.c, softmax.c, layout.c: loops */
spade_status spade_cpu_pointwise_run(spade_op *op, const spade_op_args *args);
spade_status spade_cpu_reduce_sum_run(spade_op *op, const spade_op_args *args);
spade_status spade_cpu_softmax_run(spade_op *op, const spade_op_args *args);
spade_status spade_cpu_softmax_backward_run(spade_op *op, const spade_op_args *args);
spade_status spade_cpu_convert_layout_run(spade_op *op, const spade_op_args *args);

/* Copy a tensor of this shape into another layout. */
void spade_cpu_convert(const spade_device *device, const spade_shape *shape, spade_layout from, const float *x,
                       spade_layout to, float *y);

/* ---- augment.c */
spade_status spade_cpu_augment(spade_device *device, const float *picture, int64_t height, int64_t width,
                               const spade_preprocess *preprocess, const spade_variant *variants, int64_t count,
                               spade_layout layout, float *out);

/* ---- resample.c, overlay.c: pictures */
spade_status spade_cpu_resample(spade_device *device, const spade_resample_args *args);
spade_status spade_cpu_picture_floats(spade_device *device, int64_t n, const uint8_t *picture, float *out);
spade_status spade_cpu_heatmap(spade_device *device, const spade_heatmap_args *args);

/* ---- interpret.c */
spade_status spade_cpu_points(spade_device *device, const spade_points *points, const float *x, float *out);
spade_status spade_cpu_seed(spade_device *device, const spade_seed_args *args);
spade_status spade_cpu_sum_gradients(spade_device *device, int64_t size, int64_t count, const double *weight,
                                     const float *gradients, bool add, double *sum);
spade_status spade_cpu_finish_map(spade_device *device, int64_t size, const double *sum, const float *x, double divisor,
                                  bool absolute, float *map);

/* ---- hessian.c */
/* As SPADE_MICRO_BATCH, but larger: the spectral form folds its products into lags once per pass. */
enum { SPADE_CPU_HESSIAN_BATCH = 32 };
double spade_cpu_hessian_cost(spade_device *device, const spade_hessian_desc *patches);
size_t spade_cpu_hessian_bytes(spade_device *device, const spade_hessian_desc *patches);
size_t spade_cpu_hessian_workspace_bytes(spade_device *device, const spade_hessian_desc *patches);
spade_status spade_cpu_hessian_update(spade_device *device, const spade_hessian_desc *patches, const float *x,
                                      double alpha, void *accumulator, void *workspace);
spade_status spade_cpu_hessian_read(spade_device *device, const spade_hessian_desc *patches, const void *accumulator,
                                    int64_t group, int64_t tap, double *out);

/* ---- condition.c, factor.c, sweep.c */
spade_status spade_cpu_damp(spade_device *device, spade_damp_args *problems, int n);
spade_status spade_cpu_factor(spade_device *device, spade_factor_args *problems, int n);
size_t spade_cpu_factor_workspace_bytes(spade_device *device, int64_t k);
spade_status spade_cpu_sweep(spade_device *device, spade_sweep_args *problems, int n);
spade_status spade_cpu_quadratic_form(spade_device *device, spade_quadratic_args *problems, int n);
size_t spade_cpu_sweep_workspace_bytes(spade_device *device, int64_t rows, int64_t columns, int64_t block,
                                       spade_precision precision);

/* ---- exact.c */
spade_status spade_cpu_inverse(spade_device *device, spade_factor_args *problems, int n);
size_t spade_cpu_inverse_workspace_bytes(spade_device *device, int64_t k);
spade_status spade_cpu_eliminate(spade_device *device, spade_exact_args *problems, int n, void *workspace,
                                 size_t bytes);
spade_status spade_cpu_refit(spade_device *device, spade_exact_args *problems, int n, void *workspace, size_t bytes);
size_t spade_cpu_exact_bytes(spade_device *device, int64_t columns, int64_t group, int64_t rows);
int64_t spade_cpu_exact_lanes(spade_device *device);

#endif
