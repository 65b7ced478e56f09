/* test_onnx_robust.c - damaged and foreign files: the reader says one clear line or reads them, and never crashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <unistd.h>

#include "onnx/onnx.h"

/* The last one's nodes have metadata. */
static const char *const models[] = {"models/scene_resnet", "models/scene_mobilenet_folded", "exports/mixer.new"};

typedef struct fixture {
    spade_context *context;
    uint8_t *bytes; /* of a golden model */
    size_t size;
    char path[64];    /* of the damaged copy */
    char written[80]; /* what onnx_write() makes of it */
} fixture;

static void read_golden(fixture *f, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.onnx", SPADE_TEST_DATA, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    f->size = (size_t)ftell(file);
    rewind(file);
    free(f->bytes);
    f->bytes = malloc(f->size);
    assert_int_equal(fread(f->bytes, 1, f->size, file), f->size);
    fclose(file);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    strcpy(f->path, "/tmp/spade-robust-XXXXXX");
    int fd = mkstemp(f->path);
    if (fd < 0) { return -1; }
    close(fd);
    snprintf(f->written, sizeof f->written, "%s.out", f->path);
    return spade_context_create(NULL, &f->context) == SPADE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    fixture *f = *state;
    unlink(f->path);
    unlink(f->written);
    free(f->bytes);
    spade_context_destroy(f->context);
    free(f);
    return 0;
}

/* splitmix64: the same damage on every run. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void store(const fixture *f, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(f->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Touch all that a reader of the model would: strings, elements. */
static void use(const onnx_model *model)
{
    volatile double sum = 0;
    for (int i = 0; i < model->initializer_count; i++) {
        const onnx_tensor *tensor = &model->initializers[i];
        assert_non_null(tensor->name);
        for (int64_t e = 0; tensor->bytes && e < tensor->count; e += 97) {
            sum = sum + (double)onnx_tensor_float(tensor, e);
        }
        assert_int_equal(onnx_find_initializer(model, tensor->name), i);
    }
    for (int i = 0; i < model->node_count; i++) {
        const onnx_node *node = &model->nodes[i];
        size_t length = strlen(node->name) + strlen(node->op_type) + strlen(node->domain);
        for (int k = 0; k < node->input_count; k++) { length += strlen(node->inputs[k]); }
        for (int k = 0; k < node->output_count; k++) { length += strlen(node->outputs[k]); }
        for (int k = 0; k < node->attribute_count; k++) { length += strlen(node->attributes[k].name); }
        sum = sum + (double)length;
    }
}

/* Read the damaged file; true if it was accepted. */
static bool attempt(const fixture *f)
{
    onnx_model *model = NULL;
    spade_status status = onnx_load(f->context, f->path, false, &model);
    if (status == SPADE_OK) {
        use(model);
        onnx_free(model);
    } else {
        const char *message = spade_message(f->context);
        assert_null(model);
        assert_true(status == SPADE_ERROR_INPUT || status == SPADE_ERROR_UNSUPPORTED);
        assert_non_null(strstr(message, f->path));
        assert_true(strlen(message) > strlen(f->path) + 2);
        assert_null(strchr(message, '\n'));
    }
    assert_int_equal(f->context->used, 0);
    return status == SPADE_OK;
}

static void truncated(void **state)
{
    fixture *f = *state;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        read_golden(f, models[m]);
        store(f, f->bytes, f->size);
        assert_true(attempt(f));
        int accepted = 0;
        for (size_t i = 0; i < 600; i++) { /* from the end to the beginning: the file only shrinks */
            size_t size = f->size - 1 - i * ((f->size - 4097) / 600);
            assert_int_equal(truncate(f->path, (off_t)size), 0);
            accepted += attempt(f);
        }
        for (size_t size = 4096; size > 0; size--) {
            assert_int_equal(truncate(f->path, (off_t)size), 0);
            accepted += attempt(f);
        }
        assert_int_equal(truncate(f->path, 0), 0);
        accepted += attempt(f);
        assert_int_equal(accepted, 0);
    }
}

/* Whatever was accepted can be written, and is the same then. */
static void rewrite(const fixture *f)
{
    onnx_model *model, *again;
    if (onnx_load(f->context, f->path, false, &model) != SPADE_OK) { return; }
    assert_int_equal(onnx_write(f->context, model, NULL, 0, f->written), SPADE_OK);
    assert_int_equal(onnx_load(f->context, f->written, false, &again), SPADE_OK);
    assert_int_equal(again->file.size, model->file.size);
    assert_memory_equal(again->file.data, model->file.data, model->file.size);
    onnx_free(again);
    onnx_free(model);
}

/* Headers and names are hit as often as the weights, which are nearly all of the file. */
static void flipped(void **state)
{
    fixture *f = *state;
    read_golden(f, models[0]);
    uint8_t *damaged = malloc(f->size);
    for (uint64_t seed = 0; seed < 3000; seed++) {
        uint64_t random = seed;
        if (seed == 2000) {
            read_golden(f, models[2]);
            damaged = realloc(damaged, f->size);
        }
        memcpy(damaged, f->bytes, f->size);
        int flips = 1 + (int)(next_random(&random) % 4);
        for (int i = 0; i < flips; i++) {
            uint64_t range = next_random(&random) % 2 ? f->size : 16384;
            damaged[next_random(&random) % range] ^= (uint8_t)(1u << next_random(&random) % 8);
        }
        store(f, damaged, f->size);
        attempt(f);
        if (seed % 16 == 0) { rewrite(f); }
    }
    free(damaged);
}

/* Bytes of small numbers make more tags and lengths that hold together than even noise does. */
static void noise(void **state)
{
    fixture *f = *state;
    uint8_t bytes[2048];
    for (uint64_t seed = 0; seed < 2000; seed++) {
        uint64_t random = seed + 1000000;
        size_t size = 1 + next_random(&random) % sizeof bytes;
        for (size_t i = 0; i < size; i++) { bytes[i] = (uint8_t)(next_random(&random) % (seed % 2 ? 256 : 64)); }
        store(f, bytes, size);
        assert_false(attempt(f));
    }
}

/* Pieces of a model in a new order: valid fields where they do not belong. */
static void spliced(void **state)
{
    fixture *f = *state;
    read_golden(f, models[1]);
    uint8_t *damaged = malloc(f->size);
    for (uint64_t seed = 0; seed < 500; seed++) {
        uint64_t random = seed + 2000000;
        memcpy(damaged, f->bytes, f->size);
        size_t length = 1 + next_random(&random) % 256;
        size_t from = next_random(&random) % (f->size - length);
        size_t to = next_random(&random) % (next_random(&random) % 2 ? 16384 : f->size - length);
        memcpy(damaged + to, f->bytes + from, length);
        store(f, damaged, f->size);
        attempt(f);
    }
    free(damaged);
}

static void foreign(void **state)
{
    fixture *f = *state;
    static const char *const contents[] = {"hello\n",
                                           "ir_version: 8\nproducer_name: \"pytorch\"\n",
                                           "\x89PNG\r\n\x1a\n",
                                           "GIF89a",
                                           "PK\x03\x04",
                                           "\xff\xd8\xff\xe0",
                                           "\x0a",
                                           "\x08",
                                           "{}",
                                           "\x3a\xff"};
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        store(f, (const uint8_t *)contents[i], strlen(contents[i]));
        assert_false(attempt(f));
    }
    fixture elsewhere = {.context = f->context, .path = "/tmp"};
    assert_false(attempt(&elsewhere));
    strcpy(elsewhere.path, "/dev/zero");
    assert_false(attempt(&elsewhere));
    strcpy(elsewhere.path, "/tmp/spade-there-is-no-such-file.onnx");
    assert_false(attempt(&elsewhere));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncated), cmocka_unit_test(flipped), cmocka_unit_test(noise),
        cmocka_unit_test(spliced),   cmocka_unit_test(foreign),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
