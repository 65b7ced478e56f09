/*
 * test_ops_devices.c - every operation on every backend present, against the reference, on random shapes; independence of the
 * number of threads, bit by bit; adjoint identities. SPADE_TEST_CASES=N runs N cases an operation.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/cases.h"
#include "support/devices.h"

/* Not every description that is drawn is one that the device can compute. */
static bool can_plan(spade_context *context, const spade_op_desc *desc)
{
    const spade_backend *backend = context->device->backend;
    spade_op *op;
    const spade_status status = backend->plan(context->device, desc, &op);
    assert_true(status == SPADE_OK || status == SPADE_ERROR_UNSUPPORTED || status == SPADE_ERROR_ARGUMENT);
    backend->destroy(op);
    return status == SPADE_OK;
}

static const char *const devices[] = {"cpu", "cuda"};
enum { DEVICE_COUNT = sizeof devices / sizeof *devices };

typedef struct tally {
    int cases, failed, unsupported;
    double worst; /* error as a share of what is allowed */
    double error;
} tally;

static void compare(const case_kind *kind, int64_t n, const double *expected, const float *got, tally *t)
{
    bool ok = true;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(expected[i]) ? isnan(got[i]) : isinf(expected[i]) && got[i] == expected[i]) { continue; }
        double error = fabs(got[i] - expected[i]), allowed = kind->tolerance + fabs(expected[i]) * kind->epsilon;
        if (!(error <= allowed)) { ok = false; }
        if (error > t->error) { t->error = error; }
        double share = allowed > 0 ? error / allowed : error > 0;
        if (share > t->worst) { t->worst = share; }
    }
    t->failed += !ok;
}

static void print_case(const char *what, int index, const spade_op_desc *d)
{
    printf("%s: case %d: a [%ld %ld %ld %ld]:%d rank %d y [%ld %ld %ld %ld]:%d rank %d kernel %ldx%ld stride %ldx%ld "
           "dilation "
           "%ldx%ld pad %ld %ld %ld %ld groups %ld max %d count %d\n",
           what, index, (long)d->a.dims[0], (long)d->a.dims[1], (long)d->a.dims[2], (long)d->a.dims[3], d->a.layout,
           d->a.rank, (long)d->y.dims[0], (long)d->y.dims[1], (long)d->y.dims[2], (long)d->y.dims[3], d->y.layout,
           d->y.rank, (long)d->window.kernel[0], (long)d->window.kernel[1], (long)d->window.stride[0],
           (long)d->window.stride[1], (long)d->window.dilation[0], (long)d->window.dilation[1], (long)d->window.pad[0],
           (long)d->window.pad[1], (long)d->window.pad[2], (long)d->window.pad[3], (long)d->groups, d->pool_max,
           d->count_padding);
}

static void run_one(spade_context *context, const case_kind *kind, int index, tally *t)
{
    random_stream random = {.key = (uint32_t)(kind->kind * 100003 + index)};
    spade_op_desc desc = kind->draw(&random, kind->kind);
    case_data data;
    case_data_draw(&random, &desc, &data);
    int64_t n = reference_size(&desc);
    double *expected = malloc((size_t)n * sizeof *expected);
    float *got = malloc((size_t)n * sizeof *got);
    assert_non_null(expected);
    assert_non_null(got);
    reference_args args = case_reference(&data);
    reference_run(&desc, &args, expected);
    int failed = t->failed;
    spade_status status = case_run(context->device, &desc, &data, got);
    if (status == SPADE_ERROR_UNSUPPORTED) {
        t->unsupported++;
        printf("%s\n", spade_message(context));
    } else {
        if (status != SPADE_OK) { printf("%s\n", spade_message(context)); }
        assert_int_equal(status, SPADE_OK);
        compare(kind, n, expected, got, t);
    }
    t->cases++;
    if (t->failed > failed) { print_case(kind->name, index, &desc); }
    free(expected);
    free(got);
    case_data_clear(&data);
}

static void test_against_reference(void **state)
{
    (void)state;
    int failed = 0, refused = 0; /* cases; operations of which more than a few cases are not there */
    for (int i = 0; i < DEVICE_COUNT; i++) {
        spade_context *context = open_device(devices[i], 2, 0);
        if (!context) { continue; }
        printf("%-6s %-22s %6s %12s %12s %8s  %s\n", "device", "operation", "cases", "unsupported", "worst error",
               "allowed", "");
        for (int k = 0; k < case_kind_count; k++) {
            tally t = {0};
            for (int index = 0; index < case_count(60); index++) { run_one(context, &case_kinds[k], index, &t); }
            printf("%-6s %-22s %6d %12d %12.2e %7.0f%%  %s\n", devices[i], case_kinds[k].name, t.cases, t.unsupported,
                   t.error, 100 * t.worst, t.failed ? "FAILED" : "ok");
            failed += t.failed;
            refused += t.unsupported * 20 > t.cases;
        }
        assert_int_equal(context->used, context->device->own_bytes);
        spade_context_destroy(context);
    }
    assert_int_equal(failed, 0);
    assert_int_equal(refused, 0);
}

/* ---- the number of threads */

static void same_bits(const spade_op_desc *desc, random_stream *random, spade_context *const *contexts, int count,
                      const char *what)
{
    case_data data;
    case_data_draw(random, desc, &data);
    size_t bytes = (size_t)reference_size(desc) * sizeof(float);
    float *first = malloc(bytes), *other = malloc(bytes);
    assert_non_null(first);
    assert_non_null(other);
    for (int i = 0; i < count; i++) {
        assert_int_equal(case_run(contexts[i]->device, desc, &data, i ? other : first), SPADE_OK);
        if (i && memcmp(first, other, bytes) != 0) {
            print_case(what, contexts[i]->threads, desc);
            fail_msg("%s: the result with %d threads differs from that with 1", what, contexts[i]->threads);
        }
    }
    free(first);
    free(other);
    case_data_clear(&data);
}

static const int thread_counts[] = {1, 2, 3, 8, 5, 16, 32};
enum { THREAD_CASES = sizeof thread_counts / sizeof *thread_counts, FEW_THREAD_CASES = 4 };

/* Layers of real networks: channels, size, outputs, kernel, stride, padding, groups. */
static const int64_t real_layers[][7] = {
    {3, 224, 64, 7, 2, 3, 1},    {3, 224, 64, 11, 4, 2, 1},  {3, 64, 96, 4, 4, 0, 1},     {64, 56, 64, 3, 1, 1, 1},
    {64, 56, 128, 1, 2, 0, 1},   {128, 28, 128, 3, 1, 1, 1}, {256, 14, 256, 3, 1, 1, 1},  {512, 7, 512, 3, 1, 1, 1},
    {256, 28, 1024, 1, 1, 0, 1}, {32, 56, 32, 3, 1, 1, 32},  {128, 28, 128, 3, 1, 1, 32}, {72, 28, 72, 5, 2, 2, 72},
    {20, 28, 30, 3, 1, 1, 5},
};

static spade_op_desc real_convolution(const int64_t layer[7], spade_op_kind kind)
{
    int64_t out = (layer[1] + 2 * layer[5] - layer[3]) / layer[4] + 1;
    return (spade_op_desc){
        .kind = kind,
        .a = {4, {2, layer[0], layer[1], layer[1]}, SPADE_CHANNELS_LAST},
        .y = {4, {2, layer[2], out, out}, SPADE_CHANNELS_LAST},
        .window = {{layer[3], layer[3]}, {layer[4], layer[4]}, {1, 1}, {layer[5], layer[5], layer[5], layer[5]}},
        .groups = layer[6]};
}

static void open_contexts(int count, spade_context **contexts)
{
    for (int i = 0; i < count; i++) {
        contexts[i] = open_device("cpu", thread_counts[i], 0);
        assert_non_null(contexts[i]);
    }
}

static void test_threads(void **state)
{
    (void)state;
    spade_context *contexts[FEW_THREAD_CASES];
    open_contexts(FEW_THREAD_CASES, contexts);
    for (int k = 0; k < case_kind_count; k++) {
        for (int index = 0; index < case_count(60) / 2; index++) {
            random_stream random = {.key = (uint32_t)(7000003 + k * 1009 + index)};
            spade_op_desc desc = case_kinds[k].draw(&random, case_kinds[k].kind);
            if (!can_plan(contexts[0], &desc)) { continue; }
            same_bits(&desc, &random, contexts, FEW_THREAD_CASES, case_kinds[k].name);
        }
    }
    random_stream random = {.key = 99};
    for (size_t i = 0; i < sizeof real_layers / sizeof *real_layers; i++) {
        spade_op_desc forward = real_convolution(real_layers[i], SPADE_OP_CONVOLUTION);
        spade_op_desc backward = real_convolution(real_layers[i], SPADE_OP_CONVOLUTION_BACKWARD);
        same_bits(&forward, &random, contexts, FEW_THREAD_CASES, "convolution of a real layer");
        same_bits(&backward, &random, contexts, FEW_THREAD_CASES, "backward of a real layer");
    }
    spade_op_desc linear = {.kind = SPADE_OP_LINEAR, .a = {2, {8, 2048}, 0}, .y = {2, {8, 1000}, 0}};
    same_bits(&linear, &random, contexts, FEW_THREAD_CASES, "linear of a real layer");
    for (int i = 0; i < FEW_THREAD_CASES; i++) { spade_context_destroy(contexts[i]); }
}

/* A convolution of so many channels that oneDNN takes them in blocks, at most LARGE multiplications. */
static spade_op_desc draw_large_convolution(random_stream *r)
{
    enum { LARGE = 30000000 };
    spade_op_desc d;
    int64_t work;
    do {
        const int64_t inputs = random_int(r, 1, 600), outputs = random_int(r, 1, 400), n = random_int(r, 1, 3);
        spade_window w = {.dilation = {1, 1}};
        int64_t in[2], out[2];
        for (int i = 0; i < 2; i++) {
            w.kernel[i] = i && random_bool(r) ? w.kernel[0] : random_int(r, 1, 7);
            w.stride[i] = i && random_bool(r) ? w.stride[0] : random_int(r, 1, 2);
            w.pad[i] = w.pad[2 + i] = random_int(r, 0, w.kernel[i] / 2);
            in[i] = random_int(r, w.kernel[i], 14) - w.pad[i];
            if (in[i] < 1) { in[i] = 1, w.pad[i] = w.pad[2 + i] = w.kernel[i] / 2; }
            out[i] = (in[i] + 2 * w.pad[i] - w.kernel[i]) / w.stride[i] + 1;
        }
        d = (spade_op_desc){.kind = SPADE_OP_CONVOLUTION,
                            .a = {4, {n, inputs, in[0], in[1]}, SPADE_CHANNELS_LAST},
                            .y = {4, {n, outputs, out[0], out[1]}, SPADE_CHANNELS_LAST},
                            .window = w,
                            .groups = 1};
        work = n * inputs * outputs * out[0] * out[1] * w.kernel[0] * w.kernel[1];
    } while (work > LARGE);
    return d;
}

/* The first image's result is the same where it is the only one. */
static void same_alone(const spade_op_desc *desc, random_stream *random, spade_context *context, const char *what)
{
    spade_op_desc single = *desc;
    single.a.dims[0] = single.y.dims[0] = 1;
    case_data data;
    case_data_draw(random, desc, &data);
    const size_t bytes = (size_t)reference_size(&single) * sizeof(float);
    float *among = make((size_t)reference_size(desc) * sizeof(float)), *alone = make(bytes);
    ok(context, case_run(context->device, desc, &data, among));
    ok(context, case_run(context->device, &single, &data, alone));
    if (memcmp(among, alone, bytes) != 0) {
        print_case(what, context->threads, desc);
        fail_msg("%s: the result with %d threads depends on the number of images", what, context->threads);
    }
    free(among), free(alone);
    case_data_clear(&data);
}

/* Many channels: oneDNN's blocks of them, and with them the order of sums, are another choice for another number of threads or
 * images. */
static void test_threads_of_large_convolutions(void **state)
{
    (void)state;
    spade_context *contexts[THREAD_CASES];
    random_stream random = {.key = 4711};
    open_contexts(THREAD_CASES, contexts);
    for (int index = 0; index < case_count(40); index++) {
        spade_op_desc forward = draw_large_convolution(&random), backward = forward;
        backward.kind = SPADE_OP_CONVOLUTION_BACKWARD;
        same_bits(&forward, &random, contexts, THREAD_CASES, "large convolution");
        same_bits(&backward, &random, contexts, THREAD_CASES, "backward of a large convolution");
        same_alone(&forward, &random, contexts[index % THREAD_CASES], "large convolution");
        same_alone(&backward, &random, contexts[index % THREAD_CASES], "backward of a large convolution");
    }
    for (int i = 0; i < THREAD_CASES; i++) { spade_context_destroy(contexts[i]); }
}

/* ---- adjoints: <dy, forward(x)> == <backward(dy), x> for linear operations */

static double dot(const float *a, const float *b, int64_t n, double *size)
{
    double sum = 0;
    *size = 0;
    for (int64_t i = 0; i < n; i++) { sum += (double)a[i] * b[i], *size += fabs((double)a[i] * b[i]); }
    return sum;
}

static void check_adjoint(spade_context *context, const spade_op_desc *forward, random_stream *random, const char *what)
{
    spade_op_desc backward = *forward;
    backward.kind = (spade_op_kind)(forward->kind + 1); /* every backward kind follows its forward kind */
    case_data data;
    case_data_draw(random, &backward, &data);
    free(data.bias);
    data.bias = NULL;
    int64_t of_x = spade_shape_size(&forward->a), of_y = spade_shape_size(&forward->y);
    float *y = malloc((size_t)of_y * sizeof *y), *dx = malloc((size_t)of_x * sizeof *dx);
    assert_non_null(y);
    assert_non_null(dx);
    assert_int_equal(case_run(context->device, forward, &data, y), SPADE_OK);
    assert_int_equal(case_run(context->device, &backward, &data, dx), SPADE_OK);
    double size_y, size_x, over_y = dot(data.dy, y, of_y, &size_y), over_x = dot(dx, data.a, of_x, &size_x);
    if (fabs(over_y - over_x) > 1e-6 * (size_x + size_y) + 1e-6) {
        fail_msg("%s: <dy, f(x)> = %.9g, <f'(dy), x> = %.9g", what, over_y, over_x);
    }
    free(y);
    free(dx);
    case_data_clear(&data);
}

static void test_adjoint(void **state)
{
    (void)state;
    static const spade_op_kind linear_kinds[] = {SPADE_OP_CONVOLUTION, SPADE_OP_LINEAR, SPADE_OP_POOL};
    for (int i = 0; i < DEVICE_COUNT; i++) {
        spade_context *context = open_device(devices[i], 2, 0);
        if (!context) { continue; }
        for (size_t k = 0; k < sizeof linear_kinds / sizeof *linear_kinds; k++) {
            for (int index = 0; index < case_count(60) / 2; index++) {
                random_stream random = {.key = (uint32_t)(9000011 + (int)k * 4001 + index)};
                const case_kind *kind = &case_kinds[0];
                while (kind->kind != linear_kinds[k]) { kind++; }
                spade_op_desc desc = kind->draw(&random, linear_kinds[k]);
                desc.relu = false;
                desc.pool_max = desc.pool_max && index % 2; /* max pooling is linear at the point where it was saved */
                if (!can_plan(context, &desc)) { continue; }
                check_adjoint(context, &desc, &random, kind->name);
            }
        }
        spade_context_destroy(context);
    }
}

/* ---- x and a partner: <dx, x - x'> == <dy, y - y'>, however far apart they are */

static const struct {
    spade_op_kind kind, forward;
} pairs[] = {{SPADE_OP_SOFTMAX_RESCALE, SPADE_OP_SOFTMAX},
             {SPADE_OP_LAYER_NORM_RESCALE, SPADE_OP_LAYER_NORM},
             {SPADE_OP_POOL_RESCALE, SPADE_OP_POOL}};

/* Numbers so large that their exponentials are not; some are masked for both, as attention is. */
static void draw_far_apart(const spade_op_desc *desc, case_data *data)
{
    for (int64_t i = 0; i < spade_shape_size(&desc->a); i++) {
        const bool masked = desc->kind == SPADE_OP_SOFTMAX_RESCALE && i % 5 == 3;
        data->a[i] = masked ? -INFINITY : 500 * data->a[i];
        if (masked) { data->b[i] = -INFINITY; }
    }
}

static double difference(spade_context *context, const spade_op_desc *forward, const case_data *data, double *size)
{
    const int64_t n = spade_shape_size(&forward->y);
    float *y = make((size_t)n * sizeof *y), *other = make((size_t)n * sizeof *other);
    const case_data own = {.a = data->a, .operands = {data->operands[0], data->operands[1]}};
    const case_data partner = {.a = data->b, .operands = {data->operands[0], data->operands[1]}};
    ok(context, case_run(context->device, forward, &own, y));
    ok(context, case_run(context->device, forward, &partner, other));
    for (int64_t i = 0; i < n; i++) { y[i] -= other[i]; }
    const double sum = dot(data->dy, y, n, size);
    free(y), free(other);
    return sum;
}

static void check_complete(spade_context *context, const spade_op_desc *desc, spade_op_kind forward_kind,
                           random_stream *random, bool far_apart, const char *what)
{
    spade_op_desc forward = *desc;
    forward.kind = forward_kind;
    forward.b = (spade_shape){0};
    case_data data;
    case_data_draw(random, desc, &data);
    const int64_t n = spade_shape_size(&desc->a);
    float *dx = make((size_t)n * sizeof *dx), *shift = calloc((size_t)n, sizeof *shift);
    assert_non_null(shift);
    if (desc->kind == SPADE_OP_LAYER_NORM_RESCALE) { data.operands[1] = shift; }
    if (far_apart) { draw_far_apart(desc, &data); }
    double size_y, size_x, over_y = difference(context, &forward, &data, &size_y);
    ok(context, case_run(context->device, desc, &data, dx));
    for (int64_t i = 0; i < n; i++) { shift[i] = data.a[i] == data.b[i] ? 0 : data.a[i] - data.b[i]; }
    const double over_x = dot(dx, shift, n, &size_x);
    if (!(fabs(over_y - over_x) <= 2e-6 * (size_x + size_y) + 1e-6)) {
        fail_msg("%s%s: <dy, y - y'> = %.9g, <dx, x - x'> = %.9g", what, far_apart ? ", far apart" : "", over_y,
                 over_x);
    }
    data.operands[1] = NULL;
    case_data_clear(&data);
    free(dx), free(shift);
}

static void test_complete(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICE_COUNT; i++) {
        spade_context *context = open_device(devices[i], 2, 0);
        if (!context) { continue; }
        for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
            for (int index = 0; index < case_count(60) / 2; index++) {
                random_stream random = {.key = (uint32_t)(11000027 + (int)k * 4001 + index)};
                const case_kind *kind = &case_kinds[0];
                while (kind->kind != pairs[k].kind) { kind++; }
                spade_op_desc desc = kind->draw(&random, pairs[k].kind);
                desc.last_window = false; /* Captum's are not complete */
                if (!can_plan(context, &desc)) { continue; }
                check_complete(context, &desc, pairs[k].forward, &random, index % 2, kind->name);
            }
        }
        spade_context_destroy(context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_threads_of_large_convolutions),
        cmocka_unit_test(test_adjoint),
        cmocka_unit_test(test_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
