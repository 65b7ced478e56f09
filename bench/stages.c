/*
 * stages.c - the trace of one picture, stage by stage: seconds, operations, memory.
 *
 *   bench_stages MODEL PICTURE [--variants N] [--sparsity S] [--threads N] [--repeat N] [--layers N] [--memory BYTES]
 *                [--device NAME] [--precision P] [--profile]
 *
 * The clock of a run starts at the picture file (the model is loaded before, as it is for many pictures) and stops when
 * the trace holds the sparse weights. --layers: only the first N prunable layers. --profile: stages wait for the
 * device, so that their seconds are its own and the whole takes longer. Operations are counted from the table of
 * layers, a multiply and an add as two: forward to the last layer asked for, Hessians in their definition ("direct")
 * and in the form that takes the fewest ("least", support.h), factors K^3/3, sweeps R K^2.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "support/support.h"

typedef struct request {
    const char *model, *picture, *device;
    int64_t variants, layers;
    double sparsity;
    int threads, repeat;
    uint64_t memory;
    bool profile;
    spade_network_precision precision;
} request;

/* Operations of one trace. */
typedef struct operations {
    double forward, hessian_direct, hessian_least, factor, sweep;
} operations;

static void usage(void)
{
    fprintf(stderr, "usage: bench_stages MODEL PICTURE [--variants N] [--sparsity S] [--threads N] [--repeat N] "
                    "[--layers N] [--memory BYTES] [--device NAME] [--precision P] [--profile]\n");
    exit(2);
}

static request parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"variants", required_argument, NULL, 'v'}, {"sparsity", required_argument, NULL, 's'},
        {"threads", required_argument, NULL, 't'},  {"repeat", required_argument, NULL, 'r'},
        {"layers", required_argument, NULL, 'l'},   {"memory", required_argument, NULL, 'm'},
        {"device", required_argument, NULL, 'd'},   {"precision", required_argument, NULL, 'x'},
        {"profile", no_argument, NULL, 'p'},        {NULL, 0, NULL, 0}};
    request r = {.device = "cpu", .variants = 64, .sparsity = 0.95, .threads = 1, .repeat = 1};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'v': r.variants = bench_integer(optarg, "--variants", 1); break;
        case 's': r.sparsity = bench_number(optarg, "--sparsity"); break;
        case 't': r.threads = (int)bench_integer(optarg, "--threads", 1); break;
        case 'r': r.repeat = (int)bench_integer(optarg, "--repeat", 1); break;
        case 'l': r.layers = bench_integer(optarg, "--layers", 0); break;
        case 'm': r.memory = (uint64_t)bench_integer(optarg, "--memory", 0); break;
        case 'd': r.device = optarg; break;
        case 'x': r.precision = bench_precision(optarg); break;
        case 'p': r.profile = true; break;
        default: usage();
        }
    }
    if (argc - optind != 2) { usage(); }
    r.model = argv[optind];
    r.picture = argv[optind + 1];
    return r;
}

/* Names of the first `limit` prunable layers (0: of all), owned by the model -> names; returns their number. */
static int choose_layers(const spade_model *model, int64_t limit, const char **names)
{
    int count = 0;
    for (int l = 0; l < spade_model_layer_count(model) && (!limit || count < limit); l++) {
        spade_layer_info info;
        spade_model_layer(model, l, &info);
        if (info.prunable) { names[count++] = info.name; }
    }
    return count;
}

static operations count_operations(const spade_model *model, const char *const *names, int count, int64_t variants)
{
    operations all = {0};
    double n = (double)variants, forward = 0; /* of the layers before the one at hand: its input is what is needed */
    for (int l = 0, i = 0; i < count; l++) {
        spade_layer_info info;
        spade_model_layer(model, l, &info);
        if (strcmp(info.name, names[i]) == 0) {
            double k = (double)info.columns, groups = (double)info.groups;
            all.forward = n * forward;
            all.hessian_direct += n * bench_hessian_direct(&info);
            all.hessian_least += n * bench_hessian_least(&info);
            all.factor += groups * k * k * k / 3;
            all.sweep += (double)info.rows * k * k;
            i++;
        }
        forward += info.operations;
    }
    return all;
}

/* One trace; prints a line. `counted`: what it had to compute. */
static void run_once(const request *r, spade_context *context, const spade_model *model,
                     const spade_trace_options *options, const operations *counted)
{
    spade_picture picture = {0};
    spade_preprocess preprocess;
    spade_augment_options augment;
    spade_batch *batch = NULL;
    spade_trace *trace = NULL;
    spade_stage_usage usage[SPADE_STAGE_COUNT];
    struct rusage process;
    int64_t channels, height, width;
    spade_model_input(model, &channels, &height, &width);
    spade_preprocess_init(&preprocess, height, width);
    spade_augment_options_init(&augment);
    augment.variants = r->variants;

    spade_usage_reset(context);
    double start = bench_now();
    bench_check(context, spade_picture_load(context, r->picture, &picture));
    double decoded = bench_now();
    bench_check(context, spade_batch_from_picture(context, &picture, &preprocess, &augment, &batch));
    bench_check(context, spade_trace_create(context, model, batch, options, &trace));
    double end = bench_now();
    spade_usage(context, usage);
    getrusage(RUSAGE_SELF, &process);
    printf("{\"seconds\": %.6f, \"decode\": %.6f, \"resident\": %.0f, \"layers\": %d", end - start, decoded - start,
           1024.0 * (double)process.ru_maxrss, options->include_count);
    for (int s = 0; s < SPADE_STAGE_COUNT; s++) {
        printf(", \"%s\": {\"seconds\": %.6f, \"memory\": %llu}", spade_stage_name(s), usage[s].seconds,
               (unsigned long long)usage[s].memory);
    }
    printf(", \"operations\": {\"forward\": %.6g, \"hessian_direct\": %.6g, \"hessian\": %.6g, \"factor\": %.6g, "
           "\"sweep\": %.6g}}\n",
           counted->forward, counted->hessian_direct, counted->hessian_least, counted->factor, counted->sweep);
    spade_trace_destroy(trace);
    spade_batch_destroy(batch);
    spade_picture_clear(&picture);
}

int main(int argc, char **argv)
{
    request r = parse(argc, argv);
    spade_context *context = bench_context(r.device, r.threads, r.memory, r.precision, r.profile);
    spade_model *model = NULL;
    bench_check(context, spade_model_load(context, r.model, NULL, &model));
    const char **names = bench_alloc((size_t)spade_model_layer_count(model) * sizeof *names);
    spade_trace_options options;
    spade_trace_options_init(&options);
    options.sparsity = r.sparsity;
    options.include = names;
    options.include_count = choose_layers(model, r.layers, names);
    operations counted = count_operations(model, names, options.include_count, r.variants);
    for (int i = 0; i < r.repeat; i++) { run_once(&r, context, model, &options, &counted); }
    free(names);
    spade_model_destroy(model);
    spade_context_destroy(context);
    return 0;
}
