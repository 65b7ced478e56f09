/*
 * layer_value.h - from a name to a value inside of the network, for methods that look at a layer.
 *
 * A name is a layer's (layer4.1.conv2), a node's dotted path (layer4.1.relu), or a module's that some of these lie in:
 * layer4 is the last value, in the order of computation, that is computed under it. Where the exporter gave nodes no
 * paths, a module is known by its layers only: its value is then what the pointwise nodes behind the last one of them
 * (normalisation, addition, relu) make of its output, up to the next layer or pooling.
 */
#ifndef SPADE_ATTRIBUTION_LAYER_VALUE_H
#define SPADE_ATTRIBUTION_LAYER_VALUE_H

#include "attribution/registry.h"

/* *value: its number in the network. A name that is none is SPADE_ERROR_ARGUMENT, with close ones in the message. */
spade_status attribution_layer_value(const attribution_job *job, const char *name, int *value);

/* The same for methods whose option `layer` means feature maps [1, C, h, w] with h * w > 1, all channels of them: other
 * values are refused with their shape, and so is an index. No name: the last feature maps before the global pooling. */
/* clang-format off */
#define ATTRIBUTION_FEATURE_MAPS_OPTION                                                                                \
    {.name = "layer",                                                                                                  \
     .help = "a layer, or a prefix of names: the last value under it; else the last one before the global pooling",     \
     .type = SPADE_OPTION_LAYER}
/* clang-format on */
spade_status attribution_feature_maps(const attribution_job *job, const spade_layer_option *layer, int *value);

#endif
