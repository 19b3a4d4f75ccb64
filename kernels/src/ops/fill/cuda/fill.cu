// Sets every element.
#include "../../../gpu/common.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK) fill(u32 len, float value, float *out) {
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            out[i] = value;
        }
    }
}
