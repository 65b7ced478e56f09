/*
 * explain_group.c - what the dense network says of several inputs at once, on a device that a single one does not keep busy:
 * their scores, and maps of the methods that take several pictures in a pass. What is not made here is made input by input.
 *
 *   the group's block: | notes [methods, count, targets] | inputs [padded, size] | outputs [padded, outputs] | of each method
 * that takes several pictures: maps [count, targets, size of a map] |
 *
 * padded: whole micro-batches, filled up with the last picture, so that one plan serves every group.
 */
#include <math.h>
#include <string.h>

#include "network/network.h"
#include "workload/explain.h"
#include "workload/method_walk.h"

void explain_group_clear(void *user)
{
    explain_job *job = user;
    explain_group *group = &job->group;
    spade_free_bytes(job->context, group->memory, group->bytes);
    free(group->made);
    *group = (explain_group){0};
}

static size_t input_size(const explain_job *job)
{
    const spade_preprocess *input = &job->preprocess;
    return (size_t)(input->channels * input->height * input->width);
}

static size_t pad(int count)
{
    return ((size_t)count + SPADE_MICRO_BATCH - 1) / SPADE_MICRO_BATCH * SPADE_MICRO_BATCH;
}

/* Of the maps of one picture; 0: the method takes one picture at a time. */
static size_t map_numbers(const explain_job *job, int method)
{
    const spade_attribution *attribution = job->methods[method].attribution;
    int64_t shape[3];
    if (!job->request->dense || !spade_attribution_takes_pictures(attribution) ||
        spade_attribution_map_shape(job->context, job->model, attribution, shape) != SPADE_OK) {
        return 0;
    }
    return (size_t)(job->target_count * shape[0] * shape[1] * shape[2]);
}

size_t explain_group_bytes(const explain_job *job)
{
    size_t floats = 0;
    for (int m = 0; m < job->method_count; m++) { floats += map_numbers(job, m); }
    return sizeof(float) * (floats + input_size(job));
}

static spade_status open_group(explain_job *job, const workload_item *items, int count, bool maps)
{
    explain_group *group = &job->group;
    const size_t padded = pad(count), size = input_size(job), inputs = (size_t)count;
    const size_t notes = maps ? (size_t)job->method_count * inputs * (size_t)job->target_count : 0;
    size_t floats = padded * (size + (size_t)spade_model_outputs(job->model));
    explain_group_clear(job);
    for (int m = 0; maps && m < job->method_count; m++) { floats += inputs * map_numbers(job, m); }
    group->bytes = sizeof *group->notes * notes + sizeof(float) * floats;
    spade_status status = spade_alloc(job->context, group->bytes, "several inputs and their maps", &group->memory);
    group->made = calloc((size_t)job->method_count + 1, sizeof *group->made);
    if (status == SPADE_OK && !group->made) { status = spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    if (status != SPADE_OK) { return status; }
    group->notes = group->memory;
    group->pictures = (float *)(group->notes + notes);
    group->outputs = group->pictures + padded * size;
    for (size_t i = 0; i < notes; i++) { group->notes[i] = (spade_map_note){NAN, NAN}; }
    for (size_t i = 0; i < padded; i++) {
        const workload_item *item = &items[i < inputs ? i : inputs - 1];
        memcpy(group->pictures + i * size, item->image->input, sizeof(float) * size);
    }
    for (int i = 0; i < count; i++) { group->inputs[i] = items[i].input; }
    group->count = count;
    return SPADE_OK;
}

/* What is wrong with an input is found when each is worked on alone. */
static spade_status drop_failed(explain_job *job, spade_status status)
{
    if (status == SPADE_OK) { return SPADE_OK; }
    explain_group_clear(job);
    return status == SPADE_ERROR_NUMERICAL || status == SPADE_ERROR_INPUT ? SPADE_OK : status;
}

/* The input's place in the group; -1: it is not there. */
static int find(const explain_group *group, const workload_item *item)
{
    for (int i = 0; i < group->count; i++) {
        if (group->inputs[i] == item->input) { return i; }
    }
    return -1;
}

/* ---- scores */

spade_status explain_group_scores(void *user, const workload_item *items, void *const *states, int count)
{
    explain_job *job = user;
    (void)states;
    spade_status status = open_group(job, items, count, false);
    if (status == SPADE_OK) {
        status = spade_model_forward(job->context, job->model, NULL, job->group.pictures, (int64_t)pad(count),
                                     job->group.outputs);
    }
    return drop_failed(job, status);
}

const float *explain_group_output(const explain_job *job, const workload_item *item)
{
    const int input = find(&job->group, item);
    return input < 0 ? NULL : job->group.outputs + (int64_t)input * spade_model_outputs(job->model);
}

/* ---- maps */

/* Those of the method: [count, targets, size of a map]. */
static float *maps_of(const explain_job *job, int method)
{
    const explain_group *group = &job->group;
    float *maps = group->outputs + pad(group->count) * (size_t)spade_model_outputs(job->model);
    for (int m = 0; m < method; m++) { maps += (size_t)group->count * map_numbers(job, m); }
    return maps;
}

static spade_map_note *notes_of(const explain_job *job, int method)
{
    return job->group.notes + (ptrdiff_t)method * job->group.count * job->target_count;
}

/* The maps of a method and of those that share its walk. */
static spade_status make_maps(explain_job *job, int method, const spade_target *targets)
{
    explain_group *group = &job->group;
    const spade_attribution *attributions[SPADE_MAX_TOGETHER];
    float *maps[SPADE_MAX_TOGETHER];
    int members[SPADE_MAX_TOGETHER];
    const int count = method_walk_take(job->methods, job->method_count, method, group->made, members);
    for (int i = 0; i < count; i++) {
        attributions[i] = job->methods[members[i]].attribution;
        maps[i] = maps_of(job, members[i]);
    }
    /* methods that share a walk have no notes */
    return spade_attribute_pictures(job->context, job->model, attributions, count, group->pictures, group->count,
                                    targets, job->target_count, maps, count == 1 ? notes_of(job, method) : NULL);
}

spade_status explain_group_maps(void *user, const workload_item *items, void *const *states, int count)
{
    explain_job *job = user;
    const double start = spade_now();
    spade_target *targets = calloc((size_t)count * SPADE_MAX_CLASSES, sizeof *targets);
    spade_status status = SPADE_OK;
    if (!targets) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    SPADE_GOTO(open_group(job, items, count, true));
    for (int i = 0; i < count; i++) {
        SPADE_GOTO(explain_targets(job, states[i], targets + (ptrdiff_t)i * job->target_count));
    }
    for (int m = 0; m < job->method_count; m++) {
        if (!job->group.made[m] && map_numbers(job, m)) { SPADE_GOTO(make_maps(job, m, targets)); }
    }
    job->group.seconds = (spade_now() - start) / count;
done:
    free(targets);
    return drop_failed(job, status);
}

bool explain_group_take(const explain_job *job, const workload_item *item, int method, float *maps,
                        spade_map_note *notes)
{
    const explain_group *group = &job->group;
    const int input = find(group, item), n = job->target_count;
    if (input < 0 || !group->made[method]) { return false; }
    const size_t numbers = map_numbers(job, method);
    memcpy(maps, maps_of(job, method) + (size_t)input * numbers, sizeof *maps * numbers);
    memcpy(notes, notes_of(job, method) + (ptrdiff_t)input * n, sizeof *notes * (size_t)n);
    return true;
}

double explain_group_seconds(const explain_job *job, const workload_item *item)
{
    return find(&job->group, item) < 0 ? 0 : job->group.seconds;
}
