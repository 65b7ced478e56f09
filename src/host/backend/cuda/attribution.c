/* attribution.c - maps of interpretability methods: parameters of a micro-batch by value, nothing is uploaded. */
#include "backend/cuda/cuda.h"

static spade_points_kernel make_kernel(const spade_points *points)
{
    const bool random = points->deviation != 0 || points->uniform.pixels;
    spade_points_kernel k = {.size = points->size,
                             .count = (int)points->count,
                             .deviation = points->deviation,
                             .key = {(uint32_t)points->key, (uint32_t)(points->key >> 32)},
                             .baselines = points->baselines,
                             .uniform = points->uniform};
    for (int64_t i = 0; i < points->count; i++) {
        k.scale[i] = points->scale[i];
        k.sample[i] = random ? points->sample[i] : 0;
        k.baseline[i] = points->baselines && points->baseline ? points->baseline[i] : 0;
    }
    return k;
}

spade_status spade_cuda_points(spade_device *device, const spade_points *points, const float *x, float *out)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    const spade_points_kernel k = make_kernel(points);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_points(cuda->stream, &k, x, out));
    return SPADE_OK;
}

spade_status spade_cuda_path_products(spade_device *device, const spade_points *points, const float *x,
                                      const float *gradients, float *products)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    const spade_points_kernel k = make_kernel(points);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_path_products(cuda->stream, &k, x, gradients, products));
    return SPADE_OK;
}

spade_status spade_cuda_mask_inputs(spade_device *device, const spade_mask_inputs_args *args)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_mask_inputs(cuda->stream, args));
    return SPADE_OK;
}

spade_status spade_cuda_blend_inputs(spade_device *device, const spade_blend_inputs_args *args)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_blend_inputs(cuda->stream, args));
    return SPADE_OK;
}

spade_status spade_cuda_seed(spade_device *device, const spade_seed_args *args)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_seed(cuda->stream, args));
    return SPADE_OK;
}

spade_status spade_cuda_sum_gradients(spade_device *device, int64_t size, int64_t count, const double *weight,
                                      const float *gradients, bool squared, bool add, double *sum)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    spade_weights_kernel k = {.count = (int)count};
    for (int64_t i = 0; i < count; i++) { k.weight[i] = weight[i]; }
    SPADE_CUDA_LAUNCH(cuda, spade_launch_sum_gradients(cuda->stream, size, &k, gradients, squared, add, sum));
    return SPADE_OK;
}

spade_status spade_cuda_finish_map(spade_device *device, int64_t size, const double *sum, const float *x,
                                   double divisor, bool absolute, float *map)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_finish_map(cuda->stream, size, sum, x, divisor, absolute, map));
    return SPADE_OK;
}

spade_status spade_cuda_finish_variance(spade_device *device, int64_t size, const double *sum, const double *squares,
                                        double divisor, float *map)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_finish_variance(cuda->stream, size, sum, squares, divisor, map));
    return SPADE_OK;
}
