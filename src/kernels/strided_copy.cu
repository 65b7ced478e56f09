/*
 * strided_copy.cu - elements moved between two tensors, each with strides of its own.
 *
 * Division of work
 *   copy:       threads stride over what is written, 4 neighbours (16 bytes) each where both sides allow it
 *   transpose:  where neighbours of what is read lie along another axis: a block of 32 x 8 threads moves a tile of 32 x 32
 *               through shared memory, so that it reads and writes neighbours; tiles are padded to 33 columns, so that a
 *               column lies in 32 banks
 */
#include "kernels/index.cuh"

namespace
{

enum { TILE = 32, LINES = 8, MAX_TILES = 65536 /* at once */ };

template <int Width> __global__ void copy(const __grid_constant__ spade_copy_kernel c, const float *from, float *to)
{
    SPADE_EACH(i, c.count)
    {
        int64_t at_to, at_from;
        float value[Width];
        spade_locate(c.axes, i, 0, &at_to, 1, &at_from);
        spade_load(from + at_from, value);
        spade_store(to + at_to, value);
    }
}

__global__ void transpose(const __grid_constant__ spade_copy_kernel c, int64_t down, int64_t across, const float *from,
                          float *to)
{
    __shared__ float tile[TILE][TILE + 1];
    for (int64_t task = blockIdx.x; task < c.count * down * across; task += gridDim.x) {
        int64_t i, j, at_to, at_from;
        const int64_t matrix = spade_divide(spade_divide(task, across, &j), down, &i);
        spade_locate(c.axes, matrix, 0, &at_to, 1, &at_from);
        i *= TILE, j *= TILE;
        for (int line = threadIdx.y; line < TILE; line += LINES) {
            const int64_t row = i + threadIdx.x, column = j + line;
            if (row < c.rows && column < c.columns) {
                tile[line][threadIdx.x] = from[at_from + column * c.from_step + row];
            }
        }
        __syncthreads();
        for (int line = threadIdx.y; line < TILE; line += LINES) {
            const int64_t row = i + line, column = j + threadIdx.x;
            if (row < c.rows && column < c.columns) { to[at_to + row * c.to_step + column] = tile[threadIdx.x][line]; }
        }
        __syncthreads(); /* before the next tile overwrites this one */
    }
}

/* Do both sides lie in quads along the last axis? */
bool fits_quads(const spade_copy_kernel &c, const float *from, const float *to)
{
    const int last = c.axes.rank - 1;
    bool fits = c.axes.dims[last] % 4 == 0 && (uintptr_t)from % 16 == 0 && (uintptr_t)to % 16 == 0;
    for (int side = 0; side < 2; side++) {
        fits = fits && c.axes.strides[side][last] == 1;
        for (int axis = 0; axis < last; axis++) { fits = fits && c.axes.strides[side][axis] % 4 == 0; }
    }
    return fits;
}

} // namespace

int spade_launch_copy(spade_stream stream, const spade_copy_kernel *kernel, const float *from, float *to)
{
    spade_copy_kernel c = *kernel;
    if (c.rows > 0) {
        const int64_t down = (c.rows + TILE - 1) / TILE, across = (c.columns + TILE - 1) / TILE;
        const int64_t tiles = c.count * down * across;
        const unsigned blocks = tiles < MAX_TILES ? (unsigned)tiles : (unsigned)MAX_TILES;
        return SPADE_LAUNCH(transpose, blocks, dim3(TILE, LINES), 0, stream, c, down, across, from, to);
    }
    if (!fits_quads(c, from, to)) {
        return SPADE_LAUNCH_INDEPENDENT(copy<1>, spade_blocks(c.count), SPADE_THREADS, stream, c, from, to);
    }
    const int last = c.axes.rank - 1;
    c.count /= 4;
    c.axes.dims[last] /= 4;
    for (int side = 0; side < 2; side++) { c.axes.strides[side][last] *= 4; }
    return SPADE_LAUNCH_INDEPENDENT(copy<4>, spade_blocks(c.count), SPADE_THREADS, stream, c, from, to);
}
