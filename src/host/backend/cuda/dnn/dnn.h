/*
 * dnn.h - convolutions on cuDNN's graph API: the variants to put one into a graph, the engines that compute a graph, and
 * the file of timed choices. For convolution.c and its tests.
 *
 * cuDNN has no switch for how exact a product is: each of its engines has numerical notes. An engine is a candidate
 * only if no note of it is forbidden by the context's precision (spade_dnn_allows), so float32 stays float32.
 */
#ifndef SPADE_CUDA_DNN_H
#define SPADE_CUDA_DNN_H

#include "backend/cuda/cuda.h"

/* ---- graph.c: descriptors */

/* A way to compute a convolution. What is not in the graph, own kernels do before and after it. */
typedef struct spade_dnn_variant {
    spade_layout layout; /* of the graph's tensors */
    bool fused;          /* forward: bias and relu are in the graph */
    bool padded;         /* x (or dx) carries its zero padding in memory, the graph knows none */
    bool half;           /* bfloat16 tensors, float32 sums */
    bool product;        /* no graph: one product by cuBLAS, [pixels, inputs] x [inputs, outputs] */
} spade_dnn_variant;

/* Names of the tensors in a graph; IN: x or dy, OUT: y or dx. */
enum { SPADE_DNN_IN = 1, SPADE_DNN_WEIGHTS, SPADE_DNN_BIAS, SPADE_DNN_OUT, SPADE_DNN_SUM, SPADE_DNN_BIASED };

/* An operation graph with everything that it was made of; all belong to it. */
typedef struct spade_dnn_graph {
    cudnnBackendDescriptor_t parts[16];
    int count;
    cudnnBackendDescriptor_t graph; /* one of the parts */
} spade_dnn_graph;

/* Dims of x as the graph sees it: with the padding where the variant says so. */
spade_shape spade_dnn_input_shape(const spade_op_desc *desc, const spade_dnn_variant *variant);
/* What the graph API answers to a graph that it has nothing for is not a failure of ours: the status says so. */
cudnnStatus_t spade_dnn_graph_create(cudnnHandle_t handle, const spade_op_desc *desc, const spade_dnn_variant *variant,
                                     spade_dnn_graph *out);
void spade_dnn_graph_destroy(spade_dnn_graph *graph);

cudnnStatus_t spade_dnn_set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                            cudnnBackendAttributeType_t type, int64_t count, const void *elements);

/* ---- engine.c: who computes a graph */

/* Where engines come from, best first. */
typedef enum spade_dnn_source {
    SPADE_DNN_HEURISTIC, /* cuDNN's own order by expected time */
    SPADE_DNN_FALLBACK,  /* those that cuDNN names where the first are not usable */
    SPADE_DNN_EVERY,     /* all engines by their number, with their default settings */
    SPADE_DNN_SOURCE_COUNT
} spade_dnn_source;

/* Engine configurations; owned. */
typedef struct spade_dnn_engines {
    cudnnBackendDescriptor_t *configs;
    int count;
} spade_dnn_engines;

/* Whether an engine with these notes may compute at this precision. */
bool spade_dnn_allows(spade_network_precision precision, const cudnnBackendNumericalNote_t *notes, int64_t count);
/* The allowed engines of one source, in its order; none is not a failure. */
spade_status spade_dnn_engines_find(const spade_cuda_device *device, const spade_dnn_graph *graph,
                                    spade_dnn_source source, spade_dnn_engines *out);
void spade_dnn_engines_clear(spade_dnn_engines *engines);
/* The engine's number, -1 where cuDNN does not say. */
int64_t spade_dnn_engine_number(cudnnBackendDescriptor_t config);
/* A plan that needs at most `max` bytes of workspace, or NULL. */
cudnnBackendDescriptor_t spade_dnn_plan_create(const spade_cuda_device *device, cudnnBackendDescriptor_t config,
                                               size_t most, size_t *workspace);

/* ---- search.c: variants and engines in a fixed order */

enum { SPADE_DNN_MAX_VARIANTS = 10, SPADE_DNN_MAX_TIMED = 8 };

/* Something that computes the convolution; config and plan are owned, NULL for a product. */
enum { SPADE_DNN_PRODUCT = -2 };
typedef struct spade_dnn_candidate {
    spade_dnn_variant variant;
    cudnnBackendDescriptor_t config, plan;
    int64_t engine;       /* its number in cuDNN, or SPADE_DNN_PRODUCT */
    size_t scratch_bytes; /* cuDNN's workspace */
} spade_dnn_candidate;
void spade_dnn_candidate_release(spade_dnn_candidate *candidate);

typedef struct spade_dnn_search {
    spade_cuda_device *device;
    const spade_op_desc *desc;
    int variant_count;
    spade_dnn_variant variants[SPADE_DNN_MAX_VARIANTS];
    spade_dnn_graph graphs[SPADE_DNN_MAX_VARIANTS]; /* without a graph: cuDNN refuses the variant */
    cudnnStatus_t refusal;                          /* of the last variant refused */
    spade_dnn_candidate found[SPADE_DNN_MAX_TIMED];
    int count;
} spade_dnn_search;

void spade_dnn_search_begin(spade_dnn_search *search, spade_cuda_device *device, const spade_op_desc *desc);
/* The first `max` candidates (at most SPADE_DNN_MAX_TIMED); none: SPADE_ERROR_UNSUPPORTED names the convolution. */
spade_status spade_dnn_search_run(spade_dnn_search *search, int max);
void spade_dnn_search_restart(spade_dnn_search *search); /* nothing is found yet */
void spade_dnn_search_end(spade_dnn_search *search);
const char *spade_dnn_precision_name(spade_network_precision precision);

/*
 * ---- choice.c: timed choices, kept in $XDG_CACHE_HOME/spade/convolutions, else ~/.cache/spade/convolutions.
 *
 * Without that file every convolution runs on the first candidate, the order of which is a function of the shapes, the
 * GPU and cuDNN alone: results are the same in every run. SPADE_CUDA_TUNE=1 times the first SPADE_DNN_MAX_TIMED
 * candidates of every convolution that the file does not know and writes the fastest into it; from then on it is used
 * in every run. Results are then bit-identical for the same file, and SPADE_CUDA_CACHE=off ignores it.
 *
 * Text: a line for the format, then a line per choice: GPU, cuDNN version, convolution, candidate, engine, checksum,
 * between tabs. Lines that are not that are passed over. Written beside its name and renamed into place.
 */
typedef struct spade_dnn_choice {
    int candidate;  /* in the order of candidates, from 0 */
    int64_t engine; /* its engine: where that is another one, the entry is not for this library */
} spade_dnn_choice;

/* SPADE_CUDA_TUNE=1, and the file is not switched off. */
bool spade_dnn_tunes(void);
/* key: the convolution in one line without tabs. */
bool spade_dnn_choice_read(const spade_cuda_device *device, const char *key, spade_dnn_choice *out);
/* A file that cannot be written is worth a warning, no more. */
void spade_dnn_choice_write(const spade_cuda_device *device, const char *key, const spade_dnn_choice *choice);

#endif
