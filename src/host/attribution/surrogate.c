/* surrogate.c - superpixels, F at coalitions of them, and the map of a linear model's coefficients. */
#include "attribution/surrogate.h"

#include "attribution/baseline.h"
#include "attribution/perturbation_driver.h"
#include "attribution/superpixels.h"

enum { SLIC, GRID };

/* segment_of [H * W] of the file, or of the grid; SLIC's segments are found by what the input looks like. */
static spade_status find_segments(const attribution_job *job, const surrogate_options *options, int32_t *segment_of,
                                  int64_t *count)
{
    if (options->segmentation) { return attribution_read_segments(job, options->segmentation, segment_of, count); }
    if (options->superpixels == SLIC) {
        SPADE_TRY(attribution_slic_segments(job, options->segments, options->compactness, segment_of, count));
    } else {
        attribution_grid_segments(job, options->segments, segment_of, count);
    }
    if (*count >= 2) { return SPADE_OK; }
    return spade_fail(job->context, SPADE_ERROR_INPUT,
                      "the %lld x %lld input is one superpixel, there must be two or more: segments=%lld is too few",
                      (long long)job->width, (long long)job->height, (long long)options->segments);
}

/* A file and a grid can be looked at before there is an input. */
spade_status surrogate_check(const attribution_job *job, const void *options)
{
    const surrogate_options *o = options;
    const size_t bytes = sizeof(int32_t) * (size_t)(job->height * job->width);
    int64_t count;
    void *segment_of;
    SPADE_TRY(attribution_baseline_check(job, &o->baseline, false));
    if (!o->segmentation && o->superpixels == SLIC) { return SPADE_OK; }
    SPADE_TRY(spade_alloc(job->context, bytes, "superpixels", &segment_of));
    spade_status status = find_segments(job, o, segment_of, &count);
    spade_free_bytes(job->context, segment_of, bytes);
    return status;
}

static void keep_coalition(const void *user, int64_t image, uint8_t *keep)
{
    const surrogate_problem *problem = user;
    memcpy(keep, problem->coalitions + image * problem->segments, (size_t)problem->segments);
}

/* The problem's segments are there. */
static spade_status solve(surrogate_problem *problem, const surrogate_method *method, float *maps)
{
    const attribution_job *job = problem->job;
    const int64_t pixels = job->height * job->width, segments = problem->segments, images = problem->images;
    const size_t of_values = (size_t)(job->n * images), of_coefficients = (size_t)(job->n * segments);
    const size_t bytes = sizeof(double) * (of_values + of_coefficients) + (size_t)(images * segments);
    spade_status status = SPADE_OK;
    void *memory;
    SPADE_TRY(spade_alloc(job->context, bytes, "coalitions of superpixels", &memory));
    double *values = memory;
    problem->values = values;
    problem->coefficients = values + of_values;
    problem->coalitions = (uint8_t *)(problem->coefficients + of_coefficients);
    method->draw(problem);
    const attribution_masks masks = {.images = images,
                                     .partitions = 1,
                                     .cells = segments,
                                     .baseline = problem->baseline,
                                     .cell_of = problem->segment_of,
                                     .replace = keep_coalition,
                                     .user = problem};
    SPADE_GOTO(attribution_perturb_masked(job, &masks, values));
    SPADE_GOTO(method->fit(problem));
    for (int64_t i = 0; i < job->n * pixels; i++) {
        maps[i] = (float)problem->coefficients[i / pixels * segments + problem->segment_of[i % pixels]];
    }
done:
    spade_free_bytes(job->context, memory, bytes);
    return status;
}

spade_status surrogate_run(const attribution_job *job, const surrogate_options *options, const surrogate_method *method,
                           float *maps, spade_map_note *notes)
{
    const size_t bytes = sizeof(int32_t) * (size_t)(job->height * job->width);
    const uint64_t key = spade_hash(job->input, sizeof(float) * (size_t)job->size, job->seed);
    spade_status status = SPADE_OK;
    attribution_baseline baseline = {0};
    surrogate_problem problem = {
        .job = job, .options = options, .notes = notes, .key = {(uint32_t)key, (uint32_t)(key >> 32)}};
    void *segment_of;
    SPADE_TRY(spade_alloc(job->context, bytes, "superpixels", &segment_of));
    SPADE_GOTO(attribution_baseline_open(job, &options->baseline, false, &baseline));
    problem.baseline = baseline.pictures;
    SPADE_GOTO(find_segments(job, options, segment_of, &problem.segments));
    problem.segment_of = segment_of;
    problem.images = method->images(options->samples, problem.segments);
    SPADE_GOTO(solve(&problem, method, maps));
done:
    attribution_baseline_close(job, &baseline);
    spade_free_bytes(job->context, segment_of, bytes);
    return status;
}

const spade_option_info surrogate_option_infos[SURROGATE_OPTIONS] = {
    {.name = "samples",
     .help = "random coalitions of superpixels",
     .type = SPADE_OPTION_INTEGER,
     .min = 1,
     .max = 100000,
     .default_value = "1000"},
    ATTRIBUTION_BASELINE_OPTION("0"),
    {.name = "superpixels",
     .help = "SLIC (Achanta et al. 2012) on the input's channels, or rectangles",
     .type = SPADE_OPTION_WORD,
     .words = "slic|grid",
     .default_value = "slic",
     .read_with = "!segmentation"},
    {.name = "segments",
     .help = "superpixels, about",
     .type = SPADE_OPTION_INTEGER,
     .min = 2,
     .max = MAX_SUPERPIXELS,
     .default_value = "50",
     .read_with = "!segmentation"},
    {.name = "compactness",
     .help = "of SLIC: how much distance counts beside colour, whose channels run from 0 to 1",
     .type = SPADE_OPTION_REAL,
     .min = 1e-3,
     .max = 1e3,
     .default_value = "0.1",
     .read_with = "superpixels=slic"},
    {.name = "segmentation",
     .help = "superpixels from a file, in place of the three options above, in the size of the network's input: whole "
             "numbers (.npy), or a picture without loss, each colour a superpixel",
     .type = SPADE_OPTION_FILE},
    {.name = "alpha",
     .help = "weight of the Lasso's |w|, in units of F",
     .type = SPADE_OPTION_REAL,
     .min = 1e-9,
     .max = 1e6,
     .default_value = "0.01"},
    {.name = "kernel_width",
     .help = "of the samples' weights, by their cosine distance from x",
     .type = SPADE_OPTION_REAL,
     .min = 0.01,
     .max = 1e6,
     .default_value = "1"},
};
const size_t surrogate_option_offsets[SURROGATE_OPTIONS] = {
    offsetof(surrogate_options, samples),     offsetof(surrogate_options, baseline),
    offsetof(surrogate_options, superpixels), offsetof(surrogate_options, segments),
    offsetof(surrogate_options, compactness), offsetof(surrogate_options, segmentation),
    offsetof(surrogate_options, alpha),       offsetof(surrogate_options, kernel_width)};
