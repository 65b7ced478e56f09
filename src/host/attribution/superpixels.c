/* superpixels.c - segments by a grid, and from a file. */
#include <math.h>

#include "attribution/superpixels.h"
#include "spade/picture.h"
#include "store/labels.h"

static int64_t clamp(double value, int64_t high)
{
    return value < 1 ? 1 : value > (double)high ? high : (int64_t)value;
}

void attribution_rectangles(const attribution_job *job, int64_t wanted, int64_t *rows, int64_t *columns)
{
    const double spacing = sqrt((double)(job->height * job->width) / (double)wanted);
    *rows = clamp(round((double)job->height / spacing), job->height);
    *columns = clamp(round((double)wanted / (double)*rows), job->width);
}

void attribution_grid_segments(const attribution_job *job, int64_t wanted, int32_t *segment_of, int64_t *count)
{
    int64_t rows, columns;
    attribution_rectangles(job, wanted, &rows, &columns);
    for (int64_t p = 0; p < job->height * job->width; p++) {
        const int64_t row = p / job->width * rows / job->height, column = p % job->width * columns / job->width;
        segment_of[p] = (int32_t)(row * columns + column);
    }
    *count = rows * columns;
}

/* ---- files */

/* The labels of a picture are its colours. */
static spade_status read_picture(spade_context *context, const char *path, spade_labels *out)
{
    spade_picture picture = {0};
    SPADE_TRY(spade_picture_load(context, path, &picture));
    if (picture.inexact) {
        spade_picture_clear(&picture);
        return spade_fail(
            context, SPADE_ERROR_INPUT,
            "%s: pixels of a segment would not keep one colour: more than 8 bits a channel, or compressed "
            "with loss; save it as PNG of 8 bits, or as .npy of whole numbers",
            path);
    }
    spade_status status = spade_labels_create(context, path, picture.height, picture.width, out);
    for (int64_t p = 0; status == SPADE_OK && p < picture.height * picture.width; p++) {
        const uint8_t *rgb = picture.rgb + 3 * p;
        out->data[p] = rgb[0] << 16 | rgb[1] << 8 | rgb[2];
    }
    spade_picture_clear(&picture);
    return status;
}

/* The first of sorted labels [count] that is not below this one. */
static int64_t find_label(const int64_t *labels, int64_t count, int64_t label)
{
    int64_t low = 0, high = count;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (labels[middle] < label) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The different labels, sorted; MAX_SUPERPIXELS + 1: there are more than MAX_SUPERPIXELS. */
static int64_t collect_labels(const spade_labels *labels, int64_t found[MAX_SUPERPIXELS])
{
    int64_t count = 0;
    for (int64_t p = 0; p < labels->height * labels->width; p++) {
        const int64_t label = labels->data[p], at = find_label(found, count, label);
        if (at < count && found[at] == label) { continue; }
        if (count == MAX_SUPERPIXELS) { return MAX_SUPERPIXELS + 1; }
        memmove(found + at + 1, found + at, sizeof *found * (size_t)(count - at));
        found[at] = label;
        count++;
    }
    return count;
}

static spade_status number_segments(const attribution_job *job, const char *path, const spade_labels *labels,
                                    int32_t *segment_of, int64_t *count)
{
    int64_t found[MAX_SUPERPIXELS];
    if (labels->height != job->height || labels->width != job->width) {
        return spade_fail(job->context, SPADE_ERROR_INPUT,
                          "%s: a segmentation of %lld x %lld, the network's input is %lld x %lld: give it in that size",
                          path, (long long)labels->width, (long long)labels->height, (long long)job->width,
                          (long long)job->height);
    }
    *count = collect_labels(labels, found);
    if (*count > MAX_SUPERPIXELS) {
        return spade_fail(job->context, SPADE_ERROR_INPUT,
                          "%s: more than %d segments (different numbers or colours), the limit", path, MAX_SUPERPIXELS);
    }
    if (*count < 2) {
        return spade_fail(job->context, SPADE_ERROR_INPUT,
                          "%s: one segment, there must be two or more to tell them apart", path);
    }
    for (int64_t p = 0; p < job->height * job->width; p++) {
        segment_of[p] = (int32_t)find_label(found, *count, labels->data[p]);
    }
    return SPADE_OK;
}

spade_status attribution_read_segments(const attribution_job *job, const char *path, int32_t *segment_of,
                                       int64_t *count)
{
    spade_labels labels = {0};
    const size_t length = strlen(path);
    const bool is_array = length >= 4 && strcmp(path + length - 4, ".npy") == 0;
    SPADE_TRY(is_array ? spade_labels_load(job->context, path, &labels) : read_picture(job->context, path, &labels));
    spade_status status = number_segments(job, path, &labels, segment_of, count);
    spade_labels_clear(job->context, &labels);
    return status;
}
