/* axis_map.c - the memory of sparse maps along an axis, and their transposes. */
#include "network/axis_map.h"

/* In the block, each of 4 bytes an element: offsets [rows + 1], indices, weights, fill [rows] of the map; then offsets
 * [columns + 1], indices and weights of its transpose. */
typedef struct block {
    int32_t *offsets, *indices;
    float *weights, *fill;
    int32_t *transposed_offsets, *transposed_indices;
    float *transposed_weights;
} block;

static size_t weight_count(const spade_axis_map *map)
{
    return map->weighted ? (size_t)map->entries : 0;
}

static size_t fill_count(const spade_axis_map *map)
{
    return map->filled ? (size_t)map->rows : 0;
}

size_t spade_axis_map_bytes(const spade_axis_map *map)
{
    const size_t numbers =
        (size_t)(map->rows + map->columns + 2) + 2 * (size_t)map->entries + 2 * weight_count(map) + fill_count(map);
    return map->data ? numbers * sizeof(int32_t) : 0;
}

static block block_of(const spade_axis_map *map, const void *data)
{
    block b;
    b.offsets = (int32_t *)(uintptr_t)data;
    b.indices = b.offsets + map->rows + 1;
    b.weights = (float *)(b.indices + map->entries);
    b.fill = b.weights + weight_count(map);
    b.transposed_offsets = (int32_t *)(b.fill + fill_count(map));
    b.transposed_indices = b.transposed_offsets + map->columns + 1;
    b.transposed_weights = (float *)(b.transposed_indices + map->entries);
    return b;
}

spade_sparse_rows spade_axis_map_rows(const spade_axis_map *map, const void *data, bool transposed)
{
    const block b = block_of(map, data);
    if (transposed) {
        return (spade_sparse_rows){.offsets = b.transposed_offsets,
                                   .indices = b.transposed_indices,
                                   .weights = map->weighted ? b.transposed_weights : NULL};
    }
    return (spade_sparse_rows){.offsets = b.offsets,
                               .indices = b.indices,
                               .weights = map->weighted ? b.weights : NULL,
                               .fill = map->filled ? b.fill : NULL};
}

/* Entries by column, those of a column in the order of their rows. */
static void transpose(const spade_axis_map *map, const block *b)
{
    memset(b->transposed_offsets, 0, (size_t)(map->columns + 1) * sizeof *b->transposed_offsets);
    for (int64_t k = 0; k < map->entries; k++) { b->transposed_offsets[b->indices[k] + 1]++; }
    for (int64_t c = 0; c < map->columns; c++) { b->transposed_offsets[c + 1] += b->transposed_offsets[c]; }
    for (int64_t row = 0; row < map->rows; row++) { /* offset c counts up to the one behind it meanwhile */
        for (int32_t k = b->offsets[row]; k < b->offsets[row + 1]; k++) {
            const int32_t to = b->transposed_offsets[b->indices[k]]++;
            b->transposed_indices[to] = (int32_t)row;
            if (map->weighted) { b->transposed_weights[to] = b->weights[k]; }
        }
    }
    for (int64_t c = map->columns; c > 0; c--) { b->transposed_offsets[c] = b->transposed_offsets[c - 1]; }
    b->transposed_offsets[0] = 0;
}

static bool valid(int64_t rows, int64_t columns, const int64_t *offsets, const int64_t *indices)
{
    if (rows < 1 || columns < 1 || rows >= INT32_MAX || columns >= INT32_MAX || offsets[0] != 0) { return false; }
    for (int64_t j = 0; j < rows; j++) {
        if (offsets[j + 1] < offsets[j] || offsets[j + 1] > INT32_MAX) { return false; }
    }
    for (int64_t k = 0; k < offsets[rows]; k++) {
        if (indices[k] < 0 || indices[k] >= columns) { return false; }
    }
    return true;
}

spade_status spade_axis_map_create(spade_context *context, int64_t rows, int64_t columns, const int64_t *offsets,
                                   const int64_t *indices, const float *weights, const float *fill, spade_axis_map *out)
{
    *out = (spade_axis_map){0};
    if (!valid(rows, columns, offsets, indices)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "a map from %lld to %lld places along an axis is impossible",
                          (long long)columns, (long long)rows);
    }
    spade_axis_map map = {.rows = rows,
                          .columns = columns,
                          .entries = offsets[rows],
                          .weighted = weights != NULL,
                          .filled = fill != NULL,
                          .data = out};
    SPADE_TRY(spade_alloc(context, spade_axis_map_bytes(&map), "a map along an axis", &map.data));
    const block b = block_of(&map, map.data);
    for (int64_t j = 0; j <= rows; j++) { b.offsets[j] = (int32_t)offsets[j]; }
    for (int64_t k = 0; k < map.entries; k++) { b.indices[k] = (int32_t)indices[k]; }
    if (weights) { memcpy(b.weights, weights, weight_count(&map) * sizeof *weights); }
    if (fill) { memcpy(b.fill, fill, fill_count(&map) * sizeof *fill); }
    transpose(&map, &b);
    *out = map;
    return SPADE_OK;
}

spade_status spade_axis_map_select(spade_context *context, int64_t rows, int64_t columns, const int64_t *indices,
                                   float fill, spade_axis_map *out)
{
    const size_t count = rows > 0 ? (size_t)rows : 0;
    int64_t *offsets = malloc((count + 1) * sizeof *offsets), *chosen = malloc((count + 1) * sizeof *chosen);
    float *fills = malloc((count + 1) * sizeof *fills);
    spade_status status = SPADE_ERROR_MEMORY;
    bool filled = false;
    *out = (spade_axis_map){0};
    if (!offsets || !chosen || !fills) {
        status = spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a map along an axis");
        goto done;
    }
    offsets[0] = 0;
    for (size_t j = 0; j < count; j++) {
        const bool taken = indices[j] != -1;
        if (taken) { chosen[offsets[j]] = indices[j]; }
        offsets[j + 1] = offsets[j] + taken;
        fills[j] = taken ? 0 : fill;
        filled = filled || fills[j] != 0;
    }
    status = spade_axis_map_create(context, rows, columns, offsets, chosen, NULL, filled ? fills : NULL, out);
done:
    free(offsets);
    free(chosen);
    free(fills);
    return status;
}

void spade_axis_map_clear(spade_context *context, spade_axis_map *map)
{
    spade_free_bytes(context, map->data, spade_axis_map_bytes(map));
    *map = (spade_axis_map){0};
}
