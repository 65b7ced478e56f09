/*
 * checkpoint.h - finished layers of a trace in a folder, so that an interrupted search goes on where it was.
 *
 * One file a layer, "SAMPLE-KEY-LAYER.layer": SAMPLE is the hash of network and variants in hexadecimal, KEY that of
 * everything else that the layer depends on. So a folder can be shared by many samples with many options each, and
 * traces that ask the same of a layer share its file.
 */
#ifndef SPADE_TRACE_CHECKPOINT_H
#define SPADE_TRACE_CHECKPOINT_H

#include "trace/trace.h"

typedef struct spade_checkpoint {
    spade_context *context;
    const char *folder; /* borrowed; NULL: there is no checkpoint, loading finds nothing and saving does nothing */
    uint64_t sample[2]; /* hashes of network and variants */
} spade_checkpoint;

/* Makes the folder and hashes network and variants; with folder NULL nothing. */
spade_status spade_checkpoint_open(spade_context *context, const char *folder, const spade_model *model,
                                   const spade_batch *batch, spade_checkpoint *out);
/* What a layer depends on beside its sample: its options, its number and sizes, the precision of its Hessian, and the
 * layer whose Hessian holds its own as a block (source; -1: none). */
uint64_t spade_checkpoint_key(const spade_checkpoint *checkpoint, const spade_model *model, int layer,
                              const spade_layer_options *options, spade_precision hessian, int source);
/* The layer's weights [rows, columns], zeros, loss and seconds. false: there is no such file, or it is damaged; `weights`
 * is undefined then. */
bool spade_checkpoint_load(const spade_checkpoint *checkpoint, const spade_layer *layer, uint64_t key, float *weights,
                           spade_trace_layer *info);
/* A failure is only a warning in the log, as the search can go on without its checkpoint. weights NULL: they could not be
 * read, and the context's message says why. */
void spade_checkpoint_save(const spade_checkpoint *checkpoint, const spade_layer *layer, uint64_t key,
                           const float *weights, const spade_trace_layer *info);

#endif
