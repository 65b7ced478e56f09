/*
 * rise.c - what the class keeps when random parts of the picture are left. A mask is a coarse grid of zeros and ones,
 * enlarged bilinearly to one cell more than the picture a side and cut to the picture's size at a random place, as in the
 * authors' code (between the grid's outermost cells and its border the grid is mirrored at the cells' centres). A pixel's
 * value is the mean over the masks of F times the mask there, over the mean of a mask.
 *
 * Mask i depends on (seed, input) and i only: more samples are those of fewer and others.
 */
#include <math.h>

#include "attribution/baseline.h"
#include "attribution/perturbation_driver.h"

enum { RISE_STREAM = 1 }; /* of random numbers under the key: the last word of their counters */

typedef struct rise_options {
    int64_t samples, grid;
    double probability;
    spade_baseline_option baseline;
} rise_options;

typedef struct rise {
    int64_t grid;
    double probability;
    int64_t cell[2]; /* rows and columns of the picture in a cell of the grid */
    spade_grid_position *positions[2];
    uint32_t key[2];
} rise;

static spade_status check(const attribution_job *job, const void *options)
{
    const int64_t grid = ((const rise_options *)options)->grid;
    const int64_t shorter = job->height < job->width ? job->height : job->width;
    if (grid <= shorter) { return attribution_baseline_check(job, &((const rise_options *)options)->baseline, false); }
    return spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                      "grid=%lld: the input is %lld x %lld, a grid has at most %lld cells a side", (long long)grid,
                      (long long)job->width, (long long)job->height, (long long)shorter);
}

static double passes(const attribution_job *job, const void *options)
{
    (void)job;
    return attribution_forward_passes(((const rise_options *)options)->samples);
}

/* ---- masks */

/* Rows (or columns) that a mask has before it is cut. */
static int64_t full_size(const rise *r, int axis)
{
    return (r->grid + 1) * r->cell[axis];
}

static void find_positions(const rise *r, int axis)
{
    const int64_t size = full_size(r, axis), last = r->grid - 1;
    for (int64_t i = 0; i < size; i++) {
        double at = ((double)i + 0.5) * (double)r->grid / (double)size - 0.5;
        at = fabs(at);
        at = at > (double)last ? 2 * (double)last - at : at;
        const int64_t first = (int64_t)at;
        r->positions[axis][i] = (spade_grid_position){
            .share = at - (double)first, .first = (int32_t)first, .second = (int32_t)(first < last ? first + 1 : last)};
    }
}

/* Two uniform numbers, block `block` of the image's. */
static void draw(const rise *r, int64_t image, int64_t block, double out[2])
{
    const uint32_t counter[4] = {(uint32_t)image, (uint32_t)block, 0, RISE_STREAM};
    uint32_t random[4];
    spade_philox(r->key, counter, random);
    out[0] = spade_uniform(random[0], random[1]);
    out[1] = spade_uniform(random[2], random[3]);
}

/* Where the mask is cut: block 0. */
static void place(const void *user, int64_t image, int32_t *shift)
{
    const rise *r = user;
    double uniform[2];
    draw(r, image, 0, uniform);
    for (int axis = 0; axis < 2; axis++) { shift[axis] = (int32_t)(uniform[axis] * (double)r->cell[axis]); }
}

/* The grid: two cells from each block from 1 on. */
static void replace_cells(const void *user, int64_t image, uint8_t *keep)
{
    const rise *r = user;
    const int64_t cells = r->grid * r->grid;
    for (int64_t cell = 0; cell < cells; cell += 2) {
        double uniform[2];
        draw(r, image, 1 + cell / 2, uniform);
        keep[cell] = uniform[0] < r->probability;
        if (cell + 1 < cells) { keep[cell + 1] = uniform[1] < r->probability; }
    }
}

/* ---- from values to maps */

/* sums [n, H, W] += F of the image * its mask; mask [W], keep [grid * grid]: scratch. */
static void add_image(const rise *r, const attribution_job *job, int64_t image, const double *values, int64_t images,
                      uint8_t *keep, double *mask, double *sums)
{
    int32_t shift[2];
    place(r, image, shift);
    replace_cells(r, image, keep);
    const spade_grid_position *rows = r->positions[0] + shift[0], *columns = r->positions[1] + shift[1];
    for (int64_t y = 0; y < job->height; y++) {
        for (int64_t x = 0; x < job->width; x++) { mask[x] = spade_grid_value(keep, r->grid, rows[y], columns[x]); }
        for (int c = 0; c < job->n; c++) {
            const double value = values[c * images + image];
            double *sum = sums + (c * job->height + y) * job->width;
            for (int64_t x = 0; x < job->width; x++) { sum[x] += value * mask[x]; }
        }
    }
}

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    (void)notes;
    const rise_options *o = options;
    const int64_t cells = o->grid * o->grid, numbers = job->n * job->height * job->width;
    const uint64_t key = spade_hash(job->input, sizeof(float) * (size_t)job->size, job->seed);
    rise r = {.grid = o->grid,
              .probability = o->probability,
              .cell = {(job->height + o->grid - 1) / o->grid, (job->width + o->grid - 1) / o->grid},
              .key = {(uint32_t)key, (uint32_t)(key >> 32)}};
    const size_t positions = (size_t)(full_size(&r, 0) + full_size(&r, 1));
    const size_t doubles = (size_t)(o->samples * job->n + job->width + numbers);
    const size_t bytes = sizeof *r.positions[0] * positions + sizeof(double) * doubles + (size_t)cells;
    spade_status status = SPADE_OK;
    attribution_baseline baseline = {0};
    void *memory;
    SPADE_TRY(spade_alloc(job->context, bytes, "the masks and values of an input", &memory));
    r.positions[0] = memory;
    r.positions[1] = r.positions[0] + full_size(&r, 0);
    double *values = (double *)(r.positions[0] + positions), *mask = values + o->samples * job->n;
    double *sums = mask + job->width;
    uint8_t *keep = (uint8_t *)(sums + numbers);
    SPADE_GOTO(attribution_baseline_open(job, &o->baseline, false, &baseline));
    for (int axis = 0; axis < 2; axis++) { find_positions(&r, axis); }
    const attribution_fade fade = {.grid = r.grid,
                                   .rows = r.positions[0],
                                   .columns = r.positions[1],
                                   .row_count = full_size(&r, 0),
                                   .column_count = full_size(&r, 1),
                                   .place = place};
    const attribution_masks masks = {.images = o->samples,
                                     .cells = cells,
                                     .baseline = baseline.pictures,
                                     .fade = &fade,
                                     .replace = replace_cells,
                                     .user = &r};
    SPADE_GOTO(attribution_perturb_masked(job, &masks, values));
    memset(sums, 0, sizeof *sums * (size_t)numbers);
    for (int64_t i = 0; i < o->samples; i++) { add_image(&r, job, i, values, o->samples, keep, mask, sums); }
    for (int64_t i = 0; i < numbers; i++) { maps[i] = (float)(sums[i] / ((double)o->samples * o->probability)); }
done:
    attribution_baseline_close(job, &baseline);
    spade_free_bytes(job->context, memory, bytes);
    return status;
}

static const spade_option_info options[] = {
    {.name = "samples",
     .help = "random masks",
     .type = SPADE_OPTION_INTEGER,
     .min = 1,
     .max = 100000,
     .default_value = "4000"},
    {.name = "grid",
     .help = "cells of a mask a side, before it is enlarged",
     .type = SPADE_OPTION_INTEGER,
     .min = 2,
     .max = 64,
     .default_value = "7"},
    {.name = "probability",
     .help = "that a cell is kept",
     .type = SPADE_OPTION_REAL,
     .min = 0.01,
     .max = 0.99,
     .default_value = "0.5"},
    ATTRIBUTION_BASELINE_OPTION("0"),
};
static const size_t option_offsets[] = {offsetof(rise_options, samples), offsetof(rise_options, grid),
                                        offsetof(rise_options, probability), offsetof(rise_options, baseline)};

const attribution_method attribution_rise = {
    .info = {.name = "rise",
             .title = "RISE",
             .definition =
                 "mean over random masks m of F(m x + (1 - m) baseline) m / probability; the paper's F is the "
                 "score: output=scores",
             .source = "Petsiuk, Das, Saenko 2018, RISE: randomized input sampling for explanation of black-box models",
             .cost = "one forward pass for each sample",
             .flags = SPADE_METHOD_OFFSET | SPADE_METHOD_RANDOM, /* about the mean of F at masked pictures */
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(rise_options),
    .option_offsets = option_offsets,
    .check = check,
    .shape = attribution_pixels_shape,
    .passes = passes,
    .run = run,
};
