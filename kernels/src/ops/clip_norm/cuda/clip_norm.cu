// The norm of a flat array, in two stages: blocks sum their squares, then one block sums the sums; and its reduction.
#include "../../../gpu/common.cuh"

// Elements that a thread of the first stage sums.
#define NORM_PER_THREAD 16

// Squares of f32 values span more than f32 holds. So large, middling and small values have sums of their own, the first
// and last of scaled values (Blue, "A Portable Fortran Program to Find the Euclidean Norm of a Vector", 1978). With
// these limits, no sum of 2^31 squares overflows, and no square but that of 0 underflows.
#define KINDS 3
#define LARGE 0x1p48f
#define LARGE_SCALE 0x1p-80f
#define SMALL 0x1p-48f
#define SMALL_SCALE 0x1p90f

// partial[kind][block] = sum of the block's squares of a kind: small, middling, large
extern "C" __global__ void __launch_bounds__(BLOCK) norm_sums(u32 len, const float *__restrict__ x, float *__restrict__ partial) {
    __shared__ Wide shared[BLOCK / 32];
    const u32 first = blockIdx.x * BLOCK * NORM_PER_THREAD + threadIdx.x;
    float small = 0.0f, middling = 0.0f, large = 0.0f;
#pragma unroll
    for (u32 k = 0; k < NORM_PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        const float value = i < len ? x[i] : 0.0f;
        const float size = fabsf(value);
        if (size > LARGE) {
            large = fmaf(value * LARGE_SCALE, value * LARGE_SCALE, large);
        } else if (size < SMALL) {
            small = fmaf(value * SMALL_SCALE, value * SMALL_SCALE, small);
        } else {
            middling = fmaf(value, value, middling); // NaN is here, too
        }
    }
    const Wide sums[KINDS] = {block_sum({small, 0.0f}, shared), block_sum({middling, 0.0f}, shared), block_sum({large, 0.0f}, shared)};
    if (threadIdx.x == 0) {
#pragma unroll
        for (u32 i = 0; i < KINDS; ++i) {
            partial[i * gridDim.x + blockIdx.x] = sums[i].hi;
        }
    }
}

// *norm = sqrt of all sums; one block
extern "C" __global__ void __launch_bounds__(BLOCK) norm_total(u32 partials, const float *__restrict__ partial, float *__restrict__ norm) {
    __shared__ Wide shared[BLOCK / 32];
    float sums[KINDS];
#pragma unroll
    for (u32 kind = 0; kind < KINDS; ++kind) {
        Wide sum = {0.0f, 0.0f};
        for (u32 i = threadIdx.x; i < partials; i += BLOCK) {
            sum = add(sum, {partial[kind * partials + i], 0.0f});
        }
        sums[kind] = block_sum(sum, shared).hi;
    }
    if (threadIdx.x == 0) {
        const float small = sums[0], middling = sums[1], large = sums[2];
        if (large != 0.0f) {
            // Beside a large value, a small one is nothing.
            *norm = sqrtf(large + middling * LARGE_SCALE * LARGE_SCALE) / LARGE_SCALE;
        } else if (middling != 0.0f) {
            *norm = sqrtf(middling + small / SMALL_SCALE / SMALL_SCALE);
        } else {
            *norm = sqrtf(small) / SMALL_SCALE;
        }
    }
}

// x *= min(1, max_norm / (norm + 1e-6))
extern "C" __global__ void __launch_bounds__(BLOCK)
    norm_clip(u32 len, float max_norm, const float *__restrict__ norm, float *__restrict__ x) {
    const float ratio = max_norm / (*norm + 1e-6f);
    const float factor = ratio < 1.0f ? ratio : 1.0f; // 1 if the norm is NaN
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            x[i] *= factor;
        }
    }
}
