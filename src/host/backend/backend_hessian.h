/* backend_hessian.h - a backend's operations on Hessians of layers, summed up over micro-batches. */
#ifndef SPADE_BACKEND_HESSIAN_H
#define SPADE_BACKEND_HESSIAN_H

#include "backend/ops.h"
#include "base/base.h"
#include "spade/hessian.h"

/* How the Hessian of a layer is summed up. All give the same sums; see hessian/form.c for the choice. */
typedef enum spade_hessian_form {
    SPADE_HESSIAN_UNFOLD,       /* patches gathered ("im2col"), times their transpose: any layer */
    SPADE_HESSIAN_RANK_K,       /* the same where the input is that matrix already: 1x1 convolutions, linear layers */
    SPADE_HESSIAN_SPECTRAL,     /* products of spectra, stride 1 and kernels larger than 1x1 */
    SPADE_HESSIAN_SHIFT,        /* products of the image with itself shifted, likewise */
    SPADE_HESSIAN_DEPTHWISE,    /* the same for one channel a group */
    SPADE_HESSIAN_OFFSET_PAIRS, /* one channel a group, any stride: products of all pairs of taps */
    SPADE_HESSIAN_FORM_COUNT
} spade_hessian_form;

/* One convolution's or linear layer's input as patches, and how their Hessian is summed. */
typedef struct spade_hessian_desc {
    spade_hessian_form form;
    /* Of products and of sums within a piece; accumulators are float64. With float32 a form may round its inputs once as
     * the context's precision of the network allows, where their sums stay positive semidefinite (a Gram matrix). */
    spade_precision precision;
    spade_shape x; /* input; CHANNELS_LAST rank 4, or for linear layers any rank with K last */
    bool linear;
    spade_window window;
    int64_t groups;
    int64_t out_height, out_width; /* convolution: output positions */
} spade_hessian_desc;

/*
 * An accumulator gets alpha * the sum over the positions of the tensor x (one micro-batch) of patch patch^T. What it
 * holds is the form's own; all zero bytes is the empty sum.
 */
typedef struct spade_backend_hessian {
    /* Images of the micro-batch that updates are made for. Fixed: results depend on it in the last bits. */
    int64_t micro_batch;
    /* Of one update by the form that the description names, in units of the backend's own, from shapes only; negative
     * where the form does not apply. */
    double (*cost)(struct spade_device *device, const spade_hessian_desc *desc);
    size_t (*bytes)(struct spade_device *device, const spade_hessian_desc *desc); /* of an accumulator */
    size_t (*workspace_bytes)(struct spade_device *device, const spade_hessian_desc *desc);
    spade_status (*update)(struct spade_device *device, const spade_hessian_desc *desc, const float *x, double alpha,
                           void *accumulator, void *workspace);
    /*
     * H of one group: out [K, K] float64 in device memory, the upper triangle (column >= row; the rest is undefined),
     * columns in the weight's order (channel, row, column). Inputs that were zero at every position have an exact zero
     * on the diagonal. offset >= 0: only that kernel position's block, [channels, channels].
     */
    spade_status (*read)(struct spade_device *device, const spade_hessian_desc *desc, const void *accumulator,
                         int64_t group, int64_t offset, double *out);
    /*
     * The patches themselves, for the solver's dual form: out [K, positions] float32 in device memory, of one group of the
     * tensor x that the description has; columns and `offset` as in read. The form does not matter.
     */
    spade_status (*samples)(struct spade_device *device, const spade_hessian_desc *desc, const float *x, int64_t group,
                            int64_t offset, float *out);
} spade_backend_hessian;

#endif
