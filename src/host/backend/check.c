/* check.c - sizes of shapes; what every backend asks of a description before it plans it; and the description in words.
 */
#include "backend/check.h"

int64_t spade_shape_size(const spade_shape *shape)
{
    int64_t n = 1;
    for (int i = 0; i < shape->rank; i++) { n *= shape->dims[i]; }
    return n;
}

/* ---- do the shapes belong together */

static bool valid_shape(const spade_shape *shape)
{
    int64_t size;
    if (shape->rank < 0 || shape->rank > SPADE_MAX_RANK) { return false; }
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dims[i] < 1 || shape->dims[i] > INT32_MAX) { return false; }
    }
    if (shape->layout == SPADE_CHANNELS_LAST && shape->rank != 4) { return false; }
    return spade_mul_dims(shape->dims, shape->rank, &size) && size <= INT64_MAX / 8;
}

static bool same_dims(const spade_shape *a, const spade_shape *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

static bool fits_same(const spade_op_desc *d)
{
    return same_dims(&d->a, &d->y) && d->a.layout == d->y.layout;
}
static bool fits_convert(const spade_op_desc *d)
{
    return d->a.rank == 4 && same_dims(&d->a, &d->y);
}
static bool fits_softmax(const spade_op_desc *d)
{
    return fits_same(d) && d->axis >= 0 && d->axis < d->a.rank;
}
static bool fits_layer_norm(const spade_op_desc *d)
{
    return fits_softmax(d) && d->a.layout == SPADE_ROW_MAJOR && d->epsilon >= 0;
}

/* Output positions along one axis: padded input over stride, rounded down, or up to one more where `up`. */
static bool fits_window(const spade_op_desc *d, int axis, bool up)
{
    const spade_window *w = &d->window;
    if (w->kernel[axis] < 1 || w->stride[axis] < 1 || w->dilation[axis] < 1 || w->pad[axis] < 0 ||
        w->pad[axis + 2] < 0 || w->kernel[axis] > INT32_MAX || w->stride[axis] > INT32_MAX ||
        w->dilation[axis] > INT32_MAX || w->pad[axis] > INT32_MAX || w->pad[axis + 2] > INT32_MAX) {
        return false;
    }
    int64_t in = d->a.dims[2 + axis], out = d->y.dims[2 + axis];
    int64_t room = in + w->pad[axis] + w->pad[axis + 2] - (w->kernel[axis] - 1) * w->dilation[axis] - 1;
    if (room < 0) { return up && out == 1; }
    bool begins_inside = (out - 1) * w->stride[axis] < in + w->pad[axis];
    return out == room / w->stride[axis] + 1 || (up && out == room / w->stride[axis] + 2 && begins_inside);
}

static bool fits_convolution(const spade_op_desc *d)
{
    return d->a.rank == 4 && d->y.rank == 4 && d->a.dims[0] == d->y.dims[0] && d->groups >= 1 &&
           d->a.dims[1] % d->groups == 0 && d->y.dims[1] % d->groups == 0 && fits_window(d, 0, false) &&
           fits_window(d, 1, false);
}

static bool fits_pool(const spade_op_desc *d)
{
    return d->a.rank == 4 && d->y.rank == 4 && d->a.dims[0] == d->y.dims[0] && d->a.dims[1] == d->y.dims[1] &&
           fits_window(d, 0, true) && fits_window(d, 1, true);
}

static bool fits_linear(const spade_op_desc *d)
{
    return d->a.rank >= 1 && d->a.rank == d->y.rank && d->a.layout == SPADE_ROW_MAJOR &&
           d->y.layout == SPADE_ROW_MAJOR &&
           memcmp(d->a.dims, d->y.dims, (size_t)(d->a.rank - 1) * sizeof *d->a.dims) == 0;
}

/* Does `operand`, aligned at the last axis, broadcast to `whole`: equal or 1, leading `skip` axes from the end ignored?
 */
static bool broadcasts(const spade_shape *operand, const spade_shape *whole, int skip)
{
    if (operand->rank > whole->rank) { return false; }
    for (int i = skip + 1; i <= operand->rank; i++) {
        int64_t n = operand->dims[operand->rank - i];
        if (n != 1 && n != whole->dims[whole->rank - i]) { return false; }
    }
    return true;
}

static bool fits_matmul(const spade_op_desc *d)
{
    const spade_shape *a = &d->a, *b = &d->b, *y = &d->y;
    if (a->rank < 2 || b->rank < 2 || y->rank < 2 || a->layout || b->layout || y->layout) { return false; }
    int64_t m = a->dims[a->rank - (d->transpose_a ? 1 : 2)], k = a->dims[a->rank - (d->transpose_a ? 2 : 1)];
    int64_t n = b->dims[b->rank - (d->transpose_b ? 2 : 1)], also_k = b->dims[b->rank - (d->transpose_b ? 1 : 2)];
    return k == also_k && m == y->dims[y->rank - 2] && n == y->dims[y->rank - 1] && broadcasts(a, y, 2) &&
           broadcasts(b, y, 2);
}

static bool fits_pointwise(const spade_op_desc *d)
{
    if (d->step_count < 1 || d->step_count > SPADE_POINTWISE_STEPS || !broadcasts(&d->a, &d->y, 0)) { return false; }
    for (int s = 0; s < d->step_count; s++) {
        const spade_pointwise_step *step = &d->steps[s];
        if ((unsigned)step->kind >= SPADE_POINTWISE_KIND_COUNT || (unsigned)step->function >= SPADE_FUNCTION_COUNT) {
            return false;
        }
        if (step->kind == SPADE_POINTWISE_FUNCTION) { continue; }
        if (!valid_shape(&step->operand) || !broadcasts(&step->operand, &d->y, 0)) { return false; }
    }
    return true;
}

static bool fits_reduce(const spade_op_desc *d)
{
    return broadcasts(&d->y, &d->a, 0);
}

static bool fits_permute(const spade_op_desc *d)
{
    unsigned seen = 0; /* a bit an axis */
    if (d->a.rank != d->y.rank) { return false; }
    for (int k = 0; k < d->y.rank; k++) {
        const int axis = d->axes[k];
        if (axis < 0 || axis >= d->a.rank || d->y.dims[k] != d->a.dims[axis]) { return false; }
        seen |= 1u << axis;
    }
    return seen == (1u << d->a.rank) - 1;
}

static bool fits_axis(const spade_op_desc *d)
{
    return d->a.rank == d->y.rank && d->axis >= 0 && d->axis < d->a.rank;
}

/* a lies in y, from `start` on along the axis. */
static bool fits_concat_backward(const spade_op_desc *d)
{
    if (!fits_axis(d) || d->start < 0 || d->start > d->y.dims[d->axis] - d->a.dims[d->axis]) { return false; }
    for (int i = 0; i < d->a.rank; i++) {
        if (i != d->axis && d->a.dims[i] != d->y.dims[i]) { return false; }
    }
    return true;
}

/* Likewise, where a may be repeated. */
static bool fits_concat(const spade_op_desc *d)
{
    if (!fits_axis(d)) { return false; }
    spade_op_desc part = *d;
    part.a = d->y;
    part.a.dims[d->axis] = d->a.dims[d->axis];
    return fits_concat_backward(&part) && broadcasts(&d->a, &part.a, 0);
}

static bool fits_axis_map(const spade_op_desc *d)
{
    if (!fits_axis(d) || d->a.layout != d->y.layout) { return false; }
    for (int i = 0; i < d->a.rank; i++) {
        if (i != d->axis && d->a.dims[i] != d->y.dims[i]) { return false; }
    }
    return true;
}

/* Pairs of images along the axis. In memory an image is in one piece where the axis is the first one. */
static bool fits_swap(const spade_op_desc *d)
{
    return fits_same(d) && d->axis >= 0 && d->axis < d->a.rank && (d->axis == 0 || d->a.layout == SPADE_ROW_MAJOR) &&
           d->start >= 1 && d->start <= d->a.dims[d->axis] / 2 && d->a.dims[d->axis] % (2 * d->start) == 0;
}

static bool has_partner(const spade_op_desc *d)
{
    return same_dims(&d->a, &d->b) && d->a.layout == d->b.layout;
}
static bool fits_softmax_pair(const spade_op_desc *d)
{
    return fits_softmax(d) && has_partner(d);
}
static bool fits_layer_norm_pair(const spade_op_desc *d)
{
    return fits_layer_norm(d) && has_partner(d);
}
static bool fits_pool_pair(const spade_op_desc *d)
{
    return d->pool_max && fits_pool(d) && has_partner(d);
}

/* ---- by kind */

static const struct {
    const char *name;
    bool (*fits)(const spade_op_desc *desc);
} kinds[SPADE_OP_KIND_COUNT] = {
#define CHECK(kind, name, entry, fits) [kind] = {name, fits},
    SPADE_OPS(CHECK)
#undef CHECK
};

const char *spade_function_name(spade_function function)
{
    switch (function) {
#define NAME(id, name, f, derivative, loop)                                                                            \
    case id: return name;
        SPADE_FUNCTIONS(NAME)
#undef NAME
    case SPADE_FUNCTION_COUNT: break;
    }
    return "?";
}

const char *spade_op_kind_name(spade_op_kind kind)
{
    return (unsigned)kind < SPADE_OP_KIND_COUNT ? kinds[kind].name : "?";
}

static size_t print_shape(const spade_shape *shape, char *buffer, size_t size)
{
    size_t used = (size_t)snprintf(buffer, size, "[");
    for (int i = 0; i < shape->rank && i < SPADE_MAX_RANK && used < size; i++) {
        used += (size_t)snprintf(buffer + used, size - used, i ? ", %lld" : "%lld", (long long)shape->dims[i]);
    }
    if (used < size) { used += (size_t)snprintf(buffer + used, size - used, "]"); }
    return used < size ? used : size - 1;
}

char *spade_op_describe(const spade_op_desc *d, char *buffer, size_t size)
{
    size_t used = (size_t)snprintf(buffer, size, "%s ", spade_op_kind_name(d->kind));
    used += print_shape(&d->a, buffer + used, size - used);
    if (d->kind == SPADE_OP_MATMUL) {
        used += (size_t)snprintf(buffer + used, size - used, ", ");
        if (used < size) { used += print_shape(&d->b, buffer + used, size - used); }
    }
    for (int s = 0; d->kind == SPADE_OP_POINTWISE && s < d->step_count && s < SPADE_POINTWISE_STEPS; s++) {
        if (d->steps[s].kind == SPADE_POINTWISE_FUNCTION || used >= size) { continue; }
        used += (size_t)snprintf(buffer + used, size - used, ", ");
        if (used < size) { used += print_shape(&d->steps[s].operand, buffer + used, size - used); }
    }
    if (used < size) { used += (size_t)snprintf(buffer + used, size - used, " -> "); }
    if (used < size) { print_shape(&d->y, buffer + used, size - used); }
    return buffer;
}

spade_status spade_op_check(spade_context *context, const spade_op_desc *desc)
{
    char text[256];
    if ((unsigned)desc->kind >= SPADE_OP_KIND_COUNT) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "there is no operation of kind %d", (int)desc->kind);
    }
    if (!valid_shape(&desc->a) || !valid_shape(&desc->b) || !valid_shape(&desc->y) || !kinds[desc->kind].fits(desc)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: the shapes do not belong together",
                          spade_op_describe(desc, text, sizeof text));
    }
    return SPADE_OK;
}

bool spade_op_is_global_average(const spade_op_desc *desc)
{
    const spade_window *w = &desc->window;
    bool padded = w->pad[0] || w->pad[1] || w->pad[2] || w->pad[3];
    return !desc->pool_max && !padded && w->kernel[0] == desc->a.dims[2] && w->kernel[1] == desc->a.dims[3] &&
           w->dilation[0] == 1 && w->dilation[1] == 1 && desc->y.dims[2] == 1 && desc->y.dims[3] == 1;
}
