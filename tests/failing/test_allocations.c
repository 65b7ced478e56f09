/*
 * test_allocations.c - every allocation of ours fails once, and from there on: the command ends with one line and a code that is not
 * 0, or with the very result that it has otherwise; nothing leaks, no descriptor stays open, nothing is half written.
 *
 * The command runs in this process (its main is command_main here), which makes thousands of runs a matter of seconds. With
 * SPADE_TEST_EXHAUSTIVE every allocation gets its turn, else some of each command, spread over all.
 *   failing_test_allocations [PATTERN]     PATTERN, such as 'test_explain*': only the tests of these names
 */
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>

#include "failing/allocations.h"
#include "spade/spade.h"
#include "support/model.h"
#include "support/results.h"
#include "support/tars.h"

enum { SIDE = 8, PIXELS = 3 * SIDE * SIDE, MAX_WORDS = 64, RUNS = 40 };

int command_main(int argc, char **argv);

static char model[300], input[300], picture[300], mask[300], labels[300], config[300], folder[300];
static const char *current; /* the command line at hand */

/* Of a crash: where. Only what is safe in a handler. */
static void on_crash(int number)
{
    char text[64];
    const int length =
        snprintf(text, sizeof text, "\ncrash (signal %d), allocation %ld of: ", number, allocations_now());
    (void)!write(STDERR_FILENO, text, (size_t)length);
    (void)!write(STDERR_FILENO, current, strlen(current));
    _exit(1);
}

/* ---- what the commands read: a network of two layers, an input, a picture, labels, a configuration */

static void make_files(void)
{
    wire network = graph_of(3, SIDE, SIDE, 4);
    put_tensor(&network, tensor_random("k", 4, (int64_t[]){4, 3, 3, 3}, 3));
    put_tensor(&network, tensor_random("b", 1, (int64_t[]){4}, 4));
    put_tensor(&network, tensor_random("w", 2, (int64_t[]){4, 4}, 5));
    put_node(&network, node_of("conv1", "Conv", "x k b", "c"));
    put_node(&network, node_of("relu1", "Relu", "c", "r"));
    put_node(&network, node_of("pool", "GlobalAveragePool", "r", "p"));
    put_node(&network, node_of("flat", "Flatten", "p", "f"));
    put_node(&network, node_of("fc", "Gemm", "f w", "y"));
    snprintf(model, sizeof model, "%s", test_save("net.onnx", model_of(network)));

    float x[PIXELS];
    for (int i = 0; i < PIXELS; i++) { x[i] = pseudo_random(8, (uint32_t)i); }
    spade_context *context;
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    snprintf(input, sizeof input, "%s/x.npy", test_folder());
    assert_int_equal(spade_array_save(context, input, x, 4, (int64_t[]){1, 3, SIDE, SIDE}), SPADE_OK);
    spade_context_destroy(context);

    char ppm[16 + PIXELS] = "P6\n8 8\n255\n", pgm[16 + SIDE * SIDE] = "P5\n8 8\n255\n";
    for (int i = 0; i < PIXELS; i++) { ppm[11 + i] = (char)(i * 37); }
    memset(pgm + 11, 0xff, SIDE * SIDE / 2);
    static const char names[] = "one\ntwo\nthree\nfour\n",
                      yaml[] = "sparsity: [{layers: '*', value: 0.6}]\nvariants: 4\n";
    snprintf(picture, sizeof picture, "%s", test_write("p.ppm", ppm, 11 + PIXELS));
    snprintf(mask, sizeof mask, "%s", test_write("mask.pgm", pgm, 11 + SIDE * SIDE));
    snprintf(labels, sizeof labels, "%s", test_write("labels.txt", names, sizeof names - 1));
    snprintf(config, sizeof config, "%s", test_write("config.yaml", yaml, sizeof yaml - 1));
    snprintf(folder, sizeof folder, "%s/out", test_folder());
}

/* ---- one run */

typedef struct run_result {
    int code;
    long allocations, leaked;
    int descriptors; /* that stayed open */
    char out[1 << 18], err[1 << 14];
} run_result;

static int count_descriptors(void)
{
    int count = 0;
    DIR *all = opendir("/proc/self/fd");
    assert_non_null(all);
    while (readdir(all)) { count++; }
    closedir(all);
    return count;
}

static void read_back(int fd, char *text, size_t size)
{
    const ssize_t length = pread(fd, text, size - 1, 0);
    assert_true(length >= 0 && (size_t)length < size - 1);
    text[length] = 0;
}

/* Standard output and error are files while the command runs. */
static void run(const char *line, long fail_at, bool on, run_result *result)
{
    static int out = -1, err = -1;
    char words[2048], *argv[MAX_WORDS], *rest = NULL;
    int argc = 0;
    if (out < 0) {
        char path[400];
        snprintf(path, sizeof path, "%s/stdout", test_folder());
        out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        snprintf(path, sizeof path, "%s/stderr", test_folder());
        err = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(out >= 0 && err >= 0);
    }
    snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) { argv[argc++] = word; }
    argv[argc] = NULL;
    current = line;
    fflush(stdout);
    const int own_out = dup(1), own_err = dup(2);
    assert_int_equal(ftruncate(out, 0), 0);
    assert_int_equal(ftruncate(err, 0), 0);
    lseek(out, 0, SEEK_SET);
    lseek(err, 0, SEEK_SET);
    const int descriptors = count_descriptors();
    dup2(out, 1);
    dup2(err, 2);
    allocations_begin(fail_at, on);
    result->code = command_main(argc, argv);
    result->allocations = allocations_end(&result->leaked);
    fflush(stdout);
    dup2(own_out, 1);
    dup2(own_err, 2);
    result->descriptors = count_descriptors() - descriptors;
    close(own_out);
    close(own_err);
    read_back(out, result->out, sizeof result->out);
    read_back(err, result->err, sizeof result->err);
}

/* ---- what has to hold */

typedef struct test_command {
    const char *line;
    const char *writes;  /* NULL, "folder", or the name of a file */
    const char *prepare; /* NULL, or a line that runs, undisturbed, before each run */
    bool records;        /* that an input failed stands in the file, too, where the code is EXIT_SOME_FAILED */
} test_command;

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

static void remove_output(const char *path)
{
    enum { OPEN_FOLDERS = 8 };
    if (access(path, F_OK) == 0) { assert_int_equal(nftw(path, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS), 0); }
}

static bool same_file(const char *a, const char *b)
{
    size_t sizes[2] = {0, 0};
    char *files[2] = {file_read(a, &sizes[0]), file_read(b, &sizes[1])};
    assert_true(files[0] && files[1]);
    const bool same = sizes[0] == sizes[1] && memcmp(files[0], files[1], sizes[0]) == 0;
    free(files[0]);
    free(files[1]);
    return same;
}

static bool is_one_line(const char *text)
{
    const char *end = strchr(text, '\n');
    return strncmp(text, "spade: ", 7) == 0 && end && !end[1];
}

/* Text without what differs from run to run: the seconds of a table and of JSON. */
static void drop_times(char *text)
{
    static const char *const keys[] = {
        "\"seconds\":", "\"median\":", "\"least\":", "\"most\":", "\"resident_memory\":"};
    char *to = text;
    for (const char *at = text; *at;) {
        size_t key = 0;
        while (key < sizeof keys / sizeof *keys && strncmp(at, keys[key], strlen(keys[key])) != 0) { key++; }
        if (key == sizeof keys / sizeof *keys) {
            *to++ = *at++;
            continue;
        }
        at += strlen(keys[key]);
        at += strcspn(at, *at == '{' ? "}" : *at == '[' ? "]" : ",}");
    }
    *to = 0;
}

/* The output is there, and what it is without failures. */
static bool has_output(const test_command *command)
{
    char kept[400], output[400];
    snprintf(kept, sizeof kept, "%s/reference", test_folder());
    snprintf(output, sizeof output, "%s/%s", test_folder(), command->writes);
    if (strcmp(command->writes, "out") != 0) { return same_file(output, kept); }
    assert_same_folders(output, kept);
    return true;
}

/* What is wrong with a run; NULL: nothing. */
static const char *find_fault(const test_command *command, const run_result *reference, run_result *result)
{
    char output[400];
    snprintf(output, sizeof output, "%s/%s", test_folder(), command->writes ? command->writes : "none");
    if (result->leaked) { return "memory leaked"; }
    if (result->descriptors) { return "a descriptor stays open"; }
    if (result->code != 0) {
        /* a file that is there is whole: what failed came after it. A folder holds what was done before */
        const bool recorded = command->records && result->code == 3;
        const bool torn =
            !recorded && file_exists(output) && strcmp(command->writes, "out") != 0 && !has_output(command);
        return !is_one_line(result->err) ? "not one line" : torn ? "half a file" : NULL;
    }
    drop_times(result->out);
    if (strcmp(result->out, reference->out) != 0) { return "code 0 with another output"; }
    return !command->writes || has_output(command) ? NULL : "code 0 with another file";
}

static int faults; /* of the command at hand */

static void expect(const test_command *command, const run_result *reference, long fail_at, bool on)
{
    enum { SHOWN = 20 };
    static run_result result, before;
    if (command->writes) {
        char output[400];
        snprintf(output, sizeof output, "%s/%s", test_folder(), command->writes);
        remove_output(output);
    }
    if (command->prepare) {
        run(command->prepare, 0, false, &before);
        assert_int_equal(before.code, 0);
    }
    run(command->line, fail_at, on, &result);
    const char *fault = find_fault(command, reference, &result);
    if (!fault || ++faults > SHOWN) { return; }
    print_error("%s: allocation %ld%s: %s: code %d, '%.300s'\n", command->line, fail_at, on ? " and all after it" : "",
                fault, result.code, result.err);
}

static void test_one(const test_command *command)
{
    static run_result reference;
    char kept[400], output[400];
    snprintf(kept, sizeof kept, "%s/reference", test_folder());
    snprintf(output, sizeof output, "%s/%s", test_folder(), command->writes ? command->writes : "none");
    for (int i = 0; i < 2; i++) { /* what the first run alone makes, libraries' caches, is no leak of the second */
        remove_output(output);
        if (command->prepare) { run(command->prepare, 0, false, &reference); }
        run(command->line, 0, false, &reference);
        if (reference.code != 0) { fail_msg("%s: code %d, %s", command->line, reference.code, reference.err); }
    }
    assert_int_equal(reference.leaked, 0);
    drop_times(reference.out);
    remove_output(kept);
    if (command->writes) { assert_int_equal(rename(output, kept), 0); }
    const long n = reference.allocations, step = getenv("SPADE_TEST_EXHAUSTIVE") ? 1 : n / RUNS + 1;
    faults = 0;
    for (long i = 1; i <= n; i += step) {
        expect(command, &reference, i, false);
        expect(command, &reference, i, true);
    }
    expect(command, &reference, n + 1, true); /* beyond the last: as if nothing failed */
    if (faults) { fail_msg("%s: %d faults", command->line, faults); }
    printf("%6ld allocations, every %ld: %s\n", n, step, command->line);
}

#define EXPLAIN "spade explain %s %s -o %s -q --threads 1 --device cpu --variants 4"

static void test_explain(void **state)
{
    (void)state;
    char line[2048];
    snprintf(line, sizeof line, EXPLAIN " --method saliency,smoothgrad:samples=2,gradcam:layer=k", model, input,
             folder);
    test_one(&(test_command){.line = line, .writes = "out"});
}

static void test_explain_picture(void **state)
{
    (void)state;
    char line[2048];
    snprintf(line, sizeof line, EXPLAIN " --json --labels %s --mask %s --config %s", model, picture, folder, labels,
             mask, config);
    test_one(&(test_command){.line = line, .writes = "out"});
}

/* The second run reads what the first one wrote. */
static void test_explain_again(void **state)
{
    (void)state;
    char line[2048], before[2048];
    snprintf(before, sizeof before, EXPLAIN, model, input, folder);
    test_one(&(test_command){.line = before, .writes = "out", .prepare = before});
    snprintf(line, sizeof line, EXPLAIN " --no-report --restart", model, input, folder);
    test_one(&(test_command){.line = line, .writes = "out", .prepare = before});
}

/* Of each way that methods go, and each kind of option, one with few samples: those that walk together, wrappers, baselines,
 * perturbed images, masks, superpixels, rules, feature maps, attention. */
static void test_explain_methods(void **state)
{
    (void)state;
    static const char *const methods[] = {
        "smoothgrad:samples=2,vargrad:samples=2,integrated_gradients:steps=2:baseline=mean,"
        "gradient_shap:samples=2:sigma=0.1,smooth:samples=2:of=\"gradcam:layer=k\"",
        "rise:samples=3:grid=2,lime:samples=6:segments=3,kernel_shap:samples=6:segments=3:baseline=blur,"
        "occlusion:window=4:stride=4,scorecam:layer=k",
        "deeplift,lrp,guided_backprop,layercam:layer=k,guided_gradcam:layer=k",
        "attention_rollout,attention_gradient,attnlrp",
    };
    char line[2048];
    for (int i = 0; i < 4; i++) {
        const char *network = i == 3 ? SPADE_TEST_DATA "/exports/vit.old.onnx" : model;
        snprintf(line, sizeof line, EXPLAIN " %s --method %s", network, picture, folder,
                 i == 3 ? "--no-trace --no-report"
                 : i    ? "--no-trace"
                        : "",
                 methods[i]);
        test_one(&(test_command){.line = line, .writes = "out"});
    }
}

static void test_trace(void **state)
{
    (void)state;
    static const char *const outputs[] = {"t.onnx", "t.safetensors"};
    char line[2048];
    for (int i = 0; i < 2; i++) {
        snprintf(line, sizeof line,
                 "spade trace %s %s -o %s/%s --json --threads 1 --device cpu --variants 4 --solver %s", model, input,
                 test_folder(), outputs[i], i ? "exact" : "fast");
        test_one(&(test_command){.line = line, .writes = outputs[i]});
    }
}

static void test_info(void **state)
{
    (void)state;
    static const char *const options[] = {"", "--json", "--graph --json"};
    char line[2048];
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        snprintf(line, sizeof line, "spade info %s --threads 1 --device cpu %s", model, options[i]);
        test_one(&(test_command){.line = line});
    }
}

#define CHECK "spade check %s %s -q --threads 1 --device cpu"

static void test_check(void **state)
{
    (void)state;
    char line[2048];
    snprintf(line, sizeof line, CHECK " --json --stages 1 --method lrp,deeplift,kernel_shap:samples=2:segments=2",
             model, input);
    test_one(&(test_command){.line = line});
    snprintf(line, sizeof line, CHECK " --class 1,2 --labels %s -o %s", model, picture, labels, folder);
    test_one(&(test_command){.line = line, .writes = "out"});
    snprintf(line, sizeof line, EXPLAIN " --check --no-trace --method deeplift,lrp", model, input, folder);
    test_one(&(test_command){.line = line, .writes = "out"});
}

/* Metrics of every kind. */
static void test_explain_metrics(void **state)
{
    (void)state;
    char line[2048];
    snprintf(
        line, sizeof line,
        EXPLAIN
        " --mask %s --method saliency,deeplift --no-report --metric roc_auc,pointing,energy,insertion:step=32,"
        "road_most:steps=1,infidelity:samples=2,sensitivity_max:samples=1,completeness,conservation,gini,class_kept,"
        "kl_divergence",
        model, picture, folder, mask);
    test_one(&(test_command){.line = line, .writes = "out"});
}

static void test_automatic_sparsity(void **state)
{
    (void)state;
    char line[2048];
    snprintf(line, sizeof line, EXPLAIN " --no-report --sparsity auto", model, picture, folder);
    test_one(&(test_command){.line = line, .writes = "out"});
}
static void test_tune(void **state)
{
    (void)state;
    char line[2048], rows[1400];
    snprintf(rows, sizeof rows, "image,mask\n%s,%s\n%s,%s\n", picture, mask, picture, mask);
    const char *manifest = test_write("t.csv", rows, strlen(rows));
    snprintf(line, sizeof line,
             "spade tune " SPADE_TEST_DATA
             "/exports/vit.old.onnx %s -o %s.yaml -q --threads 1 --device cpu --variants 4 --json "
             "--max-changed 1 --seeds 1 --method saliency",
             manifest, folder);
    test_one(&(test_command){.line = line, .writes = "out.yaml"});
}
static void test_evaluate(void **state)
{
    (void)state;
    char line[2048], rows[1024], again[2100];
    snprintf(rows, sizeof rows, "image,label,mask\n%s,one,%s\n\"%s\",3,\n", picture, mask, picture);
    const char *manifest = test_write("m.csv", rows, strlen(rows));
    snprintf(line, sizeof line,
             "spade evaluate %s %s -o %s -q --threads 1 --device cpu --variants 4 --labels %s --class label --traces "
             "fast,random,%s --metric roc_auc,gini --method saliency,input_x_gradient",
             model, manifest, folder, labels, config);
    test_one(&(test_command){.line = line, .writes = "out"});
    snprintf(again, sizeof again, "%s --json", line);
    test_one(&(test_command){.line = again, .writes = "out", .prepare = line});
}

/* A sparse last layer that is fitted to six small pictures, and one that an earlier run has kept. */
/* Of a store the tar counts: records say when they were made. */
static void test_annotate(void **state)
{
    (void)state;
    char line[2048], manifest[300], text[700];
    const int length = snprintf(text, sizeof text, "image,note\n%s,one\n%s,two\n", picture, picture);
    snprintf(manifest, sizeof manifest, "%s", test_write("rows.csv", text, (size_t)length));
    snprintf(line, sizeof line, "spade annotate %s %s -o %s -q --threads 1 --device cpu --variants 4 --values png",
             model, manifest, folder);
    remove_output(folder); /* the results of other commands, which no store is made among */
    test_one(&(test_command){.line = line, .writes = "out/shard-000000.tar", .records = true});
    remove_output(folder);
}

/* Of tars: the picture, a text and a mask; and once more with what a run before has found in them. */
static void test_annotate_tars(void **state)
{
    (void)state;
    char line[2048], path[300];
    const char bits[] = "P1\n8 8\n1111000011110000111100001111000011110000111100001111000011110000";
    snprintf(path, sizeof path, "%s", test_write("rows.tar", "", 0));
    struct archive *tar = tar_make(path, ARCHIVE_FILTER_NONE, 0);
    for (int i = 0; i < 2; i++) {
        char ppm[16 + PIXELS] = "P6\n8 8\n255\n", name[32];
        for (int p = 0; p < PIXELS; p++) { ppm[11 + p] = (char)((40 * i + p) % 120); }
        snprintf(name, sizeof name, "%d.%s", i, i ? "ppm" : "bin"); /* by its content, by its name */
        tar_add(tar, name, ppm, 11 + PIXELS);
        snprintf(name, sizeof name, "%d.json", i);
        tar_add_text(tar, name, i ? "[]" : "{\"label\": \"cat\"}");
        snprintf(name, sizeof name, "%d.mask.pbm", i);
        tar_add(tar, name, bits, sizeof bits - 1);
    }
    tar_add_special(tar, "link", AE_IFLNK, "0.bin");
    tar_end(tar);
    snprintf(line, sizeof line, "spade annotate %s %s -o %s -q --threads 1 --device cpu --no-trace --method saliency",
             model, path, folder);
    char index[400];
    snprintf(index, sizeof index, "%s/tars.index", folder);
    assert_int_equal(mkdir(folder, 0700) | mkdir(index, 0700), 0); /* so it cannot be kept */
    test_one(&(test_command){.line = line, .writes = "out/shard-000000.tar", .records = true});
    assert_int_equal(rmdir(index), 0);
    test_one(&(test_command){.line = line, .writes = "out/shard-000000.tar", .records = true});
    assert_true(file_exists(index));
    remove_output(folder);
}

static void test_sparse_fc(void **state)
{
    (void)state;
    char line[2048], again[2100], rows[1024] = "image,label\n";
    for (int i = 0; i < 6; i++) {
        char ppm[16 + PIXELS] = "P6\n8 8\n255\n", name[16];
        for (int p = 0; p < PIXELS; p++) { ppm[11 + p] = (char)((40 * i + p * (1 + i % 2)) % 120); }
        snprintf(name, sizeof name, "f%d.ppm", i);
        snprintf(rows + strlen(rows), sizeof rows - strlen(rows), "%s,%d\n", test_write(name, ppm, 11 + PIXELS), i % 2);
    }
    const char *fit = test_write("fit.csv", rows, strlen(rows));
    snprintf(rows, sizeof rows, "image\n%s\n", picture);
    const char *manifest = test_write("m.csv", rows, strlen(rows));
    snprintf(line, sizeof line,
             "spade evaluate %s %s -o %s -q --threads 1 --device cpu --traces sparse_fc --fit %s --metric gini", model,
             manifest, folder, fit);
    test_one(&(test_command){.line = line, .writes = "out"});
    snprintf(again, sizeof again, "%s --json", line);
    test_one(&(test_command){.line = again, .writes = "out", .prepare = line});
}

static void test_bench(void **state)
{
    (void)state;
    char line[2048];
    snprintf(line, sizeof line, "spade bench %s %s --threads 1 --device cpu --variants 4 --repeat 2 --json --labels %s",
             model, input, labels);
    test_one(&(test_command){.line = line});
}

static void test_visualize(void **state)
{
    (void)state;
    char line[2048];
    snprintf(
        line, sizeof line,
        "spade visualize %s --neuron class:1 --neuron class:0 --trace %s -o %s/v.png --json --threads 1 --device cpu "
        "--variants 4 --steps 2 --size 8",
        model, input, test_folder());
    test_one(&(test_command){.line = line, .writes = "v.png"});
}

static void test_others(void **state)
{
    (void)state;
    static const char *const lines[] = {"spade methods --json",  "spade methods saliency", "spade operators --json",
                                        "spade devices --json",  "spade version --json",   "spade help explain",
                                        "spade explain --help",  "spade check --help",     "spade visualize --help",
                                        "spade evaluate --help", "spade bench --help"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) { test_one(&(test_command){.line = lines[i]}); }
}

static int close_folder(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_explain_picture),
        cmocka_unit_test(test_explain_again),
        cmocka_unit_test(test_explain_methods),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_visualize),
        cmocka_unit_test(test_explain_metrics),
        cmocka_unit_test(test_automatic_sparsity),
        cmocka_unit_test(test_tune),
        cmocka_unit_test(test_evaluate),
        cmocka_unit_test(test_annotate),
        cmocka_unit_test(test_annotate_tars),
        cmocka_unit_test(test_sparse_fc),
        cmocka_unit_test(test_bench),
        cmocka_unit_test(test_others),
    };
    signal(SIGSEGV, on_crash);
    signal(SIGABRT, on_crash);
    if (argc > 1) { cmocka_set_test_filter(argv[1]); }
    make_files();
    return cmocka_run_group_tests(tests, NULL, close_folder);
}
