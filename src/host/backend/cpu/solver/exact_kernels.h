/*
 * exact_kernels.h - the inner loops of the exact solver, for the vector unit at hand. All float64.
 *
 * Numbers of neighbouring candidates lie side by side (LANES of them in one vector), so that the width of the vector
 * changes no sum. Fused multiply-adds are used where the processor has them: results are bit-identical for any number
 * of threads, not from one kind of processor to another.
 */
#ifndef SPADE_CPU_EXACT_KERNELS_H
#define SPADE_CPU_EXACT_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

enum { SPADE_EXACT_LANES = 8, SPADE_EXACT_TILE_ROWS = 8, SPADE_EXACT_TILE_COLUMNS = 24 };

/*
 * to[i][j] = from[i][columns[j]] - sum over k of a[k][i] b[k][j]: 8 rows, 24 columns. Factors are packed in panels
 * [depth, 8]; b is three panels in a row.
 */
typedef struct spade_exact_tile {
    int64_t depth;
    const double *a, *b;
    const double *from[SPADE_EXACT_TILE_ROWS];
    double *to[SPADE_EXACT_TILE_ROWS];
    int rows;               /* written, 1 to 8; from and to are valid for all eight */
    const int32_t *columns; /* [24] */
    bool run[3];            /* columns 8v .. 8v+7 are neighbours in the source too */
} spade_exact_tile;

/*
 * h[c][i] -= sum over s < depth of u[s][i] x[s][c], i from first to last: multiples of LANES. Rows of u and h are
 * `size` numbers apart, those of x `count`.
 */
typedef struct spade_exact_products {
    int64_t size, depth, count;
    const double *u; /* [depth, size] */
    const double *x; /* [depth, count] */
    double *h;       /* [count, size] */
} spade_exact_products;

/*
 * The candidates after one elimination. A group has b columns; arrays are [.., stride], one number per group.
 *   h [b, b, stride] in: columns of the pivot in the current inverse; out: U = h L^-T, L the pivot's Cholesky factor.
 *   w [b, stride] -= sum over c of U_c z_c; d [b(b+1)/2, stride] (lower triangles of the diagonal blocks) -= U U^T
 *   loss [stride] = w^T d^-1 w / 2
 * h NULL: only the losses.
 */
typedef struct spade_exact_step {
    int64_t group, stride;
    double *h, *w, *d, *loss;
    const double *pivot; /* L [b, b], its diagonal inverted */
    const double *z;     /* L^-1 w of the pivot [b] */
} spade_exact_step;

typedef struct spade_exact_kernels {
    void (*update_tile)(const spade_exact_tile *tile);
    void (*subtract_products)(const spade_exact_products *products, int64_t first, int64_t last);
    /* groups first to last, multiples of LANES; scratch: b (b + 1) * LANES numbers */
    void (*advance)(const spade_exact_step *step, int64_t first, int64_t last, double *scratch);
} spade_exact_kernels;

/* The best version for this processor. */
const spade_exact_kernels *spade_cpu_exact_kernels(void);
/* All versions that this processor can run, best first -> out; returns how many. */
enum { SPADE_EXACT_VERSIONS = 3 };
int spade_cpu_exact_versions(const spade_exact_kernels *out[SPADE_EXACT_VERSIONS]);

#endif
