/* bmp.c - BMP, through stb_image, which does not look whether the rows are there: what the header says is checked first. */
#include <stdlib.h>
#include <string.h>

#include "picture/decoder/decoder.h"

/* ---- counted allocation: stb asks for memory as the file says, this says no. One picture a process, so one counter.
 */
static size_t allocated, allocation_limit;

typedef union block_head {
    size_t size;
    max_align_t align;
} block_head;

static void *counted_malloc(size_t size)
{
    if (size > allocation_limit - allocated) { return NULL; }
    block_head *head = calloc(1, sizeof *head + size); /* zeroed: no pixel may depend on old memory */
    if (!head) { return NULL; }
    head->size = size;
    allocated += size;
    return head + 1;
}

static void counted_free(void *pointer)
{
    if (!pointer) { return; }
    block_head *head = (block_head *)pointer - 1;
    allocated -= head->size;
    free(head);
}

#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS MAX_SIDE
#define STBI_MALLOC(size) counted_malloc(size)
#define STBI_REALLOC(pointer, size) NULL /* not for BMP */
#define STBI_FREE(pointer) counted_free(pointer)
#include <stb_image.h>

/* Where the masks of red, green and blue are, of 4 bytes each: behind a header of 40 bytes, or in a larger one. */
enum { MASKS = 54 };

static void check_bmp(file_bytes file, decoded *out)
{
    if (file.size < 26) { decoder_fail("BMP is truncated"); }
    uint64_t offset = little32(file.data + 10);
    uint32_t info = little32(file.data + 14);
    uint64_t width, height;
    uint32_t bits, compression = 0;
    if (info == 12) {
        width = little16(file.data + 18);
        height = little16(file.data + 20);
        bits = little16(file.data + 24);
    } else {
        if (info != 40 && info != 52 && info != 56 && info != 108 && info != 124) {
            decoder_fail("BMP is corrupt or of an unknown version");
        }
        if (file.size < 14 + (size_t)info) { decoder_fail("BMP is truncated"); }
        width = little32(file.data + 18);
        int64_t signed_height = (int32_t)little32(file.data + 22); /* negative: rows from the top */
        height = (uint64_t)(signed_height < 0 ? -signed_height : signed_height);
        bits = little16(file.data + 28);
        compression = little32(file.data + 30);
    }
    decoder_check_size(width, height);
    if (compression != 0 && compression != 3) { decoder_fail("compressed BMP is not supported"); }
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) {
        decoder_fail("BMP is corrupt: bits");
    }
    if (compression == 3 && info == 40 && offset < MASKS + 12) { decoder_fail("BMP is corrupt: masks"); }
    uint64_t row = (width * bits + 31) / 32 * 4;
    if (offset < 14 + (uint64_t)info || offset > file.size ||
        row * (height - 1) + (width * bits + 7) / 8 > file.size - offset) {
        decoder_fail("BMP is truncated");
    }
    *out = (decoded){.width = (uint32_t)width, .height = (uint32_t)height};
}

/* Many programs write 32 bits and mean no alpha: it is 0 everywhere, of which stb makes 255, or 255. */
static bool is_opaque(const decoded *picture)
{
    const size_t pixels = (size_t)picture->width * picture->height;
    for (size_t i = 0; i < pixels; i++) {
        if (picture->pixels[4 * i + 3] != 255) { return false; }
    }
    return true;
}

/* Of 16 bits a pixel stb makes 8 a channel by repeating the upper bits; Pillow truncates v * 255 / 31 (/ 63 of six bits). */
static void round_as_pillow(file_bytes file, decoded *picture)
{
    enum { BITS = 28, COMPRESSION = 30 };
    const size_t pixels = (size_t)picture->width * picture->height;
    if (little32(file.data + 14) == 12 || little16(file.data + BITS) != 16) { return; }
    const bool masked = little32(file.data + COMPRESSION) == 3;
    for (int c = 0; c < 3; c++) {
        const int bits = masked ? __builtin_popcount(little32(file.data + MASKS + 4 * c)) : 5;
        const int most = (1 << bits) - 1;
        for (size_t i = 0; bits > 0 && bits < 8 && i < pixels; i++) {
            uint8_t *value = &picture->pixels[(size_t)picture->channels * i + (size_t)c];
            *value = (uint8_t)((*value >> (8 - bits)) * 255 / most);
        }
    }
}

/* stb looks for the masks of a header of 52 or 56 bytes behind it; they are in it, as in one of 108 bytes, which it becomes. */
static file_bytes with_long_header(file_bytes file)
{
    enum { LONG = 108 };
    const size_t info = little32(file.data + 14), begin = 14 + info, more = LONG - info;
    if (info != 52 && info != 56) { return file; }
    const uint64_t offset = little32(file.data + 10) + (uint64_t)more;
    uint8_t *bytes = offset <= UINT32_MAX ? calloc(1, file.size + more) : NULL;
    if (!bytes) { decoder_fail("BMP cannot be decoded (out of memory)"); }
    memcpy(bytes, file.data, begin);
    memcpy(bytes + begin + more, file.data + begin, file.size - begin);
    for (int i = 0; i < 4; i++) { bytes[10 + i] = (uint8_t)(offset >> 8 * i); }
    bytes[14] = LONG;
    return (file_bytes){bytes, file.size + more};
}

decoded decode_bmp(file_bytes file, bool alpha)
{
    decoded out;
    int width = 0, height = 0;
    check_bmp(file, &out);
    file = with_long_header(file);
    allocation_limit = ((size_t)16 << 20) + 16 * (size_t)out.width * out.height;
    uint8_t *pixels = stbi_load_from_memory(file.data, (int)file.size, &width, &height, &out.channels, 0);
    if (!pixels || (uint32_t)width != out.width || (uint32_t)height != out.height) {
        const char *why = pixels ? "sizes disagree" : stbi_failure_reason();
        decoder_fail("BMP cannot be decoded (%s)", why ? why : "out of memory");
    }
    const size_t bytes = (size_t)out.width * out.height * (size_t)out.channels;
    out.pixels = decoder_pixels(out.width, out.height, out.channels);
    memcpy(out.pixels, pixels, bytes);
    counted_free(pixels);
    round_as_pillow(file, &out);
    if (alpha && out.channels == 4 && is_opaque(&out)) {
        for (size_t i = 0; i < bytes / 4; i++) { memmove(out.pixels + 3 * i, out.pixels + 4 * i, 3); }
        out.channels = 3;
    }
    return out;
}
