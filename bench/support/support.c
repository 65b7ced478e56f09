/* support.c - what the benchmark programs share. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

int64_t bench_integer(const char *text, const char *name, int64_t least)
{
    char *end;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || value < least) {
        fprintf(stderr, "%s: \"%s\" is not a whole number from %lld on\n", name, text, (long long)least);
        exit(2);
    }
    return value;
}

double bench_number(const char *text, const char *name)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end) {
        fprintf(stderr, "%s: \"%s\" is not a number\n", name, text);
        exit(2);
    }
    return value;
}

void *bench_alloc(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!memory) {
        fprintf(stderr, "out of memory: %zu bytes\n", bytes);
        exit(1);
    }
    return memory;
}

void bench_fill(float *out, int64_t n)
{
    uint64_t state = 88172645463325252u; /* xorshift64, Marsaglia 2003 */
    for (int64_t i = 0; i < n; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out[i] = (float)(state >> 40) / (float)(1 << 24);
    }
}

void bench_check(const spade_context *context, spade_status status)
{
    if (status == SPADE_OK) { return; }
    fprintf(stderr, "%s\n", context ? spade_message(context) : spade_status_name(status));
    exit(1);
}

spade_network_precision bench_precision(const char *text)
{
    static const char *const names[] = {
        [SPADE_NETWORK_FP32] = "fp32", [SPADE_NETWORK_TF32] = "tf32", [SPADE_NETWORK_BF16] = "bf16"};
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) {
        if (strcmp(text, names[i]) == 0) { return (spade_network_precision)i; }
    }
    fprintf(stderr, "--precision '%s': it is one of fp32, tf32, bf16\n", text);
    exit(2);
}

spade_context *bench_context(const char *device, int threads, uint64_t memory, spade_network_precision precision,
                             bool profile)
{
    spade_context *context = NULL;
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = device;
    options.threads = threads;
    options.memory = memory;
    options.precision = precision;
    options.profile = profile;
    bench_check(context, spade_context_create(&options, &context));
    return context;
}

double bench_hessian_direct(const spade_layer_info *layer)
{
    double k = (double)layer->columns, positions = (double)(layer->output[1] * layer->output[2]);
    return positions * k * (k + 1) * (double)layer->groups;
}

/* Stride 1, kernels larger than 1x1: the two forms that work on correlations of whole planes, a group's share. */
static double spectral(double channels, double frequencies)
{
    return frequencies * (2 * channels * channels + 2.5 * channels * log2(frequencies));
}

static double lagged(const spade_layer_info *layer)
{
    double channels = (double)layer->weight[1], plane = (double)(layer->input[1] * layer->input[2]);
    double lags = (double)((2 * layer->weight[2] - 1) * (2 * layer->weight[3] - 1) + 1) / 2; /* up to the sign */
    return 2 * lags * channels * channels * plane;
}

double bench_hessian_least(const spade_layer_info *layer)
{
    double direct = bench_hessian_direct(layer);
    bool dense = layer->stride[0] == 1 && layer->stride[1] == 1 && layer->dilation[0] == 1 && layer->dilation[1] == 1;
    if (!dense || layer->weight[2] * layer->weight[3] == 1) { return direct; }
    double height = (double)(layer->input[1] + layer->weight[2] - 1);
    double width = (double)(layer->input[2] + layer->weight[3] - 1);
    double groups = (double)layer->groups;
    return fmin(direct, groups * fmin(spectral((double)layer->weight[1], height * width), lagged(layer)));
}
