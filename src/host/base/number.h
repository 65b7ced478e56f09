/*
 * number.h - texts of values: a whole text as a decimal number, nothing before or after it ("0,5", "0.5x", "nan", "inf",
 * "0x10", " 1" and "" are refused), independent of the locale; a word of a list.
 * False: it is none, or too large. And numbers in texts of ours.
 */
#ifndef SPADE_BASE_NUMBER_H
#define SPADE_BASE_NUMBER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool spade_parse_number(const char *text, double *out);
bool spade_parse_integer(const char *text, int64_t *out);
/* An integer > 0, with an optional suffix K, M or G (powers of 1024). */
bool spade_parse_bytes(const char *text, uint64_t *out);

/*
 * strtod, snprintf and vsnprintf in which a number has a point: in a host program that called setlocale() the library's own
 * follow that locale (0,5). The command calls it nowhere: what only the command writes goes without these.
 */
double spade_read_real(const char *text);
int spade_print(char *buffer, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int spade_print_list(char *buffer, size_t size, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));
/*
 * A number of a table, beside a mean of this size: with `places` behind the point, or where they would hide it or say nothing (a
 * mean below 0.01, or from 10,000 on) with `digits` of it. sign: a plus where it is above 0. What rounds to 0 has no sign.
 */
int spade_print_beside(char *buffer, size_t size, double value, double mean, int places, int digits, bool sign);

/*
 * Which of the words "fp32|fp64" the text is, from 0 on; -1: none of them. A word that had another name in earlier
 * versions is known by that name, too.
 */
int spade_word_number(const char *words, const char *text);

#endif
