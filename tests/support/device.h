/* device.h - the device that tests of whole networks run on: SPADE_TEST_DEVICE, else the processor. */
#ifndef SPADE_TEST_DEVICE_H
#define SPADE_TEST_DEVICE_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline const char *test_device(void)
{
    const char *name = getenv("SPADE_TEST_DEVICE");
    return name ? name : "cpu";
}

/* A device that is emulated: tests that take long there do less, and its stand-ins can fail on purpose. */
static inline bool test_is_emulated(void)
{
    const char *library = getenv("SPADE_CUDA_LIBRARY");
    return strcmp(test_device(), "cpu") != 0 && library && strstr(library, "emulated");
}

#endif
