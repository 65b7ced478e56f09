/*
 * transposed_convolution.c - ConvTranspose, of images with any number of axes: a product of each pixel with the whole kernel, whose
 * numbers are then summed, axis by axis, where the kernels of neighbouring pixels overlap. Its weight is no layer's: it stays.
 */
#include "import/build.h"
#include "import/operators/operators.h"

enum { MAX_SIDES = 3 };

typedef struct transposed {
    const onnx_tensor *weight; /* [channels, outputs / groups, kernel ..] */
    int sides;                 /* axes of the image */
    int64_t groups, outputs;   /* outputs: of one group */
    int64_t kernel[MAX_SIDES], stride[MAX_SIDES], dilation[MAX_SIDES];
    int64_t begin[MAX_SIDES], length[MAX_SIDES]; /* what is cut off in front, how much is left */
} transposed;

/* Numbers within limits, one for each of `count`; all `standard` where the attribute is not there. */
static spade_status read_list(spade_import *import, const onnx_node *node, const char *name, int count, int64_t low,
                              int64_t standard, int64_t *out)
{
    const int64_t *given;
    int n;
    SPADE_TRY(spade_import_attribute(import, onnx_get_ints(import->context, node, name, &given, &n)));
    if (n && n != count) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "%s has %d numbers instead of %d", name, n, count);
    }
    for (int i = 0; i < count; i++) {
        out[i] = n ? given[i] : standard;
        if (out[i] < low || out[i] > SPADE_MAX_WINDOW) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "%s holds %lld, the limits are %lld and %lld",
                                     name, (long long)out[i], (long long)low, (long long)SPADE_MAX_WINDOW);
        }
    }
    return SPADE_OK;
}

static spade_status read_weight(spade_import *import, const onnx_node *node, const spade_extent *x, transposed *t)
{
    SPADE_TRY(spade_constant_get(import, node, 1, &t->weight));
    SPADE_TRY(spade_require_float(import, node, t->weight));
    SPADE_TRY(spade_require_finite(import, node, t->weight));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "group", 1, &t->groups)));
    const onnx_tensor *w = t->weight;
    t->sides = x->rank - 2;
    if (t->sides < 1 || t->sides > MAX_SIDES || w->rank != x->rank || w->count < 1) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "an input of %d and a weight of %d axes are not supported", x->rank, w->rank);
    }
    if (w->dims[0] != x->dims[1] || t->groups < 1 || x->dims[1] % t->groups) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT,
                                 "its weight takes %lld channels in %lld groups, its input has %lld channels",
                                 (long long)w->dims[0], (long long)t->groups, (long long)x->dims[1]);
    }
    t->outputs = w->dims[1];
    for (int i = 0; i < t->sides; i++) { t->kernel[i] = w->dims[2 + i]; }
    return SPADE_OK;
}

/* Where the result begins and how long it is: by pads, or so that it has the length that is asked for. */
static spade_status read_sides(spade_import *import, const onnx_node *node, const spade_extent *x, transposed *t)
{
    int64_t pads[2 * MAX_SIDES], more[MAX_SIDES], wanted[MAX_SIDES];
    const char *automatic;
    SPADE_TRY(read_list(import, node, "strides", t->sides, 1, 1, t->stride));
    SPADE_TRY(read_list(import, node, "dilations", t->sides, 1, 1, t->dilation));
    SPADE_TRY(read_list(import, node, "pads", 2 * t->sides, 0, 0, pads));
    SPADE_TRY(read_list(import, node, "output_padding", t->sides, 0, 0, more));
    SPADE_TRY(read_list(import, node, "output_shape", t->sides, 1, SPADE_MAX_WINDOW, wanted));
    SPADE_TRY(spade_import_attribute(import, onnx_get_string(import->context, node, "auto_pad", "NOTSET", &automatic)));
    const bool shaped = onnx_find_attribute(node, "output_shape") != NULL, upper = strcmp(automatic, "SAME_UPPER") == 0;
    const bool same = upper || strcmp(automatic, "SAME_LOWER") == 0, valid = strcmp(automatic, "VALID") == 0;
    if (!same && !valid && strcmp(automatic, "NOTSET") != 0) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "auto_pad is \"%.40s\"", automatic);
    }
    for (int i = 0; i < t->sides; i++) {
        const int64_t n = x->dims[2 + i], reach = (t->kernel[i] - 1) * t->dilation[i] + 1;
        const int64_t whole = (n - 1) * t->stride[i] + reach + more[i];
        t->begin[i] = valid ? 0 : pads[i];
        t->length[i] = whole - (valid ? 0 : pads[i] + pads[i + t->sides]);
        if (shaped || same) {
            t->length[i] = shaped ? wanted[i] : n * t->stride[i];
            const int64_t cut = whole > t->length[i] ? whole - t->length[i] : 0;
            t->begin[i] = upper ? cut / 2 : cut - cut / 2;
        }
        if (t->length[i] < 1) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its result would be %lld long",
                                     (long long)t->length[i]);
        }
    }
    return SPADE_OK;
}

/* [1, groups, outputs * kernel, channels / groups] of the weight. */
static spade_status make_factor(spade_import *import, const onnx_node *node, const transposed *t, int *out)
{
    const int64_t channels = t->weight->dims[0] / t->groups, rows = t->weight->count / t->weight->dims[0];
    const spade_shape shape = {.rank = 4, .dims = {1, t->groups, rows, channels}};
    float *numbers = malloc((size_t)t->weight->count * sizeof *numbers);
    if (!numbers) { return spade_import_memory(import); }
    for (int64_t e = 0; e < t->weight->count; e++) {
        const int64_t group = e / (rows * channels), row = e / channels % rows, c = e % channels;
        numbers[e] = onnx_tensor_float(t->weight, (group * channels + c) * rows + row);
    }
    spade_status status = spade_make_constant(import, node, t->weight->name, &shape, numbers, out);
    free(numbers);
    return status;
}

/* An axis of [kernel, pixels] becomes what the kernels of all pixels leave there. */
static spade_status overlap(spade_import *import, const onnx_node *node, const transposed *t, int side, int64_t n,
                            int *value)
{
    const int64_t length = t->length[side], kernel = t->kernel[side];
    int64_t *offsets = malloc((size_t)(length + 1) * sizeof *offsets), count = 0;
    int64_t *indices = malloc((size_t)(kernel * n) * sizeof *indices);
    spade_axis_map map;
    spade_status status = SPADE_OK;
    if (!offsets || !indices) { SPADE_GOTO(spade_import_memory(import)); }
    for (int64_t j = 0; j < length; j++) {
        offsets[j] = count;
        for (int64_t k = 0; k < kernel; k++) {
            const int64_t at = j + t->begin[side] - k * t->dilation[side], pixel = at / t->stride[side];
            if (at >= 0 && at % t->stride[side] == 0 && pixel < n) { indices[count++] = k * n + pixel; }
        }
    }
    offsets[length] = count;
    SPADE_GOTO(spade_axis_map_create(import->context, length, kernel * n, offsets, indices, NULL, NULL, &map));
    SPADE_GOTO(spade_build_axis_map(import, node, *value, 2 + side, &map, value));
done:
    free(offsets);
    free(indices);
    return status;
}

/* [N, groups, outputs * kernel, pixels] -> [N, all outputs, kernel * pixels of each side] */
static spade_status sort_sides(spade_import *import, const onnx_node *node, const transposed *t, const spade_extent *x,
                               int *value)
{
    spade_extent apart = {.rank = 2 + 2 * t->sides,
                          .dims = {x->dims[0], t->groups * t->outputs},
                          .batch_axis = x->batch_axis,
                          .batch_outer = x->batch_outer};
    spade_extent joined = apart;
    int order[SPADE_MAX_RANK] = {0, 1};
    joined.rank = 2 + t->sides;
    for (int i = 0; i < t->sides; i++) {
        apart.dims[2 + i] = t->kernel[i];
        apart.dims[2 + t->sides + i] = x->dims[2 + i];
        joined.dims[2 + i] = t->kernel[i] * x->dims[2 + i];
        order[2 + 2 * i] = 2 + i;
        order[3 + 2 * i] = 2 + t->sides + i;
    }
    SPADE_TRY(spade_build_reshape(import, node, *value, &apart, value));
    SPADE_TRY(spade_build_permute(import, node, *value, order, value));
    return spade_build_reshape(import, node, *value, &joined, value);
}

static spade_status add_bias(spade_import *import, const onnx_node *node, const transposed *t, int *value)
{
    const onnx_tensor *bias = NULL;
    spade_shape shape = {.rank = 2 + t->sides, .dims = {1, t->groups * t->outputs, 1, 1, 1}};
    int summand;
    if (!spade_has_input(node, 2)) { return SPADE_OK; }
    SPADE_TRY(spade_constant_get(import, node, 2, &bias));
    SPADE_TRY(spade_require_float(import, node, bias));
    SPADE_TRY(spade_require_finite(import, node, bias));
    if (bias->count != shape.dims[1]) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its bias has %lld elements instead of %lld",
                                 (long long)bias->count, (long long)shape.dims[1]);
    }
    SPADE_TRY(spade_make_constant(import, node, bias->name, &shape, bias->bytes, &summand));
    return spade_build_binary(import, node, SPADE_NODE_ADD, *value, summand, value);
}

static spade_status lower_conv_transpose(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    transposed t = {0};
    int value, factor;
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    SPADE_TRY(spade_check_batch_first(import, node, value));
    const spade_extent x = spade_value_extent(import, value);
    SPADE_TRY(read_weight(import, node, &x, &t));
    SPADE_TRY(read_sides(import, node, &x, &t));
    int64_t pixels = 1;
    for (int i = 0; i < t.sides; i++) { pixels *= x.dims[2 + i]; }
    const spade_extent grouped = {.rank = 4,
                                  .dims = {x.dims[0], t.groups, x.dims[1] / t.groups, pixels},
                                  .batch_axis = x.batch_axis,
                                  .batch_outer = x.batch_outer};
    SPADE_TRY(spade_build_reshape(import, node, value, &grouped, &value));
    SPADE_TRY(make_factor(import, node, &t, &factor));
    SPADE_TRY(spade_build_matmul(import, node, factor, value, &value));
    SPADE_TRY(sort_sides(import, node, &t, &x, &value));
    for (int i = 0; i < t.sides; i++) { SPADE_TRY(overlap(import, node, &t, i, x.dims[2 + i], &value)); }
    SPADE_TRY(add_bias(import, node, &t, &value));
    return spade_bind_output(import, node, 0, value);
}

const spade_onnx_operator spade_transposed_convolution_operators[] = {{"ConvTranspose", lower_conv_transpose}, {0}};
