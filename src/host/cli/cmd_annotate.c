/* cmd_annotate.c - spade annotate: a whole data set into a store of shards. */
#include <errno.h>
#include <inttypes.h>
#include <omp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

enum { MAX_NAMED = 20 }; /* failures of a run that get a line each */

static void on_result(void *user, const json_t *result)
{
    cli_printer *printer = user;
    if (printer->options->json) { (void)cli_begin_result(printer, result); }
}

static void on_failed(void *user, const char *message)
{
    cli_printer *printer = user;
    if (printer->failures++ < MAX_NAMED) { cli_print_failed(user, message); }
}

/* Those that got no line. */
static void print_failures(const cli_printer *printer)
{
    const int64_t more = printer->failures - MAX_NAMED;
    char line[200];
    if (more <= 0) { return; }
    snprintf(line, sizeof line,
             "%" PRId64 " more failed; shard-*.done.json of the store name all, and `spade merge --html` lists them",
             more);
    cli_print_error(line);
}

/* spade merge ran before, on the shards that there were. */
static void print_stale(const char *store)
{
    char *index;
    if (asprintf(&index, "%s/index.sqlite", store) < 0) { return; }
    if (access(index, F_OK) == 0) {
        fputs("the store's index and gallery are older than these results; spade merge makes them anew: ", stdout);
        cli_print_text(store, 0);
        putchar('\n');
    }
    free(index);
}

static void print_end(const cli_printer *printer, const spade_annotate_outcome *outcome)
{
    const cli_options *options = printer->options;
    const spade_workload_outcome *pictures = &outcome->pictures;
    const bool nothing_new = pictures->kept && pictures->kept == pictures->done;
    printf("%d picture%s annotated%s", pictures->done, pictures->done == 1 ? "" : "s", nothing_new ? " before" : "");
    if (pictures->kept && !nothing_new) { printf(" (%d before)", pictures->kept); }
    if (pictures->failed) { printf(", %d failed", pictures->failed); }
    const char *new_ones = pictures->kept ? " of the new ones" : "";
    if (pictures->changed) { printf(", the trace decides differently for %d%s", pictures->changed, new_ones); }
    if (pictures->fell) { printf(", the trace keeps less than half of the score of %d%s", pictures->fell, new_ones); }
    printf(", %" PRId64 " of %" PRId64 " shards", outcome->finished, outcome->shards);
    if (outcome->aside) { printf(", %" PRId64 " set aside", outcome->aside); }
    if (pictures->stopped) { fputs(", stopped; the same command goes on", stdout); }
    fputs(": ", stdout);
    cli_print_text(options->output, 0);
    putchar('\n');
    if (pictures->done > pictures->kept || printer->failures) { print_stale(options->output); }
    if (!pictures->failed) { return; }
    fputs("failed pictures: the same command with --retry tries them again; why they failed is in the index of spade "
          "merge ",
          stdout);
    cli_print_text(options->output, 0);
    puts(", and with --html in gallery/failures.html");
}

static int end(cli_printer *printer, const spade_context *context, spade_status status,
               const spade_annotate_outcome *outcome)
{
    const cli_options *options = printer->options;
    const spade_workload_outcome *pictures = &outcome->pictures;
    cli_progress_clear(&printer->progress);
    print_failures(printer);
    if (status != SPADE_OK) { return cli_failure(options, status, spade_message(context)); }
    if (!options->quiet && !options->json) { print_end(printer, outcome); }
    if (printer->failed) { cli_print_error("out of memory for a line of JSON; the results are in the store"); }
    if (pictures->stopped) { return EXIT_STOPPED; }
    if (pictures->failed || outcome->aside) { return EXIT_SOME_FAILED; }
    return printer->failed ? EXIT_FAILED : EXIT_DONE;
}

static spade_annotate_request make_request(const cli_options *options, const cli_share *share, int workers)
{
    return (spade_annotate_request){.model = options->arguments[0],
                                    .manifest = options->arguments[1],
                                    .labels = options->labels,
                                    .output = options->output,
                                    .dense = !options->no_dense,
                                    .trace = !options->no_trace,
                                    .values = options->values ? options->values : "float32",
                                    .shard_size = options->shard_size,
                                    .share = share->share,
                                    .shares = share->shares,
                                    .workers = workers,
                                    .retry = options->retry,
                                    .in_flight = (int)options->in_flight,
                                    .settings = &options->settings};
}

/* Which share was taken, where nobody asked for it on the command line. */
static void say_share(cli_printer *printer, const cli_share *share)
{
    char line[200];
    if (!share->number) { return; }
    snprintf(line, sizeof line, "share %" PRId64 " of %" PRId64 ", from 0 on (%s, %s)", share->share, share->shares,
             share->number, share->count);
    cli_progress_note(&printer->progress, line);
}

static spade_workload_events make_events(cli_printer *printer)
{
    return (spade_workload_events){.user = printer,
                                   .phase = cli_progress_phase,
                                   .note = cli_progress_note,
                                   .failed = on_failed,
                                   .result = on_result,
                                   .stop = cli_stopped};
}

/* ---- in several processes */

typedef struct worker_plan {
    const cli_options *options;
    int count, gpus; /* gpus: one for each worker; 0: on the CPU */
    int threads;     /* in all */
    uint64_t memory; /* of a worker; 0: what its device says */
} worker_plan;

/* GPUs that can be used. They are looked for in a process of its own: one that has looked cannot fork workers any more. */
static int count_gpus(void)
{
    enum { MAX_DEVICES = 64 };
    int ended;
    (void)fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        spade_device_info devices[MAX_DEVICES];
        const int count = spade_devices(devices, MAX_DEVICES);
        int gpus = 0;
        for (int i = 0; i < count && i < MAX_DEVICES; i++) {
            gpus += strncmp(devices[i].name, "cuda", 4) == 0 && !devices[i].note[0];
        }
        _exit(gpus);
    }
    while (pid > 0 && waitpid(pid, &ended, 0) < 0 && errno == EINTR) {}
    return pid > 0 && WIFEXITED(ended) ? WEXITSTATUS(ended) : 0;
}

/* Memory for all workers on the CPU. */
static uint64_t memory_of_all(const cli_options *options)
{
    const uint64_t available = spade_available_memory("");
    return options->memory ? options->memory : available == UINT64_MAX ? 0 : available / 4 * 3;
}

/* How many, and with what each. EXIT_DONE, or the error was printed. */
static int plan_workers(const cli_options *options, const cli_share *share, worker_plan *out)
{
    const spade_annotate_request request = make_request(options, share, 0);
    const char *device = options->device ? options->device : "auto";
    const bool several = strcmp(device, "auto") == 0 || strcmp(device, "cuda") == 0;
    *out = (worker_plan){.options = options, .count = (int)options->workers};
    if (several && options->workers != 1) { out->gpus = count_gpus(); }
    out->threads = options->threads ? (int)options->threads : omp_get_max_threads();
    if (!out->count && out->gpus) { out->count = out->gpus; }
    if (!out->count && (share->shares > 1 || strncmp(device, "cuda", 4) == 0)) { out->count = 1; }
    if (!out->count) { out->count = spade_annotate_plan_workers(&request, out->threads, memory_of_all(options)); }
    if (out->count == 1) { return EXIT_DONE; }
    if (out->count > SPADE_MAX_WORKERS) {
        return cli_usage_error(options->command, "--workers %d: at most %d", out->count, SPADE_MAX_WORKERS);
    }
    if (out->gpus && out->count > out->gpus) {
        return cli_usage_error(options->command,
                               "--workers %d: one for each GPU, of which there %s %d; or --device cpu", out->count,
                               out->gpus == 1 ? "is" : "are", out->gpus);
    }
    if (strncmp(device, "cuda:", 5) == 0) {
        return cli_usage_error(options->command, "--workers %d: %s is one GPU; --device cuda has all of them",
                               out->count, device);
    }
    if (out->gpus) {
        out->memory = options->memory;
        return EXIT_DONE;
    }
    out->memory = memory_of_all(options) / (uint64_t)out->count;
    return EXIT_DONE;
}

/* The worker's own GPU: of those that this process may use the one of its number. False: out of memory. */
static bool choose_gpu(int number)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    char plain[16];
    char *copy = visible ? strdup(visible) : NULL, *rest = copy, *item = NULL;
    snprintf(plain, sizeof plain, "%d", number);
    for (int i = 0; copy && i <= number; i++) { item = strsep(&rest, ","); }
    const bool set = (!visible || copy) && setenv("CUDA_VISIBLE_DEVICES", item ? item : plain, 1) == 0;
    free(copy);
    return set;
}

static int work(void *user, spade_worker *worker, int number)
{
    const worker_plan *plan = user;
    cli_options own = *plan->options;
    cli_progress progress;
    int code = EXIT_DONE;
    const int threads = plan->threads / plan->count + (number < plan->threads % plan->count);
    (void)signal(SIGINT, SIG_IGN); /* a terminal sends it to all; the parent says when to stop */
    own.threads = threads > 1 ? threads : 1;
    own.memory = plan->memory;
    own.quiet = true;
    if (plan->gpus && !choose_gpu(number)) {
        cli_print_error("out of memory");
        return EXIT_FAILED;
    }
    if (plan->gpus) { own.device = "cuda"; }
    cli_stop_on_signals();
    spade_context *context = cli_context(&own, &progress, &code);
    if (!context) { return code; }
    const spade_status status = spade_worker_annotate(context, worker, cli_stopped, NULL);
    spade_context_destroy(context);
    return status == SPADE_OK ? EXIT_DONE : EXIT_FAILED;
}

static int run_workers(cli_printer *printer, const cli_share *share, const worker_plan *plan)
{
    const cli_options *options = printer->options;
    spade_annotate_outcome outcome;
    cli_progress_init(&printer->progress, options);
    spade_context context = {
        .threads = 1, .budget = UINT64_MAX, .log = cli_progress_log, .progress = cli_progress_stage, .user = printer};
    say_share(printer, share);
    const spade_annotate_request request = make_request(options, share, (int)options->workers);
    spade_workload_events events = make_events(printer);
    if (!options->json) { events.result = NULL; }
    const spade_workers workers = {
        .count = plan->count, .ledger = options->ledger, .work = work, .user = (void *)(uintptr_t)plan};
    cli_stop_on_signals();
    const spade_status status = spade_annotate_workers(&context, &request, &events, &workers, &outcome);
    return end(printer, &context, status, &outcome);
}

/* ---- in this process */

static int run_alone(cli_printer *printer, const cli_share *share)
{
    const cli_options *options = printer->options;
    spade_annotate_outcome outcome = {0};
    int code = EXIT_DONE;
    spade_context *context = cli_context(options, &printer->progress, &code);
    if (!context) { return code; }
    say_share(printer, share);
    const spade_annotate_request request = make_request(options, share, 1);
    const spade_workload_events events = make_events(printer);
    cli_stop_on_signals();
    const spade_status status = spade_annotate(context, &request, &events, &outcome);
    code = end(printer, context, status, &outcome);
    spade_context_destroy(context);
    return code;
}

static int run(cli_options *options)
{
    cli_printer printer = {.options = options};
    cli_share share;
    worker_plan plan;
    if (options->argument_count > 2) {
        return cli_usage_error(options->command,
                               "unexpected argument '%s'; several tars are one MANIFEST, in quotes: 'train-*.tar'",
                               options->arguments[2]);
    }
    int code = cli_find_share(options, &share);
    if (code == EXIT_DONE) { code = plan_workers(options, &share, &plan); }
    if (code != EXIT_DONE) { return code; }
    if (plan.count > 1) { return run_workers(&printer, &share, &plan); }
    if (options->ledger) { return cli_usage_error(options->command, "--ledger is for several --workers"); }
    return run_alone(&printer, &share);
}

const cli_command command_annotate = {
    .name = "annotate",
    .usage = "annotate MODEL MANIFEST -o STORE [options]",
    .summary = "Explain a whole data set: maps and scores in a store of shards, which any number of runs fill.",
    .details =
        "MANIFEST is a CSV file with a header, of which `image` is read and all columns are kept (`mask` is for\n"
        "metrics), a folder with a folder for each class, a folder of pictures, or tars of samples as WebDataset\n"
        "has them: one, a folder of them, or a pattern in quotes ('train-{000000..000099}.tar',\n"
        "'train-*.tar.zst'). STORE is a folder: of each shard, so many rows of the manifest, it gets a tar that\n"
        "WebDataset reads, and a record with its SHA-256. A run that was killed goes on with the same command,\n"
        "and so do runs on other machines: each does its share, --shard i/n, or as Slurm's arrays and tasks, or\n"
        "Open MPI, number them. docs/store.md has the formats.\n"
        "Exit codes: 3 where pictures failed, also all of them (their records are written), or shards are set\n"
        "aside.",
    .options = OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_PICTURE | OPTIONS_TRACE | OPTIONS_MAPS | OPTIONS_METRICS |
               OPTIONS_ANNOTATE | OPTIONS_OUTPUT,
    .min_arguments = 2,
    .max_arguments = -1, /* run() says what is wrong with more */
    .run = run,
};
