/*
 * layer_names.c - how a layer is called, and the module that a node stands in. Source: spec, section 1.
 *
 * PyTorch's exporters leave the module's path in the weight's name ("layer1.0.conv1.weight"), and where they made a new
 * tensor of the weight (folded with BatchNorm, transposed, standardised), in what the node says of itself: until 2.8 its
 * name is a path, since 2.9 its metadata hold the scopes.
 */
#include "import/import.h"

/* Names that an exporter made up: "onnx::MatMul_657", "/fc/Constant_output_0", "193", "val_28". */
static bool is_made_up(const char *name)
{
    const char *number = strncmp(name, "val_", 4) == 0 ? name + 4 : name;
    return !name[0] || name[0] == '/' || strstr(name, "::") || strspn(number, "0123456789") == strlen(number);
}

static bool ends_in(const char *name, const char *suffix)
{
    size_t length = strlen(name), tail = strlen(suffix);
    return length > tail && strcmp(name + length - tail, suffix) == 0;
}

static bool lies_in(const char *name, const char *path)
{
    const size_t length = strlen(path);
    return length && strncmp(name, path, length) == 0 && name[length] == '.';
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* ---- the module that a node stands in */

/* "/encoder/layers/layers.0/mlp/MatMul": the operator is dropped, segments are joined, and one that begins with its
 * predecessor and a dot replaces it. */
static bool path_of_name(const char *node_name, char *path)
{
    char *copy = strdup(node_name), *end = copy ? strrchr(copy, '/') : NULL, *rest = NULL;
    const char *before = NULL;
    size_t before_length = 0, length = 0;
    if (!copy || !end) {
        free(copy);
        return copy != NULL;
    }
    *end = '\0';
    for (char *segment = strtok_r(copy, "/", &rest); segment; segment = strtok_r(NULL, "/", &rest)) {
        size_t size = strlen(segment);
        if (before && size > before_length && segment[before_length] == '.' &&
            strncmp(segment, before, before_length) == 0) {
            length -= before_length;
        } else if (length) {
            path[length++] = '.';
        }
        memcpy(path + length, segment, size + 1);
        length += size;
        before = segment;
        before_length = size;
    }
    free(copy);
    return true;
}

/* "['', 'mlp', 'mlp.fc1', 'linear']": the last entry but one. False: it is no such list. */
static bool path_of_scopes(const char *scopes, char *path)
{
    const char *entry = NULL, *module = NULL; /* behind the opening quotation mark */
    size_t length = 0, module_length = 0;
    const char *at = scopes[0] == '[' ? scopes + 1 : "";
    while (*at == '\'' || *at == '"') {
        const char *end = strchr(at + 1, *at);
        if (!end) { return false; }
        module = entry;
        module_length = length;
        entry = at + 1;
        length = (size_t)(end - entry);
        at = end + 1 + strspn(end + 1, ", ");
    }
    if (strcmp(at, "]") != 0 || !module) { return false; }
    memcpy(path, module, module_length);
    return true;
}

char *spade_node_path(const onnx_node *node)
{
    const size_t name_length = strlen(node->name), scopes_length = node->scopes ? strlen(node->scopes) : 0;
    char *path = calloc((name_length > scopes_length ? name_length : scopes_length) + 1, 1);
    if (!path || (node->scopes && path_of_scopes(node->scopes, path)) || path_of_name(node->name, path)) {
        return path;
    }
    free(path);
    return NULL;
}

/* The exporter folded a BatchNorm into the node and says of the node where the BatchNorm stood. */
static bool stands_for_batch_norm(const onnx_node *node)
{
    const char *target = node->call ? strstr(node->call, "target=") : NULL;
    const char *norm = target ? strstr(target, "batch_norm") : NULL;
    return norm && norm < target + strcspn(target, "](");
}

/* ---- what tells a layer's module where its weight does not: a new string, NULL: nothing does */

/* The module of a tensor called MODULE.bias or MODULE_bias; NULL too: it is none. It has to be the module `path`, in which
 * the node stands, or one in it: equal biases of several modules are written once. */
static char *module_of_bias(const char *bias, const char *path)
{
    enum { SUFFIX = 5 }; /* ".bias", "_bias" */
    if (is_made_up(bias) || !(ends_in(bias, ".bias") || ends_in(bias, "_bias"))) { return NULL; }
    char *name = strndup(bias, strlen(bias) - SUFFIX);
    if (!name || !path[0] || strcmp(name, path) == 0 || lies_in(name, path)) { return name; }
    free(name);
    return NULL;
}

/* What a constant tensor is a copy of, or a changed copy (an attention whose keys have no bias overwrites a third of the
 * projection's by zeros). NULL: it is no copy. */
static const char *copied_from(const spade_import *import, const char *tensor)
{
    const int producer = spade_name_map_get(&import->producers, tensor);
    const onnx_node *node = producer >= 0 ? &import->onnx->nodes[producer] : NULL;
    const bool copies = node && (strcmp(node->op_type, "Identity") == 0 || strcmp(node->op_type, "ScatterND") == 0);
    return copies && node->input_count ? node->inputs[0] : NULL;
}

/* The bias that the file holds under its own name: the node's third input, or what is added right behind a product; or the
 * one that this is a copy of. A layer without one gets "WEIGHT_bias" from a folded BatchNorm, which says no more than its
 * weight. */
static char *name_by_bias(const spade_import *import, int index, const char *path, const char *weight)
{
    enum { NODES_BEHIND = 8 }; /* the sum follows, behind nodes that make constants */
    const onnx_model *onnx = import->onnx;
    const onnx_node *node = &onnx->nodes[index];
    const char *bias = node->input_count > 2 ? node->inputs[2] : NULL;
    for (int n = index + 1; !bias && node->output_count && n < onnx->node_count && n <= index + NODES_BEHIND; n++) {
        const onnx_node *sum = &onnx->nodes[n];
        if (strcmp(sum->op_type, "Add") != 0 || sum->input_count != 2) { continue; }
        for (int k = 0; k < 2; k++) {
            if (strcmp(sum->inputs[k], node->outputs[0]) == 0) { bias = sum->inputs[1 - k]; }
        }
    }
    if (bias && strncmp(bias, weight, strlen(weight)) == 0 && strcmp(bias + strlen(weight), "_bias") == 0) {
        return NULL;
    }
    char *name = NULL;
    for (; bias; bias = copied_from(import, bias)) {
        if (!name) { name = module_of_bias(bias, path); }
        if (onnx_find_initializer(import->onnx, bias) >= 0) { return name; }
    }
    free(name); /* computed from the picture */
    return NULL;
}

/* The call that PyTorch traced: "%p_blocks_0_attn_qkv_weight" among its arguments, in the module "blocks.0.attn", is the
 * weight of "blocks.0.attn.qkv". */
static char *name_by_call(const char *call, const char *path)
{
    const size_t path_length = strlen(path);
    for (const char *at = strstr(call, "%p_"); at && path_length; at = strstr(at + 1, "%p_")) {
        const char *module = at + strlen("%p_");
        const size_t length = strspn(module, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
        const size_t suffix = strlen("_weight");
        size_t same = 0;
        while (same < path_length && (module[same] == path[same] || (module[same] == '_' && path[same] == '.'))) {
            same++;
        }
        if (same < path_length || length < path_length + suffix || module[same] != '_' ||
            strncmp(module + length - suffix, "_weight", suffix) != 0) {
            continue;
        }
        const size_t within = length - suffix - path_length; /* "_qkv", or nothing */
        char *name = calloc(path_length + within + 1, 1);
        if (!name) { return NULL; }
        memcpy(name, path, path_length);
        memcpy(name + path_length, module + path_length, within);
        if (within) { name[path_length] = '.'; }
        return name;
    }
    return NULL;
}

/* An attention computes queries, keys and values with one product of three times the width; its node stands in the
 * attention itself. */
static bool is_in_projection(const onnx_node *node, const char *path, int64_t rows, int64_t columns)
{
    const char *last = last_part(path);
    return strcmp(node->op_type, "MatMul") == 0 && rows == 3 * columns &&
           (strstr(last, "attention") || strstr(last, "attn"));
}

static char *name_by_path(const onnx_node *node, const char *path, int64_t rows, int64_t columns)
{
    const char *suffix = is_in_projection(node, path, rows, columns) ? ".in_proj" : "";
    size_t room = strlen(path) + strlen(suffix) + 1;
    char *name = malloc(room);
    if (name) { snprintf(name, room, "%s%s", path, suffix); }
    return name;
}

/* ---- the name */

/* The weight's own name tells its module. Where the file says in which one the node stands, tensors that are neither called
 * weights nor lie in it ("view_5") were made by the exporter. */
static bool weight_tells(const onnx_node *node, const char *path, const char *weight)
{
    return !is_made_up(weight) &&
           (!node->scopes || ends_in(weight, ".weight") || ends_in(weight, "_weight") || lies_in(weight, path));
}

/* Do several nodes read the weight? Exporters fold nothing into such a one. */
static bool is_shared(const onnx_model *onnx, const char *weight)
{
    int readers = 0;
    for (int n = 0; n < onnx->node_count && readers < 2; n++) {
        const onnx_node *node = &onnx->nodes[n];
        for (int k = 0; k < node->input_count; k++) { readers += strcmp(node->inputs[k], weight) == 0; }
    }
    return readers > 1;
}

static char *name_by_weight(const onnx_model *onnx, const onnx_node *node, const char *path, const char *weight)
{
    const bool suffix = ends_in(weight, ".weight") || ends_in(weight, "_weight");
    /* "pool.filter" of the convolution that is "pool" */
    if (!suffix && strcmp(node->op_type, "Conv") == 0 && lies_in(weight, path) &&
        !strchr(weight + strlen(path) + 1, '.')) {
        return strdup(path);
    }
    char *name = strndup(weight, strlen(weight) - (suffix ? strlen(".weight") : 0));
    /* A module that stands in several places, or modules of one weight: the weight has the name of one of them, the node
     * stands in each. */
    if (name && node->scopes && path[0] && strcmp(name, path) != 0 && !stands_for_batch_norm(node) &&
        !lies_in(name, path) && (strcmp(last_part(name), last_part(path)) == 0 || is_shared(onnx, weight))) {
        free(name);
        return strdup(path);
    }
    return name;
}

/* Layers of one weight or one module get the path of their node, and where that is taken too, a number: "NAME#2". */
static char *make_unique(spade_import *import, char *name, const char *path)
{
    int number = spade_name_map_get(&import->layers, name);
    if (number < 0) { return name; }
    if (path[0] && spade_name_map_get(&import->layers, path) < 0) {
        free(name);
        return strdup(path);
    }
    size_t room = strlen(name) + 16;
    char *numbered = malloc(room);
    if (numbered) {
        do { /* from the last one on: thousands of layers may share a weight */
            snprintf(numbered, room, "%s#%d", name, ++number);
        } while (spade_name_map_get(&import->layers, numbered) >= 0);
        (void)spade_name_map_put(&import->layers, name, number); /* it is there: no memory is needed */
    }
    free(name);
    return numbered;
}

char *spade_layer_name(spade_import *import, int node_index, const char *weight, int64_t rows, int64_t columns)
{
    const onnx_model *onnx = import->onnx;
    const onnx_node *node = &onnx->nodes[node_index];
    /* tools that quantise a network call its weight "head.weight_quantized" */
    const size_t length = strlen(weight) - (ends_in(weight, "_quantized") ? strlen("_quantized") : 0);
    char *path = spade_node_path(node), *plain = strndup(weight, length), *name = NULL;
    if (!path || !plain) { goto done; }
    const char *own_path = stands_for_batch_norm(node) ? "" : path;
    if (weight_tells(node, path, plain)) {
        name = name_by_weight(onnx, node, path, plain);
    } else {
        name = name_by_bias(import, node_index, own_path, weight);
        if (!name && node->call) { name = name_by_call(node->call, path); }
        if (!name && path[0]) { name = name_by_path(node, path, rows, columns); }
        if (!name) { name = strdup(node->name[0] ? node->name : weight[0] ? weight : node->op_type); }
    }
    if (name) { name = make_unique(import, name, own_path); }
done:
    free(path);
    free(plain);
    return name;
}
