/*
 * partial_select.h - the lowest scores of a block, with the tie rule of the solvers.
 *
 * Scores of a block lie in groups of `lanes` rows: [groups][columns][lanes], groups = ceil(rows / lanes); row r, column
 * c is number (r / lanes * columns + c) * lanes + r % lanes. The places of rows that do not exist hold INFINITY. Masks
 * have the same layout. (lanes = rows: one column of the weight after the other.)
 */
#ifndef SPADE_SELECT_H
#define SPADE_SELECT_H

#include <stdint.h>

/*
 * Mark the `count` lowest scores with 1, the rest with 0. Ties: lower row, then lower column. scratch: as many numbers
 * as scores, and SPADE_SELECT_MORE. 0 <= count <= rows * columns. Scores are not negative.
 */
enum { SPADE_SELECT_MORE = 8 };
void spade_select_lowest(const double *scores, int64_t rows, int64_t columns, int64_t lanes, int64_t count,
                         double *scratch, uint8_t *mask);

/*
 * n:m: mark in each row all but the `keep` highest scores; of equal ones the lower columns are marked.
 */
void spade_select_rows(const double *scores, int64_t rows, int64_t columns, int64_t lanes, int64_t keep, uint8_t *mask);

#endif
