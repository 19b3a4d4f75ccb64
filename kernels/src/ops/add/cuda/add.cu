// Weighted addition and scaled copies. Operands may be the same array, so none is __restrict__.
#include "../../../gpu/common.cuh"

// y = a + weight b
extern "C" __global__ void __launch_bounds__(BLOCK) add_weighted(u32 len, float weight, const float *a, const float *b, float *y) {
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            y[i] = fmaf(weight, b[i], a[i]);
        }
    }
}

// y (+)= weight x
extern "C" __global__ void __launch_bounds__(BLOCK) add_scaled(u32 len, float weight, const float *x, float *y, u32 add) {
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            y[i] = add ? fmaf(weight, x[i], y[i]) : weight * x[i];
        }
    }
}
