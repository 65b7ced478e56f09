/*
 * An automatic sparsity: the candidate that is chosen is the one that the definition in spade/trace.h names, found here once more
 * from traces with given sparsities, in plain loops; and the variants that are held out for it.
 */
#include <math.h>
#include <stdio.h>

#include "support/context.h"
#include "support/model.h"
#include "spade/spade.h"

enum { SIDE = 12, CHANNELS = 8, CLASSES = 5, VARIANTS = 12, HELD_OUT = 20, LEVELS = 6, MAX_LAYERS = 8 };
static const double levels[LEVELS] = {0.2, 0.5, 0.8, 0.9, 0.95, 0.99};

static void put_convolution(wire *network, const char *name, const char *input, const char *output, int64_t in,
                            uint32_t seed)
{
    char weight[48], inputs[64], before[16];
    const int64_t dims[] = {CHANNELS, in, 3, 3}, pads[] = {1, 1, 1, 1};
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(inputs, sizeof inputs, "%s %s", input, weight);
    snprintf(before, sizeof before, "%s_", output);
    put_tensor(network, tensor_random(weight, 4, dims, seed));
    put_node(network, with_ints(node_of(name, "Conv", inputs, before), "pads", 4, pads));
    put_node(network, node_of("", "Relu", before, output));
}

/* Stages: layer1.0 (two layers), layer2.0, layer2.1, fc. */
static const char *save_model(const float bias[CLASSES])
{
    wire network = graph_of(3, SIDE, SIDE, CLASSES);
    put_convolution(&network, "conv1", "x", "a", 3, 1);
    put_convolution(&network, "layer1.0.conv1", "a", "b", CHANNELS, 2);
    put_convolution(&network, "layer1.0.conv2", "b", "c", CHANNELS, 3);
    put_convolution(&network, "layer2.0.conv1", "c", "d", CHANNELS, 4);
    put_convolution(&network, "layer2.1.conv1", "d", "e", CHANNELS, 5);
    put_node(&network, node_of("average", "GlobalAveragePool", "e", "p"));
    put_node(&network, node_of("flatten", "Flatten", "p", "f"));
    put_tensor(&network, tensor_random("fc.weight", 2, (int64_t[]){CLASSES, CHANNELS}, 6));
    put_tensor(&network, tensor_of("fc.bias", 1, (int64_t[]){CLASSES}, bias));
    put_node(&network, with_int(node_of("fc", "Gemm", "f fc.weight fc.bias", "y"), "transB", 1));
    return test_save("stages.onnx", model_of(network));
}

typedef struct fixture {
    spade_context *context;
    spade_model *model;
    spade_batch *batch;
    float sample[3 * SIDE * SIDE];
} fixture;

static void expect_ok(const fixture *f, spade_status status)
{
    if (status != SPADE_OK) { fail_msg("%s", spade_message(f->context)); }
}

/* The network's classes are about as frequent as each other, so that its decisions are easily changed: of the logits their mean over
 * variants is taken off. */
static void load_balanced(fixture *f)
{
    float bias[CLASSES] = {0}, logits[HELD_OUT][CLASSES], *variants = malloc(sizeof f->sample * HELD_OUT);
    assert_non_null(variants);
    expect_ok(f, spade_model_load(f->context, save_model(bias), NULL, &f->model));
    expect_ok(f, spade_batch_hold_out(f->context, f->batch, HELD_OUT, NULL));
    expect_ok(f, spade_batch_read(f->context, f->batch, VARIANTS, HELD_OUT, variants));
    expect_ok(f, spade_batch_hold_out(f->context, f->batch, 0, NULL));
    expect_ok(f, spade_model_forward(f->context, f->model, NULL, variants, HELD_OUT, logits[0]));
    for (int v = 0; v < HELD_OUT; v++) {
        for (int c = 0; c < CLASSES; c++) { bias[c] -= logits[v][c] / HELD_OUT; }
    }
    free(variants);
    spade_model_destroy(f->model);
    expect_ok(f, spade_model_load(f->context, save_model(bias), NULL, &f->model));
}

static fixture open_fixture(uint32_t seed)
{
    fixture f = {.context = test_context(test_device(), 2)};
    spade_preprocess preprocess;
    spade_augment_options augment;
    spade_preprocess_init(&preprocess, SIDE, SIDE);
    spade_augment_options_init(&augment);
    augment.variants = VARIANTS;
    augment.seed = seed;
    for (uint32_t i = 0; i < 3 * SIDE * SIDE; i++) { f.sample[i] = 1.5f * pseudo_random(seed, i); }
    expect_ok(&f, spade_batch_from_tensor(f.context, f.sample, &preprocess, &augment, &f.batch));
    load_balanced(&f);
    return f;
}

static void close_fixture(fixture *f)
{
    spade_batch_destroy(f->batch);
    spade_model_destroy(f->model);
    spade_context_destroy(f->context);
}

/* ---- the definition once more */

typedef struct reference {
    int level;
    bool scaled, keeps_class;
    int64_t zeros;
    int misses;
} reference;

static int64_t decision(const fixture *f, const spade_trace *trace, const float *input)
{
    float logits[CLASSES];
    int64_t top = 0;
    expect_ok(f, spade_model_forward(f->context, f->model, trace, input, 1, logits));
    for (int64_t i = 1; i < CLASSES; i++) { top = logits[i] > logits[top] ? i : top; }
    return top;
}

/* The level of a layer in a candidate, -1: dense. fc is of the fixed sparsity where `fixed`. */
static int reference_level(const int *stages, int layer, const reference *r, bool fixed)
{
    if (!r->scaled || stages[layer] < 0 || (fixed && stages[layer] == 3)) { return r->level; }
    return (int)floor((double)stages[layer] / 3.0 * (r->level + 1) + 0.5) - 1;
}

static spade_trace *compose(const fixture *f, spade_trace *const *found, const int *stages, const reference *r,
                            bool fixed, int64_t *zeros)
{
    spade_trace *trace;
    *zeros = 0;
    expect_ok(f, spade_trace_create_empty(f->context, f->model, &trace));
    for (int l = 1; l < spade_model_layer_count(f->model); l++) {
        spade_trace_layer info;
        const int level = reference_level(stages, l, r, fixed);
        if (level < 0) { continue; }
        spade_trace_layer_info(found[level], l, &info);
        expect_ok(f, spade_trace_set_weights(f->context, trace, l, spade_trace_weights(found[level], l)));
        *zeros += info.zeros;
    }
    return trace;
}

/* Everything that the choice says, and the weights of the trace that was chosen. */
static void compare_choice(const fixture *f, const spade_trace_options *options, bool with_sample)
{
    const bool fixed = options->rule_count > 0;
    spade_trace *found[LEVELS], *chosen;
    int stages[MAX_LAYERS];
    float held_out[HELD_OUT][3 * SIDE * SIDE];
    spade_sparsity_choice choice;
    reference all[2 * LEVELS], best = {.level = -1};
    bool enough = false;
    int tried = 0;
    expect_ok(f, spade_trace_create(f->context, f->model, f->batch, options, &chosen));
    assert_true(spade_trace_sparsity_choice(chosen, &choice));
    assert_int_equal(spade_model_stages(f->model, stages), 4);
    expect_ok(f, spade_batch_read(f->context, f->batch, VARIANTS, HELD_OUT, held_out[0]));
    for (int level = 0; level < LEVELS; level++) {
        spade_trace_options given = *options;
        given.sparsity = levels[level];
        expect_ok(f, spade_trace_create(f->context, f->model, f->batch, &given, &found[level]));
        assert_false(spade_trace_sparsity_choice(found[level], &(spade_sparsity_choice){0}));
    }
    for (int i = 0; i < 2 * LEVELS; i++) {
        reference *r = &all[i];
        *r = (reference){.level = i / 2, .scaled = i % 2, .keeps_class = true};
        spade_trace *trace = compose(f, found, stages, r, fixed, &r->zeros);
        if (with_sample) { r->keeps_class = decision(f, trace, f->sample) == decision(f, NULL, f->sample); }
        for (int v = 0; v < HELD_OUT; v++) {
            r->misses += decision(f, trace, held_out[v]) != decision(f, NULL, held_out[v]);
        }
        spade_trace_destroy(trace);
    }
    for (int i = 0; i < 2 * LEVELS; i++) { /* the sparsest first; then without scale, then by level */
        for (int k = i + 1; k < 2 * LEVELS; k++) {
            const reference a = all[i], b = all[k];
            if (b.zeros > a.zeros ||
                (b.zeros == a.zeros && (b.scaled < a.scaled || (b.scaled == a.scaled && b.level > a.level)))) {
                all[i] = b;
                all[k] = a;
            }
        }
    }
    for (; tried < 2 * LEVELS && !enough; tried++) {
        const reference *r = &all[tried];
        enough = r->keeps_class && HELD_OUT - r->misses >= 0.95 * HELD_OUT;
        const bool better = best.level < 0 || r->keeps_class > best.keeps_class ||
                            (r->keeps_class == best.keeps_class && r->misses < best.misses);
        if (enough || better) { best = *r; }
    }
    assert_int_equal(choice.enough, enough);
    assert_int_equal(choice.tried, tried);
    assert_true(choice.sparsity == levels[best.level]);
    assert_int_equal(choice.scaled, best.scaled);
    assert_int_equal(choice.keeps_class, best.keeps_class);
    assert_true(fabs(choice.agreement - (1 - (double)best.misses / HELD_OUT)) < 1e-12);
    for (int l = 0; l < spade_model_layer_count(f->model); l++) {
        const int level = l ? reference_level(stages, l, &best, fixed) : -1;
        const float *expected = level < 0 ? spade_model_weights(f->model, l) : spade_trace_weights(found[level], l);
        spade_layer_info info;
        spade_trace_layer layer;
        spade_model_layer(f->model, l, &info);
        spade_trace_layer_info(chosen, l, &layer);
        assert_memory_equal(spade_trace_weights(chosen, l), expected,
                            sizeof(float) * (size_t)(info.rows * info.columns));
        assert_int_equal(layer.solved, level >= 0);
    }
    for (int level = 0; level < LEVELS; level++) { spade_trace_destroy(found[level]); }
    spade_trace_destroy(chosen);
}

static void test_the_choice_is_the_definitions(void **state)
{
    (void)state;
    static const spade_solver solvers[] = {SPADE_SOLVER_FAST, SPADE_SOLVER_RANDOM, SPADE_SOLVER_EXACT};
    const spade_layer_rule rule = {.layers = "fc", .set = SPADE_RULE_SPARSITY, .sparsity = 0.5};
    const int rounds = test_is_emulated() ? 2 : 9;
    for (int round = 0; round < rounds; round++) {
        fixture f = open_fixture(20 + (uint32_t)round);
        spade_trace_options options;
        spade_trace_options_init(&options);
        options.sparsity = SPADE_SPARSITY_AUTO;
        options.solver = solvers[round % 3];
        options.rules = &rule;
        options.rule_count = round % 2;
        expect_ok(&f, spade_batch_hold_out(f.context, f.batch, HELD_OUT, round != 4 ? f.sample : NULL));
        compare_choice(&f, &options, round != 4);
        close_fixture(&f);
    }
}

/* In one call with others: each is as if it were alone. */
static void test_beside_given_sparsities(void **state)
{
    (void)state;
    fixture f = open_fixture(3);
    spade_trace_options options[3];
    spade_trace *traces[3], *alone;
    for (int i = 0; i < 3; i++) { spade_trace_options_init(&options[i]); }
    options[1].sparsity = SPADE_SPARSITY_AUTO;
    options[2].sparsity = 0.7;
    expect_ok(&f, spade_batch_hold_out(f.context, f.batch, HELD_OUT, f.sample));
    expect_ok(&f, spade_trace_create_many(f.context, f.model, (const spade_batch *[]){f.batch}, 1, options, 3, traces));
    for (int i = 0; i < 3; i++) {
        expect_ok(&f, spade_trace_create(f.context, f.model, f.batch, &options[i], &alone));
        for (int l = 0; l < spade_model_layer_count(f.model); l++) {
            spade_layer_info info;
            spade_model_layer(f.model, l, &info);
            assert_memory_equal(spade_trace_weights(traces[i], l), spade_trace_weights(alone, l),
                                sizeof(float) * (size_t)(info.rows * info.columns));
        }
        spade_trace_destroy(alone);
        spade_trace_destroy(traces[i]);
    }
    close_fixture(&f);
}

/* Rules for all layers leave nothing to choose; for some, it is said of how many layers the choice is. */
static void test_rules(void **state)
{
    (void)state;
    fixture f = open_fixture(5);
    spade_layer_rule rule = {.layers = "*", .set = SPADE_RULE_SPARSITY, .sparsity = 0.5};
    spade_trace_options options, given;
    spade_trace *traces[2];
    spade_sparsity_choice choice;
    spade_trace_options_init(&options);
    options.rules = &rule;
    options.rule_count = 1;
    given = options;
    options.sparsity = SPADE_SPARSITY_AUTO;
    expect_ok(&f, spade_batch_hold_out(f.context, f.batch, HELD_OUT, f.sample));
    expect_ok(&f, spade_trace_create(f.context, f.model, f.batch, &options, &traces[0]));
    expect_ok(&f, spade_trace_create(f.context, f.model, f.batch, &given, &traces[1]));
    assert_false(spade_trace_sparsity_choice(traces[0], &choice));
    for (int l = 0; l < spade_model_layer_count(f.model); l++) {
        spade_layer_info info;
        spade_model_layer(f.model, l, &info);
        assert_memory_equal(spade_trace_weights(traces[0], l), spade_trace_weights(traces[1], l),
                            sizeof(float) * (size_t)(info.rows * info.columns));
    }
    spade_trace_destroy(traces[0]);
    rule.layers = "fc";
    expect_ok(&f, spade_trace_create(f.context, f.model, f.batch, &options, &traces[0]));
    assert_true(spade_trace_sparsity_choice(traces[0], &choice));
    assert_true(choice.layers == choice.of - 1 && choice.highest <= choice.sparsity);
    spade_trace_destroy(traces[0]);
    spade_trace_destroy(traces[1]);
    close_fixture(&f);
}

static void expect_refusal(const fixture *f, const spade_trace_options *options, const char *text)
{
    spade_trace *trace;
    assert_int_equal(spade_trace_create(f->context, f->model, f->batch, options, &trace), SPADE_ERROR_ARGUMENT);
    if (!strstr(spade_message(f->context), text)) { fail_msg("%s", spade_message(f->context)); }
    assert_null(trace);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    fixture f = open_fixture(4);
    spade_trace_options options;
    spade_trace_options_init(&options);
    options.sparsity = SPADE_SPARSITY_AUTO;
    expect_refusal(&f, &options, "spade_batch_hold_out");
    expect_ok(&f, spade_batch_hold_out(f.context, f.batch, 4, f.sample));
    options.keep = 2;
    options.of = 4;
    expect_refusal(&f, &options, "2:4");
    options.of = 0;
    options.sparsity = -0.5;
    expect_refusal(&f, &options, "-0.5");
    close_fixture(&f);
}

/* Drawn variants that are held out are the next ones; given ones are the last, and no Hessian sees them. */
static void test_variants_that_are_held_out(void **state)
{
    (void)state;
    enum { SIZE = 3 * SIDE * SIDE };
    fixture f = open_fixture(5);
    spade_batch *ready;
    int64_t dims[4];
    float *all = malloc(sizeof *all * SIZE * VARIANTS), more[SIZE], next[SIZE];
    assert_non_null(all);
    assert_int_equal(spade_batch_read(f.context, f.batch, VARIANTS, 1, more), SPADE_ERROR_ARGUMENT);
    expect_ok(&f, spade_batch_hold_out(f.context, f.batch, 2, NULL));
    expect_ok(&f, spade_batch_read(f.context, f.batch, VARIANTS, 1, more));
    spade_batch_shape(f.batch, dims);
    assert_int_equal(dims[0], VARIANTS);
    expect_ok(&f, spade_batch_hold_out(f.context, f.batch, 5, NULL));
    expect_ok(&f, spade_batch_read(f.context, f.batch, VARIANTS, 1, next));
    assert_memory_equal(more, next, sizeof more);

    expect_ok(&f, spade_batch_read(f.context, f.batch, 0, VARIANTS, all));
    expect_ok(&f, spade_batch_from_array(f.context, all, VARIANTS, 3, SIDE, SIDE, &ready));
    assert_int_equal(spade_batch_hold_out(f.context, ready, VARIANTS, NULL), SPADE_ERROR_ARGUMENT);
    expect_ok(&f, spade_batch_hold_out(f.context, ready, 4, NULL));
    spade_batch_shape(ready, dims);
    assert_int_equal(dims[0], VARIANTS - 4);
    expect_ok(&f, spade_batch_read(f.context, ready, VARIANTS - 1, 1, more));
    assert_memory_equal(more, all + SIZE * (VARIANTS - 1), sizeof more);
    expect_ok(&f, spade_batch_hold_out(f.context, ready, 0, f.sample));
    spade_batch_shape(ready, dims);
    assert_int_equal(dims[0], VARIANTS);
    spade_batch_destroy(ready);
    free(all);
    close_fixture(&f);
}

static void test_names_of_stages(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"layer4.1.conv2", "layer4.1"},
        {"layer2.0.downsample.0", "layer2.0"},
        {"fc", "fc"},
        {"features.17.conv.0.0", "features.17"},
        {"features.7.2.block.0", "features.7.2"},
        {"classifier.3", "classifier.3"},
        {"encoder.layers.encoder_layer_11.mlp.3", "encoder.layers.encoder_layer_11"},
        {"blocks.11.attn.qkv", "blocks.11"},
        {"vit.encoder.layer.0.attention.attention.query", "vit.encoder.layer.0"},
        {"stages.3.blocks.2.mlp.fc1", "stages.3.blocks.2"},
        {"stages.1.downsample.1", "stages.1"},
        {"convnext.encoder.stages.3.layers.2.pwconv1", "convnext.encoder.stages.3.layers.2"},
        {"features.denseblock4.denselayer16.conv1", "features.denseblock4.denselayer16"},
        {"Mixed_7c.branch3x3_1.conv", "Mixed_7c"},
        {"heads.head", "heads.head"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const size_t length = spade_stage_name_length(names[i][0]);
        if (length != strlen(names[i][1]) || strncmp(names[i][0], names[i][1], length) != 0) {
            fail_msg("%s: the first %zu characters, not %s", names[i][0], length, names[i][1]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_choice_is_the_definitions),
                                       cmocka_unit_test(test_beside_given_sparsities),
                                       cmocka_unit_test(test_rules),
                                       cmocka_unit_test(test_what_is_refused),
                                       cmocka_unit_test(test_variants_that_are_held_out),
                                       cmocka_unit_test(test_names_of_stages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
