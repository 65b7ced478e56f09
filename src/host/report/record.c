/* record.c - what a record owns, and what messages call a map. */
#include <math.h>

#include "report/record.h"

const char *const explained_networks[NETWORKS] = {"dense", "trace"};

bool explained_input_add_pairs(explained_input *explained, int pairs, int metrics)
{
    const size_t count = (size_t)pairs * NETWORKS * (size_t)metrics;
    explained->pairs = calloc((size_t)pairs, sizeof *explained->pairs);
    explained->values = malloc(sizeof *explained->values * (count ? count : 1));
    if (!explained->pairs || !explained->values) { return false; }
    explained->pair_count = pairs;
    for (size_t i = 0; i < count; i++) { explained->values[i] = NAN; }
    double *values = explained->values;
    for (int i = 0; i < pairs; i++) {
        for (int network = 0; network < NETWORKS; network++, values += metrics) {
            explained->pairs[i].maps[network].delta = explained->pairs[i].maps[network].difference = NAN;
            explained->pairs[i].maps[network].values = values;
        }
    }
    return true;
}

void explained_input_clear(explained_input *explained)
{
    for (int i = 0; i < explained->pair_count; i++) {
        for (int network = 0; network < NETWORKS; network++) {
            explained_map *map = &explained->pairs[i].maps[network];
            free(map->array);
            free(map->heatmap);
            json_decref(map->check);
        }
    }
    free(explained->pairs);
    free(explained->values);
    free(explained->logits);
    free(explained->scores);
    free(explained->picture);
    free(explained->mask_picture);
    free(explained->empty_layer);
    *explained = (explained_input){0};
}

void explained_promises_add(explained_promises *promises, const json_t *check)
{
    const bool incomplete = json_is_false(json_object_get(json_object_get(check, "completeness"), "holds"));
    const bool lossy = json_is_false(json_object_get(json_object_get(check, "conservation"), "holds"));
    promises->maps += check != NULL;
    promises->incomplete += incomplete;
    promises->lossy += lossy;
    promises->broken += incomplete || lossy;
}

/* ---- in words */

const char *explained_target_text(const explained_run *run, const spade_target *target, char text[SPADE_TARGET_TEXT])
{
    const char *against = target->contrast ? class_given_name(run->names, target->against) : NULL;
    return spade_target_text(target, class_given_name(run->names, target->class_index), against, text);
}

const char *explained_map_text(const explained_run *run, const char *input, int network, int method,
                               const spade_target *target, char text[EXPLAINED_MAP_TEXT])
{
    const char *name = explained_method(run, method)->name, *options = run->methods[method].options;
    char title[200], of[SPADE_TARGET_TEXT];
    snprintf(title, sizeof title, options ? "%s (%.140s)" : "%s", name, options);
    snprintf(text, EXPLAINED_MAP_TEXT, "%.120s: the %s map of %s for %s", input, explained_networks[network], title,
             explained_target_text(run, target, of));
    return text;
}
