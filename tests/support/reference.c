/* reference.c - see the header. */
#include "support/reference.h"

#include <math.h>

bool reference_is_backward(const spade_op_desc *d)
{
    return d->kind == SPADE_OP_CONVOLUTION_BACKWARD || d->kind == SPADE_OP_LINEAR_BACKWARD ||
           d->kind == SPADE_OP_SOFTMAX_BACKWARD || d->kind == SPADE_OP_LAYER_NORM_BACKWARD ||
           d->kind == SPADE_OP_POOL_BACKWARD || d->kind == SPADE_OP_CONCAT_BACKWARD ||
           d->kind == SPADE_OP_REDUCE_MAX_BACKWARD || reference_is_pair(d);
}

bool reference_is_pair(const spade_op_desc *d)
{
    return d->kind == SPADE_OP_SOFTMAX_RESCALE || d->kind == SPADE_OP_LAYER_NORM_RESCALE ||
           d->kind == SPADE_OP_POOL_RESCALE;
}

int64_t reference_size(const spade_op_desc *d)
{
    return spade_shape_size(reference_is_backward(d) ? &d->a : &d->y);
}

int64_t reference_position(const spade_shape *shape, int64_t index)
{
    if (shape->layout == SPADE_ROW_MAJOR) { return index; }
    int64_t channels = shape->dims[1], plane = shape->dims[2] * shape->dims[3];
    int64_t n = index / (channels * plane), c = index / plane % channels, position = index % plane;
    return (n * plane + position) * channels + c;
}

static double scale_of(const reference_args *args, int64_t row)
{
    return args->row_scale ? args->row_scale[row] : 1;
}

/* ---- sliding windows: every (output element, window position inside the image) */

typedef struct visit {
    int64_t n, p, q;     /* output position */
    int64_t row, column; /* in the window */
    int64_t h, w;        /* in the image */
} visit;

/* Does the window position of v hit the image? Fills in h and w. */
static bool inside(const spade_op_desc *d, visit *v)
{
    const spade_window *s = &d->window;
    v->h = v->p * s->stride[0] - s->pad[0] + v->row * s->dilation[0];
    v->w = v->q * s->stride[1] - s->pad[1] + v->column * s->dilation[1];
    return v->h >= 0 && v->h < d->a.dims[2] && v->w >= 0 && v->w < d->a.dims[3];
}

static int64_t x_at(const spade_op_desc *d, const visit *v, int64_t channel)
{
    return ((v->n * d->a.dims[1] + channel) * d->a.dims[2] + v->h) * d->a.dims[3] + v->w;
}

static int64_t y_at(const spade_op_desc *d, const visit *v, int64_t channel)
{
    return ((v->n * d->y.dims[1] + channel) * d->y.dims[2] + v->p) * d->y.dims[3] + v->q;
}

/* All (output channel, input channel) pairs of one window position. backward: out += dy * w, else out += x * w. */
static void convolve_at(const spade_op_desc *d, const reference_args *args, const visit *v, double *out)
{
    int64_t inputs = d->a.dims[1] / d->groups, outputs = d->y.dims[1] / d->groups, kh = d->window.kernel[0];
    int64_t kw = d->window.kernel[1];
    for (int64_t o = 0; o < d->y.dims[1]; o++) {
        for (int64_t i = 0; i < inputs; i++) {
            int64_t channel = o / outputs * inputs + i;
            double weight = args->weights[((o * inputs + i) * kh + v->row) * kw + v->column] * scale_of(args, o);
            if (d->kind == SPADE_OP_CONVOLUTION) {
                out[y_at(d, v, o)] += args->a[x_at(d, v, channel)] * weight;
            } else {
                out[x_at(d, v, channel)] += args->dy[y_at(d, v, o)] * weight;
            }
        }
    }
}

static void add_bias_and_relu(const spade_op_desc *d, const reference_args *args, int64_t rows, int64_t inner,
                              double *out)
{
    for (int64_t i = 0; i < spade_shape_size(&d->y); i++) {
        if (args->bias) { out[i] += args->bias[i / inner % rows]; }
        if (d->relu && out[i] < 0) { out[i] = 0; }
    }
}

static void run_convolution(const spade_op_desc *d, const reference_args *args, double *out)
{
    visit v;
    for (v.n = 0; v.n < d->y.dims[0]; v.n++) {
        for (v.p = 0; v.p < d->y.dims[2]; v.p++) {
            for (v.q = 0; v.q < d->y.dims[3]; v.q++) {
                for (v.row = 0; v.row < d->window.kernel[0]; v.row++) {
                    for (v.column = 0; v.column < d->window.kernel[1]; v.column++) {
                        if (inside(d, &v)) { convolve_at(d, args, &v, out); }
                    }
                }
            }
        }
    }
    if (d->kind == SPADE_OP_CONVOLUTION) { add_bias_and_relu(d, args, d->y.dims[1], d->y.dims[2] * d->y.dims[3], out); }
}

/* One output element of a pooling: its value, or its share of the gradient. */
static void pool_at(const spade_op_desc *d, const reference_args *args, visit v, int64_t channel, double *out)
{
    double largest = -INFINITY, sum = 0;
    int64_t count = 0, where = -1;
    bool backward = d->kind == SPADE_OP_POOL_BACKWARD;
    for (v.row = 0; v.row < d->window.kernel[0]; v.row++) {
        for (v.column = 0; v.column < d->window.kernel[1]; v.column++) {
            if (!inside(d, &v)) { continue; }
            double x = args->a[x_at(d, &v, channel)];
            if (x > largest) { largest = x, where = x_at(d, &v, channel); }
            sum += x, count++;
        }
    }
    if (d->count_padding) { count = d->window.kernel[0] * d->window.kernel[1]; }
    if (!backward) {
        out[y_at(d, &v, channel)] = d->pool_max ? largest : sum / (double)count;
        return;
    }
    double dy = args->dy[y_at(d, &v, channel)];
    if (d->pool_max) { out[where] += dy; }
    for (v.row = 0; !d->pool_max && v.row < d->window.kernel[0]; v.row++) {
        for (v.column = 0; v.column < d->window.kernel[1]; v.column++) {
            if (inside(d, &v)) { out[x_at(d, &v, channel)] += dy / (double)count; }
        }
    }
}

static void run_pool(const spade_op_desc *d, const reference_args *args, double *out)
{
    visit v = {0};
    for (v.n = 0; v.n < d->y.dims[0]; v.n++) {
        for (int64_t c = 0; c < d->y.dims[1]; c++) {
            for (v.p = 0; v.p < d->y.dims[2]; v.p++) {
                for (v.q = 0; v.q < d->y.dims[3]; v.q++) { pool_at(d, args, v, c, out); }
            }
        }
    }
}

/* ---- matrices */

static void run_linear(const spade_op_desc *d, const reference_args *args, double *out)
{
    int64_t columns = d->a.dims[d->a.rank - 1], rows = d->y.dims[d->y.rank - 1], m = spade_shape_size(&d->a) / columns;
    for (int64_t i = 0; i < m; i++) {
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t c = 0; c < columns; c++) {
                double weight = args->weights[r * columns + c] * scale_of(args, r);
                if (d->kind == SPADE_OP_LINEAR) {
                    out[i * rows + r] += args->a[i * columns + c] * weight;
                } else {
                    out[i * columns + c] += args->dy[i * rows + r] * weight;
                }
            }
        }
    }
    if (d->kind == SPADE_OP_LINEAR) { add_bias_and_relu(d, args, rows, 1, out); }
}

/* The element of a smaller operand that goes with element `index` of `whole`: aligned at the last axis, 1 is repeated.
 */
static int64_t broadcast_index(const spade_shape *whole, const spade_shape *operand, int64_t index)
{
    int64_t result = 0, stride = 1;
    for (int i = 1; i <= operand->rank; i++) {
        int64_t n = operand->dims[operand->rank - i], coordinate = index % whole->dims[whole->rank - i];
        index /= whole->dims[whole->rank - i];
        result += n == 1 ? 0 : coordinate * stride;
        stride *= n;
    }
    return result;
}

/* The batch axes of an operand of a matrix product. */
static spade_shape leading(const spade_shape *shape)
{
    spade_shape s = *shape;
    s.rank -= 2;
    return s;
}

static void run_matmul(const spade_op_desc *d, const reference_args *args, double *out)
{
    spade_shape batches = leading(&d->y), of_a = leading(&d->a), of_b = leading(&d->b);
    int64_t m = d->y.dims[d->y.rank - 2], n = d->y.dims[d->y.rank - 1],
            k = d->a.dims[d->a.rank - (d->transpose_a ? 2 : 1)];
    for (int64_t batch = 0; batch < spade_shape_size(&batches); batch++) {
        const float *a = args->a + broadcast_index(&batches, &of_a, batch) * m * k;
        const float *b = args->b + broadcast_index(&batches, &of_b, batch) * k * n;
        for (int64_t i = 0; i < m; i++) {
            for (int64_t j = 0; j < n; j++) {
                double sum = 0;
                for (int64_t l = 0; l < k; l++) {
                    sum +=
                        (double)a[d->transpose_a ? l * m + i : i * k + l] * b[d->transpose_b ? j * k + l : l * n + j];
                }
                out[(batch * m + i) * n + j] = sum;
            }
        }
    }
}

/* ---- elements */

static double combine(const spade_pointwise_step *step, const reference_function *f, double v, double operand)
{
    const double alpha = step->alpha, beta = step->beta;
    switch (step->kind) {
    case SPADE_POINTWISE_ADD: return v + operand;
    case SPADE_POINTWISE_MULTIPLY: return v * operand;
    case SPADE_POINTWISE_DERIVATIVE: return v * f->derivative(operand, alpha, beta);
    case SPADE_POINTWISE_DIVIDE: return operand == 0 && alpha == 0 ? 0 : v / (operand + copysign(alpha, operand + 0.0));
    case SPADE_POINTWISE_SECANT:
        return operand == v ? f->derivative(v, alpha, beta)
                            : (f->value(operand, alpha, beta) - f->value(v, alpha, beta)) / (operand - v);
    default: return NAN;
    }
}

static void run_pointwise(const spade_op_desc *d, const reference_args *args, double *out)
{
    for (int64_t i = 0; i < spade_shape_size(&d->y); i++) {
        double v = args->a[broadcast_index(&d->y, &d->a, i)];
        for (int s = 0; s < d->step_count; s++) {
            const spade_pointwise_step *step = &d->steps[s];
            const reference_function *f = &reference_functions[step->function];
            if (step->kind == SPADE_POINTWISE_FUNCTION) {
                v = f->value(v, step->alpha, step->beta);
                continue;
            }
            double operand = args->operands[s][broadcast_index(&d->y, &step->operand, i)];
            v = combine(step, f, v, operand);
        }
        out[i] = v;
    }
}

static void run_convert(const spade_op_desc *d, const reference_args *args, double *out)
{
    for (int64_t i = 0; i < spade_shape_size(&d->y); i++) { out[i] = args->a[i]; }
}

static void run_reduce_sum(const spade_op_desc *d, const reference_args *args, double *out)
{
    for (int64_t i = 0; i < spade_shape_size(&d->a); i++) { out[broadcast_index(&d->a, &d->y, i)] += args->a[i]; }
    for (int64_t i = 0; d->divisor != 0 && i < spade_shape_size(&d->y); i++) { out[i] /= d->divisor; }
}

/* Backward: y is given, it need not be the maximum. */
static void run_reduce_max(const spade_op_desc *d, const reference_args *args, double *out)
{
    const int64_t n = spade_shape_size(&d->a);
    if (d->kind == SPADE_OP_REDUCE_MAX) {
        for (int64_t i = 0; i < spade_shape_size(&d->y); i++) { out[i] = -INFINITY; }
        for (int64_t i = 0; i < n; i++) {
            double *largest = &out[broadcast_index(&d->a, &d->y, i)];
            *largest = fmax(*largest, args->a[i]);
        }
        return;
    }
    double *equals = calloc((size_t)spade_shape_size(&d->y), sizeof *equals);
    for (int64_t i = 0; equals && i < n; i++) {
        const int64_t result = broadcast_index(&d->a, &d->y, i);
        equals[result] += args->a[i] == args->y[result];
    }
    for (int64_t i = 0; equals && i < n; i++) {
        const int64_t result = broadcast_index(&d->a, &d->y, i);
        if (args->a[i] == args->y[result]) { out[i] = args->dy[result] / equals[result]; }
    }
    free(equals);
}

/* ---- axes */

/* Coordinates of element `index` of a row-major tensor, and back. */
static void coordinates_of(const spade_shape *shape, int64_t index, int64_t at[SPADE_MAX_RANK])
{
    for (int i = shape->rank - 1; i >= 0; i--) {
        at[i] = index % shape->dims[i];
        index /= shape->dims[i];
    }
}

static int64_t index_of(const spade_shape *shape, const int64_t at[SPADE_MAX_RANK])
{
    int64_t index = 0;
    for (int i = 0; i < shape->rank; i++) { index = index * shape->dims[i] + at[i]; }
    return index;
}

static void run_permute(const spade_op_desc *d, const reference_args *args, double *out)
{
    for (int64_t i = 0; i < spade_shape_size(&d->y); i++) {
        int64_t of_y[SPADE_MAX_RANK], of_a[SPADE_MAX_RANK];
        coordinates_of(&d->y, i, of_y);
        for (int k = 0; k < d->y.rank; k++) { of_a[d->axes[k]] = of_y[k]; }
        out[i] = args->a[index_of(&d->a, of_a)];
    }
}

/* Forward: outside of the part, y is as it was, args->y. */
static void run_concat(const spade_op_desc *d, const reference_args *args, double *out)
{
    const bool backward = d->kind == SPADE_OP_CONCAT_BACKWARD;
    for (int64_t i = 0; i < spade_shape_size(&d->y); i++) {
        int64_t at[SPADE_MAX_RANK];
        coordinates_of(&d->y, i, at);
        at[d->axis] -= d->start;
        const bool inside = at[d->axis] >= 0 && at[d->axis] < d->a.dims[d->axis];
        if (!inside) {
            if (!backward) { out[i] = args->y[i]; }
            continue;
        }
        for (int k = 0; k < d->a.rank; k++) { at[k] = d->a.dims[k] == 1 ? 0 : at[k]; }
        if (backward) {
            out[index_of(&d->a, at)] = args->dy[i];
        } else {
            out[i] = args->a[index_of(&d->a, at)];
        }
    }
}

static void run_axis_map(const spade_op_desc *d, const reference_args *args, double *out)
{
    const spade_sparse_rows *m = &args->rows;
    for (int64_t i = 0; i < spade_shape_size(&d->y); i++) {
        int64_t at[SPADE_MAX_RANK];
        coordinates_of(&d->y, i, at);
        const int64_t row = at[d->axis];
        out[i] = m->fill ? m->fill[row] : 0;
        for (int32_t k = m->offsets[row]; k < m->offsets[row + 1]; k++) {
            at[d->axis] = m->indices[k];
            out[i] += (m->weights ? (double)m->weights[k] : 1) * args->a[index_of(&d->a, at)];
        }
    }
}

static void run_softmax(const spade_op_desc *d, const reference_args *args, double *out)
{
    int64_t length = d->a.dims[d->axis], step = 1;
    for (int i = d->axis + 1; i < d->a.rank; i++) { step *= d->a.dims[i]; }
    for (int64_t line = 0; line < spade_shape_size(&d->a) / length; line++) {
        int64_t first = line / step * step * length + line % step;
        double sum = 0, largest = -INFINITY;
        if (d->kind == SPADE_OP_SOFTMAX) {
            for (int64_t i = 0; i < length; i++) { largest = fmax(largest, args->a[first + i * step]); }
            for (int64_t i = 0; i < length; i++) { sum += exp(args->a[first + i * step] - largest); }
            for (int64_t i = 0; i < length; i++) {
                out[first + i * step] = exp(args->a[first + i * step] - largest) / sum;
            }
        } else {
            for (int64_t i = 0; i < length; i++) {
                sum += (double)args->y[first + i * step] * args->dy[first + i * step];
            }
            for (int64_t i = 0; i < length; i++) {
                out[first + i * step] = args->y[first + i * step] * (args->dy[first + i * step] - sum);
            }
        }
    }
}

int64_t reference_row_length(const spade_op_desc *d)
{
    int64_t length = 1;
    for (int i = d->axis; i < d->a.rank; i++) { length *= d->a.dims[i]; }
    return length;
}

/* z = (x - mean) / sqrt(variance + epsilon) of one row; without the mean for the root mean square. */
static void normalise(const spade_op_desc *d, int64_t n, const float *x, double *z, double *deviation)
{
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n && !d->root_mean_square; i++) { mean += x[i] / (double)n; }
    for (int64_t i = 0; i < n; i++) { variance += (x[i] - mean) * (x[i] - mean) / (double)n; }
    *deviation = sqrt(variance + (double)d->epsilon);
    for (int64_t i = 0; i < n; i++) { z[i] = (x[i] - mean) / *deviation; }
}

/* Backward: from dz = dy * scale by the matrix d z[j] / d x[i] = ((i == j) - 1/n - z[i] z[j] / n) / deviation, where 1/n is the mean's. */
static void run_layer_norm(const spade_op_desc *d, const reference_args *args, double *out)
{
    const int64_t n = reference_row_length(d);
    const float *scale = args->operands[0], *shift = args->operands[1];
    for (int64_t row = 0; row < spade_shape_size(&d->a) / n; row++) {
        double *z = out + row * n, deviation;
        normalise(d, n, args->a + row * n, z, &deviation);
        if (d->kind == SPADE_OP_LAYER_NORM) {
            for (int64_t i = 0; i < n; i++) { z[i] = z[i] * (scale ? scale[i] : 1) + (shift ? shift[i] : 0); }
            continue;
        }
        const float *dy = args->dy + row * n;
        double sum = 0, product = 0;
        for (int64_t j = 0; j < n; j++) {
            const double dz = dy[j] * (scale ? (double)scale[j] : 1);
            sum += d->root_mean_square ? 0 : dz;
            product += dz * z[j];
        }
        for (int64_t i = 0; i < n; i++) {
            const double dz = dy[i] * (scale ? (double)scale[i] : 1);
            z[i] = (dz - sum / (double)n - z[i] * product / (double)n) / deviation;
        }
    }
}

/* ---- between x and its partner */

static void run_swap(const spade_op_desc *d, const reference_args *args, double *out)
{
    for (int64_t i = 0; i < spade_shape_size(&d->y); i++) {
        int64_t at[SPADE_MAX_RANK];
        coordinates_of(&d->y, i, at);
        const int64_t image = at[d->axis] / d->start;
        at[d->axis] += (image % 2 ? -1 : 1) * d->start;
        out[i] = args->a[index_of(&d->a, at)];
    }
}

/* The matrix of multipliers M with y - y' = M (x - x') of n numbers `step` apart; dx = M^T dy. y = exp(x - L), L = log(S). */
static void softmax_pair(int64_t n, int64_t step, const float *x, const float *other, const float *dy, double *dx)
{
    double sum = 0, other_sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += exp((double)x[i * step]);
        other_sum += exp((double)other[i * step]);
    }
    const double of_log = sum == other_sum ? 1 / sum : (log(sum) - log(other_sum)) / (sum - other_sum);
    for (int64_t j = 0; j < n; j++) {
        const double u = x[j * step], v = other[j * step];
        const double of_e = u == v ? exp(u) : (exp(u) - exp(v)) / (u - v);
        for (int64_t i = 0; i < n; i++) {
            const double a = x[i * step] - log(sum), b = other[i * step] - log(other_sum);
            const double of_y = a == b ? exp(a) : (exp(a) - exp(b)) / (a - b);
            dx[j * step] += dy[i * step] * of_y * ((i == j) - of_log * of_e);
        }
    }
}

static void run_softmax_pair(const spade_op_desc *d, const reference_args *args, double *out)
{
    int64_t length = d->a.dims[d->axis], step = 1;
    for (int i = d->axis + 1; i < d->a.rank; i++) { step *= d->a.dims[i]; }
    for (int64_t line = 0; line < spade_shape_size(&d->a) / length; line++) {
        const int64_t at = line / step * step * length + line % step;
        softmax_pair(length, step, args->a + at, args->b + at, args->dy + at, out + at);
    }
}

/* y[i] = c[i] r scale[i]: each of mean, c, mean of squares, r and product by its own rule. */
static void layer_norm_pair(const spade_op_desc *d, int64_t n, const float *x, const float *other, const float *scale,
                            const float *dy, double *dx)
{
    double z[2], mean[2] = {0, 0}, variance[2] = {0, 0}, to_r = 0, to_mean = 0;
    const float *both[2] = {x, other};
    for (int k = 0; k < 2; k++) {
        for (int64_t i = 0; i < n && !d->root_mean_square; i++) { mean[k] += both[k][i] / (double)n; }
        for (int64_t i = 0; i < n; i++) { variance[k] += (both[k][i] - mean[k]) * (both[k][i] - mean[k]) / (double)n; }
        z[k] = 1 / sqrt(variance[k] + (double)d->epsilon);
    }
    const double apart = variance[0] - variance[1];
    const double slope = fabs(apart) < 1e-9 ? -pow(z[0], 3) / 2 : (z[0] - z[1]) / apart;
    for (int64_t i = 0; i < n; i++) {
        to_r += dy[i] * (scale ? (double)scale[i] : 1) * ((x[i] - mean[0]) + (other[i] - mean[1])) / 2;
    }
    for (int64_t i = 0; i < n; i++) {
        const double sum = (x[i] - mean[0]) + (other[i] - mean[1]); /* D(c^2) / Dc */
        dx[i] = dy[i] * (scale ? (double)scale[i] : 1) * (z[0] + z[1]) / 2 + to_r * slope * sum / (double)n;
        to_mean += d->root_mean_square ? 0 : dx[i];
    }
    for (int64_t i = 0; i < n; i++) { dx[i] -= to_mean / (double)n; }
}

static void run_layer_norm_pair(const spade_op_desc *d, const reference_args *args, double *out)
{
    const int64_t n = reference_row_length(d);
    for (int64_t row = 0; row < spade_shape_size(&d->a) / n; row++) {
        const int64_t at = row * n;
        layer_norm_pair(d, n, args->a + at, args->b + at, args->operands[0], args->dy + at, out + at);
    }
}

/* The maximum of a window in x: its place, -1 where the window lies in the padding. */
static int64_t place_of(const spade_op_desc *d, const float *x, visit v, int64_t channel)
{
    int64_t place = -1;
    for (v.row = 0; v.row < d->window.kernel[0]; v.row++) {
        for (v.column = 0; v.column < d->window.kernel[1]; v.column++) {
            if (!inside(d, &v)) { continue; }
            const int64_t here = x_at(d, &v, channel);
            if (place < 0 || x[here] > x[place]) { place = here; }
        }
    }
    return place;
}

/* What `element` of x gets of all windows. */
static double pool_pair_at(const spade_op_desc *d, const reference_args *args, visit v, int64_t channel,
                           int64_t element)
{
    double sum = 0, own_last = 0, other_last = 0, gradient = 0;
    const double apart = (double)args->a[element] - args->b[element];
    for (v.p = 0; v.p < d->y.dims[2]; v.p++) {
        for (v.q = 0; v.q < d->y.dims[3]; v.q++) {
            const int64_t own = place_of(d, args->a, v, channel), other = place_of(d, args->b, v, channel);
            if (own < 0) { continue; }
            const double y = args->a[own], other_y = args->b[other], dy = args->dy[y_at(d, &v, channel)];
            if (own == element) { own_last = dy * (fmax(y, other_y) - other_y), gradient += dy; }
            if (other == element) { other_last = dy * (y - fmax(y, other_y)); }
            if ((y >= other_y ? own : other) == element) { sum += apart == 0 ? dy : dy * (y - other_y) / apart; }
        }
    }
    return !d->last_window ? sum : apart == 0 ? gradient : (own_last + other_last) / apart;
}

static void run_pool_pair(const spade_op_desc *d, const reference_args *args, double *out)
{
    const int64_t plane = d->a.dims[2] * d->a.dims[3];
    for (int64_t i = 0; i < spade_shape_size(&d->a); i++) {
        visit v = {.n = i / plane / d->a.dims[1]};
        out[i] = pool_pair_at(d, args, v, i / plane % d->a.dims[1], i);
    }
}

void reference_run(const spade_op_desc *d, const reference_args *args, double *out)
{
    memset(out, 0, (size_t)reference_size(d) * sizeof *out);
    switch (d->kind) {
    case SPADE_OP_CONVOLUTION:
    case SPADE_OP_CONVOLUTION_BACKWARD: run_convolution(d, args, out); break;
    case SPADE_OP_POOL:
    case SPADE_OP_POOL_BACKWARD: run_pool(d, args, out); break;
    case SPADE_OP_LINEAR:
    case SPADE_OP_LINEAR_BACKWARD: run_linear(d, args, out); break;
    case SPADE_OP_MATMUL: run_matmul(d, args, out); break;
    case SPADE_OP_POINTWISE: run_pointwise(d, args, out); break;
    case SPADE_OP_REDUCE_SUM: run_reduce_sum(d, args, out); break;
    case SPADE_OP_SOFTMAX:
    case SPADE_OP_SOFTMAX_BACKWARD: run_softmax(d, args, out); break;
    case SPADE_OP_LAYER_NORM:
    case SPADE_OP_LAYER_NORM_BACKWARD: run_layer_norm(d, args, out); break;
    case SPADE_OP_CONVERT_LAYOUT: run_convert(d, args, out); break;
    case SPADE_OP_PERMUTE: run_permute(d, args, out); break;
    case SPADE_OP_CONCAT:
    case SPADE_OP_CONCAT_BACKWARD: run_concat(d, args, out); break;
    case SPADE_OP_AXIS_MAP: run_axis_map(d, args, out); break;
    case SPADE_OP_REDUCE_MAX:
    case SPADE_OP_REDUCE_MAX_BACKWARD: run_reduce_max(d, args, out); break;
    case SPADE_OP_SWAP_IMAGES: run_swap(d, args, out); break;
    case SPADE_OP_SOFTMAX_RESCALE: run_softmax_pair(d, args, out); break;
    case SPADE_OP_LAYER_NORM_RESCALE: run_layer_norm_pair(d, args, out); break;
    case SPADE_OP_POOL_RESCALE: run_pool_pair(d, args, out); break;
    default: memset(out, 0xff, (size_t)reference_size(d) * sizeof *out); break; /* NaN */
    }
}
