/*
 * solution_file.h - solved layers of many traces in a file without a name, which is gone when it is closed: more than memory would
 * hold, as sparse weights take less room than dense ones, and disks more than memory.
 *
 *   a layer: a bit for each weight [rows * columns, rounded up to bytes], set where it is not 0 | the weights that are not 0, float32
 */
#ifndef SPADE_TRACE_SOLUTION_FILE_H
#define SPADE_TRACE_SOLUTION_FILE_H

#include "trace/trace.h"

typedef struct solution_place {
    int64_t offset, bytes; /* bytes 0: the layer is the network's */
    spade_trace_layer info;
} solution_place;

typedef struct solution_file {
    spade_context *context;
    const spade_model *model;
    char *folder; /* that it is in, for messages */
    int descriptor;
    int64_t end, trace_count;
    solution_place *places; /* [trace_count, layers] */
    uint8_t *buffer;        /* of the largest layer */
    size_t buffer_bytes;
} solution_file;

/* folder: where it is to be, one that can be written. Close it also after a failure. */
spade_status solution_file_open(spade_context *context, const spade_model *model, const char *folder,
                                int64_t trace_count, solution_file *out);
void solution_file_close(solution_file *file);
/* All layers of a trace that are not the network's. */
spade_status solution_file_write(solution_file *file, int64_t index, const spade_trace *trace);
/* One layer, into another trace; the network's where trace `index` has none of its own. */
spade_status solution_file_read(solution_file *file, int64_t index, int layer, spade_trace *into);

#endif
