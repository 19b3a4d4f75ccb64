// Sums in two stages: blocks sum their elements, then one block sums the sums. Two floats hold a sum, whose terms may
// cancel.
#include "../../../gpu/common.cuh"

// Elements that a thread of the first stage sums.
#define SUM_PER_THREAD 16

// partial[block] = sum of the block's elements
extern "C" __global__ void __launch_bounds__(BLOCK)
    sum_blocks(u32 len, const float *__restrict__ x, Wide *__restrict__ partial) {
    __shared__ Wide shared[BLOCK / 32];
    const u32 first = blockIdx.x * BLOCK * SUM_PER_THREAD + threadIdx.x;
    Wide sum = {0.0f, 0.0f};
#pragma unroll
    for (u32 k = 0; k < SUM_PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            sum = add(sum, {x[i], 0.0f});
        }
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
    }
}

// out = factor times the sum of partial; one block
extern "C" __global__ void __launch_bounds__(BLOCK)
    sum_total(u32 partials, float factor, const Wide *__restrict__ partial, float *__restrict__ out) {
    __shared__ Wide shared[BLOCK / 32];
    Wide sum = {0.0f, 0.0f};
    for (u32 i = threadIdx.x; i < partials; i += BLOCK) {
        sum = add(sum, partial[i]);
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) {
        *out = factor * (sum.hi + sum.lo);
    }
}

// dx (+)= factor dy
extern "C" __global__ void __launch_bounds__(BLOCK)
    sum_backward(u32 len, float factor, const float *__restrict__ dy, float *__restrict__ dx, u32 add) {
    const float value = factor * *dy;
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            put(&dx[i], value, add);
        }
    }
}
