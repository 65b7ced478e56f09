/*
 * decision_layer.h - the linear layer that the network ends in: its outputs are scale * (W z) + bias + offset, one for each row of
 * W, where z is one vector an image (the deep features), and offset what is added to them behind the layer.
 */
#ifndef SPADE_NETWORK_DECISION_LAYER_H
#define SPADE_NETWORK_DECISION_LAYER_H

#include "network/network.h"

/* *out: the layer's number. SPADE_ERROR_UNSUPPORTED: there is none, and the node that stands in the way is named. */
spade_status spade_find_decision_layer(spade_context *context, const spade_network *network, int *out);
/* Of the layer that was found: offset [rows]. */
void spade_decision_offsets(const spade_network *network, float *out);

#endif
