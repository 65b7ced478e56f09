/* shape.c - operators that move no numbers: Flatten, Reshape, Identity, Dropout, Constant. */
#include "import/operators/operators.h"

static spade_status emit_reshape(spade_import *import, const onnx_node *node, int input, const spade_shape *shape)
{
    spade_node result = {.kind = SPADE_NODE_RESHAPE, .layer = -1};
    return spade_emit(import, node, &result, &input, 1, shape);
}

static spade_status lower_flatten(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    int input;
    int64_t axis;
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "axis", 1, &axis)));
    spade_shape x = import->network->values[input].shape;
    axis += axis < 0 ? x.rank : 0;
    if (axis < 0 || axis > x.rank) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its axis is out of range");
    }
    if (axis == 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "axis 0 would join the images of a batch");
    }
    spade_shape y = {2, {1, 1}, SPADE_ROW_MAJOR};
    for (int i = 0; i < x.rank; i++) { y.dims[i < axis ? 0 : 1] *= x.dims[i]; } /* x was checked: no overflow */
    return emit_reshape(import, node, input, &y);
}

/*
 * ---- Reshape. The shape in the file speaks of the whole batch; ours is of one image. The first axis stays the one
 * that grows with the batch: its number may be 0 (kept), -1 (what is left), or a number where the file fixes the batch
 * to a divisor of it.
 */
typedef struct reshape {
    spade_shape x, y;
    bool allow_zero;
    int open; /* axis given as -1, or -1 */
} reshape;

static spade_status read_target(spade_import *import, const onnx_node *node, const onnx_tensor *target, reshape *r)
{
    int64_t batch = import->file_batch;
    if (target->type != ONNX_INT64 || !target->bytes || target->rank > 1 || target->count < 1 ||
        target->count > SPADE_MAX_RANK) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its shape is not a list of 1 to %d int64",
                                 SPADE_MAX_RANK);
    }
    r->y = (spade_shape){(int)target->count, {0}, SPADE_ROW_MAJOR};
    r->open = -1;
    for (int i = 0; i < r->y.rank; i++) {
        int64_t dim = onnx_tensor_int(target, i);
        if (dim == -1 && r->open < 0) {
            r->open = i;
            dim = 1;
        } else if (dim == 0 && !r->allow_zero && i < r->x.rank) {
            dim = r->x.dims[i];
        } else if (dim < 1) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its shape holds %lld at axis %d", (long long)dim,
                                     i);
        } else if (i == 0) {
            if (batch == 0 || dim % batch) {
                return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                         "its shape fixes the batch to %lld; export the network with a dynamic batch",
                                         (long long)dim);
            }
            dim /= batch;
        }
        r->y.dims[i] = dim;
    }
    return SPADE_OK;
}

static spade_status lower_reshape(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const onnx_tensor *target = NULL;
    reshape r;
    int input;
    int64_t allow_zero, given, size;
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    SPADE_TRY(spade_constant_get(import, node, 1, &target));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "allowzero", 0, &allow_zero)));
    r.x = import->network->values[input].shape;
    r.allow_zero = allow_zero != 0;
    SPADE_TRY(read_target(import, node, target, &r));
    spade_mul_dims(r.x.dims, r.x.rank, &size);
    bool fits = spade_mul_dims(r.y.dims, r.y.rank, &given) && size % given == 0;
    if (fits && r.open >= 0) {
        r.y.dims[r.open] = size / given;
    } else if (!fits || given != size) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT,
                                 "its shape does not hold the %lld elements of an image", (long long)size);
    }
    return emit_reshape(import, node, input, &r.y);
}

/* ---- other names for the same thing */

static spade_status lower_identity(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_operand operand = {.value = -1};
    SPADE_TRY(spade_operand_get(import, node, 0, &operand));
    if (node->output_count < 1) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "has no output"); }
    return spade_bind(import, node->outputs[0], operand);
}

static spade_status lower_dropout(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    if (spade_has_input(node, 2)) {
        const onnx_tensor *training = NULL;
        SPADE_TRY(spade_constant_get(import, node, 2, &training));
        if (training->type != ONNX_BOOL || training->count != 1 || !training->bytes ||
            onnx_tensor_int(training, 0) != 0) {
            return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                     "training mode is not supported; export for inference");
        }
    }
    return lower_identity(import, onnx_node_index);
}

/* ---- Constant */

/* A Constant given as numbers instead of a tensor: a tensor made of them, kept while the graph is built. */
static spade_status make_tensor(spade_import *import, const onnx_node *node, const onnx_attribute *attribute, bool list)
{
    bool floats = attribute->kind == ONNX_ATTR_FLOAT || attribute->kind == ONNX_ATTR_FLOATS;
    size_t count = list ? (size_t)attribute->count : 1, width = floats ? sizeof(float) : sizeof(int64_t);
    const void *from = floats ? (list ? (const void *)attribute->floats : &attribute->f)
                              : (list ? (const void *)attribute->ints : &attribute->i);
    void *bytes = malloc(count * width + 1);
    if (!bytes) { return spade_import_memory(import); }
    if (count) { memcpy(bytes, from, count * width); }
    onnx_tensor *tensor = &import->made[import->made_count++];
    *tensor = (onnx_tensor){.name = node->outputs[0],
                            .type = floats ? ONNX_FLOAT : ONNX_INT64,
                            .rank = list ? 1 : 0,
                            .dims = {(int64_t)count},
                            .count = (int64_t)count,
                            .bytes = bytes,
                            .size = count * width};
    return spade_bind(import, node->outputs[0], (spade_operand){.value = -1, .tensor = tensor});
}

static spade_status lower_constant(spade_import *import, int onnx_node_index)
{
    static const struct {
        const char *name;
        int kind;
    } forms[] = {{"value_float", ONNX_ATTR_FLOAT},
                 {"value_floats", ONNX_ATTR_FLOATS},
                 {"value_int", ONNX_ATTR_INT},
                 {"value_ints", ONNX_ATTR_INTS}};
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    if (node->output_count < 1 || !node->outputs[0][0]) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "has no output");
    }
    const onnx_attribute *value = onnx_find_attribute(node, "value");
    if (value) {
        if (value->kind != ONNX_ATTR_TENSOR || !value->tensor) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its value is not a tensor");
        }
        return spade_bind(import, node->outputs[0], (spade_operand){.value = -1, .tensor = value->tensor});
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const onnx_attribute *attribute = onnx_find_attribute(node, forms[i].name);
        if (attribute && attribute->kind == forms[i].kind) {
            return make_tensor(import, node, attribute,
                               forms[i].kind == ONNX_ATTR_FLOATS || forms[i].kind == ONNX_ATTR_INTS);
        }
    }
    return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                             "only numbers and tensors are supported as its value");
}

const spade_onnx_operator spade_shape_operators[] = {{"Constant", lower_constant}, {"Dropout", lower_dropout},
                                                     {"Flatten", lower_flatten},   {"Identity", lower_identity},
                                                     {"Reshape", lower_reshape},   {0}};
