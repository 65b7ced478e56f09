/* sample.h - one input made ready: picture, network input, mask, variants. Shared by the explain and trace jobs. */
#ifndef SPADE_JOB_SAMPLE_H
#define SPADE_JOB_SAMPLE_H

#include "job/inputs.h"

typedef struct spade_sample {
    spade_array array;      /* the .npy file it comes from, or empty */
    char *array_path;       /* what `array` holds now: kept from one sample to the next of the same file */
    spade_picture original; /* as decoded; empty for arrays */
    spade_picture shown;    /* what the network sees, 8 bits */
    const float *input;     /* [3, height, width] */
    float *owned;           /* the input of a picture */
    size_t owned_bytes;
    uint8_t *mask; /* [height, width] of 0/1, or NULL */
} spade_sample;

/* mask: a picture, a folder with NAME.png or NAME_mask.png, or NULL. A folder without a mask for this input is no
 * error. */
spade_status spade_sample_load(spade_context *context, const spade_preprocess *preprocess, const spade_input *input,
                               const char *mask, spade_sample *sample);
/* Give back everything except the array, which the next sample may use. */
void spade_sample_reset(spade_context *context, spade_sample *sample);
void spade_sample_clear(spade_context *context, spade_sample *sample);
/* The variants that a trace of the sample is solved on; the sample stays alive while the batch is used. */
spade_status spade_sample_batch(spade_context *context, const spade_sample *sample, const spade_preprocess *preprocess,
                                const spade_augment_options *augment, spade_batch **out);

#endif
