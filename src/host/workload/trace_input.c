/* trace_input.c - see trace_input.h. */
#include "workload/trace_input.h"

#include <errno.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sparsity_choice.h"
#include "trace/trace.h"
#include "workload/inputs.h"

/* ---- the file that is written */

bool spade_ends_in(const char *path, const char *suffix)
{
    size_t length = strlen(path), end = strlen(suffix);
    return length > end && strcasecmp(path + length - end, suffix) == 0;
}

static spade_status check_folder(spade_context *context, const char *path)
{
    char *folder = strdup(path);
    if (!folder) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path); }
    char *slash = strrchr(folder, '/');
    if (slash) { slash[slash == folder ? 1 : 0] = 0; }
    int error = access(slash ? folder : ".", W_OK) == 0 ? 0 : errno;
    spade_sweep_temporaries(slash ? folder : ".");
    free(folder);
    return error ? spade_fail(context, SPADE_ERROR_IO, "%s: cannot write: %s", path, strerror(error)) : SPADE_OK;
}

/* What is written takes the place of a file of that name; not of what it is made from, nor of a device or pipe. */
static spade_status check_replaced(spade_context *context, const char *path, const char *made, const char *model,
                                   const trace_input *wanted)
{
    const char *const sources[] = {model, wanted->input, wanted->batch};
    struct stat replaced, source;
    if (stat(path, &replaced) != 0) { return SPADE_OK; }
    if (!S_ISREG(replaced.st_mode)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "-o %s: it is there, and no regular file", path);
    }
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        if (!sources[i] || stat(sources[i], &source) != 0) { continue; }
        if (source.st_dev != replaced.st_dev || source.st_ino != replaced.st_ino) { continue; }
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "-o %s is %s, from which the %s is made; choose another name",
                          path, sources[i], made);
    }
    return SPADE_OK;
}

spade_status trace_input_check_output(spade_context *context, const char *path, const char *made, const char *model,
                                      const trace_input *wanted)
{
    SPADE_TRY(check_folder(context, path));
    return check_replaced(context, path, made, model, wanted);
}

/* ---- the trace */

spade_status trace_input_load(spade_context *context, const trace_input *wanted, const spade_preprocess *preprocess,
                              spade_image_item *item)
{
    spade_inputs inputs = {0};
    spade_reader reader = {.context = context, .preprocess = preprocess, .upright = wanted->settings->orient};
    char *path = (char *)(uintptr_t)wanted->input;
    SPADE_TRY(spade_inputs_collect(context, &path, 1, false, preprocess->channels, preprocess->height,
                                   preprocess->width, &inputs));
    spade_status status = SPADE_OK;
    if (inputs.items[0].error) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_INPUT, "%s", inputs.items[0].error)); }
    if (inputs.count != 1) {
        SPADE_GOTO(
            spade_fail(context, SPADE_ERROR_INPUT, "%s: holds %d inputs; a trace is of one", path, inputs.count));
    }
    status = spade_reader_load_one(&reader, inputs.items, item);
done:
    spade_reader_close(&reader);
    spade_inputs_clear(&inputs);
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

spade_status trace_input_load_model(spade_context *context, const char *path, const trace_input *wanted,
                                    spade_model **out)
{
    spade_model_options options;
    char *input = (char *)(uintptr_t)wanted->input;
    spade_settings_model_options(wanted->settings, &options);
    spade_inputs_guess_size(context, &input, input ? 1 : 0, wanted->batch, &options);
    return spade_model_load(context, path, &options, out);
}

spade_status trace_input_run(spade_context *context, const spade_model *model, const trace_input *wanted,
                             spade_trace **out, int64_t *variants)
{
    const char *title = wanted->batch ? wanted->batch : wanted->input;
    spade_preprocess preprocess;
    spade_image_item item = {0};
    spade_array array = {0};
    spade_batch *batch = NULL;
    spade_status status = SPADE_OK;
    int64_t dims[4];
    if (wanted->settings->checkpoint) { spade_sweep_temporaries(wanted->settings->checkpoint); }
    if (wanted->batch) {
        SPADE_GOTO(open_batch(context, wanted->batch, model, &array, &batch));
    } else {
        SPADE_GOTO(spade_settings_preprocess(context, wanted->settings, model, &preprocess));
        SPADE_GOTO(trace_input_load(context, wanted, &preprocess, &item));
        SPADE_GOTO(spade_image_item_batch(context, &item, &preprocess, &wanted->settings->augment, &batch));
    }
    SPADE_GOTO(spade_hold_out_variants(context, batch, wanted->batch, item.input, &wanted->settings->trace, 1));
    SPADE_GOTO(spade_trace_create(context, model, batch, &wanted->settings->trace, out));
    sparsity_choice_warn(context, title, *out);
    SPADE_GOTO(spade_trace_warn_of_choice(context, *out, &wanted->settings->trace, title));
    spade_batch_shape(batch, dims);
    if (variants) { *variants = dims[0]; }
done:
    spade_batch_destroy(batch);
    spade_image_item_clear(context, &item);
    spade_array_clear(&array);
    return status;
}
