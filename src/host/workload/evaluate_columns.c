/* evaluate_columns.c - the networks that are compared: the dense one, and traces by solver or by configuration. */
#include <strings.h>

#include "base/base.h"
#include "workload/evaluate.h"
#include "workload/unread_options.h"

static const char *const solvers[] = {"fast", "exact", "magnitude", "random"}; /* spade_solver */
static const char sparse_fc[] = "sparse_fc";

static spade_status fail_memory(const evaluate_job *job)
{
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

static bool is_configuration(const char *text)
{
    const char *dot = strrchr(text, '.');
    return dot && (strcasecmp(dot, ".yaml") == 0 || strcasecmp(dot, ".yml") == 0);
}

/* A new column; it begins as the settings say. */
static spade_status add(evaluate_job *job, const char *name, size_t length, evaluate_column **out)
{
    if (job->column_count == EVALUATE_MAX_COLUMNS) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--traces: more than %d", EVALUATE_MAX_COLUMNS - 1);
    }
    evaluate_column *column = &job->columns[job->column_count];
    *column = (evaluate_column){.name = strndup(name, length), .trace = job->request->settings->trace};
    if (!column->name) { return fail_memory(job); }
    for (int i = 0; i < job->column_count; i++) {
        if (strcmp(job->columns[i].name, column->name) != 0) { continue; }
        spade_status status =
            spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--traces: two are called %s", column->name);
        free(column->name);
        return status;
    }
    job->column_count++;
    *out = column;
    return SPADE_OK;
}

static bool is_same(const spade_settings *a, const spade_settings *b, const spade_key *key)
{
    json_t *left = spade_setting_json(a, key), *right = spade_setting_json(b, key);
    const bool same = left && right && json_equal(left, right);
    json_decref(left);
    json_decref(right);
    return same;
}

/* Of a configuration counts how a trace is found; all traces of a picture have the same variants, maps and metrics. What the options
 * say too, needs no words. */
static void warn_of_keys(const evaluate_job *job, const char *path, const spade_settings *settings)
{
    char names[500] = "";
    int count = 0;
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        const size_t length = strlen(names);
        if (!(settings->asked >> i & 1) || key->groups & SPADE_KEYS_TRACE) { continue; }
        if (is_same(settings, job->request->settings, key)) { continue; }
        snprintf(names + length, sizeof names - length, "%s%s", count++ ? ", " : "", key->name);
    }
    if (!count) { return; }
    spade_log(job->context, SPADE_LOG_WARNING, "%s: %s %s no effect: for all traces that is as the options say", path,
              names, count == 1 ? "has" : "have");
}

/* Options of a trace in a configuration that none of the layers that it prunes reads. */
static void warn_of_unread(const evaluate_job *job, const evaluate_column *column)
{
    unread_options unread;
    unread_options_find(job->context, job->model, &column->trace, &unread);
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        if (!(column->settings.asked >> i & 1) || !unread_options_has(&unread, key->name)) { continue; }
        spade_log(job->context, SPADE_LOG_WARNING,
                  "--traces: %s: %s has no effect: no layer that is pruned has a use for it", column->name, key->name);
    }
}

static spade_status add_configuration(evaluate_job *job, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    evaluate_column *column;
    SPADE_TRY(add(job, base, (size_t)(strrchr(base, '.') - base), &column));
    spade_settings_init(&column->settings);
    column->configured = true;
    SPADE_TRY(spade_settings_read(job->context, &column->settings, path));
    warn_of_keys(job, path, &column->settings);
    column->settings.seed = job->request->settings->seed;
    spade_settings_finish(&column->settings);
    column->trace = column->settings.trace;
    return SPADE_OK;
}

/* As --solver does: a solver for all layers forgets those of some. */
static spade_status forget_solvers(const evaluate_job *job, evaluate_column *column)
{
    const spade_settings *settings = job->request->settings;
    column->rules = calloc((size_t)settings->rule_count + 1, sizeof *column->rules);
    if (!column->rules) { return fail_memory(job); }
    column->trace.rules = column->rules;
    column->trace.rule_count = 0;
    for (int i = 0; i < settings->rule_count; i++) { /* a rule has one field */
        if (!(settings->rules[i].set & SPADE_RULE_SOLVER)) {
            column->rules[column->trace.rule_count++] = settings->rules[i];
        }
    }
    return SPADE_OK;
}

static spade_status add_fitted(evaluate_job *job)
{
    evaluate_column *column;
    SPADE_TRY(add(job, sparse_fc, strlen(sparse_fc), &column));
    column->fitted = job->fit.wanted = true;
    return job->request->fit ? SPADE_OK
                             : spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                                          "--traces sparse_fc needs --fit MANIFEST: the pictures that it is fitted to");
}

static spade_status add_trace(evaluate_job *job, const char *text)
{
    evaluate_column *column;
    if (is_configuration(text)) { return add_configuration(job, text); }
    if (strcmp(text, sparse_fc) == 0) { return add_fitted(job); }
    for (size_t i = 0; i < sizeof solvers / sizeof *solvers; i++) {
        if (strcmp(solvers[i], text) != 0) { continue; }
        SPADE_TRY(add(job, text, strlen(text), &column));
        column->trace.solver = (spade_solver)i;
        return forget_solvers(job, column);
    }
    return spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                      "--traces: '%s' is neither fast, exact, magnitude, random or sparse_fc nor a configuration "
                      "(.yaml)",
                      text);
}

spade_status evaluate_columns_open(evaluate_job *job)
{
    const char *texts = job->request->traces;
    evaluate_column *column;
    SPADE_TRY(add(job, "dense", strlen("dense"), &column));
    if (!texts) { SPADE_TRY(add(job, "trace", strlen("trace"), &column)); }
    for (const char *at = texts; at && *at;) {
        const size_t length = strcspn(at, ",");
        char *text = strndup(at, length);
        if (!text) { return fail_memory(job); }
        const spade_status status = add_trace(job, text);
        free(text);
        SPADE_TRY(status);
        at += at[length] ? length + 1 : length;
    }
    if (job->request->fit && !job->fit.wanted) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--fit is for sparse_fc, which is not among --traces");
    }
    for (int i = 1, place = 0; i < job->column_count; i++) {
        if (job->columns[i].fitted) { continue; }
        evaluate_column *own = &job->columns[i];
        own->place = place++;
        SPADE_TRY(spade_settings_check_trace(job->context, own->configured ? &own->settings : job->request->settings,
                                             job->model, &own->trace));
        if (own->configured) { warn_of_unread(job, own); }
    }
    return SPADE_OK;
}

void evaluate_columns_close(evaluate_job *job)
{
    for (int i = 0; i < job->column_count; i++) {
        if (job->columns[i].configured) { spade_settings_clear(&job->columns[i].settings); }
        free(job->columns[i].name);
        free(job->columns[i].rules);
    }
}

/* As far as it counts. */
static json_t *configuration_json(const spade_settings *settings)
{
    json_t *all = json_object();
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        if (!(key->groups & SPADE_KEYS_TRACE) || key->unrecorded) { continue; }
        spade_json_set(&all, key->name, spade_setting_json(settings, key));
    }
    return all;
}

json_t *evaluate_columns_json(const evaluate_job *job)
{
    json_t *all = json_array();
    for (int i = 0; i < job->column_count; i++) {
        const evaluate_column *column = &job->columns[i];
        json_t *object = json_object();
        spade_json_set(&object, "name", spade_json_text(column->name));
        if (i) {
            spade_json_set(&object, "solver", json_string(column->fitted ? sparse_fc : solvers[column->trace.solver]));
        }
        if (column->fitted) { spade_json_set(&object, "margin", json_real(job->fit.margin)); }
        if (column->configured) { spade_json_set(&object, "configuration", configuration_json(&column->settings)); }
        spade_json_append(&all, object);
    }
    return all;
}
