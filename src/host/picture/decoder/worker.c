/*
 * worker.c - spade-decode: one picture file in (fd 0, or a path), one block of RGB out (fd 1). --mask: as a mask, black and
 * white (mask.c). --alpha: and its alpha channel, if it has one.
 *
 * A process of its own, because what decodes files from anywhere may crash, hang or be taken over: that is this file's error
 * and nobody else's. What libraries accept without a word (half a file, wrong checksums) is checked before they see it,
 * memory is limited by what the header says, time by RLIMIT_CPU, and the rest by sandbox.c.
 *
 * Out: "SPD2", then width, height, flags (uint32, native order), the fingerprint of the bytes that were decoded (XXH3-128, its
 * low and its high half, uint64), then height * width * 3 bytes, and with FLAG_ALPHA height * width more. A fingerprint made by
 * who reads the file a second time could be that of other bytes.
 * On failure: exit status 1 and the reason, one line, on fd 2.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "picture/decoder/decoder.h"
#include "picture/format.h"

enum { MAX_FILE = 256 << 20 };

__attribute__((noreturn)) void decoder_fail(const char *format, ...)
{
    char reason[200];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    const size_t size = length < 0 ? 0 : (size_t)length < sizeof reason ? (size_t)length : sizeof reason - 1;
    const ssize_t written = write(2, reason, size);
    (void)written;
    _exit(1);
}

void decoder_check_size(uint64_t width, uint64_t height)
{
    const unsigned long long w = width, h = height;
    if (width == 0 || height == 0) { decoder_fail("the picture has no pixels"); }
    if (width > MAX_SIDE || height > MAX_SIDE) {
        decoder_fail("%llu x %llu pixels, the limit is %d a side", w, h, MAX_SIDE);
    }
    if (width * height > MAX_PIXELS) {
        decoder_fail("%llu x %llu pixels, the limit is %d megapixels", w, h, MAX_PIXELS / 1000000);
    }
}

uint8_t *decoder_pixels(uint32_t width, uint32_t height, int channels)
{
    uint8_t *pixels = calloc((size_t)width * height, (size_t)channels);
    if (!pixels) { decoder_fail("out of memory"); }
    return pixels;
}

static file_bytes read_all(int fd)
{
    size_t capacity = 1 << 16, size = 0;
    uint8_t *data = malloc(capacity);
    while (data) {
        const ssize_t n = read(fd, data + size, capacity - size);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0) { decoder_fail("%s", strerror(errno)); }
        if (n == 0) { return (file_bytes){data, size}; }
        size += (size_t)n;
        if (size > MAX_FILE) { decoder_fail("the file is larger than 256 MiB"); }
        if (size == capacity) {
            uint8_t *grown = realloc(data, capacity *= 2);
            if (!grown) { free(data); }
            data = grown;
        }
    }
    decoder_fail("out of memory");
}

static decoded decode(file_bytes file, bool mask, bool alpha)
{
    if (file.size == 0) { decoder_fail("empty file"); }
    const spade_picture_format *format = spade_picture_format_of(file.data, file.size);
    if (!format) { decoder_fail("not a picture (" SPADE_DECODED_FORMATS ")"); }
    switch (format->codec) {
    case SPADE_CODEC_PNG: return decode_png(file, mask || alpha);
    case SPADE_CODEC_JPEG: return decode_jpeg(file);
    case SPADE_CODEC_WEBP: return decode_webp(file, mask || alpha);
    case SPADE_CODEC_BMP: return decode_bmp(file, alpha);
    case SPADE_CODEC_PNM: return decode_pnm(file);
    case SPADE_CODEC_NONE: break;
    }
    decoder_fail("%s is not supported; save the picture as " SPADE_DECODED_FORMATS, format->name);
}

static void write_all(const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    while (size > 0) {
        const ssize_t n = write(1, p, size);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0) { _exit(1); } /* the reader is gone */
        p += n;
        size -= (size_t)n;
    }
}

/* Grey is repeated, alpha dropped. */
static void write_rgb(const decoded *picture)
{
    const size_t channels = (size_t)picture->channels, width = picture->width;
    if (channels == 3) {
        write_all(picture->pixels, width * picture->height * 3);
        return;
    }
    const uint32_t rows = picture->height < 64 ? picture->height : 64; /* at once */
    uint8_t *rgb = decoder_pixels(picture->width, rows, 3);
    for (uint32_t y = 0; y < picture->height; y += rows) {
        const size_t pixels = width * (picture->height - y < rows ? picture->height - y : rows);
        for (size_t i = 0; i < pixels; i++) {
            const uint8_t *at = picture->pixels + (width * y + i) * channels;
            rgb[3 * i] = at[0];
            rgb[3 * i + 1] = at[channels < 3 ? 0 : 1];
            rgb[3 * i + 2] = at[channels < 3 ? 0 : 2];
        }
        write_all(rgb, pixels * 3);
    }
    free(rgb);
}

static void write_alpha(const decoded *picture)
{
    const size_t channels = (size_t)picture->channels, pixels = (size_t)picture->width * picture->height;
    for (size_t i = 0; i < pixels; i++) { picture->pixels[i] = picture->pixels[i * channels + channels - 1]; }
    write_all(picture->pixels, pixels);
}

int main(int argc, char **argv)
{
    const bool mask = argc > 1 && strcmp(argv[1], "--mask") == 0, alpha = argc > 1 && strcmp(argv[1], "--alpha") == 0;
    const char *path = argc > 1 + (mask || alpha) ? argv[1 + (mask || alpha)] : NULL;
    if (path) {
        close(0);
        const int opened = open(path, O_RDONLY | O_CLOEXEC); /* 0: the lowest number that is free */
        if (opened != 0) { decoder_fail("%s", strerror(errno)); }
    }
    decoder_enter_sandbox();
    const file_bytes file = read_all(0);
    const XXH128_hash_t hash = XXH3_128bits(file.data, file.size); /* before decoding, which may write into them */
    const uint64_t fingerprint[2] = {hash.low64, hash.high64};
    decoded picture = decode(file, mask, alpha);
    if (mask) { decoder_make_mask(&picture); }
    if (alpha && picture.channels % 2 == 0) { picture.flags |= FLAG_ALPHA; }
    const uint32_t head[3] = {picture.width, picture.height, picture.flags};
    write_all("SPD2", 4);
    write_all(head, sizeof head);
    write_all(fingerprint, sizeof fingerprint);
    write_rgb(&picture);
    if (picture.flags & FLAG_ALPHA) { write_alpha(&picture); }
    _exit(0); /* memory goes with the process */
}
