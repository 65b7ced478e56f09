/*
 * cache.h - what stays on the device from call to call, because the next image will need it again: the network's own
 * parameters, plans with their weights (executor.c), and what later stages add. It hangs on the network, lies on standby
 * while nobody uses it (base.h), and goes with the network.
 *
 * Only for calls in the context that the network was loaded in; for others it makes and releases everything.
 */
#ifndef SPADE_ENGINE_READY_H
#define SPADE_ENGINE_READY_H

#include "engine/engine.h"

/* First member of what is kept. `kind`: any address that tells one type of these from others. */
typedef struct spade_cache_entry {
    spade_lru_item lru;
    struct spade_cache_entry *next;
    const void *kind;
    const spade_network *network;
    spade_context *context;
    void (*destroy)(struct spade_cache_entry *item);
} spade_cache_entry;

struct spade_cache {
    spade_cache_entry *items;                   /* on standby; the one used last comes first */
    struct spade_device_parameters *parameters; /* in use; NULL: on standby, or not there */
};

typedef bool (*spade_cache_match_fn)(const spade_cache_entry *item, const void *user);

/* An item of this kind that matches, in use from now on; NULL: there is none. The one used last comes first. */
spade_cache_entry *spade_cache_acquire(spade_context *context, const spade_network *network, const void *kind,
                                       spade_cache_match_fn match, const void *user);
/* Not in use any more: kept, or destroyed where it cannot be. bytes: what its destruction releases. */
void spade_cache_release(spade_cache_entry *item, uint64_t bytes);
/* With the network: everything is destroyed. */
void spade_cache_clear(spade_network *network);

/*
 * ---- parameters.c: the network's own on the device: weights as the solvers and `pack` read them, biases,
 * normalisations, constants. They stay as long as anything that is kept, or in use, was made with them.
 */
typedef struct spade_device_vector {
    float *data;
    size_t bytes; /* 0: the host's memory, borrowed */
} spade_device_vector;

typedef struct spade_device_parameters {
    spade_cache_entry item;
    int users;                          /* plans' weights and whoever else reads them */
    uint64_t generation;                /* of their memory */
    uint64_t bytes;                     /* on the device */
    spade_device_vector *weights;       /* [layers]: [rows, columns] */
    spade_device_vector *bias;          /* [nodes] */
    spade_device_vector *scale, *shift; /* [nodes], of a normalisation; scale: or Gemm's alpha [rows] where not 1 */
    spade_device_vector *constants;     /* [values] */
} spade_device_parameters;

spade_status spade_device_parameters_acquire(spade_context *context, const spade_network *network,
                                             spade_device_parameters **out);
void spade_device_parameters_release(spade_device_parameters *parameters); /* NULL is fine */

#endif
