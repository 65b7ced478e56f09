/*
 * class_choice.h - what is explained, as --class says it: a class, or with A-B a class against another.
 *
 * A class is a number, a name, or `top` or `second`: those of the two highest logits, which are known when the dense network
 * has seen the picture. A number is always a number, and those two words are these. Any other text is the name of a class if
 * one is called so; else it is A-B, cut at the hyphen on both sides of which a class stands. A class is called by its whole
 * name, or by what stands before the name's first comma where no whole name is the text; upper and lower case are the same.
 */
#ifndef SPADE_REPORT_CLASS_CHOICE_H
#define SPADE_REPORT_CLASS_CHOICE_H

#include "report/record.h"

typedef enum class_rank { CLASS_BY_INDEX, CLASS_TOP, CLASS_SECOND } class_rank;

typedef struct class_term {
    class_rank rank;
    int64_t index; /* of CLASS_BY_INDEX, else 0 */
} class_term;

enum { CLASS_LABEL_SIZE = 48 };
typedef struct class_choice {
    class_term of, against; /* against: of a contrast */
    bool contrast;
    char label[CLASS_LABEL_SIZE]; /* in file names: "281", "281-282", "top-3" */
} class_choice;

/* texts: those of the setting `classes`; out [texts->count]. SPADE_ERROR_ARGUMENT names the text: no such class, several
 * of that name, several ways to cut it, a class against itself, the same twice. */
spade_status class_choices_read(spade_context *context, const spade_names *texts, const class_names *names,
                                class_choice *out);
/* The class of a label: its number or its name, as in texts of --class. SPADE_ERROR_INPUT: there is none; SPADE_ERROR_ARGUMENT: it
 * may be several, by their names or as the number of one and the name of another. */
spade_status class_of_label(spade_context *context, const char *label, const class_names *names, int64_t *out);
/* For a picture, by its logits [classes], 2 or more. SPADE_ERROR_INPUT: of this picture it is a class against itself. */
spade_status class_choice_target(spade_context *context, const class_choice *choice, const double *logits,
                                 int64_t classes, spade_target *out);

#endif
