/* test_layer_value.c - values by the names of layers and modules: with the exporter's paths and without, and names that
 * are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "attribution/layer_value.h"
#include "support/model.h"

#define NEEDED "one with rows and columns of pixels, or tokens of them, is needed"

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    attribution_job job;
} fixture;

static fixture open_model(const char *path)
{
    fixture f = {0};
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = "cpu";
    if (spade_context_create(&options, &f.context) != SPADE_OK ||
        spade_model_load(f.context, path, NULL, &f.model) != SPADE_OK) {
        fail_msg("%s", spade_message(f.context));
    }
    f.job = (attribution_job){.context = f.context, .model = f.model, .method = "a test"};
    return f;
}

static void close_model(fixture *f)
{
    spade_model_destroy(f->model);
    spade_context_destroy(f->context);
}

/* The name of the node that makes the value which is called `name`. */
static const char *maker_of(fixture *f, const char *name)
{
    const spade_layer_option layer = {.name = (char *)(uintptr_t)name};
    attribution_features features = {0};
    if (attribution_feature_maps(&f->job, &layer, true, &features) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    return f->model->network.nodes[f->model->network.values[features.value].producer].name;
}

static void expect_refused(fixture *f, const char *name, const char *message)
{
    const spade_layer_option layer = {.name = (char *)(uintptr_t)name};
    attribution_features features;
    assert_int_equal(attribution_feature_maps(&f->job, &layer, true, &features), SPADE_ERROR_ARGUMENT);
    if (strcmp(spade_message(f->context), message) != 0) { fail_msg("%s", spade_message(f->context)); }
}

/* Node names are paths. */
static void test_paths(void **state)
{
    (void)state;
    static const char *const files[] = {SPADE_TEST_DATA "/models/scene_resnet.onnx",
                                        SPADE_TEST_DATA "/models/scene_resnet_folded.onnx"};
    for (int i = 0; i < 2; i++) {
        fixture f = open_model(files[i]);
        assert_string_equal(maker_of(&f, NULL), "/layer4/layer4.0/relu_2/Relu");
        assert_string_equal(maker_of(&f, "layer4"), "/layer4/layer4.0/relu_2/Relu");
        assert_string_equal(maker_of(&f, "layer3.0"), "/layer3/layer3.0/relu_2/Relu");
        assert_string_equal(maker_of(&f, "layer3.1.relu"), "/layer3/layer3.1/relu/Relu");
        assert_string_equal(maker_of(&f, "layer3.1.conv2"), "/layer3/layer3.1/conv2/Conv");
        assert_string_equal(maker_of(&f, "layer2"), "/layer2/layer2.1/relu_1/Relu");
        assert_string_equal(maker_of(&f, "maxpool"), "/maxpool/MaxPool");
        expect_refused(&f, "fc", "layer fc: its value is [1, 10], " NEEDED);
        expect_refused(&f, "avgpool", "layer avgpool: its value is [1, 128, 1, 1], " NEEDED);
        expect_refused(&f, "layer5",
                       "'layer5' is no layer or module; close to it: layer1, layer2, layer3, layer4, layer1.0");
        expect_refused(&f, "layer", /* no module: only the beginning of a name */
                       "'layer' is no layer or module; close to it: layer1, layer2, layer3, layer4, layer1.0");
        close_model(&f);
    }
}

enum { CHANNELS = 4, SIDE = 6, CLASSES = 3 };

static void put_convolution(wire *network, const char *node, const char *weight, const char *input, const char *output)
{
    static const int64_t dims[4] = {CHANNELS, CHANNELS, 1, 1};
    char inputs[64];
    snprintf(inputs, sizeof inputs, "%s %s", input, weight);
    put_tensor(network, tensor_random(weight, 4, dims, 1));
    put_node(network, node_of(node, "Conv", inputs, output));
}

static void put_norm(wire *network, const char *node, const char *input, const char *output)
{
    char inputs[64];
    snprintf(inputs, sizeof inputs, "%s gamma beta beta gamma", input);
    put_node(network, node_of(node, "BatchNormalization", inputs, output));
}

/* As today's PyTorch names nodes. A stem, two residual blocks, one of which ends in x * sigmoid(x); `last` behind the
 * pooling is a convolution of one pixel. */
static wire without_paths(void)
{
    static const int64_t channels[1] = {CHANNELS}, classes[2] = {CLASSES, CHANNELS};
    static const float ones[CHANNELS] = {1, 1, 1, 1};
    wire network = graph_of(CHANNELS, SIDE, SIDE, CLASSES);
    put_tensor(&network, tensor_of("gamma", 1, channels, ones));
    put_tensor(&network, tensor_random("beta", 1, channels, 2));
    put_convolution(&network, "node_conv2d", "stem.0.weight", "x", "a");
    put_norm(&network, "node_norm", "a", "b");
    put_node(&network, node_of("node_relu", "Relu", "b", "c"));
    put_convolution(&network, "node_conv2d_1", "blocks.0.conv1.weight", "c", "d");
    put_node(&network, node_of("node_relu_1", "Relu", "d", "e"));
    put_convolution(&network, "node_conv2d_2", "blocks.0.conv2.weight", "e", "f");
    put_norm(&network, "node_norm_1", "f", "g");
    put_node(&network, node_of("node_add", "Add", "g c", "h"));
    put_node(&network, node_of("node_relu_2", "Relu", "h", "i"));
    put_convolution(&network, "node_conv2d_3", "blocks.1.conv1.weight", "i", "j");
    put_node(&network, node_of("node_sigmoid", "Sigmoid", "j", "k"));
    put_node(&network, node_of("node_mul", "Mul", "j k", "l"));
    put_node(&network, node_of("node_add_1", "Add", "l i", "m"));
    put_node(&network, node_of("node_mean", "GlobalAveragePool", "m", "n"));
    put_convolution(&network, "node_conv2d_4", "last.weight", "n", "o");
    put_node(&network, node_of("node_flatten", "Flatten", "o", "p"));
    put_tensor(&network, tensor_random("head.weight", 2, classes, 3));
    put_node(&network, with_int(node_of("node_linear", "Gemm", "p head.weight", "y"), "transB", 1));
    return model_of(network);
}

static void test_without_paths(void **state)
{
    (void)state;
    fixture f = open_model(test_save("layer_value.onnx", without_paths()));
    assert_string_equal(maker_of(&f, NULL), "node_add_1");
    assert_string_equal(maker_of(&f, "stem"), "node_relu");
    assert_string_equal(maker_of(&f, "stem.0"), "node_conv2d"); /* a layer: its own output */
    assert_string_equal(maker_of(&f, "blocks.0"), "node_relu_2");
    assert_string_equal(maker_of(&f, "blocks.0.conv1"), "node_conv2d_1");
    assert_string_equal(maker_of(&f, "blocks"), "node_add_1");
    expect_refused(&f, "last", "layer last: its value is [1, 4, 1, 1], " NEEDED);
    expect_refused(&f, "head", "layer head: its value is [1, 3], " NEEDED);
    expect_refused(&f, "blocks.2",
                   "'blocks.2' is no layer or module; close to it: blocks.0, blocks.1, blocks, blocks.0.conv2, last");
    close_model(&f);
}

/* Small exports (tests/zoo/small.py): where a name gives feature maps, of how many channels, how large, and at which token they
 * begin; no name: those that are chosen. */
static const struct {
    const char *file, *name;
    int64_t channels, side, first;
} feature_maps[] = {
    {"convnext", NULL, 16, 4, 0},    /* a normalisation over channels that are last */
    {"inception", NULL, 12, 8, 0},   /* all branches */
    {"shufflenet", NULL, 16, 16, 0}, /* both halves of the channels */
    {"norms", NULL, 8, 8, 0},        /* behind a group normalisation */
    {"pyramid", NULL, 8, 16, 0},     /* a sum of resized branches */
    {"mixer", NULL, 16, 4, 0},       /* tokens only */
    {"mixer", "blocks.0", 16, 4, 0}, /* their sum */
    {"vit", NULL, 16, 4, 1},         /* behind the class token */
    {"vit", "blocks.0", 16, 4, 1},
    {"vit", "blocks.0.mixer.qkv", 48, 4, 1},
    {"vit", "blocks.0.mlp.fc1", 32, 4, 1},
    {"vit", "patches", 16, 4, 0}, /* before it */
    {"vit_multihead", NULL, 16, 4, 1},
    {"vit_multihead", "blocks.0.mixer.attention.in_proj", 48, 4, 1}, /* tokens first, then the batch */
    {"swin", NULL, 16, 4, 0},                                        /* channels last */
    {"swin", "blocks.1", 8, 8, 0},                                   /* windows, put together again */
    {"swin", "blocks.0.norm2", 8, 8, 0},
    {"swin", "blocks.2.reduction", 16, 4, 0}, /* four places become one */
};

static void test_feature_maps(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof feature_maps / sizeof *feature_maps; i++) {
        for (int e = 0; e < 2; e++) {
            char path[512];
            snprintf(path, sizeof path, SPADE_TEST_DATA "/exports/%s.%s.onnx", feature_maps[i].file, e ? "new" : "old");
            fixture f = open_model(path);
            const spade_layer_option layer = {.name = (char *)(uintptr_t)feature_maps[i].name};
            attribution_features features = {0};
            if (attribution_feature_maps(&f.job, &layer, true, &features) != SPADE_OK) {
                fail_msg("%s: %s", path, spade_message(f.context));
            }
            assert_int_equal(features.channels, feature_maps[i].channels);
            assert_int_equal(features.height, feature_maps[i].side);
            assert_int_equal(features.width, feature_maps[i].side);
            assert_int_equal(features.where.first, feature_maps[i].first);
            close_model(&f);
        }
    }
}

/* Tokens behind the last attention, of which only the class token is read; windows; one token. */
static void test_no_pixels(void **state)
{
    (void)state;
    const spade_layer_option norm = {.name = (char *)(uintptr_t) "norm"};
    attribution_features features = {0};
    fixture f = open_model(SPADE_TEST_DATA "/exports/vit.new.onnx");
    expect_refused(
        &f, "norm",
        "layer norm: the classes do not depend on its pixels, only on its class token; take a layer before the "
        "last attention");
    assert_int_equal(attribution_feature_maps(&f.job, &norm, false, &features), SPADE_OK); /* without gradients */
    assert_int_equal(features.height, 4);
    expect_refused(&f, "head", "layer head: its value is [1, 5], " NEEDED);
    close_model(&f);
    f = open_model(SPADE_TEST_DATA "/exports/swin.new.onnx");
    expect_refused(&f, "blocks.0.mixer.attention.qkv",
                   "layer blocks.0.mixer.attention.qkv: its value is [4, 16, 24], " NEEDED);
    close_model(&f);
}

/* One channel of a layer is no layer. */
static void test_index(void **state)
{
    (void)state;
    fixture f = open_model(SPADE_TEST_DATA "/models/scene_resnet.onnx");
    char name[] = "layer4";
    const spade_layer_option layer = {.name = name, .has_index = true, .index = 3};
    attribution_features features;
    assert_int_equal(attribution_feature_maps(&f.job, &layer, true, &features), SPADE_ERROR_ARGUMENT);
    assert_string_equal(spade_message(f.context), "layer layer4:3: all its channels are meant, not one");
    close_model(&f);
}

/* Vectors only: there is nothing to choose. */
static void test_no_feature_maps(void **state)
{
    (void)state;
    static const int64_t dims[2] = {CLASSES, CHANNELS};
    wire network = graph_of(CHANNELS, 1, 1, CLASSES);
    put_tensor(&network, tensor_random("head.weight", 2, dims, 3));
    put_node(&network, node_of("flatten", "Flatten", "x", "a"));
    put_node(&network, with_int(node_of("head", "Gemm", "a head.weight", "y"), "transB", 1));
    fixture f = open_model(test_save("layer_value_flat.onnx", model_of(network)));
    expect_refused(&f, NULL,
                   "no layer of the network has a result with height and width; give a layer that has: layer=NAME");
    close_model(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),     cmocka_unit_test(test_without_paths), cmocka_unit_test(test_feature_maps),
        cmocka_unit_test(test_no_pixels), cmocka_unit_test(test_index),         cmocka_unit_test(test_no_feature_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
