/* target_text.c - see target_text.h. */
#include "base/target_text.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { MAX_NAME = 200, CLASS_TEXT = MAX_NAME + 40 };
_Static_assert(2 * CLASS_TEXT < SPADE_TARGET_TEXT, "two classes fit");

/* Bytes of the name's first characters, at most MAX_NAME. */
static int cut(const char *name)
{
    int length = 0;
    while (name[length]) {
        bool printable;
        const int next = spade_character(name + length, &printable);
        if (length + next > MAX_NAME) { break; }
        length += next;
    }
    return length;
}

static void write_class(int64_t index, const char *name, char text[CLASS_TEXT])
{
    const int used = snprintf(text, CLASS_TEXT, "class %lld", (long long)index);
    if (!name || strcmp(name, text) == 0) { return; }
    snprintf(text + used, CLASS_TEXT - (size_t)used, " (%.*s)", cut(name), name);
}

const char *spade_target_text(const spade_target *target, const char *name, const char *against,
                              char text[SPADE_TARGET_TEXT])
{
    char other[CLASS_TEXT];
    write_class(target->class_index, name, text);
    if (!target->contrast) { return text; }
    write_class(target->against, against, other);
    const size_t used = strlen(text);
    snprintf(text + used, SPADE_TARGET_TEXT - used, " against %s", other);
    return text;
}
