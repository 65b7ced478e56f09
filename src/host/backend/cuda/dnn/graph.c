/* graph.c - a convolution as an operation graph: convolution [-> add bias [-> relu]], or convolution backward. */
#include "backend/cuda/dnn/dnn.h"

cudnnStatus_t spade_dnn_set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                            cudnnBackendAttributeType_t type, int64_t count, const void *elements)
{
    return cudnnBackendSetAttribute(descriptor, name, type, count, elements);
}

/* Hand a cuDNN status other than success on. */
#define DNN_TRY(expression)                                                                                            \
    do {                                                                                                               \
        cudnnStatus_t dnn_try_ = (expression);                                                                         \
        if (dnn_try_ != CUDNN_STATUS_SUCCESS) { return dnn_try_; }                                                     \
    } while (0)

static cudnnStatus_t add_part(spade_dnn_graph *graph, cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out)
{
    DNN_TRY(cudnnBackendCreateDescriptor(type, out));
    graph->parts[graph->count++] = *out;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t set_descriptor(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                    cudnnBackendDescriptor_t value)
{
    return spade_dnn_set(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

/* dims [N, C, H, W], or [outputs, inputs, kh, kw] of weights, packed in the layout. */
static cudnnStatus_t add_tensor(spade_dnn_graph *graph, const spade_dnn_variant *variant, const int64_t dims[4],
                                int64_t name, bool half, cudnnBackendDescriptor_t *out)
{
    int64_t plane = dims[2] * dims[3], image = dims[1] * plane, alignment = 16;
    int64_t strides[4] = {image, plane, dims[3], 1};
    if (variant->layout == SPADE_CHANNELS_LAST) {
        strides[1] = 1;
        strides[2] = dims[3] * dims[1];
        strides[3] = dims[1];
    }
    cudnnDataType_t type = half ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    bool is_virtual = name == SPADE_DNN_SUM || name == SPADE_DNN_BIASED;
    DNN_TRY(add_part(graph, CUDNN_BACKEND_TENSOR_DESCRIPTOR, out));
    DNN_TRY(spade_dnn_set(*out, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type));
    DNN_TRY(spade_dnn_set(*out, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims));
    DNN_TRY(spade_dnn_set(*out, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides));
    DNN_TRY(spade_dnn_set(*out, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &name));
    DNN_TRY(spade_dnn_set(*out, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment));
    if (is_virtual) { DNN_TRY(spade_dnn_set(*out, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual)); }
    return cudnnBackendFinalize(*out);
}

static cudnnStatus_t add_window(spade_dnn_graph *graph, const spade_window *window, bool padded,
                                cudnnBackendDescriptor_t *out)
{
    static const int64_t none[2] = {0, 0};
    const int64_t *before = padded ? none : window->pad, *after = padded ? none : window->pad + 2;
    int64_t axes = 2;
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    DNN_TRY(add_part(graph, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, out));
    DNN_TRY(spade_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &axes));
    DNN_TRY(spade_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums));
    DNN_TRY(spade_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode));
    DNN_TRY(spade_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before));
    DNN_TRY(spade_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, after));
    DNN_TRY(spade_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, window->dilation));
    DNN_TRY(spade_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, window->stride));
    return cudnnBackendFinalize(*out);
}

/* out = conv(in, weights), or its backward where in is dy and out dx. */
static cudnnStatus_t add_convolution(spade_dnn_graph *graph, bool backward, cudnnBackendDescriptor_t window,
                                     const cudnnBackendDescriptor_t tensors[3] /* in, weights, out */,
                                     cudnnBackendDescriptor_t *out)
{
    static const cudnnBackendAttributeName_t names[2][6] = {
        {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
        {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA}};
    const cudnnBackendAttributeName_t *name = names[backward];
    float alpha = 1, beta = 0;
    DNN_TRY(add_part(graph,
                     backward ? CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR
                              : CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                     out));
    DNN_TRY(set_descriptor(*out, name[0], window));
    for (int i = 0; i < 3; i++) { DNN_TRY(set_descriptor(*out, name[1 + i], tensors[i])); }
    DNN_TRY(spade_dnn_set(*out, name[4], CUDNN_TYPE_FLOAT, 1, &alpha));
    DNN_TRY(spade_dnn_set(*out, name[5], CUDNN_TYPE_FLOAT, 1, &beta));
    return cudnnBackendFinalize(*out);
}

/* y = x + b, or y = relu(x) where b is NULL. */
static cudnnStatus_t add_pointwise(spade_dnn_graph *graph, cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
                                   cudnnBackendDescriptor_t y, cudnnBackendDescriptor_t *out)
{
    cudnnPointwiseMode_t mode = b ? CUDNN_POINTWISE_ADD : CUDNN_POINTWISE_RELU_FWD;
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t function;
    DNN_TRY(add_part(graph, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, &function));
    DNN_TRY(spade_dnn_set(function, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode));
    DNN_TRY(spade_dnn_set(function, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type));
    DNN_TRY(cudnnBackendFinalize(function));
    DNN_TRY(add_part(graph, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, out));
    DNN_TRY(set_descriptor(*out, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function));
    DNN_TRY(set_descriptor(*out, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x));
    if (b) { DNN_TRY(set_descriptor(*out, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b)); }
    DNN_TRY(set_descriptor(*out, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y));
    return cudnnBackendFinalize(*out);
}

spade_shape spade_dnn_input_shape(const spade_op_desc *desc, const spade_dnn_variant *variant)
{
    spade_shape shape = desc->a;
    shape.layout = variant->layout;
    if (variant->padded) {
        shape.dims[2] += desc->window.pad[0] + desc->window.pad[2];
        shape.dims[3] += desc->window.pad[1] + desc->window.pad[3];
    }
    return shape;
}

/* The operations of a graph, in their order; returns how many through *count. */
static cudnnStatus_t add_operations(spade_dnn_graph *graph, const spade_op_desc *desc, const spade_dnn_variant *variant,
                                    cudnnBackendDescriptor_t operations[3], int64_t *count)
{
    bool backward = desc->kind == SPADE_OP_CONVOLUTION_BACKWARD, relu = variant->fused && desc->relu;
    spade_shape x = spade_dnn_input_shape(desc, variant);
    const int64_t *in_dims = backward ? desc->y.dims : x.dims, *out_dims = backward ? x.dims : desc->y.dims;
    int64_t weight_dims[4] = {desc->y.dims[1], desc->a.dims[1] / desc->groups, desc->window.kernel[0],
                              desc->window.kernel[1]};
    int64_t bias_dims[4] = {1, desc->y.dims[1], 1, 1};
    cudnnBackendDescriptor_t in, weights, sum, window, bias, biased, out;
    DNN_TRY(add_tensor(graph, variant, in_dims, SPADE_DNN_IN, variant->half, &in));
    DNN_TRY(add_tensor(graph, variant, weight_dims, SPADE_DNN_WEIGHTS, variant->half, &weights));
    DNN_TRY(add_tensor(graph, variant, out_dims, SPADE_DNN_OUT, variant->half, &out));
    DNN_TRY(add_window(graph, &desc->window, variant->padded, &window));
    *count = 1;
    if (!variant->fused) {
        return add_convolution(graph, backward, window, (cudnnBackendDescriptor_t[]){in, weights, out}, operations);
    }
    DNN_TRY(add_tensor(graph, variant, out_dims, SPADE_DNN_SUM, false, &sum));
    DNN_TRY(add_tensor(graph, variant, bias_dims, SPADE_DNN_BIAS, false, &bias));
    DNN_TRY(add_convolution(graph, false, window, (cudnnBackendDescriptor_t[]){in, weights, sum}, operations));
    *count = 2;
    if (!relu) { return add_pointwise(graph, sum, bias, out, operations + 1); }
    DNN_TRY(add_tensor(graph, variant, out_dims, SPADE_DNN_BIASED, false, &biased));
    DNN_TRY(add_pointwise(graph, sum, bias, biased, operations + 1));
    *count = 3;
    return add_pointwise(graph, biased, NULL, out, operations + 2);
}

static cudnnStatus_t build(cudnnHandle_t handle, const spade_op_desc *desc, const spade_dnn_variant *variant,
                           spade_dnn_graph *graph)
{
    cudnnBackendDescriptor_t operations[3];
    int64_t count;
    DNN_TRY(add_operations(graph, desc, variant, operations, &count));
    DNN_TRY(add_part(graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &graph->graph));
    DNN_TRY(spade_dnn_set(graph->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle));
    DNN_TRY(
        spade_dnn_set(graph->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, operations));
    return cudnnBackendFinalize(graph->graph);
}

cudnnStatus_t spade_dnn_graph_create(cudnnHandle_t handle, const spade_op_desc *desc, const spade_dnn_variant *variant,
                                     spade_dnn_graph *out)
{
    *out = (spade_dnn_graph){0};
    cudnnStatus_t result = build(handle, desc, variant, out);
    if (result != CUDNN_STATUS_SUCCESS) { spade_dnn_graph_destroy(out); }
    return result;
}

void spade_dnn_graph_destroy(spade_dnn_graph *graph)
{
    /* What is made of others goes before them. */
    while (graph->count) { (void)cudnnBackendDestroyDescriptor(graph->parts[--graph->count]); }
    graph->graph = NULL;
}
