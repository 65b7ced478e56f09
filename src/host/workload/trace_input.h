/* trace_input.h - commands that need the trace of one input; and one file that they write. Private to workload/. */
#ifndef SPADE_WORKLOAD_TRACE_INPUT_H
#define SPADE_WORKLOAD_TRACE_INPUT_H

#include "workload/image_item.h"
#include "workload/workload.h"

typedef struct trace_input {
    const char *input; /* picture or .npy of one normalised input; NULL: there is a batch, or no trace is wanted */
    const char *batch; /* given variants, or NULL */
    const spade_settings *settings;
} trace_input;

/* As the settings say; an input size that the file leaves open is the input's or the batch's where these have one. */
spade_status trace_input_load_model(spade_context *context, const char *path, const trace_input *wanted,
                                    spade_model **out);
/* The input, prepared; it has to be one. */
spade_status trace_input_load(spade_context *context, const trace_input *wanted, const spade_preprocess *preprocess,
                              spade_image_item *item);
/* variants: how many it was found on; may be NULL. Old temporary files of its checkpoints are removed. */
spade_status trace_input_run(spade_context *context, const spade_model *model, const trace_input *wanted,
                             spade_trace **out, int64_t *variants);

/* Refuses before the work a file in a folder that cannot be written, or one that is what the `made` ("trace") is made from, and
 * removes what killed runs left there. */
spade_status trace_input_check_output(spade_context *context, const char *path, const char *made, const char *model,
                                      const trace_input *wanted);

/* Does the path end so, in small or capital letters, with something before it? */
bool spade_ends_in(const char *path, const char *suffix);

#endif
