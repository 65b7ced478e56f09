/* rule_plan.c - asks the rules, node by node, what they need: before fusion and placement. */
#include "engine/plan.h"

struct spade_rule_plan {
    spade_plan *plan;
    int node;
};

static spade_back_step *back_of(const spade_rule_plan *plan)
{
    return &plan->plan->back[plan->node];
}

static const spade_node *node_of(const spade_rule_plan *plan)
{
    return &plan->plan->network->nodes[plan->node];
}

bool spade_rule_wants(const spade_rule_plan *plan, int input)
{
    return back_of(plan)->inputs[input].wanted;
}

void spade_rule_keep(spade_rule_plan *plan, unsigned keeps)
{
    back_of(plan)->keeps |= keeps;
}

spade_node_shapes spade_rule_shapes(const spade_rule_plan *plan)
{
    return spade_plan_shapes(plan->plan, node_of(plan));
}

spade_status spade_rule_share_by_steps(spade_rule_plan *plan, int input, const spade_node_step *steps, int count)
{
    spade_back_input *share = &back_of(plan)->inputs[input];
    if (count < 0 || count > SPADE_POINTWISE_STEPS) {
        return spade_fail(plan->plan->context, SPADE_ERROR_INTERNAL, "a rule asks for %d pointwise steps", count);
    }
    share->form = SPADE_SHARE_BY_STEPS;
    share->sequence.count = count;
    for (int i = 0; i < count; i++) {
        share->sequence.steps[i].node = plan->node;
        share->sequence.steps[i].how = steps[i];
    }
    return SPADE_OK;
}

spade_status spade_rule_share_by_gradient(spade_rule_plan *plan, int input)
{
    const spade_node *node = node_of(plan);
    const spade_node_class *class = spade_node_class_of(node);
    if (class->gradient_keeps) { spade_rule_keep(plan, class->gradient_keeps(node)); }
    if (class->gradient_steps) {
        spade_node_step steps[SPADE_NODE_MAX_STEPS] = {0};
        int count = class->gradient_steps(node, input, steps);
        return spade_rule_share_by_steps(plan, input, steps, count);
    }
    back_of(plan)->inputs[input].form = class->gradient ? SPADE_SHARE_BY_OP : SPADE_SHARE_IS_DY;
    return SPADE_OK;
}

/* One more element; the array doubles when its count is a power of two. NULL: out of memory. */
static void *grow(void *array, int count, size_t size)
{
    if (count & (count - 1)) { return array; }
    return realloc(array, (count ? (size_t)count * 2 : 1) * size);
}

spade_status spade_rule_op(spade_rule_plan *plan, const spade_op_desc *desc, spade_weight_view weights)
{
    spade_back_step *back = back_of(plan);
    spade_rule_slot *ops = grow(back->ops, back->op_count, sizeof *ops);
    if (!ops) {
        return spade_fail(plan->plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network");
    }
    back->ops = ops;
    ops[back->op_count] = (spade_rule_slot){.kind = desc->kind, .weights = weights};
    SPADE_TRY(spade_plan_op(plan->plan, node_of(plan), desc, &ops[back->op_count].op));
    back->op_count++;
    return SPADE_OK;
}

spade_status spade_rule_scratch(spade_rule_plan *plan, const spade_shape *shape)
{
    spade_back_step *back = back_of(plan);
    spade_rule_buffer *scratch = grow(back->scratch, back->scratch_count, sizeof *scratch);
    if (!scratch) {
        return spade_fail(plan->plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network");
    }
    back->scratch = scratch;
    scratch[back->scratch_count++] = (spade_rule_buffer){*shape, -1};
    return SPADE_OK;
}

/* ---- all nodes */

void spade_rules_find_reached(const spade_network *network, int stop, bool *reached)
{
    reached[stop] = true;
    for (int n = 0; n < network->node_count; n++) {
        const spade_node *node = &network->nodes[n];
        for (int k = 0; k < node->input_count; k++) {
            if (!reached[node->inputs[k]]) { continue; }
            for (int o = 0; o < node->output_count; o++) { reached[node->outputs[o]] = true; }
        }
    }
}

void spade_rules_find_leading(const spade_network *network, int start, bool *leading)
{
    leading[start] = true;
    for (int n = network->node_count - 1; n >= 0; n--) {
        const spade_node *node = &network->nodes[n];
        bool leads = false;
        for (int o = 0; o < node->output_count; o++) { leads = leads || leading[node->outputs[o]]; }
        for (int k = 0; leads && k < node->input_count; k++) { leading[node->inputs[k]] = true; }
    }
}

/* The rule at a node. */
static spade_status choose_rule(spade_context *context, const spade_network *network, const spade_rules *rules,
                                const spade_node *node, const spade_rule **out)
{
    *out = rules->choose(network, node, rules->options);
    if (*out) { return SPADE_OK; }
    const bool function = node->kind == SPADE_NODE_FUNCTION, in_module = node->path && *node->path;
    return spade_fail(context, SPADE_ERROR_UNSUPPORTED, "%s has no rule for node \"%.200s\" (%s)%s%.200s", rules->name,
                      node->name,
                      function ? spade_function_name(node->pointwise.function) : spade_node_kind_name(node->kind),
                      in_module ? " in " : "", in_module ? node->path : "");
}

spade_status spade_rules_check(spade_context *context, const spade_network *network, const spade_rules *rules)
{
    bool *reached = calloc((size_t)network->value_count + 1, sizeof *reached);
    spade_status status = SPADE_OK;
    if (!reached) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    spade_rules_find_reached(network, network->input, reached);
    for (int n = 0; n < network->node_count && status == SPADE_OK; n++) {
        const spade_node *node = &network->nodes[n];
        const spade_rule *rule;
        if (reached[node->outputs[0]]) { status = choose_rule(context, network, rules, node, &rule); }
    }
    free(reached);
    return status;
}

static spade_status ask_node(spade_plan *plan, int n)
{
    const spade_node *node = &plan->network->nodes[n];
    spade_back_step *back = &plan->back[n];
    spade_rule_plan asked = {plan, n};
    bool wanted = false;
    back->inputs = calloc((size_t)node->input_count + 1, sizeof *back->inputs);
    if (!back->inputs) {
        return spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network");
    }
    for (int k = 0; k < node->input_count; k++) {
        back->inputs[k] =
            (spade_back_input){.wanted = plan->reached[node->inputs[k]] && plan->reached[node->outputs[0]],
                               .to_node = n,
                               .to_input = k,
                               .scratch = -1,
                               .partial = -1};
        wanted = wanted || back->inputs[k].wanted;
    }
    if (!wanted) { return SPADE_OK; }
    SPADE_TRY(choose_rule(plan->context, plan->network, &plan->rules, node, &back->rule));
    spade_status status = back->rule->plan(&asked, node, plan->rules.options);
    return status == SPADE_OK ? status : spade_fail_in(plan->context, status, "node \"%.200s\"", node->name);
}

/* Of a walk that begins inside: only what leads there has relevance. */
static spade_status leave_out_later(spade_plan *plan)
{
    const spade_network *network = plan->network;
    if (spade_plan_start(plan) == network->output) { return SPADE_OK; }
    bool *leading = calloc((size_t)network->value_count + 1, sizeof *leading);
    if (!leading) { return spade_fail(plan->context, SPADE_ERROR_MEMORY, "out of memory while planning the network"); }
    spade_rules_find_leading(network, spade_plan_start(plan), leading);
    for (int v = 0; v < network->value_count; v++) { plan->reached[v] = plan->reached[v] && leading[v]; }
    free(leading);
    return SPADE_OK;
}

spade_status spade_plan_ask_rules(spade_plan *plan)
{
    const int start = spade_plan_start(plan);
    spade_rules_find_reached(plan->network, spade_plan_stop(plan), plan->reached);
    if (!plan->reached[start]) {
        const bool output = start == plan->network->output;
        return spade_fail(plan->context, SPADE_ERROR_ARGUMENT, "%s%.200s%s does not depend on \"%.200s\"",
                          output ? "the network's output" : "\"", output ? "" : plan->network->values[start].name,
                          output ? "" : "\"", plan->network->values[spade_plan_stop(plan)].name);
    }
    SPADE_TRY(leave_out_later(plan));
    for (int i = 0; i < plan->request.tap_count; i++) {
        if (!plan->reached[plan->request.taps[i]]) {
            return spade_fail(plan->context, SPADE_ERROR_ARGUMENT, "no relevance comes to \"%.200s\"",
                              plan->network->values[plan->request.taps[i]].name);
        }
    }
    for (int n = 0; n < plan->network->node_count; n++) { SPADE_TRY(ask_node(plan, n)); }
    return SPADE_OK;
}

void spade_plan_release_rules(spade_plan *plan)
{
    const spade_backend *backend = plan->context->device->backend;
    for (int n = 0; plan->back && n < plan->network->node_count; n++) {
        spade_back_step *back = &plan->back[n];
        for (int k = 0; back->inputs && k < plan->network->nodes[n].input_count; k++) {
            if (back->inputs[k].op) { backend->destroy(back->inputs[k].op); }
            if (back->inputs[k].reduce) { backend->destroy(back->inputs[k].reduce); }
        }
        for (int i = 0; i < back->op_count; i++) { backend->destroy(back->ops[i].op); }
        free(back->inputs);
        free(back->ops);
        free(back->scratch);
    }
    free(plan->back);
}
