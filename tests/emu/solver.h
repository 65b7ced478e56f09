/* solver.h - stand-in for cuSOLVER: the handle. */
#ifndef SOLVER_H
#define SOLVER_H

#include <cusolverDn.h>

#include "standin.h"

struct cusolverDnContext {
    cudaStream_t stream;
};

#endif
