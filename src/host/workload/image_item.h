/*
 * image_item.h - inputs made ready: picture, network input, mask, variants. Shared by the explain and trace jobs.
 *
 * A reader makes samples of inputs, several at a time. The files of those that come next can be decoded ahead, by
 * helper processes, while the samples at hand are worked on.
 */
#ifndef SPADE_WORKLOAD_SAMPLE_H
#define SPADE_WORKLOAD_SAMPLE_H

#include "picture/decode.h"
#include "workload/inputs.h"

typedef struct spade_sample {
    spade_picture original; /* as decoded; empty for arrays */
    spade_picture shown;    /* what the network sees, 8 bits */
    float *input;           /* [3, height, width] */
    size_t input_bytes;
    size_t charged; /* bytes of the pictures, which count against the budget as well */
    uint8_t *mask;  /* [height, width] of 0/1, or NULL */
} spade_sample;

/* The picture is taken over, also when this fails. */
spade_status spade_sample_from_picture(spade_context *context, const spade_preprocess *preprocess,
                                       const spade_input *input, spade_picture *picture, spade_sample *sample);
/* ready: [3, height, width] */
spade_status spade_sample_from_tensor(spade_context *context, const spade_preprocess *preprocess, const float *ready,
                                      spade_sample *sample);
/* path: where the picture of the mask comes from, for messages */
spade_status spade_sample_set_mask(spade_context *context, const spade_preprocess *preprocess, const char *path,
                                   const spade_picture *picture, spade_sample *sample);
void spade_sample_clear(spade_context *context, spade_sample *sample);
/* The variants that a trace of the sample is solved on; the sample stays alive while the batch is used. */
spade_status spade_sample_batch(spade_context *context, const spade_sample *sample, const spade_preprocess *preprocess,
                                const spade_augment_options *augment, spade_batch **out);

/* ---- reader.c */
/* Files of some inputs beside each other: pictures and masks. */
typedef struct spade_files {
    const spade_input *inputs; /* NULL: none */
    int input_count;
    int *picture_of, *mask_of; /* [input_count]: place in the lists, -1: it has no such file */
    char **paths;              /* [count] */
    spade_picture *pictures;
    spade_status *statuses;
    char **messages;
    int count;
    spade_decode *decoding; /* NULL: nothing runs */
} spade_files;

typedef struct spade_reader {
    spade_context *context;
    const spade_preprocess *preprocess;
    const char *mask;  /* a picture, a folder with NAME.png or NAME_mask.png, or NULL. A folder without a mask for an
                          input is no error. */
    spade_files files; /* that are decoded ahead */
    spade_array array; /* the last .npy file, kept for the next input of it */
    char *array_path;
} spade_reader;

/* Begin to decode the files of these inputs, in place of what was begun and not read. */
spade_status spade_reader_ahead(spade_reader *reader, const spade_input *inputs, int count);
/*
 * Samples of these inputs. statuses[i], messages[i] (malloc'ed or NULL): how each went; a sample that failed is empty.
 * What the call returns is not one input's failure.
 */
spade_status spade_reader_load(spade_reader *reader, const spade_input *inputs, int count, spade_sample *samples,
                               spade_status *statuses, char **messages);
void spade_reader_close(spade_reader *reader);

#endif
