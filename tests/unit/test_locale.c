/*
 * test_locale.c - a host program whose numbers have a comma (setlocale(), LC_NUMERIC): options are read, messages and files are
 * written as without it, and its locale stays as it is.
 */
#include <locale.h>
#include <math.h>
#include <sys/stat.h>

#include "base/base.h"
#include "base/json.h"
#include "base/number.h"
#include "spade/spade.h"
#include "support/command.h"
#include "support/context.h"
#include "support/model.h"

enum { SIDE = 8, SIZE = 3 * SIDE * SIDE, CLASSES = 4, VARIANTS = 4, MESSAGES = 8 };

/* LC_NUMERIC of glibc's locales, as localedef writes it: a comma before the fraction and a point between thousands. No locale
 * with a comma has to be installed. */
static const uint8_t numeric[] = {
    0x14, 0x11, 0x03, 0x20, 6,   0, 0, 0, /* what file this is; 6 texts, each from: */
    32,   0,    0,    0,    34,  0, 0, 0, /* the point, what separates thousands, */
    36,   0,    0,    0,    40,  0, 0, 0, /* how many digits these have, both as wide characters, */
    44,   0,    0,    0,    48,  0, 0, 0, /* and the name of the encoding */
    ',',  0,    '.',  0,    3,   3, 0, 0, /* */
    ',',  0,    0,    0,    '.', 0, 0, 0, /* */
    'U',  'T',  'F',  '-',  '8', 0};

static void set_comma(void)
{
    char path[400];
    snprintf(path, sizeof path, "%s/comma", test_folder());
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/LC_NUMERIC");
    file_write(path, numeric, sizeof numeric);
    assert_int_equal(setenv("LOCPATH", test_folder(), 1), 0);
    if (!setlocale(LC_NUMERIC, "comma")) { fail_msg("the C library does not take the locale made here"); }
}

static void expect_comma(void)
{
    char text[16];
    snprintf(text, sizeof text, "%.1f", 0.5);
    assert_string_equal(text, "0,5");
}

/* ---- what a program that uses the library sees */

typedef struct session {
    char messages[MESSAGES][1024];
    int count;
    float map[SIZE];
    char *files[2];
    size_t sizes[2];
} session;

static void note(session *s, spade_context *context, spade_status status)
{
    if (status == SPADE_OK) { fail_msg("what would be message %d is none", s->count); }
    assert_true(s->count < MESSAGES);
    snprintf(s->messages[s->count++], sizeof s->messages[0], "%s", spade_message(context));
}

static void expect_ok(const spade_context *context, spade_status status)
{
    if (status != SPADE_OK) { fail_msg("%s", spade_message(context)); }
}

static wire network(void)
{
    wire graph = graph_of(3, SIDE, SIDE, CLASSES);
    put_tensor(&graph, tensor_random("k", 4, (int64_t[]){4, 3, 3, 3}, 3));
    put_tensor(&graph, tensor_random("w", 2, (int64_t[]){4, CLASSES}, 5));
    put_node(&graph, node_of("conv1", "Conv", "x k", "c"));
    put_node(&graph, node_of("relu1", "Relu", "c", "r"));
    put_node(&graph, node_of("pool", "GlobalAveragePool", "r", "p"));
    put_node(&graph, node_of("flat", "Flatten", "p", "f"));
    put_node(&graph, node_of("fc", "Gemm", "f w", "y"));
    return graph;
}

/* Options with fractions, in the texts that options are. */
static void make_map(session *s, spade_context *context, const spade_model *model, const float *x)
{
    spade_attribution *method = NULL;
    expect_ok(context, spade_attribution_create(context, "smoothgrad:samples=3:sigma=0.25", &method));
    expect_ok(context, spade_attribute(context, model, NULL, method, x, &(spade_target){.class_index = 1}, 1, s->map, NULL));
    spade_attribution_destroy(method);
}

/* Files that hold numbers in text. */
static void make_trace(session *s, spade_context *context, const spade_model *model)
{
    float variants[VARIANTS * SIZE];
    spade_batch *batch = NULL;
    spade_trace *trace = NULL;
    spade_trace_options options;
    for (int i = 0; i < VARIANTS * SIZE; i++) { variants[i] = pseudo_random(9, (uint32_t)i); }
    spade_trace_options_init(&options);
    options.sparsity = 0.25;
    expect_ok(context, spade_batch_from_array(context, variants, VARIANTS, 3, SIDE, SIDE, &batch));
    expect_ok(context, spade_trace_create(context, model, batch, &options, &trace));
    for (int i = 0; i < 2; i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", test_folder(), i ? "t.safetensors" : "t.onnx");
        expect_ok(context, i ? spade_trace_write_safetensors(context, trace, path)
                             : spade_trace_write_onnx(context, trace, path));
        s->files[i] = file_read(path, &s->sizes[i]);
        assert_non_null(s->files[i]);
    }
    options.damping = -1.5;
    spade_trace_destroy(trace);
    note(s, context, spade_trace_create(context, model, batch, &options, &trace));
    spade_batch_destroy(batch);
}

/* Messages with numbers that are no whole ones, from each of the places that make them. */
static void make_messages(session *s, spade_context *context)
{
    spade_attribution *method = NULL;
    spade_model *model = NULL;
    note(s, context, spade_attribution_create(context, "smoothgrad:sigma=-7.5", &method));
    note(s, context, spade_attribution_create(context, "smoothgrad:sigma=0,5", &method));

    wire graph = graph_of(3, SIDE, SIDE, CLASSES);
    put_tensor(&graph, tensor_random("g", 1, (int64_t[]){SIDE}, 1));
    put_node(&graph, with_float(node_of("norm", "LayerNormalization", "x g", "n"), "epsilon", -0.5F));
    put_node(&graph, node_of("pool", "GlobalAveragePool", "n", "y"));
    note(s, context, spade_model_load(context, test_save("norm.onnx", model_with_opset(graph, 17)), NULL, &model));
}

static void run(session *s)
{
    char path[400];
    float x[SIZE];
    spade_model *model = NULL;
    spade_context *context = test_context("cpu", 1);
    snprintf(path, sizeof path, "%s", test_save("net.onnx", model_of(network())));
    for (int i = 0; i < SIZE; i++) { x[i] = pseudo_random(8, (uint32_t)i); }
    expect_ok(context, spade_model_load(context, path, NULL, &model));
    make_map(s, context, model, x);
    make_trace(s, context, model);
    make_messages(s, context);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

/* The first one runs before there is a comma. */
static session plain;

static void test_library(void **state)
{
    (void)state;
    static session s;
    int fractions = 0;
    expect_comma();
    run(&s);
    expect_comma(); /* the host's locale is what it was */
    assert_memory_equal(s.map, plain.map, sizeof s.map);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(s.sizes[i], plain.sizes[i]);
        assert_memory_equal(s.files[i], plain.files[i], s.sizes[i]);
    }
    assert_int_equal(s.count, plain.count);
    for (int i = 0; i < s.count; i++) {
        assert_string_equal(s.messages[i], plain.messages[i]);
        fractions += strstr(s.messages[i], ".5") != NULL;
    }
    assert_int_equal(fractions, 4);
    for (int i = 0; i < 2; i++) {
        free(s.files[i]);
        free(plain.files[i]);
    }
}

static void test_texts(void **state)
{
    (void)state;
    double value = 0;
    char text[64];
    expect_comma();
    assert_true(spade_parse_number("-2.5e-1", &value) && value == -0.25);
    assert_false(spade_parse_number("0,5", &value));
    spade_print(text, sizeof text, "%s %.2f", "a", 1234.5);
    assert_string_equal(text, "a 1234.50");
    assert_string_equal(spade_format_bytes(1536, text), "1.5 KiB");
    static const char json[] = "{\"a\":[0.5,-1.25e-3]}";
    spade_json_error error;
    json_t *object = spade_json_parse(json, sizeof json - 1, &error);
    assert_true(json_real_value(json_array_get(json_object_get(object, "a"), 1)) == -1.25e-3);
    char *again = spade_json_dump(object, JSON_COMPACT);
    assert_string_equal(again, "{\"a\":[0.5,-0.00125]}");
    free(again);
    json_decref(object);
    expect_comma();
}

static int remove_files(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

static int prepare(void **state)
{
    (void)state;
    run(&plain);
    set_comma();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_library), cmocka_unit_test(test_texts)};
    return cmocka_run_group_tests(tests, prepare, remove_files);
}
