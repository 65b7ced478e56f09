/* gradcam.c - where a layer sees evidence for the class: its feature maps, weighted by their mean gradients. */
#include "attribution/class_activation.h"

static const attribution_cam_part part = {attribution_combine_gradcam};

static const spade_option_info options[] = {ATTRIBUTION_FEATURE_MAPS_OPTION, ATTRIBUTION_UPSAMPLE_OPTION};
static const size_t option_offsets[] = {offsetof(attribution_cam_options, layer),
                                        offsetof(attribution_cam_options, upsample)};

const attribution_method attribution_gradcam = {
    .info =
        {.name = "gradcam",
         .title = "Grad-CAM",
         .definition = "max(sum over c of mean(dF/dA[c]) * A[c], 0), A [C, h, w] a layer's value",
         .source = "Selvaraju et al. 2017, Grad-CAM: visual explanations from deep networks",
         .cost =
             "one forward pass, and a backward one to the layer; gradcam, gradcam++ and layercam of a layer share them",
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
