/*
 * preset.c - preprocessing by name, and from the files that come with trained networks.
 *
 * timm (resolve_data_config): config.json, or its "pretrained_cfg": input_size, mean, std, interpolation, crop_pct,
 * crop_mode. transformers (image processors): preprocessor_config.json: size, do_center_crop, crop_size, resample (Pillow's
 * number), do_rescale, rescale_factor, do_normalize, image_mean, image_std, crop_pct, do_flip_channel_order, include_top
 * (EfficientNet).
 */
#include <math.h>

#include "base/json.h"
#include "config/preset.h"

enum { MAX_BYTES = 1 << 20 };

static const spade_preset presets[] = {
    {.name = "imagenet", .mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225, 1}, .resize = -1},
    {.name = "clip",
     .mean = {0.48145466, 0.4578275, 0.40821073},
     .std = {0.26862954, 0.26130258, 0.27577711, 1},
     .resample = SPADE_RESAMPLE_BICUBIC,
     .crop_share = 1,
     .resize = -1},
    {.name = "inception",
     .mean = {0.5, 0.5, 0.5},
     .std = {0.5, 0.5, 0.5, 1},
     .resample = SPADE_RESAMPLE_BICUBIC,
     .crop_share = 0.875,
     .resize = -1},
    {.name = "none", .mean = {0, 0, 0}, .std = {1, 1, 1, 1}, .resize = -1},
};

/* ---- values of a file; a failure names the key */
static spade_status fail_value(spade_context *context, const char *key, const char *should)
{
    return spade_fail(context, SPADE_ERROR_UNSUPPORTED, "\"%s\" should be %s", key, should);
}

/* Of the colours; a fourth number where there is one. A single number is that of all channels. */
static spade_status read_colour(spade_context *context, const json_t *object, const char *key, double out[4])
{
    const json_t *list = json_object_get(object, key);
    const size_t count = json_array_size(list);
    if (!list) { return SPADE_OK; }
    if (count != 3 && count != 4 && count != 1) { return fail_value(context, key, "a list of 3 or 4 numbers"); }
    for (size_t c = 0; c < (count == 3 ? 3 : 4); c++) {
        const json_t *number = json_array_get(list, count == 1 ? 0 : c);
        if (!json_is_number(number)) { return fail_value(context, key, "a list of 3 or 4 numbers"); }
        out[c] = json_number_value(number);
    }
    return SPADE_OK;
}

static spade_status read_share(spade_context *context, const json_t *object, const char *key, double *out)
{
    const json_t *share = json_object_get(object, key);
    if (!share || json_is_null(share)) { return SPADE_OK; }
    *out = json_number_value(share);
    if (*out >= SPADE_MIN_CROP_SHARE && *out <= 1) { return SPADE_OK; }
    return fail_value(context, key, "a number from 0.01 to 1");
}

static bool is_side(json_int_t side)
{
    return side >= 1 && side <= SPADE_MAX_SIDE;
}

/* true unless the file says false */
static bool is_on(const json_t *object, const char *key)
{
    return !json_is_false(json_object_get(object, key));
}

/* ---- timm */
static spade_status read_timm(spade_context *context, const json_t *object, spade_preset *out)
{
    const char *filter = json_string_value(json_object_get(object, "interpolation"));
    const char *mode = json_string_value(json_object_get(object, "crop_mode"));
    const json_int_t side = json_integer_value(json_array_get(json_object_get(object, "input_size"), 1));
    SPADE_TRY(read_colour(context, object, "mean", out->mean));
    SPADE_TRY(read_colour(context, object, "std", out->std));
    out->crop_share = 0.875; /* timm's default */
    SPADE_TRY(read_share(context, object, "crop_pct", &out->crop_share));
    out->resample = filter && strcmp(filter, "bicubic") == 0 ? SPADE_RESAMPLE_BICUBIC : SPADE_RESAMPLE_BILINEAR;
    if (filter && strcmp(filter, "bicubic") != 0 && strcmp(filter, "bilinear") != 0) {
        return fail_value(context, "interpolation", "bilinear or bicubic");
    }
    out->squash = mode && strcmp(mode, "squash") == 0;
    if (mode && !out->squash && strcmp(mode, "center") != 0) {
        return fail_value(context, "crop_mode", "center or squash");
    }
    if (is_side(side)) { out->open_size = side; }
    return SPADE_OK;
}

/* ---- transformers */

/* "size" or "crop_size": a number, or a mapping. *squash: height and width are given, both kept. 0: it is not there. */
static spade_status read_size(spade_context *context, const json_t *object, const char *key, int64_t *out, bool *squash)
{
    const json_t *size = json_object_get(object, key), *edge = json_object_get(size, "shortest_edge");
    const json_t *height = json_object_get(size, "height"), *width = json_object_get(size, "width");
    *out = 0;
    *squash = height != NULL;
    if (!size || json_is_null(size)) { return SPADE_OK; }
    const json_int_t side = json_integer_value(height ? height : edge ? edge : size);
    if (!is_side(side) || (height && json_integer_value(width) != side)) {
        return fail_value(context, key, "a number, a shortest_edge, or a height and the same width");
    }
    *out = side;
    return SPADE_OK;
}

static spade_status read_resample(spade_context *context, const json_t *object, int *out)
{
    enum { PILLOW_BILINEAR = 2, PILLOW_BICUBIC = 3 };
    const json_t *number = json_object_get(object, "resample");
    const json_int_t filter = number ? json_integer_value(number) : PILLOW_BILINEAR;
    *out = filter == PILLOW_BICUBIC ? SPADE_RESAMPLE_BICUBIC : SPADE_RESAMPLE_BILINEAR;
    if (filter == PILLOW_BILINEAR || filter == PILLOW_BICUBIC) { return SPADE_OK; }
    return fail_value(context, "resample", "2 (bilinear) or 3 (bicubic)");
}

/* The factor brings values to 1, unless there is no rescaling. */
static spade_status read_scale(spade_context *context, const json_t *object, int *out)
{
    const json_t *factor = json_object_get(object, "rescale_factor");
    *out = is_on(object, "do_rescale") ? 0 : 1;
    if (*out || !factor || fabs(json_number_value(factor) * 255 - 1) < 1e-3) { return SPADE_OK; }
    return fail_value(context, "rescale_factor", "1/255");
}

/* The class that the file is for, or NULL. */
static const char *processor_of(const json_t *object)
{
    const json_t *type = json_object_get(object, "image_processor_type");
    return json_string_value(type ? type : json_object_get(object, "feature_extractor_type"));
}

static bool is_levit(const json_t *object)
{
    const char *processor = processor_of(object);
    return processor && strncmp(processor, "Levit", 5) == 0;
}

/* Steps that pictures do not take here. */
static spade_status check_steps(spade_context *context, const json_t *object)
{
    static const char *const keys[] = {"do_convert_grayscale", "do_grayscale", "do_color_quantize", "do_pad",
                                       "do_thumbnail"};
    const char *processor = processor_of(object);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (!json_is_true(json_object_get(object, keys[i]))) { continue; }
        return spade_fail(context, SPADE_ERROR_UNSUPPORTED,
                          "\"%s\": pictures cannot be prepared so; give inputs as .npy", keys[i]);
    }
    if (processor && strncmp(processor, "Perceiver", 9) == 0) {
        return spade_fail(context, SPADE_ERROR_UNSUPPORTED,
                          "%s crops before it resizes: pictures cannot be prepared so; give inputs as .npy", processor);
    }
    return SPADE_OK;
}

/* Classes of the library have means of their own where a file has none: which they are is not in the file. */
static spade_status read_normalisation(spade_context *context, const json_t *object, spade_preset *out)
{
    const bool complete = json_object_get(object, "image_mean") && json_object_get(object, "image_std");
    for (int c = 0; c < 3; c++) { out->mean[c] = 0, out->std[c] = 1; }
    if (json_is_true(json_object_get(object, "offset")) || json_is_true(json_object_get(object, "rescale_offset"))) {
        return spade_fail(
            context, SPADE_ERROR_UNSUPPORTED,
            "\"offset\" and \"rescale_offset\" move values to -1 .. 1 before mean and std: say both as --mean and "
            "--std");
    }
    if (!is_on(object, "do_normalize")) { return SPADE_OK; }
    if (json_is_true(json_object_get(object, "do_normalize")) && !complete) {
        return spade_fail(
            context, SPADE_ERROR_UNSUPPORTED,
            "\"do_normalize\" without \"image_mean\" and \"image_std\": those of the class %s are not in the "
            "file; say them as --mean and --std",
            processor_of(object) ? processor_of(object) : "that wrote it");
    }
    SPADE_TRY(read_colour(context, object, "image_mean", out->mean));
    SPADE_TRY(read_colour(context, object, "image_std", out->std));
    if (json_is_true(json_object_get(object, "include_top"))) { /* EfficientNet's divides by std once more */
        for (int c = 0; c < 3; c++) { out->std[c] *= out->std[c]; }
    }
    return SPADE_OK;
}

/* Below 384 pixels ConvNeXt's processor resizes to size / crop_pct and crops, from there on it squashes. */
enum { CONVNEXT_WARPS = 384 };

static spade_status read_transformers(spade_context *context, const json_t *object, spade_preset *out)
{
    int64_t size = 0, crop = 0;
    bool squash, ignored;
    SPADE_TRY(read_size(context, object, "size", &size, &squash));
    SPADE_TRY(read_size(context, object, "crop_size", &crop, &ignored));
    SPADE_TRY(read_resample(context, object, &out->resample));
    out->filter_unsaid = is_on(object, "do_resize") && !json_object_get(object, "resample");
    SPADE_TRY(read_scale(context, object, &out->scale));
    SPADE_TRY(check_steps(context, object));
    SPADE_TRY(read_normalisation(context, object, out));
    out->bgr = json_is_true(json_object_get(object, "do_flip_channel_order"));
    if (is_levit(object) && size && !crop) { /* its resize is one to 256/224 of the size, and the crop has the size */
        out->open_size = size;
        out->crop_share = 224.0 / 256;
        return SPADE_OK;
    }
    const bool crops = json_is_true(json_object_get(object, "do_center_crop")) && crop;
    double share = 0;
    SPADE_TRY(read_share(context, object, "crop_pct", &share));
    out->open_size = crops ? crop : size;
    if (!is_on(object, "do_resize")) {
        out->resize = 0;
    } else if (share > 0) {
        out->squash = size >= CONVNEXT_WARPS;
        out->crop_share = out->squash ? 1 : share;
    } else if (squash || (!crops && json_is_integer(json_object_get(object, "size")))) {
        out->squash = true; /* a single number without a crop is both sides */
        out->resize = crops && size ? size : -1;
        out->crop_share = 1;
    } else {
        out->resize = size ? size : -1;
    }
    return SPADE_OK;
}

/* ---- either */

/* keys: "mean|std" */
static bool has_any(const json_t *object, const char *keys)
{
    for (const char *key = keys; key; key = strchr(key, '|')) {
        char name[32];
        key += *key == '|';
        snprintf(name, sizeof name, "%.*s", (int)strcspn(key, "|"), key);
        if (json_object_get(object, name)) { return true; }
    }
    return false;
}

static spade_status read_file(spade_context *context, const char *path, spade_preset *out)
{
    spade_mapping file;
    spade_json_error error;
    SPADE_TRY(spade_map_file(context, path, MAX_BYTES, &file));
    json_t *all = spade_json_parse((const char *)file.data, file.size, &error);
    spade_unmap(&file);
    if (all && error.repeats) {
        json_decref(all);
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: line %d: a name is given twice in one object", path,
                          error.line);
    }
    if (!all && error.memory) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    if (!json_is_object(all)) {
        const char *reason = all ? "another value" : error.reason;
        json_decref(all);
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: no JSON object: line %d: %s", path, all ? 1 : error.line,
                          reason);
    }
    const json_t *timm = json_object_get(all, "pretrained_cfg");
    *out = presets[0];
    out->name = NULL;
    spade_status status;
    if (json_is_object(timm)) {
        status = read_timm(context, timm, out);
    } else if (has_any(all, "do_normalize|do_rescale|do_resize|image_mean|image_processor_type")) {
        status = read_transformers(context, all, out);
    } else if (has_any(all, "mean|crop_pct|input_size")) {
        status = read_timm(context, all, out);
    } else {
        status = spade_fail(context, SPADE_ERROR_INPUT,
                            "neither timm's config.json nor Hugging Face's preprocessor_config.json");
    }
    json_decref(all);
    return status == SPADE_OK ? SPADE_OK : spade_fail_in(context, status, "%s", path);
}

spade_status spade_preset_find(spade_context *context, const char *text, spade_preset *out)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        if (strcmp(presets[i].name, text) == 0) {
            *out = presets[i];
            return SPADE_OK;
        }
    }
    spade_status status = read_file(context, text, out);
    if (status == SPADE_OK || strpbrk(text, "./")) { return status; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT,
                      "'%s' is none of imagenet, clip, inception, none, and no file of that name can be read", text);
}
