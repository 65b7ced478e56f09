/* eviction.c - what is kept because it may be of use again; base.h says how. */
#include "base/base.h"

static void unlink_item(spade_context *context, spade_lru_item *item)
{
    *(item->older ? &item->older->newer : &context->oldest) = item->newer;
    *(item->newer ? &item->newer->older : &context->newest) = item->older;
    item->older = item->newer = NULL;
    context->standby -= item->bytes;
}

bool spade_lru_evict(spade_context *context)
{
    spade_lru_item *item = context->oldest;
    if (!item) { return false; }
    unlink_item(context, item);
    item->evict(item);
    return true;
}

void spade_lru_insert(spade_context *context, spade_lru_item *item)
{
    if (item->bytes > context->max_evictable) { /* not worth all the others */
        item->evict(item);
        return;
    }
    item->older = context->newest;
    item->newer = NULL;
    *(context->newest ? &context->newest->newer : &context->oldest) = item;
    context->newest = item;
    context->standby += item->bytes;
    while (context->standby > context->max_evictable && spade_lru_evict(context)) {}
}

void spade_lru_remove(spade_context *context, spade_lru_item *item)
{
    unlink_item(context, item);
    spade_note_peak(context);
}
