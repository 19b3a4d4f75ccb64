// Element-wise activations. The input may be the output, and the gradient of the output that of the input: none is
// __restrict__.
//
// The function is a number that all threads share, so the branch on it costs no divergence. GELU and sigmoid, the ones
// of the default network, have kernels of their own, which keep more loads in flight.
#include "../../../gpu/common.cuh"

template <u32 F> __device__ __forceinline__ void forward(u32 len, const float *x, float *y) {
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            y[i] = activate(F, x[i]);
        }
    }
}

template <u32 F> __device__ __forceinline__ void backward(u32 len, const float *saved, const float *dy, float *dx, u32 add) {
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            put(&dx[i], dy[i] * slope(F, saved[i]), add);
        }
    }
}

// y = f(x), an element a thread
extern "C" __global__ void __launch_bounds__(BLOCK) activation_forward(u32 f, u32 len, const float *x, float *y) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < len) {
        y[i] = activate(f, x[i]);
    }
}

// dx (+)= dy f', an element a thread
extern "C" __global__ void __launch_bounds__(BLOCK)
    activation_backward(u32 f, u32 len, const float *saved, const float *dy, float *dx, u32 add) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < len) {
        put(&dx[i], dy[i] * slope(f, saved[i]), add);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK) gelu_forward(u32 len, const float *x, float *y) {
    forward<GELU>(len, x, y);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    gelu_backward(u32 len, const float *saved, const float *dy, float *dx, u32 add) {
    backward<GELU>(len, saved, dy, dx, add);
}

extern "C" __global__ void __launch_bounds__(BLOCK) sigmoid_forward(u32 len, const float *x, float *y) {
    forward<SIGMOID>(len, x, y);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    sigmoid_backward(u32 len, const float *saved, const float *dy, float *dx, u32 add) {
    backward<SIGMOID>(len, saved, dy, dx, add);
}
