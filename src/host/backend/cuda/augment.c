/* augment.c - variants of a picture: their parameters in the kernels' types, group by group. */
#include "backend/cuda/cuda.h"
#include "backend/filter.h"

static spade_variant_kernel variant_of(const spade_variant *v)
{
    spade_variant_kernel k = {.top = (int32_t)v->top,
                              .left = (int32_t)v->left,
                              .height = (int32_t)v->height,
                              .width = (int32_t)v->width,
                              .brightness = (float)v->brightness,
                              .contrast = (float)v->contrast,
                              .saturation = (float)v->saturation,
                              .hue = (float)v->hue,
                              .noise = v->noise,
                              .flip = v->flip};
    for (int i = 0; i < 4; i++) {
        k.erase[i] = (int32_t)v->erase[i];
        k.noise_key[i] = v->noise_key[i];
    }
    return k;
}

static void max_taps(const spade_preprocess *p, const spade_variant *variants, int64_t count, int64_t taps[2])
{
    taps[0] = taps[1] = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t across = spade_filter_taps(SPADE_RESAMPLE_BILINEAR, variants[i].width, p->width);
        int64_t down = spade_filter_taps(SPADE_RESAMPLE_BILINEAR, variants[i].height, p->height);
        taps[0] = across > taps[0] ? across : taps[0];
        taps[1] = down > taps[1] ? down : taps[1];
    }
}

spade_status spade_cuda_augment(spade_device *device, const float *picture, int64_t height, int64_t width,
                                const spade_preprocess *preprocess, const spade_variant *variants, int64_t count,
                                const spade_augment_target *to)
{
    spade_cuda_device *cuda = spade_cuda_of(device);
    const spade_preprocess *p = preprocess;
    const int64_t pixels = p->height * p->width;
    const int64_t groups = (count + SPADE_AUGMENT_GROUP - 1) / SPADE_AUGMENT_GROUP;
    spade_augment_kernel k = {.picture_width = width, .height = p->height, .width = p->width};
    void *workspace;
    spade_status status = SPADE_OK;
    (void)height; /* crops lie inside: the caller has checked */
    if (count < 1) { return SPADE_OK; }
    const int64_t group = (count + groups - 1) / groups; /* groups of about the same size */
    k.channels_last = to->layout == SPADE_CHANNELS_LAST;
    k.channels = (int)p->channels;
    k.all_channels = (int)to->channels;
    for (int c = 0; c < 3; c++) { k.plane[c] = spade_preprocess_plane(p, c); }
    for (int c = 0; c < 3; c++) { k.mean[c] = (float)p->mean[c], k.std[c] = (float)p->std[c]; }
    max_taps(p, variants, count, k.taps);
    size_t bytes = spade_kernel_augment_bytes(p->height, p->width, k.taps, group);
    SPADE_TRY(spade_cuda_alloc(device, bytes, "the augmentation's filters", &workspace));
    for (int64_t first = 0; first < count; first += group) {
        k.count = (int)(count - first < group ? count - first : group);
        for (int i = 0; i < k.count; i++) { k.variants[i] = variant_of(&variants[first + i]); }
        float *out = to->out + first * to->channels * pixels + to->first * (k.channels_last ? 1 : pixels);
        SPADE_GOTO(spade_cuda_launched(cuda, spade_launch_augment(cuda->stream, &k, picture, workspace, out),
                                       "spade_launch_augment"));
    }
done:
    spade_cuda_free(device, workspace, bytes); /* after the kernels, in the order of the stream */
    return status;
}
