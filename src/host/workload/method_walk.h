/* method_walk.h - methods whose maps are made of one walk through the network. Private to workload/. */
#ifndef SPADE_WORKLOAD_METHOD_WALK_H
#define SPADE_WORKLOAD_METHOD_WALK_H

#include "config/settings.h"

/*
 * Method `first`, and those behind it that share its walk (spade_attributions_share()) and are not taken yet: their numbers, of which
 * it returns how many, 1 to SPADE_MAX_TOGETHER. taken [count]: they are from now on. Methods that share with the same one need not
 * share with each other, so each is asked.
 */
int method_walk_take(const spade_method_choice *methods, int count, int first, bool *taken,
                     int members[SPADE_MAX_TOGETHER]);

#endif
