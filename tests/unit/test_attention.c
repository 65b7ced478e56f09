/* test_attention.c - attention found among the nodes of exports, and what networks without it, or of another kind, are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model.h"
#include "network/attention.h"
#include "spade/spade.h"
#include "support/context.h"
#include "support/model.h"
#include "support/targets.h"

#define EXPORTS SPADE_TEST_DATA "/exports/"

static spade_model *load(spade_context *context, const char *path)
{
    spade_model *model = NULL;
    if (spade_model_load(context, path, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    return model;
}

/* How many there are, and of which sizes the last one is. */
static const struct {
    const char *file;
    int count;
    int64_t heads, tokens;
} files[] = {
    {SPADE_TEST_DATA "/models/scene_vit.onnx", 4, 4, 65},
    {EXPORTS "vit.old.onnx", 2, 2, 17},
    {EXPORTS "vit.new.onnx", 2, 2, 17},
    {EXPORTS "vit_multihead.old.onnx", 1, 4, 17}, /* heads beside the batch */
    {EXPORTS "vit_multihead.new.onnx", 1, 4, 17},
    {EXPORTS "swin.old.onnx", 2, 8, 16}, /* two heads in four windows */
    {EXPORTS "swin.new.onnx", 2, 8, 16},
    {EXPORTS "resnet.new.onnx", 0, 0, 0},
    {EXPORTS "mixer.new.onnx", 0, 0, 0},
};

static void test_found(void **state)
{
    (void)state;
    spade_context *context = test_context("cpu", 1);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        spade_model *model = load(context, files[i].file);
        spade_attention *attentions;
        int count;
        assert_int_equal(spade_attentions_find(context, &model->network, &attentions, &count), SPADE_OK);
        assert_int_equal(count, files[i].count);
        assert_int_equal(spade_other_product(&model->network, attentions, count), -1);
        if (count) {
            const spade_attention *last = &attentions[count - 1];
            assert_int_equal(last->heads, files[i].heads);
            assert_int_equal(last->queries, files[i].tokens);
            assert_int_equal(last->keys, files[i].tokens);
            assert_true(last->scores < last->softmax && last->softmax < last->product);
        }
        free(attentions);
        spade_model_destroy(model);
    }
    spade_context_destroy(context);
}

/* ---- written the other way round: softmax over columns of K Q^T, then V^T A; another number of keys than of queries */
enum { QUERIES = 9, KEYS = 5, WIDTH = 4 };

static void put_linear(wire *network, const char *name, const char *input, const char *output, int64_t to,
                       uint32_t seed)
{
    char inputs[64];
    const int64_t dims[2] = {WIDTH, to};
    snprintf(inputs, sizeof inputs, "%s %s", input, name);
    put_tensor(network, tensor_random(name, 2, dims, seed));
    put_node(network, node_of(name, "MatMul", inputs, output));
}

static wire turned(void)
{
    static const int64_t tokens[3] = {0, WIDTH, QUERIES}, flat[2] = {0, WIDTH * QUERIES}, last_first[3] = {0, 2, 1};
    static const int64_t first[1] = {0}, some[1] = {KEYS}, axis[1] = {1}, head[2] = {WIDTH * QUERIES, 3};
    wire network = graph_of(WIDTH, 3, 3, 3);
    put_tensor(&network, tensor_int64("tokens", 3, tokens));
    put_tensor(&network, tensor_int64("flat", 2, flat));
    put_tensor(&network, tensor_int64("first", 1, first));
    put_tensor(&network, tensor_int64("some", 1, some));
    put_tensor(&network, tensor_int64("axis", 1, axis));
    put_tensor(&network, tensor_random("head", 2, head, 9));
    put_node(&network, node_of("reshape", "Reshape", "x tokens", "columns"));
    put_node(&network, with_ints(node_of("rows", "Transpose", "columns", "t"), "perm", 3, last_first));
    put_linear(&network, "query", "t", "q", WIDTH, 1);
    put_linear(&network, "key", "t", "all_k", WIDTH, 2);
    put_linear(&network, "value", "t", "all_v", WIDTH, 3);
    put_node(&network, node_of("cut_k", "Slice", "all_k first some axis", "k"));
    put_node(&network, node_of("cut_v", "Slice", "all_v first some axis", "v"));
    put_node(&network, with_ints(node_of("turn_q", "Transpose", "q", "qt"), "perm", 3, last_first));
    put_node(&network, with_ints(node_of("turn_v", "Transpose", "v", "vt"), "perm", 3, last_first));
    put_node(&network, node_of("scores", "MatMul", "k qt", "s"));
    put_node(&network, node_of("cap", "Tanh", "s", "capped"));
    put_node(&network, with_int(node_of("softmax", "Softmax", "capped", "a"), "axis", 1));
    put_node(&network, node_of("product", "MatMul", "vt a", "o"));
    put_node(&network, node_of("flatten", "Reshape", "o flat", "f"));
    put_node(&network, node_of("classes", "MatMul", "f head", "y"));
    return model_of(network);
}

static void test_turned(void **state)
{
    (void)state;
    spade_context *context = test_context("cpu", 1);
    spade_model *model = load(context, test_save("attention_turned.onnx", turned()));
    spade_attribution *attribution;
    spade_attention *attentions;
    int64_t shape[3];
    int count;
    assert_int_equal(spade_attentions_find(context, &model->network, &attentions, &count), SPADE_OK);
    assert_int_equal(count, 1);
    assert_int_equal(attentions->queries, QUERIES);
    assert_int_equal(attentions->keys, KEYS);
    assert_int_equal(attentions->heads, 1);
    free(attentions);
    assert_int_equal(spade_attribution_create(context, "attention_rollout", &attribution), SPADE_OK);
    assert_int_equal(spade_attribution_map_shape(context, model, attribution, shape), SPADE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(spade_message(context), "attention \"softmax\" is of 9 tokens to 5"));
    spade_attribution_destroy(attribution);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

/* ---- one line for each that cannot be */
static const struct {
    const char *file, *method;
    spade_status status;
    const char *says;
} refusals[] = {
    {"resnet.new", "attention_rollout", SPADE_ERROR_UNSUPPORTED,
     "attention_rollout: the network has no attention: no softmax(q k^T) v among its nodes"},
    {"mixer.new", "attention_gradient", SPADE_ERROR_UNSUPPORTED, "attention_gradient: the network has no attention"},
    {"swin.new", "attention_rollout", SPADE_ERROR_UNSUPPORTED,
     "attention \"blocks.1.mixer.attention\" is of 16 tokens to 16, which do not stand for the pixels of the picture"},
    {"vit.new", "attention_rollout:block=2", SPADE_ERROR_ARGUMENT,
     "block=2: there are the blocks 0 to 1: blocks.0.mixer to blocks.1.mixer"},
    {"vit.new", "attention_gradient:block=blocks.7", SPADE_ERROR_ARGUMENT,
     "block=blocks.7: there are the blocks 0 to 1"},
    {"vit.new", "attention_rollout:block=blocks.1:1", SPADE_ERROR_ARGUMENT, "block=blocks.1:1: a head is head=1"},
    {"vit.new", "attention_rollout:head=2", SPADE_ERROR_ARGUMENT,
     "head=2: attention \"blocks.0.mixer\" has the heads 0 to 1"},
};

static void test_refused(void **state)
{
    (void)state;
    spade_context *context = test_context("cpu", 1);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        static const int64_t first_class = 0;
        static float x[3 * 32 * 32], map[32 * 32];
        char path[512];
        int64_t shape[3];
        spade_attribution *attribution;
        snprintf(path, sizeof path, EXPORTS "%s.onnx", refusals[i].file);
        spade_model *model = load(context, path);
        assert_int_equal(spade_attribution_create(context, refusals[i].method, &attribution), SPADE_OK);
        assert_int_equal(spade_attribution_map_shape(context, model, attribution, shape), refusals[i].status);
        if (!strstr(spade_message(context), refusals[i].says)) { fail_msg("%s", spade_message(context)); }
        assert_int_equal(
            spade_attribute(context, model, NULL, attribution, x, targets_of(&first_class, 1), 1, map, NULL),
            refusals[i].status);
        if (!strstr(spade_message(context), refusals[i].says)) { fail_msg("%s", spade_message(context)); }
        spade_attribution_destroy(attribution);
        spade_model_destroy(model);
    }
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_found), cmocka_unit_test(test_turned),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
