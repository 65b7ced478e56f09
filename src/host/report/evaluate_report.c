/* evaluate_report.c - see evaluate_report.h. */
#include "report/evaluate_report.h"

#include <errno.h>
#include <math.h>

#include "base/number.h"
#include "report/html.h"
#include "report/statistics.h"
#include "report/text.h"

enum { MAX_NUMBER = 32 };

static bool is_lower(const spade_metric_info *info)
{
    return info->better == SPADE_METRIC_LOWER;
}

/* What the parts that all reports have read. */
static html_report page_of(const evaluate_report *report)
{
    return (html_report){.run = report->run,
                         .failures = report->failures,
                         .failed = report->failed,
                         .contrasts = report->contrasts,
                         .traces = report->columns + 1,
                         .trace_count = report->column_count - 1};
}

spade_status evaluate_report_open(evaluate_report *report)
{
    report->failures = tmpfile();
    if (report->failures) { return SPADE_OK; }
    return spade_fail(report->run->context, SPADE_ERROR_IO, "%s/report.html: cannot write a temporary file: %s",
                      report->run->folder, strerror(errno));
}

void evaluate_report_close(evaluate_report *report)
{
    if (report->failures) { fclose(report->failures); }
    report->failures = NULL;
}

void evaluate_report_add_failure(evaluate_report *report, const char *message)
{
    if (report->failed++ >= HTML_MAX_FAILURES) { return; }
    fputs("<li>", report->failures);
    spade_html_text(report->failures, message);
    fputs("</li>", report->failures);
}

/* ---- what was compared */

static void write_count(FILE *file, int64_t count, const char *what)
{
    fprintf(file, "%lld %s%s", (long long)count, what, count == 1 ? "" : "s");
}

static void write_explained(FILE *file, const evaluate_report *report)
{
    const spade_names *classes = spade_settings_classes(report->run->settings);
    const char *class = classes->items[0];
    fputs("<p>The maps explain ", file);
    if (strcmp(class, "label") == 0) {
        fputs("the class of each picture's label", file);
    } else if (strcmp(class, "top") == 0) {
        fputs("the class that the network chooses", file);
    } else {
        fputs("<b>", file);
        spade_html_text(file, class);
        fputs("</b>", file);
    }
    fputs(", of the network as it is (dense)", file);
    if (report->column_count > 1) {
        fputs(" and of what it is compared with: traces are, of each picture, the network with only the weights that "
              "keep "
              "its behaviour around it",
              file);
    }
    fputs(".</p>", file);
}

/* The row of a method, or with method NULL of a metric of the traces. */
static const json_t *find_row(const evaluate_report *report, int metric, const spade_method_choice *method)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(report->summary, "rows"), i, row)
    {
        if (strcmp(spade_json_text_at(row, "metric"), report->run->metrics[metric].label) != 0) { continue; }
        const char *options = method && method->options ? method->options : "",
                   *name = method ? spade_attribution_method(method->attribution)->name : "";
        if (strcmp(spade_json_text_at(row, "method"), name) == 0 &&
            strcmp(spade_json_text_at(row, "options"), options) == 0) {
            return row;
        }
    }
    return NULL;
}

static void write_mean(FILE *file, const json_t *column, bool best)
{
    char text[MAX_NUMBER];
    const double mean = spade_json_real_at(column, "mean"), error = spade_json_real_at(column, "error");
    if (isnan(mean)) {
        fputs("&ndash;", file);
        return;
    }
    (void)spade_print_beside(text, sizeof text, mean, mean, 3, 3, false);
    fprintf(file, best ? "<b>%s</b>" : "%s", text);
    if (isnan(error)) { return; }
    (void)spade_print_beside(text, sizeof text, error, mean, 4, 2, false);
    fprintf(file, " <span class=\"soft\">&plusmn; %s</span>", text);
}

static void write_share(FILE *file, double share)
{
    fputs("<td class=\"n\">", file);
    if (isnan(share)) {
        fputs("&ndash;", file);
    } else {
        fprintf(file, "%.1f %%", 100 * share);
    }
    fputs("</td>", file);
}

static void write_better(FILE *file, const spade_metric_info *info)
{
    fprintf(file, "%s is better", is_lower(info) ? "lower" : "higher");
}

static bool is_labelled(const evaluate_report *report)
{
    return json_integer_value(json_object_get(report->summary, "labelled")) > 0;
}

/* Where there is only the network. */
static void write_network(FILE *file, const evaluate_report *report)
{
    if (!is_labelled(report)) { return; }
    fprintf(file, "<p>It decides as the label says in <b>%.1f %%</b> of the labelled pictures.</p>",
            100 * spade_json_real_at(json_array_get(json_object_get(report->summary, "decisions"), 0), "correct"));
}

static void write_networks(FILE *file, const evaluate_report *report)
{
    const explained_run *run = report->run;
    const bool labelled = is_labelled(report);
    fputs("<div class=\"scroll\"><table><tr><th>network</th><th>how it is found</th><th class=\"n\">decides as the "
          "dense network</th>",
          file);
    if (labelled) { fputs("<th class=\"n\">as the label says</th>", file); }
    for (int i = 0; i < run->metric_count; i++) {
        if (!find_row(report, i, NULL)) { continue; }
        fputs("<th class=\"n\">", file);
        html_write_metric(file, &run->metrics[i]);
        fputs(", ", file);
        write_better(file, explained_metric(run, i));
        fputs("</th>", file);
    }
    fputs("</tr>\n", file);
    for (int column = 0; column < report->column_count; column++) {
        const json_t *decision = json_array_get(json_object_get(report->summary, "decisions"), (size_t)column);
        fputs("<tr><td><b>", file);
        spade_html_text(file, report->columns[column]);
        fputs("</b></td><td>", file);
        spade_html_text(file, report->found[column]);
        fputs("</td>", file);
        write_share(file, spade_json_real_at(decision, "kept"));
        if (labelled) { write_share(file, spade_json_real_at(decision, "correct")); }
        for (int i = 0; i < run->metric_count; i++) {
            const json_t *row = find_row(report, i, NULL);
            if (!row) { continue; }
            fputs("<td class=\"n\">", file);
            if (column) { write_mean(file, json_array_get(json_object_get(row, "columns"), (size_t)column), false); }
            fputs("</td>", file);
        }
        fputs("</tr>\n", file);
    }
    fputs("</table></div>", file);
}

/* Methods without values, and why. */
static void write_uncovered(FILE *file, const evaluate_report *report)
{
    size_t i;
    const json_t *item, *uncovered = json_object_get(report->summary, "uncovered");
    if (!json_array_size(uncovered)) { return; }
    fputs("<p class=\"soft below\">Without values: ", file);
    json_array_foreach(uncovered, i, item)
    {
        fputs(i ? "; <b>" : "<b>", file);
        spade_html_text(file, spade_json_text_at(item, "method"));
        fputs("</b>, ", file);
        spade_html_text(file, spade_json_text_at(item, "reason"));
    }
    fputs(".</p>", file);
}

static void write_warnings(FILE *file, const evaluate_report *report)
{
    size_t i;
    const json_t *text;
    json_array_foreach(report->warnings, i, text)
    {
        fputs("<p class=\"warn\">", file);
        spade_html_text(file, json_string_value(text));
        fputs(".</p>", file);
    }
}

static void write_header(FILE *file, const evaluate_report *report, const html_report *page)
{
    const int64_t pictures = json_integer_value(json_object_get(report->summary, "pictures")), left = report->run->left;
    fputs("<header class=\"card\"><h1>", file);
    spade_html_text(file, html_model_name(page));
    fputs("</h1><p class=\"soft\">", file);
    write_count(file, report->run->method_count, "method");
    fputs(" on ", file);
    write_count(file, pictures, "picture");
    fputs(" of ", file);
    spade_html_text(file, report->manifest);
    fprintf(file, ", evaluated by spade %s</p>", spade_version());
    if (left) {
        fputs("<p class=\"warn\"><b>The run was stopped:</b> ", file);
        write_count(file, left, "picture");
        fprintf(file, " %s left. The same command goes on.</p>", left == 1 ? "is" : "are");
    }
    write_explained(file, report);
    if (report->summary) {
        if (report->column_count > 1) {
            write_networks(file, report);
        } else {
            write_network(file, report);
        }
        write_uncovered(file, report);
        write_warnings(file, report);
    }
    fputs("</header>\n", file);
}

/* ---- a table for each metric */

static void print_mean(const json_t *row, size_t column, char text[MAX_NUMBER])
{
    const double mean = spade_json_real_at(json_array_get(json_object_get(row, "columns"), column), "mean");
    *text = 0;
    if (!isnan(mean)) { (void)spade_print_beside(text, MAX_NUMBER, mean, mean, 3, 3, false); }
}

/* The best mean of the row as it is printed; "": all print the same, or there is only one. */
static void find_best(const json_t *row, size_t columns, bool lower, char best[MAX_NUMBER])
{
    double found = NAN;
    int others = 0;
    *best = 0;
    for (size_t i = 0; i < columns; i++) {
        char text[MAX_NUMBER];
        const double mean = spade_json_real_at(json_array_get(json_object_get(row, "columns"), i), "mean");
        print_mean(row, i, text);
        if (!*text) { continue; }
        others += *best && strcmp(text, best) != 0;
        if (isnan(found) || (lower ? mean < found : mean > found)) {
            found = mean;
            memcpy(best, text, sizeof text);
        }
    }
    if (!others) { *best = 0; }
}

/* "+0.0018, better in 50 %", marked where the interval does not hold 0, and below it the interval. */
static void write_difference(FILE *file, const json_t *column, double mean, bool lower)
{
    const double difference = spade_json_real_at(column, "difference"), low = spade_json_real_at(column, "low"),
                 high = spade_json_real_at(column, "high");
    char text[MAX_NUMBER];
    if (isnan(difference)) { return; }
    const char *mark = low > 0 ? lower ? "down" : "up" : high < 0 ? lower ? "up" : "down" : "";
    (void)spade_print_beside(text, sizeof text, difference, mean, 4, 2, true);
    fprintf(file, "<br><span class=\"soft\"><span class=\"%s\">%s</span>, better in %.0f %%", mark, text,
            100 * spade_json_real_at(column, "better"));
    if (!isnan(low)) {
        (void)spade_print_beside(text, sizeof text, low, mean, 4, 2, true);
        fprintf(file, "<br>[%s, ", text);
        (void)spade_print_beside(text, sizeof text, high, mean, 4, 2, true);
        fprintf(file, "%s]", text);
    }
    fputs("</span>", file);
}

static void write_row_name(FILE *file, const json_t *row)
{
    const char *options = spade_json_text_at(row, "options"), *name = spade_json_text_at(row, "method");
    const bool mean = strcmp(name, "mean") == 0;
    for (const char *at = mean ? "mean of the methods" : name; *at; at++) { fputc(*at == '_' ? ' ' : *at, file); }
    if (!*options) { return; }
    fputs(" (", file);
    spade_html_text(file, options);
    fputc(')', file);
}

/* Where not all pictures have a value: how many have one in all of the row's columns. */
static void write_fewest(FILE *file, const evaluate_report *report, const json_t *columns)
{
    const json_int_t pictures = json_integer_value(json_object_get(report->summary, "pictures"));
    json_int_t fewest = pictures;
    size_t i;
    const json_t *column;
    json_array_foreach(columns, i, column)
    {
        const json_int_t count = json_integer_value(json_object_get(column, "count"));
        fewest = count && count < fewest ? count : fewest;
    }
    if (fewest < pictures) { fprintf(file, "<br><span class=\"soft\">of %lld pictures</span>", (long long)fewest); }
}

/* The same of the methods' rows where there is only the network. */
static void find_best_row(const evaluate_report *report, const char *metric, bool lower, char best[MAX_NUMBER])
{
    json_t *means = json_array(), *column = json_object();
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(report->summary, "rows"), i, row)
    {
        if (strcmp(spade_json_text_at(row, "metric"), metric) != 0 ||
            strcmp(spade_json_text_at(row, "method"), "mean") == 0) {
            continue;
        }
        spade_json_append(&means, json_incref(json_array_get(json_object_get(row, "columns"), 0)));
    }
    spade_json_set(&column, "columns", means);
    find_best(column, json_array_size(json_object_get(column, "columns")), lower, best);
    json_decref(column);
}

static void write_row(FILE *file, const evaluate_report *report, const json_t *row, bool lower)
{
    const json_t *columns = json_object_get(row, "columns"), *column;
    const double dense = spade_json_real_at(json_array_get(columns, 0), "mean");
    char best[MAX_NUMBER] = "", text[MAX_NUMBER];
    size_t i;
    if (report->column_count > 1) {
        find_best(row, json_array_size(columns), lower, best);
    } else if (strcmp(spade_json_text_at(row, "method"), "mean") != 0) {
        find_best_row(report, spade_json_text_at(row, "metric"), lower, best);
    }
    fputs("<tr><td>", file);
    write_row_name(file, row);
    write_fewest(file, report, columns);
    fputs("</td>", file);
    json_array_foreach(columns, i, column)
    {
        fputs("<td class=\"n\">", file);
        print_mean(row, i, text);
        write_mean(file, column, *best && strcmp(text, best) == 0);
        if (i) { write_difference(file, column, dense, lower); }
        fputs("</td>", file);
    }
    fputs("</tr>\n", file);
}

static void write_metric(FILE *file, const evaluate_report *report, int metric)
{
    const spade_metric_info *info = explained_metric(report->run, metric);
    size_t i;
    const json_t *row;
    bool any = false;
    json_array_foreach(json_object_get(report->summary, "rows"), i, row)
    {
        if (strcmp(spade_json_text_at(row, "metric"), report->run->metrics[metric].label) != 0) { continue; }
        if (!any) {
            fputs("<section class=\"card\"><div class=\"head\"><h2>", file);
            html_write_metric(file, &report->run->metrics[metric]);
            fputs("</h2><span class=\"soft\"><b>", file);
            write_better(file, info);
            fputs("</b>; ", file);
            spade_html_text(file, info->reading);
            fputs("</span></div><div class=\"scroll\"><table><tr><th></th>", file);
            for (int c = 0; c < report->column_count; c++) {
                fputs("<th class=\"n\">", file);
                spade_html_text(file, report->columns[c]);
                fputs("</th>", file);
            }
            fputs("</tr>\n", file);
            any = true;
        }
        write_row(file, report, row, is_lower(info));
    }
    if (any) { fputs("</table></div></section>\n", file); }
}

/* What the tables' cells say. */
static void write_reading(FILE *file, const evaluate_report *report)
{
    const bool traces = report->column_count > 1;
    fprintf(file,
            "<section class=\"card\"><h3>How to read the tables</h3><p class=\"soft\">Means over the pictures &plusmn; "
            "their standard error; the best of a %s is <b>bold</b>",
            traces ? "row" : "table");
    if (traces) {
        fputs(". Below, for a trace: its difference from the dense network, picture by picture, in how many pictures "
              "the trace's map is better, and the 95 % interval of the difference (bootstrap); <span "
              "class=\"up\">green</span> and <span class=\"down\">yellow</span> where the interval says that the trace "
              "is better, or worse",
              file);
    }
    if (report->run->method_count > 1) {
        fputs(". The mean of the methods is of those that have a value on every network", file);
        if (traces) { fputs("; it says how networks compare, not how good a method is", file); }
    }
    fputs(".</p></section>\n", file);
}

static void write_tables(FILE *file, const evaluate_report *report)
{
    if (!report->summary) { return; }
    for (int i = 0; i < report->run->metric_count; i++) {
        if (!(explained_metric(report->run, i)->needs & SPADE_METRIC_NEEDS_TRACE)) { write_metric(file, report, i); }
    }
    write_reading(file, report);
}

spade_status evaluate_report_write_begin(const evaluate_report *report, FILE *file)
{
    const html_report page = page_of(report);
    html_write_begin(file, &page, "spade evaluate: ");
    write_header(file, report, &page);
    write_tables(file, report);
    if (!report->gallery) { return SPADE_OK; }
    fputs("<section class=\"card\"><h2>Gallery</h2><p class=\"below\">", file);
    fputs(report->column_count > 1 ? "The pictures whose maps the traces make best and worst, by "
                                   : "Each method's best and worst maps, by ",
          file);
    html_write_metric(file, &report->run->metrics[report->metric]);
    fputs(" (", file);
    write_better(file, explained_metric(report->run, report->metric));
    fprintf(file, ").%s</p></section>\n", report->masks ? " The line in a picture is the outline of its mask." : "");
    SPADE_TRY(html_write_legend(file, &page,
                                report->column_count > 1
                                    ? "Dense and trace share one scale, so their colours can be compared."
                                    : "Each picture has a scale of its own."));
    html_write_choice(file, &page);
    return SPADE_OK;
}

/* ---- the gallery */

void evaluate_report_begin_pair(const evaluate_report *report, FILE *file, int method, int column)
{
    const spade_method_choice *choice = &report->run->methods[method];
    const json_t *row = find_row(report, report->metric, choice),
                 *cell = json_array_get(json_object_get(row, "columns"), (size_t)column);
    const double pairs = spade_json_real_at(cell, "pairs"), better = pairs * spade_json_real_at(cell, "better"),
                 same = pairs * spade_json_real_at(cell, "same");
    fprintf(file, "<section class=\"card m%d c%d\"><div class=\"head\"><h2>", method, column);
    html_write_method(file, choice);
    if (column) {
        fputs(", ", file);
        spade_html_text(file, report->columns[column]);
    }
    fputs("</h2>", file);
    if (column && !isnan(better)) {
        fprintf(file, "<span class=\"soft\">the trace's map is better in %.0f, the same in %.0f, worse in %.0f</span>",
                better, same, pairs - better - same);
    }
    fputs("</div><div class=\"gallery\">\n", file);
}

void evaluate_report_begin_list(FILE *file, int column, bool worst, int count)
{
    fputs("<div class=\"shots\"><h3>", file);
    if (column) {
        fputs(worst ? "Lost most" : "Gained most", file);
    } else {
        fputs(worst ? "Worst" : "Best", file);
    }
    fputs("</h3>", file);
    if (!count) { fputs("<p class=\"soft\">No picture.</p>", file); }
}

void evaluate_report_end_list(FILE *file)
{
    fputs("</div>\n", file);
}

void evaluate_report_end_pair(FILE *file)
{
    fputs("</div></section>\n", file);
}

static void write_png(FILE *file, const evaluate_png *png)
{
    fputs("data:image/png;base64,", file);
    spade_base64(file, png->data, png->size);
}

static uint32_t read32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The picture, which is written once: later shots refer to it. */
static void write_picture(FILE *file, const evaluate_shot *shot)
{
    enum { HEADER = 24, WIDTH = 16, HEIGHT = 20 }; /* of a PNG */
    const evaluate_png *png = &shot->picture;
    const bool whole = png->size >= HEADER;
    const unsigned width = whole ? read32(png->data + WIDTH) : 1, height = whole ? read32(png->data + HEIGHT) : 1;
    fprintf(file, "<svg viewBox=\"0 0 %u %u\" role=\"img\" aria-label=\"", width, height);
    spade_html_text(file, spade_json_text_at(shot->record, "name"));
    if (shot->again) {
        fprintf(file, "\"><use href=\"#p%d\"/></svg>", shot->number);
        return;
    }
    fprintf(file, "\"><image id=\"p%d\" width=\"%u\" height=\"%u\" href=\"", shot->number, width, height);
    write_png(file, png);
    fputs("\"/></svg>", file);
}

static double value_of(const evaluate_report *report, const evaluate_shot *shot, int network)
{
    const size_t column = network == TRACE ? (size_t)shot->column : 0;
    const json_t *methods = json_array_get(json_object_get(shot->record, "values"), (size_t)shot->method),
                 *value = json_array_get(json_array_get(methods, (size_t)report->metric), column);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void write_map(FILE *file, const evaluate_report *report, const evaluate_shot *shot, int network, bool best)
{
    const evaluate_png *png = &shot->maps[network];
    const double value = value_of(report, shot, network);
    const char *name = report->columns[network == TRACE ? shot->column : 0];
    char text[MAX_NUMBER];
    if (!png->data) { return; }
    (void)spade_print_beside(text, sizeof text, value, value, 3, 3, false);
    fputs("<div><img alt=\"map, ", file);
    spade_html_text(file, name);
    fputs("\" src=\"", file);
    write_png(file, png);
    fputs("\"><span class=\"soft\">", file);
    spade_html_text(file, name);
    fprintf(file, "</span> <span class=\"value%s\">%s</span></div>", best ? " best" : "", text);
}

/* What the networks decide, where it is not what the map explains. */
static void write_decisions(FILE *file, const evaluate_report *report, const evaluate_shot *shot)
{
    const json_t *networks = json_object_get(shot->record, "networks"), *dense = json_array_get(networks, 0),
                 *trace = json_array_get(networks, (size_t)shot->column);
    spade_target target;
    if (explained_parse_target(report->run, shot->record, &target)) {
        fputs("<span class=\"soft\">", file);
        html_write_target(file, report->run, &target);
        fputs("</span>", file);
        if (json_integer_value(json_object_get(dense, "class")) != target.class_index) {
            fputs("<span class=\"soft\">the network decides ", file);
            spade_html_text(file, spade_json_text_at(dense, "name"));
            fputs("</span>", file);
        }
    }
    if (!shot->column) { return; }
    if (json_integer_value(json_object_get(dense, "class")) == json_integer_value(json_object_get(trace, "class"))) {
        fputs("<span class=\"soft\">class kept</span>", file);
        return;
    }
    fputs("<span class=\"value broken\">the trace decides ", file);
    spade_html_text(file, spade_json_text_at(trace, "name"));
    fputs("</span>", file);
}

/* Of two values that print the same none is marked, as in explain's report. */
static bool prints_same(double a, double b)
{
    char texts[2][MAX_NUMBER];
    (void)spade_print_beside(texts[0], MAX_NUMBER, a, a, 3, 3, false);
    (void)spade_print_beside(texts[1], MAX_NUMBER, b, b, 3, 3, false);
    return strcmp(texts[0], texts[1]) == 0;
}

void evaluate_report_write_shot(const evaluate_report *report, FILE *file, const evaluate_shot *shot)
{
    const bool lower = is_lower(explained_metric(report->run, report->metric));
    const double dense = value_of(report, shot, DENSE), trace = value_of(report, shot, TRACE);
    char text[MAX_NUMBER];
    fputs("<figure class=\"shot\"><div class=\"head\"><b>", file);
    spade_html_text(file, spade_json_text_at(shot->record, "name"));
    fputs("</b>", file);
    if (shot->column) {
        (void)spade_print_beside(text, sizeof text, trace - dense, dense, 4, 2, true);
        fprintf(file, "<b>%s</b>", text);
    }
    write_decisions(file, report, shot);
    fprintf(file, "</div><div class=\"tiles%s\"><div>", shot->column ? "" : " two");
    write_picture(file, shot);
    fputs("</div>", file);
    write_map(file, report, shot, DENSE, false);
    if (shot->column) {
        write_map(file, report, shot, TRACE, compare_values(dense, trace, !lower) > 0 && !prints_same(dense, trace));
    }
    fputs("</div></figure>\n", file);
}

/* ---- the end */

static void write_missing(FILE *file, const json_t *missing, int64_t many)
{
    size_t i;
    const json_t *name;
    if (!json_array_size(missing)) { return; }
    fputs("<section class=\"card\"><p class=\"soft below\">Left out of the gallery, since their maps are not there and "
          "could "
          "not be made again: ",
          file);
    json_array_foreach(missing, i, name)
    {
        fputs(i ? ", " : "", file);
        spade_html_text(file, json_string_value(name));
    }
    if (many) { fprintf(file, " and %lld more", (long long)many); }
    fputs(".</p></section>\n", file);
}

spade_status evaluate_report_write_end(const evaluate_report *report, FILE *file, const json_t *missing, int64_t many)
{
    const html_report page = page_of(report);
    if (fflush(report->failures) != 0 || ferror(report->failures)) {
        return spade_fail(report->run->context, SPADE_ERROR_IO, "%s/report.html: cannot write a temporary file: %s",
                          report->run->folder, strerror(errno));
    }
    write_missing(file, missing, many);
    html_write_failures(file, &page, "evaluated");
    SPADE_TRY(html_write_configuration(file, &page));
    html_write_end(file);
    return SPADE_OK;
}
