/* agreement.c - does a trace decide as the network does? Of a trace, whatever the map. */
#include <math.h>

#include "metric/registry.h"

/* Of the dense network (trace NULL) or of a trace: scores [classes]. */
static spade_status find_scores(spade_context *context, const spade_metric_inputs *inputs, const spade_trace *trace,
                                double *scores)
{
    float *outputs = malloc(sizeof *outputs * (size_t)spade_model_outputs(inputs->model));
    if (!outputs) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    const spade_status status = spade_model_forward(context, inputs->model, trace, inputs->input, 1, outputs);
    if (status == SPADE_OK) { spade_model_scores(inputs->model, outputs, NULL, scores); }
    free(outputs);
    return status;
}

/* What a trace's scores are beside the dense network's, each [classes]. */
typedef double (*compare_fn)(const spade_model *model, const double *dense, const double *trace);

/* The dense network is asked once, and each trace, whatever the number of its maps. */
static spade_status compare_all(spade_context *context, const spade_metric_inputs *const *inputs, int count,
                                compare_fn compare, double *out)
{
    const spade_model *model = inputs[0]->model;
    const int64_t classes = spade_model_classes(model);
    double *scores = calloc((size_t)classes, 2 * sizeof *scores);
    spade_status status = SPADE_OK;
    if (!scores) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    SPADE_GOTO(find_scores(context, inputs[0], NULL, scores));
    for (int i = 0; i < count; i++) {
        int same = 0;
        while (inputs[same]->trace != inputs[i]->trace) { same++; }
        if (same < i) {
            out[i] = out[same];
            continue;
        }
        SPADE_GOTO(find_scores(context, inputs[i], inputs[i]->trace, scores + classes));
        out[i] = compare(model, scores, scores + classes);
    }
done:
    free(scores);
    return status;
}

static int64_t find_largest(const double *scores, int64_t n)
{
    int64_t largest = 0;
    for (int64_t i = 1; i < n; i++) { largest = scores[i] > scores[largest] ? i : largest; }
    return largest;
}

static double keeps_class(const spade_model *model, const double *dense, const double *trace)
{
    const int64_t classes = spade_model_classes(model);
    return find_largest(dense, classes) == find_largest(trace, classes);
}

static spade_status run_class_kept(spade_context *context, const void *options,
                                   const spade_metric_inputs *const *inputs, int count, double *out)
{
    (void)options;
    return compare_all(context, inputs, count, keeps_class, out);
}

/* p log(p / q); a score that is too small for a double counts as the smallest. */
static double divergence(double p, double q)
{
    return p > 0 ? p * (log(p) - log(fmax(q, 2.2250738585072014e-308))) : 0;
}

/* Not all files' own scores are (SPADE_HEAD_SCORES). */
static bool is_distribution(const double *scores, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!(scores[i] >= 0)) { return false; }
        sum += scores[i];
    }
    return fabs(sum - 1) < 1e-3;
}

static double find_divergence(const spade_model *model, const double *dense, const double *trace)
{
    const int64_t classes = spade_model_classes(model);
    const bool sigmoids = spade_model_outputs(model) > 1 && spade_model_head(model) == SPADE_HEAD_SIGMOID;
    double sum = 0;
    if (!sigmoids && !(is_distribution(dense, classes) && is_distribution(trace, classes))) { return NAN; }
    for (int64_t i = 0; i < classes; i++) {
        sum += divergence(dense[i], trace[i]);
        if (sigmoids) { sum += divergence(1 - dense[i], 1 - trace[i]); } /* each output is a distribution of its own */
    }
    return sum > 0 ? sum : 0; /* rounding */
}

static spade_status run_kl(spade_context *context, const void *options, const spade_metric_inputs *const *inputs,
                           int count, double *out)
{
    (void)options;
    return compare_all(context, inputs, count, find_divergence, out);
}

static double passes(const void *options, int64_t height, int64_t width, double map)
{
    (void)options;
    (void)height;
    (void)width;
    (void)map;
    return 2.0 / 3;
}

const metric_class metric_class_kept = {
    .info = {.name = "class_kept",
             .title = "Class kept",
             .definition =
                 "1 where the class with the largest score is the same on the trace and on the dense network, else "
                 "0; of a trace, the same for all of its maps",
             .reading = "1: the trace decides as the network does",
             .source = "Moakhar et al. 2024, SPADE: sparsity-guided debugging for deep neural networks",
             .version = 1,
             .better = SPADE_METRIC_HIGHER,
             .needs = SPADE_METRIC_NEEDS_TRACE},
    .run_together = run_class_kept,
    .passes = passes,
};

const metric_class metric_kl_divergence = {
    .info = {.name = "kl_divergence",
             .title = "KL divergence",
             .definition =
                 "sum over classes of p log(p / q), p the dense network's scores and q the trace's; of a head of "
                 "sigmoids the sum over its outputs; none where scores are no distribution; of a trace, the same for "
                 "all of its maps",
             .reading = "0: the trace says of every class what the network says",
             .source = "Kullback, Leibler 1951, On information and sufficiency",
             .version = 1,
             .better = SPADE_METRIC_LOWER,
             .needs = SPADE_METRIC_NEEDS_TRACE},
    .run_together = run_kl,
    .passes = passes,
};
