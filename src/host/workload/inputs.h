/* inputs.h - from what was written on the command line to a list of single inputs with names. */
#ifndef SPADE_WORKLOAD_INPUTS_H
#define SPADE_WORKLOAD_INPUTS_H

#include "base/base.h"
#include "spade/spade.h"

/* A picture, and a mask, that are in memory already, as those of a tar are. */
typedef struct spade_input_bytes {
    spade_mapping picture, mask; /* mask: data NULL: there is none */
} spade_input_bytes;

typedef struct spade_input {
    char *file;
    char *stem;  /* file name without suffix, FILE_0000 for an entry of an array, FOLDER/FILE for a file of a folder in
                      a folder: what a mask is named after */
    char *name;  /* of its folder in the output: the stem made safe, unique in the list */
    char *title; /* in messages: FILE[3] of an entry of an array, else `file` itself */
    int64_t index; /* entry of a .npy file, -1: a picture */
    int position;  /* in the list that was collected */
    char *error;   /* why it cannot be used (a folder without pictures, ...), or NULL */
    /* What a manifest says of it (manifest.h); NULL: nothing. */
    char *label, *mask;
    const spade_input_bytes *bytes; /* `file` and `mask` are but names then; NULL: they are files */
    int64_t folder;                 /* of a tree: the place of its class's folder among all of them, by name */
} spade_input;

typedef struct spade_inputs {
    spade_input *items;
    int count;
} spade_inputs;

/*
 * Pictures, folders (their pictures, sorted by name; recursive: those of folders in them as well) and .npy files of
 * normalised inputs [n, channels, height, width]. What cannot be read becomes an item with an error; only running out of
 * memory fails. What a folder holds besides pictures is warned about, kinds and counts.
 */
spade_status spade_inputs_collect(spade_context *context, char *const *paths, int count, bool recursive,
                                  int64_t channels, int64_t height, int64_t width, spade_inputs *out);
/* What every list is made of: one more input, and its names when all are there. relative: what the input is named after, the path
 * from its folder on or the file's name; error: copied, or NULL. */
spade_status spade_inputs_add(spade_context *context, spade_inputs *list, const char *file, const char *relative,
                              int64_t index, const char *error);
spade_status spade_inputs_name(spade_context *context, spade_inputs *list);
/* Results must not go to a folder that is read, with `recursive` also for what they leave in it. */
spade_status spade_inputs_check_output(spade_context *context, char *const *paths, int count, bool recursive,
                                       const char *output);
/* For a network that leaves the size of its input open: that of the arrays, `batch` (may be NULL) or the first .npy file, where
 * nothing else says it. */
void spade_inputs_guess_size(spade_context *context, char *const *paths, int count, const char *batch,
                             spade_model_options *options);
void spade_inputs_clear(spade_inputs *inputs);

/* Does the path end in ".npy" (any case)? */
bool spade_is_array_path(const char *path);
/* Check that an array is [n >= 1, channels, height, width]; the error names the file. */
spade_status spade_check_array(spade_context *context, const char *path, const spade_array *array, int64_t channels,
                               int64_t height, int64_t width);

#endif
