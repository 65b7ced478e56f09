/* tar_mutator.c - mutations of tars of which most headers still have the right sum, and so are read. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

enum { BLOCK = 512, SUM = 148, SUM_BYTES = 8, MAGIC = 257 };

static void mend_sum(uint8_t *header)
{
    unsigned sum = 0;
    char text[SUM_BYTES];
    memset(header + SUM, ' ', SUM_BYTES);
    for (int i = 0; i < BLOCK; i++) { sum += header[i]; }
    snprintf(text, sizeof text, "%06o", sum);
    memcpy(header + SUM, text, SUM_BYTES - 1);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    size = LLVMFuzzerMutate(data, size, max_size);
    if (seed % 16 == 0) { return size; } /* wrong sums, too */
    for (size_t at = 0; at + BLOCK <= size; at += BLOCK) {
        if (memcmp(data + at + MAGIC, "ustar", 5) == 0) { mend_sum(data + at); }
    }
    return size;
}
