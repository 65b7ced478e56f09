/* test_onnx_write.c - models written with other weights: read back, and judged by the onnx package where it is
 * installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
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
    if (onnx_load(context, path, false, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    return model;
}

static const char *in_folder(const char *name)
{
    static char paths[4][256];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder(), name);
    return path;
}

/* onnx.checker, where a python3 with onnx is there (Debian's python3-onnx among them); says so where not. The folder of
 * libonnx-testdata alone can be imported as onnx too. */
static void check(const char *path)
{
    static const char *const pythons[] = {"python3", "/usr/bin/python3"};
    char command[512];
    for (size_t i = 0; i < sizeof pythons / sizeof *pythons; i++) {
        snprintf(command, sizeof command, "%s -c 'import onnx.checker' >/dev/null 2>&1", pythons[i]);
        if (system(command) != 0) { continue; }
        snprintf(command, sizeof command,
                 "%s -c 'import onnx.checker, sys; onnx.checker.check_model(sys.argv[1], True)' '%s'", pythons[i],
                 path);
        assert_int_equal(system(command), 0);
        return;
    }
    print_message("skip: no python3 with the onnx package, %s was not checked\n", path);
}

static void write_model(spade_context *context, const onnx_model *model, const onnx_replacement *replacements,
                        int count, const char *path)
{
    if (onnx_write(context, model, replacements, count, path) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
}

static bool same_file(const onnx_model *a, const onnx_model *b)
{
    return a->file.size == b->file.size && memcmp(a->file.data, b->file.data, a->file.size) == 0;
}

static const char *const golden[] = {"scene_resnet", "scene_resnet_folded", "scene_mobilenet",
                                     "scene_mobilenet_folded"};

static void nothing_replaced(void **state)
{
    for (int i = 0; i < 4; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/models/%s.onnx", SPADE_TEST_DATA, golden[i]);
        onnx_model *model = load(*state, path);
        write_model(*state, model, NULL, 0, in_folder("copy.onnx"));
        onnx_model *copy = load(*state, in_folder("copy.onnx"));
        assert_true(same_file(model, copy));
        onnx_free(copy);
        onnx_free(model);
    }
}

static bool is_weighted(const onnx_node *node)
{
    return strcmp(node->op_type, "Conv") == 0 || strcmp(node->op_type, "Gemm") == 0;
}

/* Every convolution and Gemm gets its own weights times `scale`. */
static void golden_scaled(spade_context *context, const char *file, float scale)
{
    char path[512];
    snprintf(path, sizeof path, "%s/models/%s.onnx", SPADE_TEST_DATA, file);
    onnx_model *model = load(context, path);
    onnx_replacement replacements[64];
    float *data[64];
    int count = 0;
    for (int i = 0; i < model->node_count; i++) {
        if (!is_weighted(&model->nodes[i])) { continue; }
        const onnx_tensor *weight = &model->initializers[onnx_find_initializer(model, model->nodes[i].inputs[1])];
        data[count] = malloc(weight->size);
        for (int64_t e = 0; e < weight->count; e++) { data[count][e] = scale * onnx_tensor_float(weight, e); }
        replacements[count] = (onnx_replacement){.node = i, .input = 1, .data = data[count]};
        count++;
    }
    write_model(context, model, replacements, count, in_folder("scaled.onnx"));
    onnx_model *scaled = load(context, in_folder("scaled.onnx"));
    assert_int_equal(scaled->node_count, model->node_count);
    assert_int_equal(scaled->initializer_count, model->initializer_count);
    assert_int_equal(scaled->file.size, model->file.size);
    for (int i = 0; i < count; i++) {
        const onnx_node *node = &scaled->nodes[replacements[i].node];
        assert_string_equal(node->inputs[1], model->nodes[replacements[i].node].inputs[1]);
        const onnx_tensor *weight = &scaled->initializers[onnx_find_initializer(scaled, node->inputs[1])];
        assert_memory_equal(weight->bytes, data[i], weight->size);
        free(data[i]);
    }
    for (int i = 0; scale == 1 && i < model->initializer_count; i++) {
        const onnx_tensor *a = &model->initializers[i], *b = &scaled->initializers[i];
        assert_string_equal(a->name, b->name);
        assert_true(a->rank == b->rank && memcmp(a->dims, b->dims, sizeof a->dims) == 0);
        assert_memory_equal(a->bytes, b->bytes, a->size);
    }
    onnx_free(scaled);
    onnx_free(model);
    check(in_folder("scaled.onnx"));
}

static void same_weights(void **state)
{
    for (int i = 0; i < 4; i++) { golden_scaled(*state, golden[i], 1); }
}

static void other_weights(void **state)
{
    for (int i = 0; i < 4; i++) { golden_scaled(*state, golden[i], -0.5f); }
}

/* x [.,4] -> MatMul(w) -> MatMul(alias of w) -> y [.,4]; w [4,4] is shared through an Identity. */
static wire graph_shared(void)
{
    static const int64_t dims[] = {-1, 4}, square[] = {4, 4};
    wire graph = {0};
    wire_message(&graph, 1, node_of("alias", "Identity", "w", "w2"));
    wire_message(&graph, 1, node_of("alias2", "Identity", "w2", "w3"));
    wire_message(&graph, 1, node_of("first", "MatMul", "x w", "h"));
    wire_message(&graph, 1, node_of("second", "MatMul", "h w3", "y"));
    wire_text(&graph, 2, "shared");
    wire_message(&graph, 5, tensor_float("w", 2, square, 0));
    wire_message(&graph, 11, value_of("x", 2, dims));
    wire_message(&graph, 12, value_of("y", 2, dims));
    return graph;
}

static const float *weights_of(const onnx_model *model, int node)
{
    int index = onnx_find_initializer(model, model->nodes[node].inputs[1]);
    return index < 0 ? NULL : model->initializers[index].bytes;
}

static void shared_weights(void **state)
{
    float first[16], second[16];
    for (int i = 0; i < 16; i++) { first[i] = 100 + (float)i, second[i] = 200 + (float)i; }
    onnx_model *model = load(*state, test_save("shared.onnx", model_of(graph_shared())));

    onnx_replacement one = {.node = 3, .input = 1, .data = second};
    write_model(*state, model, &one, 1, in_folder("one.onnx"));
    onnx_model *read = load(*state, in_folder("one.onnx"));
    assert_int_equal(read->initializer_count, 2);
    assert_string_equal(read->nodes[2].inputs[1], "w");
    assert_string_equal(read->nodes[3].inputs[1], "w.spade_trace_1");
    assert_memory_equal(weights_of(read, 2), model->initializers[0].bytes, 64);
    assert_memory_equal(weights_of(read, 3), second, 64);
    onnx_free(read);
    check(in_folder("one.onnx"));

    onnx_replacement both[] = {{.node = 2, .input = 1, .data = first}, {.node = 3, .input = 1, .data = second}};
    write_model(*state, model, both, 2, in_folder("both.onnx"));
    read = load(*state, in_folder("both.onnx"));
    assert_int_equal(read->initializer_count, 2); /* the old weights went: nobody uses them any more */
    assert_memory_equal(weights_of(read, 2), first, 64);
    assert_string_equal(read->nodes[3].inputs[1], "w3");
    assert_memory_equal(read->initializers[0].bytes, second, 64);
    onnx_free(read);
    check(in_folder("both.onnx"));

    onnx_replacement twice[] = {{.node = 2, .input = 1, .data = first}, {.node = 2, .input = 1, .data = second}};
    assert_int_equal(onnx_write(*state, model, twice, 2, in_folder("no.onnx")), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(*state), "replaced twice"));
    onnx_replacement activation = {.node = 2, .input = 0, .data = first};
    assert_int_equal(onnx_write(*state, model, &activation, 1, in_folder("no.onnx")), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(*state), "not a constant"));
    onnx_replacement nowhere = {.node = 2, .input = 2, .data = first};
    assert_int_equal(onnx_write(*state, model, &nowhere, 1, in_folder("no.onnx")), SPADE_ERROR_ARGUMENT);
    assert_null(fopen(in_folder("no.onnx"), "rb"));
    onnx_free(model);
}

/* The name for new weights is taken, and the format is one where initializers are graph inputs too. */
static void old_format(void **state)
{
    static const int64_t square[] = {4, 4};
    float data[16] = {0};
    wire graph = graph_shared(), model = {0}, opset = {0};
    wire_message(&graph, 5, tensor_float("w.spade_trace_1", 2, square, 0));
    wire_message(&graph, 11, value_of("w", 2, square));
    wire_message(&graph, 11, value_of("w.spade_trace_1", 2, square));
    wire_number(&model, 1, 3);
    wire_message(&model, 7, graph);
    wire_text(&opset, 1, "");
    wire_number(&opset, 2, 8);
    wire_message(&model, 8, opset);
    onnx_model *old = load(*state, test_save("old.onnx", model));
    onnx_replacement one = {.node = 2, .input = 1, .data = data};
    write_model(*state, old, &one, 1, in_folder("old2.onnx"));
    onnx_model *read = load(*state, in_folder("old2.onnx"));
    assert_string_equal(read->nodes[2].inputs[1], "w.spade_trace_2");
    assert_memory_equal(weights_of(read, 2), data, sizeof data);
    assert_int_equal(read->input_count, 4);
    assert_string_equal(read->inputs[3].name, "w.spade_trace_2");
    assert_true(read->inputs[3].rank == 2 && read->inputs[3].dims[1] == 4);
    onnx_free(read);
    onnx_free(old);
    check(in_folder("old2.onnx"));
}

/* Weights in a Constant node behind an Identity, as float_data. */
static void constant_node(void **state)
{
    static const int64_t dims[] = {-1, 2}, square[] = {2, 2};
    static const float data[] = {5, 6, 7, 8};
    wire graph = {0}, constant = node_of("constant", "Constant", "", "c"), value = {0};
    wire tensor = tensor_head("", 1, 2, square);
    for (int i = 0; i < 4; i++) { wire_float(&tensor, 4, (float)i); }
    wire_text(&value, 1, "value");
    wire_message(&value, 5, tensor);
    wire_number(&value, 20, ONNX_ATTR_TENSOR);
    wire_message(&constant, 5, value);
    wire_message(&graph, 1, constant);
    wire_message(&graph, 1, node_of("alias", "Identity", "c", "w"));
    wire_message(&graph, 1, node_of("product", "MatMul", "x w", "y"));
    wire_text(&graph, 2, "constant");
    wire_message(&graph, 11, value_of("x", 2, dims));
    wire_message(&graph, 12, value_of("y", 2, dims));
    onnx_model *model = load(*state, test_save("constant.onnx", model_of(graph)));
    onnx_replacement one = {.node = 2, .input = 1, .data = data};
    write_model(*state, model, &one, 1, in_folder("constant2.onnx"));
    onnx_model *read = load(*state, in_folder("constant2.onnx"));
    assert_int_equal(read->initializer_count, 0);
    const onnx_tensor *written = onnx_find_attribute(&read->nodes[0], "value")->tensor;
    assert_false(written->owned);
    assert_memory_equal(written->bytes, data, sizeof data);
    onnx_free(read);
    onnx_free(model);
    check(in_folder("constant2.onnx"));
}

static void external_embedded(void **state)
{
    static const int64_t dims[] = {-1, 4}, square[] = {4, 4};
    float data[32], replaced[16] = {0};
    for (int i = 0; i < 32; i++) { data[i] = (float)i; }
    test_write("outside.bin", data, sizeof data);
    wire graph = {0};
    for (int i = 0; i < 2; i++) {
        wire tensor = tensor_head(i ? "b" : "a", 1, 2, square), location = {0}, offset = {0};
        wire_text(&location, 1, "location"), wire_text(&location, 2, "outside.bin");
        wire_text(&offset, 1, "offset"), wire_text(&offset, 2, i ? "64" : "0");
        wire_message(&tensor, 13, location);
        wire_message(&tensor, 13, offset);
        wire_number(&tensor, 14, 1);
        wire_message(&graph, 5, tensor);
    }
    wire_message(&graph, 1, node_of("first", "MatMul", "x a", "h"));
    wire_message(&graph, 1, node_of("second", "MatMul", "h b", "y"));
    wire_text(&graph, 2, "external");
    wire_message(&graph, 11, value_of("x", 2, dims));
    wire_message(&graph, 12, value_of("y", 2, dims));
    onnx_model *model = load(*state, test_save("external.onnx", model_of(graph)));
    assert_int_equal(model->external_count, 1);
    onnx_replacement one = {.node = 0, .input = 1, .data = replaced};
    write_model(*state, model, &one, 1, in_folder("embedded.onnx"));
    onnx_model *read = load(*state, in_folder("embedded.onnx"));
    assert_int_equal(read->external_count, 0);
    assert_memory_equal(read->initializers[0].bytes, replaced, 64);
    assert_memory_equal(read->initializers[1].bytes, data + 16, 64);
    onnx_free(read);
    onnx_free(model);
    check(in_folder("embedded.onnx"));
}

static void other_types(void **state)
{
    static const float data[] = {1, 2};
    wire graph = graph_simple(), tensor = tensor_head("d", ONNX_DOUBLE, 1, (const int64_t[]){2});
    wire_double(&tensor, 10, 1), wire_double(&tensor, 10, 2);
    wire_message(&graph, 5, tensor);
    wire_message(&graph, 1, node_of("add", "Add", "y d", "z"));
    onnx_model *model = load(*state, test_save("double.onnx", model_of(graph)));
    onnx_replacement one = {.node = 1, .input = 1, .data = data};
    assert_int_equal(onnx_write(*state, model, &one, 1, in_folder("double2.onnx")), SPADE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(spade_message(*state), "'d' is not a float32 tensor"));
    onnx_free(model);
}

/* 2 GiB and more are refused before anything is written. The external file is one big hole. */
static void too_large(void **state)
{
    static const int64_t dims[] = {INT64_C(1) << 29};
    const char *hole = test_write("hole.bin", "", 0);
    FILE *file = fopen(hole, "r+b");
    assert_int_equal(fseeko(file, (INT64_C(1) << 31) - 1, SEEK_SET), 0);
    assert_int_equal(fputc(0, file), 0);
    assert_int_equal(fclose(file), 0);
    wire graph = graph_simple(), tensor = tensor_head("huge", 1, 1, dims), location = {0};
    wire_text(&location, 1, "location"), wire_text(&location, 2, "hole.bin");
    wire_message(&tensor, 13, location);
    wire_number(&tensor, 14, 1);
    wire_message(&graph, 5, tensor);
    onnx_model *model = load(*state, test_save("huge.onnx", model_of(graph)));
    assert_int_equal(onnx_write(*state, model, NULL, 0, in_folder("huge2.onnx")), SPADE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(spade_message(*state), "2 GiB"));
    assert_null(fopen(in_folder("huge2.onnx"), "rb"));
    onnx_free(model);
    assert_int_equal(remove(hole), 0);
}

static void unwritable(void **state)
{
    onnx_model *model = load(*state, test_save("fine.onnx", model_of(graph_simple())));
    assert_int_equal(onnx_write(*state, model, NULL, 0, "/no/such/folder/out.onnx"), SPADE_ERROR_IO);
    assert_int_equal(onnx_write(*state, model, NULL, 0, model->path), SPADE_OK); /* over itself: the mapping stays */
    onnx_free(model);
    onnx_free(load(*state, in_folder("fine.onnx")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_replaced),  cmocka_unit_test(same_weights), cmocka_unit_test(other_weights),
        cmocka_unit_test(shared_weights),    cmocka_unit_test(old_format),   cmocka_unit_test(constant_node),
        cmocka_unit_test(external_embedded), cmocka_unit_test(other_types),  cmocka_unit_test(too_large),
        cmocka_unit_test(unwritable),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
