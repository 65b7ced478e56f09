/* run.c - what the commands share: the context, failures, JSON lines. */
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
    if (status == SPADE_OK) {
        if (!options->memory) { spade_limit_to_free_memory(context); }
        return context;
    }
    *code = cli_failure(options, status, spade_message(context));
    spade_context_destroy(context);
    return NULL;
}

int cli_failure(const cli_options *options, spade_status status, const char *message)
{
    if (status == SPADE_ERROR_ARGUMENT) { return cli_usage_error(options->command, "%s", message); }
    fprintf(stderr, "spade: %s\n", message);
    return EXIT_FAILED;
}

void cli_print_json(const json_t *value)
{
    if (json_dumpf(value, stdout, JSON_COMPACT) == 0) { putchar('\n'); }
    fflush(stdout);
}

void cli_print_text(const char *text, int width)
{
    int columns = 0;
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        putchar(*at < 0x20 || *at == 0x7f ? '?' : *at);
        columns += (*at & 0xc0) != 0x80; /* bytes that begin a character */
    }
    for (; columns < width; columns++) { putchar(' '); }
}
