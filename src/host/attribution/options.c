/* options.c - a method with its options. */
#include "attribution/registry.h"
#include "picture/resize.h"

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

spade_status spade_attribution_set(spade_context *context, spade_attribution *attribution, const char *option,
                                   const char *value)
{
    spade_status status = spade_named_options_set(context, &attribution->named, option, value);
    return fail_in_method(context, attribution, status);
}

spade_status spade_attribution_set_default(spade_context *context, spade_attribution *attribution, const char *option,
                                           const char *value)
{
    spade_status status = spade_named_options_set_default(context, &attribution->named, option, value);
    return fail_in_method(context, attribution, status);
}

spade_status spade_attribution_set_preprocess(spade_context *context, spade_attribution *attribution,
                                              const spade_preprocess *preprocess)
{
    spade_preprocess own;
    SPADE_TRY(fail_in_method(context, attribution, spade_preprocess_take(context, preprocess, &own)));
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
    spade_status status =
        fail_in_method(context, attribution, spade_named_options_read(context, &attribution->named, options));
    if (status != SPADE_OK) {
        spade_attribution_destroy(attribution);
        return status;
    }
    *out = attribution;
    return SPADE_OK;
}

bool spade_attribution_file(const spade_attribution *attribution, int index, const char **option, const char **path)
{
    const spade_option_group *own = &attribution->named.groups[0];
    for (int i = 0; i < own->count; i++) {
        if (own->infos[i].type != SPADE_OPTION_FILE) { continue; }
        *option = own->infos[i].name;
        *path = *(char *const *)((const char *)own->values + own->offsets[i]);
        if (*path && index-- == 0) { return true; }
    }
    return false;
}

static const char *name_at(int index)
{
    const spade_method_info *info = spade_method_at(index);
    return info ? info->name : NULL;
}

spade_status spade_attribution_create(spade_context *context, const char *text, spade_attribution **out)
{
    const size_t length = strcspn(text, ":");
    const attribution_method *method = attribution_find(text, length);
    *out = NULL;
    if (method) { return attribution_create(context, method, text + length, out); }
    return spade_fail_unknown(context, "method", text, name_at);
}

void spade_attribution_destroy(spade_attribution *attribution)
{
    if (!attribution) { return; }
    spade_named_options_clear(&attribution->named);
    free(attribution->options);
    free(attribution->preprocess);
    free(attribution);
}
