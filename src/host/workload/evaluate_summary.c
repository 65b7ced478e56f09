/* evaluate_summary.c - from the records in results.jsonl to means and differences, results.json and results.csv. */
#include <math.h>

#include "base/base.h"
#include "base/text.h"
#include "report/statistics.h"
#include "workload/evaluate.h"

/* Everything that the records say, by picture. */
typedef struct gathered {
    evaluate_job *job;
    int64_t count;  /* pictures that were done */
    double *values; /* [methods + 1, metrics, columns, capacity]: the last: the mean over the methods, or of a metric of
                         the traces what it is */
    int64_t capacity;        /* all inputs */
    int64_t *kept, *correct; /* [columns] */
    int64_t labelled;
    json_t *reasons;             /* owned */
    double *differences, *means; /* scratch */
    results_json_writer json;
    spade_output csv;
} gathered;

static spade_status fail_memory(const evaluate_job *job)
{
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory");
}

static double *values_at(const gathered *g, int method, int metric, int column)
{
    const evaluate_job *job = g->job;
    const int64_t row = ((int64_t)method * job->metric_count + metric) * job->column_count + column;
    return g->values + row * g->capacity;
}

static spade_status open_gathered(gathered *g)
{
    const evaluate_job *job = g->job;
    const size_t rows = ((size_t)job->method_count + 1) * (size_t)job->metric_count * (size_t)job->column_count;
    size_t count;
    g->capacity = job->inputs.count;
    if (!spade_mul_size(rows, (size_t)g->capacity, &count)) { return fail_memory(job); }
    g->values = calloc(count + 1, sizeof *g->values);
    g->kept = calloc((size_t)job->column_count, sizeof *g->kept);
    g->correct = calloc((size_t)job->column_count, sizeof *g->correct);
    g->differences = calloc((size_t)g->capacity + 1, sizeof *g->differences);
    g->means = calloc(BOOTSTRAP_SAMPLES, sizeof *g->means);
    g->reasons = json_object();
    return g->values && g->kept && g->correct && g->differences && g->means && g->reasons ? SPADE_OK : fail_memory(job);
}

static void close_gathered(gathered *g)
{
    results_json_abort(&g->json);
    spade_output_abort(&g->csv);
    json_decref(g->reasons);
    free(g->values);
    free(g->kept);
    free(g->correct);
    free(g->differences);
    free(g->means);
}

/* ---- a record */

static double value_in(const json_t *values, int method, int metric, int column)
{
    const json_t *value =
        json_array_get(json_array_get(json_array_get(values, (size_t)method), (size_t)metric), (size_t)column);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* The mean over the methods that have a value on every network. */
static void add_means(gathered *g)
{
    const evaluate_job *job = g->job;
    for (int metric = 0; metric < job->metric_count; metric++) {
        int covered = 0;
        if (evaluate_of_trace(job, metric)) { continue; }
        for (int column = 0; column < job->column_count; column++) {
            values_at(g, job->method_count, metric, column)[g->count] = 0;
        }
        for (int method = 0; method < job->method_count; method++) {
            bool all = true;
            for (int column = 0; column < job->column_count; column++) {
                all = all && !isnan(values_at(g, method, metric, column)[g->count]);
            }
            covered += all;
            for (int column = 0; all && column < job->column_count; column++) {
                values_at(g, job->method_count, metric, column)[g->count] +=
                    values_at(g, method, metric, column)[g->count];
            }
        }
        for (int column = 0; column < job->column_count; column++) {
            double *mean = &values_at(g, job->method_count, metric, column)[g->count];
            *mean = covered ? *mean / covered : NAN;
        }
    }
}

/* A value of a metric of the traces. */
static double trace_value_in(const evaluate_job *job, const json_t *record, int metric, int column)
{
    const json_t *network = json_array_get(json_object_get(record, "networks"), (size_t)column),
                 *value = json_object_get(network, job->metrics[metric].label);
    return column && json_is_number(value) ? json_number_value(value) : NAN;
}

static void add_trace_values(gathered *g, const json_t *record)
{
    const evaluate_job *job = g->job;
    for (int metric = 0; metric < job->metric_count; metric++) {
        if (!evaluate_of_trace(job, metric)) { continue; }
        for (int column = 0; column < job->column_count; column++) {
            values_at(g, job->method_count, metric, column)[g->count] = trace_value_in(job, record, metric, column);
        }
    }
}

static void add_decisions(gathered *g, const json_t *record)
{
    const json_t *networks = json_object_get(record, "networks"), *label = json_object_get(record, "label_class");
    const json_int_t dense = json_integer_value(json_object_get(json_array_get(networks, 0), "class"));
    g->labelled += json_is_integer(label);
    for (int column = 0; column < g->job->column_count; column++) {
        const json_int_t top = json_integer_value(json_object_get(json_array_get(networks, (size_t)column), "class"));
        g->kept[column] += top == dense;
        g->correct[column] += json_is_integer(label) && top == json_integer_value(label);
    }
}

static spade_status add_record(gathered *g, const json_t *record)
{
    const evaluate_job *job = g->job;
    const json_t *values = json_object_get(record, "values");
    const char *label;
    json_t *reason;
    for (int method = 0; method < job->method_count; method++) {
        for (int metric = 0; metric < job->metric_count; metric++) {
            for (int column = 0; column < job->column_count; column++) {
                values_at(g, method, metric, column)[g->count] = value_in(values, method, metric, column);
            }
        }
    }
    json_object_foreach(json_object_get(record, "uncovered"), label, reason)
    {
        if (json_object_set(g->reasons, label, reason) != 0) { return fail_memory(job); }
    }
    add_means(g);
    add_trace_values(g, record);
    add_decisions(g, record);
    g->count++;
    return SPADE_OK;
}

/* ---- results.csv */

static spade_status open_csv(gathered *g, const char *path)
{
    const evaluate_job *job = g->job;
    SPADE_TRY(spade_output_open(job->context, path, &g->csv));
    fputs("file,name,label,class,against,method,options,metric,metric_options", g->csv.file);
    for (int column = 0; column < job->column_count; column++) {
        fputc(',', g->csv.file);
        results_csv_write_text(g->csv.file, job->columns[column].name);
    }
    fputc('\n', g->csv.file);
    return SPADE_OK;
}

static void write_text_member(FILE *file, const json_t *record, const char *member)
{
    const char *text = json_string_value(json_object_get(record, member));
    results_csv_write_text(file, text ? text : "");
    fputc(',', file);
}

static void write_options(FILE *file, const char *options)
{
    results_csv_write_text(file, options ? options : "");
}

/* A line for a method and a metric, if there is a value. method: method_count of a metric of the traces, which has none. */
static void write_row(const gathered *g, const json_t *record, int method, int metric)
{
    const evaluate_job *job = g->job;
    const json_t *values = json_object_get(record, "values"), *against = json_object_get(record, "against");
    const bool of_trace = method == job->method_count;
    FILE *file = g->csv.file;
    double row[EVALUATE_MAX_COLUMNS];
    bool any = false;
    for (int column = 0; column < job->column_count; column++) {
        row[column] = of_trace ? trace_value_in(job, record, metric, column) : value_in(values, method, metric, column);
        any = any || !isnan(row[column]);
    }
    if (!any) { return; }
    write_text_member(file, record, "file");
    write_text_member(file, record, "name");
    write_text_member(file, record, "label");
    fprintf(file, "%lld,", (long long)json_integer_value(json_object_get(record, "class")));
    if (against) { fprintf(file, "%lld", (long long)json_integer_value(against)); }
    fprintf(file, ",%s,", of_trace ? "" : explained_method(&job->run, method)->name);
    write_options(file, of_trace ? NULL : job->methods[method].options);
    fprintf(file, ",%s,", explained_metric(&job->run, metric)->name);
    write_options(file, job->metrics[metric].options);
    for (int column = 0; column < job->column_count; column++) { results_csv_write_number(file, row[column]); }
    fputc('\n', file);
}

/* Metrics of maps method by method, then those of the traces. */
static void write_rows(const gathered *g, const json_t *record)
{
    for (int method = 0; method <= g->job->method_count; method++) {
        for (int metric = 0; metric < g->job->metric_count; metric++) {
            if (evaluate_of_trace(g->job, metric) == (method == g->job->method_count)) {
                write_row(g, record, method, metric);
            }
        }
    }
}

/* ---- the summary */

static json_t *column_json(gathered *g, int method, int metric, int column)
{
    const bool higher = explained_metric(&g->job->run, metric)->better == SPADE_METRIC_HIGHER;
    const double *values = values_at(g, method, metric, column);
    const sample_statistics own = describe_sample(values, g->count);
    json_t *object = json_object();
    spade_json_set(&object, "count", json_integer(own.count));
    spade_json_set(&object, "mean", spade_json_number(own.mean));
    spade_json_set(&object, "error", spade_json_number(own.error));
    if (!column) { return object; }
    const pair_statistics pairs = compare_pairs(values_at(g, method, metric, 0), values, g->count, higher,
                                                g->job->request->settings->seed, g->differences, g->means);
    pair_statistics_json(&pairs, &object);
    return object;
}

/* Of a metric of the traces, or the mean over the methods, where method is their number. null: nothing has a value. */
static json_t *row_json(gathered *g, int method, int metric)
{
    const evaluate_job *job = g->job;
    const bool own = method < job->method_count;
    const spade_metric_info *info = explained_metric(&job->run, metric);
    json_t *object = json_object(), *columns = json_array();
    int64_t count = 0;
    for (int column = 0; column < job->column_count; column++) {
        count += describe_sample(values_at(g, method, metric, column), g->count).count;
        spade_json_append(&columns, column_json(g, method, metric, column));
    }
    const char *options = own ? job->methods[method].options : NULL,
               *name = own ? explained_method(&job->run, method)->name : "mean";
    spade_json_set(&object, "metric", json_string(job->metrics[metric].label));
    const char *metric_options = job->metrics[metric].options;
    spade_json_set(&object, "title", json_string(info->title));
    spade_json_set(&object, "metric_options", metric_options ? spade_json_text(metric_options) : json_null());
    spade_json_set(&object, "better", json_string(info->better == SPADE_METRIC_HIGHER ? "higher" : "lower"));
    spade_json_set(&object, "method", evaluate_of_trace(job, metric) ? json_null() : json_string(name));
    spade_json_set(&object, "options", options ? spade_json_text(options) : json_null());
    spade_json_set(&object, "columns", columns);
    if (count || !object) { return object; }
    json_decref(object);
    return json_null();
}

static json_t *rows_json(gathered *g)
{
    const evaluate_job *job = g->job;
    json_t *rows = json_array();
    for (int metric = 0; metric < job->metric_count; metric++) {
        const bool of_trace = evaluate_of_trace(job, metric);
        int methods = 0;
        for (int method = of_trace ? job->method_count : 0; method <= job->method_count; method++) {
            const bool mean = method == job->method_count && !of_trace;
            if (mean && methods < 2) { continue; } /* of one it says nothing new */
            json_t *row = row_json(g, method, metric);
            if (json_is_null(row)) { continue; }
            spade_json_append(&rows, row);
            methods++;
        }
    }
    return rows;
}

static json_t *decisions_json(const gathered *g)
{
    json_t *all = json_array();
    for (int column = 0; column < g->job->column_count; column++) {
        json_t *object = json_object();
        const double kept = (double)g->kept[column] / (double)g->count;
        const double correct = g->labelled ? (double)g->correct[column] / (double)g->labelled : NAN;
        spade_json_set(&object, "kept", spade_json_number(kept));
        spade_json_set(&object, "correct", spade_json_number(correct));
        spade_json_append(&all, object);
    }
    return all;
}

static json_t *uncovered_json(const gathered *g)
{
    json_t *all = json_array(), *reason;
    const char *label;
    json_object_foreach(g->reasons, label, reason)
    {
        json_t *object = json_object();
        spade_json_set(&object, "method", json_string(label));
        spade_json_set(&object, "reason", json_incref(reason));
        spade_json_append(&all, object);
    }
    return all;
}

static json_t *summary_json(gathered *g)
{
    json_t *object = json_object(), *columns = json_array();
    for (int column = 0; column < g->job->column_count; column++) {
        spade_json_append(&columns, spade_json_text(g->job->columns[column].name));
    }
    spade_json_set(&object, "columns", columns);
    spade_json_set(&object, "pictures", json_integer(g->count));
    spade_json_set(&object, "labelled", json_integer(g->labelled));
    spade_json_set(&object, "rows", rows_json(g));
    spade_json_set(&object, "decisions", decisions_json(g));
    spade_json_set(&object, "uncovered", uncovered_json(g));
    return object;
}

/* ---- the files */

static spade_status visit_done(void *user, const char *line, const json_t *record)
{
    gathered *g = user;
    results_json_add(&g->json, line);
    write_rows(g, record);
    return add_record(g, record);
}

static spade_status visit_failed(void *user, const char *line, const json_t *record)
{
    gathered *g = user;
    (void)record;
    results_json_add(&g->json, line);
    return SPADE_OK;
}

static spade_status open_files(gathered *g)
{
    evaluate_job *job = g->job;
    char *json = NULL, *csv = NULL, *header = evaluate_fit_header(job);
    spade_status status = SPADE_OK;
    if (!header || asprintf(&json, "%s/results.json", job->request->output) < 0 ||
        asprintf(&csv, "%s/results.csv", job->request->output) < 0) {
        SPADE_GOTO(fail_memory(job));
    }
    SPADE_GOTO(results_json_open(job->context, json, header, &g->json));
    SPADE_GOTO(open_csv(g, csv));
done:
    free(header);
    free(json);
    free(csv);
    return status;
}

static spade_status write_summary(gathered *g, json_t **out)
{
    json_t *summary = summary_json(g);
    char *text = summary ? spade_json_dump(summary, JSON_COMPACT) : NULL;
    if (!text) {
        json_decref(summary);
        return fail_memory(g->job);
    }
    results_json_list(&g->json, "summary");
    results_json_add(&g->json, text);
    free(text);
    *out = summary;
    return SPADE_OK;
}

spade_status evaluate_write_results(evaluate_job *job, json_t **summary)
{
    gathered g = {.job = job};
    spade_status status;
    *summary = NULL;
    SPADE_GOTO(open_gathered(&g));
    SPADE_GOTO(spade_results_finish(&job->results));
    SPADE_GOTO(open_files(&g));
    results_json_list(&g.json, "inputs");
    SPADE_GOTO(spade_results_each(&job->results, false, visit_done, &g));
    results_json_list(&g.json, "failed");
    SPADE_GOTO(spade_results_each(&job->results, true, visit_failed, &g));
    if (g.count) { SPADE_GOTO(write_summary(&g, summary)); }
    SPADE_GOTO(results_json_commit(&g.json));
    SPADE_GOTO(spade_output_commit(job->context, &g.csv));
    SPADE_GOTO(evaluate_write_report(job, *summary));
done:
    if (status != SPADE_OK) {
        json_decref(*summary);
        *summary = NULL;
    }
    close_gathered(&g);
    return status;
}
