/*
 * safetensors.h - named float32 tensors as .safetensors: 8 bytes of header length (little endian), a JSON header, the data. Format:
 * https://github.com/huggingface/safetensors
 */
#ifndef SPADE_SAFETENSORS_H
#define SPADE_SAFETENSORS_H

#include "base/base.h"
#include "spade/array.h"

typedef struct safetensors_tensor {
    const char *name;  /* UTF-8, unique, not "__metadata__" */
    const float *data; /* row-major; borrowed */
    int rank;
    int64_t dims[SPADE_MAX_RANK];
} safetensors_tensor;

typedef struct safetensors_metadata {
    const char *key, *value; /* UTF-8 */
} safetensors_metadata;

/* In the order given, dense; the file is renamed into place when complete. metadata: NULL where metadata_count is 0. */
spade_status safetensors_write(spade_context *context, const safetensors_tensor *tensors, int count,
                               const safetensors_metadata *metadata, int metadata_count, const char *path);
/*
 * A file of at most `limit` bytes, one that was written here: a text of its metadata (malloc'ed), "" where it has none of this key, and the
 * data, which lie in *file, to be unmapped after success. What tensors it says there are is not looked at. SPADE_ERROR_INPUT: it
 * is no such file.
 */
spade_status safetensors_read(spade_context *context, const char *path, uint64_t limit, const char *key,
                              spade_mapping *file, char **text, spade_mapping *data);
/* Is all that stands before the data, to the byte, what safetensors_write() writes there with these arguments? */
spade_status safetensors_has_header(spade_context *context, const spade_mapping *file,
                                    const safetensors_tensor *tensors, int count, const safetensors_metadata *metadata,
                                    int metadata_count, const char *path, bool *same);

#endif
