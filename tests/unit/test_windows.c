/*
 * Windows over images of one, two and three axes, laid over an image and added (Col2Im, ConvTranspose); elements replaced, running
 * sums; what every picture has: each against plain loops, for two pictures at once.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model.h"
#include "support/context.h"
#include "support/model.h"

enum { IMAGES = 2, CHANNELS = 4, HEIGHT = 5, WIDTH = 6, SIZE = CHANNELS * HEIGHT * WIDTH, MOST = 2000 };

/* ---- networks from x [N, CHANNELS, HEIGHT, WIDTH] to y, flat */

static wire begin(int64_t outputs)
{
    wire network = graph_of(CHANNELS, HEIGHT, WIDTH, outputs);
    put_tensor(&network, tensor_int64("row", 3, (const int64_t[]){0, CHANNELS, -1}));
    put_tensor(&network, tensor_int64("volume", 5, (const int64_t[]){0, 2, 2, HEIGHT, WIDTH}));
    return network;
}

static spade_model *load(spade_context **context, wire network, const char *last)
{
    spade_model *model = NULL;
    put_node(&network, node_of("flat", "Flatten", last, "y"));
    *context = test_context("cpu", 1);
    const char *path = test_save("windows.onnx", model_with_opset(network, 18));
    if (spade_model_load(*context, path, NULL, &model) != SPADE_OK) { fail_msg("%s", spade_message(*context)); }
    return model;
}

static void finish(spade_context *context, spade_model *model)
{
    spade_model_destroy(model);
    assert_int_equal(context->used, 0);
    spade_context_destroy(context);
}

/* The network's results for IMAGES pictures, whose elements are pseudo_random(1, i), are the expected ones. */
static void expect(wire network, const char *last, const double *expected, int64_t outputs)
{
    spade_context *context;
    spade_model *model = load(&context, network, last);
    float x[IMAGES * SIZE], y[IMAGES * MOST];
    assert_true(outputs <= MOST);
    for (uint32_t i = 0; i < IMAGES * SIZE; i++) { x[i] = pseudo_random(1, i); }
    if (spade_model_forward(context, model, NULL, x, IMAGES, y) != SPADE_OK) { fail_msg("%s", spade_message(context)); }
    for (int64_t i = 0; i < IMAGES * outputs; i++) {
        if (!(fabs((double)y[i] - expected[i]) < 1e-5)) {
            fail_msg("%s: element %lld is %g instead of %g", last, (long long)i, (double)y[i], expected[i]);
        }
    }
    finish(context, model);
}

/* The network with this output is refused by both words. */
static void refuse(wire network, const char *last, spade_status status, const char *word, const char *other)
{
    spade_context *context = test_context("cpu", 1);
    spade_model *model = NULL;
    put_node(&network, node_of("flat", "Flatten", last, "y"));
    const char *path = test_save("refused.onnx", model_with_opset(network, 18));
    assert_int_equal(spade_model_load(context, path, NULL, &model), status);
    const char *message = spade_message(context);
    if (!strstr(message, word) || !strstr(message, other)) {
        fail_msg("%s and %s are not in: %s", word, other, message);
    }
    assert_int_equal(context->used, 0);
    spade_context_destroy(context);
}

static double x_at(int64_t index)
{
    return (double)pseudo_random(1, (uint32_t)index);
}

/* ---- convolutions */

typedef struct window {
    int64_t in[3], kernel[3], stride[3], pad[3], dilation[3], out[3];
} window;

static int64_t volume(const int64_t sides[3])
{
    return sides[0] * sides[1] * sides[2];
}

/* Which element of the image tap k of the window at `place` sees; -1: padding. Both count along all three axes. */
static int64_t seen_by(const window *w, int64_t place, int64_t tap)
{
    int64_t index = 0;
    for (int i = 0, behind_place = (int)volume(w->out), behind_tap = (int)volume(w->kernel); i < 3; i++) {
        behind_place /= (int)w->out[i];
        behind_tap /= (int)w->kernel[i];
        const int64_t at = place / behind_place % w->out[i] * w->stride[i] - w->pad[i] +
                           tap / behind_tap % w->kernel[i] * w->dilation[i];
        if (at < 0 || at >= w->in[i]) { return -1; }
        index = index * w->in[i] + at;
    }
    return index;
}

/* Of `in` channels a picture, to `out`, in groups; weights pseudo_random(2, i), [out, in / groups, kernel]; bias (3, i). */
static void convolve(const window *w, int64_t in, int64_t out, int64_t groups, double *y)
{
    const int64_t taps = volume(w->kernel), places = volume(w->out), pixels = volume(w->in), part = in / groups;
    for (int64_t e = 0; e < IMAGES * out * places; e++) {
        const int64_t image = e / (out * places), o = e / places % out;
        y[e] = (double)pseudo_random(3, (uint32_t)o);
        for (int64_t k = 0; k < part * taps; k++) {
            const int64_t from = seen_by(w, e % places, k % taps), c = o / (out / groups) * part + k / taps;
            if (from < 0) { continue; }
            y[e] += (double)pseudo_random(2, (uint32_t)(o * part * taps + k)) * x_at((image * in + c) * pixels + from);
        }
    }
}

/* Attributes of the last `axes` axes. */
static wire with_window(wire node, const window *w, int axes, bool dilations)
{
    int64_t pads[6];
    const int first = 3 - axes;
    for (int i = 0; i < axes; i++) { pads[i] = pads[i + axes] = w->pad[first + i]; }
    node = with_ints(with_ints(node, "strides", axes, w->stride + first), "pads", 2 * axes, pads);
    return dilations ? with_ints(node, "dilations", axes, w->dilation + first) : node;
}

static void check_convolution(const char *shape, const window *w, int axes, int64_t in, int64_t groups)
{
    enum { OUT = 6 };
    static double expected[IMAGES * MOST];
    const int64_t outputs = OUT * volume(w->out);
    wire network = begin(outputs);
    int64_t dims[5] = {OUT, in / groups};
    memcpy(dims + 2, w->kernel + 3 - axes, (size_t)axes * sizeof *dims);
    put_tensor(&network, tensor_random("w", axes + 2, dims, 2));
    put_tensor(&network, tensor_random("b", 1, (const int64_t[]){OUT}, 3));
    char inputs[32] = "x shape";
    snprintf(inputs, sizeof inputs, "x %s", shape);
    put_node(&network, node_of("r", "Reshape", inputs, "r"));
    put_node(&network, with_int(with_window(node_of("c", "Conv", "r w b", "c"), w, axes, true), "group", groups));
    convolve(w, in, OUT, groups, expected);
    expect(network, "c", expected, outputs);
}

static void test_convolutions(void **state)
{
    (void)state;
    enum { ROW = HEIGHT * WIDTH };
    /* of one axis */
    check_convolution("row", &(window){{1, 1, ROW}, {1, 1, 3}, {1, 1, 2}, {0, 0, 1}, {1, 1, 2}, {1, 1, 14}}, 1,
                      CHANNELS, 2);
    check_convolution("row", &(window){{1, 1, ROW}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, {1, 1, ROW}}, 1,
                      CHANNELS, 1);
    /* of three axes, one of which windows leave alone */
    check_convolution("volume", &(window){{2, HEIGHT, WIDTH}, {1, 3, 2}, {1, 1, 2}, {0, 1, 0}, {1, 1, 1}, {2, 5, 3}}, 3,
                      2, 1);
    check_convolution("volume", &(window){{2, HEIGHT, WIDTH}, {2, 1, 3}, {1, 1, 1}, {0, 0, 1}, {1, 1, 1}, {1, 5, 6}}, 3,
                      2, 2);
    check_convolution("volume", &(window){{2, HEIGHT, WIDTH}, {1, 1, 1}, {1, 2, 1}, {0, 0, 0}, {1, 1, 1}, {2, 3, 6}}, 3,
                      2, 1);
}

static void test_poolings(void **state)
{
    (void)state;
    static double expected[IMAGES * MOST];
    for (int kind = 0; kind < 4; kind++) {
        const bool largest = kind & 1, row = kind < 2;
        const window w = row ? (window){{1, 1, 30}, {1, 1, 3}, {1, 1, 2}, {0, 0, 1}, {1, 1, 1}, {1, 1, 15}}
                             : (window){{2, 5, 6}, {2, 1, 2}, {1, 1, 2}, {0, 0, 0}, {1, 1, 1}, {1, 5, 3}};
        const int64_t channels = row ? CHANNELS : 2, places = volume(w.out), taps = volume(w.kernel);
        const int axes = row ? 1 : 3;
        for (int64_t e = 0; e < IMAGES * channels * places; e++) {
            double sum = 0, most = -INFINITY;
            int64_t count = 0;
            for (int64_t k = 0; k < taps; k++) {
                const int64_t from = seen_by(&w, e % places, k);
                if (from < 0) { continue; }
                const double number = x_at(e / places * volume(w.in) + from);
                sum += number;
                most = fmax(most, number);
                count++;
            }
            expected[e] = largest ? most : sum / (double)count;
        }
        wire network = begin(channels * places);
        put_node(&network, node_of("r", "Reshape", row ? "x row" : "x volume", "r"));
        wire pool = with_window(node_of("p", largest ? "MaxPool" : "AveragePool", "r", "p"), &w, axes, false);
        put_node(&network, with_ints(pool, "kernel_shape", axes, w.kernel + 3 - axes));
        expect(network, "p", expected, channels * places);
    }
}

/* Windows over all three axes, which no operation here has. */
static void test_refused(void **state)
{
    (void)state;
    wire network = begin(8);
    put_tensor(&network, tensor_random("w", 5, (const int64_t[]){1, 2, 2, 2, 2}, 2));
    put_node(&network, node_of("r", "Reshape", "x volume", "r"));
    put_node(&network, node_of("c", "Conv", "r w", "c"));
    refuse(network, "c", SPADE_ERROR_UNSUPPORTED, "node \"c\" (Conv)", "two dimensions");
}

/* ---- windows added */

/* w: of the convolution that this is the transpose of: its `in` is our result. Weights [in, out / groups, kernel]. */
static void check_transposed(const window *w, int axes, int64_t out, int64_t groups, const int64_t *extra)
{
    static double expected[IMAGES * MOST];
    const int64_t pixels = volume(w->in), places = volume(w->out), taps = volume(w->kernel), part = out / groups;
    for (int64_t e = 0; e < IMAGES * out * pixels; e++) {
        expected[e] = (double)pseudo_random(3, (uint32_t)(e / pixels % out));
    }
    for (int64_t e = 0; e < IMAGES * CHANNELS * places; e++) {
        const int64_t image = e / (CHANNELS * places), c = e / places % CHANNELS, group = c / (CHANNELS / groups);
        for (int64_t k = 0; k < part * taps; k++) {
            const int64_t to = seen_by(w, e % places, k % taps), o = group * part + k / taps;
            if (to < 0) { continue; }
            expected[(image * out + o) * pixels + to] +=
                x_at(e) * (double)pseudo_random(2, (uint32_t)(c * part * taps + k));
        }
    }
    wire network = begin(out * pixels);
    int64_t dims[4] = {CHANNELS, part};
    memcpy(dims + 2, w->kernel + 3 - axes, (size_t)axes * sizeof *dims);
    put_tensor(&network, tensor_random("w", axes + 2, dims, 2));
    put_tensor(&network, tensor_random("b", 1, (const int64_t[]){out}, 3));
    if (axes == 1) { put_node(&network, node_of("r", "Reshape", "x row", "r")); }
    wire node = with_window(node_of("t", "ConvTranspose", axes == 1 ? "r w b" : "x w b", "t"), w, axes, true);
    node = with_int(node, "group", groups);
    put_node(&network, extra ? with_ints(node, "output_padding", axes, extra) : node);
    expect(network, "t", expected, out * pixels);
}

static void test_transposed_convolutions(void **state)
{
    (void)state;
    /* side of the result: stride (side - 1) + extra + dilation (kernel - 1) + 1 - 2 pad */
    check_transposed(&(window){{1, 9, 11}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}, {1, 1, 1}, {1, HEIGHT, WIDTH}}, 2, 6, 1,
                     NULL);
    check_transposed(&(window){{1, 10, 12}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}, {1, 1, 1}, {1, HEIGHT, WIDTH}}, 2, 6, 2,
                     (const int64_t[]){1, 1});
    check_transposed(&(window){{1, 5, 9}, {1, 2, 2}, {1, 1, 1}, {0, 1, 0}, {1, 2, 3}, {1, HEIGHT, WIDTH}}, 2, 2, 1,
                     NULL);
    check_transposed(&(window){{1, 1, 89}, {1, 1, 4}, {1, 1, 3}, {0, 0, 1}, {1, 1, 1}, {1, 1, HEIGHT * WIDTH}}, 1, 4, 2,
                     NULL);
}

static void test_added_windows(void **state)
{
    (void)state;
    static double expected[IMAGES * MOST];
    /* x as [N, 2 channels of 2 x 1 windows, 30 places]: 5 x 6 windows over an image of 6 x 10 with a border of 0 x 1 */
    const window w = {{1, 6, 10}, {1, 2, 1}, {1, 1, 2}, {0, 0, 1}, {1, 1, 1}, {1, 5, 6}};
    memset(expected, 0, sizeof expected);
    for (int64_t e = 0; e < IMAGES * SIZE; e++) {
        const int64_t to = seen_by(&w, e % 30, e / 30 % 2);
        if (to >= 0) { expected[e / 60 * 60 + to] += x_at(e); }
    }
    wire network = begin(120);
    put_tensor(&network, tensor_int64("image", 2, w.in + 1));
    put_tensor(&network, tensor_int64("block", 2, w.kernel + 1));
    put_node(&network, node_of("r", "Reshape", "x row", "r"));
    put_node(&network, with_window(node_of("a", "Col2Im", "r image block", "a"), &w, 2, true));
    expect(network, "a", expected, 120);
}

/* ---- elements replaced, running sums */

/* Rows 1 and 3 of each picture become rows 0 and 1 of its other half: points [picture, channel, row], which grow with the batch. */
static void test_replaced(void **state)
{
    (void)state;
    static double expected[IMAGES * MOST];
    const int64_t points[2][3] = {{0, 1, 2}, {0, 3, 0}};
    int64_t flat[6];
    memcpy(flat, points, sizeof flat);
    for (int64_t e = 0; e < IMAGES * SIZE; e++) { expected[e] = x_at(e); }
    for (int64_t n = 0; n < IMAGES; n++) {
        for (int64_t k = 0; k < 2; k++) {
            for (int64_t i = 0; i < WIDTH; i++) {
                expected[((n * CHANNELS + points[k][1]) * HEIGHT + points[k][2]) * WIDTH + i] =
                    x_at(((n * CHANNELS + 2) * HEIGHT + 1 + k) * WIDTH + i);
            }
        }
    }
    wire network = begin(SIZE);
    const int64_t numbers[] = {0, 1, 2, 3, -1};
    for (int i = 0; i < 5; i++) {
        const char *names[] = {"zero", "one", "two", "three", "minus"};
        put_tensor(&network, tensor_int64(names[i], 1, numbers + i));
    }
    put_tensor(&network, tensor_int64("points", 6, flat));
    put_tensor(&network, tensor_int64("table", 3, (const int64_t[]){1, 2, 3}));
    put_tensor(&network, tensor_int64("column", 3, (const int64_t[]){-1, 1, 1}));
    put_tensor(&network, tensor_int64("first", 3, (const int64_t[]){1, 0, 0}));
    put_node(&network, node_of("s", "Shape", "x", "s"));
    put_node(&network, node_of("n", "Gather", "s zero", "n"));
    put_node(&network, node_of("l", "Squeeze", "n", "l"));
    put_node(&network, node_of("f", "Squeeze", "zero", "f"));
    put_node(&network, node_of("o", "Squeeze", "one", "o"));
    put_node(&network, node_of("i", "Range", "f l o", "i"));
    put_node(&network, node_of("c", "Reshape", "i column", "c"));
    put_node(&network, node_of("m", "Mul", "c first", "m"));
    put_node(&network, node_of("p", "Reshape", "points table", "p"));
    put_node(&network, node_of("a", "Add", "p m", "a")); /* [N, 2, 3] */
    put_node(&network, node_of("u1", "Slice", "x two three one", "u1"));
    put_node(&network, node_of("u2", "Slice", "u1 one three two", "u2"));
    put_node(&network, node_of("u", "Squeeze", "u2 one", "u")); /* [N, 2, WIDTH] */
    put_node(&network, node_of("z", "ScatterND", "x a u", "z"));
    expect(network, "z", expected, SIZE);
}

static void test_running_sums(void **state)
{
    (void)state;
    static double expected[IMAGES * MOST];
    for (int kind = 0; kind < 4; kind++) {
        const bool exclusive = kind & 1, reverse = kind & 2;
        for (int64_t e = 0; e < IMAGES * SIZE; e++) {
            const int64_t own = e / WIDTH % HEIGHT;
            expected[e] = 0;
            for (int64_t k = 0; k < HEIGHT; k++) {
                const bool counts = k == own ? !exclusive : (k < own) != reverse;
                if (counts) { expected[e] += x_at(e + (k - own) * WIDTH); }
            }
        }
        wire network = begin(SIZE);
        put_tensor(&network, tensor_int64("axis", 1, (const int64_t[]){-2}));
        put_node(&network,
                 with_int(with_int(node_of("c", "CumSum", "x axis", "c"), "exclusive", exclusive), "reverse", reverse));
        expect(network, "c", expected, SIZE);
    }
}

/* ---- what every picture has */

/*
 * Convolutions and functions of a constant, added to pictures: as in loops, and the layer that sees no picture is not pruned. The
 * first convolution of pictures comes behind it and stays dense.
 */
static void test_constants(void **state)
{
    (void)state;
    static double expected[IMAGES * MOST], weighted[IMAGES * MOST];
    enum { PIXELS = HEIGHT * WIDTH };
    for (int64_t e = 0; e < SIZE; e++) {
        double sum = 0;
        for (int64_t c = 0; c < 2; c++) {
            sum += (double)pseudo_random(5, (uint32_t)(e / PIXELS * 2 + c)) *
                   (double)pseudo_random(4, (uint32_t)(c * PIXELS + e % PIXELS));
        }
        weighted[e] = 1 / (1 + exp(-sum));
    }
    for (int64_t e = 0; e < IMAGES * SIZE; e++) {
        double sum = 0;
        for (int64_t c = 0; c < CHANNELS; c++) {
            sum += (double)pseudo_random(6, (uint32_t)(e / PIXELS % CHANNELS * CHANNELS + c)) *
                   x_at((e / SIZE * CHANNELS + c) * PIXELS + e % PIXELS);
        }
        expected[e] = sum + weighted[e % SIZE];
    }
    wire network = begin(SIZE);
    put_tensor(&network, tensor_random("k", 4, (const int64_t[]){1, 2, HEIGHT, WIDTH}, 4));
    put_tensor(&network, tensor_random("first.weight", 4, (const int64_t[]){CHANNELS, 2, 1, 1}, 5));
    put_tensor(&network, tensor_random("second.weight", 4, (const int64_t[]){CHANNELS, CHANNELS, 1, 1}, 6));
    put_node(&network, node_of("a", "Conv", "k first.weight", "a"));
    put_node(&network, node_of("s", "Sigmoid", "a", "s"));
    put_node(&network, node_of("b", "Conv", "x second.weight", "b"));
    put_node(&network, node_of("z", "Add", "s b", "z"));
    wire copy = {0};
    wire_raw(&copy, network.bytes, network.size);
    expect(network, "z", expected, SIZE);

    spade_context *context;
    spade_model *model = load(&context, copy, "z");
    assert_int_equal(model->network.layer_count, 2);
    assert_false(model->network.layers[0].prunable);
    assert_false(model->network.layers[1].prunable);
    finish(context, model);
}

/* Products and softmaxes of constants repeated for every picture: numbers, not nodes. */
static void test_repeated_constants(void **state)
{
    (void)state;
    static double expected[IMAGES * MOST];
    double scores[HEIGHT][HEIGHT];
    for (int i = 0; i < HEIGHT; i++) {
        double total = 0;
        for (int j = 0; j < HEIGHT; j++) {
            scores[i][j] = 0;
            for (int c = 0; c < 3; c++) {
                scores[i][j] += (double)pseudo_random(4, (uint32_t)(i * 3 + c)) *
                                (double)pseudo_random(5, (uint32_t)(c * HEIGHT + j));
            }
            total += exp(scores[i][j]);
        }
        for (int j = 0; j < HEIGHT; j++) { scores[i][j] = exp(scores[i][j]) / total; }
    }
    for (int64_t e = 0; e < IMAGES * SIZE; e++) {
        const int64_t row = e / WIDTH % HEIGHT;
        expected[e] = 0;
        for (int64_t k = 0; k < HEIGHT; k++) { expected[e] += scores[row][k] * x_at(e + (k - row) * WIDTH); }
    }
    wire network = begin(SIZE);
    put_tensor(&network, tensor_random("a", 4, (const int64_t[]){1, 1, HEIGHT, 3}, 4));
    put_tensor(&network, tensor_random("b", 2, (const int64_t[]){3, HEIGHT}, 5));
    put_tensor(&network, tensor_int64("zero", 1, (const int64_t[]){0}));
    put_tensor(&network, tensor_int64("rest", 3, (const int64_t[]){1, 1, 1}));
    put_node(&network, node_of("s", "Shape", "x", "s"));
    put_node(&network, node_of("n", "Gather", "s zero", "n"));
    put_node(&network, with_int(node_of("k", "Concat", "n rest", "k"), "axis", 0));
    put_node(&network, node_of("e", "Expand", "a k", "e"));
    put_node(&network, node_of("p", "MatMul", "e b", "p"));
    put_node(&network, with_int(node_of("q", "Softmax", "p", "q"), "axis", -1));
    put_node(&network, node_of("z", "MatMul", "q x", "z"));
    expect(network, "z", expected, SIZE);
}

/* A constant that several nodes read stays what it is: k, x - k + k, and x / k * k, and slope and product of one. */
static void test_constant_of_several(void **state)
{
    (void)state;
    static double expected[IMAGES * MOST];
    const int64_t dims[4] = {1, CHANNELS, HEIGHT, WIDTH};
    for (int64_t e = 0; e < IMAGES * SIZE; e++) {
        const double k = (double)pseudo_random(6, (uint32_t)(e % SIZE)), x = x_at(e);
        expected[e] = x * k + (x < 0 ? k * x : x) * k;
    }
    wire network = begin(SIZE);
    put_tensor(&network, tensor_random("constant", 4, dims, 6));
    put_node(&network, node_of("k", "Mean", "constant", "k")); /* the constant as a value */
    put_node(&network, node_of("a", "Sub", "x k", "a"));
    put_node(&network, node_of("b", "Add", "a k", "b"));
    put_node(&network, node_of("c", "Mul", "b k", "c"));
    put_node(&network, node_of("d", "PRelu", "x constant", "d"));
    put_node(&network, node_of("e", "Mul", "d k", "e"));
    put_node(&network, node_of("z", "Add", "c e", "z"));
    expect(network, "z", expected, SIZE);
}

/* A bias that a file of a fixed batch repeats for each of its pictures. */
static void test_repeated_bias(void **state)
{
    (void)state;
    enum { ROWS = 3 };
    static double expected[IMAGES * MOST];
    float bias[IMAGES * ROWS];
    for (uint32_t i = 0; i < IMAGES * ROWS; i++) {
        bias[i] = pseudo_random(8, i % ROWS);
        expected[i] = 0.5 * (double)bias[i];
        for (int64_t k = 0; k < SIZE; k++) {
            expected[i] += x_at(i / ROWS * SIZE + k) * (double)pseudo_random(7, (uint32_t)(k * ROWS + i % ROWS));
        }
    }
    wire network = graph_of_batch(IMAGES, CHANNELS, HEIGHT, WIDTH, ROWS);
    put_tensor(&network, tensor_random("w", 2, (const int64_t[]){SIZE, ROWS}, 7));
    put_tensor(&network, tensor_of("bias", 2, (const int64_t[]){IMAGES, ROWS}, bias));
    put_node(&network, node_of("f", "Flatten", "x", "f"));
    put_node(&network, with_float(node_of("z", "Gemm", "f w bias", "z"), "beta", 0.5f));
    expect(network, "z", expected, ROWS);
}

/* Where(IsNaN(softmax), 0, softmax) is the softmax; with another number in place of 0 it is not. */
static void test_guarded_softmax(void **state)
{
    (void)state;
    static double expected[IMAGES * MOST];
    for (int64_t row = 0; row < IMAGES * SIZE / WIDTH; row++) {
        double total = 0;
        for (int64_t c = 0; c < WIDTH; c++) { total += exp(x_at(row * WIDTH + c)); }
        for (int64_t c = 0; c < WIDTH; c++) { expected[row * WIDTH + c] = exp(x_at(row * WIDTH + c)) / total; }
    }
    for (int other = 0; other < 2; other++) {
        const float instead = other ? 5 : 0;
        wire network = begin(SIZE);
        put_tensor(&network, tensor_of("instead", 0, NULL, &instead));
        put_node(&network, with_int(node_of("s", "Softmax", "x", "s"), "axis", -1));
        put_node(&network, node_of("q", "IsNaN", "s", "q"));
        put_node(&network, node_of("z", "Where", "q instead s", "z"));
        if (other) {
            refuse(network, "z", SPADE_ERROR_UNSUPPORTED, "node \"z\" (Where)", "not computed");
        } else {
            expect(network, "z", expected, SIZE);
        }
    }
}

/* Pads and sizes beyond every limit. */
static void test_absurd_sizes(void **state)
{
    (void)state;
    wire network = begin(SIZE);
    put_tensor(&network, tensor_int64("pads", 8, (const int64_t[]){0, 0, 0, INT64_MIN, 0, 0, 0, INT64_MIN}));
    put_node(&network, node_of("z", "Pad", "x pads", "z"));
    refuse(network, "z", SPADE_ERROR_INPUT, "node \"z\" (Pad)", "do not fit");
    for (int twice = 0; twice < 2; twice++) {
        network = begin(SIZE);
        put_tensor(&network, tensor_int64("sizes", 2, (const int64_t[]){1000000, 1}));
        wire node = node_of("z", "Resize", "x", "z");
        for (int i = 0; i < 2; i++) { wire_text(&node, 1, ""); } /* no region, no scales */
        wire_text(&node, 1, "sizes");
        node = with_text(with_ints(node, "axes", 2, (const int64_t[]){2, twice ? 2 : 3}), "keep_aspect_ratio_policy",
                         "not_smaller");
        put_node(&network, node);
        refuse(network, "z", SPADE_ERROR_INPUT, "node \"z\" (Resize)", twice ? "twice" : "aspect");
    }
}

/* Pad in each mode, with pads above and below 0 on one axis: it is cropped first, then padded with what is left. */
static void test_pads(void **state)
{
    (void)state;
    static const char *const modes[] = {"constant", "edge", "reflect", "wrap"};
    static const int64_t pads[][2] = {{2, 1}, {-1, 2}, {2, -1}, {-2, -1}};
    static double expected[IMAGES * MOST];
    for (size_t m = 0; m < 4; m++) {
        for (size_t p = 0; p < 4; p++) {
            const int64_t before = pads[p][0], after = pads[p][1], out = WIDTH + before + after;
            int64_t left[WIDTH + 1], count = 0; /* columns that are not cropped */
            for (int64_t c = 0; c < WIDTH; c++) {
                if (c >= -before && c < WIDTH + after) { left[count++] = c; }
            }
            for (int64_t e = 0; e < IMAGES * CHANNELS * HEIGHT * out; e++) {
                int64_t at = e % out - (before > 0 ? before : 0);
                const bool inside = at >= 0 && at < count;
                if (!inside && m == 1) { at = at < 0 ? 0 : count - 1; }
                if (!inside && m == 2) { at = at < 0 ? -at : 2 * (count - 1) - at; }
                if (!inside && m == 3) { at = (at + count) % count; }
                expected[e] = !inside && m == 0 ? 0 : x_at(e / out * WIDTH + left[at]);
            }
            wire network = begin(CHANNELS * HEIGHT * out);
            put_tensor(&network, tensor_int64("pads", 8, (const int64_t[]){0, 0, 0, before, 0, 0, 0, after}));
            put_node(&network, with_text(node_of("z", "Pad", "x pads", "z"), "mode", modes[m]));
            expect(network, "z", expected, CHANNELS * HEIGHT * out);
        }
    }
}

/* A Resize of the rows to the nearest ones, which are these. part: from where to where of them, from 0 to 1; NULL: all. */
static void expect_rows(const float *part, float scale, const char *nearest, const char *coordinates, int count,
                        const int64_t *rows)
{
    static double expected[IMAGES * MOST];
    const float scales[4] = {1, 1, scale, 1};
    const int64_t outputs = (int64_t)CHANNELS * count * WIDTH;
    for (int64_t e = 0; e < IMAGES * outputs; e++) {
        expected[e] = x_at((e / (count * WIDTH) * HEIGHT + rows[e / WIDTH % count]) * WIDTH + e % WIDTH);
    }
    wire network = begin(outputs);
    put_tensor(&network, tensor_of("scales", 1, (const int64_t[]){4}, scales));
    wire node = node_of("z", "Resize", "x", "z");
    wire_text(&node, 1, part ? "region" : "");
    wire_text(&node, 1, "scales");
    if (part) {
        const float region[8] = {0, 0, part[0], 0, 1, 1, part[1], 1};
        put_tensor(&network, tensor_of("region", 1, (const int64_t[]){8}, region));
    }
    put_node(&network,
             with_text(with_text(node, "nearest_mode", nearest), "coordinate_transformation_mode", coordinates));
    expect(network, "z", expected, outputs);
}

/* From 5 to 6 rows about the middle: 0, 0.8, .. 4, rounded up; a 0 that is not exact becomes row 1. */
static void test_symmetric_half_pixels(void **state)
{
    (void)state;
    expect_rows(NULL, 1.25f, "ceil", "half_pixel_symmetric", 6, (const int64_t[]){0, 1, 2, 3, 4, 4});
}

/* The scale is 4/3 in float32, a little above it: 4 / (4/3) is 3 in float32, as runtimes have it, and less than 3 in float64. */
static void test_nearest_in_float32(void **state)
{
    (void)state;
    expect_rows(NULL, 4.0f / 3.0f, "floor", "asymmetric", 6, (const int64_t[]){0, 0, 1, 2, 3, 3});
    /* 0.8 + 3 * 0.4 * 4 / 4 is 2 in float32 */
    expect_rows((const float[]){0.2f, 0.6f}, 1, "ceil", "tf_crop_and_resize", 5, (const int64_t[]){1, 2, 2, 2, 3});
}

/* Rows 5 -> 7 -> 4 by sizes: row 2 of the four is at 3.5, which goes up; divided by 4/7 in float32 it would be below. */
static void test_ties_of_sizes(void **state)
{
    enum { MANY = 7, FEW = 4 };
    static const int64_t rows[FEW] = {0, 1, 3, 4}; /* 0, 2, 4, 5 of 0, 1, 1, 2, 3, 4, 4 */
    static double expected[IMAGES * MOST];
    (void)state;
    const int64_t outputs = (int64_t)CHANNELS * FEW * WIDTH;
    for (int64_t e = 0; e < IMAGES * outputs; e++) {
        expected[e] = x_at((e / (FEW * WIDTH) * HEIGHT + rows[e / WIDTH % FEW]) * WIDTH + e % WIDTH);
    }
    wire network = begin(outputs);
    for (int i = 0; i < 2; i++) {
        wire node = node_of(i ? "z" : "w", "Resize", i ? "w" : "x", i ? "z" : "w");
        put_tensor(&network, tensor_int64(i ? "few" : "many", 1, (const int64_t[]){i ? FEW : MANY}));
        for (int k = 0; k < 2; k++) { wire_text(&node, 1, ""); } /* no region, no scales */
        wire_text(&node, 1, i ? "few" : "many");
        node = with_text(with_ints(node, "axes", 1, (const int64_t[]){2}), "nearest_mode",
                         i ? "round_prefer_ceil" : "round_prefer_floor");
        put_node(&network, with_text(node, "coordinate_transformation_mode", "asymmetric"));
    }
    expect(network, "z", expected, outputs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_convolutions),
                                       cmocka_unit_test(test_poolings),
                                       cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_transposed_convolutions),
                                       cmocka_unit_test(test_added_windows),
                                       cmocka_unit_test(test_replaced),
                                       cmocka_unit_test(test_running_sums),
                                       cmocka_unit_test(test_constants),
                                       cmocka_unit_test(test_repeated_constants),
                                       cmocka_unit_test(test_constant_of_several),
                                       cmocka_unit_test(test_pads),
                                       cmocka_unit_test(test_repeated_bias),
                                       cmocka_unit_test(test_guarded_softmax),
                                       cmocka_unit_test(test_absurd_sizes),
                                       cmocka_unit_test(test_symmetric_half_pixels),
                                       cmocka_unit_test(test_nearest_in_float32),
                                       cmocka_unit_test(test_ties_of_sizes)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_remove_folder();
    return failed;
}
