/*
 * spectral.c - the spectral form: lags (autocorrelation.h) from products of spectra.
 *
 * With X(f) the Fourier transform of the image, zero-padded to F = size + reach - 1 along each axis, so that no lag
 * wraps around,   R(D) = 1/(F F') sum over f of conj(X_c(f)) X_c'(f) e^(i f D).   One C x C product a frequency, about
 * 2 H W real ones in all, in place of 81 of H W for a 3x3 kernel.
 *
 * Each part of the image, in bands of row frequencies that fit a cache:
 *   transforms   one task per image and a few row frequencies: two matrix products with cosines and sines, along y for
 *                all columns and channels at once, then along x; transforms this short gain nothing from an FFT
 *   products     one task per tile of channel pairs (hessian_spectral_tile.h), over all images and frequencies of the
 * band, folded into lags at once: no spectrum of products is stored. Where tiles are few, the band is cut into several
 * runs of frequencies whose lags are added in order afterwards.
 */
#include <cblas.h>
#include <math.h>

#include "backend/cpu/hessian/forms.h"
#include "backend/cpu/hessian/autocorrelation.h"
#include "backend/cpu/hessian/spectral.h"
#include "backend/cpu/product.h"

enum {
    BAND_BYTES = 32 << 20, /* of spectra */
    TASK_ROWS = 32,        /* row frequencies transformed by one task */
    ENOUGH_TASKS = 32      /* products at a time, to be spread over the threads */
};

/* One update. Sizes in numbers of the form's type. */
typedef struct spectral {
    const spade_device *device;
    spade_autocorrelation lags;
    const float *x;
    double alpha, *accumulator;
    bool fp64;
    size_t element;
    int64_t images, all; /* channels of all groups */
    int64_t group_blocks, blocks, tiles;
    spade_spectral_kernels kernels;
    /* the part at hand */
    spade_lag_part part;
    int64_t size[2], rows; /* F; row frequencies */
    int64_t band;          /* row frequencies of a band */
    int64_t runs;          /* cuts of a band in the products */
    /* workspace */
    void *analysis[2];         /* y: [rows][cos, sin][H]; x: [cos 0 .. F/2, sin 1 ..][W] */
    void *cosine[2], *sine[2]; /* [F] */
    int64_t *offset;           /* [rows + 1]: of each row frequency of a band in its spectra */
    double *cells;             /* [images][cells of an image] */
    char *scratch;             /* of each thread: transforms or products */
    size_t scratch_bytes;
    char *spectra, *partial;
    bool *failed; /* a product found no memory */
} spectral;

/* ---- sizes */

static void set_part(spectral *s, int64_t index)
{
    s->part = spade_autocorrelation_part(&s->lags, index);
    for (int a = 0; a < 2; a++) { s->size[a] = s->part.size[a] + s->part.reach[a] - 1; }
    s->rows = s->size[0] / 2 + 1;
    int64_t row_bytes = s->size[1] * s->blocks * s->images * 2 * SPADE_SPECTRAL_BLOCK * (int64_t)s->element;
    s->band = row_bytes > 0 ? BAND_BYTES / row_bytes : 1;
    s->band = s->band < 1 ? 1 : s->band > s->rows ? s->rows : s->band;
    s->runs = s->tiles > 0 ? ENOUGH_TASKS / s->tiles : 1;
    s->runs = s->runs < 1 ? 1 : s->runs > s->band ? s->band : s->runs;
}

static int64_t part_lags(const spectral *s)
{
    return (2 * s->part.reach[0] - 1) * (2 * s->part.reach[1] - 1);
}

/* Tiles of one group: blocks of 16 channels times pairs of blocks from its own on. */
static int64_t count_tiles(const spectral *s)
{
    int64_t n = 0;
    for (int64_t row = 0; row * SPADE_SPECTRAL_ROWS < s->lags.channels; row++) { n += s->group_blocks / 2 - row / 2; }
    return n * s->lags.groups;
}

static size_t transform_scratch(const spectral *s)
{
    int64_t copy = s->fp64 ? s->part.size[0] * s->part.size[1] : 0;
    return (size_t)(s->all * (copy + 2 * TASK_ROWS * s->part.size[1] + 2 * s->size[1])) * s->element;
}

static size_t product_scratch(const spectral *s)
{
    return (size_t)(spade_spectral_row_numbers(s->part.reach[1]) + part_lags(s) * SPADE_SPECTRAL_TILE) * s->element;
}

/* Cut pieces of 64-byte multiples off the workspace; base NULL only counts. */
static void *take(char *base, size_t *used, size_t bytes)
{
    void *piece = base ? base + *used : NULL;
    *used += (bytes + SPADE_CPU_ALIGNMENT - 1) / SPADE_CPU_ALIGNMENT * SPADE_CPU_ALIGNMENT;
    return piece;
}

/* The whole image is the largest part in everything. */
static size_t lay_out(spectral *s, char *base)
{
    size_t used = 0, transform, product;
    set_part(s, 0);
    s->analysis[0] = take(base, &used, (size_t)(2 * s->rows * s->part.size[0]) * s->element);
    s->analysis[1] = take(base, &used, (size_t)(s->size[1] * s->part.size[1]) * s->element);
    for (int a = 0; a < 2; a++) {
        s->cosine[a] = take(base, &used, (size_t)s->size[a] * s->element);
        s->sine[a] = take(base, &used, (size_t)s->size[a] * s->element);
    }
    s->offset = take(base, &used, (size_t)(s->rows + 1) * sizeof *s->offset);
    s->cells = take(base, &used, (size_t)(s->images * spade_autocorrelation_cells(&s->lags)) * sizeof *s->cells);
    transform = transform_scratch(s);
    product = product_scratch(s);
    s->scratch_bytes = 0;
    take(NULL, &s->scratch_bytes, transform > product ? transform : product);
    s->scratch = take(base, &used, (size_t)spade_cpu_threads(s->device) * s->scratch_bytes);
    size_t most_spectra = 0, most_partial = 0;
    for (int64_t i = 0; i < spade_autocorrelation_parts(&s->lags); i++) {
        set_part(s, i);
        size_t spectra = (size_t)(s->band * s->size[1] * s->blocks * s->images * 2 * SPADE_SPECTRAL_BLOCK) * s->element;
        size_t partial =
            s->runs < 2 ? 0 : (size_t)(s->runs * s->tiles * part_lags(s) * SPADE_SPECTRAL_TILE) * s->element;
        if (spectra > most_spectra) { most_spectra = spectra; }
        if (partial > most_partial) { most_partial = partial; }
    }
    s->spectra = take(base, &used, most_spectra);
    s->partial = take(base, &used, most_partial);
    return used;
}

static spectral resolve(const spade_device *device, const spade_hessian_desc *desc)
{
    spectral s = {.device = device, .lags = spade_autocorrelation_of(desc), .images = desc->x.dims[0]};
    s.fp64 = desc->precision == SPADE_FP64;
    s.element = s.fp64 ? sizeof(double) : sizeof(float);
    s.all = s.lags.groups * s.lags.channels;
    s.group_blocks =
        (s.lags.channels + SPADE_LAG_BLOCK - 1) / SPADE_LAG_BLOCK * (SPADE_LAG_BLOCK / SPADE_SPECTRAL_BLOCK);
    s.blocks = s.lags.groups * s.group_blocks;
    s.tiles = count_tiles(&s);
    s.kernels = spade_spectral_choose(s.fp64);
    return s;
}

/* ---- tables of a part */

static void put(const spectral *s, void *table, int64_t i, double value)
{
    if (s->fp64) {
        ((double *)table)[i] = value;
    } else {
        ((float *)table)[i] = (float)value;
    }
}

static void fill_tables(spectral *s)
{
    const double turn = 2 * acos(-1.0);
    for (int a = 0; a < 2; a++) {
        int64_t f = s->size[a], n = s->part.size[a], half = f / 2 + 1;
        for (int64_t j = 0; j < f; j++) {
            put(s, s->cosine[a], j, cos(turn * (double)j / (double)f));
            put(s, s->sine[a], j, sin(turn * (double)j / (double)f));
        }
        for (int64_t k = 0; k < half; k++) {
            bool single = spade_spectral_is_single(k, f);
            for (int64_t j = 0; j < n; j++) {
                double angle = turn * (double)(k * j % f) / (double)f;
                if (a == 0) {
                    put(s, s->analysis[0], 2 * k * n + j, cos(angle));
                    put(s, s->analysis[0], (2 * k + 1) * n + j, sin(angle));
                } else {
                    put(s, s->analysis[1], k * n + j, cos(angle));
                    if (!single) { put(s, s->analysis[1], (half + k - 1) * n + j, sin(angle)); }
                }
            }
        }
    }
}

/* Where each row frequency of a band begins in its spectra. */
static void fill_offsets(spectral *s, int64_t first, int64_t last)
{
    s->offset[0] = 0;
    for (int64_t f = first; f < last; f++) {
        s->offset[f - first + 1] = s->offset[f - first] + spade_spectral_row_length(f, s->size);
    }
}

/* ---- transforms */

/* c [m, n] = a [m, k] b [k, n] */
static void multiply(const spectral *s, int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *b,
                     int64_t ldb, void *c, int64_t ldc)
{
    if (s->fp64) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1.0, a, (int)lda, b, (int)ldb,
                    0.0, c, (int)ldc);
        return;
    }
    const spade_cpu_matrix left = {a, lda, false}, right = {b, ldb, false};
    if (!spade_cpu_product(m, n, k, left, right, c, ldc)) { spade_cpu_set(s->failed); }
}

/* The part of an image as numbers of the form's type: in place where that is float. -> its row stride */
static int64_t load_image(const spectral *s, int64_t image, double *copy, const void **out)
{
    int64_t width = s->lags.axis[1].size, run = s->part.size[1] * s->all;
    const float *from =
        s->x + (image * s->lags.axis[0].size * width + s->part.start[0] * width + s->part.start[1]) * s->all;
    *out = from;
    if (!s->fp64) { return width * s->all; }
    for (int64_t y = 0; y < s->part.size[0]; y++) {
        for (int64_t i = 0; i < run; i++) { copy[y * run + i] = (double)from[y * width * s->all + i]; }
    }
    *out = copy;
    return run;
}

/* Row frequencies [first, last) of one image; `band_first` begins the band. */
static void transform(const spectral *s, int64_t image, int64_t first, int64_t last, int64_t band_first, char *scratch)
{
    int64_t h = s->part.size[0], w = s->part.size[1], run = w * s->all;
    char *along_y = scratch + (s->fp64 ? (size_t)(h * run) * s->element : 0);
    char *along_x = along_y + (size_t)(2 * TASK_ROWS * run) * s->element;
    size_t row_bytes = (size_t)(s->size[1] * s->all) * s->element;
    const void *source;
    int64_t stride = load_image(s, image, (double *)(void *)scratch, &source);
    const char *analysis = (const char *)s->analysis[0] + (size_t)(2 * first * h) * s->element;
    multiply(s, 2 * (last - first), run, h, analysis, h, source, stride, along_y, run);
    for (int64_t f = first; f < last; f++) {
        bool single = spade_spectral_is_single(f, s->size[0]);
        for (int i = 0; i < (single ? 1 : 2); i++) {
            multiply(s, s->size[1], s->all, w, s->analysis[1], w,
                     along_y + (size_t)((2 * (f - first) + i) * run) * s->element, s->all,
                     along_x + (size_t)i * row_bytes, s->all);
        }
        size_t at = (size_t)(s->offset[f - band_first] * s->blocks * s->images * 2 * SPADE_SPECTRAL_BLOCK);
        spade_spectral_row row = {.cosine = along_x,
                                  .sine = single ? NULL : along_x + row_bytes,
                                  .size = s->size[1],
                                  .groups = s->lags.groups,
                                  .channels = s->lags.channels,
                                  .group_blocks = s->group_blocks,
                                  .images = s->images,
                                  .image = image,
                                  .spectra = s->spectra + at * s->element};
        s->kernels.row(&row);
    }
}

/* ---- products */

/* The index-th tile: its group and blocks within the group. */
static void find_tile(const spectral *s, int64_t index, int64_t *group, int64_t *row, int64_t *column)
{
    int64_t each = s->tiles / s->lags.groups, rest = index % each, pairs = s->group_blocks / 2;
    *group = index / each;
    for (*row = 0; rest >= pairs - *row / 2; (*row)++) { rest -= pairs - *row / 2; }
    *column = 2 * (*row / 2 + rest);
}

/* Lags of a tile, of one run of frequencies -> the accumulator */
static void add_tile(const spectral *s, int64_t index, const void *lags)
{
    int64_t group, row, column, first, rows, count = part_lags(s);
    double scale = s->alpha / (double)(s->size[0] * s->size[1]);
    find_tile(s, index, &group, &row, &column);
    first = row * SPADE_SPECTRAL_ROWS;
    rows = s->lags.channels - first < SPADE_SPECTRAL_ROWS ? s->lags.channels - first : SPADE_SPECTRAL_ROWS;
    for (int64_t lag = 0; lag < count; lag++) {
        double *to =
            spade_autocorrelation_tile(&s->lags, s->accumulator, group, row / 2, column / 2, s->part.first + lag);
        to += first % SPADE_LAG_BLOCK * SPADE_LAG_BLOCK;
        for (int64_t i = 0; i < rows * SPADE_SPECTRAL_COLUMNS; i++) {
            int64_t at = lag * SPADE_SPECTRAL_TILE + i;
            to[i] += scale * (s->fp64 ? ((const double *)lags)[at] : (double)((const float *)lags)[at]);
        }
    }
}

/* Task number `task` of a band: run task / tiles, tile task % tiles. */
static void multiply_tile(const spectral *s, int64_t task, int64_t first, int64_t last, char *scratch)
{
    int64_t group, row, column, run = task / s->tiles, index = task % s->tiles, count = last - first;
    size_t tile_bytes = (size_t)(part_lags(s) * SPADE_SPECTRAL_TILE) * s->element;
    char *own = scratch + (size_t)spade_spectral_row_numbers(s->part.reach[1]) * s->element;
    find_tile(s, index, &group, &row, &column);
    spade_spectral_tile tile = {.spectra = s->spectra,
                                .images = s->images,
                                .blocks = s->blocks,
                                .row_block = group * s->group_blocks + row,
                                .column_block = group * s->group_blocks + column,
                                .first = count * run / s->runs,
                                .last = count * (run + 1) / s->runs,
                                .band_first = first,
                                .size = {s->size[0], s->size[1]},
                                .reach = {s->part.reach[0], s->part.reach[1]},
                                .offset = s->offset,
                                .cosine = {s->cosine[0], s->cosine[1]},
                                .sine = {s->sine[0], s->sine[1]},
                                .rows = scratch,
                                .lags = s->runs > 1 ? s->partial + (size_t)task * tile_bytes : own};
    s->kernels.tile(&tile);
    if (s->runs == 1) { add_tile(s, index, own); }
}

static void add_runs(const spectral *s, int64_t index)
{
    size_t tile_bytes = (size_t)(part_lags(s) * SPADE_SPECTRAL_TILE) * s->element;
    for (int64_t run = 0; run < s->runs; run++) {
        add_tile(s, index, s->partial + (size_t)(run * s->tiles + index) * tile_bytes);
    }
}

/* ---- an update */

/* One band of row frequencies [first, last); called by all threads. */
static void run_band(const spectral *s, int64_t first, int64_t last)
{
    int64_t cuts = (last - first + TASK_ROWS - 1) / TASK_ROWS;
    char *scratch = s->scratch + (size_t)omp_get_thread_num() * s->scratch_bytes;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < s->images * cuts; task++) {
        int64_t from = first + task % cuts * TASK_ROWS, to = from + TASK_ROWS < last ? from + TASK_ROWS : last;
        transform(s, task / cuts, from, to, first, scratch);
    }
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < s->runs * s->tiles; task++) { multiply_tile(s, task, first, last, scratch); }
    if (s->runs > 1) {
#pragma omp for schedule(dynamic)
        for (int64_t tile = 0; tile < s->tiles; tile++) { add_runs(s, tile); }
    }
}

static void run_squares(const spectral *s)
{
    int64_t image = s->lags.axis[0].size * s->lags.axis[1].size * s->all;
#pragma omp for schedule(dynamic)
    for (int64_t n = 0; n < s->images; n++) {
        spade_autocorrelation_squares(&s->lags, s->x + n * image, s->fp64,
                                      s->cells + n * spade_autocorrelation_cells(&s->lags));
    }
#pragma omp single
    spade_autocorrelation_add_cells(&s->lags, s->cells, s->images, s->alpha, s->accumulator);
}

bool spade_spectral_applies(const spade_hessian_desc *desc)
{
    return spade_autocorrelation_apply(desc) && desc->x.dims[1] > desc->groups;
}

double spade_spectral_cost(const spade_hessian_desc *desc)
{
    spade_autocorrelation lags = spade_autocorrelation_of(desc);
    double cost = 0, images = (double)desc->x.dims[0], all = (double)(lags.groups * lags.channels);
    double pairs = (double)(lags.groups * spade_autocorrelation_tiles(&lags) * spade_autocorrelation_block(&lags) *
                            spade_autocorrelation_block(&lags));
    for (int64_t i = 0; i < spade_autocorrelation_parts(&lags); i++) {
        spade_lag_part part = spade_autocorrelation_part(&lags, i);
        double f[2], n[2];
        for (int a = 0; a < 2; a++) {
            n[a] = (double)part.size[a];
            f[a] = (double)(part.size[a] + part.reach[a] - 1);
        }
        double transforms = 2 * f[0] * n[0] * n[1] * all + 2 * f[0] * f[1] * n[1] * all;
        double frequencies = f[0] * f[1] / 2 + 1, lag_count = (double)((2 * part.reach[0] - 1) * part.row);
        double products = frequencies * pairs * (8 + 10 * (double)part.row / images);
        /* both at some 100 operations a nanosecond; the spectra are written and read; 3 ns a lag of each pair at the
         * end */
        cost += images * ((transforms + products) / 100 + 2 * f[0] * f[1] * all / 2) + 3 * lag_count * pairs / 4;
    }
    return cost;
}

size_t spade_spectral_workspace_bytes(const spade_device *device, const spade_hessian_desc *desc)
{
    spectral s = resolve(device, desc);
    return lay_out(&s, NULL);
}

bool spade_spectral_update(const spade_device *device, const spade_hessian_desc *desc, const float *x, double alpha,
                           double *accumulator, void *workspace)
{
    bool failed = false;
    spectral s = resolve(device, desc);
    lay_out(&s, workspace);
    s.x = x;
    s.alpha = alpha;
    s.accumulator = accumulator;
    s.failed = &failed;
#pragma omp parallel num_threads(spade_cpu_threads(device))
    {
        run_squares(&s);
        for (int64_t i = 0; i < spade_autocorrelation_parts(&s.lags); i++) {
#pragma omp barrier /* the part before is still read */
#pragma omp single
            {
                set_part(&s, i);
                fill_tables(&s);
            }
            for (int64_t first = 0; first < s.rows; first += s.band) {
                int64_t last = first + s.band < s.rows ? first + s.band : s.rows;
#pragma omp single
                fill_offsets(&s, first, last);
                run_band(&s, first, last);
            }
        }
    }
    return !failed;
}
