/*
 * decoder.h - spade-decode, the program that decodes pictures: what its files share.
 *
 * One picture a process: whatever is wrong ends it by decoder_fail(), and what was taken goes with the process.
 */
#ifndef SPADE_PICTURE_DECODER_H
#define SPADE_PICTURE_DECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_SIDE = 16384 /* SPADE_MAX_SIDE */, MAX_PIXELS = 64 * 1000 * 1000 };

/* What is said of a picture besides its pixels; the last one is the first bit of EXIF's orientation (0: none). Inexact: the
 * numbers of its pixels are not those that were saved, which were more than 8 bits or compressed with loss. */
enum {
    FLAG_MASK_GREYS = 1,
    FLAG_GREY_CLIPPED = 2,
    FLAG_DAMAGED = 4,
    FLAG_INEXACT = 8,
    FLAG_ALPHA = 16, /* behind the colours of all pixels come their alphas */
    ORIENTATION_SHIFT = 8
};

typedef struct file_bytes {
    const uint8_t *data;
    size_t size;
} file_bytes;

/* 1: grey, 2: grey and alpha, 3: RGB, 4: RGB and alpha; 8 bits each, rows from the top. */
typedef struct decoded {
    uint32_t width, height, flags;
    int channels;
    uint8_t *pixels; /* malloc'ed */
} decoded;

/* Says why, and ends the process. */
__attribute__((noreturn, format(printf, 1, 2))) void decoder_fail(const char *format, ...);
/* Zeroed: no pixel may depend on old memory. Never NULL. */
uint8_t *decoder_pixels(uint32_t width, uint32_t height, int channels);
/* Of what a header says, before anything is taken for it. */
void decoder_check_size(uint64_t width, uint64_t height);

/* One per format. What the file says of itself (lengths, checksums, sizes, tables) is checked before a library sees it.
 * alpha: whether it is wanted, where there is one. */
decoded decode_png(file_bytes file, bool alpha);
decoded decode_jpeg(file_bytes file);
decoded decode_webp(file_bytes file, bool alpha);
decoded decode_bmp(file_bytes file, bool alpha);
decoded decode_pnm(file_bytes file);

/* To black (outside) and white (inside), in place: mask.c has the rules. */
void decoder_make_mask(decoded *picture);
/* The rotation or mirroring that EXIF's TIFF block asks for (tag 0x0112), as a flag: 2 to 8; 0: none. */
uint32_t decoder_orientation(const uint8_t *tiff, size_t size);

/* From here on: no new files, sockets or processes, no more privileges, limited time. */
void decoder_enter_sandbox(void);

static inline uint32_t big16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t big32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint32_t little16(const uint8_t *p)
{
    return (uint32_t)p[1] << 8 | p[0];
}

static inline uint32_t little32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

#endif
