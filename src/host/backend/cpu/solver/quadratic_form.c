/* quadratic_form.c - tr (d h d^T), one problem a thread. */
#include <cblas.h>

#include "backend/cpu/solver/solver.h"

static void evaluate(spade_quadratic_args *args)
{
    int64_t size = args->rows * args->k;
    cblas_dsymm(CblasRowMajor, CblasRight, CblasUpper, (int)args->rows, (int)args->k, 1.0, args->h, (int)args->k,
                args->d, (int)args->k, 0.0, args->scratch, (int)args->k);
    args->result = 0;
    for (int64_t i = 0; i < size; i++) { args->result += args->d[i] * args->scratch[i]; }
}

spade_status spade_cpu_quadratic_form(spade_device *device, spade_quadratic_args *problems, int n)
{
    int before = spade_set_num_threads(1);
#pragma omp parallel for schedule(dynamic, 1) num_threads(spade_cpu_threads(device))
    for (int i = 0; i < n; i++) { evaluate(&problems[i]); }
    spade_set_num_threads(before);
    return SPADE_OK;
}
