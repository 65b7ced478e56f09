/* card.c - one input in the report: picture, maps beside each other, class scores. */
#include <math.h>

#include "base/base.h"
#include "report/html.h"
#include "report/text.h"

/* Classes whose scores are written: those of the highest, then those that were asked for. */
enum { MAX_TOP_CLASSES = 4, MIN_TOP_CLASSES = 2, MAX_CLASSES = MAX_TOP_CLASSES + 2 * SPADE_MAX_CLASSES };
static const double min_score = 0.0005; /* lower ones would print as 0.0 % */

int html_compare_printed(const spade_metric_info *metric, double dense, double trace)
{
    double difference = round(trace * 1000) - round(dense * 1000);
    if (metric->better == SPADE_METRIC_LOWER) { difference = -difference; }
    return (difference > 0) - (difference < 0);
}

static void write_options(FILE *file, const char *options)
{
    if (!options) { return; }
    fputs(" (", file);
    spade_html_text(file, options);
    fputc(')', file);
}

void html_write_method(FILE *file, const spade_method_choice *method)
{
    for (const char *at = method->label; *at; at++) { fputc(*at == '_' ? ' ' : *at, file); }
    write_options(file, method->options);
}

void html_write_target(FILE *file, const explained_run *run, const spade_target *target)
{
    char text[SPADE_TARGET_TEXT];
    spade_html_text(file, explained_target_text(run, target, text));
}

void html_write_metric(FILE *file, const spade_metric_choice *metric)
{
    spade_html_text(file, spade_metric_describe(metric->metric)->title);
    write_options(file, metric->options);
}

/* A path as an address: everything but letters, digits and -_.~/ escaped (RFC 3986). */
static void write_address(FILE *file, const char *path)
{
    for (const unsigned char *at = (const unsigned char *)path; *at; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9');
        if (plain || strchr("-_.~/", *at)) {
            fputc(*at, file);
        } else {
            fprintf(file, "%%%02X", *at);
        }
    }
}

void html_write_link_image(FILE *file, const char *up, const char *relative, const char *text)
{
    fputs("<img loading=\"lazy\" alt=\"", file);
    spade_html_text(file, text);
    fprintf(file, "\" src=\"%s", up);
    write_address(file, relative);
    fputs("\">", file);
}

spade_status html_write_image(FILE *file, const html_report *report, const char *relative, const char *text)
{
    enum { MAX_PNG = 1 << 30 };
    char *path;
    spade_mapping png;
    if (!report->embedded) {
        html_write_link_image(file, "../", relative, text);
        return SPADE_OK;
    }
    if (asprintf(&path, "%s/%s", report->run->folder, relative) < 0) {
        return spade_fail(report->run->context, SPADE_ERROR_MEMORY, "%s: out of memory", relative);
    }
    spade_status status = spade_map_file(report->run->context, path, MAX_PNG, &png);
    free(path);
    SPADE_TRY(status);
    fputs("<img alt=\"", file);
    spade_html_text(file, text);
    fputs("\" src=\"data:image/png;base64,", file);
    spade_base64(file, png.data, png.size);
    fputs("\">", file);
    spade_unmap(&png);
    return SPADE_OK;
}

/* The metrics of a map, with a star where it is the better one of both networks'. */
static void write_values(FILE *file, const explained_run *run, const explained_pair *pair, int network)
{
    for (int i = 0; i < run->metric_count; i++) {
        double value = pair->maps[network].values[i], other = pair->maps[1 - network].values[i];
        if (!isfinite(value)) { continue; }
        bool best = isfinite(other) && html_compare_printed(explained_metric(run, i), other, value) > 0;
        fprintf(file, "<span class=\"value%s\">", best ? " best" : "");
        html_write_metric(file, &run->metrics[i]);
        fprintf(file, " %.3f%s</span> ", value, best ? " &#9733;" : "");
    }
}

static spade_status write_map(FILE *file, const html_report *report, const explained_pair *pair, int network)
{
    const explained_map *map = &pair->maps[network];
    if (!map->present) { return SPADE_OK; }
    char text[160];
    snprintf(text, sizeof text, "%s map, %s", explained_networks[network], report->run->methods[pair->method].label);
    fprintf(file, "<figure class=\"%s\">", explained_networks[network]);
    SPADE_TRY(html_write_image(file, report, map->heatmap, text));
    fprintf(file, "<figcaption><b>%s</b>", network == DENSE ? "Dense network" : "Trace");
    write_values(file, report->run, pair, network);
    if (map->all_zero) { fputs(" <span class=\"warn\">0 everywhere: this map says nothing</span>", file); }
    html_write_marks(file, map->check);
    fputs("</figcaption></figure>", file);
    return SPADE_OK;
}

static spade_status write_pairs(FILE *file, const html_report *report, const explained_input *explained)
{
    const explained_run *run = report->run;
    fputs("<div class=\"maps\">", file);
    for (int i = 0; i < explained->pair_count; i++) {
        const explained_pair *pair = &explained->pairs[i];
        fprintf(file, "<section class=\"m%d\"><h3>", pair->method);
        html_write_method(file, &run->methods[pair->method]);
        fputs(" <span class=\"soft\">for ", file);
        html_write_target(file, run, &pair->target);
        fputs("</span></h3><div class=\"pair\">", file);
        SPADE_TRY(write_map(file, report, pair, DENSE));
        SPADE_TRY(write_map(file, report, pair, TRACE));
        fputs("</div></section>", file);
    }
    fputs("</div>", file);
    return SPADE_OK;
}

/* ---- class scores */
static bool contains(const int64_t *list, int count, int64_t value)
{
    for (int i = 0; i < count; i++) {
        if (list[i] == value) { return true; }
    }
    return false;
}

/* The classes of highest score in either network, the dense network's first. Returns how many. */
static int choose_top_classes(const explained_input *explained, int64_t *out)
{
    int count = 0;
    for (int network = 0; network < NETWORKS; network++) {
        const double *scores = explained->scores + network * explained->class_count;
        if (!explained->ran[network]) { continue; }
        int wanted = network == DENSE ? MAX_TOP_CLASSES - 1 : MAX_TOP_CLASSES;
        int64_t limit = explained->class_count < wanted ? explained->class_count : wanted;
        while (count < limit) {
            int64_t best = -1;
            for (int64_t i = 0; i < explained->class_count; i++) {
                if (!contains(out, count, i) && (best < 0 || scores[i] > scores[best])) { best = i; }
            }
            out[count++] = best;
        }
        /* The trace's top class is always there, in the last place if need be. */
        if (network == TRACE && !contains(out, count, explained->top[TRACE])) {
            out[count - 1] = explained->top[TRACE];
        }
    }
    return count;
}

/* The classes of --class, of contrasts both; none where nobody asked for any. Returns how many. */
static int find_asked(const explained_run *run, const explained_input *explained, int64_t *out)
{
    const int targets = run->settings->classes.count ? explained->pair_count / run->method_count : 0;
    int count = 0;
    for (int i = 0; i < targets && i < SPADE_MAX_CLASSES; i++) { /* a record that was read back may have more */
        const spade_target *target = &explained->pairs[i].target;
        if (!contains(out, count, target->class_index)) { out[count++] = target->class_index; }
        if (target->contrast && !contains(out, count, target->against)) { out[count++] = target->against; }
    }
    return count;
}

static void write_bar(FILE *file, const char *kind, double score)
{
    fprintf(file,
            "<div class=\"bar\"><span><i class=\"%s\" style=\"width:%.1f%%\"></i></span><span>%.1f %%</span></div>",
            kind, 100 * score, 100 * score);
}

static void write_score(FILE *file, const explained_run *run, const explained_input *explained, int64_t index,
                        bool asked)
{
    const bool top = index == explained->top[DENSE];
    char buffer[32];
    fprintf(file, "<div class=\"score\"><div class=\"name\">%s", top ? "<b>" : "");
    spade_html_text(file, class_name(run->names, index, buffer));
    fprintf(file, "%s%s</div>", top ? "</b>" : "", asked ? " <span class=\"soft\">explained</span>" : "");
    write_bar(file, "d", explained->scores[index]);
    if (explained->ran[TRACE]) { write_bar(file, "t", explained->scores[explained->class_count + index]); }
    fputs("</div>", file);
}

static void write_scores(FILE *file, const explained_run *run, const explained_input *explained)
{
    int64_t chosen[MAX_CLASSES], asked[2 * SPADE_MAX_CLASSES];
    const int top_count = choose_top_classes(explained, chosen), asked_count = find_asked(run, explained, asked);
    int count = top_count;
    for (int i = 0; i < asked_count; i++) {
        if (!contains(chosen, count, asked[i])) { chosen[count++] = asked[i]; }
    }
    fputs("<div class=\"scores\"><h3>Class scores</h3><div class=\"soft\"><span class=\"key "
          "d\"></span><span>dense</span>",
          file);
    if (explained->ran[TRACE]) { fputs("<span class=\"key t\"></span><span>trace</span>", file); }
    fputs("</div>", file);
    for (int i = 0; i < count; i++) {
        const double highest =
            fmax(explained->scores[chosen[i]], explained->scores[explained->class_count + chosen[i]]);
        const bool was_asked = contains(asked, asked_count, chosen[i]);
        if (i >= MIN_TOP_CLASSES && !was_asked && highest < min_score) { continue; }
        write_score(file, run, explained, chosen[i], was_asked);
    }
    fputs("</div>", file);
}

/* ---- the card */
/* Layers of the trace without a weight: what they compute is the same for every picture. */
static void write_empty_layers(FILE *file, const explained_input *explained)
{
    if (!explained->empty_layers) { return; }
    fprintf(file, "<p class=\"warn\"><b>All weights are 0 in %lld layer%s of the trace:</b> ",
            (long long)explained->empty_layers, explained->empty_layers == 1 ? "" : "s");
    spade_html_text(file, explained->empty_layer ? explained->empty_layer : "");
    fprintf(file, "%s. Less sparsity keeps some.</p>", explained->empty_layers == 1 ? "" : " and others");
}

static void write_head(FILE *file, const explained_run *run, const explained_input *explained)
{
    char dense[32], trace[32];
    const double *scores = explained->scores;
    fputs("<div class=\"head\"><h2>", file);
    spade_html_text(file, explained->name);
    fputs("</h2><span class=\"soft\">", file);
    spade_html_text(file, class_name(run->names, explained->top[DENSE], dense));
    fprintf(file, ", %.1f %%", 100 * scores[explained->top[DENSE]]);
    if (explained->weights) {
        char choice[SPARSITY_CHOICE_TEXT];
        fprintf(file, " &middot; trace %.1f %% sparse", 100.0 * (double)explained->zeros / (double)explained->weights);
        if (explained->chosen) { fprintf(file, " (chosen: %s)", sparsity_choice_text(&explained->choice, choice)); }
    }
    fputs("</span></div>", file);
    if (explained->chosen && !explained->choice.enough) {
        fprintf(file,
                "<p class=\"warn\"><b>No sparsity keeps the decision</b> on the picture and on %.0f %% of other "
                "variants: this is the "
                "one that keeps most.</p>",
                100 * SPADE_AUTO_AGREEMENT);
    }
    if (explained_score_fell(explained)) {
        fprintf(
            file,
            "<p class=\"warn\"><b>The trace keeps the class, but less than half of its score:</b> %.1f %% instead of "
            "%.1f %%. Read its maps with care; less sparsity, or more variants, keep more.</p>",
            100 * scores[explained->class_count + explained->top[TRACE]], 100 * scores[explained->top[DENSE]]);
    }
    if (!explained_class_changed(explained)) { return; }
    fputs("<p class=\"warn\"><b>The trace decides differently:</b> ", file);
    spade_html_text(file, class_name(run->names, explained->top[TRACE], trace));
    fprintf(file, " (%.1f %%) instead of ", 100 * scores[explained->class_count + explained->top[TRACE]]);
    spade_html_text(file, class_name(run->names, explained->top[DENSE], dense));
    fputs(". Read its maps with care.</p>", file);
}

/* How the style sheet places a card's parts. Maps stand beside the input; of several methods or targets below it, two pairs
 * in a row, or four maps where there is one network only. A mask beside one pair makes a row of four pictures. */
static const char *choose_layout(const explained_input *explained)
{
    const explained_map *maps = explained->pairs[0].maps;
    if (explained->pair_count > 1) { return maps[DENSE].present && maps[TRACE].present ? "many" : "many lone"; }
    return explained->mask_picture ? "four" : "";
}

spade_status html_write_card(FILE *file, const html_report *report, const explained_input *explained)
{
    fprintf(file, "<article class=\"card\" id=\"i%lld\">", (long long)report->added);
    write_head(file, report->run, explained);
    write_empty_layers(file, explained);
    fprintf(file, "<div class=\"body %s\"><div class=\"about\"><div><h3>Input</h3><figure>", choose_layout(explained));
    SPADE_TRY(html_write_image(file, report, explained->picture, "what the network sees"));
    fputs("</figure></div>", file);
    if (explained->mask_picture) {
        fputs("<div><h3>Mask</h3><figure>", file);
        SPADE_TRY(html_write_image(file, report, explained->mask_picture, "what maps should point at"));
        fputs("</figure></div>", file);
    }
    write_scores(file, report->run, explained);
    fputs("</div>", file);
    SPADE_TRY(write_pairs(file, report, explained));
    fputs("</div>", file);
    html_write_checks(file, report, explained);
    fputs("</article>\n", file);
    return SPADE_OK;
}
