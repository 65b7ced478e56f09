/* tars.h - small tars as WebDataset has them, and such as nobody should write. */
#ifndef SPADE_TEST_TARS_H
#define SPADE_TEST_TARS_H

#include <archive.h>
#include <stddef.h>

/* filters: ARCHIVE_FILTER_NONE, _GZIP, ...: one over the other, where there are two. */
struct archive *tar_make(const char *path, int filter, int filter_over);
void tar_add(struct archive *tar, const char *name, const void *bytes, size_t size);
void tar_add_text(struct archive *tar, const char *name, const char *text);
/* type: AE_IFDIR, AE_IFCHR, ...; link: of AE_IFLNK what it leads to, of AE_IFREG a member that it is once more; NULL: none. */
void tar_add_special(struct archive *tar, const char *name, unsigned type, const char *link);
void tar_end(struct archive *tar);

#endif
