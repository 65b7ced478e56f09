/* test_onnx_external.c - weights outside the model's file: read where they may be, refused where they may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx/onnx.h"
#include "support/wire.h"

static int setup(void **state)
{
    return spade_context_create(NULL, (spade_context **)state) == SPADE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    spade_context_destroy(*state);
    return 0;
}

static void put_entry(wire *tensor, const char *key, const char *value)
{
    wire entry = {0};
    if (!value) { return; }
    wire_text(&entry, 1, key);
    wire_text(&entry, 2, value);
    wire_message(tensor, 13, entry);
}

/* A model with one float32 tensor [4] that lies at `location`; NULL: the entry is left out. */
static const char *save(const char *name, const char *location, const char *offset, const char *length)
{
    wire graph = graph_simple(), tensor = tensor_head("w", 1, 1, (const int64_t[]){4});
    put_entry(&tensor, "location", location);
    put_entry(&tensor, "offset", offset);
    put_entry(&tensor, "length", length);
    put_entry(&tensor, "checksum", "0");
    wire_number(&tensor, 14, 1);
    wire_message(&graph, 5, tensor);
    return test_save(name, model_of(graph));
}

static void accept(spade_context *context, const char *path, bool follow_links, float first)
{
    onnx_model *model;
    if (onnx_load(context, path, follow_links, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    for (int i = 0; i < 4; i++) { assert_true(onnx_tensor_float(&model->initializers[0], i) == first + (float)i); }
    assert_int_equal(model->initializers[0].size, 16);
    onnx_free(model);
}

static void refuse(spade_context *context, const char *path, bool follow_links, const char *part)
{
    onnx_model *model = NULL;
    assert_int_equal(onnx_load(context, path, follow_links, &model), SPADE_ERROR_INPUT);
    assert_null(model);
    if (!strstr(spade_message(context), part)) { fail_msg("'%s' is not in: %s", part, spade_message(context)); }
    assert_non_null(strstr(spade_message(context), path));
}

static void write_weights(const char *name)
{
    float values[8];
    for (int i = 0; i < 8; i++) { values[i] = (float)i; }
    test_write(name, values, sizeof values);
}

static void beside(void **state)
{
    char below[256], here[4096];
    snprintf(below, sizeof below, "%s/below", test_folder());
    mkdir(below, 0700);
    write_weights("w.data");
    write_weights("below/w.data");
    accept(*state, save("a.onnx", "w.data", NULL, NULL), false, 0);
    accept(*state, save("a.onnx", "w.data", "4", "16"), false, 1); /* not aligned to 8, nor need it be */
    accept(*state, save("a.onnx", "w.data", "16", NULL), false, 4);
    accept(*state, save("a.onnx", "below/w.data", "0", "16"), false, 0);
    accept(*state, save("a.onnx", "below/w.data", "0", "16"), true, 0);
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(test_folder()), 0);
    accept(*state, "a.onnx", false, 0);
    assert_int_equal(chdir(here), 0);
}

static void wrong_ranges(void **state)
{
    write_weights("w.data");
    test_write("nothing.data", "", 0);
    refuse(*state, save("r.onnx", "w.data", "20", NULL), false, "needs bytes 20 to");
    refuse(*state, save("r.onnx", "w.data", "33", "16"), false, "cut off");
    refuse(*state, save("r.onnx", "w.data", "18446744073709551615", "16"), false, "cut off");
    refuse(*state, save("r.onnx", "w.data", "18446744073709551616", "16"), false, "offset is not a number");
    refuse(*state, save("r.onnx", "w.data", "-4", "16"), false, "offset is not a number");
    refuse(*state, save("r.onnx", "w.data", "", "16"), false, "offset is not a number");
    refuse(*state, save("r.onnx", "w.data", "0", "16x"), false, "length is not a number");
    refuse(*state, save("r.onnx", "w.data", "0", "20"), false,
           "20 bytes of external data where its shape and type need 16");
    refuse(*state, save("r.onnx", "nothing.data", NULL, NULL), false, "cut off");
    refuse(*state, save("r.onnx", NULL, "0", "16"), false, "without a location");
}

static void wrong_places(void **state)
{
    char path[256];
    static const char *const never[] = {"/etc/passwd",   "../w.data", "below/../w.data", "./w.data", "",
                                        "below//w.data", "below/"};
    write_weights("w.data");
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        refuse(*state, save("p.onnx", never[i], NULL, NULL), false, "not a relative path");
        refuse(*state, save("p.onnx", never[i], NULL, NULL), true, "not a relative path");
    }
    refuse(*state, save("p.onnx", "missing.data", NULL, NULL), false, "No such file");
    snprintf(path, sizeof path, "%s/pipe.data", test_folder());
    assert_int_equal(mkfifo(path, 0600), 0);
    refuse(*state, save("p.onnx", "pipe.data", NULL, NULL), false, "not a regular file");
    snprintf(path, sizeof path, "%s/folder.data", test_folder());
    assert_int_equal(mkdir(path, 0700), 0);
    refuse(*state, save("p.onnx", "folder.data", NULL, NULL), false, "not a regular file");
}

static void links(void **state)
{
    char inside[256], outside[256], folder[256];
    write_weights("w.data");
    snprintf(inside, sizeof inside, "%s/inside.data", test_folder());
    snprintf(outside, sizeof outside, "%s/outside.data", test_folder());
    snprintf(folder, sizeof folder, "%s/linked", test_folder());
    assert_int_equal(symlink("w.data", inside), 0);
    assert_int_equal(symlink("/etc/passwd", outside), 0);
    assert_int_equal(symlink(".", folder), 0);
    refuse(*state, save("l.onnx", "inside.data", NULL, NULL), false, "--follow-links");
    accept(*state, save("l.onnx", "inside.data", NULL, NULL), true, 0);
    assert_int_equal(onnx_load(*state, save("l.onnx", "linked/w.data", NULL, NULL), false, &(onnx_model *){NULL}),
                     SPADE_ERROR_INPUT);
    accept(*state, save("l.onnx", "linked/w.data", NULL, NULL), true, 0);
    refuse(*state, save("l.onnx", "outside.data", NULL, NULL), false, "symbolic link");
    refuse(*state, save("l.onnx", "outside.data", NULL, NULL), true, "outside the folder of the model");
}

/* As Hugging Face's cache lays a model out: snapshots/main/m.onnx -> ../../blobs/1, its data beside that. */
static void cache_of_links(void **state)
{
    write_weights("w.data");
    const char *content = save("m.onnx", "m.data", NULL, NULL);
    char path[300], model[300], command[1200];
    snprintf(command, sizeof command,
             "cd '%s' && mkdir -p blobs snapshots/main elsewhere && mv '%s' blobs/1 && cp w.data blobs/2 && cp w.data "
             "elsewhere && "
             "ln -s ../../blobs/1 snapshots/main/m.onnx && ln -s ../../blobs/2 snapshots/main/m.data",
             test_folder(), content);
    assert_int_equal(system(command), 0);
    snprintf(model, sizeof model, "%s/snapshots/main/m.onnx", test_folder());
    snprintf(path, sizeof path, "%s/snapshots/main/m.data", test_folder());
    accept(*state, model, false, 0);
    assert_int_equal(unlink(path), 0); /* to a file that is not among the model's */
    assert_int_equal(symlink("../../elsewhere/w.data", path), 0);
    refuse(*state, model, false, "symbolic link");
    refuse(*state, model, true, "outside the folder of the model");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beside), cmocka_unit_test(wrong_ranges),   cmocka_unit_test(wrong_places),
        cmocka_unit_test(links),  cmocka_unit_test(cache_of_links),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
