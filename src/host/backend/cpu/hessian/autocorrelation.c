/* autocorrelation.c - squares of the diagonal, and H from lags; backend/autocorrelation.h says how. */
#include "backend/cpu/hessian/autocorrelation.h"

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Numbers of all tiles: the cells follow. */
static int64_t tile_numbers(const spade_autocorrelation *lags)
{
    return lags->groups * spade_autocorrelation_tiles(lags) * lags->count * spade_autocorrelation_block(lags) *
           spade_autocorrelation_block(lags);
}

int64_t spade_autocorrelation_size(const spade_autocorrelation *lags)
{
    return tile_numbers(lags) + spade_autocorrelation_cells(lags);
}

/* ---- the diagonal */

/* [cells, all channels] */
static double *cells_of(const spade_autocorrelation *lags, double *accumulator)
{
    return accumulator + tile_numbers(lags);
}

enum { SQUARES = 64 }; /* channels summed side by side */

/* Squares of one run of pixels in a row, in float32 (a few hundred at most), then added in float64. */
static void add_run(const float *x, int64_t pixels, int64_t stride, int64_t count, bool fp64, double *sums)
{
    float run[SQUARES] = {0};
    if (fp64 || count < SQUARES) {
        for (int64_t p = 0; p < pixels; p++) {
            for (int64_t c = 0; c < count; c++) { sums[c] += (double)x[p * stride + c] * (double)x[p * stride + c]; }
        }
        return;
    }
    for (int64_t p = 0; p < pixels; p++) {
        for (int64_t c = 0; c < SQUARES; c++) { run[c] += x[p * stride + c] * x[p * stride + c]; }
    }
    for (int64_t c = 0; c < SQUARES; c++) { sums[c] += (double)run[c]; }
}

void spade_autocorrelation_squares(const spade_autocorrelation *lags, const float *image, bool fp64, double *cells)
{
    int64_t channels = lags->groups * lags->channels, width = lags->axis[1].size, at = 0;
    memset(cells, 0, (size_t)spade_autocorrelation_cells(lags) * sizeof *cells);
    for (int64_t y = 0; y < lags->axis[0].cells; y++) {
        for (int64_t x = 0; x < lags->axis[1].cells; x++, at += channels) {
            int64_t left = lags->axis[1].cell_start[x], pixels = lags->axis[1].cell_start[x + 1] - left;
            for (int64_t row = lags->axis[0].cell_start[y]; row < lags->axis[0].cell_start[y + 1]; row++) {
                const float *run = image + (row * width + left) * channels;
                for (int64_t c = 0; c < channels; c += SQUARES) {
                    add_run(run + c, pixels, channels, smaller(channels - c, SQUARES), fp64, cells + at + c);
                }
            }
        }
    }
}

void spade_autocorrelation_add_cells(const spade_autocorrelation *lags, const double *cells, int64_t images,
                                     double alpha, double *accumulator)
{
    double *to = cells_of(lags, accumulator);
    int64_t size = spade_autocorrelation_cells(lags);
    for (int64_t n = 0; n < images; n++) {
        for (int64_t i = 0; i < size; i++) { to[i] += alpha * cells[n * size + i]; }
    }
}

/* H_ii of channel c (of all) and kernel offset d: the cells inside its window. */
static double diagonal(const spade_autocorrelation *lags, const double *cells, int64_t c, const int64_t d[2])
{
    int64_t begin[2], end[2];
    double sum = 0;
    for (int a = 0; a < 2; a++) { spade_lag_window(&lags->axis[a], d[a], &begin[a], &end[a]); }
    for (int64_t y = 0; y < lags->axis[0].cells; y++) {
        int64_t row = lags->axis[0].cell_start[y];
        if (row < begin[0] || row >= end[0]) { continue; }
        for (int64_t x = 0; x < lags->axis[1].cells; x++) {
            int64_t column = lags->axis[1].cell_start[x];
            if (column < begin[1] || column >= end[1]) { continue; }
            sum += cells[(y * lags->axis[1].cells + x) * lags->groups * lags->channels + c];
        }
    }
    return sum;
}

/* ---- H */

enum { MAX_TERMS = 9 };

/* One pair of kernel offsets as a signed sum of lags. */
typedef struct pair_terms {
    int count;
    int64_t offset[MAX_TERMS]; /* lag * block * block */
    double sign[MAX_TERMS];
} pair_terms;

/* The parts of one axis that a pair of offsets needs: whole; first t; last t. -> how many */
static int parts_of_pair(const spade_lag_axis *axis, int64_t d, int64_t e, int64_t parts[3])
{
    int count = 0;
    parts[count++] = 0;
    int64_t start = larger(d, e) - axis->pad, end = axis->cut[1] - smaller(d, e);
    if (smaller(d, e) > axis->pad) { parts[count++] = smaller(start, axis->cut[0]); }
    if (larger(d, e) < axis->cut[1]) { parts[count++] = axis->cut[0] + smaller(end, axis->cut[1]); }
    return count;
}

static pair_terms terms_of(const spade_autocorrelation *lags, const int64_t d[2], const int64_t e[2])
{
    pair_terms terms = {0};
    int64_t rows[3], columns[3], lag[2] = {e[0] - d[0], e[1] - d[1]};
    int ny = parts_of_pair(&lags->axis[0], d[0], e[0], rows);
    int nx = parts_of_pair(&lags->axis[1], d[1], e[1], columns);
    for (int y = 0; y < ny; y++) {
        for (int x = 0; x < nx; x++) {
            spade_lag_part part = spade_autocorrelation_part(lags, rows[y] * lags->axis[1].parts + columns[x]);
            if (llabs(lag[0]) >= part.reach[0] || llabs(lag[1]) >= part.reach[1]) { continue; }
            int64_t index = part.first + (lag[0] + part.reach[0] - 1) * part.row + lag[1] + part.reach[1] - 1;
            terms.offset[terms.count] = index * spade_autocorrelation_block(lags) * spade_autocorrelation_block(lags);
            terms.sign[terms.count++] = (y > 0) == (x > 0) ? 1.0 : -1.0;
        }
    }
    return terms;
}

/* One H to be read: which kernel positions, their pairs' terms, the exact diagonal. */
typedef struct reading {
    const spade_autocorrelation *lags;
    double *accumulator;
    int64_t group, offsets, first_tap;
    pair_terms *terms; /* [offsets, offsets] */
    double *diagonal;  /* [channels, offsets] */
    bool dead;         /* the diagonal has zeros */
} reading;

/* Row (c, t) of H, the columns of one block of channels: [channels of the block, offsets]. */
static void read_block(const reading *r, int64_t c, int64_t t, int64_t column, double *out)
{
    const spade_autocorrelation *lags = r->lags;
    int64_t block = spade_autocorrelation_block(lags);
    int64_t count = smaller(lags->channels - column * block, block);
    const double *row = spade_autocorrelation_tile(lags, r->accumulator, r->group, c / block, column, 0);
    row += c % block * block;
    for (int64_t u = 0; u < r->offsets; u++) {
        const pair_terms *terms = &r->terms[t * r->offsets + u];
        double sum[SPADE_LAG_BLOCK] = {0};
        for (int i = 0; i < terms->count; i++) {
            for (int64_t d = 0; d < block; d++) { sum[d] += terms->sign[i] * row[terms->offset[i] + d]; }
        }
        for (int64_t d = 0; d < count; d++) { out[d * r->offsets + u] = sum[d]; }
    }
}

/* The rows of channel c of H from its block on. Where the diagonal is exactly zero, the input is never read: so are its
 * row and column. */
static void read_channel(const reading *r, int64_t c, double *out)
{
    int64_t offsets = r->offsets, k = r->lags->channels * offsets, block = spade_autocorrelation_block(r->lags);
    for (int64_t column = c / block; column < spade_autocorrelation_blocks(r->lags); column++) {
        for (int64_t t = 0; t < offsets; t++) {
            read_block(r, c, t, column, out + (c * offsets + t) * k + column * block * offsets);
        }
    }
    for (int64_t row = c * offsets; row < (c + 1) * offsets; row++) {
        for (int64_t j = row; r->dead && j < k; j++) {
            if (r->diagonal[row] == 0 || r->diagonal[j] == 0) { out[row * k + j] = 0; }
        }
        out[row * k + row] = r->diagonal[row];
    }
}

static void tap_of(const reading *r, int64_t t, int64_t d[2])
{
    d[0] = (r->first_tap + t) / r->lags->axis[1].kernel;
    d[1] = (r->first_tap + t) % r->lags->axis[1].kernel;
}

static void prepare_reading(reading *r, const double *cells)
{
    for (int64_t t = 0; t < r->offsets; t++) {
        int64_t d[2], e[2];
        tap_of(r, t, d);
        for (int64_t u = 0; u < r->offsets; u++) {
            tap_of(r, u, e);
            r->terms[t * r->offsets + u] = terms_of(r->lags, d, e);
        }
        for (int64_t c = 0; c < r->lags->channels; c++) {
            double value = diagonal(r->lags, cells, r->group * r->lags->channels + c, d);
            r->diagonal[c * r->offsets + t] = value;
            r->dead = r->dead || value == 0;
        }
    }
}

spade_status spade_autocorrelation_read(const spade_device *device, const spade_autocorrelation *lags,
                                        const double *accumulator, int64_t group, int64_t offset, double *out)
{
    int64_t all = lags->axis[0].kernel * lags->axis[1].kernel, offsets = offset < 0 ? all : 1;
    reading r = {.lags = lags,
                 .accumulator = (double *)(uintptr_t)accumulator, /* is only read */
                 .group = group,
                 .offsets = offsets,
                 .first_tap = offset < 0 ? 0 : offset,
                 .terms = malloc((size_t)(offsets * offsets) * sizeof *r.terms),
                 .diagonal = malloc((size_t)(lags->channels * offsets) * sizeof *r.diagonal)};
    spade_status status = SPADE_OK;
    if (!r.terms || !r.diagonal) {
        status = spade_fail(device->context, SPADE_ERROR_MEMORY, "out of memory: terms of a Hessian");
        goto done;
    }
    prepare_reading(&r, cells_of(lags, r.accumulator));
#pragma omp parallel for schedule(dynamic, 4) num_threads(spade_cpu_threads(device))
    for (int64_t c = 0; c < lags->channels; c++) { read_channel(&r, c, out); }
done:
    free(r.terms);
    free(r.diagonal);
    return status;
}
