/* text.h - text from outside made fit for HTML. */
#ifndef SPADE_REPORT_TEXT_H
#define SPADE_REPORT_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Write with & < > " ' escaped and invalid bytes and control characters replaced: safe as HTML text and in a quoted
 * attribute. */
void spade_html_text(FILE *file, const char *text);
/* Write bytes as base64 (RFC 4648, padded). */
void spade_base64(FILE *file, const uint8_t *bytes, size_t size);

#endif
