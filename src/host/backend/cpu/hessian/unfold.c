/*
 * unfold.c - the direct form: patches gathered in chunks of positions, one product P^T P a chunk. Where the
 * patches are the rows of the input already (1x1 convolutions with stride 1, linear layers) nothing is gathered: a
 * rank-k update.
 *
 * Of each group's H [K, K] the lower triangle is cut into a grid of tiles that depends on K only. A task is one tile of
 * one chunk: a product (syrk on the diagonal, gemm below it) by one thread without BLAS threads, in float32 and then
 * added to the float64 accumulator, or in float64 at once. Where K is so small that the tiles are few, several chunks
 * are multiplied at a time and added in their order. So each number is the same sum in the same order for any number of
 * threads. A dead input gives sums of exact zeros, so its diagonal is 0.
 */
#include <cblas.h>

#include "backend/cpu/hessian/forms.h"
#include "backend/cpu/product.h"

enum {
    CHUNK = 2048,       /* positions gathered at a time */
    PLAIN_CHUNK = 4096, /* positions of a chunk that is not gathered */
    TILE = 256,         /* largest edge of a tile */
    ENOUGH_TASKS = 16
};

typedef struct unfold {
    const spade_device *device;
    spade_positions positions;
    double alpha, *h;
    bool fp64, plain;           /* plain: x is the gathered matrix already */
    size_t element;             /* bytes of a gathered number */
    int64_t row;                /* numbers of one gathered position: groups * K */
    int64_t edge, tiles, tasks; /* of a tile; along an edge of h; tiles of all groups */
    int64_t chunk, chunks;      /* positions of a chunk; chunks multiplied at a time */
    char *gathered;             /* [chunks * chunk, row] */
    float *products;            /* float32: [chunks][groups, K, K], or with one chunk at a time a tile of each thread */
    bool *failed;               /* a product found no memory */
} unfold;

static unfold resolve(const spade_device *device, const spade_hessian_desc *desc, const float *x)
{
    unfold u = {.device = device, .positions = spade_positions_of(desc, x)};
    int64_t k = u.positions.columns;
    u.fp64 = desc->precision == SPADE_FP64;
    u.plain = spade_hessian_desc_is_rows(desc) && !u.fp64;
    u.element = u.fp64 ? sizeof(double) : sizeof(float);
    u.row = u.positions.groups * k;
    u.tiles = k > TILE ? (k + TILE - 1) / TILE : k > TILE / 2 ? 2 : 1;
    u.edge = (k + u.tiles - 1) / u.tiles;
    u.tasks = u.positions.groups * u.tiles * (u.tiles + 1) / 2;
    u.chunk = u.plain ? PLAIN_CHUNK : CHUNK;
    u.chunks = u.tasks >= ENOUGH_TASKS || u.fp64 ? 1 : ENOUGH_TASKS / u.tasks;
    int64_t most = (u.positions.count + u.chunk - 1) / u.chunk;
    if (u.chunks > most) { u.chunks = most; }
    if (u.chunk > u.positions.count) { u.chunk = u.positions.count; }
    return u;
}

int64_t spade_unfold_size(const spade_hessian_desc *desc)
{
    spade_positions p = spade_positions_of(desc, NULL);
    return p.groups * p.columns * p.columns;
}

static size_t gathered_bytes(const unfold *u)
{
    return u->plain ? 0 : (size_t)(u->chunks * u->chunk * u->row) * u->element;
}

static int64_t product_numbers(const unfold *u)
{
    if (u->fp64) { return 0; }
    int64_t k = u->positions.columns;
    return u->chunks > 1 ? u->chunks * u->positions.groups * k * k : spade_cpu_threads(u->device) * u->edge * u->edge;
}

size_t spade_unfold_workspace_bytes(const spade_device *device, const spade_hessian_desc *desc)
{
    unfold u = resolve(device, desc, NULL);
    return gathered_bytes(&u) + (size_t)product_numbers(&u) * sizeof(float);
}

double spade_unfold_cost(const spade_hessian_desc *desc)
{
    spade_positions p = spade_positions_of(desc, NULL);
    double row = (double)(p.groups * p.columns), products = row * (double)p.columns * (double)p.count;
    double gather = spade_hessian_desc_is_rows(desc) ? 0 : row * (double)p.count;
    /* half of H at up to 130 operations a nanosecond, narrow products are slower; copies at 4 numbers a nanosecond */
    double k = (double)p.columns, rate = 130 * k / (k + 64) * (k < 32 ? k / 32 : 1);
    return products / rate + gather / 4;
}

/* ---- gathering */

/* Copy `count` channels to the gathered row; source NULL: outside the image. */
static char *put(const unfold *u, char *to, const float *source, int64_t count)
{
    int64_t stride = u->positions.stride_c;
    if (!source) {
        memset(to, 0, (size_t)count * u->element);
    } else if (u->fp64) {
        double *out = (double *)(void *)to;
        for (int64_t c = 0; c < count; c++) { out[c] = (double)source[c * stride]; }
    } else if (stride == 1) {
        memcpy(to, source, (size_t)count * sizeof *source);
    } else {
        float *out = (float *)(void *)to;
        for (int64_t c = 0; c < count; c++) { out[c] = source[c * stride]; }
    }
    return to + (size_t)count * u->element;
}

/* One position's patch -> row [groups, kernel row, kernel column, channel]. */
static void gather(const unfold *u, int64_t position, char *row)
{
    const spade_positions *p = &u->positions;
    if (p->desc->linear) {
        put(u, row, p->x + position * p->stride_n, p->channels);
        return;
    }
    const spade_window *w = &p->desc->window;
    spade_corner corner = spade_corner_of(p, position);
    for (int64_t g = 0; g < p->groups; g++) {
        const float *group = corner.image + g * p->group_channels * p->stride_c;
        for (int64_t r = 0; r < w->kernel[0]; r++) {
            int64_t y = corner.top + r * w->dilation[0];
            for (int64_t c = 0; c < w->kernel[1]; c++) {
                int64_t x = corner.left + c * w->dilation[1];
                bool inside = y >= 0 && y < p->height && x >= 0 && x < p->width;
                row = put(u, row, inside ? group + y * p->stride_h + x * p->stride_w : NULL, p->group_channels);
            }
        }
    }
}

/* ---- products */

/* A tile of all groups' lower triangles. */
typedef struct tile {
    int64_t group, row, column; /* its corner */
    int rows, columns;
    bool diagonal;
} tile;

static tile find_tile(const unfold *u, int64_t index)
{
    int64_t per_group = u->tiles * (u->tiles + 1) / 2, rest = index % per_group, i = 0, k = u->positions.columns;
    while (rest > i) { rest -= ++i; }
    tile t = {.group = index / per_group, .row = i * u->edge, .column = rest * u->edge, .diagonal = i == rest};
    t.rows = (int)(k - t.row < u->edge ? k - t.row : u->edge);
    t.columns = (int)(k - t.column < u->edge ? k - t.column : u->edge);
    return t;
}

/* c [rows, columns] (lower triangle on the diagonal) = P_rows^T P_columns over `count` positions */
static void multiply_float(const unfold *u, const tile *t, const float *p, int64_t count, float *c, int64_t ldc)
{
    const float *rows = p + t->group * u->positions.columns + t->row,
                *columns = p + t->group * u->positions.columns + t->column;
    const spade_cpu_matrix a = {rows, u->row, true}, b = {columns, u->row, false};
    bool done = t->diagonal ? spade_cpu_product_with_itself(t->rows, count, rows, u->row, c, ldc)
                            : spade_cpu_product(t->rows, t->columns, count, a, b, c, ldc);
    if (!done) { spade_cpu_set(u->failed); }
}

static void multiply_double(const unfold *u, const tile *t, const double *p, int64_t count)
{
    int64_t k = u->positions.columns;
    const double *a = p + t->group * k + t->row, *b = p + t->group * k + t->column;
    double *c = u->h + (t->group * k + t->row) * k + t->column;
    if (t->diagonal) {
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, t->rows, (int)count, u->alpha, a, (int)u->row, 1.0, c,
                    (int)k);
    } else {
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, t->rows, t->columns, (int)count, u->alpha, a, (int)u->row,
                    b, (int)u->row, 1.0, c, (int)k);
    }
}

/* h += alpha * c */
static void add_tile(const unfold *u, const tile *t, const float *c, int64_t ldc)
{
    int64_t k = u->positions.columns;
    for (int64_t r = 0; r < t->rows; r++) {
        double *to = u->h + (t->group * k + t->row + r) * k + t->column;
        int64_t columns = t->diagonal ? r + 1 : t->columns;
        for (int64_t j = 0; j < columns; j++) { to[j] += u->alpha * (double)c[r * ldc + j]; }
    }
}

/* Positions [first, first + count), one chunk. */
static void run_chunk(const unfold *u, int64_t first, int64_t count)
{
    const char *p = u->plain ? (const char *)(u->positions.x + first * u->row) : u->gathered;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < u->tasks; i++) {
        tile t = find_tile(u, i);
        if (u->fp64) {
            multiply_double(u, &t, (const double *)(const void *)p, count);
        } else {
            float *own = u->products + omp_get_thread_num() * u->edge * u->edge;
            multiply_float(u, &t, (const float *)(const void *)p, count, own, u->edge);
            add_tile(u, &t, own, u->edge);
        }
    }
}

/* The same for several chunks at once: all products, then their sums. float32 only. */
static void run_chunks(const unfold *u, int64_t first, int64_t count)
{
    int64_t k = u->positions.columns, chunks = (count + u->chunk - 1) / u->chunk, size = u->positions.groups * k * k;
    const float *p = u->plain ? u->positions.x + first * u->row : (const float *)(const void *)u->gathered;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < chunks * u->tasks; i++) {
        int64_t chunk = i / u->tasks, from = chunk * u->chunk, left = count - from;
        tile t = find_tile(u, i % u->tasks);
        multiply_float(u, &t, p + from * u->row, left < u->chunk ? left : u->chunk,
                       u->products + chunk * size + (t.group * k + t.row) * k + t.column, k);
    }
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < u->tasks; i++) {
        tile t = find_tile(u, i);
        for (int64_t chunk = 0; chunk < chunks; chunk++) {
            add_tile(u, &t, u->products + chunk * size + (t.group * k + t.row) * k + t.column, k);
        }
    }
}

bool spade_unfold_update(const spade_device *device, const spade_hessian_desc *desc, const float *x, double alpha,
                         double *accumulator, void *workspace)
{
    bool failed = false;
    unfold u = resolve(device, desc, x);
    u.failed = &failed;
    u.alpha = alpha;
    u.h = accumulator;
    u.gathered = workspace;
    u.products = (float *)(void *)(u.gathered + gathered_bytes(&u));
    int64_t step = u.chunk * u.chunks, all = u.positions.count;
#pragma omp parallel num_threads(spade_cpu_threads(device))
    for (int64_t first = 0; first < all; first += step) {
        int64_t count = all - first < step ? all - first : step;
        if (!u.plain) {
#pragma omp for schedule(static)
            for (int64_t i = 0; i < count; i++) { gather(&u, first + i, u.gathered + (size_t)(i * u.row) * u.element); }
        }
        if (u.chunks > 1) {
            run_chunks(&u, first, count);
        } else {
            run_chunk(&u, first, count);
        }
    }
    return !failed;
}

/* ---- reading: (row, column, channel) -> (channel, row, column) */

void spade_unfold_read(const spade_device *device, const spade_hessian_desc *desc, const double *accumulator,
                       int64_t group, int64_t offset, double *out)
{
    spade_positions p = spade_positions_of(desc, NULL);
    int64_t k = p.columns, channels = p.group_channels, offsets = offset < 0 ? k / channels : 1,
            first = offset < 0 ? 0 : offset;
    const double *h = accumulator + group * k * k;
#pragma omp parallel for schedule(dynamic, 4) num_threads(spade_cpu_threads(device))
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t t = 0; t < offsets; t++) {
            int64_t i = (first + t) * channels + c;
            double *row = out + (c * offsets + t) * channels * offsets;
            for (int64_t u = 0; u < offsets; u++) {
                for (int64_t d = c; d < channels; d++) {
                    int64_t j = (first + u) * channels + d;
                    row[d * offsets + u] = i > j ? h[i * k + j] : h[j * k + i];
                }
            }
        }
    }
}
