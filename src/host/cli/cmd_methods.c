/* cmd_methods.c - spade methods: the tables of methods and metrics, as text, JSON or Markdown (docs/methods.md). */
#include <stdarg.h>

#include "base/close_names.h"
#include "base/number.h"
#include "cli/cli.h"

enum { COLUMN = 24, WIDTH = 100, FACT_BYTES = 512, FACTS = 8 };

/* A method or a metric, as far as both can be shown alike. */
typedef struct entry {
    const char *kind; /* "method", "metric" */
    const char *name, *title, *definition, *source;
    const spade_option_info *options;
    int option_count;
    const spade_method_info *method; /* one of both */
    const spade_metric_info *metric;
} entry;

static entry method_at(int index)
{
    const spade_method_info *info = spade_method_at(index);
    return (entry){.kind = "method",
                   .name = info->name,
                   .title = info->title,
                   .definition = info->definition,
                   .source = info->source,
                   .options = info->options,
                   .option_count = info->option_count,
                   .method = info};
}

static entry metric_at(int index)
{
    const spade_metric_info *info = spade_metric_at(index);
    return (entry){.kind = "metric",
                   .name = info->name,
                   .title = info->title,
                   .definition = info->definition,
                   .source = info->source,
                   .options = info->options,
                   .option_count = info->option_count,
                   .metric = info};
}

/* ---- what is said of both, in words */

static void join_words(const char *words, const char *separator, char *buffer, size_t size)
{
    size_t used = 0;
    for (const char *word = words; word && used < size; word = strchr(word, '|')) {
        word += *word == '|';
        used += (size_t)snprintf(buffer + used, size - used, "%s%.*s", word == words ? "" : separator,
                                 (int)strcspn(word, "|"), word);
    }
}

/* "whole number, 1 to 10000" */
static void describe_values(const spade_option_info *option, char *buffer, size_t size)
{
    char low[32], high[32];
    buffer[0] = 0;
    spade_format_real(option->min, low);
    spade_format_real(option->max, high);
    switch (option->type) {
    case SPADE_OPTION_INTEGER:
        if (option->max >= (double)INT64_MAX) {
            snprintf(buffer, size, "whole number from %s", low);
        } else {
            snprintf(buffer, size, "whole number, %s to %s", low, high);
        }
        break;
    case SPADE_OPTION_REAL: snprintf(buffer, size, "number, %s to %s", low, high); break;
    case SPADE_OPTION_LAYER: snprintf(buffer, size, "name of a layer"); break;
    case SPADE_OPTION_FILE: snprintf(buffer, size, "file"); break;
    case SPADE_OPTION_METHOD: snprintf(buffer, size, "method with its options"); break;
    case SPADE_OPTION_BASELINE: {
        char words[128];
        join_words(option->words, ", ", words, sizeof words);
        snprintf(buffer, size, "number, %s to %s, %s or file", low, high, words);
        break;
    }
    case SPADE_OPTION_WORD: join_words(option->words, " or ", buffer, size); break;
    }
}

/* What a row says beside its options: a name and a text. */
typedef struct fact {
    const char *name;
    char text[FACT_BYTES];
} fact;

__attribute__((format(printf, 4, 5))) static void add_fact(fact *facts, int *count, const char *name,
                                                           const char *format, ...)
{
    va_list arguments;
    fact *to = &facts[(*count)++];
    to->name = name;
    va_start(arguments, format);
    vsnprintf(to->text, sizeof to->text, format, arguments);
    va_end(arguments);
}

static const char *describe_map(unsigned flags)
{
    if (flags & SPADE_METHOD_WRAPPER) { return "of the kind of the method inside"; }
    if (flags & SPADE_METHOD_OFFSET) {
        return "the larger the more for the class; only differences mean something: drawn and measured above its least "
               "value";
    }
    return flags & SPADE_METHOD_SIGNED ? "signed: for and against the class"
                                       : "how much a value matters, not whether for or against";
}

/* Returns how many, at most FACTS. */
static int list_facts(const entry *e, fact *facts)
{
    int count = 0;
    add_fact(facts, &count, "definition", "%s", e->definition);
    if (e->method) {
        add_fact(facts, &count, "map", "%s", describe_map(e->method->flags));
        if (e->method->flags & SPADE_METHOD_COMPLETENESS) {
            add_fact(
                facts, &count, "completeness",
                "the map (of superpixels: one number of each) sums to a known difference of F; --check: to %g of it",
                e->method->completeness);
        }
        if (e->method->flags & SPADE_METHOD_CONSERVATION) {
            add_fact(facts, &count, "conservation", "%s",
                     "relevance goes from node to node; --check shows where it is lost");
        }
        add_fact(facts, &count, "cost", "%s", e->method->cost);
        if (e->method->needs) { add_fact(facts, &count, "needs", "%s", e->method->needs); }
    } else {
        add_fact(facts, &count, "value", "%s; %s is better", e->metric->reading,
                 e->metric->better == SPADE_METRIC_HIGHER ? "higher" : "lower");
        if (e->metric->needs & SPADE_METRIC_NEEDS_MASK) { add_fact(facts, &count, "needs", "a mask (--mask)"); }
        if (e->metric->needs & SPADE_METRIC_NEEDS_TRACE) { add_fact(facts, &count, "needs", "a trace"); }
        if (e->metric->method_flags & SPADE_METHOD_COMPLETENESS) {
            add_fact(facts, &count, "of", "methods that promise a sum; of other maps there is none");
        }
        if (e->metric->method_flags & SPADE_METHOD_CONSERVATION) {
            add_fact(facts, &count, "of", "methods that hand relevance on; of other maps there is none");
        }
        add_fact(facts, &count, "version", "%d", e->metric->version);
    }
    add_fact(facts, &count, "source", "%s", e->source);
    return count;
}

/* ---- text */

/* "steps=50, layer" */
static void format_options(const spade_option_info *options, int count, char *buffer, size_t size)
{
    size_t used = 0;
    buffer[0] = 0;
    for (int i = 0; i < count && used < size; i++) {
        const char *value = options[i].default_value;
        used += (size_t)snprintf(buffer + used, size - used, "%s%s%s%s", i ? ", " : "", options[i].name,
                                 value ? "=" : "", value ? value : "");
    }
}

/* A name, and beside it title, definition and options with their defaults. */
static void print_short(const entry *e)
{
    char left[COLUMN + 1], text[FACT_BYTES];
    snprintf(left, sizeof left, "  %s", e->name);
    snprintf(text, sizeof text, "%s: %s", e->title, e->definition);
    spade_print_column(stdout, left, COLUMN, WIDTH, "", text);
    if (!e->option_count) { return; }
    format_options(e->options, e->option_count, text, sizeof text);
    spade_print_column(stdout, "", COLUMN, WIDTH, "options: ", text);
}

/* "; only with composite=gamma", "; not with segmentation", or nothing. */
static void describe_condition(const spade_option_info *option, char *buffer, size_t size)
{
    const char *with = option->read_with;
    buffer[0] = 0;
    if (with) { snprintf(buffer, size, "; %s%s", *with == '!' ? "not with " : "only with ", with + (*with == '!')); }
}

static void print_options(const spade_option_info *options, int count)
{
    for (int i = 0; i < count; i++) {
        const spade_option_info *option = &options[i];
        char left[COLUMN + 1], values[FACT_BYTES], text[3 * FACT_BYTES], condition[FACT_BYTES];
        describe_values(option, values, sizeof values);
        describe_condition(option, condition, sizeof condition);
        snprintf(left, sizeof left, "  %s", option->name);
        snprintf(text, sizeof text, "%s (%s%s%s%s)", option->help, values, option->default_value ? "; default " : "",
                 option->default_value ? option->default_value : "", condition);
        spade_print_column(stdout, left, COLUMN, WIDTH, "", text);
    }
}

static void print_full(const entry *e)
{
    fact facts[FACTS];
    int common;
    const int count = list_facts(e, facts);
    const spade_option_info *shared = spade_method_common_options(&common);
    printf("%s - %s, a %s\n", e->name, e->title, e->kind);
    for (int i = 0; i < count; i++) {
        char left[COLUMN + 1];
        snprintf(left, sizeof left, "  %s", facts[i].name);
        spade_print_column(stdout, left, COLUMN, WIDTH, "", facts[i].text);
    }
    if (e->option_count) { puts("options"); }
    print_options(e->options, e->option_count);
    if (!e->method) { return; }
    puts("options of every method");
    print_options(shared, common);
}

static void print_all(void)
{
    char text[FACT_BYTES];
    int common;
    const spade_option_info *shared = spade_method_common_options(&common);
    puts("methods: --method NAME[:OPTION=VALUE]...[,...]");
    for (int i = 0; i < spade_method_count(); i++) {
        const entry e = method_at(i);
        print_short(&e);
    }
    format_options(shared, common, text, sizeof text);
    printf("  every method has the options %s, too\n\nmetrics: --metric NAME[:OPTION=VALUE]...[,...]\n", text);
    for (int i = 0; i < spade_metric_count(); i++) {
        const entry e = metric_at(i);
        print_short(&e);
    }
    puts("\n'spade methods NAME' tells more. x: the input; F: what is explained, a class's logit or score,\n"
         "or the difference of two classes' (--class A-B).");
}

/* ---- JSON */
static json_t *number_json(const spade_option_info *option, double value)
{
    if (option->type != SPADE_OPTION_INTEGER) { return json_real(value); }
    return json_integer(value >= (double)INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static json_t *default_json(const spade_option_info *option)
{
    if (!option->default_value) { return json_null(); }
    const bool number = option->type == SPADE_OPTION_INTEGER || option->type == SPADE_OPTION_REAL;
    return number ? number_json(option, spade_read_real(option->default_value)) : json_string(option->default_value);
}

static json_t *options_json(const spade_option_info *options, int count)
{
    static const char *const types[] = {
        [SPADE_OPTION_INTEGER] = "integer",  [SPADE_OPTION_REAL] = "real", [SPADE_OPTION_WORD] = "word",
        [SPADE_OPTION_LAYER] = "layer",      [SPADE_OPTION_FILE] = "file", [SPADE_OPTION_METHOD] = "method",
        [SPADE_OPTION_BASELINE] = "baseline"};
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        const spade_option_info *option = &options[i];
        json_t *object = json_object();
        spade_json_set(&object, "name", json_string(option->name));
        spade_json_set(&object, "type", json_string(types[option->type]));
        spade_json_set(&object, "default", default_json(option));
        spade_json_set(&object, "help", json_string(option->help));
        if (option->type == SPADE_OPTION_INTEGER || option->type == SPADE_OPTION_REAL ||
            option->type == SPADE_OPTION_BASELINE) {
            spade_json_set(&object, "min", number_json(option, option->min));
            spade_json_set(&object, "max", number_json(option, option->max));
        }
        if (option->read_with) { spade_json_set(&object, "read_with", json_string(option->read_with)); }
        if (option->words) {
            json_t *words = json_array();
            for (const char *word = option->words; word; word = strchr(word, '|')) {
                word += *word == '|';
                spade_json_append(&words, json_stringn(word, strcspn(word, "|")));
            }
            spade_json_set(&object, "words", words);
        }
        spade_json_append(&list, object);
    }
    return list;
}

static json_t *entry_json(const entry *e)
{
    json_t *object = json_object();
    spade_json_set(&object, "name", json_string(e->name));
    spade_json_set(&object, "title", json_string(e->title));
    spade_json_set(&object, "definition", json_string(e->definition));
    spade_json_set(&object, "source", json_string(e->source));
    spade_json_set(&object, "options", options_json(e->options, e->option_count));
    if (e->method) {
        spade_json_set(&object, "cost", json_string(e->method->cost));
        if (e->method->needs) { spade_json_set(&object, "needs", json_string(e->method->needs)); }
        spade_json_set(&object, "signed", json_boolean(e->method->flags & SPADE_METHOD_SIGNED));
        spade_json_set(&object, "offset", json_boolean(e->method->flags & SPADE_METHOD_OFFSET));
        spade_json_set(&object, "completeness", json_boolean(e->method->flags & SPADE_METHOD_COMPLETENESS));
        spade_json_set(&object, "conservation", json_boolean(e->method->flags & SPADE_METHOD_CONSERVATION));
        spade_json_set(&object, "random", json_boolean(e->method->flags & SPADE_METHOD_RANDOM));
    } else {
        spade_json_set(&object, "version", json_integer(e->metric->version));
        spade_json_set(&object, "better", json_string(e->metric->better == SPADE_METRIC_HIGHER ? "higher" : "lower"));
        spade_json_set(&object, "reading", json_string(e->metric->reading));
        spade_json_set(&object, "needs_mask", json_boolean(e->metric->needs & SPADE_METRIC_NEEDS_MASK));
        spade_json_set(&object, "needs_trace", json_boolean(e->metric->needs & SPADE_METRIC_NEEDS_TRACE));
    }
    return object;
}

/* One object; name NULL: of everything. */
static int print_json(const char *name)
{
    int common;
    const spade_option_info *shared = spade_method_common_options(&common);
    json_t *methods = json_array(), *metrics = json_array();
    for (int i = 0; i < spade_method_count(); i++) {
        const entry e = method_at(i);
        if (!name || strcmp(name, e.name) == 0) { spade_json_append(&methods, entry_json(&e)); }
    }
    for (int i = 0; i < spade_metric_count(); i++) {
        const entry e = metric_at(i);
        if (!name || strcmp(name, e.name) == 0) { spade_json_append(&metrics, entry_json(&e)); }
    }
    json_t *all = json_object();
    spade_json_set(&all, "methods", methods);
    spade_json_set(&all, "method_options", options_json(shared, common));
    spade_json_set(&all, "metrics", metrics);
    /* 15 digits: 0.15 is written as it is, not as the nearest double */
    const int code = cli_print_json_with(all, JSON_REAL_PRECISION(15));
    json_decref(all);
    return code;
}

/* ---- Markdown */

/* Characters that mean something there are escaped. */
static void print_markdown(const char *text)
{
    for (; *text; text++) {
        if (strchr("\\`*_<>[]|", *text)) { putchar('\\'); }
        putchar(*text);
    }
}

static void print_options_markdown(const spade_option_info *options, int count)
{
    if (!count) { return; }
    puts("\n| option | value | default | |\n|---|---|---|---|");
    for (int i = 0; i < count; i++) {
        char values[FACT_BYTES], condition[FACT_BYTES];
        describe_values(&options[i], values, sizeof values);
        describe_condition(&options[i], condition, sizeof condition);
        printf("| `%s` | ", options[i].name);
        print_markdown(values);
        printf(" | ");
        print_markdown(options[i].default_value ? options[i].default_value : "");
        printf(" | ");
        print_markdown(options[i].help);
        print_markdown(condition);
        puts(" |");
    }
}

static void print_entry_markdown(const entry *e)
{
    fact facts[FACTS];
    const int count = list_facts(e, facts);
    printf("\n### %s: `%s`\n\n", e->title, e->name);
    if (e->method) { printf("![%s of one picture](methods/%s.png)\n\n", e->title, e->name); }
    for (int i = 0; i < count; i++) {
        printf("- %s: ", facts[i].name);
        print_markdown(facts[i].text);
        putchar('\n');
    }
    print_options_markdown(e->options, e->option_count);
}

static void print_all_markdown(void)
{
    int common;
    const spade_option_info *shared = spade_method_common_options(&common);
    puts("# Methods and metrics\n\n"
         "Made by `spade methods --markdown > docs/methods.md`: change the rows in `src/host/attribution/` and\n"
         "`src/host/metric/`, not this page; a test compares.\n\n"
         "A method or a metric is written `NAME[:OPTION=VALUE]...`, the same on the command line (`--method`, "
         "`--metric`; "
         "several\n"
         "behind commas), in configurations (`methods:`, `metrics:`, where `{NAME: {OPTION: VALUE}}` says the same) "
         "and in "
         "the\n"
         "library. A value in quotes is taken literally, colons and commas included; a colon before a whole number "
         "belongs "
         "to the\n"
         "value (`layer=features.3:17`); `of=`, the method inside of a method, takes the rest of the text if it is not "
         "in\n"
         "quotes (`smooth:samples=10:of=gradcam:layer=layer3`).\n\n"
         "In the definitions x is the input and F what is explained: the class's logit, or its score with "
         "`output=scores`.\n"
         "`--class A-B` contrasts two classes: F is F_A - F_B then, in every definition. Gradients are those of the "
         "difference,\n"
         "perturbed pictures are scored by it, relevance begins with z_A at the output A and -z_B at B. A map that is "
         "linear in F is\n"
         "the difference of the two classes' maps; one with abs(..), max(.., 0), squares, LIME's Lasso or a guided "
         "walk\n"
         "is not. `attention_rollout` depends on no class and on no contrast.\n\n"
         "The pictures are what `scripts/method_pictures.sh` makes of an example, whose network decides by the star: "
         "orange is\n"
         "for the class and blue against it, of maps without a sign the brighter the more. Costs are those of one "
         "class.\n\n"
         "## Methods\n\nOptions of every method:");
    print_options_markdown(shared, common);
    for (int i = 0; i < spade_method_count(); i++) {
        const entry e = method_at(i);
        print_entry_markdown(&e);
    }
    puts("\n## Metrics\n\n"
         "A map is compared with a mask as one number a pixel: the largest absolute value of its channels, enlarged to "
         "the\n"
         "picture where it is smaller; a map whose values are compared with each other only (RISE) as what they are "
         "above\n"
         "the least one.");
    for (int i = 0; i < spade_metric_count(); i++) {
        const entry e = metric_at(i);
        print_entry_markdown(&e);
    }
}

/* ---- the command */

/* In full: the method of this name, and the metric, if there are both. */
static void print_named(const char *name)
{
    for (int i = 0; i < spade_method_count() + spade_metric_count(); i++) {
        const entry e = i < spade_method_count() ? method_at(i) : metric_at(i - spade_method_count());
        if (strcmp(name, e.name) == 0) { print_full(&e); }
    }
}

static int fail_unknown(const cli_options *options, const char *name)
{
    char list[SPADE_CLOSE_NAMES_BYTES];
    spade_close_names close;
    spade_close_names_begin(&close, name);
    for (int i = 0; i < spade_method_count(); i++) { spade_close_names_offer(&close, spade_method_at(i)->name); }
    for (int i = 0; i < spade_metric_count(); i++) { spade_close_names_offer(&close, spade_metric_at(i)->name); }
    return cli_usage_error(options->command, "no method or metric '%.120s'%s; 'spade methods' lists all", name,
                           spade_close_names_format(&close, list));
}

static int run(cli_options *options)
{
    const char *name = options->argument_count ? options->arguments[0] : NULL;
    if (name && !spade_method_find(name) && !spade_metric_find(name)) { return fail_unknown(options, name); }
    if (options->markdown && (name || options->json)) {
        return cli_usage_error(options->command, "--markdown is for all of them, and without --json");
    }
    if (options->json) { return print_json(name); }
    if (options->markdown) {
        print_all_markdown();
    } else if (!name) {
        print_all();
    } else {
        print_named(name);
    }
    return EXIT_DONE;
}

const cli_command command_methods = {
    .name = "methods",
    .usage = "methods [NAME] [options]",
    .summary = "Methods that make maps and metrics that judge them: definitions, options, sources.",
    .details = "With NAME, one of them in full.",
    .options = OPTIONS_COMMON | OPTIONS_MARKDOWN,
    .min_arguments = 0,
    .max_arguments = 1,
    .run = run,
};
