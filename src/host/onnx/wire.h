/*
 * wire.h - protobuf's wire format over bytes in memory: a bounded cursor, no recursion, nothing allocated.
 *
 * A message is a row of fields; a field is a tag (number << 3 | type) and a value. Everything is checked against the
 * end of the message that holds it. Positions are offsets into the whole file, so that an error can say at which byte
 * it was.
 */
#ifndef SPADE_ONNX_WIRE_H
#define SPADE_ONNX_WIRE_H

#include "base/base.h"

typedef enum onnx_wire_type {
    ONNX_WIRE_VARINT = 0,
    ONNX_WIRE_FIXED64 = 1,
    ONNX_WIRE_BYTES = 2, /* length-delimited: strings, bytes, messages, packed numbers */
    ONNX_WIRE_FIXED32 = 5
} onnx_wire_type;

typedef struct onnx_cursor {
    const uint8_t *data;  /* the whole file */
    size_t position, end; /* what is left of the message: [position, end) */
    const char *error;    /* what is malformed, or NULL; static text */
    size_t error_at;
} onnx_cursor;

typedef struct onnx_field {
    uint32_t number;
    onnx_wire_type type;
    size_t start;         /* of its tag */
    size_t position, end; /* of its value; BYTES: of the content, without the length */
    uint64_t value;       /* VARINT, FIXED64, FIXED32: the number as it stands */
} onnx_field;

/* Read the next field and step over it. False at the end of the message and where it is malformed (cursor->error is set
 * then). */
bool onnx_wire_next(onnx_cursor *cursor, onnx_field *field);
/* A cursor over the content of a BYTES field. */
onnx_cursor onnx_wire_enter(const onnx_cursor *cursor, const onnx_field *field);
/* Read one varint of a packed field. False as above. */
bool onnx_wire_varint(onnx_cursor *cursor, uint64_t *out);
/*
 * Walk through the nodes, attributes and subgraphs below a GraphProto, checking the wire format and that there are not
 * more than `limit` (at most 64) of them inside one another. False with cursor->error.
 */
bool onnx_wire_check_graph(onnx_cursor *cursor, int limit);

/* Write a varint: at most 10 bytes into out, returns how many. */
size_t onnx_wire_put_varint(uint8_t *out, uint64_t value);

#endif
