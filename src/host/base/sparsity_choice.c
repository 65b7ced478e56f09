/* sparsity_choice.c - see sparsity_choice.h. */
#include "base/sparsity_choice.h"

json_t *sparsity_choice_json(const spade_sparsity_choice *choice)
{
    json_t *object = json_object();
    spade_json_set(&object, "level", json_real(choice->sparsity));
    spade_json_set(&object, "scaled", json_boolean(choice->scaled));
    spade_json_set(&object, "tried", json_integer(choice->tried));
    spade_json_set(&object, "agreement", json_real(choice->agreement));
    spade_json_set(&object, "keeps_class", json_boolean(choice->keeps_class));
    spade_json_set(&object, "enough", json_boolean(choice->enough));
    if (choice->layers < choice->of) {
        spade_json_set(&object, "layers", json_integer(choice->layers));
        spade_json_set(&object, "of", json_integer(choice->of));
        spade_json_set(&object, "highest", json_real(choice->highest));
    }
    return object;
}

bool sparsity_choice_read(const json_t *object, spade_sparsity_choice *out)
{
    *out = (spade_sparsity_choice){.sparsity = json_number_value(json_object_get(object, "level")),
                                   .scaled = json_is_true(json_object_get(object, "scaled")),
                                   .tried = (int)json_integer_value(json_object_get(object, "tried")),
                                   .agreement = json_number_value(json_object_get(object, "agreement")),
                                   .keeps_class = json_is_true(json_object_get(object, "keeps_class")),
                                   .enough = json_is_true(json_object_get(object, "enough")),
                                   .layers = (int)json_integer_value(json_object_get(object, "layers")),
                                   .of = (int)json_integer_value(json_object_get(object, "of")),
                                   .highest = json_number_value(json_object_get(object, "highest"))};
    return json_is_object(object);
}

const char *sparsity_choice_text(const spade_sparsity_choice *choice, char text[SPARSITY_CHOICE_TEXT])
{
    char where[80];
    if (choice->layers == choice->of) {
        snprintf(where, sizeof where, "%g in %s", choice->sparsity,
                 choice->scaled ? "the last stage, less before it" : "all layers");
    } else {
        snprintf(where, sizeof where, "%s%g in %d of %d layers%s", choice->scaled ? "at most " : "", choice->highest,
                 choice->layers, choice->of, choice->scaled ? ", less in earlier stages" : "");
    }
    snprintf(text, SPARSITY_CHOICE_TEXT, "%s, %.0f %% of other variants decided alike", where, 100 * choice->agreement);
    return text;
}

void sparsity_choice_set(json_t **object, const spade_trace *trace)
{
    spade_sparsity_choice choice;
    if (spade_trace_sparsity_choice(trace, &choice)) {
        spade_json_set(object, "chosen", sparsity_choice_json(&choice));
    }
}

void sparsity_choice_warn(spade_context *context, const char *title, const spade_trace *trace)
{
    char text[SPARSITY_CHOICE_TEXT];
    spade_sparsity_choice choice;
    if (!spade_trace_sparsity_choice(trace, &choice) || choice.enough) { return; }
    spade_log(
        context, SPADE_LOG_WARNING,
        "%s: no sparsity that was tried keeps the decision%s on %.0f %% of other variants; the nearest is taken: %s%s",
        title, choice.keeps_class ? "" : " on the picture and", 100 * SPADE_AUTO_AGREEMENT,
        sparsity_choice_text(&choice, text), choice.keeps_class ? "" : ", the picture otherwise");
}
