/*
 * backend.h - THE table of operations. Everything above it is the same code for every backend.
 *
 * A device is one instance of a backend (one GPU, or the CPU with its threads). Operations on tensors are planned once
 * for fixed shapes (spade_op) and run many times; linear algebra on matrices is called directly. Everything is
 * asynchronous on the device's stream (the CPU backend finishes at once); a status comes back, never an abort, never a
 * silent fall-back to another backend.
 *
 * This table has memory, capture, operations on tensors (ops.h) and attribution maps. Operations on Hessians, solvers,
 * pictures and those of feature visualisation have tables of their own: backend_hessian.h, backend_solver.h,
 * backend_picture.h, backend_visualize.h.
 *
 * Pointers in arguments are device memory from `alloc`, unless marked host.
 *
 * Reproducibility (all backends): an operation's result is a function of its description and its arguments. The CPU
 * backend keeps that for any number of threads: work is cut into tiles of a fixed size, a tile is computed by one
 * thread, sums have a fixed order.
 */
#ifndef SPADE_BACKEND_H
#define SPADE_BACKEND_H

#include "backend/backend_hessian.h"
#include "backend/backend_picture.h"
#include "backend/backend_solver.h"
#include "backend/backend_visualize.h"
#include "backend/ops.h"
#include "base/base.h"

typedef struct spade_device spade_device;
typedef struct spade_op spade_op; /* planned operation, owned by who planned it; dispatch.h */
typedef struct spade_captured_graph spade_captured_graph;

/*
 * Inputs made from one: image i is a point on the line from a baseline b, at scale 0, to x + deviation * z, at scale 1:
 * scale[i] * (x + deviation * z) + (1 - scale[i]) * b. z are the standard normal numbers `sample[i]` of the stream `key`:
 * element e is number e % 2 of spade_normal(key, {sample, low word of e / 2, high word, 0}). b is 0, or a picture of
 * `baselines`, or a random one: u the word e % 4 of spade_philox(key, {sample, low word of e / 4, high word, 4}), plus a
 * half, over 2^32, it is low + u * (high - low) of the channel of e.
 */
typedef struct spade_points {
    int64_t size, count;      /* elements of x; images, at most SPADE_MAX_POINTS */
    const double *scale;      /* host [count] */
    double deviation;         /* 0: no noise */
    uint64_t key;             /* where there is noise or a random baseline */
    const uint32_t *sample;   /* host [count], there too */
    const float *baselines;   /* device [n, size]; NULL: b is 0 or random */
    const uint32_t *baseline; /* host [count]: which of `baselines` is image i's; NULL: the first one */
    spade_uniform_picture uniform;
} spade_points;

typedef struct spade_backend {
    const char *name;
    bool host_memory; /* what `alloc` gives, the host can read and write too */

    /* ---- devices */
    int (*devices)(spade_device_info *devices, int capacity);
    spade_status (*open)(spade_context *context, int index, spade_device **out);
    void (*close)(spade_device *device);

    /*
     * ---- memory. Counted against the context's budget. upload: what it reads is the caller's again when it returns.
     * download: complete when it returns.
     */
    spade_status (*alloc)(spade_device *device, size_t bytes, const char *what, void **out);
    void (*free)(spade_device *device, void *pointer, size_t bytes);
    spade_status (*upload)(spade_device *device, void *to, const void *from_host, size_t bytes);
    spade_status (*download)(spade_device *device, void *to_host, const void *from, size_t bytes);
    spade_status (*copy)(spade_device *device, void *to, const void *from, size_t bytes);
    spade_status (*zero)(spade_device *device, void *to, size_t bytes);
    spade_status (*synchronize)(spade_device *device); /* also brings what the solvers hand to the host */

    /*
     * ---- graph capture: what is enqueued between begin and end does not run, but is kept, and runs at every
     * graph_launch on what its memory then holds; memory and operations must outlive the captured graph. Only work that
     * never waits for the device nor takes memory (run, pack, copy, zero, axpby, magnitude, seed, a Hessian's update and read;
     * memory may be freed meanwhile, but that is not captured), and that ran before in the same way. end: also after a
     * failure in between, the first of which it gives; the device goes on. NULL: the backend has none, work costs
     * nothing to enqueue.
     */
    spade_status (*capture_begin)(spade_device *device);
    spade_status (*capture_end)(spade_device *device, spade_captured_graph **out);
    spade_status (*graph_launch)(spade_device *device, spade_captured_graph *captured);
    void (*graph_destroy)(spade_device *device, spade_captured_graph *captured); /* NULL is fine */

    /* ---- operations on tensors: plan, then run */
    spade_status (*plan)(spade_device *device, const spade_op_desc *desc, spade_op **out);
    void (*destroy)(spade_op *op); /* NULL is fine */
    size_t (*workspace_bytes)(const spade_op *op);
    size_t (*saved_bytes)(const spade_op *op);
    size_t (*packed_bytes)(const spade_op *op);
    /* weights: [rows, columns]; row_scale: [rows] multiplied into them (folded normalisation), or NULL */
    spade_status (*pack)(spade_op *op, const float *weights, const float *row_scale, void *packed);
    spade_status (*run)(spade_op *op, const spade_op_args *args);
    const struct spade_op_entry *const *ops; /* [SPADE_OP_KIND_COUNT]: what computes each kind; dispatch.h */

    /* ---- vectors: y = alpha * x + beta * y; n elements. beta = 0 does not read y. */
    spade_status (*axpby)(spade_device *device, int64_t n, float alpha, const float *x, float beta, float *y);
    /* *largest = the largest of itself and the n numbers |x|; NaN counts as larger than infinity. */
    spade_status (*magnitude)(spade_device *device, int64_t n, const float *x, float *largest /* device memory */);

    /*
     * ---- attribution maps: inputs before the passes, the output gradient between forward and backward, sums after them.
     * Arithmetic in double.
     *   points: out [count, size] from x [size]
     *   path_products: products [count, size] = gradients * the direction of their image's line, x + deviation * z - b
     *   mask_inputs: images with parts of x replaced; nothing is computed
     *   blend_inputs: images with parts of x faded, by grids of zeros and ones between which is interpolated
     *   sum_gradients: sum [size] = [sum +] weight[0] * gradients[0] + weight[1] * gradients[1] + ..., in this order;
     * `squared`: the gradients' squares in their place; `add`: to what is there, else to nothing. gradients [count, size],
     * count from 1 to SPADE_MAX_POINTS
     *   finish_map: map [size] = sum [* x] / divisor, its absolute value if asked for; x NULL: without
     *   finish_variance: map [size] = squares / divisor - (sum / divisor)^2, at least 0
     */
    spade_status (*points)(spade_device *device, const spade_points *points, const float *x, float *out);
    spade_status (*path_products)(spade_device *device, const spade_points *points, const float *x,
                                  const float *gradients, float *products);
    spade_status (*mask_inputs)(spade_device *device, const spade_mask_inputs_args *args);
    spade_status (*blend_inputs)(spade_device *device, const spade_blend_inputs_args *args);
    spade_status (*seed)(spade_device *device, const spade_seed_args *args);
    spade_status (*sum_gradients)(spade_device *device, int64_t size, int64_t count, const double *weight /* host */,
                                  const float *gradients, bool squared, bool add, double *sum);
    spade_status (*finish_map)(spade_device *device, int64_t size, const double *sum, const float *x, double divisor,
                               bool absolute, float *map);
    spade_status (*finish_variance)(spade_device *device, int64_t size, const double *sum, const double *squares,
                                    double divisor, float *map);

    const spade_backend_hessian *hessian;
    const spade_backend_solver *solver;
    const spade_backend_picture *picture;
    const spade_backend_visualize *visualize;

    /* Versions of the libraries in use, one "name version" a line. */
    void (*libraries)(char *buffer, size_t size);
} spade_backend;

/* Every instance begins with this; backends extend it. */
struct spade_device {
    const spade_backend *backend;
    spade_context *context;
    uint64_t memory;  /* bytes of a device that has its own, 0: the host's */
    size_t own_bytes; /* that it keeps of the budget while it is open */
};

/* ---- registry (backend/registry.c): "auto", "cpu", "cuda", "cuda:N" -> an open device. The CPU backend is always
 * there. */
extern const spade_backend spade_backend_cpu;
spade_status spade_device_open(spade_context *context, const char *name, spade_device **out);
/* The time, for both ends of a step. With the option `profile`: when the device has done all so far. */
double spade_stage_clock(spade_context *context);

#endif
