/* sha256.h - SHA-256 (FIPS 180-4) as `sha256sum` prints it: what a store's files are checked by, with common tools too. */
#ifndef SPADE_STORE_SHA256_H
#define SPADE_STORE_SHA256_H

#include <nettle/sha2.h>

#include "base/base.h"

enum { SPADE_SHA256_SIZE = 65 }; /* in hexadecimal, with the end of the string */

typedef struct spade_sha256 {
    struct sha256_ctx state;
} spade_sha256;

void spade_sha256_begin(spade_sha256 *sha);
void spade_sha256_add(spade_sha256 *sha, const void *bytes, size_t size);
void spade_sha256_end(spade_sha256 *sha, char out[SPADE_SHA256_SIZE]);
/* Of a buffer. */
void spade_sha256_of(const void *bytes, size_t size, char out[SPADE_SHA256_SIZE]);
/* Of a whole regular file, a piece at a time. *size: its bytes; NULL: not wanted. SPADE_ERROR_INPUT: it cannot be opened;
 * SPADE_ERROR_IO: it cannot be read. */
spade_status spade_sha256_file(spade_context *context, const char *path, char out[SPADE_SHA256_SIZE], uint64_t *size);

#endif
