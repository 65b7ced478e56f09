/* model.h - a loaded model: the file, and the network that was made of it. */
#ifndef SPADE_ENGINE_MODEL_H
#define SPADE_ENGINE_MODEL_H

#include "network/network.h"
#include "onnx/onnx.h"

struct spade_model {
    spade_context *context;
    char *path;
    onnx_model *onnx;
    spade_network network;
    char **class_names; /* [classes] or NULL */
};

#endif
