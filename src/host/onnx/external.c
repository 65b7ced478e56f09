/*
 * external.c - weights outside the .onnx file.
 *
 * The location is a name that the file's author chose: it is opened relative to the model's folder and must stay below
 * it. The kernel checks that (openat2); where it cannot, every component is opened by itself without following links.
 * A model that is a link itself, as Hugging Face's cache lays them out (snapshots/../model.onnx to blobs/HASH), has its data
 * among the files that its own link leads to: a link to there is followed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "onnx/reader.h"

enum { MAX_DESCRIPTORS = 64 };
static const int open_flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

/* Relative, without empty, "." or ".." components. */
static bool plain_location(const char *path)
{
    if (*path == '/' || *path == 0) { return false; }
    while (*path) {
        size_t length = strcspn(path, "/");
        if (length == 0 || (length == 1 && path[0] == '.') || (length == 2 && path[0] == '.' && path[1] == '.')) {
            return false;
        }
        path += length;
        if (*path == '/' && *++path == 0) { return false; }
    }
    return true;
}

/* Open component by component, never through a link. Returns a descriptor or -1 with errno. */
static int open_by_component(int folder, const char *path)
{
    char component[NAME_MAX + 1];
    int at = folder;
    for (;;) {
        size_t length = strcspn(path, "/");
        bool last = path[length] == 0;
        int next = -1;
        if (length > NAME_MAX) {
            errno = ENAMETOOLONG;
        } else {
            memcpy(component, path, length);
            component[length] = 0;
            next =
                openat(at, component, last ? open_flags | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        int error = errno;
        if (at != folder) { close(at); }
        errno = error;
        if (next < 0 || last) { return next; }
        at = next;
        path += length + 1;
    }
}

/* Without openat2, links allowed: resolve them first, then insist that the result lies below the folder. */
static int open_resolved(int folder, const char *folder_path, const char *path)
{
    char joined[2 * PATH_MAX], base[PATH_MAX], target[PATH_MAX];
    snprintf(joined, sizeof joined, "%s/%s", folder_path, path);
    if (!realpath(folder_path, base) || !realpath(joined, target)) { return -1; }
    size_t length = strcmp(base, "/") == 0 ? 0 : strlen(base);
    if (strncmp(base, target, length) != 0 || target[length] != '/') {
        errno = EXDEV;
        return -1;
    }
    return open_by_component(folder, target + length + 1);
}

static int open_beneath(int folder, const char *folder_path, const char *path, bool follow_links)
{
    struct open_how how = {.flags = (uint64_t)open_flags,
                           .resolve =
                               RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (follow_links ? 0 : RESOLVE_NO_SYMLINKS)};
    int fd;
    int tries = 0;
    do { /* EAGAIN: something was renamed meanwhile */
        fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
    } while (fd < 0 && errno == EAGAIN && ++tries < 16);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != EINVAL && errno != E2BIG)) { return fd; }
    return follow_links ? open_resolved(folder, folder_path, path) : open_by_component(folder, path);
}

/* Where the model's own link leads to another folder and the data's link to a file of that folder: this file. -1: not so;
 * errno stays what it was. */
static int open_beside_target(const char *model, const char *folder_path, const char *path)
{
    char joined[2 * PATH_MAX], base[PATH_MAX], target[PATH_MAX], data[PATH_MAX];
    const int before = errno;
    int fd = -1;
    snprintf(joined, sizeof joined, "%s/%s", folder_path, path);
    char *slash = realpath(model, target) ? strrchr(target, '/') : NULL;
    if (slash && realpath(folder_path, base) && realpath(joined, data)) {
        *slash = 0;
        const size_t length = strlen(target);
        const bool below = strncmp(data, target, length) == 0 && data[length] == '/';
        const int folder = below && strcmp(base, target) != 0 ? open(*target ? target : "/", O_PATH | O_CLOEXEC) : -1;
        if (folder >= 0) {
            fd = open_by_component(folder, data + length + 1);
            close(folder);
        }
    }
    errno = before;
    return fd;
}

/* The folder of the model: "." for a bare name. Caller frees. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) { return strdup("."); }
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static spade_status fail(onnx_reader *reader, const char *location, const char *why)
{
    return spade_fail(reader->context, SPADE_ERROR_INPUT, "%s: external data '%s': %s", reader->model->path, location,
                      why);
}

static const char *explain(int error)
{
    switch (error) {
    case ELOOP: return "is reached through a symbolic link; --follow-links follows it";
    case EXDEV: return "lies outside the folder of the model";
    default: return strerror(error);
    }
}

static spade_status map_descriptor(onnx_reader *reader, const char *location, int fd, spade_mapping *out)
{
    struct stat info;
    if (fstat(fd, &info) != 0) { return fail(reader, location, strerror(errno)); }
    if (!S_ISREG(info.st_mode)) { return fail(reader, location, "not a regular file"); }
    if ((uint64_t)info.st_size > ONNX_MAX_EXTERNAL - reader->external_bytes) {
        return fail(reader, location, "more than 16 GiB of external data");
    }
    reader->external_bytes += (uint64_t)info.st_size;
    if (info.st_size == 0) { return SPADE_OK; }
    /* of models in very many files, some stay in memory: descriptors are few */
    const bool keep = reader->model->external_count <= MAX_DESCRIPTORS;
    return spade_map_descriptor(reader->context, location, fd, (size_t)info.st_size, keep, out);
}

/* Open, map and remember a file; *index in model->external. */
static spade_status map_external(onnx_reader *reader, const char *location, int *index)
{
    onnx_model *model = reader->model;
    for (int i = model->external_count; i-- > 0;) { /* the newest first: tensors of a file come in a row */
        if (strcmp(model->external_names[i], location) == 0) { return *index = i, SPADE_OK; }
    }
    if (model->external_count == ONNX_MAX_EXTERNAL_FILES) {
        return fail(reader, location, "more than 10000 external files");
    }
    if (!plain_location(location)) {
        return fail(reader, location, "not a relative path below the folder of the model");
    }

    spade_status status = SPADE_OK;
    int folder = -1, fd = -1, names = model->external_count;
    char *folder_path = folder_of(model->path);
    if (!folder_path) { SPADE_GOTO(spade_fail(reader->context, SPADE_ERROR_MEMORY, "%s: out of memory", model->path)); }
    folder = open(folder_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) { SPADE_GOTO(fail(reader, location, strerror(errno))); }
    fd = open_beneath(folder, folder_path, location, reader->follow_links);
    if (fd < 0 && (errno == ELOOP || errno == EXDEV)) { fd = open_beside_target(model->path, folder_path, location); }
    if (fd < 0) { SPADE_GOTO(fail(reader, location, explain(errno))); }
    SPADE_GOTO(onnx_push(reader, &model->external_names, &names, sizeof *model->external_names));
    SPADE_GOTO(onnx_push(reader, &model->external, &model->external_count, sizeof *model->external));
    *index = model->external_count - 1;
    model->external_names[*index] = strdup(location);
    if (!model->external_names[*index]) {
        SPADE_GOTO(spade_fail(reader->context, SPADE_ERROR_MEMORY, "%s: out of memory", model->path));
    }
    SPADE_GOTO(map_descriptor(reader, location, fd, &model->external[*index]));
done:
    if (fd >= 0) { close(fd); }
    if (folder >= 0) { close(folder); }
    free(folder_path);
    return status;
}

/* A decimal number and nothing else. */
static bool parse_number(const char *text, uint64_t *out)
{
    *out = 0;
    if (!*text) { return false; }
    for (; *text; text++) {
        if (*text < '0' || *text > '9') { return false; }
        if (__builtin_mul_overflow(*out, (uint64_t)10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(*text - '0'), out)) {
            return false;
        }
    }
    return true;
}

spade_status onnx_read_external(onnx_reader *reader, const onnx_location *location, uint64_t size, onnx_tensor *tensor)
{
    const char *path = reader->model->path;
    if (!location->file) {
        return onnx_malformed(reader, tensor->field_offset, "tensor '%s' has external data without a location",
                              tensor->name);
    }
    uint64_t offset = 0, length = size;
    if (location->offset && !parse_number(location->offset, &offset)) {
        return fail(reader, location->file, "the offset is not a number");
    }
    if (location->length && !parse_number(location->length, &length)) {
        return fail(reader, location->file, "the length is not a number");
    }
    if (size != SIZE_MAX && length != size) {
        return spade_fail(reader->context, SPADE_ERROR_INPUT,
                          "%s: tensor '%s' has %llu bytes of external data where its shape and type need %llu", path,
                          tensor->name, (unsigned long long)length, (unsigned long long)size);
    }
    int index = 0;
    SPADE_TRY(map_external(reader, location->file, &index));
    const spade_mapping *file = &reader->model->external[index];
    if (offset > file->size || (length != SIZE_MAX && length > file->size - offset)) {
        return spade_fail(reader->context, SPADE_ERROR_INPUT,
                          "%s: external data '%s': tensor '%s' needs bytes %llu to %llu + %llu of %zu (cut off?)", path,
                          location->file, tensor->name, (unsigned long long)offset, (unsigned long long)offset,
                          (unsigned long long)length, file->size);
    }
    if (length == SIZE_MAX) { length = file->size - offset; }
    tensor->external = index + 1;
    tensor->external_offset = offset;
    tensor->external_size = length;
    /* an empty external file is not mapped; its tensors are empty too, and any address does */
    tensor->bytes = file->data ? file->data + offset : reader->model->file.data;
    return SPADE_OK;
}
