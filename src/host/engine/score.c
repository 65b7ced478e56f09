/* score.c - what the network's outputs say of each class. */
#include <math.h>

#include "engine/model.h"

spade_head spade_model_head(const spade_model *model)
{
    return model->network.head;
}

const char *spade_head_name(spade_head head)
{
    static const char *const names[] = {"none", "softmax", "log softmax", "sigmoid", "scores"};
    return (unsigned)head < sizeof names / sizeof *names ? names[head] : "unknown";
}

spade_score spade_model_score(const spade_model *model)
{
    if (model->network.head == SPADE_HEAD_SCORES) { return SPADE_SCORE_LOGIT; }
    return model->network.head == SPADE_HEAD_SIGMOID || spade_model_outputs(model) == 1 ? SPADE_SCORE_SIGMOID
                                                                                        : SPADE_SCORE_SOFTMAX;
}

static void softmax(const float *z, int64_t n, double *out)
{
    double largest = z[0], sum = 0;
    for (int64_t i = 1; i < n; i++) { largest = fmax(largest, z[i]); }
    for (int64_t i = 0; i < n; i++) { sum += out[i] = exp((double)z[i] - largest); }
    for (int64_t i = 0; i < n; i++) { out[i] /= sum; }
}

static double sigmoid(double z)
{
    const double small = exp(-fabs(z));
    return (z >= 0 ? 1 : small) / (1 + small);
}

void spade_model_scores(const spade_model *model, const float *outputs, double *logits, double *scores)
{
    const int64_t classes = spade_model_classes(model);
    const bool binary = spade_model_outputs(model) == 1;
    for (int64_t i = 0; i < classes; i++) {
        const double logit = !binary ? outputs[i] : i ? outputs[0] : -(double)outputs[0];
        if (logits) { logits[i] = logit; }
        if (scores) { scores[i] = model->network.head == SPADE_HEAD_SCORES ? logit : sigmoid(logit); }
    }
    if (scores && spade_model_score(model) == SPADE_SCORE_SOFTMAX) { softmax(outputs, classes, scores); }
}
