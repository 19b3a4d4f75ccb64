// Images of another size, and their gradient.
#include "../../../gpu/common.cuh"

typedef unsigned long long u64;

// `Axis` and `Upsample` in upsample/cuda/mod.rs
struct Axis {
    u32 input, output, bilinear;
};

struct Upsample {
    u32 n, c;
    Axis rows, columns;
};
static_assert(sizeof(Upsample) == 32, "as in Rust");

// Where a pixel of the output comes from, in one direction: 1 - weight of pixel `index`, weight of `next`.
struct Source {
    u32 index, next;
    float weight;
};

// Places are whole numbers of parts of a pixel. Compilers divide 64 bits fast if the upper ones are 0.
__device__ __forceinline__ u64 parts(const Axis &axis) {
    return axis.bilinear ? 2 * static_cast<u64>(axis.output) : axis.output;
}

// The place of output pixel i in the input, in parts of a pixel
__device__ __forceinline__ u64 place(const Axis &axis, u32 i) {
    if (!axis.bilinear) {
        return static_cast<u64>(i) * axis.input;
    }
    const u64 at = (2 * static_cast<u64>(i) + 1) * axis.input;
    return at > axis.output ? at - axis.output : 0;
}

__device__ __forceinline__ float fraction(const Axis &axis, u64 rest) {
    return axis.bilinear ? static_cast<float>(rest) / static_cast<float>(parts(axis)) : 0.0f;
}

__device__ __forceinline__ Source source(const Axis &axis, u32 i) {
    const u64 at = place(axis, i), index = at / parts(axis);
    const u32 pixel = static_cast<u32>(index);
    const u32 next = pixel + 1 < axis.input && axis.bilinear ? pixel + 1 : pixel;
    return {pixel, next, fraction(axis, at - index * parts(axis))};
}

// A thread an element of y.
extern "C" __global__ void __launch_bounds__(BLOCK)
    upsample_forward(Upsample p, const float *__restrict__ x, float *__restrict__ y) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i >= p.n * p.rows.output * p.columns.output * p.c) {
        return;
    }
    const u32 c = i % p.c, pixel = i / p.c, row = pixel / p.columns.output;
    const Source rows = source(p.rows, row % p.rows.output), columns = source(p.columns, pixel % p.columns.output);
    const float *image = x + row / p.rows.output * (p.rows.input * p.columns.input * p.c) + c;
    const float *above = image + rows.index * p.columns.input * p.c;
    if (!p.rows.bilinear) {
        y[i] = above[columns.index * p.c];
        return;
    }
    const float *below = image + rows.next * p.columns.input * p.c;
    const float left = 1.0f - columns.weight;
    const float first = fmaf(columns.weight, above[columns.next * p.c], left * above[columns.index * p.c]);
    const float second = fmaf(columns.weight, below[columns.next * p.c], left * below[columns.index * p.c]);
    y[i] = fmaf(rows.weight, second, (1.0f - rows.weight) * first);
}

// The first output pixel whose source's index is k at least
__device__ __forceinline__ u32 first_from(const Axis &axis, u32 k) {
    u64 at = k * parts(axis), step = axis.input;
    if (axis.bilinear) {
        // place(i) >= at, solved for i
        at = k == 0 ? 0 : at + axis.output;
        at = at > axis.input ? at - axis.input : 0;
        step *= 2;
    }
    const u64 first = (at + step - 1) / step;
    return first < axis.output ? static_cast<u32>(first) : axis.output;
}

// The output pixels that pixel k of the input is in
struct Range {
    u32 begin, end;
};

__device__ __forceinline__ Range covering(const Axis &axis, u32 k) {
    return {first_from(axis, axis.bilinear && k > 0 ? k - 1 : k), first_from(axis, k + 1)};
}

// The weight of pixel k of the input in output pixel i, which is in its range
__device__ __forceinline__ float weight(const Axis &axis, u32 k, u32 i) {
    const u64 at = place(axis, i), own = k * parts(axis);
    if (at < own) {
        return fraction(axis, at + parts(axis) - own);
    }
    return k + 1 < axis.input ? 1.0f - fraction(axis, at - own) : 1.0f;
}

// A thread an element of dx: it adds up the output pixels that it is in, in their order.
extern "C" __global__ void __launch_bounds__(BLOCK)
    upsample_backward(Upsample p, const float *__restrict__ dy, float *__restrict__ dx, u32 add) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i >= p.n * p.rows.input * p.columns.input * p.c) {
        return;
    }
    const u32 c = i % p.c, pixel = i / p.c, n = pixel / (p.rows.input * p.columns.input);
    const u32 row = pixel / p.columns.input % p.rows.input, column = pixel % p.columns.input;
    const Range rows = covering(p.rows, row), columns = covering(p.columns, column);
    float sum = 0.0f;
#pragma unroll 1
    for (u32 h = rows.begin; h < rows.end; ++h) {
        const float *from = dy + (n * p.rows.output + h) * p.columns.output * p.c + c;
        float row_sum = 0.0f;
#pragma unroll 1
        for (u32 w = columns.begin; w < columns.end; ++w) {
            row_sum = fmaf(weight(p.columns, column, w), from[w * p.c], row_sum);
        }
        sum = fmaf(weight(p.rows, row, h), row_sum, sum);
    }
    put(&dx[i], sum, add);
}
