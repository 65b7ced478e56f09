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

/* A device that is emulated: tests that take long there do less. */
static inline bool test_is_emulated(void)
{
    return strcmp(test_device(), "cpu") != 0 && getenv("SPADE_CUDA_LIBRARY") != NULL;
}

#endif
