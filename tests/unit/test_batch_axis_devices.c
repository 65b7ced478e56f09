/*
 * The batch need not be the first axis: a network of sequences [length, batch, features], made by hand, gives for several
 * images at once what it gives for each alone, forward and backward.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/executor.h"
#include "support/backward.h"
#include "support/device.h"
#include "support/model.h"

enum { LENGTH = 4, FEATURES = 6, SIZE = LENGTH * FEATURES, IMAGES = 3 };

static int add_value(spade_network *network, const char *name)
{
    const spade_value value = {.name = strdup(name),
                               .shape = {3, {LENGTH, 1, FEATURES}, SPADE_ROW_MAJOR},
                               .batch_axis = 1,
                               .producer = network->node_count - 1};
    return spade_network_add_value(network, &value);
}

/* The node with a new value as its output. */
static int add_node(spade_network *network, spade_node node, const char *name, const int *inputs, int count)
{
    node.name = strdup(name);
    spade_network_add_node(network, &node);
    int output = add_value(network, name);
    assert_true(spade_node_connect(&network->nodes[network->node_count - 1], inputs, count, &output, 1));
    return output;
}

static void add_layer(spade_network *network)
{
    const size_t n = FEATURES * FEATURES;
    void *weights;
    assert_int_equal(spade_alloc(network->context, n * sizeof(float), "weights", &weights), SPADE_OK);
    for (uint32_t i = 0; i < n; i++) { ((float *)weights)[i] = pseudo_random(3, i); }
    const spade_layer layer = {.name = strdup("linear"),
                               .weight = {FEATURES, FEATURES, 1, 1},
                               .groups = 1,
                               .rows = FEATURES,
                               .columns = FEATURES,
                               .weights = weights};
    assert_int_equal(spade_network_add_layer(network, &layer), 0);
}

/* softmax(gelu(linear(x)) + x) * x */
static spade_network make_network(spade_context *context)
{
    spade_network n = {.context = context};
    add_layer(&n);
    n.input = add_value(&n, "x");
    int y = add_node(&n, (spade_node){.kind = SPADE_NODE_LINEAR, .layer = 0}, "linear", &n.input, 1);
    const spade_node gelu = {.kind = SPADE_NODE_FUNCTION, .layer = -1, .pointwise = {SPADE_GELU, 0, 0}};
    y = add_node(&n, gelu, "gelu", &y, 1);
    y = add_node(&n, (spade_node){.kind = SPADE_NODE_ADD, .layer = -1}, "skip", (int[]){y, n.input}, 2);
    y = add_node(&n, (spade_node){.kind = SPADE_NODE_SOFTMAX, .layer = -1, .softmax = {2}}, "softmax", &y, 1);
    n.output = add_node(&n, (spade_node){.kind = SPADE_NODE_MUL, .layer = -1}, "gate", (int[]){y, n.input}, 2);
    return n;
}

/* x, relevance, y, gradient: [LENGTH, images, FEATURES] */
static void run(spade_context *context, const spade_network *network, int64_t images, const float *x,
                const float *relevance, float *y, float *gradient)
{
    const spade_plan_request request = spade_relevance_request(images, &spade_rules_gradient);
    spade_executor *e = NULL;
    if (spade_executor_acquire(context, network, &request, NULL, &e) != SPADE_OK) {
        fail_msg("%s", spade_message(context));
    }
    assert_int_equal(spade_run_forward(e->plan, e->weights, x, y, NULL, NULL, NULL), SPADE_OK);
    assert_int_equal(test_run_backward(e->plan, e->weights, network, relevance, gradient), SPADE_OK);
    spade_executor_release(e);
}

/* Rows of image i between the batch [LENGTH, IMAGES, FEATURES] and one image [LENGTH, FEATURES]. */
static void take_image(const float *batch, int i, float *image)
{
    for (int l = 0; l < LENGTH; l++) {
        memcpy(image + l * FEATURES, batch + (l * IMAGES + i) * FEATURES, FEATURES * sizeof(float));
    }
}

static void test_second_axis(void **state)
{
    (void)state;
    spade_context *context;
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = test_device();
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    spade_network network = make_network(context);
    float x[IMAGES * SIZE], seed[IMAGES * SIZE], y[IMAGES * SIZE], gradient[IMAGES * SIZE];
    for (uint32_t i = 0; i < IMAGES * SIZE; i++) {
        x[i] = pseudo_random(1, i);
        seed[i] = pseudo_random(2, i);
    }
    run(context, &network, IMAGES, x, seed, y, gradient);
    for (int i = 0; i < IMAGES; i++) {
        float one[4][SIZE], alone[2][SIZE];
        take_image(x, i, one[0]);
        take_image(seed, i, one[1]);
        take_image(y, i, one[2]);
        take_image(gradient, i, one[3]);
        run(context, &network, 1, one[0], one[1], alone[0], alone[1]);
        for (int k = 0; k < SIZE; k++) {
            assert_float_equal(one[2][k], alone[0][k], 1e-6);
            assert_float_equal(one[3][k], alone[1][k], 1e-5);
        }
    }
    spade_cache_drop(context, &network);
    spade_network_clear(&network);
    assert_int_equal(context->used, context->device->own_bytes);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_second_axis)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
