/* solver.c - the table of the solvers. */
#include "backend/cuda/solver/solver.h"

const spade_backend_solver spade_cuda_solver = {
    .damp = spade_cuda_damp,
    .factor = spade_cuda_factor,
    .factor_workspace_bytes = spade_cuda_factor_workspace_bytes,
    .sweep = spade_cuda_sweep,
    .sweep_workspace_bytes = spade_cuda_sweep_workspace_bytes,
    .dual_factor = spade_cuda_dual_factor,
    .dual_factor_bytes = spade_cuda_dual_factor_bytes,
    .dual_workspace_bytes = spade_cuda_dual_workspace_bytes,
    .fast_cost = spade_cuda_fast_cost,
    .quadratic_form = spade_cuda_quadratic_form,
    .inverse = spade_cuda_inverse,
    .inverse_workspace_bytes = spade_cuda_inverse_workspace_bytes,
    .eliminate = spade_cuda_eliminate,
    .refit = spade_cuda_refit,
    .exact_bytes = spade_cuda_exact_bytes,
    .exact_max_rows = spade_cuda_exact_max_rows,
};
