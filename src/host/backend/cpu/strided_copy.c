/*
 * strided_copy.c - permutations, concatenations and their parts.
 *
 * Rows along the axis in which both sides lie side by side are copied; where these are two axes, blocks that fit into the
 * first-level cache are transposed.
 */
#include "backend/strided_copy.h"

#include "backend/cpu/cpu.h"

enum { BLOCK = 32 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void copy_row(int64_t n, int64_t to_step, int64_t from_step, const float *from, float *to)
{
    if (to_step == 1 && from_step == 1) {
        memcpy(to, from, (size_t)n * sizeof *to);
    } else {
        for (int64_t i = 0; i < n; i++) { to[i * to_step] = from[i * from_step]; }
    }
}

/* Elements [begin, begin + length) of `count` rows along the last axis, from row `first` on. */
static void copy_rows(const spade_strided_copy *c, int64_t first, int64_t count, int64_t begin, int64_t length,
                      const float *from, float *to)
{
    const spade_tensor_iterator *axes = &c->axes;
    const int last = axes->rank - 1;
    const int64_t *to_steps = axes->strides[SPADE_COPY_TO], *from_steps = axes->strides[SPADE_COPY_FROM];
    int64_t coordinates[SPADE_MAX_RANK] = {0}, index = first;
    to += begin * to_steps[last];
    from += begin * from_steps[last];
    for (int i = last - 1; i >= 0; i--) {
        coordinates[i] = index % axes->dims[i];
        index /= axes->dims[i];
        to += coordinates[i] * to_steps[i];
        from += coordinates[i] * from_steps[i];
    }
    for (int64_t row = 0; row < count; row++) {
        copy_row(length, to_steps[last], from_steps[last], from, to);
        for (int i = last - 1; i >= 0; i--) { /* to the next row */
            to += to_steps[i];
            from += from_steps[i];
            if (++coordinates[i] < axes->dims[i]) { break; }
            to -= coordinates[i] * to_steps[i];
            from -= coordinates[i] * from_steps[i];
            coordinates[i] = 0;
        }
    }
}

static void copy_by_rows(const spade_device *device, const spade_strided_copy *c, const float *from, float *to)
{
    const int last = c->axes.rank - 1;
    const int64_t rows = spade_tensor_iterator_size(&c->axes, last), row = c->axes.dims[last];
    const int64_t together = row < SPADE_CPU_CHUNK ? SPADE_CPU_CHUNK / row : 1; /* rows of a task */
    const int64_t pieces = (row + SPADE_CPU_CHUNK - 1) / SPADE_CPU_CHUNK;       /* of a row */
    const int64_t tasks = (rows + together - 1) / together * pieces;
#pragma omp parallel for num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t task = 0; task < tasks; task++) {
        const int64_t first = task / pieces * together, begin = task % pieces * SPADE_CPU_CHUNK;
        copy_rows(c, first, smaller(together, rows - first), begin, smaller(SPADE_CPU_CHUNK, row - begin), from, to);
    }
}

/* The axes but the last and the one that is read along. */
static spade_tensor_iterator other_axes(const spade_strided_copy *c)
{
    spade_tensor_iterator others = {0};
    for (int i = 0; i < c->axes.rank - 1; i++) {
        if (i == c->transposed) { continue; }
        others.dims[others.rank] = c->axes.dims[i];
        for (int k = 0; k < 2; k++) { others.strides[k][others.rank] = c->axes.strides[k][i]; }
        others.rank++;
    }
    return others;
}

static void copy_transposed(const spade_device *device, const spade_strided_copy *c, const float *from, float *to)
{
    const spade_tensor_iterator others = other_axes(c);
    const int last = c->axes.rank - 1;
    const int64_t rows = c->axes.dims[c->transposed], columns = c->axes.dims[last];
    const int64_t to_step = c->axes.strides[SPADE_COPY_TO][c->transposed];
    const int64_t from_step = c->axes.strides[SPADE_COPY_FROM][last];
    const int64_t down = (rows + BLOCK - 1) / BLOCK, across = (columns + BLOCK - 1) / BLOCK;
    const int64_t tasks = spade_tensor_iterator_size(&others, others.rank) * down * across;
#pragma omp parallel for num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t task = 0; task < tasks; task++) {
        const int64_t matrix = task / (down * across), block = task % (down * across);
        const int64_t i = block / across * BLOCK, j = block % across * BLOCK;
        const int64_t end_i = smaller(i + BLOCK, rows), end_j = smaller(j + BLOCK, columns);
        const float *x = from + spade_tensor_iterator_locate(&others, others.rank, SPADE_COPY_FROM, matrix);
        float *y = to + spade_tensor_iterator_locate(&others, others.rank, SPADE_COPY_TO, matrix);
        for (int64_t row = i; row < end_i; row++) {
            for (int64_t column = j; column < end_j; column++) {
                y[row * to_step + column] = x[column * from_step + row];
            }
        }
    }
}

static spade_status copy(const spade_op *op, const float *from, float *to)
{
    const spade_strided_copy c = spade_strided_copy_make(&op->desc);
    from += c.first[SPADE_COPY_FROM];
    to += c.first[SPADE_COPY_TO];
    if (c.transposed >= 0) {
        copy_transposed(op->device, &c, from, to);
    } else {
        copy_by_rows(op->device, &c, from, to);
    }
    return SPADE_OK;
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    return copy(op, args->a, args->out);
}

static spade_status run_backward(spade_op *op, const spade_op_args *args)
{
    return copy(op, args->dy, args->out);
}

const spade_op_entry spade_cpu_permute_op = {.run = run};
const spade_op_entry spade_cpu_concat_op = {.run = run};
const spade_op_entry spade_cpu_concat_backward_op = {.run = run_backward};
