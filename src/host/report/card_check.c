/* card_check.c - under a map in the report: does it sum to what its method promises, and where is relevance lost? */
#include <math.h>

#include "report/html.h"
#include "report/text.h"

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void write_text(FILE *file, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    spade_html_text(file, text ? text : "");
}

static bool holds(const json_t *object)
{
    return json_is_true(json_object_get(object, "holds"));
}

/* A mark under the map: the promise is kept, or not. */
static void write_mark(FILE *file, const json_t *promise, const char *kept)
{
    if (!promise) { return; }
    fprintf(file, "<span class=\"value%s\">%s%s</span> ", holds(promise) ? "" : " broken", holds(promise) ? "" : "not ",
            kept);
}

void html_write_marks(FILE *file, const json_t *check)
{
    write_mark(file, json_object_get(check, "completeness"), "complete");
    write_mark(file, json_object_get(check, "conservation"), "conserved");
}

static void write_step(FILE *file, const json_t *step)
{
    const double magnitude = number_of(step, "magnitude"), missing = number_of(step, "missing");
    const char *open = holds(step) ? "" : "<b>", *close = holds(step) ? "" : "</b>";
    fprintf(file, "<tr><td>%s", open);
    write_text(file, step, "name");
    fprintf(file, "%s <span class=\"soft\">", close);
    write_text(file, step, "kind");
    fprintf(file,
            "</span></td><td class=\"n\">%.4g</td><td class=\"n\">%.4g</td><td class=\"n\">%.4g</td>"
            "<td class=\"n\">%.2g</td><td class=\"n\">%s%.2f %%%s</td></tr>\n",
            number_of(step, "relevance"), number_of(step, "handed_on"), number_of(step, "constants"),
            number_of(step, "stabilizer"), open, magnitude > 0 ? 100 * missing / magnitude : 0, close);
}

/* "lrp for class 3, dense network" */
static void write_title(FILE *file, const html_report *report, const explained_pair *pair, int network)
{
    html_write_method(file, &report->run->methods[pair->method]);
    fputs(" for ", file);
    html_write_target(file, report->run, &pair->target);
    fprintf(file, ", %s", network == DENSE ? "dense network" : "trace");
}

static void write_conservation(FILE *file, const json_t *conservation)
{
    size_t i;
    json_t *step;
    fprintf(
        file,
        "; of relevance <b>%.4g</b> at the output <b>%.4g</b> arrives, %.4g is the part of biases and constants, %.3g "
        "is missing</summary><div class=\"scroll\"><table><tr><th>from the output down</th>"
        "<th class=\"n\">relevance</th><th class=\"n\">handed on</th><th class=\"n\">in constants</th>"
        "<th class=\"n\">in stabilisers</th><th class=\"n\">missing</th></tr>\n",
        number_of(conservation, "output"), number_of(conservation, "input"), number_of(conservation, "constants"),
        number_of(conservation, "missing"));
    json_array_foreach(json_object_get(conservation, "steps"), i, step)
    {
        write_step(file, step);
    }
    fprintf(
        file,
        "</table></div><p class=\"soft below\">Missing: what neither inputs nor constants have, of the sum of the "
        "absolute values of the relevance; stabilisers have a part of it. More than %g %% is too much.</p></details>",
        100 * number_of(conservation, "tolerance"));
}

static void write_check(FILE *file, const html_report *report, const explained_pair *pair, int network)
{
    const json_t *check = pair->maps[network].check;
    const json_t *completeness = json_object_get(check, "completeness");
    const json_t *conservation = json_object_get(check, "conservation");
    if (completeness) {
        fprintf(file, "<p class=\"soft below m%d %s\">", pair->method, explained_networks[network]);
        write_title(file, report, pair, network);
        fprintf(file, ": the map sums to <b>%.4g</b>, F(x) - F(baseline) is <b>%.4g</b></p>",
                number_of(completeness, "sum"), number_of(completeness, "difference"));
    }
    if (conservation) {
        fprintf(file, "<details class=\"m%d %s\"><summary>", pair->method, explained_networks[network]);
        write_title(file, report, pair, network);
        write_conservation(file, conservation);
    }
}

void html_write_checks(FILE *file, const html_report *report, const explained_input *explained)
{
    bool any = false;
    for (int i = 0; i < explained->pair_count; i++) {
        for (int network = 0; network < NETWORKS; network++) {
            if (!explained->pairs[i].maps[network].check) { continue; }
            if (!any) { fputs("<section class=\"checks\"><h3>What the methods promise</h3>", file); }
            any = true;
            write_check(file, report, &explained->pairs[i], network);
        }
    }
    if (any) { fputs("</section>", file); }
}
