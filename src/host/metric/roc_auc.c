/* roc_auc.c - area under the ROC curve through ranks (Mann-Whitney U), ties sharing their mean rank. */
#include <math.h>

#include "metric/registry.h"

typedef struct scored_pixel {
    float score;
    uint8_t inside;
} scored_pixel;

static int by_score(const void *left, const void *right)
{
    float a = ((const scored_pixel *)left)->score, b = ((const scored_pixel *)right)->score;
    return (a > b) - (a < b);
}

spade_status spade_roc_auc(spade_context *context, const float *scores, const uint8_t *mask, int64_t n, double *out)
{
    size_t bytes;
    void *memory = NULL;
    if (n < 0 || !spade_mul_size((size_t)n, sizeof(scored_pixel), &bytes)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "ROC AUC of %lld pixels", (long long)n);
    }
    int64_t inside = 0;
    for (int64_t i = 0; i < n; i++) {
        inside += mask[i] != 0;
        if (!isfinite(scores[i])) { return spade_fail(context, SPADE_ERROR_INPUT, "ROC AUC: the map is not finite"); }
    }
    if (inside == 0 || inside == n) {
        return spade_fail(context, SPADE_ERROR_INPUT, "ROC AUC needs pixels inside and outside of the mask; it is %s",
                          inside == 0 ? "empty" : "full");
    }
    SPADE_TRY(spade_alloc(context, bytes, "ROC AUC", &memory));
    scored_pixel *pixels = memory;
    for (int64_t i = 0; i < n; i++) { pixels[i] = (scored_pixel){scores[i], mask[i] != 0}; }
    qsort(pixels, (size_t)n, sizeof *pixels, by_score);

    /* Sum of the ranks (from 1) of the pixels inside; a run of equal scores shares the mean of its ranks. */
    double ranks = 0;
    for (int64_t first = 0; first < n;) {
        int64_t end = first, run_inside = 0;
        while (end < n && pixels[end].score == pixels[first].score) { run_inside += pixels[end++].inside; }
        ranks += (double)run_inside * ((double)(first + 1) + (double)end) / 2;
        first = end;
    }
    spade_free_bytes(context, memory, bytes);
    double u = ranks - (double)inside * ((double)inside + 1) / 2;
    *out = u / ((double)inside * (double)(n - inside));
    return SPADE_OK;
}

static spade_status run(spade_context *context, const void *options, const spade_metric_inputs *inputs, double *out)
{
    (void)options;
    return spade_roc_auc(context, inputs->scores, inputs->mask, inputs->height * inputs->width, out);
}

const metric_class metric_roc_auc = {
    .info =
        {.name = "roc_auc",
         .title = "ROC AUC",
         .definition =
             "probability that a pixel of the mask has a larger score than one outside; equal scores count half",
         .reading = "1 is perfect, 0.5 is chance",
         .source =
             "Hanley and McNeil 1982, The meaning and use of the area under a receiver operating characteristic curve",
         .version = 1,
         .better = SPADE_METRIC_HIGHER,
         .needs = SPADE_METRIC_NEEDS_MASK},
    .run = run,
};
