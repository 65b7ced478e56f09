/*
 * tune.c - the tune workload: sparsities of stages that maximise a metric of methods' maps. Source: SPADE (ICML 2024), appendix;
 * greedy, one stage at a time from the output to the input.
 *
 * Of every picture and seed of variants the layers are solved once, at every sparsity, and kept in a file; a candidate is composed of
 * them. So trying one costs its maps and their metric.
 */
#include <math.h>

#include "base/base.h"
#include "report/statistics.h"
#include "trace/solution_file.h"
#include "workload/trace_input.h"
#include "workload/tune.h"

enum { LEVELS = SPADE_SPARSITY_LEVELS };

/* What the pictures of one kind came to on a network. */
typedef struct tally {
    double sum;
    int64_t count, changed;
} tally;

typedef struct tune_job {
    spade_context *context;
    const spade_tune_request *request;
    const spade_workload_events *events;
    spade_workload_outcome *outcome;
    spade_evaluate_request evaluated; /* what the evaluation is asked for: all but traces */
    evaluate_job evaluate; /* methods, metric, pictures and labels; its columns are the network and candidates */
    tune_stage *stages;
    int stage_count;
    spade_trace_options levels[LEVELS];
    spade_layer_rule *rules; /* the settings', without sparsities */
    int *order;              /* [pictures]: first those that are tuned on, then those that are kept aside */
    bool *failed;            /* [pictures]: it could not be used */
    int tuned, aside, seeds;
    solution_file solutions; /* of trace ((place in order) * seeds + seed) * LEVELS + level */
    spade_trace *candidates[LEVELS];
    tally dense; /* over what is tuned on */
    double start;
    spade_reader reader;
    bool announced;
} tune_job;

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

static void warn_unused(const tune_job *job)
{
    const spade_settings *settings = job->request->settings;
    const spade_settings_use use = {.trace = true,
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
    for (int i = 1; i <= LEVELS; i++) { job->evaluate.columns[i].place = i - 1; } /* the candidates' */
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
    evaluate_close(&job->evaluate);
}

/* ---- one picture */

static bool should_stop(const tune_job *job)
{
    const spade_workload_events *events = job->events;
    if (!events || !events->stop || !events->stop(events->user)) { return false; }
    job->outcome->stopped = true;
    return true;
}

/* A picture that cannot be used is said so, once, and left out from now on. */
static spade_status blame(tune_job *job, int input, spade_status status)
{
    char message[SPADE_MESSAGE_BYTES];
    if (status != SPADE_ERROR_INPUT && status != SPADE_ERROR_NUMERICAL) { return status; }
    const char *title = job->evaluate.inputs.items[input].title;
    if (!strstr(spade_message(job->context), title)) { spade_fail_in(job->context, status, "%s", title); }
    snprintf(message, sizeof message, "%s", spade_message(job->context));
    spade_error_clear(job->context);
    job->failed[input] = true;
    job->outcome->failed++;
    if (job->events && job->events->failed) { job->events->failed(job->events->user, message); }
    return SPADE_OK;
}

static spade_status load(tune_job *job, int input, spade_image_item *item)
{
    spade_status loaded = SPADE_OK;
    char *message = NULL;
    *item = (spade_image_item){0};
    spade_status status =
        spade_reader_load(&job->reader, &job->evaluate.inputs.items[input], 1, item, &loaded, &message);
    if (status == SPADE_OK && loaded != SPADE_OK) {
        status = spade_fail(job->context, loaded, "%s", message ? message : "out of memory");
    }
    free(message);
    return status;
}

static spade_status make_batch(const tune_job *job, const spade_image_item *item, int seed, spade_batch **out)
{
    spade_augment_options augment = job->request->settings->augment;
    augment.seed += (uint64_t)seed;
    return spade_image_item_batch(job->context, item, &job->evaluate.preprocess, &augment, out);
}

/* The mean over the methods of the metric of their maps on a network. NaN: a method has none. */
static double value_of(const tune_job *job, const evaluated_input *state, int column)
{
    const evaluate_job *e = &job->evaluate;
    double sum = 0;
    for (int method = 0; method < e->method_count; method++) {
        sum += state->values[method * e->column_count + column]; /* of one metric */
    }
    return sum / e->method_count;
}

/*
 * Maps and metric of one picture, on the network and on traces [count]: values, [count + 1], and whether each changed the class.
 * from..to: its share of the job.
 */
static spade_status measure(tune_job *job, int input, const spade_image_item *image, spade_trace *const *traces,
                            int count, double *values, bool *changed)
{
    evaluate_job *e = &job->evaluate;
    evaluated_input state = {0};
    const workload_item item = {.input = &e->inputs.items[input], .image = image, .traces = traces};
    spade_status status;
    e->column_count = count + 1;
    SPADE_GOTO(evaluate_dense(e, &item, &state));
    SPADE_GOTO(evaluate_process(e, &item, &state));
    for (int column = 0; column <= count; column++) {
        values[column] = value_of(job, &state, column);
        changed[column] = state.top[column] != state.top[0];
    }
done:
    evaluate_clear(&state);
    return status;
}

/* ---- solving */

static int64_t solution_of(const tune_job *job, int place, int seed, int level)
{
    return ((int64_t)place * job->seeds + seed) * LEVELS + level;
}

static spade_status solve_seed(tune_job *job, int place, int seed, const spade_image_item *item)
{
    spade_trace *traces[LEVELS];
    spade_batch *batch = NULL;
    spade_status status = make_batch(job, item, seed, &batch);
    if (status == SPADE_OK) {
        status = spade_trace_create_many(job->context, job->evaluate.model, (const spade_batch *[]){batch}, 1,
                                         job->levels, LEVELS, traces);
    }
    spade_batch_destroy(batch);
    SPADE_TRY(status);
    for (int i = 0; i < LEVELS; i++) {
        if (status == SPADE_OK) {
            status = solution_file_write(&job->solutions, solution_of(job, place, seed, i), traces[i]);
        }
        spade_trace_destroy(traces[i]);
    }
    return status;
}

/* The network's own maps, without which a picture is of no use, and the layers at every sparsity. */
static spade_status solve_picture(tune_job *job, int place)
{
    const int input = job->order[place];
    spade_image_item item;
    double value;
    bool changed;
    spade_status status;
    SPADE_GOTO(load(job, input, &item));
    SPADE_GOTO(measure(job, input, &item, NULL, 0, &value, &changed));
    if (isnan(value)) { SPADE_GOTO(spade_fail(job->context, SPADE_ERROR_INPUT, "the metric has no value of it")); }
    for (int seed = 0; seed < job->seeds; seed++) { SPADE_GOTO(solve_seed(job, place, seed, &item)); }
    job->dense.sum += value;
    job->dense.count++;
done:
    spade_image_item_clear(job->context, &item);
    return status;
}

static spade_status solve_pictures(tune_job *job, double share)
{
    for (int place = 0; place < job->tuned && !should_stop(job); place++) {
        spade_workload_phase(job->events, "solve", share * place / job->tuned, share * (place + 1) / job->tuned);
        SPADE_TRY(blame(job, job->order[place], solve_picture(job, place)));
    }
    if (job->outcome->stopped || job->dense.count) { return SPADE_OK; }
    return spade_fail(job->context, SPADE_ERROR_INPUT, "%s: none of the pictures to tune on can be used",
                      job->request->manifest);
}

/* ---- candidates */

static spade_status put_stage(tune_job *job, const tune_stage *stage, int place, int seed, int choice,
                              spade_trace *into)
{
    for (int i = 0; i < stage->layer_count; i++) {
        SPADE_TRY(
            solution_file_read(&job->solutions, solution_of(job, place, seed, choice - 1), stage->layers[i], into));
    }
    return SPADE_OK;
}

/* Candidates of a picture and seed: of the stages behind, what was chosen; of this one every sparsity. */
static spade_status compose(tune_job *job, int at, int place, int seed)
{
    for (int level = 0; level < LEVELS; level++) {
        spade_trace *trace = NULL;
        spade_trace_destroy(job->candidates[level]);
        job->candidates[level] = NULL;
        SPADE_TRY(spade_trace_create_empty(job->context, job->evaluate.model, &trace));
        job->candidates[level] = trace;
        for (int s = at + 1; s < job->stage_count; s++) {
            const tune_stage *behind = &job->stages[s];
            if (behind->choice) { SPADE_TRY(put_stage(job, behind, place, seed, behind->choice, trace)); }
        }
        SPADE_TRY(put_stage(job, &job->stages[at], place, seed, level + 1, trace));
    }
    return SPADE_OK;
}

static spade_status try_picture(tune_job *job, int at, int place, tally *tallies)
{
    const int input = job->order[place];
    spade_image_item item;
    spade_status status;
    SPADE_GOTO(load(job, input, &item));
    for (int seed = 0; seed < job->seeds; seed++) {
        double values[TUNE_CHOICES];
        bool changed[TUNE_CHOICES];
        SPADE_GOTO(compose(job, at, place, seed));
        SPADE_GOTO(measure(job, input, &item, job->candidates, LEVELS, values, changed));
        for (int i = 0; i < LEVELS; i++) {
            tallies[i].sum += values[i + 1];
            tallies[i].count++;
            tallies[i].changed += changed[i + 1];
        }
    }
done:
    spade_image_item_clear(job->context, &item);
    return status;
}

/* After the first picture of the first stage: what the rest will take, if no stage is left out. */
static void announce(tune_job *job, double solved, double tried)
{
    const double seconds =
        (tried - solved) * job->tuned * job->stage_count + (solved - job->start) / job->tuned * job->aside;
    if (job->announced) { return; }
    job->announced = true;
    spade_workload_note(job->events, "%d stages, %d pictures, %d seed%s: about %.0f %s more at most", job->stage_count,
                        job->tuned, job->seeds, job->seeds == 1 ? "" : "s", seconds < 90 ? seconds : seconds / 60,
                        seconds < 90 ? "s" : "min");
}

/* The best of the stage's choices, by `current`: what the stages behind it have reached. On the pictures that are tuned on no more
 * than half of the classes that may change do: of many candidates the best one's share is too low, and on others it is higher. */
static void choose(const tune_job *job, tune_stage *stage, const tune_value *current, bool higher)
{
    stage->values[0] = *current;
    for (int i = 1; i < TUNE_CHOICES; i++) {
        const tune_value *value = &stage->values[i];
        const double best = stage->values[stage->choice].mean;
        if (value->changed <= job->request->max_changed / 2 && (higher ? value->mean > best : value->mean < best)) {
            stage->choice = i;
        }
    }
}

static spade_status try_stage(tune_job *job, int at, tune_value *current, double from, double to)
{
    tune_stage *stage = &job->stages[at];
    tally tallies[LEVELS] = {{0}};
    const double solved = spade_now();
    for (int place = 0; place < job->tuned; place++) {
        if (should_stop(job)) { return SPADE_OK; }
        spade_workload_phase(job->events, stage->name, from + (to - from) * place / job->tuned, to);
        if (job->failed[job->order[place]]) { continue; }
        SPADE_TRY(try_picture(job, at, place, tallies));
        announce(job, solved, spade_now());
    }
    for (int i = 0; i < LEVELS; i++) {
        stage->values[i + 1] = (tune_value){.mean = tallies[i].sum / (double)tallies[i].count,
                                            .changed = (double)tallies[i].changed / (double)tallies[i].count};
    }
    stage->tried = true;
    choose(job, stage, current, explained_metric(&job->evaluate.run, 0)->better == SPADE_METRIC_HIGHER);
    *current = stage->values[stage->choice];
    return SPADE_OK;
}

/* From the output to the input, until so many stages in a row gain nothing. */
static spade_status search(tune_job *job, tune_value *current, double from, double to)
{
    int idle = 0;
    *current = (tune_value){.mean = job->dense.sum / (double)job->dense.count};
    for (int done = 0; done < job->stage_count && !job->outcome->stopped; done++) {
        const int at = job->stage_count - 1 - done;
        const double step = (to - from) / job->stage_count;
        SPADE_TRY(try_stage(job, at, current, from + step * done, from + step * (done + 1)));
        idle = job->stages[at].choice ? 0 : idle + 1;
        if (job->request->patience && idle >= job->request->patience) { break; }
    }
    return SPADE_OK;
}

/* ---- pictures that were kept aside */

typedef struct comparison {
    double *dense, *trace; /* [aside] */
    int64_t count, changed;
} comparison;

/* The rules that the configuration will have. */
static spade_status make_rules(const tune_job *job, spade_trace_options *options, spade_layer_rule **out)
{
    const spade_network *network = &job->evaluate.model->network;
    int count = options->rule_count;
    spade_layer_rule *rules = *out = calloc((size_t)(count + network->layer_count) + 1, sizeof *rules);
    if (!rules) { return fail_memory(job); }
    if (count) { memcpy(rules, options->rules, (size_t)count * sizeof *rules); }
    for (int s = 0; s < job->stage_count; s++) {
        const tune_stage *stage = &job->stages[s];
        for (int i = 0; stage->choice && i < stage->layer_count; i++) {
            rules[count++] = (spade_layer_rule){.layers = network->layers[stage->layers[i]].name,
                                                .set = SPADE_RULE_SPARSITY,
                                                .sparsity = tune_sparsity(stage->choice)};
        }
    }
    options->rules = rules;
    options->rule_count = count;
    options->sparsity = 0;
    return SPADE_OK;
}

static spade_status compare_picture(tune_job *job, int input, const spade_trace_options *options, comparison *out)
{
    spade_image_item item;
    spade_batch *batch = NULL;
    spade_trace *trace = NULL;
    double values[2];
    bool changed[2];
    spade_status status;
    SPADE_GOTO(load(job, input, &item));
    SPADE_GOTO(make_batch(job, &item, 0, &batch));
    SPADE_GOTO(spade_trace_create(job->context, job->evaluate.model, batch, options, &trace));
    SPADE_GOTO(measure(job, input, &item, &trace, 1, values, changed));
    if (isnan(values[0]) || isnan(values[1])) {
        SPADE_GOTO(spade_fail(job->context, SPADE_ERROR_INPUT, "the metric has no value of it"));
    }
    out->dense[out->count] = values[0];
    out->trace[out->count++] = values[1];
    out->changed += changed[1];
done:
    spade_trace_destroy(trace);
    spade_batch_destroy(batch);
    spade_image_item_clear(job->context, &item);
    return status;
}

static json_t *comparison_json(const tune_job *job, const comparison *c, double *scratch)
{
    const bool higher = explained_metric(&job->evaluate.run, 0)->better == SPADE_METRIC_HIGHER;
    const sample_statistics dense = describe_sample(c->dense, c->count), trace = describe_sample(c->trace, c->count);
    const pair_statistics pairs =
        compare_pairs(c->dense, c->trace, c->count, higher, job->request->settings->seed, scratch, scratch + c->count);
    json_t *object = json_object();
    spade_json_set(&object, "pictures", json_integer(c->count));
    spade_json_set(&object, "dense", spade_json_number(dense.mean));
    spade_json_set(&object, "dense_error", spade_json_number(dense.error));
    spade_json_set(&object, "trace", spade_json_number(trace.mean));
    spade_json_set(&object, "trace_error", spade_json_number(trace.error));
    spade_json_set(&object, "difference", spade_json_number(pairs.difference));
    spade_json_set(&object, "low", spade_json_number(pairs.low));
    spade_json_set(&object, "high", spade_json_number(pairs.high));
    spade_json_set(&object, "better", spade_json_number(pairs.better));
    spade_json_set(&object, "changed", json_real((double)c->changed / (double)c->count));
    return object;
}

/* *out: NULL where none were kept aside, or none can be used. */
static spade_status compare_aside(tune_job *job, double from, json_t **out)
{
    comparison c = {0};
    spade_trace_options options = job->levels[0];
    spade_layer_rule *rules = NULL;
    spade_status status = SPADE_OK;
    double *scratch = calloc((size_t)job->aside + BOOTSTRAP_SAMPLES + 1, sizeof *scratch);
    c.dense = calloc((size_t)job->aside + 1, sizeof *c.dense);
    c.trace = calloc((size_t)job->aside + 1, sizeof *c.trace);
    if (!c.dense || !c.trace || !scratch) { SPADE_GOTO(fail_memory(job)); }
    SPADE_GOTO(make_rules(job, &options, &rules));
    for (int i = 0; i < job->aside && !should_stop(job); i++) {
        const int input = job->order[job->tuned + i];
        spade_workload_phase(job->events, "kept aside", from + (1 - from) * i / job->aside, 1);
        SPADE_GOTO(blame(job, input, compare_picture(job, input, &options, &c)));
    }
    if (c.count && !job->outcome->stopped) {
        *out = comparison_json(job, &c, scratch);
        if (!*out) { status = fail_memory(job); }
    }
done:
    free(rules);
    free(scratch);
    free(c.dense);
    free(c.trace);
    return status;
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
    SPADE_GOTO(solve_pictures(&job, solving));
    if (!outcome->stopped) { SPADE_GOTO(search(&job, &reached, solving, tried)); }
    if (!outcome->stopped) { SPADE_GOTO(compare_aside(&job, tried, &aside)); }
    if (outcome->stopped) { goto done; }
    outcome->done = job.tuned + job.aside - outcome->failed;
    *summary = summary_json(&job, &reached, aside);
    if (!*summary) { SPADE_GOTO(fail_memory(&job)); }
    SPADE_GOTO(check_found(&job, &reached, aside));
    status = tune_write_config(context, request->output, request->settings, job.evaluate.model, job.stages,
                               job.stage_count, *summary);
done:
    json_decref(aside);
    job_close(&job);
    return status;
}
