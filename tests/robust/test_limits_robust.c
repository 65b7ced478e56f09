/*
 * test_limits_robust.c - the command where the system gives it little: address space, descriptors, a reader of its output.
 * SPADE_TEST_EXHAUSTIVE: in all the sizes of docs/robustness.md, else in some.
 */
#include "support/results.h"

#define MODEL SPADE_TEST_DATA "/models/scene_resnet.onnx"
#define PICTURE SPADE_TEST_DATA "/images/scene00.png"
#define PICTURES PICTURE " " SPADE_TEST_DATA "/images/scene01.png"
#define OPTIONS " --resize 0 --variants 8 -q "

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) /* they map terabytes */
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* The command under a limit of the shell's; code 124: it did not end within a minute. */
static command_result run_limited(const char *limit, const char *arguments, const char *folder)
{
    char line[4096], path[300];
    command_result result;
    snprintf(line, sizeof line, "(exec >%s/stdout 2>%s/stderr </dev/null; ulimit %s; exec timeout -k 1 60 %s %s)",
             folder, folder, limit, SPADE_COMMAND, arguments);
    const int status = system(line);
    assert_true(WIFEXITED(status));
    result.code = WEXITSTATUS(status);
    snprintf(path, sizeof path, "%s/stdout", folder);
    result.out = file_read(path, NULL);
    snprintf(path, sizeof path, "%s/stderr", folder);
    result.err = file_read(path, NULL);
    assert_true(result.out && result.err);
    return result;
}

/* It did all, or told in one line of ours, or of the loader's (code 127), why not; and no file is half there. True: it did all. */
static bool expect_all_or_a_line(const char *limit, const char *arguments, const char *folder)
{
    command_result result = run_limited(limit, arguments, folder);
    const char *end = strchr(result.err, '\n');
    const bool line = end && !end[1], ours = strncmp(result.err, "spade: ", 7) == 0;
    const bool loader = strstr(result.err, "error while loading shared libraries") != NULL;
    const bool done = result.code == 0 && !*result.err;
    if (!done && !(line && ((result.code == 1 && ours) || (result.code == 127 && loader)))) {
        fail_msg("ulimit %s, %s: code %d, '%s'", limit, arguments, result.code, result.err);
    }
    command_clear(&result);
    return done;
}

static void test_address_space(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip();
#endif
    static const int some[] = {50, 75, 100, 150, 200, 300, 400, 450, 500, 550, 600, 700, 800, 900, 1000}; /* MiB */
    enum { SOME = sizeof some / sizeof *some, ALL = 53 };
    const bool exhaustive = getenv("SPADE_TEST_EXHAUSTIVE") != NULL;
    const int runs = exhaustive ? 2 * ALL : SOME;
    char *folder = folder_make(), arguments[2048], limit[32], reference[512], path[512];
    snprintf(reference, sizeof reference, "%s/reference", folder);
    command_result whole = command_run("explain " MODEL " " PICTURES OPTIONS "-o %s", reference);
    assert_int_equal(whole.code, 0);
    command_clear(&whole);
    int done = 0;
    for (int i = 0; i < runs; i++) {
        snprintf(limit, sizeof limit, "-v %d", exhaustive ? 50000 + i / 2 * 19000 : some[i] * 1024);
        snprintf(path, sizeof path, "%s/%d", folder, i);
        snprintf(arguments, sizeof arguments, "explain " MODEL " " PICTURES OPTIONS "-o %s %s", path,
                 !exhaustive ? ""
                 : i % 2     ? "--threads 2"
                             : "--threads 1");
        if (!expect_all_or_a_line(limit, arguments, folder)) { continue; }
        assert_same_folders(reference, path); /* with fewer threads, and the same results */
        done++;
    }
    assert_in_range(done, 1, runs - 4);
    print_message("%d sizes of address space: all done in %d\n", runs, done);
    static const char *const lines[] = {"--help", "version", "info " MODEL}; /* that load the same libraries */
    for (int i = 0; i < 6; i++) { (void)expect_all_or_a_line(i % 2 ? "-v 100000" : "-v 300000", lines[i / 2], folder); }
    /* more threads than there is room for, asked for */
    command_result result = run_limited("-v 1048576", "info " MODEL " --threads 64", folder);
    assert_int_equal(result.code, 1);
    assert_non_null(strstr(result.err, "64 threads"));
    command_clear(&result);
    folder_remove(folder);
}

static void test_descriptors(void **state)
{
    (void)state;
    const bool exhaustive = getenv("SPADE_TEST_EXHAUSTIVE") != NULL;
    char *folder = folder_make(), arguments[2048], limit[32], path[512];
    int runs = 0, done = 0;
    for (int count = exhaustive ? 0 : 5; count <= 32; count += exhaustive || count < 16 ? 1 : 4) {
        snprintf(limit, sizeof limit, "-n %d", count);
        snprintf(path, sizeof path, "%s/t%d.onnx", folder, count);
        snprintf(arguments, sizeof arguments, "trace " MODEL " " PICTURE OPTIONS "-o %s", path);
        const bool traced = expect_all_or_a_line(limit, arguments, folder);
        assert_int_equal(file_exists(path), traced);
        runs++;
        done += traced;
        if (!exhaustive) { continue; }
        snprintf(path, sizeof path, "%s/out%d", folder, count);
        snprintf(arguments, sizeof arguments, "explain " MODEL " " PICTURE OPTIONS "-o %s", path);
        const bool explained = expect_all_or_a_line(limit, arguments, folder);
        if (explained) { print_message("explained with %d descriptors\n", count); }
        assert_int_equal(files_count(path, ".spade-"), 0);
    }
    assert_in_range(done, 1, runs - 1);
    print_message("%d numbers of descriptors: all done in %d\n", runs, done);
    folder_remove(folder);
}

/* Nobody reads the output: explain stops as after a signal, the same command goes on, and the rest ends with an error. */
static void test_broken_pipe(void **state)
{
    (void)state;
    char *folder = folder_make(), line[4096], path[512], whole[512];
    snprintf(whole, sizeof whole, "%s/whole", folder);
    snprintf(path, sizeof path, "%s/code", folder);
    command_result result = command_run("explain " MODEL " " PICTURES OPTIONS "-o %s", whole);
    assert_int_equal(result.code, 0);
    command_clear(&result);
    static const char *const modes[] = {"", "--json"};
    for (int i = 0; i < 2; i++) {
        char out[512];
        snprintf(out, sizeof out, "%s/out%d", folder, i);
        snprintf(line, sizeof line,
                 "{ sleep 0.3; %s explain " MODEL " " PICTURES " --resize 0 --variants 8 %s --in-flight 1 -o %s "
                 "2>/dev/null; echo $? >%s; } | true",
                 SPADE_COMMAND, modes[i], out, path);
        assert_int_equal(system(line), 0);
        char *code = file_read(path, NULL);
        assert_string_equal(code, "4\n");
        free(code);
        result = command_run("explain " MODEL " " PICTURES OPTIONS "-o %s", out);
        assert_int_equal(result.code, 0);
        command_clear(&result);
        assert_same_folders(whole, out);
    }
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_address_space), cmocka_unit_test(test_descriptors),
                                       cmocka_unit_test(test_broken_pipe)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
