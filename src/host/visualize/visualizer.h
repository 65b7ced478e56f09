/*
 * visualizer.h - a picture on its way: what one iteration consists of. All of it is enqueued, nothing waits for the device or comes
 * back:
 *
 *   spectrum (scaled) -> x: inverse transform -> picture: colours, sigmoid -> input: warp, normalised
 *   -> the network up to the objective's value, and back from its weights to the input
 *   -> the gradients of picture, x and spectrum -> a step of Adam, and the scaled spectrum of the next iteration
 */
#ifndef SPADE_VISUALIZE_VISUALIZER_H
#define SPADE_VISUALIZE_VISUALIZER_H

#include "engine/executor.h"
#include "visualize/fourier.h"
#include "visualize/moves.h"
#include "visualize/objective.h"

typedef struct visualizer {
    spade_context *context;
    spade_device *device;
    visualize_objective objective;
    spade_visualize_options options; /* complete */
    spade_preprocess preprocess;     /* how the network's inputs are made */
    int64_t shape[3];                /* of the picture */
    visualize_fourier fourier;
    spade_executor *executor; /* its scratch: the objective's weights */
    uint64_t key;             /* of the random streams */
    size_t block_bytes;
    void *block;                                                      /* device; the pointers behind it lie there */
    float *parameters, *m, *v, *spectrum, *spectrum_gradient, *scale; /* [visualize_fourier_size()] */
    float *x, *picture, *x_gradient, *picture_gradient;               /* [shape] */
    float *matrix, *mean, *deviation;                                 /* [channels, channels], [channels], [channels] */
} visualizer;

/* context, device, objective, options, preprocess and shape are set; the rest is zero. Also after a failure it is to be closed. */
spade_status visualizer_open(visualizer *z, const spade_model *model, const spade_trace *trace);
void visualizer_close(visualizer *z);

/* Of the picture and the network's input; where in the picture that lies is for visualize_moves_...() to say. */
spade_warp_args visualizer_warp(const visualizer *z);
/* From the spectrum to picture and input. */
spade_status visualizer_make_input(const visualizer *z, const spade_warp_args *warp);
/* After that: the objective's gradient by the spectrum as it is there, scaled, in spectrum_gradient. */
spade_status visualizer_gradient(visualizer *z, const spade_warp_args *warp);
/* After that: step number `step`, from 1. */
spade_status visualizer_ascend(const visualizer *z, int64_t step);
/* The objective at the spectrum; waits for the device. SPADE_ERROR_NUMERICAL: it is not finite. */
spade_status visualizer_measure(const visualizer *z, const spade_warp_args *warp, double *out);

#endif
