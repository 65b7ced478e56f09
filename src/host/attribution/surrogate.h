/*
 * surrogate.h - linear models of F over superpixels: what lime and kernel_shap share. F is evaluated at coalitions, images
 * that keep some of the superpixels and have the baseline in place of the others; a model is fitted to its values; a
 * pixel's value in the map is the coefficient of its superpixel.
 */
#ifndef SPADE_ATTRIBUTION_SURROGATE_H
#define SPADE_ATTRIBUTION_SURROGATE_H

#include "attribution/registry.h"

/* The last two are LIME's alone. */
typedef struct surrogate_options {
    int64_t samples;
    spade_baseline_option baseline;
    int superpixels; /* 0: SLIC, 1: a grid */
    int64_t segments;
    double compactness;
    char *segmentation; /* NULL: not given */
    double alpha, kernel_width;
} surrogate_options;
enum { SURROGATE_OPTIONS = 8, SURROGATE_SHARED_OPTIONS = 6 };
extern const spade_option_info surrogate_option_infos[SURROGATE_OPTIONS];
extern const size_t surrogate_option_offsets[SURROGATE_OPTIONS];

typedef struct surrogate_problem {
    const attribution_job *job;
    const surrogate_options *options;
    int64_t segments;          /* 2 or more */
    const int32_t *segment_of; /* [H * W] */
    const float *baseline;     /* [size]: what replaced pixels are */
    int64_t images;
    uint8_t *coalitions;   /* [images, segments]: 1 where the segment is the picture's, else 0 */
    const double *values;  /* [n, images]: F at the coalitions */
    double *coefficients;  /* [n, segments] out */
    spade_map_note *notes; /* [n] out, where a method has any; or NULL */
    uint32_t key[2];       /* of random numbers: of (seed, input) */
} surrogate_problem;

/* How a method draws its coalitions and fits its model. Coalition i is a function of the key, `segments` and i. */
typedef struct surrogate_method {
    int64_t (*images)(int64_t samples, int64_t segments);
    void (*draw)(const surrogate_problem *problem);
    spade_status (*fit)(const surrogate_problem *problem);
} surrogate_method;

spade_status surrogate_check(const attribution_job *job, const void *options);
spade_status surrogate_run(const attribution_job *job, const surrogate_options *options, const surrogate_method *method,
                           float *maps, spade_map_note *notes);

/*
 * ---- lasso.c: the w that minimises w' gram w / 2 - w' correlation + alpha * |w|_1, by coordinate descent from 0, until a
 * round moves no coefficient by more than 1e-10 of the largest. gram [n, n] symmetric; w [n] out; product [n]: scratch.
 * False: it did not come to rest.
 */
bool surrogate_lasso(int64_t n, const double *gram, const double *correlation, double alpha, double *w,
                     double *product);

#endif
