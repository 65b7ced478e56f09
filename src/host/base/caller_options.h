/*
 * caller_options.h - public option structs, whose caller may have been built with another version of spade.
 *
 * Such a struct begins with `size_t size`, set by its init function to what the caller knows of it; members are only
 * ever added at the end, behind the padding that the struct ended with. So an older caller's struct is a beginning of
 * ours, and ours is a beginning of a newer one's. 0 must mean of a member what was before there was one.
 */
#ifndef SPADE_BASE_CALLER_OPTIONS_H
#define SPADE_BASE_CALLER_OPTIONS_H

#include "base/base.h"

enum { SPADE_MAX_OPTIONS_BYTES = 4096 }; /* a larger size is one that nobody set */

/* The defaults [own_size] to a caller's struct [size]; what only the caller knows is zero. */
void spade_caller_options_init(void *options, size_t size, const void *defaults, size_t own_size);
/*
 * A caller's struct to one of ours. own [own_size]: in: the defaults, for what an older caller lacks; out: the options.
 * name: the struct's, "spade_trace_options". SPADE_ERROR_ARGUMENT: the caller did not call the init function, or set
 * something that only a newer libspade knows.
 */
spade_status spade_caller_options_take(spade_context *context, const char *name, const void *options, void *own,
                                       size_t own_size);

#endif
