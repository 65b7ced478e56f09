/* guided_gradcam.c - fine detail where a layer sees evidence: Grad-CAM's map, enlarged, times guided backpropagation. */
#include "attribution/class_activation.h"
#include "attribution/gradient_driver.h"

typedef struct guided_options {
    spade_layer_option layer;
} guided_options;

static const char with_gradcam; /* its address says that a member is times Grad-CAM */

static spade_status check(const attribution_job *job, const void *options)
{
    attribution_features features;
    SPADE_TRY(attribution_check_rules(job, &spade_rules_guided));
    return attribution_feature_maps(job, &((const guided_options *)options)->layer, true, &features);
}

static double passes(const attribution_job *job, const void *options)
{
    (void)job, (void)options;
    return 2;
}

/* map [C, H, W] times the small map [height, width], whose nearest pixel counts. */
static void multiply(const attribution_job *job, const float *small, int64_t height, int64_t width, float *map)
{
    for (int64_t c = 0; c < job->channels; c++) {
        for (int64_t y = 0; y < job->height; y++) {
            const float *row = small + y * height / job->height * width;
            for (int64_t x = 0; x < job->width; x++) { *map++ *= row[x * width / job->width]; }
        }
    }
}

/* Maps [n, size] of guided backpropagation become those of guided Grad-CAM. */
static spade_status multiply_gradcam(const attribution_job *job, const guided_options *options, float *maps)
{
    attribution_features features;
    void *small;
    SPADE_TRY(attribution_feature_maps(job, &options->layer, true, &features));
    const int64_t height = features.height, width = features.width, pixels = height * width;
    const size_t bytes = sizeof(float) * (size_t)(job->n * pixels);
    SPADE_TRY(spade_alloc(job->context, bytes, "maps of a layer", &small));
    const attribution_combination gradcam = {attribution_combine_gradcam, NULL, small};
    const spade_status status = attribution_class_activation(job, &features, &gradcam, 1);
    for (int i = 0; i < job->n && status == SPADE_OK; i++) {
        multiply(job, (const float *)small + i * pixels, height, width, maps + i * job->size);
    }
    spade_free_bytes(job->context, small, bytes);
    return status;
}

/* One guided walk; the layers may be several. */
static spade_status run(const attribution_job *job, const attribution_member *members, int count)
{
    const attribution_samples input = {.points = 1, .summed = 1, .divisor = 1};
    attribution_wanted wanted[SPADE_MAX_TOGETHER] = {0};
    for (int m = 0; m < count; m++) { wanted[m].maps = members[m].maps; }
    SPADE_TRY(attribution_backward(job, &spade_rules_guided, &input, wanted, count, NULL));
    for (int m = 0; m < count; m++) {
        for (int p = 0; p < job->pictures && members[m].part == &with_gradcam; p++) {
            const attribution_job one = attribution_job_of_picture(job, p);
            SPADE_TRY(multiply_gradcam(&one, members[m].options, members[m].maps + p * job->n * job->size));
        }
    }
    return SPADE_OK;
}

const attribution_family attribution_guided_family = {.run = run, .takes_pictures = true};

static const spade_option_info options[] = {
    ATTRIBUTION_FEATURE_MAPS_OPTION,
};
static const size_t option_offsets[] = {offsetof(guided_options, layer)};

const attribution_method attribution_guided_gradcam = {
    .info = {.name = "guided_gradcam",
             .title = "Guided Grad-CAM",
             .definition = "Grad-CAM's map, its nearest pixel, times guided backpropagation",
             .source = "Selvaraju et al. 2017, Grad-CAM: visual explanations from deep networks",
             .cost = "one of gradcam and one of guided_backprop, with which it shares its walk",
             .needs = "what gradcam and guided_backprop need",
             .flags = SPADE_METHOD_SIGNED,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(guided_options),
    .option_offsets = option_offsets,
    .check = check,
    .passes = passes,
    .family = &attribution_guided_family,
    .part = &with_gradcam,
};
