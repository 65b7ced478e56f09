/* solver.h - the solvers of the CUDA backend, one file each; backend_solver.h says what each does. */
#ifndef SPADE_CUDA_SOLVER_H
#define SPADE_CUDA_SOLVER_H

#include "backend/cuda/cuda.h"

spade_status spade_cuda_damp(spade_device *device, spade_damp_args *problems, int n);
spade_status spade_cuda_factor(spade_device *device, spade_factor_args *problems, int n);
size_t spade_cuda_factor_workspace_bytes(spade_device *device, int64_t k);
spade_status spade_cuda_sweep(spade_device *device, spade_sweep_args *problems, int n);
size_t spade_cuda_sweep_workspace_bytes(spade_device *device, int64_t rows, int64_t columns, int64_t block,
                                        int64_t samples, spade_precision precision);
spade_status spade_cuda_quadratic_form(spade_device *device, spade_quadratic_args *problems, int n);
spade_status spade_cuda_inverse(spade_device *device, spade_factor_args *problems, int n);
size_t spade_cuda_inverse_workspace_bytes(spade_device *device, int64_t k);
spade_status spade_cuda_eliminate(spade_device *device, spade_exact_args *problems, int n, void *workspace,
                                  size_t bytes);
spade_status spade_cuda_refit(spade_device *device, spade_exact_args *problems, int n, void *workspace, size_t bytes);
size_t spade_cuda_exact_bytes(spade_device *device, int64_t columns, int64_t group, int64_t rows);
int64_t spade_cuda_exact_max_rows(spade_device *device);

#endif
