/* check_report.h - check.html: the maps of each input while layers are randomised, in rows of pictures. */
#ifndef SPADE_REPORT_CHECK_REPORT_H
#define SPADE_REPORT_CHECK_REPORT_H

#include "report/report.h"

typedef struct check_report {
    const explained_run *run; /* borrowed: context, folder, model, settings, methods */
    FILE *cards;              /* anonymous temporary file */
    int64_t inputs, failed;
    FILE *failures; /* likewise, list items */
    bool stopped;   /* before the last input */
    bool contrasts; /* there are maps of a class against another */
    explained_promises promises;
} check_report;

spade_status check_report_open(const explained_run *run, check_report *out);
/* A result of spade_check(), whose pictures are in the folder. */
spade_status check_report_add(check_report *report, const json_t *result);
/* An input that could not be checked, by its message. */
void check_report_add_failure(check_report *report, const char *message);
/* FOLDER/check.html */
spade_status check_report_save(check_report *report);
void check_report_close(check_report *report); /* safe after a failed open */

#endif
