/* unread_options.c - see unread_options.h. */
#include "workload/unread_options.h"

#include "trace/trace.h"

void unread_options_find(spade_context *context, const spade_model *model, const spade_settings *settings,
                         unread_options *unread)
{
    static const char *const names[] = {"sparsity", "solver", "group", "count", "block", "linear_block"};
    enum { COUNT = sizeof names / sizeof *names };
    spade_trace_options others[COUNT]; /* each option has a value that it has not in the settings */
    int count = 0;
    for (int i = 0; i < COUNT; i++) { others[i] = settings->trace; }
    others[0].sparsity = others[0].sparsity == 0.5 ? 0.25 : 0.5;
    others[1].solver = others[1].solver == SPADE_SOLVER_FAST ? SPADE_SOLVER_MAGNITUDE : SPADE_SOLVER_FAST;
    others[2].group = others[2].group == SPADE_GROUP_KERNEL ? SPADE_GROUP_ELEMENT : SPADE_GROUP_KERNEL;
    others[3].count = others[3].count == SPADE_COUNT_FLOOR ? SPADE_COUNT_PUBLISHED : SPADE_COUNT_FLOOR;
    others[4].block = others[4].block == SPADE_MAX_BLOCK ? SPADE_MAX_BLOCK - 1 : SPADE_MAX_BLOCK;
    others[5].linear_block = others[5].linear_block == SPADE_MAX_BLOCK ? SPADE_MAX_BLOCK - 1 : SPADE_MAX_BLOCK;
    for (int i = 0; i < COUNT; i++) {
        if (spade_trace_same_layers(context, model, &settings->trace, &others[i])) {
            unread->names[count++] = names[i];
        }
    }
    unread->names[count] = NULL;
}
