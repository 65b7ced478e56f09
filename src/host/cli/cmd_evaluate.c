/* cmd_evaluate.c - spade evaluate: how good maps are over a data set, of the network and of its traces. */
#include <math.h>

#include "base/number.h"
#include "cli/cli.h"

/* Columns are as wide as what stands in them. */
enum { MAX_NAME = 100, MIN_NAME = 26, MIN_MEAN = 17, MIN_DIFFERENCE = 36 };
typedef struct table_widths {
    int name, mean, difference;
} table_widths;

static bool is_mean(const json_t *row)
{
    return strcmp(spade_json_text_at(row, "method"), "mean") == 0;
}

/* A row of a metric of the traces, which says nothing of methods. */
static bool is_of_traces(const json_t *row)
{
    return !json_is_string(json_object_get(row, "method"));
}

/* "saliency", "smoothgrad:samples=25" */
static void format_name(const json_t *row, char name[MAX_NAME])
{
    const char *options = spade_json_text_at(row, "options");
    snprintf(name, MAX_NAME, "%s%s%s", is_mean(row) ? "mean of the methods" : spade_json_text_at(row, "method"),
             *options ? ":" : "", options);
}

/* "ROC AUC, higher is better", "Pointing game (tolerance=2), higher is better" */
static void format_title(const json_t *row, char title[MAX_NAME])
{
    const char *options = spade_json_text_at(row, "metric_options");
    snprintf(title, MAX_NAME, "%s%s%s%s, %s is better", spade_json_text_at(row, "title"), *options ? " (" : "", options,
             *options ? ")" : "", spade_json_text_at(row, "better"));
}

static table_widths find_widths(const json_t *summary)
{
    table_widths widths = {MIN_NAME, MIN_MEAN, MIN_DIFFERENCE};
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(summary, "rows"), i, item)
    {
        char name[MAX_NAME];
        if (is_of_traces(item)) {
            format_title(item, name);
        } else {
            format_name(item, name);
        }
        const int length = (int)strlen(name) + 1;
        widths.name = length > widths.name ? length : widths.name;
    }
    json_array_foreach(json_object_get(summary, "columns"), i, item)
    {
        const int length = (int)json_string_length(item) + 1;
        widths.mean = length > widths.mean ? length : widths.mean;
        widths.difference = length > widths.difference ? length : widths.difference;
    }
    return widths;
}

static void print_cell(const char *text, int width)
{
    printf("  %-*s", width, text);
}

/* "0.981 +- 0.003" */
static void print_mean(const json_t *column, int width)
{
    char text[64] = "-";
    const double mean = spade_json_real_at(column, "mean"), error = spade_json_real_at(column, "error");
    if (!isnan(mean)) {
        int length = spade_print_beside(text, sizeof text, mean, mean, 3, 3, false);
        if (!isnan(error)) {
            length += snprintf(text + length, sizeof text - (size_t)length, " +- ");
            spade_print_beside(text + length, sizeof text - (size_t)length, error, mean, 4, 2, false);
        }
    }
    print_cell(text, width);
}

/* "+0.012 [-0.001, +0.025]  63 %": the difference, its interval, and in how many pictures it is better. */
static void print_difference(const json_t *column, double mean, int width)
{
    char text[96] = "-", low[24], high[24];
    const double difference = spade_json_real_at(column, "difference");
    if (!isnan(difference)) {
        int length = spade_print_beside(text, sizeof text, difference, mean, 4, 2, true);
        if (!isnan(spade_json_real_at(column, "low"))) {
            spade_print_beside(low, sizeof low, spade_json_real_at(column, "low"), mean, 4, 2, true);
            spade_print_beside(high, sizeof high, spade_json_real_at(column, "high"), mean, 4, 2, true);
            length += snprintf(text + length, sizeof text - (size_t)length, " [%s, %s]", low, high);
        }
        snprintf(text + length, sizeof text - (size_t)length, "%*s%.0f %%", length < 26 ? 27 - length : 1, "",
                 100 * spade_json_real_at(column, "better"));
    }
    print_cell(text, width);
}

static void print_heads(const json_t *columns, size_t first, int width)
{
    size_t i;
    json_t *name;
    json_array_foreach(columns, i, name)
    {
        if (i < first) { continue; }
        fputs("  ", stdout);
        cli_print_text(json_string_value(name), width);
    }
    putchar('\n');
}

/* The rows of one metric, as means, or as differences from the dense network. Where pictures have no value: how many have one. */
static void print_rows(const json_t *summary, const char *metric, bool differences, const table_widths *widths)
{
    const json_int_t pictures = json_integer_value(json_object_get(summary, "pictures"));
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(summary, "rows"), i, row)
    {
        size_t c;
        json_t *column;
        char name[MAX_NAME];
        json_int_t fewest = pictures;
        if (strcmp(spade_json_text_at(row, "metric"), metric) != 0) { continue; }
        format_name(row, name);
        fputs("  ", stdout);
        cli_print_text(name, widths->name);
        const json_t *columns = json_object_get(row, "columns");
        const double dense = spade_json_real_at(json_array_get(columns, 0), "mean");
        json_array_foreach(columns, c, column)
        {
            const json_int_t count = json_integer_value(json_object_get(column, differences && c ? "pairs" : "count"));
            fewest = count && count < fewest ? count : fewest;
            if (differences && c) { print_difference(column, dense, widths->difference); }
            if (!differences) { print_mean(column, widths->mean); }
        }
        if (fewest < pictures) { printf("  of %lld", (long long)fewest); }
        putchar('\n');
    }
}

/* A title that would push the heads aside has a line of its own. */
static void print_title(const char *title, int width)
{
    const bool wide = (int)strlen(title) >= width;
    cli_print_text(title, wide ? 0 : width);
    if (!wide) { return; }
    putchar('\n');
    cli_print_text("", width);
}

static void print_metric(const json_t *summary, const json_t *row, const table_widths *widths)
{
    const json_t *columns = json_object_get(summary, "columns");
    char title[MAX_NAME];
    format_title(row, title);
    putchar('\n');
    print_title(title, widths->name + 2);
    print_heads(columns, 0, widths->mean);
    print_rows(summary, spade_json_text_at(row, "metric"), false, widths);
    if (json_array_size(columns) < 2) { return; }
    puts("  difference from dense [its 95 % interval], share of the pictures that are better");
    cli_print_text("", widths->name + 2);
    print_heads(columns, 1, widths->difference);
    print_rows(summary, spade_json_text_at(row, "metric"), true, widths);
}

static void print_share(const char *title, const json_t *summary, const char *key, const table_widths *widths)
{
    size_t i;
    json_t *column;
    cli_print_text(title, widths->name + 2);
    json_array_foreach(json_object_get(summary, "decisions"), i, column)
    {
        char text[32] = "-";
        const double share = spade_json_real_at(column, key);
        if (!isnan(share)) { snprintf(text, sizeof text, "%.1f %%", 100 * share); }
        print_cell(text, widths->mean);
    }
    putchar('\n');
}

static void print_of_traces(const json_t *row, const table_widths *widths)
{
    size_t i;
    json_t *column;
    char title[MAX_NAME];
    format_title(row, title);
    cli_print_text(title, widths->name + 2);
    json_array_foreach(json_object_get(row, "columns"), i, column)
    {
        if (i) {
            print_mean(column, widths->mean);
        } else {
            print_cell("", widths->mean);
        }
    }
    putchar('\n');
}

/* What is of the networks themselves, whatever the method. */
static void print_networks(const json_t *summary, const table_widths *widths)
{
    const json_t *columns = json_object_get(summary, "columns");
    const bool traces = json_array_size(columns) > 1,
               labelled = json_integer_value(json_object_get(summary, "labelled")) > 0;
    size_t i;
    json_t *item;
    if (traces || labelled) {
        putchar('\n');
        cli_print_text("", widths->name + 2);
        print_heads(columns, 0, widths->mean);
    }
    if (traces) { print_share("decides as the network", summary, "kept", widths); }
    if (labelled) { print_share("decides as the label says", summary, "correct", widths); }
    json_array_foreach(json_object_get(summary, "rows"), i, item)
    {
        if (is_of_traces(item)) { print_of_traces(item, widths); }
    }
    json_array_foreach(json_object_get(summary, "uncovered"), i, item)
    {
        printf("%s%s has no values: ", i ? "" : "\n", spade_json_text_at(item, "method"));
        cli_print_text(spade_json_text_at(item, "reason"), 0);
        putchar('\n');
    }
    putchar('\n');
}

/* What was found, as a table for each metric. */
static void print_summary(const json_t *summary)
{
    size_t i;
    json_t *item;
    const char *last = "";
    bool mean = false;
    const table_widths widths = find_widths(summary);
    json_array_foreach(json_object_get(summary, "rows"), i, item)
    {
        mean = mean || is_mean(item);
    }
    printf("%lld picture%s; mean +- standard error%s%s\n",
           (long long)json_integer_value(json_object_get(summary, "pictures")),
           json_integer_value(json_object_get(summary, "pictures")) == 1 ? "" : "s",
           json_array_size(json_object_get(summary, "columns")) > 1 ? "; intervals of 10,000 bootstrap samples" : "",
           mean ? "; the mean of the methods is of those with values in all columns" : "");
    json_array_foreach(json_object_get(summary, "rows"), i, item)
    {
        if (is_of_traces(item)) { continue; }
        if (strcmp(spade_json_text_at(item, "metric"), last) != 0) { print_metric(summary, item, &widths); }
        last = spade_json_text_at(item, "metric");
    }
    print_networks(summary, &widths);
}

/* With --json a line for each picture, as it comes. */
static void on_result(void *user, const json_t *result)
{
    cli_printer *printer = user;
    if (printer->options->json) { (void)cli_begin_result(printer, result); }
}

static void print_end(const cli_options *options, const spade_workload_outcome *outcome)
{
    printf("%d picture%s evaluated", outcome->done, outcome->done == 1 ? "" : "s");
    if (outcome->kept) { printf(" (%d before)", outcome->kept); }
    if (outcome->failed) { printf(", %d failed", outcome->failed); }
    if (outcome->stopped) { fputs(", stopped; the same command goes on", stdout); }
    fputs(": ", stdout);
    cli_print_text(options->output, 0);
    puts(options->no_report ? "/results.json" : "/report.html");
}

static int run(cli_options *options)
{
    cli_printer printer = {.options = options};
    spade_workload_outcome outcome = {0};
    int code = EXIT_DONE;
    if (options->no_trace && options->traces) {
        return cli_usage_error(options->command, "--traces and --no-trace exclude each other");
    }
    if (options->no_report && options->gallery > 0) {
        return cli_usage_error(options->command, "--gallery and --no-report exclude each other");
    }
    spade_context *context = cli_context(options, &printer.progress, &code);
    if (!context) { return code; }
    const spade_evaluate_request request = {.model = options->arguments[0],
                                            .manifest = options->arguments[1],
                                            .mask = options->mask,
                                            .labels = options->labels,
                                            .output = options->output,
                                            .traces = options->no_trace ? "" : options->traces,
                                            .fit = options->fit,
                                            .fit_margin = options->fit_margin,
                                            .restart = options->restart,
                                            .report = !options->no_report,
                                            .gallery = (int)options->gallery,
                                            .in_flight = (int)options->in_flight,
                                            .settings = &options->settings};
    const spade_workload_events events = {.user = &printer,
                                          .phase = cli_progress_phase,
                                          .note = cli_progress_note,
                                          .failed = cli_print_failed,
                                          .result = on_result,
                                          .stop = cli_stopped};
    json_t *summary = NULL;
    cli_stop_on_signals();
    const spade_status status = spade_evaluate(context, &request, &events, &outcome, &summary);
    cli_progress_clear(&printer.progress);
    if (status == SPADE_OK && summary && options->json) {
        printer.failed = !cli_write_json(summary, 0) || printer.failed;
    } else if (status == SPADE_OK && summary && !options->quiet) {
        print_summary(summary);
    }
    json_decref(summary);
    code = cli_end_results(&printer, context, status, &outcome, print_end);
    spade_context_destroy(context);
    return code;
}

const cli_command command_evaluate = {
    .name = "evaluate",
    .usage = "evaluate MODEL MANIFEST -o DIR [--traces fast,exact,...] [--fit MANIFEST] [options]",
    .summary = "Measure how good methods' maps are over a data set, on the network and on its traces.",
    .details = "MANIFEST is a CSV file whose first line names its columns, image[,label][,mask], with paths relative "
               "to it; or a\n"
               "folder with a folder of pictures for each class, called by name or number. --class label explains the "
               "label's class.\n"
               "DIR/report.html shows the tables and the pictures whose maps the traces make best and worst; "
               "DIR/results.csv has a\n"
               "row for each picture, method and metric, DIR/results.json all of it and the summary.",
    .options = OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_PICTURE | OPTIONS_TRACE | OPTIONS_MAPS | OPTIONS_METRICS |
               OPTIONS_EVALUATE | OPTIONS_OUTPUT,
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run,
};
