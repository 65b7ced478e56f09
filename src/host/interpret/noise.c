/* noise.c - normal numbers from Philox by the Box-Muller transform, in double. */
#include <math.h>

#include "interpret/methods.h"

static const double pi = 3.14159265358979323846;

void interpret_normal(uint64_t key, uint32_t sample, int64_t n, double *out)
{
    uint32_t words[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    for (int64_t i = 0; i < n; i += 2) {
        uint64_t block = (uint64_t)i / 2;
        uint32_t counter[4] = {sample, (uint32_t)block, (uint32_t)(block >> 32), 0};
        uint32_t random[4];
        spade_philox(words, counter, random);
        double radius = sqrt(-2 * log(1 - spade_uniform(random[0], random[1]))); /* 1 - u is in (0, 1] */
        double angle = 2 * pi * spade_uniform(random[2], random[3]);
        out[i] = radius * cos(angle);
        if (i + 1 < n) { out[i + 1] = radius * sin(angle); }
    }
}
