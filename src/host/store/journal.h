/*
 * journal.h - a text file that grows by whole lines and is never rewritten while it grows: whatever happens to the
 * process, what was appended before is there.
 *
 * The first line is written with the file, so that there is no journal without it. A process that is killed while it
 * appends leaves half a line; opening the journal cuts it off.
 */
#ifndef SPADE_STORE_JOURNAL_H
#define SPADE_STORE_JOURNAL_H

#include "base/base.h"

typedef struct spade_journal {
    int file; /* 0 or less: not open */
    char *path;
    int64_t size; /* bytes of whole lines */
} spade_journal;

/* SPADE_OK with *found false: there is no such file, and the journal is not open. */
spade_status spade_journal_open(spade_context *context, const char *path, spade_journal *out, bool *found);
/* A new journal of one line, in place of what was there under this name. Lines are given without their newline. */
spade_status spade_journal_create(spade_context *context, const char *path, const char *first_line, spade_journal *out);
/* *offset: where the line begins, for spade_journal_read(). On the disk when this returns. */
spade_status spade_journal_append(spade_context *context, spade_journal *journal, const char *line, int64_t *offset);
/* The line that begins at `offset`, without its newline, malloc'ed; *next: where the next one begins, which is
 * journal->size after the last one. */
spade_status spade_journal_read(spade_context *context, const spade_journal *journal, int64_t offset, char **line,
                                int64_t *next);
void spade_journal_close(spade_journal *journal); /* also one that is not open */

#endif
