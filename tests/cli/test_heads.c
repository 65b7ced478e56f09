/* test_heads.c - from outside: networks that end in scores, with one output, with several; names of their classes. */
#include <math.h>

#include <jansson.h>

#include "support/command.h"
#include "support/model.h"
#include "spade/spade.h"

enum { SIDE = 4, PIXELS = 3 * SIDE * SIDE };

/* x [1, 3, 4, 4] -> Flatten -> Gemm -> z [1, outputs] -> head -> y; saved as NAME.onnx in the tests' folder. */
static const char *make_model(const char *name, int outputs, const char *head)
{
    const int64_t dims[2] = {-1, outputs};
    wire network = graph_of(3, SIDE, SIDE, outputs);
    put_tensor(&network, tensor_random("w", 2, (int64_t[]){PIXELS, outputs}, 3));
    put_node(&network, node_of("flat", "Flatten", "x", "f"));
    put_node(&network, node_of("fc", "Gemm", "f w", "z"));
    put_node(&network, node_of("head", head, "z", "y"));
    wire_message(&network, 12, value_of("z", 2, dims));
    return test_save(name, model_of(network));
}

static const char *make_input(void)
{
    float x[PIXELS];
    static char path[300];
    spade_context *context;
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    for (int i = 0; i < PIXELS; i++) { x[i] = 0.3f * pseudo_random(8, (uint32_t)i); }
    snprintf(path, sizeof path, "%s/x.npy", test_folder());
    assert_int_equal(spade_array_save(context, path, x, 4, (int64_t[]){1, 3, SIDE, SIDE}), SPADE_OK);
    spade_context_destroy(context);
    return path;
}

static double logit(int outputs, int of)
{
    double sum = 0;
    for (int i = 0; i < PIXELS; i++) {
        sum += (double)pseudo_random(3, (uint32_t)(i * outputs + of)) * (double)(0.3f * pseudo_random(8, (uint32_t)i));
    }
    return sum;
}

/* The first input's record of results.json; a new reference to the whole file in *all. */
static const json_t *record_of(const char *folder, json_t **all)
{
    char path[400];
    snprintf(path, sizeof path, "%s/results.json", folder);
    *all = json_load_file(path, 0, NULL);
    assert_non_null(*all);
    return json_array_get(json_object_get(*all, "inputs"), 0);
}

static double number_at(const json_t *list, int index)
{
    return json_number_value(json_array_get(list, (size_t)index));
}

static void explain(const char *model, const char *more, int code, const char *says)
{
    command_result r = command_run("explain %s %s -o %s/out --restart --threads 1 --variants 4 %s", model, make_input(),
                                   test_folder(), more);
    if (r.code != code) { fail_msg("%s", r.err); }
    if (says && !strstr(r.err, says)) { fail_msg("no '%s' in: %s", says, r.err); }
    command_clear(&r);
}

static void check_scores(int outputs, const char *head, const char *more)
{
    char folder[300];
    json_t *all;
    double sum = 0;
    explain(make_model("head.onnx", outputs, head), more, 0, NULL);
    snprintf(folder, sizeof folder, "%s/out", test_folder());
    const json_t *dense = json_object_get(record_of(folder, &all), "dense");
    const json_t *scores = json_object_get(dense, "scores"), *logits = json_object_get(dense, "logits");
    const int classes = outputs == 1 ? 2 : outputs;
    int64_t top = 0;
    assert_int_equal(json_array_size(scores), classes);
    for (int i = 0; i < outputs; i++) { sum += exp(logit(outputs, i)); }
    for (int c = 0; c < classes; c++) {
        const double z = outputs == 1 ? (c ? 1 : -1) * logit(1, 0) : logit(outputs, c);
        const bool sigmoid = outputs == 1 || strcmp(head, "Sigmoid") == 0;
        assert_true(fabs(number_at(logits, c) - z) < 1e-5);
        assert_true(fabs(number_at(scores, c) - (sigmoid ? 1 / (1 + exp(-z)) : exp(z) / sum)) < 1e-5);
        if (number_at(scores, c) > number_at(scores, (int)top)) { top = c; }
    }
    assert_int_equal(json_integer_value(json_object_get(dense, "class")), top);
    assert_true(json_number_value(json_object_get(dense, "score")) == number_at(scores, (int)top));
    json_decref(all);
}

static void test_scores(void **state)
{
    (void)state;
    check_scores(5, "Softmax", "--output-name y --no-trace");
    check_scores(5, "Sigmoid", "--output-name y --output scores");
    check_scores(5, "Identity", "--output-name z"); /* nothing says sigmoid or softmax */
    check_scores(1, "Identity", "--output softmax --output-name y");
    check_scores(1, "Sigmoid", "");
}

static void test_refused(void **state)
{
    (void)state;
    explain(make_model("head.onnx", 5, "Relu"), "", 1, "--output-name");
    explain(make_model("head.onnx", 5, "Relu"), "--output-name w", 2, "no output \"w\"");
    explain(make_model("head.onnx", 1, "Sigmoid"), "--class 2", 2, "classes 0 to 1");
}

/* ---- names */
static const char *write_labels(const void *bytes, size_t size)
{
    return test_write("labels.txt", bytes, size);
}

static void check_labels(const char *bytes, size_t size, const char *says)
{
    char more[400], folder[300];
    json_t *all;
    snprintf(more, sizeof more, "--no-trace --labels %s", write_labels(bytes, size));
    explain(make_model("head.onnx", 1, "Sigmoid"), more, says ? 1 : 0, says);
    if (says) { return; }
    snprintf(folder, sizeof folder, "%s/out", test_folder());
    const char *name = json_string_value(json_object_get(json_object_get(record_of(folder, &all), "dense"), "name"));
    assert_string_equal(name, logit(1, 0) > 0 ? "yes" : "no");
    json_decref(all);
}

#define LABELS(text, says) check_labels(text, sizeof(text) - 1, says)

static void test_labels(void **state)
{
    (void)state;
    LABELS("no\nyes\n", NULL);
    LABELS("no\r\nyes", NULL);
    LABELS("no\ryes\r", NULL);
    LABELS("\xef\xbb\xbfno\nyes\n\n\n", NULL);
    LABELS("no\t \nyes  \n  \n\t\r\n", NULL); /* blanks at ends, and lines of blanks at the end */
    LABELS("no\n", "1 name, the network has 2 classes");
    LABELS("no\n \nyes\n", "line 2 is empty");
    LABELS("no\n\nyes\n", "line 2 is empty");
    LABELS("\xff\xfen\0o\0\n\0", "not UTF-8");
    LABELS("no\ny\xe9s\n", "not UTF-8");
}

static int remove_files(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scores), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_labels)};
    return cmocka_run_group_tests(tests, NULL, remove_files);
}
