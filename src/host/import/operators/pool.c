/* pool.c - MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool. */
#include "import/build.h"
#include "import/operators/operators.h"

/* The value as an image of two axes, and the window of a pooling, which has to see at least one pixel wherever it stands. */
static spade_status read_pool(spade_import *import, const onnx_node *node, spade_image *image, int *value,
                              spade_window *window, spade_extent *y, bool *ceil_extra)
{
    SPADE_TRY(spade_activation_get(import, node, 0, value));
    SPADE_TRY(spade_image_kernel(import, node, import->network->values[*value].shape.rank, image));
    SPADE_TRY(spade_image_enter(import, node, image, value));
    *y = spade_value_extent(import, *value);
    SPADE_TRY(spade_window_read(import, node, image, &import->network->values[*value].shape, window, &y->dims[2],
                                ceil_extra));
    for (int i = 0; i < 4; i++) {
        if (window->pad[i] >= (window->kernel[i & 1] - 1) * window->dilation[i & 1] + 1) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its padding of %lld is as large as its window",
                                     (long long)window->pad[i]);
        }
    }
    return SPADE_OK;
}

/* The pooling, which reads the image, under the operator's own axes. */
static spade_status bind_pool(spade_import *import, const onnx_node *node, const spade_image *image, spade_node *pool,
                              int value, const spade_extent *y)
{
    SPADE_TRY(spade_make(import, node, pool, &value, 1, y, &value));
    SPADE_TRY(spade_image_leave(import, node, image, &value));
    return spade_bind_output(import, node, 0, value);
}

static spade_status lower_max_pool(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_node result = {.kind = SPADE_NODE_MAX_POOL, .layer = -1};
    spade_image image;
    spade_extent y;
    int value;
    bool ceil_extra;
    SPADE_TRY(read_pool(import, node, &image, &value, &result.pool.window, &y, &ceil_extra));
    return bind_pool(import, node, &image, &result, value, &y);
}

/* Does the file declare any padding? Without, count_include_pad says nothing. */
static spade_status declares_padding(spade_import *import, const onnx_node *node, bool *out)
{
    const int64_t *pads = NULL;
    int n = 0;
    SPADE_TRY(spade_import_attribute(import, onnx_get_ints(import->context, node, "pads", &pads, &n)));
    *out = false;
    for (int i = 0; i < n; i++) { *out = *out || pads[i] != 0; }
    return SPADE_OK;
}

static spade_status lower_average_pool(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    spade_node result = {.kind = SPADE_NODE_AVERAGE_POOL, .layer = -1};
    spade_image image;
    spade_extent y;
    int64_t count_padding;
    int value;
    bool ceil_extra, declared = false;
    SPADE_TRY(read_pool(import, node, &image, &value, &result.pool.window, &y, &ceil_extra));
    SPADE_TRY(
        spade_import_attribute(import, onnx_get_int(import->context, node, "count_include_pad", 0, &count_padding)));
    result.pool.count_padding = count_padding != 0;
    /* What ceil_mode adds never counts in the divisor, declared padding does: one window cannot say both. */
    if (ceil_extra && result.pool.count_padding) {
        SPADE_TRY(declares_padding(import, node, &declared));
        result.pool.count_padding = declared;
    }
    if (ceil_extra && declared) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "ceil_mode beyond the padding together with count_include_pad is not supported");
    }
    return bind_pool(import, node, &image, &result, value, &y);
}

/* Over all axes but batch and channels. */
static spade_status lower_global_pool(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    int x;
    SPADE_TRY(spade_activation_get(import, node, 0, &x));
    const int rank = import->network->values[x].shape.rank;
    if (rank < 3) { return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its input is no image"); }
    SPADE_TRY(spade_check_batch_first(import, node, x));
    const unsigned axes = ((1u << rank) - 1) & ~3u;
    if (strcmp(node->op_type, "GlobalMaxPool") == 0) {
        SPADE_TRY(spade_build_max(import, node, x, axes, &x));
    } else {
        SPADE_TRY(spade_build_mean(import, node, x, axes, &x));
    }
    return spade_bind_output(import, node, 0, x);
}

const spade_onnx_operator spade_pool_operators[] = {{"AveragePool", lower_average_pool},
                                                    {"GlobalAveragePool", lower_global_pool},
                                                    {"GlobalMaxPool", lower_global_pool},
                                                    {"MaxPool", lower_max_pool},
                                                    {0}};
