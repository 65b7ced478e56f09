/*
 * fold.h - what depends on constants and shapes alone is computed while the network is imported, with the batch unknown.
 *
 * A folded tensor is what the operator would give for a batch of N pictures, N at least 1:
 *   one axis of it, at most, grows with the batch: it is outer * N * inner long, and `dims` has outer * inner there
 *   every element is a + b * N + c * i, i: the number of the picture that the element belongs to along that axis
 * a, b and c are arrays of the tensor's own type; missing ones are zeros. Where neither the axis nor b and c are there it is a
 * plain constant: the same as an initializer. What cannot be said this way (N * N, N / 2) is refused by its node.
 *
 *   fold.c        which node is folded; memory and limits
 *   number.c      arithmetic of a + b N + c i
 *   elementwise.c operators that work element by element, with broadcasting
 *   movement.c    operators that only move elements
 *   create.c      shapes, ranges and the like: tensors made of numbers
 *   reduce.c      sums, means, statistics, products
 */
#ifndef SPADE_IMPORT_FOLD_H
#define SPADE_IMPORT_FOLD_H

#include "import/import.h"

typedef struct spade_fold {
    onnx_tensor tensor; /* dims of one picture; bytes: a; type: one of FLOAT, DOUBLE, INT32, INT64, BOOL, UINT8, INT8 */
    int batch_axis;     /* -1: no axis grows with the batch */
    int64_t batch_outer; /* of that axis */
    const void *batch;   /* b, NULL: zeros */
    const void *index;   /* c, NULL: zeros */
    const struct spade_fold *single; /* of DOUBLE: the same in float32, which meets a picture; else NULL */
} spade_fold;

/* What a picture meets. */
static inline const onnx_tensor *spade_fold_single(const spade_fold *fold)
{
    return fold->single ? &fold->single->tensor : &fold->tensor;
}

/* Neither its elements nor its shape depend on the batch. */
bool spade_fold_is_plain(const spade_fold *fold);

/*
 * Fold a node all of whose inputs are constants or folded (or read for their shape alone): *folded, and its outputs are
 * operands from then on. *folded is false where the node works on a picture.
 */
spade_status spade_fold_node(spade_import *import, int index, bool *folded);
void spade_fold_clear(spade_import *import);
/* Is there a rule for this node where its inputs are constants? *shapes: bits of inputs that need not be. */
bool spade_fold_supports(const onnx_node *node, unsigned *shapes);

/* ---- inside of the folder: one node */
/* A constant as the file has it: float64 with all of its bits. The bytes stay the tensor's. */
spade_fold fold_of_tensor(const onnx_tensor *tensor);
enum { FOLD_MAX_OUTPUTS = 64 };
typedef struct fold_call {
    spade_import *import;
    const onnx_node *node;
    spade_fold *inputs;                    /* [node->input_count]; absent ones have type 0 */
    spade_fold *outputs[FOLD_MAX_OUTPUTS]; /* NULL: not computed */
} fold_call;

typedef struct fold_operator {
    const char *op_type;
    spade_status (*fold)(fold_call *call);
    unsigned
        shapes; /* bit k: of input k only shape and type are read: it may be a picture, and its fold has no elements */
} fold_operator;
/* elementwise.c, movement.c, create.c, reduce.c: each ends with {0} */
extern const fold_operator fold_elementwise_operators[], fold_movement_operators[], fold_create_operators[],
    fold_reduce_operators[];

#define fold_fail(call, ...) spade_import_fail((call)->import, (call)->node, SPADE_ERROR_UNSUPPORTED, __VA_ARGS__)
#define fold_wrong(call, ...) spade_import_fail((call)->import, (call)->node, SPADE_ERROR_INPUT, __VA_ARGS__)

/* ---- making a tensor */
enum { FOLD_BATCH = 1, FOLD_INDEX = 2 }; /* which of b and c a tensor has */
/* A new tensor, zeroed, whose arrays are written through fold_store. Counts against the limits. */
spade_status fold_create(fold_call *call, int type, const spade_extent *shape, unsigned parts, spade_fold **out);
/* So much work, in elements, that does not show in the size of a result. */
spade_status fold_charge(fold_call *call, double elements);
/* The same elements under another shape of as many. */
spade_status fold_rename(fold_call *call, const spade_fold *from, const spade_extent *shape, spade_fold **out);
spade_extent fold_extent(const spade_fold *fold);
unsigned fold_parts(const spade_fold *fold);

/* ---- inputs */
bool fold_has(const fold_call *call, int input);
/* The input has to be there, and not to depend on the batch. */
spade_status fold_require_plain(fold_call *call, int input, const spade_fold **out);
spade_status fold_require(fold_call *call, int input, const spade_fold **out);
/* Its elements do not depend on the batch; an axis may grow with it: every picture has the same. */
spade_status fold_require_uniform(fold_call *call, int input, const spade_fold **out);
spade_status fold_check_axis(fold_call *call, const spade_fold *fold, int axis);
/* A list of plain integers, at most `limit` long, from an input or, before the operator had it, from an attribute. *count: -1:
 * given by neither. */
spade_status fold_integers(fold_call *call, int input, const char *attribute, int limit, int64_t *out, int *count);
spade_status fold_attribute(fold_call *call, const char *name, int64_t standard, int64_t *out);
/* An axis from 0 to rank - 1, counted from behind if negative. */
spade_status fold_axis(fold_call *call, int64_t given, int rank, int *out);

/* ---- number.c */
typedef struct fold_number {
    bool integer;
    int64_t i[3]; /* a, b, c */
    double f[3];  /* where it is no integer; b and c are whole numbers */
} fold_number;
bool fold_type_is_integer(int type);
fold_number fold_load(const spade_fold *fold, int64_t index);
/* Of the fold's type; false: it does not fit. */
bool fold_store(spade_fold *fold, int64_t index, const fold_number *number);
fold_number fold_integer(int64_t value);
fold_number fold_real(double value);
bool fold_is_plain_number(const fold_number *number);

/* Results are right for every batch, or there is a reason why there is none: a static text; NULL: fine. */
typedef const char *(*fold_function)(const fold_number *inputs, fold_number *out);
const char *fold_add(const fold_number *x, fold_number *out);
const char *fold_subtract(const fold_number *x, fold_number *out);
const char *fold_multiply(const fold_number *x, fold_number *out);
const char *fold_divide(const fold_number *x, fold_number *out);
const char *fold_remainder(const fold_number *x, fold_number *out);   /* the sign of the divisor */
const char *fold_remainder_c(const fold_number *x, fold_number *out); /* the sign of the dividend */
const char *fold_convert(const fold_number *x, int type, fold_number *out);
/* Bits of what a compared to b may be, over every batch and every picture of it: 1 less, 2 equal, 4 greater, 8 unordered. */
unsigned fold_compare(const fold_number *a, const fold_number *b);

#endif
