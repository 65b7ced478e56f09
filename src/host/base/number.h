/*
 * number.h - a whole text as a decimal number, nothing before or after it: "0,5", "0.5x", "nan", "inf", "0x10", " 1"
 * and "" are refused. Independent of the locale. False: it is none, or too large.
 */
#ifndef SPADE_BASE_NUMBER_H
#define SPADE_BASE_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

bool spade_parse_number(const char *text, double *out);
bool spade_parse_integer(const char *text, int64_t *out);
/* An integer > 0, with an optional suffix K, M or G (powers of 1024). */
bool spade_parse_bytes(const char *text, uint64_t *out);

#endif
