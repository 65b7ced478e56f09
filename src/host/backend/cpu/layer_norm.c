/*
 * layer_norm.c - layer normalisation and its backward. A row, all elements of the axes normalised over, is one thread's; its
 * sums are float64, in LANES partial sums that are added in their order: the same for any number of threads.
 */
#include <math.h>

#include "backend/cpu/cpu.h"

enum { LANES = 8 };

static double total(const double sums[LANES])
{
    double sum = sums[0];
    for (int lane = 1; lane < LANES; lane++) { sum += sums[lane]; }
    return sum;
}

static double mean_of(int64_t n, const float *x)
{
    double sums[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int lane = 0; lane < LANES; lane++) { sums[lane] += x[i + lane]; }
    }
    for (int lane = 0; i + lane < n; lane++) { sums[lane] += x[i + lane]; }
    return total(sums) / (double)n;
}

/* What the gradient needs of a row: sums over its elements, where c = x - mean and g = dy * scale. */
typedef struct row_sums {
    double squares;  /* of c */
    double gradient; /* of g */
    double product;  /* of g c */
} row_sums;

static row_sums sum_row(int64_t n, const float *x, double mean, const float *dy, const float *scale)
{
    double squares[LANES] = {0}, gradient[LANES] = {0}, product[LANES] = {0};
    for (int64_t first = 0; first < n; first += LANES) {
        const int lanes = n - first < LANES ? (int)(n - first) : LANES;
        for (int lane = 0; lane < lanes; lane++) {
            const double c = x[first + lane] - mean;
            squares[lane] += c * c;
            if (!dy) { continue; }
            const double g = scale ? (double)dy[first + lane] * scale[first + lane] : dy[first + lane];
            gradient[lane] += g;
            product[lane] += g * c;
        }
    }
    return (row_sums){total(squares), total(gradient), total(product)};
}

static void normalise_row(const spade_op_desc *desc, int64_t n, const float *x, const float *scale, const float *shift,
                          float *y)
{
    const double mean = desc->root_mean_square ? 0 : mean_of(n, x), epsilon = (double)desc->epsilon;
    const double inverse = 1 / sqrt(sum_row(n, x, mean, NULL, NULL).squares / (double)n + epsilon);
    for (int64_t i = 0; i < n; i++) {
        const double normal = (x[i] - mean) * inverse;
        y[i] = (float)(normal * (scale ? scale[i] : 1) + (shift ? shift[i] : 0));
    }
}

/* dx = r (g - mean(g) - z mean(g z)), where r = 1 / sqrt(variance + epsilon) and z = r (x - mean);
 * without a mean that of g is not there either. */
static void backward_row(const spade_op_desc *desc, int64_t n, const float *x, const float *scale, const float *dy,
                         float *dx)
{
    const double mean = desc->root_mean_square ? 0 : mean_of(n, x), epsilon = (double)desc->epsilon;
    const row_sums sums = sum_row(n, x, mean, dy, scale);
    const double inverse = 1 / sqrt(sums.squares / (double)n + epsilon);
    const double mean_gradient = desc->root_mean_square ? 0 : sums.gradient / (double)n;
    const double slope = inverse * inverse * sums.product / (double)n; /* z mean(g z) = slope (x - mean) */
    for (int64_t i = 0; i < n; i++) {
        const double g = scale ? (double)dy[i] * scale[i] : dy[i];
        dx[i] = (float)(inverse * (g - mean_gradient - slope * (x[i] - mean)));
    }
}

static int64_t row_length(const spade_op_desc *desc)
{
    int64_t length = 1;
    for (int i = desc->axis; i < desc->a.rank; i++) { length *= desc->a.dims[i]; }
    return length;
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    const int64_t length = row_length(&op->desc), count = spade_shape_size(&op->desc.a) / length;
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static)
    for (int64_t row = 0; row < count; row++) {
        normalise_row(&op->desc, length, args->a + row * length, args->operands[0], args->operands[1],
                      args->out + row * length);
    }
    return SPADE_OK;
}

static spade_status run_backward(spade_op *op, const spade_op_args *args)
{
    const int64_t length = row_length(&op->desc), count = spade_shape_size(&op->desc.a) / length;
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static)
    for (int64_t row = 0; row < count; row++) {
        backward_row(&op->desc, length, args->a + row * length, args->operands[0], args->dy + row * length,
                     args->out + row * length);
    }
    return SPADE_OK;
}

const spade_op_entry spade_cpu_layer_norm_op = {.run = run};
const spade_op_entry spade_cpu_layer_norm_backward_op = {.run = run_backward};
