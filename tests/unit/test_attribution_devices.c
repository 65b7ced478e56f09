/* test_attribution_devices.c - quadrature, noise, and the methods' properties on the golden network: their bits, what they ask of
 * the device, what they take of the budget. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/context.h"
#include "support/targets.h"
#include "attribution/gradient_driver.h"
#include "spade/spade.h"

/* An n-point rule is exact for polynomials up to degree 2n-1: integral of x^d on [0, 1] is 1/(d+1). */
static void test_quadrature(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 3, 7, 50, 200};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int n = sizes[s];
        double nodes[200], weights[200];
        attribution_gauss_legendre(n, nodes, weights);
        for (int degree = 0; degree < 2 * n && degree < 60; degree++) {
            double sum = 0;
            for (int i = 0; i < n; i++) { sum += weights[i] * pow(nodes[i], degree); }
            assert_true(fabs(sum - 1.0 / (degree + 1)) < 1e-13);
        }
        for (int i = 1; i < n; i++) { assert_true(nodes[i] > nodes[i - 1]); }
    }
}

/* Standard normal numbers of a sample: [n], n even or not. */
static void draw_noise(uint32_t key, uint32_t sample, int64_t n, double *out)
{
    const uint32_t keys[2] = {key, 0};
    for (int64_t i = 0; i < n; i += 2) {
        const uint32_t counter[4] = {sample, (uint32_t)(i / 2), 0, 0};
        double pair[2];
        spade_normal(keys, counter, pair);
        out[i] = pair[0];
        if (i + 1 < n) { out[i + 1] = pair[1]; }
    }
}

static void test_noise(void **state)
{
    (void)state;
    enum { N = 100001 };
    static double noise[N], again[N];
    double mean = 0, square = 0;
    draw_noise(42, 3, N, noise);
    draw_noise(42, 3, 10, again);
    assert_memory_equal(noise, again, 10 * sizeof *noise); /* a number depends on its place only */
    for (int i = 0; i < N; i++) {
        assert_true(isfinite(noise[i]));
        mean += noise[i] / N;
        square += noise[i] * noise[i] / N;
    }
    assert_true(fabs(mean) < 0.02 && fabs(square - 1) < 0.02);
    draw_noise(42, 4, 10, again);
    assert_true(again[0] != noise[0]);
}

static void test_table(void **state)
{
    (void)state;
    int common;
    assert_int_equal(spade_method_common_options(&common)[0].type, SPADE_OPTION_WORD);
    assert_true(spade_method_count() >= 4);
    for (int i = 0; i < spade_method_count(); i++) {
        const spade_method_info *info = spade_method_at(i);
        assert_ptr_equal(spade_method_find(info->name), info);
        assert_true(info->title && info->definition && info->source);
        assert_true(common + info->option_count <= SPADE_MAX_OPTIONS);
    }
    assert_null(spade_method_at(spade_method_count()));
    assert_null(spade_method_at(-1));
    assert_null(spade_method_find("grad"));
    assert_false(spade_method_find("saliency")->flags & SPADE_METHOD_SIGNED);
}

/* ---- a method with an option of every type, and a small map */
typedef struct sample_options {
    int64_t count;
    double share;
    int word;
    spade_layer_option layer;
    char *file;
} sample_options;

static const spade_option_info sample_infos[] = {
    {.name = "count", .type = SPADE_OPTION_INTEGER, .min = 1, .max = 8, .default_value = "4"},
    {.name = "share", .type = SPADE_OPTION_REAL, .min = 0, .max = 1, .default_value = "0.25"},
    {.name = "upsample", .type = SPADE_OPTION_WORD, .words = "bilinear|none", .default_value = "bilinear"},
    {.name = "layer", .type = SPADE_OPTION_LAYER},
    {.name = "of", .type = SPADE_OPTION_FILE},
};
static const size_t sample_offsets[] = {offsetof(sample_options, count), offsetof(sample_options, share),
                                        offsetof(sample_options, word), offsetof(sample_options, layer),
                                        offsetof(sample_options, file)};

static spade_status check_sample(const attribution_job *job, const void *options)
{
    const char *layer = ((const sample_options *)options)->layer.name;
    if (layer && strcmp(layer, "layer4") == 0) { return SPADE_OK; }
    return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "'%s' is no layer", layer ? layer : "");
}

/* [1, h, w] of the layer, or as large as the input. */
static void shape_sample(const attribution_job *job, const void *options, int64_t shape[3])
{
    const bool small = ((const sample_options *)options)->word == 1;
    shape[0] = 1;
    shape[1] = small ? 4 : job->height;
    shape[2] = small ? 5 : job->width;
}

static spade_status run_sample(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    int64_t shape[3];
    shape_sample(job, options, shape);
    for (int64_t i = 0; i < job->n * shape[1] * shape[2]; i++) { maps[i] = (float)i; }
    if (notes) { notes[0].delta = 0.5; }
    return SPADE_OK;
}

static const attribution_method sample_method = {
    .info = {.name = "sample", .options = sample_infos, .option_count = sizeof sample_infos / sizeof *sample_infos},
    .options_bytes = sizeof(sample_options),
    .option_offsets = sample_offsets,
    .check = check_sample,
    .shape = shape_sample,
    .run = run_sample};

static void test_option_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        sample_options is;
    } good[] = {
        {"", {4, 0.25, 0, {NULL, false, 0}, NULL}},
        {":count=8:share=1e-1:upsample=none", {8, 0.1, 1, {NULL, false, 0}, NULL}},
        {":layer=layer4.0.conv1:count=1", {1, 0.25, 0, {"layer4.0.conv1", false, 0}, NULL}},
        {":layer=layer4:17:count=2", {2, 0.25, 0, {"layer4", true, 17}, NULL}},
        {":count=2:layer=\"a:b,c\"", {2, 0.25, 0, {"a:b,c", false, 0}, NULL}},
        {":layer='a:3':count=2", {2, 0.25, 0, {"a:3", false, 0}, NULL}},
        {":layer='a:b':3:count=2", {2, 0.25, 0, {"a:b", true, 3}, NULL}},
        {":count=\"2\"", {2, 0.25, 0, {NULL, false, 0}, NULL}},
        {":count=2:of=smoothgrad:count=3", {2, 0.25, 0, {NULL, false, 0}, "smoothgrad:count=3"}},
        {":of=\"x\"", {4, 0.25, 0, {NULL, false, 0}, "x"}},
    };
    static const struct {
        const char *text, *says;
    } bad[] = {
        {":", "sample: no option '' (there are count, share, upsample, layer, of, output and seed)"},
        {":conut=3", "sample: no option 'conut'"},
        {":count", "sample: count needs a value: count=VALUE"},
        {":count=", "count: '' is not a whole number"},
        {":count=2.0", "count: '2.0' is not a whole number"},
        {":count=0", "count: 0 is not from 1 to 8"},
        {":count=2:3", "count: '2:3' is not a whole number"},
        {":count=2:count=3", "count is given twice"},
        {":share=nan", "share: 'nan' is not a number"},
        {":share=1.5", "share: 1.5 is not from 0 to 1"},
        {":upsample=cubic", "upsample: 'cubic' is none of bilinear|none"},
        {":layer=", "layer: the name of a layer is needed"},
        {":layer='a", "layer: the quote ' has no end"},
        {":layer='a'b", "layer: 'b' is no index"},
        {":count='2'3", "count: '3' behind the quotes"},
        {":of=", "of: the name of a file is needed"},
        {":seed=-1", "seed: -1 is not from 0 to 9223372036854775807"},
        {":output=probability", "output: 'probability' is none of logits|scores"},
    };
    spade_context context = {.budget = UINT64_MAX};
    spade_attribution *attribution;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const sample_options *should = &good[i].is;
        if (attribution_create(&context, &sample_method, good[i].text, &attribution) != SPADE_OK) {
            fail_msg("%s: %s", good[i].text, context.message);
        }
        const sample_options *is = attribution->options;
        assert_true(is->count == should->count && is->share == should->share && is->word == should->word);
        assert_int_equal(is->layer.has_index, should->layer.has_index);
        assert_int_equal(is->layer.index, should->layer.index);
        assert_string_equal(is->layer.name ? is->layer.name : "", should->layer.name ? should->layer.name : "");
        assert_string_equal(is->file ? is->file : "", should->file ? should->file : "");
        spade_attribution_destroy(attribution);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spade_status status = attribution_create(&context, &sample_method, bad[i].text, &attribution);
        if (status != SPADE_ERROR_ARGUMENT || attribution || !strstr(context.message, bad[i].says)) {
            fail_msg("%s: status %d, '%s'", bad[i].text, status, context.message);
        }
    }
    assert_int_equal(spade_attribution_create(&context, "gradcan:layer=x", &attribution), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(context.message, "unknown method 'gradcan'"));
    assert_non_null(strstr(context.message, "integrated_gradients"));
}

static void test_setting_options(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    spade_attribution *attribution;
    assert_int_equal(attribution_create(&context, &sample_method, ":count=2", &attribution), SPADE_OK);
    const sample_options *options = attribution->options;
    assert_int_equal(spade_attribution_set_default(&context, attribution, "count", "3"), SPADE_OK);
    assert_int_equal(options->count, 2); /* the text has it */
    assert_int_equal(spade_attribution_set_default(&context, attribution, "share", "0.5"), SPADE_OK);
    assert_int_equal(spade_attribution_set_default(&context, attribution, "share", "0.75"), SPADE_OK);
    assert_true(options->share == 0.75);
    assert_int_equal(spade_attribution_set_default(&context, attribution, "sigma", "1"), SPADE_OK); /* not its own */
    assert_int_equal(spade_attribution_set_default(&context, attribution, "share", "2"), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_attribution_set(&context, attribution, "sigma", "1"), SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_attribution_set(&context, attribution, "count", "7"), SPADE_OK);
    assert_int_equal(options->count, 7);
    assert_int_equal(spade_attribution_set(&context, attribution, "layer", "a:b:3"), SPADE_OK);
    assert_int_equal(spade_attribution_set(&context, attribution, "layer", "c:d"), SPADE_OK);
    assert_string_equal(options->layer.name, "c:d");
    assert_false(options->layer.has_index);
    assert_int_equal(spade_attribution_set(&context, attribution, "layer", ""), SPADE_ERROR_ARGUMENT);
    assert_string_equal(options->layer.name, "c:d"); /* a failure changes nothing */
    spade_attribution_destroy(attribution);
    spade_attribution_destroy(NULL);
}

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    spade_array inputs;
    int64_t size;
} fixture;

static void fixture_open_network(fixture *f, int threads, const char *path)
{
    f->context = test_context(test_device(), threads);
    spade_status status = spade_model_load(f->context, path, NULL, &f->model);
    if (status != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
    f->inputs = (spade_array){0};
    assert_int_equal(spade_array_load(f->context, SPADE_TEST_DATA "/arrays/inputs.npy", 0, &f->inputs), SPADE_OK);
    f->size = spade_array_size(&f->inputs) / f->inputs.dims[0];
}

static void fixture_open(fixture *f, int threads)
{
    fixture_open_network(f, threads, SPADE_TEST_DATA "/models/scene_resnet.onnx");
}

/* Every method has a network: those of attention have a transformer. */
enum { CONVOLUTIONAL, TRANSFORMER, NETWORKS };

static void fixtures_open(fixture f[NETWORKS], int threads)
{
    fixture_open(&f[CONVOLUTIONAL], threads);
    fixture_open_network(&f[TRANSFORMER], threads, SPADE_TEST_DATA "/models/scene_vit.onnx");
}

static int network_of(int method)
{
    return strncmp(spade_method_at(method)->name, "attention_", strlen("attention_")) == 0 ? TRANSFORMER
                                                                                           : CONVOLUTIONAL;
}

static void fixture_close(fixture *f)
{
    spade_array_clear(&f->inputs);
    spade_model_destroy(f->model);
    spade_context_destroy(f->context);
}

static spade_attribution *open_method(spade_context *context, const char *text)
{
    spade_attribution *attribution;
    spade_preprocess preprocess; /* what black and white are, for baselines */
    spade_preprocess_init(&preprocess, 1, 1);
    if (spade_attribution_create(context, text, &attribution) != SPADE_OK ||
        spade_attribution_set_preprocess(context, attribution, &preprocess) != SPADE_OK) {
        fail_msg("%s", spade_message(context));
    }
    return attribution;
}

/* Numbers of one map. */
static int64_t map_size(fixture *f, const spade_attribution *attribution)
{
    int64_t shape[3];
    if (spade_attribution_map_shape(f->context, f->model, attribution, shape) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    return shape[0] * shape[1] * shape[2];
}

static float *maps_of(fixture *f, const char *method, const int64_t *classes, int n, spade_map_note *notes)
{
    spade_attribution *attribution = open_method(f->context, method);
    float *maps = calloc((size_t)n * (size_t)map_size(f, attribution), sizeof *maps);
    assert_non_null(maps);
    spade_status status = spade_attribute(f->context, f->model, NULL, attribution, f->inputs.data,
                                          targets_of(classes, n), n, maps, notes);
    if (status != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
    spade_attribution_destroy(attribution);
    return maps;
}

static bool has_option(const spade_method_info *info, const char *name)
{
    for (int i = 0; i < info->option_count; i++) {
        if (strcmp(info->options[i].name, name) == 0) { return true; }
    }
    return false;
}

/* A method's name, with so many passes where it can be asked for them. */
static const char *method_with_passes(int index, int passes, char *buffer, size_t size)
{
    const spade_method_info *info = spade_method_at(index);
    const char *option = has_option(info, "steps") ? "steps" : has_option(info, "samples") ? "samples" : NULL;
    if (info->flags & SPADE_METHOD_WRAPPER) { /* a call of a method for each copy */
        snprintf(buffer, size, "%s:samples=2", info->name);
    } else if (option) {
        snprintf(buffer, size, "%s:%s=%d", info->name, option, passes);
    } else if (has_option(info, "window")) { /* a few, so that the test is short */
        snprintf(buffer, size, "%s:window=32:stride=16", info->name);
    } else if (strcmp(info->name, "scorecam") == 0) { /* of few channels, likewise */
        snprintf(buffer, size, "%s:layer=conv1", info->name);
    } else {
        snprintf(buffer, size, "%s", info->name);
    }
    return buffer;
}

/* The size of a map is known before it is made, and its options are compared with the network. */
static void test_map_shape(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        int64_t shape[3];
    } cases[] = {{":layer=layer4", {1, 64, 64}}, {":layer=layer4:upsample=none", {1, 4, 5}}};
    const int64_t classes[2] = {1, 2};
    float maps[2 * 64 * 64 + 1];
    int64_t shape[3];
    fixture f;
    fixture_open(&f, 0);
    spade_attribution *attribution = open_method(f.context, "smoothgrad:samples=7");
    assert_int_equal(spade_attribution_map_shape(f.context, f.model, attribution, shape), SPADE_OK);
    assert_true(shape[0] == 3 && shape[1] == 64 && shape[2] == 64);
    assert_true(spade_attribution_passes(f.model, attribution) == 7);
    spade_attribution_destroy(attribution);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spade_map_note notes[2];
        const int64_t numbers = 2 * cases[i].shape[1] * cases[i].shape[2];
        assert_int_equal(attribution_create(f.context, &sample_method, cases[i].options, &attribution), SPADE_OK);
        assert_int_equal(spade_attribution_map_shape(f.context, f.model, attribution, shape), SPADE_OK);
        assert_memory_equal(shape, cases[i].shape, sizeof shape);
        assert_true(spade_attribution_passes(f.model, attribution) == 1);
        maps[numbers] = NAN; /* behind the maps: not looked at */
        assert_int_equal(spade_attribute(f.context, f.model, NULL, attribution, f.inputs.data, targets_of(classes, 2),
                                         2, maps, notes),
                         SPADE_OK);
        assert_true(notes[0].delta == 0.5 && isnan(notes[1].delta));
        spade_attribution_destroy(attribution);
    }
    assert_int_equal(attribution_create(f.context, &sample_method, ":layer=layer9", &attribution), SPADE_OK);
    assert_int_equal(spade_attribution_map_shape(f.context, f.model, attribution, shape), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(f.context->message, "sample: 'layer9' is no layer"));
    assert_int_equal(
        spade_attribute(f.context, f.model, NULL, attribution, f.inputs.data, targets_of(classes, 2), 2, maps, NULL),
        SPADE_ERROR_ARGUMENT);
    spade_attribution_destroy(attribution);
    fixture_close(&f);
}

/* Several classes in one run give the same bits as one class at a time, with any number of threads. */
static void test_classes_and_threads(void **state)
{
    (void)state;
    const int64_t classes[3] = {1, 7, 0};
    fixture on_two[NETWORKS], on_one[NETWORKS];
    fixtures_open(on_two, 2);
    fixtures_open(on_one, 1);
    for (int m = 0; m < spade_method_count(); m++) {
        char buffer[64];
        fixture *two = &on_two[network_of(m)], *one = &on_one[network_of(m)];
        const char *method = method_with_passes(m, 11, buffer, sizeof buffer);
        spade_attribution *attribution = open_method(two->context, method);
        const int64_t size = map_size(two, attribution);
        spade_attribution_destroy(attribution);
        float *together = maps_of(two, method, classes, 3, NULL);
        for (int k = 0; k < 3; k++) {
            float *alone = maps_of(one, method, &classes[k], 1, NULL);
            assert_memory_equal(alone, together + k * size, sizeof *alone * (size_t)size);
            free(alone);
        }
        free(together);
    }
    for (int i = 0; i < NETWORKS; i++) {
        fixture_close(&on_two[i]);
        fixture_close(&on_one[i]);
    }
}

/* Maps within a budget: the same bits, or an error that says what is missing. `share` of what the method took without one,
 * beside the network; *peak: that. reference: NULL: without a budget. */
static bool keeps_bits(int m, double share, uint64_t *peak, float **reference)
{
    const int64_t classes[2] = {1, 7};
    fixture networks[NETWORKS];
    char buffer[64];
    fixtures_open(networks, 2);
    fixture *f = &networks[network_of(m)];
    const char *method = method_with_passes(m, 11, buffer, sizeof buffer);
    spade_attribution *attribution = open_method(f->context, method);
    const size_t numbers = 2 * (size_t)map_size(f, attribution);
    float *maps = calloc(numbers, sizeof *maps);
    assert_non_null(maps);
    const uint64_t before = f->context->used;
    f->context->peak = before;
    if (*reference) { f->context->budget = before + (uint64_t)(share * (double)*peak); }
    spade_status status =
        spade_attribute(f->context, f->model, NULL, attribution, f->inputs.data, targets_of(classes, 2), 2, maps, NULL);
    if (status != SPADE_OK) {
        assert_int_equal(status, SPADE_ERROR_MEMORY);
        assert_true(share < 1 && strstr(spade_message(f->context), "--memory"));
    } else if (*reference) {
        assert_memory_equal(maps, *reference, numbers * sizeof *maps);
    } else {
        *peak = f->context->peak - before;
        *reference = maps;
        maps = NULL;
    }
    free(maps);
    spade_attribution_destroy(attribution);
    for (int i = 0; i < NETWORKS; i++) { fixture_close(&networks[i]); }
    return status == SPADE_OK;
}

static void test_budgets(void **state)
{
    (void)state;
    static const double shares[] = {1, 0.8, 0.6, 0.4};
    fixture f;
    fixture_open(&f, 1);
    const bool on_host = f.context->device->backend->host_memory;
    fixture_close(&f);
    for (int m = 0; on_host && m < spade_method_count(); m++) { /* elsewhere a smaller pass rounds otherwise */
        float *reference = NULL;
        uint64_t peak = 0;
        assert_true(keeps_bits(m, 0, &peak, &reference));
        for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
            const bool fits = keeps_bits(m, shares[i], &peak, &reference);
            assert_true(fits || shares[i] < 1);
        }
        free(reference);
    }
}

/* The gradient of the softmax score against central differences of the score along a random direction. */
static void test_softmax_gradient(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, 0);
    const int64_t target = 1;
    /* one copy without noise: the plain signed gradient */
    float *gradient = maps_of(&f, "smoothgrad:samples=1:sigma=0:output=softmax", &target, 1, NULL);
    double *direction = malloc(sizeof *direction * (size_t)f.size);
    float *moved = malloc(sizeof *moved * (size_t)f.size);
    assert_true(direction && moved);
    draw_noise(5, 0, f.size, direction);
    double slope = 0, score[2];
    const double step = 1e-3;
    for (int64_t i = 0; i < f.size; i++) { slope += direction[i] * gradient[i]; }
    for (int side = 0; side < 2; side++) {
        float logits[10];
        double sum = 0;
        for (int64_t i = 0; i < f.size; i++) {
            moved[i] = (float)(f.inputs.data[i] + (side ? step : -step) * direction[i]);
        }
        assert_int_equal(spade_model_forward(f.context, f.model, NULL, moved, 1, logits), SPADE_OK);
        for (int i = 0; i < 10; i++) { sum += exp(logits[i] - logits[target]); }
        score[side] = 1 / sum;
    }
    double measured = (score[1] - score[0]) / (2 * step);
    assert_true(fabs(measured - slope) < 0.05 * fabs(slope) + 1e-5);
    free(gradient);
    free(direction);
    free(moved);
    fixture_close(&f);
}

static void test_completeness(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, 0);
    const int64_t classes[2] = {1, 2};
    spade_map_note few[2], many[2];
    free(maps_of(&f, "integrated_gradients:steps=4", classes, 2, few));
    const char *long_path = test_is_emulated() ? "integrated_gradients:steps=100" : "integrated_gradients:steps=200";
    free(maps_of(&f, long_path, classes, 2, many));
    for (int i = 0; i < 2; i++) {
        assert_true(fabs(many[i].delta) < 0.05);
        assert_true(fabs(many[i].delta) <= fabs(few[i].delta) + 1e-3);
    }
    fixture_close(&f);
}

/* ---- what a map asks of the device: a table that counts and hands on. State of this one test program. */
static const spade_backend *counted;
static struct counts {
    int downloads, waits, uploads, allocations;
    int passes; /* forward and back */
} counts;

static spade_status count_download(spade_device *device, void *to, const void *from, size_t bytes)
{
    counts.downloads++;
    return counted->download(device, to, from, bytes);
}

static spade_status count_synchronize(spade_device *device)
{
    counts.waits++;
    return counted->synchronize(device);
}

static spade_status count_upload(spade_device *device, void *to, const void *from, size_t bytes)
{
    counts.uploads++;
    return counted->upload(device, to, from, bytes);
}

static spade_status count_alloc(spade_device *device, size_t bytes, const char *what, void **out)
{
    counts.allocations++;
    return counted->alloc(device, bytes, what, out);
}

static spade_status count_seed(spade_device *device, const spade_seed_args *args)
{
    counts.passes += args->seed != NULL;
    return counted->seed(device, args);
}

/* Methods that only go forward. */
typedef struct forward_counts {
    const char *name;
    int downloads, allocations;
} forward_counts;
static const forward_counts forward_methods[] = {
    {"occlusion", 1, 2}, /* values; masks, and values */
    {"scorecam", 2, 3},  /* the layer, values; the layer, masks, and values */
    {"attention_rollout", 1, 1}, {"rise", 1, 2}, {"lime", 1, 2}, {"kernel_shap", 1, 2},
};

/* Whether the method's pass back ends at an inner layer. */
static bool stops_at_a_layer(const char *method)
{
    return strncmp(method, "gradcam", 7) == 0 || strcmp(method, "layercam") == 0 ||
           strcmp(method, "attention_gradient") == 0;
}

/* Whether several passes of one class are images of one walk. */
static bool walks_once(const char *method)
{
    return strcmp(method, "deeplift") == 0; /* the input and its baseline */
}

/* NULL: it goes back, too. */
static const forward_counts *forward_counts_of(const char *method)
{
    for (size_t i = 0; i < sizeof forward_methods / sizeof *forward_methods; i++) {
        if (strcmp(forward_methods[i].name, method) == 0) { return &forward_methods[i]; }
    }
    return NULL;
}

/* Nothing is uploaded, allocated or waited for between the passes: more passes ask for no more of it, and once the
 * network is ready nothing is allocated but a call's own block. */
static void test_passes_stay_on_the_device(void **state)
{
    (void)state;
    const int64_t classes[2] = {1, 4};
    fixture networks[NETWORKS];
    fixtures_open(networks, 1);
    counted = networks[0].context->device->backend;
    spade_backend table = *counted;
    table.download = count_download;
    table.synchronize = count_synchronize;
    table.upload = count_upload;
    table.alloc = count_alloc;
    table.seed = count_seed;
    table.capture_begin = NULL; /* a graph_launch would be one call */
    for (int m = 0; m < spade_method_count(); m++) {
        struct counts few, many;
        char buffer[64];
        if (spade_method_at(m)->flags & SPADE_METHOD_WRAPPER) { continue; } /* a call of a method for each copy */
        fixture *f = &networks[network_of(m)];
        spade_device *device = f->context->device;
        const char *method = method_with_passes(m, 3, buffer, sizeof buffer);
        device->backend = &table;
        free(maps_of(f, method, classes, 2, NULL));
        counts = (struct counts){0};
        free(maps_of(f, method, classes, 2, NULL));
        few = counts;
        method = method_with_passes(m, 30, buffer, sizeof buffer);
        free(maps_of(f, method, classes, 2, NULL)); /* a micro-batch of another size has a plan of its own */
        counts = (struct counts){0};
        free(maps_of(f, method, classes, 2, NULL));
        many = counts;
        device->backend = counted;
        const spade_method_info *info = spade_method_at(m);
        const forward_counts *forward = forward_counts_of(info->name);
        const bool path = has_option(info, "steps"), copies = has_option(info, "samples") && !forward;
        spade_attribution *attribution = open_method(f->context, info->name);
        /* of a class */
        const bool once = path || copies || forward || walks_once(info->name);
        const int walks = once ? 1 : (int)spade_attribution_passes(f->model, attribution);
        spade_attribution_destroy(attribution);
        /* two classes: 3 and 30 points, and of a path two more; on the host in micro-batches of 3 and 5, 10 and 8, on a
         * device with memory of its own of 8 and 16, 32 */
        const bool on_host = counted->host_memory;
        assert_int_equal(few.passes, path || copies ? on_host ? 2 : 1 : forward ? 0 : 2 * walks);
        assert_int_equal(many.passes, path || copies ? !on_host ? 2 : path ? 8 : 6 : forward ? 0 : 2 * walks);
        /* maps, and of what walks back to the input the values, which have to be finite */
        assert_int_equal(few.downloads, forward ? forward->downloads : walks + !stops_at_a_layer(info->name));
        assert_int_equal(many.downloads, few.downloads);
        assert_int_equal(many.waits, few.waits);
        assert_int_equal(many.uploads, few.uploads);
        assert_int_equal(few.allocations, forward ? forward->allocations : walks);
        assert_int_equal(many.allocations, few.allocations);
    }
    for (int i = 0; i < NETWORKS; i++) { fixture_close(&networks[i]); }
}

/* Maps of many classes are charged while they are on the device; a budget that does not hold them is an error. */
static void test_memory(void **state)
{
    (void)state;
    enum { CLASSES = 40 };
    int64_t classes[CLASSES];
    fixture f;
    fixture_open(&f, 1);
    spade_attribution *saliency = open_method(f.context, "saliency");
    for (int i = 0; i < CLASSES; i++) { classes[i] = i % 10; }
    free(maps_of(&f, "saliency", classes, 2, NULL)); /* one class alone has another plan */
    uint64_t before = f.context->used, two = f.context->peak;
    free(maps_of(&f, "saliency", classes, CLASSES, NULL));
    uint64_t maps = (CLASSES - 2) * (uint64_t)f.size * sizeof(float), more = f.context->peak - two;
    assert_int_equal(f.context->used, before);
    assert_true(more >= maps && more < maps + maps / 8);
    float *out = malloc(CLASSES * (size_t)f.size * sizeof *out);
    assert_non_null(out);
    f.context->budget = before + maps;
    assert_int_equal(spade_attribute(f.context, f.model, NULL, saliency, f.inputs.data, targets_of(classes, CLASSES),
                                     CLASSES, out, NULL),
                     SPADE_ERROR_MEMORY);
    assert_non_null(strstr(f.context->message, "--memory"));
    assert_int_equal(f.context->used, before);
    f.context->budget = UINT64_MAX;
    assert_int_equal(
        spade_attribute(f.context, f.model, NULL, saliency, f.inputs.data, targets_of(classes, 1), 1, out, NULL),
        SPADE_OK);
    free(out);
    spade_attribution_destroy(saliency);
    fixture_close(&f);
}

static void test_refused(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, 0);
    float *map = malloc(sizeof *map * (size_t)f.size);
    assert_non_null(map);
    const int64_t bad = 10, good = 0;
    spade_attribution *saliency = open_method(f.context, "saliency");
    assert_int_equal(
        spade_attribute(f.context, f.model, NULL, saliency, f.inputs.data, targets_of(&bad, 1), 1, map, NULL),
        SPADE_ERROR_ARGUMENT);
    assert_int_equal(
        spade_attribute(f.context, f.model, NULL, saliency, f.inputs.data, targets_of(&good, 0), 0, map, NULL),
        SPADE_ERROR_ARGUMENT);
    spade_attribution_destroy(saliency);
    assert_int_equal(spade_attribution_create(f.context, "integrated_gradients:steps=0", &saliency),
                     SPADE_ERROR_ARGUMENT);
    assert_int_equal(spade_attribution_create(f.context, "smoothgrad:sigma=nan", &saliency), SPADE_ERROR_ARGUMENT);
    free(map);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quadrature),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_option_texts),
        cmocka_unit_test(test_setting_options),
        cmocka_unit_test(test_map_shape),
        cmocka_unit_test(test_classes_and_threads),
        cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_softmax_gradient),
        cmocka_unit_test(test_completeness),
        cmocka_unit_test(test_passes_stay_on_the_device),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
