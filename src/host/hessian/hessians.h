/*
 * hessians.h - the Hessian stage's inside: accumulators on the device, one per layer or shared by several.
 */
#ifndef SPADE_HESSIAN_HESSIANS_H
#define SPADE_HESSIAN_HESSIANS_H

#include "engine/executor.h"
#include "engine/model.h"
#include "spade/hessian.h"

typedef struct spade_accumulator {
    int layer;
    int source;                 /* the accumulator that holds its sums: itself, or one that reads the same tensor */
    int64_t tap;                /* the kernel position of the source whose block it is; -1: all of it */
    int64_t columns;            /* K */
    spade_hessian_desc patches; /* of a whole micro-batch */
    size_t bytes;
    void *h; /* device; NULL where the source is another */
    /* Layers with few positions a variant: rows of inputs [capacity, K] wait here, as an update of few rows would be
     * all traffic. */
    float *rows;
    int64_t row_count, capacity; /* capacity 0: updates are made at once */
    int64_t image_rows;          /* of one variant */
    float *arrived;              /* behind the rows: those of the micro-batch that is running, at the same place for all
                                    so that a captured graph can write them */
} spade_accumulator;

/* Kept for the next image (ready.h), where spade_hessians_release says so. */
struct spade_hessians {
    spade_cache_entry item;
    spade_precision precision;
    spade_accumulator *accumulators;
    int count;
    spade_capture capture;                  /* a micro-batch: the forward pass and the updates */
    double forward_seconds, update_seconds; /* augmentation and forward passes; updates */
};

/* ---- form.c */
/* A layer's input as patches for a batch of n images, with the form of its Hessian. */
spade_hessian_desc spade_hessian_describe(const spade_model *model, int layer, int64_t n, spade_precision precision);
const char *spade_hessian_form_text(spade_hessian_form form);
/*
 * Layers that read the same tensor share their sums: a 1x1 convolution is the block of one kernel position of a larger
 * one with its stride. Of the layers asked for, the one whose sums hold those of the i-th: its index, i for its own.
 */
int spade_hessian_source(const spade_network *network, const int *layers, int count, int i, int64_t *tap);
/* Reorder layers so that those which share follow their source. */
spade_status spade_hessian_order(spade_context *context, const spade_network *network, int *layers, int count);

/* ---- hessian.c */
void spade_hessians_release(spade_hessians *hessians); /* not needed any more, but may be again; NULL is fine */
/* Bytes that one layer's update of a micro-batch needs, n variants in all. */
size_t spade_hessian_workspace_bytes(const spade_model *model, int layer, int64_t n, spade_precision precision);
/* The i-th layer's H of one group -> out, device memory [K, K], the upper triangle (column >= row) only. May be called
 * from several threads. */
spade_status spade_hessian_read(const spade_hessians *hessians, int i, int64_t group, double *out);
/*
 * Bytes that accumulating these layers takes beyond what the context has in use now, found by making everything without
 * a budget; what that leaves on standby the budget holds.
 */
spade_status spade_hessian_need(spade_context *context, const spade_model *model, const spade_batch *batch,
                                const int *layers, int count, spade_precision precision, uint64_t *bytes);

#endif
