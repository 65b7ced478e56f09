/*
 * helper_cases.h - random descriptions of every operation, random data for them, and one run of such a case on a
 * device.
 */
#ifndef HELPER_CASES_H
#define HELPER_CASES_H

#include "helper_reference.h"

/* A stream of random numbers: Philox under a key of its own. */
typedef struct random_stream {
    uint32_t key, counter;
} random_stream;
int64_t random_int(random_stream *random, int64_t low, int64_t high); /* in [low, high] */
bool random_bool(random_stream *random);
float random_float(random_stream *random); /* in [-1, 1) */

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

/* Host data of one case, row-major; owned. */
typedef struct case_data {
    float *a, *b, *bias, *weights, *row_scale, *y, *dy;
    float *operands[SPADE_CHAIN_STAGES];
} case_data;
void case_data_draw(random_stream *random, const spade_op_desc *desc, case_data *out);
void case_data_clear(case_data *data);
reference_args case_reference(const case_data *data);

/*
 * Plan, pack and run on a device; out: host, row-major, [reference_size]. Tensors go up in their layouts. Max pooling's
 * backward runs the forward pass before. The result's memory is filled with NaN first, so that unwritten elements show.
 */
spade_status case_run(spade_device *device, const spade_op_desc *desc, const case_data *data, float *out);
/* A chain that writes over x (0) or over the operand of stage over - 1, which lies as the result does. */
spade_status case_run_in_place(spade_device *device, const spade_op_desc *desc, const case_data *data, int over,
                               float *out);

#endif
