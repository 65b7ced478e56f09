/* text.h - text from outside made fit for JSON and HTML. */
#ifndef SPADE_REPORT_TEXT_H
#define SPADE_REPORT_TEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A copy in which every byte that is not valid UTF-8 is '?'. malloc'ed; NULL when out of memory. */
char *spade_utf8(const char *text);
/* A JSON string of it; null when out of memory. */
json_t *spade_json_text(const char *text);
/* Write with & < > " ' escaped and invalid bytes and control characters replaced: safe as HTML text and in a quoted
 * attribute. */
void spade_html_text(FILE *file, const char *text);
/* Write bytes as base64 (RFC 4648, padded). */
void spade_base64(FILE *file, const uint8_t *bytes, size_t size);

#endif
