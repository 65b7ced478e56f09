/* constants.c - constants followed through Identity nodes. */
#include "onnx/constants.h"

#include "onnx/reader.h"

enum {
    UNKNOWN = -2,
    KIND_GRAPHS = 10 /* AttributeProto.GRAPHS */
};

static bool is_operator(const onnx_node *node, const char *name)
{
    return strcmp(node->op_type, name) == 0 && (*node->domain == 0 || strcmp(node->domain, "ai.onnx") == 0);
}

static int producer(const onnx_origins *origins, const char *name)
{
    const onnx_index *entry = onnx_index_find(origins->outputs, origins->output_count, name);
    return entry ? entry->number : -1;
}

int onnx_origin(const onnx_origins *origins, const char *name)
{
    if (!*name) { return ONNX_NO_CONSTANT; }
    int initializer = onnx_find_initializer(origins->model, name);
    if (initializer >= 0) { return initializer; }
    int node = producer(origins, name);
    return node >= 0 ? origins->of_node[node] : ONNX_NO_CONSTANT;
}

/* Follow a node's chain of Identities to its end, then note the result at every node passed: linear over all nodes. */
static void resolve(onnx_origins *origins, int start)
{
    const onnx_model *model = origins->model;
    int node = start, origin = UNKNOWN;
    for (int steps = 0; origin == UNKNOWN; steps++) {
        const onnx_node *at = &model->nodes[node];
        if (origins->of_node[node] != UNKNOWN) {
            origin = origins->of_node[node];
        } else if (is_operator(at, "Constant") && at->input_count == 0) {
            origin = model->initializer_count + node;
        } else if (!is_operator(at, "Identity") || at->input_count != 1 || steps > model->node_count) {
            origin = ONNX_NO_CONSTANT;
        } else {
            int initializer = onnx_find_initializer(model, at->inputs[0]);
            int next = producer(origins, at->inputs[0]);
            origin = initializer >= 0 ? initializer : next < 0 ? ONNX_NO_CONSTANT : UNKNOWN;
            node = next;
        }
    }
    for (node = start; node >= 0 && origins->of_node[node] == UNKNOWN;) {
        const onnx_node *at = &model->nodes[node];
        origins->of_node[node] = origin;
        node = is_operator(at, "Identity") && at->input_count == 1 ? producer(origins, at->inputs[0]) : -1;
    }
}

static void count_use(onnx_origins *origins, const char *name)
{
    int origin = onnx_origin(origins, name);
    if (origin >= 0) { origins->uses[origin]++; }
}

static void count_uses(onnx_origins *origins)
{
    const onnx_model *model = origins->model;
    bool subgraphs = false;
    for (int i = 0; i < model->node_count; i++) {
        const onnx_node *node = &model->nodes[i];
        for (int k = 0; k < node->attribute_count; k++) {
            subgraphs =
                subgraphs || node->attributes[k].kind == ONNX_ATTR_GRAPH || node->attributes[k].kind == KIND_GRAPHS;
        }
        if (is_operator(node, "Identity")) { continue; }
        for (int k = 0; k < node->input_count; k++) { count_use(origins, node->inputs[k]); }
    }
    for (int i = 0; i < model->output_count; i++) { count_use(origins, model->outputs[i].name); }
    /* A subgraph may use any name of the graph around it: then every constant counts as used once more. */
    for (int i = 0; subgraphs && i < model->initializer_count + model->node_count; i++) { origins->uses[i]++; }
}

spade_status onnx_origins_create(spade_context *context, const onnx_model *model, onnx_origins *out)
{
    *out = (onnx_origins){.model = model};
    size_t outputs = 0;
    for (int i = 0; i < model->node_count; i++) { outputs += (size_t)model->nodes[i].output_count; }
    out->outputs = malloc((outputs + 1) * sizeof *out->outputs);
    out->of_node = malloc(((size_t)model->node_count + 1) * sizeof *out->of_node);
    out->uses = calloc((size_t)model->node_count + (size_t)model->initializer_count + 1, sizeof *out->uses);
    if (!out->outputs || !out->of_node || !out->uses) {
        onnx_origins_clear(out);
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", model->path);
    }
    for (int i = 0; i < model->node_count; i++) {
        out->of_node[i] = UNKNOWN;
        for (int k = 0; k < model->nodes[i].output_count; k++) {
            if (*model->nodes[i].outputs[k]) {
                out->outputs[out->output_count++] = (onnx_index){model->nodes[i].outputs[k], i};
            }
        }
    }
    onnx_index_sort(out->outputs, out->output_count);
    for (int i = 0; i < model->node_count; i++) { resolve(out, i); }
    count_uses(out);
    return SPADE_OK;
}

void onnx_origins_clear(onnx_origins *origins)
{
    free(origins->outputs);
    free(origins->of_node);
    free(origins->uses);
    *origins = (onnx_origins){0};
}

const onnx_tensor *onnx_origin_tensor(const onnx_origins *origins, int origin)
{
    const onnx_model *model = origins->model;
    if (origin < model->initializer_count) { return &model->initializers[origin]; }
    const onnx_attribute *value = onnx_find_attribute(&model->nodes[origin - model->initializer_count], "value");
    return value && value->kind == ONNX_ATTR_TENSOR ? value->tensor : NULL;
}

bool onnx_name_taken(const onnx_origins *origins, const char *name)
{
    const onnx_model *model = origins->model;
    if (onnx_find_initializer(model, name) >= 0 || producer(origins, name) >= 0) { return true; }
    for (int i = 0; i < model->input_count; i++) {
        if (strcmp(model->inputs[i].name, name) == 0) { return true; }
    }
    return false;
}
