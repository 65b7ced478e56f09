/* tar_list.h - which tars a data set is: one, a folder of them, or a pattern, as WebDataset has them. */
#ifndef SPADE_WORKLOAD_TAR_LIST_H
#define SPADE_WORKLOAD_TAR_LIST_H

#include "base/base.h"

typedef struct spade_tar {
    char *path;
    const char *name; /* its last part */
    uint64_t size;
    int64_t modified; /* nanoseconds */
    uint64_t device, inode;
} spade_tar;

typedef struct spade_tar_list {
    spade_tar *items;
    int count;
} spade_tar_list;

/* Is it called like a tar, compressed or not? */
bool spade_is_tar_name(const char *path);

/*
 * path: a tar (by its name, or its first bytes), a folder with tars and no folders in it, or what is no file or folder itself but a
 * pattern of tars: braces (train-{000000..000009}.tar, {a,b}.tar) in their order, or * ? [] as a shell has them, by name. out->count 0: it
 * is nothing of the kind. SPADE_ERROR_INPUT: it is, but one of them is not there, or no tar.
 */
spade_status spade_tar_list_find(spade_context *context, const char *path, spade_tar_list *out);
void spade_tar_list_clear(spade_tar_list *list);

#endif
