/*
 * tar.h - POSIX ustar members whose headers depend on nothing but name and size: mode 0644, owner 0, time 0. So the bytes of an
 * archive say nothing of when and where it was made, and a header that differs in a single bit from what belongs there is told.
 */
#ifndef SPADE_STORE_TAR_H
#define SPADE_STORE_TAR_H

#include "base/base.h"

enum {
    SPADE_TAR_BLOCK = 512,
    SPADE_TAR_END = 1024, /* bytes of zeros behind the last member */
    SPADE_TAR_NAME = 101  /* with the end of the string */
};

/* False: the name is longer than 100 characters or empty, or the size more than 8 GiB less a byte. */
bool spade_tar_header(const char *name, uint64_t size, uint8_t out[SPADE_TAR_BLOCK]);
/* False: it is no header as spade_tar_header() makes it. */
bool spade_tar_parse(const uint8_t block[SPADE_TAR_BLOCK], char name[SPADE_TAR_NAME], uint64_t *size);
/* Bytes of a member's content with what fills up its last block. */
static inline uint64_t spade_tar_padded(uint64_t size)
{
    return (size + SPADE_TAR_BLOCK - 1) / SPADE_TAR_BLOCK * SPADE_TAR_BLOCK;
}

#endif
