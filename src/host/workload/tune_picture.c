/* tune_picture.c - one picture of the tune workload: read, its variants, its maps and what they are worth. */
#include "base/base.h"
#include "workload/tune.h"

bool tune_stopped(const tune_job *job)
{
    const spade_workload_events *events = job->events;
    if (!events || !events->stop || !events->stop(events->user)) { return false; }
    job->outcome->stopped = true;
    return true;
}

spade_status tune_fail_picture(tune_job *job, int input, spade_status status)
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

spade_status tune_load(tune_job *job, int input, spade_image_item *item)
{
    return spade_reader_load_one(&job->reader, &job->evaluate.inputs.items[input], item);
}

spade_status tune_batch(const tune_job *job, const spade_image_item *item, int seed, spade_batch **out)
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

spade_status tune_measure(tune_job *job, int input, const spade_image_item *image, spade_trace *const *traces,
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
