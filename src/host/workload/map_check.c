/* map_check.c - see map_check.h. */
#include <math.h>

#include "workload/map_check.h"

/* Less than this of a node's magnitude is rounding: a node without weights that keeps no more is not listed. */
static const double rounding = 1e-5;

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static json_t *completeness_json(const map_check *check)
{
    const double tolerance = spade_attribution_completeness(check->attribution), size = fabs(check->difference);
    json_t *object = json_object();
    spade_json_set(&object, "difference", spade_json_number(check->difference));
    spade_json_set(&object, "sum", spade_json_number(check->difference + check->delta));
    spade_json_set(&object, "delta", spade_json_number(check->delta));
    spade_json_set(&object, "relative", spade_json_number(fabs(check->delta) / size)); /* null: nothing to explain */
    spade_json_set(&object, "tolerance", json_real(tolerance));
    spade_json_set(&object, "holds", json_boolean(fabs(check->delta) <= tolerance * size));
    return object;
}

/* ---- conservation */

static bool holds(const spade_conservation_step *step)
{
    return fabs(spade_conservation_missing(step)) <= SPADE_CONSERVATION_TOLERANCE * step->magnitude;
}

static json_t *step_json(const spade_conservation_step *step)
{
    json_t *object = json_object();
    spade_json_set(&object, "name", spade_json_text(step->name));
    spade_json_set(&object, "kind", spade_json_text(step->kind));
    spade_json_set(&object, "layer", json_boolean(step->layer));
    spade_json_set(&object, "relevance", spade_json_number(step->relevance));
    spade_json_set(&object, "magnitude", spade_json_number(step->magnitude));
    spade_json_set(&object, "handed_on", spade_json_number(step->handed_on));
    spade_json_set(&object, "constants", spade_json_number(step->constants));
    spade_json_set(&object, "stabilizer", spade_json_number(step->stabilizer));
    spade_json_set(&object, "missing", spade_json_number(spade_conservation_missing(step)));
    spade_json_set(&object, "holds", json_boolean(holds(step)));
    return object;
}

static json_t *conservation_json(const spade_conservation *c)
{
    json_t *object = json_object(), *steps = json_array();
    double constants = 0, missing = 0;
    int lossy = 0;
    for (int i = 0; i < c->count; i++) {
        const spade_conservation_step *step = &c->steps[i];
        constants += step->constants;
        missing += spade_conservation_missing(step);
        lossy += !holds(step);
        if (step->layer || fabs(step->relevance - step->handed_on) > rounding * step->magnitude) {
            spade_json_append(&steps, step_json(step));
        }
    }
    spade_json_set(&object, "output", spade_json_number(c->output));
    spade_json_set(&object, "input", spade_json_number(c->input));
    spade_json_set(&object, "constants", spade_json_number(constants));
    spade_json_set(&object, "missing", spade_json_number(missing));
    spade_json_set(&object, "tolerance", json_real(SPADE_CONSERVATION_TOLERANCE));
    spade_json_set(&object, "holds", json_boolean(!lossy));
    spade_json_set(&object, "lossy", json_integer(lossy));
    spade_json_set(&object, "steps", steps);
    return object;
}

spade_status map_check_run(spade_context *context, const map_check *check, json_t **out)
{
    const unsigned flags = spade_attribution_flags(check->attribution);
    const bool conserves = flags & SPADE_METHOD_CONSERVATION,
               complete = isfinite(check->delta) && spade_attribution_completeness(check->attribution) > 0;
    spade_conservation conservation = {0};
    *out = NULL;
    if (!conserves && !complete) { return SPADE_OK; }
    if (conserves) {
        SPADE_TRY(spade_attribution_conservation(context, check->model, check->trace, check->attribution, check->input,
                                                 check->target, &conservation));
    }
    json_t *object = json_object();
    if (complete) { spade_json_set(&object, "completeness", completeness_json(check)); }
    if (conserves) { spade_json_set(&object, "conservation", conservation_json(&conservation)); }
    spade_conservation_clear(&conservation);
    *out = object;
    return object ? SPADE_OK : spade_fail(context, SPADE_ERROR_MEMORY, "out of memory");
}

/* ---- warnings */

/* The step that misses most of its magnitude. */
static const json_t *find_worst(const json_t *steps)
{
    const json_t *worst = NULL;
    double most = -1;
    size_t i;
    json_t *step;
    json_array_foreach(steps, i, step)
    {
        const double magnitude = number_of(step, "magnitude"), missing = fabs(number_of(step, "missing"));
        if (json_is_true(json_object_get(step, "holds")) || missing / magnitude <= most) { continue; }
        most = missing / magnitude;
        worst = step;
    }
    return worst;
}

void map_check_warn(spade_context *context, const char *whose, const json_t *check)
{
    const json_t *completeness = json_object_get(check, "completeness");
    const json_t *conservation = json_object_get(check, "conservation");
    const json_t *worst = find_worst(json_object_get(conservation, "steps"));
    if (json_is_false(json_object_get(completeness, "holds"))) {
        spade_log(context, SPADE_LOG_WARNING,
                  "%s is not complete: it sums to %.4g, F(x) - F(baseline) is %.4g: off by more than %g of it", whose,
                  number_of(completeness, "sum"), number_of(completeness, "difference"),
                  number_of(completeness, "tolerance"));
    }
    if (worst) {
        spade_log(context, SPADE_LOG_WARNING,
                  "%s does not conserve relevance: what %.200s (%s) hands on is off by %.2g %% of its size%s", whose,
                  json_string_value(json_object_get(worst, "name")), json_string_value(json_object_get(worst, "kind")),
                  100 * fabs(number_of(worst, "missing")) / number_of(worst, "magnitude"),
                  number_of(conservation, "lossy") > 1 ? ", and other nodes' by less" : "");
    }
}
