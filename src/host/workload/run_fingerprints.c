/* run_fingerprints.c - see run_fingerprints.h. */
#include "workload/run_fingerprints.h"

#include "engine/model.h"

static spade_status add_fingerprint(spade_context *context, json_t **all, const char *key, const char *path)
{
    char fingerprint[SPADE_FINGERPRINT_SIZE];
    if (!path) { return SPADE_OK; }
    SPADE_TRY(spade_fingerprint_file(context, path, fingerprint));
    spade_json_set(all, key, json_string(fingerprint));
    return SPADE_OK;
}

static spade_status add_method_files(const explained_run *run, json_t **all)
{
    for (int m = 0; m < run->method_count; m++) {
        const char *option, *path;
        for (int i = 0; spade_attribution_file(run->methods[m].attribution, i, &option, &path); i++) {
            char *key;
            if (asprintf(&key, "%s.%s", run->methods[m].label, option) < 0) {
                return spade_fail(run->context, SPADE_ERROR_MEMORY, "out of memory");
            }
            spade_status status = add_fingerprint(run->context, all, key, path);
            free(key);
            if (status != SPADE_OK) { return status; }
        }
    }
    return SPADE_OK;
}

spade_status run_fingerprints(const explained_run *run, const spade_model *model, const char *labels, json_t **out)
{
    json_t *all = json_object();
    spade_status status = SPADE_OK;
    *out = NULL;
    spade_json_set(&all, "model", json_string(model->onnx->fingerprint));
    SPADE_GOTO(add_fingerprint(run->context, &all, "batch", run->batch));
    SPADE_GOTO(add_fingerprint(run->context, &all, "labels", labels));
    SPADE_GOTO(add_method_files(run, &all));
    if (!all) { SPADE_GOTO(spade_fail(run->context, SPADE_ERROR_MEMORY, "out of memory")); }
    *out = json_incref(all);
done:
    json_decref(all);
    return status;
}
