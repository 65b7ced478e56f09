/*
 * linear.c - matrix products: y = x w^T + bias, dx = dy w, y = a b.
 *
 * The result is cut into tiles of a fixed size; each tile is one product on one thread, so that neither the
 * split nor the sums depend on the number of threads. Packed weights are the rows as given, scaled.
 */
#include <omp.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/product.h"

/* c [m, n] = a [m, k] b [k, n], then + bias [n], then relu: the tile that begins at (i, j). false: out of memory. */
static bool compute_tile(int64_t m, int64_t n, int64_t k, int64_t i, int64_t j, spade_cpu_matrix a, spade_cpu_matrix b,
                         const float *bias, bool relu, float *c)
{
    int64_t rows = m - i < SPADE_CPU_TILE_ROWS ? m - i : SPADE_CPU_TILE_ROWS;
    int64_t columns = n - j < SPADE_CPU_TILE_COLUMNS ? n - j : SPADE_CPU_TILE_COLUMNS;
    float *to = c + i * n + j;
    a.data += a.transpose ? i : i * a.stride;
    b.data += b.transpose ? j * b.stride : j;
    if (!spade_cpu_product(rows, columns, k, a, b, to, n)) { return false; }
    for (int64_t r = 0; (bias || relu) && r < rows; r++) {
        float *row = to + r * n;
        if (bias) {
            for (int64_t s = 0; s < columns; s++) { row[s] += bias[j + s]; }
        }
        if (relu) {
            for (int64_t s = 0; s < columns; s++) { row[s] = row[s] < 0 ? 0 : row[s]; }
        }
    }
    return true;
}

static spade_status no_memory(const spade_op *op)
{
    return spade_fail(op->device->context, SPADE_ERROR_MEMORY, "out of memory for the buffers of a matrix product");
}

/* Where matrix number `index` of a batch with these leading dims begins in an operand that may have 1 there. */
static int64_t batch_offset(const spade_shape *y, const spade_shape *operand, int64_t index)
{
    int64_t offset = 0, stride = operand->dims[operand->rank - 1] * operand->dims[operand->rank - 2];
    for (int axis = y->rank - 3, own = operand->rank - 3; axis >= 0; axis--, own--) {
        int64_t coordinate = index % y->dims[axis];
        index /= y->dims[axis];
        if (own >= 0) {
            offset += operand->dims[own] == 1 ? 0 : coordinate * stride;
            stride *= operand->dims[own];
        }
    }
    return offset;
}

static int64_t tiles_of(int64_t n, int64_t tile)
{
    return (n + tile - 1) / tile;
}

static spade_status run_matmul(spade_op *op, const spade_op_args *args)
{
    const spade_shape *a = &op->desc.a, *b = &op->desc.b, *y = &op->desc.y;
    int64_t m = y->dims[y->rank - 2], n = y->dims[y->rank - 1];
    int64_t k = a->dims[a->rank - (op->desc.transpose_a ? 2 : 1)];
    int64_t across = tiles_of(n, SPADE_CPU_TILE_COLUMNS), each = tiles_of(m, SPADE_CPU_TILE_ROWS) * across;
    int64_t batches = spade_shape_size(y) / (m * n);
    bool done = true;
#pragma omp parallel num_threads(spade_cpu_threads(op->device))
    {
        omp_set_num_threads(1); /* of oneDNN below; this thread's setting only */
#pragma omp for schedule(dynamic) reduction(&& : done)
        for (int64_t task = 0; task < batches * each; task++) {
            int64_t batch = task / each, tile = task % each;
            spade_cpu_matrix left = {args->a + batch_offset(y, a, batch), a->dims[a->rank - 1], op->desc.transpose_a};
            spade_cpu_matrix right = {args->b + batch_offset(y, b, batch), b->dims[b->rank - 1], op->desc.transpose_b};
            done = compute_tile(m, n, k, tile / across * SPADE_CPU_TILE_ROWS, tile % across * SPADE_CPU_TILE_COLUMNS,
                                left, right, NULL, false, args->out + batch * m * n) &&
                   done;
        }
    }
    return done ? SPADE_OK : no_memory(op);
}

static spade_status plan_linear(spade_op *op)
{
    int64_t k = op->desc.a.dims[op->desc.a.rank - 1], r = op->desc.y.dims[op->desc.y.rank - 1];
    op->packed_bytes = (size_t)(k * r) * sizeof(float);
    return SPADE_OK;
}

static spade_status pack_linear(spade_op *op, const float *weights, const float *row_scale, void *packed)
{
    int64_t columns = op->desc.a.dims[op->desc.a.rank - 1], rows = op->desc.y.dims[op->desc.y.rank - 1];
    float *to = packed;
    if (!row_scale) {
        memcpy(to, weights, op->packed_bytes);
        return SPADE_OK;
    }
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) { to[r * columns + c] = weights[r * columns + c] * row_scale[r]; }
    }
    return SPADE_OK;
}

static spade_status run_linear(spade_op *op, const spade_op_args *args)
{
    bool backward = op->desc.kind == SPADE_OP_LINEAR_BACKWARD;
    int64_t columns = op->desc.a.dims[op->desc.a.rank - 1], rows = op->desc.y.dims[op->desc.y.rank - 1];
    int64_t m = spade_shape_size(&op->desc.a) / columns;
    int64_t n = backward ? columns : rows, k = backward ? rows : columns;
    spade_cpu_matrix x = {backward ? args->dy : args->a, k, false};
    spade_cpu_matrix weights = {args->packed, columns, !backward};
    const float *bias = backward ? NULL : args->bias;
    bool relu = op->desc.relu && !backward;
    int64_t across = tiles_of(n, SPADE_CPU_TILE_COLUMNS);
    bool done = true;
#pragma omp parallel num_threads(spade_cpu_threads(op->device))
    {
        omp_set_num_threads(1); /* of oneDNN below; this thread's setting only */
#pragma omp for schedule(dynamic) reduction(&& : done)
        for (int64_t tile = 0; tile < tiles_of(m, SPADE_CPU_TILE_ROWS) * across; tile++) {
            done = compute_tile(m, n, k, tile / across * SPADE_CPU_TILE_ROWS, tile % across * SPADE_CPU_TILE_COLUMNS, x,
                                weights, bias, relu, args->out) &&
                   done;
        }
    }
    return done ? SPADE_OK : no_memory(op);
}

const spade_op_entry spade_cpu_matmul_op = {.run = run_matmul};
const spade_op_entry spade_cpu_linear_op = {.plan = plan_linear, .pack = pack_linear, .run = run_linear};
