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
#include "network/spatial.h"

/* *value: its number in the network. A name that is none is SPADE_ERROR_ARGUMENT, with close ones in the message. */
spade_status attribution_layer_value(const attribution_job *job, const char *name, int *value);

/* Is `name` (NULL: no) the module itself, or does it lie under it? */
bool attribution_lies_under(const char *name, const char *module);

/* A layer's value with pixels: A [channels, height, width], wherever in the value these stand. */
typedef struct attribution_features {
    int value;
    spade_spatial where;
    int64_t channels, height, width;
} attribution_features;

/*
 * For methods whose option `layer` means feature maps: a value that has rows and columns, or tokens that stand for pixels, and
 * all its channels. A value whose pixels are not known, or that has only one, is refused with its shape, and so is an index.
 * No name: the last such value whose pixels the output reads, made by a convolution, a pooling, a normalisation, or of
 * pictures [1, C, h, w] by pointwise nodes. In a network with a class token that is what the last block's attention reads: the
 * tokens after the block's first normalisation.
 * reads: a named value whose pixels the output does not read, so that its gradient is zero, is refused.
 */
/* clang-format off */
#define ATTRIBUTION_FEATURE_MAPS_OPTION                                                                                \
    {.name = "layer",                                                                                                  \
     .help = "a layer, or a prefix of names: the last value under it; else the last one with pixels that F depends on", \
     .type = SPADE_OPTION_LAYER}
/* clang-format on */
spade_status attribution_feature_maps(const attribution_job *job, const spade_layer_option *layer, bool reads,
                                      attribution_features *out);

#endif
