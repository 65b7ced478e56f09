/* trace_warnings.h - what is said of the zeros of a trace. Private to workload/. */
#ifndef SPADE_WORKLOAD_TRACE_WARNINGS_H
#define SPADE_WORKLOAD_TRACE_WARNINGS_H

#include "spade/spade.h"

/*
 * Warn of a trace without any zero, which is the dense network, or of layers with zeros that nobody asked for: the solvers count
 * weights that were 0 before, and those of inputs that are 0 in every variant, among what they prune only as far as that goes. Of
 * layers without any weight left others say more. title: what the line begins with; "": nothing. True: something was said.
 */
bool trace_warn_of_zeros(spade_context *context, const char *title, const spade_model *model, const spade_trace *trace);

#endif
