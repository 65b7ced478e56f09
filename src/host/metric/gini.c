/* gini.c - how few pixels a map is about. */
#include <math.h>

#include "metric/registry.h"

static int by_size(const void *left, const void *right)
{
    const float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static spade_status run(spade_context *context, const void *options, const spade_metric_inputs *inputs, double *out)
{
    (void)options;
    const int64_t n = inputs->height * inputs->width;
    const size_t bytes = sizeof(float) * (size_t)n;
    void *memory;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(inputs->scores[i])) {
            return spade_fail(context, SPADE_ERROR_INPUT, "Gini index: the map is not finite");
        }
    }
    SPADE_TRY(spade_alloc(context, bytes, "Gini index", &memory));
    float *sizes = memory;
    double sum = 0, ranked = 0;
    for (int64_t i = 0; i < n; i++) { sizes[i] = fabsf(inputs->scores[i]); }
    qsort(sizes, (size_t)n, sizeof *sizes, by_size);
    for (int64_t i = 0; i < n; i++) {
        sum += (double)sizes[i];
        ranked += (2 * ((double)i + 1) - (double)n - 1) * (double)sizes[i];
    }
    spade_free_bytes(context, memory, bytes);
    *out = sum > 0 ? ranked / ((double)n * sum) : NAN;
    return SPADE_OK;
}

const metric_class metric_gini = {
    .info = {.name = "gini",
             .title = "Gini index",
             .definition =
                 "sum over k of (2 k - n - 1) s[k] / (n sum of s), s[1] <= .. <= s[n] the scores' absolute values; "
                 "none where all are 0",
             .reading = "0: every pixel counts the same, near 1: one pixel has it all",
             .source = "Chalasani et al. 2020, Concise explanations of neural networks using adversarial training",
             .version = 1,
             .better = SPADE_METRIC_HIGHER},
    .run = run,
};
