// What the kernels share. Only plain CUDA C++: the files are compiled by NVRTC for GPUs, and by a host compiler for the
// tests' driver emulator.
//
// Every sum is taken in an order that depends on the shape alone, and nothing is added with atomics: the same call
// gives the same bits.
#pragma once

typedef unsigned int u32;

// All lanes of a warp take part in every shuffle.
#define FULL_WARP 0xffffffffu

// Threads of a block, but for the convolutions.
#define BLOCK 256

// Elements that a thread of an element-wise kernel computes, BLOCK apart, so that a warp always touches consecutive
// ones.
#define PER_THREAD 4

// Sets or adds to an element (`Write` in pass.rs).
__device__ __forceinline__ void put(float *out, float value, u32 add) {
    *out = add ? *out + value : value;
}

__device__ __forceinline__ void put4(float *out, float4 value, u32 add) {
    float4 *to = reinterpret_cast<float4 *>(out);
    if (add) {
        const float4 old = *to;
        value.x += old.x;
        value.y += old.y;
        value.z += old.z;
        value.w += old.w;
    }
    *to = value;
}

// A sum of two floats that stands for more digits than one has: |lo| is at most half a unit in the last place of hi.
struct Wide {
    float hi, lo;
};

// Exact sum of two floats (Knuth, "The Art of Computer Programming", volume 2, 4.2.2, theorem B).
__device__ __forceinline__ Wide two_sum(float a, float b) {
    const float sum = a + b;
    const float part = sum - a;
    return {sum, (a - (sum - part)) + (b - part)};
}

__device__ __forceinline__ Wide add(Wide a, Wide b) {
    const Wide sum = two_sum(a.hi, b.hi);
    const float low = sum.lo + (a.lo + b.lo);
    // An infinite sum has no low part: infinity minus infinity would make it NaN.
    return low == low ? two_sum(sum.hi, low) : Wide{sum.hi, 0.0f};
}

// Sum over the lanes of a warp; every lane gets the same bits, since the order of two summands does not matter.
__device__ __forceinline__ Wide warp_sum(Wide value) {
    for (u32 offset = 16; offset > 0; offset /= 2) {
        const Wide other = {__shfl_xor_sync(FULL_WARP, value.hi, offset), __shfl_xor_sync(FULL_WARP, value.lo, offset)};
        value = add(value, other);
    }
    return value;
}

// Sum over the block, in a fixed order; thread 0 gets it. `shared` has a place for every warp, and may be used again
// after the call.
__device__ __forceinline__ Wide block_sum(Wide value, Wide *shared) {
    value = warp_sum(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        shared[threadIdx.x / 32] = value;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (u32 i = 1; i < BLOCK / 32; ++i) {
            value = add(value, shared[i]);
        }
    }
    return value;
}

// How blocks walk a matrix of rows x channels, channels contiguous: a block has `lanes` channels (a power of two, at
// most a warp) side by side, and BLOCK / lanes rows below each other. Block (i, j) takes the i-th chunk of rows of the
// j-th `lanes` channels. Made by `Columns::new` in gpu/columns.rs.
struct Columns {
    u32 rows, channels, lanes, chunk_rows, chunks;
};

// The place of a thread in it.
struct Place {
    u32 channel, row, step, end;
};

__device__ __forceinline__ Place place(const Columns &p) {
    const u32 begin = blockIdx.x * p.chunk_rows;
    const u32 left = p.rows - begin;
    Place at;
    at.channel = blockIdx.y * p.lanes + threadIdx.x % p.lanes;
    at.row = begin + threadIdx.x / p.lanes;
    at.step = BLOCK / p.lanes;
    at.end = at.channel < p.channels ? begin + (left < p.chunk_rows ? left : p.chunk_rows) : 0;
    return at;
}

// Rows of chunk i.
__device__ __forceinline__ float chunk_count(const Columns &p, u32 i) {
    const u32 left = p.rows - i * p.chunk_rows;
    return static_cast<float>(left < p.chunk_rows ? left : p.chunk_rows);
}

// Sum of `value` over the threads of the block that have the same channel; all of them get it. `shared` has BLOCK
// elements.
__device__ __forceinline__ float column_sum(float value, u32 lanes, float *shared) {
    for (u32 offset = 16; offset >= lanes; offset /= 2) {
        value += __shfl_xor_sync(FULL_WARP, value, offset);
    }
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (lane < lanes) {
        shared[warp * lanes + lane] = value;
    }
    __syncthreads();
    float sum = 0.0f;
    for (u32 i = 0; i < BLOCK / 32; ++i) {
        sum += shared[i * lanes + lane % lanes];
    }
    __syncthreads();
    return sum;
}

// Mean and deviations of the block's chunk of each channel, where `value(i)` is that of row `at.row + i at.step`, for
// later merging: partial[0] and partial[1], each [channels][chunks], are the mean as a sum of two floats, partial[2] is
// m2.
//
// Deviations are from the mean of the chunk: squares of values with mean 1000 and deviation 1 would be of no use. The
// mean is rounded, but the sum of the deviations corrects for that: with d = x - a of n values, for any a,
//
//     mean = a + sum d / n             m2 = sum (x - mean)^2 = sum d^2 - (sum d)^2 / n
template <u32 ROWS, class Value>
__device__ __forceinline__ void chunk_moments(const Columns &p, const Place &at, const Value &value, float *partial, float *shared) {
    const float count = chunk_count(p, blockIdx.x);
    float sum = 0.0f, first = 0.0f, second = 0.0f;
#pragma unroll
    for (u32 i = 0; i < ROWS; ++i) {
        sum += at.row + i * at.step < at.end ? value(i) : 0.0f;
    }
    const float mean = column_sum(sum, p.lanes, shared) / count;
#pragma unroll
    for (u32 i = 0; i < ROWS; ++i) {
        const float d = at.row + i * at.step < at.end ? value(i) - mean : 0.0f;
        first += d;
        second = fmaf(d, d, second);
    }
    first = column_sum(first, p.lanes, shared);
    second = column_sum(second, p.lanes, shared);
    if (threadIdx.x < p.lanes && at.channel < p.channels) {
        float *out = partial + at.channel * p.chunks + blockIdx.x;
        const u32 plane = p.channels * p.chunks;
        out[0] = mean;
        out[plane] = first / count;
        out[2 * plane] = second - first * first / count;
    }
}

// Numbers of `Activation`, in the order of its declaration.
enum Activation : u32 {
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
    IDENTITY, // no activation
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

// Distribution function of the standard normal distribution, off by some 2^-24. erfcf would keep all digits where it is
// near 0, and take twice the instructions.
__device__ __forceinline__ float normal(float x) {
    return fmaf(0.5f, erff(SQRT_HALF * x), 0.5f);
}

__device__ __forceinline__ float activate(u32 f, float x) {
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
    case TANHSHRINK: return x - tanhf(x);
    default: return x; // IDENTITY
    }
}

// f' from x, or from y = f(x), as `Activation::saved` says
__device__ __forceinline__ float slope(u32 f, float saved) {
    switch (f) {
    case GELU: return normal(saved) + saved * INV_SQRT_2PI * expf(-0.5f * saved * saved);
    case SIGMOID: return saved * (1.0f - saved);
    case TANH: return 1.0f - saved * saved;
    case RELU: return saved > 0.0f ? 1.0f : 0.0f;
    case LEAKY_RELU: return saved > 0.0f ? 1.0f : 0.01f;
    case SILU: {
        const float s = sigmoid(saved);
        return s * fmaf(saved, sigmoid(-saved), 1.0f); // 1 - s would cancel
    }
    case MISH: {
        const float t = tanhf(softplus(saved));
        return fmaf(saved * sigmoid(saved), fmaf(-t, t, 1.0f), t);
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
    case TANHSHRINK: {
        const float t = tanhf(saved);
        return t * t;
    }
    default: return 1.0f; // IDENTITY
    }
}
