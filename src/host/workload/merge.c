/*
 * merge.c - the check of a whole store, and its index. What is wrong is said in a line for each fault and is no failure of the job: the
 * index then holds the shards that are whole, and names the faults too.
 */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>

#include "store/index.h"
#include "workload/merge.h"

typedef struct merge_job {
    spade_context *context;
    const spade_merge_request *request;
    const spade_workload_events *events;
    spade_store store;
    spade_index index;
    int64_t shard; /* that is read */
    int64_t pictures, failures, changed, fell, shards, faults, missing;
    int64_t first_missing; /* of a run of shards that are not done; -1: there is none */
} merge_job;

/* The message names the fault. */
static spade_status note_fault(merge_job *job, const char *message)
{
    job->faults++;
    if (job->events->failed) { job->events->failed(job->events->user, message); }
    return spade_index_add_fault(&job->index, message);
}

__attribute__((format(printf, 2, 3))) static spade_status fault(merge_job *job, const char *format, ...)
{
    char text[SPADE_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return note_fault(job, text);
}

/* ---- what is not there */

/* The shards first_missing..end-1, in one line. */
static spade_status end_missing(merge_job *job, int64_t end)
{
    const int64_t first = job->first_missing;
    if (first < 0) { return SPADE_OK; }
    job->first_missing = -1;
    if (end - first == 1) {
        return fault(job, "%s: shard %lld is not done; the same annotate does it", job->store.folder, (long long)first);
    }
    return fault(job, "%s: the shards %lld to %lld are not done; the same annotate does them", job->store.folder,
                 (long long)first, (long long)end - 1);
}

static spade_status note_missing(merge_job *job, int64_t shard)
{
    if (job->first_missing < 0) { job->first_missing = shard; }
    job->missing++;
    return SPADE_OK;
}

/* Files of shards that a store of so many entries has not: of another manifest, or copied there. */
static spade_status look_for_strangers(merge_job *job)
{
    const struct dirent *entry;
    spade_status status = SPADE_OK;
    DIR *folder = opendir(job->store.folder);
    if (!folder) { return spade_fail(job->context, SPADE_ERROR_IO, "%s: %s", job->store.folder, strerror(errno)); }
    while (status == SPADE_OK && (entry = readdir(folder))) {
        int64_t shard;
        const char *suffix;
        if (spade_store_parse_name(entry->d_name, &shard, &suffix) && shard >= job->store.shards) {
            status = fault(job, "%s/%s: of no shard of this store, which has %lld", job->store.folder, entry->d_name,
                           (long long)job->store.shards);
        }
    }
    (void)closedir(folder);
    return status;
}

/* ---- a shard that is done */

static spade_status add_row(void *user, const spade_shard_row *row)
{
    merge_job *job = user;
    const bool failed = json_object_get(row->record, "error") != NULL;
    SPADE_TRY(spade_index_add(&job->index, job->shard, row));
    job->failures += failed;
    job->pictures += !failed;
    job->changed += json_is_true(json_object_get(row->record, "class_changed"));
    job->fell += json_is_true(json_object_get(row->record, "score_fell"));
    return SPADE_OK;
}

#define MEND "the same annotate with --retry does it again"
#define MEND_RECORD "remove its record (" SPADE_SHARD_DONE "), and the same annotate does it again"

/* Where a tar whose bytes are not those that done.json speaks of is damaged. */
static spade_status say_damage(merge_job *job, const char *path, const char *what)
{
    spade_shard_beginning whole;
    char key[SPADE_STORE_KEY];
    SPADE_TRY(spade_shard_read(job->context, &job->store, job->shard, path, NULL, NULL, &whole));
    spade_store_key(whole.next, key);
    if (whole.complete) { return fault(job, "%s: %s; its pictures agree with their records; " MEND, path, what); }
    return fault(job, "%s: %s; whole up to %s: %s; " MEND, path, what, key, whole.reason);
}

/* The tar's bytes are the ones that were written: its rows go to the index. */
static spade_status index_shard(merge_job *job, const char *path, const json_t *done)
{
    const int64_t shard = job->shard, first = spade_store_first(&job->store, shard),
                  end = spade_store_end(&job->store, shard), pictures = job->pictures, failures = job->failures,
                  changed = job->changed, fell = job->fell;
    const int64_t failed = (int64_t)json_array_size(json_object_get(done, "failures"));
    spade_shard_beginning whole;
    SPADE_TRY(spade_shard_read(job->context, &job->store, shard, path, add_row, job, &whole));
    if (whole.complete && job->failures - failures == failed &&
        json_integer_value(json_object_get(done, "count")) == end - first - failed) {
        job->shards++;
        return spade_index_add_shard(&job->index, shard, strrchr(path, '/') + 1, done);
    }
    job->pictures = pictures;
    job->failures = failures;
    job->changed = changed;
    job->fell = fell;
    SPADE_TRY(spade_index_remove(&job->index, first, end));
    if (!whole.complete) {
        char key[SPADE_STORE_KEY];
        spade_store_key(whole.next, key);
        return fault(job, "%s: whole up to %s: %s; " MEND_RECORD, path, key, whole.reason);
    }
    return fault(job, "%s: it holds other pictures than its record (" SPADE_SHARD_DONE ") says; " MEND_RECORD, path);
}

/* A file that cannot be read, or is nothing of a store, is a fault; running out of memory ends the job. */
static bool is_fault(spade_status status)
{
    return status == SPADE_ERROR_INPUT || status == SPADE_ERROR_IO || status == SPADE_ERROR_ARGUMENT;
}

static spade_status check_shard(merge_job *job, const json_t *done)
{
    char sha[SPADE_SHA256_SIZE];
    char *path = spade_store_path(job->context, &job->store, job->shard, SPADE_SHARD_TAR);
    spade_status status = SPADE_OK;
    if (!path) { return SPADE_ERROR_MEMORY; }
    status = spade_sha256_file(job->context, path, sha, NULL);
    if (is_fault(status)) {
        status = note_fault(job, spade_message(job->context));
    } else if (status != SPADE_OK) {
        goto done;
    } else if (strcmp(sha, spade_json_text_at(done, "sha256")) != 0) {
        status = say_damage(job, path, "its SHA-256 is not the one of its record (" SPADE_SHARD_DONE ")");
    } else {
        status = index_shard(job, path, done);
    }
done:
    free(path);
    return status;
}

static spade_status say_lost(merge_job *job, const json_t *record)
{
    char *path = spade_store_path(job->context, &job->store, job->shard, SPADE_SHARD_TAR);
    if (!path) { return SPADE_ERROR_MEMORY; }
    const spade_status status = fault(job,
                                      "%s: not there, or not of the %lld bytes that its record (" SPADE_SHARD_DONE
                                      ") says; the same annotate does it again",
                                      path, (long long)json_integer_value(json_object_get(record, "bytes")));
    free(path);
    return status;
}

static spade_status say_aside(merge_job *job, const json_t *record)
{
    return fault(job, "%s: shard %lld was set aside: it ended its worker %lld times; annotate --retry tries it again",
                 job->store.folder, (long long)job->shard,
                 (long long)json_integer_value(json_object_get(record, "tries")));
}

static spade_status take_shard(merge_job *job, int64_t shard)
{
    spade_shard_state state;
    json_t *record = NULL;
    job->shard = shard;
    spade_status status = spade_shard_look(job->context, &job->store, shard, &state, &record);
    if (status == SPADE_OK && state == SPADE_SHARD_OPEN) {
        status = note_missing(job, shard);
    } else if (status == SPADE_OK || is_fault(status)) {
        const spade_status before = status;
        spade_error reason;
        spade_error_save(job->context, &reason);
        status = end_missing(job, shard);
        if (status == SPADE_OK && before == SPADE_OK) {
            status = state == SPADE_SHARD_FINISHED ? check_shard(job, record)
                     : state == SPADE_SHARD_LOST   ? say_lost(job, record)
                                                   : say_aside(job, record);
        } else if (status == SPADE_OK) {
            status = note_fault(job, reason.message);
        }
    }
    json_decref(record);
    return status;
}

/* An index that cannot be written fails the job, and so a failure is a shard's only where it names a file of the shard. */
static spade_status take_shards(merge_job *job, bool *stopped)
{
    job->first_missing = -1;
    for (int64_t shard = 0; shard < job->store.shards; shard++) {
        if (job->events->stop && job->events->stop(job->events->user)) {
            *stopped = true;
            return SPADE_OK;
        }
        SPADE_TRY(take_shard(job, shard));
        spade_report_progress(job->context, "checking", (double)shard + 1, (double)job->store.shards);
    }
    return end_missing(job, job->store.shards);
}

/* ---- the index */

static spade_status describe(merge_job *job)
{
    const char *name;
    json_t *value;
    json_t *counts = json_object();
    json_object_foreach(job->store.description, name, value)
    {
        SPADE_TRY(spade_index_describe(&job->index, name, value));
    }
    spade_json_set(&counts, "index_complete", json_boolean(job->faults == 0));
    spade_json_set(&counts, "index_version", json_string(spade_version()));
    spade_status status =
        counts ? SPADE_OK : spade_fail(job->context, SPADE_ERROR_MEMORY, "%s: out of memory", job->store.folder);
    json_object_foreach(counts, name, value)
    {
        if (status == SPADE_OK) { status = spade_index_describe(&job->index, name, value); }
    }
    json_decref(counts);
    return status;
}

static json_t *path_json(const merge_job *job, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", job->store.folder, name) < 0) { return NULL; }
    json_t *text = spade_json_text(path);
    free(path);
    return text;
}

static json_t *summarise(const merge_job *job)
{
    json_t *all = json_object();
    spade_json_set(&all, "store", spade_json_text(job->store.folder));
    spade_json_set(&all, "shards", json_integer(job->store.shards));
    spade_json_set(&all, "whole", json_integer(job->shards));
    spade_json_set(&all, "entries", json_integer(job->store.entries));
    spade_json_set(&all, "pictures", json_integer(job->pictures));
    spade_json_set(&all, "failures", json_integer(job->failures));
    spade_json_set(&all, "class_changed", json_integer(job->changed));
    spade_json_set(&all, "score_fell", json_integer(job->fell));
    spade_json_set(&all, "faults", json_integer(job->faults));
    spade_json_set(&all, "index", path_json(job, SPADE_INDEX_FILE));
    spade_json_set(&all, "gallery", job->request->html ? path_json(job, "gallery/index.html") : json_null());
    return all;
}

static spade_status write_index(merge_job *job, bool *stopped)
{
    char *path = NULL;
    spade_status status = SPADE_OK;
    if (asprintf(&path, "%s/" SPADE_INDEX_FILE, job->store.folder) < 0) {
        return spade_fail(job->context, SPADE_ERROR_MEMORY, "%s: out of memory", job->store.folder);
    }
    spade_sweep_temporaries(job->store.folder);
    SPADE_GOTO(spade_index_open(job->context, path, &job->index));
    SPADE_GOTO(look_for_strangers(job));
    SPADE_GOTO(take_shards(job, stopped));
    if (*stopped) { goto done; }
    SPADE_GOTO(describe(job));
    status = spade_index_commit(&job->index);
done:
    spade_index_abort(&job->index);
    free(path);
    return status;
}

spade_status spade_merge(spade_context *context, const spade_merge_request *request,
                         const spade_workload_events *events, spade_workload_outcome *outcome, json_t **summary)
{
    merge_job job = {.context = context, .request = request, .events = events};
    spade_status status = SPADE_OK;
    *summary = NULL;
    SPADE_TRY(spade_store_open(context, request->store, &job.store));
    spade_workload_phase(events, "checking", 0, request->html ? 0.5 : 1);
    SPADE_GOTO(write_index(&job, &outcome->stopped));
    if (outcome->stopped) { goto done; }
    outcome->done = (int)job.shards;
    outcome->failed = (int)job.faults;
    if (request->html) {
        spade_workload_phase(events, "gallery", 0.5, 1);
        SPADE_GOTO(merge_write_gallery(context, &job.store, events, &outcome->stopped));
    }
    *summary = summarise(&job);
    if (!*summary) { status = spade_fail(context, SPADE_ERROR_MEMORY, "out of memory"); }
done:
    spade_store_clear(&job.store);
    return status;
}
