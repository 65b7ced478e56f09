/* imputation.h - pixels as weighted means of their neighbours: what ROAD puts in the place of those that it takes. */
#ifndef SPADE_METRIC_IMPUTATION_H
#define SPADE_METRIC_IMPUTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of scratch for a picture of so many pixels. */
size_t imputation_bytes(int64_t pixels);

/*
 * image [channels, height, width]: each pixel whose `keep` [height, width] is 0 becomes the mean of its neighbours, of which those
 * above, below and beside count 1/6 and those at its corners 1/12, and which may be such pixels themselves; at the border, of
 * those that there are. False: nothing is kept, or the system was not solved.
 */
bool impute_linear(float *image, int64_t channels, int64_t height, int64_t width, const uint8_t *keep, void *scratch);

#endif
