/* autocorrelation.c - geometry of the lags; lags.h says what they are. */
#include "backend/autocorrelation.h"

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

bool spade_autocorrelation_apply(const spade_hessian_desc *desc)
{
    const spade_window *w = &desc->window;
    return !desc->linear && desc->x.layout == SPADE_CHANNELS_LAST && w->kernel[0] * w->kernel[1] > 1 &&
           w->kernel[0] <= SPADE_LAG_MAX_KERNEL && w->kernel[1] <= SPADE_LAG_MAX_KERNEL &&
           w->stride[0] * w->stride[1] * w->dilation[0] * w->dilation[1] == 1;
}

void spade_lag_window(const spade_lag_axis *axis, int64_t d, int64_t *begin, int64_t *end)
{
    *begin = smaller(larger(d - axis->pad, 0), axis->size);
    *end = larger(smaller(d - axis->pad + axis->output, axis->size), *begin);
}

void spade_lag_axis_part(const spade_lag_axis *axis, int64_t part, int64_t *start, int64_t *size)
{
    if (part == 0) {
        *start = 0;
        *size = axis->size;
    } else if (part <= axis->cut[0]) {
        *start = 0;
        *size = smaller(part, axis->size);
    } else {
        *size = smaller(part - axis->cut[0], axis->size);
        *start = axis->size - *size;
    }
}

/* Cells: the rows between neighbouring ends of windows. */
static void find_cells(spade_lag_axis *axis)
{
    axis->cells = 0;
    for (int64_t at = 0; at < axis->size;) {
        int64_t next = axis->size;
        for (int64_t d = 0; d < axis->kernel; d++) {
            int64_t begin, end;
            spade_lag_window(axis, d, &begin, &end);
            if (begin > at) { next = smaller(next, begin); }
            if (end > at) { next = smaller(next, end); }
        }
        axis->cell_start[axis->cells++] = at;
        at = next;
    }
    axis->cell_start[axis->cells] = axis->size;
}

static void resolve_axis(spade_lag_axis *axis, int64_t pad_end)
{
    axis->cut[0] = larger(axis->kernel - 1 - axis->pad, 0);
    axis->cut[1] = larger(axis->kernel - 1 - pad_end, 0);
    axis->parts = 1 + axis->cut[0] + axis->cut[1];
    axis->first_lag[0] = 0;
    for (int64_t i = 0; i < axis->parts; i++) {
        int64_t start, size;
        spade_lag_axis_part(axis, i, &start, &size);
        axis->first_lag[i + 1] = axis->first_lag[i] + 2 * smaller(axis->kernel, size) - 1;
    }
    find_cells(axis);
}

spade_autocorrelation spade_autocorrelation_of(const spade_hessian_desc *desc)
{
    const spade_window *w = &desc->window;
    spade_autocorrelation lags = {.groups = desc->groups, .channels = desc->x.dims[1] / desc->groups};
    const int64_t output[2] = {desc->out_height, desc->out_width};
    for (int a = 0; a < 2; a++) {
        lags.axis[a] = (spade_lag_axis){
            .size = desc->x.dims[2 + a], .kernel = w->kernel[a], .pad = w->pad[a], .output = output[a]};
        resolve_axis(&lags.axis[a], w->pad[2 + a]);
    }
    lags.count = lags.axis[0].first_lag[lags.axis[0].parts] * lags.axis[1].first_lag[lags.axis[1].parts];
    return lags;
}

spade_lag_part spade_autocorrelation_part(const spade_autocorrelation *lags, int64_t index)
{
    const int64_t at[2] = {index / lags->axis[1].parts, index % lags->axis[1].parts};
    spade_lag_part part = {0};
    for (int a = 0; a < 2; a++) {
        spade_lag_axis_part(&lags->axis[a], at[a], &part.start[a], &part.size[a]);
        part.reach[a] = smaller(lags->axis[a].kernel, part.size[a]);
    }
    part.row = 2 * part.reach[1] - 1;
    part.first = lags->axis[0].first_lag[at[0]] * lags->axis[1].first_lag[lags->axis[1].parts] +
                 (2 * part.reach[0] - 1) * lags->axis[1].first_lag[at[1]];
    return part;
}
