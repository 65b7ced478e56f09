/* test_bench.c - spade bench as a command: every step has its row and seconds, in either form; what is refused. */
#include <jansson.h>

#include "support/command.h"

#define MODEL SPADE_TEST_DATA "/models/scene_resnet.onnx"
#define PICTURE SPADE_TEST_DATA "/images/scene00.png"

static json_t *bench(const char *arguments)
{
    command_result r = command_run("bench " MODEL " --threads 1 --json %s", arguments);
    if (r.code != 0 || *r.err) { fail_msg("%s: code %d: %s", arguments, r.code, r.err); }
    json_t *result = json_loads(r.out, 0, NULL);
    assert_non_null(result);
    command_clear(&r);
    return result;
}

/* The rows have these names, in this order, and seconds that agree with themselves. */
static void check_rows(const json_t *result, const char *const *names, size_t count, size_t repeat)
{
    const json_t *rows = json_object_get(result, "rows");
    assert_int_equal(json_array_size(rows), count);
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(rows, i), *seconds = json_object_get(row, "seconds");
        const double least = json_number_value(json_object_get(row, "least")),
                     most = json_number_value(json_object_get(row, "most")),
                     median = json_number_value(json_object_get(row, "median"));
        if (strcmp(json_string_value(json_object_get(row, "name")), names[i]) != 0) {
            fail_msg("row %d is %s, not %s", (int)i, json_string_value(json_object_get(row, "name")), names[i]);
        }
        assert_int_equal(json_array_size(seconds), repeat);
        assert_true(least >= 0 && least <= median && median <= most);
        for (size_t k = 0; k < repeat; k++) {
            const double own = json_number_value(json_array_get(seconds, k));
            assert_true(own >= least && own <= most);
        }
    }
}

static void test_rows(void **state)
{
    (void)state;
    static const char *const names[] = {"load",
                                        "first forward pass",
                                        "forward pass",
                                        "augment",
                                        "forward",
                                        "hessian",
                                        "factor",
                                        "sweep",
                                        "picture to trace",
                                        "saliency, dense",
                                        "smoothgrad:samples=2, dense",
                                        "saliency, trace",
                                        "smoothgrad:samples=2, trace"};
    json_t *result = bench("--variants 8 --repeat 3 --method saliency,smoothgrad:samples=2");
    check_rows(result, names, sizeof names / sizeof *names, 3);
    const json_t *rows = json_object_get(result, "rows");
    for (size_t i = 3; i < 8; i++) { /* stages with a share in the whole: some of them run side by side */
        assert_true(json_number_value(json_object_get(json_array_get(rows, i), "median")) > 0);
    }
    assert_true(json_integer_value(json_object_get(json_array_get(rows, 5), "memory")) > 0);
    assert_true(json_integer_value(json_object_get(result, "peak_memory")) >=
                json_integer_value(json_object_get(json_array_get(rows, 5), "memory")));
    assert_true(json_integer_value(json_object_get(result, "resident_memory")) > 1 << 20);
    assert_string_equal(json_string_value(json_object_get(result, "device")), "cpu");
    assert_true(json_is_null(json_object_get(result, "input")));
    json_decref(result);
}

static void test_dense(void **state)
{
    (void)state;
    static const char *const names[] = {"load", "first forward pass", "forward pass", "saliency, dense"};
    json_t *result = bench("--no-trace --repeat 1 --warm-up 2 --resize 0 " PICTURE);
    check_rows(result, names, 4, 1);
    assert_string_equal(json_string_value(json_object_get(result, "input")), PICTURE);
    json_decref(result);
}

static void test_table(void **state)
{
    (void)state;
    command_result r = command_run("bench " MODEL " --variants 8 --repeat 1 -q");
    if (r.code != 0) { fail_msg("%s", r.err); }
    assert_true(strstr(r.out, "input 3x64x64, cpu") && strstr(r.out, "picture to trace") && strstr(r.out, " MiB"));
    command_clear(&r);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *says;
        int code;
    } cases[] = {
        {MODEL " --class 1,2", "bench explains one class", 2},
        {MODEL " --checkpoint /tmp/none", "leave it out", 2},
        {MODEL " --method nothing", "nothing", 2},
        {MODEL " --repeat 0", "from 1 to 1024", 2},
        {MODEL " " PICTURE " " PICTURE, "unexpected argument", 2},
        {MODEL " none.png", "none.png: No such file", 1},
        {"none.onnx", "none.onnx", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        command_result r = command_run("bench %s", cases[i].arguments);
        if (r.code != cases[i].code || !strstr(r.err, cases[i].says) || *r.out) {
            fail_msg("%s: code %d: %s%s", cases[i].arguments, r.code, r.err, r.out);
        }
        command_clear(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_dense),
                                       cmocka_unit_test(test_table), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
