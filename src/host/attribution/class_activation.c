/*
 * class_activation.c - maps of a layer from a pass whose walk back ends there. What methods make of values and gradients is
 * a few sums over one picture's: it is done on the host, in double.
 */
#include "attribution/class_activation.h"

#include "attribution/inner_values.h"

typedef struct activation_job {
    const attribution_features *features;
    const attribution_combination *wanted;
    int count;
    float *values, *gradients; /* [channels, pixels] */
    double *map;               /* [pixels] */
} activation_job;

void attribution_take_features(const attribution_features *features, const float *value, const spade_shape *shape,
                               float *out)
{
    const spade_spatial *where = &features->where;
    const attribution_range rows = {where->tokens ? -1 : where->axis, 0, where->tokens ? 1 : where->height};
    const attribution_range columns = {where->tokens ? where->axis : where->axis + 1, where->first,
                                       where->tokens ? where->height * where->width : where->width};
    attribution_arrange(value, shape, &rows, &columns, out);
}

static spade_status combine_target(void *user, const attribution_inner *inner)
{
    const activation_job *a = user;
    const int64_t pixels = a->features->height * a->features->width;
    const attribution_activation activation = {
        .channels = a->features->channels, .pixels = pixels, .values = a->values, .gradients = a->gradients};
    attribution_take_features(a->features, inner->values[0], &inner->shapes[0], a->values);
    attribution_take_features(a->features, inner->gradients[0], &inner->shapes[0], a->gradients);
    for (int w = 0; w < a->count; w++) {
        float *map = a->wanted[w].maps + inner->target * pixels;
        memset(a->map, 0, (size_t)pixels * sizeof *a->map);
        a->wanted[w].combine(&activation, a->wanted[w].options, a->map);
        for (int64_t i = 0; i < pixels; i++) { map[i] = a->map[i] < 0 ? 0 : (float)a->map[i]; }
    }
    return SPADE_OK;
}

spade_status attribution_class_activation(const attribution_job *job, const attribution_features *features,
                                          const attribution_combination *wanted, int count)
{
    const size_t pixels = (size_t)(features->height * features->width), size = (size_t)features->channels * pixels;
    const size_t bytes = pixels * sizeof(double) + 2 * size * sizeof(float);
    void *memory;
    SPADE_TRY(spade_alloc(job->context, bytes, "feature maps", &memory));
    activation_job a = {.features = features, .wanted = wanted, .count = count};
    a.map = memory;
    a.values = (float *)(a.map + pixels);
    a.gradients = a.values + size;
    spade_status status = attribution_inner_values(job, &features->value, 1, true, features->value, combine_target, &a);
    spade_free_bytes(job->context, memory, bytes);
    return status;
}

void attribution_combine_gradcam(const attribution_activation *a, const void *options, double *map)
{
    (void)options;
    for (int64_t c = 0; c < a->channels; c++) {
        const float *values = a->values + c * a->pixels, *gradients = a->gradients + c * a->pixels;
        double weight = 0;
        for (int64_t i = 0; i < a->pixels; i++) { weight += (double)gradients[i]; }
        weight /= (double)a->pixels;
        for (int64_t i = 0; i < a->pixels; i++) { map[i] += weight * (double)values[i]; }
    }
}

/* ---- methods */

spade_status attribution_cam_check(const attribution_job *job, const void *options)
{
    attribution_features features;
    return attribution_feature_maps(job, &((const attribution_cam_options *)options)->layer, true, &features);
}

void attribution_cam_shape(const attribution_job *job, const void *options, int64_t shape[3])
{
    const attribution_cam_options *cam = options;
    attribution_features features = {0};
    (void)attribution_feature_maps(job, &cam->layer, false, &features); /* was checked */
    attribution_coarse_shape(job, features.height, features.width, cam->upsample, shape);
}

static spade_status run(const attribution_job *job, const attribution_member *members, int count)
{
    const attribution_cam_options *cam = members[0].options; /* the others' are the same */
    attribution_combination wanted[SPADE_MAX_TOGETHER];
    attribution_features features;
    SPADE_TRY(attribution_feature_maps(job, &cam->layer, true, &features));
    const size_t size = (size_t)(job->n * features.height * features.width);
    const size_t bytes = sizeof(float) * size * (size_t)count;
    void *small;
    SPADE_TRY(spade_alloc(job->context, bytes, "maps of a layer", &small));
    for (int m = 0; m < count; m++) {
        const attribution_cam_part *part = members[m].part;
        wanted[m] = (attribution_combination){part->combine, members[m].options, (float *)small + (size_t)m * size};
    }
    const spade_status status = attribution_class_activation(job, &features, wanted, count);
    for (int m = 0; m < count && status == SPADE_OK; m++) {
        attribution_enlarge_maps(job, wanted[m].maps, features.height, features.width, cam->upsample, members[m].maps);
    }
    spade_free_bytes(job->context, small, bytes);
    return status;
}

const attribution_family attribution_cam_family = {.run = run};
