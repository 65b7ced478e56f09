/* test_metric_devices.c - metrics of the golden saliency maps: against the patch masks, as scikit-learn and NumPy compute them, and
 * against the network, whose insertion and deletion curves are PyTorch's. */
#include <jansson.h>

#include "golden.h"

static double measure(spade_context *context, const char *text, const spade_metric_inputs *inputs)
{
    spade_metric *metric;
    double value = -1;
    golden_ok(context, spade_metric_create(context, text, &metric));
    golden_ok(context, spade_measure(context, metric, inputs, &value));
    spade_metric_destroy(metric);
    return value;
}

/* The golden curve of a picture, and its area, as one map's and as all four maps' at once. */
static void check_curve(spade_context *context, const char *name, const spade_metric_inputs *inputs, int picture,
                        const json_t *should)
{
    char path[512];
    spade_metric *metric;
    spade_array golden = {0};
    double value;
    snprintf(path, sizeof path, SPADE_TEST_DATA "/arrays/resnet/%s_curve%d.npy", name, picture);
    golden_ok(context, spade_array_load(context, path, 0, &golden));
    golden_ok(context, spade_metric_create(context, name, &metric));
    const int64_t length = spade_metric_curve_length(metric, inputs->height, inputs->width);
    assert_int_equal(length, golden.dims[0]);
    double *curve = malloc(sizeof *curve * (size_t)length);
    golden_ok(context, spade_measure_curve(context, metric, inputs, curve));
    for (int64_t i = 0; i < length; i++) {
        if (fabs(curve[i] - (double)golden.data[i]) > 1e-4) {
            fail_msg("%s of picture %d, step %d: %g, should be %g", name, picture, (int)i, curve[i],
                     (double)golden.data[i]);
        }
    }
    golden_ok(context, spade_measure(context, metric, inputs, &value));
    assert_true(fabs(value - json_number_value(json_object_get(should, name))) < 1e-4);
    free(curve);
    spade_metric_destroy(metric);
    spade_array_clear(&golden);
}

static void test_metrics(void **state)
{
    (void)state;
    spade_context *context = golden_context(1, 0);
    spade_array maps = {0}, pictures = {0};
    spade_model *model;
    json_error_t error;
    golden_ok(context, spade_model_load(context, SPADE_TEST_DATA "/models/scene_resnet.onnx", NULL, &model));
    golden_ok(context, spade_array_load(context, SPADE_TEST_DATA "/arrays/inputs.npy", 0, &pictures));
    json_t *scenes = json_load_file(SPADE_TEST_DATA "/scenes.json", 0, &error);
    assert_non_null(scenes);
    json_t *metrics = json_load_file(SPADE_TEST_DATA "/metrics.json", 0, &error);
    assert_non_null(metrics);
    assert_int_equal(json_array_size(metrics), 4);
    golden_ok(context, spade_array_load(context, SPADE_TEST_DATA "/arrays/resnet/saliency.npy", 0, &maps));
    int64_t height = maps.dims[2], width = maps.dims[3], pixels = height * width;
    float *reduced = malloc(sizeof *reduced * (size_t)pixels);
    uint8_t *mask = malloc((size_t)pixels);
    assert_true(reduced && mask);
    spade_preprocess preprocess;
    spade_preprocess_init(&preprocess, height, width);
    preprocess.resize = 0;
    for (int k = 0; k < 4; k++) {
        char path[512];
        spade_picture picture = {0};
        spade_metric_inputs inputs;
        snprintf(path, sizeof path, "%s/images/scene%02d_patch.png", SPADE_TEST_DATA, k);
        golden_ok(context, spade_picture_load(context, path, &picture));
        golden_ok(context, spade_preprocess_mask(context, &preprocess, &picture, mask));
        spade_map_reduce(maps.data + k * 3 * pixels, 3, height, width, SPADE_REDUCE_ABS_MAX, reduced);
        spade_metric_inputs_init(&inputs);
        inputs.scores = reduced;
        inputs.mask = mask;
        inputs.height = height;
        inputs.width = width;
        const json_t *should = json_array_get(metrics, (size_t)k);
        double auc = json_number_value(json_object_get(should, "roc_auc"));
        assert_true(fabs(measure(context, "roc_auc", &inputs) - auc) < 1e-6);
        assert_true(measure(context, "pointing", &inputs) == json_is_true(json_object_get(should, "pointing")));
        spade_picture_clear(&picture);
        const spade_target target = {.class_index = json_integer_value(json_object_get(
                                         json_array_get(json_object_get(scenes, "scenes"), (size_t)k), "label"))};
        inputs.model = model;
        inputs.input = pictures.data + k * 3 * pixels;
        inputs.target = &target;
        check_curve(context, "insertion", &inputs, k, should);
        check_curve(context, "deletion", &inputs, k, should);
    }
    json_decref(scenes);
    spade_model_destroy(model);
    spade_array_clear(&pictures);
    free(reduced);
    free(mask);
    json_decref(metrics);
    spade_array_clear(&maps);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_metrics)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
