/* unread_options.c - see unread_options.h. */
#include "workload/unread_options.h"

#include "trace/trace.h"

static const char *const names[] = {"sparsity", "solver", "group", "count", "block", "linear_block"};
enum { SPARSITY, SOLVER, GROUP, COUNT, BLOCK, LINEAR_BLOCK, OPTIONS };
_Static_assert(OPTIONS == sizeof names / sizeof *names, "a name for each");
_Static_assert(OPTIONS < sizeof((unread_options *)0)->names / sizeof(char *), "room for all, and the end");

static int64_t other_block(int64_t block)
{
    return block == SPADE_MAX_BLOCK ? SPADE_MAX_BLOCK - 1 : SPADE_MAX_BLOCK;
}

/* The option gets a value that it has not. */
static void change(spade_trace_options *options, int option)
{
    switch (option) {
    case SPARSITY: options->sparsity = options->sparsity == 0.5 ? 0.25 : 0.5; break;
    case SOLVER:
        options->solver = options->solver == SPADE_SOLVER_FAST ? SPADE_SOLVER_MAGNITUDE : SPADE_SOLVER_FAST;
        break;
    case GROUP: options->group = options->group == SPADE_GROUP_KERNEL ? SPADE_GROUP_ELEMENT : SPADE_GROUP_KERNEL; break;
    case COUNT: options->count = options->count == SPADE_COUNT_FLOOR ? SPADE_COUNT_PUBLISHED : SPADE_COUNT_FLOOR; break;
    case BLOCK: options->block = other_block(options->block); break;
    default: options->linear_block = other_block(options->linear_block); break;
    }
}

void unread_options_find(spade_context *context, const spade_model *model, const spade_trace_options *options,
                         unread_options *unread)
{
    int count = 0;
    for (int i = 0; i < OPTIONS; i++) {
        spade_trace_options other = *options;
        change(&other, i);
        if (spade_trace_same_layers(context, model, options, &other)) { unread->names[count++] = names[i]; }
    }
    unread->names[count] = NULL;
}

bool unread_options_has(const unread_options *unread, const char *name)
{
    const char *const *at = unread->names;
    while (*at && strcmp(*at, name) != 0) { at++; }
    return *at != NULL;
}

void unread_options_intersect(unread_options *unread, const unread_options *other)
{
    int count = 0;
    for (int i = 0; unread->names[i]; i++) {
        if (unread_options_has(other, unread->names[i])) { unread->names[count++] = unread->names[i]; }
    }
    unread->names[count] = NULL;
}
