/* test_workers.c - annotate in several processes: the same bytes as in one, whoever is killed; shards that end their worker; stopping. */
#include <dirent.h>
#include <signal.h>
#include <time.h>

#include "support/annotate.h"

#define IMAGES SPADE_TEST_DATA "/images"
#define FAST " --method saliency --no-trace --resize 0 --threads 2 -q "
/* Minutes a picture: a worker is killed at it whenever that is. */
#define SLOW " --method smoothgrad:samples=10000 --no-trace --resize 0 --threads 2 --shard-size 1 -q "

static char *folder;

static const char *inside(const char *name)
{
    return path_inside(folder, name);
}

/* So many pictures, every `bad`-th of which is not there; 0: none. */
static void write_manifest(const char *name, int count, int bad)
{
    FILE *file = fopen(inside(name), "w");
    assert_non_null(file);
    fputs("image,label\n", file);
    for (int i = 0; i < count; i++) {
        const bool missing = bad && i % bad == bad - 1;
        fprintf(file, IMAGES "/%s%02d.png,%d\n", missing ? "missing" : "scene", i % 12, i % 9);
    }
    assert_int_equal(fclose(file), 0);
}

static int open_folder(void **state)
{
    (void)state;
    folder = folder_make();
    write_manifest("m.csv", 60, 0);
    write_manifest("bad.csv", 10, 5);
    write_manifest("few.csv", 2, 0);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static void test_same_bytes(void **state)
{
    (void)state;
    annotate_in(folder, "bad.csv", "alone", FAST "--shard-size 2", 3, "missing04.png");
    annotate_in(folder, "bad.csv", "shared", FAST "--shard-size 2 --workers 3", 3, "missing04.png");
    annotate_expect_same(folder, "shared", "alone", 5);
    command_result r = command_run("annotate " ANNOTATE_MODEL " %s -o %s" FAST "--workers 2 --json --shard-size 3",
                                   inside("bad.csv"), inside("json"));
    assert_int_equal(r.code, 3);
    int lines = 0;
    for (const char *at = r.out; (at = strchr(at, '\n')); at++) { lines++; }
    assert_int_equal(lines, 10);
    command_clear(&r);
    annotate_in(folder, "bad.csv", "shared", FAST "--workers 2", 3, NULL); /* all is there */
    /* what cannot work is said once, not by each worker */
    r = command_run("annotate " ANNOTATE_MODEL " %s -o %s --method saliency --resize 0 --class 1000 --workers 3",
                    inside("m.csv"), inside("none"));
    assert_int_equal(r.code, 2);
    assert_null(strchr(strchr(r.err, '\n') + 1, '\n'));
    command_clear(&r);
    annotate_in(folder, "bad.csv", "one", FAST "--ledger x", 2, "--ledger is for several");
    annotate_in(folder, "bad.csv", "two", FAST "--workers 2 --ledger /nowhere/x", 1, "/nowhere/x");
}

/* Without --shard-size there are shards for all; where there cannot be, that is said. */
static void test_shard_sizes(void **state)
{
    static const char plain[] = "--method saliency --no-trace --resize 0 --threads 2 --device cpu ";
    char line[300];
    (void)state;
    snprintf(line, sizeof line, "%s--workers 2", plain);
    annotate_in(folder, "bad.csv", "sized", line, 3, "2 workers for 10 shards");
    snprintf(line, sizeof line, "%s--workers 3", plain);
    annotate_in(folder, "few.csv", "small", line, 0,
                "this run has 2 shards for 3 workers, of which 1 has nothing to do\n");
    snprintf(line, sizeof line, "%s--shard-size 2 --shard 7/8", plain);
    annotate_in(folder, "few.csv", "shares", line, 0,
                "it has 1 shard for 8 shares, of which 7 have nothing to do; --shard-size");
    for (int i = 0; i < 2; i++) { /* both choose 30 rows by 2 shares by 4 */
        snprintf(line, sizeof line, "%s--shard %d/2 -q", plain, i);
        annotate_in(folder, "m.csv", "halves", line, 0, NULL);
    }
    annotate_in(folder, "m.csv", "alone7", FAST "--shard-size 7 --workers 1", 0, NULL);
    annotate_expect_same(folder, "halves", "alone7", 9);
    snprintf(line, sizeof line, "%s--shard-size 7 --memory 4G", plain); /* as many as there is work for */
    annotate_in(folder, "m.csv", "chosen7", line, 0, "2 workers for 9 shards");
    annotate_expect_same(folder, "chosen7", "alone7", 9);
}

/* ---- runs beside the test */

static void pause_ms(long ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static pid_t start(const char *manifest, const char *store, const char *arguments)
{
    char line[2000];
    snprintf(line, sizeof line, "exec " SPADE_COMMAND " annotate " ANNOTATE_MODEL " %s -o %s %s 2>>%s",
             inside(manifest), inside(store), arguments, inside("err"));
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("OMP_WAIT_POLICY", "passive", 1);
        execl("/bin/sh", "sh", "-c", line, NULL);
        _exit(127);
    }
    return pid;
}

/* The exit code, or minus the signal; 1000: it runs still. */
static int ended(pid_t pid, bool wait)
{
    int status;
    if (waitpid(pid, &status, wait ? 0 : WNOHANG) != pid) { return 1000; }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Workers of the process that have run for a while. */
static int list_workers(pid_t parent, pid_t out[8])
{
    char path[100];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *file = fopen(path, "r");
    while (file && count < 8 && fscanf(file, "%d", &out[count]) == 1) { count++; }
    if (file) { fclose(file); }
    return count;
}

/* Part files of makers that live are there. */
static int count_files(const char *store, const char *part)
{
    int count = 0;
    DIR *list = opendir(inside(store));
    for (const struct dirent *entry; list && (entry = readdir(list));) { count += strstr(entry->d_name, part) != NULL; }
    if (list) { closedir(list); }
    return count;
}

static void test_kills(void **state)
{
    enum { KILLS = 8, RUNS = 100 };
    (void)state;
    unsigned random = 12345;
    int kills = 0, code = 1000;
    annotate_in(folder, "m.csv", "alone", FAST "--shard-size 7", 0, NULL);
    for (int run = 0; run < RUNS && (kills < KILLS || code != 0); run++) {
        const pid_t parent = start("m.csv", "killed", FAST "--shard-size 7 --workers 2");
        while ((code = ended(parent, false)) == 1000) {
            pid_t workers[8];
            random = random * 1664525u + 1013904223u;
            pause_ms(20 + (long)(random >> 16) % 150);
            const int count = list_workers(parent, workers);
            const unsigned which = (random >> 8) % 3;
            if (kills < KILLS) { kills += kill((int)which < count ? workers[which] : parent, SIGKILL) == 0; }
        }
        if (code == 0 && kills < KILLS) { /* once more, with the shards that are done gone */
            command_result r = command_run("version; rm -f %s/shard-00000*", inside("killed"));
            command_clear(&r);
        }
    }
    assert_int_equal(code, 0);
    assert_int_equal(count_files("killed", ".part."), 0);
    annotate_expect_same(folder, "killed", "alone", 9);
}

/* How long a whole run over two pictures takes here and now: a worker of a slow one is at its picture by then. */
static long time_of_run(void)
{
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    annotate_in(folder, "few.csv", "quick", FAST "--shard-size 1 --workers 2", 0, NULL);
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
}

/* Every worker is killed at the picture that it is at, again and again. */
static void test_set_aside(void **state)
{
    enum { KILLS = 40 };
    (void)state;
    int code = 1000;
    const long time = time_of_run();
    const pid_t parent = start("few.csv", "aside", SLOW "--workers 2");
    for (int i = 0; i < KILLS && (code = ended(parent, false)) == 1000; i++) {
        pid_t workers[8];
        pause_ms(300 + 2 * time);
        const int count = list_workers(parent, workers);
        for (int k = 0; k < count; k++) { kill(workers[k], SIGABRT); /* a sanitizer takes SIGSEGV itself */ }
    }
    if (code == 1000) { kill(parent, SIGKILL); }
    assert_int_equal(code, 3);
    assert_int_equal(count_files("aside", ".aside.json"), 2);
    char *err = file_read(inside("err"), NULL);
    assert_non_null(strstr(err, "shard 1 is set aside: it ended its worker 3 times (Aborted, at row 1)"));
    free(err);
    command_result r = command_run("status %s --json", inside("aside"));
    assert_non_null(strstr(r.out, "\"set_aside\":[0,1]"));
    command_clear(&r);
    r = command_run("merge %s -q", inside("aside"));
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "shard 0 was set aside: it ended its worker 3 times"));
    command_clear(&r);
    annotate_in(folder, "few.csv", "aside", SLOW "--workers 2", 3, NULL);
}

/* A shard that was set aside is passed over, and tried again where that is asked for. */
static void test_retry(void **state)
{
    static const char aside[] = "{\"tries\": 3}\n";
    (void)state;
    annotate_in(folder, "bad.csv", "alone", FAST "--shard-size 5", 3, NULL);
    annotate_in(folder, "bad.csv", "retried", FAST "--shard-size 5", 3, NULL);
    assert_int_equal(unlink(inside("retried/shard-000001.done.json")), 0);
    assert_int_equal(unlink(inside("retried/shard-000001.tar")), 0);
    file_write(inside("retried/shard-000001.aside.json"), aside, sizeof aside - 1);
    annotate_in(folder, "bad.csv", "retried", FAST "--workers 2", 3, NULL);
    assert_false(file_exists(inside("retried/shard-000001.tar")));
    size_t size;
    char *tar = file_read(inside("retried/shard-000000.tar"), &size); /* one that is damaged is done again too */
    assert_non_null(tar);
    tar[700] ^= 1;
    file_write(inside("retried/shard-000000.tar"), tar, size);
    free(tar);
    annotate_in(folder, "bad.csv", "retried", FAST "--workers 2 --retry", 3, NULL);
    assert_int_equal(count_files("retried", ".aside.json"), 0);
    annotate_expect_same(folder, "retried", "alone", 2);
    /* pictures that a part file held are counted as those of before */
    assert_int_equal(unlink(inside("retried/shard-000001.done.json")), 0);
    tar = file_read(inside("retried/shard-000001.tar"), &size);
    file_write(inside("retried/shard-000001.tar"), tar, size - 9000);
    free(tar);
    command_result r =
        command_run("annotate " ANNOTATE_MODEL " %s -o %s --method saliency --no-trace --resize 0 --workers 2",
                    inside("bad.csv"), inside("retried"));
    if (!strstr(r.out, "8 pictures annotated (7 before), 2 failed, 2 of 2 shards")) { fail_msg("%s", r.out); }
    assert_non_null(strstr(r.out, "failed pictures: the same command with --retry tries them again"));
    command_clear(&r);
}

/* One parent at a time; a stop ends all, and what is at hand is not lost. */
static void test_stop(void **state)
{
    (void)state;
    int code = 1000;
    const pid_t parent = start("few.csv", "stop", SLOW "--workers 2");
    for (int i = 0; i < 200 && count_files("stop", ".part.") < 2; i++) { pause_ms(50); }
    assert_int_equal(count_files("stop", ".part."), 2);
    annotate_in(folder, "few.csv", "stop", SLOW "--workers 2", 1, "another run (process");
    kill(parent, SIGKILL); /* its workers go with it */
    assert_int_equal(ended(parent, true), -SIGKILL);
    const pid_t again = start("m.csv", "stopped", FAST "--shard-size 7 --workers 2");
    for (int i = 0; i < 200 && count_files("stopped", ".part.") < 2; i++) { pause_ms(10); }
    kill(again, SIGTERM);
    code = ended(again, true);
    assert_true(code == 4 || code == 0);
    annotate_in(folder, "m.csv", "stopped", FAST "--workers 2", 0, NULL);
    annotate_in(folder, "m.csv", "alone", FAST "--shard-size 7", 0, NULL);
    annotate_expect_same(folder, "stopped", "alone", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_bytes, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_shard_sizes, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_kills, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_set_aside, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_retry, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_stop, open_folder, close_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
