/* solver.h - the solvers of the CUDA backend, one file each; backend_solver.h says what each does. */
#ifndef SPADE_CUDA_SOLVER_H
#define SPADE_CUDA_SOLVER_H

#include "backend/cuda/cuda.h"

/* ---- dual.c: what a dual factor holds: V of each panel, [width, width] at panel * panel numbers, and T^T [columns,
 * samples]. */
typedef struct spade_cuda_dual {
    int64_t panel;
    double *v, *t;
    size_t bytes; /* of all */
} spade_cuda_dual;
spade_cuda_dual spade_cuda_dual_of(const spade_dual_args *args);
/* X_B^T [samples, width] in float64. */
spade_status spade_cuda_dual_inputs(const spade_cuda_device *cuda, const spade_dual_args *args, int64_t first,
                                    int64_t width, double *out);
/*
 * What a sweep needs of the columns left of panel `index`, from 1: sums [samples, rows] += X^T D of the panel before, then
 * left [width, rows] = T^T sums. removed: D [columns, rows]; inputs: scratch [samples, panel].
 */
spade_status spade_cuda_dual_gather(const spade_cuda_device *cuda, const spade_dual_args *args, int64_t rows,
                                    int64_t index, const double *removed, double *inputs, double *sums, double *left);
spade_status spade_cuda_dual_factor(spade_device *device, spade_dual_args *problems, int n);
size_t spade_cuda_dual_factor_bytes(spade_device *device, int64_t columns, int64_t samples, int64_t block);
size_t spade_cuda_dual_workspace_bytes(spade_device *device, int64_t columns, int64_t samples, int64_t block);

/* Columns of a panel of the sweep: whole blocks. */
int64_t spade_cuda_panel(int64_t columns, int64_t block);

spade_status spade_cuda_damp(spade_device *device, spade_damp_args *problems, int n);
spade_status spade_cuda_factor(spade_device *device, spade_factor_args *problems, int n);
size_t spade_cuda_factor_workspace_bytes(spade_device *device, int64_t k);
spade_status spade_cuda_sweep(spade_device *device, spade_sweep_args *problems, int n);
size_t spade_cuda_sweep_workspace_bytes(spade_device *device, int64_t rows, int64_t columns, int64_t block,
                                        int64_t samples, spade_precision precision);
double spade_cuda_fast_cost(spade_device *device, int64_t rows, int64_t columns, int64_t block, int64_t samples);
spade_status spade_cuda_quadratic_form(spade_device *device, spade_quadratic_args *problems, int n);
spade_status spade_cuda_inverse(spade_device *device, spade_factor_args *problems, int n);
size_t spade_cuda_inverse_workspace_bytes(spade_device *device, int64_t k);
spade_status spade_cuda_eliminate(spade_device *device, spade_exact_args *problems, int n, void *workspace,
                                  size_t bytes);
spade_status spade_cuda_refit(spade_device *device, spade_exact_args *problems, int n, void *workspace, size_t bytes);
size_t spade_cuda_exact_bytes(spade_device *device, int64_t columns, int64_t group, int64_t rows);
int64_t spade_cuda_exact_max_rows(spade_device *device);

#endif
