/* place.c - where the running code lies, and what was installed with it. */
#include <dlfcn.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

static bool find_program(char path[PATH_MAX])
{
    const ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    if (length <= 0) { return false; }
    path[length] = 0;
    return true;
}

/* The shared object that this is a part of. Of those the loader knows the whole path; of a program only what it was called
 * with. */
static bool find_library(char path[PATH_MAX])
{
    Dl_info info;
    const bool known = dladdr(__extension__(void *) spade_runs_from, &info) && info.dli_fname && *info.dli_fname == '/';
    return known && realpath(info.dli_fname, path);
}

static bool lies_in(const char *path, const char *folder)
{
    const size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

bool spade_runs_from(const char *folder)
{
    char place[PATH_MAX], path[PATH_MAX];
    if (!realpath(folder, place)) { return false; }
    return (find_program(path) && lies_in(path, place)) || (find_library(path) && lies_in(path, place));
}

/* The file `name` in the folder that lies `way` from the code's own, if it belongs to whom the code belongs, or to the
 * system: others may write into folders above. */
static bool find_from(const char *code, const char *way, const char *name, char *path, size_t size)
{
    struct stat own, found;
    const char *slash = strrchr(code, '/');
    if (!slash || snprintf(path, size, "%.*s/%s/%s", (int)(slash - code), code, way, name) >= (int)size) {
        return false;
    }
    return stat(code, &own) == 0 && stat(path, &found) == 0 && (found.st_uid == own.st_uid || found.st_uid == 0);
}

bool spade_find_installed(const char *name, char *path, size_t size)
{
    char code[PATH_MAX];
    if (find_program(code) && find_from(code, SPADE_LIBEXEC_FROM_BIN, name, path, size)) { return true; }
    if (find_library(code) && find_from(code, SPADE_LIBEXEC_FROM_LIB, name, path, size)) { return true; }
    return snprintf(path, size, "%s/%s", SPADE_LIBEXEC, name) < (int)size && access(path, R_OK) == 0;
}
