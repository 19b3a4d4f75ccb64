// What follows a convolution, in one pass over memory each way.
//
// Each kernel is compiled for the activations of the default network, whose loads and arithmetic then overlap, and once
// for all others, which branch on a number that all threads share.
#include "../../../gpu/common.cuh"

// Rows that a thread computes.
#define ROWS 16

// The activation is not known before the launch.
#define ANY 0xffffffffu

// y = f(z) + skip_weight skip, and the moments of the chunk, if `partial` is given; y may be z. The results wait in
// `staged` for their mean, each thread's own: sixteen activations in flight would take too many registers.
template <u32 F>
__device__ __forceinline__ void forward(const Columns &p, u32 f, float skip_weight, const float *z, const float *skip, float *y,
                                        float *partial, float *staged, float *shared) {
    const Place at = place(p);
#pragma unroll 4
    for (u32 i = 0; i < ROWS; ++i) {
        const u32 row = at.row + i * at.step;
        if (row < at.end) {
            const u32 index = row * p.channels + at.channel;
            float value = activate(F == ANY ? f : F, z[index]);
            if (skip) {
                value = fmaf(skip_weight, skip[index], value);
            }
            y[index] = value;
            staged[i * BLOCK + threadIdx.x] = value;
        }
    }
    if (partial) {
        chunk_moments<ROWS>(p, at, [&](u32 i) { return staged[i * BLOCK + threadIdx.x]; }, partial, shared);
    }
}

#define FORWARD(NAME, F)                                                                                                           \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                                                            \
        NAME(Columns p, u32 f, float skip_weight, const float *z, const float *__restrict__ skip, float *y,                        \
             float *__restrict__ partial) {                                                                                        \
        __shared__ float staged[ROWS * BLOCK];                                                                                     \
        __shared__ float shared[BLOCK];                                                                                            \
        forward<F>(p, f, skip_weight, z, skip, y, partial, staged, shared);                                                        \
    }

FORWARD(epilogue_forward_any, ANY)
FORWARD(epilogue_forward_identity, IDENTITY)
FORWARD(epilogue_forward_gelu, GELU)
FORWARD(epilogue_forward_sigmoid, SIGMOID)

// `Norm` in epilogue/cuda/mod.rs: the gradient g of what a batch normalization made of x, if there is one.
struct Norm {
    const float *g, *x, *mean, *coefficients;
};
static_assert(sizeof(Norm) == 32, "as in Rust");

// total = a g + b (x - mean) + c + dy_weight dy, dz = total f', and the sum of the chunk's dz, if `partial` is given;
// dz may be g or dy
template <u32 F>
__device__ __forceinline__ void backward(const Columns &p, u32 f, float dy_weight, const float *__restrict__ saved, const Norm &norm,
                                         const float *dy, float *total, float *dz, float *partial, float *shared) {
    const Place at = place(p);
    float a = 0.0f, b = 0.0f, c = 0.0f, mean = 0.0f, sum = 0.0f;
    if (norm.g && at.channel < p.channels) {
        mean = norm.mean[at.channel];
        a = norm.coefficients[at.channel];
        b = norm.coefficients[p.channels + at.channel];
        c = norm.coefficients[2 * p.channels + at.channel];
    }
#pragma unroll 4
    for (u32 i = 0; i < ROWS; ++i) {
        const u32 row = at.row + i * at.step;
        if (row < at.end) {
            const u32 index = row * p.channels + at.channel;
            float gradient = norm.g ? fmaf(a, norm.g[index], fmaf(b, norm.x[index] - mean, c)) : 0.0f;
            if (dy) {
                gradient = fmaf(dy_weight, dy[index], gradient);
            }
            if (total) {
                total[index] = gradient;
            }
            if (F != IDENTITY) {
                gradient *= slope(F == ANY ? f : F, saved[index]);
            }
            dz[index] = gradient;
            sum += gradient;
        }
    }
    if (partial) {
        sum = column_sum(sum, p.lanes, shared);
        if (threadIdx.x < p.lanes && at.channel < p.channels) {
            partial[at.channel * p.chunks + blockIdx.x] = sum;
        }
    }
}

#define BACKWARD(NAME, F)                                                                                                          \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                                                            \
        NAME(Columns p, u32 f, float dy_weight, const float *__restrict__ saved, Norm norm, const float *dy,                       \
             float *__restrict__ total, float *dz, float *__restrict__ partial) {                                                  \
        __shared__ float shared[BLOCK];                                                                                            \
        backward<F>(p, f, dy_weight, saved, norm, dy, total, dz, partial, shared);                                                 \
    }

BACKWARD(epilogue_backward_any, ANY)
BACKWARD(epilogue_backward_identity, IDENTITY)
BACKWARD(epilogue_backward_gelu, GELU)
BACKWARD(epilogue_backward_sigmoid, SIGMOID)
