/*
 * occlusion.c - what the class loses when a square of the picture is replaced. Squares lie on a grid, stride apart, and
 * overlap; the last ones end at the picture's border (as in Captum's Occlusion). A pixel's value is the mean over the
 * squares that cover it.
 *
 * Image 0 is the input itself, image 1 + row * columns + column the one without that square. The cells of their masks are
 * the rectangles between all borders of squares.
 */
#include "attribution/baseline.h"
#include "attribution/perturbation_driver.h"

typedef struct occlusion_options {
    int64_t window, stride; /* 0: by the input's size */
    spade_baseline_option baseline;
} occlusion_options;

/* The squares along the rows, or along the columns. */
typedef struct axis {
    int64_t size, window, stride;
    int64_t count; /* of squares */
    int64_t cells;
} axis;

typedef struct grid {
    axis rows, columns;
} grid;

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* As many squares as it takes to reach the border. */
static axis make_axis(int64_t size, int64_t window, int64_t stride)
{
    return (axis){.size = size, .window = window, .stride = stride, .count = (size - window + stride - 1) / stride + 1};
}

static grid make_grid(const attribution_job *job, const occlusion_options *options)
{
    const int64_t shorter = min_of(job->height, job->width);
    int64_t window = options->window ? options->window : shorter / 8;
    window = window < 1 ? 1 : min_of(window, shorter);
    int64_t stride = options->stride ? options->stride : window / 2;
    stride = stride < 1 ? 1 : stride;
    return (grid){make_axis(job->height, window, stride), make_axis(job->width, window, stride)};
}

static int64_t image_count(const grid *g)
{
    return 1 + g->rows.count * g->columns.count;
}

static spade_status check(const attribution_job *job, const void *options)
{
    const occlusion_options *occlusion = options;
    const int64_t shorter = min_of(job->height, job->width);
    if (occlusion->window > shorter) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                          "window=%lld: the input is %lld x %lld, a window has at most %lld pixels a side",
                          (long long)occlusion->window, (long long)job->width, (long long)job->height,
                          (long long)shorter);
    }
    const grid g = make_grid(job, occlusion);
    if (g.rows.stride > g.rows.window) {
        return spade_fail(
            job->context, SPADE_ERROR_ARGUMENT,
            "stride=%lld: pixels between windows of %lld would be in none; a stride is at most the window",
            (long long)g.rows.stride, (long long)g.rows.window);
    }
    return attribution_baseline_check(job, &occlusion->baseline, false);
}

static double passes(const attribution_job *job, const void *options)
{
    const grid g = make_grid(job, options);
    return attribution_forward_passes(image_count(&g));
}

/* ---- cells */

/* cell [size]: of each row, or column. */
static void find_cells(axis *a, int32_t *cell)
{
    int32_t cells = 0;
    for (int64_t i = 0; i < a->size; i++) {
        const bool begins = i % a->stride == 0 && i / a->stride < a->count;
        const bool ends = i >= a->window && (i - a->window) % a->stride == 0; /* before i */
        cell[i] = begins || ends ? cells++ : cells - 1;
    }
    a->cells = cells;
}

typedef struct squares {
    grid grid;
    int32_t *row_cell, *column_cell; /* [H], [W] */
} squares;

/* Cells first .. end-1 of square `index` along an axis. */
static void find_range(const axis *a, const int32_t *cell, int64_t index, int64_t *first, int64_t *end)
{
    const int64_t begin = index * a->stride, behind = begin + a->window;
    *first = cell[begin];
    *end = behind < a->size ? cell[behind] : a->cells;
}

static void replace_square(const void *user, int64_t image, uint8_t *keep)
{
    const squares *s = user;
    const int64_t columns = s->grid.columns.count;
    int64_t top, bottom, left, right;
    if (image == 0) { return; }
    find_range(&s->grid.rows, s->row_cell, (image - 1) / columns, &top, &bottom);
    find_range(&s->grid.columns, s->column_cell, (image - 1) % columns, &left, &right);
    for (int64_t row = top; row < bottom; row++) {
        memset(keep + row * s->grid.columns.cells + left, 0, (size_t)(right - left));
    }
}

/* ---- from values to a map */

/* Squares first .. last along an axis cover pixel i. */
static void find_cover(const axis *a, int64_t i, int64_t *first, int64_t *last)
{
    *first = i < a->window ? 0 : (i - a->window) / a->stride + 1;
    *last = min_of(i / a->stride, a->count - 1);
}

/* values: F of the input, then of each square replaced; sums: scratch [rows of squares, W], over the squares of a row that
 * cover a column. */
static void make_map(const grid *g, const double *values, double *sums, float *map)
{
    const int64_t height = g->rows.size, width = g->columns.size, columns = g->columns.count;
    int64_t first, last, left, right;
    for (int64_t row = 0; row < g->rows.count; row++) {
        const double *replaced = values + 1 + row * columns;
        for (int64_t x = 0; x < width; x++) {
            double sum = 0;
            find_cover(&g->columns, x, &first, &last);
            for (int64_t i = first; i <= last; i++) { sum += values[0] - replaced[i]; }
            sums[row * width + x] = sum;
        }
    }
    for (int64_t y = 0; y < height; y++) {
        find_cover(&g->rows, y, &first, &last);
        for (int64_t x = 0; x < width; x++) {
            double sum = 0;
            for (int64_t i = first; i <= last; i++) { sum += sums[i * width + x]; }
            find_cover(&g->columns, x, &left, &right);
            map[y * width + x] = (float)(sum / (double)((last - first + 1) * (right - left + 1)));
        }
    }
}

/* ---- the method */

/* A piece of `bytes` of the memory that *used of are taken. */
static void *take(char *memory, size_t bytes, size_t *used)
{
    void *piece = memory + *used;
    *used += bytes;
    return piece;
}

static spade_status run(const attribution_job *job, const void *options, float *maps, spade_map_note *notes)
{
    (void)notes;
    spade_status status = SPADE_OK;
    const spade_baseline_option *replacement = &((const occlusion_options *)options)->baseline;
    attribution_baseline baseline = {0};
    squares s = {.grid = make_grid(job, options)};
    const size_t height = (size_t)job->height, width = (size_t)job->width, pixels = height * width;
    const size_t images = (size_t)image_count(&s.grid);
    const size_t of_values = sizeof(double) * images * (size_t)job->n;
    const size_t of_sums = sizeof(double) * (size_t)s.grid.rows.count * width;
    const size_t bytes = of_values + of_sums + sizeof(int32_t) * (pixels + height + width);
    size_t used = 0;
    void *memory;
    SPADE_TRY(spade_alloc(job->context, bytes, "the squares of an input", &memory));
    double *values = take(memory, of_values, &used), *sums = take(memory, of_sums, &used);
    int32_t *cell_of = take(memory, sizeof(int32_t) * pixels, &used);
    s.row_cell = take(memory, sizeof(int32_t) * height, &used);
    s.column_cell = take(memory, sizeof(int32_t) * width, &used);

    SPADE_GOTO(attribution_baseline_open(job, replacement, false, &baseline));
    find_cells(&s.grid.rows, s.row_cell);
    find_cells(&s.grid.columns, s.column_cell);
    for (size_t i = 0; i < pixels; i++) {
        cell_of[i] = (int32_t)(s.row_cell[i / width] * s.grid.columns.cells + s.column_cell[i % width]);
    }
    const attribution_masks masks = {.images = (int64_t)images,
                                     .partitions = 1,
                                     .cells = s.grid.rows.cells * s.grid.columns.cells,
                                     .cell_of = cell_of,
                                     .baseline = baseline.pictures,
                                     .replace = replace_square,
                                     .user = &s};
    SPADE_GOTO(attribution_perturb_masked(job, &masks, values));
    for (int c = 0; c < job->n; c++) {
        make_map(&s.grid, values + (size_t)c * images, sums, maps + (size_t)c * pixels);
    }
done:
    attribution_baseline_close(job, &baseline);
    spade_free_bytes(job->context, memory, bytes);
    return status;
}

static const spade_option_info options[] = {
    {.name = "window",
     .help = "side of the square that is replaced, in pixels; 0: an eighth of the input's shorter side",
     .type = SPADE_OPTION_INTEGER,
     .min = 0,
     .max = 65536,
     .default_value = "0"},
    {.name = "stride",
     .help = "pixels from a square to the next, at most the window; 0: half the window",
     .type = SPADE_OPTION_INTEGER,
     .min = 0,
     .max = 65536,
     .default_value = "0"},
    ATTRIBUTION_BASELINE_OPTION("0"),
};
static const size_t option_offsets[] = {offsetof(occlusion_options, window), offsetof(occlusion_options, stride),
                                        offsetof(occlusion_options, baseline)};

const attribution_method attribution_occlusion = {
    .info = {.name = "occlusion",
             .title = "Occlusion",
             .definition = "mean over the squares that cover a pixel of F(x) - F(x with the square replaced)",
             .source = "Zeiler, Fergus 2014, Visualizing and understanding convolutional networks",
             .cost = "one forward pass for each place of the window, and one",
             .flags = SPADE_METHOD_SIGNED,
             .options = options,
             .option_count = sizeof options / sizeof *options},
    .options_bytes = sizeof(occlusion_options),
    .option_offsets = option_offsets,
    .check = check,
    .shape = attribution_pixels_shape,
    .passes = passes,
    .run = run,
};
