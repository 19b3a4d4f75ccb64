// The exponential moving average of flat arrays.
#include "../../../gpu/common.cuh"

// average += share (param - average), unless there is a flag and it is up
extern "C" __global__ void __launch_bounds__(BLOCK)
    ema_step(u32 len, float share, const float *__restrict__ param, float *__restrict__ average, const float *__restrict__ unless) {
    if (unless && *unless != 0.0f) {
        return;
    }
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            const float old = average[i];
            float next = fmaf(share, param[i] - old, old);
            // The distance of large values may overflow where their average does not (0 times an infinity is not 0).
            if (next * 0.0f != 0.0f) {
                next = fmaf(share, param[i], (1.0f - share) * old);
            }
            average[i] = next;
        }
    }
}

// Exchanges a and b.
extern "C" __global__ void __launch_bounds__(BLOCK) ema_swap(u32 len, float *__restrict__ a, float *__restrict__ b) {
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            const float x = a[i];
            a[i] = b[i];
            b[i] = x;
        }
    }
}
