/* solver.c - stand-in for cuSOLVER. */
#include <stdlib.h>

#include "solver.h"

cusolverStatus_t cusolverGetVersion(int *version)
{
    *version = 12000;
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t *handle)
{
    *handle = calloc(1, sizeof **handle);
    return *handle ? CUSOLVER_STATUS_SUCCESS : CUSOLVER_STATUS_ALLOC_FAILED;
}

cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle)
{
    free(handle);
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream)
{
    standin_stream(stream, "cusolverDnSetStream");
    handle->stream = stream;
    return CUSOLVER_STATUS_SUCCESS;
}
