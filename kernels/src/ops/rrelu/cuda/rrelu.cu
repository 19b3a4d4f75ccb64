// RReLU. The input may be the output, and the gradient of the output that of the input: neither is __restrict__.
#include "../../../gpu/common.cuh"

// Elements of a block of which two each share a call of the generator (`HALF` in rrelu/slopes.rs).
#define HALF 64

// Pairs of elements that a thread computes.
#define PAIRS_PER_THREAD (PER_THREAD / 2)

struct Words {
    u32 a, b;
};

__device__ __forceinline__ void mix(Words &x, u32 rotation) {
    x.a += x.b;
    x.b = (x.b << rotation | x.b >> (32 - rotation)) ^ x.a;
}

// Threefry-2x32 with 20 rounds: see random.rs.
__device__ __forceinline__ Words threefry(u32 k0, u32 k1, u32 counter) {
    const u32 k2 = k0 ^ k1 ^ 0x1bd11bda;
    Words x = {counter + k0, k1};
    mix(x, 13), mix(x, 15), mix(x, 26), mix(x, 6);
    x.a += k1, x.b += k2 + 1;
    mix(x, 17), mix(x, 29), mix(x, 16), mix(x, 24);
    x.a += k2, x.b += k0 + 2;
    mix(x, 13), mix(x, 15), mix(x, 26), mix(x, 6);
    x.a += k0, x.b += k1 + 3;
    mix(x, 17), mix(x, 29), mix(x, 16), mix(x, 24);
    x.a += k1, x.b += k2 + 4;
    mix(x, 13), mix(x, 15), mix(x, 26), mix(x, 6);
    x.a += k2, x.b += k0 + 5;
    return x;
}

// (2^21 + floor(3495254 word / 2^32)) / 2^24, exactly
__device__ __forceinline__ float slope_of(u32 word) {
    const u32 numerator = (1u << 21) + static_cast<u32>(static_cast<unsigned long long>(word) * 3495254u >> 32);
    return static_cast<float>(numerator) * (1.0f / 16777216.0f);
}

// out (+)= v where x > 0, else its slope times v: the forward pass with x as v, the backward pass with dy. Nothing is
// drawn unless `draws`: the slope is the mean then. `begin` is the number of the first element; threads begin with the
// block that it is in.
extern "C" __global__ void __launch_bounds__(BLOCK)
    rrelu(u32 len, u32 draws, u32 k0, u32 k1, u32 begin, const float *x, const float *v, float *out, u32 add) {
    const u32 first = begin / (2 * HALF) * HALF + blockIdx.x * BLOCK * PAIRS_PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PAIRS_PER_THREAD; ++k) {
        const u32 pair = first + k * BLOCK;
        // what is before the first element wraps around, and is above `len`
        const u32 low = pair / HALF * (2 * HALF) + pair % HALF - begin, high = low + HALF;
        float slopes[2] = {11.0f / 48.0f, 11.0f / 48.0f};
        if (draws) {
            const Words words = threefry(k0, k1, pair);
            slopes[0] = slope_of(words.a);
            slopes[1] = slope_of(words.b);
        }
        if (low < len) {
            put(&out[low], x[low] > 0.0f ? v[low] : slopes[0] * v[low], add);
        }
        if (high < len) {
            put(&out[high], x[high] > 0.0f ? v[high] : slopes[1] * v[high], add);
        }
    }
}
