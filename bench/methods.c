/*
 * methods.c - maps of one input: each method by itself, and several together.
 *
 *   bench_methods MODEL INPUT.npy METHOD[,METHOD...] [--together] [--threads N] [--repeat N] [--device NAME] [--precision P]
 *
 * A line for each method: seconds of the first map, which plans the network's pass, and of each of the `repeat` maps after
 * it. --together: then all of them, those that share their walk through the network in one call, as `spade explain` makes
 * them. The methods take turns, so that what slows the machine slows all of them. Class 0; the model is loaded before.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

enum { MAX_METHODS = 16 };

typedef struct request {
    const char *model, *input, *device;
    char *methods;
    int threads, repeat;
    bool together;
    spade_network_precision precision;
} request;

/* What is timed: a method, or all of them. */
typedef struct timed {
    const char *name;
    double first, *seconds; /* [repeat] */
} timed;

typedef struct bench {
    const request *request;
    spade_context *context;
    spade_model *model;
    spade_array input;
    int count;
    spade_attribution *methods[MAX_METHODS];
    float *maps[MAX_METHODS];
    timed times[MAX_METHODS + 1];
} bench;

static void usage(void)
{
    fprintf(stderr, "usage: bench_methods MODEL INPUT.npy METHOD[,METHOD...] [--together] [--threads N] [--repeat N] "
                    "[--device NAME] [--precision P]\n");
    exit(2);
}

static request parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"together", no_argument, NULL, 'a'},        {"threads", required_argument, NULL, 't'},
        {"repeat", required_argument, NULL, 'r'},    {"device", required_argument, NULL, 'd'},
        {"precision", required_argument, NULL, 'x'}, {NULL, 0, NULL, 0}};
    request r = {.device = "cpu", .threads = 1, .repeat = 1};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'a': r.together = true; break;
        case 't': r.threads = (int)bench_integer(optarg, "--threads", 1); break;
        case 'r': r.repeat = (int)bench_integer(optarg, "--repeat", 1); break;
        case 'd': r.device = optarg; break;
        case 'x': r.precision = bench_precision(optarg); break;
        default: usage();
        }
    }
    if (argc - optind != 3) { usage(); }
    r.model = argv[optind];
    r.input = argv[optind + 1];
    r.methods = argv[optind + 2];
    return r;
}

static void open_methods(bench *b)
{
    char *rest = NULL;
    int64_t channels, height, width;
    spade_preprocess preprocess; /* of random baselines */
    spade_model_input(b->model, &channels, &height, &width);
    spade_preprocess_init(&preprocess, height, width);
    for (char *name = strtok_r(b->request->methods, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        int64_t shape[3];
        if (b->count == MAX_METHODS) { usage(); }
        spade_attribution **method = &b->methods[b->count];
        bench_check(b->context, spade_attribution_create(b->context, name, method));
        bench_check(b->context, spade_attribution_set_preprocess(b->context, *method, &preprocess));
        bench_check(b->context, spade_attribution_map_shape(b->context, b->model, *method, shape));
        b->maps[b->count] = bench_alloc((size_t)(shape[0] * shape[1] * shape[2]) * sizeof(float));
        b->times[b->count++].name = name;
    }
    b->times[b->count].name = "together";
    for (int i = 0; i <= b->count; i++) {
        b->times[i].seconds = bench_alloc((size_t)b->request->repeat * sizeof(double));
    }
}

static void attribute(bench *b, const spade_attribution *const *methods, int count, float *const *maps)
{
    const spade_target target = {.class_index = 0};
    bench_check(b->context, spade_attribute_together(b->context, b->model, NULL, methods, count, b->input.data, &target,
                                                     1, maps, NULL));
}

static void attribute_all(bench *b)
{
    bool done[MAX_METHODS] = {false};
    for (int i = 0; i < b->count; i++) {
        const spade_attribution *methods[MAX_METHODS];
        float *maps[MAX_METHODS];
        int count = 0;
        for (int k = i; k < b->count && count < SPADE_MAX_TOGETHER; k++) {
            if (done[k] || (k > i && !spade_attributions_share(b->methods[i], b->methods[k]))) { continue; }
            methods[count] = b->methods[k];
            maps[count++] = b->maps[k];
            done[k] = true;
        }
        if (count > 0) { attribute(b, methods, count, maps); }
    }
}

/* Round 0 is the first maps. */
static void run_round(bench *b, int round)
{
    for (int i = 0; i < b->count + b->request->together; i++) {
        const double start = bench_now();
        if (i < b->count) {
            const spade_attribution *method = b->methods[i];
            attribute(b, &method, 1, &b->maps[i]);
        } else {
            attribute_all(b);
        }
        *(round ? &b->times[i].seconds[round - 1] : &b->times[i].first) = bench_now() - start;
    }
}

static void report(const bench *b)
{
    for (int i = 0; i < b->count + b->request->together; i++) {
        const timed *t = &b->times[i];
        printf("{\"method\": \"%s\", \"first\": %.6f, \"seconds\": [", t->name, t->first);
        for (int r = 0; r < b->request->repeat; r++) { printf("%s%.6f", r ? ", " : "", t->seconds[r]); }
        printf("]}\n");
    }
}

static void close_bench(bench *b)
{
    for (int i = 0; i <= b->count; i++) { free(b->times[i].seconds); }
    for (int i = 0; i < b->count; i++) {
        free(b->maps[i]);
        spade_attribution_destroy(b->methods[i]);
    }
    spade_array_clear(&b->input);
    spade_model_destroy(b->model);
    spade_context_destroy(b->context);
}

int main(int argc, char **argv)
{
    const request r = parse(argc, argv);
    bench b = {.request = &r, .context = bench_context(r.device, r.threads, 0, r.precision, false)};
    int64_t channels, height, width;
    bench_check(b.context, spade_model_load(b.context, r.model, NULL, &b.model));
    bench_check(b.context, spade_array_load(b.context, r.input, 0, &b.input));
    spade_model_input(b.model, &channels, &height, &width);
    if (spade_array_size(&b.input) != channels * height * width) {
        fprintf(stderr, "%s: not one input of the network\n", r.input);
        return 1;
    }
    open_methods(&b);
    for (int round = 0; round <= r.repeat; round++) { run_round(&b, round); }
    report(&b);
    close_bench(&b);
    return 0;
}
