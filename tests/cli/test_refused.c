/* test_refused.c - what cannot be done is said before any work, and leaves nothing behind; what will be less than what was
 * asked for is said as well. */
#include <jansson.h>

#include "support/command.h"
#include "spade/spade.h"
#include "support/context.h"

#define MODELS SPADE_TEST_DATA "/models"
#define PICTURES SPADE_TEST_DATA "/images"
#define PICTURE PICTURES "/scene00.png"
#define ARRAY SPADE_TEST_DATA "/arrays/inputs.npy"

/* A refused run: its exit code, and what it says. The folder of results lies in one that is not there either. */
static void expect_refused(const char *arguments, int code, const char *says)
{
    char *folder = folder_make(), path[300];
    snprintf(path, sizeof path, "%s/new", folder);
    command_result result = command_run("explain --resize 0 --variants 8 -o %s/results %s", path, arguments);
    if (result.code != code || !strstr(result.err, says)) {
        fail_msg("explain %s: code %d: %s", arguments, result.code, result.err);
    }
    if (file_exists(path)) { fail_msg("explain %s: leaves %s", arguments, path); }
    command_clear(&result);
    folder_remove(folder);
}

static void test_leaves_nothing(void **state)
{
    (void)state;
    /* by the command, the network, the trace's options, and by the only input */
    expect_refused(MODELS "/scene_resnet.onnx " PICTURE " --class 10", 2,
                   "--class 10: the network has the classes 0 to 9");
    expect_refused(MODELS "/scene_resnet.onnx " PICTURE " --sparsity 'fc:0.5'", 2, "--sparsity");
    expect_refused(MODELS "/scene_resnet.onnx " PICTURE " --memory 3M", 1, "does not hold the trace");
    expect_refused(MODELS "/scene_resnet.onnx " PICTURES "/none.png", 1, "none.png: No such file or directory");
    expect_refused(MODELS "/scene_resnet.onnx " PICTURE " --mask " PICTURES "/photo.jpg", 1,
                   "the mask has several colours");
}

/* Sizes are width x height, as people and file managers say them: photo.jpg is wide. */
static void test_sizes(void **state)
{
    (void)state;
    expect_refused(MODELS "/scene_resnet.onnx " PICTURES "/photo.jpg --mask " PICTURES "/scene00_patch.png --resize 64",
                   1, "the mask is 64 x 64 pixels, its picture 500 x 375");
    expect_refused(MODELS "/scene_resnet.onnx " PICTURES "/photo.jpg", 1,
                   "500 x 375 pixels, but without a resize the network's 64 x 64 are needed");
}

/* What was written of an input before its turn came to a bad end is no result. */
static void test_half_done(void **state)
{
    (void)state;
    static const char *const files[] = {"results.jsonl", "scene00/input.png", "scene00/dense_saliency.npy",
                                        "scene00/dense_saliency.png", "scene00/trace_saliency.png"};
    char *folder = folder_make(), line[300];
    snprintf(line, sizeof line, "mkdir -p %s/scene00/trace_saliency.npy/full", folder); /* no file can take this name */
    assert_int_equal(system(line), 0);
    command_result result =
        command_run("explain " MODELS "/scene_resnet.onnx " PICTURE " --resize 0 --variants 8 -o %s", folder);
    assert_int_equal(result.code, 1);
    assert_non_null(strstr(result.err, "trace_saliency.npy: "));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(line, sizeof line, "%s/%s", folder, files[i]);
        if (file_exists(line)) { fail_msg("%s is left", files[i]); }
    }
    command_clear(&result);
    folder_remove(folder);
}

static void test_methods(void **state)
{
    (void)state;
    static const char *const methods[] = {"guided_backprop", "deconvolution", "guided_gradcam"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        char arguments[600], says[600];
        snprintf(arguments, sizeof arguments, MODELS "/scene_mobilenet.onnx " PICTURE " --method saliency,%s",
                 methods[i]);
        /* before the time is estimated, which is the first that is computed; GELU is as little a ReLU as hard swish */
        snprintf(says, sizeof says, "spade: %s: ", methods[i]);
        expect_refused(arguments, 1, says);
        expect_refused(arguments, 1, "(hard swish) in features.0.2; leave ");
        snprintf(arguments, sizeof arguments, MODELS "/scene_vit.onnx " PICTURE " --method saliency,%s", methods[i]);
        expect_refused(arguments, 1, "(GELU) in ");
        command_result result = command_run("explain %s --resize 0 -o /tmp/spade_test_unused", arguments);
        assert_null(strstr(result.err, "1 input, about"));
        command_clear(&result);
    }
}

static void test_layers(void **state)
{
    (void)state;
    static const char *const commands[] = {"explain", "trace"};
    for (size_t i = 0; i < 2; i++) {
        static const struct {
            const char *options, *says;
        } refused[] = {
            {"--skip layer1.0.conv3",
             "\"layer1.0.conv3\" matches no prunable layer; close to it: layer1.0.conv1, layer1.0.conv2, "},
            {"--layers 'block*'", "\"block*\" matches no prunable layer; close to it: "},
            {"--layers conv1",
             "\"conv1\" matches no prunable layer: conv1 is never pruned, as the network's first layer"},
        };
        for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
            /* the picture is not there: the layers are looked at first */
            command_result result =
                command_run("%s " MODELS "/scene_resnet.onnx " PICTURES "/none.png %s -o /tmp/spade.onnx", commands[i],
                            refused[k].options);
            if (result.code != 2 || !strstr(result.err, refused[k].says)) {
                fail_msg("%s: code %d: %s", refused[k].options, result.code, result.err);
            }
            command_clear(&result);
        }
    }
}

/* How often a text stands in another. */
static int count(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) { n++; }
    return n;
}

static void test_few_rows(void **state)
{
    (void)state;
    static const struct {
        const char *options, *warns, *table; /* the trace's own table says the same */
    } cases[] = {
        {"--sparsity 0.95", "fc gets a sparsity of 90.0 %, not 95.0 %: of each block of 10 weights", " 1152    90.00 "},
        {"--layers fc --sparsity 0.09", "fc gets a sparsity of 0.0 %, not 9.0 %", "    0     0.00 "},
        {"--layers fc --sparsity 0.95 --solver magnitude", "fc gets a sparsity of 90.0 %, not", " 1152    90.00 "},
        {"--layers fc --sparsity 0.95 --block 10", NULL, " 95.00 "},
        {"--layers fc --sparsity 0.95 --count published", NULL, "100.00 "},
        {"--layers fc --sparsity 0.9", NULL, " 1152    90.00 "},
        {"--layers fc --sparsity 0.95 --solver exact", NULL, " 1216    95.00 "},
    };
    char *folder = folder_make();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        command_result result =
            command_run("trace " MODELS "/scene_resnet.onnx " PICTURE " --resize 0 --variants 8 -o %s/trace.onnx %s",
                        folder, cases[i].options);
        if (result.code != 0 || !strstr(result.out, cases[i].table)) {
            fail_msg("%s: code %d: %s%s", cases[i].options, result.code, result.err, result.out);
        }
        assert_int_equal(count(result.err, "gets a sparsity of"), cases[i].warns ? 1 : 0);
        if (cases[i].warns && !strstr(result.err, cases[i].warns)) { fail_msg("%s: %s", cases[i].options, result.err); }
        command_clear(&result);
    }
    /* once, however many inputs there are; depthwise layers have one row each */
    command_result result = command_run("explain " MODELS "/scene_mobilenet.onnx " PICTURES "/scene00.png " PICTURES
                                        "/scene01.png --resize 0 --variants 8 --sparsity 0.95 -o %s/out",
                                        folder);
    assert_int_equal(result.code, 0);
    assert_int_equal(count(result.err, "gets a sparsity of"), 1);
    assert_non_null(
        strstr(result.err, "features.1.block.1.fc1 gets a sparsity of 87.5 %, not 95.0 % (and 9 layers more"));
    command_clear(&result);
    folder_remove(folder);
}

/* What is asked for and changes nothing is named, on the first line of standard error. */
static void expect_warning(const char *arguments, const char *says)
{
    char *folder = folder_make();
    command_result result =
        command_run("explain --resize 0 --no-report " MODELS "/scene_resnet.onnx -o %s/out %s", folder, arguments);
    if (result.code != 0 || (says ? !strstr(result.err, says) : strstr(result.err, "warning") != NULL)) {
        fail_msg("explain %s: code %d: %s", arguments, result.code, result.err);
    }
    command_clear(&result);
    folder_remove(folder);
}

static void test_without_effect(void **state)
{
    (void)state;
    expect_warning("--no-trace " PICTURE, NULL);
    expect_warning("--no-trace --sparsity 0.9 " PICTURE, "--sparsity has no effect: no trace is made");
    expect_warning("--no-trace --samples 3 " PICTURE, "--samples has no effect: no method has such an option");
    expect_warning("--no-trace --samples 3 --method smoothgrad " PICTURE, NULL);
    expect_warning("--no-trace --samples 3 --method smooth:of=gradcam " PICTURE, NULL);
    expect_warning("--no-trace --metric pointing " PICTURE, "--metric: pointing has no value: there is no mask");
    expect_warning("--no-trace --metric completeness " PICTURE, "completeness has no value: it says nothing");
    expect_warning("--no-trace --metric gini,insertion:step=512 " PICTURE, NULL);
    expect_warning("--no-trace --seed 3 " PICTURE, "--seed has no effect: nothing is drawn at random");
    expect_warning("--no-trace --seed 3 --method smoothgrad:samples=2:seed=1 " PICTURE, "--seed has no effect");
    expect_warning("--no-trace --seed 3 --method smoothgrad:samples=2 " PICTURE, NULL);
    expect_warning("--no-trace --seed 3 --method integrated_gradients:steps=2:baseline=random " PICTURE, NULL);
    expect_warning("--no-trace --seed 3 --method integrated_gradients:steps=2:baseline=black " PICTURE,
                   "--seed has no effect");
    expect_warning("--no-trace --method saliency:seed=3 " PICTURE, "--method saliency: seed has no effect");
    expect_warning("--no-trace --method rise:samples=8:seed=3 " PICTURE, NULL);
    expect_warning("--seed 3 --sparsity 0.5 --batch " ARRAY " " PICTURE, "--seed has no effect");
    expect_warning("--seed 3 --solver random --sparsity 0.5 --batch " ARRAY " " PICTURE, NULL);
    expect_warning("--no-trace -r " PICTURE, "--recursive has no effect: no input is a folder");
    expect_warning("--no-trace --in-flight 2 " PICTURE, "--in-flight has no effect: there is one input");
    expect_warning("--no-trace --check " PICTURE, "--check has no effect: no method promises anything");
    expect_warning("--no-trace --crop-share 0.5 " PICTURE, "--crop-share has no effect: --resize says");
    expect_warning("--no-trace --orient " ARRAY, "--orient has no effect: no input is a picture");
    expect_warning("--variants 8 --group element " PICTURE, "--group has no effect: the solver has no use for it");
    expect_warning("--variants 8 --solver magnitude --damping 0.1 " PICTURE, "--damping has no effect");
    expect_warning("--variants 8 --block 4 " PICTURE, NULL);
    expect_warning("--variants 8 --mean 0.5 --std 1 " ARRAY,
                   "of the input's values are none that its mean and std make");
    expect_warning("--variants 8 --layers fc --linear-block 4 " PICTURE, NULL);
    expect_warning("--variants 8 --layers 'layer2.1.*' --linear-block 4 " PICTURE,
                   "--linear-block has no effect: no layer that");
    expect_warning("--variants 8 --layers fc --linear-block 4 --block 2 " PICTURE,
                   "--block has no effect: no layer that");
    expect_warning("--variants 8 --sparsity 0 --count published " PICTURE, "--count has no effect: no layer that");
    expect_warning("--variants 8 --hessian fp64 --sweep fp32 " PICTURE, "--sweep has no effect: it is fp64");
    expect_warning("--variants 8 --hessian fp64 --sweep fp64 " PICTURE, NULL);
    expect_warning("--no-trace --batch " ARRAY " " PICTURE, "--batch has no effect: no trace is made");
    expect_warning("--variants 8 --sparsity 0.5 --batch " ARRAY " " PICTURE, "--variants has no effect: the variants");
    expect_warning("--mean 0 --sparsity 0.5 --batch " ARRAY " " PICTURE, NULL);
    expect_warning("--no-trace --samples 3 --method smoothgrad:samples=2 " PICTURE,
                   "--samples has no effect: every method that has such an option has its own value");
    expect_warning("--no-trace --samples 3 --method smoothgrad:samples=2,vargrad " PICTURE, NULL);
    expect_warning("--no-trace --output scores --method saliency:output=logits " PICTURE, "--output has no effect");
    expect_warning("--no-trace --output scores " PICTURE, NULL);
    expect_warning("--no-trace --steps 3 --method smooth:samples=2:of=integrated_gradients:steps=2 " PICTURE,
                   "--steps has no effect: no method has such an option; one inside of another takes only its own");
    expect_warning("--variants 8 --skip '*' " PICTURE, "nothing is pruned: the trace is the dense network");
}

/* Of a trace alone: pictures are there for their variants, and these may be given. */
static void test_trace_without_effect(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *says; /* NULL: no warning at all */
    } cases[] = {
        {PICTURE " --variants 4 --resize 100", "--resize has no effect: variants are cut from the whole picture"},
        {PICTURE " --variants 4 --crop-share 0.5", "--crop-share has no effect: variants are cut"},
        {PICTURE " --variants 4 --resample bicubic", "--resample has no effect: variants are cut"},
        {PICTURE " --variants 4 --squash", "--squash has no effect: variants are cut"},
        {PICTURE " --variants 4 --resize 0 --bgr --mean 0", NULL},
        {PICTURE " --variants 4 --resize 100 --sparsity auto", NULL},
        {"--batch " ARRAY " --bgr", "--bgr has no effect: --batch is normalised already"},
        {"--batch " ARRAY " --mean 0", "--mean has no effect: --batch is normalised already"},
        {"--batch " ARRAY " --variants 4", "--variants has no effect: the variants are given"},
        {"--batch " ARRAY, NULL},
    };
    static const float zeros[4 * 3 * 64 * 64];
    char *folder = folder_make(), black[300];
    spade_context *context = test_context("cpu", 1);
    snprintf(black, sizeof black, "%s/x.npy", folder);
    assert_int_equal(spade_array_save(context, black, zeros, 4, (int64_t[]){4, 3, 64, 64}), SPADE_OK);
    spade_context_destroy(context);
    command_result more =
        command_run("trace " MODELS "/scene_resnet.onnx -o %s/t.onnx --solver random --batch %s", folder, black);
    if (more.code != 0 || !strstr(more.err, "17 layers have more zeros than asked for")) {
        fail_msg("%d: %s", more.code, more.err);
    }
    command_clear(&more);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        command_result r =
            command_run("trace " MODELS "/scene_resnet.onnx -o %s/t.onnx %s", folder, cases[i].arguments);
        if (r.code != 0 || (cases[i].says ? !strstr(r.err, cases[i].says) : strstr(r.err, "no effect") != NULL)) {
            fail_msg("trace %s: code %d: %s", cases[i].arguments, r.code, r.err);
        }
        command_clear(&r);
    }
    folder_remove(folder);
}

/* A pattern stands in place of a sparsity: of the two the command line's wins, and it has one. */
static void test_pattern_or_sparsity(void **state)
{
    (void)state;
    char *folder = folder_make(), path[300];
    snprintf(path, sizeof path, "%s/c.yaml", folder);
    file_write(path, "nm: \"2:4\"\n", 10);
    expect_refused(MODELS "/scene_resnet.onnx " PICTURE " --nm 2:4 --sparsity 0.9", 2, "--sparsity and --nm");
    /* options of methods and metrics that another option leaves unread */
    static const char *const unread[][2] = {
        {"--method lrp:gamma=3", "gamma is not read with composite=epsilon_plus, only with composite=gamma"},
        {"--method lrp:epsilon=3:composite=paper", "epsilon is not read with composite=paper"},
        {"--method lime:superpixels=grid:compactness=5", "compactness is not read with superpixels=grid"},
        {"--method lime:segmentation=a.png:compactness=5", "compactness is not read where segmentation is given"},
        {"--method saliency --metric infidelity:sigma=0.2", "only with perturbation=noise"},
    };
    for (size_t i = 0; i < sizeof unread / sizeof *unread; i++) {
        char arguments[400];
        snprintf(arguments, sizeof arguments, MODELS "/scene_resnet.onnx " PICTURE " --no-trace %s", unread[i][0]);
        expect_refused(arguments, 2, unread[i][1]);
    }
    command_result result = command_run("trace " MODELS "/scene_resnet.onnx " PICTURE
                                        " --resize 0 --variants 8 --config %s --sparsity 0.9 --json -o %s/t.onnx",
                                        path, folder);
    if (result.code != 0 || !strstr(result.out, "\"nm\":\"none\"")) {
        fail_msg("%d: %s%.2000s", result.code, result.err, result.out);
    }
    json_t *trace = json_loads(result.out, 0, NULL);
    const double zeros = json_number_value(json_object_get(trace, "zeros"));
    assert_true(zeros / json_number_value(json_object_get(trace, "weights")) > 0.85);
    json_decref(trace);
    command_clear(&result);
    folder_remove(folder);
}

/* A trace does not take the place of what it is made from. */
static void test_own_source(void **state)
{
    (void)state;
    char *folder = folder_make(), line[600];
    snprintf(line, sizeof line,
             "cp " MODELS "/scene_resnet.onnx %s/m.onnx && cp %s/m.onnx %s/n.onnx && mkfifo %s/p.onnx", folder, folder,
             folder, folder);
    assert_int_equal(system(line), 0);
    command_result result = command_run("trace %s/m.onnx " PICTURE " --resize 0 --variants 8 -o %s/../%s/m.onnx",
                                        folder, folder, strrchr(folder, '/') + 1);
    if (result.code != 2 || !strstr(result.err, "from which the trace is made")) {
        fail_msg("%d: %s", result.code, result.err);
    }
    command_clear(&result);
    snprintf(line, sizeof line, "cmp %s/m.onnx %s/n.onnx", folder, folder);
    assert_int_equal(system(line), 0);
    result = command_run("trace %s/m.onnx " PICTURE " --resize 0 --variants 8 -o %s/p.onnx", folder, folder);
    if (result.code != 2 || !strstr(result.err, "no regular file")) { fail_msg("%d: %s", result.code, result.err); }
    command_clear(&result);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_leaves_nothing),
                                       cmocka_unit_test(test_half_done),
                                       cmocka_unit_test(test_sizes),
                                       cmocka_unit_test(test_methods),
                                       cmocka_unit_test(test_layers),
                                       cmocka_unit_test(test_few_rows),
                                       cmocka_unit_test(test_without_effect),
                                       cmocka_unit_test(test_trace_without_effect),
                                       cmocka_unit_test(test_pattern_or_sparsity),
                                       cmocka_unit_test(test_own_source)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
