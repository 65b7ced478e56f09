/* target_text.h - what a map explains, in the words of every message and report. */
#ifndef SPADE_BASE_TARGET_TEXT_H
#define SPADE_BASE_TARGET_TEXT_H

#include "spade/attribution.h"

enum { SPADE_TARGET_TEXT = 512 };
/* "class 3 (cat)", "class 3 (cat) against class 5 (dog)"; long names are cut. name, against: of the classes; NULL, and a name that
 * only says the number, as class_name() gives it: there is none. Returns text. */
const char *spade_target_text(const spade_target *target, const char *name, const char *against,
                              char text[SPADE_TARGET_TEXT]);

#endif
