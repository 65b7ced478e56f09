/* layercam.c - feature maps weighted place by place by their positive gradients: fine also in early layers. As
 * pytorch-grad-cam's LayerCAM. */
#include "attribution/class_activation.h"

static void combine(const attribution_activation *a, const void *options, double *map)
{
    (void)options;
    for (int64_t c = 0; c < a->channels; c++) {
        for (int64_t i = 0; i < a->pixels; i++) {
            const float gradient = a->gradients[c * a->pixels + i];
            if (gradient > 0) { map[i] += (double)gradient * (double)a->values[c * a->pixels + i]; }
        }
    }
}

static const attribution_cam_part part = {combine};

static const spade_option_info options[] = {ATTRIBUTION_FEATURE_MAPS_OPTION, ATTRIBUTION_UPSAMPLE_OPTION};
static const size_t option_offsets[] = {offsetof(attribution_cam_options, layer),
                                        offsetof(attribution_cam_options, upsample)};

const attribution_method attribution_layercam = {
    .info = {.name = "layercam",
             .title = "LayerCAM",
             .definition = "max(sum over c of max(dF/dA[c], 0) * A[c], 0), A [C, h, w] a layer's value",
             .source = "Jiang et al. 2021, LayerCAM: exploring hierarchical class activation maps for localization",
             .cost = "as gradcam",
             .needs = "a layer whose values have a height and a width, or are a grid of tokens",
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(attribution_cam_options),
    .option_offsets = option_offsets,
    .check = attribution_cam_check,
    .shape = attribution_cam_shape,
    .family = &attribution_cam_family,
    .part = &part,
};
