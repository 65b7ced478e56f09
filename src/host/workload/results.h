/*
 * results.h - what a command has found so far, in its output folder: results.jsonl. Its first line says with which version
 * and configuration, every other line is the record of one input, written as soon as the input is done. So a run that was
 * stopped, or killed, goes on where it was, and memory holds none of the records.
 *
 * A record is a JSON object with "file", "index" (of an entry of an array) and "name" (its folder), which say whose it is,
 * and "error" where the input could not be used: such an input is tried again by the next run. Strings in a record that
 * begin with NAME/, but for that of "file", are its files, relative to the folder.
 */
#ifndef SPADE_WORKLOAD_RESULTS_H
#define SPADE_WORKLOAD_RESULTS_H

#include "base/json.h"
#include "store/journal.h"
#include "workload/inputs.h"

typedef struct spade_results {
    spade_context *context;
    const char *folder;
    const spade_inputs *inputs;
    char *header;      /* the first line */
    char *path;        /* of results.jsonl */
    bool journal_made; /* by this run */
    int folders_made;  /* of the folder's path: that were not there before */
    int lock;
    spade_journal journal; /* not open until there is a record */
    int64_t *offsets;      /* [inputs->count]: where an input's line begins; -1: it has none */
    int64_t *forgotten;    /* [inputs->count]: where the line begins that `keep` did not want; -1: there is none */
    bool *failed;          /* [inputs->count]: the line says that the input could not be used */
    int64_t *others;       /* [other_count]: lines of inputs that are not among these */
    int other_count;
    bool in_order;     /* the journal holds the lines of the inputs in their order, and nothing else */
    int last_position; /* of the input whose line is the journal's last; -1: there is none */
} spade_results;

/* Does the record of the input still hold? A failure ends the opening. */
typedef spade_status (*spade_results_keep)(void *user, int position, const json_t *record, bool *holds);

/*
 * Makes the folder and looks for results in it. header: as it stands in the first line, the same for the same request;
 * its members "model" and "batch" are paths, which may differ. Records that `keep` does not want are forgotten: their
 * inputs have none, and of their files those that the new record does not name go when that is added. folder and inputs are
 * borrowed while the results are open.
 * SPADE_ERROR_ARGUMENT: the folder holds results of another configuration, which are named and stay as they are; with
 * `restart` they, and those of the same one, are removed with their files. SPADE_ERROR_IO: another process writes there.
 */
spade_status spade_results_open(spade_context *context, const char *folder, const json_t *header,
                                const spade_inputs *inputs, bool restart, spade_results_keep keep, void *user,
                                spade_results *out);
/* The inputs without a record: *out has a list of its own, to be freed, of items that are the results'. */
spade_status spade_results_remaining(const spade_results *results, spade_inputs *out);
/* The record of an input, as it stands in its line and parsed: malloc'ed and a new reference, NULL where there is none. */
spade_status spade_results_get(const spade_results *results, int position, char **line, json_t **record);
/* Every record, in the inputs' order: of inputs that were done, or with `failed` of those that could not be used. Its line and the
 * record are borrowed. Ends with the first status that is not SPADE_OK. */
typedef spade_status (*spade_results_visit)(void *user, const char *line, const json_t *record);
spade_status spade_results_each(const spade_results *results, bool failed, spade_results_visit visit, void *user);
/* Are the files that the record names there, arrays as long as their shapes ask, pictures not empty? */
bool spade_results_has_files(const spade_results *results, const json_t *record);
spade_status spade_results_add(spade_results *results, int position, const json_t *record);
/* The record of an input that could not be used. */
spade_status spade_results_add_failure(spade_results *results, const spade_input *input, const char *message);
/* After the last input: results.jsonl without lines that were forgotten or failed before, the inputs in their order. */
spade_status spade_results_finish(spade_results *results);
/* A new results.jsonl that holds nothing but failures is removed again, and so is a new folder with nothing in it. Also of
 * results that are not open. */
void spade_results_close(spade_results *results);

#endif
