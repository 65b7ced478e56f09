/* layer_rules.c - what is asked of layers: of all of them, or, with a glob, of some. */
#include "config/settings.h"

static void *rule_member(spade_layer_rule *rule, const spade_key *key)
{
    return (char *)rule + key->rule_offset;
}

/* Rules that a plain value of the key takes back. A sparsity and n:m are two forms of one thing; nm "none" is no form of it. */
static unsigned taken_back(const spade_settings *settings, const spade_key *key)
{
    const unsigned both = SPADE_RULE_SPARSITY | SPADE_RULE_PATTERN;
    const bool none = key->rule == SPADE_RULE_PATTERN && settings->trace.of == 0;
    return key->rule & both && !none ? both : key->rule;
}

/* A rule holds one field, so that a plain value takes back just those. */
static void forget(spade_settings *settings, unsigned bits)
{
    int kept = 0;
    for (int i = 0; i < settings->rule_count; i++) {
        if (settings->rules[i].set & bits) {
            free((char *)(uintptr_t)settings->rules[i].layers);
        } else {
            settings->rules[kept++] = settings->rules[i];
        }
    }
    settings->rule_count = kept;
}

static spade_status add_rule(spade_context *context, spade_settings *settings, const spade_layer_rule *rule,
                             const char *pattern)
{
    size_t size = sizeof *settings->rules * (size_t)(settings->rule_count + 1);
    spade_layer_rule *rules = realloc(settings->rules, size);
    if (!rules) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    settings->rules = rules;
    spade_layer_rule *added = &rules[settings->rule_count];
    *added = *rule;
    added->layers = strdup(pattern);
    if (!added->layers) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    settings->rule_count++;
    return SPADE_OK;
}

spade_status spade_settings_set_rule(spade_context *context, spade_settings *settings, const spade_key *key,
                                     const char *pattern, char *const *values, int count)
{
    spade_layer_rule rule = {.set = key->rule};
    if (!pattern) {
        SPADE_TRY(spade_key_parse(context, key, values, count, (char *)settings + key->offset));
        forget(settings, taken_back(settings, key));
        return SPADE_OK;
    }
    if (key->word && count == 1 && strcmp(values[0], key->word) == 0) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "%s is for all layers: %s=%s, and numbers for those of which it is not true", key->word,
                          key->name, key->word);
    }
    SPADE_TRY(spade_key_parse(context, key, values, count, rule_member(&rule, key)));
    if (!pattern[0]) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "an empty pattern matches no layer"); }
    return add_rule(context, settings, &rule, pattern);
}

void spade_settings_clear_rules(spade_settings *settings)
{
    for (int i = 0; i < settings->rule_count; i++) { free((char *)(uintptr_t)settings->rules[i].layers); }
    free(settings->rules);
    settings->rules = NULL;
    settings->rule_count = 0;
}

json_t *spade_settings_rules_json(const spade_settings *settings)
{
    json_t *rules = json_array();
    for (int i = 0; i < settings->rule_count; i++) {
        spade_layer_rule rule = settings->rules[i];
        const spade_key *key = spade_key_at(0);
        for (int k = 1; key->rule != rule.set; k++) { key = spade_key_at(k); }
        json_t *object = json_object();
        spade_json_set(&object, "layers", spade_json_text(rule.layers));
        spade_json_set(&object, key->name, spade_key_json(key, rule_member(&rule, key)));
        spade_json_append(&rules, object);
    }
    return rules;
}
