/*
 * fuzz_results.c - any bytes as results.jsonl, the list of what a run has done, which a later run goes on with: opened, its
 * records read and put into results.json, results.csv and report.html, completed, and removed. Whatever the records name,
 * nothing is removed but the files of inputs.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz/target.h"
#include "report/report.h"
#include "workload/results.h"

enum { CLASSES = 10 };

/* Inputs of the seeds (seeds.sh): two pictures, and an entry of an array. */
static spade_input inputs[] = {
    {.file = "examples/pictures/scene00.png", .stem = "scene00", .name = "scene00", .index = -1},
    {.file = "examples/pictures/scene01.png", .stem = "scene01", .name = "scene01", .index = -1, .position = 1},
    {.file = "a.npy", .stem = "a_0000", .name = "a_0000", .index = 0, .position = 2}};

static spade_status keep(void *user, int position, const json_t *record, bool *holds)
{
    (void)user;
    *holds = position >= 0 && record;
    return SPADE_OK;
}

/* The first line, so that the records are those of the same request. A new reference. */
static json_t *first_line(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, '\n', size);
    json_t *header = end ? json_loadb((const char *)data, (size_t)(end - data), 0, NULL) : NULL;
    if (json_is_object(header)) { return header; }
    json_decref(header);
    return json_object();
}

/* ---- the writers */

static void report(const explained_run *run, const spade_results *results)
{
    results_json_writer json;
    results_csv_writer csv;
    html_report *html = NULL;
    int records = 0;
    char path[512];
    snprintf(path, sizeof path, "%s/results.json", run->folder);
    FUZZ_EXPECT(results_json_open(run->context, path, results->header, &json) == SPADE_OK, spade_message(run->context));
    snprintf(path, sizeof path, "%s/results.csv", run->folder);
    FUZZ_EXPECT(results_csv_open(run, path, &csv) == SPADE_OK, spade_message(run->context));
    FUZZ_EXPECT(html_report_open(run, results->inputs->count, 0, &html) == SPADE_OK, spade_message(run->context));
    results_json_list(&json, "inputs");
    for (int i = 0; i < results->inputs->count; i++) {
        char *line;
        json_t *record;
        explained_input explained;
        if (!fuzz_worked(run->context, spade_results_get(results, i, &line, &record)) || !record) { continue; }
        (void)spade_results_has_files(results, record);
        if (fuzz_worked(run->context, explained_parse(run, record, &explained))) {
            results_json_add(&json, line);
            results_csv_add(&csv, &explained);
            (void)fuzz_worked(run->context, html_report_add(html, &explained));
            explained_input_clear(&explained);
            records++;
        }
        json_decref(record);
        free(line);
    }
    (void)fuzz_worked(run->context, results_json_commit(&json));
    (void)fuzz_worked(run->context, results_csv_commit(&csv));
    if (records) { (void)fuzz_worked(run->context, html_report_save(html)); } /* its legend takes a while */
    html_report_close(html);
}

static void report_run(spade_context *context, const spade_results *results)
{
    spade_settings settings;
    spade_settings_init(&settings);
    char *items[CLASSES] = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"};
    class_names names = {.items = items, .count = CLASSES};
    explained_run run = {.context = context,
                         .folder = fuzz_folder(),
                         .model = "network.onnx",
                         .settings = &settings,
                         .names = &names,
                         .class_count = CLASSES};
    spade_method_choice *methods;
    spade_metric_choice *metrics;
    FUZZ_EXPECT(spade_settings_methods(context, &settings, &methods, &run.method_count) == SPADE_OK, "no methods");
    FUZZ_EXPECT(spade_settings_metrics(context, &settings, &metrics, &run.metric_count) == SPADE_OK, "no metrics");
    run.methods = methods;
    run.metrics = metrics;
    report(&run, results);
    spade_method_choices_destroy(methods, run.method_count);
    spade_metric_choices_destroy(metrics, run.metric_count);
    spade_settings_clear(&settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spade_context *context = fuzz_context();
    const spade_inputs all = {inputs, (int)(sizeof inputs / sizeof *inputs)};
    json_t *header = first_line(data, size),
           *record = json_pack("{s:s, s:s}", "file", inputs[0].file, "name", "scene00");
    char foreign[512];
    spade_results results;
    snprintf(foreign, sizeof foreign, "%s/scene00", fuzz_folder());
    (void)mkdir(foreign, 0700);
    (void)fuzz_file("scene00/input.png", "x", 1); /* that a record names */
    (void)fuzz_file("scene00/dense_saliency.png", "x", 1);
    (void)fuzz_file("scene00/trace_saliency.png", "x", 1);
    (void)fuzz_file("foreign", "x", 1);
    snprintf(foreign, sizeof foreign, "%s/foreign", fuzz_folder());
    (void)fuzz_file("results.jsonl", data, size);
    if (fuzz_worked(context, spade_results_open(context, fuzz_folder(), header, &all, false, keep, NULL, &results))) {
        report_run(context, &results);
        (void)fuzz_worked(context, spade_results_add(&results, 0, record));
        (void)fuzz_worked(context, spade_results_finish(&results));
        spade_results_close(&results);
    }
    if (fuzz_worked(context, spade_results_open(context, fuzz_folder(), header, &all, true, keep, NULL, &results))) {
        spade_results_close(&results);
    }
    FUZZ_EXPECT(access(foreign, F_OK) == 0, "a file that is no input's was removed");
    json_decref(record);
    json_decref(header);
    fuzz_context_end(context);
    return 0;
}
