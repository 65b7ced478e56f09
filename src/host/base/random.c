/* random.c - Philox4x32-10 through Random123, uniform and normal doubles, content hash, clock. */
#include <math.h>
#include <time.h>

#include <Random123/philox.h>

#include "base/base.h"

void spade_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    philox4x32_ctr_t block = {{counter[0], counter[1], counter[2], counter[3]}};
    philox4x32_key_t words = {{key[0], key[1]}};
    philox4x32_ctr_t random = philox4x32_R(10, block, words);
    memcpy(out, random.v, 4 * sizeof *out);
}

double spade_uniform(uint32_t high, uint32_t low)
{
    uint64_t bits = ((uint64_t)high << 32 | low) >> 11;
    return (double)bits * 0x1p-53;
}

void spade_normal(const uint32_t key[2], const uint32_t counter[4], double out[2])
{
    uint32_t random[4];
    spade_philox(key, counter, random);
    double radius = sqrt(-2.0 * log(1.0 - spade_uniform(random[0], random[1]))); /* 1 - u is in (0, 1] */
    double angle = 2.0 * 3.14159265358979323846 * spade_uniform(random[2], random[3]);
    out[0] = radius * cos(angle);
    out[1] = radius * sin(angle);
}

uint64_t spade_hash(const void *bytes, size_t size, uint64_t seed)
{
    const uint8_t *p = bytes;
    uint64_t hash = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < size; i++) { hash = (hash ^ p[i]) * 0x100000001b3u; }
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdu;
    hash ^= hash >> 33;
    return hash;
}

double spade_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
