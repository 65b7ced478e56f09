/* layer_names.c - how a layer is called, and the module that a node stands in. Source: spec, section 1. */
#include "import/import.h"

/* Names that an exporter made up: "onnx::MatMul_657", "/fc/Constant_output_0", "193". */
static bool is_made_up(const char *name)
{
    return !name[0] || name[0] == '/' || strstr(name, "::") || strspn(name, "0123456789") == strlen(name);
}

static void cut_suffix(char *name, const char *suffix)
{
    size_t length = strlen(name), tail = strlen(suffix);
    if (length > tail && strcmp(name + length - tail, suffix) == 0) { name[length - tail] = '\0'; }
}

char *spade_node_path(const char *node_name)
{
    char *name = calloc(strlen(node_name) + 1, 1), *copy = strdup(node_name);
    const char *before = NULL;
    size_t before_length = 0, length = 0;
    char *end = copy ? strrchr(copy, '/') : NULL, *rest = NULL;
    if (!name || !copy || !end) { goto done; }
    *end = '\0';
    for (char *segment = strtok_r(copy, "/", &rest); segment; segment = strtok_r(NULL, "/", &rest)) {
        size_t size = strlen(segment);
        if (before && size > before_length && segment[before_length] == '.' &&
            strncmp(segment, before, before_length) == 0) {
            length -= before_length;
        } else if (length) {
            name[length++] = '.';
        }
        memcpy(name + length, segment, size + 1);
        length += size;
        before = segment;
        before_length = size;
    }
done:
    if (!copy) {
        free(name);
        name = NULL;
    }
    free(copy);
    return name;
}

/* An attention computes queries, keys and values with one product of three times the width; its node stands in the
 * attention itself. */
static bool is_in_projection(const onnx_node *node, const char *path, int64_t rows, int64_t columns)
{
    const char *last = strrchr(path, '.');
    last = last ? last + 1 : path;
    return strcmp(node->op_type, "MatMul") == 0 && rows == 3 * columns &&
           (strstr(last, "attention") || strstr(last, "attn"));
}

static bool is_taken(const spade_network *network, const char *name)
{
    for (int i = 0; i < network->layer_count; i++) {
        if (strcmp(network->layers[i].name, name) == 0) { return true; }
    }
    return false;
}

/* Layers that share a weight get the path of their node, and where that is taken too, a number: "NAME#2". */
static char *make_unique(const spade_network *network, char *name, const char *path)
{
    if (!is_taken(network, name)) { return name; }
    if (path[0] && !is_taken(network, path)) {
        free(name);
        return strdup(path);
    }
    size_t room = strlen(name) + 16;
    char *numbered = malloc(room);
    for (int number = 2; numbered; number++) {
        snprintf(numbered, room, "%s#%d", name, number);
        if (!is_taken(network, numbered)) { break; }
    }
    free(name);
    return numbered;
}

char *spade_layer_name(const spade_network *network, const onnx_node *node, const char *weight, int64_t rows,
                       int64_t columns)
{
    char *path = spade_node_path(node->name), *name = NULL;
    if (!path) { return NULL; }
    if (!is_made_up(weight)) {
        name = strdup(weight);
        if (name) {
            cut_suffix(name, ".weight");
            cut_suffix(name, "_weight");
        }
    } else if (path[0]) {
        const char *suffix = is_in_projection(node, path, rows, columns) ? ".in_proj" : "";
        size_t room = strlen(path) + strlen(suffix) + 1;
        name = malloc(room);
        if (name) { snprintf(name, room, "%s%s", path, suffix); }
    } else {
        name = strdup(node->name[0] ? node->name : weight[0] ? weight : node->op_type);
    }
    if (name) { name = make_unique(network, name, path); }
    free(path);
    return name;
}
