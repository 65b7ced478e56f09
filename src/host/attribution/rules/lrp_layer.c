/*
 * lrp_layer.c - layer-wise relevance propagation through a convolution or linear layer: formulas as data, one code for all.
 *
 * A formula is a sum of terms, each with a view of the layer's input and one of its weights. Terms that share a denominator
 * add up to a z; relevance R of the output becomes s = R / z there, and input i gets
 *
 *   sum over the terms of share * view(x)[i] * (view(w)^T s)[i]
 *
 *   epsilon  x w / (sum x w + b)                                                      Bach et al. 2015
 *   z+       (x w)+ / (sum (x w)+ + b+), x of either sign                             Montavon et al. 2017
 *   paper    the same for x > 0 and for x < 0 apart, without bias
 *   box      (x w - low w+ - high w-) / its sum, low and high the input's extremes    Montavon et al. 2017, z^B
 *   flat     the same for all inputs of an output                                     Lapuschkin et al. 2019
 *   gamma    as zennit's: where the output is positive, positive parts of x w weigh 1 + gamma; else the negative ones
 *            (Montavon et al. 2019)
 */
#include <float.h>
#include <math.h>

#include "attribution/rules/lrp.h"

/* ---- the table */

typedef enum input_view { X, X_POSITIVE, X_NEGATIVE, LOW, HIGH, ONES } input_view;

typedef struct lrp_term {
    input_view x;
    spade_weight_view_kind w;
    bool bias;       /* adds to z */
    int sign;        /* of the term in z and in the share */
    int denominator; /* which z */
    bool sign_only;  /* this z is asked for its sign alone: nothing is handed on through it */
} lrp_term;

enum { MAX_TERMS = 5, MAX_DENOMINATORS = 3 };

typedef struct lrp_formula {
    int denominators, terms;
    lrp_term term[MAX_TERMS];
    bool by_sign; /* denominator 0 gets relevance where the last one is positive, denominator 1 where it is negative */
    float least;  /* what a z is stabilised with at least */
    bool exact;   /* with that and no more */
} lrp_formula;

static const lrp_formula formulas[] = {
    [LRP_EPSILON] = {.denominators = 1, .terms = 1, .term = {{X, SPADE_W, true, 1, 0, false}}},
    [LRP_Z_PLUS] = {.denominators = 1,
                    .terms = 2,
                    .term = {{X_POSITIVE, SPADE_W_POSITIVE, true, 1, 0, false},
                             {X_NEGATIVE, SPADE_W_NEGATIVE, false, 1, 0, false}}},
    [LRP_PAPER] = {.denominators = 2,
                   .terms = 2,
                   .term = {{X_POSITIVE, SPADE_W_POSITIVE, false, 1, 0, false},
                            {X_NEGATIVE, SPADE_W_NEGATIVE, false, 1, 1, false}},
                   .exact = true},
    [LRP_BOX] = {.denominators = 1,
                 .terms = 3,
                 .term = {{X, SPADE_W, false, 1, 0, false},
                          {LOW, SPADE_W_POSITIVE, false, -1, 0, false},
                          {HIGH, SPADE_W_NEGATIVE, false, -1, 0, false}},
                 .least = 1e-9f,
                 .exact = true},
    [LRP_FLAT] = {.denominators = 1, .terms = 1, .term = {{ONES, SPADE_W_ONES, false, 1, 0, false}}},
    [LRP_GAMMA] = {.denominators = 3,
                   .terms = 5,
                   .term = {{X_POSITIVE, SPADE_W_PLUS_GAMMA, true, 1, 0, false},
                            {X_NEGATIVE, SPADE_W_MINUS_GAMMA, false, 1, 0, false},
                            {X_POSITIVE, SPADE_W_MINUS_GAMMA, true, 1, 1, false},
                            {X_NEGATIVE, SPADE_W_PLUS_GAMMA, false, 1, 1, false},
                            {X, SPADE_W, true, 1, 2, true}},
                   .by_sign = true},
};

static float stabilizer_of(const lrp_formula *formula, const void *options)
{
    const float epsilon = ((const spade_lrp_options *)options)->epsilon;
    return formula->exact ? formula->least : epsilon;
}

/* ---- which formula at which layer */

int lrp_norm_behind(const spade_network *network, const spade_node *node)
{
    int reader = 0;
    if (node->kind != SPADE_NODE_CONVOLUTION || node->outputs[0] == network->output) { return 0; }
    for (int n = (int)(node - network->nodes) + 1; n < network->node_count; n++) {
        for (int k = 0; k < network->nodes[n].input_count; k++) {
            if (network->nodes[n].inputs[k] != node->outputs[0]) { continue; }
            if (reader || network->nodes[n].kind != SPADE_NODE_BATCH_NORM) { return 0; }
            reader = n;
        }
    }
    return reader;
}

/* Does the layer read the picture: is there nothing before it but movements and sums and products with numbers? */
static bool is_first(const spade_network *network, const spade_node *node)
{
    int value = node->inputs[0];
    while (value != network->input) {
        if (network->values[value].producer < 0) { return false; }
        const spade_node *before = &network->nodes[network->values[value].producer];
        const bool moves = before->kind == SPADE_NODE_CONVERT_LAYOUT || before->kind == SPADE_NODE_PERMUTE ||
                           before->kind == SPADE_NODE_RESHAPE || before->kind == SPADE_NODE_AXIS_MAP ||
                           before->kind == SPADE_NODE_BATCH_NORM ||
                           (before->kind == SPADE_NODE_FUNCTION && spade_rule_is_linear(before));
        const bool scales = before->kind == SPADE_NODE_ADD || before->kind == SPADE_NODE_MUL;
        if (!moves && !scales) { return false; }
        const int constant = scales && network->values[before->inputs[0]].constant ? 0 : 1;
        if (scales && !network->values[before->inputs[constant]].constant) { return false; }
        value = before->inputs[scales ? 1 - constant : 0];
    }
    return true;
}

static const lrp_formula *formula_of(const spade_network *network, const spade_node *node, const void *options)
{
    const lrp_composite *composite = lrp_composite_of(options);
    const bool convolution = node->kind == SPADE_NODE_CONVOLUTION;
    if (is_first(network, node)) {
        return &formulas[convolution ? composite->first_convolution : composite->first_linear];
    }
    return &formulas[convolution ? composite->convolution : composite->linear];
}

/* Is no number of the value below 0? Then terms of negative inputs are nothing. */
static bool is_nonnegative(const spade_network *network, int value)
{
    while (network->values[value].producer >= 0) {
        const spade_node *node = &network->nodes[network->values[value].producer];
        switch (node->kind) {
        case SPADE_NODE_FUNCTION:
            return node->pointwise.function == SPADE_RELU ||
                   (node->pointwise.function == SPADE_CLIP && node->pointwise.alpha >= 0);
        case SPADE_NODE_SOFTMAX: return true;
        case SPADE_NODE_MAX_POOL:
        case SPADE_NODE_AVERAGE_POOL:
        case SPADE_NODE_RESHAPE:
        case SPADE_NODE_PERMUTE:
        case SPADE_NODE_CONVERT_LAYOUT: value = node->inputs[0]; break;
        default: return false;
        }
    }
    return false;
}

/* ---- the walk over a formula: the same for plan and run, so that slots come in the same order */

typedef struct layer {
    const lrp_formula *formula;
    bool used[MAX_TERMS];
    int op, scratch;                                       /* the next slots */
    int view[MAX_TERMS], z[MAX_DENOMINATORS], extra, back; /* scratch; view -1: the input itself */
} layer;

static layer begin(const spade_network *network, const spade_node *node, const void *options)
{
    layer l = {.formula = formula_of(network, node, options)};
    const bool nonnegative = is_nonnegative(network, node->inputs[0]);
    for (int t = 0; t < l.formula->terms; t++) {
        l.used[t] = !(nonnegative && l.formula->term[t].x == X_NEGATIVE);
        l.view[t] = l.formula->term[t].x == X ? -1 : l.scratch++;
    }
    for (int d = 0; d < l.formula->denominators; d++) { l.z[d] = l.scratch++; }
    l.extra = l.scratch++;
    l.back = l.scratch++;
    return l;
}

/* The first used term of a denominator; -1: none is used. */
static int first_term(const layer *l, int denominator)
{
    for (int t = 0; t < l->formula->terms; t++) {
        if (l->used[t] && l->formula->term[t].denominator == denominator) { return t; }
    }
    return -1;
}

/* ---- plan */

static const spade_weight_view no_weights;

static spade_op_desc pointwise(const spade_shape *x, const spade_shape *y)
{
    return (spade_op_desc){.kind = SPADE_OP_POINTWISE, .a = *x, .y = *y};
}

static void add_function(spade_op_desc *desc, spade_function function, float alpha, float beta)
{
    desc->steps[desc->step_count++] =
        (spade_pointwise_step){.kind = SPADE_POINTWISE_FUNCTION, .function = function, .alpha = alpha, .beta = beta};
}

static void add_operand(spade_op_desc *desc, spade_pointwise_kind kind, const spade_shape *operand)
{
    desc->steps[desc->step_count++] = (spade_pointwise_step){.kind = kind, .operand = *operand};
}

/* One number an image: [n, 1, ..]. */
static spade_shape per_image(const spade_node_shapes *shapes)
{
    const spade_value *value = &shapes->network->values[shapes->node->inputs[0]];
    spade_shape one = spade_input_shape(shapes, 0);
    for (int i = 0; i < one.rank; i++) { one.dims[i] = i == value->batch_axis ? one.dims[i] : 1; }
    return one;
}

/* The extreme of an image, everywhere: least = -max(-x). The number itself lies in the scratch `extra`, which is no smaller. */
static spade_status plan_extreme(spade_rule_plan *plan, const spade_node_shapes *shapes, bool low)
{
    const spade_shape x = spade_input_shape(shapes, 0), one = per_image(shapes);
    const spade_op_desc largest = {.kind = SPADE_OP_REDUCE_MAX, .a = x, .y = one};
    spade_op_desc sign = pointwise(&x, &x), everywhere = pointwise(&one, &x);
    add_function(&sign, SPADE_AFFINE, low ? -1 : 1, 0);
    add_function(&everywhere, SPADE_AFFINE, low ? -1 : 1, 0);
    SPADE_TRY(spade_rule_op(plan, &sign, no_weights));
    SPADE_TRY(spade_rule_op(plan, &largest, no_weights));
    return spade_rule_op(plan, &everywhere, no_weights);
}

static spade_status plan_view(spade_rule_plan *plan, const spade_node_shapes *shapes, input_view view)
{
    const spade_shape x = spade_input_shape(shapes, 0);
    spade_op_desc desc = pointwise(&x, &x);
    switch (view) {
    case X: return SPADE_OK;
    case X_POSITIVE: add_function(&desc, SPADE_RELU, 0, 0); break;
    case X_NEGATIVE: add_function(&desc, SPADE_CLIP, -FLT_MAX, 0); break;
    case ONES: add_function(&desc, SPADE_CLIP, 1, 1); break;
    case LOW:
    case HIGH: return plan_extreme(plan, shapes, view == LOW);
    }
    return spade_rule_op(plan, &desc, no_weights);
}

static spade_weight_view weights_of(const lrp_term *term, const spade_network *network, const spade_node *node,
                                    const void *options)
{
    const bool alone = lrp_composite_of(options)->paper;
    return (spade_weight_view){.kind = term->w,
                               .gamma = ((const spade_lrp_options *)options)->gamma,
                               .norm = alone ? 0 : lrp_norm_behind(network, node)};
}

/* z of all denominators. */
static spade_status plan_forward(spade_rule_plan *plan, const layer *l, const spade_node_shapes *shapes,
                                 const void *options)
{
    const spade_shape y = spade_output_shape(shapes);
    for (int t = 0; t < l->formula->terms; t++) {
        const lrp_term *term = &l->formula->term[t];
        spade_op_desc forward, add = pointwise(&y, &y);
        if (!l->used[t]) { continue; }
        SPADE_TRY(plan_view(plan, shapes, term->x));
        spade_node_class_of(shapes->node)->forward(shapes, &forward);
        SPADE_TRY(spade_rule_op(plan, &forward, weights_of(term, shapes->network, shapes->node, options)));
        if (t == first_term(l, term->denominator)) { continue; }
        add_function(&add, SPADE_AFFINE, (float)term->sign, 0);
        add_operand(&add, SPADE_POINTWISE_ADD, &y);
        SPADE_TRY(spade_rule_op(plan, &add, no_weights));
    }
    return SPADE_OK;
}

/* s = R / z; with by_sign, only where the last z has the denominator's sign. */
static spade_status plan_divide(spade_rule_plan *plan, const layer *l, int denominator, const spade_shape *y,
                                const void *options)
{
    spade_op_desc divide = pointwise(y, y);
    if (l->formula->by_sign) {
        add_operand(&divide, SPADE_POINTWISE_DERIVATIVE, y); /* R where the operand is in the range, else 0 */
        divide.steps[0].function = denominator == 0 ? SPADE_RELU : SPADE_CLIP;
        divide.steps[0].alpha = -FLT_MAX;
        divide.steps[0].beta = -FLT_TRUE_MIN;
    }
    add_operand(&divide, SPADE_POINTWISE_DIVIDE, y);
    divide.steps[divide.step_count - 1].alpha = stabilizer_of(l->formula, options);
    return spade_rule_op(plan, &divide, no_weights);
}

static bool is_divided(const layer *l, int denominator)
{
    const int first = first_term(l, denominator);
    return first >= 0 && !l->formula->term[first].sign_only;
}

static spade_status plan_shares(spade_rule_plan *plan, const layer *l, const spade_node_shapes *shapes,
                                const void *options)
{
    const spade_shape x = spade_input_shape(shapes, 0);
    for (int t = 0, before = 0; t < l->formula->terms; t++) {
        const lrp_term *term = &l->formula->term[t];
        spade_op_desc back, share = pointwise(&x, &x);
        if (!l->used[t] || term->sign_only) { continue; }
        spade_node_class_of(shapes->node)->gradient(shapes, 0, &back);
        SPADE_TRY(spade_rule_op(plan, &back, weights_of(term, shapes->network, shapes->node, options)));
        add_operand(&share, SPADE_POINTWISE_MULTIPLY, &x);
        if (before++) {
            add_function(&share, SPADE_AFFINE, (float)term->sign, 0);
            add_operand(&share, SPADE_POINTWISE_ADD, &x);
        }
        SPADE_TRY(spade_rule_op(plan, &share, no_weights));
    }
    return SPADE_OK;
}

static spade_status plan(spade_rule_plan *plan, const spade_node *node, const void *options)
{
    const spade_node_shapes shapes = spade_rule_shapes(plan);
    const spade_shape x = spade_input_shape(&shapes, 0), y = spade_output_shape(&shapes);
    const layer l = begin(shapes.network, node, options);
    spade_rule_keep(plan, SPADE_KEEP_INPUT_0);
    for (int t = 0; t < l.formula->terms; t++) {
        if (l.view[t] >= 0) { SPADE_TRY(spade_rule_scratch(plan, &x)); }
    }
    for (int d = 0; d <= l.formula->denominators; d++) { SPADE_TRY(spade_rule_scratch(plan, &y)); } /* z, extra */
    SPADE_TRY(spade_rule_scratch(plan, &x));                                                        /* back */
    SPADE_TRY(plan_forward(plan, &l, &shapes, options));
    for (int d = 0; d < l.formula->denominators; d++) {
        if (is_divided(&l, d)) { SPADE_TRY(plan_divide(plan, &l, d, &y, options)); }
    }
    return plan_shares(plan, &l, &shapes, options);
}

/* ---- run */

static const float *view_at(spade_rule_call *call, const layer *l, int term)
{
    return l->view[term] < 0 ? spade_rule_input(call, 0) : spade_rule_scratch_at(call, l->view[term]);
}

static spade_status run_view(spade_rule_call *call, layer *l, int term)
{
    const input_view view = l->formula->term[term].x;
    const float *x = spade_rule_input(call, 0);
    if (view == X) { return SPADE_OK; }
    float *out = spade_rule_scratch_at(call, l->view[term]), *number = spade_rule_scratch_at(call, l->extra);
    spade_op_args args = {.a = x, .out = out};
    SPADE_TRY(spade_rule_run(call, l->op++, &args));
    if (view != LOW && view != HIGH) { return SPADE_OK; }
    args = (spade_op_args){.a = out, .out = number};
    SPADE_TRY(spade_rule_run(call, l->op++, &args));
    args = (spade_op_args){.a = number, .out = out};
    return spade_rule_run(call, l->op++, &args);
}

static spade_status run_forward(spade_rule_call *call, layer *l)
{
    for (int t = 0; t < l->formula->terms; t++) {
        const lrp_term *term = &l->formula->term[t];
        if (!l->used[t]) { continue; }
        const bool first = t == first_term(l, term->denominator);
        float *z = spade_rule_scratch_at(call, l->z[term->denominator]);
        float *extra = spade_rule_scratch_at(call, l->extra);
        SPADE_TRY(run_view(call, l, t));
        spade_op_args args = {.a = view_at(call, l, t), .out = first ? z : extra};
        if (term->bias) { SPADE_TRY(spade_rule_bias(call, l->op, &args.bias)); }
        SPADE_TRY(spade_rule_run(call, l->op++, &args));
        if (first) { continue; }
        args = (spade_op_args){.a = extra, .operands = {NULL, z}, .out = z};
        SPADE_TRY(spade_rule_run(call, l->op++, &args));
    }
    return SPADE_OK;
}

static spade_status run_divide(spade_rule_call *call, layer *l, int denominator)
{
    float *z = spade_rule_scratch_at(call, l->z[denominator]);
    const float *sign = spade_rule_scratch_at(call, l->z[l->formula->denominators - 1]);
    spade_op_args args = {.a = spade_rule_relevance(call), .operands = {z}, .out = z};
    if (l->formula->by_sign) { args.operands[0] = sign, args.operands[1] = z; }
    return spade_rule_run(call, l->op++, &args);
}

static spade_status run_shares(spade_rule_call *call, layer *l)
{
    float *share = spade_rule_share(call, 0), *back = spade_rule_scratch_at(call, l->back);
    for (int t = 0, before = 0; t < l->formula->terms; t++) {
        const lrp_term *term = &l->formula->term[t];
        if (!l->used[t] || term->sign_only) { continue; }
        spade_op_args args = {.dy = spade_rule_scratch_at(call, l->z[term->denominator]), .out = back};
        SPADE_TRY(spade_rule_run(call, l->op++, &args));
        args = (spade_op_args){.a = back, .operands = {view_at(call, l, t), NULL, share}, .out = share};
        if (!before++) { args.operands[2] = NULL; }
        SPADE_TRY(spade_rule_run(call, l->op++, &args));
    }
    return SPADE_OK;
}

static spade_status run(spade_rule_call *call, const spade_node *node, const void *options)
{
    layer l = begin(spade_rule_network(call), node, options);
    SPADE_TRY(run_forward(call, &l));
    for (int d = 0; d < l.formula->denominators; d++) {
        if (is_divided(&l, d)) { SPADE_TRY(run_divide(call, &l, d)); }
    }
    SPADE_TRY(run_shares(call, &l));
    return spade_rule_deliver(call, 0);
}

/* ---- what stays: through a denominator s b goes to the bias, and R - s z to the stabiliser */

/* Of each denominator that relevance goes through, on the host: s [outputs], and the bias [rows] that is a part of it. */
typedef struct layer_account {
    float *relevance, *s[MAX_DENOMINATORS], *bias[MAX_DENOMINATORS]; /* NULL: there is none */
    int64_t outputs, rows, inner;                                    /* output i is of row i / inner % rows */
} layer_account;

/* The bias that is a part of a denominator. */
static spade_status read_bias(spade_rule_call *call, const layer *l, int denominator, int64_t rows, float **out)
{
    for (int t = 0, op = 0; t < l->formula->terms; t++) { /* operations in the order of run_forward() */
        const lrp_term *term = &l->formula->term[t];
        const float *bias;
        if (!l->used[t]) { continue; }
        op += term->x == X ? 0 : term->x == LOW || term->x == HIGH ? 3 : 1;
        if (term->denominator == denominator && term->bias) {
            SPADE_TRY(spade_rule_bias(call, op, &bias));
            return bias ? spade_rule_read(call, bias, rows, out) : SPADE_OK;
        }
        op += t == first_term(l, term->denominator) ? 1 : 2;
    }
    return SPADE_OK;
}

static spade_status read_account(spade_rule_call *call, const spade_node *node, const layer *l, layer_account *a)
{
    const spade_shape y = spade_rule_output_shape(call);
    const bool convolution = node->kind == SPADE_NODE_CONVOLUTION;
    a->outputs = spade_shape_size(&y);
    a->rows = convolution ? y.dims[1] : y.dims[y.rank - 1];
    a->inner = convolution && y.layout != SPADE_CHANNELS_LAST ? a->outputs / (y.dims[0] * a->rows) : 1;
    SPADE_TRY(spade_rule_read(call, spade_rule_relevance(call), a->outputs, &a->relevance));
    for (int d = 0; d < l->formula->denominators; d++) {
        if (!is_divided(l, d)) { continue; }
        SPADE_TRY(spade_rule_read(call, spade_rule_scratch_at(call, l->z[d]), a->outputs, &a->s[d]));
        SPADE_TRY(read_bias(call, l, d, a->rows, &a->bias[d]));
    }
    return SPADE_OK;
}

static spade_status account(spade_rule_call *call, const spade_node *node, const void *options, spade_rule_account *out)
{
    const layer l = begin(spade_rule_network(call), node, options);
    const double stabilizer = stabilizer_of(l.formula, options);
    layer_account a = {0};
    const spade_status status = read_account(call, node, &l, &a);
    for (int64_t i = 0; status == SPADE_OK && i < a.outputs; i++) {
        bool handed_on = false;
        for (int d = 0; d < l.formula->denominators; d++) {
            if (!a.s[d] || a.s[d][i] == 0) { continue; }
            handed_on = true;
            out->constants += a.bias[d] ? (double)a.s[d][i] * a.bias[d][i / a.inner % a.rows] : 0;
            /* e sign(z) s, of which R = (z + e sign(z)) s has the sign */
            out->stabilizer += copysign(stabilizer * fabs((double)a.s[d][i]), (double)a.relevance[i]);
        }
        out->stabilizer += handed_on ? 0 : (double)a.relevance[i];
    }
    for (int d = 0; d < MAX_DENOMINATORS; d++) {
        spade_rule_free(call, a.s[d], a.outputs);
        spade_rule_free(call, a.bias[d], a.rows);
    }
    spade_rule_free(call, a.relevance, a.outputs);
    return status;
}

const spade_rule lrp_layer_rule = {.name = "LRP", .plan = plan, .run = run, .account = account};
