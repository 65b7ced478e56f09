/*
 * decode.c - pictures through spade-decode, a helper process each (decoder/worker.c says why).
 *
 * Helpers are started with posix_spawn, never fork: after OpenMP or CUDA a forked process is not safe. As many run at
 * once as the context has threads; one poll loop drains their pipes. A helper whose pipe nobody drains yet decodes all
 * the same, and waits with the pixels.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "picture/decode.h"
#include "picture/orient.h"

enum { MAX_SIDE = SPADE_MAX_SIDE, MAX_PIXELS = 64 * 1000 * 1000, HEADER_BYTES = 32, MAX_HELPERS = 64 };
/* decoder/decoder.h */
enum {
    FLAG_MASK_GREYS = 1,
    FLAG_GREY_CLIPPED = 2,
    FLAG_DAMAGED = 4,
    FLAG_INEXACT = 8,
    FLAG_ALPHA = 16,
    ORIENTATION_SHIFT = 8
};
#define MAX_FILE ((off_t)256 << 20)
#define MAX_SECONDS 20.0

/* One running helper and what came from it so far. */
typedef struct helper {
    int index; /* which of the files, -1: idle */
    pid_t pid;
    int out, error; /* read ends, -1: closed */
    double started;
    size_t received, expected; /* bytes of header and pixels; expected is known after the header */
    uint32_t header[HEADER_BYTES / 4];
    uint8_t *pixels; /* RGB, and behind all of it alpha where there is one */
    char reason[256];
    size_t reason_length;
    bool bad_output, out_of_memory, timed_out;
} helper;

struct spade_decode {
    spade_context *context;
    const char *const *paths;
    const spade_mapping *contents; /* NULL: all are files */
    const bool *masks;             /* NULL: none is */
    bool alpha;                    /* is wanted */
    int count, next, running;      /* files; the first that has had no helper yet; helpers at work */
    spade_picture *pictures;
    spade_status *statuses;
    char **messages;
    char (*fingerprints)[SPADE_FINGERPRINT_SIZE]; /* NULL: nobody asks */
    size_t held;                                  /* bytes of the pixels that came so far */
    bool upright;                                 /* pictures are turned as EXIF asks */
    int slots;
    helper helpers[MAX_HELPERS];
    char program[4200];
};

static void close_fd(int *fd)
{
    if (*fd >= 0) { close(*fd); }
    *fd = -1;
}

/* A descriptor outside 0-2, so that redirecting the helper's never overwrites one that is still needed. */
static int above_standard(int fd)
{
    if (fd < 0 || fd > 2) { return fd; }
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int error = errno;
    close(fd);
    errno = error;
    return moved;
}

static bool open_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0) {
        ends[0] = ends[1] = -1;
        return false;
    }
    ends[0] = above_standard(ends[0]);
    ends[1] = above_standard(ends[1]);
    return ends[0] >= 0 && ends[1] >= 0;
}

/* Beside the running program; where it was built, if it runs from there; where it is installed. */
static spade_status find_helper(spade_context *context, char *path, size_t capacity)
{
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = NULL;
    if (length > 0) {
        self[length] = '\0';
        slash = strrchr(self, '/');
    }
    if (slash) {
        *slash = '\0';
        snprintf(path, capacity, "%s/spade-decode", self);
        if (access(path, X_OK) == 0) { return SPADE_OK; }
    }
    if (spade_runs_from(SPADE_BUILD_DIR)) {
        snprintf(path, capacity, "%s/spade-decode", SPADE_BUILD_DIR);
        if (access(path, X_OK) == 0) { return SPADE_OK; }
    }
    if (spade_find_installed("spade-decode", path, capacity)) { return SPADE_OK; }
    return spade_fail(
        context, SPADE_ERROR_IO,
        "the picture decoder spade-decode is missing (looked beside the program, in %s from there, and in "
        "%s)",
        SPADE_LIBEXEC_FROM_BIN, SPADE_LIBEXEC);
}

static spade_status open_picture_file(spade_context *context, const char *path, int *out)
{
    struct stat info;
    int fd = above_standard(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (fd < 0) {
        const bool full = errno == EMFILE || errno == ENFILE;
        return spade_fail(context, full ? SPADE_ERROR_IO : SPADE_ERROR_INPUT, "%s: %s", path, strerror(errno));
    }
    spade_status status = SPADE_OK;
    if (fstat(fd, &info) != 0) {
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s: not a regular file", path);
    } else if (info.st_size == 0) {
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s: empty file", path);
    } else if (info.st_size > MAX_FILE) {
        char size[32];
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s: %s, the limit is 256 MiB", path,
                            spade_format_bytes((uint64_t)info.st_size, size));
    }
    if (status != SPADE_OK) { close_fd(&fd); }
    *out = fd;
    return status;
}

/* What is in memory goes to the helper as a file that has no name and is on no disk. */
static spade_status open_content(spade_context *context, const char *name, const spade_mapping *content, int *out)
{
    *out = -1;
    if (content->size == 0) { return spade_fail(context, SPADE_ERROR_INPUT, "%s: empty file", name); }
    int fd = above_standard(memfd_create("picture", MFD_CLOEXEC));
    bool written = fd >= 0;
    for (size_t done = 0; written && done < content->size;) {
        const ssize_t n = write(fd, content->data + done, content->size - done);
        if (n < 0 && errno == EINTR) { continue; }
        written = n > 0;
        done += written ? (size_t)n : 0;
    }
    if (written && lseek(fd, 0, SEEK_SET) == 0) {
        *out = fd;
        return SPADE_OK;
    }
    const spade_status status = errno == ENOMEM || errno == ENOSPC ? SPADE_ERROR_MEMORY : SPADE_ERROR_IO;
    spade_fail(context, status, "%s: cannot hand it to the decoder: %s", name, strerror(errno));
    close_fd(&fd);
    return spade_not_ok(status);
}

/* posix_spawn with fds as standard input, output and error; default signals, but those that ask a run to stop go to
 * this process alone: it may still want the pictures. Returns an errno. */
static int spawn_helper(const char *program, const char *option, int in, int out, int error, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t blocked, defaults;
    char *const arguments[] = {(char *)"spade-decode", (char *)(uintptr_t)option, NULL};
    char *libraries = NULL; /* the decoder's are where the program's are */
    const char *path = getenv("LD_LIBRARY_PATH");
    if (path && asprintf(&libraries, "LD_LIBRARY_PATH=%s", path) < 0) { return ENOMEM; }
    char *const environment[] = {(char *)"LC_ALL=C", (char *)"ASAN_OPTIONS=detect_leaks=0", libraries, NULL};
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGXCPU);
    sigaddset(&defaults, SIGXFSZ);
    int result = posix_spawn_file_actions_init(&actions);
    if (result != 0) {
        free(libraries);
        return result;
    }
    result = posix_spawnattr_init(&attributes);
    if (result != 0) {
        posix_spawn_file_actions_destroy(&actions);
        free(libraries);
        return result;
    }
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &blocked);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    if ((result = posix_spawn_file_actions_adddup2(&actions, in, 0)) == 0 &&
        (result = posix_spawn_file_actions_adddup2(&actions, out, 1)) == 0 &&
        (result = posix_spawn_file_actions_adddup2(&actions, error, 2)) == 0) {
        result = posix_spawn(pid, program, &actions, &attributes, arguments, environment);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(libraries);
    return result;
}

static spade_status start_helper(const spade_decode *d, int index, helper *h)
{
    spade_context *context = d->context;
    const char *program = d->program, *path = d->paths[index];
    const char *option = d->masks && d->masks[index] ? "--mask" : d->alpha ? "--alpha" : NULL;
    int in = -1, out[2] = {-1, -1}, error[2] = {-1, -1};
    spade_status status;
    *h = (helper){.index = -1, .out = -1, .error = -1};
    SPADE_GOTO(d->contents && d->contents[index].data ? open_content(context, path, &d->contents[index], &in)
                                                      : open_picture_file(context, path, &in));
    int result =
        open_pipe(out) && open_pipe(error) ? spawn_helper(program, option, in, out[1], error[1], &h->pid) : errno;
    if (result != 0) {
        status = spade_fail(context, SPADE_ERROR_IO, "%s: cannot start %s: %s", path, program, strerror(result));
        goto done;
    }
    h->index = index;
    h->started = spade_now();
    h->expected = HEADER_BYTES;
    h->out = out[0];
    h->error = error[0];
    out[0] = error[0] = -1;
done:
    close_fd(&in);
    close_fd(&out[0]);
    close_fd(&out[1]);
    close_fd(&error[0]);
    close_fd(&error[1]);
    return status;
}

/* The header is complete: believe nothing of it, then make room for the pixels. */
static void accept_header(spade_decode *d, helper *h)
{
    uint64_t width = h->header[1], height = h->header[2];
    const bool alpha = h->header[3] & FLAG_ALPHA;
    if (memcmp(h->header, "SPD2", 4) != 0 || width < 1 || height < 1 || width > MAX_SIDE || height > MAX_SIDE ||
        width * height > MAX_PIXELS || (alpha && !d->alpha)) {
        h->bad_output = true;
        return;
    }
    size_t bytes = (size_t)(width * height * (alpha ? 4 : 3));
    if (d->held + bytes > spade_budget_left(d->context) || !(h->pixels = malloc(bytes))) {
        h->out_of_memory = true;
        return;
    }
    d->held += bytes;
    h->expected = HEADER_BYTES + bytes;
}

/* Read what is there; closes the pipe at its end or when nothing more is wanted. */
static void drain_out(spade_decode *d, helper *h)
{
    uint8_t extra;
    void *to = &extra;
    size_t room = 1; /* one byte more than expected shows a helper that sends too much */
    if (h->received < HEADER_BYTES) {
        to = (uint8_t *)h->header + h->received;
        room = HEADER_BYTES - h->received;
    } else if (h->received < h->expected) {
        to = h->pixels + (h->received - HEADER_BYTES);
        room = h->expected - h->received;
    }
    ssize_t n = read(h->out, to, room);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) { return; }
    if (n <= 0) {
        close_fd(&h->out);
        return;
    }
    h->received += (size_t)n;
    if (h->received > h->expected) { h->bad_output = true; }
    if (h->received == HEADER_BYTES && !h->pixels) { accept_header(d, h); }
    if (h->bad_output || h->out_of_memory) { close_fd(&h->out); }
}

static void drain_error(helper *h)
{
    char buffer[1024];
    ssize_t n = read(h->error, buffer, sizeof buffer);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) { return; }
    if (n <= 0) {
        close_fd(&h->error);
        return;
    }
    size_t room = sizeof h->reason - 1 - h->reason_length;
    size_t take = (size_t)n < room ? (size_t)n : room;
    memcpy(h->reason + h->reason_length, buffer, take);
    h->reason_length += take;
    h->reason[h->reason_length] = '\0';
}

/* Wait for a helper's end; how it ended. 0, where the program ignores its children: then the output alone tells. */
static int reap(pid_t pid)
{
    int code = 0;
    pid_t reaped;
    do {
        reaped = waitpid(pid, &code, 0);
    } while (reaped < 0 && errno == EINTR);
    return reaped < 0 ? 0 : code;
}

/* The pixels are RGB and then alpha: alpha to memory of its own. */
static spade_status cut_alpha(spade_context *context, spade_picture *picture)
{
    const size_t pixels = (size_t)(picture->height * picture->width);
    picture->alpha = malloc(pixels);
    if (!picture->alpha) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: an alpha channel"); }
    memcpy(picture->alpha, picture->rgb + 3 * pixels, pixels);
    uint8_t *smaller = realloc(picture->rgb, 3 * pixels);
    if (smaller) { picture->rgb = smaller; }
    return SPADE_OK;
}

/* What a helper's flags say about its file. */
static void warn_of_flags(spade_context *context, const char *path, uint32_t flags)
{
    if (flags & FLAG_DAMAGED) {
        spade_log(context, SPADE_LOG_WARNING, "%s: the file is damaged; decoded as far as it can be (as in Pillow)",
                  path);
    }
    if (flags & FLAG_MASK_GREYS) {
        spade_log(context, SPADE_LOG_WARNING,
                  "%s: most pixels of the mask that are not black are not above 127, and so outside", path);
    }
    if (flags & FLAG_GREY_CLIPPED) {
        spade_log(context, SPADE_LOG_WARNING, "%s: 16-bit grey, values above 255 become white (as in Pillow)", path);
    }
}

/* The picture of a helper that succeeded; its pixels are the picture's. */
static spade_status take_picture(spade_decode *d, const helper *h)
{
    spade_context *context = d->context;
    const char *path = d->paths[h->index];
    spade_picture *out = &d->pictures[h->index];
    const int orientation = (int)(h->header[3] >> ORIENTATION_SHIFT);
    spade_status status = SPADE_OK;
    *out = (spade_picture){.height = h->header[2],
                           .width = h->header[1],
                           .rgb = h->pixels,
                           .exif_rotated = orientation > 1,
                           .inexact = (h->header[3] & FLAG_INEXACT) != 0};
    if (d->fingerprints) {
        uint64_t halves[2]; /* low, high */
        memcpy(halves, &h->header[4], sizeof halves);
        spade_fingerprint_text(halves[1], halves[0], d->fingerprints[h->index]);
    }
    if (h->header[3] & FLAG_ALPHA) { status = cut_alpha(context, out); }
    if (status == SPADE_OK && out->exif_rotated && d->upright) {
        status = spade_orient(context, orientation, out);
    } else if (out->exif_rotated) {
        spade_log(context, SPADE_LOG_WARNING, "%s: the EXIF rotation is ignored; --orient applies it", path);
    }
    warn_of_flags(context, path, h->header[3]);
    return status;
}

/* Both pipes are closed (or the time is up): reap the helper, turn what it did into a picture or one line. */
static spade_status finish_helper(spade_decode *d, helper *h)
{
    spade_context *context = d->context;
    const char *path = d->paths[h->index];
    close_fd(&h->out);
    close_fd(&h->error);
    if (h->timed_out || h->bad_output || h->out_of_memory) { kill(h->pid, SIGKILL); }
    int code = reap(h->pid);
    bool complete = h->pixels && h->received == h->expected;
    spade_status status = SPADE_OK;
    if (h->timed_out || (WIFSIGNALED(code) && WTERMSIG(code) == SIGXCPU)) {
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s: decoding took longer than %.0f s", path, MAX_SECONDS);
    } else if (h->out_of_memory) {
        status = spade_fail(context, SPADE_ERROR_MEMORY, "%s: no memory for %u x %u pixels", path, h->header[1],
                            h->header[2]);
    } else if (h->bad_output) {
        status = spade_fail(context, SPADE_ERROR_INTERNAL, "%s: the picture decoder sent nonsense", path);
    } else if (WIFSIGNALED(code)) {
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s: the picture decoder crashed on it (%s)", path,
                            strsignal(WTERMSIG(code)));
    } else if (code != 0 || !complete) {
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s: %s", path,
                            h->reason_length ? h->reason : "the picture decoder failed");
    }
    if (status != SPADE_OK) {
        d->held -= h->pixels ? h->expected - HEADER_BYTES : 0;
        free(h->pixels);
    } else {
        status = take_picture(d, h);
    }
    *h = (helper){.index = -1, .out = -1, .error = -1};
    return status;
}

/* Wait until one of the helpers has something, at most until the first of them runs out of time. */
static void poll_helpers(spade_decode *d)
{
    struct pollfd fds[2 * MAX_HELPERS];
    helper *owners[2 * MAX_HELPERS];
    int count = 0;
    double now = spade_now(), wait = MAX_SECONDS;
    for (int i = 0; i < d->slots; i++) {
        helper *h = &d->helpers[i];
        if (h->index < 0) { continue; }
        double left = h->started + MAX_SECONDS - now;
        wait = left < wait ? left : wait;
        if (h->out >= 0) { owners[count] = h, fds[count++] = (struct pollfd){.fd = h->out, .events = POLLIN}; }
        if (h->error >= 0) { owners[count] = h, fds[count++] = (struct pollfd){.fd = h->error, .events = POLLIN}; }
    }
    int ready = poll(fds, (nfds_t)count, wait > 0 ? (int)(wait * 1000) + 1 : 0);
    for (int i = 0; ready > 0 && i < count; i++) {
        if (!fds[i].revents) { continue; }
        if (fds[i].fd == owners[i]->error) {
            drain_error(owners[i]);
        } else {
            drain_out(d, owners[i]);
        }
    }
    now = spade_now();
    for (int i = 0; i < d->slots; i++) {
        if (d->helpers[i].index >= 0 && now - d->helpers[i].started > MAX_SECONDS) { d->helpers[i].timed_out = true; }
    }
}

static void record(spade_decode *d, spade_status status, int i)
{
    d->statuses[i] = status;
    d->messages[i] = status == SPADE_OK ? NULL : strdup(d->context->message);
} /* NOLINT(clang-analyzer-unix.Malloc): each is written once, and the caller's */

/* Helpers for the next files, as far as there are idle slots. */
static void start_helpers(spade_decode *d)
{
    for (int i = 0; i < d->slots && d->next < d->count; i++) {
        while (d->helpers[i].index < 0 && d->next < d->count) {
            int index = d->next++;
            spade_status status = start_helper(d, index, &d->helpers[i]);
            if (status != SPADE_OK) { record(d, status, index); }
            d->running += status == SPADE_OK;
        }
    }
}

spade_status spade_decoding_begin(spade_context *context, const char *const *paths, const spade_mapping *contents,
                                  const bool *masks, bool alpha, int n, spade_picture *out, spade_status *statuses,
                                  char **messages, spade_decode **decoding)
{
    spade_decode *d = *decoding = calloc(1, sizeof *d);
    spade_status status = d ? find_helper(context, d->program, sizeof d->program)
                            : spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: decoding of %d pictures", n);
    for (int i = 0; i < n; i++) {
        out[i] = (spade_picture){0};
        statuses[i] = status == SPADE_OK ? SPADE_ERROR_INTERNAL : status;
        messages[i] = status == SPADE_OK ? NULL : strdup(context->message);
    }
    if (status != SPADE_OK) {
        free(d);
        *decoding = NULL;
        return status;
    }
    d->context = context;
    d->paths = paths;
    d->contents = contents;
    d->masks = masks;
    d->alpha = alpha;
    d->count = n;
    d->pictures = out;
    d->statuses = statuses;
    d->messages = messages;
    d->slots = context->threads < MAX_HELPERS ? context->threads : MAX_HELPERS;
    for (int i = 0; i < d->slots; i++) { d->helpers[i] = (helper){.index = -1, .out = -1, .error = -1}; }
    start_helpers(d);
    return SPADE_OK;
}

void spade_decoding_upright(spade_decode *d)
{
    d->upright = true;
}

void spade_decoding_fingerprints(spade_decode *d, char (*out)[SPADE_FINGERPRINT_SIZE])
{
    d->fingerprints = out;
}

void spade_decoding_finish(spade_decode *d)
{
    double now = spade_now();
    for (int i = 0; i < d->slots; i++) { d->helpers[i].started = now; } /* that nobody came for it is not its time */
    while (d->running > 0 || d->next < d->count) {
        start_helpers(d);
        if (d->running == 0) { continue; }
        poll_helpers(d);
        for (int i = 0; i < d->slots; i++) {
            helper *h = &d->helpers[i];
            if (h->index < 0 || (!h->timed_out && (h->out >= 0 || h->error >= 0))) { continue; }
            int index = h->index;
            record(d, finish_helper(d, h), index);
            d->running--;
        }
    }
}

spade_status spade_decoding_check(spade_context *context, const spade_status *statuses, char *const *messages, int n)
{
    for (int i = 0; i < n; i++) {
        if (statuses[i] != SPADE_ERROR_IO) { continue; }
        return spade_fail(context, SPADE_ERROR_IO, "%s",
                          messages[i] ? messages[i] : "no picture decoder can be started");
    }
    return SPADE_OK;
}

void spade_decoding_destroy(spade_decode *d)
{
    if (!d) { return; }
    for (int i = 0; i < d->slots; i++) {
        helper *h = &d->helpers[i];
        if (h->index < 0) { continue; }
        kill(h->pid, SIGKILL);
        reap(h->pid);
        close_fd(&h->out);
        close_fd(&h->error);
        free(h->pixels);
    }
    free(d);
}

static spade_status load_many(spade_context *context, const char *const *paths, const bool *masks, bool alpha, int n,
                              bool upright, spade_picture *out, spade_status *statuses, char **messages)
{
    spade_decode *decoding;
    SPADE_TRY(spade_decoding_begin(context, paths, NULL, masks, alpha, n, out, statuses, messages, &decoding));
    if (upright) { spade_decoding_upright(decoding); }
    spade_decoding_finish(decoding);
    spade_decoding_destroy(decoding);
    return SPADE_OK;
}

spade_status spade_picture_load_many(spade_context *context, const char *const *paths, int n, spade_picture *out,
                                     spade_status *statuses, char **messages)
{
    return load_many(context, paths, NULL, false, n, false, out, statuses, messages);
}

static spade_status load(spade_context *context, const char *path, bool mask, bool alpha, bool upright,
                         spade_picture *out)
{
    spade_status status;
    char *message;
    spade_status all = load_many(context, &path, &mask, alpha, 1, upright, out, &status, &message);
    free(message); /* the context has it too */
    return all != SPADE_OK ? all : status;
}

spade_status spade_picture_load(spade_context *context, const char *path, spade_picture *out)
{
    return load(context, path, false, false, false, out);
}

spade_status spade_picture_load_upright(spade_context *context, const char *path, spade_picture *out)
{
    return load(context, path, false, false, true, out);
}

spade_status spade_picture_load_alpha(spade_context *context, const char *path, spade_picture *out)
{
    return load(context, path, false, true, false, out);
}

spade_status spade_mask_load(spade_context *context, const char *path, spade_picture *out)
{
    return load(context, path, true, false, false, out);
}

void spade_picture_clear(spade_picture *picture)
{
    if (!picture) { return; }
    free(picture->rgb);
    free(picture->alpha);
    *picture = (spade_picture){0};
}
