/* reduce.c - constants summed, averaged, normalised and multiplied; numbers are accumulated in float64. */
#include <math.h>

#include "import/fold/fold.h"

/* ---- reductions over axes */

typedef enum reduction { SUM, MEAN, PRODUCT, LARGEST, SMALLEST, NORM_1, NORM_2, SQUARES } reduction;
static const struct {
    const char *op_type;
    reduction kind;
} reductions[] = {{"ReduceL1", NORM_1}, {"ReduceL2", NORM_2},        {"ReduceMax", LARGEST},
                  {"ReduceMean", MEAN}, {"ReduceMin", SMALLEST},     {"ReduceProd", PRODUCT},
                  {"ReduceSum", SUM},   {"ReduceSumSquare", SQUARES}};

/* One more number; the first one is taken as it is by the largest and smallest. */
static const char *accumulate(reduction kind, bool first, const fold_number *next, fold_number *total)
{
    fold_number pair[2] = {*total, *next}, square[2] = {*next, *next};
    const char *reason = NULL;
    switch (kind) {
    case SUM:
    case MEAN: return fold_add(pair, total);
    case PRODUCT: return fold_multiply(pair, total);
    case LARGEST:
    case SMALLEST:
        if (first) {
            *total = *next;
        } else {
            const unsigned order = fold_compare(next, total);
            if (order & 8u || order == (kind == LARGEST ? 4u : 1u)) { *total = *next; }
        }
        return NULL;
    case NORM_1:
        if (next->integer) { return "a norm of integers"; }
        pair[1].f[0] = fabs(next->f[0]);
        return fold_add(pair, total);
    case NORM_2:
        if (next->integer) { return "a norm of integers"; }
        break;
    case SQUARES: break;
    }
    reason = fold_multiply(square, &pair[1]);
    return reason ? reason : fold_add(pair, total);
}

static const char *finish(reduction kind, int64_t count, fold_number *total)
{
    if (kind == MEAN && total->integer) {
        if (count) { total->i[0] /= count; }
        return count ? NULL : "a mean of nothing";
    }
    if (kind == MEAN) { total->f[0] /= (double)count; }
    if (kind == NORM_2) { total->f[0] = sqrt(total->f[0]); }
    return NULL;
}

static spade_status read_reduced_axes(fold_call *call, int rank, unsigned *out, bool *nothing)
{
    int64_t axes[ONNX_MAX_RANK], noop;
    int count;
    SPADE_TRY(fold_attribute(call, "noop_with_empty_axes", 0, &noop));
    SPADE_TRY(fold_integers(call, 1, "axes", ONNX_MAX_RANK, axes, &count));
    *out = 0;
    *nothing = count <= 0 && noop;
    for (int i = 0; i < count; i++) {
        int axis;
        SPADE_TRY(fold_axis(call, axes[i], rank, &axis));
        *out |= 1u << axis;
    }
    if (count <= 0) { *out = (1u << rank) - 1; }
    return SPADE_OK;
}

static spade_status fold_reduce(fold_call *call)
{
    const spade_fold *from = NULL;
    int64_t keep, strides[ONNX_MAX_RANK], at = 1, counted = 1;
    unsigned axes = 0;
    bool nothing;
    size_t r = 0;
    spade_fold *out;
    while (strcmp(reductions[r].op_type, call->node->op_type) != 0) { r++; }
    const reduction kind = reductions[r].kind;
    SPADE_TRY(fold_require(call, 0, &from));
    SPADE_TRY(fold_attribute(call, "keepdims", 1, &keep));
    SPADE_TRY(read_reduced_axes(call, from->tensor.rank, &axes, &nothing));
    if (from->index || (from->batch && kind != SUM && kind != PRODUCT)) {
        return fold_fail(call, "its input depends on the batch, which is not supported here");
    }
    for (int i = 0; i < from->tensor.rank && i < ONNX_MAX_RANK; i++) {
        if (axes & 1u << i && !nothing) { SPADE_TRY(fold_check_axis(call, from, i)); }
    }
    spade_extent shape = fold_extent(from), kept = {.batch_axis = -1};
    for (int i = 0; i < shape.rank && i < ONNX_MAX_RANK; i++) {
        const bool gone = axes >> i & 1u && !nothing;
        if (gone) { counted *= shape.dims[i]; }
        if (i == shape.batch_axis) {
            kept.batch_axis = kept.rank;
            kept.batch_outer = shape.batch_outer;
        }
        if (!gone || keep) { kept.dims[kept.rank++] = gone ? 1 : shape.dims[i]; }
    }
    for (int i = ONNX_MAX_RANK - 1; i >= 0; i--) {
        if (i >= shape.rank) { continue; }
        const bool gone = axes >> i & 1u && !nothing;
        strides[i] = gone ? 0 : at;
        at *= gone ? 1 : shape.dims[i];
    }
    SPADE_TRY(fold_charge(call, (double)from->tensor.count));
    SPADE_TRY(fold_create(call, from->tensor.type, &kept, fold_parts(from), &out));
    fold_number *totals = malloc(((size_t)at + 1) * sizeof *totals);
    bool *begun = calloc((size_t)at + 1, sizeof *begun);
    const char *reason = totals && begun ? NULL : "out of memory";
    for (int64_t k = 0; !reason && k < at; k++) {
        const bool integer = fold_type_is_integer(from->tensor.type);
        totals[k] = integer ? fold_integer(kind == PRODUCT) : fold_real(kind == PRODUCT);
        if (counted == 0 && (kind == LARGEST || kind == SMALLEST)) { reason = "the extreme of nothing"; }
    }
    for (int64_t e = 0; !reason && e < from->tensor.count; e++) {
        int64_t index = 0, rest = e;
        for (int i = shape.rank - 1; i >= 0 && shape.dims[i] > 0; i--) { /* there are elements: no axis is empty */
            index += rest % shape.dims[i] * strides[i];
            rest /= shape.dims[i];
        }
        const fold_number number = fold_load(from, e);
        reason = accumulate(kind, !begun[index], &number, &totals[index]);
        begun[index] = true;
    }
    for (int64_t k = 0; !reason && k < at; k++) {
        reason = finish(kind, counted, &totals[k]);
        if (!reason && !fold_store(out, k, &totals[k])) { reason = "a result does not fit its type"; }
    }
    free(totals);
    free(begun);
    if (reason) { return fold_fail(call, "%s", reason); }
    call->outputs[0] = out;
    return SPADE_OK;
}

/* ---- ArgMax, ArgMin */

static spade_status fold_arg_extreme(fold_call *call)
{
    const spade_fold *from = NULL;
    const unsigned better = strcmp(call->node->op_type, "ArgMax") == 0 ? 4u : 1u;
    int64_t given, keep, last, after = 1;
    int axis;
    spade_fold *out;
    SPADE_TRY(fold_require_plain(call, 0, &from));
    SPADE_TRY(fold_attribute(call, "axis", 0, &given));
    SPADE_TRY(fold_attribute(call, "keepdims", 1, &keep));
    SPADE_TRY(fold_attribute(call, "select_last_index", 0, &last));
    SPADE_TRY(fold_axis(call, given, from->tensor.rank, &axis));
    const spade_extent shape = fold_extent(from);
    spade_extent kept = {.batch_axis = -1};
    const int64_t n = shape.dims[axis];
    for (int i = 0; i < shape.rank; i++) {
        if (i > axis) { after *= shape.dims[i]; }
        if (i != axis || keep) { kept.dims[kept.rank++] = i == axis ? 1 : shape.dims[i]; }
    }
    if (n < 1) { return fold_wrong(call, "its axis is empty"); }
    SPADE_TRY(fold_charge(call, (double)from->tensor.count));
    SPADE_TRY(fold_create(call, ONNX_INT64, &kept, 0, &out));
    for (int64_t e = 0; e < out->tensor.count; e++) {
        const int64_t first = e / after * n * after + e % after;
        int64_t best = 0;
        fold_number extreme = fold_load(from, first);
        for (int64_t k = 1; k < n; k++) {
            const fold_number next = fold_load(from, first + k * after);
            const unsigned order = fold_compare(&next, &extreme);
            if (order != better && !(last && order == 2u)) { continue; }
            best = k;
            extreme = next;
        }
        const fold_number number = fold_integer(best);
        (void)fold_store(out, e, &number);
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

/* ---- CumSum */

static spade_status fold_cumulative_sum(fold_call *call)
{
    const spade_fold *from = NULL;
    int64_t given[1], exclusive, reverse, after = 1;
    int count, axis;
    spade_fold *out;
    SPADE_TRY(fold_require_uniform(call, 0, &from));
    SPADE_TRY(fold_integers(call, 1, NULL, 1, given, &count));
    SPADE_TRY(fold_attribute(call, "exclusive", 0, &exclusive));
    SPADE_TRY(fold_attribute(call, "reverse", 0, &reverse));
    if (count != 1) { return fold_wrong(call, "its axis is missing"); }
    SPADE_TRY(fold_axis(call, given[0], from->tensor.rank, &axis));
    SPADE_TRY(fold_check_axis(call, from, axis));
    const spade_extent shape = fold_extent(from);
    for (int i = axis + 1; i < shape.rank; i++) { after *= shape.dims[i]; }
    SPADE_TRY(fold_create(call, from->tensor.type, &shape, 0, &out));
    const int64_t n = shape.dims[axis];
    for (int64_t line = 0; n && line < out->tensor.count / n; line++) {
        fold_number total = fold_type_is_integer(from->tensor.type) ? fold_integer(0) : fold_real(0);
        for (int64_t k = 0; k < n; k++) {
            const int64_t e = line / after * n * after + (reverse ? n - 1 - k : k) * after + line % after;
            const fold_number pair[2] = {total, fold_load(from, e)};
            if (exclusive && !fold_store(out, e, &total)) { return fold_fail(call, "a sum does not fit its type"); }
            const char *reason = fold_add(pair, &total);
            if (reason) { return fold_fail(call, "%s", reason); }
            if (!exclusive && !fold_store(out, e, &total)) { return fold_fail(call, "a sum does not fit its type"); }
        }
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

/* ---- BatchNormalization: with statistics of its input (training mode: weights that are standardised), or given ones */

static double real_at(const spade_fold *fold, int64_t index)
{
    return fold_load(fold, index).f[0];
}

static void store_real(spade_fold *fold, int64_t index, double value)
{
    const fold_number number = fold_real(value);
    (void)fold_store(fold, index, &number);
}

typedef struct statistics {
    double mean, variance; /* of the whole, not of a sample */
} statistics;

/* Of channel c of [N, C, ...], inner: elements of one picture's channel. */
static statistics measure(const spade_fold *x, int64_t c, int64_t inner)
{
    const int64_t channels = x->tensor.dims[1], outer = x->tensor.dims[0];
    statistics s = {0};
    for (int pass = 0; pass < 2; pass++) {
        double total = 0;
        for (int64_t n = 0; n < outer; n++) {
            for (int64_t e = 0; e < inner; e++) {
                const double v = real_at(x, (n * channels + c) * inner + e);
                total += pass ? (v - s.mean) * (v - s.mean) : v;
            }
        }
        *(pass ? &s.variance : &s.mean) = total / (double)(outer * inner);
    }
    return s;
}

static spade_status fold_batch_norm(fold_call *call)
{
    const spade_fold *in[5];
    int64_t training;
    float epsilon, momentum;
    spade_fold *out, *running[2] = {NULL, NULL};
    for (int i = 0; i < 5; i++) {
        SPADE_TRY(fold_require_plain(call, i, &in[i]));
        if (fold_type_is_integer(in[i]->tensor.type)) { return fold_wrong(call, "its input %d is of integers", i); }
    }
    SPADE_TRY(fold_attribute(call, "training_mode", 0, &training));
    SPADE_TRY(spade_import_attribute(call->import,
                                     onnx_get_float(call->import->context, call->node, "epsilon", 1e-5f, &epsilon)));
    SPADE_TRY(spade_import_attribute(call->import,
                                     onnx_get_float(call->import->context, call->node, "momentum", 0.9f, &momentum)));
    const spade_fold *x = in[0];
    const int64_t channels = x->tensor.rank > 1 ? x->tensor.dims[1] : 0;
    const int64_t inner = channels ? x->tensor.count / (channels * (x->tensor.dims[0] ? x->tensor.dims[0] : 1)) : 0;
    for (int i = 1; i < 5; i++) {
        if (in[i]->tensor.count != channels || inner < 1 || x->tensor.count < 1) {
            return fold_wrong(call, "its inputs do not fit together");
        }
    }
    const spade_extent shape = fold_extent(x), vector = {.rank = 1, .dims = {channels}, .batch_axis = -1};
    SPADE_TRY(fold_charge(call, 2 * (double)x->tensor.count));
    SPADE_TRY(fold_create(call, x->tensor.type, &shape, 0, &out));
    for (int k = 0; training && k < 2; k++) { SPADE_TRY(fold_create(call, x->tensor.type, &vector, 0, &running[k])); }
    for (int64_t c = 0; c < channels; c++) {
        statistics s = {real_at(in[3], c), real_at(in[4], c)};
        if (training) {
            s = measure(x, c, inner);
            store_real(running[0], c, real_at(in[3], c) * (double)momentum + s.mean * (1 - (double)momentum));
            store_real(running[1], c, real_at(in[4], c) * (double)momentum + s.variance * (1 - (double)momentum));
        }
        const double scale = real_at(in[1], c) / sqrt(s.variance + (double)epsilon);
        for (int64_t n = 0; n < x->tensor.dims[0]; n++) {
            for (int64_t e = (n * channels + c) * inner, end = e + inner; e < end; e++) {
                store_real(out, e, (real_at(x, e) - s.mean) * scale + real_at(in[2], c));
            }
        }
    }
    call->outputs[0] = out;
    call->outputs[1] = running[0];
    call->outputs[2] = running[1];
    return SPADE_OK;
}

/* ---- MatMul of two constants: the last two axes, the others broadcast */

/* Of each operand: how far apart its matrices are along the leading axes of the result, and where the batch is there. */
typedef struct matrices {
    int64_t strides[ONNX_MAX_RANK], size;
    int batch_axis; /* among the axes of the result; -1: none */
} matrices;

static matrices find_matrices(const spade_fold *fold, int rank)
{
    const onnx_tensor *tensor = &fold->tensor;
    const int more = rank - tensor->rank;
    matrices m = {.size = 1, .batch_axis = fold->batch_axis < 0 ? -1 : fold->batch_axis + more};
    for (int i = rank - 3; i >= more; i--) {
        m.strides[i] = tensor->dims[i - more] == 1 ? 0 : m.size;
        m.size *= tensor->dims[i - more];
    }
    return m;
}

/* The extent of the product, where there is one: the batch is not summed over, and beside it is nothing but 1. */
static bool find_product(const spade_fold *const in[2], const matrices m[2], spade_extent *out)
{
    const onnx_tensor *a = &in[0]->tensor, *b = &in[1]->tensor;
    const int rank = out->rank;
    for (int i = 0; i < rank - 2; i++) {
        const int own[2] = {i - (rank - a->rank), i - (rank - b->rank)};
        const int64_t lengths[2] = {own[0] < 0 ? 1 : a->dims[own[0]], own[1] < 0 ? 1 : b->dims[own[1]]};
        const bool one_grows = (i == m[0].batch_axis) != (i == m[1].batch_axis);
        if (lengths[0] != lengths[1] && lengths[0] != 1 && lengths[1] != 1) { return false; }
        if (one_grows && lengths[i == m[0].batch_axis ? 1 : 0] != 1) { return false; }
        out->dims[i] = lengths[0] == 1 ? lengths[1] : lengths[0];
    }
    out->dims[rank - 2] = a->dims[a->rank - 2];
    out->dims[rank - 1] = b->dims[b->rank - 1];
    const int grows = m[0].batch_axis >= 0 ? 0 : 1;
    out->batch_axis = m[grows].batch_axis;
    out->batch_outer = in[grows]->batch_outer;
    const bool both = m[0].batch_axis >= 0 && m[1].batch_axis >= 0;
    return m[0].batch_axis != rank - 1 && m[1].batch_axis != rank - 2 &&
           (!both || (m[0].batch_axis == m[1].batch_axis && in[0]->batch_outer == in[1]->batch_outer));
}

static spade_status fold_matmul(fold_call *call)
{
    const spade_fold *in[2];
    for (int i = 0; i < 2; i++) {
        SPADE_TRY(fold_require_uniform(call, i, &in[i]));
        if (in[i]->tensor.rank < 2 || fold_type_is_integer(in[i]->tensor.type)) {
            return fold_fail(call, "its constants are no matrices of real numbers");
        }
    }
    const onnx_tensor *a = &in[0]->tensor, *b = &in[1]->tensor;
    const int64_t rows = a->dims[a->rank - 2], k = a->dims[a->rank - 1], n = b->dims[b->rank - 1];
    spade_extent shape = {.rank = a->rank > b->rank ? a->rank : b->rank, .batch_axis = -1};
    const matrices m[2] = {find_matrices(in[0], shape.rank), find_matrices(in[1], shape.rank)};
    if (b->dims[b->rank - 2] != k || !find_product(in, m, &shape)) {
        return fold_wrong(call, "the shapes of its operands do not fit together");
    }
    spade_fold *out;
    SPADE_TRY(fold_create(call, a->type, &shape, 0, &out));
    SPADE_TRY(fold_charge(call, (double)out->tensor.count * (double)k));
    for (int64_t e = 0; e < out->tensor.count; e++) {
        int64_t rest = e / (rows * n), matrix[2] = {0, 0};
        for (int i = shape.rank - 3; i >= 0; i--) {
            for (int o = 0; o < 2; o++) { matrix[o] += rest % shape.dims[i] * m[o].strides[i]; }
            rest /= shape.dims[i];
        }
        double sum = 0;
        for (int64_t j = 0; j < k; j++) {
            sum += real_at(in[0], (matrix[0] * rows + e / n % rows) * k + j) *
                   real_at(in[1], (matrix[1] * k + j) * n + e % n);
        }
        store_real(out, e, sum);
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

/* ---- Softmax of a constant, along one axis */

static spade_status fold_softmax(fold_call *call)
{
    const spade_fold *from = NULL;
    int64_t given, after = 1;
    int axis;
    spade_fold *out;
    SPADE_TRY(fold_require_uniform(call, 0, &from));
    SPADE_TRY(fold_attribute(call, "axis", -1, &given));
    if (call->import->onnx->opset < 13 || fold_type_is_integer(from->tensor.type)) {
        return fold_fail(call, "a softmax of constants before opset 13, or of integers");
    }
    SPADE_TRY(fold_axis(call, given, from->tensor.rank, &axis));
    SPADE_TRY(fold_check_axis(call, from, axis));
    const spade_extent shape = fold_extent(from);
    for (int i = axis + 1; i < shape.rank; i++) { after *= shape.dims[i]; }
    SPADE_TRY(fold_create(call, from->tensor.type, &shape, 0, &out));
    const int64_t n = shape.dims[axis];
    for (int64_t line = 0; n && line < out->tensor.count / n; line++) {
        const int64_t first = line / after * n * after + line % after;
        double largest = -INFINITY, sum = 0;
        for (int64_t k = 0; k < n; k++) { largest = fmax(largest, real_at(from, first + k * after)); }
        for (int64_t k = 0; k < n; k++) { sum += exp(real_at(from, first + k * after) - largest); }
        for (int64_t k = 0; k < n; k++) {
            store_real(out, first + k * after, exp(real_at(from, first + k * after) - largest) / sum);
        }
    }
    call->outputs[0] = out;
    return SPADE_OK;
}

const fold_operator fold_reduce_operators[] = {
    {"ArgMax", fold_arg_extreme, 0},     {"ArgMin", fold_arg_extreme, 0}, {"BatchNormalization", fold_batch_norm, 0},
    {"CumSum", fold_cumulative_sum, 0},  {"MatMul", fold_matmul, 0},      {"ReduceL1", fold_reduce, 0},
    {"ReduceL2", fold_reduce, 0},        {"ReduceMax", fold_reduce, 0},   {"ReduceMean", fold_reduce, 0},
    {"ReduceMin", fold_reduce, 0},       {"ReduceProd", fold_reduce, 0},  {"ReduceSum", fold_reduce, 0},
    {"ReduceSumSquare", fold_reduce, 0}, {"Softmax", fold_softmax, 0},    {0}};
