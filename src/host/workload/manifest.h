/* manifest.h - a data set: pictures with labels and, where maps are to be measured against them, masks. */
#ifndef SPADE_WORKLOAD_MANIFEST_H
#define SPADE_WORKLOAD_MANIFEST_H

#include "base/json.h"
#include "store/sha256.h"
#include "workload/inputs.h"
#include "workload/samples.h"

/*
 * Either a CSV file (RFC 4180; UTF-8, a BOM is fine) whose first line names the columns: `image`, and where they are given `label`
 * and `mask`; other columns are warned about. Paths are relative to the file. Or a folder with a folder for each class, as PyTorch's
 * ImageFolder has it: label: the class's folder. *folders: how many there are, also without pictures; 0: it is a CSV file.
 *
 * Inputs with their labels and masks; pictures that are not there become inputs with an error. SPADE_ERROR_INPUT: the file is no
 * manifest, and why, by line.
 */
spade_status spade_manifest_read(spade_context *context, const char *path, spade_inputs *out, int64_t *folders);

/*
 * The same for bulk work: every column is kept, inputs have no names, and whether a picture is there is found when it is read. A
 * folder may hold pictures itself, without labels, where no folder in it holds one. Or tars of samples as WebDataset has them
 * (samples.h), of which only the rows that are at work are in memory.
 */
typedef enum spade_manifest_kind { SPADE_MANIFEST_CSV, SPADE_MANIFEST_TREE, SPADE_MANIFEST_TARS } spade_manifest_kind;
extern const char *const spade_manifest_kinds[]; /* "csv", "tree", "tars" */
typedef struct spade_manifest {
    spade_manifest_kind kind;
    int64_t count;       /* rows */
    bool masks;          /* some have one */
    spade_inputs inputs; /* [count]; of tars none */
    int64_t folders;
    size_t path_length; /* of a tree: what its pictures' paths begin with */
    char sha256
        [SPADE_SHA256_SIZE]; /* of a CSV file its bytes'; of a tree of its pictures' paths from the folder on, each a line; of tars
                                       of their names and sizes, and those of their members */
    char *text;              /* of a CSV file, as it was read; the first line is cut into cells */
    char **columns; /* [column_count]: their names, in text; image, label and mask however the file writes them */
    int column_count;
    size_t *rows;          /* [count]: where in text each begins */
    spade_samples samples; /* of tars */
} spade_manifest;
/* store: where an earlier run may have kept what it found in the tars, NULL: nowhere. */
spade_status spade_manifest_open(spade_context *context, const char *path, const char *store, spade_manifest *out);
/* For later runs, what it took long to find. */
void spade_manifest_keep(const spade_manifest *manifest, const char *store);
/* A row as an input: what it points to is the manifest's, until the row is released. Rows in order are read fastest. */
spade_status spade_manifest_take(spade_manifest *manifest, int64_t row, spade_input *out);
void spade_manifest_release(spade_manifest *manifest, int64_t row);
/* A row's columns in their order, as texts: of a tree "image" and, where there are classes, "label". A new reference.
 * Of tars only of a row that was taken. */
spade_status spade_manifest_row(spade_context *context, const spade_manifest *manifest, int64_t row, json_t **out);
void spade_manifest_close(spade_manifest *manifest);

#endif
