/* annotate_plan.c - how many processes of this machine do a data set best, from sizes of files alone: nothing is opened that the run
 * reads. */
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#include "workload/annotate.h"
#include "workload/folder.h"
#include "workload/tar_list.h"

enum { ENOUGH = 1 << 20 }; /* rows, more than which make no difference */

/* nftw() has no argument for its caller. */
static _Thread_local int64_t pictures;

static int count_picture(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)place;
    pictures += type == FTW_F && spade_has_picture_name(path);
    return pictures >= ENOUGH;
}

static int64_t count_lines(const char *path)
{
    char bytes[1 << 16];
    int64_t lines = 0;
    FILE *file = fopen(path, "rbe");
    if (!file) { return 0; }
    for (size_t got; lines < ENOUGH && (got = fread(bytes, 1, sizeof bytes, file)) > 0;) {
        for (size_t i = 0; i < got; i++) { lines += bytes[i] == '\n'; }
    }
    (void)fclose(file);
    return lines;
}

/* Rows of the manifest, about; of one that cannot be read none: the run says why. */
static int64_t estimate_rows(const char *manifest)
{
    enum { OF_TAR = 100000, MAX_OPEN = 16 }; /* bytes of a sample */
    spade_context quiet = {.threads = 1, .budget = UINT64_MAX};
    spade_tar_list tars = {0};
    struct stat info;
    int64_t rows = 0;
    if (spade_tar_list_find(&quiet, manifest, &tars) != SPADE_OK) { return 0; }
    for (int i = 0; i < tars.count; i++) { rows += (int64_t)(tars.items[i].size / OF_TAR); }
    const bool samples = tars.count > 0;
    spade_tar_list_clear(&tars);
    if (samples || stat(manifest, &info) != 0) { return rows; }
    if (S_ISREG(info.st_mode)) { return count_lines(manifest); }
    pictures = 0;
    (void)nftw(manifest, count_picture, MAX_OPEN, 0);
    return pictures;
}

/* Shards that the store has, or about as many as it will have. */
static int64_t estimate_shards(const spade_annotate_request *request)
{
    spade_context quiet = {.threads = 1, .budget = UINT64_MAX};
    spade_store there;
    if (spade_store_open(&quiet, request->output, &there) == SPADE_OK) {
        const int64_t shards = there.shards;
        spade_store_clear(&there);
        return shards;
    }
    return estimate_rows(request->manifest) / (request->shard_size ? request->shard_size : ANNOTATE_LEAST_ROWS);
}

/* What a worker should have: below that variants go through the network in smaller groups, which takes longer than two workers gain. */
static uint64_t worker_memory(const char *model)
{
    const uint64_t least = (uint64_t)1 << 30, times = 16; /* the weights', which activations and Hessians go with */
    struct stat info;
    char path[4096];
    uint64_t bytes = stat(model, &info) == 0 ? (uint64_t)info.st_size : 0;
    const int length = snprintf(path, sizeof path, "%s.data", model); /* weights beside the file */
    if (length > 0 && (size_t)length < sizeof path && stat(path, &info) == 0) { bytes += (uint64_t)info.st_size; }
    return least + times * bytes;
}

int spade_annotate_plan_workers(const spade_annotate_request *request, int threads, uint64_t memory)
{
    const uint64_t fit = memory / worker_memory(request->model);
    const int64_t shards = threads > 1 && fit > 1 ? estimate_shards(request) / ANNOTATE_SHARDS_EACH : 0;
    int64_t workers = threads < SPADE_MAX_WORKERS ? threads : SPADE_MAX_WORKERS;
    if ((uint64_t)workers > fit) { workers = (int64_t)fit; }
    if (workers > shards) { workers = shards; }
    return workers > 1 ? (int)workers : 1;
}
