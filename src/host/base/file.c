/* file.c - input files in memory; output files that appear under their final name only when complete. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"

/* Fill the memory from the file. A file that is shorter by now changed while it was read. */
static spade_status read_whole(spade_context *context, const char *name, int fd, void *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        const ssize_t count = pread(fd, (char *)to + done, size - done, (off_t)done);
        if (count < 0 && errno == EINTR) { continue; }
        if (count < 0) { return spade_fail(context, SPADE_ERROR_IO, "%s: %s", name, strerror(errno)); }
        if (count == 0) { return spade_fail(context, SPADE_ERROR_IO, "%s: became shorter while it was read", name); }
        done += (size_t)count;
    }
    return SPADE_OK;
}

spade_status spade_map_descriptor(spade_context *context, const char *name, int fd, size_t size, bool keep,
                                  spade_mapping *out)
{
    *out = (spade_mapping){0};
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        char need[32];
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory: the file needs %s", name,
                          spade_format_bytes(size, need));
    }
    *out = (spade_mapping){.data = data, .size = size};
    struct stat before, after;
    bool same = fstat(fd, &before) == 0;
    spade_status status = read_whole(context, name, fd, data, size);
    same = same && fstat(fd, &after) == 0 && (size_t)after.st_size == size &&
           before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec;
    if (status == SPADE_OK && !same) { /* half of it may be the old file, and half the new one */
        status = spade_fail(context, SPADE_ERROR_IO, "%s: changed while it was read; is it still being written?", name);
    }
    if (status == SPADE_OK && keep) {
        out->descriptor = fcntl(fd, F_DUPFD_CLOEXEC, 3) + 1; /* 0 without one: the bytes stay in memory then */
    }
    if (status != SPADE_OK) { spade_unmap(out); }
    return status;
}

static spade_status map_file(spade_context *context, const char *path, uint64_t limit, bool keep, spade_mapping *out)
{
    *out = (spade_mapping){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) { return spade_fail(context, SPADE_ERROR_INPUT, "%s: %s", path, strerror(errno)); }
    struct stat info;
    spade_status status = SPADE_OK;
    char size[32], max[32];
    if (fstat(fd, &info) != 0) {
        status = spade_fail(context, SPADE_ERROR_IO, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s: not a regular file", path);
    } else if (info.st_size == 0) {
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s: empty file", path);
    } else if ((uint64_t)info.st_size > limit) {
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s: %s, the limit is %s", path,
                            spade_format_bytes((uint64_t)info.st_size, size), spade_format_bytes(limit, max));
    } else {
        status = spade_map_descriptor(context, path, fd, (size_t)info.st_size, keep, out);
    }
    close(fd);
    return status;
}

spade_status spade_map_file(spade_context *context, const char *path, uint64_t limit, spade_mapping *out)
{
    return map_file(context, path, limit, false, out);
}

spade_status spade_map_kept_file(spade_context *context, const char *path, uint64_t limit, spade_mapping *out)
{
    return map_file(context, path, limit, true, out);
}

void spade_unmap(spade_mapping *mapping)
{
    if (mapping->data) { munmap((void *)(uintptr_t)mapping->data, mapping->size); }
    if (mapping->descriptor) { close(mapping->descriptor - 1); }
    *mapping = (spade_mapping){0};
}

void spade_mapping_drop(const spade_mapping *mapping, const void *bytes, size_t size)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)mapping->data, from = (uintptr_t)bytes;
    if (!mapping->data || from < begin || from + size > begin + mapping->size) { return; }
    const uintptr_t first = (from + page - 1) / page * page, last = (from + size) / page * page;
    if (first < last) { (void)madvise((void *)first, last - first, MADV_DONTNEED); } /* only to save memory */
}

void spade_mapping_release(const spade_mapping *mapping)
{
    void *data = (void *)(uintptr_t)mapping->data;
    if (!mapping->descriptor) { return; }
    /* no access, so that nobody takes the zeros that are there now for the file's */
    if (mprotect(data, mapping->size, PROT_NONE) == 0) { (void)madvise(data, mapping->size, MADV_DONTNEED); }
}

spade_status spade_mapping_restore(spade_context *context, const char *name, const spade_mapping *mapping)
{
    void *data = (void *)(uintptr_t)mapping->data;
    if (!mapping->descriptor) { return SPADE_OK; }
    if (mprotect(data, mapping->size, PROT_READ | PROT_WRITE) != 0) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory to read it again", name);
    }
    return read_whole(context, name, mapping->descriptor - 1, data, mapping->size);
}

/* ---- temporary files: NAME.spade-XXXXXXXX beside NAME, locked (flock) by the process that writes it, so that those of
 * killed processes can be told from those that are still written. Where locks do not work, none is removed. */
enum { TEMPORARY_DIGITS = 8 };
static const char temporary_mark[] = ".spade-";

static int is_temporary(const struct dirent *entry)
{
    const char *name = entry->d_name;
    const size_t length = strlen(name), tail = sizeof temporary_mark - 1 + TEMPORARY_DIGITS;
    if (length <= tail) { return 0; }
    const char *mark = name + length - tail;
    return memcmp(mark, temporary_mark, sizeof temporary_mark - 1) == 0 &&
           strspn(mark + sizeof temporary_mark - 1, "0123456789abcdef") == TEMPORARY_DIGITS;
}

/* A new file that this process has locked; its name is written behind the final one in `name`. -1: see errno. */
static int create_temporary(char *name, size_t capacity, size_t length)
{
    enum { ATTEMPTS = 100 };
    for (int i = 0; i < ATTEMPTS; i++) {
        uint32_t number;
        struct stat info;
        if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number) { return -1; }
        snprintf(name + length, capacity - length, "%s%0*x", temporary_mark, TEMPORARY_DIGITS, number);
        int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0) {
            if (errno == EEXIST) { continue; }
            return -1;
        }
        /* Between open and flock the file looks abandoned, and another process may have removed it. */
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {
            if (fstat(fd, &info) != 0 || info.st_nlink > 0) { return fd; }
        }
        close(fd);
    }
    errno = EEXIST;
    return -1;
}

void spade_sweep_temporaries(const char *folder)
{
    struct dirent **entries;
    const int count = scandir(folder, &entries, is_temporary, alphasort);
    for (int i = 0; i < count; i++) {
        struct stat info;
        char *path;
        int fd = -1;
        if (asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0) { path = NULL; }
        if (path) { fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); }
        if (fd >= 0) {
            if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0) {
                (void)unlink(path);
            }
            close(fd);
        }
        free(path);
        free(entries[i]);
    }
    if (count >= 0) { free(entries); }
}

spade_status spade_lock_folder(spade_context *context, const char *path, int *out)
{
    /* A helper that a killed run was just starting holds its files until it is another program. */
    enum { ATTEMPTS = 20 };
    const struct timespec pause = {.tv_nsec = 50000000};
    *out = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out < 0) { return spade_fail(context, SPADE_ERROR_IO, "%s: %s", path, strerror(errno)); }
    for (int i = 0; i < ATTEMPTS; i++) {
        if (i) { (void)nanosleep(&pause, NULL); }
        if (flock(*out, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) { return SPADE_OK; }
    }
    close(*out);
    *out = -1;
    return spade_fail(context, SPADE_ERROR_IO,
                      "%s: another spade is writing there; wait for it, or give another folder", path);
}

spade_status spade_output_open(spade_context *context, const char *path, spade_output *out)
{
    *out = (spade_output){0};
    const size_t length = strlen(path), capacity = length + sizeof temporary_mark + TEMPORARY_DIGITS;
    out->path = strdup(path);
    out->temporary = malloc(capacity);
    if (!out->path || !out->temporary) {
        free(out->temporary);
        out->temporary = NULL; /* there is no such file yet */
        spade_output_abort(out);
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
    }
    memcpy(out->temporary, path, length);
    int fd = create_temporary(out->temporary, capacity, length);
    if (fd < 0) {
        spade_status status = spade_fail(context, SPADE_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
        free(out->temporary);
        out->temporary = NULL;
        spade_output_abort(out);
        return status;
    }
    out->file = fdopen(fd, "wb");
    if (!out->file) {
        close(fd);
        spade_output_abort(out);
        return spade_fail(context, SPADE_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    }
    return SPADE_OK;
}

spade_status spade_output_commit(spade_context *context, spade_output *out)
{
    bool ok = fflush(out->file) == 0 && !ferror(out->file) && fsync(fileno(out->file)) == 0;
    /* Before the file is closed: closing it gives the lock up, and it must not look abandoned under this name. */
    if (ok) { ok = rename(out->temporary, out->path) == 0; }
    int error = errno;
    if (fclose(out->file) != 0 && ok) { ok = false, error = errno; }
    out->file = NULL;
    if (!ok) {
        spade_status status = spade_fail(context, SPADE_ERROR_IO, "%s: cannot write: %s", out->path, strerror(error));
        spade_output_abort(out);
        return status;
    }
    free(out->temporary);
    out->temporary = NULL;
    spade_output_abort(out);
    return SPADE_OK;
}

void spade_output_abort(spade_output *out)
{
    if (out->file) { fclose(out->file); }
    if (out->temporary) { unlink(out->temporary); }
    free(out->temporary);
    free(out->path);
    *out = (spade_output){0};
}

spade_status spade_write_file(spade_context *context, const char *path, const void *bytes, size_t size)
{
    spade_output out;
    SPADE_TRY(spade_output_open(context, path, &out));
    fwrite(bytes, 1, size, out.file);
    return spade_output_commit(context, &out);
}

/* Without slashes at its end, but for that of the root. */
static void cut_slashes(char *path)
{
    for (size_t length = strlen(path); length > 1 && path[length - 1] == '/'; length--) { path[length - 1] = 0; }
}

void spade_remove_folders(const char *path, int count)
{
    char *copy = count > 0 ? strdup(path) : NULL;
    for (char *end = copy; end && count > 0; count--) {
        cut_slashes(copy);
        if (rmdir(copy) != 0) { break; }
        end = strrchr(copy, '/');
        if (end) { *end = 0; }
    }
    free(copy);
}

spade_status spade_make_folders(spade_context *context, const char *path, const char *action, int *made)
{
    char *copy = strdup(path);
    struct stat info;
    int count = 0, above = 0; /* that were made; those among them which the last one lies in */
    if (made) { *made = 0; }
    if (!copy) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    cut_slashes(copy);
    for (char *at = copy + 1; *copy && *at; at++) {
        if (*at != '/') { continue; }
        *at = 0;
        above += mkdir(copy, 0777) == 0; /* where this fails, the last mkdir does, and its reason is reported */
        *at = '/';
    }
    count = above + (mkdir(copy, 0777) == 0);
    const int error = errno;
    const bool there = count > above || (error == EEXIST && stat(copy, &info) == 0 && S_ISDIR(info.st_mode));
    char *last = strrchr(copy, '/');
    if (!there && last) {
        *last = 0;
        spade_remove_folders(copy, above);
    }
    free(copy);
    if (made && there) { *made = count; }
    return there ? SPADE_OK : spade_fail(context, SPADE_ERROR_IO, "%s: %s: %s", path, action, strerror(error));
}
