/* backend.c - the CUDA backend: its table, its devices, opening and closing them. */
#include "backend/cuda/cuda.h"
#include "backend/plugin.h"

static void describe(int index, spade_device_info *out)
{
    struct cudaDeviceProp properties;
    *out = (spade_device_info){0};
    snprintf(out->name, sizeof out->name, "cuda:%d", index);
    cudaError_t result = cudaGetDeviceProperties(&properties, index);
    spade_cuda_ignore_error(result);
    if (result != cudaSuccess) {
        snprintf(out->description, sizeof out->description, "a CUDA device");
        snprintf(out->note, sizeof out->note, "%s", cudaGetErrorString(result));
        return;
    }
    out->memory = properties.totalGlobalMem;
    snprintf(out->description, sizeof out->description, "%.80s, compute capability %d.%d, %d multiprocessors",
             properties.name, properties.major, properties.minor, properties.multiProcessorCount);
    if (properties.major < 8) {
        snprintf(out->note, sizeof out->note, "compute capability %d.%d is below 8.0", properties.major,
                 properties.minor);
    }
}

static int cuda_devices(spade_device_info *devices, int capacity)
{
    int count = 0;
    cudaError_t result = cudaGetDeviceCount(&count);
    spade_cuda_ignore_error(result);
    if (result != cudaSuccess) { return 0; }
    for (int i = 0; i < count && i < capacity; i++) { describe(i, &devices[i]); }
    return count;
}

static void cuda_close(spade_device *device)
{
    if (!device) { return; }
    spade_cuda_device *cuda = spade_cuda_of(device);
    if (cuda->stream) { (void)cudaStreamSynchronize(cuda->stream); }
    spade_cuda_convolutions_destroy(cuda);
    spade_cuda_solve_close(cuda);
    if (cuda->dnn) { (void)cudnnDestroy(cuda->dnn); }
    if (cuda->solver) { (void)cusolverDnDestroy(cuda->solver); }
    if (cuda->blas) { (void)cublasDestroy(cuda->blas); }
    spade_cuda_free(device, cuda->blas_workspace, cuda->blas_bytes);
    spade_cuda_staging_close(cuda);
    spade_cuda_capture_close(cuda);
    if (cuda->pool) { (void)cudaMemPoolDestroy(cuda->pool); }
    if (cuda->stream) { (void)cudaStreamDestroy(cuda->stream); }
    (void)cudaGetLastError(); /* the next launch may be on a device that another context opens */
    free(cuda);
}

static spade_status make_pool(spade_cuda_device *cuda)
{
    struct cudaMemPoolProps properties = {.allocType = cudaMemAllocationTypePinned,
                                          .location = {.type = cudaMemLocationTypeDevice, .id = cuda->index}};
    uint64_t keep = UINT64_MAX; /* freed blocks stay with the pool until the device is closed */
    SPADE_CUDA_TRY(cuda, cudaMemPoolCreate(&cuda->pool, &properties));
    SPADE_CUDA_TRY(cuda, cudaMemPoolSetAttribute(cuda->pool, cudaMemPoolAttrReleaseThreshold, &keep));
    return SPADE_OK;
}

/*
 * cuBLAS's own memory, as much as its manual recommends for each architecture: counted against the budget, and the same
 * whatever the budget is, as it decides how products are computed. Without it the library would take memory in every
 * captured graph.
 */
static spade_status make_workspace(spade_cuda_device *cuda)
{
    const size_t mebibytes = cuda->major == 9 || cuda->major == 10 ? 32 : cuda->major == 12 ? 12 : 4;
    SPADE_TRY(spade_cuda_alloc(&cuda->base, mebibytes << 20, "cuBLAS's workspace", &cuda->blas_workspace));
    cuda->base.own_bytes = cuda->blas_bytes = mebibytes << 20;
    return SPADE_OK;
}

static spade_status make_handles(spade_cuda_device *cuda)
{
    SPADE_CUDA_BLAS(cuda, cublasCreate(&cuda->blas));
    SPADE_CUDA_BLAS(cuda, cublasSetStream(cuda->blas, cuda->stream)); /* takes the workspace away */
    SPADE_CUDA_BLAS(cuda, cublasSetWorkspace(cuda->blas, cuda->blas_workspace, cuda->blas_bytes));
    SPADE_CUDA_BLAS(cuda, cublasSetAtomicsMode(cuda->blas, CUBLAS_ATOMICS_NOT_ALLOWED));
    SPADE_CUDA_SOLVER(cuda, cusolverDnCreate(&cuda->solver));
    SPADE_CUDA_SOLVER(cuda, cusolverDnSetStream(cuda->solver, cuda->stream));
    SPADE_CUDA_DNN(cuda, cudnnCreate(&cuda->dnn));
    SPADE_CUDA_DNN(cuda, cudnnSetStream(cuda->dnn, cuda->stream));
    return SPADE_OK;
}

static spade_status read_limits(spade_cuda_device *cuda)
{
    int shared = 0;
    SPADE_CUDA_TRY(cuda, cudaDeviceGetAttribute(&cuda->processors, cudaDevAttrMultiProcessorCount, cuda->index));
    SPADE_CUDA_TRY(cuda, cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, cuda->index));
    SPADE_CUDA_TRY(cuda, cudaDeviceGetAttribute(&cuda->major, cudaDevAttrComputeCapabilityMajor, cuda->index));
    SPADE_CUDA_TRY(cuda, cudaDeviceGetAttribute(&cuda->minor, cudaDevAttrComputeCapabilityMinor, cuda->index));
    size_t left, all;
    SPADE_CUDA_TRY(cuda, cudaMemGetInfo(&left, &all));
    cuda->base.memory = all;
    cuda->shared_bytes = (size_t)shared;
    if (cuda->major >= 8) { return SPADE_OK; }
    return spade_fail(cuda->base.context, SPADE_ERROR_DEVICE, "cuda:%d: compute capability %d.%d is below 8.0",
                      cuda->index, cuda->major, cuda->minor);
}

static spade_status cuda_open(spade_context *context, int index, spade_device **out)
{
    int count = 0;
    *out = NULL;
    cudaError_t result = cudaGetDeviceCount(&count);
    spade_cuda_ignore_error(result);
    if (result != cudaSuccess) {
        return spade_fail(context, SPADE_ERROR_DEVICE, "device cuda:%d: %s", index, cudaGetErrorString(result));
    }
    if (index >= count) {
        return spade_fail(context, SPADE_ERROR_DEVICE, "device cuda:%d: there %s %d CUDA device%s", index,
                          count == 1 ? "is" : "are", count, count == 1 ? "" : "s");
    }
    spade_cuda_device *cuda = calloc(1, sizeof *cuda);
    if (!cuda) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: device cuda:%d", index); }
    cuda->base = (spade_device){.backend = &spade_backend_cuda, .context = context};
    cuda->index = index;
    spade_status status = SPADE_OK;
    SPADE_GOTO(spade_cuda_status(cuda, cudaSetDevice(index), "cudaSetDevice"));
    SPADE_GOTO(read_limits(cuda));
    SPADE_GOTO(spade_cuda_status(cuda, cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking),
                                 "cudaStreamCreateWithFlags"));
    SPADE_GOTO(make_pool(cuda));
    SPADE_GOTO(spade_cuda_capture_open(cuda));
    SPADE_GOTO(spade_cuda_staging_open(cuda));
    SPADE_GOTO(make_workspace(cuda));
    SPADE_GOTO(make_handles(cuda));
    *out = &cuda->base;
    return SPADE_OK;
done:
    cuda_close(&cuda->base);
    return status;
}

static void cuda_libraries(char *buffer, size_t size)
{
    int runtime = 0, driver = 0, blas = 0, solver = 0;
    size_t dnn = cudnnGetVersion();
    (void)cudaRuntimeGetVersion(&runtime);
    (void)cudaDriverGetVersion(&driver);
    (void)cublasGetVersion(NULL, &blas);
    (void)cusolverGetVersion(&solver);
    snprintf(buffer, size, "CUDA %d.%d\nCUDA driver %d.%d\ncuBLAS %d\ncuSOLVER %d\ncuDNN %zu.%zu.%zu\n", runtime / 1000,
             runtime % 1000 / 10, driver / 1000, driver % 1000 / 10, blas, solver, dnn / 10000, dnn / 100 % 100,
             dnn % 100);
}

/* A captured graph ends in the first failure of what was to be in it. */
static spade_status cuda_pack(spade_op *op, const float *weights, const float *row_scale, void *packed)
{
    return spade_cuda_latch_error(spade_cuda_of(op->device), spade_op_pack(op, weights, row_scale, packed));
}

static spade_status cuda_run(spade_op *op, const spade_op_args *args)
{
    return spade_cuda_latch_error(spade_cuda_of(op->device), spade_op_run(op, args));
}

static const spade_op_entry *const cuda_ops[SPADE_OP_KIND_COUNT] = {
#define ENTRY(kind, name, entry, fits) [kind] = &spade_cuda_##entry##_op,
    SPADE_OPS(ENTRY)
#undef ENTRY
};

static const spade_backend_picture cuda_picture = {
    .augment = spade_cuda_augment,
    .resample = spade_cuda_resample,
    .to_floats = spade_cuda_picture_to_floats,
    .heatmap = spade_cuda_heatmap,
};

const spade_backend spade_backend_cuda = {
    .name = "cuda",
    .host_memory = false,
    .devices = cuda_devices,
    .open = cuda_open,
    .close = cuda_close,
    .alloc = spade_cuda_alloc,
    .free = spade_cuda_free,
    .upload = spade_cuda_upload,
    .download = spade_cuda_download,
    .copy = spade_cuda_copy,
    .zero = spade_cuda_zero,
    .synchronize = spade_cuda_synchronize,
    .capture_begin = spade_cuda_capture_begin,
    .capture_end = spade_cuda_capture_end,
    .graph_launch = spade_cuda_graph_launch,
    .graph_destroy = spade_cuda_graph_destroy,
    .plan = spade_op_plan,
    .destroy = spade_op_destroy,
    .workspace_bytes = spade_op_workspace_bytes,
    .saved_bytes = spade_op_saved_bytes,
    .packed_bytes = spade_op_packed_bytes,
    .pack = cuda_pack,
    .run = cuda_run,
    .ops = cuda_ops,
    .axpby = spade_cuda_axpby,
    .magnitude = spade_cuda_magnitude,
    .points = spade_cuda_points,
    .path_products = spade_cuda_path_products,
    .mask_inputs = spade_cuda_mask_inputs,
    .blend_inputs = spade_cuda_blend_inputs,
    .seed = spade_cuda_seed,
    .sum_gradients = spade_cuda_sum_gradients,
    .finish_map = spade_cuda_finish_map,
    .finish_variance = spade_cuda_finish_variance,
    .hessian = &spade_cuda_hessian,
    .solver = &spade_cuda_solver,
    .picture = &cuda_picture,
    .visualize = &spade_cuda_visualize,
    .libraries = cuda_libraries,
};

__attribute__((visibility("default"))) const spade_backend *spade_plugin_table(size_t size, const char *version)
{
    bool fits = size == sizeof(spade_backend) && strcmp(version, SPADE_VERSION) == 0;
    return fits ? &spade_backend_cuda : NULL;
}
