/* text.c - see text.h. */
#include "base/text.h"

#include <stdint.h>
#include <string.h>

/* Length of the valid UTF-8 sequence at `text`, or 0. */
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

static uint32_t code_point(const unsigned char *text, int length)
{
    uint32_t code = length == 1 ? text[0] : text[0] & (0x7fu >> length);
    for (int i = 1; i < length; i++) { code = code << 6 | (text[i] & 0x3f); }
    return code;
}

static bool is_printable(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } others[] = {
        {0, 0x1f},        /* C0 */
        {0x7f, 0x9f},     /* DEL, C1 */
        {0x61c, 0x61c},   /* Arabic letter mark */
        {0x200e, 0x200f}, /* left-to-right and right-to-left mark */
        {0x2028, 0x202e}, /* line and paragraph separator; embedding and overriding a direction */
        {0x2066, 0x2069}, /* isolating a direction */
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (code >= others[i].first && code <= others[i].last) { return false; }
    }
    return true;
}

int spade_character(const char *text, bool *printable)
{
    const unsigned char *bytes = (const unsigned char *)text;
    const int length = sequence_length(bytes);
    *printable = length && is_printable(code_point(bytes, length));
    return length ? length : 1;
}

void spade_make_printable(char *text)
{
    char *to = text;
    while (*text) {
        bool printable;
        const int length = spade_character(text, &printable);
        if (printable) {
            memmove(to, text, (size_t)length);
            to += length;
        } else {
            *to++ = '?';
        }
        text += length;
    }
    *to = 0;
}

bool spade_is_utf8(const char *text)
{
    for (int length; *text; text += length) {
        length = sequence_length((const unsigned char *)text);
        if (!length) { return false; }
    }
    return true;
}

char *spade_utf8(const char *text)
{
    char *copy = strdup(text);
    for (char *at = copy; at && *at;) {
        const int length = sequence_length((const unsigned char *)at);
        if (!length) { *at = '?'; }
        at += length ? length : 1;
    }
    return copy;
}
