/* test_merge.c - spade merge and spade status: what the index has, every kind of fault in a line, and how far a store is. */
#include <sqlite3.h>
#include <sys/stat.h>

#include "support/command.h"
#include "support/context.h"
#include "support/stores.h"

static spade_context *context;
static char *folder, store[300];

static int open_folder(void **state)
{
    (void)state;
    context = test_context("cpu", 1);
    folder = folder_make();
    snprintf(store, sizeof store, "%s/store", folder);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    spade_context_destroy(context);
    return 0;
}

static void merge(const char *arguments, int code, const char *says)
{
    command_result r = command_run("merge %s -q %s", store, arguments);
    if (r.code != code || (says && !strstr(r.err, says)) || (!says && *r.err)) {
        fail_msg("code %d: %s", r.code, r.err);
    }
    command_clear(&r);
}

/* The first value of a query as text; "": there is no row, or it is null. */
static const char *ask(const char *sql)
{
    static char text[600];
    sqlite3 *database;
    sqlite3_stmt *statement;
    *text = 0;
    assert_int_equal(sqlite3_open_v2(path_inside(store, "index.sqlite"), &database, SQLITE_OPEN_READONLY, NULL),
                     SQLITE_OK);
    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK) {
        fail_msg("%s", sqlite3_errmsg(database));
    }
    if (sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_text(statement, 0)) {
        snprintf(text, sizeof text, "%s", (const char *)sqlite3_column_text(statement, 0));
    }
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return text;
}

/* Bytes of the store's file, by what the index says. */
static void expect_map(int row)
{
    char sql[200], name[100], key[100];
    size_t size;
    snprintf(sql, sizeof sql, "SELECT offset FROM maps WHERE row = %d AND network = 'trace'", row);
    const long offset = atol(ask(sql));
    snprintf(sql, sizeof sql, "SELECT shards.file FROM shards JOIN maps ON shards.shard = maps.shard WHERE row = %d",
             row);
    snprintf(name, sizeof name, "%s", ask(sql));
    char *bytes = file_read(path_inside(store, name), &size);
    assert_non_null(bytes);
    assert_memory_equal(bytes + offset, "\x93NUMPY", 6);
    snprintf(key, sizeof key, "%09d.saliency.trace.npy", row);
    assert_string_equal(bytes + offset - 512, key);
    free(bytes);
}

static void test_index(void **state)
{
    (void)state;
    store_make(context, store, STORE_SHARDS);
    merge("", 0, NULL);
    assert_string_equal(ask("SELECT count(*) FROM pictures"), "7");
    assert_string_equal(ask("SELECT group_concat(row) FROM failures"), "2,5,8");
    assert_string_equal(ask("SELECT count(*) FROM maps"), "14");
    assert_string_equal(ask("SELECT count(*) FROM shards"), "3");
    assert_string_equal(ask("SELECT count(*) FROM faults"), "0");
    assert_string_equal(ask("SELECT value FROM store WHERE name = 'index_complete'"), "1");
    assert_string_equal(ask("SELECT value FROM store WHERE name = 'configuration'"), "{\"method\":[\"saliency\"]}");
    assert_string_equal(ask("SELECT key || image || class || name || score || trace_name || label || shard FROM "
                            "pictures WHERE row = 7"),
                        "000000007pictures/7.png1cat0.57dog11");
    assert_string_equal(ask("SELECT value FROM metrics WHERE row = 7 AND network = 'trace' AND metric = 'roc_auc'"),
                        "0.75");
    assert_string_equal(ask("SELECT json_extract(columns, '$.place') FROM pictures WHERE row = 0"), "a<b");
    assert_string_equal(ask("SELECT error FROM failures WHERE row = 2"), "no picture");
    expect_map(0);
    expect_map(9);
    command_result r = command_run("merge %s --json", store);
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(
        r.out,
        "\"whole\":3,\"entries\":10,\"pictures\":7,\"failures\":3,\"class_changed\":7,\"score_fell\":0,\"faults\":0"));
    command_clear(&r);
    r = command_run("merge %s", store);
    assert_non_null(strstr(r.out, "failed pictures: in the index's table failures; annotate --retry"));
    command_clear(&r);
}

/* One byte of a file becomes another one. */
static void flip(const char *name, size_t at)
{
    size_t size;
    char *bytes = file_read(path_inside(store, name), &size);
    assert_true(bytes && at < size);
    bytes[at] ^= 1;
    file_write(path_inside(store, name), bytes, size);
    free(bytes);
}

static void replace(const char *name, const char *old, const char *by)
{
    size_t size;
    char *bytes = file_read(path_inside(store, name), &size), *at = bytes ? strstr(bytes, old) : NULL;
    assert_true(at && strlen(old) == strlen(by));
    memcpy(at, by, strlen(by));
    file_write(path_inside(store, name), bytes, size);
    free(bytes);
}

static void test_faults(void **state)
{
    (void)state;
    store_make(context, store, 2);
    merge("", 3, "shard 2 is not done");
    assert_string_equal(ask("SELECT count(*) FROM pictures"), "6");
    assert_string_equal(ask("SELECT value FROM store WHERE name = 'index_complete'"), "0");
    flip("shard-000001.tar", 512 + 130);
    merge("", 3, "shard-000001.tar: its SHA-256");
    assert_non_null(strstr(ask("SELECT fault FROM faults WHERE fault LIKE '%SHA-256%'"), "whole up to 000000004"));
    assert_string_equal(ask("SELECT count(*) FROM pictures"), "3");
    flip("shard-000001.tar", 512 + 130);
    replace("shard-000001.done.json", "\"count\": 3", "\"count\": 4");
    merge("", 3, "other pictures than its record");
    assert_string_equal(ask("SELECT count(*) FROM pictures"), "3");
    assert_string_equal(ask("SELECT count(*) FROM maps"), "6");
    replace("shard-000001.done.json", "\"count\": 4", "\"count\": 3");
    assert_int_equal(rename(path_inside(store, "shard-000000.tar"), path_inside(store, "shard-000007.tar")), 0);
    merge("", 3, "shard-000007.tar: of no shard");
    merge("", 3, "shard-000000.tar: not there");
    assert_int_equal(unlink(path_inside(store, "shard-000001.done.json")), 0);
    merge("", 1, "the shards 1 to 2 are not done");
    merge("/nothing", 2, "unexpected argument");
    assert_int_equal(unlink(path_inside(store, "store.json")), 0);
    merge("", 1, "no store.json");
}

static char *page(const char *name)
{
    char path[100];
    snprintf(path, sizeof path, "gallery/%s", name);
    char *text = file_read(path_inside(store, path), NULL);
    assert_non_null(text);
    return text;
}

static int occurrences(const char *text, const char *what)
{
    int count = 0;
    while ((text = strstr(text, what))) { text++, count++; }
    return count;
}

static void test_gallery(void **state)
{
    (void)state;
    store_make(context, store, STORE_SHARDS);
    assert_int_equal(mkdir(path_inside(store, "gallery"), 0777), 0);
    file_write(path_inside(store, "gallery/page-0002.html"), "old", 3);
    merge("--html", 0, NULL);
    assert_false(file_exists(path_inside(store, "gallery/page-0002.html")));
    char *text = page("page-0001.html");
    assert_int_equal(occurrences(text, "<section class=\"card shot\""), 7);
    assert_int_equal(occurrences(text, "<figure class=\"trace m0\"><img"), 7);
    assert_int_equal(occurrences(text, "roc_auc 0.750"), 7);
    assert_int_equal(occurrences(text, "another class"), 7);
    assert_int_equal(occurrences(text, "<div class=\"tiles pairs\">"), 7);
    assert_int_equal(occurrences(text, "<span class=\"key t\"></span><span>the trace's decision</span>"), 1);
    assert_int_equal(occurrences(text, "The picture is not there, or another one: pictures/"), 7);
    free(text);
    text = page("failures.html");
    assert_int_equal(occurrences(text, "<td>no picture</td>"), 3);
    free(text);
    text = page("index.html");
    assert_non_null(strstr(text, "<a href=\"page-0001.html\">page 1</a></td><td>rows 0 to 9 "));
    assert_int_equal(occurrences(text, "<td>no picture</td>"), 3);
    assert_non_null(strstr(text, "<p class=\"soft\">7 pictures explained"));
    assert_int_equal(occurrences(text, "The trace decides differently for 7 of them."), 1);
    assert_non_null(strstr(text, "failures.html"));
    free(text);
}

/* A store of real pictures, whose manifest writes names in its own way; one picture gets another content, one is not there. */
static void test_changed_pictures(void **state)
{
    (void)state;
    static const char images[] = SPADE_TEST_DATA "/images";
    file_write(path_inside(folder, "m.csv"), "IMAGE,Label,x\na.png,4,1\nb.png,5,2\nnone.png,6,3\n", 47);
    command_result r = command_run(
        "version; cd %s; " SPADE_COMMAND " annotate " SPADE_TEST_DATA
        "/models/scene_resnet.onnx m.csv -o %s -q --method saliency "
        "--no-trace --resize 0 --shard-size 2 2>&1; test $? = 3 && cp %s/scene00.png %s/a.png && cp %s/scene01.png "
        "%s/b.png && " SPADE_COMMAND " annotate " SPADE_TEST_DATA
        "/models/scene_resnet.onnx %s/m.csv -o %s -q --method saliency --no-trace --resize 0 --retry "
        "2>&1",
        folder, store, images, folder, images, folder, folder, store);
    assert_int_equal(r.code, 3); /* also the first time, when all pictures failed: the shards are done */
    command_clear(&r);
    merge("--html", 0, NULL);
    assert_string_equal(ask("SELECT group_concat(label) FROM pictures"), "4,5");
    assert_string_equal(ask("SELECT columns FROM pictures WHERE row = 1"),
                        "{\"image\":\"b.png\",\"label\":\"5\",\"x\":\"2\"}");
    r = command_run("version; cp %s/scene02.png %s/a.png; " SPADE_COMMAND " merge %s --html", images, folder, store);
    assert_non_null(
        strstr(r.err, "gallery: 1 picture is not what it was when the maps were made: the maps are drawn on grey"));
    assert_int_equal(r.code, 0);
    command_clear(&r);
    char *text = page("page-0001.html");
    assert_int_equal(occurrences(text, "not there, or another one: a.png"), 1);
    assert_int_equal(occurrences(text, "not there, or another one"), 1);
    assert_int_equal(occurrences(text, "<div class=\"tiles\">"), 2); /* maps of one network */
    assert_int_equal(occurrences(text, "the trace's decision"), 0);
    free(text);
    text = page("index.html");
    assert_non_null(strstr(text, "m.csv; maps of the network: saliency</p><details>"));
    assert_int_equal(occurrences(text, "<td class=\"strip\"><img"), 1); /* of the picture that is there */
    free(text);
    r = command_run("version; rm %s/b.png; " SPADE_COMMAND " merge %s --html", folder, store);
    assert_non_null(strstr(r.err, "gallery: 1 picture is not there, or cannot be read ("));
    assert_non_null(strstr(r.err, "/b.png): the maps are drawn on grey"));
    command_clear(&r);
    r = command_run("version; sed -i 's/\"seed\": 0/\"seed\": 1/' %s/store.json", store);
    command_clear(&r);
    merge("", 1, "store.json: its configuration_hash is that of another content");
}

/* A store that cannot be written: one line, and the index of before stays. */
static void test_unwritable(void **state)
{
    (void)state;
    store_make(context, store, STORE_SHARDS);
    merge("", 0, NULL);
    command_result r = command_run("merge %s -q 2>&1; ulimit -f 8; %s merge %s -q", store, SPADE_COMMAND, store);
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "index.sqlite"));
    assert_null(strchr(strchr(r.err, '\n') + 1, '\n'));
    command_clear(&r);
    assert_string_equal(ask("SELECT count(*) FROM pictures"), "7");
}

static void test_status(void **state)
{
    (void)state;
    store_make(context, store, 1);
    store_make_part(context, store, 2, 9);
    command_result r = command_run("status %s --json", store);
    assert_int_equal(r.code, 0);
    const char *expected[] = {
        "\"entries\":10", "\"done\":4,\"failed\":1,\"left\":5",
        "{\"all\":3,\"done\":1,\"in_the_making\":1,\"interrupted\":0,\"lost\":0,\"set_aside\":[]}",
        "\"shard\":2,\"done\":1,\"of\":2"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        if (!strstr(r.out, expected[i])) { fail_msg("%s: %s", expected[i], r.out); }
    }
    command_clear(&r);
    r = command_run("status %s", store);
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "shards: 1 of 3 done, 1 in the making"));
    assert_non_null(strstr(r.out, "annotate --retry tries them again; why they failed is in shard-*.done.json"));
    command_clear(&r);
    r = command_run("status %s", folder);
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "no store.json"));
    command_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_index, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_faults, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_gallery, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_changed_pictures, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_unwritable, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(test_status, open_folder, close_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
