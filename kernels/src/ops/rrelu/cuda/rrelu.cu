// RReLU. The input may be the output, and the gradient of the output that of the input: neither is __restrict__.
#include "../../../gpu/common.cuh"
#include "../../../gpu/random.cuh"

// (2^21 + floor(3495254 word / 2^32)) / 2^24, exactly
__device__ __forceinline__ float slope_of(u32 word) {
    const u32 numerator = (1u << 21) + static_cast<u32>(static_cast<unsigned long long>(word) * 3495254u >> 32);
    return static_cast<float>(numerator) * (1.0f / 16777216.0f);
}

// out (+)= v where x > 0, else its slope times v: the forward pass with x as v, the backward pass with dy. Nothing is
// drawn unless `draws`: the slope is the mean then.
extern "C" __global__ void __launch_bounds__(BLOCK)
    rrelu(u32 len, u32 draws, Words words, const float *x, const float *v, float *out, u32 add) {
#pragma unroll
    for (u32 k = 0; k < PAIRS_PER_THREAD; ++k) {
        const Pair pair = pair_of(words, k);
        const float low = draws ? slope_of(pair.low_word) : 11.0f / 48.0f;
        const float high = draws ? slope_of(pair.high_word) : 11.0f / 48.0f;
        if (pair.low < len) {
            put(&out[pair.low], x[pair.low] > 0.0f ? v[pair.low] : low * v[pair.low], add);
        }
        if (pair.high < len) {
            put(&out[pair.high], x[pair.high] > 0.0f ? v[pair.high] : high * v[pair.high], add);
        }
    }
}
