/*
 * ops.h - operations on tensors, described: kinds, shapes, windows, pointwise steps, functions, and what else the host and
 * the kernels (src/kernels) both read. Plain C without anything of the host: no context, no status, no allocation.
 */
#ifndef SPADE_OPS_H
#define SPADE_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/functions.h"
#include "spade/array.h" /* SPADE_MAX_RANK */

#ifdef __cplusplus
extern "C" {
#endif

/* Physical order of a rank-4 tensor whose dims are [N, C, H, W]. */
typedef enum spade_layout {
    SPADE_ROW_MAJOR,    /* as the dims say */
    SPADE_CHANNELS_LAST /* N, H, W, C in memory; rank 4 only */
} spade_layout;

/* Shape and layout of a dense float32 tensor. */
typedef struct spade_shape {
    int rank;
    int64_t dims[SPADE_MAX_RANK];
    spade_layout layout;
} spade_shape;

int64_t spade_shape_size(const spade_shape *shape);       /* elements */
const char *spade_function_name(spade_function function); /* "hard swish" */

/*
 * THE list of operations. The enum, their names, the check of their shapes (check.c) and each backend's table come from it.
 *   ROW(kind, name, entry, fits): a backend computes it by its spade_BACKEND_ENTRY_op; fits: do the shapes belong together
 *
 *   CONVOLUTION            y = conv(x, w) [* folded scale] + bias, then relu if asked. needs packed weights
 *   CONVOLUTION_BACKWARD   dx = conv^T(dy, w). needs packed weights
 *   LINEAR                 y [M, R] = x [M, K] w^T + bias; M = all leading dims. needs packed weights
 *   LINEAR_BACKWARD        dx [M, K] = dy [M, R] w. needs packed weights
 *   MATMUL                 y = a b, batched over leading dims (equal, or broadcast from 1); transpose flags
 *   POINTWISE              everything elementwise: y = the steps, one after another, from x on
 *   REDUCE_SUM             y = sum of a over the axes where y has 1, divided by `divisor`: mean; backward of broadcasting
 *   SOFTMAX                y = softmax(x) along axis
 *   SOFTMAX_BACKWARD       dx = y * (dy - sum(y * dy))
 *   LAYER_NORM             over the axes from `axis` on: y = (x - mean) / sqrt(variance + epsilon) * scale + shift
 *   LAYER_NORM_BACKWARD    dx, from x: mean and variance are computed again. operands as of the forward op
 *   POOL                   max or average; max writes `saved` (argument of the maximum) where it is given
 *   POOL_BACKWARD          max reads `saved`
 *   CONVERT_LAYOUT         y = x in y's layout
 *   PERMUTE                y's axis k is x's axis axes[k]
 *   CONCAT                 x into the part of y that begins at `start` along `axis`; where x has 1 along another axis, it is
 *                          repeated. The rest of y is left as it is
 *   CONCAT_BACKWARD        dx = that part of dy, as long as x along the axis; nothing was repeated
 *   AXIS_MAP               y[.., j, ..] = fill[j] + sum of weight[k] * x[.., index[k], ..] over the entries k of row j, along `axis`
 *   REDUCE_MAX             y = largest of x over the axes where y has 1
 *   REDUCE_MAX_BACKWARD    dx = dy where x is y, in equal shares where several are; else 0
 *   SWAP_IMAGES            y = x, where each image has changed places with its partner, its neighbour in the batch: along
 *                          `axis` an image is `start` long, and images 2i and 2i + 1 are partners
 *
 * Between x and a partner x' that lies in b, DeepLift's multipliers in place of derivatives (Shrikumar et al. 2017): the
 * rescale rule, and for products D(ab) = mean(a) Db + mean(b) Da. dx is the same for both partners where dy is.
 *
 *   SOFTMAX_RESCALE        L = log(sum(exp(x))), y = exp(x - L)
 *   LAYER_NORM_RESCALE     c = x - mean(x), y = c * (mean(c^2) + epsilon)^(-1/2) * scale. operands as of the forward op
 *   POOL_RESCALE           max: a window hands dy (y - y') / (x - x') to the place of the larger of both maxima
 */
// clang-format off
#define SPADE_OPS(ROW)                                                                                                 \
    ROW(SPADE_OP_CONVOLUTION, "convolution", convolution, fits_convolution)                                            \
    ROW(SPADE_OP_CONVOLUTION_BACKWARD, "convolution backward", convolution, fits_convolution)                          \
    ROW(SPADE_OP_LINEAR, "linear", linear, fits_linear)                                                                \
    ROW(SPADE_OP_LINEAR_BACKWARD, "linear backward", linear, fits_linear)                                              \
    ROW(SPADE_OP_MATMUL, "matmul", matmul, fits_matmul)                                                                \
    ROW(SPADE_OP_POINTWISE, "pointwise", pointwise, fits_pointwise)                                                    \
    ROW(SPADE_OP_REDUCE_SUM, "reduce sum", reduce_sum, fits_reduce)                                                    \
    ROW(SPADE_OP_SOFTMAX, "softmax", softmax, fits_softmax)                                                            \
    ROW(SPADE_OP_SOFTMAX_BACKWARD, "softmax backward", softmax_backward, fits_softmax)                                 \
    ROW(SPADE_OP_LAYER_NORM, "layer norm", layer_norm, fits_layer_norm)                                                \
    ROW(SPADE_OP_LAYER_NORM_BACKWARD, "layer norm backward", layer_norm_backward, fits_layer_norm)                     \
    ROW(SPADE_OP_POOL, "pool", pool, fits_pool)                                                                        \
    ROW(SPADE_OP_POOL_BACKWARD, "pool backward", pool_backward, fits_pool)                                             \
    ROW(SPADE_OP_CONVERT_LAYOUT, "convert layout", convert_layout, fits_convert)                                       \
    ROW(SPADE_OP_PERMUTE, "permute", permute, fits_permute)                                                            \
    ROW(SPADE_OP_CONCAT, "concat", concat, fits_concat)                                                                \
    ROW(SPADE_OP_CONCAT_BACKWARD, "concat backward", concat_backward, fits_concat_backward)                            \
    ROW(SPADE_OP_AXIS_MAP, "axis map", axis_map, fits_axis_map)                                                        \
    ROW(SPADE_OP_REDUCE_MAX, "reduce max", reduce_max, fits_reduce)                                                    \
    ROW(SPADE_OP_REDUCE_MAX_BACKWARD, "reduce max backward", reduce_max_backward, fits_reduce)                         \
    ROW(SPADE_OP_SWAP_IMAGES, "swap images", swap_images, fits_swap)                                                   \
    ROW(SPADE_OP_SOFTMAX_RESCALE, "softmax rescale", softmax_rescale, fits_softmax_pair)                               \
    ROW(SPADE_OP_LAYER_NORM_RESCALE, "layer norm rescale", layer_norm_rescale, fits_layer_norm_pair)                   \
    ROW(SPADE_OP_POOL_RESCALE, "pool rescale", pool_rescale, fits_pool_pair)
// clang-format on
typedef enum spade_op_kind {
#define SPADE_OP_ENUMERATOR(kind, name, entry, fits) kind,
    SPADE_OPS(SPADE_OP_ENUMERATOR)
#undef SPADE_OP_ENUMERATOR
        SPADE_OP_KIND_COUNT
} spade_op_kind;

/*
 * One step of a pointwise operation: what becomes of v, the value of an element so far. A step but FUNCTION has an
 * operand of its own. Each step rounds once per operation in its formula, so that steps run together give the numbers of
 * the same steps run singly.
 */
typedef enum spade_pointwise_kind {
    SPADE_POINTWISE_FUNCTION,   /* f(v) */
    SPADE_POINTWISE_ADD,        /* v + operand */
    SPADE_POINTWISE_MULTIPLY,   /* v * operand */
    SPADE_POINTWISE_DERIVATIVE, /* v * f'(operand): backward of FUNCTION, v = dy, operand = x */
    SPADE_POINTWISE_DIVIDE,     /* v / (operand + alpha sign(operand)), sign(0) = 1; 0 where the divisor is */
    SPADE_POINTWISE_SECANT,     /* (f(operand) - f(v)) / (operand - v), and f'(operand) where they are equal */
    SPADE_POINTWISE_KIND_COUNT
} spade_pointwise_kind;

typedef struct spade_pointwise_step {
    spade_pointwise_kind kind;
    spade_function function; /* FUNCTION, DERIVATIVE */
    float alpha, beta;       /* of the function; alpha of DIVIDE */
    spade_shape operand;     /* broadcast to y as NumPy does: [C, 1, 1] is one number for each channel */
} spade_pointwise_step;

enum { SPADE_POINTWISE_STEPS = 6 }; /* max of one operation */

/* Sliding window of a convolution or pooling. pad: top, left, bottom, right. dilation counts from 1. */
typedef struct spade_window {
    int64_t kernel[2], stride[2], dilation[2], pad[4];
} spade_window;

/*
 * One operation on fixed shapes. Unused fields are zero.
 *   forward kinds:  a = x (or left operand), b = right operand (MATMUL), y = result
 *   POINTWISE: a = x, broadcast to y too. y may lie where x or an operand does that has y's dims and layout.
 *   backward kinds: the shapes of the forward operation: a = x and dx, y = y and dy
 *   RESCALE kinds: likewise, b = x'
 */
typedef struct spade_op_desc {
    spade_op_kind kind;
    spade_shape a, b, y;
    spade_window window; /* CONVOLUTION*, POOL* */
    int64_t groups;      /* CONVOLUTION* */
    bool relu;           /* CONVOLUTION, LINEAR: relu after the bias */
    bool pool_max;       /* POOL*: max, else average */
    bool count_padding;  /* POOL*, average: padding counts in the divisor */
    bool last_window;    /* POOL_RESCALE: of windows with one maximum only the last counts, as Captum has it */
    bool transpose_a, transpose_b; /* MATMUL: of the last two axes */
    bool root_mean_square;         /* LAYER_NORM*: 0 in place of the mean, so x / sqrt(mean(x^2) + epsilon) */
    int axis;       /* SOFTMAX*, CONCAT*, AXIS_MAP, SWAP_IMAGES; LAYER_NORM*: the first of the axes normalised over */
    float epsilon;  /* LAYER_NORM* */
    double divisor; /* REDUCE_SUM; 0: no division */
    int axes[SPADE_MAX_RANK]; /* PERMUTE */
    int64_t start;            /* CONCAT*: first place of the part along the axis. SWAP_IMAGES: length of an image */
    int step_count;           /* POINTWISE: 1 to SPADE_POINTWISE_STEPS */
    spade_pointwise_step steps[SPADE_POINTWISE_STEPS];
} spade_op_desc;

/* A sparse matrix, row by row: row j has the entries number offsets[j] to offsets[j + 1] - 1. Device memory. */
typedef struct spade_sparse_rows {
    const int32_t *offsets; /* [rows + 1] */
    const int32_t *indices; /* the columns of the entries */
    const float *weights;   /* NULL: all 1 */
    const float *fill;      /* [rows]; NULL: all 0 */
} spade_sparse_rows;

/* Device memory of one run. */
typedef struct spade_op_args {
    const float *a;     /* x, left operand */
    const float *b;     /* right operand; x' */
    const float *bias;  /* [rows] or NULL */
    const void *packed; /* weights as `pack` wrote them */
    const float *y;     /* backward kinds: the forward result where needed (SOFTMAX_BACKWARD, REDUCE_MAX_BACKWARD) */
    const float *dy;    /* backward kinds */
    void *saved;        /* POOL (max): written; POOL_BACKWARD: read; saved_bytes(op) */
    void *workspace;    /* workspace_bytes(op) */
    float *out;         /* y, or dx */
    /* POINTWISE: of each step that has one. LAYER_NORM*: scale, shift: [elements of the axes normalised over] or NULL */
    const float *operands[SPADE_POINTWISE_STEPS];
    spade_sparse_rows rows; /* AXIS_MAP */
} spade_op_args;

/* ---- attribution maps */

enum { SPADE_MAX_POINTS = 64 }; /* images of one call */

/* A random picture: every value of channel c is uniform between low[c] and high[c]; the channels from the last of these on
 * are alike. */
enum { SPADE_UNIFORM_CHANNELS = 4, SPADE_BASELINE_STREAM = 4 /* last word of the counters */ };
typedef struct spade_uniform_picture {
    int64_t pixels; /* of a channel; 0: there is no random picture */
    double low[SPADE_UNIFORM_CHANNELS], high[SPADE_UNIFORM_CHANNELS];
} spade_uniform_picture;

/* What each class has of the outputs z. */
typedef enum spade_score {
    SPADE_SCORE_LOGIT,   /* F_c = z[c] */
    SPADE_SCORE_SOFTMAX, /* F_c = softmax(z)[c] */
    SPADE_SCORE_SIGMOID  /* F_c = sigmoid(z[c]) */
} spade_score;

/* What is explained, F: F_plus - F_minus. Classes: 0 to outputs - 1; of one output 0 or 1. */
typedef struct spade_seed_target {
    int64_t plus, minus; /* minus -1: F is F_plus */
} spade_seed_target;

/* F and dF/dz. One output says how much it is class 1: class 1 has the logit z, class 0 has -z. */
typedef struct spade_seed_args {
    int64_t batch, outputs;
    spade_score score;
    const float *z;                   /* [batch, outputs] */
    const spade_seed_target *targets; /* [batch] */
    float *seed;                      /* [batch, outputs] out: dF/dz; NULL: only F is wanted */
    bool times_output;                /* seed: dF/dz * z, what relevance begins with; of SPADE_SCORE_LOGIT */
    double *values;                   /* [batch] out: F */
} spade_seed_args;

/*
 * Images made of x by replacing cells of the picture, pixels that share a fate: pixel p of image i is, in every channel, x's
 * where masks[i, cells[p]] is not 0, else the baseline's. Kept pixels are x's to the bit.
 */
typedef struct spade_mask_inputs_args {
    int64_t count, channels, pixels, cell_count;
    const float *x, *baseline; /* [channels, pixels] */
    const int32_t *cells;      /* [pixels]: 0 to cell_count - 1 */
    const uint8_t *masks;      /* [count, cell_count] */
    float *out;                /* [count, channels, pixels] */
} spade_mask_inputs_args;

/* Where a row (or a column) of a picture lies between those of a coarse grid: the value there is
 * (1 - share) * value[first] + share * value[second]. */
typedef struct spade_grid_position {
    double share;
    int32_t first, second; /* 0 to grid - 1 */
} spade_grid_position;

/*
 * Images made of x by fading parts of it: pixel (r, c) of image i is, in every channel, m * x + (1 - m) * baseline, computed
 * in double. m, from 0 to 1, is what the image's grid of zeros and ones is there: bilinear, between its columns first, at
 * rows[shifts[i, 0] + r] and columns[shifts[i, 1] + c].
 */
typedef struct spade_blend_inputs_args {
    int64_t count, channels, height, width, grid;
    const float *x, *baseline;                 /* [channels, height, width] */
    const spade_grid_position *rows, *columns; /* [height + the largest shift], [width + the largest shift] */
    const int32_t *shifts;                     /* [count, 2] */
    const uint8_t *masks;                      /* [count, grid, grid]: 0 or 1 */
    float *out;                                /* [count, channels, height, width] */
} spade_blend_inputs_args;
static SPADE_FN double spade_grid_mix(double share, double first, double second)
{
    return (1.0 - share) * first + share * second;
}
/* m; mask [grid, grid]. */
static SPADE_FN double spade_grid_value(const uint8_t *mask, int64_t grid, spade_grid_position row,
                                        spade_grid_position column)
{
    const uint8_t *first = mask + row.first * grid, *second = mask + row.second * grid;
    return spade_grid_mix(row.share, spade_grid_mix(column.share, first[column.first], first[column.second]),
                          spade_grid_mix(column.share, second[column.first], second[column.second]));
}

/* ---- feature visualisation: backend_visualize.h */

/*
 * A picture seen through an affine map, bilinear, and normalised. Pixel (r, c) of `out` lies in the picture at
 *   row = at[0][0] * r + at[0][1] * c + at[0][2],   column = at[1][0] * r + at[1][1] * c + at[1][2]
 * where pixel (i, j) has row i and column j. Around the picture everything is `fill`. What a channel is there, less its mean,
 * is divided by its standard deviation. In double, sums in the order of the picture's pixels.
 */
typedef struct spade_warp_args {
    int64_t channels, height, width, out_height, out_width;
    double at[2][3];
    double back[2][2]; /* inverse of the first two columns of `at` */
    double fill;
    const float *mean, *deviation; /* [channels] */
    const float *picture;          /* [channels, height, width] */
    float *out;                    /* [channels, out_height, out_width] */
    /* backward, the transpose of the linear part: */
    const float *gradient;   /* [channels, out_height, out_width] */
    float *picture_gradient; /* [channels, height, width] out */
} spade_warp_args;
/* The share that a pixel at this distance (in rows or columns) has along one axis. */
static SPADE_FN double spade_warp_share(double distance)
{
    const double away = distance < 0.0 ? -distance : distance;
    return away < 1.0 ? 1.0 - away : 0.0;
}
/* Row (axis 0) or column (axis 1) in the picture of pixel (r, c) of out. */
static SPADE_FN double spade_warp_position(const double at[3], int64_t r, int64_t c)
{
    return at[0] * (double)r + at[1] * (double)c + at[2];
}
/* One number of `out`. */
static SPADE_FN float spade_warp_pixel(const spade_warp_args *a, int64_t channel, int64_t r, int64_t c)
{
    const double row = spade_warp_position(a->at[0], r, c), column = spade_warp_position(a->at[1], r, c);
    double value = a->fill;
    if (row > -1.0 && row < (double)a->height && column > -1.0 && column < (double)a->width) {
        const int64_t top = (int64_t)(row + 1.0) - 1, left = (int64_t)(column + 1.0) - 1; /* rounded down */
        const float *plane = a->picture + channel * a->height * a->width;
        value = 0.0;
        for (int64_t i = top; i <= top + 1; i++) {
            for (int64_t j = left; j <= left + 1; j++) {
                const bool inside = i >= 0 && i < a->height && j >= 0 && j < a->width;
                const double share = spade_warp_share(row - (double)i) * spade_warp_share(column - (double)j);
                value += share * (inside ? plane[i * a->width + j] : a->fill);
            }
        }
    }
    return (float)((value - a->mean[channel]) / a->deviation[channel]);
}
/* Where pixels of `out` may lie that depend on the picture's pixel: first and last of them along the axis, 0 or 1. */
static SPADE_FN void spade_warp_reach(const spade_warp_args *a, int axis, int64_t i, int64_t j, int64_t *first,
                                      int64_t *last)
{
    const double *back = a->back[axis];
    const double middle = back[0] * ((double)i - a->at[0][2]) + back[1] * ((double)j - a->at[1][2]);
    const double around = (back[0] < 0.0 ? -back[0] : back[0]) + (back[1] < 0.0 ? -back[1] : back[1]);
    const double end = (double)(axis == 0 ? a->out_height : a->out_width) - 1.0;
    const double from = middle - around - 1e-6, to = middle + around + 1e-6;
    *first = from > 0.0 ? (from < end + 1.0 ? (int64_t)from : (int64_t)end + 1) : 0;
    *last = to < end ? (to < 0.0 ? -1 : (int64_t)to) : (int64_t)end;
}
/* One number of the picture's gradient. */
static SPADE_FN float spade_warp_gradient(const spade_warp_args *a, int64_t channel, int64_t i, int64_t j)
{
    const float *plane = a->gradient + channel * a->out_height * a->out_width;
    int64_t top, bottom, left, right;
    double sum = 0.0;
    spade_warp_reach(a, 0, i, j, &top, &bottom);
    spade_warp_reach(a, 1, i, j, &left, &right);
    for (int64_t r = top; r <= bottom; r++) {
        for (int64_t c = left; c <= right; c++) {
            const double row = spade_warp_position(a->at[0], r, c), column = spade_warp_position(a->at[1], r, c);
            sum +=
                spade_warp_share(row - (double)i) * spade_warp_share(column - (double)j) * plane[r * a->out_width + c];
        }
    }
    return (float)(sum / a->deviation[channel]);
}

/* A picture of colours that are not correlated: picture = sigmoid(matrix x), pixel by pixel, each sum in double. */
typedef struct spade_colours_args {
    int64_t channels, pixels;
    const float *matrix; /* [channels, channels] */
    const float *x;      /* [channels, pixels] */
    float *picture;      /* [channels, pixels]; backward: as it was made */
    /* backward: */
    const float *gradient; /* [channels, pixels], of the picture */
    float *x_gradient;     /* [channels, pixels] out */
} spade_colours_args;
static SPADE_FN float spade_colours_value(const spade_colours_args *a, int64_t channel, int64_t pixel)
{
    double sum = 0.0;
    for (int64_t c = 0; c < a->channels; c++) {
        sum += (double)a->matrix[channel * a->channels + c] * a->x[c * a->pixels + pixel];
    }
    return (float)(1.0 / (1.0 + exp(-sum)));
}
static SPADE_FN float spade_colours_gradient(const spade_colours_args *a, int64_t channel, int64_t pixel)
{
    double sum = 0.0;
    for (int64_t c = 0; c < a->channels; c++) {
        const double value = a->picture[c * a->pixels + pixel];
        const double slope = value * (1.0 - value) * a->gradient[c * a->pixels + pixel];
        sum += (double)a->matrix[c * a->channels + channel] * slope;
    }
    return (float)sum;
}

/*
 * One step of Adam (Kingma & Ba 2015) uphill, in double, of parameters that are seen scaled:
 *   g = scale * gradient;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
 *   parameters += rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon);  scaled = scale * parameters
 */
typedef struct spade_adam_args {
    int64_t size;
    double rate, beta1, beta2, epsilon;
    double correction1, correction2;    /* 1 - beta1^t, 1 - beta2^t: t = 1 for the first step */
    const float *scale, *gradient;      /* [size] */
    float *m, *v, *parameters, *scaled; /* [size] */
} spade_adam_args;
static SPADE_FN void spade_adam_step(const spade_adam_args *a, int64_t i)
{
    const double g = (double)a->scale[i] * a->gradient[i];
    const double m = a->beta1 * a->m[i] + (1.0 - a->beta1) * g, v = a->beta2 * a->v[i] + (1.0 - a->beta2) * (g * g);
    const double step = (m / a->correction1) / (sqrt(v / a->correction2) + a->epsilon);
    a->m[i] = (float)m;
    a->v[i] = (float)v;
    a->parameters[i] = (float)(a->parameters[i] + a->rate * step);
    a->scaled[i] = a->scale[i] * a->parameters[i];
}

/* ---- heat maps */

enum { SPADE_HEATMAP_LEVELS = 256 };

/* A cubic spline by Mitchell and Netravali's parameters. */
typedef struct spade_spline {
    double b, c;
} spade_spline;

/*
 * A map's colours over a picture (picture/heatmap.c makes the tables), both enlarged by a whole factor with cubic splines
 * whose borders repeat: first along the rows, then along the columns, float between; as they are for a factor of 1.
 *   the map: map / scale, clamped to -1..1, below 0 only if is_signed; its absolute value is the level in the table
 *   the picture: 0.06 + 0.62 * (0.8 luma + 0.2 channel) / 255, luma = 0.299 r + 0.587 g + 0.114 b
 *   rgb = colour of the level + keep of the level * picture, clamped to 0..1
 */
typedef struct spade_heatmap_args {
    int64_t height, width, factor;
    const uint8_t *picture; /* [height, width, 3] */
    const float *map;       /* [height, width] */
    double scale;           /* 0: the map counts as zero */
    bool is_signed;
    const float *tables; /* [2][SPADE_HEATMAP_LEVELS][4]: values from 0 up, below 0; colour of a level, then keep */
    uint8_t *rgb;        /* [height * factor, width * factor, 3] out */
} spade_heatmap_args;

/* clang-format off */
#define SPADE_HEATMAP_MAP_SPLINE {1.0, 0.0}     /* B-spline: smooths the noise of a small map */
#define SPADE_HEATMAP_PICTURE_SPLINE {0.0, 0.5} /* Catmull-Rom: sharp */
/* clang-format on */

#ifdef __cplusplus
}
#endif
#endif
