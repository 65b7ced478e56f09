/*
 * linear.c - matrix products by cuBLAS: y = x w^T + bias, dx = dy w, y = a b.
 *
 * cuBLAS counts columns first, so a row-major y [m, n] = a b is computed as y^T = b^T a^T, operands as they lie there.
 */
#include "backend/check.h"
#include "backend/cuda/cuda.h"
#include "backend/tensor_iterator.h"

/* One row-major matrix, or its transpose; of a batch: elements from one to the next. */
typedef struct matrix {
    const float *data;
    int64_t columns; /* as stored: elements from row to row */
    bool transpose;
    int64_t stride;
} matrix;

/* cuBLAS counts in int. */
static spade_status check_sizes(const spade_op *op, int64_t m, int64_t n, int64_t k, int64_t count)
{
    char text[256];
    if (m <= INT32_MAX && n <= INT32_MAX && k <= INT32_MAX && count <= INT32_MAX) { return SPADE_OK; }
    return spade_fail(op->device->context, SPADE_ERROR_UNSUPPORTED, "%s: more than 2^31 - 1 rows",
                      spade_op_describe(&op->desc, text, sizeof text));
}

/* `count` products c [m, n] = a [m, k] b [k, n]; results lie one after the other. */
static spade_status multiply(const spade_op *op, int64_t m, int64_t n, int64_t k, int64_t count, matrix a, matrix b,
                             float *c)
{
    const spade_cuda_device *cuda = spade_cuda_of(op->device);
    const float one = 1, zero = 0;
    const cublasOperation_t left = b.transpose ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t right = a.transpose ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int ld_left = (int)b.columns, ld_right = (int)a.columns;
    SPADE_CUDA_BLAS(cuda, cublasSetMathMode(cuda->blas, spade_cuda_math_mode(cuda)));
    if (count == 1) {
        SPADE_CUDA_BLAS(cuda, cublasSgemm(cuda->blas, left, right, (int)n, (int)m, (int)k, &one, b.data, ld_left,
                                          a.data, ld_right, &zero, c, (int)n));
        return SPADE_OK;
    }
    SPADE_CUDA_BLAS(cuda, cublasSgemmStridedBatched(cuda->blas, left, right, (int)n, (int)m, (int)k, &one, b.data,
                                                    ld_left, b.stride, a.data, ld_right, a.stride, &zero, c, (int)n,
                                                    m * n, (int)count));
    return SPADE_OK;
}

/* ---- y = a b over batches */

typedef struct product {
    int64_t m, n, k;
    spade_tensor_iterator batches; /* strides in matrices; operands: 0 y, 1 a, 2 b */
    int64_t outer;                 /* runs of batches that one call computes */
    int64_t count;                 /* batches of a run */
} product;

/* The batch axes of an operand. */
static spade_shape leading(const spade_shape *shape)
{
    spade_shape s = *shape;
    s.rank -= 2;
    return s;
}

static product product_of(const spade_op_desc *desc)
{
    const spade_shape *a = &desc->a, *y = &desc->y;
    const spade_shape of_y = leading(y), of_a = leading(a), of_b = leading(&desc->b);
    const spade_shape *operands[] = {&of_y, &of_a, &of_b};
    product p = {.m = y->dims[y->rank - 2],
                 .n = y->dims[y->rank - 1],
                 .batches = spade_tensor_iterator_make(&of_y, operands, 3)};
    const int last = p.batches.rank - 1;
    p.k = a->dims[a->rank - (desc->transpose_a ? 2 : 1)];
    p.count = p.batches.dims[last];
    p.outer = spade_tensor_iterator_size(&p.batches, last);
    /* all rows of a run against the same b: one tall product */
    if (!desc->transpose_a && p.batches.strides[1][last] == 1 && p.batches.strides[2][last] == 0 &&
        p.m <= INT32_MAX / p.count) {
        p.m *= p.count;
        p.count = 1;
    }
    return p;
}

static spade_status plan_matmul(spade_op *op)
{
    const product p = product_of(&op->desc);
    return check_sizes(op, p.m, p.n, p.k, p.count);
}

static spade_status run_matmul(spade_op *op, const spade_op_args *args)
{
    const spade_op_desc *desc = &op->desc;
    const product p = product_of(desc);
    const int last = p.batches.rank - 1;
    const int64_t rows = desc->y.dims[desc->y.rank - 2], of_a = rows * p.k, of_b = p.k * p.n, of_y = rows * p.n;
    for (int64_t run = 0; run < p.outer; run++) {
        matrix a = {args->a + spade_tensor_iterator_locate(&p.batches, last, 1, run) * of_a,
                    desc->a.dims[desc->a.rank - 1], desc->transpose_a, p.batches.strides[1][last] * of_a};
        matrix b = {args->b + spade_tensor_iterator_locate(&p.batches, last, 2, run) * of_b,
                    desc->b.dims[desc->b.rank - 1], desc->transpose_b, p.batches.strides[2][last] * of_b};
        SPADE_TRY(multiply(op, p.m, p.n, p.k, p.count, a, b, args->out + run * p.batches.dims[last] * of_y));
    }
    return SPADE_OK;
}

/* ---- linear layers */

static spade_status plan_linear(spade_op *op)
{
    int64_t k = op->desc.a.dims[op->desc.a.rank - 1], r = op->desc.y.dims[op->desc.y.rank - 1];
    op->packed_bytes = (size_t)(k * r) * sizeof(float);
    return check_sizes(op, spade_shape_size(&op->desc.a) / k, r, k, 1);
}

static spade_status pack_linear(spade_op *op, const float *weights, const float *row_scale, void *packed)
{
    spade_cuda_device *cuda = spade_cuda_of(op->device);
    int64_t columns = op->desc.a.dims[op->desc.a.rank - 1], rows = op->desc.y.dims[op->desc.y.rank - 1];
    if (!row_scale) { return spade_cuda_copy(&cuda->base, packed, weights, op->packed_bytes); }
    return spade_cuda_scale_rows(cuda, rows, columns, weights, row_scale, packed);
}

spade_status spade_cuda_linear_product(const spade_op *op, int64_t m, int64_t rows, int64_t columns, bool backward,
                                       const float *x, const float *weights, float *out)
{
    int64_t n = backward ? columns : rows, k = backward ? rows : columns;
    matrix from = {.data = x, .columns = k}, by = {.data = weights, .columns = columns, .transpose = !backward};
    return multiply(op, m, n, k, 1, from, by, out);
}

static spade_status run_linear(spade_op *op, const spade_op_args *args)
{
    const bool backward = op->desc.kind == SPADE_OP_LINEAR_BACKWARD;
    int64_t columns = op->desc.a.dims[op->desc.a.rank - 1], rows = op->desc.y.dims[op->desc.y.rank - 1];
    int64_t m = spade_shape_size(&op->desc.a) / columns;
    const float *x = backward ? args->dy : args->a;
    SPADE_TRY(spade_cuda_linear_product(op, m, rows, columns, backward, x, args->packed, args->out));
    if (backward) { return SPADE_OK; }
    return spade_cuda_bias_relu(spade_cuda_of(op->device), m * rows, rows, 1, args->bias, op->desc.relu, args->out);
}

const spade_op_entry spade_cuda_matmul_op = {.plan = plan_matmul, .run = run_matmul};
const spade_op_entry spade_cuda_linear_op = {.plan = plan_linear, .pack = pack_linear, .run = run_linear};
