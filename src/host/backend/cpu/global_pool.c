/*
 * global_pool.c - average pooling whose window is the whole image, and its backward. Own loops, because the sum over a
 * map of thousands of pixels wants float64: oneDNN's float32 sum alone moves a squeeze-and-excite layer's Hessian by
 * 8e-5.
 *
 * A channel of an image is one thread's; its sum runs over the rows in order.
 */
#include "backend/check.h"
#include "backend/cpu/cpu.h"
#include "backend/tensor_iterator.h"

enum { CHANNELS = 16 }; /* of one task */

/* y[n, c] = mean of x[n, c, :, :] for `count` neighbouring channels */
static void average(const float *x, const int64_t *stride, int64_t height, int64_t width, int64_t count, float *y,
                    int64_t y_step)
{
    double sum[CHANNELS] = {0};
    for (int64_t h = 0; h < height; h++) {
        for (int64_t w = 0; w < width; w++) {
            const float *pixel = x + h * stride[2] + w * stride[3];
            for (int64_t c = 0; c < count; c++) { sum[c] += pixel[c * stride[1]]; }
        }
    }
    for (int64_t c = 0; c < count; c++) { y[c * y_step] = (float)(sum[c] / (double)(height * width)); }
}

static void average_backward(const float *dy, int64_t dy_step, const int64_t *stride, int64_t height, int64_t width,
                             int64_t count, float *dx)
{
    float share[CHANNELS];
    for (int64_t c = 0; c < count; c++) { share[c] = dy[c * dy_step] / (float)(height * width); }
    for (int64_t h = 0; h < height; h++) {
        for (int64_t w = 0; w < width; w++) {
            float *pixel = dx + h * stride[2] + w * stride[3];
            for (int64_t c = 0; c < count; c++) { pixel[c * stride[1]] = share[c]; }
        }
    }
}

spade_status spade_cpu_global_average_run(spade_op *op, const spade_op_args *args)
{
    const int64_t *dims = op->desc.a.dims;
    int64_t image[SPADE_MAX_RANK], result[SPADE_MAX_RANK];
    int64_t tasks = (dims[1] + CHANNELS - 1) / CHANNELS;
    bool backward = op->desc.kind == SPADE_OP_POOL_BACKWARD;
    spade_shape_strides(&op->desc.a, image);
    spade_shape_strides(&op->desc.y, result);
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static)
    for (int64_t task = 0; task < dims[0] * tasks; task++) {
        int64_t n = task / tasks, c = task % tasks * CHANNELS;
        int64_t count = dims[1] - c < CHANNELS ? dims[1] - c : CHANNELS;
        int64_t in = n * image[0] + c * image[1], out = n * result[0] + c * result[1];
        if (backward) {
            average_backward(args->dy + out, result[1], image, dims[2], dims[3], count, args->out + in);
        } else {
            average(args->a + in, image, dims[2], dims[3], count, args->out + out, result[1]);
        }
    }
    return SPADE_OK;
}
