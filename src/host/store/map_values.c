/* map_values.c - see map_values.h. */
#include "store/map_values.h"

#include <math.h>

#include "spade/picture.h"
#include "store/npy.h"

const char *const map_values_names[MAP_VALUES] = {"float32", "float16", "png"};
const char *const map_values_endings[MAP_VALUES] = {"npy", "npy", "png"};

bool map_values_find(const char *name, map_values *out)
{
    for (int i = 0; i < MAP_VALUES; i++) {
        *out = (map_values)i;
        if (strcmp(name, map_values_names[i]) == 0) { return true; }
    }
    return false;
}

uint64_t map_values_bytes(map_values values, const int64_t shape[3])
{
    static const uint64_t bytes[MAP_VALUES] = {4, 2, 1};
    return bytes[values] * (uint64_t)(shape[0] * shape[1] * shape[2]) + 128;
}

/* The largest absolute value; *least: the smallest value. False: one is not finite. */
static bool find_range(const float *map, int64_t count, double *largest, double *least)
{
    *largest = *least = 0;
    for (int64_t i = 0; i < count; i++) {
        const double value = map[i];
        if (!isfinite(value)) { return false; }
        if (fabs(value) > *largest) { *largest = fabs(value); }
        if (value < *least) { *least = value; }
    }
    return true;
}

/* ---- float16: IEEE 754 binary16 of a number below 2 */

static uint16_t to_half(double value)
{
    enum { FRACTION = 10, LEAST_EXPONENT = -14 };
    const uint16_t sign = signbit(value) ? 0x8000 : 0;
    int exponent;
    value = fabs(value);
    if (value == 0) { return sign; }
    frexp(value, &exponent); /* value: 0.5 to 1 times a power of two */
    exponent--;
    if (exponent < LEAST_EXPONENT) { exponent = LEAST_EXPONENT; } /* subnormal: of the least one's steps */
    /* steps of 2^(exponent - FRACTION), rounded to nearest, ties to even, as nearbyint() does; what is rounded up to the next
     * power of two carries over into the exponent */
    const unsigned steps = (unsigned)nearbyint(ldexp(value, FRACTION - exponent));
    const unsigned hidden = steps < 1u << FRACTION ? 0 : (unsigned)(exponent - LEAST_EXPONENT);
    return (uint16_t)(sign | (steps + (hidden << FRACTION)));
}

static spade_status open_npy(spade_context *context, const char *descr, const int64_t shape[3], size_t number,
                             int64_t count, map_file *out, size_t *at)
{
    char header[SPADE_NPY_HEADER];
    *at = spade_npy_header(descr, 3, shape, header);
    out->size = *at + number * (size_t)count;
    out->bytes = malloc(out->size);
    if (!out->bytes) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    memcpy(out->bytes, header, *at);
    return SPADE_OK;
}

static spade_status encode_float16(spade_context *context, const float *map, const int64_t shape[3], int64_t count,
                                   double largest, map_file *out)
{
    size_t at;
    int exponent = 1;
    if (largest > 0) { frexp(largest, &exponent); }
    out->scale = ldexp(1, exponent - 1);
    SPADE_TRY(open_npy(context, "<f2", shape, sizeof(uint16_t), count, out, &at));
    for (int64_t i = 0; i < count; i++) {
        const uint16_t half = to_half((double)map[i] / out->scale);
        out->bytes[at++] = (uint8_t)(half & 0xff);
        out->bytes[at++] = (uint8_t)(half >> 8);
    }
    return SPADE_OK;
}

/* ---- PNG */

static spade_status encode_png(spade_context *context, const float *map, const int64_t shape[3], double largest,
                               bool negative, map_file *out)
{
    const int64_t channels = shape[0], pixels = shape[1] * shape[2];
    const double levels = negative ? 127 : 255;
    uint8_t *rows = malloc((size_t)(channels * pixels));
    if (!rows) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
    out->zero = negative ? 128 : 0;
    out->scale = largest > 0 ? largest / levels : 1;
    for (int64_t i = 0; i < pixels; i++) {
        for (int64_t c = 0; c < channels; c++) {
            rows[i * channels + c] = (uint8_t)(out->zero + (int)nearbyint((double)map[c * pixels + i] / out->scale));
        }
    }
    const spade_status status =
        spade_png_encode(context, rows, shape[1], shape[2], (int)channels, &out->bytes, &out->size);
    free(rows);
    return status;
}

spade_status map_values_encode(spade_context *context, map_values values, const float *map, const int64_t shape[3],
                               bool negative, map_file *out)
{
    const int64_t count = shape[0] * shape[1] * shape[2];
    double largest, least;
    size_t at;
    *out = (map_file){.scale = 1};
    if (!find_range(map, count, &largest, &least)) {
        return spade_fail(context, SPADE_ERROR_NUMERICAL, "a map is not finite");
    }
    switch (values) {
    case MAP_FLOAT16: return encode_float16(context, map, shape, count, largest, out);
    case MAP_PNG: return encode_png(context, map, shape, largest, negative || least < 0, out);
    default: break;
    }
    SPADE_TRY(open_npy(context, "<f4", shape, sizeof *map, count, out, &at));
    memcpy(out->bytes + at, map, sizeof *map * (size_t)count);
    return SPADE_OK;
}
