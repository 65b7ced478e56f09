/* close_names.c - see close_names.h. */
#include "base/close_names.h"

#include <stdio.h>
#include <string.h>

enum { MAX_NAME = SPADE_CLOSE_NAME_LENGTH };

/* Levenshtein's: insertions, deletions and replacements from one name to the other. Both at most MAX_NAME long. */
static int edit_distance(const char *a, int a_length, const char *b, int b_length)
{
    int row[MAX_NAME + 1] = {0};
    for (int j = 0; j <= b_length; j++) { row[j] = j; }
    for (int i = 1; i <= a_length; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= b_length; j++) {
            const int replaced = diagonal + (a[i - 1] != b[j - 1]);
            const int shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replaced < shorter ? replaced : shorter;
        }
    }
    return row[b_length];
}

void spade_close_names_begin(spade_close_names *names, const char *wanted)
{
    *names = (spade_close_names){.wanted = wanted};
}

/* Keep it among the closest ones, which stand in ascending order. */
static void insert(spade_close_names *names, spade_close_name candidate)
{
    spade_close_name *items = names->items;
    int at = names->count;
    for (int i = 0; i < names->count; i++) {
        if (items[i].length == candidate.length && memcmp(items[i].text, candidate.text, candidate.length) == 0) {
            return;
        }
    }
    while (at > 0 && items[at - 1].distance > candidate.distance) { at--; }
    if (at == SPADE_CLOSE_NAMES) { return; }
    names->count += names->count < SPADE_CLOSE_NAMES;
    memmove(items + at + 1, items + at, sizeof *items * (size_t)(names->count - 1 - at));
    items[at] = candidate;
}

static void offer(spade_close_names *names, const char *name, size_t length)
{
    const int wanted_length = (int)strnlen(names->wanted, MAX_NAME);
    if (length > MAX_NAME) { return; }
    insert(names,
           (spade_close_name){name, (int)length, edit_distance(name, (int)length, names->wanted, wanted_length)});
}

void spade_close_names_offer(spade_close_names *names, const char *name)
{
    if (name) { offer(names, name, strlen(name)); }
}

void spade_close_names_offer_modules(spade_close_names *names, const char *name)
{
    for (const char *end = name; end && *end; end += *end == '.') {
        end += strcspn(end, ".");
        offer(names, name, (size_t)(end - name));
    }
}

const char *spade_close_names_format(const spade_close_names *names, char buffer[SPADE_CLOSE_NAMES_BYTES])
{
    size_t used = (size_t)snprintf(buffer, SPADE_CLOSE_NAMES_BYTES, "%s", names->count ? "; close to it: " : "");
    for (int i = 0; i < names->count; i++) {
        used += (size_t)snprintf(buffer + used, SPADE_CLOSE_NAMES_BYTES - used, "%s%.*s", i ? ", " : "",
                                 names->items[i].length, names->items[i].text);
    }
    return buffer;
}
