/* info.c - the info job: what is in a model file. */
#include "base/base.h"
#include "engine/model.h"
#include "workload/workload.h"
#include "report/text.h"

static json_t *operators_json(const spade_operator_info *operators, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        json_t *object = json_object();
        json_object_set_new(object, "operator", spade_json_text(operators[i].name));
        json_object_set_new(object, "count", json_integer(operators[i].count));
        json_object_set_new(object, "supported", json_boolean(operators[i].supported));
        json_object_set_new(object, "first_node",
                            spade_json_text(operators[i].first_node ? operators[i].first_node : ""));
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *layers_json(const spade_model *model, int64_t *parameters, double *operations)
{
    json_t *list = json_array();
    for (int i = 0; i < spade_model_layer_count(model); i++) {
        spade_layer_info info;
        spade_model_layer(model, i, &info);
        json_t *object = json_object(), *shape = json_array();
        for (int k = 0; k < (info.convolution ? 4 : 2); k++) {
            json_array_append_new(shape, json_integer(info.weight[k]));
        }
        json_object_set_new(object, "name", spade_json_text(info.name));
        json_object_set_new(object, "node", spade_json_text(info.node ? info.node : ""));
        json_object_set_new(object, "kind", json_string(info.convolution ? "convolution" : "linear"));
        json_object_set_new(object, "shape", shape);
        json_object_set_new(object, "groups", json_integer(info.groups));
        json_object_set_new(object, "parameters", json_integer(info.rows * info.columns));
        json_object_set_new(object, "zeros", json_integer(model->network.layers[i].zeros));
        json_object_set_new(object, "prunable", json_boolean(info.prunable));
        json_object_set_new(object, "operations", json_real(info.operations));
        json_array_append_new(list, object);
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
        json_t *object = json_object(), *shape = json_array(), *inputs = json_array();
        for (int i = 0; i < output->shape.rank; i++) {
            json_array_append_new(shape, json_integer(output->shape.dims[i]));
        }
        for (int i = 0; i < node->input_count; i++) {
            json_array_append_new(inputs, source_json(network, node->inputs[i]));
        }
        json_object_set_new(object, "node", json_integer(n));
        json_object_set_new(object, "kind", json_string(kind));
        json_object_set_new(object, "name", spade_json_text(node->name));
        json_object_set_new(object, "module", spade_json_text(node->path ? node->path : ""));
        json_object_set_new(object, "layer",
                            node->layer >= 0 ? spade_json_text(network->layers[node->layer].name) : json_null());
        json_object_set_new(object, "shape", shape);
        json_object_set_new(object, "batch_axis", json_integer(output->batch_axis));
        json_object_set_new(object, "inputs", inputs);
        json_array_append_new(list, object);
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
    json_object_set_new(all, "model", spade_json_text(path));
    json_object_set_new(all, "operators", operators_json(operators, count));
    *supported = true;
    for (int i = 0; i < count; i++) { *supported = *supported && operators[i].supported; }
    spade_operators_free(operators, count);
    spade_status status = *supported ? spade_model_load(context, path, &options, &model) : SPADE_OK;
    if (model && status == SPADE_OK) {
        int64_t channels, height, width, parameters = 0;
        double operations = 0;
        spade_model_input(model, &channels, &height, &width);
        json_object_set_new(all, "input",
                            json_pack("[I, I, I]", (json_int_t)channels, (json_int_t)height, (json_int_t)width));
        json_object_set_new(all, "classes", json_integer(spade_model_classes(model)));
        json_object_set_new(all, "head", json_string(spade_head_name(spade_model_head(model))));
        json_object_set_new(all, "layers", layers_json(model, &parameters, &operations));
        json_object_set_new(all, "weights", json_integer(parameters));
        json_object_set_new(all, "operations", json_real(operations));
        if (graph) { json_object_set_new(all, "graph", graph_json(&model->network)); }
    }
    spade_model_destroy(model);
    if (status == SPADE_OK) {
        *result = all;
    } else {
        json_decref(all);
    }
    return status;
}
