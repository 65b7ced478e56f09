/* check_report.c - see check_report.h. */
#include "report/check_report.h"

#include <errno.h>
#include <math.h>

#include "base/check_verdict.h"
#include "report/html.h"
#include "report/text.h"

static spade_status fail_temporary(const check_report *report)
{
    return spade_fail(report->run->context, SPADE_ERROR_IO, "%s/check.html: cannot write a temporary file: %s",
                      report->run->folder, strerror(errno));
}

spade_status check_report_open(const explained_run *run, check_report *out)
{
    *out = (check_report){.run = run, .cards = tmpfile(), .failures = tmpfile()};
    return out->cards && out->failures ? SPADE_OK : fail_temporary(out);
}

void check_report_close(check_report *report)
{
    if (report->cards) { fclose(report->cards); }
    if (report->failures) { fclose(report->failures); }
    *report = (check_report){0};
}

/* ---- a card for each input */

static void write_value(FILE *file, const char *name, const json_t *value)
{
    fprintf(file, "%s ", name);
    if (json_is_number(value)) {
        const double number = json_number_value(value);
        fprintf(file, "%.2f", fabs(number) < 0.005 ? 0 : number); /* no "-0.00" */
    } else {
        fputs("-", file);
    }
}

/* A picture: of the network's own map, stage NULL, or of the map after a stage. */
static void write_figure(FILE *file, const char *picture, const json_t *stage, const json_t *similarity)
{
    fputs("<figure>", file);
    html_write_link_image(file, "", picture, stage ? spade_json_text_at(stage, "layer") : "the network's own map");
    fputs("<figcaption><b>", file);
    spade_html_text(file, stage ? spade_json_text_at(stage, "layer") : "the network");
    fputs("</b>", file);
    if (stage) {
        fputs("<span class=\"soft\">", file);
        write_value(file, "Spearman", json_object_get(similarity, "spearman"));
        write_value(file, "<br>of |map|", json_object_get(similarity, "spearman_abs"));
        write_value(file, "<br>SSIM", json_object_get(similarity, "ssim"));
        fputs("</span>", file);
    }
    fputs("</figcaption></figure>", file);
}

static void write_map(FILE *file, check_report *report, int method, const json_t *map, const json_t *stages)
{
    spade_target target;
    char verdict[CHECK_VERDICT_TEXT];
    const json_t *pictures = json_object_get(map, "pictures"), *similarity = json_object_get(map, "similarity");
    fputs("<section><h3>", file);
    html_write_method(file, &report->run->methods[method]);
    fputs(" <span class=\"soft\">for ", file);
    (void)explained_parse_target(report->run, map, &target);
    html_write_target(file, report->run, &target);
    report->contrasts = report->contrasts || target.contrast;
    explained_promises_add(&report->promises, json_object_get(map, "check"));
    fputs("</span></h3>", file);
    html_write_marks(file, json_object_get(map, "check"));
    fprintf(file, "<p%s>The map ",
            json_is_false(json_object_get(json_object_get(map, "verdict"), "follows")) ? " class=\"warn\""
                                                                                       : " class=\"soft\"");
    spade_html_text(file, check_verdict_text(map, verdict));
    fputs(".</p><div class=\"cascade\">", file);
    for (size_t i = 0; i < json_array_size(pictures); i++) {
        write_figure(file, json_string_value(json_array_get(pictures, i)), i ? json_array_get(stages, i - 1) : NULL,
                     i ? json_array_get(similarity, i - 1) : NULL);
    }
    fputs("</div></section>\n", file);
}

spade_status check_report_add(check_report *report, const json_t *result)
{
    const json_t *dense = json_object_get(result, "dense"), *maps = json_object_get(result, "maps");
    const size_t targets = json_array_size(maps) / (size_t)report->run->method_count;
    FILE *file = report->cards;
    size_t i;
    json_t *map;
    fputs("<article class=\"card\"><div class=\"head\"><h2>", file);
    spade_html_text(file, spade_json_text_at(result, "name"));
    fputs("</h2><span class=\"soft\">", file);
    spade_html_text(file, spade_json_text_at(dense, "name"));
    fprintf(file, ", %.1f %%</span></div><div class=\"maps\">\n",
            100 * json_number_value(json_object_get(dense, "score")));
    json_array_foreach(maps, i, map) /* method by method, target by target */
    {
        write_map(file, report, (int)(i / targets), map, json_object_get(result, "stages"));
    }
    fputs("</div></article>\n", file);
    report->inputs++;
    return ferror(file) ? fail_temporary(report) : SPADE_OK;
}

void check_report_add_failure(check_report *report, const char *message)
{
    if (report->failed++ >= HTML_MAX_FAILURES) { return; }
    fputs("<li>", report->failures);
    spade_html_text(report->failures, message);
    fputs("</li>", report->failures);
}

/* ---- the page */

static spade_status write_page(const check_report *report, FILE *file)
{
    const html_report page = {.run = report->run,
                              .failed = report->failed,
                              .failures = report->failures,
                              .contrasts = report->contrasts,
                              .promises = report->promises};
    html_write_begin(file, &page, "spade check: ");
    fputs("<header class=\"card\"><h1>", file);
    spade_html_text(file, html_model_name(&page));
    fprintf(
        file,
        "</h1><p class=\"soft\">%lld input%s checked by spade %s</p><p>From left to right the network's layers lose "
        "what "
        "they have learned, from the last one on: under each map stands the layer down to which weights are normal "
        "random "
        "numbers of the same root mean square. A map that stays as it is says something about the picture, and nothing "
        "about what the network has learned (Adebayo et al. 2018, Sanity checks for saliency maps): with all layers "
        "random the larger one of |Spearman| and |Spearman of |map|| should be below 0.5, from which on a correlation "
        "counts as large (Cohen 1988).</p>\n",
        (long long)report->inputs, report->inputs == 1 ? "" : "s", spade_version());
    if (report->stopped) { fputs("<p class=\"warn\"><b>The run was stopped</b> before its last input.</p>", file); }
    html_write_promises(file, &page);
    fputs("</header>\n", file);
    SPADE_TRY(html_write_legend(file, &page, "Each picture has a scale of its own."));
    html_append(file, report->cards);
    html_write_failures(file, &page, "checked");
    SPADE_TRY(html_write_configuration(file, &page));
    html_write_end(file);
    return SPADE_OK;
}

spade_status check_report_save(check_report *report)
{
    spade_context *context = report->run->context;
    spade_output out;
    char *path;
    if (fflush(report->cards) != 0 || ferror(report->cards) || fflush(report->failures) != 0 ||
        ferror(report->failures)) {
        return fail_temporary(report);
    }
    if (asprintf(&path, "%s/check.html", report->run->folder) < 0) {
        return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", report->run->folder);
    }
    spade_status status = spade_output_open(context, path, &out);
    free(path);
    SPADE_TRY(status);
    status = write_page(report, out.file);
    if (status != SPADE_OK) {
        spade_output_abort(&out);
        return status;
    }
    return spade_output_commit(context, &out);
}
