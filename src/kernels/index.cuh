/* index.cuh - from the number of an element to its place: divisions, axes with strides, 16 bytes at once. */
#ifndef SPADE_INDEX_CUH
#define SPADE_INDEX_CUH

#include "kernels/portable.cuh"

/* index / by, and the remainder. In 32 bits where both fit: a 64-bit division takes a GPU some hundred instructions. */
__device__ __forceinline__ int64_t spade_divide(int64_t index, int64_t by, int64_t *remainder)
{
    if ((uint64_t)(index | by) >> 32 == 0) {
        uint32_t quotient = (uint32_t)index / (uint32_t)by;
        *remainder = (int64_t)((uint32_t)index - quotient * (uint32_t)by);
        return quotient;
    }
    int64_t quotient = index / by;
    *remainder = index - quotient * by;
    return quotient;
}

/* Where element `index` of an iterator lies in its operands number `first` and `second`. */
__device__ __forceinline__ void spade_locate(const spade_tensor_iterator_kernel &iterator, int64_t index, int first,
                                             int64_t *at_first, int second, int64_t *at_second)
{
    *at_first = *at_second = 0;
    for (int axis = iterator.rank - 1; axis > 0; axis--) {
        int64_t coordinate;
        index = spade_divide(index, iterator.dims[axis], &coordinate);
        *at_first += coordinate * iterator.strides[first][axis];
        *at_second += coordinate * iterator.strides[second][axis];
    }
    *at_first += index * iterator.strides[first][0];
    *at_second += index * iterator.strides[second][0];
}

/* 1 or 4 neighbouring floats; 4: at a multiple of 16 bytes. */
template <int Width> __device__ __forceinline__ void spade_load(const float *from, float (&to)[Width])
{
    if constexpr (Width == 4) {
        const float4 all = *reinterpret_cast<const float4 *>(from);
        to[0] = all.x, to[1] = all.y, to[2] = all.z, to[3] = all.w;
    } else {
        to[0] = *from;
    }
}
template <int Width> __device__ __forceinline__ void spade_store(float *to, const float (&from)[Width])
{
    if constexpr (Width == 4) {
        float4 all;
        all.x = from[0], all.y = from[1], all.z = from[2], all.w = from[3];
        *reinterpret_cast<float4 *>(to) = all;
    } else {
        *to = from[0];
    }
}

#endif
