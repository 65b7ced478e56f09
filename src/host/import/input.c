/* input.c - see the header. */
#include "import/input.h"

#include "import/build.h"

enum { MAX_FORMS = 4 }; /* Casts and a Transpose in a row */

static spade_status fail_input(spade_import *import, spade_status status, const char *what, const char *name)
{
    return spade_fail(import->context, status, "%.200s: %s \"%s\"", import->onnx->path, what, name);
}

/* ---- shape */

/* Height or width: what the file says, or the option where the file leaves it open, or the guess where that is open too. */
static spade_status resolve_side(spade_import *import, const char *side, int64_t in_file, int64_t option, int64_t guess,
                                 int64_t *out)
{
    const char *path = import->onnx->path;
    if (in_file > 0 && option > 0 && in_file != option) {
        return spade_fail(import->context, SPADE_ERROR_ARGUMENT, "%.200s: the network's input %s is %lld, not %lld",
                          path, side, (long long)in_file, (long long)option);
    }
    *out = in_file > 0 ? in_file : option > 0 ? option : guess;
    if (*out > 0) { return SPADE_OK; }
    return spade_fail(import->context, SPADE_ERROR_INPUT,
                      "%.200s: the file leaves the input %s open; give the input size (--crop, or height and width)",
                      path, side);
}

static bool is_picture_channels(int64_t channels)
{
    return channels == 1 || channels == 3 || channels == 4;
}

/* Transpose [0, 3, 1, 2]. */
static bool is_to_channels_first(const spade_import *import, const onnx_node *node)
{
    static const int64_t order[4] = {0, 3, 1, 2};
    const int64_t *given = NULL;
    int count = 0;
    return strcmp(node->op_type, "Transpose") == 0 &&
           onnx_get_ints(import->context, node, "perm", &given, &count) == SPADE_OK && count == 4 &&
           memcmp(given, order, sizeof order) == 0;
}

static bool is_cast(const onnx_node *node)
{
    return strcmp(node->op_type, "Cast") == 0;
}

static bool reads(const onnx_node *node, const char *name)
{
    for (int i = 0; i < node->input_count; i++) {
        if (strcmp(node->inputs[i], name) == 0) { return true; }
    }
    return false;
}

/* Could it be [N, H, W, C]? The last axis may be a picture's channels, the second may not. */
static bool may_be_channels_last(const onnx_value *input)
{
    return !is_picture_channels(input->dims[1]) && is_picture_channels(input->dims[3]);
}

/* Nobody gives a picture 3 or 4 pixels of width and so many channels. */
static bool must_be_channels_last(const onnx_value *input)
{
    enum { LEAST = 16 };
    return input->dims[3] > 1 && (input->dims[1] < 0 || input->dims[1] >= LEAST) &&
           (input->dims[2] < 0 || input->dims[2] >= LEAST);
}

/* Does what the node makes, element by element and casts between, go to a Transpose to channels first? */
static bool leads_to_channels_first(const spade_import *import, const onnx_node *node)
{
    static const char *const names[] = {"Cast", "Add", "Sub", "Mul", "Div"};
    const onnx_model *onnx = import->onnx;
    for (int left = MAX_FORMS; node && left--;) {
        bool moves_nothing = false;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            moves_nothing = moves_nothing || strcmp(node->op_type, names[i]) == 0;
        }
        if (!moves_nothing || !node->output_count) { return false; }
        const char *value = node->outputs[0];
        node = NULL;
        for (int i = 0; i < onnx->node_count && !node; i++) {
            if (reads(&onnx->nodes[i], value)) { node = &onnx->nodes[i]; }
        }
        if (node && is_to_channels_first(import, node)) { return true; }
    }
    return false;
}

/* How the axes of the file's input lie, and who puts the channels first. */
typedef enum input_layout {
    CHANNELS_FIRST,
    TRANSPOSED_AT_ONCE, /* whatever reads it is a Transpose to channels first, a Cast in between */
    CHANNELS_LAST       /* the graph computes with [N, H, W, C] */
} input_layout;

/* first: the node that reads it, where that is CHANNELS_LAST. */
static input_layout find_layout(const spade_import *import, const onnx_value *input, const onnx_node **first)
{
    const onnx_model *onnx = import->onnx;
    const onnx_node *other = NULL;
    const char *cast = NULL;
    bool any = false;
    if (!may_be_channels_last(input)) { return CHANNELS_FIRST; }
    for (int i = 0; i < onnx->node_count; i++) {
        const onnx_node *node = &onnx->nodes[i];
        if (!reads(node, input->name) && !(cast && reads(node, cast))) { continue; }
        if (is_cast(node) && !cast && node->output_count) {
            cast = node->outputs[0];
        } else if (is_to_channels_first(import, node)) {
            any = true;
        } else {
            other = other ? other : node;
        }
    }
    if (any && !other) { return TRANSPOSED_AT_ONCE; }
    *first = other;
    return other && (any || must_be_channels_last(input) || leads_to_channels_first(import, other)) ? CHANNELS_LAST
                                                                                                    : CHANNELS_FIRST;
}

spade_status spade_input_bind(spade_import *import, const onnx_value *input)
{
    spade_network *network = import->network;
    const char *path = import->onnx->path;
    if (input->type != ONNX_FLOAT && input->type != ONNX_UINT8 && input->type != ONNX_FLOAT16 &&
        input->type != ONNX_BFLOAT16 && input->type != ONNX_DOUBLE) {
        return fail_input(import, SPADE_ERROR_UNSUPPORTED, "only floats and uint8 are supported as input, unlike",
                          input->name);
    }
    const onnx_node *first = NULL;
    const input_layout layout = input->rank == 4 ? find_layout(import, input, &first) : CHANNELS_FIRST;
    const bool last = layout != CHANNELS_FIRST;
    const int64_t channels = input->rank == 4 ? input->dims[last ? 3 : 1] : 0;
    if (channels < 1) {
        return fail_input(import, SPADE_ERROR_UNSUPPORTED,
                          "the input has to be [batch, channels, height, width], unlike", input->name);
    }
    spade_value value = {.shape = {4, {1, channels, 0, 0}, SPADE_ROW_MAJOR}, .batch_outer = 1, .producer = -1};
    const spade_model_options none = {0}, *options = import->options ? import->options : &none;
    const int64_t height = input->dims[last ? 1 : 2], width = input->dims[last ? 2 : 3];
    SPADE_TRY(resolve_side(import, "height", height, options->height, options->open_height, &value.shape.dims[2]));
    SPADE_TRY(resolve_side(import, "width", width, options->width, options->open_width, &value.shape.dims[3]));
    int64_t size;
    if (input->dims[0] == 0 || !spade_mul_dims(value.shape.dims, 4, &size) || size > SPADE_MAX_ELEMENTS) {
        return spade_fail(import->context, SPADE_ERROR_INPUT,
                          "%.200s: the dimensions of the input \"%.200s\" are beyond the limits", path, input->name);
    }
    import->file_batch = input->dims[0] > 0 ? input->dims[0] : 0;
    value.name = strdup(input->name);
    network->input = value.name ? spade_network_add_value(network, &value) : -1;
    network->takes_bytes = input->type == ONNX_UINT8;
    network->takes_channels_last = last;
    if (network->input < 0) {
        free(value.name);
        return spade_import_memory(import);
    }
    int bound = network->input;
    if (layout == CHANNELS_LAST) {
        SPADE_TRY(spade_build_permute(import, first, network->input, (const int[]){0, 2, 3, 1}, &bound));
    }
    return spade_bind(import, input->name, (spade_operand){.value = bound});
}

/* ---- what only brings it into form */

/* The type holds every number of the input: of one that is uint8, most types of integers do. */
static bool holds_input(const spade_import *import, int64_t type)
{
    enum { UINT16 = 4, INT16 = 5, UINT32 = 12, UINT64 = 13 }; /* of TensorProto.DataType, of which no tensor is read */
    switch (type) {
    case ONNX_FLOAT:
    case ONNX_DOUBLE: return true;
    case ONNX_FLOAT16:
    case ONNX_BFLOAT16: return import->network->takes_bytes || import->onnx->converted >> type & 1;
    case ONNX_UINT8:
    case ONNX_INT32:
    case ONNX_INT64:
    case UINT16:
    case INT16:
    case UINT32:
    case UINT64: return import->network->takes_bytes;
    default: return false;
    }
}

static bool is_plain_cast(const spade_import *import, const onnx_node *node)
{
    int64_t type;
    return is_cast(node) && onnx_get_int(import->context, node, "to", 0, &type) == SPADE_OK &&
           holds_input(import, type);
}

bool spade_input_is_form(const spade_import *import, int node)
{
    for (int left = MAX_FORMS; node >= 0 && left--;) {
        const onnx_node *at = &import->onnx->nodes[node];
        const bool moves = import->network->takes_channels_last && is_to_channels_first(import, at);
        if (!spade_has_input(at, 0) || !at->output_count || (!is_plain_cast(import, at) && !moves)) { return false; }
        const int operand = spade_name_map_get(&import->names, at->inputs[0]);
        if (operand >= 0 && import->operands[operand].value == import->network->input) { return true; }
        node = spade_name_map_get(&import->producers, at->inputs[0]);
    }
    return false;
}

spade_status spade_input_pass(spade_import *import, int node)
{
    const char *name = import->onnx->nodes[node].outputs[0];
    return spade_bind(import, name, (spade_operand){.value = import->network->input});
}
