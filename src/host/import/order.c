/* order.c - names, and the nodes in topological order: every name has one producer, and there is no cycle. */
#include "import/import.h"

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
spade_status spade_import_check_names(spade_import *import)
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
void spade_import_mark_live(spade_import *import, int output, bool *live, int *stack)
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
spade_status spade_import_sort(spade_import *import, int *order)
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
