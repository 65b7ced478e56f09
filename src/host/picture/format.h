/* format.h - which format a picture's file has, by its first bytes: for the decoder, and for what a folder holds. */
#ifndef SPADE_PICTURE_FORMAT_H
#define SPADE_PICTURE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum spade_codec {
    SPADE_CODEC_NONE, /* the format is known by name only */
    SPADE_CODEC_PNG,
    SPADE_CODEC_JPEG,
    SPADE_CODEC_WEBP,
    SPADE_CODEC_BMP,
    SPADE_CODEC_PNM
} spade_codec;

typedef struct spade_picture_format {
    const char *name; /* "TIFF" */
    spade_codec codec;
} spade_picture_format;

/* What can be decoded, for messages. */
#define SPADE_DECODED_FORMATS "PNG, JPEG, WebP, BMP or PNM"
enum { SPADE_FORMAT_BYTES = 20 }; /* of the file's beginning that are looked at */

/* NULL: none that is known here. */
const spade_picture_format *spade_picture_format_of(const uint8_t *bytes, size_t size);

#endif
