/* evaluate_html.c - report.html from the summary, and the records and drawings of the pictures that its gallery shows, which are
 * read one by one. */
#include <unistd.h>

#include "base/base.h"
#include "report/evaluate_report.h"
#include "workload/evaluate.h"

enum { MAX_FOUND = 600, MAX_MISSING = 100 };

/* The report while it is written. */
typedef struct html_writer {
    evaluate_job *job;
    evaluate_report report;
    FILE *file;
    const char *columns[EVALUATE_MAX_COLUMNS], *found[EVALUATE_MAX_COLUMNS];
    char texts[EVALUATE_MAX_COLUMNS][MAX_FOUND];
    bool *shown;     /* [inputs.count]: the picture is in the file already */
    json_t *missing; /* names, at most MAX_MISSING */
    int64_t missing_count;
} html_writer;

static spade_status fail_memory(const evaluate_job *job)
{
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "%s/report.html: out of memory", job->request->output);
}

/* ---- how a trace is found */

__attribute__((format(printf, 2, 3))) static void append(char text[MAX_FOUND], const char *format, ...)
{
    const size_t length = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + length, MAX_FOUND - length, format, arguments);
    va_end(arguments);
}

/* ", damping 0.1" */
static spade_status append_setting(const evaluate_job *job, const char *name, const json_t *value, char text[MAX_FOUND])
{
    char *dump = spade_json_dump(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12));
    if (!dump) { return fail_memory(job); }
    append(text, ", %s %s", name, json_is_string(value) ? json_string_value(value) : dump);
    free(dump);
    return SPADE_OK;
}

/* The settings of a group that are not what nobody asked for; `always` is said also where it is. */
static spade_status append_settings(const evaluate_job *job, const spade_settings *settings, unsigned group,
                                    const char *always, char text[MAX_FOUND])
{
    spade_settings standard;
    spade_status status = SPADE_OK;
    spade_settings_init(&standard);
    spade_settings_finish(&standard);
    for (int i = 0; i < spade_key_count() && status == SPADE_OK; i++) {
        const spade_key *key = spade_key_at(i);
        const bool by_layer = settings->rule_count > 0 && key->rule;
        if (!(key->groups & group) || key->unrecorded || strcmp(key->name, "solver") == 0 || by_layer) { continue; }
        json_t *value = spade_setting_json(settings, key), *usual = spade_setting_json(&standard, key);
        if (!value || !usual) {
            status = fail_memory(job);
        } else if (key->type == SPADE_KEY_RULES && settings->rule_count) {
            append(text, ", by layers as its configuration says");
        } else if (strcmp(key->name, always) == 0 || !json_equal(value, usual)) {
            status = append_setting(job, key->name, value, text);
        }
        json_decref(value);
        json_decref(usual);
    }
    spade_settings_clear(&standard);
    return status;
}

static spade_status describe_columns(html_writer *w)
{
    evaluate_job *job = w->job;
    json_t *columns = evaluate_columns_json(job);
    spade_status status = columns ? SPADE_OK : fail_memory(job);
    for (int i = 0; i < job->column_count && status == SPADE_OK; i++) {
        const evaluate_column *column = &job->columns[i];
        const char *solver = json_string_value(json_object_get(json_array_get(columns, (size_t)i), "solver"));
        const spade_settings *settings = column->configured ? &column->settings : job->request->settings;
        w->columns[i] = column->name;
        w->found[i] = w->texts[i];
        append(w->texts[i], "%s", !i ? "as it is" : solver ? solver : column->name);
        if (!i) { continue; }
        if (column->fitted) {
            char text[300];
            evaluate_fit_describe(job, text, sizeof text);
            append(w->texts[i], ": %s", text);
            continue;
        }
        status = append_settings(job, settings, SPADE_KEYS_TRACE, "sparsity", w->texts[i]);
        if (status == SPADE_OK) {
            status = append_settings(job, job->request->settings, SPADE_KEYS_VARIANTS, "variants", w->texts[i]);
        }
    }
    json_decref(columns);
    return status;
}

/* ---- the gallery */

static evaluate_png png_of(const gallery_tiles *tiles, int method, int column, int network)
{
    const gallery_tile *tile = gallery_tiles_find(tiles, method, column, network);
    return tile ? (evaluate_png){tile->png, tile->size} : (evaluate_png){NULL, 0};
}

static spade_status note_missing(html_writer *w, int position)
{
    if (w->missing_count++ < MAX_MISSING) {
        spade_json_append(&w->missing, spade_json_text(w->job->inputs.items[position].name));
    }
    return w->missing ? SPADE_OK : fail_memory(w->job);
}

static spade_status write_shot(html_writer *w, int method, int column, int position)
{
    evaluate_job *job = w->job;
    gallery_tiles tiles = {0};
    char *line = NULL;
    json_t *record = NULL;
    spade_status status;
    SPADE_GOTO(evaluate_gallery_load(job, position, &tiles));
    SPADE_GOTO(spade_results_get(&job->results, position, &line, &record));
    const evaluate_shot shot = {.record = record,
                                .method = method,
                                .column = column,
                                .number = position,
                                .again = w->shown[position],
                                .picture = png_of(&tiles, GALLERY_PICTURE, GALLERY_PICTURE, DENSE),
                                .maps = {png_of(&tiles, method, column, DENSE), png_of(&tiles, method, column, TRACE)}};
    if (!record || !shot.picture.data || !shot.maps[DENSE].data) {
        status = note_missing(w, position);
        goto done;
    }
    evaluate_report_write_shot(&w->report, w->file, &shot);
    w->shown[position] = true;
done:
    json_decref(record);
    free(line);
    gallery_tiles_clear(&tiles);
    return status;
}

/* Of a network alone few pictures are best and worst at once: they are shown once. */
static int count_shared(const evaluate_job *job, int method, int column)
{
    int best_count, worst_count, shared = 0;
    const gallery_entry *best = evaluate_gallery_list(job, method, column, GALLERY_BEST, &best_count),
                        *worst = evaluate_gallery_list(job, method, column, GALLERY_WORST, &worst_count);
    for (int i = 0; i < worst_count; i++) {
        for (int k = 0; k < best_count; k++) { shared += best[k].position == worst[i].position; }
    }
    return shared;
}

static spade_status write_list(html_writer *w, int method, int column, int which)
{
    int count;
    const gallery_entry *entries = evaluate_gallery_list(w->job, method, column, which, &count);
    if (which == GALLERY_WORST) { count -= count_shared(w->job, method, column); } /* the last of them */
    if (which == GALLERY_WORST && !column && !count) { return SPADE_OK; }
    evaluate_report_begin_list(w->file, column, which == GALLERY_WORST, count);
    for (int i = 0; i < count; i++) { SPADE_TRY(write_shot(w, method, column, entries[i].position)); }
    evaluate_report_end_list(w->file);
    return SPADE_OK;
}

static spade_status write_gallery(html_writer *w)
{
    evaluate_job *job = w->job;
    if (!job->gallery.size) { return SPADE_OK; }
    for (int method = 0; method < job->method_count; method++) {
        for (int column = job->gallery.first_column; column < job->column_count; column++) {
            int best, worst;
            (void)evaluate_gallery_list(job, method, column, GALLERY_BEST, &best);
            (void)evaluate_gallery_list(job, method, column, GALLERY_WORST, &worst);
            if (!best && !worst) { continue; }
            evaluate_report_begin_pair(&w->report, w->file, method, column);
            SPADE_TRY(write_list(w, method, column, GALLERY_BEST));
            SPADE_TRY(write_list(w, method, column, GALLERY_WORST));
            evaluate_report_end_pair(w->file);
        }
    }
    return SPADE_OK;
}

/* ---- the file */

static spade_status add_failure(void *user, const char *line, const json_t *record)
{
    html_writer *w = user;
    const char *error = json_string_value(json_object_get(record, "error"));
    (void)line;
    if (error) { evaluate_report_add_failure(&w->report, error); }
    return SPADE_OK;
}

static spade_status write_body(html_writer *w)
{
    SPADE_TRY(evaluate_report_write_begin(&w->report, w->file));
    SPADE_TRY(write_gallery(w));
    return evaluate_report_write_end(&w->report, w->file, w->missing,
                                     w->missing_count > MAX_MISSING ? w->missing_count - MAX_MISSING : 0);
}

static spade_status write_file(html_writer *w, const char *path)
{
    spade_output out;
    SPADE_TRY(spade_output_open(w->job->context, path, &out));
    w->file = out.file;
    const spade_status status = write_body(w);
    if (status == SPADE_OK) { return spade_output_commit(w->job->context, &out); }
    spade_output_abort(&out);
    return status;
}

static spade_status write_report(evaluate_job *job, const json_t *summary, const char *path)
{
    html_writer w = {
        .job = job, .shown = calloc((size_t)job->inputs.count + 1, sizeof *w.shown), .missing = json_array()};
    spade_status status;
    if (!w.shown || !w.missing) { SPADE_GOTO(fail_memory(job)); }
    SPADE_GOTO(describe_columns(&w));
    job->run.left = job->inputs.count - job->outcome->done - job->outcome->failed;
    w.report = (evaluate_report){.run = &job->run,
                                 .manifest = job->request->manifest,
                                 .columns = w.columns,
                                 .found = w.found,
                                 .column_count = job->column_count,
                                 .summary = summary,
                                 .warnings = job->fit.warnings,
                                 .contrasts = !job->of_label && job->target.contrast,
                                 .masks = job->request->mask != NULL,
                                 .gallery = summary && job->gallery.size > 0,
                                 .metric = job->gallery.metric};
    SPADE_GOTO(evaluate_report_open(&w.report));
    SPADE_GOTO(spade_results_each(&w.job->results, true, add_failure, &w));
    for (int i = 0; i < job->inputs.count; i++) { w.report.masks = w.report.masks || job->inputs.items[i].mask; }
    status = write_file(&w, path);
done:
    evaluate_report_close(&w.report);
    free(w.shown);
    json_decref(w.missing);
    return status;
}

spade_status evaluate_write_report(evaluate_job *job, const json_t *summary)
{
    char *path;
    if (asprintf(&path, "%s/report.html", job->request->output) < 0) { return fail_memory(job); }
    spade_status status = SPADE_OK;
    if (job->request->report) {
        status = write_report(job, summary, path);
    } else {
        (void)unlink(path);
    }
    free(path);
    return status;
}
