/* layer_rules.c - what is asked of layers: of all of them, or, with a glob, of some. One table for both. */
#include "base/base.h"
#include "base/number.h"
#include "config/settings.h"

static const char *const SOLVERS[] = {"fast", "exact", "magnitude", "random"}; /* in the order of spade_solver */
static const char *const GROUPS[] = {"kernel", "element", "channels-last"};    /* of spade_group */
static const char *const COUNTS[] = {"floor", "published"};                    /* of spade_count */
enum { MAX_BLOCK = 1000000, MAX_PATTERN = 1024 };

static const struct {
    const char *key;
    unsigned bit;
} keys[] = {{"sparsity", SPADE_RULE_SPARSITY}, {"solver", SPADE_RULE_SOLVER}, {"group", SPADE_RULE_GROUP},
            {"count", SPADE_RULE_COUNT},       {"block", SPADE_RULE_BLOCK},   {"nm", SPADE_RULE_PATTERN}};
enum { KEY_COUNT = sizeof keys / sizeof *keys };

unsigned spade_settings_rule_bit(const char *key)
{
    for (int i = 0; i < KEY_COUNT; i++) {
        if (strcmp(keys[i].key, key) == 0) { return keys[i].bit; }
    }
    return 0;
}

/* "2:4", or "none" */
static spade_status parse_pattern(spade_context *context, const char *text, spade_layer_rule *rule)
{
    int64_t keep, of;
    char first[16];
    const char *colon = strchr(text, ':');
    rule->keep = rule->of = 0;
    if (strcmp(text, "none") == 0) { return SPADE_OK; }
    if (colon && colon - text < (int)sizeof first) {
        memcpy(first, text, (size_t)(colon - text));
        first[colon - text] = 0;
        if (spade_parse_integer(first, &keep) && spade_parse_integer(colon + 1, &of) && keep >= 1 && keep <= of &&
            of <= MAX_PATTERN) {
            rule->keep = (int)keep;
            rule->of = (int)of;
            return SPADE_OK;
        }
    }
    return spade_fail(context, SPADE_ERROR_ARGUMENT,
                      "'%s' is no pattern: N:M keeps N of every M weights (2:4; M up to %d), none prunes without one",
                      text, MAX_PATTERN);
}

static spade_status parse(spade_context *context, unsigned bit, const char *text, spade_layer_rule *rule)
{
    int choice = 0;
    rule->set = bit;
    switch (bit) {
    case SPADE_RULE_SPARSITY: return spade_settings_real(context, text, 0, 1, &rule->sparsity);
    case SPADE_RULE_BLOCK: return spade_settings_integer(context, text, 0, MAX_BLOCK, &rule->block);
    case SPADE_RULE_PATTERN: return parse_pattern(context, text, rule);
    case SPADE_RULE_SOLVER:
        SPADE_TRY(spade_settings_word(context, text, SOLVERS, 4, &choice));
        rule->solver = (spade_solver)choice;
        return SPADE_OK;
    case SPADE_RULE_GROUP:
        SPADE_TRY(spade_settings_word(context, text, GROUPS, 3, &choice));
        rule->group = (spade_group)choice;
        return SPADE_OK;
    default:
        SPADE_TRY(spade_settings_word(context, text, COUNTS, 2, &choice));
        rule->count = (spade_count)choice;
        return SPADE_OK;
    }
}

/* A rule holds one field, so that a plain value takes back just the rules of its key. */
static void forget(spade_settings *settings, unsigned bit)
{
    int kept = 0;
    for (int i = 0; i < settings->rule_count; i++) {
        if (settings->rules[i].set == bit) {
            free((char *)(uintptr_t)settings->rules[i].layers);
        } else {
            settings->rules[kept++] = settings->rules[i];
        }
    }
    settings->rule_count = kept;
}

static void apply(spade_trace_options *trace, const spade_layer_rule *rule)
{
    switch (rule->set) {
    case SPADE_RULE_SPARSITY: trace->sparsity = rule->sparsity; break;
    case SPADE_RULE_SOLVER: trace->solver = rule->solver; break;
    case SPADE_RULE_GROUP: trace->group = rule->group; break;
    case SPADE_RULE_COUNT: trace->solve.count = rule->count; break;
    case SPADE_RULE_BLOCK: trace->block = rule->block; break;
    default:
        trace->keep = rule->keep;
        trace->of = rule->of;
        break;
    }
}

spade_status spade_settings_set_rule(spade_context *context, spade_settings *settings, unsigned bit,
                                     const char *pattern, const char *text)
{
    spade_layer_rule rule = {0};
    SPADE_TRY(parse(context, bit, text, &rule));
    if (!pattern) {
        forget(settings, bit);
        apply(&settings->trace, &rule);
        return SPADE_OK;
    }
    if (!pattern[0]) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "an empty pattern matches no layer"); }
    size_t size = sizeof *settings->rules * (size_t)(settings->rule_count + 1);
    spade_layer_rule *rules = realloc(settings->rules, size);
    if (!rules) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    settings->rules = rules;
    rule.layers = strdup(pattern);
    if (!rule.layers) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    rules[settings->rule_count++] = rule;
    return SPADE_OK;
}

void spade_settings_clear_rules(spade_settings *settings)
{
    for (int i = 0; i < KEY_COUNT; i++) { forget(settings, keys[i].bit); }
    free(settings->rules);
    settings->rules = NULL;
}

/* ---- as JSON */
static json_t *pattern_json(int keep, int of)
{
    char text[32];
    snprintf(text, sizeof text, "%d:%d", keep, of);
    return json_string(of ? text : "none");
}

static json_t *value_json(const spade_layer_rule *rule)
{
    switch (rule->set) {
    case SPADE_RULE_SPARSITY: return json_real(rule->sparsity);
    case SPADE_RULE_SOLVER: return json_string(SOLVERS[rule->solver]);
    case SPADE_RULE_GROUP: return json_string(GROUPS[rule->group]);
    case SPADE_RULE_COUNT: return json_string(COUNTS[rule->count]);
    case SPADE_RULE_BLOCK: return json_integer(rule->block);
    default: return pattern_json(rule->keep, rule->of);
    }
}

void spade_settings_rules_json(const spade_settings *settings, json_t *all)
{
    const spade_trace_options *trace = &settings->trace;
    const spade_layer_rule plain = {.sparsity = trace->sparsity,
                                    .solver = trace->solver,
                                    .group = trace->group,
                                    .count = trace->solve.count,
                                    .block = trace->block,
                                    .keep = trace->keep,
                                    .of = trace->of};
    json_t *rules = json_array();
    for (int i = 0; i < KEY_COUNT; i++) {
        spade_layer_rule one = plain;
        one.set = keys[i].bit;
        json_object_set_new(all, keys[i].key, value_json(&one));
    }
    for (int i = 0; i < settings->rule_count; i++) {
        const spade_layer_rule *rule = &settings->rules[i];
        int k = 0;
        while (keys[k].bit != rule->set) { k++; }
        json_t *object = json_object();
        json_object_set_new(object, "layers", json_string(rule->layers));
        json_object_set_new(object, keys[k].key, value_json(rule));
        json_array_append_new(rules, object);
    }
    json_object_set_new(all, "rules", rules);
}
