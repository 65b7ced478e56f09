/*
 * sweep.c - the fast solver's sweep without any inverse, float64.
 *
 * The definition (include/spade/solve.h) goes from left to right with U, H^-1 = U^T U, and after column i subtracts
 * err_i (x) U[i, i:] from the columns to the right, err_i = pruned / U_ii. With V = U^-1 (H = V V^T) it needs only V:
 *   Let W be the weights as given, Q the result, D = W - Q, E the errors by column. All updates together: D = E U, so E
 * = D V. The weights of column j just before its turn miss the updates of the columns before it: w_j = W_j - sum_{i<j}
 * E_i U_ij = W_j - sum_{h<j} D_h (sum_{h<=i<j} V_hi U_ij) = W_j + (sum_{h<j} D_h V_hj) / V_jj, because the inner sum is
 * (V U)_hj - V_hj U_jj, V U = I and U_jj = 1 / V_jj. The scores of a block B are taken before any of its columns is
 * pruned: with A the columns left of B, likewise W_B + (D_A V_AB) V_BB^-1,     score = (that * V_jj)^2. D_A V_AB is a
 * matrix product. Columns come in panels of about PANEL: products with all columns left of the panel at once.
 *
 * Storage: columns of the weight are contiguous here (transposed, [columns, rows]), as all work is on whole columns.
 * One thread sweeps one problem.
 */
#include <cblas.h>

#include "backend/cpu/cpu.h"
#include "base/select.h"

enum { PANEL = 128 };

/* Working memory of one sweep. Columns of the panel at hand count from its first column. */
typedef struct sweep {
    int64_t rows, columns, block, panel, keep;
    const int64_t *prune; /* NULL: n:m */
    const double *v;
    double *removed; /* D [columns, rows] */
    double *left;    /* sum over the finished columns of D_i V_ij, for the columns of the panel: [panel, rows] */
    double *weights; /* W of the panel [panel, rows] */
    double *scores;  /* [block, rows] */
    double *scratch; /* [block, rows] */
    uint8_t *mask;   /* [block, rows] */
} sweep;

static int64_t clip_block(int64_t columns, int64_t block)
{
    return block <= 0 || block > columns ? columns : block;
}

/* Columns of a panel: whole blocks. */
static int64_t panel_of(int64_t columns, int64_t block)
{
    int64_t panel = block >= PANEL ? block : PANEL / block * block;
    return panel < columns ? panel : columns;
}

size_t spade_cpu_sweep_workspace_bytes(spade_device *device, int64_t rows, int64_t columns, int64_t block)
{
    (void)device;
    block = clip_block(columns, block);
    int64_t numbers = rows * (columns + 2 * panel_of(columns, block) + 2 * block);
    return (size_t)numbers * sizeof(double) + (size_t)(rows * block);
}

static sweep lay_out(const spade_sweep_args *args)
{
    sweep s = {.rows = args->rows,
               .columns = args->columns,
               .block = clip_block(args->columns, args->block),
               .keep = args->keep,
               .prune = args->prune,
               .v = args->v};
    s.panel = panel_of(s.columns, s.block);
    s.removed = args->workspace;
    s.left = s.removed + s.rows * s.columns;
    s.weights = s.left + s.rows * s.panel;
    s.scores = s.weights + s.rows * s.panel;
    s.scratch = s.scores + s.rows * s.block;
    s.mask = (uint8_t *)(s.scratch + s.rows * s.block);
    return s;
}

/* out [to - from, rows] += sum over columns i in [first, last) of D_i V_ij, for j in [from, to). */
static void add_removed(const sweep *s, int64_t first, int64_t last, int64_t from, int64_t to, double *out)
{
    int rows = (int)s->rows, ld = (int)s->columns, count = (int)(last - first), width = (int)(to - from);
    if (count <= 0 || width <= 0) { return; }
    const double *v = s->v + first * s->columns + from, *removed = s->removed + first * s->rows;
    if (width == 1) {
        cblas_dgemv(CblasRowMajor, CblasTrans, count, rows, 1.0, removed, rows, v, ld, 1.0, out, 1);
    } else {
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, width, rows, count, 1.0, v, ld, removed, rows, 1.0, out,
                    rows);
    }
}

/* Which weights of the block [from, to) go. `left` and `weights` are those of its first column. */
static void choose(const sweep *s, int64_t from, int64_t to, const double *left, const double *weights)
{
    int64_t width = to - from;
    memcpy(s->scores, left, (size_t)(width * s->rows) * sizeof *left);
    /* X V_BB = G, transposed: V_BB^T X^T = G^T */
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, CblasTrans, CblasNonUnit, (int)width, (int)s->rows, 1.0,
                s->v + from * s->columns + from, (int)s->columns, s->scores, (int)s->rows);
    for (int64_t j = 0; j < width; j++) {
        double diagonal = s->v[(from + j) * (s->columns + 1)];
        double *score = s->scores + j * s->rows;
        const double *w = weights + j * s->rows;
        for (int64_t r = 0; r < s->rows; r++) {
            double error = (w[r] + score[r]) * diagonal;
            score[r] = error * error;
        }
    }
    if (s->prune) {
        spade_select_lowest(s->scores, s->rows, width, s->prune[from / s->block], s->scratch, s->mask);
    } else {
        spade_select_rows(s->scores, s->rows, width, s->keep, s->mask);
    }
}

/* Prune one column. left: its sums, complete; weights: W_j in, Q_j out. Returns the sum of err^2. */
static double prune_column(const sweep *s, int64_t column, const double *left, double *weights, const uint8_t *mask)
{
    double diagonal = s->v[column * (s->columns + 1)], sum = 0;
    double *removed = s->removed + column * s->rows;
    for (int64_t r = 0; r < s->rows; r++) {
        double now = weights[r] + left[r] / diagonal;
        double kept = mask[r] ? 0.0 : now, error = (now - kept) * diagonal;
        removed[r] = weights[r] - kept;
        weights[r] = kept;
        sum += error * error;
    }
    return sum;
}

/* Columns [from, to) of one block; `left` holds the sums over the columns before `from`. */
static double prune_block(const sweep *s, int64_t from, int64_t to, double *left, double *weights)
{
    double sum = 0;
    for (int64_t part = from; part < to; part += PANEL) {
        int64_t end = part + PANEL < to ? part + PANEL : to;
        add_removed(s, from, part, part, end, left + (part - from) * s->rows);
        for (int64_t j = part; j < end; j++) {
            double *own = left + (j - from) * s->rows;
            add_removed(s, part, j, j, j + 1, own);
            sum += prune_column(s, j, own, weights + (j - from) * s->rows, s->mask + (j - from) * s->rows);
        }
    }
    return sum;
}

static void load_panel(const sweep *s, const double *w, int64_t from, int64_t to)
{
    for (int64_t r = 0; r < s->rows; r++) {
        for (int64_t j = from; j < to; j++) { s->weights[(j - from) * s->rows + r] = w[r * s->columns + j]; }
    }
}

static void store_panel(const sweep *s, double *q, int64_t from, int64_t to)
{
    for (int64_t r = 0; r < s->rows; r++) {
        for (int64_t j = from; j < to; j++) { q[r * s->columns + j] = s->weights[(j - from) * s->rows + r]; }
    }
}

static void sweep_problem(spade_sweep_args *args)
{
    sweep s = lay_out(args);
    double sum = 0;
    for (int64_t first = 0; first < s.columns; first += s.panel) {
        int64_t last = first + s.panel < s.columns ? first + s.panel : s.columns;
        load_panel(&s, args->w, first, last);
        memset(s.left, 0, (size_t)((last - first) * s.rows) * sizeof *s.left);
        add_removed(&s, 0, first, first, last, s.left);
        for (int64_t from = first; from < last; from += s.block) {
            int64_t to = from + s.block < last ? from + s.block : last, at = (from - first) * s.rows;
            add_removed(&s, first, from, from, to, s.left + at);
            choose(&s, from, to, s.left + at, s.weights + at);
            sum += prune_block(&s, from, to, s.left + at, s.weights + at);
        }
        store_panel(&s, args->q, first, last);
    }
    args->loss = sum / 2;
}

spade_status spade_cpu_sweep(spade_device *device, spade_sweep_args *problems, int n)
{
    int before = spade_team(1);
#pragma omp parallel for schedule(dynamic, 1) num_threads(spade_cpu_threads(device))
    for (int i = 0; i < n; i++) { sweep_problem(&problems[i]); }
    spade_team(before);
    return SPADE_OK;
}

double spade_cpu_quadratic_form(spade_device *device, int64_t rows, int64_t k, const double *h, const double *d,
                                double *scratch)
{
    (void)device;
    cblas_dsymm(CblasRowMajor, CblasRight, CblasUpper, (int)rows, (int)k, 1.0, h, (int)k, d, (int)k, 0.0, scratch,
                (int)k);
    double sum = 0;
    for (int64_t i = 0; i < rows * k; i++) { sum += d[i] * scratch[i]; }
    return sum;
}
