/* reduce.c - sums, means and maxima over axes, and norms made of them. */
#include <float.h>

#include "import/build.h"
#include "import/operators/operators.h"

spade_status spade_reduced_axes(spade_import *import, const onnx_node *node, int rank, unsigned *out)
{
    int64_t axes[SPADE_MAX_RANK], noop;
    int count;
    SPADE_TRY(spade_integers_get(import, node, 1, "axes", SPADE_MAX_RANK, axes, &count));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "noop_with_empty_axes", 0, &noop)));
    *out = count > 0 || noop ? 0 : (1u << rank) - 1;
    for (int i = 0; i < count; i++) {
        int axis;
        SPADE_TRY(spade_axis_get(import, node, axes[i], rank, &axis));
        if (*out & 1u << axis) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "an axis is there twice"); }
        *out |= 1u << axis;
    }
    return SPADE_OK;
}

/* The axes that were reduced, now 1, go. */
static spade_status drop_axes(spade_import *import, const onnx_node *node, unsigned axes, int *value)
{
    for (int axis = SPADE_MAX_RANK - 1; axis >= 0; axis--) {
        if (axes & 1u << axis) { SPADE_TRY(spade_build_drop_axis(import, node, *value, axis, value)); }
    }
    return SPADE_OK;
}

static spade_status lower_reduce(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const char *op = node->op_type + strlen("Reduce");
    int64_t keep;
    int x;
    unsigned axes = 0;
    SPADE_TRY(spade_activation_get(import, node, 0, &x));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "keepdims", 1, &keep)));
    SPADE_TRY(spade_reduced_axes(import, node, import->network->values[x].shape.rank, &axes));
    if (strcmp(op, "L2") == 0 || strcmp(op, "SumSquare") == 0) {
        SPADE_TRY(spade_build_binary(import, node, SPADE_NODE_MUL, x, x, &x));
    } else if (strcmp(op, "L1") == 0) {
        SPADE_TRY(spade_build_function(import, node, x, SPADE_ABS, 0, 0, &x));
    } else if (strcmp(op, "Min") == 0) {
        SPADE_TRY(spade_build_function(import, node, x, SPADE_NEG, 0, 0, &x));
    }
    if (strcmp(op, "Mean") == 0) {
        SPADE_TRY(spade_build_mean(import, node, x, axes, &x));
    } else if (strcmp(op, "Max") == 0 || strcmp(op, "Min") == 0) {
        SPADE_TRY(spade_build_max(import, node, x, axes, &x));
    } else {
        SPADE_TRY(spade_build_sum(import, node, x, axes, &x));
    }
    if (strcmp(op, "L2") == 0) { SPADE_TRY(spade_build_function(import, node, x, SPADE_SQRT, 1, 0, &x)); }
    if (strcmp(op, "Min") == 0) { SPADE_TRY(spade_build_function(import, node, x, SPADE_NEG, 0, 0, &x)); }
    if (!keep) { SPADE_TRY(drop_axes(import, node, axes, &x)); }
    return spade_bind_output(import, node, 0, x);
}

/* x divided by its norm along an axis; zeros stay zeros. */
static spade_status lower_lp_normalization(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    int64_t given, power;
    int x, axis, norm;
    SPADE_TRY(spade_activation_get(import, node, 0, &x));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "axis", -1, &given)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "p", 2, &power)));
    SPADE_TRY(spade_axis_get(import, node, given, import->network->values[x].shape.rank, &axis));
    if (power != 1 && power != 2) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its p is %lld", (long long)power);
    }
    if (power == 2) {
        SPADE_TRY(spade_build_binary(import, node, SPADE_NODE_MUL, x, x, &norm));
    } else {
        SPADE_TRY(spade_build_function(import, node, x, SPADE_ABS, 0, 0, &norm));
    }
    SPADE_TRY(spade_build_sum(import, node, norm, 1u << axis, &norm));
    if (power == 2) { SPADE_TRY(spade_build_function(import, node, norm, SPADE_SQRT, 1, 0, &norm)); }
    SPADE_TRY(spade_build_function(import, node, norm, SPADE_CLIP, FLT_MIN, FLT_MAX, &norm));
    SPADE_TRY(spade_build_function(import, node, norm, SPADE_RECIPROCAL, 0, 0, &norm));
    SPADE_TRY(spade_build_binary(import, node, SPADE_NODE_MUL, x, norm, &x));
    return spade_bind_output(import, node, 0, x);
}

/* Sums of all elements up to each, or from each on: a map along the axis. */
static spade_status lower_cumulative_sum(spade_import *import, int onnx_node_index)
{
    enum { LONGEST = 4096 }; /* elements of the axis: the map has half their square */
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    int64_t given[1], exclusive, reverse;
    int x, count, axis;
    spade_axis_map map;
    SPADE_TRY(spade_activation_get(import, node, 0, &x));
    SPADE_TRY(spade_integers_get(import, node, 1, NULL, 1, given, &count));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "exclusive", 0, &exclusive)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "reverse", 0, &reverse)));
    if (count != 1) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its axis is missing"); }
    SPADE_TRY(spade_axis_get(import, node, given[0], import->network->values[x].shape.rank, &axis));
    SPADE_TRY(spade_check_axis(import, node, x, axis, "a sum"));
    const int64_t n = import->network->values[x].shape.dims[axis];
    if (n > LONGEST) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its axis has %lld elements, the limit is %d",
                                 (long long)n, LONGEST);
    }
    int64_t *offsets = malloc(((size_t)n + 1) * sizeof *offsets);
    int64_t *indices = malloc(((size_t)(n * n) + 1) * sizeof *indices);
    spade_status status = offsets && indices ? SPADE_OK : spade_import_memory(import);
    for (int64_t j = 0, at = 0; status == SPADE_OK && j < n; j++) {
        const int64_t skipped = exclusive != 0, first = reverse ? j + skipped : 0, end = reverse ? n : j + 1 - skipped;
        offsets[j] = at;
        for (int64_t k = first; k < end; k++) { indices[at++] = k; }
        offsets[j + 1] = at;
    }
    if (status == SPADE_OK) {
        status = spade_axis_map_create(import->context, n, n, offsets, indices, NULL, NULL, &map);
    }
    free(offsets);
    free(indices);
    SPADE_TRY(status);
    SPADE_TRY(spade_build_axis_map(import, node, x, axis, &map, &x));
    return spade_bind_output(import, node, 0, x);
}

const spade_onnx_operator spade_reduce_operators[] = {
    {"CumSum", lower_cumulative_sum},  {"LpNormalization", lower_lp_normalization},
    {"ReduceL1", lower_reduce},        {"ReduceL2", lower_reduce},
    {"ReduceMax", lower_reduce},       {"ReduceMean", lower_reduce},
    {"ReduceMin", lower_reduce},       {"ReduceSum", lower_reduce},
    {"ReduceSumSquare", lower_reduce}, {0}};
