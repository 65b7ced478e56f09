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
 * matrix product.
 *
 * Columns come in panels of about PANEL, rows in groups of SPADE_LANES (microkernels.h): D, W, the sums `left` and the scores
 * lie in packs [groups][columns][LANES]. Two kinds of tasks:
 *   gather(p, c)  sums of panel p over all columns left of panel p - 1, for one chunk of rows: nearly all of the work
 *   panel(p)      the sums over panel p - 1, then block by block: scores, selection over all rows, pruning
 * gather(p, c) needs D up to panel(p - 2) and runs beside panel(p - 1); so one large layer keeps several threads busy.
 * With precision SPADE_FP32 the gathers' products are float32, DEPTH columns at a time, added up in float64; everything
 * else stays float64.
 *
 * Without V (a dual factor, backend_solver.h), D_A V_AB is S T with S = D_A X_A [rows, samples], which takes up panel after
 * panel: a gather adds D X of the panel before the last and multiplies by T. D is needed of two panels only then.
 */
#include <math.h>

#include "backend/cpu/solver/solver.h"
#include "backend/partial_select.h"

enum {
    LANES = SPADE_LANES,
    STRIP = SPADE_STRIP,
    PANEL = SPADE_CPU_PANEL,
    DEPTH = 192,       /* rows of V, or samples of X, that a gather holds at a time, in the second-level cache */
    CHUNK = 12 * LANES /* rows of a gather */
};

/* Working memory of one sweep; the panel p uses half p % 2 of `left` and `weights`. */
typedef struct sweep {
    const spade_sweep_args *args;
    const spade_microkernels *kernels;
    int64_t rows, columns, block, panel, panels, groups, chunks, samples;
    spade_cpu_dual dual; /* where V is not there (samples > 0) */
    bool is_single;      /* gathers in float32 */
    int64_t ld;          /* of copies of V's columns of a panel: an odd number of cache lines */
    int64_t held;        /* columns that D has room for: all, or two panels */
    double *removed;     /* D [groups][held][LANES]; column j at j % held */
    double *sums;        /* S [groups][samples][LANES] */
    float *single;       /* FP32: D of finished panels, two groups beside each other: [pairs][columns][2 LANES] */
    double *left;    /* [2][groups][panel][LANES]: sum over finished columns i of D_i V_ij, for the panel's columns */
    double *weights; /* [2][groups][panel][LANES]: W of the panel, then Q */
    double *scores;  /* [groups][block][LANES] */
    double *scratch; /* as scores, and SPADE_SELECT_MORE */
    double *errors;  /* [groups][LANES]: sum of err^2 of each row */
    double *reciprocal; /* [columns]: 1 / V_jj */
    double *diagonal;   /* [columns]: V_jj */
    double *triangle;   /* [2 panel, ld]: V of panels p - 1 and p in the columns of p; none where a block is large */
    double *depth;      /* [chunks][DEPTH, ld]: V as a gather holds it; FP32: of float */
    double *nowhere;    /* [STRIP][LANES]: sums of the group that an odd number of groups lacks, in the last chunk */
    uint8_t *mask;      /* [groups][block][LANES] */
    char *tokens;       /* for the dependences of tasks: [2 + chunks] */
} sweep;

static sweep dimensions(int64_t rows, int64_t columns, int64_t block, int64_t samples, spade_precision precision)
{
    sweep s = {.rows = rows, .columns = columns, .samples = samples, .block = spade_cpu_clip_block(columns, block)};
    s.panel = spade_cpu_panel(columns, s.block);
    s.panels = (columns + s.panel - 1) / s.panel;
    s.groups = spade_lane_groups(rows);
    s.chunks = (s.groups * LANES + CHUNK - 1) / CHUNK;
    s.ld = spade_cpu_panel_stride(s.panel);
    s.is_single = precision == SPADE_FP32 && s.panels > 2 && !samples; /* less has no gathers */
    s.held = samples ? 2 * s.panel : columns;
    return s;
}

/* Give out the workspace at `base`; returns the bytes of all. With base NULL nothing is set that is read. */
static size_t lay_out(sweep *s, void *base)
{
    size_t at = 0, group = (size_t)s->groups * LANES;
    double *single = NULL;
    size_t pairs = s->is_single ? (size_t)(s->groups + 1) / 2 : 0;
    const struct {
        double **place;
        size_t numbers;
    } parts[] = {{&s->removed, group * (size_t)s->held},
                 {&s->sums, group * (size_t)s->samples},
                 {&single, pairs * (size_t)s->columns * LANES},
                 {&s->left, 2 * group * (size_t)s->panel},
                 {&s->weights, 2 * group * (size_t)s->panel},
                 {&s->scores, group * (size_t)s->block},
                 {&s->scratch, group * (size_t)s->block + SPADE_SELECT_MORE},
                 {&s->errors, group},
                 {&s->reciprocal, (size_t)s->columns},
                 {&s->diagonal, (size_t)s->columns},
                 {&s->triangle, s->panel <= PANEL && !s->samples ? (size_t)(2 * s->panel * s->ld) : 0},
                 {&s->nowhere, STRIP * LANES},
                 {&s->depth, s->panels > 2 ? (size_t)(s->chunks * DEPTH * s->ld) : 0}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].place = base ? (double *)base + at : NULL;
        at += (parts[i].numbers + 7) / 8 * 8; /* every part begins a cache line */
    }
    s->single = (float *)single;
    at *= sizeof(double);
    s->mask = base ? (uint8_t *)base + at : NULL;
    s->tokens = base ? (char *)base + at + group * (size_t)s->block : NULL;
    return at + group * (size_t)s->block + (size_t)(2 + s->chunks);
}

size_t spade_cpu_sweep_workspace_bytes(spade_device *device, int64_t rows, int64_t columns, int64_t block,
                                       int64_t samples, spade_precision precision)
{
    (void)device;
    sweep s = dimensions(rows, columns, block, samples, precision);
    return lay_out(&s, NULL);
}

static int64_t panel_end(const sweep *s, int64_t panel)
{
    int64_t end = (panel + 1) * s->panel;
    return end < s->columns ? end : s->columns;
}

/* Column `column` of the group's rows in a panel's pack. */
static double *in_panel(const sweep *s, double *packs, int64_t panel, int64_t group, int64_t column)
{
    return packs + (((panel % 2) * s->groups + group) * s->panel + column - panel * s->panel) * LANES;
}

static double *removed_of(const sweep *s, int64_t group, int64_t column)
{
    return s->removed + (group * s->held + column % s->held) * LANES;
}

/* out [to - from, LANES] += sign * sum over p < n of b[p][j] a[p], a strip of columns at a time */
static void add_products(const sweep *s, int64_t n, const double *a, const double *b, int64_t ldb, int64_t width,
                         double sign, double *out)
{
    if (n <= 0) { return; }
    for (int64_t strips = (width + STRIP - 1) / STRIP; strips > 0; strips--) { /* of nearly equal width */
        int64_t count = (width + strips - 1) / strips;
        s->kernels->product(n, a, b, ldb, (int)count, sign, out, LANES);
        b += count;
        out += count * LANES;
        width -= count;
    }
}

/* V's rows are a page and more apart, which no processor foresees: ask for the row AHEAD of the one at hand. */
static void prefetch_row(const double *from, int64_t ld, int64_t row, int64_t rows, int64_t width)
{
    enum { AHEAD = 4, LINE = 8 };
    if (row + AHEAD >= rows) { return; }
    for (int64_t j = 0; j < width; j += LINE) { __builtin_prefetch(from + (row + AHEAD) * ld + j); }
}

static void copy_rows(const double *from, int64_t ld_from, int64_t rows, int64_t width, double *to, int64_t ld_to)
{
    for (int64_t r = 0; r < rows; r++) {
        prefetch_row(from, ld_from, r, rows, width);
        memcpy(to + r * ld_to, from + r * ld_from, (size_t)width * sizeof *to);
    }
}

/* ---- gather: rows of one chunk */

/* The rows of a group: real ones. */
static int64_t group_rows(const sweep *s, int64_t group)
{
    int64_t left = s->rows - group * LANES;
    return left < LANES ? left : LANES;
}

static void store_result(const sweep *s, int64_t panel, int64_t group)
{
    const double *q = in_panel(s, s->weights, panel, group, panel * s->panel);
    int64_t first = panel * s->panel, last = panel_end(s, panel), rows = group_rows(s, group);
    for (int64_t r = 0; r < rows; r++) {
        float *row = s->args->sparse + (group * LANES + r) * s->columns;
        for (int64_t j = first; j < last; j++) { row[j] = (float)q[(j - first) * LANES + r]; }
    }
}

static void load_weights(const sweep *s, int64_t panel, int64_t group)
{
    double *w = in_panel(s, s->weights, panel, group, panel * s->panel);
    int64_t first = panel * s->panel, last = panel_end(s, panel), rows = group_rows(s, group);
    if (rows < LANES) { memset(w, 0, (size_t)((last - first) * LANES) * sizeof *w); }
    for (int64_t r = 0; r < rows; r++) {
        const float *row = s->args->dense + (group * LANES + r) * s->columns;
        for (int64_t j = first; j < last; j++) { w[(j - first) * LANES + r] = s->args->dead[j] ? 0.0 : (double)row[j]; }
    }
}

/* What a gather adds up, for the groups [first, last): columns `from` to from + n of D, the panel's `width` columns of
 * V. */
static void gather_double(const sweep *s, int64_t panel, int64_t chunk, int64_t first, int64_t last, int64_t from,
                          int64_t n)
{
    int64_t column = panel * s->panel, width = panel_end(s, panel) - column;
    double *depth = s->depth + chunk * DEPTH * s->ld;
    copy_rows(s->args->v + from * s->columns + column, s->columns, n, width, depth, s->ld);
    for (int64_t g = first; g < last; g++) {
        add_products(s, n, removed_of(s, g, from), depth, s->ld, width, 1.0, in_panel(s, s->left, panel, g, column));
    }
}

static void gather_single(const sweep *s, int64_t panel, int64_t chunk, int64_t first, int64_t last, int64_t from,
                          int64_t n)
{
    int64_t column = panel * s->panel, width = panel_end(s, panel) - column;
    float *depth = (float *)(s->depth + chunk * DEPTH * s->ld);
    const double *v = s->args->v + from * s->columns + column;
    for (int64_t p = 0; p < n; p++) {
        prefetch_row(v, s->columns, p, n, width);
        s->kernels->narrow(width, v + p * s->columns, depth + p * s->ld);
    }
    for (int64_t g = first; g < last; g += 2) { /* a chunk begins with an even group */
        const float *removed = s->single + (g / 2 * s->columns + from) * 2 * LANES;
        double *one = in_panel(s, s->left, panel, g, column);
        double *other = g + 1 < s->groups ? in_panel(s, s->left, panel, g + 1, column) : NULL;
        for (int64_t j = 0; j < width; j += STRIP) {
            int count = (int)(width - j < STRIP ? width - j : STRIP);
            s->kernels->product_single(n, removed, depth + j, s->ld, count, one + j * LANES,
                                       other ? other + j * LANES : s->nowhere);
        }
    }
}

/* D of a finished panel as the gathers of float32 want it. */
static void make_single(const sweep *s, int64_t panel)
{
    for (int64_t g = 0; g < s->groups; g++) {
        for (int64_t j = panel * s->panel; j < panel_end(s, panel); j++) {
            s->kernels->narrow(LANES, removed_of(s, g, j), s->single + ((g / 2 * s->columns + j) * 2 + g % 2) * LANES);
        }
    }
}

/* S += D X of one panel, then S T. */
static void gather_dual(const sweep *s, int64_t panel, int64_t chunk, int64_t first, int64_t last)
{
    int64_t column = panel * s->panel, width = panel_end(s, panel) - column, from = column - 2 * s->panel;
    double *depth = s->depth + chunk * DEPTH * s->ld; /* X [panel, DEPTH] */
    for (int64_t sample = 0; sample < s->samples; sample += DEPTH) {
        int64_t count = s->samples - sample < DEPTH ? s->samples - sample : DEPTH;
        spade_cpu_dual_rows(s->args->dual, from, s->panel, sample, count, depth, DEPTH);
        for (int64_t g = first; g < last; g++) {
            add_products(s, s->panel, removed_of(s, g, from), depth, DEPTH, count, 1.0,
                         s->sums + (g * s->samples + sample) * LANES);
        }
    }
    for (int64_t g = first; g < last; g++) {
        add_products(s, s->samples, s->sums + g * s->samples * LANES, s->dual.t + panel * s->dual.t_size,
                     s->dual.stride, width, 1.0, in_panel(s, s->left, panel, g, column));
    }
}

static void gather(const sweep *s, int64_t panel, int64_t chunk)
{
    int64_t first = chunk * (CHUNK / LANES), last = first + CHUNK / LANES;
    if (last > s->groups) { last = s->groups; }
    int64_t column = panel * s->panel, width = panel_end(s, panel) - column, done = column - s->panel;
    for (int64_t g = first; g < last; g++) {
        if (panel >= 2) { store_result(s, panel - 2, g); }
        load_weights(s, panel, g);
        memset(in_panel(s, s->left, panel, g, column), 0, (size_t)(width * LANES) * sizeof(double));
        if (panel == 0 && s->samples) {
            memset(s->sums + g * s->samples * LANES, 0, (size_t)(s->samples * LANES) * sizeof(double));
        }
    }
    if (s->samples) {
        if (panel >= 2) { gather_dual(s, panel, chunk, first, last); }
        return;
    }
    for (int64_t from = 0; from < done; from += DEPTH) {
        int64_t n = done - from < DEPTH ? done - from : DEPTH;
        if (s->is_single) {
            gather_single(s, panel, chunk, first, last, from, n);
        } else {
            gather_double(s, panel, chunk, first, last, from, n);
        }
    }
}

/* ---- panel: all rows, block by block */

typedef struct cursor {
    int64_t panel, first, last; /* its columns [first, last) */
    int64_t base;               /* the first column of the panel before */
    const double *v;            /* V from row `base`, column `first` on */
    int64_t ld;
} cursor;

static cursor open_panel(const sweep *s, int64_t panel)
{
    cursor c = {.panel = panel, .first = panel * s->panel, .last = panel_end(s, panel)};
    c.base = panel > 0 ? c.first - s->panel : 0;
    if (s->samples) {
        c.v = s->dual.v + panel * s->dual.v_size;
        c.ld = s->dual.stride;
        return c;
    }
    c.v = s->args->v + c.base * s->columns + c.first;
    c.ld = s->columns;
    if (s->panel <= PANEL) {
        copy_rows(c.v, c.ld, c.last - c.base, c.last - c.first, s->triangle, s->ld);
        c.v = s->triangle;
        c.ld = s->ld;
    }
    return c;
}

static const double *v_at(const cursor *c, int64_t row, int64_t column)
{
    return c->v + (row - c->base) * c->ld + column - c->first;
}

/* The sums of columns [from, to) over the columns [low, high). */
static void add_removed(const sweep *s, const cursor *c, int64_t group, int64_t low, int64_t high, int64_t from,
                        int64_t to)
{
    add_products(s, high - low, removed_of(s, group, low), v_at(c, low, from), c->ld, to - from, 1.0,
                 in_panel(s, s->left, c->panel, group, from));
}

/* X V_BB = left, then the scores of block B = [from, to). */
static void score_block(const sweep *s, const cursor *c, int64_t group, int64_t from, int64_t to)
{
    int64_t width = to - from, rows = group_rows(s, group);
    double *x = s->scores + group * width * LANES;
    memcpy(x, in_panel(s, s->left, c->panel, group, from), (size_t)(width * LANES) * sizeof *x);
    for (int64_t part = from; part < to; part += STRIP) {
        int64_t count = to - part < STRIP ? to - part : STRIP;
        add_products(s, part - from, x, v_at(c, from, part), c->ld, count, -1.0, x + (part - from) * LANES);
        s->kernels->forward((int)count, v_at(c, part, part), c->ld, s->reciprocal + part, x + (part - from) * LANES);
    }
    s->kernels->score(width, in_panel(s, s->weights, c->panel, group, from), s->diagonal + from, x);
    for (int64_t j = 0; j < width; j++) {
        for (int64_t r = rows; r < LANES; r++) { x[j * LANES + r] = INFINITY; } /* no such rows */
    }
}

static void prune_block(const sweep *s, const cursor *c, int64_t group, int64_t from, int64_t to)
{
    const uint8_t *mask = s->mask + group * (to - from) * LANES;
    for (int64_t part = from; part < to; part += STRIP) {
        int64_t count = to - part < STRIP ? to - part : STRIP;
        if (part > from) { add_removed(s, c, group, from, part, part, part + count); }
        s->kernels->prune((int)count, v_at(c, part, part), c->ld, s->diagonal + part, s->reciprocal + part,
                          in_panel(s, s->left, c->panel, group, part), mask + (part - from) * LANES,
                          in_panel(s, s->weights, c->panel, group, part), removed_of(s, group, part),
                          s->errors + group * LANES);
    }
}

static void choose(const sweep *s, int64_t from, int64_t width)
{
    if (s->args->n_of_m) {
        spade_select_rows(s->scores, s->rows, width, LANES, s->args->keep, s->mask);
    } else {
        int64_t count = from + width < s->columns ? s->args->prune : s->args->prune_last;
        spade_select_lowest(s->scores, s->rows, width, LANES, count, s->scratch, s->mask);
    }
}

/* Blocks of less than a strip share the sums over what lies left of the strip. */
static void run_panel(const sweep *s, int64_t panel)
{
    cursor c = open_panel(s, panel);
    int64_t strip = s->block >= STRIP ? s->block : STRIP / s->block * s->block;
    for (int64_t g = 0; g < s->groups && panel > 0; g++) { add_removed(s, &c, g, c.base, c.first, c.first, c.last); }
    for (int64_t low = c.first; low < c.last; low += strip) {
        int64_t high = low + strip < c.last ? low + strip : c.last;
        for (int64_t from = low; from < high; from += s->block) {
            int64_t to = from + s->block < high ? from + s->block : high;
            for (int64_t g = 0; g < s->groups; g++) {
                if (from == low) { add_removed(s, &c, g, c.first, low, low, high); }
                if (from > low) { add_removed(s, &c, g, from - s->block, from, from, high); }
                score_block(s, &c, g, from, to);
            }
            choose(s, from, to - from);
            for (int64_t g = 0; g < s->groups; g++) { prune_block(s, &c, g, from, to); }
        }
    }
    if (s->is_single) { make_single(s, panel); }
}

/* ---- a whole sweep */

static double dual_diagonal(const sweep *s, int64_t column)
{
    int64_t panel = column / s->panel, at = column % s->panel, row = panel > 0 ? s->panel + at : at;
    return s->dual.v[panel * s->dual.v_size + row * s->dual.stride + at];
}

static void begin(sweep *s)
{
    for (int64_t j = 0; j < s->columns; j++) {
        s->diagonal[j] = s->samples ? dual_diagonal(s, j) : s->args->v[j * (s->columns + 1)];
        s->reciprocal[j] = 1.0 / s->diagonal[j];
    }
    if (s->is_single) { /* the rows of the group that an odd number of groups lacks */
        memset(s->single + (s->groups - 1) / 2 * s->columns * 2 * LANES, 0,
               (size_t)(s->columns * 2 * LANES) * sizeof *s->single);
        memset(s->nowhere, 0, STRIP * LANES * sizeof *s->nowhere);
    }
    memset(s->errors, 0, (size_t)(s->groups * LANES) * sizeof *s->errors);
}

static void finish(const sweep *s, int64_t chunk)
{
    int64_t first = chunk * (CHUNK / LANES), last = first + CHUNK / LANES;
    for (int64_t g = first; g < last && g < s->groups; g++) {
        if (s->panels >= 2) { store_result(s, s->panels - 2, g); }
        store_result(s, s->panels - 1, g);
    }
}

/*
 * gates[p % 2] stands for panel(p): the gathers of p read it, so that panel(p) waits for them and they wait for
 * panel(p - 2). The gathers of one chunk follow each other: they share its part of `depth`.
 */
static void sweep_tasks(sweep *s)
{
    char *gates = s->tokens, *chunks = gates + 2;
#pragma omp task depend(out : gates[0], gates[1])
    begin(s);
    for (int64_t p = 0; p < s->panels; p++) {
        char *own = &gates[p % 2], *other = &gates[(p + 1) % 2];
        for (int64_t c = 0; c < s->chunks; c++) {
            char *chunk = &chunks[c];
#pragma omp task depend(in : *own) depend(inout : *chunk)
            gather(s, p, c);
        }
#pragma omp task depend(in : *other) depend(inout : *own)
        run_panel(s, p);
    }
    for (int64_t c = 0; c < s->chunks; c++) {
#pragma omp task depend(in : gates[0], gates[1])
        finish(s, c);
    }
}

static double sum_errors(const sweep *s)
{
    double sum = 0;
    for (int64_t r = 0; r < s->rows; r++) { sum += s->errors[r]; }
    return sum;
}

static void report(const sweep *s, spade_sweep_args *args)
{
    int64_t bad = 0;
    args->loss = sum_errors(s) / 2;
    args->zeros = 0;
    for (int64_t i = 0; i < s->rows * s->columns; i++) {
        args->zeros += args->sparse[i] == 0.0f;
        bad += !isfinite(args->sparse[i]);
    }
    args->status = bad || !isfinite(args->loss) ? SPADE_ERROR_NUMERICAL : SPADE_OK;
}

spade_status spade_cpu_sweep(spade_device *device, spade_sweep_args *problems, int n)
{
    sweep *sweeps = malloc((size_t)n * sizeof *sweeps + 1);
    if (!sweeps) { return spade_fail(device->context, SPADE_ERROR_MEMORY, "out of memory: list of %d sweeps", n); }
    for (int i = 0; i < n; i++) {
        const spade_dual_args *dual = problems[i].dual;
        sweeps[i] = dimensions(problems[i].rows, problems[i].columns, problems[i].block, dual ? dual->samples : 0,
                               problems[i].precision);
        sweeps[i].args = &problems[i];
        if (dual) { sweeps[i].dual = spade_cpu_dual_of(dual); }
        sweeps[i].kernels = spade_cpu_microkernels();
        lay_out(&sweeps[i], problems[i].workspace);
    }
#pragma omp parallel num_threads(spade_cpu_threads(device))
#pragma omp single
    for (int i = 0; i < n; i++) { sweep_tasks(&sweeps[i]); }
#pragma omp parallel for schedule(dynamic, 1) num_threads(spade_cpu_threads(device))
    for (int i = 0; i < n; i++) { report(&sweeps[i], &problems[i]); }
    free(sweeps);
    return SPADE_OK;
}
