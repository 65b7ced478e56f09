/*
 * layout.cu - a tensor in the other layout: for each image, the transpose of a matrix [channels, pixels].
 *
 * Division of work
 *   transpose: a block of 32 x 8 threads moves a tile of 32 x 32 through shared memory, so that it reads and writes
 *              neighbours; tiles are padded to 33 columns, so that a column lies in 32 banks.
 *   few rows or few columns (colours): a thread a place along the long side; the short one is within a cache line.
 */
#include "kernels/index.cuh"

namespace
{

enum { TILE = 32, LINES = 8, NARROW = 8, MAX_TILES = 65536 /* at once */ };

__global__ void transpose(int64_t images, int64_t rows, int64_t columns, int64_t down, int64_t across, const float *x,
                          float *y)
{
    __shared__ float tile[TILE][TILE + 1];
    for (int64_t task = blockIdx.x; task < images * down * across; task += gridDim.x) {
        int64_t j, i, image = spade_divide(spade_divide(task, across, &j), down, &i);
        const float *from = x + image * rows * columns;
        float *to = y + image * rows * columns;
        i *= TILE, j *= TILE;
        for (int line = threadIdx.y; line < TILE; line += LINES) {
            int64_t row = i + line, column = j + threadIdx.x;
            if (row < rows && column < columns) { tile[line][threadIdx.x] = from[row * columns + column]; }
        }
        __syncthreads();
        for (int line = threadIdx.y; line < TILE; line += LINES) {
            int64_t column = j + line, row = i + threadIdx.x;
            if (row < rows && column < columns) { to[column * rows + row] = tile[threadIdx.x][line]; }
        }
        __syncthreads(); /* before the next tile overwrites this one */
    }
}

__global__ void transpose_few_rows(int64_t images, int64_t rows, int64_t columns, const float *x, float *y)
{
    SPADE_EACH(i, images * columns)
    {
        int64_t column, start = spade_divide(i, columns, &column) * rows * columns;
        for (int64_t row = 0; row < rows; row++) { y[start + column * rows + row] = x[start + row * columns + column]; }
    }
}

__global__ void transpose_few_columns(int64_t images, int64_t rows, int64_t columns, const float *x, float *y)
{
    SPADE_EACH(i, images * rows)
    {
        int64_t row, start = spade_divide(i, rows, &row) * rows * columns;
        for (int64_t column = 0; column < columns; column++) {
            y[start + column * rows + row] = x[start + row * columns + column];
        }
    }
}

} // namespace

int spade_launch_transpose(spade_stream stream, int64_t images, int64_t rows, int64_t columns, const float *x, float *y)
{
    if (rows <= NARROW) {
        return SPADE_LAUNCH_INDEPENDENT(transpose_few_rows, spade_blocks(images * columns), SPADE_THREADS, stream,
                                        images, rows, columns, x, y);
    }
    if (columns <= NARROW) {
        return SPADE_LAUNCH_INDEPENDENT(transpose_few_columns, spade_blocks(images * rows), SPADE_THREADS, stream,
                                        images, rows, columns, x, y);
    }
    int64_t down = (rows + TILE - 1) / TILE, across = (columns + TILE - 1) / TILE, tiles = images * down * across;
    unsigned blocks = tiles < MAX_TILES ? (unsigned)tiles : (unsigned)MAX_TILES;
    return SPADE_LAUNCH(transpose, blocks, dim3(TILE, LINES), 0, stream, images, rows, columns, down, across, x, y);
}
