/*
 * test_shapes_devices.c - every operation on every backend present, on chosen shapes: those of real networks (long softmax
 * lines, whole images, attention's batches), 8 axes, and corners at which a backend changes its way (multiples of 4,
 * sums cut into pieces, windows of more than 255 positions).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/cases.h"
#include "support/devices.h"

static const char *const devices[] = {"cpu", "cuda"};
enum { DEVICE_COUNT = sizeof devices / sizeof *devices };
#define LAST SPADE_CHANNELS_LAST
#define ROWS SPADE_ROW_MAJOR

#define STEM ((spade_window){{3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}})
#define LARGE ((spade_window){{20, 17}, {3, 2}, {1, 1}, {2, 3, 2, 3}})
#define DILATED ((spade_window){{3, 2}, {1, 2}, {2, 3}, {1, 0, 1, 1}})

#define DIMS(...)                                                                                                      \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
/* One step with an operand. */
#define CHAIN1(rank_, layout_, stage_, operand_rank, operand_layout, dims_, operand_dims)                              \
    {                                                                                                                  \
        .kind = SPADE_OP_POINTWISE, .a = {rank_, dims_, layout_}, .y = {rank_, dims_, layout_}, .step_count = 1,       \
        .steps = {                                                                                                     \
            {.kind = SPADE_POINTWISE_##stage_, .operand = {operand_rank, operand_dims, operand_layout}}                \
        }                                                                                                              \
    }
#define NORM_ADD_RELU(layout_, channels, height, width)                                                                \
    {                                                                                                                  \
        .kind = SPADE_OP_POINTWISE, .a = {4, {2, channels, height, width}, layout_},                                   \
        .y = {4, {2, channels, height, width}, layout_}, .step_count = 4, .steps = {                                   \
            {.kind = SPADE_POINTWISE_MULTIPLY, .operand = {3, {channels, 1, 1}, 0}},                                   \
            {.kind = SPADE_POINTWISE_ADD, .operand = {3, {channels, 1, 1}, 0}},                                        \
            {.kind = SPADE_POINTWISE_ADD, .operand = {4, {2, channels, height, width}, layout_}},                      \
            {.kind = SPADE_POINTWISE_FUNCTION, .function = SPADE_RELU}                                                 \
        }                                                                                                              \
    }
#define NORM(kind_, rank_, axis_, dims_)                                                                               \
    {                                                                                                                  \
        .kind = (kind_), .a = {rank_, dims_, 0}, .y = {rank_, dims_, 0}, .axis = (axis_), .epsilon = 1e-5f             \
    }
#define NORMS(kind_)                                                                                                   \
    NORM(kind_, 2, 1, DIMS(5, 1)), NORM(kind_, 2, 1, DIMS(9, 31)), NORM(kind_, 2, 1, DIMS(8, 32)),                     \
        NORM(kind_, 2, 1, DIMS(7, 33)), NORM(kind_, 3, 2, DIMS(2, 197, 768)), NORM(kind_, 2, 1, DIMS(3, 1000)),        \
        NORM(kind_, 2, 1, DIMS(3, 2048)), NORM(kind_, 2, 1, DIMS(3, 2049)), NORM(kind_, 4, 1, DIMS(2, 12, 20, 20)),    \
        NORM(kind_, 2, 1, DIMS(70000, 2)), NORM(kind_, 1, 0, DIMS(40)),                                                \
        NORM(kind_, 8, 6, DIMS(2, 1, 2, 1, 2, 3, 5, 7))
#define POOLS(kind_, layout_x, layout_y)                                                                               \
    {.kind = (kind_),                                                                                                  \
     .a = {4, {2, 8, 25, 21}, (layout_x)},                                                                             \
     .y = {4, {2, 8, 13, 11}, (layout_y)},                                                                             \
     .window = STEM,                                                                                                   \
     .pool_max = true},                                                                                                \
        {.kind = (kind_),                                                                                              \
         .a = {4, {2, 8, 25, 21}, (layout_x)},                                                                         \
         .y = {4, {2, 8, 13, 11}, (layout_y)},                                                                         \
         .window = STEM,                                                                                               \
         .count_padding = true},                                                                                       \
        {.kind = (kind_), .a = {4, {2, 6, 25, 21}, (layout_x)}, .y = {4, {2, 6, 13, 11}, (layout_y)}, .window = STEM}, \
        {.kind = (kind_),                                                                                              \
         .a = {4, {1, 3, 25, 21}, (layout_x)},                                                                         \
         .y = {4, {1, 3, 4, 6}, (layout_y)},                                                                           \
         .window = LARGE,                                                                                              \
         .pool_max = true},                                                                                            \
        {.kind = (kind_),                                                                                              \
         .a = {4, {3, 4, 9, 12}, (layout_x)},                                                                          \
         .y = {4, {3, 4, 7, 5}, (layout_y)},                                                                           \
         .window = DILATED,                                                                                            \
         .pool_max = true},                                                                                            \
    {                                                                                                                  \
        .kind = (kind_), .a = {4, {3, 5, 40, 52}, (layout_x)}, .y = {4, {3, 5, 1, 1}, (layout_y)}, .window = {         \
            {40, 52},                                                                                                  \
            {1, 1},                                                                                                    \
            {1, 1},                                                                                                    \
            {0, 0, 0, 0}                                                                                               \
        }                                                                                                              \
    }

#define PERMUTE(rank_, from, to, ...)                                                                                  \
    {                                                                                                                  \
        .kind = SPADE_OP_PERMUTE, .a = {rank_, from, 0}, .y = {rank_, to, 0}, .axes = { __VA_ARGS__ }                  \
    }
/* a along an axis of y, from a place on */
#define PART(kind_, rank_, layout_a, layout_y, dims_a, dims_y, axis_, start_)                                          \
    {                                                                                                                  \
        .kind = (kind_), .a = {rank_, dims_a, (layout_a)}, .y = {rank_, dims_y, (layout_y)}, .axis = (axis_),          \
        .start = (start_)                                                                                              \
    }
#define MAXIMA(kind_)                                                                                                  \
    {.kind = (kind_), .a = {3, {30, 21, 11}, 0}, .y = {3, {1, 1, 1}, 0}},                                              \
        {.kind = (kind_), .a = {4, {2, 20, 31, 29}, LAST}, .y = {4, {2, 1, 31, 29}, LAST}},                            \
        {.kind = (kind_), .a = {4, {2, 70, 9, 7}, LAST}, .y = {4, {2, 1, 9, 7}, ROWS}},                                \
        {.kind = (kind_), .a = {4, {2, 70, 9, 7}, ROWS}, .y = {4, {2, 70, 1, 1}, LAST}},                               \
        {.kind = (kind_), .a = {2, {40, 7}, 0}, .y = {2, {40, 1}, 0}},                                                 \
        {.kind = (kind_), .a = {2, {7, 4000}, 0}, .y = {2, {7, 1}, 0}},                                                \
    {                                                                                                                  \
        .kind = (kind_), .a = {5, {5, 6, 7, 4, 5}, 0}, .y = { 5, {1, 6, 1, 4, 1}, 0 }                                  \
    }

static const spade_op_desc shapes[] = {
    {.kind = SPADE_OP_LINEAR, .a = {2, {5, 512}, 0}, .y = {2, {5, 1000}, 0}, .relu = true},
    {.kind = SPADE_OP_LINEAR, .a = {3, {2, 49, 96}, 0}, .y = {3, {2, 49, 40}, 0}},
    {.kind = SPADE_OP_LINEAR_BACKWARD, .a = {2, {5, 512}, 0}, .y = {2, {5, 1000}, 0}},
    /* attention: scores of all heads; a batch against one matrix; axes that cross; a transposed batch against one */
    {.kind = SPADE_OP_MATMUL,
     .a = {4, {2, 3, 50, 16}, 0},
     .b = {4, {2, 3, 50, 16}, 0},
     .y = {4, {2, 3, 50, 50}, 0},
     .transpose_b = true},
    {.kind = SPADE_OP_MATMUL, .a = {4, {2, 3, 10, 16}, 0}, .b = {2, {16, 7}, 0}, .y = {4, {2, 3, 10, 7}, 0}},
    {.kind = SPADE_OP_MATMUL, .a = {4, {2, 1, 10, 16}, 0}, .b = {4, {1, 3, 16, 7}, 0}, .y = {4, {2, 3, 10, 7}, 0}},
    {.kind = SPADE_OP_MATMUL,
     .a = {3, {4, 16, 10}, 0},
     .b = {2, {16, 7}, 0},
     .y = {3, {4, 10, 7}, 0},
     .transpose_a = true},
    {.kind = SPADE_OP_MATMUL, .a = {2, {6, 8}, 0}, .b = {5, {2, 2, 1, 8, 9}, 0}, .y = {5, {2, 2, 3, 6, 9}, 0}},
    /* bias of a channel in both layouts, a residual, a scalar, an odd length, 8 axes, mixed layouts */
    CHAIN1(4, LAST, ADD, 3, 0, DIMS(2, 12, 9, 7), DIMS(12, 1, 1)),
    CHAIN1(4, ROWS, ADD, 3, 0, DIMS(2, 12, 8, 8), DIMS(12, 1, 1)),
    CHAIN1(4, LAST, MULTIPLY, 4, LAST, DIMS(2, 12, 8, 8), DIMS(2, 12, 1, 1)),
    CHAIN1(4, LAST, ADD, 4, LAST, DIMS(2, 8, 8, 8), DIMS(2, 8, 8, 8)),
    CHAIN1(4, LAST, ADD, 4, ROWS, DIMS(2, 8, 6, 4), DIMS(2, 8, 6, 4)),
    CHAIN1(2, ROWS, MULTIPLY, 0, 0, DIMS(40, 16), DIMS(0)),
    CHAIN1(1, ROWS, ADD, 1, 0, DIMS(1023), DIMS(1023)),
    CHAIN1(8, ROWS, MULTIPLY, 7, 0, DIMS(2, 3, 2, 3, 2, 2, 3, 4), DIMS(3, 1, 3, 1, 2, 1, 1)),
    {.kind = SPADE_OP_POINTWISE,
     .a = {2, {40, 1}, 0},
     .y = {2, {40, 16}, 0},
     .step_count = 1,
     .steps = {{.kind = SPADE_POINTWISE_ADD, .operand = {2, {1, 16}, 0}}}},
    {.kind = SPADE_OP_POINTWISE,
     .a = {8, {2, 1, 2, 3, 1, 2, 3, 4}, 0},
     .y = {8, {2, 3, 2, 3, 2, 2, 3, 4}, 0},
     .step_count = 1,
     .steps = {{.kind = SPADE_POINTWISE_ADD, .operand = {8, {1, 3, 2, 1, 2, 2, 1, 4}, 0}}}},
    /* normalisation, residual, relu; the gradient of a relu past a normalisation; tiles that end in a row */
    NORM_ADD_RELU(LAST, 12, 8, 8),
    NORM_ADD_RELU(ROWS, 13, 8, 8),
    NORM_ADD_RELU(ROWS, 6, 6, 5),
    NORM_ADD_RELU(LAST, 6, 6, 5),
    NORM_ADD_RELU(LAST, 68, 9, 7),
    NORM_ADD_RELU(ROWS, 5, 47, 53),
    {.kind = SPADE_OP_POINTWISE,
     .a = {4, {2, 12, 8, 8}, LAST},
     .y = {4, {2, 12, 8, 8}, LAST},
     .step_count = 2,
     .steps = {{.kind = SPADE_POINTWISE_DERIVATIVE, .operand = {4, {2, 12, 8, 8}, LAST}},
               {.kind = SPADE_POINTWISE_MULTIPLY, .operand = {3, {12, 1, 1}, 0}}}},
    /* one number; few results of many terms; the fastest axis kept or summed; alternating axes */
    {.kind = SPADE_OP_REDUCE_SUM, .a = {3, {30, 21, 11}, 0}, .y = {0}},
    {.kind = SPADE_OP_REDUCE_SUM, .a = {4, {8, 20, 31, 29}, LAST}, .y = {4, {1, 20, 1, 1}, LAST}},
    {.kind = SPADE_OP_REDUCE_SUM, .a = {4, {8, 20, 31, 29}, ROWS}, .y = {4, {1, 20, 1, 1}, LAST}},
    {.kind = SPADE_OP_REDUCE_SUM, .a = {2, {150, 40}, 0}, .y = {1, {40}, 0}},
    {.kind = SPADE_OP_REDUCE_SUM, .a = {2, {40, 150}, 0}, .y = {2, {40, 1}, 0}},
    {.kind = SPADE_OP_REDUCE_SUM, .a = {2, {40, 7}, 0}, .y = {2, {40, 1}, 0}},
    {.kind = SPADE_OP_REDUCE_SUM, .a = {5, {5, 6, 7, 4, 5}, 0}, .y = {4, {6, 1, 4, 1}, 0}},
    {.kind = SPADE_OP_REDUCE_SUM, .a = {2, {6, 7}, 0}, .y = {2, {6, 7}, 0}},
    /* logits, attention, a line that lies apart in memory */
    {.kind = SPADE_OP_SOFTMAX, .a = {2, {3, 1000}, 0}, .y = {2, {3, 1000}, 0}, .axis = 1},
    {.kind = SPADE_OP_SOFTMAX, .a = {3, {5, 21, 65}, 0}, .y = {3, {5, 21, 65}, 0}, .axis = 2},
    {.kind = SPADE_OP_SOFTMAX, .a = {4, {2, 70, 3, 5}, LAST}, .y = {4, {2, 70, 3, 5}, LAST}, .axis = 1},
    {.kind = SPADE_OP_SOFTMAX, .a = {4, {2, 70, 3, 5}, ROWS}, .y = {4, {2, 70, 3, 5}, ROWS}, .axis = 1},
    {.kind = SPADE_OP_SOFTMAX, .a = {4, {2, 70, 3, 5}, LAST}, .y = {4, {2, 70, 3, 5}, LAST}, .axis = 0},
    {.kind = SPADE_OP_SOFTMAX_BACKWARD, .a = {2, {3, 1000}, 0}, .y = {2, {3, 1000}, 0}, .axis = 1},
    {.kind = SPADE_OP_SOFTMAX_BACKWARD, .a = {3, {5, 21, 65}, 0}, .y = {3, {5, 21, 65}, 0}, .axis = 2},
    {.kind = SPADE_OP_SOFTMAX_BACKWARD, .a = {4, {2, 70, 3, 5}, LAST}, .y = {4, {2, 70, 3, 5}, LAST}, .axis = 1},
    {.kind = SPADE_OP_SOFTMAX_BACKWARD, .a = {4, {2, 70, 3, 5}, LAST}, .y = {4, {2, 70, 3, 5}, LAST}, .axis = 2},
    /* rows of a warp, that lanes share evenly or not; several rows a warp; of a block; one row of an image; 4 axes */
    NORMS(SPADE_OP_LAYER_NORM),
    NORMS(SPADE_OP_LAYER_NORM_BACKWARD),
    POOLS(SPADE_OP_POOL, LAST, LAST),
    POOLS(SPADE_OP_POOL, ROWS, ROWS),
    POOLS(SPADE_OP_POOL, ROWS, LAST),
    POOLS(SPADE_OP_POOL_BACKWARD, LAST, LAST),
    POOLS(SPADE_OP_POOL_BACKWARD, ROWS, ROWS),
    POOLS(SPADE_OP_POOL_BACKWARD, LAST, ROWS),
    {.kind = SPADE_OP_CONVERT_LAYOUT, .a = {4, {2, 3, 33, 40}, ROWS}, .y = {4, {2, 3, 33, 40}, LAST}},
    {.kind = SPADE_OP_CONVERT_LAYOUT, .a = {4, {2, 3, 33, 40}, LAST}, .y = {4, {2, 3, 33, 40}, ROWS}},
    {.kind = SPADE_OP_CONVERT_LAYOUT, .a = {4, {2, 70, 9, 5}, ROWS}, .y = {4, {2, 70, 9, 5}, LAST}},
    {.kind = SPADE_OP_CONVERT_LAYOUT, .a = {4, {2, 64, 8, 12}, LAST}, .y = {4, {2, 64, 8, 12}, ROWS}},
    {.kind = SPADE_OP_CONVERT_LAYOUT, .a = {4, {2, 64, 8, 12}, LAST}, .y = {4, {2, 64, 8, 12}, LAST}},
    /* attention's heads of q, k and v; keys transposed; windows; channels last, from either layout; 8 axes; nothing moved */
    PERMUTE(5, DIMS(2, 50, 3, 4, 16), DIMS(3, 2, 4, 50, 16), 2, 0, 3, 1, 4),
    PERMUTE(4, DIMS(2, 3, 50, 16), DIMS(2, 3, 16, 50), 0, 1, 3, 2),
    PERMUTE(4, DIMS(2, 3, 64, 36), DIMS(2, 3, 36, 64), 0, 1, 3, 2),
    PERMUTE(6, DIMS(2, 2, 7, 3, 7, 12), DIMS(2, 2, 3, 7, 7, 12), 0, 1, 3, 2, 4, 5),
    PERMUTE(4, DIMS(2, 40, 9, 7), DIMS(2, 9, 7, 40), 0, 2, 3, 1),
    {.kind = SPADE_OP_PERMUTE, .a = {4, {2, 40, 9, 7}, LAST}, .y = {4, {2, 9, 7, 40}, 0}, .axes = {0, 2, 3, 1}},
    {.kind = SPADE_OP_PERMUTE, .a = {4, {2, 40, 9, 7}, LAST}, .y = {4, {7, 9, 2, 40}, 0}, .axes = {3, 2, 0, 1}},
    PERMUTE(8, DIMS(2, 3, 2, 3, 2, 2, 3, 4), DIMS(4, 3, 2, 2, 3, 2, 3, 2), 7, 6, 5, 4, 3, 2, 1, 0),
    PERMUTE(3, DIMS(1, 1, 1), DIMS(1, 1, 1), 2, 1, 0),
    PERMUTE(2, DIMS(20000, 3), DIMS(3, 20000), 1, 0),
    PERMUTE(1, DIMS(40000), DIMS(40000), 0),
    /* a block's channels in either layout, a token of all images, the last of many places */
    PART(SPADE_OP_CONCAT, 4, LAST, LAST, DIMS(2, 32, 9, 7), DIMS(2, 96, 9, 7), 1, 64),
    PART(SPADE_OP_CONCAT, 4, ROWS, LAST, DIMS(2, 32, 9, 7), DIMS(2, 96, 9, 7), 1, 32),
    PART(SPADE_OP_CONCAT, 4, ROWS, ROWS, DIMS(2, 32, 8, 8), DIMS(2, 96, 8, 8), 1, 64),
    PART(SPADE_OP_CONCAT, 3, ROWS, ROWS, DIMS(1, 1, 192), DIMS(8, 50, 192), 1, 0),
    PART(SPADE_OP_CONCAT, 1, ROWS, ROWS, DIMS(3), DIMS(40003), 0, 40000),
    PART(SPADE_OP_CONCAT_BACKWARD, 4, LAST, LAST, DIMS(2, 32, 9, 7), DIMS(2, 96, 9, 7), 1, 64),
    PART(SPADE_OP_CONCAT_BACKWARD, 4, ROWS, LAST, DIMS(2, 32, 9, 7), DIMS(2, 96, 9, 7), 1, 32),
    PART(SPADE_OP_CONCAT_BACKWARD, 3, ROWS, ROWS, DIMS(8, 49, 192), DIMS(8, 50, 192), 1, 1),
    /* along channels and rows in both layouts, tokens, the last axis, 8 axes, more neighbours than are summed at a time */
    PART(SPADE_OP_AXIS_MAP, 4, LAST, LAST, DIMS(2, 64, 9, 7), DIMS(2, 48, 9, 7), 1, 0),
    PART(SPADE_OP_AXIS_MAP, 4, ROWS, ROWS, DIMS(2, 64, 8, 8), DIMS(2, 48, 8, 8), 1, 0),
    PART(SPADE_OP_AXIS_MAP, 4, LAST, LAST, DIMS(2, 20, 9, 7), DIMS(2, 20, 18, 7), 2, 0),
    PART(SPADE_OP_AXIS_MAP, 4, LAST, LAST, DIMS(2, 20, 9, 7), DIMS(2, 20, 9, 30), 3, 0),
    PART(SPADE_OP_AXIS_MAP, 3, ROWS, ROWS, DIMS(4, 50, 301), DIMS(4, 1, 301), 1, 0),
    PART(SPADE_OP_AXIS_MAP, 2, ROWS, ROWS, DIMS(9, 3000), DIMS(9, 2000), 1, 0),
    PART(SPADE_OP_AXIS_MAP, 2, ROWS, ROWS, DIMS(1, 40000), DIMS(3, 40000), 0, 0),
    PART(SPADE_OP_AXIS_MAP, 8, ROWS, ROWS, DIMS(2, 3, 2, 3, 2, 2, 3, 4), DIMS(2, 3, 2, 9, 2, 2, 3, 4), 3, 0),
    /* a mean; maxima: one number, of channels, of pixels, of a short and a long line */
    {.kind = SPADE_OP_REDUCE_SUM, .a = {4, {8, 20, 31, 29}, LAST}, .y = {4, {8, 20, 1, 1}, LAST}, .divisor = 31 * 29},
    {.kind = SPADE_OP_REDUCE_SUM, .a = {3, {30, 21, 110}, 0}, .y = {3, {1, 1, 1}, 0}, .divisor = 30 * 21 * 110},
    MAXIMA(SPADE_OP_REDUCE_MAX),
    MAXIMA(SPADE_OP_REDUCE_MAX_BACKWARD),
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static const case_kind *kind_of(const spade_op_desc *desc)
{
    for (int i = 0; i < case_kind_count; i++) {
        if (case_kinds[i].kind == desc->kind) { return &case_kinds[i]; }
    }
    return NULL;
}

/* Elements that differ from the reference by more than their kind's tolerance. */
static int64_t count_wrong(spade_context *context, const spade_op_desc *desc, const case_data *data,
                           const double *expected, float *got)
{
    const case_kind *kind = kind_of(desc);
    int64_t wrong = 0;
    assert_non_null(kind);
    if (case_run(context->device, desc, data, got) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    for (int64_t i = 0; i < reference_size(desc); i++) {
        double allowed = kind->tolerance + fabs(expected[i]) * kind->epsilon;
        wrong += !(fabs(got[i] - expected[i]) <= allowed);
    }
    return wrong;
}

/* More rows than a grid has blocks along its second axis: half a minute each where blocks run one after the other. */
static bool is_too_long(const spade_op_desc *desc)
{
    return desc->a.dims[0] > 65535 && getenv("SPADE_CUDA_LIBRARY") && !getenv("SPADE_TEST_EXHAUSTIVE");
}

static void test_shapes(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICE_COUNT; i++) {
        spade_context *context = open_device(devices[i], 0, 0);
        if (!context) { continue; }
        for (int s = 0; s < SHAPES; s++) {
            random_stream random = {.key = (uint32_t)(31 + s)};
            case_data data;
            if (is_too_long(&shapes[s])) { continue; }
            case_data_draw(&random, &shapes[s], &data);
            int64_t n = reference_size(&shapes[s]);
            double *expected = malloc((size_t)n * sizeof *expected);
            float *got = malloc((size_t)n * sizeof *got), *again = malloc((size_t)n * sizeof *again);
            assert_true(expected && got && again);
            reference_args args = case_reference(&data);
            reference_run(&shapes[s], &args, expected);
            int64_t wrong = count_wrong(context, &shapes[s], &data, expected, got);
            if (wrong) { fail_msg("%s: shape %d: %ld of %ld elements", devices[i], s, (long)wrong, (long)n); }
            count_wrong(context, &shapes[s], &data, expected, again);
            assert_memory_equal(got, again, (size_t)n * sizeof *got); /* the same bits every time */
            free(expected);
            free(got);
            free(again);
            case_data_clear(&data);
        }
        assert_int_equal(context->used, context->device->own_bytes);
        spade_context_destroy(context);
    }
}

/* Max pooling of a network that is not differentiated saves nothing; its backward then refuses. */
static void test_pool_without_saved(void **state)
{
    (void)state;
    const spade_op_desc desc = {.kind = SPADE_OP_POOL,
                                .a = {4, {1, 4, 9, 9}, LAST},
                                .y = {4, {1, 4, 5, 5}, LAST},
                                .window = STEM,
                                .pool_max = true};
    spade_op_desc backward = desc;
    backward.kind = SPADE_OP_POOL_BACKWARD;
    for (int i = 0; i < DEVICE_COUNT; i++) {
        spade_context *context = open_device(devices[i], 0, 0);
        if (!context) { continue; }
        const spade_backend *backend = context->device->backend;
        enum { IN = 4 * 81, OUT = 4 * 25 };
        float host[IN], with[OUT], without[OUT];
        spade_op *op, *gradient;
        spade_op_args args = {0};
        void *x, *y, *saved, *workspace;
        for (int j = 0; j < IN; j++) { host[j] = (float)(j * 37 % 101); }
        assert_int_equal(backend->plan(context->device, &desc, &op), SPADE_OK);
        assert_int_equal(backend->plan(context->device, &backward, &gradient), SPADE_OK);
        size_t scratch = backend->workspace_bytes(op) + backend->workspace_bytes(gradient);
        assert_int_equal(backend->alloc(context->device, sizeof host, "x", &x), SPADE_OK);
        assert_int_equal(backend->alloc(context->device, sizeof with, "y", &y), SPADE_OK);
        assert_int_equal(backend->alloc(context->device, backend->saved_bytes(op), "saved", &saved), SPADE_OK);
        assert_int_equal(backend->alloc(context->device, scratch, "workspace", &workspace), SPADE_OK);
        assert_int_equal(backend->upload(context->device, x, host, sizeof host), SPADE_OK);
        args.a = x, args.out = y, args.saved = saved, args.workspace = workspace;
        assert_int_equal(backend->run(op, &args), SPADE_OK);
        assert_int_equal(backend->download(context->device, with, y, sizeof with), SPADE_OK);
        args.saved = NULL;
        assert_int_equal(backend->run(op, &args), SPADE_OK);
        assert_int_equal(backend->download(context->device, without, y, sizeof without), SPADE_OK);
        assert_memory_equal(with, without, sizeof with);
        args.dy = y, args.out = x;
        assert_int_equal(backend->run(gradient, &args), SPADE_ERROR_ARGUMENT);
        backend->free(context->device, x, sizeof host);
        backend->free(context->device, y, sizeof with);
        backend->free(context->device, saved, backend->saved_bytes(op));
        backend->free(context->device, workspace, scratch);
        backend->destroy(op);
        backend->destroy(gradient);
        assert_int_equal(context->used, context->device->own_bytes);
        spade_context_destroy(context);
    }
}

/* tr (d h d^T) of several sizes at once; below its diagonal h holds what nobody may read. */
static void test_quadratic_form(void **state)
{
    (void)state;
    enum { N = 3 };
    static const int64_t sizes[N][2] = {{1, 1}, {7, 45}, {64, 9}};
    for (int i = 0; i < DEVICE_COUNT; i++) {
        spade_context *context = open_device(devices[i], 0, 0);
        if (!context) { continue; }
        const spade_backend *backend = context->device->backend;
        spade_quadratic_args args[N] = {{0}};
        random_stream random = {.key = 77};
        double expected[N], scale[N];
        for (int p = 0; p < N; p++) {
            int64_t rows = sizes[p][0], k = sizes[p][1];
            size_t of_h = (size_t)(k * k) * sizeof(double), of_d = (size_t)(rows * k) * sizeof(double);
            double *h = malloc(of_h), *d = malloc(of_d);
            void *place[3];
            assert_true(h && d);
            for (int64_t j = 0; j < k * k; j++) { h[j] = j % k < j / k ? NAN : (double)random_float(&random); }
            for (int64_t j = 0; j < rows * k; j++) { d[j] = (double)random_float(&random); }
            expected[p] = scale[p] = 0;
            for (int64_t j = 0; j < rows * k * k; j++) {
                int64_t row = j / (k * k), a = j / k % k, b = j % k;
                double term = d[row * k + a] * h[a < b ? a * k + b : b * k + a] * d[row * k + b];
                expected[p] += term, scale[p] += fabs(term);
            }
            assert_int_equal(backend->alloc(context->device, of_h, "h", &place[0]), SPADE_OK);
            assert_int_equal(backend->alloc(context->device, of_d, "d", &place[1]), SPADE_OK);
            assert_int_equal(backend->alloc(context->device, of_d, "scratch", &place[2]), SPADE_OK);
            assert_int_equal(backend->upload(context->device, place[0], h, of_h), SPADE_OK);
            assert_int_equal(backend->upload(context->device, place[1], d, of_d), SPADE_OK);
            assert_int_equal(backend->synchronize(context->device), SPADE_OK);
            args[p] = (spade_quadratic_args){.rows = rows, .k = k, .h = place[0], .d = place[1], .scratch = place[2]};
            free(h);
            free(d);
        }
        if (backend->solver->quadratic_form(context->device, args, N) != SPADE_OK) {
            fail_msg("%s", spade_message(context));
        }
        assert_int_equal(backend->synchronize(context->device), SPADE_OK);
        for (int p = 0; p < N; p++) {
            size_t of_h = (size_t)(sizes[p][1] * sizes[p][1]) * sizeof(double);
            size_t of_d = (size_t)(sizes[p][0] * sizes[p][1]) * sizeof(double);
            assert_true(fabs(args[p].result - expected[p]) <= 1e-13 * scale[p]);
            backend->free(context->device, (void *)(uintptr_t)args[p].h, of_h);
            backend->free(context->device, (void *)(uintptr_t)args[p].d, of_d);
            backend->free(context->device, args[p].scratch, of_d);
        }
        assert_int_equal(context->used, context->device->own_bytes);
        spade_context_destroy(context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_pool_without_saved),
        cmocka_unit_test(test_quadratic_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
