/* check_verdict.h - whether a map follows what the network has learned (spade/check.h), in words. */
#ifndef SPADE_BASE_CHECK_VERDICT_H
#define SPADE_BASE_CHECK_VERDICT_H

#include "base/json.h"

/* "follows what the network has learned: ...", of a map's record with its "verdict". */
enum { CHECK_VERDICT_TEXT = 200 };
const char *check_verdict_text(const json_t *map, char text[CHECK_VERDICT_TEXT]);

#endif
