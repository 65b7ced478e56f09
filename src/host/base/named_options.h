/*
 * named_options.h - options by name, from text to members of a struct: what methods and metrics share. The text is that of
 * spade/option.h.
 */
#ifndef SPADE_BASE_NAMED_OPTIONS_H
#define SPADE_BASE_NAMED_OPTIONS_H

#include "base/base.h"
#include "spade/option.h"

/* Value of a LAYER option. */
typedef struct spade_layer_option {
    char *name; /* owned by the options; NULL: not given */
    bool has_index;
    int64_t index; /* 0 without one */
} spade_layer_option;

/* Value of a BASELINE option: a number, a word, or a path. */
typedef struct spade_baseline_option {
    int word; /* its number; -1: none */
    double number;
    char *path; /* owned by the options; NULL: no file */
} spade_baseline_option;

/*
 * Options whose values lie in one struct. By the type of an option its member is
 *   INTEGER int64_t   REAL double   WORD int, the word's number   LAYER spade_layer_option   FILE, METHOD char *
 *   BASELINE spade_baseline_option
 */
typedef struct spade_option_group {
    const spade_option_info *infos; /* [count] */
    const size_t *offsets;          /* [count]: of each option's member */
    int count;
    void *values; /* the struct, zeroed before spade_named_options_read() */
} spade_option_group;

enum {
    SPADE_OPTION_GROUPS = 2, /* its own, and those that it shares with others of its kind; either may be empty */
    SPADE_MAX_OPTIONS = 64   /* in all groups: a bit each in `given` */
};

/* The options of one method or metric. Strings in the values are owned: spade_named_options_clear(). */
typedef struct spade_named_options {
    spade_option_group groups[SPADE_OPTION_GROUPS];
    uint64_t given; /* a bit per option that was set, group by group */
} spade_named_options;

/* Set the defaults, then what the text says: "" or ":samples=25:sigma=0.1". */
spade_status spade_named_options_read(spade_context *context, spade_named_options *options, const char *text);
/* Set one. The value is written as in the text; a LAYER is cut at its last colon if a whole number follows. */
spade_status spade_named_options_set(spade_context *context, spade_named_options *options, const char *name,
                                     const char *value);
/* The same, but an option that does not exist or was set already is left as it is. */
spade_status spade_named_options_set_default(spade_context *context, spade_named_options *options, const char *name,
                                             const char *value);
/* Would it set this one? */
bool spade_named_options_takes_default(const spade_named_options *options, const char *name);
/* Was it set, by the text or by spade_named_options_set()? */
bool spade_named_options_given(const spade_named_options *options, const char *name);
/* Have the options that both have, by name, the same values? */
bool spade_named_options_agree(const spade_named_options *a, const spade_named_options *b);
void spade_named_options_clear(spade_named_options *options);

/* SPADE_ERROR_ARGUMENT: "unknown method 'x' (there are a, b)", from the part of the text before its options and the
 * names there are; name_at(count) is NULL. */
spade_status spade_fail_unknown(spade_context *context, const char *kind, const char *text,
                                const char *(*name_at)(int index));

#endif
