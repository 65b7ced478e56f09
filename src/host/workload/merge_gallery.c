/* merge_gallery.c - see merge.h. */
#include "workload/merge.h"

spade_status merge_write_gallery(spade_context *context, const spade_store *store, const spade_workload_events *events,
                                 bool *stopped)
{
    (void)events;
    (void)stopped;
    return spade_fail(context, SPADE_ERROR_UNSUPPORTED, "%s: no gallery yet", store->folder);
}
