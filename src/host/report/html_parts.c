/* html_parts.c - what stands around the cards: head, summary, legend, failures, configuration. */
#include <math.h>

#include "base/base.h"
#include "report/html.h"
#include "report/style.h"
#include "report/text.h"

const char *html_model_name(const html_report *page)
{
    const char *slash = strrchr(page->run->model, '/');
    return slash ? slash + 1 : page->run->model;
}

void html_append(FILE *to, FILE *from)
{
    char buffer[65536];
    size_t count;
    rewind(from);
    while ((count = fread(buffer, 1, sizeof buffer, from)) > 0) { fwrite(buffer, 1, count, to); }
    fseek(from, 0, SEEK_END);
}

void html_write_begin(FILE *file, const html_report *page, const char *title)
{
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
          "<title>",
          file);
    spade_html_text(file, title);
    spade_html_text(file, html_model_name(page));
    fputs("</title><style>" REPORT_STYLE "</style></head><body><main>\n", file);
}

void html_write_end(FILE *file)
{
    fputs("</main></body></html>\n", file);
}

/* ---- the summary */

/* The rows of one metric: a head, and a row for each method that has values for both networks. False: there are none. */
static bool write_tally(FILE *file, const html_report *page, int metric)
{
    const spade_metric_info *info = explained_metric(page->run, metric);
    bool any = false;
    for (int m = 0; m < page->run->method_count; m++) {
        const method_tally *tally = html_tally(page, metric, m);
        if (!tally->maps) { continue; }
        if (!any) {
            fputs("<tr><th>", file);
            html_write_metric(file, &page->run->metrics[metric]);
            fputs(": ", file);
            spade_html_text(file, info->reading);
            fputs("</th><th class=\"n\">dense</th><th class=\"n\">trace</th>"
                  "<th class=\"n\">better &middot; same &middot; worse</th></tr>",
                  file);
        }
        any = true;
        double dense = tally->sum[DENSE] / (double)tally->maps, trace = tally->sum[TRACE] / (double)tally->maps;
        int order = html_compare_printed(info, dense, trace);
        fputs("<tr><td>", file);
        html_write_method(file, &page->run->methods[m]);
        fprintf(file,
                "</td><td class=\"n\">%s%.3f%s</td><td class=\"n\">%s%.3f%s</td>"
                "<td class=\"n\">%lld &middot; %lld &middot; %lld</td></tr>",
                order < 0 ? "<b>" : "", dense, order < 0 ? "</b>" : "", order > 0 ? "<b>" : "", trace,
                order > 0 ? "</b>" : "", (long long)tally->wins, (long long)tally->ties, (long long)tally->losses);
    }
    return any;
}

/* Every metric that has values. */
static void write_tallies(FILE *file, const html_report *page)
{
    bool any = false;
    fputs("<div class=\"scroll\"><table>", file);
    for (int metric = 0; metric < page->run->metric_count; metric++) { any |= write_tally(file, page, metric); }
    fputs("</table></div>", file);
    if (!any) { return; }
    fputs(
        "<p class=\"soft below\">Means of the maps that have a value; in how many of them the trace is better than the "
        "dense network, the same, or worse, by the exact values, as in evaluate's tables.</p>",
        file);
}

void html_write_promises(FILE *file, const html_report *page)
{
    const explained_promises *promises = &page->promises;
    const long long maps = promises->maps, broken = promises->broken, incomplete = promises->incomplete,
                    lossy = promises->lossy, counted = broken ? broken : maps;
    if (!maps) { return; }
    fprintf(file,
            "<p%s><b>%lld of %lld</b> map%s whose method%s promise%s something (completeness, conservation) %s it",
            broken ? " class=\"warn\"" : "", counted, maps, maps == 1 ? "" : "s", maps == 1 ? "" : "s",
            maps == 1 ? "s" : "",
            !broken        ? counted == 1 ? "keeps" : "keep"
            : counted == 1 ? "does not keep"
                           : "do not keep");
    if (incomplete) { fprintf(file, ": %lld %s not complete", incomplete, incomplete == 1 ? "is" : "are"); }
    if (lossy) {
        fprintf(file, "%s%lld %s not conserve relevance", incomplete ? ", " : ": ", lossy, lossy == 1 ? "does" : "do");
    }
    fputs(".</p>", file);
}

void html_write_summary(FILE *file, const html_report *page)
{
    fputs("<header class=\"card\"><h1>", file);
    spade_html_text(file, html_model_name(page));
    fprintf(file, "</h1><p class=\"soft\">%lld input%s explained by spade %s</p>", (long long)page->added,
            page->added == 1 ? "" : "s", spade_version());
    if (page->run->left) {
        fprintf(file, "<p class=\"warn\"><b>The run was stopped:</b> %lld input%s left. The same command goes on.</p>",
                (long long)page->run->left, page->run->left == 1 ? " is" : "s are");
    }
    if (page->compared) {
        fprintf(file, "<p>The trace keeps the network's class in <b>%lld of %lld</b>.</p>",
                (long long)(page->compared - page->changed), (long long)page->compared);
    }
    if (page->fell) {
        fprintf(file, "<p class=\"warn\">In <b>%lld</b> of these the class keeps less than half of its score.</p>",
                (long long)page->fell);
    }
    html_write_promises(file, page);
    write_tallies(file, page);
    fputs("</header>\n", file);
}

/* ---- the legend */

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

/* The names of the methods with signed maps, or of those without; false: there are none. file NULL: only ask. */
static bool write_methods(FILE *file, const html_report *page, bool is_signed)
{
    bool any = false;
    for (int m = 0; m < page->run->method_count; m++) {
        if (explained_signed(page->run, m) != is_signed) { continue; }
        if (file) {
            fputs(any ? ", " : "", file);
            html_write_method(file, &page->run->methods[m]);
        }
        any = true;
    }
    return any;
}

/* A colour bar with what its ends mean, and whose it is where there are two. */
static spade_status write_scale(FILE *file, const html_report *page, bool is_signed, const char *title,
                                const char *ends)
{
    if (!write_methods(NULL, page, is_signed)) { return SPADE_OK; }
    fprintf(file, "<div><div>%s", title);
    if (write_methods(NULL, page, !is_signed)) {
        fputs(" <span class=\"soft\">", file);
        (void)write_methods(file, page, is_signed);
        fputs("</span>", file);
    }
    fputs("</div>", file);
    SPADE_TRY(write_colour_bar(file, page, is_signed));
    fprintf(file, "<div class=\"ends\">%s</div></div>", ends);
    return SPADE_OK;
}

/* Which colour speaks for which class of a contrast. */
static void write_contrast(FILE *file, const html_report *page)
{
    const bool with_sign = write_methods(NULL, page, true), without = write_methods(NULL, page, false);
    fputs("<p class=\"soft below\">A map of <b>A against B</b> explains the difference of both, F<sub>A</sub> &minus; "
          "F<sub>B</sub>: ",
          file);
    if (with_sign) { fputs("<b>orange speaks for A, blue for B</b>", file); }
    if (with_sign && without) { fputs("; where there is no sign, ", file); }
    if (without) { fputs("brighter pixels matter more for it, whichever class they speak for", file); }
    fputs(".</p>", file);
}

spade_status html_write_legend(FILE *file, const html_report *page, const char *scales)
{
    fputs("<section class=\"card\"><h3>How to read the colours</h3><div class=\"legend\">", file);
    SPADE_TRY(write_scale(file, page, false, "How much a pixel matters", "<span>nothing</span><span>most</span>"));
    SPADE_TRY(write_scale(file, page, true, "For or against the class",
                          page->contrasts ? "<span>against; of A against B: for B</span><span>nothing</span>"
                                            "<span>for; of A against B: for A</span>"
                                          : "<span>against</span><span>nothing</span><span>for</span>"));
    fputs("</div>", file);
    if (page->contrasts) { write_contrast(file, page); }
    fprintf(file, "<p class=\"soft below\">%s</p></section>\n", scales);
    return SPADE_OK;
}

/* ---- the choice */

static void write_box(FILE *file, const char *id)
{
    fprintf(file, "<label><input type=\"checkbox\" id=\"show-%s\" checked>", id);
}

/* The part of a card about promises is hidden where nothing of it is shown: a rule of the style sheet. */
static void write_hidden_promises(FILE *file, const html_report *page)
{
    const char *between = "body:not(:has(";
    for (int m = 0; m < page->run->method_count; m++) {
        if (!explained_promising(page->run, m)) { continue; }
        fprintf(file, "%s#show-m%d:checked", between, m);
        between = ",";
    }
    if (*between == ',') { fputs(")) .checks{display:none}", file); }
    if (page->both) { fputs("body:not(:has(#show-dense:checked,#show-trace:checked)) .checks{display:none}", file); }
}

/* The methods; nothing where there is one. */
static void write_method_boxes(FILE *file, const explained_run *run)
{
    char id[32];
    for (int m = 0; run->method_count > 1 && m < run->method_count; m++) {
        snprintf(id, sizeof id, "m%d", m);
        write_box(file, id);
        html_write_method(file, &run->methods[m]);
        fputs("</label>", file);
    }
}

static void write_trace_boxes(FILE *file, const html_report *page)
{
    char id[32];
    fprintf(file, "<span><b>%s</b>", page->run->method_count > 1 ? "by" : "traces");
    for (int c = 1; c <= page->trace_count; c++) {
        snprintf(id, sizeof id, "c%d", c);
        write_box(file, id);
        spade_html_text(file, page->traces[c - 1]);
        fputs("</label>", file);
    }
    fputs("</span>", file);
}

void html_write_choice(FILE *file, const html_report *page)
{
    const explained_run *run = page->run;
    const bool traces = page->trace_count > 1;
    if (run->method_count < 2 && !traces) { return; }
    fputs("<style>", file);
    for (int m = 0; run->method_count > 1 && m < run->method_count; m++) {
        fprintf(file, "body:has(#show-m%d:not(:checked)) .m%d{display:none}", m, m);
    }
    for (int c = 1; traces && c <= page->trace_count; c++) {
        fprintf(file, "body:has(#show-c%d:not(:checked)) .c%d{display:none}", c, c);
    }
    write_hidden_promises(file, page);
    fputs("</style><form class=\"card choice\" autocomplete=\"off\"><b>Show</b>", file);
    write_method_boxes(file, run);
    if (traces) { write_trace_boxes(file, page); }
    if (page->both) {
        fputs("<span><b>of</b>", file);
        write_box(file, "dense");
        fputs("the dense network</label>", file);
        write_box(file, "trace");
        fputs("the trace</label></span>", file);
    }
    fputs("</form>\n", file);
}

/* ---- the end of the page */

void html_write_failures(FILE *file, const html_report *page, const char *done)
{
    if (!page->failed) { return; }
    fprintf(file, "<section class=\"card\"><h3>%lld input%s could not be %s</h3><ul>", (long long)page->failed,
            page->failed == 1 ? "" : "s", done);
    html_append(file, page->failures);
    fputs("</ul>", file);
    if (page->failed > HTML_MAX_FAILURES) {
        fprintf(file, "<p class=\"soft\">and %lld more, in results.json</p>",
                (long long)(page->failed - HTML_MAX_FAILURES));
    }
    fputs("</section>\n", file);
}

spade_status html_write_settings(FILE *file, spade_context *context, const json_t *configuration)
{
    char *text = spade_json_dump(configuration, JSON_INDENT(2));
    if (!text) { return spade_fail(context, SPADE_ERROR_MEMORY, "the report: out of memory"); }
    fputs("<details><summary>All settings</summary><pre>", file);
    for (char *line = text, *next; line && *line;
         line = next) { /* line by line: a line end is not a control character here */
        next = strchr(line, '\n');
        if (next) { *next++ = 0; }
        spade_html_text(file, line);
        fputc('\n', file);
        if (!next) { break; }
    }
    fputs("</pre></details>", file);
    free(text);
    return SPADE_OK;
}

spade_status html_write_configuration(FILE *file, const html_report *page)
{
    json_t *configuration = spade_settings_json(page->run->settings);
    fputs("<section class=\"card\"><h3>Configuration</h3><p class=\"soft\">Model: ", file);
    spade_html_text(file, page->run->model);
    fputs("</p>", file);
    const spade_status status = html_write_settings(file, page->run->context, configuration);
    json_decref(configuration);
    fputs("</section>\n", file);
    return status;
}
