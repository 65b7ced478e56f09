/*
 * test_annotate.c - spade annotate as a command: a store's content, its bytes whatever the threads, groups, shares and interruptions,
 * pictures that fail, and what is refused.
 */
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "store/shard.h"
#include "support/annotate.h"
#include "support/random.h"
#include "support/results.h"

#define IMAGES SPADE_TEST_DATA "/images/"
#define FAST "--resize 0 --device cpu --threads 1 -q "
#define SALIENCY FAST "--no-trace --method saliency "

static char *folder;

static const char *inside(const char *name)
{
    return path_inside(folder, name);
}

static void write_text(const char *name, const char *text)
{
    file_write(inside(name), text, strlen(text));
}

/* Scenes in turn, and every 10th picture is none. */
static void write_manifest(const char *name, int count)
{
    FILE *file = fopen(inside(name), "w");
    assert_non_null(file);
    fputs("label,image,note\n", file);
    for (int i = 0; i < count; i++) {
        if (i % 10 == 9) {
            fprintf(file, "%d,broken%d.png,none\n", i, i % 20);
        } else {
            fprintf(file, "%d," IMAGES "scene0%d.png,\"row, %d\"\n", i, i % 8, i);
        }
    }
    assert_int_equal(fclose(file), 0);
}

static int open_folder(void **state)
{
    (void)state;
    folder = folder_make();
    write_manifest("m.csv", 40);
    write_text("broken9.png", "\x89PNG no picture");
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static bool is_tar(const char *name)
{
    const size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".tar") == 0;
}

/* The two have the same shards, so many, of the same bytes; and nothing but shards, records and store.json is in the second. */
static void assert_same_stores(const char *a, const char *b, int shards)
{
    char own[300];
    int count = 0;
    DIR *all = opendir(inside(b));
    assert_non_null(all);
    for (const struct dirent *entry; (entry = readdir(all));) {
        const char *name = entry->d_name;
        if (strstr(name, ".part.") || strstr(name, ".spade-")) { fail_msg("%s: %s is left", b, name); }
        if (!is_tar(name)) { continue; }
        size_t sizes[2] = {0, 0};
        snprintf(own, sizeof own, "%.20s/%.200s", a, name);
        char *left = file_read(inside(own), &sizes[0]);
        snprintf(own, sizeof own, "%.20s/%.200s", b, name);
        char *right = file_read(inside(own), &sizes[1]);
        assert_true(left && right);
        if (sizes[0] != sizes[1] || memcmp(left, right, sizes[0]) != 0) { fail_msg("%s: %s differs", b, name); }
        free(left);
        free(right);
        count++;
    }
    closedir(all);
    assert_int_equal(count, shards);
}

/* ---- content */

typedef struct found_rows {
    spade_context *context;
    const char *path; /* of the tar */
    int rows, failed, maps;
} found_rows;

static spade_status check_row(void *user, const spade_shard_row *row)
{
    found_rows *found = user;
    const json_t *columns = json_object_get(row->record, "columns");
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)row->row);
    assert_string_equal(spade_json_text_at(columns, "label"), text);
    assert_string_equal(spade_json_text_at(columns, "image"), spade_json_text_at(row->record, "image"));
    found->rows++;
    found->maps += row->map_count;
    if (row->row % 10 == 9) {
        const char *error = spade_json_text_at(row->record, "error");
        assert_true(strncmp(error, "broken", 6) == 0); /* as the manifest names it: no path of this run */
        found->failed++;
        return SPADE_OK;
    }
    snprintf(text, sizeof text, "row, %lld", (long long)row->row);
    assert_string_equal(spade_json_text_at(columns, "note"), text);
    assert_true(json_is_object(json_object_get(row->record, "dense")));
    assert_true(json_is_object(json_object_get(row->record, "trace")));
    return SPADE_OK;
}

static void read_shard(const char *store, int64_t shard, found_rows *found)
{
    spade_store opened;
    spade_shard_beginning beginning;
    assert_int_equal(spade_store_open(found->context, inside(store), &opened), SPADE_OK);
    char *path = spade_store_path(found->context, &opened, shard, SPADE_SHARD_TAR);
    assert_int_equal(spade_shard_read(found->context, &opened, shard, path, check_row, found, &beginning), SPADE_OK);
    if (!beginning.complete) { fail_msg("%s: %s", path, beginning.reason); }
    free(path);
    spade_store_clear(&opened);
}

/* A store is whole, tar and WebDataset readers see what is there, and maps are those of explain, byte for byte. */
static void test_content(void **state)
{
    (void)state;
    char command[1500];
    found_rows found = {0};
    assert_int_equal(spade_context_create(NULL, &found.context), SPADE_OK);
    annotate_in(folder, "m.csv", "a", FAST "--variants 8 --method saliency,gradcam:layer=layer4 --shard-size 16", 3,
                "broken9.png");
    for (int s = 0; s < 3; s++) { read_shard("a", s, &found); }
    assert_int_equal(found.rows, 40);
    assert_int_equal(found.failed, 4);
    assert_int_equal(found.maps, 36 * 2 * 2);
    spade_context_destroy(found.context);
    command_result r = command_run("explain " ANNOTATE_MODEL " " IMAGES "scene01.png -o %s " FAST
                                   "--variants 8 --method saliency,gradcam:layer=layer4",
                                   inside("e"));
    assert_int_equal(r.code, 0);
    command_clear(&r);
    snprintf(command, sizeof command,
             "cd %s && mkdir x && tar xf a/shard-000001.tar -C x && test $(ls x | wc -l) = $((16 + 4 * 14)) && cd x &&"
             "cmp 000000017.saliency.npy ../e/scene01/dense_saliency.npy &&"
             "cmp 000000017.gradcam.trace.npy ../e/scene01/trace_gradcam.npy &&"
             "tar tf ../a/shard-000001.tar | LC_ALL=C sort | cut -d. -f1 | uniq -c | wc -l | grep -qx 16 &&"
             "sha256sum ../a/shard-000001.tar | cut -d' ' -f1 | grep -qf - ../a/shard-000001.done.json",
             folder);
    assert_int_equal(system(command), 0);
}

/* Threads, groups, shares of a cluster, and where the run stands change no byte. */
static void test_same_bytes(void **state)
{
    (void)state;
    annotate_in(folder, "m.csv", "b", SALIENCY "--shard-size 7", 3, NULL);
    annotate_in(folder, "m.csv", "c",
                "--resize 0 --device cpu -q --no-trace --method saliency --threads 2 --in-flight 5 --shard-size 7", 3,
                NULL);
    assert_same_stores("b", "c", 6);
    char line[2000];
    for (int i = 0; i < 3; i++) {
        snprintf(
            line, sizeof line,
            "cd %s && SLURM_ARRAY_TASK_ID=%d SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=10 SLURM_ARRAY_TASK_STEP=2 "
            "OMP_WAIT_POLICY=passive " SPADE_COMMAND " annotate " ANNOTATE_MODEL " m.csv -o d " SALIENCY
            "--shard-size 7 2>/dev/null",
            folder, 10 + 2 * i);
        const int status = system(line);
        assert_true(WEXITSTATUS(status) == (i ? 3 : 0)); /* the first share has no picture that fails */
    }
    assert_same_stores("b", "d", 6);
}

/* What a cluster's variables come to: the share that the run says it takes. */
static void test_shares(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"SLURM_PROCID=1 SLURM_NTASKS=2 SLURM_STEP_NUM_TASKS=2",
         "share 1 of 2, from 0 on (SLURM_PROCID, SLURM_STEP_NUM_TASKS)"},
        {"SLURM_ARRAY_TASK_ID=4 SLURM_ARRAY_TASK_COUNT=2 SLURM_ARRAY_TASK_MIN=3 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2",
         "share 3 of 4, from 0 on (SLURM_ARRAY_TASK_ID, SLURM_PROCID)"},
        {"SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=1 OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4",
         "share 2 of 4, from 0 on (OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE)"},
        {"SLURM_PROCID=0 SLURM_NTASKS=4", "40 inputs"}, /* a batch script: all */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[1500];
        snprintf(line, sizeof line,
                 "cd %s && rm -rf shares && { OMP_WAIT_POLICY=passive %s " SPADE_COMMAND " annotate " ANNOTATE_MODEL
                 " m.csv -o shares --resize 0 --device cpu --no-trace --method saliency --workers 1 --shard-size 10 "
                 ">/dev/null 2>said; test $? = 3; } && grep -qF '%s' said",
                 folder, cases[i][0], cases[i][1]);
        if (system(line) != 0) { fail_msg("%s", line); }
    }
}

/* Pictures of folders, with the folders as labels, as PNG and float16. */
static void test_tree(void **state)
{
    (void)state;
    char command[1500];
    snprintf(command, sizeof command,
             "cd %s && mkdir -p t/one t/two && cp " IMAGES "scene00.png t/one && cp " IMAGES "scene01.png t/two",
             folder);
    assert_int_equal(system(command), 0);
    annotate_in(folder, "t", "tree", SALIENCY "--values png", 0, NULL);
    annotate_in(folder, "t", "half", SALIENCY "--values float16", 0, NULL);
    annotate_in(folder, "t", "half", SALIENCY, 2, "values: \"float16\", now \"float32\"");
    snprintf(command, sizeof command,
             "cd %s && tar xOf tree/shard-000000.tar 000000001.json | grep -q "
             "'\"columns\":{\"image\":\"two/scene01.png\",\"label\":"
             "\"two\"}' && tar tf tree/shard-000000.tar | grep -qx 000000000.saliency.png &&"
             "tar xOf half/shard-000000.tar 000000000.saliency.npy | grep -aq \"'<f2'\"",
             folder);
    assert_int_equal(system(command), 0);
}

/* Pictures that lie in a folder, beside other files and folders without pictures. */
static void test_flat(void **state)
{
    (void)state;
    char command[1500];
    snprintf(command, sizeof command,
             "cd %s && mkdir -p flat/notes && cp " IMAGES "scene01.png flat/b.png && cp " IMAGES
             "scene00.png flat/Z.png && echo x >flat/notes/a.txt && echo x >flat/a.txt",
             folder);
    assert_int_equal(system(command), 0);
    annotate_in(folder, "flat", "of_flat", "--resize 0 --device cpu --no-trace --method saliency", 0,
                "flat: skipped: 1 other file");
    annotate_in(folder, "flat", "of_flat", SALIENCY, 0, NULL);
    annotate_in(folder, "flat", "flat", SALIENCY, 2, "is the folder of the inputs");
    annotate_in(folder, "flat/notes", "none", SALIENCY, 1, "neither it nor a folder in it holds a picture");
    snprintf(command, sizeof command,
             "cd %s && for i in '0 Z' '1 b'; do set -- $i; tar xOf of_flat/shard-000000.tar 00000000$1.json | grep -q "
             "\"\\\"columns\\\":{\\\"image\\\":\\\"$2.png\\\"}\" || exit 1; done",
             folder);
    assert_int_equal(system(command), 0);
    /* a store among the pictures is none of them */
    annotate_in(folder, "flat", "flat/store", SALIENCY, 0, NULL);
    annotate_in(folder, "flat", "flat/store", SALIENCY, 0, NULL);
    command_result r = command_run("merge %s --html -q", inside("of_flat"));
    assert_int_equal(r.code, 0);
    assert_string_equal(r.err, "");
    command_clear(&r);
}

/* ---- interruptions */

/* Its exit code, or -signal. */
static int annotate_and_signal(const char *store, int number, double seconds)
{
    char command[3000];
    snprintf(command, sizeof command,
             "exec env OMP_WAIT_POLICY=passive " SPADE_COMMAND " annotate " ANNOTATE_MODEL " %s -o %s " SALIENCY
             "--shard-size 7 >/dev/null 2>&1",
             inside("m.csv"), inside(store));
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    const struct timespec wait = {0, (long)(seconds * 1e9)};
    nanosleep(&wait, NULL);
    kill(child, number);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Killed again and again, also by the signal that lets it end by itself: the bytes are those of one that ran through. */
static void test_killed(void **state)
{
    (void)state;
    const int kills = getenv("SPADE_TEST_EXHAUSTIVE") ? 200 : 12;
    random_stream random = {.key = 3};
    annotate_in(folder, "m.csv", "k", SALIENCY "--shard-size 7", 3, NULL);
    for (int i = 0, stores = 0; i < kills; i++) {
        char name[32];
        snprintf(name, sizeof name, "killed%d", stores);
        const bool asks = i % 3 == 2;
        const int code = annotate_and_signal(name, asks ? SIGTERM : SIGKILL, 0.01 + 0.11 * random_unit(&random));
        if (code == 3) { stores++; }
        /* a request that comes before it is listened to ends it as any signal does */
        assert_true(code == 3 || code == (asks ? 4 : -SIGKILL) || (asks && code == -SIGTERM));
        if (code != 3 && i + 1 < kills) { continue; }
        annotate_in(folder, "m.csv", name, SALIENCY "--shard-size 7", 3, NULL);
        assert_same_stores("k", name, 6);
    }
}

/* A file that must not grow: one line, and what was done before stays. */
static void test_full(void **state)
{
    (void)state;
    char line[2000], path[300];
    annotate_in(folder, "m.csv", "f", SALIENCY "--shard-size 7", 3, NULL);
    snprintf(path, sizeof path, "%s", inside("full"));
    snprintf(line, sizeof line,
             "ulimit -f 300; OMP_WAIT_POLICY=passive " SPADE_COMMAND " annotate " ANNOTATE_MODEL " %s -o %s " SALIENCY
             "--shard-size 7 2>%s >/dev/null",
             inside("m.csv"), path, inside("said"));
    const int status = system(line);
    assert_int_equal(WEXITSTATUS(status), 1);
    char *said = file_read(inside("said"), NULL);
    assert_non_null(strstr(said, "cannot write: File too large"));
    free(said);
    annotate_in(folder, "m.csv", "full", SALIENCY "--shard-size 7", 3, NULL);
    assert_same_stores("f", "full", 6);
}

/* Must end with 0. */
static void shell(const char *line)
{
    if (system(line) != 0) { fail_msg("%s", line); }
}

/* Pictures that are cut off, say that they are huge, or end their decoder (a stand-in beside a copy of spade, which a signal ends): each is
 * named, and the rest done. */
static void test_poisoned(void **state)
{
    static const char *const names[] = {"cut.png", "huge.ppm", "killer.png"};
    static const char stand_in[] = "#!/bin/sh\ncase $(readlink /proc/$$/fd/0) in */killer.png) kill -SEGV $$ ;; esac\n"
                                   "exec $(dirname " SPADE_COMMAND ")/spade-decode \"$@\"\n";
    char line[2000];
    (void)state;
    write_text("spade-decode", stand_in);
    write_text("huge.ppm", "P6\n100000 100000\n255\nabc");
    snprintf(line, sizeof line,
             "cd %s && cp " SPADE_COMMAND " spade && chmod +x spade-decode && head -c 1000 " IMAGES
             "scene00.png >cut.png && cp " IMAGES "scene00.png killer.png",
             folder);
    shell(line);
    FILE *file = fopen(inside("poisoned.csv"), "w");
    assert_non_null(file);
    fputs("image\n", file);
    for (int i = 0; i < 12; i++) {
        fprintf(file, "%s%s\n", i % 4 == 3 ? "" : IMAGES, i % 4 == 3 ? names[i / 4] : "scene00.png");
    }
    assert_int_equal(fclose(file), 0);
    for (int workers = 1; workers <= 2; workers++) {
        snprintf(line, sizeof line,
                 "cd %s && { OMP_WAIT_POLICY=passive ./spade annotate " ANNOTATE_MODEL
                 " poisoned.csv -o poisoned%d --workers %d " SALIENCY
                 "--shard-size 4 >/dev/null 2>said; test $? = 3; } && test $(wc -l <said) = 3 &&"
                 "grep -q '^spade: cut.png: PNG is truncated' said &&"
                 "grep -q '^spade: huge.ppm: 100000 x 100000 pixels, the limit' said &&"
                 "grep -q '^spade: killer.png: the picture decoder crashed on it' said &&"
                 "test $(grep -l '\"count\": *3' poisoned%d/*.done.json | wc -l) = 3",
                 folder, workers, workers, workers);
        shell(line);
    }
    assert_same_stores("poisoned1", "poisoned2", 3);
}

/* A disk without room, and one that cannot be written to: one line, whoever writes; and on it goes when there is room. */
static void test_disks(void **state)
{
    static const char script[] = "run() { OMP_WAIT_POLICY=passive " SPADE_COMMAND " annotate " ANNOTATE_MODEL
                                 " plain.csv -o small " SALIENCY "--shard-size 4 --workers $1 2>said >/dev/null; }\n"
                                 "refused() { run $1 && exit 1; test $(wc -l <said) = 1; grep -qi \"$2\" said; }\n"
                                 "set -e; mount -t tmpfs -o size=600k none small\n"
                                 "refused 1 'no space left'; refused 2 'no space left'; mount -o remount,ro small\n"
                                 "refused 1 'read-only file system'; refused 2 'read-only file system'\n"
                                 "mount -o remount,rw,size=20m small; run 1; cp -r small roomy\n";
    char line[1000];
    (void)state;
    if (system("unshare --mount true 2>/dev/null") != 0) { skip(); }
    write_text("disks.sh", script);
    snprintf(line, sizeof line,
             "cd %s && mkdir small && for i in $(seq 20); do echo " IMAGES
             "scene01.png; done | sed '1iimage' >plain.csv",
             folder);
    shell(line);
    annotate_in(folder, "plain.csv", "wide", SALIENCY "--shard-size 4", 0, NULL);
    snprintf(line, sizeof line, "cd %s && unshare --mount sh disks.sh", folder);
    shell(line);
    assert_same_stores("wide", "roomy", 5);
}

/* Two runs on one store, a tar that is gone, one that was cut off, and a record that is no JSON. */
static void test_damaged(void **state)
{
    (void)state;
    char line[3000];
    annotate_in(folder, "m.csv", "r", SALIENCY "--shard-size 7", 3, NULL);
    snprintf(
        line, sizeof line,
        "cd %s && for i in 1 2; do OMP_WAIT_POLICY=passive " SPADE_COMMAND " annotate " ANNOTATE_MODEL
        " m.csv -o two " SALIENCY
        "--shard-size 7 >/dev/null 2>&1 & done; wait; rm two/shard-000001.tar; truncate -s 5000 two/shard-000002.tar;"
        "echo x >two/shard-000003.done.json",
        folder);
    assert_int_equal(system(line), 0);
    annotate_in(folder, "m.csv", "two", SALIENCY, 3, NULL); /* without --shard-size: the store's */
    assert_same_stores("r", "two", 6);
    /* a byte of a map, and one of a record, that only checksums tell */
    snprintf(
        line, sizeof line,
        "cd %s/two && for s in 1 4; do printf '\\001' | dd of=shard-00000$s.tar bs=1 seek=700 conv=notrunc 2>&1; done",
        folder);
    assert_int_equal(system(line), 0);
    annotate_in(folder, "m.csv", "two", SALIENCY, 3, NULL);
    command_result r = command_run("merge %s -q", inside("two"));
    assert_int_equal(r.code, 3);
    assert_non_null(strstr(r.err, "shard-000001.tar: its SHA-256"));
    assert_non_null(strstr(r.err, "; the same annotate with --retry does it again"));
    command_clear(&r);
    annotate_in(folder, "m.csv", "two", SALIENCY "--retry", 3, NULL);
    assert_same_stores("r", "two", 6);
}

/* Records that speak of other rows, and a store without store.json: neither is believed. */
static void test_records(void **state)
{
    (void)state;
    char line[1000];
    annotate_in(folder, "m.csv", "w", SALIENCY "--shard-size 7", 3, NULL);
    snprintf(line, sizeof line,
             "cp -r %s/w %s/v && cd %s/v && sed -i 's/\"shard\": 2/\"shard\": 3/' shard-000002.done.json && "
             "tr '\\n' ' ' <shard-000004.done.json | sed 's/\"rows\": \\[ *28/\"rows\": [ 27/' >x && mv x "
             "shard-000004.done.json",
             folder, folder, folder);
    assert_int_equal(system(line), 0);
    annotate_in(folder, "m.csv", "v", "--resize 0 --device cpu --threads 1 --no-trace --method saliency", 3,
                "shard-000002.done.json: it names another shard, or other rows");
    annotate_in(folder, "m.csv", "v", SALIENCY, 3, NULL);
    assert_same_stores("w", "v", 6);
    assert_int_equal(unlink(inside("v/store.json")), 0);
    annotate_in(folder, "m.csv", "v", SALIENCY "--shard-size 7 --seed 4", 2,
                ".done.json: of another configuration, and");
    assert_false(file_exists(inside("v/store.json")));
    annotate_in(folder, "m.csv", "v", SALIENCY "--shard-size 7", 3, NULL);
    assert_same_stores("w", "v", 6);
}

/* A decoder that cannot be started is no picture's fault: the rows stay to do. */
static void test_no_decoder(void **state)
{
    (void)state;
    char line[1500];
    snprintf(line, sizeof line,
             "cd %s && mkdir bin && cp " SPADE_COMMAND " bin && bin/spade annotate " ANNOTATE_MODEL
             " m.csv -o undecoded " SALIENCY
             ">out 2>err; test $? = 1 && grep -q 'spade-decode is missing' err && test $(wc -l <err) = 1 && "
             "test -f undecoded/store.json && ! test -f undecoded/shard-000000.done.json",
             folder);
    assert_int_equal(system(line), 0);
    annotate_in(folder, "m.csv", "undecoded", SALIENCY, 3, NULL);
    snprintf(
        line, sizeof line,
        "cd %s && bin/spade merge undecoded --html >out 2>err; test $? = 1 && grep -q 'spade-decode is missing' err && "
        "bin/spade explain " ANNOTATE_MODEL " " IMAGES "scene00.png " IMAGES "scene01.png -o unexplained " SALIENCY
        ">out 2>err; test $? = 1 && grep -q 'spade-decode is missing' err && ! test -e unexplained",
        folder);
    assert_int_equal(system(line), 0);
}

/* Pictures that are there by now. */
static void test_retry(void **state)
{
    (void)state;
    char line[1000];
    annotate_in(folder, "m.csv", "n", SALIENCY "--shard-size 7", 3, NULL);
    snprintf(line, sizeof line, "cp " IMAGES "scene00.png %s", inside("broken19.png"));
    assert_int_equal(system(line), 0);
    annotate_in(folder, "m.csv", "n", SALIENCY "--shard-size 7", 3, NULL);
    command_result r =
        command_run("annotate " ANNOTATE_MODEL " %s -o %s --resize 0 --device cpu --no-trace --method saliency --retry",
                    inside("m.csv"), inside("n"));
    assert_int_equal(r.code, 3);
    assert_non_null(strstr(r.out, "38 pictures annotated"));
    assert_non_null(strstr(r.out, "2 failed"));
    assert_null(strstr(r.out, "older than"));
    command_clear(&r);
    write_text("n/index.sqlite", "");
    r = command_run("annotate " ANNOTATE_MODEL " %s -o %s --resize 0 --device cpu --no-trace --method saliency",
                    inside("m.csv"), inside("n"));
    assert_null(strstr(r.out, "older than"));
    command_clear(&r);
    r = command_run("annotate " ANNOTATE_MODEL " %s -o %s --resize 0 --device cpu --no-trace --method saliency --retry",
                    inside("m.csv"), inside("n"));
    assert_non_null(strstr(r.out, "index and gallery are older than these results"));
    command_clear(&r);
    unlink(inside("broken19.png"));
}

/* All pictures fail: 20 lines and one that counts the others, alone and with workers; code 3, as the records are there. */
static void test_failures(void **state)
{
    (void)state;
    FILE *file = fopen(inside("failing.csv"), "w");
    assert_non_null(file);
    fputs("image\n", file);
    for (int i = 0; i < 25; i++) { fprintf(file, "nowhere%d.png\n", i); }
    assert_int_equal(fclose(file), 0);
    for (int workers = 1; workers <= 2; workers++) {
        char name[20];
        snprintf(name, sizeof name, "failing%d", workers);
        command_result r = command_run("annotate " ANNOTATE_MODEL " %s -o %s --workers %d " SALIENCY,
                                       inside("failing.csv"), inside(name), workers);
        int lines = 0;
        for (const char *at = r.err; (at = strchr(at, '\n')); at++) { lines++; }
        if (r.code != 3 || lines != 21 || !strstr(r.err, "\nspade: 5 more failed; ")) {
            fail_msg("%d: %s", r.code, r.err);
        }
        command_clear(&r);
    }
}

/* ---- what is refused */

static void test_refused(void **state)
{
    (void)state;
    char line[1500];
    annotate_in(folder, "m.csv", "q", SALIENCY, 3, NULL);
    annotate_in(folder, "m.csv", "q", SALIENCY "--seed 3", 2, "configuration.seed: 0, now 3");
    annotate_in(folder, "m.csv", "q", SALIENCY "--shard-size 3", 2, ", now 3");
    snprintf(line, sizeof line, "cd %s && mkdir explained checked && touch explained/results.jsonl checked/check.html",
             folder);
    assert_int_equal(system(line), 0);
    annotate_in(folder, "m.csv", "explained", SALIENCY, 2, "holds the results of another command (results.jsonl)");
    annotate_in(folder, "m.csv", "checked", SALIENCY, 2, "holds the results of another command (check.html)");
    write_text("one.csv", "image\n" IMAGES "scene00.png\n");
    snprintf(line, sizeof line, "%s", inside("one.csv"));
    const char *const others[][2] = {
        {"explain", IMAGES "scene00.png"}, {"evaluate --metric gini", line}, {"check", IMAGES "scene00.png"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        command_result r = command_run("%s " ANNOTATE_MODEL " %s --device cpu --resize 0 -o %s", others[i][0],
                                       others[i][1], inside("q"));
        if (r.code != 2 || !strstr(r.err, "holds a store of spade annotate (store.json)")) {
            fail_msg("%s: code %d: %s", others[i][0], r.code, r.err);
        }
        command_clear(&r);
    }
    write_manifest("m2.csv", 41);
    annotate_in(folder, "m2.csv", "q", SALIENCY, 2, "q was begun with another manifest, of 40 rows, now 41 (or");
    write_text("close.csv", "image,lable,masks,id\nbroken9.png,1,m.png,2\n");
    annotate_in(folder, "close.csv", "close", "--resize 0 --device cpu --no-trace --metric roc_auc", 3,
                "column 'lable' is kept, but not read as the label: no column is called label\n");
    annotate_in(folder, "close.csv", "close", "--resize 0 --device cpu --no-trace --metric roc_auc", 3,
                "column 'masks' is kept, but not read as the mask: no column is called mask\nspade: warning: --metric: "
                "roc_auc has no value: the manifest has no mask");
    annotate_in(folder, "m.csv", "q", SALIENCY "--values int8", 2, "float32, float16, png");
    annotate_in(folder, "m.csv", "q", SALIENCY "--no-dense", 2, "nothing to do");
    annotate_in(folder, "m.csv", "q", SALIENCY "--shard 2/2", 2, "0 <= i < n");
    annotate_in(folder, "none.csv", "q", SALIENCY, 1, "No such file");
    annotate_in(folder, "m.csv", "m.csv", SALIENCY, 1, "cannot make the folder");
    write_text("twice.csv", "image,a,a\nx.png,1,2\n");
    annotate_in(folder, "twice.csv", "new", SALIENCY, 1, "twice");
    write_text("latin.csv", "image,l\xe4\nx.png,1\n");
    annotate_in(folder, "latin.csv", "new", SALIENCY, 1, "the name of a column is not UTF-8");
    assert_false(file_exists(inside("new")));
    static const char *const variables[] = {"SLURM_ARRAY_TASK_ID=1", "SLURM_STEP_NUM_TASKS=2",
                                            "SLURM_PROCID=2 SLURM_STEP_NUM_TASKS=2",
                                            "OMPI_COMM_WORLD_RANK=a OMPI_COMM_WORLD_SIZE=2"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        snprintf(line, sizeof line, "%s " SPADE_COMMAND " annotate " ANNOTATE_MODEL " %s -o %s " SALIENCY "2>/dev/null",
                 variables[i], inside("m.csv"), inside("q"));
        const int status = system(line);
        assert_int_equal(WEXITSTATUS(status), 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content), cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_shares),
        cmocka_unit_test(test_tree),    cmocka_unit_test(test_flat),       cmocka_unit_test(test_killed),
        cmocka_unit_test(test_full),    cmocka_unit_test(test_poisoned),   cmocka_unit_test(test_disks),
        cmocka_unit_test(test_damaged), cmocka_unit_test(test_records),    cmocka_unit_test(test_no_decoder),
        cmocka_unit_test(test_retry),   cmocka_unit_test(test_failures),   cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
