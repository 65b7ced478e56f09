/* cmd_merge.c - spade merge: the check of a store, its index and its gallery. */
#include "cli/cli.h"

static long long count_of(const json_t *summary, const char *key)
{
    return json_integer_value(json_object_get(summary, key));
}

static void print_summary(const json_t *summary)
{
    const char *gallery = json_string_value(json_object_get(summary, "gallery"));
    const long long faults = count_of(summary, "faults"), changed = count_of(summary, "class_changed"),
                    fell = count_of(summary, "score_fell");
    printf("%lld of %lld shards are whole: %lld of %lld pictures are explained", count_of(summary, "whole"),
           count_of(summary, "shards"), count_of(summary, "pictures"), count_of(summary, "entries"));
    if (count_of(summary, "failures")) { printf(", %lld that failed", count_of(summary, "failures")); }
    if (changed) { printf(", the trace decides differently for %lld", changed); }
    if (fell) { printf(", the trace keeps less than half of the score of %lld", fell); }
    if (faults) { printf("; %lld fault%s", faults, faults == 1 ? "" : "s"); }
    fputs(": ", stdout);
    cli_print_text(json_string_value(json_object_get(summary, "index")), 0);
    if (gallery) {
        fputs(", ", stdout);
        cli_print_text(gallery, 0);
    }
    putchar('\n');
    if (count_of(summary, "failures")) {
        printf("failed pictures: in the index's table failures%s; annotate --retry tries them again\n",
               gallery ? " and gallery/failures.html" : "");
    }
}

static int run(cli_options *options)
{
    cli_printer printer = {.options = options};
    spade_workload_outcome outcome = {0};
    const spade_merge_request request = {.store = options->arguments[0], .html = options->html};
    int code = EXIT_DONE;
    spade_context *context = cli_context(options, &printer.progress, &code);
    if (!context) { return code; }
    const spade_workload_events events = {.user = &printer,
                                          .phase = cli_progress_phase,
                                          .note = cli_progress_note,
                                          .failed = cli_print_failed,
                                          .stop = cli_stopped};
    json_t *summary = NULL;
    cli_stop_on_signals();
    const spade_status status = spade_merge(context, &request, &events, &outcome, &summary);
    cli_progress_clear(&printer.progress);
    if (status != SPADE_OK) {
        code = cli_failure(options, status, spade_message(context));
    } else if (outcome.stopped) {
        code = EXIT_STOPPED;
    } else {
        if (options->json) {
            code = cli_print_json(summary);
        } else if (!options->quiet) {
            print_summary(summary);
        }
        if (outcome.failed) { code = outcome.done ? EXIT_SOME_FAILED : EXIT_FAILED; }
    }
    json_decref(summary);
    spade_context_destroy(context);
    return code;
}

const cli_command command_merge = {
    .name = "merge",
    .usage = "merge STORE [--html] [options]",
    .summary = "Check a store of annotate, and make its index and gallery.",
    .details =
        "Every file of the store is read and compared with its checksums; each fault is one line: shards that are not "
        "done,\n"
        "or damaged. STORE/index.sqlite has the pictures, where their maps are, and their metrics. Pictures that "
        "annotate\n"
        "could not use are no faults: the index lists them. It exits with 3 where there are faults, with 1 where no\n"
        "shard is whole.",
    .options = OPTIONS_COMMON | OPTIONS_MERGE,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
