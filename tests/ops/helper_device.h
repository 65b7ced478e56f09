/* helper_device.h - a device that a test asks for by its name, and that this machine may not have. */
#ifndef SPADE_TEST_OPS_DEVICE_H
#define SPADE_TEST_OPS_DEVICE_H

#include "spade/context.h"

/* threads, memory: as in spade_context_options. NULL: it cannot be had here, which has been said. */
spade_context *open_device(const char *device, int threads, uint64_t memory);

#endif
