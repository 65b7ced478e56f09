/* attention.c - Attention (opset 23): softmax(scale q k^T + mask) v, in its parts, so that each has its own value. */
#include <math.h>

#include "import/build.h"
#include "import/operators/operators.h"

typedef struct attention {
    float scale, cap;
    int64_t heads[2]; /* of queries, of keys and values; 0: the inputs have an axis of heads */
    int64_t causal;
} attention;

/* What a later opset adds changes the result: it must not be passed over. */
static spade_status check_attributes(spade_import *import, const onnx_node *node)
{
    static const char *const known[] = {"scale",     "softcap",           "q_num_heads",          "kv_num_heads",
                                        "is_causal", "softmax_precision", "qk_matmul_output_mode"};
    for (int i = 0; i < node->attribute_count; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
            found = found || strcmp(node->attributes[i].name, known[k]) == 0;
        }
        if (!found) {
            return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "attribute \"%.60s\" is not supported",
                                     node->attributes[i].name);
        }
    }
    return SPADE_OK;
}

static spade_status read_attention(spade_import *import, const onnx_node *node, attention *out)
{
    spade_context *context = import->context;
    SPADE_TRY(check_attributes(import, node));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(context, node, "scale", 0, &out->scale)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_float(context, node, "softcap", 0, &out->cap)));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "q_num_heads", 0, &out->heads[0])));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "kv_num_heads", 0, &out->heads[1])));
    SPADE_TRY(spade_import_attribute(import, onnx_get_int(context, node, "is_causal", 0, &out->causal)));
    if (!(out->cap >= 0)) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its softcap is %g", (double)out->cap);
    }
    for (int i = 4; i < node->input_count; i++) {
        if (spade_has_input(node, i)) {
            return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                     "keys and values of the past are not supported");
        }
    }
    return SPADE_OK;
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

/* -inf where a key stands behind its query. */
static spade_status add_causal_mask(spade_import *import, const onnx_node *node, int *scores)
{
    const spade_extent x = spade_value_extent(import, *scores);
    const int64_t queries = x.dims[2], keys = x.dims[3];
    const spade_shape shape = {.rank = 4, .dims = {1, 1, queries, keys}};
    int mask;
    SPADE_TRY(spade_check_axis(import, node, *scores, 2, "a causal mask"));
    float *numbers = malloc((size_t)(queries * keys) * sizeof *numbers);
    if (!numbers) { return spade_import_memory(import); }
    for (int64_t e = 0; e < queries * keys; e++) { numbers[e] = e % keys > e / keys ? -INFINITY : 0; }
    spade_status status = spade_make_constant(import, node, "", &shape, numbers, &mask);
    free(numbers);
    SPADE_TRY(status);
    return spade_build_binary(import, node, SPADE_NODE_ADD, *scores, mask, scores);
}

/* cap * tanh(x / cap) */
static spade_status cap_scores(spade_import *import, const onnx_node *node, float cap, int *scores)
{
    SPADE_TRY(spade_build_scale(import, node, *scores, 1 / cap, scores));
    SPADE_TRY(spade_build_function(import, node, *scores, SPADE_TANH, 0, 0, scores));
    return spade_build_scale(import, node, *scores, cap, scores);
}

/* Several heads of queries share one of keys and values, which is repeated for each of them. */
static spade_status repeat_heads(spade_import *import, const onnx_node *node, int64_t heads, int *value)
{
    const int64_t own = import->network->values[*value].shape.dims[1];
    if (own == heads) { return SPADE_OK; }
    if (own > heads || heads % own) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "%lld heads of queries cannot share %lld of keys",
                                 (long long)heads, (long long)own);
    }
    int64_t *indices = malloc((size_t)heads * sizeof *indices);
    if (!indices) { return spade_import_memory(import); }
    for (int64_t h = 0; h < heads; h++) { indices[h] = h / (heads / own); }
    spade_status status = spade_build_select(import, node, *value, 1, indices, heads, 0, value);
    free(indices);
    return status;
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
    const spade_extent q = spade_value_extent(import, parts[0]);
    if (q.rank != 4) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its queries have %d axes", q.rank); }
    for (int i = 1; i < 3; i++) { SPADE_TRY(repeat_heads(import, node, q.dims[1], &parts[i])); }
    const float scale = onnx_find_attribute(node, "scale") ? a.scale : 1 / sqrtf((float)q.dims[3]);
    SPADE_TRY(spade_build_scale(import, node, parts[0], scale, &parts[0]));
    SPADE_TRY(spade_build_permute(import, node, parts[1], transposed, &parts[1]));
    SPADE_TRY(spade_build_matmul(import, node, parts[0], parts[1], &y));
    if (a.cap != 0) { SPADE_TRY(cap_scores(import, node, a.cap, &y)); }
    if (spade_has_input(node, 3)) { SPADE_TRY(add_mask(import, node, &y)); }
    if (a.causal) { SPADE_TRY(add_causal_mask(import, node, &y)); }
    SPADE_TRY(spade_build_softmax(import, node, y, 3, &y));
    SPADE_TRY(spade_build_matmul(import, node, y, parts[2], &y));
    if (joined) { SPADE_TRY(join_heads(import, node, &y)); }
    return spade_bind_output(import, node, 0, y);
}

const spade_onnx_operator spade_attention_operators[] = {{"Attention", lower_attention}, {0}};
