/* record.c - what a record owns. */
#include "report/record.h"

void explained_input_clear(explained_input *explained)
{
    for (int i = 0; i < explained->pair_count; i++) {
        for (int network = 0; network < NETWORKS; network++) {
            explained_map *map = &explained->pairs[i].maps[network];
            free(map->array);
            free(map->heatmap);
        }
    }
    free(explained->pairs);
    free(explained->logits);
    free(explained->scores);
    free(explained->picture);
    *explained = (explained_input){0};
}
