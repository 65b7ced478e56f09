/* fourier.c - see fourier.h. */
#include "visualize/fourier.h"

#include <math.h>

#define PI 3.14159265358979323846
static const double saturation = 4;

/* ---- cosines and sines */

static double angle(int64_t i, int64_t k, int64_t n)
{
    return 2 * PI * (double)(i * k % n) / (double)n;
}

/* rows [2 height, height] */
static void fill_rows(const visualize_fourier *f, float *rows)
{
    for (int64_t y = 0; y < f->height; y++) {
        for (int64_t k = 0; k < f->height; k++) {
            rows[2 * y * f->height + k] = (float)cos(angle(y, k, f->height));
            rows[(2 * y + 1) * f->height + k] = (float)sin(angle(y, k, f->height));
        }
    }
}

/*
 * columns [4 frequencies, width], of the cosines of the rows times real and imaginary parts, then of the sines:
 * Re((a + i b) (C + i S) (c + i s)) = aC c - bC s - aS s - bS c. A frequency stands for its mirror image as well.
 */
static void fill_columns(const visualize_fourier *f, float *columns)
{
    const double unit = 1 / (saturation * sqrt((double)f->height * (double)f->width));
    const int64_t block = f->frequencies * f->width;
    for (int64_t k = 0; k < f->frequencies; k++) {
        const double weight = (k == 0 || 2 * k == f->width) ? unit : 2 * unit;
        for (int64_t x = 0; x < f->width; x++) {
            const double c = weight * cos(angle(x, k, f->width)), s = weight * sin(angle(x, k, f->width));
            float *to = columns + k * f->width + x;
            to[0] = (float)c;
            to[block] = (float)-s;
            to[2 * block] = (float)-s;
            to[3 * block] = (float)-c;
        }
    }
}

void visualize_fourier_scale(const visualize_fourier *f, float *scale)
{
    const double least = 1 / (double)(f->width > f->height ? f->width : f->height);
    for (int64_t k = 0; k < f->height; k++) {
        const double down = (double)(2 * k < f->height ? k : f->height - k) / (double)f->height;
        for (int64_t j = 0; j < f->frequencies; j++) {
            const double across = (double)j / (double)f->width, frequency = sqrt(down * down + across * across);
            const float value = (float)(1 / (frequency > least ? frequency : least));
            for (int64_t c = 0; c < f->channels; c++) {
                float *row = scale + (c * f->height + k) * 2 * f->frequencies;
                row[j] = row[f->frequencies + j] = value;
            }
        }
    }
}

/* ---- creation */

static spade_shape matrices(int64_t count, int64_t rows, int64_t columns)
{
    return (spade_shape){.rank = 3, .dims = {count, rows, columns}};
}

static spade_status plan(visualize_fourier *f, const spade_op_desc *desc, spade_op **out)
{
    const spade_backend *backend = f->device->backend;
    SPADE_TRY(backend->plan(f->device, desc, out));
    const size_t bytes = backend->workspace_bytes(*out);
    if (bytes > f->workspace_bytes) { f->workspace_bytes = bytes; }
    return SPADE_OK;
}

static spade_status plan_products(visualize_fourier *f)
{
    const int64_t n = f->channels, h = f->height, w = f->width, two = 2 * f->frequencies;
    const spade_shape rows = matrices(1, 2 * h, h), columns = matrices(1, 2 * two, w);
    const spade_shape spectrum = matrices(n, h, two), tall = matrices(n, 2 * h, two), wide = matrices(n, h, 2 * two);
    const spade_shape x = matrices(n, h, w);
    SPADE_TRY(plan(f, &(spade_op_desc){.kind = SPADE_OP_MATMUL, .a = rows, .b = spectrum, .y = tall}, &f->rows_op));
    SPADE_TRY(plan(f, &(spade_op_desc){.kind = SPADE_OP_MATMUL, .a = wide, .b = columns, .y = x}, &f->columns_op));
    SPADE_TRY(plan(f, &(spade_op_desc){.kind = SPADE_OP_MATMUL, .a = x, .b = columns, .y = wide, .transpose_b = true},
                   &f->columns_back_op));
    return plan(f, &(spade_op_desc){.kind = SPADE_OP_MATMUL, .a = rows, .b = tall, .y = spectrum, .transpose_a = true},
                &f->rows_back_op);
}

static int64_t rows_size(const visualize_fourier *f)
{
    return 2 * f->height * f->height;
}

static int64_t columns_size(const visualize_fourier *f)
{
    return 4 * f->frequencies * f->width;
}

static spade_status upload_waves(visualize_fourier *f)
{
    spade_context *context = f->device->context;
    const spade_backend *backend = f->device->backend;
    const int64_t rows = rows_size(f), columns = columns_size(f);
    const size_t bytes = sizeof(float) * (size_t)(rows > columns ? rows : columns);
    void *waves;
    spade_status status;
    SPADE_TRY(spade_alloc(context, bytes, "cosines and sines", &waves));
    fill_rows(f, waves);
    SPADE_GOTO(backend->upload(f->device, f->rows, waves, sizeof(float) * (size_t)rows));
    fill_columns(f, waves);
    SPADE_GOTO(backend->upload(f->device, f->columns, waves, sizeof(float) * (size_t)columns));
done:
    spade_free_bytes(context, waves, bytes);
    return status;
}

static spade_status alloc_floats(visualize_fourier *f, int64_t n, float **out)
{
    void *memory = NULL;
    const spade_status status =
        f->device->backend->alloc(f->device, sizeof **out * (size_t)n, "a Fourier transform", &memory);
    *out = memory;
    return status;
}

spade_status visualize_fourier_create(spade_context *context, int64_t channels, int64_t height, int64_t width,
                                      visualize_fourier *out)
{
    spade_status status;
    *out = (visualize_fourier){.device = context->device,
                               .channels = channels,
                               .height = height,
                               .width = width,
                               .frequencies = width / 2 + 1};
    SPADE_GOTO(plan_products(out));
    SPADE_GOTO(alloc_floats(out, rows_size(out), &out->rows));
    SPADE_GOTO(alloc_floats(out, columns_size(out), &out->columns));
    SPADE_GOTO(alloc_floats(out, 2 * visualize_fourier_size(out), &out->between));
    if (out->workspace_bytes) {
        SPADE_GOTO(
            out->device->backend->alloc(out->device, out->workspace_bytes, "a Fourier transform", &out->workspace));
    }
    SPADE_GOTO(upload_waves(out));
    return SPADE_OK;
done:
    visualize_fourier_clear(out);
    return status;
}

static void free_floats(visualize_fourier *f, float *memory, int64_t n)
{
    if (memory) { f->device->backend->free(f->device, memory, sizeof *memory * (size_t)n); }
}

void visualize_fourier_clear(visualize_fourier *f)
{
    if (!f->device) { return; }
    const spade_backend *backend = f->device->backend;
    backend->destroy(f->rows_op);
    backend->destroy(f->columns_op);
    backend->destroy(f->columns_back_op);
    backend->destroy(f->rows_back_op);
    free_floats(f, f->rows, rows_size(f));
    free_floats(f, f->columns, columns_size(f));
    free_floats(f, f->between, 2 * visualize_fourier_size(f));
    if (f->workspace) { backend->free(f->device, f->workspace, f->workspace_bytes); }
    *f = (visualize_fourier){0};
}

int64_t visualize_fourier_size(const visualize_fourier *f)
{
    return f->channels * f->height * 2 * f->frequencies;
}

/* ---- transforms */

static spade_status multiply(const visualize_fourier *f, spade_op *op, const float *a, const float *b, float *out)
{
    const spade_op_args args = {.a = a, .b = b, .out = out, .workspace = f->workspace};
    return f->device->backend->run(op, &args);
}

spade_status visualize_fourier_inverse(const visualize_fourier *f, const float *spectrum, float *x)
{
    SPADE_TRY(multiply(f, f->rows_op, f->rows, spectrum, f->between));
    return multiply(f, f->columns_op, f->between, f->columns, x);
}

spade_status visualize_fourier_gradient(const visualize_fourier *f, const float *x_gradient, float *spectrum_gradient)
{
    SPADE_TRY(multiply(f, f->columns_back_op, x_gradient, f->columns, f->between));
    return multiply(f, f->rows_back_op, f->rows, f->between, spectrum_gradient);
}
