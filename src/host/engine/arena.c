/*
 * arena.c - greedy placement by size (Pisarchyk and Lee 2020): the largest buffer first, each at the lowest offset
 * where nothing lies that is in use at the same time.
 *
 *   offset
 *     ^   +-----------+
 *     |   |  layer2   |  +------+
 *     |   +-----+-----+  |      |
 *     |   |  x  | relu   | pool |
 *     |   +-----+--------+------+
 *     |   |  workspace, shared  |
 *     +---+---------------------+--> time
 */
#include "engine/plan.h"

enum { ALIGNMENT = 64 };

static const spade_buffer *sorting_base(const void *entry)
{
    return *(const spade_buffer *const *)entry;
}

static int by_size(const void *a, const void *b)
{
    const spade_buffer *x = sorting_base(a), *y = sorting_base(b);
    if (x->bytes != y->bytes) { return x->bytes > y->bytes ? -1 : 1; }
    return x < y ? -1 : x > y;
}

/* Lowest free offset for `buffer` among those placed, which are sorted by offset. */
static size_t find_gap(const spade_buffer *buffer, spade_buffer *const *placed, int count)
{
    size_t offset = 0;
    for (int i = 0; i < count; i++) {
        const spade_buffer *other = placed[i];
        if (other->last < buffer->first || other->first > buffer->last) { continue; }
        if (other->offset >= offset && other->offset - offset >= buffer->bytes) { break; }
        size_t end = other->offset + other->bytes;
        offset = end > offset ? end : offset;
    }
    return offset;
}

spade_status spade_arena_place(spade_context *context, spade_buffer *buffers, int count, size_t *bytes)
{
    spade_buffer **order = malloc(((size_t)count + 1) * sizeof *order),
                 **placed = malloc(((size_t)count + 1) * sizeof *placed);
    spade_status status = SPADE_OK;
    *bytes = 0;
    if (!order || !placed) {
        status = spade_fail(context, SPADE_ERROR_MEMORY, "out of memory while planning the network");
        goto done;
    }
    for (int i = 0; i < count; i++) {
        order[i] = &buffers[i];
        buffers[i].bytes = (buffers[i].bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    qsort(order, (size_t)count, sizeof *order, by_size);
    for (int i = 0; i < count; i++) {
        spade_buffer *buffer = order[i];
        buffer->offset = find_gap(buffer, placed, i);
        if (buffer->bytes > SIZE_MAX / 2 - buffer->offset) {
            status = spade_fail(context, SPADE_ERROR_MEMORY, "the network's activations exceed the address space");
            goto done;
        }
        int at = i;
        while (at > 0 && placed[at - 1]->offset > buffer->offset) {
            placed[at] = placed[at - 1];
            at--;
        }
        placed[at] = buffer;
        if (buffer->offset + buffer->bytes > *bytes) { *bytes = buffer->offset + buffer->bytes; }
    }
done:
    free(order);
    free(placed);
    return status;
}
