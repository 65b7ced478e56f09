/* test_config.c - strict numbers, configuration files, settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <unistd.h>

#include "attribution/registry.h"
#include "base/number.h"
#include "config/settings.h"

static const char config_path[] = "/tmp/spade_test_config_XXXXXX";

/* Read a configuration text into settings; returns the status, message in context. */
static spade_status read_text(spade_context *context, const void *text, size_t size, spade_settings *settings)
{
    char path[sizeof config_path];
    memcpy(path, config_path, sizeof path);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), (ssize_t)size);
    close(fd);
    spade_settings_init(settings);
    spade_status status = spade_settings_read(context, settings, path);
    if (status != SPADE_OK) { assert_non_null(strstr(context->message, path)); }
    spade_settings_finish(settings);
    unlink(path);
    return status;
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        double value;
    } cases[] = {{"0.5", true, 0.5},  {"-1e3", true, -1000}, {".5", true, 0.5},   {"5.", true, 5},   {"+2", true, 2},
                 {"0,5", false, 0},   {"0.5x", false, 0},    {"nan", false, 0},   {"inf", false, 0}, {"0x10", false, 0},
                 {" 1", false, 0},    {"1 ", false, 0},      {"", false, 0},      {".", false, 0},   {"1e", false, 0},
                 {"1e999", false, 0}, {"--1", false, 0},     {"1.2.3", false, 0}, {"e5", false, 0},  {"-", false, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double value = 0;
        assert_int_equal(spade_parse_number(cases[i].text, &value), cases[i].good);
        if (cases[i].good) { assert_true(value == cases[i].value); }
    }
    int64_t whole;
    assert_true(spade_parse_integer("-12", &whole) && whole == -12);
    assert_false(spade_parse_integer("1.0", &whole));
    assert_false(spade_parse_integer("99999999999999999999", &whole));
    assert_false(spade_parse_integer("1 ", &whole));
}

static void test_bytes(void **state)
{
    (void)state;
    uint64_t bytes;
    assert_true(spade_parse_bytes("512", &bytes) && bytes == 512);
    assert_true(spade_parse_bytes("2K", &bytes) && bytes == 2048);
    assert_true(spade_parse_bytes("3M", &bytes) && bytes == 3ull << 20);
    assert_true(spade_parse_bytes("4G", &bytes) && bytes == 4ull << 30);
    static const char *const bad[] = {"", "K", "1k", "1KB", "-1", "0", "1.5G", "99999999999G", "1 G", "1T"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) { assert_false(spade_parse_bytes(bad[i], &bytes)); }
}

/* One number of `mean` and `std` is of all channels, and how many were written is known; three of a file fit every network. */
static void test_numbers_of_channels(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    static const char *const texts[] = {"mean: 0.5\nstd: [0.25]\n", "mean: [1, 2, 3]\nstd: [1, 2, 3, 4]\n",
                                        "scale: 255\n"};
    static const int counts[][2] = {{1, 1}, {0, 4}, {0, 0}};
    spade_settings settings;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_text(&context, texts[i], strlen(texts[i]), &settings), SPADE_OK);
        assert_int_equal(settings.mean_count, counts[i][0]);
        assert_int_equal(settings.std_count, counts[i][1]);
        json_t *json = spade_settings_json(&settings);
        if (i == 0) {
            for (int c = 0; c < 4; c++) { assert_true(settings.mean[c] == 0.5 && settings.std[c] == 0.25); }
            const json_t *mean = json_object_get(json, "mean");
            assert_int_equal(json_array_size(mean), 1);
            assert_true(json_number_value(json_array_get(mean, 0)) == 0.5);
        } else {
            assert_int_equal(json_array_size(json_object_get(json, "mean")), 3);
        }
        json_decref(json);
        spade_settings_clear(&settings);
    }
}

static void test_all_keys(void **state)
{
    (void)state;
    static const char text[] =
        "variants: 64\nseed: 7\nsolver: magnitude\nhessian: fp64\nprecision: bf16\ncount: published\ndamping: 0.02\n"
        "layers: [\"layer1.*\", fc]\nskip: layer2.*\nblock: 128\nmethods: [saliency, smoothgrad]\n"
        "classes: [3, 5]\noutput: softmax\nsteps: 20\nsamples: 10\nsigma: 0.1\nresize: 0\ncrop: 64\n"
        "mean: [0.1, 0.2, 0.3]\nstd: [1, 2, 3]\naugment:\n  hue: 0.1\n  area: [0.5, 1]\n"
        "sparsity:\n- {layers: \"*\", value: 0.8}\n- {layers: fc, value: 0}\nlinear_block: 16\nnm: 2:4\n"
        "rules:\n- {layers: fc, sparsity: 0.25, solver: exact, group: element}\n"
        "- {layers: \"layer*\", count: floor, block: 7, nm: none}\n";
    spade_context context = {.budget = UINT64_MAX};
    spade_settings settings;
    assert_int_equal(read_text(&context, text, strlen(text), &settings), SPADE_OK);
    assert_int_equal(settings.augment.variants, 64);
    assert_int_equal(settings.augment.seed, 7);
    assert_int_equal(settings.trace.solver, SPADE_SOLVER_MAGNITUDE);
    assert_int_equal(settings.trace.hessian, SPADE_FP64);
    assert_int_equal(settings.precision, SPADE_NETWORK_BF16);
    assert_int_equal(settings.trace.count, SPADE_COUNT_PUBLISHED);
    assert_true(settings.trace.damping == 0.02);
    assert_int_equal(settings.trace.include_count, 2);
    assert_string_equal(settings.trace.include[1], "fc");
    assert_string_equal(settings.trace.skip[0], "layer2.*");
    assert_int_equal(settings.trace.block, 128);
    assert_int_equal(settings.methods.count, 2);
    assert_string_equal(settings.methods.items[1], "smoothgrad");
    assert_int_equal(settings.classes.count, 2);
    assert_string_equal(settings.classes.items[1], "5");
    assert_int_equal(settings.output, 1);
    assert_true(settings.steps.given && settings.steps.value == 20 && settings.samples.value == 10);
    assert_true(settings.sigma.given && settings.sigma.value == 0.1);
    assert_int_equal(settings.resize, 0);
    assert_true(settings.mean[2] == 0.3 && settings.mean[3] == 0 && settings.std[1] == 2 && settings.std[3] == 1);
    assert_true(settings.augment.hue == 0.1 && settings.augment.area[0] == 0.5);
    assert_int_equal(settings.trace.linear_block, 16);
    assert_true(settings.trace.keep == 2 && settings.trace.of == 4);
    assert_int_equal(settings.trace.rule_count, 8);
    assert_string_equal(settings.trace.rules[0].layers, "*");
    assert_true(settings.trace.rules[0].sparsity == 0.8 && settings.trace.rules[1].sparsity == 0);
    const unsigned fields[] = {SPADE_RULE_SPARSITY, SPADE_RULE_SPARSITY, SPADE_RULE_SPARSITY, SPADE_RULE_SOLVER,
                               SPADE_RULE_GROUP,    SPADE_RULE_COUNT,    SPADE_RULE_BLOCK,    SPADE_RULE_PATTERN};
    for (int i = 0; i < 8; i++) {
        assert_int_equal(settings.trace.rules[i].set, fields[i]);
        if (i >= 2) { assert_string_equal(settings.trace.rules[i].layers, i < 5 ? "fc" : "layer*"); }
    }
    assert_true(settings.trace.rules[2].sparsity == 0.25);
    assert_int_equal(settings.trace.rules[3].solver, SPADE_SOLVER_EXACT);
    assert_int_equal(settings.trace.rules[6].block, 7);
    assert_int_equal(settings.trace.rules[7].of, 0);
    spade_settings_clear(&settings);
}

/* A plain value after rules, as an option on the command line is, takes back those of its own key. */
static void test_plain_values_win_over_rules(void **state)
{
    (void)state;
    static const char text[] =
        "rules:\n- {layers: fc, sparsity: 0.25, solver: exact}\n- {layers: conv*, solver: random}\n";
    spade_context context = {.budget = UINT64_MAX};
    spade_settings settings;
    char value[] = "magnitude", *values[] = {value};
    assert_int_equal(read_text(&context, text, strlen(text), &settings), SPADE_OK);
    assert_int_equal(settings.trace.rule_count, 3);
    assert_int_equal(spade_settings_set(&context, &settings, spade_key_find("solver", 6), NULL, values, 1), SPADE_OK);
    spade_settings_finish(&settings);
    assert_int_equal(settings.trace.rule_count, 1);
    assert_int_equal(settings.trace.rules[0].set, SPADE_RULE_SPARSITY);
    assert_int_equal(settings.trace.solver, SPADE_SOLVER_MAGNITUDE);
    spade_settings_clear(&settings);
}

static const char default_file[] = SPADE_SOURCE_DIR "/configs/default.yaml";

/* The documented default configuration is what the table says... */
static void test_default_file_is_generated(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    assert_non_null(memory);
    spade_settings_write_defaults(memory);
    assert_int_equal(fclose(memory), 0);
    if (getenv("SPADE_UPDATE")) {
        FILE *file = fopen(default_file, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, size, file), size);
        assert_int_equal(fclose(file), 0);
    }
    spade_context context = {.budget = UINT64_MAX};
    spade_mapping file;
    assert_int_equal(spade_map_file(&context, default_file, 1 << 20, &file), SPADE_OK);
    if (file.size != size || memcmp(file.data, text, size) != 0) {
        fail_msg("%s is not what the table of settings says: run this test with SPADE_UPDATE=1", default_file);
    }
    spade_unmap(&file);
    free(text);
}

/* ... and says nothing but the defaults. */
static void test_default_file(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    spade_settings defaults, settings;
    spade_settings_init(&defaults);
    spade_settings_init(&settings);
    spade_status status = spade_settings_read(&context, &settings, default_file);
    if (status != SPADE_OK) { fail_msg("%s", context.message); }
    json_t *left = spade_settings_json(&defaults), *right = spade_settings_json(&settings);
    assert_true(json_equal(left, right));
    json_decref(left);
    json_decref(right);
    spade_settings_clear(&settings);
    spade_settings_clear(&defaults);
}

static void count_choices(const char *text, int methods, int metrics)
{
    spade_context context = {.budget = UINT64_MAX};
    spade_settings settings;
    spade_method_choice *method;
    spade_metric_choice *metric;
    int count;
    assert_int_equal(read_text(&context, text, strlen(text), &settings), SPADE_OK);
    assert_int_equal(spade_settings_methods(&context, &settings, &method, &count), SPADE_OK);
    if (count != methods) { fail_msg("%s: %d methods", text, count); }
    assert_string_equal(method[count - 1].label, count > 1 ? "smoothgrad_2" : "smoothgrad");
    spade_method_choices_destroy(method, count);
    assert_int_equal(spade_settings_metrics(&context, &settings, &metric, &count), SPADE_OK);
    if (count != metrics) { fail_msg("%s: %d metrics", text, count); }
    spade_metric_choices_destroy(metric, count);
    spade_settings_clear(&settings);
}

/* What is asked for twice is made once, however it is written; with other options it is another. */
static void test_asked_twice(void **state)
{
    (void)state;
    count_choices("methods: [smoothgrad, smoothgrad]\nmetrics: [roc_auc, roc_auc]\n", 1, 1);
    count_choices("methods: [smoothgrad, \"smoothgrad:samples=50\"]\nsamples: 50\n"
                  "metrics: [pointing, \"pointing:tolerance=0\", \"pointing:tolerance=0.0\"]\n",
                  1, 1);
    count_choices("methods: [\"smoothgrad:samples=3:sigma=0.1\", \"smoothgrad:sigma=0.1:samples=3\"]\n"
                  "metrics: [pointing, \"pointing:tolerance=2\"]\n",
                  1, 2);
    count_choices("methods: [smoothgrad, \"smoothgrad:seed=4\"]\nseed: 3\n", 2, 1);
    count_choices("methods: [smoothgrad, \"smoothgrad:seed=3\"]\nseed: 3\n", 1, 1);
    count_choices("methods: [smoothgrad, \"smoothgrad:output=scores\"]\n", 2, 1);
}

/* The value of an option in a method's text wins over its short form, and a method without such an option does not
 * mind. */
static void test_methods(void **state)
{
    (void)state;
    static const char text[] =
        "methods: [\"smoothgrad:samples=25\", saliency, smoothgrad, saliency, \"smoothgrad:sigma=0.5:seed=3\"]\n"
        "samples: 10\nsigma: 0.1\nseed: 7\noutput: softmax\n";
    static const char *const labels[] = {"smoothgrad", "saliency", "smoothgrad_2", "smoothgrad_3"};
    static const char *const options[] = {"samples=25", NULL, NULL, "sigma=0.5:seed=3"};
    static const double passes[] = {25, 1, 10, 10};
    spade_context context = {.budget = UINT64_MAX};
    spade_settings settings;
    spade_method_choice *choices;
    int count;
    assert_int_equal(read_text(&context, text, strlen(text), &settings), SPADE_OK);
    assert_int_equal(spade_settings_methods(&context, &settings, &choices, &count), SPADE_OK);
    assert_int_equal(count, 4); /* the same text twice is asked for once */
    for (int i = 0; i < count; i++) {
        const attribution_method *method = choices[i].attribution->method;
        assert_string_equal(choices[i].label, labels[i]);
        if (options[i]) {
            assert_string_equal(choices[i].options, options[i]);
        } else {
            assert_null(choices[i].options);
        }
        assert_true(!method->passes || method->passes(NULL, choices[i].attribution->options) == passes[i]);
        assert_int_equal(choices[i].attribution->common.output, 1);
        assert_int_equal(choices[i].attribution->common.seed, i == 3 ? 3 : 7);
    }
    spade_method_choices_destroy(choices, count);
    spade_settings_clear(&settings);
}

static void test_follow_links(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool follows;
    } cases[] = {{"seed: 1\n", false}, {"follow_links: true\n", true}, {"follow_links: false\n", false}};
    spade_context context = {.budget = UINT64_MAX};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spade_settings settings;
        spade_model_options options;
        assert_int_equal(read_text(&context, cases[i].text, strlen(cases[i].text), &settings), SPADE_OK);
        spade_settings_model_options(&settings, &options);
        assert_int_equal(options.follow_links, cases[i].follows);
        spade_settings_clear(&settings);
    }
}

/* A mapping of options is the text that the command line takes. */
static void test_methods_as_mappings(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *text;
    } cases[] = {
        {"{smoothgrad: {samples: 25, sigma: 0.1}}", "smoothgrad:samples=25:sigma=0.1"},
        {"{saliency: }", "saliency"},
        {"{saliency: {}}", "saliency"},
        {"{gradcam: {layer: layer3, upsample: none}}", "gradcam:layer=layer3:upsample=none"},
        {"{gradcam: {layer: \"features.3:17\"}}", "gradcam:layer=features.3:17"},
        {"{gradcam: {layer: \"a:b\"}}", "gradcam:layer=\"a:b\""},
        {"{gradcam: {layer: \"a:b:17\"}}", "gradcam:layer=\"a:b\":17"},
        {"{gradcam: {layer: \"a,b\"}}", "gradcam:layer=\"a,b\""},
        {"{gradcam: {layer: 'a\"b'}}", "gradcam:layer='a\"b'"},
    };
    spade_context context = {.budget = UINT64_MAX};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        spade_settings settings;
        int length = snprintf(text, sizeof text, "methods:\n- input_x_gradient\n- %s\n", cases[i].yaml);
        spade_status status = read_text(&context, text, (size_t)length, &settings);
        if (status != SPADE_OK) { fail_msg("%s: %s", text, context.message); }
        assert_int_equal(settings.methods.count, 2);
        assert_string_equal(settings.methods.items[1], cases[i].text);
        spade_settings_clear(&settings);
    }
}

static void test_metrics(void **state)
{
    (void)state;
    static const char text[] = "metrics: [\"pointing:tolerance=2\", {pointing: {tolerance: 1.5}}, roc_auc, roc_auc]\n";
    spade_context context = {.budget = UINT64_MAX};
    spade_settings settings;
    spade_metric_choice *choices;
    int count;
    spade_settings_init(&settings);
    assert_int_equal(spade_settings_metrics(&context, &settings, &choices, &count), SPADE_OK);
    assert_int_equal(count, 1); /* where nobody says */
    assert_string_equal(choices[0].label, "roc_auc");
    assert_null(choices[0].options);
    spade_metric_choices_destroy(choices, count);
    spade_settings_clear(&settings);

    if (read_text(&context, text, strlen(text), &settings) != SPADE_OK) { fail_msg("%s", context.message); }
    assert_int_equal(spade_settings_metrics(&context, &settings, &choices, &count), SPADE_OK);
    assert_int_equal(count, 3);
    assert_string_equal(choices[0].options, "tolerance=2");
    assert_string_equal(choices[1].label, "pointing_2");
    assert_string_equal(choices[1].options, "tolerance=1.5");
    assert_string_equal(choices[2].label, "roc_auc");
    json_t *json = spade_settings_json(&settings);
    assert_string_equal(json_string_value(json_array_get(json_object_get(json, "metrics"), 1)),
                        "pointing:tolerance=1.5");
    json_decref(json);
    spade_metric_choices_destroy(choices, count);
    spade_settings_clear(&settings);
}

/* Files that are refused, and what is said of them. */
static const struct {
    const char *text, *says;
} refused[] = {
    {"variantz: 3\n", "unknown key 'variantz'"},
    {"augment:\n  huee: 0.1\n", "unknown key 'huee'"},
    {"sparsity: 0,5\n", "'0,5' is not a number"},
    {"sparsity: nan\n", "'nan' is not a number"},
    {"sparsity: 0.5x\n", "'0.5x' is not a number"},
    {"sparsity: 1.5\n", "not from 0 to 1"},
    {"sparsity:\n", "is not a number"},
    {"sparsity: [{layers: fc, value: \"0,5\"}]\n", "'0,5' is not a number"},
    {"sparsity: [{layer: fc, value: 1}]\n", "unknown key 'layer'"},
    {"rules: [{layers: fc}]\n", "the rule for fc changes nothing"},
    {"rules: [{sparsity: 0.5}]\n", "layers"},
    {"rules: [{layers: fc, sparsity: 2}]\n", "not from 0 to 1"},
    {"rules: [{layers: fc, value: 1}]\n", "unknown key 'value'"},
    {"rules: {layers: fc, block: 1}\n", "rules"},
    {"nm: 4:2\n", "'4:2' is no pattern"},
    {"nm: 2\n", "'2' is no pattern"},
    {"nm: 2:4x\n", "'2:4x' is no pattern"},
    {"nm: 0:4\n", "is no pattern"},
    {"linear_block: -1\n", "not from 0"},
    {"variants: 0\n", "not from 1"},
    {"variants: 1.5\n", "not a whole number"},
    {"variants: [1, 2]\n", "variants"},
    {"seed: -1\n", "seed"},
    {"solver: slow\n", "'slow' is none of fast, exact, magnitude, random"},
    {"methods: [saliency, gradcan]\n", "unknown method 'gradcan'"},
    {"methods: [saliency, smoothgrad:samples=0]\n", "smoothgrad: samples: 0 is not from 1 to 10000"},
    {"methods: [saliency:samples=5]\n", "saliency: no option 'samples' (there are output and seed)"},
    {"methods: [saliency, {smoothgrad: {samples: 0}}]\n", "smoothgrad: samples: 0 is not from 1 to 10000"},
    {"methods: [{smoothgrad: {samples: [1]}}]\n", "methods: a value is wanted, not a list"},
    {"methods: [{smoothgrad: {samples: {a: b}}}]\n", "methods: a value is wanted, not a MAPPING"},
    {"methods: [{smoothgrad: 5}]\n", "methods: a mapping of options is wanted, not a value"},
    {"methods: [{smoothgrad: {sigma: 1, sigma: 2}}]\n", "'sigma' is given twice"},
    {"methods: [{smoothgrad: {samples: 5}, saliency: {}}]\n", "an entry holds one name, not 2"},
    {"methods: [[saliency]]\n", "methods: a value is wanted, not a list"},
    {"methods: {smoothgrad: {samples: 5}}\n", "methods: a value or a list is wanted, not a MAPPING"},
    {"methods: [{gradcam: {layer: \"a:b'\\\"\"}}]\n", "methods: gradcam: layer holds both kinds of quotes"},
    {"methods: []\n", "no method is given"},
    {"metrics: []\n", "no metric is given"},
    {"metrics: [roc]\n", "unknown metric 'roc'"},
    {"metrics: [{pointing: {tolerance: x}}]\n", "metrics: pointing: tolerance: 'x' is not a number"},
    {"metrics: [{pointing: 5}]\n", "metrics: a mapping of options is wanted, not a value"},
    {"sigma: 101\n", "101 is not from 0 to 100"},
    {"steps: 0\n", "0 is not from 1 to 10000"},
    {"samples: 1.5\n", "'1.5' is not a whole number"},
    {"follow_links: 1\n", "'1' is none of false, true"},
    {"augment.hue: 0.1\n", "unknown key 'augment.hue'"},
    {"rules: [{layers: fc, hessian: fp64}]\n", "unknown key 'hessian'"},
    {"--- {seed: 1}\n--- {seed: 2}\n", "more than one document"},
    {"checkpoint: \"a\\0b\"\n", "a NUL"},
    {"a: &a {b: *a}\n", "unknown key 'a'"},
    {"rules: &a [*a]\n", "rules: a MAPPING with layers is wanted, not a list"},
    {"classes: -1\n", "'-1' is no class"},
    {"classes: [1, 1]\n", "given twice"},
    {"mean: [1, 2]\n", "1, 3 or 4 numbers are wanted, not 2"},
    {"mean: []\n", "1, 3 or 4 numbers are wanted, not 0"},
    {"augment:\n  area: 0.5\n", "area"},
    {"augment: 3\n", "augment"},
    {"augment:\n  area: [1, 0.2]\n", "1 is larger than 0.2"},
    {"variants: 3\nvariants: 4\n", "variants"},
    {"- 1\n", "MAPPING"},
    {"{", ""},
    {"a: &a [*a]\n", "unknown key 'a'"},
};

static void test_refused(void **state)
{
    (void)state;
    spade_context context = {.budget = UINT64_MAX};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        spade_settings settings;
        spade_status status = read_text(&context, refused[i].text, strlen(refused[i].text), &settings);
        if (status == SPADE_OK || !strstr(context.message, refused[i].says)) {
            fail_msg("%s: status %d, '%s'", refused[i].text, status, context.message);
        }
        spade_settings_clear(&settings);
    }
}

/* Files that are small and would take long: refused by what makes them so, within a second. */
static void check_costly(const char *begin, const char *piece, int times, const char *says)
{
    spade_context context = {.budget = UINT64_MAX};
    spade_settings settings;
    const size_t length = strlen(piece);
    char *text = malloc(strlen(begin) + (length + 16) * (size_t)times + 1);
    assert_non_null(text);
    size_t used = (size_t)sprintf(text, "%s", begin);
    for (int i = 0; i < times; i++) {
        const char *number = strchr(piece, '#'); /* becomes the count */
        const int before = number ? (int)(number - piece) : (int)length;
        used += (size_t)sprintf(text + used, "%.*s", before, piece);
        if (number) { used += (size_t)sprintf(text + used, "%d%s", i, number + 1); }
    }
    const double start = spade_now();
    assert_int_equal(read_text(&context, text, used, &settings), SPADE_ERROR_INPUT);
    if (!strstr(context.message, says)) { fail_msg("%s: '%s'", piece, context.message); }
    assert_true(spade_now() - start < 1.0);
    spade_settings_clear(&settings);
    free(text);
}

static void test_costly(void **state)
{
    (void)state;
    check_costly("methods: ", "[", 200000, "more than 16 levels of lists and mappings (line 1)");
    check_costly("methods:\n", "- ", 200000, "more than 16 levels");
    check_costly("methods:\n", "? ", 200000, "more than 16 levels");
    check_costly("methods: ", "{a: ", 100000, "more than 16 levels");
    check_costly("methods:\n", "- &a# x\n", 50000, "more than 64 anchors (line 66)");
    check_costly("methods:\n- &a [x, x, x]\n", "- *a\n", 1000, "more than 64 aliases (line 67)");
    check_costly("methods: [", "x,\n", 300000, "more than 65536 values");
    check_costly("", "%TAG !a#! a\n", 60000, "more than 64 percent signs");
    /* each ten times the one before: 10^9 values */
    check_costly("a: &a0 [x,x,x,x,x,x,x,x,x,x]\n", "b#: [*a0,*a0,*a0,*a0,*a0,*a0,*a0,*a0,*a0,*a0]\n", 9, "aliases");
}

/* What needs an alias may have one. */
static void test_aliases(void **state)
{
    (void)state;
    static const char text[] = "rules: [{layers: a, nm: &nm \"2:4\"}, {layers: b, nm: *nm}]\n";
    spade_context context = {.budget = UINT64_MAX};
    spade_settings settings;
    assert_int_equal(read_text(&context, text, sizeof text - 1, &settings), SPADE_OK);
    spade_settings_clear(&settings);
}

/* Whatever bytes a file holds: read or refused, never a crash. */
static void test_random_bytes(void **state)
{
    (void)state;
    static const char seedling[] = "variants: 64\nmethods: [saliency]\naugment: {hue: 0.1}\nsparsity: [{layers: x, "
                                   "value: 1}]\nrules: [{layers: y, nm: 1:2}]\n";
    spade_context context = {.budget = UINT64_MAX};
    for (uint32_t round = 0; round < 300; round++) {
        char text[sizeof seedling];
        memcpy(text, seedling, sizeof text);
        size_t size = 1 + round % (sizeof text - 2);
        for (uint32_t change = 0; change < round % 4; change++) {
            uint32_t key[2] = {round, change}, counter[4] = {0}, random[4];
            spade_philox(key, counter, random);
            text[random[0] % size] = (char)random[1];
        }
        spade_settings settings;
        (void)read_text(&context, text, size, &settings);
        spade_settings_clear(&settings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_numbers_of_channels),
        cmocka_unit_test(test_all_keys),
        cmocka_unit_test(test_default_file_is_generated),
        cmocka_unit_test(test_default_file),
        cmocka_unit_test(test_asked_twice),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_follow_links),
        cmocka_unit_test(test_methods_as_mappings),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_costly),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_plain_values_win_over_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
