/* hessian_desc.c - where the patches of a layer's input lie. */
#include "backend/hessian_desc.h"

static void resolve_linear(spade_positions *p)
{
    const spade_shape *x = &p->patches->x;
    p->channels = x->dims[x->rank - 1];
    p->images = p->count = spade_shape_size(x) / (p->channels ? p->channels : 1);
    p->groups = p->height = p->width = 1;
    p->columns = p->group_channels = p->channels;
    p->stride_n = p->channels;
    p->stride_c = 1;
}

static void resolve_convolution(spade_positions *p)
{
    const spade_shape *x = &p->patches->x;
    const spade_window *w = &p->patches->window;
    bool last = x->layout == SPADE_CHANNELS_LAST;
    p->images = x->dims[0];
    p->channels = x->dims[1];
    p->height = x->dims[2];
    p->width = x->dims[3];
    p->stride_n = p->channels * p->height * p->width;
    p->stride_c = last ? 1 : p->height * p->width;
    p->stride_w = last ? p->channels : 1;
    p->stride_h = p->width * p->stride_w;
    p->count = p->images * p->patches->out_height * p->patches->out_width;
    p->groups = p->patches->groups;
    p->group_channels = p->channels / p->groups;
    p->columns = p->group_channels * w->kernel[0] * w->kernel[1];
}

spade_positions spade_positions_of(const spade_hessian_desc *patches, const float *x)
{
    spade_positions p = {.patches = patches, .x = x};
    if (patches->linear) {
        resolve_linear(&p);
    } else {
        resolve_convolution(&p);
    }
    return p;
}

bool spade_hessian_desc_is_rows(const spade_hessian_desc *patches)
{
    const spade_window *w = &patches->window;
    bool last = patches->linear || patches->x.layout == SPADE_CHANNELS_LAST ||
                (patches->x.dims[2] == 1 && patches->x.dims[3] == 1);
    return patches->linear || (last && w->kernel[0] * w->kernel[1] == 1 && w->stride[0] * w->stride[1] == 1 &&
                               !(w->pad[0] | w->pad[1] | w->pad[2] | w->pad[3]));
}

spade_corner spade_corner_of(const spade_positions *positions, int64_t position)
{
    const spade_window *w = &positions->patches->window;
    int64_t width = positions->patches->out_width, area = positions->patches->out_height * width;
    return (spade_corner){.image = positions->x + position / area * positions->stride_n,
                          .top = position % area / width * w->stride[0] - w->pad[0],
                          .left = position % width * w->stride[1] - w->pad[1]};
}
