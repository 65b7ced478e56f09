/* cmd_annotate.c - spade annotate: a whole data set into a store of shards. */
#include <inttypes.h>

#include "cli/cli.h"

static void on_result(void *user, const json_t *result)
{
    cli_printer *printer = user;
    if (printer->options->json) { (void)cli_begin_result(printer, result); }
}

static void print_end(const cli_options *options, const spade_annotate_outcome *outcome)
{
    const spade_workload_outcome *pictures = &outcome->pictures;
    printf("%d picture%s annotated", pictures->done, pictures->done == 1 ? "" : "s");
    if (pictures->kept) { printf(" (%d before)", pictures->kept); }
    if (pictures->failed) { printf(", %d failed", pictures->failed); }
    printf(", %" PRId64 " of %" PRId64 " shards", outcome->finished, outcome->shards);
    if (outcome->aside) { printf(", %" PRId64 " set aside", outcome->aside); }
    if (pictures->stopped) { fputs(", stopped; the same command goes on", stdout); }
    fputs(": ", stdout);
    cli_print_text(options->output, 0);
    putchar('\n');
}

static int end(cli_printer *printer, const spade_context *context, spade_status status,
               const spade_annotate_outcome *outcome)
{
    const cli_options *options = printer->options;
    const spade_workload_outcome *pictures = &outcome->pictures;
    cli_progress_clear(&printer->progress);
    if (status != SPADE_OK) { return cli_failure(options, status, spade_message(context)); }
    if (!options->quiet && !options->json) { print_end(options, outcome); }
    if (printer->failed) { cli_print_error("out of memory for a line of JSON; the results are in the store"); }
    if (pictures->stopped) { return EXIT_STOPPED; }
    if (!pictures->done && pictures->failed) { return EXIT_FAILED; } /* each failure was named */
    if (pictures->failed || outcome->aside) { return EXIT_SOME_FAILED; }
    return printer->failed ? EXIT_FAILED : EXIT_DONE;
}

static spade_annotate_request make_request(const cli_options *options, const cli_share *share)
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

static int run(cli_options *options)
{
    cli_printer printer = {.options = options};
    spade_annotate_outcome outcome = {0};
    cli_share share;
    int code = cli_find_share(options, &share);
    if (code != EXIT_DONE) { return code; }
    spade_context *context = cli_context(options, &printer.progress, &code);
    if (!context) { return code; }
    say_share(&printer, &share);
    const spade_annotate_request request = make_request(options, &share);
    const spade_workload_events events = {.user = &printer,
                                          .phase = cli_progress_phase,
                                          .note = cli_progress_note,
                                          .failed = cli_print_failed,
                                          .result = on_result,
                                          .stop = cli_stopped};
    cli_stop_on_signals();
    const spade_status status = spade_annotate(context, &request, &events, &outcome);
    code = end(&printer, context, status, &outcome);
    spade_context_destroy(context);
    return code;
}

const cli_command command_annotate = {
    .name = "annotate",
    .usage = "annotate MODEL MANIFEST -o STORE [options]",
    .summary = "Explain a whole data set: maps and scores in a store of shards, which any number of runs fill.",
    .details =
        "MANIFEST is a CSV file with a header, of which `image` is read and all columns are kept (`mask` is for "
        "metrics),\nor a folder with a folder for each class. STORE is a folder: of each shard, so many rows of the "
        "manifest, it gets\na tar that WebDataset reads, and a record with its SHA-256. A run that was killed goes on "
        "with the same command,\nand so do runs on other machines: each does its share, --shard i/n, or as Slurm's "
        "arrays and tasks, or Open MPI, number\nthem. docs/store.md has the formats.",
    .options = OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_PICTURE | OPTIONS_TRACE | OPTIONS_MAPS | OPTIONS_METRICS |
               OPTIONS_ANNOTATE | OPTIONS_OUTPUT,
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run,
};
