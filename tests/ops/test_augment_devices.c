/*
 * test_augment_devices.c - variants of pictures on every backend present against the CPU's: random pictures, crops,
 * colours, erased boxes and noise; enlarged, reduced and single pixels; both layouts; more variants than one launch
 * takes.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "augment/batch.h"
#include "support/devices.h"
#include "support/random.h"

enum { VARIANTS = 53, ROUNDS = 8 };

typedef struct setting {
    int64_t height, width; /* of the picture */
    bool contrast, noise;
    spade_preprocess preprocess;
    float *picture;
    spade_variant variants[VARIANTS];
} setting;

static spade_variant draw_variant(random_stream *r, const setting *s)
{
    const spade_preprocess *p = &s->preprocess;
    spade_variant v = {.height = random_int(r, 1, s->height), .width = random_int(r, 1, s->width)};
    v.top = random_int(r, 0, s->height - v.height);
    v.left = random_int(r, 0, s->width - v.width);
    v.flip = random_unit(r) < 0.5;
    v.brightness = random_unit(r) < 0.2 ? 1.0 : 0.5 + random_unit(r);
    v.contrast = s->contrast && random_unit(r) < 0.7 ? 0.5 + random_unit(r) : 1.0;
    v.saturation = random_unit(r) < 0.3 ? 1.0 : 2 * random_unit(r);
    v.hue = random_unit(r) < 0.2 ? 0.0 : random_unit(r) - 0.5;
    if (random_unit(r) < 0.5) {
        v.erase[2] = random_int(r, 0, p->height), v.erase[3] = random_int(r, 0, p->width);
        v.erase[0] = random_int(r, 0, p->height - v.erase[2]), v.erase[1] = random_int(r, 0, p->width - v.erase[3]);
    }
    v.noise = s->noise && random_unit(r) < 0.7 ? 0.2 * random_unit(r) : 0.0;
    for (int i = 0; i < 4; i++) { v.noise_key[i] = (uint32_t)(random_unit(r) * 4294967296.0); }
    return v;
}

/* Pictures of random pixels, each fourth of them grey: there hue has nothing to hold on to. */
static void draw_setting(random_stream *r, int round, setting *out)
{
    *out = (setting){.height = random_int(r, 1, 70), .width = random_int(r, 1, 70)};
    out->contrast = round % 2;
    out->noise = round / 2 % 2;
    spade_preprocess_init(&out->preprocess, random_int(r, 1, 30), random_int(r, 1, 30));
    int64_t pixels = out->height * out->width;
    out->picture = malloc((size_t)(3 * pixels) * sizeof *out->picture);
    assert_non_null(out->picture);
    for (int64_t i = 0; i < pixels; i++) {
        bool grey = i % 4 == 0;
        for (int c = 0; c < 3; c++) {
            out->picture[3 * i + c] = grey && c ? out->picture[3 * i] : (float)random_int(r, 0, 255) / 255.0f;
        }
    }
    for (int i = 0; i < VARIANTS; i++) { out->variants[i] = draw_variant(r, out); }
}

/* The variants on a device, the result's channels from `first` on of `channels`; host row-major: out [VARIANTS, 3, height,
 * width]. The other channels stay as they were. */
static void make_variants(spade_context *context, const setting *s, spade_layout layout, int64_t first,
                          int64_t channels, float *out)
{
    const spade_backend *backend = context->device->backend;
    int64_t pixels = s->preprocess.height * s->preprocess.width;
    size_t of_picture = (size_t)(3 * s->height * s->width) * sizeof(float);
    size_t of_result = (size_t)(VARIANTS * channels * pixels) * sizeof(float);
    void *picture, *result;
    float *ordered = malloc(of_result);
    assert_non_null(ordered);
    for (size_t i = 0; i < of_result / sizeof *ordered; i++) { ordered[i] = NAN; }
    assert_int_equal(backend->alloc(context->device, of_picture, "a picture", &picture), SPADE_OK);
    assert_int_equal(backend->alloc(context->device, of_result, "variants", &result), SPADE_OK);
    assert_int_equal(backend->upload(context->device, picture, s->picture, of_picture), SPADE_OK);
    assert_int_equal(backend->upload(context->device, result, ordered, of_result), SPADE_OK);
    const spade_augment_target to = {.out = result, .layout = layout, .first = first, .channels = channels};
    spade_status status = backend->picture->augment(context->device, picture, s->height, s->width, &s->preprocess,
                                                    s->variants, VARIANTS, &to);
    if (status != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    assert_int_equal(backend->download(context->device, ordered, result, of_result), SPADE_OK);
    assert_int_equal(backend->synchronize(context->device), SPADE_OK);
    for (int64_t i = 0; i < VARIANTS * channels * pixels; i++) {
        const int64_t v = i / (channels * pixels), c = i / pixels % channels, p = i % pixels;
        const float value = ordered[layout == SPADE_CHANNELS_LAST ? (v * pixels + p) * channels + c : i];
        if (c >= first && c < first + 3) {
            out[(v * 3 + c - first) * pixels + p] = value;
        } else {
            assert_true(isnan(value));
        }
    }
    backend->free(context->device, picture, of_picture);
    backend->free(context->device, result, of_result);
    free(ordered);
}

static void test_against_cpu(void **state)
{
    (void)state;
    spade_context *cpu = open_device("cpu", 0, 0), *cuda = open_device("cuda", 0, 0);
    random_stream random = {.key = 4711};
    double worst = 0;
    int64_t all = 0, other = 0; /* values, values with other bits */
    for (int round = 0; cuda && round < ROUNDS; round++) {
        setting s;
        draw_setting(&random, round, &s);
        size_t size = (size_t)(VARIANTS * 3 * s.preprocess.height * s.preprocess.width);
        float *expected = malloc(size * sizeof *expected), *got = malloc(size * sizeof *got);
        assert_true(expected && got);
        make_variants(cpu, &s, SPADE_ROW_MAJOR, 0, 3, expected);
        for (int layout = 0; layout < 2; layout++) {
            make_variants(cuda, &s, layout ? SPADE_CHANNELS_LAST : SPADE_ROW_MAJOR, round % 3,
                          round % 3 + 3 + round % 2, got);
            for (size_t i = 0; i < size; i++) {
                double error = fabs((double)got[i] - (double)expected[i]);
                if (!(error <= 2e-6 * fmax(1.0, fabs((double)expected[i])))) {
                    fail_msg("round %d, layout %d, value %zu: %.9g on the CPU, %.9g", round, layout, i,
                             (double)expected[i], (double)got[i]);
                }
                worst = error > worst ? error : worst;
                other += got[i] != expected[i];
                all++;
            }
        }
        free(expected);
        free(got);
        free(s.picture);
    }
    if (cuda) { printf("%ld of %ld values have other bits, at most %.2g apart\n", (long)other, (long)all, worst); }
    if (cuda) { assert_int_equal(cuda->used, cuda->device->own_bytes); }
    spade_context_destroy(cuda);
    spade_context_destroy(cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_cpu)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
