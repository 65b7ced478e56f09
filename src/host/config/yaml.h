/*
 * yaml.h - configuration files (YAML).
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

#endif
