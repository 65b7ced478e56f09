/*
 * exact_eliminate.cu - exact OBC: the order in which a row loses its groups. backend/cpu/solver/exact_row.c has the method: a pivoted
 * block Cholesky factorisation of the shared inverse A = H^-1, whose pivots the row's weights choose; left-looking
 * within a panel of DEPTH columns, one product of half the matrix after it.
 *
 * Division of work: one block of 256 threads a row; blocks take rows in turns, as many at once as there is
 * working memory for. Within a step threads stride over (position in the group, group), so that neighbours read
 * neighbouring groups; the product is cut into tiles of 64 x 64, one after the other.
 *
 * Storage: of a group's b columns, position a of candidate g is [a][g] in w, D and U. The row's own matrix is an upper
 * triangle packed by rows, in the numbering of the shared inverse for good: a panel's product changes it in place and
 * skips the columns that are gone, only the candidates are compacted.
 */
#include "kernels/block.cuh"
#include "kernels/exact.cuh"
#include "kernels/tile.cuh"

namespace
{

enum {
    THREADS = SPADE_TILE_THREADS,
    DEPTH = 128,         /* columns of a panel */
    DEPTH_ELEMENTS = 64, /* where a panel's factors are read once for every column, not every group */
    CHUNK = 8            /* of a pivot's columns that are summed in registers */
};

/* Places in a row's working memory, in bytes. */
struct layout {
    int64_t columns, group, groups, depth; /* those in groups; b; C; of a panel */
    size_t matrix, w, d, loss, u, packed, x, pivot, z, factors, ids, numbers, kept, bytes;
};

__host__ __device__ int64_t panel_depth(int64_t group)
{
    if (group == 1) { return DEPTH_ELEMENTS; }
    return group < DEPTH ? DEPTH / group * group : group;
}

layout lay_out(int64_t columns, int64_t group)
{
    layout l = {};
    l.groups = columns / group;
    l.columns = l.groups * group;
    l.group = group;
    l.depth = panel_depth(group);
    size_t c = (size_t)l.groups, b = (size_t)group, k = (size_t)l.columns, depth = (size_t)l.depth;
    l.matrix = spade_take(&l.bytes, k * (k + 1) / 2 * sizeof(double));
    l.w = spade_take(&l.bytes, k * sizeof(double));
    l.d = spade_take(&l.bytes, b * (b + 1) / 2 * c * sizeof(double));
    l.loss = spade_take(&l.bytes, c * sizeof(double));
    l.u = spade_take(&l.bytes, depth * k * sizeof(double));
    l.packed = spade_take(&l.bytes, depth * k * sizeof(double));
    l.x = spade_take(&l.bytes, depth * b * sizeof(double));
    l.pivot = spade_take(&l.bytes, b * b * sizeof(double));
    l.z = spade_take(&l.bytes, b * sizeof(double));
    l.factors = spade_take(&l.bytes, group > 1 ? (b * (b + 1) / 2 + b) * c * sizeof(double) : 0);
    l.ids = spade_take(&l.bytes, c * sizeof(int32_t));
    l.numbers = spade_take(&l.bytes, k * sizeof(int32_t));
    l.kept = spade_take(&l.bytes, c * sizeof(int32_t));
    return l;
}

/* A row in the works. All arrays of candidates have C places a line. */
struct elimination {
    int64_t b, c, k; /* group; places a line; columns of the shared inverse */
    int64_t n;       /* candidates left */
    const double *shared;
    double *matrix; /* packed upper triangle of the columns in groups */
    bool begun;     /* it holds the matrix; before that, `shared` does */
    double *w, *d, *loss, *u, *packed, *x, *pivot, *z;
    double *factors;  /* [b (b + 1) / 2 + b, C] */
    int32_t *ids;     /* candidates' numbers in the row; gone ones: -1 - number */
    int32_t *numbers; /* columns that stay */
    int32_t *kept;    /* candidates that stay */
};

struct block_shared {
    spade_tile_shared tile;
    spade_block_scratch<double, THREADS> losses;
    spade_block_scratch<int, THREADS> counts;
    int lowest, good;
};

__device__ elimination begin_row(const layout &l, char *memory, const spade_exact_kernel &p, int64_t k)
{
    elimination e = {};
    e.b = l.group;
    e.c = l.groups;
    e.k = k;
    e.n = l.groups;
    e.shared = p.inverse;
    e.matrix = (double *)(memory + l.matrix);
    e.w = (double *)(memory + l.w);
    e.d = (double *)(memory + l.d);
    e.loss = (double *)(memory + l.loss);
    e.u = (double *)(memory + l.u);
    e.packed = (double *)(memory + l.packed);
    e.x = (double *)(memory + l.x);
    e.pivot = (double *)(memory + l.pivot);
    e.z = (double *)(memory + l.z);
    e.factors = (double *)(memory + l.factors);
    e.ids = (int32_t *)(memory + l.ids);
    e.numbers = (int32_t *)(memory + l.numbers);
    e.kept = (int32_t *)(memory + l.kept);
    return e;
}

__device__ int64_t minimum(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

__device__ int64_t triangle(int64_t i, int64_t j)
{
    return i * (i + 1) / 2 + j;
}

/* Element (i, j), i <= j, of the row's own matrix. */
__device__ int64_t packed_at(const elimination &e, int64_t i, int64_t j)
{
    return i * (2 * e.b * e.c - i - 1) / 2 + j;
}

__device__ double matrix_at(const elimination &e, int64_t i, int64_t j)
{
    if (!e.begun) { return e.shared[i * e.k + j]; }
    return i < j ? e.matrix[packed_at(e, i, j)] : e.matrix[packed_at(e, j, i)];
}

/* w^T d^-1 w / 2 of one candidate, d = L diag(v) L^T, L z = w. Lines of `factors`: L's triangle with 1 / v on its
 * diagonal, then z. */
__device__ double loss_of(const elimination &e, int64_t g)
{
    if (e.b == 1) { return e.w[g] * e.w[g] / e.d[g] / 2; }
    double *factor = e.factors + g, *z = factor + triangle(e.b, 0) * e.c, loss = 0;
    for (int64_t i = 0; i < e.b; i++) {
        double value = e.w[i * e.c + g], v = e.d[triangle(i, i) * e.c + g];
        for (int64_t j = 0; j < i; j++) {
            double scaled = e.d[triangle(i, j) * e.c + g]; /* row i of L diag(v) */
            for (int64_t k = 0; k < j; k++) { scaled -= factor[triangle(i, k) * e.c] * factor[triangle(j, k) * e.c]; }
            factor[triangle(i, j) * e.c] = scaled;
            double ratio = scaled * factor[triangle(j, j) * e.c];
            v -= scaled * ratio;
            value -= ratio * z[j * e.c];
        }
        /* the row is complete: from L diag(v) to L */
        for (int64_t j = 0; j < i; j++) { factor[triangle(i, j) * e.c] *= factor[triangle(j, j) * e.c]; }
        factor[triangle(i, i) * e.c] = 1.0 / v;
        z[i * e.c] = value;
        loss += value * value / v;
    }
    return loss / 2;
}

__device__ void load_candidates(const elimination &e, const double *w)
{
    for (int64_t g = threadIdx.x; g < e.c; g += blockDim.x) {
        e.ids[g] = (int32_t)g;
        for (int64_t a = 0; a < e.b; a++) {
            e.w[a * e.c + g] = w[g * e.b + a];
            for (int64_t p = 0; p <= a; p++) {
                e.d[triangle(a, p) * e.c + g] = e.shared[(g * e.b + a) * e.k + g * e.b + p];
            }
        }
        e.loss[g] = loss_of(e, g);
    }
}

/* The first of the lowest losses; -1: there is none below infinity (not a number, or all are gone). */
__device__ int64_t find_lowest(const elimination &e, block_shared &shared)
{
    double best = INFINITY;
    for (int64_t g = threadIdx.x; g < e.n; g += blockDim.x) { best = e.loss[g] < best ? e.loss[g] : best; }
    if (threadIdx.x == 0) { shared.lowest = INT32_MAX; }
    best = spade_block_reduce(
        best, [](double a, double b) { return b < a ? b : a; }, shared.losses);
    for (int64_t g = threadIdx.x; g < e.n && best < INFINITY; g += blockDim.x) {
        if (e.loss[g] == best) {
            atomicMin(&shared.lowest, (int)g);
            break;
        }
    }
    __syncthreads();
    return best < INFINITY ? shared.lowest : -1;
}

/*
 * By one warp: L of the pivot's diagonal block with its diagonal inverted, z = L^-1 w; row b of the loop is z. Column
 * by column: a lane has a row, and all know the diagonal.
 */
__device__ void factor_pivot(const elimination &e, int64_t g, block_shared &shared)
{
    int64_t lane = threadIdx.x;
    bool good = true;
    for (int64_t j = 0; j < e.b; j++) {
        const double *own = e.pivot + j * e.b;
        double diagonal = e.d[triangle(j, j) * e.c + g];
        for (int64_t k = 0; k < j; k++) { diagonal -= own[k] * own[k]; }
        good = good && diagonal > 0 && isfinite(diagonal);
        double inverse = 1.0 / sqrt(diagonal);
        for (int64_t i = j + 1 + lane; i <= e.b; i += SPADE_WARP) {
            const double *row = i < e.b ? e.pivot + i * e.b : e.z;
            double sum = i < e.b ? e.d[triangle(i, j) * e.c + g] : e.w[j * e.c + g];
            for (int64_t k = 0; k < j; k++) { sum -= row[k] * own[k]; }
            if (i < e.b) {
                e.pivot[i * e.b + j] = sum * inverse;
            } else {
                e.z[j] = sum * inverse;
            }
        }
        __syncwarp();
        if (lane == 0) { e.pivot[j * e.b + j] = inverse; }
        __syncwarp();
    }
    if (lane == 0) { shared.good = good; }
}

/* The pivot's columns of the current matrix, one position of one candidate: h [b] at u + `done` lines. */
__device__ void gather_pivot(const elimination &e, int64_t pivot, int64_t done, int64_t a, int64_t g)
{
    int64_t line = e.b * e.c, own = e.ids[g] * e.b + a, other = (int64_t)e.ids[pivot] * e.b;
    const double *u = e.u + a * e.c + g;
    double *h = e.u + done * line + a * e.c + g;
    for (int64_t first = 0; first < e.b; first += CHUNK) {
        int64_t n = minimum(e.b - first, CHUNK);
        double sum[CHUNK];
#pragma unroll
        for (int c = 0; c < CHUNK; c++) { sum[c] = c < n ? matrix_at(e, other + first + c, own) : 0.0; }
        for (int64_t s = 0; s < done; s++) {
            double factor = u[s * line];
            const double *x = e.x + s * e.b + first;
#pragma unroll
            for (int c = 0; c < CHUNK; c++) {
                if (c < n) { sum[c] -= factor * x[c]; }
            }
        }
#pragma unroll
        for (int c = 0; c < CHUNK; c++) {
            if (c < n) { h[(first + c) * line] = sum[c]; }
        }
    }
}

/* U = h L^-T of one position of one candidate, then its weight. */
__device__ void absorb(const elimination &e, int64_t done, int64_t a, int64_t g)
{
    int64_t line = e.b * e.c;
    double *u = e.u + done * line + a * e.c + g, weight = e.w[a * e.c + g];
    for (int64_t c = 0; c < e.b; c++) {
        double value = u[c * line];
        for (int64_t p = 0; p < c; p++) { value -= u[p * line] * e.pivot[c * e.b + p]; }
        value *= e.pivot[c * e.b + c];
        u[c * line] = value;
        weight -= value * e.z[c];
    }
    e.w[a * e.c + g] = weight;
}

/* One element of one candidate's diagonal block. */
__device__ void absorb_diagonal(const elimination &e, int64_t done, int64_t i, int64_t j, int64_t g)
{
    int64_t line = e.b * e.c;
    const double *u = e.u + done * line + g;
    double sum = 0;
    for (int64_t c = 0; c < e.b; c++) { sum += u[c * line + i * e.c] * u[c * line + j * e.c]; }
    e.d[triangle(i, j) * e.c + g] -= sum;
}

/* Eliminate one group: the step `done` columns into the panel. false: the pivot is not positive definite. */
__device__ bool eliminate_group(const elimination &e, int64_t done, int32_t *order, double *loss, block_shared &shared)
{
    int64_t pivot = find_lowest(e, shared);
    unsigned t = threadIdx.x, b = (unsigned)e.b, n = (unsigned)e.n; /* b^2 n numbers: fewer than the matrix has */
    if (pivot < 0) { return false; }
    if (t < SPADE_WARP) { factor_pivot(e, pivot, shared); }
    for (unsigned q = t; q < (unsigned)done * b; q += THREADS) {
        e.x[q] = e.u[(q / b) * b * e.c + (q % b) * e.c + pivot]; /* x[s][c] */
    }
    __syncthreads();
    if (!shared.good) { return false; }
    if (t == 0) {
        *order = e.ids[pivot];
        *loss = e.loss[pivot];
    }
    for (unsigned q = t; q < b * n; q += THREADS) {
        unsigned a = q / n, g = q % n;
        if (e.ids[g] < 0 || g == pivot) { continue; }
        gather_pivot(e, pivot, done, a, g);
        absorb(e, done, a, g);
    }
    __syncthreads();
    for (unsigned q = t; q < b * b * n; q += THREADS) {
        unsigned line = q / n, g = q % n, i = line / b, j = line % b;
        if (j <= i && e.ids[g] >= 0 && g != pivot) { absorb_diagonal(e, done, i, j, g); }
    }
    __syncthreads();
    for (unsigned g = t; g < n; g += THREADS) {
        if (g == pivot) {
            e.loss[g] = INFINITY;
            e.ids[g] = -1 - e.ids[g];
        } else if (e.ids[g] >= 0) {
            e.loss[g] = loss_of(e, g);
        }
    }
    __syncthreads();
    return true;
}

/* ---- after a panel */

/* Candidates that stay, ascending. */
__device__ int64_t list_kept(const elimination &e, block_shared &shared)
{
    int64_t count = 0;
    for (int64_t base = 0; base < e.n; base += blockDim.x) {
        int64_t g = base + threadIdx.x;
        int own = g < e.n && e.ids[g] >= 0, all;
        int before = spade_block_before(own, &all, shared.counts);
        if (own) { e.kept[count + before] = (int32_t)g; }
        count += all;
    }
    __syncthreads();
    return count;
}

/* U of the columns that stay, side by side: packed [depth, count b], and their numbers. */
__device__ void pack_columns(const elimination &e, int64_t count, int64_t depth)
{
    int64_t columns = count * e.b, line = e.b * e.c;
    for (int64_t i = threadIdx.x; i < columns; i += blockDim.x) {
        int64_t a = i % e.b, g = e.kept[i / e.b];
        e.numbers[i] = (int32_t)(e.ids[g] * e.b + a);
        for (int64_t s = 0; s < depth; s++) { e.packed[s * columns + i] = e.u[s * line + a * e.c + g]; }
    }
    __syncthreads();
}

/* A - U U^T of the columns that stay: tiles of the upper triangle. A call of its own, which keeps the row's pointers
 * out of the registers of the product. */
__device__ __noinline__ void update_matrix(const elimination &e, int64_t columns, int64_t depth, block_shared &shared)
{
    const double *packed = e.packed;
    for (int64_t row = 0; row < columns; row += SPADE_TILE) {
        for (int64_t column = row; column < columns; column += SPADE_TILE) {
            double sum[SPADE_TILE_EACH][SPADE_TILE_EACH] = {{0}};
            spade_tile_product(
                depth, [=](int64_t k, int at) { return row + at < columns ? packed[k * columns + row + at] : 0.0; },
                [=](int64_t k, int at) { return column + at < columns ? packed[k * columns + column + at] : 0.0; },
                shared.tile, sum);
            for (int i = 0; i < SPADE_TILE_EACH; i++) {
                for (int j = 0; j < SPADE_TILE_EACH; j++) {
                    int64_t y = row + spade_tile_row(i), x = column + spade_tile_column(j);
                    if (x < y || x >= columns) { continue; }
                    int64_t from = e.numbers[y], to = e.numbers[x];
                    e.matrix[packed_at(e, from, to)] = matrix_at(e, from, to) - sum[i][j];
                }
            }
        }
    }
}

/* Keep of a line only what stays: chunks from the left, read before they are written. */
template <typename T> __device__ void compact_line(const elimination &e, int64_t count, T *line)
{
    for (int64_t base = 0; base < count; base += blockDim.x) {
        int64_t g = base + threadIdx.x;
        T value = 0;
        if (g < count) { value = line[e.kept[g]]; }
        __syncthreads();
        if (g < count) { line[g] = value; }
        __syncthreads();
    }
}

__device__ void compact_candidates(const elimination &e, int64_t count)
{
    for (int64_t a = 0; a < e.b; a++) { compact_line(e, count, e.w + a * e.c); }
    for (int64_t i = 0; i < triangle(e.b, 0); i++) { compact_line(e, count, e.d + i * e.c); }
    compact_line(e, count, e.loss);
    compact_line(e, count, e.ids);
}

__device__ bool eliminate_row(elimination &e, int64_t depth, int32_t *order, double *losses, block_shared &shared)
{
    __syncthreads();
    for (int64_t done = 0; e.n;) {
        int64_t steps = depth / e.b < e.n ? depth / e.b : e.n;
        for (int64_t s = 0; s < steps; s++) {
            if (!eliminate_group(e, s * e.b, order + done + s, losses + done + s, shared)) { return false; }
        }
        done += steps;
        int64_t count = list_kept(e, shared);
        if (count) {
            pack_columns(e, count, steps * e.b);
            update_matrix(e, count * e.b, steps * e.b, shared);
            compact_candidates(e, count);
        }
        e.begun = true;
        e.n = count;
    }
    return true;
}

/* Blocks stride over the rows of all problems. */
__global__ __launch_bounds__(THREADS) void eliminate(const __grid_constant__ spade_exact_batch batch,
                                                     const __grid_constant__ layout l, int64_t rows, char *workspace)
{
    __shared__ block_shared shared;
    for (int64_t job = blockIdx.x; job < rows; job += gridDim.x) {
        int64_t row;
        const spade_exact_kernel &p = spade_find_row(batch, job, &row);
        elimination e = begin_row(l, workspace + blockIdx.x * l.bytes, p, batch.columns);
        load_candidates(e, p.w + row * batch.columns);
        bool good = eliminate_row(e, l.depth, p.order + row * l.groups, p.losses + row * l.groups, shared);
        if (!good && threadIdx.x == 0) { *p.failed = 1; }
        __syncthreads();
    }
}

} // namespace

size_t spade_exact_row_bytes(int64_t columns, int64_t group)
{
    return lay_out(columns, group).bytes;
}

int spade_launch_eliminate(spade_stream stream, const spade_exact_batch *batch, int64_t max_rows, void *workspace)
{
    int64_t rows = spade_batch_rows(batch);
    int64_t blocks = rows < max_rows ? rows : max_rows;
    return SPADE_LAUNCH(eliminate, (unsigned)blocks, THREADS, 0, stream, *batch, lay_out(batch->columns, batch->group),
                        rows, (char *)workspace);
}
