/* run_fingerprints.h - the files that all results of a run depend on, as they are. */
#ifndef SPADE_WORKLOAD_RUN_FINGERPRINTS_H
#define SPADE_WORKLOAD_RUN_FINGERPRINTS_H

#include "report/record.h"

/* {"model", "batch", "labels", and of files that methods read "lime.segmentation"}: those that there are; new reference. labels: a
 * path, or NULL. */
spade_status run_fingerprints(const explained_run *run, const spade_model *model, const char *labels, json_t **out);

#endif
