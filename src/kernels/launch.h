/*
 * launch.h - the kernels as C functions: each checks nothing, enqueues its kernels on a stream and returns CUDA's error
 * code of the launch (0: none); spade_kernel_* tell sizes. Pointers are device memory unless marked host. Of the host
 * only backend/ops.h is included here. src/host/backend/cuda calls these and nothing else of src/kernels: cuda/NAME.c those
 * of NAME.cu.
 */
#ifndef SPADE_LAUNCH_H
#define SPADE_LAUNCH_H

#include "backend/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CUstream_st *spade_stream; /* cudaStream_t */

/* ---- pointwise.cu */
typedef struct spade_pointwise_step_kernel {
    spade_pointwise_kind kind;
    spade_function function;
    float alpha, beta;
    const float *operand; /* NULL: the step has none */
} spade_pointwise_step_kernel;
/* Axes of y from the slowest to the fastest; the strides along each of x (0) and of the operand of step s (1 + s), 0
 * where it is broadcast. */
typedef struct spade_pointwise_kernel {
    int count, rank;
    int64_t dims[SPADE_MAX_RANK];
    int64_t strides[SPADE_MAX_RANK][1 + SPADE_POINTWISE_STEPS];
    const float *x;
    spade_pointwise_step_kernel steps[SPADE_POINTWISE_STEPS];
} spade_pointwise_kernel;
/* y = the steps (host), one after another, on x. y may be x or an operand that lies as y does. */
int spade_launch_pointwise(spade_stream stream, const spade_pointwise_kernel *steps, float *y);

/* ---- memory.cu: y = alpha * x + beta * y; beta = 0 does not read y. */
int spade_launch_axpby(spade_stream stream, int64_t n, float alpha, const float *x, float beta, float *y);
/* *largest = the largest of itself and the n numbers |x|, NaN larger than infinity. *largest >= 0 before. */
int spade_launch_magnitude(spade_stream stream, int64_t n, const float *x, float *largest);

/* ---- axes: reduce.cu, index.cuh */
/* Axes from the slowest to the fastest, the strides of each operand along them (0 where it is broadcast); rank >= 1. */
typedef struct spade_tensor_iterator_kernel {
    int rank;
    int64_t dims[SPADE_MAX_RANK];
    int64_t strides[2][SPADE_MAX_RANK];
} spade_tensor_iterator_kernel;

/* y = (sum over `summed` of a) / divisor; operands: 0 a, 1 y. Terms are cut into `pieces` of `piece` each. */
typedef struct spade_reduction_kernel {
    spade_tensor_iterator_kernel kept, summed;
    int64_t outputs, terms; /* elements of both */
    int64_t piece, pieces;  /* pieces: 1 to 65535 */
    double divisor;
    bool along; /* the fastest axis of the memory is summed */
} spade_reduction_kernel;
/* partial: [pieces, outputs], not used for one piece. */
int spade_launch_sum(spade_stream stream, const spade_reduction_kernel *reduction, const float *a, double *partial,
                     float *y);

/* ---- reduce_max.cu: y = largest of x over `summed`; dx = dy / (how many are y) where x is y, else 0. operands: 0 x and dx,
 * 1 y and dy; pieces and divisor are not used. */
int spade_launch_max(spade_stream stream, const spade_reduction_kernel *reduction /* host */, const float *x, float *y);
int spade_launch_max_backward(spade_stream stream, const spade_reduction_kernel *reduction /* host */, const float *x,
                              const float *y, const float *dy, float *dx);

/* ---- strided_copy.cu */
/*
 * Elements along all axes are copied (operands: 0 what is written, 1 what is read; stride 0: repeated). Where rows > 0, each
 * place along the axes is a matrix: written at row * to_step + column, read at column * from_step + row.
 */
typedef struct spade_copy_kernel {
    spade_tensor_iterator_kernel axes;
    int64_t count; /* elements of the axes */
    int64_t rows, columns, to_step, from_step;
} spade_copy_kernel;
int spade_launch_copy(spade_stream stream, const spade_copy_kernel *copy /* host */, const float *from, float *to);

/* ---- axis_map.cu: y [outer, rows, inner] of x [outer, columns, inner], see ops.h's AXIS_MAP */
typedef struct spade_axis_map_kernel {
    int64_t outer, rows, columns, inner;
    spade_sparse_rows map;
} spade_axis_map_kernel;
int spade_launch_axis_map(spade_stream stream, const spade_axis_map_kernel *kernel /* host */, const float *x,
                          float *y);

/* ---- softmax.cu */
/* Lines along an axis: their number, their length, elements between neighbours on a line (and from line to line). */
typedef struct spade_lines_kernel {
    int64_t count, length, step;
} spade_lines_kernel;
int spade_launch_softmax(spade_stream stream, spade_lines_kernel lines, const float *x, float *y);
int spade_launch_softmax_backward(spade_stream stream, spade_lines_kernel lines, const float *y, const float *dy,
                                  float *dx);

/* ---- layer_norm.cu: each row of x [count, length] by its own mean and variance */
typedef struct spade_layer_norm_kernel {
    int64_t count, length;
    double epsilon;
    bool root_mean_square;          /* 0 in place of the mean */
    const float *x, *scale, *shift; /* scale, shift: [length] or NULL */
} spade_layer_norm_kernel;
int spade_launch_layer_norm(spade_stream stream, const spade_layer_norm_kernel *kernel /* host */, float *y);
int spade_launch_layer_norm_backward(spade_stream stream, const spade_layer_norm_kernel *kernel /* host */,
                                     const float *dy, float *dx);

/* ---- layout.cu: for each image, y [columns, rows] = transpose of x [rows, columns] */
int spade_launch_transpose(spade_stream stream, int64_t images, int64_t rows, int64_t columns, const float *x,
                           float *y);

/* ---- pool.cu */
typedef struct spade_pool_kernel {
    int64_t n, channels, in[2], out[2];                /* height, width */
    int64_t x_strides[4], y_strides[4];                /* of n, channel, row, column; x and dx, y and dy */
    int64_t kernel[2], stride[2], dilation[2], pad[2]; /* pad: before the image */
    bool x_last, y_last;                               /* channels last */
    bool max, count_padding;
} spade_pool_kernel;
size_t spade_kernel_pool_saved_bytes(const spade_pool_kernel *kernel);
/* saved: max; NULL: not wanted. */
int spade_launch_pool(spade_stream stream, const spade_pool_kernel *kernel, const float *x, void *saved, float *y);
/* saved: max; NULL for the average. */
int spade_launch_pool_backward(spade_stream stream, const spade_pool_kernel *kernel, const float *dy, const void *saved,
                               float *dx);
/* The backward of the average over whole images. */
int spade_launch_spread_mean(spade_stream stream, const spade_pool_kernel *kernel, const float *dy, float *dx);

/* ---- rescale.cu: other is x', the partner of x; see ops.h's RESCALE kinds */
/* y = x, where pieces of `length` elements have changed places with their neighbours. */
int spade_launch_swap(spade_stream stream, int64_t n, int64_t length, const float *x, float *y);
int spade_launch_softmax_rescale(spade_stream stream, spade_lines_kernel lines, const float *x, const float *other,
                                 const float *dy, float *dx);
int spade_launch_layer_norm_rescale(spade_stream stream, const spade_layer_norm_kernel *kernel /* host */,
                                    const float *other, const float *dy, float *dx);
int spade_launch_pool_rescale(spade_stream stream, const spade_pool_kernel *kernel /* host */, bool last_window,
                              const float *x, const float *other, const float *dy, float *dx);

/* ---- augment.cu */
enum { SPADE_AUGMENT_GROUP = 48 };    /* most variants of one launch: their parameters come by value, 4 KB at most */
typedef struct spade_variant_kernel { /* spade_variant in the types that the arithmetic has */
    int32_t top, left, height, width;
    int32_t erase[4];
    float brightness, contrast, saturation, hue;
    double noise;
    uint32_t noise_key[4];
    int32_t flip;
} spade_variant_kernel;
typedef struct spade_augment_kernel {
    int64_t picture_width, height, width; /* height, width: of the result */
    int64_t taps[2];                      /* most weights of any variant's filter: across, down */
    float mean[3], std[3];
    int channels, plane[3]; /* that are written: 3 or 1; where red, green and blue go */
    int all_channels;       /* of the result */
    bool channels_last;
    int count;
    spade_variant_kernel variants[SPADE_AUGMENT_GROUP];
} spade_augment_kernel;
/* Workspace of `count` variants. */
size_t spade_kernel_augment_bytes(int64_t height, int64_t width, const int64_t taps[2], int64_t count);
/* picture: [picture height, picture_width, 3] in [0, 1]; out: the first channel that is written, of
 * [count, all_channels, height, width] in the layout asked for. */
int spade_launch_augment(spade_stream stream, const spade_augment_kernel *kernel, const float *picture, void *workspace,
                         float *out);

/* ---- resample.cu: see backend.h's spade_resample_args */
typedef struct spade_resample_kernel {
    int64_t picture_width;
    int64_t in[2], full[2];    /* rows, columns of the picture before and after the resize */
    int64_t first[2], size[2]; /* the window: its first row and column, which may be negative; rows, columns */
    int64_t begin[2], end[2];  /* rows, columns of the resized picture that lie in the window */
    int64_t first_row, rows;   /* of the picture, that these rows are made of */
    int64_t taps[2];           /* most weights of a row, a column */
    float mean[3], std[3];
    int channels, plane[3];
    bool cubic;
} spade_resample_kernel;
size_t spade_kernel_resample_bytes(const spade_resample_kernel *kernel /* host */);
/* normalised: NULL: not wanted */
int spade_launch_resample(spade_stream stream, const spade_resample_kernel *kernel /* host */, const uint8_t *picture,
                          void *workspace, uint8_t *rgb, float *normalised);
int spade_launch_picture_floats(spade_stream stream, int64_t n, const uint8_t *picture, float *out);

/* ---- heatmap.cu */
int spade_launch_heatmap(spade_stream stream, const spade_heatmap_args *args /* host */);

/* ---- attribution.cu: see backend.h's operations on attribution maps. Parameters of SPADE_MAX_POINTS images come by value. */
typedef struct spade_points_kernel {
    int64_t size;
    int count;
    double deviation;
    uint32_t key[2];
    double scale[SPADE_MAX_POINTS];
    uint32_t sample[SPADE_MAX_POINTS];
    const float *baselines; /* NULL: 0, or random ones */
    uint32_t baseline[SPADE_MAX_POINTS];
    spade_uniform_picture uniform;
} spade_points_kernel;
/* x [size] -> out [count, size]; without noise where the deviation is 0. */
int spade_launch_points(spade_stream stream, const spade_points_kernel *kernel /* host */, const float *x, float *out);
/* gradients [count, size] -> products [count, size] */
int spade_launch_path_products(spade_stream stream, const spade_points_kernel *kernel /* host */, const float *x,
                               const float *gradients, float *products);
int spade_launch_mask_inputs(spade_stream stream, const spade_mask_inputs_args *args /* host */);
int spade_launch_blend_inputs(spade_stream stream, const spade_blend_inputs_args *args /* host */);
int spade_launch_seed(spade_stream stream, const spade_seed_args *args /* host */);
typedef struct spade_weights_kernel {
    int count;
    double weight[SPADE_MAX_POINTS];
} spade_weights_kernel;
/* sum [size] = [sum +] the weighted sum of gradients [count, size], or of their squares */
int spade_launch_sum_gradients(spade_stream stream, int64_t size, const spade_weights_kernel *weights /* host */,
                               const float *gradients, bool squared, bool add, double *sum);
int spade_launch_finish_map(spade_stream stream, int64_t size, const double *sum, const float *x, double divisor,
                            bool absolute, float *map);
int spade_launch_finish_variance(spade_stream stream, int64_t size, const double *sum, const double *squares,
                                 double divisor, float *map);

/* ---- visualize.cu: see backend_visualize.h */
int spade_launch_colours(spade_stream stream, const spade_colours_args *args /* host */);
int spade_launch_colours_backward(spade_stream stream, const spade_colours_args *args /* host */);
int spade_launch_warp(spade_stream stream, const spade_warp_args *args /* host */);
int spade_launch_warp_backward(spade_stream stream, const spade_warp_args *args /* host */);
int spade_launch_adam(spade_stream stream, const spade_adam_args *args /* host */);

/* ---- convolution.cu */
/*
 * A tensor [batch, channels, height, width] of floats beside a padded copy [batch, channels, full_height, full_width]
 * in which it lies from (top, left) on; each row-major or channels-last, the padded copy of floats or of bfloat16.
 */
typedef struct spade_padded_kernel {
    int64_t batch, channels, height, width;
    int64_t top, left, full_height, full_width;
    bool last, padded_last, half;
} spade_padded_kernel;
/* The whole padded copy: x, zeros around it. */
int spade_launch_copy_padded(spade_stream stream, spade_padded_kernel k, const float *x, void *padded);
/* y = x's part of the padded copy + bias[channel], then relu; bias may be NULL. */
int spade_launch_copy_back(spade_stream stream, spade_padded_kernel k, const void *padded, const float *bias, bool relu,
                           float *y);
/* Weights [rows, inputs, taps] times scale [rows] (may be NULL), packed in that order or as [rows, taps, inputs]. */
typedef struct spade_packing_kernel {
    int64_t rows, inputs, taps;
    bool last, half; /* [rows, taps, inputs]; bfloat16 */
} spade_packing_kernel;
int spade_launch_convolution_pack(spade_stream stream, spade_packing_kernel k, const float *weights, const float *scale,
                                  void *packed);

/* ---- unfold.cu: Hessians of unfolded patches (backend/cuda/hessian/unfold.c) */
/* Where the patches of a tensor lie; strides in numbers. Linear layers: 1x1 images, a 1x1 kernel. */
typedef struct spade_patch_kernel {
    const float *x;
    int64_t stride_n, stride_c, stride_h, stride_w;
    int groups, channels; /* of a group */
    int size[2], output[2], kernel[2], stride[2], dilation[2], pad[2];
} spade_patch_kernel;
/* Patches of positions first .. first+count-1 -> out [count][group][kernel position][channel], float, or double where
 * fp64. */
int spade_launch_gather(spade_stream stream, spade_patch_kernel patches, bool fp64, int64_t first, int64_t count,
                        void *out);
/* h [groups, k, k] += alpha * sum of products [chunks][groups, k, k], upper triangles; chunks in their order. */
int spade_launch_add_products(spade_stream stream, int64_t groups, int64_t k, int64_t chunks, const float *products,
                              double alpha, double *h);
/* h [k, k], columns (offset, channel), upper triangle -> out, columns (channel, offset), upper triangle; of offsets first ..
 * first+offsets-1 only. */
int spade_launch_read_unfolded(spade_stream stream, int64_t k, int channels, int first, int offsets, const double *h,
                               double *out);

/* ---- gram.cu: the same from patches rounded once, on tensor cores */
/* How the numbers of patches are rounded, to the nearest, before they are multiplied. */
typedef enum spade_gram_rounding {
    SPADE_GRAM_TF32, /* 11 significant bits */
    SPADE_GRAM_BF16  /* 8 */
} spade_gram_rounding;
/* Positions first .. first+count-1, `chunk` of them a product: products [chunks][groups, k, k] = sums of patch patch^T,
 * columns (kernel position, channel); upper triangles, what lies below is undefined. */
int spade_launch_gram(spade_stream stream, spade_patch_kernel patches, spade_gram_rounding rounding, int64_t first,
                      int64_t count, int64_t chunk, float *products);
/* The edge of its tiles for matrices of k columns: what a small one wastes. */
int64_t spade_kernel_gram_tile(int64_t k);

/* ---- lags.cu, sums.cu: Hessians from lags; backend/autocorrelation.h says what these are. */
enum { SPADE_KERNEL_LAG_PARTS = 29, SPADE_KERNEL_LAG_CELLS = 30, SPADE_KERNEL_BORDER_PARTS = 4 };
/* One axis of backend/autocorrelation.h's geometry; where its parts lie; their first lag [parts + 1]. */
typedef struct spade_lag_axis_kernel {
    int size, kernel, pad, output, cut[2], parts, cells;
    int start[SPADE_KERNEL_LAG_PARTS], extent[SPADE_KERNEL_LAG_PARTS], first_lag[SPADE_KERNEL_LAG_PARTS + 1];
    int cell_start[SPADE_KERNEL_LAG_CELLS + 1];
} spade_lag_axis_kernel;
/*
 * An accumulator of lags: float64 [group][lag][pair c <= d of its channels], then the cells [cell][channel of all
 * groups].
 */
typedef struct spade_autocorrelation_kernel {
    int groups, channels; /* of a group */
    int64_t count;        /* lags of all parts */
    spade_lag_axis_kernel axis[2];
} spade_autocorrelation_kernel;
/* Transforms of length `length` of images of `size`, for lags |D_a| < reach[a]. Half of the lags: (0, 0) and those
 * behind it in the order of a part; the others are their mirror images. */
typedef struct spade_spectral_kernel {
    int size[2], length[2], reach[2];
} spade_spectral_kernel;
/*
 * Cosines and sines, float or double: rows [length0/2 + 1][real, imaginary][size0] of e^(-i fy y); columns [real,
 * imaginary][length1][of real, of imaginary][size1] of e^(-i fx x); fold [cos, -sin][half lags][(length0/2 + 1) *
 * length1], each frequency's share of a lag.
 */
int spade_launch_spectral_tables(spade_stream stream, spade_spectral_kernel transform, bool fp64, void *rows,
                                 void *columns, void *fold);
/*
 * The lags of the whole image from their folded halves: cosine, sine [half lags][groups][C, C], where the sine is that
 * of real part times imaginary part and minus its transpose is still to be added.
 */
int spade_launch_add_spectral(spade_stream stream, const spade_autocorrelation_kernel *lags, bool fp64,
                              const void *cosine, const void *sine, double alpha, double *accumulator);
/* Parts of the image that have one size. */
typedef struct spade_border_kernel {
    int parts, size[2], reach[2];
    int start[SPADE_KERNEL_BORDER_PARTS][2];
    int64_t middle[SPADE_KERNEL_BORDER_PARTS]; /* lag (0, 0) of each */
    int images, chunk, chunks;                 /* chunk * chunks >= images */
} spade_border_kernel;
/* x [images, H, W, all channels] -> out [part][group][chunks * chunk images][size0][size1][half lags][C]: each pixel
 * and the pixels at its lags, zero outside the part and behind the last image. */
int spade_launch_gather_borders(spade_stream stream, const spade_autocorrelation_kernel *lags,
                                spade_border_kernel borders, bool fp64, const float *x, void *out);
/* products [part][group][chunk][C][half lags][C], chunks in their order. */
int spade_launch_add_borders(spade_stream stream, const spade_autocorrelation_kernel *lags, spade_border_kernel borders,
                             bool fp64, const void *products, double alpha, double *accumulator);
/* H of one group from the lags: out [k, k], upper triangle, columns (channel, offset); offsets first .. first+offsets-1 only. */
int spade_launch_read_lags(spade_stream stream, const spade_autocorrelation_kernel *lags, const double *accumulator,
                           int group, int first, int offsets, double *out);
int spade_launch_widen(spade_stream stream, int64_t n, const float *x, double *y);

/* Sums over pixels of products of a channel with itself, float64. */
typedef enum spade_sums_kernel {
    SPADE_SUMS_CELLS,       /* the squares of every cell -> the cells of an accumulator of lags */
    SPADE_SUMS_LAGS,        /* all lags of every part, one channel a group -> an accumulator of lags */
    SPADE_SUMS_OFFSET_PAIRS /* products of all pairs of kernel positions, one channel a group -> [channels][k, k], upper */
} spade_sums_kernel;
/* partial: scratch, `images` times spade_sums_entries() times all channels. lags: unused for offset pairs. */
int spade_launch_sums(spade_stream stream, spade_sums_kernel sums, spade_patch_kernel patches,
                      const spade_autocorrelation_kernel *lags, int images, double alpha, double *partial,
                      double *accumulator);
int64_t spade_sums_entries(spade_sums_kernel sums, const spade_patch_kernel *patches,
                           const spade_autocorrelation_kernel *lags);

/* ---- factor.cu, sweep.cu, exact_eliminate.cu, exact_refit.cu: the solvers, float64. `failed`: 1 where a matrix is not
 * positive definite or a
 * number is not finite, else 0. */
enum { SPADE_SOLVE_BATCH = 64 }; /* most problems of one launch */

/* What one problem hands to the host. */
typedef struct spade_result_kernel {
    double value;             /* loss of a sweep, quadratic form */
    unsigned long long zeros; /* of a sweep's weights */
    int failed;
    int info; /* the library's, of a factor */
} spade_result_kernel;

/* Dead inputs (H_dd = 0: 1, and marked), then damping of the diagonal of H [k, k]. */
typedef struct spade_damp_kernel {
    int64_t k;
    double damping;
    double *hessian;
    uint8_t *dead;
    int *failed;
} spade_damp_kernel;
typedef struct spade_damp_batch {
    int n;
    spade_damp_kernel problems[SPADE_SOLVE_BATCH];
} spade_damp_batch;
int spade_launch_damp(spade_stream stream, const spade_damp_batch *batch /* host */);
/* a [n] from its end to its beginning. */
int spade_launch_reverse(spade_stream stream, int64_t n, double *a);
/* a [k, k]: below the diagonal what is above it. */
int spade_launch_mirror(spade_stream stream, int64_t k, double *a);
/* Whether V [k, k] is a factor; info: the library's. */
int spade_launch_check_factor(spade_stream stream, int64_t k, const double *v, const int *info, int *failed);
/* H -> V, H = V V^T, upper triangles [k, k], k at most SPADE_FACTOR_SMALL. */
enum { SPADE_FACTOR_SMALL = 96 };
typedef struct spade_factor_kernel {
    int64_t k;
    double *hessian;
    int *failed;
} spade_factor_kernel;
typedef struct spade_factor_batch {
    int n;
    spade_factor_kernel problems[SPADE_SOLVE_BATCH];
} spade_factor_batch;
int spade_launch_factor_small(spade_stream stream, const spade_factor_batch *batch /* host */);
/* ---- dual.cu: the factor without a Hessian, and the inputs that it is made of */
typedef struct spade_dual_kernel {
    int64_t k, n; /* columns, samples */
    double scale, damping;
    const float *x;  /* [k, n] */
    uint8_t *dead;   /* [k] */
    double *squares; /* [k]: H's diagonal */
    double *shift;   /* [1]: the damping */
    double *inverse; /* N [n, n] */
} spade_dual_kernel;
/* dead, squares, shift (not a number where there is no positive one), N = I */
int spade_launch_dual_begin(spade_stream stream, const spade_dual_kernel *problem /* host */);
/* out [n, width] = root * the transpose of x [width, n] */
int spade_launch_dual_inputs(spade_stream stream, const float *x, int64_t n, int64_t width, double root, double *out);
/* The diagonal of matrix [width, width] += shift, and 1 where the input is dead. */
int spade_launch_dual_shift(spade_stream stream, int64_t width, const double *shift, const uint8_t *dead,
                            double *matrix);
/* t [width, n]: the transpose of A V^-T, A [n, width], V [width, width] upper triangular. */
int spade_launch_dual_solve(spade_stream stream, int64_t n, int64_t width, const double *v, const double *a, double *t);
/* Whether the panels' V, each [width, width] at panel * panel numbers, are factors. */
int spade_launch_dual_check(spade_stream stream, int64_t k, int64_t panel, const double *v, int *failed);
/* out [channels * taps, positions]: patches of one group, kernel positions `first` and on; columns (channel, tap). */
int spade_launch_samples(spade_stream stream, spade_patch_kernel patches, int64_t positions, int64_t group, int first,
                         int taps, float *out);

/* *out = sum of a[i] b[i] */
int spade_launch_dot(spade_stream stream, int64_t n, const double *a, const double *b, double *out);

/*
 * The fast solver's sweep. Columns of the layer are rows here: neighbouring threads have neighbouring rows of the
 * layer. `panel` columns are swept at a time, a multiple of `block`; `parts` sums of SPADE_SWEEP_DEPTH columns each.
 */
enum { SPADE_SWEEP_PANEL = 64, SPADE_SWEEP_DEPTH = 512 };
typedef struct spade_sweep_kernel {
    int64_t rows, columns, block, panel;
    bool n_of_m;               /* all but `keep` of a block in each row are pruned */
    int64_t keep;              /* else so many of */
    int64_t prune, prune_last; /* each block, the last one */
    bool dual;                 /* V of each panel only, [width, width] at panel * panel numbers; no gather */
    const double *v;           /* [columns, columns] */
    float *weights;            /* [columns, rows] W, then Q */
    double *removed;           /* [columns, rows] W - Q */
    double *left;              /* [panel, rows] */
    double *partial;           /* [parts, panel, rows]; NULL where there is one part at most */
    double *scores;            /* [block, rows] */
    double *errors;            /* [rows] sums of squares */
} spade_sweep_kernel;
typedef struct spade_sweep_batch {
    int n;
    spade_sweep_kernel problems[SPADE_SOLVE_BATCH];
} spade_sweep_batch;
/* weights from dense [rows, columns], dead columns zero; errors and *result to zero. */
int spade_launch_sweep_begin(spade_stream stream, const spade_sweep_kernel *problem /* host */, const float *dense,
                             const uint8_t *dead, spade_result_kernel *result);
/* left = the sum over all columns before panel `index` of removed times V, for the panel's columns; index from 1. */
int spade_launch_sweep_gather(spade_stream stream, const spade_sweep_batch *batch /* host */, int64_t index);
/* The panel: scores, masks, pruning, block by block. */
int spade_launch_sweep_panel(spade_stream stream, const spade_sweep_batch *batch /* host */, int64_t index);
/* sparse [rows, columns] from weights; the loss, the sum of errors / 2; zeros; failed: a number is not finite. */
int spade_launch_sweep_end(spade_stream stream, const spade_sweep_kernel *problem /* host */, float *sparse,
                           spade_result_kernel *result);

/* Exact OBC; see backend.h's spade_exact_args. The problems of a batch have the same columns and group. */
typedef struct spade_exact_kernel {
    int64_t rows;
    const double *inverse, *hessian, *w;
    int32_t *order;
    double *losses, *q;
    const int64_t *counts; /* refit; device */
    int *failed;           /* 0 before; set where a row fails */
} spade_exact_kernel;
typedef struct spade_exact_batch {
    int n;
    int64_t columns, group;
    spade_exact_kernel problems[SPADE_SOLVE_BATCH];
} spade_exact_batch;
/* Bytes of working memory of one row. */
size_t spade_exact_row_bytes(int64_t columns, int64_t group);
size_t spade_refit_row_bytes(int64_t columns);
/* max_rows: rows worked on at once, each with its own part of the workspace. */
int spade_launch_eliminate(spade_stream stream, const spade_exact_batch *batch /* host */, int64_t max_rows,
                           void *workspace);
int spade_launch_refit(spade_stream stream, const spade_exact_batch *batch /* host */, int64_t max_rows,
                       void *workspace);

#ifdef __cplusplus
}
#endif
#endif
