/* unfold.cu - patches gathered into a matrix ("im2col"), float32 products added to float64 sums, H read from them. */
#include "kernels/portable.cuh"

namespace
{

enum { COLUMNS = 64, POSITIONS = 4, MAX_BLOCKS = 1 << 16 };

/*
 * Threads (64, 4): a row of 64 threads per position, which stride over its numbers, neighbours in neighbouring
 * channels; rows of threads stride over the positions. WIDTH = 4: 16 bytes a thread, for channels-last inputs whose
 * groups are multiples of 4.
 */
template <typename T, int WIDTH> __global__ void gather(spade_patch_kernel p, int64_t first, int64_t count, T *out)
{
    int runs = p.channels / WIDTH, offsets = p.kernel[0] * p.kernel[1], row = p.groups * offsets * runs;
    int64_t area = (int64_t)p.output[0] * p.output[1];
    for (int64_t i = (int64_t)blockIdx.x * POSITIONS + threadIdx.y; i < count; i += (int64_t)gridDim.x * POSITIONS) {
        int64_t image = (first + i) / area;
        int at = (int)((first + i) % area);
        int top = at / p.output[1] * p.stride[0] - p.pad[0], left = at % p.output[1] * p.stride[1] - p.pad[1];
        for (int j = threadIdx.x; j < row; j += COLUMNS) {
            int offset = j / runs % offsets, channel = j / (runs * offsets) * p.channels + j % runs * WIDTH;
            int y = top + offset / p.kernel[1] * p.dilation[0], x = left + offset % p.kernel[1] * p.dilation[1];
            bool inside = y >= 0 && y < p.size[0] && x >= 0 && x < p.size[1];
            const float *from = p.x + image * p.stride_n + y * p.stride_h + x * p.stride_w + channel * p.stride_c;
            T *to = out + (i * row + j) * WIDTH;
            if constexpr (WIDTH == 4) {
                *reinterpret_cast<float4 *>(to) = inside ? *reinterpret_cast<const float4 *>(from) : float4{0, 0, 0, 0};
            } else {
                *to = inside ? (T)*from : (T)0;
            }
        }
    }
}

/* A block per row of h, threads stride over the columns from the diagonal on. */
__global__ void add_products(int64_t groups, int64_t k, int64_t chunks, const float *products, double alpha, double *h)
{
    for (int64_t row = blockIdx.x; row < groups * k; row += gridDim.x) {
        for (int64_t j = row % k + threadIdx.x; j < k; j += blockDim.x) {
            double sum = 0;
            for (int64_t chunk = 0; chunk < chunks; chunk++) {
                sum += (double)products[(chunk * groups * k + row) * k + j];
            }
            h[row * k + j] += alpha * sum;
        }
    }
}

/* A block per row of out, threads stride over the columns from the diagonal on. */
__global__ void read_unfolded(int64_t k, int channels, int first, int offsets, const double *h, double *out)
{
    int64_t n = (int64_t)channels * offsets;
    for (int64_t r = blockIdx.x; r < n; r += gridDim.x) {
        int64_t i = (first + r % offsets) * channels + r / offsets;
        for (int64_t c = r + threadIdx.x; c < n; c += blockDim.x) {
            int64_t j = (first + c % offsets) * channels + c / offsets;
            out[r * n + c] = i < j ? h[i * k + j] : h[j * k + i];
        }
    }
}

unsigned blocks_of(int64_t items)
{
    return (unsigned)(items < 1 ? 1 : items < MAX_BLOCKS ? items : (int64_t)MAX_BLOCKS);
}

} // namespace

int spade_launch_gather(spade_stream stream, spade_patch_kernel patches, bool fp64, int64_t first, int64_t count,
                        void *out)
{
    unsigned blocks = blocks_of((count + POSITIONS - 1) / POSITIONS);
    dim3 threads(COLUMNS, POSITIONS);
    if (fp64) {
        return SPADE_LAUNCH_INDEPENDENT((gather<double, 1>), blocks, threads, stream, patches, first, count,
                                        (double *)out);
    }
    bool wide = patches.stride_c == 1 && patches.channels % 4 == 0 && (uintptr_t)patches.x % 16 == 0 &&
                (patches.stride_n | patches.stride_h | patches.stride_w) % 4 == 0;
    if (wide) {
        return SPADE_LAUNCH_INDEPENDENT((gather<float, 4>), blocks, threads, stream, patches, first, count,
                                        (float *)out);
    }
    return SPADE_LAUNCH_INDEPENDENT((gather<float, 1>), blocks, threads, stream, patches, first, count, (float *)out);
}

int spade_launch_add_products(spade_stream stream, int64_t groups, int64_t k, int64_t chunks, const float *products,
                              double alpha, double *h)
{
    return SPADE_LAUNCH_INDEPENDENT(add_products, blocks_of(groups * k), SPADE_THREADS, stream, groups, k, chunks,
                                    products, alpha, h);
}

int spade_launch_read_unfolded(spade_stream stream, int64_t k, int channels, int first, int offsets, const double *h,
                               double *out)
{
    return SPADE_LAUNCH_INDEPENDENT(read_unfolded, blocks_of((int64_t)channels * offsets), SPADE_THREADS, stream, k,
                                    channels, first, offsets, h, out);
}
