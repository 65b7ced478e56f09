/* registry.c - which backends this build has, opening a device by its name. */
#include <jansson.h>
#include <yaml.h>
#include <zlib.h>

#include "backend/plugin.h"

int spade_devices(spade_device_info *devices, int capacity)
{
    char why[256] = "";
    int count = spade_backend_cpu.devices(devices, capacity), room = capacity > count ? capacity - count : 0;
    const spade_backend *cuda = spade_plugin_cuda(why, sizeof why);
    int gpus = cuda ? cuda->devices(room ? devices + count : NULL, room) : 0;
    if (gpus > 0) { return count + gpus; }
    if (room) { /* say why there is none */
        devices[count] = (spade_device_info){.name = "cuda", .description = "NVIDIA GPU"};
        snprintf(devices[count].note, sizeof devices[count].note, "%.250s",
                 cuda ? "no CUDA device or no driver for it" : why);
    }
    return count + 1;
}

/* "NAME" or "NAME:N", N a number of at most 3 digits, -> N (0 where there is none); -1: not that. */
static int device_index(const char *text, const char *name)
{
    size_t length = strlen(name);
    if (strncmp(text, name, length) != 0) { return -1; }
    text += length;
    if (*text == '\0') { return 0; }
    size_t digits = strspn(text + 1, "0123456789");
    if (*text != ':' || digits < 1 || digits > 3 || text[1 + digits] != '\0') { return -1; }
    return atoi(text + 1);
}

static spade_status open_cuda(spade_context *context, int index, spade_device **out)
{
    char why[512];
    const spade_backend *cuda = spade_plugin_cuda(why, sizeof why);
    if (!cuda) { return spade_fail(context, SPADE_ERROR_DEVICE, "device cuda:%d: %s; use cpu", index, why); }
    return cuda->open(context, index, out);
}

/* The first GPU that can be used, else the processor. */
static spade_status open_best(spade_context *context, spade_device **out)
{
    char why[256];
    spade_device_info first;
    const spade_backend *cuda = spade_plugin_wanted() ? spade_plugin_cuda(why, sizeof why) : NULL;
    if (cuda && cuda->devices(&first, 1) > 0 && !first.note[0] && cuda->open(context, 0, out) == SPADE_OK) {
        return SPADE_OK;
    }
    spade_error_clear(context);
    return spade_backend_cpu.open(context, 0, out);
}

spade_status spade_device_open(spade_context *context, const char *name, spade_device **out)
{
    *out = NULL;
    if (!name || strcmp(name, "auto") == 0) { return open_best(context, out); }
    if (strcmp(name, "cpu") == 0) { return spade_backend_cpu.open(context, 0, out); }
    int index = device_index(name, "cuda");
    if (index >= 0) { return open_cuda(context, index, out); }
    return spade_fail(context, SPADE_ERROR_ARGUMENT,
                      "there is no device named \"%s\"; known are auto, cpu, cuda, cuda:N", name);
}

/* ---- versions */

const char *spade_version(void)
{
    return SPADE_VERSION;
}

void spade_library_versions(char *buffer, size_t size)
{
    if (size == 0) { return; }
    buffer[0] = '\0';
    char why[256], path[4096];
    const bool wanted = spade_plugin_wanted();
    const spade_backend *backends[] = {&spade_backend_cpu, wanted ? spade_plugin_cuda(why, sizeof why) : NULL};
    for (int i = 0; i < 2; i++) {
        size_t length = strlen(buffer);
        if (backends[i]) { backends[i]->libraries(buffer + length, size - length); }
    }
    size_t length = strlen(buffer);
    if (!wanted && spade_plugin_find(path, sizeof path)) {
        snprintf(buffer + length, size - length, "spade-cuda.so installed (not loaded: there is no GPU)\n");
        length = strlen(buffer);
    }
    snprintf(buffer + length, size - length, "libyaml %s\njansson %s\nzlib %s\n", yaml_get_version_string(),
             jansson_version_str(), zlibVersion());
}
