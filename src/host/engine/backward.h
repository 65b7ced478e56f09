/*
 * backward.h - what a backward rule may do, for rules in engine/backward.c and in interpret/.
 *
 * The walk goes from the last node to the first. A rule finds the relevance of its node's output complete, and hands
 * each input its share either with spade_backward_add(), or by writing it to spade_backward_target() and calling
 * spade_backward_deliver(). Shares of a value that several nodes read are summed in the order of the walk, which is
 * always the same.
 */
#ifndef SPADE_ENGINE_BACKWARD_H
#define SPADE_ENGINE_BACKWARD_H

#include "engine/engine.h"

/* Does input k of the node get a share? Constants do not. */
bool spade_backward_wants(const spade_backward *walk, const spade_node *node, int k);
/* Relevance of the node's output, in the output's layout. */
const float *spade_backward_relevance(const spade_backward *walk, const spade_node *node);
/*
 * A value of the forward pass. Kept: inputs of UNARY (of a relu its output, positive where its input is), MUL and
 * MATMUL, the output of SOFTMAX, constants.
 */
const float *spade_backward_value(const spade_backward *walk, int value);
/* Shape of a value for the plan's batch. */
spade_shape spade_backward_shape(const spade_backward *walk, int value);

/*
 * Where the share of input k is written; then deliver it. Of an elementwise node's last input and of RESHAPE, that may
 * be where the relevance lies: write the shares in the order of the inputs, element by element.
 */
float *spade_backward_target(spade_backward *walk, const spade_node *node, int node_index, int k);
spade_status spade_backward_deliver(spade_backward *walk, const spade_node *node, int node_index, int k);
/* Hand over `share` [shape of input k], which stays the caller's. */
spade_status spade_backward_add(spade_backward *walk, const spade_node *node, int k, const float *share);

/*
 * Run the planned backward operation of input k with a relevance dy of the output's shape (usually
 * spade_backward_relevance), sum over what was broadcast, deliver. Weights, saved maxima and kept values are filled in.
 */
spade_status spade_backward_run(spade_backward *walk, const spade_node *node, int node_index, int k, const float *dy);

/* The gradient's own rule for a kind of node, for tables that differ in a few kinds only. */
spade_rule_fn spade_gradient_rule(spade_node_kind kind);

#endif
