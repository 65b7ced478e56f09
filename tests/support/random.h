/* random.h - a stream of random numbers that is the same in every run: Philox under a key of its own. */
#ifndef SPADE_TEST_OPS_RANDOM_H
#define SPADE_TEST_OPS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct random_stream {
    uint32_t key, counter;
} random_stream;
int64_t random_int(random_stream *random, int64_t low, int64_t high); /* in [low, high] */
bool random_bool(random_stream *random);
float random_float(random_stream *random); /* in [-1, 1) */
double random_unit(random_stream *random); /* in [0, 1), 53 bits */

#endif
