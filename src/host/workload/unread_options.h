/* unread_options.h - options of a trace that no layer of the network has a use for. Private to workload/. */
#ifndef SPADE_WORKLOAD_UNREAD_OPTIONS_H
#define SPADE_WORKLOAD_UNREAD_OPTIONS_H

#include "config/settings.h"

typedef struct unread_options {
    const char *names[7]; /* of keys; NULL behind the last */
} unread_options;

/* Those that no layer's solver would be asked otherwise with: the layers that they are for stay dense, have values of their own
 * or are not there. */
void unread_options_find(spade_context *context, const spade_model *model, const spade_trace_options *options,
                         unread_options *unread);
bool unread_options_has(const unread_options *unread, const char *name);
/* Of several traces: what every one of them has no use for. */
void unread_options_intersect(unread_options *unread, const unread_options *other);

#endif
