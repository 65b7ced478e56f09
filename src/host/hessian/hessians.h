/*
 * hessians.h - the Hessian stage's inside: accumulators on the device, one per layer or shared by several.
 */
#ifndef SPADE_HESSIAN_HESSIANS_H
#define SPADE_HESSIAN_HESSIANS_H

#include "engine/executor.h"
#include "engine/model.h"
#include "spade/hessian.h"

/* What a pass over a batch is to bring. */
typedef struct spade_hessian_request {
    const int *layers;
    int count;
    /* [layers of the network]: keep the layer's inputs (of all variants, as they are) instead of summing its Hessian; NULL:
     * of none. */
    const bool *kept;
    spade_precision precision;
} spade_hessian_request;

static inline bool spade_hessian_is_kept(const spade_hessian_request *request, int layer)
{
    return request->kept && request->kept[layer];
}

typedef struct spade_accumulator {
    int layer;
    int source;              /* the accumulator that holds its sums: itself, or one that reads the same tensor */
    int64_t tap;             /* the kernel position of the source whose block it is; -1: all of it */
    int64_t columns;         /* K */
    bool kept;               /* the inputs are kept: nothing is summed, and `queue` ends up with all of them */
    spade_hessian_desc desc; /* of a whole micro-batch; kept: of all variants */
    size_t bytes;
    void *h; /* device; NULL where the source is another or inputs are kept */
    /* Layers with few positions a variant, where an update of one micro-batch would be nearly all memory traffic: the
     * inputs of `capacity` variants are queued. */
    float *queue;
    size_t queue_bytes;
    int64_t queued, capacity; /* variants; capacity 0: every micro-batch is an update */
    int64_t image_size;       /* numbers of one variant's input */
    float *arrived;           /* inputs of the running micro-batch, behind the queue: always the same place, so that a
                                 captured graph can write them */
} spade_accumulator;

/* Kept for the next image (engine/cache.h) after spade_hessians_release. */
struct spade_hessians {
    spade_cache_entry item;
    spade_precision precision;
    spade_accumulator *accumulators;
    int count;
    int64_t variants;
    spade_capture capture;                  /* a micro-batch: the forward pass and the updates */
    double forward_seconds, update_seconds; /* augmentation and forward passes; updates */
};

/* ---- form.c */
/* What the backend has to know of a layer's input for its Hessian, in a batch of n images, with the form that sums it. */
spade_hessian_desc spade_hessian_describe(const spade_model *model, int layer, int64_t n, spade_precision precision);
const char *spade_hessian_form_text(spade_hessian_form form);
/*
 * Whether the fast solver, with blocks of so many columns, does better with the layer's inputs than with its Hessian: by
 * the backend's costs of summing and solving, which depend on sizes and on the number of variants only. Where it does,
 * there are fewer samples than columns, and inputs also take less memory.
 */
bool spade_hessian_prefers_inputs(const spade_model *model, int layer, int64_t variants, int64_t block,
                                  spade_precision precision);
/* Samples of the layer's input: variants times positions. */
int64_t spade_hessian_samples(const spade_model *model, int layer, int64_t variants);
/*
 * Layers that read the same tensor share their sums, or the inputs that are kept: a 1x1 convolution's Hessian is the
 * block of one kernel position of that of a larger convolution with the same stride. Returns the index, among the layers
 * asked for, of the one whose Hessian holds the i-th's; i itself where it needs sums of its own.
 */
int spade_hessian_source(const spade_network *network, const spade_hessian_request *request, int i, int64_t *tap);
/* Reorder layers, which are the request's, so that those which share follow their source. */
spade_status spade_hessian_order(spade_context *context, const spade_network *network,
                                 const spade_hessian_request *request, int *layers);

/* ---- hessian.c */
/* As spade_hessian_accumulate(), which keeps no inputs. */
spade_status spade_hessian_collect(spade_context *context, const spade_model *model, const spade_batch *batch,
                                   const spade_hessian_request *request, spade_hessians **out);
/* Bytes of a layer's accumulator or kept inputs, n variants in all. */
uint64_t spade_hessian_layer_bytes(const spade_model *model, int layer, int64_t n,
                                   const spade_hessian_request *request);
void spade_hessians_release(spade_hessians *hessians); /* to the cache, for the next image; NULL is fine */
/* Bytes that one layer's update of a micro-batch needs, n variants in all. */
size_t spade_hessian_workspace_bytes(const spade_model *model, int layer, int64_t n,
                                     const spade_hessian_request *request);
/* The i-th layer's H of one group -> out, device memory [K, K], the upper triangle (column >= row) only. May be called
 * from several threads. */
spade_status spade_hessian_read(const spade_hessians *hessians, int i, int64_t group, double *out);
/* Bytes that accumulating these layers takes: Hessians, the network and its weights on the device, working memory. They
 * are computed, not taken. */
spade_status spade_hessian_pass_bytes(spade_context *context, const spade_model *model, const spade_batch *batch,
                                      const spade_hessian_request *request, uint64_t *bytes);

#endif
