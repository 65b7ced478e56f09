/*
 * spectral.c - the spectral form: lags (backend/autocorrelation.h) of the whole image from products of spectra, those of
 * its borders from products of pixels. Everything large is a product by cuBLAS.
 *
 * With X(f) the Fourier transform of the image, zero-padded to F = size + reach - 1 along each axis, so that no lag
 * wraps around,   R(D) = 1/(F F') sum over f of conj(X_c(f)) X_c'(f) e^(i f D).   Of the row frequencies half are
 * enough, the others are conjugates. In bands of row frequencies that bound the memory:
 *   transforms  along y: a table [2 band, H] times each image [H, W C]; along x: a table [F', 2 W] times each row [2 W,
 *               C], once for the real part A of the spectrum, once for the imaginary part B. Transforms this short gain
 *               nothing from an FFT, and results are the definition's, as the CPU's are.
 *   products    of each frequency, over all images: A^T A + B^T B, the even part, and A^T B, whose difference from its
 *               own transpose is the odd part: 6 n C^2 operations where a complex product takes 8.
 *   folding     a table [half the lags, frequencies] times the products [frequencies, C^2], even and odd
 * The sums of all bands are then added to the float64 accumulator.
 *
 * Borders: parts of one size are handled together. Their pixels stand beside the pixels at half of the lags in a matrix
 * [pixels, half lags, C], and its first C columns times all of it are the lags; the other half are the transposes.
 */
#include <limits.h>

#include "backend/cuda/hessian/hessian.h"

enum {
    BAND_BYTES = 128 << 20, /* of a band's products, or of its transforms of BAND_IMAGES images */
    BAND_IMAGES = 64,
    BORDER_BYTES = 64 << 20,
    BORDER_IMAGES = 64,      /* of a product of border pixels */
    BORDER_IMAGES_SMALL = 8, /* the same where a group has at most BORDER_SMALL channels, and the products are many */
    BORDER_SMALL = 128,
    MAX_PARTS = SPADE_KERNEL_LAG_PARTS * SPADE_KERNEL_LAG_PARTS
};

typedef struct spectral {
    const spade_cuda_device *cuda;
    spade_autocorrelation lags;
    spade_autocorrelation_kernel lags_kernel;
    spade_spectral_kernel transform;
    const float *x;
    double alpha, *accumulator;
    bool fp64;
    size_t element;
    int64_t images, all, pixels; /* channels of all groups; H * W */
    int64_t rows, columns;       /* frequencies: F/2 + 1 and F' */
    int64_t band, half;          /* rows of a band; half the lags */
    int64_t square;              /* groups * C * C */
    /* workspace */
    double *cells;
    void *row_table, *column_table, *fold_table;
    void *wide;                /* float64: x */
    void *along_y;             /* [image][band][real, imaginary][W][all] */
    void *spectra;             /* [real, imaginary][image][band][F'][all] */
    void *products[2];         /* even, odd: [band][F'][group][C, C] */
    void *folded[2];           /* [half lags][group][C, C] */
    void *borders, *edge_sums; /* in the place of all from along_y on */
} spectral;

/* ---- sizes */

static int64_t clamp(int64_t n, int64_t most)
{
    return n < 1 ? 1 : n > most ? most : n;
}

static spectral describe(const spade_hessian_desc *desc)
{
    spectral s = {.lags = spade_autocorrelation_of(desc), .images = desc->x.dims[0]};
    spade_lag_part whole = spade_autocorrelation_part(&s.lags, 0);
    s.lags_kernel = spade_cuda_lags_kernel(&s.lags);
    s.fp64 = desc->precision == SPADE_FP64;
    s.element = s.fp64 ? sizeof(double) : sizeof(float);
    s.all = s.lags.groups * s.lags.channels;
    s.square = s.all * s.lags.channels;
    for (int a = 0; a < 2; a++) {
        s.transform.size[a] = (int)whole.size[a];
        s.transform.reach[a] = (int)whole.reach[a];
        s.transform.length[a] = (int)(whole.size[a] + whole.reach[a] - 1);
    }
    s.pixels = whole.size[0] * whole.size[1];
    s.rows = s.transform.length[0] / 2 + 1;
    s.columns = s.transform.length[1];
    s.half = (spade_lag_part_count(&whole) + 1) / 2;
    /* from a fixed number of images: fewer of them never take more memory */
    int64_t images = BAND_IMAGES * 2 * whole.size[1] * s.all, products = s.columns * s.square * 2;
    int64_t row = (images > products ? images : products) * (int64_t)s.element;
    s.band = clamp(row > 0 ? BAND_BYTES / row : 1, s.rows);
    return s;
}

/* ---- parts at the borders that have one size */

typedef struct edge_list {
    bool done[MAX_PARTS];
} edge_list;

static bool next_edges(const spectral *s, edge_list *list, spade_border_kernel *out)
{
    spade_border_kernel e = {0};
    for (int64_t i = 1; i < spade_autocorrelation_parts(&s->lags) && e.parts < SPADE_KERNEL_BORDER_PARTS; i++) {
        spade_lag_part part = spade_autocorrelation_part(&s->lags, i);
        bool same = part.size[0] == e.size[0] && part.size[1] == e.size[1];
        if (list->done[i] || (e.parts > 0 && !same)) { continue; }
        list->done[i] = true;
        for (int a = 0; a < 2; a++) {
            e.size[a] = (int)part.size[a];
            e.reach[a] = (int)part.reach[a];
            e.start[e.parts][a] = (int)part.start[a];
        }
        e.middle[e.parts++] = part.first + spade_lag_part_count(&part) / 2;
    }
    *out = e;
    return e.parts > 0;
}

static int64_t edge_lags(const spade_border_kernel *e)
{
    return ((2 * (int64_t)e->reach[0] - 1) * (2 * e->reach[1] - 1) + 1) / 2;
}

/* Images of a product and products side by side, for as many images as fit. -> images that are handled at once */
static int64_t cut_edges(const spectral *s, spade_border_kernel *e)
{
    int64_t chunk = s->lags.channels > BORDER_SMALL ? BORDER_IMAGES : BORDER_IMAGES_SMALL;
    int64_t image = (int64_t)e->size[0] * e->size[1] * e->parts * edge_lags(e) * s->all * (int64_t)s->element;
    int64_t chunks = image > 0 ? BORDER_BYTES / (image * chunk) : 1;
    e->chunk = (int)clamp(chunk, s->images);
    e->chunks = (int)clamp(chunks, (s->images + e->chunk - 1) / e->chunk);
    return (int64_t)e->chunk * e->chunks;
}

/* Pixels, and their sums. */
static void edge_bytes(const spectral *s, const spade_border_kernel *e, size_t *pixels, size_t *sums)
{
    int64_t lags = e->parts * edge_lags(e);
    *pixels = (size_t)((int64_t)e->chunk * e->chunks * e->size[0] * e->size[1] * lags * s->all) * s->element;
    *sums = (size_t)(e->chunks * lags * s->square) * s->element;
}

/* base NULL only counts. */
static size_t lay_out(spectral *s, void *base)
{
    size_t used = 0, pixels = 0, sums = 0, element = s->element;
    int64_t frequencies = s->band * s->columns;
    s->cells =
        spade_cuda_take(base, &used, (size_t)(s->images * spade_autocorrelation_cells(&s->lags)) * sizeof(double));
    s->row_table = spade_cuda_take(base, &used, (size_t)(2 * s->rows * s->lags.axis[0].size) * element);
    s->column_table = spade_cuda_take(base, &used, (size_t)(4 * s->columns * s->lags.axis[1].size) * element);
    s->fold_table = spade_cuda_take(base, &used, (size_t)(2 * s->half * s->rows * s->columns) * element);
    size_t common = used;
    s->wide = spade_cuda_take(base, &used, s->fp64 ? (size_t)(s->images * s->pixels * s->all) * element : 0);
    s->along_y =
        spade_cuda_take(base, &used, (size_t)(s->images * s->band * 2 * s->lags.axis[1].size * s->all) * element);
    s->spectra = spade_cuda_take(base, &used, (size_t)(2 * s->images * frequencies * s->all) * element);
    for (int i = 0; i < 2; i++) {
        s->products[i] = spade_cuda_take(base, &used, (size_t)(frequencies * s->square) * element);
        s->folded[i] = spade_cuda_take(base, &used, (size_t)(s->half * s->square) * element);
    }
    edge_list list = {0};
    for (spade_border_kernel e; next_edges(s, &list, &e);) {
        size_t own_pixels, own_sums;
        cut_edges(s, &e);
        edge_bytes(s, &e, &own_pixels, &own_sums);
        if (own_pixels > pixels) { pixels = own_pixels; }
        if (own_sums > sums) { sums = own_sums; }
    }
    s->borders = spade_cuda_take(base, &common, pixels);
    s->edge_sums = spade_cuda_take(base, &common, sums);
    return used > common ? used : common;
}

size_t spade_cuda_spectral_workspace_bytes(const spade_hessian_desc *desc)
{
    spectral s = describe(desc);
    return lay_out(&s, NULL);
}

bool spade_cuda_spectral_applies(const spade_hessian_desc *desc)
{
    if (!spade_autocorrelation_apply(desc) || desc->x.dims[1] <= desc->groups) { return false; }
    spectral s = describe(desc);
    return s.square <= INT_MAX && s.band * s.columns * s.all * 2 <= INT_MAX && s.pixels * s.all <= INT_MAX;
}

/* ---- the model of its time */

static double edge_cost(const spectral *s)
{
    double cost = 0, c = (double)s->lags.channels, groups = (double)s->lags.groups, images = (double)s->images;
    edge_list list = {0};
    for (spade_border_kernel e; next_edges(s, &list, &e);) {
        double lags = (double)edge_lags(&e), area = (double)e.size[0] * e.size[1];
        double steps = images / (double)cut_edges(s, &e) + 1;
        cost += spade_cuda_product_cost(c, lags * c, area * images, groups * e.parts);
        cost += e.parts * lags * (double)s->all * (8 * images * area + 24 * steps * c) / SPADE_CUDA_BYTES;
        cost += 3 * steps * SPADE_CUDA_LAUNCH_COST;
    }
    return cost;
}

double spade_cuda_spectral_cost(const spade_hessian_desc *desc)
{
    spectral s = describe(desc);
    double images = (double)s.images, c = (double)s.lags.channels, groups = (double)s.lags.groups, all = (double)s.all;
    double height = (double)s.lags.axis[0].size, width = (double)s.lags.axis[1].size, rows = (double)s.rows;
    double frequencies = rows * (double)s.columns, panels = (double)spade_cuda_gram_panels(s.lags.channels);
    int64_t band_count = (s.rows + s.band - 1) / s.band;
    double bands = (double)band_count, square = (double)s.square, half = (double)s.half;
    double cost = spade_cuda_product_cost(2 * rows, width * all, height, images);
    cost += 2 * spade_cuda_product_cost((double)s.columns, all, 2 * width, images * rows);
    cost += spade_cuda_product_cost(c, c, images * 2, frequencies * groups) * (panels + 1) / (2 * panels);
    cost += spade_cuda_product_cost(c, c, images, frequencies * groups);
    cost += 2 * spade_cuda_product_cost(half, square, frequencies, 1);
    /* transforms and products are written and read; lags are read, their sums read and written */
    double numbers = images * all * (height * width * bands + 4 * rows * width + 6 * frequencies) +
                     4 * frequencies * square + 8 * half * square;
    double sums = images * height * width * all / SPADE_CUDA_SUMS;
    return cost + sums + 4 * numbers / SPADE_CUDA_BYTES + (4 + bands * (6 + panels)) * SPADE_CUDA_LAUNCH_COST +
           edge_cost(&s);
}

/* ---- an update */

/* base + `numbers` of the form's type */
static void *ahead(const spectral *s, void *base, int64_t numbers)
{
    return (char *)base + (size_t)numbers * s->element;
}

/* Row frequencies first .. first+count-1 of all images. */
static spade_status transform(const spectral *s, int64_t first, int64_t count)
{
    int64_t height = s->lags.axis[0].size, width = s->lags.axis[1].size, run = width * s->all;
    spade_cuda_product along_y = {.fp64 = s->fp64,
                                  .m = 2 * count,
                                  .n = run,
                                  .k = height,
                                  .batch = s->images,
                                  .alpha = 1,
                                  .a = ahead(s, s->row_table, 2 * first * height),
                                  .lda = height,
                                  .b = s->fp64 ? s->wide : (const void *)s->x,
                                  .ldb = run,
                                  .stride_b = height * run,
                                  .c = s->along_y,
                                  .ldc = run,
                                  .stride_c = 2 * count * run};
    SPADE_TRY(spade_cuda_multiply(s->cuda, &along_y));
    for (int part = 0; part < 2; part++) {
        spade_cuda_product along_x = {.fp64 = s->fp64,
                                      .m = s->columns,
                                      .n = s->all,
                                      .k = 2 * width,
                                      .batch = s->images * count,
                                      .alpha = 1,
                                      .a = ahead(s, s->column_table, part * s->columns * 2 * width),
                                      .lda = 2 * width,
                                      .b = s->along_y,
                                      .ldb = s->all,
                                      .stride_b = 2 * run,
                                      .c = ahead(s, s->spectra, part * s->images * count * s->columns * s->all),
                                      .ldc = s->all,
                                      .stride_c = s->columns * s->all};
        SPADE_TRY(spade_cuda_multiply(s->cuda, &along_x));
    }
    return SPADE_OK;
}

/* Products of the spectra of `count` row frequencies, over images. Groups and frequencies are one batch: they lie C
 * numbers apart. */
static spade_status multiply(const spectral *s, int64_t count)
{
    int64_t c = s->lags.channels, image = count * s->columns * s->all;
    spade_cuda_product even = {.fp64 = s->fp64,
                               .n = c,
                               .k = 2 * s->images, /* real and imaginary parts lie one behind the other */
                               .batch = count * s->columns * s->lags.groups,
                               .alpha = 1,
                               .a = s->spectra,
                               .lda = image,
                               .stride_a = c,
                               .c = s->products[0],
                               .ldc = c,
                               .stride_c = c * c};
    SPADE_TRY(spade_cuda_gram(s->cuda, &even));
    spade_cuda_product odd = even;
    odd.transpose_a = true;
    odd.m = c;
    odd.k = s->images;
    odd.b = ahead(s, s->spectra, s->images * image);
    odd.ldb = image;
    odd.stride_b = c;
    odd.c = s->products[1];
    return spade_cuda_multiply(s->cuda, &odd);
}

static spade_status fold(const spectral *s, int64_t first, int64_t count)
{
    int64_t spectrum = s->rows * s->columns;
    for (int part = 0; part < 2; part++) {
        spade_cuda_product p = {.fp64 = s->fp64,
                                .m = s->half,
                                .n = s->square,
                                .k = count * s->columns,
                                .batch = 1,
                                .alpha = 1,
                                .beta = first > 0 ? 1 : 0,
                                .a = ahead(s, s->fold_table, part * s->half * spectrum + first * s->columns),
                                .lda = spectrum,
                                .b = s->products[part],
                                .ldb = s->square,
                                .c = s->folded[part],
                                .ldc = s->square};
        SPADE_TRY(spade_cuda_multiply(s->cuda, &p));
    }
    return SPADE_OK;
}

static spade_status add_whole(const spectral *s)
{
    const spade_cuda_device *cuda = s->cuda;
    if (s->fp64) {
        SPADE_CUDA_LAUNCH(cuda, spade_launch_widen(cuda->stream, s->images * s->pixels * s->all, s->x, s->wide));
    }
    for (int64_t first = 0; first < s->rows; first += s->band) {
        int64_t count = s->rows - first < s->band ? s->rows - first : s->band;
        SPADE_TRY(transform(s, first, count));
        SPADE_TRY(multiply(s, count));
        SPADE_TRY(fold(s, first, count));
    }
    SPADE_CUDA_LAUNCH(cuda, spade_launch_add_spectral(cuda->stream, &s->lags_kernel, s->fp64, s->folded[0],
                                                      s->folded[1], s->alpha, s->accumulator));
    return SPADE_OK;
}

/* One size of parts, images first and on, as many as e holds. */
static spade_status add_borders(const spectral *s, spade_border_kernel e, int64_t first)
{
    const spade_cuda_device *cuda = s->cuda;
    int64_t left = s->images - first, most = (int64_t)e.chunk * e.chunks, c = s->lags.channels, lags = edge_lags(&e);
    e.images = (int)(left < most ? left : most);
    e.chunks = (e.images + e.chunk - 1) / e.chunk;
    SPADE_CUDA_LAUNCH(cuda, spade_launch_gather_borders(cuda->stream, &s->lags_kernel, e, s->fp64,
                                                        s->x + first * s->pixels * s->all, s->borders));
    int64_t pixels = (int64_t)e.chunk * e.size[0] * e.size[1];
    spade_cuda_product p = {.fp64 = s->fp64,
                            .transpose_a = true,
                            .m = c,
                            .n = lags * c,
                            .k = pixels,
                            .batch = e.parts * s->lags.groups * e.chunks,
                            .alpha = 1,
                            .a = s->borders,
                            .lda = lags * c,
                            .stride_a = pixels * lags * c,
                            .b = s->borders,
                            .ldb = lags * c,
                            .stride_b = pixels * lags * c,
                            .c = s->edge_sums,
                            .ldc = lags * c,
                            .stride_c = c * lags * c};
    SPADE_TRY(spade_cuda_multiply(cuda, &p));
    SPADE_CUDA_LAUNCH(cuda, spade_launch_add_borders(cuda->stream, &s->lags_kernel, e, s->fp64, s->edge_sums, s->alpha,
                                                     s->accumulator));
    return SPADE_OK;
}

spade_status spade_cuda_spectral_update(const spade_cuda_device *cuda, const spade_hessian_desc *desc, const float *x,
                                        double alpha, double *accumulator, void *workspace)
{
    spectral s = describe(desc);
    lay_out(&s, workspace);
    s.cuda = cuda;
    s.x = x;
    s.alpha = alpha;
    s.accumulator = accumulator;
    SPADE_CUDA_LAUNCH(cuda, spade_launch_sums(cuda->stream, SPADE_SUMS_CELLS, spade_cuda_patch_kernel(desc, x),
                                              &s.lags_kernel, (int)s.images, alpha, s.cells, accumulator));
    SPADE_CUDA_LAUNCH(cuda, spade_launch_spectral_tables(cuda->stream, s.transform, s.fp64, s.row_table, s.column_table,
                                                         s.fold_table));
    SPADE_TRY(add_whole(&s));
    edge_list list = {0};
    for (spade_border_kernel e; next_edges(&s, &list, &e);) {
        int64_t step = cut_edges(&s, &e);
        for (int64_t first = 0; first < s.images; first += step) { SPADE_TRY(add_borders(&s, e, first)); }
    }
    return SPADE_OK;
}

spade_status spade_cuda_autocorrelation_read(const spade_cuda_device *cuda, const spade_hessian_desc *desc,
                                             const void *accumulator, int64_t group, int64_t offset, double *out)
{
    const int64_t offsets = desc->window.kernel[0] * desc->window.kernel[1];
    const spade_autocorrelation geometry = spade_autocorrelation_of(desc);
    const spade_autocorrelation_kernel lags = spade_cuda_lags_kernel(&geometry);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_read_lags(cuda->stream, &lags, accumulator, (int)group,
                                                   offset < 0 ? 0 : (int)offset, offset < 0 ? (int)offsets : 1, out));
    return SPADE_OK;
}
