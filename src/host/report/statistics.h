/* statistics.h - a metric over many pictures: means, and pairs of values compared. */
#ifndef SPADE_REPORT_STATISTICS_H
#define SPADE_REPORT_STATISTICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

typedef struct sample_statistics {
    int64_t count;      /* of values that are not NaN */
    double mean, error; /* error: standard error of the mean; NaN of fewer than 2 values, both of none */
} sample_statistics;
sample_statistics describe_sample(const double *values, int64_t n);

/* The one definition of better, wherever maps are counted: 1: b is better than a, -1: a is, 0: they are equal, to the last bit. */
static inline int compare_values(double a, double b, bool higher)
{
    const int order = (b > a) - (b < a);
    return higher ? order : -order;
}

typedef struct pair_statistics {
    int64_t count;     /* pairs of which neither is NaN */
    double difference; /* mean of b - a; NaN: there is none */
    double low,
        high; /* 95 % of the means of 10,000 samples drawn from the pairs with replacement (percentile bootstrap) */
    double better, same; /* shares of the pairs in which b is better than a, or equal to it */
} pair_statistics;
/* higher: larger values are better. The same seed draws the same samples. differences: scratch [n]; means: scratch
 * [BOOTSTRAP_SAMPLES]. */
enum { BOOTSTRAP_SAMPLES = 10000 };
pair_statistics compare_pairs(const double *a, const double *b, int64_t n, bool higher, uint64_t seed,
                              double *differences, double *means);
/* Into an object: "pairs", "difference", "low", "high", "better", "same"; null for NaN. */
void pair_statistics_json(const pair_statistics *pairs, json_t **object);

#endif
