/* sample_name.c - see sample_name.h. */
#include "workload/sample_name.h"

#include <ctype.h>
#include <strings.h>

#include "workload/folder.h"

static bool is_one_of(const char *text, size_t length, const char *const *names)
{
    for (; *names; names++) {
        if (strlen(*names) == length && strncasecmp(text, *names, length) == 0) { return true; }
    }
    return false;
}

/* As its own expression has it: __[^/]*__($|/) */
static bool is_meta(const char *name)
{
    const size_t length = strcspn(name, "/");
    return length >= 4 && strncmp(name, "__", 2) == 0 && strncmp(name + length - 2, "__", 2) == 0;
}

sample_role sample_role_of(const char *name, uint64_t size, int *key)
{
    static const char *const texts[] = {"txt", "text", "json", "jsn", "cls", "cls2", "index", "inx", "id", "csv", NULL};
    static const char *const masks[] = {"mask", "seg", "segmentation", NULL};
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name, *dot = strchr(base, '.');
    *key = dot ? (int)(dot - name) : 0;
    if (is_meta(name)) { return SAMPLE_META; }
    if (!dot || dot == base) { return SAMPLE_NO_KEY; }
    const char *suffix = dot + 1, *last = strrchr(suffix, '.');
    if (spade_has_picture_name(dot)) {
        if (!last) { return SAMPLE_PICTURE; }
        return is_one_of(suffix, strcspn(suffix, "."), masks) && strchr(suffix, '.') == last ? SAMPLE_MASK
                                                                                             : SAMPLE_INNER_PICTURE;
    }
    last = last ? last + 1 : suffix;
    if (!is_one_of(last, strlen(last), texts)) { return SAMPLE_OTHER; }
    return size > SAMPLE_MOST_TEXT ? SAMPLE_LONG_TEXT : SAMPLE_TEXT;
}

void sample_suffix(const char *name, int key, char out[SAMPLE_SUFFIX])
{
    snprintf(out, SAMPLE_SUFFIX, "%s", name + key + 1);
    for (char *at = out; *at; at++) { *at = (char)tolower((unsigned char)*at); }
}
