/*
 * test_lrp_devices.c - relevance of every value of the golden networks, and of a small one with what they lack, against LRP's
 * definitions in plain loops: from the values and the relevance that an engine's pass leaves at a node's output, the reference
 * says what arrives at its inputs. And nothing is lost on the way but what goes to biases.
 */
#include "golden.h"

#include "attribution/rules/rules.h"
#include "engine/executor.h"
#include "engine/model.h"
#include "support/backward.h"
#include "support/model.h"
#include "support/reference.h"

/* One pass through a network and back, of one image. Arrays of a value are row-major; constants have no relevance. */
typedef struct walk {
    const spade_network *network;
    spade_lrp_options options;
    float **x, **relevance; /* of each value, as the engine has it */
    double **should;        /* relevance, by the definitions; NULL: nothing reads the value */
    double *kept;           /* its sum, told from what the readers' outputs have and what their biases take of that */
} walk;

static int64_t size_of(const walk *w, int value)
{
    const spade_shape shape = spade_value_shape(&w->network->values[value], 1);
    return spade_shape_size(&shape);
}

static void *zeros(int64_t n, size_t bytes)
{
    void *memory = calloc((size_t)n, bytes);
    assert_non_null(memory);
    return memory;
}

static bool gets_relevance(const walk *w, int value)
{
    return !w->network->values[value].constant;
}

/* ---- the engine's side */

static float *row_major(const spade_network *network, int value, const float *from)
{
    const spade_shape shape = spade_value_shape(&network->values[value], 1);
    const int64_t n = spade_shape_size(&shape);
    float *out = zeros(n, sizeof *out);
    for (int64_t i = 0; i < n; i++) { out[i] = from[reference_position(&shape, i)]; }
    return out;
}

static float *download(const spade_network *network, int value, const float *from)
{
    const spade_shape shape = spade_value_shape(&network->values[value], 1);
    const int64_t n = spade_shape_size(&shape);
    float *all = zeros(n, sizeof *all);
    spade_device *device = network->context->device;
    golden_ok(network->context, device->backend->download(device, all, from, (size_t)n * sizeof *all));
    golden_ok(network->context, device->backend->synchronize(device));
    float *out = row_major(network, value, all);
    free(all);
    return out;
}

/* The class's logit goes through the network, and back from there. */
static void run_engine(walk *w, const float *input, int64_t target)
{
    const spade_network *network = w->network;
    const int64_t outputs = spade_network_outputs(network), size = size_of(w, network->input);
    int *taps = zeros(network->value_count, sizeof *taps), n = 0;
    for (int v = 0; v < network->value_count; v++) {
        if (gets_relevance(w, v)) {
            taps[n++] = v;
        } else {
            w->x[v] = row_major(network, v, network->values[v].constant);
        }
    }
    const spade_rules rules = spade_rules_lrp(&w->options);
    spade_plan_request request = spade_relevance_request(1, &rules);
    request.taps = taps, request.tap_count = n;
    spade_executor *executor;
    golden_ok(network->context, spade_executor_acquire(network->context, network, &request, NULL, &executor));
    float *y = zeros(outputs, sizeof *y), *seed = zeros(outputs, sizeof *seed), *map = zeros(size, sizeof *map);
    golden_ok(network->context, spade_run_forward(executor->plan, executor->weights, input, y, NULL, NULL, NULL));
    seed[target] = y[target];
    golden_ok(network->context, test_run_backward(executor->plan, executor->weights, network, seed, map));
    for (int i = 0; i < n; i++) {
        w->x[taps[i]] = download(network, taps[i], spade_plan_tap(executor->plan, i, NULL));
        w->relevance[taps[i]] = download(network, taps[i], spade_plan_tap_relevance(executor->plan, i));
    }
    spade_executor_release(executor);
    free(taps), free(y), free(seed), free(map);
}

/* ---- definitions: what a node hands to its inputs */

static double stabilized(double z, double epsilon)
{
    return z < 0 ? z - epsilon : z + epsilon;
}

static double over(double r, double z, double epsilon)
{
    const double divisor = stabilized(z, epsilon);
    return divisor == 0 ? 0 : r / divisor;
}

static double *should_of(walk *w, int value)
{
    if (!w->should[value]) { w->should[value] = zeros(size_of(w, value), sizeof(double)); }
    return w->should[value];
}

static void add(walk *w, int value, int64_t i, double relevance)
{
    should_of(w, value)[i] += relevance;
    w->kept[value] += relevance;
}

/* The element of a smaller value that goes with element i of `whole`. */
static int64_t repeated_at(const spade_shape *whole, const spade_shape *part, int64_t i)
{
    int64_t at = 0, step = 1;
    for (int axis = whole->rank - 1, own = part->rank - 1; own >= 0; axis--, own--) {
        if (part->dims[own] > 1) { at += i % whole->dims[axis] * step; }
        i /= whole->dims[axis];
        step *= part->dims[own];
    }
    return at;
}

/* What the node's linear map hands back of s, in the input's shape: the transposed map. */
static double *transposed(const walk *w, const spade_node *node, int k, const float *s)
{
    const spade_node_shapes shapes = {.network = w->network, .node = node, .batch = 1};
    spade_op_desc desc;
    reference_args args = {.a = s, .dy = s};
    spade_node_class_of(node)->gradient(&shapes, k, &desc);
    if (node->kind == SPADE_NODE_MAX_POOL || node->kind == SPADE_NODE_AVERAGE_POOL ||
        node->kind == SPADE_NODE_REDUCE_MAX) {
        args.a = w->x[node->inputs[0]];
        args.y = w->x[node->outputs[0]];
    } else if (node->kind == SPADE_NODE_MATMUL) {
        args.a = k == 0 ? s : w->x[node->inputs[0]];
        args.b = k == 0 ? w->x[node->inputs[1]] : s;
    } else if (node->kind == SPADE_NODE_AXIS_MAP) {
        args.rows = spade_axis_map_rows(&node->axis_map.map, node->axis_map.map.data, true);
    }
    double *out = zeros(reference_size(&desc), sizeof *out);
    reference_run(&desc, &args, out);
    return out;
}

/* Relevance goes with the numbers. */
static void hand_movement(walk *w, const spade_node *node, int k)
{
    const float *r = w->relevance[node->outputs[0]];
    const int value = node->inputs[k];
    const int64_t n = size_of(w, value);
    if (spade_node_is_alias(node) || node->kind == SPADE_NODE_CONVERT_LAYOUT) {
        for (int64_t i = 0; i < n; i++) { add(w, value, i, r[i]); }
        return;
    }
    double *back = transposed(w, node, k, r);
    for (int64_t i = 0; i < n; i++) { add(w, value, i, back[i]); }
    free(back);
}

/* In proportion to what each input adds to the output, `part` of all relevance. */
static void hand_proportion(walk *w, const spade_node *node, int k, double part)
{
    const int64_t n = size_of(w, node->outputs[0]);
    const float *x = w->x[node->inputs[k]];
    float *s = zeros(n, sizeof *s);
    for (int64_t i = 0; i < n; i++) {
        s[i] = (float)over(part * w->relevance[node->outputs[0]][i], w->x[node->outputs[0]][i], w->options.epsilon);
    }
    double *back = transposed(w, node, k, s);
    for (int64_t i = 0; i < size_of(w, node->inputs[k]); i++) { add(w, node->inputs[k], i, x[i] * back[i]); }
    free(back), free(s);
}

/* Element by element: all of R, half of it, or in proportion to scale x / y. */
typedef enum element_rule { PASS, HALF, PROPORTION } element_rule;
static void hand_elements(walk *w, const spade_node *node, int k, element_rule rule, const float *scale, double factor)
{
    const spade_shape y = spade_value_shape(&w->network->values[node->outputs[0]], 1);
    const spade_shape x = spade_value_shape(&w->network->values[node->inputs[k]], 1);
    const int64_t inner = y.rank > 2 ? y.dims[y.rank - 1] * y.dims[y.rank - 2] : 1;
    for (int64_t i = 0; i < spade_shape_size(&y); i++) {
        const double r = w->relevance[node->outputs[0]][i];
        const int64_t at = repeated_at(&y, &x, i);
        const double part = (scale ? (double)scale[i / inner] : factor) * w->x[node->inputs[k]][at];
        const double of_z = over(r, w->x[node->outputs[0]][i], w->options.epsilon);
        add(w, node->inputs[k], at, rule == PASS ? r : rule == HALF ? r / 2 : part * of_z);
    }
}

/* x (R - y sum R) along the axis */
static void hand_softmax(walk *w, const spade_node *node)
{
    const spade_shape shape = spade_value_shape(&w->network->values[node->outputs[0]], 1);
    const float *r = w->relevance[node->outputs[0]], *x = w->x[node->inputs[0]], *y = w->x[node->outputs[0]];
    const int64_t length = shape.dims[shape.rank - 1];
    assert_int_equal(node->softmax.axis, shape.rank - 1);
    for (int64_t i = 0; i < spade_shape_size(&shape); i++) {
        double sum = 0;
        for (int64_t j = i / length * length; j < (i / length + 1) * length; j++) { sum += r[j]; }
        add(w, node->inputs[0], i, x[i] * (r[i] - y[i] * sum));
    }
}

/* ---- layers */

/* A layer as the rules see it: with the normalisation behind it folded in, but for the paper's. */
typedef struct layer {
    const walk *walk;
    const spade_node *node;
    int64_t inputs, outputs, weight_count;
    float *w;                 /* [rows, columns] */
    double *bias;             /* [outputs], 0 without */
    const float *x, *r, *own; /* input, relevance of the output, z as the engine has it */
    double *share;            /* [inputs] */
} layer;

typedef enum which { ALL, POSITIVE, NEGATIVE } which;

/* Numbers of a sign times 1 + gamma, the others times 1 or, without gamma, 0. */
static float *chosen(const float *from, int64_t n, which sign, double gamma)
{
    float *out = zeros(n, sizeof *out);
    for (int64_t i = 0; i < n; i++) {
        const bool is = sign == ALL || (sign == POSITIVE ? from[i] > 0 : from[i] < 0);
        out[i] = (float)(gamma > 0 ? (is ? 1 + gamma : 1) * from[i] : is ? from[i] : 0);
    }
    return out;
}

static float *constant(int64_t n, float number)
{
    float *out = zeros(n, sizeof *out);
    for (int64_t i = 0; i < n; i++) { out[i] = number; }
    return out;
}

/* One term: a view of the input and one of the weights, both freed with it. */
typedef struct term {
    float *x, *w;
    double sign;
} term;

static spade_op_desc operation_of(const layer *l, bool back)
{
    const spade_node_shapes shapes = {.network = l->walk->network, .node = l->node, .batch = 1};
    spade_op_desc desc;
    if (back) {
        spade_node_class_of(l->node)->gradient(&shapes, 0, &desc);
    } else {
        spade_node_class_of(l->node)->forward(&shapes, &desc);
    }
    return desc;
}

static double *z_of(const layer *l, const term *terms, int count)
{
    const spade_op_desc desc = operation_of(l, false);
    double *z = zeros(l->outputs, sizeof *z), *one = zeros(l->outputs, sizeof *one);
    for (int t = 0; t < count; t++) {
        const reference_args args = {.a = terms[t].x, .weights = terms[t].w};
        reference_run(&desc, &args, one);
        for (int64_t i = 0; i < l->outputs; i++) { z[i] += terms[t].sign * one[i]; }
    }
    free(one);
    return z;
}

/* s = R / z, z with the bias (NULL: none), then each term's share. mask NULL: all outputs; else those where it has the sign.
 * Frees the terms. */
static void share_out(const layer *l, term *terms, int count, const double *bias, double epsilon, const double *mask,
                      which sign)
{
    const spade_op_desc desc = operation_of(l, true);
    double *z = z_of(l, terms, count), *back = zeros(l->inputs, sizeof *back);
    float *s = zeros(l->outputs, sizeof *s);
    for (int64_t i = 0; i < l->outputs; i++) {
        const bool counts = !mask || (sign == POSITIVE ? mask[i] > 0 : mask[i] < 0);
        s[i] = counts ? (float)over(l->r[i], z[i] + (bias ? bias[i] : 0), epsilon) : 0;
    }
    for (int t = 0; t < count; t++) {
        const reference_args args = {.dy = s, .weights = terms[t].w};
        reference_run(&desc, &args, back);
        for (int64_t i = 0; i < l->inputs; i++) { l->share[i] += terms[t].sign * terms[t].x[i] * back[i]; }
        free(terms[t].x), free(terms[t].w);
    }
    free(z), free(back), free(s);
}

static float *input_of(const layer *l, which sign)
{
    return chosen(l->x, l->inputs, sign, 0);
}
static float *weights_of(const layer *l, which sign, double gamma)
{
    return chosen(l->w, l->weight_count, sign, gamma);
}

static double *bias_of(const layer *l, which sign, double factor)
{
    double *out = zeros(l->outputs, sizeof *out);
    for (int64_t i = 0; i < l->outputs; i++) {
        const double b = l->bias[i];
        const bool is = sign == POSITIVE ? b > 0 : b < 0;
        out[i] = is ? factor * b : factor > 1 ? b : 0;
    }
    return out;
}

static void share_epsilon(const layer *l)
{
    term terms[] = {{input_of(l, ALL), weights_of(l, ALL, 0), 1}};
    share_out(l, terms, 1, l->bias, l->walk->options.epsilon, NULL, ALL);
}

static void share_z_plus(const layer *l)
{
    double *bias = bias_of(l, POSITIVE, 1);
    term terms[] = {{input_of(l, POSITIVE), weights_of(l, POSITIVE, 0), 1},
                    {input_of(l, NEGATIVE), weights_of(l, NEGATIVE, 0), 1}};
    share_out(l, terms, 2, bias, l->walk->options.epsilon, NULL, ALL);
    free(bias);
}

static void share_paper(const layer *l)
{
    term positive[] = {{input_of(l, POSITIVE), weights_of(l, POSITIVE, 0), 1}};
    term negative[] = {{input_of(l, NEGATIVE), weights_of(l, NEGATIVE, 0), 1}};
    share_out(l, positive, 1, NULL, 0, NULL, ALL);
    share_out(l, negative, 1, NULL, 0, NULL, ALL);
}

static void share_box(const layer *l)
{
    float low = l->x[0], high = l->x[0];
    for (int64_t i = 0; i < l->inputs; i++) {
        low = fminf(low, l->x[i]);
        high = fmaxf(high, l->x[i]);
    }
    term terms[] = {{input_of(l, ALL), weights_of(l, ALL, 0), 1},
                    {constant(l->inputs, low), weights_of(l, POSITIVE, 0), -1},
                    {constant(l->inputs, high), weights_of(l, NEGATIVE, 0), -1}};
    share_out(l, terms, 3, NULL, 1e-9, NULL, ALL);
}

static void share_flat(const layer *l)
{
    term terms[] = {{constant(l->inputs, 1), constant(l->weight_count, 1), 1}};
    share_out(l, terms, 1, NULL, l->walk->options.epsilon, NULL, ALL);
}

static void share_gamma(const layer *l)
{
    const double gamma = l->walk->options.gamma, epsilon = l->walk->options.epsilon;
    term all[] = {{input_of(l, ALL), weights_of(l, ALL, 0), 1}};
    double *z = z_of(l, all, 1);
    for (int64_t i = 0; i < l->outputs; i++) { z[i] += l->bias[i]; }
    free(all[0].x), free(all[0].w);
    for (int side = 0; side < 2; side++) {
        const which same = side == 0 ? POSITIVE : NEGATIVE, other = side == 0 ? NEGATIVE : POSITIVE;
        double *bias = bias_of(l, same, 1 + gamma);
        term terms[] = {{input_of(l, POSITIVE), weights_of(l, same, gamma), 1},
                        {input_of(l, NEGATIVE), weights_of(l, other, gamma), 1}};
        share_out(l, terms, 2, bias, epsilon, z, same);
        free(bias);
    }
    free(z);
}

/* Which rule at which layer, as the methods' documentation says it. */
static void share_by_composite(const layer *l, bool first)
{
    const bool convolution = l->node->kind == SPADE_NODE_CONVOLUTION;
    switch (l->walk->options.composite) {
    case SPADE_LRP_PAPER: convolution &&first ? share_box(l) : share_paper(l); break;
    case SPADE_LRP_EPSILON_PLUS: convolution ? share_z_plus(l) : share_epsilon(l); break;
    case SPADE_LRP_EPSILON_PLUS_FLAT: first ? share_flat(l) : convolution ? share_z_plus(l) : share_epsilon(l); break;
    case SPADE_LRP_GAMMA: first ? share_box(l) : convolution ? share_gamma(l) : share_epsilon(l); break;
    case SPADE_LRP_ATTENTION_GAMMA: share_gamma(l); break;
    default: share_epsilon(l); break;
    }
}

/* The normalisation that is folded into the convolution: its only reader. */
static const spade_node *norm_behind(const spade_network *network, const spade_node *node)
{
    const spade_node *reader = NULL;
    int readers = 0;
    for (int n = 0; n < network->node_count; n++) {
        for (int k = 0; k < network->nodes[n].input_count; k++) {
            if (network->nodes[n].inputs[k] == node->outputs[0]) { reader = &network->nodes[n], readers++; }
        }
    }
    return node->kind == SPADE_NODE_CONVOLUTION && readers == 1 && reader->kind == SPADE_NODE_BATCH_NORM ? reader
                                                                                                         : NULL;
}

static void fold(layer *l, const spade_layer *own, const spade_node *norm)
{
    const float *alpha = l->node->parameters[SPADE_SCALE].data, *bias = l->node->parameters[SPADE_SHIFT].data;
    const int64_t inner = l->node->kind == SPADE_NODE_CONVOLUTION ? l->outputs / own->rows : 1;
    for (int64_t row = 0; row < own->rows; row++) {
        const double scale = norm ? norm->parameters[SPADE_SCALE].data[row] : 1;
        for (int64_t c = 0; c < own->columns; c++) {
            const int64_t at = row * own->columns + c;
            l->w[at] = (float)(own->weights[at] * scale * (alpha ? (double)alpha[row] : 1));
        }
    }
    for (int64_t i = 0; i < l->outputs; i++) {
        const int64_t row = i / inner % own->rows;
        l->bias[i] = bias ? (double)bias[row] : 0;
        if (norm) {
            l->bias[i] = l->bias[i] * norm->parameters[SPADE_SCALE].data[row] + norm->parameters[SPADE_SHIFT].data[row];
        }
    }
}

static void hand_layer(walk *w, const spade_node *node, bool first)
{
    const spade_network *network = w->network;
    const bool paper = w->options.composite == SPADE_LRP_PAPER;
    const spade_node *norm = paper ? NULL : norm_behind(network, node);
    const spade_layer *own = &network->layers[node->layer];
    const int input = node->inputs[0];
    layer l = {.walk = w,
               .node = node,
               .inputs = size_of(w, input),
               .outputs = size_of(w, node->outputs[0]),
               .weight_count = own->rows * own->columns,
               .x = w->x[input],
               .r = w->relevance[node->outputs[0]],
               .own = w->x[norm ? norm->outputs[0] : node->outputs[0]]};
    l.w = zeros(l.weight_count, sizeof *l.w);
    l.bias = zeros(l.outputs, sizeof *l.bias);
    l.share = zeros(l.inputs, sizeof *l.share);
    fold(&l, own, norm);
    share_by_composite(&l, first);
    for (int64_t i = 0; i < l.inputs; i++) { should_of(w, input)[i] += l.share[i]; }
    for (int64_t i = 0; i < l.outputs; i++) { /* the epsilon rule: all but what the bias is of z */
        w->kept[input] += over(l.r[i] * (l.own[i] - l.bias[i]), l.own[i], w->options.epsilon);
    }
    free(l.w), free(l.bias), free(l.share);
}

/* ---- all nodes */

static bool is_constant(const walk *w, const spade_node *node)
{
    return !gets_relevance(w, node->inputs[0]) || !gets_relevance(w, node->inputs[1]);
}

static void hand_function(walk *w, const spade_node *node)
{
    const bool shifts = node->pointwise.function == SPADE_AFFINE && node->pointwise.beta != 0;
    const bool paper = w->options.composite == SPADE_LRP_PAPER;
    hand_elements(w, node, 0, shifts && !paper ? PROPORTION : PASS, NULL, (double)node->pointwise.alpha);
}

static void hand_on(walk *w, const spade_node *node, int k, bool *first)
{
    const bool paper = w->options.composite == SPADE_LRP_PAPER;
    switch (node->kind) {
    case SPADE_NODE_CONVOLUTION:
    case SPADE_NODE_LINEAR:
        hand_layer(w, node, *first);
        *first = false;
        break;
    case SPADE_NODE_FUNCTION: hand_function(w, node); break;
    case SPADE_NODE_BATCH_NORM: {
        const int before = w->network->values[node->inputs[0]].producer;
        const bool folded = before >= 0 && norm_behind(w->network, &w->network->nodes[before]) == node;
        hand_elements(w, node, k, folded || paper ? PASS : PROPORTION, node->parameters[SPADE_SCALE].data, 0);
        break;
    }
    case SPADE_NODE_ADD: hand_elements(w, node, k, paper && is_constant(w, node) ? PASS : PROPORTION, NULL, 1); break;
    case SPADE_NODE_MUL: hand_elements(w, node, k, is_constant(w, node) ? PASS : HALF, NULL, 1); break;
    case SPADE_NODE_LAYER_NORM: hand_elements(w, node, k, PASS, NULL, 1); break;
    case SPADE_NODE_SOFTMAX: hand_softmax(w, node); break;
    case SPADE_NODE_MATMUL: hand_proportion(w, node, k, is_constant(w, node) ? 1 : 0.5); break;
    case SPADE_NODE_AVERAGE_POOL:
    case SPADE_NODE_REDUCE_SUM: hand_proportion(w, node, k, 1); break;
    case SPADE_NODE_AXIS_MAP:
        node->axis_map.map.weighted ? hand_proportion(w, node, k, 1) : hand_movement(w, node, k);
        break;
    default: hand_movement(w, node, k); break;
    }
}

/* ---- comparisons */

static void compare(walk *w, const char *network, const char *composite, bool conserves)
{
    double worst = 0, lost = 0;
    int compared = 0;
    for (int v = 0; v < w->network->value_count; v++) {
        if (!w->should[v] || !w->relevance[v]) { continue; }
        double error = 0, total = 0, sum = 0;
        for (int64_t i = 0; i < size_of(w, v); i++) {
            error += fabs(w->relevance[v][i] - w->should[v][i]);
            total += fabs((double)w->relevance[v][i]);
            sum += w->relevance[v][i];
        }
        compared += total > 0;
        worst = fmax(worst, error / (total + 1e-30));
        lost = fmax(lost, fabs(sum - w->kept[v]) / (total + 1e-30));
    }
    print_message("%s, %s: %d values, off by %.1e of the sum of |R| at most", network, composite, compared, worst);
    if (conserves) { print_message("; lost, but to biases: %.1e", lost); }
    print_message("\n");
    assert_true(compared > 10);
    assert_true(worst < 1e-3);
    assert_true(!conserves || lost < 1e-3);
}

static const struct {
    const char *name;
    spade_lrp_options options;
} composites[] = {
    {"paper", {SPADE_LRP_PAPER, 0, 0}},
    {"epsilon", {SPADE_LRP_EPSILON, 1e-6f, 0}},
    {"epsilon 0.01", {SPADE_LRP_EPSILON, 1e-2f, 0}},
    {"epsilon_plus", {SPADE_LRP_EPSILON_PLUS, 1e-6f, 0}},
    {"epsilon_plus_flat", {SPADE_LRP_EPSILON_PLUS_FLAT, 1e-6f, 0}},
    {"gamma", {SPADE_LRP_GAMMA, 1e-6f, 0.25f}},
    {"AttnLRP", {SPADE_LRP_ATTENTION, 1e-6f, 0}},
    {"AttnLRP, gamma", {SPADE_LRP_ATTENTION_GAMMA, 1e-6f, 0.05f}},
};
enum { COMPOSITES = sizeof composites / sizeof *composites };

static void check(const spade_model *model, const char *network, int c, const float *input)
{
    const spade_network *n = &model->network;
    walk w = {.network = n, .options = composites[c].options};
    w.x = zeros(n->value_count, sizeof *w.x);
    w.relevance = zeros(n->value_count, sizeof *w.relevance);
    w.should = zeros(n->value_count, sizeof *w.should);
    w.kept = zeros(n->value_count, sizeof *w.kept);
    run_engine(&w, input, 1);
    bool first = true; /* layer; nodes are in the order of the file's, the first one reads the picture */
    for (int i = 0; i < n->node_count; i++) {
        for (int k = 0; k < n->nodes[i].input_count; k++) {
            if (gets_relevance(&w, n->nodes[i].inputs[k])) { hand_on(&w, &n->nodes[i], k, &first); }
        }
    }
    compare(&w, network, composites[c].name, composites[c].options.composite == SPADE_LRP_EPSILON);
    for (int v = 0; v < n->value_count; v++) { free(w.x[v]), free(w.relevance[v]), free(w.should[v]); }
    free(w.x), free(w.relevance), free(w.should), free(w.kept);
}

static void test_golden_networks(void **state)
{
    (void)state;
    for (int n = 0; n < GOLDEN_NETWORKS; n++) {
        spade_context *context = golden_context(0, 0);
        spade_model *model = golden_model(context, golden_networks[n]);
        spade_array inputs = {0};
        assert_true(golden_array(context, NULL, NULL, "inputs", &inputs));
        for (int c = n == 0 ? 0 : 1; c < COMPOSITES; c++) { check(model, golden_networks[n], c, inputs.data); }
        spade_array_clear(&inputs);
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

/* ---- what the golden networks lack: a normalisation that no convolution takes in, sums and products with numbers and with
 * maps, groups, both poolings, resizing, parts put together, maxima over all pixels, Gemm's alpha */

enum { CHANNELS = 3, SIDE = 8, FEATURES = 8, CLASSES = 3 };

static void put_constants(wire *network)
{
    static const int64_t conv[4] = {4, 3, 3, 3}, grouped[4] = {4, 2, 3, 3}, map[3] = {4, 1, 1},
                         gemm[2] = {FEATURES, CLASSES};
    static const int64_t three = CHANNELS, four = 4, scales_count = 4;
    static const float variance[4] = {1.5f, 0.5f, 2, 1}, scales[4] = {1, 1, 2, 2}, two = 2, one = -0.25f;
    put_tensor(network, tensor_random("w", 4, conv, 1));
    put_tensor(network, tensor_random("w2", 4, grouped, 2));
    put_tensor(network, tensor_random("map", 3, map, 3));
    put_tensor(network, tensor_random("gemm", 2, gemm, 4));
    put_tensor(network, tensor_random("three", 1, &three, 5));
    put_tensor(network, tensor_random("four", 1, &four, 6));
    put_tensor(network, tensor_of("variance3", 1, &three, variance));
    put_tensor(network, tensor_of("variance4", 1, &four, variance));
    put_tensor(network, tensor_of("scales", 1, &scales_count, scales));
    put_tensor(network, tensor_of("two", 0, NULL, &two));
    put_tensor(network, tensor_of("one", 0, NULL, &one));
}

static wire small_network(void)
{
    static const int64_t pads[4] = {1, 1, 1, 1}, half[2] = {2, 2};
    wire network = graph_of(CHANNELS, SIDE, SIDE, CLASSES);
    put_constants(&network);
    put_node(&network, node_of("norm", "BatchNormalization", "x three three three variance3", "a"));
    put_node(&network, with_ints(node_of("conv", "Conv", "a w", "b"), "pads", 4, pads));
    put_node(&network, node_of("norm2", "BatchNormalization", "b four four four variance4", "c"));
    put_node(&network, node_of("relu", "Relu", "b", "d")); /* reads what norm2 does */
    put_node(&network, node_of("times", "Mul", "c two", "e"));
    put_node(&network, node_of("plus", "Add", "e one", "f"));
    put_node(&network, node_of("skip", "Add", "d f", "g"));
    put_node(&network, node_of("shift", "Add", "g map", "h"));
    put_node(&network, node_of("weigh", "Mul", "h map", "i"));
    wire conv = with_ints(with_int(node_of("conv2", "Conv", "i w2 four", "j"), "group", 2), "pads", 4, pads);
    put_node(&network, conv);
    put_node(&network, node_of("relu2", "Relu", "j", "k"));
    put_node(&network,
             with_ints(with_ints(node_of("max", "MaxPool", "k", "l"), "kernel_shape", 2, half), "strides", 2, half));
    put_node(&network, with_text(node_of("grow", "Resize", "l  scales", "m"), "mode", "linear"));
    conv = with_ints(node_of("mean", "AveragePool", "m", "n"), "kernel_shape", 2, half);
    put_node(&network, conv);
    put_node(&network, node_of("all", "GlobalAveragePool", "n", "o"));
    put_node(&network, node_of("most", "GlobalMaxPool", "n", "p"));
    put_node(&network, with_int(node_of("both", "Concat", "o p", "q"), "axis", 1));
    put_node(&network, node_of("flat", "Flatten", "q", "r"));
    put_node(&network, with_float(node_of("fc", "Gemm", "r gemm three", "y"), "alpha", 2));
    return model_of(network);
}

static void test_small_network(void **state)
{
    (void)state;
    float x[CHANNELS * SIDE * SIDE];
    spade_context *context = golden_context(0, 0);
    spade_model *model;
    golden_ok(context, spade_model_load(context, test_save("lrp.onnx", small_network()), NULL, &model));
    for (uint32_t i = 0; i < CHANNELS * SIDE * SIDE; i++) { x[i] = pseudo_random(7, i); }
    for (int c = 0; c < COMPOSITES; c++) { check(model, "small", c, x); }
    spade_model_destroy(model);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_small_network), cmocka_unit_test(test_golden_networks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
