/* Augmentation: what is drawn and from what, that a variant is independent of its company, each operation against plain
 * formulas. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/context.h"
#include "augment/batch.h"

enum { HEIGHT = 30, WIDTH = 41, SIDE = 16, SIZE = 3 * SIDE * SIDE };

typedef struct fixture {
    spade_context *context;
    spade_picture picture;
    spade_preprocess preprocess;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->context = test_context("cpu", 2);
    f->picture = (spade_picture){.height = HEIGHT, .width = WIDTH, .rgb = malloc(HEIGHT * WIDTH * 3)};
    uint32_t seed = 7;
    for (int i = 0; i < HEIGHT * WIDTH * 3; i++) {
        seed = seed * 1664525u + 1013904223u;
        f->picture.rgb[i] = (uint8_t)(seed >> 24);
    }
    spade_preprocess_init(&f->preprocess, SIDE, SIDE);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    spade_picture_clear(&f->picture);
    spade_context_destroy(f->context);
    free(f);
    return 0;
}

/* The variant that changes nothing but the size. */
static spade_variant plain(void)
{
    return (spade_variant){.height = HEIGHT, .width = WIDTH, .brightness = 1.0, .contrast = 1.0, .saturation = 1.0};
}

static void everything_on(spade_augment_options *options)
{
    spade_augment_options_init(options);
    options->variants = 40;
    options->contrast = 0.4;
    options->saturation = 0.6;
    options->erase = 0.5;
    options->noise = 0.1;
}

static void draws_are_in_range(void **state)
{
    fixture *f = *state;
    enum { COUNT = 4000 };
    spade_augment_options options;
    everything_on(&options);
    spade_variant *v = malloc(COUNT * sizeof *v);
    assert_int_equal(spade_augment_draw(f->context, &options, &f->picture, SIDE, SIDE, 0, COUNT, v), SPADE_OK);
    double flips = 0, erased = 0, brightness = 0, area = 0;
    for (int i = 0; i < COUNT; i++) {
        assert_true(v[i].height >= 1 && v[i].width >= 1 && v[i].top >= 0 && v[i].left >= 0);
        assert_true(v[i].top + v[i].height <= HEIGHT && v[i].left + v[i].width <= WIDTH);
        assert_true(v[i].brightness >= 0.5 && v[i].brightness < 1.5);
        assert_true(v[i].hue >= -0.3 && v[i].hue < 0.3);
        assert_true(v[i].erase[0] + v[i].erase[2] <= SIDE && v[i].erase[1] + v[i].erase[3] <= SIDE);
        flips += v[i].flip;
        erased += v[i].erase[2] > 0;
        brightness += v[i].brightness;
        area += (double)(v[i].height * v[i].width) / (HEIGHT * WIDTH);
    }
    assert_true(fabs(flips / COUNT - 0.5) < 0.04);
    assert_true(fabs(erased / COUNT - 0.5) < 0.04);
    assert_true(fabs(brightness / COUNT - 1.0) < 0.02);
    assert_true(area / COUNT > 0.45 && area / COUNT < 0.65);
    free(v);
}

/* Field by field: what lies between them is nobody's. */
static void expect_same_variant(const spade_variant *a, const spade_variant *b)
{
    assert_true(a->top == b->top && a->left == b->left && a->height == b->height && a->width == b->width);
    assert_true(a->flip == b->flip && a->brightness == b->brightness && a->contrast == b->contrast);
    assert_true(a->saturation == b->saturation && a->hue == b->hue && a->noise == b->noise);
    assert_memory_equal(a->erase, b->erase, sizeof a->erase);
    assert_memory_equal(a->noise_key, b->noise_key, sizeof a->noise_key);
}

static void draws_depend_on_content_and_seed_only(void **state)
{
    fixture *f = *state;
    spade_augment_options options, other;
    spade_variant all[40], some[5], changed[40];
    everything_on(&options);
    assert_int_equal(spade_augment_draw(f->context, &options, &f->picture, SIDE, SIDE, 0, 40, all), SPADE_OK);
    options.variants = 7;
    assert_int_equal(spade_augment_draw(f->context, &options, &f->picture, SIDE, SIDE, 20, 5, some), SPADE_OK);
    for (int i = 0; i < 5; i++) { expect_same_variant(&some[i], &all[20 + i]); }
    other = options;
    other.brightness = 0.0; /* other parameters stay */
    assert_int_equal(spade_augment_draw(f->context, &other, &f->picture, SIDE, SIDE, 0, 40, changed), SPADE_OK);
    for (int i = 0; i < 40; i++) {
        assert_true(changed[i].brightness == 1.0 && changed[i].hue == all[i].hue && changed[i].left == all[i].left);
    }
    other = options;
    other.seed = 1;
    assert_int_equal(spade_augment_draw(f->context, &other, &f->picture, SIDE, SIDE, 0, 40, changed), SPADE_OK);
    assert_memory_not_equal(changed, all, sizeof all);
    f->picture.rgb[100] ^= 1;
    assert_int_equal(spade_augment_draw(f->context, &options, &f->picture, SIDE, SIDE, 0, 40, changed), SPADE_OK);
    f->picture.rgb[100] ^= 1;
    assert_memory_not_equal(changed, all, sizeof all);
}

static void crop_falls_back_to_the_centre(void **state)
{
    fixture *f = *state;
    spade_augment_options options;
    spade_variant v[3];
    spade_augment_options_init(&options);
    options.aspect[0] = options.aspect[1] = 4.0; /* never fits at full area */
    options.area[0] = options.area[1] = 1.0;
    assert_int_equal(spade_augment_draw(f->context, &options, &f->picture, SIDE, SIDE, 0, 3, v), SPADE_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(v[i].width, WIDTH);
        assert_int_equal(v[i].height, 10); /* round(41 / 4) */
        assert_int_equal(v[i].top, 10);
        assert_int_equal(v[i].left, 0);
    }
}

static void options_are_checked(void **state)
{
    fixture *f = *state;
    spade_variant v;
    for (int i = 0; i < 8; i++) {
        spade_augment_options o;
        spade_augment_options_init(&o);
        switch (i) {
        case 0: o.variants = 0; break;
        case 1: o.area[1] = 1.5; break;
        case 2: o.area[0] = 0.9, o.area[1] = 0.2; break;
        case 3: o.aspect[0] = NAN; break;
        case 4: o.flip = -0.1; break;
        case 5: o.brightness = INFINITY; break;
        case 6: o.hue = 0.6; break;
        case 7: o.noise = NAN; break;
        }
        assert_int_equal(spade_augment_draw(f->context, &o, &f->picture, SIDE, SIDE, 0, 1, &v), SPADE_ERROR_ARGUMENT);
        spade_batch *batch;
        assert_int_equal(spade_batch_from_picture(f->context, &f->picture, &f->preprocess, &o, &batch),
                         SPADE_ERROR_ARGUMENT);
        assert_null(batch);
    }
    float out[SIZE];
    spade_variant outside = plain();
    outside.top = 1;
    assert_int_equal(spade_augment_apply(f->context, &f->preprocess, &f->picture, &outside, 1, out),
                     SPADE_ERROR_ARGUMENT);
    outside = plain();
    outside.erase[2] = SIDE + 1;
    assert_int_equal(spade_augment_apply(f->context, &f->preprocess, &f->picture, &outside, 1, out),
                     SPADE_ERROR_ARGUMENT);
}

/* Reading variants one by one, in pieces, with other numbers of threads, channels last: the same bits. */
static void variants_do_not_depend_on_their_company(void **state)
{
    fixture *f = *state;
    spade_augment_options options;
    everything_on(&options);
    float *all = malloc(40 * SIZE * sizeof *all), *part = malloc(40 * SIZE * sizeof *part);
    for (int threads = 1; threads <= 5; threads += 2) {
        spade_context *context = test_context("cpu", threads);
        spade_batch *batch;
        int64_t dims[4];
        assert_int_equal(spade_batch_from_picture(context, &f->picture, &f->preprocess, &options, &batch), SPADE_OK);
        spade_batch_shape(batch, dims);
        assert_true(dims[0] == 40 && dims[1] == 3 && dims[2] == SIDE && dims[3] == SIDE);
        if (threads == 1) { assert_int_equal(spade_batch_read(context, batch, 0, 40, all), SPADE_OK); }
        for (int64_t first = 0; first < 40; first += 7) {
            int64_t count = first + 7 <= 40 ? 7 : 40 - first;
            assert_int_equal(spade_batch_read(context, batch, first, count, part), SPADE_OK);
            assert_memory_equal(part, all + first * SIZE, (size_t)(count * SIZE) * sizeof *part);
        }
        assert_int_equal(spade_batch_read_device(context, batch, 3, 2, SPADE_CHANNELS_LAST, part), SPADE_OK);
        for (int i = 0; i < 2 * SIZE; i++) {
            int variant = i / SIZE, pixel = i % SIZE / 3, channel = i % 3;
            assert_true(part[i] == all[(3 + variant) * SIZE + channel * SIDE * SIDE + pixel]);
        }
        assert_int_equal(spade_batch_read(context, batch, 39, 2, part), SPADE_ERROR_ARGUMENT);
        assert_int_equal(spade_batch_read(context, batch, -1, 1, part), SPADE_ERROR_ARGUMENT);
        spade_batch_destroy(batch);
        spade_context_destroy(context);
    }
    free(all);
    free(part);
}

static void ready_batches_pass_through(void **state)
{
    fixture *f = *state;
    float data[3 * 2 * 4 * 5], out[3 * 2 * 4 * 5];
    spade_batch *batch;
    for (int i = 0; i < 120; i++) { data[i] = (float)i; }
    assert_int_equal(spade_batch_from_array(f->context, data, 3, 2, 4, 5, &batch), SPADE_OK);
    assert_int_equal(spade_batch_read(f->context, batch, 1, 2, out), SPADE_OK);
    assert_memory_equal(out, data + 40, 80 * sizeof *out);
    assert_int_equal(spade_batch_read_device(f->context, batch, 1, 1, SPADE_CHANNELS_LAST, out), SPADE_OK);
    for (int i = 0; i < 40; i++) { assert_true(out[i] == data[40 + i % 2 * 20 + i / 2]); }
    spade_batch_destroy(batch);
    assert_int_equal(spade_batch_from_array(f->context, data, 0, 2, 4, 5, &batch), SPADE_ERROR_ARGUMENT);
    assert_null(batch);
}

/* A ready input as a picture: the whole of it, unchanged, gives the input back. */
static void tensor_is_kept_in_float(void **state)
{
    fixture *f = *state;
    float input[SIZE], out[SIZE];
    spade_augment_options options;
    spade_batch *batch;
    spade_augment_options_init(&options);
    options.area[0] = options.area[1] = options.aspect[0] = options.aspect[1] = 1.0;
    options.flip = options.brightness = options.hue = 0.0;
    options.variants = 2;
    for (int i = 0; i < SIZE; i++) { input[i] = (float)((i * 37 % 1000) / 1000.0 - 0.45) * 3.0f; }
    assert_int_equal(spade_batch_from_tensor(f->context, input, &f->preprocess, &options, &batch), SPADE_OK);
    assert_int_equal(spade_batch_read(f->context, batch, 1, 1, out), SPADE_OK);
    for (int i = 0; i < SIZE; i++) { assert_true(fabsf(out[i] - input[i]) < 1e-5f); }
    spade_batch_destroy(batch);
}

static void apply_one(fixture *f, const spade_variant *v, float *out)
{
    if (spade_augment_apply(f->context, &f->preprocess, &f->picture, v, 1, out) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
}

/* One colour operation at a time on unnormalised results. */
static void operations_as_defined(void **state)
{
    fixture *f = *state;
    float base[SIZE], out[SIZE];
    spade_variant v = plain();
    for (int c = 0; c < 3; c++) { f->preprocess.mean[c] = 0.0, f->preprocess.std[c] = 1.0; }
    apply_one(f, &v, base);
    v = plain(), v.flip = 1;
    apply_one(f, &v, out);
    for (int i = 0; i < SIZE; i++) { assert_true(out[i] == base[i / SIDE * SIDE + SIDE - 1 - i % SIDE]); }
    v = plain(), v.brightness = 1.4;
    apply_one(f, &v, out);
    for (int i = 0; i < SIZE; i++) { assert_true(fabs(out[i] - fmin(1.0, 1.4 * base[i])) < 1e-6); }
    enum { PIXELS = SIDE * SIDE };
    double grey[PIXELS], mean = 0.0;
    for (int i = 0; i < PIXELS; i++) {
        grey[i] = 0.299 * base[i] + 0.587 * base[PIXELS + i] + 0.114 * base[2 * PIXELS + i];
        mean += grey[i] / PIXELS;
    }
    v = plain(), v.contrast = 0.3;
    apply_one(f, &v, out);
    for (int i = 0; i < SIZE; i++) { assert_true(fabs(out[i] - (0.3 * base[i] + 0.7 * mean)) < 1e-5); }
    v = plain(), v.saturation = 0.0;
    apply_one(f, &v, out);
    for (int i = 0; i < SIZE; i++) { assert_true(fabs(out[i] - grey[i % PIXELS]) < 1e-5); }
    v = plain(), v.hue = 1.0 / 3.0; /* red becomes green becomes blue becomes red */
    apply_one(f, &v, out);
    for (int i = 0; i < SIZE; i++) { assert_true(fabsf(out[(i + PIXELS) % SIZE] - base[i]) < 1e-5f); }
    v = plain(), v.erase[0] = 2, v.erase[1] = 3, v.erase[2] = 4, v.erase[3] = 5;
    apply_one(f, &v, out);
    for (int i = 0; i < SIZE; i++) {
        int y = i / SIDE % SIDE, x = i % SIDE;
        assert_true(out[i] == (y >= 2 && y < 6 && x >= 3 && x < 8 ? 0.0f : base[i]));
    }
    spade_preprocess_init(&f->preprocess, SIDE, SIDE);
}

static void noise_is_gaussian(void **state)
{
    fixture *f = *state;
    float base[SIZE], out[SIZE];
    double sum = 0.0, squares = 0.0;
    spade_variant v = plain();
    apply_one(f, &v, base);
    v.noise = 0.5;
    for (uint32_t k = 0; k < 40; k++) {
        v.noise_key[0] = 11, v.noise_key[2] = k;
        apply_one(f, &v, out);
        for (int i = 0; i < SIZE; i++) {
            double z = ((double)out[i] - (double)base[i]) / 0.5;
            sum += z;
            squares += z * z;
        }
    }
    assert_true(fabs(sum / (40 * SIZE)) < 0.02);
    assert_true(fabs(squares / (40 * SIZE) - 1.0) < 0.03);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_in_range),
        cmocka_unit_test(draws_depend_on_content_and_seed_only),
        cmocka_unit_test(crop_falls_back_to_the_centre),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(variants_do_not_depend_on_their_company),
        cmocka_unit_test(ready_batches_pass_through),
        cmocka_unit_test(tensor_is_kept_in_float),
        cmocka_unit_test(operations_as_defined),
        cmocka_unit_test(noise_is_gaussian),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
