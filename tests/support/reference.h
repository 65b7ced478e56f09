/*
 * reference.h - what each operation means, in loops that anyone can read: float64, row-major, one element after
 * another.
 */
#ifndef HELPER_REFERENCE_H
#define HELPER_REFERENCE_H

#include "backend/backend.h"

/* Host arrays, row-major as the description's dims say. Unused ones are NULL. */
typedef struct reference_args {
    const float *a, *b;
    const float *bias;
    const float *weights;   /* [rows, columns] as `pack` takes them */
    const float *row_scale; /* [rows] or NULL */
    const float *y, *dy;    /* backward kinds; CONCAT: what y was before */
    const float *operands[SPADE_POINTWISE_STEPS];
    spade_sparse_rows rows; /* AXIS_MAP */
} reference_args;

/* An elementwise function in float64, written down independently of backend/functions.h. One row for each: test_pointwise
 * fails where one is missing. */
typedef struct reference_function {
    double (*value)(double x, double alpha, double beta);
    double (*derivative)(double x, double alpha, double beta);
    float alpha, beta; /* parameters that the tests use */
    bool steep;        /* magnifies errors of what goes in, or jumps: not between other steps */
} reference_function;
extern const reference_function reference_functions[SPADE_FUNCTION_COUNT];

/* LAYER_NORM*: elements of the axes that are normalised over, so of a row. */
int64_t reference_row_length(const spade_op_desc *desc);
/* Elements of the operation's result: of a for the backward kinds that give dx, else of y. */
int64_t reference_size(const spade_op_desc *desc);
/* Kinds that read x and its partner. */
bool reference_is_pair(const spade_op_desc *d);
bool reference_is_backward(const spade_op_desc *desc);
/* out [reference_size] */
void reference_run(const spade_op_desc *desc, const reference_args *args, double *out);
/* Where element `index` of a row-major tensor of this shape lies in the shape's layout. */
int64_t reference_position(const spade_shape *shape, int64_t index);

#endif
