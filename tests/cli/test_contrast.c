/* test_contrast.c - from outside: --class with numbers, names, top and second, and one class against another. */
#include <math.h>

#include <jansson.h>

#include "support/command.h"
#include "support/model.h"
#include "spade/spade.h"

enum { SIDE = 4, PIXELS = 3 * SIDE * SIDE, CLASSES = 10 };

static const char labels[] = "tench\n"                   /* 0 */
                             "tiger cat\n"               /* 1 */
                             "black-and-white colobus\n" /* 2 */
                             "3-5\n"                     /* 3: an age */
                             "crane, a bird\n"           /* 4 */
                             "crane, a machine\n"        /* 5 */
                             "a\na-b\nb-c\nc\n";         /* 6 to 9 */

/* x [1, 3, 4, 4] -> Flatten -> Gemm -> y */
static void make_files(void)
{
    float x[PIXELS];
    char path[300];
    spade_context *context;
    wire network = graph_of(3, SIDE, SIDE, CLASSES);
    put_tensor(&network, tensor_random("w", 2, (int64_t[]){PIXELS, CLASSES}, 3));
    put_node(&network, node_of("flat", "Flatten", "x", "f"));
    put_node(&network, node_of("fc", "Gemm", "f w", "y"));
    test_save("contrast.onnx", model_of(network));
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    for (int i = 0; i < PIXELS; i++) { x[i] = 0.3f * pseudo_random(8, (uint32_t)i); }
    snprintf(path, sizeof path, "%s/x.npy", test_folder());
    assert_int_equal(spade_array_save(context, path, x, 4, (int64_t[]){1, 3, SIDE, SIDE}), SPADE_OK);
    snprintf(path, sizeof path, "%s/labels.txt", test_folder());
    file_write(path, labels, sizeof labels - 1);
    spade_context_destroy(context);
}

/* What it said on stderr; malloc'ed. classes: the value of --class. */
static char *explain(int code, const char *classes, const char *more)
{
    command_result r =
        command_run("explain %s/contrast.onnx %s/x.npy -o %s/out --threads 1 --variants 4 --class '%s' %s",
                    test_folder(), test_folder(), test_folder(), classes, more);
    if (r.code != code) { fail_msg("--class %s: code %d: %s", classes, r.code, r.err); }
    char *said = r.err;
    r.err = NULL;
    command_clear(&r);
    return said;
}

static json_t *load_results(void)
{
    char path[400];
    snprintf(path, sizeof path, "%s/out/results.json", test_folder());
    json_t *all = json_load_file(path, 0, NULL);
    assert_non_null(all);
    return all;
}

static const json_t *input_of(const json_t *all)
{
    return json_array_get(json_object_get(all, "inputs"), 0);
}

static int64_t integer_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value ? json_integer_value(value) : -1;
}

/* ---- which classes a text means */
static void check_target(const char *text, int64_t class_index, int64_t against)
{
    char more[400];
    snprintf(more, sizeof more, "--labels %s/labels.txt --no-trace --no-report --restart", test_folder());
    free(explain(0, text, more));
    json_t *all = load_results();
    const json_t *map = json_array_get(json_object_get(input_of(all), "maps"), 0);
    if (integer_at(map, "class") != class_index || integer_at(map, "against") != against) {
        fail_msg("--class %s: %lld against %lld", text, (long long)integer_at(map, "class"),
                 (long long)integer_at(map, "against"));
    }
    json_decref(all);
}

/* Classes of the highest and the second highest logit. */
static void find_top(int64_t top[2])
{
    free(explain(0, "0", "--no-trace --no-report --restart"));
    json_t *all = load_results();
    const json_t *logits = json_object_get(json_object_get(input_of(all), "dense"), "logits");
    for (int rank = 0; rank < 2; rank++) {
        double best = -INFINITY;
        for (int64_t c = 0; c < CLASSES; c++) {
            const double z = json_number_value(json_array_get(logits, (size_t)c));
            if (z <= best || (rank && c == top[0])) { continue; }
            best = z;
            top[rank] = c;
        }
    }
    json_decref(all);
}

static void test_texts(void **state)
{
    (void)state;
    int64_t top[2];
    find_top(top);
    const int64_t other = top[0] == 1 ? 2 : 1;
    char text[32];
    check_target("1", 1, -1);
    check_target("tiger cat", 1, -1);
    check_target("Tench", 0, -1);
    check_target("0-1", 0, 1);
    check_target("tench-tiger cat", 0, 1);
    check_target("tiger cat - 0", 1, 0);
    check_target("black-and-white colobus", 2, -1);
    check_target("black-and-white colobus-tench", 2, 0);
    check_target("3-5", 3, -1); /* the whole text is a name */
    check_target("3-4", 3, 4);
    check_target("0-3-5", 0, 3);
    check_target("a-b", 7, -1);
    check_target("top", top[0], -1);
    check_target("second", top[1], -1);
    check_target("top-second", top[0], top[1]);
    snprintf(text, sizeof text, "top-%lld", (long long)other);
    check_target(text, top[0], other);
}

static void refused(int code, const char *text, const char *more, const char *says)
{
    char *said = explain(code, text, more);
    const char *end = strchr(said, '\n');
    if (!strstr(said, says)) { fail_msg("no '%s' in: %s", says, said); }
    assert_true(end && !end[1]); /* one line */
    free(said);
}

static void test_refused(void **state)
{
    (void)state;
    char named[400], path[300], text[32];
    int64_t top[2];
    find_top(top);
    snprintf(named, sizeof named, "--quiet --no-trace --restart --labels %s/labels.txt", test_folder());
    refused(2, "10", named, "--class 10: the network has the classes 0 to 9");
    refused(2, "1-10", named, "--class 1-10: the network has the classes 0 to 9");
    refused(2, "1-1", named, "--class 1-1: a class against itself");
    refused(2, "tench-0", named, "a class against itself");
    refused(2, "top-top", named, "a class against itself");
    refused(2, "crane", named, "the classes 4 and 5 have the same name; give the number");
    refused(2, "tench-crane", named, "the classes 4 and 5 have the same name; give the number");
    refused(2, "trench", named,
            "--class trench: no class is called so; give a number from 0 to 9, a name, top, second, ");
    refused(2, "tench-", named, "no class is called so");
    refused(2, "1-2-4", named, "no class is called so");
    refused(2, "tench", "--quiet --no-trace --restart", "(the network names none, --labels does)");
    refused(2, "a-b-c", named, "'a' against 'b-c', or 'a-b' against");
    refused(2, "1,tiger cat", named, "1 is given twice");
    refused(2, "0-1,tench-tiger cat", named, "0-1 is given twice");
    refused(2, "-1", named, "'-1' is no class");
    refused(2, "1,,2", named, "'' is no class");
    refused(2, "99999999999", named, "'99999999999' is no class");
    refused(2, "label", named, "'label' needs labelled inputs");
    snprintf(text, sizeof text, "top-%lld", (long long)top[0]);
    snprintf(path, sizeof path, "both are class %lld of this picture", (long long)top[0]);
    refused(1, text, named, path);
}

/* ---- what is written */

static spade_array load_map(spade_context *context, const char *name)
{
    char path[400];
    spade_array array;
    snprintf(path, sizeof path, "%s/out/x_0000/%s.npy", test_folder(), name);
    if (spade_array_load(context, path, 0, &array) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    return array;
}

static void check_maps(const char *network)
{
    char names[3][100];
    spade_array maps[3];
    spade_context *context;
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    for (int i = 0; i < 3; i++) {
        static const char *const of[] = {"0", "1", "0-1"};
        snprintf(names[i], sizeof names[i], "%s_input_x_gradient_c%s", network, of[i]);
        maps[i] = load_map(context, names[i]);
    }
    for (int i = 0; i < PIXELS; i++) {
        const double should = (double)maps[0].data[i] - maps[1].data[i];
        assert_true(fabs(maps[2].data[i] - should) < 1e-6);
    }
    for (int i = 0; i < 3; i++) { spade_array_clear(&maps[i]); }
    spade_context_destroy(context);
}

static void check_file(const char *name, const char *says)
{
    char path[400];
    snprintf(path, sizeof path, "%s/out/%s", test_folder(), name);
    char *text = file_read(path, NULL);
    assert_non_null(text);
    if (!strstr(text, says)) { fail_msg("%s has no '%s'", name, says); }
    free(text);
}

static void check_json(void)
{
    json_t *all = load_results();
    const json_t *maps = json_object_get(input_of(all), "maps");
    assert_int_equal(json_array_size(maps), 8); /* 2 methods, 4 targets */
    const json_t *one = json_array_get(maps, 0), *two = json_array_get(maps, 2);
    assert_int_equal(integer_at(one, "class"), 0);
    assert_null(json_object_get(one, "against"));
    assert_int_equal(integer_at(two, "class"), 0);
    assert_int_equal(integer_at(two, "against"), 1);
    assert_string_equal(json_string_value(json_object_get(two, "name")), "tench");
    assert_string_equal(json_string_value(json_object_get(two, "against_name")), "tiger cat");
    assert_string_equal(json_string_value(json_object_get(json_object_get(two, "trace"), "map")),
                        "x_0000/trace_input_x_gradient_c0-1.npy");
    const json_t *classes = json_object_get(json_object_get(all, "configuration"), "classes");
    assert_int_equal(json_integer_value(json_array_get(classes, 1)), 1);
    assert_string_equal(json_string_value(json_array_get(classes, 2)), "0-1");
    json_decref(all);
}

static void test_results(void **state)
{
    (void)state;
    static const char targets[] = "0,1,0-1,top-second";
    char more[500];
    snprintf(more, sizeof more, "--method input_x_gradient,saliency --labels %s/labels.txt", test_folder());
    char first[600];
    snprintf(first, sizeof first, "%s --restart", more);
    free(explain(0, targets, first));
    check_maps("dense");
    check_maps("trace");
    check_json();
    check_file("x_0000/trace_saliency_ctop-second.npy", "NUMPY");
    check_file("report.html", "for class 0 (tench) against class 1 (tiger cat)");
    check_file("report.html", "<span>against; of A against B: for B</span>");
    check_file("report.html",
               "<b>orange speaks for A, blue for B</b>; where there is no sign, brighter pixels matter more");
    check_file("results.csv", ",class,class_name,logit,score,against,against_name,against_logit,against_score,");
    check_file("results.csv", ",0,tench,");
    check_file("results.csv", ",1,tiger cat,");
    char *said = explain(0, targets, more); /* it is all there */
    assert_non_null(strstr(said, "1 of 1 inputs are explained already"));
    free(said);
    said = explain(2, "0,1,1-0,top-second", more);
    assert_non_null(strstr(said, "configuration.classes"));
    free(said);
    free(explain(0, "0-1", first)); /* alone: nothing to tell apart */
    check_file("x_0000/dense_saliency.npy", "NUMPY");
}

static int prepare(void **state)
{
    (void)state;
    make_files();
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_results)};
    return cmocka_run_group_tests(tests, prepare, remove_files);
}
