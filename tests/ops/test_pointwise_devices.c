/*
 * test_pointwise_devices.c - on every backend present: pointwise steps run together give the bits of the same steps
 * run singly, and may write over what they read. SPADE_TEST_CASES=N runs N cases. Every function has a reference, whose
 * derivative is that of its values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "backend/check.h"
#include "support/cases.h"
#include "support/devices.h"

static const char *const devices[] = {"cpu", "cuda"};
enum { DEVICE_COUNT = sizeof devices / sizeof *devices };

static spade_op_desc draw(random_stream *random)
{
    const case_kind *kind = case_kinds;
    while (strcmp(kind->name, "pointwise steps") != 0) { kind++; }
    return kind->draw(random, SPADE_OP_POINTWISE);
}

static float *numbers(int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    return x;
}

static void run(spade_context *context, const spade_op_desc *desc, const case_data *data, int over, float *out)
{
    spade_status status = over < 0 ? case_run(context->device, desc, data, out)
                                   : case_run_in_place(context->device, desc, data, over, out);
    if (status != SPADE_OK) { fail_msg("%s", spade_message(context)); }
}

static void run_singly(spade_context *context, const spade_op_desc *desc, const case_data *data, float *out)
{
    float *v = numbers(spade_shape_size(&desc->y));
    for (int s = 0; s < desc->step_count; s++) {
        spade_op_desc one = {.kind = SPADE_OP_POINTWISE, .a = s ? desc->y : desc->a, .y = desc->y, .step_count = 1};
        case_data of_one = {.a = s ? v : data->a, .operands = {data->operands[s]}};
        one.steps[0] = desc->steps[s];
        run(context, &one, &of_one, -1, out);
        memcpy(v, out, (size_t)spade_shape_size(&desc->y) * sizeof *v);
    }
    free(v);
}

static bool lies_alike(const spade_shape *a, const spade_shape *b)
{
    return a->rank == b->rank && a->layout == b->layout &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

static void check_steps(spade_context *context, int index, int *in_place)
{
    random_stream random = {.key = (uint32_t)(5000011 + index)};
    spade_op_desc desc = draw(&random);
    case_data data;
    case_data_draw(&random, &desc, &data);
    int64_t n = spade_shape_size(&desc.y);
    size_t bytes = (size_t)n * sizeof(float);
    float *expected = numbers(n), *got = numbers(n);
    run_singly(context, &desc, &data, expected);
    run(context, &desc, &data, -1, got);
    assert_memory_equal(got, expected, bytes);
    for (int over = 0; over <= desc.step_count; over++) {
        const spade_shape *shared = over ? &desc.steps[over - 1].operand : &desc.a;
        if ((over && desc.steps[over - 1].kind == SPADE_POINTWISE_FUNCTION) || !lies_alike(shared, &desc.y)) {
            continue;
        }
        run(context, &desc, &data, over, got);
        assert_memory_equal(got, expected, bytes);
        in_place[over > 0]++;
    }
    free(expected);
    free(got);
    case_data_clear(&data);
}

static void test_singly(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICE_COUNT; i++) {
        spade_context *context = open_device(devices[i], 2, 0);
        if (!context) { continue; }
        int in_place[2] = {0};
        for (int index = 0; index < case_count(150); index++) { check_steps(context, index, in_place); }
        printf("%s: %d cases, over x %d times, over an operand %d times\n", devices[i], case_count(150), in_place[0],
               in_place[1]);
        assert_true(in_place[0] > 0 && in_place[1] > 0);
        assert_int_equal(context->used, context->device->own_bytes);
        spade_context_destroy(context);
    }
}

/* The reference itself, whose two columns are written by hand: central differences, away from corners. */
static void test_reference(void **state)
{
    (void)state;
    const double h = 1e-5, points[] = {-6.1, -2.3, -0.7, 0.4, 1.1, 2.9, 5.3};
    for (int f = 0; f < SPADE_FUNCTION_COUNT; f++) {
        const reference_function *r = &reference_functions[f];
        if (!r->value || !r->derivative) { fail_msg("%s has no reference", spade_function_name((spade_function)f)); }
        for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
            double x = points[i], above = r->value(x + h, r->alpha, r->beta),
                   below = r->value(x - h, r->alpha, r->beta);
            double difference = (above - below) / (2 * h) - r->derivative(x, r->alpha, r->beta);
            if (fabs(difference) > 1e-8) {
                fail_msg("%s: the derivative at %g is off by %g", spade_function_name((spade_function)f), x,
                         difference);
            }
        }
    }
}

/* ---- every function, and its derivative, over the numbers that it meets, its corners among them */

enum { ARGUMENTS = 2048 };

static void draw_all_arguments(const reference_function *r, float *x)
{
    const float corners[] = {0, -0.0f, 1, -1, 3, -3, r->alpha, r->beta, 1e-6f, -1e-6f, 20, -20, 40, -40};
    random_stream random = {.key = 77};
    for (int i = 0; i < ARGUMENTS; i++) { x[i] = random_float(&random) * (i % 2 ? 12.0f : 1.5f); }
    memcpy(x, corners, sizeof corners);
}

static bool close_enough(float got, double expected)
{
    if (isnan(expected) || isinf(expected)) { return isnan(expected) ? isnan(got) : got == expected; }
    return fabs(got - expected) <= 1e-6 + 1e-6 * fabs(expected);
}

static void check_function(spade_context *context, spade_function f, spade_pointwise_kind kind, const float *x,
                           const float *dy)
{
    const reference_function *r = &reference_functions[f];
    const bool derivative = kind == SPADE_POINTWISE_DERIVATIVE;
    const spade_shape all = {.rank = 1, .dims = {ARGUMENTS}};
    const spade_op_desc desc = {
        .kind = SPADE_OP_POINTWISE,
        .a = all,
        .y = all,
        .step_count = 1,
        .steps = {{.kind = kind, .function = f, .alpha = r->alpha, .beta = r->beta, .operand = all}}};
    const case_data data = {.a = (float *)(uintptr_t)(derivative ? dy : x),
                            .operands = {derivative ? (float *)(uintptr_t)x : NULL}};
    float got[ARGUMENTS];
    run(context, &desc, &data, -1, got);
    for (int i = 0; i < ARGUMENTS; i++) {
        const double expected =
            derivative ? dy[i] * r->derivative(x[i], r->alpha, r->beta) : r->value(x[i], r->alpha, r->beta);
        if (!close_enough(got[i], expected)) {
            fail_msg("%s%s of %.9g is %.9g, not %.9g", spade_function_name(f), derivative ? ", derivative" : "", x[i],
                     got[i], expected);
        }
    }
}

static void test_every_function(void **state)
{
    (void)state;
    float x[ARGUMENTS], dy[ARGUMENTS];
    random_stream random = {.key = 78};
    for (int i = 0; i < ARGUMENTS; i++) { dy[i] = random_float(&random); }
    for (int i = 0; i < DEVICE_COUNT; i++) {
        spade_context *context = open_device(devices[i], 2, 0);
        if (!context) { continue; }
        for (int f = 0; f < SPADE_FUNCTION_COUNT; f++) {
            draw_all_arguments(&reference_functions[f], x);
            check_function(context, (spade_function)f, SPADE_POINTWISE_FUNCTION, x, dy);
            check_function(context, (spade_function)f, SPADE_POINTWISE_DERIVATIVE, x, dy);
        }
        spade_context_destroy(context);
    }
}

/* Parameters that are cases of their own: powers, and the square root of a norm. */
static void test_special_parameters(void **state)
{
    (void)state;
    static const struct {
        spade_function function;
        float alpha, x, value, derivative;
    } cases[] = {
        {SPADE_POW, 2, -3, 9, -6},       {SPADE_POW, 3, -2, -8, 12},       {SPADE_POW, 1, 0, 0, 1},
        {SPADE_POW, 1, -4, -4, 1},       {SPADE_POW, 0, 0, 1, 0},          {SPADE_POW, 2, 0, 0, 0},
        {SPADE_POW, 0.5f, 4, 2, 0.25f},  {SPADE_POW, -1, 2, 0.5f, -0.25f}, {SPADE_POW, 0.5f, 0, 0, INFINITY},
        {SPADE_SQRT, 0, 0, 0, INFINITY}, {SPADE_SQRT, 1, 0, 0, 0},         {SPADE_SQRT, 1, 4, 2, 0.25f},
    };
    const spade_shape one = {.rank = 1, .dims = {1}};
    for (int i = 0; i < DEVICE_COUNT; i++) {
        spade_context *context = open_device(devices[i], 2, 0);
        if (!context) { continue; }
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
            float x = cases[k].x, dy = 1, got;
            spade_op_desc desc = {.kind = SPADE_OP_POINTWISE, .a = one, .y = one, .step_count = 1};
            desc.steps[0] =
                (spade_pointwise_step){.function = cases[k].function, .alpha = cases[k].alpha, .operand = one};
            run(context, &desc, &(case_data){.a = &x}, -1, &got);
            assert_true(close_enough(got, cases[k].value));
            desc.steps[0].kind = SPADE_POINTWISE_DERIVATIVE;
            run(context, &desc, &(case_data){.a = &dy, .operands = {&x}}, -1, &got);
            assert_true(close_enough(got, cases[k].derivative));
        }
        spade_context_destroy(context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference), cmocka_unit_test(test_every_function),
                                       cmocka_unit_test(test_special_parameters), cmocka_unit_test(test_singly)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
