/* cases.c - see the header. */
#include "support/cases.h"

#include <math.h>

int case_count(int usual)
{
    const char *text = getenv("SPADE_TEST_CASES");
    int n = text ? atoi(text) : 0;
    return n > 0 ? n : usual;
}

/* ---- random descriptions */

static spade_shape shape4(int64_t n, int64_t c, int64_t h, int64_t w, spade_layout layout)
{
    return (spade_shape){.rank = 4, .dims = {n, c, h, w}, .layout = layout};
}

static spade_layout draw_layout(random_stream *r)
{
    return random_int(r, 0, 3) ? SPADE_CHANNELS_LAST : SPADE_ROW_MAJOR;
}

/* Output size, rounded down; 0 where the window does not fit. */
static int64_t window_output(const spade_window *w, int axis, int64_t in)
{
    int64_t room = in + w->pad[axis] + w->pad[axis + 2] - (w->kernel[axis] - 1) * w->dilation[axis] - 1;
    return room < 0 ? 0 : room / w->stride[axis] + 1;
}

static spade_window draw_window(random_stream *r, bool dilate, int64_t largest_pad)
{
    spade_window w;
    bool square = random_bool(r);
    for (int i = 0; i < 2; i++) {
        w.kernel[i] = i && square ? w.kernel[0] : random_int(r, 1, 5);
        w.stride[i] = random_int(r, 1, 3);
        w.dilation[i] = dilate && random_int(r, 0, 2) == 0 ? random_int(r, 2, 3) : 1;
    }
    for (int i = 0; i < 4; i++) {
        int64_t limit = largest_pad < 0 ? w.kernel[i % 2] / 2 : largest_pad;
        w.pad[i] = random_int(r, 0, limit);
    }
    return w;
}

static spade_op_desc draw_convolution(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind};
    int64_t style = random_int(r, 0, 3); /* dense twice, grouped, depthwise */
    d.groups = style < 2 ? 1 : style == 2 ? random_int(r, 2, 5) : random_int(r, 2, 40);
    int64_t inputs = style == 3 ? 1 : random_int(r, 1, 20),
            outputs = style == 3 ? random_int(r, 1, 2) : random_int(r, 1, 20);
    int64_t h, w;
    do {
        d.window = draw_window(r, true, random_bool(r) ? 3 : -1);
        h = random_int(r, 0, 5) ? random_int(r, 1, 18) : 1;
        w = random_int(r, 0, 5) ? random_int(r, 1, 18) : 1;
    } while (!window_output(&d.window, 0, h) || !window_output(&d.window, 1, w));
    int64_t n = random_int(r, 1, 4);
    d.a = shape4(n, inputs * d.groups, h, w, draw_layout(r));
    d.y = shape4(n, outputs * d.groups, window_output(&d.window, 0, h), window_output(&d.window, 1, w), draw_layout(r));
    d.relu = kind == SPADE_OP_CONVOLUTION && random_bool(r);
    return d;
}

/* Few channels and strides: what a first layer hands back to the picture. */
static spade_op_desc draw_first_layer(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind, .groups = 1};
    int64_t size[2], out[2];
    for (int i = 0; i < 2; i++) {
        do {
            d.window.stride[i] = random_int(r, 1, 4);
            d.window.kernel[i] = random_int(r, 1, 9);
            d.window.dilation[i] = 1;
            d.window.pad[i] = random_int(r, 0, d.window.kernel[i] + 1);
            d.window.pad[2 + i] = random_int(r, 0, d.window.kernel[i] + 1);
            size[i] = random_int(r, 1, 24);
            out[i] = window_output(&d.window, i, size[i]);
        } while (!out[i]);
    }
    int64_t n = random_int(r, 1, 4), inputs = random_int(r, 1, 4), outputs = random_int(r, 1, 24);
    d.a = shape4(n, inputs, size[0], size[1], draw_layout(r));
    d.y = shape4(n, outputs, out[0], out[1], draw_layout(r));
    return d;
}

static spade_op_desc draw_pool(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind, .pool_max = random_bool(r), .count_padding = random_bool(r)};
    int64_t h, w, p, q;
    do {
        d.window = draw_window(r, d.pool_max, -1);
        h = random_int(r, 1, 18);
        w = random_int(r, 1, 18);
        if (!random_int(r, 0, 4)) { /* global */
            d.window = (spade_window){.kernel = {h, w}, .stride = {1, 1}, .dilation = {1, 1}};
        }
        p = window_output(&d.window, 0, h);
        q = window_output(&d.window, 1, w);
    } while (!p || !q);
    if (d.pool_max) { d.count_padding = false; }
    if (!d.count_padding &&
        random_bool(r)) { /* rounded up: the last window may begin inside and reach beyond the padding */
        p += p * d.window.stride[0] < h + d.window.pad[0] && p * d.window.stride[0] - d.window.pad[0] < h &&
             (h + d.window.pad[0] + d.window.pad[2] - (d.window.kernel[0] - 1) * d.window.dilation[0] - 1) %
                 d.window.stride[0];
    }
    int64_t n = random_int(r, 1, 4), c = random_int(r, 1, 40);
    d.a = shape4(n, c, h, w, draw_layout(r));
    d.y = shape4(n, c, p, q, draw_layout(r));
    return d;
}

/* Rank 1 .. 4 (or at least `min_rank`), small. */
static spade_shape draw_shape(random_stream *r, int min_rank, int64_t largest)
{
    spade_shape s = {.rank = (int)random_int(r, min_rank, 4)};
    for (int i = 0; i < s.rank; i++) { s.dims[i] = random_int(r, 0, 6) ? random_int(r, 1, largest) : 1; }
    if (s.rank == 4) { s.layout = draw_layout(r); }
    return s;
}

static spade_op_desc draw_linear(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind, .a = draw_shape(r, 1, 9)};
    d.a.layout = SPADE_ROW_MAJOR;
    if (!random_int(r, 0, 3)) { d.a.dims[0] *= 40; }
    d.a.dims[d.a.rank - 1] = random_int(r, 1, 150);
    d.y = d.a;
    d.y.dims[d.y.rank - 1] = random_int(r, 1, 600);
    d.relu = kind == SPADE_OP_LINEAR && random_bool(r);
    return d;
}

static spade_op_desc draw_matmul(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind, .transpose_a = random_bool(r), .transpose_b = random_bool(r)};
    spade_shape s = draw_shape(r, 2, 4);
    int64_t m = random_int(r, 1, 150), n = random_int(r, 1, 300), k = random_int(r, 1, 60);
    s.layout = SPADE_ROW_MAJOR;
    d.a = d.b = d.y = s;
    for (int i = 0; i < s.rank - 2; i++) {
        if (!random_int(r, 0, 3)) { d.a.dims[i] = 1; }
        if (!random_int(r, 0, 3)) { d.b.dims[i] = 1; }
        d.y.dims[i] = d.a.dims[i] > d.b.dims[i] ? d.a.dims[i] : d.b.dims[i];
    }
    if (s.rank == 4 && random_bool(r)) { /* an operand without the first axis */
        d.b.rank = 3;
        memmove(d.b.dims, d.b.dims + 1, 3 * sizeof *d.b.dims);
    }
    d.a.dims[d.a.rank - 2] = d.transpose_a ? k : m;
    d.a.dims[d.a.rank - 1] = d.transpose_a ? m : k;
    d.b.dims[d.b.rank - 2] = d.transpose_b ? n : k;
    d.b.dims[d.b.rank - 1] = d.transpose_b ? k : n;
    d.y.dims[s.rank - 2] = m;
    d.y.dims[s.rank - 1] = n;
    if (d.b.rank == 3 && d.y.rank == 4) { d.y.dims[0] = d.a.dims[0]; }
    return d;
}

static spade_op_desc draw_same(random_stream *r, spade_op_kind kind)
{
    bool rank4 = kind == SPADE_OP_CONVERT_LAYOUT;
    spade_op_desc d = {.kind = kind, .a = draw_shape(r, rank4 ? 4 : 1, 40)};
    d.y = d.a;
    d.axis = (int)random_int(r, 0, d.a.rank - 1);
    if (rank4) { d.y.layout = draw_layout(r); }
    return d;
}

/* Over the last axis or several; rows from one element to thousands. */
static spade_op_desc draw_layer_norm(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind,
                       .a = draw_shape(r, 1, 9),
                       .epsilon = random_bool(r) ? 1e-5f : 1e-2f,
                       .root_mean_square = random_bool(r)};
    d.a.layout = SPADE_ROW_MAJOR;
    d.a.dims[d.a.rank - 1] = random_int(r, 0, 3) ? random_int(r, 1, 100) : random_int(r, 1, 3000);
    d.y = d.a;
    d.axis = random_bool(r) ? d.a.rank - 1 : (int)random_int(r, 0, d.a.rank - 1);
    return d;
}

/* An operand that broadcasts to `whole`: some axes 1, leading axes dropped, either layout where the rank stays 4. */
static spade_shape draw_operand(random_stream *r, const spade_shape *whole)
{
    spade_shape s = *whole;
    int drop = random_bool(r) ? 0 : (int)random_int(r, 0, whole->rank);
    for (int i = 0; i < s.rank; i++) {
        if (!random_int(r, 0, 2)) { s.dims[i] = 1; }
    }
    s.rank -= drop;
    memmove(s.dims, s.dims + drop, (size_t)s.rank * sizeof *s.dims);
    s.layout = s.rank == 4 ? draw_layout(r) : SPADE_ROW_MAJOR;
    return s;
}

static spade_op_desc draw_reduction(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind, .a = draw_shape(r, 1, 30)};
    d.y = draw_operand(r, &d.a);
    if (kind == SPADE_OP_REDUCE_SUM && random_bool(r)) { d.divisor = (double)random_int(r, 1, 50); }
    return d;
}

/* Rank 1 to 6, some thousand elements at most: most axes short, two of them longer than a block that is transposed. */
static spade_shape draw_deep_shape(random_stream *r)
{
    spade_shape s = {.rank = (int)random_int(r, 1, 6)};
    for (int i = 0; i < s.rank; i++) { s.dims[i] = random_int(r, 1, 4); }
    s.dims[random_int(r, 0, s.rank - 1)] = random_int(r, 1, 70);
    s.dims[random_int(r, 0, s.rank - 1)] = random_int(r, 1, 40);
    if (s.rank == 4) { s.layout = draw_layout(r); }
    return s;
}

static spade_op_desc draw_permute(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind, .a = draw_deep_shape(r)};
    d.y = d.a;
    for (int k = 0; k < d.a.rank; k++) { d.axes[k] = k; }
    for (int k = d.a.rank - 1; k > 0; k--) {
        const int other = (int)random_int(r, 0, k), axis = d.axes[k];
        d.axes[k] = d.axes[other];
        d.axes[other] = axis;
    }
    for (int k = 0; k < d.a.rank; k++) { d.y.dims[k] = d.a.dims[d.axes[k]]; }
    if (d.y.rank == 4) { d.y.layout = draw_layout(r); }
    return d;
}

static spade_op_desc draw_concat(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind, .y = draw_deep_shape(r)};
    d.a = d.y;
    d.axis = (int)random_int(r, 0, d.y.rank - 1);
    d.a.dims[d.axis] = random_int(r, 1, d.y.dims[d.axis]);
    d.start = random_int(r, 0, d.y.dims[d.axis] - d.a.dims[d.axis]);
    if (d.a.rank == 4) { d.a.layout = draw_layout(r); }
    for (int k = 0; kind == SPADE_OP_CONCAT && k < d.a.rank; k++) {
        if (k != d.axis && !random_int(r, 0, 4)) { d.a.dims[k] = 1; }
    }
    return d;
}

static spade_op_desc draw_axis_map(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind, .a = draw_deep_shape(r)};
    d.y = d.a;
    d.axis = (int)random_int(r, 0, d.a.rank - 1);
    d.y.dims[d.axis] = random_int(r, 1, 30);
    return d;
}

static spade_pointwise_step draw_step(random_stream *r, spade_pointwise_kind kind, spade_shape operand, bool steep)
{
    spade_pointwise_step step = {.kind = kind};
    do {
        step.function = (spade_function)random_int(r, 0, SPADE_FUNCTION_COUNT - 1);
    } while (!steep && reference_functions[step.function].steep);
    step.alpha = reference_functions[step.function].alpha;
    step.beta = reference_functions[step.function].beta;
    if (kind != SPADE_POINTWISE_FUNCTION) { step.operand = operand; }
    if (kind == SPADE_POINTWISE_DIVIDE) { step.alpha = random_bool(r) ? 0 : 0.125f; }
    return step;
}

static spade_op_desc draw_function(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind, .a = draw_shape(r, 1, 40), .step_count = 1};
    d.y = d.a;
    d.steps[0] = draw_step(r, random_bool(r) ? SPADE_POINTWISE_FUNCTION : SPADE_POINTWISE_DERIVATIVE, d.a, true);
    return d;
}

static spade_op_desc draw_secant(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind, .a = draw_shape(r, 1, 40), .step_count = 1};
    d.y = d.a;
    d.steps[0] = draw_step(r, SPADE_POINTWISE_SECANT, d.a, false);
    return d;
}

static spade_op_desc draw_scale_shift(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind, .a = draw_shape(r, 2, 40), .step_count = (int)random_int(r, 1, 2)};
    spade_shape channels = {.rank = d.a.rank - 1, .dims = {d.a.dims[1], 1, 1}};
    d.y = d.a;
    d.steps[0] = draw_step(r, SPADE_POINTWISE_MULTIPLY, channels, true);
    d.steps[1] = draw_step(r, SPADE_POINTWISE_ADD, channels, true);
    return d;
}

/* Any steps; x and the operands whole or broadcast, in the layout of y or another. */
static spade_op_desc draw_pointwise(random_stream *r, spade_op_kind kind)
{
    spade_shape whole = draw_shape(r, 1, 30);
    spade_op_desc d = {.kind = kind, .a = whole, .y = whole};
    d.step_count = (int)random_int(r, 1, SPADE_POINTWISE_STEPS);
    if (random_int(r, 0, 2) == 0) { d.a = draw_operand(r, &whole); }
    for (int s = 0; s < d.step_count; s++) {
        spade_pointwise_kind step = (spade_pointwise_kind)random_int(r, 0, SPADE_POINTWISE_SECANT - 1);
        d.steps[s] = draw_step(r, step, random_bool(r) ? whole : draw_operand(r, &whole), false);
    }
    return d;
}

/* An even number of images along any axis. */
static spade_op_desc draw_swap(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = {.kind = kind, .a = draw_deep_shape(r), .start = random_int(r, 1, 3)};
    d.axis = d.a.layout == SPADE_CHANNELS_LAST ? 0 : (int)random_int(r, 0, d.a.rank - 1);
    d.a.dims[d.axis] = 2 * d.start * random_int(r, 1, 4);
    d.y = d.a;
    return d;
}

static spade_op_desc draw_softmax_pair(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = draw_same(r, kind);
    d.b = d.a;
    return d;
}

static spade_op_desc draw_layer_norm_pair(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = draw_layer_norm(r, kind);
    d.b = d.a;
    return d;
}

static spade_op_desc draw_pool_pair(random_stream *r, spade_op_kind kind)
{
    spade_op_desc d = draw_pool(r, kind);
    d.pool_max = true;
    d.count_padding = false;
    d.last_window = random_bool(r);
    if (d.a.dims[1] > 6) { d.a.dims[1] = d.y.dims[1] = random_int(r, 1, 6); } /* the reference is slow */
    d.b = d.a;
    return d;
}

const case_kind case_kinds[] = {
    {"convolution", SPADE_OP_CONVOLUTION, draw_convolution, 2e-5, 1e-5},
    {"convolution backward", SPADE_OP_CONVOLUTION_BACKWARD, draw_convolution, 2e-5, 1e-5},
    {"linear", SPADE_OP_LINEAR, draw_linear, 2e-5, 1e-5},
    {"linear backward", SPADE_OP_LINEAR_BACKWARD, draw_linear, 2e-5, 1e-5},
    {"matmul", SPADE_OP_MATMUL, draw_matmul, 2e-5, 1e-5},
    {"function, derivative", SPADE_OP_POINTWISE, draw_function, 1e-6, 1e-6},
    {"scale and shift", SPADE_OP_POINTWISE, draw_scale_shift, 1e-6, 1e-6},
    {"pointwise steps", SPADE_OP_POINTWISE, draw_pointwise, 2e-6, 1e-6},
    {"secant", SPADE_OP_POINTWISE, draw_secant, 1e-5, 1e-5},
    {"reduce sum", SPADE_OP_REDUCE_SUM, draw_reduction, 1e-5, 1e-5},
    {"softmax", SPADE_OP_SOFTMAX, draw_same, 1e-7, 2e-6},
    {"softmax backward", SPADE_OP_SOFTMAX_BACKWARD, draw_same, 1e-5, 1e-6},
    {"layer norm", SPADE_OP_LAYER_NORM, draw_layer_norm, 1e-6, 1e-6},
    {"layer norm backward", SPADE_OP_LAYER_NORM_BACKWARD, draw_layer_norm, 1e-6, 1e-6},
    {"pool", SPADE_OP_POOL, draw_pool, 1e-6, 1e-6},
    {"pool backward", SPADE_OP_POOL_BACKWARD, draw_pool, 2e-6, 1e-6},
    {"convert layout", SPADE_OP_CONVERT_LAYOUT, draw_same, 0, 0},
    {"permute", SPADE_OP_PERMUTE, draw_permute, 0, 0},
    {"concat", SPADE_OP_CONCAT, draw_concat, 0, 0},
    {"concat backward", SPADE_OP_CONCAT_BACKWARD, draw_concat, 0, 0},
    {"axis map", SPADE_OP_AXIS_MAP, draw_axis_map, 0, 1e-7},
    {"reduce max", SPADE_OP_REDUCE_MAX, draw_reduction, 0, 0},
    {"reduce max backward", SPADE_OP_REDUCE_MAX_BACKWARD, draw_reduction, 0, 1e-7},
    {"swap images", SPADE_OP_SWAP_IMAGES, draw_swap, 0, 0},
    {"softmax rescale", SPADE_OP_SOFTMAX_RESCALE, draw_softmax_pair, 1e-5, 1e-6},
    {"layer norm rescale", SPADE_OP_LAYER_NORM_RESCALE, draw_layer_norm_pair, 1e-5, 1e-6},
    {"pool rescale", SPADE_OP_POOL_RESCALE, draw_pool_pair, 1e-4, 1e-5},
    {"first layer backward", SPADE_OP_CONVOLUTION_BACKWARD, draw_first_layer, 2e-5, 1e-5},
};
const int case_kind_count = sizeof case_kinds / sizeof *case_kinds;

/* ---- data */

static float *draw_array(random_stream *r, int64_t n, float scale)
{
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; x && i < n; i++) { x[i] = random_float(r) * scale; }
    return x;
}

/* Rows and columns of the weights; 0 where there are none. */
int64_t case_weight_rows(const spade_op_desc *d, int64_t *columns)
{
    *columns = 0;
    if (d->kind == SPADE_OP_CONVOLUTION || d->kind == SPADE_OP_CONVOLUTION_BACKWARD) {
        *columns = d->a.dims[1] / d->groups * d->window.kernel[0] * d->window.kernel[1];
        return d->y.dims[1];
    }
    if (d->kind == SPADE_OP_LINEAR || d->kind == SPADE_OP_LINEAR_BACKWARD) {
        *columns = d->a.dims[d->a.rank - 1];
        return d->y.dims[d->y.rank - 1];
    }
    return 0;
}

/* The corners of the functions are there. */
static float *draw_arguments(random_stream *r, int64_t n)
{
    static const float corners[] = {0, -3, 3, -1.5f, 2, -0.0f};
    float *x = draw_array(r, n, 5);
    for (int64_t i = 0; x && i < n && i < 6; i++) { x[i] = corners[i]; }
    return x;
}

/* Of either sign, well away from 0; some are 0. */
static float *draw_divisors(random_stream *r, int64_t n)
{
    float *x = draw_array(r, n, 1);
    for (int64_t i = 0; x && i < n; i++) { x[i] = i == 3 ? 0 : x[i] < 0 ? x[i] - 0.5f : x[i] + 0.5f; }
    return x;
}

/* Far enough from all of draw_arguments for the slope to be exact in float. */
static float *draw_far_arguments(random_stream *r, int64_t n)
{
    float *x = draw_array(r, n, 1);
    for (int64_t i = 0; x && i < n; i++) { x[i] += 6.5f; }
    return x;
}

/* args.operands: how many, and what shapes. */
static int operand_count(const spade_op_desc *d)
{
    if (d->kind == SPADE_OP_LAYER_NORM_RESCALE) { return 1; } /* the shift makes no difference */
    return d->kind == SPADE_OP_LAYER_NORM || d->kind == SPADE_OP_LAYER_NORM_BACKWARD ? 2 : d->step_count;
}

static spade_shape operand_shape(const spade_op_desc *d, int k)
{
    if (d->kind == SPADE_OP_POINTWISE) { return d->steps[k].operand; }
    return (spade_shape){.rank = 1, .dims = {reference_row_length(d)}};
}

static void draw_operands(random_stream *r, const spade_op_desc *d, case_data *out)
{
    for (int k = 0; d->kind != SPADE_OP_POINTWISE && k < operand_count(d); k++) { /* scale and shift, or not */
        if (random_bool(r)) { out->operands[k] = draw_array(r, reference_row_length(d), 2); }
    }
    for (int s = 0; s < d->step_count; s++) {
        int64_t n = spade_shape_size(&d->steps[s].operand);
        switch (d->steps[s].kind) {
        case SPADE_POINTWISE_ADD: out->operands[s] = draw_array(r, n, 1); break;
        case SPADE_POINTWISE_MULTIPLY: out->operands[s] = draw_array(r, n, 2); break;
        case SPADE_POINTWISE_DERIVATIVE: out->operands[s] = draw_arguments(r, n); break;
        case SPADE_POINTWISE_DIVIDE: out->operands[s] = draw_divisors(r, n); break;
        case SPADE_POINTWISE_SECANT: out->operands[s] = draw_far_arguments(r, n); break;
        default: break;
        }
    }
}

/* Up to 5 entries a row, a column several times among them; with weights or without, filled or not. */
static spade_sparse_rows draw_rows(random_stream *r, const spade_op_desc *d)
{
    const int64_t rows = d->y.dims[d->axis], columns = d->a.dims[d->axis], most = random_bool(r) ? 1 : 5;
    int32_t *offsets = malloc((size_t)(rows + 1) * sizeof *offsets);
    int32_t *indices = calloc((size_t)(rows * most + 1), sizeof *indices);
    spade_sparse_rows m = {.offsets = offsets, .indices = indices};
    for (int64_t j = 0; offsets && indices && j <= rows; j++) {
        offsets[j] = j ? offsets[j - 1] + (int32_t)random_int(r, 0, most) : 0;
        for (int32_t k = j ? offsets[j - 1] : 0; k < offsets[j]; k++) {
            indices[k] = (int32_t)random_int(r, 0, columns - 1);
        }
    }
    if (random_bool(r)) { m.weights = draw_array(r, rows * most + 1, 1); }
    if (random_bool(r)) { m.fill = draw_array(r, rows, 1); }
    return m;
}

/* Numbers of which many are equal; y is the largest ones. */
static void draw_maxima(const spade_op_desc *d, case_data *out)
{
    const int64_t n = spade_shape_size(&d->a), results = spade_shape_size(&d->y);
    spade_op_desc forward = *d;
    const reference_args args = {.a = out->a};
    double *largest = malloc((size_t)results * sizeof *largest);
    forward.kind = SPADE_OP_REDUCE_MAX;
    for (int64_t i = 0; i < n; i++) { out->a[i] = roundf(out->a[i] * 4) / 4; }
    if (largest) { reference_run(&forward, &args, largest); }
    for (int64_t i = 0; largest && out->y && i < results; i++) { out->y[i] = (float)largest[i]; }
    free(largest);
}

void case_data_draw(random_stream *r, const spade_op_desc *d, case_data *out)
{
    int64_t columns, rows = case_weight_rows(d, &columns), n = spade_shape_size(&d->a);
    *out = (case_data){0};
    out->a = d->kind == SPADE_OP_POINTWISE ? draw_arguments(r, n) : draw_array(r, n, 1);
    draw_operands(r, d, out);
    if (rows) {
        out->weights = draw_array(r, rows * columns, 1);
        if (random_bool(r)) { out->row_scale = draw_array(r, rows, 2); }
        if (random_bool(r)) { out->bias = draw_array(r, rows, 1); }
    } else {
        out->b = draw_array(r, spade_shape_size(&d->b), 1);
    }
    if (reference_is_backward(d) || d->kind == SPADE_OP_CONCAT) {
        out->dy = draw_array(r, spade_shape_size(&d->y), 1);
        out->y = draw_array(r, spade_shape_size(&d->y), 1);
    }
    if (d->kind == SPADE_OP_AXIS_MAP) { out->rows = draw_rows(r, d); }
    if (d->kind == SPADE_OP_REDUCE_MAX || d->kind == SPADE_OP_REDUCE_MAX_BACKWARD) { draw_maxima(d, out); }
}

void case_data_clear(case_data *data)
{
    float *all[] = {data->a, data->b, data->bias, data->weights, data->row_scale, data->y, data->dy};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) { free(all[i]); }
    for (int s = 0; s < SPADE_POINTWISE_STEPS; s++) { free(data->operands[s]); }
    const void *rows[] = {data->rows.offsets, data->rows.indices, data->rows.weights, data->rows.fill};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) { free((void *)(uintptr_t)rows[i]); }
    *data = (case_data){0};
}

reference_args case_reference(const case_data *d)
{
    reference_args args = {d->a, d->b, d->bias, d->weights, d->row_scale, d->y, d->dy, {0}, d->rows};
    for (int s = 0; s < SPADE_POINTWISE_STEPS; s++) { args.operands[s] = d->operands[s]; }
    return args;
}

/* ---- one run */

enum { MAX_BUFFERS = 16 + SPADE_POINTWISE_STEPS };

/* Device memory of one run. */
typedef struct buffers {
    spade_device *device;
    int count;
    void *pointers[MAX_BUFFERS];
    size_t sizes[MAX_BUFFERS];
} buffers;

static spade_status take(buffers *all, size_t bytes, void **out)
{
    SPADE_TRY(all->device->backend->alloc(all->device, bytes, "a test", out));
    all->pointers[all->count] = *out;
    all->sizes[all->count++] = bytes;
    return SPADE_OK;
}

/* Upload a row-major host tensor in the shape's layout. NULL stays NULL. */
static spade_status put(buffers *all, const spade_shape *shape, const float *host, void **out)
{
    size_t bytes = (size_t)spade_shape_size(shape) * sizeof(float);
    *out = NULL;
    if (!host) { return SPADE_OK; }
    float *ordered = malloc(bytes);
    if (!ordered) { return SPADE_ERROR_MEMORY; }
    for (int64_t i = 0; i < spade_shape_size(shape); i++) { ordered[reference_position(shape, i)] = host[i]; }
    spade_status status;
    SPADE_GOTO(take(all, bytes, out));
    SPADE_GOTO(all->device->backend->upload(all->device, *out, ordered, bytes));
    SPADE_GOTO(all->device->backend->synchronize(all->device));
done:
    free(ordered);
    return status;
}

static spade_status get(buffers *all, const spade_shape *shape, const void *from, float *host)
{
    size_t bytes = (size_t)spade_shape_size(shape) * sizeof(float);
    float *ordered = malloc(bytes);
    if (!ordered) { return SPADE_ERROR_MEMORY; }
    spade_status status;
    SPADE_GOTO(all->device->backend->download(all->device, ordered, from, bytes));
    SPADE_GOTO(all->device->backend->synchronize(all->device));
    for (int64_t i = 0; i < spade_shape_size(shape); i++) { host[i] = ordered[reference_position(shape, i)]; }
done:
    free(ordered);
    return status;
}

/* Numbers of 4 bytes. NULL stays NULL. */
static spade_status put_numbers(buffers *all, int64_t count, const void *host, void **out)
{
    const size_t bytes = (size_t)count * 4;
    *out = NULL;
    if (!host) { return SPADE_OK; }
    SPADE_TRY(take(all, bytes, out));
    SPADE_TRY(all->device->backend->upload(all->device, *out, host, bytes));
    return all->device->backend->synchronize(all->device);
}

static spade_status put_rows(buffers *all, const spade_op_desc *desc, const spade_sparse_rows *m,
                             spade_sparse_rows *out)
{
    const int64_t rows = desc->y.dims[desc->axis];
    if (!m->offsets) { return SPADE_OK; }
    SPADE_TRY(put_numbers(all, rows + 1, m->offsets, (void **)&out->offsets));
    SPADE_TRY(put_numbers(all, m->offsets[rows] + 1, m->indices, (void **)&out->indices)); /* never none */
    SPADE_TRY(put_numbers(all, m->offsets[rows] + 1, m->weights, (void **)&out->weights));
    return put_numbers(all, rows, m->fill, (void **)&out->fill);
}

static spade_status put_weights(buffers *all, const spade_op_desc *desc, const case_data *data, void **weights,
                                void **scale)
{
    int64_t columns, rows = case_weight_rows(desc, &columns);
    const spade_shape matrix = {.rank = 2, .dims = {rows, columns}}, vector = {.rank = 1, .dims = {rows}};
    SPADE_TRY(put(all, &matrix, data->weights, weights));
    return put(all, &vector, data->row_scale, scale);
}

/* Plan desc, run it with args (workspace and packed weights are made here), free the plan. */
static spade_status plan_and_run(buffers *all, const spade_op_desc *desc, const case_data *data, spade_op_args *args)
{
    const spade_backend *backend = all->device->backend;
    spade_op *op = NULL;
    void *packed = NULL, *weights, *scale;
    spade_status status;
    SPADE_GOTO(backend->plan(all->device, desc, &op));
    SPADE_GOTO(take(all, backend->workspace_bytes(op), &args->workspace));
    if (data->weights) {
        SPADE_GOTO(take(all, backend->packed_bytes(op), &packed));
        SPADE_GOTO(put_weights(all, desc, data, &weights, &scale));
        SPADE_GOTO(backend->pack(op, weights, scale, packed));
    }
    if (backend->saved_bytes(op) && !args->saved) { SPADE_GOTO(take(all, backend->saved_bytes(op), &args->saved)); }
    args->packed = packed;
    SPADE_GOTO(backend->run(op, args));
    SPADE_GOTO(backend->synchronize(all->device));
done:
    backend->destroy(op);
    return status;
}

/* Max pooling's backward reads what its forward saved. */
static spade_status run_forward_first(buffers *all, const spade_op_desc *desc, const case_data *data,
                                      spade_op_args *args)
{
    spade_op_desc forward = *desc;
    spade_op_args forward_args = {.a = args->a};
    forward.kind = SPADE_OP_POOL;
    SPADE_TRY(take(all, (size_t)spade_shape_size(&desc->y) * sizeof(float), (void **)&forward_args.out));
    SPADE_TRY(plan_and_run(all, &forward, data, &forward_args));
    args->saved = forward_args.saved;
    return SPADE_OK;
}

/* over: the result's memory is that of x (0) or of the operand of step over - 1; below 0: its own. */
static spade_status run_over(spade_device *device, const spade_op_desc *desc, const case_data *data, int over,
                             float *out)
{
    const spade_shape *result = reference_is_backward(desc) ? &desc->a : &desc->y;
    int64_t columns, rows = case_weight_rows(desc, &columns);
    spade_shape vector = {.rank = 1, .dims = {rows}};
    buffers all = {.device = device};
    spade_op_args args = {0};
    void *unwritten;
    spade_status status;
    for (int64_t i = 0; i < reference_size(desc); i++) { out[i] = desc->kind == SPADE_OP_CONCAT ? data->y[i] : NAN; }
    SPADE_GOTO(put(&all, &desc->a, data->a, (void **)&args.a));
    SPADE_GOTO(put(&all, &desc->b, data->b, (void **)&args.b));
    SPADE_GOTO(put(&all, &vector, data->bias, (void **)&args.bias));
    SPADE_GOTO(put(&all, &desc->y, data->y, (void **)&args.y));
    SPADE_GOTO(put(&all, &desc->y, data->dy, (void **)&args.dy));
    for (int k = 0; k < operand_count(desc); k++) {
        const spade_shape operand = operand_shape(desc, k);
        SPADE_GOTO(put(&all, &operand, data->operands[k], (void **)&args.operands[k]));
    }
    SPADE_GOTO(put_rows(&all, desc, &data->rows, &args.rows));
    SPADE_GOTO(put(&all, result, out, &unwritten));
    const void *shared = over > 0 ? args.operands[over - 1] : args.a;
    args.out = over < 0 ? unwritten : (float *)(uintptr_t)shared;
    if (desc->kind == SPADE_OP_POOL_BACKWARD && desc->pool_max) {
        SPADE_GOTO(run_forward_first(&all, desc, data, &args));
    }
    SPADE_GOTO(plan_and_run(&all, desc, data, &args));
    SPADE_GOTO(get(&all, result, args.out, out));
done:
    for (int i = 0; i < all.count; i++) { device->backend->free(device, all.pointers[i], all.sizes[i]); }
    return status;
}

spade_status case_run(spade_device *device, const spade_op_desc *desc, const case_data *data, float *out)
{
    return run_over(device, desc, data, -1, out);
}

spade_status case_run_in_place(spade_device *device, const spade_op_desc *desc, const case_data *data, int over,
                               float *out)
{
    return run_over(device, desc, data, over, out);
}
