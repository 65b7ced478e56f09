/*
 * reader.h - what the files of the ONNX reader share: the state of one onnx_load(), failing, strings, arrays, the
 * name index.
 *
 * Everything read is in the model at once (an array element is counted before it is filled), so that onnx_free()
 * releases it whenever reading stops.
 */
#ifndef SPADE_ONNX_READER_H
#define SPADE_ONNX_READER_H

#include "onnx/onnx.h"
#include "onnx/wire.h"

/* Limits on what small fields of a file may grow to in memory. */
enum {
    ONNX_MAX_INITIALIZERS = 100000,
    ONNX_MAX_VALUES = 100000,           /* graph inputs, outputs */
    ONNX_MAX_EDGES = 1000000,           /* inputs and outputs of all nodes */
    ONNX_MAX_ATTRIBUTES = 1000000,      /* of all nodes */
    ONNX_MAX_ATTRIBUTE_ITEMS = 4000000, /* of all INTS and FLOATS */
    ONNX_MAX_METADATA = 10000,
    ONNX_MAX_EXTERNAL_FILES = 10000,
    ONNX_MAX_TEXT = 256 << 20 /* bytes of all strings */
};

typedef struct onnx_reader {
    spade_context *context;
    onnx_model *model;
    bool follow_links;
    size_t text;                      /* bytes of strings so far */
    int64_t edges, attributes, items; /* so far, see the limits */
    uint64_t external_bytes;          /* of external files so far */
    int graph_count;                  /* GraphProtos of the model: exactly one */
    char **sparse;                    /* names of sparse initializers */
    int sparse_count;
    char **functions; /* "DOMAIN:NAME" of the model's own functions */
    int function_count;
} onnx_reader;

/* Fail with "FILE: not a readable ONNX model: <what> at byte N". */
spade_status onnx_malformed(onnx_reader *reader, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Where a loop over fields ended: SPADE_OK at the end of the message. */
spade_status onnx_end(onnx_reader *reader, const onnx_cursor *cursor);
spade_status onnx_expect(onnx_reader *reader, const onnx_field *field, onnx_wire_type type, const char *what);
spade_status onnx_enter(onnx_reader *reader, const onnx_cursor *cursor, const onnx_field *field, const char *what,
                        onnx_cursor *out);

/* Copy a string of at most `limit` bytes, without NUL inside, over the one in *out. */
spade_status onnx_read_text(onnx_reader *reader, const onnx_field *field, const char *what, size_t limit, char **out);
spade_status onnx_read_int(onnx_reader *reader, const onnx_field *field, const char *what, int64_t *out);
/* "" where the file gave nothing. */
spade_status onnx_default_text(onnx_reader *reader, char **text);
/*
 * Room for one more element, zeroed, at the end of a malloc'd array (the address of its pointer is passed); *count
 * grows. Capacities are powers of two.
 */
spade_status onnx_push(onnx_reader *reader, void *array, int *count, size_t element);

/* tensor.c. what: "initializer", "attribute". */
spade_status onnx_read_tensor(onnx_reader *reader, onnx_cursor cursor, const char *what, onnx_tensor *tensor);
void onnx_clear_tensor(spade_context *context, onnx_tensor *tensor);
size_t onnx_type_size(int type); /* bytes of one element, of every type that has a fixed size; 0: unknown */
bool onnx_type_readable(int type);

/* attribute.c */
spade_status onnx_read_attribute(onnx_reader *reader, onnx_cursor cursor, onnx_attribute *attribute);
void onnx_clear_attribute(spade_context *context, onnx_attribute *attribute);

/* metadata.c: an entry of a node's metadata_props */
spade_status onnx_read_node_metadata(onnx_reader *reader, onnx_cursor cursor, onnx_node *node);

/*
 * external.c: the bytes that the entries of external_data point to; size: how many the tensor needs, SIZE_MAX
 * where that is not known. On success tensor->bytes and external* are set.
 */
typedef struct onnx_location {
    char *file, *offset, *length; /* values as they stand, NULL where not given */
} onnx_location;
spade_status onnx_read_external(onnx_reader *reader, const onnx_location *location, uint64_t size, onnx_tensor *tensor);

/* index.c: names sorted. Not a hash table: a model file cannot choose names that make finding slow. */
struct onnx_index {
    const char *name;
    int number;
};
void onnx_index_sort(onnx_index *index, int count);
/* The entry with the lowest number of that name, or NULL. */
const onnx_index *onnx_index_find(const onnx_index *index, int count, const char *name);

#endif
