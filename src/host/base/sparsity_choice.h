/* sparsity_choice.h - what an automatic sparsity came to (spade/trace.h), in results and in words. */
#ifndef SPADE_BASE_SPARSITY_CHOICE_H
#define SPADE_BASE_SPARSITY_CHOICE_H

#include "base/json.h"
#include "spade/trace.h"

enum { SPARSITY_CHOICE_TEXT = 160 };

/* {"level", "scaled", "tried", "agreement", "keeps_class", "enough"}, and where options fix the sparsity of some layers "layers",
 * "of", "highest"; new reference, NULL: out of memory. */
json_t *sparsity_choice_json(const spade_sparsity_choice *choice);
/* What it was made of. False: there is no such object, the sparsity was given. */
bool sparsity_choice_read(const json_t *object, spade_sparsity_choice *out);
/* "0.95 in all layers, 98 % of other variants decided alike" */
const char *sparsity_choice_text(const spade_sparsity_choice *choice, char text[SPARSITY_CHOICE_TEXT]);
/* Set it in an object (a record's, "chosen") where the trace's sparsity was chosen. */
void sparsity_choice_set(json_t **object, const spade_trace *trace);
/* Warn, of an input, that no sparsity was good enough. */
void sparsity_choice_warn(spade_context *context, const char *title, const spade_trace *trace);

#endif
