/*
 * evaluate_report.h - report.html of evaluate: what was compared, a table for each metric, and a gallery. One file that opens
 * anywhere, its pictures in it; no times, so that the same results make the same bytes.
 *
 *   open; write_begin; for each pair of the gallery begin_pair, for both lists begin_list, its shots, end_list, then end_pair;
 *   write_end; close
 */
#ifndef SPADE_REPORT_EVALUATE_REPORT_H
#define SPADE_REPORT_EVALUATE_REPORT_H

#include "report/report.h"

/* Everything but `failures` is borrowed. */
typedef struct evaluate_report {
    const explained_run *run;
    const char *manifest;
    const char *const *columns; /* [column_count]: names of the networks */
    const char *const *found;   /* [column_count]: how each trace is found */
    int column_count;
    const json_t *summary;  /* spade_evaluate()'s; NULL: nothing was done */
    bool contrasts;         /* maps of a class against another */
    bool masks;             /* pictures have some */
    bool gallery;           /* there is one */
    int metric;             /* of the run: by which it is sorted */
    const json_t *warnings; /* texts, of what was made for all pictures; NULL: none */
    FILE *failures;         /* anonymous temporary file, list items */
    int64_t failed;
} evaluate_report;

/* A picture of the gallery. */
typedef struct evaluate_png {
    const uint8_t *data; /* NULL: none */
    size_t size;
} evaluate_png;
typedef struct evaluate_shot {
    const json_t *record; /* its line of results.jsonl */
    int method, column;   /* 0: of the dense network alone */
    int number;           /* of the picture: the same in all its shots */
    bool again;           /* there was a shot of it before */
    evaluate_png picture, maps[NETWORKS];
} evaluate_shot;

/* After the members are set. */
spade_status evaluate_report_open(evaluate_report *report);
void evaluate_report_close(evaluate_report *report);
/* A picture that could not be evaluated, by its message. */
void evaluate_report_add_failure(evaluate_report *report, const char *message);

spade_status evaluate_report_write_begin(const evaluate_report *report, FILE *file);
void evaluate_report_begin_pair(const evaluate_report *report, FILE *file, int method, int column);
/* worst: of the pictures that the trace makes worse; count: shots that follow */
void evaluate_report_begin_list(FILE *file, int column, bool worst, int count);
void evaluate_report_write_shot(const evaluate_report *report, FILE *file, const evaluate_shot *shot);
void evaluate_report_end_list(FILE *file);
void evaluate_report_end_pair(FILE *file);
/* missing: names of pictures whose maps are not there any more; many: how many more there are */
spade_status evaluate_report_write_end(const evaluate_report *report, FILE *file, const json_t *missing, int64_t many);

#endif
