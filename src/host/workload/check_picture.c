/* check_picture.c - see check_picture.h. */
#include "workload/check_picture.h"

#include "report/class_choice.h"
#include "workload/map_picture.h"

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
    char *file;
    spade_error error;
    spade_error_save(picture->run->context, &error); /* why it is to be removed */
    if (name_file(picture, &file) == SPADE_OK) { map_picture_remove(picture->run, file); }
    free(file);
    spade_error_restore(picture->run->context, &error);
}

spade_status check_picture_draw(const check_picture *picture, const float *map, char **file)
{
    const explained_run *run = picture->run;
    const spade_picture *preview = &picture->item->image->preview;
    const int64_t pixels = preview->height * preview->width, smaller = picture->shape[1] * picture->shape[2];
    const size_t bytes = sizeof(float) * (size_t)(pixels + smaller); /* | reduced [pixels] | small [h * w] | */
    spade_picture heatmap = {0};
    void *memory = NULL;
    spade_status status;
    *file = NULL;
    SPADE_GOTO(spade_alloc(run->context, bytes, "a map as a picture", &memory));
    float *reduced = memory;
    const map_picture_canvas canvas = {picture->shape, preview->height, preview->width, reduced + pixels};
    map_picture_reduce(&canvas, map, explained_drawn(run, picture->method), reduced);
    SPADE_GOTO(spade_heatmap(run->context, preview, reduced, map_picture_scale(reduced, pixels),
                             explained_signed(run, picture->method), &heatmap));
    SPADE_GOTO(name_file(picture, file));
    SPADE_GOTO(map_picture_save(run, &heatmap, *file));
done:
    if (status != SPADE_OK) {
        free(*file);
        *file = NULL;
    }
    spade_picture_clear(&heatmap);
    if (memory) { spade_free_bytes(run->context, memory, bytes); }
    return status;
}
