/* test_network_metrics_devices.c - metrics that ask the network, against their definitions in plain loops on a small one: images
 * made again here, ROAD's holes filled by elimination; together and alone; what they refuse. Runs on every device
 * (SPADE_TEST_DEVICE). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "spade/spade.h"
#include "support/context.h"
#include "support/model.h"

enum { CHANNELS = 2, HEIGHT = 7, WIDTH = 11, PIXELS = HEIGHT * WIDTH, SIZE = CHANNELS * PIXELS, CLASSES = 3, MAPS = 3 };
static const spade_target target = {.class_index = 1};

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    float weights[CLASSES * SIZE], x[SIZE];
    float maps[MAPS][SIZE], scores[MAPS][PIXELS];
} fixture;

/* x -> sigmoid -> flatten -> fc */
static int fixture_open(void **state)
{
    static fixture f;
    wire network = graph_of(CHANNELS, HEIGHT, WIDTH, CLASSES);
    for (int i = 0; i < CLASSES * SIZE; i++) { f.weights[i] = pseudo_random(1, (uint32_t)i); }
    for (int i = 0; i < SIZE; i++) { f.x[i] = 3 * pseudo_random(2, (uint32_t)i); }
    put_node(&network, node_of("sigmoid", "Sigmoid", "x", "a"));
    put_node(&network, node_of("flatten", "Flatten", "a", "b"));
    put_tensor(&network, tensor_of("fc.weight", 2, (int64_t[]){CLASSES, SIZE}, f.weights));
    put_node(&network, with_int(node_of("fc", "Gemm", "b fc.weight", "y"), "transB", 1));
    f.context = test_context(test_device(), 0);
    if (spade_model_load(f.context, test_save("metrics.onnx", model_of(network)), NULL, &f.model) != SPADE_OK) {
        fail_msg("%s", spade_message(f.context));
    }
    for (int m = 0; m < MAPS; m++) {
        for (int i = 0; i < SIZE; i++) {
            f.maps[m][i] = floorf(8 * pseudo_random(10 + (uint32_t)m, (uint32_t)i));
        } /* ties */
        spade_map_reduce(f.maps[m], CHANNELS, HEIGHT, WIDTH, SPADE_REDUCE_ABS_MAX, f.scores[m]);
    }
    *state = &f;
    return 0;
}

static int fixture_close(void **state)
{
    fixture *f = *state;
    spade_model_destroy(f->model);
    assert_int_equal(f->context->used, 0);
    spade_context_destroy(f->context);
    return 0;
}

/* The softmax score of the target. */
static double score_of(const fixture *f, const double *image)
{
    double z[CLASSES] = {0}, sum = 0;
    for (int c = 0; c < CLASSES; c++) {
        for (int i = 0; i < SIZE; i++) { z[c] += (double)f->weights[c * SIZE + i] / (1 + exp(-image[i])); }
    }
    for (int c = 0; c < CLASSES; c++) { sum += exp(z[c] - z[target.class_index]); }
    return 1 / sum;
}

static spade_metric_inputs inputs_of(const fixture *f, int map)
{
    spade_metric_inputs inputs;
    spade_metric_inputs_init(&inputs);
    inputs.height = HEIGHT;
    inputs.width = WIDTH;
    inputs.scores = f->scores[map];
    inputs.model = f->model;
    inputs.input = f->x;
    inputs.target = &target;
    inputs.map = f->maps[map];
    memcpy(inputs.map_shape, (int64_t[]){CHANNELS, HEIGHT, WIDTH}, sizeof inputs.map_shape);
    return inputs;
}

static spade_metric *metric_of(const fixture *f, const char *text)
{
    spade_metric *metric;
    if (spade_metric_create(f->context, text, &metric) != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
    return metric;
}

/* Of one map; and all together say the same to the bit. */
static double measure(const fixture *f, const char *text, const spade_metric_inputs *one)
{
    spade_metric *metric = metric_of(f, text);
    double alone, together[MAPS];
    spade_metric_inputs all[MAPS];
    const spade_metric_inputs *list[MAPS];
    if (spade_measure(f->context, metric, one, &alone) != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
    for (int m = 0; m < MAPS; m++) {
        all[m] = *one;
        all[m].scores = f->scores[m];
        all[m].map = f->maps[m];
        list[m] = &all[m];
    }
    list[1] = one;
    assert_int_equal(spade_measure_together(f->context, metric, list, MAPS, together), SPADE_OK);
    assert_true(together[1] == alone || (isnan(alone) && isnan(together[1])));
    spade_metric_destroy(metric);
    return alone;
}

/* Place i of the order: the largest score that is left, of equals the first. */
static void rank(const float *scores, int order[PIXELS])
{
    bool taken[PIXELS] = {false};
    for (int i = 0; i < PIXELS; i++) {
        int best = -1;
        for (int p = 0; p < PIXELS; p++) {
            if (!taken[p] && (best < 0 || scores[p] > scores[best])) { best = p; }
        }
        taken[best] = true;
        order[i] = best;
    }
}

/* ---- insertion, deletion */

/* The kernel from its definition: what a mirrored Gaussian of deviation 5 makes of a unit impulse in the middle of 11 x 11. */
static void blur(const float *x, double *out)
{
    double kernel[11], sum = 0;
    for (int i = 0; i < 11; i++) {
        double weight = 0, total = 0;
        for (int d = -20; d <= 20; d++) {
            const double g = exp(-d * d / 50.0);
            int at = i + d;
            while (at < 0 || at > 10) { at = at < 0 ? -1 - at : 21 - at; }
            weight += at == 5 ? g : 0;
            total += g;
        }
        kernel[i] = weight / total;
        sum += kernel[i];
    }
    assert_true(fabs(sum - 1) < 1e-12);
    for (int c = 0; c < CHANNELS; c++) {
        for (int y = 0; y < HEIGHT; y++) {
            for (int xx = 0; xx < WIDTH; xx++) {
                double value = 0;
                for (int i = 0; i < 11; i++) {
                    for (int k = 0; k < 11; k++) {
                        const int sy = y + i - 5, sx = xx + k - 5;
                        if (sy < 0 || sy >= HEIGHT || sx < 0 || sx >= WIDTH) { continue; }
                        value += kernel[i] * kernel[k] * (double)x[(c * HEIGHT + sy) * WIDTH + sx];
                    }
                }
                out[(c * HEIGHT + y) * WIDTH + xx] = value;
            }
        }
    }
}

static double replay(const fixture *f, const float *scores, int step, const double *from, const double *to)
{
    int order[PIXELS];
    double image[SIZE], area = 0, before = 0;
    const int steps = (PIXELS + step - 1) / step;
    rank(scores, order);
    memcpy(image, from, sizeof image);
    for (int k = 0; k <= steps; k++) {
        const double now = score_of(f, image);
        area += k ? (before + now) / 2 / steps : 0;
        before = now;
        for (int i = k * step; i < (k + 1) * step && i < PIXELS; i++) {
            for (int c = 0; c < CHANNELS; c++) { image[c * PIXELS + order[i]] = to[c * PIXELS + order[i]]; }
        }
    }
    return area;
}

static void test_insertion(void **state)
{
    const fixture *f = *state;
    static const struct {
        const char *text;
        int step;
        bool insert, zero;
    } forms[] = {{"insertion", WIDTH, true, false},
                 {"insertion:step=1:replacement=zero", 1, true, true},
                 {"deletion", WIDTH, false, true},
                 {"deletion:step=4:replacement=blur", 4, false, false},
                 {"deletion:step=1000", 1000, false, true}};
    const spade_metric_inputs inputs = inputs_of(f, 1);
    double x[SIZE], blurred[SIZE], zeros[SIZE] = {0};
    for (int i = 0; i < SIZE; i++) { x[i] = (double)f->x[i]; }
    blur(f->x, blurred);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const double *other = forms[i].zero ? zeros : blurred;
        const double should =
            replay(f, f->scores[1], forms[i].step, forms[i].insert ? other : x, forms[i].insert ? x : other);
        const double value = measure(f, forms[i].text, &inputs);
        if (fabs(value - should) > 1e-5) { fail_msg("%s: %g, should be %g", forms[i].text, value, should); }
    }
}

/* ---- ROAD */

/* The missing pixels' linear system by Gaussian elimination; every row: the weighted mean of what is around the pixel. */
static void fill_holes(const bool *missing, double *plane)
{
    static double a[PIXELS][PIXELS + 1];
    for (int p = 0; p < PIXELS; p++) {
        double total = 0;
        memset(a[p], 0, sizeof a[p]);
        if (!missing[p]) {
            a[p][p] = 1;
            a[p][PIXELS] = plane[p];
            continue;
        }
        for (int dy = -1; dy <= 1; dy++) {
            for (int dx = -1; dx <= 1; dx++) {
                const int y = p / WIDTH + dy, x = p % WIDTH + dx;
                if ((!dy && !dx) || y < 0 || y >= HEIGHT || x < 0 || x >= WIDTH) { continue; }
                const double weight = dy && dx ? 1.0 / 12 : 1.0 / 6;
                a[p][y * WIDTH + x] = -weight;
                total += weight;
            }
        }
        a[p][p] = total;
    }
    for (int p = 0; p < PIXELS; p++) {
        for (int r = 0; r < PIXELS; r++) {
            if (r == p || a[r][p] == 0) { continue; }
            const double factor = a[r][p] / a[p][p];
            for (int k = p; k <= PIXELS; k++) { a[r][k] -= factor * a[p][k]; }
        }
    }
    for (int p = 0; p < PIXELS; p++) { plane[p] = a[p][PIXELS] / a[p][p]; }
}

static double road(const fixture *f, const float *scores, int steps, bool least)
{
    int order[PIXELS];
    double sum = 0;
    rank(scores, order);
    for (int s = 1; s <= steps; s++) {
        double image[SIZE];
        bool missing[PIXELS] = {false};
        const int taken = (int)floor((double)s / (steps + 1) * PIXELS);
        for (int i = 0; i < taken; i++) { missing[order[least ? PIXELS - 1 - i : i]] = true; }
        for (int i = 0; i < SIZE; i++) { image[i] = (double)f->x[i]; }
        for (int c = 0; c < CHANNELS; c++) { fill_holes(missing, image + c * PIXELS); }
        sum += score_of(f, image);
    }
    return sum / steps;
}

static void test_road(void **state)
{
    const fixture *f = *state;
    const spade_metric_inputs inputs = inputs_of(f, 1);
    assert_true(fabs(measure(f, "road_most:noise=0", &inputs) - road(f, f->scores[1], 9, false)) < 1e-5);
    assert_true(fabs(measure(f, "road_least:noise=0:steps=4", &inputs) - road(f, f->scores[1], 4, true)) < 1e-5);
    /* the noise changes a little, and with its seed */
    const double plain = measure(f, "road_most:noise=0", &inputs), noisy = measure(f, "road_most", &inputs),
                 other = measure(f, "road_most:seed=1", &inputs);
    assert_true(noisy != plain && noisy != other && fabs(noisy - plain) < 0.02 && fabs(other - plain) < 0.02);
}

/* ---- infidelity */

static double infidelity(const fixture *f, const float *map, bool slopes, bool noise, bool best, int samples, int side,
                         double sigma)
{
    const uint64_t bits = spade_hash(f->x, sizeof f->x, 0);
    const uint32_t key[2] = {(uint32_t)bits, (uint32_t)(bits >> 32)};
    double x[SIZE], said[200], lost[200], low = INFINITY, high = -INFINITY, both = 0, squares = 0, sum = 0;
    for (int i = 0; i < SIZE; i++) {
        x[i] = (double)f->x[i];
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
    }
    const double all = score_of(f, x);
    for (int s = 0; s < samples; s++) {
        double image[SIZE];
        uint32_t random[4];
        spade_philox(key, (uint32_t[4]){(uint32_t)s, 0, 0, 0}, random);
        const int row = (int)(spade_uniform(random[0], random[1]) * (HEIGHT - side + 1));
        const int column = (int)(spade_uniform(random[2], random[3]) * (WIDTH - side + 1));
        said[s] = 0;
        for (int i = 0; i < SIZE; i++) {
            const int y = i % PIXELS / WIDTH, at = i % WIDTH; /* whole rows to a channel */
            const bool inside = y >= row && y < row + side && at >= column && at < column + side;
            double change = inside ? x[i] : 0, normal[2];
            if (noise) {
                spade_normal(key, (uint32_t[4]){(uint32_t)s, (uint32_t)(i / 2), 1, 0}, normal);
                change = (double)(float)(sigma * (high - low) * normal[i % 2]);
            }
            image[i] = x[i] - change;
            said[s] += slopes ? (double)map[i] * change : inside ? (double)map[i] : 0;
        }
        lost[s] = all - score_of(f, image);
        both += said[s] * lost[s];
        squares += said[s] * said[s];
    }
    for (int s = 0; s < samples; s++) {
        const double off = (best ? both / squares : 1) * said[s] - lost[s];
        sum += off * off;
    }
    return sum / samples;
}

static void near(double value, double should)
{
    if (!(fabs(value - should) < 1e-4 * (1e-3 + fabs(should)))) { fail_msg("%g, should be %g", value, should); }
}

static void test_infidelity(void **state)
{
    const fixture *f = *state;
    spade_metric_inputs inputs = inputs_of(f, 1);
    spade_attribution *methods[2]; /* whose maps are shares, or slopes */
    assert_int_equal(spade_attribution_create(f->context, "input_x_gradient", &methods[0]), SPADE_OK);
    assert_int_equal(spade_attribution_create(f->context, "smoothgrad", &methods[1]), SPADE_OK);
    for (int slopes = 0; slopes < 2; slopes++) {
        inputs.attribution = methods[slopes];
        near(measure(f, "infidelity", &inputs), infidelity(f, f->maps[1], slopes, false, true, 100, 1, 0));
        near(measure(f, "infidelity:window=3:scale=none:samples=30", &inputs),
             infidelity(f, f->maps[1], slopes, false, false, 30, 3, 0));
    }
    near(measure(f, "infidelity:perturbation=noise:sigma=0.2:samples=50", &inputs),
         infidelity(f, f->maps[1], true, true, true, 50, 1, 0.2));
    inputs.attribution = methods[0]; /* noise says nothing to shares */
    assert_true(isnan(measure(f, "infidelity:perturbation=noise", &inputs)));
    for (int i = 0; i < 2; i++) { spade_attribution_destroy(methods[i]); }
}

/* The gradient of the score says what small changes cost. */
static void test_exact_maps(void **state)
{
    const fixture *f = *state;
    spade_metric_inputs inputs = inputs_of(f, 0);
    spade_attribution *method;
    float gradient[SIZE];
    assert_int_equal(spade_attribution_create(f->context, "smoothgrad:output=scores:sigma=0:samples=1", &method),
                     SPADE_OK);
    assert_int_equal(spade_attribute(f->context, f->model, NULL, method, f->x, &target, 1, gradient, NULL), SPADE_OK);
    inputs.map = gradient;
    inputs.attribution = method;
    assert_true(spade_attribution_flags(method) & SPADE_METHOD_SLOPE);
    double value;
    spade_metric *metric = metric_of(f, "infidelity:perturbation=noise:sigma=0.0001:scale=none");
    assert_int_equal(spade_measure(f->context, metric, &inputs, &value), SPADE_OK);
    double size = 0;
    for (int i = 0; i < SIZE; i++) { size += (double)gradient[i] * (double)gradient[i]; }
    assert_true(value < 1e-2 * size * 36 * 1e-8); /* of what the changes cost, on average */
    spade_metric_destroy(metric);
    spade_attribution_destroy(method);
}

/* ---- sensitivity */

static void test_sensitivity(void **state)
{
    const fixture *f = *state;
    spade_metric_inputs inputs = inputs_of(f, 1);
    spade_attribution *method;
    float own[SIZE], moved[SIZE], map[SIZE];
    double most = 0, size = 0;
    const uint64_t bits = spade_hash(f->x, sizeof f->x, 7);
    const uint32_t key[2] = {(uint32_t)bits, (uint32_t)(bits >> 32)};
    assert_int_equal(spade_attribution_create(f->context, "input_x_gradient", &method), SPADE_OK);
    assert_int_equal(spade_attribute(f->context, f->model, NULL, method, f->x, &target, 1, own, NULL), SPADE_OK);
    for (int i = 0; i < SIZE; i++) { size += (double)own[i] * (double)own[i]; }
    for (int s = 0; s < 5; s++) {
        double sum = 0;
        for (int i = 0; i < SIZE; i++) {
            uint32_t r[4];
            spade_philox(key, (uint32_t[4]){(uint32_t)s, (uint32_t)(i / 2), 0, 0}, r);
            moved[i] = (float)((double)f->x[i] + 0.1 * (2 * spade_uniform(r[2 * (i % 2)], r[2 * (i % 2) + 1]) - 1));
        }
        assert_int_equal(spade_attribute(f->context, f->model, NULL, method, moved, &target, 1, map, NULL), SPADE_OK);
        for (int i = 0; i < SIZE; i++) { sum += ((double)map[i] - (double)own[i]) * ((double)map[i] - (double)own[i]); }
        most = fmax(most, sqrt(sum / size));
    }
    inputs.map = own;
    inputs.attribution = method;
    spade_metric *metric = metric_of(f, "sensitivity_max:radius=0.1:samples=5:seed=7");
    double value;
    assert_int_equal(spade_measure(f->context, metric, &inputs, &value), SPADE_OK);
    assert_true(fabs(value - most) < 1e-6 * most && most > 0);
    spade_metric_destroy(metric);
    spade_attribution_destroy(method);
}

/* ---- promises */

static void test_promises(void **state)
{
    const fixture *f = *state;
    spade_metric_inputs inputs = inputs_of(f, 1);
    inputs.note = (spade_map_note){.delta = -0.5, .difference = 2};
    spade_attribution *method, *other;
    assert_int_equal(spade_attribution_create(f->context, "deeplift", &method), SPADE_OK);
    assert_int_equal(spade_attribution_create(f->context, "saliency", &other), SPADE_OK);
    inputs.attribution = other;
    assert_true(isnan(measure(f, "completeness", &inputs))); /* of a method that promises nothing */
    assert_true(isnan(measure(f, "conservation", &inputs)));
    spade_attribution_destroy(other);
    inputs.attribution = method;
    assert_true(measure(f, "completeness", &inputs) == 0.25);
    const double lost = measure(f, "conservation", &inputs);
    assert_true(lost >= 0 && lost < 1e-4);
    inputs.note.difference = 0;
    assert_true(isnan(measure(f, "completeness", &inputs)));
    spade_attribution_destroy(method);
}

/* ---- a trace's agreement */

static void test_agreement(void **state)
{
    const fixture *f = *state;
    spade_metric_inputs inputs = inputs_of(f, 1);
    spade_trace *trace;
    float weights[CLASSES * SIZE];
    double z[2][CLASSES] = {{0}}, sum[2] = {0}, divergence = 0;
    int top[2] = {0};
    assert_int_equal(spade_trace_create_empty(f->context, f->model, &trace), SPADE_OK);
    for (int i = 0; i < CLASSES * SIZE; i++) { weights[i] = i % 3 ? f->weights[i] : 0; }
    assert_int_equal(spade_trace_set_weights(f->context, trace, 0, weights), SPADE_OK);
    for (int n = 0; n < 2; n++) {
        for (int c = 0; c < CLASSES; c++) {
            for (int i = 0; i < SIZE; i++) {
                z[n][c] += (double)(n ? weights : f->weights)[c * SIZE + i] / (1 + exp(-(double)f->x[i]));
            }
            sum[n] += exp(z[n][c]);
            top[n] = z[n][c] > z[n][top[n]] ? c : top[n];
        }
    }
    for (int c = 0; c < CLASSES; c++) {
        divergence += exp(z[0][c]) / sum[0] * (z[0][c] - log(sum[0]) - z[1][c] + log(sum[1]));
    }
    inputs.trace = trace;
    assert_true(measure(f, "class_kept", &inputs) == (top[0] == top[1]));
    near(measure(f, "kl_divergence", &inputs), divergence);
    spade_trace_destroy(trace);
}

/* ---- what is refused */

static void refuse(const fixture *f, const char *text, const spade_metric_inputs *inputs, const char *says)
{
    spade_metric *metric = metric_of(f, text);
    double value;
    assert_int_equal(spade_measure(f->context, metric, inputs, &value), SPADE_ERROR_ARGUMENT);
    if (!strstr(spade_message(f->context), says)) { fail_msg("%s", spade_message(f->context)); }
    spade_metric_destroy(metric);
}

static void test_refused(void **state)
{
    const fixture *f = *state;
    const spade_target outside = {.class_index = CLASSES};
    spade_metric_inputs inputs = inputs_of(f, 1);
    refuse(f, "roc_auc", &inputs, "needs a mask");
    refuse(f, "infidelity", &inputs, "needs the map as it was made, and its method");
    refuse(f, "class_kept", &inputs, "needs a trace");
    inputs.target = &outside;
    refuse(f, "insertion", &inputs, "class 3");
    inputs.target = NULL;
    refuse(f, "insertion", &inputs, "needs a class");
    inputs.input = NULL;
    refuse(f, "deletion", &inputs, "needs the network and its input");
    inputs = inputs_of(f, 1);
    inputs.width--;
    refuse(f, "road_most", &inputs, "10 x 7");
    inputs = inputs_of(f, 1);
    spade_metric_inputs other = inputs_of(f, 2);
    const float copy[SIZE] = {0};
    other.input = copy;
    const spade_metric_inputs *both[2] = {&inputs, &other};
    spade_metric *metric = metric_of(f, "insertion");
    double values[2];
    assert_int_equal(spade_measure_together(f->context, metric, both, 2, values), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(spade_message(f->context), "different pictures"));
    spade_metric_destroy(metric);
    metric = metric_of(f, "gini");
    assert_int_equal(spade_metric_curve_length(metric, HEIGHT, WIDTH), 0);
    assert_int_equal(spade_measure_curve(f->context, metric, &inputs, values), SPADE_ERROR_ARGUMENT);
    spade_metric_destroy(metric);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_insertion),   cmocka_unit_test(test_road),
                                       cmocka_unit_test(test_infidelity),  cmocka_unit_test(test_exact_maps),
                                       cmocka_unit_test(test_sensitivity), cmocka_unit_test(test_promises),
                                       cmocka_unit_test(test_agreement),   cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
