#include "support/targets.h"

enum { MAX_TARGETS = 64 };

const spade_target *targets_of(const int64_t *classes, int n)
{
    static _Thread_local spade_target targets[MAX_TARGETS];
    for (int i = 0; i < n && i < MAX_TARGETS; i++) { targets[i] = (spade_target){.class_index = classes[i]}; }
    return targets;
}
