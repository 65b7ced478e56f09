/* test_folders.c - folders from outside: pictures by content, what is skipped, folders in folders, folders of masks. */
#include <sys/stat.h>

#include "support/results.h"

#define MODEL SPADE_TEST_DATA "/models/scene_resnet.onnx"
#define IMAGES SPADE_TEST_DATA "/images/"
#define FAST "--resize 0 --no-trace --no-report --threads 1"

static char *folder, *picture, *mask;
static size_t picture_size, mask_size;

static const char *inside(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put_picture(const char *name)
{
    file_write(inside(name), picture, picture_size);
}

static void put_text(const char *name, const char *text, size_t size)
{
    file_write(inside(name), text, size);
}

static int open_folder(void **state)
{
    (void)state;
    folder = folder_make();
    picture = file_read(IMAGES "scene00.png", &picture_size);
    mask = file_read(IMAGES "scene00_patch.png", &mask_size);
    return !picture || !mask || mkdir(inside("p"), 0700) != 0;
}

static int close_folder(void **state)
{
    (void)state;
    free(picture);
    free(mask);
    folder_remove(folder);
    return 0;
}

/* Explain the folder p/. says: on standard error; NULL: nothing at all. names: the inputs that are done. */
static void check(const char *more, int code, const char *says, const char *names)
{
    command_result r = command_run("explain " MODEL " %s/p -o %s/out --restart " FAST " -q %s", folder, folder, more);
    if (r.code != code) { fail_msg("code %d: %s", r.code, r.err); }
    if (says ? !strstr(r.err, says) : *r.err != 0) { fail_msg("'%s' is not in '%s'", says ? says : "", r.err); }
    command_clear(&r);
    if (!names) { return; }
    char *done = results_names(inside("out"), "inputs");
    assert_string_equal(done, names);
    free(done);
}

/* The same without -q: warnings. */
static void check_warning(const char *more, const char *says)
{
    command_result r = command_run("explain " MODEL " %s/p -o %s/out --restart " FAST " %s", folder, folder, more);
    if (r.code != 0) { fail_msg("code %d: %s", r.code, r.err); }
    if (says ? !strstr(r.err, says) : strstr(r.err, "warning") != NULL) {
        fail_msg("'%s' is not in '%s'", says ? says : "", r.err);
    }
    command_clear(&r);
}

/* A picture is what begins like one, or is named like one; the rest is named by kind and counted. */
static void test_kinds(void **state)
{
    (void)state;
    put_picture("p/a.png");
    put_picture("p/b");
    put_picture("p/c.jfif"); /* a PNG, whatever its name says */
    put_picture("p/d.txt");
    check_warning("", NULL);
    check("", 0, NULL, "a b c d");
    put_text("p/.DS_Store", "\0\0\0\1Bud1", 8);
    check_warning("", NULL);
    put_picture("p/.hidden.png");
    put_text("p/e.tif", "II*\0\x08\0\0\0", 8);
    put_text("p/f.tiff", "MM\0*\0\0\0\x08", 8);
    put_text("p/g.gif", "GIF89a\1\0\1\0\0\0\0;", 14);
    put_text("p/h.avif",
             "\0\0\0\x1c"
             "ftypavif\0\0\0\0",
             16);
    put_text("p/notes.txt", "BMW, P1 and P6", 14);
    put_text("p/x.npy", "\x93NUMPY", 6);
    assert_int_equal(mkdir(inside("p/sub"), 0700), 0);
    assert_int_equal(mkfifo(inside("p/pipe"), 0600), 0); /* must not wait for a writer */
    assert_int_equal(symlink("nowhere", inside("p/link")), 0);
    check_warning("",
                  "p: skipped: 1 hidden picture (.hidden.png), 2 TIFF (e.tif, ...), 1 GIF (g.gif), 1 AVIF (h.avif), "
                  "1 broken link (link), 1 other file (notes.txt), 1 special file (pipe), 1 folder (sub), "
                  "1 .npy array (x.npy)");
    check("", 0, NULL, "a b c d");
    put_text("p/z.png", "GIF89a\1\0\1\0\0\0\0;", 14); /* named like a picture: a failure, not skipped */
    check("", 3, "z.png: GIF", "a b c d");
}

/* -r: names are paths in the folder; each folder once, whatever links there are. */
static void test_recursive(void **state)
{
    (void)state;
    const char *made[] = {"p/cat", "p/cat/old", "p/dog", "p/report", "p/.git"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) { assert_int_equal(mkdir(inside(made[i]), 0700), 0); }
    check("", 1, "p: no pictures (PNG, JPEG, WebP, BMP or PNM) in this folder; there are 3 folders (cat, ...)", NULL);
    check("-r", 1, "no pictures", NULL);
    put_picture("p/cat/1.png");
    put_picture("p/cat/old/1.png");
    put_picture("p/dog/1.png");
    put_picture("p/cat_1.png");
    put_picture("p/report/1.png");
    put_picture("p/.git/1.png");
    put_text("p/cat/old/a.gif", "GIF89a\1\0\1\0\0\0\0;", 14);
    assert_int_equal(symlink("..", inside("p/dog/up")), 0);
    assert_int_equal(symlink("../cat", inside("p/dog/cat")), 0);
    check_warning("", "skipped: 3 folders (cat, ...)");
    check("", 0, NULL, "cat_1");
    check_warning("-r", "skipped: 1 GIF (cat/old/a.gif), 2 links to folders read already (dog/cat, ...)");
    check("-r", 0, NULL, "cat/1 cat/old/1 cat_1 dog/1 _report/1");
    assert_true(file_exists(inside("out/cat/old/1/dense_saliency.npy")));
    command_result r = command_run("explain " MODEL " %s/p -o %s/out -r --resize 0 --no-trace", folder, folder);
    assert_int_equal(r.code, 0); /* goes on: nothing left to do; and the report finds the pictures */
    if (!strstr(r.out, "(5 before)")) { fail_msg("%s%s", r.out, r.err); }
    command_clear(&r);
    assert_true(file_exists(inside("out/report.html")));
    /* results in the folder are no inputs, and results may not go where inputs are read with folders in folders */
    for (int run = 0; run < 2; run++) {
        r = command_run("explain " MODEL " %s/p -o %s/p/out -r " FAST, folder, folder);
        if (r.code != 0 || (run && !strstr(r.out, "(5 before)"))) { fail_msg("%s%s", r.out, r.err); }
        command_clear(&r);
    }
    check_warning("-r", "1 folder of results (out)");
    check("-r", 0, NULL, "cat/1 cat/old/1 cat_1 dog/1 _report/1");
    r = command_run("explain " MODEL " %s/p -o %s/p/cat/.. -r " FAST, folder, folder);
    if (r.code != 2 || !strstr(r.err, "choose another")) { fail_msg("%d: %s", r.code, r.err); }
    command_clear(&r);
    check("", 0, NULL, "cat_1"); /* --restart removed what was there */
    assert_false(file_exists(inside("out/cat")));
}

/* A folder of masks that lacks some is warned about, one in which nothing fits is refused; it may have folders too. */
static void test_mask_folder(void **state)
{
    (void)state;
    char more[600];
    const char *made[] = {"p/cat", "m", "m/cat"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) { assert_int_equal(mkdir(inside(made[i]), 0700), 0); }
    put_picture("p/a.png");
    put_picture("p/cat/b.png");
    file_write(inside("m/a.jpg"), mask, mask_size);
    file_write(inside("m/a_seg.png"), mask, mask_size);
    snprintf(more, sizeof more, "-r --mask %s/m", folder);
    check(more, 1, "no mask for any of 2 inputs (looked for a.png and a_mask.png, ...)", NULL);
    file_write(inside("m/a_mask.png"), mask, mask_size);
    check_warning(more, "m: no masks for 1 of 2 inputs (looked for cat/b.png and cat/b_mask.png)");
    file_write(inside("m/cat/b.png"), mask, mask_size);
    check_warning(more, NULL);
    file_write(inside("m/a.png"), mask, mask_size);
    check_warning(more, "m: two masks for 1 input: a.png is taken, a_mask.png is not");
    assert_int_equal(unlink(inside("m/a.png")), 0);
    json_t *all = results_load(inside("out"), "results.json");
    for (size_t i = 0; i < 2; i++) {
        const json_t *input = json_array_get(json_object_get(all, "inputs"), i);
        const json_t *map = json_array_get(json_object_get(input, "maps"), 0);
        assert_true(json_is_number(json_object_get(json_object_get(map, "dense"), "roc_auc")));
    }
    json_decref(all);
    put_picture("p/z.png");
    assert_int_equal(mkfifo(inside("m/z.png"), 0600), 0); /* must not wait for a writer */
    check(more, 3, "m/z.png: not a regular file", "a cat/b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kinds, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_recursive, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_mask_folder, open_folder, close_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
