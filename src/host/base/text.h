/* text.h - text from outside (names in files, names of files): whether it is UTF-8, and what of it a terminal may get. */
#ifndef SPADE_BASE_TEXT_H
#define SPADE_BASE_TEXT_H

#include <stdbool.h>

/*
 * Bytes of what begins at `text`, which is not at its end: of a character, or 1 for a byte that is no valid UTF-8 (RFC
 * 3629: no overlong forms, no surrogates, nothing over U+10FFFF). *printable: a character that shows, and does nothing
 * else. Control characters (C0, DEL, C1), line separators and changes of the direction of writing do more.
 */
int spade_character(const char *text, bool *printable);
/* Every character that is not printable becomes '?', in place. */
void spade_make_printable(char *text);
bool spade_is_utf8(const char *text);
/* A copy in which every byte that is not valid UTF-8 is '?'. malloc'ed; NULL when out of memory. */
char *spade_utf8(const char *text);

#endif
