/*
 * convolution.cu - what cuDNN's graph leaves out of a convolution: tensors in another layout or type or with their
 * padding in memory, bias and relu, and weights in the graph's order.
 *
 * Division of work, all kernels: threads stride over the elements that are written; neighbouring threads write
 * neighbouring elements. Indices are 32-bit where all of them fit: they are taken apart by divisions.
 */
#include "kernels/portable.cuh"

namespace
{

/* bfloat16 is the upper half of a float; to the nearest, ties to even. NaN stays NaN. */
__device__ uint16_t to_bfloat16(float x)
{
    union {
        float value;
        uint32_t bits;
    } word;
    word.value = x;
    if ((word.bits & 0x7fffffffu) > 0x7f800000u) { return (uint16_t)(word.bits >> 16 | 0x40u); }
    return (uint16_t)((word.bits + 0x7fffu + (word.bits >> 16 & 1u)) >> 16);
}

__device__ float from_bfloat16(uint16_t x)
{
    union {
        uint32_t bits;
        float value;
    } word;
    word.bits = (uint32_t)x << 16;
    return word.value;
}

__device__ void store(float *to, float x)
{
    *to = x;
}
__device__ void store(uint16_t *to, float x)
{
    *to = to_bfloat16(x);
}
__device__ float load(const float *from)
{
    return *from;
}
__device__ float load(const uint16_t *from)
{
    return from_bfloat16(*from);
}

__device__ float finish(float x, bool relu)
{
    return relu && x < 0 ? 0 : x;
}

/* Position of an element in a tensor of this many channels, rows, columns. */
template <typename Index> struct place {
    Index n, c, h, w;
};

template <typename Index>
__device__ place<Index> place_of(Index i, Index channels, Index height, Index width, bool last)
{
    place<Index> p;
    if (last) {
        p.c = i % channels;
        i /= channels;
        p.w = i % width;
        i /= width;
        p.h = i % height;
        p.n = i / height;
    } else {
        p.w = i % width;
        i /= width;
        p.h = i % height;
        i /= height;
        p.c = i % channels;
        p.n = i / channels;
    }
    return p;
}

template <typename Index>
__device__ Index index_of(const place<Index> &p, Index channels, Index height, Index width, bool last)
{
    return last ? ((p.n * height + p.h) * width + p.w) * channels + p.c
                : ((p.n * channels + p.c) * height + p.h) * width + p.w;
}

template <typename Index, typename Element>
__global__ void copy_padded(spade_padded_kernel k, int64_t n, const float *x, Element *out)
{
    SPADE_EACH(i, n)
    {
        place<Index> p =
            place_of<Index>((Index)i, (Index)k.channels, (Index)k.full_height, (Index)k.full_width, k.padded_last);
        int64_t h = (int64_t)p.h - k.top, w = (int64_t)p.w - k.left;
        bool inside = h >= 0 && h < k.height && w >= 0 && w < k.width;
        p.h = (Index)h;
        p.w = (Index)w;
        float value = 0;
        if (inside) { value = x[index_of<Index>(p, (Index)k.channels, (Index)k.height, (Index)k.width, k.last)]; }
        store(out + i, value);
    }
}

template <typename Index, typename Element>
__global__ void copy_back(spade_padded_kernel k, int64_t n, const Element *x, const float *bias, bool relu, float *y)
{
    SPADE_EACH(i, n)
    {
        place<Index> p = place_of<Index>((Index)i, (Index)k.channels, (Index)k.height, (Index)k.width, k.last);
        float shift = bias ? bias[p.c] : 0;
        p.h += (Index)k.top;
        p.w += (Index)k.left;
        float value =
            load(x + index_of<Index>(p, (Index)k.channels, (Index)k.full_height, (Index)k.full_width, k.padded_last));
        y[i] = finish(value + shift, relu);
    }
}

template <typename Index, typename Element>
__global__ void pack(spade_packing_kernel k, int64_t n, const float *weights, const float *scale, Element *packed)
{
    SPADE_EACH(i, n)
    {
        Index inputs = (Index)k.inputs, taps = (Index)k.taps, row = (Index)i / (inputs * taps);
        Index from = (Index)i;
        if (k.last) { /* i = (row, tap, input) */
            Index input = (Index)i % inputs, tap = (Index)i / inputs % taps;
            from = (row * inputs + input) * taps + tap;
        }
        store(packed + i, scale ? weights[from] * scale[row] : weights[from]);
    }
}

bool fits_32(int64_t n)
{
    return n <= INT32_MAX;
}

template <typename Element>
int launch_copy_padded(spade_stream stream, const spade_padded_kernel &k, int64_t n, const float *x, Element *out)
{
    if (fits_32(n)) {
        return SPADE_LAUNCH_INDEPENDENT((copy_padded<uint32_t, Element>), spade_blocks(n), SPADE_THREADS, stream, k, n,
                                        x, out);
    }
    return SPADE_LAUNCH_INDEPENDENT((copy_padded<int64_t, Element>), spade_blocks(n), SPADE_THREADS, stream, k, n, x,
                                    out);
}

template <typename Element>
int launch_copy_back(spade_stream stream, const spade_padded_kernel &k, int64_t n, const Element *x, const float *bias,
                     bool relu, float *y)
{
    if (fits_32(k.batch * k.channels * k.full_height * k.full_width)) {
        return SPADE_LAUNCH_INDEPENDENT((copy_back<uint32_t, Element>), spade_blocks(n), SPADE_THREADS, stream, k, n, x,
                                        bias, relu, y);
    }
    return SPADE_LAUNCH_INDEPENDENT((copy_back<int64_t, Element>), spade_blocks(n), SPADE_THREADS, stream, k, n, x,
                                    bias, relu, y);
}

template <typename Element>
int launch_pack(spade_stream stream, const spade_packing_kernel &k, int64_t n, const float *weights, const float *scale,
                Element *packed)
{
    if (fits_32(n)) {
        return SPADE_LAUNCH_INDEPENDENT((pack<uint32_t, Element>), spade_blocks(n), SPADE_THREADS, stream, k, n,
                                        weights, scale, packed);
    }
    return SPADE_LAUNCH_INDEPENDENT((pack<int64_t, Element>), spade_blocks(n), SPADE_THREADS, stream, k, n, weights,
                                    scale, packed);
}

} // namespace

int spade_launch_copy_padded(spade_stream stream, spade_padded_kernel k, const float *x, void *padded)
{
    int64_t n = k.batch * k.channels * k.full_height * k.full_width;
    if (k.half) { return launch_copy_padded(stream, k, n, x, static_cast<uint16_t *>(padded)); }
    return launch_copy_padded(stream, k, n, x, static_cast<float *>(padded));
}

int spade_launch_copy_back(spade_stream stream, spade_padded_kernel k, const void *padded, const float *bias, bool relu,
                           float *y)
{
    int64_t n = k.batch * k.channels * k.height * k.width;
    if (k.half) { return launch_copy_back(stream, k, n, static_cast<const uint16_t *>(padded), bias, relu, y); }
    return launch_copy_back(stream, k, n, static_cast<const float *>(padded), bias, relu, y);
}

int spade_launch_convolution_pack(spade_stream stream, spade_packing_kernel k, const float *weights, const float *scale,
                                  void *packed)
{
    int64_t n = k.rows * k.inputs * k.taps;
    if (k.half) { return launch_pack(stream, k, n, weights, scale, static_cast<uint16_t *>(packed)); }
    return launch_pack(stream, k, n, weights, scale, static_cast<float *>(packed));
}
