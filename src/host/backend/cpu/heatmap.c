/*
 * heatmap.c - a map's colours over a picture, both enlarged; backend.h's spade_heatmap_args has the formulas. Planes
 * are enlarged along the rows, then along the columns; a row is one thread's.
 */
#include <math.h>

#include "backend/cpu/cpu.h"

/* The four samples that one output of a line is made of: first .. first+3, of which those beyond the ends repeat. */
typedef struct tap {
    int64_t first;
    double weight[4];
} tap;

typedef struct planes {
    const spade_heatmap_args *args;
    int threads;
    tap *across, *down;                   /* of the spline at work: [width * factor], [height * factor] */
    float *plane, *scratch, *heat, *base; /* [h, w]; [h, w f]; [h f, w f] twice */
} planes;

static double spline_weight(spade_spline s, double x)
{
    x = fabs(x);
    if (x < 1.0) {
        return ((12 - 9 * s.b - 6 * s.c) * x * x * x + (-18 + 12 * s.b + 6 * s.c) * x * x + 6 - 2 * s.b) / 6;
    }
    if (x < 2.0) {
        return ((-s.b - 6 * s.c) * x * x * x + (6 * s.b + 30 * s.c) * x * x + (-12 * s.b - 48 * s.c) * x + 8 * s.b +
                24 * s.c) /
               6;
    }
    return 0.0;
}

static void find_taps(spade_spline s, int64_t factor, int64_t n, tap *taps)
{
    for (int64_t i = 0; i < n * factor; i++) {
        double at = ((double)i + 0.5) / (double)factor - 0.5;
        taps[i].first = (int64_t)floor(at) - 1;
        for (int k = 0; k < 4; k++) { taps[i].weight[k] = spline_weight(s, at - (double)(taps[i].first + k)); }
    }
}

static int64_t repeat(int64_t i, int64_t n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

/* p->plane -> out [height * factor, width * factor] */
static void enlarge(const planes *p, float *out)
{
    const int64_t height = p->args->height, width = p->args->width, factor = p->args->factor, wide = width * factor;
    if (factor == 1) {
        memcpy(out, p->plane, (size_t)(height * width) * sizeof *out);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(p->threads)
    for (int64_t y = 0; y < height; y++) {
        const float *in = p->plane + y * width;
        for (int64_t x = 0; x < wide; x++) {
            const tap *t = &p->across[x];
            double sum = 0.0;
            for (int k = 0; k < 4; k++) { sum += t->weight[k] * (double)in[repeat(t->first + k, width)]; }
            p->scratch[y * wide + x] = (float)sum;
        }
    }
#pragma omp parallel for schedule(static) num_threads(p->threads)
    for (int64_t y = 0; y < height * factor; y++) {
        const tap *t = &p->down[y];
        const float *in[4];
        for (int k = 0; k < 4; k++) { in[k] = p->scratch + repeat(t->first + k, height) * wide; }
        for (int64_t x = 0; x < wide; x++) {
            double sum = 0.0;
            for (int k = 0; k < 4; k++) { sum += t->weight[k] * (double)in[k][x]; }
            out[y * wide + x] = (float)sum;
        }
    }
}

static void use_spline(const planes *p, spade_spline spline)
{
    find_taps(spline, p->args->factor, p->args->width, p->across);
    find_taps(spline, p->args->factor, p->args->height, p->down);
}

static void map_plane(const planes *p)
{
    const spade_heatmap_args *args = p->args;
    for (int64_t i = 0; i < args->height * args->width; i++) {
        double value = args->scale > 0.0 ? args->map[i] / args->scale : 0.0;
        value = value > 1.0 ? 1.0 : value < -1.0 ? -1.0 : value;
        p->plane[i] = (float)(args->is_signed || value > 0.0 ? value : 0.0);
    }
}

static void picture_plane(const planes *p, int channel)
{
    for (int64_t i = 0; i < p->args->height * p->args->width; i++) {
        const uint8_t *rgb = p->args->picture + 3 * i;
        float luma = 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
        p->plane[i] = 0.06f + 0.62f * (0.8f * luma + 0.2f * rgb[channel]) / 255.0f;
    }
}

static void compose(const planes *p, int channel)
{
    enum { LEVELS = SPADE_HEATMAP_LEVELS };
    const int64_t pixels = p->args->height * p->args->width * p->args->factor * p->args->factor;
#pragma omp parallel for schedule(static) num_threads(p->threads)
    for (int64_t i = 0; i < pixels; i++) {
        float level = fabsf(p->heat[i]) * (LEVELS - 1);
        int at = level < LEVELS - 1 ? (int)(level + 0.5f) : LEVELS - 1;
        const float *entry = p->args->tables + ((p->heat[i] < 0.0f ? LEVELS : 0) + at) * 4;
        float under = p->base[i] < 0.0f ? 0.0f : p->base[i] > 1.0f ? 1.0f : p->base[i];
        float value = entry[channel] + entry[3] * under;
        p->args->rgb[3 * i + channel] = (uint8_t)((value < 1.0f ? value : 1.0f) * 255.0f + 0.5f);
    }
}

spade_status spade_cpu_heatmap(spade_device *device, const spade_heatmap_args *args)
{
    const int64_t pixels = args->height * args->width, factor = args->factor, large = pixels * factor * factor;
    const size_t taps = (size_t)((args->height + args->width) * factor) * sizeof(tap);
    const size_t bytes = taps + (size_t)(pixels + pixels * factor + 2 * large) * sizeof(float);
    void *block;
    SPADE_TRY(spade_alloc(device->context, bytes, "an overlay", &block));
    planes p = {.args = args, .threads = spade_cpu_threads(device), .across = block};
    p.down = p.across + args->width * factor;
    p.plane = (float *)(p.down + args->height * factor);
    p.scratch = p.plane + pixels;
    p.heat = p.scratch + pixels * factor;
    p.base = p.heat + large;
    use_spline(&p, (spade_spline)SPADE_HEATMAP_MAP_SPLINE);
    map_plane(&p);
    enlarge(&p, p.heat);
    use_spline(&p, (spade_spline)SPADE_HEATMAP_PICTURE_SPLINE);
    for (int c = 0; c < 3; c++) {
        picture_plane(&p, c);
        enlarge(&p, p.base);
        compose(&p, c);
    }
    spade_free_bytes(device->context, block, bytes);
    return SPADE_OK;
}
