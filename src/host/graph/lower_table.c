/* lower_table.c - which ONNX operators spade computes. */
#include "graph/lower.h"

static const struct {
    const char *op_type;
    spade_lower_fn lower;
} operators[] = {
    {"Add", spade_lower_add},
    {"AveragePool", spade_lower_average_pool},
    {"BatchNormalization", spade_lower_batch_norm},
    {"Clip", spade_lower_clip},
    {"Constant", spade_lower_constant},
    {"Conv", spade_lower_conv},
    {"Dropout", spade_lower_dropout},
    {"Flatten", spade_lower_flatten},
    {"Gemm", spade_lower_gemm},
    {"GlobalAveragePool", spade_lower_global_average_pool},
    {"HardSigmoid", spade_lower_hard_sigmoid},
    {"HardSwish", spade_lower_hard_swish},
    {"Identity", spade_lower_identity},
    {"MatMul", spade_lower_matmul},
    {"MaxPool", spade_lower_max_pool},
    {"Mul", spade_lower_mul},
    {"Relu", spade_lower_relu},
    {"Reshape", spade_lower_reshape},
    {"Sigmoid", spade_lower_sigmoid},
    {"Softmax", spade_lower_softmax},
};

spade_lower_fn spade_find_lowering(const onnx_node *node)
{
    const char *domain = node->domain ? node->domain : "";
    if (domain[0] && strcmp(domain, "ai.onnx") != 0) { return NULL; }
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (strcmp(node->op_type, operators[i].op_type) == 0) { return operators[i].lower; }
    }
    return NULL;
}
