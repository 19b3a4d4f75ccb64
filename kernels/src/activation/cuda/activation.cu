// Element-wise activations. The input may be the output, and the gradient of the output that of the input: none is __restrict__.
//
// The function is a number that all threads share, so the branch on it costs no divergence. GELU and sigmoid, the ones of the
// default network, have kernels of their own, which keep more loads in flight.
#include "../../cuda_rt/common.cuh"

// Numbers of `Activation`, in the order of its declaration.
enum Function : u32 {
    GELU,
    SIGMOID,
    TANH,
    RELU,
    LEAKY_RELU,
    SILU,
    MISH,
    RELU6,
    HARDSWISH,
    HARDSIGMOID,
    HARDTANH,
    SOFTPLUS,
    LOG_SIGMOID,
    CELU,
    SELU,
    SOFTSIGN,
    SOFTSHRINK,
    HARDSHRINK,
    TANHSHRINK,
};

#define SELU_SCALE 1.0507009873554805f
#define SELU_ALPHA 1.6732632423543773f
#define SQRT_HALF 0.70710678118654752f
#define INV_SQRT_2PI 0.39894228040143268f

// x between low and high, and NaN where x is
__device__ __forceinline__ float clamp(float x, float low, float high) {
    return x < low ? low : x > high ? high : x;
}

__device__ __forceinline__ float sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}

// ln(1 + exp x) without overflow
__device__ __forceinline__ float softplus(float x) {
    return clamp(x, 0.0f, x) + log1pf(expf(-fabsf(x)));
}

// Distribution of the standard normal distribution
__device__ __forceinline__ float normal(float x) {
    return 0.5f * erfcf(-SQRT_HALF * x);
}

__device__ __forceinline__ float value(u32 f, float x) {
    switch (f) {
    case GELU: return x * normal(x);
    case SIGMOID: return sigmoid(x);
    case TANH: return tanhf(x);
    case RELU: return x < 0.0f ? 0.0f : x;
    case LEAKY_RELU: return x > 0.0f ? x : 0.01f * x;
    case SILU: return x * sigmoid(x);
    case MISH: return x * tanhf(softplus(x));
    case RELU6: return clamp(x, 0.0f, 6.0f);
    case HARDSWISH: return x * clamp(x + 3.0f, 0.0f, 6.0f) / 6.0f;
    case HARDSIGMOID: return clamp(x + 3.0f, 0.0f, 6.0f) / 6.0f;
    case HARDTANH: return clamp(x, -1.0f, 1.0f);
    case SOFTPLUS: return softplus(x);
    case LOG_SIGMOID: return -softplus(-x);
    case CELU: return x > 0.0f ? x : expm1f(x);
    case SELU: return x > 0.0f ? SELU_SCALE * x : SELU_SCALE * SELU_ALPHA * expm1f(x);
    case SOFTSIGN: return x / (1.0f + fabsf(x));
    case SOFTSHRINK: return x - clamp(x, -0.5f, 0.5f);
    case HARDSHRINK: return fabsf(x) <= 0.5f ? 0.0f : x;
    default: return x - tanhf(x); // TANHSHRINK
    }
}

// f' from x, or from y = f(x), as `Activation::saved` says
__device__ __forceinline__ float derivative(u32 f, float saved) {
    switch (f) {
    case GELU: return normal(saved) + saved * INV_SQRT_2PI * expf(-0.5f * saved * saved);
    case SIGMOID: return saved * (1.0f - saved);
    case TANH: return 1.0f - saved * saved;
    case RELU: return saved > 0.0f ? 1.0f : 0.0f;
    case LEAKY_RELU: return saved > 0.0f ? 1.0f : 0.01f;
    case SILU: {
        const float s = sigmoid(saved);
        return s * (1.0f + saved * (1.0f - s));
    }
    case MISH: {
        const float t = tanhf(softplus(saved));
        return t + saved * (1.0f - t * t) * sigmoid(saved);
    }
    case RELU6: return saved > 0.0f && saved < 6.0f ? 1.0f : 0.0f;
    case HARDSWISH: return saved <= -3.0f ? 0.0f : saved < 3.0f ? saved / 3.0f + 0.5f : 1.0f;
    case HARDSIGMOID: return fabsf(saved) < 3.0f ? 1.0f / 6.0f : 0.0f;
    case HARDTANH: return fabsf(saved) < 1.0f ? 1.0f : 0.0f;
    case SOFTPLUS: return sigmoid(saved);
    case LOG_SIGMOID: return sigmoid(-saved);
    case CELU: return expf(saved > 0.0f ? 0.0f : saved);
    case SELU: return saved > 0.0f ? SELU_SCALE : SELU_SCALE * SELU_ALPHA * expf(saved);
    case SOFTSIGN: {
        const float r = 1.0f / (1.0f + fabsf(saved));
        return r * r;
    }
    case SOFTSHRINK:
    case HARDSHRINK: return fabsf(saved) > 0.0f ? 1.0f : 0.0f;
    default: { // TANHSHRINK
        const float t = tanhf(saved);
        return t * t;
    }
    }
}

template <u32 F> __device__ __forceinline__ void forward(u32 len, const float *x, float *y) {
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            y[i] = value(F, x[i]);
        }
    }
}

template <u32 F> __device__ __forceinline__ void backward(u32 len, const float *saved, const float *dy, float *dx, u32 add) {
    const u32 first = blockIdx.x * BLOCK * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < len) {
            put(&dx[i], dy[i] * derivative(F, saved[i]), add);
        }
    }
}

// y = f(x), an element a thread
extern "C" __global__ void __launch_bounds__(BLOCK) activation_forward(u32 f, u32 len, const float *x, float *y) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < len) {
        y[i] = value(f, x[i]);
    }
}

// dx (+)= dy f', an element a thread
extern "C" __global__ void __launch_bounds__(BLOCK)
    activation_backward(u32 f, u32 len, const float *saved, const float *dy, float *dx, u32 add) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < len) {
        put(&dx[i], dy[i] * derivative(f, saved[i]), add);
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
