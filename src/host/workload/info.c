/* info.c - the info job: what is in a model file. */
#include "base/json.h"
#include "engine/model.h"
#include "workload/workload.h"

static json_t *operators_json(const spade_operator_info *operators, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        json_t *object = json_object();
        spade_json_set(&object, "operator", spade_json_text(operators[i].name));
        spade_json_set(&object, "count", json_integer(operators[i].count));
        spade_json_set(&object, "supported", json_boolean(operators[i].supported));
        spade_json_set(&object, "first_node", spade_json_text(operators[i].first_node ? operators[i].first_node : ""));
        spade_json_append(&list, object);
    }
    return list;
}

static json_t *layers_json(const spade_model *model, int64_t *parameters, double *operations)
{
    json_t *list = json_array();
    for (int i = 0; i < spade_model_layer_count(model); i++) {
        spade_layer_info info;
        spade_model_layer(model, i, &info);
        json_t *object = json_object();
        spade_json_set(&object, "name", spade_json_text(info.name));
        spade_json_set(&object, "node", spade_json_text(info.node ? info.node : ""));
        spade_json_set(&object, "kind", json_string(info.convolution ? "convolution" : "linear"));
        spade_json_set(&object, "shape", spade_json_integers(info.weight, info.convolution ? 4 : 2));
        spade_json_set(&object, "groups", json_integer(info.groups));
        spade_json_set(&object, "parameters", json_integer(info.rows * info.columns));
        spade_json_set(&object, "zeros", json_integer(model->network.layers[i].zeros));
        spade_json_set(&object, "prunable", json_boolean(info.prunable));
        spade_json_set(&object, "operations", json_real(info.operations));
        spade_json_append(&list, object);
        *parameters += info.rows * info.columns;
        *operations += info.operations;
    }
    return list;
}

/* What a node reads: the number of the node that computes it, "picture", or "constant". */
static json_t *source_json(const spade_network *network, int value)
{
    if (value == network->input) { return json_string("picture"); }
    if (network->values[value].constant) { return json_string("constant"); }
    return json_integer(network->values[value].producer);
}

/* In the order in which they are computed. The shape is of one picture, of which axis batch_axis grows with the batch. */
static json_t *graph_json(const spade_network *network)
{
    json_t *list = json_array();
    for (int n = 0; n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        const spade_value *output = &network->values[node->outputs[0]];
        const char *kind = node->kind == SPADE_NODE_FUNCTION ? spade_function_name(node->pointwise.function)
                                                             : spade_node_kind_name(node->kind);
        json_t *object = json_object(), *inputs = json_array();
        for (int i = 0; i < node->input_count; i++) {
            spade_json_append(&inputs, source_json(network, node->inputs[i]));
        }
        spade_json_set(&object, "node", json_integer(n));
        spade_json_set(&object, "kind", json_string(kind));
        spade_json_set(&object, "name", spade_json_text(node->name));
        spade_json_set(&object, "pattern", node->pattern ? json_string(node->pattern) : json_null());
        spade_json_set(&object, "module", spade_json_text(node->path ? node->path : ""));
        spade_json_set(&object, "layer",
                       node->layer >= 0 ? spade_json_text(network->layers[node->layer].name) : json_null());
        spade_json_set(&object, "shape", spade_json_integers(output->shape.dims, output->shape.rank));
        spade_json_set(&object, "batch_axis", json_integer(output->batch_axis));
        spade_json_set(&object, "inputs", inputs);
        spade_json_append(&list, object);
    }
    return list;
}

spade_status spade_describe_model(spade_context *context, const char *path, const spade_settings *settings, bool graph,
                                  json_t **result, bool *supported)
{
    spade_operator_info *operators = NULL;
    spade_model *model = NULL;
    spade_model_options options;
    int count = 0;
    spade_settings_model_options(settings, &options);
    SPADE_TRY(spade_model_operators(context, path, &options, &operators, &count));
    json_t *all = json_object();
    spade_json_set(&all, "model", spade_json_text(path));
    spade_json_set(&all, "operators", operators_json(operators, count));
    *supported = true;
    for (int i = 0; i < count; i++) { *supported = *supported && operators[i].supported; }
    spade_operators_free(operators, count);
    spade_status status = *supported ? spade_model_load(context, path, &options, &model) : SPADE_OK;
    if (model && status == SPADE_OK) {
        int64_t input[3], parameters = 0;
        double operations = 0;
        spade_model_input(model, &input[0], &input[1], &input[2]);
        spade_json_set(&all, "input", spade_json_integers(input, 3));
        spade_json_set(&all, "classes", json_integer(spade_model_classes(model)));
        spade_json_set(&all, "head", json_string(spade_head_name(spade_model_head(model))));
        spade_json_set(&all, "layers", layers_json(model, &parameters, &operations));
        spade_json_set(&all, "weights", json_integer(parameters));
        spade_json_set(&all, "operations", json_real(operations));
        if (graph) { spade_json_set(&all, "graph", graph_json(&model->network)); }
    }
    spade_model_destroy(model);
    if (status == SPADE_OK && !all) { status = spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    if (status == SPADE_OK) {
        *result = all;
    } else {
        json_decref(all);
    }
    return status;
}
