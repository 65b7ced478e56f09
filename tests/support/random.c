/* random.c - see the header. */
#include "support/random.h"

#include "base/base.h"

static void next_block(random_stream *random, uint32_t out[4])
{
    const uint32_t key[2] = {random->key, 0x5bade}, counter[4] = {random->counter++, 0, 0, 0};
    spade_philox(key, counter, out);
}

static uint32_t next_word(random_stream *random)
{
    uint32_t words[4];
    next_block(random, words);
    return words[0];
}

int64_t random_int(random_stream *random, int64_t low, int64_t high)
{
    return low + (int64_t)(next_word(random) % (uint64_t)(high - low + 1));
}

bool random_bool(random_stream *random)
{
    return random_int(random, 0, 1);
}

float random_float(random_stream *random)
{
    return (float)next_word(random) / 2147483648.0f - 1.0f;
}

double random_unit(random_stream *random)
{
    uint32_t words[4];
    next_block(random, words);
    return spade_uniform(words[0], words[1]);
}
