/*
 * allocations.h - allocations that fail on purpose. A program linked with allocations.c and -Wl,--wrap (tests/CMakeLists.txt)
 * sends here every call of its own objects that takes memory, jansson's too; those of other libraries go their way.
 */
#ifndef SPADE_TEST_FAILING_ALLOCATIONS_H
#define SPADE_TEST_FAILING_ALLOCATIONS_H

#include <stdbool.h>

/* From now on allocations are counted, from 1, and the one of this number fails, with `on` all after it too; 0: none. */
void allocations_begin(long fail_at, bool on);
/* The end of that: how many there were, and how many of them were never freed. */
long allocations_end(long *leaked);
/* The number of the one at hand, for a handler of signals. */
long allocations_now(void);

#endif
