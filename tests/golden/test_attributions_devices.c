/* test_attributions_devices.c - attributions of the first four scenes for their labels, against Captum's; statistics of
 * gradients at noisy copies against those of gradients taken one by one. */
#include "golden.h"

#include "base/base.h"
#include "support/targets.h"

enum { SCENES = 4 };
static const int64_t labels[SCENES] = {1, 5, 8, 3};

/* Largest difference over largest value. */
static double relative_error(const float *is, const float *should, int64_t n)
{
    double error = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        error = fmax(error, fabs((double)is[i] - should[i]));
        largest = fmax(largest, fabs((double)should[i]));
    }
    return error / largest;
}

/* The trace whose weights are arrays/resnet/fast_50. */
static spade_trace *fast_50(spade_context *context, const spade_model *model)
{
    spade_trace *trace = NULL;
    golden_ok(context, spade_trace_create_empty(context, model, &trace));
    int overlaid = 0;
    for (int i = 0; i < spade_model_layer_count(model); i++) {
        spade_layer_info info;
        spade_array weights = {0};
        spade_model_layer(model, i, &info);
        if (!info.prunable) { continue; }
        assert_true(golden_array(context, "resnet", "fast_50", info.name, &weights));
        assert_int_equal(spade_array_size(&weights), info.rows * info.columns);
        golden_ok(context, spade_trace_set_weights(context, trace, i, weights.data));
        spade_array_clear(&weights);
        overlaid++;
    }
    assert_true(overlaid > 5);
    return trace;
}

/* arrays/FOLDER/FILE.npy: [SCENES, shape of a map], or whatever is said of each scene. */
static spade_array load(spade_context *context, const char *folder, const char *file)
{
    char path[512];
    spade_array array = {0};
    snprintf(path, sizeof path, "%s/arrays/%s/%s.npy", SPADE_TEST_DATA, folder, file);
    golden_ok(context, spade_array_load(context, path, 0, &array));
    return array;
}

/* method: its name, with options where they are not the defaults. */
static void check_method(spade_context *context, const spade_model *model, const spade_trace *trace, const char *folder,
                         const char *file, const char *method)
{
    spade_array inputs = {0}, deltas = {0}, should = load(context, folder, file);
    spade_attribution *attribution;
    int64_t shape[3];
    assert_true(golden_array(context, NULL, NULL, "inputs", &inputs));
    golden_ok(context, spade_attribution_create(context, method, &attribution));
    golden_ok(context, spade_attribution_map_shape(context, model, attribution, shape));
    const bool with_delta = (spade_attribution_method(attribution)->flags & SPADE_METHOD_COMPLETENESS) != 0;
    if (with_delta) {
        char delta_file[64];
        snprintf(delta_file, sizeof delta_file, "%s_delta", file);
        deltas = load(context, folder, delta_file);
    }
    const int64_t size = shape[0] * shape[1] * shape[2], input_size = spade_array_size(&inputs) / inputs.dims[0];
    assert_int_equal(spade_array_size(&should), size * SCENES);
    float *map = malloc(sizeof *map * (size_t)size);
    assert_non_null(map);
    const bool takes_long = test_is_emulated() && spade_attribution_passes(model, attribution) >= 50;
    for (int k = 0; k < (takes_long ? 1 : SCENES); k++) {
        spade_map_note note = {0};
        golden_ok(context, spade_attribute(context, model, trace, attribution, inputs.data + k * input_size,
                                           targets_of(&labels[k], 1), 1, map, &note));
        double error = relative_error(map, should.data + k * size, size);
        print_message("%s %s scene %d: relative error %.2e\n", folder, file, k, error);
        assert_true(error < 1e-3);
        if (with_delta) {
            assert_true(fabs(note.delta - deltas.data[k]) < 0.02);
        } else {
            assert_true(isnan(note.delta));
        }
    }
    free(map);
    spade_attribution_destroy(attribution);
    spade_array_clear(&inputs);
    spade_array_clear(&should);
    spade_array_clear(&deltas);
}

/* What Captum computed: arrays/FOLDER/FILE.npy. */
typedef struct golden_method { /* the ones for any network first */
    const char *file, *method;
} golden_method;
static const golden_method resnet_methods[] = {
    {"saliency", "saliency"},
    {"input_x_gradient", "input_x_gradient"},
    {"integrated_gradients_50", "integrated_gradients"},
    {"occlusion_w8_s4", "occlusion:window=8:stride=4"}, /* one of Captum's channels, which are the same */
    {"guided_backprop", "guided_backprop"},
    {"deconvolution", "deconvolution"},
    {"gradcam_layer4", "gradcam:layer=layer4:upsample=none"},
    {"gradcam_layer4", "gradcam:upsample=none"}, /* the same layer by default */
    {"guided_gradcam_layer4", "guided_gradcam:layer=layer4"},
    {"deeplift_captum", "deeplift:compat=captum"},
    {"lrp_alpha1beta0_zb", "lrp:composite=paper"},
};
enum {
    RESNET_METHODS = sizeof resnet_methods / sizeof *resnet_methods,
    ANY_METHODS = 4 /* of them, for any network */
};

/* The first `count` of them. */
static void check_network(const char *network, const char *folder, bool sparse, int count)
{
    spade_context *context = golden_context(0, 0);
    spade_model *model = golden_model(context, network);
    spade_trace *trace = sparse ? fast_50(context, model) : NULL;
    for (int i = 0; i < count; i++) {
        check_method(context, model, trace, folder, resnet_methods[i].file, resnet_methods[i].method);
    }
    spade_trace_destroy(trace);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static void test_resnet(void **state)
{
    (void)state;
    check_network("resnet", "resnet", false, RESNET_METHODS);
}

static void test_mobilenet(void **state)
{
    (void)state;
    check_network("mobilenet", "mobilenet", false, ANY_METHODS);
}

static void test_vit(void **state)
{
    (void)state;
    check_network("vit", "vit", false, ANY_METHODS);
}

static void test_resnet_sparse(void **state)
{
    (void)state;
    check_network("resnet", "resnet_sparse50", true, RESNET_METHODS);
}

/* ---- noisy copies */
enum { COPIES = 11 };

typedef struct statistic {
    const char *method;
    double (*of)(const double g[COPIES]);
} statistic;

static double mean_of(const double g[COPIES])
{
    double sum = 0;
    for (int i = 0; i < COPIES; i++) { sum += g[i]; }
    return sum / COPIES;
}

static double mean_square_of(const double g[COPIES])
{
    double sum = 0;
    for (int i = 0; i < COPIES; i++) { sum += g[i] * g[i]; }
    return sum / COPIES;
}

static double variance_of(const double g[COPIES])
{
    double sum = 0, mean = mean_of(g);
    for (int i = 0; i < COPIES; i++) { sum += (g[i] - mean) * (g[i] - mean); }
    return sum / COPIES;
}

static const statistic statistics[] = {
    {"smoothgrad:samples=11:sigma=0.2:seed=5", mean_of},
    {"smoothgrad_squared:samples=11:sigma=0.2:seed=5", mean_square_of},
    {"vargrad:samples=11:sigma=0.2:seed=5", variance_of},
};
enum { STATISTICS = sizeof statistics / sizeof *statistics };

/* Copy `sample` of x [size]: with noise of 0.2 of its range, under seed 5. */
static void make_copy(const float *x, int64_t size, uint32_t sample, float *copy)
{
    const uint64_t key = spade_hash(x, sizeof *x * (size_t)size, 5);
    const uint32_t keys[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    double low = x[0], high = x[0];
    for (int64_t i = 0; i < size; i++) { low = fmin(low, x[i]), high = fmax(high, x[i]); }
    for (int64_t i = 0; i < size; i += 2) {
        const uint32_t counter[4] = {sample, (uint32_t)(i / 2), 0, 0};
        double z[2];
        spade_normal(keys, counter, z);
        copy[i] = (float)(x[i] + 0.2 * (high - low) * z[0]);
        copy[i + 1] = (float)(x[i + 1] + 0.2 * (high - low) * z[1]);
    }
}

static void attribute(spade_context *context, const spade_model *model, const spade_trace *trace, const char *method,
                      const float *x, float *map)
{
    spade_attribution *attribution;
    golden_ok(context, spade_attribution_create(context, method, &attribution));
    golden_ok(context, spade_attribute(context, model, trace, attribution, x, targets_of(&labels[0], 1), 1, map, NULL));
    spade_attribution_destroy(attribution);
}

static void check_copies(spade_context *context, const spade_model *model, const spade_trace *trace)
{
    spade_array inputs = {0};
    assert_true(golden_array(context, NULL, NULL, "inputs", &inputs));
    const int64_t size = spade_array_size(&inputs) / inputs.dims[0];
    float *copy = malloc(sizeof *copy * (size_t)size), *map = malloc(sizeof *map * (size_t)size);
    float *gradients = malloc(sizeof *gradients * (size_t)size * COPIES),
          *should = malloc(sizeof *should * (size_t)size);
    assert_true(copy && map && gradients && should);
    for (uint32_t i = 0; i < COPIES; i++) {
        make_copy(inputs.data, size, i, copy);
        attribute(context, model, trace, "smoothgrad:samples=1:sigma=0", copy, gradients + i * size); /* dF/dx there */
    }
    for (int s = 0; s < STATISTICS; s++) {
        for (int64_t e = 0; e < size; e++) {
            double g[COPIES];
            for (int i = 0; i < COPIES; i++) { g[i] = gradients[i * size + e]; }
            should[e] = (float)statistics[s].of(g);
        }
        attribute(context, model, trace, statistics[s].method, inputs.data, map);
        double error = relative_error(map, should, size);
        print_message("%s: relative error %.2e\n", statistics[s].method, error);
        assert_true(error < 1e-3);
    }
    free(copy);
    free(map);
    free(gradients);
    free(should);
    spade_array_clear(&inputs);
}

/* The dense network, then its trace. */
static void test_noisy_copies(void **state)
{
    (void)state;
    spade_context *context = golden_context(0, 0);
    spade_model *model = golden_model(context, "resnet");
    spade_trace *trace = fast_50(context, model);
    check_copies(context, model, NULL);
    check_copies(context, model, trace);
    spade_trace_destroy(trace);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resnet),        cmocka_unit_test(test_mobilenet),    cmocka_unit_test(test_vit),
        cmocka_unit_test(test_resnet_sparse), cmocka_unit_test(test_noisy_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
