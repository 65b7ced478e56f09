/*
 * dual.c - the factor of a Hessian with fewer samples than columns, without the Hessian; backend_solver.h has the
 * derivation. Panels of columns from the last to the first, each a few steps of whole tiles that the threads share:
 *   X       the panel's inputs as packs (microkernels.h), groups of columns
 *   A = N X_B^T, by groups of samples; and X_B T of the panel to the right: V beside its diagonal
 *   P = shift I + X_B A, V_BB, T = A V_BB^-T, N -= T T^T
 * N is symmetric and lies there in full, as packs; sums are taken in the same order on both sides of its diagonal, so it
 * stays symmetric to the last bit.
 */
#include <lapacke.h>
#include <math.h>

#include "backend/cpu/solver/solver.h"

enum { LANES = SPADE_LANES, STRIP = SPADE_STRIP };

typedef struct dual {
    spade_dual_args *args;
    const spade_microkernels *kernels;
    spade_cpu_dual out;
    int64_t k, n, sample_groups, column_groups; /* of a panel, at most */
    double shift;
    int failed;         /* nothing follows */
    double *squares;    /* [k]: the diagonal of H before damping, dead inputs 1 */
    double *inverse;    /* N [sample_groups][n][LANES] */
    double *inputs;     /* X_B [column_groups][n][LANES] */
    double *solved;     /* A, then T [sample_groups][panel][LANES] */
    double *tiles;      /* [column_groups][panel][LANES]: a product with X_B */
    double *matrix;     /* P [panel, panel], then the scratch of its factor */
    double *scratch;    /* [panel, panel] */
    double *triangle;   /* V_BB^T [panel, stride], lower */
    double *reciprocal; /* [panel]: 1 / its diagonal */
} dual;

/* A panel's columns [first, first + width). */
typedef struct span {
    int64_t index, first, width;
} span;

int64_t spade_cpu_clip_block(int64_t columns, int64_t block)
{
    return block <= 0 || block > columns ? columns : block;
}

int64_t spade_cpu_panel(int64_t columns, int64_t block)
{
    int64_t panel = block >= SPADE_CPU_PANEL ? block : SPADE_CPU_PANEL / block * block;
    return panel < columns ? panel : columns;
}

int64_t spade_cpu_panel_stride(int64_t panel)
{
    int64_t lines = (panel + STRIP - 1) / STRIP;
    return (lines + 1 - lines % 2) * STRIP;
}

static int64_t panels_of(const dual *d)
{
    return (d->k + d->out.panel - 1) / d->out.panel;
}

spade_cpu_dual spade_cpu_dual_of(const spade_dual_args *args)
{
    spade_cpu_dual d = {.panel = spade_cpu_panel(args->columns, spade_cpu_clip_block(args->columns, args->block))};
    int64_t panels = (args->columns + d.panel - 1) / d.panel;
    d.stride = spade_cpu_panel_stride(d.panel);
    d.t_size = args->samples * d.stride;
    d.v_size = 2 * d.panel * d.stride;
    d.t = args->factor;
    d.v = d.t ? d.t + panels * d.t_size : NULL;
    return d;
}

size_t spade_cpu_dual_factor_bytes(spade_device *device, int64_t columns, int64_t samples, int64_t block)
{
    (void)device;
    const spade_dual_args args = {.columns = columns, .samples = samples, .block = block};
    spade_cpu_dual d = spade_cpu_dual_of(&args);
    return (size_t)((columns + d.panel - 1) / d.panel * (d.t_size + d.v_size)) * sizeof(double);
}

static dual dimensions(spade_dual_args *args)
{
    dual d = {.args = args, .k = args->columns, .n = args->samples, .out = spade_cpu_dual_of(args)};
    d.sample_groups = spade_lane_groups(d.n);
    d.column_groups = spade_lane_groups(d.out.panel);
    return d;
}

/* The parts of the workspace; returns its bytes. base NULL: only measure. */
static size_t lay_out(dual *d, void *base)
{
    int64_t panel = d->out.panel, at = 0;
    const struct {
        double **place;
        int64_t numbers;
    } parts[] = {{&d->squares, d->k},
                 {&d->inverse, d->sample_groups * d->n * LANES},
                 {&d->inputs, d->column_groups * d->n * LANES},
                 {&d->solved, d->sample_groups * panel * LANES},
                 {&d->tiles, d->column_groups * panel * LANES},
                 {&d->matrix, panel * panel},
                 {&d->scratch, panel * panel},
                 {&d->triangle, panel * d->out.stride},
                 {&d->reciprocal, panel}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].place = base ? (double *)base + at : NULL;
        at += (parts[i].numbers + 7) / 8 * 8; /* every part begins a cache line */
    }
    return (size_t)at * sizeof(double);
}

size_t spade_cpu_dual_workspace_bytes(spade_device *device, int64_t columns, int64_t samples, int64_t block)
{
    (void)device;
    spade_dual_args args = {.columns = columns, .samples = samples, .block = block};
    dual d = dimensions(&args);
    return lay_out(&d, NULL);
}

void spade_cpu_dual_rows(const spade_dual_args *args, int64_t row, int64_t rows, int64_t first, int64_t count,
                         double *out, int64_t ld)
{
    const double root = sqrt(args->scale);
    for (int64_t r = 0; r < rows; r++) {
        const float *x = args->x + (row + r) * args->samples + first;
        for (int64_t s = 0; s < count; s++) { out[r * ld + s] = root * (double)x[s]; }
    }
}

/* ---- the diagonal: dead inputs, damping. A row of X each. */

static void measure_row(const dual *d, int64_t row)
{
    const float *x = d->args->x + row * d->n;
    double sum = 0;
    for (int64_t s = 0; s < d->n; s++) { sum += (double)x[s] * (double)x[s]; }
    d->args->dead[row] = sum == 0.0;
    d->squares[row] = sum == 0.0 ? 1.0 : d->args->scale * sum;
}

/* Damping, in the order of the columns, as `damp` does it. */
static void find_shift(dual *d)
{
    double trace = 0;
    for (int64_t row = 0; row < d->k; row++) { trace += d->squares[row]; }
    d->shift = d->args->damping * (trace / (double)d->k);
    d->failed = !isfinite(trace) || !(d->shift > 0);
}

/* N = I */
static void clear_inverse(const dual *d, int64_t group)
{
    double *pack = d->inverse + group * d->n * LANES;
    memset(pack, 0, (size_t)(d->n * LANES) * sizeof *pack);
    for (int64_t l = 0; l < LANES && group * LANES + l < d->n; l++) { pack[(group * LANES + l) * LANES + l] = 1.0; }
}

/* ---- the steps of a panel: one group each */

static double *inputs_of(const dual *d, int64_t column_group)
{
    return d->inputs + column_group * d->n * LANES;
}

static double *solved_of(const dual *d, int64_t sample_group)
{
    return d->solved + sample_group * d->out.panel * LANES;
}

static void load_inputs(const dual *d, span p, int64_t group)
{
    const double root = sqrt(d->args->scale);
    double *pack = inputs_of(d, group);
    for (int64_t l = 0; l < LANES; l++) {
        int64_t row = group * LANES + l;
        const float *x = d->args->x + (p.first + row) * d->n;
        for (int64_t s = 0; s < d->n; s++) { pack[s * LANES + l] = row < p.width ? root * (double)x[s] : 0.0; }
    }
}

/* out [width, LANES] = sum over s of b[s][j] X_B[group][s] for a matrix b [n, stride] */
static void multiply_inputs(const dual *d, int64_t group, const double *b, int64_t width, double *out)
{
    memset(out, 0, (size_t)(width * LANES) * sizeof *out);
    for (int64_t j = 0; j < width; j += STRIP) {
        int count = (int)(width - j < STRIP ? width - j : STRIP);
        d->kernels->product(d->n, inputs_of(d, group), b + j, d->out.stride, count, 1.0, out + j * LANES, LANES);
    }
}

/* V between the panel's rows and the columns of the one to its right: X_B T. */
static void multiply_right(const dual *d, span p, int64_t group)
{
    const span right = {p.index + 1, p.first + p.width, d->k - p.first - p.width};
    int64_t width = right.width < d->out.panel ? right.width : d->out.panel;
    double *tile = d->tiles + group * d->out.panel * LANES, *v = d->out.v + right.index * d->out.v_size;
    multiply_inputs(d, group, d->out.t + right.index * d->out.t_size, width, tile);
    for (int64_t l = 0; l < LANES && group * LANES + l < p.width; l++) {
        for (int64_t j = 0; j < width; j++) { v[(group * LANES + l) * d->out.stride + j] = tile[j * LANES + l]; }
    }
}

/* A group's pack [width, LANES] to the rows of T's place. */
static void store_solved(const dual *d, span p, int64_t group)
{
    const double *pack = solved_of(d, group);
    double *t = d->out.t + p.index * d->out.t_size;
    for (int64_t l = 0; l < LANES && group * LANES + l < d->n; l++) {
        for (int64_t j = 0; j < p.width; j++) { t[(group * LANES + l) * d->out.stride + j] = pack[j * LANES + l]; }
    }
}

/* A = N X_B^T */
static void multiply_inverse(const dual *d, span p, int64_t group)
{
    double *pack = solved_of(d, group);
    memset(pack, 0, (size_t)(p.width * LANES) * sizeof *pack);
    for (int64_t j = 0; j < p.width; j += STRIP) { /* LANES is a multiple of STRIP: a strip lies in one pack */
        int count = (int)(p.width - j < STRIP ? p.width - j : STRIP);
        d->kernels->product(d->n, d->inverse + group * d->n * LANES, inputs_of(d, j / LANES) + j % LANES, LANES, count,
                            1.0, pack + j * LANES, LANES);
    }
    store_solved(d, p, group);
}

/* Rows of P = shift I + X_B A. */
static void make_matrix(const dual *d, span p, int64_t group)
{
    double *tile = d->tiles + group * d->out.panel * LANES;
    multiply_inputs(d, group, d->out.t + p.index * d->out.t_size, p.width, tile);
    for (int64_t i = group * LANES; i < p.width && i < (group + 1) * LANES; i++) {
        for (int64_t j = 0; j < p.width; j++) { d->matrix[i * p.width + j] = tile[j * LANES + i % LANES]; }
        d->matrix[i * p.width + i] += d->shift + (d->args->dead[p.first + i] ? 1.0 : 0.0);
    }
}

/* V_BB, the reversed Cholesky factor of P (factor.c), to its place and as a triangle to solve with. */
static void factor_matrix(dual *d, span p)
{
    int64_t size = p.width, last = size - 1, stride = d->out.stride;
    double *v = d->out.v + p.index * d->out.v_size + (p.index ? d->out.panel * stride : 0);
    for (int64_t j = 0; j < size; j++) {
        for (int64_t i = j; i < size; i++) { d->scratch[j * size + i] = d->matrix[(last - i) * size + last - j]; }
    }
    int info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', (int)size, d->scratch, (int)size);
    for (int64_t j = 0; j < size; j++) {
        double diagonal = d->scratch[j * size + j];
        if (info != 0 || !isfinite(diagonal) || diagonal <= 0) {
            d->failed = 1;
            return;
        }
        d->reciprocal[last - j] = 1.0 / diagonal;
        for (int64_t i = j; i < size; i++) {
            double number = d->scratch[j * size + i];
            v[(last - i) * stride + last - j] = number;
            d->triangle[(last - j) * stride + last - i] = number;
        }
    }
}

/* T = A V_BB^-T: strips of columns from the last to the first. */
static void solve_group(const dual *d, span p, int64_t group)
{
    double *pack = solved_of(d, group);
    int64_t width = p.width, stride = d->out.stride;
    for (int64_t first = (width - 1) / STRIP * STRIP; first >= 0; first -= STRIP) {
        int64_t last = first + STRIP < width ? first + STRIP : width;
        double *x = pack + first * LANES;
        d->kernels->product(width - last, pack + last * LANES, d->triangle + last * stride + first, stride,
                            (int)(last - first), -1.0, x, LANES);
        d->kernels->backward((int)(last - first), d->triangle + first * (stride + 1), stride, d->reciprocal + first, x);
    }
    store_solved(d, p, group);
}

/* N -= T T^T */
static void update_inverse(const dual *d, span p, int64_t group)
{
    double *pack = d->inverse + group * d->n * LANES;
    for (int64_t s = 0; s < d->n; s += STRIP) {
        int count = (int)(d->n - s < STRIP ? d->n - s : STRIP);
        d->kernels->product(p.width, solved_of(d, group), solved_of(d, s / LANES) + s % LANES, LANES, count, -1.0,
                            pack + s * LANES, LANES);
    }
}

/* ---- a whole factor. Every thread of the region calls this; loops end with all of them. */

static void run_panel(dual *d, span p)
{
    const int64_t groups = spade_lane_groups(p.width);
#pragma omp for schedule(dynamic, 1)
    for (int64_t g = 0; g < groups; g++) { load_inputs(d, p, g); }
    if (p.first + p.width < d->k) {
#pragma omp for schedule(dynamic, 1) nowait
        for (int64_t g = 0; g < groups; g++) { multiply_right(d, p, g); }
    }
#pragma omp for schedule(dynamic, 1)
    for (int64_t g = 0; g < d->sample_groups; g++) { multiply_inverse(d, p, g); }
#pragma omp for schedule(dynamic, 1)
    for (int64_t g = 0; g < groups; g++) { make_matrix(d, p, g); }
#pragma omp single
    factor_matrix(d, p);
    if (d->failed) { return; }
#pragma omp for schedule(dynamic, 1)
    for (int64_t g = 0; g < d->sample_groups; g++) { solve_group(d, p, g); }
    if (p.first == 0) { return; } /* nobody asks for N any more */
#pragma omp for schedule(dynamic, 1)
    for (int64_t g = 0; g < d->sample_groups; g++) { update_inverse(d, p, g); }
}

static void run_factor(dual *d)
{
#pragma omp for schedule(static)
    for (int64_t row = 0; row < d->k; row++) { measure_row(d, row); }
#pragma omp for schedule(static)
    for (int64_t g = 0; g < d->sample_groups; g++) { clear_inverse(d, g); }
#pragma omp single
    find_shift(d);
    for (int64_t index = panels_of(d) - 1; index >= 0 && !d->failed; index--) {
        int64_t first = index * d->out.panel, width = d->k - first;
        run_panel(d, (span){index, first, width < d->out.panel ? width : d->out.panel});
    }
}

spade_status spade_cpu_dual_factor(spade_device *device, spade_dual_args *problems, int n)
{
    int before = spade_set_num_threads(1); /* LAPACK's own threads */
    for (int i = 0; i < n; i++) {
        dual d = dimensions(&problems[i]);
        d.kernels = spade_cpu_microkernels();
        lay_out(&d, problems[i].workspace);
#pragma omp parallel num_threads(spade_cpu_threads(device))
        run_factor(&d);
        problems[i].status = d.failed ? SPADE_ERROR_NUMERICAL : SPADE_OK;
    }
    spade_set_num_threads(before);
    return SPADE_OK;
}

/* ---- cost, in nanoseconds of one core as the Hessian's forms count (cpu/hessian/forms.h); of what the two forms do not
 * share: choosing weights takes as long in both */

double spade_cpu_fast_cost(spade_device *device, int64_t rows, int64_t columns, int64_t block, int64_t samples)
{
    static const double RATE = 28;           /* multiply-adds a nanosecond */
    static const double PANEL_COST = 150000; /* of the steps of a panel that wait for each other */
    (void)device;
    double k = (double)columns, r = (double)rows, n = (double)samples;
    double panel = (double)spade_cpu_panel(columns, spade_cpu_clip_block(columns, block));
    double products = samples ? 2 * n * (n + r + panel) + panel * panel / 6 : k * (k / 6 + r / 2); /* of a column */
    return k * products / RATE + k / panel * PANEL_COST;
}
