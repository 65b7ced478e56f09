/* yaml.c - from a YAML document to entries, through libyaml; every value stays the text that the file has. */
#include <yaml.h>

#include "config/yaml.h"

enum { MAX_BYTES = 1 << 20, MAX_ENTRIES = 1024, MAX_VALUE = 4096 };
/* libyaml takes time with the square of how deep a file goes, and of how many anchors and directives it has; an alias makes
 * a few bytes as much work as a long list. */
enum { MAX_DEPTH = 16, MAX_NODES = 65536, MAX_ANCHORS = 64, MAX_ALIASES = 64, MAX_PERCENT_SIGNS = 64 };

/* A document while it is read. */
typedef struct reading {
    spade_context *context;
    const char *path;
    yaml_document_t document;
    spade_config *config;
} reading;

/* ---- nodes */
static yaml_node_t *node_at(reading *file, int index)
{
    return yaml_document_get_node(&file->document, index);
}

static int line_of(const yaml_node_t *node)
{
    return (int)node->start_mark.line + 1;
}

static const char *kind_of(const yaml_node_t *node)
{
    if (node->type == YAML_SEQUENCE_NODE) { return "a list"; }
    return node->type == YAML_MAPPING_NODE ? "a MAPPING of keys" : "a value";
}

static int entry_count(const yaml_node_t *list)
{
    return (int)(list->data.sequence.items.top - list->data.sequence.items.start);
}

static int pair_count(const yaml_node_t *mapping)
{
    return (int)(mapping->data.mapping.pairs.top - mapping->data.mapping.pairs.start);
}

static yaml_node_t *entry_at(reading *file, const yaml_node_t *list, int index)
{
    return node_at(file, list->data.sequence.items.start[index]);
}

static spade_status fail_form(reading *file, const yaml_node_t *node, const char *key, const char *wanted)
{
    return spade_fail(file->context, SPADE_ERROR_INPUT, "%s: %s: %s is wanted, not %s (line %d)", file->path, key,
                      wanted, kind_of(node), line_of(node));
}

static spade_status fail_unknown(reading *file, const yaml_node_t *key, const char *inside)
{
    return spade_fail(file->context, SPADE_ERROR_INPUT, "%s: unknown key '%s'%s%s (line %d)", file->path,
                      (const char *)key->data.scalar.value, inside ? " in " : "", inside ? inside : "", line_of(key));
}

static spade_status fail_memory(reading *file)
{
    return spade_fail(file->context, SPADE_ERROR_MEMORY, "%s: out of memory", file->path);
}

/* The text of a value, empty after a failure; key: for messages. */
static spade_status take_text(reading *file, const yaml_node_t *node, const char *key, const char **out)
{
    *out = "";
    if (node->type != YAML_SCALAR_NODE) { return fail_form(file, node, key, "a value"); }
    if (node->data.scalar.length > MAX_VALUE || memchr(node->data.scalar.value, 0, node->data.scalar.length)) {
        return spade_fail(file->context, SPADE_ERROR_INPUT,
                          "%s: %s: a value has more than %d characters, or a NUL among them (line %d)", file->path, key,
                          MAX_VALUE, line_of(node));
    }
    *out = (const char *)node->data.scalar.value;
    return SPADE_OK;
}

/* The pairs of a mapping: its keys are texts, and each is there once. */
static spade_status check_keys(reading *file, const yaml_node_t *mapping, const char *name)
{
    const yaml_node_pair_t *pairs = mapping->data.mapping.pairs.start;
    const char *key, *earlier;
    const int count = pair_count(mapping);
    if (count > MAX_ENTRIES) {
        return spade_fail(file->context, SPADE_ERROR_INPUT, "%s: %s: more than %d keys (line %d)", file->path, name,
                          MAX_ENTRIES, line_of(mapping));
    }
    for (int i = 0; i < count; i++) {
        const yaml_node_t *node = node_at(file, pairs[i].key);
        SPADE_TRY(take_text(file, node, name, &key));
        for (int k = 0; k < i; k++) {
            SPADE_TRY(take_text(file, node_at(file, pairs[k].key), name, &earlier));
            if (strcmp(key, earlier) != 0) { continue; }
            return spade_fail(file->context, SPADE_ERROR_INPUT, "%s: '%s' is given twice (line %d)", file->path, key,
                              line_of(node));
        }
    }
    return SPADE_OK;
}

/* ---- entries */
static spade_status add_entry(reading *file, const spade_key *key, const char *pattern, const char *const *values,
                              int count)
{
    spade_config *config = file->config;
    spade_config_entry *entries = realloc(config->entries, sizeof *entries * (size_t)(config->count + 1));
    if (!entries) { return fail_memory(file); }
    config->entries = entries;
    spade_config_entry *entry = &entries[config->count++];
    *entry = (spade_config_entry){.key = key, .values = calloc((size_t)count + 1, sizeof *entry->values)};
    if (pattern) { entry->pattern = strdup(pattern); }
    if (!entry->values || (pattern && !entry->pattern)) { return fail_memory(file); }
    for (int i = 0; i < count; i++, entry->count++) {
        entry->values[i] = strdup(values[i]);
        if (!entry->values[i]) { return fail_memory(file); }
    }
    return SPADE_OK;
}

/* ---- methods and metrics: {smoothgrad: {samples: 25, sigma: 0.1}} is the text smoothgrad:samples=25:sigma=0.1 */

/* A value as the text has it: in quotes where a colon, a comma or a quote would end it or mean something. What
 * follows the last colon of a value and is a number (the channel of a layer) stays behind the quotes. */
static spade_status write_option(reading *file, FILE *to, const char *key, const char *method,
                                 const yaml_node_t *option, const yaml_node_t *node)
{
    const char *name, *value;
    SPADE_TRY(take_text(file, option, key, &name));
    SPADE_TRY(take_text(file, node, key, &value));
    const char *last = strrchr(value, ':'), *tail = value + strlen(value);
    if (last && last[1] && last[1 + strspn(last + 1, "0123456789")] == 0) { tail = last; }
    const int length = (int)(tail - value);
    const bool plain = (int)strcspn(value, ":,\"'") >= length, both = strchr(value, '"') && strchr(value, '\'');
    if (both) {
        return spade_fail(file->context, SPADE_ERROR_INPUT, "%s: %s: %s: %s holds both kinds of quotes (line %d)",
                          file->path, key, method, name, line_of(node));
    }
    const char *quote = plain ? "" : strchr(value, '"') ? "'" : "\"";
    fprintf(to, ":%s=%s%.*s%s%s", name, quote, length, value, quote, tail);
    return SPADE_OK;
}

static spade_status write_method(reading *file, FILE *to, const char *key, const yaml_node_t *mapping)
{
    const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
    const char *method;
    if (pair_count(mapping) != 1) {
        return spade_fail(file->context, SPADE_ERROR_INPUT,
                          "%s: %s: an entry holds one name, not %d: {smoothgrad: {samples: 25}} (line %d)", file->path,
                          key, pair_count(mapping), line_of(mapping));
    }
    SPADE_TRY(take_text(file, node_at(file, pair->key), key, &method));
    const yaml_node_t *options = node_at(file, pair->value);
    fputs(method, to);
    if (options->type == YAML_SCALAR_NODE && !options->data.scalar.length) { return SPADE_OK; } /* - saliency: */
    if (options->type != YAML_MAPPING_NODE) { return fail_form(file, options, key, "a mapping of options"); }
    SPADE_TRY(check_keys(file, options, key));
    for (int i = 0; i < pair_count(options); i++) {
        const yaml_node_pair_t *option = &options->data.mapping.pairs.start[i];
        SPADE_TRY(write_option(file, to, key, method, node_at(file, option->key), node_at(file, option->value)));
    }
    return SPADE_OK;
}

/* *out: to be freed */
static spade_status method_text(reading *file, const char *key, const yaml_node_t *mapping, char **out)
{
    size_t size = 0;
    FILE *to = open_memstream(out, &size);
    if (!to) { return fail_memory(file); }
    spade_status status = write_method(file, to, key, mapping);
    if (fclose(to) != 0 && status == SPADE_OK) { status = fail_memory(file); }
    if (status == SPADE_OK && size > MAX_VALUE) {
        status = spade_fail(file->context, SPADE_ERROR_INPUT, "%s: %s: more than %d characters (line %d)", file->path,
                            key, MAX_VALUE, line_of(mapping));
    }
    if (status != SPADE_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- values and lists */
static spade_status read_list(reading *file, const spade_key *key, const yaml_node_t *list)
{
    const int count = entry_count(list);
    const char **values = calloc((size_t)count + 1, sizeof *values);
    char **texts = calloc((size_t)count + 1, sizeof *texts); /* those that are made here */
    spade_status status = SPADE_OK;
    if (!values || !texts) { SPADE_GOTO(fail_memory(file)); }
    for (int i = 0; i < count; i++) {
        const yaml_node_t *node = entry_at(file, list, i);
        if (spade_key_takes_options(key) && node->type == YAML_MAPPING_NODE) {
            SPADE_GOTO(method_text(file, key->name, node, &texts[i]));
            values[i] = texts[i];
        } else {
            SPADE_GOTO(take_text(file, node, key->name, &values[i]));
        }
    }
    status = add_entry(file, key, NULL, values, count);
done:
    for (int i = 0; texts && i < count; i++) { free(texts[i]); }
    free(texts);
    free((void *)values);
    return status;
}

/* The key of the settings that `name` is in an entry of this list; NULL: none, or the glob. */
static const spade_key *key_of_rule(const spade_key *list, const char *name)
{
    if (list->type != SPADE_KEY_RULES) { return strcmp(name, "value") == 0 ? list : NULL; }
    const spade_key *key = spade_key_find(name, strlen(name));
    return key && key->rule ? key : NULL;
}

/* The glob of an entry; all its other keys are known. */
static spade_status read_glob(reading *file, const spade_key *list, const yaml_node_t *rule, const char **glob)
{
    const char *name;
    *glob = NULL;
    if (rule->type != YAML_MAPPING_NODE) { return fail_form(file, rule, list->name, "a MAPPING with layers"); }
    SPADE_TRY(check_keys(file, rule, list->name));
    for (int i = 0; i < pair_count(rule); i++) {
        const yaml_node_pair_t *pair = &rule->data.mapping.pairs.start[i];
        const yaml_node_t *node = node_at(file, pair->key);
        SPADE_TRY(take_text(file, node, list->name, &name));
        if (strcmp(name, "layers") == 0) {
            SPADE_TRY(take_text(file, node_at(file, pair->value), "layers", glob));
        } else if (!key_of_rule(list, name)) {
            return fail_unknown(file, node, list->name);
        }
    }
    if (*glob) { return SPADE_OK; }
    return spade_fail(file->context, SPADE_ERROR_INPUT, "%s: %s: layers, a glob, is missing (line %d)", file->path,
                      list->name, line_of(rule));
}

/* An entry of the list `rules`, {layers: GLOB, and keys}, or of the list `sparsity`, {layers: GLOB, value: S}. */
static spade_status read_rule(reading *file, const spade_key *list, const yaml_node_t *rule)
{
    const char *glob, *name, *value;
    SPADE_TRY(read_glob(file, list, rule, &glob));
    for (int i = 0; i < pair_count(rule); i++) {
        const yaml_node_pair_t *pair = &rule->data.mapping.pairs.start[i];
        SPADE_TRY(take_text(file, node_at(file, pair->key), list->name, &name));
        const spade_key *key = key_of_rule(list, name);
        if (!key) { continue; } /* layers */
        SPADE_TRY(take_text(file, node_at(file, pair->value), name, &value));
        SPADE_TRY(add_entry(file, key, glob, &value, 1));
    }
    if (pair_count(rule) > 1) { return SPADE_OK; }
    return spade_fail(file->context, SPADE_ERROR_INPUT, "%s: %s: the rule for %s changes nothing (line %d)", file->path,
                      list->name, glob, line_of(rule));
}

static spade_status read_value(reading *file, const spade_key *key, const yaml_node_t *node)
{
    const bool rules = key->type == SPADE_KEY_RULES, exceptions = key->rule == SPADE_RULE_SPARSITY;
    if (node->type == YAML_SEQUENCE_NODE && (spade_key_takes_list(key) || exceptions)) {
        const int count = entry_count(node);
        if (count > MAX_ENTRIES) {
            return spade_fail(file->context, SPADE_ERROR_INPUT, "%s: %s: more than %d entries (line %d)", file->path,
                              key->name, MAX_ENTRIES, line_of(node));
        }
        if (!rules && !exceptions) { return read_list(file, key, node); }
        for (int i = 0; i < count; i++) { SPADE_TRY(read_rule(file, key, entry_at(file, node, i))); }
        return SPADE_OK;
    }
    if (node->type == YAML_SCALAR_NODE && spade_key_takes_value(key)) {
        const char *text;
        SPADE_TRY(take_text(file, node, key->name, &text));
        return add_entry(file, key, NULL, &text, 1);
    }
    return fail_form(file, node, key->name,
                     spade_key_takes_value(key) ? spade_key_takes_list(key) ? "a value or a list" : "a value"
                                                : "a list");
}

/* ---- mappings */

/* Is it the name of a mapping, as augment is of augment.hue? */
static bool is_mapping(const char *name)
{
    const size_t length = strlen(name);
    for (int i = 0; i < spade_key_count(); i++) {
        const char *key = spade_key_at(i)->name;
        if (strncmp(key, name, length) == 0 && key[length] == '.') { return true; }
    }
    return false;
}

static spade_status read_inner(reading *file, const char *name, const yaml_node_t *mapping)
{
    if (mapping->type != YAML_MAPPING_NODE) { return fail_form(file, mapping, name, "a MAPPING of keys"); }
    SPADE_TRY(check_keys(file, mapping, name));
    for (int i = 0; i < pair_count(mapping); i++) {
        const yaml_node_pair_t *pair = &mapping->data.mapping.pairs.start[i];
        const yaml_node_t *node = node_at(file, pair->key);
        const char *inner;
        char full[64];
        SPADE_TRY(take_text(file, node, name, &inner));
        int length = snprintf(full, sizeof full, "%s.%s", name, inner);
        const spade_key *key = length < (int)sizeof full ? spade_key_find(full, (size_t)length) : NULL;
        if (!key) { return fail_unknown(file, node, name); }
        SPADE_TRY(read_value(file, key, node_at(file, pair->value)));
    }
    return SPADE_OK;
}

/* rules: those only, else everything but them. They come last: a plain value takes back the rules of its key. */
static spade_status read_outer(reading *file, const yaml_node_t *root, bool rules)
{
    for (int i = 0; i < pair_count(root); i++) {
        const yaml_node_pair_t *pair = &root->data.mapping.pairs.start[i];
        const yaml_node_t *node = node_at(file, pair->key), *value = node_at(file, pair->value);
        const char *name;
        SPADE_TRY(take_text(file, node, "the file", &name));
        const spade_key *key = strchr(name, '.') ? NULL : spade_key_find(name, strlen(name));
        if ((key && key->type == SPADE_KEY_RULES) != rules) { continue; }
        if (key) {
            SPADE_TRY(read_value(file, key, value));
        } else if (is_mapping(name)) {
            SPADE_TRY(read_inner(file, name, value));
        } else {
            return fail_unknown(file, node, NULL);
        }
    }
    return SPADE_OK;
}

static spade_status read_document(reading *file)
{
    const yaml_node_t *root = yaml_document_get_root_node(&file->document);
    if (!root) { return SPADE_OK; } /* nothing but comments */
    if (root->type != YAML_MAPPING_NODE) { return fail_form(file, root, "the file", "a MAPPING of keys"); }
    SPADE_TRY(check_keys(file, root, "the file"));
    SPADE_TRY(read_outer(file, root, false));
    return read_outer(file, root, true);
}

static spade_status fail_parser(spade_context *context, const char *path, const yaml_parser_t *parser)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
    }
    return spade_fail(context, SPADE_ERROR_INPUT, "%s: not YAML: %s (line %d)", path,
                      parser->problem ? parser->problem : "malformed", (int)parser->problem_mark.line + 1);
}

/* ---- limits: the file is read once as a sequence of events, which is stopped where one of them is passed */
typedef struct yaml_size {
    int depth, nodes, anchors, aliases;
} yaml_size;

static void count_event(const yaml_event_t *event, yaml_size *size)
{
    const yaml_char_t *anchor = NULL;
    switch (event->type) {
    case YAML_ALIAS_EVENT: size->aliases++; break;
    case YAML_SCALAR_EVENT: anchor = event->data.scalar.anchor; break;
    case YAML_SEQUENCE_START_EVENT: anchor = event->data.sequence_start.anchor; break;
    case YAML_MAPPING_START_EVENT: anchor = event->data.mapping_start.anchor; break;
    default: break;
    }
    size->nodes++;
    size->anchors += anchor != NULL;
    if (event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT) { size->depth++; }
    if (event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT) { size->depth--; }
}

static spade_status check_limits(spade_context *context, const char *path, const yaml_size *size, int line)
{
    const struct {
        int count, limit;
        const char *what;
    } limits[] = {{size->depth, MAX_DEPTH, "levels of lists and mappings"},
                  {size->nodes, MAX_NODES, "values"},
                  {size->anchors, MAX_ANCHORS, "anchors"},
                  {size->aliases, MAX_ALIASES, "aliases"}};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (limits[i].count <= limits[i].limit) { continue; }
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: more than %d %s (line %d)", path, limits[i].limit,
                          limits[i].what, line);
    }
    return SPADE_OK;
}

static spade_status check_events(spade_context *context, const char *path, yaml_parser_t *parser)
{
    yaml_size size = {0};
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) { return fail_parser(context, path, parser); }
        const bool end = event.type == YAML_STREAM_END_EVENT;
        count_event(&event, &size);
        spade_status status = check_limits(context, path, &size, (int)event.start_mark.line + 1);
        yaml_event_delete(&event);
        if (end || status != SPADE_OK) { return status; }
    }
}

static spade_status check_bytes(spade_context *context, const char *path, const spade_mapping *file)
{
    int signs = 0;
    for (size_t i = 0; i < file->size; i++) { signs += file->data[i] == '%'; }
    if (signs <= MAX_PERCENT_SIGNS) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_INPUT, "%s: more than %d percent signs", path, MAX_PERCENT_SIGNS);
}

/* ---- the file */
static spade_status read_stream(spade_context *context, const char *path, yaml_parser_t *parser, spade_config *out)
{
    reading file = {.context = context, .path = path, .config = out};
    if (!yaml_parser_load(parser, &file.document)) { return fail_parser(context, path, parser); }
    spade_status status = read_document(&file);
    yaml_document_delete(&file.document);
    if (status != SPADE_OK) { return status; }
    if (!yaml_parser_load(parser, &file.document)) { return fail_parser(context, path, parser); }
    const bool more = yaml_document_get_root_node(&file.document);
    yaml_document_delete(&file.document);
    return more ? spade_fail(context, SPADE_ERROR_INPUT, "%s: more than one document", path) : SPADE_OK;
}

/* One pass over the file; out NULL: only its limits are checked. */
static spade_status parse(spade_context *context, const char *path, const spade_mapping *file, spade_config *out)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    yaml_parser_set_input_string(&parser, file->data, file->size);
    spade_status status = out ? read_stream(context, path, &parser, out) : check_events(context, path, &parser);
    yaml_parser_delete(&parser);
    return status;
}

spade_status spade_config_load(spade_context *context, const char *path, spade_config *out)
{
    spade_mapping file;
    *out = (spade_config){0};
    SPADE_TRY(spade_map_file(context, path, MAX_BYTES, &file));
    spade_status status = check_bytes(context, path, &file);
    if (status == SPADE_OK) { status = parse(context, path, &file, NULL); }
    if (status == SPADE_OK) { status = parse(context, path, &file, out); }
    spade_unmap(&file);
    if (status != SPADE_OK) { spade_config_clear(out); }
    return status;
}

void spade_config_clear(spade_config *config)
{
    for (int i = 0; i < config->count; i++) {
        spade_config_entry *entry = &config->entries[i];
        for (int k = 0; k < entry->count; k++) { free(entry->values[k]); }
        free(entry->values);
        free(entry->pattern);
    }
    free(config->entries);
    *config = (spade_config){0};
}
