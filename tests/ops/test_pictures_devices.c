/*
 * test_pictures_devices.c - resized windows, floats of bytes and overlays on every backend present, byte by byte
 * against plain loops: enlarged and reduced pictures, windows inside, across and outside of them, single pixels, both
 * kinds of maps, factors from 1 up.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/filter.h"
#include "support/devices.h"
#include "support/random.h"

static const char *const devices[] = {"cpu", "cuda"};
enum { DEVICES = sizeof devices / sizeof *devices, ROUNDS = 40, LEVELS = SPADE_HEATMAP_LEVELS };

static uint8_t *draw_bytes(random_stream *random, int64_t n)
{
    uint8_t *bytes = make((size_t)n);
    for (int64_t i = 0; i < n; i++) { bytes[i] = (uint8_t)random_int(random, 0, 255); }
    return bytes;
}

/* What the device has must be these bytes; its memory is given back. */
static void expect(spade_context *context, const char *what, int round, void *there, const void *expected, size_t bytes)
{
    const spade_backend *backend = context->device->backend;
    uint8_t *got = make(bytes);
    ok(context, backend->download(context->device, got, there, bytes));
    ok(context, backend->synchronize(context->device));
    for (size_t i = 0; i < bytes; i++) {
        if (got[i] != ((const uint8_t *)expected)[i]) {
            fail_msg("%s, %s, round %d: byte %zu of %zu is %d, should be %d", context->device->backend->name, what,
                     round, i, bytes, got[i], ((const uint8_t *)expected)[i]);
        }
    }
    backend->free(context->device, there, bytes);
    free(got);
}

static void release(spade_context *context, void *there, size_t bytes)
{
    context->device->backend->free(context->device, there, bytes);
}

/* ---- resample */

static uint8_t clip8(int64_t sum)
{
    sum >>= 22;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* in [lines, in samples, step] -> out [lines, out samples, step], along the middle axis, in Pillow's fixed point. */
static void resize_axis(spade_resample kind, int64_t lines, int64_t in, int64_t out, int64_t step, const uint8_t *from,
                        uint8_t *to)
{
    void *memory = make(spade_filter_bytes(kind, in, out));
    spade_filter filter;
    spade_filter_init(kind, in, out, memory, &filter);
    for (int64_t line = 0; line < lines; line++) {
        for (int64_t i = 0; i < out; i++) {
            for (int64_t s = 0; s < step; s++) {
                int64_t sum = 1 << 21;
                for (int32_t k = 0; k < filter.count[i]; k++) {
                    int64_t weight = llround(filter.weight[i * filter.taps + k] * (1 << 22)); /* halves away from 0 */
                    sum += weight * from[(line * in + filter.first[i] + k) * step + s];
                }
                to[(line * out + i) * step + s] = clip8(sum);
            }
        }
    }
    free(memory);
}

static void expected_window(const spade_resample_args *a, const uint8_t *picture, uint8_t *rgb, float *normalised)
{
    uint8_t *middle = make((size_t)(a->picture_height * a->full_width * 3));
    uint8_t *whole = make((size_t)(a->full_height * a->full_width * 3));
    resize_axis(a->kind, a->picture_height, a->picture_width, a->full_width, 3, picture, middle);
    resize_axis(a->kind, 1, a->picture_height, a->full_height, a->full_width * 3, middle, whole);
    for (int64_t i = 0; i < a->height * a->width; i++) {
        int64_t y = i / a->width + a->top, x = i % a->width + a->left;
        bool inside = y >= 0 && y < a->full_height && x >= 0 && x < a->full_width;
        for (int c = 0; c < 3; c++) {
            rgb[3 * i + c] = inside ? whole[(y * a->full_width + x) * 3 + c] : 0;
            if (c >= a->channels) { continue; }
            normalised[a->plane[c] * a->height * a->width + i] =
                ((float)rgb[3 * i + c] / 255.0f - a->mean[c]) / a->std[c];
        }
    }
    free(middle);
    free(whole);
}

static spade_resample_args draw_window(random_stream *random, int round)
{
    int64_t most = round % 5 ? 60 : 300;
    spade_resample_args a = {.picture_height = random_int(random, 1, most),
                             .picture_width = random_int(random, 1, most)};
    a.full_height = random_unit(random) < 0.2 ? a.picture_height : random_int(random, 1, 70);
    a.full_width = random_unit(random) < 0.2 ? a.picture_width : random_int(random, 1, 70);
    a.height = random_int(random, 1, 50);
    a.width = random_int(random, 1, 50);
    a.top = random_int(random, -a.height - 2, a.full_height + 2); /* now and then nothing of the picture is seen */
    a.left = random_int(random, -a.width / 2, a.full_width - 1);
    a.kind = round % 2 ? SPADE_RESAMPLE_BICUBIC : SPADE_RESAMPLE_BILINEAR;
    a.channels = round % 7 == 3 ? 1 : 3;
    for (int c = 0; c < 3; c++) { a.plane[c] = a.channels == 1 ? 0 : round % 3 ? c : 2 - c; }
    for (int c = 0; c < 3; c++) {
        a.mean[c] = (float)random_unit(random), a.std[c] = 0.1f + (float)random_unit(random);
    }
    return a;
}

static void test_resample(void **state)
{
    (void)state;
    for (int d = 0; d <= DEVICES; d++) { /* the CPU with one thread and with three */
        spade_context *context = open_device(devices[d % DEVICES], d ? 1 : 3, 0);
        random_stream random = {.key = 2718};
        for (int round = 0; context && round < ROUNDS; round++) {
            spade_resample_args a = draw_window(&random, round);
            size_t of_picture = (size_t)(a.picture_height * a.picture_width * 3);
            size_t of_rgb = (size_t)(a.height * a.width * 3),
                   of_floats = of_rgb / 3 * (size_t)a.channels * sizeof(float);
            uint8_t *picture = draw_bytes(&random, (int64_t)of_picture), *rgb = make(of_rgb);
            float *floats = make(of_floats);
            expected_window(&a, picture, rgb, floats);
            void *there = to_device(context, picture, of_picture), *to = to_device(context, NULL, of_rgb);
            void *normalised = round % 4 ? to_device(context, NULL, of_floats) : NULL;
            a.picture = there;
            a.rgb = to;
            a.normalised = normalised;
            ok(context, context->device->backend->picture->resample(context->device, &a));
            expect(context, "a window", round, to, rgb, of_rgb);
            if (normalised) { expect(context, "a normalised window", round, normalised, floats, of_floats); }
            release(context, there, of_picture);
            free(picture);
            free(rgb);
            free(floats);
        }
        if (context) { assert_int_equal(context->used, context->device->own_bytes); }
        spade_context_destroy(context);
    }
}

static void test_floats(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 3, 4, 255, 256, 1024, 40001};
    for (int d = 0; d < DEVICES; d++) {
        spade_context *context = open_device(devices[d], 0, 0);
        random_stream random = {.key = 2719};
        for (int i = 0; context && i < (int)(sizeof sizes / sizeof *sizes); i++) {
            size_t n = (size_t)sizes[i];
            uint8_t *bytes = draw_bytes(&random, sizes[i]);
            float *floats = make(n * sizeof *floats);
            for (size_t k = 0; k < n; k++) { floats[k] = (float)bytes[k] / 255.0f; }
            void *there = to_device(context, bytes, n), *to = to_device(context, NULL, n * sizeof *floats);
            ok(context, context->device->backend->picture->to_floats(context->device, sizes[i], there, to));
            expect(context, "floats", i, to, floats, n * sizeof *floats);
            release(context, there, n);
            free(bytes);
            free(floats);
        }
        spade_context_destroy(context);
    }
}

/* ---- overlays */

static double spline_weight(spade_spline s, double x)
{
    double b = s.b, c = s.c;
    x = fabs(x);
    if (x < 1.0) { return ((12 - 9 * b - 6 * c) * x * x * x + (-18 + 12 * b + 6 * c) * x * x + 6 - 2 * b) / 6; }
    if (x >= 2.0) { return 0.0; }
    return ((-b - 6 * c) * x * x * x + (6 * b + 30 * c) * x * x + (-12 * b - 48 * c) * x + 8 * b + 24 * c) / 6;
}

/* Output i of a line of n samples, `step` apart. */
static float enlarged(spade_spline s, int64_t factor, const float *line, int64_t n, int64_t step, int64_t i)
{
    double at = ((double)i + 0.5) / (double)factor - 0.5, sum = 0;
    for (int64_t k = (int64_t)floor(at) - 1; k <= (int64_t)floor(at) + 2; k++) {
        int64_t sample = k < 0 ? 0 : k >= n ? n - 1 : k;
        sum += spline_weight(s, at - (double)k) * (double)line[sample * step];
    }
    return (float)sum;
}

/* plane [height, width] -> a new one [height * factor, width * factor], in place of it */
static float *enlarge(spade_spline s, const spade_heatmap_args *a, float *plane)
{
    int64_t wide = a->width * a->factor, high = a->height * a->factor;
    if (a->factor == 1) { return plane; }
    float *middle = make((size_t)(a->height * wide) * sizeof(float)),
          *out = make((size_t)(high * wide) * sizeof(float));
    for (int64_t i = 0; i < a->height * wide; i++) {
        middle[i] = enlarged(s, a->factor, plane + i / wide * a->width, a->width, 1, i % wide);
    }
    for (int64_t i = 0; i < high * wide; i++) {
        out[i] = enlarged(s, a->factor, middle + i % wide, a->height, wide, i / wide);
    }
    free(middle);
    free(plane);
    return out;
}

static void expected_overlay(const spade_heatmap_args *a, const uint8_t *picture, const float *map, const float *tables,
                             uint8_t *rgb)
{
    int64_t pixels = a->height * a->width, large = pixels * a->factor * a->factor;
    float *heat = make((size_t)pixels * sizeof *heat);
    for (int64_t i = 0; i < pixels; i++) {
        double value = a->scale > 0 ? map[i] / a->scale : 0;
        heat[i] = (float)fmin(1, fmax(a->is_signed ? -1 : 0, value));
    }
    heat = enlarge((spade_spline){1, 0}, a, heat);
    for (int c = 0; c < 3; c++) {
        float *base = make((size_t)pixels * sizeof *base);
        for (int64_t i = 0; i < pixels; i++) {
            const uint8_t *p = picture + 3 * i;
            float luma = 0.299f * p[0] + 0.587f * p[1] + 0.114f * p[2];
            base[i] = 0.06f + 0.62f * (0.8f * luma + 0.2f * p[c]) / 255.0f;
        }
        base = enlarge((spade_spline){0, 0.5}, a, base);
        for (int64_t i = 0; i < large; i++) {
            float level = fminf(fabsf(heat[i]) * (LEVELS - 1), LEVELS - 1);
            const float *entry = tables + ((heat[i] < 0 ? LEVELS : 0) + (int)(level + 0.5f)) * 4;
            float value = entry[c] + entry[3] * fminf(1, fmaxf(0, base[i]));
            rgb[3 * i + c] = (uint8_t)(fminf(value, 1) * 255.0f + 0.5f);
        }
        free(base);
    }
    free(heat);
}

static void test_overlay(void **state)
{
    (void)state;
    for (int d = 0; d <= DEVICES; d++) {
        spade_context *context = open_device(devices[d % DEVICES], d ? 1 : 3, 0);
        random_stream random = {.key = 2720};
        float tables[2 * LEVELS * 4];
        for (int i = 0; i < 2 * LEVELS * 4; i++) { tables[i] = (float)(0.6 * random_unit(&random)); }
        for (int round = 0; context && round < ROUNDS; round++) {
            spade_heatmap_args a = {.height = random_int(&random, 1, 24), .width = random_int(&random, 1, 24)};
            a.factor = random_int(&random, 1, 5);
            a.is_signed = round % 2;
            a.scale = round % 9 == 8 ? 0 : 0.2 + random_unit(&random);
            size_t pixels = (size_t)(a.height * a.width), of_result = pixels * (size_t)(a.factor * a.factor) * 3;
            uint8_t *picture = draw_bytes(&random, (int64_t)pixels * 3), *rgb = make(of_result);
            float *map = make(pixels * sizeof *map);
            for (size_t i = 0; i < pixels; i++) { map[i] = (float)(3 * random_unit(&random) - 1.5); }
            expected_overlay(&a, picture, map, tables, rgb);
            void *of_picture = to_device(context, picture, pixels * 3), *to = to_device(context, NULL, of_result);
            void *of_map = to_device(context, map, pixels * sizeof *map);
            void *of_tables = to_device(context, tables, sizeof tables);
            a.picture = of_picture, a.map = of_map, a.tables = of_tables, a.rgb = to;
            ok(context, context->device->backend->picture->heatmap(context->device, &a));
            expect(context, "an overlay", round, to, rgb, of_result);
            release(context, of_picture, pixels * 3);
            release(context, of_map, pixels * sizeof *map);
            release(context, of_tables, sizeof tables);
            free(picture);
            free(rgb);
            free(map);
        }
        if (context) { assert_int_equal(context->used, context->device->own_bytes); }
        spade_context_destroy(context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resample),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_overlay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
