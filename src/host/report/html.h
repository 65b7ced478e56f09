/* html.h - inside of the HTML report: html.c keeps the files, html_parts.c writes what stands around the cards, card.c the
 * card of one input. */
#ifndef SPADE_REPORT_HTML_H
#define SPADE_REPORT_HTML_H

#include "report/report.h"

enum { HTML_MAX_FAILURES = 1000 }; /* that are written out */

/* How dense and trace compare, per metric and method: over maps with a value for both. */
typedef struct method_tally {
    int64_t maps, wins, ties, losses; /* of the trace */
    double sum[NETWORKS];
} method_tally;

struct html_report {
    const explained_run *run;
    bool embedded;         /* one file, the pictures in it; else an index, and pages that show pictures beside them */
    int64_t inputs, pages; /* in all, as announced */
    int64_t added, page;   /* records so far; pages written so far */
    FILE *cards;           /* anonymous temporary file with the cards of the page at hand */
    FILE *rows;            /* likewise, the pages in the index */
    FILE *changed_rows;    /* likewise, inputs whose trace does not decide as the dense network does, in the index */
    FILE *failures;        /* likewise, list items */
    bool both;             /* maps of both networks */
    int64_t failed, compared, changed, fell;
    int64_t page_changed; /* of the page at hand */
    int64_t page_fell;    /* likewise */
    char *first_name;     /* of the page at hand */
    bool contrasts;       /* there are maps of a class against another */
    explained_promises promises;
    method_tally *tallies; /* [metrics][methods] of the run */
    /* Of evaluate: the traces, whose parts of the page have the classes c1, c2, ... */
    const char *const *traces; /* [trace_count] */
    int trace_count;
};

static inline method_tally *html_tally(const html_report *report, int metric, int method)
{
    return &report->tallies[metric * report->run->method_count + method];
}

/* ---- html_parts.c */
/* The model's file, without its folder. */
const char *html_model_name(const html_report *report);
/* title: what stands in the browser's tab before the model's name. */
void html_write_begin(FILE *file, const html_report *report, const char *title);
void html_write_end(FILE *file);
/* What is explained and how dense and trace compare in all. */
void html_write_summary(FILE *file, const html_report *report);
/* What the colours mean. scales: which maps share one, a sentence or more. */
spade_status html_write_legend(FILE *file, const html_report *report, const char *scales);
/* In one line: how many maps do not keep what their methods promise. Nothing where that was not asked. */
void html_write_promises(FILE *file, const html_report *report);
/* Of several methods: boxes to tick, which of them, and of which network, are shown. The style sheet does it, no script: what is
 * of a method has the class mNUMBER, what is of a network dense or trace, what is of one of several traces cNUMBER. */
void html_write_choice(FILE *file, const html_report *report);
/* done: "explained", what should have been done with them. */
void html_write_failures(FILE *file, const html_report *report, const char *done);
spade_status html_write_configuration(FILE *file, const html_report *report);
/* Behind a click. */
spade_status html_write_settings(FILE *file, spade_context *context, const json_t *configuration);
/* All that was written to `from` so far. */
void html_append(FILE *to, FILE *from);

/* ---- card.c */
/* Which of two values beside each other is marked: 1: the trace's, -1: the dense network's. None where both print the same; what is
 * counted as better is compare_values()'s (statistics.h). */
int html_compare_printed(const spade_metric_info *metric, double dense, double trace);
/* A metric for reading: "ROC AUC", "pointing game (tolerance=2)". */
void html_write_metric(FILE *file, const spade_metric_choice *metric);
/* A method for reading: "integrated gradients", "smoothgrad 2 (samples=25)". */
void html_write_method(FILE *file, const spade_method_choice *method);
/* What a map explains: explained_target_text(). */
void html_write_target(FILE *file, const explained_run *run, const spade_target *target);
/* A picture of the output folder: in the file, or a link to it. `relative`: as records have it. */
spade_status html_write_image(FILE *file, const html_report *report, const char *relative, const char *text);
/* A link to it; up: "../" in a page. */
void html_write_link_image(FILE *file, const char *up, const char *relative, const char *text);
spade_status html_write_card(FILE *file, const html_report *report, const explained_input *explained);

/* ---- card_check.c: what explained_map.check says */
/* Under a map: does it keep what its method promises? check NULL: nothing. */
void html_write_marks(FILE *file, const json_t *check);
/* At the end of a card: sums, and where relevance goes. */
void html_write_checks(FILE *file, const html_report *report, const explained_input *explained);

#endif
