/* test_report.c - what the report shows of an input, and that the results say the same: a trace that decides otherwise than
 * its network, or keeps the class with much less of its score; the mask. */
#include <jansson.h>

#include "support/command.h"
#include "spade/spade.h"

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

static spade_picture load(spade_context *context, spade_status (*read)(spade_context *, const char *, spade_picture *),
                          const char *path)
{
    spade_picture picture = {0};
    if (read(context, path, &picture) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    return picture;
}

/* The mask is shown as the input, dark where the mask is not: of inputs that have one. */
static void test_mask(void **state)
{
    (void)state;
    char *folder = folder_make(), path[400];
    command_result result =
        command_run("explain " MODEL " " SPADE_TEST_DATA "/images/scene00.png " SPADE_TEST_DATA "/images/scene08.png "
                    "--resize 0 --no-trace --mask " SPADE_SOURCE_DIR "/examples/masks --method saliency,gradcam -o %s",
                    folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    command_clear(&result);
    spade_context *context = NULL;
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    snprintf(path, sizeof path, "%s/scene00/input.png", folder);
    spade_picture input = load(context, spade_picture_load, path);
    snprintf(path, sizeof path, "%s/scene00/mask.png", folder);
    spade_picture shown = load(context, spade_picture_load, path);
    spade_picture mask = load(context, spade_mask_load, SPADE_SOURCE_DIR "/examples/masks/scene00.png");
    assert_true(shown.height == input.height && shown.width == input.width && mask.width == input.width);
    int64_t inside = 0;
    const int64_t pixels = input.height * input.width;
    for (int64_t i = 0; i < pixels; i++) {
        const bool in = mask.rgb[3 * i] > 127;
        inside += in;
        for (int c = 0; c < 3; c++) {
            const int before = input.rgb[3 * i + c], after = shown.rgb[3 * i + c];
            assert_true(in ? after == before : after <= before / 4);
        }
    }
    assert_true(inside > 0 && inside < pixels);
    spade_picture_clear(&input);
    spade_picture_clear(&shown);
    spade_picture_clear(&mask);
    spade_context_destroy(context);

    snprintf(path, sizeof path, "%s/scene08/mask.png", folder);
    assert_false(file_exists(path));
    snprintf(path, sizeof path, "%s/results.json", folder);
    json_t *results = json_load_file(path, 0, NULL);
    const json_t *inputs = json_object_get(results, "inputs");
    assert_string_equal(json_string_value(json_object_get(json_array_get(inputs, 0), "mask_picture")),
                        "scene00/mask.png");
    assert_null(json_object_get(json_array_get(inputs, 1), "mask_picture"));
    json_decref(results);
    snprintf(path, sizeof path, "%s/report.html", folder);
    char *report = file_read(path, NULL);
    assert_non_null(report);
    assert_int_equal(count(report, "<h3>Mask</h3>"), 1);
    assert_int_equal(count(report, "<h3>Input</h3>"), 2);
    assert_int_equal(count(report, "<div class=\"body many lone\">"), 2);
    free(report);
    folder_remove(folder);
}

static void check_choice(const char *options, int methods, bool both)
{
    char *folder = folder_make(), path[400], text[64];
    command_result result = command_run(
        "explain " MODEL " " SPADE_TEST_DATA "/images/scene00.png --resize 0 --variants 4 %s -o %s", options, folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    command_clear(&result);
    snprintf(path, sizeof path, "%s/report.html", folder);
    char *report = file_read(path, NULL);
    assert_non_null(report);
    const int boxes = methods > 1 ? methods + 2 * both : 0;
    assert_int_equal(count(report, "<input type=\"checkbox\""), boxes);
    assert_int_equal(count(report, "id=\"show-trace\""), boxes && both);
    assert_int_equal(count(report, "<figure class=\"dense\">"), methods);
    assert_int_equal(count(report, "<figure class=\"trace\">"), both ? methods : 0);
    for (int m = 0; m < methods; m++) {
        snprintf(text, sizeof text, "<section class=\"m%d\">", m);
        assert_int_equal(count(report, text), 1);
        snprintf(text, sizeof text, "body:has(#show-m%d:not(:checked)) .m%d{display:none}", m, m);
        assert_int_equal(count(report, text), methods > 1);
    }
    free(report);
    folder_remove(folder);
}

/* Of several methods a reader chooses which are shown, and of which network. */
static void test_choice(void **state)
{
    (void)state;
    check_choice("--method saliency,gradcam,occlusion", 3, true);
    check_choice("--method saliency,gradcam --no-trace", 2, false);
    check_choice("", 1, true);
}

/* The report of scene00; malloc'ed. *results: results.json. */
static char *report_of(const char *options, json_t **results)
{
    char *folder = folder_make(), path[400];
    command_result result =
        command_run("explain " MODEL " " SPADE_TEST_DATA "/images/scene00.png --resize 0 --variants 8 --sparsity 0.8 "
                    "%s -o %s",
                    options, folder);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    command_clear(&result);
    snprintf(path, sizeof path, "%s/results.json", folder);
    *results = json_load_file(path, 0, NULL);
    snprintf(path, sizeof path, "%s/report.html", folder);
    char *report = file_read(path, NULL);
    assert_true(*results && report);
    folder_remove(folder);
    return report;
}

/* The scores of classes that were asked for are there, however low they are, and marked. */
static void test_asked_classes(void **state)
{
    (void)state;
    static const char mark[] = " <span class=\"soft\">explained</span></div>";
    json_t *results;
    char *report = report_of("--no-trace", &results);
    assert_int_equal(count(report, "class=\"score\""), 2); /* the others have less than 0.05 % */
    assert_int_equal(count(report, mark), 0);
    json_decref(results);
    free(report);
    report = report_of("--no-trace --method saliency,gradcam --class 7,2-3,top,2", &results);
    const json_t *input = json_array_get(json_object_get(results, "inputs"), 0);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(input, "dense"), "class")), 1);
    assert_int_equal(count(report, mark), 4);
    static const char *const names[] = {"<b>class 1</b>", "class 2", "class 3", "class 7"};
    for (int i = 0; i < 4; i++) {
        char text[100];
        snprintf(text, sizeof text, "<div class=\"name\">%s%s", names[i], mark);
        assert_int_equal(count(report, text), 1);
    }
    json_decref(results);
    free(report);
}

typedef struct promise_count {
    int maps, broken;
} promise_count;

static promise_count count_promises(const json_t *results)
{
    promise_count found = {0};
    size_t index;
    json_t *map;
    json_array_foreach(json_object_get(json_array_get(json_object_get(results, "inputs"), 0), "maps"), index, map)
    {
        for (int network = 0; network < 2; network++) {
            const json_t *check = json_object_get(json_object_get(map, network ? "trace" : "dense"), "check");
            found.maps += check != NULL;
            found.broken += json_is_false(json_object_get(json_object_get(check, "completeness"), "holds")) ||
                            json_is_false(json_object_get(json_object_get(check, "conservation"), "holds"));
        }
    }
    return found;
}

/* On top stands how many maps do not keep what their methods promise; what is said of a map goes with its method's box. */
static void test_promises(void **state)
{
    (void)state;
    char text[200];
    json_t *results;
    char *report = report_of("--check --method lrp,saliency,deeplift --class 2,3", &results);
    const promise_count found = count_promises(results);
    assert_int_equal(found.maps, 8);
    assert_true(found.broken > 1); /* else this run shows nothing */
    snprintf(text, sizeof text,
             "<b>%d of 8</b> maps whose methods promise something (completeness, conservation) do not keep it",
             found.broken);
    assert_int_equal(count(report, text), 1);
    static const char *const networks[] = {"dense", "trace"};
    for (int network = 0; network < 2; network++) {
        for (int method = 0; method < 3; method++) {
            snprintf(text, sizeof text, "<details class=\"m%d %s\">", method, networks[network]);
            assert_int_equal(count(report, text), method == 1 ? 0 : 2);
            snprintf(text, sizeof text, "<p class=\"soft below m%d %s\">", method, networks[network]);
            assert_int_equal(count(report, text), method == 2 ? 2 : 0);
        }
        snprintf(text, sizeof text, "body:has(#show-%s:not(:checked)) .%s", networks[network], networks[network]);
        assert_int_equal(count(report, text), 1);
    }
    assert_int_equal(count(report, "body:not(:has(#show-m0:checked,#show-m2:checked)) .checks{display:none}"), 1);
    json_decref(results);
    free(report);
    report = report_of("--check --method integrated_gradients --no-trace", &results);
    assert_int_equal(
        count(report, "<b>1 of 1</b> map whose method promises something (completeness, conservation) keeps it"), 1);
    json_decref(results);
    free(report);
    report = report_of("--check --method saliency --no-trace", &results); /* nothing is promised */
    assert_int_equal(count(report, "promise"), 0);
    json_decref(results);
    free(report);
}

/* ---- results.csv */

/* The next cell (RFC 4180), as it stands; *at: behind it. malloc'ed. */
static char *take_cell(const char **at)
{
    char *cell = calloc(strlen(*at) + 1, 1), *to = cell;
    const bool quoted = **at == '"';
    assert_non_null(cell);
    *at += quoted;
    while (quoted ? **at != '"' || (*at)[1] == '"' : !strchr(",\n", **at)) {
        *at += quoted && **at == '"';
        *to++ = *(*at)++;
    }
    *at += quoted;
    assert_true(**at == ',' || **at == '\n');
    ++*at;
    return cell;
}

/* The cell is the text, behind an apostrophe where it may not stand alone. */
static void check_cell(const char **at, const char *text)
{
    char *cell = take_cell(at);
    const bool marked = (*text && strchr("=+-@'", *text)) || strncmp(text, "\uff1d", 3) == 0;
    if (strcmp(cell + marked, text) != 0 || (marked && *cell != '\'')) { fail_msg("%s is not %s", cell, text); }
    free(cell);
}

/* No text begins as a formula does, and what it was is known. */
static void test_formulas(void **state)
{
    (void)state;
    static const char labels[] = "zero\n=1+1\n'=quoted'\n-a, \"b\"\n+4\n@five\n\uff1dsix\na=7\n8\n9\n";
    static const char *const names[] = {"=1+1", "'=quoted'", "-a, \"b\"", "+4", "@five", "\uff1dsix", "a=7"};
    char *folder = folder_make(), path[400];
    size_t size = 0;
    char *picture = file_read(SPADE_TEST_DATA "/images/scene00.png", &size);
    snprintf(path, sizeof path, "%s/=cmd.png", folder);
    file_write(path, picture, size);
    free(picture);
    snprintf(path, sizeof path, "%s/labels.txt", folder);
    file_write(path, labels, sizeof labels - 1);
    assert_int_equal(chdir(folder), 0); /* paths, too, may begin so */
    command_result result =
        command_run("explain " MODEL " =cmd.png --resize 0 --no-trace --no-report --labels labels.txt "
                    "--class 1,2,3,4,5,6,7 -o out");
    assert_int_equal(chdir("/"), 0);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    command_clear(&result);
    snprintf(path, sizeof path, "%s/out/results.csv", folder);
    char *csv = file_read(path, NULL);
    assert_non_null(csv);
    const char *at = strchr(csv, '\n') + 1;
    for (int i = 0; i < 7; i++) {
        static const char *const begin[] = {"=cmd.png", "", "=cmd", "dense", "saliency", ""};
        char text[200];
        for (int k = 0; k < 6; k++) { check_cell(&at, begin[k]); }
        snprintf(text, sizeof text, "%d", i + 1);
        check_cell(&at, text);
        check_cell(&at, names[i]);
        char *logit = take_cell(&at), *end; /* a number, which may be below 0 */
        assert_true(strtod(logit, &end) != 0 && !*end);
        free(logit);
        for (int k = 0; k < 7; k++) { free(take_cell(&at)); }
        snprintf(text, sizeof text, "=cmd/dense_saliency_c%d.npy", i + 1);
        check_cell(&at, text);
    }
    assert_int_equal(*at, 0);
    free(csv);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scores),   cmocka_unit_test(test_mask),
                                       cmocka_unit_test(test_choice),   cmocka_unit_test(test_asked_classes),
                                       cmocka_unit_test(test_promises), cmocka_unit_test(test_formulas)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
