/*
 * onnx.h - an ONNX file as plain structs: a bounded reader over the mapped file, and a writer that replaces weights.
 *
 * No recursion; every count and length is checked before it is used; strings are copied and NUL-terminated (UTF-8 as it
 * is), weights stay where they are mapped. Field numbers: onnx.proto (ONNX 1.12). Limits: enum below.
 */
#ifndef SPADE_ONNX_H
#define SPADE_ONNX_H

#include "base/fingerprint.h"
#include "spade/array.h"

enum {
    ONNX_MAX_NODES = 100000,
    ONNX_MAX_DEPTH = 64,  /* of nested messages */
    ONNX_MAX_NAME = 4096, /* bytes of a name */
    ONNX_MAX_RANK = SPADE_MAX_RANK
};
#define ONNX_MAX_FILE (UINT64_C(2) << 30)
#define ONNX_MAX_EXTERNAL (UINT64_C(16) << 30)

/* TensorProto.DataType */
typedef enum onnx_type {
    ONNX_FLOAT = 1,
    ONNX_UINT8 = 2,
    ONNX_INT8 = 3,
    ONNX_INT32 = 6,
    ONNX_INT64 = 7,
    ONNX_BOOL = 9,
    ONNX_FLOAT16 = 10,
    ONNX_DOUBLE = 11,
    ONNX_BFLOAT16 = 16
} onnx_type;

/*
 * A constant tensor. bytes: little endian, dense, dims x type long; in a mapped file, or decoded into memory of the
 * model. They may lie at any address: use the accessors below or memcpy. NULL for types that spade does not read.
 */
typedef struct onnx_tensor {
    char *name;
    int type;        /* onnx_type, or another number of the format */
    int stored_type; /* 0: as `type` says; else onnx_convert_floats() made float32 of this one */
    const void *wide; /* float64's own bytes, of which other constants are computed exactly; NULL: it is none, or too large */
    bool wide_owned;  /* as `owned` */
    int rank;
    int64_t dims[ONNX_MAX_RANK];
    int64_t count;       /* product of dims */
    const void *bytes;   /* may be unaligned */
    size_t size;         /* of bytes: count * size of type */
    bool owned;          /* bytes were decoded (packed float_data, ...) and are freed with the model */
    size_t field_offset; /* of the TensorProto's content in the file */
    int external;        /* 1 + index into the model's external files; 0: the file itself holds the data */
    uint64_t external_offset, external_size; /* where in that file; set for every type */
} onnx_tensor;

typedef enum onnx_attribute_kind {
    ONNX_ATTR_FLOAT = 1,
    ONNX_ATTR_INT = 2,
    ONNX_ATTR_STRING = 3,
    ONNX_ATTR_TENSOR = 4,
    ONNX_ATTR_GRAPH = 5,
    ONNX_ATTR_FLOATS = 6,
    ONNX_ATTR_INTS = 7
} onnx_attribute_kind;

typedef struct onnx_attribute {
    char *name;
    int kind;
    float f;
    int64_t i;
    char *s; /* STRING; NULL where it is no text of at most ONNX_MAX_NAME bytes without NUL */
    float *floats;
    int64_t *ints;
    int count; /* of floats or ints */
    onnx_tensor *tensor;
} onnx_attribute;

typedef struct onnx_node {
    char *name, *op_type, *domain;
    char **inputs, **outputs; /* "" for an absent optional input */
    int input_count, output_count;
    onnx_attribute *attributes;
    int attribute_count;
    char *scopes, *call; /* what PyTorch's exporter since 2.9 says of it (metadata.c); NULL: nothing */
} onnx_node;

/* A graph input or output. dims[i] = -1 where symbolic or unknown. */
typedef struct onnx_value {
    char *name;
    int type;
    int rank; /* -1: no shape given */
    int64_t dims[ONNX_MAX_RANK];
} onnx_value;

typedef struct onnx_metadata {
    char *key, *value;
} onnx_metadata;

typedef struct onnx_index onnx_index; /* reader.h */

typedef struct onnx_model {
    spade_context *context; /* decoded tensors are charged to it; outlives the model */
    char *path;
    spade_mapping file;
    int64_t ir_version, opset; /* opset of the default domain */
    char *producer;
    onnx_node *nodes;
    int node_count;
    onnx_tensor *initializers;
    int initializer_count;
    onnx_value *inputs, *outputs;
    int input_count, output_count;
    onnx_metadata *metadata;
    int metadata_count;
    spade_mapping *external; /* external data files */
    char **external_names;
    int external_count;
    char fingerprint[SPADE_FINGERPRINT_SIZE]; /* of the file and of the external ones, as they were loaded */
    onnx_index *by_name;                      /* [initializer_count], for onnx_find_initializer() */
    unsigned converted; /* bit t: tensors of the type t became float32 by onnx_convert_floats() */
} onnx_model;

spade_status onnx_load(spade_context *context, const char *path, bool follow_links, onnx_model **out);
void onnx_free(onnx_model *model); /* NULL is fine */
/*
 * The network has been imported, with copies of all that it needs: the memory of the model's files goes back. What is in
 * tensors may not be touched from then on, except between these two: the first reads the files again, and fails where they are no
 * more what they were.
 */
void onnx_release_files(const onnx_model *model);
/* Before that, piece by piece: are these bytes in the memory of a file that can be read again, and of such: they have been
 * copied, and nobody reads them any more. */
bool onnx_can_drop(const onnx_model *model, const void *bytes, size_t size);
void onnx_drop(const onnx_model *model, const void *bytes, size_t size);
spade_status onnx_restore_files(const onnx_model *model);

/* Tensors of float16, bfloat16 and float64 become float32. */
spade_status onnx_convert_floats(spade_context *context, onnx_model *model);
/* "float16", "int8", ...; "type 17" is "another type". */
const char *onnx_type_name(int type);

/* Find by name: index or -1. Binary search over an index that onnx_load() built. */
int onnx_find_initializer(const onnx_model *model, const char *name);
const onnx_attribute *onnx_find_attribute(const onnx_node *node, const char *name);
/* Attribute values with a default. SPADE_ERROR_INPUT (naming node and attribute) when it is there with another kind. */
spade_status onnx_get_int(spade_context *context, const onnx_node *node, const char *name, int64_t fallback,
                          int64_t *out);
spade_status onnx_get_float(spade_context *context, const onnx_node *node, const char *name, float fallback,
                            float *out);
spade_status onnx_get_string(spade_context *context, const onnx_node *node, const char *name, const char *fallback,
                             const char **out);
/* Lists: *out points into the node (NULL and count 0 when absent). */
spade_status onnx_get_ints(spade_context *context, const onnx_node *node, const char *name, const int64_t **out,
                           int *count);
spade_status onnx_get_floats(spade_context *context, const onnx_node *node, const char *name, const float **out,
                             int *count);
/* Element of a tensor of any integer type / any float type, with bounds already checked by the caller. */
int64_t onnx_tensor_int(const onnx_tensor *tensor, int64_t index);
float onnx_tensor_float(const onnx_tensor *tensor, int64_t index);

/*
 * Write the model with new weights. For each replacement: the given input slot of the node gets a tensor with these
 * bytes. Where no other node uses the initializer, it is replaced under its name; otherwise a new initializer
 * ("NAME.spade_trace_N") is added and the node's input renamed. Everything else is copied byte for byte; external data
 * are embedded. SPADE_ERROR_UNSUPPORTED over 2 GiB.
 */
typedef struct onnx_replacement {
    int node, input;   /* index into nodes, and into its inputs; looked up through Identity nodes to a constant */
    const float *data; /* row-major, in the initializer's own dims */
    int rank; /* above 0: the input may be computed of constants too, with these dims; it gets an initializer */
    int64_t dims[ONNX_MAX_RANK];
} onnx_replacement;
spade_status onnx_write(spade_context *context, const onnx_model *model, const onnx_replacement *replacements,
                        int count, const char *path);

#endif
