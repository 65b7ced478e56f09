/*
 * test_capture_devices.c - recordings: what was recorded and is replayed gives the bits of what runs directly, on the
 * memory's contents at the time of the graph_launch; what cannot be recorded, or fails meanwhile, is a failure after which
 * the device goes on. On devices whose backend has recordings; the others are skipped, and it is said so.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/cases.h"
#include "support/devices.h"

/* NULL where there is no device that records. */
static spade_context *open_recorder(void)
{
    spade_context *context = open_device("cuda", 2, 0);
    if (!context || context->device->backend->capture_begin) { return context; }
    printf("skipped: the device's backend has no recordings\n");
    spade_context_destroy(context);
    return NULL;
}

/* ---- a step of a chain: one operation with its memory */

enum {
    A,
    B,
    BIAS,
    Y,
    DY,
    WEIGHTS,
    SCALE,
    OPERANDS,
    INPUTS = OPERANDS + SPADE_POINTWISE_STEPS,
    OUT = INPUTS,
    SAVED,
    WORKSPACE,
    PACKED,
    MAP, /* AXIS_MAP: offsets, indices, weights, fill */
    BUFFERS = MAP + 4,
    MAX_STEPS = 6
};

typedef struct step {
    spade_op_desc desc;
    spade_op *op;
    void *memory[BUFFERS];
    size_t bytes[BUFFERS];
} step;

typedef struct chain {
    spade_context *context;
    step steps[MAX_STEPS];
    int count;
} chain;

static void take(spade_context *context, step *l, int which, size_t bytes)
{
    if (!bytes) { return; }
    l->bytes[which] = bytes;
    ok(context, context->device->backend->alloc(context->device, bytes, "a test", &l->memory[which]));
}

static void fill(spade_context *context, const step *l, int which, float (*draw)(random_stream *),
                 random_stream *random)
{
    size_t n = l->bytes[which] / sizeof(float);
    float *values = malloc(l->bytes[which] + 1);
    assert_non_null(values);
    for (size_t i = 0; i < n; i++) { values[i] = draw(random); }
    ok(context, context->device->backend->upload(context->device, l->memory[which], values, n * sizeof *values));
    free(values);
}

/* A map's own numbers, 4 bytes each, are the same for all runs. NULL: there are none. */
static void take_numbers(spade_context *context, step *l, int which, int64_t count, const void *numbers)
{
    if (!numbers) { return; }
    take(context, l, which, (size_t)count * 4);
    ok(context, context->device->backend->upload(context->device, l->memory[which], numbers, (size_t)count * 4));
}

static void take_map(spade_context *context, step *l, const spade_sparse_rows *map)
{
    const int64_t rows = l->desc.y.dims[l->desc.axis],
                  entries = map->offsets ? map->offsets[rows] + 1 : 0; /* never none */
    take_numbers(context, l, MAP, rows + 1, map->offsets);
    take_numbers(context, l, MAP + 1, entries, map->indices);
    take_numbers(context, l, MAP + 2, entries, map->weights);
    take_numbers(context, l, MAP + 3, rows, map->fill);
}

static float draw_nan(random_stream *random)
{
    (void)random;
    return NAN;
}

static void fill_inputs(const chain *c, uint32_t key)
{
    random_stream random = {.key = key};
    for (int i = 0; i < c->count; i++) {
        for (int which = 0; which < INPUTS; which++) {
            if (c->steps[i].memory[which]) { fill(c->context, &c->steps[i], which, random_float, &random); }
        }
        fill(c->context, &c->steps[i], OUT, draw_nan, &random);
    }
}

/* false: the device cannot plan it. */
static bool open_step(spade_context *context, random_stream *random, step *l)
{
    const spade_backend *backend = context->device->backend;
    const case_kind *kind = &case_kinds[random_int(random, 0, case_kind_count - 1)];
    case_data data;
    *l = (step){.desc = kind->draw(random, kind->kind)};
    const spade_op_desc *d = &l->desc;
    if (backend->plan(context->device, d, &l->op) != SPADE_OK) { return false; }
    case_data_draw(random, d, &data);
    int64_t columns, rows = case_weight_rows(d, &columns);
    size_t number = sizeof(float), vector = (size_t)rows * number;
    take(context, l, A, (size_t)spade_shape_size(&d->a) * number);
    if (data.b) { take(context, l, B, (size_t)spade_shape_size(&d->b) * number); }
    for (int s = 0; s < d->step_count; s++) {
        if (data.operands[s]) {
            take(context, l, OPERANDS + s, (size_t)spade_shape_size(&d->steps[s].operand) * number);
        }
    }
    if (data.bias) { take(context, l, BIAS, vector); }
    if (data.dy) { take(context, l, Y, (size_t)spade_shape_size(&d->y) * number); }
    if (data.dy) { take(context, l, DY, (size_t)spade_shape_size(&d->y) * number); }
    take(context, l, WEIGHTS, (size_t)(rows * columns) * number);
    if (data.row_scale) { take(context, l, SCALE, vector); }
    take(context, l, OUT, (size_t)reference_size(d) * number);
    take(context, l, SAVED, backend->saved_bytes(l->op));
    take(context, l, WORKSPACE, backend->workspace_bytes(l->op));
    take(context, l, PACKED, backend->packed_bytes(l->op));
    take_map(context, l, &data.rows);
    if (l->memory[SAVED]) { ok(context, backend->zero(context->device, l->memory[SAVED], l->bytes[SAVED])); }
    case_data_clear(&data);
    return true;
}

static void open_chain(spade_context *context, random_stream *random, chain *out)
{
    *out = (chain){.context = context};
    int wanted = (int)random_int(random, 2, MAX_STEPS);
    for (int tries = 0; out->count < wanted && tries < 50; tries++) {
        out->count += open_step(context, random, &out->steps[out->count]);
    }
    assert_int_equal(out->count, wanted);
}

static void close_chain(chain *c)
{
    const spade_backend *backend = c->context->device->backend;
    for (int i = 0; i < c->count; i++) {
        for (int which = 0; which < BUFFERS; which++) {
            backend->free(c->context->device, c->steps[i].memory[which], c->steps[i].bytes[which]);
        }
        backend->destroy(c->steps[i].op);
    }
}

/* Each operation with its weights packed; its result then goes into the next one's input. */
static spade_status run_chain(const chain *c)
{
    spade_device *device = c->context->device;
    const spade_backend *backend = device->backend;
    for (int i = 0; i < c->count; i++) {
        const step *l = &c->steps[i];
        void *const *m = l->memory;
        spade_op_args args = {.a = m[A],
                              .b = m[B],
                              .bias = m[BIAS],
                              .packed = m[PACKED],
                              .y = m[Y],
                              .dy = m[DY],
                              .saved = m[SAVED],
                              .workspace = m[WORKSPACE],
                              .out = m[OUT],
                              .rows = {m[MAP], m[MAP + 1], m[MAP + 2], m[MAP + 3]}};
        for (int s = 0; s < SPADE_POINTWISE_STEPS; s++) { args.operands[s] = m[OPERANDS + s]; }
        if (m[WEIGHTS]) { SPADE_TRY(backend->pack(l->op, m[WEIGHTS], m[SCALE], m[PACKED])); }
        SPADE_TRY(backend->run(l->op, &args));
        if (i + 1 == c->count) { continue; }
        const step *next = &c->steps[i + 1];
        size_t bytes = l->bytes[OUT] < next->bytes[A] ? l->bytes[OUT] : next->bytes[A];
        SPADE_TRY(backend->copy(device, next->memory[A], m[OUT], bytes / 2 / sizeof(float) * sizeof(float)));
        SPADE_TRY(backend->axpby(device, (int64_t)(bytes / sizeof(float)), 0.25f, m[OUT], 0.5f, next->memory[A]));
        SPADE_TRY(backend->zero(device, next->memory[A], sizeof(float)));
    }
    return SPADE_OK;
}

/* All results, one after the other; owned by the caller. */
static char *results_of(const chain *c, size_t *bytes)
{
    *bytes = 0;
    for (int i = 0; i < c->count; i++) { *bytes += c->steps[i].bytes[OUT]; }
    char *all = malloc(*bytes), *at = all;
    assert_non_null(all);
    for (int i = 0; i < c->count; i++) {
        const step *l = &c->steps[i];
        ok(c->context, c->context->device->backend->download(c->context->device, at, l->memory[OUT], l->bytes[OUT]));
        at += l->bytes[OUT];
    }
    return all;
}

static spade_captured_graph *record_chain(const chain *c)
{
    const spade_backend *backend = c->context->device->backend;
    spade_captured_graph *captured = NULL;
    ok(c->context, backend->capture_begin(c->context->device));
    ok(c->context, run_chain(c));
    ok(c->context, backend->capture_end(c->context->device, &captured));
    assert_non_null(captured);
    return captured;
}

static void check_chain(spade_context *context, int index)
{
    const spade_backend *backend = context->device->backend;
    random_stream random = {.key = (uint32_t)(7000 + index)};
    chain c;
    size_t bytes;
    open_chain(context, &random, &c);
    fill_inputs(&c, 1);
    ok(context, run_chain(&c)); /* once as it is, as recordings want it */
    fill_inputs(&c, 1);
    spade_captured_graph *captured = record_chain(&c);
    char *untouched = results_of(&c, &bytes);
    for (size_t i = 0; i < bytes / sizeof(float); i++) { assert_true(isnan(((float *)untouched)[i])); }
    char *before = untouched;
    for (uint32_t round = 0; round < 2; round++) {
        fill_inputs(&c, 2 + round);
        ok(context, backend->graph_launch(context->device, captured));
        char *replayed = results_of(&c, &bytes);
        fill_inputs(&c, 2 + round);
        ok(context, run_chain(&c));
        char *direct = results_of(&c, &bytes);
        if (memcmp(replayed, direct, bytes) != 0) { fail_msg("chain %d, round %u: other bits", index, round); }
        assert_true(memcmp(replayed, before, bytes) != 0); /* the inputs are those of the graph_launch */
        free(before);
        before = replayed;
        free(direct);
    }
    free(before);
    backend->graph_destroy(context->device, captured);
    close_chain(&c);
}

static void test_chains(void **state)
{
    enum { CHAINS = 40 };
    (void)state;
    spade_context *context = open_recorder();
    if (!context) { return; }
    for (int i = 0; i < CHAINS; i++) { check_chain(context, i); }
    context->device->backend->graph_destroy(context->device, NULL);
    assert_int_equal(context->used, context->device->own_bytes);
    spade_context_destroy(context);
}

/* ---- Hessians: every form */

enum { IMAGES = 3, SIDE = 6, CHANNELS = 8 };

static spade_hessian_desc patches_of(spade_hessian_form form, spade_precision precision)
{
    bool depthwise = form == SPADE_HESSIAN_DEPTHWISE || form == SPADE_HESSIAN_OFFSET_PAIRS,
         one = form == SPADE_HESSIAN_RANK_K;
    int64_t kernel = one ? 1 : 3, pad = one ? 0 : 1;
    return (spade_hessian_desc){.form = form,
                                .precision = precision,
                                .x = {4, {IMAGES, CHANNELS, SIDE, SIDE}, SPADE_CHANNELS_LAST},
                                .window = {{kernel, kernel}, {1, 1}, {1, 1}, {pad, pad, pad, pad}},
                                .groups = depthwise ? CHANNELS : 1,
                                .out_height = SIDE,
                                .out_width = SIDE};
}

static void check_form(spade_context *context, const spade_hessian_desc *p)
{
    spade_device *device = context->device;
    const spade_backend *backend = device->backend;
    step l = {0};
    spade_captured_graph *captured;
    take(context, &l, A, (size_t)spade_shape_size(&p->x) * sizeof(float));
    take(context, &l, OUT, backend->hessian->bytes(device, p));
    take(context, &l, WORKSPACE, backend->hessian->workspace_bytes(device, p));
    char *replayed = malloc(l.bytes[OUT]), *direct = malloc(l.bytes[OUT]);
    assert_true(replayed && direct);
    fill(context, &l, A, random_float, &(random_stream){.key = 30});
    ok(context, backend->zero(device, l.memory[OUT], l.bytes[OUT]));
    ok(context, backend->hessian->update(device, p, l.memory[A], 0.7, l.memory[OUT], l.memory[WORKSPACE]));
    ok(context, backend->capture_begin(device));
    ok(context, backend->hessian->update(device, p, l.memory[A], 0.7, l.memory[OUT], l.memory[WORKSPACE]));
    ok(context, backend->capture_end(device, &captured));
    for (int recorded = 0; recorded < 2; recorded++) {
        random_stream random = {.key = 31};
        ok(context, backend->zero(device, l.memory[OUT], l.bytes[OUT]));
        for (int batch = 0; batch < 2; batch++) { /* added to what there is */
            fill(context, &l, A, random_float, &random);
            ok(context,
               recorded ? backend->graph_launch(device, captured)
                        : backend->hessian->update(device, p, l.memory[A], 0.7, l.memory[OUT], l.memory[WORKSPACE]));
        }
        ok(context, backend->download(device, recorded ? replayed : direct, l.memory[OUT], l.bytes[OUT]));
    }
    assert_memory_equal(replayed, direct, l.bytes[OUT]);
    double sum = 0;
    for (size_t i = 0; i < l.bytes[OUT] / sizeof sum; i++) { sum += fabs(((double *)direct)[i]); }
    assert_true(sum > 0);
    backend->graph_destroy(device, captured);
    for (int which = 0; which < BUFFERS; which++) { backend->free(device, l.memory[which], l.bytes[which]); }
    free(replayed);
    free(direct);
}

static void test_hessians(void **state)
{
    (void)state;
    spade_context *context = open_recorder();
    int forms = 0;
    if (!context) { return; }
    for (int form = 0; form < SPADE_HESSIAN_FORM_COUNT; form++) {
        for (int precision = 0; precision < 2; precision++) {
            spade_hessian_desc p = patches_of((spade_hessian_form)form, precision ? SPADE_FP64 : SPADE_FP32);
            if (context->device->backend->hessian->cost(context->device, &p) < 0) { continue; }
            check_form(context, &p);
            forms++;
        }
    }
    assert_true(forms >= 10); /* five forms, twice */
    spade_context_destroy(context);
}

/* ---- failures */

/* What a test does while a chain is recorded; what it does is a failure. */
typedef spade_status (*misuse_fn)(spade_device *device, void *memory);

static spade_status misuse_upload(spade_device *device, void *memory)
{
    const float value = 1;
    return device->backend->upload(device, memory, &value, sizeof value);
}
static spade_status misuse_download(spade_device *device, void *memory)
{
    float value;
    return device->backend->download(device, &value, memory, sizeof value);
}
static spade_status misuse_wait(spade_device *device, void *memory)
{
    (void)memory;
    return device->backend->synchronize(device);
}
static spade_status misuse_alloc(spade_device *device, void *memory)
{
    void *more;
    spade_status status = device->backend->alloc(device, 64, "a test", &more);
    (void)memory;
    assert_null(more);
    return status;
}
static spade_status misuse_nesting(spade_device *device, void *memory)
{
    (void)memory;
    return device->backend->capture_begin(device);
}
static spade_status misuse_numbers(spade_device *device, void *memory)
{
    spade_quadratic_args args = {.rows = 1, .k = 1, .h = memory, .d = memory, .scratch = memory};
    return device->backend->solver->quadratic_form(device, &args, 1);
}

static spade_status misuse_inverse(spade_device *device, void *memory)
{
    spade_factor_args args = {.k = 1, .hessian = memory, .workspace = memory};
    return device->backend->solver->inverse(device, &args, 1);
}

static const struct {
    const char *says;
    misuse_fn misuse;
} misuses[] = {{"an upload", misuse_upload},    {"a download", misuse_download},
               {"a wait", misuse_wait},         {"an allocation", misuse_alloc},
               {"another one", misuse_nesting}, {"a solver's first run", misuse_numbers},
               {"an inverse", misuse_inverse}};

/* The first failure is what the end gives; then the chain can be recorded after all. */
static void test_misuse(void **state)
{
    (void)state;
    spade_context *context = open_recorder();
    if (!context) { return; }
    const spade_backend *backend = context->device->backend;
    random_stream random = {.key = 99};
    spade_captured_graph *captured;
    chain c;
    size_t bytes;
    open_chain(context, &random, &c);
    fill_inputs(&c, 1);
    ok(context, run_chain(&c));
    assert_int_equal(backend->capture_end(context->device, &captured), SPADE_ERROR_ARGUMENT);
    for (size_t i = 0; i < sizeof misuses / sizeof *misuses; i++) {
        ok(context, backend->capture_begin(context->device));
        (void)run_chain(&c);
        assert_int_equal(misuses[i].misuse(context->device, c.steps[0].memory[OUT]), SPADE_ERROR_ARGUMENT);
        (void)run_chain(&c);
        assert_int_equal(backend->capture_end(context->device, &captured), SPADE_ERROR_ARGUMENT);
        assert_null(captured);
        if (!strstr(spade_message(context), misuses[i].says)) { fail_msg("%s", spade_message(context)); }
    }
    ok(context, run_chain(&c)); /* the device goes on after the last of them */
    spade_captured_graph *recorded = record_chain(&c);
    ok(context, backend->graph_launch(context->device, recorded));
    free(results_of(&c, &bytes));
    backend->graph_destroy(context->device, recorded);
    close_chain(&c);
    assert_int_equal(context->used, context->device->own_bytes);
    spade_context_destroy(context);
}

/* Memory may be freed while a chain is recorded: it is no part of the graph, and free when the recording has ended. */
static void test_memory_freed_meanwhile(void **state)
{
    enum { BLOCKS = 100, BYTES = 4096 };
    (void)state;
    spade_context *context = open_recorder();
    if (!context) { return; }
    const spade_backend *backend = context->device->backend;
    random_stream random = {.key = 99};
    spade_captured_graph *captured;
    void *blocks[BLOCKS];
    chain c;
    size_t bytes;
    open_chain(context, &random, &c);
    fill_inputs(&c, 1);
    ok(context, run_chain(&c));
    for (int i = 0; i < BLOCKS; i++) { ok(context, backend->alloc(context->device, BYTES, "a test", &blocks[i])); }
    uint64_t used = context->used;
    ok(context, backend->capture_begin(context->device));
    for (int i = 0; i < BLOCKS / 2; i++) { backend->free(context->device, blocks[i], BYTES); }
    ok(context, run_chain(&c));
    for (int i = BLOCKS / 2; i < BLOCKS; i++) { backend->free(context->device, blocks[i], BYTES); }
    ok(context, backend->capture_end(context->device, &captured));
    assert_int_equal(context->used, used - BLOCKS * BYTES);
    ok(context, backend->graph_launch(context->device, captured));
    ok(context, backend->graph_launch(context->device, captured));
    free(results_of(&c, &bytes));
    backend->graph_destroy(context->device, captured);
    close_chain(&c);
    assert_int_equal(context->used, context->device->own_bytes);
    spade_context_destroy(context);
}

/* One linear layer is recorded, and replayed, with the stand-ins failing once; the device then does both. */
static spade_status record_linear(spade_context *context, spade_op *op, const spade_op_args *args)
{
    spade_device *device = context->device;
    const spade_backend *backend = device->backend;
    spade_captured_graph *captured = NULL;
    spade_status status = backend->capture_begin(device);
    if (status != SPADE_OK) { return status; }
    spade_status inside = backend->run(op, args);
    status = backend->capture_end(device, &captured);
    assert_true((status == SPADE_OK) == (captured != NULL));
    assert_true(inside == SPADE_OK || status == inside);
    if (status == SPADE_OK) { status = backend->graph_launch(device, captured); }
    backend->graph_destroy(device, captured);
    return status;
}

static void fail_in_child(const char *fail, spade_status expected, const char *says)
{
    const spade_op_desc desc = {.kind = SPADE_OP_LINEAR, .a = {2, {3, 4}, 0}, .y = {2, {3, 5}, 0}};
    spade_context *context = open_recorder();
    const spade_backend *backend = context->device->backend;
    step l = {0};
    ok(context, backend->plan(context->device, &desc, &l.op));
    take(context, &l, A, 12 * sizeof(float));
    take(context, &l, OUT, 15 * sizeof(float));
    take(context, &l, PACKED, backend->packed_bytes(l.op));
    for (int which = 0; which < BUFFERS; which++) {
        if (l.memory[which]) { ok(context, backend->zero(context->device, l.memory[which], l.bytes[which])); }
    }
    const spade_op_args args = {.a = l.memory[A], .packed = l.memory[PACKED], .out = l.memory[OUT]};
    ok(context, backend->run(l.op, &args));
    assert_int_equal(setenv("SPADE_STANDIN_FAIL", fail, 1), 0);
    assert_int_equal(record_linear(context, l.op, &args), expected);
    if (!strstr(spade_message(context), says)) { fail_msg("%s: %s", fail, spade_message(context)); }
    ok(context, backend->axpby(context->device, 12, 1, l.memory[A], 0, l.memory[OUT])); /* a kernel: nothing is left */
    ok(context, record_linear(context, l.op, &args));
    ok(context, backend->synchronize(context->device));
    for (int which = 0; which < BUFFERS; which++) { backend->free(context->device, l.memory[which], l.bytes[which]); }
    backend->destroy(l.op);
    spade_context_destroy(context);
}

static void test_failures(void **state)
{
    static const struct {
        const char *fail;
        spade_status status;
        const char *says;
    } failures[] = {{"cudaStreamBeginCapture", SPADE_ERROR_INTERNAL, "cudaStreamBeginCapture"},
                    {"cublasSgemm:2", SPADE_ERROR_DEVICE, "cublasSgemm"},
                    {"capture", SPADE_ERROR_DEVICE, "cublasSgemm"},
                    {"cudaStreamEndCapture", SPADE_ERROR_INTERNAL, "cudaStreamEndCapture"},
                    {"cudaGraphInstantiateWithFlags", SPADE_ERROR_MEMORY, "cudaGraphInstantiateWithFlags"},
                    {"cudaGraphUpload", SPADE_ERROR_MEMORY, "cudaGraphUpload"},
                    {"cudaGraphLaunch", SPADE_ERROR_MEMORY, "cudaGraphLaunch"}};
    const char *library = getenv("SPADE_CUDA_LIBRARY");
    (void)state;
    if (!library || !strstr(library, "emulated")) {
        printf("skipped: SPADE_CUDA_LIBRARY does not name the emulated backend\n");
        return;
    }
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        fflush(NULL);
        pid_t child = fork(); /* the stand-ins count calls of a process */
        assert_true(child >= 0);
        if (child == 0) {
            fail_in_child(failures[i].fail, failures[i].status, failures[i].says);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) { fail_msg("%s", failures[i].fail); }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* first: its calls are counted from the beginning */
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_hessians),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_memory_freed_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
