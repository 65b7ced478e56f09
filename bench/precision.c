/*
 * precision.c - what TF32 and bfloat16 change against float32 on the same device: Hessians, losses, masks, classes, maps.
 *
 *   bench_precision MODEL PICTURE... [--device NAME] [--variants N] [--sparsity S] [--threads N] [--fp64]
 *
 * A line for each picture and each of: float32 on the CPU (what rounding alone changes), TF32, bfloat16. --fp64: Hessians in
 * float64, so that only the network's products are rounded.
 *   hessian, hessian_rms   over all layers, |H - H'| / sqrt(H_ii H_jj): the largest, and the root of the mean square
 *   failed                 why there is no trace; what follows is missing then
 *   loss, loss_layer       relative difference of the sum of the layers' losses; the largest of one layer
 *   masks, masks_layer     weights that are zero in both traces or in none: of all, of the layer with the fewest
 *   class, trace_class     1: the same class decides, of the network, of its trace
 *   margin, trace_margin   by how much the outputs of float32's first two classes differ: small where it was nearly a tie
 *   map, trace_map         correlation of the saliency maps of float32's class, of the network, of its trace
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/support.h"

typedef struct request {
    const char *model, *device;
    int64_t variants;
    double sparsity;
    int threads;
    spade_precision hessian;
} request;

/* One picture in one precision. */
typedef struct outcome {
    spade_context *context;
    spade_model *model;
    spade_hessians *hessians;
    spade_trace *trace; /* NULL: failed */
    int *layers, count; /* prunable */
    int64_t shape[3], class_index[2];
    double margin[2];
    float *maps[2]; /* of the network, of the trace */
} outcome;

static void usage(void)
{
    fprintf(stderr, "usage: bench_precision MODEL PICTURE... [--device NAME] [--variants N] [--sparsity S] "
                    "[--threads N] [--fp64]\n");
    exit(2);
}

static request parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"device", required_argument, NULL, 'd'},   {"variants", required_argument, NULL, 'v'},
        {"sparsity", required_argument, NULL, 's'}, {"threads", required_argument, NULL, 't'},
        {"fp64", no_argument, NULL, '6'},           {NULL, 0, NULL, 0}};
    request r = {.device = "cuda", .variants = 48, .sparsity = 0.5, .threads = 1};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'd': r.device = optarg; break;
        case 'v': r.variants = bench_integer(optarg, "--variants", 1); break;
        case 's': r.sparsity = bench_number(optarg, "--sparsity"); break;
        case 't': r.threads = (int)bench_integer(optarg, "--threads", 1); break;
        case '6': r.hessian = SPADE_FP64; break;
        default: usage();
        }
    }
    if (argc - optind < 2) { usage(); }
    r.model = argv[optind++];
    return r;
}

static void open_outcome(const request *r, const char *device, spade_network_precision precision, outcome *o)
{
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = device;
    options.precision = precision;
    options.threads = r->threads;
    *o = (outcome){0};
    bench_check(o->context, spade_context_create(&options, &o->context));
    bench_check(o->context, spade_model_load(o->context, r->model, NULL, &o->model));
    const int all = spade_model_layer_count(o->model);
    o->layers = bench_alloc((size_t)all * sizeof *o->layers);
    for (int l = 0; l < all; l++) {
        spade_layer_info info;
        spade_model_layer(o->model, l, &info);
        if (info.prunable) { o->layers[o->count++] = l; }
    }
}

static void close_outcome(outcome *o)
{
    for (int i = 0; i < 2; i++) { free(o->maps[i]); }
    spade_trace_destroy(o->trace);
    spade_hessians_destroy(o->hessians);
    spade_model_destroy(o->model);
    spade_context_destroy(o->context);
    free(o->layers);
}

/* What decides, [0] of the network or [1] of its trace, and the map of class `explained` or, where that is negative, of
 * the decision. */
static void explain(outcome *o, const float *input, int of_trace, int64_t explained)
{
    const spade_trace *trace = of_trace ? o->trace : NULL;
    int64_t *decision = &o->class_index[of_trace];
    float **map = &o->maps[of_trace];
    const int64_t classes = spade_model_outputs(o->model);
    float *logits = bench_alloc((size_t)classes * sizeof *logits);
    spade_attribution *method = NULL;
    bench_check(o->context, spade_model_forward(o->context, o->model, trace, input, 1, logits));
    *decision = 0;
    for (int64_t c = 1; c < classes; c++) { *decision = logits[c] > logits[*decision] ? c : *decision; }
    o->margin[of_trace] = INFINITY;
    for (int64_t c = 0; c < classes; c++) {
        if (c != *decision) {
            o->margin[of_trace] = fmin(o->margin[of_trace], (double)(logits[*decision] - logits[c]));
        }
    }
    const spade_target target = {.class_index = explained < 0 ? *decision : explained};
    bench_check(o->context, spade_attribution_create(o->context, "saliency", &method));
    bench_check(o->context, spade_attribution_map_shape(o->context, o->model, method, o->shape));
    *map = bench_alloc((size_t)(o->shape[0] * o->shape[1] * o->shape[2]) * sizeof **map);
    bench_check(o->context, spade_attribute(o->context, o->model, trace, method, input, &target, 1, *map, NULL));
    spade_attribution_destroy(method);
    free(logits);
}

/* Everything of one picture; explained: as in explain(). */
static void run(const request *r, const char *path, int64_t explained, outcome *o)
{
    spade_picture picture = {0};
    spade_preprocess preprocess;
    spade_augment_options augment;
    spade_trace_options options;
    spade_batch *batch = NULL;
    int64_t channels, height, width;
    spade_model_input(o->model, &channels, &height, &width);
    spade_preprocess_init(&preprocess, height, width);
    spade_augment_options_init(&augment);
    augment.variants = r->variants;
    spade_trace_options_init(&options);
    options.sparsity = r->sparsity;
    options.hessian = r->hessian;
    float *input = bench_alloc((size_t)(channels * height * width) * sizeof *input);
    bench_check(o->context, spade_picture_load(o->context, path, &picture));
    bench_check(o->context, spade_preprocess_apply(o->context, &preprocess, &picture, input, NULL));
    bench_check(o->context, spade_batch_from_picture(o->context, &picture, &preprocess, &augment, &batch));
    bench_check(o->context,
                spade_hessian_accumulate(o->context, o->model, batch, o->layers, o->count, r->hessian, &o->hessians));
    explain(o, input, 0, explained);
    const spade_status status = spade_trace_create(o->context, o->model, batch, &options, &o->trace);
    if (status != SPADE_ERROR_NUMERICAL) { bench_check(o->context, status); }
    if (o->trace) { explain(o, input, 1, explained < 0 ? o->class_index[0] : explained); }
    spade_batch_destroy(batch);
    spade_picture_clear(&picture);
    free(input);
}

/* ---- differences */

static void compare_hessians(const outcome *a, const outcome *b)
{
    double largest = 0, squares = 0, numbers = 0;
    for (int i = 0; i < a->count; i++) {
        spade_layer_info info;
        spade_model_layer(a->model, a->layers[i], &info);
        const int64_t k = info.columns;
        double *h = bench_alloc((size_t)(k * k) * sizeof *h), *other = bench_alloc((size_t)(k * k) * sizeof *other);
        for (int64_t g = 0; g < info.groups; g++) {
            bench_check(a->context, spade_hessian_get(a->hessians, i, g, h));
            bench_check(b->context, spade_hessian_get(b->hessians, i, g, other));
            for (int64_t n = 0; n < k * k; n++) {
                const double size = sqrt(h[n / k * (k + 1)] * h[n % k * (k + 1)]);
                const double error = size > 0 ? fabs(h[n] - other[n]) / size : 0;
                largest = fmax(largest, error);
                squares += error * error;
            }
            numbers += (double)(k * k);
        }
        free(h);
        free(other);
    }
    printf(", \"hessian\": %.3g, \"hessian_rms\": %.3g", largest, numbers > 0 ? sqrt(squares / numbers) : 0);
}

static void compare_traces(const outcome *a, const outcome *b)
{
    double loss[2] = {0}, loss_layer = 0, same = 0, all = 0, masks_layer = 1;
    for (int i = 0; i < a->count; i++) {
        spade_layer_info info;
        spade_trace_layer own, other;
        spade_model_layer(a->model, a->layers[i], &info);
        spade_trace_layer_info(a->trace, a->layers[i], &own);
        spade_trace_layer_info(b->trace, a->layers[i], &other);
        const float *w = spade_trace_weights(a->trace, a->layers[i]), *v = spade_trace_weights(b->trace, a->layers[i]);
        const int64_t size = info.rows * info.columns;
        int64_t agree = 0;
        for (int64_t n = 0; n < size; n++) { agree += (w[n] == 0) == (v[n] == 0); }
        loss[0] += own.loss;
        loss[1] += other.loss;
        if (own.loss > 0) { loss_layer = fmax(loss_layer, fabs(own.loss - other.loss) / own.loss); }
        same += (double)agree;
        all += (double)size;
        masks_layer = fmin(masks_layer, (double)agree / (double)size);
    }
    printf(", \"loss\": %.3g, \"loss_layer\": %.3g, \"masks\": %.5f, \"masks_layer\": %.5f",
           fabs(loss[0] - loss[1]) / loss[0], loss_layer, same / all, masks_layer);
}

static double correlation(const outcome *a, const outcome *b, int map)
{
    const int64_t n = a->shape[0] * a->shape[1] * a->shape[2];
    double x = 0, y = 0, xx = 0, yy = 0, xy = 0;
    for (int64_t i = 0; i < n; i++) {
        const double p = (double)a->maps[map][i], q = (double)b->maps[map][i];
        x += p, y += q, xx += p * p, yy += q * q, xy += p * q;
    }
    return ((double)n * xy - x * y) / sqrt(((double)n * xx - x * x) * ((double)n * yy - y * y));
}

static void compare(const char *picture, const char *name, const outcome *a, const outcome *b)
{
    printf("{\"picture\": \"%s\", \"precision\": \"%s\"", picture, name);
    compare_hessians(a, b);
    printf(", \"class\": %d, \"margin\": %.3g, \"map\": %.6f", a->class_index[0] == b->class_index[0], a->margin[0],
           correlation(a, b, 0));
    if (a->trace && b->trace) {
        compare_traces(a, b);
        printf(", \"trace_class\": %d, \"trace_margin\": %.3g, \"trace_map\": %.6f",
               a->class_index[1] == b->class_index[1], a->margin[1], correlation(a, b, 1));
    } else {
        printf(", \"failed\": \"%s\"", spade_message(b->trace ? a->context : b->context));
    }
    printf("}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    request r = parse(argc, argv);
    for (int i = optind; i < argc; i++) {
        outcome reference;
        open_outcome(&r, r.device, SPADE_NETWORK_FP32, &reference);
        run(&r, argv[i], -1, &reference);
        for (int other = 0; other < 3; other++) {
            static const char *const names[] = {"fp32 on the CPU", "tf32", "bf16"};
            static const spade_network_precision precisions[] = {SPADE_NETWORK_FP32, SPADE_NETWORK_TF32,
                                                                 SPADE_NETWORK_BF16};
            outcome o;
            open_outcome(&r, other ? r.device : "cpu", precisions[other], &o);
            run(&r, argv[i], reference.class_index[0], &o);
            compare(argv[i], names[other], &reference, &o);
            close_outcome(&o);
        }
        close_outcome(&reference);
    }
    return 0;
}
