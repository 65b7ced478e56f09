/* solver.c - the table of the solvers. */
#include "backend/cpu/solver/solver.h"

const spade_backend_solver spade_cpu_solver = {
    .damp = spade_cpu_damp,
    .factor = spade_cpu_factor,
    .factor_workspace_bytes = spade_cpu_factor_workspace_bytes,
    .dual_factor = spade_cpu_dual_factor,
    .dual_factor_bytes = spade_cpu_dual_factor_bytes,
    .dual_workspace_bytes = spade_cpu_dual_workspace_bytes,
    .fast_cost = spade_cpu_fast_cost,
    .sweep = spade_cpu_sweep,
    .sweep_workspace_bytes = spade_cpu_sweep_workspace_bytes,
    .quadratic_form = spade_cpu_quadratic_form,
    .inverse = spade_cpu_inverse,
    .inverse_workspace_bytes = spade_cpu_inverse_workspace_bytes,
    .eliminate = spade_cpu_eliminate,
    .refit = spade_cpu_refit,
    .exact_bytes = spade_cpu_exact_bytes,
    .exact_max_rows = spade_cpu_exact_max_rows,
};
