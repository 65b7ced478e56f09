/*
 * settings.h - what a run is asked to do, from the configuration file and the command line with one set of rules.
 *
 * A setting is a key ("variants", "augment.hue") with texts; long options map to the same keys, so that a value means
 * the same and is refused the same way wherever it was written.
 */
#ifndef SPADE_CONFIG_SETTINGS_H
#define SPADE_CONFIG_SETTINGS_H

#include <jansson.h>

#include "config/yaml.h"
#include "spade/spade.h"

enum { SPADE_MAX_CLASSES = 64 };

typedef struct spade_names {
    char **items;
    int count;
} spade_names;

typedef struct spade_settings {
    uint64_t seed;
    spade_network_precision precision; /* of the context */
    /* pictures */
    int64_t resize; /* -1: crop * 256/224 */
    int64_t crop;   /* 0: the network's input size */
    double mean[3], std[3];
    /* variants */
    spade_augment_options augment;
    /* trace */
    spade_trace_options trace; /* its rules and globs point into the lists below once spade_settings_finish() has run */
    spade_layer_rule *rules;   /* one field each; layers: owned */
    int rule_count;
    spade_names include, skip;
    char *checkpoint; /* folder, owned; NULL: none */
    /* maps */
    spade_names methods; /* texts as spade_attribution_create() takes them, each once; none: saliency */
    bool top_class;      /* the dense network's top class, else `classes` */
    int64_t classes[SPADE_MAX_CLASSES];
    int class_count;
    bool softmax;
    /* short forms: options of every method that has one of this name and does not give its own in its text */
    int64_t steps, samples; /* 0: not given */
    double sigma;           /* -1: not given */
} spade_settings;

void spade_settings_init(spade_settings *settings);
void spade_settings_clear(spade_settings *settings);
/* Set one key. SPADE_ERROR_ARGUMENT: the value is not one; the message names the value and what it should be, not the
 * key. */
spade_status spade_settings_set(spade_context *context, spade_settings *settings, const char *key, const char *pattern,
                                char *const *values, int count);
/*
 * ---- layer_rules.c: keys that a rule for some layers may hold: sparsity, solver, group, count, block, nm.
 * A plain value (pattern NULL) is for every layer and forgets the rules of its key so far; with a glob it is one more
 * rule.
 */
unsigned spade_settings_rule_bit(const char *key); /* SPADE_RULE_..., 0: not such a key */
spade_status spade_settings_set_rule(spade_context *context, spade_settings *settings, unsigned bit,
                                     const char *pattern, const char *text);
void spade_settings_clear_rules(spade_settings *settings);
/* Add those keys, and the list "rules", to an object. */
void spade_settings_rules_json(const spade_settings *settings, json_t *all);
/* Values, for both files. */
spade_status spade_settings_real(spade_context *context, const char *text, double min, double max, double *out);
spade_status spade_settings_integer(spade_context *context, const char *text, int64_t min, int64_t max, int64_t *out);
spade_status spade_settings_word(spade_context *context, const char *text, const char *const *words, int count,
                                 int *out);

/* Every entry of a configuration file; errors name the file and the key. */
spade_status spade_settings_read(spade_context *context, spade_settings *settings, const char *path);
/* After the last key: fill in what depends on several. */
void spade_settings_finish(spade_settings *settings);

/* ---- settings_use.c */
/* How the settings ask a model to be loaded, and how pictures are prepared for it. */
void spade_settings_model_options(const spade_settings *settings, spade_model_options *options);
spade_status spade_settings_preprocess(spade_context *context, const spade_settings *settings, const spade_model *model,
                                       spade_preprocess *out);
/* A method of the settings, with its options. */
typedef struct spade_method_choice {
    spade_attribution *attribution;
    char *options; /* as they were written behind the method's name, "samples=25:sigma=0.1"; NULL: none */
    char *label;   /* in file names: the method's name, and NAME_2, NAME_3 where it is asked for again */
} spade_method_choice;
spade_status spade_settings_methods(spade_context *context, const spade_settings *settings, spade_method_choice **out,
                                    int *count);
void spade_method_choices_destroy(spade_method_choice *choices, int count); /* NULL is fine */
/* The configuration in full, as it is written into results; new reference, NULL when out of memory. */
json_t *spade_settings_json(const spade_settings *settings);

#endif
