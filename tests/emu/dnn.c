/* dnn.c - stand-in for cuDNN: the handle. Its graph API is in dnn_descriptor.c and the files that dnn_standin.h names.
 */
#include <stdlib.h>

#include "dnn_standin.h"

struct cudnnContext {
    cudaStream_t stream;
};

size_t cudnnGetVersion(void)
{
    const char *text = getenv("SPADE_STANDIN_CUDNN"); /* another version than this */
    return text ? strtoull(text, NULL, 10) : 91300;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
    switch (status) {
    case CUDNN_STATUS_SUCCESS: return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_BAD_PARAM: return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED: return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_EXECUTION_FAILED: return "CUDNN_STATUS_EXECUTION_FAILED";
    default: return "CUDNN_STATUS_INTERNAL_ERROR";
    }
}

static int handles; /* that live */

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    *handle = calloc(1, sizeof **handle);
    if (!*handle) { return CUDNN_STATUS_INTERNAL_ERROR; }
    handles++;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    standin_require(--handles > 0 || !dnn_living(), "cudnnDestroy",
                    "every descriptor destroyed before the last handle");
    free(handle);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    standin_stream(stream, "cudnnSetStream");
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

/* Every tensor of the pack that the graph needs, in device memory of its size, aligned as it was described. */
static void check_pack(const descriptor *graph, const descriptor *pack)
{
    static const char call[] = "cudnnBackendExecute";
    int64_t needed = 0;
    for (int64_t name = 0; name < 64; name++) { needed += dnn_find_tensor(graph, name) != NULL; }
    standin_require(pack->of.pack.name_count == needed, call, "a pointer for each tensor of the graph and no others");
    for (int64_t i = 0; i < pack->of.pack.name_count; i++) {
        const dnn_tensor *tensor = dnn_find_tensor(graph, pack->of.pack.names[i]);
        const void *pointer = pack->of.pack.pointers[i];
        standin_require(tensor, call, "names of the graph's tensors");
        standin_device(pointer, (size_t)dnn_tensor_bytes(tensor), call, "a tensor");
        standin_require((uintptr_t)pointer % (uintptr_t)tensor->alignment == 0, call, "pointers aligned as described");
    }
}

/* One run of a plan: what is held keeps the graph; the pointers are those of the call. */
typedef struct execution {
    descriptor *plan;
    descriptor pack; /* a copy */
} execution;

static void run_plan(const void *data)
{
    const execution *e = data;
    const descriptor *engine = e->plan->of.plan.config->of.config.engine, *graph = engine->of.engine.graph;
    int64_t number = engine->of.engine.number;
    standin_require(!e->plan->destroyed, "cudnnBackendExecute", "a plan that lives as long as the graphs it is in");
    check_pack(graph, &e->pack);
    standin_device(e->pack.of.pack.workspace, (size_t)dnn_engine_workspace(number, graph), "cudnnBackendExecute",
                   "the workspace");
    dnn_compute(graph, &e->pack, dnn_engine_rounds(number));
    standin_work(dnn_engine_milliseconds(number));
}

static void release_execution(void *data)
{
    dnn_hold(&((execution *)data)->plan, NULL);
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan_handle,
                                  cudnnBackendDescriptor_t pack_handle)
{
    static const char call[] = "cudnnBackendExecute";
    descriptor *plan = dnn_check(plan_handle, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, call);
    descriptor *pack = dnn_check(pack_handle, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, call);
    standin_require(plan->finalized && pack->finalized, call, "a finalized plan and pack");
    standin_require(handle && plan->of.plan.handle == handle, call, "the handle that the plan was made for");
    standin_stream(handle->stream, call);
    const descriptor *engine = plan->of.plan.config->of.config.engine, *graph = engine->of.engine.graph;
    check_pack(graph, pack);
    standin_device(pack->of.pack.workspace, (size_t)dnn_engine_workspace(engine->of.engine.number, graph), call,
                   "the workspace");
    standin_require((uintptr_t)pack->of.pack.workspace % 16 == 0, call, "an aligned workspace");
    if (standin_fails("cudnnBackendExecute") || standin_state() != cudaSuccess) {
        return CUDNN_STATUS_EXECUTION_FAILED;
    }
    execution e = {.pack = *pack};
    dnn_hold(&e.plan, plan);
    int error = standin_submit(handle->stream, run_plan, release_execution, &e, sizeof e);
    return error ? CUDNN_STATUS_EXECUTION_FAILED : CUDNN_STATUS_SUCCESS;
}
