/*
 * sparse_fc.h - the network with a last layer of few weights, as Wong, Santurkar and Madry 2021 make it: everything before that
 * layer stays dense, and its inputs, the deep features, are fitted to labels by an elastic net (solve/elastic_net.h). It is a trace
 * of all pictures: weights and bias laid over the layer.
 *
 * The path of lambda goes in SPARSE_FC_STEPS steps, evenly in its logarithm, from the least lambda at which all weights are 0 down to
 * SPARSE_FC_RATIO of it, with alpha SPARSE_FC_ALPHA (their numbers). A share of the pictures is kept aside, drawn from the seed, of
 * every class as evenly as that goes, and the first of each class never: of the path's solutions that have a weight, the sparsest is
 * taken of those which decide at most `margin` of these pictures less often right than the best one does.
 */
#ifndef SPADE_TRACE_SPARSE_FC_H
#define SPADE_TRACE_SPARSE_FC_H

#include "base/base.h"
#include "spade/trace.h"

#define SPARSE_FC_ALPHA 0.99
#define SPARSE_FC_RATIO 0.001
#define SPARSE_FC_ASIDE 0.2
/* A class that no picture has is never decided: it has no weights, and a bias this much below the least number that any class gets
 * of a picture. */
#define SPARSE_FC_ABSENT 20.0f
enum { SPARSE_FC_STEPS = 100 };

/* The layer that it is about. SPADE_ERROR_UNSUPPORTED: the network does not end in one, and why (network/decision_layer.h). */
spade_status spade_sparse_fc_layer(spade_context *context, const spade_model *model, int *layer);
/* Of images as spade_model_forward() takes them: features [n, columns of the layer] and outputs [n, outputs], or NULL. */
spade_status spade_sparse_fc_features(spade_context *context, const spade_model *model, int layer, const float *input,
                                      int64_t n, float *features, float *outputs);

typedef struct spade_sparse_fc_pictures {
    int64_t count;
    const float *features;  /* [count, columns of the layer] */
    const int64_t *classes; /* [count]: that should be decided, at least two different ones */
    const int64_t *dense;   /* [count]: that the network decides for */
    double margin;          /* 0 to 1 */
    uint64_t seed;          /* of the pictures that are kept aside */
} spade_sparse_fc_pictures;

typedef struct spade_sparse_fc {
    spade_context *context;
    int layer;
    int64_t rows, columns;
    float *weights, *bias; /* [rows, columns], [rows]: outputs = weights features + bias */
    size_t bytes;          /* of both */
    double lambda, lambda_max;
    int step;                          /* of the path, from 0 on */
    int64_t nonzeros;                  /* weights */
    int64_t classes, empty;            /* that pictures have; those of them that have no weight */
    int64_t fitted, aside;             /* pictures that it was fitted to, and that were kept aside */
    int64_t dense_right, sparse_right; /* of those kept aside */
} spade_sparse_fc;

/* Bytes that the fit takes beside the features. */
uint64_t spade_sparse_fc_bytes(const spade_model *model, int layer, int64_t pictures);
/* SPADE_ERROR_INPUT: fewer than two classes, no picture can be kept aside, or the features say nothing of the classes. *out is to be
 * cleared after success. */
spade_status spade_sparse_fc_fit(spade_context *context, const spade_model *model, int layer,
                                 const spade_sparse_fc_pictures *pictures, spade_sparse_fc *out);
/* Room for weights and bias of this layer, to be filled in; what else is known is 0. */
spade_status spade_sparse_fc_open(spade_context *context, const spade_model *model, int layer, spade_sparse_fc *out);
void spade_sparse_fc_clear(spade_sparse_fc *fc);
/* The network with this layer. */
spade_status spade_sparse_fc_trace(spade_context *context, const spade_model *model, const spade_sparse_fc *fc,
                                   spade_trace **out);

#endif
