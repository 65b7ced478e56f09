/*
 * broadcast.c - sums and products with NumPy broadcasting, and its backward: sums over the axes that were broadcast.
 *
 * Both walk over axes ordered as they lie in memory, with neighbours merged where all operands allow it.
 */
#include "backend/cpu/cpu.h"

enum { OPERANDS = 3 };

/* An iteration space: axes from the slowest to the fastest, the strides of each operand along them. */
typedef struct space {
    int rank;
    int64_t dims[SPADE_MAX_RANK];
    int64_t strides[OPERANDS][SPADE_MAX_RANK];
} space;

/* Strides of an operand along the axes of `whole`, aligned at the last axis, 0 where it has 1. */
static void broadcast_strides(const spade_shape *whole, const spade_shape *operand, int64_t out[SPADE_MAX_RANK])
{
    int64_t own[SPADE_MAX_RANK];
    int missing = whole->rank - operand->rank;
    spade_cpu_strides(operand, own);
    for (int i = 0; i < whole->rank; i++) {
        out[i] = i < missing || operand->dims[i - missing] == 1 ? 0 : own[i - missing];
    }
}

/* The axes of `whole` in the order of its memory; operands[0] is `whole` itself. Merges neighbours that all walk as
 * one. */
static space make_space(const spade_shape *whole, const spade_shape *const *operands, int count)
{
    static const int last_order[4] = {0, 2, 3, 1};
    int64_t strides[OPERANDS][SPADE_MAX_RANK] = {{0}};
    space s = {0};
    for (int k = 0; k < count; k++) { broadcast_strides(whole, operands[k], strides[k]); }
    for (int i = 0; i < whole->rank; i++) {
        int axis = whole->rank == 4 && whole->layout == SPADE_CHANNELS_LAST ? last_order[i] : i;
        if (whole->dims[axis] == 1) { continue; }
        bool merge = s.rank > 0;
        for (int k = 0; merge && k < count; k++) {
            merge = s.strides[k][s.rank - 1] == strides[k][axis] * whole->dims[axis];
        }
        int at = merge ? s.rank - 1 : s.rank++;
        s.dims[at] = merge ? s.dims[at] * whole->dims[axis] : whole->dims[axis];
        for (int k = 0; k < count; k++) { s.strides[k][at] = strides[k][axis]; }
    }
    if (s.rank == 0) { s.rank = 1, s.dims[0] = 1; }
    return s;
}

/* Where element number `index` of the first `rank` axes lies in operand k. */
static int64_t locate(const space *s, int rank, int k, int64_t index)
{
    int64_t offset = 0;
    for (int i = rank - 1; i >= 0; i--) {
        offset += index % s->dims[i] * s->strides[k][i];
        index /= s->dims[i];
    }
    return offset;
}

/* ---- y = a op b */

static void combine_row(bool multiply, int64_t n, const float *a, int64_t step_a, const float *b, int64_t step_b,
                        float *y)
{
    if (step_a == 1 && step_b == 1) {
        if (multiply) {
            for (int64_t i = 0; i < n; i++) { y[i] = a[i] * b[i]; }
        } else {
            for (int64_t i = 0; i < n; i++) { y[i] = a[i] + b[i]; }
        }
    } else if (step_a == 1 && step_b == 0) {
        const float same = *b;
        if (multiply) {
            for (int64_t i = 0; i < n; i++) { y[i] = a[i] * same; }
        } else {
            for (int64_t i = 0; i < n; i++) { y[i] = a[i] + same; }
        }
    } else if (multiply) {
        for (int64_t i = 0; i < n; i++) { y[i] = a[i * step_a] * b[i * step_b]; }
    } else {
        for (int64_t i = 0; i < n; i++) { y[i] = a[i * step_a] + b[i * step_b]; }
    }
}

spade_status spade_cpu_binary_run(spade_op *op, const spade_op_args *args)
{
    const spade_shape *operands[] = {&op->desc.y, &op->desc.a, &op->desc.b};
    const space s = make_space(&op->desc.y, operands, 3);
    const int last = s.rank - 1;
    const int64_t n = spade_shape_size(&op->desc.y), row = s.dims[last];
#pragma omp parallel for num_threads(spade_cpu_threads(&op->device->base)) schedule(static)
    for (int64_t begin = 0; begin < n; begin += SPADE_CPU_CHUNK) {
        int64_t end = n - begin < SPADE_CPU_CHUNK ? n : begin + SPADE_CPU_CHUNK;
        for (int64_t i = begin; i < end;) {
            int64_t first = i % row, run = row - first < end - i ? row - first : end - i;
            const float *a = args->a + locate(&s, last, 1, i / row) + first * s.strides[1][last];
            const float *b = args->b + locate(&s, last, 2, i / row) + first * s.strides[2][last];
            combine_row(op->desc.multiply, run, a, s.strides[1][last], b, s.strides[2][last], args->out + i);
            i += run;
        }
    }
    return SPADE_OK;
}

/* ---- y = sum of a over the axes where y has 1 */

enum { LANES = 64 }; /* sums of one task: neighbours along the fastest axis that is kept */

/* Which axes are summed and which are kept; operand 0 is a, operand 1 is y. */
typedef struct reduction {
    space kept, summed;
} reduction;

static reduction split_axes(const space *s)
{
    reduction r = {0};
    for (int i = 0; i < s->rank; i++) {
        space *to = s->strides[1][i] == 0 ? &r.summed : &r.kept;
        to->dims[to->rank] = s->dims[i];
        to->strides[0][to->rank] = s->strides[0][i];
        to->strides[1][to->rank] = s->strides[1][i];
        to->rank++;
    }
    if (r.kept.rank == 0) { r.kept.rank = 1, r.kept.dims[0] = 1; }
    if (r.summed.rank == 0) { r.summed.rank = 1, r.summed.dims[0] = 1; }
    return r;
}

static int64_t space_size(const space *s, int rank)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++) { n *= s->dims[i]; }
    return n;
}

/* sums[lane] += a over the summed axes, each lane in the order of the memory. Which loop is inside is a matter of
 * locality only. */
static void sum_lanes(const reduction *r, const float *a, int64_t lanes, double *sums)
{
    int last = r->summed.rank - 1;
    int64_t step = r->summed.strides[0][last], apart = r->kept.strides[0][r->kept.rank - 1];
    int64_t outer = space_size(&r->summed, last), run = r->summed.dims[last];
    for (int64_t o = 0; o < outer; o++) {
        const float *from = a + locate(&r->summed, last, 0, o);
        if (step < apart) {
            for (int64_t lane = 0; lane < lanes; lane++) {
                double sum = sums[lane];
                for (int64_t i = 0; i < run; i++) { sum += from[lane * apart + i * step]; }
                sums[lane] = sum;
            }
        } else {
            for (int64_t i = 0; i < run; i++) {
                for (int64_t lane = 0; lane < lanes; lane++) { sums[lane] += from[i * step + lane * apart]; }
            }
        }
    }
}

spade_status spade_cpu_reduce_sum_run(spade_op *op, const spade_op_args *args)
{
    const spade_shape *operands[] = {&op->desc.a, &op->desc.y};
    const space s = make_space(&op->desc.a, operands, 2);
    const reduction r = split_axes(&s);
    const int last = r.kept.rank - 1;
    const int64_t width = r.kept.dims[last], pieces = (width + LANES - 1) / LANES;
    const int64_t tasks = space_size(&r.kept, last) * pieces;
#pragma omp parallel for num_threads(spade_cpu_threads(&op->device->base)) schedule(static)
    for (int64_t task = 0; task < tasks; task++) {
        int64_t first = task % pieces * LANES, lanes = width - first < LANES ? width - first : LANES;
        double sums[LANES] = {0};
        const float *a = args->a + locate(&r.kept, last, 0, task / pieces) + first * r.kept.strides[0][last];
        float *y = args->out + locate(&r.kept, last, 1, task / pieces) + first * r.kept.strides[1][last];
        sum_lanes(&r, a, lanes, sums);
        for (int64_t lane = 0; lane < lanes; lane++) { y[lane * r.kept.strides[1][last]] = (float)sums[lane]; }
    }
    return SPADE_OK;
}
