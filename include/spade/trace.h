/*
 * spade/trace.h - the trace: sparse weights of one sample laid over the shared network.
 *
 * Source: SPADE, ICML 2024. The network itself never changes; a trace holds weights only for the layers that differ.
 *
 * Layers of the fast solver with fewer samples than columns, as wide linear layers have, need no Hessian: their inputs are
 * kept, and solve.h's dual form takes them. Which layers these are follows from sizes and options alone, as what costs least
 * on the device: never from the budget, the number of threads, or what else is in the call.
 */
#ifndef SPADE_TRACE_H
#define SPADE_TRACE_H

#include "spade/hessian.h"
#include "spade/solve.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A sparsity that is found for the sample: the largest that keeps what the network decides. Candidates, from one factor of each
 * layer's Hessian, are for every level S of 0.99, 0.95, 0.9, 0.8, 0.5, 0.2: S in all layers; and S in the last stage, less in each
 * stage before it, 0 in the first (each stage has the level that is as far along the levels as the stage is along the network;
 * stages are blocks, by the layers' names: spade_model_stages()). Of these, the one with the most zeros that keeps the decision on
 * the sample and on at least SPADE_AUTO_AGREEMENT of the variants held out (spade_batch_hold_out()); where there is none, the one
 * that keeps most. Rules that give some layers a sparsity hold as they are, and where all have one, nothing is chosen; n:m has no
 * sparsity to choose.
 */
#define SPADE_SPARSITY_AUTO (-1.0)
#define SPADE_AUTO_AGREEMENT 0.95
enum { SPADE_AUTO_HELD_OUT = 64 }; /* variants that the command holds out */

/* Which fields of a rule are set. */
enum {
    SPADE_RULE_SPARSITY = 1,
    SPADE_RULE_SOLVER = 2,
    SPADE_RULE_GROUP = 4,
    SPADE_RULE_COUNT = 8,
    SPADE_RULE_BLOCK = 16,
    SPADE_RULE_PATTERN = 32 /* keep, of */
};

/*
 * What is different for some layers. Later rules win, field by field; a sparsity and n:m are two forms of one field. layers:
 * glob (fnmatch) over layer names; one that matches no prunable layer is SPADE_ERROR_ARGUMENT.
 */
typedef struct spade_layer_rule {
    const char *layers;
    unsigned set; /* SPADE_RULE_...: the fields that the rule changes; the others are not read */
    double sparsity;
    spade_solver solver;
    spade_group group;
    spade_count count;
    int64_t block; /* 0: kh*kw for convolutions, 1 for 1x1 and linear layers */
    int keep, of;  /* n:m; of = 0: unstructured */
} spade_layer_rule;

typedef struct spade_trace_options {
    size_t size;                   /* set by spade_trace_options_init(), like the next */
    size_t rule_size;              /* of an element of `rules` */
    spade_solver solver;           /* SPADE_SOLVER_FAST */
    spade_precision hessian;       /* SPADE_FP32; SPADE_FP64: the sweep is float64, too, whatever `sweep` says */
    spade_precision sweep;         /* SPADE_FP64; solve.h, as the next three */
    spade_count count;             /* SPADE_COUNT_FLOOR */
    double damping;                /* 0.01 */
    uint64_t seed;                 /* 0 */
    double sparsity;               /* 0.5, of every prunable layer; or SPADE_SPARSITY_AUTO */
    const spade_layer_rule *rules; /* exceptions, borrowed */
    int rule_count;
    const char *const *include; /* globs; NULL: every prunable layer */
    int include_count;
    const char *const *skip; /* globs; win over include */
    int skip_count;
    int64_t block;        /* columns a block; 0: kh*kw for convolutions, 1 for 1x1 and linear layers */
    int64_t linear_block; /* of 1x1 and linear layers, where they have another; 0: as `block` says */
    int keep, of;         /* n:m (solve.h); of = 0: unstructured. Layers whose sparsity is 0 stay dense. */
    spade_group group;    /* SPADE_GROUP_KERNEL, of the exact solver */
    /*
     * Folder, made if it is not there, that each layer is written to as soon as it is solved (beside its name first, then
     * renamed). A layer is taken from there at the start if all it depends on is the same: network, variants, its
     * options, the version. The pass over the variants is then for the other layers only. Any number of samples and
     * options may share a folder, in one call or one after the other; files stay until the folder is removed.
     * NULL: none.
     */
    const char *checkpoint;
} spade_trace_options;
SPADE_API void spade_trace_options_init_sized(spade_trace_options *options, size_t size, size_t rule_size);
static inline void spade_trace_options_init(spade_trace_options *options)
{
    spade_trace_options_init_sized(options, sizeof *options, sizeof(spade_layer_rule));
}

/* Traces that are held at once while one with these options (of our size) is found: more than one with SPADE_SPARSITY_AUTO. */
SPADE_API int spade_trace_count(const spade_trace_options *options);
/* Before the work: SPADE_ERROR_ARGUMENT where a trace with these options would be refused, with a glob that matches no layer and
 * names close to it, say. Logs a warning of a layer whose blocks hold so few weights that rounding down leaves it at least two
 * hundredths below the sparsity asked for. */
SPADE_API spade_status spade_trace_check_options(spade_context *context, const spade_model *model,
                                                 const spade_trace_options *options);
/* Find the trace of the sample whose variants `batch` holds. The model must outlive the trace, and a trace is used in
 * the context that it was made in: on a GPU its weights lie there. */
SPADE_API spade_status spade_trace_create(spade_context *context, const spade_model *model, const spade_batch *batch,
                                          const spade_trace_options *options, spade_trace **out);
/*
 * Traces of several samples with several options each, in one call: traces[b * option_count + o] is the one that
 * spade_trace_create() finds for batches[b] and options[o], to the last bit. What they have in common is computed once:
 * the Hessians of a batch, and the factors of a layer (or its order of removal: exact) for all sparsities of it. Layers
 * of several samples are solved side by side as far as the memory budget allows. All or nothing: on failure every
 * pointer is NULL.
 */
SPADE_API spade_status spade_trace_create_many(spade_context *context, const spade_model *model,
                                               const spade_batch *const *batches, int batch_count,
                                               const spade_trace_options *options, int option_count,
                                               spade_trace **traces);
/* A trace without any change, to be filled with spade_trace_set_weights() and spade_trace_set_bias(). */
SPADE_API spade_status spade_trace_create_empty(spade_context *context, const spade_model *model, spade_trace **out);
/* Overlay weights [rows, columns] of a layer (copied). */
SPADE_API spade_status spade_trace_set_weights(spade_context *context, spade_trace *trace, int layer,
                                               const float *weights);
/* Overlay the bias [rows] of a layer (copied), also where the network's has none. A trace found for a sample keeps the network's. */
SPADE_API spade_status spade_trace_set_bias(spade_context *context, spade_trace *trace, int layer, const float *bias);
SPADE_API void spade_trace_destroy(spade_trace *trace); /* NULL is fine */

/* The trace's weights [rows, columns] of a layer: its own, or the network's where the layer did not change; the trace's
 * memory. On a GPU they are copied from there at the first call. NULL: there is no memory for that, or the device is
 * lost (spade_message), or there is no such layer. */
SPADE_API const float *spade_trace_weights(const spade_trace *trace, int layer);

typedef struct spade_trace_layer {
    bool solved;     /* false: the layer is the network's */
    bool resumed;    /* taken from the checkpoint; seconds are those of its solve */
    double sparsity; /* asked for; n:m: 1 - n/m */
    int64_t zeros, weights;
    double loss;
    double seconds; /* of the solve, its part of what several sparsities shared; Hessians are of all layers */
} spade_trace_layer;
/* 0 all over: there is no such layer. */
SPADE_API void spade_trace_layer_info(const spade_trace *trace, int layer, spade_trace_layer *info);
/* Seconds spent by the host: [0] augmentation and forward passes, [1] Hessians, [2] solve. On a GPU, where Hessians are
 * part of captured passes, they are in [0]. Of traces that were found together: [0] and [1] are those of the batch, [2]
 * of all that were solved at once. */
SPADE_API void spade_trace_seconds(const spade_trace *trace, double seconds[3]);

/* What SPADE_SPARSITY_AUTO chose. */
typedef struct spade_sparsity_choice {
    double sparsity;  /* the level S */
    bool scaled;      /* less in earlier stages, as said there */
    int tried;        /* candidates, from the sparsest on, this one among them */
    double agreement; /* share of the variants held out on which the trace decides as the network does */
    bool keeps_class; /* on the sample; true where none was given */
    bool enough;      /* both are as asked; false: no candidate's are */
    int layers, of;   /* it was chosen for so many of so many prunable layers; options fix the others' */
    double highest;   /* that one of these layers got: below `sparsity` where rules fix the last stage */
} spade_sparsity_choice;
/* False: the trace's sparsity was given, if only by rules for all layers. */
SPADE_API bool spade_trace_sparsity_choice(const spade_trace *trace, spade_sparsity_choice *out);

/* The same graph with the trace's weights, as a self-contained .onnx; renamed into place when complete. SPADE_ERROR_UNSUPPORTED: a
 * bias was overlaid. */
SPADE_API spade_status spade_trace_write_onnx(spade_context *context, const spade_trace *trace, const char *path);
/* The weights of every layer under "NAME.weight", and biases that were overlaid under "NAME.bias", dense float32, as .safetensors. */
SPADE_API spade_status spade_trace_write_safetensors(spade_context *context, const spade_trace *trace,
                                                     const char *path);

#ifdef __cplusplus
}
#endif
#endif
