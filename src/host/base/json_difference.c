/* json_difference.c - where two objects differ, for a message. */
#include "base/json.h"

/* A value in a message, malloc'ed: a list of what has names by these. NULL: out of memory. */
static char *describe_value(const json_t *value)
{
    size_t i;
    json_t *item;
    json_t *names = json_array();
    if (!value) {
        json_decref(names);
        return strdup("none");
    }
    json_array_foreach(value, i, item)
    {
        const json_t *name = json_object_get(item, "name");
        if (name) { spade_json_append(&names, json_incref((json_t *)(uintptr_t)name)); }
    }
    const bool named = json_array_size(names) > 0;
    char *text =
        names ? spade_json_dump(named ? names : value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(names);
    return text;
}

typedef struct comparison {
    const char *const *first, *const *without;
    char *out;
    size_t size;
} comparison;

static bool is_among(const char *const *names, const char *name)
{
    for (; *names; names++) {
        if (strcmp(*names, name) == 0) { return true; }
    }
    return false;
}

static bool differ(const comparison *c, const json_t *old, const json_t *now, const char *path);

/* Of a member of two objects. */
static bool differ_in(const comparison *c, const json_t *old, const json_t *now, const char *path, const char *key)
{
    char inner[256];
    const json_t *was = json_object_get(old, key), *is = json_object_get(now, key);
    if (!*path && is_among(c->without, key)) { return false; }
    snprintf(inner, sizeof inner, "%s%s%s", path, *path ? "." : "", key);
    return (was || is) && differ(c, was, is, inner);
}

/* Of two lists of the same length: of the first elements that differ, which have a name. */
static bool differ_in_list(const comparison *c, const json_t *old, const json_t *now, const char *path)
{
    char inner[256];
    if (!json_is_array(old) || json_array_size(old) != json_array_size(now)) { return false; }
    for (size_t i = 0; i < json_array_size(old); i++) {
        const json_t *was = json_array_get(old, i), *is = json_array_get(now, i);
        if (json_equal(was, is)) { continue; }
        snprintf(inner, sizeof inner, "%s.%s", path, spade_json_text_at(is, "name"));
        return differ(c, was, is, inner);
    }
    return false;
}

/* How much of two texts is not shown, as it is the same and what differs would not be shown else. */
enum { SHOWN = 60 };
static size_t skip_common(const char *a, const char *b)
{
    enum { BEFORE = SHOWN / 3 };
    size_t common = 0;
    while (a[common] && a[common] == b[common]) { common++; }
    if (common < 2 * BEFORE) { return 0; }
    for (common -= BEFORE; common && ((unsigned char)a[common] & 0xc0) == 0x80;) { common--; } /* inside a character */
    return common;
}

static const char *more(const char *text)
{
    return strlen(text) > SHOWN ? "..." : "";
}

static bool differ(const comparison *c, const json_t *old, const json_t *now, const char *path)
{
    const char *key;
    json_t *value;
    if (json_equal(old, now)) { return false; }
    if (json_is_object(old) && json_is_object(now)) {
        const json_t *both[] = {old, now};
        for (const char *const *name = c->first; !*path && *name; name++) {
            if (differ_in(c, old, now, path, *name)) { return true; }
        }
        for (int i = 0; i < 2; i++) {
            json_object_foreach((json_t *)(uintptr_t)both[i], key, value)
            {
                if (differ_in(c, old, now, path, key)) { return true; }
            }
        }
        return false;
    }
    char *texts[] = {describe_value(old), describe_value(now)};
    const bool same = texts[0] && texts[1] && strcmp(texts[0], texts[1]) == 0; /* lists of the same names */
    if (!same || !differ_in_list(c, old, now, path)) {
        const size_t from = texts[0] && texts[1] ? skip_common(texts[0], texts[1]) : 0;
        const char *was = texts[0] ? texts[0] + from : "?", *is = texts[1] ? texts[1] + from : "?";
        snprintf(c->out, c->size, "%s: %s%.*s%s, now %s%.*s%s", path, from ? "..." : "", SHOWN, was, more(was),
                 from ? "..." : "", SHOWN, is, more(is));
    }
    free(texts[0]);
    free(texts[1]);
    return true;
}

bool spade_json_difference(const json_t *old, const json_t *now, const char *const *first, const char *const *without,
                           char *out, size_t size)
{
    const comparison c = {first, without, out, size};
    return differ(&c, old, now, "");
}
