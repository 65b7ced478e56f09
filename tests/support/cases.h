/*
 * cases.h - random descriptions of every operation, random data for them, and one run of such a case on a
 * device.
 */
#ifndef HELPER_CASES_H
#define HELPER_CASES_H

#include "support/random.h"
#include "support/reference.h"

/* Cases that a test draws: `usual` many, or as SPADE_TEST_CASES says. */
int case_count(int usual);

/* What the tests know about each operation. */
typedef struct case_kind {
    const char *name;
    spade_op_kind kind;
    spade_op_desc (*draw)(random_stream *random, spade_op_kind kind);
    double tolerance; /* a result may differ by tolerance + epsilon * |reference| */
    double epsilon;
} case_kind;
extern const case_kind case_kinds[];
extern const int case_kind_count;

/* Host data of one case, row-major; owned. CONCAT: y is what the result's memory holds before. */
typedef struct case_data {
    float *a, *b, *bias, *weights, *row_scale, *y, *dy;
    float *operands[SPADE_POINTWISE_STEPS];
    spade_sparse_rows rows; /* AXIS_MAP */
} case_data;
/* Rows of the operation's weights, and their columns; 0 where it has none. */
int64_t case_weight_rows(const spade_op_desc *desc, int64_t *columns);
void case_data_draw(random_stream *random, const spade_op_desc *desc, case_data *out);
void case_data_clear(case_data *data);
reference_args case_reference(const case_data *data);

/*
 * Plan, pack and run on a device; out: host, row-major, [reference_size]. Tensors go up in their layouts. Max pooling's
 * backward runs the forward pass before. The result's memory is filled with NaN first, so that unwritten elements show.
 */
spade_status case_run(spade_device *device, const spade_op_desc *desc, const case_data *data, float *out);
/* A chain that writes over x (0) or over the operand of step over - 1, which lies as the result does. */
spade_status case_run_in_place(spade_device *device, const spade_op_desc *desc, const case_data *data, int over,
                               float *out);

#endif
