// Mean losses in two stages: blocks sum their elements, then one block sums the sums.
#include "../../../gpu/common.cuh"

// Elements that a thread of the first stage sums.
#define LOSS_PER_THREAD 16

// Numbers of `Loss`, in the order of its declaration.
enum Loss : u32 { L1, MSE, CHARBONNIER, BCE_WITH_LOGITS };

// The square of `CHARBONNIER_EPSILON`
#define SQUARED_EPSILON 1e-6f

__device__ __forceinline__ float term(u32 loss, float prediction, float target) {
    if (loss == BCE_WITH_LOGITS) {
        // max keeps no NaN, but the product does
        return fmaf(-prediction, target, fmaxf(prediction, 0.0f)) + log1pf(expf(-fabsf(prediction)));
    }
    const float error = prediction - target;
    switch (loss) {
    case L1: return fabsf(error);
    case MSE: return error * error;
    default: return sqrtf(fmaf(error, error, SQUARED_EPSILON)); // CHARBONNIER
    }
}

__device__ __forceinline__ float slope(u32 loss, float prediction, float target) {
    if (loss == BCE_WITH_LOGITS) {
        const float u = expf(-fabsf(prediction));
        return (prediction < 0.0f ? u : 1.0f) / (1.0f + u) - target;
    }
    const float error = prediction - target;
    switch (loss) {
    case L1: return error > 0.0f ? 1.0f : error < 0.0f ? -1.0f : error; // 0 and NaN are their own sign
    case MSE: return 2.0f * error;
    default: return error / sqrtf(fmaf(error, error, SQUARED_EPSILON)); // CHARBONNIER
    }
}

// partial[block] = sum of the block's terms
extern "C" __global__ void __launch_bounds__(BLOCK)
    loss_sums(u32 loss, u32 len, const float *__restrict__ prediction, const float *__restrict__ target, float *__restrict__ partial) {
    __shared__ Wide shared[BLOCK / 32];
    const u32 first = blockIdx.x * BLOCK * LOSS_PER_THREAD + threadIdx.x;
    float sum = 0.0f;
#pragma unroll 4 // all 16 square roots at once would spill registers
    for (u32 k = 0; k < LOSS_PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            sum += term(loss, prediction[i], target[i]);
        }
    }
    const Wide total = block_sum({sum, 0.0f}, shared);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = total.hi;
    }
}

// out = sum of partial / len; one block
extern "C" __global__ void __launch_bounds__(BLOCK)
    loss_mean(u32 partials, u32 len, const float *__restrict__ partial, float *__restrict__ out) {
    __shared__ Wide shared[BLOCK / 32];
    Wide sum = {0.0f, 0.0f};
    for (u32 i = threadIdx.x; i < partials; i += BLOCK) {
        sum = add(sum, {partial[i], 0.0f});
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) {
        *out = (sum.hi + sum.lo) / static_cast<float>(len);
    }
}

// dprediction (+)= dloss l'(prediction)
extern "C" __global__ void __launch_bounds__(BLOCK)
    loss_backward(u32 loss, u32 len, const float *__restrict__ prediction, const float *__restrict__ target,
                  const float *__restrict__ dloss, float *__restrict__ dprediction, u32 add) {
    const float scale = *dloss / static_cast<float>(len);
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            put(&dprediction[i], scale * slope(loss, prediction[i], target[i]), add);
        }
    }
}
