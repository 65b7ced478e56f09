/*
 * replace.c - ScatterND: elements of one value in the place of some of another's. Both stand one after another, and the result selects
 * from them: which element is where is known while the network is imported.
 */
#include "import/build.h"
#include "import/fold/fold.h"
#include "import/operators/operators.h"

typedef struct replacement {
    spade_fold indices; /* [.., length]: points of the leading axes of the data */
    int length;
    int64_t points, after; /* of one picture; elements behind each point */
} replacement;

static spade_status read_replacement(spade_import *import, const onnx_node *node, const spade_extent *x,
                                     replacement *out)
{
    spade_operand operand = {.value = -1};
    const char *reduction;
    SPADE_TRY(spade_operand_get(import, node, 1, &operand));
    SPADE_TRY(spade_import_attribute(import, onnx_get_string(import->context, node, "reduction", "none", &reduction)));
    if (strcmp(reduction, "none") != 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "reduction \"%.40s\" is not supported",
                                 reduction);
    }
    if (operand.value >= 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its indices depend on the picture");
    }
    *out = (replacement){.after = 1};
    if (operand.fold) {
        out->indices = *operand.fold;
    } else {
        out->indices = (spade_fold){.tensor = *operand.tensor, .batch_axis = -1};
    }
    const onnx_tensor *tensor = &out->indices.tensor;
    const int64_t length = tensor->rank ? tensor->dims[tensor->rank - 1] : 0;
    if (tensor->type != ONNX_INT64 || !tensor->bytes || length < 1 || length > x->rank) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its indices are no points of its input");
    }
    out->length = (int)length;
    out->points = tensor->count / length;
    for (int i = out->length; i < x->rank; i++) { out->after *= x->dims[i]; }
    return SPADE_OK;
}

/* Where point k is among the points of a picture: it has to be in the picture that the index belongs to. */
static spade_status find_point(spade_import *import, const onnx_node *node, const spade_extent *x, const replacement *r,
                               int64_t k, int64_t *out)
{
    const bool open = import->file_batch == 0;
    *out = 0;
    for (int i = 0; i < r->length; i++) {
        const fold_number n = fold_load(&r->indices, k * r->length + i);
        const bool own = i > 0 ? fold_is_plain_number(&n) : n.i[1] == 0 && n.i[2] == (open ? x->dims[0] : 0);
        const int64_t at = n.i[0] < 0 && i > 0 ? n.i[0] + x->dims[i] : n.i[0];
        if (!own) {
            return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                     "its indices are not those of one picture after another");
        }
        if (at < 0 || at >= x->dims[i]) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "index %lld is out of range, there are %lld",
                                     (long long)n.i[0], (long long)x->dims[i]);
        }
        *out = *out * x->dims[i] + at;
    }
    return SPADE_OK;
}

/* A value of pictures, one after another, as [batch, elements]. */
static spade_status flatten(spade_import *import, const onnx_node *node, int64_t elements, int *value)
{
    const spade_extent x = spade_value_extent(import, *value);
    const spade_extent y = {.rank = 2, .dims = {1, elements}, .batch_axis = x.batch_axis, .batch_outer = 1};
    int64_t count;
    if (x.batch_axis > 0 || (x.batch_axis == 0 && x.batch_outer != 1)) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "its inputs have the batch elsewhere than in front");
    }
    if (!spade_mul_dims(x.dims, x.rank, &count) || count != elements) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its updates have %lld elements instead of %lld",
                                 (long long)count, (long long)elements);
    }
    return spade_build_reshape(import, node, *value, &y, value);
}

static spade_status lower_scatter_nd(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    replacement r = {0};
    int values[2], joined;
    int64_t size;
    SPADE_TRY(spade_activation_get(import, node, 0, &values[0]));
    SPADE_TRY(spade_activation_get(import, node, 2, &values[1]));
    spade_extent x = spade_value_extent(import, values[0]);
    SPADE_TRY(read_replacement(import, node, &x, &r));
    if (import->file_batch > 1 ||
        (r.indices.batch_axis >= 0 && (r.indices.batch_axis > 0 || r.indices.batch_outer != 1))) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "its indices have the batch elsewhere than in front");
    }
    if (!spade_mul_dims(x.dims, x.rank, &size)) { size = 0; }
    SPADE_TRY(flatten(import, node, size, &values[0]));
    SPADE_TRY(flatten(import, node, r.points * r.after, &values[1]));
    SPADE_TRY(spade_build_concat(import, node, values, 2, 1, &joined));
    int64_t *chosen = malloc(((size_t)size + 1) * sizeof *chosen);
    if (!chosen) { return spade_import_memory(import); }
    spade_status status = SPADE_OK;
    for (int64_t e = 0; e < size; e++) { chosen[e] = e; }
    for (int64_t k = 0; k < r.points; k++) {
        int64_t at;
        SPADE_GOTO(find_point(import, node, &x, &r, k, &at));
        for (int64_t e = 0; e < r.after; e++) { chosen[at * r.after + e] = size + k * r.after + e; }
    }
    SPADE_GOTO(spade_build_select(import, node, joined, 1, chosen, size, 0, &joined));
    x.batch_axis = import->network->values[joined].batch_axis;
    x.batch_outer = 1;
    SPADE_GOTO(spade_build_reshape(import, node, joined, &x, &joined));
    SPADE_GOTO(spade_bind_output(import, node, 0, joined));
done:
    free(chosen);
    return status;
}

const spade_onnx_operator spade_replace_operators[] = {{"ScatterND", lower_scatter_nd}, {0}};
