/* test_evaluate.c - spade evaluate as a command: values per picture, the summary over them, what has no values and why, going on with
 * what is there, and what is refused. */
#include <dirent.h>
#include <math.h>
#include <sys/stat.h>

#include "support/results.h"

#define MODELS SPADE_TEST_DATA "/models"
#define IMAGES SPADE_TEST_DATA "/images"
#define FAST " --resize 0 --variants 8 --threads 1 -q "

static char *folder;
static const char *const scenes[4][2] = {{"scene00", "1"}, {"scene01", "5"}, {"scene02", "8"}, {"scene03", "3"}};

static const char *inside(const char *name)
{
    return path_inside(folder, name);
}

/* The first scenes, with labels and masks. */
static void write_manifest(const char *name, int count)
{
    FILE *file = fopen(inside(name), "w");
    assert_non_null(file);
    fputs("image,label,mask\n", file);
    for (int i = 0; i < count; i++) {
        fprintf(file, IMAGES "/%s.png,%s," IMAGES "/%s_patch.png\n", scenes[i][0], scenes[i][1], scenes[i][0]);
    }
    assert_int_equal(fclose(file), 0);
}

static int open_folder(void **state)
{
    (void)state;
    folder = folder_make();
    write_manifest("m.csv", 4);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static char *evaluate(const char *model, const char *arguments, int code, const char *says)
{
    command_result r = command_run("evaluate " MODELS "/%s %s" FAST "%s", model, inside("m.csv"), arguments);
    if (r.code != code || (says && !strstr(r.err, says))) { fail_msg("%s: code %d: %s", arguments, r.code, r.err); }
    char *out = strdup(r.out);
    command_clear(&r);
    return out;
}

static void done(char *out)
{
    free(out);
}

/* Of results.json the row of the summary. */
static const json_t *row_of(const json_t *results, const char *metric, const char *method)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(json_array_get(json_object_get(results, "summary"), 0), "rows"), i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "metric")), metric) == 0 &&
            strcmp(json_string_value(json_object_get(row, "method")), method) == 0) {
            return row;
        }
    }
    fail_msg("no row %s of %s", metric, method);
    return NULL;
}

static double in_row(const json_t *row, size_t column, const char *key)
{
    return json_number_value(json_object_get(json_array_get(json_object_get(row, "columns"), column), key));
}

static double value_of(const json_t *results, size_t picture, size_t method, size_t metric, size_t column)
{
    const json_t *values = json_object_get(json_array_get(json_object_get(results, "inputs"), picture), "values");
    return json_number_value(json_array_get(json_array_get(json_array_get(values, method), metric), column));
}

/* The golden ROC AUC of saliency for the labels, and means and differences over the pictures. */
static void test_values(void **state)
{
    (void)state;
    char arguments[400];
    json_error_t error;
    snprintf(
        arguments, sizeof arguments,
        "-o %s --class label --traces fast,magnitude --method saliency,deeplift --metric roc_auc,insertion:step=512",
        inside("out"));
    done(evaluate("scene_resnet.onnx", arguments, 0, NULL));
    json_t *results = results_load(inside("out"), "results.json"),
           *golden = json_load_file(SPADE_TEST_DATA "/metrics.json", 0, &error);
    for (size_t metric = 0; metric < 2; metric++) {
        const char *const metrics[] = {"roc_auc", "insertion"};
        double sums[2][3] = {{0}}, means[3] = {0};
        int better = 0;
        for (size_t p = 0; p < 4; p++) {
            for (size_t m = 0; m < 2; m++) {
                for (size_t c = 0; c < 3; c++) { sums[m][c] += value_of(results, p, m, metric, c); }
            }
            better += value_of(results, p, 0, metric, 2) > value_of(results, p, 0, metric, 0);
        }
        for (size_t m = 0; m < 2; m++) {
            const json_t *row = row_of(results, metrics[metric], m ? "deeplift" : "saliency");
            for (size_t c = 0; c < 3; c++) {
                assert_true(fabs(in_row(row, c, "mean") - sums[m][c] / 4) < 1e-12);
                means[c] += sums[m][c] / 8;
                if (!c) { continue; }
                const double difference = (sums[m][c] - sums[m][0]) / 4;
                assert_true(fabs(in_row(row, c, "difference") - difference) < 1e-12);
                assert_true(in_row(row, c, "low") <= difference && difference <= in_row(row, c, "high"));
            }
        }
        assert_true(in_row(row_of(results, metrics[metric], "saliency"), 2, "better") == better / 4.0);
        for (size_t c = 0; c < 3; c++) {
            assert_true(fabs(in_row(row_of(results, metrics[metric], "mean"), c, "mean") - means[c]) < 1e-12);
        }
    }
    for (size_t p = 0; p < 4; p++) {
        const double auc = json_number_value(json_object_get(json_array_get(golden, p), "roc_auc"));
        assert_true(fabs(value_of(results, p, 0, 0, 0) - auc) < 1e-5);
    }
    json_decref(results);
    json_decref(golden);
}

/* A byte of the first drawing is changed, at the end, in the index or in the first line, and the run repeated. */
static void damage_tiles(const char *gallery, int where)
{
    char path[500];
    size_t size = 0;
    struct dirent **entries;
    const int count = scandir(gallery, &entries, NULL, alphasort);
    assert_true(count > 2); /* after . and .. */
    snprintf(path, sizeof path, "%s/%s", gallery, entries[2]->d_name);
    for (int i = 0; i < count; i++) { free(entries[i]); }
    free(entries);
    char *bytes = file_read(path, &size);
    bytes[where == 0 ? size - 30 : where == 1 ? 34 : 5] ^= 1;
    file_write(path, bytes, size);
    free(bytes);
    command_result r =
        command_run("evaluate " MODELS "/scene_resnet.onnx %s --resize 0 --variants 8 --threads 2 -o %s --metric "
                    "roc_auc,energy --gallery 1",
                    inside("m.csv"), inside("b"));
    if (r.code != 0 || !strstr(r.err, "it is not what was written there for scene0")) { fail_msg("%s", r.err); }
    command_clear(&r);
    assert_same_folders(inside("a"), inside("b"));
}

/* Pictures that are there already are not made again, and the files are those of one run. */
static void test_goes_on(void **state)
{
    (void)state;
    char arguments[300];
    snprintf(arguments, sizeof arguments, "-o %s --metric roc_auc,energy --gallery 1", inside("a"));
    write_manifest("m.csv", 2);
    done(evaluate("scene_resnet.onnx", arguments, 0, NULL));
    write_manifest("m.csv", 4);
    command_result r = command_run("evaluate " MODELS "/scene_resnet.onnx %s --resize 0 --variants 8 --threads 2 %s",
                                   inside("m.csv"), arguments);
    if (r.code != 0 || !strstr(r.out, "4 pictures evaluated (2 before)")) {
        fail_msg("%d: %s%s", r.code, r.out, r.err);
    }
    assert_non_null(strstr(r.out, "Energy on the mask"));
    assert_non_null(strstr(r.out, "decides as the label says"));
    assert_non_null(strstr(r.out, "ROC AUC, higher is better"));
    command_clear(&r);
    snprintf(arguments, sizeof arguments, "-o %s --metric roc_auc,energy --gallery 1", inside("b"));
    done(evaluate("scene_resnet.onnx", arguments, 0, NULL));
    assert_same_folders(inside("a"), inside("b"));
    assert_int_equal(files_count(inside("a/gallery"), ".tiles"), 2); /* the one that gained, the one that lost */
    /* without the report, and then with it: drawings that are not there are made again */
    snprintf(arguments, sizeof arguments, "-o %s --metric roc_auc,energy --no-report", inside("b"));
    done(evaluate("scene_resnet.onnx", arguments, 0, NULL));
    assert_false(file_exists(inside("b/report.html")) || file_exists(inside("b/gallery")));
    snprintf(arguments, sizeof arguments, "-o %s --metric roc_auc,energy --gallery 1", inside("b"));
    done(evaluate("scene_resnet.onnx", arguments, 0, NULL));
    assert_same_folders(inside("a"), inside("b"));
    /* a drawing whose bytes were changed is made again, and said */
    for (int i = 0; i < 3; i++) { damage_tiles(inside("b/gallery"), i); }
    /* another question in the same folder */
    snprintf(arguments, sizeof arguments, "-o %s --metric roc_auc --no-trace", inside("a"));
    done(evaluate("scene_resnet.onnx", arguments, 2,
                  "another configuration (columns: [\"dense\",\"trace\"], now [\"dense\"])"));
    snprintf(arguments, sizeof arguments, "-o %s --metric roc_auc", inside("a"));
    done(evaluate("scene_resnet.onnx", arguments, 2, "another configuration (configuration.metrics: "));
    strcat(arguments, " --restart");
    done(evaluate("scene_resnet.onnx", arguments, 0, NULL));
}

/* ---- the report */

/* A picture of the expected gallery. */
typedef struct shown {
    double gain;
    size_t picture;
} shown;

static int by_gain(const void *a, const void *b)
{
    const shown *left = a, *right = b;
    if (left->gain != right->gain) { return left->gain < right->gain ? 1 : -1; }
    return (int)left->picture - (int)right->picture;
}

/* The pictures of a pair in the report, in their order: names, of which each begins with a blank. */
static void read_pair(const char *report, int method, int column, char names[400])
{
    static const char shot[] = "<figure class=\"shot\"><div class=\"head\"><b>";
    char class[60];
    snprintf(class, sizeof class, "<section class=\"card m%d c%d\">", method, column);
    const char *at = strstr(report, class), *end = at ? strstr(at, "</section>") : NULL;
    *names = 0;
    if (!at || !end) {
        fail_msg("no %s", class);
        return;
    }
    while ((at = strstr(at, shot)) && at < end) {
        at += strlen(shot);
        snprintf(names + strlen(names), 400 - strlen(names), " %.*s", (int)strcspn(at, "<"), at);
    }
}

/* Those that gained, most first, and then those that lost, most first. */
static void check_pair(const char *report, const json_t *results, int method, int column)
{
    shown all[4];
    char expected[400] = "", found[400];
    for (size_t p = 0; p < 4; p++) {
        all[p].picture = p;
        all[p].gain = value_of(results, p, (size_t)method, 1, 0) -
                      value_of(results, p, (size_t)method, 1, (size_t)column); /* the lower the better */
    }
    qsort(all, 4, sizeof *all, by_gain);
    for (int i = 0; i < 4 && all[i].gain > 0; i++) {
        snprintf(expected + strlen(expected), sizeof expected - strlen(expected), " %s", scenes[all[i].picture][0]);
    }
    for (int i = 3; i >= 0 && all[i].gain < 0; i--) {
        snprintf(expected + strlen(expected), sizeof expected - strlen(expected), " %s", scenes[all[i].picture][0]);
    }
    read_pair(report, method, column, found);
    assert_string_equal(found, expected);
}

/* A metric of the traces has one value for all methods: in the record beside what the trace decides, and one row. */
static void check_of_traces(const json_t *results)
{
    size_t i, rows = 0;
    const json_t *row, *record = json_array_get(json_object_get(results, "inputs"), 0);
    json_array_foreach(json_object_get(json_array_get(json_object_get(results, "summary"), 0), "rows"), i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "metric")), "class_kept") != 0) { continue; }
        assert_true(json_is_null(json_object_get(row, "method")));
        rows++;
    }
    assert_int_equal(rows, 1);
    assert_true(
        json_is_null(json_array_get(json_array_get(json_array_get(json_object_get(record, "values"), 0), 0), 1)));
    for (size_t column = 0; column < 3; column++) {
        const json_t *network = json_array_get(json_object_get(record, "networks"), column);
        assert_true(json_is_number(json_object_get(network, "class_kept")) == (column > 0));
    }
    char *csv = file_read(inside("out/results.csv"), NULL), *line = strstr(csv, "class_kept");
    int lines = 0;
    for (; line; line = strstr(line + 1, "class_kept")) { lines++; }
    assert_true(lines == 4 && strstr(csv, ",0,,,,class_kept,,,"));
    free(csv);
}

static void test_report(void **state)
{
    (void)state;
    char arguments[400];
    size_t size;
    static const char labels[] = "<b>x</b>\n\"1\"\n2\n3\n4\n5\n6\n7\n8&\n9\n";
    FILE *file = fopen(inside("m.csv"), "a");
    assert_non_null(file);
    fputs("<i>.png,1,\n", file);
    assert_int_equal(fclose(file), 0);
    file_write(inside("labels"), labels, sizeof labels - 1);
    snprintf(arguments, sizeof arguments,
             "-o %s --labels %s --class 0 --traces magnitude,random --method saliency,smoothgrad:samples=2 --metric "
             "class_kept,deletion:step=512,gini",
             inside("out"), inside("labels"));
    done(evaluate("scene_resnet.onnx", arguments, 3, "<i>.png"));
    json_t *results = results_load(inside("out"), "results.json");
    char *report = file_read(inside("out/report.html"), &size);
    assert_non_null(report);
    for (int method = 0; method < 2; method++) {
        for (int column = 1; column < 3; column++) { check_pair(report, results, method, column); }
    }
    check_of_traces(results);
    assert_non_null(strstr(report, "lower is better"));
    assert_non_null(strstr(report, "&lt;b&gt;x&lt;/b&gt;"));
    assert_non_null(strstr(report, "/&lt;i&gt;.png"));
    assert_true(!strstr(report, "<b>x</b>") && !strstr(report, "<i>.png") && !strstr(report, "http:"));
    json_decref(results);
    free(report);
}

/* Of the network alone the best and the worst maps, each picture once; of metrics of traces alone there is no gallery. */
static void test_report_alone(void **state)
{
    (void)state;
    char arguments[300], names[400];
    snprintf(arguments, sizeof arguments, "-o %s --no-trace --metric roc_auc --gallery 3", inside("out"));
    done(evaluate("scene_resnet.onnx", arguments, 0, NULL));
    char *report = file_read(inside("out/report.html"), NULL);
    read_pair(report, 0, 0, names);
    assert_int_equal(strlen(names), 4 * strlen(" scene00"));
    for (size_t i = 0; i < 4; i++) { assert_non_null(strstr(names, scenes[i][0])); }
    free(report);
    snprintf(arguments, sizeof arguments, "-o %s --restart --metric class_kept", inside("out"));
    done(evaluate("scene_resnet.onnx", arguments, 0, NULL));
    report = file_read(inside("out/report.html"), NULL);
    assert_true(strstr(report, "Class kept") && !strstr(report, "Gallery") && !file_exists(inside("out/gallery")));
    free(report);
}

/* A method that has no rule for one of the network's operators has no values, and the others have theirs. */
static void test_uncovered(void **state)
{
    (void)state;
    char arguments[300];
    snprintf(arguments, sizeof arguments, "-o %s --no-trace --method saliency,guided_backprop --metric pointing",
             inside("out"));
    done(evaluate("scene_vit.onnx", arguments, 0, NULL));
    json_t *results = results_load(inside("out"), "results.json");
    const json_t *uncovered = json_object_get(json_array_get(json_object_get(results, "summary"), 0), "uncovered");
    assert_int_equal(json_array_size(uncovered), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(uncovered, 0), "method")), "guided_backprop");
    assert_int_equal(strncmp(json_string_value(json_object_get(json_array_get(uncovered, 0), "reason")),
                             "guided backpropagation has no rule", 34),
                     0);
    assert_true(in_row(row_of(results, "pointing", "saliency"), 0, "count") == 4);
    json_decref(results);
    size_t size;
    char *csv = file_read(inside("out/results.csv"), &size);
    assert_true(strstr(csv, ",saliency,,pointing,,") && !strstr(csv, "guided"));
    free(csv);
}

static void copy_picture(const char *to)
{
    size_t size = 0;
    char *bytes = file_read(IMAGES "/scene00.png", &size);
    assert_non_null(bytes);
    file_write(inside(to), bytes, size);
    free(bytes);
}

static int64_t label_of(const json_t *results, size_t picture)
{
    return json_integer_value(
        json_object_get(json_array_get(json_object_get(results, "inputs"), picture), "label_class"));
}

/* What has no effect is named, also in configurations of traces; and what has is not. */
static void test_without_effect(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *says; /* NULL: no warning at all */
    } cases[] = {
        {"--traces fast,magnitude --damping 0.1", NULL},
        {"--traces magnitude --damping 0.1", "--damping has no effect"},
        {"--traces fast,magnitude --layers fc --block 2 --linear-block 4", "--block has no effect: no layer"},
        {"--traces fast,magnitude --layers fc --linear-block 4 --seed 1", NULL},
        {"--traces fast,random --solver random", "--solver has no effect: --traces says"},
        {"--metric completeness", "completeness has no value: it says nothing of these methods' maps"},
        {"--no-trace --metric gini,class_kept", "class_kept has no value: no trace is made"},
        {"--mask " IMAGES, "--mask has no effect: the manifest has every picture's"},
        {"--mask " IMAGES " --metric gini", "--mask has no effect: no metric"},
    };
    char yaml[] = "sparsity: 0.9\nlayers: [fc]\nlinear_block: 4\nblock: 2\nvariants: 4\nresize: 0\noutput: scores\n",
         arguments[500];
    file_write(inside("c.yaml"), yaml, sizeof yaml - 1);
    for (size_t i = 0; i <= sizeof cases / sizeof *cases; i++) {
        const bool own = i == sizeof cases / sizeof *cases;
        snprintf(arguments, sizeof arguments, "--traces %s --sparsity 0.2", inside("c.yaml"));
        command_result r = command_run(
            "evaluate " MODELS "/scene_resnet.onnx %s -o %s --resize 0 %s --restart %s", inside("m.csv"), inside("out"),
            own || strstr(cases[i].arguments, "no-trace") ? "" : "--variants 8", own ? arguments : cases[i].arguments);
        const char *says = own ? "--sparsity has no effect: every trace has a configuration" : cases[i].says;
        if (r.code != 0 || (says ? !strstr(r.err, says) : strstr(r.err, "warning") != NULL) ||
            (own && (!strstr(r.err, "c.yaml: variants, output have no effect: for all traces that") ||
                     !strstr(r.err, "c: block has no effect: no layer")))) {
            fail_msg("%s: %d: %s", own ? arguments : cases[i].arguments, r.code, r.err);
        }
        command_clear(&r);
    }
}

/* Labels of a tree are its folders: numbers or names of classes, or all of them in their order; nothing in between. */
static void test_tree(void **state)
{
    (void)state;
    char names[16], arguments[400];
    const char *const command =
        "evaluate " MODELS "/scene_resnet.onnx %s -o %s" FAST "--no-trace --metric gini --class label %s";
    assert_int_equal(mkdir(inside("t"), 0700), 0);
    for (int i = 0; i < 9; i++) { /* one class is not there yet */
        snprintf(names, sizeof names, "t/c%d", i);
        assert_int_equal(mkdir(inside(names), 0700), 0);
    }
    copy_picture("t/c3/a.png");
    copy_picture("t/c1/b.png");
    command_result r = command_run(command, inside("t"), inside("out"), "");
    if (r.code != 1 || !strstr(r.err, "not called as classes are (c1), nor are there as many as classes: 9 for 10")) {
        fail_msg("%d: %s", r.code, r.err);
    }
    command_clear(&r);
    assert_int_equal(mkdir(inside("t/c9"), 0700), 0);
    r = command_run(command, inside("t"), inside("out"), "");
    if (r.code != 0) { fail_msg("%d: %s", r.code, r.err); }
    command_clear(&r);
    json_t *results = results_load(inside("out"), "results.json");
    assert_true(label_of(results, 0) == 1 && label_of(results, 1) == 3);
    json_decref(results);
    /* by names, of which one is no class's */
    snprintf(arguments, sizeof arguments, "--restart --labels %s", inside("labels"));
    static const char labels[] = "x\nc3\ny\nz\nu\nv\nw\nc1\nr\ns\n";
    file_write(inside("labels"), labels, sizeof labels - 1);
    r = command_run(command, inside("t"), inside("out"), arguments);
    if (r.code != 0) { fail_msg("%d: %s", r.code, r.err); }
    command_clear(&r);
    results = results_load(inside("out"), "results.json");
    assert_true(label_of(results, 0) == 7 && label_of(results, 1) == 1);
    json_decref(results);
    copy_picture("t/c5/c.png");
    r = command_run(command, inside("t"), inside("out"), arguments);
    if (r.code != 1 || !strstr(r.err, "c5/c.png: label 'c5': no such class;")) { fail_msg("%d: %s", r.code, r.err); }
    command_clear(&r);
}

/* Folders that are numbers, and are called as --labels calls other classes: nobody guesses, whatever the order would say. */
static void test_folders_of_two_meanings(void **state)
{
    static const char labels[] = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n";
    char name[32];
    (void)state;
    file_write(inside("labels"), labels, sizeof labels - 1);
    assert_int_equal(mkdir(inside("t"), 0700), 0);
    for (int i = 1; i <= 10; i++) {
        snprintf(name, sizeof name, "t/%d", i);
        assert_int_equal(mkdir(inside(name), 0700), 0);
        strcat(name, "/a.png");
        copy_picture(name);
    }
    command_result r =
        command_run("evaluate " MODELS "/scene_resnet.onnx %s -o %s --labels %s --metric gini --class label " FAST,
                    inside("t"), inside("out"), inside("labels"));
    if (r.code != 1 || !strstr(r.err, "is the number of one class and the name of another")) {
        fail_msg("%d: %s", r.code, r.err);
    }
    command_clear(&r);
}

/* What stands beside the folders, is there twice, or in a column with another name, is said. */
static void test_said(void **state)
{
    (void)state;
    assert_int_equal(mkdir(inside("t"), 0700), 0);
    assert_int_equal(mkdir(inside("t/1"), 0700), 0);
    copy_picture("t/1/a.png");
    copy_picture("t/b.png");
    assert_int_equal(mkdir(inside("t/out"), 0700), 0);
    file_write(inside("t/out/results.jsonl"), "{}\n", 3);
    copy_picture("t/out/d.png");
    assert_int_equal(symlink("a.png", inside("t/1/c.png")), 0);
    command_result r = command_run("evaluate " MODELS "/scene_resnet.onnx %s -o %s --resize 0 --no-trace --metric gini",
                                   inside("t"), inside("out"));
    if (r.code != 0 || !strstr(r.err, "not read: 2 entries beside the classes' folders (b.png, ...)") ||
        !strstr(r.err, "1 picture is there more than once")) {
        fail_msg("%d: %s", r.code, r.err);
    }
    command_clear(&r);
    static const char rows[] = "image,label\nt/1/a.png,1\nt/b.png,1\nt/1/a.png,1\nt/1/a.png,\nt/1/a.png,1\n";
    file_write(inside("m.csv"), rows, sizeof rows - 1);
    r = command_run("evaluate " MODELS "/scene_resnet.onnx %s -o %s3 --resize 0 --no-trace --metric gini",
                    inside("m.csv"), inside("out"));
    if (r.code != 0 || !strstr(r.err, "2 rows are there more than once, and count so (") ||
        !strstr(r.out, "5 pictures evaluated")) {
        fail_msg("%d: %s%s", r.code, r.err, r.out);
    }
    command_clear(&r);
    file_write(inside("m.csv"), "image,lable\nt/1/a.png,1\n", 24);
    r = command_run("evaluate " MODELS "/scene_resnet.onnx %s -o %s2 --resize 0 --no-trace --metric gini",
                    inside("m.csv"), inside("out"));
    if (r.code != 0 || !strstr(r.err, "column that is not read: 'lable'")) { fail_msg("%d: %s", r.code, r.err); }
    command_clear(&r);
}

static void test_failures(void **state)
{
    (void)state;
    char arguments[300];
    FILE *file = fopen(inside("m.csv"), "a");
    assert_non_null(file);
    fputs("nowhere.png,1,\n", file);
    assert_int_equal(fclose(file), 0);
    snprintf(arguments, sizeof arguments, "-o %s --no-trace", inside("out"));
    done(evaluate("scene_resnet.onnx", arguments, 3, "nowhere.png: No such file or directory"));
    json_t *results = results_load(inside("out"), "results.json");
    assert_int_equal(json_array_size(json_object_get(results, "inputs")), 4);
    assert_int_equal(json_array_size(json_object_get(results, "failed")), 1);
    json_decref(results);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *says;
        int code;
    } cases[] = {
        {"--class 1,2", "evaluate explains one class", 2},
        {"--traces fast,best", "'best' is neither", 2},
        {"--traces fast,fast", "two are called fast", 2},
        {"--traces fast --no-trace", "exclude each other", 2},
        {"--batch x.npy", "unknown option", 2},
        {"-r", "unknown option", 2},
        {"--metric accuracy", "accuracy", 2},
        {"--method gradcam:layer=nowhere", "nowhere", 2},
    };
    char arguments[300];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(arguments, sizeof arguments, "-o %s %s", inside("out"), cases[i].arguments);
        done(evaluate("scene_resnet.onnx", arguments, cases[i].code, cases[i].says));
        assert_false(file_exists(inside("out")));
    }
    assert_int_equal(mkdir(inside("own"), 0700), 0);
    write_manifest("own/results.csv", 1);
    command_result r =
        command_run("evaluate " MODELS "/scene_resnet.onnx %s -o %s" FAST, inside("own/results.csv"), inside("own"));
    if (r.code != 2 || !strstr(r.err, "its results.csv is the manifest")) { fail_msg("%d: %s", r.code, r.err); }
    command_clear(&r);
    file_write(inside("m.csv"), "image,label\nx.png,1\n", 20);
    file_write(inside("labels"), "1\n0\n2\n3\n4\n5\n6\n7\n8\n9\n", 20);
    snprintf(arguments, sizeof arguments, "-o %s --labels %s --metric gini", inside("out"), inside("labels"));
    done(
        evaluate("scene_resnet.onnx", arguments, 1, "label '1' is the number of one class and the name of another, 0"));
    file_write(inside("m.csv"), "image\nx.png\n", 12);
    snprintf(arguments, sizeof arguments, "-o %s", inside("out"));
    done(evaluate("scene_resnet.onnx", arguments, 2, "roc_auc needs masks"));
    strcat(arguments, " --class label --metric gini");
    done(evaluate("scene_resnet.onnx", arguments, 2, "has no labels"));
    file_write(inside("m.csv"), "image,label\nx.png,x\n", 20);
    done(evaluate("scene_resnet.onnx", arguments, 1,
                  "label 'x': no such class (the network names none, --labels does); the network has"));
    file_write(inside("m.csv"), "image,label\nx.png,77\n", 21);
    done(evaluate("scene_resnet.onnx", arguments, 1, "label '77': no such class;"));
    assert_false(file_exists(inside("out")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_goes_on, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_report, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_report_alone, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_uncovered, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_without_effect, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_tree, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_folders_of_two_meanings, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_said, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_failures, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_refused, open_folder, close_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
