/* map_picture.c - see map_picture.h. */
#include "workload/map_picture.h"

#include <unistd.h>

#include "base/base.h"

/* Full colour at this percentile of the absolute values: single outliers do not make the rest dark. */
static const double robust_percentile = 99.5;

void map_picture_reduce(const map_picture_canvas *canvas, const float *map, spade_reduce how, float *out)
{
    const int64_t *shape = canvas->shape;
    const bool smaller = shape[1] != canvas->height || shape[2] != canvas->width;
    spade_map_reduce(map, shape[0], shape[1], shape[2], how, smaller ? canvas->small : out);
    if (smaller) { spade_map_resize(canvas->small, shape[1], shape[2], out, canvas->height, canvas->width); }
}

double map_picture_scale(const float *reduced, int64_t n)
{
    double scale = spade_map_percentile(reduced, n, robust_percentile);
    if (!(scale > 0)) { scale = spade_map_percentile(reduced, n, 100); }
    return scale > 0 ? scale : 1; /* 1: maps of zeros */
}

/* ---- files */

spade_status map_picture_save(const explained_run *run, const spade_picture *picture, const char *relative)
{
    uint8_t *png;
    size_t size;
    char *path;
    spade_status status;
    SPADE_TRY(spade_png_encode(run->context, picture->rgb, picture->height, picture->width, 3, &png, &size));
    if (asprintf(&path, "%s/%s", run->folder, relative) < 0) {
        status = spade_fail(run->context, SPADE_ERROR_MEMORY, "%s: out of memory", run->folder);
    } else {
        status = spade_write_file(run->context, path, png, size);
        free(path);
    }
    free(png);
    return status;
}

void map_picture_remove(const explained_run *run, const char *relative)
{
    char *path;
    if (!relative || asprintf(&path, "%s/%s", run->folder, relative) < 0) { return; }
    (void)unlink(path);
    free(path);
}
