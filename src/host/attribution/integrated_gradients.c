/*
 * integrated_gradients.c - (x - x') * integral of the gradient on the line from the baseline x' to x, by
 * Gauss-Legendre quadrature. Two more points, x' and x, give F there for the completeness delta.
 */
#include "attribution/baseline.h"
#include "attribution/gradient_driver.h"

typedef struct path_options {
    int64_t steps;
    spade_baseline_option baseline;
} path_options;

static spade_status check(const attribution_job *job, const void *options)
{
    return attribution_baseline_check(job, &((const path_options *)options)->baseline, false);
}

static double passes(const attribution_job *job, const void *options)
{
    (void)job;
    return (double)((const path_options *)options)->steps;
}

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    spade_status status = SPADE_OK;
    const spade_baseline_option *from = &((const path_options *)options)->baseline;
    const bool is_zero =
        !from->path && from->word < 0 && from->number == 0; /* the direction is x: a factor of the sum */
    attribution_baseline baseline = {0};
    const int steps = (int)((const path_options *)options)->steps, points = steps + 2;
    size_t bytes = sizeof(double) * (size_t)points * (2 + (size_t)job->n);
    void *memory = NULL;
    SPADE_TRY(spade_alloc(job->context, bytes, "the points of a path", &memory));
    double *scale = memory, *weight = scale + points, *values = weight + points; /* values [n, points] */
    attribution_gauss_legendre(steps, scale, weight);
    scale[steps] = 0;
    scale[steps + 1] = 1;
    if (!is_zero) { SPADE_GOTO(attribution_baseline_open(job, from, false, &baseline)); }
    const attribution_samples path = {.points = points,
                                      .summed = steps,
                                      .scale = scale,
                                      .weight = weight,
                                      .baselines = baseline.pictures,
                                      .baseline_count = baseline.count,
                                      .times_path = !is_zero,
                                      .divisor = 1};
    const attribution_wanted wanted = {.maps = maps, .times_input = is_zero};
    SPADE_GOTO(attribution_backward(job, &spade_rules_gradient, &path, &wanted, 1, values));
    for (int c = 0; notes && c < job->n; c++) {
        const double *start = values + (int64_t)c * points + steps; /* F(x'), then F(x) */
        double total = 0;
        for (int64_t i = 0; i < job->size; i++) { total += maps[c * job->size + i]; }
        notes[c].difference = start[1] - start[0];
        notes[c].delta = total - notes[c].difference;
    }
done:
    attribution_baseline_close(job, &baseline);
    spade_free_bytes(job->context, memory, bytes);
    return status;
}

static const spade_option_info options[] = {
    {.name = "steps",
     .help = "Gauss-Legendre nodes on the line from the baseline to the input",
     .type = SPADE_OPTION_INTEGER,
     .min = 1,
     .max = 10000,
     .default_value = "50"},
    ATTRIBUTION_BASELINE_OPTION("0"),
};
static const size_t option_offsets[] = {offsetof(path_options, steps), offsetof(path_options, baseline)};

const attribution_method attribution_integrated_gradients = {
    .info = {.name = "integrated_gradients",
             .title = "Integrated gradients",
             .definition = "(x - x') * mean of dF/dx on the line from the baseline x' to x",
             .source = "Sundararajan, Taly, Yan 2017, Axiomatic attribution for deep networks",
             .cost = "one forward and one backward pass for each of the steps",
             .flags = SPADE_METHOD_SIGNED | SPADE_METHOD_COMPLETENESS,
             .completeness = 0.05, /* section 5 of the paper */
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(path_options),
    .option_offsets = option_offsets,
    .check = check,
    .passes = passes,
    .run = run,
};
