/*
 * draw.c - parameters of the variants of a picture, from Philox, in double.
 *
 * Key: 64 bits, seed and content hash mixed (mix64 of the hash, plus the seed, mixed again). Counter: variant (low,
 * high), draw, tag (0 here, 1 for the noise). Every parameter has a draw of its own, so changing one option leaves the
 * other parameters alone.
 */
#include <math.h>

#include "augment/batch.h"
#include "base/caller_options.h"

enum { TRIES = 10 };
enum {
    DRAW_FLIP,
    DRAW_BRIGHTNESS,
    DRAW_CONTRAST,
    DRAW_SATURATION,
    DRAW_HUE,
    DRAW_ERASE,
    DRAW_CROP = 16,
    DRAW_ERASE_BOX = 64
};

static const spade_augment_options default_options = {.variants = 1024,
                                                      .area = {0.2, 1.0},
                                                      .aspect = {3.0 / 4.0, 4.0 / 3.0},
                                                      .flip = 0.5,
                                                      .brightness = 0.5,
                                                      .hue = 0.3,
                                                      .erase_area = {0.02, 0.33},
                                                      .erase_aspect = {0.3, 3.3}};

void spade_augment_options_init_sized(spade_augment_options *options, size_t size)
{
    spade_caller_options_init(options, size, &default_options, sizeof default_options);
}

static spade_status check_value(spade_context *context, const char *name, double value, double min, double max)
{
    if (value >= min && value <= max) { return SPADE_OK; } /* NaN fails */
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "augmentation: %s is %g, must be %g to %g", name, value, min, max);
}

static spade_status check_range(spade_context *context, const char *name, const double range[2], double min, double max)
{
    if (range[0] >= min && range[0] <= range[1] && range[1] <= max) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "augmentation: %s is %g to %g, must be a range within %g to %g",
                      name, range[0], range[1], min, max);
}

spade_status spade_augment_take_options(spade_context *context, const spade_augment_options *given,
                                        spade_augment_options *o)
{
    *o = default_options;
    SPADE_TRY(spade_caller_options_take(context, "spade_augment_options", given, o, sizeof *o));
    if (o->variants < 1 || o->variants > SPADE_MAX_VARIANTS) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "augmentation: %lld variants, must be 1 to %d",
                          (long long)o->variants, SPADE_MAX_VARIANTS);
    }
    SPADE_TRY(check_range(context, "area", o->area, SPADE_MIN_AREA, 1.0));
    SPADE_TRY(check_range(context, "aspect", o->aspect, SPADE_MIN_ASPECT, SPADE_MAX_ASPECT));
    SPADE_TRY(check_value(context, "flip", o->flip, 0.0, 1.0));
    SPADE_TRY(check_value(context, "brightness", o->brightness, 0.0, 1.0));
    SPADE_TRY(check_value(context, "contrast", o->contrast, 0.0, 1.0));
    SPADE_TRY(check_value(context, "saturation", o->saturation, 0.0, 1.0));
    SPADE_TRY(check_value(context, "hue", o->hue, 0.0, SPADE_MAX_HUE));
    SPADE_TRY(check_value(context, "erase", o->erase, 0.0, 1.0));
    SPADE_TRY(check_range(context, "erase_area", o->erase_area, SPADE_MIN_AREA, 1.0));
    SPADE_TRY(check_range(context, "erase_aspect", o->erase_aspect, SPADE_MIN_ASPECT, SPADE_MAX_ASPECT));
    return check_value(context, "noise", o->noise, 0.0, SPADE_MAX_NOISE);
}

uint64_t spade_picture_hash(const spade_picture *picture)
{
    int64_t size[2] = {picture->width, picture->height};
    const size_t pixels = (size_t)(picture->height * picture->width);
    const uint64_t hash = spade_hash(picture->rgb, 3 * pixels, spade_hash(size, sizeof size, 0));
    return picture->alpha ? spade_hash(picture->alpha, pixels, hash) : hash;
}

/* The finaliser of MurmurHash3: a bijection. */
static uint64_t mix64(uint64_t x)
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdu;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u;
    return x ^ x >> 33;
}

typedef struct stream {
    uint32_t key[2];
    uint64_t variant;
} stream;

static double draw(const stream *s, uint32_t index)
{
    uint32_t counter[4] = {(uint32_t)s->variant, (uint32_t)(s->variant >> 32), index, 0}, random[4];
    spade_philox(s->key, counter, random);
    return spade_uniform(random[0], random[1]);
}

static double draw_between(const stream *s, uint32_t index, double low, double high)
{
    return low + (high - low) * draw(s, index);
}

/* 0 .. n-1 */
static int64_t draw_below(const stream *s, uint32_t index, int64_t n)
{
    int64_t value = (int64_t)(draw(s, index) * (double)n);
    return value < n ? value : n - 1;
}

static double draw_log_between(const stream *s, uint32_t index, const double range[2])
{
    return exp(draw_between(s, index, log(range[0]), log(range[1])));
}

/* torchvision's RandomResizedCrop.get_params; rint rounds halves to even, as Python does. */
static void draw_crop(const stream *s, const spade_augment_options *o, int64_t height, int64_t width,
                      spade_variant *out)
{
    double area = (double)height * (double)width;
    for (uint32_t i = 0; i < TRIES; i++) {
        double target = area * draw_between(s, DRAW_CROP + 4 * i, o->area[0], o->area[1]);
        double aspect = draw_log_between(s, DRAW_CROP + 4 * i + 1, o->aspect);
        int64_t w = (int64_t)rint(sqrt(target * aspect)), h = (int64_t)rint(sqrt(target / aspect));
        if (w < 1 || h < 1 || w > width || h > height) { continue; }
        out->height = h;
        out->width = w;
        out->top = draw_below(s, DRAW_CROP + 4 * i + 2, height - h + 1);
        out->left = draw_below(s, DRAW_CROP + 4 * i + 3, width - w + 1);
        return;
    }
    double ratio = (double)width / (double)height;
    out->height = height;
    out->width = width;
    if (ratio < o->aspect[0]) {
        out->height = (int64_t)rint((double)width / o->aspect[0]);
    } else if (ratio > o->aspect[1]) {
        out->width = (int64_t)rint((double)height * o->aspect[1]);
    }
    out->height = out->height < 1 ? 1 : out->height > height ? height : out->height;
    out->width = out->width < 1 ? 1 : out->width > width ? width : out->width;
    out->top = (height - out->height) / 2;
    out->left = (width - out->width) / 2;
}

/* torchvision's RandomErasing.get_params: a box strictly smaller than the result, or none after ten tries. */
static void draw_erase(const stream *s, const spade_augment_options *o, int64_t height, int64_t width, int64_t box[4])
{
    double area = (double)height * (double)width;
    memset(box, 0, 4 * sizeof *box);
    if (draw(s, DRAW_ERASE) >= o->erase) { return; }
    for (uint32_t i = 0; i < TRIES; i++) {
        double target = area * draw_between(s, DRAW_ERASE_BOX + 4 * i, o->erase_area[0], o->erase_area[1]);
        double aspect = draw_log_between(s, DRAW_ERASE_BOX + 4 * i + 1, o->erase_aspect);
        int64_t h = (int64_t)rint(sqrt(target * aspect)), w = (int64_t)rint(sqrt(target / aspect));
        if (h < 1 || w < 1 || h >= height || w >= width) { continue; }
        box[0] = draw_below(s, DRAW_ERASE_BOX + 4 * i + 2, height - h + 1);
        box[1] = draw_below(s, DRAW_ERASE_BOX + 4 * i + 3, width - w + 1);
        box[2] = h;
        box[3] = w;
        return;
    }
}

void spade_augment_draw_hashed(const spade_augment_options *o, uint64_t hash, int64_t picture_height,
                               int64_t picture_width, int64_t height, int64_t width, int64_t first, int64_t count,
                               spade_variant *out)
{
    uint64_t key = mix64(mix64(hash) + o->seed);
    for (int64_t i = 0; i < count; i++) {
        stream s = {{(uint32_t)key, (uint32_t)(key >> 32)}, (uint64_t)(first + i)};
        spade_variant *v = &out[i];
        *v = (spade_variant){.flip = draw(&s, DRAW_FLIP) < o->flip,
                             .brightness = draw_between(&s, DRAW_BRIGHTNESS, 1.0 - o->brightness, 1.0 + o->brightness),
                             .contrast = draw_between(&s, DRAW_CONTRAST, 1.0 - o->contrast, 1.0 + o->contrast),
                             .saturation = draw_between(&s, DRAW_SATURATION, 1.0 - o->saturation, 1.0 + o->saturation),
                             .hue = draw_between(&s, DRAW_HUE, -o->hue, o->hue),
                             .noise = o->noise,
                             .noise_key = {s.key[0], s.key[1], (uint32_t)s.variant, (uint32_t)(s.variant >> 32)}};
        draw_crop(&s, o, picture_height, picture_width, v);
        draw_erase(&s, o, height, width, v->erase);
    }
}

spade_status spade_augment_draw(spade_context *context, const spade_augment_options *options,
                                const spade_picture *picture, int64_t height, int64_t width, int64_t first,
                                int64_t count, spade_variant *out)
{
    spade_augment_options own;
    SPADE_TRY(spade_augment_take_options(context, options, &own));
    if (first < 0 || count < 0 || height < 1 || width < 1 || picture->height < 1 || picture->width < 1) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "augmentation: variants %lld + %lld of a picture of %lld x %lld pixels", (long long)first,
                          (long long)count, (long long)picture->width, (long long)picture->height);
    }
    spade_augment_draw_hashed(&own, spade_picture_hash(picture), picture->height, picture->width, height, width, first,
                              count, out);
    return SPADE_OK;
}
