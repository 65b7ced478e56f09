/*
 * png.c - PNG, through libpng.
 *
 * As Pillow's convert("RGB"): 16 bits lose their lower byte, 16-bit grey is clipped at 255; gamma, colour profiles and the
 * background are not applied. Chunks and their checksums are checked before libpng sees them.
 */
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "picture/decoder/decoder.h"

static void check_png(file_bytes file, decoded *out)
{
    bool data_seen = false;
    *out = (decoded){0};
    for (size_t at = 8;;) {
        if (file.size - at < 12) { decoder_fail("PNG is truncated"); }
        const size_t length = big32(file.data + at);
        const uint8_t *type = file.data + at + 4, *body = type + 4;
        if (length > file.size - at - 12) { decoder_fail("PNG is truncated"); }
        if (crc32(0, type, (uInt)length + 4) != big32(body + length)) {
            decoder_fail("PNG is corrupt: wrong checksum");
        }
        if (at == 8) {
            if (memcmp(type, "IHDR", 4) != 0 || length != 13) {
                decoder_fail("PNG is corrupt: it does not begin with IHDR");
            }
            out->width = big32(body);
            out->height = big32(body + 4);
            decoder_check_size(out->width, out->height);
        } else if (memcmp(type, "IDAT", 4) == 0) {
            data_seen = true;
        } else if (memcmp(type, "eXIf", 4) == 0) {
            out->flags |= decoder_orientation(body, length);
        } else if (memcmp(type, "IEND", 4) == 0) {
            break;
        }
        at += length + 12;
    }
    if (!data_seen) { decoder_fail("PNG has no picture data"); }
}

/* ---- libpng's calls back */
static void on_error(png_structp png, png_const_charp message)
{
    (void)png;
    decoder_fail("PNG is corrupt: %s", message);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void on_read(png_structp png, png_bytep out, size_t size)
{
    file_bytes *left = png_get_io_ptr(png);
    if (size > left->size) { decoder_fail("PNG is truncated"); }
    memcpy(out, left->data, size);
    left->data += size;
    left->size -= size;
}

/* ---- pixels */

/* Colours of a palette; where it is short, black, as in Pillow. Alpha is 255 where the file says nothing. */
static void expand_palette(png_structp png, png_infop info, bool alpha, decoded *out)
{
    uint8_t table[256][4] = {{0}};
    png_colorp colours = NULL;
    png_bytep transparent = NULL;
    png_color_16p key = NULL;
    int colour_count = 0, transparent_count = 0;
    png_get_PLTE(png, info, &colours, &colour_count);
    if (alpha) { png_get_tRNS(png, info, &transparent, &transparent_count, &key); }
    for (int i = 0; i < 256; i++) {
        if (i < colour_count) { memcpy(table[i], (uint8_t[]){colours[i].red, colours[i].green, colours[i].blue}, 3); }
        table[i][3] = i < transparent_count ? transparent[i] : 255;
    }
    const size_t pixels = (size_t)out->width * out->height;
    const int channels = transparent_count ? 4 : 3;
    uint8_t *expanded = decoder_pixels(out->width, out->height, channels);
    for (size_t i = 0; i < pixels; i++) {
        memcpy(expanded + i * (size_t)channels, table[out->pixels[i]], (size_t)channels);
    }
    free(out->pixels);
    out->pixels = expanded;
    out->channels = channels;
}

/* 16-bit grey, most significant byte first, to 8 bits. */
static void clip_grey(decoded *out)
{
    const size_t pixels = (size_t)out->width * out->height;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *sample = out->pixels + 2 * i;
        out->pixels[i] = sample[0] ? 255 : sample[1];
    }
    out->channels = 1;
    out->flags |= FLAG_GREY_CLIPPED;
}

static png_structp open_png(file_bytes *left)
{
    /* what is not used, and costs time and memory to read */
    static const png_byte ignored[] =
        "bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0sRGB\0tEXt\0tIME\0zTXt";
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, on_error, on_warning);
    if (!png) { decoder_fail("out of memory"); }
    png_set_read_fn(png, left, on_read);
    png_set_user_limits(png, MAX_SIDE, MAX_SIDE);
    png_set_crc_action(png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE); /* they were checked */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, ignored, sizeof ignored / 5);
    return png;
}

decoded decode_png(file_bytes file, bool alpha)
{
    decoded out;
    file_bytes left = file;
    check_png(file, &out);
    png_structp png = open_png(&left);
    png_infop info = png_create_info_struct(png);
    if (!info) { decoder_fail("out of memory"); }
    png_read_info(png, info);
    const int depth = png_get_bit_depth(png, info), type = png_get_color_type(png, info);
    const bool clipped = depth == 16 && type == PNG_COLOR_TYPE_GRAY, palette = type == PNG_COLOR_TYPE_PALETTE;
    const bool key = alpha && !palette && !clipped && png_get_valid(png, info, PNG_INFO_tRNS);
    if (palette) { png_set_packing(png); }
    if (type == PNG_COLOR_TYPE_GRAY && depth < 8) { png_set_expand_gray_1_2_4_to_8(png); }
    if (depth == 16 && !clipped) { png_set_strip_16(png); }
    if (key) { png_set_tRNS_to_alpha(png); }
    if (!alpha && (type & PNG_COLOR_MASK_ALPHA)) { png_set_strip_alpha(png); }
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    out.channels = png_get_channels(png, info);
    const int bytes = clipped ? 2 : out.channels; /* of a pixel */
    if (png_get_rowbytes(png, info) != (size_t)out.width * (size_t)bytes) { decoder_fail("PNG is corrupt: row size"); }
    out.pixels = decoder_pixels(out.width, out.height, bytes);
    png_bytep *rows = malloc(out.height * sizeof *rows);
    if (!rows) { decoder_fail("out of memory"); }
    for (size_t y = 0; y < out.height; y++) { rows[y] = out.pixels + y * out.width * (size_t)bytes; }
    png_read_image(png, rows);
    if (palette) { expand_palette(png, info, alpha, &out); }
    if (clipped) { clip_grey(&out); }
    out.flags |= depth == 16 ? FLAG_INEXACT : 0;
    free(rows);
    png_destroy_read_struct(&png, &info, NULL);
    return out;
}
