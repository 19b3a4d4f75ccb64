// Products. Operands may be the same array, so none is __restrict__.
#include "../../../gpu/common.cuh"

// y (+)= a b
extern "C" __global__ void __launch_bounds__(BLOCK) mul(u32 len, const float *a, const float *b, float *y, u32 add) {
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            put(&y[i], a[i] * b[i], add);
        }
    }
}
