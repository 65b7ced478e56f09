/* tune_search.c - sparsities of stages, one stage at a time from the output to the input, each picture's layers solved once. */
#include <math.h>

#include "base/base.h"
#include "workload/tune.h"

enum { LEVELS = SPADE_SPARSITY_LEVELS };

/* ---- solving */

static int64_t solution_of(const tune_job *job, int place, int seed, int level)
{
    return ((int64_t)place * job->seeds + seed) * LEVELS + level;
}

static spade_status solve_seed(tune_job *job, int place, int seed, const spade_image_item *item)
{
    spade_trace *traces[LEVELS];
    spade_batch *batch = NULL;
    spade_status status = tune_batch(job, item, seed, &batch);
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
    SPADE_GOTO(tune_load(job, input, &item));
    SPADE_GOTO(tune_measure(job, input, &item, NULL, 0, &value, &changed));
    if (isnan(value)) { SPADE_GOTO(spade_fail(job->context, SPADE_ERROR_INPUT, "the metric has no value of it")); }
    for (int seed = 0; seed < job->seeds; seed++) { SPADE_GOTO(solve_seed(job, place, seed, &item)); }
    job->dense.sum += value;
    job->dense.count++;
done:
    spade_image_item_clear(job->context, &item);
    return status;
}

spade_status tune_solve(tune_job *job, double share)
{
    for (int place = 0; place < job->tuned && !tune_stopped(job); place++) {
        spade_workload_phase(job->events, "solve", share * place / job->tuned, share * (place + 1) / job->tuned);
        SPADE_TRY(tune_fail_picture(job, job->order[place], solve_picture(job, place)));
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

static spade_status try_picture(tune_job *job, int at, int place, tune_tally *tallies)
{
    const int input = job->order[place];
    spade_image_item item;
    spade_status status;
    SPADE_GOTO(tune_load(job, input, &item));
    for (int seed = 0; seed < job->seeds; seed++) {
        double values[TUNE_CHOICES];
        bool changed[TUNE_CHOICES];
        SPADE_GOTO(compose(job, at, place, seed));
        SPADE_GOTO(tune_measure(job, input, &item, job->candidates, LEVELS, values, changed));
        for (int i = 0; i < LEVELS; i++) {
            tallies[i].sum += values[i + 1]; /* NaN from the first that is missing on */
            tallies[i].count++;
            tallies[i].missing += isnan(values[i + 1]);
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

/* The best of the stage's choices, by `current`: what the stages behind it have reached. */
static void choose(const tune_job *job, tune_stage *stage, const tune_value *current, bool higher)
{
    stage->values[0] = *current;
    for (int i = 1; i < TUNE_CHOICES; i++) {
        const tune_value *value = &stage->values[i];
        const double best = stage->values[stage->choice].mean;
        if (value->changed <= tune_changed_limit(job) && (higher ? value->mean > best : value->mean < best)) {
            stage->choice = i;
        }
    }
}

static spade_status try_stage(tune_job *job, int at, tune_value *current, double from, double to)
{
    tune_stage *stage = &job->stages[at];
    tune_tally tallies[LEVELS] = {{0}};
    const double solved = spade_now();
    for (int place = 0; place < job->tuned; place++) {
        if (tune_stopped(job)) { return SPADE_OK; }
        spade_workload_phase(job->events, stage->name, from + (to - from) * place / job->tuned, to);
        if (job->failed[job->order[place]]) { continue; }
        const spade_status status = try_picture(job, at, place, tallies);
        if (status != SPADE_OK) {
            return spade_fail_in(job->context, status, "%s", job->evaluate.inputs.items[job->order[place]].title);
        }
        announce(job, solved, spade_now());
    }
    for (int i = 0; i < LEVELS; i++) {
        stage->values[i + 1] = (tune_value){.mean = tallies[i].sum / (double)tallies[i].count,
                                            .changed = (double)tallies[i].changed / (double)tallies[i].count,
                                            .missing = tallies[i].missing};
    }
    stage->tried = true;
    choose(job, stage, current, explained_metric(&job->evaluate.run, 0)->better == SPADE_METRIC_HIGHER);
    *current = stage->values[stage->choice];
    return SPADE_OK;
}

/* From the output to the input, until so many stages in a row gain nothing. */
spade_status tune_search(tune_job *job, tune_value *current, double from, double to)
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
