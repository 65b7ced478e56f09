/* test_preset.c - preprocessing by name and from files of timm and transformers; what is given by itself wins. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "config/preset.h"
#include "config/settings.h"
#include "support/wire.h"

static spade_preset find(const char *json)
{
    spade_context context = {.budget = UINT64_MAX};
    spade_preset preset;
    if (spade_preset_find(&context, test_write("config.json", json, strlen(json)), &preset) != SPADE_OK) {
        fail_msg("%s\n%s", context.message, json);
    }
    return preset;
}

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-12;
}

/* As timm 1.0 and transformers 4.4x write them, shortened. */
static void test_files(void **state)
{
    (void)state;
    spade_preset p =
        find("{\"architecture\": \"vit_base_patch16_224\", \"num_classes\": 1000, \"pretrained_cfg\": {"
             "\"input_size\": [3, 224, 224], \"fixed_input_size\": true, \"interpolation\": \"bicubic\", "
             "\"crop_pct\": 0.9, \"crop_mode\": \"center\", \"mean\": [0.5, 0.5, 0.5], \"std\": [0.5, 0.5, "
             "0.5]}}");
    assert_true(near(p.mean[1], 0.5) && near(p.crop_share, 0.9) && p.resample == SPADE_RESAMPLE_BICUBIC);
    assert_true(p.open_size == 224 && p.resize == -1 && !p.squash && p.scale == 0);
    p = find("{\"crop_pct\": 1.0, \"crop_mode\": \"squash\", \"interpolation\": \"bilinear\", \"mean\": [0, 0, 0], "
             "\"std\": [1, 1, 1]}");
    assert_true(p.squash && near(p.crop_share, 1) && p.resample == SPADE_RESAMPLE_BILINEAR && near(p.std[0], 1));
    /* ViT */
    p = find("{\"do_normalize\": true, \"do_rescale\": true, \"do_resize\": true, \"image_mean\": [0.5, 0.4, 0.3], "
             "\"image_std\": [0.2, 0.3, 0.4], \"resample\": 2, \"rescale_factor\": 0.00392156862745098, \"size\": "
             "{\"height\": 224, \"width\": 224}}");
    assert_true(p.squash && p.resize == -1 && near(p.crop_share, 1) && p.open_size == 224 && near(p.mean[1], 0.4));
    /* CLIP */
    p = find("{\"crop_size\": {\"height\": 224, \"width\": 224}, \"do_center_crop\": true, \"do_normalize\": true, "
             "\"image_mean\": [0.48, 0.46, 0.41], \"image_std\": [0.27, 0.26, 0.28], \"resample\": 3, \"size\": "
             "{\"shortest_edge\": 256}}");
    assert_true(!p.squash && p.resize == 256 && p.open_size == 224 && p.resample == SPADE_RESAMPLE_BICUBIC);
    /* ConvNeXt: below 384 a share, from there on squashed */
    p = find("{\"crop_pct\": 0.875, \"do_normalize\": true, \"image_mean\": [0.5], \"image_std\": [0.5], \"size\": "
             "{\"shortest_edge\": 224}, \"resample\": 3}");
    assert_true(!p.squash && near(p.crop_share, 0.875) && p.resize == -1 && near(p.mean[2], 0.5));
    p = find(
        "{\"crop_pct\": 0.875, \"do_normalize\": false, \"do_rescale\": false, \"size\": {\"shortest_edge\": 384}}");
    assert_true(p.squash && near(p.crop_share, 1) && p.scale == 1 && near(p.mean[0], 0) && near(p.std[0], 1));
    /* an old one: one number without a crop is both sides */
    p = find("{\"do_normalize\": true, \"do_resize\": true, \"image_mean\": [0.5, 0.5, 0.5], \"image_std\": [0.5, 0.5, "
             "0.5], \"size\": 384}");
    assert_true(p.squash && p.open_size == 384);
    /* MobileViT: neither mean nor std, and blue first */
    p = find(
        "{\"crop_size\": {\"height\": 256, \"width\": 256}, \"do_center_crop\": true, \"do_flip_channel_order\": true, "
        "\"do_rescale\": true, \"size\": {\"shortest_edge\": 288}}");
    assert_true(p.bgr && p.resize == 288 && near(p.mean[0], 0) && near(p.std[0], 1));
    /* LeViT: the size is the crop's */
    p = find("{\"do_center_crop\": true, \"do_normalize\": true, \"image_mean\": [0.5], \"image_std\": [0.5], "
             "\"image_processor_type\": \"LevitImageProcessor\", \"resample\": 3, \"size\": 224}");
    assert_true(!p.bgr && !p.squash && p.resize == -1 && near(p.crop_share, 0.875) && p.open_size == 224);
    /* EfficientNet: divided by std twice */
    p = find("{\"do_normalize\": true, \"image_mean\": [0.4], \"image_std\": [0.5], \"include_top\": true, "
             "\"rescale_offset\": "
             "false, \"size\": {\"height\": 224, \"width\": 224}}");
    assert_true(near(p.mean[2], 0.4) && near(p.std[0], 0.25));
}

static void refuse(const char *json, const char *says)
{
    spade_context context = {.budget = UINT64_MAX};
    spade_preset preset;
    assert_int_not_equal(spade_preset_find(&context, test_write("bad.json", json, strlen(json)), &preset), SPADE_OK);
    if (!strstr(context.message, says) || !strstr(context.message, "bad.json")) { fail_msg("%s", context.message); }
}

static void test_refused(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    spade_preset preset;
    refuse("7", "no JSON object");
    refuse("{\"mean\": [1", "line 1");
    refuse("{}", "neither timm's");
    refuse("{\"mean\": [1, 2]}", "\"mean\" should be a list of 3 or 4 numbers");
    refuse("{\"mean\": [1, 2, \"a\"]}", "\"mean\"");
    refuse("{\"crop_pct\": 7}", "\"crop_pct\" should be");
    refuse("{\"crop_pct\": 1, \"interpolation\": \"lanczos\"}", "bilinear or bicubic");
    refuse("{\"crop_pct\": 1, \"crop_mode\": \"border\"}", "center or squash");
    refuse("{\"do_normalize\": true, \"resample\": 1}", "\"resample\"");
    refuse("{\"do_normalize\": true, \"image_mean\": [0.5]}", "\"image_std\"");
    refuse("{\"do_rescale\": true, \"do_convert_grayscale\": true}", "do_convert_grayscale");
    refuse("{\"do_rescale\": true, \"feature_extractor_type\": \"PerceiverFeatureExtractor\", \"size\": 224}",
           "before it resizes");
    refuse("{\"do_rescale\": true, \"offset\": true, \"image_mean\": [0.5], \"image_std\": [0.5]}", "-1 .. 1");
    refuse("{\"do_normalize\": true, \"rescale_factor\": 0.5}", "1/255");
    refuse("{\"do_normalize\": true, \"size\": {\"height\": 3, \"width\": 4}}", "\"size\"");
    refuse("{\"do_normalize\": true, \"size\": {\"shortest_edge\": -1}}", "\"size\"");
    assert_int_equal(spade_preset_find(&context, "imagenett", &preset), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(context.message, "imagenet, clip"));
}

static void set(spade_settings *settings, const char *key, const char *value)
{
    spade_context context = {.budget = UINT64_MAX};
    char text[3][64], *values[3] = {text[0], text[1], text[2]};
    int count = 0;
    for (const char *at = value; at; at = strchr(at, ',')) {
        at += *at == ',';
        snprintf(text[count++], sizeof text[0], "%.*s", (int)strcspn(at, ","), at);
    }
    if (spade_settings_set(&context, settings, spade_key_find(key, strlen(key)), NULL, values, count) != SPADE_OK) {
        fail_msg("%s: %s", key, context.message);
    }
}

static char warning[400];

static void keep_warning(void *user, spade_log_level level, const char *line)
{
    (void)user;
    if (level <= SPADE_LOG_WARNING) { snprintf(warning, sizeof warning, "%s", line); }
}

static void resolve(spade_settings *settings)
{
    spade_context context = {.budget = UINT64_MAX, .log = keep_warning};
    warning[0] = 0;
    if (spade_settings_resolve(&context, settings) != SPADE_OK) { fail_msg("%s", context.message); }
}

/* A processor's file without a filter: its class knows which it is, nobody here does. */
static void test_unsaid_filter(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "does not say which filter"}, {", \"resample\": 2", ""}, {", \"do_resize\": false", ""}};
    for (int i = 0; i < 6; i++) {
        char json[200];
        spade_settings s;
        spade_settings_init(&s);
        snprintf(json, sizeof json,
                 "{\"image_mean\": [0.5, 0.5, 0.5], \"image_std\": [0.5, 0.5, 0.5], \"size\": 224%s}", cases[i % 3][0]);
        set(&s, "preprocess", test_write("config.json", json, strlen(json)));
        if (i >= 3) { set(&s, "resample", "bicubic"); }
        resolve(&s);
        assert_true(i < 3 && cases[i][1][0] ? strstr(warning, cases[i][1]) != NULL : warning[0] == 0);
        spade_settings_clear(&s);
    }
}

static void test_what_wins(void **state)
{
    (void)state;
    spade_settings s;
    spade_settings_init(&s);
    set(&s, "std", "0.1,0.2,0.3"); /* before or behind: the same */
    set(&s, "preprocess", "clip");
    set(&s, "resample", "bilinear");
    resolve(&s);
    assert_true(near(s.std[2], 0.3) && near(s.mean[0], 0.48145466) && s.resample == SPADE_RESAMPLE_BILINEAR);
    assert_true(near(s.crop_share, 1) && s.resize == -1 && !s.preprocess);
    json_t *json = spade_settings_json(&s); /* what it came to is recorded, not its name */
    assert_null(json_object_get(json, "preprocess"));
    assert_true(near(json_number_value(json_object_get(json, "crop_share")), 1));
    json_decref(json);
    assert_true(s.mean_count == 0 && s.std_count == 3);
    set(&s, "preprocess", "inception"); /* a command line after a configuration file */
    resolve(&s);
    assert_true(near(s.std[2], 0.5) && s.resample == SPADE_RESAMPLE_BICUBIC && s.std_count == 0);
    set(&s, "resize", "300"); /* a resize of its own: no share */
    set(&s, "preprocess", "clip");
    s.crop_share = 0;
    resolve(&s);
    assert_true(s.resize == 300 && near(s.crop_share, 0));
    set(&s, "scale", "255");
    resolve(&s);
    assert_true(s.scale == 1 && near(s.mean[0], 0) && near(s.std[0], 1));
    set(&s, "scale", "255"); /* the preset's mean and std are for values up to 1 */
    set(&s, "preprocess", "clip");
    spade_context context = {.budget = UINT64_MAX};
    assert_int_equal(spade_settings_resolve(&context, &s), SPADE_ERROR_ARGUMENT);
    assert_non_null(strstr(context.message, "--scale 255 with --preprocess clip"));
    set(&s, "preprocess", "none");
    resolve(&s);
    set(&s, "scale", "255");
    set(&s, "mean", "123,117,104");
    resolve(&s);
    assert_true(near(s.mean[0], 123) && near(s.std[0], 1));
    spade_settings_clear(&s);
}

static int remove_files(void **state)
{
    (void)state;
    test_remove_folder();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_unsaid_filter), cmocka_unit_test(test_what_wins)};
    return cmocka_run_group_tests(tests, NULL, remove_files);
}
