/*
 * head.h - the output that is explained: which one of the file's, and which of its values. What only makes scores of the
 * logits (Softmax, LogSoftmax, Sigmoid) is left out, and the network ends before what names the winner (ArgMax, ZipMap). Where
 * more is made of scores than moving their numbers, as 1 - p is, the output is scores and stays as it is (SPADE_HEAD_SCORES).
 */
#ifndef SPADE_IMPORT_HEAD_H
#define SPADE_IMPORT_HEAD_H

#include "import/import.h"

/* May an operator of the standard domain be a head, or stand behind the logits? */
bool spade_is_head_operator(const char *op_type);

typedef struct spade_import_output {
    const char
        *name; /* of the value that the network ends at: an output of the graph, or what names the winner reads */
    spade_head head;
    int nodes[2]; /* the ONNX nodes that the head is, the first one first; -1: none. Their values are the logits' */
} spade_import_output;

/* Names are checked before. SPADE_ERROR_UNSUPPORTED: several outputs, and none was chosen; SPADE_ERROR_ARGUMENT: there is
 * none of the chosen name. */
spade_status spade_output_find(spade_import *import, spade_import_output *out);
/* Is the node a part of the head? Then it is lowered to nothing by this, and any other is left as it is. */
static inline bool spade_output_is_head(const spade_import_output *output, int node)
{
    return node == output->nodes[0] || node == output->nodes[1];
}
spade_status spade_output_pass(spade_import *import, int node);
/* Does the node make the output that was found, but for a head and what only moves numbers behind it? */
bool spade_output_is_behind(const spade_import *import, int node);
/* After lowering: the network ends at this value, which holds one number for each class. */
spade_status spade_output_take(spade_import *import, const spade_import_output *output);

#endif
