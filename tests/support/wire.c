/* wire.c - see helper_wire.h. */
#include "support/wire.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void wire_raw(wire *out, const void *bytes, size_t size)
{
    if (size == 0) { return; }
    if (out->size + size > out->capacity) {
        out->capacity = (out->size + size) * 2;
        out->bytes = realloc(out->bytes, out->capacity);
        if (!out->bytes) { abort(); }
    }
    memcpy(out->bytes + out->size, bytes, size);
    out->size += size;
}

void wire_varint(wire *out, uint64_t value)
{
    do {
        uint8_t byte = (uint8_t)(value & 0x7f);
        value >>= 7;
        if (value) { byte |= 0x80; }
        wire_raw(out, &byte, 1);
    } while (value);
}

void wire_number(wire *out, uint32_t field, uint64_t value)
{
    wire_varint(out, field << 3);
    wire_varint(out, value);
}

void wire_float(wire *out, uint32_t field, float value)
{
    wire_varint(out, field << 3 | 5);
    wire_raw(out, &value, sizeof value);
}

void wire_double(wire *out, uint32_t field, double value)
{
    wire_varint(out, field << 3 | 1);
    wire_raw(out, &value, sizeof value);
}

void wire_bytes(wire *out, uint32_t field, const void *bytes, size_t size)
{
    wire_varint(out, field << 3 | 2);
    wire_varint(out, size);
    wire_raw(out, bytes, size);
}

void wire_text(wire *out, uint32_t field, const char *text)
{
    wire_bytes(out, field, text, strlen(text));
}

void wire_message(wire *out, uint32_t field, wire inner)
{
    wire_bytes(out, field, inner.bytes, inner.size);
    wire_free(&inner);
}

void wire_free(wire *out)
{
    free(out->bytes);
    *out = (wire){0};
}

wire tensor_head(const char *name, int type, int rank, const int64_t *dims)
{
    wire out = {0};
    for (int i = 0; i < rank; i++) { wire_number(&out, 1, (uint64_t)dims[i]); }
    wire_number(&out, 2, (uint64_t)type);
    wire_text(&out, 8, name);
    return out;
}

wire tensor_float(const char *name, int rank, const int64_t *dims, float start)
{
    wire out = tensor_head(name, 1, rank, dims), data = {0};
    int64_t count = 1;
    for (int i = 0; i < rank; i++) { count *= dims[i]; }
    for (int64_t i = 0; i < count; i++) {
        float value = start + (float)i;
        wire_raw(&data, &value, sizeof value);
    }
    wire_message(&out, 9, data);
    return out;
}

wire node_of(const char *name, const char *op_type, const char *inputs, const char *output)
{
    wire out = {0};
    while (*inputs) {
        size_t length = strcspn(inputs, " ");
        wire_bytes(&out, 1, inputs, length);
        inputs += length;
        if (*inputs) { inputs++; }
    }
    wire_text(&out, 2, output);
    wire_text(&out, 3, name);
    wire_text(&out, 4, op_type);
    return out;
}

wire value_of(const char *name, int rank, const int64_t *dims)
{
    wire out = {0}, type = {0}, tensor = {0}, shape = {0};
    for (int i = 0; i < rank; i++) {
        wire dimension = {0};
        if (dims[i] < 0) {
            wire_text(&dimension, 2, "batch");
        } else {
            wire_number(&dimension, 1, (uint64_t)dims[i]);
        }
        wire_message(&shape, 1, dimension);
    }
    wire_number(&tensor, 1, 1);
    wire_message(&tensor, 2, shape);
    wire_message(&type, 1, tensor);
    wire_text(&out, 1, name);
    wire_message(&out, 2, type);
    return out;
}

wire model_of(wire network)
{
    wire out = {0}, opset = {0};
    wire_number(&out, 1, 8);
    wire_text(&out, 2, "by hand");
    wire_message(&out, 7, network);
    wire_text(&opset, 1, "");
    wire_number(&opset, 2, 16);
    wire_message(&out, 8, opset);
    return out;
}

wire graph_simple(void)
{
    static const int64_t dims[] = {-1, 4};
    wire network = {0};
    wire_message(&network, 1, node_of("relu", "Relu", "x", "y"));
    wire_text(&network, 2, "simple");
    wire_message(&network, 11, value_of("x", 2, dims));
    wire_message(&network, 12, value_of("y", 2, dims));
    return network;
}

const char *test_folder(void)
{
    static char folder[64];
    if (!*folder) {
        snprintf(folder, sizeof folder, "/tmp/spade-onnx-XXXXXX");
        if (!mkdtemp(folder)) { abort(); }
        atexit(test_remove_folder);
    }
    return folder;
}

static void remove_below(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) { return; }
    for (struct dirent *entry; (entry = readdir(folder));) {
        char name[512];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) { continue; }
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (lstat(name, &info) == 0 && S_ISDIR(info.st_mode)) {
            remove_below(name);
        } else {
            unlink(name);
        }
    }
    closedir(folder);
    rmdir(path);
}

void test_remove_folder(void)
{
    remove_below(test_folder());
}

/* SPADE_TEST_KEEP: a folder that gets a copy, under a name made of the content: what tests/fuzz begins with. */
static void keep_copy(const char *name, const void *bytes, size_t size)
{
    const char *folder = getenv("SPADE_TEST_KEEP"), *suffix = strrchr(name, '.');
    char path[512];
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    if (!folder) { return; }
    for (size_t i = 0; i < size; i++) { hash = (hash ^ ((const uint8_t *)bytes)[i]) * 1099511628211u; }
    snprintf(path, sizeof path, "%s/%016llx%s", folder, (unsigned long long)hash, suffix ? suffix : "");
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) { abort(); }
}

const char *test_write(const char *name, const void *bytes, size_t size)
{
    static char paths[8][256];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder(), name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) { abort(); }
    keep_copy(name, bytes, size);
    return path;
}

const char *test_save(const char *name, wire content)
{
    const char *path = test_write(name, content.bytes ? content.bytes : (const uint8_t *)"", content.size);
    wire_free(&content);
    return path;
}
