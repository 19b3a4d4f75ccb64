// PReLU. The input may be the output, and the gradient of the output that of the input: neither is __restrict__.
#include "../../../gpu/common.cuh"

// y = x where x > 0, else slope x
extern "C" __global__ void __launch_bounds__(BLOCK) prelu_forward(u32 len, const float *x, const float *slope, float *y) {
    const float a = *slope;
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            const float value = x[i];
            y[i] = value > 0.0f ? value : a * value;
        }
    }
}

// dx (+)= dy where x > 0, else slope dy, unless dx is null; partial[block] = the block's sum of dy x where x is not
// above 0
extern "C" __global__ void __launch_bounds__(BLOCK)
    prelu_backward(u32 len, const float *x, const float *slope, const float *dy, float *dx, u32 add, float *partial) {
    __shared__ float shared[BLOCK];
    const float a = *slope;
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
    float sum = 0.0f;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            const float value = x[i], gradient = dy[i];
            const bool above = value > 0.0f;
            sum += above ? 0.0f : gradient * value;
            if (dx) {
                put(&dx[i], above ? gradient : a * gradient, add);
            }
        }
    }
    sum = column_sum(sum, 1, shared);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
    }
}

// dslope (+)= the sum of partial; one block
extern "C" __global__ void __launch_bounds__(BLOCK) prelu_grad_slope(u32 partials, const float *__restrict__ partial, float *__restrict__ dslope, u32 add_to) {
    __shared__ float shared[BLOCK];
    Wide sum = {0.0f, 0.0f};
    for (u32 i = threadIdx.x; i < partials; i += BLOCK) {
        sum = add(sum, {partial[i], 0.0f});
    }
    const float total = column_sum(sum.hi, 1, shared);
    if (threadIdx.x == 0) {
        put(dslope, total, add_to);
    }
}
