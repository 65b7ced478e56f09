/*
 * tune.c - the tune workload: sparsities of stages that maximise a metric of methods' maps. Source: SPADE (ICML 2024), appendix;
 * greedy, one stage at a time from the output to the input.
 *
 * Of every picture and seed of variants the layers are solved once, at every sparsity, and kept in a file; a candidate is composed of
 * them. So trying one costs its maps and their metric.
 */
#include <math.h>

#include "base/base.h"
#include "workload/trace_input.h"
#include "workload/tune.h"
#include "workload/unread_options.h"

enum { LEVELS = SPADE_SPARSITY_LEVELS };

double tune_sparsity(int choice)
{
    return choice ? spade_sparsity_levels[choice - 1] : 0;
}

static spade_status fail_memory(const tune_job *job)
{
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

/* ---- before the work */

static spade_status check_request(const tune_job *job)
{
    const spade_tune_request *request = job->request;
    if (spade_settings_classes(request->settings)->count > 1) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--class: tune explains one class of each picture");
    }
    const trace_input sources = {request->manifest, NULL, request->settings};
    if (!spade_ends_in(request->output, ".yaml") && !spade_ends_in(request->output, ".yml")) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "-o %s: the name of a configuration ends in .yaml",
                          request->output);
    }
    if (request->settings->trace.of) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--nm: a pattern leaves no sparsity to be tuned");
    }
    return trace_input_check_output(job->context, request->output, "configuration", request->model, &sources);
}

/* One metric, of maps, with a value for each. */
static spade_status check_metric(const tune_job *job)
{
    const evaluate_job *e = &job->evaluate;
    if (e->metric_count != 1) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--metric: one is tuned for, not %d", e->metric_count);
    }
    const spade_metric_info *metric = explained_metric(&e->run, 0);
    if (metric->needs & SPADE_METRIC_NEEDS_TRACE) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                          "--metric %s: it is best for the dense network, which is not worth tuning for", metric->name);
    }
    for (int i = 0; i < e->method_count; i++) {
        if (!e->uncovered[i]) { continue; }
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--method: %s", e->uncovered[i]);
    }
    return SPADE_OK;
}

/* How traces are found: as the settings say, but for the sparsities. */
static spade_status open_levels(tune_job *job)
{
    const spade_settings *settings = job->request->settings;
    spade_trace_options options = settings->trace;
    job->rules = calloc((size_t)settings->rule_count + 1, sizeof *job->rules);
    if (!job->rules) { return fail_memory(job); }
    options.rules = job->rules;
    options.rule_count = 0;
    for (int i = 0; i < settings->rule_count; i++) { /* a rule has one field */
        if (!(settings->rules[i].set & SPADE_RULE_SPARSITY)) { job->rules[options.rule_count++] = settings->rules[i]; }
    }
    for (int i = 0; i < LEVELS; i++) {
        job->levels[i] = options;
        job->levels[i].sparsity = spade_sparsity_levels[i];
    }
    return spade_trace_check_options(job->context, job->evaluate.model, &job->levels[0]);
}

/* Which pictures are kept aside: drawn by the seed, whatever their order in the manifest says. */
static spade_status split(tune_job *job)
{
    const int count = job->evaluate.inputs.count;
    const uint64_t seed = job->request->settings->seed;
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    job->order = calloc((size_t)count + 1, sizeof *job->order);
    job->failed = calloc((size_t)count + 1, sizeof *job->failed);
    if (!job->order || !job->failed) { return fail_memory(job); }
    job->aside = (int)lround(job->request->aside * count);
    if (job->request->aside > 0 && !job->aside) { job->aside = 1; }
    job->tuned = count - job->aside;
    if (job->tuned < 1) {
        return spade_fail(
            job->context, SPADE_ERROR_INPUT,
            "%s: %d picture%s, of which %d are kept aside, leave none to tune on; give more, or --aside 0",
            job->request->manifest, count, count == 1 ? "" : "s", job->aside);
    }
    for (int i = 0; i < count; i++) { job->order[i] = i; }
    for (int i = count - 1; i > 0; i--) {
        const uint32_t counter[4] = {(uint32_t)i, 0, 0, 0x74756e65};
        uint32_t random[4];
        spade_philox(key, counter, random);
        const int other = (int)(spade_uniform(random[0], random[1]) * (i + 1)), moved = job->order[i];
        job->order[i] = job->order[other];
        job->order[other] = moved;
    }
    return SPADE_OK;
}

typedef struct content {
    char print[SPADE_FINGERPRINT_SIZE]; /* "": it cannot be read, which the work says */
    int input;
    bool aside;
} content;

static int by_print(const void *left, const void *right)
{
    return strcmp(((const content *)left)->print, ((const content *)right)->print);
}

/* Of one picture under several names, some may be tuned on and others kept aside, which then say too much. */
static spade_status warn_of_same_pictures(tune_job *job)
{
    const int count = job->evaluate.inputs.count;
    content *all = calloc((size_t)count + 1, sizeof *all);
    const content *first = NULL, *twin = NULL;
    int same = 0;
    if (!all) { return fail_memory(job); }
    for (int i = 0; i < count; i++) {
        spade_input_fingerprint print = {.content = ""};
        const spade_status status =
            spade_reader_fingerprint(&job->reader, &job->evaluate.inputs.items[job->order[i]], &print);
        if (status == SPADE_ERROR_MEMORY) {
            free(all);
            return status;
        }
        all[i].input = job->order[i];
        all[i].aside = i >= job->tuned;
        if (status == SPADE_OK) { memcpy(all[i].print, print.content, sizeof all[i].print); }
    }
    spade_error_clear(job->context);
    qsort(all, (size_t)count, sizeof *all, by_print);
    for (int i = 0, end; i < count; i = end) {
        const content *tuned = NULL;
        for (end = i; end < count && strcmp(all[end].print, all[i].print) == 0; end++) {
            if (!all[end].aside) { tuned = &all[end]; }
        }
        for (int k = i; k < end && tuned && *tuned->print; k++) {
            if (!all[k].aside || same++) { continue; }
            first = &all[k];
            twin = tuned;
        }
    }
    if (same) {
        const spade_input *inputs = job->evaluate.inputs.items;
        spade_log(
            job->context, SPADE_LOG_WARNING,
            "%s: %d of the %d pictures kept aside %s the same as one that is tuned on (%s is %s): what they say is "
            "not about other pictures; give each picture once",
            job->request->manifest, same, job->aside, same == 1 ? "is" : "are", inputs[first->input].title,
            inputs[twin->input].title);
    }
    free(all);
    return SPADE_OK;
}

static void warn_unused(const tune_job *job)
{
    const spade_settings *settings = job->request->settings;
    unread_options unread;
    unread_options_find(job->context, job->evaluate.model, &settings->trace, &unread);
    const spade_settings_use use = {.unread = unread.names,
                                    .trace = true,
                                    .draws = true,
                                    .pictures = true,
                                    .masks = true, /* what needs one and has none is refused */
                                    .methods = job->evaluate.methods,
                                    .method_count = job->evaluate.method_count,
                                    .metrics = job->evaluate.metrics,
                                    .metric_count = job->evaluate.metric_count};
    spade_settings_warn_unused(job->context, settings, &use);
    for (int i = 0; i < spade_key_count(); i++) {
        const spade_key *key = spade_key_at(i);
        bool given = settings->asked >> i & 1;
        if (key->rule != SPADE_RULE_SPARSITY) { continue; }
        for (int r = 0; r < settings->rule_count; r++) {
            given = given || settings->rules[r].set & SPADE_RULE_SPARSITY;
        }
        if (given) { spade_log(job->context, SPADE_LOG_WARNING, "sparsity has no effect: it is what is tuned"); }
    }
}

/* The folder that the configuration goes to, malloc'ed; NULL: out of memory. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
}

/* The columns of the evaluation behind the network's. */
static spade_status open_candidates(evaluate_job *job)
{
    for (int i = 0; i < LEVELS; i++) {
        evaluate_column *column = &job->columns[1 + i];
        column->place = i;
        if (asprintf(&column->name, "the trace of sparsity %g", spade_sparsity_levels[i]) >= 0) { continue; }
        column->name = NULL;
        return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
    }
    return SPADE_OK;
}

static spade_status job_open(tune_job *job)
{
    const spade_tune_request *request = job->request;
    SPADE_TRY(check_request(job));
    job->evaluated = (spade_evaluate_request){.model = request->model,
                                              .manifest = request->manifest,
                                              .mask = request->mask,
                                              .labels = request->labels,
                                              .traces = "",
                                              .settings = request->settings};
    job->evaluate = (evaluate_job){.context = job->context, .request = &job->evaluated, .outcome = job->outcome};
    job->evaluate.results.lock = job->evaluate.results.journal.file = -1;
    SPADE_TRY(evaluate_open(&job->evaluate));
    SPADE_TRY(open_candidates(&job->evaluate));
    SPADE_TRY(check_metric(job));
    SPADE_TRY(open_levels(job));
    SPADE_TRY(tune_stages_open(job->context, job->evaluate.model, &job->levels[0], request->stages, &job->stages,
                               &job->stage_count));
    SPADE_TRY(split(job));
    warn_unused(job);
    job->reader = (spade_reader){.context = job->context,
                                 .preprocess = &job->evaluate.preprocess,
                                 .mask = request->mask,
                                 .upright = request->settings->orient};
    SPADE_TRY(warn_of_same_pictures(job));
    char *folder = folder_of(request->output);
    if (!folder) { return fail_memory(job); }
    const spade_status status = solution_file_open(job->context, job->evaluate.model, folder,
                                                   (int64_t)job->tuned * job->seeds * LEVELS, &job->solutions);
    free(folder);
    return status;
}

static void job_close(tune_job *job)
{
    for (int i = 0; i < LEVELS; i++) { spade_trace_destroy(job->candidates[i]); }
    solution_file_close(&job->solutions);
    spade_reader_close(&job->reader);
    tune_stages_close(job->stages, job->stage_count);
    free(job->rules);
    free(job->order);
    free(job->failed);
    for (int i = 1; i <= LEVELS; i++) {
        free(job->evaluate.columns[i].name);
        job->evaluate.columns[i].name = NULL;
    }
    evaluate_close(&job->evaluate);
}

/* ---- what was found */

static json_t *stage_json(const tune_job *job, const tune_stage *stage)
{
    json_t *object = json_object(), *layers = json_array(), *values = json_array();
    for (int i = 0; i < stage->layer_count; i++) {
        spade_json_append(&layers, spade_json_text(job->evaluate.model->network.layers[stage->layers[i]].name));
    }
    for (int i = 0; stage->tried && i < TUNE_CHOICES; i++) {
        json_t *value = json_object();
        spade_json_set(&value, "sparsity", json_real(tune_sparsity(i)));
        spade_json_set(&value, "mean", spade_json_number(stage->values[i].mean));
        spade_json_set(&value, "changed", spade_json_number(stage->values[i].changed));
        spade_json_set(&value, "missing", json_integer(stage->values[i].missing));
        spade_json_append(&values, value);
    }
    spade_json_set(&object, "name", spade_json_text(stage->name));
    spade_json_set(&object, "layers", layers);
    spade_json_set(&object, "tried", values);
    spade_json_set(&object, "sparsity", json_real(tune_sparsity(stage->choice)));
    return object;
}

static json_t *summary_json(const tune_job *job, const tune_value *reached, json_t *aside)
{
    const evaluate_job *e = &job->evaluate;
    json_t *all = json_object(), *methods = json_array(), *stages = json_array(), *tuned = json_object();
    for (int i = 0; i < e->method_count; i++) { spade_json_append(&methods, spade_json_text(e->methods[i].label)); }
    for (int s = job->stage_count - 1; s >= 0; s--) { spade_json_append(&stages, stage_json(job, &job->stages[s])); }
    spade_json_set(&tuned, "pictures", json_integer(job->dense.count));
    spade_json_set(&tuned, "dense", json_real(job->dense.sum / (double)job->dense.count));
    spade_json_set(&tuned, "trace", spade_json_number(reached->mean));
    spade_json_set(&tuned, "changed", spade_json_number(reached->changed));
    spade_json_set(&all, "version", json_string(spade_version()));
    spade_json_set(&all, "model", spade_json_text(job->request->model));
    spade_json_set(&all, "metric", spade_json_text(e->metrics[0].label));
    const bool higher = explained_metric(&e->run, 0)->better == SPADE_METRIC_HIGHER;
    spade_json_set(&all, "better", json_string(higher ? "higher" : "lower"));
    spade_json_set(&all, "methods", methods);
    spade_json_set(&all, "seeds", json_integer(job->seeds));
    spade_json_set(&all, "tuned", tuned);
    if (aside) { spade_json_set(&all, "aside", json_incref(aside)); }
    spade_json_set(&all, "changed_limit", json_real(tune_changed_limit(job)));
    spade_json_set(&all, "stages", stages);
    spade_json_set(&all, "file", spade_json_text(job->request->output));
    return all;
}

/* What would mislead is not written. */
static spade_status check_found(const tune_job *job, const tune_value *reached, const json_t *aside)
{
    bool any = false;
    const double tuned = (double)job->dense.count, others = json_number_value(json_object_get(aside, "pictures"));
    const double changed = tuned * reached->changed + others * json_number_value(json_object_get(aside, "changed"));
    const double share = changed / (tuned + others);
    for (int s = 0; s < job->stage_count; s++) { any = any || job->stages[s].choice; }
    if (!any) {
        return spade_fail(
            job->context, SPADE_ERROR_INPUT,
            "no sparsity of any stage is better than the dense network on these pictures; %s is not written",
            job->request->output);
    }
    if (share <= job->request->max_changed) { return SPADE_OK; }
    return spade_fail(job->context, SPADE_ERROR_INPUT,
                      "%s is not written: the traces change the class of %.0f %% of all pictures (--max-changed allows "
                      "%.0f %%); more variants, seeds or pictures help",
                      job->request->output, 100 * share, 100 * job->request->max_changed);
}

spade_status spade_tune(spade_context *context, const spade_tune_request *request, const spade_workload_events *events,
                        spade_workload_outcome *outcome, json_t **summary)
{
    static const double solving = 0.3, tried = 0.95; /* shares of the time: a guess */
    tune_job job = {.context = context,
                    .request = request,
                    .events = events,
                    .outcome = outcome,
                    .seeds = request->seeds,
                    .solutions = {.descriptor = -1},
                    .start = spade_now()};
    tune_value reached = {0};
    json_t *aside = NULL;
    spade_status status;
    *outcome = (spade_workload_outcome){0};
    *summary = NULL;
    SPADE_GOTO(job_open(&job));
    SPADE_GOTO(tune_solve(&job, solving));
    if (!outcome->stopped) { SPADE_GOTO(tune_search(&job, &reached, solving, tried)); }
    if (!outcome->stopped) { SPADE_GOTO(tune_compare(&job, tried, &aside)); }
    if (outcome->stopped) { goto done; }
    outcome->done = job.tuned + job.aside - outcome->failed;
    *summary = summary_json(&job, &reached, aside);
    if (!*summary) { SPADE_GOTO(fail_memory(&job)); }
    SPADE_GOTO(check_found(&job, &reached, aside));
    status = tune_write_config(&job, *summary);
done:
    json_decref(aside);
    job_close(&job);
    return status;
}
