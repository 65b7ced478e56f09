/* results.h - folders of results compared: everything but the seconds that steps took must be the same. */
#ifndef SPADE_TESTS_RESULTS_H
#define SPADE_TESTS_RESULTS_H

#include <jansson.h>

#include "support/command.h"

/* FOLDER/NAME parsed; a new reference. */
json_t *results_load(const char *folder, const char *name);
/* results.json: the names in one of its lists, "a b c"; malloc'ed. */
char *results_names(const char *folder, const char *list);
/* The same files with the same bytes; in results.json and results.jsonl, seconds do not count. */
void assert_same_folders(const char *a, const char *b);
/* Files in the folder and in those in it whose name contains the text; "": all. */
int files_count(const char *folder, const char *text);

#endif
