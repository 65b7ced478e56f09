/* method_walk.c - see method_walk.h. */
#include "workload/method_walk.h"

int method_walk_take(const spade_method_choice *methods, int count, int first, bool *taken,
                     int members[SPADE_MAX_TOGETHER])
{
    int n = 0;
    for (int other = first; other < count && n < SPADE_MAX_TOGETHER; other++) {
        const bool shares =
            other == first || spade_attributions_share(methods[first].attribution, methods[other].attribution);
        if (taken[other] || !shares) { continue; }
        taken[other] = true;
        members[n++] = other;
    }
    return n;
}
