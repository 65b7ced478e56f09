/* shape.c - operators that move no numbers: Flatten, Reshape, Squeeze, Unsqueeze, Identity, Dropout, Cast, Constant. */
#include <limits.h>

#include "import/build.h"
#include "import/fold/fold.h"
#include "import/operators/operators.h"

/* The value under the shape that an operator asks for. */
static spade_status bind_reshaped(spade_import *import, const onnx_node *node, int input, const spade_extent *extent)
{
    int out;
    SPADE_TRY(spade_build_reshape(import, node, input, extent, &out));
    return spade_bind_output(import, node, 0, out);
}

static spade_status lower_flatten(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    int input;
    spade_extent y;
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    const spade_extent x = spade_value_extent(import, input);
    SPADE_TRY(spade_extent_flatten(import, node, &x, &y));
    return bind_reshaped(import, node, input, &y);
}

static spade_status lower_reshape(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_operand target = {.value = -1};
    int input;
    spade_extent y;
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    SPADE_TRY(spade_operand_get(import, node, 1, &target));
    if (target.value >= 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its shape depends on the picture");
    }
    spade_extent x = spade_value_extent(import, input);
    if (x.batch_axis < 0) { x.batch_axis = SPADE_UNIFORM; }
    const spade_fold plain = {.tensor = target.tensor ? *target.tensor : (onnx_tensor){0}, .batch_axis = -1};
    SPADE_TRY(spade_extent_reshape(import, node, &x, target.tensor ? &plain : target.fold, &y));
    return bind_reshaped(import, node, input, &y);
}

/* Squeeze, Unsqueeze. */
static spade_status lower_axes(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    int64_t axes[SPADE_MAX_RANK];
    int input, count;
    spade_extent y;
    SPADE_TRY(spade_activation_get(import, node, 0, &input));
    SPADE_TRY(spade_integers_get(import, node, 1, "axes", SPADE_MAX_RANK, axes, &count));
    const spade_extent x = spade_value_extent(import, input);
    if (strcmp(node->op_type, "Squeeze") == 0) {
        SPADE_TRY(spade_extent_squeeze(import, node, &x, axes, count, &y));
    } else {
        SPADE_TRY(spade_extent_unsqueeze(import, node, &x, axes, count, &y));
    }
    return bind_reshaped(import, node, input, &y);
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

/* Real numbers are float32 here. In a network with weights of half precision, those that are meant to be of it, too (as its weights
 * are); in others a conversion to half precision is there for its rounding, which is not computed. */
static spade_status convert(spade_import *import, int onnx_node_index, int type)
{
    const onnx_model *onnx = import->onnx;
    const bool half = type == ONNX_FLOAT16 || type == ONNX_BFLOAT16;
    if (type == ONNX_FLOAT || type == ONNX_DOUBLE || (half && onnx->converted >> type & 1)) {
        return lower_identity(import, onnx_node_index);
    }
    return spade_import_fail(import, &onnx->nodes[onnx_node_index], SPADE_ERROR_UNSUPPORTED,
                             "a conversion of the picture to %s is not supported%s", onnx_type_name(type),
                             half ? " where the network has no such weights" : "");
}

static spade_status lower_cast(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    int64_t type;
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(import->context, node, "to", 0, &type)));
    return convert(import, onnx_node_index, type >= 0 && type <= INT_MAX ? (int)type : 0);
}

/* Its second input lends its type alone. */
static spade_status lower_cast_like(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_operand like = {.value = -1};
    SPADE_TRY(spade_operand_get(import, node, 1, &like));
    const onnx_tensor *tensor = like.value >= 0 ? NULL : like.tensor ? like.tensor : &like.fold->tensor;
    const int type = !tensor ? ONNX_FLOAT : tensor->stored_type ? tensor->stored_type : tensor->type;
    return convert(import, onnx_node_index, type);
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

const spade_onnx_operator spade_shape_operators[] = {{"Cast", lower_cast},         {"CastLike", lower_cast_like},
                                                     {"Constant", lower_constant}, {"Dropout", lower_dropout},
                                                     {"Flatten", lower_flatten},   {"Identity", lower_identity},
                                                     {"Reshape", lower_reshape},   {"Squeeze", lower_axes},
                                                     {"Unsqueeze", lower_axes},    {0}};
