/*
 * phases.h - backward-data of a strided convolution with few input channels as one convolution of stride 1.
 *
 * Padded pixel i + pad = s q + r of dx is in phase r, and its kernel rows are r, r + s, r + 2 s, ..: all pixels of a phase are a
 * convolution of dy with these. The phases of all channels are the outputs z [N, C s_y s_x, q_y, q_x] of one convolution, whose
 * pixels are then put in their places. oneDNN's own backward-data computes a vector of channels (16 floats) for each pixel of
 * dx, however few there are: of a first convolution 7x7 of stride 2 over 3 channels this takes a third of the time.
 */
#ifndef SPADE_CPU_PHASES_H
#define SPADE_CPU_PHASES_H

#include "backend/cpu/cpu.h"

/* The convolution dy -> z. False: the direct form is no slower, or padding reaches beyond the kernel. */
bool spade_cpu_phases_plan(const spade_op_desc *backward, spade_op_desc *forward);
/* out: its weights, from those of the layer, [rows, columns], with row_scale (or NULL) multiplied in. */
void spade_cpu_phases_weights(const spade_op_desc *backward, const spade_op_desc *forward, const float *weights,
                              const float *row_scale, float *out);
/* dx from z. */
void spade_cpu_phases_place(const spade_device *device, const spade_op_desc *backward, const spade_op_desc *forward,
                            const float *z, float *dx);

#endif
