/* test_shard.c - shards of a store: what is told of every truncation and every flipped bit of a part file, that what is taken up ends
 * in the same bytes, names, stores of another configuration, and maps as float16 and PNG. */
#include <dirent.h>
#include <math.h>
#include <sys/stat.h>

#include "spade/picture.h"
#include "store/map_values.h"
#include "store/shard.h"
#include "support/command.h"

enum { ENTRIES = 7, SIZE = 3, FAILED = 1 /* the row of a picture that failed */ };

typedef struct fixture {
    spade_context *context;
    char *folder;
    spade_store store;
} fixture;

static json_t *deciding(const char *value)
{
    return json_pack("{s:i,s:i,s:i,s:s}", "format", SPADE_STORE_FORMAT, "entries", ENTRIES, "shard_size", SIZE,
                     "values", value);
}

static spade_status create(fixture *f, const char *value, spade_store *out)
{
    json_t *decides = deciding(value), *other = json_pack("{s:s}", "model_path", "model");
    const spade_status status = spade_store_create(f->context, f->folder, decides, other, out);
    json_decref(decides);
    json_decref(other);
    return status;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(spade_context_create(NULL, &f->context), SPADE_OK);
    f->folder = folder_make();
    assert_int_equal(create(f, "float32", &f->store), SPADE_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    spade_store_clear(&f->store);
    folder_remove(f->folder);
    spade_context_destroy(f->context);
    free(f);
    return 0;
}

/* A row of one or two maps of odd sizes; or of a failure. */
static void add_row(spade_shard_writer *writer)
{
    const int64_t row = writer->next;
    const int count = row == FAILED ? 0 : 1 + (int)(row % 2);
    uint8_t bytes[2][700];
    spade_shard_file files[2];
    json_t *maps = json_array(), *record = json_object();
    for (int i = 0; i < count; i++) {
        const size_t size = i ? 512 : (size_t)(100 + 97 * row);
        for (size_t k = 0; k < size; k++) { bytes[i][k] = (uint8_t)(k * 7 + (size_t)(row * 31) + (size_t)i); }
        files[i] = (spade_shard_file){.bytes = bytes[i], .size = size};
        snprintf(files[i].name, sizeof files[i].name, "%09lld.map%d.npy", (long long)row, i);
        const spade_mapping piece = {.data = bytes[i], .size = size};
        spade_fingerprint(&piece, 1, files[i].xxh128);
        json_array_append_new(maps, json_pack("{s:s,s:I,s:s}", "file", files[i].name, "bytes", (json_int_t)size,
                                              "xxh128", files[i].xxh128));
    }
    json_object_set_new(record, "image", json_sprintf("%lld.png", (long long)row));
    json_object_set_new(record, "maps", maps);
    if (row == FAILED) { json_object_set_new(record, "error", json_string("no picture")); }
    if (spade_shard_add(writer, files, count, record) != SPADE_OK) { fail_msg("%s", spade_message(writer->context)); }
    json_decref(record);
}

static void begin(fixture *f, int64_t shard, int64_t align, spade_shard_writer *writer)
{
    if (spade_shard_begin(f->context, &f->store, shard, align, false, writer) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
}

static void finish(fixture *f, spade_shard_writer *writer)
{
    json_t *about = json_pack("{s:s}", "version", "test");
    while (writer->next < writer->end) { add_row(writer); }
    if (spade_shard_finish(writer, about) != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
    json_decref(about);
}

static char *shard_bytes(fixture *f, const char *name, size_t *size)
{
    char *bytes = file_read(path_inside(f->folder, name), size);
    assert_non_null(bytes);
    return bytes;
}

/* The shard's tar, made in one go, and its files removed again. */
static char *make_whole(fixture *f, size_t *size)
{
    spade_shard_writer writer;
    begin(f, 0, 1, &writer);
    finish(f, &writer);
    char *bytes = shard_bytes(f, "shard-000000.tar", size);
    unlink(path_inside(f->folder, "shard-000000.tar"));
    unlink(path_inside(f->folder, "shard-000000.done.json"));
    return bytes;
}

static int count_files(const fixture *f, const char *part)
{
    int count = 0;
    DIR *folder = opendir(f->folder);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) { count += strstr(entry->d_name, part) != NULL; }
    closedir(folder);
    return count;
}

static void test_whole(void **state)
{
    fixture *f = *state;
    spade_shard_writer writer;
    spade_shard_state what;
    spade_shard_beginning beginning;
    json_t *done;
    char sha[SPADE_SHA256_SIZE];
    uint64_t size;
    assert_int_equal(f->store.shards, 3);
    begin(f, 0, 1, &writer);
    assert_int_equal(count_files(f, ".part."), 1);
    finish(f, &writer);
    assert_int_equal(count_files(f, ".part."), 0);
    assert_int_equal(spade_shard_look(f->context, &f->store, 0, &what, &done), SPADE_OK);
    assert_int_equal(what, SPADE_SHARD_FINISHED);
    assert_int_equal(spade_sha256_file(f->context, path_inside(f->folder, "shard-000000.tar"), sha, &size), SPADE_OK);
    assert_string_equal(sha, spade_json_text_at(done, "sha256"));
    assert_int_equal(json_integer_value(json_object_get(done, "count")), SIZE - 1);
    const json_t *failure = json_array_get(json_object_get(done, "failures"), 0);
    assert_int_equal(json_integer_value(json_object_get(failure, "row")), FAILED);
    json_decref(done);
    assert_int_equal(
        spade_shard_read(f->context, &f->store, 0, path_inside(f->folder, "shard-000000.tar"), NULL, NULL, &beginning),
        SPADE_OK);
    assert_true(beginning.complete);
    /* one that is read as another shard, or of another configuration, is worth nothing */
    assert_int_equal(
        spade_shard_read(f->context, &f->store, 1, path_inside(f->folder, "shard-000000.tar"), NULL, NULL, &beginning),
        SPADE_OK);
    assert_int_equal(beginning.bytes, 0);
    f->store.configuration[0] ^= 1;
    assert_int_equal(
        spade_shard_read(f->context, &f->store, 0, path_inside(f->folder, "shard-000000.tar"), NULL, NULL, &beginning),
        SPADE_OK);
    assert_int_equal(beginning.bytes, 0);
    assert_int_equal(spade_shard_look(f->context, &f->store, 0, &what, NULL), SPADE_ERROR_INPUT);
    f->store.configuration[0] ^= 1;
    assert_int_equal(truncate(path_inside(f->folder, "shard-000000.tar"), 512), 0);
    assert_int_equal(spade_shard_look(f->context, &f->store, 0, &what, NULL), SPADE_OK);
    assert_int_equal(what, SPADE_SHARD_LOST);
}

/* What a damaged file is read as must be a beginning of the undamaged one, up to the damage and no further. */
static void expect_beginning(fixture *f, const char *bytes, size_t size, size_t damaged)
{
    spade_shard_beginning beginning;
    const char *path = path_inside(f->folder, "damaged");
    unlink(path); /* a file that is made shorter first is flushed when it is closed, which takes milliseconds */
    file_write(path, bytes, size);
    assert_int_equal(spade_shard_read(f->context, &f->store, 0, path, NULL, NULL, &beginning), SPADE_OK);
    assert_true(beginning.bytes <= damaged);
    assert_false(beginning.complete);
    if (beginning.bytes) { assert_true(beginning.next > 0 && beginning.next <= SIZE); }
}

static void test_truncated(void **state)
{
    fixture *f = *state;
    size_t size;
    char *bytes = make_whole(f, &size);
    for (size_t length = 0; length < size; length++) { expect_beginning(f, bytes, length, length); }
    free(bytes);
}

static void test_flipped(void **state)
{
    fixture *f = *state;
    size_t size;
    char *bytes = make_whole(f, &size);
    uint32_t random = 1;
    for (size_t at = 0; at < size; at++) {
        random = random * 1664525 + 1013904223;
        const char mask = (char)(1 << (random >> 29));
        bytes[at] = (char)(bytes[at] ^ mask);
        expect_beginning(f, bytes, size, at);
        bytes[at] = (char)(bytes[at] ^ mask);
    }
    free(bytes);
}

/* A part file that was cut off, and one with garbage behind it: the longest whole beginning is taken up, the end is the same. */
static void test_taken_up(void **state)
{
    fixture *f = *state;
    size_t size, again;
    char *bytes = make_whole(f, &size);
    for (size_t length = 0; length <= size; length += length + 513 < size ? 513 : 1 + size / 4) {
        spade_shard_writer writer;
        file_write(path_inside(f->folder, "shard-000000.part.elsewhere-1-00000000"), bytes, length);
        file_write(path_inside(f->folder, "shard-000000.part.elsewhere-2-00000000"), bytes, length / 2);
        begin(f, 0, 1, &writer);
        finish(f, &writer);
        char *other = shard_bytes(f, "shard-000000.tar", &again);
        assert_int_equal(again, size);
        assert_memory_equal(other, bytes, size);
        assert_int_equal(count_files(f, ".part."), 0);
        free(other);
        unlink(path_inside(f->folder, "shard-000000.done.json"));
        unlink(path_inside(f->folder, "shard-000000.tar"));
    }
    /* a tar without its record is taken for one too */
    spade_shard_writer writer;
    file_write(path_inside(f->folder, "shard-000000.tar"), bytes, size);
    begin(f, 0, 1, &writer);
    assert_int_equal(writer.next, SIZE);
    assert_int_equal(json_array_size(writer.failures), 1);
    spade_shard_close(&writer);
    char command[300];
    snprintf(command, sizeof command, "rm %s/*.part.*", f->folder);
    assert_int_equal(system(command), 0);
    /* of rows that are made two by two no odd number is taken */
    file_write(path_inside(f->folder, "shard-000000.tar"), bytes, size - 2 * SPADE_TAR_END);
    begin(f, 0, 2, &writer);
    assert_int_equal(writer.next, 2);
    spade_shard_close(&writer);
    free(bytes);
}

/* Two that make the same shard: the second finds it done, and leaves it. */
static void test_two(void **state)
{
    fixture *f = *state;
    spade_shard_writer first, second;
    begin(f, 1, 1, &first);
    add_row(&first);
    begin(f, 1, 1, &second);
    assert_int_equal(second.kept, 1);
    finish(f, &first);
    finish(f, &second);
    assert_int_equal(count_files(f, "shard-000001"), 2);
}

static void test_configurations(void **state)
{
    fixture *f = *state;
    spade_store other;
    char *before = file_read(path_inside(f->folder, "store.json"), NULL);
    assert_int_equal(create(f, "float32", &other), SPADE_OK);
    assert_string_equal(other.configuration, f->store.configuration);
    spade_store_clear(&other);
    assert_int_equal(create(f, "png", &other), SPADE_ERROR_ARGUMENT);
    if (!strstr(spade_message(f->context), "values: \"float32\", now \"png\"")) {
        fail_msg("%s", spade_message(f->context));
    }
    char *after = file_read(path_inside(f->folder, "store.json"), NULL);
    assert_string_equal(before, after);
    free(before);
    free(after);
    assert_int_equal(spade_store_open(f->context, f->folder, &other), SPADE_OK);
    assert_int_equal(other.shards, 3);
    spade_store_clear(&other);
    static const char *const damaged[] = {
        "", "{", "[]", "{\"format\":2}", "{\"format\":1}", "{\"format\":1,\"entries\":-5,\"shard_size\":0}"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        file_write(path_inside(f->folder, "store.json"), damaged[i], strlen(damaged[i]));
        assert_int_equal(spade_store_open(f->context, f->folder, &other), SPADE_ERROR_INPUT);
        assert_int_not_equal(create(f, "float32", &other), SPADE_OK);
    }
}

static void test_names(void **state)
{
    static const struct {
        const char *name;
        int64_t shard; /* below 0: of none */
        const char *suffix;
    } names[] = {{"shard-000012.tar", 12, ".tar"},
                 {"shard-1234567.done.json", 1234567, ".done.json"},
                 {"shard-12.tar", -1, ""},
                 {"shard-0000012.tar", -1, ""},
                 {"other-000012.tar", -1, ""},
                 {"shard-000012", 12, ""},
                 {"shard-99999999999999999999.tar", -1, ""}};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int64_t shard = -1;
        const char *suffix = "";
        const bool is = spade_store_parse_name(names[i].name, &shard, &suffix);
        assert_int_equal(is, names[i].shard >= 0);
        if (is) { assert_int_equal(shard, names[i].shard); }
        if (is) { assert_string_equal(suffix, names[i].suffix); }
    }
}

/* ---- maps */

static double half_value(const uint8_t *bytes)
{
    const unsigned half = bytes[0] | (unsigned)bytes[1] << 8, exponent = half >> 10 & 31, fraction = half & 1023;
    const double value = exponent ? ldexp(1024 + fraction, (int)exponent - 25) : ldexp(fraction, -24);
    return half & 0x8000 ? -value : value;
}

static void test_float16(void **state)
{
    enum { COUNT = 400 };
    fixture *f = *state;
    float map[COUNT];
    const int64_t shape[3] = {1, 1, COUNT};
    static const double sizes[] = {1, 3e-9, 1e-38, 2e30};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        map_file file;
        for (int i = 0; i < COUNT; i++) { map[i] = (float)(sizes[s] * pow(0.9, i) * (i % 2 ? -1 : 1)); }
        assert_int_equal(map_values_encode(f->context, MAP_FLOAT16, map, shape, true, &file), SPADE_OK);
        const uint8_t *data = file.bytes + file.size - 2 * COUNT;
        for (int i = 0; i < COUNT; i++) {
            const double value = half_value(data + 2 * i) * file.scale;
            const double step = fmax(fabs((double)map[i]) * 0x1p-11, file.scale * 0x1p-25);
            assert_true(fabs(value - (double)map[i]) <= step);
        }
        free(file.bytes);
    }
    map_file file;
    memset(map, 0, sizeof map);
    assert_int_equal(map_values_encode(f->context, MAP_FLOAT16, map, shape, true, &file), SPADE_OK);
    assert_true(file.scale == 1);
    free(file.bytes);
    map[7] = NAN;
    assert_int_equal(map_values_encode(f->context, MAP_FLOAT16, map, shape, true, &file), SPADE_ERROR_NUMERICAL);
}

static void test_png(void **state)
{
    fixture *f = *state;
    const float maps[2][6] = {{0, 1e-7F, 2e-7F, 3e-7F, 4e-7F, 5e-7F}, {-3, 2, 1, 0, -1, -2}};
    for (int grey = 0; grey < 2; grey++) {
        const int64_t shape[3] = {grey ? 1 : 3, 1, grey ? 6 : 2};
        for (int m = 0; m < 2; m++) {
            map_file file;
            spade_picture picture;
            assert_int_equal(map_values_encode(f->context, MAP_PNG, maps[m], shape, false, &file), SPADE_OK);
            assert_int_equal(file.zero, m ? 128 : 0);
            const char *path = path_inside(f->folder, "map.png");
            file_write(path, file.bytes, file.size);
            assert_int_equal(spade_picture_load(f->context, path, &picture), SPADE_OK);
            for (int c = 0; c < shape[0]; c++) {
                for (int i = 0; i < shape[2]; i++) {
                    const double value = (picture.rgb[3 * i + c] - file.zero) * file.scale;
                    assert_true(fabs(value - (double)maps[m][c * shape[2] + i]) <= 0.51 * file.scale);
                }
            }
            spade_picture_clear(&picture);
            free(file.bytes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flipped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_taken_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two, setup, teardown),
        cmocka_unit_test_setup_teardown(test_configurations, setup, teardown),
        cmocka_unit_test(test_names),
        cmocka_unit_test_setup_teardown(test_float16, setup, teardown),
        cmocka_unit_test_setup_teardown(test_png, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
