/*
 * smooth.c - the mean of another method's maps over noisy copies of the input, the copies of smoothgrad. The map of a copy is
 * what spade_attribute() makes of it, so every method can be smoothed, but this one.
 */
#include "attribution/noise.h"

typedef struct smooth_options {
    int64_t samples;
    double sigma;
    attribution_wrapped of;
} smooth_options;

/* ---- the method inside */

static const spade_attribution *inner_of(const void *options)
{
    return ((const smooth_options *)options)->of.attribution;
}

/* The job as it sees it. Output and seed are the job's where the method does not say its own. */
static attribution_job inner_job(const attribution_job *job, const spade_attribution *inner)
{
    attribution_job of_inner = *job;
    if (spade_named_options_given(&inner->named, "output")) {
        of_inner.score = inner->common.output ? spade_model_score(job->model) : SPADE_SCORE_LOGIT;
    }
    if (spade_named_options_given(&inner->named, "seed")) { of_inner.seed = (uint64_t)inner->common.seed; }
    return of_inner;
}

static spade_status check(const attribution_job *job, const void *options)
{
    const spade_attribution *inner = inner_of(options);
    const attribution_job of_inner = inner_job(job, inner);
    if (!inner->method->check) { return SPADE_OK; }
    spade_status status = inner->method->check(&of_inner, inner->options);
    return status == SPADE_OK ? status : spade_fail_in(job->context, status, "%s", inner->method->info.name);
}

static void shape(const attribution_job *job, const void *options, int64_t shape[3])
{
    const spade_attribution *inner = inner_of(options);
    const attribution_job of_inner = inner_job(job, inner);
    if (inner->method->shape) { inner->method->shape(&of_inner, inner->options, shape); }
}

static double passes(const attribution_job *job, const void *options)
{
    const spade_attribution *inner = inner_of(options);
    const attribution_job of_inner = inner_job(job, inner);
    const double of_one = inner->method->passes ? inner->method->passes(&of_inner, inner->options) : 1;
    return of_one * (double)((const smooth_options *)options)->samples;
}

static unsigned flags(const void *options)
{
    const unsigned of_inner = spade_attribution_flags(inner_of(options));
    return (of_inner & ~(unsigned)SPADE_METHOD_CONSERVATION) |
           SPADE_METHOD_RANDOM; /* relevance: each copy has its own */
}

/* ---- copies */

/* out [size]: copy number `sample`, to the bit what the backend's points() makes on the CPU. */
static void make_copy(const attribution_job *job, uint64_t hash, double deviation, uint32_t sample, float *out)
{
    const uint32_t key[2] = {(uint32_t)hash, (uint32_t)(hash >> 32)};
    double z[2] = {0};
    for (int64_t e = 0; e < job->size; e++) {
        const uint64_t block = (uint64_t)e / 2;
        const uint32_t counter[4] = {sample, (uint32_t)block, (uint32_t)(block >> 32), 0};
        if (e % 2 == 0 && deviation != 0) { spade_normal(key, counter, z); }
        out[e] = (float)(job->input[e] + deviation * z[e % 2]);
    }
}

/* Scratch of a mean: | sums [numbers] | notes [n] | the maps of one copy [numbers] | the copy [size] |, numbers those of
 * all classes' maps. */
typedef struct mean {
    int64_t numbers;
    double *sums;
    spade_map_note *notes;
    float *maps, *copy;
    void *memory;
    size_t bytes;
} mean;

static spade_status open_mean(const attribution_job *job, const smooth_options *options, mean *m)
{
    int64_t map[3] = {job->channels, job->height, job->width};
    shape(job, options, map);
    m->numbers = job->n * map[0] * map[1] * map[2];
    const size_t of_sums = sizeof *m->sums * (size_t)m->numbers, of_notes = sizeof *m->notes * (size_t)job->n;
    m->bytes = of_sums + of_notes + sizeof *m->maps * (size_t)(m->numbers + job->size);
    SPADE_TRY(spade_alloc(job->context, m->bytes, "maps of noisy copies", &m->memory));
    m->sums = m->memory;
    m->notes = (spade_map_note *)(m->sums + m->numbers);
    m->maps = (float *)(m->notes + job->n);
    m->copy = m->maps + m->numbers;
    memset(m->sums, 0, of_sums);
    return SPADE_OK;
}

/* notes: NULL where the method inside has none. */
static spade_status average(const attribution_job *job, const smooth_options *options, const mean *m, float *maps,
                            spade_map_note *notes)
{
    const spade_attribution *inner = options->of.attribution;
    const double deviation = attribution_noise_deviation(job, options->sigma), samples = (double)options->samples;
    const uint64_t key = attribution_input_key(job);
    attribution_job of_inner = inner_job(job, inner);
    of_inner.input = m->copy;
    for (int c = 0; notes && c < job->n; c++) { notes[c] = (spade_map_note){0, 0}; }
    for (int64_t sample = 0; sample < options->samples; sample++) {
        make_copy(job, key, deviation, (uint32_t)sample, m->copy);
        SPADE_TRY(attribution_run(&of_inner, inner, m->maps, notes ? m->notes : NULL));
        for (int64_t i = 0; i < m->numbers; i++) { m->sums[i] += m->maps[i]; }
        for (int c = 0; notes && c < job->n; c++) {
            notes[c].delta += m->notes[c].delta / samples;
            notes[c].difference += m->notes[c].difference / samples;
        }
    }
    for (int64_t i = 0; i < m->numbers; i++) { maps[i] = (float)(m->sums[i] / samples); }
    return SPADE_OK;
}

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    const bool noted = (spade_attribution_flags(inner_of(options)) & SPADE_METHOD_COMPLETENESS) != 0;
    mean m = {0};
    SPADE_TRY(open_mean(job, options, &m));
    spade_status status = average(job, options, &m, maps, noted ? notes : NULL);
    spade_free_bytes(job->context, m.memory, m.bytes);
    return status;
}

static const spade_option_info options[] = {
    ATTRIBUTION_SAMPLES_OPTION("noisy copies of the input", "25"),
    ATTRIBUTION_SIGMA_OPTION("0.15", NULL),
    {.name = "of",
     .help = "the method whose maps are averaged; it takes the rest of the text, or stands in quotes: "
             "of=gradcam:layer=layer3, of=\"gradcam:layer=layer3\"",
     .type = SPADE_OPTION_METHOD,
     .default_value = "gradcam"},
};
static const size_t option_offsets[] = {offsetof(smooth_options, samples), offsetof(smooth_options, sigma),
                                        offsetof(smooth_options, of)};

const attribution_method attribution_smooth = {
    .info = {.name = "smooth",
             .title = "Smoothed map",
             .definition =
                 "mean of the maps of another method over copies of x with Gaussian noise of deviation sigma * "
                 "(max x - min x)",
             .source = "Smilkov et al. 2017, SmoothGrad: removing noise by adding noise; of gradcam++: Omeiza et al. "
                       "2019, Smooth Grad-CAM++",
             .cost = "that of the method inside, for each sample",
             .flags = SPADE_METHOD_WRAPPER | SPADE_METHOD_RANDOM,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(smooth_options),
    .option_offsets = option_offsets,
    .check = check,
    .shape = shape,
    .passes = passes,
    .run = run,
    .flags = flags,
};
