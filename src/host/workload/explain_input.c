/* explain_input.c - one input: scores, trace, and its folder. Its maps: explain_map.c. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "workload/explain.h"
#include "workload/map_picture.h"

/* ---- scores */
static spade_status run_forward(explain_job *job, const workload_item *item, int network, explained_input *out)
{
    const size_t bytes = sizeof(float) * (size_t)spade_model_outputs(job->model);
    const float *known = network == DENSE ? explain_group_output(job, item) : NULL;
    float *output = malloc(bytes);
    spade_status status = SPADE_OK;
    if (!output) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    if (known) {
        memcpy(output, known, bytes);
    } else {
        status = spade_model_forward(job->context, job->model, network == TRACE ? item->traces[0] : NULL,
                                     item->image->input, 1, output);
    }
    if (status == SPADE_OK) {
        double *logits = out->logits + network * job->class_count;
        spade_model_scores(job->model, output, logits, out->scores + network * job->class_count);
        for (int64_t i = 0; i < job->class_count && status == SPADE_OK; i++) {
            if (!isfinite(logits[i])) {
                status = spade_fail(job->context, SPADE_ERROR_NUMERICAL, "%s: the %s network's output is not finite",
                                    out->title, explained_networks[network]);
            }
            if (logits[i] > logits[out->top[network]]) { out->top[network] = i; }
        }
        out->ran[network] = true;
    }
    free(output);
    return status;
}

/* ---- trace */

/* Zeros and seconds. Traces that are found together take their time together: then this one's own solving time is the
 * sum over its layers. */
static spade_status describe_trace(explain_job *job, const spade_trace *trace, bool shared, explained_input *out)
{
    double solve = 0;
    spade_trace_seconds(trace, out->trace_seconds);
    out->chosen = spade_trace_sparsity_choice(trace, &out->choice);
    for (int i = 0; i < spade_model_layer_count(job->model); i++) {
        spade_trace_layer layer;
        spade_layer_info info;
        spade_trace_layer_info(trace, i, &layer);
        if (!layer.solved) { continue; }
        out->zeros += layer.zeros;
        out->weights += layer.weights;
        if (!layer.resumed) { solve += layer.seconds; }
        if (layer.zeros < layer.weights || out->empty_layers++) { continue; }
        spade_model_layer(job->model, i, &info);
        out->empty_layer = strdup(info.name);
        if (!out->empty_layer) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    }
    if (shared) { out->trace_seconds[2] = solve; }
    if (out->empty_layers) {
        spade_log(job->context, SPADE_LOG_WARNING, "%s: all weights are 0 in %lld layer%s of the trace (%s%s)",
                  out->title, (long long)out->empty_layers, out->empty_layers == 1 ? "" : "s", out->empty_layer,
                  out->empty_layers == 1 ? "" : ", ...");
    }
    return SPADE_OK;
}

/* ---- the steps */

/* The picture, and with a mask what of it lies inside: the rest is dark. */
static spade_status save_input(explain_job *job, const spade_image_item *image, explained_input *out)
{
    enum { DARKER = 5 };
    const spade_picture *preview = &image->preview;
    spade_picture inside = *preview;
    SPADE_TRY(explain_join(job->context, out->name, "input.png", &out->picture));
    SPADE_TRY(map_picture_save(&job->run, preview, out->picture));
    if (!image->mask) { return SPADE_OK; }
    SPADE_TRY(explain_join(job->context, out->name, "mask.png", &out->mask_picture));
    const int64_t pixels = preview->height * preview->width;
    inside.rgb = malloc((size_t)pixels * 3);
    if (!inside.rgb) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int64_t i = 0; i < 3 * pixels; i++) {
        inside.rgb[i] = image->mask[i / 3] ? preview->rgb[i] : (uint8_t)(preview->rgb[i] / DARKER);
    }
    spade_status status = map_picture_save(&job->run, &inside, out->mask_picture);
    free(inside.rgb);
    return status;
}

/* Remove what was written of an input that failed: its files would be taken for results. made: folders that are new. */
static void remove_files(const explain_job *job, const explained_input *explained, const char *folder, int made)
{
    map_picture_remove(&job->run, explained->picture);
    map_picture_remove(&job->run, explained->mask_picture);
    for (int i = 0; i < explained->pair_count; i++) {
        for (int network = 0; network < NETWORKS; network++) {
            map_picture_remove(&job->run, explained->pairs[i].maps[network].array);
            map_picture_remove(&job->run, explained->pairs[i].maps[network].heatmap);
        }
    }
    spade_remove_folders(folder, made);
}

spade_status explain_dense(void *user, const workload_item *item, void *state)
{
    explain_job *job = user;
    explained_input *out = state;
    const spade_input *input = item->input;
    *out = (explained_input){.file = input->file,
                             .name = input->name ? input->name : input->stem,
                             .title = input->title,
                             .index = input->index,
                             .class_count = job->class_count};
    memcpy(out->content, item->image->fingerprint.content, sizeof out->content);
    memcpy(out->mask, item->image->fingerprint.mask, sizeof out->mask);
    out->logits = calloc((size_t)job->class_count * NETWORKS, sizeof *out->logits);
    out->scores = calloc((size_t)job->class_count * NETWORKS, sizeof *out->scores);
    if (!out->logits || !out->scores) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    SPADE_TRY(run_forward(job, item, DENSE, out));
    spade_target
        targets[SPADE_MAX_CLASSES]; /* what cannot be explained of this picture is said before its trace is found */
    return explain_targets(job, out, targets);
}

spade_status explain_process(void *user, const workload_item *item, void *state)
{
    explain_job *job = user;
    explained_input *out = state;
    spade_context *context = job->context;
    spade_status status = SPADE_OK;
    char *folder = NULL;
    int made = 0;
    if (item->traces) {
        SPADE_GOTO(describe_trace(job, item->traces[0], item->in_group, out));
        SPADE_GOTO(run_forward(job, item, TRACE, out));
    }
    if (job->sink) { return explain_methods(job, item, out); }
    SPADE_GOTO(explain_join(context, job->request->output, out->name, &folder));
    SPADE_GOTO(spade_make_folders(context, folder, "cannot make the folder", &made));
    spade_sweep_temporaries(folder);
    SPADE_GOTO(save_input(job, item->image, out));
    SPADE_GOTO(explain_methods(job, item, out));
done:
    if (status != SPADE_OK && folder) { remove_files(job, out, folder, made); }
    free(folder);
    return status;
}
