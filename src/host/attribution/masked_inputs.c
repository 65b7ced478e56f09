/*
 * masked_inputs.c - images in which parts of the picture are replaced, made on the device from the input, the baseline and
 * a byte for each cell of each image. Masks are uploaded for many micro-batches at once, most often for all of them.
 *
 *   the call's block on the device: | rows | columns | x [size] | baseline [size] | cell of a pixel [partitions, H * W] |
 *                                   | shifts [held, 2] | masks [held, cells] |
 * rows, columns and shifts are there where images fade, the cells of pixels where parts are replaced.
 */
#include "attribution/perturbation_driver.h"

/* Masks that are held at a time take so many bytes at most, or those of one micro-batch. */
enum { MAX_HELD_BYTES = 4 << 20 };

typedef struct masked_inputs {
    const attribution_job *job;
    const attribution_masks *masks;
    int64_t held; /* masks that are on the device at a time */
    uint8_t *keep;
    int32_t *shifts;
    /* on the device */
    spade_grid_position *rows, *columns;
    float *x, *baseline;
    int32_t *device_cells, *device_shifts;
    uint8_t *device_keep;
    void *block;
    size_t block_bytes;
} masked_inputs;

static int64_t held_masks(const attribution_masks *masks)
{
    const int64_t batches = (masks->images + SPADE_MICRO_BATCH - 1) / SPADE_MICRO_BATCH;
    int64_t held = MAX_HELD_BYTES / (masks->cells * SPADE_MICRO_BATCH);
    held = held < 1 ? 1 : held;
    return SPADE_MICRO_BATCH * (held < batches ? held : batches);
}

static spade_status begin(masked_inputs *m)
{
    const attribution_job *job = m->job;
    spade_device *device = job->context->device;
    const spade_backend *backend = device->backend;
    const attribution_fade *fade = m->masks->fade;
    const size_t rows = fade ? sizeof *m->rows * (size_t)fade->row_count : 0;
    const size_t columns = fade ? sizeof *m->columns * (size_t)fade->column_count : 0;
    const size_t size = sizeof(float) * (size_t)job->size;
    const size_t cells = fade ? 0 : sizeof *m->device_cells * (size_t)(m->masks->partitions * job->height * job->width);
    const size_t shifts = fade ? 2 * sizeof *m->shifts * (size_t)m->held : 0;
    m->block_bytes = rows + columns + 2 * size + cells + shifts + (size_t)(m->held * m->masks->cells);
    SPADE_TRY(backend->alloc(device, m->block_bytes, "an input and its masks", &m->block));
    char *at = m->block;
    m->rows = (spade_grid_position *)at;
    m->columns = (spade_grid_position *)(at += rows);
    m->x = (float *)(at += columns);
    m->baseline = (float *)(at += size);
    m->device_cells = (int32_t *)(at += size);
    m->device_shifts = (int32_t *)(at += cells);
    m->device_keep = (uint8_t *)(at + shifts);
    SPADE_TRY(backend->upload(device, m->x, job->input, size));
    SPADE_TRY(backend->upload(device, m->baseline, m->masks->baseline, size));
    if (!fade) { return backend->upload(device, m->device_cells, m->masks->cell_of, cells); }
    SPADE_TRY(backend->upload(device, m->rows, fade->rows, rows));
    return backend->upload(device, m->columns, fade->columns, columns);
}

/* Masks of images first .. first+count-1 are on the device from now on. */
static spade_status upload_masks(masked_inputs *m, int64_t first, int64_t count)
{
    const attribution_masks *masks = m->masks;
    const int64_t cells = masks->cells;
    spade_device *device = m->job->context->device;
    memset(m->keep, 1, (size_t)(count * cells));
    for (int64_t i = 0; i < count; i++) {
        masks->replace(masks->user, first + i, m->keep + i * cells);
        if (masks->fade) { masks->fade->place(masks->user, first + i, m->shifts + 2 * i); }
    }
    SPADE_TRY(device->backend->upload(device, m->device_keep, m->keep, (size_t)(count * cells)));
    if (!masks->fade) { return SPADE_OK; }
    return device->backend->upload(device, m->device_shifts, m->shifts, 2 * sizeof *m->shifts * (size_t)count);
}

/* Images first .. first+count-1, those of one partition at a time. */
static spade_status mask_pixels(const masked_inputs *m, int64_t first, int64_t count, const uint8_t *keep, float *out)
{
    const attribution_job *job = m->job;
    const attribution_masks *masks = m->masks;
    spade_device *device = job->context->device;
    const int64_t pixels = job->height * job->width, images = masks->images / masks->partitions;
    for (int64_t i = 0, run; i < count; i += run) {
        const int64_t partition = (first + i) / images, left = (partition + 1) * images - (first + i);
        run = left < count - i ? left : count - i;
        const spade_mask_inputs_args args = {.count = run,
                                             .channels = job->channels,
                                             .pixels = pixels,
                                             .cell_count = masks->cells,
                                             .x = m->x,
                                             .baseline = m->baseline,
                                             .cells = m->device_cells + partition * pixels,
                                             .masks = keep + i * masks->cells,
                                             .out = out + i * job->size};
        SPADE_TRY(device->backend->mask_inputs(device, &args));
    }
    return SPADE_OK;
}

static spade_status generate(void *user, int64_t first, int64_t count, float *out)
{
    masked_inputs *m = user;
    const attribution_job *job = m->job;
    const attribution_masks *masks = m->masks;
    spade_device *device = job->context->device;
    const int64_t place = first % m->held;
    if (place == 0) {
        const int64_t left = masks->images - first;
        SPADE_TRY(upload_masks(m, first, left < m->held ? left : m->held));
    }
    const uint8_t *keep = m->device_keep + place * masks->cells;
    if (masks->fade) {
        const spade_blend_inputs_args args = {.count = count,
                                              .channels = job->channels,
                                              .height = job->height,
                                              .width = job->width,
                                              .grid = masks->fade->grid,
                                              .x = m->x,
                                              .baseline = m->baseline,
                                              .rows = m->rows,
                                              .columns = m->columns,
                                              .shifts = m->device_shifts + 2 * place,
                                              .masks = keep,
                                              .out = out};
        return device->backend->blend_inputs(device, &args);
    }
    return mask_pixels(m, first, count, keep, out);
}

spade_status attribution_perturb_masked(const attribution_job *job, const attribution_masks *masks, double *values)
{
    spade_device *device = job->context->device;
    spade_status status = SPADE_OK;
    masked_inputs m = {.job = job, .masks = masks, .held = held_masks(masks)};
    const size_t shifts = 2 * sizeof *m.shifts * (size_t)m.held, bytes = shifts + (size_t)(m.held * masks->cells);
    void *memory;
    SPADE_TRY(spade_alloc(job->context, bytes, "masks of an input", &memory));
    m.shifts = memory;
    m.keep = (uint8_t *)memory + shifts;
    SPADE_GOTO(begin(&m));
    SPADE_GOTO(attribution_perturb(job, masks->images, generate, &m, values));
done:
    if (m.block) { device->backend->free(device, m.block, m.block_bytes); }
    spade_free_bytes(job->context, memory, bytes);
    return status;
}
