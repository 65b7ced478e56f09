/*
 * fourier.h - a picture by its Fourier coefficients, on the device.
 *
 * spectrum [channels, height, 2 * frequencies]: of each frequency down (a row) the real parts of the frequencies across, then
 * their imaginary parts, as the transform of real numbers has them (frequencies = width / 2 + 1). The picture is its inverse
 * transform, unitary, over 4, which Lucid found to saturate less. Both transforms are matrix products with cosines and sines:
 *
 *   G [2 height, 2 frequencies] = rows [2 height, height] S            rows: of each pixel row its cosines, then its sines
 *   x [height, width] = G as [height, 4 frequencies], columns [4 frequencies, width]
 */
#ifndef SPADE_VISUALIZE_FOURIER_H
#define SPADE_VISUALIZE_FOURIER_H

#include "backend/backend.h"

typedef struct visualize_fourier {
    spade_device *device;
    int64_t channels, height, width, frequencies;
    spade_op *rows_op, *columns_op, *columns_back_op, *rows_back_op;
    float *rows, *columns; /* device */
    float *between;        /* G, and its gradient */
    void *workspace;
    size_t workspace_bytes;
} visualize_fourier;

spade_status visualize_fourier_create(spade_context *context, int64_t channels, int64_t height, int64_t width,
                                      visualize_fourier *out);
void visualize_fourier_clear(visualize_fourier *fourier);         /* all zero is fine */
int64_t visualize_fourier_size(const visualize_fourier *fourier); /* of a spectrum */
/* 1 / frequency of each coefficient, in cycles a pixel, that of the lowest one for the mean: scale [size], host. */
void visualize_fourier_scale(const visualize_fourier *fourier, float *scale);
/* x [channels, height, width] of a spectrum, and the gradient of a spectrum from that of x. */
spade_status visualize_fourier_inverse(const visualize_fourier *fourier, const float *spectrum, float *x);
spade_status visualize_fourier_gradient(const visualize_fourier *fourier, const float *x_gradient,
                                        float *spectrum_gradient);

#endif
