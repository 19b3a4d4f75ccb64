// Whether there is a value that is NaN or infinite, and what depends on that.
#include "../../../gpu/common.cuh"

// Sets *flag to 1 if there is one; nothing is written if not. All threads that find one write the same, so their order
// is of no matter.
extern "C" __global__ void __launch_bounds__(BLOCK) find_non_finite(u32 len, const float *__restrict__ x, float *flag) {
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
    bool is_found = false;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            is_found |= x[i] * 0.0f != 0.0f; // NaN, unless x[i] is finite
        }
    }
    if (is_found) {
        atomicExch(flag, 1.0f);
    }
}

// to = from if *flag is not 0
extern "C" __global__ void __launch_bounds__(BLOCK)
    copy_if_raised(u32 len, const float *__restrict__ flag, const float *__restrict__ from, float *__restrict__ to) {
    if (*flag == 0.0f) {
        return;
    }
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            to[i] = from[i];
        }
    }
}
