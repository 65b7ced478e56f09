/* run.c - what the commands share: the context, failures, JSON lines. */
#include "base/target_text.h"
#include "base/text.h"
#include "cli/cli.h"

spade_context *cli_context(const cli_options *options, cli_progress *progress, int *code)
{
    spade_context_options wanted;
    spade_context *context = NULL;
    cli_progress_init(progress, options);
    spade_context_options_init(&wanted);
    if (options->device) { wanted.device = options->device; }
    wanted.threads = (int)options->threads;
    wanted.memory = options->memory;
    wanted.precision = options->settings.precision;
    wanted.log = cli_progress_log;
    wanted.progress = cli_progress_stage;
    wanted.user = progress;
    spade_status status = spade_context_create(&wanted, &context);
    if (status == SPADE_OK && !cli_address_space_suffices(context->threads)) {
        status = spade_fail(context, SPADE_ERROR_MEMORY, "ulimit -v leaves too little memory for %d threads",
                            context->threads);
    }
    if (status == SPADE_OK) {
        if (!options->memory) { spade_limit_to_free_memory(context); }
        spade_limit_memory(context, cli_address_space_left(context->threads));
        return context;
    }
    *code = cli_failure(options, status, spade_message(context));
    spade_context_destroy(context);
    return NULL;
}

int cli_failure(const cli_options *options, spade_status status, const char *message)
{
    if (status == SPADE_ERROR_ARGUMENT) { return cli_usage_error(options->command, "%s", message); }
    cli_print_error(message);
    return EXIT_FAILED;
}

/* The characters that are not printable, as they may stand in a string: escaped. All are below U+10000. */
static void print_escaped(const char *text)
{
    while (*text) {
        bool printable;
        const int length = spade_character(text, &printable);
        const unsigned char *bytes = (const unsigned char *)text;
        if (printable) {
            fwrite(text, 1, (size_t)length, stdout);
        } else {
            unsigned code = length == 1 ? bytes[0] : bytes[0] & (0x7fu >> length);
            for (int i = 1; i < length; i++) { code = code << 6 | (bytes[i] & 0x3f); }
            printf("\\u%04x", code);
        }
        text += length;
    }
}

bool cli_write_json(const json_t *value, size_t flags)
{
    char *text = spade_json_dump(value, JSON_COMPACT | flags);
    if (!text) { return false; }
    print_escaped(text);
    putchar('\n');
    free(text);
    fflush(stdout);
    return true;
}

int cli_print_json_with(const json_t *value, size_t flags)
{
    if (cli_write_json(value, flags)) { return EXIT_DONE; }
    cli_print_error("out of memory");
    return EXIT_FAILED;
}

int cli_print_json(const json_t *value)
{
    return cli_print_json_with(value, 0);
}

void cli_print_text_on(FILE *file, const char *text, int width)
{
    int columns = 0;
    for (; *text; columns++) {
        bool printable;
        const int length = spade_character(text, &printable);
        if (printable) {
            fwrite(text, 1, (size_t)length, file);
        } else {
            fputc('?', file);
        }
        text += length;
    }
    for (; columns < width; columns++) { fputc(' ', file); }
}

void cli_print_text(const char *text, int width)
{
    cli_print_text_on(stdout, text, width);
}

void cli_print_error(const char *message)
{
    fputs("spade: ", stderr);
    cli_print_text_on(stderr, message, 0);
    fputc('\n', stderr);
}

/* ---- the results of several inputs */

void cli_print_failed(void *user, const char *message)
{
    cli_printer *printer = user;
    cli_progress_clear(&printer->progress);
    cli_print_error(message);
}

bool cli_begin_result(cli_printer *printer, const json_t *result)
{
    cli_progress_clear(&printer->progress);
    if (!printer->options->json) { return !printer->options->quiet; }
    printer->failed = !cli_write_json(result, 0) || printer->failed;
    return false;
}

int cli_end_results(cli_printer *printer, const spade_context *context, spade_status status,
                    const spade_workload_outcome *outcome,
                    void (*print_end)(const cli_options *options, const spade_workload_outcome *outcome))
{
    const cli_options *options = printer->options;
    cli_progress_clear(&printer->progress);
    if (status != SPADE_OK) { return cli_failure(options, status, spade_message(context)); }
    if (outcome->done && !options->quiet && !options->json) { print_end(options, outcome); }
    if (printer->failed) {
        cli_print_error(options->output ? "out of memory for a line of JSON; the results are in the folder"
                                        : "out of memory for a line of JSON");
    }
    if (outcome->stopped) { return EXIT_STOPPED; }
    if (!outcome->done) { return EXIT_FAILED; } /* each failure was named */
    if (outcome->failed) { return EXIT_SOME_FAILED; }
    return printer->failed ? EXIT_FAILED : EXIT_DONE;
}

void cli_print_target(const json_t *map)
{
    const json_t *against = json_object_get(map, "against");
    const spade_target target = {.class_index = json_integer_value(json_object_get(map, "class")),
                                 .against = json_integer_value(against),
                                 .contrast = against != NULL};
    char text[SPADE_TARGET_TEXT];
    cli_print_text(spade_target_text(&target, json_string_value(json_object_get(map, "name")),
                                     json_string_value(json_object_get(map, "against_name")), text),
                   0);
}
