/*
 * map_decode.c - see map_decode.h. Only what a store holds is read: .npy as annotate writes it, PNG of 8 bits in grey or RGB without
 * interlacing. The bytes agree with the checksums of their record, and are checked all the same: a store may come from anywhere.
 */
#include "store/map_decode.h"

#include <math.h>
#include <zlib.h>

enum { MAX_SIDE = 65535 };
static const int64_t max_values = (int64_t)1 << 28;

static spade_status fail(spade_context *context, const char *name, const char *what)
{
    return spade_fail(context, SPADE_ERROR_INPUT, "%s: %s", name, what);
}

static spade_status make(spade_context *context, const char *name, spade_stored_map *out)
{
    int64_t count;
    const int64_t *shape = out->shape;
    if (!spade_mul_dims(shape, 3, &count) || shape[0] < 1 || shape[1] < 1 || shape[2] < 1 || count > max_values) {
        return fail(context, name, "no map: its shape is not [C, h, w], or too large");
    }
    out->data = malloc(sizeof *out->data * (size_t)count);
    return out->data ? SPADE_OK : spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", name);
}

/* ---- .npy */

static float from_half(uint16_t half)
{
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return (float)(half & 0x8000 ? -size : size);
}

static spade_status decode_npy(spade_context *context, const char *name, const uint8_t *bytes, size_t size,
                               double scale, spade_stored_map *out)
{
    long long c, h, w;
    char header[513] = "";
    const size_t length = size >= 10 ? (size_t)bytes[8] | (size_t)bytes[9] << 8 : 0, at = 10 + length;
    if (bytes[6] != 1 || !length || length >= sizeof header || at > size) {
        return fail(context, name, "no .npy file of format 1.0");
    }
    memcpy(header, bytes + 10, length);
    const bool half = strstr(header, "'descr': '<f2'") != NULL;
    const char *shape = strstr(header, "'shape': (");
    if ((!half && !strstr(header, "'descr': '<f4'")) || !strstr(header, "'fortran_order': False") || !shape ||
        sscanf(shape, "'shape': (%lld, %lld, %lld)", &c, &h, &w) != 3) {
        return fail(context, name, "no .npy file of float32 or float16 [C, h, w]");
    }
    out->shape[0] = c, out->shape[1] = h, out->shape[2] = w;
    SPADE_TRY(make(context, name, out));
    const size_t count = (size_t)(c * h * w), width = half ? 2 : 4;
    if (size - at != count * width) { return fail(context, name, "not as long as its shape asks"); }
    for (size_t i = 0; i < count; i++) {
        const uint8_t *number = bytes + at + i * width;
        if (half) {
            out->data[i] = (float)(from_half((uint16_t)(number[0] | number[1] << 8)) * scale);
        } else {
            memcpy(&out->data[i], number, sizeof(float));
        }
        if (!isfinite(out->data[i])) { return fail(context, name, "a number that is not finite"); }
    }
    return SPADE_OK;
}

/* ---- PNG */

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint8_t paeth(uint8_t left, uint8_t up, uint8_t corner)
{
    const int a = abs(up - corner), b = abs(left - corner), c = abs(left + up - 2 * corner);
    return a <= b && a <= c ? left : b <= c ? up : corner;
}

/* Undo a row's filter in place. above NULL: the first row. */
static bool unfilter(uint8_t kind, uint8_t *row, const uint8_t *above, size_t size, size_t channels)
{
    for (size_t i = 0; i < size; i++) {
        const uint8_t left = i >= channels ? row[i - channels] : 0, up = above ? above[i] : 0,
                      corner = above && i >= channels ? above[i - channels] : 0;
        const uint8_t guesses[] = {0, left, up, (uint8_t)((left + up) / 2), paeth(left, up, corner)};
        if (kind >= sizeof guesses) { return false; }
        row[i] = (uint8_t)(row[i] + guesses[kind]);
    }
    return true;
}

/* Scanlines [h, 1 + C * w] of all chunks with pixels; false: they are not as long. */
static bool inflate_rows(const uint8_t *bytes, size_t size, uint8_t *rows, size_t rows_size)
{
    z_stream stream = {.next_out = rows, .avail_out = (uInt)rows_size};
    int code = Z_OK;
    if (inflateInit(&stream) != Z_OK) { return false; }
    for (size_t at = 8; code == Z_OK && at + 12 <= size;) {
        const size_t length = get32(bytes + at);
        if (length > size - at - 12) { break; }
        if (memcmp(bytes + at + 4, "IDAT", 4) == 0) {
            stream.next_in = (Bytef *)(uintptr_t)(bytes + at + 8);
            stream.avail_in = (uInt)length;
            code = inflate(&stream, Z_NO_FLUSH);
        }
        at += length + 12;
    }
    (void)inflateEnd(&stream);
    return code == Z_STREAM_END && stream.total_out == rows_size;
}

static bool take_rows(uint8_t *rows, const spade_stored_map *out, double scale, int zero)
{
    const size_t channels = (size_t)out->shape[0], width = (size_t)out->shape[2], line = width * channels + 1;
    const size_t pixels = (size_t)out->shape[1] * width;
    for (size_t y = 0; y < (size_t)out->shape[1]; y++) {
        uint8_t *row = rows + y * line;
        if (!unfilter(row[0], row + 1, y ? row + 1 - line : NULL, line - 1, channels)) { return false; }
        for (size_t x = 0; x < width * channels; x++) {
            out->data[x % channels * pixels + y * width + x / channels] = (float)((row[1 + x] - zero) * scale);
        }
    }
    return true;
}

static spade_status decode_png(spade_context *context, const char *name, const uint8_t *bytes, size_t size,
                               double scale, int zero, spade_stored_map *out)
{
    if (size < 8 + 25 || memcmp(bytes + 12, "IHDR", 4) != 0 || bytes[24] != 8 || (bytes[25] != 0 && bytes[25] != 2) ||
        bytes[28] || get32(bytes + 16) > MAX_SIDE || get32(bytes + 20) > MAX_SIDE) {
        return fail(context, name, "no PNG of 8 bits, grey or RGB");
    }
    out->shape[0] = bytes[25] ? 3 : 1;
    out->shape[1] = get32(bytes + 20);
    out->shape[2] = get32(bytes + 16);
    SPADE_TRY(make(context, name, out));
    const size_t rows_size = (size_t)(out->shape[1] * (out->shape[0] * out->shape[2] + 1));
    uint8_t *rows = malloc(rows_size);
    if (!rows) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", name); }
    const bool whole = inflate_rows(bytes, size, rows, rows_size) && take_rows(rows, out, scale, zero);
    free(rows);
    return whole ? SPADE_OK : fail(context, name, "damaged: a PNG whose pixels are not there");
}

spade_status spade_stored_map_decode(spade_context *context, const char *name, const uint8_t *bytes, size_t size,
                                     double scale, int zero, spade_stored_map *out)
{
    spade_status status;
    *out = (spade_stored_map){0};
    if (size > 10 && memcmp(bytes, "\x93NUMPY", 6) == 0) {
        status = decode_npy(context, name, bytes, size, scale, out);
    } else if (size > 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) {
        status = decode_png(context, name, bytes, size, scale, zero, out);
    } else {
        status = fail(context, name, "neither .npy nor PNG");
    }
    if (status != SPADE_OK) {
        free(out->data);
        *out = (spade_stored_map){0};
    }
    return status;
}
