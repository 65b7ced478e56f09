/* pnm.c - PNM (P1 to P6), as Pillow 9.4 reads it. */
#include <math.h>

#include "picture/decoder/decoder.h"

static bool is_space(int c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_space(file_bytes file, size_t *at)
{
    while (*at < file.size) {
        if (file.data[*at] == '#') {
            while (*at < file.size && file.data[*at] != '\n' && file.data[*at] != '\r') { (*at)++; }
        } else if (is_space(file.data[*at])) {
            (*at)++;
        } else {
            return;
        }
    }
}

/* A decimal number, at most `digits` long. */
static uint32_t pnm_number(file_bytes file, size_t *at, int digits)
{
    skip_space(file, at);
    uint64_t value = 0;
    int n = 0;
    while (*at < file.size && file.data[*at] >= '0' && file.data[*at] <= '9') {
        if (++n > digits) { decoder_fail("PNM is corrupt: a number is too long"); }
        value = value * 10 + (uint64_t)(file.data[(*at)++] - '0');
    }
    if (n == 0) { decoder_fail(*at >= file.size ? "PNM is truncated" : "PNM is corrupt: number expected"); }
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static uint32_t pnm_sample(file_bytes file, size_t *at, char kind, uint32_t largest)
{
    if (kind == '1') {
        skip_space(file, at);
        if (*at >= file.size) { decoder_fail("PNM is truncated"); }
        uint8_t c = file.data[(*at)++];
        if (c != '0' && c != '1') { decoder_fail("PNM is corrupt: 0 or 1 expected"); }
        return c == '0';
    }
    if (kind <= '3') {
        uint32_t value = pnm_number(file, at, 5);
        if (value > largest) { decoder_fail("PNM is corrupt: a sample is above the largest value"); }
        return value;
    }
    uint32_t value = file.data[(*at)++];
    if (largest > 255) { value = value << 8 | file.data[(*at)++]; }
    return value < largest ? value : largest;
}

/* Grey above 8 bits is stretched to 16 bits and then clipped at 255, everything else is stretched to 8 bits: as Pillow
 * does. */
static uint8_t pnm_to_byte(uint32_t value, uint32_t largest, bool grey)
{
    if (largest == 255) { return (uint8_t)value; }
    double full = grey && largest > 255 ? 65535.0 : 255.0;
    double scaled = rint((double)value / (double)largest * full);
    return scaled > 255.0 ? 255 : (uint8_t)scaled;
}

decoded decode_pnm(file_bytes file)
{
    const char kind = (char)file.data[1];
    const bool bitmap = kind == '1' || kind == '4', grey = kind != '3' && kind != '6';
    size_t at = 2;
    decoded out = {.channels = grey ? 1 : 3};
    out.width = pnm_number(file, &at, 10);
    out.height = pnm_number(file, &at, 10);
    const uint32_t largest = bitmap ? 1 : pnm_number(file, &at, 10);
    decoder_check_size(out.width, out.height);
    if (largest == 0 || largest > 65535) { decoder_fail("PNM is corrupt: the largest value must be 1 to 65535"); }
    if (at >= file.size || !is_space(file.data[at])) { decoder_fail("PNM is truncated"); }
    at++;
    const size_t samples = (size_t)out.width * (size_t)out.channels;
    const size_t row_bytes = kind == '4' ? ((size_t)out.width + 7) / 8 : samples * (largest > 255 ? 2 : 1);
    if (kind >= '4' && row_bytes * out.height > file.size - at) { decoder_fail("PNM is truncated"); }
    if (grey && largest > 255) { out.flags |= FLAG_GREY_CLIPPED; }
    if (largest > 255) { out.flags |= FLAG_INEXACT; }
    out.pixels = decoder_pixels(out.width, out.height, out.channels);
    for (size_t y = 0; y < out.height; y++) {
        uint8_t *row = out.pixels + y * samples;
        for (size_t i = 0; i < samples; i++) {
            if (kind == '4') {
                row[i] = file.data[at + i / 8] >> (7 - i % 8) & 1 ? 0 : 255;
            } else {
                row[i] = pnm_to_byte(pnm_sample(file, &at, kind, largest), largest, grey);
            }
        }
        if (kind == '4') { at += row_bytes; }
    }
    return out;
}
