/* map_check.h - what is known of how faithful a map is to its network, as JSON. Private to workload/. */
#ifndef SPADE_WORKLOAD_MAP_CHECK_H
#define SPADE_WORKLOAD_MAP_CHECK_H

#include "base/json.h"
#include "spade/check.h"

/* A map that is checked: whose it is, and what the method said of it. */
typedef struct map_check {
    const spade_model *model;
    const spade_trace *trace; /* NULL: the dense network */
    const spade_attribution *attribution;
    const float *input; /* of the network */
    const spade_target *target;
    double delta, difference; /* spade_map_note; NaN: the method promises no sum */
} map_check;

/*
 * Completeness, where the method promises it, and conservation, where it hands relevance on: a pass more. New reference; NULL: the
 * method promises neither.
 *
 *   "completeness": {"difference": F(x) - F(baseline), "sum": of the map, "delta": sum - difference, "relative": its size over
 *                    that of the difference, "tolerance": which it may reach, "holds"}
 *   "conservation": {"output": relevance where it begins, "input": where it ends, "constants": what all nodes' biases and
 *                    constants have, "missing": what else is gone, "tolerance": the share of a node's sum of absolute values
 *                    that may, "holds", "lossy": how many nodes miss more,
 *                    "steps": [{"name", "kind", "layer": it has weights, "relevance" of the output, "magnitude", "handed_on",
 *                               "constants", "stabilizer", "missing", "holds"}]: layers, and other nodes where something stays}
 */
spade_status map_check_run(spade_context *context, const map_check *check, json_t **out);

/* Say what does not hold. whose: "NAME: the dense map of METHOD for class 3", for the messages. */
void map_check_warn(spade_context *context, const char *whose, const json_t *check);

#endif
