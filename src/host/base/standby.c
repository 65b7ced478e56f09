/* standby.c - what is kept because it may be of use again; base.h says how. */
#include "base/base.h"

static void unlink_item(spade_context *context, spade_standby *item)
{
    *(item->older ? &item->older->newer : &context->oldest) = item->newer;
    *(item->newer ? &item->newer->older : &context->newest) = item->older;
    item->older = item->newer = NULL;
    context->standby -= item->bytes;
}

bool spade_standby_give_back(spade_context *context)
{
    spade_standby *item = context->oldest;
    if (!item) { return false; }
    unlink_item(context, item);
    item->give_back(item);
    return true;
}

void spade_standby_put(spade_context *context, spade_standby *item)
{
    if (item->bytes > context->most_standby) { /* not worth all the others */
        item->give_back(item);
        return;
    }
    item->older = context->newest;
    item->newer = NULL;
    *(context->newest ? &context->newest->newer : &context->oldest) = item;
    context->newest = item;
    context->standby += item->bytes;
    while (context->standby > context->most_standby && spade_standby_give_back(context)) {}
}

void spade_standby_take(spade_context *context, spade_standby *item)
{
    unlink_item(context, item);
    spade_note_peak(context);
}
