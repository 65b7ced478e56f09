/* objective.c - from a class, or a layer and a channel, to numbers of the network. */
#include "visualize/objective.h"

#include "attribution/layer_value.h"

/* Distances between neighbours along each axis, in memory. */
static void find_strides(const spade_shape *shape, int64_t strides[SPADE_MAX_RANK])
{
    const int64_t *dims = shape->dims;
    memset(strides, 0, sizeof *strides * SPADE_MAX_RANK);
    if (shape->layout == SPADE_CHANNELS_LAST) {
        strides[0] = dims[1] * dims[2] * dims[3];
        strides[1] = 1;
        strides[2] = dims[3] * dims[1];
        strides[3] = dims[1];
        return;
    }
    int64_t stride = 1;
    for (int axis = shape->rank - 1; axis >= 0; axis--) {
        strides[axis] = stride;
        stride *= dims[axis];
    }
}

/* ---- a class */

static spade_status find_class(spade_context *context, const spade_model *model, int64_t index,
                               visualize_objective *out)
{
    const spade_network *network = &model->network;
    const int64_t outputs = spade_model_outputs(model), classes = spade_model_classes(model);
    if (index < 0 || index >= classes) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "class %lld: the network has the classes 0 to %lld",
                          (long long)index, (long long)classes - 1);
    }
    *out = (visualize_objective){.value = network->output,
                                 .size = outputs,
                                 .first = outputs == 1 ? 0 : index,
                                 .rows = 1,
                                 .columns = 1,
                                 .weight = outputs == 1 && index == 0 ? -1 : 1};
    return SPADE_OK;
}

/* ---- a channel of a layer */

/* The axes of a value that are positions; all others make its channels, in their order. */
typedef struct channel_axes {
    const spade_shape *shape;
    int first_axis, count; /* of positions */
} channel_axes;

/* False: nothing says which numbers are channels. Of a value without pixels there may be one axis that has several numbers. */
static bool find_axes(const spade_shape *shape, const spade_spatial *where, channel_axes *out)
{
    int several = 0;
    out->shape = shape;
    out->first_axis = where->axis;
    out->count = where->axis < 0 ? 0 : where->tokens ? 1 : 2;
    for (int axis = 0; axis < shape->rank; axis++) { several += shape->dims[axis] > 1; }
    return out->count > 0 || several <= 1;
}

static bool is_position(const channel_axes *axes, int axis)
{
    return axis >= axes->first_axis && axis < axes->first_axis + axes->count;
}

static int64_t count_channels(const channel_axes *axes)
{
    int64_t channels = 1;
    for (int axis = 0; axis < axes->shape->rank; axis++) {
        if (!is_position(axes, axis)) { channels *= axes->shape->dims[axis]; }
    }
    return channels;
}

static int64_t find_channel(const channel_axes *axes, const int64_t strides[SPADE_MAX_RANK], int64_t index)
{
    int64_t place = 0;
    for (int axis = axes->shape->rank - 1; axis >= 0; axis--) {
        if (is_position(axes, axis)) { continue; }
        place += index % axes->shape->dims[axis] * strides[axis];
        index /= axes->shape->dims[axis];
    }
    return place;
}

static spade_status fail_channels(spade_context *context, const char *name, const spade_shape *shape)
{
    char dims[SPADE_MAX_RANK * 24] = "";
    size_t used = 0;
    for (int i = 0; i < shape->rank; i++) {
        used += (size_t)snprintf(dims + used, sizeof dims - used, "%s%lld", i ? ", " : "", (long long)shape->dims[i]);
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT,
                      "layer %.200s: its value is [%s], of which nothing says what its channels are", name, dims);
}

static spade_status find_in_value(spade_context *context, const spade_model *model, const spade_spatial *where,
                                  const spade_objective *objective, visualize_objective *out)
{
    const spade_shape shape = spade_value_shape(&model->network.values[out->value], 1);
    int64_t strides[SPADE_MAX_RANK];
    channel_axes axes;
    if (!find_axes(&shape, where, &axes)) { return fail_channels(context, objective->layer, &shape); }
    const int64_t channels = count_channels(&axes);
    if (objective->index < 0 || objective->index >= channels) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%.200s:%lld: the layer has the channels 0 to %lld",
                          objective->layer, (long long)objective->index, (long long)channels - 1);
    }
    find_strides(&shape, strides);
    out->size = spade_shape_size(&shape);
    out->first = find_channel(&axes, strides, objective->index);
    out->rows = out->columns = 1;
    if (axes.count) {
        out->rows = where->height;
        out->columns = where->width;
        out->column_stride = strides[where->tokens ? where->axis : where->axis + 1];
        out->row_stride = where->tokens ? where->width * out->column_stride : strides[where->axis];
        out->first += where->first * out->column_stride;
    }
    out->central = objective->neuron;
    out->weight = out->central ? 1 : 1 / (double)(out->rows * out->columns);
    return SPADE_OK;
}

spade_status visualize_objective_find(spade_context *context, const spade_model *model,
                                      const spade_objective *objective, visualize_objective *out)
{
    if (!objective->layer) { return find_class(context, model, objective->index, out); }
    const attribution_job job = {.context = context, .model = model};
    spade_spatial_map map = {0};
    *out = (visualize_objective){0};
    SPADE_TRY(attribution_layer_value(&job, objective->layer, &out->value));
    spade_status status = spade_spatial_find(context, &model->network, &map);
    if (status == SPADE_OK) { status = find_in_value(context, model, &map.where[out->value], objective, out); }
    spade_spatial_clear(&map);
    return status;
}

void visualize_objective_weights(const visualize_objective *objective, float *weights)
{
    memset(weights, 0, sizeof *weights * (size_t)objective->size);
    for (int64_t y = 0; y < objective->rows; y++) {
        for (int64_t x = 0; x < objective->columns; x++) {
            const bool counts = !objective->central || (y == objective->rows / 2 && x == objective->columns / 2);
            float *weight = weights + objective->first + y * objective->row_stride + x * objective->column_stride;
            *weight = counts ? (float)objective->weight : 0;
        }
    }
}
