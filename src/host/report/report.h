/* report.h - records written down: results.json and report.html. */
#ifndef SPADE_REPORT_REPORT_H
#define SPADE_REPORT_REPORT_H

#include "report/record.h"

/* ---- json.c. New references; NULL when out of memory. */
/* An input as it stands in results.json. */
json_t *explained_json(const explained_run *run, const explained_input *explained);
/* The whole of results.json: explained, failed are its lists of inputs. */
json_t *results_json(const explained_run *run, json_t *explained, json_t *failed);

/* ---- html.c: the page, written input by input so that memory does not grow with their number */
typedef struct html_report html_report;
/* The run is borrowed until the report is closed. */
spade_status html_report_open(const explained_run *run, html_report **out);
spade_status html_report_add(html_report *report, const explained_input *explained);
void html_report_add_failure(html_report *report, const char *message);
/* Put the page together and write it. */
spade_status html_report_save(html_report *report, const char *path);
void html_report_close(html_report *report); /* NULL is fine */

#endif
