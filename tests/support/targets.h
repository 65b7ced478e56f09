/* targets.h - classes as what spade_attribute() explains. */
#ifndef SPADE_TESTS_TARGETS_H
#define SPADE_TESTS_TARGETS_H

#include "spade/attribution.h"

/* Each class by itself: [n], at most 64; good until the next call. */
const spade_target *targets_of(const int64_t *classes, int n);

#endif
