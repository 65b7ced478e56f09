/*
 * hessian.c - the Hessian of one layer: spade's update against the naive form, unfold and multiply.
 *
 *   bench_hessian MODEL VARIANTS THREADS REPEAT        MODEL: a network whose first layer reads the input itself
 *
 * The naive form is what a C user would write: the patches of as many images as fit in UNFOLDED bytes as a matrix
 * [K, positions], all threads unfolding, then one sgemm of it with its own transpose a group on all threads. Both
 * results are compared. The seconds of spade are those of its Hessian stage; "call" is the whole of
 * spade_hessian_accumulate, with copying the input in and turning its layout.
 */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

enum { UNFOLDED = 128 << 20 };
#define TOLERANCE 1e-4 /* of float32 sums in two orders, over sqrt(H_ii H_jj) */

typedef struct problem {
    spade_layer_info layer;
    int64_t n, pixels; /* images; numbers of one */
    const float *x;    /* [n, C, H, W]; linear layers: [n, positions, K] */
} problem;

/* Row `column` of the unfolded matrix of a convolution: that input of every position of `images`. */
static void unfold_row(const problem *p, const float *images, int64_t count, int64_t column, float *out)
{
    const spade_layer_info *l = &p->layer;
    int64_t kw = l->weight[3], area = l->weight[2] * kw, channel = column / area;
    int64_t height = l->input[1], width = l->input[2];
    int64_t down = column % area / kw * l->dilation[0] - l->pad[0], right = column % kw * l->dilation[1] - l->pad[1];
    for (int64_t i = 0; i < count; i++) {
        const float *plane = images + i * p->pixels + channel * height * width;
        for (int64_t oy = 0; oy < l->output[1]; oy++, out += l->output[2]) {
            int64_t y = oy * l->stride[0] + down;
            if (y < 0 || y >= height) {
                memset(out, 0, (size_t)l->output[2] * sizeof *out);
                continue;
            }
            for (int64_t ox = 0; ox < l->output[2]; ox++) {
                int64_t x = ox * l->stride[1] + right;
                out[ox] = x >= 0 && x < width ? plane[y * width + x] : 0.0f;
            }
        }
    }
}

/* h [groups, K, K] of all images, float32. unfolded: room for `chunk` images. */
static void naive_convolution(const problem *p, int64_t chunk, float *unfolded, float *h)
{
    const spade_layer_info *l = &p->layer;
    int64_t k = l->columns, rows = k * l->groups;
    for (int64_t first = 0; first < p->n; first += chunk) {
        int64_t count = p->n - first < chunk ? p->n - first : chunk, width = count * l->output[1] * l->output[2];
        const float *images = p->x + first * p->pixels;
#pragma omp parallel for schedule(static)
        for (int64_t row = 0; row < rows; row++) { unfold_row(p, images, count, row, unfolded + row * width); }
        for (int64_t g = 0; g < l->groups; g++) {
            const float *a = unfolded + g * k * width;
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)k, (int)k, (int)width, 2.0f / (float)p->n, a,
                        (int)width, a, (int)width, 1.0f, h + g * k * k, (int)k);
        }
    }
}

static double run_naive(const problem *p, float *h)
{
    const spade_layer_info *l = &p->layer;
    int64_t k = l->columns, positions = l->output[1] * l->output[2];
    memset(h, 0, (size_t)(l->groups * k * k) * sizeof *h);
    if (!l->convolution) {
        double start = bench_now();
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)k, (int)k, (int)(p->n * positions),
                    2.0f / (float)p->n, p->x, (int)k, p->x, (int)k, 0.0f, h, (int)k);
        return bench_now() - start;
    }
    int64_t image = l->groups * k * positions, chunk = UNFOLDED / (int64_t)sizeof(float) / image;
    chunk = chunk < 1 ? 1 : chunk > p->n ? p->n : chunk;
    float *unfolded = bench_alloc((size_t)(chunk * image) * sizeof *unfolded);
    memset(unfolded, 0, (size_t)(chunk * image) * sizeof *unfolded); /* its pages are there when the clock starts */
    double start = bench_now();
    naive_convolution(p, chunk, unfolded, h);
    double seconds = bench_now() - start;
    free(unfolded);
    return seconds;
}

typedef struct result {
    double update, call; /* seconds */
    uint64_t memory;
} result;

/* h [groups, K, K]: written where it is not NULL. */
static result run_spade(spade_context *context, const spade_model *model, const problem *p, double *h)
{
    spade_batch *batch = NULL;
    spade_hessians *hessians = NULL;
    spade_stage_usage usage[SPADE_STAGE_COUNT];
    int64_t c, height, width, k = p->layer.columns;
    int layer = 0;
    spade_model_input(model, &c, &height, &width);
    bench_check(context, spade_batch_from_array(context, p->x, p->n, c, height, width, &batch));
    spade_usage_reset(context);
    double start = bench_now();
    bench_check(context, spade_hessian_accumulate(context, model, batch, &layer, 1, SPADE_FP32, &hessians));
    result r = {.call = bench_now() - start};
    spade_usage(context, usage);
    r.update = usage[SPADE_STAGE_HESSIAN].seconds;
    r.memory = usage[SPADE_STAGE_HESSIAN].memory;
    for (int64_t g = 0; h && g < p->layer.groups; g++) {
        bench_check(context, spade_hessian_get(hessians, 0, g, h + g * k * k));
    }
    spade_hessians_destroy(hessians);
    spade_batch_destroy(batch);
    return r;
}

/* max |a - b| / sqrt(a_ii a_jj) */
static double difference(const problem *p, const double *a, const float *b)
{
    int64_t k = p->layer.columns;
    double most = 0;
    for (int64_t g = 0; g < p->layer.groups; g++, a += k * k, b += k * k) {
        for (int64_t i = 0; i < k; i++) {
            for (int64_t j = 0; j < k; j++) {
                double scale = sqrt(a[i * (k + 1)] * a[j * (k + 1)]), d = fabs(a[i * k + j] - (double)b[i * k + j]);
                if (!(d <= most * scale)) { most = d / scale; }
            }
        }
    }
    return most;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: bench_hessian MODEL VARIANTS THREADS REPEAT\n");
        return 2;
    }
    problem p = {.n = bench_integer(argv[2], "VARIANTS", 1)};
    int threads = (int)bench_integer(argv[3], "THREADS", 1), repeat = (int)bench_integer(argv[4], "REPEAT", 1);
    spade_context *context = bench_context("cpu", threads, 0, SPADE_NETWORK_FP32, false);
    spade_model *model = NULL;
    int64_t c, height, width;
    bench_check(context, spade_model_load(context, argv[1], NULL, &model));
    spade_model_layer(model, 0, &p.layer);
    spade_model_input(model, &c, &height, &width);
    p.pixels = c * height * width;
    float *x = bench_alloc((size_t)(p.n * p.pixels) * sizeof *x);
    bench_fill(x, p.n * p.pixels);
    p.x = x;

    size_t size = (size_t)(p.layer.groups * p.layer.columns * p.layer.columns);
    float *naive = bench_alloc(size * sizeof *naive);
    double *ours = bench_alloc(size * sizeof *ours);
    double *seconds = bench_alloc(3 * (size_t)repeat * sizeof *seconds);
    result r = run_spade(context, model, &p, ours); /* a first run of both that is not timed */
    omp_set_num_threads(threads);
    run_naive(&p, naive);
    for (int i = 0; i < repeat; i++) {
        r = run_spade(context, model, &p, NULL);
        seconds[i] = r.update;
        seconds[repeat + i] = r.call;
        omp_set_num_threads(threads);
        seconds[2 * repeat + i] = run_naive(&p, naive);
    }
    double apart = difference(&p, ours, naive);
    printf("{\"update\": %.6g, \"call\": %.6g, \"naive\": %.6g, \"memory\": %llu, \"difference\": %.3g, \"direct\": "
           "%.6g, \"least\": %.6g}\n",
           bench_median(seconds, repeat), bench_median(seconds + repeat, repeat),
           bench_median(seconds + 2 * repeat, repeat), (unsigned long long)r.memory, apart,
           (double)p.n * bench_hessian_direct(&p.layer), (double)p.n * bench_hessian_least(&p.layer));
    free(x);
    free(naive);
    free(ours);
    free(seconds);
    spade_model_destroy(model);
    spade_context_destroy(context);
    if (!(apart < TOLERANCE)) { /* times of different results are no comparison */
        fprintf(stderr, "the two Hessians differ by %g\n", apart);
        return 1;
    }
    return 0;
}
