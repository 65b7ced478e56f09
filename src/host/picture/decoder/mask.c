/*
 * mask.c - what a picture means as a mask.
 *
 *   - an alpha channel that is not the same everywhere is the mask, by the rule for greys
 *   - black and one other colour, whatever it is: the other one is inside (values of 0 and 1, a class of a palette); the
 *     border of Pascal VOC, (224, 224, 192), is no class and outside
 *   - greys: above 127 is inside
 *   - anything else is refused: which of several colours is meant, nobody said
 */
#include <stdlib.h>
#include <string.h>

#include "picture/decoder/decoder.h"

enum { GREYISH = 32 }; /* how far the channels of a grey may lie apart: JPEG changes them */

typedef struct colours {
    uint32_t other; /* the first one that is not black */
    bool black;     /* there is black */
    bool several;   /* there are more than `other` besides black */
    bool colourful; /* some are no greys */
} colours;

static bool is_voc_border(const uint8_t *rgb)
{
    return rgb[0] == 224 && rgb[1] == 224 && rgb[2] == 192;
}

static uint32_t colour_of(const uint8_t *rgb)
{
    return (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];
}

static bool is_grey(const uint8_t *rgb)
{
    const int high = rgb[0] > rgb[1] ? (rgb[0] > rgb[2] ? rgb[0] : rgb[2]) : (rgb[1] > rgb[2] ? rgb[1] : rgb[2]);
    const int low = rgb[0] < rgb[1] ? (rgb[0] < rgb[2] ? rgb[0] : rgb[2]) : (rgb[1] < rgb[2] ? rgb[1] : rgb[2]);
    return high - low <= GREYISH;
}

/* Pillow's convert("L"). */
static uint8_t luma(const uint8_t *rgb)
{
    return (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

/* The channel `from` of `channels`, alone. */
static void keep_channel(decoded *picture, int from)
{
    const size_t pixels = (size_t)picture->width * picture->height, channels = (size_t)picture->channels;
    for (size_t i = 0; i < pixels; i++) { picture->pixels[i] = picture->pixels[i * channels + (size_t)from]; }
    picture->channels = 1;
}

static bool alpha_varies(const decoded *picture)
{
    const size_t pixels = (size_t)picture->width * picture->height, channels = (size_t)picture->channels;
    const uint8_t *alpha = picture->pixels + channels - 1;
    for (size_t i = 1; i < pixels; i++) {
        if (alpha[i * channels] != *alpha) { return true; }
    }
    return false;
}

static colours find_colours(const decoded *picture)
{
    const size_t pixels = (size_t)picture->width * picture->height, channels = (size_t)picture->channels;
    colours found = {0};
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *at = picture->pixels + i * channels;
        const uint8_t rgb[3] = {at[0], at[channels == 1 ? 0 : 1], at[channels == 1 ? 0 : 2]};
        const uint32_t colour = colour_of(rgb);
        if (is_voc_border(rgb)) { continue; }
        found.colourful = found.colourful || !is_grey(rgb);
        found.black = found.black || !colour;
        found.several = found.several || (colour && found.other && colour != found.other);
        found.other = found.other ? found.other : colour;
    }
    return found;
}

/* Black and one colour. */
static void split_by_colour(decoded *picture, uint32_t inside)
{
    const size_t pixels = (size_t)picture->width * picture->height, channels = (size_t)picture->channels;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *at = picture->pixels + i * channels;
        const uint8_t rgb[3] = {at[0], at[channels == 1 ? 0 : 1], at[channels == 1 ? 0 : 2]};
        picture->pixels[i] = colour_of(rgb) == inside ? 255 : 0;
    }
    picture->channels = 1;
}

static void split_by_grey(decoded *picture)
{
    const size_t pixels = (size_t)picture->width * picture->height, channels = (size_t)picture->channels;
    size_t dark = 0, bright = 0; /* neither black nor inside; inside */
    int largest = 0;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *at = picture->pixels + i * channels;
        const uint8_t grey = channels == 1 ? *at : luma(at);
        bright += grey > 127;
        dark += grey > 0 && grey <= 127;
        largest = grey > largest ? grey : largest;
        picture->pixels[i] = grey > 127 ? 255 : 0;
    }
    picture->channels = 1;
    if (dark && !bright) {
        decoder_fail("no pixel of the mask is above 127 (the largest is %d); masks are black and white", largest);
    }
    if (dark > bright) { picture->flags |= FLAG_MASK_GREYS; }
}

void decoder_make_mask(decoded *picture)
{
    if (picture->channels % 2 == 0) { /* with alpha */
        if (alpha_varies(picture)) {
            keep_channel(picture, picture->channels - 1);
        } else if (picture->channels == 2) {
            keep_channel(picture, 0);
        }
    }
    const colours found = find_colours(picture);
    if (found.black && !found.several) {
        split_by_colour(picture, found.other ? found.other : UINT32_MAX); /* nothing but black: nothing is inside */
    } else if (found.colourful) {
        decoder_fail("the mask has several colours, and nothing says which is inside; masks are black and white");
    } else {
        split_by_grey(picture);
    }
}
