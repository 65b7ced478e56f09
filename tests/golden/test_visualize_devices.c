/*
 * test_visualize_devices.c - feature visualisation of whole networks: classes, channels and neurons get many times the value that
 * noise has; the picture is the same for any number of threads and any memory, and another one for another seed and on a trace.
 */
#include <math.h>

#include "attribution/class_activation.h"
#include "spade/spade.h"
#include "support/context.h"
#include "support/devices.h"
#include "support/random.h"
#include "visualize/objective.h"

#define MODEL(name) SPADE_TEST_DATA "/models/" name ".onnx"
enum { CHANNELS = 3, SIDE = 40, SIZE = CHANNELS * SIDE * SIDE };

typedef struct made {
    float picture[SIZE];
    spade_visualize_note note;
} made;

static int64_t steps_here(void)
{
    return test_is_emulated() ? 3 : 40;
}

static made make_picture(spade_context *context, const spade_model *model, const spade_trace *trace,
                         const spade_objective *objective, uint64_t seed)
{
    static made out;
    spade_visualize_options options;
    int64_t shape[3];
    spade_visualize_options_init(&options);
    options.height = options.width = SIDE;
    options.steps = steps_here();
    options.seed = seed;
    ok(context, spade_visualize_shape(context, model, objective, &options, shape));
    assert_true(shape[0] == CHANNELS && shape[1] == SIDE && shape[2] == SIDE);
    ok(context, spade_visualize(context, model, trace, objective, &options, out.picture, &out.note));
    for (int i = 0; i < SIZE; i++) { assert_true(out.picture[i] >= 0 && out.picture[i] <= 1); }
    return out;
}

/* Of noise the value may be anything near 0: what is gained is held against the network's own range of values. */
static void check_network(const char *path, const spade_objective *objectives, int count, double gain)
{
    spade_context *context = test_context(test_device(), 0);
    spade_model *model;
    ok(context, spade_model_load(context, path, NULL, &model));
    for (int i = 0; i < count; i++) {
        const made m = make_picture(context, model, NULL, &objectives[i], 0);
        print_message("%s, %s:%lld: %.3f, then %.3f\n", strrchr(path, '/') + 1,
                      objectives[i].layer ? objectives[i].layer : "class", (long long)objectives[i].index,
                      m.note.before, m.note.after);
        if (test_is_emulated()) { continue; } /* as many steps take minutes there */
        assert_true(m.note.after > m.note.before + gain * (1 + fabs(m.note.before)));
    }
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static void test_resnet(void **state)
{
    (void)state;
    static const spade_objective objectives[] = {
        {NULL, 1, false}, {"layer2.1", 5, false}, {"layer4.0.conv2", 3, false}, {"layer4.0.conv2", 3, true}};
    check_network(MODEL("scene_resnet"), objectives, test_is_emulated() ? 2 : 4, 1.5);
}

static void test_mobilenet(void **state)
{
    (void)state;
    static const spade_objective objectives[] = {{NULL, 3, false}, {NULL, 7, false}};
    check_network(MODEL("scene_mobilenet"), objectives, test_is_emulated() ? 1 : 2, 1.5);
}

static void test_vit(void **state)
{
    (void)state;
    static const spade_objective objectives[] = {{NULL, 1, false}, {"encoder.layers.encoder_layer_0", 3, false}};
    check_network(MODEL("scene_vit"), objectives, test_is_emulated() ? 1 : 2, 0.2);
}

static void test_same_bits(void **state)
{
    (void)state;
    const spade_objective objective = {"layer3.0", 30, false};
    made first = {0};
    for (int i = 0; i < 3; i++) {
        spade_context_options options;
        spade_context *context;
        spade_model *model;
        spade_context_options_init(&options);
        options.device = test_device();
        options.threads = i == 1 ? 1 : 3;
        options.memory = i == 2 ? (uint64_t)64 << 20 : 0;
        assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
        ok(context, spade_model_load(context, MODEL("scene_resnet"), NULL, &model));
        const made m = make_picture(context, model, NULL, &objective, 4);
        if (i == 0) { first = m; }
        assert_memory_equal(first.picture, m.picture, sizeof m.picture);
        assert_true(first.note.after == m.note.after);
        if (i == 0) {
            const made other = make_picture(context, model, NULL, &objective, 5);
            assert_memory_not_equal(first.picture, other.picture, sizeof m.picture);
        }
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

/* A trace without anything in it is the network itself; one with random weights is another network. */
static void test_trace(void **state)
{
    (void)state;
    const spade_objective objective = {NULL, 2, false};
    spade_context *context = test_context(test_device(), 0);
    spade_model *model;
    spade_trace *trace;
    ok(context, spade_model_load(context, MODEL("scene_resnet"), NULL, &model));
    const made dense = make_picture(context, model, NULL, &objective, 0);
    ok(context, spade_trace_create_empty(context, model, &trace));
    const made same = make_picture(context, model, trace, &objective, 0);
    if (!test_is_emulated()) { assert_true(fabs(dense.note.before - same.note.before) < 1e-4); }
    ok(context, spade_trace_randomise(context, trace, spade_model_find_layer(model, "layer4.0.conv3"), 3));
    const made other = make_picture(context, model, trace, &objective, 0);
    assert_true(fabs(dense.note.before - other.note.before) > 1e-4);
    assert_memory_not_equal(dense.picture, other.picture, sizeof other.picture);
    const made again = make_picture(context, model, NULL, &objective, 0);
    assert_memory_equal(dense.picture, again.picture, sizeof again.picture);
    spade_visualize_options options;
    spade_model *stranger;
    spade_visualize_options_init(&options);
    ok(context, spade_model_load(context, MODEL("scene_mobilenet"), NULL, &stranger));
    assert_int_equal(spade_visualize(context, stranger, trace, &objective, &options, NULL, NULL), SPADE_ERROR_ARGUMENT);
    spade_error_clear(context);
    spade_model_destroy(stranger);
    spade_trace_destroy(trace);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

/* ---- what counts of a value: against the feature maps that methods make of it */

static void check_weights(spade_context *context, const spade_model *model, const char *layer, bool central)
{
    const attribution_job job = {.context = context, .model = model};
    const spade_layer_option option = {.name = (char *)(uintptr_t)layer};
    attribution_features features;
    visualize_objective objective;
    random_stream random = {.key = 12};
    ok(context, attribution_feature_maps(&job, &option, false, &features));
    const spade_shape shape = spade_value_shape(&model->network.values[features.value], 1);
    const int64_t size = spade_shape_size(&shape), pixels = features.height * features.width,
                  channel = features.channels / 2;
    float *value = make(sizeof *value * (size_t)size), *weights = make(sizeof *value * (size_t)size);
    float *maps = make(sizeof *value * (size_t)(features.channels * pixels));
    double sum = 0, wanted = 0;
    for (int64_t i = 0; i < size; i++) { value[i] = random_float(&random); }
    attribution_take_features(&features, value, &shape, maps);
    ok(context, visualize_objective_find(context, model, &(spade_objective){layer, channel, central}, &objective));
    assert_int_equal(objective.value, features.value);
    visualize_objective_weights(&objective, weights);
    for (int64_t i = 0; i < size; i++) { sum += (double)weights[i] * (double)value[i]; }
    const float *map = maps + channel * pixels;
    for (int64_t i = 0; i < pixels; i++) { wanted += (double)map[i] / (double)pixels; }
    if (central) { wanted = (double)map[features.height / 2 * features.width + features.width / 2]; }
    assert_true(fabs(sum - wanted) < 1e-6);
    free(value);
    free(weights);
    free(maps);
}

static void test_weights(void **state)
{
    (void)state;
    static const char *const places[][2] = {{MODEL("scene_resnet"), "layer2.1"},
                                            {MODEL("scene_vit"), "encoder.layers.encoder_layer_0"},
                                            {MODEL("scene_vit"), "conv_proj"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        spade_context *context = test_context(test_device(), 0);
        spade_model *model;
        ok(context, spade_model_load(context, places[i][0], NULL, &model));
        check_weights(context, model, places[i][1], false);
        check_weights(context, model, places[i][1], true);
        spade_model_destroy(model);
        spade_context_destroy(context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_resnet), cmocka_unit_test(test_mobilenet),
                                       cmocka_unit_test(test_vit),    cmocka_unit_test(test_same_bits),
                                       cmocka_unit_test(test_trace),  cmocka_unit_test(test_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
