/* test_onnx_read.c - the ONNX reader on the golden models and on files made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <cmocka.h>

#include "onnx/onnx.h"
#include "support/wire.h"

static int setup(void **state)
{
    return spade_context_create(NULL, (spade_context **)state) == SPADE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    spade_context_destroy(*state);
    return 0;
}

static onnx_model *load(spade_context *context, const char *path)
{
    onnx_model *model;
    spade_status status = onnx_load(context, path, false, &model);
    if (status != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    return model;
}

/* Expect one line that names the file and contains `part`. */
static void refuse(spade_context *context, const char *path, spade_status expected, const char *part)
{
    onnx_model *model = NULL;
    spade_status status = onnx_load(context, path, false, &model);
    if (status != expected || model) { fail_msg("%s: status %d: %s", path, status, spade_message(context)); }
    if (!strstr(spade_message(context), part)) { fail_msg("'%s' is not in: %s", part, spade_message(context)); }
    assert_non_null(strstr(spade_message(context), path));
    assert_null(strchr(spade_message(context), '\n'));
}

/* ---- golden models; numbers from the onnx package */
typedef struct golden {
    const char *file;
    int nodes, initializers;
    const char *first, *last;      /* names of initializers */
    float first_value, last_value; /* first element of the first, last element of the last */
    double count, sum;             /* of all elements */
} golden;

static void golden_models(void **state)
{
    static const golden all[] = {
        {"scene_resnet", 71, 100, "conv1.weight", "fc.bias", -0.05890185f, 0.026855908f, 102490, 1771.6010842483715},
        {"scene_resnet_folded", 49, 42, "fc.weight", "onnx::Conv_251", -0.15451309f, -0.06009149f, 99818,
         59.111855871261355},
        {"scene_mobilenet", 68, 96, "features.0.0.weight", "classifier.3.bias", 0.028492162f, -0.013008709f, 89770,
         2195.393827062896},
        {"scene_mobilenet_folded", 52, 48, "features.1.block.1.fc1.weight", "onnx::Conv_228", -0.34884328f,
         -0.048396554f, 86266, -972.1743893934085},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/models/%s.onnx", SPADE_TEST_DATA, all[i].file);
        onnx_model *model = load(*state, path);
        assert_int_equal(model->node_count, all[i].nodes);
        assert_int_equal(model->initializer_count, all[i].initializers);
        assert_int_equal(model->ir_version, 8);
        assert_int_equal(model->opset, 16);
        assert_string_equal(model->producer, "pytorch");
        const onnx_tensor *first = &model->initializers[0], *last = &model->initializers[all[i].initializers - 1];
        assert_string_equal(first->name, all[i].first);
        assert_string_equal(last->name, all[i].last);
        assert_true(onnx_tensor_float(first, 0) == all[i].first_value);
        assert_true(onnx_tensor_float(last, last->count - 1) == all[i].last_value);
        double sum = 0, count = 0;
        for (int k = 0; k < model->initializer_count; k++) {
            const onnx_tensor *tensor = &model->initializers[k];
            assert_int_equal(tensor->type, ONNX_FLOAT);
            assert_int_equal(tensor->size, tensor->count * 4);
            assert_int_equal(onnx_find_initializer(model, tensor->name), k);
            for (int64_t e = 0; e < tensor->count; e++) { sum += (double)onnx_tensor_float(tensor, e); }
            count += (double)tensor->count;
        }
        assert_true(count == all[i].count);
        assert_true(fabs(sum - all[i].sum) < 1e-6);
        assert_int_equal(onnx_find_initializer(model, "no such"), -1);
        assert_int_equal(model->input_count, 1);
        assert_int_equal(model->output_count, 1);
        const onnx_value *input = &model->inputs[0], *output = &model->outputs[0];
        assert_string_equal(input->name, "input");
        assert_int_equal(input->type, ONNX_FLOAT);
        assert_int_equal(input->rank, 4);
        assert_true(input->dims[0] == -1 && input->dims[1] == 3 && input->dims[2] == 64 && input->dims[3] == 64);
        assert_string_equal(output->name, "logits");
        assert_true(output->rank == 2 && output->dims[0] == -1 && output->dims[1] == 10);
        onnx_free(model);
    }
}

static void golden_nodes(void **state)
{
    spade_context *context = *state;
    onnx_model *model = load(context, SPADE_TEST_DATA "/models/scene_resnet_folded.onnx");
    const onnx_node *node = &model->nodes[0];
    assert_string_equal(node->name, "/conv1/Conv");
    assert_string_equal(node->op_type, "Conv");
    assert_string_equal(node->domain, "");
    assert_int_equal(node->input_count, 3);
    assert_string_equal(node->inputs[0], "input");
    assert_string_equal(node->inputs[1], "onnx::Conv_193");
    assert_int_equal(node->output_count, 1);
    const int64_t *pads;
    int count;
    int64_t group;
    float epsilon;
    const char *text;
    assert_int_equal(onnx_get_ints(context, node, "pads", &pads, &count), SPADE_OK);
    assert_true(count == 4 && pads[0] == 3 && pads[3] == 3);
    assert_int_equal(onnx_get_ints(context, node, "no such", &pads, &count), SPADE_OK);
    assert_true(count == 0 && pads == NULL);
    assert_int_equal(onnx_get_int(context, node, "group", 7, &group), SPADE_OK);
    assert_int_equal(group, 1);
    assert_int_equal(onnx_get_int(context, node, "no such", 7, &group), SPADE_OK);
    assert_int_equal(group, 7);
    assert_int_equal(onnx_get_float(context, node, "no such", 0.5f, &epsilon), SPADE_OK);
    assert_true(epsilon == 0.5f);
    assert_int_equal(onnx_get_string(context, node, "auto_pad", "NOTSET", &text), SPADE_OK);
    assert_string_equal(text, "NOTSET");
    assert_int_equal(onnx_get_float(context, node, "group", 0, &epsilon), SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(context), "/conv1/Conv"));
    assert_non_null(strstr(spade_message(context), "'group'"));
    onnx_free(model);
}

/* ---- data in the fields for numbers */
typedef void put_numbers(wire *tensor, bool packed);

static void put_floats(wire *tensor, bool packed)
{
    static const float values[] = {1.5f, -2, 3};
    if (packed) {
        wire_bytes(tensor, 4, values, sizeof values);
    } else {
        for (int i = 0; i < 3; i++) { wire_float(tensor, 4, values[i]); }
    }
}

static void put_doubles(wire *tensor, bool packed)
{
    static const double values[] = {1.5, -2, 3};
    if (packed) {
        wire_bytes(tensor, 10, values, sizeof values);
    } else {
        for (int i = 0; i < 3; i++) { wire_double(tensor, 10, values[i]); }
    }
}

static void put_varints(wire *tensor, bool packed, uint32_t field, const int64_t *values)
{
    wire inner = {0};
    for (int i = 0; i < 3; i++) {
        if (packed) {
            wire_varint(&inner, (uint64_t)values[i]);
        } else {
            wire_number(tensor, field, (uint64_t)values[i]);
        }
    }
    if (packed) { wire_message(tensor, field, inner); }
}

static void put_int32(wire *tensor, bool packed)
{
    put_varints(tensor, packed, 5, (const int64_t[]){1, -2, 3});
}

static void put_int64(wire *tensor, bool packed)
{
    put_varints(tensor, packed, 7, (const int64_t[]){1, -2, INT64_C(1) << 40});
}

static void put_half(wire *tensor, bool packed)
{
    put_varints(tensor, packed, 5, (const int64_t[]){0x3e00, 0xc000, 0x0001}); /* 1.5, -2, the smallest subnormal */
}

static void typed_data(void **state)
{
    static const struct {
        int type;
        put_numbers *put;
        double expected[3];
        bool integer;
    } cases[] = {
        {ONNX_FLOAT, put_floats, {1.5, -2, 3}, false},  {ONNX_DOUBLE, put_doubles, {1.5, -2, 3}, false},
        {ONNX_INT32, put_int32, {1, -2, 3}, true},      {ONNX_INT8, put_int32, {1, -2, 3}, true},
        {ONNX_UINT8, put_int32, {1, 254, 3}, true},     {ONNX_BOOL, put_int32, {1, 1, 1}, true},
        {ONNX_INT64, put_int64, {1, -2, 0x1p40}, true}, {ONNX_FLOAT16, put_half, {1.5, -2, 0x1p-24}, false},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        const size_t c = i / 2;
        wire graph = graph_simple(), tensor = tensor_head("t", cases[c].type, 1, (const int64_t[]){3});
        cases[c].put(&tensor, i % 2);
        wire_message(&graph, 5, tensor);
        onnx_model *model = load(*state, test_save("typed.onnx", model_of(graph)));
        const onnx_tensor *t = &model->initializers[0];
        assert_true(t->owned && t->count == 3);
        for (int k = 0; k < 3; k++) {
            if (cases[c].integer) {
                assert_true((double)onnx_tensor_int(t, k) == cases[c].expected[k]);
            } else {
                assert_true((double)onnx_tensor_float(t, k) == cases[c].expected[k]);
            }
        }
        onnx_free(model);
    }
}

static void half_values(void **state)
{
    (void)state;
    static const uint16_t bits[] = {0x0000, 0x8000, 0x3c00, 0x7bff, 0x7c00, 0xfc00, 0x0400, 0x03ff};
    static const float expected[] = {0, 0, 1, 65504, INFINITY, -INFINITY, 0x1p-14f, 0x1.ff8p-15f};
    onnx_tensor tensor = {.type = ONNX_FLOAT16, .bytes = bits, .count = 8};
    for (int i = 0; i < 8; i++) { assert_true(onnx_tensor_float(&tensor, i) == expected[i]); }
}

/* ---- initializers that are wrong */
static void refuse_tensor(void **state, wire tensor, const char *part)
{
    wire graph = graph_simple();
    wire_message(&graph, 5, tensor);
    refuse(*state, test_save("tensor.onnx", model_of(graph)), SPADE_ERROR_INPUT, part);
}

static void bad_tensors(void **state)
{
    static const int64_t big = INT64_C(1) << 31;
    wire tensor;
    refuse_tensor(state, tensor_head("t", 1, 9, (const int64_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1}),
                  "more than 8 dimensions");
    refuse_tensor(state, tensor_head("t", 1, 2, (const int64_t[]){2, -3}), "dimension -3");
    refuse_tensor(state, tensor_head("t", 1, 3, (const int64_t[]){big, big, big}), "overflows");
    refuse_tensor(state, tensor_head("t", 1, 2, (const int64_t[]){big, big}), "overflows");
    refuse_tensor(state, tensor_head("t", 1, 1, (const int64_t[]){5}),
                  "0 bytes of data where its shape and type need 20");
    refuse_tensor(state, tensor_head("", 1, 1, (const int64_t[]){0}), "initializer without a name");
    refuse_tensor(state, tensor_head("t", 0, 1, (const int64_t[]){0}), "no data type");
    tensor = tensor_float("t", 1, (const int64_t[]){3}, 0);
    wire_float(&tensor, 4, 1);
    refuse_tensor(state, tensor, "data in two fields");
    tensor = tensor_head("t", ONNX_INT64, 1, (const int64_t[]){1});
    wire_float(&tensor, 4, 1);
    refuse_tensor(state, tensor, "for another type");
    tensor = tensor_head("t", ONNX_INT64, 1, (const int64_t[]){1});
    wire_bytes(&tensor, 7, "\x80", 1);
    refuse_tensor(state, tensor, "do not end with a number");
    tensor = tensor_head("t", 1, 1, (const int64_t[]){1});
    wire_bytes(&tensor, 4, "abc", 3);
    refuse_tensor(state, tensor, "do not end with a number");
    tensor = tensor_head("t", 1, 0, NULL);
    wire_number(&tensor, 8, 1);
    refuse_tensor(state, tensor, "wrong wire type");
    tensor = tensor_head("t", 1, 1, (const int64_t[]){0});
    wire_bytes(&tensor, 8, "a\0b", 3);
    refuse_tensor(state, tensor, "zero byte");
    tensor = tensor_head("t", 1, 1, (const int64_t[]){0});
    char *name = calloc(1, 4098);
    memset(name, 'n', 4097);
    wire_text(&tensor, 8, name);
    free(name);
    refuse_tensor(state, tensor, "4097 bytes long, the limit is 4096");
}

static void duplicate_initializer(void **state)
{
    wire graph = graph_simple();
    wire_message(&graph, 5, tensor_float("twice", 1, (const int64_t[]){1}, 0));
    wire_message(&graph, 5, tensor_float("other", 1, (const int64_t[]){1}, 0));
    wire_message(&graph, 5, tensor_float("twice", 1, (const int64_t[]){1}, 0));
    refuse(*state, test_save("twice.onnx", model_of(graph)), SPADE_ERROR_INPUT, "second initializer named 'twice'");
}

static void odd_but_fine(void **state)
{
    wire graph = graph_simple(), entry = {0};
    wire_message(&graph, 5, tensor_float("empty", 2, (const int64_t[]){0, 5}, 0));
    wire_message(&graph, 5, tensor_float("scalar", 0, NULL, 7));
    wire text = tensor_head("text", 8, 1, (const int64_t[]){1});
    wire_text(&text, 6, "hello");
    wire_message(&graph, 5, text);
    wire_text(&graph, 999, "a field of the future");
    wire model = model_of(graph);
    wire_text(&entry, 1, "names");
    wire_text(&entry, 2, "[\"cat\", \"dog\"]");
    wire_message(&model, 14, entry);
    onnx_model *read = load(*state, test_save("odd.onnx", model));
    assert_int_equal(read->initializer_count, 3);
    assert_int_equal(read->initializers[0].count, 0);
    assert_true(onnx_tensor_float(&read->initializers[1], 0) == 7);
    assert_null(read->initializers[2].bytes);
    assert_int_equal(read->metadata_count, 1);
    assert_string_equal(read->metadata[0].key, "names");
    assert_string_equal(read->metadata[0].value, "[\"cat\", \"dog\"]");
    onnx_free(read);
}

/* ---- attributes */
static wire attribute_of(const char *name, int kind)
{
    wire out = {0};
    wire_text(&out, 1, name);
    if (kind) { wire_number(&out, 20, (uint64_t)kind); }
    return out;
}

static void attributes(void **state)
{
    spade_context *context = *state;
    wire graph = {0}, node = node_of("n", "Op", "x", "y"), a, packed = {0};
    a = attribute_of("unpacked", ONNX_ATTR_INTS);
    wire_number(&a, 8, 5), wire_number(&a, 8, (uint64_t)-6);
    wire_message(&node, 5, a);
    a = attribute_of("packed", ONNX_ATTR_INTS);
    wire_varint(&packed, 5), wire_varint(&packed, (uint64_t)-6);
    wire_message(&a, 8, packed);
    wire_message(&node, 5, a);
    a = attribute_of("floats", ONNX_ATTR_FLOATS);
    wire_float(&a, 7, 1.5f), wire_bytes(&a, 7, (const float[]){2.5f, 3.5f}, 8);
    wire_message(&node, 5, a);
    a = attribute_of("untyped", 0);
    wire_float(&a, 2, 0.25f);
    wire_message(&node, 5, a);
    a = attribute_of("text", ONNX_ATTR_STRING);
    wire_text(&a, 4, "SAME_UPPER");
    wire_message(&node, 5, a);
    a = attribute_of("binary", ONNX_ATTR_STRING);
    wire_bytes(&a, 4, "\0\1", 2);
    wire_message(&node, 5, a);
    a = attribute_of("tensor", ONNX_ATTR_TENSOR);
    wire_message(&a, 5, tensor_float("", 1, (const int64_t[]){2}, 9));
    wire_message(&node, 5, a);
    a = attribute_of("graph", ONNX_ATTR_GRAPH);
    wire_message(&a, 6, graph_simple());
    wire_message(&node, 5, a);
    wire_message(&graph, 1, node);
    onnx_model *model = load(context, test_save("attributes.onnx", model_of(graph)));
    const onnx_node *read = &model->nodes[0];
    assert_int_equal(read->attribute_count, 8);
    const int64_t *ints;
    int count;
    float f;
    const char *text;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(onnx_get_ints(context, read, i ? "packed" : "unpacked", &ints, &count), SPADE_OK);
        assert_true(count == 2 && ints[0] == 5 && ints[1] == -6);
    }
    const onnx_attribute *floats = onnx_find_attribute(read, "floats");
    assert_true(floats->count == 3 && floats->floats[0] == 1.5f && floats->floats[2] == 3.5f);
    assert_int_equal(onnx_get_float(context, read, "untyped", 0, &f), SPADE_OK);
    assert_true(f == 0.25f);
    assert_int_equal(onnx_get_string(context, read, "text", "", &text), SPADE_OK);
    assert_string_equal(text, "SAME_UPPER");
    assert_int_equal(onnx_get_string(context, read, "binary", "", &text), SPADE_ERROR_INPUT);
    assert_true(onnx_tensor_float(onnx_find_attribute(read, "tensor")->tensor, 1) == 10);
    assert_int_equal(onnx_find_attribute(read, "graph")->kind, ONNX_ATTR_GRAPH);
    onnx_free(model);
}

/* ---- whole files that are wrong */
static void bad_models(void **state)
{
    wire model = {0}, graph = {0}, node = {0};
    refuse(*state, test_save("empty.onnx", model), SPADE_ERROR_INPUT, "empty file");
    wire_number(&model, 1, 8);
    refuse(*state, test_save("a.onnx", model), SPADE_ERROR_INPUT, "no graph");
    refuse(*state, test_save("b.onnx", model_of(graph)), SPADE_ERROR_INPUT, "no nodes");
    model = (wire){0};
    wire_message(&model, 7, graph_simple());
    refuse(*state, test_save("c.onnx", model), SPADE_ERROR_INPUT, "no ir_version");
    model = (wire){0};
    wire_number(&model, 1, 8);
    wire_message(&model, 7, graph_simple());
    refuse(*state, test_save("d.onnx", model), SPADE_ERROR_INPUT, "no opset");
    model = model_of(graph_simple());
    wire_message(&model, 7, graph_simple());
    refuse(*state, test_save("e.onnx", model), SPADE_ERROR_INPUT, "second graph");
    model = model_of(graph_simple());
    wire_raw(&model, "\x0b\x0c", 2); /* a group */
    refuse(*state, test_save("f.onnx", model), SPADE_ERROR_INPUT, "wire type");
    model = model_of(graph_simple());
    wire_number(&model, 7, 1);
    refuse(*state, test_save("g.onnx", model), SPADE_ERROR_INPUT, "the graph has the wrong wire type");
    model = model_of(graph_simple());
    wire_raw(&model, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11);
    refuse(*state, test_save("h.onnx", model), SPADE_ERROR_INPUT, "longer than 64 bits");
    model = model_of(graph_simple());
    wire_raw(&model, "\x00\x01", 2);
    refuse(*state, test_save("i.onnx", model), SPADE_ERROR_INPUT, "not a field number");
    graph = (wire){0};
    wire_text(&node, 1, "x");
    wire_message(&graph, 1, node);
    refuse(*state, test_save("j.onnx", model_of(graph)), SPADE_ERROR_INPUT, "node without an operator");
}

static void other_files(void **state)
{
    refuse(*state, test_write("png.onnx", "\x89PNG\r\n\x1a\n0000", 12), SPADE_ERROR_INPUT, "PNG picture");
    refuse(*state, test_write("zip.onnx", "PK\x03\x04xxxxxxxx", 12), SPADE_ERROR_INPUT, "ZIP archive");
    refuse(*state, test_write("text.onnx", "# this is a\nnote\n", 17), SPADE_ERROR_INPUT, "a text file");
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\n";
    refuse(*state, test_write("lfs.onnx", pointer, sizeof pointer - 1), SPADE_ERROR_INPUT, "Git LFS");
    refuse(*state, test_folder(), SPADE_ERROR_INPUT, "not a regular file");
    refuse(*state, "/no/such/model.onnx", SPADE_ERROR_INPUT, "No such file");
}

static void limits(void **state)
{
    wire graph = {0};
    for (int i = 0; i <= ONNX_MAX_NODES; i++) { wire_raw(&graph, "\x0a\x03\x22\x01O", 5); }
    refuse(*state, test_save("nodes.onnx", model_of(graph)), SPADE_ERROR_INPUT, "more than 100000 nodes");
    graph = graph_simple();
    for (int i = 0; i < 30; i++) {
        wire node = node_of("n", "If", "x", "y"), a = attribute_of("then_branch", ONNX_ATTR_GRAPH), outer = {0};
        wire_message(&a, 6, graph);
        wire_message(&node, 5, a);
        wire_message(&outer, 1, node);
        graph = outer;
    }
    refuse(*state, test_save("deep.onnx", model_of(graph)), SPADE_ERROR_INPUT, "nested too deeply");
    graph = graph_simple();
    wire node = {0};
    wire_text(&node, 4, "Op");
    for (int i = 0; i < 1000001; i++) { wire_raw(&node, "\x0a\x00", 2); }
    wire_message(&graph, 1, node);
    refuse(*state, test_save("edges.onnx", model_of(graph)), SPADE_ERROR_INPUT, "more than 1000000 inputs and outputs");
}

static void unsupported_only_when_used(void **state)
{
    for (int used = 0; used < 2; used++) {
        wire graph = graph_simple(), sparse = {0}, values = {0};
        wire_text(&values, 8, "s");
        wire_message(&sparse, 1, values);
        wire_message(&graph, 15, sparse);
        wire_message(&graph, 1, node_of("add", "Add", used ? "x s" : "x x", "z"));
        const char *path = test_save("sparse.onnx", model_of(graph));
        if (used) {
            refuse(*state, path, SPADE_ERROR_UNSUPPORTED, "sparse initializer 's'");
        } else {
            onnx_free(load(*state, path));
        }
        wire model = model_of(graph_simple()), function = {0}, training = {0};
        wire_text(&function, 1, used ? "Relu" : "Other");
        wire_message(&model, 25, function);
        wire_text(&training, 1, "ignored");
        wire_message(&model, 20, training);
        path = test_save("function.onnx", model);
        if (used) {
            refuse(*state, path, SPADE_ERROR_UNSUPPORTED, "function that the model defines itself");
        } else {
            onnx_free(load(*state, path));
        }
    }
}

static void budget(void **state)
{
    (void)state;
    spade_context_options options;
    spade_context_options_init(&options);
    options.memory = 1 << 20;
    spade_context *context;
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    wire graph = graph_simple(), tensor = tensor_head("t", ONNX_INT64, 1, (const int64_t[]){200000}), zeros = {0};
    for (int i = 0; i < 200000; i++) { wire_varint(&zeros, 0); }
    wire_message(&tensor, 7, zeros);
    wire_message(&graph, 5, tensor);
    onnx_model *model;
    assert_int_equal(onnx_load(context, test_save("budget.onnx", model_of(graph)), false, &model), SPADE_ERROR_MEMORY);
    assert_int_equal(context->used, 0);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_models), cmocka_unit_test(golden_nodes), cmocka_unit_test(typed_data),
        cmocka_unit_test(half_values),   cmocka_unit_test(bad_tensors),  cmocka_unit_test(duplicate_initializer),
        cmocka_unit_test(odd_but_fine),  cmocka_unit_test(attributes),   cmocka_unit_test(bad_models),
        cmocka_unit_test(other_files),   cmocka_unit_test(limits),       cmocka_unit_test(unsupported_only_when_used),
        cmocka_unit_test(budget),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
