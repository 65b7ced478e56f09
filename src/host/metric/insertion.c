/*
 * insertion.c - insertion and deletion: the class's score while the picture comes back, or goes away, the most important pixels
 * first. `step` pixels at a time are one cell of the masked inputs; image k has the first k cells changed.
 */
#include <math.h>

#include "metric/network_scores.h"

typedef struct insertion_options {
    int64_t step;
    int replacement; /* of the words below */
} insertion_options;

enum { BLUR, ZERO };

/* ---- the blurred picture, as RISE's authors make it: a kernel of 11 x 11 weights, which is what a Gaussian filter of deviation 5
 * with mirrored borders makes of a unit impulse in their middle (so its weights sum to 1); zeros around the input. */
enum { KERNEL = 11, RADIUS = KERNEL / 2 };

static void make_kernel(double kernel[KERNEL])
{
    enum { SIGMA = 5, REACH = 4 * SIGMA };
    double weights[REACH + 1], sum = 0;
    for (int i = 0; i <= REACH; i++) {
        weights[i] = exp(-0.5 * i * i / (SIGMA * SIGMA));
        sum += i ? 2 * weights[i] : weights[i];
    }
    for (int i = 0; i < KERNEL; i++) { kernel[i] = 0; }
    for (int i = 0; i < KERNEL; i++) {
        for (int shift = -REACH; shift <= REACH; shift++) {
            int at = (i + shift) % (2 * KERNEL); /* .. b a | a b .. k | k j .. */
            at = at < 0 ? at + 2 * KERNEL : at;
            at = at < KERNEL ? at : 2 * KERNEL - 1 - at;
            if (at == RADIUS) { kernel[i] += weights[abs(shift)] / sum; }
        }
    }
}

/* Convolve lines of `n` numbers, `stride` apart, of which there are `lines`, `next` apart; out likewise. */
static void blur_lines(const double kernel[KERNEL], const double *in, int64_t lines, int64_t next, int64_t n,
                       int64_t stride, double *out)
{
    for (int64_t line = 0; line < lines; line++) {
        for (int64_t i = 0; i < n; i++) {
            double sum = 0;
            for (int k = 0; k < KERNEL; k++) {
                const int64_t at = i + k - RADIUS;
                if (at >= 0 && at < n) { sum += kernel[k] * in[line * next + at * stride]; }
            }
            out[line * next + i * stride] = sum;
        }
    }
}

static spade_status blur(const attribution_job *job, float *out)
{
    const int64_t height = job->height, width = job->width, pixels = height * width;
    const size_t bytes = 2 * sizeof(double) * (size_t)pixels;
    double kernel[KERNEL];
    void *memory;
    SPADE_TRY(spade_alloc(job->context, bytes, "a blurred input", &memory));
    double *plane = memory, *rows = plane + pixels;
    make_kernel(kernel);
    for (int64_t c = 0; c < job->channels; c++) {
        for (int64_t i = 0; i < pixels; i++) { plane[i] = job->input[c * pixels + i]; }
        blur_lines(kernel, plane, height, width, width, 1, rows);
        blur_lines(kernel, rows, width, 1, height, width, plane);
        for (int64_t i = 0; i < pixels; i++) { out[c * pixels + i] = (float)plane[i]; }
    }
    spade_free_bytes(job->context, memory, bytes);
    return SPADE_OK;
}

/* ---- curves */

static int64_t count_steps(const void *options, int64_t height, int64_t width)
{
    const insertion_options *o = options;
    const int64_t step = o->step ? o->step : width;
    return (height * width + step - 1) / step;
}

static int64_t curve_length(const void *options, int64_t height, int64_t width)
{
    return count_steps(options, height, width) + 1;
}

typedef struct replay {
    bool insert;
    int64_t steps;
} replay;

/* Image k of a map, k = 0 .. steps, has changed the first k cells: put them in, or taken them out. */
static void replace_cells(const void *user, int64_t image, uint8_t *keep)
{
    const replay *r = user;
    const int64_t changed = image % (r->steps + 1);
    const int64_t begin = r->insert ? changed : 0, end = r->insert ? r->steps : changed;
    for (int64_t cell = begin; cell < end; cell++) { keep[cell] = 0; }
}

/* cell_of [count, H * W]: of each map's pixels; order [H * W]: scratch. */
static spade_status find_cells(spade_context *context, const spade_metric_inputs *const *inputs, int count,
                               const char *title, int64_t step, int64_t *order, int32_t *cell_of)
{
    const int64_t pixels = inputs[0]->height * inputs[0]->width;
    for (int m = 0; m < count; m++) {
        SPADE_TRY(metric_rank_pixels(context, inputs[m], title, order));
        for (int64_t i = 0; i < pixels; i++) { cell_of[m * pixels + order[i]] = (int32_t)(i / step); }
    }
    return SPADE_OK;
}

static spade_status make_curves(spade_context *context, bool insert, const insertion_options *o,
                                const spade_metric_inputs *const *inputs, int count, double *curves)
{
    const char *title = insert ? "Insertion" : "Deletion";
    const int64_t pixels = inputs[0]->height * inputs[0]->width;
    const replay r = {insert, count_steps(o, inputs[0]->height, inputs[0]->width)};
    spade_status status = SPADE_OK;
    attribution_job job;
    void *memory;
    SPADE_TRY(metric_job_open(context, inputs[0], title, &job));
    const size_t of_order = sizeof(int64_t) * (size_t)pixels, of_input = sizeof(float) * (size_t)job.size;
    const size_t bytes = of_order + of_input + sizeof(int32_t) * (size_t)(count * pixels);
    SPADE_TRY(spade_alloc(context, bytes, "the order of a map's pixels", &memory));
    int64_t *order = memory;
    float *replacement = (float *)(order + pixels);
    int32_t *cell_of = (int32_t *)(replacement + job.size);

    memset(replacement, 0, of_input);
    if (o->replacement == BLUR) { SPADE_GOTO(blur(&job, replacement)); }
    SPADE_GOTO(find_cells(context, inputs, count, title, o->step ? o->step : inputs[0]->width, order, cell_of));
    const attribution_masks masks = {.images = count * (r.steps + 1),
                                     .cells = r.steps,
                                     .partitions = count,
                                     .baseline = replacement,
                                     .cell_of = cell_of,
                                     .replace = replace_cells,
                                     .user = &r};
    SPADE_GOTO(attribution_perturb_masked(&job, &masks, curves));
done:
    spade_free_bytes(context, memory, bytes);
    return status;
}

static spade_status put_in(spade_context *context, const void *options, const spade_metric_inputs *const *inputs,
                           int count, double *curves)
{
    return make_curves(context, true, options, inputs, count, curves);
}

static spade_status take_out(spade_context *context, const void *options, const spade_metric_inputs *const *inputs,
                             int count, double *curves)
{
    return make_curves(context, false, options, inputs, count, curves);
}

/* By trapezoids; the whole curve is 1 wide. */
static double area(const double *curve, int64_t length)
{
    double sum = -(curve[0] + curve[length - 1]) / 2;
    for (int64_t i = 0; i < length; i++) { sum += curve[i]; }
    return sum / (double)(length - 1);
}

static double passes(const void *options, int64_t height, int64_t width, double map)
{
    (void)map;
    return attribution_forward_passes(curve_length(options, height, width));
}

#define STEP_OPTION                                                                                                    \
    {                                                                                                                  \
        .name = "step", .help = "pixels that change at a time; 0: as many as a row has", .type = SPADE_OPTION_INTEGER, \
        .min = 0, .max = 1e9, .default_value = "0"                                                                     \
    }
#define REPLACEMENT_OPTION(help_text, standard)                                                                        \
    {                                                                                                                  \
        .name = "replacement", .help = (help_text), .type = SPADE_OPTION_WORD, .words = "blur|zero",                   \
        .default_value = (standard)                                                                                    \
    }
static const spade_option_info insertion_rows[] = {
    STEP_OPTION,
    REPLACEMENT_OPTION("what pixels are before they come: blurred by RISE's 11 x 11 kernel, or 0 after normalisation",
                       "blur"),
};
static const spade_option_info deletion_rows[] = {
    STEP_OPTION,
    REPLACEMENT_OPTION("what pixels become: blurred by RISE's 11 x 11 kernel, or 0 after normalisation", "zero"),
};
static const size_t option_offsets[] = {offsetof(insertion_options, step), offsetof(insertion_options, replacement)};

const metric_class metric_insertion = {
    .info = {.name = "insertion",
             .title = "Insertion",
             .definition =
                 "area under the dense network's score of the class while the pixels of a blurred picture become "
                 "the picture's, those with the largest scores first, `step` at a time; all steps count alike, also a "
                 "smaller "
                 "last one. Of A-B: the difference of the two classes' scores",
             .reading = "1: the first pixels are enough for the class, 0: all are not",
             .source = "Petsiuk, Das, Saenko 2018, RISE: randomized input sampling for explanation of black-box models",
             .version = 1,
             .better = SPADE_METRIC_HIGHER,
             .needs = SPADE_METRIC_NEEDS_NETWORK,
             .options = insertion_rows,
             .option_count = sizeof insertion_rows / sizeof *insertion_rows},
    .options_bytes = sizeof(insertion_options),
    .option_offsets = option_offsets,
    .curves = put_in,
    .curve_length = curve_length,
    .value_of_curve = area,
    .passes = passes,
};

const metric_class metric_deletion = {
    .info = {.name = "deletion",
             .title = "Deletion",
             .definition = "area under the dense network's score of the class while pixels go, those with the largest "
                           "scores first, `step` at a time; steps and A-B as for insertion",
             .reading = "0: without the first pixels the class is gone, 1: it never goes",
             .source = "Petsiuk, Das, Saenko 2018, RISE: randomized input sampling for explanation of black-box models",
             .version = 1,
             .better = SPADE_METRIC_LOWER,
             .needs = SPADE_METRIC_NEEDS_NETWORK,
             .options = deletion_rows,
             .option_count = sizeof deletion_rows / sizeof *deletion_rows},
    .options_bytes = sizeof(insertion_options),
    .option_offsets = option_offsets,
    .curves = take_out,
    .curve_length = curve_length,
    .value_of_curve = area,
    .passes = passes,
};
