/* cli.h - the command line: commands, their shared options, progress. */
#ifndef SPADE_CLI_CLI_H
#define SPADE_CLI_CLI_H

#include "base/base.h"
#include "workload/workload.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SOME_FAILED = 3, EXIT_STOPPED = 4 };

/* Which options a command takes: groups of settings (config/keys.h), and what is of the command line alone. */
enum {
    OPTIONS_RUN = SPADE_KEYS_RUN,         /* --seed, --precision; --device, --threads, --memory, --config */
    OPTIONS_PICTURE = SPADE_KEYS_PICTURE, /* --resize, --crop, --mean, --std */
    OPTIONS_SIZE = SPADE_KEYS_SIZE,       /* --crop alone: the size of a dynamic input */
    OPTIONS_TRACE = SPADE_KEYS_VARIANTS | SPADE_KEYS_TRACE, /* --variants, --sparsity, ... */
    OPTIONS_MAPS = SPADE_KEYS_MAPS,                         /* --method, --class, ...; --labels */
    OPTIONS_EXPLAIN = SPADE_KEYS_QUALITY,                   /* --metric, --check; --mask, --no-trace, ... */
    OPTIONS_COMMON = 1 << 16,                               /* --json, --quiet, --verbose, --help */
    OPTIONS_OUTPUT = 1 << 17,                               /* -o */
    OPTIONS_MARKDOWN = 1 << 18,                             /* --markdown */
    OPTIONS_GRAPH = 1 << 19,                                /* --graph */
    OPTIONS_CHECK = 1 << 20,                                /* --stages; -o, which may be left out */
    OPTIONS_VISUALIZE = 1 << 21,                            /* --neuron, --trace, ... */
    OPTIONS_BENCH = 1 << 23,                                /* --repeat, --warm-up */
    OPTIONS_BATCH = 1 << 22,                                /* --batch */
    OPTIONS_METRICS = SPADE_KEYS_METRICS,                   /* --metric */
    OPTIONS_EVALUATE = 1 << 24,                             /* --traces, --mask, --no-trace, ... */
    OPTIONS_TUNE = 1 << 25,                                 /* --stages, --aside, ... */
    OPTIONS_ANNOTATE = 1 << 26,                             /* --values, --shard, ... */
    OPTIONS_MERGE = 1 << 27                                 /* --html */
};

typedef struct cli_options cli_options;

/* One row per command, at the end of cmd_NAME.c. */
typedef struct cli_command {
    const char *name;
    const char *usage;   /* after "spade " */
    const char *summary; /* one line */
    const char *details; /* more, or NULL */
    unsigned options;
    int min_arguments, max_arguments; /* positional; max -1: any number */
    int (*run)(cli_options *options); /* returns EXIT_... */
} cli_command;

/* THE list of commands, in the order in which they are shown: command_NAME is the row in cmd_NAME.c. */
/* clang-format off */
#define CLI_COMMANDS(ROW) \
    ROW(info)             \
    ROW(explain)          \
    ROW(check)            \
    ROW(evaluate)         \
    ROW(tune)             \
    ROW(annotate)         \
    ROW(merge)            \
    ROW(status)           \
    ROW(bench)            \
    ROW(trace)            \
    ROW(visualize)        \
    ROW(methods)          \
    ROW(operators)        \
    ROW(devices)          \
    ROW(version)
/* clang-format on */
#define CLI_COMMAND_DECLARATION(name) extern const cli_command command_##name;
CLI_COMMANDS(CLI_COMMAND_DECLARATION)
#undef CLI_COMMAND_DECLARATION

/* The values of an option that may be given several times; they point into argv. */
typedef struct cli_list {
    char **values;
    int count;
} cli_list;

struct cli_options {
    const cli_command *command;
    char **arguments; /* positional; they point into argv */
    int argument_count;
    const char *device, *config, *output, *batch, *mask, *labels, *trace, *traces, *fit, *objective, *values, *shard,
        *ledger;
    const char *tuned_stages;
    cli_list neurons;
    int64_t threads, in_flight, stages, side, steps, repeat, warm_up, seeds, shard_size, workers; /* 0: not given */
    int64_t gallery;                                                                              /* -1: not given */
    double fit_margin, aside, max_changed; /* below 0: not given */
    uint64_t memory;
    bool json, quiet, verbose, help, no_dense, no_trace, no_report, restart, recursive, markdown, graph, still,
        all_stages, retry, html;
    spade_settings settings;
};

/* ---- options.c */
/* Parse argv[2..]; false: a usage error was printed. */
bool cli_parse(const cli_command *command, int argc, char **argv, cli_options *out);
void cli_options_clear(cli_options *options);
/* EXIT_DONE, or EXIT_FAILED after saying why. */
int cli_print_help(const cli_command *command, FILE *file);
/* Print "spade: message (see 'spade COMMAND --help')"; returns EXIT_USAGE. */
int cli_usage_error(const cli_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- progress.c: what a run says on stderr while it works */
typedef struct cli_progress {
    bool quiet, verbose, terminal;
    bool shown;                /* a bar stands on the current line */
    double start, last;        /* seconds: of the first phase, of the last output */
    double fraction, from, to; /* of the whole run: where it is, and the phase */
    char label[64];
} cli_progress;
void cli_progress_init(cli_progress *progress, const cli_options *options);
void cli_progress_phase(void *user, const char *label, double from, double to);
void cli_progress_stage(void *user, const char *stage, double done, double total);
void cli_progress_note(void *user, const char *line);
void cli_progress_log(void *user, spade_log_level level, const char *line);
/* Take the bar away, so that something else can be printed. */
void cli_progress_clear(cli_progress *progress);

/* ---- start.c: what stands before everything else */
/* Descriptors 0 to 2 are open from now on, so that no file of ours gets one of these numbers: one that was closed fails
 * every use, as a closed one does. Writes beyond a limit on the size of files fail too, instead of ending the process. */
void cli_start(void);
/* new_handler.cpp: where the C++ libraries get no memory, the command ends with a line. */
void cli_set_new_handler(void);

/* ---- address_space.c: ulimit -v */
/* Bytes that the limit leaves when the libraries' buffers for so many threads are taken off; UINT64_MAX: no limit. */
uint64_t cli_address_space_left(int threads);
/* It is enough to work with. */
bool cli_address_space_suffices(int threads);

/* ---- stop.c: SIGINT and SIGTERM */
/* From now on the first of them is remembered, and the work stops after the input at hand; the second one ends the
 * process at once. That nobody reads standard output any more stops it as well. */
void cli_stop_on_signals(void);
bool cli_stopped(void *user); /* spade_workload_events.stop */

/* ---- cluster.c: the share of several processes that work on the same */
typedef struct cli_share {
    int64_t share, shares;      /* 0 of 1: all */
    const char *number, *count; /* the variables that say so; NULL: --shard does, or nobody */
} cli_share;
/* EXIT_DONE, or another one after an error was printed. */
int cli_find_share(const cli_options *options, cli_share *out);

/* ---- run.c: what every command that works does */
/* What prints the results of the commands that go over inputs, explain and check. */
typedef struct cli_printer {
    cli_progress progress; /* first: the progress functions get this struct's address too */
    const cli_options *options;
    bool failed;      /* a result could not be printed */
    int64_t failures; /* that were told: annotate names the first ones */
} cli_printer;
/* spade_workload_events.failed of a cli_printer. */
void cli_print_failed(void *user, const char *message);
/* A result comes: the bar goes, and with --json it is printed here. True: it is to be printed for people. */
bool cli_begin_result(cli_printer *printer, const json_t *result);
/* After the last result: how the run exits. What made it fail is said, or a result that could not be printed; print_end says to
 * people what was done, where anything was. */
int cli_end_results(cli_printer *printer, const spade_context *context, spade_status status,
                    const spade_workload_outcome *outcome,
                    void (*print_end)(const cli_options *options, const spade_workload_outcome *outcome));
/* What a map of a result explains: base/target_text.h. */
void cli_print_target(const json_t *map);
/* A context as the options ask for; NULL after the error was printed, *code says how to exit. */
spade_context *cli_context(const cli_options *options, cli_progress *progress, int *code);
/* Print the context's message and return the exit code for a failure. */
int cli_failure(const cli_options *options, spade_status status, const char *message);
/* One compact line of JSON on stdout; what is not printable in its strings is escaped. Returns EXIT_DONE; EXIT_FAILED after
 * saying that memory ran out, also for NULL, which is JSON that could not be made. */
int cli_print_json(const json_t *value);
int cli_print_json_with(const json_t *value, size_t flags); /* more of jansson's flags */
bool cli_write_json(const json_t *value, size_t flags);     /* the same, which says nothing: false: out of memory */
/* Text from outside, on stdout or elsewhere: what is not printable becomes '?' (base/text.h), padded to width. */
void cli_print_text(const char *text, int width);
void cli_print_text_on(FILE *file, const char *text, int width);
/* "spade: MESSAGE" and a line end on stderr. */
void cli_print_error(const char *message);

#endif
