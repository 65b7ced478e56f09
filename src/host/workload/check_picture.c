/* check_picture.c - see check_picture.h. */
#include "workload/check_picture.h"

#include <unistd.h>

#include "report/class_choice.h"

/* Full colour at this percentile of the absolute values: single outliers do not make the rest dark. */
static const double robust_percentile = 99.5;

static spade_status fail_memory(const explained_run *run)
{
    return spade_fail(run->context, SPADE_ERROR_MEMORY, "%s: out of memory", run->folder);
}

spade_status check_picture_folder(const explained_run *run, const workload_item *item, int *made)
{
    char *folder;
    *made = 0;
    if (!run->folder) { return SPADE_OK; }
    if (asprintf(&folder, "%s/%s", run->folder, item->input->name) < 0) { return fail_memory(run); }
    spade_status status = spade_make_folders(run->context, folder, "cannot make the folder", made);
    if (status == SPADE_OK) { spade_sweep_temporaries(folder); }
    free(folder);
    return status;
}

void check_picture_remove_folder(const explained_run *run, const workload_item *item, int made)
{
    char *folder;
    if (!run->folder || asprintf(&folder, "%s/%s", run->folder, item->input->name) < 0) { return; }
    spade_remove_folders(folder, made);
    free(folder);
}

static spade_status name_file(const check_picture *picture, char **file)
{
    const char *name = picture->item->input->name, *label = picture->run->methods[picture->method].label;
    char suffix[CLASS_LABEL_SIZE + 3] = "";
    if (picture->target) { snprintf(suffix, sizeof suffix, "_c%s", picture->target); }
    if (asprintf(file, "%s/check_%s%s_%04d.png", name, label, suffix, picture->stage) >= 0) { return SPADE_OK; }
    *file = NULL;
    return fail_memory(picture->run);
}

void check_picture_remove(const check_picture *picture)
{
    char *file, *path;
    spade_error error;
    spade_error_save(picture->run->context, &error); /* why it is to be removed */
    if (name_file(picture, &file) == SPADE_OK) {
        if (asprintf(&path, "%s/%s", picture->run->folder, file) >= 0) {
            (void)unlink(path);
            free(path);
        }
        free(file);
    }
    spade_error_restore(picture->run->context, &error);
}

static spade_status save(const explained_run *run, const spade_picture *picture, const char *file)
{
    uint8_t *png;
    size_t size;
    char *path;
    SPADE_TRY(spade_png_encode(run->context, picture->rgb, picture->height, picture->width, 3, &png, &size));
    spade_status status = asprintf(&path, "%s/%s", run->folder, file) >= 0 ? SPADE_OK : fail_memory(run);
    if (status == SPADE_OK) {
        status = spade_write_file(run->context, path, png, size);
        free(path);
    }
    free(png);
    return status;
}

/* | reduced [pixels of the preview] | small [h, w] | */
static void reduce(const check_picture *picture, const float *map, float *reduced, float *small)
{
    const spade_picture *preview = &picture->item->image->preview;
    const int64_t *shape = picture->shape;
    spade_map_reduce(map, shape[0], shape[1], shape[2], explained_drawn(picture->run, picture->method), small);
    spade_map_resize(small, shape[1], shape[2], reduced, preview->height, preview->width);
}

spade_status check_picture_draw(const check_picture *picture, const float *map, char **file)
{
    const explained_run *run = picture->run;
    const spade_picture *preview = &picture->item->image->preview;
    const int64_t pixels = preview->height * preview->width, smaller = picture->shape[1] * picture->shape[2];
    const size_t bytes = sizeof(float) * (size_t)(pixels + smaller);
    const bool is_signed = spade_attribution_flags(run->methods[picture->method].attribution) & SPADE_METHOD_SIGNED;
    spade_picture heatmap = {0};
    void *memory = NULL;
    spade_status status;
    *file = NULL;
    SPADE_GOTO(spade_alloc(run->context, bytes, "a map as a picture", &memory));
    float *reduced = memory;
    reduce(picture, map, reduced, reduced + pixels);
    double scale = spade_map_percentile(reduced, pixels, robust_percentile);
    if (!(scale > 0)) { scale = spade_map_percentile(reduced, pixels, 100); }
    SPADE_GOTO(spade_heatmap(run->context, preview, reduced, scale > 0 ? scale : 1, is_signed, &heatmap));
    SPADE_GOTO(name_file(picture, file));
    SPADE_GOTO(save(run, &heatmap, *file));
done:
    if (status != SPADE_OK) {
        free(*file);
        *file = NULL;
    }
    spade_picture_clear(&heatmap);
    if (memory) { spade_free_bytes(run->context, memory, bytes); }
    return status;
}
