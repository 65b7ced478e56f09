/* explain_input.c - one input: scores, trace, maps, overlays, ROC AUC, and its folder. */
#include <errno.h>
#include <math.h>
#include <sys/stat.h>

#include "base/base.h"
#include "workload/explain.h"

/* Overlays reach full colour at this percentile of the absolute values of both maps: single outliers do not make the
 * rest dark. */
static const double robust_percentile = 99.5;
static const char *const prefixes[NETWORKS] = {"dense", "trace"};

void explained_input_clear(explained_input *explained)
{
    for (int i = 0; i < explained->pair_count; i++) {
        for (int network = 0; network < NETWORKS; network++) {
            explained_map *map = &explained->pairs[i].maps[network];
            free(map->array);
            free(map->overlay);
            free(map->png);
        }
    }
    free(explained->pairs);
    free(explained->logits);
    free(explained->scores);
    free(explained->picture);
    free(explained->png);
    *explained = (explained_input){0};
}

/* ---- scores */
static void softmax(const double *z, int64_t n, double *out)
{
    double largest = z[0], sum = 0;
    for (int64_t i = 1; i < n; i++) { largest = fmax(largest, z[i]); }
    for (int64_t i = 0; i < n; i++) { sum += out[i] = exp(z[i] - largest); }
    for (int64_t i = 0; i < n; i++) { out[i] /= sum; }
}

static spade_status run_forward(explain_job *job, const spade_trace *trace, const float *input, int network,
                                explained_input *out)
{
    float *output = malloc(sizeof *output * (size_t)job->outputs);
    if (!output) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    spade_status status = spade_model_forward(job->context, job->model, trace, input, 1, output);
    if (status == SPADE_OK) {
        double *logits = out->logits + network * job->outputs;
        for (int64_t i = 0; i < job->outputs && status == SPADE_OK; i++) {
            logits[i] = output[i];
            if (!isfinite(logits[i])) {
                status = spade_fail(job->context, SPADE_ERROR_NUMERICAL, "%s: the %s network's output is not finite",
                                    out->input->file, prefixes[network]);
            }
            if (logits[i] > logits[out->top[network]]) { out->top[network] = i; }
        }
        softmax(logits, job->outputs, out->scores + network * job->outputs);
        out->ran[network] = true;
    }
    free(output);
    return status;
}

/* ---- trace */
spade_status explain_variants(explain_job *job, const spade_sample *sample, spade_batch **out)
{
    const spade_augment_options *augment = &job->request->settings->augment;
    const int64_t *dims = job->batch.dims;
    if (!job->batch.data) { return spade_sample_batch(job->context, sample, &job->preprocess, augment, out); }
    return spade_batch_from_array(job->context, job->batch.data, dims[0], dims[1], dims[2], dims[3], out);
}

/* Zeros and seconds. Solving several traces takes its time for all of them at once: what is this one's part of that,
 * its layers know. */
static void describe_trace(const explain_job *job, const spade_trace *trace, bool shared, explained_input *out)
{
    double solve = 0;
    spade_trace_seconds(trace, out->trace_seconds);
    for (int i = 0; i < spade_model_layer_count(job->model); i++) {
        spade_trace_layer layer;
        spade_trace_layer_info(trace, i, &layer);
        if (!layer.solved) { continue; }
        out->zeros += layer.zeros;
        out->weights += layer.weights;
        if (!layer.resumed) { solve += layer.seconds; }
    }
    if (shared) { out->trace_seconds[2] = solve; }
}

/* ---- files */
static spade_status make_folder(spade_context *context, const char *path)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_IO, "%s: cannot make the folder: %s", path, strerror(errno));
}

/* DIR/relative; malloc'ed. */
static spade_status join(spade_context *context, const char *folder, const char *relative, char **out)
{
    *out = NULL;
    if (asprintf(out, "%s/%s", folder, relative) >= 0) { return SPADE_OK; }
    *out = NULL;
    return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", folder);
}

/* Encode a picture, keep the PNG and write it as DIR/relative. */
static spade_status save_picture(explain_job *job, const spade_picture *picture, const char *relative, uint8_t **png,
                                 size_t *size)
{
    char *path = NULL;
    SPADE_TRY(spade_png_encode(job->context, picture->rgb, picture->height, picture->width, 3, png, size));
    SPADE_TRY(join(job->context, job->request->output, relative, &path));
    spade_status status = spade_write_file(job->context, path, *png, *size);
    free(path);
    return status;
}

static spade_status save_map(explain_job *job, const char *relative, const float *map)
{
    char *path = NULL;
    SPADE_TRY(join(job->context, job->request->output, relative, &path));
    int64_t dims[3] = {3, job->preprocess.height, job->preprocess.width};
    spade_status status = spade_array_save(job->context, path, map, 3, dims);
    free(path);
    return status;
}

/* ---- maps. `maps` [classes][size] of each network (NULL: not wanted) */
static spade_status draw_pair(explain_job *job, const spade_sample *sample, explained_pair *pair,
                              float *const maps[NETWORKS], const char *name, bool tell_class)
{
    int64_t height = job->preprocess.height, width = job->preprocess.width, pixels = height * width;
    spade_status status = SPADE_OK;
    float *reduced = malloc(sizeof *reduced * 3 * (size_t)pixels);
    if (!reduced) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    float *magnitude = reduced + 2 * pixels;
    int have = 0;
    for (int network = 0; network < NETWORKS; network++) {
        if (maps[network]) {
            spade_map_reduce(maps[network], 3, height, width, pair->reduce, reduced + pixels * have++);
        }
    }
    pair->scale = spade_map_percentile(reduced, pixels * have, robust_percentile);
    if (!(pair->scale > 0)) { pair->scale = spade_map_percentile(reduced, pixels * have, 100); }
    if (!(pair->scale > 0)) { pair->scale = 1; } /* a map of zeros */
    for (int network = 0, at = 0; network < NETWORKS; network++) {
        explained_map *map = &pair->maps[network];
        char suffix[32] = "";
        spade_picture overlay = {0};
        if (!maps[network]) { continue; }
        if (tell_class) { snprintf(suffix, sizeof suffix, "_c%lld", (long long)pair->target); }
        const char *method = spade_method_name(pair->method);
        if (asprintf(&map->array, "%s/%s_%s%s.npy", name, prefixes[network], method, suffix) < 0) { map->array = NULL; }
        if (asprintf(&map->overlay, "%s/%s_%s%s.png", name, prefixes[network], method, suffix) < 0) {
            map->overlay = NULL;
        }
        if (!map->array || !map->overlay) { SPADE_GOTO(spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory")); }
        SPADE_GOTO(save_map(job, map->array, maps[network]));
        SPADE_GOTO(spade_heatmap(job->context, &sample->shown, reduced + pixels * at++, pair->scale,
                                 spade_method_signed(pair->method), &overlay));
        status = save_picture(job, &overlay, map->overlay, &map->png, &map->png_size);
        spade_picture_clear(&overlay);
        if (status == SPADE_OK && sample->mask) {
            spade_map_reduce(maps[network], 3, height, width, SPADE_REDUCE_ABS_MAX, magnitude);
            status = spade_roc_auc(job->context, magnitude, sample->mask, pixels, &map->roc_auc);
        }
        if (status != SPADE_OK) { goto done; }
        map->present = true;
    }
done:
    free(reduced);
    return status;
}

/* One method, every class, both networks. classes [n]; pairs [n] of this method; from..to: share of the whole job. */
static spade_status run_method(explain_job *job, const spade_sample *sample, const spade_trace *trace,
                               spade_method method, const int64_t *classes, int n, double from, double to,
                               explained_input *out, explained_pair *pairs)
{
    const spade_explain_request *request = job->request;
    const spade_settings *settings = request->settings;
    const bool wanted[NETWORKS] = {request->dense, request->trace};
    int64_t size = 3 * job->preprocess.height * job->preprocess.width;
    size_t bytes = sizeof(float) * NETWORKS * (size_t)n * (size_t)size;
    spade_status status = SPADE_OK;
    double deltas[SPADE_MAX_CLASSES];
    void *memory = NULL;
    spade_attribution_options options;
    spade_attribution_options_init(&options, method);
    options.softmax = settings->softmax;
    options.steps = (int)settings->steps;
    options.samples = (int)settings->samples;
    options.sigma = settings->sigma;
    options.seed = settings->seed;

    SPADE_TRY(spade_alloc(job->context, bytes, "maps", &memory));
    float *maps[NETWORKS] = {memory, (float *)memory + n * size};
    for (int network = 0; network < NETWORKS; network++) {
        if (!wanted[network]) { continue; }
        double start = spade_now(), half = wanted[DENSE] && wanted[TRACE] ? (to - from) / 2 : 0;
        spade_workload_phase(job->events, spade_method_name(method), network == TRACE ? from + half : from,
                             network == TRACE ? to : to - half);
        SPADE_GOTO(spade_attribute(job->context, job->model, network == TRACE ? trace : NULL, &options, sample->input,
                                   classes, n, maps[network], deltas));
        out->map_seconds[network] += spade_now() - start;
        for (int i = 0; i < n; i++) { pairs[i].maps[network].delta = deltas[i]; }
    }
    for (int i = 0; i < n; i++) {
        float *const both[NETWORKS] = {wanted[DENSE] ? maps[DENSE] + i * size : NULL,
                                       wanted[TRACE] ? maps[TRACE] + i * size : NULL};
        SPADE_GOTO(draw_pair(job, sample, &pairs[i], both, out->input->name, n > 1));
    }
done:
    spade_free_bytes(job->context, memory, bytes);
    return status;
}

static spade_status run_methods(explain_job *job, const spade_sample *sample, const spade_trace *trace, double from,
                                double to, explained_input *out)
{
    const spade_settings *settings = job->request->settings;
    const int64_t *classes = settings->top_class ? &out->top[DENSE] : settings->classes;
    int n = settings->top_class ? 1 : settings->class_count;
    out->pairs = calloc((size_t)n * (size_t)settings->method_count, sizeof *out->pairs);
    if (!out->pairs) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    out->pair_count = n * settings->method_count;
    for (int m = 0; m < settings->method_count; m++) {
        spade_method method = settings->methods[m];
        for (int i = 0; i < n; i++) {
            explained_pair *pair = &out->pairs[m * n + i];
            pair->method = method;
            pair->reduce = spade_method_signed(method) ? SPADE_REDUCE_SUM : SPADE_REDUCE_ABS_MAX;
            pair->target = classes[i];
            for (int network = 0; network < NETWORKS; network++) {
                pair->maps[network].delta = pair->maps[network].roc_auc = NAN;
            }
        }
        double step = (to - from) / settings->method_count;
        SPADE_TRY(run_method(job, sample, trace, method, classes, n, from + step * m, from + step * (m + 1), out,
                             out->pairs + m * n));
    }
    return SPADE_OK;
}

/* ---- the steps */

spade_status explain_dense(explain_job *job, const spade_sample *sample, const spade_input *input, explained_input *out)
{
    *out = (explained_input){.input = input, .outputs = job->outputs};
    out->logits = calloc((size_t)job->outputs * NETWORKS, sizeof *out->logits);
    out->scores = calloc((size_t)job->outputs * NETWORKS, sizeof *out->scores);
    if (!out->logits || !out->scores) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    return run_forward(job, NULL, sample->input, DENSE, out);
}

spade_status explain_maps(explain_job *job, const spade_sample *sample, const spade_trace *trace, bool shared,
                          double from, double to, explained_input *out)
{
    spade_context *context = job->context;
    spade_status status = SPADE_OK;
    char *folder = NULL;
    if (trace) {
        describe_trace(job, trace, shared, out);
        SPADE_GOTO(run_forward(job, trace, sample->input, TRACE, out));
    }
    SPADE_GOTO(join(context, job->request->output, out->input->name, &folder));
    SPADE_GOTO(make_folder(context, folder));
    if (asprintf(&out->picture, "%s/input.png", out->input->name) < 0) {
        out->picture = NULL;
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"));
    }
    SPADE_GOTO(save_picture(job, &sample->shown, out->picture, &out->png, &out->png_size));
    SPADE_GOTO(run_methods(job, sample, trace, from, to, out));
done:
    free(folder);
    return status;
}
