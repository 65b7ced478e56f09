/*
 * block_cache.h - large blocks of host memory outlive their users: the next who asks for about as much gets one.
 *
 * Memory that is touched for the first time costs as much as a pass of arithmetic over it (a fault for every page,
 * which the system clears), and a trace asks for matrices of the same sizes again and again. What is kept is not
 * charged (spade_charge), but never reaches beyond the budget: room is made before anything new is charged. Calls come
 * from the context's own thread, as all of base.h's. Under AddressSanitizer nothing is kept, so that it sees every use
 * after free.
 */
#ifndef SPADE_BLOCK_CACHE_H
#define SPADE_BLOCK_CACHE_H

#include "base/base.h"

enum { SPADE_BLOCK_CACHE_MIN = 4 << 20 }; /* bytes; smaller blocks are malloc's */

/* A kept block for `bytes`, or NULL. */
void *spade_block_cache_reuse(spade_context *context, size_t bytes);
/* A new block, or NULL; the caller has charged it. */
void *spade_block_cache_add(spade_context *context, size_t bytes);
/* A block is no longer in use; its bytes have been released. */
void spade_block_cache_keep(spade_context *context, void *pointer, size_t bytes);
/* Give back kept blocks until `bytes` more fit the budget. */
void spade_block_cache_make_room(spade_context *context, size_t bytes);

#endif
