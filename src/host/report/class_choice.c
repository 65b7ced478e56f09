/* class_choice.c - texts of --class, with the network's classes and their names. */
#include "report/class_choice.h"

#include <strings.h>

#include "base/number.h"

/* ---- one class */

/* What a text, or a part of it, says. */
typedef enum term_kind { TERM_NONE, TERM_CLASS, TERM_OUTSIDE, TERM_SEVERAL } term_kind;

typedef struct term {
    term_kind kind;
    class_term class;
    int64_t other; /* TERM_SEVERAL: the second class that is called so */
} term;

typedef struct span {
    const char *at;
    size_t length;
} span;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static span trim(const char *at, size_t length)
{
    while (length && is_blank(*at)) { at++, length--; }
    while (length && is_blank(at[length - 1])) { length--; }
    return (span){at, length};
}

static bool is_same(span text, const char *name, size_t length)
{
    return text.length == length && strncasecmp(text.at, name, length) == 0;
}

/* The class of that name; whole: names as they are, else what stands before their first comma. */
static term find_name(const class_names *names, span text, bool whole)
{
    term found = {TERM_NONE};
    for (int64_t i = 0; i < spade_model_classes(names->model); i++) {
        const char *name = class_given_name(names, i);
        if (!name || !is_same(text, name, whole ? strlen(name) : strcspn(name, ","))) { continue; }
        if (found.kind == TERM_CLASS) {
            found.kind = TERM_SEVERAL;
            found.other = i;
            break;
        }
        found = (term){.kind = TERM_CLASS, .class = {CLASS_BY_INDEX, i}};
    }
    return found;
}

static term read_term(const class_names *names, span text)
{
    char digits[24];
    int64_t number;
    if (!text.length) { return (term){TERM_NONE}; }
    if (is_same(text, "top", strlen("top"))) { return (term){.kind = TERM_CLASS, .class = {CLASS_TOP, 0}}; }
    if (is_same(text, "second", strlen("second"))) { return (term){.kind = TERM_CLASS, .class = {CLASS_SECOND, 0}}; }
    snprintf(digits, sizeof digits, "%.*s", (int)(text.length < sizeof digits ? text.length : sizeof digits), text.at);
    if (strspn(text.at, "0123456789") >= text.length && spade_parse_integer(digits, &number)) {
        return (term){.kind = number < spade_model_classes(names->model) ? TERM_CLASS : TERM_OUTSIDE,
                      .class = {CLASS_BY_INDEX, number}};
    }
    const term found = find_name(names, text, true);
    return found.kind == TERM_NONE ? find_name(names, text, false) : found;
}

/* SPADE_OK for a class. text: the whole of it, for the message. */
static spade_status take_term(spade_context *context, const class_names *names, const char *text, const term *found,
                              class_term *out)
{
    *out = found->class;
    if (found->kind == TERM_OUTSIDE) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "--class %.200s: the network has the classes 0 to %lld", text,
                          (long long)spade_model_classes(names->model) - 1);
    }
    if (found->kind == TERM_SEVERAL) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "--class %.200s: the classes %lld and %lld have the same name; give the number", text,
                          (long long)found->class.index, (long long)found->other);
    }
    return SPADE_OK;
}

/* ---- a class against another */

/* "", or what helps where no class has a name. */
static const char *advise_labels(const class_names *names)
{
    for (int64_t i = 0; i < spade_model_classes(names->model); i++) {
        if (class_given_name(names, i)) { return ""; }
    }
    return " (the network names none, --labels does)";
}

static spade_status fail_none(spade_context *context, const class_names *names, const char *text)
{
    return spade_fail(context, SPADE_ERROR_ARGUMENT,
                      "--class %.200s: no class is called so%s; give a number from 0 to %lld, a name, top, second, or "
                      "A-B: one against another",
                      text, advise_labels(names), (long long)spade_model_classes(names->model) - 1);
}

static bool is_same_class(const class_term *a, const class_term *b)
{
    return a->rank == b->rank && a->index == b->index;
}

/* A-B. */
static spade_status read_contrast(spade_context *context, const char *text, const class_names *names, class_choice *out)
{
    const char *cut = NULL;
    term of = {TERM_NONE}, against = {TERM_NONE};
    for (const char *at = strchr(text, '-'); at; at = strchr(at + 1, '-')) {
        const term left = read_term(names, trim(text, (size_t)(at - text)));
        const term right = read_term(names, trim(at + 1, strlen(at + 1)));
        if (left.kind == TERM_NONE || right.kind == TERM_NONE) { continue; }
        if (cut) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT,
                              "--class %.200s: '%.*s' against '%s', or '%.*s' against '%s'? Give numbers", text,
                              (int)(cut - text), text, cut + 1, (int)(at - text), text, at + 1);
        }
        cut = at;
        of = left;
        against = right;
    }
    if (!cut) { return fail_none(context, names, text); }
    out->contrast = true;
    SPADE_TRY(take_term(context, names, text, &of, &out->of));
    SPADE_TRY(take_term(context, names, text, &against, &out->against));
    if (!is_same_class(&out->of, &out->against)) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "--class %.200s: a class against itself; there is no difference",
                      text);
}

/* ---- the setting */

static const char *describe_term(const class_term *class_of, char buffer[24])
{
    if (class_of->rank != CLASS_BY_INDEX) { return class_of->rank == CLASS_TOP ? "top" : "second"; }
    snprintf(buffer, 24, "%lld", (long long)class_of->index);
    return buffer;
}

static spade_status read_choice(spade_context *context, const char *text, const class_names *names, class_choice *out)
{
    char of[24], against[24];
    const term whole = read_term(names, trim(text, strlen(text)));
    *out = (class_choice){.contrast = false};
    if (whole.kind == TERM_NONE) {
        SPADE_TRY(read_contrast(context, text, names, out));
    } else {
        SPADE_TRY(take_term(context, names, text, &whole, &out->of));
    }
    snprintf(out->label, sizeof out->label, "%s%s%s", describe_term(&out->of, of), out->contrast ? "-" : "",
             out->contrast ? describe_term(&out->against, against) : "");
    return SPADE_OK;
}

spade_status class_choices_read(spade_context *context, const spade_names *texts, const class_names *names,
                                class_choice *out)
{
    for (int i = 0; i < texts->count; i++) {
        if (strcmp(texts->items[i], "label") == 0) {
            return spade_fail(context, SPADE_ERROR_ARGUMENT,
                              "--class: 'label' needs labelled inputs, which evaluate has; give classes or top");
        }
        SPADE_TRY(read_choice(context, texts->items[i], names, &out[i]));
        for (int k = 0; k < i; k++) {
            if (strcmp(out[k].label, out[i].label) == 0) {
                return spade_fail(context, SPADE_ERROR_ARGUMENT, "--class %.200s: %s is given twice", texts->items[i],
                                  out[i].label);
            }
        }
    }
    return SPADE_OK;
}

spade_status class_of_label(spade_context *context, const char *label, const class_names *names, int64_t *out)
{
    const term found = read_term(names, trim(label, strlen(label)));
    const term named = find_name(names, trim(label, strlen(label)), true);
    const bool is_class = found.kind == TERM_CLASS && found.class.rank == CLASS_BY_INDEX;
    if (is_class && named.kind == TERM_CLASS && named.class.index != found.class.index) {
        return spade_fail(
            context, SPADE_ERROR_ARGUMENT,
            "label '%.200s' is the number of one class and the name of another, %lld; give other names, or numbers",
            label, (long long)named.class.index);
    }
    if (is_class || named.kind == TERM_CLASS) { /* a number that no class has may be a name */
        *out = is_class ? found.class.index : named.class.index;
        return SPADE_OK;
    }
    const bool several = found.kind == TERM_SEVERAL;
    return spade_fail(context, several ? SPADE_ERROR_ARGUMENT : SPADE_ERROR_INPUT,
                      "label '%.200s': %s%s; the network has the classes 0 to %lld", label,
                      several ? "several classes are called so" : "no such class",
                      found.kind == TERM_NONE ? advise_labels(names) : "",
                      (long long)spade_model_classes(names->model) - 1);
}

/* ---- a picture */

static int64_t class_of_term(const class_term *class_of, const double *logits, int64_t classes)
{
    int64_t top = 0, second = -1;
    if (class_of->rank == CLASS_BY_INDEX) { return class_of->index; }
    for (int64_t i = 1; i < classes; i++) {
        if (logits[i] > logits[top]) {
            second = top;
            top = i;
        } else if (second < 0 || logits[i] > logits[second]) {
            second = i;
        }
    }
    return class_of->rank == CLASS_TOP ? top : second;
}

spade_status class_choice_target(spade_context *context, const class_choice *choice, const double *logits,
                                 int64_t classes, spade_target *out)
{
    *out = (spade_target){.class_index = class_of_term(&choice->of, logits, classes), .contrast = choice->contrast};
    if (!choice->contrast) { return SPADE_OK; }
    out->against = class_of_term(&choice->against, logits, classes);
    if (out->against != out->class_index) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_INPUT,
                      "--class %s: both are class %lld of this picture; there is no difference to explain",
                      choice->label, (long long)out->class_index);
}
