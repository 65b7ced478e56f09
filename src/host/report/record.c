/* record.c - what a record owns. */
#include <math.h>

#include "report/record.h"

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
            explained->pairs[i].maps[network].delta = NAN;
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
