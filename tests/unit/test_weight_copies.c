/* test_weight_copies.c - layers that read the same bytes of the file, whose memory goes back while weights are copied; files that
 * change after a network was loaded from them. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "spade/spade.h"
#include "support/command.h"
#include "support/model.h"

enum { SIDE = 8, PIXELS = 3 * SIDE * SIDE, WIDTH = 256, CLASSES = 4 };

/* Three linear layers, as the file holds a weight and the other way round; `names` says which of the initializers each reads. */
static wire network_of(const char *const names[3])
{
    char inputs[3][16];
    for (int i = 0; i < 3; i++) { snprintf(inputs[i], sizeof inputs[i], "%c %s", "fhj"[i], names[i]); }
    wire network = graph_of(3, SIDE, SIDE, CLASSES);
    put_tensor(&network, tensor_random("k", 4, (int64_t[]){WIDTH, 3, 1, 1}, 3));
    for (int i = 0; i < 3; i++) {
        if (i > 0 && strcmp(names[i], names[0]) == 0) { continue; }
        put_tensor(&network, tensor_random(names[i], 2, (int64_t[]){WIDTH, WIDTH}, 5));
    }
    put_tensor(&network, tensor_random("head", 2, (int64_t[]){WIDTH, CLASSES}, 6));
    put_node(&network, node_of("conv", "Conv", "x k", "c"));
    put_node(&network, node_of("pool", "GlobalAveragePool", "c", "p"));
    put_node(&network, node_of("flat", "Flatten", "p", "f"));
    put_node(&network, node_of("one", "MatMul", inputs[0], "g"));
    put_node(&network, node_of("relu1", "Relu", "g", "h"));
    put_node(&network, with_int(node_of("two", "Gemm", inputs[1], "i"), "transB", 1));
    put_node(&network, node_of("relu2", "Relu", "i", "j"));
    put_node(&network, node_of("three", "MatMul", inputs[2], "l"));
    put_node(&network, node_of("last", "MatMul", "l head", "y"));
    return network;
}

static spade_model *load(spade_context *context, const char *path)
{
    spade_model *model;
    if (spade_model_load(context, path, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    return model;
}

static void make_input(float *x)
{
    for (int i = 0; i < PIXELS; i++) { x[i] = pseudo_random(8, (uint32_t)i); }
}

static void test_shared_weights(void **state)
{
    (void)state;
    static const char *const shared[3] = {"w", "w", "w"}, *const own[3] = {"w", "u", "v"};
    float x[PIXELS], logits[2][CLASSES];
    spade_context *context;
    make_input(x);
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    for (int i = 0; i < 2; i++) {
        const char *path = test_save(i ? "own.onnx" : "shared.onnx", model_of(network_of(i ? own : shared)));
        spade_model *model = load(context, path);
        assert_int_equal(spade_model_forward(context, model, NULL, x, 1, logits[i]), SPADE_OK);
        spade_model_destroy(model);
    }
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
    assert_true(logits[0][0] != logits[0][1]);
    spade_context_destroy(context);
}

static spade_trace *find_trace(spade_context *context, const spade_model *model)
{
    enum { VARIANTS = 4 };
    static float x[VARIANTS * PIXELS];
    spade_batch *batch;
    spade_trace *trace;
    spade_trace_options options;
    for (int i = 0; i < VARIANTS * PIXELS; i++) { x[i] = pseudo_random(9, (uint32_t)i); }
    spade_trace_options_init(&options);
    assert_int_equal(spade_batch_from_array(context, x, VARIANTS, 3, SIDE, SIDE, &batch), SPADE_OK);
    if (spade_trace_create(context, model, batch, &options, &trace) != SPADE_OK) {
        fail_msg("%s", spade_message(context));
    }
    spade_batch_destroy(batch);
    return trace;
}

/* Written over, cut, gone, replaced under its name: an export is of the network that was loaded, or there is none. */
static void test_changed_file(void **state)
{
    (void)state;
    static const char *const names[3] = {"w", "w", "w"};
    enum { OVERWRITTEN, CUT, REMOVED, REPLACED, CHANGES };
    static const char *const says[CHANGES] = {"changed since it was loaded", "became shorter", NULL, NULL};
    spade_context *context;
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    for (int change = 0; change < CHANGES; change++) {
        char path[400], out[400];
        struct stat info;
        snprintf(path, sizeof path, "%s", test_save("changing.onnx", model_of(network_of(names))));
        snprintf(out, sizeof out, "%s/out%d.onnx", test_folder(), change);
        spade_model *model = load(context, path);
        spade_trace *trace = find_trace(context, model);
        assert_int_equal(stat(path, &info), 0);
        if (change == OVERWRITTEN) {
            const int file = open(path, O_WRONLY);
            assert_int_equal(pwrite(file, "other", 5, info.st_size / 2), 5);
            close(file);
        } else if (change == CUT) {
            assert_int_equal(truncate(path, info.st_size / 2), 0);
        } else {
            assert_int_equal(unlink(path), 0);
            if (change == REPLACED) { (void)test_write("changing.onnx", "another", 7); }
        }
        const spade_status status = spade_trace_write_onnx(context, trace, out);
        assert_true((status != SPADE_OK) == (says[change] != NULL));
        assert_int_equal(access(out, F_OK), says[change] ? -1 : 0);
        if (says[change] && !strstr(spade_message(context), says[change])) { fail_msg("%s", spade_message(context)); }
        spade_trace_destroy(trace);
        spade_model_destroy(model);
    }
    spade_context_destroy(context);
}

/* ---- a file that somebody writes while it is read */

typedef struct writer {
    char path[512];
    atomic_bool stop;
} writer;

/* Moves the file's time on as writing does, all the time, each time to another one. */
static void *keep_writing(void *argument)
{
    writer *w = argument;
    for (long i = 0; !w->stop; i++) {
        const struct timespec now = {1000000000 + i / 1000000, i % 1000000 * 1000};
        const struct timespec times[2] = {now, now};
        utimensat(AT_FDCWD, w->path, times, 0);
    }
    return NULL;
}

static void test_written_file(void **state)
{
    (void)state;
    enum { NUMBERS = 1 << 20, ATTEMPTS = 2000 };
    static float numbers[NUMBERS];
    const int64_t dims[] = {NUMBERS};
    writer w = {.stop = false};
    pthread_t thread;
    spade_context *context;
    spade_array array = {0};
    spade_status status = SPADE_OK;
    snprintf(w.path, sizeof w.path, "%s", test_write("written.npy", "", 0));
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    assert_int_equal(spade_array_save(context, w.path, numbers, 1, dims), SPADE_OK);
    assert_int_equal(pthread_create(&thread, NULL, keep_writing, &w), 0);
    for (int i = 0; i < ATTEMPTS && status == SPADE_OK; i++) { /* the writer may not have had its turn */
        spade_array_clear(&array);
        status = spade_array_load(context, w.path, 0, &array);
    }
    w.stop = true;
    pthread_join(thread, NULL);
    assert_int_equal(status, SPADE_ERROR_IO);
    assert_non_null(strstr(spade_message(context), "written.npy: changed while it was read"));
    assert_int_equal(spade_array_load(context, w.path, 0, &array), SPADE_OK); /* nobody writes any more */
    spade_array_clear(&array);
    spade_context_destroy(context);
}

static int close_folder(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shared_weights), cmocka_unit_test(test_changed_file),
                                       cmocka_unit_test(test_written_file)};
    return cmocka_run_group_tests(tests, NULL, close_folder);
}
