/* attention.c - Attention (opset 23): softmax(scale q k^T + mask) v, in its parts, so that each has its own value. */
#include <math.h>

#include "import/build.h"
#include "import/operators/operators.h"

typedef struct attention {
    float scale;
    int64_t heads[2]; /* of queries, of keys and values; 0: the inputs have an axis of heads */
    int64_t causal;
} attention;

static spade_status read_attention(spade_import *import, const onnx_node *node, attention *out)
{
    spade_context *context = import->context;
    int64_t mode;
    float cap;
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(context, node, "scale", 0, &out->scale)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(context, node, "softcap", 0, &cap)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "q_num_heads", 0, &out->heads[0])));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "kv_num_heads", 0, &out->heads[1])));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "is_causal", 0, &out->causal)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "qk_matmul_output_mode", 0, &mode)));
    for (int i = 4; i < node->input_count; i++) {
        if (spade_has_input(node, i)) {
            return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                     "keys and values of the past are not supported");
        }
    }
    return cap == 0 ? SPADE_OK : spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "softcap is not supported");
}

/* [batch, tokens, heads * d] -> [batch, heads, tokens, d] */
static spade_status split_heads(spade_import *import, const onnx_node *node, int64_t heads, int *value)
{
    const spade_extent x = spade_value_extent(import, *value);
    const int order[4] = {0, 2, 1, 3};
    if (x.rank == 4) { return SPADE_OK; }
    if (x.rank != 3 || heads < 1 || x.dims[2] % heads || x.batch_axis != 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "an input of %d axes and %lld heads is not supported", x.rank, (long long)heads);
    }
    const spade_extent y = {.rank = 4,
                            .dims = {x.dims[0], x.dims[1], heads, x.dims[2] / heads},
                            .batch_axis = 0,
                            .batch_outer = x.batch_outer};
    SPADE_TRY(spade_build_reshape(import, node, *value, &y, value));
    return spade_build_permute(import, node, *value, order, value);
}

static spade_status join_heads(spade_import *import, const onnx_node *node, int *value)
{
    const int order[4] = {0, 2, 1, 3};
    SPADE_TRY(spade_build_permute(import, node, *value, order, value));
    const spade_extent x = spade_value_extent(import, *value);
    const spade_extent y = {.rank = 3,
                            .dims = {x.dims[0], x.dims[1], x.dims[2] * x.dims[3]},
                            .batch_axis = x.batch_axis,
                            .batch_outer = x.batch_outer};
    return spade_build_reshape(import, node, *value, &y, value);
}

/* What is added to the scores: numbers, or -inf where a boolean says no. */
static spade_status add_mask(spade_import *import, const onnx_node *node, int *scores)
{
    spade_operand operand = {.value = -1};
    const spade_extent beside = spade_value_extent(import, *scores);
    const onnx_tensor *mask = NULL;
    int summand;
    SPADE_TRY(spade_operand_get(import, node, 3, &operand));
    if (operand.value >= 0) { return spade_build_binary(import, node, SPADE_NODE_ADD, *scores, operand.value, scores); }
    SPADE_TRY(spade_grown_constant_get(import, node, 3, &beside, &mask));
    if (mask->type != ONNX_BOOL) {
        SPADE_TRY(spade_constant_value(import, node, mask, &beside, &summand));
        return spade_build_binary(import, node, SPADE_NODE_ADD, *scores, summand, scores);
    }
    float *numbers = malloc(((size_t)mask->count + 1) * sizeof *numbers);
    if (!numbers || !mask->bytes) {
        free(numbers);
        return spade_import_memory(import);
    }
    bool all = true;
    for (int64_t e = 0; e < mask->count; e++) {
        const bool seen = onnx_tensor_int(mask, e) != 0;
        numbers[e] = seen ? 0 : -INFINITY;
        all = all && seen;
    }
    onnx_tensor made = *mask;
    made.type = ONNX_FLOAT;
    made.bytes = numbers;
    spade_status status = all ? SPADE_OK : spade_constant_value(import, node, &made, &beside, &summand);
    free(numbers);
    SPADE_TRY(status);
    return all ? SPADE_OK : spade_build_binary(import, node, SPADE_NODE_ADD, *scores, summand, scores);
}

static spade_status lower_attention(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    const int transposed[4] = {0, 1, 3, 2};
    attention a;
    int parts[3], y;
    SPADE_TRY(read_attention(import, node, &a));
    for (int i = 0; i < 3; i++) { SPADE_TRY(spade_activation_get(import, node, i, &parts[i])); }
    const bool joined = import->network->values[parts[0]].shape.rank == 3;
    for (int i = 0; i < 3; i++) { SPADE_TRY(split_heads(import, node, a.heads[i > 0], &parts[i])); }
    const spade_extent q = spade_value_extent(import, parts[0]), k = spade_value_extent(import, parts[1]);
    if (q.dims[1] != k.dims[1] || a.causal) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "%s is not supported",
                                 a.causal ? "a causal attention" : "an attention of grouped queries");
    }
    const float scale = onnx_find_attribute(node, "scale") ? a.scale : 1 / sqrtf((float)q.dims[3]);
    SPADE_TRY(spade_build_scale(import, node, parts[0], scale, &parts[0]));
    SPADE_TRY(spade_build_permute(import, node, parts[1], transposed, &parts[1]));
    SPADE_TRY(spade_build_matmul(import, node, parts[0], parts[1], &y));
    if (spade_has_input(node, 3)) { SPADE_TRY(add_mask(import, node, &y)); }
    SPADE_TRY(spade_build_softmax(import, node, y, 3, &y));
    SPADE_TRY(spade_build_matmul(import, node, y, parts[2], &y));
    if (joined) { SPADE_TRY(join_heads(import, node, &y)); }
    return spade_bind_output(import, node, 0, y);
}

const spade_onnx_operator spade_attention_operators[] = {{"Attention", lower_attention}, {0}};
