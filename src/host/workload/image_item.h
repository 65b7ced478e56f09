/*
 * image_item.h - an input, prepared: its picture, what the network takes, its mask.
 *
 * A reader prepares the items of several inputs at once. The files of the inputs that come next can be decoded ahead,
 * by helper processes, while the items at hand are worked on.
 */
#ifndef SPADE_WORKLOAD_IMAGE_ITEM_H
#define SPADE_WORKLOAD_IMAGE_ITEM_H

#include "base/fingerprint.h"
#include "base/json.h"
#include "picture/decode.h"
#include "workload/inputs.h"

/* What an input was when it was read, so that a later run can tell whether it still is. */
typedef struct spade_input_fingerprint {
    char content[SPADE_FINGERPRINT_SIZE]; /* of the picture's file, or of an array's entry, float32 [C, H, W] */
    char mask[SPADE_FINGERPRINT_SIZE];    /* of its mask's file; "": there is no mask */
} spade_input_fingerprint;

typedef struct spade_image_item {
    spade_picture original; /* as decoded; empty for arrays */
    spade_picture preview;  /* what the network sees, 8 bits */
    float *input;           /* [channels, height, width] */
    size_t input_bytes;
    size_t charged; /* bytes of the pictures, which count against the budget as well */
    uint8_t *mask;  /* [height, width] of 0/1, or NULL */
    spade_input_fingerprint fingerprint;
} spade_image_item;

/* The picture is taken over, also when this fails. */
spade_status spade_image_item_from_picture(spade_context *context, const spade_preprocess *preprocess,
                                           const spade_input *input, spade_picture *picture, spade_image_item *item);
/* tensor: [channels, height, width], normalised */
spade_status spade_image_item_from_tensor(spade_context *context, const spade_preprocess *preprocess,
                                          const float *tensor, spade_image_item *item);
/* path: where the picture of the mask comes from, for messages */
spade_status spade_image_item_set_mask(spade_context *context, const spade_preprocess *preprocess, const char *path,
                                       const spade_picture *picture, spade_image_item *item);
void spade_image_item_clear(spade_context *context, spade_image_item *item);
/* The variants that a trace of the item is solved on; the item stays alive while the batch is used. */
spade_status spade_image_item_batch(spade_context *context, const spade_image_item *item,
                                    const spade_preprocess *preprocess, const spade_augment_options *augment,
                                    spade_batch **out);
/* Where one of the traces chooses its sparsity, hold out variants of the batch to judge it on, and the sample [channels, height,
 * width] (or NULL). ready: the variants were given, and are the fewer for it. */
spade_status spade_hold_out_variants(spade_context *context, spade_batch *batch, bool ready, const float *sample,
                                     const spade_trace_options *traces, int trace_count);

/* ---- reader.c */
/* Files of some inputs: pictures and masks in one list, decoded side by side. */
typedef struct spade_files {
    const spade_input *inputs; /* NULL: none */
    int input_count;
    int *picture_of, *mask_of; /* [input_count]: index into the lists below, -1: the input has no such file */
    bool *masks;               /* [count]: the file is a mask */
    char **paths;              /* [count] */
    spade_mapping *contents;   /* [count]: data NULL: it is to be read */
    spade_picture *pictures;
    char (*fingerprints)[SPADE_FINGERPRINT_SIZE]; /* of the bytes that were decoded */
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
    bool upright;      /* pictures are turned as their EXIF orientation asks */
    spade_files files; /* that are decoded ahead */
    spade_array array; /* the last .npy file, kept for the next input of it */
    char *array_path;
} spade_reader;

/* Warns of a folder of masks that lacks those of some inputs; one that lacks all is refused. mask: as in spade_reader. */
spade_status spade_masks_check(spade_context *context, const char *mask, const spade_inputs *inputs);
/* Begin to decode the files of these inputs. Files that were prefetched before and not loaded are dropped. */
spade_status spade_reader_prefetch(spade_reader *reader, const spade_input *inputs, int count);
/*
 * Items of these inputs. statuses[i], messages[i] (malloc'ed or NULL): how each went; an item that failed is empty.
 * The call itself fails only for reasons that are not one input's own, as where the decoder cannot be started.
 */
spade_status spade_reader_load(spade_reader *reader, const spade_input *inputs, int count, spade_image_item *items,
                               spade_status *statuses, char **messages);
/* One input's; its own failure is the call's. */
spade_status spade_reader_load_one(spade_reader *reader, const spade_input *input, spade_image_item *item);
/* Of an input as it is now, without decoding anything. SPADE_ERROR_INPUT: it cannot be read. */
spade_status spade_reader_fingerprint(spade_reader *reader, const spade_input *input, spade_input_fingerprint *out);
/* Is it what a record ("xxh128", "mask_xxh128") says that it was? What cannot be read is not; SPADE_ERROR_MEMORY: it cannot be told. */
spade_status spade_reader_unchanged(spade_reader *reader, const spade_input *input, const json_t *record,
                                    bool *unchanged);
void spade_reader_close(spade_reader *reader);

#endif
