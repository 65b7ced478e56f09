/* phases.c - see phases.h. */
#include "backend/cpu/phases.h"

#include "backend/tensor_iterator.h"

enum { VECTOR = 16 }; /* channels that oneDNN computes at a time */

/* Of one axis: kernel rows of a phase, and the first and last q. */
typedef struct phase_axis {
    int64_t taps, first, last;
} phase_axis;

static phase_axis axis_of(const spade_op_desc *backward, int axis)
{
    const spade_window *w = &backward->window;
    const int64_t size = backward->a.dims[2 + axis], stride = w->stride[axis], pad = w->pad[axis];
    return (phase_axis){
        .taps = (w->kernel[axis] + stride - 1) / stride, .first = pad / stride, .last = (size - 1 + pad) / stride};
}

/* Products of vectors for each pixel of dy and channel of it. */
static int64_t vectors(int64_t channels, int64_t taps)
{
    return (channels + VECTOR - 1) / VECTOR * taps;
}

bool spade_cpu_phases_plan(const spade_op_desc *backward, spade_op_desc *forward)
{
    const spade_window *w = &backward->window;
    const phase_axis y = axis_of(backward, 0), x = axis_of(backward, 1);
    const int64_t channels = backward->a.dims[1], phases = w->stride[0] * w->stride[1];
    const int64_t before[2] = {y.taps - 1 - y.first, x.taps - 1 - x.first};
    const int64_t after[2] = {y.last - (backward->y.dims[2] - 1), x.last - (backward->y.dims[3] - 1)};
    if (backward->kind != SPADE_OP_CONVOLUTION_BACKWARD || backward->groups != 1 || phases == 1) { return false; }
    if (w->dilation[0] != 1 || w->dilation[1] != 1) { return false; }
    if (before[0] < 0 || before[1] < 0 || after[0] < 0 || after[1] < 0) { return false; }
    if (2 * vectors(channels * phases, y.taps * x.taps) > vectors(channels, w->kernel[0] * w->kernel[1])) {
        return false;
    }
    *forward =
        (spade_op_desc){.kind = SPADE_OP_CONVOLUTION,
                        .a = backward->y,
                        .y = {4,
                              {backward->a.dims[0], channels * phases, y.last - y.first + 1, x.last - x.first + 1},
                              SPADE_CHANNELS_LAST},
                        .window = {.kernel = {y.taps, x.taps},
                                   .stride = {1, 1},
                                   .dilation = {1, 1},
                                   .pad = {before[0], before[1], after[0], after[1]}},
                        .groups = 1};
    return true;
}

/* The kernel of phase (phase_y, phase_x), out [taps_y, taps_x], from that of the layer; its last row is the first tap. */
static void phase_kernel(const spade_window *layer, const spade_window *phase, int64_t phase_y, int64_t phase_x,
                         const float *kernel, float scale, float *out)
{
    for (int64_t y = 0; y < phase->kernel[0]; y++) {
        for (int64_t x = 0; x < phase->kernel[1]; x++) {
            const int64_t row = phase_y + layer->stride[0] * (phase->kernel[0] - 1 - y);
            const int64_t column = phase_x + layer->stride[1] * (phase->kernel[1] - 1 - x);
            const bool inside = row < layer->kernel[0] && column < layer->kernel[1];
            out[y * phase->kernel[1] + x] = inside ? kernel[row * layer->kernel[1] + column] * scale : 0;
        }
    }
}

void spade_cpu_phases_weights(const spade_op_desc *backward, const spade_op_desc *forward, const float *weights,
                              const float *row_scale, float *out)
{
    const spade_window *layer = &backward->window, *phase = &forward->window;
    const int64_t rows = backward->y.dims[1], channels = backward->a.dims[1];
    const int64_t kernel = layer->kernel[0] * layer->kernel[1], taps = phase->kernel[0] * phase->kernel[1];
    const int64_t phases = layer->stride[0] * layer->stride[1];
    for (int64_t z = 0; z < channels * phases; z++) {
        const int64_t c = z / phases, y = z % phases / layer->stride[1], x = z % layer->stride[1];
        for (int64_t r = 0; r < rows; r++) {
            phase_kernel(layer, phase, y, x, weights + (r * channels + c) * kernel, row_scale ? row_scale[r] : 1,
                         out + (z * rows + r) * taps);
        }
    }
}

void spade_cpu_phases_place(const spade_device *device, const spade_op_desc *backward, const spade_op_desc *forward,
                            const float *z, float *dx)
{
    const phase_axis y = axis_of(backward, 0), x = axis_of(backward, 1);
    const int64_t *stride = backward->window.stride, *pad = backward->window.pad;
    const int64_t *dims = backward->a.dims, *of_z = forward->y.dims;
    int64_t step[SPADE_MAX_RANK];
    spade_shape_strides(&backward->a, step);
#pragma omp parallel for num_threads(spade_cpu_threads(device)) schedule(static)
    for (int64_t task = 0; task < dims[0] * dims[1] * dims[2]; task++) {
        const int64_t n = task / dims[2] / dims[1], c = task / dims[2] % dims[1], i = task % dims[2];
        const int64_t row = (i + pad[0]) / stride[0] - y.first;
        const int64_t phase = (c * stride[0] + (i + pad[0]) % stride[0]) * stride[1];
        const float *from = z + (n * of_z[2] + row) * of_z[3] * of_z[1] + phase;
        float *to = dx + n * step[0] + c * step[1] + i * step[2];
        for (int64_t j = 0; j < dims[3]; j++) {
            const int64_t column = (j + pad[1]) / stride[1] - x.first;
            to[j * step[3]] = from[column * of_z[1] + (j + pad[1]) % stride[1]];
        }
    }
}
