/* device.h - the device that tests of whole networks run on: SPADE_TEST_DEVICE, else the processor. */
#ifndef SPADE_TEST_DEVICE_H
#define SPADE_TEST_DEVICE_H

#include <stdlib.h>

static inline const char *test_device(void)
{
    const char *name = getenv("SPADE_TEST_DEVICE");
    return name ? name : "cpu";
}

#endif
