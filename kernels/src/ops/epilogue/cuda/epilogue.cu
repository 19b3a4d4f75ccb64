// What follows a convolution, in one pass over memory each way.
//
// Each kernel is compiled for the activations of the default network, whose loads and arithmetic then overlap, and once
// for all others, which branch on a number that all threads share.
#include "../../../gpu/common.cuh"

// Rows that a thread computes.
#define ROWS 16

// Rows whose loads are under way together.
#define TOGETHER 4

// The activation is not known before the launch.
#define ANY 0xffffffffu

// y = f(z) + skip_weight skip, and the moments of the chunk, if `partial` is given; y may be z. The results wait in
// `staged` for their mean, each thread's own: sixteen activations in flight would take too many registers.
template <u32 F>
__device__ __forceinline__ void forward(const Columns &p, u32 f, float skip_weight, const float *z, const float *skip, float *y,
                                        float *partial, float *staged, float *shared) {
    const Place at = place(p);
#pragma unroll 1
    for (u32 first = 0; first < ROWS; first += TOGETHER) {
        // Loads before stores: y may be z, so that the compiler cannot move a load over a store.
        float values[TOGETHER], skipped[TOGETHER];
#pragma unroll
        for (u32 i = 0; i < TOGETHER; ++i) {
            const u32 row = at.row + (first + i) * at.step, index = row * p.channels + at.channel;
            values[i] = row < at.end ? z[index] : 0.0f;
            skipped[i] = skip && row < at.end ? skip[index] : 0.0f;
        }
#pragma unroll
        for (u32 i = 0; i < TOGETHER; ++i) {
            const u32 row = at.row + (first + i) * at.step;
            if (row < at.end) {
                float value = activate(F == ANY ? f : F, values[i]);
                if (skip) {
                    value = fmaf(skip_weight, skipped[i], value);
                }
                y[row * p.channels + at.channel] = value;
                staged[(first + i) * BLOCK + threadIdx.x] = value;
            }
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
#pragma unroll 1
    for (u32 first = 0; first < ROWS; first += TOGETHER) {
        // Loads before stores, as in the forward pass.
        float g[TOGETHER], x[TOGETHER], d[TOGETHER], s[TOGETHER];
#pragma unroll
        for (u32 i = 0; i < TOGETHER; ++i) {
            const u32 row = at.row + (first + i) * at.step, index = row * p.channels + at.channel;
            const bool inside = row < at.end;
            g[i] = norm.g && inside ? norm.g[index] : 0.0f;
            x[i] = norm.g && inside ? norm.x[index] : 0.0f;
            d[i] = dy && inside ? dy[index] : 0.0f;
            s[i] = F != IDENTITY && inside ? saved[index] : 0.0f;
        }
#pragma unroll
        for (u32 i = 0; i < TOGETHER; ++i) {
            const u32 row = at.row + (first + i) * at.step;
            if (row < at.end) {
                const u32 index = row * p.channels + at.channel;
                float gradient = norm.g ? fmaf(a, g[i], fmaf(b, x[i] - mean, c)) : 0.0f;
                if (dy) {
                    gradient = fmaf(dy_weight, d[i], gradient);
                }
                if (total) {
                    total[index] = gradient;
                }
                if (F != IDENTITY) {
                    gradient *= slope(F == ANY ? f : F, s[i]);
                }
                dz[index] = gradient;
                sum += gradient;
            }
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
