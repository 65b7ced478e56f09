/*
 * import.c - from an ONNX file to the graph: names, order, the graph's input and output; operators/ and patterns/ make nodes.
 *
 * Only nodes that the output depends on are lowered; the others are checked for names and cycles only.
 */
#include <stdarg.h>

#include "import/head.h"
#include "import/input.h"
#include "import/operators/operators.h"
#include "import/patterns/patterns.h"
#include "import/unsupported.h"

const char *spade_onnx_label(const onnx_node *node)
{
    return node->name[0] || !node->output_count ? node->name : node->outputs[0];
}

/* ---- failing */

spade_status(spade_import_fail)(spade_import *import, const onnx_node *node, spade_status status, const char *format,
                                ...)
{
    char reason[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return spade_fail(import->context, status, "%.200s: node \"%.200s\" (%.60s): %s", import->onnx->path,
                      spade_onnx_label(node), node->op_type, reason);
}

spade_status spade_import_memory(spade_import *import)
{
    return spade_fail(import->context, SPADE_ERROR_MEMORY, "%s: out of memory while reading the graph",
                      import->onnx->path);
}

spade_status spade_import_attribute(spade_import *import, spade_status status)
{
    if (status == SPADE_OK) { return SPADE_OK; }
    return spade_fail_in(import->context, status, "%.200s", import->onnx->path);
}

/* ---- inputs */

bool spade_has_input(const onnx_node *node, int input)
{
    return input < node->input_count && node->inputs[input][0];
}

spade_status spade_bind(spade_import *import, const char *name, spade_operand operand)
{
    import->operands[import->operand_count] = operand;
    if (!spade_name_map_put(&import->names, name, import->operand_count)) { return spade_import_memory(import); }
    import->operand_count++;
    return SPADE_OK;
}

spade_status spade_operand_get(spade_import *import, const onnx_node *node, int input, spade_operand *out)
{
    if (!spade_has_input(node, input)) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "input %d is missing", input);
    }
    const char *name = node->inputs[input];
    int index = spade_name_map_get(&import->names, name);
    if (index < 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "uses \"%.200s\", a secondary output, which is not supported", name);
    }
    *out = import->operands[index];
    return SPADE_OK;
}

spade_status spade_activation_get(spade_import *import, const onnx_node *node, int input, int *out)
{
    spade_operand operand = {-1, NULL};
    SPADE_TRY(spade_operand_get(import, node, input, &operand));
    if (operand.value < 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "input %d is a constant, which is not supported", input);
    }
    *out = operand.value;
    return SPADE_OK;
}

spade_status spade_constant_get(spade_import *import, const onnx_node *node, int input, const onnx_tensor **out)
{
    spade_operand operand = {-1, NULL};
    SPADE_TRY(spade_operand_get(import, node, input, &operand));
    if (operand.value >= 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "input %d (\"%.100s\") is computed, only a constant is supported", input,
                                 node->inputs[input]);
    }
    *out = operand.tensor;
    return SPADE_OK;
}

spade_status spade_require_float(spade_import *import, const onnx_node *node, const onnx_tensor *tensor)
{
    if (tensor->type == ONNX_FLOAT && tensor->bytes) { return SPADE_OK; }
    if (tensor->type == ONNX_FLOAT && tensor->count == 0) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "\"%.100s\" is empty", tensor->name);
    }
    return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                             "\"%.100s\" is %s, only float32 weights are supported", tensor->name,
                             onnx_type_name(tensor->type));
}

spade_status spade_copy_floats(spade_import *import, const onnx_node *node, const onnx_tensor *tensor, float **out)
{
    *out = NULL;
    SPADE_TRY(spade_require_float(import, node, tensor));
    SPADE_TRY(spade_require_numbers(import, node, tensor));
    void *copy;
    size_t bytes = (size_t)tensor->count * sizeof(float);
    spade_status status = spade_alloc(import->context, bytes, "the network's weights", &copy);
    if (status != SPADE_OK) { return spade_fail_in(import->context, status, "%.200s", import->onnx->path); }
    memcpy(copy, tensor->bytes, bytes);
    *out = copy;
    return SPADE_OK;
}

spade_status spade_copy_vector(spade_import *import, const onnx_node *node, int input, int64_t n, spade_parameter *out)
{
    const onnx_tensor *tensor = NULL;
    SPADE_TRY(spade_constant_get(import, node, input, &tensor));
    if (tensor->count != n) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "\"%.100s\" has %lld elements instead of %lld",
                                 tensor->name, (long long)tensor->count, (long long)n);
    }
    float *copy;
    SPADE_TRY(spade_require_finite(import, node, tensor));
    SPADE_TRY(spade_copy_floats(import, node, tensor, &copy));
    *out = (spade_parameter){copy, n};
    return SPADE_OK;
}

/* ---- results */

/* The axis along which the node's result grows with the batch: that of its first input that does. */
static int batch_axis(const spade_network *network, const int *inputs, int input_count)
{
    for (int i = 0; i < input_count; i++) {
        if (network->values[inputs[i]].batch_axis >= 0) { return network->values[inputs[i]].batch_axis; }
    }
    return -1;
}

spade_status spade_emit(spade_import *import, const onnx_node *from, spade_node *node, const int *inputs,
                        int input_count, const spade_shape *shape)
{
    spade_network *network = import->network;
    spade_value value = {
        .shape = *shape, .batch_axis = batch_axis(network, inputs, input_count), .producer = network->node_count};
    spade_status status = SPADE_OK;
    if (from->output_count < 1 || !from->outputs[0][0]) {
        SPADE_GOTO(spade_import_fail(import, from, SPADE_ERROR_INPUT, "has no output"));
    }
    SPADE_GOTO(spade_check_shape(import, from, shape));
    status = SPADE_ERROR_MEMORY;
    node->name = strdup(spade_onnx_label(from));
    node->path = spade_node_path(from->name);
    value.name = strdup(from->outputs[0]);
    if (!node->name || !node->path || !value.name) { goto done; }
    int output = spade_network_add_value(network, &value);
    if (output < 0) { goto done; }
    value.name = NULL;
    if (!spade_node_connect(node, inputs, input_count, &output, 1)) { goto done; }
    int index = spade_network_add_node(network, node);
    if (index < 0) { goto done; }
    if (node->layer >= 0) { network->layers[node->layer].node = index; }
    return spade_bind(import, from->outputs[0], (spade_operand){.value = output});
done:
    free(value.name);
    spade_node_release(import->context, node);
    return status == SPADE_ERROR_MEMORY ? spade_import_memory(import) : status;
}

/* ---- names and order */

static spade_status check_input_name(spade_import *import, const onnx_node *node, const char *name)
{
    if (!name[0] || spade_name_map_get(&import->producers, name) >= 0 ||
        spade_name_map_get(&import->names, name) >= 0) {
        return SPADE_OK;
    }
    return spade_import_fail(import, node, SPADE_ERROR_INPUT,
                             "its input \"%.200s\" is neither an initializer nor the output of a node", name);
}

/* Fill in `producers`; every name has one producer, every input one that exists. */
static spade_status check_names(spade_import *import)
{
    const onnx_model *onnx = import->onnx;
    for (int i = 0; i < onnx->node_count; i++) {
        const onnx_node *node = &onnx->nodes[i];
        for (int k = 0; k < node->output_count; k++) {
            const char *name = node->outputs[k];
            if (!name[0]) { continue; }
            if (spade_name_map_get(&import->producers, name) >= 0 || spade_name_map_get(&import->names, name) >= 0) {
                return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its output \"%.200s\" is defined twice",
                                         name);
            }
            if (!spade_name_map_put(&import->producers, name, i)) { return spade_import_memory(import); }
        }
    }
    for (int i = 0; i < onnx->node_count; i++) {
        for (int k = 0; k < onnx->nodes[i].input_count; k++) {
            SPADE_TRY(check_input_name(import, &onnx->nodes[i], onnx->nodes[i].inputs[k]));
        }
    }
    return SPADE_OK;
}

/* Mark the nodes that `output` depends on, by walking back with an explicit stack. live[] and stack[] have node_count
 * entries. */
static void mark_live(spade_import *import, int output, bool *live, int *stack)
{
    int depth = 0;
    live[output] = true;
    stack[depth++] = output;
    while (depth) {
        const onnx_node *node = &import->onnx->nodes[stack[--depth]];
        for (int k = 0; k < node->input_count; k++) {
            int producer = node->inputs[k][0] ? spade_name_map_get(&import->producers, node->inputs[k]) : -1;
            if (producer < 0 || live[producer]) { continue; }
            live[producer] = true;
            stack[depth++] = producer;
        }
    }
}

typedef struct edges {
    int *first;   /* [nodes + 1] into users */
    int *users;   /* nodes that read an output of a node */
    int *waiting; /* [nodes] inputs that are not computed yet */
} edges;

static void free_edges(edges *e)
{
    free(e->first);
    free(e->users);
    free(e->waiting);
}

static bool collect_edges(spade_import *import, edges *e)
{
    const onnx_model *onnx = import->onnx;
    size_t n = (size_t)onnx->node_count, total = 0;
    for (size_t i = 0; i < n; i++) { total += (size_t)onnx->nodes[i].input_count; }
    *e = (edges){calloc(n + 2, sizeof(int)), calloc(total + 1, sizeof(int)), calloc(n + 1, sizeof(int))};
    if (!e->first || !e->users || !e->waiting) { return false; }
    for (int fill = 0; fill < 2; fill++) {
        for (int i = 0; i < onnx->node_count; i++) {
            for (int k = 0; k < onnx->nodes[i].input_count; k++) {
                const char *name = onnx->nodes[i].inputs[k];
                int producer = name[0] ? spade_name_map_get(&import->producers, name) : -1;
                if (producer < 0) { continue; }
                if (fill) {
                    e->users[e->first[producer + 1]++] = i;
                } else {
                    e->first[producer + 2]++;
                    e->waiting[i]++;
                }
            }
        }
        for (size_t i = 2; !fill && i <= n + 1; i++) { e->first[i] += e->first[i - 1]; }
    }
    return true;
}

/* Topological order (Kahn), the file's own where that is one. order[node_count]. A cycle is an error that names one of
 * its nodes. */
static spade_status sort_nodes(spade_import *import, int *order)
{
    const onnx_model *onnx = import->onnx;
    edges e;
    spade_status status = SPADE_OK;
    int count = 0;
    bool sorted = true;
    if (!collect_edges(import, &e)) {
        status = spade_import_memory(import);
        goto done;
    }
    for (int i = 0; i < onnx->node_count; i++) {
        for (int u = e.first[i]; u < e.first[i + 1]; u++) { sorted = sorted && e.users[u] > i; }
    }
    if (sorted) {
        for (int i = 0; i < onnx->node_count; i++) { order[i] = i; }
        goto done;
    }
    for (int i = 0; i < onnx->node_count; i++) {
        if (!e.waiting[i]) { order[count++] = i; }
    }
    for (int done_count = 0; done_count < count; done_count++) {
        int i = order[done_count];
        for (int u = e.first[i]; u < e.first[i + 1]; u++) {
            if (--e.waiting[e.users[u]] == 0) { order[count++] = e.users[u]; }
        }
    }
    for (int i = 0; i < onnx->node_count && count < onnx->node_count; i++) {
        if (e.waiting[i]) {
            status = spade_import_fail(import, &onnx->nodes[i], SPADE_ERROR_INPUT,
                                       "the graph has a cycle through it or before it");
            break;
        }
    }
done:
    free_edges(&e);
    return status;
}

/* ---- the graph's input and output */

static spade_status fail_graph(spade_import *import, spade_status status, const char *what, const char *name)
{
    return spade_fail(import->context, status, "%.200s: %s \"%.200s\"", import->onnx->path, what, name);
}

/* Initializers, and the one real input. */
static spade_status bind_inputs(spade_import *import)
{
    const onnx_model *onnx = import->onnx;
    const onnx_value *input = NULL;
    for (int i = 0; i < onnx->initializer_count; i++) {
        const onnx_tensor *tensor = &onnx->initializers[i];
        if (!tensor->name || !tensor->name[0]) { continue; }
        if (spade_name_map_get(&import->names, tensor->name) >= 0) {
            return fail_graph(import, SPADE_ERROR_INPUT, "two initializers have the name", tensor->name);
        }
        SPADE_TRY(spade_bind(import, tensor->name, (spade_operand){-1, tensor}));
    }
    for (int i = 0; i < onnx->input_count; i++) {
        if (spade_name_map_get(&import->names, onnx->inputs[i].name) >= 0) { continue; }
        if (input) {
            return fail_graph(import, SPADE_ERROR_UNSUPPORTED, "only one input is supported, there is also",
                              onnx->inputs[i].name);
        }
        input = &onnx->inputs[i];
    }
    if (!input) { return spade_fail(import->context, SPADE_ERROR_INPUT, "%s: the graph has no input", onnx->path); }
    return spade_input_bind(import, input);
}

/* ---- lowering */

static const spade_onnx_operator *const families[] = {
#define TABLE(name) spade_##name##_operators,
    SPADE_OPERATOR_FAMILIES(TABLE)
#undef TABLE
};

/* NULL: not supported. */
static const spade_onnx_operator *find_operator(const onnx_node *node)
{
    const char *domain = node->domain ? node->domain : "";
    if (domain[0] && strcmp(domain, "ai.onnx") != 0) { return NULL; }
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        for (const spade_onnx_operator *o = families[f]; o->op_type; o++) {
            if (strcmp(node->op_type, o->op_type) == 0) { return o; }
        }
    }
    return NULL;
}

static spade_status lower_node(spade_import *import, int index)
{
    const onnx_node *node = &import->onnx->nodes[index];
    return find_operator(node)->lower(import, index);
}

/* ---- the whole graph */

/* In which order the ONNX nodes are lowered, and which are not. */
typedef struct node_order {
    int *nodes; /* [ONNX nodes] topological order */
    bool *live; /* the output depends on it */
    spade_pattern_matches matches;
} node_order;

static void clear_order(node_order *order)
{
    spade_patterns_clear(&order->matches);
    free(order->nodes);
    free(order->live);
}

/* Names are bound before; *order is to be cleared also after a failure. */
static spade_status find_order(spade_import *import, const spade_import_output *output, node_order *order)
{
    const onnx_model *onnx = import->onnx;
    size_t n = (size_t)onnx->node_count + 1;
    int *nodes = calloc(n, sizeof *nodes), *stack = calloc(n, sizeof *stack);
    bool *live = calloc(n, sizeof *live);
    spade_pattern_matches matches = {0};
    spade_status status = SPADE_OK;
    if (!nodes || !live || !stack) {
        status = spade_import_memory(import);
        goto done;
    }
    SPADE_GOTO(sort_nodes(import, nodes));
    int producer = spade_name_map_get(&import->producers, output->name);
    if (producer >= 0) { mark_live(import, producer, live, stack); }
    SPADE_GOTO(spade_patterns_find(import, nodes, live, &matches));
done:
    free(stack);
    *order = (node_order){nodes, live, matches};
    return status;
}

/* All operators that nothing here computes, before anything is lowered. */
static spade_status check_operators(spade_import *import, const spade_import_output *output, const node_order *order)
{
    const onnx_model *onnx = import->onnx;
    bool *unsupported = calloc((size_t)onnx->node_count + 1, sizeof *unsupported), any = false;
    if (!unsupported) { return spade_import_memory(import); }
    for (int i = 0; i < onnx->node_count; i++) {
        unsupported[i] = order->live[i] && !order->matches.taken[i] && order->matches.at[i] < 0 &&
                         !spade_output_is_head(output, i) && !spade_input_is_form(import, i) &&
                         !find_operator(&onnx->nodes[i]);
        any = any || unsupported[i];
    }
    spade_status status = any ? spade_fail_unsupported(import->context, onnx, unsupported) : SPADE_OK;
    free(unsupported);
    return status;
}

static spade_status lower_nodes(spade_import *import, const spade_import_output *output, const node_order *order)
{
    for (int i = 0; i < import->onnx->node_count; i++) {
        int node = order->nodes[i], match = order->matches.at[node];
        if (!order->live[node] || order->matches.taken[node]) { continue; }
        if (spade_output_is_head(output, node)) {
            SPADE_TRY(spade_output_pass(import, node));
            continue;
        }
        if (spade_input_is_form(import, node)) {
            SPADE_TRY(spade_input_pass(import, node));
            continue;
        }
        const spade_pattern_match *found = match >= 0 ? &order->matches.items[match] : NULL;
        SPADE_TRY(found ? found->pattern->emit(import, found) : lower_node(import, node));
    }
    return SPADE_OK;
}

static spade_status lower_graph(spade_import *import)
{
    const onnx_model *onnx = import->onnx;
    spade_import_output output = {0};
    node_order order = {0};
    spade_status status = SPADE_OK;
    if (onnx->opset < SPADE_MIN_OPSET) {
        return spade_fail(import->context, SPADE_ERROR_UNSUPPORTED,
                          "%s: opset %lld is not supported, only %d and later", onnx->path, (long long)onnx->opset,
                          SPADE_MIN_OPSET);
    }
    SPADE_TRY(bind_inputs(import));
    SPADE_TRY(check_names(import));
    SPADE_TRY(spade_output_find(import, &output));
    SPADE_GOTO(find_order(import, &output, &order));
    SPADE_GOTO(check_operators(import, &output, &order));
    SPADE_GOTO(lower_nodes(import, &output, &order));
    SPADE_GOTO(spade_output_take(import, &output));
    bool first = true; /* the first convolution sees the picture itself and stays dense */
    for (int i = 0; i < import->network->layer_count; i++) {
        spade_layer *layer = &import->network->layers[i];
        layer->prunable = !(layer->convolution && first);
        first = first && !layer->convolution;
    }
done:
    clear_order(&order);
    return status;
}

/* ---- from the outside */

static spade_status open_import(spade_import *import)
{
    const onnx_model *onnx = import->onnx;
    size_t names = (size_t)onnx->initializer_count + (size_t)onnx->node_count + 2;
    import->operands = calloc(names, sizeof *import->operands);
    import->made = calloc((size_t)onnx->node_count + 1, sizeof *import->made);
    return import->operands && import->made ? SPADE_OK : spade_import_memory(import);
}

static void close_import(spade_import *import)
{
    for (int i = 0; import->made && i < import->made_count; i++) { free((void *)(uintptr_t)import->made[i].bytes); }
    free(import->made);
    free(import->operands);
    spade_name_map_clear(&import->names);
    spade_name_map_clear(&import->producers);
}

spade_status spade_network_import(spade_context *context, const onnx_model *onnx, const spade_model_options *options,
                                  spade_network *out)
{
    *out = (spade_network){.context = context, .input = -1, .output = -1};
    spade_import import = {.context = context, .onnx = onnx, .options = options, .network = out};
    spade_status status = open_import(&import);
    if (status == SPADE_OK) { status = lower_graph(&import); }
    if (status == SPADE_OK) { status = spade_network_layout(context, out); }
    close_import(&import);
    if (status != SPADE_OK) { spade_network_clear(out); }
    return status;
}

void spade_operators_supported(spade_context *context, const onnx_model *onnx, const spade_model_options *options,
                               bool *supported)
{
    spade_network scratch = {.context = context, .input = -1, .output = -1};
    spade_import import = {.context = context, .onnx = onnx, .options = options, .network = &scratch};
    spade_import_output output;
    node_order order = {0};
    spade_error error;
    spade_error_save(context, &error); /* whoever loads the model is told what is wrong with it */
    for (int i = 0; i < onnx->node_count; i++) { supported[i] = find_operator(&onnx->nodes[i]) != NULL; }
    if (open_import(&import) == SPADE_OK) {
        (void)bind_inputs(&import); /* of a file that leaves the size open, the initializers */
        (void)check_names(&import);
        if (spade_output_find(&import, &output) == SPADE_OK && find_order(&import, &output, &order) == SPADE_OK) {
            for (int i = 0; i < onnx->node_count; i++) {
                supported[i] = supported[i] || !order.live[i] || order.matches.taken[i] || order.matches.at[i] >= 0 ||
                               spade_output_is_head(&output, i) || spade_input_is_form(&import, i);
            }
        }
    }
    clear_order(&order);
    close_import(&import);
    spade_network_clear(&scratch);
    spade_error_restore(context, &error);
}
