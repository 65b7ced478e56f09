/*
 * infidelity.c - does the map say how much the score changes when the input does? A change I is taken from the input, the map
 * says what that costs, and the network what it does cost. The changes are the same for every map of a picture, which share the
 * network's answers.
 *
 * What a map says of a change depends on what its values are. Slopes (SPADE_METHOD_SLOPE: gradients) are multiplied by the change.
 * All others are shares of the score, or sizes of them: a change that takes a part of the picture costs the shares that lie there.
 */
#include <math.h>

#include "attribution/noise.h"
#include "metric/network_scores.h"

typedef struct infidelity_options {
    int64_t samples;
    int perturbation; /* of the words below */
    int64_t window;
    double sigma;
    int scale;
    int64_t seed;
} infidelity_options;

enum { SQUARE, NOISE };
enum { BEST, NONE };

typedef struct infidelity_job {
    const attribution_job *job;
    const infidelity_options *options;
    int64_t side;     /* of the square */
    double deviation; /* of the noise */
    uint64_t key;
} infidelity_job;

/* The square of a sample: its first row and column. */
static void place_square(const infidelity_job *f, int64_t sample, int64_t *row, int64_t *column)
{
    const uint32_t key[2] = {(uint32_t)f->key, (uint32_t)(f->key >> 32)};
    const uint32_t counter[4] = {(uint32_t)sample, 0, 0, 0};
    uint32_t random[4];
    spade_philox(key, counter, random);
    *row = (int64_t)(spade_uniform(random[0], random[1]) * (double)(f->job->height - f->side + 1));
    *column = (int64_t)(spade_uniform(random[2], random[3]) * (double)(f->job->width - f->side + 1));
}

/* change [size]: of a sample of noise. */
static void draw_noise(const infidelity_job *f, int64_t sample, float *change)
{
    const uint32_t key[2] = {(uint32_t)f->key, (uint32_t)(f->key >> 32)};
    for (int64_t i = 0; i < f->job->size; i += 2) {
        const uint32_t counter[4] = {(uint32_t)sample, (uint32_t)(i / 2), 1, 0};
        double normal[2];
        spade_normal(key, counter, normal);
        change[i] = (float)(f->deviation * normal[0]);
        if (i + 1 < f->job->size) { change[i + 1] = (float)(f->deviation * normal[1]); }
    }
}

/* The input less the sample's change; the last image is the input. */
static bool make_image(const void *user, int64_t image, int slot, float *out)
{
    (void)slot;
    const infidelity_job *f = user;
    const attribution_job *job = f->job;
    const int64_t pixels = job->height * job->width;
    if (image < f->options->samples && f->options->perturbation == NOISE) {
        draw_noise(f, image, out);
        for (int64_t i = 0; i < job->size; i++) { out[i] = job->input[i] - out[i]; }
        return true;
    }
    memcpy(out, job->input, sizeof *out * (size_t)job->size);
    if (image == f->options->samples) { return true; }
    int64_t row, column;
    place_square(f, image, &row, &column);
    for (int64_t c = 0; c < job->channels; c++) {
        for (int64_t y = row; y < row + f->side; y++) {
            memset(out + c * pixels + y * job->width + column, 0, sizeof *out * (size_t)f->side);
        }
    }
    return true;
}

/* ---- what a map says */

static bool has_slopes(const spade_metric_inputs *inputs, const attribution_job *job)
{
    const int64_t *shape = inputs->map_shape;
    return spade_attribution_flags(inputs->attribution) & SPADE_METHOD_SLOPE && shape[0] == job->channels &&
           shape[1] == job->height && shape[2] == job->width;
}

/* One number a pixel that is summed where the picture is taken: shares [H * W]; small: scratch. */
static void make_shares(const spade_metric_inputs *inputs, const attribution_job *job, float *small, float *shares)
{
    const int64_t *shape = inputs->map_shape, pixels = job->height * job->width;
    if (has_slopes(inputs, job)) {
        for (int64_t i = 0; i < pixels; i++) {
            double sum = 0;
            for (int64_t c = 0; c < job->channels; c++) {
                sum += (double)inputs->map[c * pixels + i] * (double)job->input[c * pixels + i];
            }
            shares[i] = (float)sum;
        }
    } else if (shape[1] == job->height && shape[2] == job->width) {
        spade_map_reduce(inputs->map, shape[0], shape[1], shape[2], SPADE_REDUCE_SUM, shares);
    } else {
        spade_map_reduce(inputs->map, shape[0], shape[1], shape[2], SPADE_REDUCE_SUM, small);
        spade_map_resize(small, shape[1], shape[2], shares, job->height, job->width);
    }
}

static double said_of_square(const infidelity_job *f, int64_t sample, const float *shares)
{
    int64_t row, column;
    double sum = 0;
    place_square(f, sample, &row, &column);
    for (int64_t y = row; y < row + f->side; y++) {
        for (int64_t x = column; x < column + f->side; x++) { sum += (double)shares[y * f->job->width + x]; }
    }
    return sum;
}

static double said_of_noise(const infidelity_job *f, int64_t sample, const float *map, float *change)
{
    double sum = 0;
    draw_noise(f, sample, change);
    for (int64_t i = 0; i < f->job->size; i++) { sum += (double)map[i] * (double)change[i]; }
    return sum;
}

/* values [samples + 1]: the network's scores; said [samples]. */
static double mean_square(const infidelity_job *f, const double *values, const double *said)
{
    const int64_t samples = f->options->samples;
    double both = 0, squares = 0, error = 0;
    for (int64_t i = 0; i < samples; i++) {
        both += said[i] * (values[samples] - values[i]);
        squares += said[i] * said[i];
    }
    const double scale = f->options->scale == NONE ? 1 : squares > 0 ? both / squares : 0;
    for (int64_t i = 0; i < samples; i++) {
        const double off = scale * said[i] - (values[samples] - values[i]);
        error += off * off;
    }
    return error / (double)samples;
}

/* floats: scratch [2 * max(size, pixels of the map)]. */
static double measure(const infidelity_job *f, const spade_metric_inputs *inputs, const double *values, double *said,
                      float *floats)
{
    const attribution_job *job = f->job;
    const bool noise = f->options->perturbation == NOISE;
    if (noise && !has_slopes(inputs, job)) { return NAN; }
    if (!noise) { make_shares(inputs, job, floats + job->height * job->width, floats); }
    for (int64_t i = 0; i < f->options->samples; i++) {
        said[i] = noise ? said_of_noise(f, i, inputs->map, floats) : said_of_square(f, i, floats);
    }
    return mean_square(f, values, said);
}

static int64_t find_side(const attribution_job *job, int64_t window)
{
    const int64_t shorter = job->height < job->width ? job->height : job->width;
    const int64_t side = window ? window : (shorter + 7) / 8;
    return side < shorter ? side : shorter;
}

static spade_status run(spade_context *context, const void *options, const spade_metric_inputs *const *inputs,
                        int count, double *out)
{
    const infidelity_options *o = options;
    spade_status status = SPADE_OK;
    attribution_job job;
    void *memory;
    SPADE_TRY(metric_job_open(context, inputs[0], "Infidelity", &job));
    job.seed = (uint64_t)o->seed;
    const infidelity_job f = {.job = &job,
                              .options = o,
                              .side = find_side(&job, o->window),
                              .deviation = attribution_noise_deviation(&job, o->sigma),
                              .key = attribution_input_key(&job)};
    int64_t most = job.size;
    for (int m = 0; m < count; m++) {
        const int64_t map = inputs[m]->map_shape[1] * inputs[m]->map_shape[2] + job.height * job.width;
        most = map > most ? map : most;
    }
    const size_t bytes = sizeof(double) * (size_t)(2 * o->samples + 1) + sizeof(float) * (size_t)most;
    SPADE_TRY(spade_alloc(context, bytes, "what maps say of changes", &memory));
    double *values = memory, *said = values + o->samples + 1;
    SPADE_GOTO(metric_scores(&job, o->samples + 1, make_image, &f, values));
    for (int m = 0; m < count; m++) { out[m] = measure(&f, inputs[m], values, said, (float *)(said + o->samples)); }
done:
    spade_free_bytes(context, memory, bytes);
    return status;
}

static double passes(const void *options, int64_t height, int64_t width, double map)
{
    (void)height;
    (void)width;
    (void)map;
    return attribution_forward_passes(((const infidelity_options *)options)->samples + 1);
}

static const spade_option_info options[] = {
    {.name = "samples",
     .help = "changes of the input",
     .type = SPADE_OPTION_INTEGER,
     .min = 1,
     .max = 100000,
     .default_value = "100"},
    {.name = "perturbation",
     .help =
         "square: a square of the normalised input becomes 0; noise: Gaussian, on all of it, which only maps of slopes "
         "(gradients of the input's size) say something of",
     .type = SPADE_OPTION_WORD,
     .words = "square|noise",
     .default_value = "square"},
    {.name = "window",
     .help = "side of the square, in pixels; 0: an eighth of the input's shorter side",
     .type = SPADE_OPTION_INTEGER,
     .min = 0,
     .max = 65536,
     .default_value = "0",
     .read_with = "perturbation=square"},
    ATTRIBUTION_SIGMA_OPTION("0.1", "perturbation=noise"),
    {.name = "scale",
     .help = "best: the map is multiplied by the number that makes the value least, none: it is taken as it is",
     .type = SPADE_OPTION_WORD,
     .words = "best|none",
     .default_value = "best"},
    METRIC_SEED_OPTION("of the changes"),
};
static const size_t option_offsets[] = {
    offsetof(infidelity_options, samples), offsetof(infidelity_options, perturbation),
    offsetof(infidelity_options, window),  offsetof(infidelity_options, sigma),
    offsetof(infidelity_options, scale),   offsetof(infidelity_options, seed)};

const metric_class metric_infidelity = {
    .info = {.name = "infidelity",
             .title = "Infidelity",
             .definition =
                 "mean over changes I of (b * m(I) - (F(x) - F(x - I)))^2: F the dense network's score of the class, "
                 "m(I) what the map says: the sum of map * I of slopes, else the sum of the map where I is not 0",
             .reading = "0: the map says what every change costs",
             .source = "Yeh et al. 2019, On the (in)fidelity and sensitivity of explanations",
             .version = 1,
             .better = SPADE_METRIC_LOWER,
             .needs = SPADE_METRIC_NEEDS_NETWORK | SPADE_METRIC_NEEDS_MAP,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(infidelity_options),
    .option_offsets = option_offsets,
    .run_together = run,
    .passes = passes,
};
