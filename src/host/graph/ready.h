/*
 * ready.h - what stays on the device from call to call, because the next image will need it again: the network's own
 * parameters, plans with their weights (runner.c), and what later stages add. It hangs on the network, lies on standby
 * while nobody uses it (base.h), and goes with the network.
 *
 * Only for calls in the context that the network was loaded in; for others it makes and releases everything.
 */
#ifndef SPADE_GRAPH_READY_H
#define SPADE_GRAPH_READY_H

#include "graph/graph.h"

/* First member of what is kept. `kind`: any address that tells one type of these from others. */
typedef struct spade_ready_item {
    spade_standby standby;
    struct spade_ready_item *next;
    const void *kind;
    const spade_graph *graph;
    spade_context *context;
    void (*destroy)(struct spade_ready_item *item);
} spade_ready_item;

struct spade_ready {
    spade_ready_item *items;             /* on standby; the one used last comes first */
    struct spade_parameters *parameters; /* in use; NULL: on standby, or not there */
};

typedef bool (*spade_ready_match_fn)(const spade_ready_item *item, const void *user);

/* An item of this kind that matches, in use from now on; NULL: there is none. The one used last comes first. */
spade_ready_item *spade_ready_take(spade_context *context, const spade_graph *graph, const void *kind,
                                   spade_ready_match_fn match, const void *user);
/* Not in use any more: kept, or destroyed where it cannot be. bytes: what its destruction releases. */
void spade_ready_give(spade_ready_item *item, uint64_t bytes);
/* With the network: everything is destroyed. */
void spade_ready_clear(spade_graph *graph);

/*
 * ---- parameters.c: the network's own on the device: weights as the solvers and `pack` read them, biases,
 * normalisations, constants. They stay as long as anything that is kept, or in use, was made with them.
 */
typedef struct spade_device_vector {
    float *data;
    size_t bytes; /* 0: the host's memory, borrowed */
} spade_device_vector;

typedef struct spade_parameters {
    spade_ready_item item;
    int users;                          /* plans' weights and whoever else reads them */
    uint64_t serial;                    /* of their memory */
    uint64_t bytes;                     /* on the device */
    spade_device_vector *weights;       /* [layers]: [rows, columns] */
    spade_device_vector *bias;          /* [nodes] */
    spade_device_vector *scale, *shift; /* [nodes], of a normalisation; scale: or Gemm's alpha [rows] where not 1 */
    spade_device_vector *constants;     /* [values] */
} spade_parameters;

spade_status spade_parameters_take(spade_context *context, const spade_graph *graph, spade_parameters **out);
void spade_parameters_give(spade_parameters *parameters); /* NULL is fine */

#endif
