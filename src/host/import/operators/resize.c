/* resize.c - Resize, Upsample: one sparse map along each axis that changes. Source: ONNX's definition of Resize. */
#include <math.h>

#include "import/build.h"
#include "import/fold/fold.h"
#include "import/operators/operators.h"

typedef struct resize {
    const char *mode, *coordinates, *nearest;
    float cubic;
    int64_t exclude_outside;
    double scale[SPADE_MAX_RANK];
    int64_t length[SPADE_MAX_RANK]; /* of the result */
} resize;

/* Where element j of n_out lies in an axis of n. */
static double source_of(const resize *r, int64_t j, int64_t n, int64_t n_out, double scale)
{
    const double x = (double)j;
    if (strcmp(r->coordinates, "asymmetric") == 0) { return x / scale; }
    if (strcmp(r->coordinates, "align_corners") == 0) {
        return n_out == 1 ? 0 : x * (double)(n - 1) / (double)(n_out - 1);
    }
    if (strcmp(r->coordinates, "pytorch_half_pixel") == 0 && n_out <= 1) { return 0; }
    return (x + 0.5) / scale - 0.5; /* half_pixel */
}

static int64_t nearest_of(const resize *r, double x)
{
    if (strcmp(r->nearest, "floor") == 0) { return (int64_t)floor(x); }
    if (strcmp(r->nearest, "ceil") == 0) { return (int64_t)ceil(x); }
    if (strcmp(r->nearest, "round_prefer_ceil") == 0) { return (int64_t)floor(x + 0.5); }
    return (int64_t)ceil(x - 0.5); /* round_prefer_floor */
}

/* Keys' cubic: weights of the pixels at floor(x) - 1 to + 2. */
static void cubic_weights(double a, double t, double out[4])
{
    const double d[4] = {1 + t, t, 1 - t, 2 - t};
    for (int k = 0; k < 4; k++) {
        const double u = d[k];
        out[k] = k == 0 || k == 3 ? ((a * u - 5 * a) * u + 8 * a) * u - 4 * a : ((a + 2) * u - (a + 3)) * u * u + 1;
    }
}

/* Entries of one element: up to 4 pixels, those outside moved to the border (or left out, by exclude_outside). */
static int entries_of(const resize *r, double x, int64_t n, int64_t index[4], double weight[4])
{
    const int64_t at = (int64_t)floor(x);
    int count = 1;
    if (strcmp(r->mode, "nearest") == 0) {
        index[0] = nearest_of(r, x);
        weight[0] = 1;
    } else if (strcmp(r->mode, "linear") == 0) {
        const double inside = x < 0 ? 0 : x > (double)(n - 1) ? (double)(n - 1) : x;
        index[0] = (int64_t)floor(inside);
        index[1] = index[0] + 1;
        weight[1] = inside - floor(inside);
        weight[0] = 1 - weight[1];
        count = weight[1] > 0 ? 2 : 1;
    } else {
        double sum = 0;
        cubic_weights((double)r->cubic, x - floor(x), weight);
        for (int k = 0; k < 4; k++) {
            index[k] = at - 1 + k;
            if (r->exclude_outside && (index[k] < 0 || index[k] >= n)) { weight[k] = 0; }
            sum += weight[k];
        }
        for (int k = 0; k < 4 && r->exclude_outside; k++) { weight[k] /= sum; }
        count = 4;
    }
    for (int k = 0; k < count; k++) { index[k] = index[k] < 0 ? 0 : index[k] >= n ? n - 1 : index[k]; }
    return count;
}

static spade_status resize_axis(spade_import *import, const onnx_node *node, const resize *r, int axis, int *value)
{
    const int64_t n = import->network->values[*value].shape.dims[axis], n_out = r->length[axis];
    int64_t *offsets = malloc((size_t)(n_out + 1) * sizeof *offsets),
            *indices = malloc((size_t)n_out * 4 * sizeof *indices);
    float *weights = malloc((size_t)n_out * 4 * sizeof *weights);
    spade_axis_map map;
    spade_status status = SPADE_OK;
    if (!offsets || !indices || !weights) { SPADE_GOTO(spade_import_memory(import)); }
    offsets[0] = 0;
    for (int64_t j = 0; j < n_out; j++) {
        int64_t index[4];
        double weight[4];
        const int count = entries_of(r, source_of(r, j, n, n_out, r->scale[axis]), n, index, weight);
        offsets[j + 1] = offsets[j] + count;
        for (int k = 0; k < count; k++) {
            indices[offsets[j] + k] = index[k];
            weights[offsets[j] + k] = (float)weight[k];
        }
    }
    SPADE_GOTO(spade_check_axis(import, node, *value, axis, "resizing"));
    SPADE_GOTO(spade_axis_map_create(import->context, n_out, n, offsets, indices,
                                     strcmp(r->mode, "nearest") == 0 ? NULL : weights, NULL, &map));
    SPADE_GOTO(spade_build_axis_map(import, node, *value, axis, &map, value));
done:
    free(offsets);
    free(indices);
    free(weights);
    return status;
}

static bool is_one_of(const char *word, const char *const *words)
{
    while (*words && strcmp(*words, word) != 0) { words++; }
    return *words != NULL;
}

static spade_status read_attributes(spade_import *import, const onnx_node *node, resize *out)
{
    static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
    static const char *const coordinates[] = {"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", NULL};
    static const char *const nearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL};
    spade_context *context = import->context;
    const bool old = import->onnx->opset < 11; /* no choice of coordinates then */
    int64_t antialias;
    const char *policy;
    SPADE_TRY(spade_import_attribute(import, onnx_get_string(context, node, "mode", "nearest", &out->mode)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_string(context, node, "coordinate_transformation_mode",
                                                             old ? "asymmetric" : "half_pixel", &out->coordinates)));
    SPADE_TRY(spade_import_attribute(
        import, onnx_get_string(context, node, "nearest_mode", old ? "floor" : "round_prefer_floor", &out->nearest)));
    SPADE_TRY(
        spade_import_attribute(import, onnx_get_string(context, node, "keep_aspect_ratio_policy", "stretch", &policy)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(context, node, "cubic_coeff_a", -0.75f, &out->cubic)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "exclude_outside", 0, &out->exclude_outside)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "antialias", 0, &antialias)));
    if (!is_one_of(out->mode, modes) || !is_one_of(out->coordinates, coordinates) ||
        !is_one_of(out->nearest, nearest) || strcmp(policy, "stretch") != 0 || antialias) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "mode %.20s, coordinates %.30s%s are not supported", out->mode, out->coordinates,
                                 antialias ? ", antialias" : "");
    }
    return SPADE_OK;
}

/* The axes that scales or sizes are given for. */
static spade_status read_resized_axes(spade_import *import, const onnx_node *node, int rank, int *axes, int *count)
{
    int64_t given[SPADE_MAX_RANK];
    SPADE_TRY(spade_integers_get(import, node, -1, "axes", SPADE_MAX_RANK, given, count));
    for (int i = 0; i < *count; i++) { SPADE_TRY(spade_axis_get(import, node, given[i], rank, &axes[i])); }
    if (*count >= 0) { return SPADE_OK; }
    *count = rank;
    for (int i = 0; i < rank; i++) { axes[i] = i; }
    return SPADE_OK;
}

static spade_status read_scales(spade_import *import, const onnx_node *node, int input, const spade_extent *x,
                                const int *axes, int count, resize *out)
{
    const onnx_tensor *scales = NULL;
    SPADE_TRY(spade_constant_get(import, node, input, &scales));
    SPADE_TRY(spade_require_float(import, node, scales));
    if (scales->count != count) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "it has %lld scales", (long long)scales->count);
    }
    for (int i = 0; i < count; i++) {
        const double scale = (double)onnx_tensor_float(scales, i), length = floor((double)x->dims[axes[i]] * scale);
        if (!(scale > 0) || !(length >= 1) || length > 0x1p20) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its scale of axis %d is %g", axes[i], scale);
        }
        out->scale[axes[i]] = scale;
        out->length[axes[i]] = (int64_t)length;
    }
    return SPADE_OK;
}

/* Sizes may name the batch's axis, as it is. */
static spade_status read_sizes(spade_import *import, const onnx_node *node, int input, const spade_extent *x,
                               const int *axes, int count, resize *out)
{
    spade_operand operand = {.value = -1};
    SPADE_TRY(spade_operand_get(import, node, input, &operand));
    const spade_fold plain = {.tensor = operand.tensor ? *operand.tensor : (onnx_tensor){0}, .batch_axis = -1};
    const spade_fold *sizes = operand.tensor ? &plain : operand.fold;
    if (!sizes || sizes->tensor.type != ONNX_INT64 || sizes->tensor.count != count || sizes->batch_axis >= 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its sizes are not supported");
    }
    for (int i = 0; i < count; i++) {
        const fold_number n = fold_load(sizes, i);
        const int64_t length = axes[i] == x->batch_axis ? x->dims[axes[i]] : n.i[0];
        const int64_t batch = import->file_batch;
        const bool fits = axes[i] != x->batch_axis ? fold_is_plain_number(&n)
                          : batch                  ? fold_is_plain_number(&n) && n.i[0] == length * batch
                                                   : n.i[0] == 0 && n.i[1] == length && n.i[2] == 0;
        if (!fits || length < 1 || length > (INT64_C(1) << 20)) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its size of axis %d does not fit", axes[i]);
        }
        out->length[axes[i]] = length;
        out->scale[axes[i]] = (double)length / (double)x->dims[axes[i]];
    }
    return SPADE_OK;
}

/* Resize: x, roi, scales, sizes; before opset 11, and Upsample: x, scales. */
static spade_status lower_resize(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const bool old = import->onnx->opset < 11 || strcmp(node->op_type, "Upsample") == 0;
    resize r = {0};
    int value, axes[SPADE_MAX_RANK], count;
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    SPADE_TRY(read_attributes(import, node, &r));
    const spade_extent x = spade_value_extent(import, value);
    SPADE_TRY(read_resized_axes(import, node, x.rank, axes, &count));
    for (int i = 0; i < x.rank; i++) {
        r.scale[i] = 1;
        r.length[i] = x.dims[i];
    }
    if (!old && spade_has_input(node, 3)) {
        SPADE_TRY(read_sizes(import, node, 3, &x, axes, count, &r));
    } else {
        SPADE_TRY(read_scales(import, node, old ? 1 : 2, &x, axes, count, &r));
    }
    for (int i = 0; i < x.rank; i++) {
        if (r.length[i] == x.dims[i] && r.scale[i] == 1) { continue; }
        SPADE_TRY(resize_axis(import, node, &r, i, &value));
    }
    return spade_bind_output(import, node, 0, value);
}

const spade_onnx_operator spade_resize_operators[] = {{"Resize", lower_resize}, {"Upsample", lower_resize}, {0}};
