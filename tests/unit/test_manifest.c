/* test_manifest.c - data sets as CSV files and as trees of folders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/command.h"
#include "workload/manifest.h"

static char *folder;

/* The C library's, but that a folder called "locked" cannot be read, also where root runs the test. */
int scandir(const char *path, struct dirent ***entries, int (*wanted)(const struct dirent *),
            int (*order)(const struct dirent **, const struct dirent **))
{
    typedef int (*function)(const char *, struct dirent ***, int (*)(const struct dirent *),
                            int (*)(const struct dirent **, const struct dirent **));
    const char *slash = strrchr(path, '/');
    if (slash && strcmp(slash, "/locked") == 0) {
        errno = EACCES;
        return -1;
    }
    return (__extension__(function) dlsym(RTLD_NEXT, "scandir"))(path, entries, wanted, order);
}

static int make_folder(void **state)
{
    (void)state;
    folder = folder_make();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static const char *inside(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static spade_inputs read_text(const char *text, bool ok, const char *says)
{
    spade_context context = {.budget = UINT64_MAX};
    spade_inputs inputs;
    int64_t folders;
    file_write(inside("m.csv"), text, strlen(text));
    const spade_status status = spade_manifest_read(&context, inside("m.csv"), &inputs, &folders);
    if (ok != (status == SPADE_OK) || (!ok && !strstr(context.message, says))) {
        fail_msg("%d: %s", (int)status, context.message);
    }
    assert_int_equal(folders, 0);
    return inputs;
}

static void expect(const spade_input *input, const char *file, const char *name, const char *label, const char *mask)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s%s", *file == '/' ? "" : folder, *file == '/' ? "" : "/", file);
    assert_string_equal(input->file, path);
    assert_string_equal(input->name, name);
    if (label) { assert_string_equal(input->label, label); }
    assert_true((input->label != NULL) == (label != NULL) && (input->mask != NULL) == (mask != NULL));
    if (mask) {
        snprintf(path, sizeof path, "%s/%s", folder, mask);
        assert_string_equal(input->mask, path);
    }
}

static void test_csv(void **state)
{
    (void)state;
    file_write(inside("a.png"), "x", 1);
    spade_inputs inputs = read_text("\xef\xbb\xbf"
                                    "image,label,mask\r\n"
                                    "a.png,3,m/a.png\r\n"
                                    "\r\n"
                                    "\"b, \"\"c\"\".png\",\"two\nlines\",\r\n"
                                    "sub/a.png,,x.png",
                                    true, NULL);
    assert_int_equal(inputs.count, 3);
    expect(&inputs.items[0], "a.png", "a", "3", "m/a.png");
    expect(&inputs.items[1], "b, \"c\".png", "b, \"c\"", "two\nlines", NULL);
    expect(&inputs.items[2], "sub/a.png", "sub/a", NULL, "x.png");
    assert_null(inputs.items[0].error);
    assert_non_null(strstr(inputs.items[1].error, "m.csv, line 4)"));
    assert_non_null(strstr(inputs.items[2].error, "m.csv, line 6)"));
    spade_inputs_clear(&inputs);
    /* columns in any order, others between; the same picture twice */
    inputs = read_text("id, Label\t,note,IMAGE\n1,cat,,a.png\n2,dog,\"\",a.png\n3,dog,x,../a.png\n4,,,/nowhere/b.png\n",
                       true, NULL);
    assert_int_equal(inputs.count, 4);
    expect(&inputs.items[0], "a.png", "a", "cat", NULL);
    expect(&inputs.items[1], "a.png", "a_2", "dog", NULL);
    expect(&inputs.items[2], "../a.png", "a_3", "dog", NULL);
    expect(&inputs.items[3], "/nowhere/b.png", "b", NULL, NULL);
    spade_inputs_clear(&inputs);
}

static void test_refused(void **state)
{
    (void)state;
    char wide[400] = "image";
    read_text("", false, "m.csv: empty file");
    read_text("\n\n", false, "it is empty");
    read_text("file,label\na.png,1\n", false,
              "line 1: no column is called image; the first line names the columns, and has 'file', 'label'");
    read_text("image;label\na.png;1\n", false,
              "has 'image;label'; cells are to be separated by commas, not semicolons");
    read_text("image\tlabel\na.png\t1\n", false, "by commas, not tabs");
    read_text("image,image\n", false, "twice");
    read_text("image\n", false, "no picture is named");
    read_text("image,label\na.png\n", false, "line 2: it has not as many cells");
    read_text("image,label\n\n,1\n", false, "line 3: there is no image");
    read_text("image\n\"a.png\n", false, "line 2: a quote is not closed");
    read_text("image\n\"a\"b.png\n", false, "line 2: text behind a quote");
    read_text("image\na.npy\n", false, "not an array");
    read_text("x,image\n\xe9,a.png\n\xe9,caf\xe9.png\n", false,
              "line 3: image: not UTF-8; write the file in UTF-8, and");
    read_text("image,label\na.png,\xe9\n", false, "line 2: label: not UTF-8; write the file in UTF-8");
    read_text("image,mask\na.png,\xe9\n", false, "line 2: mask: not UTF-8");
    spade_inputs read = read_text("image,x,label\na.png,\xe9,caf\xc3\xa9\n", true, NULL);
    spade_inputs_clear(&read);
    for (int i = 0; i < 64; i++) { strcat(wide, ",c"); }
    read_text(wide, false, "more than 64 columns");
    spade_context context = {.budget = UINT64_MAX};
    spade_inputs inputs;
    int64_t folders;
    assert_int_equal(spade_manifest_read(&context, inside("none.csv"), &inputs, &folders), SPADE_ERROR_INPUT);
    file_write(inside("m.csv"), "image\na\0.png\n", 13);
    assert_int_equal(spade_manifest_read(&context, inside("m.csv"), &inputs, &folders), SPADE_ERROR_INPUT);
    assert_non_null(strstr(context.message, "zero bytes (no text)"));
    file_write(inside("m.csv"), "PK\3\4\0\0", 6);
    assert_int_equal(spade_manifest_read(&context, inside("m.csv"), &inputs, &folders), SPADE_ERROR_INPUT);
    assert_non_null(strstr(context.message, "zero bytes (ZIP)"));
    file_write(inside("m.csv"), "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", 18);
    assert_int_equal(spade_manifest_read(&context, inside("m.csv"), &inputs, &folders), SPADE_ERROR_INPUT);
    assert_non_null(strstr(context.message, "zero bytes (PNG)"));
}

static void test_tree(void **state)
{
    (void)state;
    static const unsigned char png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    const char *folders[] = {"t", "t/b", "t/a", "t/a/deep", "t/.hidden", "t/empty"};
    const char *files[] = {"t/b/1.png", "t/a/2.png", "t/a/deep/1.png", "t/.hidden/1.png", "t/top.png"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        assert_int_equal(mkdir(inside(folders[i]), 0700), 0);
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        file_write(inside(files[i]), (const char *)png, sizeof png);
    }
    spade_context context = {.budget = UINT64_MAX};
    spade_inputs inputs;
    int64_t classes;
    assert_int_equal(spade_manifest_read(&context, inside("t"), &inputs, &classes), SPADE_OK);
    assert_true(classes == 3 && inputs.count == 3); /* a, b, empty */
    assert_true(inputs.items[1].folder == 0 && inputs.items[2].folder == 1);
    expect(&inputs.items[0], "t/a/2.png", "a/2", "a", NULL);
    expect(&inputs.items[1], "t/a/deep/1.png", "a/deep/1", "a", NULL);
    expect(&inputs.items[2], "t/b/1.png", "b/1", "b", NULL);
    spade_inputs_clear(&inputs);
    assert_int_equal(spade_manifest_read(&context, inside("t/empty"), &inputs, &classes), SPADE_ERROR_INPUT);
    assert_non_null(strstr(context.message, "one for each class"));
}

static void keep_line(void *user, spade_log_level level, const char *text)
{
    (void)level;
    size_t used = strlen(user);
    snprintf((char *)user + used, 1000 - used, "%s\n", text);
}

/* Rows are numbered: a folder that cannot be read today is an error, not one with fewer pictures. */
static void test_locked(void **state)
{
    (void)state;
    static const char *const places[] = {"locked", "b/deep/locked"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char line[1200], says[80];
        spade_context context = {.budget = UINT64_MAX};
        spade_inputs inputs = {0};
        int64_t folders;
        snprintf(line, sizeof line, "cd %s && rm -rf t && mkdir -p t/a t/%s && printf x | tee t/a/1.png t/%s/2.png",
                 folder, places[i], places[i]);
        assert_int_equal(system(line), 0);
        assert_int_equal(spade_manifest_read(&context, inside("t"), &inputs, &folders), SPADE_ERROR_INPUT);
        snprintf(says, sizeof says, "/t/%s: Permission denied", places[i]);
        if (!strstr(context.message, says)) { fail_msg("%s", context.message); }
    }
}

/* A column that nobody reads may be in any encoding: it is said once. */
static void test_encoding(void **state)
{
    (void)state;
    char lines[1000] = "";
    spade_context context = {.budget = UINT64_MAX, .log = keep_line, .user = lines};
    spade_manifest manifest;
    static const char text[] = "image,a,place\nx.png,,caf\xc3\xa9\ny.png,,caf\xe9\nz.png,\xe9,\xe9\n";
    file_write(inside("m.csv"), text, sizeof text - 1);
    assert_int_equal(spade_manifest_open(&context, inside("m.csv"), NULL, &manifest), SPADE_OK);
    spade_manifest_close(&manifest);
    assert_non_null(strstr(lines, "line 3: place: not UTF-8; bytes that are not become ? in the records (2 lines)\n"));
    assert_string_equal(strchr(lines, '\n'), "\n");
    static const char image[] = "image,a\ncaf\xe9.png,1\n";
    file_write(inside("m.csv"), image, sizeof image - 1);
    assert_int_equal(spade_manifest_open(&context, inside("m.csv"), NULL, &manifest), SPADE_ERROR_INPUT);
    assert_non_null(strstr(context.message, "m.csv: line 2: image: not UTF-8"));
}

/* For bulk work: every column, in whatever way it is written, and files that nobody looks for. */
static void test_columns(void **state)
{
    (void)state;
    static const char text[] =
        "\xef\xbb\xbf label , Image,a b\r\n\n\"x, \"\"y\"\"\",one.png,\"two\nlines\"\r\n\n\n,two.png,";
    spade_context context = {.budget = UINT64_MAX};
    spade_manifest manifest;
    file_write(inside("m.csv"), text, sizeof text - 1);
    assert_int_equal(spade_manifest_open(&context, inside("m.csv"), NULL, &manifest), SPADE_OK);
    assert_int_equal(manifest.inputs.count, 2);
    assert_null(manifest.inputs.items[0].error);
    static const char *const rows[] = {"{\"label\":\"x, \\\"y\\\"\",\"image\":\"one.png\",\"a b\":\"two\\nlines\"}",
                                       "{\"label\":\"\",\"image\":\"two.png\",\"a b\":\"\"}"};
    for (int i = 0; i < 2; i++) {
        json_t *row;
        assert_int_equal(spade_manifest_row(&context, &manifest, i, &row), SPADE_OK);
        char *dumped = spade_json_dump(row, JSON_COMPACT);
        assert_string_equal(dumped, rows[i]);
        free(dumped);
        json_decref(row);
    }
    spade_manifest_close(&manifest);
    static const char twice[] = "image,a,a\nx.png,1,2\n";
    file_write(inside("m.csv"), twice, sizeof twice - 1);
    assert_int_equal(spade_manifest_open(&context, inside("m.csv"), NULL, &manifest), SPADE_ERROR_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_csv, make_folder, remove_folder),
                                       cmocka_unit_test_setup_teardown(test_refused, make_folder, remove_folder),
                                       cmocka_unit_test_setup_teardown(test_columns, make_folder, remove_folder),
                                       cmocka_unit_test_setup_teardown(test_encoding, make_folder, remove_folder),
                                       cmocka_unit_test_setup_teardown(test_tree, make_folder, remove_folder),
                                       cmocka_unit_test_setup_teardown(test_locked, make_folder, remove_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
