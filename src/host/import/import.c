/*
 * import.c - from an ONNX file to the graph: names, order, the graph's input and output; operators/ and patterns/ make nodes.
 *
 * Only nodes that the output depends on are lowered; the others are checked for names and cycles only.
 */
#include <math.h>
#include <stdarg.h>

#include "base/number.h"
#include "import/fold/fold.h"
#include "import/head.h"
#include "import/input.h"
#include "import/known_operators.h"
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
    spade_print_list(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return spade_fail(import->context, status, "%.200s: node \"%.200s\" (%.60s): %s", import->onnx->path,
                      spade_onnx_label(node), node->op_type, reason);
}

spade_status(spade_import_memory)(spade_import *import)
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
                                 "uses \"%.200s\", an output that is not computed", name);
    }
    *out = import->operands[index];
    if (!out->quantised || strcmp(node->op_type, "DequantizeLinear") == 0) { return SPADE_OK; }
    return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                             "reads \"%.200s\", integers of a QuantizeLinear, which only a DequantizeLinear may", name);
}

/* Numbers that are the same for every picture, one at a time or without a batch at all: a constant of the network. */
static spade_status make_uniform(spade_import *import, const onnx_node *node, int input, const onnx_tensor *tensor,
                                 int *out)
{
    spade_shape shape = {.rank = tensor->rank};
    if (tensor->rank < 1) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "input %d is a number, which is not supported",
                                 input);
    }
    memcpy(shape.dims, tensor->dims, sizeof shape.dims);
    SPADE_TRY(spade_require_float(import, node, tensor));
    return spade_make_constant(import, node, tensor->name, &shape, tensor->bytes, out);
}

spade_status spade_activation_get(spade_import *import, const onnx_node *node, int input, int *out)
{
    spade_operand operand = {.value = -1};
    SPADE_TRY(spade_operand_get(import, node, input, &operand));
    *out = operand.value;
    if (operand.value >= 0) { return SPADE_OK; }
    const spade_fold *fold = operand.fold;
    const onnx_tensor *tensor = operand.tensor;
    if (!tensor && fold && !fold->batch && !fold->index && fold->batch_axis >= 0 &&
        fold->tensor.dims[fold->batch_axis] == 1) {
        tensor = spade_fold_single(fold);
    }
    if (tensor) { return make_uniform(import, node, input, tensor, out); }
    return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "input %d is a constant, which is not supported",
                             input);
}

spade_status spade_constant_get(spade_import *import, const onnx_node *node, int input, const onnx_tensor **out)
{
    spade_operand operand = {.value = -1};
    SPADE_TRY(spade_operand_get(import, node, input, &operand));
    if (operand.value >= 0) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "input %d (\"%.100s\") is computed, only a constant is supported", input,
                                 node->inputs[input]);
    }
    if (!operand.tensor) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "input %d (\"%.100s\") depends on the batch, only a constant is supported", input,
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

spade_status spade_copy_vector(spade_import *import, const onnx_node *node, int input, int64_t n, spade_parameter *out)
{
    const onnx_tensor *tensor = NULL;
    SPADE_TRY(spade_constant_get(import, node, input, &tensor));
    if (tensor->count != n) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "\"%.100s\" has %lld elements instead of %lld",
                                 tensor->name, (long long)tensor->count, (long long)n);
    }
    float *copy;
    SPADE_TRY(spade_copy_floats(import, node, tensor, &copy));
    *out = (spade_parameter){copy, n};
    return SPADE_OK;
}

/* ---- results */

spade_extent spade_value_extent(const spade_import *import, int value)
{
    const spade_value *from = &import->network->values[value];
    spade_extent extent = {.rank = from->shape.rank, .batch_axis = from->batch_axis, .batch_outer = from->batch_outer};
    memcpy(extent.dims, from->shape.dims, sizeof extent.dims);
    return extent;
}

spade_status spade_make(spade_import *import, const onnx_node *from, spade_node *node, const int *inputs,
                        int input_count, const spade_extent *extent, int *out)
{
    spade_network *network = import->network;
    spade_value value = {.shape = {.rank = extent->rank},
                         .batch_axis = extent->batch_axis,
                         .batch_outer = extent->batch_outer,
                         .producer = network->node_count};
    spade_status status = SPADE_OK;
    memcpy(value.shape.dims, extent->dims, (size_t)extent->rank * sizeof *extent->dims);
    if (from->output_count < 1) { SPADE_GOTO(spade_import_fail(import, from, SPADE_ERROR_INPUT, "has no output")); }
    SPADE_GOTO(spade_check_shape(import, from, &value.shape));
    status = SPADE_ERROR_MEMORY;
    node->name = strdup(spade_onnx_label(from));
    node->path = spade_node_path(from);
    value.name = strdup("");
    if (!node->name || !node->path || !value.name) { goto done; }
    const int made = spade_network_add_value(network, &value);
    if (made < 0) { goto done; }
    value.name = NULL;
    if (!spade_node_connect(node, inputs, input_count, &made, 1)) { goto done; }
    *out = made; /* which may be where the one input stood */
    int index = spade_network_add_node(network, node);
    if (index < 0) { goto done; }
    if (node->layer >= 0) { network->layers[node->layer].node = index; }
    return SPADE_OK;
done:
    free(value.name);
    spade_node_release(import->context, node);
    return status == SPADE_ERROR_MEMORY ? spade_import_memory(import) : status;
}

spade_status spade_bind_output(spade_import *import, const onnx_node *from, int output, int value)
{
    spade_value *to = &import->network->values[value];
    if (output >= from->output_count || !from->outputs[output][0]) { return SPADE_OK; }
    if (!to->name[0]) { /* else it has the name of what it was before */
        char *name = strdup(from->outputs[output]);
        if (!name) { return spade_import_memory(import); }
        free(to->name);
        to->name = name;
    }
    return spade_bind(import, from->outputs[output], (spade_operand){.value = value});
}

spade_status spade_emit(spade_import *import, const onnx_node *from, spade_node *node, const int *inputs,
                        int input_count, const spade_shape *shape)
{
    spade_extent extent = {.rank = shape->rank, .batch_axis = -1};
    int value;
    memcpy(extent.dims, shape->dims, sizeof extent.dims);
    for (int i = 0; i < input_count && extent.batch_axis < 0; i++) { /* the batch is where the first input has it */
        extent.batch_axis = import->network->values[inputs[i]].batch_axis;
        extent.batch_outer = import->network->values[inputs[i]].batch_outer;
    }
    SPADE_TRY(spade_make(import, from, node, inputs, input_count, &extent, &value));
    return spade_bind_output(import, from, 0, value);
}

spade_status spade_make_constant(spade_import *import, const onnx_node *from, const char *name,
                                 const spade_shape *shape, const void *elements, int *out)
{
    spade_value value = {.shape = *shape, .batch_axis = -1, .producer = -1};
    void *copy;
    SPADE_TRY(spade_check_shape(import, from, shape));
    const size_t bytes = (size_t)spade_shape_size(shape) * sizeof(float);
    spade_status status = spade_alloc(import->context, bytes, "the network's weights", &copy);
    if (status != SPADE_OK) { return spade_fail_in(import->context, status, "%.200s", import->onnx->path); }
    memcpy(copy, elements, bytes);
    for (int64_t i = 0; i < spade_shape_size(shape); i++) { /* infinite numbers are a mask's */
        if (!isnan(((const float *)copy)[i])) { continue; }
        spade_free_bytes(import->context, copy, bytes);
        return spade_import_fail(import, from, SPADE_ERROR_INPUT, "its constant \"%.100s\" holds NaN (element %lld)",
                                 name ? name : "", (long long)i);
    }
    value.constant = copy;
    value.name = strdup(name ? name : "");
    *out = value.name ? spade_network_add_value(import->network, &value) : -1;
    if (*out >= 0) { return SPADE_OK; }
    free(value.name);
    spade_free_bytes(import->context, copy, bytes);
    return spade_import_memory(import);
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

bool spade_lowers(const char *op_type)
{
    const onnx_node node = {.op_type = (char *)(uintptr_t)op_type};
    return find_operator(&node) != NULL;
}

static spade_status lower_node(spade_import *import, int index)
{
    const onnx_node *node = &import->onnx->nodes[index];
    bool folded;
    SPADE_TRY(spade_fold_node(import, index, &folded));
    if (folded) { return SPADE_OK; }
    const spade_onnx_operator *operator= find_operator(node);
    if (operator) { return operator->lower(import, index); }
    return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                             "is computed only of constants, and of shapes that do not depend on a picture's numbers");
}

/* ---- the whole graph */

/* In which order the ONNX nodes are lowered, and which are not. */
typedef struct node_order {
    int *nodes; /* [ONNX nodes] topological order */
    bool *live; /* the output depends on it */
    bool *done; /* it is a constant, and folded */
    spade_pattern_matches matches;
} node_order;

static void clear_order(node_order *order)
{
    spade_patterns_clear(&order->matches);
    free(order->nodes);
    free(order->live);
    free(order->done);
}

/* Constants come first, so that patterns see them: what needs no shape of a picture that is computed. */
static spade_status fold_constants(spade_import *import, const int *nodes, const bool *live, bool *done)
{
    for (int i = 0; i < import->onnx->node_count; i++) {
        const onnx_node *node = &import->onnx->nodes[nodes[i]];
        const spade_onnx_operator *operator= find_operator(node);
        if (!live[nodes[i]]) { continue; }
        if (operator&& strcmp(node->op_type, "Constant") == 0) {
            SPADE_TRY(operator->lower(import, nodes[i]));
            done[nodes[i]] = true;
        } else if (operator&& strcmp(node->op_type, "Identity") == 0 && spade_has_input(node, 0) &&
                   spade_name_map_get(&import->names, node->inputs[0]) >= 0) {
            SPADE_TRY(operator->lower(import, nodes[i]));
            done[nodes[i]] = true;
        } else {
            SPADE_TRY(spade_fold_node(import, nodes[i], &done[nodes[i]]));
        }
    }
    return SPADE_OK;
}

/* Names are bound before; *order is to be cleared also after a failure. */
static spade_status find_order(spade_import *import, const spade_import_output *output, node_order *order)
{
    const onnx_model *onnx = import->onnx;
    size_t n = (size_t)onnx->node_count + 1;
    int *nodes = calloc(n, sizeof *nodes), *stack = calloc(n, sizeof *stack);
    bool *live = calloc(n, sizeof *live), *done_nodes = calloc(n, sizeof *done_nodes);
    spade_pattern_matches matches = {0};
    spade_status status = SPADE_OK;
    if (!nodes || !live || !done_nodes || !stack) {
        status = spade_import_memory(import);
        goto done;
    }
    SPADE_GOTO(spade_import_sort(import, nodes));
    int producer = spade_name_map_get(&import->producers, output->name);
    if (producer >= 0) { spade_import_mark_live(import, producer, live, stack); }
    SPADE_GOTO(fold_constants(import, nodes, live, done_nodes));
    SPADE_GOTO(spade_patterns_find(import, nodes, live, &matches));
done:
    free(stack);
    *order = (node_order){nodes, live, done_nodes, matches};
    return status;
}

/* supported |= what is computed at import: from constants, and from the shapes of pictures. */
static void add_foldable(const spade_import *import, const node_order *order, bool *supported)
{
    const onnx_model *onnx = import->onnx;
    bool *constant = calloc((size_t)onnx->node_count + 1, sizeof *constant);
    for (int i = 0; constant && i < onnx->node_count; i++) {
        const int index = order->nodes[i];
        const onnx_node *node = &onnx->nodes[index];
        unsigned shapes = 0;
        const bool passes = strcmp(node->op_type, "Constant") == 0 || strcmp(node->op_type, "Identity") == 0;
        bool all = passes ? find_operator(node) != NULL : spade_fold_supports(node, &shapes);
        for (int k = 0; all && k < node->input_count; k++) {
            if (!spade_has_input(node, k) || (k < 32 && shapes & 1u << k)) { continue; }
            const int producer = spade_name_map_get(&import->producers, node->inputs[k]);
            all = producer >= 0 ? constant[producer] : onnx_find_initializer(onnx, node->inputs[k]) >= 0;
        }
        constant[index] = all;
        supported[index] = supported[index] || all;
    }
    free(constant);
}

/* supported [ONNX nodes]: something here computes the node, or nothing has to. */
static void mark_supported(spade_import *import, const spade_import_output *output, const node_order *order,
                           bool *supported)
{
    for (int i = 0; i < import->onnx->node_count; i++) {
        supported[i] = !order->live[i] || order->done[i] || order->matches.taken[i] || order->matches.at[i] >= 0 ||
                       spade_output_is_head(output, i) || spade_input_is_form(import, i) ||
                       find_operator(&import->onnx->nodes[i]) != NULL;
    }
    add_foldable(import, order, supported);
}

/* All operators that nothing here computes, before anything is lowered. */
static spade_status check_operators(spade_import *import, const spade_import_output *output, const node_order *order)
{
    const onnx_model *onnx = import->onnx;
    bool *supported = calloc((size_t)onnx->node_count + 1, sizeof *supported), all = true;
    if (!supported) { return spade_import_memory(import); }
    mark_supported(import, output, order, supported);
    for (int i = 0; i < onnx->node_count; i++) { all = all && supported[i]; }
    spade_status status = all ? SPADE_OK : spade_fail_unsupported(import->context, onnx, supported);
    free(supported);
    return status;
}

static spade_status lower_nodes(spade_import *import, const spade_import_output *output, const node_order *order)
{
    for (int i = 0; i < import->onnx->node_count; i++) {
        int node = order->nodes[i], match = order->matches.at[node];
        if (!order->live[node] || order->done[node] || order->matches.taken[node]) { continue; }
        if (spade_output_is_head(output, node)) {
            SPADE_TRY(spade_output_pass(import, node));
            continue;
        }
        if (spade_input_is_form(import, node)) {
            SPADE_TRY(spade_input_pass(import, node));
            continue;
        }
        const spade_pattern_match *found = match >= 0 ? &order->matches.items[match] : NULL;
        const int first = import->network->node_count;
        SPADE_TRY(found ? found->pattern->emit(import, found) : lower_node(import, node));
        for (int n = first; found && n < import->network->node_count; n++) {
            import->network->nodes[n].pattern = found->pattern->name;
        }
    }
    return SPADE_OK;
}

/* The first convolution sees the picture itself and stays dense; so does a layer that sees no picture. */
static void choose_prunable(spade_network *network)
{
    bool first = true;
    for (int i = 0; i < network->layer_count; i++) {
        spade_layer *layer = &network->layers[i];
        const bool sees = network->values[network->nodes[layer->node].inputs[0]].batch_axis >= 0;
        layer->prunable = sees && !(layer->convolution && first);
        first = first && !(sees && layer->convolution);
    }
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
    SPADE_TRY(spade_import_bind_inputs(import));
    SPADE_TRY(spade_import_check_names(import));
    SPADE_TRY(spade_output_find(import, &output));
    import->output = output.name;
    SPADE_GOTO(find_order(import, &output, &order));
    SPADE_GOTO(check_operators(import, &output, &order));
    SPADE_GOTO(lower_nodes(import, &output, &order));
    SPADE_GOTO(spade_output_take(import, &output));
    SPADE_GOTO(spade_import_weights(import));
    SPADE_GOTO(spade_network_prune(import->context, import->network));
    choose_prunable(import->network);
done:
    clear_order(&order);
    return status;
}

/* ---- from the outside */

static spade_status open_import(spade_import *import)
{
    const onnx_model *onnx = import->onnx;
    size_t names = (size_t)onnx->initializer_count + 2;
    for (int i = 0; i < onnx->node_count; i++) { names += (size_t)onnx->nodes[i].output_count; }
    import->operands = calloc(names, sizeof *import->operands);
    import->made = calloc((size_t)onnx->node_count + 1, sizeof *import->made);
    return import->operands && import->made ? SPADE_OK : spade_import_memory(import);
}

static void close_import(spade_import *import)
{
    for (int i = 0; import->made && i < import->made_count; i++) { free((void *)(uintptr_t)import->made[i].bytes); }
    free(import->made);
    free(import->operands);
    free(import->weights);
    spade_fold_clear(import);
    spade_name_map_clear(&import->names);
    spade_name_map_clear(&import->producers);
    spade_name_map_clear(&import->layers);
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
        (void)spade_import_bind_inputs(&import); /* of a file that leaves the size open, the initializers */
        (void)spade_import_check_names(&import);
        if (spade_output_find(&import, &output) == SPADE_OK && find_order(&import, &output, &order) == SPADE_OK) {
            mark_supported(&import, &output, &order, supported);
        }
    }
    clear_order(&order);
    close_import(&import);
    spade_network_clear(&scratch);
    spade_error_restore(context, &error);
}
