/* file.c - mapped input files; output files that appear under their final name only when complete. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

spade_status spade_map_file(spade_context *context, const char *path, uint64_t limit, spade_mapping *out)
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
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = spade_fail(context, SPADE_ERROR_IO, "%s: %s", path, strerror(errno));
        } else {
            *out = (spade_mapping){data, (size_t)info.st_size};
        }
    }
    close(fd);
    return status;
}

void spade_unmap(spade_mapping *mapping)
{
    if (mapping->data) { munmap((void *)(uintptr_t)mapping->data, mapping->size); }
    *mapping = (spade_mapping){0};
}

spade_status spade_output_open(spade_context *context, const char *path, spade_output *out)
{
    *out = (spade_output){0};
    size_t length = strlen(path) + 16;
    out->path = strdup(path);
    out->temporary = malloc(length);
    if (!out->path || !out->temporary) {
        spade_output_abort(out);
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
    }
    snprintf(out->temporary, length, "%s.XXXXXX", path);
    int fd = mkostemp(out->temporary, O_CLOEXEC);
    if (fd < 0) {
        spade_status status = spade_fail(context, SPADE_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
        free(out->temporary);
        out->temporary = NULL;
        spade_output_abort(out);
        return status;
    }
    mode_t mask = umask(0);
    umask(mask);
    (void)fchmod(fd, 0666 & ~mask);
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
    int error = errno;
    if (fclose(out->file) != 0 && ok) { ok = false, error = errno; }
    out->file = NULL;
    if (ok && rename(out->temporary, out->path) != 0) { ok = false, error = errno; }
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

spade_status spade_make_folders(spade_context *context, const char *path, const char *action)
{
    char *copy = strdup(path);
    struct stat info;
    if (!copy) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    for (char *at = copy + 1; *copy && *at; at++) {
        if (*at != '/') { continue; }
        *at = 0;
        (void)mkdir(copy, 0777); /* where this fails, the last mkdir does, and its reason is reported */
        *at = '/';
    }
    bool made = mkdir(copy, 0777) == 0 || (errno == EEXIST && stat(copy, &info) == 0 && S_ISDIR(info.st_mode));
    int error = errno;
    free(copy);
    return made ? SPADE_OK : spade_fail(context, SPADE_ERROR_IO, "%s: %s: %s", path, action, strerror(error));
}
