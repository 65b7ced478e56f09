/*
 * wire_mutator.c - how libFuzzer changes ONNX files: mostly one field of nested protocol buffers, with the lengths of all that
 * hold it kept right, so that what is behind them is reached. Any message works, as the wire format says where fields end;
 * what is text and what is a message in it is guessed. Format: https://protobuf.dev/programming-guides/encoding
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FIELDS = 4096, MAX_DEPTH = 8, LENGTH_DELIMITED = 2, MAX_VARINT = 10 };

/* libFuzzer's own changes of bytes: flips, insertions, words of the dictionary, comparisons that were seen. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

typedef struct field {
    size_t begin, content, end; /* of the tag, of what is behind tag and length, of the next field */
    uint64_t tag;               /* number << 3 | type */
} field;

typedef struct output {
    uint8_t *bytes;
    size_t size, capacity;
    bool full;
} output;

static void put(output *out, const uint8_t *bytes, size_t size)
{
    if (out->full || size > out->capacity - out->size) {
        out->full = true;
        return;
    }
    memcpy(out->bytes + out->size, bytes, size);
    out->size += size;
}

static void put_varint(output *out, uint64_t value)
{
    uint8_t bytes[MAX_VARINT];
    size_t size = 0;
    do {
        bytes[size++] = (uint8_t)((value & 127) | (value > 127 ? 128 : 0));
        value >>= 7;
    } while (value);
    put(out, bytes, size);
}

static bool take_varint(const uint8_t *data, size_t size, size_t *at, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && *at < size; shift += 7) {
        uint8_t byte = data[(*at)++];
        *out |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) { return true; }
    }
    return false;
}

/* The fields of a message; 0: it is none, is empty, or has too many. */
static size_t split(const uint8_t *data, size_t size, field *fields)
{
    size_t count = 0;
    for (size_t at = 0; at < size; count++) {
        if (count == MAX_FIELDS) { return 0; }
        field *f = &fields[count];
        uint64_t length = 0;
        f->begin = at;
        if (!take_varint(data, size, &at, &f->tag) || f->tag < 8) { return 0; }
        f->content = at;
        switch (f->tag & 7) {
        case 0:
            if (!take_varint(data, size, &at, &length)) { return 0; }
            length = 0;
            break;
        case 1: length = 8; break;
        case 5: length = 4; break;
        case LENGTH_DELIMITED:
            if (!take_varint(data, size, &at, &length)) { return 0; }
            f->content = at;
            break;
        default: return 0;
        }
        if (length > size - at) { return 0; }
        f->end = at += length;
    }
    return count;
}

static unsigned draw(unsigned *state, size_t below)
{
    *state = *state * 1664525u + 1013904223u;
    return (unsigned)((*state >> 8) % below);
}

static void put_field(output *out, uint64_t tag, const uint8_t *content, size_t size)
{
    put_varint(out, tag);
    if ((tag & 7) == LENGTH_DELIMITED) { put_varint(out, size); }
    put(out, content, size);
}

/* What is in the field, changed as bytes. */
static void change_content(const uint8_t *data, const field *f, output *out)
{
    enum { ROOM = 64 };
    const size_t size = f->end - f->content, room = (f->tag & 7) == LENGTH_DELIMITED ? size + ROOM : size;
    uint8_t *bytes = malloc(room + 1);
    if (!bytes) { return; }
    memcpy(bytes, data + f->content, size);
    size_t changed = LLVMFuzzerMutate(bytes, size, room);
    put_field(out, f->tag, bytes, (f->tag & 7) == LENGTH_DELIMITED ? changed : size);
    free(bytes);
}

static bool change_message(const uint8_t *data, size_t size, int depth, unsigned *state, output *out);

static void change_field(const uint8_t *data, const field *fields, size_t count, size_t chosen, int depth,
                         unsigned *state, output *out)
{
    const field *f = &fields[chosen], *other = &fields[draw(state, count)];
    const uint8_t *content = data + f->content;
    const size_t size = f->end - f->content;
    if ((f->tag & 7) == LENGTH_DELIMITED && depth < MAX_DEPTH && draw(state, 8)) {
        output inner = {.bytes = malloc(out->capacity), .capacity = out->capacity};
        const bool changed = inner.bytes && change_message(content, size, depth + 1, state, &inner) && !inner.full;
        if (changed) { put_field(out, f->tag, inner.bytes, inner.size); }
        free(inner.bytes);
        if (changed) { return; }
    }
    switch (draw(state, 8)) {
    case 0: return; /* left out */
    case 1:         /* twice */
        put(out, data + f->begin, f->end - f->begin);
        put(out, data + f->begin, f->end - f->begin);
        return;
    case 2: /* what another field has */
    case 3:
        put_field(out, ((f->tag ^ other->tag) & 7) == 0 ? f->tag : other->tag, data + other->content,
                  other->end - other->content);
        return;
    case 4: /* another number */
        put_field(out, (uint64_t)(1 + draw(state, 24)) << 3 | (f->tag & 7), content, size);
        return;
    default: change_content(data, f, out);
    }
}

/* Of the outermost message a field of many bytes more often, as it is the graph; inside of that any of them. */
static size_t choose(const field *fields, size_t count, size_t size, int depth, unsigned *state)
{
    if (depth > 0) { return draw(state, count); }
    const size_t at = draw(state, size);
    size_t chosen = 0;
    while (fields[chosen].end <= at) { chosen++; }
    return chosen;
}

static bool change_message(const uint8_t *data, size_t size, int depth, unsigned *state, output *out)
{
    field *fields = malloc(MAX_FIELDS * sizeof *fields);
    const size_t count = fields ? split(data, size, fields) : 0;
    if (count) {
        const size_t chosen = choose(fields, count, size, depth, state);
        put(out, data, fields[chosen].begin);
        change_field(data, fields, count, chosen, depth, state, out);
        put(out, data + fields[chosen].end, size - fields[chosen].end);
    }
    free(fields);
    return count > 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    unsigned state = seed;
    output out = {.bytes = malloc(max_size), .capacity = max_size};
    const bool changed =
        draw(&state, 4) && out.bytes && change_message(data, size, 0, &state, &out) && !out.full && out.size;
    if (changed) { memcpy(data, out.bytes, out.size); }
    free(out.bytes);
    return changed ? out.size : LLVMFuzzerMutate(data, size, max_size);
}
