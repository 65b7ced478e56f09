/*
 * json.h - JSON that is complete or not there: jansson's calls report a failed allocation one by one, and an object with a
 * member less looks like any other. Here a value that could not be made whole is NULL, and so is what it was to be a part of.
 */
#ifndef SPADE_BASE_JSON_H
#define SPADE_BASE_JSON_H

#include <jansson.h>

#include "base/base.h"

/* Add a member, an element. The reference to value goes to *object; where there is no memory, or no value, *object is
 * released and becomes NULL. *object NULL: nothing but that value is released. */
void spade_json_set(json_t **object, const char *key, json_t *value);
void spade_json_append(json_t **array, json_t *value);
/* A JSON string of text from outside, invalid bytes as '?'. NULL: out of memory. */
json_t *spade_json_text(const char *text);
/* The number; null where it is infinite or not a number, which JSON has not. */
json_t *spade_json_number(double value);
/* [1, 3, 224, 224] */
json_t *spade_json_integers(const int64_t *values, int count);

/* A member: NaN where it is no number (null: there is none), "" where it is no text. */
double spade_json_real_at(const json_t *object, const char *key);
const char *spade_json_text_at(const json_t *object, const char *key);

/* The value as text, malloc'ed; flags: jansson's. NULL: out of memory, or there is no value. Not json_dumps(), which leaves out
 * what there was no memory for. */
char *spade_json_dump(const json_t *value, size_t flags);

/*
 * Where two objects differ, for a message: "configuration.sparsity: 0.5, now 0.9"; false: nowhere. Of the outermost members those of
 * `first` are looked at before the others, those of `without` not at all; both end in NULL.
 */
bool spade_json_difference(const json_t *old, const json_t *now, const char *const *first, const char *const *without,
                           char *out, size_t size);

/* Where and why a text is no JSON, or one that says two things. */
typedef struct spade_json_error {
    bool memory; /* it may be JSON, but there was no memory */
    bool
        repeats; /* of a text that is JSON: a member's name stands twice in an object, for the second time in this line */
    int line;    /* from 1 */
    const char *reason;
} spade_json_error;
/*
 * The value that the text is (RFC 8259; of members of the same name the last one counts); NULL and *error.
 * Not jansson's reader: that one goes on with half a token where there is no memory for the whole.
 */
json_t *spade_json_parse(const char *text, size_t size, spade_json_error *error);

#endif
