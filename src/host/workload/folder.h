/* folder.h - the pictures in a folder, and what else is there. */
#ifndef SPADE_WORKLOAD_FOLDER_H
#define SPADE_WORKLOAD_FOLDER_H

#include "base/base.h"

/* Does the folder hold the results of a command (results.jsonl, check.html)? Their pictures are no inputs. */
bool spade_folder_holds_results(const char *path);

/* SPADE_ERROR_ARGUMENT: a store is asked for where results of the other commands are, or the other way round: their files would
 * mix. What is not there is fine. */
spade_status spade_folder_check_kind(spade_context *context, const char *path, bool store);

/* Does the name end as those of pictures that can be decoded? */
bool spade_has_picture_name(const char *name);

/* file: its path; relative: the same, from the folder on. Both are borrowed. */
typedef spade_status (*spade_picture_found)(void *user, const char *file, const char *relative);

/*
 * Calls `found` for each picture, in the order of names (by bytes). A picture is a file whose first bytes say so, or whose
 * name does: its reader then says what is wrong with it. recursive: the folders in the folder as well, each once, links
 * to folders too, but none with the results of a command (results.jsonl, check.html).
 *
 * *skipped (malloc'ed; NULL: nothing): what was passed over, kinds and counts, as in "2 TIFF (a.tif, ...), 1 folder (b)".
 * Hidden files that are no pictures, and hidden folders, are not counted. *reason (malloc'ed or NULL): why the folder, or
 * the first one in it that cannot be read, cannot ("sub: Permission denied"). Fails where `found` does, and when memory runs out.
 */
spade_status spade_folder_pictures(spade_context *context, const char *path, bool recursive, spade_picture_found found,
                                   void *user, char **skipped, char **reason);

#endif
