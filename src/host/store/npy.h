/* npy.h - .npy files, beyond what spade/array.h says of them. */
#ifndef SPADE_STORE_NPY_H
#define SPADE_STORE_NPY_H

#include "base/base.h"

/* Is it a .npy file of float32 that is as long as its shape asks? Its numbers are not looked at, and the context's message stays as
 * it is. */
bool spade_array_file_is_whole(spade_context *context, const char *path);

#endif
