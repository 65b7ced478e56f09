/* annotate_worker.c - a worker's side: annotate_workers.h. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <unistd.h>

#include "workload/annotate_workers.h"

/* A whole line, or there is no parent any more. */
__attribute__((format(printf, 2, 3))) static void send_line(spade_worker *worker, const char *format, ...)
{
    char *line;
    va_list arguments;
    va_start(arguments, format);
    const int length = vasprintf(&line, format, arguments);
    va_end(arguments);
    if (length < 0) { /* what the parent is not told, it sees in the store */
        return;
    }
    for (int at = 0; at < length && !worker->lost;) {
        const ssize_t count = write(worker->socket, line + at, (size_t)(length - at));
        if (count < 0 && errno == EINTR) { continue; }
        worker->lost = count <= 0;
        at += (int)count;
    }
    free(line);
}

/* The parent's next line is taken; *shard: of S, below 0 where it is none. */
static void take_line(spade_worker *worker, int64_t *shard)
{
    char line[64];
    long long number = -1;
    *shard = -1;
    if (!fgets(line, sizeof line, worker->in)) {
        worker->lost = true;
    } else if (*line == 'T') {
        worker->stopped = true;
    } else if (sscanf(line, "S %lld", &number) == 1) {
        *shard = number;
    }
}

static bool should_stop(void *user)
{
    spade_worker *worker = user;
    struct pollfd input = {.fd = worker->socket, .events = POLLIN};
    int64_t shard;
    /* between two shards the parent says nothing but that; its answers are read where they are asked for */
    while (!worker->stopped && !worker->lost && poll(&input, 1, 0) > 0) { take_line(worker, &shard); }
    return worker->stopped || worker->lost || (worker->stop && worker->stop(worker->user));
}

static spade_status next_shard(void *user, int64_t *shard)
{
    spade_worker *worker = user;
    *shard = -1;
    if (should_stop(worker)) { return SPADE_OK; }
    send_line(worker, "N\n");
    take_line(worker, shard);
    return SPADE_OK;
}

static void finished(void *user, int64_t shard)
{
    send_line(user, "D %lld\n", (long long)shard);
}

static void kept(void *user, int64_t shard, int64_t done, int64_t failed)
{
    send_line(user, "K %lld %lld %lld\n", (long long)shard, (long long)done, (long long)failed);
}

static void begun(void *user, int64_t row)
{
    send_line(user, "B %lld\n", (long long)row);
}

static void on_failed(void *user, const char *message)
{
    send_line(user, "F %s\n", message);
}

static void on_result(void *user, const json_t *result)
{
    spade_worker *worker = user;
    const json_t *row = json_object_get(result, "row");
    send_line(worker, "R %lld %d %d %d\n", (long long)json_integer_value(row), json_object_get(result, "error") != NULL,
              json_is_true(json_object_get(result, "class_changed")),
              json_is_true(json_object_get(result, "score_fell")));
    char *text = worker->results ? spade_json_dump(result, JSON_COMPACT) : NULL;
    if (text) { send_line(worker, "J %s\n", text); }
    free(text);
}

static void on_log(void *user, spade_log_level level, const char *line)
{
    send_line(user, "W %d %s\n", (int)level, line);
}

spade_status spade_worker_annotate(spade_context *context, spade_worker *worker, bool (*stop)(void *user), void *user)
{
    spade_annotate_request request = *worker->request;
    const spade_workload_events events = {
        .user = worker, .failed = on_failed, .result = on_result, .stop = should_stop};
    spade_annotate_outcome outcome;
    worker->stop = stop;
    worker->user = user;
    worker->in = fdopen(worker->socket, "r");
    if (!worker->in) { return spade_fail(context, SPADE_ERROR_IO, "a worker has no parent: %s", strerror(errno)); }
    setvbuf(worker->in, NULL, _IONBF, 0); /* poll() sees what is not read yet */
    request.next_shard = next_shard;
    request.finished = finished;
    request.kept = kept;
    request.begun = begun;
    request.shard_user = worker;
    context->log = on_log;
    context->progress = NULL;
    context->user = worker;
    const spade_status status = spade_annotate(context, &request, &events, &outcome);
    if (status != SPADE_OK) { send_line(worker, "E %d %s\n", (int)status, spade_message(context)); }
    context->log = NULL;
    return status;
}
