/* html.h - inside of the report, shared by its two files. */
#ifndef SPADE_WORKLOAD_REPORT_H
#define SPADE_WORKLOAD_REPORT_H

#include "workload/explain.h"

/* How dense and trace compare, per method: over maps with a ROC AUC for both. */
typedef struct method_tally {
    int maps, wins, ties, losses; /* of the trace */
    double sum[NETWORKS];
} method_tally;

struct report {
    const explain_job *job;
    FILE *cards;    /* anonymous temporary file with the cards so far */
    FILE *failures; /* likewise, list items */
    int inputs, failed, compared, changed;
    bool is_signed, is_unsigned; /* kinds of maps seen: what the legend has to explain */
    method_tally tally[SPADE_METHOD_COUNT];
};

/* Two values that print the same are the same. */
int compare_auc(double dense, double trace);
/* The method's name for reading: "integrated gradients". */
void report_write_method(FILE *file, spade_method method);
/* report_card.c: one input. */
void report_write_card(FILE *file, const explain_job *job, const explained_input *explained);

#endif
