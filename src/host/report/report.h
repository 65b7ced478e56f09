/* report.h - records written down: results.json, results.csv and report.html. */
#ifndef SPADE_REPORT_REPORT_H
#define SPADE_REPORT_REPORT_H

#include "report/record.h"

/* ---- json.c */
/* What all inputs have in common, as results begin with it. New references; NULL when out of memory. */
json_t *run_json(const explained_run *run);
/* A class: {"class", "name"}. */
json_t *explained_class_json(const explained_run *run, int64_t index);
/* What a map is of, as its record begins: {"class", "name", "method"}, of a contrast also "against", "against_name", and
 * "options" where some were given. */
json_t *explained_map_json(const explained_run *run, int method, const spade_target *target);
/* Of its trace: zeros, weights, and how the sparsity was chosen where it was. */
json_t *explained_sparsity_json(const explained_input *explained);
/* And back. False: of classes that the network has not. */
bool explained_parse_target(const explained_run *run, const json_t *map, spade_target *out);
/* An input as it stands in results.jsonl and results.json. */
json_t *explained_json(const explained_run *run, const explained_input *explained);
/* The record of a line of results.jsonl, without its seconds and fingerprints. Its file and name are the JSON's; cleared
 * by the caller after success. SPADE_ERROR_INPUT: it is none, or of another run. */
spade_status explained_parse(const explained_run *run, const json_t *record, explained_input *out);

/* results.json, a record at a time: list("inputs"), its records, list("failed"), its records, commit (or abort). */
typedef struct results_json_writer {
    spade_context *context;
    spade_output output;
    bool list; /* one is open */
    int64_t count;
} results_json_writer;
/* header: the first line of results.jsonl, whose members come first */
spade_status results_json_open(spade_context *context, const char *path, const char *header, results_json_writer *out);
void results_json_list(results_json_writer *writer, const char *name);
void results_json_add(results_json_writer *writer, const char *record); /* a line of results.jsonl */
spade_status results_json_commit(results_json_writer *writer);
void results_json_abort(results_json_writer *writer); /* safe after a commit or a failed open */

/*
 * ---- csv.c: results.csv (RFC 4180), a line for each map of each network. It is made for spreadsheets, too, and names are from
 * outside: before a text that begins with =, +, -, @ or ' stands one ' more. Without it the text is what results.json has.
 */
/* A cell's text, and a comma with a number behind it, or with nothing where it is not finite. */
void results_csv_write_text(FILE *file, const char *text);
void results_csv_write_number(FILE *file, double value);
typedef struct results_csv_writer {
    const explained_run *run;
    spade_output output;
} results_csv_writer;
spade_status results_csv_open(const explained_run *run, const char *path, results_csv_writer *out);
void results_csv_add(results_csv_writer *writer, const explained_input *explained);
spade_status results_csv_commit(results_csv_writer *writer);
void results_csv_abort(results_csv_writer *writer); /* safe after a commit or a failed open */

/*
 * ---- html.c: report.html. A few inputs are one file that opens anywhere, their pictures in it; more are an index in
 * report.html and pages in report/, which show the pictures beside them. Memory does not grow with their number.
 */
enum { HTML_INPUTS_PER_PAGE = 100 };
typedef struct html_report html_report;
/* inputs: how many will be added; picture_bytes: of all their PNG files. The run is borrowed until the report is closed. */
spade_status html_report_open(const explained_run *run, int64_t inputs, uint64_t picture_bytes, html_report **out);
spade_status html_report_add(html_report *report, const explained_input *explained);
void html_report_add_failure(html_report *report, const char *message);
/* Put it together, and remove pages of an earlier, longer report. */
spade_status html_report_save(html_report *report);
void html_report_close(html_report *report); /* NULL is fine */
/* Remove report.html and its pages from a folder of results, where they are no longer true. */
spade_status html_report_remove(const explained_run *run);

#endif
