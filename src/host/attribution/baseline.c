/* baseline.c - baselines of an input: made of it, or read from a file. */
#include "attribution/baseline.h"

#include <errno.h>
#include <math.h>
#include <sys/stat.h>

#include "spade/array.h"
#include "spade/picture.h"

static spade_status alloc_pictures(const attribution_job *job, int64_t count, attribution_baseline *out)
{
    void *memory;
    size_t values, bytes;
    if (!spade_mul_size((size_t)count, (size_t)job->size, &values) ||
        !spade_mul_size(values, sizeof *out->pictures, &bytes)) {
        return spade_fail(job->context, SPADE_ERROR_MEMORY, "%lld baselines are too large", (long long)count);
    }
    SPADE_TRY(spade_alloc(job->context, bytes, "baselines", &memory));
    *out = (attribution_baseline){.pictures = memory, .count = count, .bytes = bytes};
    return SPADE_OK;
}

void attribution_baseline_close(const attribution_job *job, attribution_baseline *baseline)
{
    spade_free_bytes(job->context, baseline->pictures, baseline->bytes);
    *baseline = (attribution_baseline){0};
}

/* ---- what is known of the pictures before their normalisation */

/* What 0 and 1 of each channel of a picture become. */
spade_uniform_picture attribution_baseline_uniform(const attribution_job *job)
{
    const spade_preprocess *p = job->preprocess;
    spade_uniform_picture uniform = {.pixels = job->height * job->width};
    for (int c = 0; c < job->channels && c < SPADE_UNIFORM_CHANNELS; c++) {
        uniform.low[c] = (0 - spade_preprocess_mean(p, c)) / spade_preprocess_std(p, c);
        uniform.high[c] = (1 - spade_preprocess_mean(p, c)) / spade_preprocess_std(p, c);
    }
    return uniform;
}

static spade_status check_preprocess(const attribution_job *job, const char *baseline)
{
    if (!job->preprocess) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                          "baseline=%s: how pictures are normalised was not said: spade_attribution_set_preprocess()",
                          baseline);
    }
    if (job->preprocess->channels == job->channels) { return SPADE_OK; }
    return spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                      "baseline=%s: the network's input has %lld channels, the pictures that were said to be have %lld",
                      baseline, (long long)job->channels, (long long)job->preprocess->channels);
}

/* ---- files */
static spade_status take_array(const attribution_job *job, const char *path, const spade_array *array, bool several,
                               attribution_baseline *out)
{
    const int64_t *dims = array->dims + (array->rank == 4), count = array->rank == 4 ? array->dims[0] : 1;
    const bool fits = (array->rank == 3 || array->rank == 4) && dims[0] == job->channels && dims[1] == job->height &&
                      dims[2] == job->width;
    if (!fits) {
        char size[128] = "";
        size_t used = 0;
        for (int i = 0; i < array->rank && used < sizeof size; i++) {
            used +=
                (size_t)snprintf(size + used, sizeof size - used, "%s%lld", i ? ", " : "", (long long)array->dims[i]);
        }
        return spade_fail(job->context, SPADE_ERROR_INPUT,
                          "%s: a baseline [%s], the network's input is [%lld, %lld, %lld]: give it in that size", path,
                          size, (long long)job->channels, (long long)job->height, (long long)job->width);
    }
    if (count < 1 || (count > 1 && !several)) {
        return spade_fail(job->context, SPADE_ERROR_INPUT, "%s: %lld baselines, there must be %s", path,
                          (long long)count, several ? "one or more" : "one (gradient_shap takes several)");
    }
    SPADE_TRY(alloc_pictures(job, count, out));
    memcpy(out->pictures, array->data, out->bytes);
    return SPADE_OK;
}

static spade_status take_picture(const attribution_job *job, const char *path, const spade_picture *picture,
                                 attribution_baseline *out)
{
    spade_preprocess preprocess = *job->preprocess;
    if (picture->height != job->height || picture->width != job->width) {
        return spade_fail(job->context, SPADE_ERROR_INPUT,
                          "%s: a baseline of %lld x %lld, the network's input is %lld x %lld: give it in that size",
                          path, (long long)picture->width, (long long)picture->height, (long long)job->width,
                          (long long)job->height);
    }
    preprocess.resize = 0;
    preprocess.height = job->height;
    preprocess.width = job->width;
    SPADE_TRY(alloc_pictures(job, 1, out));
    return spade_preprocess_apply(job->context, &preprocess, picture, out->pictures, NULL);
}

static spade_status read_file(const attribution_job *job, const char *path, bool several, attribution_baseline *out)
{
    const size_t length = strlen(path);
    struct stat info;
    if (stat(path, &info) != 0) {
        return spade_fail(job->context, SPADE_ERROR_INPUT,
                          "baseline=%s: no number, none of " ATTRIBUTION_BASELINE_WORDS ", and as a file: %s", path,
                          strerror(errno));
    }
    if (length >= 4 && strcmp(path + length - 4, ".npy") == 0) {
        spade_array array = {0};
        SPADE_TRY(spade_array_load(job->context, path, 1, &array));
        spade_status status = take_array(job, path, &array, several, out);
        spade_array_clear(&array);
        return status;
    }
    spade_picture picture = {0};
    SPADE_TRY(check_preprocess(job, path));
    SPADE_TRY(job->channels == 4 ? spade_picture_load_alpha(job->context, path, &picture)
                                 : spade_picture_load(job->context, path, &picture));
    spade_status status = take_picture(job, path, &picture, out);
    spade_picture_clear(&picture);
    return status;
}

spade_status attribution_baseline_check(const attribution_job *job, const spade_baseline_option *option, bool several)
{
    attribution_baseline file = {0};
    if (option->path) {
        spade_status status = read_file(job, option->path, several, &file);
        attribution_baseline_close(job, &file);
        return status;
    }
    if (option->word == BASELINE_BLACK) { return check_preprocess(job, "black"); }
    return option->word == BASELINE_RANDOM ? check_preprocess(job, "random") : SPADE_OK;
}

bool attribution_draws_baseline(const spade_attribution *attribution)
{
    const attribution_method *method = attribution->method;
    for (int i = 0; i < method->info.option_count; i++) {
        const void *value = (const char *)attribution->options + method->option_offsets[i];
        if (method->info.options[i].type != SPADE_OPTION_BASELINE) { continue; }
        const spade_baseline_option *baseline = value;
        if (!baseline->path && baseline->word == BASELINE_RANDOM) { return true; }
    }
    return false;
}

/* ---- made of the input, or of nothing; out [C, H, W] */
static void fill_mean(const attribution_job *job, float *out)
{
    const int64_t pixels = job->height * job->width;
    for (int64_t c = 0; c < job->channels; c++) {
        double sum = 0;
        for (int64_t p = 0; p < pixels; p++) { sum += job->input[c * pixels + p]; }
        for (int64_t p = 0; p < pixels; p++) { out[c * pixels + p] = (float)(sum / (double)pixels); }
    }
}

/* Where element e of the input is in `low` and `high`. */
static int64_t uniform_channel(const spade_uniform_picture *range, int64_t e)
{
    const int64_t channel = e / range->pixels;
    return channel < SPADE_UNIFORM_CHANNELS ? channel : SPADE_UNIFORM_CHANNELS - 1;
}

static void fill_black(const attribution_job *job, float *out)
{
    const spade_uniform_picture range = attribution_baseline_uniform(job);
    for (int64_t e = 0; e < job->size; e++) { out[e] = (float)range.low[uniform_channel(&range, e)]; }
}

static void fill_random(const attribution_job *job, float *out)
{
    const spade_uniform_picture range = attribution_baseline_uniform(job);
    const uint64_t hash = spade_hash(job->input, sizeof(float) * (size_t)job->size, job->seed);
    const uint32_t key[2] = {(uint32_t)hash, (uint32_t)(hash >> 32)};
    uint32_t random[4] = {0};
    for (int64_t e = 0; e < job->size; e++) {
        const uint64_t block = (uint64_t)e / 4;
        const uint32_t counter[4] = {0, (uint32_t)block, (uint32_t)(block >> 32), SPADE_BASELINE_STREAM};
        const int64_t channel = uniform_channel(&range, e);
        const double low = range.low[channel], high = range.high[channel];
        if (e % 4 == 0) { spade_philox(key, counter, random); }
        out[e] = (float)(low + (random[e % 4] + 0.5) * 0x1p-32 * (high - low));
    }
}

/* Where position i of a line of n pixels lies, whose ends are mirrors: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ... */
static int64_t mirror(int64_t i, int64_t n)
{
    i %= 2 * n;
    i += i < 0 ? 2 * n : 0;
    return i < n ? i : 2 * n - 1 - i;
}

/* n pixels, `stride` apart, under the kernel [2 * radius + 1]; line [n]: scratch. */
static void blur_line(const double *kernel, int64_t radius, int64_t n, int64_t stride, float *pixels, double *line)
{
    for (int64_t i = 0; i < n; i++) { line[i] = pixels[i * stride]; }
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t k = -radius; k <= radius; k++) {
            const int64_t at = i + k;
            sum += kernel[k + radius] * line[at >= 0 && at < n ? at : mirror(at, n)];
        }
        pixels[i * stride] = (float)sum;
    }
}

static spade_status fill_blurred(const attribution_job *job, float *out)
{
    const int64_t height = job->height, width = job->width, longer = height > width ? height : width;
    const double deviation = (double)(height < width ? height : width) / 20;
    const int64_t radius = (int64_t)(4 * deviation + 0.5), taps = 2 * radius + 1;
    const size_t bytes = sizeof(double) * (size_t)(taps + longer);
    double sum = 0;
    void *memory;
    SPADE_TRY(spade_alloc(job->context, bytes, "a blurred picture", &memory));
    double *kernel = memory, *line = kernel + taps;
    for (int64_t k = 0; k < taps; k++) {
        const double distance = (double)(k - radius) / deviation;
        sum += kernel[k] = exp(-distance * distance / 2);
    }
    for (int64_t k = 0; k < taps; k++) { kernel[k] /= sum; }
    memcpy(out, job->input, sizeof *out * (size_t)job->size);
    for (int64_t c = 0; c < job->channels; c++) {
        float *channel = out + c * height * width;
        for (int64_t y = 0; y < height; y++) { blur_line(kernel, radius, width, 1, channel + y * width, line); }
        for (int64_t x = 0; x < width; x++) { blur_line(kernel, radius, height, width, channel + x, line); }
    }
    spade_free_bytes(job->context, memory, bytes);
    return SPADE_OK;
}

spade_status attribution_baseline_open(const attribution_job *job, const spade_baseline_option *option, bool several,
                                       attribution_baseline *out)
{
    *out = (attribution_baseline){0};
    if (option->path) { return read_file(job, option->path, several, out); }
    SPADE_TRY(alloc_pictures(job, 1, out));
    switch (option->word) {
    case BASELINE_MEAN: fill_mean(job, out->pictures); return SPADE_OK;
    case BASELINE_BLACK: fill_black(job, out->pictures); return SPADE_OK;
    case BASELINE_BLUR: return fill_blurred(job, out->pictures);
    case BASELINE_RANDOM: fill_random(job, out->pictures); return SPADE_OK;
    default:
        for (int64_t e = 0; e < job->size; e++) { out->pictures[e] = (float)option->number; }
        return SPADE_OK;
    }
}
