/*
 * augment.c - variants of a picture: crop and resize, flip, colour, normalise, erase, noise. One thread makes one
 * variant from beginning to end, so a variant does not depend on which others are made with it.
 */
#include <math.h>
#include <omp.h>

#include "backend/cpu/cpu.h"
#include "backend/filter.h"

/* What one thread works in, cut from one block. */
typedef struct scratch {
    void *across, *down; /* filters */
    float *weights;      /* of the horizontal filter, in float */
    float *middle;       /* [crop height, width, 3]: after the horizontal pass */
    float *rgb;          /* [height, width, 3] */
} scratch;

typedef struct scratch_size {
    size_t across, down, weights, middle, rgb, total; /* bytes, multiples of 64 */
} scratch_size;

static size_t round64(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static scratch_size measure(const spade_preprocess *p, const spade_variant *variants, int64_t count)
{
    scratch_size size = {.rgb = round64((size_t)(p->height * p->width * 3) * sizeof(float))};
    for (int64_t i = 0; i < count; i++) {
        const spade_variant *v = &variants[i];
        size_t across = spade_filter_bytes(SPADE_RESAMPLE_BILINEAR, v->width, p->width);
        size.across = larger(size.across, across);
        size.down = larger(size.down, spade_filter_bytes(SPADE_RESAMPLE_BILINEAR, v->height, p->height));
        size.weights = larger(size.weights, across); /* more than enough */
        size.middle = larger(size.middle, round64((size_t)(v->height * p->width * 3) * sizeof(float)));
    }
    size.total = size.across + size.down + size.weights + size.middle + size.rgb;
    return size;
}

static scratch cut(char *block, const scratch_size *size)
{
    scratch s;
    s.across = block;
    s.down = block += size->across;
    s.weights = (float *)(block += size->down);
    s.middle = (float *)(block += size->weights);
    s.rgb = (float *)(block + size->middle);
    return s;
}

/* picture [height, width, 3] -> the crop, resized: s->rgb [p->height, p->width, 3]. Pixels outside the crop are not
 * seen. */
static void crop_and_resize(const float *picture, int64_t picture_width, const spade_preprocess *p,
                            const spade_variant *v, const scratch *s)
{
    spade_filter across, down;
    spade_filter_init(SPADE_RESAMPLE_BILINEAR, v->width, p->width, s->across, &across);
    spade_filter_init(SPADE_RESAMPLE_BILINEAR, v->height, p->height, s->down, &down);
    for (int64_t i = 0; i < across.out * across.taps; i++) { s->weights[i] = (float)across.weight[i]; }
    for (int64_t y = 0; y < v->height; y++) {
        const float *row = picture + ((v->top + y) * picture_width + v->left) * 3;
        for (int64_t x = 0; x < p->width; x++) {
            const float *in = row + 3 * across.first[x], *weight = s->weights + x * across.taps;
            float r = 0.0f, g = 0.0f, b = 0.0f;
            for (int32_t k = 0; k < across.count[x]; k++) {
                r += weight[k] * in[3 * k];
                g += weight[k] * in[3 * k + 1];
                b += weight[k] * in[3 * k + 2];
            }
            float *out = s->middle + (y * p->width + x) * 3;
            out[0] = r, out[1] = g, out[2] = b;
        }
    }
    int64_t samples = p->width * 3;
    for (int64_t y = 0; y < p->height; y++) {
        float *restrict out = s->rgb + y * samples;
        memset(out, 0, (size_t)samples * sizeof *out);
        for (int32_t k = 0; k < down.count[y]; k++) {
            float weight = (float)down.weight[y * down.taps + k];
            const float *restrict in = s->middle + (down.first[y] + k) * samples;
            for (int64_t i = 0; i < samples; i++) { out[i] += weight * in[i]; }
        }
    }
}

static inline float clamp01(float value)
{
    return value < 0.0f ? 0.0f : value > 1.0f ? 1.0f : value;
}

static inline float grey(const float *rgb)
{
    return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}

/* torchvision's blend of a pixel with one grey value. */
static inline void blend(float *rgb, float factor, float with)
{
    for (int c = 0; c < 3; c++) { rgb[c] = clamp01(factor * rgb[c] + (1.0f - factor) * with); }
}

/* Through HSV, the hue (in turns) shifted, and back. */
static void shift_hue(float *rgb, float shift)
{
    float r = rgb[0], g = rgb[1], b = rgb[2];
    float most = fmaxf(r, fmaxf(g, b)), least = fminf(r, fminf(g, b)), range = most - least;
    if (range <= 0.0f) { return; } /* grey has no hue */
    float hue = most == r ? (g - b) / range : most == g ? 2.0f + (b - r) / range : 4.0f + (r - g) / range;
    hue = hue / 6.0f + shift;
    hue = (hue - floorf(hue)) * 6.0f;
    float saturation = range / most, sector = floorf(hue), f = hue - sector;
    float low = most * (1.0f - saturation);
    float falling = most * (1.0f - saturation * f), rising = most * (1.0f - saturation * (1.0f - f));
    switch ((int)sector % 6) {
    case 0: rgb[0] = most, rgb[1] = rising, rgb[2] = low; break;
    case 1: rgb[0] = falling, rgb[1] = most, rgb[2] = low; break;
    case 2: rgb[0] = low, rgb[1] = most, rgb[2] = rising; break;
    case 3: rgb[0] = low, rgb[1] = falling, rgb[2] = most; break;
    case 4: rgb[0] = rising, rgb[1] = low, rgb[2] = most; break;
    default: rgb[0] = most, rgb[1] = low, rgb[2] = falling; break;
    }
}

static void change_colour(const spade_variant *v, int64_t pixels, float *rgb)
{
    float brightness = (float)v->brightness, contrast = (float)v->contrast;
    float saturation = (float)v->saturation, hue = (float)v->hue;
    if (brightness != 1.0f) {
        for (int64_t i = 0; i < 3 * pixels; i++) { rgb[i] = clamp01(rgb[i] * brightness); }
    }
    if (contrast != 1.0f) {
        double sum = 0.0;
        for (int64_t i = 0; i < pixels; i++) { sum += grey(rgb + 3 * i); }
        float mean = (float)(sum / (double)pixels);
        for (int64_t i = 0; i < pixels; i++) { blend(rgb + 3 * i, contrast, mean); }
    }
    if (saturation != 1.0f) {
        for (int64_t i = 0; i < pixels; i++) { blend(rgb + 3 * i, saturation, grey(rgb + 3 * i)); }
    }
    if (hue != 0.0f) {
        for (int64_t i = 0; i < pixels; i++) { shift_hue(rgb + 3 * i, hue); }
    }
}

/* Two standard normal numbers for elements 2*pair and 2*pair + 1, counted in (channel, row, column) order. */
static void normal_pair(const uint32_t key[4], uint32_t pair, double out[2])
{
    const uint32_t counter[4] = {key[2], key[3], pair, 1};
    spade_normal(key, counter, out);
}

typedef struct target {
    float *out;             /* one variant */
    int64_t pixel, channel; /* elements between neighbouring pixels, channels */
} target;

static void add_noise(const spade_variant *v, int64_t channels, int64_t pixels, const target *to)
{
    double pair[2];
    for (int64_t e = 0; e < channels * pixels; e++) {
        if (e % 2 == 0) { normal_pair(v->noise_key, (uint32_t)(e / 2), pair); }
        to->out[e % pixels * to->pixel + e / pixels * to->channel] += (float)(v->noise * pair[e % 2]);
    }
}

/* Flip, normalise, erase, noise: rgb [height, width, 3] in [0, 1] -> its place in the batch. */
static void finish(const spade_preprocess *p, const spade_variant *v, const float *rgb, const target *to)
{
    for (int c = 0; c < p->channels; c++) {
        float mean = (float)p->mean[c], std = (float)p->std[c];
        float *out = to->out + spade_preprocess_plane(p, c) * to->channel;
        for (int64_t y = 0; y < p->height; y++) {
            const float *row = rgb + y * p->width * 3 + c;
            for (int64_t x = 0; x < p->width; x++) {
                int64_t from = v->flip ? p->width - 1 - x : x;
                out[(y * p->width + x) * to->pixel] = (row[3 * from] - mean) / std;
            }
        }
        for (int64_t y = v->erase[0]; y < v->erase[0] + v->erase[2]; y++) {
            for (int64_t x = v->erase[1]; x < v->erase[1] + v->erase[3]; x++) {
                out[(y * p->width + x) * to->pixel] = 0.0f;
            }
        }
    }
    if (v->noise > 0.0) { add_noise(v, p->channels, p->height * p->width, to); }
}

spade_status spade_cpu_augment(spade_device *device, const float *picture, int64_t height, int64_t width,
                               const spade_preprocess *preprocess, const spade_variant *variants, int64_t count,
                               const spade_augment_target *to)
{
    const spade_preprocess *p = preprocess;
    (void)height; /* crops lie inside: the caller has checked */
    int threads = spade_cpu_threads(device);
    threads = count < threads ? (int)count : threads;
    if (count < 1) { return SPADE_OK; }
    scratch_size size = measure(p, variants, count);
    const int64_t pixels = p->height * p->width;
    const bool last = to->layout == SPADE_CHANNELS_LAST;
    void *block;
    SPADE_TRY(spade_alloc(device->context, (size_t)threads * size.total, "the augmentation's working memory", &block));
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t i = 0; i < count; i++) {
        scratch s = cut((char *)block + (size_t)omp_get_thread_num() * size.total, &size);
        target variant = {.pixel = last ? to->channels : 1, .channel = last ? 1 : pixels};
        variant.out = to->out + i * to->channels * pixels + to->first * variant.channel;
        crop_and_resize(picture, width, p, &variants[i], &s);
        change_colour(&variants[i], pixels, s.rgb);
        finish(p, &variants[i], s.rgb, &variant);
    }
    spade_free_bytes(device->context, block, (size_t)threads * size.total);
    return SPADE_OK;
}
