/* fold.c - which nodes are folded; the folded tensors' memory, and limits on it and on the work. */
#include "import/fold/fold.h"

#include "import/operators/operators.h"
#include "onnx/reader.h"

/* What a file may ask for beyond what it holds: elements made of nothing, and times that each of its own is read. */
#define FOLD_FREE_WORK 0x1p26
#define FOLD_WORK_FOR_EACH 64.0

/* A block of memory; the next one of the import is behind it in the list. */
struct spade_fold_block {
    struct spade_fold_block *next;
    size_t size; /* of the whole block */
    size_t unused[6];
};
_Static_assert(sizeof(struct spade_fold_block) == 64, "what follows a block's head is aligned as the block is");

/* ---- memory */

static spade_status allocate(spade_import *import, size_t bytes, void **out)
{
    const size_t size = sizeof(struct spade_fold_block) + bytes;
    void *memory;
    spade_status status = spade_alloc_zeroed(import->context, size, "the network's constants", &memory);
    if (status != SPADE_OK) {
        (void)spade_fail_in(import->context, status, "%.200s", import->onnx->path);
        return status;
    }
    struct spade_fold_block *block = memory;
    block->next = import->fold_blocks;
    block->size = size;
    import->fold_blocks = block;
    *out = block + 1;
    return SPADE_OK;
}

void spade_fold_clear(spade_import *import)
{
    while (import->fold_blocks) {
        struct spade_fold_block *block = import->fold_blocks;
        import->fold_blocks = block->next;
        spade_free_bytes(import->context, block, block->size);
    }
}

spade_status fold_charge(fold_call *call, double elements)
{
    spade_import *import = call->import;
    if (import->fold_limit == 0) {
        import->fold_limit = FOLD_FREE_WORK;
        for (int i = 0; i < import->onnx->initializer_count; i++) {
            import->fold_limit += FOLD_WORK_FOR_EACH * (double)import->onnx->initializers[i].count;
        }
    }
    import->fold_work += elements;
    if (import->fold_work <= import->fold_limit) { return SPADE_OK; }
    return fold_wrong(call, "the file asks for more arithmetic on constants than its size allows (%.0f elements)",
                      import->fold_limit);
}

spade_status fold_create(fold_call *call, int type, const spade_extent *shape, unsigned parts, spade_fold **out)
{
    int64_t count;
    void *memory;
    const size_t width = onnx_type_size(type);
    *out = NULL;
    if (!spade_mul_dims(shape->dims, shape->rank, &count)) {
        return fold_wrong(call, "its result has a dimension below 0, or is beyond the limits");
    }
    const int arrays = 1 + ((parts & FOLD_BATCH) != 0) + ((parts & FOLD_INDEX) != 0);
    SPADE_TRY(fold_charge(call, (double)count * arrays + 16));
    const size_t bytes = ((size_t)count * width + 63) / 64 * 64;
    SPADE_TRY(allocate(call->import, (sizeof(spade_fold) + 63) / 64 * 64 + bytes * (size_t)arrays, &memory));
    spade_fold *fold = memory;
    uint8_t *data = (uint8_t *)memory + (sizeof(spade_fold) + 63) / 64 * 64;
    fold->tensor = (onnx_tensor){.name = call->node->output_count ? call->node->outputs[0] : call->node->name,
                                 .type = type,
                                 .rank = shape->rank,
                                 .count = count,
                                 .bytes = data,
                                 .size = (size_t)count * width};
    memcpy(fold->tensor.dims, shape->dims, sizeof shape->dims);
    fold->batch_axis = shape->batch_axis;
    fold->batch_outer = shape->batch_outer;
    data += bytes;
    if (parts & FOLD_BATCH) {
        fold->batch = data;
        data += bytes;
    }
    if (parts & FOLD_INDEX) { fold->index = data; }
    *out = fold;
    return SPADE_OK;
}

spade_status fold_rename(fold_call *call, const spade_fold *from, const spade_extent *shape, spade_fold **out)
{
    void *memory;
    SPADE_TRY(fold_charge(call, 16));
    SPADE_TRY(allocate(call->import, sizeof(spade_fold), &memory));
    spade_fold *fold = memory;
    *fold = *from;
    fold->tensor.rank = shape->rank;
    memcpy(fold->tensor.dims, shape->dims, sizeof shape->dims);
    fold->batch_axis = shape->batch_axis;
    fold->batch_outer = shape->batch_outer;
    *out = fold;
    return SPADE_OK;
}

/* ---- questions */

bool spade_fold_is_plain(const spade_fold *fold)
{
    return fold->batch_axis < 0 && !fold->batch && !fold->index;
}

spade_extent fold_extent(const spade_fold *fold)
{
    spade_extent shape = {.rank = fold->tensor.rank, .batch_axis = fold->batch_axis, .batch_outer = fold->batch_outer};
    memcpy(shape.dims, fold->tensor.dims, sizeof shape.dims);
    return shape;
}

unsigned fold_parts(const spade_fold *fold)
{
    return (fold->batch ? FOLD_BATCH : 0u) | (fold->index ? FOLD_INDEX : 0u);
}

bool fold_has(const fold_call *call, int input)
{
    return spade_has_input(call->node, input);
}

spade_status fold_require(fold_call *call, int input, const spade_fold **out)
{
    if (!fold_has(call, input)) { return fold_wrong(call, "input %d is missing", input); }
    *out = &call->inputs[input];
    return SPADE_OK;
}

spade_status fold_require_plain(fold_call *call, int input, const spade_fold **out)
{
    SPADE_TRY(fold_require(call, input, out));
    if (spade_fold_is_plain(*out)) { return SPADE_OK; }
    return fold_fail(call, "its input %d (\"%.100s\") depends on the batch, which is not supported here", input,
                     call->node->inputs[input]);
}

spade_status fold_attribute(fold_call *call, const char *name, int64_t standard, int64_t *out)
{
    return spade_import_attribute(call->import, onnx_get_int(call->import->context, call->node, name, standard, out));
}

spade_status fold_require_uniform(fold_call *call, int input, const spade_fold **out)
{
    SPADE_TRY(fold_require(call, input, out));
    if (!(*out)->batch && !(*out)->index) { return SPADE_OK; }
    return fold_fail(call, "the numbers of its input %d (\"%.100s\") depend on the batch, which is not supported here",
                     input, call->node->inputs[input]);
}

spade_status fold_check_axis(fold_call *call, const spade_fold *fold, int axis)
{
    return axis != fold->batch_axis ? SPADE_OK : fold_fail(call, "it works along the axis that grows with the batch");
}

spade_status fold_integers(fold_call *call, int input, const char *attribute, int limit, int64_t *out, int *count)
{
    *count = -1;
    if (input >= 0 && fold_has(call, input)) {
        const spade_fold *list = NULL;
        SPADE_TRY(fold_require_plain(call, input, &list));
        if (!fold_type_is_integer(list->tensor.type) || list->tensor.rank > 1 || list->tensor.count > limit) {
            return fold_wrong(call, "its input %d is no list of at most %d integers", input, limit);
        }
        *count = (int)list->tensor.count;
        for (int i = 0; i < *count; i++) { out[i] = onnx_tensor_int(&list->tensor, i); }
        return SPADE_OK;
    }
    const int64_t *numbers;
    int n;
    if (!attribute || !onnx_find_attribute(call->node, attribute)) { return SPADE_OK; }
    SPADE_TRY(spade_import_attribute(call->import,
                                     onnx_get_ints(call->import->context, call->node, attribute, &numbers, &n)));
    if (n > limit) { return fold_wrong(call, "%s has %d numbers, the limit is %d", attribute, n, limit); }
    *count = n;
    for (int i = 0; i < n; i++) { out[i] = numbers[i]; }
    return SPADE_OK;
}

spade_status fold_axis(fold_call *call, int64_t given, int rank, int *out)
{
    if (given < -rank || given >= rank) {
        return fold_wrong(call, "its axis %lld is out of range, there are %d", (long long)given, rank);
    }
    *out = (int)(given < 0 ? given + rank : given);
    return SPADE_OK;
}

/* ---- nodes */

static const fold_operator *find_operator(const onnx_node *node)
{
    static const fold_operator *const tables[] = {fold_elementwise_operators, fold_movement_operators,
                                                  fold_create_operators, fold_reduce_operators};
    if (node->domain && node->domain[0] && strcmp(node->domain, "ai.onnx") != 0) { return NULL; }
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        for (const fold_operator *o = tables[t]; o->op_type; o++) {
            if (strcmp(o->op_type, node->op_type) == 0) { return o; }
        }
    }
    return NULL;
}

/* Types are kept, but for float16, whose numbers are float32 from here on. */
static spade_status convert_half(fold_call *call, spade_fold *input)
{
    spade_fold *wide;
    if (input->tensor.type != ONNX_FLOAT16) { return SPADE_OK; }
    const spade_extent shape = fold_extent(input);
    spade_status status = fold_create(call, ONNX_FLOAT, &shape, 0, &wide);
    if (status != SPADE_OK || !wide) { return status; }
    for (int64_t k = 0; k < input->tensor.count; k++) {
        const float number = onnx_tensor_float(&input->tensor, k);
        memcpy((uint8_t *)(uintptr_t)wide->tensor.bytes + k * (int64_t)sizeof number, &number, sizeof number);
    }
    *input = *wide;
    return SPADE_OK;
}

/* The shape of a picture, as of a tensor without elements. */
static spade_fold shape_of_value(const spade_value *value)
{
    spade_fold fold = {.batch_axis = value->batch_axis, .batch_outer = value->batch_outer};
    fold.tensor.type = ONNX_FLOAT;
    fold.tensor.rank = value->shape.rank;
    memcpy(fold.tensor.dims, value->shape.dims, (size_t)value->shape.rank * sizeof *fold.tensor.dims);
    return fold;
}

spade_fold fold_of_tensor(const onnx_tensor *tensor)
{
    spade_fold fold = {.tensor = *tensor, .batch_axis = -1};
    if (!tensor->wide) { return fold; }
    fold.tensor.type = ONNX_DOUBLE;
    fold.tensor.stored_type = 0;
    fold.tensor.bytes = tensor->wide;
    fold.tensor.size = (size_t)tensor->count * sizeof(double);
    fold.tensor.wide = NULL;
    return fold;
}

static spade_status read_input(fold_call *call, int input, spade_fold *out)
{
    spade_operand operand = {.value = -1};
    SPADE_TRY(spade_operand_get(call->import, call->node, input, &operand));
    if (operand.value >= 0) {
        *out = shape_of_value(&call->import->network->values[operand.value]);
        return SPADE_OK;
    }
    *out = operand.fold ? *operand.fold : fold_of_tensor(operand.tensor);
    if (!out->tensor.bytes && out->tensor.count) {
        return fold_fail(call, "\"%.100s\" has a type (%d) that is not supported", call->node->inputs[input],
                         out->tensor.type);
    }
    return convert_half(call, out);
}

/* The output in float32, once all is known of it. */
static spade_status make_single(fold_call *call, spade_fold *fold)
{
    const spade_extent shape = fold_extent(fold);
    spade_fold *single;
    fold->single = NULL;
    if (fold->tensor.type != ONNX_DOUBLE) { return SPADE_OK; }
    SPADE_TRY(fold_create(call, ONNX_FLOAT, &shape, fold_parts(fold), &single));
    for (int64_t i = 0; i < fold->tensor.count; i++) {
        const fold_number number = fold_load(fold, i);
        (void)fold_store(single, i, &number);
    }
    single->tensor.name = fold->tensor.name;
    fold->single = single;
    return SPADE_OK;
}

/* The array, if it holds anything but zeros (all bits 0: numbers that count the batch are never -0). */
static const void *or_nothing(const spade_fold *fold, const void *array)
{
    const uint8_t *bytes = array;
    for (size_t i = 0; bytes && i < fold->tensor.size; i++) {
        if (bytes[i]) { return array; }
    }
    return NULL;
}

static spade_status run(fold_call *call, const fold_operator *operator)
{
    const onnx_node *node = call->node;
    for (int i = 0; i < node->input_count; i++) {
        if (fold_has(call, i)) { SPADE_TRY(read_input(call, i, &call->inputs[i])); }
    }
    SPADE_TRY(operator->fold(call));
    const onnx_tensor *source = call->node->input_count ? &call->inputs[0].tensor : NULL;
    if (call->outputs[0] && source && source->name && source->rank > 1 &&
        source->count == call->outputs[0]->tensor.count) {
        call->outputs[0]->tensor.name =
            source->name; /* a weight in another order keeps its name, after which layers are called */
    }
    for (int i = 0; i < node->output_count && i < FOLD_MAX_OUTPUTS; i++) {
        spade_fold *fold = call->outputs[i];
        if (fold) { /* a part of what depended on the batch need not */
            fold->batch = or_nothing(fold, fold->batch);
            fold->index = or_nothing(fold, fold->index);
        }
        if (!fold || !node->outputs[i][0]) { continue; }
        SPADE_TRY(make_single(call, fold));
        const spade_operand operand = {
            .value = -1, .tensor = spade_fold_is_plain(fold) ? spade_fold_single(fold) : NULL, .fold = fold};
        SPADE_TRY(spade_bind(call->import, node->outputs[i], operand));
    }
    return SPADE_OK;
}

/* Are all inputs of the node, but those that are read for their shape, constants or folded? */
static bool is_foldable(const spade_import *import, const onnx_node *node, const fold_operator *operator)
{
    for (int i = 0; i < node->input_count; i++) {
        if (!spade_has_input(node, i)) { continue; }
        const int index = spade_name_map_get(&import->names, node->inputs[i]);
        if (index < 0) { return false; }
        if (import->operands[index].value >= 0 && !(i < 32 && operator->shapes & 1u << i)) { return false; }
    }
    return true;
}

bool spade_fold_supports(const onnx_node *node, unsigned *shapes)
{
    const fold_operator *operator= find_operator(node);
    *shapes = operator? operator->shapes : 0;
    return operator!= NULL;
}

spade_status spade_fold_node(spade_import *import, int index, bool *folded)
{
    fold_call call = {.import = import, .node = &import->onnx->nodes[index]};
    const fold_operator *operator= find_operator(call.node);
    *folded = operator&& is_foldable(import, call.node, operator);
    if (!*folded) { return SPADE_OK; }
    if (call.node->output_count < 1) { return fold_wrong(&call, "has no output"); }
    call.inputs = calloc((size_t)call.node->input_count + 1, sizeof *call.inputs);
    if (!call.inputs) { return spade_import_memory(import); }
    spade_status status = run(&call, operator);
    free(call.inputs);
    return status;
}
