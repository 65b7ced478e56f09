/* layer_value.c - values by the names of layers and modules. */
#include "attribution/layer_value.h"

#include "base/close_names.h"
#include "network/node_class.h"

/* ---- names */

bool attribution_lies_under(const char *name, const char *module)
{
    const size_t length = strlen(module);
    return name && strncmp(name, module, length) == 0 && (name[length] == '\0' || name[length] == '.');
}

static const char *layer_name(const spade_network *network, const spade_node *node)
{
    return node->layer >= 0 ? network->layers[node->layer].name : NULL;
}

/* Element by element, or the same in another layout. */
static bool keeps_pixels(const spade_node *node)
{
    return spade_node_is_pointwise(node) || node->kind == SPADE_NODE_CONVERT_LAYOUT;
}

/* ---- modules that are known by their layers only */

/*
 * From a layer's node on: the last value that pointwise nodes make of its output. What another layer or a pooling has
 * made of it is none of the module's: such values are `foreign`, and so is what reads them (a residual sum behind the
 * next block).
 */
static spade_status follow_pointwise(const attribution_job *job, int layer_node, int *value)
{
    enum { APART, OWN, FOREIGN };
    const spade_network *network = &job->model->network;
    char *side = calloc((size_t)network->value_count + 1, sizeof *side);
    if (!side) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    *value = network->nodes[layer_node].outputs[0];
    side[*value] = OWN;
    for (int n = layer_node + 1; n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        char reads = APART;
        for (int k = 0; k < node->input_count; k++) {
            const char input = side[node->inputs[k]];
            reads = input > reads ? input : reads;
        }
        if (reads == OWN && !keeps_pixels(node)) { reads = FOREIGN; }
        for (int o = 0; o < node->output_count; o++) { side[node->outputs[o]] = reads; }
        if (reads == OWN && spade_node_is_pointwise(node)) { *value = node->outputs[0]; }
    }
    free(side);
    return SPADE_OK;
}

/* ---- a name that is none */

static spade_status fail_unknown(const attribution_job *job, const char *name)
{
    const spade_network *network = &job->model->network;
    char list[SPADE_CLOSE_NAMES_BYTES];
    spade_close_names close;
    spade_close_names_begin(&close, name);
    for (int n = 0; n < network->node_count; n++) {
        spade_close_names_offer_modules(&close, layer_name(network, &network->nodes[n]));
        spade_close_names_offer_modules(&close, network->nodes[n].path);
    }
    return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "'%.200s' is no layer or module%s", name,
                      spade_close_names_format(&close, list));
}

/* ---- values */

spade_status attribution_layer_value(const attribution_job *job, const char *name, int *value)
{
    const spade_network *network = &job->model->network;
    int by_path = -1, by_layer = -1, layer = -1; /* the last nodes that match; the layer of exactly this name */
    for (int n = 0; n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        const char *own_name = layer_name(network, node);
        if (attribution_lies_under(node->path, name)) { by_path = n; }
        if (attribution_lies_under(own_name, name)) { by_layer = n; }
        if (own_name && strcmp(own_name, name) == 0) { layer = n; }
    }
    if (by_path < 0 && by_layer < 0) { return fail_unknown(job, name); }
    if (by_path < 0 && layer < 0) { return follow_pointwise(job, by_layer, value); }
    *value = network->nodes[by_layer > by_path ? by_layer : by_path].outputs[0];
    return SPADE_OK;
}

/* ---- feature maps */

/* Of a value whose pixels are known; false: it has only one. */
static bool make_features(const spade_network *network, int value, const spade_spatial *where,
                          attribution_features *out)
{
    const int64_t pixels = where->height * where->width, size = spade_shape_size(&network->values[value].shape);
    if (where->axis < 0 || pixels <= 1) { return false; }
    *out = (attribution_features){.value = value,
                                  .where = *where,
                                  .channels = size / (where->tokens ? where->length : pixels),
                                  .height = where->height,
                                  .width = where->width};
    return true;
}

/* Sums and products of tokens between blocks, and within them, are no feature maps that people look at. */
static bool makes_features(const spade_node *node, const spade_spatial *where)
{
    switch (node->kind) {
    case SPADE_NODE_CONVOLUTION:
    case SPADE_NODE_MAX_POOL:
    case SPADE_NODE_AVERAGE_POOL:
    case SPADE_NODE_BATCH_NORM:
    case SPADE_NODE_LAYER_NORM: return true;
    case SPADE_NODE_CONCAT: return !where->tokens && where->axis == 2 && node->concat.axis == 1;
    default: return spade_node_is_pointwise(node) && !where->tokens && where->axis == 2;
    }
}

static spade_status last_feature_maps(const attribution_job *job, const spade_spatial_map *map,
                                      attribution_features *out)
{
    const spade_network *network = &job->model->network;
    for (int n = network->node_count - 1; n >= 0; n--) {
        const int value = network->nodes[n].outputs[0];
        if (!map->reads[value].pixels || !makes_features(&network->nodes[n], &map->where[value])) { continue; }
        if (make_features(network, value, &map->where[value], out)) { return SPADE_OK; }
    }
    return spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                      "no layer of the network has a result with height and width; give a layer that has: layer=NAME");
}

static spade_status fail_shape(const attribution_job *job, const char *name, const spade_shape *shape)
{
    char dims[SPADE_MAX_RANK * 24] = "";
    size_t used = 0;
    for (int i = 0; i < shape->rank; i++) {
        used += (size_t)snprintf(dims + used, sizeof dims - used, "%s%lld", i ? ", " : "", (long long)shape->dims[i]);
    }
    return spade_fail(
        job->context, SPADE_ERROR_ARGUMENT,
        "layer %.200s: its value is [%s], one with rows and columns of pixels, or tokens of them, is needed", name,
        dims);
}

static spade_status named_feature_maps(const attribution_job *job, const spade_spatial_map *map, const char *name,
                                       bool reads, attribution_features *out)
{
    const spade_network *network = &job->model->network;
    int value = network->output;
    SPADE_TRY(attribution_layer_value(job, name, &value));
    if (!make_features(network, value, &map->where[value], out)) {
        return fail_shape(job, name, &network->values[value].shape);
    }
    if (reads && !map->reads[value].pixels) {
        return spade_fail(
            job->context, SPADE_ERROR_ARGUMENT,
            "layer %.200s: the classes do not depend on its pixels, only on its class token; take a layer "
            "before the last attention",
            name);
    }
    return SPADE_OK;
}

spade_status attribution_feature_maps(const attribution_job *job, const spade_layer_option *layer, bool reads,
                                      attribution_features *out)
{
    spade_spatial_map map = {0};
    if (layer->has_index) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "layer %.200s:%lld: all its channels are meant, not one",
                          layer->name, (long long)layer->index);
    }
    spade_status status = spade_spatial_find(job->context, &job->model->network, &map);
    if (status == SPADE_OK) {
        status =
            layer->name ? named_feature_maps(job, &map, layer->name, reads, out) : last_feature_maps(job, &map, out);
    }
    spade_spatial_clear(&map);
    return status;
}
