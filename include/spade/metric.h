/*
 * spade/metric.h - how good a map is, against a mask.
 */
#ifndef SPADE_METRIC_H
#define SPADE_METRIC_H

#include "spade/context.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SPADE_ROC_AUC_VERSION 1

/*
 * Area under the ROC curve of the scores [n] for telling the pixels of the mask (1) from the rest (0); ties shared, as
 * scikit-learn's roc_auc_score. SPADE_ERROR_INPUT where the mask is empty or full, or a score is not finite.
 */
SPADE_API spade_status spade_roc_auc(spade_context *context, const float *scores, const uint8_t *mask, int64_t n,
                                     double *out);

#ifdef __cplusplus
}
#endif
#endif
