/*
 * cache.h - what stays on the device from call to call, because the next image will need it again: the networks' parameters,
 * executors (a plan with its weights, executor.c), and what later stages add. The context owns it; an entry belongs to a
 * network and goes with it. Entries that nobody uses are evictable (base.h): they count against the budget, and go, the one
 * used longest ago first, as soon as the budget or a device has no room for something else.
 *
 * Kept only for calls in the context that the network was loaded in; for others everything is made and released.
 */
#ifndef SPADE_ENGINE_CACHE_H
#define SPADE_ENGINE_CACHE_H

#include "engine/engine.h"

/* First member of what is kept. `kind`: any address that tells one type of these from others. */
typedef struct spade_cache_entry {
    spade_lru_item lru;
    struct spade_cache_entry *next; /* in the context's list */
    const void *kind;
    const spade_network *network;
    spade_context *context;
    void (*destroy)(struct spade_cache_entry *entry);
    int users;   /* now; 0: evictable */
    bool listed; /* an entry that is in use is listed only if several may use it at once */
} spade_cache_entry;

typedef bool (*spade_cache_match_fn)(const spade_cache_entry *entry, const void *user);

/* An entry of this kind and network that matches, in use from now on; NULL: there is none. The one used last comes first. */
spade_cache_entry *spade_cache_acquire(spade_context *context, const spade_network *network, const void *kind,
                                       spade_cache_match_fn match, const void *user);
/* A new entry, in use: others may find and use it at the same time. */
void spade_cache_share(spade_cache_entry *entry);
/* One user less. The last one: kept, or destroyed where it cannot be. bytes: what its destruction releases. */
void spade_cache_release(spade_cache_entry *entry, uint64_t bytes);
/* With the network, which nobody uses any more: its entries are destroyed. */
void spade_cache_drop(spade_context *context, const spade_network *network);

#endif
