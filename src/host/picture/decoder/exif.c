/* exif.c - one number of EXIF (2.32). */
#include <string.h>

#include "picture/decoder/decoder.h"

uint32_t decoder_orientation(const uint8_t *tiff, size_t size)
{
    if (size < 8 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0)) { return 0; }
    bool big = tiff[0] == 'M';
    uint32_t at = big ? big32(tiff + 4) : little32(tiff + 4);
    if (at > size || size - at < 2) { return 0; }
    uint32_t entries = big ? big16(tiff + at) : little16(tiff + at);
    for (uint32_t i = 0; i < entries && (size_t)at + 2 + 12 * ((size_t)i + 1) <= size; i++) {
        const uint8_t *entry = tiff + at + 2 + 12 * (size_t)i;
        uint32_t tag = big ? big16(entry) : little16(entry);
        if (tag == 0x0112) {
            uint32_t value = big ? big16(entry + 8) : little16(entry + 8);
            return value >= 2 && value <= 8 ? value << ORIENTATION_SHIFT : 0;
        }
    }
    return 0;
}
