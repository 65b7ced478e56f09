/* webp.c - WebP, lossy and lossless, through libwebp. */
#include <stdlib.h>
#include <string.h>
#include <webp/decode.h>

#include "picture/decoder/decoder.h"

/* RIFF, its size, WEBP, and then chunks of even sizes. */
static void check_webp(file_bytes file, decoded *out)
{
    *out = (decoded){0};
    if (file.size < 20) { decoder_fail("WebP is truncated"); }
    const uint64_t end = (uint64_t)little32(file.data + 4) + 8;
    if (end > file.size) { decoder_fail("WebP is truncated"); }
    for (uint64_t at = 12; at + 8 <= end;) {
        const uint8_t *chunk = file.data + at, *body = chunk + 8;
        const uint64_t length = little32(chunk + 4);
        if (length > end - at - 8) { decoder_fail("WebP is truncated"); }
        if (memcmp(chunk, "EXIF", 4) == 0) {
            const size_t skip = length >= 6 && memcmp(body, "Exif\0\0", 6) == 0 ? 6 : 0;
            out->flags = decoder_orientation(body + skip, (size_t)length - skip);
        }
        at += 8 + length + (length & 1);
    }
}

decoded decode_webp(file_bytes file, bool alpha)
{
    decoded out;
    WebPDecoderConfig config;
    check_webp(file, &out);
    if (!WebPInitDecoderConfig(&config)) { decoder_fail("libwebp is of another version than its header"); }
    if (WebPGetFeatures(file.data, file.size, &config.input) != VP8_STATUS_OK) { decoder_fail("WebP is corrupt"); }
    if (config.input.has_animation) { decoder_fail("animated WebP is not supported; save one of its pictures as PNG"); }
    if (config.input.format != 2) { out.flags |= FLAG_INEXACT; } /* 2: lossless */
    out.width = (uint32_t)config.input.width;
    out.height = (uint32_t)config.input.height;
    decoder_check_size(out.width, out.height);
    const bool with_alpha = alpha && config.input.has_alpha;
    out.channels = with_alpha ? 4 : 3;
    out.pixels = decoder_pixels(out.width, out.height, out.channels);
    const size_t row = (size_t)out.width * (size_t)out.channels;
    config.output.colorspace = with_alpha ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA = (WebPRGBABuffer){.rgba = out.pixels, .stride = (int)row, .size = row * out.height};
    const VP8StatusCode code = WebPDecode(file.data, file.size, &config);
    if (code == VP8_STATUS_OUT_OF_MEMORY) { decoder_fail("out of memory"); }
    if (code != VP8_STATUS_OK) { decoder_fail("WebP is corrupt"); }
    return out;
}
