/*
 * yaml.c - YAML through libcyaml.
 *
 * libcyaml reads "0.5x" as 0.5 and "0,5" as 0, so every number is taken as a string and parsed by number.c. It has no
 * "value or list": for the keys that may be either, a first pass that ignores everything else finds out which one the
 * file uses, and the strict pass then runs with a schema made for this file.
 */
#include <cyaml/cyaml.h>

#include "config/yaml.h"

typedef enum key_form { PLAIN, LIST, EITHER } key_form;

typedef struct known_key {
    const char *name; /* in the file */
    const char *full; /* in the entries */
    key_form form;
} known_key;

static const known_key main_keys[] = {
    {"variants", "variants", PLAIN},
    {"seed", "seed", PLAIN},
    {"solver", "solver", PLAIN},
    {"group", "group", PLAIN},
    {"checkpoint", "checkpoint", PLAIN},
    {"hessian", "hessian", PLAIN},
    {"precision", "precision", PLAIN},
    {"sweep", "sweep", PLAIN},
    {"count", "count", PLAIN},
    {"damping", "damping", PLAIN},
    {"layers", "layers", EITHER},
    {"skip", "skip", EITHER},
    {"block", "block", PLAIN},
    {"linear_block", "linear_block", PLAIN},
    {"nm", "nm", PLAIN},
    {"methods", "methods", EITHER},
    {"classes", "classes", EITHER},
    {"output", "output", PLAIN},
    {"steps", "steps", PLAIN},
    {"samples", "samples", PLAIN},
    {"sigma", "sigma", PLAIN},
    {"resize", "resize", PLAIN},
    {"crop", "crop", PLAIN},
    {"mean", "mean", LIST},
    {"std", "std", LIST},
};
/* What a rule holds beside its layers. */
static const char *const rule_keys[] = {"sparsity", "solver", "group", "count", "block", "nm"};
static const known_key augment_keys[] = {
    {"area", "augment.area", LIST},
    {"aspect", "augment.aspect", LIST},
    {"flip", "augment.flip", PLAIN},
    {"brightness", "augment.brightness", PLAIN},
    {"contrast", "augment.contrast", PLAIN},
    {"saturation", "augment.saturation", PLAIN},
    {"hue", "augment.hue", PLAIN},
    {"erase", "augment.erase", PLAIN},
    {"erase_area", "augment.erase_area", LIST},
    {"erase_aspect", "augment.erase_aspect", LIST},
    {"noise", "augment.noise", PLAIN},
};
enum {
    MAIN_KEYS = sizeof main_keys / sizeof *main_keys,
    AUGMENT_KEYS = sizeof augment_keys / sizeof *augment_keys,
    RULE_KEYS = sizeof rule_keys / sizeof *rule_keys,
    MAX_BYTES = 1 << 20
};

/* Where libcyaml puts the value of one key: `text` or `items`. */
typedef struct slot {
    char *text;
    char **items;
    uint32_t count;
} slot;

/* An entry of the list `sparsity`. */
typedef struct sparsity_slot {
    char *layers, *value;
} sparsity_slot;

/* An entry of the list `rules`. */
typedef struct rule_slot {
    char *layers;
    char *values[RULE_KEYS];
} rule_slot;

typedef struct augment_document {
    slot slots[AUGMENT_KEYS];
} augment_document;

typedef struct document {
    slot slots[MAIN_KEYS];
    slot sparsity; /* a plain number */
    sparsity_slot *sparsities;
    uint32_t sparsities_count; /* the names libcyaml's macro wants */
    rule_slot *rules;
    uint32_t rules_count;
    augment_document *augment;
} document;

static const cyaml_schema_value_t text_value = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, CYAML_UNLIMITED)};
static const cyaml_schema_field_t sparsity_fields[] = {
    CYAML_FIELD_STRING_PTR("layers", CYAML_FLAG_POINTER, sparsity_slot, layers, 1, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("value", CYAML_FLAG_POINTER, sparsity_slot, value, 1, CYAML_UNLIMITED), CYAML_FIELD_END};
static const cyaml_schema_value_t sparsity_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, sparsity_slot, sparsity_fields)};

/* What the schema of one file is made of. */
typedef struct schema {
    cyaml_schema_field_t fields[MAIN_KEYS + 4], augment[AUGMENT_KEYS + 1], rule[RULE_KEYS + 2];
    cyaml_schema_value_t rule_value;
} schema;

/* ---- what libcyaml says, as one line */
typedef struct complaint {
    char what[256], where[256];
} complaint;

__attribute__((format(printf, 3, 0))) static void listen(cyaml_log_t level, void *user, const char *format,
                                                         va_list arguments)
{
    complaint *heard = user;
    char line[256];
    if (level < CYAML_LOG_ERROR) { return; }
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = 0;
    const char *text = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
    if (!heard->what[0]) {
        snprintf(heard->what, sizeof heard->what, "%s", text);
    } else if (!heard->where[0] && strncmp(text, "  in ", 5) == 0) {
        snprintf(heard->where, sizeof heard->where, "%s", text + 2);
    }
}

static cyaml_config_t reader(complaint *heard)
{
    cyaml_config_t config = {.log_fn = heard ? listen : NULL,
                             .log_ctx = heard,
                             .log_level = CYAML_LOG_ERROR,
                             .mem_fn = cyaml_mem,
                             .flags = heard ? CYAML_CFG_DEFAULT : CYAML_CFG_IGNORE_UNKNOWN_KEYS};
    return config;
}

/* ---- the schema of one file */
static cyaml_schema_field_t plain_field(const char *key, size_t offset)
{
    cyaml_schema_field_t field = {.key = key, .data_offset = (uint32_t)(offset + offsetof(slot, text))};
    field.value = (cyaml_schema_value_t){
        CYAML_VALUE_STRING(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, char *, 0, CYAML_UNLIMITED)};
    return field;
}

static cyaml_schema_field_t list_field(const char *key, size_t offset)
{
    cyaml_schema_field_t field = {.key = key,
                                  .data_offset = (uint32_t)(offset + offsetof(slot, items)),
                                  .count_offset = (uint32_t)(offset + offsetof(slot, count)),
                                  .count_size = sizeof(uint32_t)};
    field.value = (cyaml_schema_value_t){
        CYAML_VALUE_SEQUENCE(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, char *, &text_value, 0, 1024)};
    return field;
}

static cyaml_schema_field_t sparsities_field(void)
{
    return (cyaml_schema_field_t)CYAML_FIELD_SEQUENCE("sparsity", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, document,
                                                      sparsities, &sparsity_value, 0, 1024);
}

static cyaml_schema_field_t rules_field(schema *out)
{
    out->rule[0] = (cyaml_schema_field_t)CYAML_FIELD_STRING_PTR("layers", CYAML_FLAG_POINTER, rule_slot, layers, 1,
                                                                CYAML_UNLIMITED);
    for (int i = 0; i < RULE_KEYS; i++) {
        cyaml_schema_field_t field = {
            .key = rule_keys[i], .data_offset = (uint32_t)(offsetof(rule_slot, values) + (size_t)i * sizeof(char *))};
        field.value = (cyaml_schema_value_t){
            CYAML_VALUE_STRING(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, char *, 0, CYAML_UNLIMITED)};
        out->rule[i + 1] = field;
    }
    out->rule[RULE_KEYS + 1] = (cyaml_schema_field_t)CYAML_FIELD_END;
    out->rule_value = (cyaml_schema_value_t){CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, rule_slot, out->rule)};
    return (cyaml_schema_field_t)CYAML_FIELD_SEQUENCE("rules", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, document,
                                                      rules, &out->rule_value, 0, 1024);
}

/* Does the file read with this one field? (A key that is absent reads as anything.) */
static bool reads_as(const spade_mapping *file, cyaml_schema_field_t field)
{
    cyaml_schema_field_t fields[] = {field, CYAML_FIELD_END};
    cyaml_schema_value_t root = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, document, fields)};
    cyaml_config_t config = reader(NULL);
    cyaml_data_t *data = NULL;
    cyaml_err_t error = cyaml_load_data(file->data, file->size, &config, &root, &data, NULL);
    if (error == CYAML_OK) { cyaml_free(&config, &root, data, 0); }
    return error == CYAML_OK;
}

static void make_schema(const spade_mapping *file, schema *out)
{
    for (int i = 0; i < AUGMENT_KEYS; i++) {
        size_t offset = offsetof(augment_document, slots) + (size_t)i * sizeof(slot);
        bool list = augment_keys[i].form == LIST;
        out->augment[i] = list ? list_field(augment_keys[i].name, offset) : plain_field(augment_keys[i].name, offset);
    }
    out->augment[AUGMENT_KEYS] = (cyaml_schema_field_t)CYAML_FIELD_END;
    for (int i = 0; i < MAIN_KEYS; i++) {
        size_t offset = offsetof(document, slots) + (size_t)i * sizeof(slot);
        cyaml_schema_field_t list = list_field(main_keys[i].name, offset);
        bool is_list = main_keys[i].form == LIST || (main_keys[i].form == EITHER && reads_as(file, list));
        out->fields[i] = is_list ? list : plain_field(main_keys[i].name, offset);
    }
    cyaml_schema_field_t number = plain_field("sparsity", offsetof(document, sparsity));
    out->fields[MAIN_KEYS] = reads_as(file, number) ? number : sparsities_field();
    out->fields[MAIN_KEYS + 1] = rules_field(out);
    out->fields[MAIN_KEYS + 2] = (cyaml_schema_field_t)CYAML_FIELD_MAPPING_PTR(
        "augment", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, document, augment, out->augment);
    out->fields[MAIN_KEYS + 3] = (cyaml_schema_field_t)CYAML_FIELD_END;
}

/* ---- from the document to entries */
static bool add_entry(spade_config *config, const char *key, const char *pattern, char *const *values, int count)
{
    spade_config_entry *entries = realloc(config->entries, sizeof *entries * (size_t)(config->count + 1));
    if (!entries) { return false; }
    config->entries = entries;
    spade_config_entry *entry = &entries[config->count++];
    *entry = (spade_config_entry){.key = key, .values = calloc((size_t)count + 1, sizeof *entry->values)};
    if (pattern) { entry->pattern = strdup(pattern); }
    if (!entry->values || (pattern && !entry->pattern)) { return false; }
    for (int i = 0; i < count; i++, entry->count++) {
        entry->values[i] = strdup(values[i] ? values[i] : "");
        if (!entry->values[i]) { return false; }
    }
    return true;
}

static bool add_slot(spade_config *config, const char *key, const slot *from)
{
    if (from->text) { return add_entry(config, key, NULL, &from->text, 1); }
    return !from->items || add_entry(config, key, NULL, from->items, (int)from->count);
}

/* A rule that says nothing is a mistake, like an unknown key; the caller finds it by its glob. */
static bool add_rule(spade_config *config, const rule_slot *rule)
{
    bool ok = true, empty = true;
    for (int i = 0; ok && i < RULE_KEYS; i++) {
        if (!rule->values[i]) { continue; }
        ok = add_entry(config, rule_keys[i], rule->layers, &rule->values[i], 1);
        empty = false;
    }
    return ok && (!empty || add_entry(config, "rules", rule->layers, NULL, 0));
}

static bool add_document(spade_config *config, const document *from)
{
    bool ok = add_slot(config, "sparsity", &from->sparsity);
    for (uint32_t i = 0; ok && i < from->sparsities_count; i++) {
        ok = add_entry(config, "sparsity", from->sparsities[i].layers, &from->sparsities[i].value, 1);
    }
    for (int i = 0; ok && i < MAIN_KEYS; i++) { ok = add_slot(config, main_keys[i].full, &from->slots[i]); }
    for (uint32_t i = 0; ok && i < from->rules_count; i++) { ok = add_rule(config, &from->rules[i]); }
    for (int i = 0; ok && from->augment && i < AUGMENT_KEYS; i++) {
        ok = add_slot(config, augment_keys[i].full, &from->augment->slots[i]);
    }
    return ok;
}

static spade_status complain(spade_context *context, const char *path, cyaml_err_t error, const complaint *heard)
{
    if (error == CYAML_ERR_OOM) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    if (error == CYAML_ERR_INVALID_KEY) {
        const char *key = strstr(heard->what, ": ");
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: unknown key '%s'", path, key ? key + 2 : heard->what);
    }
    return spade_fail(context, SPADE_ERROR_INPUT, "%s: %s%s%s", path,
                      heard->what[0] ? heard->what : cyaml_strerror(error), heard->where[0] ? ", " : "", heard->where);
}

spade_status spade_config_load(spade_context *context, const char *path, spade_config *out)
{
    *out = (spade_config){0};
    spade_mapping file;
    SPADE_TRY(spade_map_file(context, path, MAX_BYTES, &file));

    schema parts;
    make_schema(&file, &parts);
    cyaml_schema_value_t root = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, document, parts.fields)};
    complaint heard = {0};
    cyaml_config_t config = reader(&heard);
    document *data = NULL;
    cyaml_err_t error = cyaml_load_data(file.data, file.size, &config, &root, (cyaml_data_t **)&data, NULL);
    spade_unmap(&file);
    if (error != CYAML_OK) { return complain(context, path, error, &heard); }
    bool ok = !data || add_document(out, data); /* a file of comments only has no document */
    cyaml_free(&config, &root, data, 0);
    if (!ok) {
        spade_config_clear(out);
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
    }
    return SPADE_OK;
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
