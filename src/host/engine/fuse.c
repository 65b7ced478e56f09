/*
 * fuse.c - from nodes to steps: what is computed together, because only the next node reads the values between.
 *
 *   layer -> normalisation -> relu: one operation. The normalisation is folded into the weights where no relevance goes back:
 *     with rules, every rule works with the layer's own weights, and on the values that these give.
 *   pointwise nodes one after another: one sequence. It runs where its last node stands, so that all its operands are there.
 *   on the way back, pointwise shares likewise: a sequence goes on through the node that made its input, where nothing else
 *     asks for the relevance between.
 *
 * A value that a rule keeps, that is tapped, that several nodes read, that is the network's output, or where a walk begins, is
 * never between. Of a walk that begins inside of the network, only the nodes that lead there have steps.
 */
#include "engine/plan.h"

enum { SEVERAL_USERS = -2 };

/* What becomes of a node. */
typedef struct link {
    int norm;           /* a layer: the BATCH_NORM folded into its weights, or -1 */
    bool relu;          /* a layer: does the relu after it */
    bool absorbed;      /* is that normalisation or relu */
    int output;         /* value that the step writes */
    int previous, next; /* in the sequence, or -1 */
    int steps;          /* of the sequence up to here */
} link;

/* user[values]: the one node that reads the value; below 0: none or several, or it is the network's output. NULL: out of
 * memory. */
static int *find_users(const spade_network *network)
{
    int *user = malloc(((size_t)network->value_count + 1) * sizeof *user);
    if (!user) { return NULL; }
    for (int i = 0; i < network->value_count; i++) { user[i] = -1; }
    for (int n = 0; n < network->node_count; n++) {
        for (int k = 0; k < network->nodes[n].input_count; k++) {
            int *slot = &user[network->nodes[n].inputs[k]];
            *slot = *slot == -1 ? n : SEVERAL_USERS;
        }
    }
    user[network->output] = SEVERAL_USERS;
    return user;
}

/* What is kept or tapped is not read by its one user alone. */
static void add_other_readers(const spade_plan *plan, int *user)
{
    const spade_network *network = plan->network;
    user[spade_plan_start(plan)] = SEVERAL_USERS;
    for (int i = 0; i < plan->request.tap_count; i++) { user[plan->request.taps[i]] = SEVERAL_USERS; }
    for (int n = 0; plan->back && n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        unsigned keeps = plan->back[n].keeps;
        for (int k = 0; k < node->input_count; k++) {
            if (spade_keeps_input(keeps, k)) { user[node->inputs[k]] = SEVERAL_USERS; }
        }
        if (keeps & SPADE_KEEP_OUTPUT) { user[node->outputs[0]] = SEVERAL_USERS; }
    }
}

/* Functions that make NaN or infinity of finite numbers that are not even large. */
static bool leaves_its_domain(const spade_node *node)
{
    if (node->kind == SPADE_NODE_LAYER_NORM) { return !(node->layer_norm.epsilon > 0); }
    if (node->kind != SPADE_NODE_FUNCTION) { return false; }
    switch (node->pointwise.function) {
    case SPADE_RECIPROCAL:
    case SPADE_SQRT:
    case SPADE_EXP:
    case SPADE_LOG:
    case SPADE_POW: return true;
    default: return false;
    }
}

/* may_be_nan[values]: what depends on such a function. NULL: out of memory. */
static bool *find_risky_values(const spade_network *network)
{
    bool *may_be_nan = calloc((size_t)network->value_count + 1, sizeof *may_be_nan);
    for (int n = 0; may_be_nan && n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        bool risky = leaves_its_domain(node);
        for (int k = 0; k < node->input_count; k++) { risky = risky || may_be_nan[node->inputs[k]]; }
        for (int k = 0; k < node->output_count; k++) { may_be_nan[node->outputs[k]] = risky; }
    }
    return may_be_nan;
}

/* leading[values]: what the pass is for depends on it. NULL: out of memory. */
static bool *find_leading(const spade_plan *plan)
{
    const spade_network *network = plan->network;
    const bool inner = spade_plan_start(plan) != network->output;
    bool *leading = calloc((size_t)network->value_count + 1, sizeof *leading);
    for (int v = 0; leading && !inner && v < network->value_count; v++) { leading[v] = true; }
    if (leading && inner) { spade_rules_find_leading(network, spade_plan_start(plan), leading); }
    return leading;
}

static bool is_relu(const spade_node *node)
{
    return node->kind == SPADE_NODE_FUNCTION && node->pointwise.function == SPADE_RELU;
}

static void absorb(const spade_network *network, int node, link *links, link *layer)
{
    links[node].absorbed = true;
    layer->output = network->nodes[node].outputs[0];
}

/* keeps_nan: a relu stays a node of its own, since that of a library's convolution may make 0 of NaN. */
static void fuse_layer(const spade_network *network, const int *user, bool fold, bool keeps_nan, int n, link *links)
{
    link *layer = &links[n];
    int next = user[layer->output];
    if (fold && network->nodes[n].kind == SPADE_NODE_CONVOLUTION && next >= 0 &&
        network->nodes[next].kind == SPADE_NODE_BATCH_NORM) {
        layer->norm = next;
        absorb(network, next, links, layer);
        next = user[layer->output];
    }
    if (next >= 0 && !keeps_nan && is_relu(&network->nodes[next])) {
        layer->relu = true;
        absorb(network, next, links, layer);
    }
}

static int input_of(const spade_node *node, int value)
{
    int k = 0;
    while (node->inputs[k] != value) { k++; }
    return k;
}

/* Node n goes on in the node that alone reads its output, where that changes no shape and begins no other sequence. */
static void link_pointwise(const spade_network *network, const int *user, int n, link *links)
{
    const spade_node *node = &network->nodes[n];
    spade_node_step steps[SPADE_NODE_MAX_STEPS];
    int running = links[n].previous >= 0 ? input_of(node, network->nodes[links[n].previous].outputs[0]) : 0;
    int next = user[node->outputs[0]];
    links[n].steps = spade_node_class_of(node)->steps(node, running, steps) +
                     (links[n].previous >= 0 ? links[links[n].previous].steps : 0);
    if (next < 0 || links[next].absorbed || links[next].previous >= 0) { return; }
    const spade_node *reader = &network->nodes[next];
    if (!spade_node_is_pointwise(reader)) { return; }
    int count = spade_node_class_of(reader)->steps(reader, input_of(reader, node->outputs[0]), steps);
    const spade_value *from = &network->values[node->outputs[0]], *to = &network->values[reader->outputs[0]];
    if (links[n].steps + count > SPADE_POINTWISE_STEPS || !spade_same_shape(from, to)) { return; }
    links[n].next = next;
    links[next].previous = n;
}

static void append(spade_sequence *sequence, int node, const spade_node_step *steps, int count)
{
    for (int i = 0; i < count; i++) {
        sequence->steps[sequence->count].node = node;
        sequence->steps[sequence->count++].how = steps[i];
    }
}

static void emit_step(const spade_network *network, const link *links, int n, spade_step *step)
{
    *step =
        (spade_step){.node = n, .norm = links[n].norm, .relu = links[n].relu, .output = links[n].output, .saved = -1};
    if (!spade_node_is_pointwise(&network->nodes[n])) { return; }
    while (links[step->node].previous >= 0) { step->node = links[step->node].previous; }
    for (int m = step->node; m >= 0; m = links[m].next) {
        const spade_node *node = &network->nodes[m];
        spade_node_step steps[SPADE_NODE_MAX_STEPS] = {0};
        int running = links[m].previous >= 0 ? input_of(node, network->nodes[links[m].previous].outputs[0]) : 0;
        int count = spade_node_class_of(node)->steps(node, running, steps);
        append(&step->sequence, m, steps, count);
        step->fused[step->fused_count++] = m;
    }
}

spade_status spade_plan_steps(spade_plan *plan)
{
    const spade_network *network = plan->network;
    link *links = malloc(((size_t)network->node_count + 1) * sizeof *links);
    int *user = find_users(network);
    bool *may_be_nan = find_risky_values(network);
    bool *leading = find_leading(plan);
    spade_status status = SPADE_OK;
    if (!links || !user || !may_be_nan || !leading) {
        status = spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network");
        goto done;
    }
    add_other_readers(plan, user);
    for (int n = 0; n < network->node_count; n++) {
        links[n] = (link){.norm = -1, .output = network->nodes[n].outputs[0], .previous = -1, .next = -1};
    }
    for (int n = 0; n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        if (node->layer < 0) { continue; }
        const bool keeps_nan = node->kind == SPADE_NODE_CONVOLUTION && may_be_nan[node->inputs[0]];
        fuse_layer(network, user, !plan->request.rules, keeps_nan, n, links);
    }
    for (int n = 0; n < network->node_count; n++) {
        if (!links[n].absorbed && spade_node_is_pointwise(&network->nodes[n])) {
            link_pointwise(network, user, n, links);
        }
    }
    for (int n = 0; n < network->node_count; n++) {
        if (links[n].absorbed || links[n].next >= 0 || !leading[links[n].output]) { continue; }
        emit_step(network, links, n, &plan->steps[plan->step_count++]);
    }
done:
    free(links);
    free(user);
    free(may_be_nan);
    free(leading);
    return status;
}

int spade_sequence_operand(const spade_network *network, const spade_sequence *sequence, int i)
{
    const spade_node *node = &network->nodes[sequence->steps[i].node];
    const spade_node_step *how = &sequence->steps[i].how;
    switch (how->source) {
    case SPADE_OPERAND_INPUT: return node->inputs[how->index];
    case SPADE_OPERAND_OUTPUT: return node->outputs[0];
    case SPADE_OPERAND_NONE:
    case SPADE_OPERAND_PARAMETER: break;
    }
    return -1;
}

int spade_step_input_count(const spade_network *network, const spade_step *step)
{
    return step->fused_count ? 1 + step->sequence.count : network->nodes[step->node].input_count;
}

int spade_step_input(const spade_network *network, const spade_step *step, int i)
{
    if (!step->fused_count || i == 0) { return network->nodes[step->node].inputs[i]; }
    return spade_sequence_operand(network, &step->sequence, i - 1);
}

/* ---- the way back */

/* The one input of a node that gets a share, if that is a pointwise one and all that goes back through the node; -1: no. */
static int only_share(const spade_plan *plan, int n)
{
    const spade_back_step *back = &plan->back[n];
    int only = -1;
    if (!back->rule || back->rule->run || !spade_node_is_pointwise(&plan->network->nodes[n])) { return -1; }
    for (int k = 0; k < plan->network->nodes[n].input_count; k++) {
        if (!back->inputs[k].wanted) { continue; }
        if (only >= 0 || back->inputs[k].form != SPADE_SHARE_BY_STEPS) { return -1; }
        only = k;
    }
    return only;
}

/* The sequence of input k goes on through the nodes before. */
static void extend_sequence(spade_plan *plan, const int *user, spade_back_input *input)
{
    const spade_network *network = plan->network;
    for (;;) {
        int value = network->nodes[input->to_node].inputs[input->to_input], made_by = network->values[value].producer;
        const spade_value *from = &network->values[network->nodes[input->to_node].outputs[0]];
        if (made_by < 0 || user[value] < 0 || value == spade_plan_stop(plan) || spade_plan_is_tap(plan, value) ||
            !spade_same_shape(&network->values[value], from)) {
            return;
        }
        int k = only_share(plan, made_by);
        if (k < 0) { return; }
        const spade_sequence *more = &plan->back[made_by].inputs[k].sequence;
        int before = network->nodes[made_by].inputs[k];
        if (user[before] < 0 || input->sequence.count + more->count > SPADE_POINTWISE_STEPS ||
            !spade_same_shape(&network->values[before], &network->values[value])) {
            return;
        }
        for (int i = 0; i < more->count; i++) { input->sequence.steps[input->sequence.count++] = more->steps[i]; }
        plan->back[made_by].passed = true;
        input->to_node = made_by;
        input->to_input = k;
    }
}

spade_status spade_plan_fuse_back(spade_plan *plan)
{
    const spade_network *network = plan->network;
    int *user = find_users(network);
    if (!user) { return spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network"); }
    for (int n = network->node_count - 1; n >= 0; n--) {
        spade_back_step *back = &plan->back[n];
        for (int k = 0; back->rule && !back->passed && k < network->nodes[n].input_count; k++) {
            if (back->inputs[k].wanted && back->inputs[k].form == SPADE_SHARE_BY_STEPS) {
                extend_sequence(plan, user, &back->inputs[k]);
            }
        }
    }
    free(user);
    return SPADE_OK;
}
