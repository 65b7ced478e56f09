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

/* How scores are made of the network's outputs; SPADE_SCORE_LOGIT: they are these (SPADE_HEAD_SCORES). */
spade_score spade_model_score(const spade_model *model);
/* class_names.c: from the metadata, into model->class_names. SPADE_ERROR_MEMORY. */
spade_status spade_model_read_class_names(spade_model *model);

#endif
