/*
 * spade/model.h - a trained network, read from ONNX, and its layers.
 *
 * A model is immutable and shared: traces lay their weights over it. It keeps the file mapped while it lives.
 */
#ifndef SPADE_MODEL_H
#define SPADE_MODEL_H

#include <stdbool.h>

#include "spade/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spade_model spade_model;
typedef struct spade_trace spade_trace; /* trace.h */

typedef struct spade_model_options {
    size_t size;                     /* set by spade_model_options_init() */
    int64_t height, width;           /* input size in pixels where the file leaves it dynamic; 0: what the file says */
    bool follow_links;               /* external data may be reached through symbolic links */
    int64_t open_height, open_width; /* the same where neither the file nor height and width say it; 0: refuse it */
    const char
        *output; /* the graph's output that holds the classes, by name, where it has several; NULL: the only one */
} spade_model_options;

/* Everything 0. */
SPADE_API void spade_model_options_init_sized(spade_model_options *options, size_t size);
static inline void spade_model_options_init(spade_model_options *options)
{
    spade_model_options_init_sized(options, sizeof *options);
}

/*
 * Read an ONNX file. options may be NULL.
 * Limits: 2 GiB a file, 16 GiB external data (beside the model only), 100,000 nodes, nesting 64, rank 8, names of 4 kB.
 * SPADE_ERROR_INPUT: not an ONNX file, truncated, cyclic, a missing initializer, ...
 * SPADE_ERROR_UNSUPPORTED: operators outside spade's set, each named with its first node.
 */
SPADE_API spade_status spade_model_load(spade_context *context, const char *path, const spade_model_options *options,
                                        spade_model **out);
SPADE_API void spade_model_destroy(spade_model *model); /* NULL is fine */

/* Input of one image: channels, height, width. */
SPADE_API void spade_model_input(const spade_model *model, int64_t *channels, int64_t *height, int64_t *width);
/* Does the file declare 8-bit values as input? Then floats from 0 to 255 are what goes in. */
SPADE_API bool spade_model_takes_bytes(const spade_model *model);

/*
 * ---- heads. Many files end in what makes scores of the network's values: a softmax, its logarithm, or a sigmoid for
 * each class. What is computed and explained here is the value before it, the logits; the scores are still those of the
 * file. Where more is made of them than moving their numbers (1 - p, classes in another order, a mean of two heads) there is no such
 * value: the output is the scores (SPADE_HEAD_SCORES), and they are explained. A file that ends in logits has softmax scores.
 * A network with one output z says how much it is class 1 of two: the score of class 1 is sigmoid(z).
 */
typedef enum spade_head {
    SPADE_HEAD_NONE,
    SPADE_HEAD_SOFTMAX,
    SPADE_HEAD_LOG_SOFTMAX,
    SPADE_HEAD_SIGMOID,
    SPADE_HEAD_SCORES
} spade_head;
SPADE_API spade_head spade_model_head(const spade_model *model);
SPADE_API const char *spade_head_name(spade_head head); /* "none", "softmax", "log softmax", "sigmoid", "scores" */
/* Numbers that the network gives of one image. */
SPADE_API int64_t spade_model_outputs(const spade_model *model);
/* Classes that they are about: as many, but 2 of one output. */
SPADE_API int64_t spade_model_classes(const spade_model *model);
/*
 * What the outputs of one image [outputs] say of each class. logits [classes]: the outputs themselves, or of one output
 * z: -z and z. scores [classes], from 0 to 1: softmax of the outputs, or with a sigmoid head, or of one output, the
 * sigmoid of each logit; with the head SCORES the outputs, whatever their range. Either may be NULL.
 */
SPADE_API void spade_model_scores(const spade_model *model, const float *outputs, double *logits, double *scores);
/* Class name from the model's metadata ("names", "classes", "labels", "id2label" or "class_names": a list, or a dictionary
 * keyed by number, in JSON or as Python writes it), or NULL. */
SPADE_API const char *spade_model_class_name(const spade_model *model, int64_t index);

/*
 * A layer: a convolution (groups, stride, dilation) or a Gemm/MatMul with a constant weight, in graph order.
 * Per group its weight is W [rows/groups, columns], columns = (Cin/groups)*kh*kw in (channel, row, column) order.
 */
typedef struct spade_layer_info {
    const char *name; /* "layer1.0.conv1", owned by the model */
    const char *node; /* the ONNX node's name */
    bool convolution;
    bool prunable;     /* every layer but the first convolution */
    int64_t weight[4]; /* [out, in/groups, kh, kw]; kh = kw = 1 for linear layers */
    int64_t groups;
    int64_t rows;                   /* outputs, over all groups */
    int64_t columns;                /* K */
    int64_t input[3];               /* of one image: [C, H, W]; linear: [columns, positions, 1] */
    int64_t output[3];              /* likewise: [C, H, W]; linear: [rows, positions, 1] */
    int64_t stride[2], dilation[2]; /* rows, columns; 1 for linear layers */
    int64_t pad[4];                 /* top, left, bottom, right */
    double operations;              /* multiply-adds x 2 for one image */
} spade_layer_info;

SPADE_API int spade_model_layer_count(const spade_model *model);
/* 0 and NULL all over: there is no such layer. */
SPADE_API void spade_model_layer(const spade_model *model, int index, spade_layer_info *info);
/* The layer's dense weights [rows, columns], owned by the model; NULL: there is no such layer. */
SPADE_API const float *spade_model_weights(const spade_model *model, int index);
/*
 * Stages: layers that belong together, as the blocks of a ResNet ("layer4.1"), a MobileNet ("features.17") or a transformer
 * ("encoder.layers.encoder_layer_11") do: those with the same beginning of the name up to its number, a layer without one by itself.
 * stages [layers]: of each layer the stage's number, in the order in which they begin; -1 of layers that are never pruned.
 * Returns how many there are.
 */
SPADE_API int spade_model_stages(const spade_model *model, int *stages);
/* How many characters of a layer's name are its stage's. */
SPADE_API size_t spade_stage_name_length(const char *layer);
/* Index of the layer of that name, or -1. */
SPADE_API int spade_model_find_layer(const spade_model *model, const char *name);

/* One ONNX operator kind of the file and how often it occurs; `supported` says whether spade computes it. */
typedef struct spade_operator_info {
    const char *name;
    int count;
    bool supported;
    const char *first_node; /* name of the first node of that kind */
} spade_operator_info;

/*
 * Operators of a file, whether or not the model can be loaded: for `spade info`. options: as for spade_model_load(), may
 * be NULL. *out is an array of *count entries, released with spade_operators_free().
 */
SPADE_API spade_status spade_model_operators(spade_context *context, const char *path,
                                             const spade_model_options *options, spade_operator_info **out, int *count);
SPADE_API void spade_operators_free(spade_operator_info *operators, int count);

/* An ONNX operator (of the standard domain) that is computed, up to the newest opset that was tried (24). */
typedef enum spade_operator_flags {
    SPADE_OPERATOR_ON_PICTURE = 1,   /* of what depends on the picture */
    SPADE_OPERATOR_ON_CONSTANTS = 2, /* of constants and shapes, once, at load */
    SPADE_OPERATOR_AT_END = 4        /* as the network's head, or behind it */
} spade_operator_flags;

typedef struct spade_known_operator {
    const char *name;
    int opset;         /* the first that has it, 7 or later */
    unsigned flags;    /* spade_operator_flags */
    const char *limit; /* what is asked of it beyond ONNX's definition, in words; NULL: nothing */
} spade_known_operator;

/* In the order of their names. False: no such index. */
SPADE_API bool spade_known_operator_at(int index, spade_known_operator *out);

/*
 * Forward pass: input [n, C, H, W] normalised float32 -> output [n, outputs], before the head.
 * trace: NULL for the dense network. Images run in micro-batches of a fixed size.
 */
SPADE_API spade_status spade_model_forward(spade_context *context, const spade_model *model, const spade_trace *trace,
                                           const float *input, int64_t n, float *output);

#ifdef __cplusplus
}
#endif
#endif
