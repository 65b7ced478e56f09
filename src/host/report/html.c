/*
 * html.c - report.html: one file that opens anywhere, or an index and pages. Cards are written to a temporary file as
 * records come; a page is put together when it is full, and what sums all of them up at the end.
 */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <unistd.h>

#include "base/base.h"
#include "report/html.h"
#include "report/statistics.h"
#include "report/text.h"

/* Pictures in one file: base64 makes them a third larger, and browsers get slow with tens of megabytes. */
static const uint64_t max_embedded_bytes = (uint64_t)12 << 20;
enum { INDEX_PICTURES = 8, MAX_CHANGED_ROWS = 200 };
static const char scales[] =
    "Dense and trace share one scale, so their colours can be compared. The trace is the network with only the weights "
    "that keep its behaviour around this one input; the others are zero.";

static spade_status fail_temporary(const html_report *report)
{
    return spade_fail(report->run->context, SPADE_ERROR_IO, "%s/report.html: cannot write a temporary file: %s",
                      report->run->folder, strerror(errno));
}

static spade_status fail_memory(const explained_run *run)
{
    return spade_fail(run->context, SPADE_ERROR_MEMORY, "%s/report.html: out of memory", run->folder);
}

spade_status html_report_open(const explained_run *run, int64_t inputs, uint64_t picture_bytes, html_report **out)
{
    *out = NULL;
    html_report *report = calloc(1, sizeof *report);
    if (!report) { return fail_memory(run); }
    report->run = run;
    report->inputs = inputs;
    report->embedded = inputs <= HTML_INPUTS_PER_PAGE && picture_bytes <= max_embedded_bytes;
    report->pages = (inputs + HTML_INPUTS_PER_PAGE - 1) / HTML_INPUTS_PER_PAGE;
    report->tallies = calloc((size_t)(run->metric_count * run->method_count) + 1, sizeof *report->tallies);
    FILE **files[] = {&report->cards, &report->rows, &report->changed_rows, &report->failures};
    spade_status status = report->tallies ? SPADE_OK : fail_memory(run);
    for (size_t i = 0; i < sizeof files / sizeof *files && status == SPADE_OK; i++) {
        *files[i] = tmpfile();
        if (!*files[i]) { status = fail_temporary(report); }
    }
    if (status != SPADE_OK) {
        html_report_close(report);
        return status;
    }
    *out = report;
    return SPADE_OK;
}

void html_report_close(html_report *report)
{
    if (!report) { return; }
    FILE *files[] = {report->cards, report->rows, report->changed_rows, report->failures};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (files[i]) { fclose(files[i]); }
    }
    free(report->first_name);
    free(report->tallies);
    free(report);
}

/* ---- pages: FOLDER/report/page_0001.html */

static spade_status page_path(const html_report *report, int64_t page, char **out)
{
    if (asprintf(out, "%s/report/page_%04lld.html", report->run->folder, (long long)page) >= 0) { return SPADE_OK; }
    return fail_memory(report->run);
}

static void write_navigation(FILE *file, const html_report *report, int64_t page)
{
    fputs("<nav class=\"pages\"><span>", file);
    if (page > 1) {
        fprintf(file, "<a href=\"page_%04lld.html\">&larr; page %lld</a>", (long long)page - 1, (long long)page - 1);
    }
    fprintf(file, "</span><span><a href=\"../report.html\">All pages</a> &middot; page %lld of %lld</span><span>",
            (long long)page, (long long)report->pages);
    if (page < report->pages) {
        fprintf(file, "<a href=\"page_%04lld.html\">page %lld &rarr;</a>", (long long)page + 1, (long long)page + 1);
    }
    fputs("</span></nav>\n", file);
}

static spade_status write_page_body(FILE *file, html_report *report, int64_t page)
{
    char title[64];
    snprintf(title, sizeof title, "spade, page %lld: ", (long long)page);
    html_write_begin(file, report, title);
    write_navigation(file, report, page);
    SPADE_TRY(html_write_legend(file, report, scales));
    html_write_choice(file, report);
    html_append(file, report->cards);
    write_navigation(file, report, page);
    html_write_end(file);
    return SPADE_OK;
}

/* The temporary files hold all that was written into them: html_append() would copy less without a word. */
static bool are_whole(const html_report *report)
{
    FILE *const files[] = {report->cards, report->rows, report->changed_rows, report->failures};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (fflush(files[i]) != 0 || ferror(files[i])) { return false; }
    }
    return true;
}

static spade_status write_file(html_report *report, const char *path,
                               spade_status (*write)(FILE *file, html_report *report, int64_t page), int64_t page)
{
    spade_output out;
    if (!are_whole(report)) { return fail_temporary(report); }
    SPADE_TRY(spade_output_open(report->run->context, path, &out));
    spade_status status = write(out.file, report, page);
    if (status != SPADE_OK) {
        spade_output_abort(&out);
        return status;
    }
    return spade_output_commit(report->run->context, &out);
}

/* The page's row in the index: how far it reaches. */
static void write_row(html_report *report, const char *last_name, int64_t page)
{
    int64_t first = (page - 1) * HTML_INPUTS_PER_PAGE + 1;
    fprintf(report->rows, "</td><td><a href=\"report/page_%04lld.html\">%lld to %lld</a><br><span class=\"soft\">",
            (long long)page, (long long)first, (long long)report->added);
    spade_html_text(report->rows, report->first_name);
    fputs(" &hellip; ", report->rows);
    spade_html_text(report->rows, last_name);
    fputs("</span></td>", report->rows);
    if (report->compared) {
        fprintf(report->rows, "<td class=\"n\">%lld</td><td class=\"n\">%lld</td>", (long long)report->page_changed,
                (long long)report->page_fell);
    }
    fputs("</tr>\n", report->rows);
}

static spade_status end_page(html_report *report, const char *last_name)
{
    char *path;
    int64_t page = report->page + 1;
    SPADE_TRY(page_path(report, page, &path));
    spade_status status = write_file(report, path, write_page_body, page);
    free(path);
    SPADE_TRY(status);
    write_row(report, last_name, page);
    free(report->first_name);
    report->first_name = NULL;
    report->page = page;
    report->page_changed = report->page_fell = 0;
    rewind(report->cards);
    return ftruncate(fileno(report->cards), 0) == 0 ? SPADE_OK : fail_temporary(report);
}

static spade_status begin_page(html_report *report, const explained_input *explained)
{
    char *folder;
    report->first_name = strdup(explained->name);
    if (!report->first_name) { return fail_memory(report->run); }
    fputs("<tr><td class=\"strip\">", report->rows);
    if (report->page) { return SPADE_OK; }
    if (asprintf(&folder, "%s/report", report->run->folder) < 0) { return fail_memory(report->run); }
    spade_status status = spade_make_folders(report->run->context, folder, "cannot make the folder", NULL);
    spade_sweep_temporaries(folder);
    free(folder);
    return status;
}

/* The number in page_NUMBER.html; 0: it is no such name. */
static int page_number(const char *name)
{
    int page, end = 0;
    return sscanf(name, "page_%d.html%n", &page, &end) == 1 && end && !name[end] ? page : 0;
}

static int is_page(const struct dirent *entry)
{
    return page_number(entry->d_name) > 0;
}

/* Remove the pages behind the last one, and with the last page the folder; where there is something else in it, it stays. */
static spade_status remove_pages(const explained_run *run, int64_t last)
{
    char *folder;
    struct dirent **entries;
    bool memory = false;
    if (asprintf(&folder, "%s/report", run->folder) < 0) { return fail_memory(run); }
    const int pages = scandir(folder, &entries, is_page, alphasort);
    for (int i = 0; i < pages; i++) {
        char *path = NULL;
        if (page_number(entries[i]->d_name) > last) {
            if (asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0) { path = NULL, memory = true; }
            if (path) { (void)unlink(path); }
            free(path);
        }
        free(entries[i]);
    }
    if (pages >= 0) { free(entries); }
    if (!last) { (void)rmdir(folder); }
    free(folder);
    return memory ? fail_memory(run) : SPADE_OK;
}

spade_status html_report_remove(const explained_run *run)
{
    char *path;
    if (asprintf(&path, "%s/report.html", run->folder) < 0) { return fail_memory(run); }
    (void)unlink(path);
    free(path);
    return remove_pages(run, 0);
}

/* ---- records */

static void count_value(method_tally *tally, const spade_metric_info *metric, double dense, double trace)
{
    if (!isfinite(dense) || !isfinite(trace)) { return; }
    const int order = compare_values(dense, trace, metric->better != SPADE_METRIC_LOWER);
    tally->maps++;
    tally->wins += order > 0;
    tally->ties += order == 0;
    tally->losses += order < 0;
    tally->sum[DENSE] += dense;
    tally->sum[TRACE] += trace;
}

static void count(html_report *report, const explained_input *explained)
{
    if (explained->ran[TRACE]) {
        const bool changed = explained_class_changed(explained), fell = explained_score_fell(explained);
        report->compared++;
        report->changed += changed;
        report->page_changed += changed;
        report->fell += fell;
        report->page_fell += fell;
    }
    for (int i = 0; i < explained->pair_count; i++) {
        const explained_pair *pair = &explained->pairs[i];
        report->contrasts = report->contrasts || pair->target.contrast;
        report->both = report->both || (pair->maps[DENSE].present && pair->maps[TRACE].present);
        for (int network = 0; network < NETWORKS; network++) {
            explained_promises_add(&report->promises, pair->maps[network].check);
        }
        for (int metric = 0; metric < report->run->metric_count; metric++) {
            count_value(html_tally(report, metric, pair->method), explained_metric(report->run, metric),
                        pair->maps[DENSE].values[metric], pair->maps[TRACE].values[metric]);
        }
    }
}

static void write_decision(FILE *file, const html_report *report, const explained_input *explained, int network)
{
    char buffer[32];
    const int64_t top = explained->top[network];
    fputs("</td><td>", file);
    spade_html_text(file, class_name(report->run->names, top, buffer));
    fprintf(file, ", %.1f %%", 100 * explained->scores[network * explained->class_count + top]);
}

/* A decision that is not the dense network's is what a reader of thousands of inputs looks for first. */
static void write_changed_row(html_report *report, const explained_input *explained)
{
    const bool another = explained_class_changed(explained) || explained_score_fell(explained);
    if (!another || report->changed + report->fell > MAX_CHANGED_ROWS) { return; }
    fprintf(report->changed_rows, "<tr><td><a href=\"report/page_%04lld.html#i%lld\">", (long long)report->page + 1,
            (long long)report->added);
    spade_html_text(report->changed_rows, explained->name);
    fputs("</a>", report->changed_rows);
    write_decision(report->changed_rows, report, explained, DENSE);
    write_decision(report->changed_rows, report, explained, TRACE);
    fputs("</td></tr>\n", report->changed_rows);
}

static spade_status add_to_pages(html_report *report, const explained_input *explained)
{
    int64_t place = report->added % HTML_INPUTS_PER_PAGE; /* in the page */
    if (place == 0) { SPADE_TRY(begin_page(report, explained)); }
    report->added++;
    SPADE_TRY(html_write_card(report->cards, report, explained));
    write_changed_row(report, explained);
    if (place < INDEX_PICTURES) {
        fprintf(report->rows, "<a href=\"report/page_%04lld.html#i%lld\">", (long long)report->page + 1,
                (long long)report->added);
        html_write_link_image(report->rows, "", explained->picture, explained->name);
        fputs("</a>", report->rows);
    }
    if (place + 1 < HTML_INPUTS_PER_PAGE && report->added < report->inputs) { return SPADE_OK; }
    return end_page(report, explained->name);
}

spade_status html_report_add(html_report *report, const explained_input *explained)
{
    count(report, explained);
    if (report->embedded) {
        report->added++;
        SPADE_TRY(html_write_card(report->cards, report, explained));
    } else {
        SPADE_TRY(add_to_pages(report, explained));
    }
    return ferror(report->cards) || ferror(report->rows) ? fail_temporary(report) : SPADE_OK;
}

void html_report_add_failure(html_report *report, const char *message)
{
    if (report->failed++ >= HTML_MAX_FAILURES) { return; }
    fputs("<li>", report->failures);
    spade_html_text(report->failures, message);
    fputs("</li>", report->failures);
}

/* ---- report.html */

static void write_index(FILE *file, html_report *report)
{
    fputs("<section class=\"card\"><h3>Inputs</h3><div class=\"scroll\"><table><tr><th></th><th>inputs</th>", file);
    if (report->compared) {
        fputs("<th class=\"n\">decided differently by the trace</th><th class=\"n\">less than half of the score</th>",
              file);
    }
    fputs("</tr>\n", file);
    html_append(file, report->rows);
    fputs("</table></div></section>\n", file);
    const int64_t others = report->changed + report->fell;
    if (!others) { return; }
    fputs("<section class=\"card\"><h3>Inputs that the trace decides differently, or with less than half of the "
          "score</h3><p class=\"soft\">Read their maps "
          "with care.</p><div class=\"scroll\"><table><tr><th>input</th><th>dense network</th><th>trace</th></tr>\n",
          file);
    html_append(file, report->changed_rows);
    fputs("</table></div>", file);
    if (others > MAX_CHANGED_ROWS) {
        fprintf(file,
                "<p class=\"soft below\">and %lld more: <code>class_changed</code> and <code>score_fell</code> in "
                "results.json</p>",
                (long long)(others - MAX_CHANGED_ROWS));
    }
    fputs("</section>\n", file);
}

static spade_status write_report(FILE *file, html_report *report, int64_t page)
{
    (void)page;
    html_write_begin(file, report, "spade: ");
    html_write_summary(file, report);
    if (report->embedded) {
        SPADE_TRY(html_write_legend(file, report, scales));
        html_write_choice(file, report);
        html_append(file, report->cards);
    } else {
        write_index(file, report);
    }
    html_write_failures(file, report, "explained");
    SPADE_TRY(html_write_configuration(file, report));
    html_write_end(file);
    return SPADE_OK;
}

spade_status html_report_save(html_report *report)
{
    char *path;
    if (asprintf(&path, "%s/report.html", report->run->folder) < 0) { return fail_memory(report->run); }
    spade_status status = write_file(report, path, write_report, 0);
    free(path);
    return status == SPADE_OK ? remove_pages(report->run, report->page) : status;
}
