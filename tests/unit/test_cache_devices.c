/*
 * What stays on the device from call to call: no result depends on what was there before, nothing that is in use is
 * given back, and the budget gets all of it when it must. Runs on every device (SPADE_TEST_DEVICE).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include <cmocka.h>

#include "support/budget.h"
#include "support/context.h"
#include "engine/executor.h"
#include "engine/model.h"
#include "support/model.h"
#include "support/targets.h"
#include "spade/spade.h"

enum { SIDE = 12, CHANNELS = 8, CLASSES = 5, VARIANTS = 10, SIZE = 3 * SIDE * SIDE, MIB = 1 << 20 };

static void put_convolution(wire *network, const char *name, const char *input, const char *output, int64_t in,
                            int64_t kernel, uint32_t seed)
{
    char weight[32], inputs[64];
    const int64_t dims[] = {CHANNELS, in, kernel, kernel}, pad = kernel / 2, pads[] = {pad, pad, pad, pad};
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(inputs, sizeof inputs, "%s %s", input, weight);
    put_tensor(network, tensor_random(weight, 4, dims, seed));
    put_node(network, with_ints(node_of(name, "Conv", inputs, output), "pads", 4, pads));
}

/* first (3x3) -> relu -> second (1x1) -> relu -> average -> fc, whose product is multiplied by alpha */
static const char *save_model(void)
{
    wire network = graph_of(3, SIDE, SIDE, CLASSES);
    const int64_t dims[] = {CLASSES, CHANNELS};
    put_convolution(&network, "first", "x", "a", 3, 3, 1);
    put_node(&network, node_of("relu", "Relu", "a", "b"));
    put_convolution(&network, "second", "b", "c", CHANNELS, 1, 2);
    put_node(&network, node_of("relu2", "Relu", "c", "d"));
    put_node(&network, node_of("average", "GlobalAveragePool", "d", "p"));
    put_node(&network, node_of("flatten", "Flatten", "p", "f"));
    put_tensor(&network, tensor_random("fc.weight", 2, dims, 4));
    put_node(&network, with_float(with_int(node_of("fc", "Gemm", "f fc.weight", "y"), "transB", 1), "alpha", 0.5f));
    return test_save("ready.onnx", model_of(network));
}

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    float variants[2][VARIANTS * SIZE]; /* of two images */
} fixture;

static spade_context *open_context(uint64_t memory)
{
    spade_context *context = test_context(test_device(), 2);
    test_set_budget(context, memory);
    return context;
}

static fixture *open_fixture(uint64_t memory)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->context = open_context(memory);
    if (spade_model_load(f->context, save_model(), NULL, &f->model) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    for (int image = 0; image < 2; image++) {
        for (int i = 0; i < VARIANTS * SIZE; i++) {
            f->variants[image][i] = pseudo_random(7 + (uint32_t)image, (uint32_t)i);
        }
    }
    return f;
}

static void close_fixture(fixture *f)
{
    spade_model_destroy(f->model);
    assert_int_equal(f->context->used, f->context->device->own_bytes);
    assert_int_equal(f->context->evictable, 0);
    spade_context_destroy(f->context);
    free(f);
}

static spade_trace *find_trace_of(const fixture *f, const float *variants, int n)
{
    spade_batch *batch;
    spade_trace *trace;
    spade_trace_options options;
    spade_trace_options_init(&options);
    assert_int_equal(spade_batch_from_array(f->context, variants, n, 3, SIDE, SIDE, &batch), SPADE_OK);
    if (spade_trace_create(f->context, f->model, batch, &options, &trace) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    spade_batch_destroy(batch);
    return trace;
}

static spade_trace *find_trace(const fixture *f, int image)
{
    return find_trace_of(f, f->variants[image], VARIANTS);
}

/* Logits of the first `n` variants of image 0, and the saliency map of the first. */
typedef struct answer {
    float logits[VARIANTS * CLASSES];
    float map[SIZE];
} answer;

static answer ask(fixture *f, const spade_trace *trace, int n)
{
    answer a;
    const int64_t target = 1;
    spade_attribution *saliency;
    memset(&a, 0, sizeof a);
    if (spade_attribution_create(f->context, "saliency", &saliency) != SPADE_OK ||
        spade_model_forward(f->context, f->model, trace, f->variants[0], n, a.logits) != SPADE_OK ||
        spade_attribute(f->context, f->model, trace, saliency, f->variants[0], targets_of(&target, 1), 1, a.map,
                        NULL) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    spade_attribution_destroy(saliency);
    return a;
}

/* What a process that does nothing else answers. */
static answer fresh_answer(int image, int n)
{
    fixture *f = open_fixture(0);
    spade_trace *trace = image < 0 ? NULL : find_trace(f, image);
    answer a = ask(f, trace, n);
    spade_trace_destroy(trace);
    close_fixture(f);
    return a;
}

static void test_answers_do_not_depend_on_the_past(void **state)
{
    (void)state;
    const answer dense = fresh_answer(-1, 9), first = fresh_answer(0, 9), second = fresh_answer(1, 9);
    fixture *f = open_fixture(0);
    assert_memory_not_equal(&first, &second, sizeof first);
    for (int round = 0; round < 3; round++) {
        spade_trace *a = find_trace(f, 0), *b = find_trace(f, 1);
        const struct {
            const spade_trace *trace;
            const answer *expected;
        } asked[] = {{NULL, &dense}, {a, &first}, {b, &second}, {a, &first}, {NULL, &dense}, {b, &second}};
        for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
            answer got = ask(f, asked[i].trace, 9);
            assert_memory_equal(&got, asked[i].expected, sizeof got);
        }
        assert_true(f->context->evictable > 0);
        spade_trace_destroy(a);
        spade_trace_destroy(b);
    }
    close_fixture(f);
}

/* A layer that is written by hand is packed anew, and one that is dropped is the network's again. */
static void test_changed_weights_are_seen(void **state)
{
    (void)state;
    fixture *f = open_fixture(0);
    spade_trace *trace;
    float zeros[CHANNELS * CHANNELS] = {0};
    int layer = spade_model_find_layer(f->model, "second");
    answer dense = ask(f, NULL, 1);
    assert_int_equal(spade_trace_create_empty(f->context, f->model, &trace), SPADE_OK);
    answer empty = ask(f, trace, 1);
    assert_memory_equal(&empty, &dense, sizeof dense);
    assert_int_equal(spade_trace_set_weights(f->context, trace, layer, zeros), SPADE_OK);
    answer silent = ask(f, trace, 1);
    for (int i = 0; i < CLASSES; i++) { assert_true(silent.logits[i] == 0); }
    for (int i = 0; i < SIZE; i++) { assert_true(silent.map[i] == 0); }
    assert_int_equal(spade_trace_set_weights(f->context, trace, layer, spade_model_weights(f->model, layer)), SPADE_OK);
    answer again = ask(f, trace, 1);
    assert_memory_equal(&again, &dense, sizeof dense);
    spade_weight_override_drop(spade_weight_override_of(trace), layer);
    again = ask(f, trace, 1);
    assert_memory_equal(&again, &dense, sizeof dense);
    spade_trace_destroy(trace);
    close_fixture(f);
}

/* Weights go where they are asked for, and come back as they were. */
static void test_weights_of_a_trace_move(void **state)
{
    (void)state;
    fixture *f = open_fixture(0);
    spade_trace *trace = find_trace(f, 0), *copy;
    int layer = spade_model_find_layer(f->model, "second");
    const size_t bytes = (size_t)CHANNELS * CHANNELS * sizeof(float);
    const float *host, *device;
    float kept[CHANNELS * CHANNELS], back[CHANNELS * CHANNELS];
    spade_weight_override *overlay = spade_weight_override_of(trace);
    assert_int_equal(spade_weight_override_host(overlay, layer, &host), SPADE_OK);
    memcpy(kept, host, bytes);
    assert_int_equal(spade_weight_override_device(overlay, layer, &device), SPADE_OK);
    spade_device *d = f->context->device;
    assert_int_equal(d->backend->download(d, back, device, bytes), SPADE_OK);
    assert_memory_equal(back, kept, bytes);
    assert_int_equal(spade_trace_create_empty(f->context, f->model, &copy), SPADE_OK);
    assert_int_equal(spade_weight_override_copy(spade_weight_override_of(copy), overlay, layer), SPADE_OK);
    assert_memory_equal(spade_trace_weights(copy, layer), kept, bytes);
    assert_ptr_not_equal(spade_trace_weights(copy, layer), spade_trace_weights(trace, layer));
    /* written on the host: the device's copy is of the past */
    assert_int_equal(spade_trace_set_weights(f->context, trace, layer, spade_model_weights(f->model, layer)), SPADE_OK);
    assert_int_equal(spade_weight_override_device(overlay, layer, &device), SPADE_OK);
    assert_int_equal(d->backend->download(d, back, device, bytes), SPADE_OK);
    assert_memory_equal(back, spade_model_weights(f->model, layer), bytes);
    spade_trace_destroy(copy);
    spade_trace_destroy(trace);
    close_fixture(f);
}

static spade_status no_download(spade_device *device, void *to_host, const void *from, size_t bytes)
{
    (void)to_host, (void)from, (void)bytes;
    return spade_fail(device->context, SPADE_ERROR_DEVICE, "the device is lost");
}

/* Weights that cannot be copied from the device: NULL, and files that are not written, for the reason there is. */
static void test_weights_that_are_lost(void **state)
{
    (void)state;
    fixture *f = open_fixture(0);
    spade_device *device = f->context->device;
    const spade_backend *own = device->backend;
    if (own->host_memory) {
        print_message("skipped: the device has no memory of its own\n");
        close_fixture(f);
        return;
    }
    spade_backend table = *own;
    table.download = no_download;
    spade_trace *trace = find_trace(f, 0);
    int layer = spade_model_find_layer(f->model, "second");
    device->backend = &table;
    assert_null(spade_trace_weights(trace, layer));
    assert_non_null(strstr(spade_message(f->context), "layer second: the device is lost"));
    assert_int_equal(spade_trace_write_safetensors(f->context, trace, "ready_lost.out"), SPADE_ERROR_DEVICE);
    assert_int_equal(spade_trace_write_onnx(f->context, trace, "ready_lost.out"), SPADE_ERROR_DEVICE);
    assert_int_not_equal(access("ready_lost.out", F_OK), 0);
    device->backend = own;
    assert_non_null(spade_trace_weights(trace, layer)); /* a failure leaves nothing behind */
    spade_trace_destroy(trace);
    close_fixture(f);
}

static spade_status acquire(fixture *f, int64_t batch, spade_executor **out)
{
    const spade_plan_request request = spade_forward_request(batch);
    return spade_executor_acquire(f->context, &f->model->network, &request, NULL, out);
}

static void test_the_same_executor_comes_back(void **state)
{
    (void)state;
    fixture *f = open_fixture(0);
    spade_executor *a, *b, *again;
    assert_int_equal(acquire(f, 2, &a), SPADE_OK);
    assert_int_equal(acquire(f, 2, &b), SPADE_OK);
    assert_ptr_not_equal(a, b); /* the first is in use */
    const uint64_t generation = a->generation;
    spade_executor_release(a);
    assert_int_equal(acquire(f, 3, &again), SPADE_OK);
    assert_true(again->generation != generation);
    spade_executor_release(again);
    assert_int_equal(acquire(f, 2, &again), SPADE_OK);
    assert_true(again->generation == generation);
    assert_int_equal(spade_executor_scratch(again, 100, "a test"), SPADE_OK);
    assert_true(again->generation != generation);
    spade_executor_release(again);
    spade_executor_release(b);
    /* all of it counts as free, and is given back to the last byte */
    assert_int_equal(spade_bytes_in_use(f->context) + f->context->evictable, f->context->used);
    const uint64_t in_use = spade_bytes_in_use(f->context);
    while (spade_lru_evict(f->context)) {}
    assert_int_equal(f->context->used, in_use);
    close_fixture(f);
}

/* Another context than the model's: nothing is kept, everything works. */
static void test_another_context(void **state)
{
    (void)state;
    fixture *f = open_fixture(0);
    spade_context *other = open_context(0), *own = f->context;
    answer expected = ask(f, NULL, 3);
    f->context = other;
    answer got = ask(f, NULL, 3);
    spade_trace *trace = find_trace(f, 0);
    (void)ask(f, trace, 3);
    spade_trace_destroy(trace);
    assert_int_equal(other->used, other->device->own_bytes);
    assert_memory_equal(&got, &expected, sizeof got);
    f->context = own;
    spade_context_destroy(other);
    close_fixture(f);
}

/* The least memory that does gives the same answers, although nothing can be kept. */
static void test_the_budget_comes_first(void **state)
{
    (void)state;
    const answer expected = fresh_answer(0, 9);
    uint64_t low = 0, high = 64 * MIB;
    while (high - low > MIB / 16) {
        fixture *f = calloc(1, sizeof *f);
        assert_non_null(f);
        uint64_t middle = low + (high - low) / 2;
        spade_context *context = f->context = open_context(middle);
        spade_batch *batch = NULL;
        spade_trace *trace = NULL;
        spade_trace_options options;
        spade_trace_options_init(&options);
        for (int i = 0; i < VARIANTS * SIZE; i++) { f->variants[0][i] = pseudo_random(7, (uint32_t)i); }
        spade_status status = spade_model_load(context, save_model(), NULL, &f->model);
        if (status == SPADE_OK) {
            status = spade_batch_from_array(context, f->variants[0], VARIANTS, 3, SIDE, SIDE, &batch);
        }
        for (int round = 0; round < 3 && status == SPADE_OK; round++) {
            spade_trace_destroy(trace);
            trace = NULL;
            status = spade_trace_create(context, f->model, batch, &options, &trace);
            float logits[VARIANTS * CLASSES] = {0};
            if (status == SPADE_OK) {
                status = spade_model_forward(context, f->model, trace, f->variants[0], 9, logits);
            }
            if (status == SPADE_OK) { assert_memory_equal(logits, expected.logits, sizeof logits); }
        }
        assert_true(status == SPADE_OK || status == SPADE_ERROR_MEMORY);
        assert_true(context->used <= context->budget);
        *(status == SPADE_OK ? &high : &low) = middle;
        spade_trace_destroy(trace);
        spade_batch_destroy(batch);
        close_fixture(f);
    }
    assert_true(high < 64 * MIB);
}

/* ---- recordings: what a device replays */

static const spade_backend *counted;
static struct {
    int recorded, replayed;
} counts;

static spade_status count_end(spade_device *device, spade_captured_graph **out)
{
    spade_status status = counted->capture_end(device, out);
    counts.recorded += status == SPADE_OK;
    return status;
}

static spade_status count_replay(spade_device *device, spade_captured_graph *captured)
{
    counts.replayed++;
    return counted->graph_launch(device, captured);
}

/* The second image records its micro-batch, its forward pass and its map; from then on they are replayed, whatever the
 * trace, with the bits of a device that does not record. */
static void test_repeated_work_is_recorded(void **state)
{
    (void)state;
    const answer first = fresh_answer(0, 3), second = fresh_answer(1, 3);
    fixture *f = open_fixture(0);
    spade_device *device = f->context->device;
    counted = device->backend;
    spade_backend table = *counted;
    if (!counted->capture_begin) {
        print_message("skipped: the device has no recordings\n");
        close_fixture(f);
        return;
    }
    table.capture_end = count_end;
    table.graph_launch = count_replay;
    device->backend = &table;
    for (int round = 0; round < 4; round++) {
        memset(&counts, 0, sizeof counts);
        spade_trace *trace = find_trace(f, round % 2);
        answer got = ask(f, trace, 3);
        assert_memory_equal(&got, round % 2 ? &second : &first, sizeof got);
        spade_trace_destroy(trace);
        assert_int_equal(counts.recorded, round == 1 ? 3 : 0);
        assert_int_equal(counts.replayed, round == 0 ? 0 : 3);
    }
    device->backend = counted;
    close_fixture(f);
}

/* Methods whose walks back differ have executors and recordings of their own: in turn, they are recorded once each and
 * replayed from then on, with the bits that they gave alone. */
static void test_methods_keep_their_recordings(void **state)
{
    (void)state;
    static const char *const texts[] = {"saliency", "guided_backprop", "deconvolution", "gradcam:layer=first",
                                        "gradcam:layer=second"};
    enum { METHODS = sizeof texts / sizeof *texts, ROUNDS = 4 };
    static float first[METHODS][SIZE], map[SIZE];
    const int64_t target = 1;
    fixture *f = open_fixture(0);
    spade_device *device = f->context->device;
    spade_attribution *methods[METHODS];
    counted = device->backend;
    spade_backend table = *counted;
    if (counted->capture_begin) {
        table.capture_end = count_end;
        table.graph_launch = count_replay;
    }
    for (int m = 0; m < METHODS; m++) {
        assert_int_equal(spade_attribution_create(f->context, texts[m], &methods[m]), SPADE_OK);
    }
    device->backend = &table;
    for (int round = 0; round < ROUNDS; round++) {
        memset(&counts, 0, sizeof counts);
        for (int m = 0; m < METHODS; m++) {
            float *to = round ? map : first[m];
            memset(to, 0, sizeof map);
            if (spade_attribute(f->context, f->model, NULL, methods[m], f->variants[0], targets_of(&target, 1), 1, to,
                                NULL) != SPADE_OK) {
                fail_msg("%s: %s", texts[m], spade_message(f->context));
            }
            assert_memory_equal(to, first[m], sizeof map);
        }
        if (!counted->capture_begin) { continue; }
        assert_int_equal(counts.recorded, round == 1 ? METHODS : 0);
        assert_int_equal(counts.replayed, round == 0 ? 0 : METHODS);
    }
    device->backend = counted;
    for (int m = 0; m < METHODS; m++) { spade_attribution_destroy(methods[m]); }
    close_fixture(f);
}

static spade_status refuse_begin(spade_device *device)
{
    counts.recorded++;
    return spade_fail(device->context, SPADE_ERROR_INTERNAL, "no recordings today");
}

static spade_status refuse_end(spade_device *device, spade_captured_graph **out)
{
    (void)counted->capture_end(device, out);
    counted->graph_destroy(device, *out);
    *out = NULL;
    counts.recorded++;
    return spade_fail(device->context, SPADE_ERROR_INTERNAL, "cannot be recorded");
}

/* What a library refuses to have recorded, at the beginning or at the end, is done directly, and not tried again. */
static void test_refused_recordings(void **state)
{
    (void)state;
    const answer expected = fresh_answer(0, 3);
    for (int at_end = 0; at_end < 2; at_end++) {
        fixture *f = open_fixture(0);
        spade_device *device = f->context->device;
        counted = device->backend;
        spade_backend table = *counted;
        if (!counted->capture_begin) {
            print_message("skipped: the device has no recordings\n");
            close_fixture(f);
            return;
        }
        if (at_end) {
            table.capture_end = refuse_end;
        } else {
            table.capture_begin = refuse_begin;
        }
        device->backend = &table;
        memset(&counts, 0, sizeof counts);
        for (int round = 0; round < 4; round++) {
            spade_trace *trace = find_trace(f, 0);
            answer got = ask(f, trace, 3);
            assert_memory_equal(&got, &expected, sizeof got);
            assert_string_equal(spade_message(f->context), ""); /* nothing that the caller asked for has failed */
            spade_trace_destroy(trace);
        }
        assert_int_equal(counts.recorded, 3); /* the micro-batch, the forward pass, the map: once each */
        device->backend = counted;
        close_fixture(f);
    }
}

/* Within one image: micro-batches of whole size are one captured, the rest runs by itself, and rows that wait for
 * their update (fc has one a variant) are all there. */
static void test_micro_batches_are_recorded(void **state)
{
    (void)state;
    fixture *f = open_fixture(0);
    spade_device *device = f->context->device;
    counted = device->backend;
    const int n = (int)counted->hessian->micro_batch * 3 + 5;
    int layer = spade_model_find_layer(f->model, "second"), fc = spade_model_find_layer(f->model, "fc");
    float *variants = malloc((size_t)n * SIZE * sizeof *variants);
    assert_non_null(variants);
    for (int i = 0; i < n * SIZE; i++) { variants[i] = pseudo_random(11, (uint32_t)i); }
    spade_backend table = *counted;
    table.capture_begin = NULL;
    device->backend = &table;
    spade_trace *direct = find_trace_of(f, variants, n);
    while (spade_lru_evict(f->context)) {}
    table = *counted;
    table.capture_end = count_end;
    table.graph_launch = count_replay;
    memset(&counts, 0, sizeof counts);
    spade_trace *recorded = find_trace_of(f, variants, n);
    device->backend = counted;
    assert_int_equal(counts.recorded, counted->capture_begin ? 1 : 0);
    assert_int_equal(counts.replayed, counted->capture_begin ? 2 : 0);
    const int layers[] = {layer, fc};
    const size_t sizes[] = {CHANNELS * CHANNELS, CLASSES * CHANNELS};
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(spade_trace_weights(direct, layers[i]), spade_trace_weights(recorded, layers[i]),
                            sizes[i] * sizeof(float));
    }
    free(variants);
    spade_trace_destroy(direct);
    spade_trace_destroy(recorded);
    close_fixture(f);
}

/* ---- no memory */

static int allocations_left;

static spade_status failing_alloc(spade_device *device, size_t bytes, const char *what, void **out)
{
    if (allocations_left-- > 0) { return counted->alloc(device, bytes, what, out); }
    *out = NULL;
    return spade_fail(device->context, SPADE_ERROR_MEMORY, "no memory for %s", what);
}

/* The device has no memory for the n-th piece, whatever the budget: what two traces in one call then leave is whole. */
static void test_a_device_that_is_too_small(void **state)
{
    (void)state;
    const answer expected = fresh_answer(0, 3);
    int failures = 0;
    for (int n = 0;; n++) {
        fixture *f = open_fixture(0);
        spade_device *device = f->context->device;
        counted = device->backend;
        spade_backend table = *counted;
        table.alloc = failing_alloc;
        spade_batch *batches[2];
        spade_trace *traces[2];
        spade_trace_options options;
        spade_trace_options_init(&options);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(spade_batch_from_array(f->context, f->variants[i], VARIANTS, 3, SIDE, SIDE, &batches[i]),
                             SPADE_OK);
        }
        allocations_left = n;
        device->backend = &table;
        spade_status status =
            spade_trace_create_many(f->context, f->model, (const spade_batch *const *)batches, 2, &options, 1, traces);
        device->backend = counted;
        assert_true(f->context->evictable <= f->context->used);
        assert_true(status == SPADE_OK || status == SPADE_ERROR_MEMORY);
        failures += status != SPADE_OK;
        const bool enough = allocations_left > 0;
        for (int i = 0; i < 2; i++) {
            spade_trace_destroy(traces[i]);
            spade_batch_destroy(batches[i]);
        }
        spade_trace *trace = find_trace(f, 0);
        answer got = ask(f, trace, 3);
        assert_memory_equal(&got, &expected, sizeof got);
        spade_trace_destroy(trace);
        close_fixture(f);
        if (enough) { break; }
    }
    assert_true(failures > 5);
}

/* As a device with so much memory: what is evictable makes room. */
static uint64_t device_memory;

static spade_status bounded_alloc(spade_device *device, size_t bytes, const char *what, void **out)
{
    *out = NULL;
    while (device->context->used + bytes > device_memory) {
        if (!spade_lru_evict(device->context)) {
            return spade_fail(device->context, SPADE_ERROR_MEMORY, "no memory for %s", what);
        }
    }
    return counted->alloc(device, bytes, what, out);
}

/* Two samples on a device that holds one at a time, or a little less and less: they are found one by one. */
static void test_a_device_for_one_sample(void **state)
{
    (void)state;
    const answer expected[] = {fresh_answer(0, 3), fresh_answer(1, 3)};
    fixture *f = open_fixture(0);
    spade_trace_destroy(find_trace(f, 0));
    const uint64_t enough = f->context->peak;
    close_fixture(f);
    int found = 0;
    for (int percent = 150; percent >= 60; percent -= 10) {
        f = open_fixture(0);
        spade_device *device = f->context->device;
        counted = device->backend;
        spade_backend table = *counted;
        table.alloc = bounded_alloc;
        device_memory = enough * (uint64_t)percent / 100;
        spade_batch *batches[2];
        spade_trace *traces[2];
        spade_trace_options options;
        spade_trace_options_init(&options);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(spade_batch_from_array(f->context, f->variants[i], VARIANTS, 3, SIDE, SIDE, &batches[i]),
                             SPADE_OK);
        }
        device->backend = &table;
        spade_status status =
            spade_trace_create_many(f->context, f->model, (const spade_batch *const *)batches, 2, &options, 1, traces);
        device->backend = counted;
        assert_true(status == SPADE_OK || status == SPADE_ERROR_MEMORY);
        if (percent >= 110) { assert_int_equal(status, SPADE_OK); }
        for (int i = 0; i < 2; i++) {
            if (status == SPADE_OK) {
                answer got = ask(f, traces[i], 3);
                assert_memory_equal(&got, &expected[i], sizeof got);
                found++;
            }
            spade_trace_destroy(traces[i]);
            spade_batch_destroy(batches[i]);
        }
        close_fixture(f);
    }
    assert_true(found >= 10);
}

/* A full device evicts what it can, and goes on: the failure on the way is no later call's. */
static void test_a_device_that_is_full(void **state)
{
    (void)state;
    fixture *f = open_fixture(0);
    spade_device *device = f->context->device;
    void *small, *large;
    spade_executor *executor; /* more than what the backend takes without counting it */
    assert_int_equal(acquire(f, 2000, &executor), SPADE_OK);
    spade_executor_release(executor);
    const uint64_t before = f->context->evictable, all = f->context->used;
    assert_true(before > 4 << 20);
    if (device->backend->host_memory || !test_is_emulated()) {
        print_message("skipped: the device cannot be filled\n");
        close_fixture(f);
        return;
    }
    char memory[32];
    snprintf(memory, sizeof memory, "%llu", (unsigned long long)(all + (1 << 20)));
    assert_int_equal(device->backend->alloc(device, 4096, "a test", &small), SPADE_OK);
    assert_int_equal(setenv("SPADE_STANDIN_MEMORY", memory, 1), 0);
    assert_int_equal(device->backend->alloc(device, (1 << 20) + before / 2, "a test", &large), SPADE_OK);
    unsetenv("SPADE_STANDIN_MEMORY");
    assert_true(f->context->evictable < before);
    if (device->backend->axpby(device, 8, 1, small, 0, (float *)small + 16) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    device->backend->free(device, small, 4096);
    device->backend->free(device, large, (1 << 20) + before / 2);
    close_fixture(f);
}

static void test_a_trace_of_another_context(void **state)
{
    (void)state;
    fixture *f = open_fixture(0);
    spade_context *other = open_context(0);
    float logits[CLASSES];
    spade_trace *trace = find_trace(f, 0);
    assert_int_equal(spade_model_forward(other, f->model, trace, f->variants[0], 1, logits), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(other), "another context"));
    spade_trace_destroy(trace);
    spade_context_destroy(other);
    close_fixture(f);
}

/* ---- the list of evictable items */

typedef struct thing {
    spade_lru_item item;
    spade_context *context;
    int *log, *count, name;
} thing;

static void evict(spade_lru_item *item)
{
    thing *t = (thing *)item;
    t->log[(*t->count)++] = t->name;
    spade_release(t->context, t->item.bytes);
}

static void test_the_oldest_is_evicted_first(void **state)
{
    (void)state;
    spade_context *context = open_context(100);
    int log[8], count = 0;
    thing things[4];
    for (int i = 0; i < 4; i++) {
        things[i] = (thing){{.bytes = 20, .evict = evict}, context, log, &count, i};
        assert_int_equal(spade_charge(context, 20, "a test"), SPADE_OK);
    }
    for (int i = 0; i < 4; i++) { spade_lru_insert(context, &things[i].item); }
    assert_int_equal(spade_budget_left(context), 100);
    spade_lru_remove(context, &things[1].item);
    assert_int_equal(spade_budget_left(context), 80);
    assert_int_equal(spade_charge(context, 81, "too much"), SPADE_ERROR_MEMORY);
    assert_int_equal(count, 0); /* for nothing, nothing is given up */
    assert_int_equal(spade_charge(context, 20, "room that is there"), SPADE_OK);
    assert_int_equal(count, 0);
    assert_int_equal(spade_charge(context, 30, "room of two"), SPADE_OK);
    assert_int_equal(count, 2);
    assert_int_equal(log[0], 0);
    assert_int_equal(log[1], 2);
    context->max_evictable = 20;
    spade_lru_insert(context, &things[1].item);
    assert_int_equal(count, 3);
    assert_int_equal(log[2], 3); /* the older one makes room */
    things[0].item.bytes = 21;
    assert_int_equal(spade_charge(context, 21, "a large thing"), SPADE_OK);
    spade_lru_insert(context, &things[0].item);
    assert_int_equal(log[3], 0); /* too large: itself, and nothing else */
    assert_int_equal(context->evictable, 20);
    assert_true(spade_lru_evict(context));
    assert_int_equal(log[4], 1);
    assert_int_equal(context->used, 50 + context->device->own_bytes);
    spade_release(context, 50);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_do_not_depend_on_the_past),
        cmocka_unit_test(test_changed_weights_are_seen),
        cmocka_unit_test(test_weights_of_a_trace_move),
        cmocka_unit_test(test_weights_that_are_lost),
        cmocka_unit_test(test_the_same_executor_comes_back),
        cmocka_unit_test(test_another_context),
        cmocka_unit_test(test_the_budget_comes_first),
        cmocka_unit_test(test_repeated_work_is_recorded),
        cmocka_unit_test(test_methods_keep_their_recordings),
        cmocka_unit_test(test_refused_recordings),
        cmocka_unit_test(test_micro_batches_are_recorded),
        cmocka_unit_test(test_a_device_that_is_too_small),
        cmocka_unit_test(test_a_device_for_one_sample),
        cmocka_unit_test(test_a_device_that_is_full),
        cmocka_unit_test(test_a_trace_of_another_context),
        cmocka_unit_test(test_the_oldest_is_evicted_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
