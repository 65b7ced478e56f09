/* unsupported.h - the message about what a file asks for that is not computed here. */
#ifndef SPADE_IMPORT_UNSUPPORTED_H
#define SPADE_IMPORT_UNSUPPORTED_H

#include "onnx/onnx.h"

/* supported [ONNX nodes]: at least one is not. Always SPADE_ERROR_UNSUPPORTED. */
spade_status spade_fail_unsupported(spade_context *context, const onnx_model *onnx, const bool *supported);

#endif
