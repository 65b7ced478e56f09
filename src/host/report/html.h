/* html.h - inside of the HTML report: html.c writes the page, card.c the card of one input. */
#ifndef SPADE_REPORT_HTML_H
#define SPADE_REPORT_HTML_H

#include "report/report.h"

/* How dense and trace compare, per method: over maps with a ROC AUC for both. */
typedef struct method_tally {
    int maps, wins, ties, losses; /* of the trace */
    double sum[NETWORKS];
} method_tally;

struct html_report {
    const explained_run *run;
    FILE *cards;    /* anonymous temporary file with the cards so far */
    FILE *failures; /* likewise, list items */
    int inputs, failed, compared, changed;
    bool is_signed, is_unsigned; /* kinds of maps seen: what the legend has to explain */
    method_tally *tallies;       /* [methods of the run] */
};

/* The sign of trace - dense, of the values as they are printed: two that print the same are the same. */
int html_compare_auc(double dense, double trace);
/* A method for reading: "integrated gradients", "smoothgrad 2 (samples=25)". */
void html_write_method(FILE *file, const spade_method_choice *method);
void html_write_card(FILE *file, const explained_run *run, const explained_input *explained);

#endif
