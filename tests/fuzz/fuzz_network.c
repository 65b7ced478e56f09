/*
 * fuzz_network.c - any bytes as an ONNX file: load it; where it is a network that a processor computes in a moment, a forward
 * pass, the map of one method on the dense network and on a trace, and the trace as a file that has to load again.
 */
#include <math.h>

#include "fuzz/target.h"
#include "spade/spade.h"

/* Larger networks are only loaded; of those beyond the second, one of RARE is traced. */
static const double max_operations = 2e7, max_traced = 1e6;
enum { RARE = 16 };
enum { MAX_INPUT = 1 << 16, MAX_OUTPUTS = 1 << 12, VARIANTS = 3, OPEN_SIZE = 16 };

typedef struct run {
    spade_context *context;
    spade_model *model;
    int64_t channels, height, width, size, outputs;
    float *inputs;     /* [VARIANTS][size] */
    float *logits;     /* [2][outputs] */
    double operations; /* of a pass */
    uint64_t hash;     /* of the file: chooses method, solver and sparsity */
} run;

static void measure(run *r)
{
    spade_model_input(r->model, &r->channels, &r->height, &r->width);
    r->size = r->channels * r->height * r->width;
    r->outputs = spade_model_outputs(r->model);
    enum { OF_A_NODE = 100 }; /* of each layer, so that thousands of small ones do not take minutes */
    r->operations = (double)r->size;
    for (int i = 0; i < spade_model_layer_count(r->model); i++) {
        spade_layer_info layer;
        spade_model_layer(r->model, i, &layer);
        r->operations += layer.operations + OF_A_NODE;
    }
}

static bool are_finite(const float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) { return false; }
    }
    return true;
}

static bool forward(run *r, const spade_trace *trace, float *logits)
{
    return fuzz_worked(r->context, spade_model_forward(r->context, r->model, trace, r->inputs, 1, logits));
}

/* The map of the hash's method, where that takes few passes. */
static void explain(run *r, const spade_trace *trace)
{
    const spade_method_info *method = spade_method_at((int)(r->hash % (uint64_t)spade_method_count()));
    const int64_t classes = spade_model_classes(r->model);
    const int64_t first = (int64_t)(r->hash >> 8) % classes, second = (int64_t)(r->hash >> 40) % classes;
    const spade_target target = {.class_index = first, .against = second, .contrast = first != second};
    spade_attribution *attribution = NULL;
    int64_t shape[3];
    FUZZ_EXPECT(spade_attribution_create(r->context, method->name, &attribution) == SPADE_OK, method->name);
    if (spade_attribution_passes(r->model, attribution) * r->operations <= max_operations &&
        fuzz_worked(r->context, spade_attribution_map_shape(r->context, r->model, attribution, shape))) {
        float *map = malloc((size_t)(shape[0] * shape[1] * shape[2]) * sizeof *map);
        spade_map_note note;
        FUZZ_EXPECT(map, "out of memory");
        (void)fuzz_worked(r->context,
                          spade_attribute(r->context, r->model, trace, attribution, r->inputs, &target, 1, map, &note));
        free(map);
    }
    spade_attribution_destroy(attribution);
}

/* What was written has to load, with the same layers. */
static void write_trace(run *r, const spade_trace *trace)
{
    char path[512];
    spade_model *again = NULL;
    spade_model_options options;
    snprintf(path, sizeof path, "%s/trace.onnx", fuzz_folder());
    if (!fuzz_worked(r->context, spade_trace_write_onnx(r->context, trace, path))) { return; }
    spade_model_options_init(&options);
    options.open_height = options.open_width = OPEN_SIZE;
    spade_status status = spade_model_load(r->context, path, &options, &again);
    if (status != SPADE_OK) { fuzz_stop(__FILE__, __LINE__, spade_message(r->context)); }
    FUZZ_EXPECT(spade_model_layer_count(again) == spade_model_layer_count(r->model),
                "the trace's file has other layers");
    spade_model_destroy(again);
}

static void find_trace(run *r)
{
    static const spade_solver solvers[] = {SPADE_SOLVER_FAST, SPADE_SOLVER_EXACT, SPADE_SOLVER_MAGNITUDE};
    spade_batch *batch = NULL;
    spade_trace *trace = NULL;
    spade_trace_options options;
    spade_trace_options_init(&options);
    options.sparsity = (double)(r->hash >> 16 & 7) / 8;
    options.solver = solvers[(r->hash >> 24) % 3];
    options.damping = 0.1;
    if (fuzz_worked(r->context, spade_batch_from_array(r->context, r->inputs, VARIANTS, r->channels, r->height,
                                                       r->width, &batch)) &&
        fuzz_worked(r->context, spade_trace_create(r->context, r->model, batch, &options, &trace))) {
        for (int i = 0; i < spade_model_layer_count(r->model); i++) {
            spade_layer_info layer;
            spade_trace_layer solved;
            spade_model_layer(r->model, i, &layer);
            spade_trace_layer_info(trace, i, &solved);
            const float *weights = spade_trace_weights(trace, i);
            FUZZ_EXPECT(!solved.solved || are_finite(weights, layer.rows * layer.columns),
                        "a solved weight that is not finite");
        }
        if (forward(r, trace, r->logits)) { explain(r, trace); }
        write_trace(r, trace);
    }
    spade_trace_destroy(trace);
    spade_batch_destroy(batch);
}

static void compute(run *r)
{
    r->inputs = malloc((size_t)(VARIANTS * r->size) * sizeof *r->inputs);
    r->logits = malloc((size_t)(2 * r->outputs) * sizeof *r->logits);
    FUZZ_EXPECT(r->inputs && r->logits, "out of memory");
    for (int64_t i = 0; i < VARIANTS * r->size; i++) {
        r->inputs[i] = (float)((int)(((uint64_t)i * 2654435761u) >> 16 & 255) - 128) / 64;
    }
    if (forward(r, NULL, r->logits)) {
        FUZZ_EXPECT(forward(r, NULL, r->logits + r->outputs), "a second forward pass fails");
        FUZZ_EXPECT(memcmp(r->logits, r->logits + r->outputs, (size_t)r->outputs * sizeof *r->logits) == 0,
                    "a second forward pass gives other numbers");
        explain(r, NULL);
        if (r->operations <= max_traced || (r->hash >> 32) % RARE == 0) { find_trace(r); }
    }
    free(r->inputs);
    free(r->logits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run r = {.context = fuzz_context(), .hash = spade_hash(data, size, 0)};
    spade_model_options options;
    spade_operator_info *operators;
    int operator_count;
    spade_model_options_init(&options);
    options.open_height = options.open_width = OPEN_SIZE;
    const char *path = fuzz_file("network.onnx", data, size);
    if (fuzz_worked(r.context, spade_model_operators(r.context, path, &options, &operators, &operator_count))) {
        spade_operators_free(operators, operator_count);
    }
    if (fuzz_worked(r.context, spade_model_load(r.context, path, &options, &r.model))) {
        measure(&r);
        if (r.size <= MAX_INPUT && r.outputs <= MAX_OUTPUTS && r.operations <= max_operations) { compute(&r); }
    }
    spade_model_destroy(r.model);
    fuzz_context_end(r.context);
    return 0;
}
