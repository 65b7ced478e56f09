/*
 * gram.cu - Hessians on tensor cores: Gram matrices of patches whose numbers are rounded once, to TF32 or bfloat16.
 * Patches are gathered from the image into shared memory and stand nowhere else.
 *
 * Both factors of a product are the same rounded numbers, and their products are exact in float32. So but for float32's
 * rounding of a sum of `chunk` terms the result is positive semidefinite: with u = 2^-11 (TF32) or 2^-8 (bfloat16), the
 * unit roundoff of the patches, it is within 2 u + u^2 of the exact one, relative to sqrt(H_ii H_jj). A dead
 * input gives exact zeros.
 */
#include "kernels/index.cuh"
#include "kernels/mma.cuh"

namespace
{

enum { WARP = 32, WARPS_DOWN = 2, WARPS_ACROSS = 4, THREADS = WARP * WARPS_DOWN * WARPS_ACROSS };
enum { WORDS = 2 * SPADE_MMA_WORDS /* of a stage */, SMALL_TILE = 64, LARGE_TILE = 128 };

struct problem {
    spade_patch_kernel patches;
    int first, end, chunk; /* positions, counted from the first image that is read */
    int columns, tiles;    /* tiles: of one product, on and above the diagonal */
};

/* WIDTH neighbouring columns of the patches: the place in the image relative to a patch's corner, the channel's. */
struct run {
    bool inside;
    int y, x;
    int64_t channel;
};

__device__ run run_of(const problem &p, int group, int column)
{
    const spade_patch_kernel &q = p.patches;
    int offset = column / q.channels, channel = group * q.channels + column % q.channels;
    return {column < p.columns, offset / q.kernel[1] * q.dilation[0], offset % q.kernel[1] * q.dilation[1],
            channel * q.stride_c};
}

/* A position's patch: its image and the row and column of its corner. */
struct corner {
    bool inside;
    const float *image;
    int top, left;
};

__device__ __forceinline__ corner corner_of(const problem &p, int position, int end)
{
    const spade_patch_kernel &q = p.patches;
    int area = q.output[0] * q.output[1], image = position / area, at = position - image * area;
    int row = at / q.output[1], column = at - row * q.output[1];
    return {position < end, q.x + image * q.stride_n, row * q.stride[0] - q.pad[0], column * q.stride[1] - q.pad[1]};
}

template <int WIDTH>
__device__ __forceinline__ void read_run(const spade_patch_kernel &q, const corner &c, const run &r, float (&to)[WIDTH])
{
    int y = c.top + r.y, x = c.left + r.x;
    bool inside = c.inside && r.inside && y >= 0 && y < q.size[0] && x >= 0 && x < q.size[1];
    if (inside) {
        spade_load<WIDTH>(c.image + y * q.stride_h + x * q.stride_w + r.channel, to);
    } else {
#pragma unroll
        for (int i = 0; i < WIDTH; i++) { to[i] = 0; }
    }
}

/* The tile's row and column of tiles, row <= column: they count the upper triangle by columns. */
__device__ void place_of(int tile, int *row, int *column)
{
    *column = 0;
    while ((*column + 1) * (*column + 2) / 2 <= tile) { ++*column; }
    *row = tile - *column * (*column + 1) / 2;
}

/* What a thread has of its block's tile of one product. */
template <int TILE, int WIDTH, int PACK> struct tile_part {
    enum {
        EDGE = TILE,
        COLUMNS = WIDTH, /* that the thread reads side by side */
        NUMBERS = PACK,  /* of a word */
        RUNS = TILE / WIDTH,
        STEP = THREADS / RUNS, /* words that the threads read at once */
        PASSES = WORDS / STEP,
        POSITIONS = WORDS * PACK, /* of a stage */
        DOWN = TILE / WARPS_DOWN,
        ACROSS = TILE / WARPS_ACROSS, /* of a warp */
        M = DOWN / SPADE_MMA_ROWS,
        N = ACROSS / SPADE_MMA_COLUMNS
    };
    /* A word of positions for each column of a tile. Rows are 8 words longer than a tile, so that the lanes of a warp,
     * which read 4 rows of 8 words at once, meet 32 banks. */
    typedef uint32_t side[WORDS][TILE + 8];
    struct alignas(16) stage {
        side sides[2]; /* the columns of the patches that are the tile's rows; those that are its columns */
    };

    int row, column, begin, end; /* the tile's first row and column; positions */
    bool diagonal;
    int at, word;     /* the first column of the tile and the first word that the thread reads */
    int down, across; /* the first row and column of the tile that its warp multiplies */
    run runs[2];
    uint32_t next[2][PASSES][WIDTH];
    float sums[M][N][4];
};

template <typename T>
__device__ __forceinline__ void begin_tile(const problem &p, int tile, int group, int chunk, T &own)
{
    const int t = (int)threadIdx.x, warp = t / WARP;
    place_of(tile, &own.row, &own.column);
    own.diagonal = own.row == own.column;
    own.row *= T::EDGE;
    own.column *= T::EDGE;
    own.begin = p.first + chunk * p.chunk;
    own.end = p.end - own.begin < p.chunk ? p.end : own.begin + p.chunk;
    own.at = t % T::RUNS * T::COLUMNS;
    own.word = t / T::RUNS;
    own.down = warp / WARPS_ACROSS * T::DOWN;
    own.across = warp % WARPS_ACROSS * T::ACROSS;
    own.runs[0] = run_of(p, group, own.row + own.at);
    own.runs[1] = run_of(p, group, own.column + own.at);
}

/* The words of the stage that begins at this position, zeros from the end on. */
template <typename T> __device__ __forceinline__ void read_stage(const problem &p, int position, T &own)
{
#pragma unroll
    for (int pass = 0; pass < T::PASSES; pass++) {
        corner corners[T::NUMBERS];
#pragma unroll
        for (int k = 0; k < T::NUMBERS; k++) {
            corners[k] = corner_of(p, position + (own.word + pass * T::STEP) * T::NUMBERS + k, own.end);
        }
#pragma unroll
        for (int side = 0; side < 2; side++) {
            float numbers[T::NUMBERS][T::COLUMNS] = {};
#pragma unroll
            for (int k = 0; k < T::NUMBERS && (side == 0 || !own.diagonal); k++) {
                read_run<T::COLUMNS>(p.patches, corners[k], own.runs[side], numbers[k]);
            }
#pragma unroll
            for (int i = 0; i < T::COLUMNS; i++) {
                float word[T::NUMBERS];
#pragma unroll
                for (int k = 0; k < T::NUMBERS; k++) { word[k] = numbers[k][i]; }
                own.next[side][pass][i] = spade_mma_word<T::NUMBERS>(word);
            }
        }
    }
}

/* They go to shared memory. */
template <typename T> __device__ __forceinline__ void write_stage(const T &own, typename T::stage &to)
{
#pragma unroll
    for (int pass = 0; pass < T::PASSES; pass++) {
#pragma unroll
        for (int side = 0; side < 2; side++) {
#pragma unroll
            for (int i = 0; i < T::COLUMNS; i++) {
                to.sides[side][own.word + pass * T::STEP][own.at + i] = own.next[side][pass][i];
            }
        }
    }
}

/* The warp's part of the tile += the stage's positions. */
template <typename T> __device__ __forceinline__ void multiply_stage(const typename T::stage &from, T &own)
{
    const typename T::side &left = from.sides[0], &right = from.sides[own.diagonal ? 0 : 1];
    const int g = (int)threadIdx.x % WARP / 4, t = (int)threadIdx.x % 4;
    if (own.diagonal && own.down >= own.across + T::ACROSS) { return; } /* all of it lies below the diagonal */
#pragma unroll 1 /* more would take registers of the second block */
    for (int step = 0; step < WORDS; step += SPADE_MMA_WORDS) {
        const int w = step + t;
        uint32_t a[T::M][4], b[T::N][2];
#pragma unroll
        for (int i = 0; i < T::M; i++) {
            int r = own.down + i * SPADE_MMA_ROWS + g;
            a[i][0] = left[w][r], a[i][1] = left[w][r + 8];
            a[i][2] = left[w + 4][r], a[i][3] = left[w + 4][r + 8];
        }
#pragma unroll
        for (int j = 0; j < T::N; j++) {
            int c = own.across + j * SPADE_MMA_COLUMNS + g;
            b[j][0] = right[w][c], b[j][1] = right[w + 4][c];
        }
        spade_mma<T::NUMBERS>(own.sums, a, b);
    }
}

/* What lies on and above the diagonal -> out [k, k] */
template <typename T> __device__ __forceinline__ void store_tile(const T &own, int k, float *out)
{
    const int g = (int)threadIdx.x % WARP / 4, t = (int)threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < T::M; i++) {
#pragma unroll
        for (int j = 0; j < T::N; j++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int r = own.row + own.down + i * SPADE_MMA_ROWS + g + e / 2 * 8;
                int c = own.column + own.across + j * SPADE_MMA_COLUMNS + 2 * t + e % 2;
                if (r <= c && c < k) { out[(int64_t)r * k + c] = own.sums[i][j][e]; }
            }
        }
    }
}

/*
 * A block of 2 x 4 warps per chunk of positions, group and tile of TILE x TILE on or above the diagonal. Two stages of
 * positions: while one is multiplied, the next one's numbers are read from the image and rounded, into registers, a
 * thread the same WIDTH columns of every word that it reads. WIDTH = 4: 16 bytes at once, for channels-last inputs whose
 * groups are multiples of 4; two blocks fit a multiprocessor then.
 */
template <int TILE, int WIDTH, int PACK>
__global__ void __launch_bounds__(THREADS, WIDTH == 4 ? 2 : 1) gram(const __grid_constant__ problem p, float *products)
{
    typedef tile_part<TILE, WIDTH, PACK> part;
    __shared__ typename part::stage stages[2];
    const int block = (int)blockIdx.x, product = block / p.tiles, groups = p.patches.groups;
    part own = {};
    begin_tile(p, block % p.tiles, product % groups, product / groups, own);
    read_stage(p, own.begin, own);
    write_stage(own, stages[0]);
    __syncthreads();
    int stage = 0;
    for (int position = own.begin; position < own.end; position += part::POSITIONS, stage ^= 1) {
        bool more = position + part::POSITIONS < own.end;
        if (more) { read_stage(p, position + part::POSITIONS, own); }
        multiply_stage(stages[stage], own);
        if (more) { write_stage(own, stages[stage ^ 1]); } /* nobody reads it: all have passed the last barrier */
        __syncthreads();
    }
    store_tile(own, p.columns, products + (int64_t)product * p.columns * p.columns);
}

template <int TILE, int WIDTH>
int launch(spade_stream stream, const problem &p, spade_gram_rounding rounding, float *products)
{
    unsigned chunks = (unsigned)(p.end - p.first + p.chunk - 1) / (unsigned)p.chunk;
    unsigned blocks = (unsigned)p.tiles * (unsigned)p.patches.groups * chunks;
    if (rounding == SPADE_GRAM_BF16) {
        return SPADE_LAUNCH((gram<TILE, WIDTH, 2>), blocks, THREADS, 0, stream, p, products);
    }
    return SPADE_LAUNCH((gram<TILE, WIDTH, 1>), blocks, THREADS, 0, stream, p, products);
}

} // namespace

int64_t spade_kernel_gram_tile(int64_t k)
{
    return k <= SMALL_TILE ? SMALL_TILE : LARGE_TILE;
}

int spade_launch_gram(spade_stream stream, spade_patch_kernel patches, spade_gram_rounding rounding, int64_t first,
                      int64_t count, int64_t chunk, float *products)
{
    int64_t k = (int64_t)patches.channels * patches.kernel[0] * patches.kernel[1], edge = spade_kernel_gram_tile(k);
    int64_t across = (k + edge - 1) / edge, area = (int64_t)patches.output[0] * patches.output[1];
    patches.x += first / area * patches.stride_n;
    first %= area;
    problem p = {patches, (int)first, (int)(first + count), (int)chunk, (int)k, (int)(across * (across + 1) / 2)};
    bool wide = patches.stride_c == 1 && patches.channels % 4 == 0 && (uintptr_t)patches.x % 16 == 0 &&
                (patches.stride_n | patches.stride_h | patches.stride_w) % 4 == 0;
    if (edge == SMALL_TILE) {
        return wide ? launch<SMALL_TILE, 4>(stream, p, rounding, products)
                    : launch<SMALL_TILE, 1>(stream, p, rounding, products);
    }
    return wide ? launch<LARGE_TILE, 4>(stream, p, rounding, products)
                : launch<LARGE_TILE, 1>(stream, p, rounding, products);
}
