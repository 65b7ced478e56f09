/* npy.h - .npy files, beyond what spade/array.h says of them. */
#ifndef SPADE_STORE_NPY_H
#define SPADE_STORE_NPY_H

#include "base/base.h"

/* Is it a .npy file of float32 that is as long as its shape asks? Its numbers are not looked at, and the context's message stays as
 * it is. */
bool spade_array_file_is_whole(spade_context *context, const char *path);

/* What a file of these numbers (descr "<f4": float32) begins with; returns its bytes. rank: at most SPADE_MAX_RANK. */
enum { SPADE_NPY_HEADER = 512 };
size_t spade_npy_header(const char *descr, int rank, const int64_t *dims, char out[SPADE_NPY_HEADER]);

#endif
