/* gradcam.c - where a layer sees evidence for the class: its feature maps, weighted by their mean gradients. */
#include "attribution/class_activation.h"
#include "attribution/layer_value.h"
#include "spade/picture.h"

enum { BILINEAR, NONE }; /* words of `upsample`, in their order */

typedef struct gradcam_options {
    spade_layer_option layer;
    int upsample;
} gradcam_options;

static spade_status check(const attribution_job *job, const void *options)
{
    int value;
    return attribution_feature_maps(job, &((const gradcam_options *)options)->layer, &value);
}

static void shape(const attribution_job *job, const void *options, int64_t shape[3])
{
    const gradcam_options *gradcam = options;
    int value;
    shape[0] = 1;
    if (gradcam->upsample == NONE && attribution_feature_maps(job, &gradcam->layer, &value) == SPADE_OK) {
        const spade_shape *features = &job->model->network.values[value].shape;
        shape[1] = features->dims[2];
        shape[2] = features->dims[3];
    }
}

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    (void)notes;
    const gradcam_options *gradcam = options;
    const int64_t pixels = job->height * job->width;
    int value;
    void *small;
    SPADE_TRY(attribution_feature_maps(job, &gradcam->layer, &value));
    if (gradcam->upsample == NONE) { return attribution_class_activation(job, value, maps); }
    const spade_shape *features = &job->model->network.values[value].shape;
    const int64_t height = features->dims[2], width = features->dims[3];
    const size_t bytes = sizeof(float) * (size_t)(job->n * height * width);
    SPADE_TRY(spade_alloc(job->context, bytes, "maps of a layer", &small));
    spade_status status = attribution_class_activation(job, value, small);
    for (int i = 0; status == SPADE_OK && i < job->n; i++) {
        const float *map = (const float *)small + i * height * width;
        spade_map_resize(map, height, width, maps + i * pixels, job->height, job->width);
    }
    spade_free_bytes(job->context, small, bytes);
    return status;
}

static const spade_option_info options[] = {
    ATTRIBUTION_FEATURE_MAPS_OPTION,
    {.name = "upsample",
     .help = "to the input's size, or none: as large as the layer's value",
     .type = SPADE_OPTION_WORD,
     .words = "bilinear|none",
     .default_value = "bilinear"},
};
static const size_t option_offsets[] = {offsetof(gradcam_options, layer), offsetof(gradcam_options, upsample)};

const attribution_method attribution_gradcam = {
    .info = {.name = "gradcam",
             .title = "Grad-CAM",
             .definition = "max(sum over c of mean(dF/dA[c]) * A[c], 0), A [C, h, w] a layer's value",
             .source = "Selvaraju et al. 2017, Grad-CAM: visual explanations from deep networks",
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(gradcam_options),
    .option_offsets = option_offsets,
    .check = check,
    .shape = shape,
    .run = run,
};
