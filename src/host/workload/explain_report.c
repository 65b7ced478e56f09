/* explain_report.c - from the records in results.jsonl to results.json, results.csv and report.html, one by one. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "workload/explain.h"

typedef struct report_writers {
    explain_job *job;
    results_json_writer json;
    results_csv_writer csv;
    html_report *html; /* NULL: not wanted */
} report_writers;

/* ---- how large a report would be */

static spade_status add_file_size(const explain_job *job, const char *relative, uint64_t *bytes)
{
    struct stat info;
    char *path;
    if (!relative) { return SPADE_OK; }
    SPADE_TRY(explain_join(job->context, job->request->output, relative, &path));
    *bytes += stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
    free(path);
    return SPADE_OK;
}

static spade_status add_picture_sizes(const explain_job *job, const explained_input *explained, uint64_t *bytes)
{
    SPADE_TRY(add_file_size(job, explained->picture, bytes));
    SPADE_TRY(add_file_size(job, explained->mask_picture, bytes));
    for (int i = 0; i < explained->pair_count; i++) {
        for (int network = 0; network < NETWORKS; network++) {
            SPADE_TRY(add_file_size(job, explained->pairs[i].maps[network].heatmap, bytes));
        }
    }
    return SPADE_OK;
}

/* ---- the records */

typedef spade_status (*record_visitor)(void *user, const char *line, const explained_input *record);

/* The records of the inputs that were explained, in their order. */
static spade_status visit_records(explain_job *job, record_visitor visit, void *user)
{
    for (int i = 0; i < job->inputs.count; i++) {
        explained_input record;
        char *line;
        json_t *json;
        if (job->results.failed[i]) { continue; }
        SPADE_TRY(spade_results_get(&job->results, i, &line, &json));
        if (!json) { continue; }
        spade_status status = explained_parse(&job->run, json, &record);
        if (status == SPADE_OK) {
            status = visit(user, line, &record);
            explained_input_clear(&record);
        }
        json_decref(json);
        free(line);
        SPADE_TRY(status);
    }
    return SPADE_OK;
}

typedef struct total {
    explain_job *job;
    uint64_t bytes;
} total;

static spade_status add_size(void *user, const char *line, const explained_input *record)
{
    total *all = user;
    (void)line;
    return add_picture_sizes(all->job, record, &all->bytes);
}

static spade_status write_record(void *user, const char *line, const explained_input *record)
{
    report_writers *writers = user;
    writers->job->outcome->changed += explained_class_changed(record);
    writers->job->outcome->fell += explained_score_fell(record);
    results_json_add(&writers->json, line);
    results_csv_add(&writers->csv, record);
    return writers->html ? html_report_add(writers->html, record) : SPADE_OK;
}

static spade_status write_failure(void *user, const char *line, const json_t *record)
{
    report_writers *writers = user;
    const char *error = json_string_value(json_object_get(record, "error"));
    results_json_add(&writers->json, line);
    if (writers->html && error) { html_report_add_failure(writers->html, error); }
    return SPADE_OK;
}

/* ---- the files */

static spade_status open_writers(explain_job *job, report_writers *writers)
{
    spade_context *context = job->context;
    const char *folder = job->request->output;
    char *json = NULL, *csv = NULL;
    spade_status status;
    SPADE_GOTO(explain_join(context, folder, "results.json", &json));
    SPADE_GOTO(explain_join(context, folder, "results.csv", &csv));
    SPADE_GOTO(results_json_open(context, json, job->results.header, &writers->json));
    SPADE_GOTO(results_csv_open(&job->run, csv, &writers->csv));
    if (job->request->report) {
        total size = {.job = job};
        if (job->outcome->done <= HTML_INPUTS_PER_PAGE) { SPADE_GOTO(visit_records(job, add_size, &size)); }
        SPADE_GOTO(html_report_open(&job->run, job->outcome->done, size.bytes, &writers->html));
    }
done:
    free(json);
    free(csv);
    return status;
}

spade_status explain_write_reports(explain_job *job)
{
    report_writers writers = {.job = job};
    spade_status status;
    job->run.left = job->inputs.count - job->outcome->done - job->outcome->failed;
    SPADE_GOTO(spade_results_finish(&job->results));
    SPADE_GOTO(open_writers(job, &writers));
    results_json_list(&writers.json, "inputs");
    SPADE_GOTO(visit_records(job, write_record, &writers));
    results_json_list(&writers.json, "failed");
    SPADE_GOTO(spade_results_each(&job->results, true, write_failure, &writers));
    SPADE_GOTO(results_json_commit(&writers.json));
    SPADE_GOTO(results_csv_commit(&writers.csv));
    if (writers.html) {
        SPADE_GOTO(html_report_save(writers.html));
    } else {
        status = html_report_remove(&job->run); /* of an earlier run, that had fewer results */
    }
done:
    results_json_abort(&writers.json);
    results_csv_abort(&writers.csv);
    html_report_close(writers.html);
    return status;
}
