/* stores.c - see stores.h. */
#include "support/stores.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SIDE = 4, HEADER = 128 };

static void expect(spade_context *context, spade_status status)
{
    if (status != SPADE_OK) { fail_msg("%s", spade_message(context)); }
}

static void open_store(spade_context *context, const char *folder, spade_store *store)
{
    json_t *deciding = json_pack("{s:i, s:i, s:i, s:s, s:[s, s], s:{s:[s]}}", "format", SPADE_STORE_FORMAT, "entries",
                                 STORE_ENTRIES, "shard_size", STORE_SHARD_SIZE, "values", "float32", "networks",
                                 "dense", "trace", "configuration", "method", "saliency");
    json_t *description = json_pack("{s:s}", "model_path", "net.onnx");
    assert_true(deciding && description);
    expect(context, spade_store_create(context, folder, deciding, description, store));
    json_decref(deciding);
    json_decref(description);
}

/* A map as .npy, format 1.0. */
static void make_map(int64_t row, int network, spade_shard_file *out)
{
    char key[SPADE_STORE_KEY], *bytes = calloc(1, HEADER + sizeof(float) * SIDE * SIDE);
    assert_non_null(bytes);
    spade_store_key(row, key);
    *out = (spade_shard_file){.bytes = bytes, .size = HEADER + sizeof(float) * SIDE * SIDE};
    snprintf(out->name, sizeof out->name, "%s.saliency%s.npy", key, network ? ".trace" : "");
    memset(bytes, ' ', HEADER);
    memcpy(bytes, "\x93NUMPY\x01\x00\x76\x00", 10);
    const int length = snprintf(bytes + 10, HEADER - 10,
                                "{'descr': '<f4', 'fortran_order': False, 'shape': (1, %d, %d), }", SIDE, SIDE);
    bytes[10 + length] = ' ';
    bytes[HEADER - 1] = '\n';
    for (int i = 0; i < SIDE * SIDE; i++) {
        const float value = (float)((row * 7 + i * (network + 1)) % 13);
        memcpy(bytes + HEADER + sizeof value * (size_t)i, &value, sizeof value);
    }
    spade_fingerprint(&(spade_mapping){.data = (const uint8_t *)bytes, .size = out->size}, 1, out->xxh128);
}

static json_t *map_json(const spade_shard_file *file, const char *network, double metric)
{
    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:I, s:s, s:f}", "file", file->name, "method", "saliency", "network",
                     network, "class", 1, "name", "cat", "bytes", (json_int_t)file->size, "xxh128", file->xxh128,
                     "roc_auc", metric);
}

static void add_row(spade_context *context, spade_shard_writer *writer)
{
    const int64_t row = writer->next;
    spade_shard_file files[2];
    char image[64];
    snprintf(image, sizeof image, "pictures/%lld.png", (long long)row);
    if (store_row_failed(row)) {
        json_t *record =
            json_pack("{s:s, s:{s:s}, s:s}", "image", image, "columns", "label", "2", "error", "no picture");
        expect(context, spade_shard_add(writer, NULL, 0, record));
        json_decref(record);
        return;
    }
    make_map(row, 0, &files[0]);
    make_map(row, 1, &files[1]);
    json_t *record =
        json_pack("{s:s, s:{s:s, s:s}, s:{s:i, s:s, s:f}, s:{s:i, s:s, s:f}, s:b, s:[o, o]}", "image", image, "columns",
                  "label", "1", "place", "a<b", "dense", "class", 1, "name", "cat", "score", 0.5 + (double)row / 100,
                  "trace", "class", 2, "name", "dog", "score", 0.25, "class_changed", 1, "maps",
                  map_json(&files[0], "dense", 0.5), map_json(&files[1], "trace", 0.75));
    assert_non_null(record);
    expect(context, spade_shard_add(writer, files, 2, record));
    json_decref(record);
    free(files[0].bytes);
    free(files[1].bytes);
}

static void fill(spade_context *context, const spade_store *store, int shard, int64_t end, bool finish)
{
    spade_shard_writer writer;
    expect(context, spade_shard_begin(context, store, shard, 1, false, &writer));
    while (writer.next < end) { add_row(context, &writer); }
    if (finish) {
        json_t *about = json_pack("{s:s, s:s}", "version", "test", "device", "cpu");
        expect(context, spade_shard_finish(&writer, about));
        json_decref(about);
    }
    spade_shard_close(&writer);
}

void store_make(spade_context *context, const char *folder, int shards)
{
    spade_store store;
    open_store(context, folder, &store);
    for (int i = 0; i < shards; i++) { fill(context, &store, i, spade_store_end(&store, i), true); }
    spade_store_clear(&store);
}

void store_make_part(spade_context *context, const char *folder, int shard, int64_t end)
{
    spade_store store;
    open_store(context, folder, &store);
    fill(context, &store, shard, end, false);
    spade_store_clear(&store);
}
