/* manifest.h - a data set: pictures with labels and, where maps are to be measured against them, masks. */
#ifndef SPADE_WORKLOAD_MANIFEST_H
#define SPADE_WORKLOAD_MANIFEST_H

#include "workload/inputs.h"

/*
 * Either a CSV file (RFC 4180; UTF-8, a BOM is fine) whose first line names the columns: `image`, and where they are given `label`
 * and `mask`; other columns are warned about. Paths are relative to the file. Or a folder with a folder for each class, as PyTorch's
 * ImageFolder has it: label: the class's folder. *folders: how many there are, also without pictures; 0: it is a CSV file.
 *
 * Inputs with their labels and masks; pictures that are not there become inputs with an error. SPADE_ERROR_INPUT: the file is no
 * manifest, and why, by line.
 */
spade_status spade_manifest_read(spade_context *context, const char *path, spade_inputs *out, int64_t *folders);

#endif
