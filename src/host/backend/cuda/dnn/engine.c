/* engine.c - the engines that cuDNN has for a graph, without those that compute it less exactly than allowed. */
#include "backend/cuda/dnn/dnn.h"

bool spade_dnn_allows(spade_network_precision precision, const cudnnBackendNumericalNote_t *notes, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        switch (notes[i]) {
        case CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP: break;
        case CUDNN_NUMERICAL_NOTE_TENSOR_CORE: /* of float32: TF32 */
            if (precision == SPADE_NETWORK_FP32) { return false; }
            break;
        /* Inputs as float16 overflow; Winograd's and the Fourier transform's rounding is another one; sums in an order
         * of chance differ from run to run; what a later cuDNN notes, nobody here knows. */
        default: return false;
        }
    }
    return true;
}

static cudnnBackendDescriptor_t create(cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t descriptor;
    return cudnnBackendCreateDescriptor(type, &descriptor) == CUDNN_STATUS_SUCCESS ? descriptor : NULL;
}

static void destroy(cudnnBackendDescriptor_t descriptor)
{
    if (descriptor) { (void)cudnnBackendDestroyDescriptor(descriptor); }
}

static bool set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                const void *element)
{
    return spade_dnn_set(descriptor, name, type, 1, element) == CUDNN_STATUS_SUCCESS;
}

static bool finalize(cudnnBackendDescriptor_t descriptor)
{
    return cudnnBackendFinalize(descriptor) == CUDNN_STATUS_SUCCESS;
}

/* The engine of a configuration; the caller destroys it. NULL: cuDNN does not say. */
static cudnnBackendDescriptor_t engine_of(cudnnBackendDescriptor_t config)
{
    int64_t count = 0;
    cudnnBackendDescriptor_t engine = create(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    if (engine &&
        cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
                                 &engine) == CUDNN_STATUS_SUCCESS &&
        count == 1) {
        return engine;
    }
    destroy(engine);
    return NULL;
}

int64_t spade_dnn_engine_number(cudnnBackendDescriptor_t config)
{
    int64_t number = -1, count = 0;
    cudnnBackendDescriptor_t engine = engine_of(config);
    if (!engine || cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &count,
                                            &number) != CUDNN_STATUS_SUCCESS) {
        number = -1;
    }
    destroy(engine);
    return number;
}

/* An engine that does not tell its notes is not allowed. */
static bool allowed(const spade_cuda_device *device, cudnnBackendDescriptor_t config)
{
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t count = 0;
    cudnnBackendDescriptor_t engine = engine_of(config);
    bool ok =
        engine && cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                           CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes) == CUDNN_STATUS_SUCCESS;
    destroy(engine);
    return ok && count <= CUDNN_NUMERICAL_NOTE_TYPE_COUNT &&
           spade_dnn_allows(device->base.context->precision, notes, count);
}

static spade_status reserve(const spade_cuda_device *device, int64_t count, spade_dnn_engines *out)
{
    out->configs = calloc((size_t)count + 1, sizeof *out->configs);
    if (out->configs) { return SPADE_OK; }
    return spade_fail(device->base.context, SPADE_ERROR_MEMORY, "out of memory: engines of a convolution");
}

/* ---- by heuristics */

/* All configurations that a finalized heuristic has. cuDNN fills descriptors that the caller made. */
static spade_status read_results(const spade_cuda_device *device, cudnnBackendDescriptor_t heuristic,
                                 spade_dnn_engines *out)
{
    int64_t count = 0, got = 0;
    if (cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count,
                                 NULL) != CUDNN_STATUS_SUCCESS) {
        return SPADE_OK;
    }
    SPADE_TRY(reserve(device, count, out));
    for (; out->count < count; out->count++) {
        out->configs[out->count] = create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        if (!out->configs[out->count]) { break; }
    }
    if (cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, out->count,
                                 &got, out->configs) != CUDNN_STATUS_SUCCESS) {
        got = 0;
    }
    while (out->count > got) { destroy(out->configs[--out->count]); }
    return SPADE_OK;
}

static spade_status find_by_heuristic(const spade_cuda_device *device, const spade_dnn_graph *graph,
                                      cudnnBackendHeurMode_t mode, spade_dnn_engines *out)
{
    spade_status status = SPADE_OK;
    cudnnBackendDescriptor_t heuristic = create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    if (heuristic &&
        set(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, &graph->graph) &&
        set(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, &mode) && finalize(heuristic)) {
        status = read_results(device, heuristic, out);
    }
    destroy(heuristic);
    return status;
}

/* ---- by number */

static cudnnBackendDescriptor_t default_config(const spade_dnn_graph *graph, int64_t number)
{
    cudnnBackendDescriptor_t engine = create(CUDNN_BACKEND_ENGINE_DESCRIPTOR), config = NULL;
    if (engine && set(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, &graph->graph) &&
        set(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, &number) && finalize(engine)) {
        config = create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    }
    if (config &&
        !(set(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, &engine) && finalize(config))) {
        destroy(config);
        config = NULL;
    }
    destroy(engine);
    return config;
}

static spade_status find_every(const spade_cuda_device *device, const spade_dnn_graph *graph, spade_dnn_engines *out)
{
    int64_t count = 0, got = 0;
    if (cudnnBackendGetAttribute(graph->graph, CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT, CUDNN_TYPE_INT64, 1, &got,
                                 &count) != CUDNN_STATUS_SUCCESS) {
        return SPADE_OK;
    }
    SPADE_TRY(reserve(device, count, out));
    for (int64_t i = 0; i < count; i++) {
        cudnnBackendDescriptor_t config = default_config(graph, i);
        if (config) { out->configs[out->count++] = config; }
    }
    return SPADE_OK;
}

spade_status spade_dnn_engines_find(const spade_cuda_device *device, const spade_dnn_graph *graph,
                                    spade_dnn_source source, spade_dnn_engines *out)
{
    *out = (spade_dnn_engines){0};
    if (source == SPADE_DNN_EVERY) {
        SPADE_TRY(find_every(device, graph, out));
    } else {
        SPADE_TRY(find_by_heuristic(device, graph,
                                    source == SPADE_DNN_HEURISTIC ? CUDNN_HEUR_MODE_A : CUDNN_HEUR_MODE_FALLBACK, out));
    }
    int kept = 0;
    for (int i = 0; i < out->count; i++) {
        if (allowed(device, out->configs[i])) {
            out->configs[kept++] = out->configs[i];
        } else {
            destroy(out->configs[i]);
        }
    }
    out->count = kept;
    return SPADE_OK;
}

void spade_dnn_engines_clear(spade_dnn_engines *engines)
{
    for (int i = 0; i < engines->count; i++) { destroy(engines->configs[i]); }
    free(engines->configs);
    *engines = (spade_dnn_engines){0};
}

/* ---- plans */

cudnnBackendDescriptor_t spade_dnn_plan_create(const spade_cuda_device *device, cudnnBackendDescriptor_t config,
                                               size_t most, size_t *workspace)
{
    int64_t bytes = -1, count = 0;
    cudnnBackendDescriptor_t plan = create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    if (plan && set(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, &device->dnn) &&
        set(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, &config) && finalize(plan) &&
        cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &bytes) ==
            CUDNN_STATUS_SUCCESS &&
        bytes >= 0 && (uint64_t)bytes <= most) {
        *workspace = (size_t)bytes;
        return plan;
    }
    destroy(plan);
    return NULL;
}
