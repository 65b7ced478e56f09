/* csv.c - records as a table: results.csv. */
#include <math.h>

#include "base/base.h"
#include "report/report.h"
#include "base/text.h"

/* A spreadsheet takes what begins so for a formula, also in the wide forms of these signs. The apostrophe itself is marked like
 * them, so that whoever takes the mark off has the text again. */
static bool is_to_be_marked(const char *text)
{
    static const char *const signs[] = {"=", "+", "-", "@", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (strncmp(text, signs[i], strlen(signs[i])) == 0) { return true; }
    }
    return false;
}

/* Behind an apostrophe where a spreadsheet would take the text for a formula. In quotes where it holds what ends a cell; control
 * characters, and bytes that are no UTF-8, are '?'. */
void results_csv_write_text(FILE *file, const char *text)
{
    const bool quoted = strpbrk(text, ",\"\r\n") != NULL;
    if (quoted) { fputc('"', file); }
    if (is_to_be_marked(text)) { fputc('\'', file); }
    while (*text) {
        bool printable;
        const int length = spade_character(text, &printable);
        if (*text == '"') { fputc('"', file); }
        if (printable) {
            fwrite(text, 1, (size_t)length, file);
        } else {
            fputc('?', file);
        }
        text += length;
    }
    if (quoted) { fputc('"', file); }
}

void results_csv_write_number(FILE *file, double value)
{
    fputc(',', file);
    if (isfinite(value)) { fprintf(file, "%.9g", value); }
}

spade_status results_csv_open(const explained_run *run, const char *path, results_csv_writer *out)
{
    *out = (results_csv_writer){.run = run};
    SPADE_TRY(spade_output_open(run->context, path, &out->output));
    FILE *file = out->output.file;
    fputs("file,index,name,network,method,options,class,class_name,logit,score,against,against_name,against_logit,"
          "against_score",
          file);
    for (int i = 0; i < run->metric_count; i++) { fprintf(file, ",%s", run->metrics[i].label); }
    fputs(",completeness_delta,map\n", file);
    return SPADE_OK;
}

/* Number, name, logit, score. */
static void write_class(FILE *file, const explained_run *run, const explained_input *explained, int network,
                        int64_t index)
{
    char buffer[32];
    fprintf(file, ",%lld,", (long long)index);
    results_csv_write_text(file, class_name(run->names, index, buffer));
    results_csv_write_number(file, explained->logits[network * explained->class_count + index]);
    results_csv_write_number(file, explained->scores[network * explained->class_count + index]);
}

static void write_row(results_csv_writer *writer, const explained_input *explained, const explained_pair *pair,
                      int network)
{
    const explained_run *run = writer->run;
    const explained_map *map = &pair->maps[network];
    FILE *file = writer->output.file;
    results_csv_write_text(file, explained->file);
    if (explained->index >= 0) {
        fprintf(file, ",%lld,", (long long)explained->index);
    } else {
        fputs(",,", file);
    }
    results_csv_write_text(file, explained->name);
    fprintf(file, ",%s,%s,", explained_networks[network], explained_method(run, pair->method)->name);
    if (run->methods[pair->method].options) { results_csv_write_text(file, run->methods[pair->method].options); }
    write_class(file, run, explained, network, pair->target.class_index);
    if (pair->target.contrast) {
        write_class(file, run, explained, network, pair->target.against);
    } else {
        fputs(",,,,", file);
    }
    for (int i = 0; i < run->metric_count; i++) { results_csv_write_number(file, map->values[i]); }
    results_csv_write_number(file, map->delta);
    fputc(',', file);
    results_csv_write_text(file, map->array);
    fputc('\n', file);
}

void results_csv_add(results_csv_writer *writer, const explained_input *explained)
{
    for (int i = 0; i < explained->pair_count; i++) {
        const explained_pair *pair = &explained->pairs[i];
        for (int network = 0; network < NETWORKS; network++) {
            if (pair->maps[network].present) { write_row(writer, explained, pair, network); }
        }
    }
}

spade_status results_csv_commit(results_csv_writer *writer)
{
    return spade_output_commit(writer->run->context, &writer->output);
}

void results_csv_abort(results_csv_writer *writer)
{
    spade_output_abort(&writer->output);
}
