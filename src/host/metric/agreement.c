/* agreement.c - does a trace decide as the network does? Of a trace, whatever the map. */
#include <math.h>

#include "metric/registry.h"

/* scores [2, classes]: of the dense network and of the trace; owned. */
static spade_status find_scores(spade_context *context, const spade_metric_inputs *inputs, double **scores)
{
    const spade_model *model = inputs->model;
    const int64_t classes = spade_model_classes(model);
    spade_status status = SPADE_OK;
    float *outputs = malloc(sizeof *outputs * (size_t)spade_model_outputs(model));
    *scores = calloc((size_t)classes, 2 * sizeof **scores);
    if (!outputs || !*scores) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory")); }
    for (int i = 0; i < 2; i++) {
        SPADE_GOTO(spade_model_forward(context, model, i ? inputs->trace : NULL, inputs->input, 1, outputs));
        spade_model_scores(model, outputs, NULL, *scores + i * classes);
    }
done:
    free(outputs);
    if (status != SPADE_OK) {
        free(*scores);
        *scores = NULL;
    }
    return status;
}

static int64_t find_largest(const double *scores, int64_t n)
{
    int64_t largest = 0;
    for (int64_t i = 1; i < n; i++) { largest = scores[i] > scores[largest] ? i : largest; }
    return largest;
}

static spade_status run_class_kept(spade_context *context, const void *options, const spade_metric_inputs *inputs,
                                   double *out)
{
    (void)options;
    const int64_t classes = spade_model_classes(inputs->model);
    double *scores;
    SPADE_TRY(find_scores(context, inputs, &scores));
    *out = find_largest(scores, classes) == find_largest(scores + classes, classes);
    free(scores);
    return SPADE_OK;
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

static spade_status run_kl(spade_context *context, const void *options, const spade_metric_inputs *inputs, double *out)
{
    (void)options;
    const int64_t classes = spade_model_classes(inputs->model);
    const bool softmax =
        spade_model_outputs(inputs->model) > 1 && spade_model_head(inputs->model) != SPADE_HEAD_SIGMOID;
    double *scores, sum = 0;
    SPADE_TRY(find_scores(context, inputs, &scores));
    if (softmax && !(is_distribution(scores, classes) && is_distribution(scores + classes, classes))) {
        free(scores);
        *out = NAN;
        return SPADE_OK;
    }
    for (int64_t i = 0; i < classes; i++) {
        const double p = scores[i], q = scores[classes + i];
        sum += divergence(p, q);
        /* each output of a sigmoid is a distribution of its own; the two classes of one output are one */
        if (!softmax && spade_model_outputs(inputs->model) > 1) { sum += divergence(1 - p, 1 - q); }
    }
    free(scores);
    *out = sum > 0 ? sum : 0; /* rounding */
    return SPADE_OK;
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
    .run = run_class_kept,
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
    .run = run_kl,
    .passes = passes,
};
