/*
 * backend.h - THE table of operations. Everything above it is the same code for every backend.
 *
 * A device is one instance of a backend (one GPU, or the CPU with its threads). Operations on tensors are planned once
 * for fixed shapes (spade_op) and run many times; linear algebra on matrices is called directly. Everything is
 * asynchronous on the device's stream (the CPU backend finishes at once); a status comes back, never an abort, never a
 * silent fall-back to another backend.
 *
 * Pointers in spade_op_args and in the linear algebra calls are device memory from `alloc`, unless marked host.
 *
 * Reproducibility (all backends): an operation's result is a function of its description and its arguments. The CPU
 * backend keeps that for any number of threads: work is cut into tiles of a fixed size, a tile is computed by one
 * thread, sums have a fixed order.
 */
#ifndef SPADE_BACKEND_H
#define SPADE_BACKEND_H

#include "base/base.h"
#include "spade/array.h"
#include "spade/augment.h"
#include "spade/hessian.h"

typedef struct spade_device spade_device;

/* Physical order of a rank-4 tensor whose dims are [N, C, H, W]. */
typedef enum spade_layout {
    SPADE_ROW_MAJOR,    /* as the dims say */
    SPADE_CHANNELS_LAST /* N, H, W, C in memory; rank 4 only */
} spade_layout;

/* Shape and layout of a dense float32 tensor. */
typedef struct spade_shape {
    int rank;
    int64_t dims[SPADE_MAX_RANK];
    spade_layout layout;
} spade_shape;

int64_t spade_shape_size(const spade_shape *shape); /* elements */

typedef enum spade_op_kind {
    SPADE_OP_CONVOLUTION, /* y = conv(x, w) [* folded scale] + bias, then relu if asked. needs packed weights */
    SPADE_OP_CONVOLUTION_BACKWARD, /* dx = conv^T(dy, w). needs packed weights */
    SPADE_OP_LINEAR,               /* y [M, R] = x [M, K] w^T + bias; M = all leading dims. needs packed weights */
    SPADE_OP_LINEAR_BACKWARD,      /* dx [M, K] = dy [M, R] w. needs packed weights */
    SPADE_OP_MATMUL,           /* y = a b, batched over leading dims (equal, or broadcast from 1); transpose flags */
    SPADE_OP_POINTWISE,        /* everything elementwise: y = the steps of a chain, one after another, from x on */
    SPADE_OP_REDUCE_SUM,       /* y = sum of a over the axes where y has 1: backward of broadcasting */
    SPADE_OP_SOFTMAX,          /* y = softmax(x) along axis */
    SPADE_OP_SOFTMAX_BACKWARD, /* dx = y * (dy - sum(y * dy)) */
    SPADE_OP_POOL,             /* max or average; max writes `saved` (argument of the maximum) where it is given */
    SPADE_OP_POOL_BACKWARD,    /* max reads `saved` */
    SPADE_OP_CONVERT_LAYOUT,   /* y = x in y's layout */
    SPADE_OP_KIND_COUNT
} spade_op_kind;

typedef enum spade_function {
    SPADE_RELU,
    SPADE_CLIP, /* min(max(x, alpha), beta) */
    SPADE_SIGMOID,
    SPADE_HARD_SIGMOID, /* max(0, min(1, alpha * x + beta)) */
    SPADE_HARD_SWISH,   /* x * max(0, min(1, x/6 + 1/2)) */
    SPADE_FUNCTION_COUNT
} spade_function;

/*
 * One step of a chain: what becomes of v, the value of an element so far. A step but FUNCTION has an operand of its
 * own. Each step rounds once per operation in its formula, so that a chain gives the numbers of its steps run singly.
 */
typedef enum spade_pointwise_kind {
    SPADE_POINTWISE_FUNCTION,   /* f(v) */
    SPADE_POINTWISE_ADD,        /* v + operand */
    SPADE_POINTWISE_MULTIPLY,   /* v * operand */
    SPADE_POINTWISE_DERIVATIVE, /* v * f'(operand): backward of FUNCTION, v = dy, operand = x */
    SPADE_POINTWISE_KIND_COUNT
} spade_pointwise_kind;

typedef struct spade_pointwise_step {
    spade_pointwise_kind kind;
    spade_function function; /* FUNCTION, DERIVATIVE */
    float alpha, beta;       /* of the function */
    spade_shape operand;     /* broadcast to y as NumPy does: [C, 1, 1] is one number for each channel */
} spade_pointwise_step;

enum { SPADE_POINTWISE_STEPS = 6 };

/* Sliding window of a convolution or pooling. pad: top, left, bottom, right. dilation counts from 1. */
typedef struct spade_window {
    int64_t kernel[2], stride[2], dilation[2], pad[4];
} spade_window;

/*
 * One operation on fixed shapes. Unused fields are zero.
 *   forward kinds:  a = x (or left operand), b = right operand (MATMUL), y = result
 *   CHAIN: a = x, broadcast to y too. y may lie where x or an operand does that has y's dims and layout.
 *   backward kinds: the shapes of the forward operation: a = x and dx, y = y and dy
 */
typedef struct spade_op_desc {
    spade_op_kind kind;
    spade_shape a, b, y;
    spade_window window;           /* CONVOLUTION*, POOL* */
    int64_t groups;                /* CONVOLUTION* */
    bool relu;                     /* CONVOLUTION, LINEAR: relu after the bias */
    bool pool_max;                 /* POOL*: max, else average */
    bool count_padding;            /* POOL*, average: padding counts in the divisor */
    bool transpose_a, transpose_b; /* MATMUL: of the last two axes */
    int axis;                      /* SOFTMAX* */
    int step_count;                /* CHAIN: 1 to SPADE_POINTWISE_STEPS */
    spade_pointwise_step steps[SPADE_POINTWISE_STEPS];
} spade_op_desc;

typedef struct spade_op spade_op; /* planned operation, owned by who planned it */
typedef struct spade_captured_graph spade_captured_graph;

typedef struct spade_op_args {
    const float *a;     /* x, left operand */
    const float *b;     /* right operand */
    const float *bias;  /* [rows] or NULL */
    const void *packed; /* weights as `pack` wrote them */
    const float *y;     /* backward kinds: the forward result where needed (SOFTMAX_BACKWARD) */
    const float *dy;    /* backward kinds */
    void *saved;        /* POOL (max): written; POOL_BACKWARD: read; saved_bytes(op) */
    void *workspace;    /* workspace_bytes(op) */
    float *out;         /* y, or dx */
    const float *operands[SPADE_POINTWISE_STEPS]; /* CHAIN: of each step that has one */
} spade_op_args;

/* ---- pictures: 8-bit RGB, rows from the top */

/*
 * Pillow's antialiased bilinear resize (backend/filter.h's weights in its fixed point, rounded to 8 bits after the rows
 * and after the columns: libImaging/Resample.c), and of its result a window; black where the window reaches beyond it.
 */
typedef struct spade_resample_args {
    const uint8_t *picture;                /* [picture_height, picture_width, 3] */
    int64_t picture_height, picture_width; /* to SPADE_MAX_SIDE */
    int64_t full_height, full_width;       /* of the whole picture after the resize, to SPADE_MAX_SIDE */
    int64_t top, left, height, width;      /* the window */
    uint8_t *rgb;                          /* [height, width, 3] out */
    float *normalised;                     /* [3, height, width] out: (rgb / 255 - mean) / std; NULL: not wanted */
    float mean[3], std[3];
} spade_resample_args;
enum { SPADE_MAX_SIDE = 16384 };

/*
 * A map's colours over a picture (picture/heatmap.c makes the tables), both enlarged by a whole factor with cubic splines
 * (Mitchell and Netravali's parameters b and c) whose borders repeat: first along the rows, then along the columns,
 * float between; as they are for a factor of 1.
 *   the map: map / scale, clamped to -1..1, below 0 only if is_signed; its absolute value is the level in the table
 *   the picture: 0.06 + 0.62 * (0.8 luma + 0.2 channel) / 255, luma = 0.299 r + 0.587 g + 0.114 b
 *   rgb = colour of the level + keep of the level * picture, clamped to 0..1
 */
typedef struct spade_heatmap_args {
    int64_t height, width, factor;
    const uint8_t *picture; /* [height, width, 3] */
    const float *map;       /* [height, width] */
    double scale;           /* 0: the map counts as zero */
    bool is_signed;
    const float *tables; /* [2][SPADE_HEATMAP_LEVELS][4]: values from 0 up, below 0; colour of a level, then keep */
    uint8_t *rgb;        /* [height * factor, width * factor, 3] out */
} spade_heatmap_args;
enum { SPADE_HEATMAP_LEVELS = 256 };
typedef struct spade_spline {
    double b, c;
} spade_spline;
#define SPADE_HEATMAP_MAP_SPLINE ((spade_spline){1.0, 0.0})     /* B-spline: smooths the noise of a small map */
#define SPADE_HEATMAP_PICTURE_SPLINE ((spade_spline){0.0, 0.5}) /* Catmull-Rom: sharp */

/* ---- maps of interpretability methods: what lies between the passes. Arithmetic in double. */
enum { SPADE_MAX_POINTS = 64 }; /* most images of one call */

/*
 * Inputs made from one: image i is scale[i] * x + deviation * z, z the standard normal numbers `sample[i]` of the
 * stream `key`: element e is number e % 2 of spade_normal(key, {sample, low word of e / 2, high word, 0}).
 */
typedef struct spade_points {
    int64_t size, count;    /* elements of x; images, at most SPADE_MAX_POINTS */
    const double *scale;    /* host [count] */
    double deviation;       /* 0: no noise */
    uint64_t key;           /* where there is noise */
    const uint32_t *sample; /* host [count], where there is noise */
} spade_points;

/* What is explained of the outputs z: F = z[target], or the target's softmax score; and dF/dz. */
typedef struct spade_seed_args {
    int64_t batch, outputs;
    bool softmax;
    const float *z;         /* [batch, outputs] */
    const int64_t *targets; /* [batch]: 0 to outputs - 1 */
    float *seed;            /* [batch, outputs] out: dF/dz */
    double *values;         /* [batch] out: F */
} spade_seed_args;

/* How the Hessian of a layer is summed up. All give the same sums; see hessian/form.c for the choice. */
typedef enum spade_hessian_form {
    SPADE_HESSIAN_UNFOLD,    /* patches gathered ("im2col"), times their transpose: any layer */
    SPADE_HESSIAN_RANK_K,    /* the same where the input is that matrix already: 1x1 convolutions, linear layers */
    SPADE_HESSIAN_SPECTRAL,  /* products of spectra, stride 1 and kernels larger than 1x1 */
    SPADE_HESSIAN_SHIFT,     /* products of the image with itself shifted, likewise */
    SPADE_HESSIAN_DEPTHWISE, /* the same for one channel a group */
    SPADE_HESSIAN_TAPS,      /* one channel a group, any stride: products of all pairs of taps */
    SPADE_HESSIAN_FORM_COUNT
} spade_hessian_form;

/* One convolution's or linear layer's input as patches, and how their Hessian is summed. */
typedef struct spade_hessian_desc {
    spade_hessian_form form;
    spade_precision precision; /* of products and of sums within a piece; accumulators are float64 */
    spade_shape x;             /* input; CHANNELS_LAST rank 4, or for linear layers any rank with K last */
    bool linear;
    spade_window window;
    int64_t groups;
    int64_t out_height, out_width; /* convolution: output positions */
} spade_hessian_desc;

/* ---- the solvers; include/spade/solve.h has the definitions. All float64; only upper triangles are read or written.
 */

/* Dead inputs (H_dd = 0 exactly: 1, and marked), then damping. */
typedef struct spade_damp_args {
    int64_t k;
    double damping;
    double *hessian;     /* [k, k]; only its diagonal changes */
    uint8_t *dead;       /* [k] out: 1 where the input is dead */
    spade_status status; /* out: SPADE_ERROR_NUMERICAL: the diagonal is not finite */
} spade_damp_args;

/* Reversed Cholesky factor of one conditioned Hessian. */
typedef struct spade_factor_args {
    int64_t k;
    double *hessian;     /* [k, k] in; V out: H = V V^T, V upper triangular (row major), below it undefined */
    void *workspace;     /* factor_workspace_bytes */
    spade_status status; /* out: SPADE_ERROR_NUMERICAL: not positive definite, or a number anywhere is not finite */
} spade_factor_args;

/* The fast solver's sweep over one matrix of weights. */
typedef struct spade_sweep_args {
    int64_t rows, columns, block;
    int64_t prune, prune_last; /* weights to prune in each block; in the last one, which may have fewer columns */
    bool n_of_m;               /* instead, in each row of a block all weights but `keep` */
    int64_t keep;
    spade_precision precision; /* at least; of the products with finished panels (spade/solve.h) */
    const double *v;           /* [columns, columns] from factor */
    const float *dense;        /* [rows, columns] */
    const uint8_t *dead;       /* [columns] from condition: these columns count as zero */
    float *sparse;             /* [rows, columns] out; may be `dense` */
    void *workspace;           /* sweep_workspace_bytes */
    double loss;               /* out */
    int64_t zeros;             /* out: weights of `sparse` that are zero */
    spade_status status;       /* out: SPADE_ERROR_NUMERICAL: a weight or the loss is not finite */
} spade_sweep_args;

/* tr (d h d^T): the loss of weights that were found in another way. */
typedef struct spade_quadratic_args {
    int64_t rows, k;
    const double *h; /* [k, k] symmetric */
    const double *d; /* [rows, k] */
    double *scratch; /* [rows, k] */
    double result;   /* out */
} spade_quadratic_args;

/*
 * Exact OBC of one matrix, float64: rows [R], columns [K] in groups of b neighbours, C = K / b groups a row (columns
 * past the last whole group are never removed). eliminate: for every row, among the groups left, again and again the
 * one of least loss w_g^T (A_gg)^-1 w_g / 2 (ties: lower group), then w -= A_:g (A_gg)^-1 w_g and A -= A_:g (A_gg)^-1
 * A_g:, A = H^-1 at the row's start; to the end. refit: the weights of least loss on what a row keeps after the first
 * counts[r] groups of its order.
 */
typedef struct spade_exact_args {
    int64_t rows, columns, group;
    const double *inverse; /* [K, K] H^-1, full */
    const double *hessian; /* refit: [K, K] H, upper triangle */
    const double *w;       /* [R, K] dense weights, dead columns zero */
    int32_t *order;        /* [R, C]; eliminate writes it, refit reads it */
    double *losses;        /* [R, C] out of eliminate */
    const int64_t *counts; /* host [R]; refit */
    double *q;             /* [R, K] out of refit */
    spade_status status;   /* SPADE_ERROR_NUMERICAL: a part of H^-1 or H is not positive definite */
} spade_exact_args;

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
     * ---- recordings: what is enqueued between begin and end does not run, but is kept, and runs at every graph_launch on
     * what its memory then holds; memory and operations must outlive the captured graph. Only work that never waits for the
     * device nor takes memory (run, pack, copy, zero, axpby, hessian_update, hessian_read, seed; memory may be freed
     * meanwhile, but that is not kept), and that ran before in the same way. end: also after a failure in between, the
     * first of which it gives; the device goes on. NULL: the backend has none, work costs nothing to enqueue.
     */
    spade_status (*capture_begin)(spade_device *device);
    spade_status (*capture_end)(spade_device *device, spade_captured_graph **out);
    spade_status (*graph_launch)(spade_device *device, spade_captured_graph *captured);
    void (*graph_destroy)(spade_device *device, spade_captured_graph *captured); /* NULL is fine */

    /* ---- operations on tensors: plan, then run */
    bool (*supports)(spade_device *device, const spade_op_desc *desc);
    spade_status (*plan)(spade_device *device, const spade_op_desc *desc, spade_op **out);
    void (*destroy)(spade_op *op);
    size_t (*workspace_bytes)(const spade_op *op);
    size_t (*saved_bytes)(const spade_op *op);
    size_t (*packed_bytes)(const spade_op *op);
    /* weights: [rows, columns]; row_scale: [rows] multiplied into them (folded normalisation), or NULL */
    spade_status (*pack)(spade_op *op, const float *weights, const float *row_scale, void *packed);
    spade_status (*run)(spade_op *op, const spade_op_args *args);

    /* ---- vectors: y = alpha * x + beta * y; n elements. beta = 0 does not read y. */
    spade_status (*axpby)(spade_device *device, int64_t n, float alpha, const float *x, float beta, float *y);

    /* ---- augmentation: out [count, C, H, W] in `layout` from a picture [h, w, 3] of floats in [0, 1] (device) */
    spade_status (*augment)(spade_device *device, const float *picture, int64_t height, int64_t width,
                            const spade_preprocess *preprocess, const spade_variant *variants /* host */, int64_t count,
                            spade_layout layout, float *out);

    /* ---- pictures. picture_floats: out[i] = picture[i] / 255, n numbers. */
    spade_status (*resample)(spade_device *device, const spade_resample_args *args);
    spade_status (*picture_floats)(spade_device *device, int64_t n, const uint8_t *picture, float *out);
    spade_status (*overlay)(spade_device *device, const spade_heatmap_args *args);

    /*
     * ---- maps: inputs before the passes, the seed between forward and backward, sums after them.
     *   points: out [count, size] from x [size]
     *   sum_gradients: sum [size] = [sum +] weight[0] * gradients[0] + weight[1] * gradients[1] + ..., in this order;
     * `add`: to what is there, else to nothing. gradients [count, size], count from 1 to SPADE_MAX_POINTS
     *   finish_map: map [size] = sum [* x] / divisor, its absolute value if asked for; x NULL: without
     */
    spade_status (*points)(spade_device *device, const spade_points *points, const float *x, float *out);
    spade_status (*seed)(spade_device *device, const spade_seed_args *args);
    spade_status (*sum_gradients)(spade_device *device, int64_t size, int64_t count, const double *weight /* host */,
                                  const float *gradients, bool add, double *sum);
    spade_status (*finish_map)(spade_device *device, int64_t size, const double *sum, const float *x, double divisor,
                               bool absolute, float *map);

    /*
     * ---- Hessian: an accumulator gets alpha * the sum over the positions of the tensor x (one micro-batch) of patch
     * patch^T. What it holds is the form's own; all zero bytes is the empty sum. `read` turns it into H of one group:
     * out [K, K] float64 in device memory, the upper triangle (column >= row; the rest is undefined), columns in the
     * weight's order (channel, row, column). Inputs that were zero at every position have an exact zero on the
     * diagonal. tap >= 0: only that kernel position's block, [channels, channels]. `cost`: of one update by the form
     * that the patches name, in units of the backend's own, from shapes only; negative where the form does not apply.
     * `hessian_batch`: images of the micro-batch that updates are made for. Fixed: results depend on it in the last
     * bits.
     */
    int64_t hessian_batch;
    double (*hessian_cost)(spade_device *device, const spade_hessian_desc *patches);
    size_t (*hessian_bytes)(spade_device *device, const spade_hessian_desc *patches);
    size_t (*hessian_workspace_bytes)(spade_device *device, const spade_hessian_desc *patches);
    spade_status (*hessian_update)(spade_device *device, const spade_hessian_desc *patches, const float *x,
                                   double alpha, void *accumulator, void *workspace);
    spade_status (*hessian_read)(spade_device *device, const spade_hessian_desc *patches, const void *accumulator,
                                 int64_t group, int64_t tap, double *out);

    /*
     * ---- solve: n independent problems, largest first; spread over threads or streams, each one's result is its own.
     * What they hand to the host (out: status, loss, ...) is there after the next synchronize or download; until then
     * args must stay where they are, and a status says SPADE_OK, or already that the problem has failed. Whatever that
     * call returns, args are the caller's again; those of a call that itself fails are at once.
     */
    spade_status (*condition)(spade_device *device, spade_damp_args *problems, int n);
    spade_status (*factor)(spade_device *device, spade_factor_args *problems, int n);
    size_t (*factor_workspace_bytes)(spade_device *device, int64_t k);
    spade_status (*sweep)(spade_device *device, spade_sweep_args *problems, int n);
    size_t (*sweep_workspace_bytes)(spade_device *device, int64_t rows, int64_t columns, int64_t block,
                                    spade_precision precision);
    spade_status (*quadratic_form)(spade_device *device, spade_quadratic_args *problems, int n);

    /* Exact solver. inverse: V as `factor` leaves it -> H^-1, full; workspace: inverse_workspace_bytes. */
    spade_status (*inverse)(spade_device *device, spade_factor_args *problems, int n);
    size_t (*inverse_workspace_bytes)(spade_device *device, int64_t k);
    spade_status (*eliminate)(spade_device *device, spade_exact_args *problems, int n, void *workspace, size_t bytes);
    spade_status (*refit)(spade_device *device, spade_exact_args *problems, int n, void *workspace, size_t bytes);
    /* Working memory of eliminate and refit on up to `rows` rows at once: at least one; no result depends on how many.
     * Several problems: the largest's. */
    size_t (*exact_bytes)(spade_device *device, int64_t columns, int64_t group, int64_t rows);
    /* Rows that the device works on at once where memory allows. */
    int64_t (*exact_lanes)(spade_device *device);

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
