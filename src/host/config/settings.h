/*
 * settings.h - what a run is asked to do, from the configuration file and the command line with one set of rules.
 *
 * A setting is a key ("variants", "augment.hue") with texts; long options map to the same keys, so that a value means
 * the same and is refused the same way wherever it was written. The table of keys is keys.c.
 */
#ifndef SPADE_CONFIG_SETTINGS_H
#define SPADE_CONFIG_SETTINGS_H

#include "base/json.h"

#include "config/keys.h"
#include "spade/spade.h"

enum { SPADE_MAX_CLASSES = 64 };

typedef struct spade_names {
    char **items;
    int count;
} spade_names;

/* Short form of an option of methods: given, it is that of every method that has one of this name and does not give
 * its own in its text. */
typedef struct spade_method_option {
    bool given;
    double value;
} spade_method_option;

typedef struct spade_settings {
    uint64_t seed;
    spade_network_precision precision; /* of the context */
    bool follow_links;                 /* external data of a model may be reached through symbolic links */
    char *output_name;                 /* of the model's outputs, owned; NULL: the only one */
    /* pictures */
    char *
        preprocess; /* the rest by name or from a file (preset.h), owned; spade_settings_resolve() puts it in its place */
    int64_t resize;    /* -1: as crop_share says */
    int64_t crop;      /* 0: the network's input size */
    int64_t open_size; /* the input size of a network that leaves it open, where `crop` is 0; 0: nobody knows */
    double crop_share; /* 0: 224/256 */
    int resample;      /* spade_resample */
    bool squash, bgr, orient;
    /* Of values from 0 to 1, or where `scale` says so to 255: red, green, blue, and channels that are no colours. */
    double mean[4], std[4];
    int mean_count,
        std_count;  /* how many of these somebody wrote; 0: they are from elsewhere (the default, `preprocess`) */
    int scale;      /* 0: to 1, 1: to 255 */
    uint64_t given; /* the keys that were set since the last spade_settings_resolve(), bit i: the key of index i */
    uint64_t
        asked; /* likewise, those of the last configuration file, or of the command line: spade_settings_warn_unused() */
    uint64_t commanded; /* likewise, those of the command line */
    char *file;         /* the last configuration that was read, owned; NULL: none */
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
    spade_names metrics; /* texts as spade_metric_create() takes them, each once; none: roc_auc */
    spade_names classes; /* texts of what is explained, at most SPADE_MAX_CLASSES; none: top; report/class_choice.h */
    int output;          /* what is explained of a class; 0: logits, 1: scores */
    spade_method_option steps, samples, sigma;
    bool check; /* completeness and conservation of maps */
} spade_settings;

void spade_settings_init(spade_settings *settings);
void spade_settings_clear(spade_settings *settings);
/*
 * Set one key. pattern: the glob of a rule for some layers; NULL: for all of them. SPADE_ERROR_ARGUMENT: the value is
 * not one; the message names the value and what it should be, not the key.
 */
spade_status spade_settings_set(spade_context *context, spade_settings *settings, const spade_key *key,
                                const char *pattern, char *const *values, int count);
/* Every entry of a configuration file; errors name the file and the key. */
spade_status spade_settings_read(spade_context *context, spade_settings *settings, const char *path);
/* After the last key of a configuration file, or of the command line: where `preprocess` was among them, the settings that
 * it speaks of and that were not set by themselves are its. Fails as spade_preset_find() does. */
spade_status spade_settings_resolve(spade_context *context, spade_settings *settings);
/* After the last key of the command line, in place of spade_settings_resolve(): what it says wins also where a configuration said
 * the same in another way. */
spade_status spade_settings_take_command_line(spade_context *context, spade_settings *settings);
/* spade_trace_check_options() of options that were made of these settings: errors about layers name the file that names them. */
spade_status spade_settings_check_trace(spade_context *context, const spade_settings *settings,
                                        const spade_model *model, const spade_trace_options *options);
/* After the last key: fill in what depends on several. */
void spade_settings_finish(spade_settings *settings);

/* ---- from settings */
/* One setting, as it is in the configuration; new reference. null: it is not given, and has no
 * default; NULL: out of memory. */
json_t *spade_setting_json(const spade_settings *settings, const spade_key *key);
/* The configuration in full, as it is written into results; new reference, NULL when out of memory. */
json_t *spade_settings_json(const spade_settings *settings);
/* Those of the setting, or top. */
const spade_names *spade_settings_classes(const spade_settings *settings);
/* How the settings ask a model to be loaded, and how pictures are prepared for it. */
void spade_settings_model_options(const spade_settings *settings, spade_model_options *options);
spade_status spade_settings_preprocess(spade_context *context, const spade_settings *settings, const spade_model *model,
                                       spade_preprocess *out);

/*
 * ---- layer_rules.c: the keys that a rule for some layers may hold.
 * A plain value (pattern NULL) is for every layer and forgets the rules of its key so far; with a glob it is one more
 * rule.
 */
spade_status spade_settings_set_rule(spade_context *context, spade_settings *settings, const spade_key *key,
                                     const char *pattern, char *const *values, int count);
void spade_settings_clear_rules(spade_settings *settings);
json_t *spade_settings_rules_json(const spade_settings *settings);

/* ---- methods.c */
spade_status spade_settings_set_methods(spade_context *context, spade_settings *settings, char *const *values,
                                        int count);
json_t *spade_settings_methods_json(const spade_settings *settings);
/* A method of the settings, with its options. */
typedef struct spade_method_choice {
    spade_attribution *attribution;
    char *options; /* as they were written behind the method's name, "samples=25:sigma=0.1"; NULL: none */
    char *label;   /* in file names: the method's name, and NAME_2, NAME_3 where it is asked for again */
} spade_method_choice;
/* Each once, also where two texts say the same: an option that is written and its default, options in another order. */
spade_status spade_settings_methods(spade_context *context, const spade_settings *settings, spade_method_choice **out,
                                    int *count);
void spade_method_choices_destroy(spade_method_choice *choices, int count); /* NULL is fine */

/* ---- metrics.c */
spade_status spade_settings_set_metrics(spade_context *context, spade_settings *settings, char *const *values,
                                        int count);
json_t *spade_settings_metrics_json(const spade_settings *settings);
/* A metric of the settings, with its options. */
typedef struct spade_metric_choice {
    spade_metric *metric;
    char *options; /* as they were written behind the metric's name, "tolerance=2"; NULL: none */
    char *label;   /* in results: the metric's name, and NAME_2, NAME_3 where it is asked for again */
} spade_metric_choice;
/* Each once, as the methods. */
spade_status spade_settings_metrics(spade_context *context, const spade_settings *settings, spade_metric_choice **out,
                                    int *count);
void spade_metric_choices_destroy(spade_metric_choice *choices, int count); /* NULL is fine */

/* ---- unused.c: options of the command line that change nothing */
typedef struct spade_settings_use {
    bool trace;    /* one is found */
    bool fitted;   /* there is one that is not found as the settings say: evaluate's sparse_fc */
    bool pictures; /* an input is one */
    bool masks;    /* there is one */
    bool manifest; /* it is where masks are named */
    const spade_method_choice *methods;
    int method_count;
    const spade_metric_choice *metrics;
    int metric_count;
    unsigned solvers; /* bit i: a trace is found by the spade_solver of number i; 0: by those of the settings */
    bool own_traces;  /* none is found as the settings say */
    const char *const *unread; /* keys of the trace that change no layer's, NULL behind the last; NULL: nobody looked */
    bool batch;                /* the variants are given: none is drawn */
    bool draws;                /* from the seed, whatever the methods and traces are */
    /* Pictures are there for their variants alone, which are cut from the picture as it is: nothing resizes it. An automatic
     * sparsity looks at the prepared picture, too. */
    bool variants_only;
    bool unprepared; /* nothing is normalised: all there is are given variants */
} spade_settings_use;
/* Warn of each, with the reason. */
void spade_settings_warn_unused(spade_context *context, const spade_settings *settings, const spade_settings_use *use);

/* ---- choices.c: lists of texts, NAME[:OPTION=VALUE]..., of methods or of metrics */
/* Can what the text names be made? */
typedef spade_status (*spade_choice_check)(spade_context *context, const char *text);
/* Replace the list by these texts, each once. kind: "method", for messages. A failure changes nothing. */
spade_status spade_choices_set(spade_context *context, const char *kind, spade_choice_check check, char *const *values,
                               int count, spade_names *list);
/* What stands behind the name, or NULL; and the name, from its second time on (number 2) with the number. */
spade_status spade_choice_describe(spade_context *context, const char *text, const char *name, int number,
                                   char **options, char **label);

/* ---- defaults.c: for people */
/* The default as it is written on the command line, "0.485,0.456,0.406", or what happens without a value. False: out of
 * memory. */
bool spade_settings_default(const spade_key *key, char *buffer, size_t size);
/* Every key with its default and what can be said of it: configs/default.yaml. */
void spade_settings_write_defaults(FILE *file);
/* A line: `left`, then `mark` and the text from `column` on, broken at blanks into lines of at most `width`. */
void spade_print_column(FILE *file, const char *left, int column, int width, const char *mark, const char *text);

/* ---- names.c */
void spade_names_clear(spade_names *names);
/* Append a copy; false: out of memory. */
bool spade_names_add(spade_names *names, const char *text);
bool spade_names_contain(const spade_names *names, const char *text);
json_t *spade_names_json(const spade_names *names);

#endif
