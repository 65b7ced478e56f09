/* layout.c - moving tensors between layouts. */
#include "backend/cpu/cpu.h"

enum { BLOCK = 32 }; /* a block of BLOCK x BLOCK floats is transposed in the first-level cache */

/* y [columns, rows] = transpose of x [rows, columns]: the block that begins at (i, j) */
static void transpose_block(int64_t rows, int64_t columns, int64_t i, int64_t j, const float *x, float *y)
{
    int64_t end_i = i + BLOCK < rows ? i + BLOCK : rows, end_j = j + BLOCK < columns ? j + BLOCK : columns;
    for (int64_t c = j; c < end_j; c++) {
        for (int64_t r = i; r < end_i; r++) { y[c * rows + r] = x[r * columns + c]; }
    }
}

void spade_cpu_convert(const spade_device *device, const spade_shape *shape, spade_layout from, const float *x,
                       spade_layout to, float *y)
{
    int64_t n = spade_shape_size(shape);
    if (from == to || shape->rank != 4) {
        memcpy(y, x, (size_t)n * sizeof *y);
        return;
    }
    /* each image: [C, H W] to [H W, C] or back */
    bool to_last = to == SPADE_CHANNELS_LAST;
    int64_t plane = shape->dims[2] * shape->dims[3], image = shape->dims[1] * plane;
    int64_t rows = to_last ? shape->dims[1] : plane, columns = to_last ? plane : shape->dims[1];
    int64_t down = (rows + BLOCK - 1) / BLOCK, across = (columns + BLOCK - 1) / BLOCK;
#pragma omp parallel for num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t task = 0; task < shape->dims[0] * down * across; task++) {
        int64_t start = task / (down * across) * image, block = task % (down * across);
        transpose_block(rows, columns, block / across * BLOCK, block % across * BLOCK, x + start, y + start);
    }
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    spade_cpu_convert(op->device, &op->desc.a, op->desc.a.layout, args->a, op->desc.y.layout, args->out);
    return SPADE_OK;
}

const spade_op_entry spade_cpu_convert_layout_op = {.run = run};
