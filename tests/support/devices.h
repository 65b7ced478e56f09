/* devices.h - a device that a test asks for by its name, and that this machine may not have; calls on it that are
 * to go well; memory there. */
#ifndef SPADE_TEST_OPS_DEVICE_H
#define SPADE_TEST_OPS_DEVICE_H

#include "backend/backend.h"

/* threads, memory: as in spade_context_options. NULL: it cannot be had here, which has been said. */
spade_context *open_device(const char *device, int threads, uint64_t memory);
/* The test fails with the context's message unless status is SPADE_OK. */
void ok(spade_context *context, spade_status status);
/* Device memory that holds these bytes; `from` NULL: bytes that nobody may count on. */
void *to_device(spade_context *context, const void *from, size_t bytes);
/* Host memory, not NULL. */
void *make(size_t bytes);

#endif
