/* What the stages took (spade_usage), and the geometry of layers that operations are counted from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "spade/spade.h"

enum { VARIANTS = 3 };

static spade_context *open_context(void)
{
    spade_context *context = NULL;
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    return context;
}

static spade_model *open_model(spade_context *context)
{
    spade_model *model = NULL;
    assert_int_equal(spade_model_load(context, SPADE_TEST_DATA "/models/scene_resnet.onnx", NULL, &model), SPADE_OK);
    return model;
}

static void test_seconds_add_up_and_memory_is_the_most(void **state)
{
    (void)state;
    spade_context *context = open_context();
    spade_stage_usage usage[SPADE_STAGE_COUNT];
    void *large, *small;
    uint64_t before = context->used;
    assert_int_equal(spade_alloc(context, 1000, "large", &large), SPADE_OK);
    spade_free_bytes(context, large, 1000);
    assert_int_equal(spade_alloc(context, 300, "small", &small), SPADE_OK);
    spade_stage_done(context, SPADE_STAGE_HESSIAN, 2.0);
    spade_stage_done(context, SPADE_STAGE_HESSIAN, 0.5);
    spade_stage_done(context, SPADE_STAGE_FACTOR, 4.0);
    spade_usage(context, usage);
    assert_true(usage[SPADE_STAGE_HESSIAN].seconds == 2.5);
    assert_int_equal(usage[SPADE_STAGE_HESSIAN].memory, before + 1000);
    assert_true(usage[SPADE_STAGE_FACTOR].seconds == 4.0);
    assert_int_equal(usage[SPADE_STAGE_FACTOR].memory, before + 300); /* the large one was gone before it began */
    assert_true(usage[SPADE_STAGE_SWEEP].seconds == 0 && usage[SPADE_STAGE_SWEEP].memory == 0);
    spade_usage_reset(context);
    spade_usage(context, usage);
    for (int s = 0; s < SPADE_STAGE_COUNT; s++) { assert_true(usage[s].seconds == 0 && usage[s].memory == 0); }
    spade_free_bytes(context, small, 300);
    spade_context_destroy(context);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(spade_stage_name(SPADE_STAGE_AUGMENT), "augment");
    assert_string_equal(spade_stage_name(SPADE_STAGE_SWEEP), "sweep");
    assert_string_equal(spade_stage_name(SPADE_STAGE_COUNT), "unknown stage");
}

static void test_a_trace_fills_every_stage(void **state)
{
    (void)state;
    spade_context *context = open_context();
    spade_model *model = open_model(context);
    spade_batch *batch = NULL;
    spade_trace *trace = NULL;
    spade_trace_options options;
    spade_stage_usage usage[SPADE_STAGE_COUNT];
    int64_t c, h, w;
    spade_model_input(model, &c, &h, &w);
    float *variants = malloc((size_t)(VARIANTS * c * h * w) * sizeof *variants);
    assert_non_null(variants);
    for (int64_t i = 0; i < VARIANTS * c * h * w; i++) { variants[i] = (float)(i * 7919 % 1009) / 1009.0f; }
    assert_int_equal(spade_batch_from_array(context, variants, VARIANTS, c, h, w, &batch), SPADE_OK);
    spade_trace_options_init(&options);
    double start = spade_now(), sum = 0;
    assert_int_equal(spade_trace_create(context, model, batch, &options, &trace), SPADE_OK);
    double seconds = spade_now() - start;
    spade_usage(context, usage);
    for (int s = 0; s < SPADE_STAGE_COUNT; s++) {
        assert_true(usage[s].seconds > 0);
        assert_true(usage[s].memory > 0 && usage[s].memory <= context->peak);
        sum += usage[s].seconds;
    }
    assert_true(sum <= seconds);
    /* the Hessians of all layers are held while they are updated */
    assert_true(usage[SPADE_STAGE_HESSIAN].memory >
                spade_hessian_bytes(model, spade_model_find_layer(model, "layer1.0.conv2"), SPADE_FP32));
    spade_trace_destroy(trace);
    spade_batch_destroy(batch);
    free(variants);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

/* ---- a device that only notes what it has to do, and does it when it is waited for: here, by sleeping */

static const spade_backend *lazy_base;
static double lazy_debt, lazy_work; /* seconds: not done yet, ever given */

static spade_status lazy_update(spade_device *device, const spade_hessian_desc *patches, const float *x, double alpha,
                                void *accumulator, void *workspace)
{
    const double each = 0.02;
    lazy_debt += each;
    lazy_work += each;
    return lazy_base->hessian->update(device, patches, x, alpha, accumulator, workspace);
}

static spade_status lazy_synchronize(spade_device *device)
{
    const struct timespec pause = {.tv_nsec = (long)(lazy_debt * 1e9) % 1000000000, .tv_sec = (time_t)lazy_debt};
    lazy_debt = 0;
    nanosleep(&pause, NULL);
    return lazy_base->synchronize(device);
}

/* Seconds of the Hessian stage on the lazy device. */
static double hessian_seconds(bool profile)
{
    spade_context *context = NULL;
    spade_context_options options;
    spade_trace_options trace_options;
    spade_stage_usage usage[SPADE_STAGE_COUNT];
    spade_batch *batch = NULL;
    spade_trace *trace = NULL;
    int64_t c, h, w;
    spade_context_options_init(&options);
    options.device = "cpu";
    options.profile = profile;
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    spade_model *model = open_model(context);
    spade_model_input(model, &c, &h, &w);
    float *variants = calloc((size_t)(VARIANTS * c * h * w), sizeof *variants);
    assert_non_null(variants);
    for (int64_t i = 0; i < VARIANTS * c * h * w; i++) { variants[i] = (float)(i * 7919 % 1009) / 1009.0f; }
    lazy_base = context->device->backend;
    lazy_debt = lazy_work = 0;
    spade_backend lazy = *lazy_base;
    spade_backend_hessian lazy_hessian = *lazy_base->hessian;
    lazy_hessian.update = lazy_update;
    lazy.hessian = &lazy_hessian;
    lazy.synchronize = lazy_synchronize;
    context->device->backend = &lazy;
    assert_int_equal(spade_batch_from_array(context, variants, VARIANTS, c, h, w, &batch), SPADE_OK);
    spade_trace_options_init(&trace_options);
    assert_int_equal(spade_trace_create(context, model, batch, &trace_options, &trace), SPADE_OK);
    spade_usage(context, usage);
    assert_true(lazy_debt == 0 && lazy_work > 0.2);
    spade_trace_destroy(trace);
    spade_batch_destroy(batch);
    spade_model_destroy(model);
    context->device->backend = lazy_base;
    spade_context_destroy(context);
    free(variants);
    return usage[SPADE_STAGE_HESSIAN].seconds;
}

static void test_profile_waits_for_each_stage(void **state)
{
    (void)state;
    double plain = hessian_seconds(false), profiled = hessian_seconds(true);
    if (!(profiled >= lazy_work && plain < lazy_work)) {
        fail_msg("Hessians: %g s of work on the device, %g s profiled, %g s without", lazy_work, profiled, plain);
    }
}

static void test_geometry(void **state)
{
    (void)state;
    spade_context *context = open_context();
    spade_model *model = open_model(context);
    spade_layer_info info;
    for (int l = 0; l < spade_model_layer_count(model); l++) {
        spade_model_layer(model, l, &info);
        assert_int_equal(info.weight[1] * info.groups, info.input[0]);
        for (int i = 0; i < 2 && info.convolution; i++) {
            int64_t reach = info.dilation[i] * (info.weight[2 + i] - 1) + 1;
            int64_t room = info.input[1 + i] + info.pad[i] + info.pad[2 + i] - reach;
            assert_int_equal(info.output[1 + i], room / info.stride[i] + 1);
        }
    }
    spade_model_layer(model, spade_model_find_layer(model, "layer2.0.conv1"), &info);
    assert_int_equal(info.stride[0], 2);
    assert_int_equal(info.pad[0], 1);
    assert_int_equal(info.input[0], info.columns / 9);
    assert_int_equal(info.input[1], 2 * info.output[1]);
    spade_model_layer(model, spade_model_find_layer(model, "fc"), &info);
    assert_int_equal(info.input[0], info.columns);
    assert_int_equal(info.stride[1], 1);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seconds_add_up_and_memory_is_the_most),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_a_trace_fills_every_stage),
        cmocka_unit_test(test_profile_waits_for_each_stage),
        cmocka_unit_test(test_geometry),
    };
    return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
