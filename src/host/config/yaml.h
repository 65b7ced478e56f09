/*
 * yaml.h - configuration files (YAML).
 *
 * A configuration is read as text: which keys exist and whether they hold a value or a list is checked here (keys.h
 * says it), what the values mean is decided by spade_settings_set(), which reads the command line, too.
 */
#ifndef SPADE_CONFIG_YAML_H
#define SPADE_CONFIG_YAML_H

#include "config/keys.h"

/* One key with its values. */
typedef struct spade_config_entry {
    const spade_key *key;
    char *pattern; /* of an entry for some layers: its glob; else NULL */
    char **values; /* one for a plain value */
    int count;
} spade_config_entry;

typedef struct spade_config {
    /* in the file's order, but the rules behind everything else; an entry for each key of a rule */
    spade_config_entry *entries;
    int count;
} spade_config;

/*
 * Limits: 1 MiB a file, 1024 entries a list, 4096 characters a value; and against files that are small but take long: 16
 * levels of lists and mappings, 65536 values, 64 anchors, 64 aliases, 64 percent signs (they begin directives).
 * SPADE_ERROR_INPUT names the file and what is wrong: unknown key, wrong form, not YAML.
 */
spade_status spade_config_load(spade_context *context, const char *path, spade_config *out);
void spade_config_clear(spade_config *config); /* leaves it empty */

#endif
