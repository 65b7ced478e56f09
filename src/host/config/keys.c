/* keys.c - THE table of settings, and what can be said of a row. */
#include "base/number.h"
#include "config/keys.h"
#include "config/settings.h"

#define MEMBER(member) .offset = offsetof(spade_settings, member)
#define INTEGER(member, least, most) .type = SPADE_KEY_INTEGER, MEMBER(member), .min = (least), .max = (most)
#define REAL(member, least, most) .type = SPADE_KEY_REAL, .count = 1, MEMBER(member), .min = (least), .max = (most)
#define RANGE(member, least, most) .type = SPADE_KEY_REAL, .count = 2, MEMBER(member), .min = (least), .max = (most)
#define COLOUR(member, least, most, other)                                                                             \
    .type = SPADE_KEY_REAL, .count = 3, .has_band = true, .band = (other), MEMBER(member), .min = (least),             \
    .max = (most), .count_offset = offsetof(spade_settings, member##_count)
#define WORD(member, all) .type = SPADE_KEY_WORD, MEMBER(member), .words = (all)
#define FLAG(member) .type = SPADE_KEY_FLAG, MEMBER(member)
#define RULE(bit, member) .rule = (bit), .rule_offset = offsetof(spade_layer_rule, member)

/*
 * In the order of configs/default.yaml, where each group is a section; inside of a group also that of the help.
 * The settings of a mapping (augment) stand together.
 */
static const spade_key table[] = {
    {.name = "seed",
     .option = "seed",
     .argument = "N",
     .help = "of every random number",
     .groups = SPADE_KEYS_RUN,
     INTEGER(seed, 0, (double)INT64_MAX),
     .default_value = "0"},
    {.name = "precision",
     .option = "precision",
     .argument = "P",
     .help = "of the network's products; tf32 and bf16 on a GPU only",
     .groups = SPADE_KEYS_RUN,
     WORD(precision, "fp32|tf32|bf16"), /* spade_network_precision */
     .default_value = "fp32"},
    {.name = "follow_links",
     .option = "follow-links",
     .help = "weights outside of the model's file may be reached through symbolic links",
     .groups = SPADE_KEYS_RUN,
     FLAG(follow_links),
     .default_value = "false",
     .unrecorded = true}, /* changes no result */
    {.name = "output_name",
     .option = "output-name",
     .argument = "NAME",
     .help = "the model's output that holds the classes, where it has several",
     .groups = SPADE_KEYS_RUN,
     .type = SPADE_KEY_TEXT,
     MEMBER(output_name),
     .unset = "the only one"},
    /* ---- pictures */
    {.name = "preprocess",
     .option = "preprocess",
     .argument = "NAME|FILE",
     .help = "as a network was trained: imagenet, clip, inception, none, timm's config.json or Hugging Face's "
             "preprocessor_config.json; settings of its own win",
     .groups = SPADE_KEYS_PICTURE,
     .type = SPADE_KEY_TEXT,
     MEMBER(preprocess),
     .unset = "imagenet",
     .unrecorded = true}, /* what it says is */
    {.name = "resize",
     .option = "resize",
     .argument = "N",
     .help = "shorter side in pixels; 0: a picture has the input size already",
     .groups = SPADE_KEYS_PICTURE,
     INTEGER(resize, 0, SPADE_MAX_SIDE),
     .unset = "as crop_share says"},
    {.name = "crop",
     .option = "crop",
     .argument = "N",
     .help = "input size where the model leaves it open",
     .groups = SPADE_KEYS_PICTURE | SPADE_KEYS_SIZE,
     INTEGER(crop, 1, SPADE_MAX_SIDE),
     .unset = "the model's"},
    {.name = "crop_share",
     .option = "crop-share",
     .argument = "S",
     .help =
         "of the resized side, that the crop keeps, where resize is not given; that side is rounded down; 0: 224/256, "
         "rounded to the nearest, with squash 1",
     .groups = SPADE_KEYS_PICTURE,
     REAL(crop_share, 0, 1),
     .default_value = "0"},
    {.name = "open_size",
     .help = "input size where the model leaves it open and nothing else says it; from preprocess",
     .groups = SPADE_KEYS_PICTURE,
     .argument = "N",
     INTEGER(open_size, 1, SPADE_MAX_SIDE),
     .unset = "unknown"},
    {.name = "resample",
     .option = "resample",
     .argument = "F",
     .help = "Pillow's antialiased filter of the resize",
     .groups = SPADE_KEYS_PICTURE,
     WORD(resample, "bilinear|bicubic"), /* spade_resample */
     .default_value = "bilinear"},
    {.name = "squash",
     .option = "squash",
     .help = "resize to a square, whatever the picture's shape",
     .groups = SPADE_KEYS_PICTURE,
     FLAG(squash),
     .default_value = "false"},
    {.name = "orient",
     .option = "orient",
     .help = "turn pictures as their EXIF orientation asks",
     .groups = SPADE_KEYS_PICTURE,
     FLAG(orient),
     .default_value = "false"},
    {.name = "bgr",
     .option = "bgr",
     .help = "the network takes blue, green, red; mean and std stay those of red, green, blue",
     .groups = SPADE_KEYS_PICTURE,
     FLAG(bgr),
     .default_value = "false"},
    {.name = "scale",
     .option = "scale",
     .argument = "N",
     .help = "what white is before mean and std; with 255 these are 0 and 1 unless they are given",
     .groups = SPADE_KEYS_PICTURE,
     WORD(scale, "1|255"),
     .default_value = "1"},
    {.name = "mean",
     .option = "mean",
     .argument = "R,G,B[,A]",
     .help = "of the normalisation: a number for each channel, or one for all; ImageNet's, and of a fourth channel 0",
     .groups = SPADE_KEYS_PICTURE,
     COLOUR(mean, -SPADE_MAX_MEAN, SPADE_MAX_MEAN, 0)},
    {.name = "std",
     .option = "std",
     .argument = "R,G,B[,A]",
     .help = "of the normalisation: a number for each channel, or one for all; ImageNet's, and of a fourth channel 1",
     .groups = SPADE_KEYS_PICTURE,
     COLOUR(std, SPADE_MIN_STD, SPADE_MAX_STD, 1)},
    /* ---- variants */
    {.name = "variants",
     .option = "variants",
     .argument = "N",
     .help = "augmented variants behind a trace",
     .groups = SPADE_KEYS_VARIANTS,
     INTEGER(augment.variants, 1, SPADE_MAX_VARIANTS)},
    {.name = "augment.area",
     .help = "share of the picture that a crop keeps",
     .groups = SPADE_KEYS_VARIANTS,
     RANGE(augment.area, SPADE_MIN_AREA, 1)},
    {.name = "augment.aspect",
     .help = "width over height of a crop",
     .groups = SPADE_KEYS_VARIANTS,
     RANGE(augment.aspect, SPADE_MIN_ASPECT, SPADE_MAX_ASPECT)},
    {.name = "augment.flip",
     .help = "probability of a mirror image",
     .groups = SPADE_KEYS_VARIANTS,
     REAL(augment.flip, 0, 1)},
    {.name = "augment.brightness",
     .help = "b: factor from 1 - b to 1 + b",
     .groups = SPADE_KEYS_VARIANTS,
     REAL(augment.brightness, 0, 1)},
    {.name = "augment.contrast", .help = "likewise", .groups = SPADE_KEYS_VARIANTS, REAL(augment.contrast, 0, 1)},
    {.name = "augment.saturation", .help = "likewise", .groups = SPADE_KEYS_VARIANTS, REAL(augment.saturation, 0, 1)},
    {.name = "augment.hue",
     .help = "h: shift from -h to h turns",
     .groups = SPADE_KEYS_VARIANTS,
     REAL(augment.hue, 0, SPADE_MAX_HUE)},
    {.name = "augment.erase",
     .help = "probability that a rectangle is erased",
     .groups = SPADE_KEYS_VARIANTS,
     REAL(augment.erase, 0, 1)},
    {.name = "augment.erase_area",
     .help = "its share of the picture",
     .groups = SPADE_KEYS_VARIANTS,
     RANGE(augment.erase_area, SPADE_MIN_AREA, 1)},
    {.name = "augment.erase_aspect",
     .help = "its height over width",
     .groups = SPADE_KEYS_VARIANTS,
     RANGE(augment.erase_aspect, SPADE_MIN_ASPECT, SPADE_MAX_ASPECT)},
    {.name = "augment.noise",
     .help = "standard deviation, after normalisation",
     .groups = SPADE_KEYS_VARIANTS,
     REAL(augment.noise, 0, SPADE_MAX_NOISE)},
    /* ---- the trace */
    {.name = "sparsity",
     .option = "sparsity",
     .argument = "S",
     .help =
         "share of zeros in every layer; auto: the largest that keeps what the network decides, found for each input",
     .example = "for some layers, later ones win: [{layers: \"*\", value: 0.8}, {layers: fc, value: 0.95}]",
     .groups = SPADE_KEYS_TRACE,
     REAL(trace.sparsity, 0, 1),
     .word = "auto",
     .word_value = SPADE_SPARSITY_AUTO,
     RULE(SPADE_RULE_SPARSITY, sparsity)},
    {.name = "solver",
     .option = "solver",
     .argument = "NAME",
     .help = "how weights are chosen",
     .groups = SPADE_KEYS_TRACE,
     WORD(trace.solver, "fast|exact|magnitude|random"), /* spade_solver */
     RULE(SPADE_RULE_SOLVER, solver)},
    {.name = "group",
     .option = "group",
     .argument = "G",
     .help = "what exact removes together",
     .groups = SPADE_KEYS_TRACE,
     WORD(trace.group, "kernel|element|channels-last"), /* spade_group */
     RULE(SPADE_RULE_GROUP, group)},
    {.name = "hessian",
     .option = "hessian",
     .argument = "P",
     .help = "sums of the Hessians",
     .groups = SPADE_KEYS_TRACE,
     WORD(trace.hessian, "fp32|fp64")}, /* spade_precision */
    {.name = "sweep",
     .option = "sweep",
     .argument = "P",
     .help = "products of fast's sweep; always fp64 with hessian fp64",
     .groups = SPADE_KEYS_TRACE,
     WORD(trace.sweep, "fp32|fp64")}, /* spade_precision */
    {.name = "count",
     .option = "count",
     .argument = "C",
     .help = "weights pruned per block; published prunes one more",
     .groups = SPADE_KEYS_TRACE,
     WORD(trace.count, "floor|published"), /* spade_count */
     RULE(SPADE_RULE_COUNT, count)},
    {.name = "damping",
     .option = "damping",
     .argument = "D",
     .help = "of the Hessian, times its mean diagonal",
     .groups = SPADE_KEYS_TRACE,
     REAL(trace.damping, 0, SPADE_MAX_DAMPING)},
    {.name = "nm",
     .option = "nm",
     .argument = "N:M",
     .help = "2:4 and so on: N of every M weights of a row stay, in place of a sparsity; not with exact",
     .groups = SPADE_KEYS_TRACE,
     .type = SPADE_KEY_PATTERN,
     MEMBER(trace.keep),
     .max = SPADE_MAX_PATTERN,
     RULE(SPADE_RULE_PATTERN, keep)},
    {.name = "block",
     .option = "block",
     .argument = "N",
     .help = "columns that fast chooses from at a time; 0: kh*kw, 1 in linear layers",
     .groups = SPADE_KEYS_TRACE,
     INTEGER(trace.block, 0, SPADE_MAX_BLOCK),
     RULE(SPADE_RULE_BLOCK, block)},
    {.name = "linear_block",
     .option = "linear-block",
     .argument = "N",
     .help = "the same of 1x1 convolutions and linear layers; 0: as block says",
     .groups = SPADE_KEYS_TRACE,
     INTEGER(trace.linear_block, 0, SPADE_MAX_BLOCK)},
    {.name = "layers",
     .option = "layers",
     .argument = "GLOB[,...]",
     .help = "prune only these layers",
     .groups = SPADE_KEYS_TRACE,
     .type = SPADE_KEY_GLOBS,
     MEMBER(include),
     .unset = "all"},
    {.name = "skip",
     .option = "skip",
     .argument = "GLOB[,...]",
     .help = "leave these layers dense",
     .groups = SPADE_KEYS_TRACE,
     .type = SPADE_KEY_GLOBS,
     MEMBER(skip),
     .unset = "none"},
    {.name = "rules",
     .help = "for some layers, later ones win: a glob of layers, and any of",
     .example = "[{layers: \"layer4.*\", solver: exact, sparsity: 0.9}, {layers: fc, nm: \"2:4\"}]",
     .groups = SPADE_KEYS_TRACE,
     .type = SPADE_KEY_RULES},
    {.name = "checkpoint",
     .option = "checkpoint",
     .argument = "DIR",
     .help = "keep solved layers there, and take from there what was solved before",
     .groups = SPADE_KEYS_TRACE,
     .type = SPADE_KEY_TEXT,
     MEMBER(checkpoint),
     .unset = "none",
     .unrecorded = true},
    /* ---- maps */
    {.name = "methods",
     .option = "method",
     .argument = "M[,...]",
     .help = "options stand behind a colon: smoothgrad:samples=25:sigma=0.1; what is asked for twice is made once",
     .example = "the same: [saliency, {smoothgrad: {samples: 25, sigma: 0.1}}]; 'spade methods' lists them",
     .groups = SPADE_KEYS_MAPS,
     .type = SPADE_KEY_METHODS,
     MEMBER(methods)},
    {.name = "classes",
     .option = "class",
     .argument = "C[,...]",
     .help = "what is explained: classes by number or name, top or second (the dense network's), or A-B: A against "
             "B, F_A - F_B. No number: first a name as a whole, then cut at a hyphen",
     .groups = SPADE_KEYS_MAPS,
     .type = SPADE_KEY_CLASSES,
     .default_value = "top"},
    {.name = "output",
     .option = "output",
     .argument = "F",
     .help = "what is explained",
     .groups = SPADE_KEYS_MAPS,
     WORD(output, "logits|scores"),
     .default_value = "logits"},
    {.name = "steps",
     .option = "steps",
     .argument = "N",
     .groups = SPADE_KEYS_MAPS,
     .type = SPADE_KEY_METHOD_OPTION,
     MEMBER(steps)},
    {.name = "samples",
     .option = "samples",
     .argument = "N",
     .help = "noisy copies, masks or coalitions of the input",
     .unset = "each method's own",
     .groups = SPADE_KEYS_MAPS,
     .type = SPADE_KEY_METHOD_OPTION,
     MEMBER(samples)},
    {.name = "sigma",
     .option = "sigma",
     .argument = "S",
     .unset = "each method's own",
     .groups = SPADE_KEYS_MAPS,
     .type = SPADE_KEY_METHOD_OPTION,
     MEMBER(sigma)},
    /* ---- what is said of maps */
    {.name = "metrics",
     .option = "metric",
     .argument = "M[,...]",
     .help = "how good maps are, likewise; 'spade methods' lists them, too",
     .groups = SPADE_KEYS_QUALITY | SPADE_KEYS_METRICS,
     .type = SPADE_KEY_METRICS,
     MEMBER(metrics)},
    {.name = "check",
     .option = "check",
     .help = "do maps sum to what their method promises, and is relevance conserved from node to node? A pass more of "
             "deeplift, "
             "lrp and attnlrp",
     .groups = SPADE_KEYS_QUALITY,
     FLAG(check),
     .default_value = "false"},
};
enum { KEY_COUNT = sizeof table / sizeof *table };
_Static_assert(KEY_COUNT <= 64, "spade_settings' given has a bit for each");
/* What value.c relies on. */
_Static_assert(offsetof(spade_trace_options, of) == offsetof(spade_trace_options, keep) + sizeof(int), "pattern");
_Static_assert(offsetof(spade_layer_rule, of) == offsetof(spade_layer_rule, keep) + sizeof(int), "pattern");
_Static_assert(sizeof(spade_solver) == sizeof(int) && sizeof(spade_precision) == sizeof(int), "words");

int spade_key_count(void)
{
    return KEY_COUNT;
}

const spade_key *spade_key_at(int index)
{
    return &table[index];
}

const spade_key *spade_key_find(const char *name, size_t length)
{
    for (int i = 0; i < KEY_COUNT; i++) {
        if (strlen(table[i].name) == length && memcmp(table[i].name, name, length) == 0) { return &table[i]; }
    }
    return NULL;
}

bool spade_key_takes_value(const spade_key *key)
{
    return key->type != SPADE_KEY_RULES && (key->type != SPADE_KEY_REAL || key->count == 1 || key->has_band);
}

bool spade_key_takes_list(const spade_key *key)
{
    switch (key->type) {
    case SPADE_KEY_GLOBS:
    case SPADE_KEY_METHODS:
    case SPADE_KEY_METRICS:
    case SPADE_KEY_CLASSES:
    case SPADE_KEY_RULES: return true;
    case SPADE_KEY_REAL: return key->count > 1;
    case SPADE_KEY_INTEGER:
    case SPADE_KEY_WORD:
    case SPADE_KEY_FLAG:
    case SPADE_KEY_PATTERN:
    case SPADE_KEY_TEXT:
    case SPADE_KEY_METHOD_OPTION: break;
    }
    return false;
}

bool spade_key_takes_options(const spade_key *key)
{
    return key->type == SPADE_KEY_METHODS || key->type == SPADE_KEY_METRICS;
}

/* ---- options of methods */
static const spade_option_info *find_option(const spade_method_info *method, const char *name)
{
    for (int i = 0; i < method->option_count; i++) {
        if (strcmp(method->options[i].name, name) == 0) { return &method->options[i]; }
    }
    return NULL;
}

const spade_option_info *spade_key_method_option(const spade_key *key)
{
    const spade_option_info *option = NULL;
    for (int i = 0; i < spade_method_count() && !option; i++) { option = find_option(spade_method_at(i), key->name); }
    return option;
}

void spade_key_bounds(const spade_key *key, double *min, double *max)
{
    *min = key->min;
    *max = key->max;
    if (key->type != SPADE_KEY_METHOD_OPTION) { return; }
    bool first = true;
    for (int i = 0; i < spade_method_count(); i++) {
        const spade_option_info *option = find_option(spade_method_at(i), key->name);
        if (!option) { continue; }
        *min = first || option->min < *min ? option->min : *min;
        *max = first || option->max > *max ? option->max : *max;
        first = false;
    }
}

/* ---- in words */

/* Append to a text that ends at *used; what does not fit is left out. */
__attribute__((format(printf, 4, 5))) static void append(char *buffer, size_t size, size_t *used, const char *format,
                                                         ...)
{
    va_list arguments;
    if (*used >= size) { return; }
    va_start(arguments, format);
    int length = spade_print_list(buffer + *used, size - *used, format, arguments);
    va_end(arguments);
    *used += length > 0 ? (size_t)length : 0;
}

/* "fast, exact or random" from "fast|exact|random" */
static void append_words(const char *words, char *buffer, size_t size, size_t *used)
{
    for (const char *word = words; word; word = strchr(word, '|')) {
        word += *word == '|';
        const char *separator = word == words ? "" : strchr(word, '|') ? ", " : " or ";
        append(buffer, size, used, "%s%.*s", separator, (int)strcspn(word, "|"), word);
    }
}

static void append_methods(const spade_key *key, char *buffer, size_t size, size_t *used)
{
    const char *separator = "; of ";
    for (int i = 0; i < spade_method_count(); i++) {
        if (!find_option(spade_method_at(i), key->name)) { continue; }
        append(buffer, size, used, "%s%s", separator, spade_method_at(i)->name);
        separator = ", ";
    }
}

void spade_key_describe(const spade_key *key, char *buffer, size_t size)
{
    size_t used = 0;
    buffer[0] = 0;
    if (key->type == SPADE_KEY_METHOD_OPTION) {
        append(buffer, size, &used, "%s", key->help ? key->help : spade_key_method_option(key)->help);
        append_methods(key, buffer, size, &used);
        return;
    }
    if (key->words) {
        append_words(key->words, buffer, size, &used);
        append(buffer, size, &used, ": ");
    }
    append(buffer, size, &used, "%s", key->help);
    const char *separator = " ";
    for (int i = 0; key->type == SPADE_KEY_RULES && i < KEY_COUNT; i++) {
        if (!table[i].rule) { continue; }
        append(buffer, size, &used, "%s%s", separator, table[i].name);
        separator = ", ";
    }
}

void spade_key_describe_bounds(const spade_key *key, char *buffer, size_t size)
{
    char low[32], high[32];
    double min, max;
    spade_key_bounds(key, &min, &max);
    bool number = key->type == SPADE_KEY_INTEGER || key->type == SPADE_KEY_REAL || key->type == SPADE_KEY_METHOD_OPTION;
    if (!number || max >= (double)INT64_MAX) {
        buffer[0] = 0;
    } else {
        snprintf(buffer, size, "%s to %s", spade_format_real(min, low), spade_format_real(max, high));
    }
}
