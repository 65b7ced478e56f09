/*
 * hessian.c - h += alpha * sum of patch patch^T in the direct form: patches gathered in chunks, one rank-k update a
 * chunk.
 *
 * Of each group's h [K, K] the lower triangle is cut into a grid of tiles that depends on K only. In every chunk a tile
 * is one product (syrk on the diagonal, gemm below it) by one thread without BLAS threads; chunks follow one another.
 * So each number is the same sum in the same order for any number of threads. A dead input gives sums of exact zeros,
 * so its diagonal is 0.
 */
#include <cblas.h>

#include "backend/cpu/cpu.h"

enum {
    CHUNK = 1024,    /* positions gathered at a time */
    TILE = 256,      /* largest edge of a tile */
    SMALL_TILE = 32, /* and where K is so small that there would be one tile */
    DEPTHWISE_CHANNELS = 16,
    DEPTHWISE_TAPS = 49 /* largest kernel of the depthwise form: 7 x 7 */
};

/* One call, resolved: where each position's patch lies in x, and the sizes of the products. */
typedef struct update {
    const spade_patches *patches;
    const float *x;
    double alpha;
    spade_precision precision;
    size_t element; /* bytes of a number of h */
    int64_t images, channels, height, width;
    int64_t stride_n, stride_c, stride_h, stride_w;
    int64_t positions;                       /* of all images */
    int64_t groups, group_channels, columns; /* K */
    int64_t row;                             /* numbers of one gathered position: groups * K */
    int64_t tiles;                           /* along an edge of h */
    bool in_place;                           /* x is the gathered matrix already */
} update;

static int64_t tile_count(int64_t columns)
{
    int64_t edge = columns > TILE ? TILE : columns > 2 * SMALL_TILE ? columns / 2 : SMALL_TILE;
    return (columns + edge - 1) / edge;
}

static int64_t tile_edge(const update *u, int64_t tile)
{
    return u->columns * tile / u->tiles;
}

static bool is_depthwise(const spade_patches *patches)
{
    return !patches->linear && patches->groups > 1 && patches->groups == patches->x.dims[1] &&
           patches->window.kernel[0] * patches->window.kernel[1] <= DEPTHWISE_TAPS;
}

static void resolve_linear(update *u)
{
    const spade_shape *x = &u->patches->x;
    u->channels = x->dims[x->rank - 1];
    u->images = u->positions = spade_shape_size(x) / (u->channels ? u->channels : 1);
    u->groups = u->height = u->width = 1;
    u->columns = u->group_channels = u->channels;
    u->stride_n = u->channels;
    u->stride_c = 1;
}

static void resolve_convolution(update *u)
{
    const spade_shape *x = &u->patches->x;
    const spade_window *w = &u->patches->window;
    bool last = x->layout == SPADE_CHANNELS_LAST;
    u->images = x->dims[0];
    u->channels = x->dims[1];
    u->height = x->dims[2];
    u->width = x->dims[3];
    u->stride_n = u->channels * u->height * u->width;
    u->stride_c = last ? 1 : u->height * u->width;
    u->stride_w = last ? u->channels : 1;
    u->stride_h = u->width * u->stride_w;
    u->positions = u->images * u->patches->out_height * u->patches->out_width;
    u->groups = u->patches->groups;
    u->group_channels = u->channels / u->groups;
    u->columns = u->group_channels * w->kernel[0] * w->kernel[1];
}

static update resolve(const spade_patches *patches, const float *x, double alpha, spade_precision precision)
{
    update u = {.patches = patches, .x = x, .alpha = alpha, .precision = precision};
    u.element = precision == SPADE_FP64 ? sizeof(double) : sizeof(float);
    if (patches->linear) {
        resolve_linear(&u);
    } else {
        resolve_convolution(&u);
    }
    const spade_window *w = &patches->window;
    bool plain = patches->linear || (w->kernel[0] == 1 && w->kernel[1] == 1 && w->stride[0] == 1 && w->stride[1] == 1 &&
                                     !(w->pad[0] | w->pad[1] | w->pad[2] | w->pad[3]));
    u.in_place = plain && precision == SPADE_FP32 && (u.stride_c == 1 || (u.height == 1 && u.width == 1));
    u.row = u.groups * u.columns;
    u.tiles = tile_count(u.columns);
    return u;
}

/* Copy `count` channels to the gathered row, in h's precision; source NULL: outside the image. */
static void *put(const update *u, void *to, const float *source, int64_t count)
{
    if (u->precision == SPADE_FP32) {
        float *out = to;
        if (!source) {
            memset(out, 0, (size_t)count * sizeof *out);
        } else if (u->stride_c == 1) {
            memcpy(out, source, (size_t)count * sizeof *out);
        } else {
            for (int64_t c = 0; c < count; c++) { out[c] = source[c * u->stride_c]; }
        }
        return out + count;
    }
    double *out = to;
    for (int64_t c = 0; c < count; c++) { out[c] = source ? (double)source[c * u->stride_c] : 0.0; }
    return out + count;
}

/* One position's patch -> row [groups, kernel row, kernel column, channel]. */
static void gather(const update *u, int64_t position, void *row)
{
    if (u->patches->linear) {
        put(u, row, u->x + position * u->stride_n, u->channels);
        return;
    }
    const spade_window *w = &u->patches->window;
    int64_t out_width = u->patches->out_width, area = u->patches->out_height * out_width;
    int64_t top = position % area / out_width * w->stride[0] - w->pad[0];
    int64_t left = position % out_width * w->stride[1] - w->pad[1];
    const float *image = u->x + position / area * u->stride_n;
    for (int64_t g = 0; g < u->groups; g++) {
        const float *group = image + g * u->group_channels * u->stride_c;
        for (int64_t r = 0; r < w->kernel[0]; r++) {
            int64_t y = top + r * w->dilation[0];
            for (int64_t c = 0; c < w->kernel[1]; c++) {
                int64_t x = left + c * w->dilation[1];
                bool inside = y >= 0 && y < u->height && x >= 0 && x < u->width;
                row = put(u, row, inside ? group + y * u->stride_h + x * u->stride_w : NULL, u->group_channels);
            }
        }
    }
}

/* The job-th tile of all groups' lower triangles, with `count` positions of the gathered matrix p [count, row]. */
static void update_tile(const update *u, int64_t job, const void *p, int64_t count, void *h)
{
    int64_t per_group = u->tiles * (u->tiles + 1) / 2, group = job / per_group, rest = job % per_group, i = 0;
    while (rest > i) { rest -= ++i; }
    int64_t row = tile_edge(u, i), column = tile_edge(u, rest);
    int m = (int)(tile_edge(u, i + 1) - row), n = (int)(tile_edge(u, rest + 1) - column);
    int k = (int)count, ld = (int)u->row, ldh = (int)u->columns;
    int64_t a = group * u->columns + row, b = group * u->columns + column;
    int64_t to = (group * u->columns + row) * u->columns + column;
    if (u->precision == SPADE_FP32) {
        const float *source = p;
        float *tile = (float *)h + to;
        if (i == rest) {
            cblas_ssyrk(CblasRowMajor, CblasLower, CblasTrans, m, k, (float)u->alpha, source + a, ld, 1.0f, tile, ldh);
        } else {
            cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, n, k, (float)u->alpha, source + a, ld, source + b,
                        ld, 1.0f, tile, ldh);
        }
        return;
    }
    const double *source = p;
    double *tile = (double *)h + to;
    if (i == rest) {
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, m, k, u->alpha, source + a, ld, 1.0, tile, ldh);
    } else {
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, n, k, u->alpha, source + a, ld, source + b, ld, 1.0,
                    tile, ldh);
    }
}

static void update_products(const update *u, int threads, void *h, void *workspace)
{
    int64_t jobs = u->groups * u->tiles * (u->tiles + 1) / 2;
#pragma omp parallel num_threads(threads)
    for (int64_t first = 0; first < u->positions; first += CHUNK) {
        int64_t count = u->positions - first < CHUNK ? u->positions - first : CHUNK;
        const void *p = u->in_place ? (const void *)(u->x + first * u->row) : workspace;
        if (!u->in_place) {
#pragma omp for schedule(static)
            for (int64_t i = 0; i < count; i++) {
                gather(u, first + i, (char *)workspace + (size_t)(i * u->row) * u->element);
            }
        }
#pragma omp for schedule(dynamic)
        for (int64_t job = 0; job < jobs; job++) { update_tile(u, job, p, count, h); }
    }
}

/*
 * Depthwise: K is 9 or 25, a product per channel would be all overhead. Instead the K(K+1)/2 sums of a few neighbouring
 * channels run side by side, in double.
 */
typedef double channel_sums[DEPTHWISE_CHANNELS];

static inline __attribute__((always_inline)) void add_products(const float *restrict a, const float *restrict b,
                                                               double *restrict sums)
{
    for (int c = 0; c < DEPTHWISE_CHANNELS; c++) { sums[c] += (double)a[c] * (double)b[c]; }
}

static inline __attribute__((always_inline)) void sum_position(const float (*taps)[DEPTHWISE_CHANNELS],
                                                               const bool *inside, int64_t k, channel_sums *sums)
{
    for (int64_t i = 0; i < k; i++) {
        if (!inside[i]) { continue; }
        for (int64_t j = 0; j <= i; j++) {
            if (inside[j]) { add_products(taps[i], taps[j], sums[i * (i + 1) / 2 + j]); }
        }
    }
}

#if defined(__x86_64__)
/* Lanes are channels: the width changes no sum. */
__attribute__((target("avx512f,prefer-vector-width=512"))) static void
sum_position_avx512(const float (*taps)[DEPTHWISE_CHANNELS], const bool *inside, int64_t k, channel_sums *sums)
{
    sum_position(taps, inside, k, sums);
}
__attribute__((target("avx2"))) static void sum_position_avx2(const float (*taps)[DEPTHWISE_CHANNELS],
                                                              const bool *inside, int64_t k, channel_sums *sums)
{
    sum_position(taps, inside, k, sums);
}
#endif
static void sum_position_plain(const float (*taps)[DEPTHWISE_CHANNELS], const bool *inside, int64_t k,
                               channel_sums *sums)
{
    sum_position(taps, inside, k, sums);
}

typedef void (*sum_position_fn)(const float (*taps)[DEPTHWISE_CHANNELS], const bool *inside, int64_t k,
                                channel_sums *sums);

static sum_position_fn choose_sum_position(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) { return sum_position_avx512; }
    if (__builtin_cpu_supports("avx2")) { return sum_position_avx2; }
#endif
    return sum_position_plain;
}

/* The taps of channels first .. first+count-1 at one output position; channels past the last stay zero. */
static void load_taps(const update *u, int64_t position, int64_t first, int64_t count,
                      float (*taps)[DEPTHWISE_CHANNELS], bool *inside)
{
    const spade_window *w = &u->patches->window;
    int64_t out_width = u->patches->out_width, area = u->patches->out_height * out_width;
    int64_t top = position % area / out_width * w->stride[0] - w->pad[0];
    int64_t left = position % out_width * w->stride[1] - w->pad[1];
    const float *image = u->x + position / area * u->stride_n + first * u->stride_c;
    for (int64_t tap = 0; tap < u->columns; tap++) {
        int64_t y = top + tap / w->kernel[1] * w->dilation[0], x = left + tap % w->kernel[1] * w->dilation[1];
        inside[tap] = y >= 0 && y < u->height && x >= 0 && x < u->width;
        if (!inside[tap]) { continue; }
        const float *source = image + y * u->stride_h + x * u->stride_w;
        if (u->stride_c == 1 && count == DEPTHWISE_CHANNELS) {
            memcpy(taps[tap], source, sizeof taps[tap]);
        } else {
            for (int64_t c = 0; c < count; c++) { taps[tap][c] = source[c * u->stride_c]; }
        }
    }
}

static void update_channels(const update *u, int64_t first, channel_sums *sums, sum_position_fn sum, void *h)
{
    int64_t k = u->columns, left = u->channels - first, count = left < DEPTHWISE_CHANNELS ? left : DEPTHWISE_CHANNELS;
    float taps[DEPTHWISE_TAPS][DEPTHWISE_CHANNELS] = {{0}};
    bool inside[DEPTHWISE_TAPS];
    memset(sums, 0, (size_t)(k * (k + 1) / 2) * sizeof *sums);
    for (int64_t position = 0; position < u->positions; position++) {
        load_taps(u, position, first, count, taps, inside);
        sum((const float(*)[DEPTHWISE_CHANNELS])taps, inside, k, sums);
    }
    for (int64_t c = 0; c < count; c++) {
        for (int64_t i = 0; i < k; i++) {
            for (int64_t j = 0; j <= i; j++) {
                int64_t to = ((first + c) * k + i) * k + j;
                double value = u->alpha * sums[i * (i + 1) / 2 + j][c];
                if (u->precision == SPADE_FP32) {
                    ((float *)h)[to] += (float)value;
                } else {
                    ((double *)h)[to] += value;
                }
            }
        }
    }
}

static size_t depthwise_bytes_per_thread(const update *u)
{
    return (size_t)(u->columns * (u->columns + 1) / 2) * sizeof(channel_sums);
}

static void update_depthwise(const update *u, int threads, void *h, void *workspace)
{
    sum_position_fn sum = choose_sum_position();
    size_t own = depthwise_bytes_per_thread(u);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t first = 0; first < u->channels; first += DEPTHWISE_CHANNELS) {
        update_channels(u, first, (channel_sums *)((char *)workspace + (size_t)omp_get_thread_num() * own), sum, h);
    }
}

size_t spade_cpu_hessian_workspace_bytes(spade_device *device, const spade_patches *patches, spade_precision precision)
{
    update u = resolve(patches, NULL, 0, precision);
    if (is_depthwise(patches)) { return (size_t)spade_cpu_threads(device) * depthwise_bytes_per_thread(&u); }
    if (u.in_place) { return 0; }
    return (size_t)(u.positions < CHUNK ? u.positions : CHUNK) * (size_t)u.row * u.element;
}

spade_status spade_cpu_hessian_update(spade_device *device, const spade_patches *patches, const float *x, double alpha,
                                      spade_precision precision, void *h, void *workspace)
{
    update u = resolve(patches, x, alpha, precision);
    if (u.row > INT32_MAX) {
        return spade_fail(device->context, SPADE_ERROR_UNSUPPORTED,
                          "a Hessian of %lld columns is too large for the BLAS", (long long)u.row);
    }
    int before = spade_team(1);
    if (is_depthwise(patches)) {
        update_depthwise(&u, spade_cpu_threads(device), h, workspace);
    } else {
        update_products(&u, spade_cpu_threads(device), h, workspace);
    }
    spade_team(before);
    return SPADE_OK;
}
