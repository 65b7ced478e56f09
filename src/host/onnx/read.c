/* read.c - ModelProto, GraphProto, NodeProto, ValueInfoProto: onnx_load() and onnx_free(). */
#include "onnx/reader.h"

/* ---- nodes */
static spade_status read_edge(onnx_reader *reader, const onnx_field *field, char ***names, int *count)
{
    if (++reader->edges > ONNX_MAX_EDGES) {
        return onnx_malformed(reader, field->start, "nodes with more than %d inputs and outputs", ONNX_MAX_EDGES);
    }
    SPADE_TRY(onnx_push(reader, names, count, sizeof **names));
    return onnx_read_text(reader, field, "the name of a tensor", ONNX_MAX_NAME, &(*names)[*count - 1]);
}

static spade_status read_node(onnx_reader *reader, onnx_cursor cursor, onnx_node *node)
{
    onnx_field field;
    onnx_cursor content;
    size_t start = cursor.position;
    while (onnx_wire_next(&cursor, &field)) {
        switch (field.number) {
        case 1: SPADE_TRY(read_edge(reader, &field, &node->inputs, &node->input_count)); break;
        case 2: SPADE_TRY(read_edge(reader, &field, &node->outputs, &node->output_count)); break;
        case 3: SPADE_TRY(onnx_read_text(reader, &field, "the name of a node", ONNX_MAX_NAME, &node->name)); break;
        case 4:
            SPADE_TRY(onnx_read_text(reader, &field, "the operator of a node", ONNX_MAX_NAME, &node->op_type));
            break;
        case 5:
            if (++reader->attributes > ONNX_MAX_ATTRIBUTES) {
                return onnx_malformed(reader, field.start, "nodes with more than %d attributes", ONNX_MAX_ATTRIBUTES);
            }
            SPADE_TRY(onnx_enter(reader, &cursor, &field, "an attribute", &content));
            SPADE_TRY(onnx_push(reader, &node->attributes, &node->attribute_count, sizeof *node->attributes));
            SPADE_TRY(onnx_read_attribute(reader, content, &node->attributes[node->attribute_count - 1]));
            break;
        case 7: SPADE_TRY(onnx_read_text(reader, &field, "the domain of a node", ONNX_MAX_NAME, &node->domain)); break;
        case 9:
            SPADE_TRY(onnx_enter(reader, &cursor, &field, "the metadata of a node", &content));
            SPADE_TRY(onnx_read_node_metadata(reader, content, node));
            break;
        default: break;
        }
    }
    SPADE_TRY(onnx_end(reader, &cursor));
    SPADE_TRY(onnx_default_text(reader, &node->name));
    SPADE_TRY(onnx_default_text(reader, &node->op_type));
    SPADE_TRY(onnx_default_text(reader, &node->domain));
    if (!*node->op_type) { return onnx_malformed(reader, start, "a node without an operator"); }
    return SPADE_OK;
}

/* ---- inputs and outputs of the graph */
static spade_status read_dimension(onnx_reader *reader, onnx_cursor cursor, int64_t *dim)
{
    onnx_field field;
    *dim = -1;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number == 1) { SPADE_TRY(onnx_read_int(reader, &field, "a dimension", dim)); }
        if (field.number == 2) { *dim = -1; }
    }
    if (*dim < 0) { *dim = -1; } /* some exporters write a negative number for an unknown one */
    return onnx_end(reader, &cursor);
}

static spade_status read_shape(onnx_reader *reader, onnx_cursor cursor, onnx_value *value)
{
    onnx_field field;
    onnx_cursor content;
    value->rank = 0;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number != 1) { continue; }
        SPADE_TRY(onnx_enter(reader, &cursor, &field, "a dimension", &content));
        if (value->rank == ONNX_MAX_RANK) {
            return onnx_malformed(reader, field.start, "a graph input or output has more than %d dimensions",
                                  ONNX_MAX_RANK);
        }
        SPADE_TRY(read_dimension(reader, content, &value->dims[value->rank++]));
    }
    return onnx_end(reader, &cursor);
}

/* TypeProto.Tensor */
static spade_status read_tensor_type(onnx_reader *reader, onnx_cursor cursor, onnx_value *value)
{
    onnx_field field;
    onnx_cursor content;
    int64_t type = 0;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number == 1) { SPADE_TRY(onnx_read_int(reader, &field, "elem_type", &type)); }
        if (field.number == 2) {
            SPADE_TRY(onnx_enter(reader, &cursor, &field, "a shape", &content));
            SPADE_TRY(read_shape(reader, content, value));
        }
    }
    value->type = type > 0 && type <= INT32_MAX ? (int)type : 0;
    return onnx_end(reader, &cursor);
}

static spade_status read_value(onnx_reader *reader, onnx_cursor cursor, onnx_value *value)
{
    onnx_field field;
    onnx_cursor type, content;
    value->rank = -1;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number == 1) {
            SPADE_TRY(
                onnx_read_text(reader, &field, "the name of a graph input or output", ONNX_MAX_NAME, &value->name));
        }
        if (field.number != 2) { continue; }
        SPADE_TRY(onnx_enter(reader, &cursor, &field, "the type of a graph input or output", &type));
        while (onnx_wire_next(&type, &field)) {
            if (field.number != 1) { continue; } /* sequences, maps: type stays 0 */
            SPADE_TRY(onnx_enter(reader, &type, &field, "a tensor type", &content));
            SPADE_TRY(read_tensor_type(reader, content, value));
        }
        SPADE_TRY(onnx_end(reader, &type));
    }
    SPADE_TRY(onnx_end(reader, &cursor));
    return onnx_default_text(reader, &value->name);
}

/* ---- graph */
static spade_status push_limited(onnx_reader *reader, const onnx_field *field, const char *what, int limit, void *array,
                                 int *count, size_t element)
{
    if (*count >= limit) { return onnx_malformed(reader, field->start, "more than %d %s", limit, what); }
    return onnx_push(reader, array, count, element);
}

/* The name of a sparse initializer is its values' name. */
static spade_status read_sparse(onnx_reader *reader, onnx_cursor cursor, char **name)
{
    onnx_field field;
    onnx_cursor values;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number != 1) { continue; }
        SPADE_TRY(onnx_enter(reader, &cursor, &field, "a sparse initializer", &values));
        while (onnx_wire_next(&values, &field)) {
            if (field.number == 8) { SPADE_TRY(onnx_read_text(reader, &field, "a name", ONNX_MAX_NAME, name)); }
        }
        SPADE_TRY(onnx_end(reader, &values));
    }
    SPADE_TRY(onnx_end(reader, &cursor));
    return onnx_default_text(reader, name);
}

static spade_status read_graph_field(onnx_reader *reader, const onnx_cursor *cursor, const onnx_field *field)
{
    onnx_model *model = reader->model;
    onnx_cursor content;
    switch (field->number) {
    case 1:
        SPADE_TRY(onnx_enter(reader, cursor, field, "a node", &content));
        SPADE_TRY(push_limited(reader, field, "nodes", ONNX_MAX_NODES, &model->nodes, &model->node_count,
                               sizeof *model->nodes));
        return read_node(reader, content, &model->nodes[model->node_count - 1]);
    case 5: {
        SPADE_TRY(onnx_enter(reader, cursor, field, "an initializer", &content));
        SPADE_TRY(push_limited(reader, field, "initializers", ONNX_MAX_INITIALIZERS, &model->initializers,
                               &model->initializer_count, sizeof *model->initializers));
        onnx_tensor *tensor = &model->initializers[model->initializer_count - 1];
        SPADE_TRY(onnx_read_tensor(reader, content, "initializer", tensor));
        return *tensor->name ? SPADE_OK : onnx_malformed(reader, field->start, "an initializer without a name");
    }
    case 11:
        SPADE_TRY(onnx_enter(reader, cursor, field, "a graph input", &content));
        SPADE_TRY(push_limited(reader, field, "graph inputs", ONNX_MAX_VALUES, &model->inputs, &model->input_count,
                               sizeof *model->inputs));
        return read_value(reader, content, &model->inputs[model->input_count - 1]);
    case 12:
        SPADE_TRY(onnx_enter(reader, cursor, field, "a graph output", &content));
        SPADE_TRY(push_limited(reader, field, "graph outputs", ONNX_MAX_VALUES, &model->outputs, &model->output_count,
                               sizeof *model->outputs));
        return read_value(reader, content, &model->outputs[model->output_count - 1]);
    case 15:
        SPADE_TRY(onnx_enter(reader, cursor, field, "a sparse initializer", &content));
        SPADE_TRY(push_limited(reader, field, "sparse initializers", ONNX_MAX_INITIALIZERS, &reader->sparse,
                               &reader->sparse_count, sizeof *reader->sparse));
        return read_sparse(reader, content, &reader->sparse[reader->sparse_count - 1]);
    default: return SPADE_OK;
    }
}

static spade_status read_graph(onnx_reader *reader, onnx_cursor cursor)
{
    onnx_field field;
    while (onnx_wire_next(&cursor, &field)) { SPADE_TRY(read_graph_field(reader, &cursor, &field)); }
    return onnx_end(reader, &cursor);
}

/* ---- model */
static bool is_default_domain(const char *domain)
{
    return *domain == 0 || strcmp(domain, "ai.onnx") == 0;
}

static spade_status read_opset(onnx_reader *reader, onnx_cursor cursor)
{
    onnx_field field;
    char *domain = NULL;
    int64_t version = 0;
    spade_status status = SPADE_OK;
    size_t start = cursor.position;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number == 1) {
            SPADE_GOTO(onnx_read_text(reader, &field, "an opset's domain", ONNX_MAX_NAME, &domain));
        }
        if (field.number == 2) { SPADE_GOTO(onnx_read_int(reader, &field, "an opset's version", &version)); }
    }
    SPADE_GOTO(onnx_end(reader, &cursor));
    SPADE_GOTO(onnx_default_text(reader, &domain));
    if (is_default_domain(domain)) {
        if (version < 1 || version > INT32_MAX) {
            SPADE_GOTO(onnx_malformed(reader, start, "opset version %lld", (long long)version));
        }
        reader->model->opset = version;
    }
done:
    free(domain);
    return status;
}

static spade_status read_metadata(onnx_reader *reader, onnx_cursor cursor, onnx_metadata *entry)
{
    onnx_field field;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number == 1) {
            SPADE_TRY(onnx_read_text(reader, &field, "a metadata key", ONNX_MAX_NAME, &entry->key));
        }
        if (field.number == 2) {
            SPADE_TRY(onnx_read_text(reader, &field, "a metadata value", ONNX_MAX_TEXT, &entry->value));
        }
    }
    SPADE_TRY(onnx_end(reader, &cursor));
    SPADE_TRY(onnx_default_text(reader, &entry->key));
    return onnx_default_text(reader, &entry->value);
}

/* "DOMAIN:NAME" of a node's operator or a function. Caller frees; NULL without memory. */
static char *function_key(const char *domain, const char *name)
{
    size_t size = strlen(domain) + strlen(name) + 2;
    char *key = malloc(size);
    if (key) { snprintf(key, size, "%s:%s", is_default_domain(domain) ? "" : domain, name); }
    return key;
}

static spade_status read_function(onnx_reader *reader, onnx_cursor cursor, char **key)
{
    onnx_field field;
    char *name = NULL, *domain = NULL;
    spade_status status = SPADE_OK;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number == 1) {
            SPADE_GOTO(onnx_read_text(reader, &field, "a function's name", ONNX_MAX_NAME, &name));
        }
        if (field.number == 10) {
            SPADE_GOTO(onnx_read_text(reader, &field, "a function's domain", ONNX_MAX_NAME, &domain));
        }
    }
    SPADE_GOTO(onnx_end(reader, &cursor));
    SPADE_GOTO(onnx_default_text(reader, &name));
    SPADE_GOTO(onnx_default_text(reader, &domain));
    *key = function_key(domain, name);
    if (!*key) { status = spade_fail(reader->context, SPADE_ERROR_MEMORY, "%s: out of memory", reader->model->path); }
done:
    free(name);
    free(domain);
    return status;
}

static spade_status read_model_field(onnx_reader *reader, const onnx_cursor *cursor, const onnx_field *field)
{
    onnx_model *model = reader->model;
    onnx_cursor content;
    switch (field->number) {
    case 1: return onnx_read_int(reader, field, "ir_version", &model->ir_version);
    case 2: return onnx_read_text(reader, field, "producer_name", ONNX_MAX_NAME, &model->producer);
    case 7:
        SPADE_TRY(onnx_enter(reader, cursor, field, "the graph", &content));
        if (++reader->graph_count > 1) { return onnx_malformed(reader, field->start, "a second graph"); }
        return read_graph(reader, content);
    case 8: SPADE_TRY(onnx_enter(reader, cursor, field, "opset_import", &content)); return read_opset(reader, content);
    case 14:
        SPADE_TRY(onnx_enter(reader, cursor, field, "metadata", &content));
        SPADE_TRY(push_limited(reader, field, "metadata entries", ONNX_MAX_METADATA, &model->metadata,
                               &model->metadata_count, sizeof *model->metadata));
        return read_metadata(reader, content, &model->metadata[model->metadata_count - 1]);
    case 25:
        SPADE_TRY(onnx_enter(reader, cursor, field, "a function", &content));
        SPADE_TRY(push_limited(reader, field, "functions", ONNX_MAX_NODES, &reader->functions, &reader->function_count,
                               sizeof *reader->functions));
        return read_function(reader, content, &reader->functions[reader->function_count - 1]);
    default: return SPADE_OK;
    }
}

static spade_status read_model(onnx_reader *reader)
{
    onnx_model *model = reader->model;
    onnx_cursor cursor = {.data = model->file.data, .end = model->file.size};
    onnx_field field;
    while (onnx_wire_next(&cursor, &field)) { SPADE_TRY(read_model_field(reader, &cursor, &field)); }
    SPADE_TRY(onnx_end(reader, &cursor));
    if (reader->graph_count == 0) { return onnx_malformed(reader, cursor.end, "there is no graph up to the end"); }
    if (model->node_count == 0) { return onnx_malformed(reader, cursor.end, "the graph has no nodes, up to the end"); }
    if (model->ir_version < 1 || model->ir_version > INT32_MAX) {
        return onnx_malformed(reader, cursor.end, "there is no ir_version up to the end");
    }
    if (model->opset == 0 && model->ir_version >= 3) {
        return onnx_malformed(reader, cursor.end, "there is no opset of the default domain up to the end");
    }
    if (model->opset == 0) { model->opset = 1; } /* what formats 1 and 2 imply */
    return onnx_default_text(reader, &model->producer);
}

/* ---- what only the whole file shows */
static spade_status index_names(onnx_reader *reader, char *const *names, int count, onnx_index **out)
{
    *out = calloc((size_t)count + 1, sizeof **out);
    if (!*out) { return spade_fail(reader->context, SPADE_ERROR_MEMORY, "%s: out of memory", reader->model->path); }
    for (int i = 0; i < count; i++) { (*out)[i] = (onnx_index){names[i], i}; }
    onnx_index_sort(*out, count);
    return SPADE_OK;
}

static spade_status index_initializers(onnx_reader *reader)
{
    onnx_model *model = reader->model;
    model->by_name = calloc((size_t)model->initializer_count + 1, sizeof *model->by_name);
    if (!model->by_name) { return spade_fail(reader->context, SPADE_ERROR_MEMORY, "%s: out of memory", model->path); }
    for (int i = 0; i < model->initializer_count; i++) {
        model->by_name[i] = (onnx_index){model->initializers[i].name, i};
    }
    onnx_index_sort(model->by_name, model->initializer_count);
    for (int i = 1; i < model->initializer_count; i++) {
        if (strcmp(model->by_name[i - 1].name, model->by_name[i].name) == 0) {
            size_t at = model->initializers[model->by_name[i].number].field_offset;
            return onnx_malformed(reader, at, "a second initializer named '%s'", model->by_name[i].name);
        }
    }
    return SPADE_OK;
}

/* Sparse initializers and functions are fine as long as no node uses them. */
static spade_status check_use(onnx_reader *reader)
{
    const onnx_model *model = reader->model;
    onnx_index *sparse = NULL, *functions = NULL;
    spade_status status = SPADE_OK;
    SPADE_GOTO(index_names(reader, reader->sparse, reader->sparse_count, &sparse));
    SPADE_GOTO(index_names(reader, reader->functions, reader->function_count, &functions));
    for (int i = 0; i < model->node_count; i++) {
        const onnx_node *node = &model->nodes[i];
        for (int k = 0; k < node->input_count && reader->sparse_count; k++) {
            if (*node->inputs[k] && onnx_index_find(sparse, reader->sparse_count, node->inputs[k])) {
                SPADE_GOTO(spade_fail(reader->context, SPADE_ERROR_UNSUPPORTED,
                                      "%s: node '%s' (%s) uses the sparse initializer '%s'", model->path, node->name,
                                      node->op_type, node->inputs[k]));
            }
        }
        if (reader->function_count == 0) { continue; }
        char *key = function_key(node->domain, node->op_type);
        bool used = key && onnx_index_find(functions, reader->function_count, key);
        free(key);
        if (used) {
            SPADE_GOTO(spade_fail(reader->context, SPADE_ERROR_UNSUPPORTED,
                                  "%s: node '%s' calls '%s', a function that the model defines itself", model->path,
                                  node->name, node->op_type));
        }
    }
done:
    free(sparse);
    free(functions);
    return status;
}

/* What a file that is no ONNX model seems to be, or NULL. */
static const char *recognise(const uint8_t *data, size_t size)
{
    static const struct {
        const char *magic;
        size_t length;
        const char *what;
    } kinds[] = {
        {"\x89PNG", 4, "a PNG picture"},
        {"\xff\xd8\xff", 3, "a JPEG picture"},
        {"PK\x03\x04", 4, "a ZIP archive, as PyTorch saves its own models"},
        {"\x1f\x8b", 2, "a gzip archive"},
        {"\x89HDF", 4, "an HDF5 file"},
        {"\x93NUMPY", 6, "a NumPy array"},
        {"version https://git-lfs", 23, "a Git LFS pointer; the model itself was not fetched"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (size >= kinds[i].length && memcmp(data, kinds[i].magic, kinds[i].length) == 0) { return kinds[i].what; }
    }
    size_t printable = 0, look = size < 64 ? size : 64;
    while (printable < look && (data[printable] >= 0x20 || (data[printable] >= 9 && data[printable] <= 13))) {
        printable++;
    }
    return printable == look ? "a text file" : NULL;
}

/* The file, with its descriptor kept (a rename over its name does not change what is read again). */
static spade_status map_model(onnx_model *model)
{
    return spade_map_kept_file(model->context, model->path, ONNX_MAX_FILE, &model->file);
}

static spade_status fingerprint_files(const onnx_model *model, char out[SPADE_FINGERPRINT_SIZE])
{
    const int count = model->external_count + 1;
    spade_mapping *pieces = malloc(sizeof *pieces * (size_t)count);
    if (!pieces) { return spade_fail(model->context, SPADE_ERROR_MEMORY, "%s: out of memory", model->path); }
    pieces[0] = model->file;
    for (int i = 1; i < count; i++) { pieces[i] = model->external[i - 1]; }
    spade_fingerprint(pieces, count, out);
    free(pieces);
    return SPADE_OK;
}

spade_status onnx_load(spade_context *context, const char *path, bool follow_links, onnx_model **out)
{
    *out = NULL;
    onnx_model *model = calloc(1, sizeof *model);
    if (!model) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    onnx_reader reader = {.context = context, .model = model, .follow_links = follow_links};
    spade_status status = SPADE_OK;
    const char *kind = NULL;
    model->context = context;
    model->path = strdup(path);
    if (!model->path) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path)); }
    SPADE_GOTO(map_model(model));
    status = read_model(&reader);
    kind = status == SPADE_ERROR_INPUT && model->node_count == 0 ? recognise(model->file.data, model->file.size) : NULL;
    if (kind) { spade_fail(context, status, "%s: not a readable ONNX model: it is %s", path, kind); }
    SPADE_GOTO(status);
    SPADE_GOTO(index_initializers(&reader));
    SPADE_GOTO(check_use(&reader));
    SPADE_GOTO(fingerprint_files(model, model->fingerprint));
done:
    for (int i = 0; i < reader.sparse_count; i++) { free(reader.sparse[i]); }
    for (int i = 0; i < reader.function_count; i++) { free(reader.functions[i]); }
    free(reader.sparse);
    free(reader.functions);
    if (status != SPADE_OK) {
        onnx_free(model);
        return status;
    }
    *out = model;
    return SPADE_OK;
}

static void clear_node(spade_context *context, onnx_node *node)
{
    for (int i = 0; i < node->input_count; i++) { free(node->inputs[i]); }
    for (int i = 0; i < node->output_count; i++) { free(node->outputs[i]); }
    for (int i = 0; i < node->attribute_count; i++) { onnx_clear_attribute(context, &node->attributes[i]); }
    free(node->inputs);
    free(node->outputs);
    free(node->attributes);
    free(node->name);
    free(node->op_type);
    free(node->domain);
    free(node->scopes);
    free(node->call);
}

/* The file that these bytes are in, or NULL: they were decoded. */
static const spade_mapping *file_of(const onnx_model *model, const void *bytes, size_t size)
{
    for (int i = -1; i < model->external_count; i++) {
        const spade_mapping *file = i < 0 ? &model->file : &model->external[i];
        const uintptr_t begin = (uintptr_t)file->data, from = (uintptr_t)bytes;
        if (file->data && from >= begin && from - begin <= file->size && size <= file->size - (from - begin)) {
            return file;
        }
    }
    return NULL;
}

bool onnx_can_drop(const onnx_model *model, const void *bytes, size_t size)
{
    const spade_mapping *file = file_of(model, bytes, size);
    return file && file->descriptor;
}

void onnx_drop(const onnx_model *model, const void *bytes, size_t size)
{
    const spade_mapping *file = file_of(model, bytes, size);
    if (file) { spade_mapping_drop(file, bytes, size); }
}

void onnx_release_files(const onnx_model *model)
{
    spade_mapping_release(&model->file);
    for (int i = 0; i < model->external_count; i++) { spade_mapping_release(&model->external[i]); }
}

spade_status onnx_restore_files(const onnx_model *model)
{
    char now[SPADE_FINGERPRINT_SIZE];
    spade_status status = spade_mapping_restore(model->context, model->path, &model->file);
    for (int i = 0; i < model->external_count && status == SPADE_OK; i++) {
        status = spade_mapping_restore(model->context, model->external_names[i], &model->external[i]);
    }
    if (status == SPADE_OK) { status = fingerprint_files(model, now); }
    if (status == SPADE_OK && strcmp(now, model->fingerprint) != 0) {
        status = spade_fail(model->context, SPADE_ERROR_INPUT, "%s: changed since it was loaded", model->path);
    }
    if (status != SPADE_OK) { onnx_release_files(model); }
    return status;
}

void onnx_free(onnx_model *model)
{
    if (!model) { return; }
    for (int i = 0; i < model->node_count; i++) { clear_node(model->context, &model->nodes[i]); }
    for (int i = 0; i < model->initializer_count; i++) { onnx_clear_tensor(model->context, &model->initializers[i]); }
    for (int i = 0; i < model->input_count; i++) { free(model->inputs[i].name); }
    for (int i = 0; i < model->output_count; i++) { free(model->outputs[i].name); }
    for (int i = 0; i < model->metadata_count; i++) { free(model->metadata[i].key), free(model->metadata[i].value); }
    for (int i = 0; i < model->external_count; i++) {
        free(model->external_names[i]);
        spade_unmap(&model->external[i]);
    }
    free(model->nodes);
    free(model->initializers);
    free(model->inputs);
    free(model->outputs);
    free(model->metadata);
    free(model->external);
    free(model->external_names);
    free(model->by_name);
    free(model->path);
    free(model->producer);
    spade_unmap(&model->file);
    free(model);
}
