/* cmd_info.c - spade info: operators and layers of a model. */
#include "cli/cli.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static int width_of(const json_t *list, const char *key, int min_width)
{
    size_t index;
    json_t *item;
    int width = min_width;
    json_array_foreach(list, index, item)
    {
        int length = (int)strlen(text_of(item, key));
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
        cli_print_text(text_of(item, "operator"), width);
        printf("  %6lld", (long long)json_integer_value(json_object_get(item, "count")));
        if (!json_is_true(json_object_get(item, "supported"))) {
            fputs("  not supported; first node: ", stdout);
            cli_print_text(text_of(item, "first_node"), 0);
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
    printf("\n%-*s  %-16s %6s %12s %9s  %s\n", width, "layer", "shape", "groups", "parameters", "MFLOP", "prunable");
    json_array_foreach(layers, index, item)
    {
        char shape[64];
        format_shape(json_object_get(item, "shape"), shape, sizeof shape);
        cli_print_text(text_of(item, "name"), width);
        printf("  %-16s %6lld %12lld %9.2f  %s\n", shape,
               (long long)json_integer_value(json_object_get(item, "groups")),
               (long long)json_integer_value(json_object_get(item, "parameters")),
               json_number_value(json_object_get(item, "operations")) / 1e6,
               json_is_true(json_object_get(item, "prunable")) ? "yes" : "no");
    }
    printf("%-*s  %-16s %6s %12lld %9.2f\n", width, "all", "", "",
           (long long)json_integer_value(json_object_get(all, "weights")),
           json_number_value(json_object_get(all, "operations")) / 1e6);
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
        fprintf(stderr, "%s %s (node '%s')", named++ ? "," : "", text_of(item, "operator"),
                text_of(item, "first_node"));
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
    spade_status status = spade_describe_model(context, options->arguments[0], &options->settings, &result, &supported);
    if (status != SPADE_OK) {
        code = cli_failure(options, status, spade_message(context));
    } else if (options->json) {
        cli_print_json(result);
    } else if (!options->quiet) {
        cli_print_text(text_of(result, "model"), 0);
        putchar('\n');
        if (supported) {
            char shape[64];
            format_shape(json_object_get(result, "input"), shape, sizeof shape);
            printf("input %s, %lld classes", shape, (long long)json_integer_value(json_object_get(result, "classes")));
            const char *head = text_of(result, "head");
            if (strcmp(head, "none") != 0) { printf(", ends in a %s", head); }
            putchar('\n');
        }
        print_operators(json_object_get(result, "operators"));
        if (supported) { print_layers(result); }
    }
    if (status == SPADE_OK && !supported) { code = name_unsupported(json_object_get(result, "operators")); }
    json_decref(result);
    spade_context_destroy(context);
    return code;
}

const cli_command command_info = {
    .name = "info",
    .usage = "info MODEL [options]",
    .summary = "What is in a model: operators, and its layers with shapes, parameters and operations.",
    .options = OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_SIZE,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
