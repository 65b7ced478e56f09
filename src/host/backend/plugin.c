/* plugin.c - finds and loads the CUDA backend. */
#include <dlfcn.h>
#include <unistd.h>

#include "base/base.h"
#include "backend/plugin.h"

static const spade_backend *load(const char *path, char *why, size_t size)
{
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object) {
        snprintf(why, size, "the CUDA backend cannot be loaded: %s", dlerror());
        return NULL;
    }
    spade_plugin_table_fn table;
    *(void **)&table = dlsym(object, SPADE_PLUGIN_SYMBOL);
    const spade_backend *backend = table ? table(sizeof(spade_backend), SPADE_VERSION) : NULL;
    if (!backend) { snprintf(why, size, "%s does not belong to this spade (%s)", path, SPADE_VERSION); }
    /* cppcheck-suppress resourceLeak ; it stays loaded, see plugin.h */
    return backend;
}

static const char *named_in_environment(void)
{
    const char *named = getenv("SPADE_CUDA_LIBRARY");
    return named && *named ? named : NULL;
}

bool spade_plugin_wanted(void)
{
    /* the driver's on PCs and servers, in WSL, on Jetson */
    static const char *const files[] = {"/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvmap"};
    bool there = named_in_environment() != NULL;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) { there = there || access(files[i], F_OK) == 0; }
    return there;
}

bool spade_plugin_find(char *path, size_t size)
{
    const char *named = named_in_environment();
    if (named) { return snprintf(path, size, "%s", named) < (int)size; }
    if (spade_runs_from(SPADE_BUILD_DIR)) {
        snprintf(path, size, "%s/spade-cuda.so", SPADE_BUILD_DIR);
        if (access(path, R_OK) == 0) { return true; }
    }
    return spade_find_installed("spade-cuda.so", path, size);
}

const spade_backend *spade_plugin_cuda(char *why, size_t size)
{
    char path[4096];
    if (spade_plugin_find(path, sizeof path)) { return load(path, why, size); }
    snprintf(why, size, "this build of spade has no CUDA backend (no spade-cuda.so in %s)", SPADE_LIBEXEC);
    return NULL;
}
