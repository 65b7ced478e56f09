/* registry.c - the table of metrics and the public entry. */
#include "base/caller_options.h"
#include "metric/registry.h"

static const metric_class *const metrics[] = {
#define METRIC_ROW(name) &metric_##name,
    METRICS(METRIC_ROW)
#undef METRIC_ROW
};
enum { METRIC_COUNT = sizeof metrics / sizeof *metrics };

int spade_metric_count(void)
{
    return METRIC_COUNT;
}

const spade_metric_info *spade_metric_at(int index)
{
    return index >= 0 && index < METRIC_COUNT ? &metrics[index]->info : NULL;
}

/* The name is the first `length` characters. */
static const metric_class *find(const char *name, size_t length)
{
    for (int i = 0; i < METRIC_COUNT; i++) {
        const char *known = metrics[i]->info.name;
        if (strlen(known) == length && memcmp(known, name, length) == 0) { return metrics[i]; }
    }
    return NULL;
}

const spade_metric_info *spade_metric_find(const char *name)
{
    const metric_class *class = find(name, strlen(name));
    return class ? &class->info : NULL;
}

const spade_metric_info *spade_metric_describe(const spade_metric *metric)
{
    return &metric->class->info;
}

/* ---- a metric with its options */

spade_status metric_create(spade_context *context, const metric_class *class, const char *options, spade_metric **out)
{
    *out = NULL;
    spade_metric *metric = calloc(1, sizeof *metric);
    void *own = calloc(1, class->options_bytes ? class->options_bytes : 1);
    if (!metric || !own) {
        free(metric);
        free(own);
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory");
    }
    metric->class = class;
    metric->options = own;
    metric->named.groups[0] = (spade_option_group){.infos = class->info.options,
                                                   .offsets = class->option_offsets,
                                                   .count = class->info.option_count,
                                                   .values = own};
    spade_status status = spade_named_options_read(context, &metric->named, options);
    if (status != SPADE_OK) {
        spade_metric_destroy(metric);
        return spade_fail_in(context, status, "%s", class->info.name);
    }
    *out = metric;
    return SPADE_OK;
}

static const char *name_at(int index)
{
    const spade_metric_info *info = spade_metric_at(index);
    return info ? info->name : NULL;
}

spade_status spade_metric_create(spade_context *context, const char *text, spade_metric **out)
{
    const size_t length = strcspn(text, ":");
    const metric_class *class = find(text, length);
    *out = NULL;
    if (class) { return metric_create(context, class, text + length, out); }
    return spade_fail_unknown(context, "metric", text, name_at);
}

spade_status spade_metric_set(spade_context *context, spade_metric *metric, const char *option, const char *value)
{
    spade_status status = spade_named_options_set(context, &metric->named, option, value);
    return status == SPADE_OK ? status : spade_fail_in(context, status, "%s", metric->class->info.name);
}

int spade_metrics_equal(const spade_metric *a, const spade_metric *b)
{
    return a->class == b->class && spade_named_options_agree(&a->named, &b->named);
}

void spade_metric_destroy(spade_metric *metric)
{
    if (!metric) { return; }
    spade_named_options_clear(&metric->named);
    free(metric->options);
    free(metric);
}

/* ---- values */

void spade_metric_inputs_init_sized(spade_metric_inputs *inputs, size_t size)
{
    const spade_metric_inputs defaults = {0};
    spade_caller_options_init(inputs, size, &defaults, sizeof defaults);
}

static spade_status check_inputs(spade_context *context, const spade_metric_info *info,
                                 const spade_metric_inputs *inputs)
{
    const int64_t dims[2] = {inputs->height, inputs->width};
    int64_t pixels;
    if (inputs->height < 1 || inputs->width < 1 || !spade_mul_dims(dims, 2, &pixels)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: a picture of %lld x %lld pixels", info->title,
                          (long long)inputs->width, (long long)inputs->height);
    }
    if (!inputs->scores) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s needs a map", info->title); }
    if (info->needs & SPADE_METRIC_NEEDS_MASK && !inputs->mask) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s needs a mask", info->title);
    }
    return SPADE_OK;
}

spade_status spade_measure(spade_context *context, const spade_metric *metric, const spade_metric_inputs *inputs,
                           double *out)
{
    const metric_class *class = metric->class;
    spade_metric_inputs own = {0};
    SPADE_TRY(spade_caller_options_take(context, "spade_metric_inputs", inputs, &own, sizeof own));
    SPADE_TRY(check_inputs(context, &class->info, &own));
    return class->run(context, metric->options, &own, out);
}
