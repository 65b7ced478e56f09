/* table.c - which ONNX operators spade computes. */
#include "import/import.h"

static const struct {
    const char *op_type;
    spade_import_fn lower;
} operators[] = {
    {"Add", spade_import_add},
    {"AveragePool", spade_import_average_pool},
    {"BatchNormalization", spade_import_batch_norm},
    {"Clip", spade_import_clip},
    {"Constant", spade_import_constant},
    {"Conv", spade_import_conv},
    {"Dropout", spade_import_dropout},
    {"Flatten", spade_import_flatten},
    {"Gemm", spade_import_gemm},
    {"GlobalAveragePool", spade_import_global_average_pool},
    {"HardSigmoid", spade_import_hard_sigmoid},
    {"HardSwish", spade_import_hard_swish},
    {"Identity", spade_import_identity},
    {"MatMul", spade_import_matmul},
    {"MaxPool", spade_import_max_pool},
    {"Mul", spade_import_mul},
    {"Relu", spade_import_relu},
    {"Reshape", spade_import_reshape},
    {"Sigmoid", spade_import_sigmoid},
    {"Softmax", spade_import_softmax},
};

spade_import_fn spade_find_operator(const onnx_node *node)
{
    const char *domain = node->domain ? node->domain : "";
    if (domain[0] && strcmp(domain, "ai.onnx") != 0) { return NULL; }
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (strcmp(node->op_type, operators[i].op_type) == 0) { return operators[i].lower; }
    }
    return NULL;
}
