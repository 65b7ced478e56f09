/*
 * spade/check.h - how far a map can be trusted: is relevance lost on its way through the network, and does the map depend on
 * what the network has learned?
 *
 * Completeness, the third question, is asked with the map: spade_map_note in attribution.h.
 */
#ifndef SPADE_CHECK_H
#define SPADE_CHECK_H

#include "spade/attribution.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * ---- conservation, of methods with SPADE_METHOD_CONSERVATION (lrp, attnlrp, deeplift): relevance of the class is handed from
 * node to node towards the input, and at each of them the inputs should get, all in all, what its output has (Bach et al.
 * 2015, equation 2; Shrikumar et al. 2017, summation to delta).
 *
 * Relevance of a value: of LRP, R; of DeepLift, the multiplier of each number times its difference from the baseline.
 */

/* A node on the way, or several whose work is done at once: the first one. All are sums, in double. */
typedef struct spade_conservation_step {
    const char *name; /* of the layer, else of the module or node; the model's memory */
    const char *kind; /* "convolution" */
    bool layer;       /* it has weights */
    double relevance; /* of its output */
    double magnitude; /* of its output: the sum of the absolute values */
    double handed_on; /* what its inputs get */
    /* What stays, as the method's rules say: in biases and constant inputs (AttnLRP: also in softmax, whose rule is a linear one
     * around the values that it has), and in the stabilisers of divisions. */
    double constants, stabilizer;
} spade_conservation_step;

/* Share of a step's magnitude that may be missing once the constants have their part. */
#define SPADE_CONSERVATION_TOLERANCE 1e-3

/* What is missing: lost on the way, or below 0: made there. */
static inline double spade_conservation_missing(const spade_conservation_step *step)
{
    return step->relevance - step->handed_on - step->constants;
}

typedef struct spade_conservation {
    double output, input;           /* relevance at the network's output and at its input: the sum of the map */
    spade_conservation_step *steps; /* [count], from the output to the input */
    int count;
} spade_conservation;

/*
 * One pass more, watched, of an input [C, H, W]; trace: NULL for the dense network. *out is to be cleared.
 * It takes the memory of every value between the nodes. SPADE_ERROR_ARGUMENT: the method hands no relevance on.
 */
SPADE_API spade_status spade_attribution_conservation(spade_context *context, const spade_model *model,
                                                      const spade_trace *trace, const spade_attribution *attribution,
                                                      const float *input, const spade_target *target,
                                                      spade_conservation *out);
SPADE_API void spade_conservation_clear(spade_conservation *conservation);

/*
 * ---- cascading randomisation (Adebayo et al. 2018, Sanity checks for saliency maps): layers lose what they have learned, one
 * after the other from the class's logit down, and each map is compared with the one that it was. A map that stays as it is
 * says something about the picture, but nothing about the network.
 */

/* Random weights for a layer of a trace: normal numbers with mean 0 and the root mean square of the layer's weights in the network,
 * so that its output keeps its size. Biases and normalisations stay. The same seed and layer give the same weights on every
 * device. */
SPADE_API spade_status spade_trace_randomise(spade_context *context, spade_trace *trace, int layer, uint64_t seed);

/* How much two maps are alike, from 1: the same. NaN: it is not defined, as a map has the same value everywhere. */
typedef struct spade_similarity {
    double spearman;     /* rank correlation of the maps, summed over channels; ties share their mean rank */
    double spearman_abs; /* likewise, of the sums of absolute values: sign does not count */
    /* Structural similarity (Wang et al. 2004) of the sums of absolute values, each scaled to 0..1: mean over all windows of 7 x 7
     * pixels (the largest odd size that fits, in smaller maps), K1 = 0.01, K2 = 0.03, variances of samples. */
    double ssim;
} spade_similarity;

/* With all layers random, a map of which as much is left does not follow what the network has learned: the larger one of |spearman|
 * and |spearman_abs|. Adebayo et al. name no level; from 0.5 on a correlation counts as large (Cohen 1988, Statistical power analysis
 * for the behavioral sciences, section 3.2). */
#define SPADE_CHECK_LEVEL 0.5

/* a, b: maps [C, H, W]. */
SPADE_API spade_status spade_map_similarity(spade_context *context, const float *a, const float *b,
                                            const int64_t shape[3], spade_similarity *out);

#ifdef __cplusplus
}
#endif
#endif
