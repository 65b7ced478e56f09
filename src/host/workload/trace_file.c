/* trace_file.c - the trace job: the sparse network of one input as a file. */
#include "base/json.h"
#include "base/text.h"
#include "base/sparsity_choice.h"
#include "workload/trace_input.h"
#include "workload/trace_warnings.h"
#include "workload/unread_options.h"

static json_t *layer_json(const spade_layer_info *info, const spade_trace_layer *layer)
{
    json_t *object = json_object();
    spade_json_set(&object, "name", spade_json_text(info->name));
    spade_json_set(&object, "shape", spade_json_integers(info->weight, info->convolution ? 4 : 2));
    spade_json_set(&object, "solved", json_boolean(layer->solved));
    spade_json_set(&object, "sparsity", json_real(layer->solved ? layer->sparsity : 0));
    spade_json_set(&object, "zeros", json_integer(layer->zeros));
    spade_json_set(&object, "weights", json_integer(info->rows * info->columns));
    spade_json_set(&object, "loss", spade_json_number(layer->loss));
    spade_json_set(&object, "seconds", json_real(layer->seconds));
    spade_json_set(&object, "resumed", json_boolean(layer->resumed));
    return object;
}

static json_t *trace_json(const spade_trace_request *request, const spade_model *model, const spade_trace *trace,
                          int64_t variants)
{
    json_t *layers = json_array(), *empty = json_array(), *all = json_object();
    int64_t zeros = 0, weights = 0;
    double seconds[3];
    spade_trace_seconds(trace, seconds);
    for (int i = 0; i < spade_model_layer_count(model); i++) {
        spade_layer_info info;
        spade_trace_layer layer;
        spade_model_layer(model, i, &info);
        spade_trace_layer_info(trace, i, &layer);
        if (layer.solved) {
            zeros += layer.zeros;
            weights += info.rows * info.columns;
            if (layer.zeros == info.rows * info.columns) { spade_json_append(&empty, spade_json_text(info.name)); }
        }
        spade_json_append(&layers, layer_json(&info, &layer));
    }
    spade_json_set(&all, "version", json_string(spade_version()));
    spade_json_set(&all, "model", spade_json_text(request->model));
    spade_json_set(&all, "input", spade_json_text(request->batch ? request->batch : request->input));
    spade_json_set(&all, "file", spade_json_text(request->output));
    spade_json_set(&all, "variants", json_integer(variants));
    sparsity_choice_set(&all, trace);
    spade_json_set(&all, "zeros", json_integer(zeros));
    spade_json_set(&all, "weights", json_integer(weights));
    static const char *const stages[] = {"variants", "hessian", "solve"};
    json_t *times = json_object();
    for (int i = 0; i < 3; i++) { spade_json_set(&times, stages[i], json_real(seconds[i])); }
    spade_json_set(&all, "seconds", times);
    spade_json_set(&all, "layers", layers);
    spade_json_set(&all, "all_zero_layers", empty);
    spade_json_set(&all, "configuration", spade_settings_json(request->settings));
    return all;
}

/* What a layer without a weight computes is the same for every picture. */
static void warn_of_empty_layers(spade_context *context, const char *path, const json_t *names)
{
    const size_t count = json_array_size(names);
    if (!count) { return; }
    spade_log(context, SPADE_LOG_WARNING, "%s: all weights are 0 in %zu layer%s of the trace (%s%s)", path, count,
              count == 1 ? "" : "s", json_string_value(json_array_get(names, 0)), count == 1 ? "" : ", ...");
}

/* Refuse before the work what would fail after it. */
static spade_status check_output(spade_context *context, const spade_trace_request *request, const trace_input *input)
{
    const char *path = request->output;
    if (!spade_ends_in(path, ".onnx") && !spade_ends_in(path, ".safetensors")) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: the name must end in .onnx or .safetensors", path);
    }
    return trace_input_check_output(context, path, "trace", request->model, input);
}

/* The names of a .safetensors file are UTF-8; those of an ONNX file need not be. Told before the work. */
static spade_status check_names(spade_context *context, const spade_trace_request *request, const spade_model *model)
{
    if (!spade_ends_in(request->output, ".safetensors")) { return SPADE_OK; }
    for (int i = 0; i < spade_model_layer_count(model); i++) {
        spade_layer_info info;
        spade_model_layer(model, i, &info);
        char *clean = spade_utf8(info.name);
        if (!clean) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", request->model); }
        const bool same = strcmp(clean, info.name) == 0;
        free(clean);
        if (same) { continue; }
        return spade_fail(context, SPADE_ERROR_INPUT,
                          "%s: the name of layer '%s' is not UTF-8, which .safetensors cannot hold; write .onnx",
                          request->model, info.name);
    }
    return SPADE_OK;
}

spade_status spade_trace_to_file(spade_context *context, const spade_trace_request *request,
                                 const spade_workload_events *events, json_t **result)
{
    spade_status status = SPADE_OK;
    const trace_input input = {request->input, request->batch, request->settings};
    spade_model *model = NULL;
    spade_trace *trace = NULL;
    json_t *json = NULL;
    int64_t variants = 0;

    SPADE_GOTO(check_output(context, request, &input));
    SPADE_GOTO(trace_input_load_model(context, request->model, &input, &model));
    SPADE_GOTO(check_names(context, request, model));
    SPADE_GOTO(spade_settings_check_trace(context, request->settings, model, &request->settings->trace));
    unread_options unread;
    unread_options_find(context, model, &request->settings->trace, &unread);
    const spade_settings_use use = {.unread = unread.names,
                                    .trace = true,
                                    .pictures = request->input && !spade_is_array_path(request->input),
                                    .batch = request->batch != NULL,
                                    .variants_only = true,
                                    .unprepared = request->batch != NULL};
    spade_settings_warn_unused(context, request->settings, &use);
    spade_workload_phase(events, "trace", 0, 1);
    SPADE_GOTO(trace_input_run(context, model, &input, &trace, &variants));
    json = trace_json(request, model, trace, variants); /* before the file: where it fails, there is none */
    if (!json) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", request->output)); }
    if (spade_ends_in(request->output, ".onnx")) {
        SPADE_GOTO(spade_trace_write_onnx(context, trace, request->output));
    } else {
        SPADE_GOTO(spade_trace_write_safetensors(context, trace, request->output));
    }
    *result = json_incref(json);
    warn_of_empty_layers(context, request->output, json_object_get(json, "all_zero_layers"));
    (void)trace_warn_of_zeros(context, request->output, model, trace);
done:
    json_decref(json);
    spade_trace_destroy(trace);
    spade_model_destroy(model);
    return status;
}
