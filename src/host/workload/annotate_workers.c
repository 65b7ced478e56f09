/* annotate_workers.c - the parent's side: annotate_workers.h. */
#include "workload/annotate_workers.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/ledger.h"
#include "store/shard.h"
#include "workload/annotate.h"

enum { MAX_DEATHS = 3 }; /* of workers, one after the other, in which no row is done and no shard is taken */
enum { MAX_LINES = 64 }; /* of the log that are remembered: each is said once, not by each worker */
enum { POLL_MS = 200, MAX_LINE = 1 << 28 };

typedef enum task_state { TASK_FREE, TASK_LEASED, TASK_OVER } task_state;
/* A shard that is to be done. */
typedef struct task {
    int64_t shard;
    task_state state;
    int worker;           /* that has it */
    int64_t order;        /* of leases: the least one of a worker is at hand */
    int64_t done, failed; /* rows, as its worker told */
    bool taken;           /* a worker took it up in this run, and found so many rows: */
    int64_t before, failed_before;
} task;

typedef struct child {
    pid_t pid; /* 0: there is none */
    int socket;
    char *text; /* what was read of it and not taken yet */
    size_t used, room;
    int64_t row; /* that it is at; -1: none */
    bool stopping;
} child;

typedef struct parent {
    spade_context *context;
    const spade_annotate_request *request;
    const spade_workload_events *events;
    const spade_workers *workers;
    spade_annotate_outcome *outcome;
    spade_store store; /* open once the first worker has made it */
    spade_ledger *ledger;
    task *tasks;
    int64_t task_count, first_free, orders, rows, rows_done;
    child children[SPADE_MAX_WORKERS];
    char *lines[MAX_LINES];
    int line_count, deaths;
    bool opened, stopping;
    spade_status failed; /* of a worker; the context's message says why */
} parent;

static spade_status fail_memory(const parent *p)
{
    return spade_fail(p->context, SPADE_ERROR_MEMORY, "%s: out of memory", p->request->output);
}

/* ---- processes */

static void close_child(child *c)
{
    if (c->socket > 0) { (void)close(c->socket); }
    free(c->text);
    *c = (child){0};
}

/* In the new process. */
_Noreturn static void be_worker(parent *p, int number, int socket, pid_t parent_pid)
{
    /* A parent that is killed takes its workers along: what they work on, the next run takes up. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent_pid) { _exit(1); }
    for (int i = 0; i < p->workers->count; i++) {
        if (p->children[i].socket > 0) { (void)close(p->children[i].socket); }
    }
    spade_worker worker = {.request = p->request, .socket = socket, .results = p->events->result != NULL};
    const int code = p->workers->work(p->workers->user, &worker, number);
    (void)fflush(NULL);
    _exit(code);
}

static spade_status start_child(parent *p, int number)
{
    int ends[2];
    const pid_t self = getpid();
    child *c = &p->children[number];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return spade_fail(p->context, SPADE_ERROR_IO, "a worker cannot be started: %s", strerror(errno));
    }
    (void)fflush(NULL); /* what waits to be printed is the parent's */
    const pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        be_worker(p, number, ends[1], self);
    }
    (void)close(ends[1]);
    if (pid < 0) {
        (void)close(ends[0]);
        return spade_fail(p->context, SPADE_ERROR_IO, "a worker cannot be started: %s", strerror(errno));
    }
    *c = (child){.pid = pid, .socket = ends[0], .row = -1};
    return SPADE_OK;
}

static void tell(const child *c, const char *line)
{
    (void)!send(c->socket, line, strlen(line), MSG_NOSIGNAL); /* a worker that is gone is seen where it is read */
}

static void ask_to_stop(parent *p)
{
    p->stopping = true;
    for (int i = 0; i < p->workers->count; i++) {
        child *c = &p->children[i];
        if (c->pid && !c->stopping) { tell(c, "T\n"); }
        c->stopping = true;
    }
}

/* ---- shards */

/* before: pictures of it that no worker of this run made. */
static void count_done(const parent *p, const json_t *record, int64_t before)
{
    spade_workload_outcome *pictures = &p->outcome->pictures;
    pictures->done += (int)json_integer_value(json_object_get(record, "count"));
    pictures->kept += (int)before;
    pictures->failed += (int)json_array_size(json_object_get(record, "failures"));
    p->outcome->finished++;
}

static spade_status look_at_shard(parent *p, int64_t shard)
{
    spade_shard_state state;
    json_t *record;
    SPADE_TRY(annotate_look(p->context, &p->store, p->request, p->events, shard, &state, &record));
    const bool left = spade_shard_is_left(state, record, p->request->retry);
    p->outcome->shards++;
    if (left) {
        p->tasks[p->task_count++] = (task){.shard = shard};
        p->rows += spade_store_end(&p->store, shard) - spade_store_first(&p->store, shard);
    } else if (state == SPADE_SHARD_FINISHED) {
        count_done(p, record, json_integer_value(json_object_get(record, "count")));
    } else {
        p->outcome->aside++;
        spade_log(p->context, SPADE_LOG_WARNING, "%s: shard %lld was set aside; --retry tries it again",
                  p->store.folder, (long long)shard);
    }
    json_decref(record);
    /* by the store it is to be done, whatever the ledger has heard */
    return left ? spade_ledger_retry(p->ledger, shard) : SPADE_OK;
}

static spade_status open_ledger(parent *p)
{
    char *path = NULL;
    const spade_annotate_request *request = p->request;
    SPADE_TRY(
        spade_ledger_path(p->context, p->store.folder, p->workers->ledger, request->share, request->shares, &path));
    const spade_status status = spade_ledger_open(p->context, path, p->store.configuration, &p->ledger);
    free(path);
    return status;
}

/* The first worker has a model, and a store: there is something to share. */
static spade_status open_store(parent *p)
{
    const spade_annotate_request *request = p->request;
    SPADE_TRY(spade_store_open(p->context, request->output, &p->store));
    SPADE_TRY(open_ledger(p));
    p->tasks = calloc((size_t)(p->store.shards / request->shares + 1), sizeof *p->tasks);
    if (!p->tasks) { return fail_memory(p); }
    for (int64_t s = request->share; s < p->store.shards; s += request->shares) { SPADE_TRY(look_at_shard(p, s)); }
    if (p->outcome->finished) {
        spade_workload_note(p->events, "%lld of %lld shards are in %s already", (long long)p->outcome->finished,
                            (long long)p->outcome->shards, p->store.folder);
    }
    annotate_warn_of_few_shards(p->context, request, &p->store, p->outcome->shards);
    if (p->task_count) {
        spade_workload_note(p->events, "%d workers for %lld shard%s", p->workers->count, (long long)p->task_count,
                            p->task_count == 1 ? "" : "s");
    }
    p->opened = true;
    return SPADE_OK;
}

static task *find_task(const parent *p, int64_t shard)
{
    int64_t low = 0, high = p->task_count; /* they are in order */
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (p->tasks[middle].shard < shard) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < p->task_count && p->tasks[low].shard == shard ? &p->tasks[low] : NULL;
}

static int64_t find_free(parent *p)
{
    while (p->first_free < p->task_count && p->tasks[p->first_free].state != TASK_FREE) { p->first_free++; }
    return p->first_free < p->task_count ? p->first_free : -1;
}

/* A worker asks for a shard. */
static spade_status hand_out(parent *p, int number)
{
    child *c = &p->children[number];
    char line[32];
    if (!p->opened) { SPADE_TRY(open_store(p)); }
    for (int64_t i; !p->stopping && (i = find_free(p)) >= 0;) {
        task *t = &p->tasks[i];
        bool taken;
        SPADE_TRY(spade_ledger_lease(p->ledger, t->shard, c->pid, &taken));
        if (!taken) {
            t->state = TASK_OVER;
            continue;
        }
        *t = (task){.shard = t->shard, .state = TASK_LEASED, .worker = number, .order = p->orders++};
        snprintf(line, sizeof line, "S %lld\n", (long long)t->shard);
        tell(c, line);
        return SPADE_OK;
    }
    tell(c, "S -1\n");
    return SPADE_OK;
}

/* It is in the store: by another run, too, or set aside there. */
static spade_status end_task(parent *p, int64_t shard)
{
    task *t = find_task(p, shard);
    spade_shard_state state;
    json_t *record;
    if (!t || t->state == TASK_OVER) { return SPADE_OK; }
    t->state = TASK_OVER;
    p->deaths = 0;
    SPADE_TRY(spade_shard_look(p->context, &p->store, shard, &state, &record));
    if (state == SPADE_SHARD_FINISHED) { count_done(p, record, t->before); }
    p->outcome->aside += state == SPADE_SHARD_SET_ASIDE;
    json_decref(record);
    return spade_ledger_done(p->ledger, shard);
}

/* flags: it failed; its trace decides differently; its trace keeps less than half of the score */
static void note_row(parent *p, int64_t row, const int *flags)
{
    task *t = p->opened ? find_task(p, row / p->store.shard_size) : NULL;
    p->deaths = 0;
    p->rows_done++;
    p->outcome->pictures.changed += flags[1] != 0;
    p->outcome->pictures.fell += flags[2] != 0;
    spade_report_progress(p->context, "pictures", (double)p->rows_done, (double)(p->rows > 0 ? p->rows : 1));
    if (!t || t->state != TASK_LEASED) { return; } /* the last one of a shard that is counted */
    t->failed += flags[0] != 0;
    t->done += flags[0] == 0;
}

/* What another worker of this run left, which was ended, is not of before. */
static void note_kept(parent *p, int64_t shard, int64_t done, int64_t failed)
{
    task *t = p->opened ? find_task(p, shard) : NULL;
    if (!t || t->state != TASK_LEASED) { return; }
    if (!t->taken) { p->rows -= done + failed; }
    if (!t->taken || done < t->before) { t->before = done; }
    if (!t->taken || failed < t->failed_before) { t->failed_before = failed; }
    t->taken = true;
    t->done = done - t->before;
    t->failed = failed - t->failed_before;
}

/* ---- a shard whose worker is gone */

static spade_status set_aside(parent *p, int64_t shard, int64_t row, int signal_number, int tries)
{
    const int64_t rows[] = {spade_store_first(&p->store, shard), spade_store_end(&p->store, shard)};
    char *path = spade_store_path(p->context, &p->store, shard, SPADE_SHARD_ASIDE), text[400], at[64];
    json_t *all = json_object();
    if (!path) {
        json_decref(all);
        return SPADE_ERROR_MEMORY;
    }
    spade_json_set(&all, "format", json_integer(SPADE_STORE_FORMAT));
    spade_json_set(&all, "shard", json_integer(shard));
    spade_json_set(&all, "rows", spade_json_integers(rows, 2));
    spade_json_set(&all, "row", row < 0 ? json_null() : json_integer(row));
    spade_json_set(&all, "tries", json_integer(tries));
    spade_json_set(&all, "signal", json_integer(signal_number));
    spade_json_set(&all, "configuration_hash", json_string(p->store.configuration));
    spade_json_set(&all, "version", json_string(spade_version()));
    const spade_status status = spade_store_write_json(p->context, path, all);
    json_decref(all);
    free(path);
    SPADE_TRY(status);
    p->outcome->aside++;
    snprintf(at, sizeof at, row < 0 ? ", before its next picture" : ", at row %lld", (long long)row);
    snprintf(text, sizeof text,
             "%s: shard %lld is set aside: it ended its worker %d times (%s%s); --retry tries it again",
             p->store.folder, (long long)shard, tries, strsignal(signal_number), at);
    if (p->events->failed) { p->events->failed(p->events->user, text); }
    return SPADE_OK;
}

/* The worker was at a picture of the shard when it ended: three times at the same one, and the shard is set aside. Who dies on the way
 * there, as when somebody kills workers one after the other, says nothing of the shard; unless none gets any further. */
static spade_status count_kill(parent *p, task *t, int64_t row, int signal_number)
{
    int tries = 0;
    const bool at_row = row >= spade_store_first(&p->store, t->shard) && row < spade_store_end(&p->store, t->shard);
    const bool hopeless = p->deaths + 1 >= MAX_DEATHS * p->workers->count;
    if (at_row) { SPADE_TRY(spade_ledger_killed(p->ledger, t->shard, row, signal_number, &tries)); }
    if (tries < SPADE_LEDGER_TRIES && !hopeless) { return SPADE_OK; }
    t->state = TASK_OVER;
    if (tries < SPADE_LEDGER_TRIES) { tries = p->deaths + 1; }
    p->deaths = -1; /* this one is counted behind here */
    return set_aside(p, t->shard, at_row ? row : -1, signal_number, tries);
}

/* What a worker had is free again. row: that it was at, below 0: none; signal_number: that ended it; 0: none. */
static spade_status take_back(parent *p, int number, int64_t row, int signal_number)
{
    task *at_hand = NULL;
    for (int64_t i = 0; i < p->task_count; i++) {
        task *t = &p->tasks[i];
        if (t->state != TASK_LEASED || t->worker != number) { continue; }
        if (!at_hand || t->order < at_hand->order) { at_hand = t; }
        t->state = TASK_FREE;
        if (i < p->first_free) { p->first_free = i; }
        SPADE_TRY(spade_ledger_release(p->ledger, t->shard));
    }
    if (!at_hand || !signal_number || p->stopping) { return SPADE_OK; }
    return count_kill(p, at_hand, row, signal_number);
}

/* ---- what workers say */

/* Every worker warns of the same: it is said once. */
static void note_line(parent *p, const char *text)
{
    int level = SPADE_LOG_WARNING, at = 0;
    if (sscanf(text, "%d %n", &level, &at) != 1) { return; }
    for (int i = 0; i < p->line_count; i++) {
        if (strcmp(p->lines[i], text) == 0) { return; }
    }
    if (p->line_count < MAX_LINES && (p->lines[p->line_count] = strdup(text))) { p->line_count++; }
    spade_log(p->context, (spade_log_level)level, "%s", text + at);
}

static void note_result(const parent *p, const char *text)
{
    spade_json_error error;
    json_t *result = spade_json_parse(text, strlen(text), &error);
    if (result && p->events->result) { p->events->result(p->events->user, result); }
    json_decref(result);
}

static spade_status note_error(parent *p, const char *text)
{
    int status = SPADE_ERROR_INTERNAL, at = 0;
    (void)sscanf(text, "%d %n", &status, &at);
    if (p->failed == SPADE_OK) {
        p->failed = status > SPADE_OK && status <= SPADE_ERROR_INTERNAL ? (spade_status)status : SPADE_ERROR_INTERNAL;
        (void)spade_fail(p->context, p->failed, "%s", text + at);
        ask_to_stop(p);
    }
    return SPADE_OK;
}

static spade_status take_line(parent *p, int number, const char *line)
{
    long long value = 0, kept = 0, kept_failed = 0;
    int flags[3] = {0};
    switch (*line) {
    case 'N': return hand_out(p, number);
    case 'D': return sscanf(line, "D %lld", &value) == 1 ? end_task(p, value) : SPADE_OK;
    case 'K':
        if (sscanf(line, "K %lld %lld %lld", &value, &kept, &kept_failed) == 3) {
            note_kept(p, value, kept, kept_failed);
        }
        return SPADE_OK;
    case 'B':
        if (sscanf(line, "B %lld", &value) == 1) { p->children[number].row = value; }
        return SPADE_OK;
    case 'R':
        p->children[number].row = -1;
        if (sscanf(line, "R %lld %d %d %d", &value, &flags[0], &flags[1], &flags[2]) == 4) {
            note_row(p, value, flags);
        }
        return SPADE_OK;
    case 'J': note_result(p, line + 2); return SPADE_OK;
    case 'F':
        if (p->events->failed) { p->events->failed(p->events->user, line + 2); }
        return SPADE_OK;
    case 'W': note_line(p, line + 2); return SPADE_OK;
    case 'E': return note_error(p, line + 2);
    default: return SPADE_OK;
    }
}

/* Whole lines of what is there. */
static spade_status take_lines(parent *p, int number)
{
    child *c = &p->children[number];
    size_t at = 0;
    for (char *end; (end = memchr(c->text + at, '\n', c->used - at));) {
        *end = 0;
        const char *line = c->text + at;
        at = (size_t)(end - c->text) + 1;
        SPADE_TRY(take_line(p, number, line));
    }
    memmove(c->text, c->text + at, c->used - at);
    c->used -= at;
    return SPADE_OK;
}

/* *open false: the worker has closed its end. */
static spade_status read_child(parent *p, int number, bool *open)
{
    enum { PIECE = 65536 };
    child *c = &p->children[number];
    *open = true;
    if (c->room - c->used < PIECE) {
        char *larger = c->room > MAX_LINE ? NULL : realloc(c->text, c->room + PIECE);
        if (!larger) { return fail_memory(p); }
        c->text = larger;
        c->room += PIECE;
    }
    const ssize_t count = read(c->socket, c->text + c->used, c->room - c->used);
    if (count < 0 && errno == EINTR) { return SPADE_OK; }
    *open = count > 0;
    c->used += count > 0 ? (size_t)count : 0;
    return count > 0 ? take_lines(p, number) : SPADE_OK;
}

/* ---- the loop */

/* It ends with an error that it has told, or could not tell. */
static spade_status note_exit(parent *p, int code)
{
    if (code == 0 || p->failed != SPADE_OK || p->stopping) { return SPADE_OK; }
    p->failed = SPADE_ERROR_INTERNAL; /* it has said why, on its own, as it had nobody to say it to */
    (void)spade_fail(p->context, p->failed, "a worker ended with code %d", code);
    ask_to_stop(p);
    return SPADE_OK;
}

static spade_status end_child(parent *p, int number)
{
    child *c = &p->children[number];
    int ended = 0;
    while (waitpid(c->pid, &ended, 0) < 0 && errno == EINTR) {}
    const int signal_number = WIFSIGNALED(ended) ? WTERMSIG(ended) : 0;
    const int64_t row = c->row;
    close_child(c);
    SPADE_TRY(take_back(p, number, row, signal_number));
    if (!signal_number) { return note_exit(p, WEXITSTATUS(ended)); }
    if (p->stopping) { return SPADE_OK; }
    spade_log(p->context, SPADE_LOG_WARNING, "a worker was ended (%s); another one goes on", strsignal(signal_number));
    if (++p->deaths < MAX_DEATHS * p->workers->count) { return SPADE_OK; }
    return spade_fail(p->context, SPADE_ERROR_INTERNAL, "workers are ended before they have done anything (%s)",
                      strsignal(signal_number));
}

/* As many as are wanted, while there is something for them; before the store is there one, which makes it. */
static spade_status start_children(parent *p)
{
    if (p->stopping) { return SPADE_OK; }
    const int wanted = p->opened ? p->workers->count : 1;
    int64_t free = 0;
    for (int64_t i = find_free(p); i >= 0 && i < p->task_count && free < wanted; i++) {
        free += p->tasks[i].state == TASK_FREE;
    }
    for (int i = 0; i < wanted; i++) {
        if (p->children[i].pid || (p->opened && free-- <= 0)) { continue; }
        SPADE_TRY(start_child(p, i));
    }
    return SPADE_OK;
}

static spade_status wait_for_children(parent *p, bool *any)
{
    struct pollfd inputs[SPADE_MAX_WORKERS];
    int numbers[SPADE_MAX_WORKERS], count = 0;
    for (int i = 0; i < p->workers->count; i++) {
        if (!p->children[i].pid) { continue; }
        inputs[count] = (struct pollfd){.fd = p->children[i].socket, .events = POLLIN};
        numbers[count++] = i;
    }
    *any = count > 0;
    if (!count || poll(inputs, (nfds_t)count, POLL_MS) <= 0) { return SPADE_OK; }
    for (int i = 0; i < count; i++) {
        bool open = true;
        if (!inputs[i].revents) { continue; }
        SPADE_TRY(read_child(p, numbers[i], &open));
        if (!open) { SPADE_TRY(end_child(p, numbers[i])); }
    }
    return SPADE_OK;
}

static spade_status run(parent *p)
{
    for (bool any = true; any;) {
        if (!p->stopping && p->events->stop && p->events->stop(p->events->user)) {
            p->outcome->pictures.stopped = true;
            ask_to_stop(p);
        }
        SPADE_TRY(start_children(p));
        SPADE_TRY(wait_for_children(p, &any));
        if (!any && p->opened && !p->stopping && find_free(p) >= 0) { any = true; } /* given back meanwhile */
        if (!any && !p->opened && !p->stopping && p->deaths) { any = true; }
    }
    return p->failed;
}

/* Rows of shards that are not finished count as well. */
static void count_unfinished(const parent *p)
{
    for (int64_t i = 0; i < p->task_count; i++) {
        if (p->tasks[i].state == TASK_OVER) { continue; }
        const task *t = &p->tasks[i];
        p->outcome->pictures.done += (int)(t->before + t->done);
        p->outcome->pictures.kept += (int)t->before;
        p->outcome->pictures.failed += (int)(t->failed_before + t->failed);
    }
}

static void close_parent(parent *p)
{
    for (int i = 0; i < p->workers->count; i++) { /* after a failure of our own they end as if we were dead */
        if (!p->children[i].pid) { continue; }
        (void)kill(p->children[i].pid, SIGKILL);
        while (waitpid(p->children[i].pid, NULL, 0) < 0 && errno == EINTR) {}
        close_child(&p->children[i]);
    }
    for (int i = 0; i < p->line_count; i++) { free(p->lines[i]); }
    spade_ledger_close(p->ledger);
    spade_store_clear(&p->store);
    free(p->tasks);
}

spade_status spade_annotate_workers(spade_context *context, const spade_annotate_request *request,
                                    const spade_workload_events *events, const spade_workers *workers,
                                    spade_annotate_outcome *outcome)
{
    parent p = {.context = context, .request = request, .events = events, .workers = workers, .outcome = outcome};
    *outcome = (spade_annotate_outcome){0};
    if (workers->count < 1 || workers->count > SPADE_MAX_WORKERS) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%d workers: 1 to %d", workers->count, SPADE_MAX_WORKERS);
    }
    spade_workload_phase(events, "pictures", 0, 1);
    const spade_status status = run(&p);
    count_unfinished(&p);
    spade_error error;
    spade_error_save(context, &error);
    close_parent(&p);
    if (status != SPADE_OK) { spade_error_restore(context, &error); }
    return status;
}
