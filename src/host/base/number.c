/* number.c - numbers as people write them, strictly, and words. */
#include "base/number.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- whatever the locale */

/* The locale of the language itself, a constant of the C library: nothing is allocated, and nothing has to be freed. */
static locale_t plain_locale(void)
{
    return newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

double spade_read_real(const char *text)
{
    return strtod_l(text, NULL, plain_locale());
}

int spade_print_list(char *buffer, size_t size, const char *format, va_list arguments)
{
    const locale_t before = uselocale(plain_locale()); /* of this thread only */
    const int length = vsnprintf(buffer, size, format, arguments);
    uselocale(before);
    return length;
}

int spade_print(char *buffer, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int length = spade_print_list(buffer, size, format, arguments);
    va_end(arguments);
    return length;
}

int spade_print_beside(char *buffer, size_t size, double value, double mean, int places, int digits, bool sign)
{
    const double magnitude = fabs(mean);
    if (magnitude >= 0.01 && magnitude < 1e4) {
        const bool zero = fabs(value) < 0.5 * pow(10, -places);
        return spade_print(buffer, size, sign && !zero ? "%+.*f" : "%.*f", places, zero ? 0 : value);
    }
    return spade_print(buffer, size, sign ? "%+.*g" : "%.*g", digits, value);
}

/* ---- numbers */

static const char *skip_digits(const char *text)
{
    while (*text >= '0' && *text <= '9') { text++; }
    return text;
}

bool spade_parse_integer(const char *text, int64_t *out)
{
    const char *digits = text + (*text == '-' || *text == '+');
    const char *end = skip_digits(digits);
    if (end == digits || *end) { return false; }
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno) { return false; }
    *out = value;
    return true;
}

bool spade_parse_number(const char *text, double *out)
{
    const char *at = text + (*text == '-' || *text == '+');
    const char *whole = skip_digits(at);
    bool any = whole != at;
    at = whole;
    if (*at == '.') {
        const char *fraction = skip_digits(at + 1);
        any = any || fraction != at + 1;
        at = fraction;
    }
    if (!any) { return false; }
    if (*at == 'e' || *at == 'E') {
        const char *exponent = at + 1 + (at[1] == '-' || at[1] == '+');
        at = skip_digits(exponent);
        if (at == exponent) { return false; }
    }
    if (*at) { return false; }
    double value = spade_read_real(text);
    if (!isfinite(value)) { return false; }
    *out = value;
    return true;
}

bool spade_parse_bytes(const char *text, uint64_t *out)
{
    const char *end = skip_digits(text);
    if (end == text) { return false; }
    unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    if (end[shift ? 1 : 0]) { return false; }
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno || value == 0 || value > (UINT64_MAX >> shift)) { return false; }
    *out = (uint64_t)value << shift;
    return true;
}

/* ---- words */

static int find_word(const char *words, const char *text)
{
    int number = 0;
    for (const char *word = words; word; word = strchr(word, '|'), number++) {
        word += *word == '|';
        const size_t length = strcspn(word, "|");
        if (strlen(text) == length && memcmp(text, word, length) == 0) { return number; }
    }
    return -1;
}

int spade_word_number(const char *words, const char *text)
{
    static const struct {
        const char *before, *now;
    } renamed[] = {{"softmax", "scores"}};
    int number = find_word(words, text);
    for (size_t i = 0; number < 0 && i < sizeof renamed / sizeof *renamed; i++) {
        if (strcmp(text, renamed[i].before) == 0) { number = find_word(words, renamed[i].now); }
    }
    return number;
}
