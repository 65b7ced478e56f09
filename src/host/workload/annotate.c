/* annotate.c - the annotate workload: what is asked, the store that it belongs to, the loop. */
#include "workload/folder.h"
#include "workload/annotate.h"

#include <unistd.h>

#include "backend/backend.h"
#include "workload/run_fingerprints.h"

/* ---- before the work: everything that can be refused at once is refused here */

static spade_status check_request(annotate_job *job)
{
    const spade_annotate_request *request = job->request;
    char *manifest = (char *)(uintptr_t)request->manifest;
    SPADE_TRY(spade_inputs_check_output(job->context, &manifest, 1, true, request->output));
    SPADE_TRY(spade_folder_check_kind(job->context, request->output, true));
    if (!request->dense && !request->trace) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--no-dense and --no-trace leave nothing to do");
    }
    if (request->in_flight > WORKLOAD_MAX_IN_FLIGHT) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--in-flight %d: at most %d", request->in_flight,
                          WORKLOAD_MAX_IN_FLIGHT);
    }
    if (!map_values_find(request->values, &job->values)) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "--values: '%s' is none of float32, float16, png",
                          request->values);
    }
    return SPADE_OK;
}

/* The maps of a picture can be written so. *bytes: what they take, about. */
static spade_status measure_maps(const annotate_job *job, uint64_t *bytes)
{
    enum { RECORD = 1536 }; /* KEY.json, and the headers */
    const explain_job *e = &job->explain;
    const int networks = job->request->dense + job->request->trace;
    *bytes = RECORD;
    for (int m = 0; m < e->method_count; m++) {
        int64_t shape[3];
        SPADE_TRY(spade_attribution_map_shape(job->context, e->model, e->methods[m].attribution, shape));
        if (!map_values_takes(job->values, shape[0])) {
            return spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                              "--values png: a map of %s has %lld channels, a PNG 1 or 3; take float16",
                              explained_method(&e->run, m)->name, (long long)shape[0]);
        }
        *bytes += map_values_bytes(job->values, shape) * (uint64_t)(networks * e->target_count);
    }
    return SPADE_OK;
}

/* Rows of a shard, where nobody says how many: those of about 256 MB, or so few that there are some shards; where several processes
 * share the rows, so few that each has several, as who is done first takes another one, and who is killed has less to give back. Not
 * by what this machine is: the same request makes the same shards everywhere. */
static int64_t choose_shard_size(const annotate_job *job, uint64_t bytes)
{
    enum { MOST = 10000, SHARDS = 32 };
    const spade_annotate_request *request = job->request;
    const int workers = request->workers > 1 ? request->workers : 1;
    const uint64_t rows = ((uint64_t)256 << 20) / bytes;
    int64_t size = rows > MOST ? MOST : (int64_t)rows, even = job->manifest.count / SHARDS;
    if (even < ANNOTATE_LEAST_ROWS) { even = ANNOTATE_LEAST_ROWS; }
    if (workers > 1 || request->shares > 1) {
        even = job->manifest.count / workers / request->shares / ANNOTATE_SHARDS_EACH;
    }
    if (even < size) { size = even; }
    return size < 1 ? 1 : size;
}

/* ---- what decides the store's bytes */

/* The configuration as it is recorded; a folder of checkpoints changes no byte. New reference. */
static json_t *configuration_json(const annotate_job *job)
{
    json_t *all = spade_settings_json(job->request->settings);
    if (all) { (void)json_object_del(all, "checkpoint"); }
    return all;
}

static json_t *networks_json(const annotate_job *job)
{
    json_t *all = json_array();
    if (job->request->dense) { spade_json_append(&all, json_string(explained_networks[DENSE])); }
    if (job->request->trace) { spade_json_append(&all, json_string(explained_networks[TRACE])); }
    return all;
}

static json_t *manifest_json(const annotate_job *job)
{
    json_t *all = json_object();
    spade_json_set(&all, "kind", json_string(spade_manifest_kinds[job->manifest.kind]));
    spade_json_set(&all, "entries", json_integer(job->manifest.count));
    spade_json_set(&all, "sha256", json_string(job->manifest.sha256));
    return all;
}

static spade_status describe_bytes(const annotate_job *job, int64_t shard_size, json_t **out)
{
    json_t *all = json_object(), *files = NULL;
    *out = NULL;
    spade_status status = run_fingerprints(&job->explain.run, job->explain.model, job->request->labels, &files);
    spade_json_set(&all, "format", json_integer(SPADE_STORE_FORMAT));
    spade_json_set(&all, "version", json_string(spade_version()));
    spade_json_set(&all, "device", json_string(job->context->device->backend->name));
    spade_json_set(&all, "manifest", manifest_json(job));
    spade_json_set(&all, "entries", json_integer(job->manifest.count));
    spade_json_set(&all, "shard_size", json_integer(shard_size));
    spade_json_set(&all, "values", json_string(map_values_names[job->values]));
    spade_json_set(&all, "networks", networks_json(job));
    if (status == SPADE_OK) { spade_json_set(&all, "xxh128", json_incref(files)); }
    spade_json_set(&all, "configuration", configuration_json(job));
    json_decref(files);
    if (status == SPADE_OK && !all) { status = spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    if (status != SPADE_OK) { json_decref(all); }
    if (status == SPADE_OK) { *out = all; }
    return status;
}

/* How a picture's file becomes the input, for whoever draws maps on it. */
static json_t *pictures_json(const annotate_job *job)
{
    const spade_preprocess *p = &job->explain.preprocess;
    json_t *all = json_object();
    spade_json_set(&all, "height", json_integer(p->height));
    spade_json_set(&all, "width", json_integer(p->width));
    spade_json_set(&all, "resize", json_integer(p->resize));
    spade_json_set(&all, "squash", json_boolean(p->squash));
    spade_json_set(&all, "crop_share", json_real(p->crop_share));
    spade_json_set(&all, "resample", json_string(p->resample == SPADE_RESAMPLE_BICUBIC ? "bicubic" : "bilinear"));
    spade_json_set(&all, "upright", json_boolean(job->request->settings->orient));
    return all;
}

/* The manifest from the root on, whose links stay as they are: it may be a pattern. What cannot be told is as it was typed. */
static json_t *absolute_path(const char *path)
{
    char *folder = *path == '/' ? NULL : getcwd(NULL, 0), *whole = NULL;
    if (folder && asprintf(&whole, "%s/%s", folder, path) < 0) { whole = NULL; }
    json_t *text = spade_json_text(whole ? whole : path);
    free(whole);
    free(folder);
    return text;
}

/* Where the files were, and what is in the configuration already, in short. */
static json_t *describe_files(const annotate_job *job)
{
    json_t *all = json_object();
    spade_json_set(&all, "pictures", pictures_json(job));
    spade_json_set(&all, "model_path", spade_json_text(job->request->model));
    spade_json_set(&all, "manifest_path", spade_json_text(job->request->manifest));
    spade_json_set(&all, "manifest_absolute_path", absolute_path(job->request->manifest));
    return all;
}

/* As the store has it that is there, so that the same command goes on also where the default is another one by now. */
static int64_t shard_size_of(const annotate_job *job, uint64_t bytes)
{
    spade_store there;
    int64_t size = choose_shard_size(job, bytes);
    if (job->request->shard_size) { return job->request->shard_size; }
    if (spade_store_open(job->context, job->request->output, &there) == SPADE_OK) { size = there.shard_size; }
    spade_error_clear(job->context);
    spade_store_clear(&there);
    return size;
}

/* *taken: rows of a shard that it was asked for with. */
static spade_status create_store(annotate_job *job, uint64_t bytes, const json_t *files, int64_t *taken)
{
    json_t *deciding;
    *taken = shard_size_of(job, bytes);
    SPADE_TRY(describe_bytes(job, *taken, &deciding));
    const spade_status status = spade_store_create(job->context, job->request->output, deciding, files, &job->store);
    json_decref(deciding);
    return status;
}

static spade_status open_store(annotate_job *job)
{
    uint64_t bytes;
    int64_t taken;
    json_t *files = describe_files(job);
    spade_status status = SPADE_OK;
    if (!files) { SPADE_GOTO(spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory")); }
    SPADE_GOTO(measure_maps(job, &bytes));
    status = create_store(job, bytes, files, &taken);
    if (status == SPADE_ERROR_ARGUMENT) {
        /* another process made it at this moment, and chose other shards, as it has another number of workers: those are the store's */
        spade_error error;
        spade_error_save(job->context, &error);
        const bool other = shard_size_of(job, bytes) != taken;
        if (other) { status = create_store(job, bytes, files, &taken); }
        if (!other) { spade_error_restore(job->context, &error); }
    }
    if (status == SPADE_OK) { spade_store_sweep(job->context, &job->store); }
done:
    json_decref(files);
    return status;
}

/* ---- the job */

static spade_status describe_run(annotate_job *job)
{
    char libraries[1024];
    spade_library_versions(libraries, sizeof libraries);
    job->about = json_object();
    spade_json_set(&job->about, "version", json_string(spade_version()));
    spade_json_set(&job->about, "libraries", spade_json_text(libraries));
    spade_json_set(&job->about, "device", json_string(job->context->device->backend->name));
    return job->about ? SPADE_OK : spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

static spade_status job_open(annotate_job *job)
{
    const spade_annotate_request *request = job->request;
    SPADE_TRY(check_request(job));
    job->explained = (spade_explain_request){.model = request->model,
                                             .labels = request->labels,
                                             .output = request->output,
                                             .dense = request->dense,
                                             .trace = request->trace,
                                             .in_flight = request->in_flight,
                                             .settings = request->settings};
    job->sink = (explain_sink){.user = job, .take = annotate_take_map};
    job->explain =
        (explain_job){.context = job->context, .request = &job->explained, .events = job->events, .sink = &job->sink};
    SPADE_TRY(explain_open(&job->explain));
    SPADE_TRY(annotate_check_names(job));
    SPADE_TRY(spade_manifest_open(job->context, request->manifest, request->output, &job->manifest));
    explain_warn_unused(&job->explain, true, job->manifest.masks, true);
    SPADE_TRY(describe_run(job));
    SPADE_TRY(open_store(job));
    spade_manifest_keep(&job->manifest, job->store.folder);
    return annotate_shards_open(job);
}

static void job_close(annotate_job *job)
{
    annotate_shards_close(job);
    spade_store_clear(&job->store);
    spade_manifest_close(&job->manifest);
    json_decref(job->about);
    explain_close(&job->explain);
}

/* The steps on groups are the maps' maker's own: it finds its state at the beginning of ours. */
static spade_status group_scores(void *user, const workload_item *items, void *const *states, int count)
{
    annotate_job *job = user;
    annotate_tell_begun(job, items);
    return explain_group_scores(&job->explain, items, states, count);
}

static spade_status group_maps(void *user, const workload_item *items, void *const *states, int count)
{
    annotate_job *job = user;
    return explain_group_maps(&job->explain, items, states, count);
}

static void group_clear(void *user)
{
    annotate_job *job = user;
    explain_group_clear(&job->explain);
}

static spade_status run(annotate_job *job)
{
    workload_plan plan;
    job->source.user = job;
    job->source.next = annotate_next_rows;
    const workload_consumer consumer = {.user = job,
                                        .state_bytes = sizeof(annotated_input),
                                        .group_dense = group_scores,
                                        .dense = annotate_dense,
                                        .group_process = group_maps,
                                        .group_end = group_clear,
                                        .process = annotate_process,
                                        .record = annotate_record,
                                        .failed = annotate_failed,
                                        .clear = annotate_clear};
    explain_plan(&job->explain, &plan);
    return workload_run_from(&plan, &job->source, &consumer, &job->outcome->pictures.stopped);
}

spade_status spade_annotate(spade_context *context, const spade_annotate_request *request,
                            const spade_workload_events *events, spade_annotate_outcome *outcome)
{
    annotate_job job = {.context = context, .request = request, .events = events, .outcome = outcome};
    spade_error error;
    *outcome = (spade_annotate_outcome){0};
    spade_status status = job_open(&job);
    if (status == SPADE_OK) { status = run(&job); }
    spade_error_save(context, &error);
    job_close(&job);
    if (status != SPADE_OK) { spade_error_restore(context, &error); }
    return status;
}
