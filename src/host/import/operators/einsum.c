/*
 * einsum.c - Einsum of one operand, as a sum and a permutation, and of two, as a matrix product: letters are sorted into those
 * that both and the result have (matrices of their own), those that are summed over, and those of one operand alone.
 */
#include "import/build.h"
#include "import/operators/operators.h"

typedef struct equation {
    char letters[3][SPADE_MAX_RANK + 1]; /* of both operands, of the result */
} equation;

/* "bhqd,bhkd->bhqk" or "ij->ji", with blanks anywhere. */
static spade_status read_equation(spade_import *import, const onnx_node *node, equation *out)
{
    const char *text;
    int part = 0, count = 0;
    memset(out, 0, sizeof *out);
    SPADE_TRY(spade_import_attribute(import, onnx_get_string(import->context, node, "equation", "", &text)));
    for (const char *c = text; *c; c++) {
        if (*c == ' ') { continue; }
        const bool next = *c == ',' || (*c == '-' && c[1] == '>');
        const bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        if (next && part < 2 && (*c == ',') == (part + 1 < node->input_count)) {
            part = *c == ',' ? 1 : 2;
            count = 0;
            c += *c == '-';
        } else if (letter && count < SPADE_MAX_RANK && !strchr(out->letters[part], *c)) {
            out->letters[part][count++] = *c;
        } else {
            part = 9;
            break;
        }
    }
    if (part == 2) { return SPADE_OK; }
    return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "equation \"%.60s\" is not supported", text);
}

static int index_of(const char *letters, char letter)
{
    const char *at = strchr(letters, letter);
    return at && letter ? (int)(at - letters) : -1;
}

/* Letters of an operand in the order: shared, own (or summed), summed (or own); [3] their counts. */
static void sort_letters(const equation *e, int operand, bool own_first, char *out, int counts[3])
{
    const char *mine = e->letters[operand], *other = e->letters[1 - operand], *result = e->letters[2];
    int count = 0;
    for (int kind = 0; kind < 3; kind++) {
        const int wanted = kind == 0 ? 0 : (kind == 1) == own_first ? 1 : 2;
        const char *order = wanted == 0 || wanted == 1 ? result : e->letters[0]; /* the same order in both operands */
        counts[wanted] = 0;
        for (const char *c = order; *c; c++) {
            const bool in_other = index_of(other, *c) >= 0, in_result = index_of(result, *c) >= 0;
            const int is = in_other ? (in_result ? 0 : 2) : 1;
            if (index_of(mine, *c) < 0 || is != wanted) { continue; }
            out[count++] = *c;
            counts[wanted]++;
        }
    }
    out[count] = 0;
}

/* The value with its axes in the order of `letters`, then as [shared .., rows, columns]. */
static spade_status make_matrices(spade_import *import, const onnx_node *node, const equation *e, int operand,
                                  const char *letters, const int counts[3], int *value)
{
    int order[SPADE_MAX_RANK] = {0};
    const int rank = (int)strlen(letters), shared = counts[0], first = operand == 0 ? counts[1] : counts[2];
    for (int i = 0; i < rank; i++) { order[i] = index_of(e->letters[operand], letters[i]); }
    SPADE_TRY(spade_build_permute(import, node, *value, order, value));
    const spade_extent x = spade_value_extent(import, *value);
    spade_extent y = {.rank = shared + 2, .batch_axis = -1, .batch_outer = 1};
    y.dims[shared] = y.dims[shared + 1] = 1;
    for (int i = 0; i < rank; i++) {
        const int to = i < shared ? i : i < shared + first ? shared : shared + 1;
        if (i < shared) { y.dims[i] = 1; }
        if (i == x.batch_axis) {
            y.batch_axis = to;
            y.batch_outer = i < shared ? x.batch_outer : y.dims[to] * x.batch_outer;
        }
        y.dims[to] *= x.dims[i];
    }
    return spade_build_reshape(import, node, *value, &y, value);
}

/* Letters that the result has not are summed over, the others put in its order. */
static spade_status lower_einsum_of_one(spade_import *import, const onnx_node *node)
{
    equation e;
    int value, order[SPADE_MAX_RANK], count = 0;
    unsigned summed = 0;
    SPADE_TRY(read_equation(import, node, &e));
    SPADE_TRY(spade_activation_get(import, node, 0, &value));
    const int rank = import->network->values[value].shape.rank;
    if ((int)strlen(e.letters[0]) != rank) {
        return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its equation does not fit an operand of %d axes",
                                 rank);
    }
    for (const char *c = e.letters[2]; *c; c++) {
        order[count] = index_of(e.letters[0], *c);
        if (order[count++] < 0) {
            return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its equation makes '%c' of nothing", *c);
        }
    }
    for (int i = 0; i < rank; i++) {
        if (index_of(e.letters[2], e.letters[0][i]) >= 0) { continue; }
        summed |= 1u << i;
        order[count++] = i;
    }
    SPADE_TRY(spade_build_sum(import, node, value, summed, &value));
    SPADE_TRY(spade_build_permute(import, node, value, order, &value));
    for (int i = rank - 1; i >= (int)strlen(e.letters[2]); i--) {
        SPADE_TRY(spade_build_drop_axis(import, node, value, i, &value));
    }
    return spade_bind_output(import, node, 0, value);
}

static spade_status lower_einsum(spade_import *import, int onnx_node_index)
{
    const onnx_node *node = &import->onnx->nodes[onnx_node_index];
    equation e;
    spade_extent sources[2];
    char sorted[2][SPADE_MAX_RANK + 1] = {{0}}, joined[2 * SPADE_MAX_RANK + 1] = "";
    int values[2], counts[2][3], order[SPADE_MAX_RANK], y;
    if (node->input_count == 1) { return lower_einsum_of_one(import, node); }
    if (node->input_count != 2) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED,
                                 "only one or two operands are supported, it has %d", node->input_count);
    }
    SPADE_TRY(read_equation(import, node, &e));
    for (int k = 0; k < 2; k++) {
        SPADE_TRY(spade_activation_get(import, node, k, &values[k]));
        sources[k] = spade_value_extent(import, values[k]);
        sort_letters(&e, k, k == 0, sorted[k], counts[k]);
        if ((int)strlen(e.letters[k]) != sources[k].rank || strlen(sorted[k]) != strlen(e.letters[k]) ||
            counts[k][0] + 2 > SPADE_MAX_RANK) {
            return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its equation does not fit operand %d", k);
        }
    }
    for (int k = 0; k < 2; k++) {
        for (const char *c = e.letters[k]; *c; c++) {
            const int i = index_of(e.letters[0], *c), j = index_of(e.letters[1], *c);
            if (i >= 0 && j >= 0 && sources[0].dims[i] != sources[1].dims[j]) {
                return spade_import_fail(import, node, SPADE_ERROR_INPUT, "its operands differ along '%c'", *c);
            }
        }
    }
    for (int k = 0; k < 2; k++) { SPADE_TRY(make_matrices(import, node, &e, k, sorted[k], counts[k], &values[k])); }
    SPADE_TRY(spade_build_matmul(import, node, values[0], values[1], &y));
    /* [shared .., own of a, own of b], taken apart, then in the order of the result */
    snprintf(joined, sizeof joined, "%.*s%.*s%.*s", counts[0][0], sorted[0], counts[0][1], sorted[0] + counts[0][0],
             counts[1][1], sorted[1] + counts[1][0] + counts[1][2]);
    if (strlen(joined) != strlen(e.letters[2]) || strlen(joined) > SPADE_MAX_RANK || !joined[0]) {
        return spade_import_fail(import, node, SPADE_ERROR_UNSUPPORTED, "its equation is not supported");
    }
    spade_extent apart = {.rank = (int)strlen(joined), .batch_axis = -1, .batch_outer = 1};
    for (int i = 0; i < apart.rank; i++) {
        const int k = index_of(e.letters[0], joined[i]) >= 0 ? 0 : 1, axis = index_of(e.letters[k], joined[i]);
        apart.dims[i] = sources[k].dims[axis];
        if (axis != sources[k].batch_axis) { continue; }
        apart.batch_axis = i;
        apart.batch_outer = sources[k].batch_outer;
    }
    SPADE_TRY(spade_build_reshape(import, node, y, &apart, &y));
    for (int i = 0; i < apart.rank; i++) { order[i] = index_of(joined, e.letters[2][i]); }
    SPADE_TRY(spade_build_permute(import, node, y, order, &y));
    return spade_bind_output(import, node, 0, y);
}

const spade_onnx_operator spade_einsum_operators[] = {{"Einsum", lower_einsum}, {0}};
