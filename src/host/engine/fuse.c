/*
 * fuse.c - from nodes to steps: what is computed together, because only the next node reads the values between.
 *
 *   layer -> normalisation -> relu: one operation. The normalisation is folded into the weights where no backward pass
 *     follows: with one, every rule works with the layer's own weights, and on the values that these give.
 *   elementwise nodes one after another: one chain. It runs where its last node stands, so that all its operands are
 *     there.
 *
 * A value that a backward rule reads, that several nodes read, or that is the network's output, is never between.
 */
#include "engine/plan.h"

enum { SEVERAL_USERS = -2 };

/* What becomes of a node. */
typedef struct link {
    int norm;           /* a layer: the BATCH_NORM folded into its weights, or -1 */
    bool relu;          /* a layer: does the relu after it */
    bool absorbed;      /* is that normalisation or relu */
    int output;         /* value that the step writes */
    int previous, next; /* in the chain, or -1 */
    int steps;          /* of the chain up to here */
} link;

int *spade_network_users(const spade_network *network)
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

bool spade_rule_reads(const spade_node *node, int k)
{
    switch (node->kind) {
    case SPADE_NODE_UNARY: return node->function == SPADE_RELU ? k < 0 : k >= 0;
    case SPADE_NODE_MUL:
    case SPADE_NODE_MATMUL: return k >= 0;
    case SPADE_NODE_SOFTMAX: return k < 0;
    default: return false;
    }
}

/* What a backward rule reads is not read by its one user alone. */
static void keep_for_backward(const spade_network *network, int *user)
{
    for (int n = 0; n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        for (int k = 0; k < node->input_count; k++) {
            if (spade_rule_reads(node, k)) { user[node->inputs[k]] = SEVERAL_USERS; }
        }
        if (spade_rule_reads(node, -1)) { user[node->output] = SEVERAL_USERS; }
    }
}

static bool is_relu(const spade_node *node)
{
    return node->kind == SPADE_NODE_UNARY && node->function == SPADE_RELU;
}

static void absorb(const spade_network *network, int node, link *links, link *layer)
{
    links[node].absorbed = true;
    layer->output = network->nodes[node].output;
}

static void fuse_layer(const spade_network *network, const int *user, bool fold, int n, link *links)
{
    link *layer = &links[n];
    int next = user[layer->output];
    if (fold && network->nodes[n].kind == SPADE_NODE_CONVOLUTION && next >= 0 &&
        network->nodes[next].kind == SPADE_NODE_BATCH_NORM) {
        layer->norm = next;
        absorb(network, next, links, layer);
        next = user[layer->output];
    }
    if (next >= 0 && is_relu(&network->nodes[next])) {
        layer->relu = true;
        absorb(network, next, links, layer);
    }
}

int spade_pointwise_steps(const spade_node *node)
{
    switch (node->kind) {
    case SPADE_NODE_BATCH_NORM: return 2;
    case SPADE_NODE_UNARY:
    case SPADE_NODE_ADD:
    case SPADE_NODE_MUL: return 1;
    default: return 0;
    }
}

/* Node n goes on in the node that alone reads its output, where that changes no shape and begins no other chain. */
static void link_chain(const spade_network *network, const int *user, int n, link *links)
{
    const spade_node *node = &network->nodes[n];
    int next = user[node->output];
    links[n].steps = spade_pointwise_steps(node) + (links[n].previous >= 0 ? links[links[n].previous].steps : 0);
    if (next < 0 || links[next].absorbed || links[next].previous >= 0) { return; }
    const spade_value *from = &network->values[node->output], *to = &network->values[network->nodes[next].output];
    int steps = spade_pointwise_steps(&network->nodes[next]);
    if (steps == 0 || links[n].steps + steps > SPADE_POINTWISE_STEPS || !spade_same_shape(&from->shape, &to->shape)) {
        return;
    }
    links[n].next = next;
    links[next].previous = n;
}

static void emit_step(const spade_network *network, const link *links, int n, spade_step *step)
{
    *step =
        (spade_step){.node = n, .norm = links[n].norm, .relu = links[n].relu, .output = links[n].output, .saved = -1};
    if (!spade_pointwise_steps(&network->nodes[n])) { return; }
    while (links[step->node].previous >= 0) { step->node = links[step->node].previous; }
    for (int m = step->node; m >= 0; m = links[m].next) { step->chain[step->chain_length++] = m; }
}

spade_status spade_plan_steps(spade_plan *plan)
{
    const spade_network *network = plan->network;
    bool backward = plan->flags & SPADE_PLAN_BACKWARD;
    link *links = malloc(((size_t)network->node_count + 1) * sizeof *links);
    int *user = spade_network_users(network);
    spade_status status = SPADE_OK;
    if (!links || !user) {
        status = spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network");
        goto done;
    }
    if (backward) { keep_for_backward(network, user); }
    for (int n = 0; n < network->node_count; n++) {
        links[n] = (link){.norm = -1, .output = network->nodes[n].output, .previous = -1, .next = -1};
    }
    for (int n = 0; n < network->node_count; n++) {
        if (network->nodes[n].layer >= 0) { fuse_layer(network, user, !backward, n, links); }
    }
    for (int n = 0; n < network->node_count; n++) {
        if (!links[n].absorbed && spade_pointwise_steps(&network->nodes[n])) { link_chain(network, user, n, links); }
    }
    for (int n = 0; n < network->node_count; n++) {
        if (links[n].absorbed || links[n].next >= 0) { continue; }
        emit_step(network, links, n, &plan->steps[plan->step_count++]);
    }
done:
    free(links);
    free(user);
    return status;
}

int spade_step_inputs(const spade_network *network, const spade_step *step, int values[1 + SPADE_POINTWISE_STEPS])
{
    const spade_node *node = &network->nodes[step->node];
    int count = 0;
    for (int k = 0; k < node->input_count; k++) { values[count++] = node->inputs[k]; }
    for (int i = 1; i < step->chain_length; i++) {
        int operand = spade_pointwise_operand(network, step, i);
        if (operand >= 0) { values[count++] = operand; }
    }
    return count;
}

int spade_pointwise_operand(const spade_network *network, const spade_step *step, int i)
{
    const spade_node *node = &network->nodes[step->chain[i]];
    if (node->input_count < 2) { return -1; }
    bool swapped = i > 0 && node->inputs[1] == network->nodes[step->chain[i - 1]].output;
    return node->inputs[swapped ? 0 : 1];
}
