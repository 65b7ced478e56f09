/*
 * png_mutator.c - how libFuzzer changes pictures: its own way, after which the checksums of a PNG's chunks are made right again, but
 * now and then. The decoder refuses a chunk whose checksum is wrong before it looks at what is in it.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

enum { SIGNATURE = 8, FRAME = 12 }; /* bytes; of a chunk: length, type and checksum */

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static void set_checksums(uint8_t *data, size_t size)
{
    for (size_t at = SIGNATURE; size >= FRAME && at <= size - FRAME;) {
        uint8_t *chunk = data + at;
        const size_t length = (size_t)chunk[0] << 24 | (size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 | chunk[3];
        if (length > size - FRAME - at) { return; }
        const uLong sum = crc32(0, chunk + 4, (uInt)length + 4);
        for (int i = 0; i < 4; i++) { chunk[8 + length + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i)); }
        at += FRAME + length;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    enum { NOW_AND_THEN = 16 };
    size = LLVMFuzzerMutate(data, size, max_size);
    if (seed % NOW_AND_THEN && size > SIGNATURE && memcmp(data, "\x89PNG\r\n\x1a\n", SIGNATURE) == 0) {
        set_checksums(data, size);
    }
    return size;
}
