/*
 * known_operators.c - the operators by name, with the first opset that has them and what is asked of them beyond ONNX's own
 * definition. Where they are computed follows from the tables; a test compares the rows with the ONNX project's cases.
 */
#include "import/known_operators.h"

#include "import/fold/fold.h"
#include "import/head.h"

typedef struct row {
    const char *name;
    int opset;         /* the first that has it, or SPADE_MIN_OPSET */
    const char *limit; /* NULL: none of its own */
} row;

#define ONE_PICTURE "not along the batch"
#define WINDOWS "windows over one and two dimensions, and over more that are 1 long along the others"
#define CHANNELS_SECOND "the batch is its input's first axis"

static const row rows[] = {
    {"Abs", 7, NULL},
    {"Add", 7, NULL},
    {"And", 7, NULL},
    {"ArgMax", 7, "of a picture behind the logits only; the logits are the output then"},
    {"ArgMin", 7, NULL},
    {"Attention", 23, "its first output, without keys and values of the past"},
    {"AveragePool", 7, WINDOWS "; " CHANNELS_SECOND "; not ceil_mode beyond padding that counts"},
    {"BatchNormalization", 7, "not in training mode on a picture; constants also in training mode"},
    {"Cast", 7, "a picture to float types only"},
    {"CastLike", 15, "a picture to float types only"},
    {"Ceil", 7, NULL},
    {"Celu", 12, NULL},
    {"Clip", 7, "bounds are constants"},
    {"Col2Im", 18, "two dimensions; " CHANNELS_SECOND},
    {"Concat", 7, ONE_PICTURE},
    {"Constant", 7, "no text, no sparse tensors"},
    {"ConstantOfShape", 9, NULL},
    {"Conv", 7, WINDOWS "; the weight is a constant; " CHANNELS_SECOND},
    {"ConvTranspose", 7,
     "one and two dimensions; weight and bias are constants; " CHANNELS_SECOND
     "; a weight of several groups is not pruned"},
    {"Cos", 7, NULL},
    {"CumSum", 11, ONE_PICTURE},
    {"DequantizeLinear", 10, "int8, uint8 and int32; scales for the whole or for one axis"},
    {"Div", 7, NULL},
    {"Dropout", 7, "for inference, as the identity; without its mask"},
    {"Einsum", 12, "one or two operands, with an arrow; no ellipsis, no letter twice in one of them"},
    {"Elu", 7, NULL},
    {"Equal", 7, NULL},
    {"Erf", 9, NULL},
    {"Exp", 7, NULL},
    {"Expand", 8, ONE_PICTURE},
    {"Flatten", 7, NULL},
    {"Floor", 7, NULL},
    {"Gather", 7, "indices are constants; " ONE_PICTURE},
    {"GatherND", 11, "indices are constants; no batch_dims; " ONE_PICTURE},
    {"Gelu", 20, NULL},
    {"Gemm", 7, NULL},
    {"GlobalAveragePool", 7, CHANNELS_SECOND},
    {"GlobalMaxPool", 7, CHANNELS_SECOND},
    {"Greater", 7, NULL},
    {"GreaterOrEqual", 12, NULL},
    {"GroupNormalization", 18, "scale and bias are constants; " CHANNELS_SECOND},
    {"HardSigmoid", 7, NULL},
    {"HardSwish", 14, NULL},
    {"Identity", 7, "tensors"},
    {"InstanceNormalization", 7, "scale and bias are constants; " CHANNELS_SECOND},
    {"IsNaN", 9, "on a picture only in Where(IsNaN(softmax), 0, softmax)"},
    {"LayerNormalization", 17, "scale and bias are constants; its first output; " ONE_PICTURE},
    {"LeakyRelu", 7, NULL},
    {"Less", 7, NULL},
    {"LessOrEqual", 12, NULL},
    {"Log", 7, NULL},
    {"LogSoftmax", 7, ONE_PICTURE},
    {"LpNormalization", 7, ONE_PICTURE},
    {"MatMul", 7, NULL},
    {"Max", 7, NULL},
    {"MaxPool", 7, WINDOWS "; its first output; " CHANNELS_SECOND},
    {"Mean", 7, NULL},
    {"Min", 7, NULL},
    {"Mish", 18, NULL},
    {"Mod", 10, NULL},
    {"Mul", 7, NULL},
    {"Neg", 7, NULL},
    {"NonZero", 9, NULL},
    {"Not", 7, NULL},
    {"OneHot", 9, NULL},
    {"Or", 7, NULL},
    {"PRelu", 7, "the slope is a constant"},
    {"Pad", 7, "pads are constants; " ONE_PICTURE},
    {"Pow", 7, "the exponent is one constant number"},
    {"QuantizeLinear", 10,
     "in front of a DequantizeLinear of the same scale: both become the limits of the integers, but for the output"},
    {"RMSNormalization", 23, "the scale is a constant; " ONE_PICTURE},
    {"Range", 11, NULL},
    {"Reciprocal", 7, NULL},
    {"ReduceL1", 7, ONE_PICTURE},
    {"ReduceL2", 7, ONE_PICTURE},
    {"ReduceMax", 7, ONE_PICTURE},
    {"ReduceMean", 7, ONE_PICTURE},
    {"ReduceMin", 7, ONE_PICTURE},
    {"ReduceProd", 7, NULL},
    {"ReduceSum", 7, ONE_PICTURE},
    {"ReduceSumSquare", 7, ONE_PICTURE},
    {"Relu", 7, NULL},
    {"Reshape", 7, "pictures stay apart"},
    {"Resize", 10, ONE_PICTURE},
    {"Round", 11, NULL},
    {"ScatterElements", 11, NULL},
    {"ScatterND", 11, "on a picture without a reduction; indices are constants, each point in its own picture"},
    {"Selu", 7, NULL},
    {"Shape", 7, NULL},
    {"Sigmoid", 7, NULL},
    {"Sign", 9, NULL},
    {"Sin", 7, NULL},
    {"Size", 7, NULL},
    {"Slice", 7, "bounds are constants; " ONE_PICTURE},
    {"Softmax", 7, ONE_PICTURE},
    {"Softplus", 7, NULL},
    {"Softsign", 7, NULL},
    {"Split", 7, ONE_PICTURE},
    {"Sqrt", 7, NULL},
    {"Squeeze", 7, NULL},
    {"Sub", 7, NULL},
    {"Sum", 7, NULL},
    {"Swish", 24, NULL},
    {"Tanh", 7, NULL},
    {"ThresholdedRelu", 10, NULL},
    {"Tile", 7, ONE_PICTURE},
    {"Transpose", 7, NULL},
    {"Trilu", 14, NULL},
    {"Unsqueeze", 7, NULL},
    {"Upsample", 7, ONE_PICTURE},
    {"Where", 9, "on a picture the condition is a constant"},
    {"Xor", 7, NULL},
};

static bool folds(const char *name)
{
    const onnx_node node = {.op_type = (char *)(uintptr_t)name};
    unsigned shapes;
    return spade_fold_supports(&node, &shapes);
}

bool spade_known_operator_at(int index, spade_known_operator *out)
{
    if (index < 0 || (size_t)index >= sizeof rows / sizeof *rows) { return false; }
    const row *at = &rows[index];
    *out = (spade_known_operator){.name = at->name, .opset = at->opset, .limit = at->limit};
    out->flags = (spade_lowers(at->name) ? SPADE_OPERATOR_ON_PICTURE : 0u) |
                 (folds(at->name) ? SPADE_OPERATOR_ON_CONSTANTS : 0u) |
                 (spade_is_head_operator(at->name) ? SPADE_OPERATOR_AT_END : 0u);
    return true;
}
