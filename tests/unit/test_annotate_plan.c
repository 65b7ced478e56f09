/* test_annotate_plan.c - how many workers a data set gets where nobody says: by threads, memory, shards and the network's size. */
#include <stdlib.h>
#include <unistd.h>

#include "support/command.h"
#include "support/context.h"
#include "support/stores.h"
#include "workload/workload.h"

static char *folder;
static spade_annotate_request request;
static char model[300], manifest[300], output[300];

static int open_folder(void **state)
{
    (void)state;
    folder = folder_make();
    snprintf(model, sizeof model, "%s/model.onnx", folder);
    snprintf(manifest, sizeof manifest, "%s/m.csv", folder);
    snprintf(output, sizeof output, "%s/store", folder);
    request = (spade_annotate_request){.model = model, .manifest = manifest, .output = output, .shares = 1};
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static void write_file(const char *path, const char *line, int times)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    for (int i = 0; i < times; i++) { fputs(line, file); }
    assert_int_equal(fclose(file), 0);
}

static int plan(int threads, uint64_t gigabytes)
{
    return spade_annotate_plan_workers(&request, threads, gigabytes << 30);
}

static void test_manifest(void **state)
{
    (void)state;
    write_file(model, "x", 100);
    assert_int_equal(plan(8, 64), 1); /* no manifest: the run says so */
    write_file(manifest, "a.png\n", 31);
    assert_int_equal(plan(8, 64), 1);
    write_file(manifest, "a.png\n", 320);
    assert_int_equal(plan(8, 64), 8);
    assert_int_equal(plan(64, 256), 10); /* four shards of 8 rows each */
    assert_int_equal(plan(1, 64), 1);
    assert_int_equal(plan(8, 4), 3); /* of a little more than 1 GiB */
    assert_int_equal(plan(8, 0), 1);
    request.shard_size = 40;
    assert_int_equal(plan(8, 64), 2);
    request.shard_size = 1000;
    assert_int_equal(plan(8, 64), 1);
}

/* Weights count, also those beside the file. */
static void test_weights(void **state)
{
    (void)state;
    char path[320];
    write_file(manifest, "a.png\n", 3200);
    write_file(model, "x", 1);
    assert_int_equal(plan(8, 16), 8);
    snprintf(path, sizeof path, "%s.data", model);
    write_file(path, "x", 1);
    assert_int_equal(truncate(path, (off_t)448 << 20), 0); /* sparse: 7 GiB and 1 of its own */
    assert_int_equal(plan(8, 17), 2);
    assert_int_equal(truncate(model, (off_t)448 << 20), 0);
    assert_int_equal(plan(8, 17), 1);
}

static void test_tree(void **state)
{
    (void)state;
    char line[600];
    write_file(model, "x", 1);
    snprintf(line, sizeof line,
             "mkdir -p %s/tree/a %s/tree/b && cd %s/tree && touch a/x.txt && for i in $(seq 64); do touch a/$i.png "
             "b/$i.JPEG; done",
             folder, folder, folder);
    assert_int_equal(system(line), 0);
    snprintf(manifest, sizeof manifest, "%s/tree", folder);
    assert_int_equal(plan(8, 64), 4);
}

/* A store that is there has its shards, whatever the manifest is. */
static void test_store(void **state)
{
    (void)state;
    spade_context *context = test_context("cpu", 1);
    write_file(model, "x", 1);
    write_file(manifest, "a.png\n", 3200);
    store_make(context, output, STORE_SHARDS);
    assert_int_equal(plan(8, 64), 1);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_manifest, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_weights, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_tree, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_store, open_folder, close_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
