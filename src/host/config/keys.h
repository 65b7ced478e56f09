/*
 * keys.h - the table of settings. A setting is a member of spade_settings (settings.h) and a row of the table in keys.c;
 * configuration files, long options and their help, the configuration in results and configs/default.yaml are made
 * from the row.
 */
#ifndef SPADE_CONFIG_KEYS_H
#define SPADE_CONFIG_KEYS_H

#include "base/json.h"
#include "spade/attribution.h"

/* What a setting holds, and the type of its member. */
typedef enum spade_key_type {
    SPADE_KEY_INTEGER,       /* int64_t or uint64_t */
    SPADE_KEY_REAL,          /* double, or double[count] */
    SPADE_KEY_WORD,          /* int, or an enumeration whose values are the words' numbers */
    SPADE_KEY_FLAG,          /* bool: true or false; the long option takes no value and says true */
    SPADE_KEY_PATTERN,       /* int[2]: "2:4", or "none", which is 0:0 */
    SPADE_KEY_TEXT,          /* char *, owned; NULL: none */
    SPADE_KEY_GLOBS,         /* spade_names: patterns of layers' names */
    SPADE_KEY_METHODS,       /* spade_names: texts of methods */
    SPADE_KEY_METRICS,       /* spade_names: texts of metrics */
    SPADE_KEY_CLASSES,       /* several members of spade_settings */
    SPADE_KEY_METHOD_OPTION, /* spade_method_option: short form of the options of this name that methods have */
    SPADE_KEY_RULES          /* the list of what is different for some layers */
} spade_key_type;

/* Commands take settings by the group; in configs/default.yaml a group is a section. */
enum {
    SPADE_KEYS_RUN = 1,      /* of every command that computes */
    SPADE_KEYS_PICTURE = 2,  /* how pictures are prepared */
    SPADE_KEYS_SIZE = 4,     /* the input size of a network that leaves it open */
    SPADE_KEYS_VARIANTS = 8, /* what a trace is found on */
    SPADE_KEYS_TRACE = 16,   /* how it is found */
    SPADE_KEYS_MAPS = 32,    /* what is explained, and how */
    SPADE_KEYS_QUALITY = 64, /* what is said of maps */
    SPADE_KEYS_METRICS = 128 /* the metrics among it */
};

typedef struct spade_key {
    const char *name;     /* in configuration files: "damping"; "augment.hue": hue inside of the mapping augment */
    const char *option;   /* long option, without dashes; NULL: configuration files only */
    const char *argument; /* its value in the help: "N" */
    const char *help;     /* one line, without words, bounds and default */
    const char *example;  /* a line more for configs/default.yaml, or NULL */
    unsigned groups;
    spade_key_type type;
    size_t offset;     /* of the member of spade_settings */
    double min, max;   /* INTEGER, REAL; both are allowed */
    const char *words; /* WORD: "fp32|fp64", in the order of their numbers */
    const char
        *word; /* REAL, one number: a word that may stand in its place, not in a rule for some layers; NULL: none */
    double word_value; /* and the number that is it: outside of the bounds */
    /* The value where nobody gives one, as it is written. NULL: the library has it (spade_..._options_init). */
    const char *default_value;
    /* What happens where nobody gives a value, for a setting that has no default; an INTEGER is then below min. */
    const char *unset;
    size_t rule_offset;  /* of the member of spade_layer_rule, which has the same type, where there is a `rule` */
    size_t count_offset; /* of `has_band`: of the int that says how many numbers were written */
    double band;         /* of `has_band` */
    unsigned rule;       /* SPADE_RULE_...: a rule for some layers may hold it, too; 0: no */
    int count;           /* REAL: 1; 2: a range, the smaller number first; 3: one for each colour */
    bool has_band; /* with 3: a fourth may follow, of channels that are no colours; else it is `band`. One is of all. */
    bool unrecorded; /* no part of the configuration in results */
} spade_key;

int spade_key_count(void);
const spade_key *spade_key_at(int index);
/* The name is the first `length` characters. NULL: there is no such key. */
const spade_key *spade_key_find(const char *name, size_t length);
/* What a configuration file may hold: a value, a list, or either. */
bool spade_key_takes_value(const spade_key *key);
bool spade_key_takes_list(const spade_key *key);
/* Its values are texts with options, which may hold commas in quotes: NAME[:OPTION=VALUE]... */
bool spade_key_takes_options(const spade_key *key);
/* METHOD_OPTION: the first option of this name that a method has; its type is the setting's, and so are its help and default
 * unless the row has others (`help`, `unset`), because methods differ in them. */
const spade_option_info *spade_key_method_option(const spade_key *key);
/* INTEGER, REAL: the row's bounds. METHOD_OPTION: what at least one method takes. */
void spade_key_bounds(const spade_key *key, double *min, double *max);
/* The row for people: its words and what it means; its bounds, or an empty text. */
void spade_key_describe(const spade_key *key, char *buffer, size_t size);
void spade_key_describe_bounds(const spade_key *key, char *buffer, size_t size);

/* ---- value.c: INTEGER, REAL, WORD and PATTERN, from text and back */
/* SPADE_ERROR_ARGUMENT: the message names the value and what it should be, not the key. */
spade_status spade_key_parse(spade_context *context, const spade_key *key, char *const *values, int count, void *out);
/* A new reference; NULL when out of memory. */
json_t *spade_key_json(const spade_key *key, const void *value);
/* One number within bounds. */
spade_status spade_parse_real_within(spade_context *context, const char *text, double min, double max, double *out);
spade_status spade_parse_integer_within(spade_context *context, const char *text, double min, double max, int64_t *out);
/* Exactly one value. */
spade_status spade_need_values(spade_context *context, int count, int wanted);
/* The shortest decimal number that reads as the value: "0.1", "1e-06". buffer: at least 32 bytes. */
const char *spade_format_real(double value, char *buffer);

#endif
