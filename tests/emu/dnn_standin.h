/*
 * dnn_standin.h - the stand-in for cuDNN's graph API: descriptors and the engines of an imagined GPU.
 *
 * Descriptors count who holds them: a handle that was destroyed may live on inside what was made of it, but must not be
 * used any more. Attributes are checked by a table: name, type, number of elements, finalized parts.
 */
#ifndef DNN_STANDIN_H
#define DNN_STANDIN_H

#include <cudnn_backend.h>

#include "standin.h"

enum { DNN_MOST_OPERATIONS = 4, DNN_MOST_TENSORS = 8, DNN_ENGINES = 7 };

typedef struct descriptor descriptor;

typedef struct dnn_tensor {
    cudnnDataType_t type;
    int64_t dims[4], strides[4], name, alignment;
    bool is_virtual;
} dnn_tensor;

typedef struct dnn_window {
    int64_t axes;
    cudnnDataType_t sums;
    cudnnConvolutionMode_t mode;
    int64_t before[2], after[2], dilation[2], stride[2];
} dnn_window;

typedef struct dnn_operation { /* convolution: out = in * weights; pointwise: out = in + second, or relu(in) */
    descriptor *in, *weights, *out, *second;
    descriptor *rule; /* the window, or the pointwise function */
    float alpha, beta;
} dnn_operation;

struct descriptor {
    descriptor *next; /* of all that live */
    cudnnBackendDescriptorType_t type;
    int holders;
    bool finalized, destroyed;
    unsigned set; /* bits: attributes set so far, by their place among the type's */
    union {
        dnn_tensor tensor;
        dnn_window window;
        struct {
            cudnnPointwiseMode_t mode;
            cudnnDataType_t precision;
        } pointwise;
        dnn_operation operation;
        struct {
            cudnnHandle_t handle;
            descriptor *operations[DNN_MOST_OPERATIONS];
            int64_t count;
        } graph;
        struct {
            descriptor *graph;
            cudnnBackendHeurMode_t mode;
        } heuristic;
        struct {
            descriptor *graph;
            int64_t number;
        } engine;
        struct {
            descriptor *engine;
        } config;
        struct {
            cudnnHandle_t handle;
            descriptor *config;
        } plan;
        struct {
            void *pointers[DNN_MOST_TENSORS], *workspace;
            int64_t names[DNN_MOST_TENSORS], pointer_count, name_count;
        } pack;
    } of;
};

/* ---- dnn_descriptor.c */
/* A living, not destroyed descriptor of this type, finalized or not. */
descriptor *dnn_check(const void *handle, cudnnBackendDescriptorType_t type, const char *call);
void dnn_hold(descriptor **slot, descriptor *held); /* lets go of what was there */
/* How many descriptors of the caller's live. */
int dnn_living(void);

/* ---- dnn_engine.c: engines of this GPU
 *
 *   0  tensor cores (TF32, bfloat16)  channels-last, any fusion; no groups in bfloat16
 *   1  Winograd                       3x3, stride 1
 *   2  nondeterministic               all
 *   3  channels-last                  fused or not, no groups, symmetric padding; workspace: as large as x
 *   4  general                        the convolution alone, symmetric padding
 *   5  greedy                         all, for a workspace of 1 GiB
 *   6  simple                         row-major, the convolution alone; slow
 *
 * Mode A names 0, 1, 2, 5 and 3 in this order, the fall-back mode 2 and 4; 6 is found by its number only.
 * The environment's SPADE_STANDIN_ENGINES, digits, says which there are (default: all).
 */
/* CUDNN_STATUS_NOT_SUPPORTED where the engine has nothing for the graph. */
cudnnStatus_t dnn_engine_supports(int64_t number, const descriptor *graph);
int64_t dnn_engine_workspace(int64_t number, const descriptor *graph);
double dnn_engine_milliseconds(int64_t number);
bool dnn_engine_rounds(int64_t number); /* inputs to TF32 */
int dnn_engine_notes(int64_t number, cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT]);
/* Numbers of those that a mode names for the graph, in order; returns how many. */
int dnn_engine_list(cudnnBackendHeurMode_t mode, const descriptor *graph, int64_t numbers[DNN_ENGINES]);

/* ---- dnn_operation.c: do the parts of an operation, of a graph belong together; dies where not */
void dnn_check_parts(const descriptor *d);
/* x, y and the window of a graph's convolution, whichever way it goes. */
typedef struct dnn_convolution {
    const dnn_tensor *x, *weights, *y; /* backward: dx, weights, dy */
    const dnn_window *window;
    bool backward;
    int64_t groups;
} dnn_convolution;
dnn_convolution dnn_convolution_of(const descriptor *graph);
/* The tensor of this name in the graph that the caller gives memory for, or NULL. */
const dnn_tensor *dnn_find_tensor(const descriptor *graph, int64_t name);
int64_t dnn_tensor_bytes(const dnn_tensor *t);

/* ---- dnn_execute.c */
/* pointers: of the tensors by name, in the pack's order, checked before. */
void dnn_compute(const descriptor *graph, const descriptor *pack, bool rounds);

/* ---- events.c: the device's clock, in milliseconds of work done */
void standin_work(double milliseconds);

#endif
