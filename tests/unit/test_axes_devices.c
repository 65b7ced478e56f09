/*
 * Networks made by hand of permutations, maps along an axis, concatenations, sums, means and maxima over axes: values and
 * gradients of several images at once against plain loops in double and their central differences; in any layout, with the
 * batch on any axis. Runs on every device (SPADE_TEST_DEVICE).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/executor.h"
#include "import/import.h"
#include "support/backward.h"
#include "support/context.h"
#include "support/model.h"
#include "support/reference.h"

enum { IMAGES = 3, MAX_INPUTS = 64 };

/* ---- making a network */

static int add_value(spade_network *n, spade_shape shape, int batch_axis)
{
    char name[32];
    snprintf(name, sizeof name, "v%d", n->value_count);
    const spade_value value = {.name = strdup(name), .shape = shape, .batch_axis = batch_axis, .producer = -1};
    return spade_network_add_value(n, &value);
}

static int add_constant(spade_network *n, spade_shape shape, uint32_t seed)
{
    const int value = add_value(n, shape, -1);
    void *memory;
    assert_int_equal(spade_alloc(n->context, (size_t)spade_shape_size(&shape) * sizeof(float), "a test", &memory),
                     SPADE_OK);
    for (uint32_t i = 0; i < (uint32_t)spade_shape_size(&shape); i++) { ((float *)memory)[i] = pseudo_random(seed, i); }
    n->values[value].constant = memory;
    return value;
}

static int add_node(spade_network *n, spade_node node, const int *inputs, int count, spade_shape shape, int batch_axis)
{
    const int output = add_value(n, shape, batch_axis);
    node.name = strdup(n->values[output].name);
    node.layer = -1;
    n->values[output].producer = spade_network_add_node(n, &node);
    assert_true(spade_node_connect(&n->nodes[n->node_count - 1], inputs, count, &output, 1));
    return output;
}

/* A node whose output has the shape of its first input. */
static int add_same(spade_network *n, spade_node node, const int *inputs, int count)
{
    const spade_value x = n->values[inputs[0]];
    return add_node(n, node, inputs, count, x.shape, x.batch_axis);
}

static int add_function(spade_network *n, int x, spade_function f, float alpha, float beta)
{
    return add_same(n, (spade_node){.kind = SPADE_NODE_FUNCTION, .pointwise = {f, alpha, beta}}, &x, 1);
}

static int add_permute(spade_network *n, int x, const int *axes)
{
    spade_node node = {.kind = SPADE_NODE_PERMUTE};
    const spade_value from = n->values[x];
    spade_shape shape = from.shape;
    int batch_axis = -1;
    for (int k = 0; k < shape.rank; k++) {
        node.permute.axes[k] = axes[k];
        shape.dims[k] = from.shape.dims[axes[k]];
        if (axes[k] == from.batch_axis) { batch_axis = k; }
    }
    return add_node(n, node, &x, 1, shape, batch_axis);
}

static int add_map(spade_network *n, int x, int axis, spade_axis_map map)
{
    spade_node node = {.kind = SPADE_NODE_AXIS_MAP, .axis_map = {axis, map}};
    spade_shape shape = n->values[x].shape;
    shape.dims[axis] = map.rows;
    return add_node(n, node, &x, 1, shape, n->values[x].batch_axis);
}

/* Each place is one of the axis: number (first + j * step) % length, or where that is a multiple of `skip` filled. */
static int add_select(spade_network *n, int x, int axis, int64_t rows, int64_t first, int64_t step, int64_t skip)
{
    int64_t indices[64];
    spade_axis_map map;
    const int64_t columns = n->values[x].shape.dims[axis];
    for (int64_t j = 0; j < rows; j++) {
        indices[j] = (first + j * step) % columns;
        if (skip && indices[j] % skip == 0) { indices[j] = -1; }
    }
    assert_int_equal(spade_axis_map_select(n->context, rows, columns, indices, -0.25f, &map), SPADE_OK);
    return add_map(n, x, axis, map);
}

/* Two columns a row with weights: an interpolation. */
static int add_interpolation(spade_network *n, int x, int axis, int64_t rows)
{
    int64_t offsets[65] = {0}, indices[128];
    float weights[128], fill[64];
    spade_axis_map map;
    const int64_t columns = n->values[x].shape.dims[axis];
    for (int64_t j = 0; j < rows; j++) {
        offsets[j + 1] = 2 * (j + 1);
        for (int64_t k = 0; k < 2; k++) {
            indices[2 * j + k] = (j * columns / rows + k) % columns;
            weights[2 * j + k] = pseudo_random(11, (uint32_t)(2 * j + k));
        }
        fill[j] = pseudo_random(12, (uint32_t)j);
    }
    assert_int_equal(spade_axis_map_create(n->context, rows, columns, offsets, indices, weights, fill, &map), SPADE_OK);
    return add_map(n, x, axis, map);
}

static int add_concat(spade_network *n, int axis, const int *inputs, int count)
{
    spade_value first = n->values[inputs[0]];
    spade_shape shape = first.shape;
    shape.dims[axis] = 0;
    for (int k = 0; k < count; k++) { shape.dims[axis] += n->values[inputs[k]].shape.dims[axis]; }
    return add_node(n, (spade_node){.kind = SPADE_NODE_CONCAT, .concat = {axis}}, inputs, count, shape,
                    first.batch_axis);
}

/* Over the axes whose bits are set. */
static int add_reduction(spade_network *n, spade_node node, int x, unsigned axes)
{
    spade_shape shape = n->values[x].shape;
    for (int i = 0; i < shape.rank; i++) {
        if (axes >> i & 1) { shape.dims[i] = 1; }
    }
    return add_node(n, node, &x, 1, shape, n->values[x].batch_axis);
}

static spade_node sum_of(double divisor)
{
    return (spade_node){.kind = SPADE_NODE_REDUCE_SUM, .reduce_sum = {divisor}};
}

static const spade_node largest = {.kind = SPADE_NODE_REDUCE_MAX};
static const spade_node product = {.kind = SPADE_NODE_MUL};
static const spade_node sum = {.kind = SPADE_NODE_ADD};

/* Hands its input on, and wants it channels-last. */
static int add_pool(spade_network *n, int x)
{
    const spade_node pool = {.kind = SPADE_NODE_AVERAGE_POOL,
                             .pool = {.window = {.kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}}}};
    return add_same(n, pool, &x, 1);
}

/* ---- the same in plain loops, before the network is laid out */

typedef struct tensors {
    const spade_network *network;
    double **data; /* [values], row-major */
} tensors;

static spade_shape shape_of(const tensors *t, int value)
{
    return spade_value_shape(&t->network->values[value], IMAGES);
}

static void coordinates_of(const spade_shape *shape, int64_t index, int64_t at[SPADE_MAX_RANK])
{
    for (int i = shape->rank - 1; i >= 0; i--) {
        at[i] = index % shape->dims[i];
        index /= shape->dims[i];
    }
}

/* Of a value that is broadcast to these coordinates; ranks are equal. */
static double *element(const tensors *t, int value, const int64_t at[SPADE_MAX_RANK])
{
    const spade_shape shape = shape_of(t, value);
    int64_t index = 0;
    for (int i = 0; i < shape.rank; i++) { index = index * shape.dims[i] + (shape.dims[i] == 1 ? 0 : at[i]); }
    return &t->data[value][index];
}

/* One element of the result of a node that has one formula for each of them. */
static double element_of(const tensors *t, const spade_node *node, int64_t at[SPADE_MAX_RANK])
{
    int64_t moved[SPADE_MAX_RANK];
    memcpy(moved, at, sizeof moved);
    if (node->kind == SPADE_NODE_PERMUTE) {
        for (int k = 0; k < shape_of(t, node->outputs[0]).rank; k++) { moved[node->permute.axes[k]] = at[k]; }
    }
    if (node->kind == SPADE_NODE_AXIS_MAP) {
        const spade_axis_map *map = &node->axis_map.map;
        const spade_sparse_rows rows = spade_axis_map_rows(map, map->data, false);
        const int64_t row = at[node->axis_map.axis];
        double total = rows.fill ? rows.fill[row] : 0;
        for (int32_t k = rows.offsets[row]; k < rows.offsets[row + 1]; k++) {
            moved[node->axis_map.axis] = rows.indices[k];
            total += (rows.weights ? (double)rows.weights[k] : 1) * *element(t, node->inputs[0], moved);
        }
        return total;
    }
    int input = 0;
    for (; node->kind == SPADE_NODE_CONCAT; input++) {
        int64_t *place = &moved[node->concat.axis], length = shape_of(t, node->inputs[input]).dims[node->concat.axis];
        if (*place < length) { break; }
        *place -= length;
    }
    const double x = *element(t, node->inputs[input], moved);
    const reference_function *f = &reference_functions[node->pointwise.function];
    switch (node->kind) {
    case SPADE_NODE_FUNCTION: return f->value(x, node->pointwise.alpha, node->pointwise.beta);
    case SPADE_NODE_ADD: return x + *element(t, node->inputs[1], at);
    case SPADE_NODE_MUL: return x * *element(t, node->inputs[1], at);
    default: return x;
    }
}

static void run_reduction(const tensors *t, const spade_node *node)
{
    const spade_shape x = shape_of(t, node->inputs[0]), y = shape_of(t, node->outputs[0]);
    const bool is_sum = node->kind == SPADE_NODE_REDUCE_SUM;
    double *out = t->data[node->outputs[0]];
    for (int64_t i = 0; i < spade_shape_size(&y); i++) { out[i] = is_sum ? 0 : -INFINITY; }
    for (int64_t i = 0; i < spade_shape_size(&x); i++) {
        int64_t at[SPADE_MAX_RANK];
        coordinates_of(&x, i, at);
        double *result = element(t, node->outputs[0], at), value = t->data[node->inputs[0]][i];
        *result = is_sum ? *result + value / node->reduce_sum.divisor : fmax(*result, value);
    }
}

static void run_plainly(const tensors *t)
{
    for (int n = 0; n < t->network->node_count; n++) {
        const spade_node *node = &t->network->nodes[n];
        const spade_shape y = shape_of(t, node->outputs[0]);
        if (node->kind == SPADE_NODE_REDUCE_SUM || node->kind == SPADE_NODE_REDUCE_MAX) {
            run_reduction(t, node);
            continue;
        }
        if (node->kind == SPADE_NODE_RESHAPE) {
            memcpy(t->data[node->outputs[0]], t->data[node->inputs[0]], (size_t)spade_shape_size(&y) * sizeof(double));
            continue;
        }
        for (int64_t i = 0; i < spade_shape_size(&y); i++) {
            int64_t at[SPADE_MAX_RANK];
            coordinates_of(&y, i, at);
            t->data[node->outputs[0]][i] = element_of(t, node, at);
        }
    }
}

static tensors make_tensors(const spade_network *network)
{
    tensors t = {network, calloc((size_t)network->value_count, sizeof *t.data)};
    assert_non_null(t.data);
    for (int v = 0; v < network->value_count; v++) {
        const spade_shape shape = shape_of(&t, v);
        const float *constant = network->values[v].constant;
        t.data[v] = calloc((size_t)spade_shape_size(&shape), sizeof **t.data);
        assert_non_null(t.data[v]);
        for (int64_t i = 0; constant && i < spade_shape_size(&shape); i++) { t.data[v][i] = constant[i]; }
    }
    return t;
}

static double objective(const tensors *t, const float *seed)
{
    const spade_shape y = shape_of(t, t->network->output);
    double total = 0;
    run_plainly(t);
    for (int64_t i = 0; i < spade_shape_size(&y); i++) { total += seed[i] * t->data[t->network->output][i]; }
    return total;
}

/* ---- a network against the loops */

typedef struct expectation {
    int64_t inputs, outputs;
    float *x, *seed;             /* of the input, of the output */
    double *y, *gradient;        /* of the loops */
    float *got_y, *got_gradient; /* of the device */
} expectation;

static void *numbers(int64_t n, size_t size)
{
    void *memory = calloc((size_t)n, size);
    assert_non_null(memory);
    return memory;
}

static expectation expect(const spade_network *network)
{
    const double h = 1e-6;
    tensors t = make_tensors(network);
    const spade_shape x = shape_of(&t, network->input), y = shape_of(&t, network->output);
    expectation e = {.inputs = spade_shape_size(&x), .outputs = spade_shape_size(&y)};
    e.x = numbers(e.inputs, sizeof *e.x);
    e.gradient = numbers(e.inputs, sizeof *e.gradient);
    e.got_gradient = numbers(e.inputs, sizeof *e.got_gradient);
    e.seed = numbers(e.outputs, sizeof *e.seed);
    e.y = numbers(e.outputs, sizeof *e.y);
    e.got_y = numbers(e.outputs, sizeof *e.got_y);
    for (uint32_t i = 0; i < (uint32_t)e.inputs; i++) { t.data[network->input][i] = e.x[i] = pseudo_random(1, i); }
    for (uint32_t i = 0; i < (uint32_t)e.outputs; i++) { e.seed[i] = pseudo_random(2, i); }
    run_plainly(&t);
    memcpy(e.y, t.data[network->output], (size_t)e.outputs * sizeof *e.y);
    for (int64_t i = 0; i < e.inputs; i++) {
        double *place = &t.data[network->input][i], above, below;
        *place = e.x[i] + h;
        above = objective(&t, e.seed);
        *place = e.x[i] - h;
        below = objective(&t, e.seed);
        *place = e.x[i];
        e.gradient[i] = (above - below) / (2 * h);
    }
    for (int v = 0; v < network->value_count; v++) { free(t.data[v]); }
    free(t.data);
    return e;
}

static void run_network(spade_context *context, const spade_network *network, expectation *e)
{
    const spade_plan_request request = spade_relevance_request(IMAGES, &spade_rules_gradient);
    spade_executor *executor = NULL;
    if (spade_executor_acquire(context, network, &request, NULL, &executor) != SPADE_OK) {
        fail_msg("%s", spade_message(context));
    }
    assert_int_equal(spade_run_forward(executor->plan, executor->weights, e->x, e->got_y, NULL, NULL, NULL), SPADE_OK);
    assert_int_equal(test_run_backward(executor->plan, executor->weights, network, e->seed, e->got_gradient), SPADE_OK);
    spade_executor_release(executor);
}

static void compare(const char *what, int64_t n, const double *expected, const float *got)
{
    double largest_value = 0;
    for (int64_t i = 0; i < n; i++) { largest_value = fmax(largest_value, fabs(expected[i])); }
    assert_true(largest_value > 0.01);
    for (int64_t i = 0; i < n; i++) {
        if (!(fabs(got[i] - expected[i]) <= 2e-6 * (1 + largest_value))) {
            fail_msg("%s %d is %.9g, not %.9g", what, (int)i, got[i], expected[i]);
        }
    }
}

/* Lays the network out, runs it, forgets it. */
static void check(spade_network *network)
{
    spade_context *context = network->context;
    expectation e = expect(network);
    assert_int_equal(spade_network_layout(context, network), SPADE_OK);
    assert_true(network->values[network->output].shape.layout == SPADE_ROW_MAJOR);
    run_network(context, network, &e);
    compare("output", e.outputs, e.y, e.got_y);
    compare("gradient", e.inputs, e.gradient, e.got_gradient);
    void *all[] = {e.x, e.seed, e.y, e.gradient, e.got_y, e.got_gradient};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) { free(all[i]); }
}

static void forget(spade_network *network)
{
    spade_context *context = network->context;
    spade_cache_drop(context, network);
    spade_network_clear(network);
    assert_int_equal(context->used, context->device->own_bytes);
    spade_context_destroy(context);
}

static int count_kind(const spade_network *network, spade_node_kind kind)
{
    int count = 0;
    for (int n = 0; n < network->node_count; n++) { count += network->nodes[n].kind == kind; }
    return count;
}

/* ---- networks */

/* Pictures: concatenation with constants that are repeated, maps along all axes, means, maxima, all channels-last but for the
 * picture itself; permutations between channels first and last move nothing. */
static void test_pictures(void **state)
{
    (void)state;
    spade_network n = {.context = test_context(test_device(), 2)};
    n.input = add_value(&n, (spade_shape){4, {1, 4, 3, 5}, 0}, 0);
    const int constant = add_constant(&n, (spade_shape){4, {1, 2, 3, 5}, 0}, 5);
    const int repeated = add_constant(&n, (spade_shape){4, {1, 2, 1, 1}, 0}, 6);
    const int bias = add_constant(&n, (spade_shape){4, {1, 2, 3, 5}, 0}, 7);
    const int v = add_pool(&n, n.input);
    const int swish = add_function(&n, v, SPADE_SWISH, 1.5f, 0);
    int y = add_concat(&n, 1, (int[]){swish, constant, v, repeated, bias}, 5); /* 14 channels */
    y = add_select(&n, y, 1, 14, 3, 5, 0);                                     /* channels shuffled */
    y = add_interpolation(&n, y, 2, 7);
    y = add_select(&n, y, 3, 6, 1, 2, 3); /* every second column, some filled */
    const int mean = add_reduction(&n, sum_of(42), y, 4 | 8);
    y = add_same(&n, product, (int[]){y, mean}, 2);
    y = add_permute(&n, y, (int[]){0, 2, 3, 1});
    y = add_function(&n, y, SPADE_SOFTPLUS, 0, 0);
    const int peak = add_reduction(&n, largest, y, 8); /* over channels */
    y = add_same(&n, sum, (int[]){y, peak}, 2);
    y = add_permute(&n, y, (int[]){0, 3, 1, 2});
    y = add_pool(&n, y);
    y = add_concat(&n, 3, (int[]){y, y}, 2);
    y = add_permute(&n, y, (int[]){0, 3, 1, 2}); /* [1, 12, 14, 7]: moves what is channels-last */
    y = add_select(&n, y, 1, 2, 0, 1, 0);
    const int also = add_select(&n, add_concat(&n, 1, (int[]){n.input, bias}, 2), 3, 7, 0, 1, 0); /* row-major */
    y = add_reduction(&n, sum_of(1), y, 4);
    n.output =
        add_node(&n, sum, (int[]){y, add_reduction(&n, largest, also, 2 | 4)}, 2, (spade_shape){4, {1, 2, 1, 7}, 0}, 0);
    n.output = add_node(&n, (spade_node){.kind = SPADE_NODE_RESHAPE}, &n.output, 1, (spade_shape){2, {1, 14}, 0}, 0);
    check(&n);
    assert_int_equal(count_kind(&n, SPADE_NODE_CONVERT_LAYOUT), 1); /* of the picture */
    assert_int_equal(count_kind(&n, SPADE_NODE_PERMUTE), 1);        /* two of three say only where things are */
    forget(&n);
}

/* Sequences [length, batch, features], then heads: rank 5 and 6, the batch on other axes. */
static void test_sequences(void **state)
{
    (void)state;
    spade_network n = {.context = test_context(test_device(), 2)};
    n.input = add_value(&n, (spade_shape){3, {4, 1, 6}, 0}, 1);
    const int token = add_constant(&n, (spade_shape){3, {1, 1, 6}, 0}, 5);
    int y = add_concat(&n, 0, (int[]){token, n.input}, 2);
    n.values[y].batch_axis = 1; /* the first input is a constant */
    const int mean = add_reduction(&n, sum_of(6), y, 4);
    const int centred = add_same(&n, sum, (int[]){y, add_function(&n, mean, SPADE_NEG, 0, 0)}, 2);
    const int square = add_same(&n, product, (int[]){centred, centred}, 2);
    const int deviation = add_function(&n, add_reduction(&n, sum_of(5), square, 4), SPADE_AFFINE, 2,
                                       0.25f); /* no root of a small number */
    y = add_same(&n, product, (int[]){centred, add_function(&n, deviation, SPADE_RECIPROCAL, 0, 0)}, 2);
    y = add_node(&n, (spade_node){.kind = SPADE_NODE_RESHAPE}, &y, 1, (spade_shape){5, {5, 1, 3, 1, 2}, 0}, 1);
    y = add_permute(&n, y, (int[]){2, 1, 3, 0, 4}); /* [3, batch, 1, 5, 2] */
    const int query = add_select(&n, y, 0, 1, 0, 1, 0), key = add_select(&n, y, 0, 1, 1, 1, 0);
    const int value = add_select(&n, y, 0, 1, 2, 1, 0);
    y = add_same(&n, product, (int[]){query, add_function(&n, key, SPADE_MISH, 0, 0)}, 2);
    y = add_same(&n, sum, (int[]){y, add_reduction(&n, largest, value, 8 | 16)}, 2);
    y = add_node(&n, (spade_node){.kind = SPADE_NODE_RESHAPE}, &y, 1, (spade_shape){6, {1, 1, 1, 5, 1, 2}, 0}, 1);
    y = add_permute(&n, y, (int[]){3, 5, 1, 0, 4, 2}); /* [5, 2, batch, 1, 1, 1] */
    y = add_interpolation(&n, y, 0, 9);
    y = add_function(&n, y, SPADE_ELU, 1, 1);
    y = add_node(&n, (spade_node){.kind = SPADE_NODE_RESHAPE}, &y, 1, (spade_shape){3, {9, 2, 1}, 0}, 2);
    n.output = add_permute(&n, y, (int[]){2, 0, 1});
    check(&n);
    forget(&n);
}

/* Each block reads all before it, as DenseNet's do; then one value of 60 inputs. */
static void test_many_inputs(void **state)
{
    (void)state;
    enum { BLOCKS = 12, MANY = 60 };
    spade_network n = {.context = test_context(test_device(), 2)};
    int all[MANY];
    n.input = add_value(&n, (spade_shape){4, {1, 3, 2, 2}, 0}, 0);
    all[0] = add_pool(&n, n.input);
    for (int k = 1; k <= BLOCKS; k++) {
        int y = k == 1 ? all[0] : add_concat(&n, 1, all, k);
        y = add_function(&n, y, SPADE_LEAKY_RELU, 0.25f, 0);
        all[k] = add_interpolation(&n, y, 1, 2);
    }
    for (int k = BLOCKS + 1; k < MANY; k++) { all[k] = all[k % (BLOCKS + 1)]; }
    const int y = add_concat(&n, 1, all, MANY);
    const spade_shape joined = n.values[y].shape;
    n.output = add_node(&n, (spade_node){.kind = SPADE_NODE_RESHAPE}, &y, 1,
                        (spade_shape){2, {1, spade_shape_size(&joined)}, 0}, 0);
    check(&n);
    forget(&n);
}

/* Methods that change what a ReLU hands back take functions that are linear as what they are. */
static void test_linear_functions(void **state)
{
    (void)state;
    enum { SIZE = 4 };
    static const float x[SIZE] = {1, -1, 1, -1}, relevance[SIZE] = {3, 3, -3, -3};
    static const float expected[SIZE] = {0, 0, 6, 0}; /* 2 max(-relevance, 0) where 2 x + 1 is positive */
    spade_network n = {.context = test_context(test_device(), 2)};
    n.input = add_value(&n, (spade_shape){2, {1, SIZE}, 0}, 0);
    int y = add_function(&n, n.input, SPADE_AFFINE, 2, 1);
    y = add_function(&n, y, SPADE_RELU, 0, 0);
    n.output = add_function(&n, y, SPADE_NEG, 0, 0);
    const spade_plan_request request = spade_relevance_request(1, &spade_rules_guided);
    spade_executor *executor = NULL;
    float out[SIZE], got[SIZE];
    if (spade_executor_acquire(n.context, &n, &request, NULL, &executor) != SPADE_OK) {
        fail_msg("%s", spade_message(n.context));
    }
    assert_int_equal(spade_run_forward(executor->plan, executor->weights, x, out, NULL, NULL, NULL), SPADE_OK);
    assert_int_equal(test_run_backward(executor->plan, executor->weights, &n, relevance, got), SPADE_OK);
    for (int i = 0; i < SIZE; i++) { assert_true(got[i] == expected[i]); }
    spade_executor_release(executor);
    forget(&n);
}

static void test_impossible_maps(void **state)
{
    (void)state;
    spade_context *context = test_context(test_device(), 2);
    spade_axis_map map;
    const int64_t outside[2] = {0, 5}, negative[2] = {0, -2};
    const int64_t falling[3] = {0, 2, 1}, indices[2] = {0, 1};
    assert_int_equal(spade_axis_map_select(context, 2, 5, outside, 0, &map), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(context), "from 5 to 2 places"));
    assert_int_equal(spade_axis_map_select(context, 2, 5, negative, 0, &map), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_axis_map_create(context, 2, 5, falling, indices, NULL, NULL, &map), SPADE_ERROR_ARGUMENT);
    assert_null(map.data);
    spade_axis_map_clear(context, &map);
    assert_int_equal(context->used, context->device->own_bytes);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures),        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_many_inputs),     cmocka_unit_test(test_linear_functions),
        cmocka_unit_test(test_impossible_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
