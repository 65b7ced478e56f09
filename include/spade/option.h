/*
 * spade/option.h - options of methods and metrics: what a row of their tables says of each.
 *
 * Methods and metrics are made from text, the same on the command line, in YAML and here: NAME[:OPTION=VALUE]...
 * Options that are not named have their defaults. A value ends at the next colon, except that
 *   - a value in quotes ("..." or '...') is taken literally, colons and commas included;
 *   - a colon before a whole number belongs to the value: layer=features.3:17 is channel 17 of features.3;
 *   - of=, the method inside of a method, takes the rest of the text, if it is not in quotes:
 *     smooth:samples=10:of=gradcam:layer=layer3, or smooth:of="gradcam:layer=layer3":samples=10.
 */
#ifndef SPADE_OPTION_H
#define SPADE_OPTION_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum spade_option_type {
    SPADE_OPTION_INTEGER, /* a whole number from min to max */
    SPADE_OPTION_REAL,    /* a number from min to max, with a point: 0.15 */
    SPADE_OPTION_WORD,    /* one of `words` */
    SPADE_OPTION_LAYER,   /* name of a layer or node, or NAME:INDEX where a channel or unit of it is meant */
    SPADE_OPTION_FILE,    /* path */
    SPADE_OPTION_METHOD,  /* a method with its options, as it is written elsewhere */
    SPADE_OPTION_BASELINE /* a number from min to max, one of `words`, or a path: what a picture is compared with */
} spade_option_type;

typedef struct spade_option_info {
    const char *name; /* "samples" */
    const char *help; /* one line */
    spade_option_type type;
    double min, max;           /* INTEGER, REAL, BASELINE; both are allowed values */
    const char *words;         /* WORD, BASELINE: "logits|scores"; else NULL */
    const char *default_value; /* as it would be written; NULL: none */
    /* Another option that decides whether this one is read: "superpixels=slic": only with that word, or one of several behind |;
     * "!segmentation": only where that one is not given; NULL: always. Text that sets an option which is not read is refused. */
    const char *read_with;
} spade_option_info;

#ifdef __cplusplus
}
#endif
#endif
