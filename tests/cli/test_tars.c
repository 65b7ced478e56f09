/*
 * test_tars.c - spade annotate on tars of WebDataset: the same store whoever does its shards, what is kept of a sample, and tars that are
 * changed, cut off or not there.
 */
#include <archive.h>
#include <signal.h>
#include <time.h>

#include "support/annotate.h"
#include "support/tars.h"

#define IMAGES SPADE_TEST_DATA "/images"
#define PLAIN "--resize 0 --device cpu --no-trace --method saliency --shard-size 5 -q "
#define FAST PLAIN "--threads 1 "
#define LOUD "--resize 0 --device cpu --no-trace --method saliency --workers 1 "

enum { TARS = 3, OF_TAR = 6, SHARDS = 4 };

static char *folder;

static const char *inside(const char *name)
{
    return path_inside(folder, name);
}

static void add_picture(struct archive *tar, const char *name, int number)
{
    char path[300];
    size_t size = 0;
    snprintf(path, sizeof path, IMAGES "/scene%02d.png", number % 8);
    char *bytes = file_read(path, &size);
    assert_non_null(bytes);
    tar_add(tar, name, bytes, size);
    free(bytes);
}

/* Samples first..first+OF_TAR-1; the 5th, 10th, ... has a picture that is none. */
static void write_tar(const char *name, int filter, int first)
{
    struct archive *tar = tar_make(inside(name), filter, 0);
    for (int i = first; i < first + OF_TAR; i++) {
        char member[64], text[64];
        snprintf(member, sizeof member, "cats/%03d.cls", i);
        snprintf(text, sizeof text, "%d\n", i);
        tar_add_text(tar, member, text);
        snprintf(member, sizeof member, "cats/%03d.png", i);
        if (i % 5 == 4) {
            tar_add_text(tar, member, "\x89PNG no picture");
        } else {
            add_picture(tar, member, i);
        }
        snprintf(member, sizeof member, "cats/%03d.json", i);
        tar_add_text(tar, member, "{\"a\": [1, 2]}");
    }
    tar_end(tar);
}

static int open_folder(void **state)
{
    (void)state;
    folder = folder_make();
    char command[300];
    snprintf(command, sizeof command, "cd %s && mkdir plain gz", folder);
    assert_int_equal(system(command), 0);
    for (int i = 0; i < TARS; i++) {
        char name[64];
        snprintf(name, sizeof name, "plain/train-%06d.tar", i);
        write_tar(name, ARCHIVE_FILTER_NONE, i * OF_TAR);
        snprintf(name, sizeof name, "gz/train-%06d.tar.gz", i);
        write_tar(name, ARCHIVE_FILTER_GZIP, i * OF_TAR);
    }
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static void kill_and_go_on(const char *manifest, const char *store)
{
    for (int i = 0; i < 3; i++) {
        char command[1500];
        snprintf(command, sizeof command,
                 "exec env OMP_WAIT_POLICY=passive " SPADE_COMMAND " annotate " ANNOTATE_MODEL " %s -o %s " FAST
                 ">/dev/null 2>&1",
                 inside(manifest), inside(store));
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            execl("/bin/sh", "sh", "-c", command, (char *)NULL);
            _exit(127);
        }
        const struct timespec wait = {0, 70000000 + i * 20000000};
        nanosleep(&wait, NULL);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
    }
    annotate_in(folder, manifest, store, FAST, 3, NULL);
}

/* Shares, workers, threads, groups and kills; of tars that can be entered anywhere, and of such as cannot. */
static void test_same_bytes(void **state)
{
    (void)state;
    static const char *const forms[][2] = {{"plain", "plain/train-{000000..000002}.tar"}, {"gz", "gz/*.tar.gz"}};
    for (int f = 0; f < 2; f++) {
        char names[5][16];
        for (int i = 0; i < 5; i++) { snprintf(names[i], sizeof names[i], "%s%d", forms[f][0], i); }
        annotate_in(folder, forms[f][0], names[0], FAST, 3, "cats/014.png: not a picture");
        annotate_in(folder, forms[f][1], names[1], FAST "--shard 1/2", 3, NULL);
        annotate_in(folder, forms[f][1], names[1], FAST "--shard 0/2", 3, NULL);
        annotate_in(folder, forms[f][1], names[2], PLAIN "--threads 2 --workers 2", 3, "cats/004.png: not a picture");
        annotate_in(folder, forms[f][1], names[3], PLAIN "--threads 2 --in-flight 4", 3, NULL);
        kill_and_go_on(forms[f][0], names[4]);
        for (int i = 1; i < 5; i++) { annotate_expect_same(folder, names[i], names[0], SHARDS); }
        annotate_in(folder, forms[f][0], names[0], FAST "--retry", 3, "cats/014.png: not a picture");
        annotate_expect_same(folder, names[0], names[1], SHARDS);
        char index[64];
        snprintf(index, sizeof index, "%s/tars.index", names[0]);
        assert_int_equal(unlink(inside(index)), 0); /* nothing depends on it */
        annotate_in(folder, forms[f][0], names[0], FAST, 3, NULL);
        assert_true(file_exists(inside(index)));
    }
}

/* A sample's map is its picture's as a file, its texts are columns, and its mask is one. */
static void test_content(void **state)
{
    (void)state;
    char command[2000];
    struct archive *tar = tar_make(inside("one.tar"), ARCHIVE_FILTER_ZSTD, 0);
    add_picture(tar, "x/a.png", 1);
    tar_add_text(tar, "x/a.txt", "a \"caption\"");
    size_t size = 0;
    char *mask = file_read(SPADE_SOURCE_DIR "/examples/masks/scene01.png", &size);
    assert_non_null(mask);
    tar_add(tar, "x/a.mask.png", mask, size);
    free(mask);
    tar_add_text(tar, "x/a.json", "{\"label\": \"cat\"}");
    tar_end(tar);
    annotate_in(folder, "one.tar", "one", FAST "--metric roc_auc", 0, NULL);
    command_result r =
        command_run("explain " ANNOTATE_MODEL " " IMAGES "/scene01.png -o %s --resize 0 --device cpu --threads 1 "
                    "--no-trace --method saliency -q",
                    inside("e"));
    assert_int_equal(r.code, 0);
    command_clear(&r);
    snprintf(
        command, sizeof command,
        "cd %s && mkdir out && tar xf one/shard-000000.tar -C out && "
        "cmp out/000000000.saliency.npy e/scene01/dense_saliency.npy && grep -q "
        "'\"columns\":{\"image\":\"one.tar/x/a.png\","
        "\"__key__\":\"x/a\",\"mask\":\"one.tar/x/a.mask.png\",\"label\":\"cat\",\"txt\":\"a "
        ".\"caption.\"\",\"json\":' "
        "out/000000000.json && grep -q '\"roc_auc\":0[.]' out/000000000.json && grep -q mask_xxh128 out/000000000.json",
        folder);
    assert_int_equal(system(command), 0);
}

/* Pictures are drawn as long as the tars are there, and the same ones. */
static void test_gallery(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        char command[600];
        if (i == 1) { write_tar("g/train-000001.tar", ARCHIVE_FILTER_GZIP, OF_TAR); }
        snprintf(command, sizeof command, "cd %s && %s", folder, i ? "rm g/train-000000.tar" : "cp -r plain g");
        if (i != 1) { assert_int_equal(system(command), 0); }
        if (i == 0) { annotate_in(folder, "g", "gs", FAST, 3, NULL); }
        command_result r = command_run("merge %s --html -q", inside("gs"));
        if (r.code || *r.err) { fail_msg("code %d: %s", r.code, r.err); }
        command_clear(&r);
        char *text = file_read(inside("gs/gallery/page-0001.html"), NULL);
        assert_non_null(text);
        assert_true(!strstr(text, "not there, or another one: train-000000.tar/cats/001.png") == !i);
        free(text);
    }
}

/* A folder of tars that also holds their store; one that holds folders of pictures, too. */
static void test_folders(void **state)
{
    (void)state;
    char line[600];
    snprintf(line, sizeof line, "cd %s && mkdir mixed && cp plain/train-000000.tar mixed", folder);
    assert_int_equal(system(line), 0);
    annotate_in(folder, "mixed", "mixed/store", FAST, 3, NULL);
    annotate_in(folder, "mixed", "mixed/store", FAST, 3, NULL);
    snprintf(line, sizeof line, "cd %s && mkdir mixed/cat && cp " IMAGES "/scene00.png mixed/cat", folder);
    assert_int_equal(system(line), 0);
    annotate_in(folder, "mixed", "of_mixed", LOUD, 0, "of 1 tar nothing is read");
}

/* What is not UTF-8 cannot be in a record. */
static void test_foreign_text(void **state)
{
    (void)state;
    struct archive *tar = tar_make(inside("foreign.tar"), ARCHIVE_FILTER_NONE, 0);
    add_picture(tar, "caf\xe9.png", 0);
    add_picture(tar, "b.png", 1);
    tar_add_text(tar, "b.cls", "caf\xe9\n");
    tar_end(tar);
    annotate_in(folder, "foreign.tar", "foreign", LOUD, 0, "1 name is not UTF-8 (caf");
}

/* Texts that give no label are counted; those that give one, or say nothing of it, are not. */
static void test_labels(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        {"cls", "3\n"},
        {"json", "{\"label\": null, \"cls\": 4}"},
        {"json", "{\"caption\": \"a cat\"}"},
        {"cls", "1\n2\n"}, /* from here on none is a label */
        {"cls", ""},
        {"cls", "caf\xe9\n"},
        {"json", "{\"label\": 1.5}"},
        {"json", "[1]"},
        {"json", "no JSON"},
        {"json", "{\"label\": 12345678901234567890123}"},
    };
    struct archive *tar = tar_make(inside("labels.tar"), ARCHIVE_FILTER_NONE, 0);
    for (int i = 0; i < (int)(sizeof texts / sizeof *texts); i++) {
        char member[32];
        snprintf(member, sizeof member, "%02d.png", i);
        add_picture(tar, member, i);
        snprintf(member, sizeof member, "%02d.%s", i, texts[i][0]);
        tar_add_text(tar, member, texts[i][1]);
    }
    tar_end(tar);
    annotate_in(folder, "labels.tar", "labels", LOUD, 0,
                "labels.tar/03.png, ...: no label in .cls or .json, which are");
    annotate_in(folder, "labels.tar", "labels2", LOUD, 0,
                "of UTF-8, or a \"label\" or \"cls\" that is such a text or a whole number (7 samples)");
}

/* What is there twice, behind an end, or no pictures at all. */
static void test_odd_tars(void **state)
{
    (void)state;
    char line[600];
    snprintf(line, sizeof line,
             "cd %s && mkdir odd && cat plain/train-000000.tar plain/train-000001.tar >odd/joined.tar && "
             "cp plain/train-000002.tar odd/a.tar && ln -s a.tar odd/b.tar && cp odd/a.tar odd/shard-000000.tar",
             folder);
    assert_int_equal(system(line), 0);
    annotate_in(folder, "odd/joined.tar", "odd/s1", LOUD, 3, "joined.tar: not read: what stands behind the mark of");
    annotate_in(folder, "odd/{a,b}.tar", "odd/s2", LOUD, 3, "1 tar is there twice (");
    annotate_in(folder, "odd/{a,shard-000000}.tar", "odd/s3", FAST, 3, NULL); /* only called as a shard */
    annotate_in(folder, "odd/s1", "odd/s4", FAST, 1, "odd/s1: the results of a command, not a data set");
    annotate_in(folder, "odd/s1/shard-*.tar", "odd/s4", FAST, 1,
                "shard-000000.tar: a shard of results of spade annotate");
}

static void test_refused(void **state)
{
    (void)state;
    char command[1000];
    annotate_in(folder, "plain", "r", FAST, 3, NULL);
    annotate_in(folder, "plain/train-{000000..000001}.tar", "r", FAST, 2, "another manifest, of 18 rows, now 12");
    annotate_in(folder, "plain/train-{000000..000003}.tar", "r", FAST, 1, "train-000003.tar: No such file");
    annotate_in(folder, "plain/train-{000000,000002,000001}.tar", "r", FAST, 2,
                "another manifest (or this one was changed since: SHA-256 ");
    snprintf(command, sizeof command, "cd %s && mkdir changed && cp plain/* changed", folder);
    assert_int_equal(system(command), 0);
    annotate_in(folder, "changed", "r", FAST, 3, NULL); /* the same, elsewhere */
    write_tar("changed/train-000001.tar", ARCHIVE_FILTER_NONE, 100);
    annotate_in(folder, "changed", "r", FAST, 2,
                "another manifest (or this one was changed since: SHA-256 "); /* of the same size */
    snprintf(command, sizeof command, "cd %s && truncate -s 9000 changed/train-000001.tar", folder);
    assert_int_equal(system(command), 0);
    annotate_in(folder, "changed", "r2", FAST, 1, "changed/train-000001.tar: damaged, or cut off: Truncated");
    assert_false(file_exists(inside("r2")));
    snprintf(command, sizeof command, "cd %s && truncate -s 5000 gz/train-000001.tar.gz", folder);
    assert_int_equal(system(command), 0);
    annotate_in(folder, "gz", "r2", FAST, 1, "gz/train-000001.tar.gz: ");
    command_result r = command_run("annotate " ANNOTATE_MODEL " %s %s -o %s", inside("plain/train-000000.tar"),
                                   inside("plain/train-000001.tar"), inside("r2"));
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "in quotes"));
    command_clear(&r);
    r = command_run("evaluate " ANNOTATE_MODEL " %s --device cpu -o %s", inside("plain/train-000000.tar"),
                    inside("r2"));
    assert_true(r.code && strstr(r.err, "a tar, which `spade annotate` reads"));
    command_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bytes),   cmocka_unit_test(test_content),
                                       cmocka_unit_test(test_gallery),      cmocka_unit_test(test_folders),
                                       cmocka_unit_test(test_foreign_text), cmocka_unit_test(test_labels),
                                       cmocka_unit_test(test_odd_tars),     cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
