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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference), cmocka_unit_test(test_singly)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
