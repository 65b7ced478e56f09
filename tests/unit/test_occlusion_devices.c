/* test_occlusion_devices.c - F at perturbed images, and occlusion: against plain loops over squares on a network whose F can
 * be told by hand; their bits, what they refuse, what they take of a budget. Captum's maps are compared with in tests/golden.
 * Runs on every device (SPADE_TEST_DEVICE). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "attribution/perturbation_driver.h"
#include "support/context.h"
#include "support/model.h"
#include "support/targets.h"
#include "spade/spade.h"

static spade_model *load(spade_context *context, const char *path)
{
    spade_model *model;
    if (spade_model_load(context, path, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    return model;
}

static spade_status attribute(spade_context *context, const spade_model *model, const char *method, const float *x,
                              const int64_t *classes, int n, float *maps)
{
    spade_attribution *attribution;
    if (spade_attribution_create(context, method, &attribution) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    spade_status status = spade_attribute(context, model, NULL, attribution, x, targets_of(classes, n), n, maps, NULL);
    spade_attribution_destroy(attribution);
    return status;
}

/* ---- a network told by hand: x -> sigmoid -> flatten -> fc */
enum { CHANNELS = 2, HEIGHT = 9, WIDTH = 14, PIXELS = HEIGHT * WIDTH, SIZE = CHANNELS * PIXELS, CLASSES = 3 };

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    float weights[CLASSES * SIZE], x[SIZE];
} fixture;

static void fixture_open(fixture *f)
{
    static const int64_t dims[2] = {CLASSES, SIZE};
    for (int i = 0; i < CLASSES * SIZE; i++) { f->weights[i] = pseudo_random(1, (uint32_t)i); }
    for (int i = 0; i < SIZE; i++) { f->x[i] = 3 * pseudo_random(2, (uint32_t)i); }
    wire network = graph_of(CHANNELS, HEIGHT, WIDTH, CLASSES);
    put_node(&network, node_of("sigmoid", "Sigmoid", "x", "a"));
    put_node(&network, node_of("flatten", "Flatten", "a", "b"));
    put_tensor(&network, tensor_of("fc.weight", 2, dims, f->weights));
    put_node(&network, with_int(node_of("fc", "Gemm", "b fc.weight", "y"), "transB", 1));
    f->context = test_context(test_device(), 0);
    f->model = load(f->context, test_save("occlusion.onnx", model_of(network)));
}

static void fixture_close(fixture *f)
{
    spade_model_destroy(f->model);
    spade_context_destroy(f->context);
}

static double class_value(const fixture *f, const float *image, int class_index, bool softmax)
{
    double z[CLASSES] = {0}, sum = 0;
    for (int c = 0; c < CLASSES; c++) {
        for (int i = 0; i < SIZE; i++) { z[c] += f->weights[c * SIZE + i] / (1 + exp(-(double)image[i])); }
    }
    for (int c = 0; c < CLASSES; c++) { sum += exp(z[c] - z[class_index]); }
    return softmax ? 1 / sum : z[class_index];
}

/* One square after another, each replaced in all channels, until one has reached the border. */
static void plain_occlusion(const fixture *f, int window, int stride, double baseline, int class_index, bool softmax,
                            double *map)
{
    int covered[PIXELS] = {0};
    const double whole = class_value(f, f->x, class_index, softmax);
    memset(map, 0, PIXELS * sizeof *map);
    for (int top = 0, below = 1; below; top += stride) {
        below = top + window < HEIGHT;
        for (int left = 0, right = 1; right; left += stride) {
            right = left + window < WIDTH;
            float image[SIZE];
            for (int i = 0; i < SIZE; i++) {
                const int y = i % PIXELS / WIDTH, x = i % WIDTH;
                const bool inside = y >= top && y < top + window && x >= left && x < left + window;
                image[i] = inside ? (float)baseline : f->x[i];
            }
            const double lost = whole - class_value(f, image, class_index, softmax);
            for (int y = top; y < HEIGHT && y < top + window; y++) {
                for (int x = left; x < WIDTH && x < left + window; x++) {
                    map[y * WIDTH + x] += lost;
                    covered[y * WIDTH + x]++;
                }
            }
        }
    }
    for (int i = 0; i < PIXELS; i++) { map[i] /= covered[i]; }
}

static void test_plain_loops(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        int window, stride;
        double baseline;
        bool softmax;
    } cases[] = {
        {"occlusion", 1, 1, 0, false}, /* an eighth of 9, and half of that: at least a pixel */
        {"occlusion:window=5", 5, 2, 0, false},
        {"occlusion:window=3:stride=2", 3, 2, 0, true},
        {"occlusion:window=4:stride=3:baseline=1.5", 4, 3, 1.5, false},
        {"occlusion:window=4:stride=4:baseline=-0.25", 4, 4, -0.25, true},
        {"occlusion:window=9:stride=4", 9, 4, 0, false}, /* one row of squares */
        {"occlusion:window=9:stride=9", 9, 9, 0, false},
        {"occlusion:window=7:stride=1", 7, 1, 0, false},
    };
    static const int64_t classes[2] = {2, 0};
    fixture f;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[96];
        float maps[2 * PIXELS];
        snprintf(text, sizeof text, "%s:output=%s", cases[i].method, cases[i].softmax ? "softmax" : "logits");
        if (attribute(f.context, f.model, text, f.x, classes, 2, maps) != SPADE_OK) {
            fail_msg("%s", spade_message(f.context));
        }
        for (int c = 0; c < 2; c++) {
            double should[PIXELS], largest = 0;
            plain_occlusion(&f, cases[i].window, cases[i].stride, cases[i].baseline, (int)classes[c], cases[i].softmax,
                            should);
            for (int e = 0; e < PIXELS; e++) { largest = fmax(largest, fabs(should[e])); }
            assert_true(largest > 1e-6);
            for (int e = 0; e < PIXELS; e++) {
                if (!(fabs(maps[c * PIXELS + e] - should[e]) <= 1e-4 * largest)) {
                    fail_msg("%s, class %d, pixel %d: %g, should be %g", text, (int)classes[c], e,
                             (double)maps[c * PIXELS + e], should[e]);
                }
            }
        }
    }
    fixture_close(&f);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *method, *says;
    } cases[] = {
        {"occlusion:window=10", "window=10: the input is 14 x 9, a window has at most 9 pixels a side"},
        {"occlusion:window=3:stride=4", "stride=4: pixels between windows of 3"},
        {"occlusion:stride=2", "stride=2: pixels between windows of 1"},
    };
    const int64_t target = 0;
    float map[PIXELS];
    fixture f;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(attribute(f.context, f.model, cases[i].method, f.x, &target, 1, map), SPADE_ERROR_ARGUMENT);
        if (!strstr(spade_message(f.context), cases[i].says)) { fail_msg("%s", spade_message(f.context)); }
    }
    spade_attribution *attribution;
    assert_int_equal(spade_attribution_create(f.context, "occlusion:window=-1", &attribution), SPADE_ERROR_ARGUMENT);
    fixture_close(&f);
}

/* The forward passes, of which three are as long as one forward and back; and the size of the map. */
static void test_passes(void **state)
{
    (void)state;
    spade_attribution *attribution;
    int64_t shape[3];
    fixture f;
    fixture_open(&f);
    assert_int_equal(spade_attribution_create(f.context, "occlusion:window=4:stride=3", &attribution), SPADE_OK);
    assert_int_equal(spade_attribution_map_shape(f.context, f.model, attribution, shape), SPADE_OK);
    assert_true(shape[0] == 1 && shape[1] == HEIGHT && shape[2] == WIDTH);
    assert_true(fabs(3 * spade_attribution_passes(f.model, attribution) - (1 + 3 * 5)) < 1e-9);
    assert_true(spade_attribution_method(attribution)->flags & SPADE_METHOD_SIGNED);
    spade_attribution_destroy(attribution);
    fixture_close(&f);
}

/* ---- the driver: images that a test makes itself */
enum { IMAGES = 19 };

typedef struct images {
    spade_device *device;
    const float *data; /* [IMAGES, size] */
    int64_t size;
    int64_t next; /* images come in their order */
} images;

static spade_status upload_images(void *user, int64_t first, int64_t count, float *out)
{
    images *all = user;
    assert_int_equal(first, all->next);
    all->next += count;
    return all->device->backend->upload(all->device, out, all->data + first * all->size,
                                        (size_t)(count * all->size) * sizeof(float));
}

static spade_status refuse_images(void *user, int64_t first, int64_t count, float *out)
{
    (void)count;
    (void)out;
    return first == 0 ? SPADE_OK : spade_fail(user, SPADE_ERROR_INPUT, "no image %lld", (long long)first);
}

static void test_driver(void **state)
{
    (void)state;
    static const int64_t classes[2] = {1, 2};
    static float data[IMAGES * SIZE];
    double values[2 * IMAGES];
    fixture f;
    fixture_open(&f);
    for (int i = 0; i < IMAGES * SIZE; i++) { data[i] = 2 * pseudo_random(4, (uint32_t)i); }
    attribution_job job = {.context = f.context,
                           .model = f.model,
                           .method = "a test",
                           .channels = CHANNELS,
                           .height = HEIGHT,
                           .width = WIDTH,
                           .size = SIZE,
                           .outputs = CLASSES,
                           .input = f.x,
                           .targets = targets_of(classes, 2),
                           .n = 2};
    for (int softmax = 0; softmax < 2; softmax++) {
        images all = {.device = f.context->device, .data = data, .size = SIZE};
        job.score = softmax ? SPADE_SCORE_SOFTMAX : SPADE_SCORE_LOGIT;
        if (attribution_perturb(&job, IMAGES, upload_images, &all, values) != SPADE_OK) {
            fail_msg("%s", spade_message(f.context));
        }
        assert_int_equal(all.next, IMAGES);
        for (int c = 0; c < 2; c++) {
            for (int i = 0; i < IMAGES; i++) {
                const double should = class_value(&f, data + (size_t)i * SIZE, (int)classes[c], softmax);
                assert_true(fabs(values[c * IMAGES + i] - should) < 1e-4);
            }
        }
    }
    const uint64_t used = f.context->used;
    assert_int_equal(attribution_perturb(&job, IMAGES, refuse_images, f.context, values), SPADE_ERROR_INPUT);
    assert_non_null(strstr(spade_message(f.context), "no image 8"));
    assert_int_equal(f.context->used, used);
    fixture_close(&f);
}

/* ---- bits and budgets, on the golden ResNet */
enum { SIDE = 64, MAP = SIDE * SIDE };
static const int64_t golden_classes[2] = {1, 7};

/* Each method of the driver, with 10 or so images where the device is slow. */
static const char *const golden_methods[][2] = {
    {"occlusion:window=9:stride=7", "occlusion:window=24:stride=24"},
    {"rise:samples=60", "rise:samples=11"},
    {"lime:samples=60:segments=20", "lime:samples=11:segments=20"},
    {"kernel_shap:samples=60:segments=20", "kernel_shap:samples=11:segments=20"},
};

static spade_status golden_maps(const char *method, int threads, uint64_t memory, float *maps, char *message,
                                size_t message_size)
{
    spade_context *context = test_context(test_device(), threads);
    spade_model *model = load(context, SPADE_TEST_DATA "/models/scene_resnet.onnx");
    spade_array inputs = {0};
    assert_int_equal(spade_array_load(context, SPADE_TEST_DATA "/arrays/inputs.npy", 0, &inputs), SPADE_OK);
    if (memory) { context->budget = context->used + memory; }
    spade_status status = attribute(context, model, method, inputs.data, golden_classes, 2, maps);
    snprintf(message, message_size, "%s", spade_message(context));
    spade_array_clear(&inputs);
    spade_model_destroy(model);
    spade_context_destroy(context);
    return status;
}

/* What does not fit says so; what fits, whatever the budget and the threads, gives the same bits. */
static void expect_same_bits(const char *method)
{
    static float maps[2 * MAP], again[2 * MAP];
    char message[512];
    int refused = 0;
    assert_int_equal(golden_maps(method, 1, 0, maps, message, sizeof message), SPADE_OK);
    assert_int_equal(golden_maps(method, 3, 0, again, message, sizeof message), SPADE_OK);
    assert_memory_equal(maps, again, sizeof maps);
    for (uint64_t memory = 64 << 10;; memory *= 2) {
        memset(again, 0, sizeof again);
        spade_status status = golden_maps(method, 2, memory, again, message, sizeof message);
        if (status == SPADE_OK) { break; }
        assert_int_equal(status, SPADE_ERROR_MEMORY);
        assert_non_null(strstr(message, "--memory"));
        refused++;
    }
    assert_true(refused > 0);
    assert_memory_equal(maps, again, sizeof maps);
}

static void test_threads_and_budgets(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof golden_methods / sizeof *golden_methods; i++) {
        expect_same_bits(golden_methods[i][test_is_emulated()]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_loops),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_passes),
        cmocka_unit_test(test_driver),
        cmocka_unit_test(test_threads_and_budgets),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_remove_folder();
    return failed;
}
