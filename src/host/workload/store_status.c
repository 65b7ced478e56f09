/*
 * store_status.c - how far a store is, from its files. Only done records and the headers of part files are read, so it takes moments
 * also where a shard takes an hour; whoever writes there is not disturbed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/ledger.h"
#include "store/shard.h"
#include "workload/workload.h"

/* Of the shards that were finished last, so many say how fast it goes. */
enum { RATE_SHARDS = 16 };
/* A part file of another machine that has not grown for so long is one that was left. */
enum { LEFT_AFTER_SECONDS = 900 };

typedef struct finished_shard {
    char when[SPADE_STORE_TIME];
    int64_t rows;
    double seconds;
} finished_shard;

typedef struct status_job {
    spade_context *context;
    spade_store store;
    int64_t done_shards, lost, interrupted;
    int64_t done, failed, begun; /* rows: of finished shards, without those that failed; those; of part files */
    int64_t working;             /* shards that somebody is at */
    json_t *workers, *aside;
    int64_t *part_rows;               /* [shards]: the most of a part file */
    bool *live;                       /* [shards]: somebody is at it */
    finished_shard last[RATE_SHARDS]; /* the last one first */
    int last_count;
} status_job;

static spade_status fail_memory(const status_job *job)
{
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "%s: out of memory", job->store.folder);
}

/* ---- shards that are finished */

static void note_rate(status_job *job, const json_t *done, int64_t rows)
{
    finished_shard shard = {.rows = rows - json_integer_value(json_object_get(done, "kept")),
                            .seconds = spade_json_real_at(done, "seconds")};
    int at = job->last_count;
    snprintf(shard.when, sizeof shard.when, "%s", spade_json_text_at(done, "finished"));
    if (!(shard.seconds > 0) || shard.rows < 1) { return; }
    while (at > 0 && strcmp(shard.when, job->last[at - 1].when) > 0) { at--; }
    if (at == RATE_SHARDS) { return; }
    if (job->last_count < RATE_SHARDS) { job->last_count++; }
    memmove(job->last + at + 1, job->last + at, sizeof *job->last * (size_t)(job->last_count - 1 - at));
    job->last[at] = shard;
}

static spade_status look_at_shard(status_job *job, int64_t shard)
{
    spade_shard_state state;
    json_t *record;
    SPADE_TRY(spade_shard_look(job->context, &job->store, shard, &state, &record));
    const int64_t rows = spade_store_end(&job->store, shard) - spade_store_first(&job->store, shard);
    if (state == SPADE_SHARD_FINISHED) {
        const int64_t failed = (int64_t)json_array_size(json_object_get(record, "failures"));
        job->done_shards++;
        job->failed += failed;
        job->done += rows - failed;
        note_rate(job, record, rows);
    } else {
        job->lost += state == SPADE_SHARD_LOST;
        job->begun += job->part_rows[shard] > 0 ? job->part_rows[shard] : 0;
        job->working += job->live[shard];
        job->interrupted += job->part_rows[shard] >= 0 && !job->live[shard];
        if (state == SPADE_SHARD_SET_ASIDE) { spade_json_append(&job->aside, json_integer(shard)); }
    }
    json_decref(record);
    return job->aside ? SPADE_OK : fail_memory(job);
}

/* ---- part files: NAME.part.HOST-PID-RANDOM */

/* Rows whose record's header is there: what it holds is looked at by whoever takes it up. */
static int64_t count_rows(int file, int64_t size)
{
    int64_t rows = 0;
    for (int64_t at = 0; at + SPADE_TAR_BLOCK <= size;) {
        uint8_t block[SPADE_TAR_BLOCK];
        char name[SPADE_TAR_NAME];
        uint64_t bytes;
        if (pread(file, block, sizeof block, (off_t)at) != (ssize_t)sizeof block ||
            !spade_tar_parse(block, name, &bytes)) {
            break;
        }
        at += SPADE_TAR_BLOCK + (int64_t)spade_tar_padded(bytes);
        const size_t length = strlen(name);
        rows += at <= size && length > 5 && strcmp(name + length - 5, ".json") == 0;
    }
    return rows;
}

/* Is its maker at it? On this machine the process tells; on another one the file grows. */
static bool is_live(const char *host, int64_t pid, const struct stat *info)
{
    char own[256] = "";
    spade_process process;
    (void)gethostname(own, sizeof own - 1);
    if (strcmp(host, own) != 0) { return time(NULL) - info->st_mtime < LEFT_AFTER_SECONDS; }
    spade_process_describe(pid, &process);
    return process.start >= 0;
}

static spade_status take_part(status_job *job, int64_t shard, const char *name, const char *maker)
{
    char host[256];
    long long pid = 0;
    struct stat info;
    const char *hyphen = strchr(maker, '-');
    if (!hyphen || (size_t)(hyphen - maker) >= sizeof host || sscanf(hyphen, "-%lld-", &pid) != 1) { return SPADE_OK; }
    snprintf(host, sizeof host, "%.*s", (int)(hyphen - maker), maker);
    const int folder = open(job->store.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int file = folder < 0 ? -1 : openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (folder >= 0) { close(folder); }
    if (file < 0) { return SPADE_OK; } /* it was finished meanwhile */
    const bool regular = fstat(file, &info) == 0 && S_ISREG(info.st_mode);
    const int64_t rows = regular ? count_rows(file, info.st_size) : 0;
    close(file);
    if (!regular) { return SPADE_OK; }
    if (rows > job->part_rows[shard]) { job->part_rows[shard] = rows; }
    if (!is_live(host, pid, &info)) { return SPADE_OK; }
    job->live[shard] = true;
    json_t *worker = json_object();
    spade_json_set(&worker, "shard", json_integer(shard));
    spade_json_set(&worker, "done", json_integer(rows));
    spade_json_set(&worker, "of",
                   json_integer(spade_store_end(&job->store, shard) - spade_store_first(&job->store, shard)));
    spade_json_set(&worker, "host", spade_json_text(host));
    spade_json_set(&worker, "pid", json_integer(pid));
    spade_json_append(&job->workers, worker);
    return job->workers ? SPADE_OK : fail_memory(job);
}

static spade_status take_parts(status_job *job)
{
    spade_status status = SPADE_OK;
    DIR *folder = opendir(job->store.folder);
    if (!folder) { return spade_fail(job->context, SPADE_ERROR_IO, "%s: %s", job->store.folder, strerror(errno)); }
    for (const struct dirent *entry; status == SPADE_OK && (entry = readdir(folder));) {
        int64_t shard;
        const char *suffix;
        if (spade_store_parse_name(entry->d_name, &shard, &suffix) && shard < job->store.shards &&
            strncmp(suffix, SPADE_SHARD_PART, sizeof SPADE_SHARD_PART - 1) == 0) {
            status = take_part(job, shard, entry->d_name, suffix + sizeof SPADE_SHARD_PART - 1);
        }
    }
    closedir(folder);
    return status;
}

/* ---- the result */

/* Pictures a second of all that are at it now; 0: nobody can tell. */
static double estimate_rate(const status_job *job)
{
    double seconds = 0, rows = 0;
    for (int i = 0; i < job->last_count; i++) {
        seconds += job->last[i].seconds;
        rows += (double)job->last[i].rows;
    }
    return seconds > 0 ? rows / seconds * (double)json_array_size(job->workers) : 0;
}

static spade_status describe(const status_job *job, json_t **result)
{
    const int64_t left = job->store.entries - job->done - job->failed - job->begun;
    const double rate = estimate_rate(job);
    json_t *all = json_object(), *shards = json_object(), *pictures = json_object();
    spade_json_set(&shards, "all", json_integer(job->store.shards));
    spade_json_set(&shards, "done", json_integer(job->done_shards));
    spade_json_set(&shards, "in_the_making", json_integer(job->working));
    spade_json_set(&shards, "interrupted", json_integer(job->interrupted));
    spade_json_set(&shards, "lost", json_integer(job->lost));
    spade_json_set(&shards, "set_aside", json_incref(job->aside));
    spade_json_set(&pictures, "done", json_integer(job->done + job->begun));
    spade_json_set(&pictures, "failed", json_integer(job->failed));
    spade_json_set(&pictures, "left", json_integer(left));
    spade_json_set(&all, "store", spade_json_text(job->store.folder));
    spade_json_set(&all, "entries", json_integer(job->store.entries));
    spade_json_set(&all, "shards", shards);
    spade_json_set(&all, "pictures", pictures);
    spade_json_set(&all, "workers", json_incref(job->workers));
    spade_json_set(&all, "rate", rate > 0 ? json_real(rate) : json_null());
    spade_json_set(&all, "seconds_left", rate > 0 ? json_real((double)left / rate) : json_null());
    *result = all;
    return all ? SPADE_OK : fail_memory(job);
}

spade_status spade_store_status(spade_context *context, const char *store, json_t **result)
{
    status_job job = {.context = context};
    spade_status status = SPADE_OK;
    *result = NULL;
    SPADE_TRY(spade_store_open(context, store, &job.store));
    job.workers = json_array();
    job.aside = json_array();
    job.part_rows = malloc(sizeof *job.part_rows * (size_t)job.store.shards);
    job.live = calloc((size_t)job.store.shards, sizeof *job.live);
    if (!job.workers || !job.aside || !job.part_rows || !job.live) { SPADE_GOTO(fail_memory(&job)); }
    for (int64_t i = 0; i < job.store.shards; i++) { job.part_rows[i] = -1; }
    SPADE_GOTO(take_parts(&job));
    for (int64_t i = 0; i < job.store.shards; i++) { SPADE_GOTO(look_at_shard(&job, i)); }
    status = describe(&job, result);
done:
    json_decref(job.workers);
    json_decref(job.aside);
    free(job.part_rows);
    free(job.live);
    spade_store_clear(&job.store);
    return status;
}
