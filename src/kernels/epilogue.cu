/*
 * epilogue.cu - what follows a matrix product: its bias, then relu, in place.
 *
 * Division of work: threads stride over the elements.
 */
#include "kernels/index.cuh"

namespace
{

__global__ void bias_relu(int64_t n, int64_t channels, int64_t inner, const float *bias, bool relu, float *y)
{
    SPADE_EACH(i, n)
    {
        int64_t rest, channel;
        spade_divide(spade_divide(i, inner, &rest), channels, &channel);
        float value = bias ? y[i] + bias[channel] : y[i];
        y[i] = relu && value < 0 ? 0 : value; /* NaN stays NaN */
    }
}

} // namespace

int spade_launch_bias_relu(spade_stream stream, int64_t n, int64_t channels, int64_t inner, const float *bias,
                           bool relu, float *y)
{
    return SPADE_LAUNCH_APART(bias_relu, spade_blocks(n), SPADE_THREADS, stream, n, channels, inner, bias, relu, y);
}
