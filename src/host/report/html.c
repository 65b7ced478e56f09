/*
 * html.c - report.html: one file that opens anywhere. Cards are written to a temporary file as inputs are done; the
 * page, whose head sums them up, is put together at the end.
 */
#include <errno.h>
#include <math.h>

#include "base/base.h"
#include "report/html.h"
#include "report/style.h"
#include "report/text.h"

spade_status html_report_open(const explained_run *run, html_report **out)
{
    *out = NULL;
    html_report *page = calloc(1, sizeof *page);
    if (!page) { return spade_fail(run->context, SPADE_ERROR_MEMORY, "out of memory"); }
    page->run = run;
    page->tallies = calloc((size_t)run->method_count + 1, sizeof *page->tallies);
    page->cards = tmpfile();
    page->failures = tmpfile();
    if (!page->tallies) {
        html_report_close(page);
        return spade_fail(run->context, SPADE_ERROR_MEMORY, "out of memory");
    }
    if (!page->cards || !page->failures) {
        html_report_close(page);
        return spade_fail(run->context, SPADE_ERROR_IO, "cannot make a temporary file: %s", strerror(errno));
    }
    *out = page;
    return SPADE_OK;
}

void html_report_close(html_report *page)
{
    if (!page) { return; }
    if (page->cards) { fclose(page->cards); }
    if (page->failures) { fclose(page->failures); }
    free(page->tallies);
    free(page);
}

spade_status html_report_add(html_report *page, const explained_input *explained)
{
    page->inputs++;
    if (explained->ran[TRACE]) {
        page->compared++;
        page->changed += explained->top[DENSE] != explained->top[TRACE];
    }
    for (int i = 0; i < explained->pair_count; i++) {
        const explained_pair *pair = &explained->pairs[i];
        double dense = pair->maps[DENSE].roc_auc, trace = pair->maps[TRACE].roc_auc;
        bool is_signed = (explained_method(page->run, pair->method)->flags & SPADE_METHOD_SIGNED) != 0;
        page->is_signed |= is_signed;
        page->is_unsigned |= !is_signed;
        if (!isfinite(dense) || !isfinite(trace)) { continue; }
        method_tally *tally = &page->tallies[pair->method];
        int order = html_compare_auc(dense, trace);
        tally->maps++;
        tally->wins += order > 0;
        tally->ties += order == 0;
        tally->losses += order < 0;
        tally->sum[DENSE] += dense;
        tally->sum[TRACE] += trace;
    }
    html_write_card(page->cards, page->run, explained);
    if (ferror(page->cards)) {
        return spade_fail(page->run->context, SPADE_ERROR_IO, "report.html: cannot write a temporary file");
    }
    return SPADE_OK;
}

void html_report_add_failure(html_report *page, const char *message)
{
    page->failed++;
    fputs("<li>", page->failures);
    spade_html_text(page->failures, message);
    fputs("</li>", page->failures);
}

/* ---- the page around the cards */
static void write_tally(FILE *file, const html_report *page)
{
    bool any = false;
    for (int m = 0; m < page->run->method_count; m++) { any |= page->tallies[m].maps > 0; }
    if (!any) { return; }
    fputs("<div class=\"scroll\"><table><tr><th>ROC AUC</th><th class=\"n\">dense</th><th class=\"n\">trace</th>"
          "<th class=\"n\">better &middot; same &middot; worse</th></tr>",
          file);
    for (int m = 0; m < page->run->method_count; m++) {
        const method_tally *tally = &page->tallies[m];
        if (!tally->maps) { continue; }
        double dense = tally->sum[DENSE] / tally->maps, trace = tally->sum[TRACE] / tally->maps;
        int order = html_compare_auc(dense, trace);
        fputs("<tr><td>", file);
        html_write_method(file, &page->run->methods[m]);
        fprintf(file,
                "</td><td class=\"n\">%s%.3f%s</td><td class=\"n\">%s%.3f%s</td>"
                "<td class=\"n\">%d &middot; %d &middot; %d</td></tr>",
                order < 0 ? "<b>" : "", dense, order < 0 ? "</b>" : "", order > 0 ? "<b>" : "", trace,
                order > 0 ? "</b>" : "", tally->wins, tally->ties, tally->losses);
    }
    fputs("</table></div><p class=\"soft below\">Means of the maps that have a mask; in how many of them the trace "
          "lies better, the "
          "same or worse on the mask than the dense network. 1 is perfect, 0.5 is chance.</p>",
          file);
}

static void write_summary(FILE *file, const html_report *page)
{
    fputs("<header class=\"card\"><h1>", file);
    const char *slash = strrchr(page->run->model, '/');
    spade_html_text(file, slash ? slash + 1 : page->run->model);
    fprintf(file, "</h1><p class=\"soft\">%d input%s explained by spade %s</p>", page->inputs,
            page->inputs == 1 ? "" : "s", spade_version());
    if (page->compared) {
        fprintf(file, "<p>The trace keeps the network's class in <b>%d of %d</b>.</p>", page->compared - page->changed,
                page->compared);
    }
    write_tally(file, page);
    fputs("</header>\n", file);
}

/* The colour bar, drawn by the same code as the heatmaps: a ramp over dark grey. */
static spade_status write_colour_bar(FILE *file, const html_report *page, bool is_signed)
{
    enum {
        WIDTH = 256,
        HEIGHT = 256
    }; /* large enough that the heatmap is not enlarged; the style sheet makes it a bar */
    uint8_t grey[WIDTH * HEIGHT * 3];
    float ramp[WIDTH * HEIGHT];
    spade_picture background = {.height = HEIGHT, .width = WIDTH, .rgb = grey}, bar = {0};
    uint8_t *png = NULL;
    size_t size = 0;
    memset(grey, 40, sizeof grey);
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        double t = (double)(i % WIDTH) / (WIDTH - 1);
        ramp[i] = (float)(is_signed ? 2 * t - 1 : t);
    }
    SPADE_TRY(spade_heatmap(page->run->context, &background, ramp, 1, is_signed, &bar));
    spade_status status = spade_png_encode(page->run->context, bar.rgb, bar.height, bar.width, 3, &png, &size);
    spade_picture_clear(&bar);
    if (status != SPADE_OK) { return status; }
    fputs("<img alt=\"colour bar\" src=\"data:image/png;base64,", file);
    spade_base64(file, png, size);
    fputs("\">", file);
    free(png);
    return SPADE_OK;
}

static spade_status write_legend(FILE *file, const html_report *page)
{
    fputs("<section class=\"card\"><h3>How to read the colours</h3><div class=\"legend\">", file);
    if (page->is_unsigned) {
        fputs("<div><div>How much a pixel matters</div>", file);
        SPADE_TRY(write_colour_bar(file, page, false));
        fputs("<div class=\"ends\"><span>nothing</span><span>most</span></div></div>", file);
    }
    if (page->is_signed) {
        fputs("<div><div>For or against the class</div>", file);
        SPADE_TRY(write_colour_bar(file, page, true));
        fputs("<div class=\"ends\"><span>against</span><span>nothing</span><span>for</span></div></div>", file);
    }
    fputs("</div><p class=\"soft below\">Dense and trace share one scale, so their colours can be compared. "
          "The trace is the network with only the weights that keep its behaviour around this one input; the others "
          "are zero.</p></section>\n",
          file);
    return SPADE_OK;
}

static void write_configuration(FILE *file, const html_report *page)
{
    json_t *configuration = spade_settings_json(page->run->settings);
    char *text = configuration ? json_dumps(configuration, JSON_INDENT(2)) : NULL;
    fputs("<section class=\"card\"><h3>Configuration</h3><p class=\"soft\">Model: ", file);
    spade_html_text(file, page->run->model);
    fputs("</p><details><summary>All settings</summary><pre>", file);
    for (char *line = text, *next; line && *line;
         line = next) { /* line by line: a line end is not a control character here */
        next = strchr(line, '\n');
        if (next) { *next++ = 0; }
        spade_html_text(file, line);
        fputc('\n', file);
        if (!next) { break; }
    }
    fputs("</pre></details></section>\n", file);
    free(text);
    json_decref(configuration);
}

static void append(FILE *to, FILE *from)
{
    char buffer[65536];
    size_t count;
    rewind(from);
    while ((count = fread(buffer, 1, sizeof buffer, from)) > 0) { fwrite(buffer, 1, count, to); }
}

static spade_status write_page(FILE *file, html_report *page)
{
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
          "<title>spade: ",
          file);
    const char *slash = strrchr(page->run->model, '/');
    spade_html_text(file, slash ? slash + 1 : page->run->model);
    fputs("</title><style>" REPORT_STYLE "</style></head><body><main>\n", file);
    write_summary(file, page);
    SPADE_TRY(write_legend(file, page));
    append(file, page->cards);
    if (page->failed) {
        fprintf(file, "<section class=\"card\"><h3>%d input%s could not be explained</h3><ul>", page->failed,
                page->failed == 1 ? "" : "s");
        append(file, page->failures);
        fputs("</ul></section>\n", file);
    }
    write_configuration(file, page);
    fputs("</main></body></html>\n", file);
    return SPADE_OK;
}

spade_status html_report_save(html_report *page, const char *path)
{
    spade_output out;
    SPADE_TRY(spade_output_open(page->run->context, path, &out));
    spade_status status = write_page(out.file, page);
    if (status != SPADE_OK) {
        spade_output_abort(&out);
        return status;
    }
    return spade_output_commit(page->run->context, &out);
}
