/* format.c - formats by their first bytes. */
#include <string.h>

#include "picture/format.h"

typedef struct signature {
    spade_picture_format format;
    size_t offset; /* of the second text; the first stands at the beginning */
    const char *first;
    size_t first_size;
    const char *second;
    size_t second_size;
} signature;

#define BEGINS(name, codec, text)                                                                                      \
    {                                                                                                                  \
        {name, codec}, 0, text, sizeof(text) - 1, NULL, 0                                                              \
    }
#define HOLDS(name, codec, text, offset, more)                                                                         \
    {                                                                                                                  \
        {name, codec}, offset, text, sizeof(text) - 1, more, sizeof(more) - 1                                          \
    }
static const signature signatures[] = {
    BEGINS("PNG", SPADE_CODEC_PNG, "\x89PNG\r\n\x1a\n"),
    BEGINS("JPEG", SPADE_CODEC_JPEG, "\xff\xd8\xff"),
    HOLDS("WebP", SPADE_CODEC_WEBP, "RIFF", 8, "WEBP"),
    BEGINS("GIF", SPADE_CODEC_NONE, "GIF8"),
    BEGINS("TIFF", SPADE_CODEC_NONE, "II*\0"),
    BEGINS("TIFF", SPADE_CODEC_NONE, "MM\0*"),
    BEGINS("TIFF", SPADE_CODEC_NONE, "II+\0"),
    BEGINS("TIFF", SPADE_CODEC_NONE, "MM\0+"),
    HOLDS("AVIF", SPADE_CODEC_NONE, "", 4, "ftypavi"),
    HOLDS("HEIF", SPADE_CODEC_NONE, "", 4, "ftyphe"),
    HOLDS("HEIF", SPADE_CODEC_NONE, "", 4, "ftypmif1"),
    BEGINS("JPEG XL", SPADE_CODEC_NONE, "\xff\x0a"),
    BEGINS("JPEG XL", SPADE_CODEC_NONE, "\0\0\0\x0cJXL "),
    BEGINS("JPEG 2000", SPADE_CODEC_NONE, "\0\0\0\x0cjP  "),
    BEGINS("JPEG 2000", SPADE_CODEC_NONE, "\xff\x4f\xff\x51"),
    BEGINS("Photoshop (PSD)", SPADE_CODEC_NONE, "8BPS"),
    BEGINS("Windows icon", SPADE_CODEC_NONE, "\0\0\1\0"),
    BEGINS("OpenEXR", SPADE_CODEC_NONE, "\x76\x2f\x31\x01"),
    BEGINS("DDS", SPADE_CODEC_NONE, "DDS "),
    BEGINS("QOI", SPADE_CODEC_NONE, "qoif"),
    BEGINS("PAM", SPADE_CODEC_NONE, "P7\n"),
    BEGINS("PFM", SPADE_CODEC_NONE, "PF\n"),
    BEGINS("PDF", SPADE_CODEC_NONE, "%PDF-"),
};

static bool holds(const uint8_t *bytes, size_t size, size_t offset, const char *text, size_t length)
{
    return size >= offset + length && memcmp(bytes + offset, text, length) == 0;
}

/* Text may begin with BM as well: a size that a header can have follows the file's header of 14 bytes. */
static bool is_bmp(const uint8_t *bytes, size_t size)
{
    static const uint8_t sizes[] = {12, 16, 40, 52, 56, 64, 108, 124};
    if (size < 18 || memcmp(bytes, "BM", 2) != 0) { return false; }
    return memchr(sizes, bytes[14], sizeof sizes) && !bytes[15] && !bytes[16] && !bytes[17];
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* P1 to P6, white space, and then a number, a comment or more white space. */
static bool is_pnm(const uint8_t *bytes, size_t size)
{
    if (size < 3 || bytes[0] != 'P' || bytes[1] < '1' || bytes[1] > '6') { return false; }
    if (bytes[2] == '#' || size < 4) { return bytes[2] == '#' || is_space(bytes[2]); }
    return is_space(bytes[2]) && (is_space(bytes[3]) || bytes[3] == '#' || (bytes[3] >= '0' && bytes[3] <= '9'));
}

const spade_picture_format *spade_picture_format_of(const uint8_t *bytes, size_t size)
{
    static const spade_picture_format bmp = {"BMP", SPADE_CODEC_BMP}, pnm = {"PNM", SPADE_CODEC_PNM};
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const signature *s = &signatures[i];
        if (holds(bytes, size, 0, s->first, s->first_size) &&
            (!s->second || holds(bytes, size, s->offset, s->second, s->second_size))) {
            return &s->format;
        }
    }
    if (is_bmp(bytes, size)) { return &bmp; }
    return is_pnm(bytes, size) ? &pnm : NULL;
}
