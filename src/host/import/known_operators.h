/* known_operators.h - what of ONNX is computed here: a row for each operator of the tables of operators/ and fold/. */
#ifndef SPADE_IMPORT_KNOWN_OPERATORS_H
#define SPADE_IMPORT_KNOWN_OPERATORS_H

#include "spade/model.h"

/* import.c: has this operator of the standard domain a rule for a picture? */
bool spade_lowers(const char *op_type);

#endif
