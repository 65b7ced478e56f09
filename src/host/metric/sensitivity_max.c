/* sensitivity_max.c - how far a map moves when the input moves a little: on the network, or the trace, that it is of. */
#include <math.h>

#include "metric/registry.h"

typedef struct sensitivity_options {
    int64_t samples;
    double radius;
    int64_t seed;
} sensitivity_options;

static void move_input(const sensitivity_options *o, uint64_t key_bits, int64_t sample, const float *input,
                       int64_t size, float *out)
{
    const uint32_t key[2] = {(uint32_t)key_bits, (uint32_t)(key_bits >> 32)};
    for (int64_t i = 0; i < size; i += 2) {
        const uint32_t counter[4] = {(uint32_t)sample, (uint32_t)(i / 2), 0, 0};
        uint32_t random[4];
        spade_philox(key, counter, random);
        for (int64_t k = i; k < size && k < i + 2; k++) {
            const double uniform = spade_uniform(random[2 * (k - i)], random[2 * (k - i) + 1]);
            out[k] = (float)((double)input[k] + o->radius * (2 * uniform - 1));
        }
    }
}

/* Frobenius norm of a - b; b NULL: of a. */
static double norm(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double difference = (double)a[i] - (b ? (double)b[i] : 0);
        sum += difference * difference;
    }
    return sqrt(sum);
}

static spade_status run(spade_context *context, const void *options, const spade_metric_inputs *inputs, double *out)
{
    const sensitivity_options *o = options;
    const int64_t map_size = inputs->map_shape[0] * inputs->map_shape[1] * inputs->map_shape[2];
    int64_t channels, height, width;
    spade_status status = SPADE_OK;
    void *memory;
    spade_model_input(inputs->model, &channels, &height, &width);
    const int64_t size = channels * height * width;
    const size_t bytes = sizeof(float) * (size_t)(size + map_size);
    const uint64_t key = spade_hash(inputs->input, sizeof(float) * (size_t)size, (uint64_t)o->seed);
    const double own = norm(inputs->map, NULL, map_size);
    double most = 0;
    SPADE_TRY(spade_alloc(context, bytes, "a moved input and its map", &memory));
    float *moved = memory, *map = moved + size;
    for (int64_t i = 0; i < o->samples; i++) {
        move_input(o, key, i, inputs->input, size, moved);
        SPADE_GOTO(spade_attribute(context, inputs->model, inputs->trace, inputs->attribution, moved, inputs->target, 1,
                                   map, NULL));
        most = fmax(most, norm(map, inputs->map, map_size));
    }
    *out = own > 0 ? most / own : NAN;
done:
    spade_free_bytes(context, memory, bytes);
    return status;
}

static double passes(const void *options, int64_t height, int64_t width, double map)
{
    (void)height;
    (void)width;
    return map * (double)((const sensitivity_options *)options)->samples;
}

static const spade_option_info options[] = {
    {.name = "samples",
     .help = "inputs that are not far from this one",
     .type = SPADE_OPTION_INTEGER,
     .min = 1,
     .max = 10000,
     .default_value = "10"},
    {.name = "radius",
     .help = "most that a number of the normalised input moves by; uniform",
     .type = SPADE_OPTION_REAL,
     .min = 0,
     .max = 100,
     .default_value = "0.02"},
    METRIC_SEED_OPTION("of the moves"),
};
static const size_t option_offsets[] = {offsetof(sensitivity_options, samples), offsetof(sensitivity_options, radius),
                                        offsetof(sensitivity_options, seed)};

const metric_class metric_sensitivity_max = {
    .info = {.name = "sensitivity_max",
             .title = "Max-sensitivity",
             .definition =
                 "largest |map(y) - map(x)| / |map(x)| over inputs y that differ from x by at most the radius in "
                 "each number, of the map's own network; none of a map of zeros",
             .reading = "0: the map does not move, 1: it moves as much as it is large",
             .source = "Yeh et al. 2019, On the (in)fidelity and sensitivity of explanations",
             .version = 1,
             .better = SPADE_METRIC_LOWER,
             .needs = SPADE_METRIC_NEEDS_NETWORK | SPADE_METRIC_NEEDS_MAP,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(sensitivity_options),
    .option_offsets = option_offsets,
    .run = run,
    .passes = passes,
};
