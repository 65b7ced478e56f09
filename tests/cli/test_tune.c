/*
 * test_tune.c - spade tune as a command. What it says of a sparsity is what evaluate finds with it, by solving anew; what it chose is the
 * best of them; its configuration is one.
 */
#include <math.h>

#include "support/results.h"

#define MODEL SPADE_TEST_DATA "/models/scene_resnet.onnx"
#define IMAGES SPADE_TEST_DATA "/images"
#define FAST " --resize 0 --variants 8 --threads 1 -q "

static char *folder;

static const char *inside(const char *name)
{
    return path_inside(folder, name);
}

static int open_folder(void **state)
{
    (void)state;
    folder = folder_make();
    FILE *file = fopen(inside("m.csv"), "w");
    assert_non_null(file);
    fputs("image,mask\n", file);
    for (int i = 0; i < 4; i++) { fprintf(file, IMAGES "/scene0%d.png," IMAGES "/scene0%d_patch.png\n", i, i); }
    assert_int_equal(fclose(file), 0);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static json_t *tune(const char *arguments)
{
    command_result r =
        command_run("tune " MODEL " %s" FAST "--json %s -o %s", inside("m.csv"), arguments, inside("t.yaml"));
    if (r.code != 0) { fail_msg("%s: code %d: %s", arguments, r.code, r.err); }
    json_t *summary = json_loads(r.out, 0, NULL);
    assert_non_null(summary);
    command_clear(&r);
    return summary;
}

static double number_of(const json_t *object, const char *key)
{
    assert_true(json_is_number(json_object_get(object, key)));
    return json_number_value(json_object_get(object, key));
}

/* Mean ROC AUC of saliency on traces of this configuration, and the share of classes that change. */
static double evaluate(const char *manifest, const char *config, int seed, double *changed)
{
    command_result r = command_run("evaluate " MODEL " %s" FAST "--traces %s --seed %d -o %s --restart",
                                   inside(manifest), inside(config), seed, inside("e"));
    if (r.code != 0) { fail_msg("%s: code %d: %s", config, r.code, r.err); }
    command_clear(&r);
    json_t *all = json_load_file(inside("e/results.json"), 0, NULL);
    const json_t *summary = json_array_get(json_object_get(all, "summary"), 0);
    const json_t *row = json_array_get(json_object_get(summary, "rows"), 0);
    const double mean = number_of(json_array_get(json_object_get(row, "columns"), 1), "mean");
    *changed = 1 - number_of(json_array_get(json_object_get(summary, "decisions"), 1), "kept");
    json_decref(all);
    return mean;
}

/* The values of a stage are those of evaluate, and the choice is the best among those that may be taken. */
static void check_stage(const json_t *stage, double limit)
{
    const json_t *tried = json_object_get(stage, "tried");
    double best = -1, sparsity = -1;
    size_t i;
    json_t *value;
    assert_int_equal(json_array_size(tried), 7);
    json_array_foreach(tried, i, value)
    {
        if ((i == 0 || number_of(value, "changed") <= limit) && number_of(value, "mean") > best) {
            best = number_of(value, "mean");
            sparsity = number_of(value, "sparsity");
        }
    }
    assert_true(number_of(stage, "sparsity") == sparsity);
}

static void test_what_it_says_is_what_evaluate_finds(void **state)
{
    (void)state;
    static const char fc[] = "sparsity: [{layers: '*', value: 0}, {layers: fc, value: 0.8}]\n";
    double changed;
    json_t *summary = tune("--aside 0 --seeds 1 --max-changed 1 --all-stages --skip 'layer1.*'"), *stages, *value;
    stages = json_object_get(summary, "stages");
    assert_int_equal(json_array_size(stages), 6); /* fc, layer4.0, layer3.1, layer3.0, layer2.1, layer2.0 */
    assert_string_equal(json_string_value(json_object_get(json_array_get(stages, 0), "name")), "fc");
    for (size_t i = 0; i < 6; i++) { check_stage(json_array_get(stages, i), 0.25); }
    file_write(inside("fc.yaml"), fc, sizeof fc - 1);
    value = json_array_get(json_object_get(json_array_get(stages, 0), "tried"), 3);
    assert_true(fabs(number_of(value, "mean") - evaluate("m.csv", "fc.yaml", 0, &changed)) < 1e-6);
    assert_true(fabs(number_of(value, "changed") - changed) < 1e-9);
    const json_t *tuned = json_object_get(summary, "tuned");
    assert_true(number_of(tuned, "trace") > number_of(tuned, "dense"));
    assert_true(fabs(number_of(tuned, "trace") - evaluate("m.csv", "t.yaml", 0, &changed)) < 1e-6);
    assert_true(fabs(number_of(tuned, "changed") - changed) < 1e-9);
    assert_null(json_object_get(summary, "aside"));
    json_decref(summary);
}

/* Globs as stages, pictures kept aside, and a metric of which less is better. */
static void test_stages_of_ones_own(void **state)
{
    (void)state;
    json_t *summary =
        tune("--stages 'layer[34].*,fc' --seeds 2 --max-changed 1 --metric deletion:step=512 --variants 9");
    const json_t *stages = json_object_get(summary, "stages"), *aside = json_object_get(summary, "aside");
    assert_int_equal(json_array_size(stages), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(stages, 1), "name")), "layer[34].*");
    assert_string_equal(json_string_value(json_object_get(summary, "better")), "lower");
    assert_true(number_of(json_object_get(summary, "tuned"), "pictures") == 3);
    assert_true(number_of(aside, "pictures") == 1);
    char *config = file_read(inside("t.yaml"), NULL);
    assert_non_null(strstr(config, "variants: 9\n"));
    assert_non_null(strstr(config, "{layers: \"*\", value: 0}"));
    free(config);
    json_decref(summary);
}

/* Copies of one picture: what is kept aside was tuned on, which is said; and its value is that of all seeds. */
static void test_copies_and_seeds(void **state)
{
    (void)state;
    FILE *file = fopen(inside("copies.csv"), "w");
    assert_non_null(file);
    fputs("image,mask\n", file);
    for (int i = 0; i < 3; i++) {
        char name[16];
        size_t size = 0;
        snprintf(name, sizeof name, "%d.png", i);
        char *picture = file_read(IMAGES "/scene01.png", &size);
        file_write(inside(name), picture, size);
        fprintf(file, "%d.png," IMAGES "/scene01_patch.png\n", i);
        free(picture);
    }
    assert_int_equal(fclose(file), 0);
    command_result r = command_run("tune " MODEL " %s --resize 0 --variants 8 --threads 1 --seeds 2 --max-changed 1 "
                                   "--stages 'layer4.*' --json -o %s",
                                   inside("copies.csv"), inside("copies.yaml"));
    assert_int_equal(r.code, 0);
    if (!strstr(r.err, "1 of the 1 pictures kept aside is the same as one that is tuned on")) { fail_msg("%s", r.err); }
    json_t *summary = json_loads(r.out, 0, NULL);
    const json_t *aside = json_object_get(summary, "aside");
    double first, second;
    const double trace =
        evaluate("copies.csv", "copies.yaml", 0, &first) + evaluate("copies.csv", "copies.yaml", 1, &second);
    assert_true(fabs(number_of(aside, "trace") - trace / 2) < 1e-6);
    assert_true(fabs(number_of(aside, "trace") - number_of(json_object_get(summary, "tuned"), "trace")) < 1e-9);
    assert_true(fabs(number_of(aside, "changed") - (first + second) / 2) < 1e-9);
    json_decref(summary);
    command_clear(&r);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *says;
        int code;
    } cases[] = {
        {"--metric roc_auc,pointing", "one is tuned for, not 2", 2},
        {"--metric class_kept", "not worth tuning for", 2},
        {"--stages 'layer9.*'", "'layer9.*' matches no prunable layer", 2},
        {"--stages 'layer4.*,layer4.0.*'", "two of them match layer layer4.0.conv1", 2},
        {"--stages '*' --skip 'layer*,fc'", "no layer is left to be pruned", 2},
        {"--aside 1.5", "1.5 is not from 0 to 1", 2},
        {"--nm 2:4", "leaves no sparsity to be tuned", 2},
        {"--class 1,2", "one class of each picture", 2},
        {"--solver random --stages 'layer*' --seeds 1 --aside 0 --max-changed 0", "no sparsity of any stage is better",
         1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        command_result r =
            command_run("tune " MODEL " %s" FAST "%s -o %s", inside("m.csv"), cases[i].arguments, inside("no.yaml"));
        if (r.code != cases[i].code || !strstr(r.err, cases[i].says)) {
            fail_msg("%s: code %d: %s", cases[i].arguments, r.code, r.err);
        }
        command_clear(&r);
        assert_false(file_exists(inside("no.yaml")));
    }
    command_result r = command_run("tune " MODEL " %s" FAST "-o %s", inside("m.csv"), inside("m.csv"));
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "ends in .yaml"));
    command_clear(&r);
}

/* A picture that is not there is named and left out; what cannot be kept leaves nothing behind. */
static void test_what_fails(void **state)
{
    (void)state;
    static const char rows[] = "image,mask\n" IMAGES "/scene00.png," IMAGES "/scene00_patch.png\nnone.png,\n";
    file_write(inside("gone.csv"), rows, sizeof rows - 1);
    command_result r = command_run("tune " MODEL " %s" FAST "--aside 0 --seeds 1 --max-changed 1 -o %s",
                                   inside("gone.csv"), inside("gone.yaml"));
    if (r.code != 3 || !strstr(r.err, "none.png: No such file")) { fail_msg("code %d: %s", r.code, r.err); }
    command_clear(&r);
    assert_true(file_exists(inside("gone.yaml")));

    char line[1024];
    snprintf(line, sizeof line, "(ulimit -f 8; exec %s tune " MODEL " %s" FAST "--seeds 1 -o %s 2>%s)", SPADE_COMMAND,
             inside("m.csv"), inside("no.yaml"), inside("said"));
    assert_int_equal(WEXITSTATUS(system(line)), 1);
    char *said = file_read(inside("said"), NULL);
    assert_non_null(strstr(said, "a temporary file of solved layers cannot be written"));
    free(said);
    assert_false(file_exists(inside("no.yaml")));
}

/* Sparsities that were asked for are not written: they would win over the tuned ones when the file is read. What else was, is. */
static void test_rules_of_before(void **state)
{
    (void)state;
    static const char before[] =
        "variants: 8\nrules:\n  - {layers: 'layer3.*', sparsity: 0.99}\n"
        "  - {layers: fc, solver: magnitude}\nsparsity:\n  - {layers: 'layer4.*', value: 0.2}\n";
    double changed;
    file_write(inside("before.yaml"), before, sizeof before - 1);
    char arguments[512];
    snprintf(arguments, sizeof arguments, "--aside 0 --seeds 1 --max-changed 1 --stages 'layer[34].*,fc' --config %s",
             inside("before.yaml"));
    json_t *summary = tune(arguments);
    char *config = file_read(inside("t.yaml"), NULL);
    assert_null(strstr(config, "0.99"));
    assert_non_null(strstr(config, "magnitude"));
    free(config);
    const json_t *tuned = json_object_get(summary, "tuned");
    assert_true(number_of(tuned, "trace") > number_of(tuned, "dense"));
    assert_true(fabs(number_of(tuned, "trace") - evaluate("m.csv", "t.yaml", 0, &changed)) < 1e-6);
    json_decref(summary);

    command_result r =
        command_run("tune " MODEL " %s" FAST "%s -o %s", inside("m.csv"), arguments, inside("before.yaml"));
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "before.yaml, which the run reads; choose another name"));
    command_clear(&r);
}

/* The network with the block layer3.1 renamed, which its weights' names are part of. */
static void write_renamed(const char *path, char number)
{
    static const char block[] = "layer3.1.";
    size_t size = 0;
    char *bytes = file_read(MODEL, &size);
    assert_non_null(bytes);
    for (size_t i = 0; i + sizeof block - 1 <= size; i++) {
        if (memcmp(bytes + i, block, sizeof block - 1) == 0) { bytes[i + sizeof block - 3] = number; }
    }
    file_write(path, bytes, size);
    free(bytes);
}

/* A layer whose name is a glob stands for itself: layer3.*. is no word for layer3.0. */
static void test_names_that_are_globs(void **state)
{
    (void)state;
    char *results[2];
    for (int i = 0; i < 2; i++) {
        write_renamed(inside("named.onnx"), i ? '*' : '1');
        command_result r =
            command_run("tune %s %s" FAST "--json --seeds 1 --max-changed 1 --stages '%s' -o %s", inside("named.onnx"),
                        inside("m.csv"), i ? "layer3.\\*.*" : "layer3.1.*", inside("named.yaml"));
        if (r.code != 0) { fail_msg("code %d: %s", r.code, r.err); }
        json_t *summary = json_loads(r.out, 0, NULL);
        const json_t *stage = json_array_get(json_object_get(summary, "stages"), 0);
        assert_true(number_of(stage, "sparsity") > 0);
        assert_int_equal(json_array_size(json_object_get(stage, "layers")), 3);
        results[i] = json_dumps(json_object_get(summary, "aside"), JSON_SORT_KEYS);
        json_decref(summary);
        command_clear(&r);
    }
    assert_string_equal(results[0], results[1]);
    free(results[0]);
    free(results[1]);
}

/* A map that says nothing is warned about by the name of the trace. */
static void test_maps_of_zeros(void **state)
{
    (void)state;
    command_result r = command_run("tune " MODEL " %s --resize 0 --variants 2 --threads 1 --aside 0 --seeds 1 "
                                   "--max-changed 1 --solver random --method guided_gradcam --stages '*' -o %s",
                                   inside("m.csv"), inside("zeros.yaml"));
    assert_non_null(strstr(r.err, "guided_gradcam on the trace of sparsity 0.99 is 0 everywhere"));
    command_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_it_says_is_what_evaluate_finds),
                                       cmocka_unit_test(test_stages_of_ones_own),
                                       cmocka_unit_test(test_copies_and_seeds),
                                       cmocka_unit_test(test_what_is_refused),
                                       cmocka_unit_test(test_what_fails),
                                       cmocka_unit_test(test_rules_of_before),
                                       cmocka_unit_test(test_names_that_are_globs),
                                       cmocka_unit_test(test_maps_of_zeros)};
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
