/*
 * overlay.c - maps as pictures for people: reduction over channels, a robust scale, and the overlay on the picture.
 *
 * Colours are mixed in OKLab (Ottosson 2020), so that equal steps of the map look like equal steps. Unsigned maps:
 * control points of matplotlib's "inferno" (CC0). Signed maps: two ramps of equal lightness, orange-red above zero and
 * blue below.
 */
#include <math.h>

#include "base/base.h"
#include "spade/picture.h"

/* Small pictures are enlarged until the shorter side has SHORT_SIDE pixels or the whole has MAX_PIXELS. */
enum { LEVELS = 256, SHORT_SIDE = 256, MAX_PIXELS = 1 << 24 };

void spade_map_reduce(const float *map, int64_t channels, int64_t height, int64_t width, spade_reduce reduce,
                      float *out)
{
    int64_t pixels = height * width;
    for (int64_t i = 0; i < pixels; i++) {
        double value = 0.0;
        for (int64_t c = 0; c < channels; c++) {
            double x = (double)map[c * pixels + i];
            switch (reduce) {
            case SPADE_REDUCE_SUM: value += x; break;
            case SPADE_REDUCE_ABS_MAX: value = fabs(x) > value ? fabs(x) : value; break;
            case SPADE_REDUCE_ABS_SUM: value += fabs(x); break;
            }
        }
        out[i] = (float)value;
    }
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

double spade_map_percentile(const float *reduced, int64_t n, double percentile)
{
    float *sorted = n > 0 ? malloc((size_t)n * sizeof *sorted) : NULL;
    if (!sorted) { return 0.0; }
    for (int64_t i = 0; i < n; i++) { sorted[i] = fabsf(reduced[i]); }
    qsort(sorted, (size_t)n, sizeof *sorted, compare_floats);
    double at = (percentile < 0 ? 0 : percentile > 100 ? 100 : percentile) / 100.0 * (double)(n - 1);
    int64_t below = (int64_t)at, above = below + 1 < n ? below + 1 : below;
    double value = sorted[below] + (at - (double)below) * ((double)sorted[above] - (double)sorted[below]);
    free(sorted);
    return value;
}

/* ---- OKLab */
typedef struct colour {
    double v[3]; /* OKLab L, a, b, or sRGB in [0, 1] */
} colour;

static double to_linear(double s)
{
    return s <= 0.04045 ? s / 12.92 : pow((s + 0.055) / 1.055, 2.4);
}

static double from_linear(double l)
{
    l = l < 0.0 ? 0.0 : l > 1.0 ? 1.0 : l;
    return l <= 0.0031308 ? 12.92 * l : 1.055 * pow(l, 1.0 / 2.4) - 0.055;
}

static colour oklab_of(const uint8_t rgb[3])
{
    double r = to_linear(rgb[0] / 255.0), g = to_linear(rgb[1] / 255.0), b = to_linear(rgb[2] / 255.0);
    double l = cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
    double m = cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
    double s = cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
    return (colour){{0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
                     1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
                     0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s}};
}

static colour srgb_of(colour lab)
{
    double l = lab.v[0] + 0.3963377774 * lab.v[1] + 0.2158037573 * lab.v[2];
    double m = lab.v[0] - 0.1055613458 * lab.v[1] - 0.0638541728 * lab.v[2];
    double s = lab.v[0] - 0.0894841775 * lab.v[1] - 1.2914855480 * lab.v[2];
    l = l * l * l, m = m * m * m, s = s * s * s;
    return (colour){{from_linear(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
                     from_linear(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
                     from_linear(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s)}};
}

/* ---- colour maps: t in [0, 1] -> sRGB */
static colour sequential(double t)
{
    static const uint8_t points[][3] = {{0, 0, 4},      {22, 11, 57},   {66, 10, 104},  {106, 23, 110},
                                        {147, 38, 103}, {188, 55, 84},  {221, 81, 58},  {243, 120, 25},
                                        {252, 165, 10}, {246, 215, 70}, {252, 255, 164}};
    enum { LAST = sizeof points / sizeof *points - 1 };
    int below = (int)(t * LAST) < LAST ? (int)(t * LAST) : LAST - 1;
    colour a = oklab_of(points[below]), b = oklab_of(points[below + 1]);
    for (int c = 0; c < 3; c++) { a.v[c] += (t * LAST - below) * (b.v[c] - a.v[c]); }
    return srgb_of(a);
}

/* One side of the diverging map: lightness rises evenly, chroma is highest in the middle. */
static colour diverging(double t, bool negative)
{
    double lightness = 0.42 + 0.44 * t, chroma = 0.08 + 0.14 * sin(3.14159265358979 * (0.15 + 0.75 * t));
    double hue = (negative ? 250.0 - 20.0 * t : 22.0 + 48.0 * t) / 180.0 * 3.14159265358979;
    return srgb_of((colour){{lightness, chroma * cos(hue), chroma * sin(hue)}});
}

/* ---- enlarging by a whole factor with cubic splines: Catmull-Rom is sharp, the B-spline smooths the noise of a small
 * map */
typedef struct spline {
    double b, c; /* Mitchell and Netravali's parameters */
} spline;

static double spline_weight(spline s, double x)
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

/* in: n samples, `step` apart -> out: n * factor samples, `out_step` apart. Borders repeat. */
static void enlarge_line(spline s, int64_t factor, const float *in, int64_t n, int64_t step, float *out,
                         int64_t out_step)
{
    for (int64_t i = 0; i < n * factor; i++) {
        double at = ((double)i + 0.5) / (double)factor - 0.5, sum = 0.0;
        int64_t base = (int64_t)floor(at);
        for (int64_t k = base - 1; k <= base + 2; k++) {
            int64_t from = k < 0 ? 0 : k >= n ? n - 1 : k;
            sum += spline_weight(s, at - (double)k) * (double)in[from * step];
        }
        out[i * out_step] = (float)sum;
    }
}

/* plane [height, width] -> out [height * factor, width * factor]; scratch [height, width * factor] */
static void enlarge(spline s, int64_t factor, const float *plane, int64_t height, int64_t width, float *scratch,
                    float *out)
{
    int64_t wide = width * factor;
    if (factor == 1) {
        memcpy(out, plane, (size_t)(height * width) * sizeof *out);
        return;
    }
    for (int64_t y = 0; y < height; y++) {
        enlarge_line(s, factor, plane + y * width, width, 1, scratch + y * wide, 1);
    }
    for (int64_t x = 0; x < wide; x++) { enlarge_line(s, factor, scratch + x, height, wide, out + x, wide); }
}

/* ---- the overlay */
typedef struct blend_table {
    float rgb[LEVELS][3]; /* colour of a level, times its opacity */
    float keep[LEVELS];   /* how much of the picture is left */
} blend_table;

static void fill_table(bool is_signed, bool negative, blend_table *table)
{
    for (int i = 0; i < LEVELS; i++) {
        double t = (double)i / (LEVELS - 1);
        double opacity = 0.88 * (1.0 - pow(1.0 - t, 2.2)); /* soon visible, never wholly opaque */
        colour c = is_signed ? diverging(t, negative) : sequential(0.12 + 0.88 * t);
        for (int k = 0; k < 3; k++) { table->rgb[i][k] = (float)(opacity * c.v[k]); }
        table->keep[i] = (float)(1.0 - opacity);
    }
}

/* What lies under the map: mostly grey and dimmed, so that the map's colours are the only strong ones. */
static void base_plane(const spade_picture *picture, int channel, float *out)
{
    for (int64_t i = 0; i < picture->height * picture->width; i++) {
        const uint8_t *rgb = picture->rgb + 3 * i;
        float luma = 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
        out[i] = (0.06f + 0.62f * (0.8f * luma + 0.2f * rgb[channel]) / 255.0f);
    }
}

static void compose(const blend_table tables[2], const float *heat, const float *base, int64_t pixels, int channel,
                    uint8_t *rgb)
{
    for (int64_t i = 0; i < pixels; i++) {
        float level = fabsf(heat[i]) * (LEVELS - 1);
        int at = level < LEVELS - 1 ? (int)(level + 0.5f) : LEVELS - 1;
        const blend_table *table = &tables[heat[i] < 0.0f];
        float under = base[i] < 0.0f ? 0.0f : base[i] > 1.0f ? 1.0f : base[i];
        float value = table->rgb[at][channel] + table->keep[at] * under;
        rgb[3 * i + channel] = (uint8_t)((value < 1.0f ? value : 1.0f) * 255.0f + 0.5f);
    }
}

static spade_status check_map(spade_context *context, const spade_picture *picture, const float *reduced, double scale)
{
    if (picture->height < 1 || picture->width < 1) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "overlay: a picture without pixels");
    }
    if (!isfinite(scale) || scale < 0.0) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "overlay: a scale of %g", scale);
    }
    for (int64_t i = 0; i < picture->height * picture->width; i++) {
        if (!isfinite(reduced[i])) {
            return spade_fail(context, SPADE_ERROR_NUMERICAL, "overlay: the map is not finite");
        }
    }
    return SPADE_OK;
}

spade_status spade_overlay(spade_context *context, const spade_picture *picture, const float *reduced, double scale,
                           bool is_signed, spade_picture *out)
{
    static const spline sharp = {0.0, 0.5}, smooth = {1.0, 0.0};
    SPADE_TRY(check_map(context, picture, reduced, scale));
    int64_t height = picture->height, width = picture->width, shorter = height < width ? height : width;
    int64_t factor = shorter < SHORT_SIDE ? (SHORT_SIDE + shorter - 1) / shorter : 1;
    int64_t pixels = height * width;
    while (factor > 1 && pixels * factor * factor > MAX_PIXELS) { factor--; }
    int64_t large = pixels * factor * factor;
    size_t bytes = (size_t)(pixels + pixels * factor + 2 * large) * sizeof(float);
    void *block = NULL;
    uint8_t *rgb = NULL;
    blend_table *tables = malloc(2 * sizeof *tables);
    spade_status status;
    SPADE_GOTO(spade_alloc(context, bytes, "an overlay", &block));
    rgb = malloc((size_t)large * 3);
    if (!rgb || !tables) {
        status = spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: an overlay");
        goto done;
    }
    float *plane = block, *scratch = plane + pixels, *heat = scratch + pixels * factor, *base = heat + large;
    fill_table(is_signed, false, &tables[0]);
    fill_table(is_signed, true, &tables[1]);
    for (int64_t i = 0; i < pixels; i++) {
        double value = scale > 0.0 ? reduced[i] / scale : 0.0;
        value = value > 1.0 ? 1.0 : value < -1.0 ? -1.0 : value;
        plane[i] = (float)(is_signed || value > 0.0 ? value : 0.0);
    }
    enlarge(smooth, factor, plane, height, width, scratch, heat);
    for (int c = 0; c < 3; c++) {
        base_plane(picture, c, plane);
        enlarge(sharp, factor, plane, height, width, scratch, base);
        compose(tables, heat, base, large, c, rgb);
    }
    *out = (spade_picture){height * factor, width * factor, rgb, false};
    rgb = NULL;
done:
    spade_free_bytes(context, block, bytes);
    free(rgb);
    free(tables);
    return status;
}
