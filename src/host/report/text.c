/* text.c - UTF-8, HTML, base64. */
#include <stdlib.h>
#include <string.h>

#include "report/text.h"

/* Length of the valid UTF-8 sequence at `text` (RFC 3629: no overlong forms, no surrogates, nothing over U+10FFFF), or
 * 0. */
static int sequence_length(const unsigned char *text)
{
    unsigned char a = text[0];
    if (a < 0x80) { return 1; }
    int length = a >= 0xc2 && a <= 0xdf ? 2 : a >= 0xe0 && a <= 0xef ? 3 : a >= 0xf0 && a <= 0xf4 ? 4 : 0;
    for (int i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) { return 0; }
    }
    if ((a == 0xe0 && text[1] < 0xa0) || (a == 0xed && text[1] > 0x9f) || (a == 0xf0 && text[1] < 0x90) ||
        (a == 0xf4 && text[1] > 0x8f)) {
        return 0;
    }
    return length;
}

char *spade_utf8(const char *text)
{
    char *copy = strdup(text);
    if (!copy) { return NULL; }
    for (unsigned char *at = (unsigned char *)copy; *at;) {
        int length = sequence_length(at);
        if (!length) { *at = '?'; }
        at += length ? length : 1;
    }
    return copy;
}

json_t *spade_json_text(const char *text)
{
    char *clean = spade_utf8(text);
    json_t *value = clean ? json_string(clean) : json_null();
    free(clean);
    return value;
}

void spade_html_text(FILE *file, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        int length = sequence_length(at);
        switch (length ? *at : 0) {
        case '&': fputs("&amp;", file); break;
        case '<': fputs("&lt;", file); break;
        case '>': fputs("&gt;", file); break;
        case '"': fputs("&quot;", file); break;
        case '\'': fputs("&#39;", file); break;
        default:
            if (!length || *at < 0x20 || *at == 0x7f) {
                fputc('?', file);
            } else {
                fwrite(at, 1, (size_t)length, file);
            }
        }
        at += length ? length : 1;
    }
}

void spade_base64(FILE *file, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t group =
            (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
        fputc(digits[group >> 18], file);
        fputc(digits[group >> 12 & 63], file);
        fputc(left > 1 ? digits[group >> 6 & 63] : '=', file);
        fputc(left > 2 ? digits[group & 63] : '=', file);
    }
}
