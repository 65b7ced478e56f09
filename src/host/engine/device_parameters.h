/*
 * device_parameters.h - the network's own numbers on the device: weights as the solvers and `pack` read them, scales, shifts,
 * constants, maps along axes. There once for a context, as long as anything that is kept, or in use, was made with them.
 */
#ifndef SPADE_ENGINE_DEVICE_PARAMETERS_H
#define SPADE_ENGINE_DEVICE_PARAMETERS_H

#include "engine/cache.h"

typedef struct spade_device_vector {
    void *data;
    size_t bytes; /* 0: the host's memory, borrowed */
} spade_device_vector;

typedef struct spade_device_parameters {
    spade_cache_entry entry;
    uint64_t generation;                                      /* of their memory */
    uint64_t bytes;                                           /* on the device */
    spade_device_vector *weights;                             /* [layers]: [rows, columns] */
    spade_device_vector (*parameters)[SPADE_PARAMETER_COUNT]; /* [nodes] */
    spade_device_vector *constants;                           /* [values] */
    spade_device_vector *maps;                                /* [nodes]: data of AXIS_MAP */
} spade_device_parameters;

spade_status spade_device_parameters_acquire(spade_context *context, const spade_network *network,
                                             spade_device_parameters **out);
void spade_device_parameters_release(spade_device_parameters *parameters); /* NULL is fine */
/* Bytes that they take on the context's device. */
uint64_t spade_device_parameters_bytes(const spade_context *context, const spade_network *network);

#endif
