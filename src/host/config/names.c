/* names.c - lists of texts. */
#include "config/settings.h"

void spade_names_clear(spade_names *names)
{
    for (int i = 0; i < names->count; i++) { free(names->items[i]); }
    free(names->items);
    *names = (spade_names){0};
}

bool spade_names_add(spade_names *names, const char *text)
{
    char **items = realloc(names->items, sizeof *items * (size_t)(names->count + 1));
    if (!items) { return false; }
    names->items = items;
    items[names->count] = strdup(text);
    if (!items[names->count]) { return false; }
    names->count++;
    return true;
}

bool spade_names_contain(const spade_names *names, const char *text)
{
    for (int i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], text) == 0) { return true; }
    }
    return false;
}

json_t *spade_names_json(const spade_names *names)
{
    json_t *list = json_array();
    for (int i = 0; i < names->count; i++) { spade_json_append(&list, spade_json_text(names->items[i])); }
    return list;
}
