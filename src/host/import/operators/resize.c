/* resize.c - Resize, Upsample: one sparse map along each axis that changes. Source: ONNX's definition of Resize. */
#include <math.h>

#include "import/build.h"
#include "import/fold/fold.h"
#include "import/operators/operators.h"

/* Of a resized axis. */
#define MAX_LENGTH 0x1p20
/* The opset in which the scales of Upsample became an input. */
#define UPSAMPLE_TAKES_SCALES 9

typedef struct resize {
    const char *mode, *coordinates, *nearest;
    float cubic, outside; /* what a place outside of the picture holds, where a part is cut out */
    int64_t exclude_outside, antialias;
    bool sized; /* sizes are given, not scales */
    double scale[SPADE_MAX_RANK];
    double roi[2][SPADE_MAX_RANK];  /* first and last place of the part that is cut out, of an axis from 0 to 1 */
    int64_t length[SPADE_MAX_RANK]; /* of the result */
} resize;

static bool cuts(const resize *r)
{
    return strcmp(r->coordinates, "tf_crop_and_resize") == 0;
}

/* Where element j of the result lies in an axis of n. */
static double source_of(const resize *r, int axis, int64_t j, int64_t n)
{
    const double x = (double)j, last = (double)(n - 1), scale = r->scale[axis];
    const int64_t n_out = r->length[axis];
    if (strcmp(r->coordinates, "asymmetric") == 0) { return x / scale; }
    if (strcmp(r->coordinates, "align_corners") == 0) { return n_out == 1 ? 0 : x * last / (double)(n_out - 1); }
    if (strcmp(r->coordinates, "tf_half_pixel_for_nn") == 0) { return (x + 0.5) / scale; }
    if (cuts(r)) {
        const double start = r->roi[0][axis], end = r->roi[1][axis];
        return n_out == 1 ? 0.5 * (start + end) * last : start * last + x * (end - start) * last / (double)(n_out - 1);
    }
    if (strcmp(r->coordinates, "pytorch_half_pixel") == 0 && n_out <= 1) { return 0; }
    if (strcmp(r->coordinates, "half_pixel_symmetric") ==
        0) { /* both counted from their middle; exact for simple scales */
        return (2 * x + 1 - (double)n_out) / (2 * scale) + last / 2;
    }
    return (x + 0.5) / scale - 0.5; /* half_pixel */
}

/*
 * The same in float32, as ONNX's runtimes and PyTorch compute it. Which element is the nearest hangs on the last bit: 11 / 1.1 is 10 in
 * float32, and 9.9999998 in float64, as the scale is not 1.1 there.
 */
static double nearest_source_of(const resize *r, int axis, int64_t j, int64_t n)
{
    const float x = (float)j, last = (float)(n - 1), scale = (float)r->scale[axis];
    const int64_t n_out = r->length[axis];
    if (strcmp(r->coordinates, "asymmetric") == 0) { return (double)(x / scale); }
    if (strcmp(r->coordinates, "align_corners") == 0) {
        return n_out == 1 ? 0 : (double)(x * last / (float)(n_out - 1));
    }
    if (strcmp(r->coordinates, "tf_half_pixel_for_nn") == 0) { return (double)((x + 0.5f) / scale); }
    if (cuts(r)) {
        const float start = (float)r->roi[0][axis], end = (float)r->roi[1][axis];
        return n_out == 1 ? (double)(0.5f * (start + end) * last)
                          : (double)(start * last + x * (end - start) * last / (float)(n_out - 1));
    }
    if (strcmp(r->coordinates, "half_pixel_symmetric") == 0) { return source_of(r, axis, j, n); }
    if (strcmp(r->coordinates, "pytorch_half_pixel") == 0 && n_out <= 1) { return 0; }
    return (double)((x + 0.5f) / scale - 0.5f); /* half_pixel */
}

static int64_t nearest_of(const resize *r, int axis, double x)
{
    if (strcmp(r->nearest, "simple") == 0) { return (int64_t)(r->scale[axis] < 1 ? ceil(x) : floor(x)); }
    if (strcmp(r->nearest, "floor") == 0) { return (int64_t)floor(x); }
    if (strcmp(r->nearest, "ceil") == 0) { return (int64_t)ceil(x); }
    if (strcmp(r->nearest, "round_prefer_ceil") == 0) { return (int64_t)floor(x + 0.5); }
    return (int64_t)ceil(x - 0.5); /* round_prefer_floor */
}

/* How far a filter reaches to each side: the triangle, or Keys' cubic. */
static double reach_of(const resize *r)
{
    return strcmp(r->mode, "linear") == 0 ? 1 : 2;
}

static double filter_at(const resize *r, double distance)
{
    const double a = (double)r->cubic, u = fabs(distance);
    if (u >= reach_of(r)) { return 0; }
    if (strcmp(r->mode, "linear") == 0) { return 1 - u; }
    return u > 1 ? ((a * u - 5 * a) * u + 8 * a) * u - 4 * a : ((a + 2) * u - (a + 3)) * u * u + 1;
}

/* By which the filter is stretched: antialias widens it by what a picture is reduced. */
static double stretch_of(const resize *r, int axis)
{
    return r->antialias && r->scale[axis] < 1 ? r->scale[axis] : 1;
}

static int64_t most_entries(const resize *r, int axis)
{
    return 2 * (int64_t)ceil(reach_of(r) / stretch_of(r, axis)) + 2;
}

/* The pixels that make the element at x, those outside moved to the border (or left out, by exclude_outside); how many. */
static int64_t entries_of(const resize *r, int axis, double x, int64_t n, int64_t *index, float *weight)
{
    const double stretch = stretch_of(r, axis);
    const int64_t first = (int64_t)floor(x) + (int64_t)floor(-reach_of(r) / stretch) + 1;
    const int64_t last = first + most_entries(r, axis);
    int64_t count = 0;
    double sum = 0;
    if (strcmp(r->mode, "nearest") == 0) {
        const int64_t at = nearest_of(r, axis, x);
        index[0] = at < 0 ? 0 : at >= n ? n - 1 : at;
        return 1;
    }
    for (int64_t k = first; k < last; k++) {
        if (!r->exclude_outside || (k >= 0 && k < n)) { sum += filter_at(r, ((double)k - x) * stretch); }
    }
    for (int64_t k = first; k < last;) {
        const int64_t pixel = k < 0 ? 0 : k >= n ? n - 1 : k;
        double total = 0;
        for (; k < last && (k < 0 ? 0 : k >= n ? n - 1 : k) == pixel; k++) {
            if (!r->exclude_outside || k == pixel) { total += filter_at(r, ((double)k - x) * stretch); }
        }
        if (total == 0) { continue; }
        index[count] = pixel;
        weight[count++] = (float)(r->exclude_outside || r->antialias ? total / sum : total);
    }
    return count;
}

static spade_status resize_axis(spade_import *import, const onnx_node *node, const resize *r, int axis, int *value)
{
    const int64_t n = import->network->values[*value].shape.dims[axis], n_out = r->length[axis];
    const size_t room = (size_t)(n_out * most_entries(r, axis));
    int64_t *offsets = malloc((size_t)(n_out + 1) * sizeof *offsets), *indices = malloc(room * sizeof *indices);
    float *weights = malloc(room * sizeof *weights), *filling = calloc((size_t)n_out, sizeof *filling);
    spade_axis_map map;
    spade_status status = SPADE_OK;
    if (!offsets || !indices || !weights || !filling) { SPADE_GOTO(spade_import_memory(import)); }
    offsets[0] = 0;
    for (int64_t j = 0; j < n_out; j++) {
        const bool nearest = strcmp(r->mode, "nearest") == 0;
        /* ties of sizes go up in the runtimes where they are ties of the whole numbers: row 2 of 7 -> 4 is at 3.5 */
        const bool tie = r->sized && strcmp(r->nearest, "round_prefer_ceil") == 0,
                   exact = !nearest || (tie && strcmp(r->coordinates, "asymmetric") == 0);
        const double x = exact ? source_of(r, axis, j, n) : nearest_source_of(r, axis, j, n);
        const bool inside = !cuts(r) || (x >= 0 && x <= (double)(n - 1));
        const int64_t at = offsets[j];
        offsets[j + 1] = at + (inside ? entries_of(r, axis, x, n, indices + at, weights + at) : 0);
        filling[j] = inside ? 0 : r->outside;
    }
    SPADE_GOTO(spade_check_axis(import, node, *value, axis, "resizing"));
    SPADE_GOTO(spade_axis_map_create(import->context, n_out, n, offsets, indices,
                                     strcmp(r->mode, "nearest") == 0 ? NULL : weights, cuts(r) ? filling : NULL, &map));
    SPADE_GOTO(spade_build_axis_map(import, node, *value, axis, &map, value));
done:
    free(offsets);
    free(indices);
    free(weights);
    free(filling);
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
    static const char *const coordinates[] = {
        "half_pixel", "pytorch_half_pixel",   "half_pixel_symmetric", "align_corners",
        "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize",   NULL};
    static const char *const nearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL};
    spade_context *context = import->context;
    const bool old = import->onnx->opset < 11; /* no choice of coordinates and rounding then */
    SPADE_TRY(spade_import_attribute(import, onnx_get_string(context, node, "mode", "nearest", &out->mode)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_string(context, node, "coordinate_transformation_mode",
                                                             old ? "asymmetric" : "half_pixel", &out->coordinates)));
    SPADE_TRY(spade_import_attribute(
        import, onnx_get_string(context, node, "nearest_mode", "round_prefer_floor", &out->nearest)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(context, node, "cubic_coeff_a", -0.75f, &out->cubic)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "exclude_outside", 0, &out->exclude_outside)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "antialias", 0, &out->antialias)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(context, node, "extrapolation_value", 0, &out->outside)));
    if (is_one_of(out->mode, modes) && is_one_of(out->coordinates, coordinates) && is_one_of(out->nearest, nearest)) {
        if (old) { out->nearest = "simple"; } /* as ONNX's own cases of opset 10 and onnxruntime have it */
        return SPADE_OK;
    }
    return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                             "mode %.20s, coordinates %.30s, rounding %.30s are not supported", out->mode,
                             out->coordinates, out->nearest);
}

/* The axes that scales or sizes are given for. */
static spade_status read_resized_axes(spade_import *import, const onnx_node *node, int rank, int *axes, int *count)
{
    int64_t given[SPADE_MAX_RANK];
    SPADE_TRY(spade_integers_get(import, node, -1, "axes", SPADE_MAX_RANK, given, count));
    unsigned seen = 0;
    for (int i = 0; i < *count; i++) {
        SPADE_TRY(spade_axis_get(import, node, given[i], rank, &axes[i]));
        if (seen & 1u << axes[i]) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "it resizes axis %d twice", axes[i]);
        }
        seen |= 1u << axes[i];
    }
    if (*count >= 0) { return SPADE_OK; }
    *count = rank;
    for (int i = 0; i < rank; i++) { axes[i] = i; }
    return SPADE_OK;
}

/* In Upsample before opset 9 they are an attribute, which stands for a tensor then; later, and in Resize, an input. */
static spade_status find_scales(spade_import *import, const onnx_node *node, int input, onnx_tensor *listed,
                                const onnx_tensor **out)
{
    const float *scales;
    int count;
    if (import->onnx->opset >= UPSAMPLE_TAKES_SCALES || strcmp(node->op_type, "Upsample") != 0) {
        SPADE_TRY(spade_constant_get(import, node, input, out));
        return spade_require_float(import, node, *out);
    }
    SPADE_TRY(spade_import_attribute(import, onnx_get_floats(import->context, node, "scales", &scales, &count)));
    if (!scales) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "it has no attribute 'scales'"); }
    *listed = (onnx_tensor){.type = ONNX_FLOAT,
                            .rank = 1,
                            .dims = {count},
                            .count = count,
                            .bytes = scales,
                            .size = (size_t)count * sizeof *scales};
    *out = listed;
    return SPADE_OK;
}

static spade_status read_scales(spade_import *import, const onnx_node *node, int input, const spade_extent *x,
                                const int *axes, int count, resize *out)
{
    onnx_tensor listed;
    const onnx_tensor *scales = NULL;
    SPADE_TRY(find_scales(import, node, input, &listed, &scales));
    if (scales->count != count) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "it has %lld scales", (long long)scales->count);
    }
    for (int i = 0; i < count; i++) {
        /* the product in float32, as onnxruntime and PyTorch have it: 5 times 1.4 is 7 */
        const float factor = onnx_tensor_float(scales, i), product = (float)x->dims[axes[i]] * factor;
        const double scale = (double)factor, length = floor((double)product);
        if (!(scale > 0) || !(length >= 1) || length > MAX_LENGTH) {
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
        if (!fits || length < 1 || (double)length > MAX_LENGTH) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its size of axis %d does not fit", axes[i]);
        }
        out->length[axes[i]] = length;
        out->scale[axes[i]] = (double)length / (double)x->dims[axes[i]];
    }
    return SPADE_OK;
}

/* The same scale for all axes: the largest that no size is exceeded by, or the smallest that no size falls short of. */
static spade_status keep_aspect(spade_import *import, const onnx_node *node, const spade_extent *x, const int *axes,
                                int count, resize *r)
{
    const char *policy;
    SPADE_TRY(spade_import_attribute(
        import, onnx_get_string(import->context, node, "keep_aspect_ratio_policy", "stretch", &policy)));
    const bool larger = strcmp(policy, "not_smaller") == 0;
    if (strcmp(policy, "stretch") == 0 || count < 1) { return SPADE_OK; }
    if (!larger && strcmp(policy, "not_larger") != 0) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "keep_aspect_ratio_policy is \"%.40s\"", policy);
    }
    double scale = r->scale[axes[0]];
    for (int i = 1; i < count; i++) {
        const double next = r->scale[axes[i]];
        scale = (next > scale) == larger ? next : scale;
    }
    for (int i = 0; i < count; i++) {
        const double length = floor((double)x->dims[axes[i]] * scale + 0.5);
        if (!(length >= 1) || length > MAX_LENGTH) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT,
                                     "with its aspect kept, axis %d would be %g long, the limits are 1 and %g", axes[i],
                                     length, MAX_LENGTH);
        }
        r->scale[axes[i]] = scale;
        r->length[axes[i]] = (int64_t)length;
    }
    return SPADE_OK;
}

/* Input 1 says for each axis where the part begins that is cut out, then for each where it ends. */
static spade_status read_roi(spade_import *import, const onnx_node *node, const int *axes, int count, resize *r)
{
    const onnx_tensor *roi = NULL;
    if (!cuts(r)) { return SPADE_OK; }
    for (int i = 0; i < SPADE_MAX_RANK; i++) { r->roi[1][i] = 1; }
    SPADE_TRY(spade_constant_get(import, node, 1, &roi));
    SPADE_TRY(spade_require_float(import, node, roi));
    SPADE_TRY(spade_require_finite(import, node, roi));
    if (roi->count != 2 * count) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its roi has %lld numbers instead of %d",
                                 (long long)roi->count, 2 * count);
    }
    for (int i = 0; i < 2 * count; i++) { r->roi[i >= count][axes[i % count]] = (double)onnx_tensor_float(roi, i); }
    return SPADE_OK;
}

/* Resize: x, roi, scales, sizes; before opset 11, and Upsample: x, scales; Upsample before opset 9: x. */
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
        r.sized = true;
        SPADE_TRY(read_sizes(import, node, 3, &x, axes, count, &r));
        SPADE_TRY(keep_aspect(import, node, &x, axes, count, &r));
    } else {
        SPADE_TRY(read_scales(import, node, old ? 1 : 2, &x, axes, count, &r));
    }
    if (!old) { SPADE_TRY(read_roi(import, node, axes, count, &r)); }
    for (int i = 0; i < x.rank; i++) {
        const bool whole = r.roi[0][i] == 0 && (!cuts(&r) || r.roi[1][i] == 1);
        if (r.length[i] == x.dims[i] && r.scale[i] == 1 && whole) { continue; }
        SPADE_TRY(resize_axis(import, node, &r, i, &value));
    }
    return spade_bind_output(import, node, 0, value);
}

const spade_onnx_operator spade_resize_operators[] = {{"Resize", lower_resize}, {"Upsample", lower_resize}, {0}};
