/* The graph on networks made by hand: names, windows, layouts, shapes of the batch, the arena, operators against plain
 * loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "import/import.h"
#include "engine/model.h"
#include "engine/plan.h"
#include "support/context.h"
#include "support/model.h"

static spade_model *load(spade_context *context, wire file)
{
    spade_model *model = NULL;
    if (spade_model_load(context, test_save("net.onnx", file), NULL, &model) != SPADE_OK) {
        fail_msg("%s", spade_message(context));
    }
    return model;
}

static const spade_value *find_value(const spade_model *model, const char *name)
{
    for (int i = 0; i < model->network.value_count; i++) {
        if (strcmp(model->network.values[i].name, name) == 0) { return &model->network.values[i]; }
    }
    fail_msg("no value %s", name);
    return NULL;
}

static int count_kind(const spade_model *model, spade_node_kind kind)
{
    int count = 0;
    for (int i = 0; i < model->network.node_count; i++) { count += model->network.nodes[i].kind == kind; }
    return count;
}

static void run(spade_context *context, const spade_model *model, const float *x, int64_t n, float *y)
{
    if (spade_model_forward(context, model, NULL, x, n, y) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
}

static void finish(spade_context *context, spade_model *model)
{
    spade_model_destroy(model);
    assert_int_equal(context->used, 0);
    spade_context_destroy(context);
}

/* ---- names */
static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *weight, *node, *op;
        int64_t rows, columns;
        const char *name;
        const char *scopes, *call;
    } cases[] = {
        /* until PyTorch 2.8: the node's name is a path */
        {"layer1.0.conv1.weight", "/layer1/layer1.0/conv1/Conv", "Conv", 8, 8, "layer1.0.conv1", NULL, NULL},
        {"attn.in_proj_weight", "/attn/MatMul", "MatMul", 24, 8, "attn.in_proj", NULL, NULL},
        {"onnx::Conv_193", "/layer2/layer2.0/downsample/downsample.0/Conv", "Conv", 8, 8, "layer2.0.downsample.0", NULL,
         NULL},
        {"onnx::MatMul_657", "/encoder/layers/layer_0/self_attention/MatMul", "MatMul", 24, 8,
         "encoder.layers.layer_0.self_attention.in_proj", NULL, NULL},
        {"onnx::MatMul_658", "/encoder/layers/layer_0/mlp/mlp.0/MatMul", "MatMul", 32, 8,
         "encoder.layers.layer_0.mlp.0", NULL, NULL},
        {"onnx::MatMul_659", "/blocks/blocks.0/attn/qkv/MatMul", "MatMul", 24, 8, "blocks.0.attn.qkv", NULL, NULL},
        {"193", "Conv_12", "Conv", 8, 8, "Conv_12", NULL, NULL},
        {"weight", "Conv_0", "Conv", 8, 8, "weight", NULL, NULL},
        /* since 2.9: its metadata have the modules' names */
        {"stem.conv.weight", "node_Conv_7", "Conv", 8, 8, "stem.conv", "['', 'stem', 'stem.bn', 'batch_norm']",
         "%batch_norm : call_function(args = (%conv2d, %p_stem_bn_weight, %p_stem_bn_bias))"},
        {"blocks.1.shared.proj.weight", "node_conv2d_1", "Conv", 8, 8, "blocks.0.shared.proj",
         "['', 'blocks.0', 'blocks.0.shared.proj', 'conv2d_1']", NULL},
        {"net.convs.0.weight", "node_Conv_7", "Conv", 8, 8, "net.convs.0", "['', 'net', 'net.bns.0', 'batch_norm_2']",
         "%batch_norm_2 : call_function[target=torch.ops.aten.batch_norm.default](args = (%conv2d, "
         "%p_net_bns_0_bias))"},
        {"net.a.conv.weight", "node_conv2d_1", "Conv", 8, 8, "net.b.conv", "['', 'net.b', 'net.b.conv', 'conv2d_1']",
         "%conv2d_1 : call_function[target=torch.ops.aten.conv2d.default](args = (%batch_norm, %p_net_a_conv_weight))"},
        {"val_28", "node_MatMul_27", "MatMul", 8, 8, "mlp.fc1", "['', 'mlp', 'mlp.fc1', 'linear']", NULL},
        {"val_28", "node_MatMul_27", "MatMul", 24, 8, "net.attn.q_k_v", "['', 'net', 'net.attn', 'linear_4']",
         "%linear_4 : call_function(args = (%x, %p_net_attn_q_k_v_weight, %cat), kwargs = {})"},
        {"val_28", "node_MatMul_27", "MatMul", 8, 8, "net.fc", "['', 'net', 'net.fc', 'linear_4']",
         "%linear_4 : call_function(args = (%x, %p_net_fc_weight, %p_net_fc_bias), kwargs = {})"},
        {"val_28", "node_MatMul_27", "MatMul", 24, 8, "net.attn.in_proj", "['', 'net', 'net.attn', 'linear_4']",
         "%linear_4 : call_function(args = (%x, %p_net_attn2_weight, %p_net), kwargs = {})"},
        {"view_5", "node_conv2d_3", "Conv", 8, 8, "stages.0.conv", "['', 'stages', 'stages.0.conv', 'conv2d_3']", NULL},
        {"pool.filter", "node_conv2d_3", "Conv", 8, 8, "pool", "['', \"pool\", 'conv2d_3']", NULL},
        {"attn.table", "node_matmul_3", "MatMul", 8, 8, "attn.table", "['', 'attn', 'matmul_3']", NULL},
        {"val_28", "node_linear", "MatMul", 8, 8, "node_linear", "['', 'linear']", NULL},
        {"val_28", "/fc/MatMul", "MatMul", 8, 8, "fc", "['', 'other', ", NULL}, /* no list */
        {"val_28", "node_linear", "MatMul", 8, 8, "node_linear", "['linear']", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        onnx_node node = {.name = (char *)(uintptr_t)cases[i].node,
                          .op_type = (char *)(uintptr_t)cases[i].op,
                          .scopes = (char *)(uintptr_t)cases[i].scopes,
                          .call = (char *)(uintptr_t)cases[i].call};
        const onnx_model onnx = {.nodes = &node, .node_count = 1};
        spade_import import = {.onnx = &onnx};
        char *name = spade_layer_name(&import, 0, cases[i].weight, cases[i].rows, cases[i].columns);
        assert_string_equal(name, cases[i].name);
        free(name);
    }
    /* layers that share a weight: the path, then a number; the path of a folded BatchNorm is none of the weight's */
    onnx_node node = {.name = "/a/b/Conv", .op_type = "Conv"};
    const onnx_model onnx = {.nodes = &node, .node_count = 1};
    static const char *const expected[] = {"shared", "a.b", "shared#2", "shared#3"};
    spade_import import = {.onnx = &onnx};
    char *names[4];
    for (int i = 0; i < 4; i++) {
        names[i] = spade_layer_name(&import, 0, "shared.weight", 1, 1);
        assert_string_equal(names[i], expected[i]);
        assert_true(spade_name_map_put(&import.layers, names[i], 1));
    }
    char *other = spade_layer_name(&import, 0, "shared#2", 1, 1); /* a weight that has such a name itself */
    assert_string_equal(other, "shared#2#2");
    free(other);
    node = (onnx_node){.name = "n", .op_type = "Conv", .scopes = "['', 'net.bn', 'b']", .call = "target=batch_norm]("};
    other = spade_layer_name(&import, 0, "shared.weight", 1, 1);
    assert_string_equal(other, "shared#4");
    free(other);
    for (int i = 0; i < 4; i++) { free(names[i]); }
    spade_name_map_clear(&import.layers);
}

/* Two modules of one weight, which has the name of one of them: each has its own. */
static void test_tied_names(void **state)
{
    (void)state;
    char *inputs[] = {"x", "c2.weight"};
    onnx_node tied[] = {
        {.name = "n", .op_type = "Conv", .scopes = "['', 'c1', 'conv2d']", .inputs = inputs, .input_count = 2},
        {.name = "m", .op_type = "Conv", .scopes = "['', 'c2', 'conv2d']", .inputs = inputs, .input_count = 2}};
    for (int readers = 1; readers <= 2; readers++) {
        const onnx_model both = {.nodes = tied, .node_count = readers};
        spade_import reading = {.onnx = &both};
        for (int i = 0; i < readers; i++) {
            char *name = spade_layer_name(&reading, i, "c2.weight", 1, 1);
            assert_string_equal(name, readers == 1 || i == 1 ? "c2" : "c1");
            free(name);
        }
    }
}

/* The node with an entry of metadata_props. */
static wire with_metadata(wire node, const char *key, const char *value)
{
    wire entry = {0};
    wire_text(&entry, 1, key);
    wire_text(&entry, 2, value);
    wire_message(&node, 9, entry);
    return node;
}

/* A file with a product and a bias, which is added as the tensor `added`: by which name the layer goes. copy: the node
 * that makes `added`; empty: it is the bias itself. */
static void check_copied_bias(wire product, const char *weight, const char *bias, wire copy, const char *added,
                              const char *expected)
{
    const int64_t weight_dims[] = {2, 2}, row_dims[] = {1, 1}, second = 1;
    const float zero = 0.0f;
    spade_context *context = test_context("cpu", 2);
    wire network = graph_of(2, 1, 1, 2);
    put_tensor(&network, tensor_random(weight, 2, weight_dims, 1));
    put_tensor(&network, tensor_random(bias, 1, weight_dims, 2));
    wire row = tensor_head("row", 7, 2, row_dims);
    wire_bytes(&row, 9, &second, sizeof second);
    put_tensor(&network, row);
    put_tensor(&network, tensor_of("zero", 1, row_dims, &zero));
    put_node(&network, node_of("flat", "Flatten", "x", "f"));
    if (copy.size) { put_node(&network, copy); }
    put_node(&network, product);
    char inputs[64];
    snprintf(inputs, sizeof inputs, "%s p", added);
    put_node(&network, node_of("sum", "Add", inputs, "y"));
    spade_model *model = load(context, model_of(network));
    assert_int_equal(model->network.layer_count, 1);
    assert_string_equal(model->network.layers[0].name, expected);
    finish(context, model);
}

static void check_product(wire product, const char *weight, const char *bias, const char *expected)
{
    check_copied_bias(product, weight, bias, (wire){0}, bias, expected);
}

static void test_names_in_files(void **state)
{
    (void)state;
    static const char scopes[] = "['', 'block', 'block.attn', 'linear']", key[] = "pkg.torch.onnx.name_scopes";
    char too_long[5000] = {0};
    memset(too_long, '[', sizeof too_long - 1);
    wire product = node_of("node_linear", "MatMul", "f val_4", "p");
    check_product(with_metadata(product, key, scopes), "val_4", "other.bias", "block.attn");
    product = with_metadata(node_of("node_linear", "MatMul", "f val_4", "p"), "namespace", "not this");
    check_product(with_metadata(product, key, scopes), "val_4", "block.attn.qkv.bias", "block.attn.qkv");
    product = with_metadata(node_of("node_linear", "MatMul", "f val_4", "p"), "pkg.torch.onnx.fx_node",
                            "%linear : (args = (%f, %p_block_attn_qkv_weight))");
    check_product(with_metadata(product, key, scopes), "val_4", "val_5", "block.attn.qkv");
    product = node_of("node_linear", "MatMul", "f val_4", "p"); /* metadata that are no text of use */
    check_product(with_metadata(product, key, too_long), "val_4", "val_5", "node_linear");
    check_product(with_metadata(node_of("n", "MatMul", "f val_4", "p"), key, ""), "val_4", "val_5", "n");
    /* an older exporter's, and one whose metadata an optimiser dropped */
    product = node_of("/attn/MatMul", "MatMul", "f onnx::MatMul_4", "p");
    check_product(product, "onnx::MatMul_4", "attn.in_proj_bias", "attn.in_proj");
    check_product(node_of("node_linear", "MatMul", "f val_4", "p"), "val_4", "mlp.fc1.bias", "mlp.fc1");
    /* a computed weight with a folded BatchNorm, of a layer with a bias and of one without */
    static const char norm[] = "%b : call_function[target=torch.ops.aten.batch_norm.default](args = (%conv2d))";
    static const char norm_scopes[] = "['', 'net', 'net.bn', 'b']";
    product = with_metadata(node_of("n", "MatMul", "f mul", "p"), "pkg.torch.onnx.fx_node", norm);
    check_product(with_metadata(product, key, norm_scopes), "mul", "net.fc.bias", "net.fc");
    product = with_metadata(node_of("n", "MatMul", "f mul", "p"), "pkg.torch.onnx.fx_node", norm);
    check_product(with_metadata(product, key, norm_scopes), "mul", "mul_bias", "net.bn");
    /* keys without a bias; equal biases, which are written once; a sum with what the picture makes */
    check_copied_bias(node_of("/attn/MatMul", "MatMul", "f onnx::MatMul_4", "p"), "onnx::MatMul_4", "attn.qkv.bias",
                      node_of("keys", "ScatterND", "attn.qkv.bias row zero", "/attn/b"), "/attn/b", "attn.qkv");
    check_copied_bias(node_of("/b.1/attn/MatMul", "MatMul", "f onnx::MatMul_4", "p"), "onnx::MatMul_4",
                      "b.0.attn.kv.bias", node_of("same", "Identity", "b.0.attn.kv.bias", "b.1.attn.kv.bias"),
                      "b.1.attn.kv.bias", "b.1.attn.kv");
    check_copied_bias(node_of("/attn/MatMul", "MatMul", "f onnx::MatMul_4", "p"), "onnx::MatMul_4", "attn.q.bias",
                      node_of("seen", "Identity", "f", "attn.seen_bias"), "attn.seen_bias", "attn");
}

/* ---- windows */
static void check_window(wire node, int64_t height, int64_t width, const int64_t expected[4], const int64_t pad[4])
{
    static const int64_t kernel[2] = {3, 2};
    spade_context *context = test_context("cpu", 2);
    wire network = graph_of(1, height, width, 1);
    put_node(&network, with_ints(node, "kernel_shape", 2, kernel));
    put_node(&network, node_of("flat", "Flatten", "p", "y"));
    spade_model *model = load(context, model_of(network));
    assert_memory_equal(find_value(model, "p")->shape.dims, expected, 4 * sizeof *expected);
    assert_memory_equal(model->network.nodes[find_value(model, "p")->producer].convolution.window.pad, pad,
                        4 * sizeof *pad);
    finish(context, model);
}

static void test_windows(void **state)
{
    (void)state;
    static const int64_t strides[2] = {2, 3}, explicit_pads[4] = {1, 0, 1, 1};
    wire pool = node_of("pool", "MaxPool", "x", "p");
    check_window(with_text(with_ints(pool, "strides", 2, strides), "auto_pad", "SAME_UPPER"), 8, 7,
                 (int64_t[]){1, 1, 4, 3}, (int64_t[]){0, 0, 1, 1});
    pool = node_of("pool", "MaxPool", "x", "p");
    check_window(with_text(with_ints(pool, "strides", 2, strides), "auto_pad", "SAME_LOWER"), 8, 7,
                 (int64_t[]){1, 1, 4, 3}, (int64_t[]){1, 1, 0, 0});
    pool = node_of("pool", "MaxPool", "x", "p");
    check_window(with_text(with_ints(pool, "strides", 2, strides), "auto_pad", "VALID"), 8, 7, (int64_t[]){1, 1, 3, 2},
                 (int64_t[]){0, 0, 0, 0});
    pool = node_of("pool", "AveragePool", "x", "p");
    check_window(with_ints(with_ints(pool, "strides", 2, strides), "pads", 4, explicit_pads), 8, 7,
                 (int64_t[]){1, 1, 4, 3}, (int64_t[]){1, 0, 1, 1});
    /* ceil_mode adds rows after the image; a window that would begin there is dropped */
    pool = node_of("pool", "MaxPool", "x", "p");
    check_window(with_int(with_ints(pool, "strides", 2, strides), "ceil_mode", 1), 8, 6, (int64_t[]){1, 1, 4, 2},
                 (int64_t[]){0, 0, 1, 0});
}

/* ---- layouts: one conversion at the input, none where a pixel is left */
static void test_layouts(void **state)
{
    (void)state;
    static const int64_t weight[4] = {4, 3, 3, 3};
    spade_context *context = test_context("cpu", 2);
    wire network = graph_of(3, 6, 6, 4);
    put_tensor(&network, tensor_random("w", 4, weight, 1));
    put_node(&network, node_of("conv", "Conv", "x w", "c"));
    put_node(&network, node_of("conv2", "Conv", "x w", "d"));
    put_node(&network, node_of("add", "Add", "c d", "s"));
    put_node(&network, node_of("pool", "GlobalAveragePool", "s", "p"));
    put_node(&network, node_of("flat", "Flatten", "p", "y"));
    spade_model *model = load(context, model_of(network));
    assert_int_equal(count_kind(model, SPADE_NODE_CONVERT_LAYOUT), 1);
    assert_int_equal(find_value(model, "s")->shape.layout, SPADE_CHANNELS_LAST);
    assert_int_equal(spade_model_layer_count(model), 2);
    assert_string_equal(model->network.layers[0].name, "w");
    assert_string_equal(model->network.layers[1].name, "w#2");
    assert_false(model->network.layers[0].prunable);
    assert_true(model->network.layers[1].prunable);
    finish(context, model);
}

/* A full constant [C, H, W] on a channels-last value: y = x * k through a convolution that passes x on. */
static void test_constant_layout(void **state)
{
    (void)state;
    enum { C = 3, P = 20 };
    static const int64_t eye_dims[4] = {C, C, 1, 1}, k_dims[3] = {C, 4, 5};
    static const float eye[C * C] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    spade_context *context = test_context("cpu", 2);
    wire network = graph_of(C, 4, 5, C * P);
    put_tensor(&network, tensor_of("eye", 4, eye_dims, eye));
    put_tensor(&network, tensor_random("k", 3, k_dims, 7));
    put_node(&network, node_of("conv", "Conv", "x eye", "c"));
    put_node(&network, node_of("mul", "Mul", "k c", "m"));
    put_node(&network, node_of("flat", "Flatten", "m", "y"));
    spade_model *model = load(context, model_of(network));
    float x[2 * C * P], y[2 * C * P];
    for (uint32_t i = 0; i < 2 * C * P; i++) { x[i] = pseudo_random(9, i); }
    run(context, model, x, 2, y);
    for (uint32_t i = 0; i < 2 * C * P; i++) {
        assert_true(fabsf(y[i] - x[i] * pseudo_random(7, i % (C * P))) < 1e-6f);
    }
    finish(context, model);
}

/* ---- Gemm in all its forms: y = alpha * x w + beta * c */
static void test_gemm(void **state)
{
    (void)state;
    enum { K = 6, R = 4, N = 3 };
    static const int64_t shapes[2][2] = {{K, R}, {R, K}}, bias_dims[3][2] = {{R}, {1, R}, {1}};
    static const int bias_ranks[4] = {1, 2, 0, -1};
    for (int form = 0; form < 8; form++) {
        int transposed = form & 1, bias = form / 2;
        spade_context *context = test_context("cpu", 2);
        wire network = graph_of(K, 1, 1, R);
        wire gemm = node_of("gemm", "Gemm", bias_ranks[bias] < 0 ? "f w" : "f w c", "y");
        gemm = with_int(with_float(with_float(gemm, "alpha", 0.5f), "beta", 2), "transB", transposed);
        put_tensor(&network, tensor_random("w", 2, shapes[transposed], 3));
        if (bias_ranks[bias] >= 0) {
            put_tensor(&network, tensor_random("c", bias_ranks[bias], bias_dims[bias % 3], 4));
        }
        put_node(&network, node_of("flat", "Flatten", "x", "f"));
        put_node(&network, gemm);
        spade_model *model = load(context, model_of(network));
        assert_int_equal(model->network.layers[0].transposed, !transposed);
        assert_true(model->network.layers[0].prunable);
        float x[N * K], y[N * R];
        for (uint32_t i = 0; i < N * K; i++) { x[i] = pseudo_random(5, i); }
        run(context, model, x, N, y);
        for (uint32_t n = 0; n < N; n++) {
            for (uint32_t r = 0; r < R; r++) {
                double sum = 0;
                for (uint32_t k = 0; k < K; k++) {
                    sum += (double)x[n * K + k] * (double)pseudo_random(3, transposed ? r * K + k : k * R + r);
                }
                double c = bias_ranks[bias] < 0 ? 0 : (double)pseudo_random(4, bias_ranks[bias] == 0 ? 0 : r);
                assert_true(fabs((double)y[n * R + r] - (0.5 * sum + 2 * c)) < 1e-5);
            }
        }
        finish(context, model);
    }
}

/* ---- a batch that the file fixes to 1, and what Reshape says of it */
static void test_fixed_batch(void **state)
{
    (void)state;
    static const int64_t x_dims[4] = {1, 2, 2, 2}, y_dims[2] = {1, 8}, shape[2] = {1, -1};
    spade_context *context = test_context("cpu", 2);
    wire network = {0};
    wire_message(&network, 11, value_of("x", 4, x_dims));
    wire_message(&network, 12, value_of("y", 2, y_dims));
    put_node(&network, with_ints(node_of("shape", "Constant", "", "s"), "value_ints", 2, shape));
    put_node(&network, node_of("same", "Identity", "s", "t"));
    put_node(&network, node_of("drop", "Dropout", "x", "d"));
    put_node(&network, node_of("reshape", "Reshape", "d t", "r"));
    put_node(&network, node_of("relu", "Relu", "r", "y"));
    spade_model *model = load(context, model_of(network));
    float x[3 * 8], y[3 * 8];
    for (uint32_t i = 0; i < 24; i++) { x[i] = pseudo_random(1, i); }
    run(context, model, x, 3, y);
    for (int i = 0; i < 24; i++) { assert_true(y[i] == (x[i] > 0 ? x[i] : 0)); }
    finish(context, model);
}

/* ---- Clip: bounds as attributes before opset 11, as inputs since */
static void check_clip(int64_t opset, wire clip)
{
    spade_context *context = test_context("cpu", 2);
    static const float low = -0.25f, high = 0.5f;
    wire network = graph_of(8, 1, 1, 8);
    put_tensor(&network, tensor_of("low", 0, NULL, &low));
    put_tensor(&network, tensor_of("high", 0, NULL, &high));
    put_node(&network, node_of("flat", "Flatten", "x", "f"));
    put_node(&network, clip);
    spade_model *model = load(context, model_with_opset(network, opset));
    float x[8], y[8];
    for (uint32_t i = 0; i < 8; i++) { x[i] = pseudo_random(2, i); }
    run(context, model, x, 1, y);
    for (int i = 0; i < 8; i++) { assert_true(y[i] == fminf(fmaxf(x[i], low), high)); }
    finish(context, model);
}

static void test_clip(void **state)
{
    (void)state;
    check_clip(16, node_of("clip", "Clip", "f low high", "y"));
    check_clip(10, with_float(with_float(node_of("clip", "Clip", "f", "y"), "min", -0.25f), "max", 0.5f));
}

/* ---- AveragePool: ceil_mode never counts in the divisor, declared padding where asked */
static void check_average(bool count, bool ceil_mode, const int64_t pads[4], const float *expected, int n)
{
    static const int64_t kernel[2] = {1, 2};
    spade_context *context = test_context("cpu", 2);
    wire network = graph_of(1, 1, 3, n), pool = node_of("pool", "AveragePool", "x", "p");
    pool = with_int(with_int(pool, "count_include_pad", count), "ceil_mode", ceil_mode);
    pool = with_ints(with_ints(with_ints(pool, "kernel_shape", 2, kernel), "strides", 2, (int64_t[]){1, 2}), "pads", 4,
                     pads);
    put_node(&network, pool);
    put_node(&network, node_of("flat", "Flatten", "p", "y"));
    spade_model *model = load(context, model_of(network));
    const float x[3] = {1, 2, 4};
    float y[4];
    assert_int_equal(spade_model_outputs(model), n);
    run(context, model, x, 1, y);
    for (int i = 0; i < n; i++) { assert_true(fabsf(y[i] - expected[i]) < 1e-6f); }
    finish(context, model);
}

static void test_average(void **state)
{
    (void)state;
    static const int64_t none[4] = {0}, left[4] = {0, 1, 0, 0};
    check_average(true, true, none, (float[]){1.5f, 4}, 2);
    check_average(false, true, none, (float[]){1.5f, 4}, 2);
    check_average(false, false, left, (float[]){1, 3}, 2);
    check_average(true, false, left, (float[]){0.5f, 3}, 2);
}

/* ---- class names, operators */
static void put_metadata(wire *model, const char *key, const char *value)
{
    wire entry = {0};
    wire_text(&entry, 1, key);
    wire_text(&entry, 2, value);
    wire_message(model, 14, entry);
}

static void keep_line(void *user, spade_log_level level, const char *line)
{
    if (level <= SPADE_LOG_WARNING) { snprintf(user, 400, "%s", line); }
}

/* says: part of the only warning; NULL: there is none. */
static void check_class_names(const char *json, const char *first, const char *second, const char *says)
{
    char warning[400] = "";
    spade_context *context = test_context("cpu", 2);
    context->log = keep_line;
    context->user = warning;
    wire network = graph_of(2, 1, 1, 2);
    put_node(&network, node_of("flat", "Flatten", "x", "y"));
    wire file = model_of(network);
    put_metadata(&file, "names", json);
    spade_model *model = load(context, file);
    const char *names[2] = {first, second};
    for (int i = 0; i < 2; i++) {
        if (names[i]) {
            assert_string_equal(spade_model_class_name(model, i), names[i]);
        } else {
            assert_null(spade_model_class_name(model, i));
        }
    }
    if (says ? !strstr(warning, says) : warning[0] != 0) { fail_msg("%s: %s", json, warning); }
    assert_null(spade_model_class_name(model, -1));
    assert_null(spade_model_class_name(model, 2));
    finish(context, model);
}

/* ONNX's test_resize_downsample_nearest of opset 10: a place between two pixels goes up where the picture shrinks. */
static void test_resize_of_opset_10(void **state)
{
    (void)state;
    static const float scales[4] = {1, 1, 0.6f, 0.6f}, x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    float y[2];
    spade_context *context = test_context("cpu", 2);
    wire network = graph_of(1, 2, 4, 2);
    put_tensor(&network, tensor_of("s", 1, (int64_t[]){4}, scales));
    put_node(&network, node_of("small", "Resize", "x s", "r"));
    put_node(&network, node_of("flat", "Flatten", "r", "y"));
    spade_model *model = load(context, model_with_opset(network, 10));
    assert_int_equal(spade_model_forward(context, model, NULL, x, 1, y), SPADE_OK);
    assert_true(y[0] == 1 && y[1] == 3);
    finish(context, model);
}

/* Upsample of opset 7 and 8: scales as an attribute; two rows of two become four of four. */
static spade_status upsample(const char *attribute, const float *scales, int count, float *y)
{
    static const float x[4] = {1, 2, 3, 4};
    enum { FLOATS = 7, KIND = 20, NODE_ATTRIBUTE = 5 };
    spade_context *context = test_context("cpu", 2);
    spade_model *model = NULL;
    wire network = graph_of(1, 2, 2, 16), node = node_of("large", "Upsample", "x", "r"), list = {0};
    wire_text(&list, 1, attribute);
    for (int i = 0; i < count; i++) { wire_float(&list, FLOATS, scales[i]); }
    wire_number(&list, KIND, 6);
    wire_message(&node, NODE_ATTRIBUTE, list);
    put_node(&network, node);
    put_node(&network, node_of("flat", "Flatten", "r", "y"));
    const char *path = test_save("upsample.onnx", model_with_opset(network, 8));
    spade_status status = spade_model_load(context, path, NULL, &model);
    if (status == SPADE_OK) { status = spade_model_forward(context, model, NULL, x, 1, y); }
    if (status != SPADE_OK && count == 4) { assert_non_null(strstr(spade_message(context), "no attribute 'scales'")); }
    finish(context, model);
    return status;
}

static void test_upsample_of_opset_8(void **state)
{
    (void)state;
    static const float scales[4] = {1, 1, 2, 2}, large[16] = {1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4};
    float y[16];
    assert_int_equal(upsample("scales", scales, 4, y), SPADE_OK);
    assert_memory_equal(y, large, sizeof y);
    assert_int_equal(upsample("scales", scales, 3, y), SPADE_ERROR_INPUT);
    assert_int_equal(upsample("factors", scales, 4, y), SPADE_ERROR_INPUT);
}

static void test_class_names(void **state)
{
    (void)state;
    static const char other[] = "not one for each of the 2 classes", none[] = "neither a list nor a dictionary";
    check_class_names("[\"cat\", \"dog\"]", "cat", "dog", NULL);
    check_class_names("{\"1\": \"dog\"}", NULL, "dog", "names 1 of the 2 classes");
    check_class_names("{0: 'cat', 1: 'dog'}", "cat", "dog", NULL);
    check_class_names("{00: 'cat', 01: 'dog'}", "cat", "dog", NULL);
    check_class_names("['it\\'s', \"a \\\"b\\\"\",]", "it's", "a \"b\"", NULL);
    check_class_names("('caf\\xe9', 'x\"y')", "caf\u00e9", "x\"y", NULL);
    check_class_names("{1: 'cat', 2: 'dog'}", NULL, NULL,
                      other); /* counted from 1, and names that are too many or too few */
    check_class_names("['background', 'cat', 'dog']", NULL, NULL, other);
    check_class_names("['cat']", NULL, NULL, other);
    check_class_names("{0: 'cat', 0: 'dog'}", NULL, NULL, other);
    check_class_names("{0: 'cat', 00: 'dog'}", NULL, NULL, other);
    check_class_names("{0: 'cat', 1: 'dog'", NULL, NULL, none);
    check_class_names("{0: 'cat", NULL, NULL, NULL);
    check_class_names("'cat', 'dog'", NULL, NULL, none);
    check_class_names("cat\ndog", NULL, NULL, none);
    check_class_names("7", NULL, NULL, NULL);
}

static void test_operators(void **state)
{
    (void)state;
    spade_context *context = test_context("cpu", 2);
    wire network = graph_of(2, 1, 1, 2);
    put_node(&network, node_of("a", "Relu", "x", "a"));
    put_node(&network, node_of("b", "Det", "a", "b"));
    put_node(&network, node_of("c", "Relu", "b", "y"));
    spade_operator_info *operators;
    int count;
    assert_int_equal(spade_model_operators(context, test_save("ops.onnx", model_of(network)), NULL, &operators, &count),
                     SPADE_OK);
    assert_int_equal(count, 2);
    assert_string_equal(operators[0].name, "Relu");
    assert_int_equal(operators[0].count, 2);
    assert_true(operators[0].supported);
    assert_string_equal(operators[1].first_node, "b");
    assert_false(operators[1].supported);
    spade_operators_free(operators, count);
    spade_context_destroy(context);
}

/* ---- the arena: buffers in use at the same time never overlap */
static void test_arena(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    spade_context *context = test_context("cpu", 2);
    for (uint32_t seed = 0; seed < 20; seed++) {
        spade_buffer buffers[COUNT];
        size_t end, total = 0;
        for (uint32_t i = 0; i < COUNT; i++) {
            int first = (int)((pseudo_random(seed, 3 * i) + 1) * 50),
                length = (int)((pseudo_random(seed, 3 * i + 1) + 1) * 10);
            buffers[i] =
                (spade_buffer){0, (size_t)((pseudo_random(seed, 3 * i + 2) + 1) * 5000), first, first + length};
        }
        assert_int_equal(spade_arena_place(context, buffers, COUNT, &end), SPADE_OK);
        for (int i = 0; i < COUNT; i++) {
            total += buffers[i].bytes;
            assert_int_equal(buffers[i].offset % 64, 0);
            assert_true(buffers[i].offset + buffers[i].bytes <= end);
            for (int k = 0; k < i; k++) {
                bool together = buffers[i].first <= buffers[k].last && buffers[k].first <= buffers[i].last;
                bool apart = buffers[i].offset + buffers[i].bytes <= buffers[k].offset ||
                             buffers[k].offset + buffers[k].bytes <= buffers[i].offset;
                assert_true(!together || apart);
            }
        }
        assert_true(end < total / 2);
    }
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_tied_names),
                                       cmocka_unit_test(test_names_in_files),
                                       cmocka_unit_test(test_windows),
                                       cmocka_unit_test(test_layouts),
                                       cmocka_unit_test(test_constant_layout),
                                       cmocka_unit_test(test_gemm),
                                       cmocka_unit_test(test_fixed_batch),
                                       cmocka_unit_test(test_clip),
                                       cmocka_unit_test(test_average),
                                       cmocka_unit_test(test_resize_of_opset_10),
                                       cmocka_unit_test(test_upsample_of_opset_8),
                                       cmocka_unit_test(test_class_names),
                                       cmocka_unit_test(test_operators),
                                       cmocka_unit_test(test_arena)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
