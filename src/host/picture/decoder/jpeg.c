/*
 * jpeg.c - JPEG, through libjpeg-turbo with its defaults, as Pillow uses it.
 *
 * libjpeg fills what is missing with grey and goes on after damage: a file without an end marker is refused before it is
 * asked, damage inside is told (FLAG_DAMAGED).
 */
#include <stdio.h> /* jpeglib.h needs it */
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "picture/decoder/decoder.h"

enum { MAX_SCANS = 256 }; /* each one of a progressive picture goes over all its coefficients */

/* ---- markers from SOI to EOI */
static size_t skip_scan(file_bytes file, size_t at)
{
    while (at + 1 < file.size) {
        const uint8_t next = file.data[at + 1];
        if (file.data[at] != 0xff || next == 0 || (next >= 0xd0 && next <= 0xd7)) {
            at++;
        } else if (next == 0xff) {
            at++; /* fill byte */
        } else {
            return at;
        }
    }
    decoder_fail("JPEG is truncated");
}

static bool is_frame_header(uint8_t marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static void check_frame(uint8_t marker, const uint8_t *body, size_t length, decoded *out)
{
    if (length < 6) { decoder_fail("JPEG is corrupt: frame header"); }
    if (marker > 0xc2 && marker != 0xc9 && marker != 0xca) {
        decoder_fail("JPEG of a kind that is not supported (only baseline and progressive are)");
    }
    out->height = big16(body + 1);
    out->width = big16(body + 3);
    decoder_check_size(out->width, out->height);
    if (body[5] != 1 && body[5] != 3 && body[5] != 4) {
        decoder_fail("JPEG of %d components is not supported (1, 3 and 4 are)", body[5]);
    }
}

/* Tables of Huffman codes: a class and a number, how many codes there are of 1 to 16 bits, and a byte for each code. */
static void check_huffman(const uint8_t *body, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t codes = 0;
        if (length - at < 17) { decoder_fail("JPEG is corrupt: Huffman table"); }
        for (int bits = 1; bits <= 16; bits++) { codes += body[at + (size_t)bits]; }
        if (codes > 256 || codes > length - at - 17) { decoder_fail("JPEG is corrupt: Huffman table"); }
        at += 17 + codes;
    }
}

static void check_jpeg(file_bytes file, decoded *out)
{
    int scans = 0;
    *out = (decoded){0};
    for (size_t at = 2;;) {
        while (at + 1 < file.size && file.data[at] == 0xff && file.data[at + 1] == 0xff) { at++; }
        if (file.size - at < 2) { decoder_fail("JPEG is truncated"); }
        if (file.data[at] != 0xff) { decoder_fail("JPEG is corrupt: marker expected"); }
        const uint8_t marker = file.data[at + 1];
        if (marker == 0xd9) { break; }
        at += 2;
        if (file.size - at < 2) { decoder_fail("JPEG is truncated"); }
        const size_t length = big16(file.data + at);
        const uint8_t *body = file.data + at + 2;
        if (length < 2) { decoder_fail("JPEG is corrupt: segment length"); }
        if (length > file.size - at) { decoder_fail("JPEG is truncated"); }
        if (is_frame_header(marker)) {
            check_frame(marker, body, length - 2, out);
        } else if (marker == 0xc4) {
            check_huffman(body, length - 2);
        } else if (marker == 0xe1 && length > 8 && memcmp(body, "Exif\0\0", 6) == 0) {
            out->flags = decoder_orientation(body + 6, length - 8);
        }
        at += length;
        if (marker == 0xda) {
            if (++scans > MAX_SCANS) { decoder_fail("JPEG has more than %d scans", MAX_SCANS); }
            at = skip_scan(file, at);
        }
    }
    if (!scans || out->width == 0) { decoder_fail("JPEG has no picture data"); }
}

/* ---- libjpeg's calls back */
__attribute__((noreturn)) static void on_error(j_common_ptr jpeg)
{
    char message[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, message);
    decoder_fail("JPEG cannot be decoded: %s", message);
}

/* level -1: a warning. Pixels are wrong after some of them; the others are about what does not matter. */
static void on_message(j_common_ptr jpeg, int level)
{
    if (level >= 0) { return; }
    switch (jpeg->err->msg_code) {
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_JPEG_EOF:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_NOT_SEQUENTIAL: *(bool *)jpeg->client_data = true; break;
    default: break;
    }
}

/* Pillow's "CMYK;I" to RGB: the file holds 255 - ink, with an Adobe marker and without. */
static void cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++) {
        const int white = cmyk[4 * i + 3];
        for (size_t c = 0; c < 3; c++) {
            const int product = (255 - cmyk[4 * i + c]) * white + 128;
            rgb[3 * i + c] = (uint8_t)(white - ((product + (product >> 8)) >> 8));
        }
    }
}

decoded decode_jpeg(file_bytes file)
{
    decoded out;
    struct jpeg_error_mgr errors;
    struct jpeg_decompress_struct jpeg = {.err = jpeg_std_error(&errors)};
    bool damaged = false;
    errors.error_exit = on_error;
    errors.emit_message = on_message;
    check_jpeg(file, &out);
    jpeg_create_decompress(&jpeg);
    jpeg.client_data = &damaged;
    /* coefficients of a progressive picture: two bytes for each sample, at most four of them, sides rounded up */
    jpeg.mem->max_memory_to_use = (64L << 20) + 12L * out.width * out.height;
    jpeg_mem_src(&jpeg, file.data, (unsigned long)file.size);
    jpeg_read_header(&jpeg, TRUE);
    if (jpeg.image_width != out.width || jpeg.image_height != out.height) { decoder_fail("JPEG is corrupt: sizes"); }
    const bool inks = jpeg.num_components == 4;
    out.channels = jpeg.num_components == 1 ? 1 : 3;
    jpeg.out_color_space = inks ? JCS_CMYK : out.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&jpeg);
    out.pixels = decoder_pixels(out.width, out.height, out.channels);
    uint8_t *line = inks ? decoder_pixels(out.width, 1, 4) : NULL;
    while (jpeg.output_scanline < out.height) {
        uint8_t *row = out.pixels + (size_t)jpeg.output_scanline * out.width * (size_t)out.channels;
        JSAMPROW to = inks ? line : row;
        jpeg_read_scanlines(&jpeg, &to, 1);
        if (inks) { cmyk_to_rgb(line, row, out.width); }
    }
    free(line);
    jpeg_destroy_decompress(&jpeg);
    out.flags |= FLAG_INEXACT | (damaged ? FLAG_DAMAGED : 0);
    return out;
}
