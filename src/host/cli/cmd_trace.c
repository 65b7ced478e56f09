/* cmd_trace.c - spade trace: the sparse network of one input. */
#include "cli/cli.h"

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void print_table(const json_t *result)
{
    const json_t *layers = json_object_get(result, "layers"), *seconds = json_object_get(result, "seconds");
    size_t index;
    json_t *item;
    int width = 5;
    json_array_foreach(layers, index, item)
    {
        int length = (int)strlen(json_string_value(json_object_get(item, "name")));
        width = length > width ? length : width;
    }
    width = width < 60 ? width : 60;
    printf("%-*s %10s %10s %8s %12s %9s\n", width, "layer", "weights", "zeros", "%", "loss", "seconds");
    json_array_foreach(layers, index, item)
    {
        double weights = number_of(item, "weights"), zeros = number_of(item, "zeros");
        cli_print_text(json_string_value(json_object_get(item, "name")), width);
        if (json_is_true(json_object_get(item, "solved"))) {
            printf(" %10.0f %10.0f %8.2f %12.4g %9.3f\n", weights, zeros, 100 * zeros / weights,
                   number_of(item, "loss"), number_of(item, "seconds"));
        } else {
            printf(" %10.0f %10s %8s %12s %9s\n", weights, "-", "-", "-", "-");
        }
    }
    double weights = number_of(result, "weights"), zeros = number_of(result, "zeros");
    printf("%-*s %10.0f %10.0f %8.2f\n", width, "pruned", weights, zeros, weights > 0 ? 100 * zeros / weights : 0);
    printf("%.0f variants: augmentation and forward %.2f s, Hessians %.2f s, solve %.2f s\nwritten: ",
           number_of(result, "variants"), number_of(seconds, "variants"), number_of(seconds, "hessian"),
           number_of(seconds, "solve"));
    cli_print_text(json_string_value(json_object_get(result, "file")), 0);
    putchar('\n');
}

static int run(cli_options *options)
{
    const char *input = options->argument_count > 1 ? options->arguments[1] : NULL;
    if (!input && !options->batch) { return cli_usage_error(options->command, "an INPUT or --batch is needed"); }
    if (input && options->batch) { return cli_usage_error(options->command, "INPUT and --batch exclude each other"); }
    cli_progress progress;
    json_t *result = NULL;
    int code = EXIT_DONE;
    spade_context *context = cli_context(options, &progress, &code);
    if (!context) { return code; }
    spade_trace_request request = {.model = options->arguments[0],
                                   .input = input,
                                   .batch = options->batch,
                                   .output = options->output,
                                   .settings = &options->settings};
    spade_workload_events events = {.user = &progress, .phase = cli_progress_phase, .note = cli_progress_note};
    spade_status status = spade_trace_to_file(context, &request, &events, &result);
    cli_progress_clear(&progress);
    if (status != SPADE_OK) {
        code = cli_failure(options, status, spade_message(context));
    } else if (options->json) {
        code = cli_print_json(result);
    } else if (!options->quiet) {
        print_table(result);
    }
    json_decref(result);
    spade_context_destroy(context);
    return code;
}

const cli_command command_trace = {
    .name = "trace",
    .usage = "trace MODEL [INPUT] -o OUT.onnx|OUT.safetensors [options]",
    .summary = "Write the sparse network of one input.",
    .details = "INPUT is a picture or a .npy file of one normalised input; --batch FILE.npy may stand in its place.",
    .options = OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_PICTURE | OPTIONS_TRACE | OPTIONS_BATCH | OPTIONS_OUTPUT,
    .min_arguments = 1,
    .max_arguments = 2,
    .run = run,
};
