/* model.c - the public face of a network: load, what it is made of, forward. */
#include "base/caller_options.h"
#include "engine/magnitude.h"
#include "engine/model.h"
#include "import/import.h"

/* ---- load */

void spade_model_options_init_sized(spade_model_options *options, size_t size)
{
    const spade_model_options defaults = {0};
    spade_caller_options_init(options, size, &defaults, sizeof defaults);
}

spade_status spade_model_load(spade_context *context, const char *path, const spade_model_options *given,
                              spade_model **out)
{
    spade_model_options options = {0};
    *out = NULL;
    if (!path) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "no path of a model"); }
    if (given) {
        SPADE_TRY(spade_caller_options_take(context, "spade_model_options", given, &options, sizeof options));
    }
    spade_model *model = calloc(1, sizeof *model);
    spade_status status = SPADE_OK;
    if (!model) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    model->context = context;
    model->path = strdup(path);
    if (!model->path) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path)); }
    SPADE_GOTO(onnx_load(context, path, options.follow_links, &model->onnx));
    SPADE_GOTO(onnx_convert_floats(context, model->onnx));
    SPADE_GOTO(spade_network_import(context, model->onnx, &options, &model->network));
    SPADE_GOTO(spade_model_read_class_names(model));
    onnx_release_files(model->onnx);
    *out = model;
    return SPADE_OK;
done:
    spade_model_destroy(model);
    return status;
}

void spade_model_destroy(spade_model *model)
{
    if (!model) { return; }
    for (int64_t i = 0; model->class_names && i < spade_model_classes(model); i++) { free(model->class_names[i]); }
    free(model->class_names);
    spade_cache_drop(model->context, &model->network);
    spade_network_clear(&model->network);
    onnx_free(model->onnx);
    free(model->path);
    free(model);
}

/* ---- what it is made of */

void spade_model_input(const spade_model *model, int64_t *channels, int64_t *height, int64_t *width)
{
    const spade_shape *shape = &model->network.values[model->network.input].shape;
    *channels = shape->dims[1];
    *height = shape->dims[2];
    *width = shape->dims[3];
}

bool spade_model_takes_bytes(const spade_model *model)
{
    return model->network.takes_bytes;
}

int64_t spade_model_outputs(const spade_model *model)
{
    return spade_network_outputs(&model->network);
}

int64_t spade_model_classes(const spade_model *model)
{
    const int64_t outputs = spade_model_outputs(model);
    return outputs == 1 ? 2 : outputs;
}

int spade_model_layer_count(const spade_model *model)
{
    return model->network.layer_count;
}

static bool has_layer(const spade_model *model, int index)
{
    return index >= 0 && index < model->network.layer_count;
}

void spade_model_layer(const spade_model *model, int index, spade_layer_info *info)
{
    *info = (spade_layer_info){0};
    if (!has_layer(model, index)) { return; }
    const spade_layer *layer = &model->network.layers[index];
    const spade_node *node = &model->network.nodes[layer->node];
    const spade_shape *shape = &model->network.values[node->outputs[0]].shape;
    int64_t positions = spade_shape_size(shape) / layer->rows;
    *info = (spade_layer_info){.name = layer->name,
                               .node = node->name,
                               .convolution = layer->convolution,
                               .prunable = layer->prunable,
                               .groups = layer->groups,
                               .rows = layer->rows,
                               .columns = layer->columns,
                               .input = {layer->columns, positions, 1},
                               .output = {layer->rows, positions, 1},
                               .stride = {1, 1},
                               .dilation = {1, 1}};
    memcpy(info->weight, layer->weight, sizeof info->weight);
    if (layer->convolution) {
        const spade_shape *input = &model->network.values[node->inputs[0]].shape;
        memcpy(info->input, &input->dims[1], sizeof info->input);
        memcpy(info->output, &shape->dims[1], sizeof info->output);
        memcpy(info->stride, node->convolution.window.stride, sizeof info->stride);
        memcpy(info->dilation, node->convolution.window.dilation, sizeof info->dilation);
        memcpy(info->pad, node->convolution.window.pad, sizeof info->pad);
    }
    info->operations = 2.0 * (double)layer->rows * (double)layer->columns * (double)positions;
}

const float *spade_model_weights(const spade_model *model, int index)
{
    return has_layer(model, index) ? model->network.layers[index].weights : NULL;
}

int spade_model_find_layer(const spade_model *model, const char *name)
{
    for (int i = 0; i < model->network.layer_count; i++) {
        if (strcmp(model->network.layers[i].name, name) == 0) { return i; }
    }
    return -1;
}

/* ---- operators */

static char *operator_name(const onnx_node *node)
{
    const char *domain = node->domain && strcmp(node->domain, "ai.onnx") != 0 ? node->domain : "";
    size_t room = strlen(domain) + strlen(node->op_type) + 2;
    char *name = malloc(room);
    if (name) { snprintf(name, room, "%s%s%s", domain, domain[0] ? "." : "", node->op_type); }
    return name;
}

/* Count one node; *out has room for every node. False: out of memory. `kinds` maps names (owned by the entries) to
 * entries. */
static bool count_operator(const onnx_node *node, bool supported, spade_name_map *kinds, spade_operator_info *out,
                           int *count)
{
    char *name = operator_name(node);
    if (!name) { return false; }
    int index = spade_name_map_get(kinds, name);
    if (index >= 0) {
        free(name);
        out[index].count++;
        if (supported || !out[index].supported) { return true; }
        free((char *)(uintptr_t)out[index].first_node); /* the first that is not supported is what has to be told */
        out[index].supported = false;
        out[index].first_node = strdup(spade_onnx_label(node));
        return out[index].first_node != NULL;
    }
    index = (*count)++;
    out[index] = (spade_operator_info){name, 1, supported, strdup(spade_onnx_label(node))};
    return out[index].first_node && spade_name_map_put(kinds, name, index);
}

spade_status spade_model_operators(spade_context *context, const char *path, const spade_model_options *given,
                                   spade_operator_info **out, int *count)
{
    spade_model_options options = {0};
    onnx_model *onnx = NULL;
    spade_name_map kinds = {0};
    *out = NULL;
    *count = 0;
    if (given) {
        SPADE_TRY(spade_caller_options_take(context, "spade_model_options", given, &options, sizeof options));
    }
    SPADE_TRY(onnx_load(context, path, options.follow_links, &onnx));
    spade_operator_info *operators = calloc((size_t)onnx->node_count + 1, sizeof *operators);
    bool *supported = calloc((size_t)onnx->node_count + 1, sizeof *supported), ok = operators && supported;
    if (ok) { spade_operators_supported(context, onnx, &options, supported); }
    for (int i = 0; ok && i < onnx->node_count; i++) {
        ok = count_operator(&onnx->nodes[i], supported[i], &kinds, operators, count);
    }
    free(supported);
    spade_name_map_clear(&kinds);
    onnx_free(onnx);
    if (!ok) {
        spade_operators_free(operators, *count);
        *count = 0;
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
    }
    *out = operators;
    return SPADE_OK;
}

void spade_operators_free(spade_operator_info *operators, int count)
{
    for (int i = 0; operators && i < count; i++) {
        free((char *)(uintptr_t)operators[i].name);
        free((char *)(uintptr_t)operators[i].first_node);
    }
    free(operators);
}

/* ---- forward */

/* Images in micro-batches of `batch`; n is a multiple of it. */
static spade_status forward_batches(spade_context *context, const spade_network *network,
                                    spade_weight_override *override, int64_t batch, const float *input, int64_t n,
                                    float *output)
{
    const spade_backend *backend = context->device->backend;
    int64_t pixels = spade_shape_size(&network->values[network->input].shape);
    int64_t outputs = spade_network_outputs(network);
    spade_executor *executor = NULL;
    spade_status status = SPADE_OK;
    if (n == 0) { return SPADE_OK; }
    const spade_plan_request request = spade_forward_request(batch);
    SPADE_GOTO(spade_executor_acquire(context, network, &request, override, &executor));
    for (int64_t i = 0; i < n; i += batch) {
        SPADE_GOTO(backend->upload(context->device, spade_plan_input(executor->plan, NULL), input + i * pixels,
                                   (size_t)(batch * pixels) * sizeof *input));
        SPADE_GOTO(spade_executor_forward_checked(executor, output + i * outputs));
    }
done:
    spade_executor_release(executor);
    return status;
}

spade_status spade_model_forward(spade_context *context, const spade_model *model, const spade_trace *trace,
                                 const float *input, int64_t n, float *output)
{
    const spade_network *network = &model->network;
    spade_weight_override *override = spade_weight_override_of(trace);
    int64_t pixels = spade_shape_size(&network->values[network->input].shape), outputs = spade_model_outputs(model);
    if (n < 1) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "%lld images", (long long)n); }
    if (!input || !output) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "no input or no room for the output"); }
    SPADE_TRY(spade_weight_override_check(context, trace, model));
    int64_t tail = n % SPADE_MICRO_BATCH, whole = n - tail;
    spade_status status = forward_batches(context, network, override, SPADE_MICRO_BATCH, input, whole, output);
    if (status == SPADE_OK) {
        status =
            forward_batches(context, network, override, tail, input + whole * pixels, tail, output + whole * outputs);
    }
    return status == SPADE_OK ? SPADE_OK : spade_fail_in(context, status, "%.200s", model->path);
}
