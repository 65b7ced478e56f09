/*
 * axis_map.h - a sparse linear map along one axis of a tensor, made once at import:
 *
 *   y[.., j, ..] = fill[j] + sum over the entries k of row j of weight[k] * x[.., index[k], ..]
 *
 * The matrix [rows, columns] is kept row by row, with the transposed matrix, which is the map's gradient, beside it, in one
 * block of memory that goes to the device as it is.
 */
#ifndef SPADE_NETWORK_AXIS_MAP_H
#define SPADE_NETWORK_AXIS_MAP_H

#include "backend/ops.h"
#include "base/base.h"

typedef struct spade_axis_map {
    int64_t rows, columns; /* length of the axis in y, in x */
    int64_t entries;
    bool weighted, filled;
    void *data; /* spade_axis_map_bytes of it; charged to the network's context */
} spade_axis_map;

/*
 * All arguments are copied. offsets [rows + 1]: the entries of row j are number offsets[j] to offsets[j + 1] - 1, summed in this
 * order; indices [entries]: columns; a column may come several times. weights [entries], NULL: all 1. fill [rows], NULL: all 0.
 * An index that is no column, or offsets that do not ascend, are SPADE_ERROR_ARGUMENT.
 */
spade_status spade_axis_map_create(spade_context *context, int64_t rows, int64_t columns, const int64_t *offsets,
                                   const int64_t *indices, const float *weights, const float *fill,
                                   spade_axis_map *out);
/* Each row is one column, or `fill` where its index is -1: slices, gathers, padding, repetition. indices [rows]. */
spade_status spade_axis_map_select(spade_context *context, int64_t rows, int64_t columns, const int64_t *indices,
                                   float fill, spade_axis_map *out);
void spade_axis_map_clear(spade_context *context, spade_axis_map *map); /* leaves it empty */

size_t spade_axis_map_bytes(const spade_axis_map *map);
/* The rows of the map, or of its transpose, in a copy of its data, on the host or on a device. */
spade_sparse_rows spade_axis_map_rows(const spade_axis_map *map, const void *data, bool transposed);

#endif
