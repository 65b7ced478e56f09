/* slic.c - superpixels by SLIC: superpixels.h has the definition. One thread, sums in the order of the pixels. */
#include <math.h>

#include "attribution/superpixels.h"

enum { ROUNDS = 10 };

typedef struct slic {
    const attribution_job *job;
    int64_t rows, columns, centre_count; /* of the centres at the beginning; there are as many to the end */
    double spacing;                      /* S */
    double colour_weight, place_weight;  /* of squared differences */
    double *centres;                     /* [centre_count, channels + 2]: colour, row, column */
    double *sums;                        /* [centre_count, channels + 3]: of a round, and the number of pixels */
    double *distance;                    /* [H * W]: to the nearest centre so far */
    int32_t *nearest;                    /* [H * W] */
    int32_t *queue;                      /* [H * W]: pixels of a piece */
} slic;

static int64_t clamp(double value, int64_t high)
{
    return value < 0 ? 0 : value > (double)high ? high : (int64_t)value;
}

/* Centres in the middle of rectangles; every pixel belongs to its rectangle's. */
static void place_centres(slic *s)
{
    const attribution_job *job = s->job;
    const int64_t pixels = job->height * job->width;
    for (int64_t i = 0; i < s->centre_count; i++) {
        double *centre = s->centres + i * (job->channels + 2);
        const int64_t row = i / s->columns;
        const double y = ((double)row + 0.5) * (double)job->height / (double)s->rows - 0.5;
        const double x = ((double)(i % s->columns) + 0.5) * (double)job->width / (double)s->columns - 0.5;
        const int64_t pixel = (int64_t)y * job->width + (int64_t)x;
        for (int64_t c = 0; c < job->channels; c++) { centre[c] = job->input[c * pixels + pixel]; }
        centre[job->channels] = y;
        centre[job->channels + 1] = x;
    }
    for (int64_t p = 0; p < pixels; p++) {
        const int64_t row = p / job->width * s->rows / job->height, column = p % job->width * s->columns / job->width;
        s->nearest[p] = (int32_t)(row * s->columns + column);
        s->distance[p] = INFINITY;
    }
}

/* The pixels near centre i: which of them are nearer to it than to those before it. */
static void claim_pixels(slic *s, int64_t i)
{
    const attribution_job *job = s->job;
    const int64_t pixels = job->height * job->width;
    const double *centre = s->centres + i * (job->channels + 2), *at = centre + job->channels;
    const int64_t top = clamp(ceil(at[0] - 2 * s->spacing), job->height - 1);
    const int64_t bottom = clamp(floor(at[0] + 2 * s->spacing), job->height - 1);
    const int64_t left = clamp(ceil(at[1] - 2 * s->spacing), job->width - 1);
    const int64_t right = clamp(floor(at[1] + 2 * s->spacing), job->width - 1);
    for (int64_t y = top; y <= bottom; y++) {
        const double dy = (double)y - at[0];
        for (int64_t x = left; x <= right; x++) {
            const double dx = (double)x - at[1];
            const int64_t p = y * job->width + x;
            double colour = 0;
            for (int64_t c = 0; c < job->channels; c++) {
                const double difference = job->input[c * pixels + p] - centre[c];
                colour += difference * difference;
            }
            const double distance = s->colour_weight * colour + s->place_weight * (dy * dy + dx * dx);
            if (distance < s->distance[p]) {
                s->distance[p] = distance;
                s->nearest[p] = (int32_t)i;
            }
        }
    }
}

/* Each centre to the mean of its pixels; one without pixels stays. */
static void move_centres(slic *s)
{
    const attribution_job *job = s->job;
    const int64_t pixels = job->height * job->width, members = job->channels + 2;
    memset(s->sums, 0, sizeof *s->sums * (size_t)(s->centre_count * (members + 1)));
    for (int64_t p = 0; p < pixels; p++) {
        double *sum = s->sums + s->nearest[p] * (members + 1);
        for (int64_t c = 0; c < job->channels; c++) { sum[c] += job->input[c * pixels + p]; }
        const int64_t row = p / job->width;
        sum[job->channels] += (double)row;
        sum[job->channels + 1] += (double)(p % job->width);
        sum[members] += 1;
        s->distance[p] = INFINITY;
    }
    for (int64_t i = 0; i < s->centre_count; i++) {
        const double *sum = s->sums + i * (members + 1);
        for (int64_t k = 0; k < members && sum[members] > 0; k++) {
            s->centres[i * members + k] = sum[k] / sum[members];
        }
    }
}

/* ---- connected segments */

/* A pixel's neighbours above, left, right, below that exist; returns how many. */
static int find_neighbours(const attribution_job *job, int64_t p, int64_t out[4])
{
    const int64_t x = p % job->width;
    int count = 0;
    if (p >= job->width) { out[count++] = p - job->width; }
    if (x > 0) { out[count++] = p - 1; }
    if (x + 1 < job->width) { out[count++] = p + 1; }
    if (p + job->width < job->height * job->width) { out[count++] = p + job->width; }
    return count;
}

/* The piece of the pixels nearest to one centre that holds pixel p gets the number `segment`; returns its size. The piece is
 * left in the queue. */
static int64_t number_piece(slic *s, int64_t p, int32_t segment, int32_t *segment_of)
{
    int64_t size = 1;
    s->queue[0] = (int32_t)p;
    segment_of[p] = segment;
    for (int64_t i = 0; i < size; i++) {
        int64_t neighbours[4];
        const int count = find_neighbours(s->job, s->queue[i], neighbours);
        for (int k = 0; k < count; k++) {
            if (segment_of[neighbours[k]] < 0 && s->nearest[neighbours[k]] == s->nearest[p]) {
                segment_of[neighbours[k]] = segment;
                s->queue[size++] = (int32_t)neighbours[k];
            }
        }
    }
    return size;
}

/* Pieces in the order of their first pixels; a small one joins the piece beside its first pixel. A small piece before all
 * others has none: the next one joins it. */
static int64_t number_pieces(slic *s, int32_t *segment_of)
{
    const int64_t pixels = s->job->height * s->job->width;
    int32_t count = 0;
    for (int64_t p = 0; p < pixels; p++) { segment_of[p] = -1; }
    for (int64_t p = 0; p < pixels; p++) {
        if (segment_of[p] >= 0) { continue; }
        int64_t neighbours[4];
        int32_t beside = 0;
        const int known = find_neighbours(s->job, p, neighbours);
        for (int k = 0; k < known; k++) {
            if (segment_of[neighbours[k]] >= 0) {
                beside = segment_of[neighbours[k]];
                break;
            }
        }
        const int64_t size = number_piece(s, p, count, segment_of);
        if ((double)size * 4 > s->spacing * s->spacing) {
            count++;
            continue;
        }
        for (int64_t i = 0; i < size; i++) { segment_of[s->queue[i]] = beside; }
    }
    return count ? count : 1;
}

spade_status attribution_slic_segments(const attribution_job *job, int64_t wanted, double compactness,
                                       int32_t *segment_of, int64_t *count)
{
    const int64_t pixels = job->height * job->width;
    double low = job->input[0], high = job->input[0];
    for (int64_t e = 1; e < job->size; e++) {
        low = fmin(low, job->input[e]);
        high = fmax(high, job->input[e]);
    }
    slic s = {.job = job, .spacing = sqrt((double)pixels / (double)wanted)};
    attribution_rectangles(job, wanted, &s.rows, &s.columns);
    s.centre_count = s.rows * s.columns;
    s.colour_weight = high > low ? 1 / ((high - low) * (high - low)) : 0;
    s.place_weight = compactness * compactness / (s.spacing * s.spacing);
    const size_t centres = (size_t)(s.centre_count * (job->channels + 2));
    const size_t sums = (size_t)(s.centre_count * (job->channels + 3));
    const size_t bytes = sizeof(double) * (centres + sums + (size_t)pixels) + sizeof(int32_t) * 2 * (size_t)pixels;
    void *memory;
    SPADE_TRY(spade_alloc(job->context, bytes, "the superpixels of an input", &memory));
    s.centres = memory;
    s.sums = s.centres + centres;
    s.distance = s.sums + sums;
    s.nearest = (int32_t *)(s.distance + pixels);
    s.queue = s.nearest + pixels;
    place_centres(&s);
    for (int round = 0; round < ROUNDS; round++) {
        for (int64_t i = 0; i < s.centre_count; i++) { claim_pixels(&s, i); }
        move_centres(&s);
    }
    *count = number_pieces(&s, segment_of);
    spade_free_bytes(job->context, memory, bytes);
    return SPADE_OK;
}
