/*
 * cpu.h - the CPU backend's inside: the device, and what its table is made of.
 *
 * How it stays reproducible: every loop is cut into pieces of a fixed size, a piece is computed by one thread with the
 * same instructions whichever thread that is, and sums over pieces are taken in the order of the pieces. OpenBLAS is
 * only called from inside a parallel region, where it uses no threads of its own. oneDNN splits outputs, never sums,
 * between threads, and the order of its sums does not depend on their number: convolution.c sees to that.
 */
#ifndef SPADE_CPU_H
#define SPADE_CPU_H

#include <oneapi/dnnl/dnnl.h>
#include <omp.h>

#include "backend/dispatch.h"

typedef struct spade_cpu_device {
    spade_device base; /* first: a spade_device is cast to this */
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    uint64_t *logged; /* [logged_count]: hashes of the lines about operations that were logged already */
    int logged_count;
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

/* ---- memory.c */
spade_status spade_cpu_alloc(spade_device *device, size_t bytes, const char *what, void **out);
void spade_cpu_free(spade_device *device, void *pointer, size_t bytes);
spade_status spade_cpu_copy(spade_device *device, void *to, const void *from, size_t bytes);
spade_status spade_cpu_zero(spade_device *device, void *to, size_t bytes);
spade_status spade_cpu_axpby(spade_device *device, int64_t n, float alpha, const float *x, float beta, float *y);
spade_status spade_cpu_magnitude(spade_device *device, int64_t n, const float *x, float *largest);

/* ---- operations on tensors, each in its own file */
#define SPADE_CPU_ENTRY(kind, name, entry, fits) extern const spade_op_entry spade_cpu_##entry##_op;
SPADE_OPS(SPADE_CPU_ENTRY)
#undef SPADE_CPU_ENTRY
/* global_pool.c: the average of a whole image */
spade_status spade_cpu_global_average_run(spade_op *op, const spade_op_args *args);
/* layout.c */
/* Copy a tensor of this shape into another layout. */
void spade_cpu_convert(const spade_device *device, const spade_shape *shape, spade_layout from, const float *x,
                       spade_layout to, float *y);

/* ---- augment.c */
spade_status spade_cpu_augment(spade_device *device, const float *picture, int64_t height, int64_t width,
                               const spade_preprocess *preprocess, const spade_variant *variants, int64_t count,
                               const spade_augment_target *to);

/* ---- resample.c, heatmap.c */
spade_status spade_cpu_resample(spade_device *device, const spade_resample_args *args);
spade_status spade_cpu_picture_to_floats(spade_device *device, int64_t n, const uint8_t *picture, float *out);
spade_status spade_cpu_heatmap(spade_device *device, const spade_heatmap_args *args);

/* ---- attribution.c */
spade_status spade_cpu_points(spade_device *device, const spade_points *points, const float *x, float *out);
spade_status spade_cpu_path_products(spade_device *device, const spade_points *points, const float *x,
                                     const float *gradients, float *products);
spade_status spade_cpu_mask_inputs(spade_device *device, const spade_mask_inputs_args *args);
spade_status spade_cpu_blend_inputs(spade_device *device, const spade_blend_inputs_args *args);
spade_status spade_cpu_seed(spade_device *device, const spade_seed_args *args);
spade_status spade_cpu_sum_gradients(spade_device *device, int64_t size, int64_t count, const double *weight,
                                     const float *gradients, bool squared, bool add, double *sum);
spade_status spade_cpu_finish_map(spade_device *device, int64_t size, const double *sum, const float *x, double divisor,
                                  bool absolute, float *map);
spade_status spade_cpu_finish_variance(spade_device *device, int64_t size, const double *sum, const double *squares,
                                       double divisor, float *map);

/* ---- hessian/, solver/: sub-tables */
extern const spade_backend_hessian spade_cpu_hessian;
extern const spade_backend_solver spade_cpu_solver;
/* ---- visualize.c */
extern const spade_backend_visualize spade_cpu_visualize;

#endif
