/* explain_resume.c - what a folder of results was made with, and which of them still hold. */
#include "backend/backend.h"
#include "workload/explain.h"
#include "workload/run_fingerprints.h"

/* ---- the request, as far as results depend on it */

spade_status explain_header(const explain_job *job, json_t **out)
{
    const spade_explain_request *request = job->request;
    spade_context *context = job->context;
    spade_status status = SPADE_OK;
    json_t *files = NULL, *networks = json_array(), *header = run_json(&job->run);
    *out = NULL;
    SPADE_GOTO(run_fingerprints(&job->run, job->model, request->labels, &files));
    if (request->dense) { spade_json_append(&networks, json_string(explained_networks[DENSE])); }
    if (request->trace) { spade_json_append(&networks, json_string(explained_networks[TRACE])); }
    spade_json_set(&header, "networks", json_incref(networks));
    spade_json_set(&header, "xxh128", json_incref(files));
    spade_json_set(&header, "backend", json_string(context->device->backend->name));
    if (!header) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "out of memory")); }
    *out = json_incref(header);
done:
    json_decref(header);
    json_decref(networks);
    json_decref(files);
    return status;
}

/* ---- the records that still hold */

typedef struct resume {
    explain_job *job;
    spade_reader reader;
    const char *changed; /* the first input that is no more what it was; NULL: none */
    int changed_count;
} resume;

static spade_status keep(void *user, int position, const json_t *record, bool *holds)
{
    resume *r = user;
    const spade_input *input = &r->job->inputs.items[position];
    *holds = spade_results_has_files(&r->job->results, record);
    if (!*holds) { return SPADE_OK; }
    SPADE_TRY(spade_reader_unchanged(&r->reader, input, record, holds));
    if (!*holds && !r->changed_count++) { r->changed = input->title; }
    return SPADE_OK;
}

spade_status explain_resume(explain_job *job, spade_inputs *remaining)
{
    const spade_explain_request *request = job->request;
    resume r = {.job = job};
    json_t *header;
    *remaining = (spade_inputs){0};
    r.reader = (spade_reader){.context = job->context,
                              .preprocess = &job->preprocess,
                              .mask = request->mask,
                              .upright = request->settings->orient};
    SPADE_TRY(explain_header(job, &header));
    spade_status status = spade_results_open(job->context, request->output, header, &job->inputs, request->restart,
                                             keep, &r, &job->results);
    json_decref(header);
    spade_reader_close(&r.reader);
    SPADE_TRY(status);
    if (request->settings->checkpoint) { spade_sweep_temporaries(request->settings->checkpoint); }
    if (request->restart) { SPADE_TRY(html_report_remove(&job->run)); }
    SPADE_TRY(spade_results_remaining(&job->results, remaining));
    job->outcome->done = job->outcome->kept = job->inputs.count - remaining->count;
    if (r.changed_count) {
        spade_workload_note(job->events, "%s%s, or %s, changed since %s explained: again", r.changed,
                            r.changed_count > 1 ? " and others" : "", r.changed_count > 1 ? "their masks" : "its mask",
                            r.changed_count > 1 ? "they were" : "it was");
    }
    if (job->outcome->kept) {
        spade_workload_note(job->events, "%d of %d inputs are explained already in %s", job->outcome->kept,
                            job->inputs.count, request->output);
    }
    return SPADE_OK;
}
