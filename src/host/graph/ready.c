/* ready.c - the list of what a network keeps on the device. */
#include "graph/ready.h"

static void give_back(spade_standby *standby)
{
    spade_ready_item *item = (spade_ready_item *)standby; /* its first member */
    spade_ready_item **link = &item->graph->ready->items;
    while (*link != item) { link = &(*link)->next; }
    *link = item->next;
    item->destroy(item);
}

spade_ready_item *spade_ready_take(spade_context *context, const spade_graph *graph, const void *kind,
                                   spade_ready_match_fn match, const void *user)
{
    if (context != graph->context || !graph->ready) { return NULL; }
    for (spade_ready_item **link = &graph->ready->items; *link; link = &(*link)->next) {
        spade_ready_item *item = *link;
        if (item->kind != kind || (match && !match(item, user))) { continue; }
        *link = item->next;
        spade_standby_take(context, &item->standby);
        return item;
    }
    return NULL;
}

void spade_ready_give(spade_ready_item *item, uint64_t bytes)
{
    const spade_graph *graph = item->graph;
    if (item->context != graph->context || !graph->ready) {
        item->destroy(item);
        return;
    }
    item->next = graph->ready->items;
    graph->ready->items = item;
    item->standby.bytes = bytes;
    item->standby.give_back = give_back;
    spade_standby_put(item->context, &item->standby);
}

void spade_ready_clear(spade_graph *graph)
{
    while (graph->ready && graph->ready->items) {
        spade_ready_item *item = graph->ready->items;
        graph->ready->items = item->next;
        spade_standby_take(item->context, &item->standby);
        item->destroy(item);
    }
    free(graph->ready);
    graph->ready = NULL;
}
