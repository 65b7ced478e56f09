/* solver.h - the solvers of the CPU backend, one file each; backend_solver.h says what each does. */
#ifndef SPADE_CPU_SOLVER_H
#define SPADE_CPU_SOLVER_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/microkernels.h"

/* ---- panels of the fast solver's sweep (sweep.c, dual.c) */

enum { SPADE_CPU_PANEL = 128 }; /* columns of a panel, where a block has no more */

/* Columns of a block; 0: all in one. */
int64_t spade_cpu_clip_block(int64_t columns, int64_t block);
/* Columns of a panel: whole blocks. */
int64_t spade_cpu_panel(int64_t columns, int64_t block);
/* Stride of the rows of a panel's matrices: an odd number of cache lines, for they would meet in the cache otherwise. */
int64_t spade_cpu_panel_stride(int64_t panel);

/* ---- dual.c: what a dual factor holds, panel by panel: T [samples, panel], and V [2 panel, panel], the rows of the panel
 * before (the first one has none) and its own in its columns; rows of panel_stride. */
typedef struct spade_cpu_dual {
    int64_t panel, stride;
    double *t, *v;
    int64_t t_size, v_size; /* numbers of a panel */
} spade_cpu_dual;
spade_cpu_dual spade_cpu_dual_of(const spade_dual_args *args);
/* `rows` rows of x from `row` on, samples [first, first + count): out [rows, count] in float64, rows of ld, times the root
 * of the scale: X. */
void spade_cpu_dual_rows(const spade_dual_args *args, int64_t row, int64_t rows, int64_t first, int64_t count,
                         double *out, int64_t ld);

spade_status spade_cpu_damp(spade_device *device, spade_damp_args *problems, int n);
spade_status spade_cpu_factor(spade_device *device, spade_factor_args *problems, int n);
size_t spade_cpu_factor_workspace_bytes(spade_device *device, int64_t k);
spade_status spade_cpu_dual_factor(spade_device *device, spade_dual_args *problems, int n);
size_t spade_cpu_dual_factor_bytes(spade_device *device, int64_t columns, int64_t samples, int64_t block);
size_t spade_cpu_dual_workspace_bytes(spade_device *device, int64_t columns, int64_t samples, int64_t block);
double spade_cpu_fast_cost(spade_device *device, int64_t rows, int64_t columns, int64_t block, int64_t samples);
spade_status spade_cpu_sweep(spade_device *device, spade_sweep_args *problems, int n);
size_t spade_cpu_sweep_workspace_bytes(spade_device *device, int64_t rows, int64_t columns, int64_t block,
                                       int64_t samples, spade_precision precision);
spade_status spade_cpu_quadratic_form(spade_device *device, spade_quadratic_args *problems, int n);
spade_status spade_cpu_inverse(spade_device *device, spade_factor_args *problems, int n);
size_t spade_cpu_inverse_workspace_bytes(spade_device *device, int64_t k);
spade_status spade_cpu_eliminate(spade_device *device, spade_exact_args *problems, int n, void *workspace,
                                 size_t bytes);
spade_status spade_cpu_refit(spade_device *device, spade_exact_args *problems, int n, void *workspace, size_t bytes);
size_t spade_cpu_exact_bytes(spade_device *device, int64_t columns, int64_t group, int64_t rows);
int64_t spade_cpu_exact_max_rows(spade_device *device);

#endif
