/*
 * write.c - the model again, with other weights.
 *
 * The file is walked at the wire level: what does not change is copied as the bytes it is, fields that spade does not
 * know included. Changed: tensors that get new data, tensors whose data were outside, and inputs that move to a new
 * initializer because their old one has other users.
 */
#include "onnx/chunks.h"
#include "onnx/constants.h"
#include "onnx/floats.h"
#include "onnx/reader.h"

/* Largest message that protobuf readers take. */
static const uint64_t largest_message = INT32_MAX;

typedef struct onnx_writer {
    spade_context *context;
    const onnx_model *model;
    const onnx_replacement *replacements;
    int count;
    onnx_origins origins;
    const float **data; /* [initializer_count + node_count]: new data of an origin in its place, or NULL */
    char **fresh;       /* [count]: name of the new initializer of a replacement; NULL: it is made in place */
    int *first, *next;  /* [node_count], [count]: replacements of each node as a list, -1: end */
    onnx_chunks out;
    void **stored; /* [count]: new data in the type of the file, where that is not float32 */
    int stored_count;
} onnx_writer;

/* ---- decide */

/* A name of its own for new weights; keeps within the length limit, and UTF-8 whole. Caller frees. */
static char *fresh_name(const onnx_origins *origins, const char *base, int *number)
{
    enum { SUFFIX = 32 };
    size_t length = strlen(base);
    if (length > ONNX_MAX_NAME - SUFFIX) {
        length = ONNX_MAX_NAME - SUFFIX;
        while (length > 0 && ((unsigned char)base[length] & 0xc0) == 0x80) { length--; }
    }
    char *name = malloc(length + SUFFIX);
    if (!name) { return NULL; }
    do {
        snprintf(name, length + SUFFIX, "%.*s.spade_trace_%d", (int)length, base, ++*number);
    } while (onnx_name_taken(origins, name));
    return name;
}

static spade_status check_replacement(onnx_writer *writer, int i, int *origin)
{
    const onnx_model *model = writer->model;
    const onnx_replacement *replacement = &writer->replacements[i];
    if (replacement->node < 0 || replacement->node >= model->node_count || replacement->input < 0 ||
        replacement->input >= model->nodes[replacement->node].input_count) {
        return spade_fail(writer->context, SPADE_ERROR_ARGUMENT, "%s: replacement %d: no such node or input",
                          model->path, i);
    }
    const onnx_node *node = &model->nodes[replacement->node];
    const char *input = node->inputs[replacement->input];
    for (int k = writer->first[replacement->node]; k >= 0; k = writer->next[k]) {
        if (writer->replacements[k].input == replacement->input) {
            return spade_fail(writer->context, SPADE_ERROR_ARGUMENT, "%s: node '%s': input '%s' is replaced twice",
                              model->path, node->name, input);
        }
    }
    *origin = onnx_origin(&writer->origins, input);
    if (*origin == ONNX_NO_CONSTANT && replacement->rank > 0) { return SPADE_OK; }
    if (*origin == ONNX_NO_CONSTANT) {
        return spade_fail(writer->context, SPADE_ERROR_ARGUMENT, "%s: node '%s': input '%s' is not a constant",
                          model->path, node->name, input);
    }
    const onnx_tensor *tensor = onnx_origin_tensor(&writer->origins, *origin);
    if (!tensor || tensor->type != ONNX_FLOAT) {
        return spade_fail(writer->context, SPADE_ERROR_UNSUPPORTED,
                          "%s: node '%s': weight '%s' is not a float32 tensor and cannot be replaced", model->path,
                          node->name, input);
    }
    return SPADE_OK;
}

/* In place where nothing else uses the weight (any more), else under a new name. */
static spade_status decide(onnx_writer *writer)
{
    const onnx_model *model = writer->model;
    int number = 0;
    for (int i = 0; i < writer->count; i++) {
        const onnx_replacement *replacement = &writer->replacements[i];
        int origin = ONNX_NO_CONSTANT;
        SPADE_TRY(check_replacement(writer, i, &origin));
        writer->next[i] = writer->first[replacement->node];
        writer->first[replacement->node] = i;
        const bool computed = origin == ONNX_NO_CONSTANT; /* of constants, by nodes that stay as they are */
        if (!computed && writer->origins.uses[origin] == 1) {
            writer->data[origin] = replacement->data;
            continue;
        }
        if (!computed) { writer->origins.uses[origin]--; }
        const char *base = computed ? model->nodes[replacement->node].inputs[replacement->input]
                           : origin < model->initializer_count
                               ? model->initializers[origin].name
                               : model->nodes[origin - model->initializer_count].outputs[0];
        writer->fresh[i] = fresh_name(&writer->origins, base, &number);
        if (!writer->fresh[i]) {
            return spade_fail(writer->context, SPADE_ERROR_MEMORY, "%s: out of memory", model->path);
        }
    }
    return SPADE_OK;
}

/* ---- put together */
static void copy_field(onnx_writer *writer, const onnx_field *field)
{
    onnx_chunks_add(&writer->out, writer->model->file.data + field->start, field->end - field->start);
}

/* The raw data of a tensor: the given numbers, in the type that the file has. */
static void put_numbers(onnx_writer *writer, const onnx_tensor *tensor, const float *data)
{
    if (!tensor->stored_type) {
        onnx_chunks_bytes(&writer->out, 9, data, (size_t)tensor->count * sizeof *data);
        return;
    }
    const size_t bytes = onnx_store_floats(tensor->stored_type, data, tensor->count, NULL);
    void *stored = malloc(bytes + 1);
    writer->out.failed = writer->out.failed || !stored;
    if (!stored) { return; }
    onnx_store_floats(tensor->stored_type, data, tensor->count, stored);
    writer->stored[writer->stored_count++] = stored; /* as many as there are replacements */
    onnx_chunks_bytes(&writer->out, 9, stored, bytes);
}

/* A TensorProto with its data in the file: the given ones, or those that were outside. */
static void put_tensor(onnx_writer *writer, uint32_t number, onnx_cursor cursor, const onnx_tensor *tensor,
                       const float *data)
{
    const onnx_model *model = writer->model;
    onnx_field field;
    size_t mark = onnx_chunks_begin(&writer->out);
    while (onnx_wire_next(&cursor, &field)) {
        switch (field.number) {
        case 4: /* float_data and its kin */
        case 5:
        case 7:
        case 9: /* raw_data */
        case 10:
        case 11:
        case 13: /* external_data */
        case 14: /* data_location */ break;
        default: copy_field(writer, &field);
        }
    }
    if (data) {
        put_numbers(writer, tensor, data);
    } else {
        const uint8_t *bytes = model->external[tensor->external - 1].data;
        onnx_chunks_bytes(&writer->out, 9, bytes ? bytes + tensor->external_offset : bytes,
                          (size_t)tensor->external_size);
    }
    onnx_chunks_end(&writer->out, number, mark);
}

static void put_initializer(onnx_writer *writer, const onnx_cursor *graph, const onnx_field *field, int index)
{
    const onnx_tensor *tensor = &writer->model->initializers[index];
    if (writer->data[index] || tensor->external) {
        put_tensor(writer, field->number, onnx_wire_enter(graph, field), tensor, writer->data[index]);
    } else {
        copy_field(writer, field);
    }
}

static void put_attribute(onnx_writer *writer, const onnx_cursor *node, const onnx_field *holder,
                          const onnx_tensor *tensor, const float *data)
{
    if (!tensor || (!data && !tensor->external)) {
        copy_field(writer, holder);
        return;
    }
    onnx_cursor cursor = onnx_wire_enter(node, holder);
    onnx_field field;
    size_t mark = onnx_chunks_begin(&writer->out);
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number == 5) {
            put_tensor(writer, field.number, onnx_wire_enter(&cursor, &field), tensor, data);
        } else {
            copy_field(writer, &field);
        }
    }
    onnx_chunks_end(&writer->out, holder->number, mark);
}

static const char *renamed(const onnx_writer *writer, int node, int input)
{
    for (int i = writer->first[node]; i >= 0; i = writer->next[i]) {
        if (writer->replacements[i].input == input) { return writer->fresh[i]; }
    }
    return NULL;
}

static bool node_changes(const onnx_writer *writer, int index)
{
    const onnx_node *node = &writer->model->nodes[index];
    for (int i = 0; i < node->attribute_count; i++) {
        if (node->attributes[i].tensor && node->attributes[i].tensor->external) { return true; }
    }
    return writer->first[index] >= 0 || writer->data[writer->model->initializer_count + index];
}

static void put_node(onnx_writer *writer, const onnx_cursor *graph, const onnx_field *holder, int index)
{
    if (!node_changes(writer, index)) {
        copy_field(writer, holder);
        return;
    }
    const onnx_node *node = &writer->model->nodes[index];
    const float *data = writer->data[writer->model->initializer_count + index];
    const onnx_attribute *value = onnx_find_attribute(node, "value");
    onnx_cursor cursor = onnx_wire_enter(graph, holder);
    onnx_field field;
    int input = 0, attribute = 0;
    size_t mark = onnx_chunks_begin(&writer->out);
    while (onnx_wire_next(&cursor, &field)) {
        const char *name = field.number == 1 ? renamed(writer, index, input++) : NULL;
        if (name) {
            onnx_chunks_bytes(&writer->out, 1, name, strlen(name));
        } else if (field.number == 5) {
            const onnx_attribute *current = &node->attributes[attribute++];
            put_attribute(writer, &cursor, &field, current->tensor, current == value ? data : NULL);
        } else {
            copy_field(writer, &field);
        }
    }
    onnx_chunks_end(&writer->out, holder->number, mark);
}

/* Formats before 4 want every initializer among the graph's inputs: ValueInfoProto { name, type { tensor_type {
 * elem_type, shape } } }. */
static void put_input(onnx_writer *writer, const char *name, const onnx_tensor *tensor)
{
    onnx_chunks *out = &writer->out;
    size_t value = onnx_chunks_begin(out);
    onnx_chunks_bytes(out, 1, name, strlen(name));
    size_t type = onnx_chunks_begin(out);
    size_t tensor_type = onnx_chunks_begin(out);
    onnx_chunks_number(out, 1, (uint64_t)(tensor->stored_type ? tensor->stored_type : ONNX_FLOAT));
    size_t shape = onnx_chunks_begin(out);
    for (int i = 0; i < tensor->rank; i++) {
        size_t dimension = onnx_chunks_begin(out);
        onnx_chunks_number(out, 1, (uint64_t)tensor->dims[i]);
        onnx_chunks_end(out, 1, dimension);
    }
    onnx_chunks_end(out, 2, shape);
    onnx_chunks_end(out, 1, tensor_type);
    onnx_chunks_end(out, 2, type);
    onnx_chunks_end(out, 11, value);
}

static void put_fresh(onnx_writer *writer, int i)
{
    const onnx_replacement *replacement = &writer->replacements[i];
    const char *input = writer->model->nodes[replacement->node].inputs[replacement->input];
    const int origin = onnx_origin(&writer->origins, input);
    onnx_tensor computed = {.rank = replacement->rank, .count = 1};
    for (int k = 0; k < replacement->rank; k++) {
        computed.dims[k] = replacement->dims[k];
        computed.count *= replacement->dims[k];
    }
    const onnx_tensor *tensor = origin == ONNX_NO_CONSTANT ? &computed : onnx_origin_tensor(&writer->origins, origin);
    onnx_chunks *out = &writer->out;
    size_t mark = onnx_chunks_begin(out);
    for (int k = 0; k < tensor->rank; k++) { onnx_chunks_number(out, 1, (uint64_t)tensor->dims[k]); }
    onnx_chunks_number(out, 2, (uint64_t)(tensor->stored_type ? tensor->stored_type : ONNX_FLOAT));
    onnx_chunks_bytes(out, 8, writer->fresh[i], strlen(writer->fresh[i]));
    put_numbers(writer, tensor, replacement->data);
    onnx_chunks_end(out, 5, mark);
    if (writer->model->ir_version < 4) { put_input(writer, writer->fresh[i], tensor); }
}

static void put_graph(onnx_writer *writer, onnx_cursor cursor)
{
    onnx_field field;
    int node = 0, initializer = 0;
    while (onnx_wire_next(&cursor, &field)) {
        switch (field.number) {
        case 1: put_node(writer, &cursor, &field, node++); break;
        case 5: put_initializer(writer, &cursor, &field, initializer++); break;
        default: copy_field(writer, &field);
        }
    }
    for (int i = 0; i < writer->count; i++) {
        if (writer->fresh[i]) { put_fresh(writer, i); }
    }
}

static void put_model(onnx_writer *writer)
{
    const spade_mapping *file = &writer->model->file;
    onnx_cursor cursor = {.data = file->data, .end = file->size};
    onnx_field field;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number != 7) {
            copy_field(writer, &field);
            continue;
        }
        size_t mark = onnx_chunks_begin(&writer->out);
        put_graph(writer, onnx_wire_enter(&cursor, &field));
        onnx_chunks_end(&writer->out, field.number, mark);
    }
}

static spade_status write_out(onnx_writer *writer, const char *path)
{
    if (writer->out.failed) { return spade_fail(writer->context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    if (writer->out.size > largest_message) {
        char size[32];
        return spade_fail(writer->context, SPADE_ERROR_UNSUPPORTED,
                          "%s: the model with its weights inside takes %s; an .onnx file holds at most 2 GiB", path,
                          spade_format_bytes(writer->out.size, size));
    }
    spade_output output;
    SPADE_TRY(spade_output_open(writer->context, path, &output));
    onnx_chunks_write(&writer->out, output.file); /* a failure stays with the FILE, and commit reports it */
    return spade_output_commit(writer->context, &output);
}

spade_status onnx_write(spade_context *context, const onnx_model *model, const onnx_replacement *replacements,
                        int count, const char *path)
{
    onnx_writer writer = {.context = context, .model = model, .replacements = replacements, .count = count};
    spade_status status = SPADE_OK;
    size_t origins = (size_t)model->initializer_count + (size_t)model->node_count;
    SPADE_GOTO(onnx_origins_create(context, model, &writer.origins));
    writer.data = calloc(origins + 1, sizeof *writer.data);
    writer.fresh = calloc((size_t)count + 1, sizeof *writer.fresh);
    writer.first = malloc(((size_t)model->node_count + 1) * sizeof *writer.first);
    writer.stored = calloc((size_t)count + 1, sizeof *writer.stored);
    writer.next = malloc(((size_t)count + 1) * sizeof *writer.next);
    if (!writer.data || !writer.fresh || !writer.first || !writer.next || !writer.stored) {
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path));
    }
    for (int i = 0; i < model->node_count; i++) { writer.first[i] = -1; }
    SPADE_GOTO(decide(&writer));
    put_model(&writer);
    SPADE_GOTO(write_out(&writer, path));
done:
    for (int i = 0; writer.fresh && i < count; i++) { free(writer.fresh[i]); }
    for (int i = 0; writer.stored && i < writer.stored_count; i++) { free(writer.stored[i]); }
    free(writer.stored);
    free(writer.fresh);
    free(writer.data);
    free(writer.first);
    free(writer.next);
    onnx_origins_clear(&writer.origins);
    onnx_chunks_clear(&writer.out);
    return status;
}
