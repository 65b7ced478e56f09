/* cmd_operators.c - spade operators: which operators of ONNX are computed, as text, JSON or Markdown (docs/operators.md). */
#include "base/close_names.h"
#include "cli/cli.h"

enum { COLUMN = 26, WIDTH = 100 };

/* What it is computed of, in words. */
static const char *places(unsigned flags)
{
    const bool picture = flags & SPADE_OPERATOR_ON_PICTURE, constants = flags & SPADE_OPERATOR_ON_CONSTANTS;
    if (picture) { return constants ? "pictures and constants" : "pictures"; }
    return constants ? "constants" : "the network's end";
}

static void print_text(const spade_known_operator *o)
{
    char left[COLUMN + 1], text[256];
    snprintf(left, sizeof left, "  %s", o->name);
    snprintf(text, sizeof text, "%s, from opset %d%s%s", places(o->flags), o->opset, o->limit ? "; " : "",
             o->limit ? o->limit : "");
    spade_print_column(stdout, left, COLUMN, WIDTH, "", text);
}

static void print_markdown(const spade_known_operator *o)
{
    printf("| %s | %d | %s | %s | %s | %s |\n", o->name, o->opset, o->flags & SPADE_OPERATOR_ON_PICTURE ? "yes" : "",
           o->flags & SPADE_OPERATOR_ON_CONSTANTS ? "yes" : "", o->flags & SPADE_OPERATOR_AT_END ? "yes" : "",
           o->limit ? o->limit : "");
}

static json_t *operator_json(const spade_known_operator *o)
{
    json_t *object = json_object();
    spade_json_set(&object, "name", json_string(o->name));
    spade_json_set(&object, "opset", json_integer(o->opset));
    spade_json_set(&object, "picture", json_boolean(o->flags & SPADE_OPERATOR_ON_PICTURE));
    spade_json_set(&object, "constants", json_boolean(o->flags & SPADE_OPERATOR_ON_CONSTANTS));
    spade_json_set(&object, "end", json_boolean(o->flags & SPADE_OPERATOR_AT_END));
    spade_json_set(&object, "limit", o->limit ? json_string(o->limit) : json_null());
    return object;
}

static const char page[] =
    "# ONNX operators\n\n"
    "Made by `spade operators --markdown > docs/operators.md`: change the rows in `src/host/import/known_operators.c`, "
    "not this\n"
    "page; a test compares. Opsets 7 to 24 of the standard domain.\n\n"
    "- picture: computed of what depends on the picture, forward and backward, on every backend. Types: float32; "
    "float16,\n"
    "  bfloat16 and float64 networks are converted at load.\n"
    "- constants: computed at load where all inputs are constants or shapes, exactly, with only the batch unknown: "
    "float16 (as\n"
    "  float32), float32, float64, int8, uint8, int32, int64 and bool.\n"
    "- end: the network's head (scores), or behind the logits.\n\n"
    "In all of them the pictures of a batch stay apart: what would mix them is refused by the node's name, and so is "
    "every form\n"
    "that the last column excludes. The operators are held against the ONNX project's own cases (`tests/onnx/`).\n\n"
    "| operator | from opset | picture | constants | end | limits |\n|---|---|---|---|---|---|";

static int fail_unknown(const cli_options *options, const char *name)
{
    char list[SPADE_CLOSE_NAMES_BYTES];
    spade_close_names close;
    spade_known_operator o;
    spade_close_names_begin(&close, name);
    for (int i = 0; spade_known_operator_at(i, &o); i++) { spade_close_names_offer(&close, o.name); }
    return cli_usage_error(options->command, "no operator '%.120s' is computed%s", name,
                           spade_close_names_format(&close, list));
}

static int run(cli_options *options)
{
    const char *name = options->argument_count ? options->arguments[0] : NULL;
    spade_known_operator o;
    bool known = !name;
    if (options->markdown && (options->json || name)) {
        return cli_usage_error(options->command, "--markdown is without NAME and --json");
    }
    for (int i = 0; !known && spade_known_operator_at(i, &o); i++) { known = strcmp(o.name, name) == 0; }
    if (!known) { return fail_unknown(options, name); }
    json_t *list = json_array();
    if (options->markdown) { puts(page); }
    for (int i = 0; spade_known_operator_at(i, &o); i++) {
        if (name && strcmp(o.name, name) != 0) { continue; }
        if (options->json) {
            spade_json_append(&list, operator_json(&o));
        } else if (options->markdown) {
            print_markdown(&o);
        } else {
            print_text(&o);
        }
    }
    const int code = options->json ? cli_print_json(list) : EXIT_DONE;
    json_decref(list);
    return code;
}

const cli_command command_operators = {
    .name = "operators",
    .usage = "operators [NAME] [options]",
    .summary = "Operators of ONNX that are computed: from which opset, of what, with which limits.",
    .details = "NAME: of that one only. 'spade info MODEL' lists what a file uses.",
    .options = OPTIONS_COMMON | OPTIONS_MARKDOWN,
    .min_arguments = 0,
    .max_arguments = 1,
    .run = run,
};
