/*
 * heatmap.c - maps as pictures for people: reduction over channels, enlarging, a robust scale, and the drawing over the
 * picture.
 *
 * Colours are mixed in OKLab (Ottosson 2020), so that equal steps of the map look like equal steps. Unsigned maps:
 * control points of matplotlib's "inferno" (CC0). Signed maps: two ramps of equal lightness, orange-red above zero and
 * blue below.
 */
#include <math.h>

#include "picture/device_args.h"

/* Small pictures are enlarged until the shorter side has SHORT_SIDE pixels or the whole has MAX_PIXELS. */
enum { LEVELS = SPADE_HEATMAP_LEVELS, SHORT_SIDE = 256, MAX_PIXELS = 1 << 24 };

void spade_map_reduce(const float *map, int64_t channels, int64_t height, int64_t width, spade_reduce reduce,
                      float *out)
{
    int64_t pixels = height * width;
    for (int64_t i = 0; i < pixels; i++) {
        double value = 0.0;
        for (int64_t c = 0; c < channels; c++) {
            double x = (double)map[c * pixels + i];
            switch (reduce) {
            case SPADE_REDUCE_SUM:
            case SPADE_REDUCE_ABOVE_LEAST: value += x; break;
            case SPADE_REDUCE_ABS_MAX: value = fabs(x) > value ? fabs(x) : value; break;
            case SPADE_REDUCE_ABS_SUM: value += fabs(x); break;
            }
        }
        out[i] = (float)value;
    }
    if (reduce != SPADE_REDUCE_ABOVE_LEAST) { return; }
    float least = pixels > 0 ? out[0] : 0;
    for (int64_t i = 1; i < pixels; i++) { least = out[i] < least ? out[i] : least; }
    for (int64_t i = 0; i < pixels; i++) { out[i] -= least; }
}

const char *spade_reduce_name(spade_reduce reduce)
{
    switch (reduce) {
    case SPADE_REDUCE_SUM: return "sum";
    case SPADE_REDUCE_ABS_MAX: return "abs-max";
    case SPADE_REDUCE_ABS_SUM: return "abs-sum";
    case SPADE_REDUCE_ABOVE_LEAST: return "above-least";
    }
    return "unknown reduction";
}

/* Output pixel i of n_out lies between the input pixels `low` and `high`, `share` of the way. */
typedef struct interpolation {
    int64_t low, high;
    double share;
} interpolation;

static interpolation interpolate_at(int64_t i, int64_t n_out, int64_t n_in)
{
    double at = ((double)i + 0.5) * (double)n_in / (double)n_out - 0.5;
    at = at < 0 ? 0 : at > (double)(n_in - 1) ? (double)(n_in - 1) : at;
    int64_t low = (int64_t)at;
    return (interpolation){low, low + 1 < n_in ? low + 1 : low, at - (double)low};
}

void spade_map_resize(const float *map, int64_t height, int64_t width, float *out, int64_t out_height,
                      int64_t out_width)
{
    for (int64_t y = 0; y < out_height; y++) {
        const interpolation row = interpolate_at(y, out_height, height);
        const float *above = map + row.low * width, *below = map + row.high * width;
        for (int64_t x = 0; x < out_width; x++) {
            const interpolation column = interpolate_at(x, out_width, width);
            double left = above[column.low] + row.share * ((double)below[column.low] - above[column.low]);
            double right = above[column.high] + row.share * ((double)below[column.high] - above[column.high]);
            out[y * out_width + x] = (float)(left + column.share * (right - left));
        }
    }
}

/* Absolute values of floats are in the order of their bits. */
static uint32_t size_bits(float x)
{
    uint32_t bits;
    x = fabsf(x);
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The absolute value that `rank` others come before; found by halving, without memory that there might not be. */
static double find_rank(const float *map, int64_t n, int64_t rank)
{
    uint32_t low = 0, high = UINT32_MAX >> 1;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        int64_t count = 0;
        for (int64_t i = 0; i < n; i++) { count += size_bits(map[i]) <= middle; }
        if (count > rank) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    float value;
    memcpy(&value, &low, sizeof value);
    return (double)value;
}

double spade_map_percentile(const float *reduced, int64_t n, double percentile)
{
    if (n < 1) { return 0.0; }
    const double at = (percentile < 0 ? 0 : percentile > 100 ? 100 : percentile) / 100.0 * (double)(n - 1);
    const int64_t below = (int64_t)at, above = below + 1 < n ? below + 1 : below;
    const double value = find_rank(reduced, n, below);
    return above == below ? value : value + (at - (double)below) * (find_rank(reduced, n, above) - value);
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

/* ---- the heatmap */
/* Of the values on one side of zero: [LEVELS][4], the colour of a level times its opacity, and how much of the picture
 * is left. */
static void fill_table(bool is_signed, bool negative, float *table)
{
    for (int i = 0; i < LEVELS; i++) {
        double t = (double)i / (LEVELS - 1);
        double opacity = 0.88 * (1.0 - pow(1.0 - t, 2.2)); /* soon visible, never wholly opaque */
        colour c = is_signed ? diverging(t, negative) : sequential(0.12 + 0.88 * t);
        for (int k = 0; k < 3; k++) { table[4 * i + k] = (float)(opacity * c.v[k]); }
        table[4 * i + 3] = (float)(1.0 - opacity);
    }
}

static spade_status check_map(spade_context *context, const spade_picture *picture, const float *reduced, double scale)
{
    if (picture->height < 1 || picture->width < 1) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "heatmap: a picture without pixels");
    }
    if (!isfinite(scale) || scale < 0.0) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "heatmap: a scale of %g", scale);
    }
    for (int64_t i = 0; i < picture->height * picture->width; i++) {
        if (!isfinite(reduced[i])) {
            return spade_fail(context, SPADE_ERROR_NUMERICAL, "heatmap: the map is not finite");
        }
    }
    return SPADE_OK;
}

/* The picture under the map is mostly grey and dimmed, so that the map's colours are the only strong ones. */
static spade_status draw(spade_context *context, const spade_picture *picture, const float *reduced, double scale,
                         bool is_signed, int64_t factor, uint8_t *rgb)
{
    spade_device *device = context->device;
    const size_t pixels = (size_t)(picture->height * picture->width);
    float tables[2][LEVELS * 4];
    spade_device_arg arrays[4] = {
        {.in = picture->rgb, .bytes = pixels * 3},
        {.in = reduced, .bytes = pixels * sizeof *reduced},
        {.in = tables, .bytes = sizeof tables},
        {.out = rgb, .bytes = pixels * (size_t)(factor * factor) * 3},
    };
    void *block;
    size_t bytes;
    spade_status status;
    fill_table(is_signed, false, tables[0]);
    fill_table(is_signed, true, tables[1]);
    SPADE_GOTO(spade_device_args_open(context, "a map and its heatmap", arrays, 4, &block, &bytes));
    const spade_heatmap_args args = {.height = picture->height,
                                     .width = picture->width,
                                     .factor = factor,
                                     .picture = arrays[0].there,
                                     .map = arrays[1].there,
                                     .scale = scale,
                                     .is_signed = is_signed,
                                     .tables = arrays[2].there,
                                     .rgb = arrays[3].there};
    SPADE_GOTO(device->backend->picture->heatmap(device, &args));
    SPADE_GOTO(spade_device_args_read(context, arrays, 4));
done:
    spade_device_args_close(context, block, bytes);
    return status;
}

spade_status spade_heatmap(spade_context *context, const spade_picture *picture, const float *reduced, double scale,
                           bool is_signed, spade_picture *out)
{
    SPADE_TRY(check_map(context, picture, reduced, scale));
    int64_t height = picture->height, width = picture->width, shorter = height < width ? height : width;
    int64_t factor = shorter < SHORT_SIDE ? (SHORT_SIDE + shorter - 1) / shorter : 1;
    int64_t pixels = height * width;
    while (factor > 1 && pixels * factor * factor > MAX_PIXELS) { factor--; }
    uint8_t *rgb = malloc((size_t)(pixels * factor * factor) * 3);
    if (!rgb) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a heatmap"); }
    spade_status status = draw(context, picture, reduced, scale, is_signed, factor, rgb);
    if (status != SPADE_OK) {
        free(rgb);
        return status;
    }
    *out = (spade_picture){.height = height * factor, .width = width * factor, .rgb = rgb};
    return SPADE_OK;
}
