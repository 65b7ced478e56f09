/* trace_warnings.c - see trace_warnings.h. */
#include "workload/trace_warnings.h"

#include "base/base.h"

/* A layer that has this share of zeros more than it was asked to have is named. */
static const double more_zeros = 0.02;

bool trace_warn_of_zeros(spade_context *context, const char *title, const spade_model *model, const spade_trace *trace)
{
    const char *colon = *title ? ": " : "";
    int64_t zeros = 0;
    int count = 0;
    double most = more_zeros, reached = 0, asked = 0;
    char name[201] = "";
    for (int i = 0; i < spade_model_layer_count(model); i++) {
        spade_layer_info info;
        spade_trace_layer layer;
        spade_model_layer(model, i, &info);
        spade_trace_layer_info(trace, i, &layer);
        if (!layer.solved) { continue; }
        zeros += layer.zeros;
        const double share = (double)layer.zeros / (double)layer.weights, more = share - layer.sparsity;
        const bool rounded =
            (double)layer.zeros - layer.sparsity * (double)layer.weights < (double)info.rows; /* up, in each row */
        if (layer.zeros == layer.weights || rounded || more <= more_zeros) { continue; }
        count++;
        if (more <= most) { continue; }
        most = more;
        reached = share;
        asked = layer.sparsity;
        snprintf(name, sizeof name, "%s", info.name);
    }
    if (!zeros) {
        spade_log(context, SPADE_LOG_WARNING, "%s%snothing is pruned: the trace is the dense network", title, colon);
    } else if (count) {
        spade_log(
            context, SPADE_LOG_WARNING,
            "%s%s%d layer%s more zeros than asked for (%s: %.1f %%, not %.1f %%): weights that were 0 before, and "
            "those of inputs that are 0 in every variant",
            title, colon, count, count == 1 ? " has" : "s have", name, 100 * reached, 100 * asked);
    }
    return !zeros || count;
}
