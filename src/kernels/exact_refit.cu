/*
 * exact_refit.cu - exact solver: the weights of least loss on what a row keeps. S the columns that stay, D those that are
 * dropped: w_S + H_SS^-1 H_SD w_D where few are kept, w_S - A_SD A_DD^-1 w_D, A = H^-1, where few are dropped: a linear
 * system of at most half the columns, by Cholesky.
 *
 * Division of work: one block of 256 threads a row; blocks take rows in turns. The matrix M [n + 1, n] holds the lower
 * triangle and below it the right hand side, which the factorisation so turns into L^-1 x; blocks of 64 columns,
 * left-looking: tiles of 64 x 64 by products, the diagonal tile in shared memory, rows below it one a thread.
 */
#include "kernels/block.cuh"
#include "kernels/exact.cuh"
#include "kernels/tile.cuh"

namespace
{

enum { THREADS = SPADE_TILE_THREADS, SIDE = SPADE_TILE, PARTS = THREADS / SIDE };

/* Places in a row's working memory, in bytes. */
struct layout {
    size_t matrix, x, list, mark, bytes;
};

layout lay_out(int64_t columns)
{
    layout l = {};
    size_t k = (size_t)columns, half = k / 2 > 0 ? k / 2 : 1;
    l.matrix = spade_take(&l.bytes, (half + 1) * half * sizeof(double));
    l.x = spade_take(&l.bytes, half * sizeof(double));
    l.list = spade_take(&l.bytes, k * sizeof(int32_t));
    l.mark = spade_take(&l.bytes, k * sizeof(int32_t));
    return l;
}

struct block_shared {
    spade_tile_shared tile;
    double diagonal[SIDE * (SIDE + 1) / 2]; /* packed by rows */
    double parts[PARTS][SIDE];
    spade_block_scratch<int, THREADS> counts;
};

struct system {
    int64_t n;
    double *m, *x; /* [n + 1, n], [n] */
};

__device__ int packed_at(int i, int j)
{
    return i * (i + 1) / 2 + j;
}

__device__ int64_t minimum(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Rows [row, row + 64) of the block column `first` -= what lies left of it. */
__device__ void update_tile(const system &s, int64_t row, int64_t first, block_shared &shared)
{
    int64_t n = s.n;
    const double *upper = s.m + row * n, *left = s.m + first * n;
    double sum[SPADE_TILE_EACH][SPADE_TILE_EACH] = {{0}};
    spade_tile_product(
        first, [=](int64_t k, int at) { return row + at <= n ? upper[at * n + k] : 0.0; },
        [=](int64_t k, int at) { return first + at < n ? left[at * n + k] : 0.0; }, shared.tile, sum);
    for (int i = 0; i < SPADE_TILE_EACH; i++) {
        for (int j = 0; j < SPADE_TILE_EACH; j++) {
            int64_t y = row + spade_tile_row(i), x = first + spade_tile_column(j);
            if (y <= n && x < n && x <= y) { s.m[y * n + x] -= sum[i][j]; }
        }
    }
    __syncthreads();
}

/* The diagonal tile in shared memory: column by column, then what is right of it. */
__device__ bool factor_diagonal(const system &s, int64_t first, int width, block_shared &shared)
{
    int t = (int)threadIdx.x;
    for (int q = t; q < width * width; q += THREADS) {
        int i = q / width, j = q % width;
        if (j <= i) { shared.diagonal[packed_at(i, j)] = s.m[(first + i) * s.n + first + j]; }
    }
    bool good = true;
    for (int j = 0; j < width && good; j++) {
        __syncthreads();
        double diagonal = shared.diagonal[packed_at(j, j)], root = sqrt(diagonal);
        good = diagonal > 0 && isfinite(diagonal); /* of all threads */
        __syncthreads();
        for (int i = j + t; i < width; i += THREADS) {
            double *at = &shared.diagonal[packed_at(i, j)];
            *at = i == j ? root : *at / root;
        }
        __syncthreads();
        for (int q = t; q < width * width; q += THREADS) {
            int i = q / width, l = q % width;
            if (i > j && l > j && l <= i) {
                shared.diagonal[packed_at(i, l)] -= shared.diagonal[packed_at(i, j)] * shared.diagonal[packed_at(l, j)];
            }
        }
    }
    __syncthreads();
    for (int q = t; q < width * width; q += THREADS) {
        int i = q / width, j = q % width;
        if (j <= i) { s.m[(first + i) * s.n + first + j] = shared.diagonal[packed_at(i, j)]; }
    }
    return good;
}

/* Rows below the diagonal tile, the right hand side among them. */
__device__ void solve_rows(const system &s, int64_t first, int width, const block_shared &shared)
{
    for (int64_t i = first + width + threadIdx.x; i <= s.n; i += THREADS) {
        double *row = s.m + i * s.n + first;
        for (int j = 0; j < width; j++) {
            double sum = row[j];
            for (int k = 0; k < j; k++) { sum -= row[k] * shared.diagonal[packed_at(j, k)]; }
            row[j] = sum / shared.diagonal[packed_at(j, j)];
        }
    }
    __syncthreads();
}

/* L^T x = y, y in the last row, from the last block of columns to the first. */
__device__ void solve_backward(const system &s, block_shared &shared)
{
    int t = (int)threadIdx.x, column = t % SIDE, part = t / SIDE;
    for (int64_t first = (s.n - 1) / SIDE * SIDE; first >= 0; first -= SIDE) {
        int width = (int)minimum(s.n - first, SIDE);
        double sum = 0;
        for (int64_t i = first + width + part; i < s.n && column < width; i += PARTS) {
            sum += s.m[i * s.n + first + column] * s.x[i];
        }
        shared.parts[part][column] = sum;
        for (int q = t; q < width * width; q += THREADS) {
            int i = q / width, j = q % width;
            if (j <= i) { shared.diagonal[packed_at(i, j)] = s.m[(first + i) * s.n + first + j]; }
        }
        __syncthreads();
        if (t < SIDE && t < width) {
            double value = s.m[s.n * s.n + first + t];
            for (int p = 0; p < PARTS; p++) { value -= shared.parts[p][t]; }
            shared.parts[0][t] = value;
        }
        __syncthreads();
        for (int j = width - 1; j >= 0; j--) {
            double x = shared.parts[0][j] / shared.diagonal[packed_at(j, j)];
            __syncthreads();
            if (t < j) { shared.parts[0][t] -= x * shared.diagonal[packed_at(j, t)]; }
            if (t == j) { s.x[first + j] = x; }
            __syncthreads();
        }
    }
}

__device__ bool solve(const system &s, block_shared &shared)
{
    for (int64_t first = 0; first < s.n; first += SIDE) {
        int width = (int)minimum(s.n - first, SIDE);
        for (int64_t row = first; row <= s.n && first > 0; row += SIDE) { update_tile(s, row, first, shared); }
        if (!factor_diagonal(s, first, width, shared)) { return false; }
        solve_rows(s, first, width, shared);
    }
    if (s.n) { solve_backward(s, shared); }
    return true;
}

/* The row's columns: those dropped, ascending, from the start of `list`, those kept behind them. */
__device__ int64_t split_columns(const int32_t *order, int64_t count, int64_t columns, int64_t group, int32_t *mark,
                                 int32_t *list, block_shared &shared)
{
    int64_t dropped = 0, kept = 0;
    for (int64_t j = threadIdx.x; j < columns; j += THREADS) { mark[j] = 0; }
    __syncthreads();
    for (int64_t q = threadIdx.x; q < count * group; q += THREADS) { mark[order[q / group] * group + q % group] = 1; }
    __syncthreads();
    for (int64_t base = 0; base < columns; base += THREADS) {
        int64_t j = base + threadIdx.x, n = minimum(columns - base, THREADS);
        int own = j < columns && mark[j], all;
        int before = spade_block_before(own, &all, shared.counts);
        if (own) { list[dropped + before] = (int32_t)j; }
        if (j < columns && !own) { list[count * group + kept + threadIdx.x - before] = (int32_t)j; }
        dropped += all;
        kept += n - all;
    }
    __syncthreads();
    return dropped;
}

/* Lower triangle of a[list, list], a [k, k] read above its diagonal. */
__device__ void gather_matrix(const system &s, const double *a, int64_t k, const int32_t *list)
{
    for (int64_t q = threadIdx.x; q < s.n * s.n; q += THREADS) {
        int64_t i = q / s.n, j = q % s.n;
        if (j <= i) { s.m[q] = a[list[j] * k + list[i]]; }
    }
}

/* H_SD w_D of one kept column; only the upper triangle of H is read. */
__device__ double right_side(const double *h, int64_t k, int64_t column, const int32_t *dropped, int64_t n,
                             const double *w)
{
    double sum = 0;
    for (int64_t j = 0; j < n; j++) {
        int64_t other = dropped[j];
        sum += (other < column ? h[other * k + column] : h[column * k + other]) * w[other];
    }
    return sum;
}

__device__ bool refit_row(const spade_exact_kernel &p, const spade_exact_batch &batch, int64_t row, const layout &l,
                          char *memory, block_shared &shared)
{
    int64_t k = batch.columns, groups = k / batch.group, t = threadIdx.x;
    int32_t *list = (int32_t *)(memory + l.list);
    const double *w = p.w + row * k;
    double *q = p.q + row * k;
    int64_t dropped = split_columns(p.order + row * groups, p.counts[row], k, batch.group, (int32_t *)(memory + l.mark),
                                    list, shared);
    int64_t kept = k - dropped;
    const int32_t *stay = list + dropped;
    bool few = kept < dropped;
    system s = {few ? kept : dropped, (double *)(memory + l.matrix), (double *)(memory + l.x)};
    gather_matrix(s, few ? p.hessian : p.inverse, k, few ? stay : list);
    for (int64_t i = t; i < s.n; i += THREADS) {
        s.m[s.n * s.n + i] = few ? right_side(p.hessian, k, stay[i], list, dropped, w) : w[list[i]];
    }
    __syncthreads();
    if (!solve(s, shared)) { return false; }
    for (int64_t j = t; j < dropped; j += THREADS) { q[list[j]] = 0.0; }
    for (int64_t i = t; i < kept; i += THREADS) {
        int64_t column = stay[i];
        double sum = few ? -s.x[i] : 0;
        for (int64_t j = 0; j < dropped && !few; j++) { sum += p.inverse[list[j] * k + column] * s.x[j]; }
        q[column] = w[column] - sum;
    }
    return true;
}

/* Blocks stride over the rows of all problems. */
__global__ __launch_bounds__(THREADS) void refit(const __grid_constant__ spade_exact_batch batch,
                                                 const __grid_constant__ layout l, int64_t rows, char *workspace)
{
    __shared__ block_shared shared;
    for (int64_t job = blockIdx.x; job < rows; job += gridDim.x) {
        int64_t row;
        const spade_exact_kernel &p = spade_find_row(batch, job, &row);
        bool good = refit_row(p, batch, row, l, workspace + blockIdx.x * l.bytes, shared);
        if (!good && threadIdx.x == 0) { *p.failed = 1; }
        __syncthreads();
    }
}

} // namespace

size_t spade_refit_row_bytes(int64_t columns)
{
    return lay_out(columns).bytes;
}

int spade_launch_refit(spade_stream stream, const spade_exact_batch *batch, int64_t max_rows, void *workspace)
{
    int64_t rows = spade_batch_rows(batch);
    int64_t blocks = rows < max_rows ? rows : max_rows;
    return SPADE_LAUNCH(refit, (unsigned)blocks, THREADS, 0, stream, *batch, lay_out(batch->columns), rows,
                        (char *)workspace);
}
