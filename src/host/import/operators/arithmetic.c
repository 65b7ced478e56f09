/* arithmetic.c - of two or more values, broadcast as NumPy does: all of it is made of sums, products and functions. */
#include <float.h>
#include <math.h>

#include "import/build.h"
#include "import/fold/fold.h"
#include "import/operators/operators.h"

static const spade_extent not_joined = {.rank = -1};

static bool is_constant(const spade_import *import, int value)
{
    return import->network->values[value].constant != NULL;
}

/* A constant of f of each of the constant's numbers: others may read that one. */
static spade_status map_constant(spade_import *import, const onnx_node *node, int *value, float (*f)(float))
{
    const spade_value *constant = &import->network->values[*value];
    const spade_shape shape = constant->shape;
    const int64_t n = spade_shape_size(&shape);
    float *numbers = malloc((size_t)n * sizeof *numbers);
    if (!numbers) { return spade_import_memory(import); }
    for (int64_t e = 0; e < n; e++) { numbers[e] = f(constant->constant[e]); }
    const spade_status status = spade_make_constant(import, node, constant->name, &shape, numbers, value);
    free(numbers);
    return status;
}

static float negative(float x)
{
    return -x;
}

static float inverse(float x)
{
    return 1 / x;
}

/* The result in the extent that it should have: see spade_operands_get. */
static spade_status join(spade_import *import, const onnx_node *node, int value, const spade_extent *joined, int *out)
{
    *out = value;
    if (joined->rank < 0) { return SPADE_OK; }
    int64_t counts[2];
    const spade_shape *wide = &import->network->values[value].shape;
    if (!spade_mul_dims(wide->dims, wide->rank, &counts[0]) ||
        !spade_mul_dims(joined->dims, joined->rank, &counts[1]) || counts[0] != counts[1]) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its constant repeats it along other axes too");
    }
    return spade_build_reshape(import, node, value, joined, out);
}

static spade_status build_joined(spade_import *import, const onnx_node *node, spade_node_kind kind, int a, int b,
                                 const spade_extent *joined, int *out)
{
    SPADE_TRY(spade_build_binary(import, node, kind, a, b, out));
    return join(import, node, *out, joined, out);
}

static spade_status bind_binary(spade_import *import, const onnx_node *node, spade_node_kind kind, int a, int b,
                                const spade_extent *joined)
{
    int out;
    SPADE_TRY(build_joined(import, node, kind, a, b, joined, &out));
    return spade_bind_output(import, node, 0, out);
}

static spade_status lower_add_or_mul(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    int values[2];
    spade_extent joined;
    SPADE_TRY(spade_operands_get(import, node, values, &joined));
    return bind_binary(import, node, strcmp(node->op_type, "Add") == 0 ? SPADE_NODE_ADD : SPADE_NODE_MUL, values[0],
                       values[1], &joined);
}

/* a - b = a + (-b), a / b = a * (1 / b). */
static spade_status lower_sub_or_div(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const bool sub = strcmp(node->op_type, "Sub") == 0;
    int values[2];
    spade_extent joined;
    SPADE_TRY(spade_operands_get(import, node, values, &joined));
    if (is_constant(import, values[1])) {
        SPADE_TRY(map_constant(import, node, &values[1], sub ? negative : inverse));
    } else {
        SPADE_TRY(spade_build_function(import, node, values[1], sub ? SPADE_NEG : SPADE_RECIPROCAL, 0, 0, &values[1]));
    }
    return bind_binary(import, node, sub ? SPADE_NODE_ADD : SPADE_NODE_MUL, values[0], values[1], &joined);
}

/* ---- Max and Min */

/* The constant's numbers as often as the shape asks for, which has its rank. */
static spade_status repeat_constant(spade_import *import, const onnx_node *node, int value, const spade_shape *shape,
                                    int *out)
{
    const spade_value *constant = &import->network->values[value];
    const int64_t n = spade_shape_size(shape);
    float *numbers = malloc((size_t)n * sizeof *numbers);
    if (!numbers) { return spade_import_memory(import); }
    for (int64_t e = 0; e < n; e++) {
        int64_t from = 0;
        for (int64_t i = 0, left = e, size = n; i < shape->rank; i++) {
            size /= shape->dims[i];
            const int64_t at = left / size;
            left %= size;
            from = from * constant->shape.dims[i] + (constant->shape.dims[i] == 1 ? 0 : at);
        }
        numbers[e] = constant->constant[from];
    }
    const spade_status status = spade_make_constant(import, node, constant->name, shape, numbers, out);
    free(numbers);
    return status;
}

/* A value that is broadcast against another of its rank, at the size that both have together. */
static spade_status build_expanded(spade_import *import, const onnx_node *node, int value, int beside, int *out)
{
    const spade_shape *own = &import->network->values[value].shape, *other = &import->network->values[beside].shape;
    spade_shape shape = *own, rest = *own;
    bool wider = false;
    for (int i = 0; i < own->rank; i++) {
        rest.dims[i] = own->dims[i] == 1 ? other->dims[i] : 1;
        shape.dims[i] = own->dims[i] == 1 ? other->dims[i] : own->dims[i];
        wider = wider || shape.dims[i] != own->dims[i];
    }
    *out = value;
    if (!wider) { return SPADE_OK; }
    if (is_constant(import, value)) { return repeat_constant(import, node, value, &shape, out); }
    int zeros; /* adding them changes none of the numbers */
    float *numbers = calloc((size_t)spade_shape_size(&rest), sizeof *numbers);
    if (!numbers) { return spade_import_memory(import); }
    const spade_status status = spade_make_constant(import, node, node->op_type, &rest, numbers, &zeros);
    free(numbers);
    SPADE_TRY(status);
    return spade_build_binary(import, node, SPADE_NODE_ADD, value, zeros, out);
}

/*
 * The larger of both is the maximum over a new axis of 2: one of the numbers themselves, however far they are apart (a + relu(b - a)
 * loses b beside a large a). The smaller one is -max(-a, -b). With one number as a constant it is a bound. a is no constant.
 */
static spade_status build_extreme(spade_import *import, const onnx_node *node, bool max, int a, int b,
                                  const spade_extent *joined, int *out)
{
    const spade_value *bound = &import->network->values[b];
    if (bound->constant && spade_shape_size(&bound->shape) == 1 &&
        bound->shape.rank <= import->network->values[a].shape.rank) {
        const float number = bound->constant[0];
        return spade_build_function(import, node, a, SPADE_CLIP, max ? number : -FLT_MAX, max ? FLT_MAX : number, out);
    }
    int values[2] = {a, b};
    const int ranks[2] = {import->network->values[a].shape.rank, bound->shape.rank};
    const int rank = ranks[0] > ranks[1] ? ranks[0] : ranks[1];
    for (int i = 0; i < 2; i++) { SPADE_TRY(spade_build_rank(import, node, values[i], rank, &values[i])); }
    SPADE_TRY(build_expanded(import, node, values[0], values[1], &values[0]));
    SPADE_TRY(build_expanded(import, node, values[1], values[0], &values[1]));
    const int batch = spade_value_extent(import, values[0]).batch_axis;
    const int64_t axis = batch < 0 ? 0 : batch + 1; /* of the two */
    for (int i = 0; i < 2; i++) {
        if (!max && is_constant(import, values[i])) {
            SPADE_TRY(map_constant(import, node, &values[i], negative));
        } else if (!max) {
            SPADE_TRY(spade_build_function(import, node, values[i], SPADE_NEG, 0, 0, &values[i]));
        }
        const spade_extent x = spade_value_extent(import, values[i]);
        spade_extent y;
        SPADE_TRY(spade_extent_unsqueeze(import, node, &x, &axis, 1, &y));
        SPADE_TRY(spade_build_reshape(import, node, values[i], &y, &values[i]));
    }
    SPADE_TRY(spade_build_concat(import, node, values, 2, (int)axis, out));
    SPADE_TRY(spade_build_max(import, node, *out, 1u << axis, out));
    SPADE_TRY(spade_build_drop_axis(import, node, *out, (int)axis, out));
    if (!max) { SPADE_TRY(spade_build_function(import, node, *out, SPADE_NEG, 0, 0, out)); }
    return join(import, node, *out, joined, out);
}

/* Sum, Mean, Max, Min: of any number of values and constants, from the first value on one after the other. */
static spade_status lower_variadic(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const bool max = strcmp(node->op_type, "Max") == 0, extreme = max || strcmp(node->op_type, "Min") == 0;
    int first = -1, result = -1;
    for (int k = 0; k < node->input_count && result < 0; k++) {
        spade_operand operand = {.value = -1};
        SPADE_TRY(spade_operand_get(import, node, k, &operand));
        first = k;
        result = operand.value;
    }
    if (!node->input_count) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "it has no inputs"); }
    if (result < 0) { /* constants alone: one of them as a value */
        first = 0;
        SPADE_TRY(spade_activation_get(import, node, first, &result));
    }
    for (int k = 0; k < node->input_count; k++) {
        int next;
        spade_extent joined;
        if (k == first) { continue; }
        SPADE_TRY(spade_operand_beside(import, node, k, &result, &next, &joined));
        if (extreme) {
            SPADE_TRY(build_extreme(import, node, max, result, next, &joined, &result));
        } else {
            SPADE_TRY(build_joined(import, node, SPADE_NODE_ADD, result, next, &joined, &result));
        }
    }
    if (strcmp(node->op_type, "Mean") == 0) {
        SPADE_TRY(spade_build_scale(import, node, result, 1 / (float)node->input_count, &result));
    }
    return spade_bind_output(import, node, 0, result);
}

/* x to the power of one number. */
static spade_status lower_pow(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const onnx_tensor *exponent = NULL;
    int x, out;
    SPADE_TRY(spade_activation_get(import, node, 0, &x));
    SPADE_TRY(spade_constant_get(import, node, 1, &exponent));
    if (exponent->count != 1 || !exponent->bytes || exponent->rank > import->network->values[x].shape.rank) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its exponent is no number");
    }
    const float power = onnx_tensor_float(exponent, 0);
    if (power == 2) {
        SPADE_TRY(spade_build_binary(import, node, SPADE_NODE_MUL, x, x, &out));
    } else if (power == 3) {
        SPADE_TRY(spade_build_binary(import, node, SPADE_NODE_MUL, x, x, &out));
        SPADE_TRY(spade_build_binary(import, node, SPADE_NODE_MUL, out, x, &out));
    } else if (power == 1) {
        out = x;
    } else if (power == 0.5f) {
        SPADE_TRY(spade_build_function(import, node, x, SPADE_SQRT, 0, 0, &out));
    } else {
        SPADE_TRY(spade_build_function(import, node, x, SPADE_POW, power, 0, &out));
    }
    return spade_bind_output(import, node, 0, out);
}

/* relu(x) + slope * min(x, 0) = relu(x) - slope * relu(-x). */
static spade_status lower_prelu(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const onnx_tensor *slope = NULL;
    int x, negative_part, positive_part, factor;
    SPADE_TRY(spade_activation_get(import, node, 0, &x));
    SPADE_TRY(spade_constant_get(import, node, 1, &slope));
    const spade_extent beside = spade_value_extent(import, x);
    if (slope->rank > beside.rank) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its slope has more axes than its input");
    }
    if (slope->count == 1) {
        SPADE_TRY(spade_require_float(import, node, slope));
        SPADE_TRY(spade_build_function(import, node, x, SPADE_LEAKY_RELU, onnx_tensor_float(slope, 0), 0, &x));
        return spade_bind_output(import, node, 0, x);
    }
    SPADE_TRY(spade_constant_value(import, node, slope, &beside, &factor));
    SPADE_TRY(map_constant(import, node, &factor, negative));
    SPADE_TRY(spade_build_function(import, node, x, SPADE_NEG, 0, 0, &negative_part));
    SPADE_TRY(spade_build_function(import, node, negative_part, SPADE_RELU, 0, 0, &negative_part));
    SPADE_TRY(spade_build_binary(import, node, SPADE_NODE_MUL, negative_part, factor, &negative_part));
    SPADE_TRY(spade_build_function(import, node, x, SPADE_RELU, 0, 0, &positive_part));
    return bind_binary(import, node, SPADE_NODE_ADD, positive_part, negative_part, &not_joined);
}

/* ---- Where */

/* Where(IsNaN(softmax), 0, softmax), which exporters write for masked attention: our softmax of a row that is masked whole is 0. */
static bool is_guarded_softmax(const spade_import *import, const onnx_node *node, const spade_operand sides[2])
{
    const onnx_tensor *instead = sides[0].tensor;
    bool zeros = sides[1].value >= 0 && instead && instead->type == ONNX_FLOAT && instead->bytes;
    for (int64_t e = 0; zeros && e < instead->count; e++) { zeros = onnx_tensor_float(instead, e) == 0; }
    if (!zeros) { return false; }
    const int guard = spade_name_map_get(&import->producers, node->inputs[0]);
    const int source = spade_name_map_get(&import->producers, node->inputs[2]);
    return guard >= 0 && source >= 0 && strcmp(import->onnx->nodes[guard].op_type, "IsNaN") == 0 &&
           import->onnx->nodes[guard].input_count == 1 &&
           strcmp(import->onnx->nodes[guard].inputs[0], node->inputs[2]) == 0 &&
           strcmp(import->onnx->nodes[source].op_type, "Softmax") == 0;
}

/* A tensor of 0 and 1, or of what is put in where the condition is (or is not) met. */
static spade_status select_constant(spade_import *import, const onnx_node *node, const onnx_tensor *condition, bool met,
                                    const onnx_tensor *numbers, const spade_extent *beside, int *out)
{
    onnx_tensor made = *condition;
    float *elements = malloc(((size_t)condition->count + 1) * sizeof *elements);
    if (!elements) { return spade_import_memory(import); }
    for (int64_t e = 0; e < condition->count; e++) {
        const bool here = (onnx_tensor_int(condition, e) != 0) == met;
        elements[e] = !here ? 0 : numbers ? onnx_tensor_float(numbers, numbers->count == 1 ? 0 : e) : 1;
    }
    made.type = ONNX_FLOAT;
    made.bytes = elements;
    made.size = (size_t)condition->count * sizeof *elements;
    spade_status status = spade_constant_value(import, node, &made, beside, out);
    free(elements);
    return status;
}

/* How the operands lie: the condition is a constant, one of the others too or none. x met + y (1 - met). */
static spade_status lower_where(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const onnx_tensor *condition = NULL;
    spade_operand sides[2] = {{.value = -1}, {.value = -1}};
    int parts[2], mask;
    for (int k = 0; k < 2; k++) { SPADE_TRY(spade_operand_get(import, node, k + 1, &sides[k])); }
    if (is_guarded_softmax(import, node, sides)) { return spade_bind_output(import, node, 0, sides[1].value); }
    const int value = sides[0].value >= 0 ? sides[0].value : sides[1].value;
    if (value < 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its condition depends on the picture");
    }
    const spade_extent beside = spade_value_extent(import, value);
    SPADE_TRY(spade_grown_constant_get(import, node, 0, &beside, &condition));
    if (condition->type != ONNX_BOOL || !condition->bytes) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its condition is no constant of booleans");
    }
    for (int k = 0; k < 2; k++) {
        const onnx_tensor *tensor = NULL;
        if (sides[k].value < 0) {
            SPADE_TRY(spade_grown_constant_get(import, node, k + 1, &beside, &tensor));
            SPADE_TRY(spade_require_float(import, node, tensor));
            bool same = tensor->rank == condition->rank;
            for (int i = 0; same && i < tensor->rank; i++) { same = tensor->dims[i] == condition->dims[i]; }
            if (!same && tensor->count != 1) {
                return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                         "its constant is neither one number nor of its condition's shape");
            }
            SPADE_TRY(select_constant(import, node, condition, k == 0, tensor, &beside, &parts[k]));
            continue;
        }
        SPADE_TRY(select_constant(import, node, condition, k == 0, NULL, &beside, &mask));
        SPADE_TRY(spade_build_binary(import, node, SPADE_NODE_MUL, sides[k].value, mask, &parts[k]));
    }
    return bind_binary(import, node, SPADE_NODE_ADD, parts[0], parts[1], &not_joined);
}

/* Bound to nothing: only the Where above reads it, which knows what it means. */
static spade_status lower_is_nan(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    int value;
    return spade_activation_get(import, node, 0, &value);
}

const spade_onnx_operator spade_arithmetic_operators[] = {{"Add", lower_add_or_mul},
                                                          {"Div", lower_sub_or_div},
                                                          {"IsNaN", lower_is_nan},
                                                          {"Max", lower_variadic},
                                                          {"Mean", lower_variadic},
                                                          {"Min", lower_variadic},
                                                          {"Mul", lower_add_or_mul},
                                                          {"PRelu", lower_prelu},
                                                          {"Pow", lower_pow},
                                                          {"Sub", lower_sub_or_div},
                                                          {"Sum", lower_variadic},
                                                          {"Where", lower_where},
                                                          {0}};
