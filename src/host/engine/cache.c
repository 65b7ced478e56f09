/* cache.c - the list of what a network keeps on the device. */
#include "engine/cache.h"

static void evict(spade_lru_item *lru)
{
    spade_cache_entry *item = (spade_cache_entry *)lru; /* its first member */
    spade_cache_entry **link = &item->network->cache->items;
    while (*link != item) { link = &(*link)->next; }
    *link = item->next;
    item->destroy(item);
}

spade_cache_entry *spade_cache_acquire(spade_context *context, const spade_network *network, const void *kind,
                                       spade_cache_match_fn match, const void *user)
{
    if (context != network->context || !network->cache) { return NULL; }
    for (spade_cache_entry **link = &network->cache->items; *link; link = &(*link)->next) {
        spade_cache_entry *item = *link;
        if (item->kind != kind || (match && !match(item, user))) { continue; }
        *link = item->next;
        spade_lru_remove(context, &item->lru);
        return item;
    }
    return NULL;
}

void spade_cache_release(spade_cache_entry *item, uint64_t bytes)
{
    const spade_network *network = item->network;
    if (item->context != network->context || !network->cache) {
        item->destroy(item);
        return;
    }
    item->next = network->cache->items;
    network->cache->items = item;
    item->lru.bytes = bytes;
    item->lru.evict = evict;
    spade_lru_insert(item->context, &item->lru);
}

void spade_cache_clear(spade_network *network)
{
    while (network->cache && network->cache->items) {
        spade_cache_entry *item = network->cache->items;
        network->cache->items = item->next;
        spade_lru_remove(item->context, &item->lru);
        item->destroy(item);
    }
    free(network->cache);
    network->cache = NULL;
}
