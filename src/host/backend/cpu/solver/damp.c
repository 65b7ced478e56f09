/* damp.c - what is done to a Hessian before it is factored: dead inputs, damping. Only its diagonal changes. */
#include <math.h>

#include "backend/cpu/solver/solver.h"

static void damp(spade_damp_args *args)
{
    int64_t k = args->k;
    double trace = 0;
    for (int64_t d = 0; d < k; d++) {
        double *diagonal = &args->hessian[d * (k + 1)];
        args->dead[d] = *diagonal == 0.0;
        if (args->dead[d]) { *diagonal = 1.0; }
        trace += *diagonal;
    }
    double shift = args->damping * (trace / (double)k);
    for (int64_t d = 0; d < k; d++) { args->hessian[d * (k + 1)] += shift; }
    args->status = isfinite(trace) ? SPADE_OK : SPADE_ERROR_NUMERICAL;
}

spade_status spade_cpu_damp(spade_device *device, spade_damp_args *problems, int n)
{
    (void)device; /* a walk along diagonals: not worth a second thread */
    for (int i = 0; i < n; i++) { damp(&problems[i]); }
    return SPADE_OK;
}
