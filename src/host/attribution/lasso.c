/* lasso.c - the Lasso by coordinate descent on the Gram matrix (Friedman, Hastie, Tibshirani 2010). */
#include <math.h>

#include "attribution/surrogate.h"

enum { MAX_ROUNDS = 100000 };

bool surrogate_lasso(int64_t n, const double *gram, const double *correlation, double alpha, double *w, double *product)
{
    memset(w, 0, sizeof *w * (size_t)n);
    memset(product, 0, sizeof *product * (size_t)n); /* gram w */
    for (int round = 0; round < MAX_ROUNDS; round++) {
        double largest = 0, moved = 0;
        for (int64_t j = 0; j < n; j++) {
            const double *row = gram + j * n;
            if (!(row[j] > 0)) { continue; } /* a column that is the same everywhere says nothing */
            const double pull = correlation[j] - product[j] + row[j] * w[j];
            const double value = copysign(fmax(fabs(pull) - alpha, 0), pull) / row[j], step = value - w[j];
            largest = fmax(largest, fabs(value));
            if (step == 0) { continue; }
            moved = fmax(moved, fabs(step));
            w[j] = value;
            for (int64_t k = 0; k < n; k++) { product[k] += step * row[k]; }
        }
        if (moved <= 1e-10 * largest) { return true; }
    }
    return false;
}
