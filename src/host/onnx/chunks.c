/* chunks.c - a message from pieces. */
#include "onnx/chunks.h"

#include "onnx/wire.h"

static onnx_chunk *push(onnx_chunks *chunks)
{
    if (chunks->failed) { return NULL; }
    if (chunks->count == chunks->capacity) {
        size_t capacity = chunks->capacity ? chunks->capacity * 2 : 256;
        onnx_chunk *items = realloc(chunks->items, capacity * sizeof *items);
        if (!items) {
            chunks->failed = true;
            return NULL;
        }
        chunks->items = items;
        chunks->capacity = capacity;
    }
    onnx_chunk *chunk = &chunks->items[chunks->count++];
    *chunk = (onnx_chunk){0};
    return chunk;
}

void onnx_chunks_add(onnx_chunks *chunks, const void *bytes, size_t size)
{
    if (size == 0) { return; }
    chunks->size += size;
    onnx_chunk *last = chunks->count ? &chunks->items[chunks->count - 1] : NULL;
    if (last && last->bytes &&
        (const uint8_t *)last->bytes + last->size == bytes) { /* goes on where the last one ended */
        last->size += size;
        return;
    }
    onnx_chunk *chunk = push(chunks);
    if (chunk) { chunk->bytes = bytes, chunk->size = size; }
}

/* Tag and a varint in one small piece. */
static void set_small(onnx_chunks *chunks, onnx_chunk *chunk, uint32_t field, unsigned type, uint64_t value)
{
    chunk->size = onnx_wire_put_varint(chunk->small, (uint64_t)field << 3 | type);
    chunk->size += onnx_wire_put_varint(chunk->small + chunk->size, value);
    chunks->size += chunk->size;
}

void onnx_chunks_number(onnx_chunks *chunks, uint32_t field, uint64_t value)
{
    onnx_chunk *chunk = push(chunks);
    if (chunk) { set_small(chunks, chunk, field, ONNX_WIRE_VARINT, value); }
}

void onnx_chunks_bytes(onnx_chunks *chunks, uint32_t field, const void *bytes, size_t size)
{
    onnx_chunk *chunk = push(chunks);
    if (chunk) { set_small(chunks, chunk, field, ONNX_WIRE_BYTES, size); }
    onnx_chunks_add(chunks, bytes, size);
}

size_t onnx_chunks_begin(onnx_chunks *chunks)
{
    push(chunks); /* its bytes stay NULL, so nothing is ever joined to it */
    return chunks->count;
}

void onnx_chunks_end(onnx_chunks *chunks, uint32_t field, size_t mark)
{
    if (chunks->failed) { return; }
    uint64_t size = 0;
    for (size_t i = mark; i < chunks->count; i++) { size += chunks->items[i].size; }
    set_small(chunks, &chunks->items[mark - 1], field, ONNX_WIRE_BYTES, size);
}

bool onnx_chunks_write(const onnx_chunks *chunks, FILE *file)
{
    for (size_t i = 0; i < chunks->count; i++) {
        const onnx_chunk *chunk = &chunks->items[i];
        if (fwrite(chunk->bytes ? chunk->bytes : chunk->small, 1, chunk->size, file) != chunk->size) { return false; }
    }
    return true;
}

void onnx_chunks_clear(onnx_chunks *chunks)
{
    free(chunks->items);
    *chunks = (onnx_chunks){0};
}
