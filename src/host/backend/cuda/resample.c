/* resample.c - resize of 8-bit pictures; their floats. */
#include "backend/cuda/cuda.h"
#include "backend/filter.h"

static spade_resample_kernel kernel_of(const spade_resample_args *args)
{
    spade_resample_kernel k = {.picture_width = args->picture_width,
                               .in = {args->picture_height, args->picture_width},
                               .full = {args->full_height, args->full_width},
                               .first = {args->top, args->left},
                               .size = {args->height, args->width}};
    spade_filter_window part[2];
    for (int axis = 0; axis < 2; axis++) {
        part[axis] = spade_filter_find_window(args->kind, k.in[axis], k.full[axis], k.first[axis], k.size[axis]);
        k.begin[axis] = part[axis].begin;
        k.end[axis] = part[axis].end;
        k.taps[axis] = spade_filter_taps(args->kind, k.in[axis], k.full[axis]);
    }
    k.first_row = part[0].first_in;
    k.rows = part[0].behind_in - part[0].first_in;
    k.cubic = args->kind == SPADE_RESAMPLE_BICUBIC;
    k.channels = args->channels;
    memcpy(k.plane, args->plane, sizeof k.plane);
    memcpy(k.mean, args->mean, sizeof k.mean);
    memcpy(k.std, args->std, sizeof k.std);
    return k;
}

spade_status spade_cuda_resample(spade_device *device, const spade_resample_args *args)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    const spade_resample_kernel k = kernel_of(args);
    const size_t bytes = spade_kernel_resample_bytes(&k);
    void *workspace;
    SPADE_TRY(spade_cuda_alloc(device, bytes, "a resized picture", &workspace));
    spade_status status = spade_cuda_launched(
        cuda, spade_launch_resample(cuda->stream, &k, args->picture, workspace, args->rgb, args->normalised),
        "spade_launch_resample");
    spade_cuda_free(device, workspace, bytes); /* after the kernels, in the order of the stream */
    return status;
}

spade_status spade_cuda_picture_to_floats(spade_device *device, int64_t n, const uint8_t *picture, float *out)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    SPADE_CUDA_LAUNCH(cuda, spade_launch_picture_floats(cuda->stream, n, picture, out));
    return SPADE_OK;
}
