/* wire.h - tiny ONNX files made by hand, field by field: what no exporter would write. */
#ifndef SPADE_TESTS_HELPER_WIRE_H
#define SPADE_TESTS_HELPER_WIRE_H

#include <stddef.h>
#include <stdint.h>

typedef struct wire {
    uint8_t *bytes;
    size_t size, capacity;
} wire;

void wire_varint(wire *out, uint64_t value); /* without a tag */
void wire_raw(wire *out, const void *bytes, size_t size);
void wire_number(wire *out, uint32_t field, uint64_t value);
void wire_float(wire *out, uint32_t field, float value);
void wire_double(wire *out, uint32_t field, double value);
void wire_bytes(wire *out, uint32_t field, const void *bytes, size_t size);
void wire_text(wire *out, uint32_t field, const char *text);
void wire_message(wire *out, uint32_t field, wire inner); /* frees inner */
void wire_free(wire *out);

/* ---- pieces of ONNX */
wire tensor_head(const char *name, int type, int rank, const int64_t *dims);
/* float32, raw_data: start, start + 1, ... */
wire tensor_float(const char *name, int rank, const int64_t *dims, float start);
/* inputs: separated by blanks */
wire node_of(const char *name, const char *op_type, const char *inputs, const char *output);
wire value_of(const char *name, int rank, const int64_t *dims); /* dims < 0: a symbolic dimension */
/* A model of format 8, opset 16, around a graph (freed). */
wire model_of(wire network);
/* Graph x -> Relu -> y, into which initializers and others can be put. */
wire graph_simple(void);

/* Temporary files in a folder of their own, removed at the end with all that is in it. */
const char *test_folder(void); /* one per process */
const char *test_write(const char *name, const void *bytes,
                       size_t size);                   /* path, valid until the next call with 8 in use */
const char *test_save(const char *name, wire content); /* frees content */
void test_remove_folder(void);

#endif
