/*
 * check.h - what every backend asks of a description before it plans it; the description in words, for messages.
 */
#ifndef SPADE_BACKEND_CHECK_H
#define SPADE_BACKEND_CHECK_H

#include "backend/backend.h"

/* Do the shapes of a description belong together? SPADE_ERROR_ARGUMENT names it. */
spade_status spade_op_check(spade_context *context, const spade_op_desc *desc);
/* "convolution", "softmax backward", ...; "?" for a number that is no kind. */
const char *spade_op_kind_name(spade_op_kind kind);
/* "relu", "hard sigmoid", ...; "?" for a number that is no function. */
/* "convolution [8, 64, 56, 56] -> [8, 64, 56, 56]" into buffer (at least 256 bytes); returns buffer. */
char *spade_op_describe(const spade_op_desc *desc, char *buffer, size_t size);
/* Average pooling (or its backward) whose window is the whole image, without padding. */
bool spade_op_is_global_average(const spade_op_desc *desc);

#endif
