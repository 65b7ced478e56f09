/* test_methods.c - `spade methods` and docs/methods.md; metrics that are asked for on the command line. */
#include <jansson.h>
#include <unistd.h>

#include "base/base.h"
#include "support/command.h"
#include "spade/spade.h"

#define MODEL SPADE_TEST_DATA "/models/scene_resnet.onnx"
#define PICTURE SPADE_TEST_DATA "/images/scene00.png"
#define MASK SPADE_TEST_DATA "/images/scene00_patch.png"

/* The page that people read is what the tables say. */
static void test_page(void **state)
{
    (void)state;
    command_expect_page("methods --markdown", "methods.md");
}

/* Each method has its picture on the page, what it costs, and what it needs of a network. */
static void test_page_is_whole(void **state)
{
    (void)state;
    for (int i = 0; i < spade_method_count(); i++) {
        const spade_method_info *method = spade_method_at(i);
        char path[512];
        assert_true(method->cost && *method->cost);
        snprintf(path, sizeof path, "%s/docs/methods/%s.png", SPADE_SOURCE_DIR, method->name);
        if (access(path, R_OK) != 0) { fail_msg("%s: make it by scripts/method_pictures.sh", path); }
    }
}

static void test_text(void **state)
{
    (void)state;
    command_result result = command_run_well("methods");
    for (int i = 0; i < spade_method_count(); i++) { assert_non_null(strstr(result.out, spade_method_at(i)->name)); }
    for (int i = 0; i < spade_metric_count(); i++) { assert_non_null(strstr(result.out, spade_metric_at(i)->name)); }
    for (char *line = result.out, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        if (end - line > 100) { fail_msg("more than 100 columns: %.*s", (int)(end - line), line); }
    }
    command_clear(&result);
    for (int i = 0; i < spade_method_count() + spade_metric_count(); i++) {
        const int metric = i - spade_method_count();
        const char *name = metric < 0 ? spade_method_at(i)->name : spade_metric_at(metric)->name;
        const char *source = metric < 0 ? spade_method_at(i)->source : spade_metric_at(metric)->source;
        char line[64];
        snprintf(line, sizeof line, "methods %s", name);
        result = command_run_well(line);
        const char *words = strstr(result.out, "source");
        assert_non_null(words);
        words += strlen("source") + strspn(words + strlen("source"), " ");
        assert_memory_equal(words, source, strcspn(source, " "));
        command_clear(&result);
    }
    result = command_run("methods '\x1b[2J'");
    assert_int_equal(result.code, 2);
    assert_null(strchr(result.err, '\x1b'));
    assert_non_null(strstr(result.err, "no method or metric '?[2J'"));
    command_clear(&result);
    result = command_run("methods saliancy");
    assert_int_equal(result.code, 2);
    assert_non_null(strstr(result.err, "no method or metric 'saliancy'; close to it: saliency, "));
    command_clear(&result);
}

static const json_t *named(const json_t *list, const char *name)
{
    size_t index;
    json_t *item;
    json_array_foreach(list, index, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "name")), name) == 0) { return item; }
    }
    fail_msg("no %s", name);
    return NULL;
}

static void test_json(void **state)
{
    (void)state;
    command_result result = command_run_well("methods --json");
    assert_non_null(strstr(result.out, "\"default\":0.15,")); /* as it is written, not 0.14999999999999999 */
    assert_int_equal(strchr(result.out, '\n') - result.out, (long)strlen(result.out) - 1);
    json_t *all = json_loads(result.out, 0, NULL);
    assert_non_null(all);
    const json_t *methods = json_object_get(all, "methods"), *metrics = json_object_get(all, "metrics");
    assert_int_equal(json_array_size(methods), spade_method_count());
    assert_int_equal(json_array_size(metrics), spade_metric_count());
    const json_t *steps = named(json_object_get(named(methods, "integrated_gradients"), "options"), "steps");
    assert_string_equal(json_string_value(json_object_get(steps, "type")), "integer");
    assert_int_equal(json_integer_value(json_object_get(steps, "default")), 50);
    assert_int_equal(json_integer_value(json_object_get(steps, "max")), 10000);
    const json_t *common = json_object_get(all, "method_options"), *output = named(common, "output");
    assert_string_equal(json_string_value(json_array_get(json_object_get(output, "words"), 1)), "scores");
    assert_true(json_integer_value(json_object_get(named(common, "seed"), "max")) == INT64_MAX);
    const json_t *pointing = named(metrics, "pointing");
    assert_string_equal(json_string_value(json_object_get(pointing, "better")), "higher");
    assert_true(json_is_true(json_object_get(pointing, "needs_mask")));
    json_decref(all);
    command_clear(&result);

    result = command_run_well("methods --json pointing"); /* that one only */
    all = json_loads(result.out, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(all, "methods")), 0);
    assert_int_equal(json_array_size(json_object_get(all, "metrics")), 1);
    json_decref(all);
    command_clear(&result);
}

/* Methods that share a walk, and others between them: every map is what it is alone. */
static void test_together(void **state)
{
    (void)state;
    static const char *const methods[] = {"smoothgrad:samples=9",
                                          "saliency",
                                          "vargrad:samples=9",
                                          "smooth:samples=2:of=gradcam",
                                          "smoothgrad_squared:samples=9",
                                          "gradient_shap:samples=9:baseline=black"};
    enum { METHODS = sizeof methods / sizeof *methods };
    char *folder = folder_make(), list[512] = "";
    for (int m = 0; m < METHODS; m++) { snprintf(strchr(list, 0), 100, "%s%s", m ? "," : "", methods[m]); }
    for (int m = -1; m < METHODS; m++) {
        command_result result =
            command_run("explain " MODEL " " PICTURE " -o %s/out%d --resize 0 --no-trace --class 1,3 --method '%s'",
                        folder, m, m < 0 ? list : methods[m]);
        if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
        command_clear(&result);
        for (int c = 1; m >= 0 && c <= 3; c += 2) {
            const int length = (int)strcspn(methods[m], ":");
            size_t sizes[2];
            char *maps[2], path[512];
            for (int k = 0; k < 2; k++) {
                snprintf(path, sizeof path, "%s/out%d/scene00/dense_%.*s_c%d.npy", folder, k ? m : -1, length,
                         methods[m], c);
                maps[k] = file_read(path, &sizes[k]);
                if (!maps[k]) { fail_msg("%s is not there", path); }
            }
            if (sizes[0] != sizes[1] || memcmp(maps[0], maps[1], sizes[0]) != 0) { fail_msg("%s differs", path); }
            free(maps[0]);
            free(maps[1]);
        }
    }
    command_result result =
        command_run("explain " MODEL " " PICTURE " -o %s/x --resize 0 --method occlusion:baseline=blakc", folder);
    assert_int_equal(result.code, 1);
    assert_non_null(strstr(result.err, "occlusion: baseline=blakc: no number, none of mean|black|blur|random, and"));
    assert_int_equal(strchr(result.err, '\n') - result.err, (long)strlen(result.err) - 1);
    command_clear(&result);
    folder_remove(folder);
}

/* Each metric that is asked for: in results, report and on the terminal. */
static void test_metrics(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512];
    command_result result = command_run("explain " MODEL " " PICTURE " -o %s/out --resize 0 --variants 8 --mask " MASK
                                        " --metric roc_auc,pointing:tolerance=2,pointing",
                                        folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    assert_non_null(strstr(result.out, "saliency               ROC AUC                      dense 0.97"));
    assert_non_null(strstr(result.out, "Pointing game (tolerance=2)  dense 1.000  trace 1.000"));
    command_clear(&result);
    snprintf(path, sizeof path, "%s/out/results.json", folder);
    json_t *results = json_load_file(path, 0, NULL);
    assert_non_null(results);
    const json_t *metrics = json_object_get(results, "metrics");
    assert_int_equal(json_object_size(metrics), 3);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(metrics, "roc_auc"), "version")), 1);
    assert_string_equal(json_string_value(json_object_get(json_object_get(metrics, "pointing"), "options")),
                        "tolerance=2");
    assert_null(json_object_get(json_object_get(metrics, "pointing_2"), "options"));
    const json_t *input = json_array_get(json_object_get(results, "inputs"), 0);
    const json_t *map = json_object_get(json_array_get(json_object_get(input, "maps"), 0), "dense");
    assert_true(json_number_value(json_object_get(map, "roc_auc")) > 0.9);
    assert_true(json_number_value(json_object_get(map, "pointing")) == 1);
    assert_true(json_number_value(json_object_get(map, "pointing_2")) == 1);
    json_decref(results);
    snprintf(path, sizeof path, "%s/out/report.html", folder);
    char *report = file_read(path, NULL);
    assert_non_null(report);
    assert_non_null(strstr(report, "<th>ROC AUC: 1 is perfect, 0.5 is chance</th>"));
    assert_non_null(strstr(report, "<th>Pointing game (tolerance=2): 1 is a hit"));
    assert_non_null(strstr(report, "Pointing game 1.000"));
    free(report);
    folder_remove(folder);
}

/* RISE's map is about the mean of F, which is negative for the logit of a class that is not there: what lowers it even more
 * is no evidence for it, however large it is without its sign. */
static void test_rise_of_negative_logits(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512];
    command_result result =
        command_run("explain " MODEL " " PICTURE " -o %s/out --resize 0 --no-trace --no-report --mask " MASK
                    " --class 1,0 --method rise:samples=200",
                    folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    command_clear(&result);
    snprintf(path, sizeof path, "%s/out/results.json", folder);
    json_t *results = json_load_file(path, 0, NULL);
    assert_non_null(results);
    const json_t *input = json_array_get(json_object_get(results, "inputs"), 0);
    for (size_t i = 0; i < 2; i++) { /* the patch makes class 1 */
        const json_t *map = json_array_get(json_object_get(input, "maps"), i);
        const double area = json_number_value(json_object_get(json_object_get(map, "dense"), "roc_auc"));
        assert_string_equal(json_string_value(json_object_get(map, "overlay_reduction")), "above-least");
        assert_true(i == 0 ? area > 0.9 : area < 0.1);
    }
    const json_t *logits = json_object_get(json_object_get(input, "dense"), "logits");
    assert_true(json_number_value(json_array_get(logits, 0)) < 0);
    json_decref(results);
    folder_remove(folder);
}

/* No mask: no value, and no failure. */
static void test_no_mask(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512];
    command_result result =
        command_run("explain " MODEL " " PICTURE " -o %s/out --resize 0 --no-trace --metric pointing", folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    command_clear(&result);
    snprintf(path, sizeof path, "%s/out/results.json", folder);
    json_t *results = json_load_file(path, 0, NULL);
    const json_t *input = json_array_get(json_object_get(results, "inputs"), 0);
    const json_t *map = json_object_get(json_array_get(json_object_get(input, "maps"), 0), "dense");
    assert_true(json_is_null(json_object_get(map, "pointing")));
    assert_null(json_object_get(map, "roc_auc"));
    json_decref(results);
    folder_remove(folder);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --metric point",
         "--metric: unknown metric 'point' (there are roc_auc, pointing"},
        {"explain " MODEL " " PICTURE " -o /tmp/spade_test_usage --metric roc_auc,pointing:tolerance=x",
         "--metric: pointing: tolerance: 'x' is not a number"},
        {"methods smoothgrad --markdown", "--markdown is for all of them"},
        {"methods a b", "unexpected argument 'b'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        command_result result = command_run("%s", cases[i][0]);
        if (result.code != 2 || !strstr(result.err, cases[i][1])) {
            fail_msg("spade %s: code %d, '%s'", cases[i][0], result.code, result.err);
        }
        command_clear(&result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_page),
                                       cmocka_unit_test(test_page_is_whole),
                                       cmocka_unit_test(test_text),
                                       cmocka_unit_test(test_json),
                                       cmocka_unit_test(test_together),
                                       cmocka_unit_test(test_metrics),
                                       cmocka_unit_test(test_rise_of_negative_logits),
                                       cmocka_unit_test(test_no_mask),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
