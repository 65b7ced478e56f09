/*
 * patterns.h - from a subgraph to a node: what exporters write as several ONNX operators, and what is one thing here.
 *
 * Patterns are tried before anything is lowered, at every ONNX node that the output depends on, last nodes first. A match
 * takes its nodes out of the graph; at its last node it is lowered in their place. What its nodes compute must be read by
 * the match alone, but for the last node's output: patterns.c sees to that. A new pattern is a file and a row
 * of SPADE_PATTERNS.
 */
#ifndef SPADE_IMPORT_PATTERNS_H
#define SPADE_IMPORT_PATTERNS_H

#include "import/import.h"

enum { SPADE_PATTERN_MAX_NODES = 16 };
typedef struct spade_pattern spade_pattern;
typedef struct spade_pattern_match {
    const spade_pattern *pattern;
    int nodes[SPADE_PATTERN_MAX_NODES]; /* ONNX nodes, the last one first */
    int count;
    int input_node, input; /* the activation: this input of that ONNX node */
    int form;              /* which of its forms a pattern has found: its own number */
} spade_pattern_match;

struct spade_pattern {
    const char *name; /* "GELU (erf)" */
    const char *last; /* op_type of the last node */
    /* Is the subgraph that ends at match->nodes[0] this pattern? Fills in the rest of the match. */
    bool (*match)(const spade_import *import, spade_pattern_match *match);
    spade_status (*emit)(spade_import *import, const spade_pattern_match *match);
};

/* ---- for those who match */
/* The ONNX node that makes this input of a node, if it is of this op_type; -1: it is not. It becomes a part of the match. */
int spade_pattern_node(const spade_import *import, int node, int input, const char *op_type,
                       spade_pattern_match *match);
/* The constant that this input of a node is, an initializer or a Constant node's; NULL: it is computed. */
const onnx_tensor *spade_pattern_constant(const spade_import *import, int node, int input);
/* Is the input one number, and which? (With more axes than one it would give the result more.) */
bool spade_pattern_scalar(const spade_import *import, int node, int input, double *out);
/* Is the input this one number, up to rounding? */
bool spade_pattern_number(const spade_import *import, int node, int input, double number);
/* Which input of a two-operand node is this number: 0, 1, or -1: neither. */
int spade_pattern_which_number(const spade_import *import, int node, double number);
/* Do two inputs have the same name, so the same value? */
bool spade_pattern_same(const spade_import *import, int node, int input, int other_node, int other_input);

/* ---- the patterns, a file each; the first that matches is taken */
/* A layer norm ends in the sum with a shift, in the product with a scale, or in the quotient. */
#define SPADE_PATTERNS(ROW)                                                                                            \
    ROW(gelu)                                                                                                          \
    ROW(gate)                                                                                                          \
    ROW(hard_product) ROW(hard_quotient) ROW(softplus) ROW(layer_norm_shift) ROW(layer_norm_scale) ROW(layer_norm)     \
        ROW(global_response_norm)
#define SPADE_PATTERN(name) extern const spade_pattern spade_pattern_##name;
SPADE_PATTERNS(SPADE_PATTERN)
#undef SPADE_PATTERN

/* ---- for import.c */
typedef struct spade_pattern_matches {
    spade_pattern_match *items;
    int *at;     /* [ONNX nodes]: the match that ends at the node, -1 */
    bool *taken; /* [ONNX nodes]: a part of a match, but not its last node */
} spade_pattern_matches;
spade_status spade_patterns_find(const spade_import *import, const int *order, const bool *live,
                                 spade_pattern_matches *out);
void spade_patterns_clear(spade_pattern_matches *matches);

#endif
