/*
 * axis_map.c - sparse linear maps along one axis. In memory a tensor is [outer, length, inner] around any axis, in either
 * layout. Sums are float64, in the order of the entries.
 */
#include "backend/cpu/cpu.h"
#include "backend/tensor_iterator.h"

enum { RUN = 256 }; /* neighbours that are summed at a time */

/* What a row is, without a sum: one entry of weight 1 and nothing to be filled in. */
static bool is_copy(const spade_sparse_rows *m, int64_t row)
{
    return m->offsets[row + 1] == m->offsets[row] + 1 && !m->weights && (!m->fill || m->fill[row] == 0);
}

/* y [inner] = row number `row` of the map of x [columns, inner] */
static void map_row(const spade_sparse_rows *m, int64_t row, int64_t inner, const float *x, float *y)
{
    const int32_t first = m->offsets[row], end = m->offsets[row + 1];
    const float fill = m->fill ? m->fill[row] : 0;
    if (is_copy(m, row)) {
        memcpy(y, x + m->indices[first] * inner, (size_t)inner * sizeof *y);
        return;
    }
    for (int64_t begin = 0; begin < inner; begin += RUN) {
        const int64_t n = inner - begin < RUN ? inner - begin : RUN;
        double sums[RUN];
        for (int64_t i = 0; i < n; i++) { sums[i] = fill; }
        for (int32_t k = first; k < end; k++) {
            const float *from = x + m->indices[k] * inner + begin;
            const double weight = m->weights ? m->weights[k] : 1;
            for (int64_t i = 0; i < n; i++) { sums[i] += weight * from[i]; }
        }
        for (int64_t i = 0; i < n; i++) { y[begin + i] = (float)sums[i]; }
    }
}

/* The same for neighbours along the axis: `count` rows from `first` on. */
static void map_line(const spade_sparse_rows *m, int64_t first, int64_t count, const float *x, float *y)
{
    for (int64_t row = first; row < first + count; row++) {
        if (is_copy(m, row)) {
            y[row] = x[m->indices[m->offsets[row]]];
            continue;
        }
        double sum = m->fill ? m->fill[row] : 0;
        for (int32_t k = m->offsets[row]; k < m->offsets[row + 1]; k++) {
            sum += (m->weights ? (double)m->weights[k] : 1) * x[m->indices[k]];
        }
        y[row] = (float)sum;
    }
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    const spade_op_desc *d = &op->desc;
    int64_t strides[SPADE_MAX_RANK];
    spade_shape_strides(&d->a, strides);
    const int64_t inner = strides[d->axis], columns = d->a.dims[d->axis], rows = d->y.dims[d->axis];
    const int64_t outer = spade_shape_size(&d->y) / (rows * inner);
    const int64_t size = SPADE_CPU_CHUNK / inner + 1,
                  pieces = (rows + size - 1) / size; /* rows of a task; tasks of a matrix */
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static)
    for (int64_t task = 0; task < outer * pieces; task++) {
        const int64_t first = task % pieces * size, count = rows - first < size ? rows - first : size;
        const float *x = args->a + task / pieces * columns * inner;
        float *y = args->out + task / pieces * rows * inner;
        if (inner == 1) {
            map_line(&args->rows, first, count, x, y);
        } else {
            for (int64_t row = first; row < first + count; row++) {
                map_row(&args->rows, row, inner, x, y + row * inner);
            }
        }
    }
    return SPADE_OK;
}

const spade_op_entry spade_cpu_axis_map_op = {.run = run};
