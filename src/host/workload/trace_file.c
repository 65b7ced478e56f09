/* trace_file.c - the trace job: the sparse network of one input as a file. */
#include <errno.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/text.h"
#include "workload/inputs.h"
#include "workload/workload.h"
#include "workload/image_item.h"

static bool ends_in(const char *path, const char *suffix)
{
    size_t length = strlen(path), end = strlen(suffix);
    return length > end && strcasecmp(path + length - end, suffix) == 0;
}

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

static void warn_of_dense_trace(spade_context *context, const char *path, const json_t *trace)
{
    if (json_integer_value(json_object_get(trace, "zeros")) > 0) { return; }
    spade_log(context, SPADE_LOG_WARNING, "%s: nothing is pruned: the trace is the dense network", path);
}

/* The only input of the request, prepared. */
static spade_status open_input(spade_context *context, const spade_trace_request *request,
                               const spade_preprocess *preprocess, spade_image_item *item, spade_batch **batch)
{
    spade_inputs inputs = {0};
    spade_reader reader = {.context = context, .preprocess = preprocess, .upright = request->settings->orient};
    spade_status loaded;
    char *message = NULL, *path = (char *)(uintptr_t)request->input;
    SPADE_TRY(spade_inputs_collect(context, &path, 1, false, preprocess->channels, preprocess->height,
                                   preprocess->width, &inputs));
    spade_status status = SPADE_OK;
    if (inputs.items[0].error) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_INPUT, "%s", inputs.items[0].error)); }
    if (inputs.count != 1) {
        SPADE_GOTO(
            spade_fail(context, SPADE_ERROR_INPUT, "%s: holds %d inputs; a trace is of one", path, inputs.count));
    }
    SPADE_GOTO(spade_reader_load(&reader, inputs.items, 1, item, &loaded, &message));
    if (loaded != SPADE_OK) { SPADE_GOTO(spade_fail(context, loaded, "%s", message ? message : "out of memory")); }
    SPADE_GOTO(spade_image_item_batch(context, item, preprocess, &request->settings->augment, batch));
done:
    spade_reader_close(&reader);
    spade_inputs_clear(&inputs);
    free(message);
    return status;
}

static spade_status open_batch(spade_context *context, const char *path, const spade_model *model, spade_array *array,
                               spade_batch **batch)
{
    int64_t channels, height, width;
    spade_model_input(model, &channels, &height, &width);
    SPADE_TRY(spade_array_load(context, path, 0, array));
    SPADE_TRY(spade_check_array(context, path, array, channels, height, width));
    return spade_batch_from_array(context, array->data, array->dims[0], channels, height, width, batch);
}

/* The trace takes the place of a file of that name; not of what it is made from, nor of a device or pipe. */
static spade_status check_replaced(spade_context *context, const spade_trace_request *request)
{
    const char *const sources[] = {request->model, request->input, request->batch};
    struct stat replaced, source;
    if (stat(request->output, &replaced) != 0) { return SPADE_OK; }
    if (!S_ISREG(replaced.st_mode)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "-o %s: it is there, and no regular file", request->output);
    }
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        if (!sources[i] || stat(sources[i], &source) != 0) { continue; }
        if (source.st_dev != replaced.st_dev || source.st_ino != replaced.st_ino) { continue; }
        return spade_fail(context, SPADE_ERROR_ARGUMENT,
                          "-o %s is %s, from which the trace is made; choose another name", request->output,
                          sources[i]);
    }
    return SPADE_OK;
}

/* Refuse before the work what would fail after it, and remove what killed runs left there. */
static spade_status check_output(spade_context *context, const char *path)
{
    if (!ends_in(path, ".onnx") && !ends_in(path, ".safetensors")) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: the name must end in .onnx or .safetensors", path);
    }
    char *folder = strdup(path);
    if (!folder) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    char *slash = strrchr(folder, '/');
    if (slash) { slash[slash == folder ? 1 : 0] = 0; }
    int error = access(slash ? folder : ".", W_OK) == 0 ? 0 : errno;
    spade_sweep_temporaries(slash ? folder : ".");
    free(folder);
    return error ? spade_fail(context, SPADE_ERROR_IO, "%s: cannot write: %s", path, strerror(error)) : SPADE_OK;
}

/* The names of a .safetensors file are UTF-8; those of an ONNX file need not be. Told before the work. */
static spade_status check_names(spade_context *context, const spade_trace_request *request, const spade_model *model)
{
    if (!ends_in(request->output, ".safetensors")) { return SPADE_OK; }
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
    spade_model_options options;
    spade_model *model = NULL;
    spade_preprocess preprocess;
    spade_image_item item = {0};
    spade_array array = {0};
    spade_batch *batch = NULL;
    spade_trace *trace = NULL;
    json_t *json = NULL;
    int64_t dims[4];

    SPADE_GOTO(check_output(context, request->output));
    SPADE_GOTO(check_replaced(context, request));
    if (request->settings->checkpoint) { spade_sweep_temporaries(request->settings->checkpoint); }
    spade_settings_model_options(request->settings, &options);
    char *input = (char *)(uintptr_t)request->input;
    spade_inputs_guess_size(context, &input, input ? 1 : 0, request->batch, &options);
    SPADE_GOTO(spade_model_load(context, request->model, &options, &model));
    SPADE_GOTO(check_names(context, request, model));
    SPADE_GOTO(spade_trace_check_options(context, model, &request->settings->trace));
    if (request->batch) {
        SPADE_GOTO(open_batch(context, request->batch, model, &array, &batch));
    } else {
        SPADE_GOTO(spade_settings_preprocess(context, request->settings, model, &preprocess));
        SPADE_GOTO(open_input(context, request, &preprocess, &item, &batch));
    }
    spade_workload_phase(events, "trace", 0, 1);
    SPADE_GOTO(spade_trace_create(context, model, batch, &request->settings->trace, &trace));
    spade_batch_shape(batch, dims);
    json = trace_json(request, model, trace, dims[0]); /* before the file: where it fails, there is none */
    if (!json) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", request->output)); }
    if (ends_in(request->output, ".onnx")) {
        SPADE_GOTO(spade_trace_write_onnx(context, trace, request->output));
    } else {
        SPADE_GOTO(spade_trace_write_safetensors(context, trace, request->output));
    }
    *result = json_incref(json);
    warn_of_empty_layers(context, request->output, json_object_get(json, "all_zero_layers"));
    warn_of_dense_trace(context, request->output, json);
done:
    json_decref(json);
    spade_trace_destroy(trace);
    spade_batch_destroy(batch);
    spade_image_item_clear(context, &item);
    spade_array_clear(&array);
    spade_model_destroy(model);
    return status;
}
