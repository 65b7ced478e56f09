/* name_map.c - open addressing with linear probing. */
#include "base/name_map.h"

static struct spade_name_slot *find_slot(struct spade_name_slot *slots, size_t capacity, const char *name)
{
    size_t i = spade_hash(name, strlen(name), 0) & (capacity - 1);
    while (slots[i].name && strcmp(slots[i].name, name) != 0) { i = (i + 1) & (capacity - 1); }
    return &slots[i];
}

static bool grow(spade_name_map *map)
{
    size_t capacity = map->capacity ? map->capacity * 2 : 64;
    struct spade_name_slot *slots = calloc(capacity, sizeof *slots);
    if (!slots) { return false; }
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].name) { *find_slot(slots, capacity, map->slots[i].name) = map->slots[i]; }
    }
    free(map->slots);
    map->slots = slots;
    map->capacity = capacity;
    return true;
}

bool spade_name_map_put(spade_name_map *map, const char *name, int number)
{
    if (map->count * 2 >= map->capacity && !grow(map)) { return false; }
    struct spade_name_slot *slot = find_slot(map->slots, map->capacity, name);
    if (!slot->name) {
        map->count++;
        slot->name = name;
    }
    slot->number = number;
    return true;
}

int spade_name_map_get(const spade_name_map *map, const char *name)
{
    if (!map->capacity) { return -1; }
    const struct spade_name_slot *slot = find_slot(map->slots, map->capacity, name);
    return slot->name ? slot->number : -1;
}

void spade_name_map_clear(spade_name_map *map)
{
    free(map->slots);
    *map = (spade_name_map){0};
}
