/* tune_config.c - what was tuned as a configuration file, which says how it came about. */
#include <fnmatch.h>

#include "base/base.h"
#include "workload/tune.h"

/* ---- settings other than the default's */

/* `text` as a value of YAML, which JSON is. */
static bool write_value(FILE *file, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    const bool made = text != NULL;
    if (made) { fputs(text, file); }
    free(text);
    return made;
}

/* Of this key, where it is not the default's. False: out of memory. */
static bool write_setting(FILE *file, const spade_settings *settings, const spade_settings *defaults,
                          const spade_key *key, bool *in_mapping)
{
    const char *dot = strchr(key->name, '.');
    json_t *value = spade_setting_json(settings, key), *standard = spade_setting_json(defaults, key);
    bool written = value && standard;
    if (written && !json_is_null(value) && !json_equal(value, standard)) {
        if (dot && !*in_mapping) { fprintf(file, "%.*s:\n", (int)(dot - key->name), key->name); }
        *in_mapping = dot;
        fprintf(file, "%s%s: ", dot ? "  " : "", dot ? dot + 1 : key->name);
        written = write_value(file, value);
        fputc('\n', file);
    }
    json_decref(value);
    json_decref(standard);
    return written;
}

/* Sparsities that were asked for stay out: they would win over those that were tuned. */
static bool write_settings(FILE *file, const tune_job *job)
{
    spade_settings defaults, kept = *job->request->settings;
    bool in_mapping = false, written = true;
    kept.rules = job->rules;
    kept.rule_count = job->levels[0].rule_count;
    spade_settings_init(&defaults);
    spade_settings_finish(&defaults);
    for (int i = 0; i < spade_key_count() && written; i++) {
        const spade_key *key = spade_key_at(i);
        const bool wanted = key->groups & (SPADE_KEYS_PICTURE | SPADE_KEYS_VARIANTS | SPADE_KEYS_TRACE);
        if (!wanted || key->unrecorded || key->rule == SPADE_RULE_SPARSITY) { continue; }
        written = write_setting(file, &kept, &defaults, key, &in_mapping);
    }
    spade_settings_clear(&defaults);
    return written;
}

/* ---- sparsities */

static bool has_layer(const tune_stage *stage, int layer)
{
    for (int i = 0; i < stage->layer_count; i++) {
        if (stage->layers[i] == layer) { return true; }
    }
    return false;
}

/* The glob matches, of the layers that can be pruned, just those of the stage; or more that `skip` or `layers` keep dense. */
static bool is_exact(const spade_model *model, const tune_stage *stages, int count, const tune_stage *stage,
                     const char *glob)
{
    const spade_network *network = &model->network;
    for (int l = 0; l < network->layer_count; l++) {
        const bool matches = network->layers[l].prunable && fnmatch(glob, network->layers[l].name, 0) == 0;
        if (has_layer(stage, l) && !matches) { return false; }
        for (int i = 0; matches && i < count; i++) {
            if (&stages[i] != stage && has_layer(&stages[i], l)) { return false; }
        }
    }
    return true;
}

char *tune_escape(const char *name)
{
    char *out = malloc(2 * strlen(name) + 1), *to = out;
    for (; out && *name; name++) {
        if (strchr("*?[\\", *name)) { *to++ = '\\'; }
        *to++ = *name;
    }
    if (out) { *to = 0; }
    return out;
}

static bool write_rule(FILE *file, const char *glob, double sparsity)
{
    json_t *text = json_string(glob);
    fputs("  - {layers: ", file);
    const bool written = text && write_value(file, text);
    fprintf(file, ", value: %g}\n", sparsity);
    json_decref(text);
    return written;
}

static bool write_stage(FILE *file, const spade_model *model, const tune_stage *stages, int count,
                        const tune_stage *stage)
{
    const double sparsity = tune_sparsity(stage->choice);
    char *all = NULL, *within = NULL;
    bool written = asprintf(&all, "%s", stage->name) >= 0;
    if (written && asprintf(&within, "%s.*", stage->name) < 0) {
        within = NULL;
        written = false;
    }
    if (written && is_exact(model, stages, count, stage, all)) {
        written = write_rule(file, all, sparsity);
    } else if (written && is_exact(model, stages, count, stage, within)) {
        written = write_rule(file, within, sparsity);
    } else {
        for (int i = 0; i < stage->layer_count && written; i++) {
            char *name = tune_escape(model->network.layers[stage->layers[i]].name);
            written = name && write_rule(file, name, sparsity);
            free(name);
        }
    }
    free(all);
    free(within);
    return written;
}

/* ---- how it came about */

static void write_comment(FILE *file, const json_t *summary)
{
    const json_t *aside = json_object_get(summary, "aside"), *tuned = json_object_get(summary, "tuned");
    fprintf(file, "# Sparsities that spade %s tuned for %s of ", json_string_value(json_object_get(summary, "version")),
            json_string_value(json_object_get(summary, "metric")));
    json_t *method;
    size_t i;
    json_array_foreach(json_object_get(summary, "methods"), i, method)
    {
        fprintf(file, "%s%s", i ? ", " : "", json_string_value(method));
    }
    fprintf(file, "\n# on %.0f pictures with %.0f seed%s: dense %.4f, trace %.4f.\n",
            spade_json_real_at(tuned, "pictures"), spade_json_real_at(summary, "seeds"),
            spade_json_real_at(summary, "seeds") == 1 ? "" : "s", spade_json_real_at(tuned, "dense"),
            spade_json_real_at(tuned, "trace"));
    if (!aside) { return; }
    fprintf(file, "# On %.0f other pictures: dense %.4f, trace %.4f, difference %+.4f",
            spade_json_real_at(aside, "pictures"), spade_json_real_at(aside, "dense"),
            spade_json_real_at(aside, "trace"), spade_json_real_at(aside, "difference"));
    if (json_is_number(json_object_get(aside, "low"))) {
        fprintf(file, " [%+.4f, %+.4f]", spade_json_real_at(aside, "low"), spade_json_real_at(aside, "high"));
    }
    fprintf(file, "; the class changes in %.0f %%.\n", 100 * spade_json_real_at(aside, "changed"));
    if (spade_json_real_at(aside, "failed") > 0) {
        fprintf(file, "# %.0f more could not be compared.\n", spade_json_real_at(aside, "failed"));
    }
}

spade_status tune_write_config(const tune_job *job, const json_t *summary)
{
    spade_context *context = job->context;
    const char *path = job->request->output;
    const tune_stage *stages = job->stages;
    spade_output out;
    SPADE_TRY(spade_output_open(context, path, &out));
    write_comment(out.file, summary);
    bool written = write_settings(out.file, job);
    fputs("sparsity:\n", out.file);
    written = written && write_rule(out.file, "*", 0);
    for (int i = job->stage_count - 1; i >= 0 && written; i--) {
        if (!stages[i].choice) { continue; }
        written = write_stage(out.file, job->evaluate.model, stages, job->stage_count, &stages[i]);
    }
    if (written) { return spade_output_commit(context, &out); }
    spade_output_abort(&out);
    return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
}
