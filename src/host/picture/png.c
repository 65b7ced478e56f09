/* png.c - a small PNG writer: 8-bit grey or RGB, filters chosen per row by the least sum of absolute differences, zlib.
 */
#include <zlib.h>

#include "base/base.h"
#include "spade/picture.h"

enum { MAX_SIDE = 65535, FILTERS = 5 };

static void put32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 24);
    p[1] = (uint8_t)(value >> 16);
    p[2] = (uint8_t)(value >> 8);
    p[3] = (uint8_t)value;
}

/* Append a chunk at p; its body may already be in place. Returns the end. */
static uint8_t *put_chunk(uint8_t *p, const char *type, const void *body, size_t size)
{
    put32(p, (uint32_t)size);
    memcpy(p + 4, type, 4);
    if (size > 0 && body != p + 8) { memcpy(p + 8, body, size); }
    put32(p + 8 + size, (uint32_t)crc32(crc32(0, NULL, 0), p + 4, (uInt)(size + 4)));
    return p + 12 + size;
}

static uint8_t paeth(uint8_t left, uint8_t up, uint8_t corner)
{
    int a = abs(up - corner), b = abs(left - corner), c = abs(left + up - 2 * corner);
    return a <= b && a <= c ? left : b <= c ? up : corner;
}

/* One row through one filter -> sum of absolute values of the result as signed bytes. above: the row before, zeros for
 * the first. */
static uint64_t filter_row(int kind, const uint8_t *row, const uint8_t *above, size_t size, size_t channels,
                           uint8_t *out)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t left = i >= channels ? row[i - channels] : 0;
        uint8_t corner = i >= channels ? above[i - channels] : 0;
        uint8_t guess = 0;
        switch (kind) {
        case 1: guess = left; break;
        case 2: guess = above[i]; break;
        case 3: guess = (uint8_t)((left + above[i]) / 2); break;
        case 4: guess = paeth(left, above[i], corner); break;
        default: break;
        }
        out[i] = (uint8_t)(row[i] - guess);
        sum += (uint64_t)abs((int8_t)out[i]);
    }
    return sum;
}

/* pixels [height, row bytes] -> scanlines [height, 1 + row bytes]. scratch: 2 rows, the first of them zeros. */
static void filter_rows(const uint8_t *pixels, size_t height, size_t row_bytes, size_t channels, uint8_t *scratch,
                        uint8_t *out)
{
    const uint8_t *above = scratch;
    uint8_t *candidate = scratch + row_bytes;
    for (size_t y = 0; y < height; y++) {
        const uint8_t *row = pixels + y * row_bytes;
        uint8_t *line = out + y * (row_bytes + 1);
        uint64_t best = UINT64_MAX;
        for (int kind = 0; kind < FILTERS; kind++) {
            uint64_t sum = filter_row(kind, row, above, row_bytes, channels, candidate);
            if (sum >= best) { continue; }
            best = sum;
            line[0] = (uint8_t)kind;
            memcpy(line + 1, candidate, row_bytes);
        }
        above = row;
    }
}

spade_status spade_png_encode(spade_context *context, const uint8_t *pixels, int64_t height, int64_t width,
                              int channels, uint8_t **bytes, size_t *size)
{
    *bytes = NULL;
    *size = 0;
    size_t lines_size = 0;
    if (height < 1 || width < 1 || height > MAX_SIDE || width > MAX_SIDE || (channels != 1 && channels != 3) ||
        !spade_mul_size((size_t)height, (size_t)width * (size_t)channels + 1, &lines_size) ||
        lines_size > (size_t)1 << 30) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "a PNG of %lld x %lld pixels and %d channels cannot be written", (long long)width,
                          (long long)height, channels);
    }
    size_t row_bytes = (size_t)width * (size_t)channels;
    uLong bound = compressBound((uLong)lines_size);
    uint8_t *lines = malloc(lines_size), *scratch = calloc(2, row_bytes), *png = malloc(8 + 25 + 12 + bound + 12);
    spade_status status = SPADE_OK;
    if (!lines || !scratch || !png) {
        status = spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a PNG of %lld x %lld pixels", (long long)width,
                            (long long)height);
        goto done;
    }
    filter_rows(pixels, (size_t)height, row_bytes, (size_t)channels, scratch, lines);
    uint8_t head[13] = {[8] = 8, [9] = channels == 3 ? 2 : 0};
    put32(head, (uint32_t)width);
    put32(head + 4, (uint32_t)height);
    memcpy(png, "\x89PNG\r\n\x1a\n", 8);
    uint8_t *at = put_chunk(png + 8, "IHDR", head, sizeof head);
    if (compress2(at + 8, &bound, lines, (uLong)lines_size, 6) != Z_OK) {
        status = spade_fail(context, SPADE_ERROR_INTERNAL, "zlib could not compress a PNG");
        goto done;
    }
    at = put_chunk(at, "IDAT", at + 8, bound);
    at = put_chunk(at, "IEND", NULL, 0);
    *size = (size_t)(at - png);
    *bytes = png;
    png = NULL;
done:
    free(lines);
    free(scratch);
    free(png);
    return status;
}

spade_status spade_png_save(spade_context *context, const char *path, const uint8_t *pixels, int64_t height,
                            int64_t width, int channels)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    spade_status status = spade_png_encode(context, pixels, height, width, channels, &bytes, &size);
    if (status != SPADE_OK) { return spade_fail_in(context, status, "%s", path); }
    status = spade_write_file(context, path, bytes, size);
    free(bytes);
    return status;
}
