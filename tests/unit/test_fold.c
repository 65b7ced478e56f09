/* What is computed of constants and shapes while a network is imported: exact for every batch, or refused; never without end. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model.h"
#include "import/fold/fold.h"
#include "support/model.h"

/* ---- numbers */

static fold_number line(int64_t a, int64_t b, int64_t c)
{
    return (fold_number){.integer = true, .i = {a, b, c}};
}

static fold_number real_line(double a, double b)
{
    return (fold_number){.f = {a, b, 0}};
}

static void expect(const char *reason, const fold_number *number, int64_t a, int64_t b, int64_t c)
{
    if (reason) { fail_msg("%s", reason); }
    assert_true(number->integer);
    assert_int_equal(number->i[0], a);
    assert_int_equal(number->i[1], b);
    assert_int_equal(number->i[2], c);
}

static void test_arithmetic(void **state)
{
    (void)state;
    fold_number out;
    expect(fold_add((fold_number[]){line(1, 2, 3), line(10, 20, 30)}, &out), &out, 11, 22, 33);
    expect(fold_subtract((fold_number[]){line(1, 2, 3), line(10, 20, 30)}, &out), &out, -9, -18, -27);
    expect(fold_multiply((fold_number[]){line(-3, 0, 0), line(10, 20, 30)}, &out), &out, -30, -60, -90);
    expect(fold_divide((fold_number[]){line(-7, 0, 0), line(2, 0, 0)}, &out), &out, -3, 0, 0); /* towards 0 */
    expect(fold_divide((fold_number[]){line(0, 196, 0), line(49, 0, 0)}, &out), &out, 0, 4, 0);
    expect(fold_divide((fold_number[]){line(0, 196, 0), line(0, 3, 0)}, &out), &out, 65, 0, 0); /* 196 N / 3 N */
    expect(fold_remainder((fold_number[]){line(-7, 0, 0), line(3, 0, 0)}, &out), &out, 2, 0, 0);
    expect(fold_remainder((fold_number[]){line(-7, 6, 0), line(3, 0, 0)}, &out), &out, 2, 0, 0);
    expect(fold_remainder((fold_number[]){line(7, 0, 0), line(-3, 0, 0)}, &out), &out, -2, 0, 0);
    expect(fold_remainder_c((fold_number[]){line(-7, 0, 0), line(3, 0, 0)}, &out), &out, -1, 0, 0);
    /* what is no line, or too large */
    assert_non_null(fold_multiply((fold_number[]){line(0, 1, 0), line(0, 1, 0)}, &out));
    assert_non_null(fold_divide((fold_number[]){line(0, 3, 0), line(2, 0, 0)}, &out));
    assert_non_null(fold_divide((fold_number[]){line(1, 4, 0), line(2, 0, 0)}, &out));
    assert_non_null(fold_divide((fold_number[]){line(1, 0, 0), line(0, 0, 0)}, &out));
    assert_non_null(fold_divide((fold_number[]){line(4, 0, 0), line(0, 2, 0)}, &out));
    assert_non_null(fold_remainder((fold_number[]){line(0, 3, 0), line(2, 0, 0)}, &out));
    assert_non_null(fold_add((fold_number[]){line(INT64_MAX, 0, 0), line(1, 0, 0)}, &out));
    assert_non_null(fold_multiply((fold_number[]){line(INT64_MAX, 0, 0), line(2, 0, 0)}, &out));
    assert_non_null(fold_divide((fold_number[]){line(INT64_MIN, 0, 0), line(-1, 0, 0)}, &out));
    /* real numbers that vary stay whole */
    assert_null(fold_divide((fold_number[]){real_line(0, 196), real_line(49, 0)}, &out));
    assert_true(out.f[0] == 0 && out.f[1] == 4);
    assert_non_null(fold_divide((fold_number[]){real_line(0, 1), real_line(2, 0)}, &out));
    assert_non_null(fold_convert(&(fold_number){.f = {1e300, 0, 0}}, ONNX_INT64, &out));
    expect(fold_convert(&(fold_number){.f = {-2.75, 0, 0}}, ONNX_INT64, &out), &out, -2, 0, 0);
    expect(fold_convert(&(fold_number){.f = {0, 3, 0}}, ONNX_INT64, &out), &out, 0, 3, 0);
}

/* Every relation that a + b N + c i has with 0, against the numbers themselves: none is missing. */
static void test_order(void **state)
{
    (void)state;
    const fold_number zero = line(0, 0, 0);
    for (int64_t a = -4; a <= 4; a++) {
        for (int64_t b = -3; b <= 3; b++) {
            for (int64_t c = -3; c <= 3; c++) {
                const fold_number number = line(a, b, c);
                unsigned seen = 0;
                for (int64_t n = 1; n < 40; n++) {
                    for (int64_t i = 0; i < n; i++) {
                        const int64_t value = a + b * n + c * i;
                        seen |= value < 0 ? 1u : value > 0 ? 4u : 2u;
                    }
                }
                const unsigned found = fold_compare(&number, &zero);
                assert_int_equal(seen & ~found, 0);
                if (c == 0) { assert_int_equal(found, seen); }
            }
        }
    }
}

/* ---- networks */

enum { CHANNELS = 6, SIDE = 4, SIZE = CHANNELS * SIDE * SIDE };

static void put_integers(wire *network, const char *name, int count, const int64_t *numbers)
{
    put_tensor(network, tensor_int64(name, count, numbers));
}

/* 'NAME OP INPUTS' a line; what a node makes has its name. The last one is flattened. OP may end in @ and numbers: axis, or perm of a
 * Transpose. */
static void put_lines(wire *network, const char *lines)
{
    char text[2048], *rest = text, *last = NULL;
    snprintf(text, sizeof text, "%s", lines);
    for (char *at; (at = strsep(&rest, "\n")) && *at;) {
        char *name = strsep(&at, " "), *op = strsep(&at, " ");
        char *numbers = op;
        op = strsep(&numbers, "@");
        wire node = node_of(name, op, at ? at : "", name);
        int64_t list[8];
        int count = 0;
        for (char *number; (number = strsep(&numbers, ","));) { list[count++] = strtoll(number, NULL, 10); }
        if (count && strcmp(op, "Transpose") == 0) {
            node = with_ints(node, "perm", count, list);
        } else if (count) {
            node = with_int(node, "axis", list[0]);
        }
        put_node(network, node);
        last = name;
    }
    put_node(network, node_of("flat", "Flatten", last, "y"));
}

static wire begin(int64_t classes)
{
    static const struct {
        const char *name;
        int64_t number;
    } numbers[] = {
        {"zero", 0}, {"one", 1}, {"two", 2}, {"three", 3}, {"minus", -1}, {"sixteen", 16}, {"many", INT64_C(1) << 40}};
    wire network = graph_of(CHANNELS, SIDE, SIDE, classes);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        put_integers(&network, numbers[i].name, 1, &numbers[i].number);
    }
    put_integers(&network, "tokens", 3, (const int64_t[]){0, CHANNELS, SIDE * SIDE});
    put_integers(&network, "heads", 5, (const int64_t[]){-1, 3, 2, SIDE, SIDE});
    put_integers(&network, "joined", 4, (const int64_t[]){3, -1, SIDE, SIDE});
    put_integers(&network, "apart", 5, (const int64_t[]){-1, 2, 3, SIDE, SIDE});
    put_integers(&network, "column", 2, (const int64_t[]){-1, 1});
    put_integers(&network, "size", 1, (const int64_t[]){SIZE});
    put_integers(&network, "mixing", 2, (const int64_t[]){-1, SIZE});
    put_integers(&network, "end", 1, (const int64_t[]){CHANNELS + 1});
    put_tensor(&network, tensor_random("token", 3, (const int64_t[]){1, 1, SIDE * SIDE}, 9));
    int64_t backwards[SIZE];
    for (int i = 0; i < SIZE; i++) { backwards[i] = SIZE - 1 - i; }
    put_integers(&network, "backwards", SIZE, backwards);
    return network;
}

static spade_status load(wire network, spade_context **context, spade_model **model)
{
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = "cpu";
    options.threads = 1;
    *model = NULL;
    assert_int_equal(spade_context_create(&options, context), SPADE_OK);
    return spade_model_load(*context, test_save("fold.onnx", model_with_opset(network, 17)), NULL, model);
}

static void close_model(spade_context *context, spade_model *model)
{
    spade_model_destroy(model);
    assert_int_equal(context->used, 0);
    spade_context_destroy(context);
}

static void refuse(const char *lines, spade_status expected, const char *word)
{
    spade_context *context;
    spade_model *model;
    wire network = begin(SIZE);
    put_lines(&network, lines);
    const spade_status status = load(network, &context, &model);
    if (status != expected) { fail_msg("status %d: %s\n%s", status, lines, spade_message(context)); }
    if (!strstr(spade_message(context), word)) { fail_msg("no \"%s\" in: %s", word, spade_message(context)); }
    close_model(context, model);
}

/* The network's result for three pictures is what it gives for each alone, and `expected` of each (a permutation: the index of
 * the input's element that is there; NULL: any). */
static void expect_result(const char *lines, const int *expected)
{
    enum { IMAGES = 3 };
    spade_context *context;
    spade_model *model;
    wire network = begin(SIZE);
    put_lines(&network, lines);
    if (load(network, &context, &model) != SPADE_OK) { fail_msg("%s\n%s", lines, spade_message(context)); }
    float x[IMAGES * SIZE], y[IMAGES * SIZE], alone[SIZE];
    for (uint32_t i = 0; i < IMAGES * SIZE; i++) { x[i] = pseudo_random(3, i); }
    if (spade_model_forward(context, model, NULL, x, IMAGES, y) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    for (int n = 0; n < IMAGES; n++) {
        assert_int_equal(spade_model_forward(context, model, NULL, x + n * SIZE, 1, alone), SPADE_OK);
        for (int i = 0; i < SIZE; i++) {
            assert_float_equal(y[n * SIZE + i], alone[i], 1e-6);
            if (expected) { assert_float_equal(alone[i], x[n * SIZE + expected[i]], 0); }
        }
    }
    close_model(context, model);
}

static void test_shapes(void **state)
{
    (void)state;
    enum { PIXELS = SIDE * SIDE };
    int same[SIZE], regrouped[SIZE], reversed[SIZE];
    for (int i = 0; i < SIZE; i++) {
        const int group = i / PIXELS % 3, half = i / (3 * PIXELS);
        same[i] = i;
        regrouped[i] = (group * 2 + half) * PIXELS + i % PIXELS; /* [2, 3, pixels] of [3, 2, pixels] */
        reversed[i] = SIZE - 1 - i;
    }
    /* a shape made of its own numbers; there and back, with the batch on another axis in between */
    expect_result("s Shape x\nn Gather@0 s zero\nc Gather@0 s one\nh Div c two\nk Concat@0 n two h sixteen\n"
                  "r Reshape x k\nt Transpose@2,0,1,3 r\nu Transpose@1,2,0,3 t\n",
                  same);
    /* [N, 3, 2, ..] -> [3, N, 2, ..] -> [3, 2 N, ..] -> [2 N, 3, ..] -> [N, 2, 3, ..] */
    expect_result("r Reshape x heads\nt Transpose@1,0,2,3,4 r\nj Reshape t joined\nu Transpose@1,0,2,3 j\n"
                  "a Reshape u apart\n",
                  regrouped);
    /* x.view(x.size(0), -1) */
    expect_result("s Shape x\nf Squeeze zero\nn Gather@0 s f\nu Unsqueeze n zero\nk Concat@0 u minus\nr Reshape x k\n",
                  same);
    /* a token in front of each picture's, and away again */
    expect_result("s Shape x\nn Gather@0 s zero\nk Concat@0 n one sixteen\ne Expand token k\nr Reshape x tokens\n"
                  "c Concat@1 e r\nz Slice c one end one\n",
                  same);
    /* as_strided: an index for each element of the whole batch */
    expect_result("s Shape x\nn Gather@0 s zero\nl Squeeze n\nf Squeeze zero\no Squeeze one\ni Range f l o\n"
                  "m Mul i size\nk Reshape m column\na Add k backwards\nx1 Reshape x minus\ng Gather@0 x1 a\n",
                  reversed);
    /* what is read of a shape alone goes; a mask that is all true */
    expect_result("w Relu x\ns Shape w\nn Gather@0 s zero\nk Concat@0 n three two sixteen\nr Reshape x k\n", same);
}

/* ---- what does not keep pictures apart, and what would not end */

static void test_refused(void **state)
{
    (void)state;
    static const char *const uneven = "grow evenly";
    refuse("s Shape x\nn Gather@0 s zero\nm Mul n n\nr Reshape x m\n", SPADE_ERROR_UNSUPPORTED, uneven);
    refuse("s Shape x\nn Gather@0 s zero\nm Div n two\nr Reshape x m\n", SPADE_ERROR_UNSUPPORTED, uneven);
    refuse("s Shape x\nn Gather@0 s zero\ne Equal n two\nw Where e one two\nr Reshape x w\n", SPADE_ERROR_UNSUPPORTED,
           "depends on the batch");
    refuse("r Reshape x heads\nt Transpose@1,0,2,3,4 r\nm Reshape t mixing\n", SPADE_ERROR_UNSUPPORTED,
           "what belongs to one picture");
    refuse("r Reshape x tokens\nt Transpose@1,0,2 r\nm Softmax@1 t\nq Relu m\n", SPADE_ERROR_UNSUPPORTED,
           "over the batch");
    refuse("g Gather@0 x zero\n", SPADE_ERROR_UNSUPPORTED, "over the batch");
    refuse("z Slice x zero one zero\n", SPADE_ERROR_UNSUPPORTED, "batch");
    refuse("c Concat@0 x x\n", SPADE_ERROR_UNSUPPORTED, "along the batch");
    refuse("m ReduceMean x\n", SPADE_ERROR_UNSUPPORTED, "over the batch");
    /* sizes without end, from a file of a few bytes */
    refuse("k ConstantOfShape many\na Relu k\nz Mul x a\n", SPADE_ERROR_INPUT, "more arithmetic");
    refuse("f Squeeze zero\nl Squeeze many\no Squeeze one\nk Range f l o\nz Mul x k\n", SPADE_ERROR_INPUT, "");
    refuse("k Expand one many\nz Mul x k\n", SPADE_ERROR_INPUT, "more arithmetic");
    refuse("k Tile one many\nz Mul x k\n", SPADE_ERROR_INPUT, "more arithmetic");
    refuse("d Div one zero\nz Mul x d\n", SPADE_ERROR_UNSUPPORTED, "division by 0");
    refuse("g Gather@0 sixteen sixteen\nz Mul x g\n", SPADE_ERROR_INPUT, "out of range");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_arithmetic), cmocka_unit_test(test_order),
                                       cmocka_unit_test(test_shapes), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
