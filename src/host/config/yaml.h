/*
 * yaml.h - configuration files (YAML) and the numbers in them and on the command line.
 *
 * A configuration is read as text: which keys exist and whether they hold a value or a list is checked here, what the
 * values mean is decided by who asked (config/settings.h), with the same code that reads the command line.
 */
#ifndef SPADE_CONFIG_H
#define SPADE_CONFIG_H

#include "base/base.h"

/* One key with its values. "augment.hue" for a key inside of the mapping augment. */
typedef struct spade_config_entry {
    const char *key; /* static */
    char *pattern;   /* of an entry for some layers: its glob; else NULL */
    char **values;   /* one for a plain value */
    int count;
} spade_config_entry;

typedef struct spade_config {
    /* sparsity, then the known keys in their order, then the rules in theirs, one entry for each key of a rule */
    spade_config_entry *entries;
    int count;
} spade_config;

/* Limits: 1 MiB a file. SPADE_ERROR_INPUT names the file and what is wrong: unknown key, wrong form, not YAML. */
spade_status spade_config_load(spade_context *context, const char *path, spade_config *out);
void spade_config_clear(spade_config *config); /* leaves it empty */

/*
 * ---- number.c: a whole text as a decimal number, nothing before or after it: "0,5", "0.5x", "nan", "inf", "0x10", "
 * 1" and "" are refused. Independent of the locale.
 */
bool spade_parse_number(const char *text, double *out);
bool spade_parse_integer(const char *text, int64_t *out);
bool spade_parse_bytes(const char *text,
                       uint64_t *out); /* an integer > 0, with an optional suffix K, M or G (powers of 1024) */

#endif
