/*
 * spade/visualize.h - feature visualisation (Olah, Mordvintsev & Schubert 2017): the picture that a class, a channel or a neuron
 * answers most to, made by following the gradient from noise. On a trace: what it answers to in the sample that the trace is of.
 *
 * As in Lucid and Lucent: the picture's parameters are its Fourier coefficients, each scaled by 1 / frequency, of colours that
 * are not correlated in natural pictures; a sigmoid keeps it from 0 to 1. In every step the network sees it moved, scaled and
 * turned a little, so that what is found does not depend on single pixels. Steps are Adam's.
 *
 *   spade_objective objective = {.layer = "layer4.1.conv2", .index = 12};
 *   spade_visualize_options options;
 *   spade_visualize_options_init(&options);
 *   spade_visualize_shape(context, model, &objective, &options, shape);    // [C, H, W]
 *   spade_visualize(context, model, NULL, &objective, &options, picture, &note);
 */
#ifndef SPADE_VISUALIZE_H
#define SPADE_VISUALIZE_H

#include "spade/picture.h"
#include "spade/trace.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SPADE_MIN_VISUALIZE_SIDE = 8, SPADE_MAX_VISUALIZE_SIDE = 2048, SPADE_MAX_VISUALIZE_STEPS = 100000 };

/* What is made large. */
typedef struct spade_objective {
    /* A layer, a node's dotted path, or a module that such lie in (the last value computed under it); NULL: the class `index`, its
     * value before the head; of one output, class 0 is what makes it small. */
    const char *layer;
    int64_t index; /* class, or channel of the layer: of tokens one of their numbers */
    bool
        neuron; /* of a layer: the channel at the central position; else its mean over all positions (of tokens: over those
                      that stand for pixels) */
} spade_objective;

typedef struct spade_visualize_options {
    size_t size;           /* set by spade_visualize_options_init() */
    int64_t height, width; /* of the picture; 0: the network's input */
    int64_t steps;         /* 512 */
    double rate;           /* Adam's learning rate; 0.05 */
    uint64_t seed;         /* of the noise that it begins with, and of the moves; 0 */
    bool still;            /* the picture is not moved, scaled or turned */
    const spade_preprocess
        *preprocess; /* how the network's inputs are made of pictures: mean and std. NULL: the defaults of
                                           spade_preprocess_init(); borrowed for the call */
} spade_visualize_options;

SPADE_API void spade_visualize_options_init_sized(spade_visualize_options *options, size_t size);
static inline void spade_visualize_options_init(spade_visualize_options *options)
{
    spade_visualize_options_init_sized(options, sizeof *options);
}

/* The objective's value of the picture as it is, not moved. */
typedef struct spade_visualize_note {
    double before, after; /* of the noise; of the picture that was made */
} spade_visualize_note;

/* Do the objective and the options fit the network? SPADE_ERROR_ARGUMENT: there is no such layer (close names are in the message),
 * it has no channels, or not so many; the options are out of range. shape out: [C, H, W] of the picture. */
SPADE_API spade_status spade_visualize_shape(spade_context *context, const spade_model *model,
                                             const spade_objective *objective, const spade_visualize_options *options,
                                             int64_t shape[3]);
/*
 * trace: NULL for the dense network. picture out: [C, H, W] from 0 to 1, channels in the network's order. note: may be NULL.
 * Distances that the picture is moved (up to 12 pixels at its border) are of pictures of 128 pixels and more; in smaller ones
 * they are smaller likewise. The same seed gives the same picture, by the bit for any number of threads and any memory.
 */
SPADE_API spade_status spade_visualize(spade_context *context, const spade_model *model, const spade_trace *trace,
                                       const spade_objective *objective, const spade_visualize_options *options,
                                       float *picture, spade_visualize_note *note);

#ifdef __cplusplus
}
#endif
#endif
