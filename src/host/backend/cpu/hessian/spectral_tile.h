/*
 * spectral_tile.h - the kernel's text, included once per number type and vector length by
 * hessian_spectral_tile.c with
 *   REAL    float or double
 *   BYTES   of a vector
 *   HEIGHT  rows of the tile held in registers, times WIDTH vectors
 *   TARGET  attribute of the functions
 *   NAME(x) the function's name
 * HEIGHT x WIDTH complex sums stay in registers over all images; each is folded into the row's sums at once:
 *   S(f) = sum over images of conj(X_c(f)) X_c'(f)
 *   T_k + i U_k = sum over fx of S cos(k t) + i S sin(k t),  t = 2 pi fx / F
 * fx and -fx share cosines and differ in the sign of the sine, so T takes S(fx) + S(-fx), U takes S(fx) - S(-fx). Then
 * over the row frequencies R(Dy, Dx) = Re sum of (T + i U) e^(i s Dy), s = 2 pi fy / F'; the frequencies -fy that are
 * not visited are conjugates.
 */
#define LANES (BYTES / (int)sizeof(REAL))
#define VECTORS (SPADE_SPECTRAL_COLUMNS / LANES) /* of a tile's row */
#define INLINE static inline __attribute__((always_inline)) TARGET

typedef REAL NAME(vector) __attribute__((vector_size(BYTES)));
typedef struct NAME(sums) {
    NAME(vector) re[HEIGHT][WIDTH], im[HEIGHT][WIDTH];
} NAME(sums);

/* S of HEIGHT rows and WIDTH vectors. x: a block [image][2][16] from its first row on; y: the vectors' block. */
INLINE void NAME(multiply)(const REAL *x, const REAL *const y[WIDTH], int64_t images, NAME(sums) * out)
{
    NAME(sums) s = {0};
    for (int64_t i = 0; i < images; i++) {
        const int64_t at = i * 2 * SPADE_SPECTRAL_BLOCK;
        NAME(vector) re[WIDTH], im[WIDTH];
#pragma GCC unroll 8
        for (int v = 0; v < WIDTH; v++) {
            re[v] = *(const NAME(vector) *)(const void *)(y[v] + at);
            im[v] = *(const NAME(vector) *)(const void *)(y[v] + at + SPADE_SPECTRAL_BLOCK);
        }
#pragma GCC unroll 8
        for (int r = 0; r < HEIGHT; r++) {
            const REAL a = x[at + r], b = x[at + SPADE_SPECTRAL_BLOCK + r];
#pragma GCC unroll 8
            for (int v = 0; v < WIDTH; v++) {
                s.re[r][v] += a * re[v];
                s.re[r][v] += b * im[v];
                s.im[r][v] += a * im[v];
                s.im[r][v] -= b * re[v];
            }
        }
    }
    *out = s;
}

/* T_k += cosine * sum, U_k += sine * difference, k < reach. to: [T re, T im, U re, U im][reach][tile] at this vector.
 */
INLINE void NAME(fold_column)(REAL *to, int64_t reach, const REAL *cosine, const REAL *sine, const NAME(vector) sum[2],
                              const NAME(vector) difference[2])
{
    for (int64_t k = 0; k < reach; k++) {
        NAME(vector) *t = (NAME(vector) *)(void *)(to + k * SPADE_SPECTRAL_TILE);
        NAME(vector) *u = (NAME(vector) *)(void *)(to + (2 * reach + k) * SPADE_SPECTRAL_TILE);
        const int64_t im = reach * SPADE_SPECTRAL_TILE / LANES;
        t[0] += cosine[k] * sum[0];
        t[im] += cosine[k] * sum[1];
        if (k > 0) {
            u[0] += sine[k] * difference[0];
            u[im] += sine[k] * difference[1];
        }
    }
}

/* One column frequency or a pair of opposite ones (y: the spectra of the second, NULL: there is none). */
INLINE void NAME(fold_frequency)(const spade_spectral_tile *t, const REAL *x, const REAL *y, const REAL *cosine,
                                 const REAL *sine)
{
    const int64_t block = t->images * 2 * SPADE_SPECTRAL_BLOCK;
    for (int row = 0; row < SPADE_SPECTRAL_ROWS; row += HEIGHT) {
        for (int first = 0; first < VECTORS; first += WIDTH) {
            NAME(sums) a, b;
            const REAL *p[WIDTH], *q[WIDTH];
#pragma GCC unroll 8
            for (int v = 0; v < WIDTH; v++) {
                const int64_t lane = (int64_t)(first + v) * LANES;
                const int64_t at =
                    (t->column_block + lane / SPADE_SPECTRAL_BLOCK) * block + lane % SPADE_SPECTRAL_BLOCK;
                p[v] = x + at;
                q[v] = y ? y + at : NULL;
            }
            NAME(multiply)(x + t->row_block * block + row, p, t->images, &a);
            if (y) { NAME(multiply)(y + t->row_block * block + row, q, t->images, &b); }
            for (int r = 0; r < HEIGHT; r++) {
                for (int v = 0; v < WIDTH; v++) {
                    NAME(vector) sum[2] = {a.re[r][v], a.im[r][v]}, difference[2] = {a.re[r][v], a.im[r][v]};
                    if (y) {
                        sum[0] += b.re[r][v];
                        sum[1] += b.im[r][v];
                        difference[0] -= b.re[r][v];
                        difference[1] -= b.im[r][v];
                    }
                    NAME(fold_column)
                    ((REAL *)t->rows + (row + r) * SPADE_SPECTRAL_COLUMNS + (first + v) * LANES, t->reach[1], cosine,
                     sine, sum, difference);
                }
            }
        }
    }
}

/* All column frequencies of row frequency fy -> rows. */
INLINE void NAME(fold_row)(const spade_spectral_tile *t, int64_t fy, const REAL *spectra)
{
    const int64_t stride = t->blocks * t->images * 2 * SPADE_SPECTRAL_BLOCK, size = t->size[1], reach = t->reach[1];
    const bool single = spade_spectral_is_single(fy, t->size[0]);
    memset(t->rows, 0, (size_t)(4 * reach * SPADE_SPECTRAL_TILE) * sizeof(REAL));
    for (int64_t fx = 0, at = 0; fx <= size / 2; fx++) {
        const bool alone = spade_spectral_is_single(fx, size), pair = !alone && !single;
        REAL cosine[MAX_REACH], sine[MAX_REACH];
        for (int64_t k = 0; k < reach; k++) {
            /* a frequency that stands for its conjugate too counts twice */
            const REAL weight = single && !alone ? 2 : 1;
            cosine[k] = weight * ((const REAL *)t->cosine[1])[fx * k % size];
            sine[k] = weight * ((const REAL *)t->sine[1])[fx * k % size];
        }
        const REAL *x = spectra + at * stride;
        NAME(fold_frequency)(t, x, pair ? x + stride : NULL, cosine, sine);
        at += pair ? 2 : 1;
    }
}

/* rows -> lags */
INLINE void NAME(fold_lags)(const spade_spectral_tile *t, int64_t fy)
{
    const int64_t reach = t->reach[1], tall = t->reach[0], width = 2 * reach - 1;
    const REAL weight = spade_spectral_is_single(fy, t->size[0]) ? 1 : 2;
    for (int64_t dx = 1 - reach; dx < reach; dx++) {
        const int64_t k = dx < 0 ? -dx : dx;
        const REAL sign = dx < 0 ? (REAL)-1 : (REAL)1;
        const REAL *rows = t->rows, *tr = rows + k * SPADE_SPECTRAL_TILE, *ti = tr + reach * SPADE_SPECTRAL_TILE;
        const REAL *ur = ti + reach * SPADE_SPECTRAL_TILE, *ui = ur + reach * SPADE_SPECTRAL_TILE;
        for (int64_t dy = 0; dy < tall; dy++) {
            const REAL cosine = weight * ((const REAL *)t->cosine[0])[fy * dy % t->size[0]];
            const REAL sine = weight * ((const REAL *)t->sine[0])[fy * dy % t->size[0]];
            REAL *down = (REAL *)t->lags + ((dy + tall - 1) * width + dx + reach - 1) * SPADE_SPECTRAL_TILE;
            REAL *up = (REAL *)t->lags + ((tall - 1 - dy) * width + dx + reach - 1) * SPADE_SPECTRAL_TILE;
            for (int64_t i = 0; i < SPADE_SPECTRAL_TILE; i += LANES) {
#define AT(pointer) (*(NAME(vector) *)(void *)(uintptr_t)((pointer) + i))
                const NAME(vector) a = cosine * (AT(tr) - sign * AT(ui)), b = sine * (AT(ti) + sign * AT(ur));
                AT(down) += a - b;
                if (dy > 0) { AT(up) += a + b; }
#undef AT
            }
        }
    }
}

TARGET static void NAME(run)(const spade_spectral_tile *t)
{
    const int64_t lags = (2 * t->reach[0] - 1) * (2 * t->reach[1] - 1);
    memset(t->lags, 0, (size_t)(lags * SPADE_SPECTRAL_TILE) * sizeof(REAL));
    for (int64_t f = t->first; f < t->last; f++) {
        const int64_t at = t->offset[f] * t->blocks * t->images * 2 * SPADE_SPECTRAL_BLOCK;
        NAME(fold_row)(t, t->band_first + f, (const REAL *)t->spectra + at);
        NAME(fold_lags)(t, t->band_first + f);
    }
}

/* Channels at .. at + count - 1 of one frequency; the arguments as below. */
INLINE void NAME(put_block)(int64_t count, const REAL *restrict cc, const REAL *restrict cs, const REAL *restrict sc,
                            const REAL *restrict ss, int64_t at, REAL sign, REAL *restrict to)
{
    REAL *restrict im = to + SPADE_SPECTRAL_BLOCK;
    if (ss) {
        for (int64_t c = 0; c < count; c++) { to[c] = cc[at + c] - sign * ss[at + c]; }
        for (int64_t c = 0; c < count; c++) { im[c] = -sc[at + c] - sign * cs[at + c]; }
        return;
    }
    for (int64_t c = 0; c < count; c++) { to[c] = cc[at + c]; }
    for (int64_t c = 0; c < count; c++) { im[c] = -(sc ? sc[at + c] : 0) - (cs ? sign * cs[at + c] : 0); }
}

/*
 * One frequency fx and, in a pair, -fx. With a the angle along y, b along x:
 *   X(fy, +-fx) = sum x e^(-i (a +- b)) = (CC -+ SS) - i (SC +- CS),   CS = sum x cos a sin b, ...
 */
INLINE void NAME(put)(const spade_spectral_row *r, const REAL *cc, const REAL *cs, const REAL *sc, const REAL *ss,
                      REAL sign, REAL *to)
{
    const int64_t block = r->images * 2 * SPADE_SPECTRAL_BLOCK;
    to += r->image * 2 * SPADE_SPECTRAL_BLOCK;
    for (int64_t g = 0; g < r->groups; g++) {
        for (int64_t b = 0; b < r->group_blocks; b++, to += block) {
            const int64_t at = g * r->channels + b * SPADE_SPECTRAL_BLOCK;
            int64_t count = r->channels - b * SPADE_SPECTRAL_BLOCK;
            count = count < 0 ? 0 : count < SPADE_SPECTRAL_BLOCK ? count : SPADE_SPECTRAL_BLOCK;
            if (count < SPADE_SPECTRAL_BLOCK) { memset(to, 0, 2 * SPADE_SPECTRAL_BLOCK * sizeof *to); }
            if (count == SPADE_SPECTRAL_BLOCK) { /* vectors of a known length */
                NAME(put_block)(SPADE_SPECTRAL_BLOCK, cc, cs, sc, ss, at, sign, to);
            } else {
                NAME(put_block)(count, cc, cs, sc, ss, at, sign, to);
            }
        }
    }
}

TARGET static void NAME(combine)(const spade_spectral_row *r)
{
    const int64_t all = r->groups * r->channels, half = r->size / 2 + 1;
    const int64_t stride = r->groups * r->group_blocks * r->images * 2 * SPADE_SPECTRAL_BLOCK;
    const REAL *cosine = r->cosine, *sine = r->sine;
    REAL *to = r->spectra;
    for (int64_t fx = 0; fx < half; fx++) {
        const bool alone = spade_spectral_is_single(fx, r->size);
        const REAL *cc = cosine + fx * all, *cs = alone ? NULL : cosine + (half + fx - 1) * all;
        const REAL *sc = sine ? sine + fx * all : NULL, *ss = sine && !alone ? sine + (half + fx - 1) * all : NULL;
        NAME(put)(r, cc, cs, sc, ss, 1, to);
        to += stride;
        if (!alone && sine) {
            NAME(put)(r, cc, cs, sc, ss, -1, to);
            to += stride;
        }
    }
}

#undef LANES
#undef VECTORS
#undef INLINE
#undef REAL
#undef BYTES
#undef HEIGHT
#undef WIDTH
#undef TARGET
#undef NAME
