/* fingerprint.h - what a content is told from another by: XXH3 of 128 bits, in hexadecimal as `xxh128sum` prints it. */
#ifndef SPADE_BASE_FINGERPRINT_H
#define SPADE_BASE_FINGERPRINT_H

#include "base/base.h"

enum { SPADE_FINGERPRINT_SIZE = 33 }; /* with the end of the string */

/* Of the pieces, one behind the other. */
void spade_fingerprint(const spade_mapping *pieces, int count, char out[SPADE_FINGERPRINT_SIZE]);
/* The text of the two halves of one. */
void spade_fingerprint_text(uint64_t high, uint64_t low, char out[SPADE_FINGERPRINT_SIZE]);
/* Of a whole file. */
spade_status spade_fingerprint_file(spade_context *context, const char *path, char out[SPADE_FINGERPRINT_SIZE]);

#endif
