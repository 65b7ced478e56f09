/*
 * chunks.h - a message being put together from pieces: ranges of mapped files, new bytes, lengths known only at
 * the end.
 *
 * Nothing is copied: a piece points to bytes that outlive the list, except tags and lengths, which it holds itself.
 */
#ifndef SPADE_ONNX_CHUNKS_H
#define SPADE_ONNX_CHUNKS_H

#include "base/base.h"

typedef struct onnx_chunk {
    const void *bytes; /* NULL: the small ones */
    size_t size;
    uint8_t small[16]; /* a tag and a length */
} onnx_chunk;

typedef struct onnx_chunks {
    onnx_chunk *items;
    size_t count, capacity;
    uint64_t size; /* bytes of all pieces */
    bool failed;   /* out of memory: checked once, at the end */
} onnx_chunks;

void onnx_chunks_add(onnx_chunks *chunks, const void *bytes, size_t size);
/* A whole field: number as a varint; bytes. */
void onnx_chunks_number(onnx_chunks *chunks, uint32_t field, uint64_t value);
void onnx_chunks_bytes(onnx_chunks *chunks, uint32_t field, const void *bytes, size_t size);
/* A field that holds what is added until its end: begin returns a mark that end takes. */
size_t onnx_chunks_begin(onnx_chunks *chunks);
void onnx_chunks_end(onnx_chunks *chunks, uint32_t field, size_t mark);
bool onnx_chunks_write(const onnx_chunks *chunks, FILE *file);
void onnx_chunks_clear(onnx_chunks *chunks);

#endif
