/*
 * conservation.c - one pass, watched: at every node the relevance of its output against what its inputs get.
 *
 * Relevance and shares are brought to the host as they come, and summed up there in double. Two things keep nodes apart that a
 * map's own walk does at once: values are taps where a rule keeps a part of the relevance, or where (DeepLift) the values
 * themselves are needed beside their multipliers.
 */
#include "attribution/conservation.h"

#include <math.h>

#include "attribution/gradient_driver.h"

enum { PAIR = 2 };

typedef struct watch {
    const attribution_job *job;
    const spade_network *network;
    bool pairs;
    bool *reached; /* [values]: they depend on the input */
    int *taps;     /* [tap_count] values */
    int tap_count;
    int *tap_of; /* [values] into taps; -1: none */
    attribution_pass pass;
    int64_t largest; /* numbers of the largest value, of all images */
    float *numbers;  /* [largest]: relevance */
    float *values;   /* [largest]: the value that it is of */
    size_t bytes;    /* of both */
    spade_conservation *out;
} watch;

/* ---- what is to be seen */

/* A rule says what stays at the node, and the engine does its work, maybe together with others'. */
static bool has_account(const watch *w, const spade_rules *rules, const spade_node *node)
{
    const spade_rule *rule = rules->choose(w->network, node, rules->options);
    return rule && rule->account && !rule->run;
}

static spade_status choose_taps(watch *w, const spade_rules *rules)
{
    const spade_network *network = w->network;
    const size_t count = (size_t)network->value_count + 1;
    w->reached = calloc(count, sizeof *w->reached);
    w->taps = calloc(count, sizeof *w->taps);
    w->tap_of = calloc(count, sizeof *w->tap_of);
    if (!w->reached || !w->taps || !w->tap_of) {
        return spade_fail(w->job->context, SPADE_ERROR_MEMORY, "out of memory");
    }
    spade_rules_find_reached(network, network->input, w->reached);
    for (int v = 0; v < network->value_count; v++) {
        const int node = network->values[v].producer;
        const spade_shape shape = spade_value_shape(&network->values[v], w->pairs ? PAIR : 1);
        w->tap_of[v] = -1;
        if (!w->reached[v]) { continue; }
        w->largest = spade_shape_size(&shape) > w->largest ? spade_shape_size(&shape) : w->largest;
        if (!w->pairs && (node < 0 || !has_account(w, rules, &network->nodes[node]))) { continue; }
        w->tap_of[v] = w->tap_count;
        w->taps[w->tap_count++] = v;
    }
    return SPADE_OK;
}

static spade_status open_watch(watch *w, const spade_rules *rules)
{
    const attribution_job *job = w->job;
    void *memory;
    SPADE_TRY(choose_taps(w, rules));
    spade_plan_request request = spade_relevance_request(w->pairs ? PAIR : 1, rules);
    request.taps = w->taps;
    request.tap_count = w->tap_count;
    SPADE_TRY(attribution_pass_create(job, &request, &w->pass));
    const size_t bytes = sizeof *w->numbers * 2 * (size_t)w->largest;
    SPADE_TRY(spade_alloc(job->context, bytes, "relevance of a value", &memory));
    w->bytes = bytes;
    w->numbers = memory;
    w->values = w->numbers + w->largest;
    w->out->steps = calloc((size_t)w->network->node_count + 1, sizeof *w->out->steps);
    if (w->out->steps) { return SPADE_OK; }
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

static void close_watch(watch *w)
{
    spade_free_bytes(w->job->context, w->numbers, w->bytes);
    attribution_pass_destroy(&w->pass);
    free(w->reached);
    free(w->taps);
    free(w->tap_of);
}

/* ---- while relevance goes back */

/* The difference of a value from its baseline, at its place i in memory: outer * (image, then its partner) * inner. */
typedef struct pair_order {
    int64_t image, size; /* numbers of an image there; of all */
} pair_order;

/* Memory of a value is cut into blocks of one image each, where the batch is among the first axes; the images of a pair are
 * neighbours. */
static pair_order find_order(const spade_network *network, int value, const spade_shape *shape)
{
    const spade_value *v = &network->values[value];
    const int64_t outer = v->batch_outer ? v->batch_outer : 1;
    pair_order order = {.image = v->shape.dims[v->batch_axis] / outer, .size = spade_shape_size(shape)};
    for (int i = v->batch_axis + 1; i < shape->rank; i++) { order.image *= shape->dims[i]; }
    return order;
}

/* The sum of a value's relevance, and of its absolute values. numbers: what goes back, on the device. */
static spade_status sum_up(watch *w, int value, const spade_shape *shape, const float *numbers, double *sum,
                           double *magnitude)
{
    spade_device *device = w->job->context->device;
    const spade_backend *backend = device->backend;
    const int64_t n = spade_shape_size(shape);
    const size_t bytes = sizeof *numbers * (size_t)n;
    *sum = *magnitude = 0;
    SPADE_TRY(backend->download(device, w->numbers, numbers, bytes));
    if (!w->pairs) {
        for (int64_t i = 0; i < n; i++) {
            *sum += (double)w->numbers[i];
            *magnitude += fabs((double)w->numbers[i]);
        }
        return SPADE_OK;
    }
    const pair_order order = find_order(w->network, value, shape);
    SPADE_TRY(backend->download(device, w->values, spade_plan_tap(w->pass.plan, w->tap_of[value], NULL), bytes));
    for (int64_t first = 0; first + PAIR * order.image <= order.size; first += PAIR * order.image) {
        for (int64_t i = first; i < first + order.image; i++) {
            const double part = w->numbers[i] * ((double)w->values[i] - w->values[i + order.image]);
            *sum += part;
            *magnitude += fabs(part);
        }
    }
    return SPADE_OK;
}

static void name_step(const spade_network *network, const spade_node *node, spade_conservation_step *step)
{
    const bool function = node->kind == SPADE_NODE_FUNCTION;
    step->layer = node->layer >= 0;
    step->name = step->layer ? network->layers[node->layer].name : node->path && *node->path ? node->path : node->name;
    step->kind = function ? spade_function_name(node->pointwise.function) : spade_node_kind_name(node->kind);
}

/* Does the node move numbers that are the same for all pictures, padding or parts of its output? Their relevance is theirs. */
static bool moves_constants(const watch *w, const spade_node *node)
{
    if (node->kind == SPADE_NODE_AXIS_MAP) { return !node->axis_map.map.weighted; }
    for (int k = 0; node->kind == SPADE_NODE_CONCAT && k < node->input_count; k++) {
        if (!w->reached[node->inputs[k]]) { return true; }
    }
    return false;
}

static spade_status on_relevance(void *user, int node, const spade_shape *shape, const float *relevance)
{
    watch *w = user;
    const spade_node *at = &w->network->nodes[node];
    spade_conservation_step *step = &w->out->steps[w->out->count++];
    name_step(w->network, at, step);
    return sum_up(w, at->outputs[0], shape, relevance, &step->relevance, &step->magnitude);
}

static spade_status on_share(void *user, int node, int value, const spade_shape *shape, const float *share)
{
    watch *w = user;
    double sum, magnitude;
    (void)node;
    SPADE_TRY(sum_up(w, value, shape, share, &sum, &magnitude));
    w->out->steps[w->out->count - 1].handed_on += sum;
    if (value == w->network->input) { w->out->input += sum; }
    return SPADE_OK;
}

static spade_status on_account(void *user, int node, const spade_rule_account *account)
{
    watch *w = user;
    spade_conservation_step *step = &w->out->steps[w->out->count - 1];
    const bool rest = !w->pairs && (account->rest || moves_constants(w, &w->network->nodes[node]));
    step->constants = rest ? step->relevance - step->handed_on - account->stabilizer : account->constants;
    step->stabilizer = account->stabilizer;
    return SPADE_OK;
}

/* ---- the pass */

static spade_status upload(const watch *w, const spade_target *target)
{
    const attribution_job *job = w->job;
    spade_device *device = job->context->device;
    const spade_backend *backend = device->backend;
    const size_t bytes = sizeof *job->input * (size_t)job->size;
    const spade_seed_target seed = attribution_seed_target(target), targets[PAIR] = {seed, seed};
    float *input = spade_plan_input(w->pass.plan, NULL);
    SPADE_TRY(backend->upload(device, input, job->input, bytes));
    if (w->pairs) { SPADE_TRY(backend->zero(device, input + job->size, bytes)); }
    return backend->upload(device, w->pass.targets, targets, sizeof *targets * (w->pairs ? PAIR : 1));
}

static spade_status run_pass(watch *w)
{
    spade_device *device = w->job->context->device;
    spade_packed_weights *weights = w->pass.executor->weights;
    const spade_seed_args seed = {.batch = spade_plan_batch(w->pass.plan),
                                  .outputs = w->pass.outputs,
                                  .score = w->pass.score,
                                  .z = spade_plan_output(w->pass.plan),
                                  .targets = w->pass.targets,
                                  .seed = spade_plan_output_relevance(w->pass.plan),
                                  .times_output = !w->pairs,
                                  .values = w->pass.values};
    const spade_walk_observer observer = {
        .user = w, .relevance = on_relevance, .share = on_share, .account = on_account};
    SPADE_TRY(spade_run_forward(w->pass.plan, weights, NULL, NULL, NULL, NULL, NULL));
    SPADE_TRY(device->backend->seed(device, &seed));
    return spade_run_backward_observed(w->pass.plan, weights, &observer);
}

spade_status attribution_conserve(const attribution_job *job, const attribution_relevance *relevance,
                                  const spade_target *target, spade_conservation *out)
{
    watch w = {.job = job, .network = &job->model->network, .pairs = relevance->pairs, .out = out};
    double values[PAIR] = {0};
    spade_status status;
    SPADE_GOTO(open_watch(&w, relevance->rules));
    SPADE_GOTO(upload(&w, target));
    SPADE_GOTO(run_pass(&w));
    SPADE_GOTO(job->context->device->backend->download(job->context->device, values, w.pass.values,
                                                       sizeof *values * (w.pairs ? PAIR : 1)));
    out->output = values[0] - values[1];
done:
    close_watch(&w);
    return status;
}
