/* cmd_check.c - spade check: do maps depend on what the network has learned, and do they keep what their methods promise? */
#include <math.h>

#include "base/check_verdict.h"
#include "cli/cli.h"

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* What the method promises of the network's own map. */
static void print_promises(const json_t *check)
{
    const json_t *completeness = json_object_get(check, "completeness");
    const json_t *conservation = json_object_get(check, "conservation");
    if (completeness) {
        printf("    sum %.4g, F(x) - F(baseline) %.4g: %s\n", number_of(completeness, "sum"),
               number_of(completeness, "difference"),
               json_is_true(json_object_get(completeness, "holds")) ? "complete" : "not complete!");
    }
    if (conservation) {
        printf("    relevance %.4g at the output, %.4g at the input; %.4g in constants, %.3g lost: %s\n",
               number_of(conservation, "output"), number_of(conservation, "input"),
               number_of(conservation, "constants"), number_of(conservation, "missing"),
               json_is_true(json_object_get(conservation, "holds")) ? "conserved" : "not conserved!");
    }
}

static void print_value(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_number(value)) {
        const double number = json_number_value(value);
        printf("  %9.3f", fabs(number) < 0.0005 ? 0 : number); /* no "-0.000" */
    } else {
        printf("  %9s", "-");
    }
}

static int layer_width(const json_t *stages)
{
    enum { MAX_WIDTH = 60 };
    int width = (int)strlen("random down to");
    size_t i;
    json_t *stage;
    json_array_foreach(stages, i, stage)
    {
        const int length = (int)strlen(spade_json_text_at(stage, "layer"));
        width = length > width ? length : width;
    }
    return width < MAX_WIDTH ? width : MAX_WIDTH;
}

static void print_map(const json_t *map, const json_t *stages)
{
    const json_t *similarity = json_object_get(map, "similarity");
    const int width = layer_width(stages);
    char verdict[CHECK_VERDICT_TEXT];
    size_t i;
    json_t *stage;
    printf("  %s", spade_json_text_at(map, "method"));
    if (json_object_get(map, "options")) {
        fputs(" (", stdout);
        cli_print_text(spade_json_text_at(map, "options"), 0);
        putchar(')');
    }
    fputs(", for ", stdout);
    cli_print_target(map);
    putchar('\n');
    print_promises(json_object_get(map, "check"));
    printf("    %-*s  %9s  %9s  %9s\n", width, "random down to", "Spearman", "of |map|", "SSIM");
    json_array_foreach(stages, i, stage)
    {
        const json_t *at = json_array_get(similarity, i);
        fputs("    ", stdout);
        cli_print_text(spade_json_text_at(stage, "layer"), width);
        print_value(at, "spearman");
        print_value(at, "spearman_abs");
        print_value(at, "ssim");
        putchar('\n');
    }
    printf("    the map %s\n", check_verdict_text(map, verdict));
}

static void on_result(void *user, const json_t *result)
{
    const json_t *dense = json_object_get(result, "dense");
    size_t i;
    json_t *map;
    if (!cli_begin_result(user, result)) { return; }
    cli_print_text(spade_json_text_at(result, "name"), 0);
    fputs("  ", stdout);
    cli_print_text(spade_json_text_at(dense, "name"), 0);
    printf(" %.1f %%\n", 100 * number_of(dense, "score"));
    json_array_foreach(json_object_get(result, "maps"), i, map)
    {
        print_map(map, json_object_get(result, "stages"));
    }
    fflush(stdout);
}

static void print_end(const cli_options *options, const spade_workload_outcome *outcome)
{
    if (!options->output) { return; }
    fputs("the maps: ", stdout);
    cli_print_text(options->output, 0);
    fputs("/check.html", stdout);
    if (outcome->failed) { printf(", %d input%s failed", outcome->failed, outcome->failed == 1 ? "" : "s"); }
    puts(outcome->stopped ? ", stopped before the last input" : "");
}

static int run(cli_options *options)
{
    cli_printer printer = {.options = options};
    spade_workload_outcome outcome = {0};
    int code = EXIT_DONE;
    if (options->quiet && !options->json && !options->output) {
        return cli_usage_error(options->command, "--quiet prints no table: give -o or --json for the results");
    }
    spade_context *context = cli_context(options, &printer.progress, &code);
    if (!context) { return code; }
    const spade_check_request request = {.model = options->arguments[0],
                                         .inputs = options->arguments + 1,
                                         .input_count = options->argument_count - 1,
                                         .recursive = options->recursive,
                                         .labels = options->labels,
                                         .output = options->output,
                                         .stages = (int)options->stages,
                                         .settings = &options->settings};
    const spade_workload_events events = {.user = &printer,
                                          .phase = cli_progress_phase,
                                          .note = cli_progress_note,
                                          .failed = cli_print_failed,
                                          .result = on_result,
                                          .stop = cli_stopped};
    cli_stop_on_signals();
    spade_status status = spade_check(context, &request, &events, &outcome);
    code = cli_end_results(&printer, context, status, &outcome, print_end);
    spade_context_destroy(context);
    return code;
}

const cli_command command_check = {
    .name = "check",
    .usage = "check MODEL INPUT... [-o DIR] [options]",
    .summary =
        "Check maps: do they change when layers lose what they have learned, and keep what their methods promise?",
    .details =
        "Cascading randomisation (Adebayo et al. 2018, Sanity checks for saliency maps), of the dense network: from "
        "the\n"
        "last layer to the first, each layer's weights become normal random numbers of the same root mean square; "
        "biases\n"
        "and normalisations stay. After each stage every map is compared with the network's own: Spearman's rank\n"
        "correlation of the maps and of their absolute values, and SSIM. With all layers random the larger one of "
        "both\n"
        "correlations should be below 0.5 (from there on a correlation counts as large, Cohen 1988); else the map does "
        "not\n"
        "show what the network has learned. Then completeness and conservation, as explain --check has them.",
    .options = OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_PICTURE | OPTIONS_MAPS | OPTIONS_CHECK,
    .min_arguments = 2,
    .max_arguments = -1,
    .run = run,
};
