/* test_decisions.c - a trace that decides otherwise than its network, or keeps the class with much less of its score: said
 * for each input on the terminal, in the results and in the report, and counted at the end. */
#include <jansson.h>

#include "support/command.h"

#define MODEL SPADE_TEST_DATA "/models/scene_resnet.onnx"
#define PICTURES SPADE_TEST_DATA "/images/scene0?.png"

static int count(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) { n++; }
    return n;
}

/* The number that follows a text; -1: it does not stand there. */
static int number_after(const char *text, const char *part)
{
    const char *at = strstr(text, part);
    return at ? atoi(at + strlen(part)) : -1;
}

static void test_scores(void **state)
{
    (void)state;
    char *folder = folder_make(), path[300];
    command_result result =
        command_run("explain " MODEL " " PICTURES " --resize 0 --variants 8 --sparsity 0.8 -o %s", folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    snprintf(path, sizeof path, "%s/results.json", folder);
    json_t *results = json_load_file(path, 0, NULL);
    assert_non_null(results);
    int changed = 0, fell = 0;
    size_t index;
    json_t *input;
    json_array_foreach(json_object_get(results, "inputs"), index, input)
    {
        const json_t *dense = json_object_get(input, "dense"), *trace = json_object_get(input, "trace");
        const double before = json_number_value(json_object_get(dense, "score"));
        const double after = json_number_value(json_object_get(trace, "score"));
        const bool same =
            json_integer_value(json_object_get(dense, "class")) == json_integer_value(json_object_get(trace, "class"));
        assert_int_equal(json_is_true(json_object_get(input, "class_changed")), !same);
        assert_int_equal(json_is_true(json_object_get(input, "score_fell")), same && after < before / 2);
        changed += !same;
        fell += same && after < before / 2;
    }
    json_decref(results);
    assert_true(changed > 0 && fell > 0); /* else this run shows nothing */
    assert_int_equal(count(result.out, "(another class!)"), changed);
    assert_int_equal(count(result.out, "(less than half of the score!)"), fell);
    assert_int_equal(number_after(result.out, "the trace decides differently for "), changed);
    assert_int_equal(number_after(result.out, "the trace keeps less than half of the score of "), fell);
    command_clear(&result);

    snprintf(path, sizeof path, "%s/report.html", folder);
    char *report = file_read(path, NULL);
    assert_non_null(report);
    assert_int_equal(count(report, "<b>The trace decides differently:</b>"), changed);
    assert_int_equal(count(report, "<b>The trace keeps the class, but less than half of its score:</b>"), fell);
    assert_int_equal(number_after(report, "<p class=\"warn\">In <b>"), fell);
    free(report);

    /* nothing is said where the trace is the network */
    result = command_run("explain " MODEL " " PICTURES " --resize 0 --variants 8 --sparsity 0 --restart -o %s", folder);
    assert_int_equal(result.code, 0);
    assert_null(strstr(result.out, "half of the score"));
    command_clear(&result);
    report = file_read(path, NULL);
    assert_non_null(report);
    assert_null(strstr(report, "half of its score"));
    free(report);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scores)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
