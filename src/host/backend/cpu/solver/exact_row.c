/*
 * exact_row.c - exact OBC of one row as a pivoted block Cholesky factorisation of the shared inverse A = H^-1.
 *
 * The definition removes, again and again, the group g of columns with the least w_g^T (A_gg)^-1 w_g / 2, then w -=
 * A_:g (A_gg)^-1 w_g and A -= A_:g (A_gg)^-1 A_g:. With L the Cholesky factor of A_gg, U = A_:g L^-T and z = L^-1 w_g
 * that is w -= U z and A -= U U^T: one block step of a Cholesky factorisation whose pivots the weights choose. To
 * choose, only w and the diagonal blocks D_g = A_gg have to be current; A itself may lag behind. So a panel of steps
 *   computes the pivot's columns of A as they would be now from the U of the panel so far (left-looking),
 *   brings w, D and the losses of all candidates up to date;
 * and after the panel one product of half the matrix, A -= U U^T, which leaves out the eliminated columns on the way.
 * That is K^3/3 multiply-adds a row instead of K^3, the matrix is read and written once a panel instead of once a step,
 * and the first panel reads the inverse that all rows share.
 *
 * Storage: of a group's b columns, position a of group g is [a][g] in w, D, U (neighbouring groups in one vector, see
 * exact_kernels.h) and column g * b + a of the matrix. The row's own matrix holds column >= row only, in bands of BAND
 * rows that begin at the band's first column. It is compacted in place: an element moves up and to the left, and is
 * written only after what was there has been read, as blocks go from left to right, in a block tiles from top to
 * bottom. Several threads write to a second matrix instead.
 */
#include <math.h>

#include "backend/cpu/solver/exact_row.h"

enum {
    LANES = SPADE_EXACT_LANES,
    TILE_ROWS = SPADE_EXACT_TILE_ROWS,
    TILE = SPADE_EXACT_TILE_COLUMNS,
    BAND = 8 * TILE,         /* rows of the matrix that are stored with one stride */
    BLOCK = 24 * TILE,       /* columns whose factors stay in the second-level cache */
    DEPTH = 96,              /* columns of a panel */
    DEPTH_ELEMENTS = 64,     /* where the factors of a panel are read once for every column, not every group */
    SHARED_NUMBERS = 1 << 15 /* min work of a step that several threads share */
};

/* A symmetric matrix: full, or the upper half in bands. */
typedef struct matrix {
    double *data;
    int64_t ld;
    bool banded;
} matrix;

typedef struct elimination {
    const spade_exact_kernels *kernels;
    int num_threads;
    int64_t group, depth;   /* b; columns of a panel at most */
    int64_t groups, stride; /* candidates, rounded up to LANES */
    const double *shared;   /* H^-1 [k, k] */
    int64_t k;
    matrix own, spare;     /* spare: of several threads */
    bool begun;            /* own holds the matrix; before that, shared does */
    double *w, *d, *loss;  /* [b, stride], [b (b + 1) / 2, stride], [stride] */
    double *u;             /* [depth, b, stride] */
    double *packed;        /* U of the columns that stay: [columns / 8, depth, 8] */
    double *x, *pivot, *z; /* [depth, b], [b, b], [b] */
    double *scratch;       /* [num_threads, b (b + 1) * LANES] */
    int32_t *ids;          /* candidates' numbers in the caller's row */
    int32_t *columns;      /* of the matrix that stay, filled up to TILE */
    int32_t *gone, *kept;  /* candidates that this panel eliminates, and the others */
} elimination;

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* ---- working memory */

static int64_t panel_depth(int64_t group)
{
    if (group == 1) { return DEPTH_ELEMENTS; }
    return group < DEPTH ? DEPTH / group * group : group;
}

static int64_t matrix_numbers(int64_t columns, int64_t ld)
{
    int64_t bands = columns / BAND, rest = columns % BAND;
    return BAND * (bands * ld - BAND * bands * (bands - 1) / 2) + rest * (ld - bands * BAND);
}

static void *take(char *memory, size_t *used, int64_t count, size_t size)
{
    void *at = memory ? memory + *used : NULL;
    *used += (size_t)round_up(count * (int64_t)size, SPADE_CPU_ALIGNMENT);
    return at;
}

/* Places of all arrays; memory NULL: only their size. */
static size_t lay_out(elimination *e, int64_t columns, int64_t group, int num_threads, char *memory)
{
    int64_t groups = columns / group, stride = round_up(groups, LANES), depth = panel_depth(group);
    int64_t padded = round_up(columns, TILE), ld = padded + LANES; /* rows are not a power of two apart */
    size_t used = 0, number = sizeof(double);
    e->group = group;
    e->depth = depth;
    e->num_threads = num_threads;
    e->own = (matrix){take(memory, &used, matrix_numbers(columns, ld), number), ld, true};
    e->spare =
        num_threads > 1 ? (matrix){take(memory, &used, matrix_numbers(columns, ld), number), ld, true} : (matrix){0};
    e->w = take(memory, &used, group * stride, number);
    e->d = take(memory, &used, group * (group + 1) / 2 * stride, number);
    e->loss = take(memory, &used, stride, number);
    e->u = take(memory, &used, depth * group * stride, number);
    e->packed = take(memory, &used, depth * padded, number);
    e->x = take(memory, &used, depth * group, number);
    e->pivot = take(memory, &used, group * group, number);
    e->z = take(memory, &used, group, number);
    e->scratch = take(memory, &used, num_threads * group * (group + 1) * LANES, number);
    e->ids = take(memory, &used, groups, sizeof(int32_t));
    e->columns = take(memory, &used, padded, sizeof(int32_t));
    e->gone = take(memory, &used, depth / group, sizeof(int32_t));
    e->kept = take(memory, &used, groups, sizeof(int32_t));
    return used;
}

size_t spade_cpu_exact_row_bytes(int64_t columns, int64_t group, int num_threads)
{
    elimination e;
    return lay_out(&e, columns, group, num_threads, NULL);
}

/* Element (i, j), j >= i, is at row(i)[j]. */
static double *matrix_row(const matrix *m, int64_t i)
{
    if (!m->banded) { return m->data + i * m->ld; }
    int64_t band = i / BAND, skipped = band * BAND;
    return m->data + skipped * m->ld - BAND * BAND * (band * (band - 1) / 2) + (i - skipped) * (m->ld - skipped) -
           skipped;
}

static matrix current_matrix(const elimination *e)
{
    return e->begun ? e->own : (matrix){(double *)(uintptr_t)e->shared, e->k, false};
}

/* ---- the candidates */

/* Lanes past the last group: eliminated, with numbers that do no harm. */
static void fill_lanes(elimination *e)
{
    for (int64_t g = e->groups; g < e->stride; g++) {
        for (int64_t a = 0; a < e->group; a++) {
            e->w[a * e->stride + g] = 0.0;
            for (int64_t p = 0; p <= a; p++) { e->d[(a * (a + 1) / 2 + p) * e->stride + g] = a == p ? 1.0 : 0.0; }
        }
        e->loss[g] = INFINITY;
    }
}

static void load_candidates(elimination *e, const double *w)
{
    int64_t b = e->group;
    for (int64_t g = 0; g < e->groups; g++) {
        e->ids[g] = (int32_t)g;
        for (int64_t a = 0; a < b; a++) {
            const double *row = e->shared + (g * b + a) * e->k + g * b;
            e->w[a * e->stride + g] = w[g * b + a];
            for (int64_t p = 0; p <= a; p++) { e->d[(a * (a + 1) / 2 + p) * e->stride + g] = row[p]; }
        }
    }
    fill_lanes(e);
    spade_exact_step step = {.group = b, .stride = e->stride, .w = e->w, .d = e->d, .loss = e->loss};
    e->kernels->advance(&step, 0, e->stride, e->scratch);
    fill_lanes(e);
}

/* The first of the lowest losses; -1: there is none below infinity (not a number, all eliminated). */
static int64_t find_lowest(const double *loss, int64_t n)
{
    enum { PART = 64 };
    double best = INFINITY;
    int64_t in = -1;
    for (int64_t at = 0; at < n; at += PART) {
        int64_t end = at + PART < n ? at + PART : n;
        double lowest[LANES], low;
        for (int l = 0; l < LANES; l++) { lowest[l] = INFINITY; }
        for (int64_t i = at; i < end; i += LANES) {
            for (int l = 0; l < LANES; l++) { lowest[l] = loss[i + l] < lowest[l] ? loss[i + l] : lowest[l]; }
        }
        low = lowest[0];
        for (int l = 1; l < LANES; l++) { low = lowest[l] < low ? lowest[l] : low; }
        if (low < best) {
            best = low;
            in = at;
        }
    }
    while (in >= 0 && !(loss[in] <= best)) { in++; }
    return in;
}

/* L of the pivot's diagonal block with its diagonal inverted, z = L^-1 w. */
static bool factor_pivot(elimination *e, int64_t g)
{
    int64_t b = e->group, stride = e->stride;
    double *l = e->pivot;
    for (int64_t i = 0; i < b; i++) {
        double z = e->w[i * stride + g], diagonal = 0;
        for (int64_t j = 0; j <= i; j++) {
            double sum = e->d[(i * (i + 1) / 2 + j) * stride + g];
            for (int64_t k = 0; k < j; k++) { sum -= l[i * b + k] * l[j * b + k]; }
            if (j < i) {
                l[i * b + j] = sum * l[j * b + j];
                z -= l[i * b + j] * e->z[j];
            } else {
                diagonal = sum;
            }
        }
        if (!(diagonal > 0 && isfinite(diagonal))) { return false; }
        l[i * b + i] = 1.0 / sqrt(diagonal);
        e->z[i] = z * l[i * b + i];
    }
    return true;
}

/* The pivot's columns of the matrix as the last panel left it -> h [b, b, stride]. */
static void gather_pivot(const elimination *e, int64_t pivot, double *h)
{
    int64_t b = e->group, stride = e->stride, size = b * stride;
    matrix m = current_matrix(e);
    for (int64_t i = 0; b > 1 && i < pivot * b; i++) { /* far apart: all are on their way before the first is needed */
        const double *row = matrix_row(&m, i) + pivot * b;
        __builtin_prefetch(row);
        __builtin_prefetch(row + b - 1);
    }
    for (int64_t g = 0; g < pivot; g++) {
        for (int64_t a = 0; a < b; a++) {
            const double *row = matrix_row(&m, g * b + a) + pivot * b;
            for (int64_t c = 0; c < b; c++) { h[c * size + a * stride + g] = row[c]; }
        }
    }
    for (int64_t c = 0; c < b; c++) {
        const double *row = matrix_row(&m, pivot * b + c);
        for (int64_t a = 0; a < b; a++) {
            double *to = h + c * size + a * stride;
            to[pivot] = 0.0;
            for (int64_t g = pivot + 1; g < e->groups; g++) { to[g] = row[g * b + a]; }
            for (int64_t g = e->groups; g < stride; g++) { to[g] = 0.0; }
        }
    }
}

/* h -= U U_pivot^T over the `depth` columns of this panel so far; then w, D, losses. */
static void advance_candidates(elimination *e, int64_t pivot, int64_t depth, double *h)
{
    int64_t b = e->group, stride = e->stride, size = b * stride;
    for (int64_t s = 0; s < depth; s++) {
        for (int64_t c = 0; c < b; c++) { e->x[s * b + c] = e->u[s * size + c * stride + pivot]; }
    }
    spade_exact_products products = {.size = size, .depth = depth, .count = b, .u = e->u, .x = e->x, .h = h};
    spade_exact_step step = {
        .group = b, .stride = stride, .h = h, .w = e->w, .d = e->d, .loss = e->loss, .pivot = e->pivot, .z = e->z};
    if (e->num_threads == 1 || size * depth * b < SHARED_NUMBERS) {
        if (depth) { e->kernels->subtract_products(&products, 0, size); }
        e->kernels->advance(&step, 0, stride, e->scratch);
        return;
    }
    int64_t part = round_up((stride + e->num_threads - 1) / e->num_threads, LANES);
#pragma omp parallel for num_threads(e->num_threads) schedule(static, 1)
    for (int64_t first = 0; first < stride; first += part) {
        int64_t last = first + part < stride ? first + part : stride;
        for (int64_t a = 0; depth && a < b; a++) {
            e->kernels->subtract_products(&products, a * stride + first, a * stride + last);
        }
        e->kernels->advance(&step, first, last, e->scratch + (int64_t)omp_get_thread_num() * b * (b + 1) * LANES);
    }
}

/* Up to `steps` eliminations. Returns how many, -1 where a pivot is not positive definite. */
static int64_t eliminate_panel(elimination *e, int64_t steps, int32_t *order, double *losses)
{
    int64_t b = e->group, size = b * e->stride;
    for (int64_t t = 0; t < steps; t++) {
        int64_t pivot = find_lowest(e->loss, e->stride);
        if (pivot < 0 || !factor_pivot(e, pivot)) { return -1; }
        double *h = e->u + t * b * size;
        order[t] = e->ids[pivot];
        losses[t] = e->loss[pivot];
        e->gone[t] = (int32_t)pivot;
        if (t + 1 == e->groups) { return t + 1; }
        gather_pivot(e, pivot, h);
        advance_candidates(e, pivot, t * b, h);
        for (int64_t s = 0; s <= t; s++) { e->loss[e->gone[s]] = INFINITY; }
        for (int64_t g = e->groups; g < e->stride; g++) { e->loss[g] = INFINITY; }
    }
    return steps;
}

/* ---- after a panel: what stays moves together */

/* kept and columns from gone; returns how many groups stay. */
static int64_t list_kept(elimination *e, int64_t steps)
{
    int64_t count = 0, b = e->group;
    for (int64_t s = 0; s < steps; s++) { e->ids[e->gone[s]] = -1; }
    for (int64_t g = 0; g < e->groups; g++) {
        if (e->ids[g] < 0) { continue; }
        for (int64_t a = 0; a < b; a++) { e->columns[count * b + a] = (int32_t)(g * b + a); }
        e->kept[count++] = (int32_t)g;
    }
    /* column 0: any would do that does not look like a neighbour of the last one */
    for (int64_t i = count * b; i % TILE; i++) { e->columns[i] = 0; }
    return count;
}

/* U of the columns that stay, in panels of eight columns; zeros up to a whole tile. */
static void pack_columns(const elimination *e, int64_t count, int64_t depth)
{
    int64_t b = e->group, stride = e->stride, columns = count * b;
    for (int64_t first = 0; first < count; first += LANES) {
        int64_t last = first + LANES < count ? first + LANES : count;
        for (int64_t k = 0; k < depth; k++) {
            const double *u = e->u + k * b * stride;
            for (int64_t g = first; g < last; g++) {
                for (int64_t a = 0; a < b; a++) {
                    int64_t i = g * b + a;
                    e->packed[(i / LANES * depth + k) * LANES + i % LANES] = u[a * stride + e->kept[g]];
                }
            }
        }
    }
    for (int64_t i = columns; i % TILE; i++) {
        for (int64_t k = 0; k < depth; k++) { e->packed[(i / LANES * depth + k) * LANES + i % LANES] = 0.0; }
    }
}

/* Tiles of the rows first .. last and of the columns from .. to, where column >= row. */
static void update_block(const elimination *e, const matrix *old, const matrix *new, int64_t first, int64_t last,
                         int64_t from, int64_t to, int64_t depth)
{
    int64_t columns = last; /* rows past the last do not exist */
    for (int64_t i = first; i < last; i += TILE_ROWS) {
        double *rows[TILE_ROWS];
        spade_exact_tile tile = {.depth = depth, .a = e->packed + i * depth};
        tile.rows = (int)(columns - i < TILE_ROWS ? columns - i : TILE_ROWS);
        for (int64_t r = 0; r < TILE_ROWS; r++) {
            int64_t row = r < tile.rows ? i + r : i;
            tile.from[r] = matrix_row(old, e->columns[row]);
            rows[r] = matrix_row(new, row);
        }
        int64_t diagonal = i / TILE * TILE;
        for (int64_t j = diagonal > from ? diagonal : from; j < to; j += TILE) {
            tile.b = e->packed + j * depth;
            tile.columns = e->columns + j;
            for (int r = 0; r < TILE_ROWS; r++) { tile.to[r] = rows[r] + j; }
            for (int v = 0; v < TILE / LANES; v++) {
                const int32_t *run = tile.columns + v * LANES;
                tile.run[v] = run[LANES - 1] - run[0] == LANES - 1;
            }
            e->kernels->update_tile(&tile);
        }
    }
}

/* The new matrix of the columns that stay: A - U U^T. */
static void update_matrix(elimination *e, int64_t columns, int64_t depth)
{
    matrix old = current_matrix(e), new = e->num_threads > 1 && e->begun ? e->spare : e->own;
    for (int64_t from = 0; from < columns; from += BLOCK) {
        int64_t to = from + BLOCK < columns ? from + BLOCK : columns;
        if (e->num_threads == 1) {
            update_block(e, &old, &new, 0, to, from, to, depth);
            continue;
        }
#pragma omp parallel for num_threads(e->num_threads) schedule(dynamic, 1)
        for (int64_t first = 0; first < to; first += BAND) {
            update_block(e, &old, &new, first, first + BAND < to ? first + BAND : to, from, to, depth);
        }
    }
    if (e->num_threads > 1 && e->begun) { e->spare = e->own; }
    e->own = new;
    e->begun = true;
}

/* [count, from] -> [count, to], only the kept ones of each line. */
static void compact_lines(const int32_t *kept, int64_t n, double *lines, int64_t count, int64_t from, int64_t to)
{
    for (int64_t i = 0; i < count; i++) {
        for (int64_t g = 0; g < n; g++) { lines[i * to + g] = lines[i * from + kept[g]]; }
    }
}

static void compact_candidates(elimination *e, int64_t count)
{
    int64_t b = e->group, stride = round_up(count, LANES);
    compact_lines(e->kept, count, e->w, b, e->stride, stride);
    compact_lines(e->kept, count, e->d, b * (b + 1) / 2, e->stride, stride);
    compact_lines(e->kept, count, e->loss, 1, e->stride, stride);
    for (int64_t g = 0; g < count; g++) { e->ids[g] = e->ids[e->kept[g]]; }
    e->groups = count;
    e->stride = stride;
    fill_lanes(e);
}

bool spade_cpu_exact_row(const spade_exact_args *args, int64_t row, void *workspace, int num_threads)
{
    elimination e = {.kernels = spade_cpu_exact_kernels(), .shared = args->inverse, .k = args->columns};
    int64_t groups = args->columns / args->group, done = 0;
    int32_t *order = args->order + row * groups;
    double *losses = args->losses + row * groups;
    lay_out(&e, args->columns, args->group, num_threads, workspace);
    e.groups = groups;
    e.stride = round_up(groups, LANES);
    load_candidates(&e, args->w + row * args->columns);
    while (e.groups) {
        int64_t steps = e.depth / e.group < e.groups ? e.depth / e.group : e.groups;
        if (eliminate_panel(&e, steps, order + done, losses + done) < 0) { return false; }
        done += steps;
        int64_t count = list_kept(&e, steps);
        if (count) {
            pack_columns(&e, count, steps * e.group);
            update_matrix(&e, count * e.group, steps * e.group);
            compact_candidates(&e, count);
        }
        e.groups = count;
    }
    return true;
}
