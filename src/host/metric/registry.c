/* registry.c - the table of metrics and the public entry. */
#include <math.h>

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
    *out = NULL;
    if (!text) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "no text of a metric"); }
    const size_t length = strcspn(text, ":");
    const metric_class *class = find(text, length);
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
    const spade_metric_inputs defaults = {.note = {NAN, NAN}};
    spade_caller_options_init(inputs, size, &defaults, sizeof defaults);
}

static spade_status check_picture(spade_context *context, const char *title, const spade_metric_inputs *inputs)
{
    const int64_t dims[2] = {inputs->height, inputs->width};
    int64_t pixels;
    if (inputs->height < 1 || inputs->width < 1 || !spade_mul_dims(dims, 2, &pixels)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: a picture of %lld x %lld pixels", title,
                          (long long)inputs->width, (long long)inputs->height);
    }
    return SPADE_OK;
}

/* What is missing of what the metric needs; NULL: nothing. */
static const char *find_missing(unsigned needs, const spade_metric_inputs *inputs)
{
    if (!(needs & (SPADE_METRIC_NEEDS_MAP | SPADE_METRIC_NEEDS_TRACE)) && !inputs->scores) { return "a map"; }
    if (needs & SPADE_METRIC_NEEDS_MASK && !inputs->mask) { return "a mask"; }
    if (needs & (SPADE_METRIC_NEEDS_NETWORK | SPADE_METRIC_NEEDS_TRACE) && !(inputs->model && inputs->input)) {
        return "the network and its input";
    }
    if (needs & SPADE_METRIC_NEEDS_NETWORK && !inputs->target) { return "a class"; }
    if (needs & SPADE_METRIC_NEEDS_MAP && !(inputs->map && inputs->attribution)) {
        return "the map as it was made, and its method";
    }
    return needs & SPADE_METRIC_NEEDS_TRACE && !inputs->trace ? "a trace" : NULL;
}

/* Is the map of the kind that the metric is for? */
static bool takes(const spade_metric_info *info, const spade_metric_inputs *inputs)
{
    if (!info->method_flags) { return true; }
    return (spade_attribution_flags(inputs->attribution) & info->method_flags) == info->method_flags;
}

static spade_status check_inputs(spade_context *context, const spade_metric_info *info,
                                 const spade_metric_inputs *inputs, const spade_metric_inputs *first)
{
    const char *missing = find_missing(info->needs, inputs);
    SPADE_TRY(check_picture(context, info->title, inputs));
    if (missing) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s needs %s", info->title, missing); }
    if (inputs->height != first->height || inputs->width != first->width || inputs->model != first->model ||
        inputs->input != first->input || inputs->target != first->target) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: maps of different pictures or classes together",
                          info->title);
    }
    return SPADE_OK;
}

/* Their curves [count, length], and from each the value. */
static spade_status run_curves(spade_context *context, const spade_metric *metric,
                               const spade_metric_inputs *const *inputs, int count, double *out)
{
    const metric_class *class = metric->class;
    const int64_t length = class->curve_length(metric->options, inputs[0]->height, inputs[0]->width);
    size_t bytes;
    void *memory;
    if (!spade_mul_size((size_t)length, sizeof(double) * (size_t)count, &bytes)) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: a curve of %lld steps", class->info.title,
                          (long long)length);
    }
    SPADE_TRY(spade_alloc(context, bytes, class->info.name, &memory));
    const spade_status status = class->curves(context, metric->options, inputs, count, memory);
    for (int i = 0; i < count && status == SPADE_OK; i++) {
        out[i] = class->value_of_curve((double *)memory + i * length, length);
    }
    spade_free_bytes(context, memory, bytes);
    return status;
}

/* Of maps that the metric takes. */
static spade_status run(spade_context *context, const spade_metric *metric, const spade_metric_inputs *const *inputs,
                        int count, double *out)
{
    const metric_class *class = metric->class;
    if (class->curves) { return run_curves(context, metric, inputs, count, out); }
    if (class->run_together) { return class->run_together(context, metric->options, inputs, count, out); }
    for (int i = 0; i < count; i++) { SPADE_TRY(class->run(context, metric->options, inputs[i], &out[i])); }
    return SPADE_OK;
}

/* taken [count]: the inputs that the metric takes, complete; out [count] in their order. */
static spade_status measure_taken(spade_context *context, const spade_metric *metric, spade_metric_inputs *own,
                                  const spade_metric_inputs *const *inputs, int count,
                                  const spade_metric_inputs **taken, double *values, double *out)
{
    const spade_metric_info *info = &metric->class->info;
    int n = 0;
    for (int i = 0; i < count; i++) {
        SPADE_TRY(spade_caller_options_take(context, "spade_metric_inputs", inputs[i], &own[i], sizeof own[i]));
        SPADE_TRY(check_inputs(context, info, &own[i], &own[0]));
        if (takes(info, &own[i])) { taken[n++] = &own[i]; }
    }
    if (n) { SPADE_TRY(run(context, metric, taken, n, values)); }
    for (int i = 0, next = 0; i < count; i++) { out[i] = takes(info, &own[i]) ? values[next++] : NAN; }
    return SPADE_OK;
}

spade_status spade_measure_together(spade_context *context, const spade_metric *metric,
                                    const spade_metric_inputs *const *inputs, int count, double *out)
{
    if (count < 1) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: no map", metric->class->info.title); }
    spade_metric_inputs *own = calloc((size_t)count, sizeof *own);
    const spade_metric_inputs **taken = calloc((size_t)count, sizeof *taken);
    double *values = calloc((size_t)count, sizeof *values);
    const spade_status status = own && taken && values
                                    ? measure_taken(context, metric, own, inputs, count, taken, values, out)
                                    : spade_fail(context, SPADE_ERROR_MEMORY, "out of memory");
    free(own);
    free((void *)taken);
    free(values);
    return status;
}

spade_status spade_measure(spade_context *context, const spade_metric *metric, const spade_metric_inputs *inputs,
                           double *out)
{
    return spade_measure_together(context, metric, &inputs, 1, out);
}

/* ---- curves */

int64_t spade_metric_curve_length(const spade_metric *metric, int64_t height, int64_t width)
{
    const metric_class *class = metric->class;
    return class->curve_length ? class->curve_length(metric->options, height, width) : 0;
}

spade_status spade_measure_curve(spade_context *context, const spade_metric *metric, const spade_metric_inputs *inputs,
                                 double *curve)
{
    const metric_class *class = metric->class;
    spade_metric_inputs own = {0};
    const spade_metric_inputs *one = &own;
    if (!class->curves) { return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s has no curve", class->info.title); }
    SPADE_TRY(spade_caller_options_take(context, "spade_metric_inputs", inputs, &own, sizeof own));
    SPADE_TRY(check_inputs(context, &class->info, &own, &own));
    return class->curves(context, metric->options, &one, 1, curve);
}

double spade_metric_passes(const spade_metric *metric, const spade_model *model, double map_passes)
{
    const metric_class *class = metric->class;
    int64_t channels, height, width;
    spade_model_input(model, &channels, &height, &width);
    return class->passes ? class->passes(metric->options, height, width, map_passes) : 0;
}
