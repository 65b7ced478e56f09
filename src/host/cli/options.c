/* options.c - long options: those that are settings, and those of the command line alone; parsing and help. */
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "base/number.h"
#include "cli/cli.h"
#include "spade/attribution.h"

typedef enum option_kind { FLAG, TEXT, LIST, COUNT, COUNT_OR_NONE, NUMBER, SHARE, MEMORY } option_kind;

/* What is no setting: a configuration cannot hold it. */
typedef struct option {
    const char *name; /* long form, or NULL */
    char letter;      /* short form, or 0 */
    unsigned groups;  /* OPTIONS_* that have it */
    option_kind kind;
    size_t offset;        /* member of cli_options */
    const char *argument; /* in the help */
    const char *help;
} option;

#define AT(member) offsetof(cli_options, member)
static const option table[] = {
    {NULL, 'o', OPTIONS_OUTPUT, TEXT, AT(output), "PATH", "where results go (needed)"},
    {NULL, 'o', OPTIONS_CHECK, TEXT, AT(output), "DIR",
     "write pictures of all maps there, and check.html, which shows them"},
    {"batch", 0, OPTIONS_BATCH, TEXT, AT(batch), "FILE.npy", "given variants [n,C,H,W] in their place"},
    {"traces", 0, OPTIONS_EVALUATE, TEXT, AT(traces), "T[,...]",
     "the traces that are compared with the network: solvers (fast, exact, magnitude, random), sparse_fc (a sparse "
     "last layer for all pictures, see --fit), or configurations (FILE.yaml); without it one, as the options say"},
    {"fit", 0, OPTIONS_EVALUATE, TEXT, AT(fit), "MANIFEST",
     "what sparse_fc is fitted to: other pictures, of every class, with labels (else the network's decisions)"},
    {"fit-margin", 0, OPTIONS_EVALUATE, SHARE, AT(fit_margin), "S",
     "how much less often than the best of all sparse last layers the one that is taken may decide right, of the "
     "pictures of --fit that are kept aside (0.05; 0 to 1)"},
    {"mask", 0, OPTIONS_EXPLAIN | OPTIONS_EVALUATE | OPTIONS_TUNE, TEXT, AT(mask), "PATH",
     "what maps should point at, for metrics: a picture (white, any one colour on black, or the alpha channel), or a "
     "folder with NAME.png or NAME_mask.png"},
    {"recursive", 'r', OPTIONS_EXPLAIN | OPTIONS_CHECK, FLAG, AT(recursive), NULL,
     "of a given folder also the folders in it"},
    {"labels", 0, OPTIONS_MAPS | OPTIONS_VISUALIZE, TEXT, AT(labels), "FILE", "class names, one a line"},
    {"in-flight", 0, OPTIONS_EXPLAIN | OPTIONS_EVALUATE | OPTIONS_ANNOTATE, COUNT, AT(in_flight), "N",
     "inputs that are worked on together (1; on a GPU 4, without traces 32); on the CPU results do not depend on it, "
     "on a "
     "GPU only by rounding"},
    {"no-dense", 0, OPTIONS_EXPLAIN | OPTIONS_ANNOTATE, FLAG, AT(no_dense), NULL, "no maps of the dense network"},
    {"no-trace", 0, OPTIONS_EXPLAIN | OPTIONS_EVALUATE | OPTIONS_BENCH | OPTIONS_ANNOTATE, FLAG, AT(no_trace), NULL,
     "no trace"},
    {"no-report", 0, OPTIONS_EXPLAIN | OPTIONS_EVALUATE, FLAG, AT(no_report), NULL, "no report.html"},
    {"gallery", 0, OPTIONS_EVALUATE, COUNT_OR_NONE, AT(gallery), "N",
     "pictures that report.html shows of each method and trace, of those whose maps gain most and of those whose lose "
     "most; 0: none (6; fewer where there are more than 12 of methods times traces)"},
    {"restart", 0, OPTIONS_EXPLAIN | OPTIONS_EVALUATE, FLAG, AT(restart), NULL,
     "remove the results that are in the output folder, instead of going on with them"},
    {"values", 0, OPTIONS_ANNOTATE, TEXT, AT(values), "TYPE",
     "how maps are written: float32, float16 with a scale for each map (both .npy), or png, of 8 bits (float32)"},
    {"shard-size", 0, OPTIONS_ANNOTATE, NUMBER, AT(shard_size), "N",
     "rows of the manifest in a shard (as STORE has it; else those of about 256 MB, at most 10000; fewer, so "
     "that there are 32 shards of 8 rows or more, or four for each of --workers and shares)"},
    {"shard", 0, OPTIONS_ANNOTATE, TEXT, AT(shard), "I/N",
     "do the shards I, I + N, I + 2 N, ... (on a cluster as SLURM_ARRAY_TASK_ID, SLURM_PROCID or OMPI_COMM_WORLD_RANK "
     "say; else all)"},
    {"workers", 0, OPTIONS_ANNOTATE, COUNT, AT(workers), "N",
     "processes that share the work on this machine, with --threads and --memory divided among them (with several "
     "GPUs one each; on the CPU as many as threads, memory and shards allow; with --shard 1)"},
    {"ledger", 0, OPTIONS_ANNOTATE, TEXT, AT(ledger), "FILE",
     "where it is noted which worker has which shard, on a disk of this machine (STORE/ledger.sqlite; where STORE is "
     "on a "
     "network, in ~/.local/state/spade)"},
    {"retry", 0, OPTIONS_ANNOTATE, FLAG, AT(retry), NULL,
     "try pictures again that failed, shards that were set aside, and shards whose tar is damaged: all tars are read"},
    {"stages", 0, OPTIONS_CHECK, COUNT, AT(stages), "N",
     "steps in which the layers are randomised, each of about as many (a step for each layer)"},
    {"stages", 0, OPTIONS_TUNE, TEXT, AT(tuned_stages), "GLOB[,...]",
     "what gets a sparsity of its own: the layers that a glob matches (blocks, by the names of layers)"},
    {"seeds", 0, OPTIONS_TUNE, COUNT, AT(seeds), "N", "sets of variants of each picture (2)"},
    {"aside", 0, OPTIONS_TUNE, SHARE, AT(aside), "SHARE",
     "of the pictures, that is kept aside to say how good the result is (0.25; 0 to 1)"},
    {"max-changed", 0, OPTIONS_TUNE, SHARE, AT(max_changed), "SHARE",
     "of the pictures, whose class traces may change: else nothing is written; while it tunes, a quarter of it (0.1; 0 "
     "to 1)"},
    {"all-stages", 0, OPTIONS_TUNE, FLAG, AT(all_stages), NULL,
     "try them all; without it, not those before four in a row that gained nothing"},
    {"repeat", 0, OPTIONS_BENCH, COUNT, AT(repeat), "N", "times that everything is done; the table has medians (5)"},
    {"warm-up", 0, OPTIONS_BENCH, COUNT, AT(warm_up), "N", "times before that, which are not measured (1)"},
    {"neuron", 0, OPTIONS_VISUALIZE, LIST, AT(neurons), "NEURON",
     "LAYER:INDEX, a channel of a layer or module, or class:N, the value of a class by number or name; give it once "
     "for each picture "
     "(needed)"},
    {"objective", 0, OPTIONS_VISUALIZE, TEXT, AT(objective), "WHAT",
     "channel: of LAYER:INDEX the mean over all positions; neuron: the one in the middle (channel)"},
    {"trace", 0, OPTIONS_VISUALIZE, TEXT, AT(trace), "INPUT",
     "a picture or a .npy of one normalised input: its trace's pictures beside the network's"},
    {"steps", 0, OPTIONS_VISUALIZE, NUMBER, AT(steps), "N", "steps of Adam (512)"},
    {"size", 0, OPTIONS_VISUALIZE, NUMBER, AT(side), "N",
     "pixels of the pictures' shorter side (as the network's input)"},
    {"still", 0, OPTIONS_VISUALIZE, FLAG, AT(still), NULL,
     "do not move, scale and turn the pictures from step to step: they become noisier"},
    {"html", 0, OPTIONS_MERGE, FLAG, AT(html), NULL, "make a gallery, too: STORE/gallery/index.html"},
    {"config", 0, OPTIONS_RUN, TEXT, AT(config), "FILE",
     "settings in YAML (configs/default.yaml); options win over it"},
    {"device", 0, OPTIONS_RUN, TEXT, AT(device), "NAME", "auto, cpu or cuda[:N] (auto)"},
    {"threads", 0, OPTIONS_RUN, COUNT, AT(threads), "N", "host threads (all); results do not depend on it"},
    {"memory", 0, OPTIONS_RUN, MEMORY, AT(memory), "BYTES",
     "most memory to use, with K, M or G (3/4 of what is free; on a GPU all); results do not depend on it"},
    {"json", 0, OPTIONS_COMMON, FLAG, AT(json), NULL, "one line of JSON per result on stdout"},
    {"graph", 0, OPTIONS_GRAPH, FLAG, AT(graph), NULL, "the nodes that are computed, in order, in place of the layers"},
    {"markdown", 0, OPTIONS_MARKDOWN, FLAG, AT(markdown), NULL, "the page of docs/ about it"},
    {"quiet", 'q', OPTIONS_COMMON, FLAG, AT(quiet), NULL, "only errors"},
    {"verbose", 'v', OPTIONS_COMMON, FLAG, AT(verbose), NULL, "say what is done"},
    {"help", 'h', OPTIONS_COMMON, FLAG, AT(help), NULL, "this text"},
};
#undef AT
enum { OPTION_COUNT = sizeof table / sizeof *table, MAX_VALUES = 256 };

/* An option that an argument names: a row of the table above, or a setting. */
typedef struct found_option {
    const option *plain;  /* NULL: a setting */
    const spade_key *key; /* NULL: a plain one */
    char label[64];       /* "--sparsity" or "-o": how it is named in messages */
} found_option;

int cli_usage_error(const cli_command *command, const char *format, ...)
{
    spade_context line = {0};
    va_list arguments;
    va_start(arguments, format);
    char text[900];
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    spade_fail(&line, SPADE_ERROR_ARGUMENT, "%s", text); /* makes it one line */
    fprintf(stderr, "spade: %s (see 'spade %s%s--help')\n", line.message, command ? command->name : "",
            command ? " " : "");
    return EXIT_USAGE;
}

static bool is_name(const char *name, const char *text, size_t length)
{
    return name && strlen(name) == length && memcmp(name, text, length) == 0;
}

/* --NAME, whose name is the first `length` characters. False: the command has no such option. */
static bool find_long(const cli_command *command, const char *name, size_t length, found_option *out)
{
    *out = (found_option){0};
    snprintf(out->label, sizeof out->label, "--%.*s", (int)length, name);
    for (int i = 0; i < OPTION_COUNT && !out->plain; i++) {
        if (table[i].groups & command->options && is_name(table[i].name, name, length)) { out->plain = &table[i]; }
    }
    for (int i = 0; i < spade_key_count() && !out->key; i++) {
        const spade_key *key = spade_key_at(i);
        if (key->groups & command->options && is_name(key->option, name, length)) { out->key = key; }
    }
    return out->plain || out->key;
}

/* -LETTER. No setting has one. */
static bool find_letter(const cli_command *command, char letter, found_option *out)
{
    *out = (found_option){0};
    snprintf(out->label, sizeof out->label, "-%c", letter);
    for (int i = 0; i < OPTION_COUNT && !out->plain; i++) {
        if (table[i].groups & command->options && table[i].letter == letter) { out->plain = &table[i]; }
    }
    return out->plain;
}

/* The comma that ends the value, or the end of the text. In a text with options a comma in quotes belongs to a value. */
static char *find_value_end(char *value, const spade_key *key)
{
    char quote = 0;
    for (; *value; value++) {
        if (spade_key_takes_options(key) && (*value == '"' || *value == '\'')) {
            quote = !quote ? *value : quote == *value ? (char)0 : quote;
        }
        if (*value == ',' && !quote) { break; }
    }
    return value;
}

/* A setting's text to the settings. */
static spade_status apply_setting(spade_context *messages, const spade_key *key, const char *value,
                                  spade_settings *settings)
{
    char *values[MAX_VALUES];
    char *copy = strdup(value);
    int count = 0;
    if (!copy) { return spade_fail(messages, SPADE_ERROR_MEMORY, "out of memory"); }
    values[count++] = copy;
    for (char *end; spade_key_takes_list(key) && *(end = find_value_end(values[count - 1], key));) {
        if (count == MAX_VALUES) {
            free(copy);
            return spade_fail(messages, SPADE_ERROR_ARGUMENT, "more than %d values", MAX_VALUES);
        }
        *end = 0;
        values[count++] = end + 1;
    }
    spade_status status = spade_settings_set(messages, settings, key, NULL, values, count);
    free(copy);
    return status;
}

/* Everything except settings, which wait for the configuration file. */
static spade_status apply_plain(spade_context *messages, const option *entry, const char *value, cli_options *out)
{
    void *to = (char *)out + entry->offset;
    switch (entry->kind) {
    case FLAG: *(bool *)to = true; break;
    case TEXT:
        if (!*value) { return spade_fail(messages, SPADE_ERROR_ARGUMENT, "a value is needed"); }
        if (*(const char **)to) { return spade_fail(messages, SPADE_ERROR_ARGUMENT, "it is given twice"); }
        *(const char **)to = value;
        break;
    case LIST: {
        cli_list *list = to;
        if (!*value) { return spade_fail(messages, SPADE_ERROR_ARGUMENT, "a value is needed"); }
        char **values = realloc(list->values, ((size_t)list->count + 1) * sizeof *values);
        if (!values) { return spade_fail(messages, SPADE_ERROR_MEMORY, "out of memory"); }
        list->values = values;
        values[list->count++] = (char *)(uintptr_t)value;
        break;
    }
    case COUNT:
    case COUNT_OR_NONE: {
        const int64_t least = entry->kind == COUNT;
        if (!spade_parse_integer(value, to) || *(int64_t *)to < least || *(int64_t *)to > 1024) {
            return spade_fail(messages, SPADE_ERROR_ARGUMENT, "'%s' is not a whole number from %lld to 1024", value,
                              (long long)least);
        }
        break;
    }
    case NUMBER: /* its upper limit is the work's */
        if (!spade_parse_integer(value, to) || *(int64_t *)to < 1) {
            return spade_fail(messages, SPADE_ERROR_ARGUMENT, "'%s' is not a whole number above 0", value);
        }
        break;
    case SHARE: return spade_parse_real_within(messages, value, 0, 1, to);
    case MEMORY:
        if (!spade_parse_bytes(value, to)) {
            return spade_fail(messages, SPADE_ERROR_ARGUMENT, "'%s' is not a number of bytes (4000000, 500M, 2G)",
                              value);
        }
        break;
    }
    return SPADE_OK;
}

/* One argument that begins with '-': finds the option and its value. Moves *i over a value of its own. */
static bool take_option(const cli_command *command, int argc, char **argv, int *i, found_option *found,
                        const char **value)
{
    const char *text = argv[*i];
    bool is_long = text[1] == '-';
    const char *equals = is_long ? strchr(text, '=') : NULL;
    size_t length = is_long ? (equals ? (size_t)(equals - text) : strlen(text)) - 2 : 0;
    *value = "";
    bool known = is_long ? find_long(command, text + 2, length, found) : find_letter(command, text[1], found);
    bool flag = found->plain ? found->plain->kind == FLAG : found->key && found->key->type == SPADE_KEY_FLAG;
    if (!known || (!is_long && flag && text[2])) {
        cli_usage_error(command, "unknown option '%s'", text);
        return false;
    }
    if (flag) {
        *value = "true";
        if (equals) { cli_usage_error(command, "%s takes no value", found->label); }
        return !equals;
    }
    if (equals) {
        *value = equals + 1;
    } else if (!is_long && text[2]) {
        *value = text + 2;
    } else if (*i + 1 < argc) {
        *value = argv[++*i];
    } else {
        cli_usage_error(command, "%s needs a value", found->label);
        return false;
    }
    return true;
}

/* Walk over the arguments: with settings false everything but the settings, with true only them. */
static bool walk(const cli_command *command, int argc, char **argv, bool settings, spade_context *messages,
                 cli_options *out)
{
    bool only_arguments = false;
    out->argument_count = 0;
    for (int i = 0; i < argc; i++) {
        found_option found;
        const char *value;
        if (only_arguments || argv[i][0] != '-' || !argv[i][1]) {
            out->arguments[out->argument_count++] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--") == 0) {
            only_arguments = true;
            continue;
        }
        if (!take_option(command, argc, argv, &i, &found, &value)) { return false; }
        if ((found.key != NULL) != settings) { continue; }
        spade_status status = found.key ? apply_setting(messages, found.key, value, &out->settings)
                                        : apply_plain(messages, found.plain, value, out);
        if (status != SPADE_OK) {
            cli_usage_error(command, "%s: %s", found.label, messages->message);
            return false;
        }
    }
    return true;
}

/* Is the output one of the files that the run reads its wishes from? */
static const char *replaced_by_output(const cli_options *options)
{
    const char *const read[] = {options->config, options->labels, options->mask, options->fit, options->batch};
    struct stat output, source;
    if (!options->output || stat(options->output, &output) != 0 || !S_ISREG(output.st_mode)) { return NULL; }
    for (size_t i = 0; i < sizeof read / sizeof *read; i++) {
        if (!read[i] || stat(read[i], &source) != 0) { continue; }
        if (source.st_dev == output.st_dev && source.st_ino == output.st_ino) { return read[i]; }
    }
    return NULL;
}

bool cli_parse(const cli_command *command, int argc, char **argv, cli_options *out)
{
    spade_context messages = {0};
    *out = (cli_options){.command = command, .gallery = -1, .fit_margin = -1, .aside = -1, .max_changed = -1};
    spade_settings_init(&out->settings);
    out->arguments = calloc((size_t)argc + 1, sizeof *out->arguments);
    if (!out->arguments) {
        fputs("spade: out of memory\n", stderr);
        return false;
    }
    if (!walk(command, argc, argv, false, &messages, out)) { return false; }
    if (out->help) { return true; }
    if (out->config && spade_settings_read(&messages, &out->settings, out->config) != SPADE_OK) {
        fprintf(stderr, "spade: %s\n", messages.message);
        return false;
    }
    if (!walk(command, argc, argv, true, &messages, out)) { return false; }
    if (spade_settings_take_command_line(&messages, &out->settings) != SPADE_OK) {
        cli_usage_error(command, "%s", messages.message);
        return false;
    }
    spade_settings_finish(&out->settings);
    if (out->argument_count < command->min_arguments) {
        cli_usage_error(command, "usage: spade %s", command->usage);
        return false;
    }
    if (command->max_arguments >= 0 && out->argument_count > command->max_arguments) {
        cli_usage_error(command, "unexpected argument '%s'", out->arguments[command->max_arguments]);
        return false;
    }
    if (command->options & OPTIONS_OUTPUT && !out->output) {
        cli_usage_error(command, "-o is needed: where results go");
        return false;
    }
    const char *replaced = replaced_by_output(out);
    if (replaced) {
        cli_usage_error(command, "-o %s: it is %s, which the run reads; choose another name", out->output, replaced);
        return false;
    }
    return true;
}

void cli_options_clear(cli_options *options)
{
    free(options->arguments);
    free(options->neurons.values);
    spade_settings_clear(&options->settings);
}

/* ---- help */
enum { HELP_COLUMN = 28, HELP_WIDTH = 110, HELP_BYTES = 1024 };

/* What belongs together stands together. */
static const struct {
    unsigned groups;
    const char *title;
} sections[] = {
    {OPTIONS_OUTPUT, NULL},
    {OPTIONS_VISUALIZE, "the pictures that are made"},
    {OPTIONS_TRACE | OPTIONS_BATCH, "the trace"},
    {OPTIONS_MAPS | OPTIONS_EXPLAIN | OPTIONS_CHECK | OPTIONS_METRICS | OPTIONS_EVALUATE | OPTIONS_BENCH, "the maps"},
    {OPTIONS_ANNOTATE, "the store"},
    {OPTIONS_TUNE, "the search"},
    {OPTIONS_MERGE, "what is made"},
    {OPTIONS_PICTURE | OPTIONS_SIZE, "pictures"},
    {OPTIONS_RUN, "the run"},
    {OPTIONS_COMMON | OPTIONS_MARKDOWN, "what is printed"},
};
enum { SECTION_COUNT = sizeof sections / sizeof *sections };

static void print_option(char letter, const char *name, const char *argument, const char *help, FILE *file)
{
    char left[64];
    snprintf(left, sizeof left, "  %c%c%s%s%s%s%s", letter ? '-' : ' ', letter ? letter : ' ',
             letter && name ? ", "
             : name         ? "  "
                            : "",
             name ? "--" : "", name ? name : "", argument ? " " : "", argument ? argument : "");
    spade_print_column(file, left, HELP_COLUMN, HELP_WIDTH, "", help);
}

static void print_methods(FILE *file)
{
    char names[HELP_BYTES] = "there are ";
    size_t used = strlen(names);
    for (int i = 0; i < spade_method_count() && used < sizeof names; i++) {
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", spade_method_at(i)->name);
    }
    spade_print_column(file, "", HELP_COLUMN, HELP_WIDTH, "", names);
}

/* What it means, and in parentheses its default and its bounds. */
/* False: out of memory. */
static bool print_setting(const spade_key *key, FILE *file)
{
    char about[HELP_BYTES], value[128], bounds[64], help[2 * HELP_BYTES];
    spade_key_describe(key, about, sizeof about);
    spade_key_describe_bounds(key, bounds, sizeof bounds);
    if (!spade_settings_default(key, value, sizeof value)) { return false; }
    if (key->type == SPADE_KEY_FLAG) {
        snprintf(help, sizeof help, "%s", about);
    } else {
        snprintf(help, sizeof help, "%s (%s%s%s)", about, value, bounds[0] ? "; " : "", bounds);
    }
    print_option(0, key->option, key->argument, help, file);
    if (key->type == SPADE_KEY_METHODS) { print_methods(file); }
    return true;
}

int cli_print_help(const cli_command *command, FILE *file)
{
    fprintf(file, "usage: spade %s\n\n%s\n", command->usage, command->summary);
    if (command->details) { fprintf(file, "\n%s\n", command->details); }
    fputs("\noptions (in parentheses the default, and from where to where a number may go):\n", file);
    for (int s = 0; s < SECTION_COUNT; s++) {
        const unsigned groups = sections[s].groups & command->options;
        if (!groups) { continue; }
        if (sections[s].title) { fprintf(file, "\n %s:\n", sections[s].title); }
        for (int i = 0; i < spade_key_count(); i++) {
            const spade_key *key = spade_key_at(i);
            if (key->option && key->groups & groups && !print_setting(key, file)) {
                cli_print_error("out of memory");
                return EXIT_FAILED;
            }
        }
        for (int i = 0; i < OPTION_COUNT; i++) {
            const option *entry = &table[i];
            if (entry->groups & groups) {
                print_option(entry->letter, entry->name, entry->argument, entry->help, file);
            }
        }
    }
    return EXIT_DONE;
}
