/* cmd_bench.c - spade bench: how long every step takes, and how much memory. */
#include "cli/cli.h"

enum { NAME_WIDTH = 34 };

/* "12.3 ms", "1.05 s" */
static void print_seconds(double seconds)
{
    char text[32];
    if (seconds < 1) {
        snprintf(text, sizeof text, "%.*f ms", seconds < 0.0995 ? 2 : 1, 1e3 * seconds);
    } else {
        snprintf(text, sizeof text, "%.2f s", seconds);
    }
    printf("%12s", text);
}

static void print_bytes(const json_t *bytes)
{
    if (json_is_integer(bytes)) { printf("%9.0f MiB", (double)json_integer_value(bytes) / (1 << 20)); }
}

static void print_table(const json_t *result)
{
    size_t i;
    json_t *row;
    const json_t *shape = json_object_get(result, "shape");
    cli_print_text(json_string_value(json_object_get(result, "model")), 0);
    printf(", input %lldx%lldx%lld, %s, %lld threads, %lld variants: median, least and most of %lld\n\n",
           (long long)json_integer_value(json_array_get(shape, 0)),
           (long long)json_integer_value(json_array_get(shape, 1)),
           (long long)json_integer_value(json_array_get(shape, 2)),
           json_string_value(json_object_get(result, "device")),
           (long long)json_integer_value(json_object_get(result, "threads")),
           (long long)json_integer_value(json_object_get(result, "variants")),
           (long long)json_integer_value(json_object_get(result, "repeat")));
    printf("%-*s%12s%12s%12s%13s\n", NAME_WIDTH, "", "median", "least", "most", "memory");
    json_array_foreach(json_object_get(result, "rows"), i, row)
    {
        char name[NAME_WIDTH];
        const char *own = spade_json_text_at(row, "name");
        /* a trace's stage; in JSON it has the stage's own name */
        snprintf(name, sizeof name, "%s", strcmp(own, "forward") == 0 ? "forward pass, variants" : own);
        cli_print_text(name, NAME_WIDTH);
        print_seconds(json_number_value(json_object_get(row, "median")));
        print_seconds(json_number_value(json_object_get(row, "least")));
        print_seconds(json_number_value(json_object_get(row, "most")));
        print_bytes(json_object_get(row, "memory"));
        putchar('\n');
    }
    fputs("\nmost that counted against --memory:", stdout);
    print_bytes(json_object_get(result, "peak_memory"));
    fputs("\nlargest size of the process:       ", stdout);
    print_bytes(json_object_get(result, "resident_memory"));
    putchar('\n');
}

static int run(cli_options *options)
{
    cli_progress progress;
    int code = EXIT_DONE;
    spade_context *context = cli_context(options, &progress, &code);
    if (!context) { return code; }
    const spade_bench_request request = {.model = options->arguments[0],
                                         .input = options->argument_count > 1 ? options->arguments[1] : NULL,
                                         .labels = options->labels,
                                         .trace = !options->no_trace,
                                         .repeat = options->repeat ? (int)options->repeat : 5,
                                         .warm_up = options->warm_up ? (int)options->warm_up : 1,
                                         .settings = &options->settings};
    const spade_workload_events events = {.user = &progress, .phase = cli_progress_phase, .note = cli_progress_note};
    json_t *result = NULL;
    const spade_status status = spade_bench(context, &request, &events, &result);
    cli_progress_clear(&progress);
    if (status != SPADE_OK) {
        code = cli_failure(options, status, spade_message(context));
    } else if (options->json) {
        code = cli_print_json(result);
    } else {
        print_table(result);
    }
    json_decref(result);
    spade_context_destroy(context);
    return code;
}

const cli_command command_bench = {
    .name = "bench",
    .usage = "bench MODEL [INPUT] [--repeat N] [--warm-up N] [options]",
    .summary = "Measure how long every step from the file to the maps takes, and how much memory.",
    .details =
        "INPUT is a picture, or a .npy file of one normalised input; without it the input is noise. Stages of a trace\n"
        "that run at the same time share it. On a GPU, whose work goes on while the host does, stages are what the\n"
        "host spends in them.",
    .options = OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_PICTURE | OPTIONS_TRACE | OPTIONS_MAPS | OPTIONS_BENCH,
    .min_arguments = 1,
    .max_arguments = 2,
    .run = run,
};
