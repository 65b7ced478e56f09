/* tar.c - see tar.h. Source: POSIX.1-2017, pax, "ustar Interchange Format". */
#include "store/tar.h"

/* Where a header has its fields, in bytes. */
enum {
    AT_MODE = 100,
    AT_UID = 108,
    AT_GID = 116,
    AT_SIZE = 124,
    AT_TIME = 136,
    AT_CHECKSUM = 148,
    AT_TYPE = 156,
    AT_MAGIC = 257,
    AT_MAJOR = 329,
    AT_MINOR = 337,
    CHECKSUM_BYTES = 8
};
static const uint64_t size_limit = (uint64_t)1 << 33; /* 11 octal digits */

bool spade_tar_header(const char *name, uint64_t size, uint8_t out[SPADE_TAR_BLOCK])
{
    const size_t length = strlen(name);
    unsigned sum = 0;
    if (!length || length >= SPADE_TAR_NAME || size >= size_limit) { return false; }
    memset(out, 0, SPADE_TAR_BLOCK);
    memcpy(out, name, length);
    memcpy(out + AT_MODE, "0000644", 8);
    memcpy(out + AT_UID, "0000000", 8);
    memcpy(out + AT_GID, "0000000", 8);
    snprintf((char *)out + AT_SIZE, 12, "%011llo", (unsigned long long)size);
    memcpy(out + AT_TIME, "00000000000", 12);
    out[AT_TYPE] = '0';
    memcpy(out + AT_MAGIC,
           "ustar\0"
           "00",
           8);
    memcpy(out + AT_MAJOR, "0000000", 8);
    memcpy(out + AT_MINOR, "0000000", 8);
    memset(out + AT_CHECKSUM, ' ', CHECKSUM_BYTES);
    for (int i = 0; i < SPADE_TAR_BLOCK; i++) { sum += out[i]; }
    snprintf((char *)out + AT_CHECKSUM, 7, "%06o", sum & 0777777); /* six digits, a zero, the blank that is there */
    return true;
}

bool spade_tar_parse(const uint8_t block[SPADE_TAR_BLOCK], char name[SPADE_TAR_NAME], uint64_t *size)
{
    uint8_t expected[SPADE_TAR_BLOCK];
    memcpy(name, block, SPADE_TAR_NAME - 1);
    name[SPADE_TAR_NAME - 1] = 0;
    *size = 0;
    for (int i = AT_SIZE; i < AT_SIZE + 11; i++) {
        if (block[i] < '0' || block[i] > '7') { return false; }
        *size = *size * 8 + (uint64_t)(block[i] - '0');
    }
    return spade_tar_header(name, *size, expected) && memcmp(block, expected, SPADE_TAR_BLOCK) == 0;
}
