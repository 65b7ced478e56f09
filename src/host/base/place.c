/* place.c - where the running code lies. */
#include <dlfcn.h>
#include <limits.h>
#include <unistd.h>

#include "base/base.h"

static bool lies_in(const char *path, const char *folder)
{
    const size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

bool spade_runs_from(const char *folder)
{
    char place[PATH_MAX], path[PATH_MAX];
    Dl_info info;
    if (!realpath(folder, place)) { return false; }
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        if (lies_in(path, place)) { return true; }
    }
    /* of a shared object the loader knows the whole path; of the program only what it was called with */
    const bool known = dladdr(__extension__(void *) spade_runs_from, &info) && info.dli_fname && *info.dli_fname == '/';
    return known && realpath(info.dli_fname, path) && lies_in(path, place);
}
