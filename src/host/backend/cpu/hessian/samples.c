/*
 * samples.c - patches as they are, a row for each column of the Hessian: [K, positions]. Channels lie beside each other
 * in the input, positions in the output, so a few channels are turned at a time.
 */
#include "backend/cpu/hessian/forms.h"

enum { CHANNELS = 16 }; /* a cache line of the input */

/* The channels [first, last) of one kernel position at all positions; out: the row of channel 0, rows `step` apart. */
static void copy_tap(const spade_positions *p, int64_t group, int64_t tap, int64_t first, int64_t last, float *out,
                     int64_t step)
{
    const spade_window *w = &p->desc->window;
    for (int64_t position = 0; position < p->count; position++) {
        const float *from = p->x + position * p->stride_n;
        if (!p->desc->linear) {
            spade_corner corner = spade_corner_of(p, position);
            int64_t y = corner.top + tap / w->kernel[1] * w->dilation[0];
            int64_t x = corner.left + tap % w->kernel[1] * w->dilation[1];
            bool inside = y >= 0 && y < p->height && x >= 0 && x < p->width;
            from = inside ? corner.image + y * p->stride_h + x * p->stride_w : NULL;
        }
        for (int64_t c = first; c < last; c++) {
            out[c * step + position] = from ? from[(group * p->group_channels + c) * p->stride_c] : 0.0f;
        }
    }
}

void spade_samples_read(const spade_device *device, const spade_hessian_desc *desc, const float *x, int64_t group,
                        int64_t offset, float *out)
{
    const spade_positions p = spade_positions_of(desc, x);
    const int64_t taps = offset < 0 ? p.columns / p.group_channels : 1;
#pragma omp parallel for schedule(dynamic, 1) num_threads(spade_cpu_threads(device))
    for (int64_t first = 0; first < p.group_channels; first += CHANNELS) {
        int64_t last = first + CHANNELS < p.group_channels ? first + CHANNELS : p.group_channels;
        for (int64_t t = 0; t < taps; t++) {
            copy_tap(&p, group, offset < 0 ? t : offset, first, last, out + t * p.count, taps * p.count);
        }
    }
}
