/*
 * scorecam.c - feature maps weighted by what the class keeps of the picture seen through each of them; no gradient.
 *
 * Channel c of the layer, enlarged to the picture and stretched to 0 to 1, is a mask of the normalised picture; the softmax
 * over the channels of F at the masked pictures gives the weights, as in the paper and in pytorch-grad-cam's ScoreCAM. Masks
 * are enlarged bilinearly as PyTorch's align_corners=False does, and so do the paper's authors; pytorch-grad-cam takes True
 * there. The paper's baseline is the same number for every channel, and cancels in the softmax.
 *
 *   the call's block on the device: | x [size] | masks [micro-batch, H * W] | workspace |
 */
#include <math.h>

#include "attribution/class_activation.h"
#include "attribution/inner_values.h"
#include "attribution/perturbation_driver.h"
#include "spade/picture.h"

typedef struct score_job {
    const attribution_job *job;
    const attribution_features *features;
    float *values;  /* host [channels, h, w] */
    float *masks;   /* host [micro-batch, H, W] */
    double *scores; /* host [n, channels]: F, then the weights */
    double *sums;   /* host [h * w] */
    void *memory;
    size_t bytes;
    spade_op *multiply;
    float *x, *device_masks, *workspace;
    void *block;
    size_t block_bytes;
} score_job;

static spade_status make_room(score_job *s)
{
    const attribution_job *job = s->job;
    const size_t features = (size_t)(s->features->height * s->features->width), n = (size_t)job->n;
    const size_t channels = (size_t)s->features->channels, pixels = (size_t)(job->height * job->width);
    s->bytes =
        (n * channels + features) * sizeof(double) + (channels * features + pixels * SPADE_MICRO_BATCH) * sizeof(float);
    SPADE_TRY(spade_alloc(job->context, s->bytes, "feature maps", &s->memory));
    s->scores = s->memory;
    s->sums = s->scores + n * channels;
    s->values = (float *)(s->sums + features);
    s->masks = s->values + channels * features;
    return SPADE_OK;
}

static spade_status plan_multiply(score_job *s)
{
    const attribution_job *job = s->job;
    spade_device *device = job->context->device;
    const spade_backend *backend = device->backend;
    const spade_op_desc desc = {
        .kind = SPADE_OP_POINTWISE,
        .a = {4, {1, job->channels, job->height, job->width}, SPADE_ROW_MAJOR},
        .y = {4, {SPADE_MICRO_BATCH, job->channels, job->height, job->width}, SPADE_ROW_MAJOR},
        .step_count = 1,
        .steps = {{.kind = SPADE_POINTWISE_MULTIPLY,
                   .operand = {4, {SPADE_MICRO_BATCH, 1, job->height, job->width}, SPADE_ROW_MAJOR}}}};
    const size_t masks = (size_t)(SPADE_MICRO_BATCH * job->height * job->width);
    SPADE_TRY(backend->plan(device, &desc, &s->multiply));
    s->block_bytes = ((size_t)job->size + masks) * sizeof(float) + backend->workspace_bytes(s->multiply);
    SPADE_TRY(backend->alloc(device, s->block_bytes, "an input and its masks", &s->block));
    s->x = s->block;
    s->device_masks = s->x + job->size;
    s->workspace = s->device_masks + masks;
    return backend->upload(device, s->x, job->input, (size_t)job->size * sizeof(float));
}

static spade_status take_values(void *user, const attribution_inner *inner)
{
    const score_job *s = user;
    attribution_take_features(s->features, inner->values[0], &inner->shapes[0], s->values);
    return SPADE_OK;
}

/* The channel's mask; one that is the same everywhere shows nothing: 0. */
static void make_mask(const score_job *s, int64_t channel, float *mask)
{
    const attribution_job *job = s->job;
    const int64_t height = s->features->height, width = s->features->width, pixels = job->height * job->width;
    spade_map_resize(s->values + channel * height * width, height, width, mask, job->height, job->width);
    float low = mask[0], high = mask[0];
    for (int64_t i = 1; i < pixels; i++) {
        low = mask[i] < low ? mask[i] : low;
        high = mask[i] > high ? mask[i] : high;
    }
    const double range = (double)high - (double)low;
    for (int64_t i = 0; i < pixels; i++) { mask[i] = range > 0 ? (float)(((double)mask[i] - (double)low) / range) : 0; }
}

static spade_status generate(void *user, int64_t first, int64_t count, float *out)
{
    score_job *s = user;
    spade_device *device = s->job->context->device;
    const int64_t pixels = s->job->height * s->job->width;
    const size_t bytes = (size_t)(SPADE_MICRO_BATCH * pixels) * sizeof(float);
    memset(s->masks, 0, bytes);
    for (int64_t i = 0; i < count; i++) { make_mask(s, first + i, s->masks + i * pixels); }
    SPADE_TRY(device->backend->upload(device, s->device_masks, s->masks, bytes));
    const spade_op_args args = {.a = s->x, .operands = {s->device_masks}, .workspace = s->workspace, .out = out};
    return device->backend->run(s->multiply, &args);
}

/* scores [channels] -> their softmax; map [h, w]. */
static void make_map(const score_job *s, double *scores, float *map)
{
    const int64_t channels = s->features->channels, pixels = s->features->height * s->features->width;
    double highest = scores[0], total = 0;
    for (int64_t c = 1; c < channels; c++) { highest = fmax(highest, scores[c]); }
    for (int64_t c = 0; c < channels; c++) { total += scores[c] = exp(scores[c] - highest); }
    memset(s->sums, 0, (size_t)pixels * sizeof *s->sums);
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t i = 0; i < pixels; i++) { s->sums[i] += scores[c] / total * (double)s->values[c * pixels + i]; }
    }
    for (int64_t i = 0; i < pixels; i++) { map[i] = s->sums[i] < 0 ? 0 : (float)s->sums[i]; }
}

static spade_status make_small(const attribution_job *job, const void *user, float *small)
{
    spade_status status = SPADE_OK;
    score_job s = {.job = job, .features = user};
    const int64_t channels = s.features->channels, pixels = s.features->height * s.features->width;
    SPADE_GOTO(make_room(&s));
    SPADE_GOTO(plan_multiply(&s));
    SPADE_GOTO(attribution_inner_values(job, &s.features->value, 1, false, SPADE_TO_INPUT, take_values, &s));
    SPADE_GOTO(attribution_perturb(job, channels, generate, &s, s.scores));
    for (int i = 0; i < job->n; i++) { make_map(&s, s.scores + i * channels, small + i * pixels); }
done:
    if (s.block) { job->context->device->backend->free(job->context->device, s.block, s.block_bytes); }
    job->context->device->backend->destroy(s.multiply);
    if (s.memory) { spade_free_bytes(job->context, s.memory, s.bytes); }
    return status;
}

static spade_status find_features(const attribution_job *job, const void *options, attribution_features *out)
{
    return attribution_feature_maps(job, &((const attribution_cam_options *)options)->layer, false, out);
}

static spade_status check(const attribution_job *job, const void *options)
{
    attribution_features features;
    return find_features(job, options, &features);
}

/* A forward pass is a third of a forward and backward one. */
static double passes(const attribution_job *job, const void *options)
{
    attribution_features features;
    return find_features(job, options, &features) == SPADE_OK ? (double)(features.channels + 1) / 3 : 1;
}

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    (void)notes;
    attribution_features features;
    SPADE_TRY(find_features(job, options, &features));
    return attribution_coarse_maps(job, features.height, features.width,
                                   ((const attribution_cam_options *)options)->upsample, make_small, &features, maps);
}

static const spade_option_info options[] = {ATTRIBUTION_FEATURE_MAPS_OPTION, ATTRIBUTION_UPSAMPLE_OPTION};
static const size_t option_offsets[] = {offsetof(attribution_cam_options, layer),
                                        offsetof(attribution_cam_options, upsample)};

const attribution_method attribution_scorecam = {
    .info = {.name = "scorecam",
             .title = "Score-CAM",
             .definition =
                 "max(sum over c of w[c] * A[c], 0), w the softmax over c of F(x * M[c]), M[c] the feature map "
                 "A[c] enlarged and stretched to 0 to 1",
             .source =
                 "Wang et al. 2020, Score-CAM: score-weighted visual explanations for convolutional neural networks",
             .cost = "one forward pass, and one for each channel of the layer",
             .needs = "a layer whose values have a height and a width, or are a grid of tokens",
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(attribution_cam_options),
    .option_offsets = option_offsets,
    .check = check,
    .shape = attribution_cam_shape,
    .passes = passes,
    .run = run,
};
