/*
 * masked_inputs.c - images in which cells of the picture are replaced, made on the device from the input, the baseline and
 * a byte for each cell. Only these bytes are uploaded for each micro-batch.
 *
 *   the call's block on the device: | x [size] | baseline [size] | cell of a pixel [H * W] | masks [micro-batch, cells] |
 */
#include "attribution/perturbation_driver.h"

typedef struct masked_inputs {
    const attribution_job *job;
    const attribution_masks *masks;
    uint8_t *bytes; /* host [micro-batch, cells] */
    float *x, *baseline;
    int32_t *cell_of;
    uint8_t *device_bytes;
    void *block;
    size_t block_bytes;
} masked_inputs;

static spade_status begin(masked_inputs *m)
{
    const attribution_job *job = m->job;
    spade_device *device = job->context->device;
    const spade_backend *backend = device->backend;
    const size_t size = (size_t)job->size, pixels = (size_t)(job->height * job->width);
    const size_t of_masks = (size_t)m->masks->cells * SPADE_MICRO_BATCH;
    m->block_bytes = 2 * size * sizeof(float) + pixels * sizeof(int32_t) + of_masks;
    SPADE_TRY(backend->alloc(device, m->block_bytes, "an input and its masks", &m->block));
    m->x = m->block;
    m->baseline = m->x + size;
    m->cell_of = (int32_t *)(m->baseline + size);
    m->device_bytes = (uint8_t *)(m->cell_of + pixels);
    SPADE_TRY(backend->upload(device, m->x, job->input, size * sizeof(float)));
    SPADE_TRY(backend->upload(device, m->baseline, m->masks->baseline, size * sizeof(float)));
    return backend->upload(device, m->cell_of, m->masks->cell_of, pixels * sizeof(int32_t));
}

static spade_status generate(void *user, int64_t first, int64_t count, float *out)
{
    masked_inputs *m = user;
    const attribution_job *job = m->job;
    spade_device *device = job->context->device;
    const int64_t cells = m->masks->cells;
    const size_t bytes = (size_t)(count * cells);
    memset(m->bytes, 1, bytes);
    for (int64_t i = 0; i < count; i++) { m->masks->replace(m->masks->user, first + i, m->bytes + i * cells); }
    SPADE_TRY(device->backend->upload(device, m->device_bytes, m->bytes, bytes));
    const spade_mask_inputs_args args = {.count = count,
                                         .channels = job->channels,
                                         .pixels = job->height * job->width,
                                         .cell_count = cells,
                                         .x = m->x,
                                         .baseline = m->baseline,
                                         .cells = m->cell_of,
                                         .masks = m->device_bytes,
                                         .out = out};
    return device->backend->mask_inputs(device, &args);
}

spade_status attribution_perturb_masked(const attribution_job *job, const attribution_masks *masks, double *values)
{
    spade_device *device = job->context->device;
    spade_status status = SPADE_OK;
    masked_inputs m = {.job = job, .masks = masks};
    const size_t bytes = (size_t)masks->cells * SPADE_MICRO_BATCH;
    void *memory;
    SPADE_TRY(spade_alloc(job->context, bytes, "masks of a micro-batch", &memory));
    m.bytes = memory;
    SPADE_GOTO(begin(&m));
    SPADE_GOTO(attribution_perturb(job, masks->images, generate, &m, values));
done:
    if (m.block) { device->backend->free(device, m.block, m.block_bytes); }
    spade_free_bytes(job->context, memory, bytes);
    return status;
}
