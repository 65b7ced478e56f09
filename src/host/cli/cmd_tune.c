/* cmd_tune.c - spade tune: sparsities of a network's stages that make maps best. */
#include <math.h>

#include "cli/cli.h"

enum { NAME_WIDTH = 30, VALUE_WIDTH = 8 };

/* One stage: the metric at every sparsity, the chosen one marked, those that change too many classes in parentheses. */
static void print_stage(const json_t *stage, double limit)
{
    const double chosen = spade_json_real_at(stage, "sparsity");
    size_t i;
    json_t *value;
    fputs("  ", stdout);
    cli_print_text(spade_json_text_at(stage, "name"), NAME_WIDTH);
    json_array_foreach(json_object_get(stage, "tried"), i, value)
    {
        char text[32];
        const bool refused = spade_json_real_at(value, "changed") > limit;
        if (isnan(spade_json_real_at(value, "mean"))) { /* a map without a value */
            printf(" %*s", VALUE_WIDTH, "-");
            continue;
        }
        snprintf(text, sizeof text, "%s%.4f%s", refused ? "(" : "", spade_json_real_at(value, "mean"),
                 refused                                           ? ")"
                 : spade_json_real_at(value, "sparsity") == chosen ? "*"
                                                                   : "");
        printf(" %*s", VALUE_WIDTH, text);
    }
    if (!i) { fputs("  not tried", stdout); }
    putchar('\n');
}

static void print_pictures(const char *title, const json_t *found)
{
    if (!found) { return; }
    printf("%s (%lld): dense %.4f, trace %.4f", title,
           (long long)json_integer_value(json_object_get(found, "pictures")), spade_json_real_at(found, "dense"),
           spade_json_real_at(found, "trace"));
    if (!isnan(spade_json_real_at(found, "difference"))) {
        printf(", difference %+.4f", spade_json_real_at(found, "difference"));
        if (!isnan(spade_json_real_at(found, "low"))) {
            printf(" [%+.4f, %+.4f]", spade_json_real_at(found, "low"), spade_json_real_at(found, "high"));
        }
        printf(", better in %.0f %%", 100 * spade_json_real_at(found, "better"));
    }
    printf("; the class changes in %.0f %%", 100 * spade_json_real_at(found, "changed"));
    if (spade_json_real_at(found, "failed") > 0) {
        printf("; %.0f more could not be compared", spade_json_real_at(found, "failed"));
    }
    putchar('\n');
}

/* Why a choice has no mean. */
static void print_missing(const json_t *summary)
{
    const json_t *stage, *value;
    size_t i, k;
    int choices = 0;
    json_array_foreach(json_object_get(summary, "stages"), i, stage)
    {
        json_array_foreach(json_object_get(stage, "tried"), k, value)
        {
            choices += spade_json_real_at(value, "missing") > 0;
        }
    }
    if (choices) { puts("-: not taken: some trace's map has no value of the metric (--json has how many)"); }
}

static void print_summary(const json_t *summary)
{
    size_t i;
    json_t *item, *first = json_array_get(json_object_get(summary, "stages"), 0);
    printf("\n%s (%s is better), mean over ", spade_json_text_at(summary, "metric"),
           spade_json_text_at(summary, "better"));
    json_array_foreach(json_object_get(summary, "methods"), i, item)
    {
        printf("%s%s", i ? ", " : "", json_string_value(item));
    }
    printf(", by the sparsity of a stage (* chosen; () not taken: the class changes in more than %g %%)\n  %-*s",
           100 * spade_json_real_at(summary, "changed_limit"), NAME_WIDTH, "stage, from the output on");
    json_array_foreach(json_object_get(first, "tried"), i, item)
    {
        printf(" %*g", VALUE_WIDTH, spade_json_real_at(item, "sparsity"));
    }
    putchar('\n');
    json_array_foreach(json_object_get(summary, "stages"), i, item)
    {
        print_stage(item, spade_json_real_at(summary, "changed_limit"));
    }
    print_missing(summary);
    putchar('\n');
    print_pictures("pictures it was tuned on", json_object_get(summary, "tuned"));
    print_pictures("pictures kept aside", json_object_get(summary, "aside"));
}

static spade_tune_request make_request(const cli_options *options)
{
    enum { SEEDS = 2, PATIENCE = 4 };
    return (spade_tune_request){.model = options->arguments[0],
                                .manifest = options->arguments[1],
                                .mask = options->mask,
                                .labels = options->labels,
                                .output = options->output,
                                .stages = options->tuned_stages,
                                .aside = options->aside < 0 ? 0.25 : options->aside,
                                .max_changed = options->max_changed < 0 ? 0.1 : options->max_changed,
                                .seeds = options->seeds ? (int)options->seeds : SEEDS,
                                .patience = options->all_stages ? 0 : PATIENCE,
                                .settings = &options->settings};
}

static void print_end(const cli_options *options, const spade_workload_outcome *outcome)
{
    if (outcome->failed) { printf("%d pictures, %d failed; ", outcome->done, outcome->failed); }
    if (outcome->stopped) {
        puts("stopped, nothing is written");
        return;
    }
    fputs("written: ", stdout);
    cli_print_text(options->output, 0);
    putchar('\n');
}

static int run(cli_options *options)
{
    cli_printer printer = {.options = options};
    spade_workload_outcome outcome = {0};
    const spade_tune_request request = make_request(options);
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
    const spade_status status = spade_tune(context, &request, &events, &outcome, &summary);
    cli_progress_clear(&printer.progress);
    if (summary && options->json) {
        printer.failed = !cli_write_json(summary, 0);
    } else if (summary && !options->quiet) {
        print_summary(summary);
    }
    json_decref(summary);
    code = cli_end_results(&printer, context, status, &outcome, print_end);
    spade_context_destroy(context);
    return code;
}

const cli_command command_tune = {
    .name = "tune",
    .usage = "tune MODEL MANIFEST -o FILE.yaml [--method M] [--metric M] [options]",
    .summary = "Find the sparsity of each stage of a network that makes maps of its traces best.",
    .details =
        "MANIFEST is that of evaluate: pictures with masks, for the default metric. The stages are tried one after the "
        "other,\nfrom the output to the input, at sparsities of 0 to 0.99; a share of the pictures is kept aside, to "
        "say\nhow good the result is. FILE.yaml is for --config, and for --traces of evaluate.",
    .options = OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_PICTURE | OPTIONS_TRACE | OPTIONS_MAPS | OPTIONS_METRICS |
               OPTIONS_TUNE | OPTIONS_OUTPUT,
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run,
};
