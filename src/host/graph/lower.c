/*
 * lower.c - from an ONNX file to the graph: names, order, the graph's input and output; the operators are in lower_*.c.
 *
 * Only nodes that the output depends on are lowered; the others are checked for names and cycles only.
 */
#include <stdarg.h>

#include "graph/lower.h"
#include "graph/ready.h"

const char *spade_onnx_label(const onnx_node *node)
{
    return node->name[0] || !node->output_count ? node->name : node->outputs[0];
}

/* ---- failing */

spade_status(spade_lower_fail)(spade_lowering *lowering, const onnx_node *node, spade_status status, const char *format,
                               ...)
{
    char reason[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return spade_fail(lowering->context, status, "%.200s: node \"%.200s\" (%.60s): %s", lowering->onnx->path,
                      spade_onnx_label(node), node->op_type, reason);
}

spade_status spade_lower_memory(spade_lowering *lowering)
{
    return spade_fail(lowering->context, SPADE_ERROR_MEMORY, "%s: out of memory while reading the graph",
                      lowering->onnx->path);
}

spade_status spade_lower_attribute(spade_lowering *lowering, spade_status status)
{
    if (status == SPADE_OK) { return SPADE_OK; }
    return spade_fail_in(lowering->context, status, "%.200s", lowering->onnx->path);
}

/* ---- inputs */

bool spade_has_input(const onnx_node *node, int input)
{
    return input < node->input_count && node->inputs[input][0];
}

spade_status spade_bind(spade_lowering *lowering, const char *name, spade_operand operand)
{
    lowering->operands[lowering->operand_count] = operand;
    if (!spade_name_map_put(&lowering->names, name, lowering->operand_count)) { return spade_lower_memory(lowering); }
    lowering->operand_count++;
    return SPADE_OK;
}

spade_status spade_operand_get(spade_lowering *lowering, const onnx_node *node, int input, spade_operand *out)
{
    if (!spade_has_input(node, input)) {
        return spade_lower_fail(lowering, node, SPADE_ERROR_INPUT, "input %d is missing", input);
    }
    const char *name = node->inputs[input];
    int index = spade_name_map_get(&lowering->names, name);
    if (index < 0) {
        return spade_lower_fail(lowering, node, SPADE_ERROR_UNSUPPORTED,
                                "uses \"%.200s\", a secondary output, which is not supported", name);
    }
    *out = lowering->operands[index];
    return SPADE_OK;
}

spade_status spade_activation_get(spade_lowering *lowering, const onnx_node *node, int input, int *out)
{
    spade_operand operand = {-1, NULL};
    SPADE_TRY(spade_operand_get(lowering, node, input, &operand));
    if (operand.value < 0) {
        return spade_lower_fail(lowering, node, SPADE_ERROR_UNSUPPORTED,
                                "input %d is a constant, which is not supported", input);
    }
    *out = operand.value;
    return SPADE_OK;
}

spade_status spade_constant_get(spade_lowering *lowering, const onnx_node *node, int input, const onnx_tensor **out)
{
    spade_operand operand = {-1, NULL};
    SPADE_TRY(spade_operand_get(lowering, node, input, &operand));
    if (operand.value >= 0) {
        return spade_lower_fail(lowering, node, SPADE_ERROR_UNSUPPORTED,
                                "input %d (\"%.100s\") is computed, only a constant is supported", input,
                                node->inputs[input]);
    }
    *out = operand.tensor;
    return SPADE_OK;
}

spade_status spade_require_float(spade_lowering *lowering, const onnx_node *node, const onnx_tensor *tensor)
{
    if (tensor->type == ONNX_FLOAT && tensor->bytes) { return SPADE_OK; }
    if (tensor->type == ONNX_FLOAT && tensor->count == 0) {
        return spade_lower_fail(lowering, node, SPADE_ERROR_INPUT, "\"%.100s\" is empty", tensor->name);
    }
    char number[32];
    snprintf(number, sizeof number, "type %d", tensor->type);
    const char *type = tensor->type == ONNX_FLOAT16 ? "float16" : tensor->type == ONNX_DOUBLE ? "float64" : number;
    return spade_lower_fail(lowering, node, SPADE_ERROR_UNSUPPORTED,
                            "\"%.100s\" is %s, only float32 weights are supported", tensor->name, type);
}

spade_status spade_copy_floats(spade_lowering *lowering, const onnx_node *node, const onnx_tensor *tensor, float **out)
{
    *out = NULL;
    SPADE_TRY(spade_require_float(lowering, node, tensor));
    void *copy;
    size_t bytes = (size_t)tensor->count * sizeof(float);
    spade_status status = spade_alloc(lowering->context, bytes, "the network's weights", &copy);
    if (status != SPADE_OK) { return spade_fail_in(lowering->context, status, "%.200s", lowering->onnx->path); }
    memcpy(copy, tensor->bytes, bytes);
    *out = copy;
    return SPADE_OK;
}

spade_status spade_copy_vector(spade_lowering *lowering, const onnx_node *node, int input, int64_t n, float **out)
{
    const onnx_tensor *tensor = NULL;
    *out = NULL;
    SPADE_TRY(spade_constant_get(lowering, node, input, &tensor));
    if (tensor->count != n) {
        return spade_lower_fail(lowering, node, SPADE_ERROR_INPUT, "\"%.100s\" has %lld elements instead of %lld",
                                tensor->name, (long long)tensor->count, (long long)n);
    }
    return spade_copy_floats(lowering, node, tensor, out);
}

/* ---- results */

spade_status spade_emit(spade_lowering *lowering, const onnx_node *from, spade_node *node, const spade_shape *shape)
{
    spade_graph *graph = lowering->graph;
    spade_value value = {.shape = *shape, .batch_axis = 0, .producer = graph->node_count};
    spade_status status = SPADE_OK;
    if (from->output_count < 1 || !from->outputs[0][0]) {
        SPADE_GOTO(spade_lower_fail(lowering, from, SPADE_ERROR_INPUT, "has no output"));
    }
    SPADE_GOTO(spade_check_shape(lowering, from, shape));
    status = SPADE_ERROR_MEMORY;
    node->name = strdup(spade_onnx_label(from));
    value.name = strdup(from->outputs[0]);
    if (!node->name || !value.name) { goto done; }
    node->output = spade_graph_add_value(graph, &value);
    if (node->output < 0) { goto done; }
    value.name = NULL;
    int index = spade_graph_add_node(graph, node);
    if (index < 0) { goto done; }
    if (node->layer >= 0) { graph->layers[node->layer].node = index; }
    return spade_bind(lowering, from->outputs[0], (spade_operand){.value = node->output});
done:
    free(value.name);
    spade_node_release(graph, node, shape->dims[1]);
    return status == SPADE_ERROR_MEMORY ? spade_lower_memory(lowering) : status;
}

/* ---- names and order */

static spade_status check_input_name(spade_lowering *lowering, const onnx_node *node, const char *name)
{
    if (!name[0] || spade_name_map_get(&lowering->producers, name) >= 0 ||
        spade_name_map_get(&lowering->names, name) >= 0) {
        return SPADE_OK;
    }
    return spade_lower_fail(lowering, node, SPADE_ERROR_INPUT,
                            "its input \"%.200s\" is neither an initializer nor the output of a node", name);
}

/* Fill in `producers`; every name has one producer, every input one that exists. */
static spade_status check_names(spade_lowering *lowering)
{
    const onnx_model *onnx = lowering->onnx;
    for (int i = 0; i < onnx->node_count; i++) {
        const onnx_node *node = &onnx->nodes[i];
        for (int k = 0; k < node->output_count; k++) {
            const char *name = node->outputs[k];
            if (!name[0]) { continue; }
            if (spade_name_map_get(&lowering->producers, name) >= 0 ||
                spade_name_map_get(&lowering->names, name) >= 0) {
                return spade_lower_fail(lowering, node, SPADE_ERROR_INPUT, "its output \"%.200s\" is defined twice",
                                        name);
            }
            if (!spade_name_map_put(&lowering->producers, name, i)) { return spade_lower_memory(lowering); }
        }
    }
    for (int i = 0; i < onnx->node_count; i++) {
        for (int k = 0; k < onnx->nodes[i].input_count; k++) {
            SPADE_TRY(check_input_name(lowering, &onnx->nodes[i], onnx->nodes[i].inputs[k]));
        }
    }
    return SPADE_OK;
}

/* Mark the nodes that `output` depends on, by walking back with an explicit stack. live[] and stack[] have node_count
 * entries. */
static void mark_live(spade_lowering *lowering, int output, bool *live, int *stack)
{
    int depth = 0;
    live[output] = true;
    stack[depth++] = output;
    while (depth) {
        const onnx_node *node = &lowering->onnx->nodes[stack[--depth]];
        for (int k = 0; k < node->input_count; k++) {
            int producer = node->inputs[k][0] ? spade_name_map_get(&lowering->producers, node->inputs[k]) : -1;
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

static bool collect_edges(spade_lowering *lowering, edges *e)
{
    const onnx_model *onnx = lowering->onnx;
    size_t n = (size_t)onnx->node_count, total = 0;
    for (size_t i = 0; i < n; i++) { total += (size_t)onnx->nodes[i].input_count; }
    *e = (edges){calloc(n + 2, sizeof(int)), calloc(total + 1, sizeof(int)), calloc(n + 1, sizeof(int))};
    if (!e->first || !e->users || !e->waiting) { return false; }
    for (int fill = 0; fill < 2; fill++) {
        for (int i = 0; i < onnx->node_count; i++) {
            for (int k = 0; k < onnx->nodes[i].input_count; k++) {
                const char *name = onnx->nodes[i].inputs[k];
                int producer = name[0] ? spade_name_map_get(&lowering->producers, name) : -1;
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
static spade_status sort_nodes(spade_lowering *lowering, int *order)
{
    const onnx_model *onnx = lowering->onnx;
    edges e;
    spade_status status = SPADE_OK;
    int count = 0;
    bool sorted = true;
    if (!collect_edges(lowering, &e)) {
        status = spade_lower_memory(lowering);
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
            status = spade_lower_fail(lowering, &onnx->nodes[i], SPADE_ERROR_INPUT,
                                      "the graph has a cycle through it or before it");
            break;
        }
    }
done:
    free_edges(&e);
    return status;
}

/* ---- the graph's input and output */

static spade_status fail_graph(spade_lowering *lowering, spade_status status, const char *what, const char *name)
{
    return spade_fail(lowering->context, status, "%.200s: %s \"%.200s\"", lowering->onnx->path, what, name);
}

/* Height or width: what the file says, or the option where the file leaves it open. */
static spade_status resolve_side(spade_lowering *lowering, const char *side, int64_t in_file, int64_t option,
                                 int64_t *out)
{
    const char *path = lowering->onnx->path;
    if (in_file > 0 && option > 0 && in_file != option) {
        return spade_fail(lowering->context, SPADE_ERROR_ARGUMENT, "%.200s: the network's input %s is %lld, not %lld",
                          path, side, (long long)in_file, (long long)option);
    }
    if (in_file <= 0 && option <= 0) {
        return spade_fail(lowering->context, SPADE_ERROR_INPUT,
                          "%.200s: the file leaves the input %s open; give the input size (height and width)", path,
                          side);
    }
    *out = in_file > 0 ? in_file : option;
    return SPADE_OK;
}

static spade_status bind_input(spade_lowering *lowering, const onnx_value *input)
{
    spade_graph *graph = lowering->graph;
    const char *path = lowering->onnx->path;
    spade_value value = {.shape = {4, {1, input->dims[1], 0, 0}, SPADE_ROW_MAJOR}, .producer = -1};
    if (input->type != ONNX_FLOAT) {
        return fail_graph(lowering, SPADE_ERROR_UNSUPPORTED, "only float32 is supported as input", input->name);
    }
    if (input->rank != 4 || input->dims[1] < 1) {
        return fail_graph(lowering, SPADE_ERROR_UNSUPPORTED,
                          "the input has to be [batch, channels, height, width], unlike", input->name);
    }
    const spade_model_options none = {0}, *options = lowering->options ? lowering->options : &none;
    SPADE_TRY(resolve_side(lowering, "height", input->dims[2], options->height, &value.shape.dims[2]));
    SPADE_TRY(resolve_side(lowering, "width", input->dims[3], options->width, &value.shape.dims[3]));
    int64_t size;
    if (input->dims[0] == 0 || !spade_mul_dims(value.shape.dims, 4, &size) || size > SPADE_MAX_ELEMENTS) {
        return spade_fail(lowering->context, SPADE_ERROR_INPUT,
                          "%.200s: the dimensions of the input \"%.200s\" are beyond the limits", path, input->name);
    }
    lowering->file_batch = input->dims[0] > 0 ? input->dims[0] : 0;
    value.name = strdup(input->name);
    graph->input = value.name ? spade_graph_add_value(graph, &value) : -1;
    if (graph->input < 0) {
        free(value.name);
        return spade_lower_memory(lowering);
    }
    return spade_bind(lowering, input->name, (spade_operand){.value = graph->input});
}

/* Initializers, and the one real input. */
static spade_status bind_inputs(spade_lowering *lowering)
{
    const onnx_model *onnx = lowering->onnx;
    const onnx_value *input = NULL;
    for (int i = 0; i < onnx->initializer_count; i++) {
        const onnx_tensor *tensor = &onnx->initializers[i];
        if (!tensor->name || !tensor->name[0]) { continue; }
        if (spade_name_map_get(&lowering->names, tensor->name) >= 0) {
            return fail_graph(lowering, SPADE_ERROR_INPUT, "two initializers have the name", tensor->name);
        }
        SPADE_TRY(spade_bind(lowering, tensor->name, (spade_operand){-1, tensor}));
    }
    for (int i = 0; i < onnx->input_count; i++) {
        if (spade_name_map_get(&lowering->names, onnx->inputs[i].name) >= 0) { continue; }
        if (input) {
            return fail_graph(lowering, SPADE_ERROR_UNSUPPORTED, "only one input is supported, there is also",
                              onnx->inputs[i].name);
        }
        input = &onnx->inputs[i];
    }
    if (!input) { return spade_fail(lowering->context, SPADE_ERROR_INPUT, "%s: the graph has no input", onnx->path); }
    return bind_input(lowering, input);
}

static spade_status take_output(spade_lowering *lowering, const onnx_value *output)
{
    int index = spade_name_map_get(&lowering->names, output->name);
    if (index < 0) {
        return fail_graph(lowering, SPADE_ERROR_INPUT, "no supported node computes the output", output->name);
    }
    spade_operand operand = lowering->operands[index];
    if (operand.value < 0 || operand.value == lowering->graph->input) {
        return fail_graph(lowering, SPADE_ERROR_UNSUPPORTED,
                          "the output does not depend on the network:", output->name);
    }
    const spade_shape *shape = &lowering->graph->values[operand.value].shape;
    if (shape->rank != 2 || shape->dims[0] != 1) {
        return fail_graph(lowering, SPADE_ERROR_UNSUPPORTED,
                          "only classifiers with an output [batch, classes] are supported, unlike", output->name);
    }
    lowering->graph->output = operand.value;
    return SPADE_OK;
}

/* ---- lowering */

static spade_status lower_nodes(spade_lowering *lowering, const int *order, const bool *live)
{
    const onnx_model *onnx = lowering->onnx;
    for (int i = 0; i < onnx->node_count; i++) {
        const onnx_node *node = &onnx->nodes[order[i]];
        if (!live[order[i]]) { continue; }
        spade_lower_fn lower = spade_find_lowering(node);
        if (!lower) {
            const char *domain = node->domain ? node->domain : "";
            return spade_fail(lowering->context, SPADE_ERROR_UNSUPPORTED,
                              "%.200s: operator %.100s%s%.100s of node \"%.200s\" is not supported", onnx->path, domain,
                              domain[0] ? "." : "", node->op_type, spade_onnx_label(node));
        }
        SPADE_TRY(lower(lowering, order[i]));
    }
    return SPADE_OK;
}

static spade_status lower_graph(spade_lowering *lowering)
{
    const onnx_model *onnx = lowering->onnx;
    size_t n = (size_t)onnx->node_count + 1;
    int *order = calloc(n, sizeof *order), *stack = calloc(n, sizeof *stack);
    bool *live = calloc(n, sizeof *live);
    spade_status status = SPADE_OK;
    if (!order || !stack || !live) {
        status = spade_lower_memory(lowering);
        goto done;
    }
    if (onnx->opset < SPADE_MIN_OPSET) {
        SPADE_GOTO(spade_fail(lowering->context, SPADE_ERROR_UNSUPPORTED,
                              "%s: opset %lld is not supported, only %d and later", onnx->path, (long long)onnx->opset,
                              SPADE_MIN_OPSET));
    }
    SPADE_GOTO(bind_inputs(lowering));
    SPADE_GOTO(check_names(lowering));
    if (onnx->output_count != 1) {
        SPADE_GOTO(spade_fail(lowering->context, SPADE_ERROR_UNSUPPORTED,
                              "%s: the graph has %d outputs, only one is supported", onnx->path, onnx->output_count));
    }
    SPADE_GOTO(sort_nodes(lowering, order));
    int producer = spade_name_map_get(&lowering->producers, onnx->outputs[0].name);
    if (producer >= 0) { mark_live(lowering, producer, live, stack); }
    SPADE_GOTO(lower_nodes(lowering, order, live));
    SPADE_GOTO(take_output(lowering, &onnx->outputs[0]));
    bool first = true; /* the first convolution sees the picture itself and stays dense */
    for (int i = 0; i < lowering->graph->layer_count; i++) {
        spade_layer *layer = &lowering->graph->layers[i];
        layer->prunable = !(layer->convolution && first);
        first = first && !layer->convolution;
    }
done:
    free(order);
    free(stack);
    free(live);
    return status;
}

spade_status spade_graph_build(spade_context *context, const onnx_model *onnx, const spade_model_options *options,
                               spade_graph *out)
{
    *out = (spade_graph){.context = context, .input = -1, .output = -1};
    spade_lowering lowering = {.context = context, .onnx = onnx, .options = options, .graph = out};
    size_t names = (size_t)onnx->initializer_count + (size_t)onnx->node_count + 2;
    spade_status status = SPADE_OK;
    lowering.operands = calloc(names, sizeof *lowering.operands);
    lowering.made = calloc((size_t)onnx->node_count + 1, sizeof *lowering.made);
    out->ready = calloc(1, sizeof *out->ready);
    if (!lowering.operands || !lowering.made || !out->ready) {
        status = spade_lower_memory(&lowering);
        goto done;
    }
    SPADE_GOTO(lower_graph(&lowering));
    SPADE_GOTO(spade_graph_layout(context, out));
done:
    for (int i = 0; lowering.made && i < lowering.made_count; i++) { free((void *)(uintptr_t)lowering.made[i].bytes); }
    free(lowering.made);
    free(lowering.operands);
    spade_name_map_clear(&lowering.names);
    spade_name_map_clear(&lowering.producers);
    if (status != SPADE_OK) { spade_graph_clear(out); }
    return status;
}
