/* available.c - how much memory this process may still take: what the system has free, and what its control groups allow. */
#include <inttypes.h>
#include <unistd.h>

#include "base/base.h"

/* Where the kernel shows them: PREFIX/proc, PREFIX/sys. */
enum { MAX_PATH = 512, MAX_LINE = 512 };

/* A number of bytes in a file that holds only that; UINT64_MAX: there is none ("max"), or no such file. */
static uint64_t read_number(const char *path)
{
    uint64_t number = UINT64_MAX;
    FILE *file = fopen(path, "r");
    if (!file) { return UINT64_MAX; }
    if (fscanf(file, "%" SCNu64, &number) != 1) { number = UINT64_MAX; }
    (void)fclose(file);
    return number;
}

/* The number behind `key` at the beginning of a line; `otherwise` where there is no such line or file. */
static uint64_t read_entry(const char *path, const char *key, uint64_t otherwise)
{
    char line[MAX_LINE];
    const size_t length = strlen(key);
    FILE *file = fopen(path, "r");
    if (!file) { return otherwise; }
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) == 0 && sscanf(line + length, "%" SCNu64, &otherwise) == 1) { break; }
    }
    (void)fclose(file);
    return otherwise;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What one group leaves. Pages of files that nobody used lately count as used there, but are given back on demand. */
static uint64_t group_leaves(const char *folder, const char *limit_name, const char *usage_name, const char *file_key)
{
    char path[MAX_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", folder, limit_name);
    const uint64_t limit = read_number(path);
    if (limit == UINT64_MAX) { return UINT64_MAX; }
    snprintf(path, sizeof path, "%s/%s", folder, usage_name);
    uint64_t used = read_number(path);
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    const uint64_t files = read_entry(path, file_key, 0);
    used = used == UINT64_MAX ? 0 : used - least(files, used);
    return limit > used ? limit - used : 0;
}

/* The group and all that it lies in, up to the root of the hierarchy. A container sees its own group as that root. */
static uint64_t groups_leave(const char *root, const char *group, bool version_2)
{
    uint64_t left = UINT64_MAX;
    char folder[MAX_PATH];
    if (snprintf(folder, sizeof folder, "%s%s", root, group) >= (int)sizeof folder) { return UINT64_MAX; }
    for (;;) {
        left = least(left, version_2 ? group_leaves(folder, "memory.max", "memory.current", "inactive_file ")
                                     : group_leaves(folder, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                                    "total_inactive_file "));
        char *slash = strrchr(folder, '/');
        if (!slash || slash < folder + strlen(root)) { return left; }
        *slash = 0;
    }
}

static uint64_t control_groups_leave(const char *prefix)
{
    char path[MAX_PATH], line[MAX_LINE], root[MAX_PATH];
    uint64_t left = UINT64_MAX;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", prefix);
    FILE *file = fopen(path, "r");
    if (!file) { return UINT64_MAX; }
    while (fgets(line, sizeof line, file)) { /* "0::/user.slice" (version 2), "4:memory:/docker/1f" (version 1) */
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) { continue; }
        *group++ = 0;
        group[strcspn(group, "\n")] = 0;
        const bool version_2 = controllers[1] == 0;
        if (!version_2 && strcmp(controllers + 1, "memory") != 0) { continue; }
        snprintf(root, sizeof root, "%s/sys/fs/cgroup%s", prefix, version_2 ? "" : "/memory");
        left = least(left, groups_leave(root, group, version_2));
    }
    (void)fclose(file);
    return left;
}

uint64_t spade_available_memory(const char *prefix)
{
    char path[MAX_PATH];
    snprintf(path, sizeof path, "%s/proc/meminfo", prefix);
    const uint64_t kibibytes = read_entry(path, "MemAvailable:", UINT64_MAX);
    const uint64_t system = kibibytes > UINT64_MAX / 1024 ? UINT64_MAX : kibibytes * 1024;
    return least(system, control_groups_leave(prefix));
}

uint64_t spade_machine_memory(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;
}
