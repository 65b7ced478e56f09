/* options.c - long options, from one table: parsing and help. */
#include <limits.h>
#include <stdarg.h>

#include "base/number.h"
#include "cli/cli.h"
#include "spade/attribution.h"

/* SETTING_LIST: values between commas. METHOD_LIST: the same, but a comma in quotes belongs to a value. */
typedef enum option_kind { FLAG, TEXT, COUNT, MEMORY, SETTING, SETTING_LIST, METHOD_LIST } option_kind;

typedef struct option {
    const char *name; /* long form, or NULL */
    char letter;      /* short form, or 0 */
    unsigned groups;  /* OPTIONS_* that have it */
    option_kind kind;
    size_t offset;        /* FLAG, TEXT, COUNT: member of cli_options */
    const char *key;      /* SETTING: key of spade_settings_set() */
    const char *argument; /* in the help */
    const char *help;
} option;

#define AT(member) offsetof(cli_options, member)
static const option table[] = {
    {NULL, 'o', OPTIONS_OUTPUT, TEXT, AT(output), NULL, "PATH", "where results go (needed)"},
    {"variants", 0, OPTIONS_TRACE, SETTING, 0, "variants", "N", "augmented variants behind a trace (1024)"},
    {"batch", 0, OPTIONS_TRACE, TEXT, AT(batch), NULL, "FILE.npy", "given variants [n,3,H,W] in their place"},
    {"sparsity", 0, OPTIONS_TRACE, SETTING, 0, "sparsity", "S", "share of zeros in every layer (0.5)"},
    {"solver", 0, OPTIONS_TRACE, SETTING, 0, "solver", "NAME", "fast, exact, magnitude or random (fast)"},
    {"group", 0, OPTIONS_TRACE, SETTING, 0, "group", "G",
     "what exact removes together: kernel, element or channels-last (kernel)"},
    {"checkpoint", 0, OPTIONS_TRACE, SETTING, 0, "checkpoint", "DIR",
     "keep solved layers there, and take from there what was solved before"},
    {"hessian", 0, OPTIONS_TRACE, SETTING, 0, "hessian", "P", "fp32 or fp64 sums (fp32)"},
    {"sweep", 0, OPTIONS_TRACE, SETTING, 0, "sweep", "P", "fp32 or fp64 products of fast's sweep (fp64)"},
    {"count", 0, OPTIONS_TRACE, SETTING, 0, "count", "C", "floor or published: weights pruned per block (floor)"},
    {"nm", 0, OPTIONS_TRACE, SETTING, 0, "nm", "N:M",
     "keep N of every M weights of a row (2:4) in place of a sparsity; none: do not (none)"},
    {"block", 0, OPTIONS_TRACE, SETTING, 0, "block", "N",
     "columns that fast chooses from at a time; 0: a kernel's, 1 in linear layers (0)"},
    {"linear-block", 0, OPTIONS_TRACE, SETTING, 0, "linear_block", "N",
     "the same of 1x1 convolutions and linear layers; 0: as --block says (0)"},
    {"damping", 0, OPTIONS_TRACE, SETTING, 0, "damping", "D", "of the Hessian, times its mean diagonal (0.01)"},
    {"layers", 0, OPTIONS_TRACE, SETTING_LIST, 0, "layers", "GLOB[,...]", "prune only these layers"},
    {"skip", 0, OPTIONS_TRACE, SETTING_LIST, 0, "skip", "GLOB[,...]", "leave these layers dense"},
    {"method", 0, OPTIONS_MAPS, METHOD_LIST, 0, "methods", "M[,...]",
     "with options of their own: smoothgrad:samples=25:sigma=0.1 (saliency);"},
    {"class", 0, OPTIONS_MAPS, SETTING_LIST, 0, "classes", "N[,...]",
     "classes to explain, or top: the dense network's (top)"},
    {"output", 0, OPTIONS_MAPS, SETTING, 0, "output", "F", "what is explained: logits or softmax (logits)"},
    {"mask", 0, OPTIONS_MAPS, TEXT, AT(mask), NULL, "PATH",
     "ground truth for ROC AUC: a picture, or a folder with NAME.png or NAME_mask.png"},
    {"labels", 0, OPTIONS_MAPS, TEXT, AT(labels), NULL, "FILE", "class names, one a line"},
    {"steps", 0, OPTIONS_MAPS, SETTING, 0, "steps", "N",
     "of integrated_gradients, and of every method with an option of this name (50)"},
    {"samples", 0, OPTIONS_MAPS, SETTING, 0, "samples", "N", "of smoothgrad, likewise (50)"},
    {"sigma", 0, OPTIONS_MAPS, SETTING, 0, "sigma", "S", "noise of smoothgrad, share of the input's range (0.15)"},
    {"in-flight", 0, OPTIONS_MAPS, COUNT, AT(in_flight), NULL, "N",
     "inputs whose traces are found together (1, on a GPU 4); results do not depend on it"},
    {"no-dense", 0, OPTIONS_MAPS, FLAG, AT(no_dense), NULL, NULL, "no maps of the dense network"},
    {"no-trace", 0, OPTIONS_MAPS, FLAG, AT(no_trace), NULL, NULL, "no trace"},
    {"no-report", 0, OPTIONS_MAPS, FLAG, AT(no_report), NULL, NULL, "no report.html"},
    {"restart", 0, OPTIONS_MAPS, FLAG, AT(restart), NULL, NULL,
     "remove the results that are in the output folder, instead of going on with them"},
    {"resize", 0, OPTIONS_PICTURE, SETTING, 0, "resize", "N",
     "shorter side in pixels (input size * 256/224); 0: as it is"},
    {"crop", 0, OPTIONS_PICTURE | OPTIONS_SIZE, SETTING, 0, "crop", "N", "input size where the model leaves it open"},
    {"mean", 0, OPTIONS_PICTURE, SETTING_LIST, 0, "mean", "R,G,B", "of the normalisation (ImageNet's)"},
    {"std", 0, OPTIONS_PICTURE, SETTING_LIST, 0, "std", "R,G,B", "of the normalisation (ImageNet's)"},
    {"config", 0, OPTIONS_RUN, TEXT, AT(config), NULL, "FILE",
     "settings in YAML (configs/default.yaml); options win over it"},
    {"seed", 0, OPTIONS_RUN, SETTING, 0, "seed", "N", "of every random number (0)"},
    {"device", 0, OPTIONS_RUN, TEXT, AT(device), NULL, "NAME", "auto, cpu or cuda[:N] (auto)"},
    {"precision", 0, OPTIONS_RUN, SETTING, 0, "precision", "P",
     "of the network: fp32; on a GPU also tf32, bf16 (fp32)"},
    {"threads", 0, OPTIONS_RUN, COUNT, AT(threads), NULL, "N", "host threads (all); results do not depend on it"},
    {"memory", 0, OPTIONS_RUN, MEMORY, 0, NULL, "BYTES",
     "most memory to use, with K, M or G; results do not depend on it"},
    {"json", 0, OPTIONS_COMMON, FLAG, AT(json), NULL, NULL, "one line of JSON per result on stdout"},
    {"quiet", 'q', OPTIONS_COMMON, FLAG, AT(quiet), NULL, NULL, "only errors"},
    {"verbose", 'v', OPTIONS_COMMON, FLAG, AT(verbose), NULL, NULL, "say what is done"},
    {"help", 'h', OPTIONS_COMMON, FLAG, AT(help), NULL, NULL, "this text"},
};
#undef AT
enum { OPTION_COUNT = sizeof table / sizeof *table, MAX_VALUES = 256 };

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

static const option *find_option(const cli_command *command, const char *name, size_t length, char letter)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        const option *entry = &table[i];
        if (!(entry->groups & command->options)) { continue; }
        if (letter && entry->letter == letter) { return entry; }
        if (!letter && entry->name && strlen(entry->name) == length && memcmp(entry->name, name, length) == 0) {
            return entry;
        }
    }
    return NULL;
}

/* "--sparsity" or "-o": how the option is named in messages. buffer: at least 64 bytes. */
static const char *option_label(const option *entry, char *buffer)
{
    if (entry->name) {
        snprintf(buffer, 64, "--%s", entry->name);
    } else {
        snprintf(buffer, 64, "-%c", entry->letter);
    }
    return buffer;
}

/* The comma that ends the value, or the end of the text. */
static char *find_value_end(char *value, option_kind kind)
{
    char quote = 0;
    for (; *value; value++) {
        if (kind == METHOD_LIST && (*value == '"' || *value == '\'')) {
            quote = !quote ? *value : quote == *value ? (char)0 : quote;
        }
        if (*value == ',' && !quote) { break; }
    }
    return value;
}

/* A setting's text to the settings. */
static spade_status apply_setting(spade_context *messages, const option *entry, const char *value,
                                  spade_settings *settings)
{
    char *values[MAX_VALUES];
    char *copy = strdup(value);
    int count = 0;
    if (!copy) { return spade_fail(messages, SPADE_ERROR_MEMORY, "out of memory"); }
    values[count++] = copy;
    for (char *end; entry->kind != SETTING && *(end = find_value_end(values[count - 1], entry->kind));) {
        if (count == MAX_VALUES) {
            free(copy);
            return spade_fail(messages, SPADE_ERROR_ARGUMENT, "more than %d values", MAX_VALUES);
        }
        *end = 0;
        values[count++] = end + 1;
    }
    spade_status status = spade_settings_set(messages, settings, entry->key, NULL, values, count);
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
        *(const char **)to = value;
        break;
    case COUNT:
        if (!spade_parse_integer(value, to) || *(int64_t *)to < 1 || *(int64_t *)to > 1024) {
            return spade_fail(messages, SPADE_ERROR_ARGUMENT, "'%s' is not a whole number from 1 to 1024", value);
        }
        break;
    case MEMORY:
        if (!spade_parse_bytes(value, &out->memory)) {
            return spade_fail(messages, SPADE_ERROR_ARGUMENT, "'%s' is not a number of bytes (4000000, 500M, 2G)",
                              value);
        }
        break;
    case SETTING:
    case SETTING_LIST:
    case METHOD_LIST: break;
    }
    return SPADE_OK;
}

/* One argument that begins with '-': finds the option and its value. Moves *i over a value of its own. */
static bool take_option(const cli_command *command, int argc, char **argv, int *i, const option **entry,
                        const char **value)
{
    const char *text = argv[*i];
    bool is_long = text[1] == '-';
    const char *equals = is_long ? strchr(text, '=') : NULL;
    size_t length = is_long ? (equals ? (size_t)(equals - text) : strlen(text)) - 2 : 0;
    char label[64];
    *value = NULL;
    *entry = is_long ? find_option(command, text + 2, length, 0) : find_option(command, NULL, 0, text[1]);
    if (!*entry || (!is_long && (*entry)->kind == FLAG && text[2])) {
        cli_usage_error(command, "unknown option '%s'", text);
        return false;
    }
    option_label(*entry, label);
    if ((*entry)->kind == FLAG) {
        if (equals) { cli_usage_error(command, "%s takes no value", label); }
        return !equals;
    }
    if (equals) {
        *value = equals + 1;
    } else if (!is_long && text[2]) {
        *value = text + 2;
    } else if (*i + 1 < argc) {
        *value = argv[++*i];
    } else {
        cli_usage_error(command, "%s needs a value", label);
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
        const option *entry;
        const char *value;
        char label[64];
        if (only_arguments || argv[i][0] != '-' || !argv[i][1]) {
            out->arguments[out->argument_count++] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--") == 0) {
            only_arguments = true;
            continue;
        }
        if (!take_option(command, argc, argv, &i, &entry, &value)) { return false; }
        bool is_setting = entry->kind == SETTING || entry->kind == SETTING_LIST || entry->kind == METHOD_LIST;
        if (is_setting != settings) { continue; }
        spade_status status = is_setting ? apply_setting(messages, entry, value, &out->settings)
                                         : apply_plain(messages, entry, value, out);
        if (status != SPADE_OK) {
            cli_usage_error(command, "%s: %s", option_label(entry, label), messages->message);
            return false;
        }
    }
    return true;
}

bool cli_parse(const cli_command *command, int argc, char **argv, cli_options *out)
{
    spade_context messages = {0};
    *out = (cli_options){.command = command};
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
    return true;
}

void cli_options_clear(cli_options *options)
{
    free(options->arguments);
    spade_settings_clear(&options->settings);
}

enum { HELP_COLUMN = 29, HELP_WIDTH = 110 };

/* The names of the methods, broken into lines that begin where all help does. */
static void print_methods(FILE *file)
{
    int column = HELP_COLUMN;
    fprintf(file, "%*s", HELP_COLUMN, "");
    for (int i = 0; i < spade_method_count(); i++) {
        const char *name = spade_method_at(i)->name, *end = i + 1 < spade_method_count() ? ", " : "\n";
        int length = (int)(strlen(name) + strlen(end));
        if (column + length > HELP_WIDTH) {
            fprintf(file, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        fprintf(file, "%s%s", name, end);
        column += length;
    }
}

void cli_print_help(const cli_command *command, FILE *file)
{
    fprintf(file, "usage: spade %s\n\n%s\n", command->usage, command->summary);
    if (command->details) { fprintf(file, "\n%s\n", command->details); }
    fputs("\noptions (defaults in parentheses):\n", file);
    for (int i = 0; i < OPTION_COUNT; i++) {
        const option *entry = &table[i];
        if (!(entry->groups & command->options)) { continue; }
        char left[64];
        snprintf(left, sizeof left, "%c%c%s%s%s%s%s", entry->letter ? '-' : ' ', entry->letter ? entry->letter : ' ',
                 entry->letter && entry->name ? ", "
                 : entry->name                ? "  "
                                              : "",
                 entry->name ? "--" : "", entry->name ? entry->name : "", entry->argument ? " " : "",
                 entry->argument ? entry->argument : "");
        fprintf(file, "  %-26s %s\n", left, entry->help);
        if (entry->kind == METHOD_LIST) { print_methods(file); }
    }
}
