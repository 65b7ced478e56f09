/*
 * test_sparse_fc.c - evaluate's column sparse_fc: what is said and recorded of the fit, going on with the layer that was kept, another
 * fit is another configuration, and what is refused.
 */
#include "support/model.h"
#include "support/results.h"

#define MODELS SPADE_TEST_DATA "/models"
#define IMAGES SPADE_TEST_DATA "/images"
#define FAST " --resize 0 --method saliency --metric gini,class_kept "

static char *folder;
static const int labels[12] = {1, 5, 8, 3, 1, 5, 8, 3, 3, 8, 7, 1};

static const char *inside(const char *name)
{
    return path_inside(folder, name);
}

/* The scenes from..to; labelled: the first so many have labels. */
static void write_manifest(const char *name, int from, int to, int labelled)
{
    FILE *file = fopen(inside(name), "w");
    assert_non_null(file);
    fputs(labelled ? "image,label\n" : "image\n", file);
    for (int i = from; i <= to; i++) {
        fprintf(file, IMAGES "/scene%02d.png", i);
        if (i - from < labelled) { fprintf(file, ",%d", labels[i]); }
        fputs(labelled && i - from >= labelled ? ",\n" : "\n", file);
    }
    assert_int_equal(fclose(file), 0);
}

static int open_folder(void **state)
{
    (void)state;
    folder = folder_make();
    write_manifest("m.csv", 0, 1, 2);
    write_manifest("fit.csv", 2, 11, 12);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static command_result evaluate(const char *output, const char *arguments, int code, const char *says)
{
    command_result r = command_run("evaluate " MODELS "/scene_mobilenet.onnx %s -o %s" FAST "%s", inside("m.csv"),
                                   inside(output), arguments);
    if (r.code != code || (says && !strstr(r.err, says))) { fail_msg("%s: code %d: %s", arguments, r.code, r.err); }
    return r;
}

static void done(command_result r)
{
    command_clear(&r);
}

static const char *with_fit(const char *name, const char *more)
{
    static char text[400];
    snprintf(text, sizeof text, "--traces sparse_fc --fit %s %s", inside(name), more);
    return text;
}

static double number_in(const json_t *object, const char *key)
{
    const json_t *number = json_object_get(object, key);
    if (!json_is_number(number)) { fail_msg("no number %s", key); }
    return json_number_value(number);
}

static void test_column(void **state)
{
    (void)state;
    char arguments[500];
    snprintf(arguments, sizeof arguments, "--traces magnitude,sparse_fc,random --variants 4 --threads 2 --fit %s",
             inside("fit.csv"));
    command_result r = evaluate("out", arguments, 0, "spade: sparse_fc: lambda ");
    assert_non_null(strstr(r.err, "of 2 pictures kept aside"));
    assert_non_null(strstr(r.err, "no picture is of 5 of the 10 classes: sparse_fc never decides for these"));
    assert_non_null(strstr(r.out, "sparse_fc"));
    command_clear(&r);
    json_t *results = results_load(inside("out"), "results.json");
    const json_t *columns = json_object_get(results, "columns");
    assert_int_equal(json_array_size(columns), 4);
    const json_t *column = json_array_get(columns, 2), *fit = json_object_get(column, "fit");
    assert_string_equal(json_string_value(json_object_get(column, "solver")), "sparse_fc");
    assert_true(number_in(column, "margin") == 0.05);
    assert_true(number_in(fit, "fitted") == 8 && number_in(fit, "kept_aside") == 2 && number_in(fit, "classes") == 5);
    assert_true(number_in(fit, "features") == 128 && number_in(fit, "steps") == 100);
    assert_true(number_in(fit, "lambda") < number_in(fit, "lambda_max") && number_in(fit, "step") > 0);
    assert_true(number_in(fit, "weights") > 0 && number_in(fit, "weights_per_class") == number_in(fit, "weights") / 5);
    assert_true(number_in(fit, "sparse_accuracy") <= 1 && number_in(fit, "dense_accuracy") <= 1);
    assert_true(number_in(fit, "unlabelled") == 0 && number_in(fit, "unreadable") == 0);
    for (size_t p = 0; p < 2; p++) { /* the last layer alone is sparse */
        const json_t *networks = json_object_get(json_array_get(json_object_get(results, "inputs"), p), "networks");
        const json_t *own = json_array_get(networks, 2);
        assert_true(number_in(own, "weights") == 1280 && number_in(own, "zeros") == 1280 - number_in(fit, "weights"));
        assert_true(number_in(json_array_get(networks, 1), "weights") > 1280);
    }
    json_decref(results);
    assert_int_equal(files_count(inside("out"), "sparse_fc.safetensors"), 1);
}

/* The layer is fitted once; with any number of threads it is the same; what was broken is made again. */
static void test_goes_on(void **state)
{
    (void)state;
    write_manifest("two.csv", 0, 1, 2);
    write_manifest("m.csv", 0, 0, 1);
    done(evaluate("a", with_fit("fit.csv", "--threads 1"), 0, "spade: sparse_fc: lambda"));
    write_manifest("m.csv", 0, 1, 2);
    done(evaluate("a", with_fit("fit.csv", "--threads 2"), 0, "spade: sparse_fc (fitted before): lambda"));
    done(evaluate("b", with_fit("fit.csv", "--threads 2"), 0, "spade: sparse_fc: lambda"));
    assert_same_folders(inside("a"), inside("b"));
    size_t size = 0;
    char *file = file_read(inside("a/sparse_fc.safetensors"), &size);
    assert_true(size > 5000);
    for (int i = 0; i < 7; i++) { /* a weight, the header, the end; a number of the record, the key, a name, a shape */
        static const char *const texts[] = {"sparse_accuracy", "key", ".weight", ",128]"};
        char *broken = malloc(size);
        assert_non_null(broken);
        memcpy(broken, file, size);
        char *text = i < 3 ? NULL : memmem(broken, size, texts[i - 3], strlen(texts[i - 3]));
        assert_true(i < 3 || text);
        char *digit = text ? text + (i == 3 ? 18 : i == 4 ? 8 : 1) : broken + (i == 1 ? 9 : size - 4);
        *digit ^= i < 3 ? 0x55 : 1;
        file_write(inside("a/sparse_fc.safetensors"), broken, i == 2 ? size / 2 : size);
        free(broken);
        command_result r = evaluate("a", with_fit("fit.csv", ""), 0, "it is made again");
        assert_non_null(strstr(r.err, "spade: sparse_fc: lambda"));
        command_clear(&r);
        assert_same_folders(inside("a"), inside("b"));
    }
    free(file);
    /* other pictures, other labels, another margin */
    write_manifest("fit.csv", 2, 11, 9);
    done(evaluate("a", with_fit("fit.csv", ""), 2, "another configuration (xxh128.fit"));
    write_manifest("fit.csv", 2, 11, 12);
    done(evaluate("a", with_fit("fit.csv", "--fit-margin 0.5"), 2,
                  "another configuration (columns.sparse_fc.margin: 0.05, now 0.5)"));
    done(evaluate("a", with_fit("fit.csv", "--fit-margin 0.5 --restart"), 0, "spade: sparse_fc: lambda"));
}

/* Labels that are missing are the network's decisions; pictures that cannot be read are left out; both are said. */
static void test_said(void **state)
{
    (void)state;
    write_manifest("fit.csv", 0, 9, 8);
    FILE *file = fopen(inside("fit.csv"), "a");
    assert_non_null(file);
    fputs("nowhere.png,1\n" IMAGES "/scene03.png,\n", file);
    assert_int_equal(fclose(file), 0);
    command_result r =
        evaluate("out", with_fit("fit.csv", "--sparsity 0.3"), 0, "3 of 12 pictures have no label: they are fitted to");
    assert_non_null(strstr(r.err, "1 picture is the same as another one in it ("));
    assert_non_null(strstr(r.err, "--fit: left out:"));
    assert_non_null(strstr(r.err, "nowhere.png: No such file"));
    assert_non_null(strstr(r.err, "--fit: 2 of the 2 pictures that are evaluated are in it as well"));
    assert_non_null(strstr(r.err, "(as the network decides for the 3 of all 11 that have none)"));
    assert_non_null(strstr(r.err, "--sparsity has no effect: no trace is made"));
    assert_null(strstr(r.err, "class_kept has no value"));
    command_clear(&r);
    json_t *results = results_load(inside("out"), "results.json");
    const json_t *fit = json_object_get(json_array_get(json_object_get(results, "columns"), 1), "fit");
    assert_true(number_in(fit, "unlabelled") == 3 && number_in(fit, "unreadable") == 1 &&
                number_in(fit, "fitted") == 9);
    json_decref(results);
    char *report = file_read(inside("out/report.html"), NULL);
    assert_non_null(strstr(report, "3 of 12 pictures have no label"));
    assert_non_null(strstr(report, "1 of the 12 pictures could not be read, and is left out"));
    assert_non_null(strstr(report, "2 of the 2 pictures that are evaluated are in it as well"));
    assert_non_null(strstr(report, "no picture is of "));
    free(report);
    write_manifest("fit.csv", 2, 11, 0);
    r = evaluate("none", with_fit("fit.csv", ""), 0, NULL);
    assert_null(strstr(r.err, "have no label"));
    assert_non_null(strstr(r.err, "% are decided as the network decides (no picture has a label)"));
    assert_true(!strstr(r.err, "right") && !strstr(r.err, "label says"));
    command_clear(&r);
}

/* A network whose last layer's outputs are pooled, or one of 12,288 features. */
static const char *save_network(bool pooled)
{
    static const int64_t dims[] = {4, 3, 1, 1}, wide[] = {3 * 64 * 64, 4};
    wire network = graph_of(3, 64, 64, 4);
    if (pooled) {
        put_tensor(&network, tensor_random("w", 4, dims, 1));
        put_node(&network, node_of("head", "Conv", "x w", "a"));
        put_node(&network, node_of("pool", "GlobalAveragePool", "a", "b"));
        put_node(&network, node_of("flat", "Flatten", "b", "y"));
    } else {
        put_tensor(&network, tensor_random("w", 2, wide, 1));
        put_node(&network, node_of("flat", "Flatten", "x", "a"));
        put_node(&network, node_of("head", "MatMul", "a w", "y"));
    }
    return test_save("net.onnx", model_of(network));
}

static void expect_refused(bool pooled, const char *arguments, const char *says)
{
    file_write(inside("fit.csv"), "image\nx.png\ny.png\nz.png\n", 24);
    command_result r = command_run("evaluate %s %s -o %s" FAST "%s", save_network(pooled), inside("fit.csv"),
                                   inside("out"), with_fit("fit.csv", arguments));
    if (r.code != 1 || !strstr(r.err, says)) { fail_msg("%d: %s", r.code, r.err); }
    command_clear(&r);
    assert_false(file_exists(inside("out")));
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *says;
        int code;
    } cases[] = {
        {"--traces fast,sparse_fc", "--traces sparse_fc needs --fit MANIFEST", 2},
        {"--traces fast --fit FIT", "--fit is for sparse_fc, which is not among --traces", 2},
        {"--no-trace --fit FIT", "--fit is for sparse_fc", 2},
        {"--traces sparse_fc,sparse_fc --fit FIT", "two are called sparse_fc", 2},
        {"--traces sparse_fc --fit FIT --fit-margin 2", "--fit-margin: 2 is not from 0 to 1", 2},
        {"--traces sparse_fc --fit nowhere.csv", "nowhere.csv: No such file", 1},
    };
    char arguments[500];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *at = strstr(cases[i].arguments, "FIT");
        const int before = at ? (int)(at - cases[i].arguments) : (int)strlen(cases[i].arguments);
        snprintf(arguments, sizeof arguments, "%.*s%s%s", before, cases[i].arguments, at ? inside("fit.csv") : "",
                 at ? at + 3 : "");
        done(evaluate("out", arguments, cases[i].code, cases[i].says));
        assert_false(file_exists(inside("out")));
    }
    write_manifest("one.csv", 7, 8, 2);
    done(evaluate("out", with_fit("one.csv", ""), 1, "one.csv: 2 pictures of 1 class: a layer that decides"));
    write_manifest("few.csv", 0, 3, 4);
    done(evaluate("out", with_fit("few.csv", ""), 1,
                  "few.csv: 4 pictures of 4 classes are too few to keep one in 5 aside"));
    file_write(inside("bad.csv"), "image,label\nx.png,77\n", 21);
    done(evaluate("out", with_fit("bad.csv", ""), 1, "label '77': no such class"));
    assert_false(file_exists(inside("out")));
    expect_refused(true, "",
                   "--traces sparse_fc: the network's outputs are not those of a linear layer of one vector of "
                   "features: node \"pool\" (average pooling) makes them");
    expect_refused(false, "--memory 2M", "fit.csv: 3 pictures of 12288 features take ");
    test_remove_folder();
    done(evaluate("out", "--no-trace --metric gini --fit-margin 0.1", 0, "--fit-margin has no effect"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_column, open_folder, close_folder),
                                       cmocka_unit_test_setup_teardown(test_goes_on, open_folder, close_folder),
                                       cmocka_unit_test_setup_teardown(test_said, open_folder, close_folder),
                                       cmocka_unit_test_setup_teardown(test_refused, open_folder, close_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
