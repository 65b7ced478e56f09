/*
 * annotate_shards.c - the rows of one shard after the other: those that part files hold are passed over, and the next shard is
 * taken up before the last row of this one is done, so that decoding ahead and groups go on across borders.
 */
#include "backend/backend.h"
#include "workload/annotate.h"

/* ---- what was there before */

static void count_finished(annotate_job *job, const json_t *record)
{
    spade_workload_outcome *pictures = &job->outcome->pictures;
    const int count = (int)json_integer_value(json_object_get(record, "count"));
    pictures->done += count;
    pictures->kept += count;
    pictures->failed += (int)json_array_size(json_object_get(record, "failures"));
    job->outcome->finished++;
}

static void tell_finished(const annotate_job *job, int64_t shard)
{
    if (job->request->finished) { job->request->finished(job->request->shard_user, shard); }
}

/* Whoever stops while tars are read does not wait for the rest. */
spade_status annotate_look(spade_context *context, const spade_store *store, const spade_annotate_request *request,
                           const spade_workload_events *events, int64_t shard, spade_shard_state *state,
                           json_t **record)
{
    SPADE_TRY(spade_shard_look(context, store, shard, state, record));
    if (!request->retry || *state != SPADE_SHARD_FINISHED || (events->stop && events->stop(events->user))) {
        return SPADE_OK;
    }
    const spade_status status = spade_shard_verify(context, store, shard, *record, state);
    if (status != SPADE_OK) {
        json_decref(*record);
        *record = NULL;
    }
    return status;
}

/* Is the shard to be done? Asked for the first time, what is found is said and counted. */
static spade_status is_left(annotate_job *job, int64_t shard, bool first, bool *left)
{
    spade_shard_state state;
    json_t *record;
    SPADE_TRY(annotate_look(job->context, &job->store, job->request, job->events, shard, &state, &record));
    *left = spade_shard_is_left(state, record, job->request->retry);
    if (state == SPADE_SHARD_LOST && first) {
        spade_log(job->context, SPADE_LOG_WARNING,
                  "%s: shard %lld is recorded as done, but its tar is not there, has another size or is damaged: it is "
                  "done again",
                  job->store.folder, (long long)shard);
    }
    if (!*left && state == SPADE_SHARD_FINISHED) { count_finished(job, record); }
    if (!*left && state == SPADE_SHARD_SET_ASIDE) {
        job->outcome->aside++;
        spade_log(job->context, SPADE_LOG_WARNING, "%s: shard %lld was set aside; --retry tries it again",
                  job->store.folder, (long long)shard);
    }
    json_decref(record);
    return SPADE_OK;
}

void annotate_warn_of_few_shards(spade_context *context, const spade_annotate_request *request,
                                 const spade_store *store, int64_t shards)
{
    const bool shares = store->shards < request->shares;
    const int64_t has = shares ? store->shards : shards, wanted = shares ? request->shares : request->workers;
    if (has >= wanted) { return; }
    spade_log(context, SPADE_LOG_WARNING, "%s: %s %lld shard%s for %lld %s, of which %lld %s nothing to do%s",
              store->folder, shares ? "it has" : "this run has", (long long)has, has == 1 ? "" : "s", (long long)wanted,
              shares ? "shares" : "workers", (long long)(wanted - has), wanted - has == 1 ? "has" : "have",
              store->shard_size > 1 ? "; --shard-size in a new store makes more shards" : "");
}

spade_status annotate_shards_open(annotate_job *job)
{
    const spade_annotate_request *request = job->request;
    const spade_store *store = &job->store;
    if (request->next_shard) {
        job->source.total = store->entries;
        return SPADE_OK;
    }
    job->shards = malloc(sizeof *job->shards * (size_t)(store->shards / request->shares + 1));
    if (!job->shards) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int64_t s = request->share; s < store->shards; s += request->shares) {
        bool left;
        job->outcome->shards++;
        SPADE_TRY(is_left(job, s, true, &left));
        if (request->retry) { spade_report_progress(job->context, "checking", (double)s + 1, (double)store->shards); }
        if (!left) { continue; }
        job->shards[job->shard_count++] = s;
        job->source.total += spade_store_end(store, s) - spade_store_first(store, s);
    }
    annotate_warn_of_few_shards(job->context, request, store, job->outcome->shards);
    if (job->outcome->finished) {
        spade_workload_note(job->events, "%lld of %lld shards are in %s already", (long long)job->outcome->finished,
                            (long long)job->outcome->shards, store->folder);
    }
    return SPADE_OK;
}

/* ---- taking up */

/* *shard below 0: there is none. */
static spade_status next_shard(annotate_job *job, int64_t *shard)
{
    const spade_annotate_request *request = job->request;
    if (!request->next_shard) {
        *shard = job->shard_at < job->shard_count ? job->shards[job->shard_at++] : -1;
        return SPADE_OK;
    }
    SPADE_TRY(request->next_shard(request->shard_user, shard));
    if (*shard >= job->store.shards) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "shard %lld of %lld", (long long)*shard,
                          (long long)job->store.shards);
    }
    job->outcome->shards += *shard >= 0;
    return SPADE_OK;
}

static void count_kept(annotate_job *job, const spade_shard_writer *writer)
{
    spade_workload_outcome *pictures = &job->outcome->pictures;
    const int failed = (int)json_array_size(writer->failures), done = (int)writer->kept - failed;
    pictures->done += done;
    pictures->kept += done;
    pictures->failed += failed;
    job->source.total -= writer->kept;
    if (job->request->kept) { job->request->kept(job->request->shard_user, writer->shard, done, failed); }
    if (!writer->kept) { return; }
    spade_workload_note(job->events, "shard %lld: goes on after %lld of %lld pictures", (long long)writer->shard,
                        (long long)writer->kept,
                        (long long)(writer->end - spade_store_first(writer->store, writer->shard)));
}

static spade_status finish(annotate_job *job, spade_shard_writer *writer)
{
    const int64_t shard = writer->shard;
    SPADE_TRY(spade_shard_finish(writer, job->about));
    job->outcome->finished++;
    tell_finished(job, shard);
    return SPADE_OK;
}

static spade_status take_up(annotate_job *job, int64_t shard)
{
    annotate_shard *taken;
    bool left;
    SPADE_TRY(is_left(job, shard, job->request->next_shard != NULL, &left));
    if (!left) {
        tell_finished(job, shard);
        return SPADE_OK;
    }
    taken = calloc(1, sizeof *taken);
    if (!taken) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    spade_status status =
        spade_shard_begin(job->context, &job->store, shard, job->align, job->request->retry, &taken->writer);
    if (status == SPADE_OK) {
        count_kept(job, &taken->writer);
        taken->given = taken->writer.next;
        if (taken->given < taken->writer.end) {
            *(job->last ? &job->last->next : &job->first) = taken;
            job->last = taken;
            return SPADE_OK;
        }
        status = finish(job, &taken->writer);
    }
    spade_shard_close(&taken->writer);
    free(taken);
    return status;
}

spade_status annotate_next_rows(void *user, spade_input *out, int most, int *count)
{
    annotate_job *job = user;
    const bool on_host = job->context->device->backend->host_memory;
    *count = 0;
    if (!job->align) { job->align = on_host ? 1 : most; }
    while (*count < most) {
        annotate_shard *last = job->last;
        if (last && last->given < last->writer.end) {
            SPADE_TRY(spade_manifest_take(&job->manifest, last->given, &out[*count]));
            last->given++;
            (*count)++;
            continue;
        }
        int64_t shard;
        /* where rows that are made together differ by rounding from those that are not, a group is of one shard: its bytes must
         * not depend on the shards before it */
        if (*count && !on_host) { break; }
        SPADE_TRY(next_shard(job, &shard));
        if (shard < 0) { break; }
        SPADE_TRY(take_up(job, shard));
    }
    return SPADE_OK;
}

/* ---- writing */

static void drop_first(annotate_job *job)
{
    annotate_shard *first = job->first;
    job->first = first->next;
    if (!job->first) { job->last = NULL; }
    spade_shard_close(&first->writer);
    free(first);
}

spade_status annotate_add_row(annotate_job *job, int64_t row, const spade_shard_file *files, int count,
                              const json_t *record)
{
    spade_shard_writer *writer = job->first ? &job->first->writer : NULL;
    if (!writer || writer->next != row) {
        return spade_fail(job->context, SPADE_ERROR_INTERNAL, "row %lld is not the next one", (long long)row);
    }
    SPADE_TRY(spade_shard_add(writer, files, count, record));
    spade_manifest_release(&job->manifest, row);
    if (writer->next < writer->end) { return SPADE_OK; }
    SPADE_TRY(finish(job, writer));
    drop_first(job);
    return SPADE_OK;
}

void annotate_shards_close(annotate_job *job)
{
    while (job->first) { drop_first(job); }
    free(job->shards);
    job->shards = NULL;
}
