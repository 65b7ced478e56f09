/*
 * pictures.c - from pictures to traces and maps in bulk: seconds of several together, and whether the same numbers come
 * out whatever the memory and the company.
 *
 *   bench_pictures MODEL PICTURE [--variants N] [--sparsity S] [--threads N] [--repeat N] [--together N]
 *                  [--memory BYTES] [--device NAME] [--precision P]
 *
 * A run decodes the picture as often as there are pictures together, finds their traces in one call (each with variants
 * of its own) and makes a saliency map on every one. A line a run: seconds of it all, of the traces ("trace") and of a
 * map (the fastest), the most memory in use, and a checksum of the first trace's weights and map: it must not depend on
 * --together and --memory.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

enum { MAX_TOGETHER = 64 };

typedef struct request {
    const char *model, *picture, *device;
    int64_t variants;
    double sparsity;
    int threads, repeat, together;
    uint64_t memory;
    spade_network_precision precision;
} request;

static void usage(void)
{
    fprintf(stderr, "usage: bench_pictures MODEL PICTURE [--variants N] [--sparsity S] [--threads N] [--repeat N] "
                    "[--together N] [--memory BYTES] [--device NAME] [--precision P]\n");
    exit(2);
}

static request parse(int argc, char **argv)
{
    static const struct option known[] = {{"variants", required_argument, NULL, 'v'},
                                          {"sparsity", required_argument, NULL, 's'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"repeat", required_argument, NULL, 'r'},
                                          {"together", required_argument, NULL, 'n'},
                                          {"memory", required_argument, NULL, 'm'},
                                          {"device", required_argument, NULL, 'd'},
                                          {"precision", required_argument, NULL, 'x'},
                                          {NULL, 0, NULL, 0}};
    request r = {.device = "cpu", .variants = 64, .sparsity = 0.95, .threads = 1, .repeat = 1, .together = 1};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'v': r.variants = bench_integer(optarg, "--variants", 1); break;
        case 's': r.sparsity = bench_number(optarg, "--sparsity"); break;
        case 't': r.threads = (int)bench_integer(optarg, "--threads", 1); break;
        case 'r': r.repeat = (int)bench_integer(optarg, "--repeat", 1); break;
        case 'n': r.together = (int)bench_integer(optarg, "--together", 1); break;
        case 'm': r.memory = (uint64_t)bench_integer(optarg, "--memory", 0); break;
        case 'd': r.device = optarg; break;
        case 'x': r.precision = bench_precision(optarg); break;
        default: usage();
        }
    }
    if (argc - optind != 2 || r.together > MAX_TOGETHER) { usage(); }
    r.model = argv[optind];
    r.picture = argv[optind + 1];
    return r;
}

/* FNV-1a over the bytes of floats. */
static uint64_t add_bytes(uint64_t sum, const float *numbers, int64_t n)
{
    const unsigned char *bytes = (const unsigned char *)numbers;
    for (size_t i = 0; i < (size_t)n * sizeof *numbers; i++) { sum = (sum ^ bytes[i]) * 1099511628211ULL; }
    return sum;
}

static uint64_t checksum(const spade_context *context, const spade_model *model, const spade_trace *trace,
                         const float *map, int64_t size)
{
    uint64_t sum = add_bytes(14695981039346656037ULL, map, size);
    for (int l = 0; l < spade_model_layer_count(model); l++) {
        spade_layer_info info;
        spade_model_layer(model, l, &info);
        const float *weights = spade_trace_weights(trace, l);
        bench_check(context, weights ? SPADE_OK : SPADE_ERROR_MEMORY);
        sum = add_bytes(sum, weights, info.rows * info.columns);
    }
    return sum;
}

/* What a run works on. */
typedef struct bench {
    const request *request;
    spade_context *context;
    const spade_model *model;
    spade_preprocess preprocess;
    spade_trace_options options;
    int64_t size; /* numbers of an input */
    float *input, *map;
    spade_picture pictures[MAX_TOGETHER];
    spade_batch *batches[MAX_TOGETHER];
    spade_trace *traces[MAX_TOGETHER];
} bench;

static void open_pictures(bench *b)
{
    spade_augment_options augment;
    spade_augment_options_init(&augment);
    augment.variants = b->request->variants;
    for (int i = 0; i < b->request->together; i++) {
        augment.seed = (uint64_t)i;
        bench_check(b->context, spade_picture_load(b->context, b->request->picture, &b->pictures[i]));
        bench_check(b->context,
                    spade_batch_from_picture(b->context, &b->pictures[i], &b->preprocess, &augment, &b->batches[i]));
    }
}

/* The fastest map's seconds. The map of the first trace is made last, and stays. */
static double make_maps(bench *b)
{
    const spade_target target = {.class_index = 0};
    spade_attribution *saliency;
    double best = 0;
    bench_check(b->context, spade_attribution_create(b->context, "saliency", &saliency));
    for (int i = b->request->together - 1; i >= 0; i--) {
        bench_check(b->context, spade_preprocess_apply(b->context, &b->preprocess, &b->pictures[i], b->input, NULL));
        double start = bench_now();
        bench_check(b->context,
                    spade_attribute(b->context, b->model, b->traces[i], saliency, b->input, &target, 1, b->map, NULL));
        double seconds = bench_now() - start;
        if (best == 0 || seconds < best) { best = seconds; }
    }
    spade_attribution_destroy(saliency);
    return best;
}

static void run_once(bench *b)
{
    const int n = b->request->together;
    spade_stage_usage usage[SPADE_STAGE_COUNT];
    uint64_t memory = 0;
    spade_usage_reset(b->context);
    double start = bench_now();
    open_pictures(b);
    double decoded = bench_now();
    bench_check(b->context, spade_trace_create_many(b->context, b->model, (const spade_batch *const *)b->batches, n,
                                                    &b->options, 1, b->traces));
    double traced = bench_now(), map = make_maps(b), end = bench_now();
    spade_usage(b->context, usage);
    for (int s = 0; s < SPADE_STAGE_COUNT; s++) { memory = usage[s].memory > memory ? usage[s].memory : memory; }
    printf("{\"together\": %d, \"seconds\": %.6f, \"trace\": %.6f, \"map\": %.6f, \"memory\": %llu, "
           "\"checksum\": \"%016llx\"}\n",
           n, end - start, traced - decoded, map, (unsigned long long)memory,
           (unsigned long long)checksum(b->context, b->model, b->traces[0], b->map, b->size));
    for (int i = 0; i < n; i++) {
        spade_trace_destroy(b->traces[i]);
        spade_batch_destroy(b->batches[i]);
        spade_picture_clear(&b->pictures[i]);
    }
}

int main(int argc, char **argv)
{
    request r = parse(argc, argv);
    bench b = {.request = &r, .context = bench_context(r.device, r.threads, r.memory, r.precision, false)};
    spade_model *model = NULL;
    int64_t channels, height, width;
    bench_check(b.context, spade_model_load(b.context, r.model, NULL, &model));
    b.model = model;
    spade_model_input(model, &channels, &height, &width);
    spade_preprocess_init(&b.preprocess, height, width);
    spade_trace_options_init(&b.options);
    b.options.sparsity = r.sparsity;
    b.size = channels * height * width;
    b.input = bench_alloc((size_t)b.size * sizeof *b.input);
    b.map = bench_alloc((size_t)b.size * sizeof *b.map);
    for (int i = 0; i < r.repeat; i++) { run_once(&b); }
    free(b.input);
    free(b.map);
    spade_model_destroy(model);
    spade_context_destroy(b.context);
    return 0;
}
