/* options.c - a method with its options. */
#include "attribution/registry.h"
#include "base/caller_options.h"

static const spade_option_info common_options[] = {
    {.name = "output",
     .help = "what is explained: the class's logit, or the score that the network gives it",
     .type = SPADE_OPTION_WORD,
     .words = "logits|scores",
     .default_value = "logits"},
    {.name = "seed",
     .help = "of every random number",
     .type = SPADE_OPTION_INTEGER,
     .min = 0,
     .max = (double)INT64_MAX,
     .default_value = "0"},
};
static const size_t common_offsets[] = {offsetof(attribution_common, output), offsetof(attribution_common, seed)};
enum { COMMON_COUNT = sizeof common_options / sizeof *common_options };

const spade_option_info *spade_method_common_options(int *count)
{
    *count = COMMON_COUNT;
    return common_options;
}

static spade_status fail_in_method(spade_context *context, const spade_attribution *attribution, spade_status status)
{
    return status == SPADE_OK ? status : spade_fail_in(context, status, "%s", attribution->method->info.name);
}

/* ---- the methods inside */

/* The methods that the attribution's options say. */
static spade_status open_inner(spade_context *context, spade_attribution *attribution)
{
    const spade_option_group *own = &attribution->named.groups[0];
    for (int i = 0; i < own->count; i++) {
        if (own->infos[i].type != SPADE_OPTION_METHOD) { continue; }
        attribution_wrapped *inner = (void *)((char *)own->values + own->offsets[i]);
        spade_attribution *made;
        if (attribution_find(inner->text, strcspn(inner->text, ":")) == attribution->method) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s=%s: a method cannot be inside of itself",
                              own->infos[i].name, inner->text);
        }
        spade_status status = spade_attribution_create(context, inner->text, &made);
        if (status != SPADE_OK) { return spade_fail_in(context, status, "%s", own->infos[i].name); }
        spade_attribution_destroy(inner->attribution);
        inner->attribution = made;
    }
    return SPADE_OK;
}

static void close_inner(spade_attribution *attribution)
{
    const spade_option_group *own = &attribution->named.groups[0];
    for (int i = 0; i < own->count; i++) {
        if (own->infos[i].type != SPADE_OPTION_METHOD) { continue; }
        const attribution_wrapped *inner = (void *)((char *)own->values + own->offsets[i]);
        spade_attribution_destroy(inner->attribution);
    }
}

/* ---- options */

spade_status spade_attribution_set(spade_context *context, spade_attribution *attribution, const char *option,
                                   const char *value)
{
    spade_status status = spade_named_options_set(context, &attribution->named, option, value);
    if (status == SPADE_OK) { status = open_inner(context, attribution); }
    return fail_in_method(context, attribution, status);
}

spade_status spade_attribution_set_default(spade_context *context, spade_attribution *attribution, const char *option,
                                           const char *value)
{
    spade_status status = spade_named_options_set_default(context, &attribution->named, option, value);
    if (status == SPADE_OK) { status = open_inner(context, attribution); }
    return fail_in_method(context, attribution, status);
}

int spade_attribution_takes_default(const spade_attribution *attribution, const char *option)
{
    return spade_named_options_takes_default(&attribution->named, option);
}

spade_status spade_attribution_set_preprocess(spade_context *context, spade_attribution *attribution,
                                              const spade_preprocess *preprocess)
{
    spade_preprocess own;
    spade_preprocess_init(&own, 1, 1);
    SPADE_TRY(fail_in_method(context, attribution,
                             spade_caller_options_take(context, "spade_preprocess", preprocess, &own, sizeof own)));
    if (own.channels == 0) { own.channels = 3; } /* an older caller's */
    if (own.band_std == 0) { own.band_std = 1; }
    if (!attribution->preprocess) { attribution->preprocess = malloc(sizeof own); }
    if (!attribution->preprocess) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    *attribution->preprocess = own;
    return SPADE_OK;
}

spade_status attribution_create(spade_context *context, const attribution_method *method, const char *options,
                                spade_attribution **out)
{
    *out = NULL;
    spade_attribution *attribution = calloc(1, sizeof *attribution);
    void *own = calloc(1, method->options_bytes ? method->options_bytes : 1);
    if (!attribution || !own) {
        free(attribution);
        free(own);
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory");
    }
    attribution->method = method;
    attribution->options = own;
    attribution->named.groups[0] = (spade_option_group){.infos = method->info.options,
                                                        .offsets = method->option_offsets,
                                                        .count = method->info.option_count,
                                                        .values = own};
    attribution->named.groups[1] = (spade_option_group){
        .infos = common_options, .offsets = common_offsets, .count = COMMON_COUNT, .values = &attribution->common};
    spade_status status = spade_named_options_read(context, &attribution->named, options);
    if (status == SPADE_OK) { status = open_inner(context, attribution); }
    if (status != SPADE_OK) {
        status = fail_in_method(context, attribution, status);
        spade_attribution_destroy(attribution);
        return status;
    }
    *out = attribution;
    return SPADE_OK;
}

/* *index: of the file, and less those that were passed. */
static bool find_file(const spade_attribution *attribution, int *index, const char **option, const char **path)
{
    const spade_option_group *own = &attribution->named.groups[0];
    for (int i = 0; i < own->count; i++) {
        const void *value = (const char *)own->values + own->offsets[i];
        *option = own->infos[i].name;
        *path = NULL;
        switch (own->infos[i].type) {
        case SPADE_OPTION_FILE: *path = *(char *const *)value; break;
        case SPADE_OPTION_BASELINE: *path = ((const spade_baseline_option *)value)->path; break;
        case SPADE_OPTION_METHOD:
            if (find_file(((const attribution_wrapped *)value)->attribution, index, option, path)) { return true; }
            *path = NULL;
            break;
        default: break;
        }
        if (*path && (*index)-- == 0) { return true; }
    }
    return false;
}

bool spade_attribution_file(const spade_attribution *attribution, int index, const char **option, const char **path)
{
    return find_file(attribution, &index, option, path);
}

static const char *name_at(int index)
{
    const spade_method_info *info = spade_method_at(index);
    return info ? info->name : NULL;
}

spade_status spade_attribution_create(spade_context *context, const char *text, spade_attribution **out)
{
    *out = NULL;
    if (!text) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "no text of a method"); }
    const size_t length = strcspn(text, ":");
    const attribution_method *method = attribution_find(text, length);
    if (method) { return attribution_create(context, method, text + length, out); }
    return spade_fail_unknown(context, "method", text, name_at);
}

void spade_attribution_destroy(spade_attribution *attribution)
{
    if (!attribution) { return; }
    close_inner(attribution);
    spade_named_options_clear(&attribution->named);
    free(attribution->options);
    free(attribution->preprocess);
    free(attribution);
}
