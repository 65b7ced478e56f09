/* cmd_visualize.c - spade visualize: the pictures that neurons answer most to. */
#include "cli/cli.h"

/* Where the picture is in the file, of what, and what it has reached. */
static void print_result(void *user, const json_t *result)
{
    cli_printer *printer = user;
    if (!cli_begin_result(printer, result)) { return; }
    const bool traced = json_object_get(result, "input") != NULL;
    printf("row %lld, column %lld: ", (long long)json_integer_value(json_object_get(result, "row")) + 1,
           (long long)json_integer_value(json_object_get(result, "column")) + 1);
    cli_print_text(json_string_value(json_object_get(result, "neuron")), 0);
    if (traced) { printf(", %s", json_string_value(json_object_get(result, "network"))); }
    printf(": %.4g (%.4g in the noise it began with)\n", json_number_value(json_object_get(result, "after")),
           json_number_value(json_object_get(result, "before")));
}

/* Fills in what the options say in words. False: a usage error was printed. */
static bool make_request(const cli_options *options, spade_visualize_request *out)
{
    const char *what = options->objective ? options->objective : "channel";
    *out = (spade_visualize_request){.model = options->arguments[0],
                                     .neurons = options->neurons.values,
                                     .neuron_count = options->neurons.count,
                                     .labels = options->labels,
                                     .central = strcmp(what, "neuron") == 0,
                                     .input = options->trace,
                                     .batch = options->batch,
                                     .output = options->output,
                                     .size = options->side,
                                     .steps = options->steps,
                                     .still = options->still,
                                     .settings = &options->settings};
    if (!out->neuron_count) {
        cli_usage_error(options->command, "--neuron is needed: LAYER:INDEX or class:N");
    } else if (!out->central && strcmp(what, "channel") != 0) {
        cli_usage_error(options->command, "--objective: '%s' is neither channel nor neuron", what);
    } else if (options->trace && options->batch) {
        cli_usage_error(options->command, "--trace and --batch exclude each other");
    } else {
        return true;
    }
    return false;
}

static int run(cli_options *options)
{
    cli_printer printer = {.options = options};
    spade_visualize_request request;
    int code = EXIT_DONE;
    if (!make_request(options, &request)) { return EXIT_USAGE; }
    spade_context *context = cli_context(options, &printer.progress, &code);
    if (!context) { return code; }
    const spade_workload_events events = {
        .user = &printer, .phase = cli_progress_phase, .note = cli_progress_note, .result = print_result};
    const spade_status status = spade_visualize_to_file(context, &request, &events);
    cli_progress_clear(&printer.progress);
    if (status != SPADE_OK) {
        code = cli_failure(options, status, spade_message(context));
    } else if (printer.failed) {
        cli_print_error("out of memory for a line of JSON; the picture is written");
        code = EXIT_FAILED;
    } else if (!options->quiet && !options->json) {
        fputs("written: ", stdout);
        cli_print_text(options->output, 0);
        putchar('\n');
    }
    spade_context_destroy(context);
    return code;
}

const cli_command command_visualize = {
    .name = "visualize",
    .usage = "visualize MODEL --neuron LAYER:INDEX|class:N [--neuron ...] [--trace INPUT] -o FILE.png [options]",
    .summary = "Make the pictures that classes, channels or neurons answer most to.",
    .details = "The pictures are in one file, in the order in which the neurons are given: row by row, or with --trace "
               "a row for "
               "each, the\nnetwork's picture and the trace's.",
    .options = OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_PICTURE | OPTIONS_TRACE | OPTIONS_BATCH | OPTIONS_OUTPUT |
               OPTIONS_VISUALIZE,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
