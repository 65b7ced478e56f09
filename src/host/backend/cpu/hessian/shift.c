/*
 * shift.c - the shift form: every lag (autocorrelation.h) as one long product. The images of a part stand in one
 * padded matrix [positions, channels] with `reach - 1` columns of zeros behind every row and `reach - 1` rows of zeros
 * behind every image. Then lag (Dy, Dx) pairs row q of the matrix with row q + Dy * width + Dx, whatever q: no window
 * wraps around into anything but zeros. For few channels on large images, where transforms cost more than the products.
 *
 * Tasks: lag x tile of channel pairs x run of positions; the products of one run, in the form's type, are added to the
 * float64 accumulator by the one task that has the tile and the lag, in the order of the runs.
 */
#include <cblas.h>

#include "backend/cpu/hessian/forms.h"
#include "backend/cpu/hessian/autocorrelation.h"
#include "backend/cpu/product.h"

enum { RUN = 4096 /* positions of one product */ };

typedef struct shift {
    const spade_device *device;
    spade_autocorrelation lags;
    const float *x;
    double alpha, *accumulator;
    bool fp64;
    size_t element;
    int64_t images, all; /* channels of all groups */
    int64_t tiles;       /* of LAG_BLOCK channels along an edge of the pairs */
    spade_lag_part part;
    int64_t height, width; /* of a padded image */
    char *padded;          /* [images * height * width + a margin, all] */
    char *products;        /* of each thread [LAG_BLOCK, LAG_BLOCK] */
    double *cells;
    bool *failed; /* a product found no memory */
} shift;

static void set_part(shift *s, int64_t index)
{
    s->part = spade_autocorrelation_part(&s->lags, index);
    s->height = s->part.size[0] + s->part.reach[0] - 1;
    s->width = s->part.size[1] + s->part.reach[1] - 1;
}

static shift resolve(const spade_device *device, const spade_hessian_desc *desc)
{
    shift s = {.device = device, .lags = spade_autocorrelation_of(desc), .images = desc->x.dims[0]};
    s.fp64 = desc->precision == SPADE_FP64;
    s.element = s.fp64 ? sizeof(double) : sizeof(float);
    s.all = s.lags.groups * s.lags.channels;
    s.tiles = (s.lags.channels + SPADE_LAG_BLOCK - 1) / SPADE_LAG_BLOCK;
    set_part(&s, 0);
    return s;
}

static size_t padded_bytes(const shift *s)
{
    return (size_t)(s->images * s->height * s->width * s->all) * s->element;
}

static size_t product_bytes(const shift *s)
{
    return (size_t)spade_cpu_threads(s->device) * SPADE_LAG_BLOCK * SPADE_LAG_BLOCK * s->element;
}

size_t spade_shift_workspace_bytes(const spade_device *device, const spade_hessian_desc *desc)
{
    shift s = resolve(device, desc);
    return padded_bytes(&s) + product_bytes(&s) +
           (size_t)(s.images * spade_autocorrelation_cells(&s.lags)) * sizeof(double) + 2 * SPADE_CPU_ALIGNMENT;
}

bool spade_shift_applies(const spade_hessian_desc *desc)
{
    return spade_autocorrelation_apply(desc) && desc->x.dims[1] > desc->groups;
}

double spade_shift_cost(const spade_hessian_desc *desc)
{
    spade_autocorrelation lags = spade_autocorrelation_of(desc);
    double width = (double)(lags.channels < spade_autocorrelation_block(&lags) ? lags.channels
                                                                               : spade_autocorrelation_block(&lags)),
           images = (double)desc->x.dims[0];
    double pairs = (double)(lags.groups * spade_autocorrelation_tiles(&lags)) * width * width,
           c = (double)(lags.groups * lags.channels), cost = 0;
    for (int64_t i = 0; i < spade_autocorrelation_parts(&lags); i++) {
        spade_lag_part part = spade_autocorrelation_part(&lags, i);
        double area = (double)((part.size[0] + part.reach[0] - 1) * (part.size[1] + part.reach[1] - 1)) * images;
        double count = (double)((2 * part.reach[0] - 1) * part.row);
        /* narrow products: up to 60 operations a nanosecond; copies at 4 numbers; 300 ns a product */
        cost += count * 2 * pairs * area / (120 * width / (width + SPADE_LAG_BLOCK)) + c * area / 4;
        cost += 300 * count * (double)(lags.groups * spade_autocorrelation_tiles(&lags));
    }
    return cost;
}

/* One row of one image of the part -> the padded matrix, with the zeros behind it. */
static void pad_row(const shift *s, int64_t image, int64_t y)
{
    int64_t width = s->lags.axis[1].size, run = s->part.size[1] * s->all,
            at = (image * s->height + y) * s->width * s->all;
    char *to = s->padded + (size_t)at * s->element;
    if (y >= s->part.size[0]) {
        memset(to, 0, (size_t)(s->width * s->all) * s->element);
        return;
    }
    const float *from =
        s->x + ((image * s->lags.axis[0].size + s->part.start[0] + y) * width + s->part.start[1]) * s->all;
    if (s->fp64) {
        double *out = (double *)(void *)to;
        for (int64_t i = 0; i < run; i++) { out[i] = (double)from[i]; }
    } else {
        memcpy(to, from, (size_t)run * sizeof *from);
    }
    memset(to + (size_t)run * s->element, 0, (size_t)((s->part.reach[1] - 1) * s->all) * s->element);
}

/* products [rows, columns] = A^T B, `count` positions */
static void multiply(const shift *s, int rows, int columns, int64_t count, const char *a, const char *b, char *c)
{
    if (s->fp64) {
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, columns, (int)count, 1.0,
                    (const double *)(const void *)a, (int)s->all, (const double *)(const void *)b, (int)s->all, 0.0,
                    (double *)(void *)c, SPADE_LAG_BLOCK);
        return;
    }
    const spade_cpu_matrix left = {(const float *)(const void *)a, s->all, true},
                           right = {(const float *)(const void *)b, s->all, false};
    if (!spade_cpu_product(rows, columns, count, left, right, (float *)(void *)c, SPADE_LAG_BLOCK)) {
        spade_cpu_set(s->failed);
    }
}

/* One lag of one tile, over all positions. */
static void run_tile(const shift *s, int64_t lag, int64_t group, int64_t row, int64_t column, char *products)
{
    int64_t dy = lag / s->part.row + 1 - s->part.reach[0], dx = lag % s->part.row + 1 - s->part.reach[1];
    int64_t shift_by = dy * s->width + dx, positions = s->images * s->height * s->width;
    int64_t begin = shift_by < 0 ? -shift_by : 0, end = shift_by > 0 ? positions - shift_by : positions;
    int64_t c = row * SPADE_LAG_BLOCK, d = column * SPADE_LAG_BLOCK, channels = s->lags.channels;
    int rows = (int)(channels - c < SPADE_LAG_BLOCK ? channels - c : SPADE_LAG_BLOCK);
    int columns = (int)(channels - d < SPADE_LAG_BLOCK ? channels - d : SPADE_LAG_BLOCK);
    double *to = spade_autocorrelation_tile(&s->lags, s->accumulator, group, row, column, s->part.first + lag);
    for (int64_t first = begin; first < end; first += RUN) {
        int64_t count = end - first < RUN ? end - first : RUN;
        const char *a = s->padded + (size_t)(first * s->all + group * channels + c) * s->element;
        const char *b = s->padded + (size_t)((first + shift_by) * s->all + group * channels + d) * s->element;
        multiply(s, rows, columns, count, a, b, products);
        for (int64_t r = 0; r < rows; r++) {
            double *line = to + r * SPADE_LAG_BLOCK;
            for (int64_t j = 0; j < columns; j++) {
                int64_t at = r * SPADE_LAG_BLOCK + j;
                line[j] +=
                    s->alpha * (s->fp64 ? ((double *)(void *)products)[at] : (double)((float *)(void *)products)[at]);
            }
        }
    }
}

/* One part; called by all threads. */
static void run_part(const shift *s)
{
    int64_t pairs = s->tiles * (s->tiles + 1) / 2, lags = (2 * s->part.reach[0] - 1) * s->part.row;
    char *products = s->products + (size_t)omp_get_thread_num() * SPADE_LAG_BLOCK * SPADE_LAG_BLOCK * s->element;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < s->images * s->height; i++) { pad_row(s, i / s->height, i % s->height); }
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < lags * s->lags.groups * pairs; task++) {
        int64_t rest = task % pairs, column = 0;
        while (rest > column) { rest -= ++column; }
        run_tile(s, task / pairs % lags, task / pairs / lags, rest, column, products);
    }
}

bool spade_shift_update(const spade_device *device, const spade_hessian_desc *desc, const float *x, double alpha,
                        double *accumulator, void *workspace)
{
    bool failed = false;
    shift s = resolve(device, desc);
    int64_t image = s.lags.axis[0].size * s.lags.axis[1].size * s.all;
    s.x = x;
    s.alpha = alpha;
    s.accumulator = accumulator;
    s.cells = workspace;
    s.failed = &failed;
    s.padded = (char *)(s.cells + s.images * spade_autocorrelation_cells(&s.lags));
    s.products = s.padded + (padded_bytes(&s) + SPADE_CPU_ALIGNMENT - 1) / SPADE_CPU_ALIGNMENT * SPADE_CPU_ALIGNMENT;
#pragma omp parallel num_threads(spade_cpu_threads(device))
    {
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < s.images; n++) {
            spade_autocorrelation_squares(&s.lags, x + n * image, s.fp64,
                                          s.cells + n * spade_autocorrelation_cells(&s.lags));
        }
#pragma omp single
        spade_autocorrelation_add_cells(&s.lags, s.cells, s.images, alpha, accumulator);
        for (int64_t i = 0; i < spade_autocorrelation_parts(&s.lags); i++) {
#pragma omp barrier /* the part before is still read */
#pragma omp single
            set_part(&s, i);
            run_part(&s);
        }
    }
    return !failed;
}
