/* product.c - products of matrices in float32, by oneDNN. */
#include "backend/cpu/product.h"

#include <oneapi/dnnl/dnnl.h>

enum { SQUARE = 64 /* the largest that is computed whole on the diagonal */ };

bool spade_cpu_product(int64_t m, int64_t n, int64_t k, spade_cpu_matrix a, spade_cpu_matrix b, float *c, int64_t ldc)
{
    return dnnl_sgemm(a.transpose ? 'T' : 'N', b.transpose ? 'T' : 'N', m, n, k, 1.0f, a.data, a.stride, b.data,
                      b.stride, 0.0f, c, ldc) == dnnl_success;
}

bool spade_cpu_product_with_itself(int64_t n, int64_t k, const float *p, int64_t ldp, float *c, int64_t ldc)
{
    for (int64_t first = 0; first < n; first += SQUARE) { /* a band of rows, up to the end of its square */
        const int64_t rows = n - first < SQUARE ? n - first : SQUARE;
        const spade_cpu_matrix a = {p + first, ldp, true}, b = {p, ldp, false};
        if (!spade_cpu_product(rows, first + rows, k, a, b, c + first * ldc, ldc)) { return false; }
    }
    return true;
}
