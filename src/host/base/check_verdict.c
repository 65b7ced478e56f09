/* check_verdict.c - see check_verdict.h. */
#include "base/check_verdict.h"

#include <stdio.h>

const char *check_verdict_text(const json_t *map, char text[CHECK_VERDICT_TEXT])
{
    const json_t *verdict = json_object_get(map, "verdict"), *follows = json_object_get(verdict, "follows");
    const double level = spade_json_real_at(verdict, "level"), correlation = spade_json_real_at(verdict, "correlation");
    if (json_is_boolean(follows)) {
        const bool does = json_is_true(follows);
        snprintf(text, CHECK_VERDICT_TEXT,
                 "%s what the network has learned: with all layers random its correlation is %s%.2f (%s %.2f)",
                 does ? "follows" : "does not follow", does ? "" : "still ", correlation, does ? "below" : "not below",
                 level);
    } else {
        snprintf(text, CHECK_VERDICT_TEXT,
                 "cannot be compared: it, or the one with all layers random, is the same everywhere or not finite");
    }
    return text;
}
