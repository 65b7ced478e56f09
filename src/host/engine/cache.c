/* cache.c - the list of what a context keeps on its device. */
#include "engine/cache.h"

static void unlist(spade_cache_entry *entry)
{
    spade_cache_entry **link = &entry->context->cache;
    while (*link != entry) { link = &(*link)->next; }
    *link = entry->next;
    entry->listed = false;
}

static void list(spade_cache_entry *entry)
{
    entry->next = entry->context->cache;
    entry->context->cache = entry;
    entry->listed = true;
}

static void evict(spade_lru_item *lru)
{
    spade_cache_entry *entry = (spade_cache_entry *)lru; /* its first member */
    unlist(entry);
    entry->destroy(entry);
}

spade_cache_entry *spade_cache_acquire(spade_context *context, const spade_network *network, const void *kind,
                                       spade_cache_match_fn match, const void *user)
{
    for (spade_cache_entry *entry = context->cache; entry; entry = entry->next) {
        if (entry->kind != kind || entry->network != network || (match && !match(entry, user))) { continue; }
        if (entry->users++ == 0) {
            spade_lru_remove(context, &entry->lru);
            unlist(entry);
        }
        return entry;
    }
    return NULL;
}

void spade_cache_share(spade_cache_entry *entry)
{
    if (entry->context == entry->network->context) { list(entry); }
}

void spade_cache_release(spade_cache_entry *entry, uint64_t bytes)
{
    if (--entry->users) { return; }
    if (entry->listed) { unlist(entry); }
    if (entry->context != entry->network->context) {
        entry->destroy(entry);
        return;
    }
    list(entry);
    entry->lru.bytes = bytes;
    entry->lru.evict = evict;
    spade_lru_insert(entry->context, &entry->lru);
}

void spade_cache_drop(spade_context *context, const spade_network *network)
{
    for (spade_cache_entry *entry = context->cache, *next; entry; entry = next) {
        next = entry->next;
        if (entry->network != network) { continue; }
        spade_lru_remove(context, &entry->lru);
        evict(&entry->lru);
    }
}
