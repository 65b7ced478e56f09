/*
 * The ONNX project's own tests of single nodes (Debian's libonnx-testdata; or SPADE_ONNX_NODES, a folder of such cases made by
 * another version of onnx): each case has a model, inputs and the outputs that are right.
 *
 * A case counts if spade claims all its operators (spade_known_operator_at()). Its graph is put into a network that spade
 * takes, in two ways:
 *   on the picture    the first input, or all inputs that fit beside it, are made of a picture, the others are constants. One axis
 *                     is the batch, each in turn: its pictures have to come out apart, and right, wherever this network loads
 *   as constants      all inputs are initializers, so that the graph is folded at load
 * A wrong number in any of them fails. A case that is refused both ways is printed with the reason, which has to be one of those
 * listed below; an operator of which nothing runs fails.
 */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "engine/model.h"
#include "import/import.h"
#include "onnx/onnx.h"
#include "onnx/wire.h"
#include "support/context.h"
#include "support/model.h"

enum { MAX_TENSORS = 16, MAX_CASES = 4096, MAX_OPERATORS = 256, LINE = 1024 };

/* ---- a case */

typedef struct test_case {
    const char *name;
    onnx_model *model; /* as the file has it */
    uint8_t *bytes;    /* of the model's file */
    size_t size;
    onnx_model *data;                                              /* initializers: "i0", "i1", .. and "o0", "o1", .. */
    const onnx_tensor *inputs[MAX_TENSORS], *outputs[MAX_TENSORS]; /* NULL: it has none */
    int input_count, output_count;
} test_case;

static uint8_t *read_file(const char *path, size_t *size)
{
    struct stat info;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &info) != 0) { return NULL; }
    uint8_t *bytes = malloc((size_t)info.st_size + 1);
    *size = bytes ? fread(bytes, 1, (size_t)info.st_size, file) : 0;
    fclose(file);
    return bytes;
}

/* The tensors of the first data set, as initializers of a model of their own. */
static bool load_tensors(spade_context *context, const char *folder, test_case *test)
{
    wire graph = {0};
    bool there = true;
    put_node(&graph, node_of("none", "Relu", "i0", "none")); /* a graph has nodes */
    test->input_count = test->model->input_count;
    test->output_count = test->model->output_count;
    there = test->input_count <= MAX_TENSORS && test->output_count <= MAX_TENSORS;
    for (int k = 0; there && k < test->input_count + test->output_count; k++) {
        const bool input = k < test->input_count;
        char path[2 * LINE], name[16];
        size_t size;
        wire tensor = {0};
        snprintf(name, sizeof name, "%c%d", input ? 'i' : 'o', input ? k : k - test->input_count);
        snprintf(path, sizeof path, "%s/test_data_set_0/%s_%s.pb", folder, input ? "input" : "output", name + 1);
        uint8_t *bytes = read_file(path, &size);
        there = bytes != NULL;
        if (!there) { break; }
        wire_raw(&tensor, bytes, size);
        wire_text(&tensor, 8, name); /* of two names the last one counts */
        put_tensor(&graph, tensor);
        free(bytes);
    }
    if (!there) {
        wire_free(&graph);
        return false;
    }
    if (onnx_load(context, test_save("data.onnx", model_with_opset(graph, 17)), false, &test->data) != SPADE_OK) {
        return false;
    }
    for (int k = 0; k < test->data->initializer_count; k++) {
        const onnx_tensor *tensor = &test->data->initializers[k];
        const int number = atoi(tensor->name + 1);
        const bool usable = tensor->bytes || tensor->count == 0;
        *(tensor->name[0] == 'i' ? &test->inputs[number] : &test->outputs[number]) = usable ? tensor : NULL;
    }
    return true;
}

/* NULL: fine; else why the case is none for us. */
static const char *load_case(spade_context *context, const char *folder, test_case *test)
{
    char path[2 * LINE];
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    test->bytes = read_file(path, &test->size);
    if (!test->bytes) { return "it has no model"; }
    if (onnx_load(context, path, false, &test->model) != SPADE_OK) { return spade_message(context); }
    if (!load_tensors(context, folder, test)) { return spade_message(context); }
    for (int k = 0; k < test->input_count; k++) {
        if (!test->inputs[k]) { return "an input has a type that is not read"; }
    }
    return NULL;
}

static void clear_case(test_case *test)
{
    onnx_free(test->model);
    onnx_free(test->data);
    free(test->bytes);
}

/* Every field of this number of a message, as another field of `out` (0: of the same number). */
static void copy_fields(const uint8_t *bytes, size_t start, size_t end, uint32_t number, wire *out)
{
    onnx_cursor cursor = {.data = bytes, .position = start, .end = end};
    onnx_field field;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number == number) { wire_bytes(out, number, bytes + field.position, field.end - field.position); }
    }
}

static bool is_real(int type)
{
    return type == ONNX_FLOAT || type == ONNX_DOUBLE || type == ONNX_FLOAT16 || type == ONNX_BFLOAT16;
}

/* ---- a network around the case's graph */

/* Which inputs are made of the picture, and where the batch is. */
typedef struct form {
    bool all;   /* all inputs that have as many along the batch's axis as the first one; else this one alone */
    int axis;   /* of the first input; as many axes behind it in the others; -1: an axis of 1 in front of all */
    bool fixed; /* the file says how long the batch is */
    bool head;  /* the graph ends in a softmax or sigmoid, which is left as the network's head */
} form;

static int axis_of(const onnx_tensor *first, const onnx_tensor *tensor, const form *f)
{
    return f->axis < 0 ? 0 : tensor == first ? f->axis : f->axis - first->rank + tensor->rank;
}

static bool of_picture(const test_case *test, int k, const form *f)
{
    const onnx_tensor *first = test->inputs[0], *tensor = test->inputs[k];
    const int axis = axis_of(first, tensor, f);
    if (k == 0) { return true; }
    if (!f->all || !is_real(tensor->type) || axis < 0 || axis >= tensor->rank) { return false; }
    return f->axis < 0 ? tensor->rank == first->rank : tensor->dims[axis] == first->dims[f->axis];
}

/* How many pictures, and the elements of one that an input has. */
static int64_t batch_of(const test_case *test, const form *f)
{
    return f->axis < 0 ? 1 : test->inputs[0]->dims[f->axis];
}

static int64_t share_of(const test_case *test, int k, const form *f)
{
    return test->inputs[k]->count / batch_of(test, f);
}

static int64_t picture_size(const test_case *test, const form *f)
{
    int64_t size = 0;
    for (int k = 0; k < test->input_count; k++) { size += of_picture(test, k, f) ? share_of(test, k, f) : 0; }
    return size;
}

/* Element e of image n along an axis of the tensor. */
static int64_t index_of(const onnx_tensor *tensor, int axis, int64_t n, int64_t e)
{
    int64_t inner = 1;
    for (int i = axis + 1; i < tensor->rank; i++) { inner *= tensor->dims[i]; }
    return (e / inner * tensor->dims[axis] + n) * inner + e % inner;
}

/* The axis moves to the front, or from there. */
static wire move_axis(const char *from, const char *to, int rank, int axis, bool to_front)
{
    int64_t order[SPADE_MAX_RANK] = {0};
    for (int i = 0, next = 1; i < rank; i++) {
        if (to_front) {
            order[i] = i == 0 ? axis : i <= axis ? i - 1 : i;
        } else {
            order[i] = i == axis ? 0 : next++;
        }
    }
    return with_ints(node_of(to, "Transpose", from, to), "perm", rank, order);
}

/* Nodes that make input k of the picture's elements from `start` on. */
static void put_input(wire *graph, const test_case *test, int k, const form *f, int64_t start)
{
    const onnx_tensor *tensor = test->inputs[k];
    const int axis = axis_of(test->inputs[0], tensor, f), rank = tensor->rank + (f->axis < 0);
    const int64_t share = share_of(test, k, f);
    int64_t shape[SPADE_MAX_RANK + 1] = {-1}, *indices = calloc((size_t)share + 1, sizeof *indices);
    char own[24], flat[24], front[24], pair[64];
    assert_non_null(indices);
    for (int i = 0, next = 1; i < tensor->rank; i++) {
        if (i != axis || f->axis < 0) { shape[next++] = tensor->dims[i]; }
    }
    for (int64_t e = 0; e < share; e++) { indices[e] = start + e; }
    snprintf(own, sizeof own, "spade.own%d", k);
    snprintf(flat, sizeof flat, "spade.flat%d", k);
    snprintf(front, sizeof front, "spade.front%d", k);
    put_tensor(graph, tensor_int64(own, (int)share, indices));
    snprintf(pair, sizeof pair, "spade.x %s", own);
    put_node(graph, with_int(node_of(flat, "Gather", pair, flat), "axis", 3));
    snprintf(own, sizeof own, "spade.shape%d", k);
    put_tensor(graph, tensor_int64(own, rank, shape));
    snprintf(pair, sizeof pair, "%s %s", flat, own);
    const char *name = test->model->inputs[k].name;
    put_node(graph, node_of(front, "Reshape", pair, axis ? front : name));
    if (axis) { put_node(graph, move_axis(front, name, rank, axis, false)); }
    free(indices);
}

static void put_constant(wire *graph, const test_case *test, int k)
{
    const onnx_tensor *tensor = test->inputs[k];
    wire copy = tensor_head(test->model->inputs[k].name, tensor->type, tensor->rank, tensor->dims);
    wire_bytes(&copy, 9, tensor->bytes ? tensor->bytes : "", tensor->size);
    put_tensor(graph, copy);
}

/* The case's nodes and initializers. */
static void put_case(wire *graph, const test_case *test)
{
    onnx_cursor cursor = {.data = test->bytes, .end = test->size};
    onnx_field field;
    while (onnx_wire_next(&cursor, &field)) {
        if (field.number != 7) { continue; }
        copy_fields(test->bytes, field.position, field.end, 1, graph);
        copy_fields(test->bytes, field.position, field.end, 5, graph);
    }
}

static const char *finish(wire *graph, const test_case *test, int64_t batch, int64_t size)
{
    wire model = {0};
    wire_number(&model, 1, 8);
    wire_message(graph, 11, value_of("spade.x", 4, (const int64_t[]){batch, 1, 1, size}));
    wire_message(graph, 12, value_of("spade.y", 2, (const int64_t[]){batch, -1}));
    wire_message(&model, 7, *graph);
    copy_fields(test->bytes, 0, test->size, 8, &model);
    if (test->model->opset < SPADE_MIN_OPSET) { /* the operator is the same until then, else the case was a later one */
        wire opset = {0};
        wire_number(&opset, 2, SPADE_MIN_OPSET);
        wire_message(&model, 8, opset);
    }
    return test_save("node.onnx", model);
}

/* out_axis: the axis of the output that is the batch. */
static const char *write_on_picture(const test_case *test, const form *f, int output, int out_axis)
{
    const int rank = test->outputs[output]->rank + (f->axis < 0);
    const char *last = test->model->outputs[output].name;
    int64_t start = 0;
    wire graph = {0};
    wire_text(&graph, 2, test->name);
    for (int k = 0; k < test->input_count; k++) {
        if (of_picture(test, k, f)) {
            put_input(&graph, test, k, f, start);
            start += share_of(test, k, f);
        } else {
            put_constant(&graph, test, k);
        }
    }
    put_case(&graph, test);
    if (!f->head) { /* between the case and what only moves numbers, so that it is no head */
        put_node(&graph, node_of("spade.neg", "Neg", last, "spade.neg"));
        last = "spade.neg";
    }
    if (out_axis) { put_node(&graph, move_axis(last, "spade.moved", rank, out_axis, true)); }
    put_node(&graph, node_of("spade.y", "Flatten", out_axis ? "spade.moved" : last, "spade.y"));
    return finish(&graph, test, f->fixed ? batch_of(test, f) : -1, picture_size(test, f));
}

/* The output's numbers and behind them its dimensions, as float32, added to a picture of zeros. */
static const char *write_as_constants(const test_case *test, int output)
{
    const char *name = test->model->outputs[output].name;
    char pair[LINE];
    wire graph = {0};
    wire_text(&graph, 2, test->name);
    for (int k = 0; k < test->input_count; k++) { put_constant(&graph, test, k); }
    put_case(&graph, test);
    put_tensor(&graph, tensor_int64("spade.all", 1, (const int64_t[]){-1}));
    snprintf(pair, sizeof pair, "%s spade.all", name);
    put_node(&graph, node_of("spade.flat", "Reshape", pair, "spade.flat"));
    put_node(&graph, with_int(node_of("spade.numbers", "Cast", "spade.flat", "spade.numbers"), "to", ONNX_FLOAT));
    put_node(&graph, node_of("spade.dims", "Shape", name, "spade.dims"));
    put_node(&graph, with_int(node_of("spade.sizes", "Cast", "spade.dims", "spade.sizes"), "to", ONNX_FLOAT));
    put_node(&graph, with_int(node_of("spade.known", "Concat", "spade.numbers spade.sizes", "spade.known"), "axis", 0));
    put_node(&graph, node_of("spade.sum", "Add", "spade.x spade.known", "spade.sum"));
    put_node(&graph, node_of("spade.y", "Flatten", "spade.sum", "spade.y"));
    return finish(&graph, test, -1, test->outputs[output]->count + test->outputs[output]->rank);
}

/* ---- what comes out */

static double number_at(const onnx_tensor *tensor, int64_t index)
{
    return is_real(tensor->type) ? (double)onnx_tensor_float(tensor, index) : (double)onnx_tensor_int(tensor, index);
}

/* Cases whose outputs are further from what their definition says than ours may be. */
static const struct {
    const char *part; /* of the case's name */
    double tolerance;
    const char *why;
} inexact[] = {
    {"window", 1e-4, "the outputs were made with 3.1415"},
    {"ceil_last_window_starts_on_pad", 1e-3, "the outputs have four digits"},
    {"resize_downsample_scales_linear_align_corners", INFINITY,
     "the outputs take the length 2.4 of the result for what the definition says is 2, as PyTorch and onnxruntime do"},
    {"resize_downsample_scales_cubic_align_corners", INFINITY, "as above"},
};

static double tolerance_of(const test_case *test, const onnx_tensor *tensor)
{
    for (size_t i = 0; i < sizeof inexact / sizeof *inexact; i++) {
        if (strstr(test->name, inexact[i].part)) { return inexact[i].tolerance; }
    }
    return tensor->type == ONNX_BFLOAT16 ? 1e-2 : tensor->type == ONNX_FLOAT16 ? 2e-3 : 2e-5;
}

static bool is_close(const test_case *test, double found, double expected, const onnx_tensor *tensor)
{
    const double scale = fabs(expected) > 1 ? fabs(expected) : 1;
    if (isnan(expected) || isinf(expected)) { return isnan(expected) ? isnan(found) : found == expected; }
    return fabs(found - expected) <= tolerance_of(test, tensor) * scale;
}

typedef enum result { REFUSED, RIGHT } result;

/* The network's outputs [pictures, size] for these, after its head; NULL: it is refused. *size: of one. */
static float *run_network(spade_context *context, const char *path, const float *x, int64_t pictures, int64_t wanted,
                          spade_head *head)
{
    spade_model *model = NULL;
    if (spade_model_load(context, path, NULL, &model) != SPADE_OK) { return NULL; }
    const int64_t size = spade_model_outputs(model);
    *head = spade_model_head(model);
    float *y = calloc((size_t)(pictures * size) + 1, sizeof *y);
    assert_non_null(y);
    if (size != wanted) { fail_msg("%s: %lld outputs instead of %lld", path, (long long)size, (long long)wanted); }
    if (spade_model_forward(context, model, NULL, x, pictures, y) != SPADE_OK) {
        fail_msg("%s", spade_message(context));
    }
    double *scores = calloc((size_t)size + 2, sizeof *scores);
    assert_non_null(scores);
    for (int64_t n = 0; *head != SPADE_HEAD_NONE && n < pictures; n++) {
        spade_model_scores(model, y + n * size, NULL, scores);
        for (int64_t e = 0; e < size; e++) {
            const double score = scores[size == 1 ? 1 : e]; /* one output speaks for two classes */
            y[n * size + e] = (float)(*head == SPADE_HEAD_LOG_SOFTMAX ? log(score) : score);
        }
    }
    free(scores);
    spade_model_destroy(model);
    return y;
}

/* A place where a network was wrong, for all cases together. */
static int wrong_count;

static void report_wrong(const test_case *test, const char *where, const onnx_tensor *tensor, int64_t at, double found)
{
    wrong_count++;
    printf("WRONG  %s, %s: element %lld is %.9g instead of %.9g\n", test->name, where, (long long)at, found,
           number_at(tensor, at));
}

static result run_on_picture(spade_context *context, const test_case *test, const form *f, int output, int out_axis)
{
    const onnx_tensor *expected = test->outputs[output];
    const int64_t pictures = batch_of(test, f), size = picture_size(test, f), share = expected->count / pictures;
    float *x = calloc((size_t)(pictures * size) + 1, sizeof *x);
    char where[LINE];
    spade_head head;
    int64_t start = 0;
    assert_non_null(x);
    for (int k = 0; k < test->input_count; k++) {
        if (!of_picture(test, k, f)) { continue; }
        const int axis = axis_of(test->inputs[0], test->inputs[k], f);
        const int64_t own = share_of(test, k, f);
        for (int64_t e = 0; e < pictures * own; e++) {
            const int64_t from = f->axis < 0 ? e : index_of(test->inputs[k], axis, e / own, e % own);
            x[e / own * size + start + e % own] = onnx_tensor_float(test->inputs[k], from);
        }
        start += own;
    }
    float *y = run_network(context, write_on_picture(test, f, output, out_axis), x, pictures, share, &head);
    free(x);
    if (!y) { return REFUSED; }
    snprintf(where, sizeof where, "output %d, on the picture (%s, batch on axis %d to %d%s%s)", output,
             f->all ? "all inputs" : "first input", f->axis, out_axis, f->fixed ? ", fixed" : "",
             f->head ? ", head" : "");
    for (int64_t e = 0; e < expected->count; e++) {
        const int64_t at = f->axis < 0 ? e : index_of(expected, out_axis, e / share, e % share);
        const double found = f->head ? (double)y[e] : -(double)y[e];
        if (is_close(test, found, number_at(expected, at), expected)) { continue; }
        report_wrong(test, where, expected, at, found);
        break;
    }
    free(y);
    return RIGHT;
}

static result run_as_constants(spade_context *context, const test_case *test, int output)
{
    const onnx_tensor *expected = test->outputs[output];
    const int64_t size = expected->count + expected->rank;
    float *x = calloc((size_t)size + 1, sizeof *x);
    spade_head head;
    assert_non_null(x);
    float *y = size ? run_network(context, write_as_constants(test, output), x, 1, size, &head) : NULL;
    free(x);
    if (!y) { return REFUSED; }
    for (int64_t e = 0; e < expected->count; e++) {
        if (is_close(test, (double)y[e], number_at(expected, e), expected)) { continue; }
        report_wrong(test, "as constants", expected, e, (double)y[e]);
        break;
    }
    for (int i = 0; i < expected->rank; i++) {
        if ((int64_t)y[expected->count + i] == expected->dims[i]) { continue; }
        wrong_count++;
        printf("WRONG  %s, as constants: axis %d is %g long instead of %lld\n", test->name, i,
               (double)y[expected->count + i], (long long)expected->dims[i]);
    }
    free(y);
    return RIGHT;
}

/* ---- all forms of a case */

/* Operators to which one more axis in front of all inputs changes nothing. */
static bool is_elementwise(const test_case *test)
{
    static const char *const names[] = {"Abs",        "Add",
                                        "Celu",       "Clip",
                                        "Cos",        "Div",
                                        "Dropout",    "Elu",
                                        "Erf",        "Exp",
                                        "Gelu",       "HardSigmoid",
                                        "HardSwish",  "Identity",
                                        "LeakyRelu",  "Log",
                                        "Max",        "Mean",
                                        "Min",        "Mish",
                                        "Mul",        "Neg",
                                        "PRelu",      "Pow",
                                        "Reciprocal", "Relu",
                                        "Selu",       "Sigmoid",
                                        "Sign",       "Sin",
                                        "Softplus",   "Softsign",
                                        "Sqrt",       "Sub",
                                        "Sum",        "Swish",
                                        "Tanh",       "ThresholdedRelu",
                                        "Where"};
    if (test->model->node_count != 1) { return false; }
    for (int k = 1; k < test->input_count; k++) {
        if (test->inputs[k]->rank > test->inputs[0]->rank) { return false; }
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(test->model->nodes[0].op_type, names[i]) == 0) { return true; }
    }
    return false;
}

static bool is_head(const test_case *test)
{
    const char *op = test->model->nodes[0].op_type;
    return test->model->node_count == 1 &&
           (strcmp(op, "Softmax") == 0 || strcmp(op, "LogSoftmax") == 0 || strcmp(op, "Sigmoid") == 0);
}

/* reason: of the first refusal, if there is none yet. */
static void keep_reason(spade_context *context, char reason[LINE])
{
    if (!*reason) { snprintf(reason, LINE, "%s", spade_message(context)); }
}

static result try_form(spade_context *context, const test_case *test, const form *f, int output, char reason[LINE])
{
    const onnx_tensor *expected = test->outputs[output];
    const int64_t batch = batch_of(test, f);
    for (int k = 0; k < (f->axis < 0 ? 1 : expected->rank); k++) {
        if (f->axis >= 0 && expected->dims[k] != batch) { continue; }
        if (run_on_picture(context, test, f, output, k) == RIGHT) { return RIGHT; }
        keep_reason(context, reason);
    }
    return REFUSED;
}

static result try_picture(spade_context *context, const test_case *test, int output, char reason[LINE])
{
    const onnx_tensor *first = test->input_count ? test->inputs[0] : NULL, *expected = test->outputs[output];
    result found = REFUSED;
    if (!first || !is_real(first->type) || first->count < 1 || expected->count < 1 || !is_real(expected->type)) {
        snprintf(reason, LINE, "input or output hold no real numbers");
        return REFUSED;
    }
    for (int head = 0; head <= (is_head(test) ? 1 : 0); head++) {
        for (int all = 0; all < (test->input_count > 1 ? 2 : 1); all++) {
            for (int axis = is_elementwise(test) ? -1 : 0; axis < first->rank; axis++) {
                form f = {.all = all, .axis = axis, .head = head};
                result one = try_form(context, test, &f, output, reason);
                f.fixed = true;
                if (one != RIGHT) { one = try_form(context, test, &f, output, reason); }
                if (one == RIGHT) { found = RIGHT; }
                if (one == RIGHT && test_is_emulated()) { return RIGHT; } /* the others differ at import alone */
            }
        }
    }
    if (found == REFUSED && !*reason) { snprintf(reason, LINE, "no axis of its output can be the batch"); }
    return found;
}

/* ---- what is claimed */

typedef struct claim {
    spade_known_operator operator;
    int cases, ran;
} claim;

static claim *find_claim(claim *claims, int count, const onnx_node *node)
{
    for (int i = 0; i < count && !(node->domain && node->domain[0]); i++) {
        if (strcmp(claims[i].operator.name, node->op_type) == 0) { return &claims[i]; }
    }
    return NULL;
}

static bool all_claimed(claim *claims, int count, const onnx_model *model)
{
    for (int i = 0; i < model->node_count; i++) {
        if (!find_claim(claims, count, &model->nodes[i])) { return false; }
    }
    return model->node_count > 0;
}

/* ---- what may be refused */

/* Words of the messages, of what is not supported on purpose (docs/operators.md). */
static const char *const refusals[] = {
    "has a type that is not read", /* 16-bit integers, text, ... */
    "stored in segments",          /* sequences and optional values, which are no tensors */
    "where its shape and type need",
    "over the batch is not supported", /* what mixes pictures */
    "over the images of a batch",
    "has a batch of its own",
    "no axis of its output can be the batch",
    "an output that is not computed", /* second outputs that only training reads */
    "training mode is not supported",
    "over two dimensions", /* 3-D windows */
    "of one and two dimensions",
    "keys and values of the past",
    "_window_size\" is not supported", /* an attribute of opset 25 */
    "batch_dims is not supported",
    "\"...ii ->...i\" is not supported",
    "neither one nor one for each entry of an axis",
    "Mod of real numbers",
    "a conversion of the picture to type",
    "(Cast): type", /* float8, ... */
    "the extreme of nothing",
    "only float32 weights are supported",
    "input 0 is a constant", /* the remaining operators have a rule for a picture alone */
};

static bool is_known_refusal(const char *reason)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        if (strstr(reason, refusals[i])) { return true; }
    }
    return false;
}

/* One line that names a node of the case and its operator, or what is wrong with the file. */
static bool is_clear(const test_case *test, const char *reason)
{
    bool named = !strstr(reason, "node \"") || !test->model;
    for (int i = 0; !named && i < test->model->node_count; i++) {
        char words[80];
        snprintf(words, sizeof words, "(%s): ", test->model->nodes[i].op_type);
        named = strstr(reason, words) != NULL || strstr(reason, "unsupported operators") != NULL ||
                strstr(reason, "(Neg): ") || strstr(reason, "(Reshape): "); /* ours, which read the case's output */
    }
    return named && !strchr(reason, '\n');
}

/* ---- the folder */

typedef struct tally {
    int claimed, picture, constants, skipped, foreign, unexplained;
} tally;

static void skip_case(tally *t, const test_case *test, int output, const char *picture, const char *constants)
{
    t->skipped++;
    printf("skipped  %s, output %d: %s | %s\n", test->name, output, picture, constants);
    if (!is_known_refusal(picture) && !is_known_refusal(constants)) {
        t->unexplained++;
        printf("UNEXPLAINED\n");
    }
    if (!is_clear(test, picture) || !is_clear(test, constants)) {
        t->unexplained++;
        printf("UNCLEAR\n");
    }
}

static void run_case(spade_context *context, const test_case *test, claim *claims, int count, tally *t)
{
    bool ran = false;
    for (int o = 0; o < test->output_count; o++) {
        char reasons[2][LINE] = {"", ""};
        if (!test->outputs[o]) {
            skip_case(t, test, o, "the output has a type that is not read", "");
            continue;
        }
        const bool picture = try_picture(context, test, o, reasons[0]) == RIGHT;
        const bool constants = run_as_constants(context, test, o) == RIGHT;
        if (!constants) { keep_reason(context, reasons[1]); }
        t->picture += picture;
        t->constants += constants;
        ran = ran || picture || constants;
        if (!picture && !constants) { skip_case(t, test, o, reasons[0], reasons[1]); }
    }
    for (int i = 0; i < test->model->node_count; i++) {
        claim *c = find_claim(claims, count, &test->model->nodes[i]);
        c->cases++;
        c->ran += ran;
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the cases in order; freed by the caller, each and the list. */
static char **list_cases(const char *folder, int *count)
{
    char **names = calloc(MAX_CASES, sizeof *names);
    DIR *directory = opendir(folder);
    *count = 0;
    assert_non_null(names);
    for (struct dirent *entry; directory && (entry = readdir(directory)) && *count < MAX_CASES;) {
        if (strncmp(entry->d_name, "test_", 5) == 0) { names[(*count)++] = strdup(entry->d_name); }
    }
    if (directory) { closedir(directory); }
    qsort(names, (size_t)*count, sizeof *names, compare_names);
    return names;
}

static const char *data_folder(void)
{
    const char *given = getenv("SPADE_ONNX_NODES");
    return given ? given : "/usr/share/libonnx-testdata/data/node";
}

static void test_nodes(void **state)
{
    (void)state;
    claim claims[MAX_OPERATORS] = {0};
    tally t = {0};
    int count, case_count;
    spade_context *context = test_context(test_device(), 1);
    for (count = 0; spade_known_operator_at(count, &claims[count].operator); count++) {
        assert_int_not_equal(count + 1, MAX_OPERATORS);
    }
    char **names = list_cases(data_folder(), &case_count);
    if (case_count == 0) {
        printf("%s holds no cases: install libonnx-testdata\n", data_folder());
        skip();
    }
    const char *only = getenv("SPADE_ONNX_NODE");
    for (int i = 0; i < case_count; i++) {
        char folder[LINE];
        test_case test = {.name = names[i] + strlen("test_")};
        snprintf(folder, sizeof folder, "%s/%s", data_folder(), names[i]);
        const char *unfit = only && !strstr(names[i], only) ? "not asked for" : load_case(context, folder, &test);
        const bool claimed = test.model && all_claimed(claims, count, test.model);
        t.claimed += claimed;
        t.foreign += !claimed;
        if (claimed && unfit) { skip_case(&t, &test, 0, unfit, ""); }
        if (claimed && !unfit) { run_case(context, &test, claims, count, &t); }
        clear_case(&test);
        free(names[i]);
    }
    free(names);
    printf("%d cases of operators that are claimed, %d of others; outputs right on the picture: %d, as constants: %d; "
           "skipped: %d\n",
           t.claimed, t.foreign, t.picture, t.constants, t.skipped);
    int unproven = 0;
    for (int i = 0; i < count; i++) {
        if (!claims[i].cases) { printf("no case: %s\n", claims[i].operator.name); }
        if (claims[i].cases && !claims[i].ran) {
            unproven++;
            printf("NOTHING RUNS  %s, in %d cases\n", claims[i].operator.name, claims[i].cases);
        }
    }
    spade_context_destroy(context);
    assert_int_equal(wrong_count, 0);
    assert_int_equal(unproven, 0);
    assert_int_equal(t.unexplained, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nodes)};
    return cmocka_run_group_tests_name("onnx nodes", tests, NULL, NULL);
}
