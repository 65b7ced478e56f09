/* statistics.c - see statistics.h. Source of the interval: Efron, Tibshirani 1993, An introduction to the bootstrap, chapter 13. */
#include "report/statistics.h"

#include <math.h>
#include <stdlib.h>

#include "base/base.h"

sample_statistics describe_sample(const double *values, int64_t n)
{
    sample_statistics out = {0, NAN, NAN};
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(values[i])) { continue; }
        sum += values[i];
        out.count++;
    }
    if (!out.count) { return out; }
    const double count = (double)out.count;
    out.mean = sum / count;
    if (out.count < 2) { return out; }
    for (int64_t i = 0; i < n; i++) {
        if (!isnan(values[i])) { squares += (values[i] - out.mean) * (values[i] - out.mean); }
    }
    out.error = sqrt(squares / (count - 1) / count);
    return out;
}

static int by_value(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Means of samples of n of the differences: means [BOOTSTRAP_SAMPLES], sorted. */
static void draw_means(const double *differences, int64_t n, uint64_t seed, double *means)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int s = 0; s < BOOTSTRAP_SAMPLES; s++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i += 2) {
            const uint32_t counter[4] = {(uint32_t)s, (uint32_t)(i / 2), 0, 0};
            uint32_t random[4];
            spade_philox(key, counter, random);
            sum += differences[(int64_t)(spade_uniform(random[0], random[1]) * (double)n)];
            if (i + 1 < n) { sum += differences[(int64_t)(spade_uniform(random[2], random[3]) * (double)n)]; }
        }
        means[s] = sum / (double)n;
    }
    qsort(means, BOOTSTRAP_SAMPLES, sizeof *means, by_value);
}

pair_statistics compare_pairs(const double *a, const double *b, int64_t n, bool higher, uint64_t seed,
                              double *differences, double *means)
{
    enum { CUT = BOOTSTRAP_SAMPLES / 40 }; /* at each end */
    pair_statistics out = {0, NAN, NAN, NAN, NAN, NAN};
    double sum = 0;
    int64_t better = 0, same = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(a[i]) || isnan(b[i])) { continue; }
        const double difference = b[i] - a[i];
        differences[out.count++] = difference;
        sum += difference;
        same += compare_values(a[i], b[i], higher) == 0;
        better += compare_values(a[i], b[i], higher) > 0;
    }
    if (!out.count) { return out; }
    const double count = (double)out.count;
    out.difference = sum / count;
    out.better = (double)better / count;
    out.same = (double)same / count;
    if (out.count < 2) { return out; }
    draw_means(differences, out.count, seed, means);
    out.low = means[CUT];
    out.high = means[BOOTSTRAP_SAMPLES - 1 - CUT];
    return out;
}

void pair_statistics_json(const pair_statistics *pairs, json_t **object)
{
    spade_json_set(object, "pairs", json_integer(pairs->count));
    spade_json_set(object, "difference", spade_json_number(pairs->difference));
    spade_json_set(object, "low", spade_json_number(pairs->low));
    spade_json_set(object, "high", spade_json_number(pairs->high));
    spade_json_set(object, "better", spade_json_number(pairs->better));
    spade_json_set(object, "same", spade_json_number(pairs->same));
}
