/*
 * test_resume.c - a run that was stopped, killed or fed with something else goes on where it was, and what it leaves in the
 * end is what an uninterrupted run leaves.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "support/random.h"
#include "support/results.h"
#include "spade/picture.h"

#define MODEL SPADE_TEST_DATA "/models/scene_resnet.onnx"
#define IMAGES SPADE_TEST_DATA "/images/"
enum { PICTURES = 8 };
static const char options[] =
    "--resize 0 --variants 8 --threads 1 --device cpu --quiet --method saliency,smoothgrad:samples=4";

/* FOLDER/in with the pictures scene00 to scene07. */
static void make_inputs(const char *folder)
{
    char command[1000];
    snprintf(command, sizeof command, "mkdir %s/in && for i in 0 1 2 3 4 5 6 7; do cp %sscene0$i.png %s/in; done",
             folder, IMAGES, folder);
    assert_int_equal(system(command), 0);
}

/* explain FOLDER/INPUT into FOLDER/OUTPUT. Returns what it said on stderr, malloc'ed. */
static char *explain(int code, const char *folder, const char *input, const char *output, const char *more)
{
    command_result result =
        command_run("explain " MODEL " %s/%s -o %s/%s %s %s", folder, input, folder, output, options, more);
    if (result.code != code) { fail_msg("%s: code %d: %s", more, result.code, result.err); }
    char *text = result.err;
    result.err = NULL;
    command_clear(&result);
    return text;
}

static void explain_quietly(int code, const char *folder, const char *input, const char *output, const char *more)
{
    free(explain(code, folder, input, output, more));
}

static void expect_said(int code, const char *folder, const char *input, const char *more, const char *says)
{
    char *text = explain(code, folder, input, "out", more);
    if (!strstr(text, says)) { fail_msg("'%s' lacks '%s'", text, says); }
    free(text);
}

static void expect_names(const char *folder, const char *list, const char *names)
{
    char path[300];
    snprintf(path, sizeof path, "%s/out", folder);
    char *there = results_names(path, list);
    assert_string_equal(there, names);
    free(there);
}

/* ---- signals */

/* Runs the command as a child of this process, sends it the signal after `seconds`, returns its exit code or -signal. */
static int run_and_signal(const char *folder, int number, double seconds)
{
    char command[3000];
    snprintf(command, sizeof command,
             "exec env OMP_WAIT_POLICY=passive " SPADE_COMMAND " explain " MODEL " %s/in -o %s/out %s >/dev/null 2>&1",
             folder, folder, options);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    const struct timespec wait = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&wait, NULL);
    kill(child, number);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Lines of results.jsonl: the records that a rerun keeps, and the first line. */
static int count_lines(const char *folder)
{
    char path[300];
    int lines = 0;
    snprintf(path, sizeof path, "%s/out/results.jsonl", folder);
    char *text = file_read(path, NULL);
    for (const char *at = text; at && *at; at++) { lines += *at == '\n'; }
    free(text);
    return lines;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* SPADE_TEST_KILLS: random moments for each signal; 2 where it is not set. */
static void test_signals(void **state)
{
    (void)state;
    static const int numbers[] = {SIGTERM, SIGINT, SIGKILL};
    const char *wanted = getenv("SPADE_TEST_KILLS");
    const int moments = wanted ? atoi(wanted) : 2;
    char *folder = folder_make(), whole[300], out[300];
    random_stream random = {.key = 2024};
    make_inputs(folder);
    double start = now();
    explain_quietly(0, folder, "in", "whole", "");
    double seconds = now() - start;
    snprintf(whole, sizeof whole, "%s/whole", folder);
    snprintf(out, sizeof out, "%s/out", folder);
    for (int i = 0; i < 3 * moments; i++) {
        char command[400];
        const int number = numbers[i % 3];
        int code = run_and_signal(folder, number, seconds * random_unit(&random) * 1.1);
        if (number == SIGKILL) {
            assert_true(code == 0 || code == -SIGKILL);
        } else {
            /* -number: before the command had begun to listen */
            assert_true(code == 0 || code == 4 || code == -number);
        }
        int kept = count_lines(folder);
        if (code == 4) { /* what was done is in the reports */
            char *names = results_names(out, "inputs");
            int done = *names != 0;
            for (const char *at = names; *at; at++) { done += *at == ' '; }
            assert_int_equal(done, kept - 1);
            assert_int_equal(files_count(out, "report.html"), 1);
            free(names);
        }
        explain_quietly(0, folder, "in", "out", "");
        assert_true(count_lines(folder) == PICTURES + 1 && kept <= PICTURES + 1);
        assert_int_equal(files_count(out, ".spade-"), 0);
        assert_same_folders(whole, out);
        snprintf(command, sizeof command, "rm -r %s", out);
        assert_int_equal(system(command), 0);
    }
    folder_remove(folder);
}

/* ---- what is kept, and what is not */

static void set_modified(const char *path, time_t seconds)
{
    const struct timespec times[] = {{seconds, 0}, {seconds, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static time_t modified(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_mtime;
}

/* Maps of inputs that are kept are not written again; of those that changed, or whose files are gone, they are. */
static void test_kept(void **state)
{
    (void)state;
    char *folder = folder_make(), map[2][300], path[300], command[600];
    make_inputs(folder);
    explain_quietly(0, folder, "in", "out", "");
    for (int i = 0; i < 2; i++) {
        snprintf(map[i], sizeof map[i], "%s/out/scene0%d/dense_saliency.npy", folder, i);
        set_modified(map[i], 1000);
    }
    explain_quietly(0, folder, "in", "out", "");
    assert_true(modified(map[0]) == 1000 && modified(map[1]) == 1000);

    snprintf(command, sizeof command, "cp %sscene08.png %s/in/scene01.png", IMAGES, folder);
    assert_int_equal(system(command), 0);
    explain_quietly(0, folder, "in", "out", "");
    assert_true(modified(map[0]) == 1000 && modified(map[1]) != 1000);

    snprintf(path, sizeof path, "%s/out/scene00/trace_saliency.png", folder);
    assert_int_equal(unlink(path), 0);
    explain_quietly(0, folder, "in", "out", "");
    assert_true(modified(map[0]) != 1000 && file_exists(path));
    expect_names(folder, "inputs", "scene00 scene01 scene02 scene03 scene04 scene05 scene06 scene07");

    /* Cut off under their final names. */
    assert_int_equal(truncate(map[0], 200), 0);
    snprintf(path, sizeof path, "%s/out/scene01/input.png", folder);
    assert_int_equal(truncate(path, 0), 0);
    set_modified(map[1], 1000);
    explain_quietly(0, folder, "in", "out", "");
    assert_true(modified(map[1]) != 1000);

    /* As if all had been done at once, whatever the order of the records was. */
    char out[300], again[300];
    explain_quietly(0, folder, "in", "again", "");
    snprintf(out, sizeof out, "%s/out", folder);
    snprintf(again, sizeof again, "%s/again", folder);
    assert_same_folders(out, again);
    folder_remove(folder);
}

static void test_other_configurations(void **state)
{
    (void)state;
    char *folder = folder_make(), path[300];
    make_inputs(folder);
    explain_quietly(0, folder, "in/scene00.png", "out", "");
    static const char *const cases[][2] = {
        {"--sparsity 0.6", "configuration.sparsity: 0.5, now 0.6"},
        {"--seed 1", "seed: 0, now 1"},
        {"--no-dense", "networks: [\"dense\",\"trace\"], now [\"trace\"]"},
        {"--method saliency", "configuration.methods"},
        {"--labels " SPADE_SOURCE_DIR "/examples/labels.txt", "xxh128.labels: none, now"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_said(2, folder, "in/scene00.png", cases[i][0], cases[i][1]);
        expect_said(2, folder, "in/scene00.png", cases[i][0], "--restart");
    }
    explain_quietly(0, folder, "in/scene00.png", "out",
                    "--memory 1G --in-flight 2"); /* results do not depend on these */

    /* --restart removes what the records name, and nothing else. */
    snprintf(path, sizeof path, "%s/out/scene00/mine.txt", folder);
    file_write(path, "x", 1);
    explain_quietly(0, folder, "in/scene01.png", "out", "--method saliency --restart --no-report");
    assert_true(file_exists(path));
    expect_names(folder, "inputs", "scene01");
    snprintf(path, sizeof path, "%s/out", folder);
    /* input.png, two maps and two pictures of them, mine.txt, results in three forms */
    assert_int_equal(files_count(path, ""), 5 + 1 + 3);
    folder_remove(folder);
}

/* What an input had before, and does not have when it is explained again, goes. */
static void test_files_of_before(void **state)
{
    (void)state;
    char *folder = folder_make(), masks[300], mask[300], shown[300], map[300], picture[300], command[700];
    make_inputs(folder);
    snprintf(masks, sizeof masks, "--no-trace --no-report --mask %s/masks", folder);
    snprintf(mask, sizeof mask, "%s/masks/scene01.png", folder);
    snprintf(shown, sizeof shown, "%s/out/scene01/mask.png", folder);
    snprintf(map, sizeof map, "%s/out/scene01/dense_saliency.npy", folder);
    snprintf(picture, sizeof picture, "%s/in/scene01.png", folder);
    snprintf(command, sizeof command,
             "cd %s && mkdir masks && cp %sscene00_object.png masks/scene00.png && cp masks/scene00.png %s", folder,
             IMAGES, mask);
    assert_int_equal(system(command), 0);
    explain_quietly(0, folder, "in", "out", masks);
    assert_true(file_exists(shown));
    assert_int_equal(unlink(mask), 0);
    explain_quietly(0, folder, "in", "out", masks);
    assert_true(!file_exists(shown) && file_exists(map));
    file_write(picture, "nothing", 7);
    explain_quietly(3, folder, "in", "out", masks);
    assert_false(file_exists(map));
    folder_remove(folder);
}

/* An input may lie in a folder of its own name: its path is no file of the results. */
static void test_input_in_folder_of_its_name(void **state)
{
    (void)state;
    char *folder = folder_make(), command[900];
    make_inputs(folder);
    snprintf(command, sizeof command,
             "cd %s && mkdir scene00 && mv in/scene00.png scene00 && for i in 1 2; do " SPADE_COMMAND " explain " MODEL
             " scene00/scene00.png --resize 0 --no-trace --no-report -o out >log 2>&1 || exit; done; "
             "grep -q '1 of 1 inputs are explained already' log",
             folder);
    assert_int_equal(system(command), 0);
    folder_remove(folder);
}

/* A file that a method reads is part of what was asked for: another segmentation under the same name makes other maps. */
static void test_other_files(void **state)
{
    (void)state;
    enum { SIDE = 64 };
    uint8_t pixels[SIDE * SIDE] = {0};
    char *folder = folder_make(), path[300], more[600];
    spade_context *context;
    make_inputs(folder);
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    snprintf(path, sizeof path, "%s/segments.png", folder);
    snprintf(more, sizeof more, "--no-trace --method lime:samples=8:segmentation=%s", path);
    for (int segments = 2; segments <= 4; segments += 2) {
        for (int p = 0; p < SIDE * SIDE; p++) { pixels[p] = (uint8_t)(p % SIDE * segments / SIDE); }
        assert_int_equal(spade_png_save(context, path, pixels, SIDE, SIDE, 1), SPADE_OK);
        if (segments > 2) { expect_said(2, folder, "in/scene00.png", more, "xxh128.lime.segmentation: \""); }
        if (segments == 2) { explain_quietly(0, folder, "in/scene00.png", "out", more); }
    }
    spade_context_destroy(context);
    folder_remove(folder);
}

/* A table or report that no run of this folder has made is somebody's, and stays, whatever is asked for. */
static void test_foreign_files(void **state)
{
    (void)state;
    static const char *const names[] = {"results.csv", "results.json", "report.html"};
    char *folder = folder_make();
    make_inputs(folder);
    assert_int_equal(mkdir(path_inside(folder, "out"), 0777), 0);
    for (int i = 0; i < 3; i++) {
        char *path = strdup(path_inside(folder, "out"));
        char file[400], says[64];
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        snprintf(says, sizeof says, "%s is there, without the results.jsonl", names[i]);
        file_write(file, "mine", 4);
        expect_said(2, folder, "in/scene00.png", "--no-trace", says);
        expect_said(2, folder, "in/scene00.png", "--no-trace --restart", says);
        char *content = file_read(file, NULL);
        assert_memory_equal(content, "mine", 4);
        free(content);
        assert_int_equal(unlink(file), 0);
        free(path);
    }
    explain_quietly(0, folder, "in/scene00.png", "out", "--no-trace");
    folder_remove(folder);
}

/* Results of other inputs stay in results.jsonl; results.json and the report are of the inputs of this run. */
static void test_other_inputs(void **state)
{
    (void)state;
    char *folder = folder_make(), command[600];
    make_inputs(folder);
    explain_quietly(0, folder, "in/scene00.png", "out", "");
    explain_quietly(0, folder, "in/scene02.png", "out", "");
    expect_names(folder, "inputs", "scene02");
    assert_int_equal(count_lines(folder), 3);
    explain_quietly(0, folder, "in", "out", "");
    assert_int_equal(count_lines(folder), PICTURES + 1);
    snprintf(command, sizeof command, "mkdir %s/two && cp %s/in/scene00.png %s/two", folder, folder, folder);
    assert_int_equal(system(command), 0);
    expect_said(2, folder, "two", "", "would get this name");
    folder_remove(folder);
}

/* An input that failed is tried again, and stands in its place in the end. */
static void test_failed(void **state)
{
    (void)state;
    char *folder = folder_make(), path[300], out[300], again[300], command[600];
    make_inputs(folder);
    snprintf(path, sizeof path, "%s/in/scene03.png", folder);
    file_write(path, "no picture", 10);
    explain_quietly(3, folder, "in", "out", "");
    expect_names(folder, "failed", "scene03");
    explain_quietly(3, folder, "in", "out", "");
    assert_int_equal(count_lines(folder), PICTURES + 1);
    snprintf(command, sizeof command, "cp %sscene03.png %s", IMAGES, path);
    assert_int_equal(system(command), 0);
    explain_quietly(0, folder, "in", "out", "");
    explain_quietly(0, folder, "in", "again", "");
    snprintf(out, sizeof out, "%s/out", folder);
    snprintf(again, sizeof again, "%s/again", folder);
    assert_same_folders(out, again);
    folder_remove(folder);
}

/* The only input fails now: the reports of the run before are not true any more. */
static void test_none_is_left(void **state)
{
    (void)state;
    char *folder = folder_make(), path[300], command[600];
    snprintf(command, sizeof command, "mkdir %s/in && cp %sscene03.png %s/in", folder, IMAGES, folder);
    assert_int_equal(system(command), 0);
    explain_quietly(0, folder, "in", "out", "");
    expect_names(folder, "inputs", "scene03");
    snprintf(path, sizeof path, "%s/in/scene03.png", folder);
    file_write(path, "no picture", 10);
    explain_quietly(1, folder, "in/scene03.png", "out", "");
    expect_names(folder, "inputs", "");
    expect_names(folder, "failed", "scene03");
    folder_remove(folder);
}

/* Whatever stands in results.jsonl: no crash, no file outside of the folder touched, the results right in the end. */
static void test_damaged(void **state)
{
    (void)state;
    char *folder = folder_make(), path[300], victim[300];
    make_inputs(folder);
    snprintf(path, sizeof path, "%s/out/results.jsonl", folder);
    explain_quietly(0, folder, "in/scene00.png", "out", "");
    size_t size;
    char *good = file_read(path, &size);

    file_write(path, "nonsense\n", 9);
    expect_said(1, folder, "in/scene00.png", "", "results.jsonl: its first line is no configuration");
    explain_quietly(0, folder, "in/scene00.png", "out", "--restart");

    /* Records that are none, or that point outside. */
    snprintf(victim, sizeof victim, "%s/in/scene05.png", folder);
    const int head = (int)(strchr(good, '\n') - good);
    static const char *const lines[] = {"{}",
                                        "[]",
                                        "null",
                                        "{\"file\":1,\"name\":\"x\"}",
                                        "{\"file\":\"x\",\"name\":\"../in\",\"picture\":\"../in/scene05.png\"}",
                                        "{\"file\":\"x\",\"name\":\"..\",\"picture\":\"../in/scene05.png\"}",
                                        "{\"file\":\"x\",\"name\":\"a\",\"picture\":\"a/../../in/scene05.png\"}",
                                        "\x01\xff{"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char *whole;
        int length = asprintf(&whole, "%.*s\n%s\n", head, good, lines[i]);
        assert_true(length > 0);
        file_write(path, whole, (size_t)length);
        explain_quietly(0, folder, "in/scene00.png", "out", "");
        file_write(path, whole, (size_t)length);
        explain_quietly(0, folder, "in/scene00.png", "out", "--restart");
        assert_true(file_exists(victim));
        free(whole);
    }
    free(good);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_other_configurations),
        cmocka_unit_test(test_files_of_before),
        cmocka_unit_test(test_input_in_folder_of_its_name),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_foreign_files),
        cmocka_unit_test(test_other_inputs),
        cmocka_unit_test(test_failed),
        cmocka_unit_test(test_none_is_left),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
