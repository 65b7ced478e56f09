/* cmd_explain.c - spade explain: the main job. */
#include "base/sparsity_choice.h"
#include "cli/cli.h"

typedef struct explain_printer {
    cli_printer base;             /* first: functions of every command's printer get this struct's address too */
    spade_metric_choice *metrics; /* [metric_count] */
    int metric_count;
} explain_printer;

static void print_network(const json_t *network)
{
    cli_print_text(json_string_value(json_object_get(network, "name")), 0);
    printf(" %.1f %%", 100 * json_number_value(json_object_get(network, "score")));
}

/* "Pointing game (tolerance=2)", cut to the buffer; returns its length. */
static int format_metric(const spade_metric_choice *metric, char *buffer, size_t size)
{
    const char *options = metric->options;
    snprintf(buffer, size, "%s%s%s%s", spade_metric_describe(metric->metric)->title, options ? " (" : "",
             options ? options : "", options ? ")" : "");
    return (int)strlen(buffer);
}

/* Three places, of what they would hide three digits. Nothing where there is no value. */
static void print_value(const char *network, const json_t *value)
{
    if (!json_is_number(value)) { return; }
    const double number = json_number_value(value), size = number < 0 ? -number : number;
    printf(size == 0 || (size >= 0.01 && size < 1e6) ? "  %s %.3f" : "  %s %.3g", network, number);
}

/* A line for each metric that has a value. more: also which options and target the map is of. */
static void print_map(const explain_printer *printer, const json_t *map, bool more)
{
    const char *method = json_string_value(json_object_get(map, "method"));
    char title[64];
    int width = 0;
    for (int i = 0; i < printer->metric_count; i++) {
        int length = format_metric(&printer->metrics[i], title, sizeof title);
        width = length > width ? length : width;
    }
    for (int i = 0; i < printer->metric_count; i++) {
        const spade_metric_choice *metric = &printer->metrics[i];
        json_t *dense = json_object_get(json_object_get(map, "dense"), metric->label);
        json_t *trace = json_object_get(json_object_get(map, "trace"), metric->label);
        const char *options = json_string_value(json_object_get(map, "options"));
        if (!json_is_number(dense) && !json_is_number(trace)) { continue; }
        format_metric(metric, title, sizeof title);
        printf("    %-22s ", method);
        cli_print_text(title, width);
        print_value("dense", dense);
        print_value("trace", trace);
        if (options && *method) {
            fputs("  ", stdout);
            cli_print_text(options, 0);
        }
        if (more && *method) {
            fputs("  ", stdout);
            cli_print_target(map);
        }
        putchar('\n');
        method = ""; /* named once */
    }
}

/* "complete", "relevance conserved", or that they are not. */
static void print_promise(const json_t *map, const char *network, const char *promise, const char *kept)
{
    const json_t *check = json_object_get(json_object_get(json_object_get(map, network), "check"), promise);
    if (check) { printf("  %s %s%s", network, json_is_true(json_object_get(check, "holds")) ? "" : "not ", kept); }
}

/* What --check found. more: also which target the map is of. */
static void print_check(const json_t *map, bool more)
{
    const char *options = json_string_value(json_object_get(map, "options"));
    static const char *const promises[][2] = {{"completeness", "complete"}, {"conservation", "conserved"}};
    for (int i = 0; i < 2; i++) {
        const char *promise = promises[i][0];
        const json_t *dense = json_object_get(json_object_get(map, "dense"), "check");
        const json_t *trace = json_object_get(json_object_get(map, "trace"), "check");
        if (!json_object_get(dense, promise) && !json_object_get(trace, promise)) { continue; }
        printf("    %-22s %s", json_string_value(json_object_get(map, "method")), promise);
        print_promise(map, "dense", promise, promises[i][1]);
        print_promise(map, "trace", promise, promises[i][1]);
        if (options) {
            fputs("  ", stdout);
            cli_print_text(options, 0);
        }
        if (more) {
            fputs("  ", stdout);
            cli_print_target(map);
        }
        putchar('\n');
    }
}

/* Of --sparsity auto. */
static void print_chosen(const json_t *chosen)
{
    char text[SPARSITY_CHOICE_TEXT];
    spade_sparsity_choice choice;
    if (sparsity_choice_read(chosen, &choice)) { printf("    sparsity: %s\n", sparsity_choice_text(&choice, text)); }
}

static void print_score(const char *name, const json_t *network, json_int_t class_index)
{
    const json_t *score = json_array_get(json_object_get(network, "scores"), (size_t)class_index);
    if (json_is_number(score)) { printf("  %s %.1f %%", name, 100 * json_number_value(score)); }
}

/* The scores of classes that are explained and not the network's decision, which has its own on the line above. */
static void print_explained(const json_t *result)
{
    const json_t *maps = json_object_get(result, "maps"), *dense = json_object_get(result, "dense");
    const json_int_t top = json_integer_value(json_object_get(dense, "class"));
    size_t index;
    json_t *map;
    json_array_foreach(maps, index, map)
    {
        const json_int_t explained = json_integer_value(json_object_get(map, "class"));
        bool said = explained == top;
        for (size_t i = 0; i < index; i++) {
            said = said || json_integer_value(json_object_get(json_array_get(maps, i), "class")) == explained;
        }
        if (said) { continue; }
        fputs("    explained: ", stdout);
        cli_print_text(json_string_value(json_object_get(map, "name")), 0);
        print_score("dense", dense, explained);
        print_score("trace", json_object_get(result, "trace"), explained);
        putchar('\n');
    }
}

static void print_maps(const explain_printer *printer, const json_t *maps)
{
    size_t index;
    json_t *map;
    json_array_foreach(maps, index, map)
    {
        print_map(printer, map, json_array_size(maps) > 1);
        print_check(map, json_array_size(maps) > 1);
    }
}

static void on_result(void *user, const json_t *result)
{
    explain_printer *printer = user;
    bool changed = json_is_true(json_object_get(result, "class_changed"));
    bool fell = json_is_true(json_object_get(result, "score_fell"));
    if (!cli_begin_result(&printer->base, result)) { return; }
    cli_print_text(json_string_value(json_object_get(result, "name")), 12);
    fputs("  dense ", stdout);
    print_network(json_object_get(result, "dense"));
    if (json_is_object(json_object_get(result, "trace"))) {
        fputs("  trace ", stdout);
        print_network(json_object_get(result, "trace"));
        if (changed) { fputs("  (another class!)", stdout); }
        if (fell) { fputs("  (less than half of the score!)", stdout); }
    }
    putchar('\n');
    print_chosen(json_object_get(json_object_get(result, "sparsity"), "chosen"));
    print_explained(result);
    print_maps(printer, json_object_get(result, "maps"));
    fflush(stdout);
}

static void print_end(const cli_options *options, const spade_workload_outcome *outcome)
{
    printf("%d input%s explained", outcome->done, outcome->done == 1 ? "" : "s");
    if (outcome->kept) { printf(" (%d before)", outcome->kept); }
    if (outcome->failed) { printf(", %d failed", outcome->failed); }
    if (outcome->changed) { printf(", the trace decides differently for %d", outcome->changed); }
    if (outcome->fell) { printf(", the trace keeps less than half of the score of %d", outcome->fell); }
    if (outcome->stopped) { fputs(", stopped; the same command goes on", stdout); }
    fputs(": ", stdout);
    cli_print_text(options->output, 0);
    puts(options->no_report ? "/results.json" : "/report.html");
}

static int run(cli_options *options)
{
    explain_printer printer = {.base.options = options};
    spade_workload_outcome outcome = {0};
    int code = EXIT_DONE;
    spade_context *context = cli_context(options, &printer.base.progress, &code);
    if (!context) { return code; }
    spade_explain_request request = {.model = options->arguments[0],
                                     .inputs = options->arguments + 1,
                                     .input_count = options->argument_count - 1,
                                     .recursive = options->recursive,
                                     .batch = options->batch,
                                     .mask = options->mask,
                                     .labels = options->labels,
                                     .output = options->output,
                                     .dense = !options->no_dense,
                                     .trace = !options->no_trace,
                                     .restart = options->restart,
                                     .report = !options->no_report,
                                     .in_flight = (int)options->in_flight,
                                     .settings = &options->settings};
    spade_workload_events events = {.user = &printer,
                                    .phase = cli_progress_phase,
                                    .note = cli_progress_note,
                                    .failed = cli_print_failed,
                                    .result = on_result,
                                    .stop = cli_stopped};
    cli_stop_on_signals();
    spade_status status = spade_settings_metrics(context, &options->settings, &printer.metrics, &printer.metric_count);
    if (status == SPADE_OK) { status = spade_explain(context, &request, &events, &outcome); }
    code = cli_end_results(&printer.base, context, status, &outcome, print_end);
    spade_metric_choices_destroy(printer.metrics, printer.metric_count);
    spade_context_destroy(context);
    return code;
}

const cli_command command_explain = {
    .name = "explain",
    .usage = "explain MODEL INPUT... -o DIR [options]",
    .summary = "Explain a network's decisions: maps of the dense network and of the trace side by side.",
    .details =
        "MODEL is an ONNX file. INPUT is a picture (PNG, JPEG, WebP, BMP, PNM), a folder of pictures, or a .npy file\n"
        "of inputs that are normalised already, float32 [n,C,H,W]; --mean and --std say how, for the pictures that\n"
        "a trace's variants are. DIR/report.html shows the results, "
        "DIR/results.json\n"
        "and DIR/NAME/ hold them.\n\n"
        "--class A-B explains why A and not B: F_A - F_B in every method. A and B are numbers, names, top or second. A "
        "number\n"
        "is always a number, top and second are these; any other text is the name of a class if one is called so, all "
        "of it, or up to its first "
        "comma;\n"
        "else it is cut at the hyphen on both sides of which a class stands. What can be cut in two ways is refused.",
    .options = OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_PICTURE | OPTIONS_TRACE | OPTIONS_BATCH | OPTIONS_MAPS |
               OPTIONS_EXPLAIN | OPTIONS_OUTPUT,
    .min_arguments = 2,
    .max_arguments = -1,
    .run = run,
};
