/* hessian_desc.c - where the patches of a layer's input lie. */
#include "backend/hessian_desc.h"

static void resolve_linear(spade_positions *p)
{
    const spade_shape *x = &p->desc->x;
    p->channels = x->dims[x->rank - 1];
    p->images = p->count = spade_shape_size(x) / (p->channels ? p->channels : 1);
    p->groups = p->height = p->width = 1;
    p->columns = p->group_channels = p->channels;
    p->stride_n = p->channels;
    p->stride_c = 1;
}

static void resolve_convolution(spade_positions *p)
{
    const spade_shape *x = &p->desc->x;
    const spade_window *w = &p->desc->window;
    bool last = x->layout == SPADE_CHANNELS_LAST;
    p->images = x->dims[0];
    p->channels = x->dims[1];
    p->height = x->dims[2];
    p->width = x->dims[3];
    p->stride_n = p->channels * p->height * p->width;
    p->stride_c = last ? 1 : p->height * p->width;
    p->stride_w = last ? p->channels : 1;
    p->stride_h = p->width * p->stride_w;
    p->count = p->images * p->desc->out_height * p->desc->out_width;
    p->groups = p->desc->groups;
    p->group_channels = p->channels / p->groups;
    p->columns = p->group_channels * w->kernel[0] * w->kernel[1];
}

spade_positions spade_positions_of(const spade_hessian_desc *desc, const float *x)
{
    spade_positions p = {.desc = desc, .x = x};
    if (desc->linear) {
        resolve_linear(&p);
    } else {
        resolve_convolution(&p);
    }
    return p;
}

bool spade_hessian_desc_is_rows(const spade_hessian_desc *desc)
{
    const spade_window *w = &desc->window;
    bool last = desc->linear || desc->x.layout == SPADE_CHANNELS_LAST || (desc->x.dims[2] == 1 && desc->x.dims[3] == 1);
    return desc->linear || (last && w->kernel[0] * w->kernel[1] == 1 && w->stride[0] * w->stride[1] == 1 &&
                            !(w->pad[0] | w->pad[1] | w->pad[2] | w->pad[3]));
}

spade_corner spade_corner_of(const spade_positions *positions, int64_t position)
{
    const spade_window *w = &positions->desc->window;
    int64_t width = positions->desc->out_width, area = positions->desc->out_height * width;
    return (spade_corner){.image = positions->x + position / area * positions->stride_n,
                          .top = position % area / width * w->stride[0] - w->pad[0],
                          .left = position % width * w->stride[1] - w->pad[1]};
}
