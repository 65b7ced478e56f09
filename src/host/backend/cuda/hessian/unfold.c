/*
 * unfold.c - the direct form: patches gathered by a kernel, their products by cuBLAS. Where the patches are the
 * rows of the input already nothing is gathered. Under TF32 or bfloat16 one kernel gathers, rounds and multiplies.
 *
 * float32, rounded or not: chunks of positions are multiplied side by side, one product [K, K] each, which fills the GPU
 * where K is small, and keeps float32 sums short; a kernel adds them to the float64 accumulator in their order. float64:
 * cuBLAS adds to the accumulator. Chunks and what is done at once depend on the shapes only. A dead input gives sums of
 * exact zeros, so its diagonal is 0.
 */
#include "backend/cuda/hessian/hessian.h"

enum {
    PIECE_BYTES = 64 << 20, /* gathered at a time; of products */
    CHUNK = 4096,           /* positions of a product */
    SMALL_CHUNK = 1024,     /* the same where K is at most SMALL */
    SMALL = 128,
    MAX_CHUNKS = 1 << 16 /* of a launch on tensor cores, which counts positions in int */
};

typedef struct unfold {
    const spade_cuda_device *cuda;
    spade_positions positions;
    double alpha, *h;
    bool fp64, plain; /* plain: x is the gathered matrix already */
    bool tensor_cores;
    spade_gram_rounding rounding; /* on tensor cores */
    size_t element;
    int64_t row;           /* numbers of one gathered position: groups * K */
    int64_t chunk, chunks; /* positions of a chunk; chunks at a time */
    void *gathered;        /* [chunks * chunk, row] */
    float *products;       /* [chunks][groups, K, K]; float32 */
} unfold;

static int64_t at_least_one(int64_t n)
{
    return n < 1 ? 1 : n;
}

static unfold resolve(const spade_cuda_device *cuda, const spade_hessian_desc *desc, const float *x, void *workspace,
                      size_t *bytes)
{
    const spade_network_precision precision = spade_cuda_patch_precision(cuda, desc);
    unfold u = {.cuda = cuda, .positions = spade_positions_of(desc, x)};
    int64_t k = u.positions.columns, count = u.positions.count;
    u.tensor_cores = precision != SPADE_NETWORK_FP32;
    u.rounding = precision == SPADE_NETWORK_BF16 ? SPADE_GRAM_BF16 : SPADE_GRAM_TF32;
    u.fp64 = desc->precision == SPADE_FP64;
    u.plain = spade_hessian_desc_is_rows(desc) && !u.fp64;
    u.element = u.fp64 ? sizeof(double) : sizeof(float);
    u.row = u.positions.groups * k;
    u.chunk = k > SMALL ? CHUNK : SMALL_CHUNK;
    /* from the whole chunk's size: fewer positions never take more memory */
    bool gathers = !u.plain && !u.tensor_cores;
    int64_t gathered = gathers ? u.chunk * u.row * (int64_t)u.element : 0;
    int64_t product = u.fp64 ? 0 : u.row * k * (int64_t)sizeof(float);
    int64_t piece = gathered > product ? gathered : product;
    u.chunks = at_least_one(PIECE_BYTES / at_least_one(piece));
    if (u.tensor_cores && u.chunks > MAX_CHUNKS) { u.chunks = MAX_CHUNKS; }
    if (u.chunk > count) { u.chunk = count; }
    int64_t most = u.chunk > 0 ? (count + u.chunk - 1) / u.chunk : 0;
    if (u.chunks > most) { u.chunks = most; }
    *bytes = 0;
    u.gathered = spade_cuda_take(workspace, bytes, gathers ? (size_t)(u.chunks * u.chunk * u.row) * u.element : 0);
    u.products = spade_cuda_take(workspace, bytes, (size_t)(u.chunks * product));
    return u;
}

size_t spade_cuda_unfold_workspace_bytes(const spade_cuda_device *cuda, const spade_hessian_desc *desc)
{
    size_t bytes;
    (void)resolve(cuda, desc, NULL, NULL, &bytes);
    return bytes;
}

/* On tensor cores: tiles on and above the diagonal; each reads the columns of its edges, from the caches mostly. */
static double gram_cost(const unfold *u)
{
    const spade_positions *p = &u->positions;
    const int64_t edge = spade_kernel_gram_tile(p->columns), across = (p->columns + edge - 1) / edge;
    const double operations = u->rounding == SPADE_GRAM_BF16 ? SPADE_CUDA_BF16_OPERATIONS : SPADE_CUDA_TF32_OPERATIONS;
    const double count = (double)p->count, chunks = u->chunk > 0 ? count / (double)u->chunk : 0;
    const double tiles = (double)(across * (across + 1)) / 2, steps = chunks / (double)at_least_one(u->chunks) + 1;
    const double products = 2 * tiles * (double)(edge * edge) * count * (double)p->groups / operations;
    /* the input is read; products are written and read, sums read and written */
    const double traffic = 4 * ((double)(p->images * p->channels * p->height * p->width) +
                                (2 * chunks + 4 * steps) * (double)(u->row * p->columns));
    return products + traffic / SPADE_CUDA_BYTES + 2 * steps * SPADE_CUDA_LAUNCH_COST;
}

double spade_cuda_unfold_cost(const spade_cuda_device *cuda, const spade_hessian_desc *desc)
{
    size_t bytes;
    unfold u = resolve(cuda, desc, NULL, NULL, &bytes);
    if (u.tensor_cores) { return gram_cost(&u); }
    double k = (double)u.positions.columns, count = (double)u.positions.count, groups = (double)u.positions.groups;
    double panels = (double)spade_cuda_gram_panels(u.positions.columns), steps = 1, numbers = count * (double)u.row;
    if (u.chunk > 0) { steps = count / (double)(u.chunk * u.chunks) + 1; }
    double products = spade_cuda_product_cost(k, k, count, groups) * (panels + 1) / (2 * panels);
    double chunks = u.chunk > 0 ? count / (double)u.chunk : 0;
    /* patches are written and read, or the input is read; products are written and read, sums read and written */
    double traffic = 4 * ((u.plain ? 1 : 2) * numbers + (2 * chunks + 4 * steps) * (double)u.row * k);
    double launches = steps * (panels * (u.positions.groups > 1 ? (double)u.chunks : 1) + (u.plain ? 1 : 2));
    return products + traffic / SPADE_CUDA_BYTES + launches * SPADE_CUDA_LAUNCH_COST;
}

/* Products of chunks first .. first+chunks-1 of p, `count` positions each. */
static spade_status multiply(const unfold *u, const void *p, int64_t first, int64_t chunks, int64_t count)
{
    int64_t k = u->positions.columns, groups = u->positions.groups, size = u->row * k;
    spade_cuda_product gram = {.fp64 = u->fp64,
                               .n = k,
                               .k = count,
                               .batch = groups > 1 ? groups : chunks,
                               .alpha = u->fp64 ? u->alpha : 1,
                               .beta = u->fp64 ? 1 : 0,
                               .lda = u->row,
                               .ldc = k,
                               .stride_a = groups > 1 ? k : u->chunk * u->row,
                               .stride_c = k * k};
    if (chunks == 0) { return SPADE_OK; }
    for (int64_t i = first; i < (groups > 1 ? first + chunks : first + 1); i++) {
        gram.a = (const char *)p + (size_t)(i * u->chunk * u->row) * u->element;
        gram.c = u->fp64 ? (void *)u->h : u->products + i * size;
        SPADE_TRY(spade_cuda_gram(u->cuda, &gram));
    }
    return SPADE_OK;
}

/* Products of the chunks of `count` positions from `first` on. */
static spade_status multiply_chunks(const unfold *u, const spade_hessian_desc *desc, int64_t first, int64_t count)
{
    const spade_positions *p = &u->positions;
    int64_t full = count / u->chunk, rest = count % u->chunk;
    const void *matrix = p->x + first * u->row;
    if (u->tensor_cores) {
        SPADE_CUDA_LAUNCH(u->cuda, spade_launch_gram(u->cuda->stream, spade_cuda_patch_kernel(desc, p->x), u->rounding,
                                                     first, count, u->chunk, u->products));
        return SPADE_OK;
    }
    if (!u->plain) {
        matrix = u->gathered;
        SPADE_CUDA_LAUNCH(u->cuda, spade_launch_gather(u->cuda->stream, spade_cuda_patch_kernel(desc, p->x), u->fp64,
                                                       first, count, u->gathered));
    }
    if (u->fp64) { /* all at once: they are added to the accumulator */
        unfold whole = *u;
        whole.chunk = count;
        return multiply(&whole, matrix, 0, 1, count);
    }
    SPADE_TRY(multiply(u, matrix, 0, full, u->chunk));
    return multiply(u, matrix, full, rest ? 1 : 0, rest);
}

static spade_status run_step(const unfold *u, const spade_hessian_desc *desc, int64_t first, int64_t count)
{
    const spade_positions *p = &u->positions;
    SPADE_TRY(multiply_chunks(u, desc, first, count));
    if (u->fp64) { return SPADE_OK; }
    SPADE_CUDA_LAUNCH(u->cuda,
                      spade_launch_add_products(u->cuda->stream, p->groups, p->columns,
                                                (count + u->chunk - 1) / u->chunk, u->products, u->alpha, u->h));
    return SPADE_OK;
}

spade_status spade_cuda_unfold_update(const spade_cuda_device *cuda, const spade_hessian_desc *desc, const float *x,
                                      double alpha, double *accumulator, void *workspace)
{
    size_t bytes;
    unfold u = resolve(cuda, desc, x, workspace, &bytes);
    u.alpha = alpha;
    u.h = accumulator;
    int64_t step = u.chunk * u.chunks, all = u.positions.count;
    for (int64_t first = 0; first < all; first += step) {
        SPADE_TRY(run_step(&u, desc, first, all - first < step ? all - first : step));
    }
    return SPADE_OK;
}

spade_status spade_cuda_unfold_read(const spade_cuda_device *cuda, const spade_hessian_desc *desc,
                                    const void *accumulator, int64_t group, int64_t offset, double *out)
{
    const spade_positions p = spade_positions_of(desc, NULL);
    const int64_t offsets = p.columns / p.group_channels;
    const double *h = (const double *)accumulator + group * p.columns * p.columns;
    SPADE_CUDA_LAUNCH(cuda,
                      spade_launch_read_unfolded(cuda->stream, p.columns, (int)p.group_channels,
                                                 offset < 0 ? 0 : (int)offset, offset < 0 ? (int)offsets : 1, h, out));
    return SPADE_OK;
}
