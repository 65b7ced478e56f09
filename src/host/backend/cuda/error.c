/* error.c - what the CUDA libraries report, as a status and one line. */
#include "backend/cuda/cuda.h"

/* Errors after which nothing on this device can go on: its job fails, others are not concerned. */
static bool is_lost(cudaError_t result)
{
    switch (result) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorECCUncorrectable:
    case cudaErrorDevicesUnavailable:
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver: return true;
    default: return false;
    }
}

/* "name(arguments)" -> "name" */
static int name_length(const char *call)
{
    return (int)strcspn(call, "( ");
}

void spade_cuda_ignore_error(cudaError_t result)
{
    if (result != cudaSuccess) { (void)cudaGetLastError(); }
}

spade_status spade_cuda_status(const spade_cuda_device *device, cudaError_t result, const char *call)
{
    if (result == cudaSuccess) { return SPADE_OK; }
    spade_cuda_ignore_error(result); /* it is told here, once */
    spade_status status = result == cudaErrorMemoryAllocation ? SPADE_ERROR_MEMORY
                          : is_lost(result)                   ? SPADE_ERROR_DEVICE
                                                              : SPADE_ERROR_INTERNAL;
    return spade_cuda_latch_error(device, spade_fail(device->base.context, status, "cuda:%d: %.*s: %s", device->index,
                                                     name_length(call), call, cudaGetErrorString(result)));
}

spade_status spade_cuda_launched(const spade_cuda_device *device, int result, const char *kernel)
{
    return spade_cuda_status(device, (cudaError_t)result, kernel);
}

spade_status spade_cuda_blas_status(const spade_cuda_device *device, cublasStatus_t result, const char *call)
{
    if (result == CUBLAS_STATUS_SUCCESS) { return SPADE_OK; }
    spade_status status = result == CUBLAS_STATUS_ALLOC_FAILED       ? SPADE_ERROR_MEMORY
                          : result == CUBLAS_STATUS_EXECUTION_FAILED ? SPADE_ERROR_DEVICE
                                                                     : SPADE_ERROR_INTERNAL;
    return spade_cuda_latch_error(device, spade_fail(device->base.context, status, "cuda:%d: %.*s: cuBLAS status %d",
                                                     device->index, name_length(call), call, (int)result));
}

spade_status spade_cuda_solver_status(const spade_cuda_device *device, cusolverStatus_t result, const char *call)
{
    if (result == CUSOLVER_STATUS_SUCCESS) { return SPADE_OK; }
    spade_status status = result == CUSOLVER_STATUS_ALLOC_FAILED       ? SPADE_ERROR_MEMORY
                          : result == CUSOLVER_STATUS_EXECUTION_FAILED ? SPADE_ERROR_DEVICE
                                                                       : SPADE_ERROR_INTERNAL;
    return spade_cuda_latch_error(device, spade_fail(device->base.context, status, "cuda:%d: %.*s: cuSOLVER status %d",
                                                     device->index, name_length(call), call, (int)result));
}

spade_status spade_cuda_dnn_status(const spade_cuda_device *device, cudnnStatus_t result, const char *call)
{
    if (result == CUDNN_STATUS_SUCCESS) { return SPADE_OK; }
    return spade_cuda_latch_error(device,
                                  spade_fail(device->base.context, SPADE_ERROR_INTERNAL, "cuda:%d: %.*s: cuDNN: %s",
                                             device->index, name_length(call), call, cudnnGetErrorString(result)));
}
