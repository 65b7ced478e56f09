/* choices.c - what settings of methods and of metrics have in common: lists of texts, NAME[:OPTION=VALUE]... */
#include "config/settings.h"

spade_status spade_choices_set(spade_context *context, const char *kind, spade_choice_check check, char *const *values,
                               int count, spade_names *list)
{
    spade_names texts = {0};
    spade_status status = SPADE_OK;
    if (!count) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_ARGUMENT, "no %s is given", kind)); }
    for (int i = 0; i < count; i++) {
        if (spade_names_contain(&texts, values[i])) { continue; }
        SPADE_GOTO(check(context, values[i]));
        if (!spade_names_add(&texts, values[i])) {
            SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"));
        }
    }
    spade_names_clear(list);
    *list = texts;
    return SPADE_OK;
done:
    spade_names_clear(&texts);
    return status;
}

spade_status spade_choice_describe(spade_context *context, const char *text, const char *name, int number,
                                   char **options, char **label)
{
    const char *colon = strchr(text, ':');
    int length = number == 1 ? asprintf(label, "%s", name) : asprintf(label, "%s_%d", name, number);
    if (length < 0) { *label = NULL; }
    *options = colon ? strdup(colon + 1) : NULL;
    if (*label && (*options || !colon)) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory");
}
