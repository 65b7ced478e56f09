/*
 * select.h - the lowest scores of a block, with the tie rule of the solvers.
 */
#ifndef SPADE_SELECT_H
#define SPADE_SELECT_H

#include <stdint.h>

/*
 * Mark the `count` lowest of the scores [columns, rows] (one column of the weight after the other) in mask [columns,
 * rows] with 1, the rest with 0. Ties: lower row, then lower column. scratch: [columns * rows]. 0 <= count <= columns *
 * rows.
 */
void spade_select_lowest(const double *scores, int64_t rows, int64_t columns, int64_t count, double *scratch,
                         uint8_t *mask);

/*
 * n:m: mark in each row all but the `keep` highest of the scores [columns, rows]; of equal ones the lower columns are
 * marked.
 */
void spade_select_rows(const double *scores, int64_t rows, int64_t columns, int64_t keep, uint8_t *mask);

#endif
