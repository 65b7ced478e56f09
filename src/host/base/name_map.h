/*
 * name_map.h - strings to numbers: which node or operand an ONNX name stands for. Keys are borrowed.
 */
#ifndef SPADE_ENGINE_NAME_MAP_H
#define SPADE_ENGINE_NAME_MAP_H

#include "base/base.h"

typedef struct spade_name_map {
    struct spade_name_slot {
        const char *name;
        int number;
    } * slots;
    size_t capacity, count; /* capacity: a power of two, at most half full */
} spade_name_map;

/* False when memory runs out. A name that is there gets the new number; the key stays the one that was there. */
bool spade_name_map_put(spade_name_map *map, const char *name, int number);
int spade_name_map_get(const spade_name_map *map, const char *name); /* -1: not there */
void spade_name_map_clear(spade_name_map *map);

#endif
