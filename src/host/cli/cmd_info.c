/* cmd_info.c - spade info: operators and layers of a model. */
#include "cli/cli.h"

static int width_of(const json_t *list, const char *key, int min_width)
{
    size_t index;
    json_t *item;
    int width = min_width;
    json_array_foreach(list, index, item)
    {
        int length = (int)strlen(spade_json_text_at(item, key));
        width = length > width ? length : width;
    }
    return width < 60 ? width : 60;
}

static void print_operators(const json_t *operators)
{
    size_t index;
    json_t *item;
    int width = width_of(operators, "operator", 8);
    printf("\n%-*s  %6s\n", width, "operator", "nodes");
    json_array_foreach(operators, index, item)
    {
        cli_print_text(spade_json_text_at(item, "operator"), width);
        printf("  %6lld", (long long)json_integer_value(json_object_get(item, "count")));
        if (!json_is_true(json_object_get(item, "supported"))) {
            fputs("  not supported; first node: ", stdout);
            cli_print_text(spade_json_text_at(item, "first_node"), 0);
        }
        putchar('\n');
    }
}

static void format_shape(const json_t *shape, char *buffer, size_t size)
{
    size_t length = 0;
    buffer[0] = 0;
    for (size_t i = 0; i < json_array_size(shape) && length < size; i++) {
        length += (size_t)snprintf(buffer + length, size - length, "%s%lld", i ? "x" : "",
                                   (long long)json_integer_value(json_array_get(shape, i)));
    }
}

static void print_layers(const json_t *all)
{
    const json_t *layers = json_object_get(all, "layers");
    size_t index;
    json_t *item;
    int width = width_of(layers, "name", 5);
    double zeros = 0;
    printf("\n%-*s  %-16s %6s %12s %7s %9s  %s\n", width, "layer", "shape", "groups", "parameters", "zeros %", "MFLOP",
           "prunable");
    json_array_foreach(layers, index, item)
    {
        char shape[64];
        const double weights = json_number_value(json_object_get(item, "parameters"));
        const double zero = json_number_value(json_object_get(item, "zeros"));
        zeros += zero;
        format_shape(json_object_get(item, "shape"), shape, sizeof shape);
        cli_print_text(spade_json_text_at(item, "name"), width);
        printf("  %-16s %6lld %12.0f %7.2f %9.2f  %s\n", shape,
               (long long)json_integer_value(json_object_get(item, "groups")), weights, 100 * zero / weights,
               json_number_value(json_object_get(item, "operations")) / 1e6,
               json_is_true(json_object_get(item, "prunable")) ? "yes" : "no");
    }
    const double weights = json_number_value(json_object_get(all, "weights"));
    printf("%-*s  %-16s %6s %12.0f %7.2f %9.2f\n", width, "all", "", "", weights,
           weights > 0 ? 100 * zeros / weights : 0, json_number_value(json_object_get(all, "operations")) / 1e6);
}

/* "Nx64x56x56": of a batch of N; "64" behind the batch where one picture has several windows: "64Nx49x96". */
static void format_batch_shape(const json_t *node, char *buffer, size_t size)
{
    const json_t *shape = json_object_get(node, "shape");
    const json_int_t batch_axis = json_integer_value(json_object_get(node, "batch_axis"));
    size_t length = 0;
    buffer[0] = 0;
    for (size_t i = 0; i < json_array_size(shape) && length < size; i++) {
        const long long dim = json_integer_value(json_array_get(shape, i));
        const bool grows = (json_int_t)i == batch_axis;
        length += (size_t)snprintf(buffer + length, size - length, "%s", i ? "x" : "");
        if (length < size && (!grows || dim > 1)) {
            length += (size_t)snprintf(buffer + length, size - length, "%lld", dim);
        }
        if (length < size && grows) { length += (size_t)snprintf(buffer + length, size - length, "N"); }
    }
}

static void format_inputs(const json_t *inputs, char *buffer, size_t size)
{
    size_t length = 0;
    buffer[0] = 0;
    for (size_t i = 0; i < json_array_size(inputs) && length < size; i++) {
        const json_t *input = json_array_get(inputs, i);
        const char *comma = i ? ", " : "";
        length += (size_t)(json_is_string(input)
                               ? snprintf(buffer + length, size - length, "%s%s", comma, json_string_value(input))
                               : snprintf(buffer + length, size - length, "%s%lld", comma,
                                          (long long)json_integer_value(input)));
    }
}

static void print_graph(const json_t *graph)
{
    size_t index;
    json_t *item;
    const int width = width_of(graph, "kind", 4);
    printf("\n%5s  %-*s  %-20s %-16s %s\n", "node", width, "kind", "output", "inputs", "name");
    json_array_foreach(graph, index, item)
    {
        char shape[160], inputs[160];
        const json_t *layer = json_object_get(item, "layer");
        const char *module = spade_json_text_at(item, "module");
        const json_t *pattern = json_object_get(item, "pattern");
        format_batch_shape(item, shape, sizeof shape);
        format_inputs(json_object_get(item, "inputs"), inputs, sizeof inputs);
        printf("%5lld  ", (long long)json_integer_value(json_object_get(item, "node")));
        cli_print_text(spade_json_text_at(item, "kind"), width);
        printf("  %-20s %-16s ", shape, inputs);
        cli_print_text(json_is_string(layer) ? json_string_value(layer)
                       : *module             ? module
                                             : spade_json_text_at(item, "name"),
                       0);
        if (json_is_string(pattern)) { printf(" (%s)", json_string_value(pattern)); }
        putchar('\n');
    }
}

static int name_unsupported(const json_t *operators)
{
    size_t index;
    json_t *item;
    fputs("spade: unsupported operators:", stderr);
    int named = 0;
    json_array_foreach(operators, index, item)
    {
        if (json_is_true(json_object_get(item, "supported"))) { continue; }
        fputs(named++ ? ", " : " ", stderr);
        cli_print_text_on(stderr, spade_json_text_at(item, "operator"), 0);
        fputs(" (node '", stderr);
        cli_print_text_on(stderr, spade_json_text_at(item, "first_node"), 0);
        fputs("')", stderr);
    }
    fputc('\n', stderr);
    return EXIT_FAILED;
}

static int run(cli_options *options)
{
    cli_progress progress;
    json_t *result = NULL;
    bool supported = false;
    int code = EXIT_DONE;
    spade_context *context = cli_context(options, &progress, &code);
    if (!context) { return code; }
    spade_status status =
        spade_describe_model(context, options->arguments[0], &options->settings, options->graph, &result, &supported);
    if (status != SPADE_OK) {
        code = cli_failure(options, status, spade_message(context));
    } else if (options->json) {
        code = cli_print_json(result);
    } else if (!options->quiet) {
        cli_print_text(spade_json_text_at(result, "model"), 0);
        putchar('\n');
        if (supported) {
            char shape[64];
            format_shape(json_object_get(result, "input"), shape, sizeof shape);
            printf("input %s, %lld classes", shape, (long long)json_integer_value(json_object_get(result, "classes")));
            const char *head = spade_json_text_at(result, "head");
            if (strcmp(head, "scores") == 0) {
                printf(", ends in scores that are no logits");
            } else if (strcmp(head, "none") != 0) {
                printf(", ends in a %s", head);
            }
            putchar('\n');
        }
        print_operators(json_object_get(result, "operators"));
        if (supported && !options->graph) { print_layers(result); }
        if (supported && options->graph) { print_graph(json_object_get(result, "graph")); }
    }
    if (status == SPADE_OK && !supported) { code = name_unsupported(json_object_get(result, "operators")); }
    json_decref(result);
    spade_context_destroy(context);
    return code;
}

const cli_command command_info = {
    .name = "info",
    .usage = "info MODEL [options]",
    .summary =
        "What is in a model: operators, and its layers with shapes, parameters, zeros among them, and operations.",
    .options = OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_SIZE | OPTIONS_GRAPH,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
