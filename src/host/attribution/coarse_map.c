/* coarse_map.c - coarse maps, and the same at the input's size. */
#include "attribution/coarse_map.h"

#include "spade/picture.h"

void attribution_coarse_shape(const attribution_job *job, int64_t height, int64_t width, int upsample, int64_t shape[3])
{
    shape[0] = 1;
    shape[1] = upsample == ATTRIBUTION_NONE ? height : job->height;
    shape[2] = upsample == ATTRIBUTION_NONE ? width : job->width;
}

void attribution_enlarge_maps(const attribution_job *job, const float *small, int64_t height, int64_t width,
                              int upsample, float *maps)
{
    const int64_t pixels = job->height * job->width;
    if (upsample == ATTRIBUTION_NONE) {
        memcpy(maps, small, sizeof *maps * (size_t)(job->n * height * width));
        return;
    }
    for (int i = 0; i < job->n; i++) {
        spade_map_resize(small + i * height * width, height, width, maps + i * pixels, job->height, job->width);
    }
}

spade_status attribution_coarse_maps(const attribution_job *job, int64_t height, int64_t width, int upsample,
                                     attribution_coarse_fn make, const void *user, float *maps)
{
    const size_t bytes = sizeof(float) * (size_t)(job->n * height * width);
    void *small;
    if (upsample == ATTRIBUTION_NONE) { return make(job, user, maps); }
    SPADE_TRY(spade_alloc(job->context, bytes, "maps of a layer", &small));
    spade_status status = make(job, user, small);
    if (status == SPADE_OK) { attribution_enlarge_maps(job, small, height, width, upsample, maps); }
    spade_free_bytes(job->context, small, bytes);
    return status;
}
