/*
 * sweep.cu - the fast solver's sweep. backend/cpu/solver/sweep.c has the identities: with H = V V^T, W the weights, Q the
 * result and D = W - Q, the columns of a block B have, before any of them is pruned, the values W_B + (D_A V_AB)
 * V_BB^-1, A the columns left of B, and errors scale with V_jj.
 *
 * Rows only meet in the choice of a block's mask. So a panel of columns of one layer is one block's work: threads
 * stride over the rows, and the choice needs barriers of that block, which cost far less than those of a grid. Layers
 * do not wait for each other: all panels of one index, of all layers, are one launch. What a panel needs of the columns
 * before it is a matrix product, spread over the whole GPU: tiles of 64 rows x 64 columns x SPADE_SWEEP_DEPTH of the
 * inner dimension, added up in a fixed order.
 *
 * Everything is stored column by column, so that neighbouring threads read neighbouring rows.
 */
#include "kernels/block.cuh"
#include "kernels/tile.cuh"

namespace
{

typedef unsigned long long key_type; /* a score's bits: scores are not negative, so they are in the scores' order */

enum {
    THREADS = 512, /* of a panel, at most: with more there are too few registers */
    PANEL = SPADE_SWEEP_PANEL,
    STRIP = 8, /* columns whose sums are in registers */
    BINS = 1024,
    TURN = 32 /* edge of the squares that are transposed at a time */
};

__device__ int64_t minimum(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- begin and end: transposing. Blocks of 32 x 8 threads turn squares of 32 x 32 through shared memory. */

__global__ void begin(const __grid_constant__ spade_sweep_kernel p, const float *dense, const uint8_t *dead,
                      spade_result_kernel *result)
{
    __shared__ float square[TURN][TURN + 1];
    int64_t first = (int64_t)blockIdx.x * TURN, row = (int64_t)blockIdx.y * TURN, x = threadIdx.x;
    for (int64_t y = threadIdx.y; y < TURN; y += blockDim.y) {
        bool inside = row + y < p.rows && first + x < p.columns;
        square[y][x] = inside && !dead[first + x] ? dense[(row + y) * p.columns + first + x] : 0.0f;
    }
    __syncthreads();
    for (int64_t y = threadIdx.y; y < TURN; y += blockDim.y) {
        if (row + x < p.rows && first + y < p.columns) { p.weights[(first + y) * p.rows + row + x] = square[x][y]; }
    }
    if (blockIdx.x == 0 && threadIdx.y == 0 && row + x < p.rows) { p.errors[row + x] = 0; }
    if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.y == 0 && x == 0) { *result = spade_result_kernel{}; }
}

/* Integers are counted: in whatever order blocks come, the sums are the same. */
__global__ void end(const __grid_constant__ spade_sweep_kernel p, float *sparse, spade_result_kernel *result)
{
    __shared__ float square[TURN][TURN + 1];
    __shared__ unsigned zeros, bad;
    int64_t first = (int64_t)blockIdx.x * TURN, row = (int64_t)blockIdx.y * TURN, x = threadIdx.x;
    bool counts = x == 0 && threadIdx.y == 0;
    if (counts) { zeros = bad = 0; }
    __syncthreads();
    unsigned own_zeros = 0, own_bad = 0;
    for (int64_t y = threadIdx.y; y < TURN; y += blockDim.y) {
        bool inside = row + x < p.rows && first + y < p.columns;
        float weight = inside ? p.weights[(first + y) * p.rows + row + x] : 1.0f;
        own_zeros += weight == 0.0f;
        own_bad += !isfinite(weight);
        square[y][x] = weight;
    }
    if (own_zeros) { atomicAdd(&zeros, own_zeros); }
    if (own_bad) { atomicAdd(&bad, own_bad); }
    __syncthreads();
    if (counts && zeros) { atomicAdd(&result->zeros, (unsigned long long)zeros); }
    if (counts && bad) { atomicOr(&result->failed, 1); }
    for (int64_t y = threadIdx.y; y < TURN; y += blockDim.y) {
        if (row + y < p.rows && first + x < p.columns) { sparse[(row + y) * p.columns + first + x] = square[x][y]; }
    }
}

/* One block: threads stride over the rows, their sums meet in a fixed order. */
__global__ void sum_errors(int64_t rows, const double *errors, spade_result_kernel *result)
{
    __shared__ spade_block_scratch<double, SPADE_THREADS> scratch;
    double sum = 0;
    for (int64_t r = threadIdx.x; r < rows; r += blockDim.x) { sum += errors[r]; }
    sum = spade_block_reduce(
        sum, [](double a, double b) { return a + b; }, scratch);
    if (threadIdx.x == 0) {
        result->value = sum / 2;
        if (!isfinite(sum)) { result->failed = 1; }
    }
}

/* ---- gather: x a tile of rows and columns, y a part of the inner dimension, z the problem */

__global__ __launch_bounds__(SPADE_TILE_THREADS) void gather(const __grid_constant__ spade_sweep_batch batch,
                                                             int64_t index)
{
    __shared__ spade_tile_shared shared;
    const spade_sweep_kernel &p = batch.problems[blockIdx.z];
    int64_t first = index * p.panel, width = minimum(p.columns - first, p.panel);
    int64_t across = (width + SPADE_TILE - 1) / SPADE_TILE, from = (int64_t)blockIdx.y * SPADE_SWEEP_DEPTH;
    int64_t row = blockIdx.x / across * SPADE_TILE, column = blockIdx.x % across * SPADE_TILE;
    if (p.dual || row >= p.rows || from >= first) { return; }
    const double *removed = p.removed + from * p.rows + row, *v = p.v + from * p.columns + first + column;
    int64_t rows = p.rows, columns = p.columns, rows_left = rows - row, columns_left = width - column;
    double sum[SPADE_TILE_EACH][SPADE_TILE_EACH] = {{0}};
    spade_tile_product(
        minimum(first - from, SPADE_SWEEP_DEPTH),
        [=](int64_t k, int at) { return at < columns_left ? v[k * columns + at] : 0.0; },
        [=](int64_t k, int at) { return at < rows_left ? removed[k * rows + at] : 0.0; }, shared, sum);
    double *out = first > SPADE_SWEEP_DEPTH ? p.partial + blockIdx.y * p.panel * rows : p.left;
    for (int i = 0; i < SPADE_TILE_EACH; i++) {
        for (int j = 0; j < SPADE_TILE_EACH; j++) {
            int64_t c = spade_tile_row(i), r = spade_tile_column(j);
            if (c < columns_left && r < rows_left) { out[(column + c) * rows + row + r] = sum[i][j]; }
        }
    }
}

/* Threads stride over the panel's numbers; y the problem. */
__global__ void add_parts(const __grid_constant__ spade_sweep_batch batch, int64_t index)
{
    const spade_sweep_kernel &p = batch.problems[blockIdx.y];
    int64_t first = index * p.panel, width = minimum(p.columns - first, p.panel), size = p.panel * p.rows;
    if (p.dual || first <= SPADE_SWEEP_DEPTH || first >= p.columns) { return; }
    int64_t parts = (first + SPADE_SWEEP_DEPTH - 1) / SPADE_SWEEP_DEPTH;
    SPADE_EACH(i, width * p.rows)
    {
        double sum = p.partial[i];
        for (int64_t part = 1; part < parts; part++) { sum += p.partial[part * size + i]; }
        p.left[i] = sum;
    }
}

/* ---- panel */

struct panel_shared {
    double v[PANEL * PANEL];
    spade_block_scratch<key_type, THREADS> keys; /* for one purpose at a time */
    int bins[BINS];
    key_type low, high;
    long long rank;
    int count;
};

/* A panel of one problem; V from its first column on. */
struct cursor {
    const spade_sweep_kernel *p;
    int64_t rows, first, last;
    const double *v;
    int64_t ld;
};

__device__ double v_at(const cursor &c, int64_t row, int64_t column)
{
    return c.v[(row - c.first) * c.ld + column - c.first];
}

/* What a thread does to its own rows. */
#define EACH_ROW(r, c) for (int64_t r = threadIdx.x; r < (c).rows; r += blockDim.x)

/* left of columns [from, to) += D V over the columns [low, high), of one row; eight columns at a time. */
__device__ void add_removed(const cursor &c, int64_t r, int64_t low, int64_t high, int64_t from, int64_t to)
{
    const double *removed = c.p->removed + r;
    for (int64_t at = from; at < to; at += STRIP) {
        double *left = c.p->left + (at - c.first) * c.rows + r;
        int64_t n = minimum(to - at, STRIP);
        double sum[STRIP];
#pragma unroll
        for (int j = 0; j < STRIP; j++) { sum[j] = j < n ? left[j * c.rows] : 0.0; }
        for (int64_t h = low; h < high; h++) {
            double d = removed[h * c.rows];
            const double *v = c.v + (h - c.first) * c.ld + at - c.first;
#pragma unroll
            for (int j = 0; j < STRIP; j++) {
                if (j < n) { sum[j] += d * v[j]; }
            }
        }
#pragma unroll
        for (int j = 0; j < STRIP; j++) {
            if (j < n) { left[j * c.rows] = sum[j]; }
        }
    }
}

/* X V_BB = left, B = [from, to), then the scores, of one row. */
__device__ void score_row(const cursor &c, int64_t r, int64_t from, int64_t to)
{
    double *x = c.p->scores + r;
    for (int64_t j = from; j < to; j++) {
        double sum = c.p->left[(j - c.first) * c.rows + r];
        for (int64_t h = from; h < j; h++) { sum -= x[(h - from) * c.rows] * v_at(c, h, j); }
        x[(j - from) * c.rows] = sum * (1.0 / v_at(c, j, j));
    }
    for (int64_t j = from; j < to; j++) {
        double *score = &x[(j - from) * c.rows];
        double error = ((double)c.p->weights[j * c.rows + r] + *score) * v_at(c, j, j);
        *score = error * error;
    }
}

/* A block's mask: a score is pruned if its sign says so, or by comparison. */
struct choice {
    double threshold;
    bool inclusive;
};
__device__ bool is_pruned(const choice &m, double score)
{
    return (long long)__double_as_longlong(score) < 0 || (m.inclusive ? score <= m.threshold : score < m.threshold);
}

__device__ key_type key_of(double score)
{
    return (key_type)__double_as_longlong(score);
}

/* In each row all but the `keep` highest; of equal ones the lower columns. The sign marks them. */
__device__ void choose_rows(const cursor &c, int64_t width)
{
    EACH_ROW(r, c)
    {
        double *own = c.p->scores + r;
        for (int64_t j = 0; j < width; j++) {
            double score = own[j * c.rows];
            int64_t higher = 0;
            for (int64_t h = 0; h < width; h++) {
                double other = fabs(own[h * c.rows]);
                higher += other > score || (other == score && h > j);
            }
            if (higher >= c.p->keep) { own[j * c.rows] = -score; }
        }
    }
}

/* How many of the numbers with keys in [low, high] fall into which of BINS bins of 2^shift keys. */
__device__ void count_bins(const cursor &c, int64_t width, key_type low, key_type high, int shift, panel_shared &shared)
{
    for (int i = (int)threadIdx.x; i < BINS; i += (int)blockDim.x) { shared.bins[i] = 0; }
    __syncthreads();
    EACH_ROW(r, c)
    {
        for (int64_t j = 0; j < width; j++) {
            key_type key = key_of(c.p->scores[j * c.rows + r]);
            if (key >= low && key <= high) { atomicAdd(&shared.bins[(key - low) >> shift], 1); }
        }
    }
    __syncthreads();
}

/*
 * The bin that holds this rank: its keys to shared.low and high, its count, the rank within it. A thread has
 * BINS / blockDim.x neighbouring bins.
 */
__device__ void find_bin(key_type low, key_type high, int shift, long long rank, panel_shared &shared)
{
    int each = (BINS + (int)blockDim.x - 1) / (int)blockDim.x, first = (int)threadIdx.x * each;
    key_type own = 0, all;
    for (int i = first; i < first + each && i < BINS; i++) { own += (key_type)shared.bins[i]; }
    long long before = (long long)spade_block_before(own, &all, shared.keys);
    if (rank >= before && rank < before + (long long)own) {
        int i = first;
        for (; rank >= before + shared.bins[i]; i++) { before += shared.bins[i]; }
        key_type begin = low + ((key_type)i << shift), last = begin + (((key_type)1 << shift) - 1);
        shared.low = begin;
        shared.high = last < high ? last : high;
        shared.rank = rank - before;
        shared.count = shared.bins[i];
    }
    __syncthreads();
}

/* Among scores equal to the threshold the first `ties` by row, then column, are marked by their sign. */
__device__ void mark_ties(const cursor &c, int64_t width, double threshold, int64_t ties, panel_shared &shared)
{
    int64_t done = 0;
    for (int64_t base = 0; base < c.rows; base += blockDim.x) {
        int64_t r = base + threadIdx.x;
        key_type own = 0, all;
        for (int64_t j = 0; j < width && r < c.rows; j++) { own += c.p->scores[j * c.rows + r] == threshold; }
        int64_t at = done + (int64_t)spade_block_before(own, &all, shared.keys);
        for (int64_t j = 0; own && j < width; j++) {
            double *score = &c.p->scores[j * c.rows + r];
            if (*score == threshold && at++ < ties) { *score = -*score; }
        }
        done += (int64_t)all;
    }
}

/* Least and greatest key of the block, to all threads. */
__device__ void find_range(const cursor &c, int64_t width, panel_shared &shared, key_type *least, key_type *greatest)
{
    key_type low = ~(key_type)0, high = 0;
    EACH_ROW(r, c)
    {
        for (int64_t j = 0; j < width; j++) {
            key_type key = key_of(c.p->scores[j * c.rows + r]);
            low = key < low ? key : low;
            high = key > high ? key : high;
        }
    }
    *least = spade_block_reduce(
        low, [](key_type x, key_type y) { return x < y ? x : y; }, shared.keys);
    *greatest = spade_block_reduce(
        high, [](key_type x, key_type y) { return x > y ? x : y; }, shared.keys);
}

/*
 * The `count` lowest scores of the block: the key of that rank, by bins that narrow it down ten bits at a time from the
 * range that there is; then ties. Scores that are not a number have the highest keys.
 */
__device__ choice choose_lowest(const cursor &c, int64_t width, int64_t count, panel_shared &shared)
{
    if (count <= 0) { return choice{0.0, false}; }
    if (count >= c.rows * width) { return choice{INFINITY, true}; }
    key_type low, high;
    find_range(c, width, shared, &low, &high);
    long long rank = count - 1, equal = low == high ? c.rows * width : 0;
    while (low < high && rank + 1 != equal) {
        int shift = 0;
        while ((high - low) >> shift >= BINS) { shift++; }
        count_bins(c, width, low, high, shift, shared);
        find_bin(low, high, shift, rank, shared);
        low = shared.low;
        high = shared.high;
        rank = shared.rank;
        equal = shared.count;
    }
    double threshold = __longlong_as_double((long long)high);
    if (rank + 1 == equal) { return choice{threshold, true}; }
    mark_ties(c, width, threshold, rank + 1, shared);
    return choice{threshold, false};
}

/* Q, D and the errors of a block's columns, of one row. */
__device__ void prune_row(const cursor &c, int64_t r, int64_t from, int64_t to, const choice &mask)
{
    double errors = 0;
    for (int64_t j = from; j < to; j++) {
        double sum = c.p->left[(j - c.first) * c.rows + r], diagonal = v_at(c, j, j);
        for (int64_t h = from; h < j; h++) { sum += v_at(c, h, j) * c.p->removed[h * c.rows + r]; }
        float *weight = &c.p->weights[j * c.rows + r];
        double w = (double)*weight, now = w + sum * (1.0 / diagonal);
        double kept = is_pruned(mask, c.p->scores[(j - from) * c.rows + r]) ? 0.0 : now;
        double error = (now - kept) * diagonal;
        c.p->removed[j * c.rows + r] = w - kept;
        *weight = (float)kept;
        errors += error * error;
    }
    c.p->errors[r] += errors;
}

/* One block of the layer's columns; its sums over what lies left of it are complete. */
__device__ void sweep_block(const cursor &c, int64_t from, int64_t to, panel_shared &shared)
{
    const spade_sweep_kernel &p = *c.p;
    choice mask = {0.0, false};
    EACH_ROW(r, c)
    {
        score_row(c, r, from, to);
    }
    if (p.n_of_m) {
        choose_rows(c, to - from);
    } else {
        mask = choose_lowest(c, to - from, to < p.columns ? p.prune : p.prune_last, shared);
    }
    EACH_ROW(r, c)
    {
        prune_row(c, r, from, to, mask);
    }
}

/* Threads stride over the rows; x the problem. */
__global__ __launch_bounds__(THREADS) void panel(const __grid_constant__ spade_sweep_batch batch, int64_t index)
{
    __shared__ panel_shared shared;
    const spade_sweep_kernel &p = batch.problems[blockIdx.x];
    cursor c = {&p, p.rows, index * p.panel, minimum((index + 1) * p.panel, p.columns), nullptr, p.columns};
    int64_t width = c.last - c.first;
    c.v = p.dual ? p.v + index * p.panel * p.panel : p.v + c.first * (p.columns + 1);
    if (p.dual) { c.ld = width; }
    if (p.panel <= PANEL) {
        for (int64_t q = threadIdx.x; q < width * width; q += blockDim.x) {
            shared.v[q] = c.v[q / width * c.ld + q % width];
        }
        __syncthreads();
        c.v = shared.v;
        c.ld = width;
    }
    if (index == 0) {
        EACH_ROW(r, c)
        {
            for (int64_t j = 0; j < c.last; j++) { p.left[j * c.rows + r] = 0.0; }
        }
    }
    int64_t strip = p.block >= STRIP ? p.block : STRIP / p.block * p.block;
    for (int64_t low = c.first; low < c.last; low += strip) {
        int64_t high = minimum(low + strip, c.last);
        EACH_ROW(r, c)
        {
            add_removed(c, r, c.first, low, low, high);
        }
        for (int64_t from = low; from < high; from += p.block) {
            if (from > low) {
                EACH_ROW(r, c)
                {
                    add_removed(c, r, from - p.block, from, from, high);
                }
            }
            sweep_block(c, from, minimum(from + p.block, high), shared);
        }
    }
}

int64_t most(const spade_sweep_batch *batch, int64_t (*of)(const spade_sweep_kernel *))
{
    int64_t result = 0;
    for (int i = 0; i < batch->n; i++) {
        int64_t value = of(&batch->problems[i]);
        result = value > result ? value : result;
    }
    return result;
}

dim3 squares(const spade_sweep_kernel *p)
{
    return dim3((unsigned)((p->columns + TURN - 1) / TURN), (unsigned)((p->rows + TURN - 1) / TURN));
}

} // namespace

int spade_launch_sweep_begin(spade_stream stream, const spade_sweep_kernel *problem, const float *dense,
                             const uint8_t *dead, spade_result_kernel *result)
{
    return SPADE_LAUNCH(begin, squares(problem), dim3(TURN, 8), 0, stream, *problem, dense, dead, result);
}

int spade_launch_sweep_gather(spade_stream stream, const spade_sweep_batch *batch, int64_t index)
{
    int64_t tiles = most(batch, [](const spade_sweep_kernel *p) {
        return ((p->rows + SPADE_TILE - 1) / SPADE_TILE) * ((p->panel + SPADE_TILE - 1) / SPADE_TILE);
    });
    int64_t panel = most(batch, [](const spade_sweep_kernel *p) { return p->panel; });
    int64_t rows = most(batch, [](const spade_sweep_kernel *p) { return p->rows; });
    int64_t parts = (index * panel + SPADE_SWEEP_DEPTH - 1) / SPADE_SWEEP_DEPTH;
    dim3 grid((unsigned)tiles, (unsigned)parts, (unsigned)batch->n);
    int result = SPADE_LAUNCH(gather, grid, SPADE_TILE_THREADS, 0, stream, *batch, index);
    if (result || parts <= 1) { return result; }
    dim3 sums(spade_blocks(panel * rows), (unsigned)batch->n);
    return SPADE_LAUNCH_INDEPENDENT(add_parts, sums, SPADE_THREADS, stream, *batch, index);
}

int spade_launch_sweep_panel(spade_stream stream, const spade_sweep_batch *batch, int64_t index)
{
    int64_t rows = most(batch, [](const spade_sweep_kernel *p) { return p->rows; });
    int64_t threads = (rows + SPADE_WARP - 1) / SPADE_WARP * SPADE_WARP;
    if (threads > THREADS) { threads = THREADS; }
    return SPADE_LAUNCH(panel, (unsigned)batch->n, (unsigned)threads, 0, stream, *batch, index);
}

int spade_launch_sweep_end(spade_stream stream, const spade_sweep_kernel *problem, float *sparse,
                           spade_result_kernel *out)
{
    int result = SPADE_LAUNCH(end, squares(problem), dim3(TURN, 8), 0, stream, *problem, sparse, out);
    if (result) { return result; }
    return SPADE_LAUNCH(sum_errors, 1, SPADE_THREADS, 0, stream, problem->rows, problem->errors, out);
}
