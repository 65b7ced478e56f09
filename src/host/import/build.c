/* build.c - the pieces that ONNX operators are made of, as nodes. */
#include "import/build.h"

#include "import/fold/fold.h"

static bool same_extent(const spade_extent *a, const spade_extent *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0 &&
           a->batch_axis == b->batch_axis && (a->batch_axis < 0 || a->batch_outer == b->batch_outer);
}

static spade_status make(spade_import *import, const onnx_node *from, spade_node *node, int value,
                         const spade_extent *extent, int *out)
{
    return spade_make(import, from, node, &value, 1, extent, out);
}

/* ---- the same elements */

spade_status spade_build_reshape(spade_import *import, const onnx_node *from, int value, const spade_extent *extent,
                                 int *out)
{
    spade_node node = {.kind = SPADE_NODE_RESHAPE, .layer = -1};
    const spade_extent x = spade_value_extent(import, value);
    *out = value;
    return same_extent(&x, extent) ? SPADE_OK : make(import, from, &node, value, extent, out);
}

spade_status spade_build_rank(spade_import *import, const onnx_node *from, int value, int rank, int *out)
{
    const spade_extent x = spade_value_extent(import, value);
    spade_extent y = {.rank = rank, .batch_axis = -1, .batch_outer = x.batch_outer};
    const int more = rank - x.rank;
    if (more < 0 || rank > SPADE_MAX_RANK) {
        return spade_import_fail(import, from, SPADE_ERROR_UNSUPPORTED, "its operands have %d and %d axes", x.rank,
                                 rank);
    }
    for (int i = 0; i < rank; i++) { y.dims[i] = i < more ? 1 : x.dims[i - more]; }
    if (x.batch_axis >= 0) { y.batch_axis = x.batch_axis + more; }
    return spade_build_reshape(import, from, value, &y, out);
}

spade_status spade_build_drop_axis(spade_import *import, const onnx_node *from, int value, int axis, int *out)
{
    spade_extent y = spade_value_extent(import, value);
    for (int i = axis; i + 1 < y.rank; i++) { y.dims[i] = y.dims[i + 1]; }
    y.rank--;
    if (y.batch_axis > axis) { y.batch_axis--; }
    return spade_build_reshape(import, from, value, &y, out);
}

spade_status spade_build_permute(spade_import *import, const onnx_node *from, int value, const int *order, int *out)
{
    const spade_extent x = spade_value_extent(import, value);
    spade_extent y = x;
    spade_node node = {.kind = SPADE_NODE_PERMUTE, .layer = -1};
    bool moves = false;
    for (int i = 0; i < x.rank && i < SPADE_MAX_RANK; i++) {
        moves = moves || order[i] != i;
        y.dims[i] = x.dims[order[i]];
        if (order[i] == x.batch_axis) { y.batch_axis = i; }
        node.permute.axes[i] = order[i];
    }
    *out = value;
    return moves ? make(import, from, &node, value, &y, out) : SPADE_OK;
}

/* ---- element by element */

spade_status spade_build_function(spade_import *import, const onnx_node *from, int value, spade_function function,
                                  float alpha, float beta, int *out)
{
    spade_node node = {.kind = SPADE_NODE_FUNCTION, .layer = -1, .pointwise = {function, alpha, beta}};
    const spade_extent x = spade_value_extent(import, value);
    return make(import, from, &node, value, &x, out);
}

spade_status spade_build_binary(spade_import *import, const onnx_node *from, spade_node_kind kind, int a, int b,
                                int *out)
{
    spade_node node = {.kind = kind, .layer = -1};
    spade_extent x = spade_value_extent(import, a), z = spade_value_extent(import, b);
    if (x.rank < z.rank) { SPADE_TRY(spade_build_rank(import, from, a, z.rank, &a)); }
    if (z.rank < x.rank) { SPADE_TRY(spade_build_rank(import, from, b, x.rank, &b)); }
    x = spade_value_extent(import, a);
    z = spade_value_extent(import, b);
    spade_extent y = x.batch_axis >= 0 ? x : z;
    bool fits = true, apart = x.batch_axis < 0 || z.batch_axis < 0 ||
                              (x.batch_axis == z.batch_axis && x.batch_outer == z.batch_outer);
    for (int i = 0; i < x.rank; i++) {
        const bool x_grows = i == x.batch_axis, z_grows = i == z.batch_axis;
        y.dims[i] = x.dims[i] == 1 && !x_grows ? z.dims[i] : x.dims[i];
        if (x_grows != z_grows) {
            apart = apart && (x_grows ? z.dims[i] : x.dims[i]) == 1;
            y.dims[i] = x_grows ? x.dims[i] : z.dims[i];
        } else if (x.dims[i] != z.dims[i] && (x_grows || (x.dims[i] != 1 && z.dims[i] != 1))) {
            fits = false;
        }
    }
    if (!fits || !apart) {
        return spade_import_fail(import, from, fits ? SPADE_ERROR_UNSUPPORTED : SPADE_ERROR_INPUT,
                                 fits ? "its operands have the batch on different axes"
                                      : "the shapes of its operands do not fit together");
    }
    return spade_make(import, from, &node, (int[]){a, b}, 2, &y, out);
}

spade_status spade_build_scale(spade_import *import, const onnx_node *from, int value, float factor, int *out)
{
    *out = value;
    return factor == 1 ? SPADE_OK : spade_build_function(import, from, value, SPADE_AFFINE, factor, 0, out);
}

spade_status spade_build_shift(spade_import *import, const onnx_node *from, int value, float summand, int *out)
{
    *out = value;
    return summand == 0 ? SPADE_OK : spade_build_function(import, from, value, SPADE_AFFINE, 1, summand, out);
}

/* ---- along axes */

spade_status spade_build_axis_map(spade_import *import, const onnx_node *from, int value, int axis, spade_axis_map *map,
                                  int *out)
{
    spade_extent y = spade_value_extent(import, value);
    spade_node node = {.kind = SPADE_NODE_AXIS_MAP, .layer = -1, .axis_map = {axis, *map}};
    const spade_status status = spade_check_axis(import, from, value, axis, "moving elements");
    if (status != SPADE_OK) {
        spade_node_release(import->context, &node);
        return status;
    }
    y.dims[axis] = map->rows;
    return make(import, from, &node, value, &y, out);
}

spade_status spade_build_select(spade_import *import, const onnx_node *from, int value, int axis,
                                const int64_t *indices, int64_t count, float fill, int *out)
{
    const int64_t n = import->network->values[value].shape.dims[axis];
    bool identity = count == n;
    spade_axis_map map;
    for (int64_t j = 0; identity && j < n; j++) { identity = indices[j] == j; }
    *out = value;
    if (identity) { return SPADE_OK; }
    if (count < 1) { return spade_import_fail(import, from, SPADE_ERROR_UNSUPPORTED, "its result would be empty"); }
    SPADE_TRY(spade_check_axis(import, from, value, axis, "moving elements"));
    SPADE_TRY(spade_axis_map_select(import->context, count, n, indices, fill, &map));
    return spade_build_axis_map(import, from, value, axis, &map, out);
}

spade_status spade_build_slice(spade_import *import, const onnx_node *from, int value, int axis, int64_t start,
                               int64_t step, int64_t count, int *out)
{
    const int64_t n = import->network->values[value].shape.dims[axis];
    if (count < 1 || count > n) { /* a slice is no longer than what it is of */
        return spade_import_fail(import, from, SPADE_ERROR_UNSUPPORTED, "its result would have %lld of %lld elements",
                                 (long long)count, (long long)n);
    }
    int64_t *indices = malloc((size_t)count * sizeof *indices);
    if (!indices) { return spade_import_memory(import); }
    for (int64_t j = 0; j < count; j++) { indices[j] = start + j * step; }
    spade_status status = spade_build_select(import, from, value, axis, indices, count, 0, out);
    free(indices);
    return status;
}

spade_status spade_build_concat(spade_import *import, const onnx_node *from, const int *values, int count, int axis,
                                int *out)
{
    spade_node node = {.kind = SPADE_NODE_CONCAT, .layer = -1, .concat = {axis}};
    spade_extent y = {.rank = 0, .batch_axis = -1, .batch_outer = 1};
    int64_t length = 0;
    *out = values[0];
    if (count == 1) { return SPADE_OK; }
    for (int k = 0; k < count; k++) {
        const spade_extent x = spade_value_extent(import, values[k]);
        length += x.dims[axis];
        if (y.batch_axis >= 0 && x.batch_axis >= 0 &&
            (x.batch_axis != y.batch_axis || x.batch_outer != y.batch_outer)) {
            return spade_import_fail(import, from, SPADE_ERROR_UNSUPPORTED,
                                     "its inputs have the batch on different axes");
        }
        if (y.batch_axis < 0) { y = x; }
    }
    if (y.batch_axis == axis) {
        return spade_import_fail(import, from, SPADE_ERROR_UNSUPPORTED, "its inputs would be joined along the batch");
    }
    for (int k = 0; k < count; k++) { /* constants have 1 where the others have the batch */
        const spade_extent x = spade_value_extent(import, values[k]);
        bool fits = x.rank == y.rank;
        for (int i = 0; fits && i < x.rank; i++) {
            fits = i == axis || (i == y.batch_axis && x.batch_axis < 0 ? x.dims[i] == 1 : x.dims[i] == y.dims[i]);
        }
        if (!fits) {
            return spade_import_fail(import, from, SPADE_ERROR_INPUT, "the shapes of its inputs do not fit together");
        }
    }
    y.dims[axis] = length;
    return spade_make(import, from, &node, values, count, &y, out);
}

/* ---- reductions */

static spade_status reduce(spade_import *import, const onnx_node *from, spade_node_kind kind, int value, unsigned axes,
                           bool mean, int *out)
{
    spade_extent y = spade_value_extent(import, value);
    spade_node node = {.kind = kind, .layer = -1};
    int64_t counted = 1;
    for (int i = 0; i < y.rank; i++) {
        if (!(axes & 1u << i)) { continue; }
        SPADE_TRY(spade_check_axis(import, from, value, i, "a reduction"));
        counted *= y.dims[i];
        y.dims[i] = 1;
    }
    if (kind == SPADE_NODE_REDUCE_SUM) { node.reduce_sum.divisor = mean ? (double)counted : 1; }
    *out = value;
    return counted == 1 ? SPADE_OK : make(import, from, &node, value, &y, out);
}

spade_status spade_build_sum(spade_import *import, const onnx_node *from, int value, unsigned axes, int *out)
{
    return reduce(import, from, SPADE_NODE_REDUCE_SUM, value, axes, false, out);
}

spade_status spade_build_max(spade_import *import, const onnx_node *from, int value, unsigned axes, int *out)
{
    return reduce(import, from, SPADE_NODE_REDUCE_MAX, value, axes, false, out);
}

/* Over the pixels of images it is the pooling that GlobalAveragePool is. */
spade_status spade_build_mean(spade_import *import, const onnx_node *from, int value, unsigned axes, int *out)
{
    spade_extent x = spade_value_extent(import, value);
    if (x.rank != 4 || axes != 12u || x.batch_axis != 0) {
        return reduce(import, from, SPADE_NODE_REDUCE_SUM, value, axes, true, out);
    }
    spade_node node = {.kind = SPADE_NODE_AVERAGE_POOL,
                       .layer = -1,
                       .pool.window = {.kernel = {x.dims[2], x.dims[3]}, .stride = {1, 1}, .dilation = {1, 1}}};
    x.dims[2] = x.dims[3] = 1;
    return make(import, from, &node, value, &x, out);
}

spade_status spade_build_softmax(spade_import *import, const onnx_node *from, int value, int axis, int *out)
{
    spade_node node = {.kind = SPADE_NODE_SOFTMAX, .layer = -1, .softmax = {axis}};
    const spade_extent x = spade_value_extent(import, value);
    SPADE_TRY(spade_check_axis(import, from, value, axis, "a softmax"));
    return make(import, from, &node, value, &x, out);
}

/* ---- products */

spade_status spade_build_matmul(spade_import *import, const onnx_node *from, int a, int b, int *out)
{
    spade_node node = {.kind = SPADE_NODE_MATMUL, .layer = -1};
    spade_extent x = spade_value_extent(import, a), z = spade_value_extent(import, b);
    if (x.rank < 2 || z.rank < 2) {
        return spade_import_fail(import, from, SPADE_ERROR_UNSUPPORTED, "one of its operands is a vector");
    }
    if (x.rank < z.rank) { SPADE_TRY(spade_build_rank(import, from, a, z.rank, &a)); }
    if (z.rank < x.rank) { SPADE_TRY(spade_build_rank(import, from, b, x.rank, &b)); }
    x = spade_value_extent(import, a);
    z = spade_value_extent(import, b);
    const int rank = x.rank;
    spade_extent y = x.batch_axis >= 0 ? x : z;
    /* Rows of the left operand and columns of the right one stay; the batch must be neither in what is summed over ... */
    bool apart = x.batch_axis != rank - 1 && z.batch_axis != rank - 2;
    bool fits = x.dims[rank - 1] == z.dims[rank - 2];
    if (x.batch_axis >= 0 && z.batch_axis >= 0) { /* ... nor in both, but as the same leading axis */
        apart = apart && x.batch_axis == z.batch_axis && x.batch_axis < rank - 2 && x.batch_outer == z.batch_outer;
    }
    for (int i = 0; i < rank - 2; i++) {
        const bool x_grows = i == x.batch_axis, z_grows = i == z.batch_axis;
        if (x_grows != z_grows) { apart = apart && (x_grows ? z.dims[i] : x.dims[i]) == 1; }
        if (x_grows && z_grows) { fits = fits && x.dims[i] == z.dims[i]; }
        if (!x_grows && !z_grows) { fits = fits && (x.dims[i] == z.dims[i] || x.dims[i] == 1 || z.dims[i] == 1); }
        y.dims[i] = x_grows ? x.dims[i] : z_grows ? z.dims[i] : x.dims[i] > z.dims[i] ? x.dims[i] : z.dims[i];
    }
    if (!apart || !fits) {
        return spade_import_fail(import, from, fits ? SPADE_ERROR_UNSUPPORTED : SPADE_ERROR_INPUT,
                                 fits ? "it would multiply pictures of a batch with each other"
                                      : "the shapes of its operands do not fit together");
    }
    y.dims[rank - 2] = x.dims[rank - 2];
    y.dims[rank - 1] = z.dims[rank - 1];
    return spade_make(import, from, &node, (int[]){a, b}, 2, &y, out);
}
